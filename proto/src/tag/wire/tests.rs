use super::*;
use crate::tag::Error;

/// Bodies with the packets they hold; the fuzzer starts from them.
pub fn video_cases() -> Vec<(&'static [u8], Vec<Video<'static>>)> {
    use FrameType::{Command, Inter, Key};
    use VideoPacket::SequenceStart;
    let video = |frame_type, codec, track, packet| Video {
        frame_type,
        codec,
        track,
        nanos: 0,
        packet,
    };
    let frame = |composition_millis, data| VideoPacket::Frame {
        composition_millis,
        data,
    };
    vec![
        (
            b"\x17\0\0\0\0rec",
            vec![video(Key, VideoCodec::AVC, None, SequenceStart(b"rec"))],
        ),
        (
            b"\x27\x01\xff\xff\xd8x",
            vec![video(Inter, VideoCodec::AVC, None, frame(-40, b"x"))],
        ),
        (
            b"\x1c\x01\0\0\x28x",
            vec![video(Key, VideoCodec::HEVC_LEGACY, None, frame(40, b"x"))],
        ),
        (
            b"\x17\x02\0\0\0",
            vec![video(Key, VideoCodec::AVC, None, VideoPacket::SequenceEnd)],
        ),
        (b"\x12x", vec![video(Key, VideoCodec::Legacy(2), None, frame(0, b"x"))]),
        (
            b"\x57\x01",
            vec![video(Command, VideoCodec::AVC, None, VideoPacket::Command(1))],
        ),
        (
            b"\x90hvc1rec",
            vec![video(Key, VideoCodec::HVC1, None, SequenceStart(b"rec"))],
        ),
        (
            b"\xa1avc1\x80\0\0x",
            vec![video(Inter, VideoCodec::AVC1, None, frame(-0x80_0000, b"x"))],
        ),
        (b"\xa3hvc1x", vec![video(Inter, VideoCodec::HVC1, None, frame(0, b"x"))]),
        (b"\x91av01x", vec![video(Key, VideoCodec::AV01, None, frame(0, b"x"))]),
        (b"\x91vp09x", vec![video(Key, VideoCodec::VP09, None, frame(0, b"x"))]),
        (
            b"\x92vp08",
            vec![video(Key, VideoCodec::VP08, None, VideoPacket::SequenceEnd)],
        ),
        (
            b"\x94hvc1m",
            vec![video(Key, VideoCodec::HVC1, None, VideoPacket::Metadata(b"m"))],
        ),
        (
            b"\x95av01d",
            vec![video(
                Key,
                VideoCodec::AV01,
                None,
                VideoPacket::Mpeg2TsSequenceStart(b"d"),
            )],
        ),
        (
            b"\xd0\x01",
            vec![video(
                Command,
                VideoCodec::Enhanced(*b"\0\0\0\0"),
                None,
                VideoPacket::Command(1),
            )],
        ),
        // ModEx: 3 bytes of nanoseconds, then coded frames.
        (
            b"\x97\x02\x07\xa1\x20\x01av01x",
            vec![Video {
                nanos: 500_000,
                ..video(Key, VideoCodec::AV01, None, frame(0, b"x"))
            }],
        ),
        (
            b"\x96\x00avc1\x03rec",
            vec![video(Key, VideoCodec::AVC1, Some(3), SequenceStart(b"rec"))],
        ),
        (
            b"\xa6\x11avc1\x01\0\0\x04\0\0\x05x\x02\0\0\x03\0\0\0",
            vec![
                video(Inter, VideoCodec::AVC1, Some(1), frame(5, b"x")),
                video(Inter, VideoCodec::AVC1, Some(2), frame(0, b"")),
            ],
        ),
        (
            b"\x96\x21av01\x01\0\0\x01xhvc1\x02\0\0\x05\0\0\x05yz",
            vec![
                video(Key, VideoCodec::AV01, Some(1), frame(0, b"x")),
                video(Key, VideoCodec::HVC1, Some(2), frame(5, b"yz")),
            ],
        ),
    ]
}

pub fn audio_cases() -> Vec<(&'static [u8], Vec<Audio<'static>>)> {
    use AudioPacket::{Frame, MultichannelConfig, SequenceEnd, SequenceStart};
    let legacy = |id, rate, bits, channels, packet| Audio {
        codec: AudioCodec::Legacy(SoundFormat {
            id,
            rate,
            bits,
            channels,
        }),
        track: None,
        nanos: 0,
        packet,
    };
    let enhanced = |fourcc: &FourCc, track, packet| Audio {
        codec: AudioCodec::Enhanced(*fourcc),
        track,
        nanos: 0,
        packet,
    };
    let channels = |channels, order| MultichannelConfig { channels, order };
    vec![
        (
            b"\xaf\0\x12\x10",
            vec![legacy(10, 3, 16, 2, SequenceStart(b"\x12\x10"))],
        ),
        (b"\xaf\x01x", vec![legacy(10, 3, 16, 2, Frame(b"x"))]),
        (b"\x2ex", vec![legacy(2, 3, 16, 1, Frame(b"x"))]),
        (b"\x70x", vec![legacy(7, 0, 8, 1, Frame(b"x"))]),
        (b"\x3bxy", vec![legacy(3, 2, 16, 2, Frame(b"xy"))]),
        (b"\x90Opushead", vec![enhanced(b"Opus", None, SequenceStart(b"head"))]),
        (b"\x91fLaCx", vec![enhanced(b"fLaC", None, Frame(b"x"))]),
        (b"\x92ac-3", vec![enhanced(b"ac-3", None, SequenceEnd)]),
        (
            b"\x94ec-3\0\x06",
            vec![enhanced(b"ec-3", None, channels(6, ChannelOrder::Unspecified))],
        ),
        (
            b"\x94ec-3\x01\x06\0\0\0\x3f",
            vec![enhanced(b"ec-3", None, channels(6, ChannelOrder::Native(0x3f)))],
        ),
        (
            b"\x94ec-3\x02\x02\x05\x06",
            vec![enhanced(b"ec-3", None, channels(2, ChannelOrder::Custom(b"\x05\x06")))],
        ),
        (
            b"\x97\x02\0\0\x01\x01.mp3x",
            vec![Audio {
                nanos: 1,
                ..enhanced(b".mp3", None, Frame(b"x"))
            }],
        ),
        (b"\x95\x01mp4a\x07x", vec![enhanced(b"mp4a", Some(7), Frame(b"x"))]),
        (
            b"\x95\x11Opus\0\0\0\x01a\x01\0\0\x02bc",
            vec![
                enhanced(b"Opus", Some(0), Frame(b"a")),
                enhanced(b"Opus", Some(1), Frame(b"bc")),
            ],
        ),
        (
            b"\x95\x21Opus\0\0\0\x01amp4a\x01\0\0\0",
            vec![
                enhanced(b"Opus", Some(0), Frame(b"a")),
                enhanced(b"mp4a", Some(1), Frame(b"")),
            ],
        ),
    ]
}

#[test]
fn every_video_body_parses_and_emits_the_same_bytes() {
    for (body, videos) in video_cases() {
        let parsed: Result<Vec<_>, _> = Video::parse(body).unwrap().collect();
        assert_eq!(parsed.as_ref(), Ok(&videos), "{body:02x?}");
        let mut out = Vec::new();
        match (videos.len(), body[1] >> 4) {
            (1, _) => videos[0].emit(&mut out),
            (_, 1) => Video::emit_many(MultitrackType::ManyTracks, &videos, &mut out),
            _ => Video::emit_many(MultitrackType::ManyTracksManyCodecs, &videos, &mut out),
        }
        assert_eq!(out, body);
    }
}

#[test]
fn obs_leaves_the_frame_type_out_of_hdr_metadata() {
    for (body, track) in [(&b"\x84hvc1m"[..], None), (b"\x86\x04hvc1\x01m", Some(1))] {
        let parsed: Vec<_> = Video::parse(body).unwrap().collect();
        let [Ok(video)] = parsed[..] else { panic!("{parsed:?}") };
        assert_eq!((video.track, video.packet), (track, VideoPacket::Metadata(b"m")));
    }
    let error = Error::Illegal {
        field: "FrameType",
        value: 0,
        offset: 0,
    };
    assert_eq!(
        Video::parse(b"\x81hvc1x").map(|_| ()),
        Err(error),
        "of a frame it says what it is"
    );
}

#[test]
fn every_audio_body_parses_and_emits_the_same_bytes() {
    for (body, audios) in audio_cases() {
        let parsed: Result<Vec<_>, _> = Audio::parse(body).unwrap().collect();
        assert_eq!(parsed.as_ref(), Ok(&audios), "{body:02x?}");
        let mut out = Vec::new();
        match (audios.len(), body[1] >> 4) {
            (1, _) => audios[0].emit(&mut out),
            (_, 1) => Audio::emit_many(MultitrackType::ManyTracks, &audios, &mut out),
            _ => Audio::emit_many(MultitrackType::ManyTracksManyCodecs, &audios, &mut out),
        }
        assert_eq!(out, body);
    }
}

#[test]
fn long_and_foreign_modifiers_are_passed_over() {
    let mut body = b"\x97\xff\x01\x00".to_vec();
    body.resize(body.len() + 257, 0xee);
    // A modifier of an unknown type with 257 bytes, one of one byte, then coded frames.
    body.extend_from_slice(b"\xf7\x00\xaa\x51av01x");
    let parsed: Vec<_> = Video::parse(&body).unwrap().collect();
    let [Ok(video)] = parsed[..] else { panic!("{parsed:?}") };
    assert_eq!((video.codec, video.nanos), (VideoCodec::AV01, 0));
}

#[test]
fn faults_are_named_with_their_place() {
    let video = |body| Video::parse(body).and_then(|videos| videos.collect::<Result<Vec<_>, _>>());
    fn truncated<T>(field: &'static str, offset: usize) -> Result<T, Error> {
        Err(Error::Truncated { field, offset })
    }
    for (body, expected) in [
        (&b""[..], truncated("FrameType", 0)),
        (b"\x17", truncated("AVCPacketType", 1)),
        (b"\x17\x01\0\0", truncated("CompositionTime", 2)),
        (b"\x90av0", truncated("fourCC", 1)),
        (b"\x96\x11av01\x01\0\0\x05x", truncated("track", 10)),
        (b"\x97\x05x", truncated("modExData", 2)),
        (
            b"\x96\x06av01",
            Err(Error::Illegal {
                field: "packet type of a multitrack",
                value: 6,
                offset: 1,
            }),
        ),
        (
            b"\x96\x31av01",
            Err(Error::Illegal {
                field: "AvMultitrackType",
                value: 3,
                offset: 1,
            }),
        ),
    ] {
        assert_eq!(video(body), expected, "{body:02x?}");
    }
    assert_eq!(Audio::parse(b"\xaf").map(|_| ()), truncated("AACPacketType", 1));
}
