//! The one loop of all fuzz runs: real bytes, mutated and cut short, given to a fuzz body. Only compiled for tests, and the
//! only file of this crate that looks at a clock, at the environment, or writes: what it tests does not.
//!
//! A run has so many cases or takes so long, whatever comes first. `PENSTOCK_LONG` makes it longer; `PENSTOCK_FUZZ_CASE`
//! runs the one case whose number a failure told; `PENSTOCK_FUZZ_SEEDS` names a folder into which the undamaged bytes
//! are written as well, a folder a target: what `fuzz/run` begins with.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros)]

use std::path::Path;
use std::time::{Duration, Instant};

use crate::noise::Noise;

/// Cases of an ordinary run, of one whose cases take a microsecond each, and how many times as many a long one has.
const CASES: u64 = 10_000;
const CASES_LIGHT: u64 = 100_000;
const LONG: u64 = 100;

/// What one case costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    Light,
    Heavy,
}
/// When a run stops before that.
const TIME: Duration = Duration::from_secs(10);
const TIME_LONG: Duration = Duration::from_secs(120);
/// A run that came no further has tested nothing: something is far too slow, the machine or the parser.
const CASES_MIN: u64 = 500;
/// Of one case, whatever the seeds are: the parsers' time is for many cases.
const BYTES_MAX: usize = 64 * 1024;

/// Numbers that lengths, counts and times are made of.
const EDGES: [u32; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x00ff_ffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
];

/// Gives `check` every seed as it is, and then damaged ones. `tokens` are pieces of the grammar. `check` panics when what
/// it gives the bytes to does not hold.
pub(crate) fn damaged(target: &str, cost: Cost, seeds: &[Vec<u8>], tokens: &[&[u8]], check: fn(&[u8])) {
    assert!(
        !seeds.is_empty() && seeds.iter().any(|seed| seed.len() > 4),
        "{target}: nothing to damage"
    );
    if let Some(folder) = std::env::var_os("PENSTOCK_FUZZ_SEEDS") {
        write_seeds(&Path::new(&folder).join(target), seeds);
    }
    if let Some(text) = std::env::var_os("PENSTOCK_FUZZ_CASE") {
        let number = text.to_str().and_then(|text| text.parse().ok());
        let number = number.unwrap_or_else(|| panic!("PENSTOCK_FUZZ_CASE={text:?} is no number"));
        let bytes = case(target, number, seeds, tokens);
        eprintln!("{target} {number}: {}", bytes.escape_ascii());
        return run(target, number, &bytes, check);
    }
    for (at, seed) in seeds.iter().enumerate() {
        run(target, at as u64, seed, check);
    }
    let is_long = std::env::var_os("PENSTOCK_LONG").is_some();
    let cases = match cost {
        Cost::Light => CASES_LIGHT,
        Cost::Heavy => CASES,
    };
    let (cases, time) = if is_long {
        (cases * LONG, TIME_LONG)
    } else {
        (cases, TIME)
    };
    let began = Instant::now();
    for number in 0..cases {
        if began.elapsed() >= time {
            eprintln!("{target}: {number} cases of {cases} in {time:?}");
            assert!(number >= CASES_MIN, "{target}: {number} cases are none");
            return;
        }
        run(target, number, &case(target, number, seeds, tokens), check);
    }
    eprintln!("{target}: {cases} cases in {:?}", began.elapsed());
}

fn run(target: &str, number: u64, bytes: &[u8], check: fn(&[u8])) {
    let failed = Told { target, number, bytes };
    check(bytes);
    std::mem::forget(failed);
}

/// Says which case it was when `check` does not come back.
struct Told<'a> {
    target: &'a str,
    number: u64,
    bytes: &'a [u8],
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let Told { target, number, bytes } = self;
        eprintln!("{target}: failed on {} bytes: {}", bytes.len(), bytes.escape_ascii());
        eprintln!("again: PENSTOCK_FUZZ_CASE={number} cargo test --release -p penstock-proto --lib {target}");
    }
}

/// Damaged bytes, the same for the same number.
fn case(target: &str, number: u64, seeds: &[Vec<u8>], tokens: &[&[u8]]) -> Vec<u8> {
    // xorshift's first numbers are alike for seeds that are; this is splitmix64's mixing.
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let mut seed = target.bytes().fold(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), mix);
    seed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    seed = (seed ^ seed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    let mut random = Noise((seed ^ seed >> 31) | 1);
    let mut bytes = seeds[random.below(seeds.len())].clone();
    bytes.truncate(BYTES_MAX);
    if random.below(16) == 0 {
        // Cut short and nothing else: what a peer that goes away sends.
        bytes.truncate(random.below(bytes.len()));
        return bytes;
    }
    // Often one alone: what is damaged all over is refused at its beginning.
    let most = 1 + random.below(5);
    for _ in 0..=random.below(most) {
        mutate(&mut bytes, &mut random, seeds, tokens);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Noise, seeds: &[Vec<u8>], tokens: &[&[u8]]) {
    let at = random.below(bytes.len() + 1);
    let run_end = (at + 1 + random.below(64)).min(bytes.len());
    match random.below(12) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        2 if at < bytes.len() => bytes[at] = random.next() as u8,
        3 if at < bytes.len() => drop(bytes.drain(at..run_end)),
        4 => {
            let copy = bytes[at..run_end.max(at)].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, copy);
        }
        5 => bytes.insert(at, random.next() as u8),
        6 => bytes.truncate(at),
        7 | 8 => {
            // A number's bytes over what stands there; of eight with its sign.
            let wide = [2, 3, 4, 8][random.below(4)];
            let edge = i64::from(EDGES[random.below(EDGES.len())].cast_signed()).to_be_bytes();
            let end = (at + wide).min(bytes.len());
            bytes[at..end].copy_from_slice(&edge[8 - wide..][..end - at]);
        }
        9 => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len());
            let part = other[from..(from + 1 + random.below(256)).min(other.len())].to_vec();
            bytes.splice(at..at, part);
        }
        _ if !tokens.is_empty() => {
            let token = tokens[random.below(tokens.len())];
            match random.below(2) {
                0 => drop(bytes.splice(at..at, token.iter().copied())),
                _ => drop(bytes.splice(at..(at + token.len()).min(bytes.len()), token.iter().copied())),
            }
        }
        _ => bytes.extend_from_slice(&random.next().to_be_bytes()),
    }
}

fn write_seeds(folder: &Path, seeds: &[Vec<u8>]) {
    std::fs::create_dir_all(folder).expect("PENSTOCK_FUZZ_SEEDS can be written");
    for (at, seed) in seeds.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{at:03}")), seed).expect("PENSTOCK_FUZZ_SEEDS can be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: [&[u8]; 2] = [b"the first seed, of some length", b"and another"];

    #[test]
    fn a_case_is_the_same_at_every_run_and_hardly_any_is_like_another() {
        let seeds = SEEDS.map(<[u8]>::to_vec);
        let of = |target, number| case(target, number, &seeds, &[b"TOKEN"]);
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..1000 {
            assert_eq!(of("a", number), of("a", number));
            seen.insert(of("a", number));
        }
        // Some are cut to nothing.
        assert!(seen.len() > 700, "{}", seen.len());
        assert_ne!(of("a", 7), of("b", 7));
        let has = |what: &[u8]| {
            seen.iter()
                .any(|bytes| bytes.windows(what.len()).any(|window| window == what))
        };
        assert!(has(b"TOKEN") && has(&[0xff, 0xff]));
        assert!(seen.iter().any(Vec::is_empty) && seen.iter().any(|bytes| bytes.len() > 60));
    }

    #[test]
    fn a_body_that_fails_fails_the_run() {
        let seeds = [b"abcdef".to_vec()];
        let run = || {
            damaged("fails", Cost::Heavy, &seeds, &[], |bytes| {
                assert!(bytes.len() < 9, "this panic is the test's")
            })
        };
        assert!(std::panic::catch_unwind(run).is_err());
    }
}
