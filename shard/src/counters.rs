//! Counters: each declared once with its name, unit and a line for the operator, owned by one shard, read by anybody.
//!
//! A counter has one writer (its shard's thread) and costs a plain add; readers on other threads see a recent value.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::fanout::Class;

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
        sends_zero_copy: Total "sends", "Sends issued through the ring as zero-copy sends (they are among sends).";
        sends_zero_copy_copied: Total "sends", "Zero-copy sends that the kernel reports as copied: the way to that viewer does not allow it, and the viewer's sends copy from then on.";
        zero_copy_bytes_outstanding: Gauge "bytes", "Bytes of zero-copy sends that the kernel may still read.";
        zero_copy_over_budget: Total "sends", "Sends that were copied because zero-copy sends held a quarter of the memory budget, or the limit of locked memory allowed no more: raise LimitMEMLOCK.";
        zero_copy_let_go: Total "sends", "Zero-copy sends whose memory was taken out of the budget's file, to be given back when the kernel has sent it: their viewers held it for too long, or nobody watches the feed any more.";
        pacings_set: Total "times", "Times a viewer's sending rate was bounded, or the bound raised with its feed's rate (max_pacing).";
        sends_full: Total "sends", "Sends that found the socket full, wholly or partly.";
        bytes_sent: Total "bytes", "Bytes that sockets took.";
        bytes_sent_own: Total "bytes", "Bytes sent that were a session's own, not a feed's.";
        kernel_entries: Total "entries", "Passes of the shard's loop that entered the kernel.";
        parks: Total "times", "Times the shard went to sleep.";
        turns: Total "turns", "Fan-out turns completed.";
        turn_cpu_micros: Total "µs", "CPU time of fan-out turns.";
        sends_le_512: Total "sends", "Sends of a feed's bytes of which the socket took at most 512 bytes.";
        sends_le_1k: Total "sends", "Sends of a feed's bytes of which the socket took at most 1 KiB and more than 512 bytes.";
        sends_le_2k: Total "sends", "Sends of a feed's bytes of which the socket took at most 2 KiB and more than 1 KiB.";
        sends_le_4k: Total "sends", "Sends of a feed's bytes of which the socket took at most 4 KiB and more than 2 KiB.";
        sends_le_8k: Total "sends", "Sends of a feed's bytes of which the socket took at most 8 KiB and more than 4 KiB.";
        sends_le_16k: Total "sends", "Sends of a feed's bytes of which the socket took at most 16 KiB and more than 8 KiB.";
        sends_le_32k: Total "sends", "Sends of a feed's bytes of which the socket took at most 32 KiB and more than 16 KiB.";
        sends_le_64k: Total "sends", "Sends of a feed's bytes of which the socket took at most 64 KiB and more than 32 KiB.";
        sends_le_128k: Total "sends", "Sends of a feed's bytes of which the socket took at most 128 KiB and more than 64 KiB.";
        sends_le_256k: Total "sends", "Sends of a feed's bytes of which the socket took at most 256 KiB and more than 128 KiB.";
        sends_gt_256k: Total "sends", "Sends of a feed's bytes of which the socket took more than 256 KiB.";
        turns_realtime: Total "turns", "Fan-out turns of the realtime class.";
        turn_cpu_micros_realtime: Total "µs", "CPU time of the realtime class's turns.";
        turn_sends_realtime: Total "sends", "Sends in the realtime class's turns.";
        pause_micros_realtime: Total "µs", "Pauses between the realtime class's turns: divided by its turns, what coalescing holds bytes back for.";
        turns_waiting: Total "turns", "Fan-out turns of the waiting class.";
        turn_cpu_micros_waiting: Total "µs", "CPU time of the waiting class's turns.";
        turn_sends_waiting: Total "sends", "Sends in the waiting class's turns.";
        pause_micros_waiting: Total "µs", "Pauses between the waiting class's turns: divided by its turns, what coalescing holds bytes back for.";
        turns_interactive: Total "turns", "Fan-out turns of the interactive class.";
        turn_cpu_micros_interactive: Total "µs", "CPU time of the interactive class's turns.";
        turn_sends_interactive: Total "sends", "Sends in the interactive class's turns.";
        pause_micros_interactive: Total "µs", "Pauses between the interactive class's turns: divided by its turns, what coalescing holds bytes back for.";
        turns_buffered: Total "turns", "Fan-out turns of the buffered class.";
        turn_cpu_micros_buffered: Total "µs", "CPU time of the buffered class's turns.";
        turn_sends_buffered: Total "sends", "Sends in the buffered class's turns.";
        pause_micros_buffered: Total "µs", "Pauses between the buffered class's turns: divided by its turns, what coalescing holds bytes back for.";
        slices_long: Total "slices", "Slices of fan-out that took more than 5 ms of CPU time.";
        passes_long: Total "passes", "Passes of a core's loop that took more than 5 ms: what is realtime waited so long; other programs on the core count too.";
        turns_longest_pause: Total "turns", "Turns after which the pause was the longest of its class: the core has much to do.";
        overloads: Total "times", "Times a core had no more to give: its turns took as long as the longest pauses.";
        overloaded: Gauge "shards", "Cores that have no more to give: viewers far behind are moved on sooner, new ones are refused.";
        cursors_skipped_overload: Total "skips", "Times a viewer that was behind was moved to the newest join point because its core was overloaded.";
        cursors_joined: Total "cursors", "Viewers that started at a join point.";
        cursors_skipped: Total "skips", "Times a slow viewer was moved to the newest join point.";
        cursors_closed_lag: Total "connections", "Viewers closed because they were too slow to be moved.";
        cursors_closed_evicted: Total "connections", "Viewers closed because what they held back exceeded the feed's cap.";
        ranges_begun: Total "ranges", "Segments, parts and other ranges of a feed that were begun to be sent.";
        ranges_passed: Total "ranges", "Ranges of a feed that were refused: they had left its window.";
        ranges_cut: Total "ranges", "Ranges of a feed that ended before their promised end, because the feed did.";
        ranges_copied: Total "ranges", "Last bytes of a range that were copied for a slow viewer, because its feed needed the memory.";
        shared_begun: Total "answers", "Playlists, manifests and initialization segments that were begun to be sent.";
        connections_closed_stalled: Total "connections", "Connections closed because the peer took nothing for stall_max: it stopped reading, or its network is gone.";
        connections_closed_own: Total "connections", "Connections closed because they did not read our answers.";
        connections_panicked: Total "connections", "Connections closed because a defect of penstock showed in serving them: please report the log's line.";
        seals_begun: Total "connections", "Connections that began to be sealed: TLS handshakes.";
        seals_opened: Total "connections", "Of these, connections that both sides sealed.";
        seals_refused: Total "connections", "Of these, connections ended because the peer did not speak the seal's protocol, or did not agree.";
        seals_timed_out: Total "connections", "Of these, connections ended because they were not sealed within 10 s.";
        sealed_bytes_kept: Gauge "bytes", "Bytes received that wait for the rest of their record or message.";
        seals_closed_kept: Total "connections", "Connections closed because half records of all peers took more memory than a shard gives them.";
        seals_broken: Total "connections", "Sealed connections ended because what came was damaged or forged, or nothing more could be sealed.";
        datagram_sockets_open: Gauge "sockets", "Sockets for datagrams open.";
        datagram_viewers: Gauge "viewers", "Viewers and groups that are sent datagrams.";
        datagrams_sent: Total "datagrams", "Datagrams that sockets took.";
        datagram_bytes_sent: Total "bytes", "Bytes of these.";
        datagram_sends: Total "sends", "Sends of datagrams issued through the ring.";
        datagram_sends_cut: Total "sends", "Of these, sends of several datagrams that the kernel cuts (UDP GSO).";
        datagram_cuts_refused: Total "times", "Times the kernel refused to cut datagrams on the way to a viewer, who is sent them one by one from then on.";
        datagrams_dropped: Total "datagrams", "Datagrams that were not sent because a socket was full, or their viewer too far behind: raise net.core.wmem_max, or the machine sends more than its network takes.";
        datagrams_refused: Total "datagrams", "Datagrams that the kernel refused to send: there is no way to their peer.";
        datagrams_received: Total "datagrams", "Datagrams received.";
        datagrams_received_cut: Total "datagrams", "Of these, datagrams of more than 16 KiB, which are thrown away.";
        datagram_receive_errors: Total "errors", "Errors that receives of datagrams reported.";
        connects: Total "connections", "Connections that this side began to make.";
        connects_failed: Total "connections", "Of these, connections that were not made: refused, out of time, or given up.";
        doorbells: Total "doorbells", "Wake-ups sent to other shards.";
        doorbells_failed: Total "doorbells", "Wake-ups that another shard's ring did not take.";
        messages_refused: Total "messages", "Messages that another shard's full inbox refused.";
    }
}

impl ShardCounters {
    /// Of the sends of which sockets took so many bytes.
    pub fn sends_by_size(&self, bytes: u32) -> &Counter {
        match bytes {
            0..=512 => &self.sends_le_512,
            513..=1024 => &self.sends_le_1k,
            1025..=2048 => &self.sends_le_2k,
            2049..=4096 => &self.sends_le_4k,
            4097..=8192 => &self.sends_le_8k,
            8193..=16_384 => &self.sends_le_16k,
            16_385..=32_768 => &self.sends_le_32k,
            32_769..=65_536 => &self.sends_le_64k,
            65_537..=131_072 => &self.sends_le_128k,
            131_073..=262_144 => &self.sends_le_256k,
            262_145.. => &self.sends_gt_256k,
        }
    }

    /// Of one class's turns, as this shard's thread counts them.
    pub fn count_turn(&self, class: Class, turn: TurnCount) {
        let [turns, cpu_micros, sends, pause_micros] = match class {
            Class::Realtime => [
                &self.turns_realtime,
                &self.turn_cpu_micros_realtime,
                &self.turn_sends_realtime,
                &self.pause_micros_realtime,
            ],
            Class::Waiting => [
                &self.turns_waiting,
                &self.turn_cpu_micros_waiting,
                &self.turn_sends_waiting,
                &self.pause_micros_waiting,
            ],
            Class::Interactive => [
                &self.turns_interactive,
                &self.turn_cpu_micros_interactive,
                &self.turn_sends_interactive,
                &self.pause_micros_interactive,
            ],
            Class::Buffered => [
                &self.turns_buffered,
                &self.turn_cpu_micros_buffered,
                &self.turn_sends_buffered,
                &self.pause_micros_buffered,
            ],
        };
        self.turns.add(1);
        turns.add(1);
        cpu_micros.add(turn.cpu_micros);
        sends.add(turn.sends);
        pause_micros.add(turn.pause_micros);
        if turn.is_longest {
            self.turns_longest_pause.add(1);
        }
    }
}

/// What one turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnCount {
    pub cpu_micros: u64,
    pub sends: u64,
    /// How long its class rests from now on.
    pub pause_micros: u64,
    /// That is as long as its class may rest.
    pub is_longest: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_are_counted_by_size_and_turns_by_class() {
        let counters = ShardCounters::default();
        for (bytes, name) in [
            (1, "sends_le_512"),
            (512, "sends_le_512"),
            (513, "sends_le_1k"),
            (65_536, "sends_le_64k"),
            (65_537, "sends_le_128k"),
            (262_144, "sends_le_256k"),
            (u32::MAX, "sends_gt_256k"),
        ] {
            let at = ShardCounters::DECLARED
                .iter()
                .position(|declared| declared.name == name)
                .unwrap();
            let before = counters.values()[at];
            counters.sends_by_size(bytes).add(1);
            assert_eq!(counters.values()[at], before + 1, "{bytes} bytes are {name}");
        }
        let turn = TurnCount {
            cpu_micros: 2,
            sends: 3,
            pause_micros: 4,
            is_longest: true,
        };
        for class in [
            Class::Realtime,
            Class::Waiting,
            Class::Interactive,
            Class::Buffered,
            Class::Buffered,
        ] {
            counters.count_turn(class, turn);
        }
        assert_eq!((counters.turns.value(), counters.turns_buffered.value()), (5, 2));
        assert_eq!(counters.turn_cpu_micros_interactive.value(), 2);
        assert_eq!(
            (
                counters.turn_sends_realtime.value(),
                counters.pause_micros_waiting.value()
            ),
            (3, 4)
        );
    }

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
