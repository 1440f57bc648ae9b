//! HEVC (RFC 7798): single units, aggregation packets and fragmentation units, with or without decoding order numbers.
//!
//! Units come in decoding order; where the description says that they may not (`sprop-max-don-diff`), their numbers are passed
//! over. PACI packets are counted and skipped.

use super::picture::Pictures;
use super::{Payload, PayloadFormat, Units, Unpack};
use crate::codec::hevc;
use crate::media::Codec;

/// State of one track.
#[derive(Debug)]
pub(super) struct Hevc {
    pictures: Pictures,
    /// DONL and DOND fields are there.
    has_order: bool,
}

impl Hevc {
    pub fn new(format: &PayloadFormat) -> Self {
        let mut pictures = Pictures::new(Codec::Hevc);
        for name in ["sprop-vps", "sprop-sps", "sprop-pps"] {
            pictures.describe(format.parameter(name).unwrap_or_default());
        }
        let number = |name| format.parameter(name).and_then(|text| text.trim().parse::<u32>().ok());
        let has_order = ["sprop-max-don-diff", "sprop-depack-buf-nalus"]
            .into_iter()
            .any(|name| number(name).is_some_and(|number| number > 0));
        Hevc { pictures, has_order }
    }

    /// 4.4.2: a unit's order number is of two bytes (DONL) before the first, of one (DOND) before the others.
    fn aggregate(&mut self, mut rest: &[u8]) {
        let mut order_bytes = if self.has_order { 2 } else { 0 };
        while let Some((length, behind)) = rest.get(order_bytes..).and_then(|rest| rest.split_first_chunk::<2>()) {
            let Some((unit, behind)) = behind.split_at_checked(u16::from_be_bytes(*length).into()) else {
                break;
            };
            self.pictures.unit(unit);
            rest = behind;
            order_bytes = order_bytes.min(1);
        }
        if !rest.is_empty() {
            self.pictures.refuse();
        }
    }

    /// 4.4.3.
    fn fragment(&mut self, payload: &[u8]) {
        let Some((&[first, second, head], mut bytes)) = payload.split_first_chunk() else {
            return self.pictures.refuse();
        };
        // A start that is the end as well is forbidden, and a whole unit from OpenIPC.
        if head & START != 0 {
            if self.has_order {
                bytes = bytes.get(2..).unwrap_or_default();
            }
            self.pictures.open(&[first & 0x81 | (head & 0x3f) << 1, second], bytes);
        } else {
            self.pictures.extend(bytes);
        }
        if head & END != 0 {
            self.pictures.close();
        }
    }
}

impl Unpack for Hevc {
    fn packet(&mut self, payload: &Payload<'_>, out: &mut Units) {
        let data = payload.data;
        if data.is_empty() {
            return;
        }
        self.pictures.begin(payload, out);
        match hevc::nal_type(data) {
            AGGREGATION => self.aggregate(data.get(2..).unwrap_or_default()),
            FRAGMENT => self.fragment(data),
            PACI => self.pictures.refuse(),
            _ if self.has_order && data.len() > 4 => {
                self.pictures.open(&data[..2], &data[4..]);
                self.pictures.close();
            }
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

const AGGREGATION: u8 = 48;
const FRAGMENT: u8 = 49;
const PACI: u8 = 50;

/// Bits of the FU header.
const START: u8 = 0x80;
const END: u8 = 0x40;
