//! Compound RTCP packets (RFC 3550, 6): sender and receiver reports, names, goodbyes. What is of another type is skipped by its
//! length.

use super::packet::{PADDING, VERSION, check_version};
use crate::rtp::Error;

/// A point of an NTP clock: seconds since 1900 in the upper 32 bits, fractions of 2^-32 s in the lower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ntp(pub u64);

impl Ntp {
    /// `micros` since 1970.
    pub fn from_unix_micros(micros: i64) -> Self {
        let since_1900 = i128::from(micros) + i128::from(UNIX_SECONDS) * 1_000_000;
        Ntp((since_1900 << 32).div_euclid(1_000_000) as u64)
    }

    /// µs since 1900, rounded down.
    pub fn micros(self) -> i64 {
        ((u128::from(self.0) * 1_000_000) >> 32) as i64
    }

    /// µs since 1970, rounded down. Below zero for a peer that does not know what day it is.
    pub fn unix_micros(self) -> i64 {
        self.micros() - UNIX_SECONDS as i64 * 1_000_000
    }

    /// The middle 32 bits, as reports cite it.
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// 1970 in seconds since 1900.
const UNIX_SECONDS: u64 = 2_208_988_800;

/// What a sender says of its stream (6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    pub ssrc: u32,
    pub ntp: Ntp,
    /// The same moment.
    pub rtp_time: u32,
    pub packets: u32,
    pub octets: u32,
}

/// What a receiver says of a stream (6.4.1, the report block).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Whose stream.
    pub ssrc: u32,
    /// Of 256, since the last report.
    pub fraction_lost: u8,
    /// Since the beginning; what came twice is taken off. 24 bits with sign.
    pub lost: i32,
    /// Highest sequence number, with the wraps above it.
    pub sequence: u32,
    /// In RTP time.
    pub jitter: u32,
    /// [`Ntp::middle`] of the last sender report, 0 without one.
    pub last_report: u32,
    /// Since then, in 1/65,536 s.
    pub delay: u32,
}

/// One packet of a compound one, lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    SenderReport(SenderReport, Blocks<'a>),
    ReceiverReport {
        ssrc: u32,
        blocks: Blocks<'a>,
    },
    /// CNAME of a source description.
    Name {
        ssrc: u32,
        name: &'a [u8],
    },
    /// Of its first source.
    Goodbye {
        ssrc: u32,
    },
    /// Skipped: of another type, or a description without CNAME.
    Other {
        packet_type: u8,
    },
}

/// Report blocks, lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks<'a> {
    bytes: &'a [u8],
}

impl Iterator for Blocks<'_> {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        let (block, rest) = self.bytes.split_first_chunk::<BLOCK_BYTES>()?;
        self.bytes = rest;
        let lost = word(block, 4) & 0x00ff_ffff;
        Some(Block {
            ssrc: word(block, 0),
            fraction_lost: block[4],
            // The sign is the 24th bit.
            lost: (lost << 8).cast_signed() >> 8,
            sequence: word(block, 8),
            jitter: word(block, 12),
            last_report: word(block, 16),
            delay: word(block, 20),
        })
    }
}

/// The parts of a compound packet. An error is the last one.
pub fn parts(bytes: &[u8]) -> Parts<'_> {
    Parts { rest: bytes, offset: 0 }
}

#[derive(Clone, Debug)]
pub struct Parts<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<Part<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let part = self.part();
        if part.is_err() {
            self.rest = &[];
        }
        Some(part)
    }
}

impl<'a> Parts<'a> {
    fn part(&mut self) -> Result<Part<'a>, Error> {
        let offset = self.offset;
        let truncated = |field| Error::Truncated { field, offset };
        let head = self.rest.first_chunk::<4>().ok_or(truncated("RTCP header"))?;
        check_version(head[0])?;
        let bytes = 4 + usize::from(u16::from_be_bytes([head[2], head[3]])) * 4;
        let (packet, rest) = self.rest.split_at_checked(bytes).ok_or(truncated("RTCP packet"))?;
        (self.rest, self.offset) = (rest, offset + bytes);
        let mut body = &packet[4..];
        if head[0] & PADDING != 0 {
            let padding = body.last().copied().unwrap_or(0);
            let kept = body.len().checked_sub(padding.into()).filter(|_| padding > 0);
            body = &body[..kept.ok_or(Error::Illegal {
                field: "padding",
                value: padding.into(),
                offset: offset + bytes - 1,
            })?];
        }
        let count = usize::from(head[0] & 0x1f);
        Ok(match head[1] {
            SENDER_REPORT => {
                let (report, rest) = body.split_first_chunk::<24>().ok_or(truncated("sender report"))?;
                let blocks = blocks(count, rest).ok_or(truncated("report block"))?;
                Part::SenderReport(sender_report(report), blocks)
            }
            RECEIVER_REPORT => {
                let (ssrc, rest) = body.split_first_chunk::<4>().ok_or(truncated("receiver report"))?;
                Part::ReceiverReport {
                    ssrc: word(ssrc, 0),
                    blocks: blocks(count, rest).ok_or(truncated("report block"))?,
                }
            }
            DESCRIPTION if count > 0 => cname(body).ok_or(truncated("source description"))?,
            GOODBYE if count > 0 => {
                let ssrc = body.first_chunk::<4>().ok_or(truncated("goodbye"))?;
                Part::Goodbye { ssrc: word(ssrc, 0) }
            }
            packet_type => Part::Other { packet_type },
        })
    }
}

fn sender_report(report: &[u8; 24]) -> SenderReport {
    SenderReport {
        ssrc: word(report, 0),
        ntp: Ntp(u64::from(word(report, 4)) << 32 | u64::from(word(report, 8))),
        rtp_time: word(report, 12),
        packets: word(report, 16),
        octets: word(report, 20),
    }
}

fn blocks(count: usize, bytes: &[u8]) -> Option<Blocks<'_>> {
    let bytes = bytes.get(..count * BLOCK_BYTES)?;
    Some(Blocks { bytes })
}

/// The CNAME of the first chunk (6.5).
fn cname(body: &[u8]) -> Option<Part<'_>> {
    let (ssrc, mut items) = body.split_first_chunk::<4>()?;
    loop {
        // The chunk's end, also without the zero that belongs there.
        let Some((&kind, rest)) = items.split_first().filter(|(kind, _)| **kind != 0) else {
            let packet_type = DESCRIPTION;
            return Some(Part::Other { packet_type });
        };
        let (&length, rest) = rest.split_first()?;
        let (text, rest) = rest.split_at_checked(length.into())?;
        if kind == CNAME {
            return Some(Part::Name {
                ssrc: word(ssrc, 0),
                name: text,
            });
        }
        items = rest;
    }
}

/// Appends a sender report without report blocks.
pub fn emit_sender_report(report: &SenderReport, out: &mut Vec<u8>) {
    emit_head(0, SENDER_REPORT, 6, out);
    out.extend_from_slice(&report.ssrc.to_be_bytes());
    out.extend_from_slice(&report.ntp.0.to_be_bytes());
    for value in [report.rtp_time, report.packets, report.octets] {
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Appends a receiver report of `ssrc`; at most 31 blocks.
pub fn emit_receiver_report(ssrc: u32, blocks: &[Block], out: &mut Vec<u8>) {
    assert!(blocks.len() <= 31, "the count has five bits");
    emit_head(
        blocks.len() as u8,
        RECEIVER_REPORT,
        1 + blocks.len() * BLOCK_BYTES / 4,
        out,
    );
    out.extend_from_slice(&ssrc.to_be_bytes());
    for block in blocks {
        let lost = block.lost.clamp(-0x80_0000, 0x7f_ffff).cast_unsigned() & 0x00ff_ffff;
        let lost = u32::from(block.fraction_lost) << 24 | lost;
        for value in [
            block.ssrc,
            lost,
            block.sequence,
            block.jitter,
            block.last_report,
            block.delay,
        ] {
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

/// Appends a source description with the CNAME alone. A name of more than 255 bytes is cut.
pub fn emit_name(ssrc: u32, name: &str, out: &mut Vec<u8>) {
    let name = &name.as_bytes()[..name.len().min(255)];
    // One to four zeros end the chunk.
    let zeros = 4 - (2 + name.len()) % 4;
    emit_head(1, DESCRIPTION, 1 + (2 + name.len() + zeros) / 4, out);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[CNAME, name.len() as u8]);
    out.extend_from_slice(name);
    out.extend_from_slice(&[0; 4][..zeros]);
}

/// Appends the goodbye of one source.
pub fn emit_goodbye(ssrc: u32, out: &mut Vec<u8>) {
    emit_head(1, GOODBYE, 1, out);
    out.extend_from_slice(&ssrc.to_be_bytes());
}

fn emit_head(count: u8, packet_type: u8, words: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION | count, packet_type]);
    out.extend_from_slice(&(words as u16).to_be_bytes());
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const CNAME: u8 = 1;
const BLOCK_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::cases::hex;

    const REPORT: SenderReport = SenderReport {
        ssrc: 0x0102_0304,
        ntp: Ntp(0xe8f0_0000_8000_0000),
        rtp_time: 0xdead_beef,
        packets: 10,
        octets: 2_000,
    };

    fn all(bytes: &[u8]) -> Vec<Result<Part<'_>, Error>> {
        parts(bytes).collect()
    }

    #[test]
    fn what_is_emitted_is_parsed() {
        let blocks = [-3, 0, 70_000, i32::MAX, i32::MIN].map(|lost| Block {
            ssrc: 7,
            fraction_lost: 200,
            lost,
            sequence: 0x1_2345,
            jitter: 99,
            last_report: REPORT.ntp.middle(),
            delay: 65_536,
        });
        let mut bytes = Vec::new();
        emit_sender_report(&REPORT, &mut bytes);
        emit_receiver_report(9, &blocks, &mut bytes);
        for name in ["", "a", "ab", "penstock", "penstock@10.0.0.1"] {
            emit_name(9, name, &mut bytes);
        }
        emit_goodbye(9, &mut bytes);
        assert_eq!(bytes.len() % 4, 0);
        let mut found = parts(&bytes).map(Result::unwrap);
        let Some(Part::SenderReport(report, mut none)) = found.next() else {
            panic!("no sender report")
        };
        assert_eq!((report, none.next()), (REPORT, None));
        let Some(Part::ReceiverReport { ssrc: 9, blocks: read }) = found.next() else {
            panic!("no receiver report")
        };
        let clamped = blocks.map(|block| Block {
            lost: block.lost.clamp(-0x80_0000, 0x7f_ffff),
            ..block
        });
        assert_eq!(read.collect::<Vec<_>>(), clamped);
        for name in ["", "a", "ab", "penstock", "penstock@10.0.0.1"] {
            let name = name.as_bytes();
            assert_eq!(found.next(), Some(Part::Name { ssrc: 9, name }));
        }
        assert_eq!(found.next(), Some(Part::Goodbye { ssrc: 9 }));
        assert_eq!(found.next(), None);
    }

    #[test]
    fn what_is_unknown_is_skipped_by_its_length() {
        // Extended report, description with NAME before CNAME, one without, padded goodbye, application.
        let bytes = hex(&[
            "80cf000200000001000000ff",
            "81ca000400000001020361626301017a00000000",
            "81ca00020000000102016100",
            "a1cb00020000000500000004",
            "80cc00020000000161626364",
        ]
        .concat());
        let other = |packet_type| Ok(Part::Other { packet_type });
        let expected = [
            other(207),
            Ok(Part::Name { ssrc: 1, name: b"z" }),
            other(DESCRIPTION),
            Ok(Part::Goodbye { ssrc: 5 }),
            other(204),
        ];
        assert_eq!(all(&bytes), expected);
    }

    #[test]
    fn what_does_not_fit_ends_the_packet() {
        for (bytes, field) in [
            ("80c8", "RTCP header"),
            ("80c80006", "RTCP packet"),
            ("80c8000100000001", "sender report"),
            ("81c9000100000001", "report block"),
            ("80c90000", "receiver report"),
            ("81cb0000", "goodbye"),
            ("81ca000200000001010961", "RTCP packet"),
            ("81ca00020000000101096100", "source description"),
        ] {
            let offset = 0;
            assert_eq!(all(&hex(bytes)), [Err(Error::Truncated { field, offset })], "{bytes}");
        }
        // Behind a good one.
        let bytes = hex("81cb00010000000500000000");
        let found = all(&bytes);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], Ok(Part::Goodbye { ssrc: 5 }));
        assert!(matches!(found[1], Err(Error::Illegal { field: "version", .. })));
    }

    #[test]
    fn moments_are_kept_to_the_microsecond() {
        for unix_micros in [0, 1, 999_999, 1_700_000_000_123_456, -2_208_988_800_000_000] {
            let ntp = Ntp::from_unix_micros(unix_micros);
            assert!((unix_micros - ntp.unix_micros()).abs() <= 1, "{unix_micros}");
        }
        assert_eq!(Ntp::from_unix_micros(0).0 >> 32, 2_208_988_800);
        assert_eq!(Ntp(0x1234_5678_9abc_def0).middle(), 0x5678_9abc);
    }
}
