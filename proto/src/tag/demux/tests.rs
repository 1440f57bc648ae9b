use super::*;
use crate::codec::cases::{self, hex};
use crate::media::Break;

mod habits;

const ASC_48K: &[u8] = &[0x11, 0x90];

/// Everything that one message brings, as text.
pub fn push(demux: &mut Demux, kind: MessageKind, timestamp: u32, body: &[u8]) -> Vec<String> {
    let mut items = Vec::new();
    if let Err(error) = demux.push(kind, timestamp, body) {
        items.push(format!("error: {error}"));
    }
    while let Some(item) = demux.poll() {
        items.push(match item {
            Item::Break(kind) => format!("{kind:?}"),
            Item::Metadata => "Metadata".to_owned(),
            Item::Frame(frame) => {
                let key = if frame.key { " key" } else { "" };
                format!(
                    "{}@{}{:+}{key} {}",
                    frame.track,
                    frame.dts,
                    frame.offset,
                    frame.data.escape_ascii()
                )
            }
        });
    }
    items
}

fn avc_config() -> Vec<u8> {
    [b"\x17\0\0\0\0", &hex(cases::AVCC_HIGH)[..]].concat()
}

fn avc(demux: &mut Demux, timestamp: u32, head: &[u8; 5], data: &[u8]) -> Vec<String> {
    push(demux, MessageKind::Video, timestamp, &[head, data].concat())
}

fn aac(demux: &mut Demux, timestamp: u32) -> Vec<String> {
    push(demux, MessageKind::Audio, timestamp, b"\xaf\x01a")
}

fn aac_config(demux: &mut Demux, record: &[u8]) -> Vec<String> {
    push(demux, MessageKind::Audio, 0, &[b"\xaf\0", record].concat())
}

const NAL: &[u8] = b"\0\0\0\x01e";
const NAL_TEXT: &str = "\\x00\\x00\\x00\\x01e";

#[test]
fn h264_with_b_frames() {
    let mut demux = Demux::new();
    assert_eq!(avc(&mut demux, 0, b"\x17\x01\0\0\x50", NAL), [""; 0]);
    assert_eq!(demux.counters().frames_dropped_before_config, 1);
    assert_eq!(push(&mut demux, MessageKind::Video, 0, &avc_config()), ["TrackSet"]);
    assert_eq!(
        avc(&mut demux, 10, b"\x17\x01\0\0\x50", NAL),
        [format!("1@900+7200 key {NAL_TEXT}")]
    );
    assert_eq!(
        avc(&mut demux, 50, b"\x27\x01\xff\xff\xff", NAL),
        [format!("1@4500-90 {NAL_TEXT}")]
    );
    // The same time again: one tick on, shown when it was to be.
    assert_eq!(
        avc(&mut demux, 50, b"\x27\x01\0\0\x01", NAL),
        [format!("1@4501+89 {NAL_TEXT}")]
    );
    // A header that comes again is no news.
    assert_eq!(push(&mut demux, MessageKind::Video, 90, &avc_config()), [""; 0]);
    let [track] = demux.tracks() else { panic!("one track") };
    assert_eq!((track.id, track.codec, track.timescale), (1, Codec::H264, 90_000));
    assert_eq!(track.codec_data, hex(cases::AVCC_HIGH));
    let Format::Video { width, height, .. } = track.format else {
        panic!()
    };
    assert_eq!((width, height), (1918, 1078));
    // Another one is a new generation of the same track.
    let other = [b"\x17\0\0\0\0", &hex(cases::AVCC_BASELINE)[..]].concat();
    assert_eq!(push(&mut demux, MessageKind::Video, 90, &other), ["CodecData"]);
    assert_eq!((demux.tracks()[0].id, demux.tracks()[0].generation), (1, 1));
}

#[test]
fn lengths_of_two_bytes_become_four() {
    let mut demux = Demux::new();
    let mut config = avc_config();
    config[5 + 4] = 0xfd;
    push(&mut demux, MessageKind::Video, 0, &config);
    assert_eq!(demux.tracks()[0].codec_data, hex(cases::AVCC_HIGH));
    assert_eq!(
        avc(&mut demux, 0, b"\x17\x01\0\0\0", b"\0\x01e\0\0"),
        [format!("1@0+0 key {NAL_TEXT}")]
    );
    assert_eq!(demux.counters().empty_nals, 1);
}

#[test]
fn hevc_under_the_number_of_avc_is_told_by_its_record() {
    let mut demux = Demux::new();
    let config = [b"\x17\0\0\0\0", &hex(cases::HVCC_MAIN)[..]].concat();
    assert_eq!(push(&mut demux, MessageKind::Video, 0, &config), ["TrackSet"]);
    assert_eq!(demux.tracks()[0].codec, Codec::Hevc);
    assert_eq!(
        avc(&mut demux, 0, b"\x17\x01\0\0\0", NAL),
        [format!("1@0+0 key {NAL_TEXT}")]
    );
    // The same by its own names is the same track.
    for config in [&b"\x1c\0\0\0\0"[..], b"\x90hvc1"] {
        let config = [config, &hex(cases::HVCC_MAIN)].concat();
        assert_eq!(push(&mut demux, MessageKind::Video, 40, &config), [""; 0]);
    }
    // A change of codec is a new track in the old one's place.
    assert_eq!(push(&mut demux, MessageKind::Video, 80, &avc_config()), ["TrackSet"]);
    assert_eq!((demux.tracks().len(), demux.tracks()[0].id), (1, 2));
}

#[test]
fn aac_time_is_counted() {
    let mut demux = Demux::new();
    assert_eq!(aac_config(&mut demux, b""), [""; 0]);
    assert_eq!(aac(&mut demux, 0), [""; 0]);
    assert_eq!(aac_config(&mut demux, ASC_48K), ["TrackSet"]);
    let stamps = [100, 121, 143, 163, 186];
    for (index, stamp) in stamps.into_iter().enumerate() {
        assert_eq!(aac(&mut demux, stamp), [format!("1@{}+0 key a", 4800 + 1024 * index)]);
    }
    // 60 ms late: the publisher lost something.
    assert_eq!(aac(&mut demux, 267), ["1@12816+0 key a"]);
    let counters = demux.counters();
    assert_eq!(
        (
            counters.reanchors,
            counters.frames_dropped_before_config,
            counters.empty_bodies
        ),
        (1, 1, 1)
    );
}

#[test]
fn a_jump_of_time_is_a_break_for_all_tracks() {
    let mut demux = Demux::new();
    aac_config(&mut demux, ASC_48K);
    push(&mut demux, MessageKind::Video, 0, &avc_config());
    avc(&mut demux, 60_000, b"\x17\x01\0\0\0", NAL);
    aac(&mut demux, 60_000);
    avc(&mut demux, 60_040, b"\x27\x01\0\0\0", NAL);
    let expected = ["TimeJump".to_owned(), format!("2@{}+0 key {NAL_TEXT}", 60_080 * 90)];
    assert_eq!(avc(&mut demux, 0, b"\x17\x01\0\0\0", NAL), expected);
    assert_eq!(aac(&mut demux, 5), [format!("1@{}+0 key a", 60_085 * 48)]);
    // Sequence headers and script data stamped 0 move nothing.
    assert_eq!(
        avc(&mut demux, 40, b"\x27\x01\0\0\0", NAL),
        [format!("2@{}+0 {NAL_TEXT}", 60_120 * 90)]
    );
    assert_eq!(demux.counters().time_jumps, 1);
}

#[test]
fn self_describing_audio_needs_no_record() {
    let mut demux = Demux::new();
    let mp3 = hex(cases::MP3);
    let mut body = b"\x2f".to_vec();
    body.extend_from_slice(&mp3);
    body.resize(1 + mp3::Header::parse(&mp3).unwrap().frame_bytes, 0);
    let frame = body[1..].to_vec();
    let items = push(&mut demux, MessageKind::Audio, 0, &body);
    assert_eq!(items[0], "TrackSet");
    assert_eq!(items.len(), 2);
    // Two frames in one body are two frames.
    let two = [&body[..], &frame].concat();
    let items = push(&mut demux, MessageKind::Audio, 26, &two);
    assert!(
        items[0].starts_with("1@1152+0 key") && items[1].starts_with("1@2304+0 key"),
        "{items:?}"
    );
    let track = &demux.tracks()[0];
    assert_eq!((track.codec, track.timescale), (Codec::Mp3, 44_100));
    // G.711 takes the place, and is 8 kHz whatever the rate bits say.
    assert_eq!(push(&mut demux, MessageKind::Audio, 52, b"\x7eab")[0], "TrackSet");
    assert_eq!(demux.tracks()[0].timescale, 8_000);
    // PCM leaves in network order.
    let items = push(&mut demux, MessageKind::Audio, 80, b"\x3babcd");
    assert!(items[1].ends_with("key badc"), "{items:?}");
}

#[test]
fn enhanced_codecs() {
    let mut demux = Demux::new();
    let opus = [&b"\x90Opus"[..], &hex(cases::OPUS_HEAD)].concat();
    assert_eq!(push(&mut demux, MessageKind::Audio, 0, &opus), ["TrackSet"]);
    // CELT, 20 ms.
    assert_eq!(
        push(&mut demux, MessageKind::Audio, 3, b"\x91Opus\xf8"),
        ["1@144+0 key \\xf8"]
    );
    assert_eq!(
        push(&mut demux, MessageKind::Audio, 23, b"\x91Opus\xf8"),
        ["1@1104+0 key \\xf8"]
    );
    let flac = [&b"\x90fLaC"[..], &hex(cases::FLAC)].concat();
    assert_eq!(push(&mut demux, MessageKind::Audio, 40, &flac), ["TrackSet"]);
    let av1 = [&b"\x90av01"[..], &hex(cases::AV1C)].concat();
    assert_eq!(push(&mut demux, MessageKind::Video, 40, &av1), ["TrackSet"]);
    let unit = [&b"\x91av01"[..], &hex(cases::AV1_UNIT)].concat();
    let items = push(&mut demux, MessageKind::Video, 40, &unit);
    let stripped = hex(cases::AV1_UNIT)[2..].escape_ascii().to_string();
    assert_eq!(items, [format!("3@3600+0 key {stripped}")]);
    let ac3 = [&b"\x91ac-3"[..], &hex(cases::AC3)].concat();
    assert_eq!(push(&mut demux, MessageKind::Audio, 60, &ac3)[0], "TrackSet");
    let codecs: Vec<_> = demux.tracks().iter().map(|track| track.codec).collect();
    assert_eq!(codecs, [Codec::Ac3, Codec::Av1]);
    assert_eq!(
        push(&mut demux, MessageKind::Video, 60, b"\x91xxxxa"),
        ["error: codec 'xxxx' is not carried"]
    );
    assert_eq!(demux.counters().bad_bodies, 1);
}

#[test]
fn multitrack_bodies_make_tracks_up_to_the_limit() {
    let mut demux = Demux::new();
    let items = push(
        &mut demux,
        MessageKind::Audio,
        0,
        b"\x95\x11Opus\0\0\0\x01\xf8\x01\0\0\x01\xfc",
    );
    assert_eq!(items, ["TrackSet", "1@0+0 key \\xf8", "TrackSet", "2@0+0 key \\xfc"]);
    for number in 2..=255 {
        push(
            &mut demux,
            MessageKind::Audio,
            0,
            &[b"\x95\x01Opus", &[number][..], b"\xf8"].concat(),
        );
    }
    assert_eq!(demux.tracks().len(), TRACKS_MAX);
    assert_eq!(demux.counters().bad_bodies, 256 - TRACKS_MAX as u64);
    // Track 0 of a multitrack is the one of plain bodies.
    assert_eq!(
        push(&mut demux, MessageKind::Audio, 20, b"\x91Opus\xf8"),
        ["1@960+0 key \\xf8"]
    );
}

#[test]
fn the_first_track_stands_first_though_another_comes_before_it() {
    let mut demux = Demux::new();
    push(&mut demux, MessageKind::Video, 0, &avc_config());
    // AAC as track 1 has a header; AC-3 as track 0 has none, and comes with its first frame.
    assert_eq!(
        push(&mut demux, MessageKind::Audio, 0, b"\x95\0mp4a\x01\x11\x90"),
        ["TrackSet"]
    );
    assert!(!demux.is_complete());
    let ac3 = [&b"\x91ac-3"[..], &hex(cases::AC3)].concat();
    assert_eq!(push(&mut demux, MessageKind::Audio, 0, &ac3)[0], "TrackSet");
    assert!(demux.is_complete());
    let codecs: Vec<_> = demux.tracks().iter().map(|track| track.codec).collect();
    assert_eq!(codecs, [Codec::H264, Codec::Ac3, Codec::Aac]);
    assert_eq!(
        push(&mut demux, MessageKind::Audio, 0, b"\x95\x01mp4a\x01a"),
        ["2@0+0 key a"]
    );
}

#[test]
fn metadata_is_a_hint_and_other_script_data_a_track() {
    use crate::tag::amf0::Value;
    let mut body = Vec::new();
    Value::from("onMetaData").emit(&mut body);
    let members = vec![
        ("audiocodecid".to_owned(), 10.0.into()),
        ("hasVideo".to_owned(), false.into()),
        ("audiodatarate".to_owned(), 64.0.into()),
    ];
    Value::EcmaArray(members).emit(&mut body);
    let mut demux = Demux::new();
    assert!(!demux.is_complete());
    assert_eq!(push(&mut demux, MessageKind::Script, 0, &body), ["Metadata"]);
    assert_eq!(push(&mut demux, MessageKind::Script, 0, &body), [""; 0]);
    let expected = Announced {
        video: Some(false),
        audio: Some(true),
    };
    assert_eq!(
        (demux.announced(), demux.is_complete(), demux.tracks()),
        (expected, false, &[][..])
    );
    aac_config(&mut demux, ASC_48K);
    assert!(demux.is_complete());
    assert_eq!(demux.tracks()[0].bitrate_hint, 64_000);
    let items = push(&mut demux, MessageKind::Script, 7, b"\x02\0\x03onX\x05");
    assert_eq!(
        items,
        ["TrackSet", "2@7+0 key {\\\"name\\\":\\\"onX\\\",\\\"values\\\":[null]}"]
    );
    assert_eq!(
        push(&mut demux, MessageKind::Script, 7, b"\x05"),
        ["error: script data of 1 bytes has no name"]
    );
}

#[test]
#[should_panic(expected = "drain before the next push")]
fn pushing_before_draining_is_a_mistake_of_the_driver() {
    let mut demux = Demux::new();
    let _ = demux.push(MessageKind::Video, 0, &avc_config());
    let _ = demux.push(MessageKind::Video, 0, &avc_config());
}

#[test]
fn breaks_carry_their_kind() {
    let mut demux = Demux::new();
    demux.push(MessageKind::Video, 0, &avc_config()).unwrap();
    assert!(matches!(demux.poll(), Some(Item::Break(Break::TrackSet))));
    assert!(demux.poll().is_none());
}
