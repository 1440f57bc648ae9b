//! A panic in one connection's code ends that connection and nothing else; one in a stream's code ends that stream.
//!
//! What a panic leaves half done belongs to the peer, and with a publisher to its stream: both are given up at once, in
//! the same call, so that nobody looks at them again. Guarded are all calls for a connection (`with_peer`, and what there
//! is before and behind it: `accepted`, `ended`, a move), the making of a feed for a viewer, a stream's timer, and the
//! built-in clip. What a panic may unwind through is therefore written so that each step leaves something that can be
//! given up: a role is changed behind what it stands for, and given up behind what ends it.
//!
//! Not guarded is what has no owner that could be given up: the directory, the outbox, the feeds a shard watches. They
//! take names and ids and no bytes of a peer. The core checks its arguments before it changes anything. A panic there,
//! or in giving up, ends the process, which the service manager starts again (`serve.rs`).

use std::panic::{AssertUnwindSafe, catch_unwind};

use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, End};
use penstock_shard::kernel::Kernel;
use tracing::info;

use super::dialogue::Role;
use super::{App, Peer, Session};
use crate::directory::arbiter_of;
use crate::messages::{ClaimId, Message, Open, Opening};
use crate::names::StreamName;
use crate::shelf::Shelving;

/// What `work` gives, or nothing when it panicked.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

impl<K: Kernel> App<K> {
    /// Works with a peer, which is not in the table meanwhile.
    pub(super) fn with_peer(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        work: impl FnOnce(&mut App<K>, &mut Core<Message<K>, K>, &mut Peer),
    ) {
        let Some(mut peer) = self.peers.take(conn) else { return };
        let done = guarded(|| work(self, core, &mut peer));
        if done.is_none() {
            self.forsake(core, &mut peer);
        }
        self.account(&mut peer);
        // Its end, which follows, frees the rest of what it holds: a place among those who wait.
        self.peers.insert(peer);
        if done.is_none() {
            core.panicked(conn);
        }
        self.bound_input(core);
    }

    pub(super) fn peer_ended(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, why: End) {
        let Some(mut peer) = self.peers.take(conn) else { return };
        self.input_bytes -= peer.held_bytes;
        // Where we connect to is not counted: it is the operator's word.
        if !matches!(peer.session, Session::Pull(_)) {
            self.addresses.leave(peer.address.ip());
        }
        self.stays_empty(core, &peer);
        let done = guarded(|| match &mut peer.session {
            Session::Http(session) => self.http_ended(core, conn, peer.address, session, why),
            Session::Rtmp(session) => self.rtmp_ended(core, conn, peer.address, session, why),
            Session::Rtsp(session) => self.rtsp_ended(core, conn, peer.address, session, why),
            Session::Pull(session) => self.pull_ended(core, conn, session, why),
        });
        if done.is_none() {
            self.forsake(core, &mut peer);
            core.panicked(conn);
        }
    }

    /// Works for a stream where none of its publisher's calls is under way.
    pub(super) fn with_stream(
        &mut self,
        core: &mut Core<Message<K>, K>,
        place: usize,
        work: impl FnOnce(&mut App<K>, &mut Core<Message<K>, K>),
    ) {
        if guarded(|| work(self, core)).is_none() {
            self.discard_stream(core, place);
        }
    }

    /// Gives up what others wait for: the stream that the peer was writing, and its name.
    fn forsake(&mut self, core: &mut Core<Message<K>, K>, peer: &mut Peer) {
        if let Session::Pull(pull) = &peer.session {
            return self.pull_peer_broken(core, pull);
        }
        let Some(its) = peer.session.role_mut() else {
            return;
        };
        match std::mem::replace(its, Role::None) {
            Role::Publishing { name, claim, place } => {
                self.counters.publishers.sub(1);
                self.take_away(core, place);
                self.release(core, name, claim);
            }
            Role::Claiming { name, claim } | Role::Moving { name, claim } => {
                // It may have been on its way into the stream.
                let is_its = |app: &mut App<K>, place: &usize| {
                    let stream = app.streams.at_mut(*place);
                    let publisher = stream.and_then(|stream| stream.publisher.as_ref());
                    publisher.is_some_and(|publisher| publisher.claim == claim)
                };
                if let Some(place) = self.streams.place_of(&name).filter(|place| is_its(self, place)) {
                    self.take_away(core, place);
                }
                self.release(core, name, claim);
            }
            role => *its = role,
        }
    }

    /// A moving publisher was lost between two shards.
    pub(super) fn moved_in_vain(&mut self, core: &mut Core<Message<K>, K>, name: StreamName, claim: ClaimId) {
        core.counters().connections_panicked.add(1);
        self.release(core, name, claim);
    }

    /// Ends a stream whose muxers may be in the middle of something, and its publisher.
    pub(super) fn discard_stream(&mut self, core: &mut Core<Message<K>, K>, place: usize) {
        let publisher = self.streams.at_mut(place).and_then(|stream| stream.publisher.as_ref());
        let conn = publisher.and_then(|publisher| publisher.conn);
        self.take_away(core, place);
        if let Some(conn) = conn {
            core.panicked(conn);
        }
    }

    /// Viewers get what was whole, and no last words; those who wait are told that nothing is there.
    fn take_away(&mut self, core: &mut Core<Message<K>, K>, place: usize) {
        let Some(mut stream) = self.streams.remove(place) else {
            return;
        };
        stream.forget_shortened(&self.counters);
        info!(stream = stream.name.as_str(), "stream ended by a defect of penstock");
        self.counters.streams.sub(1);
        self.counters.streams_discarded.add(1);
        self.counters.feeds.sub(stream.feeds.len() as u64);
        let watchers = stream.clear_shelf(&self.counters);
        self.tell_unshelved(core, &stream.name, watchers);
        for shelve in std::mem::take(&mut stream.shelves) {
            self.answer_shelve(core, shelve, Shelving::NotThere);
        }
        for packaged in stream.feeds {
            let (feed, local) = (packaged.feed().clone(), packaged.local);
            // The writer's end is the feed's.
            drop(packaged);
            core.feed_grew(&feed, local);
        }
        for Open {
            name, packaging, from, ..
        } in stream.opens
        {
            let outcome = Opening::NotThere;
            self.deliver(
                core,
                from,
                Message::Opened {
                    name,
                    packaging,
                    outcome,
                },
            );
        }
        // Free at once in the grace of a publisher who is gone; otherwise once the publisher has released it.
        let arbiter = arbiter_of(&stream.name, core.shards());
        self.deliver(core, arbiter, Message::Gone { name: stream.name });
    }
}

#[cfg(test)]
mod tests;
