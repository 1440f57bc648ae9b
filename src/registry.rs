//! What is served under which connector, path and content type: one line a packaging. Adding a protocol is one folder
//! under `proto/src/`, one line in `proto/src/lib.rs`, and one line here.

use penstock_proto::media::{Kind, Mux, SegmentMux, Track};
use penstock_proto::rtp::pack;
use penstock_proto::rtsp::mux::limits::UDP_PACKET_BYTES;
use penstock_proto::{flv, hds, mp4, rtmp, rtsp, ts};
use penstock_shard::fanout::Class;

use crate::config::Containers;
use crate::limits;
use crate::names::StreamName;
use crate::shelf::LaneKey;

/// A feed's key beside the stream and its tracks (DESIGN.md 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Packaging {
    Flv,
    Ts,
    Mp4,
    Rtmp { message_stream: u32 },
    Rtsp(Lanes),
}

/// The tracks of an RTSP viewer, in the order in which they were described, and how their packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lanes {
    pub lanes: [Option<Lane>; limits::RTSP_LANES_MAX],
    pub audience: Audience,
    pub packet_bytes_max: u16,
}

/// One track, and where its packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane {
    pub track: u32,
    pub payload_type: u8,
    pub rtp_channel: u8,
    pub rtcp_channel: u8,
}

/// Whom packets of RTSP go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Audience {
    /// Each viewer by itself.
    Viewers,
    /// A multicast group for each track: they are sent once, from the stream's home.
    Groups,
}

impl Lanes {
    /// As RTSP's muxer wants them; none if a track is gone, or has become what RTP cannot carry.
    fn bind(&self, tracks: &[Track]) -> Option<Vec<rtsp::mux::Lane>> {
        let lane = |lane: &Lane| {
            let track = tracks.iter().find(|track| track.id == lane.track)?;
            let mut format = pack::format(track, &[])?;
            format.payload_type = lane.payload_type;
            Some(rtsp::mux::Lane {
                track: lane.track,
                format,
                rtp_channel: lane.rtp_channel,
                rtcp_channel: lane.rtcp_channel,
            })
        };
        self.lanes.iter().flatten().map(lane).collect()
    }
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

/// The muxer of a packaging, for one stream with these tracks; none if it does not go with them. `seed`: another one for each.
pub fn mux(packaging: Packaging, name: &StreamName, tracks: &[Track], seed: u64) -> Option<Box<dyn Mux>> {
    Some(match packaging {
        Packaging::Flv => Box::new(flv::Mux::new()),
        Packaging::Ts => Box::new(ts::Mux::new(name.as_str())),
        Packaging::Mp4 => Box::new(mp4::Muxer::new()),
        Packaging::Rtmp { message_stream } => Box::new(rtmp::Mux::new(message_stream)),
        Packaging::Rtsp(lanes) => {
            let bytes_max = usize::from(lanes.packet_bytes_max);
            Box::new(rtsp::Mux::new(lanes.bind(tracks)?, bytes_max, seed))
        }
    })
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
        Packaging::Rtsp(lanes) if usize::from(lanes.packet_bytes_max) <= UDP_PACKET_BYTES => Class::Realtime,
        Packaging::Rtmp { .. } | Packaging::Rtsp(_) => Class::Interactive,
    }
}

/// What logs call it.
pub fn title(packaging: Packaging) -> &'static str {
    match packaging {
        Packaging::Flv => "FLV",
        Packaging::Ts => "TS",
        Packaging::Mp4 => "MP4",
        Packaging::Rtmp { .. } => "RTMP",
        Packaging::Rtsp(_) => "RTSP",
    }
}
