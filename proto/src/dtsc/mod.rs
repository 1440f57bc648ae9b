//! DTSC, MistServer's own container and protocol (reference/mistserver-media.md, section 1): what rings hold, what
//! servers pull from and push to each other, and what index files are made of.
//!
//! Only [`wire`]: packets, objects and headers as bytes. It knows no ring, no file and no dialogue.
//!
//! Invariants: a packet is written as head, data and tail, so that a frame's payload is never copied to be wrapped. What
//! is read is bounded by [`limits`] and never trusted to state a size.

pub mod limits;
pub mod wire;

mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;

pub use error::Error;
