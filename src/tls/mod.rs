//! TLS of connections, both ways: rustls behind the shard's seam for what is sealed ([`penstock_shard::seal`]), certificates
//! from files, and whom this side trusts. What it is not: any protocol inside; RTSPS is the first that uses it.
//!
//! TLS 1.2 (RFC 5246) and 1.3 (RFC 8446) with the algorithms of aws-lc-rs; server names by SNI (RFC 6066, 3). There are no
//! session tickets and no early data: a stream is one long connection, and both would be state that shards share.
//!
//! # Invariants
//! - A private key is in no message, no log and no `Debug`; what is wrong with its file is said in words of ours.
//! - Files are read by the control plane alone: shards get what was made of them ([`Servers`], [`Client`]).
//! - A file that is replaced by a bad one changes nothing: what was read last goes on.

mod certificates;
mod client;
mod error;
mod expiry;
mod seal;
mod server;
mod trust;
mod watch;

#[cfg(test)]
mod tests;

pub use certificates::{Certificates, FileError, Pair, Which};
pub use client::{Client, Clients, NotAHost};
pub use error::{Error, Reason};
pub use expiry::{Date, Validity};
pub use server::{Server, Servers};
pub use trust::{Fingerprint, NoRoots, NotTrust, Trust, Untrusted};
pub use watch::{Asking, now, outside, read, start as watch};
