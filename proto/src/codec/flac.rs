//! FLAC (RFC 9639): STREAMINFO (8.2) and the block size of a frame header (9.1).
//!
//! A track's codec data are `fLaC`, the block's four-byte head and its 34 bytes.

use super::Error;
use super::bits::BitReader;

pub const CODEC_STRING: &str = "flac";

/// Of the STREAMINFO block, without its head.
pub const STREAMINFO_BYTES: usize = 34;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Samples per channel in a frame, at least (the last excepted).
    pub block_samples_min: u16,
    pub block_samples_max: u16,
    /// 0 when unknown.
    pub frame_bytes_min: u32,
    pub frame_bytes_max: u32,
    pub sample_rate: u32,
    pub channels: u8,
    pub sample_bits: u8,
    /// Per channel, 0 when unknown.
    pub samples: u64,
    /// Of the unencoded audio, zeros when unknown.
    pub md5: [u8; 16],
}

impl StreamInfo {
    /// `record` is the bare block, or has the block's head, or `fLaC` and the head in front.
    pub fn parse(record: &[u8]) -> Result<Self, Error> {
        let (at, block) = match record {
            [b'f', b'L', b'a', b'C', _, _, _, _, block @ ..] => (8, block),
            [0 | 0x80, 0, 0, 34, block @ ..] if block.len() >= STREAMINFO_BYTES => (4, block),
            block => (0, block),
        };
        if at == 8 && record[4] & 0x7f != 0 {
            return Err(illegal("metadata block type", record[4].into(), 33));
        }
        let mut bits = BitReader::new(block);
        let block_samples_min = bits.bits(16, "minimum block size")? as u16;
        let block_samples_max = bits.bits(16, "maximum block size")? as u16;
        let frame_bytes_min = bits.bits(24, "minimum frame size")?;
        let frame_bytes_max = bits.bits(24, "maximum frame size")?;
        let sample_rate = bits.bits(20, "sample rate")?;
        let channels = bits.bits(3, "number of channels")? as u8 + 1;
        let sample_bits = bits.bits(5, "bits per sample")? as u8 + 1;
        let high = bits.bits(4, "total samples")?;
        let low = bits.bits(32, "total samples")?;
        let md5 = bits.rest().first_chunk().copied().ok_or(Error::Truncated {
            field: "MD5 checksum",
            bit: record.len() * 8,
        })?;
        if sample_rate == 0 {
            return Err(illegal("sample rate", 0, (at + 10) * 8));
        }
        if block_samples_min < 16 || block_samples_max < block_samples_min {
            return Err(illegal("maximum block size", block_samples_max.into(), (at + 2) * 8));
        }
        Ok(StreamInfo {
            block_samples_min,
            block_samples_max,
            frame_bytes_min,
            frame_bytes_max,
            sample_rate,
            channels,
            sample_bits,
            samples: u64::from(high) << 32 | u64::from(low),
            md5,
        })
    }

    /// Appends `fLaC`, the head of a last block, and the block.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"fLaC\x80\0\0\x22");
        out.extend_from_slice(&self.block_samples_min.to_be_bytes());
        out.extend_from_slice(&self.block_samples_max.to_be_bytes());
        out.extend_from_slice(&self.frame_bytes_min.to_be_bytes()[1..]);
        out.extend_from_slice(&self.frame_bytes_max.to_be_bytes()[1..]);
        let packed = u64::from(self.sample_rate) << 44
            | u64::from(self.channels - 1) << 41
            | u64::from(self.sample_bits - 1) << 36
            | self.samples & 0xf_ffff_ffff;
        out.extend_from_slice(&packed.to_be_bytes());
        out.extend_from_slice(&self.md5);
    }
}

/// Samples per channel in a frame.
pub fn block_samples(frame: &[u8]) -> Result<u32, Error> {
    let mut bits = BitReader::new(frame);
    let sync = bits.bits(15, "sync code")?;
    if sync != 0x7ffc {
        return Err(illegal("sync code", sync.into(), 0));
    }
    bits.bit("blocking strategy")?;
    let code = bits.bits(4, "block size")?;
    bits.skip(12, "sample rate")?;
    match code {
        0 => Err(illegal("block size", 0, 16)),
        1 => Ok(192),
        2..=5 => Ok(144 << code),
        6 => {
            skip_coded_number(&mut bits)?;
            Ok(bits.bits(8, "uncommon block size")? + 1)
        }
        7 => {
            skip_coded_number(&mut bits)?;
            Ok(bits.bits(16, "uncommon block size")? + 1)
        }
        _ => Ok(1 << code),
    }
}

/// UTF-8's scheme, up to seven bytes (9.1.5).
fn skip_coded_number(bits: &mut BitReader<'_>) -> Result<(), Error> {
    let bit = bits.position();
    let first = bits.byte("coded number")?;
    match first.leading_ones() {
        0 => Ok(()),
        ones @ 2..=7 => bits.skip((ones as usize - 1) * 8, "coded number"),
        _ => Err(illegal("coded number", first.into(), bit)),
    }
}

fn illegal(field: &'static str, value: u64, bit: usize) -> Error {
    Error::Illegal { field, value, bit }
}

#[cfg(test)]
mod tests {
    use super::super::cases::{FLAC, FLAC_FRAME, hex};
    use super::*;

    #[test]
    fn streaminfo_is_read_in_its_three_coats_and_emitted() {
        let record = hex(FLAC);
        let block = StreamInfo::parse(&record).unwrap();
        assert_eq!(StreamInfo::parse(&record[4..]), Ok(block));
        assert_eq!(StreamInfo::parse(&record[8..]), Ok(block));
        assert_eq!((block.sample_rate, block.channels, block.sample_bits), (44_100, 2, 16));
        assert_eq!((block.block_samples_max, block.samples), (4608, 13_230));
        let mut out = Vec::new();
        block.emit(&mut out);
        assert_eq!(out[8..], record[8..]);
        assert_eq!(StreamInfo::parse(&out), Ok(block));
        assert!(StreamInfo::parse(&record[..41]).is_err());
    }

    #[test]
    fn frames_state_their_block_size() {
        for (frame, samples) in [
            (FLAC_FRAME, 4608),
            ("fff8180000", 192),
            ("fff888000000", 256),
            ("fff8f8000000", 32_768),
            ("fff868000007", 8),
            ("fff878000003ff", 1024),
            ("fff86800c2800f", 16),
        ] {
            assert_eq!(block_samples(&hex(frame)), Ok(samples), "{frame}");
        }
        for frame in ["fff8", "ff785988", "fff80800", "fff86800ffff", "fff8680080ff"] {
            assert!(block_samples(&hex(frame)).is_err(), "{frame}");
        }
    }
}
