//! Codec data of the tracks: immutable, cited by frames as (track, generation).
//!
//! Not codecs: what the bytes say is the appliance's.
//!
//! Specification: DESIGN 4.1, "generations and breaks".
//!
//! Bytes lie in a log of their own, described by a table of slots. A long-lived generation would hold the log's tail, so
//! the oldest is written again at the head when the log has grown to twice what is alive.
//!
//! Invariants: a slot's words do not change while its ticket is not 0, and tickets never repeat; a generation that moves has
//! its new slot before it loses the old one; a generation cited by a frame in the ring has a slot.

use crate::pool::limits::BLOCK_BYTES;
use crate::pool::log::{Full, LogWriter};
use crate::sys::sync::{Arc, Ordering, fence};

use super::limits::{
    AT_CODEC, CODEC_BLOCKS_MAX, CODEC_BYTES_MAX, DESCRIPTION_BYTES_MAX, GENERATION_SLOTS, GENERATIONS_MAX,
    READ_TRIES_MAX,
};
use super::{AT_GENERATION_CHANGES, GENERATIONS, RingError, Shared, halves, pair};
use crate::pool::Pool;

/// The writer's side.
#[derive(Debug)]
pub(super) struct Generations {
    pub codec: LogWriter,
    slots: Vec<Slot>,
    ticket: u64,
    moved: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    index: u64,
    ticket: u64,
    track: u32,
    generation: u32,
    position: u64,
    codec_bytes: u32,
    description_bytes: u32,
    /// The newest frame that cites it.
    cited: Option<u64>,
}

impl Slot {
    fn bytes(&self) -> u64 {
        u64::from(self.codec_bytes) + u64::from(self.description_bytes)
    }

    fn is_cited_from(&self, tail_sequence: u64) -> bool {
        self.cited.is_some_and(|sequence| sequence >= tail_sequence)
    }
}

impl Generations {
    pub fn create(pool: &Arc<Pool>, at: usize) -> Generations {
        let codec = LogWriter::create(pool, at + AT_CODEC, CODEC_BLOCKS_MAX);
        Generations {
            codec,
            slots: Vec::with_capacity(GENERATION_SLOTS),
            ticket: 0,
            moved: Vec::new(),
        }
    }

    /// Empties the table of a root block that someone else has used before.
    pub fn clear_table(shared: &Shared) {
        for ordinal in 0..GENERATION_SLOTS as u64 {
            shared.table_word(GENERATIONS, ordinal, 0).store(0, Ordering::Relaxed);
        }
        shared.word(AT_GENERATION_CHANGES).store(0, Ordering::Relaxed);
    }

    pub fn knows(&self, track: u32, generation: u32) -> bool {
        self.slots
            .iter()
            .any(|slot| slot.track == track && slot.generation == generation)
    }

    /// Notes that the frame `sequence` cites a generation; false when it is unknown.
    pub fn cite(&mut self, track: u32, generation: u32, sequence: u64) -> bool {
        let slot = self
            .slots
            .iter_mut()
            .find(|slot| slot.track == track && slot.generation == generation);
        let is_known = slot.is_some();
        if let Some(slot) = slot {
            slot.cited = Some(sequence);
        }
        is_known
    }

    pub fn add(
        &mut self,
        shared: &Shared,
        (track, generation): (u32, u32),
        codec: &[u8],
        description: &[u8],
        tail_sequence: u64,
    ) -> Result<(), RingError> {
        if codec.len() > CODEC_BYTES_MAX {
            return Err(RingError::CodecDataTooLarge {
                bytes: codec.len(),
                bytes_max: CODEC_BYTES_MAX,
            });
        }
        if description.len() > DESCRIPTION_BYTES_MAX {
            let bytes = description.len();
            return Err(RingError::DescriptionTooLarge {
                bytes,
                bytes_max: DESCRIPTION_BYTES_MAX,
            });
        }
        if self.knows(track, generation) {
            return Err(RingError::GenerationKnown { track, generation });
        }
        let bytes = (codec.len() + description.len()) as u64;
        self.codec.reserve(bytes).map_err(RingError::Full)?;
        if self.slots.len() == GENERATIONS_MAX {
            let uncited = self.slots.iter().filter(|slot| !slot.is_cited_from(tail_sequence));
            let oldest = uncited.min_by_key(|slot| slot.ticket).map(|slot| slot.ticket);
            let oldest = oldest.ok_or(RingError::GenerationsFull {
                generations_max: GENERATIONS_MAX,
            })?;
            self.remove(shared, oldest);
        }
        let position = self.codec.head();
        self.codec.push(codec);
        self.codec.push(description);
        self.codec.publish();
        let slot = Slot {
            index: 0,
            ticket: 0,
            track,
            generation,
            position,
            codec_bytes: codec.len() as u32,
            description_bytes: description.len() as u32,
            cited: None,
        };
        self.insert(shared, slot);
        self.compact(shared);
        Ok(())
    }

    /// Forgets generations that no frame cites and none will: their track has a newer one.
    pub fn retire(&mut self, shared: &Shared, tail_sequence: u64) {
        while let Some(ticket) = self.superseded(tail_sequence) {
            self.remove(shared, ticket);
            self.release(shared);
        }
    }

    pub fn check_invariants(&self, shared: &Shared) {
        self.codec.check_invariants();
        assert!(self.slots.len() <= GENERATIONS_MAX);
        for slot in &self.slots {
            let words = [0, 1, 2, 3].map(|at| shared.table_word(GENERATIONS, slot.index, at).load(Ordering::Relaxed));
            let bytes = pair(slot.codec_bytes, slot.description_bytes);
            assert_eq!(
                words,
                [slot.ticket, pair(slot.track, slot.generation), slot.position, bytes]
            );
            assert!(slot.position >= shared.codec.tail() && slot.position + slot.bytes() <= shared.codec.head());
        }
        let tickets =
            (0..GENERATION_SLOTS as u64).map(|at| shared.table_word(GENERATIONS, at, 0).load(Ordering::Relaxed));
        assert_eq!(tickets.filter(|&ticket| ticket != 0).count(), self.slots.len());
    }

    fn superseded(&self, tail_sequence: u64) -> Option<u64> {
        let newer = |old: &Slot| {
            self.slots
                .iter()
                .any(|slot| slot.track == old.track && slot.ticket > old.ticket)
        };
        // A generation nobody has cited yet may be about to be, unless a later one of the track already is.
        let used_newer = |old: &Slot| {
            let mut later = self
                .slots
                .iter()
                .filter(|slot| slot.track == old.track && slot.ticket > old.ticket);
            later.any(|slot| slot.cited.is_some())
        };
        let is_over = |slot: &&Slot| match slot.cited {
            Some(sequence) => sequence < tail_sequence && newer(slot),
            None => used_newer(slot),
        };
        self.slots.iter().find(is_over).map(|slot| slot.ticket)
    }

    fn insert(&mut self, shared: &Shared, mut slot: Slot) {
        let mut indexes = 0..GENERATION_SLOTS as u64;
        slot.index = indexes
            .find(|index| self.slots.iter().all(|slot| slot.index != *index))
            .expect("there is one slot more than generations, and one generation is moved at a time");
        self.ticket += 1;
        slot.ticket = self.ticket;
        // The slot's ticket is 0: a reader that sees one of these words, and then fences, sees that too.
        fence(Ordering::Release);
        let bytes = pair(slot.codec_bytes, slot.description_bytes);
        for (at, word) in [(1, pair(slot.track, slot.generation)), (2, slot.position), (3, bytes)] {
            shared
                .table_word(GENERATIONS, slot.index, at)
                .store(word, Ordering::Relaxed);
        }
        shared
            .table_word(GENERATIONS, slot.index, 0)
            .store(slot.ticket, Ordering::Release);
        shared.word(AT_GENERATION_CHANGES).fetch_add(1, Ordering::Release);
        self.slots.push(slot);
    }

    fn remove(&mut self, shared: &Shared, ticket: u64) {
        if let Some(at) = self.slots.iter().position(|slot| slot.ticket == ticket) {
            let slot = self.slots.swap_remove(at);
            shared
                .table_word(GENERATIONS, slot.index, 0)
                .store(0, Ordering::Release);
            shared.word(AT_GENERATION_CHANGES).fetch_add(1, Ordering::Release);
        }
    }

    /// Gives back the log's blocks below the oldest generation.
    fn release(&mut self, shared: &Shared) {
        let oldest = self
            .slots
            .iter()
            .map(|slot| slot.position)
            .min()
            .unwrap_or(self.codec.head());
        if oldest > shared.codec.tail() {
            self.codec.advance_tail(oldest);
            self.codec.release_below(oldest);
        }
    }

    /// Moves the oldest generations to the head until the log is at most twice what is alive, and a block.
    fn compact(&mut self, shared: &Shared) {
        self.release(shared);
        let alive: u64 = self.slots.iter().map(Slot::bytes).sum();
        for _ in 0..GENERATIONS_MAX {
            if self.codec.head() - shared.codec.tail() <= 2 * alive + BLOCK_BYTES as u64 {
                return;
            }
            if self.move_oldest(shared).is_err() {
                return; // the budget is used up; the log stays as long as it is until the next change
            }
            self.release(shared);
        }
    }

    fn move_oldest(&mut self, shared: &Shared) -> Result<(), Full> {
        let Some(old) = self.slots.iter().copied().min_by_key(|slot| slot.position) else {
            return Ok(());
        };
        self.codec.reserve(old.bytes())?;
        let is_there = shared
            .codec
            .copy_to(old.position, old.bytes() as usize, &mut self.moved);
        assert!(is_there, "a generation in the table is in the log");
        let position = self.codec.head();
        self.codec.push(&self.moved);
        self.codec.publish();
        self.insert(shared, Slot { position, ..old });
        self.remove(shared, old.ticket);
        Ok(())
    }
}

/// Copies a generation out from any thread; false when the ring does not have it.
pub(super) fn read(
    shared: &Shared,
    track: u32,
    generation: u32,
    codec: &mut Vec<u8>,
    description: &mut Vec<u8>,
) -> bool {
    codec.clear();
    description.clear();
    for _ in 0..READ_TRIES_MAX {
        let changes = shared.word(AT_GENERATION_CHANGES).load(Ordering::Acquire);
        for index in 0..GENERATION_SLOTS as u64 {
            let Some((position, codec_bytes, description_bytes)) = matching(shared, index, pair(track, generation))
            else {
                continue;
            };
            let is_whole = shared.codec.copy_to(position, codec_bytes as usize, codec)
                && shared.codec.copy_to(
                    position + u64::from(codec_bytes),
                    description_bytes as usize,
                    description,
                );
            if is_whole {
                return true;
            }
        }
        fence(Ordering::Acquire);
        if shared.word(AT_GENERATION_CHANGES).load(Ordering::Acquire) == changes {
            break;
        }
    }
    codec.clear();
    description.clear();
    false
}

/// Position, codec bytes and description bytes of a slot, when it is that of `key`.
fn matching(shared: &Shared, index: u64, key: u64) -> Option<(u64, u32, u32)> {
    let ticket = shared.table_word(GENERATIONS, index, 0).load(Ordering::Acquire);
    if ticket == 0 {
        return None;
    }
    let [found, position, bytes] =
        [1, 2, 3].map(|at| shared.table_word(GENERATIONS, index, at).load(Ordering::Relaxed));
    fence(Ordering::Acquire);
    if shared.table_word(GENERATIONS, index, 0).load(Ordering::Relaxed) != ticket || found != key {
        return None;
    }
    let (codec_bytes, description_bytes) = halves(bytes);
    Some((position, codec_bytes, description_bytes))
}
