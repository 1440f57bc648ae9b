//! Numbers that look random and are the same at every run. Only compiled for tests and fuzz targets.

/// xorshift64; any seed but 0.
#[cfg(test)]
pub(crate) struct Noise(pub u64);

#[cfg(test)]
impl Noise {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `bound`, 0 when that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// A choice that the bytes themselves make, below `bound` (0 when that is 0): a fuzz body has no other source of them.
pub(crate) fn chosen_by(bytes: &[u8], bound: usize) -> usize {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix);
    ((hash >> 16) % bound.max(1) as u64) as usize
}
