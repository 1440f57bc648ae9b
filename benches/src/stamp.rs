//! The time of sending inside the picture: an SEI message that any container carries as it is, found again by its bytes.
//!
//! Specification: H.264, 7.3.2.3.1 and D.1.7 (`user_data_unregistered`, payload type 5). Time and number are written as
//! hexadecimal digits, so the unit never needs emulation prevention and stays one run of bytes.
//!
//! Not a parser of containers: a stamp that a container cuts in two is not found. It stands first in its picture, and so
//! in the first packet of a TS or the first chunk of an RTMP message.

/// Random, and free of zero bytes.
const UUID: [u8; 16] = *b"\x9c\x3e\x5b\xa7\x41\xd2\x4f\x86\xb1\x77\xe4\x0d\x93\x6a\xc8\x5f";
const TIME_DIGITS: usize = 16;
const NUMBER_DIGITS: usize = 8;
const PAYLOAD_BYTES: usize = UUID.len() + TIME_DIGITS + NUMBER_DIGITS;
const NAL_SEI: u8 = 6;
const USER_DATA_UNREGISTERED: u8 = 5;
const STOP_BIT: u8 = 0x80;
const _: () = assert!(PAYLOAD_BYTES < 255, "the payload size is one byte");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When the frame was sent, ns of `CLOCK_MONOTONIC`.
    pub nanos: u64,
    /// Counts the video frames sent, from 0; wraps.
    pub number: u32,
}

impl Stamp {
    /// Appends the NAL unit behind its 4-byte length.
    pub fn emit(self, out: &mut Vec<u8>) {
        let length = 3 + PAYLOAD_BYTES as u32 + 1;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&[NAL_SEI, USER_DATA_UNREGISTERED, PAYLOAD_BYTES as u8]);
        out.extend_from_slice(&UUID);
        push_digits(self.nanos, TIME_DIGITS, out);
        push_digits(self.number.into(), NUMBER_DIGITS, out);
        out.push(STOP_BIT);
    }

    fn parse(payload: &[u8; PAYLOAD_BYTES]) -> Option<Stamp> {
        let (time, number) = payload[UUID.len()..].split_at(TIME_DIGITS);
        Some(Stamp {
            nanos: digits(time)?,
            number: u32::try_from(digits(number)?).ok()?,
        })
    }
}

fn push_digits(value: u64, digits: usize, out: &mut Vec<u8>) {
    for at in (0..digits).rev() {
        let nibble = (value >> (4 * at)) as u8 & 0x0f;
        out.push(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for byte in text {
        value = value << 4 | u64::from(char::from(*byte).to_digit(16)?);
    }
    Some(value)
}

/// Finds stamps in a byte stream that comes in pieces of any size.
#[derive(Debug, Default)]
pub struct Search {
    /// The end of what came, in which a stamp may have begun, and the piece at work.
    buffer: Vec<u8>,
}

impl Search {
    pub fn new() -> Search {
        Search::default()
    }

    /// Calls `found` for each stamp that ends in these bytes.
    pub fn feed(&mut self, bytes: &[u8], mut found: impl FnMut(Stamp)) {
        self.buffer.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(payload) = self.buffer[at..].first_chunk::<PAYLOAD_BYTES>() {
            if payload.starts_with(&UUID) {
                if let Some(stamp) = Stamp::parse(payload) {
                    found(stamp);
                }
                at += PAYLOAD_BYTES;
                continue;
            }
            let behind = &self.buffer[at + 1..];
            at = behind
                .iter()
                .position(|byte| *byte == UUID[0])
                .map_or(self.buffer.len(), |step| at + 1 + step);
        }
        self.buffer.drain(..at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream of noise with stamps, one of them behind the beginning of another.
    fn stream() -> (Vec<u8>, Vec<Stamp>) {
        let stamps: Vec<Stamp> = [(0, 0), (u64::MAX, u32::MAX), (123_456_789_012, 1), (5, 2)]
            .map(|(nanos, number)| Stamp { nanos, number })
            .to_vec();
        let mut bytes = b"head".to_vec();
        for (index, stamp) in stamps.iter().enumerate() {
            bytes.extend((0..index * 37).map(|at| (at * 7) as u8));
            if index == 2 {
                bytes.extend_from_slice(&UUID[..9]);
            }
            stamp.emit(&mut bytes);
        }
        bytes.extend_from_slice(&UUID);
        (bytes, stamps)
    }

    #[test]
    fn stamps_are_found_over_any_cut() {
        let (bytes, stamps) = stream();
        for step in 1..=bytes.len() {
            let (mut search, mut found) = (Search::new(), Vec::new());
            for piece in bytes.chunks(step) {
                search.feed(piece, |stamp| found.push(stamp));
                assert!(search.buffer.len() < PAYLOAD_BYTES);
            }
            assert_eq!(found, stamps, "pieces of {step}");
        }
    }

    #[test]
    fn a_stamp_is_a_legal_nal_unit() {
        let mut unit = Vec::new();
        Stamp { nanos: 0, number: 0 }.emit(&mut unit);
        assert_eq!(unit[..4], (unit.len() as u32 - 4).to_be_bytes());
        assert_eq!(usize::from(unit[6]), unit.len() - 4 - 3 - 1);
        assert!(
            unit[4..]
                .windows(3)
                .all(|three| three[0] != 0 || three[1] != 0 || three[2] > 3)
        );
    }

    #[test]
    fn damaged_digits_are_no_stamp() {
        let mut bytes = Vec::new();
        Stamp { nanos: 1, number: 1 }.emit(&mut bytes);
        bytes[4 + 3 + 16] = b'x';
        let mut found = 0;
        Search::new().feed(&bytes, |_| found += 1);
        assert_eq!(found, 0);
    }
}
