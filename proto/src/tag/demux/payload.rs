//! Coded pictures as a track has them (`media`, "Payload conventions"), appended to a reused buffer.

use super::Counters;
use crate::codec::{Error as CodecError, av1, nal};
use crate::tag::Error;

/// NAL units behind lengths of `length_bytes`, as the configuration record says, with 4-byte lengths. Appends nothing
/// for a picture of empty units alone.
///
/// Tolerated and counted: empty units and a length that reaches behind the end (DJI), Annex B (cheap cameras).
pub(super) fn nal_units(
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
        Err(CodecError::Truncated { .. }) if nal::is_annexb(data) => {
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
            (b"\0\0\0\x01a\0\0\0\x02bc\0\0\x01\0xyz", 4, 0, 1, 0),
            (b"\0\0\0\x01a\0\0\0\x02bc\0\0\x01", 4, 0, 1, 0),
        ] {
            let (mut counters, mut out) = (Counters::default(), Vec::new());
            assert_eq!(nal_units(data, length_bytes, &mut counters, &mut out), Ok(()));
            if !data.starts_with(expected) || data == expected {
                assert_eq!(out, expected, "{data:?}");
            }
            let counted = (counters.empty_nals, counters.annexb_frames, counters.bad_lengths);
            assert_eq!(counted, (empty, annexb, bad), "{data:?}");
        }
        let (mut counters, mut out) = (Counters::default(), Vec::new());
        assert_eq!(
            nal_units(b"\0\0\0\x02bc\0\0\0\x09d", 4, &mut counters, &mut out),
            Ok(())
        );
        assert_eq!((&out[..], counters.bad_lengths), (&b"\0\0\0\x02bc"[..], 1));
        out.clear();
        assert_eq!(nal_units(b"\0\0\0\0\0\0\0\0", 4, &mut counters, &mut out), Ok(()));
        assert_eq!((out.len(), counters.empty_nals), (0, 2));
        assert_eq!(
            nal_units(b"\0\0\x09\0a", 4, &mut counters, &mut out),
            Err(Error::NoUnits { bytes: 5 })
        );
    }

    #[test]
    fn samples_change_ends() {
        let mut out = Vec::new();
        swap_samples(&[1, 2, 3, 4, 5], &mut out);
        assert_eq!(out, [2, 1, 4, 3]);
    }
}
