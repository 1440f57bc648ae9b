//! Frames of one track that are not yet in a chunk.
//!
//! The newest frame is *open*: how long it lasts is known when its successor comes. All others are complete.

use super::{
    entry, limits,
    wire::{Run, Sample, flags},
};
use crate::media::{Format, Frame, Kind, Track};

#[derive(Debug)]
pub struct Lane {
    track: Track,
    pub track_id: u32,
    /// See [`entry::entry`].
    pub entry: Vec<u8>,
    pub width: u32,
    pub height: u32,
    seen_frame: bool,
    samples: Vec<Sample>,
    bytes: Vec<u8>,
    /// Whether the last of `samples` is open.
    open: bool,
    /// How long the last complete sample lasted; before one is, what the format says or is usual.
    duration_last: u32,
}

impl Lane {
    /// `None` when MP4 cannot carry the track.
    pub fn new(track: &Track) -> Option<Self> {
        if track.timescale == 0 {
            return None;
        }
        let entry = entry::entry(track, &[])?;
        let (width, height) = entry::dimensions(track, &[]);
        Some(Lane {
            track: track.clone(),
            track_id: match track.kind() {
                Kind::Video | Kind::Meta => 1,
                Kind::Audio => 2,
            },
            entry,
            width,
            height,
            seen_frame: false,
            samples: Vec::new(),
            bytes: Vec::new(),
            open: false,
            duration_last: usual_duration(track),
        })
    }

    /// A lane for frames of `track` as [`Lane::new`] makes it, with the buffers of the one before.
    pub fn renewed(before: Option<Self>, track: &Track) -> Option<Self> {
        let Some(mut before) = before else {
            return Lane::new(track);
        };
        before.samples.clear();
        before.bytes.clear();
        // What a frame told is forgotten too: the next segment's own first frame tells it again.
        if before.track != *track || entry::wants_first_frame(track) {
            let made = Lane::new(track)?;
            return Some(Lane {
                samples: before.samples,
                bytes: before.bytes,
                ..made
            });
        }
        before.open = false;
        before.duration_last = usual_duration(track);
        Some(before)
    }

    pub fn track(&self) -> &Track {
        &self.track
    }

    pub fn kind(&self) -> Kind {
        self.track.kind()
    }

    pub fn timescale(&self) -> u32 {
        self.track.timescale
    }

    pub fn is_of(&self, frame: &Frame<'_>) -> bool {
        self.track.id == frame.track
    }

    /// Whether frames of `track` can follow behind the same `moov`. Takes over its id when so.
    pub fn accept(&mut self, track: &Track) -> bool {
        let same = self.track.codec == track.codec
            && self.track.timescale == track.timescale
            && self.track.codec_data == track.codec_data
            && same_shape(&self.track.format, &track.format);
        if same {
            self.track.id = track.id;
            self.track.generation = track.generation;
        }
        same
    }

    pub fn default_flags(&self) -> u32 {
        match self.kind() {
            Kind::Audio => flags::SYNC,
            Kind::Video | Kind::Meta => flags::NON_SYNC,
        }
    }

    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    pub fn complete(&self) -> &[Sample] {
        &self.samples[..self.samples.len() - usize::from(self.open)]
    }

    /// For times of another clock, just before the samples are written and forgotten.
    pub fn samples_mut(&mut self) -> &mut [Sample] {
        &mut self.samples
    }

    pub fn held_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Completes the open sample: its successor decodes at `dts`.
    pub fn close_at(&mut self, dts: i64) {
        if let Some(last) = self.samples.last_mut().filter(|_| self.open) {
            // A jump beyond 32 bits of ticks (13 h at 90 kHz) leaves a gap; a sample cannot last longer.
            last.duration = u32::try_from(dts.saturating_sub(last.dts).max(0)).unwrap_or(u32::MAX);
            self.duration_last = last.duration;
            self.open = false;
        }
    }

    /// Completes the open sample with what its predecessor lasted.
    pub fn close(&mut self) {
        if let Some(last) = self.samples.last_mut().filter(|_| self.open) {
            last.duration = self.duration_last;
            self.open = false;
        }
    }

    /// Completes the last frame of a segment, which ends at `until` if that is known.
    pub fn close_until(&mut self, until: Option<i64>) {
        match until {
            Some(until) => self.close_at(until),
            None => self.close(),
        }
    }

    /// Completes the frame before `frame`, and tells when that decodes. Nothing when it has no place in a segment of this track.
    pub fn close_for(&mut self, frame: &Frame<'_>) -> Option<i64> {
        assert!(frame.data.len() <= limits::FRAME_BYTES_MAX, "the ring bounds frames");
        if !self.is_of(frame) || frame.data.is_empty() {
            return None;
        }
        let newest = self.samples.last().map_or(i64::MIN, |sample| sample.dts);
        debug_assert!(frame.dts >= newest, "decode time does not fall within a track");
        let dts = frame.dts.max(newest);
        self.close_at(dts);
        Some(dts)
    }

    /// Appends a frame that decodes at `dts`; the one before is complete.
    pub fn append(&mut self, dts: i64, frame: &Frame<'_>) {
        debug_assert!(!self.open);
        if !self.seen_frame {
            self.seen_frame = true;
            self.look_at(frame.data);
        }
        self.samples.push(Sample {
            dts,
            duration: 0,
            offset: frame.offset,
            bytes: frame.data.len() as u32,
            key: frame.key || self.kind() == Kind::Audio,
        });
        self.bytes.extend_from_slice(frame.data);
        self.open = true;
    }

    /// Ticks in `millis`.
    pub fn ticks(&self, millis: u32) -> i64 {
        i64::from(self.track.timescale) * i64::from(millis) / 1000
    }

    pub fn span(&self, count: usize) -> i64 {
        match &self.samples[..count] {
            [] => 0,
            [first, .., last] => last.end().saturating_sub(first.dts),
            [only] => i64::from(only.duration),
        }
    }

    /// How many complete samples, at least one if there is one, go into a chunk of at most `ticks`.
    pub fn fit(&self, ticks: i64) -> usize {
        let complete = self.complete();
        let Some(first) = complete.first() else { return 0 };
        let mut bytes = 0;
        let fitting = complete
            .iter()
            .take(limits::CHUNK_FRAMES_MAX)
            .take_while(|sample| {
                let room = bytes < limits::CHUNK_BYTES_MAX;
                bytes += sample.bytes as usize;
                room && sample.end().saturating_sub(first.dts) <= ticks
            })
            .count();
        fitting.max(1)
    }

    /// Whether the samples, all complete, should not wait for one more like the last.
    pub fn is_full(&self, ticks: i64) -> bool {
        self.span(self.samples.len())
            .saturating_add(i64::from(self.duration_last))
            > ticks
            || self.samples.len() >= limits::CHUNK_FRAMES_MAX
            || self.bytes.len() >= limits::CHUNK_BYTES_MAX
    }

    /// How many complete samples decode before `dts` of a track with `timescale`.
    pub fn count_before(&self, dts: i64, timescale: u32) -> usize {
        let limit = i128::from(dts) * i128::from(self.track.timescale);
        self.complete()
            .partition_point(|sample| i128::from(sample.dts) * i128::from(timescale) < limit)
    }

    pub fn run(&self, count: usize) -> Run<'_> {
        Run {
            track_id: self.track_id,
            default_flags: self.default_flags(),
            samples: &self.samples[..count],
            bytes: &self.bytes[..self.bytes_of(count)],
        }
    }

    /// Forgets the first `count` samples; the buffers stay.
    pub fn drop_front(&mut self, count: usize) {
        let bytes = self.bytes_of(count);
        self.bytes.drain(..bytes);
        self.samples.drain(..count);
    }

    fn bytes_of(&self, count: usize) -> usize {
        self.samples[..count].iter().map(|sample| sample.bytes as usize).sum()
    }

    fn look_at(&mut self, first_frame: &[u8]) {
        if !entry::wants_first_frame(&self.track) {
            return;
        }
        let (width, height) = entry::dimensions(&self.track, first_frame);
        if let Format::Video {
            width: known_width,
            height: known_height,
            ..
        } = &mut self.track.format
        {
            (*known_width, *known_height) = (width, height);
        }
        (self.width, self.height) = (width, height);
        if let Some(entry) = entry::entry(&self.track, first_frame) {
            self.entry = entry;
        }
    }
}

pub fn carries(track: &Track) -> bool {
    Lane::new(track).is_some()
}

/// The lane of the one track that a segment is of.
pub fn of_segment(before: Option<Lane>, tracks: &[Track]) -> Option<Lane> {
    let track = tracks.iter().find(|track| carries(track))?;
    Lane::renewed(before, track)
}

/// As an `i32`, or the nearest.
pub fn clamp(ticks: i64) -> i32 {
    ticks.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

/// Frame rates are hints and change without a new `moov`; so does size where zero means unknown.
fn same_shape(a: &Format, b: &Format) -> bool {
    match (a, b) {
        (
            Format::Video { width, height, .. },
            Format::Video {
                width: width_b,
                height: height_b,
                ..
            },
        ) => *width_b == 0 || *height_b == 0 || (width, height) == (width_b, height_b),
        (a, b) => a == b,
    }
}

/// Ticks of one frame as the format says, or 25 pictures per second, or 1,024 audio samples.
fn usual_duration(track: &Track) -> u32 {
    match track.format {
        Format::Video { frame_rate, .. } if frame_rate.is_finite() && frame_rate >= 1.0 => {
            ((f64::from(track.timescale) / frame_rate) as u32).max(1)
        }
        Format::Audio { .. } => 1024,
        _ => (track.timescale / 25).max(1),
    }
}
