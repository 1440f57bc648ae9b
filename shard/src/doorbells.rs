//! Doorbells under way: one flag for each (sender, target), so that a shard is rung once however much it is sent.
//!
//! Not the bell: who is told to ring does so through its ring (`core`).
//!
//! Specification: DESIGN 4.2 (set by the sender, cleared by the target before it looks).

use crate::sys::sync::{AtomicBool, Ordering};

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

#[cfg(test)]
#[cfg(loom)]
mod models {
    use loom::thread;

    use super::*;
    use crate::models::in_every_order;
    use crate::sys::sync::{Arc, AtomicU64};

    /// What is shown before a doorbell is claimed is seen, at the latest, by the look behind the last doorbell that rings;
    /// and never are two under way.
    #[test]
    fn nothing_that_is_shown_stays_unseen() {
        in_every_order(|| {
            let doorbells = Arc::new(Doorbells::new(1));
            let (shown, bells) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
            let sender = thread::spawn({
                let (doorbells, shown, bells) = (doorbells.clone(), shown.clone(), bells.clone());
                move || {
                    for number in 1..=3 {
                        shown.store(number, Ordering::Relaxed);
                        if doorbells.claim(0, 0) {
                            // The kernel orders what stands before a doorbell and what stands behind its completion.
                            let under_way = bells.fetch_add(1, Ordering::AcqRel);
                            assert_eq!(under_way, 0, "one is under way");
                        }
                    }
                }
            });
            let mut seen = 0;
            let mut look = || {
                if bells.load(Ordering::Acquire) > 0 {
                    bells.fetch_sub(1, Ordering::AcqRel);
                    doorbells.clear(0, 0);
                    seen = shown.load(Ordering::Relaxed);
                }
                seen
            };
            look();
            look();
            sender.join().unwrap();
            assert_eq!(look(), 3, "the last doorbell brings the last number");
        });
    }
}
