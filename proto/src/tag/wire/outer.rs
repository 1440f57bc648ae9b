//! The tag around a body, as FLV files and the fragments of HDS have it.
//!
//! ```text
//! tag   | 0:2 filter:1 type:5 | DataSize:24 | time:24 | time, high byte:8 | StreamID 0:24 | body |  PreviousTagSize:32
//! ```

use crate::tag::limits::TAG_BODY_BYTES_MAX;

pub const TAG_HEADER_BYTES: usize = 11;
pub const PREVIOUS_TAG_SIZE_BYTES: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagHeader {
    pub tag_type: u8,
    /// The body is encrypted.
    pub filtered: bool,
    pub body_bytes: u32,
    /// Milliseconds; wraps.
    pub timestamp: u32,
    /// Always 0 in a right file.
    pub stream_id: u32,
}

impl TagHeader {
    pub const AUDIO: u8 = 8;
    pub const VIDEO: u8 = 9;
    pub const SCRIPT: u8 = 18;

    /// Any bytes are a header; the two reserved bits are passed over.
    pub fn parse(bytes: &[u8; TAG_HEADER_BYTES]) -> Self {
        let [first, s0, s1, s2, t0, t1, t2, high, i0, i1, i2] = *bytes;
        TagHeader {
            tag_type: first & 0x1f,
            filtered: first & 0x20 != 0,
            body_bytes: u32::from_be_bytes([0, s0, s1, s2]),
            timestamp: u32::from_be_bytes([high, t0, t1, t2]),
            stream_id: u32::from_be_bytes([0, i0, i1, i2]),
        }
    }

    pub fn emit(&self, out: &mut Vec<u8>) {
        let [high, t0, t1, t2] = self.timestamp.to_be_bytes();
        out.push(u8::from(self.filtered) << 5 | self.tag_type & 0x1f);
        out.extend_from_slice(&self.body_bytes.to_be_bytes()[1..]);
        out.extend_from_slice(&[t0, t1, t2, high]);
        out.extend_from_slice(&self.stream_id.to_be_bytes()[1..]);
    }
}

/// Appends a whole tag with its `PreviousTagSize`. `body` appends its bytes; a body that does not fit in a tag takes the
/// tag away again.
pub fn emit_tag(tag_type: u8, timestamp: u32, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    let mut header = TagHeader {
        tag_type,
        filtered: false,
        body_bytes: 0,
        timestamp,
        stream_id: 0,
    };
    header.emit(out);
    body(out);
    let body_bytes = out.len() - begin - TAG_HEADER_BYTES;
    if body_bytes > TAG_BODY_BYTES_MAX {
        return out.truncate(begin);
    }
    header.body_bytes = body_bytes as u32;
    out[begin + 1..begin + 4].copy_from_slice(&header.body_bytes.to_be_bytes()[1..]);
    let tag_bytes = header.body_bytes + TAG_HEADER_BYTES as u32;
    out.extend_from_slice(&tag_bytes.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_their_size_before_and_behind() {
        let mut out = b"x".to_vec();
        emit_tag(TagHeader::VIDEO, 0x1234_5678, &mut out, |out| {
            out.extend_from_slice(b"body")
        });
        assert_eq!(out, b"x\x09\0\0\x04\x34\x56\x78\x12\0\0\0body\0\0\0\x0f");
        let header = TagHeader::parse(out[1..].first_chunk().unwrap());
        let expected = TagHeader {
            tag_type: 9,
            filtered: false,
            body_bytes: 4,
            timestamp: 0x1234_5678,
            stream_id: 0,
        };
        assert_eq!(header, expected);
        let mut again = Vec::new();
        header.emit(&mut again);
        assert_eq!(again, out[1..12]);
        emit_tag(9, 0, &mut out, |out| out.resize(out.len() + TAG_BODY_BYTES_MAX + 1, 0));
        assert_eq!(out.len(), 20);
    }
}
