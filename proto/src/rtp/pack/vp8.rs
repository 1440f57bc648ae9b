//! VP8 (RFC 7741): a picture id of 15 bits in every packet, no partition starts a packet of its own.

use super::{Packet, Put};
use crate::media::Frame;

#[derive(Debug)]
pub(super) struct Vp8 {
    payload_bytes_max: usize,
    picture: u16,
    skipped: u64,
}

/// X; S of the first packet; I, and M of the picture id.
const EXTENDED: u8 = 0x80;
const START: u8 = 0x10;
const HAS_PICTURE: u8 = 0x80;
const LONG: u8 = 0x80;
const HEAD_BYTES: usize = 4;

impl Vp8 {
    pub(super) fn new(payload_bytes_max: usize, seed: u16) -> Self {
        Vp8 {
            payload_bytes_max,
            picture: seed & 0x7fff,
            skipped: 0,
        }
    }
}

impl super::Pack for Vp8 {
    fn frame(&mut self, frame: &Frame<'_>, put: Put<'_>) {
        if frame.data.is_empty() {
            self.skipped += 1;
            return;
        }
        let [high, low] = self.picture.to_be_bytes();
        let mut start = START;
        let mut pieces = frame.data.chunks(self.payload_bytes_max - HEAD_BYTES).peekable();
        while let Some(piece) = pieces.next() {
            let head: [u8; HEAD_BYTES] = [EXTENDED | start, HAS_PICTURE, LONG | high, low];
            put(Packet {
                ticks: 0,
                marker: pieces.peek().is_none(),
                parts: &[&head, piece],
            });
            start = 0;
        }
        self.picture = (self.picture + 1) & 0x7fff;
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}
