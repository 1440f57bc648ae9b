//! Session descriptions (RFC 8866) as RTSP uses them: any camera's text to media with their payload formats, and back.
//!
//! Reading repairs: what cameras get wrong is known, and little of the text matters. See [`Description::parse`] for the
//! repairs.
//!
//! Not here: what a payload format means (`rtp`), and where media go (`rtsp`).

mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod limits;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use error::Error;
pub use write::Origin;

use std::net::Ipv4Addr;

use crate::rtp::format::PayloadFormat;

/// A session description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// `s=`
    pub name: String,
    /// Session-level `a=control`; empty if there is none.
    pub control: String,
    /// `a=range`, as it stands there; empty if there is none.
    pub range: String,
    pub media: Vec<Media>,
}

/// One media line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    pub port: u16,
    /// `RTP/AVP` and the like, as it stands there.
    pub protocol: String,
    /// `a=control`, absolute or relative; empty if there is none.
    pub control: String,
    pub direction: Direction,
    /// Where all that listen to it receive, at `port` and the next: written as its `c=`. It is not read.
    pub group: Option<Group>,
    /// The first payload type that is RTP media; none for what is not.
    pub format: Option<PayloadFormat>,
}

/// A multicast group, and how many routers far it goes (RFC 8866, 5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    pub address: Ipv4Addr,
    pub ttl: u8,
}

/// Which way media go, as the text says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    #[default]
    SendReceive,
    SendOnly,
    ReceiveOnly,
    Inactive,
}
