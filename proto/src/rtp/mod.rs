//! RTP and RTCP (RFC 3550, AVP profile of RFC 3551) with the payload formats of their RFCs: packets of a publisher to
//! tracks and frames, frames to packets.
//!
//! Not here: where packets come from and go to (RTSP, WebRTC), session descriptions (`sdp`).

mod clock;
mod error;
pub mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod input;
pub mod limits;
#[cfg(test)]
mod link;
pub mod pack;
mod private;
pub mod receive;
#[cfg(test)]
mod round_trip;
pub mod unpack;
pub mod wire;

pub use error::Error;
pub use input::{Input, Options};
pub use receive::Arrival;
