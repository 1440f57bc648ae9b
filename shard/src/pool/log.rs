//! A chain of blocks that grows at its head and shrinks at its tail: what rings and feeds are made of.
//!
//! Not a circle: positions are bytes since the first and only grow; to grow is to add a block, to shrink is to give back the
//! oldest. Not a format: what the bytes mean is the owner's.
//!
//! Specification: DESIGN 4.1, "one chain of fixed blocks" and "publication is one release store of the head".
//!
//! Layout, at an offset that the owner chooses, in words:
//!
//! ```text
//! offset  word
//!      0  head     position after the last published byte
//!     64  tail     position of the first byte the owner still vouches for
//!     72  floor    position at which the oldest block of the chain starts
//!     80  end      position at which the newest block of the chain ends
//!     88  blocks_max
//!    128  blocks_max block numbers; that of position p is at index (p / BLOCK_BYTES) modulo blocks_max
//! ```
//!
//! Invariants:
//! - floor <= tail <= head <= end; floor and end are multiples of a block; end - floor <= blocks_max blocks.
//! - Bytes in floor..head do not change, save that floor moves before they do. So a reader copies first, fences, and then
//!   looks whether floor has passed it: what it copied is whole if not.
//! - tail only says what new readers may ask for; blocks between floor and tail are held for claims (see [`crate::feed`]).

use std::fmt;

use super::{BLOCK_BYTES, BlockId, Dirty, Hint, Pool};
use crate::sys::memory::WORD_BYTES;
use crate::sys::sync::{Arc, AtomicU64, Ordering, fence};

/// A contiguous run of mapped bytes, for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// For `send`, `writev`, `SEND_ZC`: where the bytes are in this process. Never to be dereferenced.
    pub address: u64,
    /// Bytes up to the end asked for, or the end of the block.
    pub len: usize,
    /// For `sendfile`, `splice`: where the bytes are in [`Pool::fd`].
    pub file_offset: u64,
    pub block: BlockId,
}

/// There is no room for an append, and nothing of it has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The memory budget has no free block.
    BudgetUsedUp { blocks: u64 },
    /// The chain's own table of blocks is full.
    ChainTooLong { blocks: u64, blocks_max: u64 },
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Full::BudgetUsedUp { blocks } => write!(f, "all {blocks} blocks of the memory budget are used"),
            Full::ChainTooLong { blocks, blocks_max } => {
                write!(f, "chain would need {blocks} blocks and may have {blocks_max}")
            }
        }
    }
}

impl std::error::Error for Full {}

/// Bytes that a log with a table of `blocks_max` blocks occupies in its owner's layout.
pub(crate) const fn place_bytes(blocks_max: usize) -> usize {
    AT_TABLE + blocks_max * WORD_BYTES
}

/// Read access from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pool: Arc<Pool>,
    at: usize,
    blocks_max: u64,
}

impl Log {
    /// The position after the last published byte; what lies before it is visible to the caller.
    pub fn head(&self) -> u64 {
        self.word(AT_HEAD).load(Ordering::Acquire)
    }

    pub fn tail(&self) -> u64 {
        self.word(AT_TAIL).load(Ordering::Acquire)
    }

    pub fn floor(&self) -> u64 {
        self.word(AT_FLOOR).load(Ordering::Acquire)
    }

    /// Copies the bytes from `position` on; false when they are not, or no longer, there, and then `to` is garbage.
    pub fn copy_out(&self, position: u64, to: &mut [u8]) -> bool {
        let Some(end) = position.checked_add(to.len() as u64) else {
            return false;
        };
        if position < self.floor() || end > self.head() {
            return false;
        }
        let (mut position_next, mut rest) = (position, to);
        while !rest.is_empty() {
            let (offset, count) = self.piece(position_next, rest.len());
            let (piece, after) = rest.split_at_mut(count);
            self.pool.memory().copy_out(offset, piece);
            (position_next, rest) = (position_next + count as u64, after);
        }
        self.holds(position)
    }

    /// As [`Log::copy_out`], into `to`, whose content is replaced.
    pub fn copy_to(&self, position: u64, bytes: usize, to: &mut Vec<u8>) -> bool {
        to.resize(bytes, 0);
        let whole = self.copy_out(position, to);
        if !whole {
            to.clear();
        }
        whole
    }

    /// Reads an entry of whole words at a position that is a multiple of its size; sizes divide a block.
    pub fn read_words<const N: usize>(&self, position: u64) -> Option<[u64; N]> {
        let bytes = N * WORD_BYTES;
        debug_assert!(position.is_multiple_of(bytes as u64) && BLOCK_BYTES.is_multiple_of(bytes));
        if position < self.floor() || position.checked_add(bytes as u64)? > self.head() {
            return None;
        }
        let words = self.words_unchecked(position);
        self.holds(position).then_some(words)
    }

    fn words_unchecked<const N: usize>(&self, position: u64) -> [u64; N] {
        let (offset, _) = self.piece(position, N * WORD_BYTES);
        std::array::from_fn(|at| {
            self.pool
                .memory()
                .word(offset + at * WORD_BYTES)
                .load(Ordering::Relaxed)
        })
    }

    #[cfg(loom)]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Whether everything that was read from `position` on, before this call, was still the log's.
    fn holds(&self, position: u64) -> bool {
        fence(Ordering::Acquire);
        self.word(AT_FLOOR).load(Ordering::Relaxed) <= position
    }

    /// The contiguous run from `position` up to `end` or the block's end.
    ///
    /// # Panics
    /// When the bytes are not there. Who uses the span sees to it that they stay.
    pub fn span(&self, position: u64, end: u64) -> Span {
        assert!(position < end, "span from {position} to {end}");
        let (floor, head) = (self.floor(), self.head());
        assert!(
            floor <= position && end <= head,
            "span from {position} to {end} of {floor} to {head}"
        );
        let len_max = usize::try_from(end - position).unwrap_or(usize::MAX);
        let (offset, len) = self.piece(position, len_max);
        let address = self.pool.memory().address_of(offset, len);
        Span {
            address,
            len,
            file_offset: offset as u64,
            block: self.block_at(position),
        }
    }

    /// Where the block of a position ends.
    pub fn block_end(&self, position: u64) -> u64 {
        (position / BLOCK_BYTES as u64 + 1) * BLOCK_BYTES as u64
    }

    /// The block of a position that is in the chain.
    pub fn block_at(&self, position: u64) -> BlockId {
        BlockId::from_word(self.slot(position).load(Ordering::Relaxed))
    }

    /// Gives back every block, when no writer and no reader is left.
    pub fn free_all(&self) {
        let (floor, end) = (self.floor(), self.word(AT_END).load(Ordering::Acquire));
        let mut position = floor;
        while position < end {
            self.pool.free(self.block_at(position), Dirty::Plain);
            position += BLOCK_BYTES as u64;
        }
        self.word(AT_FLOOR).store(end, Ordering::Release);
    }

    /// # Panics
    /// When the positions contradict each other. Only meaningful on the writer's thread.
    pub fn check_invariants(&self) {
        let (floor, tail, head) = (self.floor(), self.tail(), self.head());
        let end = self.word(AT_END).load(Ordering::Acquire);
        assert!(
            floor <= tail && tail <= head && head <= end,
            "{floor} {tail} {head} {end}"
        );
        assert!(floor.is_multiple_of(BLOCK_BYTES as u64) && end.is_multiple_of(BLOCK_BYTES as u64));
        assert!((end - floor) / BLOCK_BYTES as u64 <= self.blocks_max);
        assert_eq!(self.word(AT_BLOCKS_MAX).load(Ordering::Relaxed), self.blocks_max);
        let mut position = floor;
        while position < end {
            self.pool.offset_of(self.block_at(position));
            position += BLOCK_BYTES as u64;
        }
    }

    /// Where the bytes at `position` are in the mapping, and how many of `bytes` are contiguous there.
    fn piece(&self, position: u64, bytes: usize) -> (usize, usize) {
        let within = (position % BLOCK_BYTES as u64) as usize;
        let offset = self.pool.offset_of(self.block_at(position)) + within;
        (offset, bytes.min(BLOCK_BYTES - within))
    }

    fn slot(&self, position: u64) -> &AtomicU64 {
        let index = position / BLOCK_BYTES as u64 % self.blocks_max;
        self.word(AT_TABLE + index as usize * WORD_BYTES)
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        self.pool.memory().word(self.at + at)
    }
}

/// The one that appends and gives back. Owned by one shard.
#[derive(Debug)]
pub(crate) struct LogWriter {
    log: Log,
    /// After the last byte pushed, published or not.
    head: u64,
    floor: u64,
    end: u64,
    hint: Hint,
}

impl LogWriter {
    /// An empty log at `at`, in a block that the caller owns; `place_bytes` long, a multiple of a word.
    pub fn create(pool: &Arc<Pool>, at: usize, blocks_max: usize) -> LogWriter {
        assert!(blocks_max > 0);
        let log = Log {
            pool: Arc::clone(pool),
            at,
            blocks_max: blocks_max as u64,
        };
        for word in [AT_HEAD, AT_TAIL, AT_FLOOR, AT_END] {
            log.word(word).store(0, Ordering::Relaxed);
        }
        log.word(AT_BLOCKS_MAX).store(blocks_max as u64, Ordering::Release);
        LogWriter {
            log,
            head: 0,
            floor: 0,
            end: 0,
            hint: pool.hint(),
        }
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The position after the last byte pushed, published or not.
    pub fn head(&self) -> u64 {
        self.head
    }

    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Makes room for `bytes` more; takes all the blocks it needs or none.
    pub fn reserve(&mut self, bytes: u64) -> Result<(), Full> {
        let block_bytes = BLOCK_BYTES as u64;
        let blocks_max = self.log.blocks_max;
        let wanted = self
            .head
            .checked_add(bytes)
            .and_then(|end| end.checked_next_multiple_of(block_bytes));
        let Some(wanted) = wanted else {
            return Err(Full::ChainTooLong {
                blocks: u64::MAX,
                blocks_max,
            });
        };
        let blocks = wanted.saturating_sub(self.floor) / block_bytes;
        if blocks > blocks_max {
            return Err(Full::ChainTooLong { blocks, blocks_max });
        }
        let end_before = self.end;
        while self.end < wanted {
            let Some(block) = self.log.pool.allocate(&mut self.hint) else {
                while self.end > end_before {
                    self.end -= block_bytes;
                    self.log.pool.free(self.log.block_at(self.end), Dirty::Plain);
                }
                return Err(Full::BudgetUsedUp {
                    blocks: self.log.pool.usage().blocks,
                });
            };
            self.log
                .slot(self.end)
                .store(u64::from(block.number()), Ordering::Relaxed);
            self.end += block_bytes;
        }
        self.log.word(AT_END).store(self.end, Ordering::Relaxed);
        Ok(())
    }

    /// Copies bytes for which room is reserved; readers do not see them before [`LogWriter::publish`].
    pub fn push(&mut self, bytes: &[u8]) {
        assert!(
            bytes.len() as u64 <= self.end - self.head,
            "room is reserved before bytes are pushed"
        );
        let mut rest = bytes;
        while !rest.is_empty() {
            let (offset, count) = self.log.piece(self.head, rest.len());
            let (piece, after) = rest.split_at(count);
            self.log.pool.memory().copy_in(offset, piece);
            self.head += count as u64;
            rest = after;
        }
    }

    /// As [`LogWriter::push`], for an entry of whole words.
    pub fn push_words<const N: usize>(&mut self, words: [u64; N]) {
        let bytes = N * WORD_BYTES;
        assert!(
            bytes as u64 <= self.end - self.head,
            "room is reserved before words are pushed"
        );
        let (offset, count) = self.log.piece(self.head, bytes);
        debug_assert_eq!(count, bytes, "entries do not straddle blocks");
        for (at, word) in words.into_iter().enumerate() {
            self.log
                .pool
                .memory()
                .word(offset + at * WORD_BYTES)
                .store(word, Ordering::Relaxed);
        }
        self.head += bytes as u64;
    }

    /// Shows readers everything pushed.
    pub fn publish(&mut self) {
        self.log.word(AT_HEAD).store(self.head, Ordering::Release);
    }

    /// Says that readers may not ask for what is below `position`. Gives nothing back yet.
    pub fn advance_tail(&mut self, position: u64) {
        let before = self.log.word(AT_TAIL).load(Ordering::Relaxed);
        assert!(
            before <= position && position <= self.head,
            "tail from {before} to {position} of {}",
            self.head
        );
        self.log.word(AT_TAIL).store(position, Ordering::Release);
    }

    /// Gives back the blocks wholly below `position`, which is at most the tail.
    pub fn release_below(&mut self, position: u64) {
        debug_assert!(position <= self.log.tail());
        let block_bytes = BLOCK_BYTES as u64;
        let floor = (position - position % block_bytes).min(self.end);
        if floor <= self.floor {
            return;
        }
        // Before the blocks can be written by a new owner: the pool's own order, and its fence in `allocate`, continue this.
        self.log.word(AT_FLOOR).store(floor, Ordering::Release);
        while self.floor < floor {
            self.log.pool.free(self.log.block_at(self.floor), Dirty::Plain);
            self.floor += block_bytes;
        }
    }

    pub fn check_invariants(&self) {
        self.log.check_invariants();
        assert_eq!(
            self.head,
            self.log.head(),
            "everything pushed is published between calls"
        );
        assert_eq!(self.floor, self.log.floor());
        assert_eq!(self.end, self.log.word(AT_END).load(Ordering::Relaxed));
    }
}

const AT_HEAD: usize = 0;
/// Apart from the head: readers of the head do not pay for a tail that moves.
const AT_TAIL: usize = 64;
const AT_FLOOR: usize = 72;
const AT_END: usize = 80;
const AT_BLOCKS_MAX: usize = 88;
const AT_TABLE: usize = 128;
