//! A live stream in simulated time, as its home would cut it: what the tests of this folder write playlists of. Only compiled
//! for tests.
//!
//! A picture of 30 frames a second with GOPs of any length, and a sound of 48 kHz; a step is one part. What can happen to a
//! stream does: other codec data, another publisher, a jump of time, a lost segment, the end.

use super::{Form, Newest, Packaging, Skip, master_cmaf, media};
use crate::media::{Codec, Format, Part, Presentation, Rate, Rendition, Segment, Track, rescale};
use crate::noise::Noise;

/// What happens before a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happens {
    Nothing,
    /// Other codec data of the picture.
    CodecData,
    /// Another publisher, whose time begins elsewhere.
    Publisher,
    /// The segment that begins next is lost.
    Loss,
}

pub struct Scene {
    pub presentation: Presentation,
    pub video: Rendition,
    pub audio: Rendition,
    /// Simulated time, ms since the start.
    pub now_millis: u64,
    noise: Noise,
    number: u64,
    generation: u32,
    /// Frames to the next keyframe.
    gop_left: u64,
    /// Frames and what waits of the part that is being made, of each.
    waits: [Waiting; 2],
    /// Wall time at time 0 of the publisher's.
    wall_base: i64,
    is_losing: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    frames: i64,
    independent: bool,
}

pub const TARGET_SECONDS: u32 = 4;
const SEGMENT_FRAMES: i64 = 60;
const FRAME_TICKS: [i64; 2] = [3_000, 1_024];
const PART_FRAMES: [i64; 2] = [10, 16];
const WINDOW_MICROS: u64 = 60_000_000;

impl Scene {
    /// A stream whose first frame stands at `start_seconds` and was made at `wall_micros`.
    pub fn new(seed: u64, start_seconds: i64, wall_micros: i64) -> Self {
        let rendition = |track: Track, part_ticks: i64| Rendition {
            path: track.id.to_string(),
            timescale: track.timescale,
            part_target_micros: track.rescale(part_ticks, 1_000_000) as u32,
            rate: Rate {
                peak: 1_000_000,
                average: 900_000,
            },
            frame_rate: 29.97,
            tracks: vec![track],
            ..Rendition::default()
        };
        let mut scene = Scene {
            presentation: Presentation {
                epoch: "ab12cd".to_owned(),
                target_seconds: TARGET_SECONDS,
                is_independent: true,
                window_millis: WINDOW_MICROS / 1_000,
                ..Presentation::default()
            },
            video: rendition(video_track(), FRAME_TICKS[0] * PART_FRAMES[0]),
            audio: rendition(audio_track(2), FRAME_TICKS[1] * PART_FRAMES[1]),
            now_millis: 0,
            noise: Noise(seed),
            number: 0,
            generation: 0,
            gop_left: 0,
            waits: [Waiting::default(); 2],
            wall_base: wall_micros - start_seconds * 1_000_000,
            is_losing: false,
        };
        scene.begin(start_seconds * 90_000, false);
        scene
    }

    /// One part of the picture later, and as much of the sound.
    pub fn step(&mut self, happens: Happens) {
        let cut = match happens {
            Happens::Nothing => false,
            Happens::Loss => {
                self.is_losing = true;
                false
            }
            Happens::CodecData | Happens::Publisher => true,
        };
        if cut {
            self.close();
            let mut at = self.end(0);
            if happens == Happens::CodecData {
                self.generation += 1;
            } else {
                at += 7_777_777;
                self.wall_base -= 80_000_000;
            }
            self.begin(at, true);
            self.gop_left = 0;
        }
        let parts = |scene: &Scene| scene.growing(0).parts.len() + scene.video.segments.len();
        let (before, number) = (parts(self), self.number);
        while parts(self) == before && self.number == number {
            self.picture();
            while self.end(1) * 90_000 < self.end(0) * 48_000 {
                self.frame(1, true);
            }
            self.now_millis += 33;
        }
    }

    /// The end of the stream: what there is of the last segment is a whole one.
    pub fn finish(&mut self) {
        self.close();
        self.presentation.is_ended = true;
    }

    pub fn form(newest: Newest, skip: Skip) -> Form {
        Form {
            packaging: Packaging::Cmaf,
            newest,
            skip,
            list_max: 0,
        }
    }

    pub fn text(&self, which: usize, form: &Form) -> String {
        let mut out = String::new();
        let (own, other) = if which == 0 {
            (&self.video, &self.audio)
        } else {
            (&self.audio, &self.video)
        };
        media(&self.presentation, own, form, &[other], &mut out);
        out
    }

    fn picture(&mut self) {
        let is_key = self.gop_left == 0;
        if is_key {
            self.gop_left = 20 + self.noise.below(40) as u64;
            let frames = self.growing(0).duration / FRAME_TICKS[0];
            if frames >= SEGMENT_FRAMES {
                let at = self.end(0);
                self.close();
                self.begin(at, false);
            }
        }
        self.gop_left -= 1;
        self.frame(0, is_key);
    }

    /// A part is done when the frame behind it comes: only then is known how long its last one lasts.
    fn frame(&mut self, which: usize, is_key: bool) {
        if self.waits[which].frames == PART_FRAMES[which] {
            self.part(which);
        }
        let wait = &mut self.waits[which];
        wait.independent |= is_key && (wait.frames == 0 || which == 1);
        wait.frames += 1;
        self.growing_mut(which).duration += FRAME_TICKS[which];
    }

    fn part(&mut self, which: usize) {
        let Waiting { frames, independent } = std::mem::take(&mut self.waits[which]);
        if frames == 0 {
            return;
        }
        let bytes = 1_000 + self.noise.below(9_000) as u64;
        let growing = self.growing_mut(which);
        let offset = growing.parts.last().map_or(0, |part| part.offset + part.bytes);
        growing.parts.push(Part {
            duration: frames * FRAME_TICKS[which],
            independent,
            offset,
            bytes,
        });
    }

    /// The growing segments are whole; old ones leave the window.
    fn close(&mut self) {
        for which in [0, 1] {
            self.part(which);
            let rendition = self.rendition_mut(which);
            let segment = rendition.growing.take().expect("one always grows");
            rendition.segments.push_back(segment);
            let timescale = rendition.timescale;
            let micros = |segment: &Segment| rescale(segment.duration, timescale, 1_000_000) as u64;
            let mut kept: u64 = rendition.segments.iter().map(micros).sum();
            while kept - micros(&rendition.segments[0]) > WINDOW_MICROS {
                let gone = rendition.segments.pop_front().expect("there are some");
                kept -= micros(&gone);
                rendition.discontinuities_before += u64::from(gone.discontinuity);
            }
            if let Some(old) = rendition.segments.len().checked_sub(9) {
                rendition.segments[old].parts.clear();
            }
        }
    }

    /// The next segment begins, the picture at `at` and the sound with its first frame there or behind.
    fn begin(&mut self, at: i64, discontinuity: bool) {
        self.number += 1;
        let gap = std::mem::take(&mut self.is_losing);
        let frame = FRAME_TICKS[1];
        let sound = (rescale(at, 90_000, 48_000) + frame - 1).div_euclid(frame) * frame;
        // Without a break no frame of the sound is left out or given twice.
        let sound = match self.audio.segments.back() {
            Some(last) if !discontinuity => last.start + last.duration,
            _ => sound,
        };
        let (number, generation) = (self.number, self.generation);
        for (which, start) in [(0, at), (1, sound)] {
            let wall_base = self.wall_base;
            let rendition = self.rendition_mut(which);
            let timescale = rendition.timescale;
            // A clock that loses a ms every two minutes.
            let media_micros = rescale(start, timescale, 1_000_000);
            rendition.growing = Some(Segment {
                number,
                name_millis: rescale(start, timescale, 1_000),
                start,
                shown: start,
                generation: if which == 0 { generation } else { 0 },
                discontinuity,
                independent: true,
                gap,
                wall_micros: Some(wall_base + media_micros + media_micros / 120_000),
                ..Segment::default()
            });
        }
    }

    fn end(&self, which: usize) -> i64 {
        let growing = self.rendition(which).growing.as_ref();
        let newest = growing.or(self.rendition(which).segments.back()).expect("there is one");
        newest.start + newest.duration
    }

    fn growing(&self, which: usize) -> &Segment {
        self.rendition(which).growing.as_ref().expect("one always grows")
    }

    fn growing_mut(&mut self, which: usize) -> &mut Segment {
        self.rendition_mut(which).growing.as_mut().expect("one always grows")
    }

    pub fn rendition(&self, which: usize) -> &Rendition {
        if which == 0 { &self.video } else { &self.audio }
    }

    fn rendition_mut(&mut self, which: usize) -> &mut Rendition {
        if which == 0 { &mut self.video } else { &mut self.audio }
    }
}

pub fn video_track() -> Track {
    Track {
        id: 1,
        generation: 0,
        codec: Codec::H264,
        timescale: 90_000,
        codec_data: Vec::new(),
        bitrate_hint: 0,
        format: Format::Video {
            width: 1280,
            height: 720,
            frame_rate: 0.0,
        },
    }
}

pub fn audio_track(id: u32) -> Track {
    Track {
        id,
        generation: 0,
        codec: Codec::Aac,
        timescale: 48_000,
        codec_data: Vec::new(),
        bitrate_hint: 0,
        format: Format::Audio {
            sample_rate: 48_000,
            channels: 2,
            sample_bits: 16,
        },
    }
}

pub fn codec_name(track: &Track) -> Option<String> {
    let name = match track.codec {
        Codec::H264 => "avc1.64001f",
        Codec::Aac => "mp4a.40.2",
        Codec::Opus => "opus",
        _ => return None,
    };
    Some(name.to_owned())
}

/// Playlists of all kinds, some with the reload that follows.
pub fn texts() -> Vec<Vec<u8>> {
    let mut scene = Scene::new(7, 10, 1_769_688_000_000_000);
    (0..150).for_each(|at| {
        scene.step(if at == 140 {
            Happens::Publisher
        } else {
            Happens::Nothing
        })
    });
    let mut found = Vec::new();
    for newest in [Newest::Segments, Newest::Parts, Newest::Ranges] {
        let before = scene.text(0, &Scene::form(newest, Skip::No));
        scene.step(Happens::Nothing);
        found.push(before.clone().into_bytes());
        found.push((before + &scene.text(0, &Scene::form(newest, Skip::Yes))).into_bytes());
    }
    let mut master = String::new();
    let (video, audio) = ([&scene.video], [&scene.audio]);
    master_cmaf(
        &scene.presentation,
        &video,
        &audio,
        Newest::Parts,
        &codec_name,
        &mut master,
    );
    found.push(master.into_bytes());
    found
}
