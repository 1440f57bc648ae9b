//! The buffer of one published stream: its frames with exact times, their codec data, and the facts of the stream.
//!
//! Not a demuxer and not a muxer: packets, codec data and descriptions are opaque bytes; breaks, clock sources and most flags
//! are the appliance's numbers.
//!
//! Specification: DESIGN 4.1 (ring and time).
//!
//! One [`Writer`], on the stream's home shard; any number of [`Reader`]s on any shard, without locks and without state in the
//! ring. A reader copies, and then looks whether what it copied was still the ring's. Blocks go back to the pool when the
//! writer and the last reader are gone.
//!
//! Layout of the root block, in words (logs: [`crate::pool::log`]):
//!
//! ```text
//!  offset  word
//!       0  magic "PENRING1"
//!       8  layout version
//!      16  state: 0 live, 1 publisher gone, 2 ended
//!      24  since when the publisher is gone (us)
//!      32  sequence of the newest main key + 1, or 0
//!      40  number of the first segment ever
//!      48  window (us)
//!      56  bytes_max
//!      64  changes of the generations' table
//!     128  breaks_first   ordinal of the oldest break
//!     136  breaks_end     ordinal after the newest
//!     144  clock_first    ordinal of the oldest point of the clock map
//!     152  clock_end      ordinal after the newest
//!    4096  breaks[256]: sequence, kind; that of ordinal n at index n modulo 256
//!    8192  clock[256]: media time (us), wall time (us), source | jump << 8; as above
//!   14336  generations[64]: ticket (0: none), track | generation << 32, position, codec bytes | description bytes << 32
//!   16384  log of packets
//!   82048  log of the index: sequence, track | generation << 32, decode time, composition offset | flags << 32, position,
//!          bytes | payload start << 32, payload bytes | key distance << 32 (all ones: none), decode time (us);
//!          the entry of sequence n at position 64 n
//!   98560  log of segments: number, start (us), duration (us), flags | tracks << 32, head sequence when it was cut, 0, then
//!          13 times track and sequence; the entry of number n at position 256 (n - first number)
//!   99200  log of codec data, each followed by its description
//! ```
//!
//! Invariants:
//! - A published entry's packet is published; publication is the release store of the index log's head.
//! - The tail is moved to keyframes of the main track as long as there is a later one, and by frames while the ring holds none;
//!   a GOP that the tail stands at is never cut.
//! - A generation cited by a frame in the ring is in the table; segment numbers and sequences only grow.

use std::fmt;

use crate::pool::log::{Full, Log};
use crate::pool::{BlockId, Dirty, Pool};
use crate::sys::memory::WORD_BYTES;
use crate::sys::sync::{Arc, AtomicU64};

mod clock;
mod generations;
pub mod limits;
#[cfg(test)]
#[cfg(loom)]
mod models;
mod reader;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
mod writer;

pub use clock::ClockPoint;
use limits::{INDEX_ENTRY_WORDS, SEGMENT_WORDS};
pub use reader::Reader;
pub use writer::Writer;

/// Bits of a frame. The lowest two mean something here, the others are the appliance's.
pub mod flags {
    /// Decodable without an earlier frame of its track.
    pub const KEY: u32 = 1;
    /// A key frame of the main track: where windows begin and viewers join.
    pub const KEY_MAIN: u32 = 2;
}

/// One frame's line in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Counts the stream's frames of all tracks, in the order of arrival, from 0.
    pub sequence: u64,
    pub track: u32,
    /// Which codec data of the track.
    pub generation: u32,
    /// Decode time in the track's own timescale.
    pub dts: i64,
    /// Composition offset in the track's own timescale.
    pub offset: i32,
    pub flags: u32,
    /// Decode time in microseconds of media time.
    pub dts_micros: i64,
    /// Where the packet starts in the log of packets.
    pub position: u64,
    /// Bytes of the packet.
    pub bytes: u32,
    /// Where in the packet the frame's own bytes are.
    pub payload_start: u32,
    pub payload_bytes: u32,
    /// Frames since the newest main key at or before this one (0: this is it); `None` when there is none.
    pub key_distance: Option<u32>,
}

/// What the home shard says of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub track: u32,
    pub generation: u32,
    /// Decode time in the track's own timescale.
    pub dts: i64,
    /// Composition offset in the track's own timescale.
    pub offset: i32,
    pub flags: u32,
    /// Decode time in microseconds of media time.
    pub dts_micros: i64,
    /// The packet is `head`, `payload`, `tail`, one after the other.
    pub head: &'a [u8],
    pub payload: &'a [u8],
    pub tail: &'a [u8],
}

/// Why a frame cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The window has passed it.
    Gone { sequence: u64, tail: u64 },
    /// It has not been written.
    NotYet { sequence: u64, head: u64 },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Gone { sequence, tail } => {
                write!(f, "frame {sequence} has left the window, which starts at {tail}")
            }
            Missing::NotYet { sequence, head } => write!(f, "frame {sequence} is not there, the next is {head}"),
        }
    }
}

impl std::error::Error for Missing {}

/// Why a ring was not made or did not take something. Nothing was added; old GOPs may have left to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingError {
    Full(Full),
    PacketTooLarge {
        bytes: u64,
        bytes_max: u64,
    },
    /// The GOP does not fit the ring's bytes: its next frames are refused, and the next main key frame replaces it.
    GopTooLarge {
        bytes: u64,
        bytes_max: u64,
    },
    GenerationUnknown {
        track: u32,
        generation: u32,
    },
    GenerationKnown {
        track: u32,
        generation: u32,
    },
    CodecDataTooLarge {
        bytes: usize,
        bytes_max: usize,
    },
    DescriptionTooLarge {
        bytes: usize,
        bytes_max: usize,
    },
    GenerationsFull {
        generations_max: usize,
    },
    BreaksFull {
        breaks_max: usize,
    },
    TooManyTracks {
        tracks: usize,
        tracks_max: usize,
    },
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RingError::Full(_) => write!(f, "ring has no room"),
            RingError::PacketTooLarge { bytes, bytes_max } => write!(f, "packet of {bytes} bytes, at most {bytes_max}"),
            RingError::GopTooLarge { bytes, bytes_max } => {
                write!(f, "GOP reaches {bytes} bytes, the ring keeps at most {bytes_max}")
            }
            RingError::GenerationUnknown { track, generation } => {
                write!(
                    f,
                    "frame cites generation {generation} of track {track}, which the ring does not have"
                )
            }
            RingError::GenerationKnown { track, generation } => {
                write!(f, "generation {generation} of track {track} is in the ring already")
            }
            RingError::CodecDataTooLarge { bytes, bytes_max } => {
                write!(f, "codec data of {bytes} bytes, at most {bytes_max}")
            }
            RingError::DescriptionTooLarge { bytes, bytes_max } => {
                write!(f, "description of {bytes} bytes, at most {bytes_max}")
            }
            RingError::GenerationsFull { generations_max } => {
                write!(
                    f,
                    "frames in the ring cite {generations_max} generations, which is all it keeps"
                )
            }
            RingError::BreaksFull { breaks_max } => {
                write!(f, "window has {breaks_max} breaks, which is all it keeps")
            }
            RingError::TooManyTracks { tracks, tracks_max } => {
                write!(f, "segment of {tracks} tracks, at most {tracks_max}")
            }
        }
    }
}

impl std::error::Error for RingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RingError::Full(full) => Some(full),
            _ => None,
        }
    }
}

/// A change that every mux has a rule for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Break {
    /// It stands before the frame of this sequence.
    pub sequence: u64,
    /// What it is; the appliance's numbers.
    pub kind: u8,
}

/// Where a track starts in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackStart {
    pub track: u32,
    pub sequence: u64,
}

/// A cut of the stream, a fact that does not depend on viewers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    pub number: u64,
    /// In microseconds of media time.
    pub start_micros: i64,
    pub duration_micros: i64,
    /// The appliance's bits.
    pub flags: u32,
    /// The first frame of each track.
    pub tracks: Vec<TrackStart>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Frames come.
    Live,
    /// The publisher has gone and may return.
    PublisherGone { since_micros: i64 },
    /// No frame will come.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Media time that is kept, rounded up to whole GOPs.
    pub window_micros: u64,
    /// Bytes of packets that are kept at most, and at most [`limits::WINDOW_BYTES_MAX`].
    pub bytes_max: u64,
    /// Number of the first segment that will be cut.
    pub segment_number_first: u64,
}

/// What writer and readers share.
#[derive(Debug)]
struct Shared {
    pool: Arc<Pool>,
    root: BlockId,
    at: usize,
    packets: Log,
    index: Log,
    segments: Log,
    codec: Log,
}

impl Shared {
    fn word(&self, at: usize) -> &AtomicU64 {
        self.pool.memory().word(self.at + at)
    }

    /// Word `at` of the entry of `ordinal` in a circular table.
    fn table_word(&self, table: Table, ordinal: u64, at: usize) -> &AtomicU64 {
        let index = (ordinal % table.entries as u64) as usize;
        self.word(table.at + (index * table.words + at) * WORD_BYTES)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for log in [&self.packets, &self.index, &self.segments, &self.codec] {
            log.free_all();
        }
        self.pool.free(self.root, Dirty::Plain);
    }
}

/// A table of fixed entries in the root block.
#[derive(Clone, Copy)]
struct Table {
    at: usize,
    entries: usize,
    words: usize,
}

const BREAKS: Table = Table {
    at: limits::AT_BREAKS,
    entries: limits::BREAKS_MAX,
    words: limits::BREAK_WORDS,
};
const CLOCK: Table = Table {
    at: limits::AT_CLOCK,
    entries: limits::CLOCK_POINTS_MAX,
    words: limits::CLOCK_WORDS,
};
const GENERATIONS: Table = Table {
    at: limits::AT_GENERATIONS,
    entries: limits::GENERATION_SLOTS,
    words: limits::GENERATION_WORDS,
};

impl Entry {
    fn to_words(self) -> [u64; INDEX_ENTRY_WORDS] {
        [
            self.sequence,
            pair(self.track, self.generation),
            self.dts as u64,
            pair(self.offset as u32, self.flags),
            self.position,
            pair(self.bytes, self.payload_start),
            pair(self.payload_bytes, self.key_distance.unwrap_or(u32::MAX)),
            self.dts_micros as u64,
        ]
    }

    fn from_words(words: [u64; INDEX_ENTRY_WORDS]) -> Entry {
        let (track, generation) = halves(words[1]);
        let (offset, flags) = halves(words[3]);
        let (bytes, payload_start) = halves(words[5]);
        let (payload_bytes, key_distance) = halves(words[6]);
        Entry {
            sequence: words[0],
            track,
            generation,
            dts: words[2] as i64,
            offset: offset as i32,
            flags,
            dts_micros: words[7] as i64,
            position: words[4],
            bytes,
            payload_start,
            payload_bytes,
            key_distance: (key_distance != u32::MAX).then_some(key_distance),
        }
    }
}

/// Two numbers in a word, the first in its low half.
fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

const INDEX_ENTRY_BYTES: u64 = (INDEX_ENTRY_WORDS * WORD_BYTES) as u64;
const SEGMENT_BYTES: u64 = (SEGMENT_WORDS * WORD_BYTES) as u64;
const MAGIC: u64 = u64::from_le_bytes(*b"PENRING1");
const LAYOUT_VERSION: u64 = 1;
const STATE_LIVE: u64 = 0;
const STATE_PUBLISHER_GONE: u64 = 1;
const STATE_ENDED: u64 = 2;
const AT_MAGIC: usize = 0;
const AT_VERSION: usize = 8;
const AT_STATE: usize = 16;
const AT_STATE_SINCE: usize = 24;
const AT_NEWEST_KEY: usize = 32;
const AT_SEGMENT_NUMBER_FIRST: usize = 40;
const AT_WINDOW: usize = 48;
const AT_BYTES_MAX: usize = 56;
const AT_GENERATION_CHANGES: usize = 64;
const AT_BREAKS_FIRST: usize = 128;
const AT_BREAKS_END: usize = 136;
const AT_CLOCK_FIRST: usize = 144;
const AT_CLOCK_END: usize = 152;
