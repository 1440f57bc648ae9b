//! Sound whose packets are the frames: G.711, G.722 and linear samples (RFC 3551, 4.5.2, 4.5.14 and 4.5.11; RFC 3190), and
//! Opus (RFC 7587).

use super::sound::Sound;
use super::{Payload, PayloadFormat, Setup, Units, Unpack};
use crate::codec::opus;
use crate::media::{Codec, Format};

/// State of one track of samples of a known size.
#[derive(Debug)]
pub(super) struct Samples {
    sound: Sound,
    /// Bytes of a sample of all channels.
    step: usize,
    /// Samples in such a step.
    step_samples: u32,
    unreadable: u64,
}

impl Samples {
    /// G.711. Rates and numbers of channels beside 8,000 Hz and 1 are as legal as rare.
    pub fn g711(codec: Codec, format: &PayloadFormat) -> Self {
        Self::new(codec, format, format.clock_rate, 8, 1)
    }

    /// Two samples a byte of 16,000 a second; the clock is of 8,000 (4.5.2), or as fast as it should have been.
    pub fn g722(format: &PayloadFormat) -> Self {
        Self::new(Codec::G722, format, 16_000, 16, 2)
    }

    /// L16 and L24: signed, big-endian, as a track has them. L8 has another sign and no place there.
    pub fn linear(format: &PayloadFormat, sample_bits: u32) -> Self {
        let mut samples = Self::new(Codec::Pcm, format, format.clock_rate, sample_bits, 1);
        samples.step *= sample_bits as usize / 8;
        samples
    }

    fn new(codec: Codec, format: &PayloadFormat, rate: u32, sample_bits: u32, step_samples: u32) -> Self {
        let channels = format.channels.clamp(1, CHANNELS_MAX);
        let mut sound = Sound::new(format.clock_rate);
        sound.describe(codec, rate, channels, sample_bits);
        Samples {
            sound,
            step: channels as usize,
            step_samples,
            unreadable: 0,
        }
    }
}

impl Unpack for Samples {
    fn packet(&mut self, payload: &Payload<'_>, out: &mut Units) {
        let steps = payload.data.len() / self.step;
        let whole = &payload.data[..steps * self.step];
        self.unreadable += u64::from(whole.len() < payload.data.len());
        self.sound.begin(payload.timestamp);
        let samples = steps as u32 * self.step_samples;
        if samples > 0 {
            self.sound.push(samples, out, |bytes| bytes.extend_from_slice(whole));
        }
    }

    fn flush(&mut self, _out: &mut Units) {}

    fn unreadable(&self) -> u64 {
        self.unreadable
    }
}

/// State of one Opus track.
#[derive(Debug)]
pub(super) struct Opus {
    sound: Sound,
    /// The sender said that it is stereo.
    is_stereo: bool,
    unreadable: u64,
}

impl Opus {
    pub fn new(format: &PayloadFormat) -> Self {
        Opus {
            // The clock is always that (4.1).
            sound: Sound::new(OPUS_RATE),
            is_stereo: format.parameter("sprop-stereo").is_some_and(|text| text.trim() == "1"),
            unreadable: 0,
        }
    }
}

impl Unpack for Opus {
    fn packet(&mut self, payload: &Payload<'_>, out: &mut Units) {
        let packet = payload.data;
        // Nothing is what is sent for silence.
        let Some(first) = packet.first() else { return };
        let Ok(samples) = opus::packet_samples(packet) else {
            self.unreadable += 1;
            return;
        };
        if !self.sound.is_set_up() {
            // Without a word on it the first packet tells: bit s of its first byte (RFC 6716, 3.1).
            let channels = if self.is_stereo || first & 4 != 0 { 2 } else { 1 };
            let mut codec_data = Vec::new();
            opus::Head::plain(channels).emit(&mut codec_data);
            self.sound.set_up(Setup {
                codec: Codec::Opus,
                timescale: OPUS_RATE,
                codec_data,
                format: Format::Audio {
                    sample_rate: OPUS_RATE,
                    channels: channels.into(),
                    sample_bits: 16,
                },
            });
        }
        self.sound.begin(payload.timestamp);
        self.sound.push(samples, out, |bytes| bytes.extend_from_slice(packet));
    }

    fn flush(&mut self, _out: &mut Units) {}

    fn unreadable(&self) -> u64 {
        self.unreadable
    }
}

const OPUS_RATE: u32 = 48_000;

/// More than any layout of RFC 3551 (4.1) and AES67 has.
const CHANNELS_MAX: u32 = 64;
