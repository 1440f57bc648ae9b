//! RTSP in HTTP: a player's GET and POST, accepted by any shards on the port of RTSP or of HTTP, meet on one, which their
//! cookie names. There the GET is answered, and its session hears what the POST says.
//!
//! Both halves stay where they meet: what one of them alone could take elsewhere would be half a peer.
//!
//! Invariant: whoever is in the table is a connection of this shard, and leaves it when that ends.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use penstock_proto::http::{self, Method};
use penstock_proto::rtsp::limits::TUNNEL_MILLIS_MAX;
use penstock_proto::rtsp::tunnel::{COOKIE_HEADER, Decoder, Half, Opening};
use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, Detached};
use penstock_shard::kernel::Kernel;
use penstock_shard::mesh::ShardId;
use tracing::debug;

use super::RtspPeer;
use crate::app::http::State;
use crate::app::{App, Peer, Session};
use crate::config::Protocol;
use crate::limits;
use crate::messages::{Message, MovedHalf};

/// What a connection is in a tunnel.
#[derive(Debug)]
pub(super) enum Tunnel {
    None,
    /// On its way to where its other half is.
    Leaving(Opening),
    Down(Key),
    Up {
        key: Key,
        decoder: Decoder,
    },
}

/// Who may meet: a cookie that another address has guessed opens nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    address: IpAddr,
    cookie: String,
}

#[derive(Debug, Default)]
struct Ends {
    down: Option<ConnId>,
    up: Option<ConnId>,
}

/// The tunnels that meet on this shard.
#[derive(Debug, Default)]
pub(in crate::app) struct Tunnels {
    ends: HashMap<Key, Ends>,
    /// What a half has said, decoded; kept for the next.
    decoded: Vec<u8>,
}

impl Tunnels {
    /// Whether nobody has a half here.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn end_mut(&mut self, key: &Key, half: Half) -> &mut Option<ConnId> {
        let ends = self.ends.entry(key.clone()).or_default();
        match half {
            Half::Down => &mut ends.down,
            Half::Up => &mut ends.up,
        }
    }

    fn end(&self, key: &Key, half: Half) -> Option<ConnId> {
        let ends = self.ends.get(key)?;
        match half {
            Half::Down => ends.down,
            Half::Up => ends.up,
        }
    }

    fn forget(&mut self, key: &Key, half: Half, conn: ConnId) {
        self.end_mut(key, half).take_if(|end| *end == conn);
        self.ends
            .retain(|of, ends| of != key || ends.down.is_some() || ends.up.is_some());
    }
}

/// Where the halves of a cookie meet.
fn meeting_of(cookie: &str, shards: usize) -> ShardId {
    let mut hasher = DefaultHasher::new();
    cookie.hash(&mut hasher);
    ShardId((hasher.finish() % shards as u64) as u16)
}

impl RtspPeer {
    pub fn is_tunnelled(&self) -> bool {
        !matches!(self.tunnel, Tunnel::None)
    }

    /// It is none of a dialogue: what it says is another's, or for where it goes to.
    pub(super) fn is_half(&self) -> bool {
        matches!(self.tunnel, Tunnel::Leaving(_) | Tunnel::Up { .. })
    }
}

impl Session {
    /// A half that leaves for where the other is, with what it has said.
    fn leaves_for_tunnel(&mut self) -> Option<(Opening, Vec<u8>)> {
        match self {
            Session::Http(peer) => {
                let State::Tunnel(opening) = &peer.state else {
                    return None;
                };
                let opening = opening.clone();
                let mut said = peer.session.hand_over();
                said.append(&mut peer.pending);
                Some((opening, said))
            }
            Session::Rtsp(peer) => {
                let Tunnel::Leaving(opening) = &peer.tunnel else {
                    return None;
                };
                Some((opening.clone(), std::mem::take(&mut peer.pending)))
            }
            Session::Rtmp(_) | Session::Pull(_) => None,
        }
    }
}

impl<K: Kernel> App<K> {
    /// Whether a request on the port of HTTP is one of a tunnel that we serve.
    pub(in crate::app) fn opening_of(&self, request: &http::Request<'_>) -> Option<Opening> {
        let method = match request.method() {
            Method::Get => "GET",
            Method::Post => "POST",
            _ => return None,
        };
        let cookie = Some(request.header(COOKIE_HEADER)?);
        let mut listeners = self.config.listeners.iter();
        let is_served = listeners.any(|listener| listener.protocol == Protocol::Rtsp);
        Opening::parse(method, cookie).filter(|_| is_served)
    }

    /// A first request on the port of RTSP.
    pub(super) fn tunnel_opens(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        peer: &mut RtspPeer,
        opening: Opening,
    ) {
        peer.tunnel = Tunnel::Leaving(opening);
        core.detach(conn);
    }

    /// Off this shard, if it is a half; what is none is given back.
    pub(in crate::app) fn half_leaves(
        &mut self,
        core: &mut Core<Message<K>, K>,
        mut peer: Peer,
        detached: Detached<K::Socket>,
    ) -> Option<(Peer, Detached<K::Socket>)> {
        let Some((opening, said)) = peer.session.leaves_for_tunnel() else {
            return Some((peer, detached));
        };
        let to = meeting_of(&opening.cookie, core.shards());
        let moved = MovedHalf {
            opening,
            detached,
            peer: peer.address,
            said,
        };
        self.deliver(core, to, Message::Half(Box::new(moved)));
        None
    }

    /// A half arrives where the other is, or will be.
    pub(in crate::app) fn half_arrives(&mut self, core: &mut Core<Message<K>, K>, moved: MovedHalf<K>) {
        let MovedHalf {
            opening: Opening { half, cookie },
            detached,
            peer: address,
            said,
        } = moved;
        let key = Key {
            address: address.ip().to_canonical(),
            cookie,
        };
        let before = self.tunnels.end(&key, half);
        if half == Half::Down && before.is_some() {
            // Its cookie is another's.
            self.counters.protocol_errors.add(1);
            debug!(peer = %address, "a tunnel's cookie is in use");
            return self.addresses.leave(address.ip());
        }
        let Some(conn) = core.adopt(detached) else {
            return self.addresses.leave(address.ip());
        };
        *self.tunnels.end_mut(&key, half) = Some(conn);
        let tunnel = match half {
            Half::Down => Tunnel::Down(key.clone()),
            Half::Up => {
                // The player goes on with another POST.
                before.into_iter().for_each(|before| core.finish(before));
                let decoder = Decoder::default();
                let key = key.clone();
                Tunnel::Up { key, decoder }
            }
        };
        let session = Box::new(RtspPeer::tunnelled(core, conn, tunnel));
        self.peers.insert(Peer::new(conn, address, Session::Rtsp(session)));
        if self.stopping {
            return core.finish(conn);
        }
        match half {
            Half::Down => self.tunnel_begins(core, conn, &key),
            Half::Up => {
                if self.tunnels.end(&key, Half::Down).is_none() {
                    core.set_deadline(conn, Some(core.now() + TUNNEL_MILLIS_MAX * 1000));
                }
                self.with_peer(core, conn, |app, core, peer| {
                    if let Session::Rtsp(session) = &mut peer.session {
                        app.rtsp_heard(core, conn, address, session, &said);
                    }
                });
            }
        }
    }

    /// The GET is answered, and what the POST has said before is heard.
    fn tunnel_begins(&mut self, core: &mut Core<Message<K>, K>, down: ConnId, key: &Key) {
        let up = self.tunnels.end(key, Half::Up).and_then(|up| self.peers.get_mut(up));
        let mut said = Vec::new();
        if let Some(up) = up {
            core.set_deadline(up.id, None);
            if let Session::Rtsp(session) = &mut up.session {
                said = std::mem::take(&mut session.pending);
            }
        }
        self.tunnel_feed(core, down, &said);
    }

    fn tunnel_feed(&mut self, core: &mut Core<Message<K>, K>, down: ConnId, bytes: &[u8]) {
        self.with_peer(core, down, |app, core, peer| {
            if let Session::Rtsp(session) = &mut peer.session {
                app.dialogue_received(core, down, peer.address, &mut **session, bytes);
            }
        });
    }

    /// What comes on a connection, whatever it is in a tunnel.
    pub(in crate::app) fn rtsp_heard(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
        bytes: &[u8],
    ) {
        match &mut peer.tunnel {
            Tunnel::None => self.dialogue_received(core, conn, address, peer, bytes),
            // It has nothing to say there.
            Tunnel::Down(_) => {}
            Tunnel::Leaving(_) => self.tunnel_holds(core, conn, peer, bytes),
            Tunnel::Up { key, decoder } => {
                let mut decoded = std::mem::take(&mut self.tunnels.decoded);
                decoded.clear();
                let result = decoder.decode(bytes, &mut decoded);
                let down = self.tunnels.end(key, Half::Down);
                match down {
                    Some(down) => self.tunnel_feed(core, down, &decoded),
                    None => self.tunnel_holds(core, conn, peer, &decoded),
                }
                self.tunnels.decoded = decoded;
                if let Err(error) = result {
                    self.counters.protocol_errors.add(1);
                    debug!(peer = %address, %error, "RTSP peer broke the protocol");
                    core.finish(conn);
                    down.into_iter().for_each(|down| core.finish(down));
                }
            }
        }
    }

    fn tunnel_holds(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, peer: &mut RtspPeer, bytes: &[u8]) {
        peer.pending.extend_from_slice(bytes);
        if peer.pending.len() > limits::PENDING_REQUESTS_BYTES_MAX {
            self.counters.connections_closed_pending.add(1);
            core.abort(conn);
        }
    }

    /// A POST whose GET has not come.
    pub(super) fn tunnel_waits_no_longer(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, peer: &RtspPeer) {
        if let Tunnel::Up { key, .. } = &peer.tunnel
            && self.tunnels.end(key, Half::Down).is_none()
        {
            self.counters.connections_idle.add(1);
            debug!(connection = conn.number(), "a tunnel's other half did not come");
            core.finish(conn);
        }
    }

    /// The way down ends with what it carries, and the way up with it; another may come up while there is one down.
    pub(super) fn tunnel_ended(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, peer: &RtspPeer) {
        match &peer.tunnel {
            Tunnel::None | Tunnel::Leaving(_) => {}
            Tunnel::Up { key, .. } => self.tunnels.forget(key, Half::Up, conn),
            Tunnel::Down(key) => {
                if let Some(up) = self.tunnels.end(key, Half::Up) {
                    core.finish(up);
                }
                self.tunnels.forget(key, Half::Down, conn);
            }
        }
    }
}
