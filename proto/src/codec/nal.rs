//! NAL units in the two shapes they travel in: behind big-endian lengths (ISO 14496-15, 5.3.2) and behind start codes
//! (Annex B of H.264 and H.265). What a unit contains is the business of `h264` and `hevc`.
//!
//! A frame of a track has 4-byte lengths; the conversions here make one of whatever a publisher sends.

use super::Error;

/// The NAL units of a frame with 4-byte lengths. Empty units are passed over; a length that reaches behind the frame
/// ends the iteration.
pub fn units(frame: &[u8]) -> Units<'_> {
    units_with(frame, 4)
}

/// As [`units`], for lengths of `length_bytes` (1 to 4).
pub fn units_with(frame: &[u8], length_bytes: u8) -> Units<'_> {
    assert!((1..=4).contains(&length_bytes), "a NAL unit's length has 1 to 4 bytes");
    Units {
        rest: frame,
        length_bytes: length_bytes.into(),
    }
}

#[derive(Clone, Debug)]
pub struct Units<'a> {
    rest: &'a [u8],
    length_bytes: usize,
}

impl<'a> Units<'a> {
    fn step(&mut self) -> Option<&'a [u8]> {
        let (length, behind) = self.rest.split_at_checked(self.length_bytes)?;
        let bytes = length.iter().fold(0usize, |sum, &byte| sum << 8 | usize::from(byte));
        let (unit, rest) = behind.split_at_checked(bytes)?;
        self.rest = rest;
        Some(unit)
    }
}

impl<'a> Iterator for Units<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let unit = self.step()?;
            if !unit.is_empty() {
                return Some(unit);
            }
        }
    }
}

/// Whether 4-byte lengths cover `frame` exactly, with at least one unit and none empty.
pub fn is_well_formed(frame: &[u8]) -> bool {
    let mut units = units(frame);
    let mut count = 0usize;
    while !units.rest.is_empty() {
        match units.step() {
            Some(unit) if !unit.is_empty() => count += 1,
            _ => return false,
        }
    }
    count > 0
}

/// The NAL units between 3- or 4-byte start codes, without trailing zeros. Bytes before the first start code are no
/// unit.
pub fn annexb_units(bytes: &[u8]) -> AnnexBUnits<'_> {
    AnnexBUnits {
        rest: match start_code(bytes) {
            Some(at) => &bytes[at + 3..],
            None => &[],
        },
    }
}

#[derive(Clone, Debug)]
pub struct AnnexBUnits<'a> {
    /// Begins behind a start code.
    rest: &'a [u8],
}

impl<'a> Iterator for AnnexBUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let unit = match start_code(self.rest) {
                Some(at) => {
                    let unit = &self.rest[..at];
                    self.rest = &self.rest[at + 3..];
                    unit
                }
                None => std::mem::take(&mut self.rest),
            };
            let unit = without_trailing_zeros(unit);
            if !unit.is_empty() {
                return Some(unit);
            }
        }
        None
    }
}

/// Whether `bytes` begin as Annex B does: zeros and a one.
pub fn is_annexb(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0, 0, 1]) || bytes.starts_with(&[0, 0, 0, 1])
}

/// Appends `frame` with its lengths of `length_bytes` made 4 bytes, without empty units. On damage nothing is appended.
pub fn widen_lengths(frame: &[u8], length_bytes: u8, out: &mut Vec<u8>) -> Result<(), Error> {
    let begin = out.len();
    let mut units = units_with(frame, length_bytes);
    while !units.rest.is_empty() {
        let bit = (frame.len() - units.rest.len()) * 8;
        let Some(unit) = units.step() else {
            out.truncate(begin);
            let field = "NALUnitLength";
            return Err(Error::Truncated { field, bit });
        };
        if !unit.is_empty() {
            push_unit(unit, out);
        }
    }
    Ok(())
}

/// Appends the units of Annex B `bytes` with 4-byte lengths. Returns how many.
pub fn annexb_to_lengths(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    annexb_units(bytes).inspect(|unit| push_unit(unit, out)).count()
}

/// Appends the units of `frame` (4-byte lengths) behind 4-byte start codes.
pub fn lengths_to_annexb(frame: &[u8], out: &mut Vec<u8>) {
    for unit in units(frame) {
        out.extend_from_slice(&[0, 0, 0, 1]);
        out.extend_from_slice(unit);
    }
}

/// Appends one unit behind its 4-byte length.
pub fn push_unit(unit: &[u8], out: &mut Vec<u8>) {
    let bytes = u32::try_from(unit.len()).expect("a unit is part of a frame, and frames are far below 4 GiB");
    out.extend_from_slice(&bytes.to_be_bytes());
    out.extend_from_slice(unit);
}

/// Index of the first `00 00 01`.
pub fn start_code(bytes: &[u8]) -> Option<usize> {
    let mut index = 2;
    while let Some(&byte) = bytes.get(index) {
        // A byte above one in the third place rules out all three places that it could have had.
        match byte {
            0 => index += 1,
            1 if bytes[index - 2] == 0 && bytes[index - 1] == 0 => return Some(index - 2),
            _ => index += 3,
        }
    }
    None
}

/// No unit ends in a zero byte (H.264, 7.4.1): such are of the byte stream around it.
pub fn without_trailing_zeros(unit: &[u8]) -> &[u8] {
    let end = unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &unit[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_stop_at_damage_and_well_formed_sees_it() {
        for (frame, expected, well_formed) in [
            (&b""[..], &[][..], false),
            (b"\0\0\0\x01a", &[&b"a"[..]][..], true),
            (b"\0\0\0\x01a\0\0\0\x02bc", &[b"a", b"bc"], true),
            (b"\0\0\0\x01a\0\0\0\0\0\0\0\x02bc", &[b"a", b"bc"], false),
            (b"\0\0\0\x01a\0\0\0\x03bc", &[b"a"], false),
            (b"\0\0\0\x01a\0\0\0", &[b"a"], false),
            (b"\xff\xff\xff\xffa", &[], false),
        ] {
            assert_eq!(units(frame).collect::<Vec<_>>(), expected, "{frame:?}");
            assert_eq!(is_well_formed(frame), well_formed, "{frame:?}");
        }
    }

    #[test]
    fn annexb_is_cut_at_start_codes_of_both_lengths() {
        for (bytes, expected) in [
            (&b""[..], &[][..]),
            (b"no start code", &[]),
            (b"\0\0\x01a", &[&b"a"[..]][..]),
            (b"\0\0\0\x01ab\0\0\x01c\0\0\0\x01d", &[b"ab", b"c", b"d"]),
            (b"x\0\0\x01a\0\0\0\0", &[b"a"]),
            (b"\0\0\x01\0\0\x01a", &[b"a"]),
            (b"\0\0\x01a\0\0", &[b"a"]),
            (b"\0\0\x01a\x01\x01\0\x01b\0\0\x01", &[b"a\x01\x01\0\x01b"]),
        ] {
            assert_eq!(annexb_units(bytes).collect::<Vec<_>>(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn start_codes_are_found_wherever_a_plain_search_finds_them() {
        // All strings of up to 7 letters of {0, 1, 2}.
        for length in 0..8u32 {
            for number in 0..3usize.pow(length) {
                let bytes: Vec<u8> = (0..length)
                    .map(|place| (number / 3usize.pow(place) % 3) as u8)
                    .collect();
                let plain = bytes.windows(3).position(|three| three == [0, 0, 1]);
                assert_eq!(start_code(&bytes), plain, "{bytes:?}");
            }
        }
    }

    #[test]
    fn every_shape_becomes_four_byte_lengths() {
        let expected = b"\0\0\0\x01a\0\0\0\x02bc";
        for (frame, length_bytes) in [
            (&b"\x01a\x02bc"[..], 1),
            (b"\0\x01a\0\0\0\x02bc", 2),
            (b"\0\0\x01a\0\0\x02bc", 3),
            (expected, 4),
        ] {
            let mut out = Vec::new();
            assert_eq!(widen_lengths(frame, length_bytes, &mut out), Ok(()));
            assert_eq!(out, expected);
        }
        let mut out = b"before".to_vec();
        assert_eq!(
            widen_lengths(b"\x01a\x03bc", 1, &mut out),
            Err(Error::Truncated {
                field: "NALUnitLength",
                bit: 16
            })
        );
        assert_eq!(out, b"before");
        let mut annexb = Vec::new();
        lengths_to_annexb(expected, &mut annexb);
        assert_eq!(annexb, b"\0\0\0\x01a\0\0\0\x01bc");
        let mut out = Vec::new();
        assert_eq!(annexb_to_lengths(&annexb, &mut out), 2);
        assert_eq!(out, expected);
    }
}
