//! A pull's packets by UDP: a pair of sockets for each medium, which nobody else has. So packets are told apart by where they
//! come to, and may come from any port of the source: what it says of its ports is wrong or missing too often.
//!
//! Invariant: the sockets of a pull are those of its attempt; they are closed with it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use penstock_proto::rtp::Arrival;
use penstock_proto::rtsp::Part;
use penstock_proto::rtsp::client::{Lane, Way};
use penstock_proto::rtsp::wire::transport::Ports;
use penstock_shard::core::Core;
use penstock_shard::datagrams::DatagramId;
use penstock_shard::kernel::Kernel;
use tracing::debug;

use super::work::Worked;
use super::{Attempt, Link, Socket};
use crate::app::App;
use crate::limits;
use crate::messages::Message;

impl<K: Kernel> App<K> {
    /// A pair of UDP ports for a medium.
    pub(super) fn pull_ports(
        &mut self,
        core: &mut Core<Message<K>, K>,
        place: usize,
        attempt: &mut Attempt,
        medium: usize,
    ) -> Worked {
        let ip = match attempt.address.map(|address| address.ip().to_canonical()) {
            Some(IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        // From where the last pair was: those before it are taken by then.
        let (first, until) = (
            self.config.udp_port,
            self.config.udp_port.saturating_add(limits::UDP_PORTS_TRIED),
        );
        let from = first.saturating_add(self.pulls.next_port);
        let opened = core.open_datagram_pair(ip, from..until);
        let opened = opened.or_else(|_| core.open_datagram_pair(ip, first..until));
        let [rtp, rtcp] = match opened {
            Ok(pair) => pair,
            Err(error) => {
                debug!(%error, "no UDP ports for a source");
                return Ok(attempt.session.ports_refused()?);
            }
        };
        for (socket, part) in [(rtp, Part::Rtp), (rtcp, Part::Rtcp)] {
            let origin = Socket {
                place,
                medium,
                part,
                reports: rtcp,
            };
            self.pulls.sockets.insert(socket, origin);
        }
        let port = |socket| core.datagram_address(socket).map_or(0, |address| address.port());
        let ports = Ports {
            rtp: port(rtp),
            rtcp: port(rtcp),
        };
        self.pulls.next_port = (ports.rtcp.saturating_sub(first) + 1) % limits::UDP_PORTS_TRIED;
        attempt.session.ports(ports);
        Ok(())
    }

    /// Whether a datagram is for a pull.
    pub(in crate::app) fn pull_datagram(
        &mut self,
        core: &mut Core<Message<K>, K>,
        socket: DatagramId,
        from: SocketAddr,
        bytes: &[u8],
    ) -> bool {
        let Some(origin) = self.pulls.sockets.get(&socket).copied() else {
            return false;
        };
        let attempt = self.pulls.at_mut(origin.place).and_then(|pull| pull.attempt.as_deref());
        let conn = attempt
            .filter(|attempt| attempt.is_from(origin.medium, from.ip()))
            .and_then(|attempt| match attempt.link {
                Link::Open(conn) => Some(conn),
                _ => None,
            });
        let Some(conn) = conn else {
            self.counters.datagrams_stray.add(1);
            return true;
        };
        self.with_peer(core, conn, |app, core, _| {
            app.with_pull(core, origin.place, |app, core, attempt| {
                if origin.part == Part::Rtp {
                    attempt.session.alive(core.now() / 1000);
                }
                let what = (origin.medium, origin.part, Arrival::Datagram);
                let stream = match attempt.playing_since {
                    None => app.pull_early(core, origin.place, &mut attempt.early, what, bytes),
                    Some(_) => app.pull_packet(core, origin.place, what, bytes),
                };
                if let Some(stream) = stream {
                    app.flush_stream(core, stream);
                }
                Ok(())
            });
        });
        true
    }

    /// A packet to each of the server's ports: what stands between lets answers through.
    pub(super) fn pull_punch(&self, core: &mut Core<Message<K>, K>, place: usize, attempt: &Attempt, lane: &Lane) {
        let Way::Datagrams {
            theirs: Some(theirs),
            source,
            ..
        } = lane.way
        else {
            return;
        };
        let Some(address) = attempt.address else { return };
        let ip = source.unwrap_or(address.ip());
        for (part, port, packet) in [
            (Part::Rtp, theirs.rtp, PUNCH_RTP),
            (Part::Rtcp, theirs.rtcp, PUNCH_RTCP),
        ] {
            let its = |origin: &&Socket| (origin.place, origin.medium, origin.part) == (place, lane.medium, part);
            let socket = self
                .pulls
                .sockets
                .iter()
                .find(|(_, origin)| its(origin))
                .map(|(socket, _)| *socket);
            if let Some(socket) = socket.filter(|_| port != 0) {
                core.send_datagram(socket, SocketAddr::new(ip, port), packet);
            }
        }
    }

    pub(super) fn pull_send_report(
        &self,
        core: &mut Core<Message<K>, K>,
        place: usize,
        (medium, attempt): (usize, &Attempt),
        (source, port): (Option<IpAddr>, u16),
        report: &[u8],
    ) {
        let its = |origin: &&Socket| (origin.place, origin.medium) == (place, medium);
        let socket = self.pulls.sockets.values().find(its).map(|origin| origin.reports);
        let ip = source.or_else(|| attempt.address.map(|address| address.ip()));
        if let (Some(socket), Some(ip)) = (socket, ip)
            && port != 0
        {
            core.send_datagram(socket, SocketAddr::new(ip, port), report);
        }
    }

    pub(super) fn pull_close_sockets(&mut self, core: &mut Core<Message<K>, K>, place: usize) {
        self.pulls.sockets.retain(|socket, origin| {
            if origin.place == place {
                core.close_datagrams(*socket);
            }
            origin.place != place
        });
    }
}

impl Attempt {
    /// Whether a medium's packets may come from `ip`.
    fn is_from(&self, medium: usize, ip: IpAddr) -> bool {
        let lane = self.lanes.iter().find(|lane| lane.medium == medium);
        let said = match lane.map(|lane| lane.way) {
            Some(Way::Datagrams { source, .. }) => source,
            _ => None,
        };
        let is = |other: IpAddr| other.to_canonical() == ip.to_canonical();
        said.is_some_and(is) || self.address.is_some_and(|address| is(address.ip()))
    }
}

/// An RTP packet without payload; an RTCP receiver report without blocks. Both of source 0, which nobody is.
const PUNCH_RTP: &[u8] = &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const PUNCH_RTCP: &[u8] = &[0x80, 0xc9, 0, 1, 0, 0, 0, 0];
