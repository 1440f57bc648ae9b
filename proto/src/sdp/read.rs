//! A description's text to values, with its repairs.

use std::borrow::Cow;

use super::limits::{MEDIA_MAX, PARAMETERS_MAX, PAYLOAD_TYPES_MAX, TEXT_BYTES_MAX};
use super::{Description, Direction, Error, Media};
use crate::media::Kind;
use crate::rtp::format::PayloadFormat;

impl Description {
    /// Reads what cameras and encoders send. Repairs, with who needs them (reference/client-habits.md 4.3):
    /// - Lines end with CRLF, LF or CR; tabs and spaces stand anywhere; what is no UTF-8 is Latin-1.
    /// - `v`, `o`, `c`, `t`, `b` and unknown lines are not read, so that they may be wrong, missing or repeated (Uniview,
    ///   Hanwha, Verint, Avigilon, Bosch, Mercury, FritzBox); the first `s` counts.
    /// - A payload type without `a=rtpmap` is RFC 3551's, or what its parameters betray; an `a=rtpmap` of another number is
    ///   taken if it is the line's only one (TP-Link's `smart/1/90000`). The same number in two media is two formats.
    /// - `PCM` under a static payload type is that type's own encoding (Hikvision). Clock rate 0 or missing is the usual one.
    /// - Parameters may be divided by spaces; H.264 and H.265 without any take those of the same number on another line.
    /// - Of several payload types the first that is no redundancy, noise or key press.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn parse(text: &[u8]) -> Result<Description, Error> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(Error::TooLong {
                bytes: text.len(),
                bytes_max: TEXT_BYTES_MAX,
            });
        }
        let text = decoded(text);
        let mut description = Description::default();
        let mut named = false;
        let mut direction = None;
        let mut lines: Vec<Lines<'_>> = Vec::new();
        for (letter, value) in text.split(['\r', '\n']).filter_map(field) {
            let media = lines.len();
            match (letter, lines.last_mut()) {
                ('m', _) if media == MEDIA_MAX => return Err(Error::TooManyMedia { max: MEDIA_MAX }),
                ('m', _) => lines.push(Lines::new(value)),
                ('a', Some(medium)) => medium.attribute(value),
                ('a', None) => {
                    let (name, value) = attribute(value);
                    match name.to_ascii_lowercase().as_str() {
                        "control" => description.control = unquoted(value).to_owned(),
                        "range" => description.range = value.to_owned(),
                        name => direction = Direction::of(name).or(direction),
                    }
                }
                ('s', _) if !named => (description.name, named) = (value.to_owned(), true),
                _ => {}
            }
        }
        if lines.is_empty() {
            return Err(Error::NoMedia);
        }
        description.media = lines
            .iter()
            .map(|medium| medium.read(direction.unwrap_or_default(), &lines))
            .collect();
        Ok(description)
    }
}

/// One `m=` line and the attributes behind it that matter.
#[derive(Debug)]
struct Lines<'a> {
    kind: Kind,
    port: u16,
    protocol: &'a str,
    /// In the order of the line.
    payload_types: Vec<u8>,
    rtpmaps: Vec<(u8, &'a str)>,
    fmtps: Vec<(u8, &'a str)>,
    control: &'a str,
    direction: Option<Direction>,
}

impl<'a> Lines<'a> {
    fn new(value: &'a str) -> Self {
        let mut words = value.split_whitespace();
        let kind = match words.next() {
            Some(word) if word.eq_ignore_ascii_case("video") => Kind::Video,
            Some(word) if word.eq_ignore_ascii_case("audio") => Kind::Audio,
            _ => Kind::Meta,
        };
        let port = number(words.next().unwrap_or_default()).map_or(0, |(port, _)| port);
        let protocol = words.next().unwrap_or_default();
        let numbers = words
            .filter_map(|word| word.parse().ok())
            .filter(|number| *number < 128);
        Lines {
            kind,
            port: u16::try_from(port).unwrap_or(0),
            protocol,
            payload_types: numbers.take(PAYLOAD_TYPES_MAX).collect(),
            rtpmaps: Vec::new(),
            fmtps: Vec::new(),
            control: "",
            direction: None,
        }
    }

    fn attribute(&mut self, text: &'a str) {
        let (name, value) = attribute(text);
        let numbered = || {
            let (number, rest) = number(value)?;
            let payload_type = u8::try_from(number).ok().filter(|number| *number < 128)?;
            Some((payload_type, rest.trim()))
        };
        match name.to_ascii_lowercase().as_str() {
            "rtpmap" if self.rtpmaps.len() < PAYLOAD_TYPES_MAX => self.rtpmaps.extend(numbered()),
            "fmtp" if self.fmtps.len() < PAYLOAD_TYPES_MAX => self.fmtps.extend(numbered()),
            "control" => self.control = unquoted(value),
            name => self.direction = Direction::of(name).or(self.direction),
        }
    }

    fn read(&self, direction: Direction, all: &[Lines<'_>]) -> Media {
        Media {
            port: self.port,
            protocol: self.protocol.to_owned(),
            control: self.control.to_owned(),
            direction: self.direction.unwrap_or(direction),
            group: None,
            format: self.is_rtp().then(|| self.format(all)).flatten(),
        }
    }

    fn is_rtp(&self) -> bool {
        self.protocol
            .get(..4)
            .is_some_and(|begin| begin.eq_ignore_ascii_case("RTP/"))
    }

    fn format(&self, all: &[Lines<'_>]) -> Option<PayloadFormat> {
        let mut payload_types = self.payload_types.clone();
        if payload_types.is_empty() {
            payload_types.extend(self.rtpmaps.first().map(|(payload_type, _)| *payload_type));
        }
        let formats = payload_types
            .iter()
            .map(|payload_type| self.of_type(*payload_type, all));
        formats
            .into_iter()
            .find(|format| !BESIDE.contains(&format.encoding.as_str()))
    }

    fn of_type(&self, payload_type: u8, all: &[Lines<'_>]) -> PayloadFormat {
        let is_alone = self.payload_types.len() <= 1 && self.rtpmaps.len() == 1;
        let same = self.rtpmaps.iter().find(|(number, _)| *number == payload_type);
        let known = STATIC.iter().find(|(number, ..)| *number == payload_type);
        // Another's number only where there is nothing better.
        let other = self.rtpmaps.first().filter(|_| is_alone && known.is_none());
        let mut parameters = Vec::new();
        for (_, text) in self.fmtps.iter().filter(|(number, _)| *number == payload_type) {
            read_parameters(text, &mut parameters);
        }
        if let (None, Some((number, _))) = (same, other) {
            let theirs = self
                .fmtps
                .iter()
                .filter(|(other, _)| other == number && *other != payload_type);
            theirs.for_each(|(_, text)| read_parameters(text, &mut parameters));
        }
        let mut format = match (same.or(other), known) {
            (Some((_, map)), known) => self.mapped(payload_type, map, known),
            (None, Some(known)) => self.fixed(payload_type, known),
            (None, None) => self.mapped(payload_type, betrayed(&parameters), None),
        };
        if parameters.is_empty() && matches!(format.encoding.as_str(), "H264" | "H265") {
            let elsewhere = all.iter().flat_map(|lines| &lines.fmtps);
            let theirs = elsewhere.filter(|(number, _)| *number == payload_type);
            theirs.for_each(|(_, text)| read_parameters(text, &mut parameters));
        }
        format.parameters = parameters;
        format
    }

    /// `ENCODING/CLOCK/CHANNELS`
    fn mapped(&self, payload_type: u8, map: &str, known: Option<&Static>) -> PayloadFormat {
        let mut parts = map.split('/').map(str::trim);
        let encoding = parts.next().and_then(|part| part.split_whitespace().next());
        let graphic = encoding.unwrap_or_default().chars().filter(char::is_ascii_graphic);
        let encoding: String = graphic.map(|char| char.to_ascii_uppercase()).collect();
        if let Some(known) = known.filter(|_| encoding == "PCM" || encoding.is_empty()) {
            return self.fixed(payload_type, known);
        }
        let mut positive = || {
            let (number, _) = number(parts.next().unwrap_or_default())?;
            Some(number).filter(|number| *number > 0)
        };
        let usual = match (self.kind, known) {
            (_, Some((.., rate, _))) => *rate,
            (Kind::Audio, None) if encoding == "OPUS" => 48_000,
            (Kind::Audio, None) => 8_000,
            _ => 90_000,
        };
        let clock_rate = positive().unwrap_or(usual);
        let channels = positive().unwrap_or(1).min(CHANNELS_MAX);
        PayloadFormat {
            kind: self.kind,
            payload_type,
            encoding,
            clock_rate,
            channels: if self.kind == Kind::Audio { channels } else { 0 },
            parameters: Vec::new(),
        }
    }

    fn fixed(&self, payload_type: u8, (_, encoding, clock_rate, channels): &Static) -> PayloadFormat {
        PayloadFormat {
            kind: self.kind,
            payload_type,
            encoding: (*encoding).to_owned(),
            clock_rate: *clock_rate,
            channels: if self.kind == Kind::Audio { *channels } else { 0 },
            parameters: Vec::new(),
        }
    }
}

impl Direction {
    fn of(attribute: &str) -> Option<Direction> {
        match attribute {
            "sendrecv" => Some(Direction::SendReceive),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::ReceiveOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        }
    }
}

/// What an encoding must be when only its parameters are there.
fn betrayed(parameters: &[(String, String)]) -> &'static str {
    let has = |name: &str| parameters.iter().any(|(known, _)| known == name);
    if has("sprop-parameter-sets") {
        "H264"
    } else if has("sprop-vps") || has("sprop-sps") {
        "H265"
    } else if has("config") && has("mode") {
        "MPEG4-GENERIC"
    } else {
        ""
    }
}

/// `name=value; name = value`, some with spaces for semicolons.
fn read_parameters(text: &str, parameters: &mut Vec<(String, String)>) {
    for piece in text.split(';') {
        let mut rest = piece.trim();
        while !rest.is_empty() && parameters.len() < PARAMETERS_MAX {
            let end = next_parameter(rest);
            let (name, value) = rest[..end].split_once('=').unwrap_or((&rest[..end], ""));
            parameters.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            rest = rest[end..].trim_start();
        }
    }
}

/// Where behind a space another `name=value` begins; the text's length if there is none. Padding of base64 is no `=`.
fn next_parameter(text: &str) -> usize {
    let spaces = text.match_indices([' ', '\t']).map(|(at, _)| at);
    let begins_another = |at: &usize| {
        let before = text[..*at].trim_end();
        let behind = text[*at + 1..].trim_start();
        let Some((name, value)) = behind.split_once('=') else {
            return false;
        };
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let is_split = before.ends_with(['=', ',']) && !before.ends_with("==") && !before.contains(',');
        is_name && !is_split && !value.is_empty() && !value.starts_with(['=', ' ', ','])
    };
    spaces.into_iter().find(begins_another).unwrap_or(text.len())
}

/// UTF-8, or Latin-1 for what is none.
fn decoded(text: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(text) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(text.iter().map(|byte| char::from(*byte)).collect()),
    }
}

/// `x=value`, with spaces anywhere.
fn field(line: &str) -> Option<(char, &str)> {
    let line = line.trim_matches(|char: char| char.is_whitespace() || char == '\0' || char == '\u{feff}');
    let mut chars = line.chars();
    let letter = chars.next()?;
    let value = chars.as_str().trim_start().strip_prefix('=')?;
    Some((letter, value.trim()))
}

/// `name:value`, or a name alone.
fn attribute(text: &str) -> (&str, &str) {
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    (name.trim(), value.trim())
}

/// The number that a text begins with, and the rest.
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

fn unquoted(text: &str) -> &str {
    text.trim_matches('"')
}

type Static = (u8, &'static str, u32, u32);

/// Payload types of RFC 3551, 6: number, encoding, clock rate, channels.
const STATIC: [Static; 24] = [
    (0, "PCMU", 8_000, 1),
    (3, "GSM", 8_000, 1),
    (4, "G723", 8_000, 1),
    (5, "DVI4", 8_000, 1),
    (6, "DVI4", 16_000, 1),
    (7, "LPC", 8_000, 1),
    (8, "PCMA", 8_000, 1),
    (9, "G722", 8_000, 1),
    (10, "L16", 44_100, 2),
    (11, "L16", 44_100, 1),
    (12, "QCELP", 8_000, 1),
    (13, "CN", 8_000, 1),
    (14, "MPA", 90_000, 1),
    (15, "G728", 8_000, 1),
    (16, "DVI4", 11_025, 1),
    (17, "DVI4", 22_050, 1),
    (18, "G729", 8_000, 1),
    (25, "CELB", 90_000, 0),
    (26, "JPEG", 90_000, 0),
    (28, "NV", 90_000, 0),
    (31, "H261", 90_000, 0),
    (32, "MPV", 90_000, 0),
    (33, "MP2T", 90_000, 0),
    (34, "H263", 90_000, 0),
];

/// Encodings that accompany others on their line.
const BESIDE: [&str; 7] = [
    "TELEPHONE-EVENT",
    "CN",
    "RED",
    "ULPFEC",
    "FLEXFEC-03",
    "RTX",
    "PARITYFEC",
];

/// More channels than any format of RFC 3551 has.
const CHANNELS_MAX: u32 = 255;
