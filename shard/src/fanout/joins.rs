//! How viewers come to a feed and leave it: join points, and what becomes of their headers (DESIGN.md 4.2).
//!
//! Invariants: a cursor that has started claims its place from then on; one whose join header the appliance reads is held
//! there until it was told, in the same pass; a viewer that leaves inside a record is still sent the rest of that.

use crate::connection::{ConnId, Cursor, Heading, Life, WAITING};
use crate::core::{Core, Event, FeedId};
use crate::kernel::Kernel;

impl<M, K: Kernel> Core<M, K> {
    /// Puts a viewer at the newest join point of the feed, behind whatever the session has sent so far. It is served at
    /// once; if there is no join point yet, as soon as there is one.
    pub fn join(&mut self, id: ConnId, feed: FeedId) {
        self.join_headed(id, feed, Heading::Sent);
    }

    /// As [`Core::join`], for a packaging whose join header is read, not sent: `joining` is called with it once the viewer
    /// stands at a join point, in the same pass, and what the appliance sends there goes out ahead of the feed. A skip sends
    /// nothing beside the feed.
    pub fn join_with(&mut self, id: ConnId, feed: FeedId) {
        self.join_headed(id, feed, Heading::Told);
    }

    fn join_headed(&mut self, id: ConnId, feed: FeedId, heading: Heading) {
        self.leave_feed(id);
        let shard = self.id.index();
        let Some(local) = self.fanout.local_mut(feed.0) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.life != Life::Open {
            return;
        }
        let place = local.enter(id.index, shard);
        connection.cursor = Some(Cursor {
            feed: feed.0,
            place,
            position: WAITING,
            end: WAITING,
            begun: false,
            heading,
            held: false,
            limit: None,
            is_short: false,
            waits: false,
        });
        self.demand_grew(feed);
        if !self.start_cursor(id) {
            // A feed that has ended brings no join point any more; the visit finds out.
            self.make_urgent(id);
        }
    }

    /// Takes a viewer off its feed. The rest of what it stands in is copied and still sent, so that what the session
    /// sends next begins on a boundary. A range is left where it stands.
    pub fn leave_feed(&mut self, id: ConnId) {
        let cursor = self
            .connections
            .get(id)
            .and_then(|connection| connection.cursor.as_ref());
        if cursor.is_some_and(|cursor| cursor.limit.is_none() && !cursor.is_on_boundary()) {
            self.copy_rest(id);
        }
        self.drop_cursor(id);
        self.leave_cast(id);
    }

    pub(crate) fn leave_cast(&mut self, id: ConnId) {
        if let Some(cast) = self.connections.get(id).and_then(|connection| connection.cast) {
            self.drop_cast(cast);
        }
    }

    /// The cursor is gone, wherever it stood: for connections that end.
    pub(crate) fn drop_cursor(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Some(mut cursor) = connection.cursor.take() else {
            return;
        };
        connection.own.ahead = 0;
        let shard = self.id.index();
        let Some(local) = self.fanout.local_mut(cursor.feed) else {
            return;
        };
        cursor.wait_no_more(local);
        local.ranges -= usize::from(cursor.limit.is_some());
        self.leave_place(cursor.feed, cursor.place);
        match cursor.limit {
            None => self.demand_shrank(FeedId(cursor.feed)),
            Some(_) => self.fanout.look_at_claim(cursor.feed, shard, self.now),
        }
    }

    /// The cursor at `place` of a feed's list is gone.
    pub(super) fn leave_place(&mut self, feed: u32, place: u32) {
        let shard = self.id.index();
        let Some(local) = self.fanout.local_mut(feed) else {
            return;
        };
        let moved = local.leave(place, shard);
        if local.cursors.is_empty() {
            self.release(feed);
            self.events.push_back(Event::FeedUnused(FeedId(feed)));
        }
        if let Some(index) = moved {
            self.set_place(index, place);
        }
    }

    /// Puts a waiting cursor at the newest join point, if there is one. One that began before, and found none to be moved
    /// to, is moved.
    pub(super) fn start_cursor(&mut self, id: ConnId) -> bool {
        let Some(feed) = self.cursor_feed(id) else { return false };
        let Some(cursor) = self.connections.get(id).and_then(|c| c.cursor.as_ref()) else {
            return false;
        };
        let heading = cursor.heading;
        if cursor.begun {
            return self.move_to_newest(id, &feed);
        }
        let mut header = std::mem::take(&mut self.fanout.scratch);
        let shard = self.id.index();
        // The feed may move on between naming a join point and the claim on it; then it names a newer one.
        let join = loop {
            match feed.join_newest(&mut header) {
                Some(join) if feed.claim(shard, join.position).is_err() => {}
                join => break join,
            }
        };
        if let Some(join) = &join {
            self.set_cursor(id, join.position, join.position);
            self.counters.cursors_joined.add(1);
            match heading {
                Heading::Sent => self.send(id, &header),
                Heading::Told => self.hold_join(id, join.position, &header),
            }
            self.make_urgent(id);
        }
        self.fanout.scratch = header;
        join.is_some()
    }

    /// Nothing of the feed is sent before the appliance has been told of the join point.
    fn hold_join(&mut self, id: ConnId, position: u64, header: &[u8]) {
        if let Some(cursor) = self.connections.get_mut(id).and_then(|c| c.cursor.as_mut()) {
            cursor.held = true;
            let header = header.into();
            self.events.push_back(Event::Joining { id, position, header });
        }
    }

    /// Whether the viewer still stands at the join point that the appliance is to be told of; it goes on from here.
    pub(crate) fn let_join(&mut self, id: ConnId, position: u64) -> bool {
        if let Some(cast) = self.connections.get(id).and_then(|connection| connection.cast) {
            return self.let_cast_join(cast, position);
        }
        let cursor = self.connections.get_mut(id).and_then(|c| c.cursor.as_mut());
        let Some(cursor) = cursor.filter(|cursor| cursor.held && cursor.position == position) else {
            return false;
        };
        cursor.held = false;
        self.make_urgent(id);
        true
    }
}
