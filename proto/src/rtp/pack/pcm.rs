//! Sound whose payload is its samples: G.711 and G.722 (RFC 3551, 4.5.14 and 4.5.2), L16 (4.5.11) and L24 (RFC 3190).

use super::{Packet, Put};
use crate::media::{Codec, Format, Frame, Track};

#[derive(Debug)]
pub(super) struct Pcm {
    payload_bytes_max: usize,
    /// What lasts one tick. Of G.722 a byte does: its clock counts half the samples (RFC 3551, 4.5.2).
    tick_bytes: usize,
    skipped: u64,
}

impl Pcm {
    pub(super) fn new(track: &Track, payload_bytes_max: usize) -> Self {
        let (channels, bits) = match track.format {
            Format::Audio {
                channels, sample_bits, ..
            } => (channels.max(1) as usize, sample_bits),
            _ => (1, 0),
        };
        let sample_bytes = match (track.codec, bits) {
            (Codec::Pcm, 24) => 3,
            (Codec::Pcm, _) => 2,
            _ => 1,
        };
        Pcm {
            payload_bytes_max,
            tick_bytes: channels * sample_bytes,
            skipped: 0,
        }
    }
}

impl super::Pack for Pcm {
    fn frame(&mut self, frame: &Frame<'_>, put: Put<'_>) {
        let whole = frame.data.len() - frame.data.len() % self.tick_bytes;
        if whole == 0 {
            self.skipped += 1;
            return;
        }
        let piece_ticks = self.payload_bytes_max / self.tick_bytes;
        let mut ticks = 0;
        for piece in frame.data[..whole].chunks(piece_ticks * self.tick_bytes) {
            put(Packet {
                ticks,
                marker: false,
                parts: &[piece],
            });
            ticks += (piece.len() / self.tick_bytes) as u32;
        }
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}
