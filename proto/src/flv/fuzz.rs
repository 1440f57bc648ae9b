//! Any bytes as a file, cut anywhere: no panic, no tag longer than what came, and the same tags for every cut.

use super::{Error, Reader};
use crate::noise::chosen_by;
use crate::tag::MessageKind;

type OwnedTag = (MessageKind, u32, Vec<u8>);

/// Any bytes as a file.
pub fn file(input: &[u8]) {
    let (whole, end) = tags(&[input]);
    let bytes: usize = whole.iter().map(|(_, _, body)| body.len() + 11).sum();
    assert!(bytes <= input.len());
    let cut = chosen_by(input, input.len() + 1);
    assert_eq!(tags(&[&input[..cut], &input[cut..]]), (whole, end), "cut at {cut}");
}

fn tags(pieces: &[&[u8]]) -> (Vec<OwnedTag>, Option<Error>) {
    let (mut reader, mut found) = (Reader::new(), Vec::new());
    for piece in pieces {
        reader.feed(piece);
        loop {
            match reader.next_tag() {
                Ok(Some(tag)) => found.push((tag.kind, tag.timestamp, tag.body.to_vec())),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

#[cfg(test)]
mod runs {
    use crate::damage::{Cost, damaged};
    #[test]
    fn flv_file() {
        let (seed, _) = super::super::reader::tests::file();
        let tokens: &[&[u8]] = &[
            b"FLV\x01\x05\0\0\0\x09",
            b"\x09\0\0\x05",
            b"\x12\0\0\0",
            b"\x08\xff\xff\xff",
            b"\xff\xff\xff\xff",
        ];
        damaged("flv_file", Cost::Light, &[seed], tokens, super::file);
    }
}
