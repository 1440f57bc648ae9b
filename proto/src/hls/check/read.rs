//! A media playlist as read: what each line means, and whether it may stand where it stands.

use std::sync::Arc;

use super::attributes::{Attributes, Rule, integer, nanos};
use super::lines::{Line, lines};
use super::tags::{self, Place, place};
use super::{Problems, What};
use crate::hls::text::days_of;

/// `EXT-X-MAP`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    pub uri: String,
    pub range: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub line: usize,
    pub uri: String,
    pub nanos: u64,
    pub is_independent: bool,
    pub is_gap: bool,
    /// Bytes, and where they begin.
    pub range: Option<(u64, u64)>,
}

/// A segment with what applies to it; the last of a list may have parts alone, and no URI yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    pub line: usize,
    /// Media sequence number.
    pub number: u64,
    pub uri: String,
    pub nanos: u64,
    pub is_discontinuity: bool,
    pub is_gap: bool,
    /// Since 1970.
    pub date_millis: Option<i64>,
    pub map: Option<Arc<Map>>,
    pub range: Option<(u64, u64)>,
    pub parts: Vec<Part>,
}

/// `EXT-X-SERVER-CONTROL`, durations in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    pub line: usize,
    pub can_block_reload: bool,
    pub skip_until: Option<u64>,
    pub can_skip_dates: bool,
    pub hold_back: Option<u64>,
    pub part_hold_back: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    pub line: usize,
    pub kind: String,
    pub uri: String,
    pub start: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub line: usize,
    pub uri: String,
    pub msn: u64,
    pub part: Option<u64>,
}

/// A media playlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Media {
    /// 1 where it does not say.
    pub version: u64,
    pub target_seconds: u64,
    pub sequence: u64,
    pub discontinuity_sequence: u64,
    pub playlist_type: Option<String>,
    pub is_independent: bool,
    pub is_ended: bool,
    pub is_i_frames: bool,
    pub control: Option<Control>,
    pub part_target: Option<u64>,
    /// Segments that a delta update leaves out.
    pub skipped: u64,
    pub skip_line: usize,
    pub segments: Vec<Segment>,
    /// Parts, and what applies to them, of the segment that is being made.
    pub growing: Option<Segment>,
    pub hints: Vec<Hint>,
    pub reports: Vec<Report>,
    /// Which version its tags need.
    pub version_needed: u64,
}

impl Media {
    /// Number and part of the newest thing listed, as rendition reports tell it.
    pub fn newest(&self) -> Option<(u64, Option<u64>)> {
        let newest = self.growing.as_ref().or(self.segments.last())?;
        Some((newest.number, (newest.parts.len() as u64).checked_sub(1)))
    }

    /// All that is listed, parts of the growing segment too, in nanoseconds.
    pub fn nanos(&self) -> u64 {
        let whole: u64 = self.segments.iter().map(|segment| segment.nanos).sum();
        whole + self.growing_nanos()
    }

    pub(super) fn growing_nanos(&self) -> u64 {
        let parts = self.growing.iter().flat_map(|growing| &growing.parts);
        parts.map(|part| part.nanos).sum()
    }
}

pub(super) fn read(text: &str, problems: &mut Problems) -> Media {
    let mut reader = Reader {
        media: Media {
            version: 1,
            version_needed: 1,
            ..Media::default()
        },
        problems,
        seen: Vec::new(),
        next: Segment::default(),
        loose: None,
        map: None,
        part_end: None,
        range_end: None,
    };
    for (line, what) in lines(text, reader.problems) {
        match what {
            Line::Uri(uri) => reader.uri(line, uri),
            Line::Tag(name, value) => reader.tag(line, name, value),
        }
    }
    reader.finish()
}

struct Reader<'p> {
    media: Media,
    problems: &'p mut Problems,
    /// Tags that stand once.
    seen: Vec<&'static str>,
    /// What applies to the segment that comes.
    next: Segment,
    /// The last line that needs a segment or a part behind it.
    loose: Option<(usize, &'static str)>,
    map: Option<Arc<Map>>,
    /// Where the last byte range of a part, or of a segment, ended.
    part_end: Option<(String, u64)>,
    range_end: Option<(String, u64)>,
}

impl Reader<'_> {
    fn tag(&mut self, line: usize, name: &str, value: Option<&str>) {
        match place(name) {
            None => self.problems.add(line, What::UnknownTag),
            Some(Place::Master) => self.problems.add(line, What::Mixed),
            Some(_) => match value {
                Some(value) => self.with_value(line, name, value),
                None => self.without_value(line, name),
            },
        }
    }

    fn without_value(&mut self, line: usize, name: &str) {
        match name {
            "#EXT-X-INDEPENDENT-SEGMENTS" => {
                self.once(line, "EXT-X-INDEPENDENT-SEGMENTS");
                self.media.is_independent = true;
            }
            "#EXT-X-I-FRAMES-ONLY" => {
                self.once(line, "EXT-X-I-FRAMES-ONLY");
                self.media.is_i_frames = true;
                self.needs(4);
            }
            "#EXT-X-ENDLIST" => {
                self.once(line, "EXT-X-ENDLIST");
                self.media.is_ended = true;
            }
            "#EXT-X-DISCONTINUITY" => {
                if self.next.is_discontinuity {
                    self.problems.add(line, What::Repeated("EXT-X-DISCONTINUITY"));
                }
                self.before_parts(line, "EXT-X-DISCONTINUITY");
                self.next.is_discontinuity = true;
            }
            "#EXT-X-GAP" => {
                self.loose = Some((line, "EXT-X-GAP"));
                self.next.is_gap = true;
            }
            "#EXTM3U" => self.problems.add(line, What::Repeated("EXTM3U")),
            _ => self.problems.add(line, What::Value("a tag that has one")),
        }
    }

    fn with_value(&mut self, line: usize, name: &str, value: &str) {
        match name {
            "#EXT-X-VERSION" => {
                let version = self.number(line, "EXT-X-VERSION", value);
                self.media.version = version.unwrap_or(1);
            }
            "#EXT-X-TARGETDURATION" => {
                let target = self.number(line, "EXT-X-TARGETDURATION", value);
                self.media.target_seconds = target.unwrap_or(0);
            }
            "#EXT-X-MEDIA-SEQUENCE" => {
                self.before_segments(line, "EXT-X-MEDIA-SEQUENCE");
                self.media.sequence = self.number(line, "EXT-X-MEDIA-SEQUENCE", value).unwrap_or(0);
            }
            "#EXT-X-DISCONTINUITY-SEQUENCE" => {
                self.before_segments(line, "EXT-X-DISCONTINUITY-SEQUENCE");
                let number = self.number(line, "EXT-X-DISCONTINUITY-SEQUENCE", value);
                self.media.discontinuity_sequence = number.unwrap_or(0);
            }
            "#EXT-X-PLAYLIST-TYPE" => {
                self.once(line, "EXT-X-PLAYLIST-TYPE");
                if !["EVENT", "VOD"].contains(&value) {
                    self.problems.add(line, What::Value("EXT-X-PLAYLIST-TYPE"));
                }
                self.media.playlist_type = Some(value.to_owned());
            }
            "#EXTINF" => self.extinf(line, value),
            "#EXT-X-BYTERANGE" => {
                self.needs(4);
                self.loose = Some((line, "EXT-X-BYTERANGE"));
                self.next.range = self.range(line, value, "EXT-X-BYTERANGE", &self.range_end.clone());
            }
            "#EXT-X-PROGRAM-DATE-TIME" => {
                self.loose = Some((line, "EXT-X-PROGRAM-DATE-TIME"));
                self.next.date_millis = date_millis(value);
                if self.next.date_millis.is_none() {
                    self.problems.add(line, What::Value("EXT-X-PROGRAM-DATE-TIME"));
                }
            }
            "#EXT-X-BITRATE" if integer(value).is_some() => {}
            "#EXT-X-BITRATE" => self.problems.add(line, What::Value("EXT-X-BITRATE")),
            _ => self.with_attributes(line, name, value),
        }
    }

    fn with_attributes(&mut self, line: usize, name: &str, value: &str) {
        match name {
            "#EXT-X-SERVER-CONTROL" => self.control(line, value),
            "#EXT-X-PART-INF" => {
                self.once(line, "EXT-X-PART-INF");
                let attributes = self.attributes(line, value, tags::PART_INF);
                self.media.part_target = attributes.nanos("PART-TARGET");
            }
            "#EXT-X-MAP" => {
                self.before_parts(line, "EXT-X-MAP");
                let attributes = self.attributes(line, value, tags::MAP);
                self.needs(if self.media.is_i_frames { 5 } else { 6 });
                self.map = attributes.text("URI").map(|uri| {
                    let range = attributes.text("BYTERANGE").map(str::to_owned);
                    Arc::new(Map {
                        uri: uri.to_owned(),
                        range,
                    })
                });
            }
            "#EXT-X-PART" => self.part(line, value),
            "#EXT-X-SKIP" => {
                self.once(line, "EXT-X-SKIP");
                self.before_segments(line, "EXT-X-SKIP");
                self.needs(9);
                let attributes = self.attributes(line, value, tags::SKIP);
                self.media.skipped = attributes.integer("SKIPPED-SEGMENTS").unwrap_or(0);
                self.media.skip_line = line;
                if self.media.skipped == 0 {
                    self.problems.add(line, What::AttributeValue("SKIPPED-SEGMENTS"));
                }
            }
            "#EXT-X-PRELOAD-HINT" => self.hint(line, value),
            "#EXT-X-RENDITION-REPORT" => self.report(line, value),
            "#EXT-X-KEY" => drop(self.attributes(line, value, tags::KEY)),
            "#EXT-X-DATERANGE" => drop(self.attributes(line, value, tags::DATERANGE)),
            "#EXT-X-START" => drop(self.attributes(line, value, tags::START)),
            "#EXT-X-DEFINE" => {
                self.needs(8);
                drop(self.attributes(line, value, tags::DEFINE));
            }
            _ => self.problems.add(line, What::Value("a tag that has none")),
        }
    }

    fn attributes<'a>(&mut self, line: usize, value: &'a str, rules: &[Rule]) -> Attributes<'a> {
        Attributes::read(value, rules, line, self.problems)
    }

    fn control(&mut self, line: usize, value: &str) {
        self.once(line, "EXT-X-SERVER-CONTROL");
        let attributes = self.attributes(line, value, tags::SERVER_CONTROL);
        self.media.control = Some(Control {
            line,
            can_block_reload: attributes.is_yes("CAN-BLOCK-RELOAD"),
            skip_until: attributes.nanos("CAN-SKIP-UNTIL"),
            can_skip_dates: attributes.is_yes("CAN-SKIP-DATERANGES"),
            hold_back: attributes.nanos("HOLD-BACK"),
            part_hold_back: attributes.nanos("PART-HOLD-BACK"),
        });
    }

    fn extinf(&mut self, line: usize, value: &str) {
        if self.next.line != 0 {
            self.problems.add(line, What::Repeated("EXTINF"));
        }
        let duration = value.split_once(',').map(|(duration, _)| duration);
        match duration.and_then(nanos) {
            Some(nanos) => self.next.nanos = nanos,
            None => self.problems.add(line, What::Value("EXTINF")),
        }
        if duration.is_some_and(|duration| duration.contains('.')) {
            self.needs(3);
        }
        self.next.line = line;
        self.loose = Some((line, "EXTINF"));
    }

    fn uri(&mut self, line: usize, uri: &str) {
        let mut segment = std::mem::take(&mut self.next);
        self.loose = None;
        self.part_end = None;
        if segment.line == 0 {
            self.problems.add(line, What::Missing("EXTINF"));
        }
        if let Some((bytes, offset)) = segment.range {
            self.range_end = Some((uri.to_owned(), offset + bytes));
        } else {
            self.range_end = None;
        }
        segment.line = line;
        segment.uri = uri.to_owned();
        self.place_segment(segment);
    }

    fn place_segment(&mut self, mut segment: Segment) {
        let before = self.media.skipped.saturating_add(self.media.segments.len() as u64);
        segment.number = self.media.sequence.saturating_add(before);
        segment.map = self.map.clone();
        self.media.segments.push(segment);
    }

    fn part(&mut self, line: usize, value: &str) {
        let attributes = self.attributes(line, value, tags::PART);
        let (Some(uri), Some(nanos)) = (attributes.text("URI"), attributes.nanos("DURATION")) else {
            return;
        };
        if self.next.line != 0 {
            self.problems.add(line, What::Late("EXT-X-PART"));
        }
        let end = self.part_end.clone();
        let range = attributes
            .text("BYTERANGE")
            .and_then(|text| self.range(line, text, "BYTERANGE", &end));
        if let (Some((_, offset)), Some((before, end))) = (range, &end)
            && before == uri
            && offset != *end
        {
            self.problems.add(
                line,
                What::RangeHole {
                    expected: *end,
                    found: offset,
                },
            );
        }
        self.part_end = range.map(|(bytes, offset)| (uri.to_owned(), offset.saturating_add(bytes)));
        self.loose = None;
        self.next.parts.push(Part {
            line,
            uri: uri.to_owned(),
            nanos,
            is_independent: attributes.is_yes("INDEPENDENT"),
            is_gap: attributes.is_yes("GAP"),
            range,
        });
    }

    /// `bytes[@offset]`; without an offset it continues `before`.
    fn range(
        &mut self,
        line: usize,
        text: &str,
        tag: &'static str,
        before: &Option<(String, u64)>,
    ) -> Option<(u64, u64)> {
        let (bytes, offset) = match text.split_once('@') {
            Some((bytes, offset)) => (integer(bytes), integer(offset)),
            None => {
                if before.is_none() {
                    self.problems.add(line, What::RangeWithoutOffset);
                }
                (integer(text), Some(before.as_ref().map_or(0, |(_, end)| *end)))
            }
        };
        let range = bytes
            .zip(offset)
            .filter(|(bytes, offset)| bytes.checked_add(*offset).is_some());
        if range.is_none() {
            self.problems.add(line, What::Value(tag));
        }
        range
    }

    fn hint(&mut self, line: usize, value: &str) {
        let attributes = self.attributes(line, value, tags::PRELOAD_HINT);
        if let (Some(kind), Some(uri)) = (attributes.text("TYPE"), attributes.text("URI")) {
            if self.media.hints.iter().any(|hint| hint.kind == kind) {
                self.problems.add(line, What::Repeated("EXT-X-PRELOAD-HINT"));
            }
            self.media.hints.push(Hint {
                line,
                kind: kind.to_owned(),
                uri: uri.to_owned(),
                start: attributes.integer("BYTERANGE-START"),
            });
        }
    }

    fn report(&mut self, line: usize, value: &str) {
        let attributes = self.attributes(line, value, tags::RENDITION_REPORT);
        if let (Some(uri), Some(msn)) = (attributes.text("URI"), attributes.integer("LAST-MSN")) {
            if self.media.reports.iter().any(|report| report.uri == uri) {
                self.problems.add(line, What::Repeated("EXT-X-RENDITION-REPORT"));
            }
            if uri.contains("://") {
                self.problems.add(line, What::AttributeValue("URI"));
            }
            let part = attributes.integer("LAST-PART");
            self.media.reports.push(Report {
                line,
                uri: uri.to_owned(),
                msn,
                part,
            });
        }
    }

    fn number(&mut self, line: usize, tag: &'static str, value: &str) -> Option<u64> {
        self.once(line, tag);
        let number = integer(value);
        if number.is_none() {
            self.problems.add(line, What::Value(tag));
        }
        number
    }

    fn once(&mut self, line: usize, tag: &'static str) {
        if self.seen.contains(&tag) {
            self.problems.add(line, What::Repeated(tag));
        }
        self.seen.push(tag);
    }

    fn needs(&mut self, version: u64) {
        self.media.version_needed = self.media.version_needed.max(version);
    }

    fn before_segments(&mut self, line: usize, tag: &'static str) {
        let is_late = !self.media.segments.is_empty() || !self.next.parts.is_empty() || self.next.is_discontinuity;
        if is_late {
            self.problems.add(line, What::Late(tag));
        }
    }

    /// What applies to a segment applies to all its parts (4.4.4.9).
    fn before_parts(&mut self, line: usize, tag: &'static str) {
        if !self.next.parts.is_empty() {
            self.problems.add(line, What::Late(tag));
        }
        self.loose = Some((line, tag));
    }

    fn finish(mut self) -> Media {
        if let Some((line, tag)) = self.loose {
            self.problems.add(line, What::Loose(tag));
        }
        if !self.next.parts.is_empty() {
            let mut growing = std::mem::take(&mut self.next);
            let before = self.media.skipped.saturating_add(self.media.segments.len() as u64);
            growing.number = self.media.sequence.saturating_add(before);
            growing.map = self.map.clone();
            growing.line = growing.parts[0].line;
            self.media.growing = Some(growing);
        }
        if !self.seen.contains(&"EXT-X-TARGETDURATION") {
            self.problems.add(0, What::Missing("EXT-X-TARGETDURATION"));
        }
        if self.media.version < self.media.version_needed {
            let (stated, needed) = (self.media.version, self.media.version_needed);
            self.problems.add(0, What::Version { stated, needed });
        }
        self.media
    }
}

/// ISO 8601 with a time zone, as ms since 1970: `2026-01-29T12:00:00.000Z`, `+01:00`, `+0100`.
fn date_millis(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T')?;
    let number = |text: &str, digits: usize| {
        let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<i64>().ok()).flatten()
    };
    let mut parts = date.split('-');
    let (year, month, day) = (
        number(parts.next()?, 4)?,
        number(parts.next()?, 2)?,
        number(parts.next()?, 2)?,
    );
    let zone_at = time.find(['Z', '+', '-'])?;
    let (clock, zone) = time.split_at(zone_at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts_of_clock = clock.split(':');
    let mut next = || number(parts_of_clock.next()?, 2);
    let (hour, minute, second) = (next()?, next()?, next()?);
    let millis = nanos(&format!("0.{fraction}"))? / 1_000_000;
    let zone_minutes = match zone.split_at_checked(1)? {
        ("Z", "") => 0,
        (sign, rest) => {
            let rest = rest.replace(':', "");
            let (hours, minutes) = rest.split_at_checked(2)?;
            let minutes = number(hours, 2)? * 60 + number(minutes, 2)?;
            if sign == "-" { -minutes } else { minutes }
        }
    };
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day) && parts.next().is_none();
    let is_time = hour < 24 && minute < 60 && second <= 60 && parts_of_clock.next().is_none();
    let minutes = (days_of(year, month, day) * 24 + hour) * 60 + minute - zone_minutes;
    (is_date && is_time).then(|| (minutes * 60 + second) * 1_000 + i64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod cases {
    use super::*;

    #[test]
    fn dates_have_a_zone() {
        let noon = 1_769_688_000_123;
        for (text, expected) in [
            ("2026-01-29T12:00:00.123Z", Some(noon)),
            ("2026-01-29T13:00:00.123+01:00", Some(noon)),
            ("2026-01-29T06:30:00.1234-0530", Some(noon)),
            ("2026-01-29T12:00:00.123", None),
            ("2026-01-29 12:00:00Z", None),
            ("2026-13-29T12:00:00Z", None),
            ("2026-01-29T24:00:00Z", None),
            ("26-01-29T12:00:00Z", None),
            ("2026-01-29T12:00:00Zulu", None),
        ] {
            assert_eq!(date_millis(text), expected, "{text}");
        }
    }
}
