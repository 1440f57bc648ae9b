//! Publishers: admission, claim of the name, the move to the home shard, the end (DESIGN.md 4.5). All of it is done
//! before a publisher hears that it may begin.

use std::net::SocketAddr;

use penstock_proto::rtmp::{self, PublishRejection, StopReason};
use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, Detached};
use penstock_shard::mesh::ShardId;
use tracing::{info, warn};

use super::rtmp::{Role, RtmpPeer, play_name};
use super::{App, Peer, Session};
use crate::config::{SecondPublisher, Source};
use crate::directory::{Grant, arbiter_of};
use crate::messages::{ClaimId, Message, Moved};
use crate::names::StreamName;
use crate::stream::{Publisher, Stream};

/// A publish that is refused: the code, and what the peer and the log are told.
struct Refusal {
    code: PublishRejection,
    why: String,
}

impl App {
    /// A publisher asks: it is checked against the configuration, then the name is claimed.
    pub(super) fn rtmp_publish(
        &mut self,
        core: &mut Core<Message>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtmpPeer,
        asked: &str,
        password: &str,
    ) {
        let admitted = self.admit(asked, password, address);
        let (name, second) = match admitted {
            Ok(admitted) => admitted,
            Err(Refusal { code, why }) => {
                warn!(peer = %address, asked, reason = why, "publisher refused");
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
        if core.send_message(arbiter, question).is_err() {
            return peer
                .session
                .reject_publish(PublishRejection::Failed, "the server is too busy; try again");
        }
        peer.role = Role::Claiming { name, claim };
    }

    fn admit(
        &self,
        asked: &str,
        password: &str,
        address: SocketAddr,
    ) -> Result<(StreamName, SecondPublisher), Refusal> {
        let name = self.stream_name(play_name(asked), address).map_err(|error| {
            self.counters.publishers_refused_name.add(1);
            Refusal {
                code: PublishRejection::BadName,
                why: error.to_string(),
            }
        })?;
        let Some(stream) = self.configured(&name) else {
            self.counters.publishers_refused_unknown.add(1);
            let why = format!(
                "no stream {} is configured; add it to streams with a push:// source",
                name.base()
            );
            return Err(Refusal {
                code: PublishRejection::BadName,
                why,
            });
        };
        let Source::Push(rule) = &stream.source else {
            self.counters.publishers_refused_rule.add(1);
            let why = format!("stream {} has a source of its own and takes no publisher", name.base());
            return Err(Refusal {
                code: PublishRejection::Rejected,
                why,
            });
        };
        rule.allows(address.ip(), password).map_err(|refusal| {
            self.counters.publishers_refused_rule.add(1);
            Refusal {
                code: PublishRejection::Unauthorized,
                why: refusal.to_string(),
            }
        })?;
        Ok((name, stream.second_publisher))
    }

    /// As arbiter: who gets the name.
    pub(super) fn arbitrate(
        &mut self,
        core: &mut Core<Message>,
        name: StreamName,
        claim: ClaimId,
        from: ShardId,
        conn: ConnId,
        second: SecondPublisher,
    ) {
        let home = match self.directory.claim(&name, claim, from, second) {
            Grant::Granted { home } => Some(home),
            Grant::Replaced { home, former } => {
                let end = Message::Replace {
                    name: name.clone(),
                    claim: former,
                };
                // The newer publisher ends it too, when it arrives.
                self.report_refused(core.send_message(home, end));
                Some(home)
            }
            Grant::Busy | Grant::Full => None,
        };
        if core.send_message(from, Message::Claimed { conn, claim, home }).is_err() && home.is_some() {
            self.directory.release(&name, claim);
        }
    }

    /// The arbiter has answered.
    pub(super) fn claimed(&mut self, core: &mut Core<Message>, conn: ConnId, claim: ClaimId, home: Option<ShardId>) {
        let Some(mut peer) = self.peers.take(conn) else { return };
        let address = peer.address;
        if let Session::Rtmp(session) = &mut peer.session {
            self.claim_answered(core, conn, address, session, claim, home);
        }
        self.peers.insert(peer);
    }

    fn claim_answered(
        &mut self,
        core: &mut Core<Message>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtmpPeer,
        claim: ClaimId,
        home: Option<ShardId>,
    ) {
        let name = match &peer.role {
            Role::Claiming { name, claim: mine } if *mine == claim => name.clone(),
            _ => return,
        };
        match home {
            None => {
                peer.role = Role::None;
                self.counters.publishers_refused_busy.add(1);
                let why = format!("stream {} already has a publisher", name.as_str());
                warn!(peer = %address, stream = name.as_str(), reason = why, "publisher refused");
                peer.session.reject_publish(PublishRejection::BadName, &why);
                self.rtmp_feed(core, conn, address, peer, &[]);
            }
            Some(home) if home == core.id() => {
                self.begin_publish(core, conn, address, peer, name, claim);
                let pending = std::mem::take(&mut peer.pending);
                self.rtmp_feed(core, conn, address, peer, &pending);
            }
            Some(_) => {
                peer.role = Role::Moving { name, claim };
                core.detach(conn);
            }
        }
    }

    /// Off this shard: everything of the publisher goes to its home.
    pub(super) fn move_publisher(
        &mut self,
        core: &mut Core<Message>,
        address: SocketAddr,
        peer: RtmpPeer,
        detached: Detached,
    ) {
        let Role::Moving { name, claim } = peer.role else {
            return;
        };
        let mut session = Vec::new();
        peer.session.export(&mut session);
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
        if core.send_message(arbiter, Message::Move(Box::new(moved))).is_err() {
            warn!(stream = name.as_str(), peer = %address, "a shard's inbox is full: a publisher is dropped");
        }
    }

    /// A publisher arrives at its home, or on its way at the arbiter.
    pub(super) fn publisher_moved_here(&mut self, core: &mut Core<Message>, moved: Moved) {
        if arbiter_of(&moved.name, core.shards()) == core.id()
            && let Some(home) = self.directory.home(&moved.name)
            && home != core.id()
        {
            let (name, claim) = (moved.name.clone(), moved.claim);
            if core.send_message(home, Message::Move(Box::new(moved))).is_err() {
                self.directory.release(&name, claim);
            }
            return;
        }
        let Moved {
            name,
            claim,
            detached,
            peer: address,
            session,
            pending,
        } = moved;
        let Ok(session) = rtmp::Session::import(&session) else {
            warn!(stream = name.as_str(), peer = %address, "a moved publisher could not be read");
            return self.release(core, name, claim);
        };
        let Some(conn) = core.adopt(detached) else {
            return self.release(core, name, claim);
        };
        let mut peer = RtmpPeer::resumed(session, Vec::new());
        self.begin_publish(core, conn, address, &mut peer, name, claim);
        self.rtmp_feed(core, conn, address, &mut peer, &pending);
        self.peers.insert(Peer {
            id: conn,
            address,
            session: Session::Rtmp(Box::new(peer)),
        });
    }

    /// At the home: the stream takes the publisher, and the peer hears of it.
    fn begin_publish(
        &mut self,
        core: &mut Core<Message>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtmpPeer,
        name: StreamName,
        claim: ClaimId,
    ) {
        let publisher = Publisher::new(claim, Some(conn), core.now());
        match self.take_publisher(core, &name, publisher) {
            Ok(place) => {
                self.counters.publishers.add(1);
                self.counters.publishers_accepted.add(1);
                info!(stream = name.as_str(), peer = %address, shard = core.id().0, "publisher accepted");
                peer.session.accept_publish();
                peer.role = Role::Publishing { name, claim, place };
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
        core: &mut Core<Message>,
        name: &StreamName,
        publisher: Publisher,
    ) -> Result<usize, String> {
        if let Some(place) = self.streams.place_of(name) {
            self.end_publisher(core, place, "another publisher took over");
            if let Some(stream) = self.streams.at_mut(place) {
                stream.publisher_came(publisher);
            }
            return Ok(place);
        }
        let settings = self
            .configured(name)
            .cloned()
            .ok_or_else(|| format!("no stream {} is configured", name.base()))?;
        let lag_max_micros = u64::from(self.config.machine.lag_max_millis) * 1000;
        let stream = Stream::create(name.clone(), settings, lag_max_micros, publisher, core.pool())
            .map_err(|_| "the memory budget is used up: raise memory_bytes".to_owned())?;
        self.counters.streams.add(1);
        Ok(self.streams.insert(stream))
    }

    /// The arbiter gave the name to another.
    pub(super) fn replace_publisher(&mut self, core: &mut Core<Message>, name: &StreamName, claim: ClaimId) {
        let Some(place) = self.streams.place_of(name) else {
            return;
        };
        let holds = self.streams.at_mut(place).and_then(|stream| stream.publisher.as_ref());
        if holds.is_some_and(|publisher| publisher.claim == claim) {
            self.end_publisher(core, place, "another publisher took over");
        }
    }

    /// Ends the publisher of a stream that another takes over.
    fn end_publisher(&mut self, core: &mut Core<Message>, place: usize, why: &str) {
        let Some(stream) = self.streams.at_mut(place) else {
            return;
        };
        let Some(conn) = stream.publisher.as_ref().and_then(|publisher| publisher.conn) else {
            return;
        };
        self.counters.publishers_replaced.add(1);
        let Some(mut peer) = self.peers.take(conn) else { return };
        if let Session::Rtmp(session) = &mut peer.session {
            session.session.publish_stopped(StopReason::Replaced);
            self.rtmp_unpublish(core, peer.address, session, why.to_owned());
            session.transmit(core, conn);
            core.finish(conn);
        }
        self.peers.insert(peer);
    }

    /// The peer publishes no more, for whatever reason.
    pub(super) fn rtmp_unpublish(
        &mut self,
        core: &mut Core<Message>,
        address: SocketAddr,
        peer: &mut RtmpPeer,
        why: String,
    ) {
        match std::mem::replace(&mut peer.role, Role::None) {
            Role::Publishing { name, claim, place } => {
                self.counters.publishers.sub(1);
                self.publisher_left(core, address, place, claim, why);
                self.release(core, name, claim);
            }
            Role::Claiming { name, claim } | Role::Moving { name, claim } => self.release(core, name, claim),
            role => peer.role = role,
        }
    }

    fn publisher_left(
        &mut self,
        core: &mut Core<Message>,
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

    pub(super) fn release(&mut self, core: &mut Core<Message>, name: StreamName, claim: ClaimId) {
        let arbiter = arbiter_of(&name, core.shards());
        if core.send_message(arbiter, Message::Release { name, claim }).is_err() {
            warn!("a shard's inbox is full: a name stays taken until its stream is gone");
        }
    }
}
