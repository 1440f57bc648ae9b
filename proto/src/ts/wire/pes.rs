//! The head of a PES packet (2.4.3.6): stream id, length, PTS and DTS.

use super::STAMP_MODULUS;
use crate::ts::Error;
use crate::ts::limits::PES_LENGTH_MAX;

pub const STREAM_PRIVATE_1: u8 = 0xbd;
pub const STREAM_AUDIO: u8 = 0xc0;
pub const STREAM_VIDEO: u8 = 0xe0;

/// Of the longest head that [`Head::put`] writes.
pub const HEAD_BYTES_MAX: usize = 9 + 5 + 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub stream_id: u8,
    /// `data_alignment_indicator`
    pub aligned: bool,
    /// Below 2^33.
    pub pts: Option<u64>,
    /// Present only where it differs from the PTS, and never without one.
    pub dts: Option<u64>,
}

/// A head that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    pub head: Head,
    /// Before the first byte of the elementary stream.
    pub head_bytes: usize,
    /// Bytes of the elementary stream; absent where PES_packet_length is 0.
    pub payload_bytes: Option<usize>,
}

impl Head {
    /// Bytes that [`Head::put`] writes.
    pub fn bytes(&self) -> usize {
        9 + 5 * (usize::from(self.pts.is_some()) + usize::from(self.dts.is_some()))
    }

    /// Whether a payload of that length can be stated. Only video may be sent with length 0.
    pub fn can_state(&self, payload_bytes: usize) -> bool {
        payload_bytes + self.bytes() - 6 <= PES_LENGTH_MAX
    }

    /// Appends the head of a PES packet with `payload_bytes` of elementary stream; above 65,535 the length is 0, "until
    /// the next one begins".
    pub fn put(&self, out: &mut Vec<u8>, payload_bytes: usize) {
        debug_assert!(self.dts.is_none() || self.pts.is_some());
        let begin = out.len();
        let stated = if self.can_state(payload_bytes) {
            payload_bytes + self.bytes() - 6
        } else {
            0
        };
        let [high, low] = (stated as u16).to_be_bytes();
        out.extend_from_slice(&[0, 0, 1, self.stream_id, high, low]);
        let stamps = u8::from(self.pts.is_some()) << 7 | u8::from(self.dts.is_some()) << 6;
        out.extend_from_slice(&[0x80 | u8::from(self.aligned) << 2, stamps, (self.bytes() - 9) as u8]);
        if let Some(pts) = self.pts {
            put_stamp(out, if self.dts.is_some() { 3 } else { 2 }, pts);
        }
        if let Some(dts) = self.dts {
            put_stamp(out, 1, dts);
        }
        debug_assert_eq!(out.len() - begin, self.bytes());
    }

    /// States the length of a PES packet that [`Head::put`] began with no payload and that is whole by now.
    pub fn close(&self, packet: &mut [u8]) {
        let stated = packet.len() - 6;
        let stated = if stated > PES_LENGTH_MAX { 0 } else { stated as u16 };
        packet[4..6].copy_from_slice(&stated.to_be_bytes());
    }

    /// Reads the head of a PES packet of one of the stream ids that have the long form.
    pub fn parse(bytes: &[u8]) -> Result<Parsed, Error> {
        let at = |offset: usize, field| bytes.get(offset).copied().ok_or(Error::Truncated { field, offset });
        let prefix = [at(0, PREFIX)?, at(1, PREFIX)?, at(2, PREFIX)?];
        if prefix != [0, 0, 1] {
            let value = prefix.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
            return Err(Error::Illegal {
                field: PREFIX,
                value,
                offset: 0,
            });
        }
        let stream_id = at(3, "stream_id")?;
        let stated = usize::from(u16::from_be_bytes([
            at(4, "PES_packet_length")?,
            at(5, "PES_packet_length")?,
        ]));
        let marks = at(6, "PES_scrambling_control")?;
        if marks >> 6 != 2 {
            return Err(Error::Illegal {
                field: "'10'",
                value: (marks >> 6).into(),
                offset: 6,
            });
        }
        let flags = at(7, "PTS_DTS_flags")?;
        let rest = usize::from(at(8, "PES_header_data_length")?);
        let (pts, dts) = match flags >> 6 {
            0 => (None, None),
            2 => (Some(parse_stamp(bytes, 9, 2)?), None),
            3 => (Some(parse_stamp(bytes, 9, 3)?), Some(parse_stamp(bytes, 14, 1)?)),
            value => {
                return Err(Error::Illegal {
                    field: "PTS_DTS_flags",
                    value: value.into(),
                    offset: 7,
                });
            }
        };
        let stamps = 5 * (usize::from(pts.is_some()) + usize::from(dts.is_some()));
        if rest < stamps {
            return Err(Error::Illegal {
                field: "PES_header_data_length",
                value: rest as u64,
                offset: 8,
            });
        }
        // other optional fields stand where stuffing would
        if flags & 0x3f == 0 {
            check_stuffing(bytes, 9 + stamps, 9 + rest)?;
        }
        let payload_bytes = match stated {
            0 => None,
            _ => Some(stated.checked_sub(3 + rest).ok_or(Error::Illegal {
                field: "PES_packet_length",
                value: stated as u64,
                offset: 4,
            })?),
        };
        Ok(Parsed {
            head: Head {
                stream_id,
                aligned: marks & 0x04 != 0,
                pts,
                dts,
            },
            head_bytes: 9 + rest,
            payload_bytes,
        })
    }
}

fn check_stuffing(bytes: &[u8], begin: usize, end: usize) -> Result<(), Error> {
    let field = "stuffing_byte";
    let stuffing = bytes.get(begin..end).ok_or(Error::Truncated { field, offset: begin })?;
    match stuffing.iter().enumerate().find(|&(_, &byte)| byte != 0xff) {
        Some((index, &found)) => Err(Error::Stuffing {
            offset: begin + index,
            found,
        }),
        None => Ok(()),
    }
}

fn put_stamp(out: &mut Vec<u8>, prefix: u8, value: u64) {
    debug_assert!(value < STAMP_MODULUS as u64);
    // 4 bits prefix, 3 + 15 + 15 bits, a one behind each part
    let word = u64::from(prefix) << 36
        | (value >> 30) << 33
        | 1 << 32
        | (value >> 15 & 0x7fff) << 17
        | 1 << 16
        | (value & 0x7fff) << 1
        | 1;
    out.extend_from_slice(&word.to_be_bytes()[3..]);
}

fn parse_stamp(bytes: &[u8], offset: usize, prefix: u64) -> Result<u64, Error> {
    let field = if prefix == 1 { "DTS" } else { "PTS" };
    let bytes = bytes
        .get(offset..offset + 5)
        .ok_or(Error::Truncated { field, offset })?;
    let word = bytes.iter().fold(0u64, |word, &byte| word << 8 | u64::from(byte));
    if word >> 36 != prefix || word & 0x1_0001_0001 != 0x1_0001_0001 {
        return Err(Error::Illegal {
            field,
            value: word,
            offset,
        });
    }
    Ok((word >> 33 & 7) << 30 | (word >> 17 & 0x7fff) << 15 | (word >> 1 & 0x7fff))
}

const PREFIX: &str = "packet_start_code_prefix";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emit_then_parse_gives_the_head_back() {
        let top = STAMP_MODULUS as u64 - 1;
        for (pts, dts) in [
            (None, None),
            (Some(0x1_5555_5555), None),
            (Some(top), Some(0)),
            (Some(1), Some(top)),
        ] {
            for payload_bytes in [0, 1, 65_516, 65_535, 70_000] {
                let head = Head {
                    stream_id: STREAM_VIDEO,
                    aligned: true,
                    pts,
                    dts,
                };
                let mut out = Vec::new();
                head.put(&mut out, payload_bytes);
                let parsed = Head::parse(&out).unwrap();
                assert_eq!((parsed.head, parsed.head_bytes), (head, out.len()));
                let stated = payload_bytes + 3 + out.len() - 9 <= 65_535;
                assert_eq!(parsed.payload_bytes, stated.then_some(payload_bytes));

                let mut closed = Vec::new();
                head.put(&mut closed, 0);
                closed.resize(closed.len() + payload_bytes, 0);
                head.close(&mut closed);
                assert_eq!(closed[..out.len()], out);
            }
        }
    }

    #[test]
    fn the_bits_are_those_of_table_2_21() {
        let mut out = Vec::new();
        let head = Head {
            stream_id: STREAM_AUDIO,
            aligned: false,
            pts: Some(0x1_ffff_ffff),
            dts: None,
        };
        head.put(&mut out, 2);
        assert_eq!(out, [0, 0, 1, 0xc0, 0, 10, 0x80, 0x80, 5, 0x2f, 0xff, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn illegal_heads_say_where() {
        let mut good = Vec::new();
        Head {
            stream_id: STREAM_VIDEO,
            aligned: true,
            pts: Some(9),
            dts: Some(7),
        }
        .put(&mut good, 100);
        let cases = [
            (0usize, 1u8, 0usize),
            (6, 0x40, 6),
            (7, 0x40, 7),
            (8, 9, 8),
            (9, 0x21, 9),
            (14, 0x21, 14),
            (5, 12, 4),
        ];
        for (offset, value, expected) in cases {
            let mut bytes = good.clone();
            bytes[offset] = value;
            match Head::parse(&bytes) {
                Err(Error::Illegal { offset, .. }) => assert_eq!(offset, expected),
                other => panic!("{offset}: {other:?}"),
            }
        }
        for length in 0..good.len() {
            assert!(
                matches!(Head::parse(&good[..length]), Err(Error::Truncated { .. })),
                "{length}"
            );
        }
    }
}
