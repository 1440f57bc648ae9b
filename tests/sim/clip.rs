//! What publishers send: H.264 with B-frames and AAC whose every frame says which one it is, and can be checked whole.
//!
//! A payload is a stamp and noise that follows from the stamp. All its bytes are above 0x80 or follow one, so that no
//! muxer finds a start code in them and none has to be escaped.

use std::sync::OnceLock;

use penstock_proto::flv;
use penstock_proto::media::{Codec, Format, Frame, Track};
use penstock_proto::tag::{MessageKind, mux};

use super::noise::Noise;

/// Codec data of the demo's tracks: real ones, so that whoever looks into them finds what he expects.
const DEMO: &[u8] = include_bytes!("../../src/demo/clip.flv");
const MARK: [u8; 4] = [0xf5, 0xd1, 0xf7, 0xe3];
/// Mark, publisher, track, number, length, place of the noise: seven bits a byte behind the mark.
const STAMP_BYTES: usize = 4 + 3 + 1 + 4 + 3 + 3;
const NOISE_BYTES: usize = 1 << 18;

pub const VIDEO: u8 = 0;
pub const AUDIO: u8 = 1;
/// ms between two pictures.
pub const PICTURE_MILLIS: u64 = 40;
/// Of AAC at the clip's rate.
const PACKET_SAMPLES: u64 = 1024;

/// A frame, as a viewer found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Counts the publishers of a world, as they connect.
    pub publisher: u32,
    pub track: u8,
    /// Counts the frames of a track of a publisher.
    pub number: u32,
}

/// One message of a publisher.
#[derive(Clone, Debug)]
pub struct Tag {
    pub kind: MessageKind,
    /// ms since the publisher's begin.
    pub millis: u64,
    pub body: Vec<u8>,
}

fn table() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut noise = Noise::new(7);
        (0..2 * NOISE_BYTES).map(|_| noise.next() as u8 | 0x80).collect()
    })
}

/// The tracks of the demo's clip, as its own demuxer finds them.
fn tracks() -> &'static [Track] {
    static TRACKS: OnceLock<Vec<Track>> = OnceLock::new();
    TRACKS.get_or_init(|| {
        let mut reader = flv::Reader::new();
        let mut demux = penstock_proto::tag::Demux::new();
        reader.feed(DEMO);
        while let Ok(Some(tag)) = reader.next_tag() {
            demux
                .push(tag.kind, tag.timestamp, tag.body)
                .expect("the demo's clip is right");
            while demux.poll().is_some() {}
            if demux.tracks().len() == 2 {
                break;
            }
        }
        let find = |codec| demux.tracks().iter().find(|track| track.codec == codec).cloned();
        [Codec::H264, Codec::Aac]
            .map(|codec| find(codec).expect("the demo has it"))
            .to_vec()
    })
}

fn sample_rate() -> u64 {
    match tracks()[1].format {
        Format::Audio { sample_rate, .. } => u64::from(sample_rate),
        _ => unreachable!("an audio track has an audio format"),
    }
}

/// Writes a payload of `bytes` bytes, or a little more when that is too short for a stamp.
fn payload(seen: Seen, bytes: usize, out: &mut Vec<u8>) {
    let noise_bytes = bytes.saturating_sub(STAMP_BYTES);
    let place = (u64::from(seen.publisher) * 977 + u64::from(seen.number) * 7919 + u64::from(seen.track) * 13) as usize
        % NOISE_BYTES;
    out.extend_from_slice(&MARK);
    for (value, places) in [
        (seen.publisher as usize, 3),
        (seen.track as usize, 1),
        (seen.number as usize, 4),
        (noise_bytes, 3),
        (place, 3),
    ] {
        out.extend((0..places).rev().map(|at| (value >> (7 * at)) as u8 & 0x7f | 0x80));
    }
    out.extend_from_slice(&table()[place..place + noise_bytes]);
}

/// Why bytes are no payload.
#[derive(Debug)]
pub enum Unreadable {
    /// Right as far as they go.
    Short { seen: Option<Seen>, bytes: usize },
    Wrong {
        seen: Option<Seen>,
        at: usize,
        bytes: Vec<u8>,
    },
}

impl From<Unreadable> for String {
    fn from(unreadable: Unreadable) -> String {
        unreadable.to_string()
    }
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unreadable::Short { seen, bytes } => write!(f, "payload of {seen:?} ends after {bytes} bytes"),
            Unreadable::Wrong { seen, at, bytes } => {
                write!(f, "payload of {seen:?} is another's from byte {at} on: {bytes:02x?}")
            }
        }
    }
}

/// What the payload says it is, and how long it is.
pub fn read_payload(bytes: &[u8]) -> Result<(Seen, usize), Unreadable> {
    let Some((stamp, rest)) = bytes.split_first_chunk::<STAMP_BYTES>() else {
        return Err(Unreadable::Short {
            seen: None,
            bytes: bytes.len(),
        });
    };
    if stamp[..4] != MARK || stamp[4..].iter().any(|byte| *byte < 0x80) {
        return Err(Unreadable::Wrong {
            seen: None,
            at: 0,
            bytes: stamp.to_vec(),
        });
    }
    let mut at = 4;
    let mut value = |places: usize| {
        let bytes = &stamp[at..at + places];
        at += places;
        bytes
            .iter()
            .fold(0_usize, |sum, byte| sum << 7 | usize::from(byte & 0x7f))
    };
    let seen = Seen {
        publisher: value(3) as u32,
        track: value(1) as u8,
        number: value(4) as u32,
    };
    let (noise_bytes, place) = (value(3), value(3) % NOISE_BYTES);
    let noise = &table()[place..place + noise_bytes.min(NOISE_BYTES)];
    let there = &rest[..rest.len().min(noise_bytes)];
    if *there != noise[..there.len()] {
        let at = there.iter().zip(noise).position(|(a, b)| a != b).unwrap_or(0);
        return Err(Unreadable::Wrong {
            seen: Some(seen),
            at,
            bytes: there[at..there.len().min(at + 24)].to_vec(),
        });
    }
    if there.len() < noise_bytes {
        return Err(Unreadable::Short {
            seen: Some(seen),
            bytes: bytes.len(),
        });
    }
    Ok((seen, STAMP_BYTES + noise_bytes))
}

/// All payloads in bytes that hold other things between them.
pub fn find_payloads(bytes: &[u8], found: &mut Vec<Seen>) -> Result<(), Unreadable> {
    let mut at = 0;
    while let Some(next) = find(&bytes[at..]) {
        let (seen, len) = read_payload(&bytes[at + next..])?;
        found.push(seen);
        at += next + len;
    }
    Ok(())
}

/// Where the next mark stands. Noise is never searched: it is passed over with its stamp.
fn find(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let next = at + bytes[at..].iter().position(|byte| *byte == MARK[0])?;
        if bytes[next..].starts_with(&MARK) {
            return Some(next);
        }
        at = next + 1;
    }
}

/// How a publisher's pictures and sound are.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub key_bytes: usize,
    pub picture_bytes: usize,
    /// Pictures from one keyframe to the next; one and a multiple of three, as two B-frames want it.
    pub gop: u64,
    pub frames: u64,
    pub has_audio: bool,
}

/// Makes a publisher's messages one by one.
#[derive(Debug)]
pub struct Maker {
    shape: Shape,
    publisher: u32,
    pictures: u64,
    packets: u64,
}

impl Maker {
    pub fn new(publisher: u32, shape: Shape) -> Maker {
        Maker {
            shape,
            publisher,
            pictures: 0,
            packets: 0,
        }
    }

    /// What comes before the first frame.
    pub fn setup(&self) -> Vec<Tag> {
        let tracks = self.tracks();
        let tag = |kind, body| Tag { kind, millis: 0, body };
        let mut out = Vec::new();
        mux::metadata(tracks, &mut out);
        let mut tags = vec![tag(MessageKind::Script, out)];
        for track in tracks {
            let mut out = Vec::new();
            assert!(mux::sequence_header(track, &mut out));
            tags.push(tag(mux::message_kind(track), out));
        }
        tags
    }

    fn tracks(&self) -> &'static [Track] {
        &tracks()[..1 + usize::from(self.shape.has_audio)]
    }

    /// How many frames of each track it makes.
    pub fn made(&self) -> [u64; 2] {
        [self.pictures, self.packets]
    }

    fn packet_micros(&self) -> u64 {
        self.packets * PACKET_SAMPLES * 1_000_000 / sample_rate()
    }

    /// The next message; none behind the last.
    pub fn next(&mut self) -> Option<Tag> {
        let picture_micros = self.pictures * PICTURE_MILLIS * 1000;
        let pictures_left = self.pictures < self.shape.frames;
        let packets_left = self.shape.has_audio && self.packet_micros() < self.shape.frames * PICTURE_MILLIS * 1000;
        if packets_left && (!pictures_left || self.packet_micros() < picture_micros) {
            return Some(self.packet());
        }
        pictures_left.then(|| self.picture())
    }

    fn picture(&mut self) -> Tag {
        let at = self.pictures;
        self.pictures += 1;
        let track = &tracks()[0];
        let place = at % self.shape.gop;
        let key = place == 0;
        // I P B B P B B: a P is shown behind the two B that follow it.
        let shown_later = match place {
            0 => 1,
            place if place % 3 == 1 => 3,
            _ => 0,
        };
        let bytes = if key {
            self.shape.key_bytes
        } else {
            self.shape.picture_bytes
        };
        let mut unit = vec![0; 4];
        // An IDR or another slice; a byte that is no part of a slice's head that anybody reads.
        unit.extend_from_slice(&[if key { 0x65 } else { 0x41 }, 0x88]);
        let seen = Seen {
            publisher: self.publisher,
            track: VIDEO,
            number: at as u32,
        };
        payload(seen, bytes, &mut unit);
        let unit_bytes = (unit.len() - 4) as u32;
        unit[..4].copy_from_slice(&unit_bytes.to_be_bytes());
        let frame = Frame {
            track: track.id,
            dts: (at * PICTURE_MILLIS * 90) as i64,
            offset: (shown_later * PICTURE_MILLIS * 90) as i32,
            key,
            data: &unit,
        };
        let mut body = Vec::new();
        mux::frame_body(track, &frame, &mut body);
        Tag {
            kind: MessageKind::Video,
            millis: at * PICTURE_MILLIS,
            body,
        }
    }

    fn packet(&mut self) -> Tag {
        let micros = self.packet_micros();
        let seen = Seen {
            publisher: self.publisher,
            track: AUDIO,
            number: self.packets as u32,
        };
        self.packets += 1;
        let mut data = Vec::new();
        payload(seen, 120, &mut data);
        let track = &tracks()[1];
        let frame = Frame {
            track: track.id,
            dts: 0,
            offset: 0,
            key: true,
            data: &data,
        };
        let mut body = Vec::new();
        mux::frame_body(track, &frame, &mut body);
        Tag {
            kind: MessageKind::Audio,
            millis: (micros + 500) / 1000,
            body,
        }
    }
}
