//! Smooth Streaming fragments: one track, a whole segment in one `moof mdat`, as players of MS-SSTR fetch them.
//!
//! Specification: MS-SSTR 2.2.4 (fragment response), 2.2.4.4 (`tfxd`), 2.2.4.5 (`tfrf`). There is no initialization segment:
//! players make one of the manifest, and count in its timescale, which is [`TIMESCALE`] here as in MistServer's.
//!
//! - **A fragment begins when its first picture is shown.** That is its time in manifest and URL, and players take it as the
//!   decode time of its first sample (ExoPlayer, dash.js, GStreamer; there is no `tfdt`). So offsets are told relative to the first
//!   sample's: pictures stay with their sound. Those of B-frames are then negative, in a `trun` of version 1; players read
//!   the field signed in every version.
//! - Decode times are rounded down to ms each, so durations add up and nothing drifts.
//! - **`tfrf` tells what [`SegmentMux::following`] was told**, which is part of what the fragment is made of. When nothing was
//!   told, nothing is guessed: a player asks for exactly that time, and one that is wrong by a ms is not there. The box is
//!   there all the same.

use super::{
    cmaf::{begin, carries, clamp, close, take},
    lane::Lane,
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
        let scale = Scale::of(&first, lane.timescale());
        let duration = lane.samples_mut()[..count].iter_mut().fold(0, |sum, sample| {
            scale.apply(sample);
            sum + u64::from(sample.duration)
        });
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
        self.lane = begin(self.lane.take(), tracks);
        self.number = number;
        self.following.clear();
    }

    /// Frames without bytes and of other tracks are left out. A segment beyond what a chunk may hold goes on in another.
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Pieces) {
        let Some(dts) = take(&mut self.lane, frame) else { return };
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
        let millis = |ticks: i64| rescale(ticks, lane.timescale(), TIMESCALE);
        let told = following.iter().take(limits::FOLLOWING_MAX).map(|&(shown, duration)| {
            let (time, end) = (millis(shown).max(0), millis(shown.saturating_add(duration)));
            (time as u64, end.saturating_sub(time).max(0) as u64)
        });
        self.following.extend(told);
    }

    fn end(&mut self, until: Option<i64>, out: &mut Pieces) {
        close(&mut self.lane, until);
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
}

impl Scale {
    fn of(first: &Sample, timescale: u32) -> Self {
        let shown = first.dts.saturating_add(i64::from(first.offset));
        Scale {
            timescale,
            time: rescale(shown, timescale, TIMESCALE).max(0),
            decoded: rescale(first.dts, timescale, TIMESCALE),
        }
    }

    fn apply(&self, sample: &mut Sample) {
        let millis = |ticks| rescale(ticks, self.timescale, TIMESCALE);
        let shown = millis(sample.dts.saturating_add(i64::from(sample.offset)));
        let end = millis(sample.end());
        let dts = millis(sample.dts);
        sample.duration = u32::try_from(end.saturating_sub(dts)).unwrap_or(u32::MAX);
        sample.dts = dts.saturating_sub(self.decoded).saturating_add(self.time);
        sample.offset = clamp(shown.saturating_sub(sample.dts));
    }
}
