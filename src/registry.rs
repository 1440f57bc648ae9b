//! What is served under which connector, path and content type: one line a packaging. Adding a protocol is one folder
//! under `proto/src/`, one line in `proto/src/lib.rs`, and one line here.

use penstock_proto::media::{Kind, Mux, SegmentMux, Track};
use penstock_proto::{flv, hds, mp4, rtmp, ts};
use penstock_shard::fanout::Class;

use crate::config::Containers;
use crate::names::StreamName;
use crate::shelf::LaneKey;

/// A feed's key beside the stream and its tracks (DESIGN.md 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Packaging {
    Flv,
    Ts,
    Mp4,
    Rtmp { message_stream: u32 },
}

/// An endless HTTP answer.
#[derive(Clone, Copy, Debug)]
pub struct Progressive {
    /// MistServer's name of the connector that turns it on.
    pub connector: &'static str,
    /// `/NAME.extension`
    pub extension: &'static str,
    pub content_type: &'static str,
    pub packaging: Packaging,
    pub is_on: fn(&Containers) -> bool,
}

/// Every endless HTTP answer.
pub const PROGRESSIVE: &[Progressive] = &[
    Progressive {
        connector: "FLV",
        extension: "flv",
        content_type: "video/x-flv",
        packaging: Packaging::Flv,
        is_on: |on| on.flv,
    },
    Progressive {
        connector: "HTTPTS",
        extension: "ts",
        content_type: "video/mp2t",
        packaging: Packaging::Ts,
        is_on: |on| on.ts,
    },
    Progressive {
        connector: "MP4",
        extension: "mp4",
        content_type: "video/mp4",
        packaging: Packaging::Mp4,
        is_on: |on| on.mp4,
    },
];

/// The muxer of a packaging, for one stream.
pub fn mux(packaging: Packaging, name: &StreamName) -> Box<dyn Mux> {
    match packaging {
        Packaging::Flv => Box::new(flv::Mux::new()),
        Packaging::Ts => Box::new(ts::Mux::new(name.as_str())),
        Packaging::Mp4 => Box::new(mp4::Muxer::new()),
        Packaging::Rtmp { message_stream } => Box::new(rtmp::Mux::new(message_stream)),
    }
}

/// The muxer of a rendition's segments. `part_ticks`: no part lasts longer, in ticks of its track.
pub fn segment_mux(lane: LaneKey, name: &StreamName, part_ticks: i64) -> Box<dyn SegmentMux> {
    match lane {
        LaneKey::Ts { .. } => Box::new(ts::Segments::new(name.as_str())),
        LaneKey::Cmaf { .. } => Box::new(mp4::Cmaf::new(part_ticks)),
        LaneKey::Smooth { .. } => Box::new(mp4::Smooth::new()),
        LaneKey::Hds { .. } => Box::new(hds::Segments::new()),
    }
}

/// Content type of a rendition's segments.
pub fn segment_type(lane: LaneKey, tracks: &[Track]) -> &'static str {
    let is_sound = tracks.iter().all(|track| track.kind() == Kind::Audio);
    match lane {
        LaneKey::Ts { .. } => "video/mp2t",
        LaneKey::Cmaf { .. } | LaneKey::Smooth { .. } if is_sound => "audio/mp4",
        LaneKey::Cmaf { .. } | LaneKey::Smooth { .. } => "video/mp4",
        LaneKey::Hds { .. } => "video/f4f",
    }
}

/// Whether TS segments can carry `track`.
pub fn ts_carries(track: &Track) -> bool {
    ts::Segments::new("").carries(track)
}

/// Whether HDS fragments can carry `track`.
pub fn hds_carries(track: &Track) -> bool {
    hds::Segments::new().carries(track)
}

/// The pace in which its viewers are served (DESIGN.md 4.3).
pub fn class(packaging: Packaging) -> Class {
    match packaging {
        Packaging::Flv | Packaging::Ts | Packaging::Mp4 => Class::Buffered,
        Packaging::Rtmp { .. } => Class::Interactive,
    }
}

/// What logs call it.
pub fn title(packaging: Packaging) -> &'static str {
    match packaging {
        Packaging::Flv => "FLV",
        Packaging::Ts => "TS",
        Packaging::Mp4 => "MP4",
        Packaging::Rtmp { .. } => "RTMP",
    }
}
