use std::fmt;

/// Why a text is no session description. Everything else that is wrong with one is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    TooLong {
        bytes: usize,
        bytes_max: usize,
    },
    TooManyMedia {
        max: usize,
    },
    /// Not one line begins with `m=`.
    NoMedia,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::TooLong { bytes, bytes_max } => {
                write!(f, "session description has {bytes} bytes, more than {bytes_max}")
            }
            Error::TooManyMedia { max } => write!(f, "session description has more than {max} media"),
            Error::NoMedia => write!(f, "session description has no media"),
        }
    }
}

impl std::error::Error for Error {}
