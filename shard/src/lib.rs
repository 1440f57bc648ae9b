//! One pinned core and all it owns: executor, sockets, rings, feeds, fan-out, timers, its end of the mesh.
//!
//! A shard knows no protocol: media is opaque bytes with times and boundaries. The appliance joins sessions to it
//! through [`shard::App`] and [`core::Core`]. Nothing on a shard waits, locks, or calls the file system while it
//! serves; what shards share is mapped memory with one writer each ([`ring`], [`feed`], cut from [`pool`]) and bounded
//! messages ([`mesh`]).
//!
//! `unsafe` lives in `sys` only. A build with `--cfg loom` has what shards share and nothing else, for loom's models of it.

// Half of its users are not there.
#![cfg_attr(loom, allow(dead_code))]

#[cfg(not(loom))]
mod check;
#[cfg(not(loom))]
pub mod connection;
#[cfg(not(loom))]
pub mod core;
#[cfg(not(loom))]
pub mod counters;
#[cfg(not(loom))]
pub mod datagrams;
mod doorbells;
#[cfg(not(loom))]
pub mod executor;
#[cfg(not(loom))]
pub mod fanout;
pub mod feed;
#[cfg(not(loom))]
pub mod kernel;
pub mod limits;
#[cfg(not(loom))]
pub mod mesh;
#[cfg(test)]
#[cfg(loom)]
mod models;
#[cfg(not(loom))]
mod outgoing;
pub mod pool;
pub mod ring;
#[cfg(not(loom))]
pub mod seal;
#[cfg(not(loom))]
pub mod shard;
pub mod sys;
#[cfg(not(loom))]
mod timers;
