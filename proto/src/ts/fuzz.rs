//! Any bytes as a transport stream, as its parts, and as sections whose check sum is right.

use super::check::Checker;
use super::wire::section::crc32;
use super::wire::{PACKET_BYTES, Pat, Pmt, Sdt, packet, pes};
use crate::noise::chosen_by;

/// Any bytes as a stream, in pieces.
pub fn stream(input: &[u8]) {
    let mut checker = Checker::new();
    for piece in input.chunks(1 + chosen_by(input, 500)) {
        checker.push(piece);
    }
    checker.finish();
    for window in input.windows(PACKET_BYTES).step_by(61) {
        let window = window.try_into().expect("a window of that size");
        let _ = packet::parse(window);
    }
    let _ = pes::Head::parse(&input[chosen_by(input, input.len())..]);
}

/// Any bytes as a section, and as one behind whose body stands the right check sum and length.
pub fn section(input: &[u8]) {
    let read = |bytes: &[u8]| {
        (
            Pat::parse(bytes).is_ok(),
            Pmt::parse(bytes).is_ok(),
            Sdt::parse(bytes).is_ok(),
        )
    };
    read(input);
    if input.len() < 8 || input.len() > 1_000 {
        return;
    }
    let mut section = input.to_vec();
    let length = section.len() + 4 - 3;
    section[1] = section[1] & 0xf0 | (length >> 8) as u8;
    section[2] = length as u8;
    let sum = crc32(&section);
    section.extend_from_slice(&sum.to_be_bytes());
    read(&section);
}

#[cfg(test)]
mod runs {
    use super::super::mux::scene::{Scene, muxed};
    use super::*;
    use crate::damage::{Cost, damaged};

    #[test]
    fn ts_stream() {
        let stream = muxed(&Scene::default()).concat();
        // Tables first, so that what follows is looked into.
        let tables = &stream[..4 * PACKET_BYTES];
        let pieces = stream.chunks(30 * PACKET_BYTES).take(40);
        let seeds: Vec<_> = pieces.map(|piece| [tables, piece].concat()).collect();
        let tokens: &[&[u8]] = &[
            b"\x47",
            b"\x47\x40\0\x10\0",
            b"\0\0\x01\xe0",
            b"\0\0\x01\xc0",
            b"\xff\xff",
        ];
        damaged("ts_stream", Cost::Heavy, &seeds, tokens, super::stream);
    }

    #[test]
    fn ts_section() {
        let stream = muxed(&Scene::default()).concat();
        let packets = stream.chunks(PACKET_BYTES).take(4);
        // Behind the head and the pointer, without the check sum.
        let mut seeds: Vec<Vec<u8>> = packets.map(|packet| packet[5..].to_vec()).collect();
        for seed in &mut seeds {
            let length = usize::from(u16::from_be_bytes([seed[1] & 0x0f, seed[2]]));
            seed.truncate(length.saturating_sub(1).max(8));
        }
        let tokens: &[&[u8]] = &[
            b"\0\xb0",
            b"\x02\xb0",
            b"\x42\xf0",
            b"\x48",
            b"\x05\x04HEVC",
            b"\xff\xff",
        ];
        damaged("ts_section", Cost::Light, &seeds, tokens, super::section);
    }
}
