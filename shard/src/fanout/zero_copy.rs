//! Zero-copy sends of feed bytes: which sends go so, and whose memory the kernel still reads (DESIGN.md 4.3, "Zero-copy on
//! a NIC").
//!
//! A zero-copy send completes twice: within the submit that issues it, with what the socket took, and some time later with
//! a notification. Between the two the kernel reads the feed's memory, whether or not the connection, its cursor or the
//! feed's last viewer are still there. Only ranges of a feed go so, never session bytes, rests or sealed buffers.
//!
//! Not registered: a registered buffer keeps the pages that a block had when it was registered, so that a block of the pool
//! could neither be punched nor go by `sendfile`; and registering the pool makes all of it resident and pinned, written or
//! not, and counts it against the limit of locked memory on every shard (tried on 6.18: 256 MiB took a second, and 64 MiB
//! are refused to an ordinary user with the usual 8). Pages of an unregistered send are those that it found at issue, as
//! with `sendfile`. Registered blocks would be a pool of their own, whose sends are never let go.
//!
//! Invariants:
//! - What a shard has released of a feed is never above the start of a zero-copy send that it *holds*.
//! - A send is held from its issue to its notification, unless it is *let go* before: when it stands below what the feed
//!   evicts, when the last viewer here has left the feed, and when the shard ends. The block of a send that is let go is
//!   marked first, as for `sendfile`: it is punched before it is reused, and the kernel sends the pages it has.
//! - A name of the ring stands for one send from its issue to its notification: no completion is taken for another's.
//! - No send is issued that would bring what is outstanding above the shard's part of the pool.

use std::collections::VecDeque;

use crate::connection::{ConnId, InFlight, WAITING, ZeroCopyUse};
use crate::core::{Core, Operation};
use crate::feed::Feed;
use crate::kernel::{Completion, Kernel, Went};
use crate::limits;
use crate::pool::BLOCK_BYTES;
use crate::pool::log::Span;

use super::{FanOut, LocalFeed, Step};

/// Whether feed bytes go by zero-copy sends, where they are long enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZeroCopy {
    #[default]
    Off,
    /// To peers of other machines, as long as the kernel does not report that it copies.
    Auto,
    /// To everybody, whatever the kernel reports.
    On,
}

/// The zero-copy sends of a shard whose notification is to come. Places are names of the ring's operations.
#[derive(Debug, Default)]
pub(super) struct Sends {
    pub mode: ZeroCopy,
    places: Vec<Option<Sent>>,
    free: Vec<u32>,
    bytes: u64,
    bytes_max: u64,
    /// The kernel had no room to hold more pages: sends copy until then (µs).
    rests_until: u64,
    /// Names what a feed's sends are held under; used once.
    next_hold: u32,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    conn: ConnId,
    feed: u32,
    /// [`Held::hold`] at its issue.
    hold: u32,
    position: u64,
    bytes: u32,
}

impl Sends {
    pub fn begin_hold(&mut self) -> u32 {
        self.next_hold = self.next_hold.wrapping_add(1);
        self.next_hold
    }

    fn outstanding(&self) -> usize {
        self.places.len() - self.free.len()
    }

    fn has_room(&self, bytes: usize, now: u64) -> bool {
        now >= self.rests_until
            && self.bytes + bytes as u64 <= self.bytes_max
            && self.outstanding() < limits::ZERO_COPY_SENDS_MAX
    }

    fn insert(&mut self, sent: Sent) -> u32 {
        self.bytes += u64::from(sent.bytes);
        match self.free.pop() {
            Some(number) => {
                debug_assert!(self.places[number as usize].is_none());
                self.places[number as usize] = Some(sent);
                number
            }
            None => {
                self.places.push(Some(sent));
                self.places.len() as u32 - 1
            }
        }
    }

    fn at(&mut self, number: u32) -> &mut Sent {
        let sent = self.places.get_mut(number as usize).and_then(Option::as_mut);
        sent.expect("a place is taken until its notification")
    }

    /// The socket took `taken` of it: no more than that is outstanding.
    fn took(&mut self, number: u32, taken: u32) -> u32 {
        let sent = self.at(number);
        let rest = sent.bytes - taken;
        sent.bytes = taken;
        self.bytes -= u64::from(rest);
        rest
    }

    fn remove(&mut self, number: u32) -> Sent {
        let sent = *self.at(number);
        self.places[number as usize] = None;
        self.free.push(number);
        self.bytes -= u64::from(sent.bytes);
        sent
    }
}

/// How many zero-copy sends are under way from each block of one feed, from the first such block on.
#[derive(Debug)]
pub(super) struct Held {
    /// Sends of another hold were let go.
    hold: u32,
    first: u64,
    sends: VecDeque<u32>,
}

impl Held {
    pub fn new(hold: u32) -> Held {
        let (first, sends) = (0, VecDeque::new());
        Held { hold, first, sends }
    }

    /// What a shard may not release beyond.
    pub fn floor(&self) -> u64 {
        match self.sends.is_empty() {
            true => WAITING,
            false => self.first * BLOCK_BYTES as u64,
        }
    }

    /// The blocks between two sends of a feed are those of its chain at most.
    fn add(&mut self, position: u64) {
        let block = position / BLOCK_BYTES as u64;
        if self.sends.is_empty() {
            self.first = block;
        }
        while block < self.first {
            self.sends.push_front(0);
            self.first -= 1;
        }
        let at = (block - self.first) as usize;
        if at >= self.sends.len() {
            self.sends.resize(at + 1, 0);
        }
        self.sends[at] += 1;
    }

    fn remove(&mut self, position: u64) {
        let block = position / BLOCK_BYTES as u64;
        let at = block
            .checked_sub(self.first)
            .and_then(|at| self.sends.get_mut(at as usize));
        let sends = at.expect("a send is held until it is removed");
        *sends -= 1;
        while self.sends.front() == Some(&0) {
            self.sends.pop_front();
            self.first += 1;
        }
        while self.sends.back() == Some(&0) {
            self.sends.pop_back();
        }
    }

    /// Lets all go, under another hold from here on; how many sends.
    fn let_go(&mut self, feed: &Feed, hold: u32) -> u64 {
        let mut count = 0;
        let floor = self.floor();
        for (at, sends) in self.sends.iter().enumerate().filter(|(_, sends)| **sends > 0) {
            // Before the claim goes up: whoever gives the block back finds the mark.
            feed.mark_sendfile(floor + (at * BLOCK_BYTES) as u64);
            count += u64::from(*sends);
        }
        self.sends.clear();
        self.hold = hold;
        count
    }
}

impl LocalFeed {
    /// A shard that has released something within a block goes on from there: blocks are given back whole.
    pub fn set_released(&self, shard: usize, floor: u64) {
        let held = match self.held.floor() {
            WAITING => WAITING,
            floor => floor.max(self.feed.released(shard)),
        };
        self.feed.set_released(shard, floor.min(held).min(self.lowest_hold()));
    }
}

impl FanOut {
    /// What goes by zero-copy sends, and how much of a pool of `pool_bytes` one of `shards` shards may hold for them.
    pub fn set_zero_copy(&mut self, mode: ZeroCopy, pool_bytes: u64, shards: usize) {
        self.zero_copy.mode = mode;
        self.zero_copy.bytes_max = pool_bytes / limits::ZERO_COPY_POOL_PART / shards as u64;
    }

    pub fn sends_zero_copy(&self) -> bool {
        self.zero_copy.mode != ZeroCopy::Off
    }

    /// The feed's memory is not waited for any longer; how many sends were held.
    pub(super) fn let_go(&mut self, feed: u32) -> u64 {
        let hold = self.zero_copy.begin_hold();
        let Some(local) = self.local_mut(feed) else { return 0 };
        local.held.let_go(&local.feed, hold)
    }
}

impl Drop for FanOut {
    /// The ring is gone, and tells nothing any more; the kernel may still send.
    fn drop(&mut self) {
        for feed in 0..self.feeds.len() as u32 {
            self.let_go(feed);
        }
    }
}

impl<M, K: Kernel> Core<M, K> {
    /// As the kernel lets it.
    pub fn zero_copy(&self) -> ZeroCopy {
        self.fanout.zero_copy.mode
    }

    pub(crate) fn begin_zero_copy(&mut self, id: ConnId) {
        if self.fanout.sends_zero_copy()
            && let Some(connection) = self.connections.get_mut(id)
        {
            connection.zero_copy = ZeroCopyUse::Tried { copied: 0 };
        }
    }

    /// The peer is on this machine: the kernel would copy, and tell of it each time.
    pub(crate) fn keep_copying(&mut self, id: ConnId) {
        let mode = self.zero_copy();
        if let Some(connection) = self.connections.get_mut(id)
            && mode == ZeroCopy::Auto
        {
            connection.zero_copy = ZeroCopyUse::Never;
        }
    }

    /// Whether a range of `bytes` bytes goes to `id` by a zero-copy send. One that would, and for which there is no room, is
    /// counted.
    pub(super) fn goes_zero_copy(&self, id: ConnId, bytes: usize) -> bool {
        let connection = self.connections.get(id);
        let is_tried = connection.is_some_and(|connection| connection.zero_copy != ZeroCopyUse::Never);
        if !is_tried || bytes < limits::ZERO_COPY_BYTES {
            return false;
        }
        let has_room = self.fanout.zero_copy.has_room(bytes, self.now);
        if !has_room {
            self.counters.zero_copy_over_budget.add(1);
        }
        has_room
    }

    /// `span` lies at `position` of the feed that the connection's cursor stands in.
    pub(super) fn queue_zero_copy(&mut self, id: ConnId, position: u64, span: Span) -> Step {
        let Some(connection) = self.connections.get_mut(id) else {
            return Step::Idle;
        };
        let Some(feed) = connection.cursor.as_ref().map(|cursor| cursor.feed) else {
            return Step::Idle;
        };
        let bytes = span.len as u32;
        connection.in_flight = InFlight::Plain { own: 0, body: bytes };
        let Some(local) = self.fanout.local_mut(feed) else {
            return Step::Idle;
        };
        debug_assert!(local.feed.released(self.id.index()) <= position);
        local.held.add(position);
        let hold = local.held.hold;
        let number = self.fanout.zero_copy.insert(Sent {
            conn: id,
            feed,
            hold,
            position,
            bytes,
        });
        self.counters.sends_zero_copy.add(1);
        self.counters.zero_copy_bytes_outstanding.add(u64::from(bytes));
        let user_data = Operation::SendZeroCopy.of_number(number.into());
        let queued = self.kernel.send_zero_copy(id.index, span, user_data);
        if queued.is_err() {
            self.forget(number);
        }
        self.queued(id, queued)
    }

    /// The first completion of a zero-copy send: what the socket took.
    pub(crate) fn zero_copy_completed(&mut self, completion: &Completion) {
        let number = completion.user_data as u32;
        let taken = completion.result.max(0) as u32;
        let conn = self.fanout.zero_copy.at(number).conn;
        let rest = self.fanout.zero_copy.took(number, taken);
        self.counters.zero_copy_bytes_outstanding.sub(rest.into());
        if !completion.is_armed() {
            self.forget(number);
        }
        match -completion.result {
            // No room to hold more pages, for a while; or a socket that has no such sends. The range goes as a copy.
            libc::ENOBUFS | libc::ENOMEM => {
                self.counters.zero_copy_over_budget.add(1);
                self.fanout.zero_copy.rests_until = self.now + limits::ZERO_COPY_REST_MICROS;
                self.copy_after_all(conn);
            }
            libc::EOPNOTSUPP => {
                if let Some(connection) = self.connections.get_mut(conn) {
                    connection.zero_copy = ZeroCopyUse::Never;
                }
                self.copy_after_all(conn);
            }
            _ => self.send_completed(conn, completion.result),
        }
    }

    fn copy_after_all(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.in_flight = InFlight::Nothing;
            self.make_urgent(id);
        }
    }

    /// The kernel reads the memory of a zero-copy send no more.
    pub(crate) fn zero_copy_notified(&mut self, completion: &Completion) {
        let sent = self.forget(completion.user_data as u32);
        // Nothing was taken, so nothing was to be copied or not.
        if sent.bytes == 0 {
            return;
        }
        let went = completion.went();
        if went == Went::Copied {
            self.counters.sends_zero_copy_copied.add(1);
        }
        let mode = self.zero_copy();
        let Some(connection) = self.connections.get_mut(sent.conn) else {
            return;
        };
        if let ZeroCopyUse::Tried { copied } = &mut connection.zero_copy
            && mode == ZeroCopy::Auto
        {
            *copied = if went == Went::Copied { *copied + 1 } else { 0 };
            if *copied >= limits::ZERO_COPY_COPIED_MAX {
                connection.zero_copy = ZeroCopyUse::Never;
            }
        }
    }

    /// A send is outstanding no more, and held no more unless it was let go before. The next turn publishes what that
    /// releases.
    fn forget(&mut self, number: u32) -> Sent {
        let sent = self.fanout.zero_copy.remove(number);
        self.counters.zero_copy_bytes_outstanding.sub(sent.bytes.into());
        if let Some(local) = self.fanout.local_mut(sent.feed)
            && local.held.hold == sent.hold
        {
            local.held.remove(sent.position);
        }
        sent
    }

    pub(super) fn let_go_zero_copy(&mut self, feed: u32) {
        let sends = self.fanout.let_go(feed);
        self.counters.zero_copy_let_go.add(sends);
    }

    /// # Panics
    /// When sends, what is held for them, what is released and what is counted contradict each other.
    pub(crate) fn check_zero_copy(&self) {
        let sends = &self.fanout.zero_copy;
        let outstanding = sends.places.iter().flatten();
        assert_eq!(outstanding.clone().count(), sends.outstanding());
        let bytes: u64 = outstanding.clone().map(|sent| u64::from(sent.bytes)).sum();
        assert_eq!(bytes, sends.bytes);
        assert_eq!(bytes, self.counters.zero_copy_bytes_outstanding.value());
        assert!(bytes <= sends.bytes_max && sends.outstanding() <= limits::ZERO_COPY_SENDS_MAX);
        let mut held = 0;
        for sent in outstanding {
            let Some(local) = self
                .fanout
                .local(sent.feed)
                .filter(|local| local.held.hold == sent.hold)
            else {
                continue;
            };
            held += 1;
            let released = local.feed.released(self.id.index());
            assert!(
                released <= sent.position,
                "{released} is released, {sent:?} is under way"
            );
            assert!(local.held.floor() <= sent.position);
        }
        let counted = |local: &LocalFeed| local.held.sends.iter().map(|sends| u64::from(*sends)).sum::<u64>();
        let counted: u64 = self.fanout.feeds.iter().flatten().map(counted).sum();
        assert_eq!(counted, held, "sends held and counted");
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pauses;
    use super::*;

    const BLOCK: u64 = BLOCK_BYTES as u64;

    #[test]
    fn the_floor_is_the_block_of_the_oldest_send() {
        let mut held = Held::new(1);
        assert_eq!(held.floor(), WAITING);
        // Whoever lags sends from behind those that are first in time.
        let positions = [10 * BLOCK + 5, 10 * BLOCK + 9, 12 * BLOCK, 7 * BLOCK + 1, 11 * BLOCK];
        for position in positions {
            held.add(position);
        }
        assert_eq!(held.floor(), 7 * BLOCK);
        let removed = [
            (7 * BLOCK + 1, 10 * BLOCK),
            (10 * BLOCK + 9, 10 * BLOCK),
            (12 * BLOCK, 10 * BLOCK),
            (10 * BLOCK + 5, 11 * BLOCK),
            (11 * BLOCK, WAITING),
        ];
        for (position, floor) in removed {
            held.remove(position);
            assert_eq!(held.floor(), floor, "without {position}");
        }
        held.add(3 * BLOCK);
        assert_eq!((held.floor(), held.sends.len()), (3 * BLOCK, 1));
    }

    #[test]
    fn places_are_reused_and_bounded_by_bytes() {
        let conn = ConnId {
            index: 3,
            generation: 1,
        };
        let sent = |bytes| Sent {
            conn,
            feed: 0,
            hold: 1,
            position: 0,
            bytes,
        };
        let mut fanout = FanOut::new(0, Pauses::default());
        fanout.set_zero_copy(ZeroCopy::On, 800_000, 2);
        let sends = &mut fanout.zero_copy;
        assert!(sends.has_room(100_000, 0) && !sends.has_room(100_001, 0));
        let [first, second] = [40_000, 60_000].map(|bytes| sends.insert(sent(bytes)));
        assert!(!sends.has_room(1, 0));
        assert_eq!(sends.took(second, 10_000), 50_000);
        assert!(sends.has_room(50_000, 0) && !sends.has_room(50_001, 0));
        assert_eq!(sends.remove(first).bytes, 40_000);
        assert_eq!((sends.insert(sent(1)), sends.outstanding()), (first, 2));
        sends.rests_until = 9;
        assert!(!sends.has_room(1, 8) && sends.has_room(1, 9));
    }
}
