//! The reloads of one media playlist: what may change, and when (6.2.1, 6.2.2, 6.2.5.1).

use super::read::{Media, Part, Segment, read};
use super::{Problem, Problems, What, judge, read_media};
use crate::hls::limits::{LIVE_TARGETS, ROUNDING_NANOS, UPDATE_PERCENT_MAX};

/// Sees the same playlist again and again, in the order in which it was fetched.
#[derive(Debug, Default)]
pub struct Watcher {
    seen: Option<Seen>,
}

#[derive(Debug)]
struct Seen {
    media: Media,
    /// When its newest segment was seen first.
    renewed_millis: u64,
    is_late: bool,
}

impl Watcher {
    pub fn new() -> Self {
        Self::default()
    }

    /// What is wrong with this text, or with its following the one before. Delta updates are completed from that one.
    pub fn see(&mut self, now_millis: u64, text: &str) -> Vec<Problem> {
        let mut problems = Problems::default();
        let mut media = read(text, &mut problems);
        judge::judge(&media, &mut problems);
        if media.skipped > 0 {
            complete(&mut media, self.media(), &mut problems);
        }
        let Some(before) = self.seen.take() else {
            self.seen = Some(Seen {
                media,
                renewed_millis: now_millis,
                is_late: false,
            });
            return problems.found;
        };
        follows(&before.media, &media, &mut problems);
        let last = |media: &Media| media.segments.last().map(|segment| segment.number);
        let mut seen = Seen { media, ..before };
        if last(&seen.media) > last(&before.media) {
            (seen.renewed_millis, seen.is_late) = (now_millis, false);
        }
        let waited = now_millis.saturating_sub(seen.renewed_millis);
        let patience = seen.media.target_seconds.saturating_mul(10 * UPDATE_PERCENT_MAX);
        if waited > patience && !seen.is_late && !seen.media.is_ended {
            seen.is_late = true;
            problems.add(0, What::UpdateLate { millis: waited });
        }
        self.seen = Some(seen);
        problems.found
    }

    /// As it was seen last, whole.
    pub fn media(&self) -> Option<&Media> {
        self.seen.as_ref().map(|seen| &seen.media)
    }
}

/// Whether `delta`, on top of `before`, says what `full` does.
pub fn check_delta(before: &str, delta: &str, full: &str) -> Vec<Problem> {
    let mut problems = Problems::default();
    let (base, _) = read_media(before);
    let (full, _) = read_media(full);
    let mut media = read(delta, &mut problems);
    judge::judge(&media, &mut problems);
    if media.skipped > 0 {
        complete(&mut media, Some(&base), &mut problems);
    }
    let numbers = |media: &Media| (media.sequence, media.segments.len(), media.discontinuity_sequence);
    let heads = |media: &Media| {
        let Media {
            version,
            target_seconds,
            control,
            part_target,
            is_independent,
            is_ended,
            ..
        } = media.clone();
        let control = control.map(|control| super::Control { line: 0, ..control });
        (version, target_seconds, control, part_target, is_independent, is_ended)
    };
    if numbers(&media) != numbers(&full) {
        problems.add(0, What::DeltaDiffers { field: "segments" });
    }
    if heads(&media) != heads(&full) {
        problems.add(0, What::DeltaDiffers { field: "head" });
    }
    for (ours, theirs) in media.segments.iter().zip(&full.segments) {
        // What was skipped is what was seen before, with the parts of that time.
        let is_skipped = ours.number < media.sequence.saturating_add(media.skipped);
        let field = changed(ours, theirs).or_else(|| (!is_skipped && !same_parts(ours, theirs)).then_some("parts"));
        if let Some(field) = field {
            problems.add(ours.line, What::DeltaDiffers { field });
        }
    }
    let tails = |media: &Media| {
        let growing = media
            .growing
            .as_ref()
            .map(|growing| (growing.number, bare(&growing.parts)));
        let hints: Vec<_> = media.hints.iter().map(|hint| (hint.uri.clone(), hint.start)).collect();
        let reports = media
            .reports
            .iter()
            .map(|report| (report.uri.clone(), report.msn, report.part));
        (growing, hints, reports.collect::<Vec<_>>())
    };
    if tails(&media) != tails(&full) {
        problems.add(0, What::DeltaDiffers { field: "end" });
    }
    problems.found
}

/// Whether the rendition reports in `text` are those of `siblings`: each URI as the report has it, with that playlist's text
/// of the same moment.
pub fn check_reports(text: &str, siblings: &[(&str, &str)]) -> Vec<Problem> {
    let mut problems = Problems::default();
    let (media, _) = read_media(text);
    for report in &media.reports {
        let Some((_, sibling)) = siblings.iter().find(|(uri, _)| *uri == report.uri) else {
            problems.add(report.line, What::ReportUnknown);
            continue;
        };
        let newest = read_media(sibling).0.newest();
        if newest != Some((report.msn, report.part)) {
            let (msn, part) = newest.unwrap_or_default();
            let part = part.unwrap_or(u64::MAX);
            problems.add(report.line, What::ReportUntrue { msn, part });
        }
    }
    let is_reported = |uri: &str| media.reports.iter().any(|report| report.uri == uri);
    if siblings.iter().any(|(uri, _)| !is_reported(uri)) {
        problems.add(0, What::ReportMissing);
    }
    problems.found
}

/// Puts in place of what a delta update skips what was there before.
fn complete(delta: &mut Media, before: Option<&Media>, problems: &mut Problems) {
    let first = delta.sequence;
    let until = first.saturating_add(delta.skipped);
    let known = before.map_or(&[][..], |before| &before.segments);
    let mut segments: Vec<Segment> = known
        .iter()
        .filter(|segment| (first..until).contains(&segment.number))
        .cloned()
        .collect();
    if segments.len() as u64 != delta.skipped {
        problems.add(delta.skip_line, What::DeltaOfNothing);
    }
    let map = segments.last().and_then(|segment| segment.map.clone());
    for segment in delta.segments.iter_mut().chain(&mut delta.growing) {
        segment.map = segment.map.take().or(map.clone());
    }
    segments.append(&mut delta.segments);
    delta.segments = segments;
}

fn follows(before: &Media, now: &Media, problems: &mut Problems) {
    let (from, to) = (before.sequence, now.sequence);
    if to < from {
        problems.add(0, What::SequenceFalls { from, to });
        return;
    }
    if before.is_ended && !now.is_ended {
        problems.add(0, What::EndTakenBack);
    }
    let (from, to) = (before.target_seconds, now.target_seconds);
    if from != to {
        problems.add(0, What::TargetChanged { from, to });
    }
    if let (Some(from), Some(to)) = (before.part_target, now.part_target)
        && from != to
    {
        problems.add(0, What::PartTargetChanged { from, to });
    }
    removed(before, now, problems);
    kept(before, now, problems);
    grown(before, now, problems);
    if before.is_ended && last_number(before) != last_number(now) {
        problems.add(0, What::ChangedAfterEnd);
    }
}

fn last_number(media: &Media) -> Option<u64> {
    media.segments.last().map(|segment| segment.number)
}

fn removed(before: &Media, now: &Media, problems: &mut Problems) {
    let count = now.sequence - before.sequence;
    let gone = before
        .segments
        .iter()
        .take_while(|segment| segment.number < now.sequence);
    let discontinuities = gone.filter(|segment| segment.is_discontinuity).count() as u64;
    let expected = before.discontinuity_sequence.saturating_add(discontinuities);
    let found = now.discontinuity_sequence;
    // Of what was never seen nothing is known.
    let is_known = count <= before.segments.len() as u64;
    if found < expected || (is_known && found != expected) {
        problems.add(0, What::DiscontinuitySequence { expected, found });
    }
    if !is_known {
        let (from, to) = (before.sequence, now.sequence);
        problems.add(0, What::SequenceLeaps { from, to });
    }
    if count == 0 {
        return;
    }
    if before.playlist_type.is_some() {
        problems.add(0, What::RemovedFromEvent);
    }
    let nanos = now.nanos();
    let least = LIVE_TARGETS
        .saturating_mul(now.target_seconds)
        .saturating_mul(1_000_000_000);
    if nanos.saturating_add(ROUNDING_NANOS * now.segments.len() as u64) < least && !now.is_ended {
        problems.add(0, What::RemovedTooMuch { nanos });
    }
}

/// Segments that both list are the same; none is missing but from the front.
fn kept(before: &Media, now: &Media, problems: &mut Problems) {
    let first = now.sequence;
    for old in before.segments.iter().filter(|segment| segment.number >= first) {
        let number = old.number;
        let at = usize::try_from(number - first).unwrap_or(usize::MAX);
        let Some(new) = now.segments.get(at) else {
            problems.add(0, What::SegmentGone { number });
            return;
        };
        if let Some(field) = changed(old, new) {
            problems.add(new.line, What::SegmentChanged { number, field });
        }
        // Parts leave a segment all at once.
        if !new.parts.is_empty() && !old.parts.is_empty() && !same_parts(old, new) {
            problems.add(new.line, What::PartChanged { number, index: 0 });
        }
    }
}

/// What was growing has gone on as it began, and as it was hinted.
fn grown(before: &Media, now: &Media, problems: &mut Problems) {
    let of = |number: u64| {
        now.segments
            .iter()
            .chain(&now.growing)
            .find(|segment| segment.number == number)
    };
    let (mut next, mut index) = (last_number(before).map_or(before.sequence, |last| last + 1), 0);
    if let Some(old) = &before.growing {
        let number = old.number;
        match of(number) {
            None if now.sequence > number => {}
            None => problems.add(0, What::PartGone { number }),
            Some(new) if new.parts.is_empty() => {}
            Some(new) => {
                let pairs = old.parts.iter().zip(&new.parts);
                let differs = pairs.enumerate().find(|(_, (old, new))| !same_part(old, new));
                if let Some((index, _)) = differs {
                    problems.add(new.line, What::PartChanged { number, index });
                }
                if new.parts.len() < old.parts.len() {
                    problems.add(new.line, What::PartGone { number });
                }
            }
        }
        (next, index) = (number, old.parts.len());
    }
    let Some(hint) = before.hints.iter().find(|hint| hint.kind == "PART") else {
        return;
    };
    let mut came = of(next).and_then(|segment| segment.parts.get(index));
    // The segment ended without one more: then it was the first of the next that was hinted.
    if came.is_none() && last_number(now) >= Some(next) && index > 0 {
        came = of(next + 1).and_then(|segment| segment.parts.first());
    }
    if let Some(part) = came {
        let start = part.range.map(|(_, offset)| offset);
        if part.uri != hint.uri || start != hint.start {
            problems.add(part.line, What::HintUntrue);
        }
    }
}

/// The name of what differs, but for lines and parts.
fn changed(old: &Segment, new: &Segment) -> Option<&'static str> {
    [
        ("number", old.number != new.number),
        ("URI", old.uri != new.uri),
        ("EXTINF", old.nanos != new.nanos),
        ("EXT-X-DISCONTINUITY", old.is_discontinuity != new.is_discontinuity),
        ("EXT-X-GAP", old.is_gap != new.is_gap),
        ("EXT-X-PROGRAM-DATE-TIME", old.date_millis != new.date_millis),
        ("EXT-X-MAP", old.map != new.map),
        ("EXT-X-BYTERANGE", old.range != new.range),
    ]
    .into_iter()
    .find_map(|(field, differs)| differs.then_some(field))
}

fn same_part(old: &Part, new: &Part) -> bool {
    Part { line: 0, ..old.clone() } == Part { line: 0, ..new.clone() }
}

fn same_parts(old: &Segment, new: &Segment) -> bool {
    bare(&old.parts) == bare(&new.parts)
}

fn bare(parts: &[Part]) -> Vec<Part> {
    parts
        .iter()
        .map(|part| Part {
            line: 0,
            ..part.clone()
        })
        .collect()
}
