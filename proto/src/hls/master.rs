//! The multivariant playlist: which renditions there are, and what a player needs to choose (4.4.6).

use super::limits::{AUDIO_BANDWIDTH_GUESS, VIDEO_BANDWIDTH_GUESS};
use super::text::put;
use super::{Newest, Packaging};
use crate::media::{Codec, Format, Kind, Presentation, Rate, Rendition, Track};

/// RFC 6381 name of a track's codec, as `CODECS` wants it; `None` where it is not known, and then no `CODECS` is written: an
/// incomplete list is against 6.2.4.
pub type CodecName<'a> = &'a dyn Fn(&Track) -> Option<String>;

/// Appends `/hls/NAME/index.m3u8`: one variant for each rendition, with picture and sound in the same segments.
pub fn master_ts(presentation: &Presentation, renditions: &[&Rendition], codec: CodecName<'_>, out: &mut String) {
    head(presentation, Packaging::Ts, out);
    for rendition in renditions {
        Variant {
            rendition,
            codecs: names(&rendition.tracks, codec),
            rate: rate_of(rendition),
            audio: None,
        }
        .write("", out);
    }
}

/// Appends `/cmaf/NAME/index.m3u8`: each picture is a variant with all sounds of one codec as its group; without pictures the
/// first sound of each group is.
///
/// Groups must have the same members (4.4.6.1.1), so that of several codecs those with the most tracks are shown.
pub fn master_cmaf(
    presentation: &Presentation,
    video: &[&Rendition],
    audio: &[&Rendition],
    newest: Newest,
    codec: CodecName<'_>,
    out: &mut String,
) {
    head(presentation, Packaging::Cmaf, out);
    let groups = groups(audio, codec);
    let query = newest.query();
    // A single sound without a picture is no group: it is the variant.
    let is_grouped = !video.is_empty() || groups.iter().any(|group| group.members.len() > 1);
    if is_grouped {
        groups.iter().for_each(|group| group.write(query, out));
    }
    for rendition in video {
        let codecs = names(&rendition.tracks, codec);
        if groups.is_empty() {
            Variant {
                rendition,
                codecs: codecs.clone(),
                rate: rate_of(rendition),
                audio: None,
            }
            .write(query, out);
        }
        for group in &groups {
            let (own, sound) = (rate_of(rendition), group.rate());
            Variant {
                rendition,
                codecs: codecs
                    .as_ref()
                    .zip(group.codec.as_ref())
                    .map(|(own, sound)| format!("{own},{sound}")),
                rate: Rate {
                    peak: own.peak + sound.peak,
                    average: own.average + sound.average,
                },
                audio: Some(&group.id),
            }
            .write(query, out);
        }
    }
    if video.is_empty() {
        for group in &groups {
            Variant {
                rendition: group.members[0],
                codecs: group.codec.clone(),
                rate: group.rate(),
                audio: is_grouped.then_some(group.id.as_str()),
            }
            .write(query, out);
        }
    }
}

fn head(presentation: &Presentation, packaging: Packaging, out: &mut String) {
    let version = match packaging {
        Packaging::Ts => 3,
        Packaging::Cmaf => 6,
    };
    put(out, format_args!("#EXTM3U\n#EXT-X-VERSION:{version}\n"));
    if presentation.is_independent {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
}

struct Variant<'a> {
    rendition: &'a Rendition,
    codecs: Option<String>,
    rate: Rate,
    audio: Option<&'a str>,
}

impl Variant<'_> {
    fn write(&self, query: &str, out: &mut String) {
        put(
            out,
            format_args!("#EXT-X-STREAM-INF:BANDWIDTH={}", self.rate.peak.max(self.rate.average)),
        );
        if self.rate.average > 0 {
            put(out, format_args!(",AVERAGE-BANDWIDTH={}", self.rate.average));
        }
        if let Some(codecs) = &self.codecs {
            put(out, format_args!(",CODECS=\"{codecs}\""));
        }
        let format = self.rendition.tracks.iter().find(|track| track.kind() == Kind::Video);
        if let Some(Format::Video {
            width,
            height,
            frame_rate,
        }) = format.map(|track| track.format)
        {
            if width > 0 && height > 0 {
                put(out, format_args!(",RESOLUTION={width}x{height}"));
            }
            let measured = self.rendition.frame_rate;
            let rate = if measured > 0.0 { measured } else { frame_rate };
            if rate.is_finite() && rate > 0.0 {
                put(out, format_args!(",FRAME-RATE={rate:.3}"));
            }
        }
        if let Some(group) = self.audio {
            put(out, format_args!(",AUDIO=\"{group}\""));
        }
        put(out, format_args!("\n{}/index.m3u8{query}\n", self.rendition.path));
    }
}

/// The sounds of one codec.
struct Group<'a> {
    id: String,
    kind: Codec,
    /// All that its members have, each once.
    codec: Option<String>,
    members: Vec<&'a Rendition>,
}

impl Group<'_> {
    /// Names are by place, so that the same member of another group has the same (4.4.6.1.1). The first is for those who do
    /// not choose; others are not chosen by themselves, for nothing tells them apart (same section: their languages would).
    fn write(&self, query: &str, out: &mut String) {
        for (at, member) in self.members.iter().enumerate() {
            let (id, number) = (&self.id, at + 1);
            put(
                out,
                format_args!("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{id}\",NAME=\"Audio {number}\""),
            );
            out.push_str(if at == 0 {
                ",DEFAULT=YES,AUTOSELECT=YES"
            } else {
                ",DEFAULT=NO,AUTOSELECT=NO"
            });
            if let Some(Format::Audio {
                channels: channels @ 1..,
                ..
            }) = member.tracks.first().map(|track| track.format)
            {
                put(out, format_args!(",CHANNELS=\"{channels}\""));
            }
            put(out, format_args!(",URI=\"{}/index.m3u8{query}\"\n", member.path));
        }
    }

    /// Of the member that takes most.
    fn rate(&self) -> Rate {
        let rates = || self.members.iter().map(|member| rate_of(member));
        Rate {
            peak: rates().map(|rate| rate.peak).max().unwrap_or(0),
            average: rates().map(|rate| rate.average).max().unwrap_or(0),
        }
    }
}

fn groups<'a>(audio: &[&'a Rendition], codec: CodecName<'_>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for rendition in audio {
        let Some(track) = rendition.tracks.first() else {
            continue;
        };
        match groups.iter_mut().find(|group| group.kind == track.codec) {
            Some(group) => group.members.push(rendition),
            None => groups.push(Group {
                id: format!("audio-{}", track.codec.name().to_ascii_lowercase()),
                kind: track.codec,
                codec: None,
                members: vec![rendition],
            }),
        }
    }
    let most = groups.iter().map(|group| group.members.len()).max().unwrap_or(0);
    groups.retain(|group| group.members.len() == most);
    for group in &mut groups {
        let tracks = group.members.iter().flat_map(|member| &member.tracks);
        group.codec = names(tracks, codec);
    }
    groups
}

/// All codecs of `tracks`, each once, or nothing.
fn names<'a>(tracks: impl IntoIterator<Item = &'a Track>, codec: CodecName<'_>) -> Option<String> {
    let mut found: Vec<String> = Vec::new();
    for track in tracks {
        let name = codec(track)?;
        if !found.contains(&name) {
            found.push(name);
        }
    }
    (!found.is_empty()).then(|| found.join(","))
}

/// As measured; before that what the publisher says, else what is common.
fn rate_of(rendition: &Rendition) -> Rate {
    if rendition.rate.peak > 0 {
        return rendition.rate;
    }
    let peak = rendition
        .tracks
        .iter()
        .map(|track| match (track.bitrate_hint, track.kind()) {
            (0, Kind::Video) => VIDEO_BANDWIDTH_GUESS,
            (0, _) => AUDIO_BANDWIDTH_GUESS,
            (hint, _) => u64::from(hint),
        });
    Rate {
        peak: peak.sum::<u64>().max(1),
        average: 0,
    }
}
