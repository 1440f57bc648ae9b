//! FLV files as a list of tags, for tests that damage a stream on purpose.

/// One tag: type (8 audio, 9 video, 18 script), time in ms, body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    pub kind: u8,
    pub time: u32,
    pub body: Vec<u8>,
}

pub const AUDIO: u8 = 8;
pub const VIDEO: u8 = 9;
pub const SCRIPT: u8 = 18;

impl Tag {
    /// Whether the tag carries a frame, not a header of the codec.
    pub fn is_frame(&self, kind: u8) -> bool {
        self.kind == kind && self.body.get(1) == Some(&1)
    }

    /// Whether the tag is a header of its codec: enhanced or AVC, AAC, or their kin.
    pub fn is_header(&self) -> bool {
        let first = self.body.first().copied().unwrap_or(0);
        let legacy = self.body.get(1) == Some(&0);
        match self.kind {
            VIDEO if first & 0x80 != 0 => first & 0x0f == 0,
            VIDEO => first & 0x0f == 7 && legacy,
            AUDIO if first >> 4 == 9 => first & 0x0f == 0,
            AUDIO => first >> 4 == 10 && legacy,
            _ => false,
        }
    }

    /// Presentation minus decode time of a video frame, ms.
    pub fn composition(&self) -> i32 {
        i32::from_be_bytes([self.body[2], self.body[3], self.body[4], 0]) >> 8
    }

    pub fn set_composition(&mut self, millis: i32) {
        self.body[2..5].copy_from_slice(&millis.to_be_bytes()[1..]);
    }

    /// The NAL units of a video frame.
    pub fn nals(&self) -> Vec<Vec<u8>> {
        let mut rest = &self.body[5..];
        let mut nals = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (nal, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            nals.push(nal.to_vec());
            rest = after;
        }
        nals
    }

    pub fn set_nals(&mut self, nals: &[Vec<u8>]) {
        self.body.truncate(5);
        for nal in nals {
            self.body.extend_from_slice(&(nal.len() as u32).to_be_bytes());
            self.body.extend_from_slice(nal);
        }
    }
}

/// The same tags at other times: `start` is added, and wraps.
pub fn shifted(tags: &[Tag], start: u32) -> Vec<Tag> {
    let shift = |tag: &Tag| Tag {
        time: tag.time.wrapping_add(start),
        ..tag.clone()
    };
    tags.iter().map(shift).collect()
}

/// The tags of a whole file.
pub fn tags(file: &[u8]) -> Vec<Tag> {
    assert_eq!(&file[..3], b"FLV");
    whole_tags(file)
}

/// The tags that are whole in the beginning of a file.
pub fn whole_tags(file: &[u8]) -> Vec<Tag> {
    let mut rest = file.get(9 + 4..).unwrap_or(&[]);
    let mut tags = Vec::new();
    while rest.len() > 11 {
        let size = u32::from_be_bytes([0, rest[1], rest[2], rest[3]]) as usize;
        if rest.len() < 11 + size + 4 {
            break;
        }
        let time = u32::from_be_bytes([rest[7], rest[4], rest[5], rest[6]]);
        tags.push(Tag {
            kind: rest[0],
            time,
            body: rest[11..11 + size].to_vec(),
        });
        rest = &rest[11 + size + 4..];
    }
    tags
}

/// A file of these tags.
pub fn file(tags: &[Tag]) -> Vec<u8> {
    let mut file = b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00".to_vec();
    for tag in tags {
        let size = (tag.body.len() as u32).to_be_bytes();
        let time = tag.time.to_be_bytes();
        file.push(tag.kind);
        file.extend_from_slice(&size[1..]);
        file.extend_from_slice(&[time[1], time[2], time[3], time[0], 0, 0, 0]);
        file.extend_from_slice(&tag.body);
        file.extend_from_slice(&(tag.body.len() as u32 + 11).to_be_bytes());
    }
    file
}
