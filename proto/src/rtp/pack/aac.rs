//! AAC as MPEG-4 elementary stream, mode AAC-hbr (RFC 3640, 3.3.6): one access unit a packet, or its fragments.
//!
//! A frame is one access unit, and none waits for the next.

use super::limits::AAC_UNIT_BYTES_MAX;
use super::{Packet, Put};
use crate::media::Frame;

#[derive(Debug)]
pub(super) struct Aac {
    payload_bytes_max: usize,
    skipped: u64,
}

/// AU-headers-length, in bits, of one header.
const HEADERS_BITS: u16 = 16;
const HEAD_BYTES: usize = 4;

impl Aac {
    pub(super) fn new(payload_bytes_max: usize) -> Self {
        Aac {
            payload_bytes_max,
            skipped: 0,
        }
    }
}

impl super::Pack for Aac {
    fn frame(&mut self, frame: &Frame<'_>, put: Put<'_>) {
        let bytes = frame.data.len();
        if bytes == 0 || bytes > AAC_UNIT_BYTES_MAX {
            self.skipped += 1;
            return;
        }
        // Fragments state the size of the whole unit (3.2.3.1); AU-Index is 0.
        let [a, b] = HEADERS_BITS.to_be_bytes();
        let [c, d] = ((bytes as u16) << 3).to_be_bytes();
        let mut pieces = frame.data.chunks(self.payload_bytes_max - HEAD_BYTES).peekable();
        while let Some(piece) = pieces.next() {
            put(Packet {
                ticks: 0,
                marker: pieces.peek().is_none(),
                parts: &[&[a, b, c, d], piece],
            });
        }
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}
