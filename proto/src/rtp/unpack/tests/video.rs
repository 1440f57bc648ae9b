//! HEVC, AV1, VP8, VP9 and JPEG: captures, the byte tables of the RFCs, and what cameras do.

use super::super::{Gap, Wholeness};
use super::*;
use crate::codec::cases::{AV1C, HVCC_MAIN, HVCC_MAIN_10, VP8_INTER, VP8_KEY, VP9_INTER, VP9_KEY, hex};
use crate::codec::{av1, hevc, vp9};

/// Width and height.
fn size(setup: &Setup) -> (u32, u32) {
    match setup.format {
        Format::Video { width, height, .. } => (width, height),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rtp_hevc_of_ffmpeg_and_gstreamer_is_the_file_again() {
    for (capture, codec) in [
        (capture!("hevc"), include_str!("../testdata/hevc.codec")),
        (capture!("hevc-gst"), include_str!("../testdata/hevc-gst.codec")),
    ] {
        let came = capture.check(&video("H265", &capture.fmtp()), 90_000);
        assert_eq!(size(&came.setups[0].1), (192, 144));
        // ffmpeg's record states no layers' arrays as complete; the sets are the same.
        let bytes: usize = codec.split(',').next().unwrap().parse().unwrap();
        assert_eq!(came.setups[0].1.codec_data.len(), bytes);
    }
}

fn sets_of(record: &str) -> Vec<Vec<u8>> {
    let record = hex(record);
    let config = hevc::Config::parse(&record).unwrap();
    config
        .vps()
        .chain(config.sps())
        .chain(config.pps())
        .map(<[u8]>::to_vec)
        .collect()
}

const IDR: &[u8] = &[0x26, 1, 0xaf, 0x11];
const IDR_SECOND: &[u8] = &[0x26, 1, 0x4f, 0x22];
const TRAIL: &[u8] = &[0x02, 1, 0xd0, 0x33];
const CODE: &[u8] = &[0, 0, 0, 1];

fn frame(units: &[&[u8]]) -> Vec<u8> {
    let mut frame = Vec::new();
    for unit in units {
        crate::codec::nal::push_unit(unit, &mut frame);
    }
    frame
}

/// An aggregation packet; `orders` are the bytes of decoding order numbers before the first unit and before others.
fn aggregate(units: &[&[u8]], orders: (&[u8], &[u8])) -> Vec<u8> {
    let mut packet = vec![48 << 1, 1];
    for (at, unit) in units.iter().enumerate() {
        packet.extend_from_slice(if at == 0 { orders.0 } else { orders.1 });
        packet.extend_from_slice(&(unit.len() as u16).to_be_bytes());
        packet.extend_from_slice(unit);
    }
    packet
}

#[test]
fn rtp_hevc_of_every_sender_becomes_pictures() {
    let sets = sets_of(HVCC_MAIN);
    let [vps, sps, pps] = [&sets[0][..], &sets[1], &sets[2]];
    let none = (&b""[..], &b""[..]);
    let plain = aggregate(&[vps, sps, pps, IDR], none);
    let ordered = aggregate(&[vps, sps, pps, IDR], (&[0, 7], &[0]));
    let annexb = [CODE, vps, CODE, sps, CODE, pps, &CODE[1..], IDR].concat();
    let one_unit = [vps, CODE, sps, CODE, pps, CODE, IDR].concat();
    let fu = |head: u8, data: &[u8]| [&[49 << 1, 1, head | 19], data].concat();
    let idr = &IDR[2..];
    for (name, fmtp, packets, frames, counted) in [
        (
            "4.4.1 and 4.4.2: single units and an aggregation",
            "",
            vec![(0, true, plain.clone()), (9, true, TRAIL.to_vec())],
            vec![frame(&[IDR]), frame(&[TRAIL])],
            0,
        ),
        (
            "4.4.2: with order numbers",
            "sprop-max-don-diff=1",
            vec![(0, true, ordered)],
            vec![frame(&[IDR])],
            0,
        ),
        (
            "4.4.1: with an order number",
            "sprop-max-don-diff=1",
            vec![
                (0, true, aggregate(&[vps, sps, pps], (&[0, 7], &[0]))),
                (0, true, [&IDR[..2], &[0, 8], idr].concat()),
            ],
            vec![frame(&[IDR])],
            0,
        ),
        (
            "4.4.3: fragments",
            "",
            vec![
                (0, false, plain[..plain.len() - 6].to_vec()),
                (0, false, fu(0x80, &idr[..1])),
                (0, true, fu(0x40, &idr[1..])),
            ],
            vec![frame(&[IDR])],
            0,
        ),
        (
            "4.4.3: with an order number",
            "sprop-depack-buf-nalus=2",
            vec![
                (0, false, aggregate(&[vps, sps, pps], (&[0, 7], &[0]))),
                (0, false, fu(0x80, &[0, 9, idr[0]])),
                (0, true, fu(0x40, &idr[1..])),
            ],
            vec![frame(&[IDR])],
            0,
        ),
        (
            "4.4.4: PACI is counted",
            "",
            vec![
                (0, true, plain.clone()),
                (9, false, vec![50 << 1, 1, 0, 0, 1]),
                (18, true, TRAIL.to_vec()),
            ],
            vec![frame(&[IDR]), frame(&[TRAIL])],
            1,
        ),
        (
            "OpenIPC: start and end at once",
            "",
            vec![(0, false, plain[..plain.len() - 6].to_vec()), (0, true, fu(0xc0, idr))],
            vec![frame(&[IDR])],
            0,
        ),
        (
            "various: start codes in a packet",
            "",
            vec![(0, true, annexb)],
            vec![frame(&[IDR])],
            0,
        ),
        (
            "various: sets and a picture in one unit",
            "",
            vec![(0, true, one_unit)],
            vec![frame(&[IDR])],
            0,
        ),
        (
            "never a marker, two slices",
            "",
            vec![
                (0, false, plain.clone()),
                (0, false, IDR_SECOND.to_vec()),
                (9, false, TRAIL.to_vec()),
            ],
            vec![frame(&[IDR, IDR_SECOND]), frame(&[TRAIL])],
            0,
        ),
        (
            "delimiters and filler go, suffixes stay behind slices",
            "",
            vec![
                (0, false, vec![40 << 1, 1, 5]),
                (0, false, vec![35 << 1, 1, 0x50]),
                (0, false, plain),
                (0, false, vec![38 << 1, 1, 0xff]),
                (0, true, vec![40 << 1, 1, 0x84]),
                (9, true, TRAIL.to_vec()),
            ],
            vec![frame(&[IDR]), frame(&[TRAIL])],
            0,
        ),
    ] {
        let packets: Vec<_> = packets
            .iter()
            .map(|(at, marker, data)| packet(*at, *marker, data))
            .collect();
        let (came, unreadable) = unpack(&video("H265", fmtp), &packets);
        let slices: Vec<_> = came
            .units
            .iter()
            .map(|unit| {
                let mut kept = Vec::new();
                for unit in crate::codec::nal::units(&unit.data).filter(|unit| unit[0] >> 1 != 40) {
                    crate::codec::nal::push_unit(unit, &mut kept);
                }
                kept
            })
            .collect();
        assert_eq!(slices, frames, "{name}");
        assert_eq!(unreadable, counted, "{name}");
        let suffixes = came
            .data()
            .concat()
            .windows(3)
            .filter(|three| *three == [40 << 1, 1, 0x84])
            .count();
        assert_eq!(suffixes, usize::from(name.contains("suffixes")), "{name}");
        for unit in &came.units {
            assert_eq!(unit.key, hevc::is_irap(&unit.data), "{name}");
            assert_eq!(unit.wholeness, Wholeness::Whole, "{name}");
        }
        assert_eq!(came.setups[0].1.codec_data, hex(HVCC_MAIN), "{name}");
        assert_eq!(size(&came.setups[0].1), (1918, 1078));
    }
}

/// HEVC cameras: sets of the description that are not all, or are several and wrong.
#[test]
fn rtp_hevc_sets_in_the_stream_win() {
    let none = (&b""[..], &b""[..]);
    let (old, new) = (sets_of(HVCC_MAIN), sets_of(HVCC_MAIN_10));
    let lent = |sets: &'_ [Vec<u8>]| -> Vec<Vec<u8>> { sets.to_vec() };
    let all = |sets: &[Vec<u8>]| {
        let mut units: Vec<&[u8]> = sets.iter().map(|set| &set[..]).collect();
        units.push(IDR);
        aggregate(&units, none)
    };
    let base64 = super::h264::base64;
    // The second PPS has id 1.
    let second_pps = [&old[2][..2], &[0x40 | old[2][2] >> 2, 0x9c, 0x80]].concat();
    for fmtp in [
        String::new(),
        format!("sprop-sps={}", base64(&old[1])),
        format!(
            "sprop-vps={};sprop-sps={};sprop-pps={},{}",
            base64(&old[0]),
            base64(&old[1]),
            base64(&old[2]),
            base64(&second_pps)
        ),
    ] {
        let packets = [all(&lent(&new)), TRAIL.to_vec(), all(&lent(&old)), all(&lent(&old))];
        let packets: Vec<_> = packets
            .iter()
            .enumerate()
            .map(|(at, data)| packet(at as i64, true, data))
            .collect();
        let (came, _) = unpack(&video("H265", &fmtp), &packets);
        let setups: Vec<_> = came
            .setups
            .iter()
            .map(|(at, setup)| (*at, setup.codec_data.clone()))
            .collect();
        assert_eq!(setups, [(0, hex(HVCC_MAIN_10)), (2, hex(HVCC_MAIN))], "{fmtp}");
        assert_eq!(came.units.len(), 4);
    }
}

#[test]
fn rtp_vp8_and_vp9_of_ffmpeg_and_gstreamer_are_the_file_again() {
    for (capture, encoding) in [
        (capture!("vp8"), "VP8"),
        (capture!("vp9"), "VP9"),
        (capture!("vp9-gst"), "VP9"),
    ] {
        let came = capture.check(&video(encoding, &capture.fmtp()), 1_000);
        assert_eq!(size(&came.setups[0].1), (192, 144), "{}", capture.name);
        let record = vp9::Config::parse(&came.setups[0].1.codec_data);
        assert_eq!(record.is_ok(), encoding == "VP9");
    }
}

#[test]
fn rtp_av1_of_ffmpeg_is_the_file_again() {
    let capture = capture!("av1");
    let came = capture.check(&video("AV1", &capture.fmtp()), 90_000);
    assert_eq!(size(&came.setups[0].1), (192, 144));
    // ffmpeg's record has the sequence header too.
    let codec = include_str!("../testdata/av1.codec");
    assert_eq!(codec_line(&came.setups[0].1), codec.trim());
}

#[test]
fn rtp_vp8_descriptors_of_every_shape() {
    let (key, inter) = (hex(VP8_KEY), hex(VP8_INTER));
    let of = |descriptor: &[u8], data: &[u8]| [descriptor, data].concat();
    for (name, descriptor) in [
        ("4.2: nothing", &[0x10][..]),
        ("a picture id of 7 bits", &[0x90, 0x80, 5]),
        ("of 15 bits", &[0x90, 0x80, 0x81, 5]),
        ("all of it", &[0xb0, 0xf0, 0x81, 5, 9, 0x40]),
        ("an index and a layer", &[0x90, 0x60, 9, 0x40]),
        ("a key index alone", &[0x90, 0x10, 3]),
    ] {
        let mut other = descriptor.to_vec();
        // Of the second partition: S stays, PID does not.
        other[0] |= 1;
        let packets = [of(descriptor, &key[..8]), of(&other, &key[8..]), of(descriptor, &inter)];
        let packets = [
            packet(0, false, &packets[0]),
            packet(0, true, &packets[1]),
            packet(9, true, &packets[2]),
        ];
        let (came, unreadable) = unpack(&video("VP8", ""), &packets);
        assert_eq!((came.data(), unreadable), (vec![&key[..], &inter], 0), "{name}");
        assert_eq!(
            came.units.iter().map(|unit| unit.key).collect::<Vec<_>>(),
            [true, false]
        );
        // Whatever is lost, what is left is nothing or whole.
        let (came, _) = unpack(&video("VP8", ""), &[packets[0], lost(packets[2])]);
        assert_eq!(came.units.len(), 0, "{name}: no key picture came");
        let (came, _) = unpack(
            &video("VP8", ""),
            &[lost(packets[1]), packets[0], packets[1], packets[2]],
        );
        assert_eq!(came.data(), [&key[..], &inter], "{name}");
    }
    for bytes in [
        &[0x10][..],
        &[0x90],
        &[0x90, 0x80],
        &[0x90, 0x80, 0x80, 1],
        &[0x90, 0xf0, 1, 2],
    ] {
        assert_eq!(unpack(&video("VP8", ""), &[packet(0, true, bytes)]).1, 1, "{bytes:?}");
    }
}

#[test]
fn rtp_vp9_descriptors_of_every_shape() {
    let (key, inter) = (hex(VP9_KEY), hex(VP9_INTER));
    let of = |descriptor: &[u8], data: &[u8]| [descriptor, data].concat();
    for (name, first, descriptor) in [
        ("4.2: nothing", &[0x0c][..], &[0x0c][..]),
        (
            "non-flexible: picture id, layers, index",
            &[0xac, 0x81, 5, 0, 9],
            &[0xac, 6, 0, 9],
        ),
        (
            "non-flexible: a structure of two layers and a group",
            &[0x8e, 5, 0x38, 0, 96, 0, 72, 0, 192, 0, 144, 2, 0x04, 1, 0x18, 1, 2],
            &[0xcc, 6],
        ),
        ("flexible: references", &[0x9c, 5], &[0xdc, 6, 0x03, 0x05, 0x06]),
        (
            "flexible: layers and three references",
            &[0xbc, 5, 0],
            &[0xfc, 6, 0x10, 0x03, 0x05, 0x07],
        ),
    ] {
        let packets = [of(first, &key), of(descriptor, &inter)];
        let packets = [packet(0, true, &packets[0]), packet(9, true, &packets[1])];
        let (came, unreadable) = unpack(&video("VP9", ""), &packets);
        assert_eq!((came.data(), unreadable), (vec![&key[..], &inter], 0), "{name}");
        assert_eq!(
            came.units.iter().map(|unit| unit.key).collect::<Vec<_>>(),
            [true, false]
        );
        assert_eq!(size(&came.setups[0].1), (1918, 1078));
    }
    // Two layers of one picture, each in two packets, are a superframe.
    let layer = |sid: u8, begins: bool, data: &[u8]| of(&[if begins { 0x28 } else { 0x20 }, sid << 1, 0], data);
    let parts = [
        layer(0, true, &key[..9]),
        layer(0, false, &key[9..]),
        layer(1, true, &inter[..3]),
        layer(1, false, &inter[3..]),
    ];
    let packets: Vec<_> = parts
        .iter()
        .enumerate()
        .map(|(at, data)| packet(0, at == 3, data))
        .collect();
    let (came, _) = unpack(&video("VP9", ""), &packets);
    let index = [0xd9, 16, 0, 0, 0, 16, 0, 0, 0, 0xd9];
    assert_eq!(came.data(), [[&key[..], &inter, &index].concat()]);
    for missing in 0..4 {
        let mut left = packets.clone();
        left.remove(missing);
        left.push(packet(9, true, &parts[0]));
        left[missing].gap = Gap::Lost;
        assert!(
            unpack(&video("VP9", ""), &left)
                .0
                .units
                .iter()
                .all(|unit| unit.timestamp == 9)
        );
    }
    for bytes in [
        &[0x0c][..],
        &[0x8c],
        &[0x2c, 0],
        &[0xdc, 1, 1, 1],
        &[0x0e, 0x38, 1],
        &[0x0e, 0x08, 9, 0],
    ] {
        assert_eq!(unpack(&video("VP9", ""), &[packet(0, true, bytes)]).1, 1, "{bytes:?}");
    }
}

/// A sequence header, and frames without size fields: key, then not.
fn av1_obus() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let record = hex(AV1C);
    let sequence = av1::obus(&record[4..]).next().unwrap().unwrap();
    (
        [&[0x08], sequence.payload].concat(),
        [&[0x30, 0x10][..], &[5; 300]].concat(),
        [&[0x30, 0x20][..], &[6; 10]].concat(),
    )
}

fn sized(obus: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for bytes in obus {
        av1::obus(bytes).next().unwrap().unwrap().emit(&mut out);
    }
    out
}

#[test]
fn rtp_av1_aggregations_of_every_shape() {
    let (sequence, key, inter) = av1_obus();
    let expected = sized(&[&sequence, &key]);
    let length = |obu: &[u8]| -> Vec<u8> {
        let bytes = obu.len();
        if bytes < 128 {
            vec![bytes as u8]
        } else {
            vec![bytes as u8 | 0x80, (bytes >> 7) as u8]
        }
    };
    let behind = |obu: &[u8]| [length(obu), obu.to_vec()].concat();
    let with_size = sized(&[&key]);
    for (name, packets) in [
        (
            "4.4: two elements, the last without length",
            vec![[&[0x28], &behind(&sequence)[..], &key].concat()],
        ),
        (
            "all with lengths",
            vec![[&[0x08], &behind(&sequence)[..], &behind(&key)].concat()],
        ),
        (
            "a temporal delimiter and padding",
            vec![[&[0x08, 1, 0x10], &behind(&sequence)[..], &[2, 0x78, 0], &behind(&key)].concat()],
        ),
        (
            "sizes that should not be there",
            vec![[&[0x28], &behind(&sequence)[..], &with_size].concat()],
        ),
        (
            "a packet an OBU",
            vec![[&[0x18], &sequence[..]].concat(), [&[0x10], &key[..]].concat()],
        ),
        (
            "4.5: a fragment at the end and at the beginning",
            vec![
                [&[0x68], &behind(&sequence)[..], &key[..100]].concat(),
                [&[0xd0], &key[100..200]].concat(),
                [&[0x90], &key[200..]].concat(),
            ],
        ),
        (
            "fragments with lengths",
            vec![
                [&[0x48], &behind(&sequence)[..], &behind(&key[..100])].concat(),
                [&[0x80], &behind(&key[100..])[..]].concat(),
            ],
        ),
        (
            "a fragment of a few bytes",
            vec![
                [&[0x58], &sequence[..1]].concat(),
                [&[0xa0], &behind(&sequence[1..])[..], &key].concat(),
            ],
        ),
    ] {
        let last = packets.len() - 1;
        let mut list: Vec<_> = packets
            .iter()
            .enumerate()
            .map(|(at, data)| packet(0, at == last, data))
            .collect();
        let next = [&[0x10], &inter[..]].concat();
        list.push(packet(9, true, &next));
        let (came, unreadable) = unpack(&video("AV1", ""), &list);
        assert_eq!(
            (came.data(), unreadable),
            (vec![&expected[..], &sized(&[&inter])], 0),
            "{name}"
        );
        assert_eq!(
            came.units.iter().map(|unit| unit.key).collect::<Vec<_>>(),
            [true, false],
            "{name}"
        );
        assert_eq!(
            (came.setups.len(), &came.setups[0].1.codec_data),
            (1, &hex(AV1C)),
            "{name}"
        );
        assert_eq!(size(&came.setups[0].1), (1918, 1078));
        // Markers are not needed.
        for payload in &mut list {
            payload.marker = false;
        }
        assert_eq!(unpack(&video("AV1", ""), &list).0, came, "{name}");
        for missing in 0..=last {
            let mut left = list.clone();
            left.remove(missing);
            left[missing].gap = Gap::Lost;
            let (came, _) = unpack(&video("AV1", ""), &left);
            assert_eq!(came.units.len(), 0, "{name} without {missing}");
        }
    }
}

#[test]
fn rtp_av1_takes_up_again_where_a_sequence_begins() {
    let (sequence, key, inter) = av1_obus();
    let first = [&[0x28, sequence.len() as u8], &sequence[..], &key].concat();
    let next = [&[0x10], &inter[..]].concat();
    let packets = [
        packet(0, true, &first),
        lost(packet(9, true, &next)),
        packet(18, true, &next),
        lost(packet(27, true, &first)),
    ];
    let (came, _) = unpack(&video("AV1", ""), &packets);
    let times: Vec<_> = came.units.iter().map(|unit| unit.timestamp).collect();
    // The unit right behind the loss may have lost a frame of its own.
    assert_eq!((times, came.setups.len()), (vec![0, 18, 27], 1));
    for bytes in [
        &[0x20][..],
        &[0x20, 9, 1],
        &[0x00, 0xff],
        &[0x90, 1],
        &[0x20, 2, 0x80, 0, 1],
    ] {
        let (came, unreadable) = unpack(&video("AV1", ""), &[packets[0], packet(9, true, bytes)]);
        assert_eq!((came.units.len(), unreadable), (1, 1), "{bytes:?}");
    }
}

/// The segments of a JPEG picture behind its start: marker and body; the scan with its head is the last.
fn segments(picture: &[u8]) -> Vec<(u8, &[u8])> {
    let (mut rest, mut segments) = (picture.strip_prefix(&[0xff, 0xd8]).unwrap(), Vec::new());
    while let Some(&[0xff, marker, high, low]) = rest.first_chunk() {
        let bytes = 2 + usize::from(u16::from_be_bytes([high, low]));
        if marker == 0xda {
            segments.push((marker, &rest[4..]));
            break;
        }
        segments.push((marker, &rest[4..bytes]));
        rest = &rest[bytes..];
    }
    segments
}

#[test]
fn rtp_jpeg_of_ffmpeg_is_the_file_again() {
    let packets = packets_of(include_bytes!("../testdata/mjpeg.rtp"));
    let raw = include_bytes!("../testdata/mjpeg.raw");
    let (came, unreadable) = unpack(
        &PayloadFormat {
            payload_type: 26,
            ..video("JPEG", "")
        },
        &packets,
    );
    assert_eq!((unreadable, came.units.len(), came.setups.len()), (0, 3, 1));
    assert_eq!(size(&came.setups[0].1), (192, 144));
    let mut rest = &raw[..];
    for (at, unit) in came.units.iter().enumerate() {
        let end = rest.windows(2).position(|two| two == [0xff, 0xd9]).unwrap() + 2;
        let (picture, behind) = rest.split_at(end);
        rest = behind;
        let (ours, theirs) = (segments(&unit.data), segments(picture));
        let of = |segments: &[(u8, &[u8])], marker| {
            let bodies = segments.iter().filter(|(kind, _)| *kind == marker);
            bodies.flat_map(|(_, body)| body.iter().copied()).collect::<Vec<_>>()
        };
        // Huffman tables and scan are the same; of the frame all but the number of the table, of which ffmpeg sends one.
        assert_eq!(of(&ours, 0xda), of(&theirs, 0xda), "{at}");
        assert_eq!(of(&ours, 0xc4).len(), of(&theirs, 0xc4).len(), "{at}");
        assert_eq!(of(&ours, 0xc0)[..8], of(&theirs, 0xc0)[..8], "{at}");
        assert!(of(&ours, 0xdb).starts_with(&of(&theirs, 0xdb)[..65]), "{at}");
        assert!(unit.key && unit.data.ends_with(&[0xff, 0xd9]));
        assert_eq!(unit.timestamp - came.units[0].timestamp, at as i64 * 3600);
    }
    // A picture of which anything is missing does not come.
    for missing in 0..packets.len() {
        let mut left = packets.clone();
        left.remove(missing);
        if let Some(next) = left.get_mut(missing) {
            next.gap = Gap::Lost;
        }
        let (without, _) = unpack(&video("JPEG", ""), &left);
        assert!(
            without
                .units
                .iter()
                .all(|unit| came.units.contains(unit) || left.get(missing).is_none()),
            "{missing}"
        );
        assert!(without.units.len() >= 2, "{missing}");
    }
}

#[test]
fn rtp_jpeg_tables_and_restarts() {
    let head = |offset: u8, kind: u8, q: u8| vec![0, 0, 0, offset, kind, q, 8, 4];
    let of = |parts: &[&[u8]]| parts.concat();
    let scan = b"scan";
    let table = |packets: &[Vec<u8>]| {
        let packets: Vec<_> = packets
            .iter()
            .enumerate()
            .map(|(at, data)| packet(at as i64, true, data))
            .collect();
        let (came, unreadable) = unpack(&video("JPEG", ""), &packets);
        let tables = came.units.iter().map(|unit| {
            let segments = segments(&unit.data);
            let found = segments.iter().filter(|(marker, _)| *marker == 0xdb);
            found.map(|(_, body)| body[1]).collect::<Vec<_>>()
        });
        (tables.collect::<Vec<_>>(), unreadable)
    };
    // 4.2: 16 and 17 of K.1 and K.2, at 50 as they are.
    for (q, first, second) in [(50, 16, 17), (1, 255, 255), (25, 32, 34), (99, 1, 1), (75, 8, 9)] {
        assert_eq!(
            table(&[of(&[&head(0, 1, q), scan])]),
            (vec![vec![first, second]], 0),
            "{q}"
        );
    }
    let inside = |bytes: u8| of(&[&[0, 0, 0, bytes], &vec![bytes; usize::from(bytes)]]);
    for (name, packets, expected) in [
        (
            "3.1.8: in the stream, one for both",
            vec![of(&[&head(0, 0, 255), &inside(64), scan])],
            (vec![vec![64, 64]], 0),
        ),
        (
            "two",
            vec![of(&[&head(0, 0, 255), &inside(128), scan])],
            (vec![vec![128, 128]], 0),
        ),
        (
            "said once for a Q",
            vec![
                of(&[&head(0, 0, 200), &inside(64), scan]),
                of(&[&head(0, 0, 200), &inside(0), scan]),
            ],
            (vec![vec![64, 64]; 2], 0),
        ),
        (
            "never said",
            vec![of(&[&head(0, 0, 201), &inside(0), scan])],
            (vec![], 1),
        ),
        ("a Q that is none", vec![of(&[&head(0, 0, 100), scan])], (vec![], 1)),
        ("a type that is none", vec![of(&[&head(0, 2, 50), scan])], (vec![], 1)),
        (
            "tables of 16 bits",
            vec![of(&[&head(0, 0, 255), &[0, 1, 0, 64], &[9; 64], scan])],
            (vec![], 1),
        ),
        ("no size", vec![vec![0, 0, 0, 0, 0, 50, 0, 4, 1]], (vec![], 1)),
        (
            "a head that ends early",
            vec![vec![0, 0, 0, 0, 64, 50, 8, 4, 1]],
            (vec![], 1),
        ),
        (
            "a piece in another place",
            vec![of(&[&head(0, 0, 50), scan]), of(&[&head(9, 0, 50), scan])],
            (vec![vec![16, 17]], 0),
        ),
    ] {
        assert_eq!(table(&packets), expected, "{name}");
    }
    // Restart markers: the interval is in the head (3.1.7), and pieces go on behind theirs.
    let first = of(&[&head(0, 65, 50), &[0, 12, 0xff, 0xff], scan]);
    let second = of(&[&head(4, 65, 50), &[0, 12, 0xff, 0xff], b"more"]);
    let (came, _) = unpack(
        &video("JPEG", ""),
        &[packet(0, false, &first), packet(0, true, &second)],
    );
    let found = segments(&came.units[0].data);
    assert!(found.contains(&(0xdd, &[0, 12])));
    assert!(found.last().unwrap().1.ends_with(b"scanmore\xff\xd9"));
    assert_eq!(
        (size(&came.setups[0].1), &found[1].1[..5]),
        ((64, 32), &[8, 0, 32, 0, 64][..])
    );
}

#[test]
fn rtp_video_of_another_clock_has_ticks_of_the_usual_one() {
    let packets = [(0, VP8_KEY), (40, VP8_INTER)].map(|(at, frame)| (at, [&[0x10], &hex(frame)[..]].concat()));
    let packets: Vec<_> = packets.iter().map(|(at, data)| packet(*at, true, data)).collect();
    let (came, _) = unpack(&format(Kind::Video, "VP8", 1_000, 1, ""), &packets);
    assert_eq!((came.units[1].timestamp, came.setups[0].1.timescale), (3_600, 90_000));
}
