//! Playlists and manifests of a shelf: which are asked for, and what they say now. Each is made once per change, for all.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use penstock_proto::codec::rfc6381;
use penstock_proto::media::{Kind, Presentation, Rendition, Track};
use penstock_proto::{dash, hds, hls, smooth};

use super::Scene;
use super::lane::{Change, Lane};
use crate::counters::AppCounters;
use crate::limits;
use crate::shelf::{LaneKey, Naming, Newest, Skip, Text, TextKey};

/// A text that somebody asks for.
#[derive(Debug)]
pub struct Wanted {
    pub key: TextKey,
    /// When the home was last asked for it (µs).
    pub asked_at: u64,
    text: Option<Arc<Text>>,
    is_stale: bool,
}

impl Wanted {
    pub fn new(key: TextKey) -> Wanted {
        Wanted {
            key,
            asked_at: 0,
            text: None,
            is_stale: true,
        }
    }

    pub fn text(&self) -> Option<Arc<Text>> {
        self.text.clone()
    }

    pub fn stale(&mut self) {
        self.is_stale = true;
    }

    pub fn lane_changed(&mut self, lane: LaneKey, change: Change) {
        let concerns = match change {
            Change::None => false,
            Change::Parts => match self.key {
                TextKey::CmafMedia { track, newest, .. } => {
                    newest != Newest::Segments && lane == LaneKey::Cmaf { track }
                }
                _ => false,
            },
            Change::Segment => self.key.lists(lane),
        };
        self.is_stale |= concerns;
    }
}

/// Makes those that are not what they should be.
pub fn make(
    texts: &mut [Wanted],
    presentation: &Presentation,
    lanes: &[Lane],
    scene: &Scene<'_>,
    counters: &AppCounters,
) {
    for wanted in texts.iter_mut().filter(|wanted| wanted.is_stale) {
        let listed: Vec<&Lane> = lanes.iter().filter(|lane| wanted.key.lists(lane.key)).collect();
        if !is_ready(wanted.key, &listed) {
            continue;
        }
        let (bytes, edge) = Writer {
            presentation: &promised(presentation, &listed),
            lanes,
            scene,
            renditions: listed.iter().map(|lane| &lane.rendition).collect(),
            listed,
        }
        .write(wanted.key);
        // Not all that it has to list can be fetched yet.
        if bytes.is_empty() {
            continue;
        }
        wanted.is_stale = false;
        let etag = etag(&bytes);
        if wanted
            .text
            .as_ref()
            .is_some_and(|text| text.etag == etag && text.edge == edge)
        {
            continue;
        }
        counters.texts_made.add(1);
        wanted.text = Some(Arc::new(Text {
            key: wanted.key,
            gzip: gzip(&bytes),
            identity: Arc::from(bytes),
            etag_gzip: format!("{}-gz\"", &etag[..etag.len() - 1]),
            etag,
            edge,
            life_millis: life_millis(wanted.key, presentation),
        }));
    }
}

/// That segments begin with keyframes is promised of all that are listed.
fn promised(presentation: &Presentation, listed: &[&Lane]) -> Presentation {
    let segments = listed.iter().flat_map(|lane| &lane.rendition.segments);
    let is_kept = segments
        .filter(|segment| !segment.gap)
        .all(|segment| segment.independent);
    Presentation {
        is_independent: presentation.is_independent && is_kept,
        ..presentation.clone()
    }
}

/// Whether there is something to list: players do not begin with a playlist that has no segment.
fn is_ready(key: TextKey, listed: &[&Lane]) -> bool {
    let has_segment = |lane: &&Lane| lane.rendition.segments.iter().any(|segment| !segment.gap);
    match key {
        TextKey::TsMaster | TextKey::CmafMaster { .. } => !listed.is_empty(),
        _ => listed.iter().any(has_segment),
    }
}

/// All that a text can be made of.
struct Writer<'a> {
    presentation: &'a Presentation,
    lanes: &'a [Lane],
    scene: &'a Scene<'a>,
    /// What it lists.
    listed: Vec<&'a Lane>,
    renditions: Vec<&'a Rendition>,
}

impl<'a> Writer<'a> {
    /// The text of `key`, and the newest that it lists.
    fn write(&self, key: TextKey) -> (Vec<u8>, Option<hls::Edge>) {
        let rendition = self.renditions.first();
        let edge = rendition.and_then(|rendition| match key {
            TextKey::CmafMedia {
                newest: Newest::Segments,
                ..
            } => self.edge_of_segments(rendition),
            TextKey::TsMedia { .. } | TextKey::CmafMedia { .. } => hls::Edge::of(self.presentation, rendition),
            _ => None,
        });
        (self.bytes(key), edge)
    }

    /// Of a list without parts, whether or not there are some.
    fn edge_of_segments(&self, rendition: &Rendition) -> Option<hls::Edge> {
        Some(hls::Edge {
            number: rendition.segments.back()?.number,
            parts: 0,
            is_complete: true,
            is_ended: self.presentation.is_ended,
            part_target_micros: 0,
        })
    }

    fn bytes(&self, key: TextKey) -> Vec<u8> {
        let (video, audio) = (self.of(Kind::Video), self.of(Kind::Audio));
        let mut out = String::new();
        match key {
            TextKey::TsMaster => hls::master_ts(self.presentation, &self.renditions, &codec_name, &mut out),
            TextKey::CmafMaster { newest } => {
                let newest = hls_newest(newest);
                hls::master_cmaf(self.presentation, &video, &audio, newest, &codec_name, &mut out);
            }
            TextKey::TsMedia { .. } => self.media(hls::Packaging::Ts, Newest::Segments, Skip::No, &mut out),
            TextKey::CmafMedia { newest, skip, .. } => self.media(hls::Packaging::Cmaf, newest, skip, &mut out),
            TextKey::Mpd { naming } => self.mpd(naming, &video, &audio, &mut out),
            TextKey::Smooth => {
                let options = smooth::Options {
                    look_ahead: limits::SMOOTH_LOOK_AHEAD as u32,
                };
                let (video, audio) = (self.with_followers(&video), self.with_followers(&audio));
                let (video, audio): (Vec<_>, Vec<_>) = (video.iter().collect(), audio.iter().collect());
                let mut bytes = Vec::new();
                smooth::manifest(self.presentation, &video, &audio, options, &mut bytes);
                return bytes;
            }
            TextKey::Hds => hds::manifest(self.presentation, self.scene.name.as_str(), &self.renditions, &mut out),
            TextKey::HdsBootstrap { .. } => {
                let mut bytes = Vec::new();
                if let Some(rendition) = self.renditions.first() {
                    hds::bootstrap(self.presentation, rendition, &mut bytes);
                }
                return bytes;
            }
        }
        out.into_bytes()
    }

    /// Without the segments that those they tell of do not follow yet.
    fn with_followers(&self, renditions: &[&Rendition]) -> Vec<Rendition> {
        let mut listed: Vec<Rendition> = renditions.iter().map(|rendition| (*rendition).clone()).collect();
        if !self.presentation.is_ended {
            for rendition in &mut listed {
                let kept = rendition.segments.len().saturating_sub(limits::SMOOTH_LOOK_AHEAD);
                rendition.segments.truncate(kept);
            }
        }
        listed
    }

    fn of(&self, kind: Kind) -> Vec<&'a Rendition> {
        let is_of = |rendition: &&Rendition| rendition.tracks.first().is_some_and(|track| track.kind() == kind);
        self.renditions.iter().copied().filter(is_of).collect()
    }

    fn media(&self, packaging: hls::Packaging, newest: Newest, skip: Skip, out: &mut String) {
        let form = hls::Form {
            packaging,
            newest: hls_newest(newest),
            skip: match skip {
                Skip::No => hls::Skip::No,
                Skip::Yes => hls::Skip::Yes,
                Skip::V2 => hls::Skip::V2,
            },
            list_max: match packaging {
                hls::Packaging::Ts => self.scene.fetched.ts_list_max,
                hls::Packaging::Cmaf => self.scene.fetched.cmaf_list_max,
            } as usize,
        };
        // Whose lists go on though nobody fetches them are not reported: what is made is.
        let is_sibling = |lane: &&Lane| {
            let is_listed = self.listed.iter().any(|listed| listed.key == lane.key);
            matches!(lane.key, LaneKey::Cmaf { .. }) && lane.made.is_some() && !is_listed
        };
        let siblings: Vec<&Rendition> = self
            .lanes
            .iter()
            .filter(is_sibling)
            .map(|lane| &lane.rendition)
            .collect();
        if let Some(rendition) = self.renditions.first() {
            hls::media(self.presentation, rendition, &form, &siblings, out);
        }
    }

    fn mpd(&self, naming: Naming, video: &[&Rendition], audio: &[&Rendition], out: &mut String) {
        let first = video.first().or(audio.first()).map(|first| &first.path);
        let lane = self.listed.iter().find(|lane| Some(&lane.rendition.path) == first);
        let earlier = |track: &Track, generation: u32| {
            let mut known = self.scene.track_sets.iter().flat_map(|(_, tracks)| tracks);
            known
                .find(|known| known.id == track.id && known.generation == generation)
                .cloned()
        };
        let options = dash::Options {
            naming: match naming {
                Naming::Timeline => dash::Naming::Timeline,
                Naming::Number => dash::Naming::Number,
            },
            began: lane.and_then(|lane| lane.began),
            latency: Some(LATENCY),
            title: self.scene.name.as_str(),
            codecs: &codec_name,
            earlier: &earlier,
        };
        dash::manifest(self.presentation, video, audio, &options, out);
    }
}

/// What low-latency DASH players aim at: as LL-HLS ones, some parts behind live.
const LATENCY: dash::Latency = dash::Latency {
    target_millis: 1500,
    min_millis: 500,
    max_millis: 8000,
};

fn codec_name(track: &Track) -> Option<String> {
    rfc6381(track)
}

fn hls_newest(newest: Newest) -> hls::Newest {
    match newest {
        Newest::Segments => hls::Newest::Segments,
        Newest::Parts => hls::Newest::Parts,
        Newest::Ranges => hls::Newest::Ranges,
    }
}

fn gzip(text: &[u8]) -> Arc<[u8]> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::fast());
    // A vector takes everything.
    let written = encoder.write_all(text).and_then(|()| encoder.finish());
    Arc::from(written.expect("memory is written to without error"))
}

/// With its quotes.
fn etag(text: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

/// Players reload a playlist once in its target duration, or in half of it when nothing was new.
fn life_millis(key: TextKey, presentation: &Presentation) -> Option<u32> {
    let target_millis = presentation.target_seconds * 1000;
    match key {
        _ if presentation.is_ended => None,
        TextKey::CmafMedia {
            newest: Newest::Parts | Newest::Ranges,
            ..
        } => Some(1000),
        _ => Some(target_millis / 2),
    }
}
