//! Sizes and bounds of a feed.
//!
//! What a feed costs while somebody watches: its root block, at least one block of records and one of boundary index (768 KiB
//! of budget, of which only written pages are resident: up to 40 KiB and the records themselves; a test holds it to that), and
//! up to 64 KiB of heap for the list of kept join points when every record is one. At 2.6 Mb/s with a lag of 5 s and GOPs
//! of 2 s it keeps about 7 s: 2.3 MB in 10 blocks.

use crate::pool::limits::{BLOCK_BYTES, BLOCK_WORDS};
use crate::pool::log::place_bytes;
use crate::sys::memory::{PAGE_BYTES, WORD_BYTES};
use crate::sys::sync::size;

/// Shards of a process: one bit each in the word of doorbells.
pub const SHARDS_MAX: usize = size(64, 2);
/// Apart by a cache line, so that a shard that releases does not slow the next one.
pub const RELEASED_BYTES_EACH: usize = size(64, 8);

/// Blocks of a feed's bytes, kept and claimed: 256 MiB.
pub const RECORD_BLOCKS_MAX: usize = size(1024, 16);
/// Blocks of boundary index: 524,288 records, which is 10 s of 40 Mb/s in records of 1,400 bytes ten times over.
pub const INDEX_BLOCKS_MAX: usize = size(64, 10);
/// Records in the kept window; beyond it the oldest are not kept, as with bytes. Only records that average less than 512
/// bytes in a window of the largest size meet it.
pub const RECORDS_KEPT_MAX: u64 = INDEX_ENTRIES_MAX / 2;
/// Entries of kept and claimed records, beyond which every claim behind the window is evicted.
pub const ENTRIES_HELD_MAX: u64 = INDEX_ENTRIES_MAX / 4 * 3;
const INDEX_ENTRIES_MAX: u64 = (INDEX_BLOCKS_MAX * BLOCK_WORDS / INDEX_ENTRY_WORDS) as u64;
/// A record's entry in the index: start, decode time, bits, end.
pub const INDEX_ENTRY_WORDS: usize = 4;

/// Bytes kept at most, whatever the configuration and the GOP: half of the chain, 25 s of 40 Mb/s.
pub const WINDOW_BYTES_MAX: u64 = (RECORD_BLOCKS_MAX * BLOCK_BYTES) as u64 / 2;
/// A GOP beyond this many times the configured bytes is not kept whole; new viewers then wait for the next keyframe.
pub const WINDOW_EXCESS_MAX: u64 = 4;
/// Bytes of blocks behind the window that slow viewers may hold.
pub const CLAIMED_BYTES_MAX: u64 = (RECORD_BLOCKS_MAX * BLOCK_BYTES) as u64 / 4;
/// Claims so many times beyond what the configuration allows are those of a shard that does not look: it was told long ago.
pub const CLAIMED_EXCESS_MAX: u64 = 2;
/// An audio frame of 8 kb/s with a packet header is 32 bytes; smaller records only shorten the window.
const RECORD_BYTES_TYPICAL_MIN: u64 = 32;
/// One record or one batch: a frame of [`crate::ring::limits::PACKET_BYTES_MAX`] in any packaging.
pub const BATCH_BYTES_MAX: u64 = size(48 * 1024 * 1024, BLOCK_BYTES) as u64;
/// Records of one batch: a frame of 16 MiB in packets of 1,400 bytes, and then some.
pub const BATCH_RECORDS_MAX: usize = size(16_384, 40);

/// Media times between which a feed's rate can be told: some frames, and no more than any window that is kept.
pub const RATE_MICROS_MIN: u64 = 200_000;
pub const RATE_MICROS_MAX: u64 = 600_000_000;

/// Join points that can be asked for. The newest serves everyone; the others are for readers that were overtaken.
pub const JOINS_MAX: usize = size(64, 1);
/// Times that a reader which was overtaken looks again; each needs the writer to have added 64 join points meanwhile, or
/// overwritten the header area.
pub const JOIN_TRIES_MAX: usize = size(16, 3);
/// Position, decode time, join header and skip header with their lengths.
pub const JOIN_WORDS: usize = 6;
/// Join points from which the writer chooses what to keep; beyond it the oldest is not kept. 60 s of audio frames, each a
/// record to join at, are 2,820.
pub const JOINS_KEPT_MAX: usize = 4096;
/// One join or skip header: codec data of 64 KiB and what the container adds. Two fit the area.
pub const HEADER_BYTES_MAX: usize = size(96 * 1024, 8);
/// The area of join and skip headers: the rest of the root block.
pub const HEADERS_BYTES: usize = size(192 * 1024, 16);

pub(crate) const ROOT_WORDS_BYTES: usize = PAGE_BYTES;
pub(crate) const RELEASED_BYTES: usize = SHARDS_MAX * RELEASED_BYTES_EACH;
pub(crate) const JOINS_BYTES: usize = JOINS_MAX * JOIN_WORDS * WORD_BYTES;

pub(crate) const AT_RELEASED: usize = ROOT_WORDS_BYTES;
pub(crate) const AT_JOINS: usize = AT_RELEASED + RELEASED_BYTES;
pub(crate) const AT_RECORDS: usize = AT_JOINS + JOINS_BYTES;
pub(crate) const AT_INDEX: usize = AT_RECORDS + place_bytes(RECORD_BLOCKS_MAX);
pub(crate) const AT_HEADERS: usize = AT_INDEX + place_bytes(INDEX_BLOCKS_MAX);

const _: () = assert!(AT_HEADERS + HEADERS_BYTES <= BLOCK_BYTES, "the root is one block");
const _: () = assert!(
    2 * HEADER_BYTES_MAX <= HEADERS_BYTES,
    "a join and a skip header of the largest size coexist"
);
const _: () = assert!(
    BLOCK_WORDS.is_multiple_of(INDEX_ENTRY_WORDS),
    "entries do not straddle blocks"
);
const _: () = assert!(
    WINDOW_BYTES_MAX + CLAIMED_BYTES_MAX + BATCH_BYTES_MAX + 3 * BLOCK_BYTES as u64
        <= (RECORD_BLOCKS_MAX * BLOCK_BYTES) as u64,
    "what is kept, what is claimed and what is being appended fit the chain"
);
const _: () = assert!(
    // A block of the smallest records, since claims are looked at when a block can be given back.
    RECORDS_KEPT_MAX + BATCH_RECORDS_MAX as u64 + BLOCK_BYTES as u64 / RECORD_BYTES_TYPICAL_MIN < ENTRIES_HELD_MAX,
    "a window and a batch fit the index without evicting anybody"
);
const _: () = assert!(BATCH_BYTES_MAX > crate::ring::limits::PACKET_BYTES_MAX as u64);
const _: () = assert!(SHARDS_MAX <= u64::BITS as usize);
