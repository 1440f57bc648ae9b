//! What one connection is sent next, and what became of it: pieces, ranges, skips, rests (DESIGN.md 4.2 to 4.4).
//!
//! A piece is session bytes, or the rest of the queued range; which of them is decided here and nowhere else, so that no
//! byte of ours is ever put inside a record. Turns and the urgent queue decide when; the ring sends.

use std::io;
use std::sync::Arc;

use crate::connection::{ConnId, Cursor, Heading, InFlight, Life, WAITING};
use crate::core::{Core, End, Event, Operation, failed};
use crate::feed::Feed;
use crate::kernel::{Kernel, Outgoing};
use crate::limits;
use crate::pool::log::Span;
use crate::seal::{Holds, Wrap};

use super::Step;

impl<M, K: Kernel> Core<M, K> {
    /// Sends the next piece of what this connection has to send.
    pub(super) fn step(&mut self, id: ConnId) -> Step {
        let Some(connection) = self.connections.get(id) else {
            return Step::Idle;
        };
        let is_waiting = connection.writable_armed
            || connection.in_flight != InFlight::Nothing
            || connection.life == Life::Detaching && connection.cursor.is_some();
        if is_waiting || matches!(connection.life, Life::Deaf | Life::Connecting) {
            return Step::Idle;
        }
        if let Wrap::Sealed(_) = connection.wrap {
            return self.step_sealed(id);
        }
        match self.next_piece(id) {
            Piece::Own => self.queue_own(id),
            Piece::Range => self.queue_range(id),
            Piece::Shared => self.queue_shared(id),
            Piece::Nothing => self.nothing_left(id),
        }
    }

    /// What is to be sent next, moving the cursor as far as that needs.
    pub(super) fn next_piece(&mut self, id: ConnId) -> Piece {
        let Some(connection) = self.connections.get(id) else {
            return Piece::Nothing;
        };
        if connection.own.ahead > 0 {
            return Piece::Own;
        }
        if let Some(shared) = &connection.shared {
            return match shared.unsent().is_empty() {
                true => Piece::Nothing,
                false => Piece::Shared,
            };
        }
        let Some(cursor) = &connection.cursor else {
            return if connection.own.unsent().is_empty() {
                Piece::Nothing
            } else {
                Piece::Own
            };
        };
        if cursor.limit.is_some() {
            return match cursor.is_on_boundary() {
                true => self.extend_limited(id),
                false => Piece::Range,
            };
        }
        if !cursor.is_on_boundary() {
            let tail = self.fanout.local(cursor.feed).map_or(0, |local| local.feed.tail());
            if cursor.position >= tail {
                return Piece::Range;
            }
            return match self.copy_rest(id) {
                true => self.piece_after_jump(id),
                false => Piece::Nothing,
            };
        }
        if !connection.own.unsent().is_empty() {
            return Piece::Own;
        }
        self.extend_range(id)
    }

    /// On a boundary, with no session bytes: the next range, a skip, or nothing.
    pub(super) fn extend_range(&mut self, id: ConnId) -> Piece {
        let Some(cursor) = self.connections.get(id).and_then(|c| c.cursor.as_ref()) else {
            return Piece::Nothing;
        };
        if cursor.held {
            return Piece::Nothing;
        }
        let position = cursor.position;
        let Some(local) = self.fanout.local(cursor.feed) else {
            return Piece::Nothing;
        };
        if position == WAITING {
            return match self.start_cursor(id) {
                true => self.piece_after_jump(id),
                false => Piece::Nothing,
            };
        }
        if position < local.feed.tail() {
            let feed = local.feed.clone();
            return self.skip(id, &feed);
        }
        let head = local.feed.head();
        if position >= head {
            return Piece::Nothing;
        }
        let end = if head - position <= limits::RANGE_BYTES {
            head
        } else {
            range_end(&local.feed, position)
        };
        let low_water = local.low_water;
        if self.fanout.overloaded && is_far_behind(&local.feed, position, low_water) {
            let feed = local.feed.clone();
            self.counters.cursors_skipped_overload.add(1);
            return self.skip(id, &feed);
        }
        if let Some(connection) = self.connections.get_mut(id) {
            if low_water > connection.low_water {
                connection.low_water = low_water;
                // A socket that keeps the smaller value only sends more often.
                let _ = self.kernel.set_not_sent_low_water(&connection.socket, low_water);
            }
            if let Some(cursor) = connection.cursor.as_mut() {
                cursor.end = end;
            }
        }
        Piece::Range
    }

    /// Moves a viewer that fell behind, and stands on a boundary, to the newest join point.
    pub(super) fn skip(&mut self, id: ConnId, feed: &Arc<Feed>) -> Piece {
        if self.move_to_newest(id, feed) {
            return self.piece_after_jump(id);
        }
        self.set_cursor(id, WAITING, WAITING);
        Piece::Nothing
    }

    /// False, and nothing changed, when there is no join point.
    pub(super) fn move_to_newest(&mut self, id: ConnId, feed: &Arc<Feed>) -> bool {
        let mut header = std::mem::take(&mut self.fanout.scratch);
        let shard = self.id.index();
        let join = loop {
            match feed.skip_newest(&mut header) {
                Some(join) if feed.claim(shard, join.position).is_err() => {}
                join => break join,
            }
        };
        if let Some(join) = join {
            self.set_cursor(id, join.position, join.position);
            self.counters.cursors_skipped.add(1);
            let cursor = self.connections.get(id).and_then(|c| c.cursor.as_ref());
            if cursor.is_some_and(|cursor| cursor.heading == Heading::Sent) {
                self.send(id, &header);
            }
        }
        self.fanout.scratch = header;
        join.is_some()
    }

    /// On a boundary that it was put on: session bytes (a header, a rest), or, when there are none, what follows.
    pub(super) fn piece_after_jump(&mut self, id: ConnId) -> Piece {
        match self.connections.get(id) {
            Some(connection) if connection.own.unsent().is_empty() => self.extend_range(id),
            Some(_) => Piece::Own,
            None => Piece::Nothing,
        }
    }

    /// A viewer inside a record that is leaving the feed gets the rest of that record as a copy, and then stands on its
    /// end; false when there is no room for the copy, and the viewer is closed. What was queued behind the record and not
    /// begun is forgotten.
    pub(super) fn copy_rest(&mut self, id: ConnId) -> bool {
        let Some(feed) = self.cursor_feed(id) else { return false };
        let Some(connection) = self.connections.get_mut(id) else {
            return false;
        };
        let Some(cursor) = connection.cursor.as_mut() else {
            return false;
        };
        // Its own record is known as long as it is claimed.
        match feed.record_at(cursor.position) {
            Some(record) if record.start == cursor.position => cursor.end = record.start,
            Some(record) => cursor.end = record.end,
            None => {}
        }
        let bytes = (cursor.end - cursor.position) as usize;
        if bytes == 0 {
            connection.own.ahead = 0;
            return true;
        }
        debug_assert!(
            connection.own.rest <= connection.own.sent,
            "a rest is sent before another record begins"
        );
        let mut rest = std::mem::take(&mut self.fanout.scratch);
        rest.clear();
        rest.resize(bytes, 0);
        let allowed = self.fanout.rest_bytes + bytes <= limits::REST_BYTES_MAX;
        if allowed && feed.copy_out(cursor.position, &mut rest) {
            cursor.position = cursor.end;
            rest.extend_from_slice(connection.own.unsent());
            std::mem::swap(&mut connection.own.bytes, &mut rest);
            connection.own.sent = 0;
            let sent = std::mem::replace(&mut connection.own.rest, bytes);
            self.fanout.rest_bytes = self.fanout.rest_bytes + bytes - sent;
            self.fanout.scratch = rest;
            return true;
        }
        self.fanout.scratch = rest;
        self.counters.cursors_closed_lag.add(1);
        self.end(id, End::Lagged);
        false
    }

    pub(super) fn queue_own(&mut self, id: ConnId) -> Step {
        let behind = self.behind_own(id);
        let Some(connection) = self.connections.get_mut(id) else {
            return Step::Idle;
        };
        let first = connection.own.first();
        let own = first.len() as u32;
        let user_data = Operation::Send.of_connection(id);
        let (body, queued) = match (behind, &connection.shared) {
            (Behind::Span(span), _) => {
                let queued = self.kernel.send_both(id.index, first, Outgoing::Span(span), user_data);
                (span.len, queued)
            }
            (Behind::Shared(bytes), Some(shared)) => {
                let body = Outgoing::Own(&shared.unsent()[..bytes]);
                (bytes, self.kernel.send_both(id.index, first, body, user_data))
            }
            (Behind::More, _) => {
                let queued = self.kernel.send(id.index, Outgoing::OwnAndMore(first), user_data);
                (0, queued)
            }
            _ => (0, self.kernel.send(id.index, Outgoing::Own(first), user_data)),
        };
        self.fanout.slice_bytes += body;
        let body = body as u32;
        connection.in_flight = InFlight::Plain { own, body };
        self.queued(id, queued)
    }

    /// What goes out with session bytes that are next: the range behind them is fixed, and what the session adds comes behind
    /// that.
    fn behind_own(&mut self, id: ConnId) -> Behind {
        let Some(connection) = self.connections.get(id) else {
            return Behind::Nothing;
        };
        if let Some(shared) = &connection.shared {
            return match shared.unsent().len().min(limits::RANGE_BYTES as usize) {
                0 => Behind::Nothing,
                bytes => Behind::Shared(bytes),
            };
        }
        let Some(cursor) = &connection.cursor else {
            return Behind::Nothing;
        };
        if cursor.is_on_boundary() {
            let next = match cursor.limit {
                Some(_) => self.extend_limited(id),
                // One that is to be moved is moved when these are sent, to what is newest then.
                None if self.is_to_move(cursor) => Piece::Nothing,
                None => self.extend_range(id),
            };
            if next != Piece::Range {
                return Behind::Nothing;
            }
        }
        let Some(connection) = self.connections.get_mut(id) else {
            return Behind::Nothing;
        };
        let Some(cursor) = connection.cursor.as_mut() else {
            return Behind::Nothing;
        };
        let Some(local) = self.fanout.local(cursor.feed) else {
            return Behind::Nothing;
        };
        if cursor.limit.is_none() && cursor.position < local.feed.tail() {
            // It was queued behind bytes that its socket did not take, and nothing of it has begun.
            (cursor.end, connection.own.ahead) = (cursor.position, 0);
            return Behind::Nothing;
        }
        connection.own.ahead = connection.own.first().len();
        let span = local.feed.span(self.id.index(), cursor.position, cursor.end);
        match !goes_by_reference(cursor, span.len) && !self.goes_zero_copy(id, span.len) {
            true => Behind::Span(span),
            false => Behind::More,
        }
    }

    /// Whether a viewer between two records goes on elsewhere than where it stands.
    fn is_to_move(&self, cursor: &Cursor) -> bool {
        let Some(local) = self.fanout.local(cursor.feed) else {
            return false;
        };
        let (feed, position) = (&local.feed, cursor.position);
        position == WAITING
            || position < feed.tail()
            || self.fanout.overloaded && is_far_behind(feed, position, local.low_water)
    }

    pub(super) fn queue_range(&mut self, id: ConnId) -> Step {
        let Some(cursor) = self.connections.get(id).and_then(|c| c.cursor.as_ref()) else {
            return Step::Idle;
        };
        let Some(local) = self.fanout.local(cursor.feed) else {
            return Step::Idle;
        };
        let position = cursor.position;
        let in_flight = |span: &Span| InFlight::Plain {
            own: 0,
            body: span.len as u32,
        };
        let span = local.feed.span(self.id.index(), position, cursor.end);
        let by_zero_copy = self.goes_zero_copy(id, span.len);
        let by_sendfile = !by_zero_copy && goes_by_reference(cursor, span.len);
        if by_sendfile {
            local.feed.mark_sendfile(position);
        }
        self.fanout.slice_bytes += span.len;
        if by_zero_copy {
            return self.queue_zero_copy(id, position, span);
        }
        let Some(connection) = self.connections.get_mut(id) else {
            return Step::Idle;
        };
        if by_sendfile {
            let result = self.kernel.sendfile(&connection.socket, &self.pool, span);
            self.counters.sendfiles.add(1);
            let taken = result.or_else(|error| match error.kind() {
                io::ErrorKind::WouldBlock => Ok(0),
                _ => Err(error),
            });
            return match taken {
                Ok(taken) => self.sent(id, in_flight(&span), taken as u32),
                Err(error) => {
                    self.end(id, failed_send(&error));
                    Step::Idle
                }
            };
        }
        connection.in_flight = in_flight(&span);
        let user_data = Operation::Send.of_connection(id);
        let queued = self.kernel.send(id.index, Outgoing::Span(span), user_data);
        self.queued(id, queued)
    }

    /// What became of the attempt to put a send into the ring.
    pub(super) fn queued(&mut self, id: ConnId, queued: io::Result<()>) -> Step {
        self.counters.sends.add(1);
        match queued {
            Ok(()) => Step::Queued,
            Err(error) => {
                if let Some(connection) = self.connections.get_mut(id) {
                    connection.in_flight = InFlight::Nothing;
                }
                self.end(id, failed(&error));
                Step::Idle
            }
        }
    }

    /// A send of the ring has completed.
    pub(crate) fn send_completed(&mut self, id: ConnId, result: i32) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let carried = std::mem::replace(&mut connection.in_flight, InFlight::Nothing);
        if result < 0 && -result != libc::EAGAIN {
            return self.not_taken(id, failed_send(&io::Error::from_raw_os_error(-result)));
        }
        if let Step::Again = self.sent(id, carried, result.max(0) as u32) {
            self.make_urgent(id);
        }
    }

    /// The socket takes nothing more. One that is not a viewer may have sent something before that is not yet received (an
    /// encoder that closes with an answer of ours unread): the receive goes on and ends the connection.
    fn not_taken(&mut self, id: ConnId, why: End) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let may_have_sent = connection.life == Life::Open && connection.receive_armed && connection.cursor.is_none();
        if why != End::Peer || !may_have_sent {
            return self.end(id, why);
        }
        connection.life = Life::Deaf;
        let own = std::mem::take(&mut connection.own);
        self.spare_own(own.bytes, own.rest);
        self.drop_shared(id);
    }

    /// The socket took `taken` of what `carried` held: the place moves on, a full socket is polled.
    pub(super) fn sent(&mut self, id: ConnId, carried: InFlight, taken: u32) -> Step {
        let Some(connection) = self.connections.get_mut(id) else {
            return Step::Idle;
        };
        connection.bytes_sent += u64::from(taken);
        let is_answered = connection.is_answered();
        self.counters.bytes_sent.add(u64::from(taken));
        let asked = match carried {
            InFlight::Nothing => 0,
            InFlight::Plain { own, body } => {
                self.took_plain(id, taken.min(own), taken.saturating_sub(own));
                own + body
            }
            InFlight::Sealed { bytes, .. } => {
                self.took_sealed(id, taken);
                bytes
            }
        };
        if is_answered {
            self.answer_sent(taken);
        }
        if taken >= asked {
            if self.settle_answer(id) {
                return Step::Again;
            }
            let has_body = matches!(
                carried,
                InFlight::Plain { body: 1.., .. } | InFlight::Sealed { holds: Holds::Body, .. }
            );
            let turn_is_next = has_body && self.waits_for_turn(id);
            return if turn_is_next { Step::Idle } else { Step::Again };
        }
        self.counters.sends_full.add(1);
        self.arm_writable(id);
        Step::Idle
    }

    /// Places move on: the session's bytes first, then what is behind them.
    fn took_plain(&mut self, id: ConnId, own: u32, body: u32) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        self.counters.bytes_sent_own.add(u64::from(own));
        connection.own.took(own as usize);
        if let Some(shared) = connection.shared.as_mut() {
            shared.sent += body as usize;
        } else if let Some(cursor) = connection.cursor.as_mut() {
            cursor.position += u64::from(body);
            debug_assert!(cursor.position <= cursor.end);
        }
        self.count_body(body);
        if own > 0 {
            self.settle_own(id);
        }
    }

    pub(super) fn count_body(&self, bytes: u32) {
        if bytes > 0 {
            self.counters.sends_by_size(bytes).add(1);
        }
    }

    /// Whether a viewer whose range was taken whole has time until the next turn: what came meanwhile then goes out with
    /// what is to come, in one send. One that is catching up, or at the end of its feed, goes on at once.
    pub(super) fn waits_for_turn(&mut self, id: ConnId) -> bool {
        let Some(connection) = self.connections.get(id) else {
            return true;
        };
        let Some(cursor) = connection.cursor.as_ref().filter(|_| connection.life == Life::Open) else {
            return false;
        };
        if !cursor.is_on_boundary() || !connection.own.unsent().is_empty() {
            return false;
        }
        if cursor.limit.is_some() {
            return self.waits_for_more(id);
        }
        let (feed, position) = (cursor.feed, cursor.position);
        let Some(local) = self.fanout.local_mut(feed) else {
            return false;
        };
        let behind = local.feed.head().saturating_sub(position);
        if local.feed.is_ended() || behind >= limits::SENDFILE_BYTES as u64 {
            return false;
        }
        if behind > 0 {
            local.dirty = true;
            let class = local.class as usize;
            self.fanout.classes[class].dirty = true;
        }
        self.pace(id, feed);
        true
    }

    /// Session bytes that are all sent give their buffer back.
    pub(super) fn settle_own(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.own.unsent().is_empty() {
            let own = std::mem::take(&mut connection.own);
            self.spare_own(own.bytes, own.rest);
        }
    }

    pub(super) fn arm_writable(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        match self
            .kernel
            .poll_writable(id.index, Operation::Writable.of_connection(id))
        {
            Ok(()) => connection.writable_armed = true,
            Err(error) => self.end(id, failed(&error)),
        }
    }

    /// The socket can take bytes again.
    pub(crate) fn writable(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.writable_armed = false;
            self.make_urgent(id);
        }
    }

    /// Everything is sent: a connection that is being ended is told so, a viewer of an ended feed has seen it all.
    pub(super) fn nothing_left(&mut self, id: ConnId) -> Step {
        if self.settle_answer(id) {
            return Step::Again;
        }
        let Some(connection) = self.connections.get_mut(id) else {
            return Step::Idle;
        };
        if connection.is_answered() {
            return Step::Idle;
        }
        if connection.life == Life::Flushing {
            if self.seal_end(id) {
                return Step::Again;
            }
            let Some(connection) = self.connections.get_mut(id) else {
                return Step::Idle;
            };
            connection.life = Life::Draining;
            // Not armed: the peer has ended its side already.
            let is_peer_there = connection.receive_armed;
            match self.kernel.shutdown_write(&connection.socket) {
                Ok(()) if is_peer_there => {}
                Ok(()) => self.end(id, End::Finished),
                Err(_) => self.end(id, End::Peer),
            }
            return Step::Idle;
        }
        let Some(cursor) = connection.cursor.as_ref() else {
            return Step::Idle;
        };
        let (feed, position) = (cursor.feed, cursor.position);
        let at_end = self
            .fanout
            .local(feed)
            .is_some_and(|local| local.feed.is_ended() && (position == WAITING || position >= local.feed.head()));
        if at_end {
            self.leave_feed(id);
            self.events.push_back(Event::ReachedEnd(id));
        }
        Step::Idle
    }
}

/// See [`Core::next_piece`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Own,
    Range,
    Shared,
    Nothing,
}

/// See [`Core::behind_own`].
enum Behind {
    Nothing,
    /// In the same send.
    Span(Span),
    Shared(usize),
    /// In the next one.
    More,
}

/// The end of a range that begins at `position` and is about [`limits::RANGE_BYTES`] long: the last boundary within, or
/// the end of the one record that is longer.
fn range_end(feed: &Feed, position: u64) -> u64 {
    match feed.boundary_before(position + limits::RANGE_BYTES) {
        Some(boundary) if boundary > position => boundary,
        _ => feed
            .record_at(position)
            .map_or_else(|| feed.head(), |record| record.end),
    }
}

/// Whether so many bytes of a viewer's feed go by `sendfile`.
fn goes_by_reference(cursor: &Cursor, bytes: usize) -> bool {
    !cursor.is_short && bytes >= limits::SENDFILE_BYTES
}

/// Whether a viewer has more than two turns' bytes to go to the newest join point: it is in the past of those who keep up.
fn is_far_behind(feed: &Feed, position: u64, turn_bytes: u32) -> bool {
    feed.newest_join()
        .is_some_and(|join| join > position + 2 * u64::from(turn_bytes))
}

fn failed_send(error: &io::Error) -> End {
    match error.raw_os_error() {
        Some(libc::EPIPE | libc::ECONNRESET) => End::Peer,
        Some(libc::ETIMEDOUT) => End::Stalled,
        _ => failed(error),
    }
}
