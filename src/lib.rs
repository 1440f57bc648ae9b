//! The appliance: joins the protocols of `penstock-proto` to the cores, rings and feeds of `penstock-shard`, and talks to
//! the operator. The binary `penstock` only calls it.
//!
//! [`serve`] starts everything and is the control plane; [`app`] is what runs on each shard; [`stream`] is a stream at
//! its home; [`config`] and [`names`] are what the operator says.

#![forbid(unsafe_code)]
// The macros panic where the disk behind standard output or error is full.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod app;
pub mod build;
pub mod cli;
pub mod config;
pub mod counters;
pub mod directory;
pub mod huge_pages;
pub mod limits;
pub mod log;
pub mod lookups;
pub mod memory;
pub mod messages;
pub mod names;
pub mod registry;
pub mod requirements;
pub mod resolver;
pub mod serve;
pub mod shelf;
pub mod stream;
pub mod tls;
#[cfg(test)]
mod trap;
