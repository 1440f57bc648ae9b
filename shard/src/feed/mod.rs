//! The bytes of one stream in one packaging, made once, sent by every shard to all its viewers.
//!
//! Not a muxer (records arrive as opaque bytes) and not a cursor (shards keep those). Bytes that any viewer receives are a
//! join header and a contiguous run of the feed.
//!
//! Specification: DESIGN 4.2 (feed), 4.4 (slow viewers), 4.3 (blocks sent by `sendfile`).
//!
//! One [`Writer`] on the stream's home shard; one [`Feed`], shared by all shards through an `Arc`. The writer never waits:
//! - The *kept window* is tail..head, from the join point at or before `newest - lag_max`, at least the newest complete GOP.
//! - A shard claims what its cursors still need by one number, `released`: the start of the record of its last cursor.
//!   Blocks below the tail stay while a claim is below them, up to `claimed_bytes_max`.
//! - Beyond that [`Feed::evict_below`] rises, and shards move or close the viewers below it in their next turn.
//! - A shard that does not, though it holds twice that, has no next turn: the feed takes no more, so that one shard that stands
//!   still does not use up the memory of all, and goes back to the pool with the last shard that lets go of it.
//!
//! A shard's order of doing, for a new cursor: `join_newest`, [`Feed::claim`] (again from the start when refused), `span`
//! and send, [`Feed::set_released`] as cursors move, `set_released(u64::MAX)` when the last one goes.
//!
//! Layout of the root block, in words:
//!
//! ```text
//!  offset  word
//!       0  magic "PENFEED1"
//!       8  layout version
//!      16  1 when the feed has ended
//!      24  evict_below
//!      64  subscribers, a bit a shard
//!     128  joins_first   ordinal of the oldest join point in the table
//!     136  joins_end     ordinal after the newest
//!     144  headers_tail  position of the oldest byte of the header area that is whole
//!    4096  released[64], 64 bytes apart
//!    8192  joins[64]: position, decode time (us), join header position, bytes, skip header position, bytes;
//!          that of ordinal n at index n modulo 64
//!   11264  log of the records' bytes
//!   19584  log of the boundary index: start, decode time (us), flags | join << 32, end; entry n at position 32 n
//!   20224  192 KiB of join and skip headers; the byte of position p at p modulo 196608
//! ```
//!
//! Invariants: boundaries are contiguous (an entry's end is the next one's start, the last one's end is the head); the tail is
//! a boundary; index entries reach down to the oldest byte held; `evict_below` <= tail and only grows.

use std::fmt;

use crate::pool::log::{Full, Log, Span};
use crate::pool::{BlockId, Dirty, Pool};
use crate::sys::memory::WORD_BYTES;
use crate::sys::sync::{Arc, AtomicU64, Ordering, fence};

pub mod limits;
#[cfg(test)]
#[cfg(loom)]
mod models;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
mod writer;

use limits::{
    AT_HEADERS, AT_JOINS, AT_RELEASED, HEADERS_BYTES, INDEX_ENTRY_WORDS, JOIN_WORDS, JOINS_MAX, RELEASED_BYTES_EACH,
    SHARDS_MAX,
};
pub use writer::Writer;

/// One record, to be copied once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its bytes, one slice after the other; at least one byte.
    pub bytes: &'a [&'a [u8]],
    /// Viewers may join before this record.
    pub join: Option<Headers<'a>>,
    /// Decode time in microseconds of media time.
    pub dts_micros: i64,
    /// The appliance's bits (segment, part, ...).
    pub flags: u32,
}

/// Bit of [`Record::flags`] that means something here: a segment, or another thing that is fetched as a whole, is complete
/// behind this record. The other bits are the appliance's.
pub const ENDS_OBJECT: u32 = 1;

/// What belongs to a join point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    /// Goes out before the first record of a new viewer. May be empty.
    pub join: &'a [u8],
    /// Goes out before the record when a slow viewer is moved here. May be empty.
    pub skip: &'a [u8],
}

/// A place where viewers may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    pub position: u64,
    /// In microseconds of media time.
    pub dts_micros: i64,
}

/// A record's place in the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    pub start: u64,
    pub end: u64,
    pub dts_micros: i64,
    pub is_join: bool,
    pub flags: u32,
}

/// See [`Feed::object_end`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectEnd {
    At(u64),
    /// Not yet, or further on.
    NotBefore(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the slowest permitted viewer may lag.
    pub lag_max_micros: u64,
    /// Bytes kept for lag. The newest complete GOP is kept beyond it, up to [`limits::WINDOW_EXCESS_MAX`] times as much
    /// and [`limits::WINDOW_BYTES_MAX`].
    pub bytes_max: u64,
    /// Bytes of blocks that viewers behind the kept window may hold; at most [`limits::CLAIMED_BYTES_MAX`].
    pub claimed_bytes_max: u64,
}

/// Why a feed was not made or did not take records. Nothing has been appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedError {
    Full(Full),
    HeaderTooLarge {
        bytes: usize,
        bytes_max: usize,
    },
    BatchTooLarge {
        bytes: u64,
        bytes_max: u64,
    },
    TooManyRecords {
        records: usize,
        records_max: usize,
    },
    RecordEmpty {
        index: usize,
    },
    /// A shard holds so much behind the kept window and does not let go.
    Claimed {
        bytes: u64,
        bytes_max: u64,
    },
    Ended,
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FeedError::Full(_) => write!(f, "feed has no room"),
            FeedError::HeaderTooLarge { bytes, bytes_max } => {
                write!(f, "join or skip header of {bytes} bytes, at most {bytes_max} are kept")
            }
            FeedError::BatchTooLarge { bytes, bytes_max } => write!(f, "batch of {bytes} bytes, at most {bytes_max}"),
            FeedError::TooManyRecords { records, records_max } => {
                write!(f, "batch of {records} records, at most {records_max}")
            }
            FeedError::RecordEmpty { index } => write!(f, "record {index} of the batch has no bytes"),
            FeedError::Claimed { bytes, bytes_max } => {
                write!(f, "shards hold {bytes} bytes behind the window, at most {bytes_max}")
            }
            FeedError::Ended => write!(f, "feed has ended"),
        }
    }
}

impl std::error::Error for FeedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FeedError::Full(full) => Some(full),
            _ => None,
        }
    }
}

/// A position that the feed's window has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    pub position: u64,
    pub tail: u64,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "position {} is behind the kept window, which starts at {}",
            self.position, self.tail
        )
    }
}

impl std::error::Error for Passed {}

/// What all shards share of a feed. Its blocks go back to the pool with the last `Arc`.
#[derive(Debug)]
pub struct Feed {
    pool: Arc<Pool>,
    root: BlockId,
    at: usize,
    records: Log,
    index: Log,
}

impl Feed {
    /// After the newest record.
    pub fn head(&self) -> u64 {
        self.records.head()
    }

    /// Start of the kept window: a cursor below it is too slow.
    pub fn tail(&self) -> u64 {
        self.records.tail()
    }

    pub fn is_ended(&self) -> bool {
        self.word(AT_ENDED).load(Ordering::Acquire) != 0
    }

    /// Viewers below it are moved or closed in this turn, and then released.
    pub fn evict_below(&self) -> u64 {
        self.word(AT_EVICT_BELOW).load(Ordering::Acquire)
    }

    /// The last boundary at or before `limit`: the start of a record, or the head. `None` when that is no longer known.
    pub fn boundary_before(&self, limit: u64) -> Option<u64> {
        let head = self.head();
        if limit >= head {
            return Some(head);
        }
        self.record_at(limit).map(|record| record.start)
    }

    pub fn is_boundary(&self, position: u64) -> bool {
        position <= self.head() && self.boundary_before(position) == Some(position)
    }

    /// The record that holds the byte at `position`; `None` at or beyond the head, or when no longer known. A cursor's own
    /// record is known as long as its shard claims it.
    pub fn record_at(&self, position: u64) -> Option<Boundary> {
        self.numbered_at(position).map(|(_, record)| record)
    }

    /// Where the first object is complete that ends with, or behind, the record of the byte at `position`. Records are looked
    /// at that begin before `until`; when none of them completes one, where the last of them ends.
    pub fn object_end(&self, position: u64, until: u64) -> ObjectEnd {
        let until = until.min(self.head());
        let mut seen = position;
        let mut next = if position < until {
            self.numbered_at(position)
        } else {
            None
        };
        while let Some((ordinal, record)) = next {
            seen = record.end;
            if record.flags & ENDS_OBJECT != 0 {
                return ObjectEnd::At(seen);
            }
            // The index may reach beyond the head.
            next = match seen < until {
                true => self.boundary(ordinal + 1).map(|record| (ordinal + 1, record)),
                false => None,
            };
        }
        ObjectEnd::NotBefore(seen)
    }

    /// A record with its ordinal.
    fn numbered_at(&self, position: u64) -> Option<(u64, Boundary)> {
        if position >= self.head() {
            return None;
        }
        // The index may reach beyond the head that was just seen, never fall short of it.
        let (mut low, mut high) = (
            self.index.tail() / INDEX_ENTRY_BYTES,
            self.index.head() / INDEX_ENTRY_BYTES,
        );
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(record) = self.boundary(middle) else {
                // Given back since the tail was read, and with it all before it; what is claimed is behind it.
                low = middle + 1;
                continue;
            };
            if position < record.start {
                high = middle;
            } else if position >= record.end {
                low = middle + 1;
            } else {
                return Some((middle, record));
            }
        }
        None
    }

    /// Bytes a second of media time, over the kept window; 0 while that is too short to tell, or time has jumped in it.
    pub fn rate_by_media(&self) -> u64 {
        let (tail, head) = (self.tail(), self.head());
        let (Some(first), Some(last)) = (self.record_at(tail), self.record_at(head.wrapping_sub(1))) else {
            return 0;
        };
        let micros = last.dts_micros.saturating_sub(first.dts_micros);
        match u64::try_from(micros) {
            Ok(micros @ limits::RATE_MICROS_MIN..=limits::RATE_MICROS_MAX) => {
                last.start.saturating_sub(first.start) * 1_000_000 / micros
            }
            _ => 0,
        }
    }

    /// The newest join point; its join header goes to `header`, whose content is replaced. `None` before the first one, and
    /// when the GOP has outgrown the window: then the next keyframe brings one.
    pub fn join_newest(&self, header: &mut Vec<u8>) -> Option<Join> {
        self.newest(header, |words| (words[2], words[3]))
    }

    /// The newest join point, for a viewer that is moved there; its skip header goes to `header`, whose content is replaced.
    pub fn skip_newest(&self, header: &mut Vec<u8>) -> Option<Join> {
        self.newest(header, |words| (words[4], words[5]))
    }

    /// Where the newest join point is; it may be behind the window, and moves on at any time.
    pub fn newest_join(&self) -> Option<u64> {
        let ordinal = self.word(AT_JOINS_END).load(Ordering::Acquire).checked_sub(1)?;
        Some(self.join_word(ordinal, 0).load(Ordering::Relaxed))
    }

    fn newest(&self, header: &mut Vec<u8>, which: impl Fn(&[u64; JOIN_WORDS]) -> (u64, u64)) -> Option<Join> {
        header.clear();
        for _ in 0..limits::JOIN_TRIES_MAX {
            let ordinal = self.word(AT_JOINS_END).load(Ordering::Acquire).checked_sub(1)?;
            let words: [u64; JOIN_WORDS] =
                std::array::from_fn(|at| self.join_word(ordinal, at).load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            if ordinal < self.word(AT_JOINS_FIRST).load(Ordering::Relaxed) {
                continue;
            }
            let (position, bytes) = which(&words);
            if !self.copy_header(position, bytes as usize, header) {
                continue;
            }
            let join = Join {
                position: words[0],
                dts_micros: words[1] as i64,
            };
            if join.position < self.tail() {
                break;
            }
            return Some(join);
        }
        header.clear();
        None
    }

    /// Copies a header out; false when it has been overwritten meanwhile.
    fn copy_header(&self, position: u64, bytes: usize, header: &mut Vec<u8>) -> bool {
        header.resize(bytes, 0);
        let mut rest = &mut header[..];
        let mut from = position;
        while !rest.is_empty() {
            let (offset, count) = self.header_piece(from, rest.len());
            let (piece, after) = rest.split_at_mut(count);
            self.pool.memory().copy_out(offset, piece);
            (from, rest) = (from + count as u64, after);
        }
        fence(Ordering::Acquire);
        self.word(AT_HEADERS_TAIL).load(Ordering::Relaxed) <= position
    }

    /// Where the header bytes at `position` are in the mapping, and how many of `bytes` are contiguous there.
    fn header_piece(&self, position: u64, bytes: usize) -> (usize, usize) {
        let within = (position % HEADERS_BYTES as u64) as usize;
        (self.at + AT_HEADERS + within, bytes.min(HEADERS_BYTES - within))
    }

    /// Holds everything from `position` on for `shard`, until [`Feed::set_released`] raises it. Called on that shard, for a
    /// new cursor, before its first span. When it is refused nothing has changed, and the cursor joins again.
    pub fn claim(&self, shard: usize, position: u64) -> Result<(), Passed> {
        let released = self.released_word(shard);
        let before = released.load(Ordering::Relaxed);
        if before <= position {
            return Ok(());
        }
        released.store(position, Ordering::Relaxed);
        // As between the writer's tail and its look at the claims: either the writer sees this claim before it gives blocks
        // back, or this sees the tail that the writer gives them back for.
        fence(Ordering::SeqCst);
        let tail = self.records.tail();
        if tail <= position {
            return Ok(());
        }
        released.store(before, Ordering::Relaxed);
        Err(Passed { position, tail })
    }

    /// The start of the record of the last cursor, or in-flight zero-copy send, of `shard`; `u64::MAX` when it has none.
    /// Called on that shard.
    ///
    /// # Panics
    /// When it would lower: what is below is no longer held.
    pub fn set_released(&self, shard: usize, position: u64) {
        let released = self.released_word(shard);
        let before = released.load(Ordering::Relaxed);
        assert!(position >= before, "shard {shard} releases {position} after {before}");
        released.store(position, Ordering::Release);
    }

    /// What `shard` has released.
    pub fn released(&self, shard: usize) -> u64 {
        self.released_word(shard).load(Ordering::Acquire)
    }

    /// The contiguous bytes from `position` up to `end` or the block's end, pinned by `shard`'s claim.
    ///
    /// # Panics
    /// When the shard has not claimed `position`, or the bytes are not there.
    pub fn span(&self, shard: usize, position: u64, end: u64) -> Span {
        let released = self.released_word(shard).load(Ordering::Relaxed);
        assert!(
            released <= position,
            "shard {shard} sends from {position} and has released {released}"
        );
        self.records.span(position, end)
    }

    /// Where the block of `position` ends.
    pub fn block_end(&self, position: u64) -> u64 {
        self.records.block_end(position)
    }

    /// Says, before a `sendfile`, that the block of `position` is sent so. The caller has claimed `position`.
    pub fn mark_sendfile(&self, position: u64) {
        assert!(self.records.floor() <= position && position < self.head());
        self.pool.mark_sendfile(self.records.block_at(position));
    }

    /// Copies bytes out; false when they are not, or no longer, there, and then `to` is garbage.
    pub fn copy_out(&self, position: u64, to: &mut [u8]) -> bool {
        self.records.copy_out(position, to)
    }

    /// Asks for a doorbell at each publication. The caller looks at [`Feed::head`] after it and before it sleeps.
    pub fn subscribe(&self, shard: usize) {
        self.word(AT_SUBSCRIBERS).fetch_or(bit_of(shard), Ordering::SeqCst);
        // With the fence in `subscribers`: either the writer sees the bit, or the caller sees the new head.
        fence(Ordering::SeqCst);
    }

    pub fn unsubscribe(&self, shard: usize) {
        self.word(AT_SUBSCRIBERS).fetch_and(!bit_of(shard), Ordering::SeqCst);
    }

    /// One bit for each shard that waits for a doorbell. Asked by the home shard after an append.
    pub fn subscribers(&self) -> u64 {
        fence(Ordering::SeqCst);
        self.word(AT_SUBSCRIBERS).load(Ordering::SeqCst)
    }

    /// The pool whose file [`Span::file_offset`] means.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// The block at whose start the layout of the front page stands.
    pub fn root(&self) -> BlockId {
        self.root
    }

    /// The entry of a record, by its ordinal.
    fn boundary(&self, ordinal: u64) -> Option<Boundary> {
        let words: [u64; INDEX_ENTRY_WORDS] = self.index.read_words(ordinal * INDEX_ENTRY_BYTES)?;
        Some(Boundary {
            start: words[0],
            end: words[3],
            dts_micros: words[1] as i64,
            is_join: words[2] >> 32 != 0,
            flags: words[2] as u32,
        })
    }

    fn join_word(&self, ordinal: u64, at: usize) -> &AtomicU64 {
        let index = (ordinal % JOINS_MAX as u64) as usize;
        self.word(AT_JOINS + (index * JOIN_WORDS + at) * WORD_BYTES)
    }

    fn released_word(&self, shard: usize) -> &AtomicU64 {
        assert!(shard < SHARDS_MAX, "shard {shard} of {SHARDS_MAX}");
        self.word(AT_RELEASED + shard * RELEASED_BYTES_EACH)
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        self.pool.memory().word(self.at + at)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.records.free_all();
        self.index.free_all();
        self.pool.free(self.root, Dirty::Plain);
    }
}

fn bit_of(shard: usize) -> u64 {
    assert!(shard < SHARDS_MAX, "shard {shard} of {SHARDS_MAX}");
    1 << shard
}

const INDEX_ENTRY_BYTES: u64 = (INDEX_ENTRY_WORDS * WORD_BYTES) as u64;
const MAGIC: u64 = u64::from_le_bytes(*b"PENFEED1");
const LAYOUT_VERSION: u64 = 1;
const AT_MAGIC: usize = 0;
const AT_VERSION: usize = 8;
const AT_ENDED: usize = 16;
const AT_EVICT_BELOW: usize = 24;
const AT_SUBSCRIBERS: usize = 64;
const AT_JOINS_FIRST: usize = 128;
const AT_JOINS_END: usize = 136;
const AT_HEADERS_TAIL: usize = 144;
