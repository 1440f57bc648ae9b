//! Whether a media playlist that could be read is right in itself.

use std::collections::HashSet;

use super::read::{Media, Part, Segment};
use super::{Problems, What};
use crate::hls::limits::{
    DATE_ERROR_MILLIS_MAX, HOLD_BACK_TARGETS, LIVE_TARGETS, PART_PERCENT_MIN, ROUNDING_NANOS, SKIP_TARGETS,
};

pub(super) fn judge(media: &Media, problems: &mut Problems) {
    let target = media.target_seconds.saturating_mul(SECOND);
    durations(media, target, problems);
    segments(media, problems);
    dates(media, problems);
    control(media, target, problems);
    parts(media, target, problems);
    ends(media, problems);
}

fn durations(media: &Media, target: u64, problems: &mut Problems) {
    for segment in &media.segments {
        let seconds = segment.nanos.saturating_add(SECOND / 2) / SECOND;
        if seconds > media.target_seconds {
            let target = media.target_seconds;
            problems.add(segment.line, What::ExtinfRounded { seconds, target });
        } else if segment.nanos > target {
            let nanos = segment.nanos;
            problems.add(segment.line, What::ExtinfOver { nanos, target });
        }
    }
}

fn segments(media: &Media, problems: &mut Problems) {
    if media.segments.is_empty() && media.growing.is_none() && media.skipped == 0 {
        problems.add(0, What::Empty);
    }
    let mut seen = HashSet::new();
    for segment in media.segments.iter().chain(&media.growing) {
        let is_new = segment.uri.is_empty() || seen.insert((&segment.uri, segment.range));
        if !is_new && !segment.is_gap {
            problems.add(segment.line, What::UriTwice);
        }
        let uri = segment.parts.first().map_or(&segment.uri, |part| &part.uri);
        let path = uri.split(['?', '#']).next().unwrap_or("");
        let is_fragmented = [".m4s", ".mp4", ".m4v", ".m4a", ".cmfv", ".cmfa"]
            .iter()
            .any(|end| path.ends_with(end));
        if is_fragmented && segment.map.is_none() && !segment.is_gap {
            problems.add(segment.line, What::MapMissing);
        }
    }
}

/// From one segment to the next the date goes on by what the first lasts, but where time itself jumps.
fn dates(media: &Media, problems: &mut Problems) {
    let mut before: Option<&Segment> = None;
    let dated = media.segments.iter().any(|segment| segment.date_millis.is_some());
    for segment in media.segments.iter().chain(&media.growing) {
        let Some(date) = segment.date_millis else {
            if dated && segment.is_discontinuity {
                problems.add(segment.line, What::DateMissing);
            }
            before = None;
            continue;
        };
        if let Some((begun, lasted)) = before.and_then(|before| Some((before.date_millis?, before.nanos))) {
            let expected = begun.saturating_add(i64::try_from(lasted / 1_000_000).unwrap_or(i64::MAX));
            let millis = date.saturating_sub(expected);
            if date < begun {
                problems.add(segment.line, What::DateFalls { millis: date - begun });
            } else if millis.abs() > DATE_ERROR_MILLIS_MAX && !segment.is_discontinuity {
                problems.add(segment.line, What::DateDrifts { millis });
            }
        }
        before = Some(segment);
    }
}

fn control(media: &Media, target: u64, problems: &mut Problems) {
    let part_target = media.part_target;
    let Some(control) = &media.control else {
        if part_target.is_some() {
            problems.add(0, What::Missing("EXT-X-SERVER-CONTROL"));
        }
        if media.skipped > 0 {
            problems.add(media.skip_line, What::SkipUnannounced);
        }
        return;
    };
    let line = control.line;
    if media.version < 9 {
        let stated = media.version;
        problems.add(line, What::ControlVersion { stated });
    }
    let needed = HOLD_BACK_TARGETS.saturating_mul(target);
    if let Some(nanos) = control.hold_back.filter(|nanos| *nanos < needed) {
        problems.add(line, What::HoldBack { nanos, needed });
    }
    if let Some(part_target) = part_target {
        let needed = HOLD_BACK_TARGETS.saturating_mul(part_target);
        match control.part_hold_back {
            None => problems.add(line, What::AttributeMissing("PART-HOLD-BACK")),
            Some(nanos) if nanos < needed => problems.add(line, What::PartHoldBack { nanos, needed }),
            Some(_) => {}
        }
        if !control.can_block_reload {
            problems.add(line, What::NoBlockingReload);
        }
    }
    match control.skip_until {
        None if control.can_skip_dates => problems.add(line, What::AttributeMissing("CAN-SKIP-UNTIL")),
        None if media.skipped > 0 => problems.add(media.skip_line, What::SkipUnannounced),
        None => {}
        Some(nanos) => {
            let needed = SKIP_TARGETS.saturating_mul(target);
            if nanos < needed {
                problems.add(line, What::SkipBoundary { nanos, needed });
            }
            let left: u64 = media.segments.iter().map(|segment| segment.nanos).sum();
            if media.skipped > 0 && left < nanos {
                problems.add(media.skip_line, What::SkipTooMuch { nanos: left });
            }
        }
    }
}

fn parts(media: &Media, target: u64, problems: &mut Problems) {
    let all = || media.segments.iter().chain(&media.growing);
    let Some(part_target) = media.part_target else {
        if let Some(part) = all().flat_map(|segment| &segment.parts).next() {
            problems.add(part.line, What::Missing("EXT-X-PART-INF"));
        }
        return;
    };
    for segment in all() {
        of_segment(media, segment, part_target, problems);
    }
    // From the end of the list to the end of the segment looked at.
    let mut behind = media.growing_nanos();
    let near = LIVE_TARGETS.saturating_mul(target);
    for segment in media.segments.iter().rev() {
        match segment.parts.first() {
            None if behind < near && !segment.is_gap => problems.add(segment.line, What::PartsMissing),
            Some(part) if behind > near.saturating_add(ROUNDING_NANOS) => problems.add(part.line, What::PartsOld),
            _ => {}
        }
        behind = behind.saturating_add(segment.nanos);
    }
}

fn of_segment(media: &Media, segment: &Segment, target: u64, problems: &mut Problems) {
    let least = target / 100 * PART_PERCENT_MIN;
    let last = segment.parts.len().saturating_sub(1);
    for (at, part) in segment.parts.iter().enumerate() {
        let Part { nanos, .. } = *part;
        if nanos > target {
            problems.add(part.line, What::PartOver { nanos, target });
        }
        if nanos < least && at < last && !part.is_gap {
            problems.add(part.line, What::PartShort { nanos, target });
        }
    }
    let Some(first) = segment.parts.first() else { return };
    if media.is_independent && !first.is_independent && !first.is_gap {
        problems.add(first.line, What::PartDependent);
    }
    if segment.uri.is_empty() {
        return;
    }
    let sum: u64 = segment.parts.iter().map(|part| part.nanos).sum();
    let slack = ROUNDING_NANOS.saturating_mul(segment.parts.len() as u64 + 1);
    if sum.abs_diff(segment.nanos) > slack {
        let segment_nanos = segment.nanos;
        let what = What::PartsSum {
            parts: sum,
            segment: segment_nanos,
        };
        problems.add(segment.line, what);
    }
}

/// What stands at the end, and what may not behind it.
fn ends(media: &Media, problems: &mut Problems) {
    let parts = media
        .segments
        .iter()
        .chain(&media.growing)
        .flat_map(|segment| &segment.parts);
    let listed: HashSet<(&str, Option<u64>)> = parts
        .map(|part| (part.uri.as_str(), part.range.map(|(_, offset)| offset)))
        .collect();
    for hint in &media.hints {
        if listed.contains(&(hint.uri.as_str(), hint.start)) {
            problems.add(hint.line, What::HintOfThePast);
        }
        if media.is_ended {
            problems.add(hint.line, What::AfterEnd("EXT-X-PRELOAD-HINT"));
        }
    }
    for report in &media.reports {
        if media.part_target.is_some() && report.part.is_none() {
            problems.add(report.line, What::AttributeMissing("LAST-PART"));
        }
    }
    if media.is_ended {
        if let Some(growing) = &media.growing {
            problems.add(growing.line, What::AfterEnd("EXT-X-PART"));
        }
        if media.skipped > 0 {
            problems.add(media.skip_line, What::AfterEnd("EXT-X-SKIP"));
        }
    }
}

const SECOND: u64 = 1_000_000_000;
