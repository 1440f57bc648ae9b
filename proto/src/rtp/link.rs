//! A link that loses, repeats, delays and reorders, the same for the same seed, and keeps count; and what goes over it: packets
//! of a camera whose frames are numbered. Only compiled for tests.

use super::format::PayloadFormat;
use super::unpack::{Gap, Payload, Setup, Units, Unpack, Wholeness};
use super::wire::Packet;
use crate::codec::{cases::hex, h264};
use crate::media::{Codec, Format, Kind};
use crate::noise::Noise;

/// Of 10,000 packets each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub lost: usize,
    pub duplicated: usize,
    /// Delayed by up to `delay_micros` beyond the others.
    pub delayed: usize,
    pub delay_micros: usize,
    /// All of them, by up to so much, in order.
    pub jitter_micros: usize,
}

/// One packet on its way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub micros: i64,
    pub medium: usize,
    pub bytes: Vec<u8>,
}

/// What a link did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    pub arrived: u64,
    /// Between the first and the last that arrived.
    pub lost: u64,
    pub duplicated: u64,
    /// Arrived behind one that was sent later.
    pub reordered: u64,
}

impl Link {
    /// What arrives when, and what was done to each of `media` media. `sent` is in order.
    pub fn carry(&self, sent: &[Flight], media: usize, random: &mut Noise) -> (Vec<Flight>, Vec<Ledger>) {
        let mut flights: Vec<(Flight, usize)> = Vec::new();
        let (mut ledgers, mut slowest) = (vec![Ledger::default(); media], 0);
        for (number, flight) in sent.iter().enumerate() {
            if random.below(10_000) < self.lost {
                continue;
            }
            slowest = (flight.micros + random.below(self.jitter_micros + 1) as i64).max(slowest);
            let mut flight = flight.clone();
            flight.micros = slowest;
            if random.below(10_000) < self.duplicated {
                let mut second = flight.clone();
                second.micros += random.below(self.delay_micros + 1) as i64;
                ledgers[flight.medium].duplicated += 1;
                flights.push((second, number));
            }
            if random.below(10_000) < self.delayed {
                flight.micros += random.below(self.delay_micros + 1) as i64;
            }
            flights.push((flight, number));
        }
        flights.sort_by_key(|(flight, number)| (flight.micros, *number));
        for (medium, ledger) in ledgers.iter_mut().enumerate() {
            let arrived: Vec<usize> = flights
                .iter()
                .filter(|(flight, _)| flight.medium == medium)
                .map(|(_, number)| *number)
                .collect();
            ledger.arrived = arrived.len() as u64;
            let (first, last) = (arrived.first().copied(), arrived.iter().max().copied());
            let mut known = std::collections::HashSet::new();
            let mut highest = 0;
            for number in &arrived {
                ledger.reordered += u64::from(known.insert(number) && *number < highest);
                highest = highest.max(*number);
            }
            for (number, flight) in sent.iter().enumerate() {
                let within = first.is_some_and(|first| first < number) && last.is_some_and(|last| number < last);
                ledger.lost += u64::from(flight.medium == medium && within && !known.contains(&number));
            }
        }
        (flights.into_iter().map(|(flight, _)| flight).collect(), ledgers)
    }
}

/// One RTP source.
#[derive(Clone, Debug)]
pub(super) struct Camera {
    pub payload_type: u8,
    pub ssrc: u32,
    pub sequence: u16,
    /// RTP time 0 of the stream.
    pub base: u32,
}

impl Camera {
    pub fn packet(&mut self, timestamp: i64, marker: bool, payload: &[u8]) -> Vec<u8> {
        let packet = Packet {
            marker,
            payload_type: self.payload_type,
            sequence: self.sequence,
            timestamp: self.base.wrapping_add(timestamp as u32),
            ssrc: self.ssrc,
            payload,
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        packet.emit(&mut bytes);
        bytes
    }

    /// A picture in so many packets: its number, and whether it is key.
    pub fn picture(&mut self, timestamp: i64, number: u32, key: bool, parts: u8) -> Vec<Vec<u8>> {
        let part = |part| {
            let mut payload = number.to_be_bytes().to_vec();
            payload.extend_from_slice(&[part, u8::from(key), 0, 0]);
            self.packet(timestamp, part + 1 == parts, &payload)
        };
        (0..parts).map(part).collect()
    }

    /// 20 ms of telephone sound, with its number in front.
    pub fn sound(&mut self, number: u32) -> Vec<u8> {
        let mut payload = vec![0x55; SOUND_BYTES];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        self.packet(i64::from(number) * SOUND_BYTES as i64, false, &payload)
    }
}

pub(super) const SOUND_BYTES: usize = 160;

/// x264's parameter sets, by their depth of reordering; none are stated by the last.
pub(super) const SETS: [&str; 4] = [
    "6764000dacb20283f60220000003002000000641e28549",
    "6764000dacd10141fb011000000300100000030320f1429120",
    "6764000dacd94141fb01100000030010000003032602001e840007a13930c01e28532c",
    "6764000dacd94141fb0110000003001000000303",
];

pub(super) fn format(kind: Kind, payload_type: u8) -> PayloadFormat {
    let (encoding, clock_rate) = match kind {
        Kind::Video => ("TOY", 90_000),
        _ => ("PCMU", 8_000),
    };
    PayloadFormat {
        kind,
        payload_type,
        encoding: encoding.to_owned(),
        clock_rate,
        channels: 1,
        parameters: Vec::new(),
    }
}

/// Puts [`Camera`]'s payloads together. A picture's last four bytes are its number.
#[derive(Debug)]
pub(super) struct Toy {
    setup: Option<Setup>,
    is_video: bool,
    open: Option<Open>,
    unreadable: u64,
}

#[derive(Debug)]
struct Open {
    number: [u8; 4],
    timestamp: i64,
    next: u8,
    key: bool,
    damaged: bool,
}

impl Toy {
    pub fn pictures(sps: &str) -> Box<dyn Unpack> {
        Box::new(Toy {
            setup: Some(picture_setup(sps)),
            is_video: true,
            open: None,
            unreadable: 0,
        })
    }

    pub fn sound() -> Box<dyn Unpack> {
        let setup = Setup {
            codec: Codec::Ulaw,
            timescale: 8_000,
            codec_data: Vec::new(),
            format: Format::Audio {
                sample_rate: 8_000,
                channels: 1,
                sample_bits: 8,
            },
        };
        Box::new(Toy {
            setup: Some(setup),
            is_video: false,
            open: None,
            unreadable: 0,
        })
    }

    fn push(&mut self, wholeness: Wholeness, out: &mut Units) {
        let Some(open) = self.open.take() else { return };
        let wholeness = if open.damaged { Wholeness::Damaged } else { wholeness };
        out.push(open.timestamp, open.key, wholeness, |bytes| {
            bytes.extend_from_slice(&[0, 0, 0, 5, 1]);
            bytes.extend_from_slice(&open.number);
        });
    }
}

pub(super) fn picture_setup(sps: &str) -> Setup {
    let mut codec_data = Vec::new();
    h264::build_config(&[&hex(sps)], &[&hex("68ee3c80")], &mut codec_data).expect("x264's own");
    Setup {
        codec: Codec::H264,
        timescale: 90_000,
        codec_data,
        format: Format::Video {
            width: 320,
            height: 240,
            frame_rate: 25.0,
        },
    }
}

impl Unpack for Toy {
    fn packet(&mut self, payload: &Payload<'_>, out: &mut Units) {
        if let Some(setup) = self.setup.take() {
            out.push_setup(setup);
        }
        if !self.is_video {
            return out.push(payload.timestamp, true, Wholeness::Whole, |bytes| {
                bytes.extend_from_slice(payload.data);
            });
        }
        let Some((head, rest)) = payload.data.split_first_chunk::<8>() else {
            self.unreadable += 1;
            return;
        };
        if rest.len() > 1 {
            // Other parameter sets come.
            out.push_setup(picture_setup(SETS[usize::from(rest[0]) % 3]));
        }
        if payload.gap == Gap::Lost {
            self.push(Wholeness::Damaged, out);
        }
        let [a, b, c, d, part, key, ..] = *head;
        let goes_on = |open: &Open| open.number == [a, b, c, d] && open.next == part;
        if !self.open.as_ref().is_some_and(goes_on) {
            self.push(Wholeness::Damaged, out);
            self.open = Some(Open {
                number: [a, b, c, d],
                timestamp: payload.timestamp,
                next: part,
                key: key & 1 != 0,
                damaged: part > 0,
            });
        }
        if let Some(open) = &mut self.open {
            open.next = open.next.wrapping_add(1);
        }
        if payload.marker {
            self.push(Wholeness::Whole, out);
        }
    }

    fn flush(&mut self, out: &mut Units) {
        self.push(Wholeness::Damaged, out);
    }

    fn unreadable(&self) -> u64 {
        self.unreadable
    }
}
