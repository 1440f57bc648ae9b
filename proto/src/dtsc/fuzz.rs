//! DTSC parsers on any bytes. What is accepted is emitted and read again as the same value.

use super::wire::header::Header;
use super::wire::object::{self, Value};
use super::wire::packet::{self, Media};

/// Any bytes as a packet, and as the body of one whose length is right.
pub fn packet(bytes: &[u8]) {
    split_and_read(bytes);
    if let (Some(magic), Some(body)) = (bytes.first_chunk::<4>(), bytes.get(packet::PREFIX_BYTES..)) {
        let length = (body.len() as u32).to_be_bytes();
        split_and_read(&[magic, &length[..], body].concat());
    }
}

fn split_and_read(bytes: &[u8]) {
    let Ok(Some(packet)) = packet::split(bytes) else {
        return;
    };
    assert!(packet.bytes() <= bytes.len());
    if let Ok(media) = Media::parse(packet) {
        let mut out = Vec::new();
        media.emit(&mut out).expect("what was read is within bounds");
        let again = packet::split(&out)
            .expect("what is emitted can be read")
            .expect("whole");
        assert_eq!(Media::parse(again), Ok(media));
    }
    if let Ok(header) = Header::parse(packet.body) {
        let mut out = Vec::new();
        header.emit(&mut out).expect("what was read is within bounds");
        let again = packet::split(&out)
            .expect("what is emitted can be read")
            .expect("whole");
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

#[cfg(test)]
mod runs {
    use super::super::wire::packet::Kind;
    use super::*;
    use crate::damage::{Cost, damaged};

    const RECORDINGS: [&[u8]; 4] = [
        include_bytes!("testdata/mistserver-pull-live.dtsc"),
        include_bytes!("testdata/mistserver-pull-vod.dtsc"),
        include_bytes!("testdata/mistserver-ping.dtsc"),
        include_bytes!("testdata/mistserver-clip6.flv.dtsh"),
    ];

    #[test]
    fn dtsc_packet() {
        let mut seeds = Vec::new();
        for mut recording in RECORDINGS {
            while let Ok(Some(packet)) = packet::split(recording) {
                let (whole, rest) = recording.split_at(packet.bytes());
                // The payload is not what is tested, and would take most of the hits.
                seeds.push(if packet.kind == Kind::Media {
                    short(packet)
                } else {
                    whole.to_vec()
                });
                recording = rest;
            }
        }
        let tokens: &[&[u8]] = &[
            b"DTSC",
            b"DTP2",
            b"DTCM",
            b"\xe0",
            b"\0\0\xee",
            b"\x0a",
            b"\x01\0\0\0\0\0\0\0\0",
        ];
        damaged("dtsc_packet", Cost::Light, &seeds, tokens, super::packet);
    }

    fn short(packet: packet::Packet<'_>) -> Vec<u8> {
        let media = Media::parse(packet).unwrap();
        let mut out = Vec::new();
        let data = &media.data[..media.data.len().min(20)];
        Media { data, ..media }.emit(&mut out).unwrap();
        out
    }
}
