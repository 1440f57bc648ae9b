//! Writes manifests, first as text and then as the UTF-16 that players expect.

use std::fmt::Write;

use super::{Options, TIMESCALE, bitrate};
use crate::codec::{h264, hevc};
use crate::media::{Codec, Format, Presentation, Rendition, Track, rescale};
use crate::xml::escape;

/// The manifest of a stream, put into `out`, which is cleared. `false`, and nothing written: there is nothing to be shown, yet
/// or at all.
pub fn manifest(
    presentation: &Presentation,
    video: &[&Rendition],
    audio: &[&Rendition],
    options: Options,
    out: &mut Vec<u8>,
) -> bool {
    out.clear();
    let mut pictures: Vec<Line<'_>> = Vec::new();
    for line in video.iter().filter_map(|rendition| Line::new(rendition)) {
        if pictures.first().is_none_or(|first| line.is_aligned_with(first)) {
            pictures.push(line);
        }
    }
    // What is listed is there in each of them.
    let shared = pictures.clone();
    for line in &mut pictures {
        line.chunks
            .retain(|chunk| shared.iter().all(|other| other.at(chunk.0).is_some()));
    }
    let sounds: Vec<Line<'_>> = audio.iter().filter_map(|rendition| Line::new(rendition)).collect();
    let all = || pictures.iter().chain(&sounds);
    // A player takes the streams that it finds at first, and no later ones.
    if all().next().is_none() || all().any(|line| line.chunks.is_empty()) {
        return false;
    }
    let mut text = "<?xml version=\"1.0\" encoding=\"utf-16\"?>\n".to_owned();
    head(presentation, options, all().map(Line::span), &mut text);
    for (at, line) in sounds.iter().enumerate() {
        let name = if at == 0 {
            "audio".to_owned()
        } else {
            format!("audio_{}", line.track.id)
        };
        stream_index(
            &presentation.epoch,
            "audio",
            &name,
            std::slice::from_ref(line),
            &mut text,
        );
    }
    if !pictures.is_empty() {
        stream_index(&presentation.epoch, "video", "video", &pictures, &mut text);
    }
    text.push_str("</SmoothStreamingMedia>\n");
    out.extend_from_slice(&[0xff, 0xfe]);
    out.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    true
}

/// A track that Smooth can carry.
#[derive(Clone, Debug)]
struct Line<'a> {
    rendition: &'a Rendition,
    track: &'a Track,
    bitrate: u64,
    four: &'static str,
    private: String,
    /// Time and duration, ms.
    chunks: Vec<(i64, i64)>,
}

impl<'a> Line<'a> {
    fn new(rendition: &'a Rendition) -> Option<Self> {
        let track = rendition.tracks.first()?;
        let (four, private) = private(track)?;
        let measured = rendition.rate.peak.max(rendition.rate.average);
        let bits = if measured > 0 {
            measured
        } else {
            u64::from(track.bitrate_hint)
        };
        // Nothing comes of it, and it is not waited for.
        if !rendition.segments.is_empty() && rendition.segments.iter().all(|segment| segment.gap) {
            return None;
        }
        let is_current = |generation: u32| generation == track.generation;
        let following = rendition
            .segments
            .iter()
            .skip(1)
            .chain(&rendition.growing)
            .map(Some)
            .chain([None]);
        let mut chunks = Vec::with_capacity(rendition.segments.len());
        for (segment, next) in rendition.segments.iter().zip(following) {
            let time = segment.name_millis;
            let own = rescale(segment.shown + segment.duration, rendition.timescale, TIMESCALE) - time;
            let distance = next.map(|next| next.name_millis - time);
            let slack = SLACK_MILLIS;
            let duration = distance
                .filter(|distance| (1..=own + slack).contains(distance))
                .unwrap_or(own);
            if !segment.gap && time >= 0 && duration > 0 && is_current(segment.generation) {
                chunks.push((time, duration));
            }
        }
        Some(Line {
            rendition,
            track,
            bitrate: bitrate(bits.max(super::BITRATE_UNIT), track.id)?,
            four,
            private,
            chunks,
        })
    }

    fn at(&self, time: i64) -> Option<&(i64, i64)> {
        self.chunks.iter().find(|(known, _)| *known == time)
    }

    /// Whatever is there of both has the same times: nothing of one begins inside the other.
    fn is_aligned_with(&self, other: &Line<'_>) -> bool {
        let (Some(first), Some(last)) = (other.chunks.first(), other.chunks.last()) else {
            return true;
        };
        let mut within = self.chunks.iter().filter(|(time, _)| (first.0..=last.0).contains(time));
        self.track.codec == other.track.codec && within.all(|(time, _)| other.at(*time).is_some())
    }

    fn span(&self) -> (i64, i64) {
        let first = self.chunks.first().map_or(0, |first| first.0);
        (first, self.chunks.last().map_or(0, |last| last.0 + last.1))
    }
}

/// As in DASH: two packets of the slowest AAC; more is a hole that is shown.
const SLACK_MILLIS: i64 = 130;

/// FourCC and CodecPrivateData (2.2.2.5). `None`: no player knows it in Smooth.
fn private(track: &Track) -> Option<(&'static str, String)> {
    let mut hex = String::new();
    let mut sets = |sets: &mut dyn Iterator<Item = &[u8]>| {
        for set in sets {
            hex.push_str("00000001");
            set.iter().for_each(|byte| push_hex(*byte, &mut hex));
        }
    };
    let four = match track.codec {
        Codec::H264 => {
            let config = h264::Config::parse(&track.codec_data).ok()?;
            sets(&mut config.sps().chain(config.pps()));
            "H264"
        }
        Codec::Hevc => {
            let config = hevc::Config::parse(&track.codec_data).ok()?;
            sets(&mut config.vps().chain(config.sps()).chain(config.pps()));
            "HVC1"
        }
        Codec::Aac => {
            track.codec_data.iter().for_each(|byte| push_hex(*byte, &mut hex));
            "AACL"
        }
        _ => return None,
    };
    (!hex.is_empty()).then_some((four, hex))
}

fn push_hex(byte: u8, out: &mut String) {
    let _ = write!(out, "{byte:02x}");
}

fn head(presentation: &Presentation, options: Options, spans: impl Iterator<Item = (i64, i64)>, out: &mut String) {
    let (first, end) = spans.fold((i64::MAX, 0), |(first, end), span| (first.min(span.0), end.max(span.1)));
    let _ = write!(
        out,
        "<SmoothStreamingMedia MajorVersion=\"2\" MinorVersion=\"2\" TimeScale=\"{TIMESCALE}\""
    );
    if presentation.is_ended {
        let _ = writeln!(out, " Duration=\"{}\">", end - first);
        return;
    }
    let _ = writeln!(
        out,
        " Duration=\"0\" IsLive=\"TRUE\" LookAheadFragmentCount=\"{}\" DVRWindowLength=\"{}\" CanSeek=\"TRUE\" \
         CanPause=\"TRUE\">",
        options.look_ahead, presentation.window_millis
    );
}

/// Quality levels of one kind with the list that they share.
fn stream_index(epoch: &str, kind: &str, name: &str, lines: &[Line<'_>], out: &mut String) {
    let chunks = &lines[0].chunks;
    let _ = write!(
        out,
        "<StreamIndex Type=\"{kind}\" Name=\"{name}\" QualityLevels=\"{}\" Chunks=\"{}\" TimeScale=\"{TIMESCALE}\" \
         Url=\"Q({{bitrate}})/chunk_{{start time}}.m4s?e=",
        lines.len(),
        chunks.len()
    );
    escape(epoch, out);
    out.push('"');
    let sizes = || lines.iter().filter_map(|line| size(line.track));
    let (width, height) = (sizes().map(|size| size.0).max(), sizes().map(|size| size.1).max());
    if let (Some(width), Some(height)) = (width, height) {
        let _ = write!(
            out,
            " MaxWidth=\"{width}\" MaxHeight=\"{height}\" DisplayWidth=\"{width}\" DisplayHeight=\"{height}\""
        );
    }
    out.push_str(">\n");
    for (at, line) in lines.iter().enumerate() {
        let _ = write!(
            out,
            "<QualityLevel Index=\"{at}\" Bitrate=\"{}\" FourCC=\"{}\" CodecPrivateData=\"",
            line.bitrate, line.four
        );
        escape(&line.private, out);
        out.push('"');
        if let Some((width, height)) = size(line.track) {
            let _ = write!(out, " MaxWidth=\"{width}\" MaxHeight=\"{height}\"");
        }
        if let Format::Audio {
            sample_rate, channels, ..
        } = line.track.format
        {
            let rate = if sample_rate > 0 {
                sample_rate
            } else {
                line.rendition.timescale
            };
            // As decoded: 16 bits a sample; 255 is the wave format of raw AAC.
            let _ = write!(
                out,
                " SamplingRate=\"{rate}\" Channels=\"{channels}\" BitsPerSample=\"16\" PacketSize=\"{}\" AudioTag=\"255\"",
                2 * channels.max(1)
            );
        }
        out.push_str("/>\n");
    }
    // `d` is for what is not followed by another, but IIS writes it everywhere, and so `t`.
    for (time, duration) in chunks {
        let _ = writeln!(out, "<c t=\"{time}\" d=\"{duration}\"/>");
    }
    out.push_str("</StreamIndex>\n");
}

fn size(track: &Track) -> Option<(u32, u32)> {
    match track.format {
        Format::Video { width, height, .. } if width > 0 && height > 0 => Some((width, height)),
        _ => None,
    }
}
