//! Message bodies from tracks and frames. What surrounds a body (chunks, tags, times in ms) is made by `rtmp` and `flv`.
//!
//! Legacy numbers wherever the codec has one (H264, AAC, MP3, G.711, PCM), enhanced fourCCs otherwise (HEVC, AV1, VP8,
//! VP9, Opus, FLAC, AC-3, E-AC-3). Nothing here allocates but [`metadata`].

use super::MessageKind;
use super::amf0::Value;
use super::wire::{Audio, AudioCodec, AudioPacket, FrameType, SoundFormat, Video, VideoCodec, VideoPacket};
use crate::codec::opus;
use crate::media::{Codec, Format, Frame, Kind, Track, rescale};

/// Whether a body can carry frames of `track`.
pub fn carries(track: &Track) -> bool {
    match track.codec {
        Codec::Json => false,
        // Little endian, 16 bits, and four sample rates are all that the head can say.
        Codec::Pcm => matches!(track.format, Format::Audio { sample_rate, channels: 1 | 2, sample_bits: 16 }
            if PCM_RATES.contains(&sample_rate)),
        _ => true,
    }
}

/// The first video and the first audio track that can be carried: what a player from before multitrack expects.
pub fn select(tracks: &[Track]) -> (Option<&Track>, Option<&Track>) {
    let first = |kind| tracks.iter().find(|track| track.kind() == kind && carries(track));
    (first(Kind::Video), first(Kind::Audio))
}

pub fn message_kind(track: &Track) -> MessageKind {
    match track.kind() {
        Kind::Video => MessageKind::Video,
        Kind::Audio => MessageKind::Audio,
        Kind::Meta => MessageKind::Script,
    }
}

/// Decode time of a message in ms, rounded to the nearest; wraps at 32 bits.
pub fn timestamp(track: &Track, dts: i64) -> u32 {
    millis(track, dts) as u32
}

/// Appends the body of the sequence header of `track`. False, and nothing appended, if its codec has none.
pub fn sequence_header(track: &Track, out: &mut Vec<u8>) -> bool {
    sequence_header_as(track, None, out)
}

/// As [`sequence_header`]; with `number` as an enhanced OneTrack multitrack body of that track number.
pub fn sequence_header_as(track: &Track, number: Option<u8>, out: &mut Vec<u8>) -> bool {
    let record = &track.codec_data[..];
    match track.kind() {
        Kind::Video => {
            // In the box, four bytes of version and flags stand before vpcC's own; in a body they do not.
            let record = match track.codec {
                Codec::Vp8 | Codec::Vp9 if record.len() >= 12 => record.strip_prefix(&[1, 0, 0, 0]).unwrap_or(record),
                _ => record,
            };
            if record.is_empty() {
                return false;
            }
            emit_video(track, number, FrameType::Key, VideoPacket::SequenceStart(record), out);
            true
        }
        Kind::Audio if record.is_empty() && track.codec == Codec::Opus => {
            let channels = match track.format {
                Format::Audio { channels: 1, .. } => 1,
                _ => 2,
            };
            emit_audio(track, number, AudioPacket::SequenceStart(&[]), out);
            opus::Head::plain(channels).emit(out);
            true
        }
        Kind::Audio if record.is_empty() || !has_record(track.codec) => false,
        Kind::Audio => {
            emit_audio(track, number, AudioPacket::SequenceStart(record), out);
            true
        }
        Kind::Meta => false,
    }
}

/// Appends the body of one frame of `track`, which [`carries`] said yes to.
pub fn frame_body(track: &Track, frame: &Frame<'_>, out: &mut Vec<u8>) {
    frame_body_as(track, None, frame, out);
}

/// As [`frame_body`]; with `number` as an enhanced OneTrack multitrack body of that track number.
pub fn frame_body_as(track: &Track, number: Option<u8>, frame: &Frame<'_>, out: &mut Vec<u8>) {
    debug_assert_eq!(track.id, frame.track);
    if track.kind() == Kind::Audio {
        // The payload goes behind an empty packet, because PCM is turned on the way.
        emit_audio(track, number, AudioPacket::Frame(&[]), out);
        match track.codec {
            Codec::Pcm => out.extend(frame.data.chunks_exact(2).flat_map(|sample| [sample[1], sample[0]])),
            _ => out.extend_from_slice(frame.data),
        }
        return;
    }
    let frame_type = if frame.key { FrameType::Key } else { FrameType::Inter };
    // Of the rounded times, so that decode time and composition time give the presentation time.
    let composition = millis(track, frame.dts + i64::from(frame.offset)) - millis(track, frame.dts);
    let packet = |data| VideoPacket::Frame {
        composition_millis: composition.clamp(-0x80_0000, 0x7f_ffff) as i32,
        data,
    };
    if track.codec == Codec::Av1 {
        // ffmpeg's reader wants each temporal unit to begin with its delimiter.
        emit_video(track, number, frame_type, packet(&AV1_TEMPORAL_DELIMITER), out);
        out.extend_from_slice(frame.data);
        return;
    }
    emit_video(track, number, frame_type, packet(frame.data), out);
}

/// Appends the body of `onMetaData` for these tracks. It has no `duration`: players take a stream that has one for
/// finite.
pub fn metadata(tracks: &[Track], out: &mut Vec<u8>) {
    let (video, audio) = select(tracks);
    let mut members: Vec<(String, Value)> = Vec::new();
    let mut add = |name: &str, value: Value| members.push((name.to_owned(), value));
    if let Some(track) = video
        && let Format::Video {
            width,
            height,
            frame_rate,
        } = track.format
    {
        if width > 0 && height > 0 {
            add("width", f64::from(width).into());
            add("height", f64::from(height).into());
        }
        if frame_rate > 0.0 {
            add("framerate", frame_rate.into());
        }
        if track.bitrate_hint > 0 {
            add("videodatarate", (f64::from(track.bitrate_hint) / 1000.0).into());
        }
        add("videocodecid", codec_number(video_codec(track.codec, None)).into());
    }
    if let Some(track) = audio
        && let Format::Audio {
            sample_rate,
            channels,
            sample_bits,
        } = track.format
    {
        add("audiosamplerate", f64::from(sample_rate).into());
        add("audiosamplesize", f64::from(sample_bits.max(16)).into());
        add("audiochannels", f64::from(channels).into());
        add("stereo", (channels >= 2).into());
        if track.bitrate_hint > 0 {
            add("audiodatarate", (f64::from(track.bitrate_hint) / 1000.0).into());
        }
        let number = match audio_codec(track, None) {
            AudioCodec::Legacy(format) => f64::from(format.id),
            AudioCodec::Enhanced(fourcc) => f64::from(u32::from_be_bytes(fourcc)),
        };
        add("audiocodecid", number.into());
    }
    add("encoder", concat!("penstock ", env!("CARGO_PKG_VERSION")).into());
    Value::from("onMetaData").emit(out);
    Value::EcmaArray(members).emit(out);
}

fn emit_video(track: &Track, number: Option<u8>, frame_type: FrameType, packet: VideoPacket<'_>, out: &mut Vec<u8>) {
    let video = Video {
        frame_type,
        codec: video_codec(track.codec, number),
        track: number,
        nanos: 0,
        packet,
    };
    video.emit(out);
}

fn emit_audio(track: &Track, number: Option<u8>, packet: AudioPacket<'_>, out: &mut Vec<u8>) {
    let audio = Audio {
        codec: audio_codec(track, number),
        track: number,
        nanos: 0,
        packet,
    };
    audio.emit(out);
}

fn video_codec(codec: Codec, number: Option<u8>) -> VideoCodec {
    match codec {
        Codec::H264 if number.is_none() => VideoCodec::AVC,
        Codec::H264 => VideoCodec::AVC1,
        Codec::Hevc => VideoCodec::HVC1,
        Codec::Av1 => VideoCodec::AV01,
        Codec::Vp8 => VideoCodec::VP08,
        Codec::Vp9 => VideoCodec::VP09,
        _ => unreachable!("{} is no video", codec.name()),
    }
}

fn audio_codec(track: &Track, number: Option<u8>) -> AudioCodec {
    let (sample_rate, channels, bits) = match track.format {
        Format::Audio {
            sample_rate,
            channels,
            sample_bits,
        } => (sample_rate, channels, sample_bits),
        _ => (0, 0, 0),
    };
    let rate = PCM_RATES.iter().rposition(|&known| known <= sample_rate).unwrap_or(0) as u8;
    let legacy = |id| {
        AudioCodec::Legacy(SoundFormat {
            id,
            rate,
            // G.711 is written as 16 bits: what it is when decoded.
            bits: if bits == 8 && id == SoundFormat::PCM_LITTLE {
                8
            } else {
                16
            },
            channels: if channels == 1 { 1 } else { 2 },
        })
    };
    match (track.codec, number) {
        // Fixed by E.4.2.1 whatever the record says.
        (Codec::Aac, None) => AudioCodec::Legacy(SoundFormat {
            id: SoundFormat::AAC,
            rate: 3,
            bits: 16,
            channels: 2,
        }),
        (Codec::Mp3, None) if sample_rate == 8_000 => legacy(SoundFormat::MP3_8K),
        (Codec::Mp3, None) => legacy(SoundFormat::MP3),
        (Codec::Alaw, _) => legacy(SoundFormat::ALAW),
        (Codec::Ulaw, _) => legacy(SoundFormat::ULAW),
        (Codec::Pcm, _) => legacy(SoundFormat::PCM_LITTLE),
        (Codec::Aac, _) => AudioCodec::Enhanced(*b"mp4a"),
        (Codec::Mp3, _) => AudioCodec::Enhanced(*b".mp3"),
        (Codec::Opus, _) => AudioCodec::Enhanced(*b"Opus"),
        (Codec::Flac, _) => AudioCodec::Enhanced(*b"fLaC"),
        (Codec::Ac3, _) => AudioCodec::Enhanced(*b"ac-3"),
        (Codec::Eac3, _) => AudioCodec::Enhanced(*b"ec-3"),
        (codec, _) => unreachable!("{} is no audio", codec.name()),
    }
}

fn codec_number(codec: VideoCodec) -> f64 {
    match codec {
        VideoCodec::Legacy(id) => id.into(),
        VideoCodec::Enhanced(fourcc) => u32::from_be_bytes(fourcc).into(),
    }
}

fn has_record(codec: Codec) -> bool {
    matches!(codec, Codec::Aac | Codec::Opus | Codec::Flac)
}

/// Rounded to the nearest, as ffmpeg and its kin round: a publisher's ms come out as they came in.
fn millis(track: &Track, ticks: i64) -> i64 {
    rescale(ticks.saturating_mul(2), track.timescale, 1000).saturating_add(1) >> 1
}

/// `SoundRate` 0 to 3.
const PCM_RATES: [u32; 4] = [5_512, 11_025, 22_050, 44_100];

const AV1_TEMPORAL_DELIMITER: [u8; 2] = [0x12, 0];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::cases::{self, hex};
    use crate::media::Item;
    use crate::tag::Demux;
    use crate::tag::amf0;

    fn track(codec: Codec, record: &str) -> Track {
        let (timescale, format) = match codec.kind() {
            Kind::Audio => (
                48_000,
                Format::Audio {
                    sample_rate: 48_000,
                    channels: 2,
                    sample_bits: 16,
                },
            ),
            _ => (
                90_000,
                Format::Video {
                    width: 64,
                    height: 36,
                    frame_rate: 25.0,
                },
            ),
        };
        Track {
            id: 1,
            generation: 0,
            codec,
            timescale,
            codec_data: hex(record),
            bitrate_hint: 0,
            format,
        }
    }

    /// Codec, its record, a frame, and how the bodies of both begin.
    type Case = (Codec, &'static str, &'static str, &'static [u8], &'static [u8]);

    #[test]
    fn bodies_have_their_heads_and_come_back_equal() {
        let nal = "0000000165";
        let cases: [Case; 9] = [
            (Codec::H264, cases::AVCC_HIGH, nal, b"\x17\0\0\0\0", b"\x17\x01\0\0\x28"),
            (Codec::Hevc, cases::HVCC_MAIN, nal, b"\x90hvc1", b"\x91hvc1\0\0\x28"),
            (
                Codec::Av1,
                cases::AV1C,
                &cases::AV1_UNIT[4..],
                b"\x90av01",
                b"\x91av01\x12\0",
            ),
            (Codec::Vp9, cases::VPCC, cases::VP9_KEY, b"\x90vp09\0", b"\x91vp09"),
            (Codec::Aac, "1190", "01", b"\xaf\0", b"\xaf\x01"),
            (Codec::Opus, cases::OPUS_HEAD, "f8", b"\x90Opus", b"\x91Opus"),
            (Codec::Opus, "", "f8", b"\x90OpusOpusHead", b"\x91Opus"),
            (Codec::Ac3, "", cases::AC3, b"", b"\x91ac-3"),
            (Codec::Mp3, "", cases::MP3, b"", b"\x2f"),
        ];
        for (codec, record, data, header_head, frame_head) in cases {
            let (track, data) = (track(codec, record), hex(data));
            let audio = track.kind() == Kind::Audio;
            let reorders = matches!(codec, Codec::H264 | Codec::Hevc);
            let frame = Frame {
                track: 1,
                dts: i64::from(track.timescale),
                offset: if reorders { 3600 } else { 0 },
                key: true,
                data: &data,
            };
            for number in [None, Some(2)] {
                let (mut header, mut body) = (Vec::new(), Vec::new());
                let has_header = sequence_header_as(&track, number, &mut header);
                frame_body_as(&track, number, &frame, &mut body);
                assert_eq!(has_header, !header_head.is_empty());
                if number.is_none() {
                    assert!(header.starts_with(header_head), "{codec:?} {header:02x?}");
                    assert!(body.starts_with(frame_head), "{codec:?} {body:02x?}");
                }
                let mut demux = Demux::new();
                let kind = message_kind(&track);
                demux.push(kind, 1000, &header).unwrap();
                while demux.poll().is_some() {}
                demux.push(kind, timestamp(&track, frame.dts), &body).unwrap();
                let found = &demux.tracks()[0];
                assert_eq!(found.codec, codec);
                assert!(found.codec_data == track.codec_data || record.is_empty());
                let second = i64::from(found.timescale);
                let mut frames = 0;
                while let Some(item) = demux.poll() {
                    let Item::Frame(again) = item else { continue };
                    assert_eq!((again.data, again.dts, again.offset), (&data[..], second, frame.offset));
                    assert!(again.key || audio);
                    frames += 1;
                }
                assert_eq!(frames, 1, "{codec:?}");
            }
        }
    }

    #[test]
    fn metadata_names_codecs_and_no_duration() {
        for (codec, expected) in [(Codec::H264, 7.0), (Codec::Hevc, f64::from(0x6876_6331))] {
            let mut out = Vec::new();
            metadata(&[track(Codec::Aac, "1190"), track(codec, "")], &mut out);
            let values = amf0::parse_all(&out).unwrap();
            assert_eq!(values[0].as_str(), Some("onMetaData"));
            let number = |name| values[1].member(name).and_then(Value::as_number);
            assert_eq!(
                (number("videocodecid"), number("audiocodecid")),
                (Some(expected), Some(10.0))
            );
            assert_eq!((number("width"), number("framerate")), (Some(64.0), Some(25.0)));
            assert_eq!(values[1].member("stereo"), Some(&Value::Boolean(true)));
            assert_eq!(values[1].member("duration"), None);
            let encoder = values[1].member("encoder").and_then(Value::as_str).unwrap();
            assert!(encoder.starts_with("penstock "));
        }
    }

    #[test]
    fn what_a_head_cannot_say_is_not_carried() {
        assert!(!carries(&track(Codec::Json, "")));
        // 48 kHz PCM.
        assert!(!carries(&track(Codec::Pcm, "")));
        assert!(carries(&track(Codec::Vp8, "")));
        let tracks = [
            track(Codec::Json, ""),
            track(Codec::Aac, "1190"),
            track(Codec::Opus, ""),
        ];
        let (video, audio) = select(&tracks);
        assert_eq!((video, audio.map(|track| track.codec)), (None, Some(Codec::Aac)));
    }
}
