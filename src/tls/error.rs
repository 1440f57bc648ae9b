//! Why a connection is not sealed, or not any longer: for the log, and as one of a few reasons for the counters.

use std::fmt;

use rustls::AlertDescription;

use super::trust::Untrusted;

#[derive(Debug)]
pub enum Error {
    /// It begins with text: its peer does not know that this port is sealed.
    Plain {
        begins: String,
    },
    /// A record or a message is not one, or not at its place; or it is damaged.
    Garbled(rustls::Error),
    /// No version, algorithm or name in common.
    NothingInCommon(rustls::Error),
    /// We do not trust the peer.
    Untrusted(Untrusted),
    /// It ended the dialogue and said so: it may not trust us.
    Refused(AlertDescription),
    /// So much was sealed with one key that no more may be.
    WornOut,
    /// TLS's own code panicked.
    Defect,
    Other(rustls::Error),
}

/// Of what kind it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Plain,
    Garbled,
    NothingInCommon,
    Untrusted,
    Refused,
    Other,
}

impl Error {
    pub fn reason(&self) -> Reason {
        match self {
            Error::Plain { .. } => Reason::Plain,
            Error::Garbled(_) => Reason::Garbled,
            Error::NothingInCommon(_) => Reason::NothingInCommon,
            Error::Untrusted(_) => Reason::Untrusted,
            Error::Refused(_) => Reason::Refused,
            Error::WornOut | Error::Defect | Error::Other(_) => Reason::Other,
        }
    }
}

impl From<rustls::Error> for Error {
    fn from(error: rustls::Error) -> Error {
        use rustls::Error as Tls;
        match error {
            Tls::InappropriateMessage { .. }
            | Tls::InappropriateHandshakeMessage { .. }
            | Tls::InvalidMessage(_)
            | Tls::DecryptError
            | Tls::PeerSentOversizedRecord
            | Tls::PeerMisbehaved(_) => Error::Garbled(error),
            Tls::PeerIncompatible(_) | Tls::NoApplicationProtocol => Error::NothingInCommon(error),
            Tls::InvalidCertificate(why) => Error::Untrusted(Untrusted::of(&why)),
            Tls::AlertReceived(alert) => Error::Refused(alert),
            other => Error::Other(other),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Plain { begins } => write!(f, "it begins with {begins:?}: the peer does not speak TLS"),
            Error::Garbled(error) | Error::NothingInCommon(error) | Error::Other(error) => error.fmt(f),
            Error::Untrusted(untrusted) => untrusted.fmt(f),
            Error::Refused(alert) => write!(f, "the peer refused: {alert:?}"),
            Error::Defect => f.write_str("a defect of TLS's code ended it"),
            Error::WornOut => f.write_str("as much was sent as one key may seal"),
        }
    }
}

impl std::error::Error for Error {}
