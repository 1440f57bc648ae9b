//! What a peer can do wrong in HTTP/1.1, with the place where it did.

use std::fmt;

use super::Status;

/// An illegal or too long request. Offsets count from the first byte of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    RequestLineTooLong {
        bytes_max: usize,
    },
    HeaderBlockTooLong {
        bytes_max: usize,
    },
    TooManyHeaders {
        headers_max: usize,
    },
    TooManyEmptyLines {
        lines_max: u8,
    },
    /// A line feed without a carriage return: parsers disagree about it, which is how requests are smuggled.
    BareLineFeed {
        offset: usize,
    },
    /// What httparse refuses; `what` names the part of the grammar.
    Grammar {
        what: &'static str,
        bytes: usize,
    },
    UnknownVersion,
    HostMissing,
    HostRepeated,
    ContentLengthInvalid {
        offset: usize,
    },
    ContentLengthsDiffer {
        offset: usize,
    },
    /// Both `Content-Length` and `Transfer-Encoding`: two framings, so two readings of where the next request begins.
    TwoFramings {
        offset: usize,
    },
    TransferEncodingInOldVersion {
        offset: usize,
    },
    TransferEncodingUnknown {
        offset: usize,
    },
    TransferEncodingRepeated {
        offset: usize,
    },
    MethodUnknown,
    TargetForm,
    /// A percent sign without two hexadecimal digits, a control character, or text that is not UTF-8.
    TargetEncoding {
        offset: usize,
    },
    /// A `.` or `..` segment in the decoded path.
    DotSegment,
    BodyTooLong {
        bytes_max: u32,
    },
    ChunkSizeInvalid {
        body_offset: u64,
    },
    ChunkLineTooLong {
        body_offset: u64,
        bytes_max: u32,
    },
    ChunkEndMissing {
        body_offset: u64,
    },
    TrailerTooLong {
        bytes_max: u32,
    },
    /// A viewer that is being sent the connection's last answer keeps sending.
    StreamInputTooLong {
        bytes_max: u32,
    },
}

impl Error {
    /// The answer that tells the peer.
    pub fn status(&self) -> Status {
        match self {
            Error::RequestLineTooLong { .. } => Status::UriTooLong,
            Error::HeaderBlockTooLong { .. } | Error::TooManyHeaders { .. } => Status::HeaderFieldsTooLarge,
            Error::UnknownVersion => Status::VersionNotSupported,
            Error::TransferEncodingUnknown { .. } | Error::MethodUnknown => Status::NotImplemented,
            Error::BodyTooLong { .. } => Status::ContentTooLarge,
            _ => Status::BadRequest,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::RequestLineTooLong { bytes_max } => write!(f, "request line over {bytes_max} bytes"),
            Error::HeaderBlockTooLong { bytes_max } => write!(f, "header block over {bytes_max} bytes"),
            Error::TooManyHeaders { headers_max } => write!(f, "more than {headers_max} header lines"),
            Error::TooManyEmptyLines { lines_max } => write!(f, "more than {lines_max} empty lines before a request"),
            Error::BareLineFeed { offset } => write!(f, "line feed without carriage return at byte {offset}"),
            Error::Grammar { what, bytes } => write!(f, "invalid {what} in a head of {bytes} bytes"),
            Error::UnknownVersion => write!(f, "version other than HTTP/1.0 and 1.1"),
            Error::HostMissing => write!(f, "Host header missing"),
            Error::HostRepeated => write!(f, "Host header repeated"),
            Error::ContentLengthInvalid { offset } => write!(f, "Content-Length is not a number at byte {offset}"),
            Error::ContentLengthsDiffer { offset } => write!(f, "second Content-Length differs at byte {offset}"),
            Error::TwoFramings { offset } => {
                write!(
                    f,
                    "both Content-Length and Transfer-Encoding, the second at byte {offset}"
                )
            }
            Error::TransferEncodingInOldVersion { offset } => {
                write!(f, "Transfer-Encoding in an HTTP/1.0 request at byte {offset}")
            }
            Error::TransferEncodingUnknown { offset } => {
                write!(f, "Transfer-Encoding other than chunked at byte {offset}")
            }
            Error::TransferEncodingRepeated { offset } => write!(f, "Transfer-Encoding repeated at byte {offset}"),
            Error::MethodUnknown => write!(f, "method not known"),
            Error::TargetForm => write!(f, "request target is neither a path nor a http URL"),
            Error::TargetEncoding { offset } => write!(f, "path is badly percent-encoded at its byte {offset}"),
            Error::DotSegment => write!(f, "path has a dot segment"),
            Error::BodyTooLong { bytes_max } => write!(f, "request body over {bytes_max} bytes"),
            Error::ChunkSizeInvalid { body_offset } => write!(f, "chunk size invalid at body byte {body_offset}"),
            Error::ChunkLineTooLong { body_offset, bytes_max } => {
                write!(f, "chunk line over {bytes_max} bytes at body byte {body_offset}")
            }
            Error::ChunkEndMissing { body_offset } => write!(f, "line end missing at body byte {body_offset}"),
            Error::TrailerTooLong { bytes_max } => write!(f, "trailer over {bytes_max} bytes"),
            Error::StreamInputTooLong { bytes_max } => {
                write!(f, "more than {bytes_max} bytes received behind the last request")
            }
        }
    }
}

impl std::error::Error for Error {}

/// Bytes that are not an exported session of this layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportError {
    Version { found: u8 },
    Truncated { bytes: usize },
    Invalid { what: &'static str, offset: usize },
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImportError::Version { found } => write!(f, "exported session has layout {found}"),
            ImportError::Truncated { bytes } => write!(f, "exported session ends after {bytes} bytes"),
            ImportError::Invalid { what, offset } => {
                write!(f, "exported session has an invalid {what} at byte {offset}")
            }
        }
    }
}

impl std::error::Error for ImportError {}
