//! The one that appends records and gives blocks back: runs on the stream's home shard.
//!
//! Not a place where anybody waits: viewers that are too slow are told by `tail` and `evict_below`.
//!
//! Specification: DESIGN 4.2, "it keeps what the slowest permitted viewer may need".
//!
//! Invariants: bytes, index and head are published in the order index, head, join table, so that whoever sees a join point sees
//! its record; blocks are given back only below both the tail and every shard's `released`.

use std::collections::VecDeque;

use crate::pool::Pool;
use crate::pool::limits::BLOCK_BYTES;
use crate::pool::log::{Full, LogWriter};
use crate::sys::sync::{Arc, Ordering, fence};

use super::limits::{
    AT_INDEX, AT_RECORDS, BATCH_BYTES_MAX, BATCH_RECORDS_MAX, CLAIMED_BYTES_MAX, CLAIMED_EXCESS_MAX, ENTRIES_HELD_MAX,
    HEADER_BYTES_MAX, HEADERS_BYTES, INDEX_BLOCKS_MAX, JOINS_KEPT_MAX, JOINS_MAX, RECORD_BLOCKS_MAX, RECORDS_KEPT_MAX,
    SHARDS_MAX, WINDOW_BYTES_MAX, WINDOW_EXCESS_MAX,
};
use super::{
    AT_ENDED, AT_EVICT_BELOW, AT_HEADERS_TAIL, AT_JOINS_END, AT_JOINS_FIRST, AT_MAGIC, AT_SUBSCRIBERS, AT_VERSION,
    Config, Feed, FeedError, Headers, INDEX_ENTRY_BYTES, Join, LAYOUT_VERSION, MAGIC, Record,
};

/// Owned by the stream's home shard. Dropping it ends the feed.
#[derive(Debug)]
pub struct Writer {
    feed: Arc<Feed>,
    config: Config,
    records: LogWriter,
    index: LogWriter,
    /// Join points in the window, oldest first: what is kept starts at one.
    joins: VecDeque<Join>,
    joins_end: u64,
    /// After the last byte of the header area.
    headers_head: u64,
    join_header: LastHeader,
    skip_header: LastHeader,
    newest_micros: i64,
}

/// The header written last, so that equal ones are stored once.
#[derive(Debug, Default)]
struct LastHeader {
    bytes: Vec<u8>,
    position: u64,
}

impl Writer {
    /// An empty feed; takes its root block.
    pub fn create(pool: &Arc<Pool>, config: Config) -> Result<Writer, FeedError> {
        let root = pool.allocate(&mut pool.hint()).ok_or_else(|| {
            FeedError::Full(Full::BudgetUsedUp {
                blocks: pool.usage().blocks,
            })
        })?;
        let at = pool.offset_of(root);
        let records = LogWriter::create(pool, at + AT_RECORDS, RECORD_BLOCKS_MAX);
        let index = LogWriter::create(pool, at + AT_INDEX, INDEX_BLOCKS_MAX);
        let feed = Feed {
            pool: Arc::clone(pool),
            root,
            at,
            records: records.log().clone(),
            index: index.log().clone(),
        };
        for word in [
            AT_ENDED,
            AT_EVICT_BELOW,
            AT_SUBSCRIBERS,
            AT_JOINS_FIRST,
            AT_JOINS_END,
            AT_HEADERS_TAIL,
        ] {
            feed.word(word).store(0, Ordering::Relaxed);
        }
        for shard in 0..SHARDS_MAX {
            feed.released_word(shard).store(u64::MAX, Ordering::Relaxed);
        }
        feed.word(AT_VERSION).store(LAYOUT_VERSION, Ordering::Relaxed);
        feed.word(AT_MAGIC).store(MAGIC, Ordering::Release);
        Ok(Writer {
            feed: Arc::new(feed),
            config,
            records,
            index,
            joins: VecDeque::new(),
            joins_end: 0,
            headers_head: 0,
            join_header: LastHeader::default(),
            skip_header: LastHeader::default(),
            newest_micros: i64::MIN,
        })
    }

    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Appends and publishes one record; `join` is the join header when viewers may start at it.
    pub fn append_record(&mut self, bytes: &[u8], join: Option<&[u8]>, dts_micros: i64) -> Result<(), FeedError> {
        let join = join.map(|join| Headers { join, skip: &[] });
        self.append(&[Record {
            bytes: &[bytes],
            join,
            dts_micros,
            flags: 0,
        }])
    }

    /// Copies all records and publishes them at once. On an error none is appended and the next append may succeed: after
    /// shards have released, other feeds have gone, or the budget was raised.
    pub fn append(&mut self, records: &[Record<'_>]) -> Result<(), FeedError> {
        let bytes = self.check(records)?;
        self.check_claims()?;
        if self.reserve(bytes, records.len()).is_err() {
            self.reclaim();
            self.reserve(bytes, records.len()).map_err(FeedError::Full)?;
        }
        let joins_end_before = self.joins_end;
        for record in records {
            self.push(record);
        }
        // Whoever sees the head finds its records in the index; whoever sees a join point sees its record.
        self.index.publish();
        self.records.publish();
        if self.joins_end != joins_end_before {
            self.feed.word(AT_JOINS_END).store(self.joins_end, Ordering::Release);
        }
        self.reclaim();
        Ok(())
    }

    /// No record will come.
    pub fn finish(&mut self) {
        self.feed.word(AT_ENDED).store(1, Ordering::Release);
    }

    /// Moves the kept window and gives back what neither it nor a shard needs. Each append does so; a home shard whose
    /// publisher pauses may call it by timer.
    pub fn reclaim(&mut self) {
        let keep = self.keep_from();
        if keep > self.feed.tail() {
            self.records.advance_tail(keep);
        }
        let block_bytes = BLOCK_BYTES as u64;
        let keep_block = keep - keep % block_bytes;
        if keep_block == self.records.floor() {
            return; // no block to give back, so claims do not matter
        }
        // Between the tail and the look at the claims: pairs with `Feed::claim`.
        fence(Ordering::SeqCst);
        let released = (0..SHARDS_MAX)
            .map(|shard| self.feed.released(shard))
            .min()
            .unwrap_or(u64::MAX);
        let held = keep.min(released);
        self.records.release_below(held);
        self.release_index(held);
        let (claimed, claimed_max) = (self.claimed(), self.claimed_max());
        let below = match self.entries_held() > ENTRIES_HELD_MAX {
            true => keep,
            false if claimed > claimed_max => keep - claimed_max,
            false => return,
        };
        if below > self.feed.evict_below() {
            self.feed.word(AT_EVICT_BELOW).store(below, Ordering::Release);
        }
    }

    /// # Panics
    /// When the feed contradicts itself.
    pub fn check_invariants(&self) {
        self.records.check_invariants();
        self.index.check_invariants();
        let (head, tail) = (self.feed.head(), self.feed.tail());
        assert!(self.feed.evict_below() <= tail);
        assert!(
            self.feed.is_boundary(tail),
            "the window starts at {tail}, inside a record"
        );
        let ordinals = self.index.log().tail() / INDEX_ENTRY_BYTES..self.index.log().head() / INDEX_ENTRY_BYTES;
        let mut end = None;
        for ordinal in ordinals {
            let record = self
                .feed
                .boundary(ordinal)
                .expect("entries between tail and head are there");
            assert!(record.start < record.end);
            assert_eq!(end.unwrap_or(record.start), record.start, "records are contiguous");
            assert!(
                end.is_some() || record.start <= tail,
                "the index reaches down to the window's start"
            );
            end = Some(record.end);
        }
        assert_eq!(end.unwrap_or(head), head, "the last record ends at the head");
        let mut last = None;
        for join in &self.joins {
            assert!(join.position >= tail && join.position < head && last < Some(join.position));
            last = Some(join.position);
        }
        let first = self.feed.word(AT_JOINS_FIRST).load(Ordering::Relaxed);
        assert!(first <= self.joins_end && self.joins_end - first <= JOINS_MAX as u64);
        let headers_tail = self.feed.word(AT_HEADERS_TAIL).load(Ordering::Relaxed);
        assert!(headers_tail <= self.headers_head && self.headers_head - headers_tail <= HEADERS_BYTES as u64);
    }

    /// The bytes of all records, when they can be taken.
    fn check(&self, records: &[Record<'_>]) -> Result<u64, FeedError> {
        if self.feed.is_ended() {
            return Err(FeedError::Ended);
        }
        if records.len() > BATCH_RECORDS_MAX {
            return Err(FeedError::TooManyRecords {
                records: records.len(),
                records_max: BATCH_RECORDS_MAX,
            });
        }
        let mut bytes = 0_u64;
        for (index, record) in records.iter().enumerate() {
            let record_bytes = bytes_of(record);
            if record_bytes == 0 {
                return Err(FeedError::RecordEmpty { index });
            }
            bytes = bytes.saturating_add(record_bytes);
            let longest = record
                .join
                .map_or(0, |headers| headers.join.len().max(headers.skip.len()));
            if longest > HEADER_BYTES_MAX {
                return Err(FeedError::HeaderTooLarge {
                    bytes: longest,
                    bytes_max: HEADER_BYTES_MAX,
                });
            }
        }
        if bytes > BATCH_BYTES_MAX {
            return Err(FeedError::BatchTooLarge {
                bytes,
                bytes_max: BATCH_BYTES_MAX,
            });
        }
        Ok(bytes)
    }

    /// Whether the shards that were told to let go have done so.
    fn check_claims(&mut self) -> Result<(), FeedError> {
        let bytes_max = self.claimed_max() * CLAIMED_EXCESS_MAX;
        if self.claimed() > bytes_max {
            // By the claims that stand now.
            self.reclaim();
        }
        match self.claimed() {
            bytes if bytes > bytes_max => Err(FeedError::Claimed { bytes, bytes_max }),
            _ => Ok(()),
        }
    }

    /// Bytes of blocks that are held behind the window.
    fn claimed(&self) -> u64 {
        let tail = self.feed.tail();
        tail - tail % BLOCK_BYTES as u64 - self.records.floor()
    }

    fn claimed_max(&self) -> u64 {
        self.config.claimed_bytes_max.min(CLAIMED_BYTES_MAX)
    }

    fn reserve(&mut self, bytes: u64, records: usize) -> Result<(), Full> {
        self.records.reserve(bytes)?;
        self.index.reserve(records as u64 * INDEX_ENTRY_BYTES)
    }

    fn push(&mut self, record: &Record<'_>) {
        let start = self.records.head();
        for bytes in record.bytes {
            self.records.push(bytes);
        }
        let join_bit = u64::from(record.join.is_some()) << 32;
        let flags = u64::from(record.flags) | join_bit;
        self.index
            .push_words([start, record.dts_micros as u64, flags, self.records.head()]);
        self.newest_micros = record.dts_micros;
        if let Some(headers) = record.join {
            self.push_join(
                Join {
                    position: start,
                    dts_micros: record.dts_micros,
                },
                headers,
            );
        }
    }

    fn push_join(&mut self, join: Join, headers: Headers<'_>) {
        let (join_position, skip_position) = self.store_headers(headers);
        let ordinal = self.joins_end;
        let first = (ordinal + 1).saturating_sub(JOINS_MAX as u64);
        self.feed.word(AT_JOINS_FIRST).store(first, Ordering::Relaxed);
        // Before the slot changes: a reader that sees a new word of it also sees that the old one is gone.
        fence(Ordering::Release);
        let words = [
            join.position,
            join.dts_micros as u64,
            join_position,
            headers.join.len() as u64,
            skip_position,
            headers.skip.len() as u64,
        ];
        for (at, word) in words.into_iter().enumerate() {
            self.feed.join_word(ordinal, at).store(word, Ordering::Relaxed);
        }
        self.joins_end += 1;
        if self.joins.len() == JOINS_KEPT_MAX {
            self.joins.pop_front();
        }
        self.joins.push_back(join);
    }

    /// Both positions hold when it returns: the join header, found where an earlier join point had it, is stored again when
    /// the skip header has pushed it out of the area.
    fn store_headers(&mut self, headers: Headers<'_>) -> (u64, u64) {
        let head = &mut self.headers_head;
        let join_position = store_header(&self.feed, head, &mut self.join_header, headers.join);
        let skip_position = store_header(&self.feed, head, &mut self.skip_header, headers.skip);
        if join_position >= self.feed.word(AT_HEADERS_TAIL).load(Ordering::Relaxed) {
            return (join_position, skip_position);
        }
        (
            store_header(&self.feed, head, &mut self.join_header, headers.join),
            skip_position,
        )
    }

    /// Where the kept window starts. Forgets the join points before it.
    fn keep_from(&mut self) -> u64 {
        let head = self.records.head();
        let tail = self.feed.tail();
        // The last two join points bracket the newest complete GOP.
        while let [Some(first), Some(second), Some(_)] = [0, 1, 2].map(|at| self.joins.get(at)) {
            // A jump of time in either direction: what is before it is not within the lag.
            let is_old = self.newest_micros.abs_diff(second.dts_micros) >= self.config.lag_max_micros;
            let is_large = head - first.position > self.config.bytes_max;
            if !is_old && !is_large {
                break;
            }
            self.joins.pop_front();
        }
        let window_bytes_max = self
            .config
            .bytes_max
            .saturating_mul(WINDOW_EXCESS_MAX)
            .min(WINDOW_BYTES_MAX);
        let mut limit = head.saturating_sub(window_bytes_max);
        if self.entries_held() > RECORDS_KEPT_MAX {
            let first = self.index.head() / INDEX_ENTRY_BYTES - RECORDS_KEPT_MAX;
            limit = limit.max(self.feed.boundary(first).map_or(0, |record| record.start));
        }
        while self.joins.front().is_some_and(|join| join.position < limit) {
            self.joins.pop_front();
        }
        let keep = match self.joins.front() {
            Some(join) => join.position,
            None if limit <= tail => tail,
            None => self
                .feed
                .record_at(limit)
                .map_or(head, |record| match record.start == limit {
                    true => limit,
                    false => record.end,
                }),
        };
        keep.max(tail)
    }

    /// Where the oldest block that is kept or claimed starts.
    #[cfg(loom)]
    pub fn floor(&self) -> u64 {
        self.records.floor()
    }

    fn entries_held(&self) -> u64 {
        (self.index.head() - self.index.log().tail()) / INDEX_ENTRY_BYTES
    }

    /// Drops index entries of records that are wholly below `held`.
    fn release_index(&mut self, held: u64) {
        let mut position = self.index.log().tail();
        let before = position;
        while let Some(record) = self.feed.boundary(position / INDEX_ENTRY_BYTES) {
            if record.end > held {
                break;
            }
            position += INDEX_ENTRY_BYTES;
        }
        if position > before {
            self.index.advance_tail(position);
            self.index.release_below(position);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.finish();
    }
}

fn bytes_of(record: &Record<'_>) -> u64 {
    record.bytes.iter().map(|bytes| bytes.len() as u64).sum()
}

/// Puts a header into the area, or finds it there; returns its position.
fn store_header(feed: &Feed, headers_head: &mut u64, last: &mut LastHeader, bytes: &[u8]) -> u64 {
    let tail = feed.word(AT_HEADERS_TAIL).load(Ordering::Relaxed);
    if bytes.is_empty() {
        return *headers_head;
    }
    if last.bytes == bytes && last.position >= tail {
        return last.position;
    }
    let position = *headers_head;
    let head = position + bytes.len() as u64;
    feed.word(AT_HEADERS_TAIL)
        .store(tail.max(head.saturating_sub(HEADERS_BYTES as u64)), Ordering::Relaxed);
    // Before bytes of the area change: a reader that sees a new one also sees that the old ones are gone.
    fence(Ordering::Release);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (offset, count) = feed.header_piece(*headers_head, rest.len());
        let (piece, after) = rest.split_at(count);
        feed.pool.memory().copy_in(offset, piece);
        *headers_head += count as u64;
        rest = after;
    }
    last.bytes.clear();
    last.bytes.extend_from_slice(bytes);
    last.position = position;
    position
}
