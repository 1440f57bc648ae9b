//! A strict checker of Smooth manifests: what MS-SSTR 2.2.2 demands, and what may change from one text to the next.

use std::collections::BTreeMap;
use std::fmt;

use super::{BITRATE_UNIT, TIMESCALE};
use crate::xml::{self, Element};

/// Problems kept of one text.
const PROBLEMS_MAX: usize = 1_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `StreamIndex audio / c 3`
    pub place: String,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Not UTF-16LE with its mark.
    Encoding {
        says: &'static str,
    },
    NotXml {
        says: String,
    },
    Root {
        name: String,
    },
    Missing {
        attribute: &'static str,
    },
    Malformed {
        attribute: &'static str,
        value: String,
    },
    /// An attribute that counts something says another number.
    Count {
        attribute: &'static str,
        said: u64,
        found: u64,
    },
    NoStreams,
    NoFragments,
    Duplicate {
        value: String,
    },
    Template {
        url: String,
    },
    /// Times of fragments are in order and not within each other.
    Overlap {
        time: i64,
        end: i64,
    },
    /// Not the track's id behind a multiple of 100.
    Bitrate {
        bitrate: u64,
    },
    FragmentGone {
        time: i64,
    },
    FragmentChanged {
        time: i64,
        from: i64,
        to: i64,
    },
    StreamGone {
        name: String,
    },
    StreamChanged {
        name: String,
        attribute: &'static str,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.place, self.what)
    }
}

/// What was found in one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub problems: Vec<Problem>,
    pub is_live: bool,
    /// Fragments of all streams, and times at which they go on later than they stopped.
    pub fragments: usize,
    pub holes: usize,
    /// Bitrates of all levels.
    pub bitrates: Vec<u64>,
    streams: BTreeMap<String, Stream>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stream {
    private: Vec<String>,
    /// Duration by time.
    fragments: BTreeMap<i64, i64>,
}

/// Given each text of one presentation in order.
#[derive(Debug, Default)]
pub struct Watcher {
    before: Option<Report>,
}

impl Watcher {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, bytes: &[u8]) -> Report {
        let mut report = check(bytes);
        if let Some(before) = &self.before {
            changes(before, &mut report);
        }
        self.before = Some(report.clone());
        report
    }
}

impl Report {
    fn problem(&mut self, place: &str, what: What) {
        if self.problems.len() < PROBLEMS_MAX {
            let place = place.to_owned();
            self.problems.push(Problem { place, what });
        }
    }

    fn number(&mut self, place: &str, element: &Element, attribute: &'static str) -> Option<u64> {
        let Some(value) = element.attribute(attribute) else {
            self.problem(place, What::Missing { attribute });
            return None;
        };
        let number = value.parse().ok();
        if number.is_none() {
            let value = value.to_owned();
            self.problem(place, What::Malformed { attribute, value });
        }
        number
    }

    fn is(&mut self, place: &str, element: &Element, attribute: &'static str, allowed: &[&str]) {
        match element.attribute(attribute) {
            None => self.problem(place, What::Missing { attribute }),
            Some(value) if !allowed.contains(&value) => {
                let value = value.to_owned();
                self.problem(place, What::Malformed { attribute, value });
            }
            Some(_) => {}
        }
    }

    /// # Panics
    /// With all that was found, when there is something.
    pub fn assert_none(&self) {
        let all: Vec<String> = self.problems.iter().map(Problem::to_string).collect();
        assert!(all.is_empty(), "{} problems:\n  {}", all.len(), all.join("\n  "));
    }
}

/// Judges one manifest by itself.
pub fn check(bytes: &[u8]) -> Report {
    let mut report = Report::default();
    let place = "SmoothStreamingMedia";
    let text = match text_of(bytes) {
        Ok(text) => text,
        Err(says) => {
            report.problem(place, What::Encoding { says });
            return report;
        }
    };
    let root = match xml::read(&text) {
        Ok(root) => root,
        Err(error) => {
            let says = error.to_string();
            report.problem(place, What::NotXml { says });
            return report;
        }
    };
    if root.name != place {
        report.problem(place, What::Root { name: root.name });
        return report;
    }
    report.is(place, &root, "MajorVersion", &["2"]);
    report.is(place, &root, "MinorVersion", &["0", "1", "2"]);
    report.is(place, &root, "TimeScale", &[&TIMESCALE.to_string()]);
    let total = report.number(place, &root, "Duration");
    report.is_live = root
        .attribute("IsLive")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if report.is_live {
        report.number(place, &root, "LookAheadFragmentCount");
        report.number(place, &root, "DVRWindowLength");
    }
    let mut span = (i64::MAX, 0);
    let mut names = Vec::new();
    for element in root.all("StreamIndex") {
        let name = element.attribute("Name").unwrap_or("?").to_owned();
        let place = format!("StreamIndex {name}");
        if names.contains(&name) {
            let value = name.clone();
            report.problem(&place, What::Duplicate { value });
        }
        let stream = stream(element, &place, &mut report);
        if let (Some(first), Some(last)) = (stream.fragments.first_key_value(), stream.fragments.last_key_value()) {
            span = (span.0.min(*first.0), span.1.max(last.0.saturating_add(*last.1)));
        }
        names.push(name.clone());
        report.streams.insert(name, stream);
    }
    if names.is_empty() {
        report.problem(place, What::NoStreams);
    }
    // A live presentation has no end yet.
    let found = if report.is_live || names.is_empty() {
        0
    } else {
        span.1.saturating_sub(span.0).max(0) as u64
    };
    if let Some(said) = total.filter(|said| *said != found) {
        let attribute = "Duration";
        report.problem(place, What::Count { attribute, said, found });
    }
    let mut bitrates = report.bitrates.clone();
    bitrates.sort_unstable_by_key(|bitrate| bitrate % BITRATE_UNIT);
    for pair in bitrates
        .windows(2)
        .filter(|pair| pair[0] % BITRATE_UNIT == pair[1] % BITRATE_UNIT)
    {
        report.problem(place, What::Bitrate { bitrate: pair[1] });
    }
    report
}

fn text_of(bytes: &[u8]) -> Result<String, &'static str> {
    let body = bytes.strip_prefix(&[0xff, 0xfe]).ok_or("no mark of UTF-16LE")?;
    let (pairs, rest) = body.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    let text = String::from_utf16(&units).map_err(|_| "half a character")?;
    match rest.is_empty() && text.contains("encoding=\"utf-16\"") {
        true => Ok(text),
        false => Err("the text does not say utf-16, or ends in half a character"),
    }
}

fn stream(element: &Element, place: &str, report: &mut Report) -> Stream {
    report.is(place, element, "Type", &["video", "audio"]);
    report.is(place, element, "TimeScale", &[&TIMESCALE.to_string()]);
    let is_video = element.attribute("Type") == Some("video");
    let url = element.attribute("Url").unwrap_or_default();
    if url.matches("{bitrate}").count() != 1 || url.matches("{start time}").count() != 1 {
        let url = url.to_owned();
        report.problem(place, What::Template { url });
    }
    let mut stream = Stream::default();
    let levels: Vec<&Element> = element.all("QualityLevel").collect();
    for level in &levels {
        if let Some(private) = level_of(level, is_video, place, report) {
            stream.private.push(private);
        }
    }
    let mut end = None;
    let chunks: Vec<&Element> = element.all("c").collect();
    for (at, chunk) in chunks.iter().enumerate() {
        let place = format!("{place} / c {at}");
        // The first has a time; another that has none begins where the one before ended.
        let told = match (chunk.attribute("t"), end) {
            (None, Some(end)) => Some(end),
            _ => report.number(&place, chunk, "t").map(|time| time as i64),
        };
        let duration = report.number(&place, chunk, "d").map_or(0, |duration| duration as i64);
        if duration == 0 {
            let (attribute, value) = ("d", "0".to_owned());
            report.problem(&place, What::Malformed { attribute, value });
        }
        let Some(time) = told else { continue };
        if let Some(end) = end.filter(|end| time < *end) {
            report.problem(&place, What::Overlap { time, end });
        }
        report.holes += usize::from(end.is_some_and(|end| time > end));
        report.fragments += 1;
        stream.fragments.insert(time, duration);
        end = Some(time.saturating_add(duration));
    }
    for (attribute, found) in [("Chunks", chunks.len()), ("QualityLevels", levels.len())] {
        let found = found as u64;
        if let Some(said) = report.number(place, element, attribute).filter(|said| *said != found) {
            report.problem(place, What::Count { attribute, said, found });
        }
    }
    if chunks.is_empty() {
        report.problem(place, What::NoFragments);
    }
    stream
}

/// Its codec configuration.
fn level_of(level: &Element, is_video: bool, place: &str, report: &mut Report) -> Option<String> {
    let place = format!("{place} / QualityLevel");
    if let Some(bitrate) = report.number(&place, level, "Bitrate") {
        if bitrate < BITRATE_UNIT || bitrate % BITRATE_UNIT == 0 {
            report.problem(&place, What::Bitrate { bitrate });
        }
        report.bitrates.push(bitrate);
    }
    report.number(&place, level, "Index");
    let needed: &[&'static str] = match is_video {
        true => &["MaxWidth", "MaxHeight"],
        false => &["SamplingRate", "Channels", "BitsPerSample", "PacketSize", "AudioTag"],
    };
    for attribute in needed {
        report.number(&place, level, attribute);
    }
    let known: &[&str] = if is_video {
        &["H264", "AVC1", "HVC1"]
    } else {
        &["AACL", "AACH"]
    };
    report.is(&place, level, "FourCC", known);
    let attribute = "CodecPrivateData";
    let Some(value) = level.attribute(attribute) else {
        report.problem(&place, What::Missing { attribute });
        return None;
    };
    let is_hex =
        !value.is_empty() && value.len().is_multiple_of(2) && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || (is_video && !value.starts_with("00000001")) {
        let value = value.to_owned();
        report.problem(&place, What::Malformed { attribute, value });
    }
    Some(value.to_owned())
}

fn changes(before: &Report, report: &mut Report) {
    let mut found = Vec::new();
    for (name, old) in &before.streams {
        let Some(new) = report.streams.get(name) else {
            let name = name.clone();
            found.push(What::StreamGone { name });
            continue;
        };
        if old.private != new.private {
            let (name, attribute) = (name.clone(), "CodecPrivateData");
            found.push(What::StreamChanged { name, attribute });
        }
        let first = new.fragments.first_key_value().map_or(i64::MAX, |first| *first.0);
        for (time, from) in old.fragments.range(first..) {
            let time = *time;
            match new.fragments.get(&time) {
                None => found.push(What::FragmentGone { time }),
                Some(to) if to != from => found.push(What::FragmentChanged {
                    time,
                    from: *from,
                    to: *to,
                }),
                Some(_) => {}
            }
        }
    }
    for what in found {
        report.problem("SmoothStreamingMedia", what);
    }
}
