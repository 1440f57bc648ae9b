//! Smooth Streaming fragments: one track, a whole segment in one `moof mdat`, as players of MS-SSTR fetch them.
//!
//! Specification: MS-SSTR 2.2.4 (fragment response), 2.2.4.4 (`tfxd`), 2.2.4.5 (`tfrf`). There is no initialization segment:
//! players make one of the manifest, and count in its timescale, which is [`TIMESCALE`] here as in MistServer's.
//!
//! - **A fragment begins when its first picture is shown.** That is its time in manifest and URL, and players take it as the
//!   decode time of its first sample (ExoPlayer, dash.js, GStreamer; there is no `tfdt`). So the first sample's offset is zero, and
//!   those behind it are decoded as much earlier than at their distance as B-frames need to have none below zero; the last
//!   one lasts as much longer. With offsets as they were, pictures were 80 ms behind their sound in GStreamer; with
//!   negative ones, 40.
//! - Times are rounded down to ms each, so durations add up and nothing drifts.
//! - **`tfrf` tells what [`SegmentMux::following`] was told**, which is part of what the fragment is made of. When nothing was
//!   told, nothing is guessed: a player asks for exactly that time, and one that is wrong by a ms is not there. The box is
//!   there all the same.

use super::{
    lane::{Lane, carries, clamp, of_segment},
    limits,
    wire::{Sample, SmoothTimes, write_smooth},
};
use crate::media::{Frame, Piece, Pieces, SegmentMux, Track, rescale};

/// Ticks a second of all times.
pub const TIMESCALE: u32 = 1000;

/// Owned by the stream's home shard.
#[derive(Debug, Default)]
pub struct Smooth {
    lane: Option<Lane>,
    number: u64,
    /// Times and durations in the manifest's timescale.
    following: Vec<(u64, u64)>,
}

impl Smooth {
    pub fn new() -> Self {
        Self::default()
    }

    /// Pushes all that is held and complete.
    fn push(&mut self, out: &mut Pieces) {
        let Some(lane) = &mut self.lane else { return };
        let count = lane.complete().len();
        if count == 0 {
            return;
        }
        let (first, last) = (lane.samples()[0], lane.samples()[count - 1]);
        let piece = Piece {
            end: 0,
            dts: first.dts,
            duration: last.end().saturating_sub(first.dts),
            independent: first.key,
        };
        let scale = Scale::of(&lane.samples()[..count], lane.timescale());
        let duration = scale.apply(&mut lane.samples_mut()[..count]);
        let times = SmoothTimes {
            time: scale.time as u64,
            duration,
            following: &self.following,
        };
        out.push(piece, |out| {
            write_smooth(out, self.number as u32, lane.run(count), times)
        });
        lane.drop_front(count);
    }
}

impl SegmentMux for Smooth {
    fn carries(&self, track: &Track) -> bool {
        carries(track)
    }

    fn begin(&mut self, number: u64, tracks: &[Track], _out: &mut Pieces) {
        self.lane = of_segment(self.lane.take(), tracks);
        self.number = number;
        self.following.clear();
    }

    /// Frames without bytes and of other tracks are left out. A segment beyond what a chunk may hold goes on in another.
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Pieces) {
        let Some(dts) = self.lane.as_mut().and_then(|lane| lane.close_for(frame)) else {
            return;
        };
        if self.lane.as_ref().is_some_and(is_full) {
            self.push(out);
        }
        if let Some(lane) = &mut self.lane {
            lane.append(dts, frame);
        }
    }

    fn following(&mut self, following: &[(i64, i64)]) {
        self.following.clear();
        let Some(lane) = &self.lane else { return };
        let millis = |ticks| millis(ticks, lane.timescale());
        let told = following.iter().take(limits::FOLLOWING_MAX).map(|&(shown, duration)| {
            let (time, end) = (millis(shown).max(0), millis(shown.saturating_add(duration)));
            (time as u64, end.saturating_sub(time).max(0) as u64)
        });
        self.following.extend(told);
    }

    fn end(&mut self, until: Option<i64>, out: &mut Pieces) {
        if let Some(lane) = &mut self.lane {
            lane.close_until(until);
        }
        self.push(out);
    }

    fn init(&self, _out: &mut Vec<u8>) {}
}

fn is_full(lane: &Lane) -> bool {
    let complete = lane.complete();
    complete.len() >= limits::PART_FRAMES_MAX
        || lane.held_bytes() >= limits::PART_BYTES_MAX
        || complete.last().is_some_and(|last| last.duration == u32::MAX)
}

/// From ticks of a track to the manifest's, for one fragment.
struct Scale {
    timescale: u32,
    /// When the first sample is shown.
    time: i64,
    /// When it is decoded, on the stream's clock.
    decoded: i64,
    /// By what the others are decoded earlier than at their distance from it.
    early: i64,
}

impl Scale {
    /// For samples of which there is one.
    fn of(samples: &[Sample], timescale: u32) -> Self {
        let millis = |ticks| millis(ticks, timescale);
        let mut scale = Scale {
            timescale,
            time: millis(shown(&samples[0])).max(0),
            decoded: millis(samples[0].dts),
            early: 0,
        };
        let needed = samples.iter().map(|sample| {
            scale
                .distance(sample.dts)
                .saturating_add(scale.time)
                .saturating_sub(millis(shown(sample)))
        });
        scale.early = needed.max().unwrap_or(0).max(0);
        scale
    }

    /// Of what is decoded at `dts` from the first sample, ms.
    fn distance(&self, dts: i64) -> i64 {
        millis(dts, self.timescale).saturating_sub(self.decoded)
    }

    /// Ms from `time` until the sample at `index` is decoded. What would be before the first sample is a ms apart.
    fn decoded(&self, index: usize, dts: i64) -> i64 {
        let distance = self.distance(dts);
        distance.saturating_sub(self.early).max(distance.min(index as i64))
    }

    /// Gives the sum of their durations.
    fn apply(&self, samples: &mut [Sample]) -> u64 {
        let end = samples.last().map_or(0, |last| self.distance(last.end()));
        let mut sum = 0;
        for index in 0..samples.len() {
            let next = samples
                .get(index + 1)
                .map_or(end, |next| self.decoded(index + 1, next.dts));
            let sample = &mut samples[index];
            let decoded = self.decoded(index, sample.dts);
            let shown = millis(shown(sample), self.timescale);
            sample.dts = decoded.saturating_add(self.time);
            sample.offset = clamp(shown.saturating_sub(sample.dts));
            sample.duration = u32::try_from(next.saturating_sub(decoded)).unwrap_or(u32::MAX);
            sum += u64::from(sample.duration);
        }
        sum
    }
}

/// Ticks.
fn shown(sample: &Sample) -> i64 {
    sample.dts.saturating_add(i64::from(sample.offset))
}

/// In the manifest's timescale, rounded down. Times that no 64 bits would hold there are the nearest that some do.
fn millis(ticks: i64, timescale: u32) -> i64 {
    let ticks_max = i64::MAX / i64::from(TIMESCALE);
    rescale(ticks.clamp(-ticks_max, ticks_max), timescale, TIMESCALE)
}
