use super::*;
use crate::codec::cases::{ASC_LC, AV1C, AVCC_BASELINE, HVCC_MAIN, VP9_KEY, hex};
use crate::codec::{h264, hevc, nal};
use crate::media::{Format, Kind};
use crate::rtp::format::PayloadFormat;

pub(in crate::rtp) const CODECS: [Codec; 17] = [
    Codec::H264,
    Codec::Hevc,
    Codec::Av1,
    Codec::Vp8,
    Codec::Vp9,
    Codec::Mjpeg,
    Codec::Aac,
    Codec::Mp2,
    Codec::Mp3,
    Codec::Opus,
    Codec::Ac3,
    Codec::Eac3,
    Codec::Alaw,
    Codec::Ulaw,
    Codec::Pcm,
    Codec::G722,
    Codec::Rtp,
];

/// With codec data where the codec needs them, 48 kHz stereo or 1918 x 1078.
pub(in crate::rtp) fn track(codec: Codec) -> Track {
    let opaque = PayloadFormat {
        kind: Kind::Video,
        payload_type: 112,
        encoding: "X".into(),
        clock_rate: 90_000,
        channels: 1,
        parameters: Vec::new(),
    };
    let (timescale, format) = match codec.kind() {
        Kind::Video => (
            90_000,
            Format::Video {
                width: 1918,
                height: 1078,
                frame_rate: 30.0,
            },
        ),
        Kind::Audio => (
            48_000,
            Format::Audio {
                sample_rate: 48_000,
                channels: 2,
                sample_bits: 16,
            },
        ),
        Kind::Meta => (90_000, Format::Meta),
    };
    Track {
        id: 1,
        generation: 0,
        codec,
        timescale,
        codec_data: match codec {
            Codec::H264 => hex(AVCC_BASELINE),
            Codec::Hevc => hex(HVCC_MAIN),
            Codec::Av1 => hex(AV1C),
            Codec::Aac => hex(ASC_LC),
            Codec::Rtp => opaque.to_codec_data(),
            _ => Vec::new(),
        },
        bitrate_hint: 0,
        format,
    }
}

/// Ticks, marker, bytes.
type Cut = (u32, bool, Vec<u8>);

fn cut(pack: &mut dyn Pack, data: &[u8], key: bool) -> Vec<Cut> {
    let mut found = Vec::new();
    let frame = Frame {
        track: 1,
        dts: 0,
        offset: 0,
        key,
        data,
    };
    pack.frame(&frame, &mut |packet| {
        let bytes = packet.parts.concat();
        assert_eq!(bytes.len(), packet.payload_bytes());
        found.push((packet.ticks, packet.marker, bytes));
    });
    found
}

fn once(track: &Track, payload_bytes_max: usize, data: &[u8], key: bool) -> Vec<Cut> {
    cut(&mut *of(track, payload_bytes_max, 0x7fff).unwrap(), data, key)
}

fn units(units: &[&[u8]]) -> Vec<u8> {
    let mut frame = Vec::new();
    units.iter().for_each(|unit| nal::push_unit(unit, &mut frame));
    frame
}

/// `head`, then bytes that are all different from it.
fn long(head: &[u8], bytes: usize) -> Vec<u8> {
    let body = (0..bytes - head.len()).map(|at| at as u8 | 1);
    head.iter().copied().chain(body).collect()
}

fn with_lengths(units: &[&[u8]]) -> Vec<u8> {
    let joined = units.iter().flat_map(|unit| {
        let length = (unit.len() as u16).to_be_bytes();
        length.into_iter().chain(unit.iter().copied())
    });
    joined.collect()
}

#[test]
fn h264_keyframes_begin_with_the_tracks_sets_in_one_packet() {
    let track = track(Codec::H264);
    let config = h264::Config::parse(&track.codec_data).unwrap();
    let (sps, pps) = (config.sps().next().unwrap(), config.pps().next().unwrap());
    let (delimiter, sei, idr, slice) = (&b"\x09\xf0"[..], &b"\x06\x05"[..], &b"\x65\x88"[..], &b"\x41\x9a"[..]);
    // nal_ref_idc is the highest of them, 3 of the SPS.
    let joined = |units: &[&[u8]]| [&[0x78][..], &with_lengths(units)].concat();
    let frame = units(&[delimiter, sei, idr, idr]);
    let expected = [
        (0, false, joined(&[delimiter, sps, pps, sei])),
        (0, false, idr.to_vec()),
        (0, true, idr.to_vec()),
    ];
    assert_eq!(once(&track, 1188, &frame, true), expected);
    let expected = [(0, false, joined(&[sps, pps])), (0, true, idr.to_vec())];
    assert_eq!(once(&track, 1188, &units(&[idr]), true), expected);
    // No keyframe, and one that has its own.
    assert_eq!(once(&track, 1188, &units(&[slice]), false), [(0, true, slice.to_vec())]);
    let own = [&b"\x27\x01"[..], b"\x28\x02"];
    let expected = [
        (0, false, [&[0x38][..], &with_lengths(&own)].concat()),
        (0, true, idr.to_vec()),
    ];
    assert_eq!(once(&track, 1188, &units(&[own[0], own[1], idr]), true), expected);
    // Behind the picture too, and alone as it is.
    let filler = &b"\x0c\xff\x80"[..];
    let expected = [(0, false, slice.to_vec()), (0, true, sei.to_vec())];
    assert_eq!(once(&track, 1188, &units(&[slice, sei]), false), expected);
    let expected = [(0, false, slice.to_vec()), (0, true, filler.to_vec())];
    assert_eq!(once(&track, 1188, &units(&[slice, filler]), false), expected);
}

#[test]
fn h264_units_of_more_than_a_payload_are_fragmented() {
    let track = track(Codec::H264);
    let slice = long(&[0x61], 1000);
    assert_eq!(once(&track, 1000, &units(&[&slice]), false), [(0, true, slice.clone())]);
    let found = once(&track, 999, &units(&[&slice, &[0x41, 1]]), false);
    let expected = [
        (0, false, [&[0x7c, 0x81], &slice[1..998]].concat()),
        (0, false, [&[0x7c, 0x41], &slice[998..]].concat()),
        (0, true, vec![0x41, 1]),
    ];
    assert_eq!(found, expected);
    let found = once(&track, 600, &units(&[&long(&[0x61], 1500)]), false);
    let heads: Vec<_> = found
        .iter()
        .map(|(_, marker, bytes)| (bytes[1], bytes.len(), *marker))
        .collect();
    assert_eq!(
        heads,
        [(0x81, 600, false), (0x01, 600, false), (0x41, 1499 - 1196 + 2, true)]
    );
    // Supplements that do not fit together, and one that fits into no aggregate.
    let (a, b) = (long(&[0x06], 590), long(&[0x06], 598));
    let found = once(&track, 600, &units(&[&a, &b, &[0x41, 1]]), false);
    let expected = [(0, false, a), (0, false, b), (0, true, vec![0x41, 1])];
    assert_eq!(found, expected);
}

#[test]
fn units_of_the_payload_formats_own_types_are_left_out() {
    let h264 = track(Codec::H264);
    let frame = units(&[b"\x41\x01", b"\x78\x00\x01\x41", b"\x00\x01", b"\x7c\x81"]);
    assert_eq!(once(&h264, 600, &frame, false), [(0, true, b"\x41\x01".to_vec())]);
    let hevc = track(Codec::Hevc);
    let frame = units(&[b"\x02\x01\x05", b"\x60\x01\x00\x01\x02", b"\x62\x01\x81", b"\x02"]);
    assert_eq!(once(&hevc, 600, &frame, false), [(0, true, b"\x02\x01\x05".to_vec())]);
    for (track, frame) in [(h264, &b"\0\0\0\x02\x78\0"[..]), (hevc, b"\0\0\0\x01\x02")] {
        let mut pack = of(&track, 600, 0).unwrap();
        assert!(
            cut(&mut *pack, frame, true).is_empty(),
            "and sets without a picture are none"
        );
        assert_eq!(pack.skipped(), 1);
    }
}

#[test]
fn hevc_is_joined_and_fragmented_as_rfc_7798_says() {
    let track = track(Codec::Hevc);
    let config = hevc::Config::parse(&track.codec_data).unwrap();
    let sets: Vec<_> = config.vps().chain(config.sps()).chain(config.pps()).collect();
    let (delimiter, idr) = (&b"\x46\x01\x50"[..], &b"\x26\x01\xaf"[..]);
    let joined = [
        &[0x60, 0x01][..],
        &with_lengths(&[delimiter, sets[0], sets[1], sets[2]]),
    ]
    .concat();
    let found = once(&track, 1188, &units(&[delimiter, idr]), true);
    assert_eq!(found, [(0, false, joined), (0, true, idr.to_vec())]);
    // The lowest layer (of 1 and 0) and temporal id (of 3 and 2) of what is joined.
    let found = once(
        &track,
        1188,
        &units(&[b"\x4e\x0b\x01", b"\x4e\x02\x01", b"\x02\x02\x01"]),
        false,
    );
    assert_eq!(found[0].2, b"\x60\x02\x00\x03\x4e\x0b\x01\x00\x03\x4e\x02\x01");
    let slice = long(&[0x02, 0x03], 1501);
    let found = once(&track, 600, &units(&[&slice]), false);
    let expected = [
        (0, false, [&[0x62, 0x03, 0x81], &slice[2..599]].concat()),
        (0, false, [&[0x62, 0x03, 0x01], &slice[599..1196]].concat()),
        (0, true, [&[0x62, 0x03, 0x41], &slice[1196..]].concat()),
    ];
    assert_eq!(found, expected);
}

#[test]
fn av1_elements_are_counted_and_go_on_in_the_next_packet() {
    let track = track(Codec::Av1);
    let obus = |parts: &[(u8, &[u8])]| {
        let mut unit = Vec::new();
        for &(kind, payload) in parts {
            crate::codec::av1::Obu {
                kind,
                extension: None,
                payload,
            }
            .emit(&mut unit);
        }
        unit
    };
    let sequence = &track.codec_data[6..];
    // W 2, N: the track's sequence header, then the frame without a size.
    let frame = obus(&[(6, b"\x10abc")]);
    let expected = [&[0x28, sequence.len() as u8 + 1, 0x08][..], sequence, b"\x30\x10abc"].concat();
    assert_eq!(once(&track, 600, &frame, true), [(0, true, expected)]);
    // Its own; temporal delimiter and padding are left out.
    let frame = obus(&[(2, b""), (1, b"seq"), (15, b"pad"), (6, b"\x10abc")]);
    let expected = b"\x28\x04\x08seq\x30\x10abc".to_vec();
    assert_eq!(once(&track, 600, &frame, true), [(0, true, expected)]);
    // Four are two packets; a tile group of more than a packet goes on: Y, then Z.
    let frame = obus(&[(3, b"a"), (4, b"b"), (4, b"c"), (4, b"d")]);
    let expected = [
        (0, false, b"\x30\x02\x18a\x02\x20b\x20c".to_vec()),
        (0, true, b"\x10\x20d".to_vec()),
    ];
    assert_eq!(once(&track, 600, &frame, false), expected);
    let tiles = long(b"T", 1200);
    let frame = obus(&[(3, b"a"), (4, &tiles)]);
    let expected = [
        (0, false, [b"\x60\x02\x18a\x20", &tiles[..595]].concat()),
        (0, false, [b"\xd0", &tiles[595..1194]].concat()),
        (0, true, [b"\x90", &tiles[1194..]].concat()),
    ];
    assert_eq!(once(&track, 600, &frame, false), expected);
    // An extension header goes with the OBU's header.
    let with_extension = b"\x36\x28\x01x";
    assert_eq!(
        once(&track, 600, with_extension, false),
        [(0, true, b"\x10\x34\x28x".to_vec())]
    );
    let mut pack = of(&track, 600, 0).unwrap();
    assert!(cut(&mut *pack, &[0x12, 0], true).is_empty());
    assert_eq!(pack.skipped(), 1);
}

#[test]
fn vp8_and_vp9_count_pictures_in_15_bits() {
    let mut vp8 = of(&track(Codec::Vp8), 600, 0xffff).unwrap();
    let picture = long(&[0x10], 700);
    let expected = [
        (0, false, [&[0x90, 0x80, 0xff, 0xff], &picture[..596]].concat()),
        (0, true, [&[0x80, 0x80, 0xff, 0xff], &picture[596..]].concat()),
    ];
    assert_eq!(cut(&mut *vp8, &picture, true), expected);
    let expected = [(0, true, b"\x90\x80\x80\x00\x11".to_vec())];
    assert_eq!(cut(&mut *vp8, b"\x11", false), expected, "the count wraps");

    let mut vp9 = of(&track(Codec::Vp9), 600, 0x7ffe).unwrap();
    let picture = long(&hex(VP9_KEY), 1190);
    // 1918 x 1078 with the keyframe's first packet.
    let structure = [0x10, 0x07, 0x7e, 0x04, 0x36];
    let expected = [
        (
            0,
            false,
            [&[0x8a, 0xff, 0xfe], &structure[..], &picture[..592]].concat(),
        ),
        (0, false, [&[0x80, 0xff, 0xfe], &picture[592..1189]].concat()),
        (0, true, [&[0x84, 0xff, 0xfe], &picture[1189..]].concat()),
    ];
    assert_eq!(cut(&mut *vp9, &picture, true), expected);
    let expected = [(0, true, b"\xcc\xff\xff\x86".to_vec())];
    assert_eq!(cut(&mut *vp9, b"\x86", false), expected);
}

#[test]
fn aac_states_the_size_of_the_whole_unit_in_every_fragment() {
    let track = track(Codec::Aac);
    // 13 bits of 5, AU-Index 0.
    let expected = [(0, true, b"\x00\x10\x00\x28abcde".to_vec())];
    assert_eq!(once(&track, 600, b"abcde", true), expected);
    let unit = long(b"u", 700);
    let size = (700_u16 << 3).to_be_bytes();
    let expected = [
        (0, false, [&[0, 16, size[0], size[1]], &unit[..596]].concat()),
        (0, true, [&[0, 16, size[0], size[1]], &unit[596..]].concat()),
    ];
    assert_eq!(once(&track, 600, &unit, true), expected);
    let mut pack = of(&track, 600, 0).unwrap();
    for wrong in [&[][..], &[0; 8192]] {
        assert!(cut(&mut *pack, wrong, true).is_empty());
    }
    assert_eq!(pack.skipped(), 2);
    assert_eq!(cut(&mut *pack, &[0; 8191], true).len(), 14);
}

#[test]
fn samples_are_cut_between_instants_and_time_moves_on() {
    for (codec, bytes, expected) in [
        (Codec::Alaw, 1400, &[(0, 600), (300, 600), (600, 200)][..]),
        (Codec::Ulaw, 1201, &[(0, 600), (300, 600)]),
        (Codec::G722, 700, &[(0, 600), (300, 100)]),
        (Codec::Pcm, 1206, &[(0, 600), (150, 600), (300, 4)]),
        (Codec::Pcm, 600, &[(0, 600)]),
    ] {
        let samples = long(b"", bytes);
        let found = once(&track(codec), 601, &samples, true);
        let places: Vec<_> = found.iter().map(|(ticks, _, bytes)| (*ticks, bytes.len())).collect();
        assert_eq!(places, expected, "{codec:?}");
        let joined: Vec<u8> = found.iter().flat_map(|(_, _, bytes)| bytes.clone()).collect();
        assert_eq!(joined, samples[..joined.len()]);
        assert!(found.iter().all(|(_, marker, _)| !marker));
    }
    let mut deep = track(Codec::Pcm);
    deep.format = Format::Audio {
        sample_rate: 48_000,
        channels: 2,
        sample_bits: 24,
    };
    let found = once(&deep, 601, &[7; 606], true);
    assert_eq!((found[0].2.len(), found[1].0), (600, 100));
    let mut pack = of(&deep, 600, 0).unwrap();
    assert!(cut(&mut *pack, &[1; 5], true).is_empty());
    assert_eq!(pack.skipped(), 1);
}

#[test]
fn mpeg_audio_says_where_in_its_frame_a_packet_begins() {
    let track = track(Codec::Mp3);
    // 128 kb/s, 44.1 kHz: 417 bytes, 1,152 samples.
    let one = long(&hex("fffb9064"), 417);
    assert_eq!(
        once(&track, 600, &one, true),
        [(0, false, [&[0; 4], &one[..]].concat())]
    );
    // Two do not fit into one packet, and time moves on by 26.122 ms; into a large one they do.
    let two = [&one[..], &one].concat();
    let expected = [
        (0, false, [&[0; 4], &one[..]].concat()),
        (2351, false, [&[0; 4], &one[..]].concat()),
    ];
    assert_eq!(once(&track, 600, &two, true), expected);
    assert_eq!(
        once(&track, 1188, &two, true),
        [(0, false, [&[0; 4], &two[..]].concat())]
    );
    // 384 kb/s of layer II: 1,152 bytes.
    let large = long(&hex("fffde404"), 1152);
    let expected = [
        (0, false, [&[0, 0, 0, 0], &large[..596]].concat()),
        (0, false, [&[0, 0, 0x02, 0x54], &large[596..]].concat()),
    ];
    assert_eq!(once(&track, 600, &large, true), expected);
    let mut pack = of(&track, 600, 0).unwrap();
    assert!(cut(&mut *pack, &[], true).is_empty() && cut(&mut *pack, &[0; 65_536], true).is_empty());
    assert_eq!(pack.skipped(), 2);
}

#[test]
fn ac3_says_how_much_of_a_frame_a_packet_has() {
    use crate::codec::cases::{AC3, EAC3};
    // 448 kb/s, 48 kHz: 1,792 bytes in 1,536 samples.
    let plain = track(Codec::Ac3);
    let bytes = crate::codec::ac3::SyncFrame::parse(&hex(AC3)).unwrap().frame_bytes;
    let frame = long(&hex(AC3), bytes);
    let expected = [(0, true, [&[0, 1], &frame[..]].concat())];
    assert_eq!(once(&plain, bytes + 2, &frame, true), expected);
    let two = [&frame[..], &frame].concat();
    assert_eq!(
        once(&plain, 8000, &two, true),
        [(0, true, [&[0, 2], &two[..]].concat())]
    );
    // One byte less: a first fragment of more than five eighths, and the rest; then the second frame.
    let found = once(&plain, bytes + 1, &two, true);
    let heads: Vec<_> = found
        .iter()
        .map(|(ticks, marker, bytes)| (*ticks, *marker, bytes[0], bytes[1]))
        .collect();
    let expected = [
        (0, false, 1, 2),
        (0, true, 3, 2),
        (1536, false, 1, 2),
        (1536, true, 3, 2),
    ];
    assert_eq!(heads, expected);
    let small = once(&plain, 576, &frame, true);
    assert_eq!(
        (small[0].2[0], usize::from(small[0].2[1])),
        (2, small.len()),
        "less than five eighths"
    );

    let enhanced = track(Codec::Eac3);
    let bytes = crate::codec::ac3::SyncFrame::parse(&hex(EAC3)).unwrap().frame_bytes;
    let frame = long(&hex(EAC3), bytes);
    assert_eq!(
        once(&enhanced, bytes + 2, &frame, true),
        [(0, true, [&[0, 1], &frame[..]].concat())]
    );
    let found = once(&enhanced, bytes + 1, &frame, true);
    let heads: Vec<_> = found
        .iter()
        .map(|(_, marker, bytes)| (*marker, bytes[0], bytes[1]))
        .collect();
    assert_eq!(heads, [(false, 1, 2), (true, 1, 2)]);
}

#[test]
fn an_opaque_payload_goes_out_as_it_came() {
    let track = track(Codec::Rtp);
    let payload = long(b"p", 2000);
    let framed = |flags: u8| [&[flags], &payload[..]].concat();
    assert_eq!(once(&track, 600, &framed(1), true), [(0, true, payload.clone())]);
    assert_eq!(once(&track, 600, &framed(0), true), [(0, false, payload.clone())]);
    assert_eq!(
        once(&super::tests::track(Codec::Opus), 600, &payload, true),
        [(0, false, payload)]
    );
    let mut pack = of(&track, 600, 0).unwrap();
    assert!(cut(&mut *pack, &[], true).is_empty());
    assert!(cut(&mut *pack, &vec![0; limits::WHOLE_BYTES_MAX + 2], true).is_empty());
    assert_eq!(pack.skipped(), 2);
    assert_eq!(cut(&mut *pack, &vec![0; limits::WHOLE_BYTES_MAX + 1], true).len(), 1);
}

/// Real images (testdata, ffmpeg 5.1 and Pillow): what the payloads say is what stands in them.
#[test]
fn an_images_header_is_what_its_payloads_say() {
    for (image, kind, eighths) in [
        (&include_bytes!("testdata/420.jpg")[..], 1, [8, 6]),
        (include_bytes!("testdata/422-restart.jpg"), 0, [9, 5]),
    ] {
        let found = once(&track(Codec::Mjpeg), 600, image, true);
        let has_restarts = image.windows(2).position(|pair| pair == [0xff, 0xdd]);
        let kind = kind + if has_restarts.is_some() { 64 } else { 0 };
        let mut scan = Vec::new();
        for (_, marker, bytes) in &found {
            assert_eq!(*marker, std::ptr::eq(bytes, &found.last().unwrap().2));
            let offset = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            assert_eq!(offset as usize, scan.len());
            assert_eq!(bytes[4..8], [kind, 255, eighths[0], eighths[1]]);
            let mut at = 8;
            if let Some(marker) = has_restarts {
                assert_eq!(bytes[8..12], [image[marker + 4], image[marker + 5], 0xff, 0xff]);
                at = 12;
            }
            if scan.is_empty() {
                assert_eq!(bytes[at..at + 4], [0, 0, 0, 128]);
                let table = image.windows(3).position(|part| part == [0xff, 0xdb, 0]).unwrap() + 5;
                assert_eq!(bytes[at + 4..at + 68], image[table..table + 64]);
                at += 4 + 128;
            }
            scan.extend_from_slice(&bytes[at..]);
        }
        assert!(found.len() > 2 && found.iter().all(|(_, _, bytes)| bytes.len() <= 600));
        assert!(image.ends_with(&[&scan[..], &[0xff, 0xd9]].concat()));
    }
}

#[test]
fn images_that_rfc_2435_cannot_say_give_nothing() {
    let image = include_bytes!("testdata/420.jpg");
    let mut pack = of(&track(Codec::Mjpeg), 600, 0).unwrap();
    let at = |marker: u8| image.windows(2).position(|pair| pair == [0xff, marker]).unwrap();
    let (frame, scan, huffman) = (at(0xc0), at(0xda), at(0xc4));
    let mut wrong = Vec::new();
    for (place, value) in [
        (1, 0),
        (frame + 1, 0xc2),
        (frame + 4, 12),
        (frame + 5, 0xff),
        (frame + 9, 1),
        (frame + 11, 0x11),
        (scan + 4, 1),
        (huffman + 30, 0x77),
    ] {
        let mut damaged = image.to_vec();
        damaged[place] = value;
        wrong.push(damaged);
    }
    wrong.extend((0..scan + 10).map(|length| image[..length].to_vec()));
    for damaged in &wrong {
        assert!(cut(&mut *pack, damaged, true).is_empty());
    }
    assert_eq!(pack.skipped(), wrong.len() as u64);
    // Tables that are not said are the standard's (AVI), garbage behind the end is none of the scan's.
    let without = [&image[..huffman], &image[frame..]].concat();
    let whole = cut(&mut *pack, image, true);
    assert_eq!(cut(&mut *pack, &without, true), whole);
    assert_eq!(cut(&mut *pack, &[&image[..], b"garbage"].concat(), true), whole);
}

/// A frame of about `bytes` that each codec's maker takes.
pub(in crate::rtp) fn frame_of(codec: Codec, bytes: usize) -> Vec<u8> {
    let bytes = bytes.max(8);
    match codec {
        Codec::H264 => units(&[&long(&[0x65], bytes)]),
        Codec::Hevc => units(&[&long(&[0x26, 0x01], bytes)]),
        Codec::Av1 => {
            let mut unit = Vec::new();
            let payload = long(&[0x10], bytes);
            crate::codec::av1::Obu {
                kind: 6,
                extension: None,
                payload: &payload,
            }
            .emit(&mut unit);
            unit
        }
        Codec::Mjpeg => {
            let image = include_bytes!("testdata/420.jpg");
            let scan = image.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 14;
            [&image[..scan], &vec![0x55; bytes]].concat()
        }
        Codec::Pcm | Codec::Alaw | Codec::Ulaw | Codec::G722 => long(&[], bytes / 4 * 4),
        Codec::Vp8 => long(&[0x10], bytes),
        Codec::Vp9 => long(&[0x82], bytes),
        _ => long(&[0x01], bytes),
    }
}

#[test]
fn no_payload_is_empty_or_longer_than_it_may_be() {
    for codec in CODECS {
        let whole = matches!(codec, Codec::Opus | Codec::Rtp);
        for max in [576, 1188, 8180] {
            let mut pack = of(&track(codec), max, 7).unwrap();
            let around = [1, 2, 3].map(|times| times * max - 16..times * max + 16);
            for bytes in around.into_iter().flatten().filter(|bytes| *bytes < 8192) {
                let data = frame_of(codec, bytes);
                for key in [true, false] {
                    let found = cut(&mut *pack, &data, key);
                    assert!(!found.is_empty(), "{codec:?} {bytes}");
                    let ends = found.iter().filter(|(_, marker, _)| *marker).count();
                    let last = found.last().unwrap().1;
                    assert!(ends == usize::from(last), "{codec:?}: only the last is marked");
                    for (_, _, bytes) in &found {
                        assert!(
                            !bytes.is_empty() && (bytes.len() <= max || whole),
                            "{codec:?} {}",
                            bytes.len()
                        );
                    }
                }
            }
            assert_eq!(pack.skipped(), 0);
        }
    }
}

#[test]
#[should_panic(expected = "a payload has room")]
fn a_payload_that_is_too_short_for_a_head_is_refused() {
    of(&track(Codec::H264), limits::PAYLOAD_BYTES_MIN - 1, 0);
}
