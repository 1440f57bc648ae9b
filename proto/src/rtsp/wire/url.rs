//! Addresses of requests, as clients write them.

/// What a request is about.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// As the peer wrote it, percent signs included; without slashes at its ends, without `.sdp`, and without what names a
    /// medium (`/trackN`, `/trackID=N`, `/streamid=N`) where a medium is asked for.
    pub path: String,
    /// Behind the question mark; empty if there is none. It may hold secrets: `Debug` leaves it out.
    pub query: String,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
