//! RTSP's packets by UDP: two sockets of each shard, RTP and RTCP, that all its peers share. Who a datagram is from is
//! told by the address that its peer set up.
//!
//! Invariant: an address has one peer, and is in the table as long as that has it among its own.

use std::collections::HashMap;
use std::net::SocketAddr;

use penstock_proto::rtp::Arrival;
use penstock_proto::rtsp::wire::transport::Ports;
use penstock_proto::rtsp::{Carriage, Lane, Part};
use penstock_shard::connection::ConnId;
use penstock_shard::core::Core;
use penstock_shard::datagrams::DatagramId;
use penstock_shard::fanout::Route;
use penstock_shard::kernel::Kernel;
use tracing::info;

use super::{Role, RtspPeer};
use crate::app::{App, Session};
use crate::messages::Message;
use crate::stream::Piece;

/// A shard's sockets, and its peers by their addresses.
#[derive(Debug, Default)]
pub(in crate::app) struct Datagrams {
    sockets: Option<Sockets>,
    from: HashMap<SocketAddr, Origin>,
}

#[derive(Clone, Copy, Debug)]
struct Sockets {
    rtp: DatagramId,
    rtcp: DatagramId,
    ports: Ports,
}

#[derive(Clone, Copy, Debug)]
struct Origin {
    conn: ConnId,
    /// Index in the description.
    medium: usize,
    part: Part,
}

impl Datagrams {
    /// Whether nobody has an address here.
    pub fn is_empty(&self) -> bool {
        self.from.is_empty()
    }

    /// Where the packets of these lanes go; none if one of them does not go by UDP.
    pub fn routes(
        &self,
        address: SocketAddr,
        lanes: &[Lane],
        channels: impl Fn(usize) -> (u8, u8),
    ) -> Option<Vec<Route>> {
        let sockets = self.sockets?;
        let mut routes = Vec::new();
        for (place, lane) in lanes.iter().enumerate() {
            let Carriage::Datagrams { peer, .. } = lane.carriage else {
                return None;
            };
            let (rtp, rtcp) = channels(place);
            for (channel, socket, port) in [(rtp, sockets.rtp, peer.rtp), (rtcp, sockets.rtcp, peer.rtcp)] {
                if port != 0 {
                    let to = SocketAddr::new(address.ip(), port);
                    routes.push(Route { channel, socket, to });
                }
            }
        }
        Some(routes)
    }
}

impl<K: Kernel> App<K> {
    /// RTSP's two sockets of this shard: RTP's at an even port, RTCP's at the next.
    pub fn open_datagrams(&mut self, core: &mut Core<Message<K>, K>, [rtp, rtcp]: [K::Socket; 2]) {
        let opened = core
            .open_datagrams(rtp)
            .and_then(|rtp| Ok((rtp, core.open_datagrams(rtcp)?)));
        let (rtp, rtcp) = match opened {
            Ok(opened) => opened,
            Err(error) => return info!(%error, "RTSP goes without UDP"),
        };
        let port = |socket| core.datagram_address(socket).map_or(0, |address| address.port());
        let ports = Ports {
            rtp: port(rtp),
            rtcp: port(rtcp),
        };
        self.datagrams.sockets = Some(Sockets { rtp, rtcp, ports });
    }

    /// A medium is to go by UDP.
    pub(super) fn rtsp_ports(
        &mut self,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
        medium: usize,
        theirs: Ports,
    ) {
        let table = &mut self.datagrams;
        let Some(sockets) = table.sockets else {
            return peer.session.transport_refused();
        };
        let ends = [(theirs.rtp, Part::Rtp), (theirs.rtcp, Part::Rtcp)];
        let ends = ends.map(|(port, part)| (SocketAddr::new(address.ip().to_canonical(), port), part));
        let is_others = |from: &SocketAddr| table.from.get(from).is_some_and(|origin| origin.conn != conn);
        if theirs.rtp == 0 || ends.iter().any(|(from, _)| is_others(from)) {
            return peer.session.transport_refused();
        }
        for (from, part) in ends.into_iter().filter(|(from, _)| from.port() != 0) {
            table.from.insert(from, Origin { conn, medium, part });
            if !peer.addresses.contains(&from) {
                peer.addresses.push(from);
            }
        }
        peer.session.ports(sockets.ports);
    }

    /// The peer sends nothing by UDP any more.
    pub(super) fn rtsp_close_ports(&mut self, peer: &mut RtspPeer) {
        for from in peer.addresses.drain(..) {
            self.datagrams.from.remove(&from);
        }
    }

    /// From whom a datagram comes nobody knows before it is looked up; strangers are passed over.
    pub(in crate::app) fn rtsp_datagram(&mut self, core: &mut Core<Message<K>, K>, from: SocketAddr, bytes: &[u8]) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let Some(origin) = self.datagrams.from.get(&from).copied() else {
            return self.counters.datagrams_stray.add(1);
        };
        self.with_peer(core, origin.conn, |app, core, peer| {
            if let Session::Rtsp(session) = &mut peer.session {
                session.session.alive(core.now() / 1000);
                app.rtsp_packet(core, origin, session, bytes);
            }
        });
    }

    fn rtsp_packet(&mut self, core: &mut Core<Message<K>, K>, origin: Origin, peer: &mut RtspPeer, bytes: &[u8]) {
        let Role::Publishing { place, .. } = peer.role else {
            if origin.part == Part::Rtcp {
                peer.losses.note(origin.medium, bytes, &self.counters);
            }
            return;
        };
        let packet = Piece::Packet {
            medium: origin.medium,
            part: origin.part,
            arrival: Arrival::Datagram,
            bytes,
        };
        self.push_media(core, place, &packet);
        self.flush_stream(core, place);
        self.rtsp_set_deadline(core, origin.conn, peer);
    }

    /// A report for a publisher by UDP.
    pub(super) fn rtsp_send_report(
        &self,
        core: &mut Core<Message<K>, K>,
        address: SocketAddr,
        port: u16,
        report: &[u8],
    ) {
        if let Some(sockets) = self.datagrams.sockets.filter(|_| port != 0) {
            core.send_datagram(sockets.rtcp, SocketAddr::new(address.ip(), port), report);
        }
    }
}
