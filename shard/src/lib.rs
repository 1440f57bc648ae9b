//! One pinned core and all it owns: executor, sockets, rings, feeds, fan-out, timers, its end of the mesh.
//!
//! A shard knows no protocol: media is opaque bytes with times and boundaries. The appliance joins sessions to it
//! through [`shard::App`] and [`core::Core`]. Nothing on a shard waits, locks, or calls the file system while it
//! serves; what shards share is mapped memory with one writer each ([`ring`], [`feed`], cut from [`pool`]) and bounded
//! messages ([`mesh`]).
//!
//! `unsafe` lives in `sys` only.

pub mod connection;
pub mod core;
pub mod counters;
mod doorbells;
pub mod executor;
pub mod fanout;
pub mod feed;
pub mod kernel;
pub mod limits;
pub mod mesh;
pub mod pool;
pub mod ring;
pub mod shard;
pub mod sys;
mod timers;
