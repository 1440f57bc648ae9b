//! The transport packet (2.4.3.2), its adaptation field (2.4.3.4) and the PCR.

use super::PACKET_BYTES;
use crate::ts::Error;

/// Behind the four bytes of a packet's head.
const BODY_BYTES: usize = PACKET_BYTES - 4;

/// Ticks after which a PCR begins again: 33 bits of 300.
pub const PCR_MODULUS: i64 = (1 << 33) * 300;

/// A sample of the 27 MHz clock, below [`PCR_MODULUS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pcr(u64);

impl Pcr {
    /// From any count of 27 MHz ticks, modulo 2^33 * 300.
    pub fn new(ticks: i64) -> Self {
        Pcr(ticks.rem_euclid(PCR_MODULUS) as u64)
    }

    pub fn ticks(self) -> u64 {
        self.0
    }

    /// `program_clock_reference_base`, 90 kHz.
    pub fn base(self) -> u64 {
        self.0 / 300
    }

    fn bytes(self) -> [u8; 6] {
        let word = (self.base() << 15) | (0x3f << 9) | (self.0 % 300);
        let [_, _, bytes @ ..] = word.to_be_bytes();
        bytes
    }

    fn parse(bytes: [u8; 6], offset: usize) -> Result<Self, Error> {
        let word = bytes.iter().fold(0u64, |word, &byte| word << 8 | u64::from(byte));
        let extension = word & 0x1ff;
        if extension >= 300 {
            return Err(Error::Illegal {
                field: "program_clock_reference_extension",
                value: extension,
                offset,
            });
        }
        Ok(Pcr((word >> 15) * 300 + extension))
    }
}

/// What an adaptation field says, as far as we write it. Other parts are checked for their length and passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adaptation {
    pub discontinuity: bool,
    pub random_access: bool,
    pub pcr: Option<Pcr>,
}

impl Adaptation {
    /// Bytes of the field with its length byte, without stuffing; 0 when there is nothing to say.
    fn bytes(&self) -> usize {
        match self {
            Adaptation { pcr: Some(_), .. } => 8,
            Adaptation {
                discontinuity: false,
                random_access: false,
                ..
            } => 0,
            _ => 2,
        }
    }

    fn flags(&self) -> u8 {
        u8::from(self.discontinuity) << 7 | u8::from(self.random_access) << 6 | u8::from(self.pcr.is_some()) << 4
    }
}

/// One packet, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    pub transport_error: bool,
    /// `payload_unit_start_indicator`
    pub start: bool,
    pub pid: u16,
    pub scrambling: u8,
    pub counter: u8,
    pub adaptation: Option<Adaptation>,
    /// Absent in adaptation-only packets.
    pub payload: Option<&'a [u8]>,
}

/// Reads the head only: for who wants the PID of a packet that is otherwise wrong.
pub fn pid(bytes: &[u8; PACKET_BYTES]) -> u16 {
    u16::from_be_bytes([bytes[1], bytes[2]]) & 0x1fff
}

/// Reads one packet; everything in it must be legal, stuffing included.
pub fn parse(bytes: &[u8; PACKET_BYTES]) -> Result<Packet<'_>, Error> {
    if bytes[0] != SYNC {
        return Err(Error::Sync { found: bytes[0] });
    }
    let with_payload = bytes[3] & 0x10 != 0;
    let with_adaptation = bytes[3] & 0x20 != 0;
    let (adaptation, begin) = match (with_adaptation, with_payload) {
        (false, false) => return Err(Error::NoContent),
        (false, true) => (None, 4),
        (true, with_payload) => {
            let length = usize::from(bytes[4]);
            // 2.4.3.5: 0 to 182 before a payload, exactly 183 without
            let right = if with_payload {
                length < BODY_BYTES - 1
            } else {
                length == BODY_BYTES - 1
            };
            if !right {
                let bytes_max = BODY_BYTES - 1 - usize::from(with_payload);
                return Err(Error::AdaptationLength {
                    bytes: length,
                    bytes_max,
                });
            }
            (Some(parse_adaptation(&bytes[5..5 + length], 5)?), 5 + length)
        }
    };
    Ok(Packet {
        transport_error: bytes[1] & 0x80 != 0,
        start: bytes[1] & 0x40 != 0,
        pid: pid(bytes),
        scrambling: bytes[3] >> 6,
        counter: bytes[3] & 0x0f,
        adaptation,
        payload: with_payload.then(|| &bytes[begin..]),
    })
}

fn parse_adaptation(field: &[u8], offset: usize) -> Result<Adaptation, Error> {
    let mut adaptation = Adaptation::default();
    let Some((&flags, mut rest)) = field.split_first() else {
        return Ok(adaptation);
    };
    adaptation.discontinuity = flags & 0x80 != 0;
    adaptation.random_access = flags & 0x40 != 0;
    let mut take = |bytes: usize, name: &'static str| {
        let offset = offset + field.len() - rest.len();
        let (taken, behind) = rest
            .split_at_checked(bytes)
            .ok_or(Error::Truncated { field: name, offset })?;
        rest = behind;
        Ok::<_, Error>((taken, offset))
    };
    if flags & 0x10 != 0 {
        let (bytes, offset) = take(6, "program_clock_reference")?;
        let bytes = bytes.try_into().expect("six bytes were taken");
        adaptation.pcr = Some(Pcr::parse(bytes, offset)?);
    }
    if flags & 0x08 != 0 {
        take(6, "original_program_clock_reference")?;
    }
    if flags & 0x04 != 0 {
        take(1, "splice_countdown")?;
    }
    if flags & 0x02 != 0 {
        let (length, _) = take(1, "transport_private_data_length")?;
        take(length[0].into(), "private_data_byte")?;
    }
    if flags & 0x01 != 0 {
        let (length, _) = take(1, "adaptation_field_extension_length")?;
        take(length[0].into(), "adaptation_field_extension")?;
    }
    let offset = offset + field.len() - rest.len();
    match rest.iter().enumerate().find(|&(_, &byte)| byte != 0xff) {
        Some((index, &found)) => Err(Error::Stuffing {
            offset: offset + index,
            found,
        }),
        None => Ok(adaptation),
    }
}

/// The four bytes before all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub pid: u16,
    /// `payload_unit_start_indicator`
    pub start: bool,
    /// Modulo 16.
    pub counter: u8,
}

/// Appends one packet with as much of `payload` as fits, stuffed by its adaptation field to 188 bytes, and says how many
/// bytes of `payload` it took. Without payload the packet is adaptation-only.
pub fn put(out: &mut Vec<u8>, head: Head, adaptation: &Adaptation, payload: &[u8]) -> usize {
    debug_assert!(head.pid <= 0x1fff && head.counter < 16);
    let said = adaptation.bytes();
    let taken = payload.len().min(BODY_BYTES - said);
    let field = BODY_BYTES - taken;
    let [high, low] = (head.pid | u16::from(head.start) << 14).to_be_bytes();
    let control = u8::from(field > 0) << 5 | u8::from(taken > 0) << 4;
    out.extend_from_slice(&[SYNC, high, low, control | head.counter]);
    if field > 0 {
        out.push((field - 1) as u8);
    }
    if field > 1 {
        out.push(adaptation.flags());
        let mut written = 2;
        if let Some(pcr) = adaptation.pcr {
            out.extend_from_slice(&pcr.bytes());
            written += 6;
        }
        out.extend_from_slice(&STUFFING[..field - written]);
    }
    out.extend_from_slice(&payload[..taken]);
    taken
}

/// Packets that [`put`] makes of `payload_bytes`, the first of them with `adaptation`.
pub fn count(adaptation: &Adaptation, payload_bytes: usize) -> usize {
    let first = BODY_BYTES - adaptation.bytes();
    1 + payload_bytes.saturating_sub(first).div_ceil(BODY_BYTES)
}

const SYNC: u8 = 0x47;

pub(super) const STUFFING: [u8; BODY_BYTES] = [0xff; BODY_BYTES];

#[cfg(test)]
mod tests {
    use super::*;

    fn emitted(adaptation: Adaptation, payload: &[u8]) -> (Vec<u8>, usize) {
        let mut out = Vec::new();
        let head = Head {
            pid: 0x100,
            start: true,
            counter: 9,
        };
        let taken = put(&mut out, head, &adaptation, payload);
        (out, taken)
    }

    #[test]
    fn emit_then_parse_gives_the_packet_back_at_every_length() {
        let payload: Vec<u8> = (0..200u8).collect();
        let pcr = Some(Pcr::new(0x1_2345_6789 * 300 + 299));
        for adaptation in [
            Adaptation::default(),
            Adaptation {
                random_access: true,
                ..Default::default()
            },
            Adaptation {
                discontinuity: true,
                random_access: false,
                pcr,
            },
        ] {
            for length in 0..200 {
                let (bytes, taken) = emitted(adaptation, &payload[..length]);
                assert_eq!(bytes.len(), PACKET_BYTES);
                assert_eq!(taken, length.min(BODY_BYTES - adaptation.bytes()));
                let packet = parse(bytes[..].try_into().unwrap()).unwrap();
                assert_eq!((packet.pid, packet.start, packet.counter), (0x100, true, 9));
                assert_eq!(packet.payload, (taken > 0).then(|| &payload[..taken]));
                assert_eq!(packet.adaptation.unwrap_or_default(), adaptation);
                assert_eq!(packet.adaptation.is_some(), taken < BODY_BYTES);
            }
        }
    }

    #[test]
    fn a_pcr_is_33_bits_of_300_ticks() {
        assert_eq!(Pcr::new(-1).base(), (1 << 33) - 1);
        assert_eq!(Pcr::new(PCR_MODULUS + 301).ticks(), 301);
        // base 1, extension 1: 33 bits, six reserved ones, 9 bits
        assert_eq!(Pcr::new(301).bytes(), [0, 0, 0, 0, 0xfe, 0x01]);
        assert_eq!(Pcr::parse(Pcr::new(-1).bytes(), 0), Ok(Pcr::new(-1)));
        let illegal = Pcr::parse([0, 0, 0, 0, 0x7f, 0x2c], 6).unwrap_err();
        assert!(matches!(
            illegal,
            Error::Illegal {
                value: 300,
                offset: 6,
                ..
            }
        ));
    }

    #[test]
    fn illegal_packets_say_what_is_wrong() {
        let pcr = Adaptation {
            pcr: Some(Pcr::new(5)),
            ..Default::default()
        };
        let cases: [(&str, usize, u8, Error); 7] = [
            ("sync", 0, 0x48, Error::Sync { found: 0x48 }),
            ("control", 3, 0x09, Error::NoContent),
            (
                "length",
                4,
                183,
                Error::AdaptationLength {
                    bytes: 183,
                    bytes_max: 182,
                },
            ),
            (
                "only",
                3,
                0x29,
                Error::AdaptationLength {
                    bytes: 83,
                    bytes_max: 183,
                },
            ),
            ("stuffing", 40, 0, Error::Stuffing { offset: 40, found: 0 }),
            ("opcr", 5, 0x18, Error::Stuffing { offset: 100, found: 0 }),
            (
                "private",
                5,
                0x12,
                Error::Truncated {
                    field: "private_data_byte",
                    offset: 13,
                },
            ),
        ];
        for (name, offset, value, expected) in cases {
            let (mut bytes, _) = emitted(pcr, &[1; 100]);
            bytes[offset] = value;
            if name == "opcr" {
                bytes[12..18].fill(0xff);
                bytes[87] = 0xff;
                // a splice countdown is any byte, stuffing is not
                let packet = parse(bytes[..].try_into().unwrap()).unwrap();
                assert_eq!(packet.payload.unwrap().len(), 100);
                continue;
            }
            assert_eq!(parse(bytes[..].try_into().unwrap()).unwrap_err(), expected, "{name}");
        }
    }
}
