//! Doorbells under way: one flag for each (sender, target), so that a shard is rung once however much it is sent.
//!
//! Not the bell: who is told to ring does so through its ring (`core`).
//!
//! Specification: DESIGN 4.2 (set by the sender, cleared by the target before it looks).

use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug)]
pub(crate) struct Doorbells {
    shards: usize,
    /// By sender and target.
    rung: Vec<AtomicBool>,
}

impl Doorbells {
    pub fn new(shards: usize) -> Doorbells {
        Doorbells {
            shards,
            rung: (0..shards * shards).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// True when `sender`, which has shown what it has to show, is to ring at `target`; false when the doorbell that is
    /// under way will do.
    pub fn claim(&self, sender: usize, target: usize) -> bool {
        !self.flag(sender, target).swap(true, Ordering::AcqRel)
    }

    /// Called by the target before it looks, or by the sender whose doorbell failed.
    pub fn clear(&self, sender: usize, target: usize) {
        // Not a store: what reads the flag also sees what each sender that was told "under way" had shown before.
        self.flag(sender, target).swap(false, Ordering::AcqRel);
    }

    fn flag(&self, sender: usize, target: usize) -> &AtomicBool {
        &self.rung[sender * self.shards + target]
    }
}
