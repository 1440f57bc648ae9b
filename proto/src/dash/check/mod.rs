//! A strict checker of manifests, ours or another's: one text by itself ([`check`]), and what may change from one to the next
//! ([`Watcher`]).
//!
//! It judges what can be seen in a manifest: ISO/IEC 23009-1 (5.3: elements, attributes, inheritance, addressing; 5.4: updates;
//! Annex A: availability) and DASH-IF IOP (4.3 and 4.4: codecs, bandwidth, clock, live edge). It fetches nothing and plays
//! nothing. Holes in timelines are legal: they are counted, not complained of.

mod problem;
mod read;
mod rules;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod watch;

pub use problem::{Problem, What};
pub use watch::Watcher;

use super::limits::CHECK_PROBLEMS_MAX;

/// What was found in one text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The first ones; `problem_count` has all.
    pub problems: Vec<Problem>,
    pub problem_count: u64,
    pub is_dynamic: bool,
    pub periods: usize,
    pub representations: usize,
    /// Listed segments of all representations.
    pub segments: usize,
    /// Times at which a timeline goes on later than it stopped.
    pub holes: usize,
}

impl Report {
    fn problem(&mut self, place: &str, what: What) {
        self.problem_count += 1;
        if self.problems.len() < CHECK_PROBLEMS_MAX {
            let place = place.to_owned();
            self.problems.push(Problem { place, what });
        }
    }

    /// # Panics
    /// With all that was found, when there is something.
    pub fn assert_none(&self, text: &str) {
        let all: Vec<String> = self.problems.iter().map(Problem::to_string).collect();
        assert!(
            all.is_empty(),
            "{} problems:\n  {}\n{text}",
            self.problem_count,
            all.join("\n  ")
        );
    }
}

/// Judges one manifest by itself. `now_micros`: when it was fetched, by the clock of its server (µs since 1970).
pub fn check(text: &str, now_micros: i64) -> Report {
    judged(text, now_micros).0
}

fn judged(text: &str, now_micros: i64) -> (Report, Option<read::Mpd>) {
    let mut report = Report::default();
    let mpd = read::read(text, &mut report);
    if let Some(mpd) = &mpd {
        report.is_dynamic = mpd.is_dynamic;
        report.periods = mpd.periods.len();
        rules::judge(mpd, now_micros, &mut report);
    }
    (report, mpd)
}
