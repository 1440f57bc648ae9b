//! Sizes and bounds of a ring.
//!
//! What an idle published stream costs: five blocks (1.25 MiB of budget) for the root, the first packets, the index, codec
//! data and segments, of which only written pages are resident (up to 48 KiB beside the packets; a test holds it to that); then its
//! window. At 2.6 Mb/s with a window of 10 s and GOPs of 2 s that is 3.9 MB in 15 blocks of packets, and 107 entries a second
//! in one block of index.

use crate::pool::limits::{BLOCK_BYTES, BLOCK_WORDS};
use crate::pool::log::place_bytes;
use crate::sys::memory::{PAGE_BYTES, WORD_BYTES};
use crate::sys::sync::size;

/// One frame with its header. The largest intra frames seen (4K, 400 Mb/s) are under 2 MiB.
pub const PACKET_BYTES_MAX: usize = size(16 * 1024 * 1024, 512);
/// Blocks of packets: 2 GiB, seven minutes of 40 Mb/s. Longer windows belong on disk.
pub const PACKET_BLOCKS_MAX: usize = size(8192, 3);
/// Bytes of packets that a ring keeps at most, whatever its configuration.
pub const WINDOW_BYTES_MAX: u64 = (PACKET_BLOCKS_MAX * BLOCK_BYTES - 2 * PACKET_BYTES_MAX) as u64;
/// Blocks of index entries: 8.4 million frames, so that frames of 256 bytes fill the packets' blocks first.
pub const INDEX_BLOCKS_MAX: usize = size(2048, 2);
pub const INDEX_ENTRY_WORDS: usize = 8;

/// Tracks that a segment names: what the players' manifests list, and enough for a ladder of renditions.
pub const SEGMENT_TRACKS_MAX: usize = 13;
pub const SEGMENT_WORDS: usize = 32;
/// Blocks of segments: 65,536 of them.
pub const SEGMENT_BLOCKS_MAX: usize = size(64, 2);

/// Codec data of one generation: some hundred bytes for pictures; those of old audio codecs reach some 10 KiB.
pub const CODEC_BYTES_MAX: usize = size(64 * 1024, 8);
/// What the appliance writes beside it (sizes, rates, language, ...).
pub const DESCRIPTION_BYTES_MAX: usize = size(16 * 1024, 8);
/// Generations that frames of one ring cite: tracks times changes of codec data within a window.
pub const GENERATIONS_MAX: usize = size(63, 2);
/// One more, so that a generation can be moved without a moment in which it is nowhere.
pub(crate) const GENERATION_SLOTS: usize = GENERATIONS_MAX + 1;
pub(crate) const GENERATION_WORDS: usize = 4;
/// Blocks of codec data: all generations at their largest, twice, plus the slack after which they are moved together.
pub const CODEC_BLOCKS_MAX: usize = size(64, 3);

/// Breaks within a window. A publisher that changes something more often than this is refused its next change.
pub const BREAKS_MAX: usize = size(256, 2);
pub(crate) const BREAK_WORDS: usize = 2;

/// Points of the clock map. At 100 ppm of drift one is added every 500 s.
pub const CLOCK_POINTS_MAX: usize = size(256, 2);
pub(crate) const CLOCK_WORDS: usize = 3;
/// DESIGN 4.1: a new point when the map is off by more.
pub const CLOCK_ERROR_MICROS_MAX: i64 = 50_000;
/// An error that no drift makes between two observations: the times on both sides have nothing to do with each other.
pub const CLOCK_JUMP_MICROS: i64 = 1_000_000;

/// Times that a reader which was overtaken looks again. Each needs the writer to have changed a table of 64 meanwhile.
pub const READ_TRIES_MAX: usize = size(64, 3);

pub(crate) const AT_BREAKS: usize = PAGE_BYTES;
pub(crate) const AT_CLOCK: usize = AT_BREAKS + BREAKS_MAX * BREAK_WORDS * WORD_BYTES;
pub(crate) const AT_GENERATIONS: usize = AT_CLOCK + CLOCK_POINTS_MAX * CLOCK_WORDS * WORD_BYTES;
pub(crate) const AT_PACKETS: usize = AT_GENERATIONS + GENERATION_SLOTS * GENERATION_WORDS * WORD_BYTES;
pub(crate) const AT_INDEX: usize = AT_PACKETS + place_bytes(PACKET_BLOCKS_MAX);
pub(crate) const AT_SEGMENTS: usize = AT_INDEX + place_bytes(INDEX_BLOCKS_MAX);
pub(crate) const AT_CODEC: usize = AT_SEGMENTS + place_bytes(SEGMENT_BLOCKS_MAX);

const _: () = assert!(
    AT_CODEC + place_bytes(CODEC_BLOCKS_MAX) <= BLOCK_BYTES,
    "the root is one block"
);
const _: () = assert!(
    BLOCK_WORDS.is_multiple_of(INDEX_ENTRY_WORDS),
    "entries do not straddle blocks"
);
const _: () = assert!(
    BLOCK_WORDS.is_multiple_of(SEGMENT_WORDS),
    "segments do not straddle blocks"
);
const _: () = assert!(
    6 + 2 * SEGMENT_TRACKS_MAX <= SEGMENT_WORDS,
    "a segment and its tracks fit an entry"
);
const _: () = assert!(
    2 * GENERATION_SLOTS * (CODEC_BYTES_MAX + DESCRIPTION_BYTES_MAX) + 2 * BLOCK_BYTES
        <= CODEC_BLOCKS_MAX * BLOCK_BYTES,
    "codec data that is moved together finds room"
);
const _: () = assert!(PACKET_BYTES_MAX <= u32::MAX as usize);
