//! What a publisher sends, to tracks, breaks and frames: the one place where a stream knows of its publisher's protocol.

use penstock_proto::media::{Item, Track};
use penstock_proto::tag::demux::{Demux, MessageKind};

/// Reads what one publisher sends. Owned by the stream's home shard.
#[derive(Debug)]
pub enum Input {
    /// Of RTMP and FLV.
    Tags(Demux),
}

/// Something of a publisher's media, as its protocol cuts it.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    Message {
        kind: MessageKind,
        timestamp: u32,
        body: &'a [u8],
    },
}

impl Piece<'_> {
    pub fn bytes(&self) -> usize {
        match self {
            Piece::Message { body, .. } => body.len(),
        }
    }
}

/// What could not be read, which is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Whether the tracks that a publisher said it would send are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// It said nothing.
    Unsaid,
    Missing,
    Complete,
}

impl Input {
    pub fn tags() -> Input {
        Input::Tags(Demux::new())
    }

    /// Takes in a piece; [`Input::poll`] gives what it makes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn push(&mut self, piece: &Piece<'_>) -> Result<(), Unreadable> {
        match (self, piece) {
            (Input::Tags(demux), Piece::Message { kind, timestamp, body }) => {
                demux.push(*kind, *timestamp, body).map_err(|_| Unreadable)
            }
        }
    }

    pub fn poll(&mut self) -> Option<Item<'_>> {
        match self {
            Input::Tags(demux) => demux.poll(),
        }
    }

    /// In force behind what was polled last.
    pub fn tracks(&self) -> &[Track] {
        match self {
            Input::Tags(demux) => demux.tracks(),
        }
    }

    pub fn completeness(&self) -> Completeness {
        match self {
            Input::Tags(demux) => {
                let announced = demux.announced();
                match (announced.video, announced.audio) {
                    (None, None) => Completeness::Unsaid,
                    _ if demux.is_complete() => Completeness::Complete,
                    _ => Completeness::Missing,
                }
            }
        }
    }
}
