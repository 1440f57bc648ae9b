//! The rules for what changes from one text of a presentation to the next (5.4).

use std::collections::BTreeMap;

use super::read::{Addressing, Listed, Mpd, Period, Representation};
use super::{Report, What, judged};

/// Given each text of one presentation in the order in which they were fetched; judges it by itself and against what was
/// before. Remembers the newest text, and of Periods that have left it where they were.
#[derive(Debug, Default)]
pub struct Watcher {
    before: Option<Mpd>,
    starts: BTreeMap<String, i64>,
}

type Said = fn(&Representation) -> &str;

/// What stays of a Representation. What else is said of it may grow more exact.
const KEPT: [(&str, Said); 3] = [
    ("mimeType", |representation| &representation.mime),
    ("codecs", |representation| &representation.codecs),
    ("initialization", |representation| &representation.init),
];

impl Watcher {
    pub fn new() -> Self {
        Self::default()
    }

    /// `now_micros`: when it was fetched, by the clock of its server.
    pub fn push(&mut self, text: &str, now_micros: i64) -> Report {
        let (mut report, mpd) = judged(text, now_micros);
        let Some(mpd) = mpd else { return report };
        if let Some(before) = &self.before {
            changes(before, &mpd, &mut report);
        }
        for period in &mpd.periods {
            let Some(id) = period.id.clone() else { continue };
            let (to, from) = (period.start, *self.starts.entry(id.clone()).or_insert(period.start));
            if from != to {
                report.problem("MPD", What::PeriodMoved { id, from, to });
            }
        }
        self.before = Some(mpd);
        report
    }
}

fn changes(before: &Mpd, mpd: &Mpd, report: &mut Report) {
    if let (Some(from), Some(to)) = (before.start, mpd.start)
        && from != to
    {
        report.problem("MPD", What::StartChanged { from, to });
    }
    if let (Some(from), Some(to)) = (before.published, mpd.published) {
        let is_other = before.periods != mpd.periods || before.is_dynamic != mpd.is_dynamic;
        if to < from || (to == from && is_other) {
            report.problem("MPD", What::PublishedBefore { from, to });
        }
    }
    if mpd.is_dynamic && !before.is_dynamic {
        report.problem("MPD", What::Reborn);
    }
    let first = mpd.periods.first().map_or(i64::MAX, |first| first.start);
    for period in &before.periods {
        let id = period.id.clone().unwrap_or_default();
        match mpd.periods.iter().find(|other| other.id == period.id) {
            Some(same) => within(period, same, mpd, report),
            None if period.start >= first => report.problem("MPD", What::PeriodGone { id }),
            None => {}
        }
    }
}

fn within(before: &Period, period: &Period, mpd: &Mpd, report: &mut Report) {
    let lines = |period: &'_ Period| -> Vec<Representation> {
        period.sets.iter().flat_map(|set| set.representations.clone()).collect()
    };
    let now = lines(period);
    let then = lines(before);
    for new in now.iter().filter(|new| then.iter().all(|old| old.id != new.id)) {
        let id = new.id.clone();
        report.problem(&new.place, What::RepresentationJoined { id });
    }
    for old in then {
        let id = old.id.clone();
        let Some(new) = now.iter().find(|new| new.id == old.id) else {
            // When all of it has left the window, it is no more.
            let is_oldest = mpd.periods.first().is_some_and(|first| first.start == period.start);
            if !is_oldest || mpd.periods.len() == 1 {
                report.problem(&old.place, What::RepresentationGone { id });
            }
            continue;
        };
        for (attribute, of) in KEPT {
            if of(&old) != of(new) {
                let (id, from, to) = (id.clone(), of(&old).to_owned(), of(new).to_owned());
                let what = What::RepresentationChanged {
                    id,
                    attribute,
                    from,
                    to,
                };
                report.problem(&new.place, what);
            }
        }
        if (old.offset, before.start) != (new.offset, period.start) {
            let (offset, other) = (new.offset, old.offset);
            report.problem(&new.place, What::TimeOffset { offset, other });
        }
        segments(&old, new, report);
    }
}

fn segments(old: &Representation, new: &Representation, report: &mut Report) {
    let (before, listed) = match (&old.addressing, &new.addressing) {
        (Addressing::Timeline(before), Addressing::Timeline(listed)) => (before, listed),
        (
            Addressing::Duration { first, each, .. },
            Addressing::Duration {
                first: to, each: other, ..
            },
        ) => {
            if (first, each) != (to, other) {
                let (from, to) = ((*first, *each), (*to, *other));
                report.problem(&new.place, What::SegmentChanged { time: 0, from, to });
            }
            return;
        }
        _ => return,
    };
    let is_numbered = |of: &Representation| of.media.contains("$Number");
    let counts = is_numbered(old) && is_numbered(new);
    let (Some(oldest), Some(newest)) = (listed.first(), before.last()) else {
        return;
    };
    let known = |of: &[Listed], time: i64| of.binary_search_by_key(&time, |segment| segment.time).ok();
    for (at, segment) in before
        .iter()
        .enumerate()
        .filter(|(_, segment)| segment.time >= oldest.time)
    {
        let time = segment.time;
        let Some(same) = known(listed, time).map(|at| listed[at]) else {
            report.problem(&new.place, What::SegmentGone { time });
            continue;
        };
        let may_change = !old.is_complete && at + 1 == before.len();
        let is_same = (same.duration == segment.duration || may_change) && (!counts || same.number == segment.number);
        if !is_same {
            let (from, to) = ((segment.number, segment.duration), (same.number, same.duration));
            report.problem(&new.place, What::SegmentChanged { time, from, to });
        }
    }
    for segment in listed.iter().filter(|segment| segment.time < newest.time) {
        if known(before, segment.time).is_none() {
            report.problem(&new.place, What::SegmentInserted { time: segment.time });
        }
    }
    // All of them older than what is listed now is a window that was left between two looks; all newer is a step back.
    if listed.last().is_some_and(|last| last.time < newest.time) {
        report.problem(&new.place, What::SegmentGone { time: newest.time });
    }
}
