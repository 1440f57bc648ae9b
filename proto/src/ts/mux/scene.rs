//! Streams the tests mux: synthetic H.264 and AAC in order of arrival.

use super::Mux;
use crate::media::{self, Codec, Format, Frame, Mux as _, Records, Track};
use crate::ts::check::{Checker, Report};

pub const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0xc8];
pub const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];

pub fn video(id: u32) -> Track {
    let mut codec_data = Vec::new();
    crate::codec::h264::build_config(&[SPS], &[PPS], &mut codec_data).unwrap();
    Track {
        id,
        generation: 0,
        codec: Codec::H264,
        timescale: 90_000,
        codec_data,
        bitrate_hint: 0,
        format: Format::Video {
            width: 640,
            height: 360,
            frame_rate: 25.0,
        },
    }
}

pub fn audio(id: u32, codec: Codec, sample_rate: u32) -> Track {
    Track {
        id,
        generation: 0,
        codec,
        timescale: sample_rate,
        // AAC-LC, 44.1 kHz or 48 kHz, stereo
        codec_data: match (codec, sample_rate) {
            (Codec::Aac, 44_100) => vec![0x12, 0x10],
            (Codec::Aac, _) => vec![0x11, 0x90],
            _ => Vec::new(),
        },
        bitrate_hint: 0,
        format: Format::Audio {
            sample_rate,
            channels: 2,
            sample_bits: 16,
        },
    }
}

/// NAL units behind 4-byte lengths.
pub fn nals(units: &[&[u8]]) -> Vec<u8> {
    units
        .iter()
        .flat_map(|unit| [&(unit.len() as u32).to_be_bytes()[..], unit].concat())
        .collect()
}

pub fn picture(key: bool, bytes: usize) -> Vec<u8> {
    let mut unit = vec![0xa5; bytes.max(2)];
    unit[0] = if key { 0x65 } else { 0x41 };
    nals(&[&unit])
}

/// A stream of H.264 and AAC, or one of them.
#[derive(Clone, Debug)]
pub struct Scene {
    pub video: bool,
    pub audio: bool,
    pub millis: i64,
    pub frame_millis: i64,
    pub gop: i64,
    /// Time of the first frame.
    pub begin_millis: i64,
    /// What audio comes behind video by.
    pub audio_lag_millis: i64,
    pub picture_bytes: usize,
}

impl Default for Scene {
    fn default() -> Self {
        Scene {
            video: true,
            audio: true,
            millis: 3_000,
            frame_millis: 40,
            gop: 25,
            begin_millis: 0,
            audio_lag_millis: 0,
            picture_bytes: 3_000,
        }
    }
}

/// A frame in order of arrival.
pub struct Shot {
    pub track: u32,
    pub dts: i64,
    pub offset: i32,
    pub key: bool,
    pub data: Vec<u8>,
}

impl Shot {
    pub fn frame(&self) -> Frame<'_> {
        Frame {
            track: self.track,
            dts: self.dts,
            offset: self.offset,
            key: self.key,
            data: &self.data,
        }
    }
}

impl Scene {
    pub fn tracks(&self) -> Vec<Track> {
        let mut tracks = Vec::new();
        if self.video {
            tracks.push(video(1));
        }
        if self.audio {
            tracks.push(audio(2, Codec::Aac, 44_100));
        }
        tracks
    }

    pub fn shots(&self) -> Vec<Shot> {
        let mut shots: Vec<(i64, Shot)> = Vec::new();
        if self.video {
            for index in 0..self.millis / self.frame_millis {
                let at = self.begin_millis + index * self.frame_millis;
                let key = index % self.gop == 0;
                let bytes = if key {
                    self.picture_bytes * 5
                } else {
                    self.picture_bytes
                };
                let offset = (self.frame_millis * 90 * [2, 3, 1][(index % 3) as usize]) as i32;
                shots.push((
                    at,
                    Shot {
                        track: 1,
                        dts: at * 90,
                        offset,
                        key,
                        data: picture(key, bytes),
                    },
                ));
            }
        }
        if self.audio {
            let begin = media::rescale(self.begin_millis, 1000, 44_100);
            for index in 0..self.millis * 441 / 10_240 {
                let dts = begin + index * 1024;
                let at = media::rescale(dts, 44_100, 1000) + self.audio_lag_millis;
                let data = vec![0x21; 200 + (index % 190) as usize];
                shots.push((
                    at,
                    Shot {
                        track: 2,
                        dts,
                        offset: 0,
                        key: true,
                        data,
                    },
                ));
            }
        }
        shots.sort_by_key(|&(at, _)| at);
        shots.into_iter().map(|(_, shot)| shot).collect()
    }
}

/// Its records from the first join on.
pub fn muxed(scene: &Scene) -> Vec<Vec<u8>> {
    let mut mux = Mux::new("live");
    mux.start(&scene.tracks());
    let mut out = Records::new();
    scene.shots().iter().for_each(|shot| mux.frame(&shot.frame(), &mut out));
    mux.finish(&mut out);
    out.iter()
        .skip_while(|(mark, _)| !mark.join)
        .map(|(_, bytes)| bytes.to_vec())
        .collect()
}

pub fn report(stream: &[u8]) -> Report {
    let mut checker = Checker::new();
    stream.chunks(1000).for_each(|piece| checker.push(piece));
    checker.finish()
}
