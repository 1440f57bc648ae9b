//! H.264 (RFC 6184): single units, STAP-A, STAP-B, FU-A, FU-B, in the order they are decoded in.
//!
//! Interleaved packets come as sent: their decoding order number is passed over, as no encoder for live video reorders.
//! MTAP, which only that mode has, is counted and skipped.

use super::picture::Pictures;
use super::{Payload, PayloadFormat, Units, Unpack};
use crate::media::Codec;

/// State of one track.
#[derive(Debug)]
pub(super) struct H264 {
    pictures: Pictures,
}

impl H264 {
    pub fn new(format: &PayloadFormat) -> Self {
        let mut pictures = Pictures::new(Codec::H264);
        pictures.describe(format.parameter("sprop-parameter-sets").unwrap_or_default());
        H264 { pictures }
    }

    /// Units behind 16-bit lengths (5.7.1).
    fn aggregate(&mut self, mut rest: &[u8]) {
        while let Some((&length, behind)) = rest.split_first_chunk() {
            let Some((unit, behind)) = behind.split_at_checked(u16::from_be_bytes(length).into()) else {
                break;
            };
            self.pictures.unit(unit);
            rest = behind;
        }
        if !rest.is_empty() {
            self.pictures.refuse();
        }
    }

    /// 5.8. `order_bytes` of a decoding order number stand before the first fragment of FU-B.
    fn fragment(&mut self, payload: &[u8], order_bytes: usize) {
        let Some((&[indicator, head], bytes)) = payload.split_first_chunk() else {
            return self.pictures.refuse();
        };
        let Some(bytes) = bytes.get(order_bytes..) else {
            return self.pictures.refuse();
        };
        // A start that is the end as well is forbidden, and a whole unit from CostarHD.
        if head & START != 0 {
            self.pictures.open(&[indicator & 0xe0 | head & 0x1f], bytes);
        } else {
            self.pictures.extend(bytes);
        }
        if head & END != 0 {
            self.pictures.close();
        }
    }
}

impl Unpack for H264 {
    fn packet(&mut self, payload: &Payload<'_>, out: &mut Units) {
        let data = payload.data;
        let Some(&head) = data.first() else { return };
        self.pictures.begin(payload, out);
        match head & 0x1f {
            STAP_A => self.aggregate(&data[1..]),
            STAP_B => self.aggregate(data.get(3..).unwrap_or_default()),
            FU_A => self.fragment(data, 0),
            FU_B => self.fragment(data, 2),
            MTAP16 | MTAP24 => self.pictures.refuse(),
            _ => self.pictures.unit(data),
        }
        self.pictures.end(payload.marker, out);
    }

    fn flush(&mut self, out: &mut Units) {
        self.pictures.flush(out);
    }

    fn unreadable(&self) -> u64 {
        self.pictures.unreadable()
    }
}

const STAP_A: u8 = 24;
const STAP_B: u8 = 25;
const MTAP16: u8 = 26;
const MTAP24: u8 = 27;
const FU_A: u8 = 28;
const FU_B: u8 = 29;

/// Bits of the FU header.
const START: u8 = 0x80;
const END: u8 = 0x40;
