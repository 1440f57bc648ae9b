//! The main job under bad weather: publishers, viewers and vandals come and go, stall and break off, shards are slow,
//! memory is short — a thousand worlds, each replayed by its seed.
//!
//! `PENSTOCK_SEED=17 cargo test --release --test simulation` runs one world; `PENSTOCK_LONG=1` runs twenty times as many.

mod sim;

use std::panic::{AssertUnwindSafe, catch_unwind};

use sim::world::{Outcome, World, counters};

/// Worlds of the ordinary run, over all its parts.
const SEEDS: u64 = 1_000;
const LONG_TIMES: u64 = 20;

fn run(seed: u64) -> Result<Outcome, String> {
    let ran = catch_unwind(AssertUnwindSafe(|| World::new(seed).run()));
    ran.unwrap_or_else(|_| Err("a panic, see above".to_owned()))
        .map_err(|why| {
            format!(
                "seed {seed}: {why}\n\nto replay it: PENSTOCK_SEED={seed} cargo test --release --test simulation -- --nocapture\n"
            )
        })
}

fn wanted(part: u64, parts: u64) -> Vec<u64> {
    let one = std::env::var("PENSTOCK_SEED").ok();
    if let Some(seed) = one {
        let seed = seed.parse().expect("PENSTOCK_SEED is a number");
        return if part == 0 { vec![seed] } else { Vec::new() };
    }
    let is_long = std::env::var_os("PENSTOCK_LONG").is_some();
    let seeds = if is_long { SEEDS * LONG_TIMES } else { SEEDS };
    (0..seeds).filter(|seed| seed % parts == part).collect()
}

/// What half of the ordinary worlds must have met, or they are no weather.
const MET: &[&str] = &[
    "connections_refused_full",
    "connections_moved_in",
    "accept_errors",
    "receive_buffers_short",
    "sendfiles",
    "sends_zero_copy",
    "sends_zero_copy_copied",
    "zero_copy_over_budget",
    "zero_copy_let_go",
    "pacings_set",
    "sends_full",
    "cursors_skipped",
    "connections_closed_own",
    "doorbells_failed",
    "messages_refused",
    "publishers_refused_busy",
    "publishers_replaced",
    "publishers_moved",
    "viewers_placed",
    "viewers_moved",
    "viewers_move_refused",
    "viewers_not_found",
    "frames_dropped_memory",
    "frames_dropped_undecodable",
    "feeds_ended_memory",
    "feeds_ended_break",
    "breaks",
    "protocol_errors",
];

fn run_part(part: u64, parts: u64) {
    let mut sum = vec![0; counters().count()];
    let (mut steps, mut viewers, mut frames) = (0, 0, 0);
    let seeds = wanted(part, parts);
    for seed in &seeds {
        let outcome = run(*seed).unwrap_or_else(|why| panic!("{why}"));
        steps += outcome.steps;
        viewers += outcome.viewers;
        frames += outcome.frames_seen;
        for (sum, value) in sum.iter_mut().zip(outcome.counted) {
            *sum += value;
        }
    }
    println!(
        "{} worlds, {steps} steps, {viewers} viewers got {frames} frames",
        seeds.len()
    );
    for (declared, sum) in counters().zip(&sum) {
        println!("{} {sum}", declared.name);
        let is_missed = *sum == 0 && seeds.len() > 1 && MET.contains(&declared.name);
        assert!(!is_missed, "no world met {}", declared.name);
    }
}

#[test]
fn worlds_first_part() {
    run_part(0, 2);
}

#[test]
fn worlds_second_part() {
    run_part(1, 2);
}

/// 64 shards, whose viewers join, leave, pause and stall, and whose loads come to be even.
#[test]
fn a_town_is_evened_out() {
    let town = World::town(64).run_town().unwrap_or_else(|why| panic!("{why}"));
    let [largest, smallest] = town.loads;
    println!("loads from {smallest} to {largest} µs/s");
    assert!(town.viewers >= 600 && town.placed > town.viewers / 2, "{town:?}");
    assert!(town.moved > 20, "{town:?}");
    // Nobody swings: accepted, placed, perhaps sent on, and moved once in five seconds.
    assert!(town.moved <= town.viewers / 2 && town.stays_max <= 5, "{town:?}");
}

#[test]
fn a_seed_replays() {
    for seed in [3, 17, 94] {
        assert_eq!(run(seed), run(seed));
    }
}

/// Viewers by datagrams: what each is sent is what was made, and what it is not sent is counted.
#[test]
fn datagrams_are_sent_whole_or_counted() {
    let mut sum = sim::casts::Outcome::default();
    let seeds = wanted(0, 10);
    for seed in &seeds {
        let seed = *seed;
        let ran = catch_unwind(|| sim::casts::run(seed));
        let outcome = ran.unwrap_or_else(|_| panic!("seed {seed}, see above"));
        sum.sent += outcome.sent;
        sum.dropped += outcome.dropped;
        sum.cut += outcome.cut;
        sum.cuts_refused += outcome.cuts_refused;
        sum.skipped += outcome.skipped;
        sum.refused += outcome.refused;
        sum.buffers_short += outcome.buffers_short;
    }
    println!("{sum:?}");
    let met = [
        sum.sent,
        sum.dropped,
        sum.cut,
        sum.cuts_refused,
        sum.skipped,
        sum.refused,
        sum.buffers_short,
    ];
    let is_met = met.iter().all(|count| *count > 0);
    assert!(is_met || seeds.len() < 50, "no world met one of these: {sum:?}");
    assert_eq!(sim::casts::run(17).trace, sim::casts::run(17).trace);
}
