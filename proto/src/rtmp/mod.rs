//! RTMP: the server's side of a publisher or player, a client for tests and pushes, and the muxer of a feed of messages.
//!
//! Specification: Adobe's "Real Time Messaging Protocol" 1.0 (2012) by section, the digest handshake as Adobe's players
//! do it, "Enhanced RTMP" v2 for what `connect` offers. What clients do beside it is in reference/client-habits.md 4.1.
//! The bodies of audio, video and script messages are [`crate::tag`]'s: nothing here looks into one.
//!
//! - [`Session`]: one peer of a server, fed and drained.
//! - [`Client`]: the other side, likewise.
//! - [`Mux`]: one stream as messages, for all its players.
//! - [`wire`]: handshake, chunks, messages, commands.
//!
//! Invariants: what comes out does not depend on how the input was cut; memory grows by bytes received and is bounded
//! by [`limits`].

pub mod client;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod limits;
pub mod mux;
pub mod session;
mod snapshot;
pub mod wire;

pub use client::Client;
pub use error::{Error, Fault, ImportError};
pub use mux::Mux;
pub use session::{
    Counters, EndReason, Event, Output, PlayRejection, PublishKind, PublishRejection, Session, StopReason,
};
