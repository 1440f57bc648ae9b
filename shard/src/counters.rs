//! Counters: each declared once with its name, unit and a line for the operator, owned by one shard, read by anybody.
//!
//! A counter has one writer (its shard's thread) and costs a plain add; readers on other threads see a recent value.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number with one writing thread.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// For values that also fall: how many there are.
    pub fn sub(&self, n: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the operator is told about a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declaration {
    pub name: &'static str,
    pub unit: &'static str,
    pub help: &'static str,
}

/// Declares a struct of [`Counter`]s with their declarations: `field: "unit", "line for the operator";`.
#[macro_export]
macro_rules! counters {
    ($(#[$attribute:meta])* pub struct $name:ident { $($field:ident: $unit:literal, $help:literal;)* }) => {
        $(#[$attribute])*
        #[derive(Debug, Default)]
        pub struct $name { $(#[doc = $help] pub $field: $crate::counters::Counter,)* }

        impl $name {
            /// In the order of [`Self::values`].
            pub const DECLARED: &'static [$crate::counters::Declaration] = &[$($crate::counters::Declaration {
                name: stringify!($field), unit: $unit, help: $help,
            },)*];

            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$field.value(),)*]
            }
        }
    };
}

counters! {
    /// What one shard counts about sockets and fan-out, whatever the bytes mean.
    pub struct ShardCounters {
        connections_accepted: "connections", "Connections accepted.";
        connections_open: "connections", "Connections open.";
        connections_refused_full: "connections", "Connections closed at accept because the table was full: raise connections_max or LimitNOFILE.";
        connections_moved_in: "connections", "Connections taken over from another shard.";
        accept_errors: "errors", "Accepts that failed, most likely for want of descriptors.";
        bytes_received: "bytes", "Bytes received from peers.";
        receive_buffers_short: "times", "Times a receive had to wait for a buffer.";
        sends: "sends", "Sends issued through the ring.";
        sendfiles: "sends", "Large sends issued as sendfile.";
        sends_full: "sends", "Sends that found the socket full, wholly or partly.";
        bytes_sent: "bytes", "Bytes that sockets took.";
        bytes_sent_own: "bytes", "Bytes sent that were a session's own, not a feed's.";
        kernel_entries: "entries", "Passes of the shard's loop that entered the kernel.";
        parks: "times", "Times the shard went to sleep.";
        turns: "turns", "Fan-out turns completed.";
        turn_cpu_micros: "µs", "CPU time of fan-out turns.";
        cursors_joined: "cursors", "Viewers that started at a join point.";
        cursors_skipped: "skips", "Times a slow viewer was moved to the newest join point.";
        cursors_closed_lag: "connections", "Viewers closed because they were too slow to be moved.";
        cursors_closed_evicted: "connections", "Viewers closed because what they held back exceeded the feed's cap.";
        connections_closed_own: "connections", "Connections closed because they did not read our answers.";
        doorbells: "doorbells", "Wake-ups sent to other shards.";
        doorbells_failed: "doorbells", "Wake-ups that another shard's ring did not take.";
        messages_refused: "messages", "Messages that another shard's full inbox refused.";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_declared_once_and_in_order() {
        let counters = ShardCounters::default();
        counters.sends.add(3);
        counters.connections_open.add(2);
        counters.connections_open.sub(1);
        let at = |name| ShardCounters::DECLARED.iter().position(|d| d.name == name).unwrap();
        assert_eq!(counters.values()[at("sends")], 3);
        assert_eq!(counters.values()[at("connections_open")], 1);
        let mut names: Vec<_> = ShardCounters::DECLARED.iter().map(|d| d.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), counters.values().len());
        assert!(
            ShardCounters::DECLARED
                .iter()
                .all(|d| d.help.ends_with('.') && !d.unit.is_empty())
        );
    }
}
