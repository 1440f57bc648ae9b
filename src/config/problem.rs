//! What is wrong or without effect in a configuration file, with its place. Values of the file are quoted only where they
//! cannot be secrets; a push rule's passphrase never is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use penstock_proto::rtsp::client::AddressError;

use super::limits;
use crate::limits::CERTIFICATES_MAX;
use crate::limits::RTSP_LANES_MAX;
use crate::names::{NameError, RuleError};
use crate::tls::{FileError, NotTrust};

/// Where in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// `config.protocols[1].port`; empty for the file as a whole.
    pub path: String,
}

impl Place {
    /// As a reader of the file meets them; what is said about the file as a whole comes last.
    pub(super) fn order(&self) -> (bool, usize, usize) {
        (self.path.is_empty(), self.line, self.column)
    }
}

/// A reason not to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    pub fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Unreadable {
        kind: std::io::ErrorKind,
    },
    FileTooLarge {
        bytes_max: u64,
    },
    NotUtf8 {
        offset: usize,
    },
    /// In jsonc-parser's words.
    Syntax {
        words: String,
    },
    UnknownKey {
        near: Option<&'static str>,
    },
    UnknownConnector {
        name: String,
        near: Option<&'static str>,
    },
    Repeated {
        first_line: usize,
    },
    Missing,
    WrongType {
        expected: &'static str,
        found: &'static str,
    },
    OutOfRange {
        found: String,
        min: u64,
        max: u64,
        unit: &'static str,
    },
    NotAChoice {
        found: String,
        near: Option<&'static str>,
        choices: &'static [&'static str],
    },
    NotAnAddress {
        found: String,
    },
    /// No group that routers know: those of 224.0.0.0/24 are the network's own.
    NotAGroup {
        found: IpAddr,
    },
    NotIpv4 {
        found: IpAddr,
    },
    /// Another stream's groups.
    GroupTaken {
        group: Ipv4Addr,
        first_line: usize,
    },
    Name(NameError),
    NotTheNameItself {
        sanitised: String,
    },
    /// Written otherwise, it is the stream of another key.
    SameStream {
        sanitised: String,
        first_line: usize,
    },
    WildcardConfigured {
        base: String,
    },
    PushRule(RuleError),
    /// Of a source that is pulled. It may hold a password, and is not quoted.
    Address(AddressError),
    PortTaken {
        port: u16,
        first_line: usize,
    },
    Unpaired {
        certificates: usize,
        keys: usize,
    },
    TooManyCertificates,
    NotTrust(NotTrust),
    Certificate {
        file: String,
        error: FileError,
    },
    TooManyStreams {
        streams_max: usize,
    },
    TooManyListeners {
        listeners_max: usize,
    },
    /// The list of problems was cut.
    More {
        kept: usize,
    },
}

/// Something that the file says and that has no effect, or a dangerous one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub place: Place,
    pub notice: Notice,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    Unsupported {
        effect: &'static str,
    },
    /// It has a part of another one, whose options are its own.
    OldConnector {
        connector: &'static str,
        is_part_of: &'static str,
    },
    UnsupportedConnector {
        connector: &'static str,
    },
    UnsupportedSource,
    AnyoneMayPush,
    /// A host name of the push rule has no address.
    Unresolved {
        name: String,
    },
    TrustsAnyone,
    /// Clients will refuse it.
    CertificateTimes {
        file: String,
        why: String,
    },
    ApiNotServed,
    NothingListens,
    NoHttp {
        connector: &'static str,
    },
    /// The list of warnings was cut.
    More {
        kept: usize,
    },
}

/// The start of a text from the file, printable, for a message.
pub fn quoted(text: &str) -> String {
    let mut start: String = text.chars().take(limits::QUOTED_CHARACTERS_MAX).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)?;
        if self.path.is_empty() {
            Ok(())
        } else {
            write!(f, ": {}", self.path)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            // No line of it was seen.
            Fault::Unreadable { .. } | Fault::FileTooLarge { .. } | Fault::NotUtf8 { .. } => {
                write!(f, "{}: {}", self.place.file, self.fault)
            }
            _ => write!(f, "{}: {}", self.place, self.fault),
        }
    }
}

impl std::error::Error for Problem {}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.notice)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Unreadable {
                kind: std::io::ErrorKind::NotFound,
            } => f.write_str("there is no such file; `penstock check --defaults` prints one to begin with"),
            Fault::Unreadable {
                kind: std::io::ErrorKind::PermissionDenied,
            } => f.write_str("may not be read by the user that penstock runs as; `chmod` or `chown` it"),
            Fault::Unreadable { kind } => write!(f, "cannot be read: {kind}"),
            Fault::FileTooLarge { bytes_max } => {
                write!(f, "has more than {bytes_max} bytes; is it a configuration?")
            }
            Fault::NotUtf8 { offset } => write!(f, "is not UTF-8 at byte {offset}; save it as UTF-8"),
            Fault::Syntax { words } => write!(f, "is not JSON: {words}"),
            Fault::UnknownKey { near } => {
                write!(f, "unknown key")?;
                did_you_mean(f, *near)
            }
            Fault::UnknownConnector { name, near } => {
                write!(f, "unknown connector {name:?}")?;
                did_you_mean(f, *near)
            }
            Fault::Repeated { first_line } => {
                write!(
                    f,
                    "key is repeated, it stands in line {first_line} already; remove one of them"
                )
            }
            Fault::Missing => write!(f, "is missing"),
            Fault::WrongType { expected, found } => write!(f, "must be {expected}, not {found}"),
            Fault::OutOfRange { found, min, max, unit } => {
                let blank = if unit.is_empty() { "" } else { " " };
                write!(f, "must be from {min} to {max}{blank}{unit}, not {found}")
            }
            Fault::NotAChoice { found, near, choices } => {
                write!(f, "must be one of {}, not {found:?}", choices.join(", "))?;
                did_you_mean(f, *near)
            }
            Fault::NotAnAddress { found } => {
                write!(
                    f,
                    "{found:?} is no IP address (127.0.0.1, ::1, or empty for every address)"
                )
            }
            Fault::NotAGroup { found } => {
                write!(
                    f,
                    "{found} is no IPv4 multicast group for streams; give one of 239.0.0.0/8, and room behind it for every track"
                )
            }
            Fault::NotIpv4 { found } => write!(f, "{found} is no IPv4 address of this machine"),
            Fault::GroupTaken { group, first_line } => {
                write!(
                    f,
                    "group {group} is taken by the stream in line {first_line} already; leave {RTSP_LANES_MAX} for each"
                )
            }
            Fault::Name(error) => error.fmt(f),
            Fault::NotTheNameItself { sanitised } => {
                write!(f, "stream names have only a-z, 0-9, _, . and -; use {sanitised:?}")
            }
            Fault::SameStream { sanitised, first_line } => {
                write!(
                    f,
                    "is the stream {sanitised:?}, which stands in line {first_line} already; remove one of them"
                )
            }
            Fault::WildcardConfigured { base } => {
                write!(
                    f,
                    "streams are configured without wildcard; {base:?} stands for all of its wildcards too"
                )
            }
            Fault::PushRule(error) => error.fmt(f),
            Fault::Address(error) => {
                write!(f, "{error}; it is to be like rtsp://USER:PASSWORD@HOST:554/PATH")
            }
            Fault::PortTaken { port, first_line } => {
                write!(
                    f,
                    "port {port} is taken by the listener in line {first_line} already; give one of them another"
                )
            }
            Fault::Unpaired { certificates, keys } => {
                write!(
                    f,
                    "{certificates} certificates and {keys} keys: each certificate needs its key, in the same order"
                )
            }
            Fault::TooManyCertificates => write!(f, "has more than {CERTIFICATES_MAX} certificates"),
            Fault::NotTrust(error) => error.fmt(f),
            Fault::Certificate { file, error } => write!(f, "{file:?} {error}"),
            Fault::TooManyStreams { streams_max } => write!(f, "has more than {streams_max} streams"),
            Fault::TooManyListeners { listeners_max } => write!(f, "has more than {listeners_max} listeners"),
            Fault::More { kept } => write!(f, "has more problems than the {kept} shown"),
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Unsupported { effect } => write!(f, "is not supported yet: {effect}"),
            Notice::OldConnector { connector, is_part_of } => {
                write!(
                    f,
                    "connector {connector} is a part of {is_part_of}, which is served; its options are those of {is_part_of}"
                )
            }
            Notice::UnsupportedConnector { connector } => {
                write!(f, "connector {connector} is not supported yet: it is left out")
            }
            Notice::UnsupportedSource => {
                write!(
                    f,
                    "only push:// and rtsp:// sources are supported yet: the stream stays offline"
                )
            }
            Notice::AnyoneMayPush => {
                write!(
                    f,
                    "anyone who can reach the server may push to this stream; push://ADDRESS or push://@PASSPHRASE limits it"
                )
            }
            Notice::Unresolved { name } => {
                write!(
                    f,
                    "host name {name:?} has no address: nobody may push by it until a later look-up finds one"
                )
            }
            Notice::TrustsAnyone => {
                f.write_str("any certificate is taken for the source's: who sits between can read and change the stream; sha256: and its fingerprint is safe")
            }
            Notice::CertificateTimes { file, why } => write!(f, "{file:?}: {why}"),
            Notice::ApiNotServed => write!(f, "is not supported yet: the control API is not served"),
            Notice::NothingListens => write!(f, "no HTTP, RTMP or RTSP connector: nothing can be watched or pushed"),
            Notice::NoHttp { connector } => write!(f, "connector {connector} has no effect without an HTTP connector"),
            Notice::More { kept } => write!(f, "has more warnings than the {kept} shown"),
        }
    }
}

fn did_you_mean(f: &mut fmt::Formatter<'_>, near: Option<&str>) -> fmt::Result {
    match near {
        Some(near) => write!(f, ", did you mean {near:?}?"),
        None => Ok(()),
    }
}
