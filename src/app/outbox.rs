//! Messages that must arrive, kept while their target's inbox is full: what they release or answer is known to nobody
//! else. A shard's messages to one target keep their order.

use std::collections::VecDeque;

use penstock_shard::core::Core;
use penstock_shard::kernel::Kernel;
use penstock_shard::mesh::ShardId;
use tracing::error;

use super::{App, Timer};
use crate::limits;
use crate::messages::Message;

/// Owned by one shard.
#[derive(Debug)]
pub(super) struct Outbox<M> {
    waiting: VecDeque<(ShardId, M)>,
}

impl<M> Default for Outbox<M> {
    fn default() -> Self {
        Outbox {
            waiting: VecDeque::new(),
        }
    }
}

impl<M> Outbox<M> {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether a message to `target` would overtake one that waits.
    fn waits_for(&self, target: ShardId) -> bool {
        self.waiting.iter().any(|(other, _)| *other == target)
    }

    /// False, and the message is lost, when too many wait.
    fn keep(&mut self, target: ShardId, message: M) -> bool {
        let has_room = self.waiting.len() < limits::OUTBOX_MESSAGES_MAX;
        if has_room {
            self.waiting.push_back((target, message));
        }
        has_room
    }

    /// Sends what can be sent; whether some wait still.
    fn retry(&mut self, mut send: impl FnMut(ShardId, M) -> Result<(), M>) -> bool {
        // A bit for each shard that is full: what else is for it waits.
        let mut full = 0;
        for _ in 0..self.waiting.len() {
            let Some((target, message)) = self.waiting.pop_front() else {
                break;
            };
            if full & target.bit() != 0 {
                self.waiting.push_back((target, message));
            } else if let Err(message) = send(target, message) {
                full |= target.bit();
                self.waiting.push_back((target, message));
            }
        }
        !self.waiting.is_empty()
    }
}

impl<K: Kernel> App<K> {
    /// A message whose refusal the caller answers for.
    pub(super) fn send(
        &self,
        core: &mut Core<Message<K>, K>,
        target: ShardId,
        message: Message<K>,
    ) -> Result<(), Message<K>> {
        if self.outbox.waits_for(target) {
            return Err(message);
        }
        core.send_message(target, message)
    }

    /// A message that must arrive: when the target's inbox is full, later.
    pub(super) fn deliver(&mut self, core: &mut Core<Message<K>, K>, target: ShardId, message: Message<K>) {
        let Err(message) = self.send(core, target, message) else {
            return;
        };
        if self.outbox.waiting.is_empty() {
            core.set_timer(core.now() + limits::OUTBOX_RETRY_MICROS, Timer::Outbox.key(0));
        }
        if !self.outbox.keep(target, message) {
            error!(shard = target.0, "a shard does not answer: a message to it is lost");
        }
    }

    pub(super) fn retry_outbox(&mut self, core: &mut Core<Message<K>, K>) {
        if self.outbox.retry(|target, message| core.send_message(target, message)) {
            core.set_timer(core.now() + limits::OUTBOX_RETRY_MICROS, Timer::Outbox.key(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_full_shard_goes_later_and_in_order() {
        let mut outbox = Outbox::default();
        let (a, b) = (ShardId(0), ShardId(1));
        for (target, message) in [(a, 1), (b, 2), (a, 3), (b, 4)] {
            assert!(outbox.keep(target, message));
        }
        let sent = std::cell::RefCell::new(Vec::new());
        let send = |message| {
            sent.borrow_mut().push(message);
            Ok(())
        };
        let refused_by_a = |target, message| if target == a { Err(message) } else { send(message) };
        assert!(outbox.retry(refused_by_a));
        assert_eq!(*sent.borrow(), [2, 4]);
        assert!(outbox.waits_for(a) && !outbox.waits_for(b));
        let mut room = 1;
        let takes_one = |_, message| {
            if std::mem::take(&mut room) == 0 {
                Err(message)
            } else {
                send(message)
            }
        };
        assert!(outbox.retry(takes_one));
        assert!(!outbox.retry(|_, message| send(message)));
        assert_eq!(*sent.borrow(), [2, 4, 1, 3]);
    }

    #[test]
    fn an_outbox_is_bounded() {
        let mut outbox = Outbox::default();
        let kept = (0..=limits::OUTBOX_MESSAGES_MAX)
            .filter(|n| outbox.keep(ShardId(0), *n))
            .count();
        assert_eq!(kept, limits::OUTBOX_MESSAGES_MAX);
    }
}
