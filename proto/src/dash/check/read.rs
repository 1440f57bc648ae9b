//! A manifest's text as values, inheritance resolved; what is wrong with the text itself is said on the way.

use super::super::limits::CHECK_SEGMENTS_MAX;
use super::super::time::{parse_duration, parse_instant};
use super::{Report, What};
use crate::xml::{self, Element};

/// Times in µs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mpd {
    pub is_dynamic: bool,
    pub profiles: String,
    pub start: Option<i64>,
    pub published: Option<i64>,
    pub update_period: Option<i64>,
    pub window: Option<i64>,
    pub delay: Option<i64>,
    pub total: Option<i64>,
    pub segment_max: Option<i64>,
    pub clocks: Vec<String>,
    pub periods: Vec<Period>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Period {
    pub id: Option<String>,
    pub start: i64,
    /// As it says itself.
    pub duration: Option<i64>,
    pub sets: Vec<Set>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Set {
    pub id: Option<String>,
    pub is_aligned: bool,
    pub representations: Vec<Representation>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Representation {
    pub place: String,
    pub id: String,
    pub mime: String,
    pub codecs: String,
    pub bandwidth: u64,
    pub media: String,
    pub init: String,
    /// Of the presentation, before the Period's start is added.
    pub offset: i64,
    pub addressing: Addressing,
    /// s
    pub availability_offset: f64,
    pub is_complete: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Addressing {
    /// Times on the presentation's timeline.
    Timeline(Vec<Listed>),
    Duration {
        first: u64,
        last: Option<u64>,
        each: i64,
    },
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub number: u64,
    pub time: i64,
    pub duration: i64,
    /// It has a time of its own, not the end of the one before.
    pub is_told: bool,
}

const MPD: [&str; 15] = [
    "ProgramInformation",
    "BaseURL",
    "Location",
    "PatchLocation",
    "ServiceDescription",
    "InitializationSet",
    "InitializationGroup",
    "InitializationPresentation",
    "ContentProtection",
    "Period",
    "Metrics",
    "EssentialProperty",
    "SupplementalProperty",
    "UTCTiming",
    "LeapSecondInformation",
];
const PERIOD: [&str; 14] = [
    "BaseURL",
    "SegmentBase",
    "SegmentList",
    "SegmentTemplate",
    "AssetIdentifier",
    "EventStream",
    "ServiceDescription",
    "ContentProtection",
    "AdaptationSet",
    "Subset",
    "SupplementalProperty",
    "EmptyAdaptationSet",
    "GroupLabel",
    "Preselection",
];
const SET: [&str; 24] = [
    "FramePacking",
    "AudioChannelConfiguration",
    "ContentProtection",
    "OutputProtection",
    "EssentialProperty",
    "SupplementalProperty",
    "InbandEventStream",
    "Switching",
    "RandomAccess",
    "GroupLabel",
    "Label",
    "ProducerReferenceTime",
    "ContentPopularityRate",
    "Resync",
    "Accessibility",
    "Role",
    "Rating",
    "Viewpoint",
    "ContentComponent",
    "BaseURL",
    "SegmentBase",
    "SegmentList",
    "SegmentTemplate",
    "Representation",
];
const REPRESENTATION: [&str; 20] = [
    "FramePacking",
    "AudioChannelConfiguration",
    "ContentProtection",
    "OutputProtection",
    "EssentialProperty",
    "SupplementalProperty",
    "InbandEventStream",
    "Switching",
    "RandomAccess",
    "GroupLabel",
    "Label",
    "ProducerReferenceTime",
    "ContentPopularityRate",
    "Resync",
    "BaseURL",
    "ExtendedBandwidth",
    "SubRepresentation",
    "SegmentBase",
    "SegmentList",
    "SegmentTemplate",
];

/// Times beyond 9,000 years are none: sums of some of them stay within 64 bits.
const MICROS_MAX: i64 = 1 << 58;

pub(super) fn read(text: &str, report: &mut Report) -> Option<Mpd> {
    let root = match xml::read(text) {
        Ok(root) => root,
        Err(error) => {
            let says = error.to_string();
            report.problem("MPD", What::NotXml { says });
            return None;
        }
    };
    let namespace = root.attribute("xmlns").or_else(|| {
        let prefixed = root.attributes.iter().find(|(name, _)| name.starts_with("xmlns:"));
        prefixed.map(|(_, value)| value.as_str())
    });
    if root.name != "MPD" || namespace != Some("urn:mpeg:dash:schema:mpd:2011") {
        let name = format!("{} of {}", root.name, namespace.unwrap_or("no namespace"));
        report.problem("MPD", What::NotMpd { name });
        return None;
    }
    let mut place = Place {
        report,
        path: vec!["MPD".to_owned()],
        is_timeless: false,
    };
    place.order(&root, &MPD);
    let is_dynamic = match root.attribute("type").unwrap_or("static") {
        "dynamic" => true,
        "static" => false,
        other => {
            place.malformed("type", other);
            false
        }
    };
    let total = place.duration(&root, "mediaPresentationDuration");
    let mut mpd = Mpd {
        is_dynamic,
        profiles: place.required(&root, "profiles").unwrap_or_default().to_owned(),
        start: place.instant(&root, "availabilityStartTime"),
        published: place.instant(&root, "publishTime"),
        update_period: place.duration(&root, "minimumUpdatePeriod"),
        window: place.duration(&root, "timeShiftBufferDepth"),
        delay: place.duration(&root, "suggestedPresentationDelay"),
        total,
        segment_max: place.duration(&root, "maxSegmentDuration"),
        clocks: root.all("UTCTiming").map(scheme_of).collect(),
        periods: Vec::new(),
    };
    place.duration(&root, "minBufferTime");
    place.required(&root, "minBufferTime");
    services(&root, &mut place);
    let mut end = Some(0);
    for (at, element) in root.all("Period").enumerate() {
        let name = element.attribute("id").map_or(format!("#{at}"), str::to_owned);
        place.path.push(format!("Period {name}"));
        let period = period(element, end, &mut place);
        end = period.duration.map(|duration| period.start + duration);
        mpd.periods.push(period);
        place.path.pop();
    }
    (!place.is_timeless).then_some(mpd)
}

fn scheme_of(element: &Element) -> String {
    let value = element.attribute("value").filter(|value| !value.is_empty());
    match (element.attribute("schemeIdUri"), value) {
        (Some(scheme), Some(_)) => scheme.to_owned(),
        _ => String::new(),
    }
}

/// Where in the text; says what is wrong there.
struct Place<'a> {
    report: &'a mut Report,
    path: Vec<String>,
    /// A Period has no start: no rule about times says anything.
    is_timeless: bool,
}

impl Place<'_> {
    fn problem(&mut self, what: What) {
        self.report.problem(&self.path.join(" / "), what);
    }

    fn malformed(&mut self, attribute: &str, value: &str) {
        self.problem(What::Malformed {
            attribute: attribute.to_owned(),
            value: value.to_owned(),
        });
    }

    fn required<'e>(&mut self, element: &'e Element, attribute: &'static str) -> Option<&'e str> {
        let value = element.attribute(attribute);
        match value {
            None => self.problem(What::Missing { attribute }),
            Some("") => self.malformed(attribute, ""),
            Some(_) => {}
        }
        value
    }

    fn parsed<T>(&mut self, element: &Element, name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = element.attribute(name)?;
        let value = parse(text);
        if value.is_none() {
            self.malformed(name, text);
        }
        value
    }

    fn duration(&mut self, element: &Element, name: &str) -> Option<i64> {
        self.parsed(element, name, |text| {
            parse_duration(text).filter(|micros| *micros <= MICROS_MAX)
        })
    }

    fn instant(&mut self, element: &Element, name: &str) -> Option<i64> {
        self.parsed(element, name, parse_instant)
    }

    fn number(&mut self, element: &Element, name: &str) -> Option<u64> {
        self.parsed(element, name, |text| {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| text.parse().ok()).flatten()
        })
    }

    fn order(&mut self, element: &Element, known: &[&str]) {
        let mut reached = 0;
        for child in &element.children {
            let element = child.name.clone();
            match known.iter().position(|name| **name == child.name) {
                None => self.problem(What::Unknown { element }),
                Some(at) if at < reached => self.problem(What::Order { element }),
                Some(at) => reached = at,
            }
        }
    }
}

fn services(root: &Element, place: &mut Place<'_>) {
    for service in root.all("ServiceDescription") {
        for latency in service.all("Latency") {
            let mut of = |name| place.number(latency, name);
            let (target, min, max) = (of("target"), of("min"), of("max"));
            if target.is_none() {
                place.problem(What::Latency { says: "no target" });
            }
            if min.unwrap_or(0) > target.unwrap_or(0) || max.is_some_and(|max| max < target.unwrap_or(0)) {
                place.problem(What::Latency {
                    says: "the target is not between min and max",
                });
            }
        }
        for rate in service.all("PlaybackRate") {
            let mut of = |name| place.parsed(rate, name, |text| text.parse::<f64>().ok());
            let (min, max) = (of("min").unwrap_or(1.0), of("max").unwrap_or(1.0));
            if !(min <= 1.0 && 1.0 <= max) {
                place.problem(What::Latency {
                    says: "speed 1 is not between min and max",
                });
            }
        }
    }
}

fn period(element: &Element, end_before: Option<i64>, place: &mut Place<'_>) -> Period {
    place.order(element, &PERIOD);
    let start = place.duration(element, "start").or(end_before);
    if start.is_none() {
        place.problem(What::Missing { attribute: "start" });
        place.is_timeless = true;
    }
    let mut period = Period {
        id: element.attribute("id").map(str::to_owned),
        start: start.unwrap_or(0),
        duration: place.duration(element, "duration"),
        sets: Vec::new(),
    };
    for (at, set) in element.all("AdaptationSet").enumerate() {
        let id = set.attribute("id").map(str::to_owned);
        place
            .path
            .push(format!("AdaptationSet {}", id.clone().unwrap_or(format!("#{at}"))));
        place.order(set, &SET);
        let mut representations = Vec::new();
        for element_of in set.all("Representation") {
            let name = element_of.attribute("id").unwrap_or("?");
            place.path.push(format!("Representation {name}"));
            let around = [element, set, element_of];
            representations.push(representation(around, period.start, place));
            place.path.pop();
        }
        let is_aligned = set.attribute("segmentAlignment").is_some_and(|value| value != "false");
        period.sets.push(Set {
            id,
            is_aligned,
            representations,
        });
        place.path.pop();
    }
    period
}

/// From the outermost to the innermost element: what is said further in counts.
fn inherited<'e>(around: &[&'e Element], name: &str) -> Option<&'e str> {
    around.iter().rev().find_map(|element| element.attribute(name))
}

fn representation(around: [&Element; 3], period_start: i64, place: &mut Place<'_>) -> Representation {
    let element = around[2];
    place.order(element, &REPRESENTATION);
    let id = place.required(element, "id").unwrap_or_default().to_owned();
    if id.contains([' ', '\t', '\n']) {
        place.malformed("id", &id);
    }
    place.required(element, "bandwidth");
    let mime = inherited(&around[1..], "mimeType");
    if mime.is_none() {
        place.problem(What::Missing { attribute: "mimeType" });
    }
    let codecs = inherited(&around[1..], "codecs");
    if codecs.is_none() {
        place.problem(What::Missing { attribute: "codecs" });
    }
    for (name, pattern) in [
        ("frameRate", '/'),
        ("width", ' '),
        ("height", ' '),
        ("audioSamplingRate", ' '),
    ] {
        if let Some(value) = inherited(&around[1..], name) {
            let is_positive = |part: &str| part.parse::<u32>().is_ok_and(|number| number > 0);
            if !value.splitn(2, pattern).all(is_positive) {
                place.malformed(name, value);
            }
        }
    }
    let templates: Vec<&Element> = around
        .iter()
        .filter_map(|element| element.first("SegmentTemplate"))
        .collect();
    let (addressing, offset) = addressing(&templates, period_start, place);
    let availability = inherited(&templates, "availabilityTimeOffset");
    let availability_offset = match availability {
        None => 0.0,
        Some("INF") => f64::INFINITY,
        Some(text) => text.parse().unwrap_or_else(|_| {
            place.malformed("availabilityTimeOffset", text);
            0.0
        }),
    };
    Representation {
        bandwidth: place.number(element, "bandwidth").unwrap_or(0),
        place: place.path.join(" / "),
        id,
        mime: mime.unwrap_or_default().to_owned(),
        codecs: codecs.unwrap_or_default().to_owned(),
        media: inherited(&templates, "media").unwrap_or_default().to_owned(),
        init: inherited(&templates, "initialization").unwrap_or_default().to_owned(),
        offset,
        addressing,
        availability_offset,
        is_complete: inherited(&templates, "availabilityTimeComplete") != Some("false"),
    }
}

fn addressing(templates: &[&Element], period_start: i64, place: &mut Place<'_>) -> (Addressing, i64) {
    let mut number = |name: &str| -> Option<u64> {
        let holder = templates
            .iter()
            .rev()
            .find(|element| element.attribute(name).is_some())?;
        place.number(holder, name)
    };
    let timescale = number("timescale").unwrap_or(1);
    let offset = number("presentationTimeOffset").unwrap_or(0);
    let first = number("startNumber").unwrap_or(1);
    let last = number("endNumber");
    let each = number("duration");
    if timescale == 0 {
        place.malformed("timescale", "0");
        return (Addressing::None, 0);
    }
    let bound = i128::from(MICROS_MAX);
    let micros = |ticks: i128| (ticks * 1_000_000 / i128::from(timescale)).clamp(-bound, bound) as i64;
    let timeline = templates
        .iter()
        .rev()
        .find_map(|element| element.first("SegmentTimeline"));
    let addressing = match (timeline, each) {
        (Some(timeline), None) => {
            let mut listed = unfold(timeline, first, place);
            for segment in &mut listed {
                let time = i128::from(segment.time);
                let end = time + i128::from(segment.duration) - i128::from(offset);
                segment.time = micros(time - i128::from(offset)) + period_start;
                segment.duration = micros(end) + period_start - segment.time;
            }
            Addressing::Timeline(listed)
        }
        (None, Some(each)) => Addressing::Duration {
            first,
            last,
            each: micros(i128::from(each)),
        },
        _ => {
            place.problem(What::Addressing);
            Addressing::None
        }
    };
    (addressing, micros(i128::from(offset)))
}

/// Segments with times in ticks of the media's own timeline.
fn unfold(timeline: &Element, first: u64, place: &mut Place<'_>) -> Vec<Listed> {
    let mut listed: Vec<Listed> = Vec::new();
    let mut end: i64 = 0;
    for (at, element) in timeline.children.iter().enumerate() {
        place.path.push(format!("S {at}"));
        if element.name != "S" {
            let element = element.name.clone();
            place.problem(What::Unknown { element });
        }
        place.required(element, "d");
        let told = place.number(element, "t");
        let duration = place.number(element, "d").unwrap_or(0);
        let repeats = place.parsed(element, "r", |text| text.parse::<i64>().ok()).unwrap_or(0);
        let mut time = told.map_or(end, |told| i64::try_from(told).unwrap_or(i64::MAX));
        let duration = i64::try_from(duration).unwrap_or(i64::MAX);
        let room = CHECK_SEGMENTS_MAX.saturating_sub(listed.len()) as i64;
        if repeats < 0 || repeats >= room {
            // Open lists are for texts that are not made anew with each segment.
            place.malformed("r", &repeats.to_string());
        }
        for repeat in 0..=repeats.clamp(0, (room - 1).max(0)) {
            listed.push(Listed {
                number: first.saturating_add(listed.len() as u64),
                time,
                duration,
                is_told: told.is_some() && repeat == 0,
            });
            time = time.saturating_add(duration);
        }
        end = time;
        place.path.pop();
    }
    listed
}
