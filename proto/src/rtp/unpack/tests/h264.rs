//! H.264: captures, the byte tables of RFC 6184, and what cameras do.

use super::super::{Unpacked, Wholeness, limits};
use super::*;
use crate::codec::cases::{AVCC_BASELINE, AVCC_HIGH, hex};
use crate::codec::h264;

fn sets_of(record: &str) -> (Vec<u8>, Vec<u8>) {
    let record = hex(record);
    let config = h264::Config::parse(&record).unwrap();
    (
        config.sps().next().unwrap().to_vec(),
        config.pps().next().unwrap().to_vec(),
    )
}

fn baseline() -> PayloadFormat {
    let (sps, pps) = sets_of(AVCC_BASELINE);
    video(
        "H264",
        &format!("sprop-parameter-sets={},{}", base64(&sps), base64(&pps)),
    )
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let digit = |six: &[u8]| (0..6).fold(0, |sum, at| sum << 1 | six.get(at).copied().unwrap_or(0));
    bits.chunks(6)
        .map(|six| char::from(DIGITS[usize::from(digit(six))]))
        .collect()
}

#[test]
fn rtp_h264_of_ffmpeg_and_gstreamer_is_the_file_again() {
    for (capture, codec) in [
        (capture!("h264"), include_str!("../testdata/h264.codec")),
        (capture!("h264-inband"), include_str!("../testdata/h264-inband.codec")),
        (capture!("h264-gst"), include_str!("../testdata/h264-gst.codec")),
    ] {
        let came = capture.check(&video("H264", &capture.fmtp()), 90_000);
        assert_eq!(codec_line(&came.setups[0].1), codec.trim());
        // What comes in the stream alone is as good.
        if capture.name != "h264" {
            capture.check(&video("H264", ""), 90_000);
        }
    }
}

const SEI: &[u8] = &[0x06, 0x05, 0x01, 0xaa, 0x80];
const RECOVERY: &[u8] = &[0x06, 0x06, 0x01, 0x84, 0x80];
/// First slices have `first_mb_in_slice` 0, second ones do not.
const IDR: &[u8] = &[0x65, 0x88, 0x84, 0xaa];
const IDR_SECOND: &[u8] = &[0x65, 0x40, 0xbb];
const P: &[u8] = &[0x41, 0x9a, 0xcc];
const P_SECOND: &[u8] = &[0x41, 0x40, 0xdd];
const CODE: &[u8] = &[0, 0, 0, 1];

fn aggregate(head: &[u8], units: &[&[u8]]) -> Vec<u8> {
    let unit = |unit: &&[u8]| [&(unit.len() as u16).to_be_bytes(), *unit].concat();
    [head.to_vec(), units.iter().flat_map(unit).collect()].concat()
}

fn frame(units: &[&[u8]]) -> Vec<u8> {
    let mut frame = Vec::new();
    for unit in units {
        crate::codec::nal::push_unit(unit, &mut frame);
    }
    frame
}

/// FU-A of `unit` in pieces of `bytes`.
fn fragments(unit: &[u8], bytes: usize) -> Vec<Vec<u8>> {
    let count = unit[1..].chunks(bytes).count();
    let of = |(at, piece): (usize, &[u8])| {
        let start = if at == 0 { 0x80 } else { 0 };
        let end = if at + 1 == count { 0x40 } else { 0 };
        [&[unit[0] & 0xe0 | 28, start | end | unit[0] & 0x1f], piece].concat()
    };
    unit[1..].chunks(bytes).enumerate().map(of).collect()
}

/// Name; packets as (timestamp, marker, bytes); frames; what was counted as unreadable.
type Row = (&'static str, Vec<(i64, bool, Vec<u8>)>, Vec<Vec<u8>>, u64);

fn rows() -> Vec<Row> {
    let (sps, pps) = sets_of(AVCC_BASELINE);
    let whole = [&sps[..], CODE, &pps, CODE, IDR].concat();
    let fu = |unit: &[u8], last| {
        let pieces = fragments(unit, 2);
        let end = pieces.len() - 1;
        let pieces = pieces.into_iter().enumerate();
        pieces
            .map(|(at, piece)| (0, last && at == end, piece))
            .collect::<Vec<_>>()
    };
    let long_idr = [IDR, &[7; 9]].concat();
    vec![
        (
            "RFC 6184, 5.6: single units",
            vec![(0, false, SEI.into()), (0, true, IDR.into())],
            vec![frame(&[SEI, IDR])],
            0,
        ),
        (
            "5.7.1: STAP-A",
            vec![(0, true, aggregate(&[24], &[&sps, &pps, SEI, IDR]))],
            vec![frame(&[SEI, IDR])],
            0,
        ),
        (
            "5.7.1: STAP-B",
            vec![(0, true, aggregate(&[25, 0, 7], &[&sps, &pps, IDR]))],
            vec![frame(&[IDR])],
            0,
        ),
        (
            "5.7.1: a unit longer than its packet",
            vec![(0, true, [&aggregate(&[24], &[IDR])[..], &[0, 9, 1]].concat())],
            vec![frame(&[IDR])],
            1,
        ),
        (
            "5.7.2: MTAP is counted",
            vec![(0, false, vec![26, 0, 0, 0, 5]), (9, true, IDR.into())],
            vec![frame(&[IDR])],
            1,
        ),
        ("5.8: FU-A", fu(&long_idr, true), vec![frame(&[&long_idr])], 0),
        (
            "5.8: FU-B",
            vec![
                (0, false, vec![0x7d, 0x85, 0, 3, 0x88, 1]),
                (0, true, vec![0x7c, 0x45, 2, 3]),
            ],
            vec![frame(&[&[0x65, 0x88, 1, 2, 3]])],
            0,
        ),
        (
            "5.8: a fragment without a first",
            vec![
                (0, false, vec![0x7c, 0x05, 1]),
                (0, true, vec![0x7c, 0x45, 2]),
                (9, true, P.into()),
            ],
            vec![frame(&[P])],
            2,
        ),
        (
            "CostarHD: start and end at once",
            vec![(0, true, [&[0x7c, 0xc5], &IDR[1..]].concat())],
            vec![frame(&[IDR])],
            0,
        ),
        (
            "FLIR: never a marker",
            vec![
                (0, false, IDR.into()),
                (0, false, IDR_SECOND.into()),
                (9, false, P.into()),
                (18, false, P.into()),
            ],
            vec![frame(&[IDR, IDR_SECOND]), frame(&[P]), frame(&[P])],
            0,
        ),
        (
            "Tapo: markers on SPS and PPS",
            vec![
                (0, true, sps.clone()),
                (0, true, pps.clone()),
                (0, true, IDR.into()),
                (9, true, P.into()),
            ],
            vec![frame(&[IDR]), frame(&[P])],
            0,
        ),
        (
            "OBS: sets in packets of their own",
            vec![(0, false, sps.clone()), (0, false, pps.clone()), (0, true, IDR.into())],
            vec![frame(&[IDR])],
            0,
        ),
        (
            "sets with the timestamp before",
            vec![
                (0, true, P.into()),
                (0, false, sps.clone()),
                (0, true, SEI.into()),
                (9, true, IDR.into()),
            ],
            vec![frame(&[P]), frame(&[SEI, IDR])],
            0,
        ),
        (
            "various: start codes in a packet",
            vec![(0, true, [CODE, &sps, CODE, &pps, &CODE[1..], IDR].concat())],
            vec![frame(&[IDR])],
            0,
        ),
        (
            "various: SPS, PPS and IDR in one unit",
            vec![(0, true, whole.clone())],
            vec![frame(&[IDR])],
            0,
        ),
        (
            "various: SPS, PPS and IDR in one unit of FU-A",
            fu(&whole, true),
            vec![frame(&[IDR])],
            0,
        ),
        (
            "delimiter and filler go, end of sequence stays",
            vec![
                (0, false, vec![9, 0x10]),
                (0, false, IDR.into()),
                (0, false, vec![12, 0xff, 0x80]),
                (0, true, vec![10]),
            ],
            vec![frame(&[IDR, &[10]])],
            0,
        ),
        (
            "zeros behind a unit",
            vec![
                (0, true, [IDR, &[0, 0]].concat()),
                (9, true, [&[0x5c, 0xc1], &P[1..], &[0]].concat()),
            ],
            vec![frame(&[IDR]), frame(&[P])],
            0,
        ),
        (
            "a unit of the camera's own in each picture",
            vec![(0, false, vec![0x1e, 1, 2]), (0, true, IDR.into())],
            vec![frame(&[IDR])],
            1,
        ),
        (
            "a recovery point is key",
            vec![(0, false, RECOVERY.into()), (0, true, P.into())],
            vec![frame(&[RECOVERY, P])],
            0,
        ),
        (
            "empty packets",
            vec![(0, false, vec![]), (0, true, IDR.into()), (9, true, vec![0x7c])],
            vec![frame(&[IDR])],
            1,
        ),
    ]
}

#[test]
fn rtp_h264_of_every_sender_becomes_pictures() {
    for (name, packets, frames, counted) in rows() {
        let packets: Vec<_> = packets
            .iter()
            .map(|(at, marker, data)| packet(*at, *marker, data))
            .collect();
        let (came, unreadable) = unpack(&baseline(), &packets);
        assert_eq!(came.data(), frames, "{name}");
        assert_eq!(unreadable, counted, "{name}");
        let is_key = |unit: &Owned| h264::is_idr(&unit.data) || unit.data.windows(5).any(|five| five == RECOVERY);
        let is_damaged = name.contains("longer than");
        for unit in &came.units {
            assert_eq!(unit.key, is_key(unit), "{name}");
            assert_eq!(unit.wholeness == Wholeness::Damaged, is_damaged, "{name}");
        }
        assert_eq!(came.setups.len(), 1, "{name}");
        assert_eq!(came.setups[0].1.codec_data, hex(AVCC_BASELINE), "{name}");
        assert!(matches!(
            came.setups[0].1.format,
            Format::Video {
                width: 1918,
                height: 1078,
                ..
            }
        ));
    }
}

#[test]
fn rtp_h264_markers_on_every_slice_are_believed_once() {
    // Reolink.
    let slices = |at| [(at, true, IDR), (at, true, IDR_SECOND)];
    let packets: Vec<_> = [slices(0), slices(9), slices(18)].concat();
    let packets: Vec<_> = packets
        .iter()
        .map(|(at, marker, data)| packet(*at, *marker, data))
        .collect();
    let (came, _) = unpack(&baseline(), &packets);
    let got: Vec<_> = came
        .units
        .iter()
        .map(|unit| (unit.timestamp, unit.wholeness, &unit.data[..]))
        .collect();
    let (both, first, second) = (frame(&[IDR, IDR_SECOND]), frame(&[IDR]), frame(&[IDR_SECOND]));
    assert_eq!(
        got,
        [
            (0, Wholeness::Whole, &first[..]),
            (0, Wholeness::Damaged, &second),
            (9, Wholeness::Whole, &both),
            (18, Wholeness::Whole, &both),
        ]
    );
}

#[test]
fn rtp_h264_sets_in_the_stream_win_and_a_change_comes_before_its_key_picture() {
    let (sps, pps) = sets_of(AVCC_BASELINE);
    let (other_sps, other_pps) = sets_of(AVCC_HIGH);
    let (old, new) = (
        aggregate(&[24], &[&sps, &pps]),
        aggregate(&[24], &[&other_sps, &other_pps]),
    );
    let packets = [
        packet(0, false, &new),
        packet(0, true, IDR),
        packet(9, true, P),
        packet(18, false, &new),
        packet(18, true, IDR),
        packet(27, false, &old),
        packet(27, true, IDR),
    ];
    let (came, _) = unpack(&baseline(), &packets);
    let setups: Vec<_> = came
        .setups
        .iter()
        .map(|(at, setup)| (*at, setup.codec_data.clone()))
        .collect();
    assert_eq!(setups, [(0, hex(AVCC_HIGH)), (3, hex(AVCC_BASELINE))]);
    assert_eq!(came.units.len(), 4);
}

#[test]
fn rtp_h264_sets_behind_start_codes_in_the_description_are_read() {
    let (sps, pps) = sets_of(AVCC_BASELINE);
    for text in [
        base64(&[CODE, &sps, CODE, &pps].concat()),
        format!(
            "{},{}",
            base64(&[CODE, &sps].concat()),
            base64(&[&CODE[1..], &pps].concat())
        ),
        format!("\"{}\",,{}==", base64(&sps), base64(&pps)),
    ] {
        let (came, _) = unpack(
            &video("H264", &format!("sprop-parameter-sets={text}")),
            &[packet(0, true, IDR)],
        );
        assert_eq!(came.setups[0].1.codec_data, hex(AVCC_BASELINE), "{text}");
    }
    // Without sets nothing can be shown, and it is counted.
    let (came, unreadable) = unpack(&video("H264", ""), &[packet(0, true, IDR), packet(9, true, P)]);
    assert_eq!((came.units.len(), came.setups.len(), unreadable), (0, 0, 2));
}

#[test]
fn rtp_h264_loss_is_damage_to_the_pictures_it_touched_and_no_other() {
    let (sps, pps) = sets_of(AVCC_BASELINE);
    let sets = aggregate(&[24], &[&sps, &pps]);
    let long = fragments(&[IDR, &[7; 9]].concat(), 4);
    let middle = |last: &'static [u8]| {
        vec![
            packet(0, false, &long[0]),
            lost(packet(0, true, &long[2])),
            packet(9, true, last),
        ]
    };
    for (name, packets, expected) in [
        ("inside a fragmented unit", middle(P), vec![(9, Wholeness::Whole)]),
        (
            "the last slice",
            vec![packet(0, false, IDR), lost(packet(9, true, P))],
            vec![(0, Wholeness::Damaged), (9, Wholeness::Whole)],
        ),
        (
            "the first slice",
            vec![packet(0, true, IDR), lost(packet(9, true, P_SECOND))],
            vec![(0, Wholeness::Whole), (9, Wholeness::Damaged)],
        ),
        (
            "a slice between",
            vec![packet(0, false, IDR), lost(packet(0, true, IDR_SECOND))],
            vec![(0, Wholeness::Damaged)],
        ),
        (
            "whole pictures between",
            vec![packet(0, true, IDR), lost(packet(9, true, P))],
            vec![(0, Wholeness::Whole), (9, Wholeness::Whole)],
        ),
        (
            "the sets, of a stream that has them",
            vec![
                packet(0, false, &sets),
                packet(0, true, IDR),
                lost(packet(9, true, IDR)),
            ],
            vec![(0, Wholeness::Whole), (9, Wholeness::Damaged)],
        ),
        (
            "the sets, of one that has them in its description",
            vec![packet(0, true, IDR), lost(packet(9, true, IDR))],
            vec![(0, Wholeness::Whole), (9, Wholeness::Whole)],
        ),
    ] {
        let (came, _) = unpack(&baseline(), &packets);
        let got: Vec<_> = came.units.iter().map(|unit| (unit.timestamp, unit.wholeness)).collect();
        assert_eq!(got, expected, "{name}");
    }
}

#[test]
fn rtp_h264_is_bounded() {
    let (mut unpack, mut out) = (of(&baseline()), Units::new());
    let first = [&[0x7c, 0x85, 0x88][..], &[1; 60_000]].concat();
    let next = [&[0x7c, 0x05][..], &[1; 60_000]].concat();
    unpack.packet(&packet(0, false, &first), &mut out);
    for _ in 0..300 {
        unpack.packet(&packet(0, false, &next), &mut out);
    }
    unpack.packet(&packet(0, true, P), &mut out);
    let units: Vec<_> = out
        .iter()
        .filter_map(|unpacked| match unpacked {
            Unpacked::Unit(unit) => Some((unit.wholeness, unit.data.len())),
            Unpacked::Setup(_) => None,
        })
        .collect();
    assert_eq!(units, [(Wholeness::Damaged, 4 + P.len())]);
    out.clear();
    // Pictures of nothing but tiny units, and sets without end.
    let tiny = aggregate(&[24], &[P; 10_000]);
    unpack.packet(&packet(9, false, &tiny), &mut out);
    unpack.packet(&packet(9, true, P), &mut out);
    assert!(matches!(out.iter().last(), Some(Unpacked::Unit(unit)) if unit.data.len() <= limits::NALS_MAX * 7));
    out.clear();
    for id in 0..200u8 {
        // pic_parameter_set_id as a code of 15 bits, seq_parameter_set_id 0
        let code = (1 + u32::from(id)) << 16 | 0x8000;
        let head = (code << 1).to_be_bytes();
        unpack.packet(
            &packet(18, false, &[&[0x68][..], &head, &[0x55; 2_000]].concat()),
            &mut out,
        );
    }
    unpack.packet(&packet(18, true, IDR), &mut out);
    let setup = out.iter().find_map(|unpacked| match unpacked {
        Unpacked::Setup(setup) => Some(setup.codec_data.len()),
        Unpacked::Unit(_) => None,
    });
    assert!(
        setup.is_none_or(|bytes| bytes < limits::PARAMETER_SETS_BYTES_MAX + 1_000),
        "{setup:?}"
    );
    assert!(unpack.unreadable() > 400);
}
