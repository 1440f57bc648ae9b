//! VP9 (RFC 9628): the payload descriptor, in flexible and non-flexible mode, and pictures from the frames of their layers.
//!
//! The frames of several spatial layers become one superframe (VP9, annex B), which is what decoders and containers take.

use super::pieces::Pieces;
use super::{Payload, Setup, Units, Unpack, VIDEO_TIMESCALE, Wholeness};
use crate::codec::vp9;
use crate::media::{Codec, Format};

/// State of one track.
#[derive(Debug, Default)]
pub(super) struct Vp9 {
    pieces: Pieces,
    /// Where the frames of the picture's layers begin.
    layers: Vec<usize>,
    key: Option<vp9::KeyFrame>,
    unreadable: u64,
}

impl Vp9 {
    /// The picture with this timestamp is over, if it is whole.
    fn push(&mut self, timestamp: Option<i64>, out: &mut Units) {
        let Some(timestamp) = timestamp else { return };
        let bytes = &self.pieces.bytes;
        let key = vp9::KeyFrame::parse(bytes).ok();
        if let Some(key) = key
            && self.key != Some(key)
        {
            self.key = Some(key);
            let mut codec_data = Vec::new();
            key.config(0.0).emit(&mut codec_data);
            out.push_setup(Setup {
                codec: Codec::Vp9,
                timescale: VIDEO_TIMESCALE,
                codec_data,
                format: Format::Video {
                    width: key.width,
                    height: key.height,
                    frame_rate: 0.0,
                },
            });
        }
        if self.key.is_none() {
            self.unreadable += 1;
            return;
        }
        let layers = &self.layers;
        out.push(timestamp, key.is_some(), Wholeness::Whole, |out| {
            out.extend_from_slice(bytes);
            if layers.len() > 1 {
                push_index(layers, bytes.len(), out);
            }
        });
    }
}

impl Unpack for Vp9 {
    fn packet(&mut self, payload: &Payload<'_>, out: &mut Units) {
        if payload.data.is_empty() {
            return;
        }
        if self.pieces.enter(payload) {
            let timestamp = self.pieces.finish();
            self.push(timestamp, out);
        }
        match Descriptor::parse(payload.data) {
            None => {
                self.unreadable += 1;
                self.pieces.break_off();
            }
            Some(descriptor) => {
                if descriptor.begins && descriptor.spatial == 0 {
                    let timestamp = self.pieces.finish();
                    self.push(timestamp, out);
                    self.pieces.start(payload.timestamp);
                    self.layers.clear();
                }
                if descriptor.begins && self.pieces.is_open() {
                    self.layers.push(self.pieces.bytes.len());
                    if self.layers.len() > LAYERS_MAX {
                        self.unreadable += 1;
                        self.pieces.break_off();
                    }
                }
                self.pieces.extend(descriptor.piece);
            }
        }
        if payload.marker {
            let timestamp = self.pieces.mark();
            self.push(timestamp, out);
        }
    }

    fn flush(&mut self, out: &mut Units) {
        let timestamp = self.pieces.flush();
        self.push(timestamp, out);
    }

    fn unreadable(&self) -> u64 {
        self.unreadable
    }
}

/// What is asked of the payload descriptor (4.2).
#[derive(Debug, PartialEq)]
struct Descriptor<'a> {
    /// B: a layer's frame begins.
    begins: bool,
    /// SID.
    spatial: u8,
    piece: &'a [u8],
}

impl<'a> Descriptor<'a> {
    fn parse(payload: &'a [u8]) -> Option<Self> {
        let (&head, mut rest) = payload.split_first()?;
        let has = |bit: u8| head & bit != 0;
        let (is_flexible, mut spatial) = (has(FLEXIBLE), 0);
        if has(PICTURE_ID) {
            let bytes = if rest.first()? & 0x80 != 0 { 2 } else { 1 };
            rest = rest.get(bytes..)?;
        }
        if has(LAYER) {
            spatial = rest.first()? >> 1 & 7;
            // TL0PICIDX
            rest = rest.get(if is_flexible { 1 } else { 2 }..)?;
        }
        if is_flexible && has(PREDICTED) {
            // Up to three P_DIFF, each with a bit that says that another follows.
            for at in 0..3 {
                let (&reference, behind) = rest.split_first()?;
                rest = behind;
                if reference & 1 == 0 || at == 2 {
                    break;
                }
            }
        }
        if has(STRUCTURE) {
            rest = skip_structure(rest)?;
        }
        (!rest.is_empty()).then_some(Descriptor {
            begins: has(BEGIN),
            spatial,
            piece: rest,
        })
    }
}

/// The scalability structure: sizes of the layers, and pictures of a group with their references.
fn skip_structure(structure: &[u8]) -> Option<&[u8]> {
    let (&head, mut rest) = structure.split_first()?;
    if head & 0x10 != 0 {
        rest = rest.get(4 * (usize::from(head >> 5) + 1)..)?;
    }
    if head & 0x08 != 0 {
        let (&pictures, behind) = rest.split_first()?;
        rest = behind;
        for _ in 0..pictures {
            let references = usize::from(rest.first()? >> 2 & 3);
            rest = rest.get(1 + references..)?;
        }
    }
    Some(rest)
}

/// The index of a superframe: a marker, the sizes with their least byte first, the marker again.
fn push_index(layers: &[usize], bytes: usize, out: &mut Vec<u8>) {
    let marker = 0xc0 | 3 << 3 | (layers.len() - 1) as u8;
    out.push(marker);
    let ends = layers[1..].iter().copied().chain([bytes]);
    for (begin, end) in layers.iter().zip(ends) {
        out.extend_from_slice(&((end - begin) as u32).to_le_bytes());
    }
    out.push(marker);
}

const PICTURE_ID: u8 = 0x80;
const PREDICTED: u8 = 0x40;
const LAYER: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const BEGIN: u8 = 0x08;
const STRUCTURE: u8 = 0x02;

/// Frames in a superframe.
const LAYERS_MAX: usize = 8;
