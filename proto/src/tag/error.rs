use std::fmt;

use super::amf0;
use crate::codec;

/// Why one message was skipped; the stream goes on behind it. All are the publisher's fault but [`Error::TooManyTracks`],
/// a limit of ours. `offset` counts from the first byte of the message body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The body ends inside `field`.
    Truncated {
        field: &'static str,
        offset: usize,
    },
    /// A field has a value that the specification forbids or does not define.
    Illegal {
        field: &'static str,
        value: u32,
        offset: usize,
    },
    /// A `CodecID` or `SoundFormat` that no track can have.
    UnknownCodec {
        id: u8,
    },
    UnknownFourCc {
        fourcc: [u8; 4],
    },
    /// Not one usable NAL unit in a coded picture.
    NoUnits {
        bytes: usize,
    },
    /// Script data without a name.
    Nameless {
        bytes: usize,
    },
    TooManyTracks {
        tracks_max: usize,
    },
    Script(amf0::Error),
    Codec(codec::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Truncated { field, offset } => write!(f, "message body ends inside {field} at byte {offset}"),
            Error::Illegal { field, value, offset } => write!(f, "{field} is {value} at byte {offset}"),
            Error::UnknownCodec { id } => write!(f, "codec number {id} is not carried"),
            Error::UnknownFourCc { fourcc } => write!(f, "codec '{}' is not carried", fourcc.escape_ascii()),
            Error::NoUnits { bytes } => write!(f, "no NAL unit in a picture of {bytes} bytes"),
            Error::Nameless { bytes } => write!(f, "script data of {bytes} bytes has no name"),
            Error::TooManyTracks { tracks_max } => write!(f, "more than {tracks_max} tracks"),
            Error::Script(_) => write!(f, "script data cannot be read"),
            Error::Codec(_) => write!(f, "codec data cannot be read"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Script(source) => Some(source),
            Error::Codec(source) => Some(source),
            _ => None,
        }
    }
}

impl From<amf0::Error> for Error {
    fn from(source: amf0::Error) -> Self {
        Error::Script(source)
    }
}

impl From<codec::Error> for Error {
    fn from(source: codec::Error) -> Self {
        Error::Codec(source)
    }
}
