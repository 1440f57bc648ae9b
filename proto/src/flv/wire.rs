//! The file header; tags are those of `tag`.
//!
//! ```text
//! file  | 'FLV' | version:8 | 0:5 audio:1 0:1 video:1 | DataOffset:32 |  PreviousTagSize 0:32
//! ```

use super::Error;
use super::limits::HEADER_BYTES_MAX;
pub use crate::tag::wire::outer::{PREVIOUS_TAG_SIZE_BYTES, TAG_HEADER_BYTES, TagHeader, emit_tag};

pub const FILE_HEADER_BYTES: usize = 9;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    pub audio: bool,
    pub video: bool,
    /// Bytes from the beginning of the file to the first `PreviousTagSize`.
    pub data_offset: u32,
}

impl FileHeader {
    pub fn parse(bytes: &[u8; FILE_HEADER_BYTES]) -> Result<Self, Error> {
        let [f, l, v, _version, flags, offset @ ..] = *bytes;
        if [f, l, v] != *b"FLV" {
            return Err(Error::Signature { bytes: [f, l, v] });
        }
        let data_offset = u32::from_be_bytes(offset);
        if !(FILE_HEADER_BYTES as u32..=HEADER_BYTES_MAX).contains(&data_offset) {
            return Err(Error::HeaderBytes {
                bytes: data_offset,
                bytes_max: HEADER_BYTES_MAX,
            });
        }
        Ok(FileHeader {
            audio: flags & 4 != 0,
            video: flags & 1 != 0,
            data_offset,
        })
    }

    /// Appends the header, without the `PreviousTagSize` behind it.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"FLV\x01");
        out.push(u8::from(self.audio) << 2 | u8::from(self.video));
        out.extend_from_slice(&self.data_offset.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_header_round_trip_and_faults() {
        for (audio, video, flags) in [(false, false, 0), (true, false, 4), (false, true, 1), (true, true, 5)] {
            let header = FileHeader {
                audio,
                video,
                data_offset: 9,
            };
            let mut out = Vec::new();
            header.emit(&mut out);
            assert_eq!(out, [b'F', b'L', b'V', 1, flags, 0, 0, 0, 9]);
            assert_eq!(FileHeader::parse(out.first_chunk().unwrap()), Ok(header));
        }
        assert_eq!(
            FileHeader::parse(b"FLX\x01\x05\0\0\0\x09"),
            Err(Error::Signature { bytes: *b"FLX" })
        );
        for bytes in [8, 1025, u32::MAX] {
            let mut header = *b"FLV\x01\x05\0\0\0\0";
            header[5..].copy_from_slice(&u32::to_be_bytes(bytes));
            assert_eq!(
                FileHeader::parse(&header),
                Err(Error::HeaderBytes { bytes, bytes_max: 1024 })
            );
        }
    }
}
