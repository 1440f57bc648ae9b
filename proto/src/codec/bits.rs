//! The checked bit reader all codec headers are read with, most significant bit first.
//!
//! [`BitReader::rbsp`] drops the emulation prevention bytes of H.264 (7.4.1) and HEVC (7.4.2) while it reads, so no copy
//! of a parameter set is made. Positions in errors count raw bits, prevention bytes included.

use super::Error;

#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    /// Next byte to load.
    index: usize,
    current: u8,
    /// Bits of `current` not yet read.
    left: u32,
    /// Zero bytes before `index`, as far as emulation prevention counts them.
    zeros: u32,
    rbsp: bool,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        BitReader {
            bytes,
            index: 0,
            current: 0,
            left: 0,
            zeros: 0,
            rbsp: false,
        }
    }

    /// Reads the payload of a NAL unit: `00 00 03` is `00 00`.
    pub fn rbsp(bytes: &'a [u8]) -> Self {
        BitReader {
            rbsp: true,
            ..Self::new(bytes)
        }
    }

    /// Raw bits taken.
    pub fn position(&self) -> usize {
        self.index * 8 - self.left as usize
    }

    /// Raw bits not taken; for RBSP an upper bound.
    pub fn remaining(&self) -> usize {
        self.bytes.len() * 8 - self.position()
    }

    pub fn bit(&mut self, field: &'static str) -> Result<bool, Error> {
        Ok(self.bits(1, field)? == 1)
    }

    /// `count` bits, at most 32.
    pub fn bits(&mut self, count: u32, field: &'static str) -> Result<u32, Error> {
        assert!(count <= 32, "a field of more than 32 bits is read in parts");
        let begin = self.position();
        let mut value: u64 = 0;
        let mut wanted = count;
        while wanted > 0 {
            if self.left == 0 {
                self.load().ok_or(Error::Truncated { field, bit: begin })?;
            }
            let taken = wanted.min(self.left);
            self.left -= taken;
            let part = (u64::from(self.current) >> self.left) & ((1 << taken) - 1);
            value = value << taken | part;
            wanted -= taken;
        }
        Ok(value as u32)
    }

    pub fn byte(&mut self, field: &'static str) -> Result<u8, Error> {
        Ok(self.bits(8, field)? as u8)
    }

    /// Passes over `count` bits.
    pub fn skip(&mut self, count: usize, field: &'static str) -> Result<(), Error> {
        if count > self.remaining() {
            let bit = self.position();
            return Err(Error::Truncated { field, bit });
        }
        let mut wanted = count;
        while wanted > 0 {
            let taken = wanted.min(32);
            self.bits(taken as u32, field)?;
            wanted -= taken;
        }
        Ok(())
    }

    /// `ue(v)`, unsigned Exp-Golomb (H.264, 9.1), values to 2^32 - 2.
    pub fn ue(&mut self, field: &'static str) -> Result<u32, Error> {
        let bit = self.position();
        let mut zeros = 0;
        while !self.bit(field)? {
            zeros += 1;
            if zeros > 31 {
                return Err(Error::Illegal {
                    field,
                    value: u64::MAX,
                    bit,
                });
            }
        }
        let rest = self.bits(zeros, field)?;
        Ok(((1u64 << zeros) - 1 + u64::from(rest)) as u32)
    }

    /// `ue(v)` of at most `max`.
    pub fn ue_max(&mut self, max: u32, field: &'static str) -> Result<u32, Error> {
        let bit = self.position();
        let value = self.ue(field)?;
        if value > max {
            return Err(Error::Illegal {
                field,
                value: value.into(),
                bit,
            });
        }
        Ok(value)
    }

    /// `se(v)`, signed Exp-Golomb (H.264, 9.1.1).
    pub fn se(&mut self, field: &'static str) -> Result<i32, Error> {
        let code = i64::from(self.ue(field)?);
        let magnitude = (code + 1) / 2;
        let value = if code % 2 == 1 { magnitude } else { -magnitude };
        Ok(value as i32)
    }

    /// Passes to the next byte boundary.
    pub fn align(&mut self) {
        self.left = 0;
    }

    /// The bytes behind the current byte boundary.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.index..]
    }

    fn load(&mut self) -> Option<()> {
        let mut byte = *self.bytes.get(self.index)?;
        if self.rbsp && self.zeros >= 2 && byte == 3 {
            let after = *self.bytes.get(self.index + 1)?;
            self.index += 1;
            self.zeros = 0;
            byte = after;
        }
        self.zeros = if byte == 0 { self.zeros + 1 } else { 0 };
        self.index += 1;
        self.current = byte;
        self.left = 8;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_are_those_of_table_9_2() {
        // 1 010 011 00100 00101 00110 00111 0001000, padded
        let bytes = [0b1010_0110, 0b0100_0010, 0b1001_1000, 0b1110_0010, 0b0000_0000];
        let mut unsigned = BitReader::new(&bytes);
        let mut signed = BitReader::new(&bytes);
        for expected in 0..8 {
            assert_eq!(unsigned.ue("code"), Ok(expected));
        }
        for expected in [0, 1, -1, 2, -2, 3, -3, 4] {
            assert_eq!(signed.se("code"), Ok(expected));
        }
        assert!(matches!(unsigned.ue("code"), Err(Error::Truncated { .. })));
    }

    #[test]
    fn the_longest_codes_are_read_and_longer_ones_refused() {
        let longest = [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe];
        assert_eq!(BitReader::new(&longest).ue("code"), Ok(u32::MAX - 1));
        assert_eq!(BitReader::new(&longest).se("code"), Ok(-i32::MAX));
        let longer = [0, 0, 0, 0, 0x80, 0, 0, 0, 0];
        assert!(matches!(BitReader::new(&longer).ue("code"), Err(Error::Illegal { .. })));
    }

    #[test]
    fn emulation_prevention_bytes_are_dropped_only_in_rbsp() {
        let bytes = [0, 0, 3, 1, 0, 0, 3, 0, 0, 3, 3, 3];
        let read = |mut bits: BitReader<'_>| std::iter::from_fn(move || bits.byte("byte").ok()).collect::<Vec<_>>();
        assert_eq!(read(BitReader::new(&bytes)), bytes);
        assert_eq!(read(BitReader::rbsp(&bytes)), [0, 0, 1, 0, 0, 0, 0, 3, 3]);
    }

    #[test]
    fn what_ends_early_says_where() {
        let mut bits = BitReader::new(&[0xa5, 0x5a]);
        assert_eq!(bits.bits(3, "a"), Ok(0b101));
        assert_eq!(bits.skip(14, "b"), Err(Error::Truncated { field: "b", bit: 3 }));
        assert_eq!(bits.bits(13, "b"), Ok(0b0_0101_0101_1010));
        assert_eq!(bits.remaining(), 0);
        assert_eq!(bits.bit("c"), Err(Error::Truncated { field: "c", bit: 16 }));
    }
}
