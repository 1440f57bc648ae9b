//! RTSP peers: publishers and players of one dialogue. What they ask for is answered in `publishing` and `viewing`.
//!
//! The session says one thing at a time and takes no input before it is answered; what comes meanwhile is kept. A player is
//! told where its packets begin before the first of them goes: PLAY is answered when its cursor stands at a join point.

mod carry;
pub(in crate::app) mod datagrams;
pub(in crate::app) mod groups;
mod losses;
mod publishing;
mod ranges;
pub(in crate::app) mod tunnel;
mod viewing;

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;

use penstock_proto::rtp::Arrival;
use penstock_proto::rtsp::{self, Event, Output, Part};
use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, End};
use penstock_shard::fanout::Route;
use penstock_shard::kernel::Kernel;
use penstock_shard::sys::clock;
use tracing::debug;

use super::dialogue::Role;
use super::moves::Travel;
use super::{App, reason};
use crate::limits;
use crate::messages::Message;
use crate::names::StreamName;
use crate::registry::Packaging;
use crate::stream::Piece;

use losses::Losses;
use publishing::{Announced, Challenged};
use ranges::Unit;
use tunnel::Tunnel;
use viewing::Described;

#[derive(Debug)]
pub(super) struct RtspPeer {
    session: rtsp::Session,
    /// Input that the session has not taken, because it waits for a decision.
    pub pending: Vec<u8>,
    pub role: Role,
    pub travel: Travel,
    presentation: Presentation,
    challenged: Option<Challenged>,
    was_challenged: bool,
    /// Where a player by UDP gets its packets.
    routes: Option<Vec<Route>>,
    /// Where it sends from by UDP.
    addresses: Vec<SocketAddr>,
    tunnel: Tunnel,
    unit: Unit,
    /// The stream whose groups it listens to.
    listens: Option<StreamName>,
    losses: Losses,
    /// Its stream has ended: until then it may go by itself (µs).
    leaves_by: Option<u64>,
    /// It asked for a description with groups.
    wants_groups: bool,
    /// What its socket had taken when that was last looked at.
    bytes_sent: u64,
}

/// What the session's media are.
#[derive(Debug)]
enum Presentation {
    None,
    Described(Described),
    Announced(Announced),
}

impl RtspPeer {
    pub fn new<K: Kernel>(core: &mut Core<Message<K>, K>, conn: ConnId) -> Self {
        RtspPeer::begun(core, conn, rtsp::Session::new)
    }

    /// One half of a tunnel; of both, the one that goes down has the dialogue.
    fn tunnelled<K: Kernel>(core: &mut Core<Message<K>, K>, conn: ConnId, tunnel: Tunnel) -> Self {
        let mut peer = match tunnel {
            Tunnel::Down(_) => RtspPeer::begun(core, conn, rtsp::Session::tunnelled),
            _ => RtspPeer::resumed(rtsp::Session::new(core.now() / 1000, 0, 0)),
        };
        peer.tunnel = tunnel;
        peer
    }

    fn begun<K: Kernel>(
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        session: fn(u64, u64, u64) -> rtsp::Session,
    ) -> Self {
        let now = core.now() / 1000;
        let wall = u64::try_from(clock::wall_micros() / 1000).unwrap_or(0);
        // Keyed by the system's randomness: what it makes proves who a session is.
        let seed = RandomState::new().hash_one((now, conn.number()));
        let session = session(now, wall, seed);
        core.set_deadline(conn, session.poll_timeout().map(|millis| millis * 1000));
        RtspPeer::resumed(session)
    }

    fn resumed(session: rtsp::Session) -> Self {
        RtspPeer {
            session,
            pending: Vec::new(),
            role: Role::None,
            travel: Travel::default(),
            presentation: Presentation::None,
            challenged: None,
            was_challenged: false,
            routes: None,
            addresses: Vec::new(),
            tunnel: Tunnel::None,
            unit: Unit::default(),
            listens: None,
            losses: Losses::default(),
            leaves_by: None,
            wants_groups: false,
            bytes_sent: 0,
        }
    }

    pub fn is_watching(&self) -> bool {
        matches!(self.role, Role::Watching { .. })
    }

    /// Whether it gets its packets by multicast.
    pub fn listens(&self) -> bool {
        self.listens.is_some()
    }

    /// It watches, and could do so on another shard.
    pub fn is_movable(&self) -> bool {
        self.is_watching() && !self.is_joining() && self.is_portable()
    }

    /// The question that waits for its answer.
    pub fn asks(&self) -> Option<(&StreamName, Option<Packaging>)> {
        match &self.role {
            Role::Asking { name, packaging, .. } => Some((name, Some(*packaging))),
            Role::Describing { name } => Some((name, None)),
            _ => None,
        }
    }

    /// What it holds of its peer's input.
    pub fn held_bytes(&self) -> usize {
        self.session.bytes() + self.pending.capacity()
    }

    /// It joins a feed, and is not told yet that it may play.
    fn is_joining(&self) -> bool {
        self.is_watching() && self.session.awaits_decision()
    }
}

impl<K: Kernel> App<K> {
    /// Gives the session what it takes; the rest is kept.
    pub(super) fn rtsp_feed(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
        mut bytes: &[u8],
    ) {
        while peer.travel.leaving.is_none() {
            let taken = match peer.session.handle_input(core.now() / 1000, bytes) {
                Ok(taken) => taken,
                Err(error) => return self.rtsp_broken(core, conn, address, peer, &error),
            };
            bytes = &bytes[taken..];
            let drained = self.rtsp_drain(core, conn, address, peer);
            let is_leaving = matches!(peer.role, Role::Moving { .. }) || peer.travel.leaving.is_some();
            if taken == 0 && drained == 0 || is_leaving {
                break;
            }
        }
        peer.pending.extend_from_slice(bytes);
        if let Role::Publishing { place, .. } = peer.role {
            self.flush_stream(core, place);
        }
        self.rtsp_set_deadline(core, conn, peer);
    }

    fn rtsp_broken(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
        error: &rtsp::Error,
    ) {
        self.counters.protocol_errors.add(1);
        debug!(peer = %address, %error, "RTSP peer broke the protocol");
        peer.pending.clear();
        if let Role::Publishing { place, .. } = peer.role {
            self.flush_stream(core, place);
        }
        // Who was let in leaves with a line in the log; anybody else can say nonsense as often as he likes.
        self.rtsp_leaves(core, conn, address, peer, &format!("broke the protocol: {error}"));
        core.finish(conn);
    }

    /// Whatever the peer was, it is no more.
    fn rtsp_leaves(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
        why: &str,
    ) {
        core.leave_feed(conn);
        self.rtsp_listens_no_more(core, conn, peer);
        self.unpublish(core, address, &mut peer.role, why.to_owned());
        self.viewer_gone(core, conn, address, &mut peer.role, why.to_owned());
    }

    /// Acts on what the session has to say; how many outputs there were.
    fn rtsp_drain(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
    ) -> usize {
        let mut outputs = 0;
        loop {
            let event = match peer.session.poll_output() {
                None => return outputs,
                Some(Output::Transmit(bytes)) => {
                    core.send(conn, bytes);
                    None
                }
                Some(Output::Packet { medium, part, packet }) => {
                    match peer.role {
                        Role::Publishing { place, .. } => {
                            let packet = Piece::Packet {
                                medium,
                                part,
                                arrival: Arrival::Interleaved,
                                bytes: packet,
                            };
                            self.push_media(core, place, &packet);
                        }
                        _ if part == Part::Rtcp => peer.losses.note(medium, packet, &self.counters),
                        _ => {}
                    }
                    None
                }
                Some(Output::Event(event)) => Some(event),
            };
            outputs += 1;
            if let Some(event) = event {
                self.rtsp_event(core, conn, address, peer, event);
            }
        }
    }

    fn rtsp_event(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
        event: Event,
    ) {
        match event {
            Event::DescribeRequested { target, .. } => {
                self.rtsp_turns(core, conn, address, peer);
                self.rtsp_describe(core, conn, address, peer, &target);
            }
            Event::AnnounceRequested {
                target,
                description,
                credentials,
            } => {
                self.rtsp_turns(core, conn, address, peer);
                self.rtsp_announced(core, conn, address, peer, (&target, &description), credentials.as_ref());
            }
            // It would go past the seal, for everybody to see.
            Event::PortsRequested { .. } | Event::GroupRequested { .. } if core.is_sealed(conn) => {
                peer.session.transport_refused();
            }
            Event::PortsRequested {
                medium, peer: theirs, ..
            } if !peer.is_tunnelled() => self.rtsp_ports(conn, address, peer, medium, theirs),
            // Its address is a proxy's.
            Event::PortsRequested { .. } => peer.session.transport_refused(),
            Event::GroupRequested { medium } => self.rtsp_group(peer, medium),
            Event::PlayRequested { lanes, range, .. } => {
                if self.rtsp_has_range(peer, range) {
                    self.rtsp_play(core, conn, address, peer, &lanes);
                }
            }
            Event::RecordRequested { lanes, .. } => self.rtsp_record(core, peer, &lanes),
            Event::Paused => self.rtsp_paused(core, conn, peer),
            Event::TornDown => {
                let why = match peer.role {
                    Role::Publishing { .. } => "unpublished",
                    _ => "stopped",
                };
                self.rtsp_leaves(core, conn, address, peer, why);
            }
            Event::TunnelRequested(opening) => self.tunnel_opens(core, conn, peer, opening),
            Event::Closed => core.finish(conn),
        }
    }

    /// The peer turns to something else: a paused player, or a publisher that has not begun, is none any more.
    fn rtsp_turns(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, address: SocketAddr, peer: &mut RtspPeer) {
        self.rtsp_leaves(core, conn, address, peer, "turned to another stream");
        peer.leaves_by = None;
        peer.presentation = Presentation::None;
    }

    pub(super) fn rtsp_set_deadline(&self, core: &mut Core<Message<K>, K>, conn: ConnId, peer: &RtspPeer) {
        let of_session = peer.session.poll_timeout().map(|millis| millis * 1000);
        let at = match peer.role {
            Role::Asking { .. } | Role::Describing { .. } => Some(core.now() + limits::OPEN_WAIT_MICROS),
            _ if peer.is_joining() => Some(core.now() + limits::OPEN_WAIT_MICROS),
            Role::Publishing { place, .. } => {
                let of_input = self.streams.at(place).and_then(|stream| stream.publisher.as_ref());
                let of_input = of_input.and_then(|publisher| publisher.input.poll_timeout());
                of_session.into_iter().chain(of_input).min()
            }
            _ => of_session.into_iter().chain(peer.leaves_by).min(),
        };
        core.set_deadline(conn, at);
    }

    pub(super) fn rtsp_deadline(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
    ) {
        // Where it goes to, its time goes on.
        if peer.travel.leaving.is_some() {
            return;
        }
        if peer.is_half() {
            return self.tunnel_waits_no_longer(core, conn, peer);
        }
        if peer.leaves_by.is_some_and(|at| at <= core.now()) {
            peer.session.close();
            self.rtsp_drain(core, conn, address, peer);
            return core.finish(conn);
        }
        if let Role::Publishing { place, .. } = peer.role {
            self.rtsp_input_time(core, (conn, address), peer, place);
        }
        self.rtsp_note_progress(core, conn, peer);
        if !self.rtsp_wait_is_over(core, conn, address, peer)
            && let Err(error) = peer.session.handle_timeout(core.now() / 1000)
        {
            match error {
                rtsp::Error::Idle { .. } | rtsp::Error::NothingAsked { .. } => self.counters.connections_idle.add(1),
                _ => self.counters.connections_slow.add(1),
            }
            debug!(peer = %address, %error, "RTSP peer timed out");
            self.rtsp_leaves(core, conn, address, peer, &error.to_string());
            self.rtsp_drain(core, conn, address, peer);
            return core.finish(conn);
        }
        let pending = std::mem::take(&mut peer.pending);
        self.rtsp_feed(core, conn, address, peer, &pending);
    }

    /// A player that takes what it is sent lives, be it as silent as it likes.
    fn rtsp_note_progress(&self, core: &Core<Message<K>, K>, conn: ConnId, peer: &mut RtspPeer) {
        let sent = core.bytes_sent(conn);
        if peer.is_watching() && std::mem::replace(&mut peer.bytes_sent, sent) < sent {
            peer.session.alive(core.now() / 1000);
        }
    }

    pub(super) fn rtsp_ended(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
        why: End,
    ) {
        debug!(peer = %address, connection = conn.number(), reason = reason(why), "RTSP connection ended");
        self.rtsp_gave_up(address, peer);
        self.rtsp_close_ports(peer);
        self.tunnel_ended(core, conn, peer);
        self.rtsp_leaves(core, conn, address, peer, &reason(why));
    }
}
