//! RTP and RTCP packets (RFC 3550, 5 and 6): bytes to values and back, no state.
//!
//! Not here: payloads (`unpack`, `pack`), what packets mean together (`receive`, `clock`).
//! Invariant: what is emitted is parsed to the same value.

pub mod packet;
pub mod rtcp;

pub use packet::Packet;
