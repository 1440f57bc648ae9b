//! The stream's segment index: which frame begins which segment of which track, written to the ring whether or not anybody
//! watches (DESIGN.md 4.1), and what is measured segment by segment.
//!
//! The main track decides where segments are cut ([`Cuts`]). Another track begins its part of a segment with its first frame,
//! of a picture its first keyframe, at or after that time; at a break with its first frame; and with any frame when it has
//! missed a whole segment. Each track is in one segment at a time, and never in an older one than before.

use std::collections::VecDeque;

use penstock_proto::media::{Kind, Rate};
use penstock_shard::ring::{self, TrackStart};

use super::cuts::{Cut, Cuts, Key};
use crate::limits;

/// Bits of a segment in the ring.
pub mod flags {
    /// A break stands before it.
    pub const DISCONTINUITY: u32 = 1;
    /// The upper bits count the stream's discontinuities up to this segment, itself included.
    pub const COUNT_SHIFT: u32 = 8;
}

/// What rounding to ms at the begin and at the end of a part can add to it.
const PART_ROUNDING_MICROS: f64 = 2000.0;

/// Owned by the stream.
#[derive(Debug)]
pub struct Segments {
    pub cuts: Cuts,
    running: Option<Running>,
    /// Of the next segment that is cut.
    number_next: u64,
    discontinuities: u32,
    tracks: Vec<TrackPlace>,
    /// Of tracks whose parts have been listed, µs: they do not change any more.
    part_targets: Vec<(u32, u32)>,
}

/// The segment that is being filled.
#[derive(Debug)]
struct Running {
    number: u64,
    micros: i64,
    flags: u32,
    starts: Vec<TrackStart>,
}

/// Where one track is, and what was measured of it.
#[derive(Debug)]
struct TrackPlace {
    track: u32,
    number: u64,
    running: Measured,
    begun_micros: i64,
    last_micros: i64,
    past: VecDeque<Measured>,
}

/// One segment of one track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    pub bytes: u64,
    pub frames: u64,
    pub micros: i64,
}

/// A frame that is about to come.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub track: u32,
    pub kind: Kind,
    pub key: Key,
    /// It decides where segments are cut.
    pub is_main: bool,
    pub micros: i64,
    pub bytes: usize,
}

/// A track begins its part of a segment with the frame that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begins {
    pub number: u64,
    /// See [`flags`].
    pub flags: u32,
}

impl Segments {
    pub fn new(segment_millis: u32, number_first: u64) -> Segments {
        Segments {
            cuts: Cuts::new(segment_millis),
            running: None,
            number_next: number_first,
            discontinuities: 0,
            tracks: Vec::new(),
            part_targets: Vec::new(),
        }
    }

    /// Before a frame goes to the ring: cuts, if it is to begin a segment. The length of a GOP that broke a promise, µs.
    pub fn before(&mut self, ring: &mut ring::Writer, arrival: &Arrival) -> Option<i64> {
        if !arrival.is_main {
            if let Some(cut) = self.cuts.other_frame(arrival.micros) {
                self.cut(ring, &cut);
            }
            return None;
        }
        let key = match arrival.kind {
            Kind::Video => arrival.key,
            _ => Key::Key,
        };
        let judged = self.cuts.main_frame(key, arrival.micros);
        if let Some(cut) = &judged.cut {
            self.cut(ring, cut);
        }
        judged.broken_gop
    }

    /// The frame is in the ring at `sequence`: whether it begins a segment of its track.
    pub fn after(&mut self, arrival: &Arrival, sequence: u64) -> Option<Begins> {
        let running = self.running.as_mut()?;
        let at = match self.tracks.iter().position(|place| place.track == arrival.track) {
            Some(at) => at,
            None => {
                self.tracks.push(TrackPlace::new(arrival));
                self.tracks.len() - 1
            }
        };
        let place = &mut self.tracks[at];
        let is_discontinuity = running.flags & flags::DISCONTINUITY != 0;
        let is_first = place.running.frames == 0 && place.past.is_empty();
        let begins = is_first
            || place.number < running.number && {
                let is_key = arrival.kind != Kind::Video || arrival.key == Key::Key;
                let has_missed = place.number + 1 < running.number;
                arrival.is_main || is_discontinuity || has_missed || is_key && arrival.micros >= running.micros
            };
        if begins {
            place.begin(running.number, arrival.micros);
            if running.starts.len() < ring::limits::SEGMENT_TRACKS_MAX {
                running.starts.push(TrackStart {
                    track: arrival.track,
                    sequence,
                });
            }
        }
        place.running.bytes += arrival.bytes as u64;
        place.running.frames += 1;
        place.last_micros = arrival.micros;
        begins.then_some(Begins {
            number: running.number,
            flags: running.flags,
        })
    }

    /// Only `kept` tracks are there from here on.
    pub fn keep(&mut self, is_kept: impl Fn(u32) -> bool) {
        self.tracks.retain(|place| is_kept(place.track));
    }

    fn cut(&mut self, ring: &mut ring::Writer, cut: &Cut) {
        if !self.close(ring, cut.micros) {
            return;
        }
        self.discontinuities += u32::from(cut.is_discontinuity);
        let flags = self.discontinuities << flags::COUNT_SHIFT | u32::from(cut.is_discontinuity);
        self.running = Some(Running {
            number: self.number_next,
            micros: cut.micros,
            flags,
            starts: Vec::new(),
        });
    }

    /// The running segment ends at `micros`. False where the budget leaves no block for the index: then it goes on, so that
    /// nobody is told a wrong number.
    fn close(&mut self, ring: &mut ring::Writer, micros: i64) -> bool {
        let Some(running) = &self.running else { return true };
        let duration = (micros - running.micros).max(0);
        let Ok(number) = ring.cut_segment(running.micros, duration, running.flags, &running.starts) else {
            return false;
        };
        debug_assert_eq!(number, running.number);
        self.number_next = number + 1;
        self.running = None;
        true
    }

    /// No frame will come.
    pub fn end(&mut self, ring: &mut ring::Writer) {
        let last = self.tracks.iter().map(TrackPlace::end_micros).max();
        if let Some(last) = last {
            // The last one may be missing in the index, not on the shelf.
            let _ = self.close(ring, last);
        }
    }

    /// The segment that is being filled: its number, flags and where `track` begins in it.
    pub fn running(&self, track: u32) -> Option<(u64, u32, Option<u64>)> {
        let running = self.running.as_ref()?;
        let start = running.starts.iter().find(|start| start.track == track);
        Some((running.number, running.flags, start.map(|start| start.sequence)))
    }

    /// Finished segments of a track, oldest first.
    pub fn measured(&self, track: u32) -> impl Iterator<Item = &Measured> {
        let place = self.tracks.iter().find(|place| place.track == track);
        place.into_iter().flat_map(|place| &place.past)
    }

    /// Frames a second of a track; 0 before the first segment is complete.
    pub fn frame_rate(&self, track: u32) -> f64 {
        let (frames, micros) = self.measured(track).fold((0, 0), |(frames, micros), measured| {
            (frames + measured.frames, micros + measured.micros)
        });
        match micros {
            1.. => frames as f64 * 1e6 / micros as f64,
            _ => 0.0,
        }
    }

    /// The longest part of a track, µs: as many frames as come nearest to `wanted_millis`, and what times that were rounded to
    /// ms add. Once it has been asked for it does not change.
    pub fn part_target_micros(&mut self, track: u32, wanted_millis: u32) -> u32 {
        if let Some((_, micros)) = self.part_targets.iter().find(|(known, _)| *known == track) {
            return *micros;
        }
        let wanted = f64::from(wanted_millis) * 1000.0;
        let Some((frame, doubt)) = self.frame_micros(track) else {
            return (wanted + PART_ROUNDING_MICROS) as u32;
        };
        let frames = (wanted / frame).round().max(1.0);
        let rounding = (PART_ROUNDING_MICROS + frames * doubt).min(frame / 4.0);
        let micros = (((frames * frame + rounding) / 1000.0).ceil() * 1000.0) as u32;
        self.part_targets.push((track, micros));
        micros
    }

    /// How long a frame of a track lasts, and by how much times that were rounded to ms may have it wrong, µs: from complete
    /// segments, or from as much of the first one as is there.
    fn frame_micros(&self, track: u32) -> Option<(f64, f64)> {
        let rate = self.frame_rate(track);
        if rate > 0.0 {
            return Some((1e6 / rate, 0.0));
        }
        let place = self.tracks.iter().find(|place| place.track == track)?;
        let intervals = place.running.frames.checked_sub(1).filter(|count| *count > 0)? as f64;
        let span = (place.last_micros - place.begun_micros) as f64;
        (span > 0.0).then(|| (span / intervals, 1000.0 / intervals))
    }

    /// Bits a second of a track with `overhead` bytes for each frame.
    pub fn rate(&self, track: u32, overhead: u64) -> Rate {
        let bytes = |measured: &Measured| measured.bytes + measured.frames * overhead;
        let bits = |bytes: u64, micros: i64| (bytes * 8_000_000).checked_div(micros.max(0) as u64).unwrap_or(0);
        let (mut peak, mut all, mut time) = (0, 0, 0);
        for measured in self.measured(track) {
            peak = peak.max(bits(bytes(measured), measured.micros));
            all += bytes(measured);
            time += measured.micros;
        }
        Rate {
            peak,
            average: bits(all, time),
        }
    }
}

impl TrackPlace {
    fn new(arrival: &Arrival) -> TrackPlace {
        TrackPlace {
            track: arrival.track,
            number: 0,
            running: Measured::default(),
            begun_micros: arrival.micros,
            last_micros: arrival.micros,
            past: VecDeque::new(),
        }
    }

    fn begin(&mut self, number: u64, micros: i64) {
        let mut done = std::mem::take(&mut self.running);
        done.micros = micros - self.begun_micros;
        (self.number, self.begun_micros) = (number, micros);
        // A gap is no rate.
        if done.frames > 0 && done.micros > 0 && done.micros <= limits::TARGET_MICROS_MAX {
            if self.past.len() == limits::RATE_SEGMENTS {
                self.past.pop_front();
            }
            self.past.push_back(done);
        }
    }

    /// Where its next frame would be.
    fn end_micros(&self) -> i64 {
        let frames = self.running.frames.saturating_sub(1) as i64;
        let interval = (self.last_micros - self.begun_micros).checked_div(frames).unwrap_or(0);
        self.last_micros + interval.clamp(0, limits::FRAME_MICROS_MAX)
    }
}
