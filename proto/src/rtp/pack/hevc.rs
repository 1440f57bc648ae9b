//! HEVC (RFC 7798) without decoding order numbers: single units, aggregation packets of what is no picture, fragmentation
//! units.

use super::nal::{Slicer, Syntax};
use crate::codec::{hevc, nal};
use crate::media::Track;

pub(super) fn pack(track: &Track, payload_bytes_max: usize) -> Slicer<Hevc> {
    let config = hevc::Config::parse(&track.codec_data).ok();
    let sets = config
        .iter()
        .flat_map(|config| config.vps().chain(config.sps()).chain(config.pps()));
    Slicer::new(sets, payload_bytes_max)
}

#[derive(Debug)]
pub(super) struct Hevc;

const AP: u16 = 48;
const FU: u16 = 49;
const FORBIDDEN: u16 = 0x8000;
const TYPE: u16 = 0x7e00;
const LAYER: u16 = 0x01f8;
const TEMPORAL: u16 = 0x0007;

fn head_of(unit: &[u8]) -> u16 {
    u16::from_be_bytes([unit[0], unit[1]])
}

impl Syntax for Hevc {
    const HEAD_BYTES: usize = 2;

    fn is_carried(unit: &[u8]) -> bool {
        unit.len() >= Self::HEAD_BYTES && u16::from(hevc::nal_type(unit)) < AP
    }

    fn is_delimiter(unit: &[u8]) -> bool {
        hevc::nal_type(unit) == hevc::NAL_AUD
    }

    fn is_joined(unit: &[u8]) -> bool {
        matches!(
            hevc::nal_type(unit),
            hevc::NAL_VPS..=hevc::NAL_AUD | hevc::NAL_PREFIX_SEI
        )
    }

    fn has_sets(frame: &[u8]) -> bool {
        let has = |wanted| nal::units(frame).any(|unit| hevc::nal_type(unit) == wanted);
        has(hevc::NAL_VPS) && has(hevc::NAL_SPS) && has(hevc::NAL_PPS)
    }

    fn aggregate(unit: &[u8]) -> [u8; 2] {
        (head_of(unit) & !TYPE | AP << 9).to_be_bytes()
    }

    /// The lowest layer and the lowest temporal id of the units (4.4.2).
    fn merge(head: [u8; 2], unit: &[u8]) -> [u8; 2] {
        let (head, unit) = (u16::from_be_bytes(head), head_of(unit));
        let lowest = |field: u16| (head & field).min(unit & field);
        ((head | unit) & FORBIDDEN | AP << 9 | lowest(LAYER) | lowest(TEMPORAL)).to_be_bytes()
    }

    fn fragment(unit: &[u8]) -> [u8; 3] {
        let [high, low] = (head_of(unit) & !TYPE | FU << 9).to_be_bytes();
        [high, low, hevc::nal_type(unit)]
    }
}
