//! Stream time on the clock of the wall, as sender reports say it: what is measured, without its noise.
//!
//! Players add the difference of two reports' NTP times to the pictures' times. So a difference is kept until it is wrong by
//! more than measuring explains, and then it moves slowly.

use super::limits::{CLOCK_JUMP_MICROS, CLOCK_SLACK_MICROS, CLOCK_STEP_MICROS};
use crate::rtp::wire::rtcp::Ntp;

/// Unix time less stream time, µs.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// As last measured.
    measured: i64,
    /// As reports say it; none until there is something to say.
    said: Option<i64>,
    follows: bool,
}

impl Clock {
    pub(super) fn is_known(&self) -> bool {
        self.said.is_some()
    }

    /// Nothing is known until it is measured anew: stream time jumped.
    pub(super) fn forget(&mut self) {
        self.said = None;
    }

    /// Whether reports say something else from here on.
    pub(super) fn measure(&mut self, stream_micros: i64, unix_micros: i64) -> bool {
        self.measured = unix_micros.saturating_sub(stream_micros);
        let error = self
            .said
            .map(|said| self.measured.saturating_sub(said).saturating_abs());
        match error {
            Some(error) if error < CLOCK_JUMP_MICROS => {
                self.follows |= error > CLOCK_SLACK_MICROS;
                false
            }
            _ => {
                self.said = Some(self.measured);
                self.follows = false;
                true
            }
        }
    }

    /// Once per round of reports.
    pub(super) fn step(&mut self) {
        if let (Some(said), true) = (&mut self.said, self.follows) {
            let error = self.measured - *said;
            *said += error.clamp(-CLOCK_STEP_MICROS, CLOCK_STEP_MICROS);
            self.follows = *said != self.measured;
        }
    }

    /// ms since 1970 at a moment of stream time, once that is known.
    pub(super) fn wall_millis(&self, stream_micros: i64) -> Option<u64> {
        let micros = self.said?.saturating_add(stream_micros);
        u64::try_from(micros).ok().map(|micros| micros / 1000)
    }

    /// The clock of the wall at `ticks` of stream time, exact to half of 2^-32 s against other `ticks`.
    pub(super) fn ntp(&self, ticks: i64, clock_rate: u32) -> Ntp {
        let begin = Ntp::from_unix_micros(self.said.unwrap_or(0)).0;
        let rate = i128::from(clock_rate);
        let since = ((i128::from(ticks) << 32) + rate / 2).div_euclid(rate);
        Ntp(begin.wrapping_add(since as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIX: i64 = 1_795_350_020_298_000;

    #[test]
    fn noise_is_not_said_and_drift_is_followed_slowly() {
        let mut clock = Clock::default();
        assert!(!clock.is_known());
        assert!(clock.measure(5_000_000, UNIX));
        let begin = clock.ntp(5 * 90_000, 90_000);
        assert_eq!(begin, Ntp::from_unix_micros(UNIX));
        for noise in [19_000, -20_000, 20_000] {
            assert!(!clock.measure(6_000_000, UNIX + 1_000_000 + noise));
            clock.step();
            assert_eq!(clock.ntp(5 * 90_000, 90_000), begin);
        }
        // 30 ms off: 1 ms a report, until it is right.
        assert!(!clock.measure(6_000_000, UNIX + 1_030_000));
        for report in 1..=35 {
            clock.step();
            let said = clock.ntp(5 * 90_000, 90_000).unix_micros();
            assert!((said - UNIX - 1_000 * report.min(30)).abs() <= 1, "{report}");
        }
        // Another clock, backwards.
        assert!(clock.measure(6_000_000, UNIX - 9_000_000));
        assert_eq!(clock.ntp(6 * 48_000, 48_000), Ntp::from_unix_micros(UNIX - 9_000_000));
        clock.forget();
        assert!(!clock.is_known() && clock.measure(6_000_000, UNIX - 9_000_000));
    }

    #[test]
    fn differences_of_ntp_give_back_every_tick() {
        let mut clock = Clock::default();
        clock.measure(0, UNIX + 333_333);
        let begin = clock.ntp(0, 44_100).0;
        for ticks in [1, 1024, 44_099, 44_101 * 86_400 * 7, -44_101] {
            let since = clock.ntp(ticks, 44_100).0.wrapping_sub(begin).cast_signed();
            let back = (i128::from(since) * 44_100 + (1 << 31)) >> 32;
            assert_eq!(back, i128::from(ticks));
        }
    }
}
