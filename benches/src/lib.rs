//! What penstock costs in fact: a load bench whose viewers stand in a process of their own, and micro benches.
//!
//! [`load`] and [`numbers`] are the questions; [`scene`] is the cast they share: [`server`] as a child, [`publish`] with
//! a [`clip`] whose pictures carry a [`stamp`], viewers in a [`crowd`] that ask a [`target`]. [`proc`] says what it cost,
//! [`report`] tells it. Nothing here is part of the appliance.

pub mod cli;
pub mod clip;
pub mod crowd;
pub mod load;
pub mod numbers;
pub mod proc;
pub mod publish;
pub mod report;
pub mod scene;
pub mod server;
pub mod stamp;
pub mod sys;
pub mod target;
