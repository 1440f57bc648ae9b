//! When a PCR is due and what it says, from media time alone.
//!
//! All times are ticks of 27 MHz, not wrapped. The PCR follows the frame that leads in media time; decode times are sent
//! `DECODE_DELAY_MS` ahead of it. A track that lags by more sets the PCR back once, as a new time base.

use crate::ts::limits::{
    CLOCK_PER_MS, GAP_MS_MAX, PCR_INTERVAL_MS_MAX, PCR_INTERVAL_MS_MIN, SLIP_MARGIN_MS, SLIP_MS_MAX,
};

#[derive(Debug, Default)]
pub struct Clock {
    /// Media time of the frame that leads.
    newest: i64,
    /// What the PCR is behind `newest` for the sake of a late track.
    slip: i64,
    last: Option<i64>,
    jumped: bool,
    late_frames: u64,
}

/// What goes out with one frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// The first PCR of this step begins a new time base.
    pub discontinuity: bool,
    /// The values of the PCR packets before the frame are `from` plus 1 to `count` times [`INTERVAL`].
    pub from: i64,
    pub count: i64,
    /// In the frame's own first packet.
    pub own: Option<i64>,
    /// PCR time of the frame, sent or not.
    pub now: i64,
}

/// Where the frame's track stands to the PCR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A keyframe that viewers begin with, on the PCR's PID: it has a PCR whatever was sent just before.
    Join,
    /// On the PCR's PID.
    Own,
    Other,
}

pub const INTERVAL: i64 = PCR_INTERVAL_MS_MAX * CLOCK_PER_MS;

impl Clock {
    /// The next frame's time has nothing to do with those before.
    pub fn jump(&mut self) {
        self.jumped = self.last.is_some();
    }

    /// Frames that came later than their own decode time by more than the PCR may be set back.
    pub fn late_frames(&self) -> u64 {
        self.late_frames
    }

    /// `media` is the frame's decode time as the stream has it, `decode` the one that is sent.
    pub fn step(&mut self, media: i64, decode: i64, carrier: Carrier) -> Step {
        let Some(last) = self.last.filter(|_| !self.jumped && !self.is_gap(media)) else {
            let discontinuity = self.last.is_some();
            self.jumped = false;
            self.newest = media;
            self.slip = 0;
            return self.restart(discontinuity, carrier);
        };
        self.newest = self.newest.max(media);
        let now = self.newest.saturating_sub(self.slip);
        if decode < now.max(last) {
            let slip = self
                .newest
                .saturating_sub(decode)
                .saturating_add(SLIP_MARGIN_MS * CLOCK_PER_MS);
            if slip <= SLIP_MS_MAX * CLOCK_PER_MS {
                self.slip = slip;
                return self.restart(true, carrier);
            }
            self.late_frames += 1;
        }
        let count = (now - last - 1).max(0) / INTERVAL;
        let filled = last + count * INTERVAL;
        let carried = match carrier {
            Carrier::Join => true,
            Carrier::Own => now - filled >= PCR_INTERVAL_MS_MIN * CLOCK_PER_MS,
            Carrier::Other => false,
        };
        let own = carried.then(|| now.max(filled + 1));
        self.last = Some(own.unwrap_or(filled));
        Step {
            discontinuity: false,
            from: last,
            count,
            own,
            now,
        }
    }

    fn is_gap(&self, media: i64) -> bool {
        media.saturating_sub(self.newest) > GAP_MS_MAX * CLOCK_PER_MS
    }

    fn restart(&mut self, discontinuity: bool, carrier: Carrier) -> Step {
        let now = self.newest.saturating_sub(self.slip);
        self.last = Some(now);
        let (count, own) = if carrier == Carrier::Other {
            (1, None)
        } else {
            (0, Some(now))
        };
        Step {
            discontinuity,
            from: now.saturating_sub(INTERVAL),
            count,
            own,
            now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: i64 = 500;

    /// Steps in ms: media time, carrier, expected PCRs before the frame, expected own PCR.
    fn check(steps: &[(i64, Carrier, &[i64], Option<i64>)]) -> Clock {
        let mut clock = Clock::default();
        for &(media, carrier, before, own) in steps {
            let ms = CLOCK_PER_MS;
            let step = clock.step(media * ms, (media + DELAY) * ms, carrier);
            let sent: Vec<i64> = (1..=step.count)
                .map(|index| (step.from + index * INTERVAL) / ms)
                .collect();
            assert_eq!((&sent[..], step.own.map(|own| own / ms)), (before, own), "at {media}");
        }
        clock
    }

    #[test]
    fn video_carries_the_pcr_and_gaps_are_filled() {
        use Carrier::{Join, Other, Own};
        check(&[
            (1000, Join, &[], Some(1000)),
            (1008, Own, &[], None),
            (1040, Own, &[], Some(1040)),
            (1060, Other, &[], None),
            (1080, Other, &[], None),
            (1081, Other, &[1080], None),
            (1090, Own, &[], Some(1090)),
            (1300, Own, &[1130, 1170, 1210, 1250, 1290], Some(1300)),
            (1300, Join, &[], Some(1300)),
            (20_000, Own, &[], Some(20_000)),
        ]);
    }

    #[test]
    fn a_join_always_has_a_greater_pcr() {
        let mut clock = Clock::default();
        let values: Vec<_> = (0..4).filter_map(|_| clock.step(9, 90, Carrier::Join).own).collect();
        assert_eq!(values, [9, 10, 11, 12]);
    }

    #[test]
    fn a_late_track_sets_the_pcr_back_once() {
        use Carrier::{Other, Own};
        let clock = check(&[
            (5000, Own, &[], Some(5000)),
            // 100 ms behind the clock: 5000 - 4400 late, 500 ahead, 200 to spare
            (4400, Other, &[4700], None),
            (4410, Other, &[], None),
            (5020, Own, &[], Some(4720)),
            (4421, Other, &[], None),
        ]);
        assert_eq!(clock.late_frames(), 0);
        let clock = check(&[(9000, Own, &[], Some(9000)), (3000, Other, &[], None)]);
        assert_eq!(clock.late_frames(), 1);
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        let mut clock = Clock::default();
        for media in [0, i64::MAX, i64::MIN, i64::MAX - 1, -1, i64::MIN + 1] {
            for carrier in [Carrier::Join, Carrier::Other, Carrier::Own] {
                let step = clock.step(media, media.saturating_add(1), carrier);
                assert!(step.count <= GAP_MS_MAX / PCR_INTERVAL_MS_MAX);
            }
            clock.jump();
        }
    }
}
