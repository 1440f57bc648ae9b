//! An RTP packet (RFC 3550, 5.1): header, contributing sources, extension, padding.

use crate::rtp::Error;

/// Bytes of a header without contributing sources and extension.
pub const HEAD_BYTES: usize = 12;

/// One packet, lent. Contributing sources and extensions are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    /// Without padding; may be empty.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let field = "RTP header";
        let truncated = Error::Truncated { field, offset: 0 };
        let (head, mut payload) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(truncated)?;
        check_version(head[0])?;
        let mut offset = HEAD_BYTES;
        let mut skip = |count: usize, field: &'static str, payload: &mut &'a [u8]| {
            *payload = payload.get(count..).ok_or(Error::Truncated { field, offset })?;
            offset += count;
            Ok(())
        };
        skip(usize::from(head[0] & 0x0f) * 4, "CSRC list", &mut payload)?;
        if head[0] & EXTENSION != 0 {
            let words = payload
                .get(2..4)
                .map_or(0, |words| u16::from_be_bytes([words[0], words[1]]));
            skip(4 + usize::from(words) * 4, "header extension", &mut payload)?;
        }
        if head[0] & PADDING != 0 {
            let padding = payload.last().copied().unwrap_or(0);
            let kept = payload.len().checked_sub(padding.into()).filter(|_| padding > 0);
            payload = &payload[..kept.ok_or(Error::Illegal {
                field: "padding",
                value: padding.into(),
                offset: bytes.len() - 1,
            })?];
        }
        Ok(Packet {
            marker: head[1] & MARKER != 0,
            payload_type: head[1] & !MARKER,
            sequence: u16::from_be_bytes([head[2], head[3]]),
            timestamp: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            ssrc: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
            payload,
        })
    }

    /// Appends the header.
    pub fn emit_head(&self, out: &mut Vec<u8>) {
        debug_assert!(self.payload_type < 128);
        out.push(VERSION);
        out.push(u8::from(self.marker) << 7 | self.payload_type);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
    }

    /// Appends header and payload.
    pub fn emit(&self, out: &mut Vec<u8>) {
        self.emit_head(out);
        out.extend_from_slice(self.payload);
    }
}

/// Whether bytes are RTCP where RTP is expected: what shares a port with it, and what cameras send to the wrong one (RFC 5761,
/// section 4: the second byte tells them apart).
pub fn is_rtcp(bytes: &[u8]) -> bool {
    bytes.len() >= 8 && bytes[0] & 0xc0 == VERSION && (192..=223).contains(&bytes[1])
}

pub(super) fn check_version(first: u8) -> Result<(), Error> {
    match first & 0xc0 {
        VERSION => Ok(()),
        other => Err(Error::Illegal {
            field: "version",
            value: u32::from(other >> 6),
            offset: 0,
        }),
    }
}

/// 2, in its place.
pub(super) const VERSION: u8 = 2 << 6;
pub(super) const PADDING: u8 = 1 << 5;
const EXTENSION: u8 = 1 << 4;
const MARKER: u8 = 1 << 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::cases::hex;

    const PLAIN: Packet<'static> = Packet {
        marker: true,
        payload_type: 96,
        sequence: 0x1234,
        timestamp: 0xfffe_fdfc,
        ssrc: 0x0a0b_0c0d,
        payload: b"abc",
    };

    #[test]
    fn what_is_emitted_is_parsed() {
        let mut bytes = Vec::new();
        PLAIN.emit(&mut bytes);
        assert_eq!(bytes, hex("80e01234fffefdfc0a0b0c0d616263"));
        assert_eq!(Packet::parse(&bytes), Ok(PLAIN));
    }

    #[test]
    fn sources_extensions_and_padding_are_passed_over() {
        let head = "e01234fffefdfc0a0b0c0d";
        for (first, behind) in [
            ("80", "616263".to_owned()),
            ("81", format!("{}616263", "11".repeat(4))),
            // 15 of them: a mask of four bits.
            ("8f", format!("{}616263", "22".repeat(60))),
            ("90", format!("bede0002{}616263", "33".repeat(8))),
            ("90", "bede0000616263".to_owned()),
            ("91", format!("{}bede0001{}616263", "11".repeat(4), "33".repeat(4))),
            ("a0", "61626301".to_owned()),
            (
                "bf",
                format!("{}bede0001{}616263000003", "22".repeat(60), "33".repeat(4)),
            ),
        ] {
            let bytes = hex(&format!("{first}{head}{behind}"));
            assert_eq!(Packet::parse(&bytes), Ok(PLAIN), "{first}");
        }
        let only_padding = hex(&format!("a0{head}000003"));
        assert_eq!(Packet::parse(&only_padding).unwrap().payload, b"");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let head = "e01234fffefdfc0a0b0c0d";
        let illegal = |value, offset| Error::Illegal {
            field: "padding",
            value,
            offset,
        };
        let truncated = |field, offset| Error::Truncated { field, offset };
        for (bytes, expected) in [
            (String::new(), truncated("RTP header", 0)),
            (format!("80{}", &head[..20]), truncated("RTP header", 0)),
            (format!("82{head}00000000000000"), truncated("CSRC list", 12)),
            (format!("90{head}bede00"), truncated("header extension", 12)),
            (format!("90{head}bede000200000000"), truncated("header extension", 12)),
            (format!("a0{head}6100"), illegal(0, 13)),
            (format!("a0{head}6103"), illegal(3, 13)),
            (format!("a0{head}"), illegal(0, 11)),
        ] {
            assert_eq!(Packet::parse(&hex(&bytes)), Err(expected), "{bytes}");
        }
        for first in ["00", "40", "c0"] {
            let refused = Packet::parse(&hex(&format!("{first}{head}"))).unwrap_err();
            assert!(matches!(refused, Error::Illegal { field: "version", .. }), "{first}");
        }
    }

    #[test]
    fn rtcp_is_told_from_rtp() {
        assert!(is_rtcp(&hex("80c8000600000001")));
        assert!(is_rtcp(&hex("81cb000100000001")));
        assert!(!is_rtcp(&hex("80e0123400000001")));
        assert!(!is_rtcp(&hex("00c8000600000001")));
        assert!(!is_rtcp(&hex("80c80006")));
    }
}
