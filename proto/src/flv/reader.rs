//! A file, in pieces of any size, cut into tags.

use super::Error;
use super::wire::{FILE_HEADER_BYTES, FileHeader, PREVIOUS_TAG_SIZE_BYTES, TAG_HEADER_BYTES, TagHeader};
use crate::tag::MessageKind;

/// One tag's body, as [`tag::Demux::push`](crate::tag::Demux::push) takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    pub kind: MessageKind,
    /// Milliseconds; wraps.
    pub timestamp: u32,
    pub body: &'a [u8],
}

/// Feed, then take tags until there is none. `PreviousTagSize` is not checked: many writers get it wrong, and nothing
/// depends on it.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were taken.
    at: usize,
    /// Place of `buffer`'s first byte in the file.
    base: u64,
    header: Option<FileHeader>,
    /// Bytes to pass over before the next tag: what the file header adds, and `PreviousTagSize`.
    skip: usize,
}

impl Reader {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes all of `bytes`. What was taken as tags is given up.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.at);
        self.base += self.at as u64;
        self.at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// From the file's header, as soon as it is there. Its flags are a hint: writers that do not know set both.
    pub fn header(&self) -> Option<FileHeader> {
        self.header
    }

    /// The next whole tag of a kind that carries media or script data; None asks for more bytes. Encrypted tags and
    /// tags of other types are passed over. After an error there is no way on.
    pub fn next_tag(&mut self) -> Result<Option<Tag<'_>>, Error> {
        if self.header.is_none() {
            let Some(bytes) = self.buffer[self.at..].first_chunk::<FILE_HEADER_BYTES>() else {
                return Ok(None);
            };
            let header = FileHeader::parse(bytes)?;
            self.header = Some(header);
            self.skip = header.data_offset as usize + PREVIOUS_TAG_SIZE_BYTES;
        }
        loop {
            let step = self.skip.min(self.buffer.len() - self.at);
            self.at += step;
            self.skip -= step;
            let Some(bytes) = self.buffer[self.at..].first_chunk::<TAG_HEADER_BYTES>() else {
                return Ok(None);
            };
            let header = TagHeader::parse(bytes);
            let kind = match header.tag_type {
                TagHeader::AUDIO => Some(MessageKind::Audio),
                TagHeader::VIDEO => Some(MessageKind::Video),
                // 15 is AMF3's script data, as in RTMP.
                TagHeader::SCRIPT | 15 => Some(MessageKind::Script),
                _ if bytes[0] & 0xc0 != 0 || header.stream_id != 0 => {
                    return Err(Error::NotATag {
                        offset: self.base + self.at as u64,
                        tag_type: bytes[0],
                    });
                }
                _ => None,
            };
            let body_bytes = header.body_bytes as usize;
            let Some(kind) = kind.filter(|_| !header.filtered) else {
                self.skip = TAG_HEADER_BYTES + body_bytes + PREVIOUS_TAG_SIZE_BYTES;
                continue;
            };
            let body = self.at + TAG_HEADER_BYTES;
            if self.buffer.len() - body < body_bytes {
                return Ok(None);
            }
            self.at = body + body_bytes;
            self.skip = PREVIOUS_TAG_SIZE_BYTES;
            return Ok(Some(Tag {
                kind,
                timestamp: header.timestamp,
                body: &self.buffer[body..self.at],
            }));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::wire::emit_tag;
    use super::*;

    /// Kind, time and body.
    pub type OwnedTag = (MessageKind, u32, Vec<u8>);

    /// A small file with something of everything, and its tags.
    pub fn file() -> (Vec<u8>, Vec<OwnedTag>) {
        let mut out = b"FLV\x01\x05\0\0\0\x0bxx\0\0\0\0".to_vec();
        let tags = vec![
            (MessageKind::Script, 0, b"\x02\0\x0aonMetaData".to_vec()),
            (MessageKind::Video, 5, b"\x17\x01\0\0\0\0\0\0\x01\x65".to_vec()),
            (MessageKind::Audio, 0x0100_0000, b"\xaf\x01abc".to_vec()),
            (MessageKind::Audio, 0xffff_ffff, vec![]),
            (MessageKind::Script, 7, vec![7; 300]),
        ];
        for (index, (kind, timestamp, body)) in tags.iter().enumerate() {
            let tag_type = match kind {
                MessageKind::Audio => 8,
                MessageKind::Video => 9,
                MessageKind::Script => 18,
            };
            emit_tag(tag_type, *timestamp, &mut out, |out| out.extend_from_slice(body));
            if index == 1 {
                emit_tag(3, 1, &mut out, |out| out.extend_from_slice(b"of no known type"));
                emit_tag(8, 1, &mut out, |out| out.extend_from_slice(b"encrypted"));
                let at = out.len() - 24;
                out[at] |= 0x20;
            }
        }
        (out, tags)
    }

    pub fn read(reader: &mut Reader, found: &mut Vec<OwnedTag>) -> Result<(), Error> {
        while let Some(tag) = reader.next_tag()? {
            found.push((tag.kind, tag.timestamp, tag.body.to_vec()));
        }
        Ok(())
    }

    #[test]
    fn any_cut_of_a_file_gives_the_same_tags() {
        let (file, tags) = file();
        for step in 1..=file.len() {
            let (mut reader, mut found) = (Reader::new(), Vec::new());
            for piece in file.chunks(step) {
                reader.feed(piece);
                read(&mut reader, &mut found).unwrap();
            }
            assert_eq!(found, tags, "pieces of {step}");
            let flags = reader.header().map(|header| (header.audio, header.video));
            assert_eq!(flags, Some((true, true)));
        }
    }

    #[test]
    fn what_is_no_file_is_said() {
        let mut reader = Reader::new();
        reader.feed(b"RIFF....");
        assert_eq!(reader.next_tag(), Ok(None));
        reader.feed(b".");
        assert_eq!(reader.next_tag(), Err(Error::Signature { bytes: *b"RIF" }));
        let mut reader = Reader::new();
        reader.feed(b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
        reader.feed(b"garbage garbage");
        assert_eq!(
            reader.next_tag(),
            Err(Error::NotATag {
                offset: 13,
                tag_type: b'g'
            })
        );
    }
}
