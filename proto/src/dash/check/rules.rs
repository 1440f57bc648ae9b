//! The rules for one text by itself.

use std::collections::BTreeSet;

use super::super::limits::{CHECK_EDGE_SEGMENTS, CHECK_EDGE_SLACK_MILLIS};
use super::read::{Addressing, Listed, Mpd, Period, Representation, Set};
use super::{Report, What};

const SLACK_MICROS: i64 = CHECK_EDGE_SLACK_MILLIS * 1000;
/// Rounding of a time to whole ticks of 1 ms, at both ends.
const ROUNDING_MICROS: i64 = 2_000;
/// Schemes of UTCTiming that players read (5.8.4.11): dash.js and Shaka.
const CLOCKS: [&str; 5] = [
    "urn:mpeg:dash:utc:http-xsdate:2014",
    "urn:mpeg:dash:utc:http-iso:2014",
    "urn:mpeg:dash:utc:http-head:2014",
    "urn:mpeg:dash:utc:direct:2014",
    "urn:mpeg:dash:utc:http-ntp:2014",
];

pub(super) fn judge(mpd: &Mpd, now: i64, report: &mut Report) {
    let mut say = |what| report.problem("MPD", what);
    if !mpd
        .profiles
        .split(',')
        .any(|one| one.trim() == "urn:mpeg:dash:profile:isoff-live:2011")
    {
        let profiles = mpd.profiles.clone();
        say(What::Profile { profiles });
    }
    match mpd.is_dynamic {
        true => dynamic(mpd, now, &mut say),
        false => fixed(mpd, &mut say),
    }
    if mpd.periods.is_empty() {
        say(What::NoPeriod);
    }
    let mut ids = BTreeSet::new();
    for (at, period) in mpd.periods.iter().enumerate() {
        let place = format!("MPD / Period {}", period.id.as_deref().unwrap_or("?"));
        match &period.id {
            // Without it an update cannot tell which is which (5.3.2.2).
            None if mpd.is_dynamic => report.problem(&place, What::Missing { attribute: "id" }),
            Some(id) if !ids.insert(id.clone()) => report.problem(&place, What::DuplicateId { id: id.clone() }),
            _ => {}
        }
        let next = mpd.periods.get(at + 1);
        if let Some(next) = next {
            let (start, before) = (next.start, period.start);
            if start <= before {
                report.problem(&place, What::PeriodStart { start, before });
            }
            let end = period.start + period.duration.unwrap_or(0);
            if end > next.start {
                let next = next.start;
                report.problem(&place, What::PeriodEnd { end, next });
            }
        }
        let said = period.duration.map(|duration| period.start + duration);
        let end = next
            .map(|next| next.start)
            .or(said)
            .or(mpd.total.filter(|_| !mpd.is_dynamic));
        judge_period(mpd, period, end, &place, report);
    }
    if let Some(total) = mpd.total {
        ends(mpd, total, report);
    }
    if mpd.is_dynamic {
        edge(mpd, now, report);
    }
}

fn dynamic(mpd: &Mpd, now: i64, say: &mut impl FnMut(What)) {
    let required = [
        ("availabilityStartTime", mpd.start.is_some()),
        ("publishTime", mpd.published.is_some()),
        ("timeShiftBufferDepth", mpd.window.is_some()),
        (
            "minimumUpdatePeriod",
            mpd.update_period.is_some() || mpd.total.is_some(),
        ),
    ];
    for (attribute, _) in required.into_iter().filter(|(_, is_there)| !is_there) {
        say(What::Missing { attribute });
    }
    if let Some(published) = mpd.published {
        if published > now + SLACK_MICROS {
            say(What::Published { published, now });
        }
        if let Some(start) = mpd.start.filter(|start| *start > published) {
            say(What::Published { published, now: start });
        }
    }
    if let (Some(delay), Some(window)) = (mpd.delay, mpd.window)
        && delay > window
    {
        say(What::Delay { delay, window });
    }
    if mpd.clocks.is_empty() {
        say(What::Clock { scheme: String::new() });
    }
    for scheme in mpd.clocks.iter().filter(|scheme| !CLOCKS.contains(&scheme.as_str())) {
        say(What::Clock { scheme: scheme.clone() });
    }
}

fn fixed(mpd: &Mpd, say: &mut impl FnMut(What)) {
    let forbidden = [
        ("minimumUpdatePeriod", mpd.update_period.is_some()),
        ("timeShiftBufferDepth", mpd.window.is_some()),
        ("suggestedPresentationDelay", mpd.delay.is_some()),
    ];
    for (attribute, _) in forbidden.into_iter().filter(|(_, is_there)| *is_there) {
        say(What::Forbidden { attribute });
    }
    let has_end = mpd.periods.last().is_some_and(|last| last.duration.is_some());
    if mpd.total.is_none() && !has_end {
        let attribute = "mediaPresentationDuration";
        say(What::Missing { attribute });
    }
}

fn judge_period(mpd: &Mpd, period: &Period, end: Option<i64>, place: &str, report: &mut Report) {
    if period.sets.is_empty() {
        report.problem(place, What::NoAdaptationSet);
    }
    let mut ids = BTreeSet::new();
    let mut sets = BTreeSet::new();
    let mut offset = None;
    for set in &period.sets {
        if let Some(id) = set.id.as_ref().filter(|id| !sets.insert(id.as_str())) {
            report.problem(place, What::DuplicateId { id: id.clone() });
        }
        if set.representations.is_empty() {
            report.problem(place, What::NoRepresentation);
        }
        for representation in &set.representations {
            report.representations += 1;
            let id = representation.id.clone();
            if !ids.insert(id.clone()) {
                report.problem(&representation.place, What::DuplicateId { id });
            }
            let other = *offset.get_or_insert(representation.offset);
            if (representation.offset - other).abs() > ROUNDING_MICROS {
                let offset = representation.offset;
                report.problem(&representation.place, What::TimeOffset { offset, other });
            }
            judge_representation(mpd, representation, report);
            match &representation.addressing {
                Addressing::Timeline(listed) => {
                    timeline(mpd, period, end, representation, listed, report);
                }
                Addressing::Duration { first, last, each } => {
                    if *each <= 0 {
                        report.problem(&representation.place, What::ZeroDuration { time: period.start });
                    }
                    if last.is_some_and(|last| last < *first) {
                        report.problem(&representation.place, What::NoSegments);
                    }
                    too_long(mpd, *each, &representation.place, report);
                }
                Addressing::None => {}
            }
        }
        aligned(set, report);
    }
}

fn judge_representation(mpd: &Mpd, representation: &Representation, report: &mut Report) {
    let mut say = |what| report.problem(&representation.place, what);
    if representation.bandwidth == 0 {
        say(What::Bandwidth { value: 0 });
    }
    codecs(representation, &mut say);
    template(representation, &mut say);
    let offset = representation.availability_offset;
    let says = match &representation.addressing {
        _ if offset < 0.0 => Some("is negative"),
        _ if offset > 0.0 && !mpd.is_dynamic => Some("has no meaning when all is there"),
        _ if representation.is_complete && offset > 0.0 => Some("promises whole segments before they end"),
        _ if !representation.is_complete && offset == 0.0 => Some("is missing, and segments are said to be incomplete"),
        Addressing::Duration { each, .. } if offset * 1e6 >= *each as f64 => Some("is not shorter than a segment"),
        Addressing::Timeline(listed)
            if listed
                .last()
                .is_some_and(|last| offset * 1e6 >= last.duration as f64 + SLACK_MICROS as f64) =>
        {
            Some("is not shorter than a segment")
        }
        _ => None,
    };
    if let Some(says) = says {
        say(What::AvailabilityOffset { offset, says });
    }
}

/// RFC 6381 names of the codecs that CMAF carries here, by what the type says it is.
fn codecs(representation: &Representation, say: &mut impl FnMut(What)) {
    const VIDEO: [&str; 8] = ["avc1.", "avc3.", "hvc1.", "hev1.", "av01.", "vp09.", "vp08", "dvh1."];
    const AUDIO: [&str; 8] = ["mp4a.", "opus", "Opus", "flac", "fLaC", "ac-3", "ec-3", "ac-4"];
    let known: &[&str] = match representation.mime.as_str() {
        "video/mp4" => &VIDEO,
        "audio/mp4" => &AUDIO,
        _ => &[],
    };
    let codecs = representation.codecs.as_str();
    let is_known = !codecs.contains([' ', ',']) && known.iter().any(|known| codecs.starts_with(known));
    // avc1 has three bytes of hex behind it.
    let is_whole =
        !codecs.starts_with("avc1.") || codecs.len() == 11 && codecs[5..].bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_known || !is_whole {
        say(What::Codecs {
            codecs: codecs.to_owned(),
            mime: representation.mime.clone(),
        });
    }
}

/// 5.3.9.4.4: identifiers are those known, `$$` is a dollar, and each segment has a URL of its own.
fn template(representation: &Representation, say: &mut impl FnMut(What)) {
    let is_counted = matches!(representation.addressing, Addressing::Duration { .. });
    for (template, is_media) in [(&representation.media, true), (&representation.init, false)] {
        let mut bad = |says| {
            let media = template.clone();
            say(What::Template { media, says });
        };
        if template.is_empty() {
            bad("is missing");
            continue;
        }
        let names: Vec<&str> = template.split('$').collect();
        if names.len().is_multiple_of(2) {
            bad("has a single dollar");
            continue;
        }
        let mut seen = BTreeSet::new();
        for name in names.iter().skip(1).step_by(2).filter(|name| !name.is_empty()) {
            let (name, width) = name
                .split_once('%')
                .map_or((*name, None), |(name, width)| (name, Some(width)));
            let is_known = ["RepresentationID", "Number", "Bandwidth", "Time"].contains(&name);
            let is_width = width.is_none_or(|width| {
                let digits = width.strip_prefix('0').and_then(|rest| rest.strip_suffix('d'));
                name != "RepresentationID" && digits.is_some_and(|digits| digits.parse::<u32>().is_ok())
            });
            if !is_known || !is_width {
                bad("has an identifier that is unknown");
            }
            seen.insert(name);
        }
        let (number, time) = (seen.contains("Number"), seen.contains("Time"));
        match is_media {
            true if number == time => bad("must have exactly one of $Number$ and $Time$"),
            true if time && is_counted => bad("has $Time$ where no times are listed"),
            false if number || time => bad("is that of a segment"),
            _ => {}
        }
        if template.contains([' ', '<', '>', '"', '\\', '^', '`', '{', '}']) {
            bad("is not a URL");
        }
    }
}

fn timeline(
    mpd: &Mpd,
    period: &Period,
    end: Option<i64>,
    representation: &Representation,
    listed: &[Listed],
    report: &mut Report,
) {
    let place = representation.place.as_str();
    report.segments += listed.len();
    if listed.is_empty() {
        report.problem(place, What::NoSegments);
    }
    for segment in listed {
        let time = segment.time;
        if segment.duration <= 0 {
            report.problem(place, What::ZeroDuration { time });
        }
        too_long(mpd, segment.duration, place, report);
        let start = period.start;
        let end = end.unwrap_or(i64::MAX);
        if time + segment.duration <= start || time >= end {
            report.problem(place, What::Outside { time, start, end });
        }
    }
    for pair in listed.windows(2) {
        let end = pair[0].time + pair[0].duration;
        let time = pair[1].time;
        if time < end - 1 {
            report.problem(place, What::Overlap { time, end });
        }
        // What is counted in ticks may be a microsecond off.
        if time > end + 1 && pair[1].is_told {
            report.holes += 1;
        }
    }
}

fn too_long(mpd: &Mpd, duration: i64, place: &str, report: &mut Report) {
    if let Some(duration_max) = mpd
        .segment_max
        .filter(|segment_max| duration > segment_max + ROUNDING_MICROS)
    {
        report.problem(place, What::SegmentTooLong { duration, duration_max });
    }
}

/// A segment of one must not begin inside one of another (5.3.3.2, segmentAlignment).
fn aligned(set: &Set, report: &mut Report) {
    let mut lists = set
        .representations
        .iter()
        .filter_map(|representation| match &representation.addressing {
            Addressing::Timeline(listed) => Some((representation, listed)),
            _ => None,
        });
    let Some((_, first)) = lists.next().filter(|_| set.is_aligned) else {
        return;
    };
    for (representation, listed) in lists {
        let mut others = first.iter().peekable();
        for segment in listed {
            while others
                .next_if(|other| other.time + other.duration <= segment.time)
                .is_some()
            {}
            let Some(other) = others.peek() else { break };
            let into = segment.time - other.time;
            if into > ROUNDING_MICROS && other.time + other.duration - segment.time > ROUNDING_MICROS {
                let (time, other) = (segment.time, other.time);
                report.problem(&representation.place, What::NotAligned { time, other });
            }
        }
    }
}

fn listed_end(period: &Period) -> Option<i64> {
    let lines = period.sets.iter().flat_map(|set| &set.representations);
    let ends = lines.filter_map(|representation| match &representation.addressing {
        Addressing::Timeline(listed) => listed.last().map(|last| last.time + last.duration),
        _ => None,
    });
    ends.max()
}

/// The end of everything is where the last segment ends.
fn ends(mpd: &Mpd, said: i64, report: &mut Report) {
    let last = mpd.periods.last();
    let by_period = last.and_then(|last| last.duration.map(|duration| last.start + duration));
    let found = by_period.or(last.and_then(listed_end)).unwrap_or(said);
    if (found - said).abs() > SLACK_MICROS {
        report.problem("MPD", What::EndsAt { said, found });
    }
}

/// Annex A.3.4: a segment is there when it ends, less its offset. The newest one of each list must be there; the newest of all must
/// not have been there for long. One track may lack segments that were lost.
fn edge(mpd: &Mpd, now: i64, report: &mut Report) {
    let (Some(start), Some(period)) = (mpd.start, mpd.periods.last()) else {
        return;
    };
    let mut newest: Option<(i64, i64, &str)> = None;
    for representation in period.sets.iter().flat_map(|set| &set.representations) {
        let Addressing::Timeline(listed) = &representation.addressing else {
            continue;
        };
        let Some(last) = listed.last() else { continue };
        let offset = match representation.availability_offset {
            offset if offset.is_finite() => (offset * 1e6) as i64,
            _ => 0,
        };
        let available = start + last.time + last.duration - offset;
        if available > now + SLACK_MICROS {
            report.problem(&representation.place, What::EdgeAhead { available, now });
        }
        let longest = listed.iter().map(|segment| segment.duration).max().unwrap_or(0);
        if newest.is_none_or(|(known, _, _)| known < available) {
            newest = Some((available, longest, &representation.place));
        }
    }
    let Some((available, longest, place)) = newest else {
        return;
    };
    if available + CHECK_EDGE_SEGMENTS * longest + SLACK_MICROS < now && mpd.total.is_none() {
        report.problem(place, What::EdgeBehind { available, now });
    }
}
