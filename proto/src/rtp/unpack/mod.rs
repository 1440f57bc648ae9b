//! Payloads of one RTP stream, in order, to coded pictures and sound: one file a payload format.
//!
//! Not here: order, loss and repetition of packets, unwrapping of timestamps, time of day (`receive`); tracks and breaks
//! (`input`).

use crate::media::{Codec, Format};

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

/// Puts payloads together. Bounded by [`super::limits`]; what cannot be read is counted and skipped, never a panic.
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
