//! Bytes as descriptions write them: base64 (RFC 4648, section 4) of parameter sets, hexadecimal digits of configurations.

use super::limits::PARAMETER_SETS_BYTES_MAX;

/// Appends what base64 `text` says. Cameras leave out the padding, quote it or put spaces inside: all that is no digit is
/// passed over.
pub(super) fn push_base64(text: &str, out: &mut Vec<u8>) {
    let digits = text.bytes().filter_map(|byte| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    });
    let (mut held, mut bits) = (0u32, 0);
    for digit in digits {
        held = held << 6 | u32::from(digit);
        bits += 6;
        if bits >= 8 && out.len() < PARAMETER_SETS_BYTES_MAX {
            bits -= 8;
            out.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
        bits %= 8;
    }
}

/// What hexadecimal `text` says; a last odd digit is the high half of a byte. None if something else is in it.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let text = text.trim().trim_matches('"');
    if text.len() > 2 * super::limits::CONFIG_BYTES_MAX {
        return None;
    }
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).map(|value| value as u8))
        .collect();
    let pair = |pair: &[u8]| pair[0] << 4 | pair.get(1).copied().unwrap_or(0);
    digits.map(|digits| digits.chunks(2).map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_cameras_write_it() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zg", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9vYmFy", b"foobar"),
            ("\"Zm9v YmE\"", b"fooba"),
            ("-_+/", &[0xfb, 0xff, 0xbf]),
        ] {
            let mut out = Vec::new();
            push_base64(text, &mut out);
            assert_eq!(out, bytes, "{text}");
        }
        let mut out = Vec::new();
        push_base64(&"A".repeat(200_000), &mut out);
        assert_eq!(out.len(), PARAMETER_SETS_BYTES_MAX);
    }

    #[test]
    fn configurations_are_read_from_digits_of_both_cases() {
        assert_eq!(hex("12aF"), Some(vec![0x12, 0xaf]));
        assert_eq!(hex("\"121\""), Some(vec![0x12, 0x10]));
        assert_eq!(hex("12xx"), None);
        assert_eq!(hex(&"0".repeat(10_000)), None);
    }
}
