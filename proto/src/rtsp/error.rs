use std::fmt;

/// Why a peer's dialogue cannot go on. `offset` counts the peer's bytes from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Neither a message nor an interleaved frame begins with this byte.
    Garbage {
        offset: u64,
        byte: u8,
    },
    /// What comes up a tunnel is no base64. `offset` counts the bytes of the body.
    Base64 {
        offset: u64,
        byte: u8,
    },
    /// A first line that is neither a request's nor an answer's.
    StartLine {
        offset: u64,
    },
    /// A line behind the first that is no header.
    HeaderLine {
        offset: u64,
    },
    /// `Content-Length` is no number.
    ContentLength {
        offset: u64,
    },
    LineTooLong {
        offset: u64,
        bytes_max: usize,
    },
    HeadTooLong {
        offset: u64,
        bytes_max: usize,
    },
    TooManyHeaders {
        offset: u64,
        max: usize,
    },
    BodyTooLong {
        offset: u64,
        bytes: u64,
        bytes_max: usize,
    },
    /// Nothing came from the peer.
    Idle {
        millis: u64,
    },
    /// A message was begun and did not come to its end.
    MessageSlow {
        millis: u64,
    },
    /// Whatever the peer sends, it neither plays nor publishes.
    NothingAsked {
        millis: u64,
    },
}

/// Why bytes are no exported session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportError {
    Truncated {
        offset: usize,
    },
    /// Written by a build with another layout.
    Layout {
        found: u8,
        expected: u8,
    },
    /// A field outside of what any session exports.
    Invalid {
        offset: usize,
    },
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImportError::Truncated { offset } => write!(f, "exported session ends at {offset}"),
            ImportError::Layout { found, expected } => write!(f, "exported session has layout {found}, not {expected}"),
            ImportError::Invalid { offset } => write!(f, "exported session has an impossible field before {offset}"),
        }
    }
}

impl std::error::Error for ImportError {}

/// Whose doing an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer broke the protocol.
    Peer,
    /// The peer asked for more than our limits allow.
    Limit,
    /// The peer went silent, or came to nothing in its time.
    Silence,
}

impl Error {
    pub fn fault(&self) -> Fault {
        match self {
            Error::Garbage { .. }
            | Error::Base64 { .. }
            | Error::StartLine { .. }
            | Error::HeaderLine { .. }
            | Error::ContentLength { .. } => Fault::Peer,
            Error::LineTooLong { .. }
            | Error::HeadTooLong { .. }
            | Error::TooManyHeaders { .. }
            | Error::BodyTooLong { .. } => Fault::Limit,
            Error::Idle { .. } | Error::MessageSlow { .. } | Error::NothingAsked { .. } => Fault::Silence,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Garbage { offset, byte } => {
                write!(f, "byte {byte:#04x} at {offset} begins neither a message nor a frame")
            }
            Error::Base64 { offset, byte } => write!(f, "byte {byte:#04x} at {offset} of the tunnel is no base64"),
            Error::StartLine { offset } => write!(f, "line at {offset} is neither a request's nor an answer's"),
            Error::HeaderLine { offset } => write!(f, "line at {offset} is no header"),
            Error::ContentLength { offset } => write!(f, "message at {offset} has a Content-Length that is no number"),
            Error::LineTooLong { offset, bytes_max } => write!(f, "line at {offset} has more than {bytes_max} bytes"),
            Error::HeadTooLong { offset, bytes_max } => write!(f, "head at {offset} has more than {bytes_max} bytes"),
            Error::TooManyHeaders { offset, max } => write!(f, "message at {offset} has more than {max} headers"),
            Error::BodyTooLong {
                offset,
                bytes,
                bytes_max,
            } => write!(
                f,
                "message at {offset} has a body of {bytes} bytes, more than {bytes_max}"
            ),
            Error::Idle { millis } => write!(f, "nothing from the peer for {millis} ms"),
            Error::MessageSlow { millis } => write!(f, "a message is not whole after {millis} ms"),
            Error::NothingAsked { millis } => write!(f, "neither play nor publish for {millis} ms"),
        }
    }
}

impl std::error::Error for Error {}
