//! CMAF segments: one track, cut in chunks that are the parts of LL-HLS and the chunks of low-latency DASH.
//!
//! Specification: ISO/IEC 23000-19, 7.3 (chunks, fragments, segments), RFC 8216bis 4.4.4.9 (parts). Not here: which frame begins a
//! segment, and what a playlist says.
//!
//! A segment is `styp`, then `moof mdat` for each part. Times are the stream's, and there is no edit list: the segments of all
//! tracks are on one clock, and those of yesterday on the same.
//!
//! - **A part holds as many frames as fit its target.** It leaves in the moment the duration of its last frame is known and a
//!   further frame as short as its shortest would not fit. So at a steady rate every part but a segment's last is full, though
//!   times were rounded to ms.
//! - **No composition offset is negative**, where that can be done: libavformat adds the largest negative one of a fragmented file
//!   to what it shows of the pictures, and not of the sound. Pictures of a segment are decoded earlier by what the frames of its
//!   first part need, in whole steps of [`limits::EARLY_STEP_MILLIS`]. What a later part needs beyond is written as it is.
//! - **Nothing is decoded before zero.** A frame of before that is decoded at zero, lasts as much shorter, and is shown when it
//!   should.
//! - The `mfhd` number is the segment's with the part's in its low bits, and wraps.

use super::{
    entry,
    lane::{Lane, carries, clamp, of_segment},
    limits,
    mux::EMPTY_RUN,
    wire::{MovieTrack, Sample, boxed, put32, write_chunk, write_movie},
};
use crate::media::{Frame, Kind, Piece, Pieces, SegmentMux, Track};

/// Owned by the stream's home shard.
#[derive(Debug)]
pub struct Cmaf {
    part_ticks: i64,
    lane: Option<Lane>,
    number: u64,
    /// Parts of this segment so far.
    parts: u32,
    /// Of the samples held that are complete.
    shortest: u32,
    /// Ticks by which this segment is decoded before the stream's time; known when its first part is.
    early: Option<i64>,
}

impl Cmaf {
    /// No part lasts longer than `part_ticks` of the track, unless one frame does. `i64::MAX`: segments without parts.
    pub fn new(part_ticks: i64) -> Self {
        Cmaf {
            part_ticks,
            lane: None,
            number: 0,
            parts: 0,
            shortest: u32::MAX,
            early: None,
        }
    }

    /// The newest sample is complete.
    fn cut(&mut self, out: &mut Pieces) {
        if let Some(last) = self.lane.as_ref().and_then(|lane| lane.complete().last()) {
            self.shortest = self.shortest.min(last.duration);
        }
        while let Some(count) = self.due() {
            self.push(count, out);
        }
    }

    /// How many samples are a part that waits for nothing more. All but the newest are known to fit.
    fn due(&self) -> Option<usize> {
        let samples = self.lane.as_ref()?.complete();
        let (first, last) = (samples.first()?, samples.last()?);
        let span = last.end().saturating_sub(first.dts);
        if span > self.part_ticks && samples.len() > 1 {
            return Some(samples.len() - 1);
        }
        let is_full = span.saturating_add(i64::from(self.shortest)) > self.part_ticks
            || samples.len() >= limits::PART_FRAMES_MAX
            || self.lane.as_ref()?.held_bytes() >= limits::PART_BYTES_MAX
            // It may have lasted longer; what follows needs a time of its own.
            || last.duration == u32::MAX;
        is_full.then_some(samples.len())
    }

    fn push(&mut self, count: usize, out: &mut Pieces) {
        let Some(lane) = &mut self.lane else { return };
        let early = *self.early.get_or_insert_with(|| early(lane));
        let (first, last) = (lane.samples()[0], lane.samples()[count - 1]);
        let piece = Piece {
            end: 0,
            dts: first.dts,
            duration: last.end().saturating_sub(first.dts),
            independent: first.key,
        };
        for sample in &mut lane.samples_mut()[..count] {
            decode_earlier(sample, early);
        }
        let is_first = self.parts == 0;
        let sequence_number = sequence_number(self.number, self.parts);
        out.push(piece, |out| {
            if is_first {
                write_styp(out);
            }
            write_chunk(out, sequence_number, [lane.run(count), EMPTY_RUN]);
        });
        lane.drop_front(count);
        self.parts = self.parts.saturating_add(1);
        let durations = lane.complete().iter().map(|sample| sample.duration);
        self.shortest = durations.min().unwrap_or(u32::MAX);
    }
}

impl SegmentMux for Cmaf {
    fn carries(&self, track: &Track) -> bool {
        carries(track)
    }

    fn begin(&mut self, number: u64, tracks: &[Track], _out: &mut Pieces) {
        *self = Cmaf {
            lane: of_segment(self.lane.take(), tracks),
            number,
            ..Cmaf::new(self.part_ticks)
        };
    }

    /// Frames without bytes and of other tracks are left out.
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Pieces) {
        let Some(dts) = self.lane.as_mut().and_then(|lane| lane.close_for(frame)) else {
            return;
        };
        self.cut(out);
        if let Some(lane) = &mut self.lane {
            lane.append(dts, frame);
        }
    }

    fn end(&mut self, until: Option<i64>, out: &mut Pieces) {
        if let Some(lane) = &mut self.lane {
            lane.close_until(until);
        }
        self.cut(out);
        let count = self.lane.as_ref().map_or(0, |lane| lane.samples().len());
        if count > 0 {
            self.push(count, out);
        }
    }

    /// What only a frame tells (of AC-3, E-AC-3, and VP9 without a record) is exact once this segment has one.
    fn init(&self, out: &mut Vec<u8>) {
        let Some(lane) = &self.lane else { return };
        let entry = entry::with_bitrate(&lane.entry, lane.track());
        let track = MovieTrack {
            track_id: lane.track_id,
            kind: lane.kind(),
            timescale: lane.timescale(),
            width: lane.width,
            height: lane.height,
            entry: &entry,
            default_flags: lane.default_flags(),
            media_time: None,
        };
        write_movie(out, &BRANDS, [track].into_iter());
    }
}

/// Ticks by which the pictures must be decoded earlier for none of these to be shown before it is decoded.
fn early(lane: &Lane) -> i64 {
    if lane.kind() == Kind::Audio {
        return 0;
    }
    let lowest = lane.samples().iter().map(|sample| sample.offset).min().unwrap_or(0);
    let needed = i64::from(lowest.min(0)).saturating_neg();
    let step = lane.ticks(limits::EARLY_STEP_MILLIS).max(1);
    let steps_max = i64::from(limits::EARLY_MILLIS_MAX / limits::EARLY_STEP_MILLIS);
    needed.saturating_add(step - 1).div_euclid(step).min(steps_max) * step
}

fn decode_earlier(sample: &mut Sample, early: i64) {
    // Near zero there is no room to be earlier: decode times are as good as zero there, and rise all the same.
    let decoded = |dts: i64| dts.saturating_sub(early).max(dts / SQUEEZE).max(0);
    let shown = sample.dts.saturating_add(i64::from(sample.offset));
    let end = decoded(sample.end());
    sample.dts = decoded(sample.dts);
    sample.duration = u32::try_from(end.saturating_sub(sample.dts)).unwrap_or(u32::MAX);
    sample.offset = clamp(shown.saturating_sub(sample.dts));
}

/// Grows from part to part and from segment to segment, and wraps. The first of all is 1.
fn sequence_number(number: u64, part: u32) -> u32 {
    let part_max = (1 << limits::PART_NUMBER_BITS) - 1;
    (number as u32) << limits::PART_NUMBER_BITS | part.saturating_add(1).min(part_max)
}

/// A segment of ISO/IEC 23009-1, 6.3.4.2, which says nothing of how its chunks begin.
fn write_styp(out: &mut Vec<u8>) {
    boxed(out, b"styp", |out| {
        out.extend_from_slice(b"msdh");
        put32(out, 0);
        out.extend_from_slice(b"msdhiso6");
    });
}

/// What is left of times that have no room to be earlier: 320 ms become little more than one, pictures at 60 a second stay 5
/// ticks apart.
const SQUEEZE: i64 = 256;

/// What `ftyp` says, the major brand first: `cmfc` for CMAF (23000-19, 7.2), `dash` for segments without an index.
const BRANDS: [&[u8; 4]; 4] = [b"iso6", b"cmfc", b"dash", b"mp41"];
