//! The clock map of a stream: which wall time belongs to a media time.
//!
//! Not a filter: observations are believed. Who observes arrivals smooths them first.
//!
//! Specification: DESIGN 4.1, "clock map".
//!
//! Invariants: between two points without a jump the map is linear, and media time grows; beyond the newest point, and from a
//! point up to a jump, a microsecond is a microsecond.

use crate::sys::sync::{Ordering, fence};

use super::limits::{CLOCK_ERROR_MICROS_MAX, CLOCK_JUMP_MICROS, CLOCK_POINTS_MAX, READ_TRIES_MAX};
use super::{AT_CLOCK_END, AT_CLOCK_FIRST, CLOCK, Shared};

/// Media time and wall time observed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockPoint {
    pub media_micros: i64,
    pub wall_micros: i64,
    /// Who said so; the appliance's numbers.
    pub source: u8,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    at: ClockPoint,
    /// Nothing lies between this point and the one before it.
    is_jump: bool,
}

/// The writer's side: which points the table holds.
#[derive(Debug)]
pub(super) struct Clock {
    first: u64,
    end: u64,
}

impl Clock {
    pub fn create(shared: &Shared) -> Clock {
        shared.word(AT_CLOCK_FIRST).store(0, Ordering::Relaxed);
        shared.word(AT_CLOCK_END).store(0, Ordering::Release);
        Clock { first: 0, end: 0 }
    }

    /// Adds a point when the map is off by more than the error allowed, or the source is another one.
    pub fn observe(&mut self, shared: &Shared, at: ClockPoint) {
        if self.first == self.end {
            return self.add(shared, Point { at, is_jump: true });
        }
        let newest = read_point(shared, self.end - 1).at;
        let wall = wall_of(shared, at.media_micros).unwrap_or(newest.wall_micros);
        let error = wall.abs_diff(at.wall_micros);
        if error <= CLOCK_ERROR_MICROS_MAX.unsigned_abs() && newest.source == at.source {
            return;
        }
        let is_jump = newest.source != at.source
            || at.media_micros <= newest.media_micros
            || error > CLOCK_JUMP_MICROS.unsigned_abs();
        self.add(shared, Point { at, is_jump });
    }

    /// Forgets points that no media time from `tail_micros` on needs.
    pub fn retire(&mut self, shared: &Shared, tail_micros: i64) {
        let before = self.first;
        while self.end - self.first >= 2 {
            let [first, second] = [0, 1].map(|at| read_point(shared, self.first + at).at.media_micros);
            // Where time jumped back the tail may still be on the far side.
            if second < first || second > tail_micros {
                break;
            }
            self.first += 1;
        }
        if self.first > before {
            shared.word(AT_CLOCK_FIRST).store(self.first, Ordering::Release);
        }
    }

    pub fn check_invariants(&self, shared: &Shared) {
        assert!(self.first <= self.end && self.end - self.first <= CLOCK_POINTS_MAX as u64);
        assert_eq!(shared.word(AT_CLOCK_FIRST).load(Ordering::Relaxed), self.first);
        assert_eq!(shared.word(AT_CLOCK_END).load(Ordering::Relaxed), self.end);
        for ordinal in (self.first + 1).min(self.end)..self.end {
            let [before, point] = [ordinal - 1, ordinal].map(|ordinal| read_point(shared, ordinal));
            assert!(point.is_jump || before.at.media_micros < point.at.media_micros);
        }
    }

    fn add(&mut self, shared: &Shared, point: Point) {
        self.first = self.first.max((self.end + 1).saturating_sub(CLOCK_POINTS_MAX as u64));
        shared.word(AT_CLOCK_FIRST).store(self.first, Ordering::Relaxed);
        // Before the slot changes: a reader that sees a new word of it also sees that the old point is gone.
        fence(Ordering::Release);
        let source = u64::from(point.at.source) | u64::from(point.is_jump) << 8;
        let words = [point.at.media_micros as u64, point.at.wall_micros as u64, source];
        for (at, word) in words.into_iter().enumerate() {
            shared.table_word(CLOCK, self.end, at).store(word, Ordering::Relaxed);
        }
        self.end += 1;
        shared.word(AT_CLOCK_END).store(self.end, Ordering::Release);
    }
}

/// Wall time of a media time; `None` without a point.
pub(super) fn wall_of(shared: &Shared, media_micros: i64) -> Option<i64> {
    let mut wall = None;
    for _ in 0..READ_TRIES_MAX {
        let end = shared.word(AT_CLOCK_END).load(Ordering::Acquire);
        let first = shared.word(AT_CLOCK_FIRST).load(Ordering::Relaxed);
        let (answer, oldest) = look_up(shared, first..end, media_micros);
        wall = answer;
        fence(Ordering::Acquire);
        if shared.word(AT_CLOCK_FIRST).load(Ordering::Relaxed) <= oldest {
            break;
        }
    }
    wall
}

/// The answer, and the oldest point that was looked at.
fn look_up(shared: &Shared, ordinals: std::ops::Range<u64>, media_micros: i64) -> (Option<i64>, u64) {
    let mut after: Option<Point> = None;
    for ordinal in ordinals.clone().rev() {
        let point = read_point(shared, ordinal);
        if point.at.media_micros <= media_micros {
            return (Some(between(point.at, after, media_micros)), ordinal);
        }
        after = Some(point);
    }
    (after.map(|oldest| extrapolate(oldest.at, media_micros)), ordinals.start)
}

fn between(point: ClockPoint, after: Option<Point>, media_micros: i64) -> i64 {
    let Some(Point {
        at: after,
        is_jump: false,
    }) = after
    else {
        return extrapolate(point, media_micros);
    };
    let gone = i128::from(media_micros) - i128::from(point.media_micros);
    let media = i128::from(after.media_micros) - i128::from(point.media_micros);
    let wall = i128::from(after.wall_micros) - i128::from(point.wall_micros);
    // A table that changes while it is read may say anything; the caller then looks again.
    let along = gone
        .checked_mul(wall)
        .and_then(|product| product.checked_div(media))
        .unwrap_or(gone);
    clamp(i128::from(point.wall_micros).saturating_add(along))
}

fn extrapolate(point: ClockPoint, media_micros: i64) -> i64 {
    clamp(i128::from(point.wall_micros) + i128::from(media_micros) - i128::from(point.media_micros))
}

fn clamp(micros: i128) -> i64 {
    micros.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

fn read_point(shared: &Shared, ordinal: u64) -> Point {
    let [media, wall, source] = [0, 1, 2].map(|at| shared.table_word(CLOCK, ordinal, at).load(Ordering::Relaxed));
    let at = ClockPoint {
        media_micros: media as i64,
        wall_micros: wall as i64,
        source: source as u8,
    };
    Point {
        at,
        is_jump: source >> 8 != 0,
    }
}
