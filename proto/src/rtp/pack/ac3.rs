//! AC-3 (RFC 4184) and E-AC-3 (RFC 4598): whole sync frames while they fit, or one in fragments. The timestamp counts samples.

use super::limits::AC3_FRAGMENTS_MAX;
use super::{Packet, Put};
use crate::codec::ac3::SyncFrame;
use crate::media::Frame;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Enhanced,
}

#[derive(Debug)]
pub(super) struct Ac3 {
    kind: Kind,
    payload_bytes_max: usize,
    skipped: u64,
}

/// FT of AC-3: a first fragment with and without five eighths of the frame, and a later one (RFC 4184, 4.1.1). 0 is whole
/// frames.
const FIRST_LARGE: u8 = 1;
const FIRST_SMALL: u8 = 2;
const LATER: u8 = 3;
/// F of E-AC-3.
const FRAGMENT: u8 = 1;
const HEAD_BYTES: usize = 2;

impl Ac3 {
    pub(super) fn new(kind: Kind, payload_bytes_max: usize) -> Self {
        Ac3 {
            kind,
            payload_bytes_max,
            skipped: 0,
        }
    }

    fn fragment_type(&self, at: usize, first_bytes: usize, bytes: usize) -> u8 {
        match self.kind {
            Kind::Enhanced => FRAGMENT,
            Kind::Plain if at > 0 => LATER,
            Kind::Plain if first_bytes * 8 >= bytes * 5 => FIRST_LARGE,
            Kind::Plain => FIRST_SMALL,
        }
    }
}

/// Bytes of the first sync frame with the dependent substreams behind it, and how many samples it lasts; all there is where
/// its header does not tell.
fn first(bytes: &[u8]) -> (usize, u32) {
    let Ok(head) = SyncFrame::parse(bytes) else {
        return (bytes.len(), 0);
    };
    let mut end = head.frame_bytes;
    while end < bytes.len() {
        match SyncFrame::parse(&bytes[end..]) {
            Ok(next) if next.enhanced && (next.stream_type == 1 || next.substream > 0) => end += next.frame_bytes,
            Ok(_) => break,
            Err(_) => return (bytes.len(), 0),
        }
    }
    if end >= bytes.len() {
        return (bytes.len(), head.frame_samples);
    }
    (end, head.frame_samples)
}

impl super::Pack for Ac3 {
    fn frame(&mut self, frame: &Frame<'_>, put: Put<'_>) {
        let room = self.payload_bytes_max - HEAD_BYTES;
        if frame.data.is_empty() || frame.data.len().div_ceil(room) > AC3_FRAGMENTS_MAX {
            self.skipped += 1;
            return;
        }
        let (mut rest, mut ticks) = (frame.data, 0);
        while !rest.is_empty() {
            let (mut end, mut lasts) = first(rest);
            if end > room {
                let count = end.div_ceil(room);
                for (at, piece) in rest[..end].chunks(room).enumerate() {
                    let head = [self.fragment_type(at, piece.len(), end), count as u8];
                    put(Packet {
                        ticks,
                        marker: at + 1 == count,
                        parts: &[&head, piece],
                    });
                }
            } else {
                let mut count = 1_u8;
                while end < rest.len() && count < u8::MAX {
                    let (bytes, longer) = first(&rest[end..]);
                    if end + bytes > room {
                        break;
                    }
                    end += bytes;
                    lasts += longer;
                    count += 1;
                }
                put(Packet {
                    ticks,
                    marker: true,
                    parts: &[&[0, count], &rest[..end]],
                });
            }
            rest = &rest[end..];
            ticks += lasts;
        }
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}
