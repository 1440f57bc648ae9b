//! VP9 (RFC 9628) in non-flexible mode without layers: a picture id of 15 bits in every packet, the size of the pictures
//! with each keyframe.

use super::{Packet, Put};
use crate::codec::vp9::KeyFrame;
use crate::media::Frame;

#[derive(Debug)]
pub(super) struct Vp9 {
    payload_bytes_max: usize,
    picture: u16,
    skipped: u64,
}

/// I, P, B, E and V (4.2).
const HAS_PICTURE: u8 = 0x80;
const PREDICTED: u8 = 0x40;
const BEGIN: u8 = 0x08;
const END: u8 = 0x04;
const STRUCTURE: u8 = 0x02;
/// M of the picture id.
const LONG: u8 = 0x80;
/// One spatial layer, Y: its size follows.
const ONE_LAYER_SIZE: u8 = 0x10;
const HEAD_BYTES: usize = 3;
const STRUCTURE_BYTES: usize = 5;

impl Vp9 {
    pub(super) fn new(payload_bytes_max: usize, seed: u16) -> Self {
        Vp9 {
            payload_bytes_max,
            picture: seed & 0x7fff,
            skipped: 0,
        }
    }
}

impl super::Pack for Vp9 {
    fn frame(&mut self, frame: &Frame<'_>, put: Put<'_>) {
        if frame.data.is_empty() {
            self.skipped += 1;
            return;
        }
        let [high, low] = self.picture.to_be_bytes();
        let mut head = [0; HEAD_BYTES + STRUCTURE_BYTES];
        let mut head_bytes = HEAD_BYTES;
        let mut flags = HAS_PICTURE | BEGIN | if frame.key { 0 } else { PREDICTED };
        head[1..3].copy_from_slice(&[LONG | high, low]);
        let size = KeyFrame::parse(frame.data).ok().filter(|_| frame.key);
        if let Some(KeyFrame { width, height, .. }) = size
            && let (Ok(width), Ok(height)) = (u16::try_from(width), u16::try_from(height))
        {
            flags |= STRUCTURE;
            head[3] = ONE_LAYER_SIZE;
            head[4..6].copy_from_slice(&width.to_be_bytes());
            head[6..8].copy_from_slice(&height.to_be_bytes());
            head_bytes += STRUCTURE_BYTES;
        }
        let mut rest = frame.data;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(self.payload_bytes_max - head_bytes));
            rest = behind;
            head[0] = flags | if rest.is_empty() { END } else { 0 };
            put(Packet {
                ticks: 0,
                marker: rest.is_empty(),
                parts: &[&head[..head_bytes], piece],
            });
            flags &= !(BEGIN | STRUCTURE);
            head_bytes = HEAD_BYTES;
        }
        self.picture = (self.picture + 1) & 0x7fff;
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}
