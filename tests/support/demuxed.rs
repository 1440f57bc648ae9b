//! Frames as they leave the demuxer of a publisher's messages: what muxers are given, without a server around them.

use penstock_proto::media::{Frame, Item, Kind, Track};
use penstock_proto::tag::{Demux, MessageKind};

use super::flv::{AUDIO, Tag, VIDEO};

/// A frame that has left its demuxer.
pub struct Kept {
    pub track: u32,
    pub dts: i64,
    pub offset: i32,
    pub key: bool,
    pub data: Vec<u8>,
}

impl Kept {
    pub fn frame(&self) -> Frame<'_> {
        Frame {
            track: self.track,
            dts: self.dts,
            offset: self.offset,
            key: self.key,
            data: &self.data,
        }
    }
}

/// Tracks, the picture first, and frames in their order.
pub fn demuxed(tags: &[Tag]) -> (Vec<Track>, Vec<Kept>) {
    let (mut demux, mut frames) = (Demux::new(), Vec::new());
    for tag in tags {
        let kind = match tag.kind {
            VIDEO => MessageKind::Video,
            AUDIO => MessageKind::Audio,
            _ => MessageKind::Script,
        };
        demux.push(kind, tag.time, &tag.body).expect("a clip's tags are right");
        while let Some(item) = demux.poll() {
            if let Item::Frame(frame) = item {
                frames.push(Kept {
                    track: frame.track,
                    dts: frame.dts,
                    offset: frame.offset,
                    key: frame.key,
                    data: frame.data.to_vec(),
                });
            }
        }
    }
    let mut tracks = demux.tracks().to_vec();
    tracks.sort_by_key(|track| track.kind() != Kind::Video);
    (tracks, frames)
}
