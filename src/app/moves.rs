//! Viewers on their way from one shard to another: before they are served, and while they watch (DESIGN.md 4.5).
//!
//! Where to is decided in `placement`. A viewer that leaves is detached as publishers are: its session goes as bytes, its
//! place in the feed with its connection, its share of the tables here is given back and taken again there. While it is
//! leaving it is sent nothing, and what it says is kept for its session.

use penstock_proto::{http, rtmp};
use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, Detached, FeedId};
use penstock_shard::kernel::Kernel;
use penstock_shard::mesh::ShardId;
use tracing::warn;

use std::net::SocketAddr;

use super::dialogue::Role;
use super::http::{HttpPeer, State};
use super::rtmp::RtmpPeer;
use super::rtsp::RtspPeer;
use super::viewers::Answer;
use super::{App, Peer, Session, guarded};
use crate::limits;
use crate::messages::{Message, MovedViewer, Progress, Settling};
use crate::names::StreamName;
use crate::registry::{PROGRESSIVE, Packaging};

/// What a viewer's session remembers of where it has been.
#[derive(Debug)]
pub(super) struct Travel {
    /// It is being taken off this shard.
    pub leaving: Option<Leaving>,
    pub settling: Settling,
    /// Until then it is not moved (µs).
    rests_until: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Leaving {
    to: ShardId,
    settling: Settling,
    name: StreamName,
    packaging: Packaging,
    /// The offer that it was given a seat for.
    pub offer: Option<u64>,
}

impl Default for Travel {
    fn default() -> Self {
        Travel {
            leaving: None,
            settling: Settling::Free,
            rests_until: 0,
        }
    }
}

impl Travel {
    /// Who has been moved while it watched stays for a while.
    fn arrived(settling: Settling, progress: Progress, now: u64) -> Travel {
        let rest = if progress.is_watching() {
            limits::MOVED_REST_MICROS
        } else {
            0
        };
        Travel {
            leaving: None,
            settling,
            rests_until: now + rest,
        }
    }
}

impl Peer {
    pub fn travel(&self) -> &Travel {
        match &self.session {
            Session::Http(session) => &session.travel,
            Session::Rtmp(session) => &session.travel,
            Session::Rtsp(session) => &session.travel,
            Session::Pull(session) => &session.travel,
        }
    }

    fn travel_mut(&mut self) -> &mut Travel {
        match &mut self.session {
            Session::Http(session) => &mut session.travel,
            Session::Rtmp(session) => &mut session.travel,
            Session::Rtsp(session) => &mut session.travel,
            Session::Pull(session) => &mut session.travel,
        }
    }

    /// Watching, and neither on its way nor just moved.
    pub fn is_at_rest(&self, now: u64) -> bool {
        let is_watching = match &self.session {
            Session::Http(session) => session.is_watching(),
            Session::Rtmp(session) => session.is_watching(),
            Session::Rtsp(session) => session.is_movable(),
            Session::Pull(_) => false,
        };
        is_watching && self.travel().leaving.is_none() && self.travel().rests_until <= now
    }
}

impl HttpPeer {
    fn progress(&self) -> Progress {
        match &self.state {
            // They are served where they are: a connection's next request may be for another stream.
            State::Idle | State::Fetching(_) | State::Sending | State::Tunnel(_) => Progress::Idle,
            State::Asking { .. } => Progress::Asking { since: None },
            State::Watching { since, .. } => Progress::Watching { since: *since },
        }
    }
}

impl Role {
    fn progress(&self) -> Progress {
        match self {
            Role::Asking { since, .. } => Progress::Asking { since: *since },
            Role::Watching { since, .. } => Progress::Watching { since: *since },
            Role::Paused { since, .. } => Progress::Paused { since: *since },
            Role::None
            | Role::Claiming { .. }
            | Role::Moving { .. }
            | Role::Publishing { .. }
            | Role::Describing { .. } => Progress::Idle,
        }
    }
}

impl<K: Kernel> App<K> {
    /// The answer to a viewer's question, unless it is to go to another shard: then it leaves, or, when it was sent here
    /// before, asks again as one that stays.
    pub(super) fn or_elsewhere(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        question: (&StreamName, Option<Packaging>),
        travel: &mut Travel,
        answer: Answer,
    ) -> Option<Answer> {
        let Answer::Elsewhere { shard, settling } = answer else {
            return Some(answer);
        };
        let (name, Some(packaging)) = question else {
            return Some(Answer::NotThere);
        };
        if matches!(travel.settling, Settling::Settled | Settling::Returned) {
            return self.ask(core, conn, name, Some(packaging), travel.settling);
        }
        self.leaves_for(core, conn, travel, (name, packaging), (shard, settling));
        None
    }

    /// A viewer that asks goes to another shard.
    pub(super) fn leaves_for(
        &self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        travel: &mut Travel,
        (name, packaging): (&StreamName, Packaging),
        (to, settling): (ShardId, Settling),
    ) {
        travel.leaving = Some(Leaving {
            to,
            settling,
            name: name.clone(),
            packaging,
            offer: None,
        });
        core.detach(conn);
    }

    /// A viewer that watches `key` takes the seat that `to` gave; false when it is not there any more.
    pub(super) fn takes_seat(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        key: (&StreamName, Packaging),
        to: ShardId,
        offer: u64,
    ) -> bool {
        let (now, (name, packaging)) = (core.now(), key);
        let Some(peer) = self.peers.get_mut(conn).filter(|peer| peer.is_at_rest(now)) else {
            return false;
        };
        peer.travel_mut().leaving = Some(Leaving {
            to,
            settling: Settling::Settled,
            name: name.clone(),
            packaging,
            offer: Some(offer),
        });
        core.detach(conn);
        true
    }

    /// Off this shard: everything of the viewer goes to where it will be served.
    pub(super) fn viewer_leaves(
        &mut self,
        core: &mut Core<Message<K>, K>,
        address: SocketAddr,
        mut session: Session,
        detached: Detached<K::Socket>,
    ) {
        let mut exported = Vec::new();
        let (travel, progress, pending) = match &mut session {
            Session::Http(peer) => (&peer.travel, peer.progress(), std::mem::take(&mut peer.pending)),
            Session::Rtmp(peer) => (&peer.travel, peer.role.progress(), std::mem::take(&mut peer.pending)),
            Session::Rtsp(peer) => (&peer.travel, peer.role.progress(), std::mem::take(&mut peer.pending)),
            // It stays where its stream is.
            Session::Pull(_) => return,
        };
        let Some(leaving) = travel.leaving.clone() else {
            return self.addresses.leave(address.ip());
        };
        self.counters.viewers.sub(u64::from(progress.is_counted()));
        let done = guarded(|| {
            #[cfg(test)]
            crate::trap::spring(crate::trap::Step::Export);
            match &session {
                Session::Http(peer) => peer.session.export(&mut exported),
                Session::Rtmp(peer) => peer.session.export(&mut exported),
                Session::Rtsp(peer) => peer.export(&mut exported),
                Session::Pull(_) => {}
            }
        });
        if done.is_none() {
            core.counters().connections_panicked.add(1);
            self.addresses.leave(address.ip());
            return self.seat_left(core, leaving.offer, 0);
        }
        let moved = MovedViewer {
            name: leaving.name,
            packaging: leaving.packaging,
            from: core.id(),
            progress,
            settling: leaving.settling,
            detached,
            peer: address,
            session: exported,
            pending,
        };
        match leaving.offer {
            Some(_) => self.counters.viewers_moved.add(1),
            None => self.counters.viewers_placed.add(1),
        }
        self.deliver(core, leaving.to, Message::Viewer(Box::new(moved)));
        self.seat_left(core, leaving.offer, 1);
    }

    /// A connection has ended; had it a seat elsewhere, that is not taken.
    pub(super) fn stays_empty(&mut self, core: &mut Core<Message<K>, K>, peer: &Peer) {
        if let Some(leaving) = &peer.travel().leaving {
            self.seat_left(core, leaving.offer, 0);
        }
    }

    /// A viewer arrives where it will be served.
    pub(super) fn viewer_arrives(&mut self, core: &mut Core<Message<K>, K>, mut moved: MovedViewer<K>) {
        if moved.settling == Settling::ToHome && self.streams.place_of(&moved.name).is_none() {
            let name = moved.name.clone();
            self.deliver(core, moved.from, Message::NotHome { name });
        }
        if moved.progress.is_watching() {
            let feed = self.seat_taken(core, &moved);
            if feed.is_none() {
                warn!(stream = moved.name.as_str(), peer = %moved.peer, "a moved viewer has no seat");
                core.counters().connections_panicked.add(1);
                return self.addresses.leave(moved.peer.ip());
            }
            return self.take_in(core, moved, feed);
        }
        if core.room() > 0 {
            return self.take_in(core, moved, None);
        }
        if moved.settling == Settling::Returned {
            core.counters().connections_refused_full.add(1);
            return self.addresses.leave(moved.peer.ip());
        }
        moved.settling = Settling::Returned;
        let back = std::mem::replace(&mut moved.from, core.id());
        self.deliver(core, back, Message::Viewer(Box::new(moved)));
    }

    fn take_in(&mut self, core: &mut Core<Message<K>, K>, moved: MovedViewer<K>, feed: Option<FeedId>) {
        let MovedViewer {
            name,
            packaging,
            progress,
            settling,
            detached,
            peer: address,
            session,
            pending,
            ..
        } = moved;
        let travel = Travel::arrived(settling, progress, core.now());
        let imported = guarded(|| {
            #[cfg(test)]
            crate::trap::spring(crate::trap::Step::Import);
            imported(&session, &name, packaging, progress, travel)
        });
        let Some(Some(session)) = imported else {
            warn!(stream = name.as_str(), peer = %address, "a moved viewer could not be read");
            core.counters().connections_panicked.add(1);
            return self.addresses.leave(address.ip());
        };
        let conn = match feed {
            Some(feed) => core.adopt_viewer(detached, feed),
            None => core.adopt(detached),
        };
        let Some(conn) = conn else {
            return self.addresses.leave(address.ip());
        };
        self.counters.viewers.add(u64::from(progress.is_counted()));
        self.keep_time(core);
        self.peers.insert(Peer::new(conn, address, session));
        if self.stopping && !progress.is_watching() {
            return core.finish(conn);
        }
        self.with_peer(core, conn, |app, core, peer| match &mut peer.session {
            Session::Http(session) => app.http_goes_on(core, conn, address, session, pending),
            Session::Rtmp(session) => app.rtmp_goes_on(core, conn, address, session, pending),
            Session::Rtsp(session) => app.rtsp_goes_on(core, conn, address, session, pending),
            Session::Pull(_) => {}
        });
    }

    fn http_goes_on(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut HttpPeer,
        pending: Vec<u8>,
    ) {
        peer.pending = pending;
        if let State::Asking { name, packaging, .. } = &peer.state {
            let answer = self.ask(core, conn, name, *packaging, peer.travel.settling);
            return match answer {
                Some(answer) => self.http_answered(core, conn, address, peer, answer),
                None => peer.set_deadline(core, conn),
            };
        }
        let pending = std::mem::take(&mut peer.pending);
        self.http_feed(core, conn, address, peer, &pending);
    }

    fn rtmp_goes_on(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtmpPeer,
        pending: Vec<u8>,
    ) {
        peer.pending = pending;
        if let Role::Asking { name, packaging, .. } = &peer.role {
            let answer = self.ask(core, conn, name, Some(*packaging), peer.travel.settling);
            return match answer {
                Some(answer) => self.rtmp_answered(core, conn, address, peer, answer),
                None => peer.set_deadline(core, conn),
            };
        }
        let pending = std::mem::take(&mut peer.pending);
        self.rtmp_feed(core, conn, address, peer, &pending);
    }

    fn rtsp_goes_on(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
        pending: Vec<u8>,
    ) {
        peer.pending = pending;
        if let Role::Asking { name, packaging, .. } = &peer.role {
            let answer = self.ask(core, conn, name, Some(*packaging), peer.travel.settling);
            return match answer {
                Some(answer) => self.rtsp_answered(core, conn, address, peer, answer),
                None => self.rtsp_set_deadline(core, conn, peer),
            };
        }
        let pending = std::mem::take(&mut peer.pending);
        self.rtsp_feed(core, conn, address, peer, &pending);
    }
}

fn imported(
    session: &[u8],
    name: &StreamName,
    packaging: Packaging,
    progress: Progress,
    travel: Travel,
) -> Option<Session> {
    let name = name.clone();
    let role = match progress {
        Progress::Idle => Role::None,
        Progress::Asking { since } => Role::Asking {
            name: name.clone(),
            packaging,
            since,
        },
        Progress::Watching { since } => Role::Watching {
            name: name.clone(),
            packaging,
            since,
        },
        Progress::Paused { since } => Role::Paused {
            name: name.clone(),
            packaging,
            since,
        },
    };
    match packaging {
        Packaging::Rtmp { .. } => {
            let mut peer = RtmpPeer::resumed(rtmp::Session::import(session).ok()?, Vec::new());
            (peer.role, peer.travel) = (role, travel);
            Some(Session::Rtmp(Box::new(peer)))
        }
        Packaging::Rtsp(_) => {
            let mut peer = RtspPeer::import(session)?;
            (peer.role, peer.travel) = (role, travel);
            Some(Session::Rtsp(Box::new(peer)))
        }
        Packaging::Flv | Packaging::Ts | Packaging::Mp4 => {
            let session = http::Session::import(session).ok()?;
            let progressive = PROGRESSIVE.iter().find(|one| one.packaging == packaging)?;
            let state = match progress {
                Progress::Asking { .. } => State::Asking {
                    name,
                    progressive,
                    packaging: Some(packaging),
                },
                Progress::Watching { since } => State::Watching {
                    name,
                    progressive,
                    since,
                },
                Progress::Idle | Progress::Paused { .. } => State::Idle,
            };
            Some(Session::Http(Box::new(HttpPeer::resumed(session, state, travel))))
        }
    }
}

impl Progress {
    fn is_watching(self) -> bool {
        matches!(self, Progress::Watching { .. })
    }

    /// Whether it is a viewer in the counters.
    fn is_counted(self) -> bool {
        match self {
            Progress::Idle => false,
            Progress::Asking { since } => since.is_some(),
            Progress::Watching { .. } | Progress::Paused { .. } => true,
        }
    }
}
