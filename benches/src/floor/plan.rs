//! What the floor sends: rounds of one send a viewer, in the numbers and sizes that a server's own histogram says.
//!
//! The histogram tells how many sends took how many bytes, within a power of two. Inside its limits each class gets the
//! size that makes the sum of all classes exactly the bytes that were sent; one share of the width serves them all.

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// Upper ends of the server's classes, as its counters are named; the last has none, and 2 MiB is more than it sends.
pub const CLASSES: [(&str, u32); 11] = [
    ("sends_le_512", 512),
    ("sends_le_1k", 1 << 10),
    ("sends_le_2k", 2 << 10),
    ("sends_le_4k", 4 << 10),
    ("sends_le_8k", 8 << 10),
    ("sends_le_16k", 16 << 10),
    ("sends_le_32k", 32 << 10),
    ("sends_le_64k", 64 << 10),
    ("sends_le_128k", 128 << 10),
    ("sends_le_256k", 256 << 10),
    ("sends_gt_256k", 2 << 20),
];
/// Rounds of a plan: the loop of a long window with small sends.
const ROUNDS_MAX: u64 = 1_000_000;
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Sends by the bytes that the socket took.
pub type Histogram = [u64; CLASSES.len()];

/// The class of a send.
pub fn class_of(bytes: usize) -> usize {
    let fits = |(_, end): &(&str, u32)| bytes <= *end as usize;
    CLASSES.iter().position(fits).unwrap_or(CLASSES.len() - 1)
}

/// So many viewers get so many bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub viewers: u32,
    pub bytes: u32,
}

/// See the module. A loop of rounds at an even pace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub interval_nanos: u64,
    pub rounds: Vec<Vec<Run>>,
}

impl Plan {
    /// The sends of a measured time, spread over `viewers` and the same time.
    pub fn replay(histogram: &Histogram, bytes: u64, viewers: u32, nanos: u64) -> anyhow::Result<Plan> {
        let sends: u64 = histogram.iter().sum();
        if sends == 0 || viewers == 0 {
            bail!("the server counted no sends");
        }
        let rounds = sends.div_ceil(viewers.into());
        if rounds > ROUNDS_MAX {
            bail!("{rounds} rounds are more than {ROUNDS_MAX}");
        }
        let runs = sized(histogram, bytes)?;
        let mut rounds = cut(runs, viewers);
        shuffle(&mut rounds);
        Ok(Plan {
            interval_nanos: nanos / rounds.len() as u64,
            rounds,
        })
    }

    /// Every viewer gets the bytes of each interval at its end.
    pub fn even(interval_nanos: u64, bytes_per_second: f64, viewers: u32) -> Plan {
        let bytes = (bytes_per_second * interval_nanos as f64 / 1e9).round().max(1.0) as u32;
        Plan {
            interval_nanos,
            rounds: vec![vec![Run { viewers, bytes }]],
        }
    }

    pub fn largest(&self) -> u32 {
        let runs = self.rounds.iter().flatten();
        runs.map(|run| run.bytes).max().unwrap_or(0)
    }

    pub fn sends(&self) -> u64 {
        self.rounds.iter().flatten().map(|run| u64::from(run.viewers)).sum()
    }

    pub fn bytes(&self) -> u64 {
        let of = |run: &Run| u64::from(run.viewers) * u64::from(run.bytes);
        self.rounds.iter().flatten().map(of).sum()
    }

    pub fn to_json(&self) -> Value {
        let round = |runs: &Vec<Run>| {
            runs.iter()
                .map(|run| json!([run.viewers, run.bytes]))
                .collect::<Vec<_>>()
        };
        json!({"interval_nanos": self.interval_nanos, "rounds": self.rounds.iter().map(round).collect::<Vec<_>>()})
    }

    pub fn of_json(value: &Value) -> anyhow::Result<Plan> {
        let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
        let run = |run: &Value| {
            Some(Run {
                viewers: number(&run[0])?,
                bytes: number(&run[1])?,
            })
        };
        let rounds = value["rounds"].as_array().context("a plan has rounds")?;
        let rounds: Option<Vec<Vec<Run>>> = rounds
            .iter()
            .map(|runs| runs.as_array()?.iter().map(run).collect())
            .collect();
        let interval_nanos = value["interval_nanos"].as_u64().filter(|nanos| *nanos > 0);
        Ok(Plan {
            interval_nanos: interval_nanos.context("a plan has a pace")?,
            rounds: rounds
                .filter(|rounds| !rounds.is_empty())
                .context("a round is not legible")?,
        })
    }
}

/// Sends by size, small ones first, whose sum is `bytes`.
fn sized(histogram: &Histogram, bytes: u64) -> anyhow::Result<Vec<Run>> {
    let lows = [1].into_iter().chain(CLASSES.iter().map(|(_, end)| end + 1));
    let classes: Vec<(u64, f64, f64)> = lows
        .zip(CLASSES)
        .zip(histogram)
        .map(|((low, (_, high)), sends)| (*sends, f64::from(low), f64::from(high)))
        .filter(|class| class.0 > 0)
        .collect();
    let least: f64 = classes.iter().map(|(sends, low, _)| *sends as f64 * low).sum();
    let width: f64 = classes
        .iter()
        .map(|(sends, low, high)| *sends as f64 * (high - low))
        .sum();
    let share = (bytes as f64 - least) / width;
    if !(0.0..=1.0).contains(&share) {
        bail!("{bytes} bytes do not fit the sends that were counted: {histogram:?}");
    }
    let (mut runs, mut left) = (Vec::new(), bytes);
    let last = classes.len() - 1;
    for (at, (sends, low, high)) in classes.into_iter().enumerate() {
        let wanted = sends as f64 * (low + share * (high - low));
        // What rounding leaves goes to the largest class.
        let total = if at == last { left } else { (wanted as u64).min(left) };
        left -= total;
        let (each, over) = (total / sends, total % sends);
        for (viewers, bytes) in [(sends - over, each), (over, each + 1)] {
            let mut viewers = viewers;
            while viewers > 0 {
                let some = viewers.min(u32::MAX.into());
                runs.push(Run {
                    viewers: some as u32,
                    bytes: u32::try_from(bytes).context("a send is less than 4 GiB")?,
                });
                viewers -= some;
            }
        }
    }
    Ok(runs)
}

/// Rounds of one send a viewer; the last may be short.
fn cut(runs: Vec<Run>, viewers: u32) -> Vec<Vec<Run>> {
    let (mut rounds, mut round, mut room) = (Vec::new(), Vec::new(), viewers);
    for mut run in runs {
        while run.viewers > 0 {
            let some = run.viewers.min(room);
            round.push(Run { viewers: some, ..run });
            run.viewers -= some;
            room -= some;
            if room == 0 {
                rounds.push(std::mem::take(&mut round));
                room = viewers;
            }
        }
    }
    if !round.is_empty() {
        rounds.push(round);
    }
    rounds
}

/// Large and small rounds follow each other by chance, the same one each time.
fn shuffle(rounds: &mut [Vec<Run>]) {
    let mut state = SEED;
    for last in (1..rounds.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        rounds.swap(last, (state % (last as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_has_the_sends_and_bytes_of_the_run() {
        let mut histogram = Histogram::default();
        (histogram[0], histogram[5], histogram[6], histogram[10]) = (7, 120_011, 80_002, 3);
        for bytes in [3_300_000_000, 2_800_000_123, 3_000_000_001] {
            let plan = Plan::replay(&histogram, bytes, 1000, 20_000_000_000).unwrap();
            assert_eq!((plan.sends(), plan.bytes()), (200_023, bytes));
            assert_eq!((plan.rounds.len(), plan.interval_nanos), (201, 20_000_000_000 / 201));
            let mut replayed = Histogram::default();
            for run in plan.rounds.iter().flatten() {
                replayed[class_of(run.bytes as usize)] += u64::from(run.viewers);
            }
            assert_eq!(replayed, histogram, "each class has its sends");
            let viewers = |runs: &Vec<Run>| runs.iter().map(|run| run.viewers).sum::<u32>();
            let short: Vec<u32> = plan.rounds.iter().map(viewers).filter(|sum| *sum != 1000).collect();
            assert_eq!(short, [23], "one send a viewer and round");
            assert_eq!(Plan::of_json(&plan.to_json()).unwrap(), plan);
        }
        // Fewer bytes than the classes' lower ends, or more than the upper ones.
        for bytes in [1_000_000_000, 5_000_000_000] {
            assert!(Plan::replay(&histogram, bytes, 1000, 1).is_err(), "{bytes}");
        }
        assert!(Plan::replay(&Histogram::default(), 0, 1000, 1).is_err());
    }

    #[test]
    fn an_even_plan_keeps_the_rate() {
        let plan = Plan::even(33_000_000, 325_000.0, 10);
        assert_eq!((plan.sends(), plan.bytes(), plan.largest()), (10, 107_250, 10_725));
        assert!(Plan::of_json(&json!({"interval_nanos": 0, "rounds": [[[1, 1]]]})).is_err());
        assert!(Plan::of_json(&json!({"interval_nanos": 1, "rounds": [[[1, -1]]]})).is_err());
    }

    #[test]
    fn classes_are_those_of_the_server() {
        for (bytes, name) in [
            (1, "sends_le_512"),
            (512, "sends_le_512"),
            (513, "sends_le_1k"),
            (65_536, "sends_le_64k"),
            (262_145, "sends_gt_256k"),
        ] {
            assert_eq!(CLASSES[class_of(bytes)].0, name, "{bytes}");
        }
        let declared = penstock_shard::counters::ShardCounters::DECLARED;
        for (name, _) in CLASSES {
            assert!(declared.iter().any(|counter| counter.name == name), "{name}");
        }
    }
}
