//! Viewers that change shards while they play (DESIGN.md 4.5): a cursor's place goes with its connection.
//!
//! A feed is the same memory on every shard; what differs is who claims it. The shard that a viewer goes to claims
//! the lowest position it may come with ([`Core::hold`]) before the shard that it comes from lets go of its own claim, so
//! that no byte between is given back.

use std::sync::Arc;

use crate::connection::{ConnId, Cursor, Heading, InFlight, Life, WAITING};
use crate::core::{Core, Detached, End, FeedId};
use crate::feed::{Feed, Passed};
use crate::kernel::Kernel;

use super::LocalFeed;

/// Where a viewer stands in a feed.
#[derive(Debug)]
pub(crate) struct Standing {
    feed: Arc<Feed>,
    position: u64,
    end: u64,
    heading: Heading,
}

impl LocalFeed {
    /// The lowest position that is held for viewers on their way.
    pub(super) fn lowest_hold(&self) -> u64 {
        self.holds.iter().copied().min().unwrap_or(WAITING)
    }

    /// Somebody watches it, or is on the way to.
    pub(super) fn is_needed(&self) -> bool {
        !self.cursors.is_empty() || !self.holds.is_empty()
    }
}

impl<M, K: Kernel> Core<M, K> {
    /// Claims `position` of a feed for viewers that will be adopted at it or behind it, until [`Core::let_go`].
    ///
    /// # Errors
    /// The feed has moved on; nothing has changed.
    pub fn hold(&mut self, feed: FeedId, position: u64) -> Result<(), Passed> {
        let shard = self.id.index();
        let Some(local) = self.fanout.local_mut(feed.0) else {
            return Ok(());
        };
        local.feed.claim(shard, position)?;
        local.holds.push(position);
        // A visit that is under way has not met it.
        local.changes += 1;
        Ok(())
    }

    /// Those for whom `position` was held have come, or do not.
    pub fn let_go(&mut self, feed: FeedId, position: u64) {
        let Some(local) = self.fanout.local_mut(feed.0) else {
            return;
        };
        if let Some(at) = local.holds.iter().position(|held| *held == position) {
            local.holds.swap_remove(at);
            local.changes += 1;
            match local.cursors.is_empty() {
                true => self.release(feed.0),
                false => self.publish_released(feed.0),
            }
        }
    }

    /// Whether somebody watches the feed here, or is on the way to.
    pub fn is_needed(&self, feed: FeedId) -> bool {
        self.fanout.local(feed.0).is_some_and(LocalFeed::is_needed)
    }

    /// Viewers of `feed` who can move now, with their positions: they stand between two records, everything before is
    /// sent, and their sockets take more. Who is slow, or being ended, stays where it is.
    pub fn movable(&self, feed: FeedId) -> impl Iterator<Item = (ConnId, u64)> + '_ {
        let local = self.fanout.local(feed.0);
        let cursors = local.map_or(&[][..], |local| &local.cursors);
        let tail = local.map_or(WAITING, |local| local.feed.tail());
        cursors.iter().filter_map(move |index| {
            let id = self.connections.at(*index)?;
            let connection = self.connections.get(id)?;
            let cursor = connection.cursor.as_ref()?;
            if cursor.limit.is_some() {
                return None;
            }
            let is_between =
                cursor.is_on_boundary() && !cursor.held && cursor.position != WAITING && cursor.position >= tail;
            let is_sent = connection.own.unsent().is_empty()
                && connection.in_flight == InFlight::Nothing
                && connection.wrap.is_sent();
            let is_well = connection.life == Life::Open && !connection.writable_armed;
            (is_between && is_sent && is_well).then_some((id, cursor.position))
        })
    }

    /// Takes in a viewer of another shard, who watches `feed` on from where it stood. Nothing when the table is full:
    /// the connection is closed then.
    pub fn adopt_viewer(&mut self, mut detached: Detached<K::Socket>, feed: FeedId) -> Option<ConnId> {
        let standing = detached.standing.take();
        let id = self.adopt(detached)?;
        if let Some(standing) = standing {
            self.stand(id, feed, &standing);
        }
        Some(id)
    }

    fn stand(&mut self, id: ConnId, feed: FeedId, standing: &Standing) {
        let shard = self.id.index();
        let Some(local) = self.fanout.local_mut(feed.0) else {
            return;
        };
        assert!(
            Arc::ptr_eq(&local.feed, &standing.feed),
            "a viewer moves within its feed"
        );
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let is_claimed = standing.position == WAITING || local.feed.claim(shard, standing.position).is_ok();
        if !is_claimed {
            self.counters.cursors_closed_lag.add(1);
            return self.end(id, End::Lagged);
        }
        let place = local.enter(id.index, shard);
        connection.cursor = Some(Cursor {
            feed: feed.0,
            place,
            position: standing.position,
            end: standing.end,
            begun: standing.position != WAITING,
            heading: standing.heading,
            held: false,
            limit: None,
            is_short: false,
            waits: false,
        });
        self.demand_grew(feed);
    }

    /// Where a viewer that leaves this shard stands.
    pub(crate) fn standing(&self, id: ConnId) -> Option<Standing> {
        let feed = self.cursor_feed(id)?;
        let connection = self.connections.get(id)?;
        let cursor = connection.cursor.as_ref()?;
        let (position, end) = match connection.own.ahead {
            // The appliance has not been told where it joins: it joins there.
            _ if cursor.held => (WAITING, WAITING),
            0 => (cursor.position, cursor.end),
            // What was queued behind session bytes has not begun, and these go first there too.
            _ => (cursor.position, cursor.position),
        };
        Some(Standing {
            feed,
            position,
            end,
            heading: cursor.heading,
        })
    }
}
