//! Stream names, and who may push into a stream.
//!
//! It is: the one function that turns what any protocol says into a [`StreamName`] (MistServer's rules: cut at `?`, base
//! part lower-cased and kept to `[a-z0-9_.-]`, wildcard part behind the first `+` or blank kept as given), and the rule
//! `push://[hosts][@passphrase]`. It is not: stream keys, JWT, or the look-up of a name.
//!
//! # Invariants
//! - A `StreamName` is at most [`NAME_BYTES_MAX`] bytes, has a base part, and its wildcard part has no `/`, `\`, `..` or
//!   control character: it may be joined to a path.
//! - Sanitising twice gives the same name.
//! - A passphrase is never in `Debug`, `Display` or an error.

mod hosts;
mod push_rule;
mod stream_name;

pub use hosts::{Hosts, LookUp, ResolveError, ask_system};
pub use push_rule::{HostList, Openness, PushRule, Refusal, RuleError};
pub use stream_name::{NameError, Sanitised, StreamName, percent_decoded};

/// MistServer's bound, in bytes: the base part is ASCII, a wildcard part may not be.
pub const NAME_BYTES_MAX: usize = 100;

/// Hosts of one push rule; each costs a comparison per publish.
pub const PUSH_HOSTS_MAX: usize = 64;

/// Addresses that one host name of a push rule may stand for; large pools answer with a dozen.
pub const ADDRESSES_PER_HOST_MAX: usize = 64;

/// Host names of all push rules: each is a question to DNS at start and once in a while.
pub const HOST_NAMES_MAX: usize = 1024;
