use std::collections::HashSet;

use proptest::prelude::*;

use super::log::{Full, LogWriter, place_bytes};
use super::*;

const MIB: u64 = 1024 * 1024;

#[test]
fn budgets_of_any_size_give_whole_blocks() {
    for bytes in [
        BUDGET_BYTES_MIN,
        2 * MIB,
        2 * MIB + 1,
        3 * MIB - 1,
        5_000_001,
        64 * MIB + 12_345,
    ] {
        let pool = Pool::create(bytes).unwrap();
        let usage = pool.usage();
        assert!(usage.blocks >= bytes / BLOCK_BYTES as u64 - 1, "{usage:?} of {bytes}");
        let mut hint = pool.hint();
        let mut seen = HashSet::new();
        while let Some(block) = pool.allocate(&mut hint) {
            assert!(seen.insert(block), "block {block:?} is given twice");
            assert!(pool.offset_of(block) as u64 + BLOCK_BYTES as u64 <= bytes);
        }
        assert_eq!(seen.len() as u64, usage.blocks);
        pool.check_invariants();
        for block in seen {
            pool.free(block, Dirty::Plain);
        }
        assert_eq!(pool.usage().used, 0);
        pool.check_invariants();
    }
}

#[test]
fn budgets_out_of_range_are_refused() {
    for bytes in [0, 1, BUDGET_BYTES_MIN - 1, BUDGET_BYTES_MAX + 1, u64::MAX] {
        assert!(matches!(Pool::create(bytes), Err(OpenError::BudgetOutOfRange { .. })));
    }
}

#[test]
fn a_block_sent_by_sendfile_is_punched_before_it_is_given_again() {
    let pool = Pool::create(2 * MIB).unwrap();
    let mut hint = pool.hint();
    let blocks: Vec<BlockId> = std::iter::from_fn(|| pool.allocate(&mut hint)).collect();
    let count = blocks.len();
    for (index, &block) in blocks.iter().enumerate() {
        pool.memory().copy_in(pool.offset_of(block), &[0xaa; 16]);
        if index % 2 == 0 {
            pool.mark_sendfile(block);
        }
        pool.free(block, if index == 1 { Dirty::Sendfile } else { Dirty::Plain });
        pool.check_invariants();
    }
    let waiting = count.div_ceil(2) + 1;
    assert_eq!(pool.usage().awaiting_punch, waiting as u64);
    let plain: Vec<BlockId> = std::iter::from_fn(|| pool.allocate(&mut hint)).collect();
    assert_eq!(plain.len(), count - waiting, "waiting blocks are not given");
    assert_eq!(pool.punch_pending(1).unwrap(), 1);
    assert_eq!(pool.usage().awaiting_punch, waiting as u64 - 1);
    assert_eq!(pool.punch_pending(usize::MAX).unwrap(), waiting - 1);
    assert_eq!(pool.punch_pending(usize::MAX).unwrap(), 0);
    pool.check_invariants();
    let punched: Vec<BlockId> = std::iter::from_fn(|| pool.allocate(&mut hint)).collect();
    assert_eq!(punched.len(), waiting);
    for block in punched {
        let mut read = [1; 16];
        pool.memory().copy_out(pool.offset_of(block), &mut read);
        assert_eq!(read, [0; 16]);
    }
}

#[test]
#[should_panic(expected = "freed twice")]
fn a_block_is_freed_once() {
    let pool = Pool::create(2 * MIB).unwrap();
    let block = pool.allocate(&mut pool.hint()).unwrap();
    pool.free(block, Dirty::Plain);
    pool.free(block, Dirty::Plain);
}

#[test]
fn threads_never_own_the_same_block() {
    let pool = Pool::create(8 * MIB).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let pool = &pool;
            scope.spawn(move || {
                let mut hint = pool.hint();
                let mut owned = Vec::new();
                for round in 0..4_000_u64 {
                    if let Some(block) = pool.allocate(&mut hint) {
                        let word = pool.memory().word(pool.offset_of(block));
                        word.store(thread << 32 | round, Ordering::Relaxed);
                        owned.push((block, thread << 32 | round));
                    }
                    if owned.len() > 10 || round % 3 == 0 && !owned.is_empty() {
                        let (block, written) = owned.swap_remove(round as usize % owned.len());
                        let word = pool.memory().word(pool.offset_of(block));
                        assert_eq!(word.load(Ordering::Relaxed), written);
                        pool.free(block, if round % 64 == 0 { Dirty::Sendfile } else { Dirty::Plain });
                    }
                    pool.punch_pending(1).unwrap();
                }
                for (block, _) in owned {
                    pool.free(block, Dirty::Plain);
                }
            });
        }
    });
    pool.punch_pending(usize::MAX).unwrap();
    assert_eq!(pool.usage().used, 0);
    pool.check_invariants();
}

#[test]
fn another_mapping_of_the_file_is_the_same_pool() {
    let pool = Pool::create(3 * MIB + 5).unwrap();
    let block = pool.allocate(&mut pool.hint()).unwrap();
    pool.memory().copy_in(pool.offset_of(block), b"hello");
    let other = Pool::open(pool.fd().try_clone_to_owned().unwrap()).unwrap();
    assert_eq!(other.usage(), pool.usage());
    assert_eq!(other.offset_of(block), pool.offset_of(block));
    let mut read = [0; 5];
    other.memory().copy_out(other.offset_of(block), &mut read);
    assert_eq!(&read, b"hello");
    other.free(block, Dirty::Plain);
    assert_eq!(pool.usage().used, 0);
}

#[test]
fn a_header_that_contradicts_the_file_is_refused() {
    let cases: [(usize, u64); 9] = [
        (AT_MAGIC, 1),
        (AT_VERSION, LAYOUT_VERSION + 1),
        (AT_BYTES, 1),
        (AT_BLOCK_BYTES, 4096),
        (AT_BLOCKS, 1_000),
        (AT_BLOCKS, u64::MAX),
        (AT_BLOCK_0, 0),
        (AT_USED, 3),
        (AT_PUNCH, u64::MAX - 7),
    ];
    for (at, value) in cases {
        let pool = Pool::create(2 * MIB).unwrap();
        pool.memory().word(at).store(value, Ordering::Relaxed);
        assert!(
            Pool::open(pool.fd().try_clone_to_owned().unwrap()).is_err(),
            "{value} at {at}"
        );
    }
}

/// A log in a block of its own, for tests.
fn log_in(pool: &Arc<Pool>, blocks_max: usize) -> (BlockId, LogWriter) {
    let root = pool.allocate(&mut pool.hint()).unwrap();
    assert!(place_bytes(blocks_max) < BLOCK_BYTES);
    let writer = LogWriter::create(pool, pool.offset_of(root), blocks_max);
    (root, writer)
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Drop(u64),
    Read(u64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3 * BLOCK_BYTES).prop_map(Step::Append),
        1 => (0..100_u64).prop_map(Step::Drop),
        3 => ((0..100_u64), (0..2 * BLOCK_BYTES)).prop_map(|(at, bytes)| Step::Read(at, bytes)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_log_is_a_vector_with_a_tail(steps in proptest::collection::vec(step(), 1..60), odd in 0..5_u64) {
        let pool = Pool::create(2 * MIB + odd * 100_001).unwrap();
        let blocks = pool.usage().blocks;
        let (root, mut writer) = log_in(&pool, 6);
        let (mut model, mut tail): (Vec<u8>, u64) = (Vec::new(), 0);
        for (round, step) in steps.into_iter().enumerate() {
            let head = model.len() as u64;
            match step {
                Step::Append(bytes) => {
                    let bytes: Vec<u8> = (0..bytes).map(|at| (at * 31 + round) as u8).collect();
                    let needed = (head + bytes.len() as u64).div_ceil(BLOCK_BYTES as u64) - writer.floor() / BLOCK_BYTES as u64;
                    match writer.reserve(bytes.len() as u64) {
                        Ok(()) => {
                            writer.push(&bytes);
                            writer.publish();
                            model.extend(bytes);
                        }
                        Err(Full::ChainTooLong { .. }) => prop_assert!(needed > 6),
                        Err(Full::BudgetUsedUp { .. }) => prop_assert!(needed > blocks - 1),
                    }
                }
                Step::Drop(percent) => {
                    tail += (head - tail) * percent / 100;
                    writer.advance_tail(tail);
                    writer.release_below(tail);
                    prop_assert!(tail - writer.floor() < BLOCK_BYTES as u64);
                }
                Step::Read(percent, bytes) => {
                    let position = head * percent / 100;
                    let mut read = Vec::new();
                    let there = writer.log().copy_to(position, bytes, &mut read);
                    let end = position + bytes as u64;
                    prop_assert_eq!(there, position >= writer.floor() && end <= head);
                    if there {
                        prop_assert_eq!(&read[..], &model[position as usize..end as usize]);
                        if bytes > 0 {
                            let span = writer.log().span(position, end);
                            let mut run = vec![0; span.len];
                            pool.memory().copy_out(span.file_offset as usize, &mut run);
                            prop_assert_eq!(&run[..], &read[..span.len]);
                        }
                    }
                }
            }
            writer.check_invariants();
            pool.check_invariants();
        }
        writer.log().free_all();
        pool.free(root, Dirty::Plain);
        prop_assert_eq!(pool.usage().used, 0);
    }
}

#[test]
fn blocks_work_alike_in_pages_of_any_size() {
    let pool = Pool::create(limits::BUDGET_BYTES_MIN).unwrap();
    for pages in [Pages::OfBlocks, Pages::Small] {
        // What the kernel gives is its own to say; a kernel without larger pages takes no advice.
        let taken = pool.advise(pages);
        assert!(taken.is_ok() || taken.is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL)));
        let block = pool.allocate(&mut pool.hint()).unwrap();
        let at = pool.offset_of(block);
        pool.memory().copy_in(at, &[7; BLOCK_BYTES]);
        let mut read = vec![0; BLOCK_BYTES];
        pool.read(at as u64, &mut read);
        assert!(read.iter().all(|byte| *byte == 7));
        pool.free(block, Dirty::Sendfile);
        assert_eq!(pool.punch_pending(usize::MAX).unwrap(), 1);
        pool.read(at as u64, &mut read);
        assert!(read.iter().all(|byte| *byte == 0), "a hole");
    }
}
