//! The appliance in a simulated world: see `world`, which runs it, `net`, which is the network, and `judge`.
//!
//! Nothing in here is random, timed or threaded: a seed is a world.

pub mod casts;
pub mod clip;
mod dial;
mod judge;
mod kernel;
mod mail;
mod net;
mod noise;
mod port;
mod publisher;
mod stage;
mod vandal;
mod viewer;
pub mod world;
mod zero_copy;
