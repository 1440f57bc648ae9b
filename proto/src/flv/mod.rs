//! FLV: the file format whose tags carry the message bodies of `tag`.
//!
//! Specification: Video File Format 10.1 (Adobe), annex E.2 to E.4.1. [`wire`] is bytes; [`Reader`] cuts a growing file
//! into bodies for [`tag::Demux`](crate::tag::Demux); [`Mux`] makes the endless FLV that HTTP players and VLC read.
//!
//! Invariants: a record is one or more whole tags, each with its `PreviousTagSize`; times are the low 32 bits of stream
//! time in ms, and wrap; a join header ends with the time of the record behind it, so that a player sees no jump.

mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod limits;
mod mux;
mod reader;
pub mod wire;

pub use error::Error;
pub use mux::Mux;
pub use reader::{Reader, Tag};
