//! VP8 (RFC 7741): the payload descriptor, and pictures from their partitions.

use super::pieces::Pieces;
use super::{Payload, Setup, Units, Unpack, VIDEO_TIMESCALE, Wholeness};
use crate::codec::vp8;
use crate::media::{Codec, Format};

/// State of one track.
#[derive(Debug, Default)]
pub(super) struct Vp8 {
    pieces: Pieces,
    size: Option<(u32, u32)>,
    unreadable: u64,
}

impl Vp8 {
    /// The picture with this timestamp is over, if it is whole.
    fn push(&mut self, timestamp: Option<i64>, out: &mut Units) {
        let Some(timestamp) = timestamp else { return };
        let bytes = &self.pieces.bytes;
        let key = vp8::KeyFrame::parse(bytes).ok();
        if let Some(key) = key
            && self.size != Some((key.width, key.height))
        {
            self.size = Some((key.width, key.height));
            out.push_setup(Setup {
                codec: Codec::Vp8,
                timescale: VIDEO_TIMESCALE,
                codec_data: Vec::new(),
                format: Format::Video {
                    width: key.width,
                    height: key.height,
                    frame_rate: 0.0,
                },
            });
        }
        if self.size.is_none() {
            self.unreadable += 1;
            return;
        }
        out.push(timestamp, key.is_some(), Wholeness::Whole, |out| {
            out.extend_from_slice(bytes)
        });
    }
}

impl Unpack for Vp8 {
    fn packet(&mut self, payload: &Payload<'_>, out: &mut Units) {
        if payload.data.is_empty() {
            return;
        }
        if self.pieces.enter(payload) {
            let timestamp = self.pieces.finish();
            self.push(timestamp, out);
        }
        match split(payload.data) {
            None => {
                self.unreadable += 1;
                self.pieces.break_off();
            }
            Some((begins, piece)) => {
                if begins {
                    let timestamp = self.pieces.finish();
                    self.push(timestamp, out);
                    self.pieces.start(payload.timestamp);
                }
                self.pieces.extend(piece);
            }
        }
        if payload.marker {
            let timestamp = self.pieces.mark();
            self.push(timestamp, out);
        }
    }

    fn flush(&mut self, out: &mut Units) {
        let timestamp = self.pieces.flush();
        self.push(timestamp, out);
    }

    fn unreadable(&self) -> u64 {
        self.unreadable
    }
}

/// Whether a picture begins (S is set and PID is 0), and what stands behind the descriptor (4.2).
fn split(payload: &[u8]) -> Option<(bool, &[u8])> {
    let (&head, mut rest) = payload.split_first()?;
    if head & 0x80 != 0 {
        let (&fields, behind) = rest.split_first()?;
        rest = behind;
        if fields & 0x80 != 0 {
            // PictureID of 7 or 15 bits
            let bytes = if rest.first()? & 0x80 != 0 { 2 } else { 1 };
            rest = rest.get(bytes..)?;
        }
        let index = usize::from(fields & 0x40 != 0);
        let layer = usize::from(fields & 0x30 != 0);
        rest = rest.get(index + layer..)?;
    }
    (!rest.is_empty()).then_some((head & 0x17 == 0x10, rest))
}
