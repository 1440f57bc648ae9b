//! DTSC parsers on damaged recordings. What is accepted is emitted and read again as the same value.

use super::wire::header::Header;
use super::wire::object::{self, Value};
use super::wire::packet::{self, Kind, Media};
use crate::noise::Noise;

const SEEDS: [&[u8]; 4] = [
    include_bytes!("testdata/mistserver-pull-live.dtsc"),
    include_bytes!("testdata/mistserver-pull-vod.dtsc"),
    include_bytes!("testdata/mistserver-ping.dtsc"),
    include_bytes!("testdata/mistserver-clip6.flv.dtsh"),
];

#[test]
fn damaged_bytes_never_panic() {
    let mut random = Noise(0x2545_f491_4f6c_dd1d);
    let mut packets = Vec::new();
    for mut seed in SEEDS {
        while let Ok(Some(packet)) = packet::split(seed) {
            // The payload is not what is tested, and would take most of the hits.
            let (whole, rest) = seed.split_at(packet.bytes());
            packets.push(if packet.kind == Kind::Media {
                short(packet)
            } else {
                whole.to_vec()
            });
            seed = rest;
        }
    }
    for round in 0..20_000 {
        let mut bytes = packets[round % packets.len()].clone();
        for _ in 0..=random.below(3) {
            mutate(&mut bytes, &mut random);
        }
        run(&bytes);
        run(&damage_body_only(&packets[round % packets.len()], &mut random));
    }
}

fn short(packet: packet::Packet<'_>) -> Vec<u8> {
    let media = Media::parse(packet).unwrap();
    let mut out = Vec::new();
    let data = &media.data[..media.data.len().min(20)];
    Media { data, ..media }.emit(&mut out).unwrap();
    out
}

/// With the length made right again, so that the body is reached.
fn damage_body_only(packet: &[u8], random: &mut Noise) -> Vec<u8> {
    let mut body = packet[packet::PREFIX_BYTES..].to_vec();
    mutate(&mut body, random);
    let mut out = packet[..4].to_vec();
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(&body);
    out
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Noise) {
    let at = random.below(bytes.len().max(1));
    match random.below(5) {
        0 => bytes.truncate(at),
        1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        2 if at < bytes.len() => bytes[at] = [0, 1, 2, 3, 4, 0x0a, 0xe0, 0xff, 0xee][random.below(9)],
        3 if at < bytes.len() => drop(bytes.remove(at)),
        _ => bytes.insert(at.min(bytes.len()), random.next() as u8),
    }
}

fn run(bytes: &[u8]) {
    let Ok(Some(packet)) = packet::split(bytes) else {
        return;
    };
    if let Ok(media) = Media::parse(packet) {
        let mut out = Vec::new();
        media.emit(&mut out).expect("what was read is within bounds");
        let again = packet::split(&out).unwrap().unwrap();
        assert_eq!(Media::parse(again), Ok(media));
    }
    if let Ok(header) = Header::parse(packet.body) {
        let mut out = Vec::new();
        header.emit(&mut out).expect("what was read is within bounds");
        let again = packet::split(&out).unwrap().unwrap();
        let again = Header::parse(again.body).expect("what is emitted can be read");
        assert_eq!(again.entries.len(), header.entries.len());
    }
    if let Ok(object) = object::parse(packet.body) {
        let mut out = Vec::new();
        object::emit(&Value::Object(object), &mut out);
        let again = object::parse(&out).expect("what is emitted can be read");
        assert_eq!(again.members().count(), object.members().count());
    }
}
