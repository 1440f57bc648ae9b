use std::fmt;

/// Why bytes are no bootstrap or no fragment of ours. `offset` counts from their first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    Truncated {
        field: &'static str,
        offset: usize,
    },
    /// Another box stands there.
    NotTheBox {
        wanted: [u8; 4],
        found: [u8; 4],
        offset: usize,
    },
    /// A box is longer or shorter than what is in it.
    BoxBytes {
        stated: u64,
        found: u64,
        offset: usize,
    },
    Illegal {
        field: &'static str,
        value: u64,
        offset: usize,
    },
    /// Fragments, or their times, do not follow each other.
    Order {
        field: &'static str,
        before: u64,
        found: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Truncated { field, offset } => write!(f, "ends before {field} at {offset}"),
            Error::NotTheBox { wanted, found, offset } => write!(
                f,
                "box '{}' at {offset} where '{}' belongs",
                found.escape_ascii(),
                wanted.escape_ascii()
            ),
            Error::BoxBytes { stated, found, offset } => {
                write!(f, "box at {offset} states {stated} bytes and has {found}")
            }
            Error::Illegal { field, value, offset } => write!(f, "{field} at {offset} is {value}"),
            Error::Order { field, before, found } => write!(f, "{field} {found} behind {before}"),
        }
    }
}

impl std::error::Error for Error {}
