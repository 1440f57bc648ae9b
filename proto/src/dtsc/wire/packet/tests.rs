use super::*;

const PULL_LIVE: &[u8] = include_bytes!("../../testdata/mistserver-pull-live.dtsc");
const PULL_VOD: &[u8] = include_bytes!("../../testdata/mistserver-pull-vod.dtsc");
const PING: &[u8] = include_bytes!("../../testdata/mistserver-ping.dtsc");

const MEDIA: Media<'_> = Media {
    track: 1,
    time_ms: 1000,
    offset_ms: 0,
    bpos: 0,
    key: true,
    data: &[0xde, 0xad, 0xbe, 0xef],
};

#[test]
fn the_worked_example_of_the_reference_is_written() {
    let mut expected = b"DTP2\0\0\0\x32\0\0\0\x01\0\0\0\0\0\0\x03\xe8\xe0".to_vec();
    expected.extend_from_slice(b"\0\x08keyframe\x01\0\0\0\0\0\0\0\x01");
    expected.extend_from_slice(b"\0\x04data\x02\0\0\0\x04\xde\xad\xbe\xef\0\0\xee");
    let mut out = Vec::new();
    MEDIA.emit(&mut out).unwrap();
    assert_eq!(out, expected);
    assert_eq!(out.len(), 58);
}

#[test]
fn what_is_written_is_read_again_and_as_long_as_the_formula_says() {
    for (offset_ms, bpos, key) in [
        (0, 0, false),
        (40, 0, false),
        (-40, 0, true),
        (0, 13, true),
        (i64::MIN, i64::MAX as u64, true),
    ] {
        let media = Media {
            track: u32::MAX,
            time_ms: u64::MAX,
            offset_ms,
            bpos,
            key,
            ..MEDIA
        };
        let mut out = Vec::new();
        media.emit(&mut out).unwrap();
        let members = [(offset_ms != 0, 17), (bpos != 0, 15), (key, 19)];
        let formula: usize = members
            .iter()
            .map(|&(there, bytes)| if there { bytes } else { 0 })
            .sum();
        assert_eq!(out.len(), 24 + 11 + 4 + formula);
        for length in 0..out.len() {
            assert_eq!(split(&out[..length]), Ok(None));
        }
        let packet = split(&out).unwrap().unwrap();
        assert_eq!(packet.bytes(), out.len());
        assert_eq!(Media::parse(packet), Ok(media));
    }
}

#[test]
fn recorded_packets_are_written_again_byte_for_byte() {
    for (recording, kinds) in [(PULL_LIVE, [1, 1]), (PULL_VOD, [1, 2]), (PING, [3, 0])] {
        let [mut commands, mut headers, mut media] = [0; 3];
        let mut rest = recording;
        while let Some(packet) = split(rest).unwrap() {
            let (whole, behind) = rest.split_at(packet.bytes());
            let mut out = Vec::new();
            match packet.kind {
                Kind::Media => {
                    media += 1;
                    Media::parse(packet).unwrap().emit(&mut out).unwrap();
                }
                kind => {
                    let object = object::parse(packet.body).unwrap();
                    *if kind == Kind::Header {
                        &mut headers
                    } else {
                        &mut commands
                    } += 1;
                    emit_object(kind, &mut out, |out| object::emit(&object::Value::Object(object), out)).unwrap();
                }
            }
            assert!(out == whole, "packet at {}", recording.len() - rest.len());
            rest = behind;
        }
        assert!(rest.is_empty());
        assert_eq!([commands, headers], kinds);
        assert_eq!(media > 0, headers > 0);
    }
}

#[test]
fn a_recorded_key_frame_says_what_it_is() {
    let mut rest = PULL_LIVE;
    let packet = loop {
        let packet = split(rest).unwrap().unwrap();
        rest = &rest[packet.bytes()..];
        if packet.kind == Kind::Media {
            break packet;
        }
    };
    let media = Media::parse(packet).unwrap();
    assert_eq!(
        (media.track, media.time_ms, media.offset_ms, media.key),
        (2, 0x65b7, 0, true)
    );
    assert_eq!(media.data.len(), 0x1102);
}

#[test]
fn the_key_flag_taken_back_is_no_key_and_unknown_members_are_passed_over() {
    let mut out = Vec::new();
    MEDIA.emit(&mut out).unwrap();
    let name = out.windows(8).position(|bytes| bytes == b"keyframe").unwrap();
    out[name] = b'K';
    assert!(!Media::parse(split(&out).unwrap().unwrap()).unwrap().key);
    out[name..name + 8].fill(0);
    assert!(!Media::parse(split(&out).unwrap().unwrap()).unwrap().key);
}

#[test]
fn the_first_version_is_read() {
    let mut out = Vec::new();
    object::open(&mut out);
    object::push_integer("trackid", 2, &mut out);
    object::push_integer("time", 40, &mut out);
    object::push_integer("duration", 7, &mut out);
    object::push_integer("keyframe", 1, &mut out);
    object::push_bytes("data", MEDIA.data, &mut out);
    object::close(&mut out);
    let kind = Kind::MediaV1;
    let expected = Media {
        track: 2,
        time_ms: 40,
        ..MEDIA
    };
    assert_eq!(Media::parse(Packet { kind, body: &out }), Ok(expected));
    let body = b"\xe0\0\0\xee";
    assert_eq!(
        Media::parse(Packet { kind, body }),
        Err(Error::Member { name: "trackid" })
    );
}

#[test]
fn what_is_no_packet_is_refused() {
    assert_eq!(split(b"DTHD\0\0\0\0"), Err(Error::Magic { bytes: *b"DTHD" }));
    assert!(matches!(split(b"DTP2\xff\0\0\0"), Err(Error::PacketTooLarge { .. })));
    assert_eq!(split(b"DTP2\0\0\0"), Ok(None));
    let kind = Kind::Media;
    let body = b"\0\0\0\x01\0\0\0\0\0\0\0\0\xe0\0\0\xee";
    assert_eq!(Media::parse(Packet { kind, body }), Err(Error::Member { name: "data" }));
    let empty = Media { data: &[], ..MEDIA };
    assert!(matches!(empty.head(), Err(Error::DataLength { bytes: 0, .. })));
}
