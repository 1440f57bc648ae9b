//! Where a stream's segments are cut: a rule over its main track's frames, the same whether or not anybody watches.
//!
//! A segment begins at the first keyframe at or after `segmentsize`; at an earlier one when the next GOP would not fit the
//! target duration; at a frame that is no keyframe when the GOP itself does not fit; at every break. The target duration
//! grows with what is seen until the first playlist shows it, and is constant from then on. A keyframe that comes a little
//! later than those before is waited for.

use crate::limits;

/// Owned by the stream.
#[derive(Debug)]
pub struct Cuts {
    segment_micros: i64,
    /// What playlists say, once one has said it.
    fixed: Option<i64>,
    /// What no segment so far, and no GOP, was longer than.
    seen_micros: i64,
    /// Begin of the running segment.
    start: Option<i64>,
    /// Of the main track's newest frame, and of the one before.
    last: Option<i64>,
    interval: i64,
    key: Option<i64>,
    /// The last few, newest last: encoders that put a keyframe where the scene changes make the next one as long as ever.
    gops: [i64; 4],
    /// GOPs in a row that fit the target, up to [`limits::GOPS_STABLE`].
    stable: u32,
    /// A segment of the running GOP began without a keyframe though it was promised that none does.
    is_promise_broken: bool,
    is_break_due: bool,
    /// Another track's frame cut at a break: the main track's next one is counted from.
    is_main_due: bool,
}

/// A new segment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub micros: i64,
    /// A break stands before it, or a promise was broken.
    pub is_discontinuity: bool,
    /// It begins with a keyframe of the main track.
    pub is_independent: bool,
}

/// What a frame of the main track comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    pub cut: Option<Cut>,
    /// The length of a GOP that did not fit though three before it had: once a GOP, µs.
    pub broken_gop: Option<i64>,
}

impl Cuts {
    pub fn new(segment_millis: u32) -> Cuts {
        Cuts {
            segment_micros: i64::from(segment_millis) * 1000,
            fixed: None,
            seen_micros: 0,
            start: None,
            last: None,
            interval: 0,
            key: None,
            gops: [0; 4],
            stable: 0,
            is_promise_broken: false,
            is_break_due: false,
            is_main_due: false,
        }
    }

    /// Before the next frame, of whichever track, something changed that players must be told.
    pub fn on_break(&mut self) {
        self.is_break_due = true;
        (self.key, self.last, self.interval) = (None, None, 0);
        self.is_promise_broken = false;
    }

    /// No segment lasts longer, s, but for a keyframe that was a little late.
    pub fn target_seconds(&self) -> u32 {
        let micros = self.fixed.unwrap_or_else(|| self.grown());
        u32::try_from(micros / 1_000_000).unwrap_or(u32::MAX)
    }

    fn grown(&self) -> i64 {
        whole_seconds(limits::TARGET_MICROS_MIN.max(self.segment_micros).max(self.seen_micros))
    }

    /// A playlist is about to show the target: it does not change any more.
    pub fn fix_target(&mut self) {
        self.fixed = Some(self.fixed.unwrap_or_else(|| self.grown()));
    }

    /// Whether enough is known of the stream's GOPs to fix the target.
    pub fn is_settled(&self) -> bool {
        self.longest_recent_gop() > 0 || self.fixed.is_some()
    }

    /// Segments have begun with keyframes for long enough to promise it.
    pub fn is_stable(&self) -> bool {
        self.stable >= limits::GOPS_STABLE && !self.is_promise_broken
    }

    /// A frame of a track that is not the main one is about to come: only a break cuts there.
    pub fn other_frame(&mut self, micros: i64) -> Option<Cut> {
        let is_first = self.start.is_none();
        (self.is_break_due && !is_first).then(|| {
            self.is_main_due = true;
            self.cut(micros, Kind::Break)
        })
    }

    /// A frame of the main track is about to come.
    pub fn main_frame(&mut self, key: Key, micros: i64) -> Judged {
        if let Some(last) = self.last {
            self.interval = (micros - last).clamp(0, limits::FRAME_MICROS_MAX);
        }
        let mut judged = Judged::default();
        if key == Key::Key
            && let Some(before) = self.key.replace(micros)
        {
            judged.broken_gop = self.gop_ended(micros - before);
        }
        if std::mem::take(&mut self.is_main_due) {
            self.start = Some(micros);
        }
        judged.cut = self.judge(key, micros).map(|kind| self.cut(micros, kind));
        if let Some(cut) = &mut judged.cut {
            cut.is_independent = key == Key::Key;
            if !cut.is_independent {
                self.stable = 0;
            }
        }
        if key == Key::Key && self.key.is_none() {
            self.key = Some(micros);
        }
        self.last = Some(micros);
        judged
    }

    fn gop_ended(&mut self, gop: i64) -> Option<i64> {
        self.gops.rotate_left(1);
        self.gops[3] = gop;
        let is_broken = std::mem::take(&mut self.is_promise_broken);
        if self.fixed.is_none() {
            self.seen_micros = self.seen_micros.max(gop.min(limits::TARGET_MICROS_MAX));
        }
        match gop <= self.target_micros() + limits::KEY_LATE_MICROS_MAX {
            true => self.stable = (self.stable + 1).min(limits::GOPS_STABLE),
            false => self.stable = 0,
        }
        is_broken.then_some(gop)
    }

    fn longest_recent_gop(&self) -> i64 {
        self.gops.into_iter().max().unwrap_or(0)
    }

    fn target_micros(&self) -> i64 {
        self.fixed.unwrap_or_else(|| self.grown())
    }

    fn judge(&self, key: Key, micros: i64) -> Option<Kind> {
        let Some(start) = self.start else {
            return Some(Kind::First);
        };
        if self.is_break_due {
            return Some(Kind::Break);
        }
        let elapsed = micros - start;
        let target = self.target_micros();
        if key == Key::Key {
            let is_late = elapsed > target + limits::KEY_LATE_MICROS_MAX && self.fixed.is_some();
            let fits_another = elapsed + self.longest_recent_gop().max(self.interval) <= target;
            return match elapsed >= self.segment_micros || !fits_another {
                _ if elapsed <= 0 => None,
                true if is_late => Some(Kind::Hole),
                true => Some(Kind::Plain),
                false => None,
            };
        }
        // While no playlist has shown a target, a GOP may be as long as any that is served.
        let longest = match self.fixed {
            Some(_) => self.longest(start),
            None => limits::TARGET_MICROS_MAX,
        };
        if elapsed > longest {
            return Some(Kind::Hole);
        }
        (elapsed > 0 && elapsed + self.interval > longest).then_some(Kind::Forced)
    }

    /// How long the segment that began at `start` may last without a keyframe: to the target, or some more where one is about
    /// to come.
    fn longest(&self, start: i64) -> i64 {
        let target = self.target_micros();
        let latest = target + limits::KEY_LATE_MICROS_MAX;
        let expected = self.key.map_or(0, |key| key + self.longest_recent_gop() - start);
        match expected <= latest {
            true => target.max(expected + limits::KEY_LATE_MICROS_MAX).min(latest),
            false => target,
        }
    }

    fn cut(&mut self, micros: i64, kind: Kind) -> Cut {
        if let Some(start) = self.start
            && matches!(kind, Kind::Plain | Kind::Forced)
            && self.fixed.is_none()
        {
            self.seen_micros = self.seen_micros.max((micros - start).min(limits::TARGET_MICROS_MAX));
        }
        let had_promised = kind == Kind::Forced && self.is_stable();
        if kind == Kind::Forced {
            self.is_promise_broken |= had_promised;
        }
        // The stream's very first segment follows nothing.
        let is_discontinuity = had_promised || matches!(kind, Kind::Break | Kind::Hole);
        self.start = Some(micros);
        self.is_break_due = false;
        Cut {
            micros,
            is_discontinuity,
            is_independent: false,
        }
    }
}

/// Whether a decoder can begin at a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Key,
    Between,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    First,
    Plain,
    /// The GOP does not fit.
    Forced,
    Break,
    /// Frames were missing for longer than a segment may last.
    Hole,
}

/// Rounded up to whole seconds.
fn whole_seconds(micros: i64) -> i64 {
    (micros + 999_999).div_euclid(1_000_000) * 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: i64 = 1000;

    /// Cuts of pictures every `frame` ms with keyframes every so many, for `millis`: begin (ms), independent, discontinuity.
    fn run(cuts: &mut Cuts, from: i64, millis: i64, frame: i64, gop: i64) -> Vec<(i64, bool, bool)> {
        let mut made = Vec::new();
        for at in (0..millis).step_by(frame as usize) {
            let key = if at % gop == 0 { Key::Key } else { Key::Between };
            if let Some(cut) = cuts.main_frame(key, (from + at) * MILLI).cut {
                made.push((cut.micros / MILLI, cut.is_independent, cut.is_discontinuity));
            }
        }
        made
    }

    fn begins(made: &[(i64, bool, bool)]) -> Vec<i64> {
        made.iter().map(|(begin, ..)| *begin).collect()
    }

    #[test]
    fn segments_begin_with_the_first_keyframe_that_is_late_enough_and_fits() {
        for (segment, gop, expected, target) in [
            (1900, 2000, vec![0, 2000, 4000, 6000, 8000], 2),
            (1900, 1000, vec![0, 2000, 4000, 6000, 8000], 2),
            (1900, 1480, vec![0, 1480, 2960, 4440, 5920, 7400, 8880], 2),
            (5000, 2000, vec![0, 4000, 8000], 5),
            (1900, 4000, vec![0, 4000, 8000], 4),
            (
                500,
                1000,
                vec![0, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000],
                2,
            ),
        ] {
            let mut cuts = Cuts::new(segment);
            let made = run(&mut cuts, 0, 9_500, 40, gop);
            assert_eq!(begins(&made), expected, "segmentsize {segment}, GOP {gop}");
            assert!(made.iter().all(|(_, independent, broken)| *independent && !broken));
            assert_eq!(cuts.target_seconds(), target);
            let longest = begins(&made).windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            assert!(longest <= i64::from(target) * 1000);
        }
    }

    #[test]
    fn a_longer_gop_is_cut_once_the_target_is_fixed_and_breaks_the_promise_once() {
        let mut cuts = Cuts::new(1900);
        run(&mut cuts, 0, 8_040, 40, 2000);
        assert!(cuts.is_stable());
        cuts.fix_target();
        // A keyframe at 10 s is missing, the next one comes at 14 s.
        let mut made = Vec::new();
        let mut broken = Vec::new();
        for at in (8_040..14_040).step_by(40) {
            let key = if at == 14_000 { Key::Key } else { Key::Between };
            let judged = cuts.main_frame(key, at * MILLI);
            made.extend(judged.cut);
            broken.extend(judged.broken_gop);
        }
        let seen: Vec<_> = made
            .iter()
            .map(|cut| (cut.micros / MILLI, cut.is_independent, cut.is_discontinuity))
            .collect();
        assert_eq!(
            seen,
            [(10_080, false, true), (12_080, false, false), (14_000, true, false)]
        );
        assert_eq!(broken, [6_000_000], "said once, with its length");
        assert_eq!(cuts.target_seconds(), 2);
        assert!(!cuts.is_stable());
        run(&mut cuts, 14_040, 4_000, 40, 2000);
        assert!(!cuts.is_stable(), "three of them are needed");
    }

    #[test]
    fn keyframes_whose_times_jitter_are_no_longer_gops() {
        let mut cuts = Cuts::new(1900);
        run(&mut cuts, 0, 8_000, 40, 2000);
        cuts.fix_target();
        assert_eq!(cuts.target_seconds(), 2);
        // Up to 30 ms late, and a hole of 60 ms in a loop.
        let mut key = 8_000;
        for late in [0, 3, 30, 0, 60, 1, 29, 0] {
            for at in (0..50).map(|frame| key + late + frame * 40) {
                let judged = cuts.main_frame(if at == key + late { Key::Key } else { Key::Between }, at * MILLI);
                assert_eq!(judged.cut.is_some(), at == key + late, "{at}");
                assert!(judged.cut.is_none_or(|cut| cut.is_independent && !cut.is_discontinuity));
                assert_eq!(judged.broken_gop, None);
            }
            key += late + 2_000;
        }
        assert!(cuts.is_stable(), "the promise holds");
    }

    #[test]
    fn long_gops_are_cut_at_the_target_and_not_behind_it() {
        let mut cuts = Cuts::new(1900);
        run(&mut cuts, 0, 8_000, 40, 2000);
        cuts.fix_target();
        let made = begins(&run(&mut cuts, 8_000, 60_000, 40, 10_000));
        let late = made.windows(2).filter(|pair| pair[1] - pair[0] > 2_000).count();
        // Where GOPs were as long as the target before, one is waited for once.
        assert!(late <= 1 && made.len() >= 30, "{made:?}");
    }

    #[test]
    fn sound_alone_is_cut_by_time_and_never_beyond_the_target() {
        let mut cuts = Cuts::new(2000);
        cuts.fix_target();
        let mut last = None;
        for frame in 0..10_000_i64 {
            let micros = frame * 1024 * 1_000_000 / 48_000;
            if let Some(cut) = cuts.main_frame(Key::Key, micros).cut {
                if let Some(last) = last.replace(cut.micros) {
                    let length = cut.micros - last;
                    assert!((1_950_000..=2_000_000).contains(&length), "{length}");
                }
                assert!(cut.is_independent && !cut.is_discontinuity);
            }
        }
        assert!(last.unwrap() > 200_000_000);
    }

    #[test]
    fn a_break_cuts_at_once_and_a_hole_is_one() {
        let mut cuts = Cuts::new(1900);
        run(&mut cuts, 0, 3_000, 40, 2000);
        cuts.on_break();
        let cut = cuts.other_frame(3_010 * MILLI).expect("sound comes first");
        assert!(cut.is_discontinuity && cut.micros == 3_010 * MILLI);
        assert_eq!(cuts.other_frame(3_030 * MILLI), None, "once");
        assert_eq!(cuts.main_frame(Key::Key, 3_040 * MILLI).cut, None);
        cuts.fix_target();
        // Pictures are missing for 8 s.
        let cut = cuts
            .main_frame(Key::Key, 11_000 * MILLI)
            .cut
            .expect("the segment would be too long");
        assert!(cut.is_discontinuity && cut.is_independent);
    }

    #[test]
    fn without_keyframes_segments_end_all_the_same() {
        let mut cuts = Cuts::new(1900);
        let made = run(&mut cuts, 0, 100_000, 40, 1_000_000);
        let longest = limits::TARGET_MICROS_MAX / MILLI;
        assert!(made.len() >= 5 && begins(&made).windows(2).all(|pair| pair[1] - pair[0] <= longest));
        assert!(!cuts.is_stable() && cuts.target_seconds() <= 20);
    }
}
