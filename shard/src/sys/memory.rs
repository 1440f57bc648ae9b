//! One memfd, mapped once: words that any thread and any process may read and write.
//!
//! Not an allocator ([`crate::pool`]) and not a publication protocol ([`crate::pool::log`]): only bytes at offsets.
//!
//! Specification: `memfd_create(2)`, `mmap(2)`, `fallocate(2)` (`FALLOC_FL_PUNCH_HOLE`), `fcntl(2)` (seals).
//!
//! Invariants:
//! - The file never shrinks (sealed), so no access inside `bytes` can raise SIGBUS for lack of a page to stand on.
//! - Every access from Rust is an `AtomicU64` of one aligned word. No `&[u8]` to mapped memory is ever made, so bytes that
//!   another thread writes at the same time are at worst a torn *value*, never undefined behaviour. Accesses of other
//!   widths do not exist, so the widths are never mixed.
//! - The kernel reads the same pages through `fd` or through `address_of`; it needs no reference of ours.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use super::sync::{AtomicU64, Ordering};

/// Bytes of a word: the only width in which mapped memory is read and written.
pub const WORD_BYTES: usize = 8;
/// What offsets of holes must be multiples of.
pub const PAGE_BYTES: usize = 4096;

/// What a mapping's pages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// The machine's smallest.
    Small,
    /// As large as a block of the pool. Only where the kernel has none larger to give (the caller has looked): a block is
    /// punched whole, and must not share its page with another.
    OfBlocks,
}

/// A shared mapping of a whole memfd. Owned by the pool, shared by all shards of the process.
#[derive(Debug)]
pub struct Mapping {
    fd: OwnedFd,
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: `base` points at a mapping that lives until `drop`, belongs to no thread, and is only accessed by atomic words.
unsafe impl Send for Mapping {}
// SAFETY: as above: every method takes `&self` and accesses the mapping through `AtomicU64` or by system calls only.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// A new memfd of `bytes` zero bytes (a positive multiple of the page), sealed against resizing, and its mapping. Pages
    /// cost memory from their first write on.
    pub fn create(name: &CStr, bytes: usize) -> io::Result<Mapping> {
        if bytes == 0 || !bytes.is_multiple_of(PAGE_BYTES) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        // SAFETY: `name` is a C string that lives across the call.
        let fd = unsafe { libc::memfd_create(name.as_ptr(), flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` is a fresh descriptor that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let length = libc::off_t::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: `ftruncate` touches no memory of ours.
        check(unsafe { libc::ftruncate(fd.as_raw_fd(), length) })?;
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: `fcntl` with F_ADD_SEALS takes an integer and touches no memory of ours.
        check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
        Mapping::map(fd, bytes)
    }

    /// Maps a memfd that another process, or an earlier version of this one, has made and sealed.
    pub fn open(fd: OwnedFd) -> io::Result<Mapping> {
        // SAFETY: `fcntl` with F_GET_SEALS touches no memory of ours.
        let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
        check(seals)?;
        if seals & libc::F_SEAL_SHRINK == 0 {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        // SAFETY: `lseek` touches no memory of ours.
        let length = unsafe { libc::lseek(fd.as_raw_fd(), 0, libc::SEEK_END) };
        let bytes = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        if bytes == 0 || !bytes.is_multiple_of(PAGE_BYTES) {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        Mapping::map(fd, bytes)
    }

    fn map(fd: OwnedFd, bytes: usize) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
        // SAFETY: a null hint lets the kernel choose unused addresses, so no existing memory is replaced.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, fd.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast::<u8>()).expect("mmap without MAP_FIXED never maps address 0");
        Ok(Mapping { fd, base, bytes })
    }

    /// Says what pages the mapping is to be made of from here on. A kernel that knows no larger ones has small ones.
    pub fn advise(&self, pages: Pages) -> io::Result<()> {
        let advice = match pages {
            Pages::Small => libc::MADV_NOHUGEPAGE,
            Pages::OfBlocks => libc::MADV_HUGEPAGE,
        };
        // SAFETY: the range is this mapping, whole; its contents stay as they are.
        check(unsafe { libc::madvise(self.base.as_ptr().cast(), self.bytes, advice) })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of pages that have been written and not punched: what the mapping costs.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        // SAFETY: all zeros is a valid `stat`, which the call below fills.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: `stat` lives across the call and is of the type that the call fills.
        check(unsafe { libc::fstat(self.fd.as_raw_fd(), &raw mut stat) })?;
        Ok(stat.st_blocks.unsigned_abs() * 512) // stat(2): in units of 512 bytes, whatever the file system
    }

    /// The word at `offset`, a multiple of 8 inside the mapping.
    pub fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(WORD_BYTES), "unaligned word at {offset}");
        assert!(offset < self.bytes, "word at {offset} of {}", self.bytes);
        // SAFETY: `offset` < `bytes` (asserted), so the address stays inside the mapping.
        let address = unsafe { self.base.as_ptr().add(offset) }.cast::<u64>();
        // SAFETY: aligned (the base is page-aligned, `offset` a multiple of 8), wholly inside the mapping (`bytes` is a
        // multiple of 8), alive as long as `&self`, and only accessed by atomic words of this width (front page).
        unsafe { AtomicU64::from_ptr(address) }
    }

    /// The `count` words from `offset` on.
    fn words(&self, offset: usize, count: usize) -> &[AtomicU64] {
        if count == 0 {
            return &[];
        }
        assert!(offset.is_multiple_of(WORD_BYTES), "unaligned words at {offset}");
        assert!(
            offset < self.bytes && count <= (self.bytes - offset) / WORD_BYTES,
            "{count} words at {offset}"
        );
        // SAFETY: `offset` < `bytes` (asserted), so the address stays inside the mapping.
        let address = unsafe { self.base.as_ptr().add(offset) }.cast::<AtomicU64>();
        // SAFETY: aligned and wholly inside the mapping (both asserted); `AtomicU64` has the layout of `u64`, permits
        // writes by others while shared, and nothing accesses these bytes in another width (front page).
        unsafe { std::slice::from_raw_parts(address, count) }
    }

    /// Copies `from` to `offset` by word stores. The words at both edges are read, merged and written back: whoever
    /// calls must be the only writer of those words.
    pub fn copy_in(&self, offset: usize, from: &[u8]) {
        if from.is_empty() {
            return;
        }
        let (mut offset, mut from) = (offset, from);
        let edge = offset % WORD_BYTES;
        if edge != 0 {
            let (first, rest) = from.split_at(from.len().min(WORD_BYTES - edge));
            self.merge(offset - edge, edge, first);
            if rest.is_empty() {
                return;
            }
            (offset, from) = (offset + first.len(), rest);
        }
        let (whole, rest) = from.as_chunks::<WORD_BYTES>();
        for (word, bytes) in self.words(offset, whole.len()).iter().zip(whole) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
        if !rest.is_empty() {
            self.merge(offset + whole.len() * WORD_BYTES, 0, rest);
        }
    }

    /// Replaces `bytes` inside the one word at `offset`, from byte `edge` of it on.
    fn merge(&self, offset: usize, edge: usize, bytes: &[u8]) {
        let word = self.word(offset);
        let mut merged = word.load(Ordering::Relaxed).to_ne_bytes();
        merged[edge..edge + bytes.len()].copy_from_slice(bytes);
        word.store(u64::from_ne_bytes(merged), Ordering::Relaxed);
    }

    /// Copies from `offset` by word loads, which may be torn between words: the caller checks afterwards (behind an
    /// acquire fence) that nobody has written there meanwhile.
    pub fn copy_out(&self, offset: usize, to: &mut [u8]) {
        if to.is_empty() {
            return;
        }
        let (mut offset, mut to) = (offset, to);
        let edge = offset % WORD_BYTES;
        if edge != 0 {
            let count = to.len().min(WORD_BYTES - edge);
            let (first, rest) = to.split_at_mut(count);
            let word = self.word(offset - edge).load(Ordering::Relaxed).to_ne_bytes();
            first.copy_from_slice(&word[edge..edge + count]);
            if rest.is_empty() {
                return;
            }
            (offset, to) = (offset + count, rest);
        }
        let (whole, rest) = to.as_chunks_mut::<WORD_BYTES>();
        for (word, bytes) in self.words(offset, whole.len()).iter().zip(whole.iter_mut()) {
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        if !rest.is_empty() {
            let word = self
                .word(offset + whole.len() * WORD_BYTES)
                .load(Ordering::Relaxed)
                .to_ne_bytes();
            rest.copy_from_slice(&word[..rest.len()]);
        }
    }

    /// The address of `bytes` bytes at `offset`, to be handed to the kernel; never to be dereferenced.
    pub fn address_of(&self, offset: usize, bytes: usize) -> u64 {
        assert!(
            offset < self.bytes && bytes <= self.bytes - offset,
            "{bytes} bytes at {offset} of {}",
            self.bytes
        );
        (self.base.as_ptr().addr() + offset) as u64
    }

    /// Gives the pages of a range back to the kernel: it reads as zeros, and pages that a socket still references are
    /// no longer ours to overwrite. A file-system call: about 334 us for 256 KiB. Both numbers are multiples of the page.
    pub fn punch(&self, offset: usize, bytes: usize) -> io::Result<()> {
        assert!(offset.is_multiple_of(PAGE_BYTES) && bytes.is_multiple_of(PAGE_BYTES));
        assert!(
            offset < self.bytes && bytes <= self.bytes - offset,
            "hole of {bytes} at {offset} of {}",
            self.bytes
        );
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let fd = self.fd.as_raw_fd();
        // SAFETY: replaces file pages by zero pages under the mapping, which stays whole; other threads at worst read zeros.
        check(unsafe { libc::fallocate(fd, mode, offset as libc::off_t, bytes as libc::off_t) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `base` and `bytes` are what `mmap` returned; borrows of the words end with `self`.
        let unmapped = unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
        debug_assert_eq!(unmapped, 0);
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_any_alignment_touch_only_their_own_bytes() {
        let mapping = Mapping::create(c"penstock-test", PAGE_BYTES).unwrap();
        for start in 0..17 {
            for count in 0..40 {
                mapping.copy_in(0, &[0xee; 128]);
                let bytes: Vec<u8> = (0..count).map(|at| at as u8).collect();
                mapping.copy_in(start, &bytes);
                let mut whole = [0; 128];
                mapping.copy_out(0, &mut whole);
                let mut expected = [0xee; 128];
                expected[start..start + count].copy_from_slice(&bytes);
                assert_eq!(whole, expected, "{count} bytes at {start}");
                let mut part = vec![0; count];
                mapping.copy_out(start, &mut part);
                assert_eq!(part, bytes);
            }
        }
    }

    #[test]
    fn the_last_byte_can_be_written_and_the_next_cannot() {
        let mapping = Mapping::create(c"penstock-test", PAGE_BYTES).unwrap();
        mapping.copy_in(PAGE_BYTES - 3, b"abc");
        let mut read = [0; 3];
        mapping.copy_out(PAGE_BYTES - 3, &mut read);
        assert_eq!(&read, b"abc");
        let beyond = std::panic::catch_unwind(|| mapping.copy_in(PAGE_BYTES - 3, b"abcd"));
        assert!(beyond.is_err());
        assert!(std::panic::catch_unwind(|| mapping.word(PAGE_BYTES).load(Ordering::Relaxed)).is_err());
        assert!(std::panic::catch_unwind(|| mapping.word(4).load(Ordering::Relaxed)).is_err());
    }

    #[test]
    fn a_hole_reads_as_zeros_and_the_file_cannot_shrink() {
        let mapping = Mapping::create(c"penstock-test", 2 * PAGE_BYTES).unwrap();
        mapping.copy_in(PAGE_BYTES - 1, b"ab");
        assert_eq!(mapping.resident_bytes().unwrap(), 2 * PAGE_BYTES as u64);
        mapping.punch(PAGE_BYTES, PAGE_BYTES).unwrap();
        assert_eq!(mapping.resident_bytes().unwrap(), PAGE_BYTES as u64);
        let mut read = [1; 2];
        mapping.copy_out(PAGE_BYTES - 1, &mut read);
        assert_eq!(&read, b"a\0");
        let again = std::fs::File::from(mapping.fd().try_clone_to_owned().unwrap());
        assert!(again.set_len(0).is_err());
    }

    #[test]
    fn a_second_mapping_of_the_same_file_sees_the_same_words() {
        let first = Mapping::create(c"penstock-test", PAGE_BYTES).unwrap();
        let second = Mapping::open(first.fd().try_clone_to_owned().unwrap()).unwrap();
        first.word(8).store(77, Ordering::Relaxed);
        assert_eq!(second.word(8).load(Ordering::Relaxed), 77);
        assert_eq!(second.bytes(), PAGE_BYTES);
    }

    #[test]
    fn odd_sizes_are_refused() {
        assert!(Mapping::create(c"penstock-test", 0).is_err());
        assert!(Mapping::create(c"penstock-test", PAGE_BYTES + 1).is_err());
    }
}
