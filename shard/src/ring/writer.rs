//! The one that appends to a ring: runs on the stream's home shard.
//!
//! Not the one that decides what is a key frame, a break or a segment: it is told.
//!
//! Specification: DESIGN 4.1.
//!
//! Invariants: an entry is published after its packet, a break before its frame; what hangs on the tail (breaks, segments,
//! generations, clock points) leaves after the tail has moved.

use crate::pool::Pool;
use crate::pool::log::{Full, LogWriter};
use crate::sys::sync::{Arc, Ordering, fence};

use super::clock::{Clock, ClockPoint};
use super::generations::Generations;
use super::limits::{
    AT_INDEX, AT_PACKETS, AT_SEGMENTS, BREAKS_MAX, INDEX_BLOCKS_MAX, PACKET_BLOCKS_MAX, PACKET_BYTES_MAX,
    SEGMENT_BLOCKS_MAX, SEGMENT_TRACKS_MAX, SEGMENT_WORDS, WINDOW_BYTES_MAX,
};
use super::{
    AT_BREAKS_END, AT_BREAKS_FIRST, AT_BYTES_MAX, AT_MAGIC, AT_NEWEST_KEY, AT_SEGMENT_NUMBER_FIRST, AT_STATE,
    AT_STATE_SINCE, AT_VERSION, AT_WINDOW, BREAKS, Config, Entry, Frame, INDEX_ENTRY_BYTES, LAYOUT_VERSION, MAGIC,
    Reader, RingError, SEGMENT_BYTES, STATE_ENDED, STATE_LIVE, STATE_PUBLISHER_GONE, Shared, State, TrackStart, flags,
    pair,
};

/// Owned by the stream's home shard. Dropping it ends the stream.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    config: Config,
    packets: LogWriter,
    index: LogWriter,
    segments: LogWriter,
    generations: Generations,
    clock: Clock,
    /// Of the next frame.
    sequence: u64,
    tail: u64,
    /// Where the packet of the tail starts.
    tail_position: u64,
    newest_key: Option<u64>,
    newest_micros: i64,
    /// The oldest main key after the tail, once found.
    next_key: Option<u64>,
    /// Entries between the tail and this one are not main keys.
    scanned: u64,
    breaks_first: u64,
    breaks_end: u64,
}

impl Writer {
    /// An empty ring, live; takes its root block.
    pub fn create(pool: &Arc<Pool>, config: Config) -> Result<Writer, RingError> {
        let root = pool.allocate(&mut pool.hint()).ok_or_else(|| {
            RingError::Full(Full::BudgetUsedUp {
                blocks: pool.usage().blocks,
            })
        })?;
        let at = pool.offset_of(root);
        let packets = LogWriter::create(pool, at + AT_PACKETS, PACKET_BLOCKS_MAX);
        let index = LogWriter::create(pool, at + AT_INDEX, INDEX_BLOCKS_MAX);
        let segments = LogWriter::create(pool, at + AT_SEGMENTS, SEGMENT_BLOCKS_MAX);
        let generations = Generations::create(pool, at);
        let shared = Shared {
            pool: Arc::clone(pool),
            root,
            at,
            packets: packets.log().clone(),
            index: index.log().clone(),
            segments: segments.log().clone(),
            codec: generations.codec.log().clone(),
        };
        for word in [AT_STATE, AT_STATE_SINCE, AT_NEWEST_KEY, AT_BREAKS_FIRST, AT_BREAKS_END] {
            shared.word(word).store(0, Ordering::Relaxed);
        }
        Generations::clear_table(&shared);
        shared
            .word(AT_SEGMENT_NUMBER_FIRST)
            .store(config.segment_number_first, Ordering::Relaxed);
        shared.word(AT_VERSION).store(LAYOUT_VERSION, Ordering::Relaxed);
        shared.word(AT_MAGIC).store(MAGIC, Ordering::Release);
        let clock = Clock::create(&shared);
        let mut writer = Writer {
            shared: Arc::new(shared),
            config,
            packets,
            index,
            segments,
            generations,
            clock,
            sequence: 0,
            tail: 0,
            tail_position: 0,
            newest_key: None,
            newest_micros: 0,
            next_key: None,
            scanned: 1,
            breaks_first: 0,
            breaks_end: 0,
        };
        writer.set_window(config.window_micros, config.bytes_max);
        Ok(writer)
    }

    pub fn reader(&self) -> Reader {
        Reader(Arc::clone(&self.shared))
    }

    /// Appends one frame and publishes it; returns its sequence.
    pub fn append(&mut self, frame: &Frame<'_>) -> Result<u64, RingError> {
        let bytes = frame.head.len() as u64 + frame.payload.len() as u64 + frame.tail.len() as u64;
        let bytes_max = self.config.bytes_max.min(PACKET_BYTES_MAX as u64);
        if bytes > bytes_max {
            return Err(RingError::PacketTooLarge { bytes, bytes_max });
        }
        let (track, generation) = (frame.track, frame.generation);
        if !self.generations.knows(track, generation) {
            return Err(RingError::GenerationUnknown { track, generation });
        }
        let is_main_key = frame.flags & flags::KEY_MAIN != 0;
        self.make_room(bytes, frame.flags)?;
        self.packets.reserve(bytes).map_err(RingError::Full)?;
        self.index.reserve(INDEX_ENTRY_BYTES).map_err(RingError::Full)?;
        let sequence = self.sequence;
        let newest_key = if is_main_key { Some(sequence) } else { self.newest_key };
        let entry = Entry {
            sequence,
            track,
            generation,
            dts: frame.dts,
            offset: frame.offset,
            flags: frame.flags,
            dts_micros: frame.dts_micros,
            position: self.packets.head(),
            bytes: bytes as u32,
            payload_start: frame.head.len() as u32,
            payload_bytes: frame.payload.len() as u32,
            key_distance: newest_key.and_then(|key| u32::try_from(sequence - key).ok()),
        };
        for part in [frame.head, frame.payload, frame.tail] {
            self.packets.push(part);
        }
        self.packets.publish();
        self.index.push_words(entry.to_words());
        self.index.publish();
        self.sequence += 1;
        self.newest_micros = frame.dts_micros;
        if is_main_key {
            self.newest_key = newest_key;
            self.shared.word(AT_NEWEST_KEY).store(sequence + 1, Ordering::Release);
        }
        let is_cited = self.generations.cite(track, generation, sequence);
        debug_assert!(is_cited);
        self.trim();
        Ok(sequence)
    }

    /// Codec data and an opaque description of them, which frames may cite from the next one on. They stay while a frame in
    /// the ring cites them or their track has none newer; when the table is full, the oldest that no frame cites leaves.
    pub fn add_generation(
        &mut self,
        track: u32,
        generation: u32,
        codec: &[u8],
        description: &[u8],
    ) -> Result<(), RingError> {
        self.generations
            .add(&self.shared, (track, generation), codec, description, self.tail)
    }

    /// A break before the next frame. Two of one kind at one place are one.
    pub fn add_break(&mut self, kind: u8) -> Result<(), RingError> {
        for ordinal in (self.breaks_first..self.breaks_end).rev() {
            let [sequence, known] =
                [0, 1].map(|at| self.shared.table_word(BREAKS, ordinal, at).load(Ordering::Relaxed));
            if sequence != self.sequence {
                break;
            }
            if known == u64::from(kind) {
                return Ok(());
            }
        }
        if self.breaks_end - self.breaks_first == BREAKS_MAX as u64 {
            return Err(RingError::BreaksFull { breaks_max: BREAKS_MAX });
        }
        // Before the slot changes: a reader that sees a new word of it also sees that the old break has left.
        fence(Ordering::Release);
        self.shared
            .table_word(BREAKS, self.breaks_end, 0)
            .store(self.sequence, Ordering::Relaxed);
        self.shared
            .table_word(BREAKS, self.breaks_end, 1)
            .store(u64::from(kind), Ordering::Relaxed);
        self.breaks_end += 1;
        self.shared
            .word(AT_BREAKS_END)
            .store(self.breaks_end, Ordering::Release);
        Ok(())
    }

    /// Closes a segment; returns the number that the ring gives it.
    pub fn cut_segment(
        &mut self,
        start_micros: i64,
        duration_micros: i64,
        flags: u32,
        tracks: &[TrackStart],
    ) -> Result<u64, RingError> {
        if tracks.len() > SEGMENT_TRACKS_MAX {
            return Err(RingError::TooManyTracks {
                tracks: tracks.len(),
                tracks_max: SEGMENT_TRACKS_MAX,
            });
        }
        while let Err(full) = self.segments.reserve(SEGMENT_BYTES) {
            let tail = self.shared.segments.tail();
            let is_long = matches!(full, Full::ChainTooLong { .. }) && tail < self.segments.head();
            if !is_long {
                return Err(RingError::Full(full));
            }
            self.drop_segments_to(tail + SEGMENT_BYTES);
        }
        let number = self.config.segment_number_first + self.segments.head() / SEGMENT_BYTES;
        let mut words = [0; SEGMENT_WORDS];
        words[..5].copy_from_slice(&[
            number,
            start_micros as u64,
            duration_micros as u64,
            pair(flags, tracks.len() as u32),
            self.sequence,
        ]);
        for (slot, start) in words[6..].chunks_exact_mut(2).zip(tracks) {
            slot.copy_from_slice(&[u64::from(start.track), start.sequence]);
        }
        self.segments.push_words(words);
        self.segments.publish();
        Ok(number)
    }

    /// Media time and wall time seen together, both in microseconds. A point is added only when the map is off by more than
    /// 50 ms, or jumps.
    pub fn observe_clock(&mut self, media_micros: i64, wall_micros: i64, source: u8) {
        self.clock.observe(
            &self.shared,
            ClockPoint {
                media_micros,
                wall_micros,
                source,
            },
        );
    }

    pub fn set_state(&mut self, state: State) {
        let word = match state {
            State::Live => STATE_LIVE,
            State::PublisherGone { since_micros } => {
                self.shared
                    .word(AT_STATE_SINCE)
                    .store(since_micros as u64, Ordering::Relaxed);
                STATE_PUBLISHER_GONE
            }
            State::Ended => STATE_ENDED,
        };
        self.shared.word(AT_STATE).store(word, Ordering::Release);
    }

    /// What is kept from the next frame on.
    pub fn set_window(&mut self, window_micros: u64, bytes_max: u64) {
        self.config.window_micros = window_micros;
        self.config.bytes_max = bytes_max.min(WINDOW_BYTES_MAX);
        self.shared.word(AT_WINDOW).store(window_micros, Ordering::Relaxed);
        self.shared
            .word(AT_BYTES_MAX)
            .store(self.config.bytes_max, Ordering::Relaxed);
    }

    /// Gives up the oldest GOP (without main keys: the oldest frame), for a stream that may shrink when the budget is used
    /// up; false when the ring holds only one.
    pub fn drop_oldest_gop(&mut self) -> bool {
        match self.tail_next() {
            Some(next) if next < self.sequence => {
                self.move_tail(next);
                true
            }
            _ => false,
        }
    }

    /// Whether its oldest GOP can be given up with a complete one left behind it, and the running one.
    pub fn has_spare_gop(&mut self) -> bool {
        let next = self.tail_next();
        next.zip(self.newest_key).is_some_and(|(next, newest)| next < newest)
    }

    /// Bytes of the packets that it keeps.
    pub fn packet_bytes(&self) -> u64 {
        self.packets.head() - self.tail_position
    }

    /// Whether it keeps as much as its window asks, or about as much as it may.
    pub fn is_whole(&self) -> bool {
        let oldest = (self.tail < self.sequence).then(|| self.entry(self.tail).dts_micros);
        oldest.is_some_and(|oldest| self.newest_micros.abs_diff(oldest) >= self.config.window_micros)
            || self.packet_bytes() * 2 >= self.config.bytes_max
    }

    /// Drops every frame. Sequences, segment numbers, clock and the tracks' newest generations go on.
    pub fn clear(&mut self) {
        if self.tail < self.sequence {
            self.move_tail(self.sequence);
        }
    }

    /// # Panics
    /// When the ring contradicts itself.
    pub fn check_invariants(&self) {
        for log in [&self.packets, &self.index, &self.segments] {
            log.check_invariants();
        }
        self.generations.check_invariants(&self.shared);
        self.clock.check_invariants(&self.shared);
        let reader = self.reader();
        assert_eq!(
            (reader.tail_sequence(), reader.head_sequence()),
            (self.tail, self.sequence)
        );
        assert!(self.packets.head() - self.tail_position <= WINDOW_BYTES_MAX);
        let mut position = self.tail_position;
        let (mut newest_key, mut next_key) = (None, None);
        for sequence in self.tail..self.sequence {
            let entry = reader.entry(sequence).expect("frames between tail and head are there");
            assert_eq!(
                (entry.sequence, entry.position),
                (sequence, position),
                "packets are contiguous"
            );
            assert!(
                self.generations.knows(entry.track, entry.generation),
                "a cited generation is kept"
            );
            let is_main_key = entry.flags & flags::KEY_MAIN != 0;
            newest_key = if is_main_key { Some(sequence) } else { newest_key };
            next_key = next_key.or((is_main_key && sequence > self.tail).then_some(sequence));
            position += u64::from(entry.bytes);
        }
        assert_eq!(position, self.packets.head());
        assert_eq!(reader.newest_key(), newest_key);
        let next_scanned = next_key.filter(|&key| key < self.scanned);
        assert_eq!(
            self.next_key, next_scanned,
            "the next main key is the first one scanned"
        );
        assert!(self.breaks_first <= self.breaks_end && self.breaks_end - self.breaks_first <= BREAKS_MAX as u64);
        for ordinal in self.breaks_first..self.breaks_end {
            let sequence = self.shared.table_word(BREAKS, ordinal, 0).load(Ordering::Relaxed);
            assert!((self.tail..=self.sequence).contains(&sequence));
        }
    }

    /// Makes `bytes` fit the ring's cap by dropping GOPs.
    fn make_room(&mut self, bytes: u64, frame_flags: u32) -> Result<(), RingError> {
        let bytes_max = self.config.bytes_max;
        loop {
            let total = self.packets.head() - self.tail_position + bytes;
            if total <= bytes_max {
                return Ok(());
            }
            match self.tail_next() {
                Some(next) => self.move_tail(next),
                // The frame begins a GOP of its own, so the one that fills the ring may go.
                None if frame_flags & flags::KEY_MAIN != 0 => self.move_tail(self.sequence),
                None => {
                    return Err(RingError::GopTooLarge {
                        bytes: total,
                        bytes_max,
                    });
                }
            }
        }
    }

    /// Drops GOPs without which the window is still whole.
    fn trim(&mut self) {
        while let Some(next) = self.tail_next().filter(|&next| next < self.sequence) {
            // After a jump of time, in either direction, what is before it is not within the window.
            let age = self.newest_micros.abs_diff(self.entry(next).dts_micros);
            if age < self.config.window_micros {
                break;
            }
            self.move_tail(next);
        }
    }

    /// Where the tail may move to: the next main key; or the next frame, when the tail is not at a main key either. `None` in
    /// the ring's only GOP, and in an empty ring.
    fn tail_next(&mut self) -> Option<u64> {
        while self.next_key.is_none() && self.scanned < self.sequence {
            if self.entry(self.scanned).flags & flags::KEY_MAIN != 0 {
                self.next_key = Some(self.scanned);
            }
            self.scanned += 1;
        }
        if self.next_key.is_some() || self.tail == self.sequence {
            return self.next_key;
        }
        let is_in_gop = self.entry(self.tail).flags & flags::KEY_MAIN != 0;
        (!is_in_gop).then_some(self.tail + 1)
    }

    /// Moves the tail forward to `sequence` and lets go of what only older frames need.
    fn move_tail(&mut self, sequence: u64) {
        assert!(
            self.tail < sequence && sequence <= self.sequence,
            "{} {sequence} {}",
            self.tail,
            self.sequence
        );
        let entry = (sequence < self.sequence).then(|| self.entry(sequence));
        self.tail = sequence;
        self.tail_position = entry.map_or(self.packets.head(), |entry| entry.position);
        self.next_key = self.next_key.filter(|&key| key > sequence);
        self.scanned = self.scanned.max(sequence + 1);
        if self.newest_key.is_some_and(|key| key < sequence) {
            self.newest_key = None;
            self.shared.word(AT_NEWEST_KEY).store(0, Ordering::Release);
        }
        self.index.advance_tail(sequence * INDEX_ENTRY_BYTES);
        self.packets.advance_tail(self.tail_position);
        self.index.release_below(sequence * INDEX_ENTRY_BYTES);
        self.packets.release_below(self.tail_position);
        self.retire_breaks();
        self.retire_segments();
        self.generations.retire(&self.shared, sequence);
        if let Some(entry) = entry {
            self.clock.retire(&self.shared, entry.dts_micros);
        }
    }

    fn retire_breaks(&mut self) {
        let before = self.breaks_first;
        while self.breaks_first < self.breaks_end
            && self
                .shared
                .table_word(BREAKS, self.breaks_first, 0)
                .load(Ordering::Relaxed)
                < self.tail
        {
            self.breaks_first += 1;
        }
        if self.breaks_first > before {
            self.shared
                .word(AT_BREAKS_FIRST)
                .store(self.breaks_first, Ordering::Release);
        }
    }

    /// A segment leaves with its first frame.
    fn retire_segments(&mut self) {
        let mut position = self.shared.segments.tail();
        while let Some(words) = self.shared.segments.read_words::<SEGMENT_WORDS>(position) {
            let tracks = (words[3] >> 32) as usize;
            let starts = words[6..].chunks_exact(2).take(tracks).map(|start| start[1]);
            if starts.min().unwrap_or(words[4]) >= self.tail {
                break;
            }
            position += SEGMENT_BYTES;
        }
        self.drop_segments_to(position);
    }

    fn drop_segments_to(&mut self, position: u64) {
        if position > self.shared.segments.tail() {
            self.segments.advance_tail(position);
            self.segments.release_below(position);
        }
    }

    /// Where the oldest codec data start.
    #[cfg(loom)]
    pub fn codec_tail(&self) -> u64 {
        self.shared.codec.tail()
    }

    fn entry(&self, sequence: u64) -> Entry {
        let words = self.shared.index.read_words(sequence * INDEX_ENTRY_BYTES);
        Entry::from_words(words.expect("the writer asks for frames between tail and head"))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.set_state(State::Ended);
    }
}
