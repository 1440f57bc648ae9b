use std::fmt;

use crate::tag::amf0;

/// Why a peer's dialogue cannot go on. `offset` counts the peer's bytes from the first of its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The first byte is no RTMP version: HTTP, TLS or noise.
    Version {
        version: u8,
    },
    /// A chunk that leaves out fields of a message that never came on its chunk stream.
    FreshChunkStream {
        offset: u64,
        csid: u32,
        format: u8,
    },
    ChunkSizeZero {
        offset: u64,
    },
    /// A control message shorter than its fields.
    ControlTooShort {
        offset: u64,
        kind: u8,
        bytes: usize,
    },
    /// A command whose name or transaction is missing or no AMF0.
    Command {
        offset: u64,
        source: amf0::Error,
    },
    CommandWithoutName {
        offset: u64,
    },
    /// A stream was asked for before `connect`.
    NotConnected {
        offset: u64,
    },
    /// A peer that plays server to us refused the handshake or answered with another version.
    Reply {
        version: u8,
    },
    TooManyChunkStreams {
        offset: u64,
        csid: u32,
        max: usize,
    },
    TooManyAssemblies {
        offset: u64,
        csid: u32,
        max: usize,
    },
    MessageTooLarge {
        offset: u64,
        kind: u8,
        bytes: u32,
        bytes_max: u32,
    },
    ReassemblyTooLarge {
        offset: u64,
        bytes: usize,
        bytes_max: usize,
    },
    NameTooLong {
        offset: u64,
        bytes: usize,
        bytes_max: usize,
    },
    HandshakeTimeout {
        millis: u64,
    },
    Idle {
        millis: u64,
    },
    /// Whatever the peer sends, it asks for nothing.
    NothingAsked {
        millis: u64,
    },
    /// A publisher whose bytes never come to a whole message.
    MessageSlow {
        millis: u64,
    },
}

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
            Error::Version { .. }
            | Error::FreshChunkStream { .. }
            | Error::ChunkSizeZero { .. }
            | Error::ControlTooShort { .. }
            | Error::Command { .. }
            | Error::CommandWithoutName { .. }
            | Error::NotConnected { .. }
            | Error::Reply { .. } => Fault::Peer,
            Error::TooManyChunkStreams { .. }
            | Error::TooManyAssemblies { .. }
            | Error::MessageTooLarge { .. }
            | Error::ReassemblyTooLarge { .. }
            | Error::NameTooLong { .. } => Fault::Limit,
            Error::HandshakeTimeout { .. }
            | Error::Idle { .. }
            | Error::NothingAsked { .. }
            | Error::MessageSlow { .. } => Fault::Silence,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Version { version } => write!(f, "first byte {version:#04x} is no RTMP version"),
            Error::FreshChunkStream { offset, csid, format } => {
                write!(f, "chunk stream {csid} begins with format {format} at {offset}")
            }
            Error::ChunkSizeZero { offset } => write!(f, "chunk size 0 set at {offset}"),
            Error::ControlTooShort { offset, kind, bytes } => {
                write!(
                    f,
                    "control message of type {kind} before {offset} has only {bytes} bytes"
                )
            }
            Error::Command { offset, .. } => write!(f, "command before {offset} is no AMF0"),
            Error::CommandWithoutName { offset } => write!(f, "command before {offset} has no name"),
            Error::NotConnected { offset } => write!(f, "stream asked for before connect at {offset}"),
            Error::Reply { version } => write!(f, "server answered the handshake with version {version}"),
            Error::TooManyChunkStreams { offset, csid, max } => {
                write!(f, "chunk stream {csid} at {offset} is one more than {max}")
            }
            Error::TooManyAssemblies { offset, csid, max } => {
                write!(
                    f,
                    "message on chunk stream {csid} at {offset} is one more than {max} under way"
                )
            }
            Error::MessageTooLarge {
                offset,
                kind,
                bytes,
                bytes_max,
            } => {
                write!(
                    f,
                    "message of type {kind} at {offset} has {bytes} bytes, more than {bytes_max}"
                )
            }
            Error::ReassemblyTooLarge {
                offset,
                bytes,
                bytes_max,
            } => {
                write!(
                    f,
                    "unfinished messages take {bytes} bytes at {offset}, more than {bytes_max}"
                )
            }
            Error::NameTooLong {
                offset,
                bytes,
                bytes_max,
            } => {
                write!(f, "name before {offset} has {bytes} bytes, more than {bytes_max}")
            }
            Error::HandshakeTimeout { millis } => write!(f, "handshake not finished after {millis} ms"),
            Error::Idle { millis } => write!(f, "nothing from the peer for {millis} ms"),
            Error::NothingAsked { millis } => write!(f, "neither publish nor play for {millis} ms"),
            Error::MessageSlow { millis } => write!(f, "no whole message of the publisher for {millis} ms"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Command { source, .. } => Some(source),
            _ => None,
        }
    }
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
