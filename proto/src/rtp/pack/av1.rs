//! AV1 (AOMedia, "RTP Payload Format For AV1", 4.4): OBUs without size fields, up to three elements a packet, so that field W
//! counts them and the last needs no length; what does not fit goes on in the next packet.
//!
//! A keyframe without a sequence header gets the track's.

use super::limits::AV1_ELEMENTS_MAX;
use super::{Packet, Put};
use crate::codec::av1::{self, Obu};
use crate::media::{Frame, Track};

#[derive(Debug)]
pub(super) struct Av1 {
    payload_bytes_max: usize,
    /// Of the track, behind its header and size; maybe empty.
    sequence: Vec<u8>,
    skipped: u64,
}

/// Z, Y and N of the aggregation header; W stands at bit 4.
const CONTINUES: u8 = 0x80;
const CONTINUED: u8 = 0x40;
const NEW_SEQUENCE: u8 = 0x08;

impl Av1 {
    pub(super) fn new(track: &Track, payload_bytes_max: usize) -> Self {
        let obus = av1::Config::parse(&track.codec_data).map_or(&[][..], |config| config.obus);
        let mut sequence = Vec::new();
        let headers = av1::obus(obus).map_while(Result::ok);
        for obu in headers.filter(|obu| obu.kind == av1::OBU_SEQUENCE_HEADER) {
            obu.emit(&mut sequence);
        }
        Av1 {
            payload_bytes_max,
            sequence,
            skipped: 0,
        }
    }
}

fn obus(bytes: &[u8]) -> impl Iterator<Item = Obu<'_>> {
    let left_out = [av1::OBU_TEMPORAL_DELIMITER, av1::OBU_TILE_LIST, av1::OBU_PADDING];
    let read = av1::obus(bytes).map_while(Result::ok);
    read.filter(move |obu| !left_out.contains(&obu.kind))
}

impl super::Pack for Av1 {
    fn frame(&mut self, frame: &Frame<'_>, put: Put<'_>) {
        let mut kinds = obus(frame.data).map(|obu| obu.kind).peekable();
        if kinds.peek().is_none() {
            self.skipped += 1;
            return;
        }
        let has_sequence = !frame.key || kinds.any(|kind| kind == av1::OBU_SEQUENCE_HEADER);
        let sequence = if has_sequence { &[][..] } else { &self.sequence[..] };
        let mut filling = Filling::new(self.payload_bytes_max, if frame.key { NEW_SEQUENCE } else { 0 });
        for obu in obus(sequence).chain(obus(frame.data)) {
            filling.obu(&obu, put);
        }
        filling.send(0, true, put);
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// The packet that is being filled.
struct Filling<'a> {
    payload_bytes_max: usize,
    head: u8,
    elements: [Element<'a>; AV1_ELEMENTS_MAX],
    count: usize,
}

/// A whole OBU or a piece of one.
#[derive(Clone, Copy, Default)]
struct Element<'a> {
    /// The OBU's header where the element begins with it.
    head: [u8; 2],
    head_bytes: usize,
    payload: &'a [u8],
}

impl Element<'_> {
    fn bytes(&self) -> usize {
        self.head_bytes + self.payload.len()
    }
}

impl<'a> Filling<'a> {
    fn new(payload_bytes_max: usize, head: u8) -> Self {
        Filling {
            payload_bytes_max,
            head,
            elements: [Element::default(); AV1_ELEMENTS_MAX],
            count: 0,
        }
    }

    /// Bytes for one element more, all others having their lengths.
    fn room(&self) -> usize {
        let used = self.elements[..self.count].iter().map(|element| {
            let bytes = element.bytes();
            leb128(bytes).1 + bytes
        });
        let used: usize = 1 + used.sum::<usize>();
        match self.count {
            AV1_ELEMENTS_MAX => 0,
            _ => self.payload_bytes_max.saturating_sub(used),
        }
    }

    fn obu(&mut self, obu: &Obu<'a>, put: Put<'_>) {
        let mut element = Element {
            head: [
                obu.kind << 3 | u8::from(obu.extension.is_some()) << 2,
                obu.extension.unwrap_or(0),
            ],
            head_bytes: 1 + usize::from(obu.extension.is_some()),
            payload: obu.payload,
        };
        while element.bytes() > self.room() {
            // Its header stays in one piece, with something behind it.
            if self.room() <= element.head_bytes {
                self.send(0, false, put);
                continue;
            }
            let (piece, rest) = element.payload.split_at(self.room() - element.head_bytes);
            self.add(Element {
                payload: piece,
                ..element
            });
            self.send(CONTINUED, false, put);
            self.head |= CONTINUES;
            element = Element {
                payload: rest,
                ..Element::default()
            };
        }
        self.add(element);
    }

    fn add(&mut self, element: Element<'a>) {
        self.elements[self.count] = element;
        self.count += 1;
    }

    fn send(&mut self, flags: u8, is_last: bool, put: Put<'_>) {
        let head = [self.head | flags | (self.count as u8) << 4];
        let mut lengths = [([0; 4], 0); AV1_ELEMENTS_MAX];
        for (length, element) in lengths.iter_mut().zip(&self.elements[..self.count - 1]) {
            *length = leb128(element.bytes());
        }
        let mut parts: [&[u8]; 1 + 3 * AV1_ELEMENTS_MAX] = [&[]; 1 + 3 * AV1_ELEMENTS_MAX];
        parts[0] = &head;
        for (at, element) in self.elements[..self.count].iter().enumerate() {
            let (bytes, count) = &lengths[at];
            parts[1 + 3 * at] = &bytes[..*count];
            parts[2 + 3 * at] = &element.head[..element.head_bytes];
            parts[3 + 3 * at] = element.payload;
        }
        put(Packet {
            ticks: 0,
            marker: is_last,
            parts: &parts[..1 + 3 * self.count],
        });
        *self = Filling::new(self.payload_bytes_max, 0);
    }
}

/// LEB128 of a length in a packet, and how many bytes it takes.
fn leb128(mut value: usize) -> ([u8; 4], usize) {
    let (mut bytes, mut count) = ([0; 4], 0);
    loop {
        let more = if value > 0x7f { 0x80 } else { 0 };
        bytes[count] = value as u8 & 0x7f | more;
        count += 1;
        value >>= 7;
        if more == 0 {
            return (bytes, count);
        }
    }
}
