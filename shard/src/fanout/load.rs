//! What a shard's viewers cost it: the number that placement goes by, published for the other shards.
//!
//! A shard's CPU time alone says little: as long as pauses between turns can grow, fan-out takes about a sixth of a core,
//! for a hundred viewers as for a thousand (DESIGN.md 4.3). So the load is what the viewers would cost at the longest
//! pauses of their classes: so many sends a second, and the bytes of their feeds. It is known when a viewer comes or
//! goes, without a measurement, and does not waver. Ranges and shared bytes come and go with each request, and are counted by
//! what they were sent. To it is added CPU time that this does not explain: turns beyond that
//! sixth, and other work (ingest, muxers, joins) where it is more than a trifle.
//!
//! The unit is µs of CPU time a second: 1,000,000 is a core.

use crate::core::{Core, FeedId};
use crate::feed::Feed;
use crate::kernel::Kernel;
use crate::mesh::ShardId;

/// One send, and the bytes of a second in it (DESIGN.md 4.3, measured: 7 µs, and 0.25 s a GB).
const SEND_MICROS: u64 = 7;
const BYTES_PER_MICRO: u64 = 4_000;
/// Sends a second where nothing is held back: frames of 25 a second.
const SENDS_UNHELD: u64 = 25;
/// The part of a core that turns take while pauses can grow.
const ELASTIC_MICROS: u64 = 1_000_000 / 6;
/// No rate is told from less: one keyframe would be the whole of it.
const MEASURED_MICROS: u64 = 250_000;
/// Other work below this is no load: an idle shard's timers, a few joins.
const TRIFLE_MICROS: u64 = 20_000;

/// What viewers of one feed cost.
#[derive(Debug)]
pub(super) struct Demand {
    /// Longest pause between two sends, µs.
    pause_max: u64,
    /// Bytes a second, smoothed over some measurements.
    rate: u64,
    /// What all cursors were counted with.
    each: u64,
    /// When and at which head it was measured last.
    measured: (u64, u64),
}

impl Demand {
    pub fn new(feed: &Feed, pause_max: u64, now: u64) -> Demand {
        let rate = feed.rate_by_media();
        Demand {
            pause_max,
            rate,
            each: viewer_micros(pause_max, rate),
            measured: (now, feed.head()),
        }
    }

    pub fn of(&self, viewers: usize) -> u64 {
        self.each * viewers as u64
    }

    fn measure(&mut self, now: u64, head: u64) {
        let (since, from) = self.measured;
        let elapsed = now.saturating_sub(since);
        if elapsed < MEASURED_MICROS {
            return;
        }
        let rate = (head - from) * 1_000_000 / elapsed;
        self.measured = (now, head);
        self.rate = (3 * self.rate + rate) / 4;
        self.each = viewer_micros(self.pause_max, self.rate);
    }
}

fn viewer_micros(pause_max: u64, rate: u64) -> u64 {
    let sends = 1_000_000_u64.checked_div(pause_max).unwrap_or(SENDS_UNHELD);
    (sends * SEND_MICROS + rate / BYTES_PER_MICRO).max(1)
}

/// What was measured last.
#[derive(Debug)]
pub(super) struct Measured {
    at: u64,
    turns_micros: u64,
    thread_micros: u64,
    /// CPU time a second that the demand does not explain.
    unexplained: u64,
    /// What answers have cost since.
    answers_micros: u64,
    /// That of a second.
    answers: u64,
}

impl Measured {
    pub fn new(now: u64) -> Measured {
        Measured {
            at: now,
            turns_micros: 0,
            thread_micros: 0,
            unexplained: 0,
            answers_micros: 0,
            answers: 0,
        }
    }
}

impl<M, K: Kernel> Core<M, K> {
    /// Measures rates and CPU time, and publishes the load. Once in a while: it visits every feed.
    pub fn measure_load(&mut self) {
        let elapsed = self.now.saturating_sub(self.fanout.measured.at);
        if elapsed < MEASURED_MICROS {
            return;
        }
        let mut demand = 0;
        for local in self.fanout.feeds.iter_mut().flatten() {
            local.demand.measure(self.now, local.feed.head());
            demand += local.demand.of(local.endless());
        }
        self.fanout.demand = demand;
        let (turns, thread) = (self.counters.turn_cpu_micros.value(), self.kernel.thread_cpu_micros());
        let measured = &mut self.fanout.measured;
        let per_second = |now: u64, before: u64| now.saturating_sub(before) * 1_000_000 / elapsed;
        let turns_rate = per_second(turns, measured.turns_micros);
        let other_rate = per_second(thread, measured.thread_micros).saturating_sub(turns_rate);
        let answers = (3 * measured.answers + per_second(measured.answers_micros, 0)) / 4;
        let explained = (demand + answers).max(ELASTIC_MICROS);
        let beyond = turns_rate.saturating_sub(explained) + other_rate.saturating_sub(TRIFLE_MICROS);
        // The first measurement has everything since the thread's start in it.
        let smoothed = match measured.thread_micros {
            0 => 0,
            _ => (3 * measured.unexplained + beyond) / 4,
        };
        *measured = Measured {
            at: self.now,
            turns_micros: turns,
            thread_micros: thread,
            unexplained: smoothed,
            answers_micros: 0,
            answers,
        };
        self.publish_load();
    }

    /// Nothing is watched or made here: there is no load, whatever it was.
    pub fn forget_load(&mut self) {
        (self.fanout.measured.unexplained, self.fanout.measured.answers) = (0, 0);
        self.publish_load();
    }

    /// One send of a range or of shared bytes.
    pub(super) fn answer_sent(&mut self, bytes: u32) {
        self.fanout.measured.answers_micros += SEND_MICROS + u64::from(bytes) / BYTES_PER_MICRO;
    }

    /// What `shard` has published last.
    pub fn load(&self, shard: ShardId) -> u64 {
        self.mesh.load(shard)
    }

    /// What one viewer of the feed costs.
    pub fn viewer_load(&self, feed: FeedId) -> u64 {
        self.fanout.local(feed.0).map_or(0, |local| local.demand.each)
    }

    /// So much more is on its way here.
    pub fn expect_load(&mut self, micros: u64) {
        self.fanout.expected += micros;
        self.publish_load();
    }

    /// It has come, or does not.
    pub fn expect_no_more(&mut self, micros: u64) {
        self.fanout.expected = self.fanout.expected.saturating_sub(micros);
        self.publish_load();
    }

    pub(super) fn demand_grew(&mut self, feed: FeedId) {
        self.fanout.demand += self.viewer_load(feed);
        self.publish_load();
    }

    pub(super) fn demand_shrank(&mut self, feed: FeedId) {
        self.fanout.demand -= self.viewer_load(feed);
        self.publish_load();
    }

    fn publish_load(&self) {
        let measured = &self.fanout.measured;
        let load = self.fanout.demand + self.fanout.expected + measured.answers + measured.unexplained;
        self.mesh.publish_load(self.id, load);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_costs_its_sends_and_its_bytes() {
        assert_eq!(viewer_micros(500_000, 0), 14);
        assert_eq!(viewer_micros(500_000, 325_000), 14 + 81);
        assert_eq!(viewer_micros(150_000, 325_000), 42 + 81);
        assert_eq!(viewer_micros(0, 0), 175);
    }
}
