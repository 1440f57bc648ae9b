//! What can be wrong with DTSC bytes.

use std::fmt;

/// `at` is an offset in bytes from the first byte handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Peer: the four bytes are no magic of DTSC.
    Magic { bytes: [u8; 4] },
    /// Peer: a packet states more bytes than allowed.
    PacketTooLarge { bytes: usize, bytes_max: usize },
    /// Local: a payload larger than a packet may carry, or empty, which MistServer refuses.
    DataLength { bytes: usize, bytes_max: usize },
    /// Peer: the bytes end inside a value or name.
    Truncated { at: usize },
    /// Peer: a type byte that no value has.
    ValueType { byte: u8, at: usize },
    /// Peer: an object was due.
    NoObject { at: usize },
    /// Peer: objects nested deeper than allowed.
    TooDeep { depth_max: usize, at: usize },
    /// Peer: more values than allowed.
    TooManyValues { values_max: usize, at: usize },
    /// Peer: bytes behind the end of the object.
    Trailing { at: usize },
    /// Peer: a member that must be there is missing, or has another type or range.
    Member { name: &'static str },
    /// Peer: more tracks than allowed.
    TooManyTracks { tracks_max: usize },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Magic { bytes } => write!(f, "{bytes:02x?} begin no DTSC packet"),
            Error::PacketTooLarge { bytes, bytes_max } => {
                write!(f, "packet of {bytes} bytes, at most {bytes_max} are allowed")
            }
            Error::DataLength { bytes, bytes_max } => {
                write!(f, "payload of {bytes} bytes, 1 to {bytes_max} are allowed")
            }
            Error::Truncated { at } => write!(f, "object ends early at byte {at}"),
            Error::ValueType { byte, at } => write!(f, "value of unknown type {byte:#04x} at byte {at}"),
            Error::NoObject { at } => write!(f, "no object at byte {at}"),
            Error::TooDeep { depth_max, at } => write!(f, "object deeper than {depth_max} levels at byte {at}"),
            Error::TooManyValues { values_max, at } => write!(f, "more than {values_max} values at byte {at}"),
            Error::Trailing { at } => write!(f, "bytes behind the object at byte {at}"),
            Error::Member { name } => write!(f, "member {name} is missing or wrong"),
            Error::TooManyTracks { tracks_max } => write!(f, "more than {tracks_max} tracks"),
        }
    }
}

impl std::error::Error for Error {}
