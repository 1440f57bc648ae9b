//! What of a live stream a player may ask for, and what it is told that it gets (RFC 2326, 10.5 and 12.29).
//!
//! Its play begins at the newest keyframe and has no end. So a range without an end is served, wherever it begins: players
//! that go on behind a pause ask for where they were. One of the wall's clock has to begin where we are; what is long ago, or
//! still to come, is refused, and so is what ends.

use penstock_proto::rtsp::Refusal;
use penstock_proto::rtsp::wire::range::{Point, Range};
use penstock_shard::kernel::Kernel;
use penstock_shard::sys::clock;

use super::RtspPeer;
use crate::app::App;

/// What is played, unless the wall's clock was asked for: a live stream has no other place.
pub(super) const LIVE: Range = Range::Npt {
    from: Point::Now,
    to: None,
};

/// How far a player's clock may be ahead of ours.
const AHEAD_MILLIS_MAX: u64 = 5_000;

/// In which unit a player asked for its range, and is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Unit {
    #[default]
    Npt,
    Clock,
}

/// Whether that is what a live stream has at `now_millis` since 1970, of which so much is kept.
fn is_served(asked: Option<Range>, now_millis: u64, window_millis: u64) -> bool {
    match asked {
        None | Some(Range::Npt { to: None, .. }) => true,
        Some(Range::Clock { from, to: None }) => {
            let begin = now_millis.saturating_sub(window_millis);
            (begin..=now_millis.saturating_add(AHEAD_MILLIS_MAX)).contains(&from)
        }
        Some(Range::Npt { to: Some(_), .. } | Range::Clock { to: Some(_), .. }) => false,
    }
}

impl Unit {
    /// What is played in fact. `joined_millis`: the wall's time of where it begins, if that is known.
    pub fn served(self, joined_millis: Option<u64>) -> Range {
        match self {
            Unit::Npt => LIVE,
            Unit::Clock => Range::Clock {
                from: joined_millis.unwrap_or_else(wall_millis),
                to: None,
            },
        }
    }
}

fn wall_millis() -> u64 {
    u64::try_from(clock::wall_micros() / 1000).unwrap_or(0)
}

impl<K: Kernel> App<K> {
    /// Whether a play can have its range; what is refused is answered.
    pub(super) fn rtsp_has_range(&self, peer: &mut RtspPeer, asked: Option<Range>) -> bool {
        let window_millis = u64::from(self.config.machine.lag_max_millis);
        if !is_served(asked, wall_millis(), window_millis) {
            let why = "a live stream is played from now on";
            peer.session.refused(Refusal::InvalidRange, why);
            return false;
        }
        peer.unit = match asked {
            Some(Range::Clock { .. }) => Unit::Clock,
            None | Some(Range::Npt { .. }) => Unit::Npt,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_stream_has_what_is_now_and_no_end() {
        let now = Range::parse("clock=20260102T030405Z-");
        let Some(Range::Clock { from: now, .. }) = now else {
            panic!("{now:?}")
        };
        for (text, is) in [
            ("npt=now-", true),
            ("npt=0.000-", true),
            ("npt=-", true),
            ("npt=17.5-", true),
            ("npt=0-10", false),
            ("npt=now-10", false),
            ("clock=20260102T030405Z-", true),
            ("clock=20260102T030400Z-", true),
            ("clock=20260102T030359.999Z-", false),
            ("clock=20260102T030410Z-", true),
            ("clock=20260102T030410.001Z-", false),
            ("clock=20260102T030405Z-20260102T030406Z", false),
        ] {
            let range = Range::parse(text);
            assert!(range.is_some(), "{text}");
            assert_eq!(is_served(range, now, 5_000), is, "{text}");
        }
        assert!(is_served(None, now, 5_000));
        assert_eq!(Unit::Npt.served(Some(now)), LIVE);
        assert_eq!(Unit::Clock.served(Some(now)).text(), "clock=20260102T030405.000Z-");
    }
}
