//! What is wrong with bytes that should be this module's output.

use std::fmt;

/// Offsets are bytes from the start of what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// A box, or a field in it, goes on behind the end of what holds it.
    Truncated {
        at: usize,
    },
    /// A box whose size cannot be.
    BoxSize {
        at: usize,
        bytes: u64,
    },
    /// A box that does not belong there.
    UnexpectedBox {
        at: usize,
        kind: [u8; 4],
    },
    MissingBox {
        at: usize,
        kind: [u8; 4],
    },
    /// A field has a value that the muxer never writes.
    Field {
        at: usize,
        field: &'static str,
        value: u64,
    },
    UnknownTrack {
        at: usize,
        track_id: u32,
    },
    /// Sample bytes lie outside the `mdat`, overlap, or leave some of it unused.
    DataOutside {
        at: usize,
        begin: usize,
        end: usize,
    },
    /// A run does not begin where the one before ended.
    Discontinuity {
        at: usize,
        track_id: u32,
        expected: u64,
        found: u64,
    },
    /// Chunk numbers do not grow by one.
    Sequence {
        at: usize,
        expected: u32,
        found: u32,
    },
    /// Chunk numbers of segments do not grow.
    SequenceBack {
        at: usize,
        last: u32,
        found: u32,
    },
}

/// What is wrong with an initialization segment or one of the segments behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentError {
    /// Counts from 0; `None` is the initialization segment.
    pub segment: Option<usize>,
    /// With offsets in that segment.
    pub error: ReadError,
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.segment {
            Some(segment) => write!(f, "segment {segment}: {}", self.error),
            None => write!(f, "initialization segment: {}", self.error),
        }
    }
}

impl std::error::Error for SegmentError {}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Truncated { at } => write!(f, "what begins at byte {at} is cut short"),
            ReadError::BoxSize { at, bytes } => write!(f, "box at byte {at} cannot have {bytes} bytes"),
            ReadError::UnexpectedBox { at, kind } => write!(f, "unexpected box '{}' at byte {at}", kind.escape_ascii()),
            ReadError::MissingBox { at, kind } => write!(f, "box at byte {at} lacks a '{}'", kind.escape_ascii()),
            ReadError::Field { at, field, value } => write!(f, "{field} at byte {at} cannot be {value}"),
            ReadError::UnknownTrack { at, track_id } => write!(
                f,
                "run at byte {at} is of track {track_id}, which the movie does not have"
            ),
            ReadError::DataOutside { at, begin, end } => write!(
                f,
                "run at byte {at} has its samples at {begin}..{end}, not where they belong in the mdat"
            ),
            ReadError::Discontinuity {
                at,
                track_id,
                expected,
                found,
            } => write!(
                f,
                "run at byte {at} of track {track_id} begins at tick {found}, not {expected}"
            ),
            ReadError::Sequence { at, expected, found } => {
                write!(f, "chunk at byte {at} has number {found}, not {expected}")
            }
            ReadError::SequenceBack { at, last, found } => {
                write!(f, "chunk at byte {at} has number {found}, behind {last}")
            }
        }
    }
}

impl std::error::Error for ReadError {}
