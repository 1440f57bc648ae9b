use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::limits::{CLAIMED_BYTES_MAX, HEADER_BYTES_MAX, INDEX_ENTRY_WORDS, WINDOW_EXCESS_MAX};
use super::*;
use crate::pool::BLOCK_BYTES;

const MIB: u64 = 1024 * 1024;
const CONFIG: Config = Config {
    lag_max_micros: 5_000_000,
    bytes_max: MIB,
    claimed_bytes_max: MIB,
};

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// What a feed is, said plainly: all bytes ever, all records ever, and what each shard claims.
#[derive(Default)]
struct Model {
    bytes: Vec<u8>,
    records: Vec<Boundary>,
    headers: Vec<(u64, Vec<u8>, Vec<u8>)>,
    keep: u64,
    claims: [u64; 3],
    /// Where the oldest block starts that is kept or claimed.
    floor: u64,
    evict_below: u64,
    /// Positions of readers that claim nothing and follow slowly.
    lagging: [u64; 3],
}

impl Model {
    /// What the writer does behind each append, by the claims that stand.
    fn reclaim(&mut self, config: Config) {
        let block = |position: u64| position - position % BLOCK_BYTES as u64;
        self.keep = self.keep(config);
        if block(self.keep) == self.floor {
            return;
        }
        let held = self.claims.iter().copied().min().unwrap_or(u64::MAX).min(self.keep);
        self.floor = self.floor.max(block(held));
        if block(self.keep) - self.floor > config.claimed_bytes_max {
            self.evict_below = self.evict_below.max(self.keep - config.claimed_bytes_max);
        }
    }

    fn keep(&self, config: Config) -> u64 {
        let head = self.bytes.len() as u64;
        let newest = self.records.last().map_or(0, |record| record.dts_micros);
        let mut joins: Vec<&Boundary> = self
            .records
            .iter()
            .filter(|record| record.is_join && record.start >= self.keep)
            .collect();
        while joins.len() > 2
            && (newest.abs_diff(joins[1].dts_micros) >= config.lag_max_micros
                || head - joins[0].start > config.bytes_max)
        {
            joins.remove(0);
        }
        let limit = head.saturating_sub(config.bytes_max * WINDOW_EXCESS_MAX);
        joins.retain(|join| join.start >= limit);
        match joins.first() {
            Some(join) => join.start,
            None => {
                let inside = self
                    .records
                    .iter()
                    .map(|record| record.start)
                    .find(|&start| start >= limit);
                inside.unwrap_or(head).max(self.keep)
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(usize, u8, i64)>),
    Claim(usize),
    Release(usize, u8),
    Jump(i64),
}

fn config() -> impl Strategy<Value = Config> {
    (0..8_000_000_u64, 1..900_000_u64, 0..900_000_u64).prop_map(|(lag_max_micros, bytes_max, claimed_bytes_max)| {
        Config {
            lag_max_micros,
            bytes_max,
            claimed_bytes_max,
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let record = (
        prop_oneof![4 => 1..3_000_usize, 1 => 1..400_000_usize],
        0..6_u8,
        0..1_500_000_i64,
    );
    prop_oneof![
        6 => proptest::collection::vec(record, 1..6).prop_map(Step::Append),
        2 => (0..3_usize).prop_map(Step::Claim),
        2 => (0..3_usize, any::<u8>()).prop_map(|(shard, to)| Step::Release(shard, to)),
        1 => (-20_000_000..20_000_000_i64).prop_map(Step::Jump),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_feed_is_a_vector_of_records_with_a_window(
        steps in proptest::collection::vec(step(), 1..60),
        odd in 0..4_u64,
        config in config(),
    ) {
        let pool = Pool::create(2 * MIB + odd * 3 * 700_001).unwrap();
        let mut writer = Writer::create(&pool, config).unwrap();
        let feed = Arc::clone(writer.feed());
        let mut model = Model { claims: [u64::MAX; 3], ..Model::default() };
        let (mut time, mut seed) = (0, 0);
        for step in steps {
            match step {
                Step::Append(batch) => append(&mut writer, &mut model, &batch, &mut time, &mut seed, config)?,
                Step::Jump(by) => time += by,
                Step::Claim(shard) => {
                    let mut header = Vec::new();
                    if let Some(join) = feed.join_newest(&mut header) {
                        feed.claim(shard, join.position).unwrap();
                        model.claims[shard] = model.claims[shard].min(join.position);
                        let known = model.headers.iter().rev().find(|known| known.0 == join.position).unwrap();
                        prop_assert_eq!(&header, &known.1);
                        prop_assert_eq!(feed.skip_newest(&mut header), Some(join));
                        prop_assert_eq!(&header, &known.2);
                    }
                    if model.keep > 0 && model.claims[shard] >= model.keep {
                        let tail = model.keep;
                        prop_assert_eq!(feed.claim(shard, tail - 1), Err(Passed { position: tail - 1, tail }));
                    }
                }
                Step::Release(shard, to) => release(&feed, &mut model, shard, to),
            }
            writer.check_invariants();
            pool.check_invariants();
            check(&feed, &pool, &model, seed)?;
            follow_slowly(&feed, &mut model, seed)?;
        }
        drop(writer);
        prop_assert!(feed.is_ended());
        drop(feed);
        prop_assert_eq!(pool.usage().used - pool.usage().awaiting_punch, 0);
    }
}

fn append(
    writer: &mut Writer,
    model: &mut Model,
    batch: &[(usize, u8, i64)],
    time: &mut i64,
    seed: &mut u64,
    config: Config,
) -> Result<(), TestCaseError> {
    let mut parts = Vec::new();
    for &(bytes, kind, after) in batch {
        *seed += 1;
        *time += after;
        let headers = (noise(*seed / 3, 700), noise(*seed / 7, 90 * (kind as usize % 2)));
        parts.push((noise(*seed, bytes), headers, kind < 2, *time));
    }
    let slices: Vec<[&[u8]; 2]> = parts
        .iter()
        .map(|part| part.0.split_at(part.0.len() / 3))
        .map(|(head, tail)| [head, tail])
        .collect();
    let records: Vec<Record<'_>> = parts
        .iter()
        .zip(&slices)
        .map(|((_, headers, is_join, dts_micros), bytes)| Record {
            bytes,
            join: is_join.then_some(Headers {
                join: &headers.0,
                skip: &headers.1,
            }),
            dts_micros: *dts_micros,
            flags: *dts_micros as u32,
        })
        .collect();
    let claimed = |model: &Model| model.keep - model.keep % BLOCK_BYTES as u64 - model.floor;
    let claimed_max = 2 * config.claimed_bytes_max;
    if claimed(model) > claimed_max {
        model.reclaim(config);
    }
    let bytes = claimed(model);
    if bytes > claimed_max {
        let expected = FeedError::Claimed {
            bytes,
            bytes_max: claimed_max,
        };
        prop_assert_eq!(writer.append(&records), Err(expected));
        return Ok(());
    }
    if let Err(error) = writer.append(&records) {
        prop_assert!(matches!(error, FeedError::Full(Full::BudgetUsedUp { .. })), "{error:?}");
        // The writer has tried to make room.
        model.reclaim(config);
        return Ok(());
    }
    for (bytes, headers, is_join, dts_micros) in parts {
        let start = model.bytes.len() as u64;
        model.bytes.extend(&bytes);
        let end = model.bytes.len() as u64;
        let flags = dts_micros as u32;
        model.records.push(Boundary {
            start,
            end,
            dts_micros,
            is_join,
            flags,
        });
        if is_join {
            model.headers.push((start, headers.0, headers.1));
        }
    }
    model.reclaim(config);
    Ok(())
}

fn release(feed: &Feed, model: &mut Model, shard: usize, to: u8) {
    let claim = model.claims[shard];
    let to = match to {
        0..100 => u64::MAX,
        _ if claim == u64::MAX => return,
        _ => feed
            .boundary_before(claim + (feed.head() - claim) * u64::from(to) / 255)
            .unwrap()
            .max(claim),
    };
    feed.set_released(shard, to);
    model.claims[shard] = to;
}

fn check(feed: &Feed, pool: &Pool, model: &Model, seed: u64) -> Result<(), TestCaseError> {
    let head = model.bytes.len() as u64;
    prop_assert_eq!(feed.head(), head);
    prop_assert_eq!(feed.tail(), model.keep);
    prop_assert_eq!(feed.evict_below(), model.evict_below);
    let blocks = |bytes: u64| bytes.div_ceil(BLOCK_BYTES as u64);
    let index_blocks = blocks((model.records.len() * INDEX_ENTRY_WORDS * WORD_BYTES) as u64);
    let held = 1 + blocks(head) - blocks(model.floor);
    let used = pool.usage().used - pool.usage().awaiting_punch;
    prop_assert!(
        (held..=held + index_blocks.max(1)).contains(&used),
        "{} blocks for {}",
        used,
        held
    );
    let lowest = model.claims.iter().copied().min().unwrap().min(model.keep);
    for from in model
        .claims
        .into_iter()
        .filter(|&claim| claim < head)
        .chain([model.keep])
    {
        let mut read = vec![0; (head - from) as usize];
        prop_assert!(feed.copy_out(from, &mut read));
        prop_assert_eq!(&read[..], &model.bytes[from as usize..], "bytes from {}", from);
    }
    for (shard, &claim) in model.claims.iter().enumerate().filter(|claim| *claim.1 < head) {
        let span = feed.span(shard, claim, head);
        let mut run = vec![0; span.len];
        pool.memory().copy_out(span.file_offset as usize, &mut run);
        prop_assert_eq!(&run[..], &model.bytes[claim as usize..claim as usize + span.len]);
        if seed.is_multiple_of(5) {
            feed.mark_sendfile(claim);
        }
    }
    if seed.is_multiple_of(3) {
        pool.punch_pending(2).unwrap();
    }
    for record in model.records.iter().filter(|record| record.start >= lowest) {
        let inside = record.start + (record.end - record.start) / 2;
        prop_assert_eq!(feed.record_at(inside), Some(*record));
        prop_assert_eq!(feed.boundary_before(record.end - 1), Some(record.start));
        prop_assert!(feed.is_boundary(record.start));
        prop_assert!(record.end - record.start == 1 || !feed.is_boundary(record.end - 1));
    }
    let newest = model
        .records
        .iter()
        .rev()
        .find(|record| record.is_join)
        .filter(|join| join.start >= model.keep);
    let joined = feed.join_newest(&mut Vec::new());
    prop_assert_eq!(joined.map(|join| join.position), newest.map(|join| join.start));
    prop_assert_eq!(joined.map(|join| join.dts_micros), newest.map(|join| join.dts_micros));
    prop_assert_eq!(feed.boundary_before(u64::MAX), Some(head));
    prop_assert_eq!(feed.record_at(head), None);
    Ok(())
}

/// Readers that claim nothing: what they copy is right or refused, and one that was refused goes on at the tail.
fn follow_slowly(feed: &Feed, model: &mut Model, seed: u64) -> Result<(), TestCaseError> {
    for (pace, position) in model.lagging.iter_mut().enumerate() {
        let bytes = (seed as usize % 3 + 1) * (10_usize.pow(2 + pace as u32));
        let bytes = bytes.min(model.bytes.len() - *position as usize);
        let mut read = vec![0; bytes];
        if feed.copy_out(*position, &mut read) {
            let expected = &model.bytes[*position as usize..*position as usize + bytes];
            prop_assert_eq!(&read[..], expected, "bytes from {}", position);
            prop_assert!(bytes == 0 || *position >= model.floor);
            *position += bytes as u64;
        } else {
            prop_assert!(*position < model.floor, "{} is refused and held", position);
            *position = feed.tail();
        }
    }
    Ok(())
}

/// One GOP of 10 records of `bytes` each, 2 s.
fn append_gop(writer: &mut Writer, gop: i64, bytes: usize) -> Result<(), FeedError> {
    for record in 0..10 {
        let payload = noise(gop as u64, bytes);
        let join = (record == 0).then_some(&b"header"[..]);
        writer.append_record(&payload, join, (gop * 10 + record) * 200_000)?;
    }
    Ok(())
}

#[test]
fn a_slow_shard_holds_blocks_until_evicted_and_they_are_freed_when_it_releases() {
    let pool = Pool::create(64 * MIB).unwrap();
    let mut writer = Writer::create(&pool, CONFIG).unwrap();
    let feed = Arc::clone(writer.feed());
    append_gop(&mut writer, 0, 20_000).unwrap();
    let join = feed.join_newest(&mut Vec::new()).unwrap();
    feed.claim(5, join.position).unwrap();
    let (mut evicted_at, mut used_most) = (None, 0);
    for gop in 1..40 {
        append_gop(&mut writer, gop, 20_000).unwrap();
        writer.check_invariants();
        used_most = used_most.max(pool.usage().used);
        if evicted_at.is_none() && feed.evict_below() > join.position {
            evicted_at = Some(feed.tail());
            let mut read = vec![0; 20_000];
            assert!(
                feed.copy_out(join.position, &mut read),
                "still there for whoever claims it"
            );
            assert_eq!(read, noise(0, 20_000));
            let record = feed.record_at(join.position).unwrap();
            assert_eq!(feed.span(5, record.start, record.end).len, 20_000);
            feed.set_released(5, u64::MAX);
        }
    }
    let tail = evicted_at.expect("a shard that never moves is evicted");
    assert!(
        (CONFIG.claimed_bytes_max..3 * CONFIG.claimed_bytes_max).contains(&tail),
        "evicted at {tail}"
    );
    let settled = pool.usage().used;
    assert!(
        settled <= 2 + 1 + (CONFIG.bytes_max + 2 * 200_000).div_ceil(BLOCK_BYTES as u64),
        "{settled} blocks"
    );
    assert!(used_most < 20);
    drop(writer);
    drop(feed);
    assert_eq!(pool.usage().used, 0);
}

#[test]
fn a_shard_that_never_answers_costs_twice_what_it_may_claim_and_no_more() {
    let pool = Pool::create(64 * MIB).unwrap();
    let mut writer = Writer::create(&pool, CONFIG).unwrap();
    let feed = Arc::clone(writer.feed());
    append_gop(&mut writer, 0, 50_000).unwrap();
    feed.claim(63, 0).unwrap();
    let mut gop = 1;
    let error = loop {
        match append_gop(&mut writer, gop, 50_000) {
            Ok(()) => gop += 1,
            Err(error) => break error,
        }
        assert!(gop < 1_000);
    };
    let bytes_max = 2 * CONFIG.claimed_bytes_max;
    assert!(matches!(error, FeedError::Claimed { bytes, bytes_max: most } if bytes > bytes_max && most == bytes_max));
    let blocks_max = (bytes_max + CONFIG.bytes_max + 2 * 500_000) / BLOCK_BYTES as u64 + 4;
    assert!(pool.usage().used <= blocks_max, "{:?}", pool.usage());
    writer.check_invariants();
    let head = feed.head();
    let mut read = vec![0; 50_000];
    assert!(
        feed.copy_out(0, &mut read) && read == noise(0, 50_000),
        "what is claimed is intact"
    );
    feed.set_released(63, u64::MAX);
    append_gop(&mut writer, gop, 50_000).unwrap();
    assert_eq!(feed.head(), head + 500_000);
    writer.check_invariants();
}

#[test]
fn an_exhausted_budget_loses_nothing() {
    let pool = Pool::create(2 * MIB).unwrap();
    let mut writer = Writer::create(
        &pool,
        Config {
            bytes_max: 64 * MIB,
            ..CONFIG
        },
    )
    .unwrap();
    let feed = Arc::clone(writer.feed());
    let payload = noise(9, 300_000);
    let mut count = 0;
    while writer.append_record(&payload, Some(b"h"), count * 10).is_ok() {
        count += 1;
    }
    assert_eq!(count, 4, "of 7 blocks 5 are for bytes");
    for _ in 0..3 {
        assert!(writer.append_record(&payload, None, 50).is_err());
        writer.check_invariants();
    }
    for index in 0..count as u64 {
        let mut read = vec![0; payload.len()];
        assert!(feed.copy_out(index * 300_000, &mut read) && read == payload);
    }
    writer.append_record(b"small", None, 51).unwrap();
    drop((writer, feed));
    assert_eq!(pool.usage().used, 0);
    assert!(matches!(
        (0..)
            .map(|_| Writer::create(&pool, CONFIG))
            .take(9)
            .collect::<Result<Vec<_>, _>>(),
        Err(FeedError::Full(Full::BudgetUsedUp { blocks: 7 }))
    ));
    assert_eq!(pool.usage().used, 0);
}

#[test]
fn what_cannot_be_taken_is_refused_whole() {
    let pool = Pool::create(4 * MIB).unwrap();
    let mut writer = Writer::create(&pool, CONFIG).unwrap();
    let good = Record {
        bytes: &[b"abc"],
        join: None,
        dts_micros: 0,
        flags: 0,
    };
    let empty = Record {
        bytes: &[b"", b""],
        ..good
    };
    assert_eq!(writer.append(&[good, empty]), Err(FeedError::RecordEmpty { index: 1 }));
    let long = vec![0; HEADER_BYTES_MAX + 1];
    let headed = Record {
        join: Some(Headers { join: b"", skip: &long }),
        ..good
    };
    assert!(matches!(
        writer.append(&[good, headed]),
        Err(FeedError::HeaderTooLarge { .. })
    ));
    let many = vec![good; limits::BATCH_RECORDS_MAX + 1];
    assert!(matches!(writer.append(&many), Err(FeedError::TooManyRecords { .. })));
    let slices = vec![&long[..]; 1 + limits::BATCH_BYTES_MAX as usize / long.len()];
    assert!(matches!(
        writer.append(&[Record { bytes: &slices, ..good }]),
        Err(FeedError::BatchTooLarge { .. })
    ));
    assert_eq!(writer.feed().head(), 0);
    writer.append(&[]).unwrap();
    writer.append(&[good]).unwrap();
    writer.finish();
    assert_eq!(writer.append(&[good]), Err(FeedError::Ended));
    assert_eq!(writer.feed().head(), 3);
    writer.check_invariants();
}

#[test]
fn headers_of_the_largest_size_come_out_whole() {
    let pool = Pool::create(4 * MIB).unwrap();
    let mut writer = Writer::create(&pool, CONFIG).unwrap();
    let feed = Arc::clone(writer.feed());
    let same = noise(1, HEADER_BYTES_MAX);
    let mut header = Vec::new();
    for round in 0..200_u64 {
        let skip = noise(round + 2, HEADER_BYTES_MAX - (round % 3) as usize * 1_000);
        let headers = Headers {
            join: &same,
            skip: &skip,
        };
        let record = Record {
            bytes: &[b"x"],
            join: Some(headers),
            dts_micros: round as i64,
            flags: 0,
        };
        writer.append(&[record]).unwrap();
        assert_eq!(feed.join_newest(&mut header).unwrap().position, round);
        assert!(header == same, "join header of round {round}");
        assert_eq!(feed.skip_newest(&mut header).unwrap().dts_micros, round as i64);
        assert!(header == skip, "skip header of round {round}");
        writer.check_invariants();
    }
}

#[test]
fn one_endless_gop_keeps_a_bounded_window_and_is_joined_again_at_the_next_key() {
    let pool = Pool::create(16 * MIB).unwrap();
    let mut writer = Writer::create(&pool, CONFIG).unwrap();
    let feed = Arc::clone(writer.feed());
    writer.append_record(&noise(0, 1_000), Some(b"h"), 0).unwrap();
    for record in 1..3_000 {
        writer
            .append_record(&noise(record, 10_007), None, record as i64 * 1_000)
            .unwrap();
        assert!(feed.head() - feed.tail() <= WINDOW_EXCESS_MAX * CONFIG.bytes_max);
    }
    writer.check_invariants();
    assert!(feed.is_boundary(feed.tail()));
    assert_eq!(feed.join_newest(&mut Vec::new()), None);
    writer.append_record(b"key", Some(b"h"), 4_000_000).unwrap();
    assert!(feed.join_newest(&mut Vec::new()).is_some());
    assert!(pool.usage().used < 2 + 2 + (WINDOW_EXCESS_MAX * CONFIG.bytes_max).div_ceil(BLOCK_BYTES as u64));
}

#[test]
fn tiny_records_fill_the_index_and_only_shorten_the_window() {
    let pool = Pool::create(64 * MIB).unwrap();
    let mut writer = Writer::create(
        &pool,
        Config {
            bytes_max: 32 * MIB,
            ..CONFIG
        },
    )
    .unwrap();
    let feed = Arc::clone(writer.feed());
    let tiny = Record {
        bytes: &[b"tiny"],
        join: None,
        dts_micros: 0,
        flags: 0,
    };
    let batch = vec![tiny; 10_000];
    for _ in 0..100 {
        writer.append(&batch).unwrap();
    }
    assert_eq!((feed.head(), feed.is_boundary(feed.tail())), (4_000_000, true));
    let kept = (feed.head() - feed.tail()) / 4;
    assert!(
        (limits::RECORDS_KEPT_MAX..limits::RECORDS_KEPT_MAX + 80_000).contains(&kept),
        "{kept} records"
    );
    feed.claim(3, feed.tail()).unwrap();
    let claim = feed.released(3);
    let mut refused = None;
    for batches in 0..100 {
        match writer.append(&batch) {
            Ok(()) => assert!(feed.copy_out(claim, &mut [0; 4])),
            Err(error) => {
                refused = Some((batches, error));
                break;
            }
        }
    }
    let (batches, error) = refused.expect("a claim that never moves fills the index");
    assert!(
        batches > 10 && matches!(error, FeedError::Full(Full::ChainTooLong { .. })),
        "{batches} {error:?}"
    );
    assert!(feed.evict_below() > claim);
    feed.set_released(3, u64::MAX);
    writer.append(&batch).unwrap();
    writer.reclaim();
    assert!((feed.head() - feed.tail()) / 4 <= limits::RECORDS_KEPT_MAX + 80_000);
}

#[test]
fn an_idle_feed_costs_what_its_limits_say() {
    let pool = Pool::create(64 * MIB).unwrap();
    let resident = || pool.memory().resident_bytes().unwrap();
    let before = resident();
    let mut writer = Writer::create(&pool, CONFIG).unwrap();
    writer.append_record(&noise(1, 1_000), Some(&noise(2, 700)), 0).unwrap();
    assert_eq!(pool.usage().used, 3);
    let cost = resident() - before;
    assert!(cost <= 40 * 1024 + 4096, "{cost} bytes");
}

#[test]
fn an_object_ends_with_its_last_record_and_is_looked_for_no_further_than_asked() {
    let pool = Pool::create(4 * MIB).unwrap();
    let mut writer = Writer::create(&pool, CONFIG).unwrap();
    let feed = Arc::clone(writer.feed());
    assert_eq!(feed.object_end(0, u64::MAX), ObjectEnd::NotBefore(0));
    for number in 0..30_u32 {
        let record = Record {
            bytes: &[&[7; 10]],
            join: None,
            dts_micros: i64::from(number),
            // Other bits are no ends.
            flags: if number % 7 == 6 { 1 } else { !1 },
        };
        writer.append(&[record]).unwrap();
    }
    for (position, until) in (0..=300).flat_map(|at| [0, 1, 35, 70, 71, 199, 300, u64::MAX].map(|until| (at, until))) {
        let looked_at: Vec<u64> = (position / 10..30)
            .filter(|record| position < until && (*record == position / 10 || record * 10 < until))
            .collect();
        let wanted = match looked_at.iter().find(|record| *record % 7 == 6) {
            Some(record) => ObjectEnd::At((record + 1) * 10),
            None => ObjectEnd::NotBefore(looked_at.last().map_or(position, |record| (record + 1) * 10)),
        };
        assert_eq!(
            feed.object_end(position, until),
            wanted,
            "from {position} until {until}"
        );
    }
}

#[test]
#[should_panic(expected = "has released")]
fn a_span_without_a_claim_is_a_mistake() {
    let pool = Pool::create(4 * MIB).unwrap();
    let mut writer = Writer::create(&pool, CONFIG).unwrap();
    writer.append_record(b"abc", Some(b""), 0).unwrap();
    writer.feed().span(0, 0, 3);
}

#[test]
#[should_panic(expected = "releases")]
fn a_claim_is_not_lowered_by_releasing() {
    let pool = Pool::create(4 * MIB).unwrap();
    let writer = Writer::create(&pool, CONFIG).unwrap();
    writer.feed().set_released(1, 5);
}

#[test]
fn doorbells_are_asked_for_by_bit() {
    let pool = Pool::create(4 * MIB).unwrap();
    let writer = Writer::create(&pool, CONFIG).unwrap();
    let feed = writer.feed();
    feed.subscribe(0);
    feed.subscribe(63);
    assert_eq!(feed.subscribers(), 1 << 63 | 1);
    feed.unsubscribe(0);
    assert_eq!(feed.subscribers(), 1 << 63);
    assert_eq!(CONFIG.claimed_bytes_max.min(CLAIMED_BYTES_MAX), MIB);
}

/// Threads: every record carries its position, its length and a checksum; three shards join, follow, fall behind, and send
/// from spans, which must hold what the index says as long as they are claimed.
#[test]
fn three_shards_never_see_a_torn_record() {
    let pool = Pool::create(10 * MIB + 4_321).unwrap();
    let config = Config {
        lag_max_micros: 400_000,
        bytes_max: 500_000,
        claimed_bytes_max: 700_000,
    };
    let mut writer = Writer::create(&pool, config).unwrap();
    let feed = Arc::clone(writer.feed());
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let shards: Vec<_> = (0..3).map(|shard| (shard, Arc::clone(&feed))).collect();
        let done = &is_done;
        let shards: Vec<_> = shards
            .into_iter()
            .map(|(shard, feed)| scope.spawn(move || follow(&feed, shard, done)))
            .collect();
        let mut full = 0;
        for sequence in 0..20_000_u64 {
            let bytes = 40 + (sequence * 7919 % 9_001) as usize;
            let mut payload = noise(sequence, bytes);
            payload[..8].copy_from_slice(&feed.head().to_ne_bytes());
            payload[8..16].copy_from_slice(&(bytes as u64).to_ne_bytes());
            let sum = checksum(&payload[24..]);
            payload[16..24].copy_from_slice(&sum.to_ne_bytes());
            let header = noise(sequence, 300);
            let join = sequence.is_multiple_of(13).then_some(&header[..]);
            full += u64::from(writer.append_record(&payload, join, sequence as i64 * 10_000).is_err());
            pool.punch_pending(1).unwrap();
            if sequence % 128 == 0 {
                std::thread::yield_now();
            }
        }
        writer.finish();
        is_done.store(true, Ordering::Release);
        let seen: Vec<u64> = shards.into_iter().map(|shard| shard.join().unwrap()).collect();
        assert!(seen.iter().all(|&records| records > 0), "{seen:?}");
        assert!(full < 20_000);
    });
    writer.reclaim();
    writer.check_invariants();
    drop((writer, feed));
    pool.punch_pending(usize::MAX).unwrap();
    assert_eq!(pool.usage().used, 0);
    pool.check_invariants();
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// One cursor; returns the records it has seen whole.
fn follow(feed: &Feed, shard: usize, is_done: &AtomicBool) -> u64 {
    let (mut header, mut bytes) = (Vec::new(), Vec::new());
    let mut cursor: Option<u64> = None;
    let (mut seen, mut turns) = (0, 0_u64);
    while !(is_done.load(Ordering::Acquire) && (seen > 0 || turns > 1_000_000)) {
        turns += 1;
        let Some(position) = cursor else {
            let join = feed.join_newest(&mut header);
            cursor = join
                .map(|join| join.position)
                .filter(|&position| feed.claim(shard, position).is_ok());
            if cursor.is_some() {
                assert_eq!(header.len(), 300);
            }
            continue;
        };
        // Shard 2 is slow: it looks away for long, and is moved when it is behind.
        if shard == 2 && turns % 64 != 0 {
            std::hint::spin_loop();
            continue;
        }
        if position < feed.evict_below() || shard != 2 && position < feed.tail() {
            feed.set_released(shard, u64::MAX);
            cursor = None;
            continue;
        }
        if position == feed.head() {
            std::thread::yield_now();
            continue;
        }
        let record = feed.record_at(position).expect("a claimed record is known");
        assert_eq!(record.start, position);
        bytes.clear();
        let mut from = position;
        while from < record.end {
            let span = feed.span(shard, from, record.end);
            let start = bytes.len();
            bytes.resize(start + span.len, 0);
            feed.pool()
                .memory()
                .copy_out(span.file_offset as usize, &mut bytes[start..]);
            if shard == 1 {
                feed.mark_sendfile(from);
            }
            from += span.len as u64;
        }
        assert_eq!(bytes[..8], position.to_ne_bytes());
        assert_eq!(bytes[8..16], (bytes.len() as u64).to_ne_bytes());
        assert_eq!(
            bytes[16..24],
            checksum(&bytes[24..]).to_ne_bytes(),
            "shard {shard} at {position}"
        );
        seen += 1;
        feed.set_released(shard, record.end);
        cursor = Some(record.end);
    }
    feed.set_released(shard, u64::MAX);
    seen
}
