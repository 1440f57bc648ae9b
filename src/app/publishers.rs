//! Publishers of any protocol: claim of the name, the move to the home shard, the end (DESIGN.md 4.5). All of it is done
//! before a publisher hears that it may begin. Who may publish at all is in `admission`.

use std::net::SocketAddr;

use penstock_proto::rtmp;
use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, Detached};
use penstock_shard::kernel::Kernel;
use penstock_shard::mesh::ShardId;
use tracing::{info, warn};

use super::admission::Asked;
use super::dialogue::{Denial, Dialogue, Role};
use super::rtmp::RtmpPeer;
use super::rtsp::RtspPeer;
use super::{App, Peer, Session, guarded};
use crate::config::{Protocol, SecondPublisher};
use crate::counters::AppCounters;
use crate::directory::{Grant, arbiter_of};
use crate::messages::{ClaimId, Message, Moved, NameTaken};
use crate::names::StreamName;
use crate::stream::{Publisher, Stream};

impl<K: Kernel> App<K> {
    /// A publisher asks: it is checked against the configuration, then the name is claimed.
    pub(super) fn publish(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut dyn Dialogue<K>,
        asked: &Asked<'_>,
    ) {
        let (name, second) = match self.admit(core.now(), asked, address) {
            Ok(admitted) => admitted,
            Err(refusal) if peer.is_challenged(core.now(), asked.name, &refusal) => return,
            Err(refusal) => {
                self.count_refusal(&refusal);
                self.log_refusal(asked, address, &refusal);
                return peer.refuse_publish(refusal.denial, &refusal.in_full());
            }
        };
        self.claims += 1;
        let claim = ClaimId(u64::from(core.id().0) << 48 | self.claims);
        let arbiter = arbiter_of(&name, core.shards());
        let question = Message::Claim {
            name: name.clone(),
            claim,
            from: core.id(),
            conn,
            second,
        };
        if self.send(core, arbiter, question).is_err() {
            return peer.refuse_publish(Denial::Failed, "the server is too busy; try again");
        }
        *peer.role() = Role::Claiming { name, claim };
    }

    /// As arbiter: who gets the name.
    pub(super) fn arbitrate(
        &mut self,
        core: &mut Core<Message<K>, K>,
        name: StreamName,
        claim: ClaimId,
        from: ShardId,
        conn: ConnId,
        second: SecondPublisher,
    ) {
        let home = match self.directory.claim(&name, claim, from, second) {
            Grant::Granted { home } => Ok(home),
            Grant::Replaced { home, former } => {
                let end = Message::Replace {
                    name: name.clone(),
                    claim: former,
                };
                // The newer publisher ends it too, when it arrives.
                self.deliver(core, home, end);
                Ok(home)
            }
            Grant::Busy => Err(NameTaken::Busy),
            Grant::Full => Err(NameTaken::Full),
        };
        self.deliver(core, from, Message::Claimed { conn, claim, home });
    }

    /// The arbiter has answered.
    pub(super) fn claimed(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        claim: ClaimId,
        home: Result<ShardId, NameTaken>,
    ) {
        self.with_peer(core, conn, |app, core, peer| {
            if let Some(session) = peer.session.dialogue() {
                app.claim_answered(core, conn, peer.address, session, claim, home);
            }
        });
    }

    fn claim_answered(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut dyn Dialogue<K>,
        claim: ClaimId,
        home: Result<ShardId, NameTaken>,
    ) {
        let name = match peer.role() {
            Role::Claiming { name, claim: mine } if *mine == claim => name.clone(),
            _ => return,
        };
        match home {
            Err(taken) => {
                *peer.role() = Role::None;
                self.counters.publishers_refused_busy.add(1);
                let (denial, why) = match taken {
                    NameTaken::Busy => (
                        Denial::Taken,
                        format!("stream {} already has a publisher", name.as_str()),
                    ),
                    NameTaken::Full => (
                        Denial::Failed,
                        "too many streams are published here; try again later".into(),
                    ),
                };
                warn!(peer = %address, stream = name.as_str(), reason = why, "publisher refused");
                peer.refuse_publish(denial, &why);
                peer.feed(self, core, conn, address, &[]);
            }
            Ok(home) if home == core.id() => {
                self.begin_publish(core, conn, address, peer, name, claim);
                let pending = std::mem::take(peer.pending());
                peer.feed(self, core, conn, address, &pending);
            }
            Ok(_) if !peer.is_portable() => {
                *peer.role() = Role::None;
                self.release(core, name.clone(), claim);
                self.counters.publishers_refused_busy.add(1);
                let why = format!(
                    "stream {} cannot be published by a tunnel where it is at home",
                    name.as_str()
                );
                warn!(peer = %address, stream = name.as_str(), reason = why, "publisher refused");
                peer.refuse_publish(Denial::Failed, &why);
                peer.feed(self, core, conn, address, &[]);
            }
            Ok(_) => {
                *peer.role() = Role::Moving { name, claim };
                core.detach(conn);
            }
        }
    }

    /// Off this shard: everything of the publisher goes to its home.
    pub(super) fn move_publisher(
        &mut self,
        core: &mut Core<Message<K>, K>,
        address: SocketAddr,
        mut session: Session,
        detached: Detached<K::Socket>,
    ) {
        let Some(peer) = session.dialogue::<K>() else {
            return self.addresses.leave(address.ip());
        };
        let Role::Moving { name, claim } = std::mem::replace(peer.role(), Role::None) else {
            return self.addresses.leave(address.ip());
        };
        let mut bytes = Vec::new();
        let exported = guarded(|| {
            #[cfg(test)]
            crate::trap::spring(crate::trap::Step::Export);
            peer.export(&mut bytes);
        });
        if exported.is_none() {
            self.addresses.leave(address.ip());
            return self.moved_in_vain(core, name, claim);
        }
        let moved = Moved {
            name: name.clone(),
            claim,
            detached,
            peer: address,
            protocol: peer.protocol(),
            session: bytes,
            pending: std::mem::take(peer.pending()),
        };
        self.counters.publishers_moved.add(1);
        // The arbiter knows where the home is.
        let arbiter = arbiter_of(&name, core.shards());
        self.deliver(core, arbiter, Message::Move(Box::new(moved)));
    }

    /// A publisher arrives at its home, or on its way at the arbiter.
    pub(super) fn publisher_moved_here(&mut self, core: &mut Core<Message<K>, K>, moved: Moved<K>) {
        if arbiter_of(&moved.name, core.shards()) == core.id() {
            match self.directory.home(&moved.name) {
                // Another was let in since: it is not to be pushed out by one that comes late.
                Some(_) if !self.directory.holds(&moved.name, moved.claim) => return self.turn_away(core, moved),
                Some(home) if home != core.id() => return self.deliver(core, home, Message::Move(Box::new(moved))),
                _ => {}
            }
        }
        let Moved {
            name,
            claim,
            detached,
            peer: address,
            protocol,
            session,
            pending,
        } = moved;
        let imported = guarded(|| {
            #[cfg(test)]
            crate::trap::spring(crate::trap::Step::Import);
            imported_publisher(protocol, &session)
        });
        let Some(Some(mut session)) = imported else {
            warn!(stream = name.as_str(), peer = %address, "a moved publisher could not be read");
            self.addresses.leave(address.ip());
            return self.moved_in_vain(core, name, claim);
        };
        let Some(conn) = core.adopt(detached) else {
            self.addresses.leave(address.ip());
            return self.release(core, name, claim);
        };
        if let Some(role) = session.role_mut() {
            *role = Role::Claiming {
                name: name.clone(),
                claim,
            };
        }
        self.peers.insert(Peer::new(conn, address, session));
        self.with_peer(core, conn, |app, core, peer| {
            if let Some(session) = peer.session.dialogue() {
                app.begin_publish(core, conn, address, session, name, claim);
                session.feed(app, core, conn, address, &pending);
            }
        });
    }

    /// Ends a publisher on its way, which lost its name to another.
    fn turn_away(&mut self, core: &mut Core<Message<K>, K>, moved: Moved<K>) {
        self.counters.publishers_replaced.add(1);
        let imported = guarded(|| imported_publisher(moved.protocol, &moved.session)).flatten();
        let adopted = imported.and_then(|session| Some((session, core.adopt(moved.detached)?)));
        let Some((mut session, conn)) = adopted else {
            return self.addresses.leave(moved.peer.ip());
        };
        let why = format!("another publisher took stream {} over", moved.name.as_str());
        warn!(peer = %moved.peer, stream = moved.name.as_str(), reason = why, "publisher refused");
        if let Some(peer) = session.dialogue() {
            peer.refuse_publish(Denial::Taken, &why);
            peer.transmit(core, conn);
        }
        core.finish(conn);
        self.peers.insert(Peer::new(conn, moved.peer, session));
    }

    /// At the home: the stream takes the publisher, and the peer hears of it.
    fn begin_publish(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut dyn Dialogue<K>,
        name: StreamName,
        claim: ClaimId,
    ) {
        let publisher = Publisher::new(claim, Some(conn), peer.input(core.now()), core.now());
        match self.take_publisher(core, &name, publisher) {
            Ok(place) => {
                #[cfg(test)]
                crate::trap::spring(crate::trap::Step::Accept);
                self.counters.publishers.add(1);
                self.counters.publishers_accepted.add(1);
                info!(stream = name.as_str(), peer = %address, shard = core.id().0, "publisher accepted");
                *peer.role() = Role::Publishing { name, claim, place };
                peer.accept_publish();
                peer.transmit(core, conn);
            }
            Err(why) => {
                warn!(stream = name.as_str(), peer = %address, reason = why, "publisher refused");
                *peer.role() = Role::None;
                peer.refuse_publish(Denial::Failed, &why);
                self.release(core, name, claim);
            }
        }
    }

    /// Puts a publisher into its stream, which is made if it is not there.
    pub(super) fn take_publisher(
        &mut self,
        core: &mut Core<Message<K>, K>,
        name: &StreamName,
        publisher: Publisher,
    ) -> Result<usize, String> {
        if self.stopping {
            return Err("the server is closing".into());
        }
        self.end_shelf_of(core, name);
        if let Some(place) = self.streams.place_of(name) {
            self.end_publisher(core, place, "another publisher took over");
        }
        // Ending a publisher may have been the end of its stream.
        if let Some(place) = self.streams.place_of(name)
            && let Some(stream) = self.streams.at_mut(place)
        {
            stream.publisher_came(publisher);
            return Ok(place);
        }
        let settings = self
            .configured(name)
            .cloned()
            .ok_or_else(|| format!("no stream {} is configured", name.base()))?;
        const NO_MEMORY: &str = "the server has no memory for another stream: raise memory_bytes or --memory";
        let no_memory = |counters: &AppCounters| {
            counters.publishers_refused_memory.add(1);
            NO_MEMORY.to_owned()
        };
        if !self.has_room_for_a_stream(core) {
            return Err(no_memory(&self.counters));
        }
        let lag_max_micros = u64::from(self.config.machine.lag_max_millis) * 1000;
        let stream = Stream::create(
            name.clone(),
            settings,
            self.config.fetched,
            lag_max_micros,
            publisher,
            core.pool(),
        )
        .map_err(|_| no_memory(&self.counters))?;
        self.counters.streams.add(1);
        self.keep_time(core);
        Ok(self.streams.insert(stream))
    }

    /// The arbiter gave the name to another.
    pub(super) fn replace_publisher(&mut self, core: &mut Core<Message<K>, K>, name: &StreamName, claim: ClaimId) {
        let Some(place) = self.streams.place_of(name) else {
            return;
        };
        let holds = self.streams.at_mut(place).and_then(|stream| stream.publisher.as_ref());
        if holds.is_some_and(|publisher| publisher.claim == claim) {
            self.end_publisher(core, place, "another publisher took over");
        }
    }

    /// Ends the publisher of a stream that another takes over.
    fn end_publisher(&mut self, core: &mut Core<Message<K>, K>, place: usize, why: &str) {
        let Some(stream) = self.streams.at_mut(place) else {
            return;
        };
        let Some(conn) = stream.publisher.as_ref().and_then(|publisher| publisher.conn) else {
            return;
        };
        self.counters.publishers_replaced.add(1);
        self.with_peer(core, conn, |app, core, peer| {
            if let Some(session) = peer.session.dialogue() {
                session.replaced();
                app.unpublish(core, peer.address, session.role(), why.to_owned());
                session.transmit(core, conn);
                core.finish(conn);
            }
        });
    }

    /// The peer publishes no more, for whatever reason.
    pub(super) fn unpublish(
        &mut self,
        core: &mut Core<Message<K>, K>,
        address: SocketAddr,
        role: &mut Role,
        why: String,
    ) {
        // The last that muxers may say of a stream is said while the role still tells whose stream it is.
        if let Role::Publishing { claim, place, .. } = *role {
            self.publisher_left(core, address, place, claim, why);
        }
        match std::mem::replace(role, Role::None) {
            Role::Publishing { name, claim, .. } => {
                self.counters.publishers.sub(1);
                self.release(core, name, claim);
            }
            Role::Claiming { name, claim } | Role::Moving { name, claim } => self.release(core, name, claim),
            other => *role = other,
        }
    }

    pub(super) fn publisher_left(
        &mut self,
        core: &mut Core<Message<K>, K>,
        address: SocketAddr,
        place: usize,
        claim: ClaimId,
        why: String,
    ) {
        let now = core.now();
        let Some(stream) = self.streams.at_mut(place) else {
            return;
        };
        if stream
            .publisher
            .as_ref()
            .is_none_or(|publisher| publisher.claim != claim)
        {
            return;
        }
        stream.end_input(now, &self.counters);
        let Some(publisher) = stream.publisher.take() else {
            return;
        };
        let seconds = (now - publisher.since) / 1_000_000;
        let (frames, bytes) = (publisher.frames, publisher.bytes);
        info!(stream = stream.name.as_str(), peer = %address, seconds, frames, bytes, reason = why, "publisher left");
        self.stream_left_alone(core, place);
    }

    pub(super) fn release(&mut self, core: &mut Core<Message<K>, K>, name: StreamName, claim: ClaimId) {
        let arbiter = arbiter_of(&name, core.shards());
        self.deliver(core, arbiter, Message::Release { name, claim });
    }
}

/// A session that was exported to publish elsewhere; none if these bytes are none.
fn imported_publisher(protocol: Protocol, bytes: &[u8]) -> Option<Session> {
    match protocol {
        Protocol::Http => None,
        Protocol::Rtmp => {
            let session = rtmp::Session::import(bytes).ok()?;
            Some(Session::Rtmp(Box::new(RtmpPeer::resumed(session, Vec::new()))))
        }
        Protocol::Rtsp => {
            let session = RtspPeer::import(bytes)?;
            Some(Session::Rtsp(Box::new(session)))
        }
    }
}
