use std::fmt;

/// Why bytes are no AMF0. `offset` counts from the first byte of the input. The last two are our limits; the others are
/// the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The input ends inside a value that needs `missing` bytes more.
    Truncated {
        offset: usize,
        missing: usize,
    },
    /// No AMF0 type, or one that the specification reserves (movie clip, record set).
    UnknownMarker {
        offset: usize,
        marker: u8,
    },
    /// The sender goes on in AMF3.
    Amf3 {
        offset: usize,
    },
    /// An object end where a value belongs.
    StrayObjectEnd {
        offset: usize,
    },
    TooDeep {
        offset: usize,
        depth_max: usize,
    },
    TooManyValues {
        offset: usize,
        values_max: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Truncated { offset, missing } => write!(f, "AMF0 value at {offset} lacks {missing} bytes"),
            Error::UnknownMarker { offset, marker } => write!(f, "AMF0 marker {marker:#04x} at {offset} is no type"),
            Error::Amf3 { offset } => write!(f, "AMF3 begins at {offset}"),
            Error::StrayObjectEnd { offset } => write!(f, "AMF0 object end at {offset} ends no object"),
            Error::TooDeep { offset, depth_max } => {
                write!(f, "AMF0 value at {offset} is nested deeper than {depth_max}")
            }
            Error::TooManyValues { offset, values_max } => {
                write!(f, "AMF0 value at {offset} is one more than {values_max}")
            }
        }
    }
}

impl std::error::Error for Error {}
