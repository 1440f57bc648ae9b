//! DTSC packets (reference/mistserver-media.md, 1.1, 1.3 and 1.4): four magic bytes, a length that does not count these
//! eight bytes, and a body.
//!
//! A media packet is written as [`Head`], payload and [`TAIL`], three slices that a ring appends one behind the other.
//! What is written is `DTP2`; `DTPD` is only read.

use std::ops::Deref;

use super::object::{self, BYTES, CLOSE, INTEGER, OBJECT, Object};
use crate::dtsc::Error;
use crate::dtsc::limits::{DATA_BYTES_MAX, PACKET_BYTES_MAX};

/// What a packet is, by its magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `DTSC`: a description of tracks.
    Header,
    /// `DTPD`: a frame, all of it an object.
    MediaV1,
    /// `DTP2`: a frame.
    Media,
    /// `DTCM`: a command, on the network only.
    Command,
}

impl Kind {
    pub fn magic(self) -> [u8; 4] {
        match self {
            Kind::Header => *b"DTSC",
            Kind::MediaV1 => *b"DTPD",
            Kind::Media => *b"DTP2",
            Kind::Command => *b"DTCM",
        }
    }

    fn of_magic(bytes: [u8; 4]) -> Result<Self, Error> {
        [Kind::Header, Kind::MediaV1, Kind::Media, Kind::Command]
            .into_iter()
            .find(|kind| kind.magic() == bytes)
            .ok_or(Error::Magic { bytes })
    }
}

/// A whole packet, lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    pub kind: Kind,
    /// Behind magic and length.
    pub body: &'a [u8],
}

impl Packet<'_> {
    /// With magic and length.
    pub fn bytes(&self) -> usize {
        PREFIX_BYTES + self.body.len()
    }
}

/// The packet that `bytes` begin with; `None` when it is not there whole.
pub fn split(bytes: &[u8]) -> Result<Option<Packet<'_>>, Error> {
    let Some(&[a, b, c, d, e, f, g, h]) = bytes.first_chunk() else {
        return Ok(None);
    };
    let kind = Kind::of_magic([a, b, c, d])?;
    let body_bytes = u32::from_be_bytes([e, f, g, h]) as usize;
    if body_bytes > PACKET_BYTES_MAX - PREFIX_BYTES {
        return Err(Error::PacketTooLarge {
            bytes: body_bytes + PREFIX_BYTES,
            bytes_max: PACKET_BYTES_MAX,
        });
    }
    let body = bytes[PREFIX_BYTES..].get(..body_bytes);
    Ok(body.map(|body| Packet { kind, body }))
}

/// A frame in DTSC's terms. All times are ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media<'a> {
    /// On the network the track's index plus one.
    pub track: u32,
    pub time_ms: u64,
    /// Presentation minus decode time.
    pub offset_ms: i64,
    /// Byte position in the source, 0 when it has none.
    pub bpos: u64,
    pub key: bool,
    pub data: &'a [u8],
}

impl<'a> Media<'a> {
    /// A packet of kind [`Kind::Media`] or [`Kind::MediaV1`].
    pub fn parse(packet: Packet<'a>) -> Result<Self, Error> {
        match packet.kind {
            Kind::Media => Self::parse_v2(packet.body),
            Kind::MediaV1 => Self::parse_v1(packet.body),
            other => Err(Error::Magic { bytes: other.magic() }),
        }
    }

    fn parse_v2(body: &'a [u8]) -> Result<Self, Error> {
        let truncated = Error::Truncated { at: body.len() };
        let (track, rest) = body.split_first_chunk().ok_or(truncated)?;
        let (time, members) = rest.split_first_chunk().ok_or(truncated)?;
        let members = object::parse(members)?;
        Self::of_members(u32::from_be_bytes(*track), u64::from_be_bytes(*time), members)
    }

    fn parse_v1(body: &'a [u8]) -> Result<Self, Error> {
        let members = object::parse(body)?;
        let wrong = |name| Error::Member { name };
        let track = members.integer("trackid").and_then(|track| track.try_into().ok());
        let time_ms = members.integer("time").and_then(|time| time.try_into().ok());
        Self::of_members(track.ok_or(wrong("trackid"))?, time_ms.ok_or(wrong("time"))?, members)
    }

    /// Members by name, unknown ones passed over. `Keyframe` is how MistServer takes the key flag back.
    fn of_members(track: u32, time_ms: u64, members: Object<'a>) -> Result<Self, Error> {
        let mut media = Media {
            track,
            time_ms,
            offset_ms: 0,
            bpos: 0,
            key: false,
            data: &[],
        };
        for (name, value) in members.members() {
            match name {
                b"offset" => media.offset_ms = value.as_integer().ok_or(Error::Member { name: "offset" })?,
                b"bpos" => {
                    let bpos = value.as_integer().and_then(|bpos| bpos.try_into().ok());
                    media.bpos = bpos.ok_or(Error::Member { name: "bpos" })?;
                }
                b"keyframe" => media.key = value.as_integer().is_some_and(|flag| flag != 0),
                b"data" => media.data = value.as_bytes().ok_or(Error::Member { name: "data" })?,
                _ => {}
            }
        }
        if media.data.is_empty() {
            return Err(Error::Member { name: "data" });
        }
        Ok(media)
    }

    /// The bytes in front of [`Media::data`]; [`TAIL`] follows it.
    pub fn head(&self) -> Result<Head, Error> {
        let data_bytes = self.data.len();
        if !(1..=DATA_BYTES_MAX).contains(&data_bytes) {
            return Err(Error::DataLength {
                bytes: data_bytes,
                bytes_max: DATA_BYTES_MAX,
            });
        }
        let mut head = Head {
            bytes: [0; HEAD_BYTES_MAX],
            length: 0,
        };
        head.push(&Kind::Media.magic());
        head.push(&[0; 4]);
        head.push(&self.track.to_be_bytes());
        head.push(&self.time_ms.to_be_bytes());
        head.push(&[OBJECT]);
        if self.offset_ms != 0 {
            head.push_integer(b"\0\x06offset", self.offset_ms);
        }
        if self.bpos != 0 {
            head.push_integer(b"\0\x04bpos", self.bpos as i64);
        }
        if self.key {
            head.push_integer(b"\0\x08keyframe", 1);
        }
        head.push(b"\0\x04data");
        head.push(&[BYTES]);
        head.push(&(data_bytes as u32).to_be_bytes());
        let body_bytes = head.length - PREFIX_BYTES + data_bytes + TAIL.len();
        head.bytes[4..8].copy_from_slice(&(body_bytes as u32).to_be_bytes());
        Ok(head)
    }

    /// Appends the whole packet.
    pub fn emit(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        let head = self.head()?;
        out.extend_from_slice(&head);
        out.extend_from_slice(self.data);
        out.extend_from_slice(&TAIL);
        Ok(())
    }
}

/// What stands before a media packet's payload.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    bytes: [u8; HEAD_BYTES_MAX],
    length: usize,
}

impl Head {
    fn push(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        self.bytes[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }

    /// `name` with its length in front.
    fn push_integer(&mut self, name: &[u8], value: i64) {
        self.push(name);
        self.push(&[INTEGER]);
        self.push(&value.to_be_bytes());
    }
}

impl Deref for Head {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Appends a packet of kind [`Kind::Header`] or [`Kind::Command`] around the object that `write` appends. When that is
/// too large for a packet, nothing is appended.
pub fn emit_object(kind: Kind, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
    assert!(
        matches!(kind, Kind::Header | Kind::Command),
        "media packets have their own form"
    );
    let begin = out.len();
    out.extend_from_slice(&kind.magic());
    out.extend_from_slice(&[0; 4]);
    write(out);
    let body_bytes = out.len() - begin - PREFIX_BYTES;
    if body_bytes > PACKET_BYTES_MAX - PREFIX_BYTES {
        out.truncate(begin);
        return Err(Error::PacketTooLarge {
            bytes: body_bytes + PREFIX_BYTES,
            bytes_max: PACKET_BYTES_MAX,
        });
    }
    out[begin + 4..begin + PREFIX_BYTES].copy_from_slice(&(body_bytes as u32).to_be_bytes());
    Ok(())
}

/// What stands behind a media packet's payload: the end of its object.
pub const TAIL: [u8; 3] = CLOSE;

/// Magic, length, track, time and type byte; offset, bpos, keyframe; data's name, type and length.
pub const HEAD_BYTES_MAX: usize = 21 + 17 + 15 + 19 + 11;

/// Magic and length.
pub const PREFIX_BYTES: usize = 8;

const _: () = assert!(HEAD_BYTES_MAX + DATA_BYTES_MAX + TAIL.len() <= PACKET_BYTES_MAX);

#[cfg(test)]
mod tests;
