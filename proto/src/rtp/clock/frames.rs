//! Times of one medium's frames: decode times of pictures, counted time of sound.

use super::Clock;
use super::order::Order;
use crate::codec::{aac, ac3, flac, h264, hevc, mp3, opus};
use crate::media::{Codec, Format, Kind, rescale};
use crate::rtp::limits::{AUDIO_DRIFT_MILLIS, FRAME_MICROS, FRAME_MICROS_MAX, SLEW_PART};
use crate::rtp::unpack::{Setup, Unit};

/// When a frame is decoded, and by how much later it is shown, in the track's timescale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtp) struct Stamp {
    pub dts: i64,
    pub offset: i32,
}

/// Of one medium.
#[derive(Debug)]
pub(super) struct Frames {
    codec: Codec,
    timescale: u32,
    /// Channels and bits, of sound that is not in packets.
    sample_bits: u32,
    /// Of AAC, in the timescale.
    packet_samples: u32,
    rule: Rule,
    last: Option<i64>,
    /// What is still to be shifted, µs.
    pub slew: i64,
}

#[derive(Debug)]
enum Rule {
    /// As stamped: pictures that come in the order in which they are shown, and what is neither seen nor heard.
    Stamped,
    Reordered(Box<Order>),
    /// Where counting says that the next frame is; none when its stamp decides.
    Counted(Option<i64>),
}

impl Default for Frames {
    fn default() -> Self {
        Frames {
            codec: Codec::Rtp,
            timescale: 1_000_000,
            sample_bits: 0,
            packet_samples: 0,
            rule: Rule::Stamped,
            last: None,
            slew: 0,
        }
    }
}

impl Frames {
    pub fn has_begun(&self) -> bool {
        self.last.is_some()
    }

    /// What comes does not go on with what came.
    pub fn restart(&mut self) {
        if let Rule::Reordered(order) = &mut self.rule {
            order.restart();
        }
        self.recount();
    }

    /// The stamp of the next frame decides.
    pub fn recount(&mut self) {
        if let Rule::Counted(next) = &mut self.rule {
            *next = None;
        }
    }

    /// Between pictures; 0 for all else.
    pub fn interval_micros(&self) -> i64 {
        match &self.rule {
            Rule::Reordered(order) => rescale(order.interval(), self.timescale, 1_000_000),
            _ => 0,
        }
    }

    fn set_up(&mut self, setup: &Setup) {
        let goes_on = self.codec == setup.codec && self.timescale == setup.timescale;
        if !goes_on {
            // Another track: its times count from what comes.
            self.last = None;
        }
        (self.codec, self.timescale) = (setup.codec, setup.timescale.max(1));
        let ticks = |micros| rescale(micros, 1_000_000, self.timescale).max(1);
        let (depth, rate) = (depth(setup), frame_rate(&setup.format));
        match (&mut self.rule, setup.codec) {
            (Rule::Reordered(order), Codec::H264 | Codec::Hevc) if goes_on => order.state(depth),
            (_, Codec::H264 | Codec::Hevc) => {
                let interval = if rate > 0.0 {
                    (f64::from(self.timescale) / rate).round() as i64
                } else {
                    ticks(FRAME_MICROS)
                };
                self.rule = Rule::Reordered(Box::new(Order::new(depth, interval, ticks(FRAME_MICROS_MAX))));
            }
            (Rule::Counted(_), codec) if goes_on && codec.kind() == Kind::Audio => {}
            (_, codec) if codec.kind() == Kind::Audio => self.rule = Rule::Counted(None),
            _ => self.rule = Rule::Stamped,
        }
        if let Format::Audio {
            channels, sample_bits, ..
        } = setup.format
        {
            self.sample_bits = channels.max(1).saturating_mul(sample_bits.max(8));
        }
        self.packet_samples = aac::Config::parse(&setup.codec_data).map_or(0, |config| {
            let samples = i64::from(config.frame_samples);
            rescale(samples, config.sample_rate.max(1), self.timescale) as u32
        });
    }

    /// How long a frame of sound lasts, in the timescale; 0 where it does not say.
    fn samples(&self, data: &[u8]) -> u32 {
        let of_rate = |samples: u32, rate: u32| rescale(samples.into(), rate.max(1), self.timescale) as u32;
        let bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
        match self.codec {
            Codec::Aac => self.packet_samples,
            Codec::Mp3 | Codec::Mp2 => {
                mp3::Header::parse(data).map_or(0, |head| of_rate(head.frame_samples, head.sample_rate))
            }
            Codec::Opus => opus::packet_samples(data).map_or(0, |samples| of_rate(samples, 48_000)),
            Codec::Flac => flac::block_samples(data).unwrap_or(0),
            Codec::Ac3 | Codec::Eac3 => {
                ac3::SyncFrame::parse(data).map_or(0, |frame| of_rate(frame.frame_samples, frame.sample_rate))
            }
            Codec::G722 => bytes.saturating_mul(2),
            Codec::Alaw | Codec::Ulaw | Codec::Pcm => {
                (u64::from(bytes) * 8 / u64::from(self.sample_bits.max(1))) as u32
            }
            _ => 0,
        }
    }
}

impl Clock {
    /// In force for the units of a medium that come.
    pub fn set_up(&mut self, at: usize, setup: &Setup) {
        self.lines[at].frames.set_up(setup);
    }

    /// Frames of a medium are missing before the next one.
    pub fn restart(&mut self, at: usize) {
        self.lines[at].frames.restart();
    }

    /// The time of a medium's next frame.
    pub fn frame(&mut self, at: usize, unit: &Unit<'_>) -> Stamp {
        let line = &mut self.lines[at];
        let frames = &mut line.frames;
        if let (Some(place), true) = (&mut line.place, frames.slew != 0) {
            let step = (frames.interval_micros() / SLEW_PART).max(1);
            let moved = frames.slew.clamp(-step, step);
            frames.slew -= moved;
            place.shift += moved;
        }
        let shift = line.place.map_or(0, |place| place.shift);
        let shift = rescale(shift, 1_000_000, frames.timescale);
        let shown = unit.timestamp.saturating_add(shift);
        let samples = match frames.rule {
            Rule::Counted(_) => i64::from(frames.samples(unit.data)),
            _ => 0,
        };
        let (wanted, shown) = match &mut frames.rule {
            Rule::Reordered(order) => (order.place(unit.timestamp).saturating_add(shift), Some(shown)),
            Rule::Stamped => (shown, None),
            Rule::Counted(next) => {
                let wanted = counted(*next, shown, samples, frames.timescale);
                self.counters.reanchors += u64::from(next.is_some_and(|next| next != wanted));
                (wanted, None)
            }
        };
        let dts = frames.last.map_or(wanted, |last| wanted.max(last + 1));
        frames.last = Some(dts);
        if let Rule::Counted(next) = &mut frames.rule {
            *next = (samples > 0).then_some(dts + samples);
        }
        let offset = shown.map_or(0, |shown| shown - dts);
        Stamp {
            dts,
            offset: offset.clamp(i32::MIN.into(), i32::MAX.into()) as i32,
        }
    }
}

/// Where counting and a stamp put a frame of `samples`.
fn counted(next: Option<i64>, stamp: i64, samples: i64, timescale: u32) -> i64 {
    let drift_max = samples.max(i64::from(timescale) * AUDIO_DRIFT_MILLIS / 1_000);
    match next {
        Some(next) if (stamp - next).abs() <= drift_max => next,
        _ => stamp,
    }
}

fn frame_rate(format: &Format) -> f64 {
    match format {
        Format::Video { frame_rate, .. } if frame_rate.is_finite() => *frame_rate,
        _ => 0.0,
    }
}

/// What the parameter sets state; 0 where they state nothing: it is seen then.
fn depth(setup: &Setup) -> usize {
    let record = &setup.codec_data[..];
    let stated = match setup.codec {
        Codec::H264 => h264::Config::parse(record).ok().and_then(|config| {
            let sets = config
                .sps()
                .filter_map(|sps| h264::Sps::parse(sps).ok()?.reorder_frames);
            sets.max()
        }),
        Codec::Hevc => hevc::Config::parse(record).ok().and_then(|config| {
            let sets = config
                .sps()
                .filter_map(|sps| hevc::Sps::parse(sps).ok()?.reorder_frames);
            sets.max()
        }),
        _ => None,
    };
    stated.unwrap_or(0).into()
}
