//! What is not cut: Opus packets (RFC 7587), and payloads of formats that are not read here.

use super::limits::WHOLE_BYTES_MAX;
use super::{Packet, Put};
use crate::media::Frame;

#[derive(Debug, Default)]
pub(super) struct Opus {
    skipped: u64,
}

impl super::Pack for Opus {
    fn frame(&mut self, frame: &Frame<'_>, put: Put<'_>) {
        if frame.data.is_empty() || frame.data.len() > WHOLE_BYTES_MAX {
            self.skipped += 1;
            return;
        }
        put(Packet {
            ticks: 0,
            marker: false,
            parts: &[frame.data],
        });
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// One byte of flags, then the payload as it came.
#[derive(Debug, Default)]
pub(super) struct Opaque {
    skipped: u64,
}

const MARKER: u8 = 1;

impl super::Pack for Opaque {
    fn frame(&mut self, frame: &Frame<'_>, put: Put<'_>) {
        match frame.data {
            [flags, payload @ ..] if payload.len() <= WHOLE_BYTES_MAX => put(Packet {
                ticks: 0,
                marker: flags & MARKER != 0,
                parts: &[payload],
            }),
            _ => self.skipped += 1,
        }
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}
