//! `Transport` (RFC 2326 12.39): how the packets of one medium go.

use std::net::IpAddr;

/// A pair of UDP ports. `rtcp` is 0 where a peer named none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub rtp: u16,
    pub rtcp: u16,
}

/// Where a medium is sent to for all that joined there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    pub address: IpAddr,
    pub ports: Ports,
    pub ttl: u8,
}
