//! What holds on a shard's part of the appliance between two passes, for tests and simulation. The appliance never calls
//! it.

use std::collections::BTreeSet;

use penstock_shard::connection::ConnId;
use penstock_shard::core::Core;
use penstock_shard::kernel::Kernel;

use super::dialogue::Role;
use super::{App, Session};
use crate::messages::Message;

impl<K: Kernel> App<K> {
    /// # Panics
    /// When sessions, streams, watches and counts contradict each other. Only between two steps of the shard.
    pub fn check_invariants(&self, core: &Core<Message<K>, K>) {
        let peers: BTreeSet<ConnId> = self.peers.places.iter().flatten().map(|peer| peer.id).collect();
        let connections: BTreeSet<ConnId> = core.connection_ids().into_iter().collect();
        assert_eq!(peers, connections, "every connection has a session");
        self.check_roles();
        self.streams.check_invariants();
        self.watches.check_invariants(core);
        let feeds: usize = self.streams.iter().map(|stream| stream.feeds.len()).sum();
        assert_eq!(self.counters.feeds.value(), feeds as u64, "feeds counted and made");
        assert_eq!(self.counters.streams.value(), self.streams.len() as u64);
        let shortened = self.streams.iter().filter(|stream| stream.is_shortened()).count();
        assert_eq!(self.counters.streams_shortened.value(), shortened as u64);
        for stream in self.streams.iter() {
            let conn = stream.publisher.as_ref().and_then(|publisher| publisher.conn);
            assert!(
                conn.is_none_or(|conn| peers.contains(&conn)),
                "a stream's publisher is here"
            );
            assert!(stream.publisher.is_some() || stream.gone_since.is_some());
        }
    }

    fn check_roles(&self) {
        let (mut viewers, mut publishers) = (0, 0);
        for peer in self.peers.places.iter().flatten() {
            let role = match &peer.session {
                Session::Http(session) => {
                    viewers += u64::from(session.is_watching());
                    continue;
                }
                Session::Rtmp(session) => &session.role,
                Session::Rtsp(session) => &session.role,
                Session::Pull(_) => continue,
            };
            if let Session::Rtsp(session) = &peer.session {
                let is_listed = self.groups.listeners().any(|(_, conn)| conn == peer.id);
                assert_eq!(session.listens(), is_listed, "who listens to groups is listed");
            }
            match role {
                Role::Watching { .. } | Role::Paused { .. } | Role::Asking { since: Some(_), .. } => viewers += 1,
                Role::Publishing { name, claim, place } => {
                    publishers += 1;
                    let stream = self.streams.at(*place).filter(|stream| stream.name == *name);
                    let publisher = stream.and_then(|stream| stream.publisher.as_ref());
                    let is_its = publisher.is_some_and(|publisher| publisher.claim == *claim);
                    assert!(is_its || self.stopping, "who publishes has its stream");
                }
                _ => {}
            }
        }
        let sessions = || self.peers.places.iter().flatten().collect::<Vec<_>>();
        let counted = self.counters.viewers.value();
        assert_eq!(counted, viewers, "viewers counted and watching: {:#?}", sessions());
        let counted = self.counters.publishers.value();
        assert_eq!(counted, publishers, "publishers counted and there: {:#?}", sessions());
    }

    /// # Panics
    /// When something is left on a shard whose peers have gone, and whose streams have ended.
    pub fn check_rest(&self) {
        assert!(self.peers.places.iter().all(Option::is_none), "no session is left");
        assert_eq!(self.streams.len(), 0, "no stream is left");
        assert!(self.directory.is_empty(), "no name is claimed by the dead");
        assert!(self.watches.is_empty(), "no feed is watched by nobody");
        assert!(self.datagrams.is_empty(), "no address is the dead's");
        assert!(self.tunnels.is_empty(), "no half of a tunnel is the dead's");
        assert!(self.groups.is_empty(), "no group is sent to for the dead");
        assert!(self.outbox.is_empty(), "no message waits");
        assert!(self.placement.is_empty(), "no viewer is on its way");
    }
}
