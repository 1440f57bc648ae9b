//! Whether a multivariant playlist is right (4.4.6).

use super::attributes::Attributes;
use super::lines::{Line, lines};
use super::tags::{self, Place, place};
use super::{Problem, Problems, What};

/// Judges one master playlist.
pub fn check_master(text: &str) -> Vec<Problem> {
    let mut problems = Problems::default();
    let mut master = Master::default();
    let mut seen: Vec<&str> = Vec::new();
    let mut variant_line: Option<usize> = None;
    for (line, what) in lines(text, &mut problems) {
        // The URI of a variant stands right behind it.
        let expected = variant_line.take();
        match what {
            Line::Uri(_) if expected.is_some() => {}
            Line::Uri(_) => problems.add(line, What::Loose("URI")),
            Line::Tag(name, value) => {
                if let Some(line) = expected {
                    problems.add(line, What::UriMissing);
                }
                if name == "#EXT-X-STREAM-INF" {
                    variant_line = Some(line);
                }
                master.tag(line, name, value, &mut seen, &mut problems);
            }
        }
    }
    if let Some(line) = variant_line {
        problems.add(line, What::UriMissing);
    }
    master.judge(&mut problems);
    problems.found
}

#[derive(Default)]
struct Master<'a> {
    variants: Vec<(usize, Attributes<'a>)>,
    media: Vec<(usize, Attributes<'a>)>,
}

impl<'a> Master<'a> {
    fn tag(
        &mut self,
        line: usize,
        name: &'a str,
        value: Option<&'a str>,
        seen: &mut Vec<&'a str>,
        problems: &mut Problems,
    ) {
        match place(name) {
            None => return problems.add(line, What::UnknownTag),
            Some(Place::Media) => return problems.add(line, What::Mixed),
            Some(_) => {}
        }
        let text = value.unwrap_or("");
        match name {
            "#EXT-X-STREAM-INF" => {
                let attributes = Attributes::read(text, tags::STREAM_INF, line, problems);
                variant(line, &attributes, problems);
                self.variants.push((line, attributes));
            }
            "#EXT-X-MEDIA" => {
                let attributes = Attributes::read(text, tags::MEDIA, line, problems);
                rendition(line, &attributes, problems);
                self.media.push((line, attributes));
            }
            "#EXT-X-VERSION" | "#EXT-X-INDEPENDENT-SEGMENTS" | "#EXTM3U" => {
                if seen.contains(&name) || name == "#EXTM3U" {
                    problems.add(line, What::Repeated("a tag that stands once"));
                }
                seen.push(name);
                let is_version = name == "#EXT-X-VERSION";
                if is_version != value.is_some_and(|value| super::attributes::integer(value).is_some()) {
                    problems.add(line, What::Value("EXT-X-VERSION"));
                }
            }
            _ => {}
        }
    }

    fn judge(&self, problems: &mut Problems) {
        if self.variants.is_empty() {
            problems.add(0, What::NoVariant);
        }
        for (line, variant) in &self.variants {
            for kind in KINDS {
                let Some(group) = variant.text(kind) else { continue };
                let members: Vec<_> = self.of(kind, group).collect();
                if members.is_empty() {
                    problems.add(*line, What::GroupUnknown);
                }
                let codecs = variant.text("CODECS");
                let has_sound = codecs.is_none_or(|codecs| codecs.split(',').any(is_sound));
                if kind == "AUDIO" && !has_sound {
                    problems.add(*line, What::CodecsWithoutAudio);
                }
            }
        }
        for (at, (line, media)) in self.media.iter().enumerate() {
            let (Some(kind), Some(group)) = (media.text("TYPE"), media.text("GROUP-ID")) else {
                continue;
            };
            if !self
                .variants
                .iter()
                .any(|(_, variant)| variant.text(kind) == Some(group))
            {
                problems.add(*line, What::GroupUnused);
            }
            let earlier = self.media[..at].iter().map(|(_, other)| other);
            let earlier =
                earlier.filter(|other| other.text("TYPE") == Some(kind) && other.text("GROUP-ID") == Some(group));
            let language = |media: &Attributes<'a>| {
                ["LANGUAGE", "ASSOC-LANGUAGE", "FORCED", "CHARACTERISTICS"].map(|name| media.text(name))
            };
            for other in earlier {
                if other.text("NAME") == media.text("NAME") {
                    problems.add(*line, What::NameTwice);
                }
                if other.is_yes("DEFAULT") && media.is_yes("DEFAULT") {
                    problems.add(*line, What::DefaultTwice);
                }
                let both = other.is_yes("AUTOSELECT") && media.is_yes("AUTOSELECT");
                if both && language(other) == language(media) {
                    problems.add(*line, What::SelectedAlike);
                }
            }
            // The same members in every group of a type, by name.
            let groups = self.media.iter().filter(|(_, other)| other.text("TYPE") == Some(kind));
            for other in groups
                .filter_map(|(_, other)| other.text("GROUP-ID"))
                .filter(|other| *other != group)
            {
                let is_there = self
                    .of(kind, other)
                    .any(|other| other.text("NAME") == media.text("NAME"));
                if !is_there {
                    problems.add(*line, What::GroupsDiffer);
                    break;
                }
            }
        }
    }

    fn of<'s>(&'s self, kind: &'s str, group: &'s str) -> impl Iterator<Item = &'s Attributes<'a>> {
        let media = self.media.iter().map(|(_, media)| media);
        media.filter(move |media| media.text("TYPE") == Some(kind) && media.text("GROUP-ID") == Some(group))
    }
}

fn variant(line: usize, attributes: &Attributes<'_>, problems: &mut Problems) {
    let peak = attributes.integer("BANDWIDTH");
    if peak == Some(0) {
        problems.add(line, What::AttributeValue("BANDWIDTH"));
    }
    if let (Some(peak), Some(average)) = (peak, attributes.integer("AVERAGE-BANDWIDTH"))
        && average > peak
    {
        problems.add(line, What::Bandwidth { average, peak });
    }
    match attributes.text("CODECS") {
        None => problems.add(line, What::CodecsMissing),
        Some(codecs) if codecs.split(',').any(|codec| codec.trim().is_empty()) => {
            problems.add(line, What::AttributeValue("CODECS"));
        }
        Some(_) => {}
    }
    let decimals = attributes.text("FRAME-RATE").and_then(|rate| rate.split_once('.'));
    if decimals.is_some_and(|(_, decimals)| decimals.len() > 3) {
        problems.add(line, What::AttributeValue("FRAME-RATE"));
    }
}

fn rendition(line: usize, attributes: &Attributes<'_>, problems: &mut Problems) {
    let kind = attributes.text("TYPE");
    let has_uri = attributes.text("URI").is_some();
    let is_wrong = match kind {
        Some("CLOSED-CAPTIONS") => has_uri || attributes.text("INSTREAM-ID").is_none(),
        Some("SUBTITLES") => !has_uri,
        _ => false,
    };
    if is_wrong {
        problems.add(line, What::MediaUri);
    }
    if attributes.is_yes("DEFAULT") && attributes.text("AUTOSELECT") == Some("NO") {
        problems.add(line, What::DefaultNotSelected);
    }
    if attributes.text("FORCED").is_some() && kind != Some("SUBTITLES") {
        problems.add(line, What::AttributeValue("FORCED"));
    }
}

fn is_sound(codec: &str) -> bool {
    ["mp4a", "opus", "Opus", "fLaC", "flac", "ac-3", "ec-3", "mp3"]
        .iter()
        .any(|name| codec.trim().starts_with(name))
}

const KINDS: [&str; 3] = ["AUDIO", "VIDEO", "SUBTITLES"];
