//! A feed's writer and its shards in every order: claims, give-back, joins, eviction, doorbells.
//!
//! Not windows and sequences of calls, which the property tests have. A pinned read stands for the kernel, which reads a
//! span without looking afterwards; who takes a block that was given back writes it.

use loom::thread;

use super::*;
use crate::models::{in_every_order, with_one_switch};
use crate::pool::BLOCK_BYTES;
use crate::sys::memory::PAGE_BYTES;

const BLOCK: u64 = BLOCK_BYTES as u64;
/// The window is the last two join points, whatever their age.
const CONFIG: Config = Config {
    lag_max_micros: 0,
    bytes_max: 4 * BLOCK,
    claimed_bytes_max: 4 * BLOCK,
};
/// A feed of few records has a root, and a block of its index.
const BLOCKS_BESIDE: u64 = 2;

/// A feed that has `blocks` blocks for its records.
fn feed(blocks: u64, config: Config) -> (Writer, Arc<Feed>) {
    let pool = Pool::create((BLOCKS_BESIDE + blocks) * BLOCK + 2 * PAGE_BYTES as u64).unwrap();
    let writer = Writer::create(&pool, config).unwrap();
    let feed = Arc::clone(writer.feed());
    (writer, feed)
}

/// Record `number` fills a block and can be joined.
fn append_block(writer: &mut Writer, number: u8) {
    writer
        .append_record(&[number; BLOCK_BYTES], Some(&[]), i64::from(number))
        .unwrap();
}

fn assert_filled(read: &[u8], byte: u8) {
    assert_eq!((&read[..8], &read[read.len() - 8..]), (&[byte; 8][..], &[byte; 8][..]));
}

/// What the kernel does for `shard` with the record at `position`.
fn assert_sends(feed: &Feed, shard: usize, position: u64, byte: u8) {
    let record = feed.record_at(position).expect("a claimed record is known");
    assert_eq!((record.start, record.end), (position, position + BLOCK));
    let span = feed.span(shard, record.start, record.end);
    let mut read = vec![0; span.len];
    feed.pool().memory().read_pinned(span.file_offset as usize, &mut read);
    assert_filled(&read, byte);
}

/// Takes every block that is free and writes it.
fn overwrite_free(pool: &Pool) {
    while let Some(block) = pool.allocate(&mut pool.hint()) {
        pool.memory().copy_in(pool.offset_of(block), &[0xee; BLOCK_BYTES]);
    }
}

#[test]
fn a_claim_holds_its_bytes_or_is_refused() {
    in_every_order(|| {
        let (mut writer, feed) = feed(3, CONFIG);
        append_block(&mut writer, 0);
        append_block(&mut writer, 1);
        // A viewer was told of record 0, and is overtaken.
        let shard = thread::spawn({
            let feed = Arc::clone(&feed);
            move || {
                if feed.claim(1, 0).is_ok() {
                    assert_sends(&feed, 1, 0, 0);
                    feed.set_released(1, u64::MAX);
                }
            }
        });
        append_block(&mut writer, 2);
        overwrite_free(feed.pool());
        shard.join().unwrap();
    });
}

/// Two shards claim while blocks are given back; the writer looks at both.
#[test]
fn the_writer_gives_back_below_every_shard() {
    in_every_order(|| {
        let (mut writer, feed) = feed(3, CONFIG);
        append_block(&mut writer, 0);
        append_block(&mut writer, 1);
        feed.claim(0, 0).unwrap();
        let shards: Vec<_> = (0..2)
            .map(|shard| {
                let feed = Arc::clone(&feed);
                thread::spawn(move || {
                    if feed.claim(shard, 0).is_ok() {
                        assert_sends(&feed, shard, 0, 0);
                        feed.set_released(shard, u64::MAX);
                    }
                })
            })
            .collect();
        append_block(&mut writer, 2);
        overwrite_free(feed.pool());
        shards.into_iter().for_each(|shard| shard.join().unwrap());
    });
}

/// A shard releases what it has read, and the writer gives it to another owner.
#[test]
fn what_is_released_was_read() {
    in_every_order(|| {
        let (mut writer, feed) = feed(4, CONFIG);
        for number in 0..3 {
            append_block(&mut writer, number);
        }
        feed.claim(1, BLOCK).unwrap();
        let shard = thread::spawn({
            let feed = Arc::clone(&feed);
            move || {
                assert_sends(&feed, 1, BLOCK, 1);
                feed.mark_sendfile(BLOCK);
                feed.set_released(1, 2 * BLOCK);
                assert_sends(&feed, 1, 2 * BLOCK, 2);
                feed.set_released(1, u64::MAX);
            }
        });
        append_block(&mut writer, 3);
        feed.pool().punch_pending(1).unwrap();
        overwrite_free(feed.pool());
        shard.join().unwrap();
    });
}

/// Its deadline is bytes: beyond them it is told, once it looks, and until then what it claims stays.
#[test]
fn a_shard_past_its_deadline_is_told_and_keeps_what_it_claims() {
    in_every_order(|| {
        let config = Config {
            claimed_bytes_max: BLOCK,
            ..CONFIG
        };
        let (mut writer, feed) = feed(5, config);
        append_block(&mut writer, 0);
        append_block(&mut writer, 1);
        feed.claim(1, 0).unwrap();
        let shard = thread::spawn({
            let feed = Arc::clone(&feed);
            move || {
                let is_told = feed.evict_below() > 0;
                assert_sends(&feed, 1, 0, 0);
                if is_told {
                    feed.set_released(1, u64::MAX);
                }
                is_told
            }
        });
        for number in 2..4 {
            append_block(&mut writer, number);
        }
        overwrite_free(feed.pool());
        if !shard.join().unwrap() {
            // It never looks again: what it claims is there, it costs what it claims, and others are served.
            assert_eq!(feed.evict_below(), BLOCK);
            assert_sends(&feed, 1, 0, 0);
            assert_eq!(
                feed.join_newest(&mut Vec::new()).map(|join| join.position),
                Some(3 * BLOCK)
            );
            feed.set_released(1, u64::MAX);
        }
        writer.reclaim();
        assert_eq!((writer.feed().tail(), writer.floor()), (2 * BLOCK, 2 * BLOCK));
    });
}

/// The table of joins has one place, and the area of headers holds those of one record.
#[test]
fn a_join_point_comes_with_its_own_header() {
    with_one_switch(|| {
        let (mut writer, feed) = feed(1, CONFIG);
        append_headed(&mut writer, 0);
        let shard = thread::spawn({
            let feed = Arc::clone(&feed);
            move || {
                let mut header = Vec::new();
                if let Some(join) = feed.skip_newest(&mut header) {
                    assert_eq!(header, [0x80 | join.dts_micros as u8; 8]);
                    assert_eq!(join.position, 8 * join.dts_micros as u64);
                }
            }
        });
        append_headed(&mut writer, 1);
        shard.join().unwrap();
    });
}

#[test]
fn who_sees_the_head_finds_its_records() {
    in_every_order(|| {
        let (mut writer, feed) = feed(1, CONFIG);
        let shard = thread::spawn({
            let feed = Arc::clone(&feed);
            move || {
                if feed.head() > 0 {
                    let record = feed.record_at(0).expect("a published record is in the index");
                    assert_eq!((record.start, record.end), (0, 8));
                }
            }
        });
        append_headed(&mut writer, 0);
        shard.join().unwrap();
    });
}

#[test]
fn who_sees_a_join_point_sees_its_record() {
    in_every_order(|| {
        let (mut writer, feed) = feed(1, CONFIG);
        let shard = thread::spawn({
            let feed = Arc::clone(&feed);
            move || {
                if let Some(join) = feed.join_newest(&mut Vec::new()) {
                    let record = feed.record_at(join.position).expect("there is a record to join at");
                    assert!(record.is_join && record.end <= feed.head());
                }
            }
        });
        append_headed(&mut writer, 0);
        shard.join().unwrap();
    });
}

fn append_headed(writer: &mut Writer, number: u8) {
    let headers = Headers {
        join: &[number; 8],
        skip: &[0x80 | number; 8],
    };
    let record = Record {
        bytes: &[&[number; 8]],
        join: Some(headers),
        dts_micros: i64::from(number),
        flags: 0,
    };
    writer.append(&[record]).unwrap();
}

/// Blocks of the index leave while a shard looks up the record that it stands in.
#[test]
fn a_claimed_record_is_known_while_the_index_shrinks() {
    in_every_order(|| {
        const RECORD: usize = 32;
        let (mut writer, feed) = feed(3, CONFIG);
        let record = |join: Option<Headers<'static>>| Record {
            bytes: &[&[7; RECORD]],
            join,
            dts_micros: 0,
            flags: 0,
        };
        let joined = record(Some(Headers { join: &[], skip: &[] }));
        writer.append(&[joined]).unwrap();
        writer.append(&[record(None); 31]).unwrap();
        writer.append(&[record(None), joined]).unwrap();
        let position = 33 * RECORD as u64;
        feed.claim(1, position).unwrap();
        let shard = thread::spawn({
            let feed = Arc::clone(&feed);
            move || {
                let record = feed.record_at(position).expect("a claimed record is known");
                assert_eq!((record.start, record.is_join), (position, true));
            }
        });
        writer.append(&[joined]).unwrap();
        assert_eq!(feed.tail(), position);
        shard.join().unwrap();
    });
}

#[test]
fn a_shard_that_asks_for_a_doorbell_sees_the_head_or_is_rung() {
    in_every_order(|| {
        let (mut writer, feed) = feed(1, CONFIG);
        let shard = thread::spawn({
            let feed = Arc::clone(&feed);
            move || {
                feed.subscribe(1);
                feed.head()
            }
        });
        append_headed(&mut writer, 0);
        let is_rung = feed.subscribers() & 2 != 0;
        assert!(shard.join().unwrap() == 8 || is_rung, "it sleeps with a record unseen");
    });
}

#[test]
fn who_sees_the_end_sees_everything_before_it() {
    in_every_order(|| {
        let (mut writer, feed) = feed(1, CONFIG);
        let shard = thread::spawn({
            let feed = Arc::clone(&feed);
            move || assert!(!feed.is_ended() || feed.head() == 8)
        });
        append_headed(&mut writer, 0);
        drop(writer);
        shard.join().unwrap();
    });
}
