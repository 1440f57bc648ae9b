//! Decode times of pictures that say only when they are shown (RFC 6184, 5.1: the timestamp is that of presentation, the order
//! that of decoding).
//!
//! A decoder that holds back `depth` pictures hands out the earliest of them whenever it gets one more. So the decode time of
//! a picture is the presentation time that is handed out when it comes: it is at or before its own, never falls, is as
//! evenly spaced as pictures are shown, and is what x264 and x265 say themselves. Nothing is waited for.
//!
//! The depth is what the parameter sets state, or more if more is seen (then decode times stand still until
//! they are early enough); what was seen once and is neither stated nor seen again is forgotten after
//! [`DEPTH_FRAMES`], so that one wrong stamp does not stay.

use super::super::limits::{DEPTH_FRAMES, REORDER_FRAMES_MAX};

/// State of one track of pictures. Times are in its timescale.
#[derive(Debug)]
pub(super) struct Order {
    stated: usize,
    seen: usize,
    /// Deepest of the last `frames`.
    peak: usize,
    frames: u32,
    /// Presentation times that are no decode time yet, rising.
    waiting: Times,
    /// Presentation times, newest first.
    newest: Times,
    handed: Option<i64>,
    interval: i64,
    interval_max: i64,
}

impl Order {
    pub fn new(depth: usize, interval: i64, interval_max: i64) -> Self {
        Order {
            stated: depth.min(REORDER_FRAMES_MAX),
            seen: 0,
            peak: 0,
            frames: 0,
            waiting: Times::default(),
            newest: Times::default(),
            handed: None,
            interval: interval.clamp(1, interval_max),
            interval_max,
        }
    }

    /// The parameter sets say another depth from here on.
    pub fn state(&mut self, depth: usize) {
        self.stated = depth.min(REORDER_FRAMES_MAX);
        self.seen = 0;
    }

    /// The next picture does not go on with those before it.
    pub fn restart(&mut self) {
        self.waiting.clear();
        self.newest.clear();
        self.handed = None;
    }

    /// Between pictures as they are shown, as far as it is known.
    pub fn interval(&self) -> i64 {
        self.interval
    }

    /// The decode time of the next picture, shown at `pts`.
    pub fn place(&mut self, pts: i64) -> i64 {
        self.learn(pts);
        let depth = self.stated.max(self.seen);
        self.waiting.insert_sorted(pts);
        let mut handed = None;
        while self.waiting.len > depth {
            handed = Some(self.waiting.pop_first());
        }
        if let Some(dts) = handed {
            if let Some(before) = self.handed.replace(dts).filter(|before| *before < dts) {
                self.interval = (dts - before).min(self.interval_max);
            }
            return dts;
        }
        // What a decoder would hand out before the first picture.
        let missing = (depth + 1 - self.waiting.len) as i64;
        self.waiting.times[0] - missing * self.interval
    }

    fn learn(&mut self, pts: i64) {
        let passed = self.newest.as_slice().iter().filter(|before| **before > pts).count();
        self.seen = self.seen.max(passed);
        self.peak = self.peak.max(passed);
        self.frames += 1;
        if self.frames >= DEPTH_FRAMES {
            self.seen = self.peak;
            (self.peak, self.frames) = (0, 0);
        }
        if self.newest.len == REORDER_FRAMES_MAX {
            self.newest.pop_first();
        }
        self.newest.push(pts);
    }
}

/// One more than are held back.
#[derive(Debug, Default)]
struct Times {
    times: [i64; REORDER_FRAMES_MAX + 1],
    len: usize,
}

impl Times {
    fn as_slice(&self) -> &[i64] {
        &self.times[..self.len]
    }

    fn clear(&mut self) {
        self.len = 0;
    }

    fn push(&mut self, time: i64) {
        self.times[self.len] = time;
        self.len += 1;
    }

    fn insert_sorted(&mut self, time: i64) {
        let at = self.as_slice().partition_point(|other| *other <= time);
        self.push(time);
        self.times[at..self.len].rotate_right(1);
    }

    fn pop_first(&mut self) -> i64 {
        let first = self.times[0];
        self.times.copy_within(1..self.len, 0);
        self.len -= 1;
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    const FRAME: i64 = 3_600;

    /// Presentation times in decode order, in frames: mini-GOPs of so many B-frames, the middle one first and a reference
    /// if `depth` allows it, as x264 and x265 send them.
    fn pyramid(between: usize, depth: usize, gops: usize) -> Vec<i64> {
        let mut order = vec![0];
        let mut shown = 0;
        for _ in 0..gops {
            let end = shown + between as i64 + 1;
            order.push(end);
            halves(shown, end, depth.saturating_sub(1), &mut order);
            shown = end;
        }
        order
    }

    fn halves(begin: i64, end: i64, depth: usize, order: &mut Vec<i64>) {
        if depth == 0 || end - begin < 4 {
            return order.extend(begin + 1..end);
        }
        let middle = i64::midpoint(begin, end);
        order.push(middle);
        halves(begin, middle, depth - 1, order);
        halves(middle, end, depth - 1, order);
    }

    fn depth_of(order: &[i64]) -> usize {
        let passed = |at: usize| order[..at].iter().filter(|before| **before > order[at]).count();
        (0..order.len()).map(passed).max().unwrap_or(0)
    }

    /// As encoders make them: the times of presentation in their order, `depth` later.
    fn encoders(pts: &[i64], depth: usize) -> Vec<i64> {
        let mut sorted = pts.to_vec();
        sorted.sort_unstable();
        let early = |at: usize| sorted[0] - (depth - at) as i64 * (sorted[1] - sorted[0]);
        (0..pts.len())
            .map(|at| if at < depth { early(at) } else { sorted[at - depth] })
            .collect()
    }

    #[test]
    fn decode_times_are_those_of_the_encoder() {
        for (between, levels) in [(0, 0), (1, 1), (2, 1), (3, 1), (3, 2), (7, 2), (7, 3), (15, 4)] {
            let frames = pyramid(between, levels, 40);
            let depth = depth_of(&frames);
            assert_eq!(depth, levels, "{between} B-frames");
            let pts: Vec<i64> = frames.iter().map(|at| 500_000 + at * FRAME).collect();
            let mut order = Order::new(depth, FRAME, 90_000);
            let dts: Vec<i64> = pts.iter().map(|pts| order.place(*pts)).collect();
            assert_eq!(dts, encoders(&pts, depth), "{between} B-frames, {levels} levels");
            assert!(dts.windows(2).all(|two| two[1] - two[0] == FRAME), "evenly spaced");
        }
    }

    #[test]
    fn pictures_at_any_distance_and_another_rate_keep_their_order() {
        let mut random = Noise(7);
        for levels in 0..4 {
            let frames = pyramid((1 << levels) - 1, levels, 400);
            let mut shown: Vec<i64> = Vec::new();
            for at in 0..=*frames.iter().max().unwrap() {
                // Half of it as a screen is captured, half at a rate that changes.
                let step = match at {
                    0..300 => 1_500 + random.below(60_000) as i64,
                    300..600 => 3_600,
                    _ => 1_800,
                };
                shown.push(shown.last().map_or(0, |last| last + step));
            }
            let pts: Vec<i64> = frames.iter().map(|at| shown[*at as usize]).collect();
            let mut order = Order::new(levels, FRAME, 90_000);
            let dts: Vec<i64> = pts.iter().map(|pts| order.place(*pts)).collect();
            assert_eq!(dts[levels..], encoders(&pts, levels)[levels..]);
            assert!(dts.windows(2).all(|two| two[0] < two[1]), "{levels}");
            assert!(dts.iter().zip(&pts).all(|(dts, pts)| dts <= pts), "{levels}");
        }
    }

    /// What x264 (with a pyramid, at a rate that changes) and x265 (eight B-frames) made, both of depth 2: when pictures are
    /// shown, and when they are decoded.
    #[test]
    fn decode_times_of_real_encoders_come_back() {
        for list in [
            "0,-14400 21600,-3600 14400,0 10800,10800 18000,14400 36000,18000 54000,21600 43200,36000 39600,39600 \
             46800,43200 72000,46800 64800,54000 61200,61200 68400,64800 86400,68400 108000,72000 93600,86400 \
             90000,90000 97200,93600 122400,97200 115200,108000 111600,111600 118800,115200 126000,118800",
            "0,-7200 18000,-3600 10800,0 3600,3600 7200,7200 14400,10800 43200,14400 32400,18000 21600,21600 \
             25200,25200 28800,28800 36000,32400 39600,36000 72000,39600 57600,43200 46800,46800 50400,50400 \
             54000,54000 61200,57600 64800,61200 68400,64800 90000,68400 82800,72000 75600,75600",
        ] {
            let mut order = Order::new(2, FRAME, 90_000);
            for (at, row) in list.split_whitespace().enumerate() {
                let (pts, dts) = row.split_once(',').unwrap();
                let placed = order.place(pts.parse().unwrap());
                // How far before the first picture decoding begins is a guess.
                assert!(
                    at == 0 || placed == dts.parse::<i64>().unwrap(),
                    "{at}: {placed} for {row}"
                );
            }
        }
    }

    #[test]
    fn a_depth_that_is_not_stated_is_learned_and_stays_the_smallest() {
        for (between, levels) in [(1, 1), (3, 1), (3, 2), (7, 3)] {
            let pts: Vec<i64> = pyramid(between, levels, 60).iter().map(|at| at * FRAME).collect();
            let mut order = Order::new(0, FRAME, 90_000);
            let dts: Vec<i64> = pts.iter().map(|pts| order.place(*pts)).collect();
            let settled = 3 * (between + 1);
            assert_eq!(dts[settled..], encoders(&pts, levels)[settled..], "{between} {levels}");
        }
    }

    #[test]
    fn one_wrong_stamp_is_forgotten() {
        let mut order = Order::new(0, FRAME, 90_000);
        let mut late = 0;
        for frame in 0..3 * i64::from(DEPTH_FRAMES) {
            let pts = if frame == 100 { frame + 50 } else { frame } * FRAME;
            let dts = order.place(pts);
            late += i64::from(dts < pts);
            if frame >= 2 * i64::from(DEPTH_FRAMES) {
                assert_eq!(dts, pts, "frame {frame}");
            }
        }
        assert!(late > 0, "it was held against the pictures behind it");
    }

    #[test]
    fn behind_a_loss_times_begin_as_at_the_start() {
        let mut order = Order::new(2, FRAME, 90_000);
        for frame in pyramid(3, 2, 5) {
            order.place(frame * FRAME);
        }
        order.restart();
        let later = 1_000 * FRAME;
        let dts: Vec<i64> = pyramid(3, 2, 2)
            .iter()
            .map(|at| order.place(later + at * FRAME) - later)
            .collect();
        assert_eq!(dts[..5], [-2, -1, 0, 1, 2].map(|at| at * FRAME));
    }

    #[test]
    fn any_times_hold_back_no_more_than_the_bound() {
        let mut random = Noise(3);
        let mut order = Order::new(99, 0, 90_000);
        for _ in 0..10_000 {
            let pts = random.below(1 << 20) as i64;
            assert!(order.place(pts) <= pts.max(order.waiting.times[0]));
            assert!(order.waiting.len <= REORDER_FRAMES_MAX && order.newest.len <= REORDER_FRAMES_MAX);
        }
    }
}
