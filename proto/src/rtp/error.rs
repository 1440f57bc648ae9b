use std::fmt;

/// Why one packet was skipped; the stream goes on behind it. All are the peer's fault. Offsets count from the first byte of
/// the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The packet ends inside `field`.
    Truncated { field: &'static str, offset: usize },
    /// A field has a value that RFC 3550 forbids.
    Illegal {
        field: &'static str,
        value: u32,
        offset: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Truncated { field, offset } => write!(f, "packet ends inside {field} at byte {offset}"),
            Error::Illegal { field, value, offset } => write!(f, "{field} is {value} at byte {offset}"),
        }
    }
}

impl std::error::Error for Error {}
