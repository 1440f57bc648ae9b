//! A stream that plays by itself, for tests: at any moment of it the facts of which manifests are made. Cuts are decided in
//! advance, so that the truth is known apart from what is listed.

use std::collections::VecDeque;

use super::{Began, Latency, Naming, Options, manifest};
use crate::media::{Codec, Format, Part, Presentation, Rate, Rendition, Segment, Track, rescale};

/// A segment of the stream: where it begins in pictures, and what is special.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cut {
    /// ms of decode time
    pub start: f64,
    pub discontinuity: bool,
    /// Nothing came for so many ms before it.
    pub pause: f64,
    /// Of the video's codec data.
    pub generation: u32,
    /// The sound of it is lost.
    pub silent: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Scene {
    /// Ends with where the last one ends.
    pub cuts: Vec<Cut>,
    pub presentation: Presentation,
    /// One segment number for each cut.
    pub first_number: u64,
    pub tracks: Vec<Track>,
    /// Ticks of a frame of each track.
    pub frames: Vec<i64>,
    /// Pictures are shown so many ms after they are decoded.
    pub reordering: i64,
    pub part_millis: i64,
}

/// What is there at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    pub presentation: Presentation,
    pub renditions: Vec<Rendition>,
    pub began: Option<Began>,
}

pub(crate) const WALL_AT_ZERO: i64 = 1_795_600_000_000_000;

impl Scene {
    /// 25 pictures a second in segments of 2 s, and 48 kHz AAC.
    pub fn new(start_millis: i64, seconds: i64) -> Scene {
        let cuts = (0..=seconds / 2).map(|at| Cut {
            start: (start_millis + at * 2_000) as f64,
            ..Cut::default()
        });
        Scene {
            cuts: cuts.collect(),
            presentation: Presentation {
                epoch: "a1B2c3".to_owned(),
                target_seconds: 2,
                is_independent: true,
                window_millis: 20_000,
                epoch_wall_micros: WALL_AT_ZERO,
                ..Presentation::default()
            },
            first_number: 17,
            tracks: vec![video(1), audio(2)],
            frames: vec![3_600, 1_024],
            reordering: 80,
            part_millis: 333,
        }
    }

    pub fn end(&self) -> i64 {
        self.cuts.last().expect("there are cuts").start as i64
    }

    /// When everything decoded before `millis` has come.
    pub fn at(&self, millis: i64) -> Moment {
        let mut presentation = self.presentation.clone();
        presentation.now_wall_micros = WALL_AT_ZERO + millis * 1000 + 40_000;
        presentation.is_ended = millis >= self.end();
        let horizon = millis - presentation.window_millis as i64;
        let dropped = self.cuts[1..]
            .iter()
            .take_while(|next| (next.start as i64) < horizon)
            .count();
        let mut renditions = Vec::new();
        for at in 0..self.tracks.len() {
            renditions.push(self.rendition(at, dropped, millis));
        }
        let mut began = None;
        for at in 0..dropped {
            let segment = self.segment(0, at);
            if at == 0 || segment.discontinuity {
                began = Some(Began::at(&renditions[0], &segment));
            }
        }
        Moment {
            presentation,
            renditions,
            began,
        }
    }

    fn rendition(&self, track: usize, dropped: usize, millis: i64) -> Rendition {
        let timescale = self.tracks[track].timescale;
        let so_far = rescale(millis, 1000, timescale);
        let mut segments = VecDeque::new();
        let mut growing = None;
        let mut newest = 0;
        for at in dropped..self.cuts.len() - 1 {
            let mut segment = self.segment(track, at);
            let end = segment.start + segment.duration;
            if segment.start >= so_far {
                break;
            }
            newest = segment.generation;
            if end <= so_far || millis >= self.end() {
                segments.push_back(segment);
                continue;
            }
            segment.duration = so_far - segment.start;
            let part = rescale(self.part_millis, 1000, timescale);
            segment.parts = (0..segment.duration / part).map(|_| part_of(part)).collect();
            growing = Some(segment);
            break;
        }
        let is_video = matches!(self.tracks[track].format, Format::Video { .. });
        Rendition {
            tracks: vec![Track {
                generation: newest,
                ..self.tracks[track].clone()
            }],
            path: self.tracks[track].id.to_string(),
            timescale,
            segments,
            growing,
            discontinuities_before: self.cuts[..dropped].iter().filter(|cut| cut.discontinuity).count() as u64,
            part_target_micros: self.part_millis as u32 * 1000,
            rate: Rate {
                peak: if is_video { 2_634_221 } else { 128_900 } + millis as u64 % 1000,
                average: 120_000,
            },
            frame_rate: if is_video { 24.99 } else { 0.0 },
        }
    }

    /// Where segment `at` begins in a track: its first frame at or after the cut.
    fn start(&self, track: usize, at: usize) -> i64 {
        self.frame_at(track, self.cuts[at].start)
    }

    fn frame_at(&self, track: usize, millis: f64) -> i64 {
        let timescale = f64::from(self.tracks[track].timescale);
        let frame = self.frames[track] as f64;
        let ticks = millis * timescale / 1000.0;
        match self.tracks[track].format {
            Format::Video { .. } => ticks.round() as i64,
            _ => ((ticks / frame).ceil() * frame) as i64,
        }
    }

    /// As it is when it is whole.
    pub fn segment(&self, track: usize, at: usize) -> Segment {
        let (cut, next) = (self.cuts[at], self.cuts[at + 1]);
        let timescale = self.tracks[track].timescale;
        let is_video = matches!(self.tracks[track].format, Format::Video { .. });
        let start = self.start(track, at);
        let shown = start
            + if is_video {
                rescale(self.reordering, 1000, timescale)
            } else {
                0
            };
        Segment {
            number: self.first_number + at as u64,
            name_millis: rescale(shown, timescale, 1000),
            start,
            shown,
            duration: self.frame_at(track, next.start - next.pause) - start,
            generation: if is_video { cut.generation } else { 0 },
            discontinuity: cut.discontinuity,
            independent: true,
            gap: cut.silent && !is_video,
            ..Segment::default()
        }
    }
}

impl Moment {
    pub fn write(&self, naming: Naming, latency: Option<Latency>, out: &mut String) -> bool {
        let (video, audio): (Vec<&Rendition>, Vec<&Rendition>) = self
            .renditions
            .iter()
            .partition(|rendition| matches!(rendition.tracks[0].format, Format::Video { .. }));
        let options = Options {
            naming,
            began: self.began,
            latency,
            title: "a <b> & \"c\"",
            codecs: &codecs,
            earlier: &|track, generation| {
                let mut track = track.clone();
                track.generation = generation;
                Some(track)
            },
        };
        manifest(&self.presentation, &video, &audio, &options, out)
    }
}

pub(crate) const LATENCY: Latency = Latency {
    target_millis: 1_500,
    min_millis: 1_000,
    max_millis: 6_000,
};

fn codecs(track: &Track) -> Option<String> {
    match track.codec {
        Codec::H264 => Some(format!("avc1.64001{:x}", 8 + track.generation)),
        Codec::Aac => Some("mp4a.40.2".to_owned()),
        _ => None,
    }
}

fn part_of(duration: i64) -> Part {
    Part {
        duration,
        independent: false,
        offset: 0,
        bytes: 1,
    }
}

pub(crate) fn video(id: u32) -> Track {
    Track {
        id,
        generation: 0,
        codec: Codec::H264,
        timescale: 90_000,
        codec_data: Vec::new(),
        bitrate_hint: 0,
        format: Format::Video {
            width: 640,
            height: 360,
            frame_rate: 0.0,
        },
    }
}

pub(crate) fn audio(id: u32) -> Track {
    Track {
        id,
        generation: 0,
        codec: Codec::Aac,
        timescale: 48_000,
        codec_data: Vec::new(),
        bitrate_hint: 128_000,
        format: Format::Audio {
            sample_rate: 48_000,
            channels: 2,
            sample_bits: 16,
        },
    }
}
