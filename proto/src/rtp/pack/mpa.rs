//! MPEG audio of all layers (RFC 2250, 3.5): whole audio frames while they fit, or one in fragments.

use super::limits::MPA_FRAME_BYTES_MAX;
use super::{Packet, Put};
use crate::codec::mp3::Header;
use crate::media::Frame;

#[derive(Debug)]
pub(super) struct Mpa {
    payload_bytes_max: usize,
    skipped: u64,
}

pub(super) const CLOCK_RATE: u32 = 90_000;
const HEAD_BYTES: usize = 4;

impl Mpa {
    pub(super) fn new(payload_bytes_max: usize) -> Self {
        Mpa {
            payload_bytes_max,
            skipped: 0,
        }
    }
}

/// Bytes of the first audio frame and how long it lasts; all there is where its header does not tell.
fn first(bytes: &[u8]) -> (usize, u32) {
    match Header::parse(bytes) {
        Ok(header) if (1..bytes.len()).contains(&header.frame_bytes) => {
            let ticks = u64::from(header.frame_samples) * u64::from(CLOCK_RATE) / u64::from(header.sample_rate);
            (header.frame_bytes, ticks as u32)
        }
        _ => (bytes.len(), 0),
    }
}

impl super::Pack for Mpa {
    fn frame(&mut self, frame: &Frame<'_>, put: Put<'_>) {
        if frame.data.is_empty() || frame.data.len() > MPA_FRAME_BYTES_MAX {
            self.skipped += 1;
            return;
        }
        let room = self.payload_bytes_max - HEAD_BYTES;
        let mut packet = |ticks, offset: usize, piece: &[u8]| {
            let [high, low] = (offset as u16).to_be_bytes();
            put(Packet {
                ticks,
                marker: false,
                parts: &[&[0, 0, high, low], piece],
            });
        };
        let (mut rest, mut ticks) = (frame.data, 0);
        while !rest.is_empty() {
            let (mut end, mut lasts) = first(rest);
            if end > room {
                for (at, piece) in rest[..end].chunks(room).enumerate() {
                    packet(ticks, at * room, piece);
                }
            } else {
                while end < rest.len() {
                    let (bytes, longer) = first(&rest[end..]);
                    if end + bytes > room {
                        break;
                    }
                    end += bytes;
                    lasts += longer;
                }
                packet(ticks, 0, &rest[..end]);
            }
            rest = &rest[end..];
            ticks += lasts;
        }
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}
