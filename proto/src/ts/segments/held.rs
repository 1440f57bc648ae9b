//! Frames of a segment that wait until what stands before them is known, in one buffer.
//!
//! Each is held as elementary stream, with room for the head of its PES packet before it.

use crate::media::{Frame, Kind};
use crate::ts::limits::{HELD_BYTES_MAX, PES_LENGTH_MAX, SPREAD_BYTES_MIN};
use crate::ts::mux::line::Line;
use crate::ts::wire::pes;

#[derive(Debug, Default)]
pub struct Held {
    /// In order of arrival.
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    /// What is before this has left, or never was: 27 MHz.
    floor: Option<i64>,
    /// What leaves next, in order of time.
    order: Vec<Entry>,
    /// A PES packet of several frames.
    pes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub line: usize,
    /// Ticks of its track.
    pub dts: i64,
    pub offset: i32,
    pub key: bool,
    /// Decode time, 27 MHz.
    pub media: i64,
    /// Where it stands in order of time: at `media`, or behind what has left.
    pub place: i64,
    /// In the buffer: of its payload.
    begin: usize,
    end: usize,
    /// In the order of time: the next frame in the same PES packet.
    next: Option<usize>,
}

impl Entry {
    pub fn payload_bytes(&self) -> usize {
        self.end - self.begin
    }
}

impl Held {
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
        self.floor = None;
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_over(&self) -> bool {
        self.bytes.len() > HELD_BYTES_MAX
    }

    /// Whether a frame of that line is held that does not stand before `cut`.
    pub fn is_held(&self, line: usize, cut: Option<i64>) -> bool {
        let Some(cut) = cut else { return false };
        self.entries
            .iter()
            .any(|entry| entry.line == line && entry.place >= cut)
    }

    /// The segment begins at `media`; called behind its first frame.
    pub fn begin(&mut self, media: i64) {
        self.floor = self.floor.max(Some(media));
    }

    /// False when the frame cannot be expressed.
    pub fn push(&mut self, index: usize, line: &mut Line, frame: &Frame<'_>, media: i64) -> bool {
        let room = self.bytes.len();
        self.bytes.resize(room + pes::HEAD_BYTES_MAX, 0);
        let begin = self.bytes.len();
        let expressed = line.put_elementary(frame, &mut self.bytes);
        let bytes = self.bytes.len() - begin;
        let stated = line.codec.kind() == Kind::Video || bytes + pes::HEAD_BYTES_MAX - 6 <= PES_LENGTH_MAX;
        if !expressed || !stated || bytes < SPREAD_BYTES_MIN - HEAD_BYTES_MIN {
            self.bytes.truncate(room);
            return false;
        }
        self.entries.push(Entry {
            line: index,
            dts: frame.dts,
            offset: frame.offset,
            key: frame.key,
            media,
            place: media.max(self.floor.unwrap_or(i64::MIN)),
            begin,
            end: self.bytes.len(),
            next: None,
        });
        true
    }

    /// Finds what stands before `cut`, and puts it in order of time; what leads first, and each line as it came.
    pub fn arrange(&mut self, cut: Option<i64>) {
        let leaves = |entry: &&Entry| cut.is_none_or(|cut| entry.place < cut);
        self.order.clear();
        self.order.extend(self.entries.iter().filter(leaves));
        self.order
            .sort_unstable_by_key(|entry| (entry.place, entry.line, entry.begin));
    }

    /// As [`Held::arrange`] has put it.
    pub fn arranged(&self) -> &[Entry] {
        &self.order
    }

    /// The frame at `next` of the arranged ones stands in the PES packet of the one at `at`, right behind it.
    pub fn join(&mut self, at: usize, next: usize) {
        self.order[at].next = Some(next);
    }

    /// The bytes of the PES packet that begins with the frame at `at` of the arranged ones, with `head`.
    pub fn packet(&mut self, at: usize, head: &[u8]) -> &[u8] {
        let entry = self.order[at];
        let Some(mut next) = entry.next else {
            let begin = entry.begin - head.len();
            self.bytes[begin..entry.begin].copy_from_slice(head);
            return &self.bytes[begin..entry.end];
        };
        self.pes.clear();
        self.pes.extend_from_slice(head);
        self.pes.extend_from_slice(&self.bytes[entry.begin..entry.end]);
        loop {
            let entry = self.order[next];
            self.pes.extend_from_slice(&self.bytes[entry.begin..entry.end]);
            match entry.next {
                Some(behind) => next = behind,
                None => return &self.pes,
            }
        }
    }

    /// What stands before `cut` has left.
    pub fn release(&mut self, cut: Option<i64>) {
        let Some(cut) = cut else {
            self.floor = self.floor.max(self.entries.iter().map(|entry| entry.place).max());
            self.entries.clear();
            self.bytes.clear();
            return;
        };
        self.floor = Some(cut);
        self.entries.retain(|entry| entry.place >= cut);
        let mut end = 0;
        for entry in &mut self.entries {
            let from = entry.begin - pes::HEAD_BYTES_MAX;
            let bytes = entry.end - from;
            self.bytes.copy_within(from..entry.end, end);
            (entry.begin, entry.end) = (end + pes::HEAD_BYTES_MAX, end + bytes);
            end += bytes;
        }
        self.bytes.truncate(end);
    }
}

/// Of a PES head with a PTS.
const HEAD_BYTES_MIN: usize = 14;
