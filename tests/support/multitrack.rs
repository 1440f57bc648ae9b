//! Enhanced RTMP v2 bodies of several tracks, and modified ones, written by hand from its text: AvMultitrackType
//! OneTrack, ManyTracks and ManyTracksManyCodecs, and ModEx with a nanosecond offset.

use super::flv::{AUDIO, Tag, VIDEO};

/// One track's part of a message: what stands behind its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    kind: u8,
    pub time: u32,
    /// 1 a keyframe, 2 another; sound has 0.
    frame_type: u8,
    packet_type: u8,
    fourcc: [u8; 4],
    payload: Vec<u8>,
}

const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const CODED_FRAMES_X: u8 = 3;

impl Part {
    /// Of a message of one track: AVC and AAC by their old numbers, or any codec by its fourCC.
    pub fn of(tag: &Tag) -> Part {
        let body = &tag.body[..];
        let is_video = tag.kind == VIDEO;
        let mut part = Part {
            kind: tag.kind,
            time: tag.time,
            frame_type: if is_video { body[0] >> 4 & 7 } else { 0 },
            packet_type: body[0] & 0x0F,
            fourcc: [0; 4],
            payload: Vec::new(),
        };
        match (tag.kind, body[0]) {
            (VIDEO, 0x17 | 0x27) => {
                part.packet_type = if body[1] == 0 { SEQUENCE_START } else { CODED_FRAMES };
                part.fourcc = *b"avc1";
                part.payload = body[if body[1] == 0 { 5 } else { 2 }..].to_vec();
            }
            (AUDIO, 0xAF) => {
                part.packet_type = if body[1] == 0 { SEQUENCE_START } else { CODED_FRAMES };
                part.fourcc = *b"mp4a";
                part.payload = body[2..].to_vec();
            }
            (VIDEO, 0x80..) | (AUDIO, 0x90..=0x9F) => {
                part.fourcc = body[1..5].try_into().expect("four bytes");
                part.payload = body[5..].to_vec();
            }
            (kind, first) => panic!("no body of one track: type {kind}, {first:#04x}"),
        }
        if part.packet_type == CODED_FRAMES_X {
            part.packet_type = CODED_FRAMES;
            part.payload.splice(..0, [0; 3]);
        }
        part
    }

    pub fn is_frame(&self) -> bool {
        self.packet_type == CODED_FRAMES
    }

    /// The same part at another time.
    pub fn at(&self, time: u32) -> Part {
        Part { time, ..self.clone() }
    }

    /// The same part with other bytes behind its number.
    pub fn with_payload(&self, of: &Part) -> Part {
        Part {
            payload: of.payload.clone(),
            ..self.clone()
        }
    }

    fn first(&self, packet_type: u8) -> u8 {
        match self.kind {
            VIDEO => 0x80 | self.frame_type << 4 | packet_type,
            _ => 0x90 | packet_type,
        }
    }

    fn multitrack(&self) -> u8 {
        self.first(if self.kind == VIDEO { 6 } else { 5 })
    }

    fn tag(&self, body: Vec<u8>) -> Tag {
        Tag {
            kind: self.kind,
            time: self.time,
            body,
        }
    }
}

/// As OBS sends its second track and those behind it.
pub fn one_track(id: u8, part: &Part) -> Tag {
    let mut body = vec![part.multitrack(), part.packet_type];
    body.extend_from_slice(&part.fourcc);
    body.push(id);
    body.extend_from_slice(&part.payload);
    part.tag(body)
}

/// Tracks of one codec, from number 0.
pub fn many_tracks(parts: &[&Part]) -> Tag {
    let first = agreed(parts);
    let mut body = vec![first.multitrack(), 0x10 | first.packet_type];
    body.extend_from_slice(&first.fourcc);
    for (id, part) in parts.iter().enumerate() {
        assert_eq!(part.fourcc, first.fourcc);
        numbered(id, part, &mut body);
    }
    first.tag(body)
}

/// Tracks of any codecs, from number 0.
pub fn many_codecs(parts: &[&Part]) -> Tag {
    let first = agreed(parts);
    let mut body = vec![first.multitrack(), 0x20 | first.packet_type];
    for (id, part) in parts.iter().enumerate() {
        body.extend_from_slice(&part.fourcc);
        numbered(id, part, &mut body);
    }
    first.tag(body)
}

/// A message of one track that is due `nanos` after its millisecond.
pub fn later(nanos: u32, part: &Part) -> Tag {
    let mut body = vec![part.first(7), 2];
    body.extend_from_slice(&nanos.to_be_bytes()[1..]);
    body.push(part.packet_type);
    body.extend_from_slice(&part.fourcc);
    body.extend_from_slice(&part.payload);
    part.tag(body)
}

fn numbered(id: usize, part: &Part, body: &mut Vec<u8>) {
    body.push(id as u8);
    body.extend_from_slice(&(part.payload.len() as u32).to_be_bytes()[1..]);
    body.extend_from_slice(&part.payload);
}

/// What is said once for all of them.
fn agreed<'a>(parts: &[&'a Part]) -> &'a Part {
    let first = parts[0];
    for part in parts {
        let said = |part: &Part| (part.kind, part.frame_type, part.packet_type);
        assert_eq!(said(part), said(first), "one message has one type of frame and packet");
    }
    first
}
