//! Deadlines of one shard: a wheel for connections (one deadline each, met within a tick) and a heap for the few timers
//! of the appliance (exact). Neither is a timer per viewer in the kernel: the shard arms one for the earliest.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::limits::{WHEEL_TICK_MICROS, WHEEL_TICKS};

/// Places of connections by the tick in which they are to be looked at. Entries are hints: whoever takes one out asks
/// the connection for its deadline and puts it back if that is later. A connection gets a further entry only when its
/// deadline is moved before all it has.
#[derive(Debug)]
pub struct Wheel<K> {
    slots: Vec<Vec<K>>,
    /// The tick that was looked at last.
    tick: u64,
    entries: usize,
}

impl<K> Wheel<K> {
    pub fn new(now: u64) -> Self {
        Wheel {
            slots: (0..WHEEL_TICKS).map(|_| Vec::new()).collect(),
            tick: now / WHEEL_TICK_MICROS,
            entries: 0,
        }
    }

    /// `key` comes out of [`Wheel::expire`] at `deadline` (µs) or one tick later; one round earlier if it is farther.
    /// Returns when (µs).
    pub fn insert(&mut self, key: K, deadline: u64) -> u64 {
        let due = deadline
            .div_ceil(WHEEL_TICK_MICROS)
            .clamp(self.tick + 1, self.tick + WHEEL_TICKS as u64 - 1);
        self.slots[(due % WHEEL_TICKS as u64) as usize].push(key);
        self.entries += 1;
        due * WHEEL_TICK_MICROS
    }

    /// Moves what is due at `now` (µs) to `out`.
    pub fn expire(&mut self, now: u64, out: &mut Vec<K>) {
        let target = now / WHEEL_TICK_MICROS;
        // After a long sleep one round shows every slot once.
        let first = (self.tick + 1).max(target.saturating_sub(WHEEL_TICKS as u64 - 1));
        for tick in first..=target {
            let slot = &mut self.slots[(tick % WHEEL_TICKS as u64) as usize];
            self.entries -= slot.len();
            out.append(slot);
        }
        self.tick = self.tick.max(target);
    }

    /// When to look again (µs), if anything waits.
    pub fn next(&self) -> Option<u64> {
        if self.entries == 0 {
            return None;
        }
        let ahead = (1..WHEEL_TICKS as u64).find(|ahead| {
            let slot = (self.tick + ahead) % WHEEL_TICKS as u64;
            !self.slots[slot as usize].is_empty()
        });
        ahead.map(|ahead| (self.tick + ahead) * WHEEL_TICK_MICROS)
    }
}

/// Exact timers by key. A key may be set any number of times and fires for each; the owner of the key knows which
/// firing it still wants.
#[derive(Debug, Default)]
pub struct Heap {
    timers: BinaryHeap<Reverse<(u64, u64)>>,
}

impl Heap {
    pub fn insert(&mut self, at: u64, key: u64) {
        self.timers.push(Reverse((at, key)));
    }

    pub fn next(&self) -> Option<u64> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    pub fn expired(&mut self, now: u64) -> Option<u64> {
        match self.timers.peek() {
            Some(Reverse((at, _))) if *at <= now => self.timers.pop().map(|Reverse((_, key))| key),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_gives_back_each_key_not_before_its_deadline_or_one_round() {
        let round = WHEEL_TICK_MICROS * (WHEEL_TICKS as u64 - 1);
        for deadline in [0, 1, 49_999, 50_000, 50_001, 10_000_000, round, round * 3] {
            let mut wheel = Wheel::new(0);
            let due = wheel.insert(7, deadline);
            let mut out = Vec::new();
            let mut now = 0;
            while out.is_empty() {
                now = wheel.next().unwrap();
                wheel.expire(now, &mut out);
                assert!(now <= deadline + 2 * WHEEL_TICK_MICROS, "{deadline}: late at {now}");
            }
            assert!(now >= deadline.min(round), "{deadline}: early at {now}");
            assert_eq!(now, due);
            assert_eq!((out, wheel.next()), (vec![7], None));
        }
    }

    #[test]
    fn a_wheel_that_slept_long_forgets_nothing() {
        let mut wheel = Wheel::new(0);
        for key in 0..2000u64 {
            wheel.insert(key, key * 20_000);
        }
        let mut out = Vec::new();
        wheel.expire(3_600_000_000, &mut out);
        out.sort_unstable();
        assert_eq!(out, (0..2000).collect::<Vec<_>>());
    }

    #[test]
    fn a_heap_fires_in_order_of_time() {
        let mut heap = Heap::default();
        for (at, key) in [(30, 3), (10, 1), (20, 2)] {
            heap.insert(at, key);
        }
        assert_eq!((heap.next(), heap.expired(9)), (Some(10), None));
        assert_eq!(
            (heap.expired(25), heap.expired(25), heap.expired(25)),
            (Some(1), Some(2), None)
        );
    }
}
