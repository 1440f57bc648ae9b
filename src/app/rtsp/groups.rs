//! RTSP by multicast: a stream that has groups in the configuration is sent to them from its home, once, as long as somebody
//! listens by a dialogue. All of its tracks are, whichever of them a player has set up: the network leaves out what nobody
//! asks it for. Where packets begin is not told, since they are on their way already; sender reports tell their times.
//!
//! Invariant: who listens is in the table, and is a viewer; a stream that nobody here listens to is sent to no group.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use penstock_proto::rtsp::Carriage;
use penstock_proto::rtsp::wire::transport::{Group, Ports};
use penstock_proto::{rtsp, sdp};
use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, FeedId};
use penstock_shard::datagrams::DatagramId;
use penstock_shard::fanout::{GroupId, Route};
use penstock_shard::kernel::Kernel;
use tracing::info;

use super::viewing::channels;
use super::{Presentation, RtspPeer};
use crate::app::{App, Session};
use crate::messages::{Message, Settling};
use crate::names::StreamName;
use crate::registry::{Audience, Packaging};

/// What a shard sends to groups.
#[derive(Debug, Default)]
pub(in crate::app) struct Groups {
    /// None where no stream has a group.
    socket: Option<DatagramId>,
    sent: HashMap<StreamName, Sent>,
}

#[derive(Debug)]
struct Sent {
    id: GroupId,
    packaging: Packaging,
    listeners: Vec<ConnId>,
}

impl Groups {
    /// Whether nobody listens here.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Everybody who listens, and to what.
    pub fn listeners(&self) -> impl Iterator<Item = (&StreamName, ConnId)> {
        let sent = self.sent.iter();
        sent.flat_map(|(name, sent)| sent.listeners.iter().map(move |conn| (name, *conn)))
    }
}

/// Whether a player that asks with this query is to be told of the groups in the description: VLC chooses by that, and so do
/// others.
pub(super) fn is_wanted(query: &str) -> bool {
    let mut names = query.split('&').map(|pair| pair.split('=').next().unwrap_or(pair));
    names.any(|name| matches!(name, "vlcmulticast" | "multicast"))
}

/// The group of a medium for the description, and its port.
pub(super) fn described(group: Group) -> Option<(sdp::Group, u16)> {
    let IpAddr::V4(address) = group.address else {
        return None;
    };
    let ttl = group.ttl;
    Some((sdp::Group { address, ttl }, group.ports.rtp))
}

impl Packaging {
    pub(super) fn is_for_groups(self) -> bool {
        matches!(self, Packaging::Rtsp(lanes) if lanes.audience == Audience::Groups)
    }
}

/// Whether all of these go to groups; none when only some do.
pub(super) fn audience(lanes: &[rtsp::Lane]) -> Option<Audience> {
    let is_group = |lane: &rtsp::Lane| matches!(lane.carriage, Carriage::Multicast(_));
    match lanes.iter().filter(|lane| is_group(lane)).count() {
        0 => Some(Audience::Viewers),
        groups if groups == lanes.len() => Some(Audience::Groups),
        _ => None,
    }
}

impl<K: Kernel> App<K> {
    /// This shard's socket for groups.
    pub fn open_groups(&mut self, core: &mut Core<Message<K>, K>, socket: K::Socket) {
        match core.open_datagrams(socket) {
            Ok(socket) => self.groups.socket = Some(socket),
            Err(error) => info!(%error, "RTSP goes without multicast"),
        }
    }

    /// The group of a stream's medium.
    pub(super) fn group_of(&self, name: &StreamName, medium: usize) -> Option<Group> {
        self.groups.socket?;
        let first = self.configured(name).filter(|_| name.wildcard().is_none())?.multicast?;
        let number = u16::try_from(medium).ok()?;
        let rtp = (first.port() & !1) + 2 * number;
        let rtcp = rtp + 1;
        Some(Group {
            address: Ipv4Addr::from_bits(first.ip().to_bits() + u32::from(number)).into(),
            ports: Ports { rtp, rtcp },
            ttl: self.config.multicast.ttl,
        })
    }

    /// A medium is to go by multicast.
    pub(super) fn rtsp_group(&self, peer: &mut RtspPeer, medium: usize) {
        let group = match &peer.presentation {
            Presentation::Described(described) => self.group_of(&described.name, medium),
            Presentation::None | Presentation::Announced(_) => None,
        };
        match group {
            Some(group) => peer.session.grouped(group),
            None => peer.session.transport_refused(),
        }
    }

    /// Whether a listener goes to the stream's home first: from there groups are sent to.
    pub(super) fn rtsp_goes_home(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        peer: &mut RtspPeer,
        key: &(StreamName, Option<Packaging>),
    ) -> bool {
        let watched = self.watches.feed_of(key);
        let away = watched.filter(|watched| watched.home != core.id());
        let (Some(watched), Settling::Free, Some(packaging)) = (away, peer.travel.settling, key.1) else {
            return false;
        };
        let to = (watched.home, Settling::Settled);
        self.leaves_for(core, conn, &mut peer.travel, (&key.0, packaging), to);
        true
    }

    /// One more listens; false when the stream cannot be sent to its groups.
    pub(super) fn rtsp_listen(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        peer: &mut RtspPeer,
        (name, packaging): (&StreamName, Packaging),
        feed: FeedId,
    ) -> bool {
        if let Some(sent) = self.groups.sent.get_mut(name) {
            // Of other tracks: its last packets are on their way.
            if sent.packaging != packaging {
                return false;
            }
            sent.listeners.push(conn);
            peer.listens = Some(name.clone());
            return true;
        }
        let is_home = self.streams.place_of(name).is_some();
        let Some(routes) = self.group_routes(name, packaging).filter(|_| is_home) else {
            return false;
        };
        let Some(id) = core.join_group(feed, &routes) else {
            return false;
        };
        info!(stream = name.as_str(), group = %routes[0].to, "multicast begins");
        let listeners = vec![conn];
        let sent = Sent {
            id,
            packaging,
            listeners,
        };
        self.groups.sent.insert(name.clone(), sent);
        peer.listens = Some(name.clone());
        true
    }

    fn group_routes(&self, name: &StreamName, packaging: Packaging) -> Option<Vec<Route>> {
        let Packaging::Rtsp(lanes) = packaging else { return None };
        let socket = self.groups.socket?;
        let mut routes = Vec::new();
        for medium in 0..lanes.lanes.iter().flatten().count() {
            let group = self.group_of(name, medium)?;
            let (rtp, rtcp) = channels(medium);
            for (channel, port) in [(rtp, group.ports.rtp), (rtcp, group.ports.rtcp)] {
                let to = SocketAddr::new(group.address, port);
                routes.push(Route { channel, socket, to });
            }
        }
        (!routes.is_empty()).then_some(routes)
    }

    /// The peer listens no longer.
    pub(super) fn rtsp_listens_no_more(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, peer: &mut RtspPeer) {
        let Some(name) = peer.listens.take() else { return };
        let Some(sent) = self.groups.sent.get_mut(&name) else {
            return;
        };
        sent.listeners.retain(|listener| *listener != conn);
        if sent.listeners.is_empty() {
            let id = sent.id;
            self.groups.sent.remove(&name);
            core.leave_group(id);
            info!(stream = name.as_str(), "multicast ends");
        }
    }

    /// The stream has ended, and all of it is sent.
    pub(in crate::app) fn rtsp_group_ended(&mut self, core: &mut Core<Message<K>, K>, id: GroupId) {
        let ended = self.groups.sent.iter().find(|(_, sent)| sent.id == id);
        let Some(name) = ended.map(|(name, _)| name.clone()) else {
            return;
        };
        let Some(sent) = self.groups.sent.remove(&name) else {
            return;
        };
        info!(stream = name.as_str(), "multicast ends");
        for conn in sent.listeners {
            self.with_peer(core, conn, |app, core, peer| {
                if let Session::Rtsp(session) = &mut peer.session {
                    session.listens = None;
                    app.rtsp_reached_end(core, conn, peer.address, session);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_wanted;

    #[test]
    fn players_ask_for_groups_by_the_query() {
        for (query, wanted) in [
            ("", false),
            ("vlcmulticast", true),
            ("pass=x&vlcmulticast", true),
            ("multicast=1", true),
            ("pass=multicast", false),
            ("unicast", false),
        ] {
            assert_eq!(is_wanted(query), wanted, "{query}");
        }
    }
}
