//! The framing of chunked bodies that we send (RFC 9112 section 7.1): `size CRLF piece CRLF` each, `0 CRLF CRLF` at the end.
//!
//! What is between is not touched: a feed that is made with its framing is sent as it is. No extensions, no trailers.

use super::response::HeadWriter;

/// Behind each piece.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Behind the last piece: the body is complete. One that is cut short must not have it.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What stands in front of a piece: the longest size is sixteen digits.
pub const CHUNK_HEAD_BYTES_MAX: usize = 18;

/// Appends what stands in front of a piece of so many bytes. [`CHUNK_END`] must follow it.
///
/// # Panics
/// If there are none: that would end the body.
pub fn chunk_head(bytes: usize, out: &mut Vec<u8>) {
    assert!(bytes > 0, "a chunk of no bytes is the last one");
    let mut head = HeadWriter::append_to(out);
    head.hexadecimal(bytes as u64);
    head.text("\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::body::{Body, Taken};
    use super::*;

    #[test]
    fn sizes_are_written() {
        for (bytes, expected) in [
            (1, "1\r\n"),
            (15, "f\r\n"),
            (16, "10\r\n"),
            (0xabcdef, "abcdef\r\n"),
            (usize::MAX, "ffffffffffffffff\r\n"),
        ] {
            let mut out = b"before".to_vec();
            chunk_head(bytes, &mut out);
            assert_eq!(out, format!("before{expected}").as_bytes());
            assert!(expected.len() <= CHUNK_HEAD_BYTES_MAX);
        }
    }

    #[test]
    fn a_body_in_chunks_reads_back() {
        let mut body = Vec::new();
        for bytes in [1, 9, 10, 16, 255, 256, 4_095, 70_000] {
            chunk_head(bytes, &mut body);
            body.extend(std::iter::repeat_n(b'x', bytes));
            body.extend_from_slice(CHUNK_END);
        }
        assert_eq!(Body::chunked().take(&body, u32::MAX), Ok(Taken::All), "it goes on");
        body.extend_from_slice(LAST_CHUNK);
        let whole = body.len();
        body.extend_from_slice(b"HTTP/1.1");
        assert_eq!(Body::chunked().take(&body, u32::MAX), Ok(Taken::Ended { bytes: whole }));
    }

    #[test]
    #[should_panic(expected = "is the last one")]
    fn an_empty_chunk_is_a_defect() {
        chunk_head(0, &mut Vec::new());
    }
}
