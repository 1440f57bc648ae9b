//! Payloads of one RTP stream, in order, to coded pictures and sound: one file a payload format.
//!
//! Not here: order, loss and repetition of packets, unwrapping of timestamps, time of day (`receive`); tracks and breaks
//! (`input`).

mod aac;
mod av1;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod h264;
mod hevc;
mod latm;
pub mod limits;
mod mjpeg;
mod opaque;
mod picture;
mod pieces;
mod samples;
mod sets;
mod sound;
#[cfg(test)]
pub(super) mod tests;
mod text;
mod vp8;
mod vp9;

use super::format::PayloadFormat;
use crate::media::{Codec, Format, Kind, rescale};

/// For one RTP stream of this format. What is not read here stays in its packets, a frame each ([`Codec::Rtp`]).
pub fn of(format: &PayloadFormat) -> Box<dyn Unpack> {
    let is_static = format.payload_type < DYNAMIC_TYPES;
    // Several cameras give a static payload type a name of their own (Hikvision: 8 is "PCM").
    let unpack = by_name(&format.encoding, format).or_else(|| {
        let name = static_name(format.payload_type).filter(|_| is_static)?;
        by_name(name, format)
    });
    match unpack {
        Some(unpack) if format.kind == Kind::Video && format.clock_rate != VIDEO_TIMESCALE => Box::new(Rescaled {
            clock_rate: format.clock_rate.max(1),
            unpack,
        }),
        Some(unpack) => unpack,
        None => Box::new(opaque::Opaque::new(format)),
    }
}

fn by_name(name: &str, format: &PayloadFormat) -> Option<Box<dyn Unpack>> {
    use frames::{Frames, Shape};
    use samples::{Opus, Samples};
    Some(match (format.kind, name) {
        (Kind::Video, "H264") => Box::new(h264::H264::new(format)),
        (Kind::Video, "H265" | "HEVC") => Box::new(hevc::Hevc::new(format)),
        // The second is Chrome's name before version 97.
        (Kind::Video, "AV1" | "AV1X") => Box::new(av1::Av1::new()),
        (Kind::Video, "VP8") => Box::new(vp8::Vp8::default()),
        (Kind::Video, "VP9") => Box::new(vp9::Vp9::default()),
        (Kind::Video, "JPEG") => Box::new(mjpeg::Mjpeg::default()),
        (Kind::Audio, "MPEG4-GENERIC") => Box::new(aac::Aac::new(format)),
        (Kind::Audio, "MP4A-LATM") => Box::new(latm::Latm::new(format)),
        (Kind::Audio, "OPUS") => Box::new(Opus::new(format)),
        (Kind::Audio, "PCMA") => Box::new(Samples::g711(Codec::Alaw, format)),
        (Kind::Audio, "PCMU") => Box::new(Samples::g711(Codec::Ulaw, format)),
        (Kind::Audio, "G722") => Box::new(Samples::g722(format)),
        (Kind::Audio, "L16") => Box::new(Samples::linear(format, 16)),
        (Kind::Audio, "L24") => Box::new(Samples::linear(format, 24)),
        (Kind::Audio, "MPA") => Box::new(Frames::new(Shape::Mpa, format)),
        (Kind::Audio, "AC3") => Box::new(Frames::new(Shape::Ac3, format)),
        (Kind::Audio, "EAC3") => Box::new(Frames::new(Shape::Eac3, format)),
        _ => return None,
    })
}

/// RFC 3551, 6, as far as there is a codec for it.
fn static_name(payload_type: u8) -> Option<&'static str> {
    Some(match payload_type {
        0 => "PCMU",
        8 => "PCMA",
        9 => "G722",
        10 | 11 => "L16",
        14 => "MPA",
        26 => "JPEG",
        _ => return None,
    })
}

/// A video format whose clock is not of 90,000 ticks.
#[derive(Debug)]
struct Rescaled {
    clock_rate: u32,
    unpack: Box<dyn Unpack>,
}

impl Unpack for Rescaled {
    fn packet(&mut self, payload: &Payload<'_>, out: &mut Units) {
        let timestamp = rescale(payload.timestamp, self.clock_rate, VIDEO_TIMESCALE);
        self.unpack.packet(&Payload { timestamp, ..*payload }, out);
    }

    fn flush(&mut self, out: &mut Units) {
        self.unpack.flush(out);
    }

    fn unreadable(&self) -> u64 {
        self.unpack.unreadable()
    }
}

/// The first payload type whose meaning is the description's.
const DYNAMIC_TYPES: u8 = 96;

/// Ticks per second of the RTP clock of all video formats, and of tracks of them.
const VIDEO_TIMESCALE: u32 = 90_000;

/// What is known of what a stream carries, from its description or from the stream itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    pub codec: Codec,
    /// Ticks per second of [`Unit::timestamp`], by the conventions of [`crate::media`].
    pub timescale: u32,
    /// By the conventions of [`crate::media`].
    pub codec_data: Vec<u8>,
    pub format: Format,
}

/// One coded picture, or sound with one timestamp, lent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit<'a> {
    /// Presentation time in [`Setup::timescale`]: the packet's unwrapped timestamp, moved on for what is not the first of its
    /// packet.
    pub timestamp: i64,
    pub key: bool,
    pub wholeness: Wholeness,
    /// By the conventions of [`crate::media`].
    pub data: &'a [u8],
}

/// Whether anything of a unit, or of what it depends on, was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wholeness {
    Whole,
    /// Of this unit itself.
    Damaged,
}

/// Whether packets are missing right before this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    None,
    Lost,
}

/// One packet in order.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// Unwrapped, in ticks of the format's clock rate.
    pub timestamp: i64,
    pub marker: bool,
    pub gap: Gap,
    pub data: &'a [u8],
}

/// Puts payloads together. Bounded by [`limits`]; what cannot be read is counted and skipped, never a panic.
pub trait Unpack: std::fmt::Debug {
    /// One packet. What it completes is pushed to `out`; a setup stands before the first unit that needs it.
    fn packet(&mut self, payload: &Payload<'_>, out: &mut Units);

    /// Nothing more comes, or time jumps: what is there is completed.
    fn flush(&mut self, out: &mut Units);

    /// Payloads that could not be read.
    fn unreadable(&self) -> u64;
}

/// What was completed, in order: a reusable buffer, cleared by its owner.
#[derive(Debug, Default)]
pub struct Units {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
enum Entry {
    Setup(Setup),
    Unit {
        timestamp: i64,
        key: bool,
        wholeness: Wholeness,
        end: usize,
    },
}

/// One of [`Units`].
#[derive(Debug, PartialEq)]
pub enum Unpacked<'a> {
    /// In force for the units behind it.
    Setup(&'a Setup),
    Unit(Unit<'a>),
}

impl Units {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    pub fn push_setup(&mut self, setup: Setup) {
        self.entries.push(Entry::Setup(setup));
    }

    /// One unit: whatever `write` appends. Writing nothing makes none.
    pub fn push(&mut self, timestamp: i64, key: bool, wholeness: Wholeness, write: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.bytes.len();
        write(&mut self.bytes);
        if self.bytes.len() > begin {
            let end = self.bytes.len();
            self.entries.push(Entry::Unit {
                timestamp,
                key,
                wholeness,
                end,
            });
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Unpacked<'_>> {
        let mut begin = 0;
        self.entries.iter().map(move |entry| match entry {
            Entry::Setup(setup) => Unpacked::Setup(setup),
            Entry::Unit {
                timestamp,
                key,
                wholeness,
                end,
            } => {
                let data = &self.bytes[begin..*end];
                begin = *end;
                Unpacked::Unit(Unit {
                    timestamp: *timestamp,
                    key: *key,
                    wholeness: *wholeness,
                    data,
                })
            }
        })
    }
}
