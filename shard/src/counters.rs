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

/// How a value moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Counts up from the process's start.
    Total,
    /// How many there are: rises and falls.
    Gauge,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Total => "total",
            Kind::Gauge => "gauge",
        }
    }
}

/// What the operator is told about a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declaration {
    pub name: &'static str,
    pub kind: Kind,
    pub unit: &'static str,
    pub help: &'static str,
}

/// Declares a struct of [`Counter`]s with their declarations: `field: Total "unit", "line for the operator";`, or `Gauge`.
#[macro_export]
macro_rules! counters {
    ($(#[$attribute:meta])* pub struct $name:ident { $($field:ident: $kind:ident $unit:literal, $help:literal;)* }) => {
        $(#[$attribute])*
        #[derive(Debug, Default)]
        pub struct $name { $(#[doc = $help] pub $field: $crate::counters::Counter,)* }

        impl $name {
            /// In the order of [`Self::values`].
            pub const DECLARED: &'static [$crate::counters::Declaration] = &[$($crate::counters::Declaration {
                name: stringify!($field), kind: $crate::counters::Kind::$kind, unit: $unit, help: $help,
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
        connections_accepted: Total "connections", "Connections accepted.";
        connections_open: Gauge "connections", "Connections open.";
        connections_refused_full: Total "connections", "Connections closed at accept because the table was full: raise connections_max or LimitNOFILE.";
        connections_moved_in: Total "connections", "Connections taken over from another shard.";
        accept_errors: Total "errors", "Accepts that failed, most likely for want of descriptors.";
        bytes_received: Total "bytes", "Bytes received from peers.";
        receive_buffers_short: Total "times", "Times a receive had to wait for a buffer.";
        sends: Total "sends", "Sends issued through the ring.";
        sendfiles: Total "sends", "Large sends issued as sendfile.";
        sends_full: Total "sends", "Sends that found the socket full, wholly or partly.";
        bytes_sent: Total "bytes", "Bytes that sockets took.";
        bytes_sent_own: Total "bytes", "Bytes sent that were a session's own, not a feed's.";
        kernel_entries: Total "entries", "Passes of the shard's loop that entered the kernel.";
        parks: Total "times", "Times the shard went to sleep.";
        turns: Total "turns", "Fan-out turns completed.";
        turn_cpu_micros: Total "µs", "CPU time of fan-out turns.";
        cursors_joined: Total "cursors", "Viewers that started at a join point.";
        cursors_skipped: Total "skips", "Times a slow viewer was moved to the newest join point.";
        cursors_closed_lag: Total "connections", "Viewers closed because they were too slow to be moved.";
        cursors_closed_evicted: Total "connections", "Viewers closed because what they held back exceeded the feed's cap.";
        connections_closed_stalled: Total "connections", "Connections closed because the peer took nothing for stall_max: it stopped reading, or its network is gone.";
        connections_closed_own: Total "connections", "Connections closed because they did not read our answers.";
        connections_panicked: Total "connections", "Connections closed because a defect of penstock showed in serving them: please report the log's line.";
        doorbells: Total "doorbells", "Wake-ups sent to other shards.";
        doorbells_failed: Total "doorbells", "Wake-ups that another shard's ring did not take.";
        messages_refused: Total "messages", "Messages that another shard's full inbox refused.";
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
        assert_eq!(ShardCounters::DECLARED[at("connections_open")].kind, Kind::Gauge);
        assert_eq!(ShardCounters::DECLARED[at("connections_accepted")].kind, Kind::Total);
    }
}
