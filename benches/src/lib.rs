//! What penstock costs in fact: a load bench whose viewers stand in a process of their own, and micro benches.
//!
//! [`load`] and [`numbers`] are the questions; [`scene`] is the cast they share: [`server`] as a child, [`publish`] with
//! a [`clip`] whose pictures carry a [`stamp`], an [`audience`] whose [`seats`] are planned and whose viewers stand in a
//! [`crowd`] and ask a [`target`]: each has a `player` that knows its protocol and `link`s that know its sockets, and some
//! `verify` what they get. [`proc`] says what it cost, [`report`] tells it. Nothing here is part of the appliance.

pub mod account;
mod answer;
pub mod audience;
pub mod cli;
pub mod clip;
pub mod crowd;
pub mod datagrams;
pub mod floor;
mod link;
pub mod load;
pub mod numbers;
pub mod page;
mod placement;
mod player;
pub mod plot;
pub mod proc;
pub mod publish;
pub mod quantity;
pub mod report;
pub mod scene;
pub mod sealed;
pub mod seats;
pub mod segmented;
pub mod server;
pub mod sockets;
pub mod stamp;
pub mod steps;
pub mod sys;
pub mod syscalls;
pub mod target;
pub mod tls;
mod verify;
