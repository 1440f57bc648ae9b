//! How fast a viewer's socket may send, once its start burst is over (`SO_MAX_PACING_RATE`).
//!
//! A turn brings each viewer its bytes at once; a socket without bound hands them to the path as fast as its window allows,
//! and a path with little room for bursts loses some. Bounded to a multiple of the feed's rate, they are spread over the
//! pause between two turns. Off unless the configuration says so.
//!
//! Invariants: set when a viewer stands at the end of its feed for the first time, and then only raised, with the feed's
//! rate; never per send, and never below [`limits::PACING_BYTES_MIN`].

use crate::connection::ConnId;
use crate::core::Core;
use crate::kernel::Kernel;
use crate::limits;

/// The highest bound that a feed's measured rates have asked for.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    bytes_per_second: u32,
    /// A feed begins with what its ring holds, all at once: that is no rate.
    is_begun: bool,
}

impl Pacing {
    /// The feed has grown by `bytes` in `micros`; viewers get `percent` of that.
    pub fn measured(&mut self, bytes: u64, micros: u64, percent: u64) {
        if percent == 0 || !std::mem::replace(&mut self.is_begun, true) {
            return;
        }
        let rate = bytes.saturating_mul(1_000_000) / micros.max(1);
        let wanted = (rate.saturating_mul(percent) / 100).max(limits::PACING_BYTES_MIN);
        self.bytes_per_second = self.bytes_per_second.max(wanted.min(u64::from(u32::MAX)) as u32);
    }
}

impl<M, K: Kernel> Core<M, K> {
    /// A viewer of `feed` has everything there is.
    pub(super) fn pace(&mut self, id: ConnId, feed: u32) {
        let wanted = self.fanout.local(feed).map_or(0, |local| local.pacing.bytes_per_second);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if wanted <= connection.pacing {
            return;
        }
        connection.pacing = wanted;
        // A socket that has no such bound sends as before, and is not counted.
        if self.kernel.set_pacing(&connection.socket, wanted).is_ok() {
            self.counters.pacings_set.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_a_multiple_of_the_measured_rate_and_only_rises() {
        let mut pacing = Pacing::default();
        let mut after = |bytes, percent| {
            pacing.measured(bytes, 4_000_000, percent);
            pacing.bytes_per_second
        };
        assert_eq!(after(40_000_000, 200), 0, "the ring's bytes");
        assert_eq!(after(1_300_000, 200), 650_000);
        assert_eq!(after(100_000, 200), 650_000);
        assert_eq!(after(2_600_000, 200), 1_300_000);
        assert_eq!(after(u64::MAX, 1000), u32::MAX);
        let mut still = Pacing::default();
        still.measured(0, 4_000_000, 150);
        still.measured(1000, 4_000_000, 150);
        assert_eq!(u64::from(still.bytes_per_second), limits::PACING_BYTES_MIN);
        let mut off = Pacing::default();
        off.measured(1, 1, 0);
        off.measured(1, 1, 0);
        assert_eq!(off.bytes_per_second, 0);
    }
}
