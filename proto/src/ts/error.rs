//! What can be wrong with a packet, a section or a PES head.

use std::fmt;

/// The sender's fault, all of them. Offsets count from the first byte of the structure that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A packet that does not begin with `47`.
    Sync { found: u8 },
    /// The structure ends before `field` does.
    Truncated { field: &'static str, offset: usize },
    /// `adaptation_field_control` is the reserved 00.
    NoContent,
    /// `adaptation_field_length` is not what the packet leaves room for.
    AdaptationLength { bytes: usize, bytes_max: usize },
    /// A stuffing byte that is not `FF`.
    Stuffing { offset: usize, found: u8 },
    /// `field` has a value that the specification forbids.
    Illegal {
        field: &'static str,
        value: u64,
        offset: usize,
    },
    /// CRC_32 over the section is not zero.
    Crc { expected: u32, found: u32 },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Sync { found } => write!(f, "packet begins with {found:02x}, not with 47"),
            Error::Truncated { field, offset } => write!(f, "bytes end inside {field} at byte {offset}"),
            Error::NoContent => write!(f, "packet has neither adaptation field nor payload"),
            Error::AdaptationLength { bytes, bytes_max } => {
                write!(f, "adaptation_field_length is {bytes} where {bytes_max} is the bound")
            }
            Error::Stuffing { offset, found } => write!(f, "stuffing byte {offset} is {found:02x}, not ff"),
            Error::Illegal { field, value, offset } => write!(f, "{field} is {value} at byte {offset}"),
            Error::Crc { expected, found } => write!(f, "CRC_32 is {found:08x} where {expected:08x} is right"),
        }
    }
}

impl std::error::Error for Error {}
