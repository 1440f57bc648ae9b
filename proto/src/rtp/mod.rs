//! RTP and RTCP (RFC 3550, AVP profile of RFC 3551) with the payload formats of their RFCs: packets of a publisher to
//! tracks and frames, frames to packets.
//!
//! Not here: where packets come from and go to (RTSP, WebRTC), session descriptions (`sdp`).

mod error;
pub mod format;
pub mod pack;
pub mod unpack;
pub mod wire;

pub use error::Error;
