//! Any bytes as a bootstrap, and as a fragment.

use super::read;

/// Any bytes as a bootstrap. One that is legal lists fragments whose numbers rise.
pub fn bootstrap(input: &[u8]) {
    let Ok(found) = read::bootstrap(input) else { return };
    let mut before = 0;
    for fragment in found.fragments().take(10_000) {
        assert!(fragment.number > before && fragment.duration > 0);
        before = fragment.number;
    }
    found.jumps().for_each(|(numbers, times)| assert!(numbers || times));
}

/// Any bytes as a fragment. The tags of one that is legal are all there is in it.
pub fn fragment(input: &[u8]) {
    let mut bytes = 8;
    let found = read::fragment(input, |_, body| bytes += 11 + body.len() + 4);
    assert!(bytes <= input.len().max(8));
    if found.is_ok() {
        assert_eq!(bytes, input.len());
    }
}

#[cfg(test)]
mod runs {
    use super::super::tests;
    use crate::damage::{Cost, damaged};

    #[test]
    fn hds_bootstrap() {
        let tokens: &[&[u8]] = &[
            b"abst",
            b"asrt",
            b"afrt",
            b"\0\0\x03\xe8",
            b"\0\0\0\0\x01",
            b"\xff\xff\xff\xff",
        ];
        damaged(
            "hds_bootstrap",
            Cost::Light,
            &tests::bootstraps(),
            tokens,
            super::bootstrap,
        );
    }

    #[test]
    fn hds_fragment() {
        let tokens: &[&[u8]] = &[
            b"mdat",
            b"\x09\0\0\x05",
            b"\x08\0\0\x02",
            b"\xaf\x01",
            b"\x17\x01\0\0\0",
        ];
        damaged(
            "hds_fragment",
            Cost::Light,
            &tests::fragments(),
            tokens,
            super::fragment,
        );
    }
}
