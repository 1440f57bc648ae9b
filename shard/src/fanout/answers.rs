//! Answers: bytes that end while their connection goes on, behind what the session sent before them (an HTTP head). A *range*
//! of a feed, or *shared* bytes that many connections are sent.
//!
//! Invariants:
//! - Nothing goes inside an answer: what the session sends while one is under way waits for its end.
//! - A range is never skipped, and not moved to another shard. Behind the window it keeps its claim, until the feed evicts
//!   it; then it is copied when little is left of it, or closed.
//! - Its end is told once, when the socket has taken all of it, or the feed has ended before; and in the same pass.
//! - A short range is copied, a long one goes as an endless feed does: by `sendfile` where its pieces are large.
//! - A feed whose ranges are all of bytes that are there has no turn when it grows. When a claim holds back blocks behind
//!   the window, it has one every [`limits::RELEASE_MICROS`], which publishes what has been let go meanwhile.

use std::sync::Arc;

use crate::connection::{ConnId, Cursor, Heading, InFlight, Life, Shared, WAITING};
use crate::core::{Core, Event, FeedId, Operation};
use crate::feed::{ObjectEnd, Passed};
use crate::kernel::{Kernel, Outgoing};
use crate::limits;

use super::send::Piece;
use super::{FanOut, LocalFeed, Step};

/// Where a range of a feed stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Before this position, which may be inside a record, and further than the feed has come.
    At(u64),
    /// Behind the first record, at or behind the range's start, that has [`crate::feed::ENDS_OBJECT`].
    EndOfObject,
}

/// What became of a range.
enum Range {
    UnderWay,
    Sent,
    /// Its feed ended before.
    Cut,
}

impl<M, K: Kernel> Core<M, K> {
    /// Sends the bytes of `feed` from `start` to `limit`, behind whatever the session has sent so far, and at once as far as
    /// they are there. `reached_end` follows; until then the connection takes no other answer.
    ///
    /// # Errors
    /// The window has passed `start`; nothing has changed.
    pub fn join_range(&mut self, id: ConnId, feed: FeedId, start: u64, limit: Limit) -> Result<(), Passed> {
        let shard = self.id.index();
        let Some(connection) = self.connections.get(id) else {
            return Ok(());
        };
        if connection.life != Life::Open {
            return Ok(());
        }
        debug_assert!(!connection.is_answered(), "one answer at a time");
        // A feed that is not known here any more has passed everything.
        let tail = self.fanout.local(feed.0).map_or(WAITING, |local| local.feed.tail());
        if start < tail {
            self.counters.ranges_passed.add(1);
            return Err(Passed { position: start, tail });
        }
        self.leave_feed(id);
        self.drop_shared(id);
        let (Some(local), Some(connection)) = (self.fanout.local_mut(feed.0), self.connections.get_mut(id)) else {
            return Ok(());
        };
        if let Err(passed) = local.feed.claim(shard, start) {
            self.counters.ranges_passed.add(1);
            return Err(passed);
        }
        let place = local.enter(id.index, shard);
        local.ranges += 1;
        connection.cursor = Some(Cursor {
            feed: feed.0,
            place,
            position: start,
            end: start,
            begun: true,
            heading: Heading::Sent,
            held: false,
            limit: Some(limit),
            is_short: match limit {
                Limit::At(limit) => limit.saturating_sub(start) < limits::SENDFILE_RANGE_BYTES,
                // Followed while it is made: a part at a time.
                Limit::EndOfObject => true,
            },
            waits: false,
        });
        connection.is_cut = false;
        connection.own.ahead = connection.own.unsent().len();
        self.counters.ranges_begun.add(1);
        self.make_urgent(id);
        Ok(())
    }

    /// Sends `bytes` behind whatever the session has sent so far, without copying them. `reached_end` follows; until then the
    /// connection takes no other answer.
    pub fn send_shared(&mut self, id: ConnId, bytes: Arc<[u8]>) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        if !matches!(connection.life, Life::Open | Life::Detaching) {
            return;
        }
        debug_assert!(!connection.is_answered(), "one answer at a time");
        self.leave_feed(id);
        self.drop_shared(id);
        if let Some(connection) = self.connections.get_mut(id) {
            connection.shared = Some(Shared {
                bytes,
                sent: 0,
                copied: 0,
            });
            connection.is_cut = false;
            connection.own.ahead = connection.own.unsent().len();
            self.counters.shared_begun.add(1);
            self.make_urgent(id);
        }
    }

    /// Whether the last range of `id` ended before its limit, because its feed did: its peer was promised more.
    pub fn range_cut(&self, id: ConnId) -> bool {
        self.connections.get(id).is_some_and(|connection| connection.is_cut)
    }

    /// For a connection that is being finished: its range ends where the feed has come to. False when it has none.
    pub(crate) fn bound_range(&mut self, id: ConnId) -> bool {
        let Some(feed) = self.cursor_feed(id) else { return false };
        let Some(cursor) = self.connections.get_mut(id).and_then(|c| c.cursor.as_mut()) else {
            return false;
        };
        let head = feed.head();
        cursor.limit = match cursor.limit {
            None => return false,
            Some(Limit::At(limit)) => Some(Limit::At(limit.min(head))),
            Some(Limit::EndOfObject) => match feed.object_end(cursor.end, head) {
                ObjectEnd::At(end) => Some(Limit::At(end)),
                ObjectEnd::NotBefore(_) => Some(Limit::At(head)),
            },
        };
        true
    }

    /// What was queued of a range is sent: the next bytes of it, or nothing when there are none yet.
    pub(super) fn extend_limited(&mut self, id: ConnId) -> Piece {
        let Some(cursor) = self.connections.get_mut(id).and_then(|c| c.cursor.as_mut()) else {
            return Piece::Nothing;
        };
        let Some(local) = self.fanout.local_mut(cursor.feed) else {
            return Piece::Nothing;
        };
        let head = local.feed.head();
        let until = head.min(cursor.position + limits::RANGE_BYTES);
        cursor.end = match cursor.limit {
            None => return Piece::Nothing,
            // To a block's end, so that what follows is whole blocks: one send each.
            Some(Limit::At(limit)) => until.min(limit).min(local.feed.block_end(cursor.position)),
            Some(Limit::EndOfObject) => match local.feed.object_end(cursor.position, until) {
                ObjectEnd::At(end) => {
                    cursor.limit = Some(Limit::At(end));
                    end
                }
                ObjectEnd::NotBefore(end) => end,
            },
        }
        .max(cursor.position);
        match cursor.is_on_boundary() {
            true => {
                cursor.wait_for_more(local);
                Piece::Nothing
            }
            false => {
                cursor.wait_no_more(local);
                Piece::Range
            }
        }
    }

    /// Whether a range whose queued bytes were all taken has to wait for its feed.
    pub(super) fn waits_for_more(&mut self, id: ConnId) -> bool {
        let Some(cursor) = self.connections.get_mut(id).and_then(|c| c.cursor.as_mut()) else {
            return false;
        };
        let Some(local) = self.fanout.local_mut(cursor.feed) else {
            return false;
        };
        // The end is looked at first: nothing is appended behind it.
        if local.feed.is_ended() || !cursor.is_on_boundary() || cursor.position < local.feed.head() {
            return false;
        }
        cursor.wait_for_more(local);
        true
    }

    pub(super) fn queue_shared(&mut self, id: ConnId) -> Step {
        let Some(connection) = self.connections.get_mut(id) else {
            return Step::Idle;
        };
        let Some(shared) = &connection.shared else {
            return Step::Idle;
        };
        let unsent = shared.unsent();
        let unsent = &unsent[..unsent.len().min(limits::RANGE_BYTES as usize)];
        self.fanout.slice_bytes += unsent.len();
        connection.in_flight = InFlight::Plain {
            own: 0,
            body: unsent.len() as u32,
        };
        let user_data = Operation::Send.of_connection(id);
        let queued = self.kernel.send(id.index, Outgoing::Own(unsent), user_data);
        self.queued(id, queued)
    }

    /// Ends the answer of a connection, when all of it is sent or no more of it will come; whether it has.
    pub(super) fn settle_answer(&mut self, id: ConnId) -> bool {
        let Some(connection) = self.connections.get(id) else {
            return false;
        };
        if connection.own.ahead > 0 || !connection.wrap.is_sent() || connection.in_flight != InFlight::Nothing {
            return false;
        }
        let range = match (&connection.shared, &connection.cursor) {
            (Some(shared), _) if shared.unsent().is_empty() => Range::Sent,
            (None, Some(cursor)) => self.became_of(cursor),
            _ => Range::UnderWay,
        };
        if let Range::UnderWay = range {
            return false;
        }
        self.drop_cursor(id);
        self.drop_shared(id);
        let Some(connection) = self.connections.get_mut(id) else {
            return false;
        };
        connection.is_cut = matches!(range, Range::Cut);
        if connection.is_cut {
            self.counters.ranges_cut.add(1);
        }
        if matches!(connection.life, Life::Open | Life::Detaching) {
            self.events.push_back(Event::ReachedEnd(id));
        }
        true
    }

    pub(crate) fn drop_shared(&mut self, id: ConnId) {
        let shared = self.connections.get_mut(id).and_then(|c| c.shared.take());
        self.fanout.rest_bytes -= shared.map_or(0, |shared| shared.copied);
    }

    fn became_of(&self, cursor: &Cursor) -> Range {
        let Some(limit) = cursor.limit else {
            return Range::UnderWay;
        };
        if matches!(limit, Limit::At(limit) if cursor.position >= limit) {
            return Range::Sent;
        }
        match self.fanout.local(cursor.feed) {
            Some(local) if local.feed.is_ended() && cursor.position >= local.feed.head() => Range::Cut,
            _ => Range::UnderWay,
        }
    }

    /// A range that its feed evicts, and of which little is left, goes on as a copy.
    pub(super) fn copy_range(&mut self, id: ConnId) -> bool {
        let Some(feed) = self.cursor_feed(id) else { return false };
        let Some(cursor) = self.connections.get(id).and_then(|c| c.cursor.as_ref()) else {
            return false;
        };
        let limit = match cursor.limit {
            None => return false,
            Some(Limit::At(limit)) => limit,
            Some(Limit::EndOfObject) => match feed.object_end(cursor.position, WAITING) {
                ObjectEnd::At(end) => end,
                ObjectEnd::NotBefore(_) => return false,
            },
        };
        let bytes = limit.saturating_sub(cursor.position);
        if limit > feed.head() || bytes > limits::RANGE_COPIED_BYTES_MAX {
            return false;
        }
        if self.fanout.rest_bytes + bytes as usize > limits::REST_BYTES_MAX {
            return false;
        }
        let mut copy = vec![0; bytes as usize];
        if !feed.copy_out(cursor.position, &mut copy) {
            return false;
        }
        // What goes first still does.
        let ahead = self.connections.get(id).map_or(0, |c| c.own.ahead);
        self.drop_cursor(id);
        if let Some(connection) = self.connections.get_mut(id) {
            connection.own.ahead = ahead;
            self.fanout.rest_bytes += copy.len();
            connection.shared = Some(Shared {
                sent: 0,
                copied: copy.len(),
                bytes: copy.into(),
            });
        }
        self.counters.ranges_copied.add(1);
        self.make_urgent(id);
        true
    }
}

impl Cursor {
    fn wait_for_more(&mut self, local: &mut LocalFeed) {
        local.waiting += usize::from(!std::mem::replace(&mut self.waits, true));
    }

    pub(super) fn wait_no_more(&mut self, local: &mut LocalFeed) {
        local.waiting -= usize::from(std::mem::take(&mut self.waits));
    }
}

impl LocalFeed {
    /// Cursors that take whatever comes.
    pub(super) fn endless(&self) -> usize {
        self.cursors.len() - self.ranges
    }

    /// Whether its cursors want a turn now that it has grown: somebody waits for bytes, or is to be evicted.
    pub(super) fn wants_turn(&self, shard: usize) -> bool {
        self.endless() > 0 || self.waiting > 0 || self.feed.released(shard) < self.feed.evict_below()
    }
}

impl FanOut {
    /// When what this shard claims of a feed holds back blocks, what cursors have let go is published soon.
    pub(super) fn look_at_claim(&mut self, feed: u32, shard: usize, now: u64) {
        let Some(local) = self.local_mut(feed) else { return };
        let is_held = !local.cursors.is_empty() && local.feed.released(shard) < local.feed.tail();
        if is_held && local.release_at == u64::MAX {
            local.release_at = now + limits::RELEASE_MICROS;
            self.release_at = self.release_at.min(now + limits::RELEASE_MICROS);
        }
    }

    /// Feeds whose claims are to be published get a turn.
    pub(super) fn release_due(&mut self, now: u64) {
        if now < self.release_at {
            return;
        }
        self.release_at = u64::MAX;
        for local in self.feeds.iter_mut().flatten() {
            if local.release_at > now {
                self.release_at = self.release_at.min(local.release_at);
                continue;
            }
            local.release_at = u64::MAX;
            if !local.cursors.is_empty() {
                local.dirty = true;
                self.classes[local.class as usize].dirty = true;
            }
        }
    }
}
