//! How much of the past a stream keeps, when memory is short: less than `DVR` asks, down to the newest complete GOP and
//! the running one. It grows again by itself.
//!
//! Who is asked to keep less, and when, is the shard's (`app/shortage.rs`).

use super::Stream;
use crate::counters::AppCounters;

impl Stream {
    /// What its ring keeps, when some of it could be given up.
    pub fn window_bytes(&mut self) -> Option<u64> {
        self.ring.has_spare_gop().then(|| self.ring.packet_bytes())
    }

    /// Gives up the oldest GOP of those that can be.
    pub fn shorten_window(&mut self, counters: &AppCounters) {
        if !self.ring.has_spare_gop() {
            return;
        }
        self.ring.drop_oldest_gop();
        self.forget_track_sets();
        counters.rings_shrunk.add(1);
        if !std::mem::replace(&mut self.is_shortened, true) {
            counters.streams_shortened.add(1);
        }
    }

    /// Whether its window is as long as it should be again.
    pub(super) fn observe_window(&mut self, counters: &AppCounters) {
        if self.is_shortened && self.ring.is_whole() {
            self.forget_shortened(counters);
        }
    }

    /// It is not counted among those whose windows are shortened.
    pub fn forget_shortened(&mut self, counters: &AppCounters) {
        if std::mem::take(&mut self.is_shortened) {
            counters.streams_shortened.sub(1);
        }
    }

    pub fn is_shortened(&self) -> bool {
        self.is_shortened
    }
}
