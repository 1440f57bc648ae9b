//! The mapping as loom sees it, in place of `memory`: words that are loom's atomics, and no kernel.
//!
//! Not a memory of bytes: a run of bytes is its first and its last word, so that a model of whole blocks has few steps. Who
//! copies out what was not copied in as the same run gets zeros between.
//!
//! Invariants:
//! - Readers that look afterwards whether what they copied was still there only touch words, in any order with writers.
//! - Readers that hold a claim ([`Mapping::read_pinned`], the kernel's part) and writers of bytes also enter a cell of the
//!   page, and loom says no when one of them does not happen before the other.

use std::ffi::CStr;
use std::io;

use loom::cell::UnsafeCell;

use super::sync::{AtomicU64, Ordering};

/// Bytes of a word: the only width in which mapped memory is read and written.
pub const WORD_BYTES: usize = 8;
/// Room for the header of a pool, which spreads its words over cache lines.
pub const PAGE_BYTES: usize = 256;

#[derive(Debug)]
pub struct Mapping {
    words: Vec<AtomicU64>,
    pages: Vec<UnsafeCell<()>>,
}

impl Mapping {
    pub fn create(_name: &CStr, bytes: usize) -> io::Result<Mapping> {
        assert!(bytes.is_multiple_of(PAGE_BYTES));
        Ok(Mapping {
            words: (0..bytes / WORD_BYTES).map(|_| AtomicU64::new(0)).collect(),
            pages: (0..bytes / PAGE_BYTES).map(|_| UnsafeCell::new(())).collect(),
        })
    }

    pub fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(WORD_BYTES), "unaligned word at {offset}");
        &self.words[offset / WORD_BYTES]
    }

    pub fn copy_in(&self, offset: usize, from: &[u8]) {
        self.write(offset, from);
    }

    pub fn copy_out(&self, offset: usize, to: &mut [u8]) {
        to.fill(0);
        for (at, bytes) in ends(to.len()) {
            let word = self.word(offset + at).load(Ordering::Relaxed).to_ne_bytes();
            to[at..at + bytes].copy_from_slice(&word[..bytes]);
        }
    }

    /// What the kernel reads of a span while a claim holds it.
    pub fn read_pinned(&self, offset: usize, to: &mut [u8]) {
        self.pages[offset / PAGE_BYTES].with(|_| self.copy_out(offset, to));
    }

    pub fn address_of(&self, offset: usize, _bytes: usize) -> u64 {
        offset as u64
    }

    /// Zeros: what whoever still reads there finds.
    pub fn punch(&self, offset: usize, bytes: usize) -> io::Result<()> {
        self.write(offset, &vec![0; bytes]);
        Ok(())
    }

    fn write(&self, offset: usize, from: &[u8]) {
        self.pages[offset / PAGE_BYTES].with_mut(|_| {
            for (at, bytes) in ends(from.len()) {
                let mut word = [0; WORD_BYTES];
                word[..bytes].copy_from_slice(&from[at..at + bytes]);
                self.word(offset + at)
                    .store(u64::from_ne_bytes(word), Ordering::Relaxed);
            }
        });
    }
}

/// Where the first and the last word of a run of `bytes` bytes are, and how many bytes each has.
fn ends(bytes: usize) -> impl Iterator<Item = (usize, usize)> {
    let last = bytes.saturating_sub(1) / WORD_BYTES * WORD_BYTES;
    let second = (last > 0).then_some((last, bytes - last));
    std::iter::once((0, bytes.min(WORD_BYTES)))
        .chain(second)
        .filter(|(_, bytes)| *bytes > 0)
}
