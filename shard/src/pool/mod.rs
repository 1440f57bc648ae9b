//! The memory budget of the process: one memfd, mapped once, cut into blocks that rings and feeds take and give back.
//!
//! Not an allocator of objects: a block is 256 KiB of bytes and its owner says what they mean. No block is ever cleared; the
//! owner publishes how far it has written.
//!
//! Specification: DESIGN 4.1 (blocks from one budget), 4.3 (a block that was sent by `sendfile` is given back by punching).
//!
//! Layout of the mapping, in little-endian-on-little-endian words of 8 bytes; everything is an offset or a block number:
//!
//! ```text
//! offset  word
//!      0  magic "PENPOOL1"
//!      8  layout version
//!     16  bytes of the file
//!     24  bytes of a block
//!     32  blocks
//!     40  offset of block 0
//!     48  offset of bitmap `used`      (bit n: block n is owned or awaits punching)
//!     56  offset of bitmap `sendfile`  (bit n: pages of block n may be referenced by sockets)
//!     64  offset of bitmap `punch`     (bit n: block n has no owner and awaits punching)
//!    128  blocks used (owned or awaiting punch)
//!    192  blocks awaiting punch
//!   4096  the bitmaps, then block 0 at the next multiple of a block
//! ```
//!
//! Invariants: a block has at most one owner; `punch` is a subset of `used`; a block with its `sendfile` bit set is punched
//! before its `used` bit clears. Allocation is a `fetch_or` of one bit, from any thread, and never waits.

use std::fmt;
use std::io;
#[cfg(not(loom))]
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::sys::memory::{Mapping, PAGE_BYTES, WORD_BYTES};
use crate::sys::sync::{Arc, AtomicU64, AtomicUsize, Ordering, fence, size};

pub mod limits;
pub mod log;
#[cfg(test)]
#[cfg(loom)]
mod models;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

#[cfg(not(loom))]
pub use crate::sys::memory::Pages;
pub use limits::BLOCK_BYTES;
use limits::{BUDGET_BYTES_MAX, BUDGET_BYTES_MIN};

/// A block of the pool, by number. Owned by whoever got it from [`Pool::allocate`], until it is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(u32);

impl BlockId {
    pub fn number(self) -> u32 {
        self.0
    }

    /// The block of a number that was read from mapped memory.
    pub(crate) fn from_word(word: u64) -> BlockId {
        BlockId(u32::try_from(word).unwrap_or(u32::MAX))
    }
}

/// Where a caller of [`Pool::allocate`] looks first: keeps shards off each other's bitmap words.
#[derive(Debug)]
pub struct Hint(usize);

/// What has been done with a block's pages when it is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dirty {
    /// Copied from only: it is reused in place.
    Plain,
    /// Sent by `sendfile` or `splice`: sockets may reference its pages, it is punched before it is reused.
    Sendfile,
}

/// Counts of blocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub blocks: u64,
    /// Owned or awaiting punch.
    pub used: u64,
    /// Without owner, waiting for [`Pool::punch_pending`].
    pub awaiting_punch: u64,
}

/// Why a mapping is not a pool that this version can use.
#[derive(Debug)]
pub enum OpenError {
    System(io::Error),
    BudgetOutOfRange {
        bytes: u64,
        bytes_min: u64,
        bytes_max: u64,
    },
    NotAPool {
        magic: u64,
    },
    LayoutUnknown {
        version: u64,
        version_ours: u64,
    },
    SizesDisagree {
        bytes: u64,
        bytes_file: u64,
        block_bytes: u64,
        blocks: u64,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::System(_) => write!(f, "memory budget could not be mapped"),
            OpenError::BudgetOutOfRange {
                bytes,
                bytes_min,
                bytes_max,
            } => {
                write!(
                    f,
                    "memory budget of {bytes} bytes is not within {bytes_min} and {bytes_max}"
                )
            }
            OpenError::NotAPool { magic } => write!(f, "mapping starts with {magic:#018x}, which is not a pool"),
            OpenError::LayoutUnknown { version, version_ours } => {
                write!(f, "pool has layout version {version}, this is version {version_ours}")
            }
            OpenError::SizesDisagree {
                bytes,
                bytes_file,
                block_bytes,
                blocks,
            } => write!(
                f,
                "pool header says {bytes} bytes in {blocks} blocks of {block_bytes}, the file has {bytes_file}"
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::System(error) => Some(error),
            _ => None,
        }
    }
}

/// The blocks of one memory budget. Shared by all shards of the process through an `Arc`.
#[derive(Debug)]
pub struct Pool {
    memory: Mapping,
    places: Places,
    hints: AtomicUsize,
}

impl Pool {
    /// Maps a budget of `budget_bytes`, header included; what does not fill a block at its end is left out. Costs memory
    /// only as blocks are first written.
    pub fn create(budget_bytes: u64) -> Result<Arc<Pool>, OpenError> {
        if !(BUDGET_BYTES_MIN..=BUDGET_BYTES_MAX).contains(&budget_bytes) {
            let (bytes_min, bytes_max) = (BUDGET_BYTES_MIN, BUDGET_BYTES_MAX);
            return Err(OpenError::BudgetOutOfRange {
                bytes: budget_bytes,
                bytes_min,
                bytes_max,
            });
        }
        let places = Places::within(budget_bytes as usize);
        let memory = Mapping::create(c"penstock-pool", places.bytes()).map_err(OpenError::System)?;
        let pool = Pool {
            memory,
            places,
            hints: AtomicUsize::new(0),
        };
        let header = [
            (AT_VERSION, LAYOUT_VERSION),
            (AT_BYTES, places.bytes() as u64),
            (AT_BLOCK_BYTES, BLOCK_BYTES as u64),
            (AT_BLOCKS, places.blocks as u64),
            (AT_BLOCK_0, places.block_0 as u64),
            (AT_USED, places.used as u64),
            (AT_SENDFILE, places.sendfile as u64),
            (AT_PUNCH, places.punch as u64),
        ];
        for (at, value) in header {
            pool.memory.word(at).store(value, Ordering::Relaxed);
        }
        pool.memory.word(AT_MAGIC).store(MAGIC, Ordering::Release);
        Ok(Arc::new(pool))
    }

    /// Maps the pool of another process or of an earlier version, whose layout is checked. Its blocks stay with their
    /// owners.
    #[cfg(not(loom))]
    pub fn open(fd: OwnedFd) -> Result<Arc<Pool>, OpenError> {
        let memory = Mapping::open(fd).map_err(OpenError::System)?;
        let read = |at: usize| memory.word(at).load(Ordering::Acquire);
        if read(AT_MAGIC) != MAGIC {
            return Err(OpenError::NotAPool { magic: read(AT_MAGIC) });
        }
        if read(AT_VERSION) != LAYOUT_VERSION {
            return Err(OpenError::LayoutUnknown {
                version: read(AT_VERSION),
                version_ours: LAYOUT_VERSION,
            });
        }
        let bytes = memory.bytes() as u64;
        let disagree = OpenError::SizesDisagree {
            bytes: read(AT_BYTES),
            bytes_file: bytes,
            block_bytes: read(AT_BLOCK_BYTES),
            blocks: read(AT_BLOCKS),
        };
        let place = |at: usize| usize::try_from(read(at)).unwrap_or(usize::MAX);
        let places = Places {
            blocks: place(AT_BLOCKS),
            used: place(AT_USED),
            sendfile: place(AT_SENDFILE),
            punch: place(AT_PUNCH),
            block_0: place(AT_BLOCK_0),
        };
        if read(AT_BYTES) != bytes || read(AT_BLOCK_BYTES) != BLOCK_BYTES as u64 || !places.fit(memory.bytes()) {
            return Err(disagree);
        }
        Ok(Arc::new(Pool {
            memory,
            places,
            hints: AtomicUsize::new(0),
        }))
    }

    /// What pages blocks are made of that are first written from here on.
    ///
    /// # Errors
    /// The kernel knows no other than it gives.
    #[cfg(not(loom))]
    pub fn advise(&self, pages: Pages) -> io::Result<()> {
        self.memory.advise(pages)
    }

    /// A place to start looking that other callers were not given.
    pub fn hint(&self) -> Hint {
        Hint(self.hints.fetch_add(1, Ordering::Relaxed) % self.places.bitmap_words())
    }

    /// A free block with whatever bytes its last owner left, or `None` when the budget is used up.
    pub fn allocate(&self, hint: &mut Hint) -> Option<BlockId> {
        let words = self.places.bitmap_words();
        for step in 0..words {
            let at = (hint.0 + step) % words;
            let word = self.memory.word(self.places.used + at * WORD_BYTES);
            let mut seen = word.load(Ordering::Relaxed);
            while seen != u64::MAX {
                let bit = seen.trailing_ones();
                let number = at * 64 + bit as usize;
                if number >= self.places.blocks {
                    break;
                }
                // Acquire: what the last owner did to the block happens before what the new one does.
                seen = word.fetch_or(1 << bit, Ordering::Acquire);
                if seen & (1 << bit) == 0 {
                    self.used().fetch_add(1, Ordering::Relaxed);
                    hint.0 = at;
                    // A reader that sees a byte the new owner writes, and then fences, also sees that the last owner
                    // had given the block away.
                    fence(Ordering::Release);
                    return Some(BlockId(number as u32));
                }
            }
        }
        None
    }

    /// Gives a block back. `Dirty::Sendfile`, or an earlier [`Pool::mark_sendfile`], sends it through the punch queue.
    ///
    /// # Panics
    /// When the block is not owned: two owners would corrupt each other's media.
    pub fn free(&self, block: BlockId, dirty: Dirty) {
        let (at, bit) = self.bit_of(block);
        let used = self.memory.word(self.places.used + at);
        assert!(
            used.load(Ordering::Relaxed) & bit != 0,
            "block {} is freed twice",
            block.0
        );
        let marked = self.memory.word(self.places.sendfile + at).load(Ordering::Acquire) & bit != 0;
        if marked || dirty == Dirty::Sendfile {
            self.awaiting_punch().fetch_add(1, Ordering::Relaxed);
            let queued = self.memory.word(self.places.punch + at).fetch_or(bit, Ordering::AcqRel);
            assert!(queued & bit == 0, "block {} is freed twice", block.0);
            return;
        }
        self.used().fetch_sub(1, Ordering::Relaxed);
        let seen = used.fetch_and(!bit, Ordering::AcqRel);
        assert!(seen & bit != 0, "block {} is freed twice", block.0);
    }

    /// Says that pages of an owned block are handed to `sendfile`. Called before the send, by any thread that holds a
    /// claim on the block.
    pub fn mark_sendfile(&self, block: BlockId) {
        let (at, bit) = self.bit_of(block);
        let word = self.memory.word(self.places.sendfile + at);
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::AcqRel);
        }
    }

    /// Punches at most `blocks_max` of the waiting blocks and makes them allocatable: a file-system call of about 334 us
    /// each, so it is called off the data path. Returns how many are done. A block whose punch fails waits on.
    pub fn punch_pending(&self, blocks_max: usize) -> io::Result<usize> {
        let mut done = 0;
        if self.awaiting_punch().load(Ordering::Relaxed) == 0 {
            return Ok(done);
        }
        for at in (0..self.places.bitmap_words()).map(|word| word * WORD_BYTES) {
            let queue = self.memory.word(self.places.punch + at);
            let mut seen = queue.load(Ordering::Relaxed);
            while seen != 0 {
                if done == blocks_max {
                    return Ok(done);
                }
                let bit = 1_u64 << seen.trailing_zeros();
                seen &= !bit;
                if queue.fetch_and(!bit, Ordering::AcqRel) & bit == 0 {
                    continue; // another thread is punching it
                }
                let block = BlockId((at * 8) as u32 + bit.trailing_zeros());
                // A reader that sees a zero of the hole, and then fences, also sees that the owner had given the block away.
                fence(Ordering::Release);
                if let Err(error) = self.memory.punch(self.offset_of(block), BLOCK_BYTES) {
                    queue.fetch_or(bit, Ordering::AcqRel);
                    return Err(error);
                }
                self.memory
                    .word(self.places.sendfile + at)
                    .fetch_and(!bit, Ordering::AcqRel);
                self.awaiting_punch().fetch_sub(1, Ordering::Relaxed);
                self.used().fetch_sub(1, Ordering::Relaxed);
                self.memory
                    .word(self.places.used + at)
                    .fetch_and(!bit, Ordering::AcqRel);
                done += 1;
            }
        }
        Ok(done)
    }

    pub fn usage(&self) -> Usage {
        Usage {
            blocks: self.places.blocks as u64,
            used: self.used().load(Ordering::Relaxed),
            awaiting_punch: self.awaiting_punch().load(Ordering::Relaxed),
        }
    }

    /// The file behind the blocks, for `sendfile` and for handing the budget to another process.
    #[cfg(not(loom))]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.memory.fd()
    }

    /// Where the block starts in the file and in the mapping.
    pub fn offset_of(&self, block: BlockId) -> usize {
        assert!(
            (block.0 as usize) < self.places.blocks,
            "block {} of {}",
            block.0,
            self.places.blocks
        );
        self.places.block_0 + block.0 as usize * BLOCK_BYTES
    }

    /// The block's address, to be handed to the kernel; never to be dereferenced.
    pub fn ptr_of(&self, block: BlockId) -> *const u8 {
        std::ptr::without_provenance(self.memory.address_of(self.offset_of(block), BLOCK_BYTES) as usize)
    }

    /// Copies bytes out by their place in the file, as `sendfile` would read them at this moment.
    pub fn read(&self, file_offset: u64, to: &mut [u8]) {
        self.memory.copy_out(file_offset as usize, to);
    }

    /// The words and bytes behind the blocks.
    pub(crate) fn memory(&self) -> &Mapping {
        &self.memory
    }

    /// # Panics
    /// When a bitmap or a count contradicts another. Only meaningful while no other thread uses the pool.
    pub fn check_invariants(&self) {
        let (mut used, mut awaiting) = (0, 0);
        for word in 0..self.places.bitmap_words() {
            let at = word * WORD_BYTES;
            let used_word = self.memory.word(self.places.used + at).load(Ordering::Acquire);
            let punch_word = self.memory.word(self.places.punch + at).load(Ordering::Acquire);
            let sendfile_word = self.memory.word(self.places.sendfile + at).load(Ordering::Acquire);
            assert_eq!(punch_word & !used_word, 0, "a block awaits punching and is free");
            assert_eq!(
                sendfile_word & !used_word,
                0,
                "a free block may still be referenced by sockets"
            );
            used += u64::from(used_word.count_ones());
            awaiting += u64::from(punch_word.count_ones());
        }
        assert_eq!(used, self.usage().used);
        assert_eq!(awaiting, self.usage().awaiting_punch);
        assert!(used <= self.places.blocks as u64);
    }

    fn used(&self) -> &AtomicU64 {
        self.memory.word(AT_USED_COUNT)
    }

    fn awaiting_punch(&self) -> &AtomicU64 {
        self.memory.word(AT_PUNCH_COUNT)
    }

    /// Byte offset of the block's word inside each bitmap, and its bit.
    fn bit_of(&self, block: BlockId) -> (usize, u64) {
        let number = block.0 as usize;
        assert!(number < self.places.blocks, "block {number} of {}", self.places.blocks);
        (number / 64 * WORD_BYTES, 1 << (number % 64))
    }
}

/// Where things are in the mapping: a pure function of its size.
#[derive(Clone, Copy, Debug)]
struct Places {
    blocks: usize,
    used: usize,
    sendfile: usize,
    punch: usize,
    block_0: usize,
}

impl Places {
    /// The most blocks that fit in `bytes` with their bitmaps. A block stands where a page of its size would.
    fn within(bytes: usize) -> Places {
        let most = bytes / BLOCK_BYTES;
        let bitmap_bytes = most.div_ceil(64) * WORD_BYTES;
        let block_0 = (HEADER_BYTES + 3 * bitmap_bytes).next_multiple_of(size(BLOCK_BYTES, PAGE_BYTES));
        let blocks = (bytes - block_0) / BLOCK_BYTES;
        assert!(blocks > 0 && blocks <= most);
        let used = HEADER_BYTES;
        Places {
            blocks,
            used,
            sendfile: used + bitmap_bytes,
            punch: used + 2 * bitmap_bytes,
            block_0,
        }
    }

    /// Whether what a header says is free of overlaps and fills `bytes` exactly.
    #[cfg(not(loom))]
    fn fit(&self, bytes: usize) -> bool {
        let aligned = |at: usize| at.is_multiple_of(WORD_BYTES);
        let most = bytes / BLOCK_BYTES;
        let ends = |at: usize| at.saturating_add(self.bitmap_words() * WORD_BYTES);
        (1..=most).contains(&self.blocks)
            && self.block_0.is_multiple_of(PAGE_BYTES)
            && bytes - self.blocks * BLOCK_BYTES == self.block_0
            && [self.used, self.sendfile, self.punch].into_iter().all(aligned)
            && self.used >= HEADER_BYTES
            && ends(self.used) <= self.sendfile
            && ends(self.sendfile) <= self.punch
            && ends(self.punch) <= self.block_0
    }

    fn bytes(&self) -> usize {
        self.block_0 + self.blocks * BLOCK_BYTES
    }

    fn bitmap_words(&self) -> usize {
        self.blocks.div_ceil(64)
    }
}

const MAGIC: u64 = u64::from_le_bytes(*b"PENPOOL1");
const LAYOUT_VERSION: u64 = 1;
const AT_MAGIC: usize = 0;
const AT_VERSION: usize = 8;
const AT_BYTES: usize = 16;
const AT_BLOCK_BYTES: usize = 24;
const AT_BLOCKS: usize = 32;
const AT_BLOCK_0: usize = 40;
const AT_USED: usize = 48;
const AT_SENDFILE: usize = 56;
const AT_PUNCH: usize = 64;
/// A cache line of its own: every shard counts here.
const AT_USED_COUNT: usize = 128;
const AT_PUNCH_COUNT: usize = 192;
const HEADER_BYTES: usize = PAGE_BYTES;
