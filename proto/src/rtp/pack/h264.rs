//! H.264 (RFC 6184), packetization-mode 1: single units, STAP-A of what is no picture, FU-A.

use super::nal::{Slicer, Syntax};
use crate::codec::{h264, nal};
use crate::media::Track;

pub(super) fn pack(track: &Track, payload_bytes_max: usize) -> Slicer<Avc> {
    let config = h264::Config::parse(&track.codec_data).ok();
    let sets = config.iter().flat_map(|config| config.sps().chain(config.pps()));
    Slicer::new(sets, payload_bytes_max)
}

#[derive(Debug)]
pub(super) struct Avc;

const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const FORBIDDEN: u8 = 0x80;
const REFERENCE: u8 = 0x60;

impl Syntax for Avc {
    const HEAD_BYTES: usize = 1;

    fn is_carried(unit: &[u8]) -> bool {
        matches!(h264::nal_type(unit), 1..STAP_A)
    }

    fn is_delimiter(unit: &[u8]) -> bool {
        h264::nal_type(unit) == h264::NAL_AUD
    }

    fn is_joined(unit: &[u8]) -> bool {
        let kind = h264::nal_type(unit);
        matches!(
            kind,
            h264::NAL_SEI | h264::NAL_SPS | h264::NAL_PPS | h264::NAL_AUD | h264::NAL_SPS_EXTENSION
        )
    }

    fn has_sets(frame: &[u8]) -> bool {
        let has = |wanted| nal::units(frame).any(|unit| h264::nal_type(unit) == wanted);
        has(h264::NAL_SPS) && has(h264::NAL_PPS)
    }

    fn aggregate(unit: &[u8]) -> [u8; 2] {
        [unit[0] & (FORBIDDEN | REFERENCE) | STAP_A, 0]
    }

    /// The highest `nal_ref_idc` of the units (5.7.1).
    fn merge(head: [u8; 2], unit: &[u8]) -> [u8; 2] {
        let forbidden = (head[0] | unit[0]) & FORBIDDEN;
        let reference = (head[0] & REFERENCE).max(unit[0] & REFERENCE);
        [forbidden | reference | STAP_A, 0]
    }

    fn fragment(unit: &[u8]) -> [u8; 3] {
        [unit[0] & (FORBIDDEN | REFERENCE) | FU_A, unit[0] & 0x1f, 0]
    }
}
