//! What H.264 and HEVC have in common: units whole, joined while they are no pictures, or in fragments.
//!
//! Parameter sets of the track stand before every keyframe that does not have its own, behind a delimiter if it has one.

use std::marker::PhantomData;

use super::{Packet, Put};
use crate::codec::nal;
use crate::media::Frame;

/// How a codec says it.
pub(super) trait Syntax: std::fmt::Debug {
    /// Of a unit's header, of an aggregate's, and of a fragment's less one.
    const HEAD_BYTES: usize;

    /// Whether a payload can begin with `unit`: its header is there, and its type is none of the payload format's own.
    fn is_carried(unit: &[u8]) -> bool;

    fn is_delimiter(unit: &[u8]) -> bool;

    /// Parameter sets and what else is small and no picture.
    fn is_joined(unit: &[u8]) -> bool;

    /// Whether a keyframe brings all the parameter sets that a decoder needs.
    fn has_sets(frame: &[u8]) -> bool;

    /// Header of an aggregate of one unit, with a byte to spare where it has one.
    fn aggregate(unit: &[u8]) -> [u8; 2];

    /// Header of an aggregate with one unit more.
    fn merge(head: [u8; 2], unit: &[u8]) -> [u8; 2];

    /// Header of a fragment; the last byte of it takes [`START`] and [`END`].
    fn fragment(unit: &[u8]) -> [u8; 3];
}

const START: u8 = 0x80;
const END: u8 = 0x40;
const LENGTH_BYTES: usize = 2;

#[derive(Debug)]
pub(super) struct Slicer<S> {
    payload_bytes_max: usize,
    /// Of the track, behind 4-byte lengths.
    sets: Vec<u8>,
    joined: Joined,
    skipped: u64,
    syntax: PhantomData<S>,
}

/// Units that wait for the end of their aggregate, each behind its length.
#[derive(Debug, Default)]
struct Joined {
    bytes: Vec<u8>,
    count: usize,
    head: [u8; 2],
}

impl<S: Syntax> Slicer<S> {
    pub(super) fn new<'a>(sets: impl Iterator<Item = &'a [u8]>, payload_bytes_max: usize) -> Self {
        let mut own = Vec::new();
        let carried = sets.filter(|set| S::is_carried(set));
        carried.for_each(|set| nal::push_unit(set, &mut own));
        Slicer {
            payload_bytes_max,
            sets: own,
            joined: Joined::default(),
            skipped: 0,
            syntax: PhantomData,
        }
    }

    /// One unit, as an own payload or several, or kept for an aggregate.
    fn unit(&mut self, unit: &[u8], marker: bool, put: Put<'_>) {
        let max = self.payload_bytes_max;
        if S::is_joined(unit) && S::HEAD_BYTES + LENGTH_BYTES + unit.len() <= max {
            if S::HEAD_BYTES + self.joined.bytes.len() + LENGTH_BYTES + unit.len() > max {
                self.flush(false, put);
            }
            self.joined.add::<S>(unit);
            if marker {
                self.flush(true, put);
            }
            return;
        }
        self.flush(false, put);
        if unit.len() <= max {
            put(Packet {
                ticks: 0,
                marker,
                parts: &[unit],
            });
        } else {
            self.fragments(unit, marker, put);
        }
    }

    fn fragments(&self, unit: &[u8], marker: bool, put: Put<'_>) {
        let head = S::fragment(unit);
        let head_bytes = S::HEAD_BYTES + 1;
        let body = &unit[S::HEAD_BYTES..];
        let mut pieces = body.chunks(self.payload_bytes_max - head_bytes).peekable();
        let mut place = START;
        while let Some(piece) = pieces.next() {
            let is_last = pieces.peek().is_none();
            let mut head = head;
            head[head_bytes - 1] |= place | if is_last { END } else { 0 };
            put(Packet {
                ticks: 0,
                marker: marker && is_last,
                parts: &[&head[..head_bytes], piece],
            });
            place = 0;
        }
    }

    fn flush(&mut self, marker: bool, put: Put<'_>) {
        let Joined { bytes, count, head } = &mut self.joined;
        match *count {
            0 => return,
            1 => put(Packet {
                ticks: 0,
                marker,
                parts: &[&bytes[LENGTH_BYTES..]],
            }),
            _ => put(Packet {
                ticks: 0,
                marker,
                parts: &[&head[..S::HEAD_BYTES], bytes],
            }),
        }
        bytes.clear();
        *count = 0;
    }
}

impl Joined {
    fn add<S: Syntax>(&mut self, unit: &[u8]) {
        self.head = match self.count {
            0 => S::aggregate(unit),
            _ => S::merge(self.head, unit),
        };
        let bytes = u16::try_from(unit.len()).expect("a payload is below 64 KiB, and the unit fits into one");
        self.bytes.extend_from_slice(&bytes.to_be_bytes());
        self.bytes.extend_from_slice(unit);
        self.count += 1;
    }
}

impl<S: Syntax> super::Pack for Slicer<S> {
    fn frame(&mut self, frame: &Frame<'_>, put: Put<'_>) {
        let units = || nal::units(frame.data).filter(|unit| S::is_carried(unit));
        let count = units().count();
        if count == 0 {
            self.skipped += 1;
            return;
        }
        let mut sets_due = frame.key && !S::has_sets(frame.data);
        for (at, unit) in units().enumerate() {
            if sets_due && !(at == 0 && S::is_delimiter(unit)) {
                self.put_sets(put);
                sets_due = false;
            }
            self.unit(unit, at + 1 == count, put);
        }
        debug_assert_eq!(self.joined.count, 0, "the frame's last unit sends what was joined");
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}

impl<S: Syntax> Slicer<S> {
    fn put_sets(&mut self, put: Put<'_>) {
        let sets = std::mem::take(&mut self.sets);
        for set in nal::units(&sets) {
            self.unit(set, false, put);
        }
        self.sets = sets;
    }
}
