//! Shards from outside: real sockets on loopback, opaque bytes with checksums, and no appliance.

#![allow(clippy::unwrap_used)]

mod answers;
mod crowd;
mod datagrams;
mod joining;
mod joins;
mod letters;
mod life;
mod moves;
mod outgoing;
mod pace;
mod ranges;
mod seals;
mod slow;
mod viewers;
mod watching;
mod wire;
mod world;
mod wraps;
mod zero_copy;
