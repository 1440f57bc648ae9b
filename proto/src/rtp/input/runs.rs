//! Packets with one timestamp, one behind the other: what came of them, so that a picture of which a part is missing is counted
//! once, whatever its payload format makes of the rest.
//!
//! Not here: what is missing (`receive`), what is put together (`unpack`).

use super::Kind;
use crate::rtp::unpack::Gap;

/// Of one medium, on its RTP clock.
#[derive(Debug, Default)]
pub(super) struct Runs {
    now: Option<Run>,
    /// Until the packet behind it has been read: a picture may end with that alone.
    before: Option<Run>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    timestamp: i64,
    /// Packets are missing in it, or right before or behind it.
    is_touched: bool,
    /// A unit came of it.
    is_told: bool,
}

impl Runs {
    /// A packet is to be read.
    pub fn packet(&mut self, timestamp: i64, gap: Gap) {
        let is_lost = gap == Gap::Lost;
        if let Some(run) = &mut self.now {
            run.is_touched |= is_lost;
            if run.timestamp == timestamp {
                return;
            }
        }
        self.before = self.now.replace(Run {
            timestamp,
            is_touched: is_lost,
            is_told: false,
        });
    }

    /// A unit came of the run for whose timestamp this is true.
    pub fn tell(&mut self, is_of: impl Fn(i64) -> bool) {
        for run in [&mut self.now, &mut self.before].into_iter().flatten() {
            run.is_told |= is_of(run.timestamp);
        }
    }

    /// The packet was read. Whether the run before it was spoiled by a loss, and nothing was said of that.
    pub fn settle(&mut self) -> bool {
        self.before.take().is_some_and(|run| run.is_touched && !run.is_told)
    }

    /// No packet goes on with the newest run: the same of that. A picture that has come to nothing was not whole.
    pub fn end(&mut self, kind: Kind) -> bool {
        let run = self.now.take();
        run.is_some_and(|run| (run.is_touched || kind == Kind::Video) && !run.is_told)
    }
}
