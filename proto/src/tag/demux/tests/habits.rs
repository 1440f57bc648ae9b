//! Bodies as encoders in the field send them, by the name of the software (client-habits.md 4.1), and what becomes of
//! each. What viewers see of them is in `tests/encoders.rs`.

use super::*;
use crate::tag::amf0::Value;

/// Who; messages in their order, each with all that it brings; tracks in the end, and what was counted.
struct Habit {
    who: &'static str,
    messages: Vec<(MessageKind, u32, Vec<u8>, Vec<String>)>,
    tracks: &'static [Codec],
    counters: Counters,
}

fn check(habit: Habit) {
    let mut demux = Demux::new();
    for (nth, (kind, timestamp, body, expected)) in habit.messages.iter().enumerate() {
        let items = push(&mut demux, *kind, *timestamp, body);
        assert_eq!(&items, expected, "{}: message {nth}", habit.who);
    }
    let tracks: Vec<_> = demux.tracks().iter().map(|track| track.codec).collect();
    assert_eq!(tracks, habit.tracks, "{}", habit.who);
    assert_eq!(demux.counters(), habit.counters, "{}", habit.who);
}

fn video(timestamp: u32, body: &[u8], expected: &[&str]) -> (MessageKind, u32, Vec<u8>, Vec<String>) {
    (MessageKind::Video, timestamp, body.to_vec(), texts(expected))
}

fn audio(timestamp: u32, body: &[u8], expected: &[&str]) -> (MessageKind, u32, Vec<u8>, Vec<String>) {
    (MessageKind::Audio, timestamp, body.to_vec(), texts(expected))
}

fn script(body: &[u8], expected: &[&str]) -> (MessageKind, u32, Vec<u8>, Vec<String>) {
    (MessageKind::Script, 0, body.to_vec(), texts(expected))
}

fn texts(expected: &[&str]) -> Vec<String> {
    expected.iter().map(|text| (*text).to_owned()).collect()
}

fn metadata(members: &[(&str, Value)]) -> Vec<u8> {
    let mut body = Vec::new();
    Value::from("onMetaData").emit(&mut body);
    let members = members.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    Value::EcmaArray(members.collect()).emit(&mut body);
    body
}

fn hvcc(head: &[u8]) -> Vec<u8> {
    [head, &hex(cases::HVCC_MAIN)].concat()
}

fn counters(frames: u64) -> Counters {
    Counters {
        frames,
        ..Counters::default()
    }
}

/// A NAL unit of one byte behind its length, as a frame has it and as text.
const PICTURE: &[u8] = b"\x17\x01\0\0\0\0\0\0\x01e";
const KEY: &str = "1@0+0 key \\x00\\x00\\x00\\x01e";

#[test]
fn hevc_by_other_names() {
    let names_avc = metadata(&[("videocodecid", 7.0.into())]);
    for (who, config, picture) in [
        ("OBS before 29.1", &b"\x17\0\0\0\0"[..], PICTURE),
        ("Chinese encoders", b"\x1c\0\0\0\0", b"\x1c\x01\0\0\0\0\0\0\x01e"),
        ("OBS 29.1 and later", b"\x90hvc1", b"\x93hvc1\0\0\0\x01e"),
    ] {
        check(Habit {
            who,
            messages: vec![
                script(&names_avc, &["Metadata"]),
                video(0, &hvcc(config), &["TrackSet"]),
                video(0, picture, &[KEY]),
            ],
            tracks: &[Codec::Hevc],
            counters: counters(1),
        });
    }
}

#[test]
fn script_data_that_are_none() {
    check(Habit {
        who: "FFmpeg, a timecode track",
        messages: vec![
            video(0, &avc_config(), &["TrackSet"]),
            script(b"\0\x01\x5f\x90", &["error: script data cannot be read"]),
            video(0, PICTURE, &[KEY]),
        ],
        tracks: &[Codec::H264],
        counters: Counters {
            bad_bodies: 1,
            ..counters(1)
        },
    });
    let mut uniview = b"\0\0\0\0\0\0\0\0\0\x02\0\x0d@setDataFrame".to_vec();
    uniview.extend_from_slice(&metadata(&[("videocodecid", 7.0.into())]));
    for (who, body) in [
        ("Uniview", uniview),
        (
            "Dahua",
            metadata(&[("width", 1920.0.into()), ("height", 1080.0.into())]),
        ),
        (
            "XSplit",
            metadata(&[("videocodecid", "avc1".into()), ("audiocodecid", Value::Null)]),
        ),
    ] {
        check(Habit {
            who,
            messages: vec![
                script(&body, &["Metadata"]),
                // Nothing is made of it before the media come.
                video(0, &avc_config(), &["TrackSet"]),
                video(0, PICTURE, &[KEY]),
            ],
            tracks: &[Codec::H264],
            counters: counters(1),
        });
    }
}

#[test]
fn dji() {
    let mut other = b"\x17\0\0\0\0".to_vec();
    other.extend_from_slice(&hex(cases::AVCC_BASELINE));
    check(Habit {
        who: "DJI",
        messages: vec![
            script(&metadata(&[("encoder", "DJI".into())]), &[]),
            video(0, &avc_config(), &["TrackSet"]),
            // An empty unit ahead, and one behind.
            video(0, b"\x17\x01\0\0\0\0\0\0\0\0\0\0\x01e\0\0\0\0", &[KEY]),
            // The last length says 256 bytes more than there are.
            video(
                40,
                b"\x27\x01\0\0\0\0\0\0\x02Ax\0\0\x01\0",
                &["1@3600+0 \\x00\\x00\\x00\\x02Ax"],
            ),
            // Nothing but an empty unit.
            video(80, b"\x27\x01\0\0\0\0\0\0\0", &[]),
            video(120, &other, &["CodecData"]),
            video(120, PICTURE, &["1@10800+0 key \\x00\\x00\\x00\\x01e"]),
        ],
        tracks: &[Codec::H264],
        counters: Counters {
            empty_nals: 3,
            bad_lengths: 1,
            empty_bodies: 1,
            ..counters(3)
        },
    });
}

#[test]
fn sound_before_its_configuration() {
    check(Habit {
        who: "some encoders",
        messages: vec![
            audio(0, b"\xaf\0", &[]),
            audio(0, b"\xaf\x01a", &[]),
            audio(0, b"\xaf\0\x11\x90", &["TrackSet"]),
            audio(23, b"\xaf\x01", &[]),
            audio(23, b"\xaf\x01b", &["1@1104+0 key b"]),
        ],
        tracks: &[Codec::Aac],
        counters: Counters {
            empty_bodies: 2,
            frames_dropped_before_config: 1,
            ..counters(1)
        },
    });
}

#[test]
fn pictures_before_their_decoding() {
    check(Habit {
        who: "Wirecast",
        messages: vec![
            video(0, &avc_config(), &["TrackSet"]),
            video(
                100,
                b"\x17\x01\xff\xff\x88\0\0\0\x01e",
                &["1@9000-10800 key \\x00\\x00\\x00\\x01e"],
            ),
            video(
                140,
                b"\x27\x01\xff\xff\xff\0\0\0\x01A",
                &["1@12600-90 \\x00\\x00\\x00\\x01A"],
            ),
        ],
        tracks: &[Codec::H264],
        counters: counters(2),
    });
}

#[test]
fn many_units_of_one_picture() {
    check(Habit {
        who: "OBS, tuned for zero latency",
        messages: vec![
            video(0, &avc_config(), &["TrackSet"]),
            video(
                0,
                b"\x17\x01\0\0\0\0\0\0\x01e\0\0\0\x01e\0\0\0\x01e",
                &["1@0+0 key \\x00\\x00\\x00\\x01e\\x00\\x00\\x00\\x01e\\x00\\x00\\x00\\x01e"],
            ),
        ],
        tracks: &[Codec::H264],
        counters: counters(1),
    });
}

#[test]
fn several_tracks_of_obs() {
    let second = [b"\x96\0avc1\x01", &hex(cases::AVCC_BASELINE)[..]].concat();
    check(Habit {
        who: "OBS 31, multitrack video and VOD track",
        messages: vec![
            audio(0, b"\xaf\0\x11\x90", &["TrackSet"]),
            audio(0, b"\x95\0mp4a\x01\x11\x90", &["TrackSet"]),
            video(0, &avc_config(), &["TrackSet"]),
            video(0, &second, &["TrackSet"]),
            // HDR of the second track: a frame type of 0.
            video(0, b"\x86\x04avc1\x01\x02\0\x01c", &[]),
            video(0, PICTURE, &["3@0+0 key \\x00\\x00\\x00\\x01e"]),
            video(0, b"\x96\x03avc1\x01\0\0\0\x01f", &["4@0+0 key \\x00\\x00\\x00\\x01f"]),
            audio(0, b"\xaf\x01a", &["1@0+0 key a"]),
            audio(0, b"\x95\x01mp4a\x01b", &["2@0+0 key b"]),
            video(40, b"\x96\x02avc1\x01", &[]),
        ],
        tracks: &[Codec::Aac, Codec::Aac, Codec::H264, Codec::H264],
        counters: Counters {
            ignored: 2,
            ..counters(4)
        },
    });
}
