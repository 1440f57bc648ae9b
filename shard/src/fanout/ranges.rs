//! Answers of known bytes: a range of a feed, or bytes that many connections share. Behind the last one the appliance is told
//! (`reached_end`), and the connection goes on.
//!
//! A cursor with a limit is never moved to another place: behind its feed's window it holds its claim, until the feed has it
//! evicted. The limit may be ahead of the feed's head: then it waits, and is served in the turn in which more comes.

use std::sync::Arc;

use crate::connection::{ConnId, Cursor, END_OF_OBJECT, InFlight, Life, Shared};
use crate::core::{Core, End, Event, FeedId, Operation};
use crate::feed::{ENDS_OBJECT, Feed, Passed};
use crate::kernel::{Kernel, Outgoing};
use crate::limits;

use super::Step;
use super::send::Piece;

/// Where a range of a feed ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// In front of this position.
    At(u64),
    /// Behind the first record with [`ENDS_OBJECT`].
    EndOfObject,
}

impl Limit {
    fn position(self) -> u64 {
        match self {
            Limit::At(position) => position.min(END_OF_OBJECT - 1),
            Limit::EndOfObject => END_OF_OBJECT,
        }
    }
}

impl<M, K: Kernel> Core<M, K> {
    /// Sends the bytes of `feed` from `start` up to `limit`, behind whatever the session has sent so far, at once as far as
    /// they are there; then `reached_end`. A feed that ends before ends the connection: the peer was promised more.
    ///
    /// With [`Limit::EndOfObject`] `start` is the start of a record, or the head.
    ///
    /// # Errors
    /// The feed's window has passed `start`; nothing has changed.
    pub fn join_range(&mut self, id: ConnId, feed: FeedId, start: u64, limit: Limit) -> Result<(), Passed> {
        let shard = self.id.index();
        let is_open = (self.connections.get(id)).is_some_and(|connection| connection.life == Life::Open);
        if !is_open {
            return Ok(());
        }
        self.leave_feed(id);
        let (Some(local), Some(connection)) = (self.fanout.local_mut(feed.0), self.connections.get_mut(id)) else {
            return Ok(());
        };
        debug_assert!(connection.shared.is_none(), "one answer at a time");
        local.feed.claim(shard, start)?;
        let place = local.enter(id.index, shard);
        connection.cursor = Some(Cursor {
            feed: feed.0,
            place,
            position: start,
            end: start,
            begun: true,
            limit: limit.position(),
        });
        self.demand_grew(feed);
        self.make_urgent(id);
        Ok(())
    }

    /// Sends `bytes` behind whatever the session has sent so far; then `reached_end`.
    pub fn send_shared(&mut self, id: ConnId, bytes: Arc<[u8]>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.life != Life::Open {
            return;
        }
        debug_assert!(
            connection.shared.is_none() && connection.cursor.is_none(),
            "one answer at a time"
        );
        if bytes.is_empty() {
            return self.events.push_back(Event::ReachedEnd(id));
        }
        connection.shared = Some(Box::new(Shared { bytes, sent: 0 }));
        self.make_urgent(id);
    }

    pub(super) fn queue_shared(&mut self, id: ConnId) -> Step {
        let Some(connection) = self.connections.get_mut(id) else {
            return Step::Idle;
        };
        let Some(shared) = &connection.shared else {
            return Step::Idle;
        };
        let unsent = shared.unsent();
        let piece = &unsent[..unsent.len().min(limits::RANGE_BYTES as usize)];
        let bytes = piece.len() as u32;
        let user_data = Operation::Send.of_connection(id);
        let queued = self.kernel.send(id.index, Outgoing::Own(piece), user_data);
        connection.in_flight = InFlight::Shared { bytes };
        self.fanout.slice_bytes += bytes as usize;
        self.queued(id, queued)
    }

    pub(super) fn shared_sent(&mut self, id: ConnId, taken: usize) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Some(shared) = &mut connection.shared else { return };
        shared.sent += taken;
        if shared.unsent().is_empty() {
            connection.shared = None;
            self.events.push_back(Event::ReachedEnd(id));
        }
    }

    /// On a boundary of what was queued, with no session bytes: the next piece up to the limit, as far as it is there.
    pub(super) fn extend_bounded(&mut self, id: ConnId) -> Piece {
        let Some(feed) = self.cursor_feed(id) else {
            return Piece::Nothing;
        };
        let cursor = (self.connections.get_mut(id)).and_then(|connection| connection.cursor.as_mut());
        let Some(cursor) = cursor else {
            return Piece::Nothing;
        };
        let longest = cursor.position + limits::RANGE_BYTES;
        let (end, limit) = match cursor.limit {
            END_OF_OBJECT => object_end(&feed, cursor.position, longest),
            limit => (limit.min(feed.head()).min(longest), limit),
        };
        cursor.limit = limit;
        if end <= cursor.position {
            return Piece::Nothing;
        }
        cursor.end = end;
        Piece::Range
    }

    /// Everything that is there is sent: the limit is reached, or more will come, or the feed has ended before it.
    pub(super) fn look_at_limit(&mut self, id: ConnId) {
        let Some(feed) = self.cursor_feed(id) else { return };
        let cursor = (self.connections.get(id)).and_then(|connection| connection.cursor.as_ref());
        let Some(cursor) = cursor else { return };
        if cursor.limit != END_OF_OBJECT && cursor.position >= cursor.limit {
            self.leave_feed(id);
            self.events.push_back(Event::ReachedEnd(id));
        } else if feed.is_ended() && cursor.position >= feed.head() {
            self.counters.ranges_cut.add(1);
            self.end(id, End::Aborted);
        }
    }
}

/// The end of the records from `position` on that are there, at most about `longest`, and the limit: known when one of them ends
/// the object.
fn object_end(feed: &Feed, position: u64, longest: u64) -> (u64, u64) {
    let mut end = position;
    while end < longest {
        let Some(record) = feed.record_at(end) else { break };
        end = record.end;
        if record.flags & ENDS_OBJECT != 0 {
            return (end, end);
        }
    }
    (end, END_OF_OBJECT)
}
