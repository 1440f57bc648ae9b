//! The atomics of mapped memory and of doorbells: the processor's, or in a build with `--cfg loom` those of loom, which runs
//! a model through every order that the memory model allows (`models.rs` beside the modules).
//!
//! Not for counters, which order nothing. What a model cannot afford in size is smaller there: [`size`].

#[cfg(loom)]
pub use loom::sync::Arc;
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(not(loom))]
pub use std::sync::Arc;
#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

/// A size of the layout: `real`, or in a model `small`, where each word costs at each of many thousand runs.
pub(crate) const fn size(real: usize, small: usize) -> usize {
    if cfg!(loom) { small } else { real }
}
