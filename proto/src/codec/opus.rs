//! Opus: the OpusHead record (RFC 7845, 5.1) and a packet's duration from its TOC byte (RFC 6716, 3.1 and 3.2).

use super::Error;
use super::limits::OPUS_PACKET_SAMPLES_MAX;

/// An OpusHead record, lent. Emitted, its bytes are those parsed, for version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    pub channels: u8,
    /// Samples at 48 kHz that a decoder drops at the start.
    pub pre_skip: u16,
    /// Of the source, Hz, for information; Opus is always decoded at 48 kHz.
    pub input_sample_rate: u32,
    /// Q7.8 dB.
    pub output_gain: i16,
    pub mapping_family: u8,
    /// Stream count, coupled count and channel mapping; empty for family 0.
    pub mapping: &'a [u8],
}

impl<'a> Head<'a> {
    pub fn parse(record: &'a [u8]) -> Result<Self, Error> {
        let (head, behind) = record.split_first_chunk::<19>().ok_or(Error::Truncated {
            field: "OpusHead",
            bit: record.len() * 8,
        })?;
        if !head.starts_with(b"OpusHead") {
            return Err(illegal("magic signature", head[0].into(), 0));
        }
        if head[8] >> 4 != 0 {
            return Err(illegal("version", head[8].into(), 64));
        }
        let channels = head[9];
        if channels == 0 {
            return Err(illegal("channel count", 0, 72));
        }
        let mapping_family = head[18];
        let mapping = match mapping_family {
            0 if channels > 2 => return Err(illegal("channel count", channels.into(), 72)),
            0 => &[],
            _ => behind.get(..2 + usize::from(channels)).ok_or(Error::Truncated {
                field: "channel mapping table",
                bit: 19 * 8,
            })?,
        };
        Ok(Head {
            channels,
            pre_skip: u16::from_le_bytes([head[10], head[11]]),
            input_sample_rate: u32::from_le_bytes([head[12], head[13], head[14], head[15]]),
            output_gain: i16::from_le_bytes([head[16], head[17]]),
            mapping_family,
            mapping,
        })
    }

    /// One or two channels, family 0, with the usual 80 ms to skip.
    pub fn plain(channels: u8) -> Head<'static> {
        assert!((1..=2).contains(&channels), "family 0 has one or two channels");
        Head {
            channels,
            pre_skip: 3840,
            input_sample_rate: 48_000,
            output_gain: 0,
            mapping_family: 0,
            mapping: &[],
        }
    }

    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"OpusHead\x01");
        out.push(self.channels);
        out.extend_from_slice(&self.pre_skip.to_le_bytes());
        out.extend_from_slice(&self.input_sample_rate.to_le_bytes());
        out.extend_from_slice(&self.output_gain.to_le_bytes());
        out.push(self.mapping_family);
        out.extend_from_slice(self.mapping);
    }
}

/// RFC 6381 has no form of its own for Opus.
pub const CODEC_STRING: &str = "opus";

/// Samples at 48 kHz in a packet.
pub fn packet_samples(packet: &[u8]) -> Result<u32, Error> {
    let truncated = |field, bit| Error::Truncated { field, bit };
    let toc = *packet.first().ok_or(truncated("TOC", 0))?;
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1).ok_or(truncated("frame count byte", 8))? & 0x3f),
    };
    let samples = frames * frame_samples(toc);
    if samples == 0 || samples > OPUS_PACKET_SAMPLES_MAX {
        return Err(illegal("frame count", frames.into(), 10));
    }
    Ok(samples)
}

/// Table 2 of RFC 6716, at 48 kHz.
fn frame_samples(toc: u8) -> u32 {
    let configuration = toc >> 3;
    let step = u32::from(configuration & 3);
    match configuration {
        0..=11 if step == 3 => 2880,
        0..=11 => 480 << step,
        12..=15 => 480 << (step & 1),
        _ => 120 << step,
    }
}

fn illegal(field: &'static str, value: u64, bit: usize) -> Error {
    Error::Illegal { field, value, bit }
}

#[cfg(test)]
mod tests {
    use super::super::cases::{OPUS_HEAD, hex};
    use super::*;

    #[test]
    fn heads_are_read_and_emitted() {
        let record = hex(OPUS_HEAD);
        let head = Head::parse(&record).unwrap();
        assert_eq!((head.channels, head.pre_skip, head.input_sample_rate), (2, 312, 48_000));
        let surround = Head {
            channels: 6,
            mapping_family: 1,
            mapping: &[4, 2, 0, 4, 1, 2, 3, 5],
            ..head
        };
        for head in [head, surround, Head::plain(1)] {
            let mut out = Vec::new();
            head.emit(&mut out);
            assert_eq!(Head::parse(&out), Ok(head));
            for length in 0..out.len() {
                assert!(Head::parse(&out[..length]).is_err());
            }
        }
    }

    #[test]
    fn packets_last_as_their_toc_says() {
        for (packet, samples) in [
            (&[0xfc, 0xb4][..], 960),
            (&[0x00], 480),
            (&[0x18], 2880),
            (&[0x59], 5760),
            (&[0x60], 480),
            (&[0x78], 960),
            (&[0x80], 120),
            (&[0xff, 6], 5760),
        ] {
            assert_eq!(packet_samples(packet), Ok(samples), "{packet:?}");
        }
        for packet in [&[][..], &[0xff], &[0xff, 0], &[0xff, 7], &[0xff, 63]] {
            assert!(packet_samples(packet).is_err(), "{packet:?}");
        }
    }
}
