//! Structures of ISO/IEC 13818-1 as bytes, parse and emit side by side: packets with their adaptation field, sections,
//! PES heads.
//! No state: continuity counters, clocks and versions belong to the muxer and to the checker.

pub mod packet;
pub mod pes;
pub mod section;

pub use packet::{Adaptation, Packet, Pcr};
pub use section::{Pat, Pmt, Sdt, Sections};

/// Bytes of every packet.
pub const PACKET_BYTES: usize = 188;

/// Ticks of a PCR per second.
pub const CLOCK_HZ: u32 = 27_000_000;

/// Ticks of PTS and DTS per second.
pub const STAMP_HZ: u32 = 90_000;

/// PTS, DTS and the PCR's base have 33 bits.
pub const STAMP_MODULUS: i64 = 1 << 33;

pub const PID_PAT: u16 = 0;
pub const PID_SDT: u16 = 0x11;
pub const PID_NULL: u16 = 0x1fff;

/// Modulo 2^33, from any count of 90 kHz ticks.
pub fn stamp(ticks: i64) -> u64 {
    ticks.rem_euclid(STAMP_MODULUS) as u64
}

/// `later - earlier` on the circle of 33 bits, between -2^32 and 2^32.
pub fn stamp_difference(later: u64, earlier: u64) -> i64 {
    difference(later, earlier, STAMP_MODULUS)
}

/// As [`stamp_difference`], on the circle of the PCR.
pub fn clock_difference(later: Pcr, earlier: Pcr) -> i64 {
    difference(later.ticks(), earlier.ticks(), packet::PCR_MODULUS)
}

fn difference(later: u64, earlier: u64, modulus: i64) -> i64 {
    let around = (later as i64).wrapping_sub(earlier as i64).rem_euclid(modulus);
    if around >= modulus / 2 {
        around - modulus
    } else {
        around
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_compared_across_the_wrap() {
        assert_eq!(stamp(-1), (1 << 33) - 1);
        assert_eq!(stamp_difference(5, stamp(-5)), 10);
        assert_eq!(stamp_difference(stamp(-5), 5), -10);
        assert_eq!(clock_difference(Pcr::new(1), Pcr::new(-1)), 2);
        assert_eq!(clock_difference(Pcr::new(-1), Pcr::new(1)), -2);
    }
}
