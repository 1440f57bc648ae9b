//! The mesh: bounded messages between shards, and doorbells that wake one that sleeps.
//!
//! A doorbell is a completion posted on the target's ring, one in flight per (sender, target): the sender sets a flag
//! before it rings, the target clears it before it looks (DESIGN.md 4.2). Threads without a ring (the control plane)
//! write the target's eventfd. There is no lock; a full inbox gives the message back.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::doorbells::Doorbells;
use crate::limits::{INBOX_MESSAGES, SHARDS_MAX};
use crate::sys::socket;

/// A shard's number in its process, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// Its bit in a mask of shards.
    pub fn bit(self) -> u64 {
        1 << self.0
    }
}

/// Shared by all shards of a process and its control plane.
#[derive(Debug)]
pub struct Mesh<M> {
    inboxes: Vec<Inbox<M>>,
    doorbells: Doorbells,
    arrived: AtomicUsize,
    /// What each shard says of its load: µs of CPU time a second.
    loads: Vec<AtomicU64>,
}

#[derive(Debug)]
struct Inbox<M> {
    messages: ArrayQueue<M>,
    /// Set once by the shard when its ring exists.
    wake: OnceLock<Wake>,
}

#[derive(Debug)]
struct Wake {
    ring: RawFd,
    eventfd: OwnedFd,
}

impl<M> Mesh<M> {
    pub fn new(shards: usize) -> Self {
        Mesh::with_inboxes(shards, INBOX_MESSAGES)
    }

    /// With room for `messages` in each inbox.
    pub fn with_inboxes(shards: usize, messages: usize) -> Self {
        assert!((1..=SHARDS_MAX).contains(&shards));
        Mesh {
            inboxes: (0..shards)
                .map(|_| Inbox {
                    messages: ArrayQueue::new(messages),
                    wake: OnceLock::new(),
                })
                .collect(),
            doorbells: Doorbells::new(shards),
            arrived: AtomicUsize::new(0),
            loads: (0..shards).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub fn shards(&self) -> usize {
        self.inboxes.len()
    }

    /// From a thread that is no shard. The message comes back when the inbox is full or the shard not up.
    pub fn send_from_outside(&self, target: ShardId, message: M) -> Result<(), M> {
        let inbox = &self.inboxes[target.index()];
        let Some(wake) = inbox.wake.get() else {
            return Err(message);
        };
        inbox.messages.push(message)?;
        // An eventfd write fails only when 2^64 wake-ups are unread; the shard is awake then.
        let _ = socket::signal_eventfd(wake.eventfd.as_fd());
        Ok(())
    }

    /// Says that shard `id` can be woken.
    pub fn arrive(&self, id: ShardId, ring: RawFd, eventfd: BorrowedFd<'_>) -> io::Result<()> {
        let wake = Wake {
            ring,
            eventfd: eventfd.try_clone_to_owned()?,
        };
        assert!(self.inboxes[id.index()].wake.set(wake).is_ok(), "a shard arrives once");
        self.arrived.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Whether every shard can be woken.
    pub fn is_complete(&self) -> bool {
        self.arrived.load(Ordering::Acquire) == self.shards()
    }

    /// What `shard` has published of its load; a recent value is good enough.
    pub fn load(&self, shard: ShardId) -> u64 {
        self.loads[shard.index()].load(Ordering::Relaxed)
    }

    /// Called by `shard`, when viewers come or go and once in a while.
    pub(crate) fn publish_load(&self, shard: ShardId, micros: u64) {
        self.loads[shard.index()].store(micros, Ordering::Relaxed);
    }

    pub(crate) fn push(&self, target: ShardId, message: M) -> Result<(), M> {
        self.inboxes[target.index()].messages.push(message)
    }

    pub(crate) fn pop(&self, id: ShardId) -> Option<M> {
        self.inboxes[id.index()].messages.pop()
    }

    pub(crate) fn has_messages(&self, id: ShardId) -> bool {
        self.messages(id) > 0
    }

    /// How many wait for `id`.
    pub(crate) fn messages(&self, id: ShardId) -> usize {
        self.inboxes[id.index()].messages.len()
    }

    /// The ring to ring at, unless a doorbell of `sender` is already under way there.
    pub(crate) fn claim_doorbell(&self, sender: ShardId, target: ShardId) -> Option<RawFd> {
        let wake = self.inboxes[target.index()].wake.get()?;
        self.doorbells
            .claim(sender.index(), target.index())
            .then_some(wake.ring)
    }

    /// Called by the target before it looks, or by the sender whose doorbell failed.
    pub(crate) fn clear_doorbell(&self, sender: ShardId, target: ShardId) {
        self.doorbells.clear(sender.index(), target.index());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_doorbell_is_under_way_per_sender_and_target() {
        let mesh: Mesh<u32> = Mesh::new(2);
        let (a, b) = (ShardId(0), ShardId(1));
        assert_eq!(
            mesh.claim_doorbell(a, b),
            None,
            "nobody can be woken who has not arrived"
        );
        let eventfd = socket::eventfd().unwrap();
        mesh.arrive(b, 42, eventfd.as_fd()).unwrap();
        assert_eq!((mesh.claim_doorbell(a, b), mesh.claim_doorbell(a, b)), (Some(42), None));
        mesh.clear_doorbell(a, b);
        assert_eq!(mesh.claim_doorbell(a, b), Some(42));
    }

    #[test]
    fn a_full_inbox_gives_the_message_back() {
        let mesh: Mesh<usize> = Mesh::new(1);
        let refused = (0..=INBOX_MESSAGES).find_map(|n| mesh.push(ShardId(0), n).err());
        assert_eq!(refused, Some(INBOX_MESSAGES));
        assert_eq!((mesh.pop(ShardId(0)), mesh.has_messages(ShardId(0))), (Some(0), true));
    }
}
