//! Coded pictures as a track has them (`media`, "Payload conventions"), appended to a reused buffer.

use super::Counters;
use crate::codec::{Error as CodecError, av1, h264, hevc, nal};
use crate::media::Codec;
use crate::tag::Error;

/// NAL units behind lengths of `length_bytes`, as the configuration record says, with 4-byte lengths. Appends nothing
/// for a picture of empty units alone.
///
/// Tolerated and counted: empty units and a length that reaches behind the end (DJI), Annex B (cheap cameras).
pub(super) fn nal_units(
    codec: Codec,
    data: &[u8],
    length_bytes: u8,
    counters: &mut Counters,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    if length_bytes == 4 && nal::is_well_formed(data) {
        out.extend_from_slice(data);
        return Ok(());
    }
    let begin = out.len();
    match nal::widen_lengths(data, length_bytes, out) {
        Ok(()) => {
            let units = nal::units_with(data, length_bytes).count();
            let width = usize::from(length_bytes);
            let unit_bytes = out.len() - begin - 4 * units;
            counters.empty_nals += ((data.len() - unit_bytes) / width - units) as u64;
            return Ok(());
        }
        Err(CodecError::Truncated { .. }) if is_annexb(codec, data) => {
            counters.annexb_frames += 1;
            nal::annexb_to_lengths(data, out);
        }
        Err(_) => {
            counters.bad_lengths += 1;
            for unit in nal::units_with(data, length_bytes) {
                nal::push_unit(unit, out);
            }
        }
    }
    if out.len() == begin {
        return Err(Error::NoUnits { bytes: data.len() });
    }
    Ok(())
}

/// Whether start codes stand where lengths belong. A first unit of 256 to 511 bytes looks like one behind its length:
/// then what would follow the codes is hardly all a unit's head.
fn is_annexb(codec: Codec, data: &[u8]) -> bool {
    nal::is_annexb(data) && nal::annexb_units(data).all(|unit| begins_a_unit(codec, unit))
}

/// Types that stand in access units, with the reference bits (H.264, 7.4.1) or layer and temporal ids (HEVC, 7.4.2.2)
/// that they must have.
fn begins_a_unit(codec: Codec, unit: &[u8]) -> bool {
    let (first, second) = (unit.first().copied().unwrap_or(0), unit.get(1).copied().unwrap_or(0));
    if first & 0x80 != 0 {
        return false;
    }
    if codec == Codec::Hevc {
        let is_known = matches!(first >> 1, 0..=9 | 16..=21 | hevc::NAL_VPS..=hevc::NAL_SUFFIX_SEI);
        return is_known && first & 1 == 0 && second & 0xf8 == 0 && second & 7 != 0;
    }
    let is_reference = first & 0x60 != 0;
    match h264::nal_type(unit) {
        h264::NAL_SLICE..h264::NAL_IDR => true,
        h264::NAL_IDR | h264::NAL_SPS | h264::NAL_PPS | h264::NAL_SPS_EXTENSION => is_reference,
        h264::NAL_SEI | h264::NAL_AUD..=h264::NAL_FILLER => !is_reference,
        _ => false,
    }
}

/// OBUs with sizes and without temporal delimiters.
pub(super) fn obus(data: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    Ok(av1::strip_temporal_delimiters(data, out)?)
}

/// 16-bit samples from little to big endian; a last odd byte is dropped.
pub(super) fn swap_samples(data: &[u8], out: &mut Vec<u8>) {
    out.extend(data.chunks_exact(2).flat_map(|sample| [sample[1], sample[0]]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_nal_units() {
        let expected = &b"\0\0\0\x01a\0\0\0\x02bc"[..];
        // (body, bytes of a length, empty units, Annex B, bad lengths)
        for (data, length_bytes, empty, annexb, bad) in [
            (expected, 4, 0, 0, 0),
            (b"\0\0\x01a\0\0\x02bc", 3, 0, 0, 0),
            (b"\0\x01a\0\x02bc", 2, 0, 0, 0),
            (b"\x01a\0\0\x02bc\0", 1, 3, 0, 0),
            (b"\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\x02bc", 4, 2, 0, 0),
            (b"\0\0\0\x01a\0\0\x01bc", 4, 0, 1, 0),
            (b"\0\0\x01a\0\0\x01bc", 4, 0, 1, 0),
            (b"\0\0\0\x01a\0\0\0\x02bc\0\0\x01\0xyz", 4, 0, 0, 1),
            (b"\0\0\0\x01a\0\0\0\x02bc\0\0\x01", 4, 0, 1, 0),
        ] {
            let (mut counters, mut out) = (Counters::default(), Vec::new());
            assert_eq!(
                nal_units(Codec::H264, data, length_bytes, &mut counters, &mut out),
                Ok(())
            );
            if !data.starts_with(expected) || data == expected {
                assert_eq!(out, expected, "{data:?}");
            }
            let counted = (counters.empty_nals, counters.annexb_frames, counters.bad_lengths);
            assert_eq!(counted, (empty, annexb, bad), "{data:?}");
        }
        let (mut counters, mut out) = (Counters::default(), Vec::new());
        assert_eq!(
            nal_units(Codec::H264, b"\0\0\0\x02bc\0\0\0\x09d", 4, &mut counters, &mut out),
            Ok(())
        );
        assert_eq!((&out[..], counters.bad_lengths), (&b"\0\0\0\x02bc"[..], 1));
        out.clear();
        assert_eq!(
            nal_units(Codec::H264, b"\0\0\0\0\0\0\0\0", 4, &mut counters, &mut out),
            Ok(())
        );
        assert_eq!((out.len(), counters.empty_nals), (0, 2));
        assert_eq!(
            nal_units(Codec::H264, b"\0\0\x09\0a", 4, &mut counters, &mut out),
            Err(Error::NoUnits { bytes: 5 })
        );
    }

    #[test]
    fn a_length_like_a_start_code_is_a_length_when_a_later_one_is_wrong() {
        for (codec, unit) in [(Codec::H264, b"\x41"), (Codec::Hevc, b"\x02")] {
            for bytes in 256..512 {
                // A whole unit, then one that says 9 bytes and has one.
                let mut data = vec![0, 0, 1, bytes as u8];
                data.extend_from_slice(unit);
                data.resize(4 + bytes, 0xa5);
                let whole = data.clone();
                data.extend_from_slice(b"\0\0\0\x09d");
                let (mut counters, mut out) = (Counters::default(), Vec::new());
                nal_units(codec, &data, 4, &mut counters, &mut out).unwrap();
                let told = (out == whole, counters.bad_lengths, counters.annexb_frames);
                // One in eight low bytes is the head of a unit as well; nothing can tell then.
                if !begins_a_unit(codec, &[bytes as u8, unit[0]]) {
                    assert_eq!(told, (true, 1, 0), "{codec:?} {bytes}");
                }
            }
        }
        let heads = |codec, second| {
            (0..=255)
                .filter(|&first| begins_a_unit(codec, &[first, second]))
                .count()
        };
        assert_eq!((heads(Codec::H264, 0x88), heads(Codec::Hevc, 1)), (33, 25));
        let annexb = b"\0\0\x01\x67\x64\0\x0c\0\0\x01\x68\xee\0\0\x01\x65\x88\x84";
        assert!(is_annexb(Codec::H264, annexb), "with codes of three bytes");
        assert!(is_annexb(Codec::Hevc, b"\0\0\x01\x40\x01\x0c\0\0\x01\x26\x01\xaf"));
    }

    #[test]
    fn samples_change_ends() {
        let mut out = Vec::new();
        swap_samples(&[1, 2, 3, 4, 5], &mut out);
        assert_eq!(out, [2, 1, 4, 3]);
    }
}
