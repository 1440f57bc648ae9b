//! What holds on a shard between two passes, as one check for tests and simulation. The appliance never calls it.

use crate::connection::{ConnId, InFlight, Life, WAITING};
use crate::core::Core;
use crate::kernel::Kernel;
use crate::seal::State;

/// What a connection waits for in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// The slot of its socket.
    pub slot: u32,
    pub receives: bool,
    /// Its socket was full.
    pub polls: bool,
}

impl<M, K: Kernel> Core<M, K> {
    /// # Panics
    /// When connections, cursors, feeds and counts contradict each other. Only between two steps of the shard.
    pub fn check_invariants(&self) {
        self.connections.check_invariants();
        assert_eq!(
            self.counters.connections_open.value(),
            self.connections.open() as u64,
            "connections counted and open"
        );
        assert!(self.events.is_empty(), "a pass hands out all its events");
        let mut rest_bytes = 0;
        for id in self.connections.ids() {
            rest_bytes += self.check_connection(id);
        }
        assert_eq!(rest_bytes, self.fanout.rest_bytes, "rests counted and held");
        let urgent = |id: &ConnId| self.connections.get(*id).is_some_and(|connection| connection.queued);
        let queued = self.connections.ids().filter(urgent).count();
        let standing = self.fanout.urgent.iter().filter(|id| urgent(id)).count();
        assert_eq!(
            queued, standing,
            "who is to be served at once stands in the queue, once"
        );
        let seals = self
            .connections
            .ids()
            .filter_map(|id| self.connections.get(id)?.wrap.sealed());
        let opening = seals.filter(|sealed| self.check_seal(sealed)).count();
        let seals = self
            .connections
            .ids()
            .filter_map(|id| self.connections.get(id)?.wrap.sealed());
        let kept: usize = seals.map(|sealed| sealed.kept.len()).sum();
        assert_eq!(
            self.counters.sealed_bytes_kept.value(),
            kept as u64,
            "bytes kept for seals"
        );
        let standing = self
            .seals
            .opening
            .iter()
            .filter(|id| self.waits_for_opening(**id))
            .count();
        assert_eq!(opening, standing, "whose input waits stands in the queue, once");
        self.check_fanout();
        self.check_zero_copy();
        self.check_casts();
        self.check_connecting();
        assert_eq!(self.sockets.open() as u64, self.counters.datagram_sockets_open.value());
    }

    /// What every connection waits for.
    pub fn waits(&self) -> impl Iterator<Item = Waits> + '_ {
        self.connections.ids().filter_map(|id| {
            let connection = self.connections.get(id)?;
            Some(Waits {
                slot: id.index,
                receives: connection.receive_armed,
                polls: connection.writable_armed,
            })
        })
    }

    /// Returns how many bytes of a rest the connection holds.
    fn check_connection(&self, id: ConnId) -> usize {
        let connection = self.connections.get(id).expect("an id of the table");
        assert_eq!(
            connection.in_flight,
            InFlight::Nothing,
            "a send completes within its submit"
        );
        let is_ending = matches!(connection.life, Life::Flushing | Life::Draining);
        assert!(
            !is_ending || connection.deadline < u64::MAX,
            "who is being ended is waited for so long"
        );
        let own = &connection.own;
        assert!(own.sent <= own.bytes.len() && own.rest <= own.bytes.len());
        assert!(own.ahead <= own.unsent().len());
        if connection.is_answered() {
            let waits = connection.cursor.as_ref().is_some_and(|cursor| cursor.waits);
            let is_opening = (connection.wrap.sealed()).is_some_and(|sealed| sealed.state == State::Opening);
            assert!(
                waits || is_opening || connection.queued || connection.writable_armed,
                "an answer goes on at once, when its socket takes more, its feed has more, or its seal is open"
            );
        }
        if let Some(shared) = &connection.shared {
            assert!(connection.cursor.is_none(), "one answer at a time");
            return own.rest + shared.copied;
        }
        let Some(cursor) = &connection.cursor else {
            return own.rest;
        };
        let (feed, cursors) = self.local_feed(cursor.feed).expect("a cursor's feed is open");
        assert_eq!(
            cursors.get(cursor.place as usize),
            Some(&id.index),
            "a cursor stands in its feed's list"
        );
        if cursor.position == WAITING {
            assert_eq!(cursor.end, WAITING);
            return own.rest;
        }
        assert!(!cursor.held, "a pass tells of all who join");
        let released = feed.released(self.id.index());
        let (position, end) = (cursor.position, cursor.end);
        assert!(released <= position && position <= end, "{released} {position} {end}");
        if cursor.limit.is_some() {
            assert!(end <= feed.head() || position == end, "what is queued is there");
            return own.rest;
        }
        assert!(end <= feed.head(), "{end} {}", feed.head());
        if let Some(record) = feed.record_at(end.saturating_sub(1)) {
            assert!(end == record.start || end == record.end, "a range ends inside a record");
        }
        own.rest
    }
}
