//! One publisher's message bodies to tracks and frames.
//!
//! Not here: where messages come from (RTMP, FLV), and what becomes of frames.
//!
//! Invariants: decode times of a track never fall; a frame's track is in [`Demux::tracks`] before the frame is polled,
//! behind a break that says so; codec data of a (track, generation) never change; the number of tracks is at most
//! [`limits::TRACKS_MAX`](super::limits::TRACKS_MAX).

mod clock;
mod payload;
mod script;
mod setup;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;

use super::limits::{JSON_BYTES_MAX, TRACKS_MAX};
use super::wire::{Audio, AudioCodec, AudioPacket, SoundFormat, Video, VideoCodec, VideoPacket};
use super::{Error, wire::FrameType};
use crate::codec::{ac3, flac, mp3, opus};
use crate::media::{Break, Codec, Format, Frame, Item, Kind, Track};

use clock::{AudioClock, StreamClock, VideoClock, ticks};
use script::{Hints, Script};
use setup::Setup;

/// Message types 8, 9 and 18 (with 15: the demuxer tells them apart) of RTMP and FLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    Audio,
    Video,
    Script,
}

/// What `onMetaData` hints; None where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    pub video: Option<bool>,
    pub audio: Option<bool>,
}

/// Messages, unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub frames: u64,
    /// Came before the configuration record that they need.
    pub frames_dropped_before_config: u64,
    /// NAL units.
    pub empty_nals: u64,
    /// Pictures with a NAL unit length that reaches behind their end; the units before it were kept.
    pub bad_lengths: u64,
    /// Pictures with start codes where lengths belong.
    pub annexb_frames: u64,
    /// Could not be read and were skipped.
    pub bad_bodies: u64,
    /// Sequence headers or frames without a byte.
    pub empty_bodies: u64,
    /// Legal, and of no use here: ends of sequence, commands, HDR metadata, channel layouts.
    pub ignored: u64,
    /// Audio frames at which counted time was set to the publisher's.
    pub reanchors: u64,
    /// Video and script frames that had to be moved to keep decode times rising.
    pub nudges: u64,
    pub time_jumps: u64,
}

/// State of one publisher; a plain value, owned by its connection.
#[derive(Debug, Default)]
pub struct Demux {
    tracks: Vec<Track>,
    /// One for each of `tracks`, in the same order.
    lines: Vec<Line>,
    clock: StreamClock,
    hints: Hints,
    pending: VecDeque<Pending>,
    /// Payloads of the frames in `pending`.
    buffer: Vec<u8>,
    ids: u32,
    counters: Counters,
}

/// What a track needs beyond its description.
#[derive(Debug)]
struct Line {
    kind: Kind,
    /// `videoTrackId` or `audioTrackId`.
    wire_track: u8,
    /// The configuration record as it came.
    record: Vec<u8>,
    length_bytes: u8,
    frame_samples: u32,
    clock: LineClock,
}

#[derive(Debug)]
enum LineClock {
    Audio(AudioClock),
    Other(VideoClock),
}

#[derive(Debug)]
enum Pending {
    Break(Break),
    Metadata,
    Frame {
        track: u32,
        dts: i64,
        offset: i32,
        key: bool,
        range: Range<usize>,
    },
}

impl Demux {
    pub fn new() -> Self {
        Self::default()
    }

    /// One message. `timestamp` is in ms and wraps. An error skips this message alone and is counted. Must be drained
    /// with [`Demux::poll`] before the next.
    pub fn push(&mut self, kind: MessageKind, timestamp: u32, body: &[u8]) -> Result<(), Error> {
        assert!(self.pending.is_empty(), "drain before the next push");
        self.buffer.clear();
        if body.is_empty() {
            self.counters.empty_bodies += 1;
            return Ok(());
        }
        let pushed = match kind {
            MessageKind::Audio => self.push_audio(timestamp, body),
            MessageKind::Video => self.push_video(timestamp, body),
            MessageKind::Script => self.push_script(timestamp, body),
        };
        if pushed.is_err() {
            self.counters.bad_bodies += 1;
        }
        debug_assert_eq!(self.tracks.len(), self.lines.len());
        pushed
    }

    pub fn poll(&mut self) -> Option<Item<'_>> {
        Some(match self.pending.pop_front()? {
            Pending::Break(kind) => Item::Break(kind),
            Pending::Metadata => Item::Metadata,
            Pending::Frame {
                track,
                dts,
                offset,
                key,
                range,
            } => Item::Frame(Frame {
                track,
                dts,
                offset,
                key,
                data: &self.buffer[range],
            }),
        })
    }

    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    pub fn announced(&self) -> Announced {
        Announced {
            video: self.hints.video,
            audio: self.hints.audio,
        }
    }

    /// Every announced kind has its first track, number 0; when nothing was announced, audio and video have. Sound that has
    /// no header (AC-3) is known by its first frame only, behind other tracks' headers.
    pub fn is_complete(&self) -> bool {
        let has = |kind| self.lines.iter().any(|line| line.kind == kind && line.wire_track == 0);
        match (self.hints.video, self.hints.audio) {
            (Some(true), Some(true)) => has(Kind::Video) && has(Kind::Audio),
            (Some(true), _) => has(Kind::Video),
            (_, Some(true)) => has(Kind::Audio),
            _ => has(Kind::Video) && has(Kind::Audio),
        }
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn push_video(&mut self, timestamp: u32, body: &[u8]) -> Result<(), Error> {
        for video in Video::parse(body)? {
            let video = video?;
            let wire_track = video.track.unwrap_or(0);
            match video.packet {
                VideoPacket::SequenceStart(record) => {
                    self.configure(video_codec(video.codec)?, wire_track, record)?;
                }
                VideoPacket::Frame {
                    composition_millis,
                    data,
                } => self.video_frame(timestamp, wire_track, &video, composition_millis, data)?,
                _ => self.counters.ignored += 1,
            }
        }
        Ok(())
    }

    fn video_frame(
        &mut self,
        timestamp: u32,
        wire_track: u8,
        video: &Video<'_>,
        composition_millis: i32,
        data: &[u8],
    ) -> Result<(), Error> {
        let named = video_codec(video.codec)?;
        if data.is_empty() {
            self.counters.empty_bodies += 1;
            return Ok(());
        }
        // What is named AVC may be HEVC: the record decided.
        let same = |codec: Codec| codec == named || matches!((codec, named), (Codec::Hevc, Codec::H264));
        let Some(index) = self.find(Kind::Video, wire_track, same) else {
            let Some(setup) = setup::from_frame(named, data, (0, 0, 0)) else {
                self.counters.frames_dropped_before_config += 1;
                return Ok(());
            };
            self.install(setup, wire_track, &[])?;
            return self.video_frame(timestamp, wire_track, video, composition_millis, data);
        };
        let begin = self.buffer.len();
        match self.tracks[index].codec {
            codec @ (Codec::H264 | Codec::Hevc) => {
                let length_bytes = self.lines[index].length_bytes;
                payload::nal_units(codec, data, length_bytes, &mut self.counters, &mut self.buffer)?;
            }
            Codec::Av1 => payload::obus(data, &mut self.buffer)?,
            _ => self.buffer.extend_from_slice(data),
        }
        let range = begin..self.buffer.len();
        if range.is_empty() {
            self.counters.empty_bodies += 1;
            return Ok(());
        }
        let placed = self.clock.place_video(timestamp);
        self.note_jump(placed.jumped);
        let wanted = ticks(placed.millis, video.nanos, setup::VIDEO_TIMESCALE);
        let moved = self.tick(index, wanted);
        let offset = i64::from(composition_millis) * 90;
        // A moved decode time leaves the presentation time where it is, unless that would come before the decode time.
        let offset = (offset - moved.moved).max(offset.min(0));
        self.pending.push_back(Pending::Frame {
            track: self.tracks[index].id,
            dts: moved.dts,
            offset: offset as i32,
            key: matches!(video.frame_type, FrameType::Key | FrameType::GeneratedKey),
            range,
        });
        self.counters.frames += 1;
        Ok(())
    }

    fn push_audio(&mut self, timestamp: u32, body: &[u8]) -> Result<(), Error> {
        for audio in Audio::parse(body)? {
            let audio = audio?;
            let wire_track = audio.track.unwrap_or(0);
            match audio.packet {
                AudioPacket::SequenceStart(record) => {
                    let codec = audio_codec(audio.codec)?;
                    // MP3, AC-3 and the like describe themselves in every frame.
                    if matches!(codec, Codec::Aac | Codec::Opus | Codec::Flac) {
                        self.configure(codec, wire_track, record)?;
                    } else {
                        self.counters.ignored += 1;
                    }
                }
                AudioPacket::Frame(data) => self.audio_packet(timestamp, wire_track, &audio, data)?,
                _ => self.counters.ignored += 1,
            }
        }
        Ok(())
    }

    fn audio_packet(
        &mut self,
        timestamp: u32,
        wire_track: u8,
        audio: &Audio<'_>,
        mut data: &[u8],
    ) -> Result<(), Error> {
        let codec = audio_codec(audio.codec)?;
        if data.is_empty() {
            self.counters.empty_bodies += 1;
            return Ok(());
        }
        let stated = match audio.codec {
            AudioCodec::Legacy(format) => (format.sample_rate(), format.channels.into(), format.bits.into()),
            AudioCodec::Enhanced(_) => (0, 0, 0),
        };
        let Some(index) = self.audio_track(codec, wire_track, stated, data)? else {
            self.counters.frames_dropped_before_config += 1;
            return Ok(());
        };
        let placed = self.clock.place_audio(timestamp);
        self.note_jump(placed.jumped);
        if placed.jumped {
            self.restart_audio();
        }
        let rate = self.tracks[index].timescale;
        let mut wanted = ticks(placed.millis, audio.nanos, rate);
        while !data.is_empty() {
            let (frame, rest) = data.split_at(frame_bytes(codec, data));
            let samples = self.frame_samples(index, frame)?;
            self.audio_frame(index, wanted, samples, frame);
            wanted += i64::from(samples);
            data = rest;
        }
        Ok(())
    }

    fn audio_frame(&mut self, index: usize, wanted: i64, samples: u32, data: &[u8]) {
        let track = &self.tracks[index];
        let begin = self.buffer.len();
        match track.format {
            Format::Audio { sample_bits: 16, .. } if track.codec == Codec::Pcm => {
                payload::swap_samples(data, &mut self.buffer);
            }
            _ => self.buffer.extend_from_slice(data),
        }
        let range = begin..self.buffer.len();
        if range.is_empty() {
            self.counters.empty_bodies += 1;
            return;
        }
        let LineClock::Audio(clock) = &mut self.lines[index].clock else {
            unreachable!("an audio track has an audio clock")
        };
        let time = clock.tick(wanted, samples, track.timescale);
        self.counters.reanchors += u64::from(time.moved != 0);
        self.pending.push_back(Pending::Frame {
            track: track.id,
            dts: time.dts,
            offset: 0,
            key: true,
            range,
        });
        self.counters.frames += 1;
    }

    /// The track that `data` belong to, made when they can describe one. A new sample rate makes a new track: times
    /// count in it.
    fn audio_track(
        &mut self,
        codec: Codec,
        wire_track: u8,
        stated: (u32, u32, u32),
        data: &[u8],
    ) -> Result<Option<usize>, Error> {
        let found = self.find(Kind::Audio, wire_track, |track| track == codec);
        let describes_itself = matches!(codec, Codec::Mp3 | Codec::Ac3 | Codec::Eac3 | Codec::Pcm);
        if found.is_some() && !describes_itself {
            return Ok(found);
        }
        let Some(setup) = setup::from_frame(codec, data, stated) else {
            return Ok(found);
        };
        if let Some(index) = found {
            let track = &self.tracks[index];
            let same_bits = codec != Codec::Pcm || track.format == setup.format;
            if track.timescale == setup.timescale && same_bits {
                return Ok(found);
            }
        }
        self.install(setup, wire_track, &[]).map(Some)
    }

    fn frame_samples(&self, index: usize, data: &[u8]) -> Result<u32, Error> {
        let track = &self.tracks[index];
        let bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let (channels, bits) = match track.format {
            Format::Audio {
                channels, sample_bits, ..
            } => (channels.max(1), sample_bits.max(8)),
            _ => (1, 8),
        };
        Ok(match track.codec {
            Codec::Aac => self.lines[index].frame_samples,
            Codec::Mp3 => mp3::Header::parse(data)?.frame_samples,
            Codec::Opus => opus::packet_samples(data)?,
            Codec::Flac => flac::block_samples(data)?,
            Codec::Ac3 | Codec::Eac3 => ac3::SyncFrame::parse(data)?.frame_samples,
            _ => bytes / channels / (bits / 8),
        })
    }

    fn push_script(&mut self, timestamp: u32, body: &[u8]) -> Result<(), Error> {
        match script::parse(body)? {
            Script::Metadata(hints) => {
                if hints != self.hints {
                    self.hints = hints;
                    for track in &mut self.tracks {
                        self.hints.apply(track);
                    }
                    self.pending.push_back(Pending::Metadata);
                }
            }
            Script::Named(text) if text.len() <= JSON_BYTES_MAX => self.script_frame(timestamp, &text)?,
            Script::Named(_) | Script::Nothing => self.counters.ignored += 1,
        }
        Ok(())
    }

    fn script_frame(&mut self, timestamp: u32, text: &str) -> Result<(), Error> {
        let index = match self.find(Kind::Meta, 0, |_| true) {
            Some(index) => index,
            None => {
                let setup = Setup {
                    codec: Codec::Json,
                    timescale: 1000,
                    codec_data: Vec::new(),
                    format: Format::Meta,
                    length_bytes: 0,
                    frame_samples: 0,
                };
                self.install(setup, 0, &[])?
            }
        };
        let wanted = self.clock.place_script(timestamp);
        let time = self.tick(index, wanted);
        let begin = self.buffer.len();
        self.buffer.extend_from_slice(text.as_bytes());
        self.pending.push_back(Pending::Frame {
            track: self.tracks[index].id,
            dts: time.dts,
            offset: 0,
            key: true,
            range: begin..self.buffer.len(),
        });
        self.counters.frames += 1;
        Ok(())
    }

    /// A sequence header.
    fn configure(&mut self, codec: Codec, wire_track: u8, record: &[u8]) -> Result<(), Error> {
        if record.is_empty() {
            self.counters.empty_bodies += 1;
            return Ok(());
        }
        if let Some(index) = self.find(codec.kind(), wire_track, |_| true)
            && self.lines[index].record == record
        {
            return Ok(());
        }
        let setup = setup::from_record(codec, record)?;
        self.install(setup, wire_track, record)?;
        Ok(())
    }

    /// Makes a track, or a generation of the one that has this place, and says so. Returns its index.
    fn install(&mut self, setup: Setup, wire_track: u8, record: &[u8]) -> Result<usize, Error> {
        let kind = setup.codec.kind();
        let found = self.find(kind, wire_track, |_| true);
        if let Some(index) = found {
            let (track, line) = (&mut self.tracks[index], &mut self.lines[index]);
            if track.codec == setup.codec && track.timescale == setup.timescale {
                line.record = record.to_vec();
                line.length_bytes = setup.length_bytes;
                line.frame_samples = setup.frame_samples;
                if track.codec_data != setup.codec_data {
                    track.codec_data = setup.codec_data;
                    track.format = setup.format;
                    track.generation += 1;
                    self.hints.apply(track);
                    self.push_break(Break::CodecData);
                }
                return Ok(index);
            }
        }
        if found.is_none() && self.tracks.len() == TRACKS_MAX {
            return Err(Error::TooManyTracks { tracks_max: TRACKS_MAX });
        }
        self.ids += 1;
        let mut track = Track {
            id: self.ids,
            generation: 0,
            codec: setup.codec,
            timescale: setup.timescale,
            codec_data: setup.codec_data,
            bitrate_hint: 0,
            format: setup.format,
        };
        self.hints.apply(&mut track);
        let line = Line {
            kind,
            wire_track,
            record: record.to_vec(),
            length_bytes: setup.length_bytes,
            frame_samples: setup.frame_samples,
            clock: match kind {
                Kind::Audio => LineClock::Audio(AudioClock::default()),
                Kind::Video | Kind::Meta => LineClock::Other(VideoClock::default()),
            },
        };
        self.push_break(Break::TrackSet);
        Ok(match found {
            Some(index) => {
                (self.tracks[index], self.lines[index]) = (track, line);
                index
            }
            None => {
                // The publisher's first track of a kind stands first, whichever comes first.
                let behind = |other: &Line| other.kind == kind && other.wire_track > wire_track;
                let index = self.lines.iter().position(behind).unwrap_or(self.lines.len());
                self.tracks.insert(index, track);
                self.lines.insert(index, line);
                index
            }
        })
    }

    fn find(&self, kind: Kind, wire_track: u8, codec: impl Fn(Codec) -> bool) -> Option<usize> {
        let at = |line: &Line| line.kind == kind && line.wire_track == wire_track;
        self.lines
            .iter()
            .position(at)
            .filter(|&index| codec(self.tracks[index].codec))
    }

    fn tick(&mut self, index: usize, wanted: i64) -> clock::Time {
        let LineClock::Other(clock) = &mut self.lines[index].clock else {
            unreachable!("only audio counts samples")
        };
        let time = clock.tick(wanted);
        self.counters.nudges += u64::from(time.moved != 0);
        time
    }

    fn note_jump(&mut self, jumped: bool) {
        if jumped {
            self.counters.time_jumps += 1;
            self.push_break(Break::TimeJump);
        }
    }

    /// Counting begins anew behind a jump.
    fn restart_audio(&mut self) {
        for line in &mut self.lines {
            if let LineClock::Audio(clock) = &mut line.clock {
                clock.restart();
            }
        }
    }

    /// Breaks of one kind with no frame between them are one.
    fn push_break(&mut self, kind: Break) {
        let repeats = |pending: &Pending| matches!(pending, Pending::Break(other) if *other == kind);
        if !self.pending.back().is_some_and(repeats) {
            self.pending.push_back(Pending::Break(kind));
        }
    }
}

impl Hints {
    /// What the codec data leave open.
    fn apply(&self, track: &mut Track) {
        match &mut track.format {
            Format::Video {
                width,
                height,
                frame_rate,
            } => {
                track.bitrate_hint = self.video_bitrate;
                if *width == 0 || *height == 0 {
                    (*width, *height) = (self.width, self.height);
                }
                if *frame_rate == 0.0 {
                    *frame_rate = self.frame_rate;
                }
            }
            Format::Audio { .. } => track.bitrate_hint = self.audio_bitrate,
            Format::Meta => {}
        }
    }
}

fn video_codec(codec: VideoCodec) -> Result<Codec, Error> {
    Ok(match codec {
        VideoCodec::AVC | VideoCodec::AVC1 => Codec::H264,
        VideoCodec::HEVC_LEGACY | VideoCodec::HVC1 => Codec::Hevc,
        VideoCodec::AV01 => Codec::Av1,
        VideoCodec::VP08 => Codec::Vp8,
        VideoCodec::VP09 => Codec::Vp9,
        VideoCodec::Legacy(id) => return Err(Error::UnknownCodec { id }),
        VideoCodec::Enhanced(fourcc) => return Err(Error::UnknownFourCc { fourcc }),
    })
}

fn audio_codec(codec: AudioCodec) -> Result<Codec, Error> {
    Ok(match codec {
        AudioCodec::Legacy(format) => match format.id {
            SoundFormat::PCM_PLATFORM | SoundFormat::PCM_LITTLE => Codec::Pcm,
            SoundFormat::MP3 | SoundFormat::MP3_8K => Codec::Mp3,
            SoundFormat::ALAW => Codec::Alaw,
            SoundFormat::ULAW => Codec::Ulaw,
            SoundFormat::AAC => Codec::Aac,
            id => return Err(Error::UnknownCodec { id }),
        },
        AudioCodec::Enhanced(fourcc) => match &fourcc {
            b"mp4a" => Codec::Aac,
            b"Opus" => Codec::Opus,
            b"fLaC" => Codec::Flac,
            b"ac-3" => Codec::Ac3,
            b"ec-3" => Codec::Eac3,
            b".mp3" => Codec::Mp3,
            _ => return Err(Error::UnknownFourCc { fourcc }),
        },
    })
}

/// Bytes of the first frame of `data`: a body may hold several MP3 or AC-3 frames. Dependent substreams of E-AC-3 stay
/// with the frame before them.
fn frame_bytes(codec: Codec, data: &[u8]) -> usize {
    let bytes = match codec {
        Codec::Mp3 => mp3::Header::parse(data).map_or(0, |header| header.frame_bytes),
        Codec::Ac3 => ac3::SyncFrame::parse(data).map_or(0, |frame| frame.frame_bytes),
        _ => 0,
    };
    // What would leave less than a header behind is one frame.
    if bytes == 0 || bytes + 4 > data.len() {
        data.len()
    } else {
        bytes
    }
}
