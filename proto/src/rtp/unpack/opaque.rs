//! Formats that are not read: every packet is a frame, which passes from RTP to RTP untouched.

use super::{Payload, PayloadFormat, Setup, Units, Unpack, Wholeness};
use crate::media::{Codec, Format};

/// State of one track.
#[derive(Debug)]
pub(super) struct Opaque {
    setup: Option<Setup>,
}

impl Opaque {
    pub fn new(format: &PayloadFormat) -> Self {
        let setup = Setup {
            codec: Codec::Rtp,
            timescale: format.clock_rate.max(1),
            codec_data: format.to_codec_data(),
            format: Format::Meta,
        };
        Opaque { setup: Some(setup) }
    }
}

impl Unpack for Opaque {
    fn packet(&mut self, payload: &Payload<'_>, out: &mut Units) {
        if let Some(setup) = self.setup.take() {
            out.push_setup(setup);
        }
        out.push(payload.timestamp, true, Wholeness::Whole, |out| {
            out.push(payload.marker.into());
            out.extend_from_slice(payload.data);
        });
    }

    fn flush(&mut self, _out: &mut Units) {}

    fn unreadable(&self) -> u64 {
        0
    }
}
