//! Between files, frames and RTMP's messages, for what ffmpeg 5.1 cannot write or read: enhanced RTMP.

use std::path::Path;

use penstock_proto::codec::{flac, vp9};
use penstock_proto::media::{self, Codec, Format, Item};
use penstock_proto::tag::{Demux, MessageKind, mux};

use super::flv::{AUDIO, SCRIPT, Tag, VIDEO};
use super::normal::{self, Frame, Kind, Recording, Source, Track};

/// 90 ticks a ms, as the pictures of a message count.
const VIDEO_TIMESCALE: u32 = 90_000;

/// The messages of a publisher who has the frames of this MP4, in the order of their decode times, from 0.
pub fn of_file(path: &Path) -> Vec<Tag> {
    let (_, _, sources) = normal::sources(path);
    let tracks: Vec<media::Track> = (1..).zip(&sources).map(|(id, source)| track(id, source)).collect();
    let earliest = |source: &Source| source.packets.iter().map(|packet| packet.dts_nanos).min();
    let zero = sources.iter().filter_map(earliest).min().expect("a clip has frames");
    let mut tags = vec![message(SCRIPT, 0, |out| mux::metadata(&tracks, out))];
    for track in &tracks {
        let header = message(kind_of(track), 0, |out| {
            mux::sequence_header(track, out);
        });
        // Some codecs have none.
        if !header.body.is_empty() {
            tags.push(header);
        }
    }
    let mut frames: Vec<(i64, Tag)> = Vec::new();
    for (track, source) in tracks.iter().zip(&sources) {
        let ticks = |nanos: i64| nearest(i128::from(nanos - zero) * i128::from(track.timescale), 1_000_000_000);
        for packet in &source.packets {
            let frame = media::Frame {
                track: track.id,
                dts: ticks(packet.dts_nanos),
                offset: (ticks(packet.pts_nanos) - ticks(packet.dts_nanos)) as i32,
                key: packet.key,
                data: &packet.bytes,
            };
            let time = mux::timestamp(track, frame.dts);
            let tag = message(kind_of(track), time, |out| mux::frame_body(track, &frame, out));
            frames.push((packet.dts_nanos, tag));
        }
    }
    frames.sort_by_key(|(dts, _)| *dts);
    tags.extend(frames.into_iter().map(|(_, tag)| tag));
    tags
}

fn nearest(value: i128, divisor: i128) -> i64 {
    (value + divisor / 2).div_euclid(divisor) as i64
}

fn message(kind: u8, time: u32, write: impl FnOnce(&mut Vec<u8>)) -> Tag {
    let mut body = Vec::new();
    write(&mut body);
    Tag { kind, time, body }
}

fn kind_of(track: &media::Track) -> u8 {
    if track.kind() == media::Kind::Video {
        VIDEO
    } else {
        AUDIO
    }
}

const CODECS: [(&str, Codec); 13] = [
    ("h264", Codec::H264),
    ("hevc", Codec::Hevc),
    ("av1", Codec::Av1),
    ("vp9", Codec::Vp9),
    ("aac", Codec::Aac),
    ("mp3", Codec::Mp3),
    ("opus", Codec::Opus),
    ("flac", Codec::Flac),
    ("ac3", Codec::Ac3),
    ("eac3", Codec::Eac3),
    ("pcm_alaw", Codec::Alaw),
    ("pcm_mulaw", Codec::Ulaw),
    ("pcm_s16le", Codec::Pcm),
];

/// What ffprobe calls a codec.
fn title(codec: Codec) -> &'static str {
    let found = CODECS.iter().find(|(_, known)| *known == codec);
    found.unwrap_or_else(|| panic!("{codec:?} is not among the clips")).0
}

fn track(id: u32, source: &Source) -> media::Track {
    let codec = CODECS.iter().find(|(title, _)| *title == source.codec);
    let codec = codec
        .unwrap_or_else(|| panic!("{} is not among the codecs", source.codec))
        .1;
    let mut codec_data = Vec::new();
    match codec {
        Codec::Flac => flac::StreamInfo::parse(&source.setup)
            .expect("ffmpeg gives the STREAMINFO block")
            .emit(&mut codec_data),
        Codec::Vp9 => vp9::KeyFrame::parse(&source.packets[0].bytes)
            .expect("a clip begins with a keyframe")
            .config(25.0)
            .emit(&mut codec_data),
        Codec::Mp3 | Codec::Ac3 | Codec::Eac3 => {}
        _ => codec_data.extend_from_slice(&source.setup),
    }
    let (timescale, format) = match source.kind {
        Kind::Video => (
            VIDEO_TIMESCALE,
            Format::Video {
                width: source.width,
                height: source.height,
                frame_rate: 25.0,
            },
        ),
        Kind::Audio => (
            source.sample_rate,
            Format::Audio {
                sample_rate: source.sample_rate,
                channels: source.channels,
                sample_bits: 16,
            },
        ),
    };
    media::Track {
        id,
        generation: 0,
        codec,
        timescale,
        codec_data,
        bitrate_hint: 0,
        format,
    }
}

/// What penstock's own reader makes of messages, in the comparer's normal form: the first video and the first audio
/// codec of them.
pub fn recording(name: &str, tags: &[Tag]) -> Recording {
    let mut demux = Demux::new();
    let mut lines: Vec<(Track, normal::Format, Vec<u8>)> = Vec::new();
    for tag in tags {
        let kind = match tag.kind {
            AUDIO => MessageKind::Audio,
            VIDEO => MessageKind::Video,
            _ => MessageKind::Script,
        };
        if let Err(error) = demux.push(kind, tag.time, &tag.body) {
            panic!("{name}: message of {} ms: {error}", tag.time);
        }
        let tracks = demux.tracks().to_vec();
        while let Some(item) = demux.poll() {
            let Item::Frame(frame) = item else { continue };
            let track = tracks.iter().find(|track| track.id == frame.track);
            let track = track.expect("a frame's track is known");
            if track.kind() != media::Kind::Meta {
                take(&mut lines, track, &frame);
            }
        }
    }
    let mut tracks: Vec<Track> = lines
        .into_iter()
        .map(|(track, format, _)| Track {
            carried: format.carried,
            ..track
        })
        .collect();
    tracks.sort_by_key(|track| track.kind);
    Recording {
        name: name.to_string(),
        tracks,
    }
}

fn take(lines: &mut Vec<(Track, normal::Format, Vec<u8>)>, track: &media::Track, frame: &media::Frame<'_>) {
    let codec = title(track.codec);
    let line = lines.iter().position(|(line, ..)| line.codec == codec);
    let line = line.unwrap_or_else(|| {
        let (kind, sample_rate) = match track.format {
            Format::Audio { sample_rate, .. } => (Kind::Audio, sample_rate),
            _ => (Kind::Video, 0),
        };
        let fresh = Track {
            kind,
            codec: codec.to_string(),
            tick_nanos: 1_000_000,
            sample_rate,
            frames: Vec::new(),
            carried: Vec::new(),
        };
        let format = normal::Format::new(codec, "flv", &track.codec_data);
        lines.push((fresh, format, track.codec_data.clone()));
        lines.len() - 1
    });
    let (line, format, setup) = &mut lines[line];
    if *setup != track.codec_data {
        setup.clone_from(&track.codec_data);
        *format = normal::Format::new(codec, "flv", setup);
    }
    // In a track PCM is big endian, and little endian in every file that names it so.
    let swapped: Vec<u8>;
    let data = match track.codec {
        Codec::Pcm => {
            swapped = frame.data.chunks_exact(2).flat_map(|two| [two[1], two[0]]).collect();
            &swapped
        }
        _ => frame.data,
    };
    let nanos = |ticks: i64| (i128::from(ticks) * 1_000_000_000 / i128::from(track.timescale)) as i64;
    line.frames.push(Frame {
        dts_nanos: nanos(frame.dts),
        pts_nanos: nanos(frame.dts + i64::from(frame.offset)),
        key: frame.key,
        units: format.units(data),
        sets: format.sets_hash(),
    });
}
