//! Reading a ring from any shard, without locks: copy, then look whether it was still there.
//!
//! Not a cursor: a reader keeps no place, it is asked for sequences.
//!
//! Specification: DESIGN 4.1, "a reader checks after reading that the tail has not passed it".

use std::ops::Range;

use crate::pool::BlockId;
use crate::sys::sync::{Arc, Ordering, fence};

use super::limits::SEGMENT_TRACKS_MAX;
use super::{
    AT_BREAKS_END, AT_BREAKS_FIRST, AT_NEWEST_KEY, AT_SEGMENT_NUMBER_FIRST, AT_STATE, AT_STATE_SINCE, BREAKS, Break,
    Entry, INDEX_ENTRY_BYTES, Missing, SEGMENT_BYTES, STATE_LIVE, STATE_PUBLISHER_GONE, Segment, Shared, State,
    TrackStart, generations, halves,
};

/// Any shard, any number. Keeps the ring's blocks.
#[derive(Clone, Debug)]
pub struct Reader(pub(super) Arc<Shared>);

impl Reader {
    /// The sequence after the newest frame.
    pub fn head_sequence(&self) -> u64 {
        self.0.index.head() / INDEX_ENTRY_BYTES
    }

    /// The oldest frame; equal to the head when there is none.
    pub fn tail_sequence(&self) -> u64 {
        self.0.index.tail() / INDEX_ENTRY_BYTES
    }

    /// The newest key frame of the main track.
    pub fn newest_key(&self) -> Option<u64> {
        let key = self.0.word(AT_NEWEST_KEY).load(Ordering::Acquire).checked_sub(1)?;
        (key >= self.tail_sequence()).then_some(key)
    }

    /// The newest main key frame at or before `sequence`, when both are in the ring.
    pub fn key_at_or_before(&self, sequence: u64) -> Option<u64> {
        let distance = self.entry(sequence).ok()?.key_distance?;
        let key = sequence - u64::from(distance);
        (key >= self.tail_sequence()).then_some(key)
    }

    pub fn state(&self) -> State {
        match self.0.word(AT_STATE).load(Ordering::Acquire) {
            STATE_LIVE => State::Live,
            STATE_PUBLISHER_GONE => State::PublisherGone {
                since_micros: self.0.word(AT_STATE_SINCE).load(Ordering::Relaxed) as i64,
            },
            _ => State::Ended,
        }
    }

    /// The frame's line alone.
    pub fn entry(&self, sequence: u64) -> Result<Entry, Missing> {
        let head = self.head_sequence();
        if sequence >= head {
            return Err(Missing::NotYet { sequence, head });
        }
        let words = self.0.index.read_words(sequence * INDEX_ENTRY_BYTES);
        let tail = self.tail_sequence();
        match words {
            Some(words) if sequence >= tail => Ok(Entry::from_words(words)),
            _ => Err(Missing::Gone { sequence, tail }),
        }
    }

    /// The frame's line, and its whole packet in `packet`, whose content is replaced.
    pub fn frame(&self, sequence: u64, packet: &mut Vec<u8>) -> Result<Entry, Missing> {
        let entry = self.entry(sequence)?;
        self.copy(&entry, entry.position, entry.bytes, packet)
    }

    /// The frame's line, and its own bytes alone in `payload`, whose content is replaced.
    pub fn payload(&self, sequence: u64, payload: &mut Vec<u8>) -> Result<Entry, Missing> {
        let entry = self.entry(sequence)?;
        self.copy(
            &entry,
            entry.position + u64::from(entry.payload_start),
            entry.payload_bytes,
            payload,
        )
    }

    fn copy(&self, entry: &Entry, position: u64, bytes: u32, to: &mut Vec<u8>) -> Result<Entry, Missing> {
        match self.0.packets.copy_to(position, bytes as usize, to) {
            true => Ok(*entry),
            false => Err(Missing::Gone {
                sequence: entry.sequence,
                tail: self.tail_sequence(),
            }),
        }
    }

    /// Codec data and description (both replaced); false when the ring does not have them: no frame in it cites them.
    pub fn generation(&self, track: u32, generation: u32, codec: &mut Vec<u8>, description: &mut Vec<u8>) -> bool {
        generations::read(&self.0, track, generation, codec, description)
    }

    /// Breaks that stand at a sequence in `range`, in their order, appended to `out`.
    pub fn breaks(&self, range: Range<u64>, out: &mut Vec<Break>) -> Result<(), Missing> {
        let start = out.len();
        let end = self.0.word(AT_BREAKS_END).load(Ordering::Acquire);
        let first = self.0.word(AT_BREAKS_FIRST).load(Ordering::Acquire);
        for ordinal in (first..end).rev() {
            let sequence = self.0.table_word(BREAKS, ordinal, 0).load(Ordering::Relaxed);
            let kind = self.0.table_word(BREAKS, ordinal, 1).load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            if ordinal < self.0.word(AT_BREAKS_FIRST).load(Ordering::Acquire) || sequence < range.start {
                break;
            }
            if sequence < range.end {
                out.push(Break {
                    sequence,
                    kind: kind as u8,
                });
            }
        }
        out[start..].reverse();
        // A break leaves after the tail has passed it: what was not found was not in the range, unless the tail says so.
        let tail = self.tail_sequence();
        if range.start < tail {
            out.truncate(start);
            return Err(Missing::Gone {
                sequence: range.start,
                tail,
            });
        }
        Ok(())
    }

    /// Numbers of the segments in the ring.
    pub fn segments(&self) -> Range<u64> {
        let first = self.0.word(AT_SEGMENT_NUMBER_FIRST).load(Ordering::Relaxed);
        let tail = self.0.segments.tail();
        first + tail / SEGMENT_BYTES..first + self.0.segments.head() / SEGMENT_BYTES
    }

    /// A segment's facts in `segment`, which is replaced; false when the ring does not, or no longer, have it.
    pub fn segment(&self, number: u64, segment: &mut Segment) -> bool {
        segment.tracks.clear();
        if !self.segments().contains(&number) {
            return false;
        }
        let first = self.0.word(AT_SEGMENT_NUMBER_FIRST).load(Ordering::Relaxed);
        let Some(words) = self
            .0
            .segments
            .read_words::<{ super::SEGMENT_WORDS }>((number - first) * SEGMENT_BYTES)
        else {
            return false;
        };
        let (flags, tracks) = halves(words[3]);
        segment.number = words[0];
        segment.start_micros = words[1] as i64;
        segment.duration_micros = words[2] as i64;
        segment.flags = flags;
        let starts = words[6..]
            .chunks_exact(2)
            .take((tracks as usize).min(SEGMENT_TRACKS_MAX));
        segment.tracks.extend(starts.map(|start| TrackStart {
            track: start[0] as u32,
            sequence: start[1],
        }));
        true
    }

    /// Wall time of a media time, both in microseconds; `None` before the first observation.
    pub fn wall_of(&self, media_micros: i64) -> Option<i64> {
        super::clock::wall_of(&self.0, media_micros)
    }

    /// The block at whose start the layout of the front page stands.
    pub fn root(&self) -> BlockId {
        self.0.root
    }
}
