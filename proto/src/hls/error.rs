//! What a player can ask wrongly.

use std::fmt;

/// The player's fault, all of them: answered 400 with this as its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not a decimal integer of 64 bits.
    NotANumber {
        directive: &'static str,
    },
    Repeated {
        directive: &'static str,
    },
    /// `_HLS_part` says nothing alone (6.2.5.2).
    PartWithoutMsn,
    /// `_HLS_skip` is neither `YES` nor `v2`.
    SkipUnknown,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotANumber { directive } => write!(f, "{directive} is not a decimal integer"),
            Error::Repeated { directive } => write!(f, "{directive} is given twice"),
            Error::PartWithoutMsn => write!(f, "_HLS_part without _HLS_msn"),
            Error::SkipUnknown => write!(f, "_HLS_skip is neither YES nor v2"),
        }
    }
}

impl std::error::Error for Error {}
