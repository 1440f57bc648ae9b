//! Packets that other senders made of files, against the frames of the files; what is common to the tests of all formats.

mod again;
mod audio;
mod h264;
mod video;

use aws_lc_rs::digest::{SHA256, digest};

use super::*;
use crate::media::{Kind, rescale};
use crate::noise::Noise;

/// A unit, owned.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::rtp) struct Owned {
    pub timestamp: i64,
    pub key: bool,
    pub wholeness: Wholeness,
    pub data: Vec<u8>,
}

/// What came out, in order.
#[derive(Debug, Default, PartialEq)]
pub(in crate::rtp) struct Came {
    /// Each with the number of units before it.
    pub setups: Vec<(usize, Setup)>,
    pub units: Vec<Owned>,
}

impl Came {
    pub fn take(&mut self, out: &mut Units) {
        for unpacked in out.iter() {
            match unpacked {
                Unpacked::Setup(setup) => self.setups.push((self.units.len(), setup.clone())),
                Unpacked::Unit(unit) => self.units.push(Owned {
                    timestamp: unit.timestamp,
                    key: unit.key,
                    wholeness: unit.wholeness,
                    data: unit.data.to_vec(),
                }),
            }
        }
        out.clear();
    }

    pub fn data(&self) -> Vec<&[u8]> {
        self.units.iter().map(|unit| &unit.data[..]).collect()
    }
}

pub(in crate::rtp) fn format(kind: Kind, encoding: &str, clock_rate: u32, channels: u32, fmtp: &str) -> PayloadFormat {
    let pairs = fmtp.split(';').filter_map(|pair| pair.split_once('='));
    PayloadFormat {
        kind,
        payload_type: 96,
        encoding: encoding.to_owned(),
        clock_rate,
        channels,
        parameters: pairs
            .map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_owned()))
            .collect(),
    }
}

pub(super) fn video(encoding: &str, fmtp: &str) -> PayloadFormat {
    format(Kind::Video, encoding, 90_000, 1, fmtp)
}

pub(super) fn packet(timestamp: i64, marker: bool, data: &[u8]) -> Payload<'_> {
    Payload {
        timestamp,
        marker,
        gap: Gap::None,
        data,
    }
}

pub(super) fn lost(payload: Payload<'_>) -> Payload<'_> {
    Payload {
        gap: Gap::Lost,
        ..payload
    }
}

/// All packets, then the end. Also what could not be read.
pub(in crate::rtp) fn unpack(format: &PayloadFormat, packets: &[Payload<'_>]) -> (Came, u64) {
    let (mut unpack, mut out, mut came) = (of(format), Units::new(), Came::default());
    for payload in packets {
        unpack.packet(payload, &mut out);
        came.take(&mut out);
    }
    unpack.flush(&mut out);
    came.take(&mut out);
    (came, unpack.unreadable())
}

/// One of `testdata`, see `capture.py` there.
pub(in crate::rtp) struct Capture {
    pub name: &'static str,
    pub rtp: &'static [u8],
    pub sdp: &'static str,
    pub frames: &'static str,
}

macro_rules! capture {
    ($name:literal) => {
        crate::rtp::unpack::tests::Capture {
            name: $name,
            rtp: include_bytes!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/src/rtp/unpack/testdata/",
                $name,
                ".rtp"
            )),
            sdp: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/src/rtp/unpack/testdata/",
                $name,
                ".sdp"
            )),
            frames: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/src/rtp/unpack/testdata/",
                $name,
                ".csv"
            )),
        }
    };
}
pub(super) use capture;

impl Capture {
    /// The packets with their timestamps unwrapped.
    pub fn packets(&self) -> Vec<Payload<'static>> {
        packets_of(self.rtp)
    }

    /// The format parameters, out of ffmpeg's description or GStreamer's caps.
    pub fn fmtp(&self) -> String {
        if let Some(line) = self.sdp.lines().find(|line| line.starts_with("a=fmtp:")) {
            return line.split_once(' ').unwrap().1.to_owned();
        }
        let fields = self.sdp.split(", ").filter_map(|field| field.split_once("=(string)"));
        let fields = fields.map(|(name, value)| format!("{name}={}", value.trim().trim_matches('"').replace('\\', "")));
        fields.collect::<Vec<_>>().join(";")
    }

    /// What comes out is what the file has; `scale` is the ticks per second of the file's times. Returns what came.
    pub fn check(&self, format: &PayloadFormat, scale: u32) -> Came {
        let (came, unreadable) = unpack(format, &self.packets());
        assert_eq!(unreadable, 0, "{}", self.name);
        assert_eq!(came.setups.len(), 1, "{}", self.name);
        let (before, setup) = &came.setups[0];
        assert_eq!(*before, 0);
        let first: i64 = self.rows()[0].0;
        for (at, ((pts, bytes, key, hash), unit)) in self.rows().into_iter().zip(&came.units).enumerate() {
            let name = format!("{} {at}", self.name);
            assert_eq!(unit.data.len(), bytes, "{name}");
            assert_eq!(hash_of(&unit.data), hash, "{name}");
            assert_eq!((unit.key, unit.wholeness), (key, Wholeness::Whole), "{name}");
            let since = unit.timestamp - came.units[0].timestamp;
            assert_eq!(since, rescale(pts - first, scale, setup.timescale), "{name}");
        }
        assert_eq!(came.units.len(), self.rows().len(), "{}", self.name);
        self.check_loss(format, &came);
        came
    }

    /// Without any one packet, and without some runs of them: nothing is whole that was not so before, and what no lost
    /// packet touched is there.
    fn check_loss(&self, format: &PayloadFormat, whole: &Came) {
        let packets = self.packets();
        let mut random = Noise(0x5eed);
        for round in 0..packets.len() * 3 {
            let at = round % packets.len();
            let run = if round < packets.len() { 1 } else { 1 + random.below(5) };
            let mut left = packets.clone();
            let end = (at + run).min(left.len());
            left.drain(at..end);
            if let Some(behind) = left.get_mut(at) {
                behind.gap = Gap::Lost;
            }
            let (came, _) = unpack(format, &left);
            let mut from = whole.units.iter();
            for unit in came.units.iter().filter(|unit| unit.wholeness == Wholeness::Whole) {
                // Messages to the decoder that came before the first slice are no part of the picture.
                let essence = |data: &[u8]| match whole.setups[0].1.codec {
                    Codec::H264 => slices(data, |unit| unit[0] & 0x1f < 6),
                    Codec::Hevc => slices(data, |unit| unit[0] >> 1 < 32),
                    _ => data.to_vec(),
                };
                // A sample counted after a loss is off by the rounding of the packets' clock.
                let same = |known: &Owned| {
                    known.timestamp.abs_diff(unit.timestamp) <= 1 && essence(&known.data) == essence(&unit.data)
                };
                let known = from.any(same);
                assert!(
                    known,
                    "{} without {at}..{end}: {} is no unit",
                    self.name, unit.timestamp
                );
            }
            let touched = |unit: &&Owned| {
                let near = &packets[at.saturating_sub(1)..(end + 1).min(packets.len())];
                near.iter().any(|packet| packet.timestamp == unit.timestamp)
            };
            for unit in whole.units.iter().filter(|unit| !touched(unit)) {
                // Nothing can be shown before the first key picture of a stream that alone says what it is.
                let is_free = format.kind == Kind::Audio
                    || came.units.first().is_none_or(|first| first.timestamp > unit.timestamp);
                let there = came.units.contains(unit);
                assert!(
                    there || is_free,
                    "{} without {at}..{end}: {} is missing",
                    self.name,
                    unit.timestamp
                );
            }
        }
    }

    fn rows(&self) -> Vec<(i64, usize, bool, String)> {
        let row = |line: &str| {
            let mut fields = line.split(',');
            let mut next = || fields.next().unwrap().to_owned();
            (
                next().parse().unwrap(),
                next().parse().unwrap(),
                next().starts_with('K'),
                next(),
            )
        };
        self.frames.lines().filter(|line| !line.is_empty()).map(row).collect()
    }
}

fn slices(frame: &[u8], is_slice: fn(&[u8]) -> bool) -> Vec<u8> {
    crate::codec::nal::units(frame)
        .filter(|unit| is_slice(unit))
        .flatten()
        .copied()
        .collect()
}

/// RTP packets behind their lengths.
pub(in crate::rtp) fn packets_of(rtp: &'static [u8]) -> Vec<Payload<'static>> {
    let (mut rest, mut packets, mut last) = (rtp, Vec::new(), None);
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (packet, behind) = behind.split_at(u16::from_be_bytes(*length).into());
        assert_eq!(packet[0], 0x80, "no extension, source or padding");
        let stamp = u32::from_be_bytes(packet[4..8].try_into().unwrap());
        let timestamp = last.map_or(i64::from(stamp), |last: i64| {
            last + i64::from(stamp.wrapping_sub(last as u32).cast_signed())
        });
        last = Some(timestamp);
        packets.push(Payload {
            timestamp,
            marker: packet[1] & 0x80 != 0,
            gap: Gap::None,
            data: &packet[12..],
        });
        rest = behind;
    }
    packets
}

pub(super) fn hash_of(bytes: &[u8]) -> String {
    let hash = digest(&SHA256, bytes);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 and length of the codec data, as ffprobe writes them.
pub(super) fn codec_line(setup: &Setup) -> String {
    format!("{},{}", setup.codec_data.len(), hash_of(&setup.codec_data))
}
