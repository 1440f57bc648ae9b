//! The bodies of audio (type 8), video (9) and script data (18, 15) messages, which RTMP, FLV and HDS have in common.
//!
//! Specification: Video File Format 10.1 (Adobe), annex E.4.2 to E.4.4, and Enhanced RTMP v1 and v2 (Veovera). [`wire`]
//! is bytes, with the tag that FLV and HDS put around a body; [`Demux`] makes tracks and frames of one publisher's messages,
//! [`mux`] makes messages of frames. Chunks, commands and files are the business of `rtmp`, `flv` and `hds`.
//!
//! Invariants: a message that cannot be read is skipped and counted, and never ends the stream; metadata never make a
//! track; what is emitted here is read by players from before enhanced RTMP wherever the codec allows it.

pub mod amf0;
pub mod demux;
pub mod limits;
pub mod mux;
pub mod wire;

mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;

pub use demux::{Announced, Counters, Demux, MessageKind};
pub use error::Error;
