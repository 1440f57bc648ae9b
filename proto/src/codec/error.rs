//! What can be wrong with a codec header.

use std::fmt;

/// The sender's fault, all of them. `field` is the specification's name of the syntax element, `bit` where it begins,
/// counted from the first byte handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The bytes end inside `field`.
    Truncated { field: &'static str, bit: usize },
    /// `field` has a value that the specification forbids or that this crate cannot express.
    Illegal {
        field: &'static str,
        value: u64,
        bit: usize,
    },
    /// More than the field or the bound holds.
    TooLong {
        field: &'static str,
        bytes: usize,
        bytes_max: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Truncated { field, bit } => {
                write!(f, "bytes end inside {field} at byte {}, bit {}", bit / 8, bit % 8)
            }
            Error::Illegal { field, value, bit } => {
                write!(f, "{field} is {value} at byte {}, bit {}", bit / 8, bit % 8)
            }
            Error::TooLong {
                field,
                bytes,
                bytes_max,
            } => {
                write!(f, "{field} has {bytes} bytes of at most {bytes_max}")
            }
        }
    }
}

impl std::error::Error for Error {}
