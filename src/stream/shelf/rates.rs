//! What a rendition takes: measured on its segments where they are made, else reckoned from its frames.

use penstock_proto::media::{Rate, Rendition};

use crate::shelf::LaneKey;
use crate::stream::segments::Segments;

/// Bytes that a packaging adds to each frame, about: a PES and packet heads with half a packet of stuffing; a `trun` entry and
/// its part of a chunk's boxes; a tag's head and size.
const TS_FRAME_BYTES: u64 = 130;
const CMAF_FRAME_BYTES: u64 = 32;
const HDS_FRAME_BYTES: u64 = 20;

pub fn rate(key: LaneKey, tracks: &[u32], rendition: &Rendition, segments: &Segments) -> Rate {
    measured(rendition).unwrap_or_else(|| reckoned(key, tracks, segments))
}

/// Of the segments that were made.
fn measured(rendition: &Rendition) -> Option<Rate> {
    let (mut peak, mut all, mut ticks) = (0, 0, 0);
    for segment in &rendition.segments {
        let Some(bytes) = segment.bytes else { continue };
        peak = peak.max(bits(bytes, segment.duration, rendition.timescale));
        all += bytes;
        ticks += segment.duration;
    }
    let average = bits(all, ticks, rendition.timescale);
    (average > 0).then_some(Rate { peak, average })
}

fn bits(bytes: u64, ticks: i64, timescale: u32) -> u64 {
    let wide = u128::from(bytes) * 8 * u128::from(timescale);
    wide.checked_div(ticks.max(0) as u128).unwrap_or(0) as u64
}

/// From the frames of its tracks.
pub fn reckoned(key: LaneKey, tracks: &[u32], segments: &Segments) -> Rate {
    let overhead = match key {
        LaneKey::Ts { .. } => TS_FRAME_BYTES,
        LaneKey::Cmaf { .. } | LaneKey::Smooth { .. } => CMAF_FRAME_BYTES,
        LaneKey::Hds { .. } => HDS_FRAME_BYTES,
    };
    let mut sum = Rate::default();
    for track in tracks {
        let rate = segments.rate(*track, overhead);
        sum.peak += rate.peak;
        sum.average += rate.average;
    }
    // A packet of TS carries 184 bytes in 188.
    if matches!(key, LaneKey::Ts { .. }) {
        sum.peak += sum.peak / 46;
        sum.average += sum.average / 46;
    }
    sum
}
