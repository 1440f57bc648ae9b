//! Who comes when, to watch what, and how they read: a plan that a fixed seed makes, so that two runs have the same viewers.

use std::time::Duration;

use crate::quantity::Verify;

/// How they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pattern {
    /// At once.
    All,
    /// Evenly over the ramp.
    Ramp,
    /// As independent people do over the ramp (Poisson).
    Random,
    /// Over the ramp; then each second some leave and as many join.
    Churn,
}

/// How a viewer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    Eager,
    /// Nothing at a rate of 0.
    Slow {
        bytes_per_second: u64,
    },
    /// As behind a path of this rate.
    Path {
        bytes_per_second: u64,
    },
}

impl Temper {
    pub fn is_slow(self) -> bool {
        matches!(self, Temper::Slow { .. })
    }

    pub fn bytes_per_second(self) -> Option<u64> {
        match self {
            Temper::Eager => None,
            Temper::Slow { bytes_per_second } | Temper::Path { bytes_per_second } => Some(bytes_per_second),
        }
    }
}

/// What a viewer does with its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Drain,
    Verify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Since the opening.
    pub after: Duration,
    /// Which of the targets.
    pub target: usize,
    pub temper: Temper,
    pub reading: Reading,
}

/// What the seats are made from.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub viewers: u32,
    pub pattern: Pattern,
    pub ramp: Duration,
    pub streams: usize,
    /// Exponent of the streams' popularity; none: all the same.
    pub zipf: Option<f64>,
    pub slow: f64,
    pub slow_bytes_per_second: u64,
    /// Of the others.
    pub path_bytes_per_second: Option<u64>,
    pub verify: Verify,
}

const SEED: u64 = 7;

impl Plan {
    /// In the order of their coming.
    pub fn seats(&self) -> Vec<Seat> {
        assert!(self.streams > 0);
        let mut random = Random(SEED);
        let times = self.times(&mut random);
        let targets = self.targets(&mut random);
        let mut verifying = match self.verify {
            Verify::All => u32::MAX,
            Verify::Some(viewers) => viewers,
        };
        let of_slow = |number: usize| (number as f64 * self.slow).floor() as u64;
        let seats = times
            .into_iter()
            .zip(targets)
            .enumerate()
            .map(|(number, (after, target))| {
                let is_slow = of_slow(number + 1) > of_slow(number);
                let temper = match (is_slow, self.path_bytes_per_second) {
                    (true, _) => Temper::Slow {
                        bytes_per_second: self.slow_bytes_per_second,
                    },
                    (false, Some(bytes_per_second)) => Temper::Path { bytes_per_second },
                    (false, None) => Temper::Eager,
                };
                let reading = if verifying > 0 && !is_slow {
                    verifying -= 1;
                    Reading::Verify
                } else {
                    Reading::Drain
                };
                Seat {
                    after,
                    target,
                    temper,
                    reading,
                }
            });
        seats.collect()
    }

    fn times(&self, random: &mut Random) -> Vec<Duration> {
        let viewers = self.viewers as usize;
        match self.pattern {
            Pattern::All => vec![Duration::ZERO; viewers],
            Pattern::Ramp | Pattern::Churn => {
                let step = |number: usize| self.ramp.mul_f64(number as f64 / viewers as f64);
                (0..viewers).map(step).collect()
            }
            Pattern::Random => {
                // Given their number, the moments of a Poisson process are independent and even.
                let mut times: Vec<Duration> = (0..viewers).map(|_| self.ramp.mul_f64(random.unit())).collect();
                times.sort();
                times
            }
        }
    }

    fn targets(&self, random: &mut Random) -> Vec<usize> {
        let viewers = self.viewers as usize;
        let Some(exponent) = self.zipf else {
            return (0..viewers).map(|number| number % self.streams).collect();
        };
        let weights: Vec<f64> = (1..=self.streams).map(|rank| (rank as f64).powf(-exponent)).collect();
        let sum: f64 = weights.iter().sum();
        // Shares are kept to the viewer; whose turn it is, is by chance.
        let (mut targets, mut upto) = (Vec::with_capacity(viewers), 0.0);
        for (target, weight) in weights.iter().enumerate() {
            upto += weight / sum * viewers as f64;
            targets.resize((upto.round() as usize).clamp(targets.len(), viewers), target);
        }
        targets.resize(viewers, 0);
        for last in (1..viewers).rev() {
            targets.swap(last, random.below(last as u64 + 1) as usize);
        }
        targets
    }
}

/// SplitMix64: enough for who comes when.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next_word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    /// In 0 .. 1.
    pub fn unit(&mut self) -> f64 {
        (self.next_word() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_word() % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(pattern: Pattern) -> Plan {
        Plan {
            viewers: 1000,
            pattern,
            ramp: Duration::from_secs(10),
            streams: 4,
            zipf: None,
            slow: 0.1,
            slow_bytes_per_second: 12_500,
            path_bytes_per_second: None,
            verify: Verify::Some(3),
        }
    }

    fn of_target(seats: &[Seat], target: usize) -> usize {
        seats.iter().filter(|seat| seat.target == target).count()
    }

    #[test]
    fn viewers_come_as_the_pattern_says() {
        let all = plan(Pattern::All).seats();
        assert!(all.iter().all(|seat| seat.after.is_zero()) && all.len() == 1000);
        let ramp = plan(Pattern::Ramp).seats();
        assert_eq!(ramp[500].after, Duration::from_secs(5));
        assert_eq!(plan(Pattern::Random).seats(), plan(Pattern::Random).seats());
        let random = plan(Pattern::Random).seats();
        assert!(random.windows(2).all(|two| two[0].after <= two[1].after));
        assert!(random.last().unwrap().after < Duration::from_secs(10));
        let early = random.iter().filter(|seat| seat.after < Duration::from_secs(5)).count();
        assert!((430..570).contains(&early), "{early}");
        // Gaps of independent people: of 1/e of them more than the mean.
        let long = random
            .windows(2)
            .filter(|two| two[1].after - two[0].after > Duration::from_millis(10));
        assert!((300..440).contains(&long.count()));
    }

    #[test]
    fn some_are_slow_and_the_first_others_verify() {
        let seats = plan(Pattern::All).seats();
        assert_eq!(seats.iter().filter(|seat| seat.temper.is_slow()).count(), 100);
        assert_eq!(seats[..50].iter().filter(|seat| seat.temper.is_slow()).count(), 5);
        let verifying: Vec<usize> = (0..1000).filter(|at| seats[*at].reading == Reading::Verify).collect();
        assert_eq!(verifying, [0, 1, 2]);
        let all = Plan {
            verify: Verify::All,
            ..plan(Pattern::All)
        }
        .seats();
        assert_eq!(all.iter().filter(|seat| seat.reading == Reading::Verify).count(), 900);
        let paced = Plan {
            path_bytes_per_second: Some(9),
            slow: 0.0,
            ..plan(Pattern::All)
        }
        .seats();
        assert!(
            paced
                .iter()
                .all(|seat| seat.temper == Temper::Path { bytes_per_second: 9 })
        );
    }

    #[test]
    fn streams_are_watched_evenly_or_by_their_rank() {
        let even = plan(Pattern::All).seats();
        assert_eq!([0, 1, 2, 3].map(|target| of_target(&even, target)), [250; 4]);
        let zipf = Plan {
            zipf: Some(1.0),
            ..plan(Pattern::All)
        }
        .seats();
        // 1, 1/2, 1/3, 1/4 of 25/12.
        assert_eq!(
            [0, 1, 2, 3].map(|target| of_target(&zipf, target)),
            [480, 240, 160, 120]
        );
        let early = &zipf[..100];
        assert!((30..66).contains(&of_target(early, 0)), "they are mixed");
    }
}
