//! Any bytes: no panic, no deep stack, no more memory than the limits say; and what parses survives a round trip.

use super::limits::DEPTH_MAX;
use super::{Value, parse, parse_all};

/// Any bytes as values.
pub fn values(input: &[u8]) {
    let Ok((value, taken)) = parse(input) else { return };
    assert!(taken <= input.len());
    assert!(depth(&value) <= DEPTH_MAX);
    let mut emitted = Vec::new();
    value.emit(&mut emitted);
    let (again, taken) = parse(&emitted).expect("what was emitted parses");
    assert_eq!(taken, emitted.len());
    // By text, because a NaN is not equal to itself.
    assert_eq!(format!("{again:?}"), format!("{value:?}"));
    let _ = parse_all(input);
}

fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::StrictArray(values) => values.iter().map(depth).max(),
        value => value
            .members()
            .unwrap_or(&[])
            .iter()
            .map(|(_, value)| depth(value))
            .max(),
    };
    1 + deepest.unwrap_or(0)
}

#[cfg(test)]
mod runs {
    use super::super::Error;
    use super::super::limits::VALUES_MAX;
    use super::super::wire::tests::cases;
    use super::*;
    use crate::damage::{Cost, damaged};

    #[test]
    fn amf0_values() {
        let single: Vec<Vec<u8>> = cases().into_iter().map(|case| case.0.to_vec()).collect();
        let mut seeds: Vec<Vec<u8>> = single.windows(3).map(|three| three.concat()).collect();
        seeds.extend(single);
        let markers: Vec<[u8; 1]> = (0..0x12).map(|marker| [marker]).collect();
        let mut tokens: Vec<&[u8]> = markers.iter().map(|marker| &marker[..]).collect();
        tokens.extend([
            &b"\0\0\x09"[..],
            b"\x03\0\x01a",
            b"\x0a\0\0\0\x01",
            b"\x08\0\0\0\x01\0\x01a",
            b"\x0c\xff\xff\xff\xff",
        ]);
        damaged("amf0_values", Cost::Light, &seeds, &tokens, super::values);
    }

    #[test]
    fn nested_bombs_stop_at_the_depth_limit() {
        for level in [
            &b"\x03\x00\x01a"[..],
            b"\x08\x00\x00\x00\x01\x00\x01a",
            b"\x0a\x00\x00\x00\x01",
            b"\x10\x00\x00\x00\x01a",
        ] {
            for (levels, fits) in [(DEPTH_MAX - 1, true), (DEPTH_MAX, false), (1_000_000, false)] {
                let mut bomb = level.repeat(levels);
                bomb.push(0x05);
                if level[0] != 0x0a {
                    bomb.extend_from_slice(&b"\x00\x00\x09".repeat(levels));
                }
                let parsed = parse(&bomb);
                assert_eq!(parsed.is_ok(), fits, "{levels} of {level:02x?}");
                if !fits {
                    let offset = DEPTH_MAX * level.len();
                    assert_eq!(
                        parsed,
                        Err(Error::TooDeep {
                            offset,
                            depth_max: DEPTH_MAX
                        })
                    );
                }
            }
        }
    }

    #[test]
    fn wide_bombs_stop_at_the_count_limit() {
        let mut wide = b"\x0a\xff\xff\xff\xff".to_vec();
        wide.resize(4_000_000, 0x05);
        let expected = Error::TooManyValues {
            offset: VALUES_MAX + 4,
            values_max: VALUES_MAX,
        };
        assert_eq!(parse(&wide), Err(expected));
        assert!(matches!(
            parse_all(&[0x05; VALUES_MAX + 1]),
            Err(Error::TooManyValues { .. })
        ));
        assert_eq!(
            parse_all(&[0x05; VALUES_MAX]).map(|values| values.len()),
            Ok(VALUES_MAX)
        );
    }
}
