//! What enhanced audio and video bodies have in common: modifiers, multitrack layouts and fourCCs.
//!
//! ```text
//! audio  | 9:4 | packet type:4 |          video  | 1:1 | frame type:3 | packet type:4 |
//! ModEx  | size-1:8 (255: size-1:16) | data | ModEx type:4 | packet type:4 |        repeated while the type is ModEx
//! Multitrack  | multitrack type:4 | packet type:4 | fourCC:32 (not ManyTracksManyCodecs) |
//! each track  | fourCC:32 (only ManyTracksManyCodecs) | track id:8 | size:24 (not OneTrack) | payload |
//! ```

use crate::tag::Error;

pub type FourCc = [u8; 4];

/// `AvMultitrackType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MultitrackType {
    OneTrack = 0,
    ManyTracks = 1,
    ManyTracksManyCodecs = 2,
}

/// What stands before the first payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub packet_type: u8,
    /// `TimestampOffsetNano`: to be added to the message's time, below 1,000,000 in a right stream.
    pub nanos: u32,
    pub multitrack: Option<MultitrackType>,
    /// None where every track brings its own.
    pub fourcc: Option<FourCc>,
}

/// Reads the head behind the first byte, whose packet type is `packet_type`. `multitrack` is the number that this kind
/// of body gives to Multitrack.
pub(super) fn parse(packet_type: u8, multitrack: u8, cursor: &mut Cursor<'_>) -> Result<Head, Error> {
    let mut head = Head {
        packet_type,
        nanos: 0,
        multitrack: None,
        fourcc: None,
    };
    parse_modifiers(&mut head, cursor)?;
    if head.packet_type == multitrack {
        let offset = cursor.at;
        let byte = cursor.u8("AvMultitrackType")?;
        let layout = match byte >> 4 {
            0 => MultitrackType::OneTrack,
            1 => MultitrackType::ManyTracks,
            2 => MultitrackType::ManyTracksManyCodecs,
            value => return Err(illegal("AvMultitrackType", value, offset)),
        };
        head.multitrack = Some(layout);
        head.packet_type = byte & 0x0f;
        if head.packet_type == multitrack || head.packet_type == MOD_EX {
            return Err(illegal("packet type of a multitrack", head.packet_type, offset));
        }
    }
    if head.multitrack != Some(MultitrackType::ManyTracksManyCodecs) {
        head.fourcc = Some(cursor.array("fourCC")?);
    }
    Ok(head)
}

/// Also used alone, by a video command, which has neither multitrack nor fourCC.
pub(super) fn parse_modifiers(head: &mut Head, cursor: &mut Cursor<'_>) -> Result<(), Error> {
    while head.packet_type == MOD_EX {
        let mut size = usize::from(cursor.u8("modExDataSize")?) + 1;
        if size == 256 {
            size = usize::from(u16::from_be_bytes(cursor.array("modExDataSize")?)) + 1;
        }
        let modifier = cursor.take(size, "modExData")?;
        let types = cursor.u8("ModExType")?;
        if types >> 4 == TIMESTAMP_OFFSET_NANO
            && let Some(bytes) = modifier.first_chunk::<3>()
        {
            head.nanos = u24(*bytes);
        }
        head.packet_type = types & 0x0f;
    }
    Ok(())
}

impl Head {
    /// Appends everything behind `first`, the first byte without its packet type.
    pub fn emit(&self, first: u8, multitrack: u8, out: &mut Vec<u8>) {
        assert!(self.nanos < 1 << 24, "the offset has 24 bits");
        let outer = if self.multitrack.is_some() {
            multitrack
        } else {
            self.packet_type
        };
        if self.nanos > 0 {
            out.extend_from_slice(&[first | MOD_EX, 2]);
            out.extend_from_slice(&self.nanos.to_be_bytes()[1..]);
            out.push(TIMESTAMP_OFFSET_NANO << 4 | outer);
        } else {
            out.push(first | outer);
        }
        if let Some(layout) = self.multitrack {
            out.push((layout as u8) << 4 | self.packet_type);
        }
        if let Some(fourcc) = self.fourcc {
            out.extend_from_slice(&fourcc);
        }
    }

    /// Appends one track behind the head; `payload` writes its bytes.
    pub fn emit_track(&self, fourcc: FourCc, track: u8, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
        let Some(layout) = self.multitrack else {
            return payload(out);
        };
        if layout == MultitrackType::ManyTracksManyCodecs {
            out.extend_from_slice(&fourcc);
        }
        out.push(track);
        if layout == MultitrackType::OneTrack {
            return payload(out);
        }
        let at = out.len();
        out.extend_from_slice(&[0; 3]);
        payload(out);
        let size = u32::try_from(out.len() - at - 3).unwrap_or(u32::MAX);
        assert!(size < 1 << 24, "a message body is shorter than 16 MiB");
        out[at..at + 3].copy_from_slice(&size.to_be_bytes()[1..]);
    }

    /// The next track of a body: its fourCC, its number if the body is multitrack, its payload and where that begins.
    pub fn track<'a>(&self, cursor: &mut Cursor<'a>) -> Result<TrackPart<'a>, Error> {
        let fourcc = match self.fourcc {
            Some(fourcc) => fourcc,
            None => cursor.array("fourCC of a track")?,
        };
        let Some(layout) = self.multitrack else {
            return Ok(TrackPart::new(fourcc, None, cursor.rest()));
        };
        let track = Some(cursor.u8("trackId")?);
        let payload = match layout {
            MultitrackType::OneTrack => cursor.rest(),
            _ => {
                let size = u24(cursor.array("sizeOfTrack")?) as usize;
                cursor.sub(size, "track")?
            }
        };
        Ok(TrackPart::new(fourcc, track, payload))
    }
}

pub(super) struct TrackPart<'a> {
    pub fourcc: FourCc,
    pub track: Option<u8>,
    pub payload: Cursor<'a>,
}

impl<'a> TrackPart<'a> {
    fn new(fourcc: FourCc, track: Option<u8>, payload: Cursor<'a>) -> Self {
        TrackPart { fourcc, track, payload }
    }
}

/// A place in a body; offsets in errors count from the body's first byte.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    body: &'a [u8],
    pub at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Cursor { body, at: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.at == self.body.len()
    }

    pub fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], Error> {
        let offset = self.at;
        let taken = self.body[offset..]
            .get(..count)
            .ok_or(Error::Truncated { field, offset })?;
        self.at += count;
        Ok(taken)
    }

    pub fn u8(&mut self, field: &'static str) -> Result<u8, Error> {
        Ok(self.array::<1>(field)?[0])
    }

    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Error> {
        let taken = self.take(N, field)?;
        Ok(taken.try_into().expect("take(N) lends N bytes"))
    }

    /// SI24, milliseconds.
    pub fn composition_time(&mut self) -> Result<i32, Error> {
        let unsigned = u24(self.array("CompositionTime")?);
        Ok((unsigned << 8) as i32 >> 8)
    }

    /// The bytes that are left, as bytes.
    pub fn remainder(self) -> &'a [u8] {
        &self.body[self.at..]
    }

    /// The bytes that are left, as a cursor; this one is at the end then.
    fn rest(&mut self) -> Cursor<'a> {
        let rest = self.clone();
        self.at = self.body.len();
        rest
    }

    fn sub(&mut self, count: usize, field: &'static str) -> Result<Cursor<'a>, Error> {
        let at = self.at;
        self.take(count, field)?;
        Ok(Cursor {
            body: &self.body[..self.at],
            at,
        })
    }
}

pub(super) fn illegal(field: &'static str, value: u8, offset: usize) -> Error {
    Error::Illegal {
        field,
        value: value.into(),
        offset,
    }
}

fn u24([high, middle, low]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, high, middle, low])
}

/// In audio and video alike.
const MOD_EX: u8 = 7;
const TIMESTAMP_OFFSET_NANO: u8 = 0;
