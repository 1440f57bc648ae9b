//! Publishers: admission, claim of the name, the move to the home shard, the end (DESIGN.md 4.5). All of it is done
//! before a publisher hears that it may begin.

use std::net::SocketAddr;

use penstock_proto::rtmp::{self, PublishRejection, StopReason};
use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, Detached};
use penstock_shard::kernel::Kernel;
use penstock_shard::mesh::ShardId;
use tracing::{info, warn};

use super::rtmp::{Role, RtmpPeer, play_name};
use super::{App, Peer, Session, guarded};
use crate::config::{SecondPublisher, Source};
use crate::counters::AppCounters;
use crate::directory::{Grant, arbiter_of};
use crate::messages::{ClaimId, Message, Moved, NameTaken};
use crate::names::{StreamName, percent_decoded};
use crate::stream::{Publisher, Stream};

/// A publish that is refused: the code, what the peer and the log are told, and the line that the configuration lacks.
struct Refusal {
    code: PublishRejection,
    why: String,
    add: Option<String>,
}

impl<K: Kernel> App<K> {
    /// A publisher asks: it is checked against the configuration, then the name is claimed. No password: the URL has one
    /// level, which is the name.
    pub(super) fn rtmp_publish(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtmpPeer,
        asked: &str,
        password: Option<&str>,
    ) {
        let admitted = self.admit(core.now(), asked, password.unwrap_or_default(), address);
        let (name, second) = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                self.log_refusal(asked, password, address, &refusal);
                let Refusal { code, why, add } = refusal;
                let why = add.map_or(why.clone(), |add| format!("{why}; add to streams: {add}"));
                return peer.session.reject_publish(code, &why);
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
            return peer
                .session
                .reject_publish(PublishRejection::Failed, "the server is too busy; try again");
        }
        peer.role = Role::Claiming { name, claim };
    }

    /// A passphrase in the place of the name is not logged, nor what was made of it.
    fn log_refusal(&self, asked: &str, password: Option<&str>, address: SocketAddr, refusal: &Refusal) {
        let Refusal { code, why, add } = refusal;
        let is_name = *code == PublishRejection::BadName;
        // A name that stands alone is the application, and may be a passphrase of somebody else's.
        let (asked, reason) = match password {
            None if is_name => ("", "the URL has no stream name: rtmp://HOST/PASSPHRASE/NAME"),
            _ if self.has_passphrase(asked) || self.has_passphrase(&percent_decoded(asked)) => (
                "",
                "a passphrase stands in the place of the stream name: rtmp://HOST/PASSPHRASE/NAME",
            ),
            _ => (asked, why.as_str()),
        };
        match add {
            Some(add) if !asked.is_empty() => {
                warn!(peer = %address, asked, reason, add_to_streams = %add, "publisher refused");
            }
            _ => warn!(peer = %address, asked, reason, "publisher refused"),
        }
    }

    fn admit(
        &self,
        now: u64,
        asked: &str,
        password: &str,
        address: SocketAddr,
    ) -> Result<(StreamName, SecondPublisher), Refusal> {
        let refusal = |code, why| Refusal { code, why, add: None };
        let name = self.stream_name(now, &play_name(asked), address).map_err(|error| {
            self.counters.publishers_refused_name.add(1);
            refusal(PublishRejection::BadName, error.to_string())
        })?;
        let Some(stream) = self.configured(&name) else {
            self.counters.publishers_refused_unknown.add(1);
            let why = format!("no stream {} is configured", name.base());
            let add = Some(streams_line(&name, address));
            return Err(Refusal {
                add,
                ..refusal(PublishRejection::BadName, why)
            });
        };
        let Source::Push(rule) = &stream.source else {
            self.counters.publishers_refused_rule.add(1);
            let why = format!("stream {} has a source of its own and takes no publisher", name.base());
            return Err(refusal(PublishRejection::Rejected, why));
        };
        // An encoder may have left the URL's escapes in it.
        let allowed = rule.allows(address.ip(), password, &self.hosts).or_else(|no| {
            rule.allows(address.ip(), &percent_decoded(password), &self.hosts)
                .map_err(|_| no)
        });
        allowed.map_err(|no| {
            self.counters.publishers_refused_rule.add(1);
            refusal(PublishRejection::Unauthorized, no.to_string())
        })?;
        Ok((name, stream.second_publisher))
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
            if let Session::Rtmp(session) = &mut peer.session {
                app.claim_answered(core, conn, peer.address, session, claim, home);
            }
        });
    }

    fn claim_answered(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtmpPeer,
        claim: ClaimId,
        home: Result<ShardId, NameTaken>,
    ) {
        let name = match &peer.role {
            Role::Claiming { name, claim: mine } if *mine == claim => name.clone(),
            _ => return,
        };
        match home {
            Err(taken) => {
                peer.role = Role::None;
                self.counters.publishers_refused_busy.add(1);
                let (code, why) = match taken {
                    NameTaken::Busy => (
                        PublishRejection::BadName,
                        format!("stream {} already has a publisher", name.as_str()),
                    ),
                    NameTaken::Full => (
                        PublishRejection::Failed,
                        "too many streams are published here; try again later".into(),
                    ),
                };
                warn!(peer = %address, stream = name.as_str(), reason = why, "publisher refused");
                peer.session.reject_publish(code, &why);
                self.rtmp_feed(core, conn, address, peer, &[]);
            }
            Ok(home) if home == core.id() => {
                self.begin_publish(core, conn, address, peer, name, claim);
                let pending = std::mem::take(&mut peer.pending);
                self.rtmp_feed(core, conn, address, peer, &pending);
            }
            Ok(_) => {
                peer.role = Role::Moving { name, claim };
                core.detach(conn);
            }
        }
    }

    /// Off this shard: everything of the publisher goes to its home.
    pub(super) fn move_publisher(
        &mut self,
        core: &mut Core<Message<K>, K>,
        address: SocketAddr,
        peer: RtmpPeer,
        detached: Detached<K::Socket>,
    ) {
        let Role::Moving { name, claim } = peer.role else {
            return self.addresses.leave(address.ip());
        };
        let mut session = Vec::new();
        let exported = guarded(|| {
            #[cfg(test)]
            crate::trap::spring(crate::trap::Step::Export);
            peer.session.export(&mut session);
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
            session,
            pending: peer.pending,
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
            session,
            pending,
        } = moved;
        let imported = guarded(|| {
            #[cfg(test)]
            crate::trap::spring(crate::trap::Step::Import);
            rtmp::Session::import(&session)
        });
        let Some(Ok(session)) = imported else {
            warn!(stream = name.as_str(), peer = %address, "a moved publisher could not be read");
            self.addresses.leave(address.ip());
            return self.moved_in_vain(core, name, claim);
        };
        let Some(conn) = core.adopt(detached) else {
            self.addresses.leave(address.ip());
            return self.release(core, name, claim);
        };
        let mut session = Box::new(RtmpPeer::resumed(session, Vec::new()));
        session.role = Role::Claiming {
            name: name.clone(),
            claim,
        };
        self.peers.insert(Peer::new(conn, address, Session::Rtmp(session)));
        self.with_peer(core, conn, |app, core, peer| {
            if let Session::Rtmp(session) = &mut peer.session {
                app.begin_publish(core, conn, address, session, name, claim);
                app.rtmp_feed(core, conn, address, session, &pending);
            }
        });
    }

    /// Ends a publisher on its way, which lost its name to another.
    fn turn_away(&mut self, core: &mut Core<Message<K>, K>, moved: Moved<K>) {
        self.counters.publishers_replaced.add(1);
        let imported = guarded(|| rtmp::Session::import(&moved.session).ok()).flatten();
        let adopted = imported.and_then(|session| Some((session, core.adopt(moved.detached)?)));
        let Some((session, conn)) = adopted else {
            return self.addresses.leave(moved.peer.ip());
        };
        let mut peer = RtmpPeer::resumed(session, Vec::new());
        let why = format!("another publisher took stream {} over", moved.name.as_str());
        warn!(peer = %moved.peer, stream = moved.name.as_str(), reason = why, "publisher refused");
        peer.session.reject_publish(PublishRejection::BadName, &why);
        peer.transmit(core, conn);
        core.finish(conn);
        self.peers
            .insert(Peer::new(conn, moved.peer, Session::Rtmp(Box::new(peer))));
    }

    /// At the home: the stream takes the publisher, and the peer hears of it.
    fn begin_publish(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtmpPeer,
        name: StreamName,
        claim: ClaimId,
    ) {
        let publisher = Publisher::new(claim, Some(conn), core.now());
        match self.take_publisher(core, &name, publisher) {
            Ok(place) => {
                #[cfg(test)]
                crate::trap::spring(crate::trap::Step::Accept);
                self.counters.publishers.add(1);
                self.counters.publishers_accepted.add(1);
                info!(stream = name.as_str(), peer = %address, shard = core.id().0, "publisher accepted");
                peer.role = Role::Publishing { name, claim, place };
                peer.session.accept_publish();
                peer.transmit(core, conn);
            }
            Err(why) => {
                warn!(stream = name.as_str(), peer = %address, reason = why, "publisher refused");
                peer.role = Role::None;
                peer.session.reject_publish(PublishRejection::Failed, &why);
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
            if let Session::Rtmp(session) = &mut peer.session {
                session.session.publish_stopped(StopReason::Replaced);
                app.rtmp_unpublish(core, peer.address, session, why.to_owned());
                session.transmit(core, conn);
                core.finish(conn);
            }
        });
    }

    /// The peer publishes no more, for whatever reason.
    pub(super) fn rtmp_unpublish(
        &mut self,
        core: &mut Core<Message<K>, K>,
        address: SocketAddr,
        peer: &mut RtmpPeer,
        why: String,
    ) {
        // The last that muxers may say of a stream is said while the role still tells whose stream it is.
        if let Role::Publishing { claim, place, .. } = peer.role {
            self.publisher_left(core, address, place, claim, why);
        }
        match std::mem::replace(&mut peer.role, Role::None) {
            Role::Publishing { name, claim, .. } => {
                self.counters.publishers.sub(1);
                self.release(core, name, claim);
            }
            Role::Claiming { name, claim } | Role::Moving { name, claim } => self.release(core, name, claim),
            role => peer.role = role,
        }
    }

    fn publisher_left(
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
        let Some(publisher) = stream.publisher.take_if(|publisher| publisher.claim == claim) else {
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

/// What the configuration lacks for a publisher, as it is written there.
fn streams_line(name: &StreamName, address: SocketAddr) -> String {
    let host = match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    };
    format!(r#""{}":{{"source":"push://{host}"}}"#, name.base())
}
