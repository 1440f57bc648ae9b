//! AV1 (RTP payload format for AV1, AOM, version 1.0): OBUs from their elements, temporal units from OBUs, as a track has
//! them: with size fields, without temporal delimiters and padding.
//!
//! After a loss a temporal unit is taken if it begins with what only begins one: a sequence header, or a delimiter.

use super::pieces::Pieces;
use super::{Gap, Payload, Setup, Units, Unpack, VIDEO_TIMESCALE, Wholeness};
use crate::codec::av1::{
    Config, OBU_PADDING, OBU_SEQUENCE_HEADER, OBU_TEMPORAL_DELIMITER, OBU_TILE_LIST, Obu, Sequence, is_key, obus,
    read_leb128,
};
use crate::media::{Codec, Format};

/// State of one track.
#[derive(Debug, Default)]
pub(super) struct Av1 {
    pieces: Pieces,
    /// An OBU that goes on in the next packet.
    fragment: Vec<u8>,
    /// Packets may be missing before the unit.
    is_unsure: bool,
    /// Of the last packet.
    timestamp: Option<i64>,
    /// The payload of the sequence header in force.
    sequence: Vec<u8>,
    unreadable: u64,
}

impl Av1 {
    pub fn new() -> Self {
        Av1 {
            is_unsure: true,
            ..Av1::default()
        }
    }

    /// The elements of a packet (4.3 to 4.5). None if they cannot be read.
    fn elements(&mut self, payload: &Payload<'_>) -> Option<()> {
        let (&head, mut rest) = payload.data.split_first()?;
        let continues = head & 0x80 != 0;
        let goes_on = head & 0x40 != 0;
        let count = usize::from(head >> 4 & 3);
        if self.pieces.is_idle() {
            // New coded video sequences begin here (N).
            self.is_unsure &= head & 0x08 == 0;
            self.pieces.start(payload.timestamp);
            self.fragment.clear();
        }
        if continues == self.fragment.is_empty() {
            return None;
        }
        let mut at = 0;
        while !rest.is_empty() {
            at += 1;
            let element;
            if count == 0 || at < count {
                let (bytes, size) = read_leb128(rest, 0).ok()?;
                (element, rest) = rest[size..].split_at_checked(bytes)?;
            } else {
                (element, rest) = (rest, &[][..]);
            }
            let is_fragment = goes_on && rest.is_empty();
            if at == 1 && continues || is_fragment {
                if self.fragment.len() + element.len() > super::limits::UNIT_BYTES_MAX {
                    return None;
                }
                self.fragment.extend_from_slice(element);
                if !is_fragment {
                    let fragment = std::mem::take(&mut self.fragment);
                    let taken = self.obu(&fragment);
                    self.fragment = fragment;
                    self.fragment.clear();
                    taken?;
                }
            } else {
                self.obu(element)?;
            }
        }
        (count == 0 || at == count).then_some(())
    }

    /// One OBU, with or without a size of its own.
    fn obu(&mut self, element: &[u8]) -> Option<()> {
        let Some(obu) = obus(element).next() else {
            return Some(());
        };
        let obu: Obu<'_> = obu.ok()?;
        if self.is_unsure && !matches!(obu.kind, OBU_SEQUENCE_HEADER | OBU_TEMPORAL_DELIMITER) {
            self.pieces.break_off();
            return Some(());
        }
        self.is_unsure = false;
        if matches!(obu.kind, OBU_TEMPORAL_DELIMITER | OBU_PADDING | OBU_TILE_LIST) {
            return Some(());
        }
        if self.pieces.extend(&[]) {
            obu.emit(&mut self.pieces.bytes);
            // Checks the bound.
            self.pieces.extend(&[]);
        }
        Some(())
    }

    /// What follows an OBU that goes on is not here: the unit is not whole.
    fn end_fragment(&mut self) {
        if !self.fragment.is_empty() {
            self.pieces.break_off();
            self.fragment.clear();
        }
    }

    /// The unit with this timestamp is over, if it is whole.
    fn push(&mut self, timestamp: Option<i64>, out: &mut Units) {
        let Some(timestamp) = timestamp else { return };
        let bytes = &self.pieces.bytes;
        let sequence = obus(bytes)
            .map_while(Result::ok)
            .find(|obu| obu.kind == OBU_SEQUENCE_HEADER && obu.payload != self.sequence);
        if let Some(obu) = sequence
            && let Ok(sequence) = Sequence::parse(obu.payload)
        {
            self.sequence.clear();
            self.sequence.extend_from_slice(obu.payload);
            let (mut kept, mut codec_data) = (Vec::new(), Vec::new());
            obu.emit(&mut kept);
            Config::of_sequence(&sequence, &kept).emit(&mut codec_data);
            out.push_setup(Setup {
                codec: Codec::Av1,
                timescale: VIDEO_TIMESCALE,
                codec_data,
                format: Format::Video {
                    width: sequence.width,
                    height: sequence.height,
                    frame_rate: sequence.frame_rate,
                },
            });
        }
        if self.sequence.is_empty() {
            self.unreadable += 1;
            return;
        }
        out.push(timestamp, is_key(bytes), Wholeness::Whole, |out| {
            out.extend_from_slice(bytes);
        });
    }
}

impl Unpack for Av1 {
    fn packet(&mut self, payload: &Payload<'_>, out: &mut Units) {
        if payload.data.is_empty() {
            return;
        }
        if self.pieces.enter(payload) {
            self.end_fragment();
            let timestamp = self.pieces.finish();
            self.push(timestamp, out);
        }
        let is_next = self
            .timestamp
            .replace(payload.timestamp)
            .is_some_and(|last| last != payload.timestamp);
        if payload.gap == Gap::Lost {
            self.is_unsure = true;
            self.fragment.clear();
        } else if is_next {
            self.is_unsure = false;
        }
        // Of a broken unit nothing is of use up to its end.
        let is_of_use = self.pieces.is_idle() || self.pieces.is_open();
        if is_of_use && self.elements(payload).is_none() {
            self.unreadable += u64::from(!self.is_unsure);
            self.pieces.break_off();
            self.fragment.clear();
        }
        if payload.marker {
            self.end_fragment();
            let timestamp = self.pieces.mark();
            self.push(timestamp, out);
            self.is_unsure = false;
        }
    }

    fn flush(&mut self, out: &mut Units) {
        self.end_fragment();
        let timestamp = self.pieces.flush();
        self.push(timestamp, out);
        self.is_unsure = true;
    }

    fn unreadable(&self) -> u64 {
        self.unreadable
    }
}
