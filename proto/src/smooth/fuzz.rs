//! Any bytes as a manifest, as UTF-16 and as text that is made so, and as an update of itself.

use super::check::Watcher;

/// The checker takes any bytes, also as those that follow others.
pub fn manifest(input: &[u8]) {
    let mut watcher = Watcher::new();
    watcher.push(input);
    let text = String::from_utf8_lossy(input);
    let units = text.encode_utf16().flat_map(u16::to_le_bytes);
    let bytes: Vec<u8> = [0xff, 0xfe].into_iter().chain(units).collect();
    watcher.push(&bytes);
    watcher.push(&bytes);
}

#[cfg(test)]
mod tests {
    use super::super::tests::live;
    use crate::damage::{Cost, damaged};

    #[test]
    fn smooth_manifest() {
        let text = live();
        let tokens: &[&[u8]] = &[
            b" t=\"9223372036854775807\"",
            b" d=\"18446744073709551615\"",
            b"<c d=\"1\"/>",
            b" Chunks=\"0\"",
            b" Bitrate=\"99\"",
            b"<StreamIndex/>",
            b"\xff\xfe",
        ];
        damaged(
            "smooth_manifest",
            Cost::Heavy,
            &[text.into_bytes()],
            tokens,
            super::manifest,
        );
    }
}
