//! Pictures that come in pieces, in order, whole or not at all: VP8, VP9, AV1 and JPEG. A piece says whether it begins a
//! picture; a marker, or the next timestamp, ends it.

use super::limits::UNIT_BYTES_MAX;
use super::{Gap, Payload};

/// The picture in progress.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    timestamp: i64,
    pub bytes: Vec<u8>,
    state: State,
    /// A marker has ended a picture.
    has_markers: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// None has begun.
    #[default]
    Idle,
    Open,
    /// Something of it is missing: it is passed over up to the next beginning.
    Broken,
}

impl Pieces {
    /// A packet comes. What has begun is over, though no marker said so, if the answer is true.
    pub fn enter(&mut self, payload: &Payload<'_>) -> bool {
        let is_next = payload.timestamp != self.timestamp;
        match self.state {
            State::Open if payload.gap == Gap::Lost => self.state = State::Broken,
            State::Open => return is_next,
            _ => {}
        }
        if is_next {
            self.state = State::Idle;
            self.timestamp = payload.timestamp;
        }
        false
    }

    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// A picture begins. What has begun before it is gone.
    pub fn start(&mut self, timestamp: i64) {
        self.timestamp = timestamp;
        self.bytes.clear();
        self.state = State::Open;
    }

    /// Whether the piece was taken: a picture has begun, and is not too long.
    pub fn extend(&mut self, bytes: &[u8]) -> bool {
        if self.state == State::Open && self.bytes.len() + bytes.len() > UNIT_BYTES_MAX {
            self.state = State::Broken;
        }
        if self.state == State::Open {
            self.bytes.extend_from_slice(bytes);
        }
        self.state == State::Open
    }

    /// What has begun can not be whole.
    pub fn break_off(&mut self) {
        self.state = State::Broken;
    }

    /// A marker: the picture is over. As [`Pieces::finish`].
    pub fn mark(&mut self) -> Option<i64> {
        self.has_markers = true;
        self.finish()
    }

    /// Nothing more comes. As [`Pieces::finish`]; of a sender that sets markers, what had none has not come whole.
    pub fn flush(&mut self) -> Option<i64> {
        if self.has_markers {
            self.break_off();
        }
        self.finish()
    }

    /// The picture is over. Its timestamp, if it is whole; its bytes stay until the next begins.
    pub fn finish(&mut self) -> Option<i64> {
        let is_whole = self.state == State::Open && !self.bytes.is_empty();
        self.state = State::Idle;
        is_whole.then_some(self.timestamp)
    }
}
