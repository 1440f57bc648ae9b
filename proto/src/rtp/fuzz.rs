//! Any packets: no panic, decode times that never fall, every frame's track known, nothing that waits without bound.

use std::collections::HashMap;

use super::format::PayloadFormat;
use super::unpack::{Gap, Payload, Setup, Units, Unpack, Wholeness};
#[cfg(test)]
use super::wire::Packet;
use super::wire::packet::is_rtcp;
use super::wire::rtcp;
use super::{Arrival, Input, Options};
use crate::media::{Codec, Format, Item, Kind};

/// Any bytes as what one publisher of two media sends: of each packet a byte that says its medium, whether it is RTCP, how it
/// comes and whether time passes, one of time, two of length, and the packet.
pub fn packets(mut input: &[u8]) {
    let media = vec![medium(Kind::Video, 96, 90_000), medium(Kind::Audio, 0, 8_000)];
    let mut watched = Input::with(media, Options::default(), 0);
    let (mut last, mut now) = (HashMap::new(), 0_i64);
    while let Some((head, rest)) = input.split_first_chunk::<HEAD_BYTES>() {
        let length = usize::from(u16::from_be_bytes([head[2], head[3]])).min(rest.len());
        let (packet, rest) = rest.split_at(length);
        input = rest;
        now += i64::from(head[1]) * if head[0] & 0x10 == 0 { 100 } else { 100_000 };
        let medium = usize::from(head[0] & 1);
        let arrival = if head[0] & 2 == 0 {
            Arrival::Datagram
        } else {
            Arrival::Interleaved
        };
        match head[0] >> 5 {
            0 => {
                watched.handle_timeout(now);
                assert!(watched.poll_timeout() > now, "what is due is done");
            }
            1 => watched.rtcp(medium, now, packet),
            2 if head[0] & 4 != 0 => watched.flush(now),
            _ => watched.rtp(medium, now, arrival, packet),
        }
        watched.check_invariants();
        drain(&mut watched, &mut last);
        // Reports are read as they are written.
        while let Some((_, report)) = watched.poll_report() {
            assert!(is_rtcp(report) && rtcp::parts(report).all(|part| part.is_ok()));
        }
    }
    watched.flush(now);
    drain(&mut watched, &mut last);
    watched.check_invariants();
}

fn drain(watched: &mut Input, last: &mut HashMap<u32, i64>) {
    loop {
        let known: Vec<u32> = watched.tracks().iter().map(|track| track.id).collect();
        match watched.poll() {
            None => return,
            Some(Item::Frame(frame)) => {
                assert!(known.contains(&frame.track) && !frame.data.is_empty());
                if let Some(before) = last.insert(frame.track, frame.dts) {
                    assert!(before < frame.dts, "{before} then {}", frame.dts);
                }
            }
            Some(_) => {}
        }
    }
}

const HEAD_BYTES: usize = 4;

fn medium(kind: Kind, payload_type: u8, clock_rate: u32) -> (PayloadFormat, Box<dyn Unpack>) {
    let format = PayloadFormat {
        kind,
        payload_type,
        encoding: "ANY".to_owned(),
        clock_rate,
        channels: 1,
        parameters: Vec::new(),
    };
    (format, Box::new(Any { kind, clock_rate }))
}

/// Makes whatever a payload's first byte says of it.
#[derive(Debug)]
struct Any {
    kind: Kind,
    clock_rate: u32,
}

impl Unpack for Any {
    fn packet(&mut self, payload: &Payload<'_>, out: &mut Units) {
        let Some((&first, data)) = payload.data.split_first() else {
            return;
        };
        if first & 3 == 0 {
            out.push_setup(Setup {
                codec: match (self.kind, first & 4) {
                    (Kind::Video, 0) => Codec::H264,
                    (Kind::Video, _) => Codec::Vp8,
                    (_, 0) => Codec::Ulaw,
                    _ => Codec::Opus,
                },
                timescale: self.clock_rate,
                codec_data: data.to_vec(),
                format: Format::Meta,
            });
        }
        let wholeness = if first & 8 == 0 && payload.gap == Gap::None {
            Wholeness::Whole
        } else {
            Wholeness::Damaged
        };
        out.push(payload.timestamp, first & 16 != 0, wholeness, |bytes| {
            bytes.extend_from_slice(data);
        });
    }

    fn flush(&mut self, _out: &mut Units) {}

    fn unreadable(&self) -> u64 {
        0
    }
}

/// What a packet of a seed is made of.
#[cfg(test)]
fn framed(head: u8, step: u8, packet: &[u8]) -> Vec<u8> {
    let length = (packet.len() as u16).to_be_bytes();
    [&[head, step], &length[..], packet].concat()
}

/// One packet of a source as it is sent, behind what [`packets`] reads.
#[cfg(test)]
fn sent(medium: u8, number: u16, ticks: u32, first: u8) -> Vec<u8> {
    let packet = Packet {
        marker: true,
        payload_type: [96, 0][usize::from(medium)],
        sequence: 65_530_u16.wrapping_add(number),
        timestamp: (u32::MAX - 20_000).wrapping_add(u32::from(number).wrapping_mul(ticks)),
        ssrc: 7,
        payload: &[first, 1, 2, 3],
    };
    let mut bytes = Vec::new();
    packet.emit(&mut bytes);
    framed(0x60 | medium, 100, &bytes)
}

#[cfg(test)]
mod runs {
    use super::*;
    use crate::damage::{Cost, damaged};
    use crate::rtp::wire::rtcp::{Ntp, SenderReport};

    #[test]
    fn rtp_packets() {
        let mut seeds = Vec::new();
        for setup in [0x10, 0x14] {
            let mut stream = Vec::new();
            for number in 0..40 {
                let first = match number {
                    0 => setup,
                    _ if number % 10 == 0 => 0x11,
                    _ => 0x01,
                };
                if number % 8 == 3 {
                    let report = SenderReport {
                        ssrc: 7,
                        ntp: Ntp(u64::from(number) << 32 | 1 << 60),
                        rtp_time: u32::MAX - 20_000 + u32::from(number),
                        packets: 1,
                        octets: 1,
                    };
                    let mut bytes = Vec::new();
                    rtcp::emit_sender_report(&report, &mut bytes);
                    rtcp::emit_name(7, "camera", &mut bytes);
                    rtcp::emit_goodbye(9, &mut bytes);
                    stream.extend(framed(0x20 | (number & 1) as u8, 1, &bytes));
                }
                // B-frames by their times, and some out of order.
                let place = if number % 7 == 5 { number + 1 } else { number };
                stream.extend(sent(0, place, [3_600, 1_800][usize::from(number % 2)], first));
                stream.extend(sent(1, number, 160, setup));
                if number % 16 == 15 {
                    stream.extend(framed(0x10, 250, &[]));
                }
            }
            seeds.push(stream);
        }
        let tokens: &[&[u8]] = &[
            &[0x60, 0, 0, 16],
            &[0x62, 255, 0, 16],
            &[0x20, 0, 0, 28],
            b"\x80\x60\xff\xfa",
            b"\xbf\x60",
            b"\x80\xc8\0\x06",
            b"\x81\xcb\0\x01",
        ];
        damaged("rtp_packets", Cost::Light, &seeds, tokens, super::packets);
    }
}
