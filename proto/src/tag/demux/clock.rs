//! Exact, unbroken times from a publisher's wrapping milliseconds.

use crate::media::rescale;
use crate::tag::limits::{AUDIO_DRIFT_MILLIS, GAP_MILLIS, GAP_MILLIS_MAX, JUMP_BACKWARD_MILLIS, JUMP_FORWARD_MILLIS};

/// Where a message stands in stream time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub millis: i64,
    /// Time jumped before this message; the stream goes on one frame behind what came before.
    pub jumped: bool,
}

/// Stream time of one publisher: unwraps 32 bits, and bridges jumps for all tracks with one shift, so that audio and
/// video stay together. Audio and video are compared each with itself, because some publishers interleave them seconds
/// apart.
#[derive(Debug, Default)]
pub(super) struct StreamClock {
    audio: Option<Place>,
    video: Option<Place>,
    /// The shift in force since the last jump.
    newest: Option<Base>,
    /// The one before it: messages that were under way, and those behind a single wrong stamp, belong to it.
    previous: Option<Base>,
    last_millis: i64,
    bases: u64,
}

#[derive(Clone, Copy, Debug)]
struct Base {
    number: u64,
    /// Stream time minus publisher's time.
    shift: i64,
    last_raw: i64,
}

/// The last message of one kind.
#[derive(Clone, Copy, Debug)]
struct Place {
    base: u64,
    shift: i64,
    raw: i64,
    interval: i64,
}

impl StreamClock {
    pub fn place_audio(&mut self, timestamp: u32) -> Placed {
        let own = self.audio;
        let (place, step) = self.place(own, timestamp);
        self.audio = Some(place);
        self.settle(place, step)
    }

    pub fn place_video(&mut self, timestamp: u32) -> Placed {
        let own = self.video;
        let (place, step) = self.place(own, timestamp);
        self.video = Some(place);
        self.settle(place, step)
    }

    /// For messages that must not move the clock: script data are often stamped 0.
    pub fn place_script(&self, timestamp: u32) -> i64 {
        let Some(base) = self.newest else {
            return timestamp.into();
        };
        let raw = unwrap(timestamp, base.last_raw);
        if near(raw - base.last_raw) {
            raw + base.shift
        } else {
            self.last_millis
        }
    }

    fn place(&self, own: Option<Place>, timestamp: u32) -> (Place, Step) {
        let reference = own.map(|own| own.raw).or(self.newest.map(|base| base.last_raw));
        let raw = reference.map_or(timestamp.into(), |reference| unwrap(timestamp, reference));
        let at = |base: u64, shift, interval| Place {
            base,
            shift,
            raw,
            interval,
        };
        let Some(newest) = self.newest else {
            return (at(0, 0, GAP_MILLIS), Step::Jump);
        };
        let Some(own) = own else {
            return (at(newest.number, newest.shift, GAP_MILLIS), Step::Stay);
        };
        let delta = raw - own.raw;
        if near(delta) {
            let interval = if delta > 0 {
                delta.min(GAP_MILLIS_MAX)
            } else {
                own.interval
            };
            return (at(own.base, own.shift, interval), Step::Stay);
        }
        for base in [Some(newest), self.previous].into_iter().flatten() {
            // Its own one too: a kind that was silent for long finds it where the other kind has brought it.
            if (raw - base.last_raw).abs() <= JUMP_FORWARD_MILLIS
                && (raw + base.shift - self.last_millis).abs() <= JUMP_BACKWARD_MILLIS
            {
                return (at(base.number, base.shift, own.interval), Step::Change);
            }
        }
        let shift = self.last_millis + own.interval - raw;
        (at(self.bases, shift, own.interval), Step::Jump)
    }

    fn settle(&mut self, place: Place, step: Step) -> Placed {
        let first = self.newest.is_none();
        if step == Step::Jump {
            self.previous = self.newest.replace(Base {
                number: place.base,
                shift: place.shift,
                last_raw: place.raw,
            });
            self.bases += 1;
        }
        let is_previous = self.previous.is_some_and(|base| base.number == place.base);
        if step == Step::Change && is_previous {
            std::mem::swap(&mut self.newest, &mut self.previous);
        }
        for base in [&mut self.newest, &mut self.previous].into_iter().flatten() {
            if base.number == place.base {
                base.last_raw = place.raw;
            }
        }
        let millis = place.raw + place.shift;
        self.last_millis = if first { millis } else { self.last_millis.max(millis) };
        Placed {
            millis,
            jumped: step == Step::Jump && !first,
        }
    }
}

/// What a message does to the shifts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Stay,
    /// Over to the shift that another kind, or an earlier message, already has.
    Change,
    /// A shift of its own.
    Jump,
}

/// Decode times of a video track: never equal, never falling.
#[derive(Debug, Default)]
pub(super) struct VideoClock {
    last: Option<i64>,
}

/// A decode time, and by how much it had to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time {
    pub dts: i64,
    pub moved: i64,
}

impl VideoClock {
    pub fn tick(&mut self, wanted: i64) -> Time {
        let dts = self.last.map_or(wanted, |last| wanted.max(last + 1));
        self.last = Some(dts);
        Time {
            dts,
            moved: dts - wanted,
        }
    }
}

/// Decode times of an audio track: counted in samples from the first stamp on.
#[derive(Debug, Default)]
pub(super) struct AudioClock {
    last: Option<i64>,
    /// Where counting says that the next frame is; None when its stamp decides.
    next: Option<i64>,
}

impl AudioClock {
    /// The time of a frame of `samples` that the publisher stamped `wanted`, both in `rate` a second. `moved` is not 0
    /// when counting and stamps had come apart.
    pub fn tick(&mut self, wanted: i64, samples: u32, rate: u32) -> Time {
        let drift_max = i64::from(samples).max(i64::from(rate) * AUDIO_DRIFT_MILLIS / 1000);
        let earliest = self.last.map_or(wanted, |last| wanted.max(last + 1));
        let (dts, moved) = match self.next {
            None => (earliest, 0),
            Some(next) if (wanted - next).abs() <= drift_max => (next, 0),
            Some(next) => (earliest, wanted - next),
        };
        self.last = Some(dts);
        self.next = Some(dts + i64::from(samples.max(1)));
        Time { dts, moved }
    }

    /// The next frame is placed where its stamp says.
    pub fn restart(&mut self) {
        self.next = None;
    }
}

/// `millis` and `nanos` beyond them, in `rate` ticks a second. Rounded up, so that rounding the ticks down gives the
/// same millisecond again.
pub(super) fn ticks(millis: i64, nanos: u32, rate: u32) -> i64 {
    if nanos == 0 {
        return -rescale(-millis, 1000, rate);
    }
    -rescale(-(millis * 1_000_000 + i64::from(nanos)), 1_000_000_000, rate)
}

fn unwrap(timestamp: u32, reference: i64) -> i64 {
    let ahead = timestamp.wrapping_sub(reference as u32) as i32;
    reference + i64::from(ahead)
}

fn near(delta: i64) -> bool {
    (-JUMP_BACKWARD_MILLIS..=JUMP_FORWARD_MILLIS).contains(&delta)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Letters are kinds, `!` marks an expected jump.
    fn check(messages: &[(char, u32, i64, bool)]) {
        let mut clock = StreamClock::default();
        for (index, &(kind, timestamp, millis, jumped)) in messages.iter().enumerate() {
            let placed = match kind {
                'a' => clock.place_audio(timestamp),
                _ => clock.place_video(timestamp),
            };
            assert_eq!(placed, Placed { millis, jumped }, "message {index}");
        }
    }

    #[test]
    fn stamps_are_unwrapped_to_the_nearest() {
        check(&[
            ('v', 0xffff_fff0, 0xffff_fff0, false),
            ('a', 0xffff_fff8, 0xffff_fff8, false),
            ('v', 16, 0x1_0000_0010, false),
            ('a', 0xffff_ffff, 0xffff_ffff, false),
            ('a', 24, 0x1_0000_0018, false),
        ]);
    }

    #[test]
    fn a_jump_moves_all_tracks_together() {
        check(&[
            ('v', 50_000, 50_000, false),
            ('a', 50_010, 50_010, false),
            ('v', 50_040, 50_040, false),
            // Back to zero: goes on one interval behind, and audio follows with the same shift.
            ('v', 0, 50_080, true),
            ('a', 50_031, 50_031, false),
            ('a', 10, 50_090, false),
            ('v', 40, 50_120, false),
            // An hour ahead, audio first.
            ('a', 3_600_000, 50_141, true),
            ('v', 3_600_010, 50_151, false),
        ]);
    }

    #[test]
    fn one_wrong_stamp_moves_nothing_behind_it() {
        check(&[
            ('v', 50_000, 50_000, false),
            ('v', 50_040, 50_040, false),
            ('v', 0, 50_080, true),
            ('v', 50_120, 50_120, false),
            ('a', 50_130, 50_130, false),
        ]);
    }

    #[test]
    fn kinds_may_be_seconds_apart() {
        check(&[
            ('v', 20_000, 20_000, false),
            ('a', 5_000, 5_000, false),
            ('v', 20_040, 20_040, false),
            ('a', 5_021, 5_021, false),
        ]);
    }

    #[test]
    fn a_kind_that_was_silent_for_long_comes_back_without_a_jump() {
        check(&[
            ('v', 1_000, 1_000, false),
            ('a', 1_010, 1_010, false),
            ('v', 11_000, 11_000, false),
            ('v', 20_000, 20_000, false),
            ('a', 20_021, 20_021, false),
            ('a', 20_042, 20_042, false),
            // Both of them, and then each for itself.
            ('v', 60_000, 20_042 + 1_000, true),
            ('a', 60_021, 20_042 + 1_021, false),
        ]);
    }

    #[test]
    fn limits_of_a_jump() {
        check(&[
            ('v', 5_000, 5_000, false),
            ('v', 15_000, 15_000, false),
            ('v', 12_000, 12_000, false),
            ('v', 22_001, 16_000, true),
            ('v', 60_000, 17_000, true),
            ('v', 56_999, 18_000, true),
        ]);
    }

    #[test]
    fn script_data_never_move_the_clock() {
        let mut clock = StreamClock::default();
        assert_eq!(clock.place_script(7), 7);
        clock.place_video(100_000);
        assert_eq!(clock.place_script(0), 100_000);
        assert_eq!(clock.place_script(99_990), 99_990);
        assert_eq!(clock.place_video(100_040).millis, 100_040);
    }

    #[test]
    fn audio_counts_samples_until_it_is_off_too_far() {
        let mut clock = AudioClock::default();
        let mut exact = 48_000;
        for frame in 0..500_i64 {
            // Stamps rounded to milliseconds, with a late one now and then.
            let late = if frame % 7 == 3 { 30 } else { 0 };
            let stamp = 1000 + frame * 64 / 3 + late;
            assert_eq!(clock.tick(stamp * 48, 1024, 48_000), Time { dts: exact, moved: 0 });
            exact += 1024;
        }
        let ahead = clock.tick(exact + 48 * 41, 1024, 48_000);
        assert_eq!(
            ahead,
            Time {
                dts: exact + 48 * 41,
                moved: 48 * 41
            }
        );
        // Too early: as early as order allows.
        let early = clock.tick(0, 1024, 48_000);
        assert_eq!(early.dts, ahead.dts + 1);
        clock.restart();
        assert_eq!(clock.tick(early.dts + 50, 1024, 48_000).dts, early.dts + 50);
    }

    /// An encoder whose sample clock is off by so many millionths, for an hour: what it stamps is `frame` samples of its
    /// own later, and the stamps are whole milliseconds.
    #[test]
    fn a_drifting_encoder_is_followed() {
        const RATE: i64 = 48_000;
        const FRAME: i64 = 1024;
        for millionths in [-10_000, -1_000, -100, 0, 100, 1_000, 10_000] {
            let mut clock = AudioClock::default();
            let (mut moves, mut last) = (0, i64::MIN);
            for frame in 0..3600 * RATE / FRAME {
                let stamp = frame * FRAME * (1_000_000 + millionths) / (RATE * 1000);
                let wanted = ticks(stamp, 0, RATE as u32);
                let time = clock.tick(wanted, FRAME as u32, RATE as u32);
                assert!(time.dts > last, "{millionths}");
                let off = (time.dts - wanted).abs() * 1000 / RATE;
                assert!(off <= AUDIO_DRIFT_MILLIS, "{millionths}: {off} ms off");
                last = time.dts;
                moves += i64::from(time.moved != 0);
            }
            // 3.6 s of drift are a thousandth of the hour.
            let expected = 3_600_000 * millionths.abs() / 1_000_000 / AUDIO_DRIFT_MILLIS;
            // Each waits until it is more than that; what is set back goes back by a frame, and needs the next one sooner.
            assert!(
                (expected * 3 / 4..=expected * 2 + 1).contains(&moves),
                "{millionths}: {moves}"
            );
        }
    }

    /// Two and more short frames that share a millisecond, and stamps that go back a little, count on.
    #[test]
    fn equal_and_backward_stamps_of_sound_count_on() {
        let mut clock = AudioClock::default();
        // 2.5 ms each.
        for (frame, millis) in [0, 2, 5, 5, 10, 8, 15, 15, 15, 22, 3].into_iter().enumerate() {
            let time = clock.tick(millis * 48, 120, 48_000);
            assert_eq!(
                time,
                Time {
                    dts: frame as i64 * 120,
                    moved: 0
                }
            );
        }
    }

    proptest! {
        /// Jumps, jitter and wraps are told by distances alone: any start value gives the same, that much later.
        #[test]
        fn a_start_value_changes_nothing(
            start in prop_oneof![any::<u32>(), Just(0), Just(u32::MAX - 500), Just(i32::MAX as u32 - 500)],
            steps in proptest::collection::vec(
                (any::<bool>(), prop_oneof![20 => 0u32..60, 2 => any::<u32>(), 2 => (u32::MAX - 4000)..=u32::MAX]),
                1..80,
            ),
        ) {
            let (mut here, mut there) = (StreamClock::default(), StreamClock::default());
            let (mut stamp, mut first) = (0u32, None);
            for (audio, step) in steps {
                stamp = stamp.wrapping_add(step);
                let place = |clock: &mut StreamClock, stamp: u32| {
                    if audio { clock.place_audio(stamp) } else { clock.place_video(stamp) }
                };
                let (zero, late) = (place(&mut here, stamp), place(&mut there, stamp.wrapping_add(start)));
                let (zero_first, late_first) = *first.get_or_insert((zero.millis, late.millis));
                prop_assert_eq!(late.millis - late_first, zero.millis - zero_first);
                prop_assert_eq!(late.jumped, zero.jumped);
            }
        }

        #[test]
        fn sound_is_counted_or_as_stamped_and_never_falls(
            stamps in proptest::collection::vec(-200i64..5000, 1..200),
            samples in prop_oneof![Just(120u32), Just(960), Just(1024), Just(4608)],
        ) {
            let (mut clock, mut last) = (AudioClock::default(), None);
            let drift_max = i64::from(samples).max(48 * AUDIO_DRIFT_MILLIS);
            for stamp in stamps {
                let wanted = stamp * 48;
                let time = clock.tick(wanted, samples, 48_000);
                prop_assert!(last.is_none_or(|last| time.dts > last));
                let counted = last.map(|last| last + i64::from(samples));
                let is_near = (time.dts - wanted).abs() <= drift_max;
                let is_forced = last.is_some_and(|last| time.dts == last + 1);
                prop_assert!(is_near || is_forced);
                prop_assert_eq!(time.moved == 0, counted.is_none_or(|counted| counted == time.dts) || counted.is_none());
                last = Some(time.dts);
            }
        }
    }

    #[test]
    fn video_time_never_stands() {
        let mut clock = VideoClock::default();
        for (wanted, dts) in [(900, 900), (900, 901), (0, 902), (4500, 4500)] {
            assert_eq!(
                clock.tick(wanted),
                Time {
                    dts,
                    moved: dts - wanted
                }
            );
        }
    }

    #[test]
    fn nanoseconds_refine() {
        assert_eq!(ticks(10, 0, 90_000), 900);
        assert_eq!(ticks(10, 500_000, 90_000), 945);
        for millis in -100..100 {
            assert_eq!(rescale(ticks(millis, 0, 44_100), 44_100, 1000), millis);
        }
    }
}
