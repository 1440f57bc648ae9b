//! Sender reports: which RTP times of two media belong together.
//!
//! A report says where an RTP time stands on the sender's clock. What that clock shows does not matter, only that it shows the
//! same for all media: two media are apart by the difference of their reports. Reports that are wrong by hours, of a clock
//! that has just been set, or of one medium only, move nothing.

use super::{Clock, Counters, Kind, Line};
use crate::media::rescale;
use crate::rtp::limits::{
    REPORT_AGE_MICROS_MAX, REPORT_AGREES_MICROS, REPORT_EXACT_MICROS, REPORT_REPEATS_MICROS, REPORT_SHIFT_MICROS_MAX,
    SILENT_SHIFT_MICROS_MAX, SLEW_MICROS_MAX,
};
use crate::rtp::receive::unwrap;
use crate::rtp::wire::rtcp::{Ntp, SenderReport};

/// Of one medium.
#[derive(Debug, Default)]
pub(super) struct Reports {
    newest: Option<Report>,
    count: u64,
    /// Has been compared with the medium that others go by.
    compared: bool,
    doubt: Option<Doubt>,
}

#[derive(Clone, Copy, Debug)]
struct Report {
    ntp: Ntp,
    rtp_time: u32,
}

/// Reports that want a medium moved, until others say the same.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    micros: i64,
    /// [`Reports::count`] of the medium and of the one that it goes by.
    counts: (u64, u64),
}

impl Reports {
    /// RTP time or the sender are others from here on.
    pub fn forget(&mut self) {
        self.newest = None;
        self.doubt = None;
    }

    /// One that came before the first packet.
    pub fn check(&mut self, timestamp: i64, clock_rate: u32, counters: &mut Counters) {
        if self
            .newest
            .is_some_and(|report| !is_near(&report, timestamp, clock_rate))
        {
            self.newest = None;
            counters.reports_refused += 1;
        }
    }
}

fn is_near(report: &Report, timestamp: i64, clock_rate: u32) -> bool {
    let age = timestamp - unwrap(report.rtp_time, timestamp);
    rescale(age, clock_rate, 1_000_000).abs() <= REPORT_AGE_MICROS_MAX
}

impl Clock {
    /// A sender report of the source that a medium comes from. True if media were moved so far that it is a jump of time.
    pub fn report(&mut self, at: usize, report: &SenderReport) -> bool {
        let line = &mut self.lines[at];
        let newest = Report {
            ntp: report.ntp,
            rtp_time: report.rtp_time,
        };
        let is_wrong = line
            .place
            .is_some_and(|place| !is_near(&newest, place.timestamp, line.clock_rate));
        // Zero is: no clock (6.4.1).
        if report.ntp.0 == 0 || is_wrong {
            self.counters.reports_refused += 1;
            return false;
        }
        line.reports.newest = Some(newest);
        line.reports.count += 1;
        self.compare_from(at)
    }

    /// Stream time and time since 1970 of the newest report, in µs, of a sender that knows the date.
    pub fn wall_clock(&self) -> Option<(i64, i64)> {
        let line = &self.lines[self.reference()?];
        let (stream, ntp) = line.reported()?;
        let unix = ntp.unix_micros();
        (unix >= YEAR_2000_MICROS).then_some((stream, unix))
    }

    /// Medium `at` has something new to compare.
    pub(super) fn compare_from(&mut self, at: usize) -> bool {
        let Some(reference) = self.reference() else {
            return false;
        };
        if at != reference {
            return self.compare(at, reference);
        }
        let mut jumped = false;
        for other in 0..self.lines.len() {
            if other != reference {
                jumped |= self.compare(other, reference);
            }
        }
        jumped
    }

    /// The medium that others go by: sound, which is counted and cannot be shifted unheard.
    fn reference(&self) -> Option<usize> {
        let has = |kind: Option<Kind>| {
            self.lines
                .iter()
                .position(|line| line.reported().is_some() && kind.is_none_or(|kind| line.kind == kind))
        };
        has(Some(Kind::Audio)).or_else(|| has(None))
    }

    fn compare(&mut self, at: usize, reference: usize) -> bool {
        let (line, other) = (&self.lines[at], &self.lines[reference]);
        let (Some((stream, ntp)), Some((stream_other, ntp_other))) = (line.reported(), other.reported()) else {
            return false;
        };
        let (line_has_begun, other_has_begun) = (line.frames.has_begun(), other.frames.has_begun());
        let counts = (line.reports.count, other.reports.count);
        let micros = (stream_other - ntp_other.micros()) - (stream - ntp.micros());
        // Once, and where nobody sees it, they are put together exactly.
        let is_free = !line_has_begun || !other_has_begun || line.kind == Kind::Video;
        let reports = &mut self.lines[at].reports;
        let agrees = if is_free && !reports.compared {
            REPORT_EXACT_MICROS
        } else {
            REPORT_AGREES_MICROS
        };
        if micros.abs() <= agrees {
            (reports.compared, reports.doubt) = (true, None);
            return false;
        }
        if micros.abs() > REPORT_SHIFT_MICROS_MAX {
            reports.doubt = None;
            self.counters.reports_refused += 1;
            return false;
        }
        if !std::mem::replace(&mut reports.compared, true) {
            if line_has_begun && !other_has_begun {
                self.counters.reports_applied += 1;
                self.lines[reference].move_by(-micros);
                return false;
            }
            return self.shift(at, micros);
        }
        let doubt = *reports.doubt.get_or_insert(Doubt { micros, counts });
        if counts.0 <= doubt.counts.0 || counts.1 <= doubt.counts.1 {
            return false;
        }
        if (doubt.micros - micros).abs() > REPORT_REPEATS_MICROS {
            reports.doubt = Some(Doubt { micros, counts });
            return false;
        }
        reports.doubt = None;
        self.shift(at, std::cmp::min_by_key(micros, doubt.micros, |micros| micros.abs()))
    }

    /// Moves a medium against the others. True if that is a jump of time.
    fn shift(&mut self, at: usize, micros: i64) -> bool {
        self.counters.reports_applied += 1;
        let line = &mut self.lines[at];
        if !line.frames.has_begun() {
            line.move_by(micros);
            return false;
        }
        if line.kind == Kind::Video && micros.abs() <= SLEW_MICROS_MAX {
            line.frames.slew += micros;
            return false;
        }
        if micros > 0 {
            line.move_by(micros);
        } else {
            // Nothing goes back: all others go forward.
            for (other, line) in self.lines.iter_mut().enumerate() {
                if other != at {
                    line.move_by(-micros);
                }
            }
            self.origin = self.origin.map(|origin| origin + micros);
        }
        micros.abs() > SILENT_SHIFT_MICROS_MAX
    }
}

impl Line {
    /// Stream time of the newest report, and what the sender's clock was then.
    fn reported(&self) -> Option<(i64, Ntp)> {
        let (place, report) = (self.place?, self.reports.newest?);
        let timestamp = unwrap(report.rtp_time, place.timestamp);
        let micros = rescale(timestamp, self.clock_rate, 1_000_000);
        Some((micros + place.shift + self.frames.slew, report.ntp))
    }

    fn move_by(&mut self, micros: i64) {
        for place in [&mut self.place, &mut self.previous].into_iter().flatten() {
            place.shift += micros;
        }
        self.frames.recount();
    }
}

/// A sender's clock that shows less has never been set.
const YEAR_2000_MICROS: i64 = 946_684_800_000_000;
