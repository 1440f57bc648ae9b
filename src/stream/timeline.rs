//! A stream's own time: a publisher's times, shifted so that decode time never falls over breaks (DESIGN.md 4.1).
//!
//! The first publisher's times are taken as they are. A publisher that comes after another goes on at the last decode
//! time and one frame, or as much later as the pictures decoded before it take to be shown. A jump backwards is closed
//! the same way; a jump forwards is left, it is a fact of the stream.

use penstock_proto::media::rescale;

/// Owned by the stream.
#[derive(Debug, Default)]
pub struct Timeline {
    /// Added to every time of the present publisher, µs.
    shift_micros: i64,
    last: Vec<Last>,
    /// Where tracks that are gone would have gone on, µs.
    past_end_micros: Option<i64>,
    /// Where what follows the last picture shown would be shown, µs. With B-frames it is behind the last decode time.
    shown_until_micros: Option<i64>,
    rebase: Rebase,
}

#[derive(Debug)]
struct Last {
    track: u32,
    timescale: u32,
    dts: i64,
    /// Ticks to the frame before, as a guess at the frame's length.
    length: i64,
}

impl Last {
    /// A gap before the last frame is no guess at its length.
    fn believed_length(&self) -> i64 {
        self.length.min(i64::from(self.timescale) / 5)
    }
}

/// What the next frame does to the shift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rebase {
    #[default]
    No,
    /// Time may not fall, but may have jumped forward.
    AfterJump,
}

impl Timeline {
    /// Another publisher begins; its earliest frame is at `first_micros` of its own time.
    pub fn begin(&mut self, first_micros: i64) {
        if let Some(end) = self.end_micros() {
            self.shift_micros = end - first_micros;
        }
        self.rebase = Rebase::No;
    }

    /// Only tracks that `is_kept` will have frames; the others have had their last.
    pub fn keep(&mut self, is_kept: impl Fn(u32) -> bool) {
        if self.last.iter().any(|last| !is_kept(last.track)) {
            self.past_end_micros = self.end_micros();
            self.last.retain(|last| is_kept(last.track));
        }
    }

    /// How far behind the end of decoding something is still to be shown, µs: as much later the first picture of the
    /// next publisher has to be shown.
    pub fn shown_ahead_micros(&self) -> i64 {
        let until = self.shown_until_micros.zip(self.end_micros());
        until.map_or(0, |(shown, end)| (shown - end).max(0))
    }

    /// The frame that was mapped last, to `dts`, is shown `offset` ticks later.
    pub fn shown(&mut self, track: u32, timescale: u32, dts: i64, offset: i32) {
        let Some(last) = self.last.iter().find(|last| last.track == track) else {
            return;
        };
        let until = dts
            .saturating_add(i64::from(offset))
            .saturating_add(last.believed_length());
        let until = rescale(until, timescale, 1_000_000);
        self.shown_until_micros = Some(self.shown_until_micros.map_or(until, |known| known.max(until)));
    }

    /// The publisher's time jumped before the next frame.
    pub fn jumped(&mut self) {
        self.rebase = Rebase::AfterJump;
    }

    /// The stream's decode time of a frame, in the track's timescale.
    pub fn map(&mut self, track: u32, timescale: u32, dts: i64) -> i64 {
        if self.rebase == Rebase::AfterJump {
            self.rebase = Rebase::No;
            let micros = rescale(dts, timescale, 1_000_000);
            if let Some(end) = self.end_micros().filter(|end| micros + self.shift_micros < *end) {
                self.shift_micros = end - micros;
            }
        }
        let mapped = dts.saturating_add(rescale(self.shift_micros, 1_000_000, timescale));
        match self
            .last
            .iter_mut()
            .find(|last| last.track == track && last.timescale == timescale)
        {
            Some(last) => {
                let mapped = mapped.max(last.dts + 1);
                last.length = mapped - last.dts;
                last.dts = mapped;
                mapped
            }
            None => {
                self.last.retain(|last| last.track != track);
                self.last.push(Last {
                    track,
                    timescale,
                    dts: mapped,
                    length: i64::from(timescale) / 50,
                });
                mapped
            }
        }
    }

    /// Where the next frame after a break would begin, µs.
    fn end_micros(&self) -> Option<i64> {
        let end = |last: &Last| rescale(last.dts + last.believed_length(), last.timescale, 1_000_000);
        self.last.iter().map(end).chain(self.past_end_micros).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_publisher_keeps_its_start_value() {
        let mut timeline = Timeline::default();
        timeline.begin(5_000_000);
        assert_eq!(timeline.map(1, 90_000, 450_000), 450_000);
    }

    #[test]
    fn the_next_publisher_goes_on_one_frame_later() {
        let mut timeline = Timeline::default();
        timeline.begin(0);
        for frame in 0..10 {
            timeline.map(1, 90_000, frame * 3600);
        }
        timeline.begin(777_000_000);
        assert_eq!(timeline.map(1, 90_000, 777 * 90_000), 36_000);
        assert_eq!(timeline.map(1, 90_000, 777 * 90_000 + 3600), 39_600);
    }

    #[test]
    fn a_track_that_is_gone_leaves_where_it_ended() {
        let mut timeline = Timeline::default();
        timeline.begin(0);
        timeline.map(1, 1000, 0);
        timeline.map(1, 1000, 40);
        timeline.map(2, 1000, 5000);
        timeline.keep(|track| track == 1);
        assert_eq!(timeline.last.len(), 1);
        timeline.begin(0);
        assert_eq!(timeline.map(1, 1000, 0), 5020);
    }

    #[test]
    fn what_is_decoded_early_is_shown_before_the_next_publisher() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.shown_ahead_micros(), 0);
        timeline.begin(0);
        for (frame, offset) in [(0, 40), (1, 120), (2, 0)] {
            let dts = timeline.map(1, 1000, frame * 40);
            timeline.shown(1, 1000, dts, offset);
        }
        // Decoded at 40, shown at 160 for 40 ms; decoding ends at 120.
        assert_eq!(timeline.shown_ahead_micros(), 80_000);
    }

    #[test]
    fn time_never_falls_and_a_jump_forward_stays() {
        let mut timeline = Timeline::default();
        timeline.begin(0);
        timeline.map(1, 1000, 0);
        timeline.map(1, 1000, 40);
        assert_eq!(timeline.map(1, 1000, 40), 41, "an equal time is nudged");
        timeline.jumped();
        assert_eq!(timeline.map(1, 1000, 60_000), 60_000);
        timeline.jumped();
        let after = timeline.map(1, 1000, 100);
        assert!((60_001..60_300).contains(&after), "{after}");
        assert_eq!(timeline.map(1, 1000, 140), after + 40);
    }
}
