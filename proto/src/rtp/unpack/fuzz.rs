//! Any bytes as a description and as packets of every format. Nothing panics, nothing grows beyond its bound, a whole unit
//! is what its codec says it is, and the same packets give the same units.

use super::{Gap, Payload, Unit, Units, Unpacked, limits, of};
use crate::codec::{av1, nal};
use crate::media::{Codec, Kind};
use crate::noise::chosen_by;
use crate::rtp::format::PayloadFormat;

/// Name, clock, channels and format parameters of what is read.
const FORMATS: [(Kind, &str, u32, &str); 22] = [
    (
        Kind::Video,
        "H264",
        90_000,
        "sprop-parameter-sets=Z0LAKNkAeAIn5ZqbAQAAAwAEAAADAPA8WDJI,aMuDyyA=",
    ),
    (Kind::Video, "H264", 1_000, ""),
    (Kind::Video, "H265", 90_000, ""),
    (Kind::Video, "H265", 90_000, "sprop-max-don-diff=2"),
    (Kind::Video, "AV1", 90_000, ""),
    (Kind::Video, "VP8", 90_000, ""),
    (Kind::Video, "VP9", 90_000, ""),
    (Kind::Video, "JPEG", 90_000, ""),
    (
        Kind::Audio,
        "MPEG4-GENERIC",
        48_000,
        "sizelength=13;indexlength=3;indexdeltalength=3;config=1190",
    ),
    (Kind::Audio, "MPEG4-GENERIC", 44_100, ""),
    (
        Kind::Audio,
        "MPEG4-GENERIC",
        44_100,
        "sizelength=6;ctsdeltalength=5;auxiliarydatasizelength=8;config=2b920800",
    ),
    (Kind::Audio, "MP4A-LATM", 48_000, "cpresent=0;config=400023203fc0"),
    (Kind::Audio, "MP4A-LATM", 48_000, ""),
    (Kind::Audio, "OPUS", 48_000, ""),
    (Kind::Audio, "MPA", 90_000, ""),
    (Kind::Audio, "AC3", 48_000, ""),
    (Kind::Audio, "EAC3", 48_000, ""),
    (Kind::Audio, "PCMA", 8_000, ""),
    (Kind::Audio, "G722", 8_000, ""),
    (Kind::Audio, "L24", 48_000, ""),
    (Kind::Meta, "X", 90_000, ""),
    (Kind::Video, "", 1, ""),
];

/// The first byte chooses the format; then packets: a byte of flags, one of time, two of length.
pub fn packets(input: &[u8]) {
    let Some((&first, packets)) = input.split_first() else {
        return;
    };
    let format = format_of(first);
    let came = run(&format, packets);
    assert_eq!(came, run(&format, packets), "the same packets give the same units");
}

fn format_of(number: u8) -> PayloadFormat {
    let (kind, encoding, clock_rate, fmtp) = FORMATS[usize::from(number) % FORMATS.len()];
    let pairs = fmtp.split(';').filter_map(|pair| pair.split_once('='));
    PayloadFormat {
        kind,
        payload_type: 96,
        encoding: encoding.to_owned(),
        clock_rate,
        channels: 1,
        parameters: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

/// What came: how many units, and a sum over all of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    units: u64,
    all: u64,
}

impl Sum {
    fn add(&mut self, number: u64) {
        self.all = self.all.wrapping_mul(31).wrapping_add(number);
    }
}

/// Any text as format parameters.
pub fn descriptions(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (name, value) = text.split_once('=').unwrap_or((&text, &text));
    let (kind, encoding, clock_rate, _) = FORMATS[chosen_by(input, FORMATS.len())];
    let names = [
        "sprop-parameter-sets",
        "sprop-vps",
        "sprop-sps",
        "sprop-pps",
        "config",
        "sizelength",
        "constantsize",
        "sprop-max-don-diff",
        name,
    ];
    let format = PayloadFormat {
        kind,
        payload_type: chosen_by(value.as_bytes(), 128) as u8,
        encoding: encoding.to_owned(),
        clock_rate,
        channels: chosen_by(input, 300) as u32,
        parameters: names.map(|name| (name.to_owned(), value.to_owned())).to_vec(),
    };
    run(&format, input);
}

fn run(format: &PayloadFormat, mut input: &[u8]) -> Sum {
    let (mut unpack, mut out) = (of(format), Units::new());
    let (mut codec, mut sum, mut timestamp) = (None, Sum::default(), 0i64);
    while let Some((&[flags, ticks, high, low], rest)) = input.split_first_chunk() {
        let bytes = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (data, behind) = rest.split_at(bytes);
        input = behind;
        timestamp += i64::from(ticks.cast_signed()) * if flags & 4 != 0 { 1 << 24 } else { 16 };
        let payload = Payload {
            timestamp,
            marker: flags & 1 != 0,
            gap: if flags & 2 != 0 { Gap::Lost } else { Gap::None },
            data,
        };
        unpack.packet(&payload, &mut out);
        if flags & 8 != 0 {
            unpack.flush(&mut out);
        }
        drain(&mut out, &mut codec, &mut sum);
    }
    unpack.flush(&mut out);
    drain(&mut out, &mut codec, &mut sum);
    sum.add(unpack.unreadable());
    sum
}

/// Every unit has a setup before it and its codec's shape.
fn drain(out: &mut Units, codec: &mut Option<Codec>, sum: &mut Sum) {
    for unpacked in out.iter() {
        match unpacked {
            Unpacked::Setup(setup) => {
                assert!(setup.timescale > 0);
                assert!(setup.codec_data.len() <= limits::PARAMETER_SETS_BYTES_MAX + 1_000);
                *codec = Some(setup.codec);
                sum.add(setup.codec_data.len() as u64);
            }
            Unpacked::Unit(unit) => {
                check(codec.expect("a setup stands before the first unit"), &unit);
                sum.units += 1;
                sum.add(unit.data.len() as u64 ^ unit.timestamp as u64);
            }
        }
    }
    out.clear();
}

fn check(codec: Codec, unit: &Unit<'_>) {
    assert!(!unit.data.is_empty() && unit.data.len() <= limits::UNIT_BYTES_MAX + 100);
    match codec {
        Codec::H264 | Codec::Hevc => assert!(nal::is_well_formed(unit.data)),
        Codec::Av1 => assert!(av1::obus(unit.data).all(|obu| obu.is_ok())),
        Codec::Mjpeg => assert!(unit.data.starts_with(&[0xff, 0xd8]) && unit.data.ends_with(&[0xff, 0xd9])),
        _ => {}
    }
}

#[cfg(test)]
mod runs {
    use super::*;
    use crate::codec::ac3;
    use crate::codec::cases::{AV1C, EAC3, hex};
    use crate::damage::{Cost, damaged};
    use crate::rtp::unpack::tests::packets_of;

    macro_rules! capture {
        ($name:literal) => {
            &include_bytes!(concat!("testdata/", $name, ".rtp"))[..]
        };
    }

    /// Captures as [`packets`] reads them, a format each, and what no sender at hand makes.
    fn seeds() -> Vec<Vec<u8>> {
        let record = hex(AV1C);
        let sequence = &record[6..];
        let mut enhanced = hex(EAC3);
        enhanced.resize(ac3::SyncFrame::parse(&enhanced).unwrap().frame_bytes, 7);
        let av1 = [
            &[0x28, sequence.len() as u8 + 1, 0x08],
            sequence,
            &[0x30, 0x10, 5, 5, 5],
        ]
        .concat();
        let av1_fragment = [&[0x50, 0x30, 0x20][..], &[6; 40]].concat();
        let av1_rest = [&[0x90][..], &[6; 40]].concat();
        let mut seeds = captures();
        for (format, payloads) in [
            (4, vec![av1, av1_fragment, av1_rest]),
            (
                16,
                vec![
                    [&[0, 1][..], &enhanced].concat(),
                    [&[1, 2][..], &enhanced[..90]].concat(),
                ],
            ),
        ] {
            let mut seed = vec![format];
            for payload in payloads {
                seed.extend_from_slice(&[u8::from(payload[0] != 0x50), 60]);
                seed.extend_from_slice(&(payload.len() as u16).to_be_bytes());
                seed.extend_from_slice(&payload);
            }
            seeds.push(seed);
        }
        seeds
    }

    fn captures() -> Vec<Vec<u8>> {
        [
            (0, capture!("h264")),
            (1, capture!("h264-inband")),
            (0, capture!("h264-gst")),
            (2, capture!("hevc-gst")),
            (3, capture!("hevc-gst")),
            (4, capture!("hevc-gst")),
            (5, capture!("vp8")),
            (6, capture!("vp9-gst")),
            (7, capture!("mjpeg")),
            (8, capture!("aac-gst")),
            (9, capture!("aac-gst")),
            (10, capture!("aac-gst")),
            (11, capture!("latm")),
            (12, capture!("latm")),
            (13, capture!("opus")),
            (14, capture!("mp2")),
            (15, capture!("ac3")),
            (16, capture!("ac3")),
            (17, capture!("ulaw")),
            (19, capture!("l16")),
            (20, capture!("ulaw")),
        ]
        .map(|(format, rtp)| {
            let mut seed = vec![format];
            let mut last = None;
            for payload in packets_of(rtp) {
                let is_next = last
                    .replace(payload.timestamp)
                    .is_some_and(|last| last != payload.timestamp);
                seed.extend_from_slice(&[payload.marker.into(), if is_next { 60 } else { 0 }]);
                seed.extend_from_slice(&(payload.data.len() as u16).to_be_bytes());
                seed.extend_from_slice(payload.data);
            }
            // Few packets, so that damage is found by the parsers and not by one long picture alone.
            seed.truncate(6_000);
            seed
        })
        .to_vec()
    }

    #[test]
    fn rtp_unpack_packets() {
        let tokens: &[&[u8]] = &[
            b"\x78",
            b"\x7c\x85",
            b"\x7c\x45",
            b"\x62\x01\x93",
            b"\x60\x01",
            b"\0\0\0\x01",
            b"\x0b\x77",
            b"\xff\xf1",
            b"\x01\x3c\0\x04",
            b"\x02\0\0\x08",
        ];
        // Something comes of what is damaged, but where the packets are another format's.
        let units = |seed: &Vec<u8>| run(&format_of(seed[0]), &seed[1..]).units;
        let barren: Vec<u8> = seeds()
            .iter()
            .filter(|seed| units(seed) == 0)
            .map(|seed| seed[0])
            .collect();
        assert_eq!(barren, [3, 4, 12, 16]);
        damaged("rtp_unpack_packets", Cost::Heavy, &seeds(), tokens, super::packets);
    }

    #[test]
    fn rtp_unpack_descriptions() {
        let seeds = FORMATS.map(|(_, _, _, fmtp)| fmtp.as_bytes().to_vec()).to_vec();
        let tokens: &[&[u8]] = &[b"=", b",", b"AAAB", b"config=", b"4000", b"sizelength=32"];
        damaged(
            "rtp_unpack_descriptions",
            Cost::Light,
            &seeds,
            tokens,
            super::descriptions,
        );
    }
}
