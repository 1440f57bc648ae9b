//! Bounded mutation runs of the parsers and the checker, from a stream of our own.

use super::check::Checker;
use super::mux::scene::{Scene, muxed};
use super::wire::{PACKET_BYTES, Pat, Pmt, Sdt, packet, pes};
use crate::noise::Noise;

fn mutate(random: &mut Noise, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(12) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at.max(1)),
            1 => bytes.insert(at, random.next() as u8),
            2 => {
                let from = random.below(bytes.len());
                let length = random.below(300).min(bytes.len() - from).min(bytes.len() - at);
                bytes.copy_within(from..from + length, at);
            }
            3 => bytes[at] = [0, 0xff, 0x47, 0x80, 1][random.below(5)],
            _ => bytes[at] ^= 1 << random.below(8),
        }
    }
}

#[test]
fn any_bytes_are_judged_without_panic() {
    let stream = muxed(&Scene::default()).concat();
    let mut random = Noise(0x9e37_79b9_7f4a_7c15);
    for _ in 0..400 {
        let from = random.below(stream.len() / PACKET_BYTES) * PACKET_BYTES;
        let mut bytes = stream[from..stream.len().min(from + 60 * PACKET_BYTES)].to_vec();
        mutate(&mut random, &mut bytes);
        let mut checker = Checker::new();
        // tables first, so that what follows is looked into
        checker.push(&stream[..4 * PACKET_BYTES]);
        for piece in bytes.chunks(1 + random.below(500)) {
            checker.push(piece);
        }
        checker.finish();
        for window in bytes.windows(PACKET_BYTES).step_by(61) {
            let _ = packet::parse(window.try_into().unwrap());
        }
        let at = random.below(bytes.len());
        let _ = pes::Head::parse(&bytes[at..]);
        let _ = Pat::parse(&bytes[at..]);
        let _ = Pmt::parse(&bytes[at..]);
        let _ = Sdt::parse(&bytes[at..]);
    }
}

/// Behind a CRC that is right the bodies are still anybody's.
#[test]
fn any_section_body_is_read_or_refused() {
    let mut random = Noise(0x2545_f491_4f6c_dd1d);
    for _ in 0..20_000 {
        let mut section = vec![[0u8, 2, 0x42][random.below(3)], 0xb0, 0, 0, 1, 0xc1, 0, 0];
        for _ in 0..random.below(60) {
            section.push([0, 1, 4, 0x48, 0xff, random.next() as u8][random.below(6)]);
        }
        section[2] = (section.len() + 4 - 3) as u8;
        let crc = super::wire::section::crc32(&section);
        section.extend_from_slice(&crc.to_be_bytes());
        let _ = (Pat::parse(&section), Pmt::parse(&section), Sdt::parse(&section));
    }
}
