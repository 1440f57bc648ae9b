//! What some cameras put before the RTP header (Megvii; EHOME), found by what must stand behind it.

use super::limits::{PRIVATE_HEAD_BYTES_MAX, PRIVATE_HEAD_PLACES_MAX};
use super::wire::Packet;

/// Of one medium. A header is believed when a second packet has the next RTP packet of the same source at the same place.
#[derive(Debug, Default)]
pub(super) struct PrivateHead {
    bytes: usize,
    /// Where RTP could begin in the last packet, its source, and the next sequence number there.
    places: Vec<(usize, u32, u16)>,
    /// Packets.
    pub skipped: u64,
    pub unreadable: u64,
}

impl PrivateHead {
    /// The packet in `bytes`, or none, which is counted.
    pub fn parse<'a>(&mut self, bytes: &'a [u8], payload_type: u8) -> Option<Packet<'a>> {
        let known = bytes.get(self.bytes..).map(Packet::parse);
        if self.bytes > 0
            && let Some(Ok(packet)) = known
            && packet.payload_type == payload_type
        {
            self.skipped += 1;
            return Some(packet);
        }
        if let Ok(packet) = Packet::parse(bytes) {
            return Some(packet);
        }
        let found = self.search(bytes, payload_type);
        match found {
            Some(_) => self.skipped += 1,
            None => self.unreadable += 1,
        }
        found
    }

    fn search<'a>(&mut self, bytes: &'a [u8], payload_type: u8) -> Option<Packet<'a>> {
        let before = std::mem::take(&mut self.places);
        for at in 1..bytes.len().min(PRIVATE_HEAD_BYTES_MAX + 1) {
            let Ok(packet) = Packet::parse(&bytes[at..]) else {
                continue;
            };
            if packet.payload_type != payload_type {
                continue;
            }
            if before.contains(&(at, packet.ssrc, packet.sequence)) {
                self.bytes = at;
                return Some(packet);
            }
            if self.places.len() < PRIVATE_HEAD_PLACES_MAX {
                self.places.push((at, packet.ssrc, packet.sequence.wrapping_add(1)));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_header_is_found_by_the_second_packet() {
        for head in [
            &b"\x01"[..],
            b"\x13\x00\x00\x10",
            b"\x01\xe0\x80\x60\x80\x60\x80\x60",
            &[7; 64],
        ] {
            let mut private = PrivateHead::default();
            for sequence in 0..4 {
                let packet = Packet {
                    marker: false,
                    payload_type: 96,
                    sequence,
                    timestamp: 1,
                    ssrc: 0x3333_3333,
                    payload: b"payload",
                };
                let mut bytes = head.to_vec();
                packet.emit(&mut bytes);
                let expected = (sequence > 0).then_some(packet);
                assert_eq!(private.parse(&bytes, 96), expected, "{head:?}");
            }
            assert_eq!((private.skipped, private.unreadable), (3, 1));
        }
    }

    #[test]
    fn noise_has_no_header() {
        let mut private = PrivateHead::default();
        for length in 0..200 {
            assert_eq!(private.parse(&vec![0x20; length], 96), None);
        }
        assert_eq!((private.skipped, private.unreadable), (0, 200));
    }
}
