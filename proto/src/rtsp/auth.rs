//! Basic (RFC 7617) and Digest (RFC 7616, and RFC 2069 as cameras still speak it), both sides.

use std::fmt;

/// What a peer says to prove who it is. Nothing of it is shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
}

/// Whether [`Credentials`] come from somebody who knows a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    Proven,
    NotProven,
}

impl Credentials {
    /// As the peer wrote it; it may be empty.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether the peer knows `password`, whatever user it is called. May be asked about one candidate after the other.
    pub fn proves(&self, password: &str) -> Proof {
        let _ = password;
        Proof::NotProven
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}
