//! Parameter sets of H.264 and HEVC: what the description says of them and what comes in the stream, which wins.
//!
//! Sets that come again unchanged cost a comparison. Invariant: the sets held are at most
//! [`PARAMETER_SETS_BYTES_MAX`] bytes and [`PARAMETER_SETS_MAX`] of a kind, and every SPS among them can be read.

use super::limits::{PARAMETER_SETS_BYTES_MAX, PARAMETER_SETS_MAX};
use crate::codec::bits::BitReader;
use crate::codec::{Error, h264, hevc};
use crate::media::{Codec, Format};

use super::Setup;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Vps,
    Sps,
    Pps,
}

/// Where a set came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Description,
    Stream,
}

#[derive(Debug)]
pub(super) struct Sets {
    codec: Codec,
    vps: Vec<Set>,
    sps: Vec<Set>,
    pps: Vec<Set>,
    bytes: usize,
    changed: bool,
    /// One came since the last [`Sets::settle`].
    fresh: bool,
}

#[derive(Debug)]
struct Set {
    id: u32,
    /// The SPS of a PPS.
    parent: u32,
    origin: Origin,
    /// Came since the last [`Sets::settle`].
    fresh: bool,
    /// Fresh, and not what it was before.
    renewed: bool,
    bytes: Vec<u8>,
}

impl Sets {
    /// `codec` is H264 or Hevc.
    pub fn new(codec: Codec) -> Self {
        Sets {
            codec,
            vps: Vec::new(),
            sps: Vec::new(),
            pps: Vec::new(),
            bytes: 0,
            changed: false,
            fresh: false,
        }
    }

    /// Whether the stream itself has brought any: it will again.
    pub fn are_in_stream(&self) -> bool {
        self.sps.iter().any(|set| set.origin == Origin::Stream)
    }

    /// One set, a NAL unit. Nothing changes on an error.
    pub fn put(&mut self, kind: Kind, nal: &[u8], origin: Origin) -> Result<(), Error> {
        let (id, parent) = ids(self.codec, kind, nal)?;
        if kind == Kind::Sps {
            size(self.codec, nal)?;
        }
        let held = self.bytes;
        let list = self.list(kind);
        let at = list.iter().position(|set| set.id == id);
        if let Some(at) = at
            && list[at].bytes == nal
        {
            let known = &mut list[at];
            known.fresh = true;
            if origin == Origin::Stream {
                known.origin = origin;
            }
            self.fresh = true;
            return Ok(());
        }
        let freed = at.map_or(0, |at| list[at].bytes.len());
        if at.is_none() && list.len() == PARAMETER_SETS_MAX {
            return Err(too_long(list.len() + 1, PARAMETER_SETS_MAX));
        }
        if held - freed + nal.len() > PARAMETER_SETS_BYTES_MAX {
            return Err(too_long(held - freed + nal.len(), PARAMETER_SETS_BYTES_MAX));
        }
        let set = Set {
            id,
            parent,
            origin,
            fresh: true,
            renewed: at.is_some(),
            bytes: nal.to_vec(),
        };
        match at {
            Some(at) => list[at] = set,
            None => list.push(set),
        }
        self.bytes = held - freed + nal.len();
        self.changed = true;
        self.fresh = true;
        Ok(())
    }

    /// The sets of a picture have come. What they replace goes: all of the description, once SPS and PPS are in the stream,
    /// and the PPS of an SPS that is another one now, if new ones came with it.
    pub fn settle(&mut self) {
        if !std::mem::take(&mut self.fresh) {
            return;
        }
        let in_stream = |sets: &[Set]| sets.iter().any(|set| set.fresh && set.origin == Origin::Stream);
        let count = self.vps.len() + self.sps.len() + self.pps.len();
        if in_stream(&self.sps) && in_stream(&self.pps) {
            self.sps.retain(|set| set.origin == Origin::Stream);
            self.pps.retain(|set| set.origin == Origin::Stream);
            if in_stream(&self.vps) {
                self.vps.retain(|set| set.origin == Origin::Stream);
            }
        }
        for sps in self.sps.iter().filter(|set| set.renewed) {
            let of_it = |set: &Set| set.parent == sps.id;
            if self.pps.iter().any(|set| of_it(set) && set.fresh) {
                self.pps.retain(|set| !of_it(set) || set.fresh);
            }
        }
        self.changed |= self.vps.len() + self.sps.len() + self.pps.len() < count;
        self.bytes = 0;
        for set in self.vps.iter_mut().chain(&mut self.sps).chain(&mut self.pps) {
            (set.fresh, set.renewed) = (false, false);
            self.bytes += set.bytes.len();
        }
    }

    /// What the sets say, if they have changed since the last call and are all there.
    pub fn take_setup(&mut self) -> Option<Setup> {
        if !self.changed || self.sps.is_empty() || self.pps.is_empty() {
            return None;
        }
        self.changed = false;
        let (vps, sps, pps) = (slices(&self.vps), slices(&self.sps), slices(&self.pps));
        let mut codec_data = Vec::new();
        match self.codec {
            Codec::Hevc => hevc::build_config(&vps, &sps, &pps, &mut codec_data),
            _ => h264::build_config(&sps, &pps, &mut codec_data),
        }
        .ok()?;
        let (width, height, frame_rate) = size(self.codec, sps[0]).ok()?;
        Some(Setup {
            codec: self.codec,
            timescale: super::VIDEO_TIMESCALE,
            codec_data,
            format: Format::Video {
                width,
                height,
                frame_rate,
            },
        })
    }

    fn list(&mut self, kind: Kind) -> &mut Vec<Set> {
        match kind {
            Kind::Vps => &mut self.vps,
            Kind::Sps => &mut self.sps,
            Kind::Pps => &mut self.pps,
        }
    }
}

/// For records; only when sets have changed.
fn slices(sets: &[Set]) -> Vec<&[u8]> {
    sets.iter().map(|set| &set.bytes[..]).collect()
}

/// A set's own id, and for a PPS that of its SPS.
fn ids(codec: Codec, kind: Kind, nal: &[u8]) -> Result<(u32, u32), Error> {
    let mut bits = BitReader::rbsp(nal);
    if codec == Codec::Hevc {
        bits.skip(16, "nal_unit_header")?;
    } else {
        bits.skip(8, "nal_unit_header")?;
    }
    match (kind, codec) {
        (Kind::Vps, _) => Ok((bits.bits(4, "vps_video_parameter_set_id")?, 0)),
        (Kind::Sps, Codec::Hevc) => Ok((hevc::Sps::parse(nal)?.id, 0)),
        (Kind::Sps, _) => {
            bits.skip(24, "profile_idc")?;
            Ok((bits.ue_max(31, "seq_parameter_set_id")?, 0))
        }
        (Kind::Pps, _) => {
            let id = bits.ue_max(255, "pic_parameter_set_id")?;
            Ok((id, bits.ue_max(31, "seq_parameter_set_id")?))
        }
    }
}

fn size(codec: Codec, sps: &[u8]) -> Result<(u32, u32, f64), Error> {
    if codec == Codec::Hevc {
        hevc::Sps::parse(sps).map(|sps| (sps.width, sps.height, sps.frame_rate))
    } else {
        h264::Sps::parse(sps).map(|sps| (sps.width, sps.height, sps.frame_rate))
    }
}

fn too_long(bytes: usize, bytes_max: usize) -> Error {
    Error::TooLong {
        field: "parameter sets",
        bytes,
        bytes_max,
    }
}
