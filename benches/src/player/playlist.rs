//! HLS playlists, as far as a player needs them to find what comes next.
//!
//! RFC 8216 and draft-pantos-hls-rfc8216bis (parts, hints, blocking reload). Unknown tags are passed over.

use std::str::FromStr;

use anyhow::{Context, bail};

/// A list that is longer is none: an hour of LL-HLS has some 400 KB.
pub const BYTES_MAX: usize = 4 << 20;
/// When `#EXT-X-START` and `HOLD-BACK` say nothing (RFC 8216, 6.3.3): so many segments from the end.
pub const START_SEGMENTS: usize = 3;

#[derive(Clone, Debug, PartialEq)]
pub enum Playlist {
    Master(Master),
    Media(Media),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Master {
    /// URI of the first variant's list, which players begin with, and of the sound that goes with it.
    pub picture: String,
    pub sound: Option<String>,
}

/// A segment, a part, or an initialisation section.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Piece {
    pub uri: String,
    pub seconds: f64,
    /// Offset and length.
    pub range: Option<(u64, u64)>,
    pub independent: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    pub whole: Piece,
    pub parts: Vec<Piece>,
    /// Index into [`Media::maps`].
    pub map: Option<usize>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Media {
    pub target_seconds: f64,
    /// Number of the first segment.
    pub first: u64,
    pub segments: Vec<Segment>,
    /// Parts of the segment that is not whole.
    pub open: Vec<Piece>,
    pub open_map: Option<usize>,
    pub hint: Option<Piece>,
    pub maps: Vec<Piece>,
    pub part_seconds: Option<f64>,
    pub part_hold_back: f64,
    pub can_block: bool,
    pub ended: bool,
}

/// What stands at a place.
#[derive(Clone, Debug, PartialEq)]
pub enum At {
    Piece {
        piece: Piece,
        next: Place,
        map: Option<usize>,
    },
    /// It is announced and can be asked for.
    Hint {
        piece: Piece,
        next: Place,
    },
    NotYet,
    /// It has left the list.
    Gone,
}

/// Segment number and part.
pub type Place = (u64, usize);

impl Media {
    pub fn is_low_latency(&self) -> bool {
        self.part_seconds.is_some() && self.can_block
    }

    /// What a reload would change.
    pub fn end(&self) -> (Place, bool) {
        ((self.first + self.segments.len() as u64, self.open.len()), self.ended)
    }

    pub fn at(&self, (number, part): Place) -> At {
        let Some(index) = number.checked_sub(self.first) else {
            return At::Gone;
        };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let low_latency = self.is_low_latency();
        if let Some(segment) = self.segments.get(index) {
            let map = segment.map;
            return match segment.parts.get(part) {
                Some(piece) if low_latency => At::Piece {
                    piece: piece.clone(),
                    next: (number, part + 1),
                    map,
                },
                _ if part == 0 => At::Piece {
                    piece: segment.whole.clone(),
                    next: (number + 1, 0),
                    map,
                },
                _ => self.at((number + 1, 0)),
            };
        }
        if index > self.segments.len() || !low_latency {
            return At::NotYet;
        }
        let next = (number, part + 1);
        match (self.open.get(part), &self.hint) {
            (Some(piece), _) => At::Piece {
                piece: piece.clone(),
                next,
                map: self.open_map,
            },
            (None, Some(hint)) if part == self.open.len() => At::Hint {
                piece: hint.clone(),
                next,
            },
            _ => At::NotYet,
        }
    }

    /// Where a player begins.
    pub fn start(&self) -> Place {
        if self.is_low_latency()
            && let Some(place) = self.start_part()
        {
            return place;
        }
        let back = if self.ended {
            self.segments.len()
        } else {
            START_SEGMENTS
        };
        (self.first + self.segments.len().saturating_sub(back) as u64, 0)
    }

    /// The newest part that can be begun with and is far enough from the end.
    fn start_part(&self) -> Option<Place> {
        let mut seconds = 0.0;
        let open = (self.segments.len(), &self.open);
        let whole = self.segments.iter().map(|segment| &segment.parts).enumerate();
        for (index, parts) in whole.chain([open]).rev() {
            for (part, piece) in parts.iter().enumerate().rev() {
                seconds += piece.seconds;
                if seconds >= self.part_hold_back && (piece.independent || part == 0) {
                    return Some((self.first + index as u64, part));
                }
            }
        }
        None
    }

    /// Forgets what stands before a segment.
    pub fn forget_before(&mut self, number: u64) {
        let gone = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let gone = gone.min(self.segments.len());
        self.segments.drain(..gone);
        self.first += gone as u64;
    }
}

pub fn parse(text: &str) -> anyhow::Result<Playlist> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    if lines
        .next()
        .is_none_or(|line| line.trim_start_matches('\u{feff}') != "#EXTM3U")
    {
        bail!("no playlist");
    }
    if text.contains("#EXT-X-STREAM-INF:") {
        return parse_master(text).map(Playlist::Master);
    }
    let mut reading = Reading::default();
    for line in lines {
        reading
            .line(line)
            .with_context(|| format!("in the playlist's line {line:?}"))?;
    }
    Ok(Playlist::Media(reading.media))
}

fn parse_master(text: &str) -> anyhow::Result<Master> {
    let (mut variant, mut picture, mut group) = (false, None, None);
    let mut sounds: Vec<(String, Option<String>)> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(attributes) = line.strip_prefix("#EXT-X-STREAM-INF:") {
            variant = true;
            if picture.is_none() {
                group = attribute(attributes, "AUDIO");
            }
        } else if let Some(attributes) = line.strip_prefix("#EXT-X-MEDIA:") {
            if attribute(attributes, "TYPE").as_deref() == Some("AUDIO") {
                let group = attribute(attributes, "GROUP-ID").unwrap_or_default();
                sounds.push((group, attribute(attributes, "URI")));
            }
        } else if !line.starts_with('#') && std::mem::take(&mut variant) && picture.is_none() {
            picture = Some(line.to_owned());
        }
    }
    let sound = group.and_then(|group| sounds.into_iter().find(|(of, _)| *of == group)?.1);
    Ok(Master {
        picture: picture.context("the master playlist names no variant")?,
        sound,
    })
}

/// A list as far as it was read.
#[derive(Debug, Default)]
struct Reading {
    media: Media,
    seconds: f64,
    range: Option<(u64, Option<u64>)>,
    /// Where the range before ended, for one without an offset.
    range_end: u64,
    part_end: u64,
}

impl Reading {
    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        let media = &mut self.media;
        match tag {
            "#EXT-X-TARGETDURATION" => media.target_seconds = number(value)?,
            "#EXT-X-MEDIA-SEQUENCE" => media.first = number(value)?,
            "#EXTINF" => self.seconds = number(value.split(',').next().unwrap_or_default())?,
            "#EXT-X-BYTERANGE" => self.range = Some(range(value)?),
            "#EXT-X-MAP" => {
                let range = attribute(value, "BYTERANGE").map(|text| range(&text)).transpose()?;
                media.maps.push(Piece {
                    uri: attribute(value, "URI").context("no URI")?,
                    range: range.map(|(bytes, from)| (from.unwrap_or(0), bytes)),
                    ..Piece::default()
                });
                media.open_map = Some(media.maps.len() - 1);
            }
            "#EXT-X-PART-INF" => {
                media.part_seconds = attribute(value, "PART-TARGET").map(|text| number(&text)).transpose()?
            }
            "#EXT-X-SERVER-CONTROL" => {
                media.can_block = attribute(value, "CAN-BLOCK-RELOAD").as_deref() == Some("YES");
                let hold_back = attribute(value, "PART-HOLD-BACK")
                    .map(|text| number(&text))
                    .transpose()?;
                media.part_hold_back = hold_back.unwrap_or(0.0);
            }
            "#EXT-X-PART" => {
                let part = self.part(value)?;
                self.media.open.push(part);
            }
            "#EXT-X-PRELOAD-HINT" if attribute(value, "TYPE").as_deref() == Some("PART") => {
                media.hint = Some(hint(value)?);
            }
            "#EXT-X-ENDLIST" => media.ended = true,
            _ if line.starts_with('#') => {}
            uri => self.segment(uri),
        }
        Ok(())
    }

    fn segment(&mut self, uri: &str) {
        let range = self
            .range
            .take()
            .map(|(bytes, from)| (from.unwrap_or(self.range_end), bytes));
        self.range_end = range.map_or(0, |(from, bytes)| from + bytes);
        let whole = Piece {
            uri: uri.to_owned(),
            seconds: std::mem::take(&mut self.seconds),
            range,
            independent: true,
        };
        let parts = std::mem::take(&mut self.media.open);
        let map = self.media.open_map;
        self.media.segments.push(Segment { whole, parts, map });
    }

    fn part(&mut self, value: &str) -> anyhow::Result<Piece> {
        let range = attribute(value, "BYTERANGE").map(|text| range(&text)).transpose()?;
        let range = range.map(|(bytes, from)| (from.unwrap_or(self.part_end), bytes));
        self.part_end = range.map_or(0, |(from, bytes)| from + bytes);
        Ok(Piece {
            uri: attribute(value, "URI").context("no URI")?,
            seconds: number(&attribute(value, "DURATION").context("no DURATION")?)?,
            range,
            independent: attribute(value, "INDEPENDENT").as_deref() == Some("YES"),
        })
    }
}

/// A hint without a length goes on until the resource ends.
fn hint(value: &str) -> anyhow::Result<Piece> {
    let from = attribute(value, "BYTERANGE-START")
        .map(|text| number::<u64>(&text))
        .transpose()?;
    let bytes = attribute(value, "BYTERANGE-LENGTH")
        .map(|text| number::<u64>(&text))
        .transpose()?;
    Ok(Piece {
        uri: attribute(value, "URI").context("no URI")?,
        range: match (from, bytes) {
            (None | Some(0), None) => None,
            (from, bytes) => Some((from.unwrap_or(0), bytes.unwrap_or(u64::from(u32::MAX)))),
        },
        ..Piece::default()
    })
}

fn number<T: FromStr>(text: &str) -> anyhow::Result<T> {
    let parsed = text.trim().parse().ok();
    parsed.with_context(|| format!("{text:?} is no number"))
}

/// `BYTES[@FROM]`
fn range(text: &str) -> anyhow::Result<(u64, Option<u64>)> {
    match text.split_once('@') {
        Some((bytes, from)) => Ok((number(bytes)?, Some(number(from)?))),
        None => Ok((number(text)?, None)),
    }
}

/// One of `NAME=VALUE,NAME="VALUE"`; commas may stand in quotes.
fn attribute(list: &str, name: &str) -> Option<String> {
    let mut rest = list;
    while !rest.is_empty() {
        let (found, behind) = rest.split_once('=')?;
        let (value, behind) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => behind.split_at(behind.find(',').unwrap_or(behind.len())),
        };
        if found.trim() == name {
            return Some(value.to_owned());
        }
        rest = behind.trim_start_matches(',');
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW_LATENCY: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-VERSION:9\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.6\n#EXT-X-PART-INF:PART-TARGET=0.2\n\
        #EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-MAP:URI=\"i,nit.mp4\"\n#EXTINF:2.0,\n7.m4s\n\
        #EXT-X-PART:DURATION=0.2,URI=\"8.0.m4s\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.2,URI=\"8.1.m4s\"\n\
        #EXTINF:0.4,\n8.m4s\n#EXT-X-PART:DURATION=0.2,INDEPENDENT=YES,BYTERANGE=\"10@0\",URI=\"9.m4s\"\n\
        #EXT-X-PART:DURATION=0.2,BYTERANGE=\"5\",URI=\"9.m4s\"\n\
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"9.m4s\",BYTERANGE-START=15\n";

    fn media(text: &str) -> Media {
        match parse(text).unwrap() {
            Playlist::Media(media) => media,
            Playlist::Master(_) => panic!("{text}"),
        }
    }

    #[test]
    fn parts_are_followed_to_the_hint() {
        let list = media(LOW_LATENCY);
        assert!(list.is_low_latency());
        // 0.6 s from the end is the middle of segment 8, which begins independently 0.8 s from it.
        let mut place = list.start();
        assert_eq!(place, (8, 0));
        let mut seen = Vec::new();
        loop {
            match list.at(place) {
                At::Piece { piece, next, map } => {
                    assert_eq!(map, Some(0));
                    seen.push((piece.uri, piece.range));
                    place = next;
                }
                At::Hint { piece, next } => {
                    assert_eq!(
                        (piece.uri.as_str(), piece.range),
                        ("9.m4s", Some((15, u64::from(u32::MAX))))
                    );
                    assert_eq!(next, (9, 3));
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        let expected = [
            ("8.0.m4s", None),
            ("8.1.m4s", None),
            ("9.m4s", Some((0, 10))),
            ("9.m4s", Some((10, 5))),
        ];
        assert_eq!(seen, expected.map(|(uri, range)| (uri.to_owned(), range)));
        assert_eq!(list.at((6, 0)), At::Gone);
        assert_eq!(list.at((9, 3)), At::NotYet);
        assert_eq!(list.maps[0].uri, "i,nit.mp4");
        assert_eq!(list.end(), ((9, 2), false));
    }

    #[test]
    fn segments_are_begun_three_from_the_end() {
        let mut text = "#EXTM3U\r\n#EXT-X-TARGETDURATION:6\r\n#EXT-X-MEDIA-SEQUENCE:100\r\n".to_owned();
        for number in 0..5 {
            text += &format!("#EXT-X-BYTERANGE:10\r\n#EXTINF:5.9,title, more\r\nall.ts?{number}\r\n");
        }
        let mut list = media(&text);
        assert!(!list.is_low_latency());
        assert_eq!(list.start(), (102, 0));
        list.forget_before(102);
        assert_eq!((list.first, list.segments.len(), list.at((101, 0))), (102, 3, At::Gone));
        let At::Piece { piece, next, .. } = list.at((104, 0)) else {
            panic!()
        };
        assert_eq!((piece.range, piece.seconds, next), (Some((40, 10)), 5.9, (105, 0)));
        assert_eq!(list.at((105, 0)), At::NotYet);
        assert_eq!(media(&(text + "#EXT-X-ENDLIST\r\n")).start(), (100, 0));
    }

    #[test]
    fn the_first_variant_and_its_sound_are_taken() {
        let text = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"x,y\",URI=\"a.m3u8\"\n\
                    #EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"a\"\nv1.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nv2.m3u8\n";
        let expected = Master {
            picture: "v1.m3u8".into(),
            sound: Some("a.m3u8".into()),
        };
        assert_eq!(parse(text).unwrap(), Playlist::Master(expected));
        for bad in [
            "",
            "<html>",
            "#EXTM3U\n#EXTINF:x,\na.ts\n",
            "#EXTM3U\n#EXT-X-STREAM-INF:A=1\n",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
