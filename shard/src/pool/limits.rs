//! Sizes of the memory budget and of what is cut from it.

use crate::sys::memory::{PAGE_BYTES, WORD_BYTES};
use crate::sys::sync::size;

/// The unit in which memory is given to rings and feeds. Small enough that an idle stream costs little, large enough that a
/// send of a turn's bytes (116 kB at 2.6 Mb/s and 350 ms) seldom meets a block's end; punching one costs about 334 us.
pub const BLOCK_BYTES: usize = size(256 * 1024, 1024);
/// Words of a block.
pub const BLOCK_WORDS: usize = BLOCK_BYTES / WORD_BYTES;
/// 16 TiB: what block numbers of 32 bits are far from exhausting, and no box of today has.
pub const BUDGET_BYTES_MAX: u64 = size(1 << 44, 1 << 20) as u64;
/// One block for the header and its bitmaps, and one to give away.
pub const BUDGET_BYTES_MIN: u64 = 2 * BLOCK_BYTES as u64;

const _: () = assert!(BLOCK_BYTES.is_power_of_two() && BLOCK_BYTES.is_multiple_of(PAGE_BYTES));
const _: () = assert!(BUDGET_BYTES_MAX / (BLOCK_BYTES as u64) <= u32::MAX as u64);
