//! The only room with `unsafe`: the kernel's interfaces, each wrapped once in something safe.
//!
//! - `uring`: one io_uring with its eventfd, registered files and provided receive buffers.
//! - `memory`: a memfd, mapped, read and written without a Rust reference to bytes that another thread writes.
//! - `sync`: the atomics of that memory; with `--cfg loom` those of loom, and `modelled` stands in for `memory`.
//! - `datagrams`: messages of datagrams, their segmentation by the kernel, and their sockets.
//! - `socket`: listening sockets, descriptors taken from the kernel, `sendfile`, the few socket options.
//! - `clock`: monotonic microseconds and the thread's CPU time.
//!
//! Nothing here knows what the bytes mean. One unsafe operation a block; each says which fact makes it sound and where
//! that fact is kept.

#![allow(unsafe_code)]

#[cfg(not(loom))]
pub mod clock;
#[cfg(not(loom))]
pub mod datagrams;
#[cfg(not(loom))]
pub mod memory;
#[cfg(loom)]
#[path = "modelled.rs"]
pub mod memory;
#[cfg(not(loom))]
pub mod socket;
pub mod sync;
#[cfg(not(loom))]
pub mod uring;
