use std::fmt;

use super::limits::{CONNECTIONS_MAX, REASON_CHARS_MAX};
use crate::{rtsp, sdp};

/// What a pull was about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Connect,
    Options,
    Describe,
    SetUp,
    Play,
    /// It plays.
    Receive,
}

/// Why a pull ended. Nothing of it tells a password or an address's query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The server's bytes are no RTSP.
    Wire(rtsp::Error),
    /// An answer that is no success.
    Refused {
        step: Step,
        status: u16,
        /// As the server says it, cut short.
        reason: String,
    },
    /// 401, and the address names nobody.
    LoginMissing,
    /// 401 to name and password.
    LoginWrong,
    /// 401, and none of its schemes is Basic or Digest with MD5 or SHA-256.
    SchemeUnknown,
    /// No answer, or no connection.
    Late {
        step: Step,
        millis: u64,
    },
    /// It plays, and no packet came.
    Silent {
        millis: u64,
    },
    /// Nothing came by UDP, and nothing else may be tried.
    NothingByUdp {
        millis: u64,
    },
    Description(sdp::Error),
    /// The description has nothing that goes by RTP.
    NothingToPlay,
    /// The answer to SETUP names a transport that was not asked for, or one that another medium has.
    Transport,
    /// There are no UDP ports, and nothing else may be tried.
    NoPorts,
    /// Sent to another place more often than this.
    TooManyConnections {
        max: u32,
    },
    /// Sent to an address that is none, or from encryption to none.
    Redirect,
    /// The server ended it.
    TornDown,
    /// The connection ended.
    Disconnected {
        step: Step,
    },
}

impl Error {
    pub(super) fn refused(step: Step, status: u16, reason: &str) -> Error {
        let graphic = reason.chars().filter(|char| !char.is_control());
        let reason = graphic.take(REASON_CHARS_MAX).collect();
        Error::Refused { step, status, reason }
    }

    pub(super) const TOO_MANY_CONNECTIONS: Error = Error::TooManyConnections { max: CONNECTIONS_MAX };
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Connect => "connecting",
            Step::Options => "OPTIONS",
            Step::Describe => "DESCRIBE",
            Step::SetUp => "SETUP",
            Step::Play => "PLAY",
            Step::Receive => "receiving",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Wire(_) => write!(f, "the server speaks no RTSP"),
            Error::Refused { step, status, reason } => write!(f, "the server answers {step} with {status} {reason}"),
            Error::LoginMissing => write!(f, "the server wants a user and password, and the address has none"),
            Error::LoginWrong => write!(f, "the server refuses the user or password of the address"),
            Error::SchemeUnknown => write!(f, "the server wants a way to log in that is neither Basic nor Digest"),
            Error::Late {
                step: Step::Connect,
                millis,
            } => write!(f, "no connection after {millis} ms"),
            Error::Late { step, millis } => write!(f, "no answer to {step} after {millis} ms"),
            Error::Silent { millis } => write!(f, "no packet for {millis} ms"),
            Error::NothingByUdp { millis } => write!(f, "no packet by UDP for {millis} ms"),
            Error::Description(_) => write!(f, "the answer to DESCRIBE cannot be read"),
            Error::NothingToPlay => write!(f, "the server describes nothing that goes by RTP"),
            Error::Transport => write!(f, "the answer to SETUP names a transport that was not asked for"),
            Error::NoPorts => write!(f, "there are no UDP ports for it"),
            Error::TooManyConnections { max } => write!(f, "sent to another place more than {max} times"),
            Error::Redirect => write!(f, "sent to an address that cannot be used"),
            Error::TornDown => write!(f, "the server ended it"),
            Error::Disconnected { step } => write!(f, "the connection ended at {step}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Wire(error) => Some(error),
            Error::Description(error) => Some(error),
            _ => None,
        }
    }
}
