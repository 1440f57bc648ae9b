//! RTSP 1.0: the server's side of a publisher or player, the client's side of a camera, and the muxer of a feed.
//!
//! Specification: RFC 2326 by section, and of RFC 7826 what is in use. What clients and cameras do beside it is in
//! reference/client-habits.md 4.3 and 4.4. Packets are opaque here: `rtp` reads them.
//!
//! - [`Session`]: one connection of a server, fed and drained.
//! - [`client::Session`]: a pull from one.
//! - [`wire`]: messages, frames, headers.
//! - [`auth`]: who the peer is.
//! - [`tunnel`]: RTSP in HTTP.
//! - [`Mux`]: the packets of a feed, once for all its players.

pub mod auth;
pub mod client;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod limits;
pub mod mux;
pub mod session;
pub mod tunnel;
pub mod wire;

pub use error::{Error, Fault, ImportError};
pub use mux::{JoinLane, JoinPoint, Mux};
pub use session::{Begin, Carriage, Counters, Event, Lane, Output, Part, Purpose, Refusal, Session};
