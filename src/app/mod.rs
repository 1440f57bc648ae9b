//! The appliance on one shard: sessions of its connections, streams at home here, names it arbitrates, feeds it watches.
//!
//! Every call is an event from the shard; nothing here waits. Sessions are fed and drained in their drivers (`http`,
//! `rtmp`, `rtsp`); what concerns viewers of any protocol is in `viewers`, what concerns publishers in `admission` and
//! `publishers`, streams at home in `home`.

mod addresses;
mod admission;
mod check;
mod clip;
mod dialogue;
mod home;
mod http;
mod input;
mod isolation;
mod moves;
mod outbox;
mod placement;
mod publishers;
mod pulls;
mod rtmp;
mod rtsp;
mod sealed;
mod segmented;
mod shelves;
mod shortage;
mod viewers;

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, Detached, End, FeedId};
use penstock_shard::datagrams::DatagramId;
use penstock_shard::fanout::{GroupId, Load};
use penstock_shard::kernel::{Kernel, Uring};
use penstock_shard::seal::Broken;
use penstock_shard::shard;
use tracing::{info, warn};

use crate::config::{self, Config, Source};
use crate::counters::AppCounters;
use crate::directory::{Directory, Homes};
use crate::limits;
use crate::messages::Message;
use crate::names::{Hosts, NameError, PushRule, StreamName};
use crate::resolver::Resolver;
use crate::tls::{Clients, Servers};

pub use addresses::Addresses;
use dialogue::Role;
use home::Streams;
use isolation::guarded;
use outbox::Outbox;
pub use shortage::Shortage;
use viewers::Watches;

/// What a listening socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Port {
    Http = 1,
    Rtmp = 2,
    Rtsp = 3,
}

/// One shard's part of the appliance; lives on its thread.
pub struct App<K: Kernel = Uring> {
    config: Arc<Config>,
    /// Addresses of host names, newer than the configuration's.
    hosts: Arc<Hosts>,
    counters: Arc<AppCounters>,
    directory: Directory,
    homes: Arc<Homes>,
    peers: Peers,
    watches: Watches,
    streams: Streams,
    placement: placement::Placement,
    segmented: segmented::Segmented,
    clip: Option<clip::Clip>,
    claims: u64,
    outbox: Outbox<Message<K>>,
    addresses: Arc<Addresses>,
    datagrams: rtsp::datagrams::Datagrams,
    tunnels: rtsp::tunnel::Tunnels,
    pulls: pulls::Pulls,
    /// Of the sources' host names.
    resolver: Option<Resolver>,
    groups: rtsp::groups::Groups,
    /// Whom sources by TLS must be.
    trusts: Clients,
    /// What the sessions of this shard hold of their peers' input ([`limits::INPUT_BYTES_MAX`]).
    input_bytes: usize,
    /// When the largest window of this shard was last told to the others (µs).
    windows_published_at: u64,
    /// What listeners that speak TLS show.
    tls: Servers,
    /// When a connection that could not be sealed is logged again (µs).
    refusals_logged_from: u64,
    /// When a name that was sanitised is logged again (µs).
    names_logged_from: Cell<u64>,
    stopping: bool,
}

impl<K: Kernel> std::fmt::Debug for App<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("streams", &self.streams.len())
            .finish_non_exhaustive()
    }
}

/// Timers of the appliance, in the upper byte of their key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Timer {
    /// A stream's grace, or a feed that nobody watches; the lower bytes are the stream's place.
    Stream = 1,
    Clip = 2,
    Stop = 3,
    /// Messages that found an inbox full are tried again.
    Outbox = 4,
    /// The load is measured, and evened out.
    Load = 5,
    /// Those who wait for something that is fetched piece by piece are looked at.
    Waiters = 6,
    /// Pulls are looked at.
    Pulls = 7,
}

impl Timer {
    fn key(self, place: usize) -> u64 {
        (self as u64) << 56 | place as u64
    }
}

/// One connection's dialogue.
#[derive(Debug)]
struct Peer {
    id: ConnId,
    address: SocketAddr,
    session: Session,
    /// Its part of [`App::input_bytes`].
    held_bytes: usize,
}

impl Peer {
    fn new(id: ConnId, address: SocketAddr, session: Session) -> Peer {
        Peer {
            id,
            address,
            session,
            held_bytes: 0,
        }
    }
}

#[derive(Debug)]
enum Session {
    Http(Box<http::HttpPeer>),
    Rtmp(Box<rtmp::RtmpPeer>),
    Rtsp(Box<rtsp::RtspPeer>),
    /// To a source, not from a peer.
    Pull(Box<pulls::PullPeer>),
}

/// Sessions beside the shard's slab of connections.
#[derive(Debug, Default)]
struct Peers {
    places: Vec<Option<Peer>>,
}

impl Peers {
    fn insert(&mut self, peer: Peer) {
        let index = peer.id.index();
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        debug_assert!(self.places[index].is_none(), "the end of who stood there was told");
        self.places[index] = Some(peer);
    }

    /// Taken out while it is worked with; whoever takes it puts it back, or ends it.
    fn take(&mut self, id: ConnId) -> Option<Peer> {
        self.places
            .get_mut(id.index())
            .and_then(|place| place.take_if(|peer| peer.id == id))
    }

    fn get_mut(&mut self, id: ConnId) -> Option<&mut Peer> {
        self.places.get_mut(id.index())?.as_mut().filter(|peer| peer.id == id)
    }

    fn get(&self, id: ConnId) -> Option<&Peer> {
        self.places.get(id.index())?.as_ref().filter(|peer| peer.id == id)
    }
}

impl<K: Kernel> App<K> {
    pub fn new(config: Arc<Config>, counters: Arc<AppCounters>, homes: Arc<Homes>, addresses: Arc<Addresses>) -> Self {
        App {
            hosts: Arc::new(config.hosts.clone()),
            config,
            counters,
            directory: Directory::new(homes.clone()),
            homes,
            peers: Peers::default(),
            watches: Watches::default(),
            streams: Streams::default(),
            placement: placement::Placement::default(),
            segmented: segmented::Segmented::default(),
            clip: None,
            claims: 0,
            outbox: Outbox::default(),
            addresses,
            datagrams: rtsp::datagrams::Datagrams::default(),
            tunnels: rtsp::tunnel::Tunnels::default(),
            pulls: pulls::Pulls::default(),
            resolver: None,
            groups: rtsp::groups::Groups::default(),
            trusts: Clients::default(),
            input_bytes: 0,
            windows_published_at: 0,
            tls: Servers::default(),
            refusals_logged_from: 0,
            names_logged_from: Cell::new(0),
            stopping: false,
        }
    }

    /// Sides of this server in connections by TLS that it makes.
    pub fn trust(&mut self, clients: Clients) {
        self.trusts = clients;
    }

    /// Where host names of sources are looked up; without it they have no addresses.
    pub fn ask_names_of(&mut self, resolver: Resolver) {
        self.resolver = Some(resolver);
    }

    /// The stream name of what a peer asked for, counted when it is not what was asked, and then logged once a second.
    fn stream_name(&self, now: u64, asked: &str, address: SocketAddr) -> Result<StreamName, NameError> {
        let sanitised = StreamName::sanitise(asked)?;
        if sanitised.changed {
            self.counters.names_sanitised.add(1);
            if now >= self.names_logged_from.get() && !self.has_passphrase(asked) {
                self.names_logged_from.set(now + limits::NAMES_LOGGED_MICROS);
                let asked = sanitised.asked;
                let name = sanitised.name.as_str();
                info!(asked, name, peer = %address, "a stream name was asked for with characters that names do not have");
            }
        }
        Ok(sanitised.name)
    }

    /// Whether a name that a peer asked for is a passphrase in the wrong place, or has one as a part: not for the log.
    fn has_passphrase(&self, asked: &str) -> bool {
        let separators = ['/', '+', ' ', ':', '?', '&', '='];
        let is_in =
            |rule: &PushRule| rule.is_passphrase(asked) || asked.split(separators).any(|part| rule.is_passphrase(part));
        let streams = &mut self.config.streams.values();
        streams.any(|stream| matches!(&stream.source, Source::Push(rule) if is_in(rule)))
    }

    /// What the configuration says of the stream, found by its base.
    fn configured(&self, name: &StreamName) -> Option<&config::Stream> {
        self.config.streams.get(name.base())
    }

    fn shut_down(&mut self, core: &mut Core<Message<K>, K>) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        if let Err(error) = core.stop_accepting() {
            info!(%error, "listeners could not be closed");
        }
        self.clip = None;
        self.end_all_pulls(core);
        self.end_all_streams(core);
        self.end_waits(core);
        for id in core.connection_ids() {
            self.say_goodbye(core, id);
        }
        core.set_timer(core.now() + limits::SHUTDOWN_MICROS, Timer::Stop.key(0));
        self.stop_if_empty(core);
    }

    /// Connections that watch nothing end at once; viewers end behind their feed's last byte.
    fn say_goodbye(&mut self, core: &mut Core<Message<K>, K>, id: ConnId) {
        let watching = self.peers.get(id).is_some_and(|peer| match &peer.session {
            Session::Http(peer) => peer.is_watching() || peer.is_sending(),
            Session::Rtmp(peer) => peer.is_watching(),
            Session::Rtsp(peer) => peer.is_watching(),
            Session::Pull(_) => false,
        });
        if !watching {
            core.finish(id);
        }
    }

    /// Who is on the way here, or waits in the outbox to go elsewhere, is waited for too.
    fn stop_if_empty(&mut self, core: &mut Core<Message<K>, K>) {
        let is_expected = !self.placement.is_empty() || !self.outbox.is_empty();
        if self.stopping && core.open_connections() == 0 && self.streams.len() == 0 && !is_expected {
            core.stop();
        }
    }
}

impl<K: Kernel> shard::App<K> for App<K> {
    type Message = Message<K>;

    fn accepted(&mut self, core: &mut Core<Message<K>, K>, tag: u32, conn: ConnId, peer: SocketAddr) {
        if !self.addresses.enter(peer.ip()) {
            self.counters.connections_refused_address.add(1);
            return core.abort(conn);
        }
        let port = self.seal_accepted(core, conn, tag);
        let session = guarded(|| match port {
            port if port == Port::Rtmp as u32 => Session::Rtmp(Box::new(rtmp::RtmpPeer::new(core, conn))),
            port if port == Port::Rtsp as u32 => Session::Rtsp(Box::new(rtsp::RtspPeer::new(core, conn))),
            _ => Session::Http(Box::new(http::HttpPeer::new(core, conn))),
        });
        let Some(session) = session else {
            self.addresses.leave(peer.ip());
            return core.panicked(conn);
        };
        self.peers.insert(Peer::new(conn, peer, session));
        // Accepted before the listener was closed.
        if self.stopping {
            core.finish(conn);
        }
    }

    fn received(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, bytes: &[u8]) {
        self.with_peer(core, conn, |app, core, peer| match &mut peer.session {
            Session::Http(session) => app.http_received(core, conn, peer.address, session, bytes),
            Session::Rtmp(session) => app.dialogue_received(core, conn, peer.address, &mut **session, bytes),
            Session::Rtsp(session) => app.rtsp_heard(core, conn, peer.address, session, bytes),
            Session::Pull(session) => app.pull_received(core, conn, session, bytes),
        });
    }

    fn half_closed(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId) {
        self.with_peer(core, conn, |app, core, peer| match &mut peer.session {
            Session::Http(session) => app.http_half_closed(core, conn, session),
            // A publisher has ended its stream, and a player speaks as long as it plays.
            Session::Rtmp(_) | Session::Rtsp(_) | Session::Pull(_) => core.peer_ended(conn),
        });
    }

    fn datagram(&mut self, core: &mut Core<Message<K>, K>, socket: DatagramId, from: SocketAddr, bytes: &[u8]) {
        if !self.pull_datagram(core, socket, from, bytes) {
            self.rtsp_datagram(core, from, bytes);
        }
    }

    fn group_ended(&mut self, core: &mut Core<Message<K>, K>, group: GroupId) {
        self.rtsp_group_ended(core, group);
        self.stop_if_empty(core);
    }

    fn load_changed(&mut self, core: &mut Core<Message<K>, K>, load: Load) {
        let (shard, viewers) = (core.id().0, self.counters.viewers.value());
        match load {
            Load::Overloaded => warn!(
                shard,
                viewers, "overloaded: new viewers are refused, those far behind are moved on"
            ),
            Load::Eased => info!(shard, viewers, "no longer overloaded: viewers are taken in again"),
        }
    }

    fn connected(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, tag: u64) {
        self.pull_connected(core, conn, tag);
    }

    fn connect_failed(&mut self, core: &mut Core<Message<K>, K>, tag: u64, errno: i32) {
        self.pull_not_connected(core, tag, errno);
        self.stop_if_empty(core);
    }

    fn broken(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, why: Broken) {
        self.seal_broken(core, conn, &why);
    }

    fn ended(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, why: End) {
        self.peer_ended(core, conn, why);
        self.stop_if_empty(core);
    }

    fn joining(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, header: &[u8]) {
        self.with_peer(core, conn, |app, core, peer| {
            if let Session::Rtsp(session) = &mut peer.session {
                app.rtsp_joining(core, conn, peer.address, session, header);
            }
        });
    }

    fn reached_end(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId) {
        self.with_peer(core, conn, |app, core, peer| match &mut peer.session {
            Session::Http(session) => app.http_reached_end(core, conn, peer.address, session),
            Session::Rtmp(session) => app.rtmp_reached_end(core, conn, session),
            Session::Rtsp(session) => app.rtsp_reached_end(core, conn, peer.address, session),
            Session::Pull(_) => {}
        });
    }

    fn detached(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, detached: Detached<K::Socket>) {
        let Some(peer) = self.peers.take(conn) else { return };
        self.input_bytes -= peer.held_bytes;
        let Some((peer, detached)) = self.half_leaves(core, peer, detached) else {
            return self.stop_if_empty(core);
        };
        match peer.session.role() {
            Some(Role::Moving { .. }) => self.move_publisher(core, peer.address, peer.session, detached),
            _ => self.viewer_leaves(core, peer.address, peer.session, detached),
        }
        self.stop_if_empty(core);
    }

    fn feed_unused(&mut self, core: &mut Core<Message<K>, K>, feed: FeedId) {
        if !self.range_feed_unused(core, feed) {
            self.viewers_left(core, feed);
        }
    }

    fn deadline(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId) {
        self.with_peer(core, conn, |app, core, peer| match &mut peer.session {
            Session::Http(session) => app.http_deadline(core, conn, peer.address, session),
            Session::Rtmp(session) => app.rtmp_deadline(core, conn, peer.address, session),
            Session::Rtsp(session) => app.rtsp_deadline(core, conn, peer.address, session),
            Session::Pull(session) => app.pull_deadline(core, conn, session),
        });
    }

    fn timer(&mut self, core: &mut Core<Message<K>, K>, key: u64) {
        let place = (key & ((1 << 56) - 1)) as usize;
        match (key >> 56) as u8 {
            kind if kind == Timer::Stream as u8 => self.with_stream(core, place, |app, core| {
                app.stream_timer(core, place);
            }),
            kind if kind == Timer::Clip as u8 => self.play_clip(core),
            kind if kind == Timer::Outbox as u8 => {
                self.retry_outbox(core);
                self.stop_if_empty(core);
            }
            kind if kind == Timer::Load as u8 => self.load_timer(core),
            kind if kind == Timer::Waiters as u8 => self.look_at_waiters(core),
            kind if kind == Timer::Pulls as u8 => self.look_at_pulls(core),
            kind if kind == Timer::Stop as u8 => {
                for id in core.connection_ids() {
                    core.abort(id);
                }
                core.stop();
            }
            _ => {}
        }
    }

    fn message(&mut self, core: &mut Core<Message<K>, K>, message: Message<K>) {
        match message {
            Message::Claim {
                name,
                claim,
                from,
                conn,
                second,
            } => self.arbitrate(core, name, claim, from, conn, second),
            Message::Claimed { conn, claim, home } => self.claimed(core, conn, claim, home),
            Message::Release { name, claim } => {
                if let Some(home) = self.directory.release(&name, claim) {
                    self.deliver(core, home, Message::Vacant { name });
                }
            }
            Message::Vacant { name } => self.vacant(core, name),
            Message::Gone { name } => self.directory.gone(&name),
            Message::Replace { name, claim } => self.replace_publisher(core, &name, claim),
            Message::Move(moved) => self.publisher_moved_here(core, *moved),
            Message::Find(open) => self.find(core, open),
            Message::Open(open) => self.answer_open(core, open),
            Message::Opened {
                name,
                packaging,
                outcome,
            } => self.opened(core, name, packaging, outcome),
            Message::Half(moved) => self.half_arrives(core, *moved),
            Message::Viewer(moved) => self.viewer_arrives(core, *moved),
            Message::NotHome { name } => self.watches.forget_home(&name),
            Message::Offer(offer) => self.offered(core, *offer),
            Message::Seats {
                name,
                packaging,
                from,
                seats,
            } => self.seats_given(core, &(name, packaging), from, seats),
            Message::Settled { name, packaging, from } => {
                self.settled(core, &(name, packaging), from);
                self.stop_if_empty(core);
            }
            Message::Watch { name, feed, from } => self.watched_from(&name, &feed, from),
            Message::Unwatch { name, feed, from } => self.unwatched(core, &name, &feed, from),
            Message::FindShelf(shelve) => self.find_shelf(core, shelve),
            Message::Shelve(shelve) => self.shelve(core, shelve),
            Message::Shelved { name, item, shelving } => self.shelved(core, &name, item, shelving),
            Message::Edition { name, edition } => self.edition_came(core, name, edition),
            Message::Unshelved { name } => self.unshelved(core, &name),
            Message::ShortenWindows => self.asked_to_shorten(core),
            Message::Hosts(hosts) => self.hosts = hosts,
            Message::StartPull { name } => self.pull_from_start(core, &name),
            Message::Pull { name, claim } => self.pull(core, name, claim),
            Message::Resolved { tag, addresses } => self.pull_resolved(core, tag, addresses),
            Message::Certificates(servers) => self.tls = servers,
            Message::PlayClip { name } => self.start_clip(core, name),
            Message::Shutdown => self.shut_down(core),
        }
    }
}

/// Why a viewer or publisher is gone, for the log.
fn reason(why: End) -> String {
    match why {
        End::Peer => "the peer closed the connection".into(),
        End::Finished => "ended".into(),
        End::Failed(errno) => format!("socket failed: {}", std::io::Error::from_raw_os_error(errno)),
        End::Aborted => "aborted".into(),
        End::Panicked => "a defect of penstock ended it".into(),
        End::Lagged => "too slow to be moved to a newer keyframe".into(),
        End::Evicted => "held back more than the feed's cap".into(),
        End::Stalled => "took nothing for stall_max".into(),
        End::OwnOverflow => "did not read our answers".into(),
        End::Unopened => "the TLS handshake was not done in its time".into(),
    }
}
