//! Blocks and logs in every order: who owns a block, and what a reader of a log sees.
//!
//! Not sizes and not sequences of calls, which the property tests have: two or three threads that meet once.

use loom::thread;

use super::log::{Log, LogWriter, place_bytes};
use super::*;
use crate::models::in_every_order;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// A pool of `blocks` blocks.
fn pool(blocks: u64) -> Arc<Pool> {
    let bytes = blocks * BLOCK + 2 * PAGE_BYTES as u64;
    let pool = Pool::create(bytes.max(BUDGET_BYTES_MIN)).unwrap();
    assert_eq!(pool.usage().blocks, blocks);
    pool
}

/// A log in a block of its own.
fn log(pool: &Arc<Pool>, blocks_max: usize) -> LogWriter {
    let root = pool.allocate(&mut pool.hint()).unwrap();
    assert!(place_bytes(blocks_max) <= BLOCK_BYTES);
    LogWriter::create(pool, pool.offset_of(root), blocks_max)
}

fn append(writer: &mut LogWriter, byte: u8) {
    writer.reserve(BLOCK).unwrap();
    writer.push(&[byte; BLOCK_BYTES]);
    writer.publish();
}

/// What a block filled with `byte` looks like: its first and last word.
fn is_filled(read: &[u8], byte: u8) -> bool {
    [&read[..8], &read[read.len() - 8..]]
        .iter()
        .all(|word| **word == [byte; 8])
}

fn read_block(log: &Log, position: u64) -> Option<Vec<u8>> {
    let mut read = vec![0; BLOCK_BYTES];
    log.copy_out(position, &mut read).then_some(read)
}

#[test]
fn what_is_published_can_be_read() {
    in_every_order(|| {
        let pool = pool(3);
        let mut writer = log(&pool, 2);
        let log = writer.log().clone();
        let reader = thread::spawn(move || {
            let head = log.head();
            for position in [0, BLOCK] {
                let read = read_block(&log, position);
                assert!(
                    read.is_some() || position >= head,
                    "of {head} not what is at {position}"
                );
                if let Some(read) = read {
                    assert!(is_filled(&read, 1 + (position / BLOCK) as u8), "torn at {position}");
                }
            }
        });
        append(&mut writer, 1);
        append(&mut writer, 2);
        reader.join().unwrap();
    });
}

/// The kernel reads published bytes without looking afterwards: everything about them happens before.
#[test]
fn a_span_of_published_bytes_is_there() {
    in_every_order(|| {
        let pool = pool(2);
        let mut writer = log(&pool, 1);
        let log = writer.log().clone();
        let reader = thread::spawn(move || {
            let head = log.head();
            if head == BLOCK {
                let span = log.span(0, head);
                let mut read = vec![0; span.len];
                log.pool().memory().read_pinned(span.file_offset as usize, &mut read);
                assert!(is_filled(&read, 7));
            }
        });
        append(&mut writer, 7);
        reader.join().unwrap();
    });
}

/// The block goes back and the log itself takes it again.
#[test]
fn a_reader_that_is_overrun_in_the_log_knows_it() {
    in_every_order(|| {
        let pool = pool(2);
        let mut writer = log(&pool, 2);
        append(&mut writer, 1);
        let log = writer.log().clone();
        let reader = thread::spawn(move || {
            for (position, byte) in [(0, 1), (BLOCK, 2)] {
                if let Some(read) = read_block(&log, position) {
                    assert!(is_filled(&read, byte), "torn at {position}");
                }
            }
        });
        writer.advance_tail(BLOCK);
        writer.release_below(BLOCK);
        append(&mut writer, 2);
        reader.join().unwrap();
    });
}

/// The block goes back and another owner, on another thread, writes it.
#[test]
fn a_reader_that_is_overrun_by_another_owner_knows_it() {
    in_every_order(|| {
        let pool = pool(2);
        let mut writer = log(&pool, 2);
        append(&mut writer, 1);
        let log = writer.log().clone();
        let reader = thread::spawn(move || {
            if let Some(read) = read_block(&log, 0) {
                assert!(is_filled(&read, 1), "torn");
            }
        });
        let taker = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                if let Some(block) = pool.allocate(&mut pool.hint()) {
                    pool.memory().copy_in(pool.offset_of(block), &[9; BLOCK_BYTES]);
                }
            }
        });
        writer.advance_tail(BLOCK);
        writer.release_below(BLOCK);
        reader.join().unwrap();
        taker.join().unwrap();
    });
}

/// The block was sent by `sendfile`, so another thread punches it first.
#[test]
fn a_reader_whose_block_is_punched_knows_it() {
    in_every_order(|| {
        let pool = pool(2);
        let mut writer = log(&pool, 2);
        append(&mut writer, 1);
        pool.mark_sendfile(writer.log().block_at(0));
        let log = writer.log().clone();
        let reader = thread::spawn(move || {
            if let Some(read) = read_block(&log, 0) {
                assert!(is_filled(&read, 1), "torn");
            }
        });
        let puncher = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                let punched = pool.punch_pending(1).unwrap();
                let block = pool.allocate(&mut pool.hint());
                assert_eq!(block.is_some(), punched == 1, "free once it is punched, and not before");
            }
        });
        writer.advance_tail(BLOCK);
        writer.release_below(BLOCK);
        reader.join().unwrap();
        puncher.join().unwrap();
    });
}

/// The table of blocks has two places: the third block takes that of the first.
#[test]
fn a_reader_is_not_led_astray_by_a_place_that_is_taken_again() {
    in_every_order(|| {
        let pool = pool(3);
        let mut writer = log(&pool, 1);
        append(&mut writer, 1);
        let log = writer.log().clone();
        let reader = thread::spawn(move || {
            if let Some(read) = read_block(&log, 0) {
                assert!(is_filled(&read, 1), "torn");
            }
        });
        // Another takes the first block, so that the log's next is one that has never been written.
        writer.advance_tail(BLOCK);
        writer.release_below(BLOCK);
        let _other = pool.allocate(&mut pool.hint());
        writer.reserve(BLOCK).unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn a_block_has_one_owner_and_its_writes_are_in_order() {
    in_every_order(|| {
        let pool = pool(1);
        let owners: Vec<_> = (1..3_u8)
            .map(|owner| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || {
                    let Some(block) = pool.allocate(&mut pool.hint()) else {
                        return 0;
                    };
                    let at = pool.offset_of(block);
                    pool.memory().copy_in(at, &[owner; BLOCK_BYTES]);
                    let mut read = vec![0; BLOCK_BYTES];
                    pool.memory().read_pinned(at, &mut read);
                    assert!(is_filled(&read, owner), "another owner wrote");
                    pool.free(block, Dirty::Plain);
                    1
                })
            })
            .collect();
        let owned: u32 = owners.into_iter().map(|owner| owner.join().unwrap()).sum();
        assert!(owned > 0);
        assert_eq!(pool.usage().used, 0);
        pool.check_invariants();
    });
}

/// One gives back what was sent, and takes it again, while two punch.
#[test]
fn a_block_is_punched_once() {
    in_every_order(|| {
        let pool = pool(1);
        let block = pool.allocate(&mut pool.hint()).unwrap();
        let punchers: Vec<_> = (0..2)
            .map(|_| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || pool.punch_pending(1).unwrap())
            })
            .collect();
        pool.mark_sendfile(block);
        pool.memory().copy_in(pool.offset_of(block), &[5; BLOCK_BYTES]);
        pool.free(block, Dirty::Plain);
        if let Some(block) = pool.allocate(&mut pool.hint()) {
            pool.memory().copy_in(pool.offset_of(block), &[6; BLOCK_BYTES]);
            pool.free(block, Dirty::Plain);
        }
        let punched: usize = punchers.into_iter().map(|puncher| puncher.join().unwrap()).sum();
        assert_eq!(punched + pool.punch_pending(1).unwrap(), 1);
        assert_eq!(
            pool.usage(),
            Usage {
                blocks: 1,
                used: 0,
                awaiting_punch: 0
            }
        );
        pool.check_invariants();
    });
}
