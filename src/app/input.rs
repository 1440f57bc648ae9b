//! What all sessions of a shard hold of their peers' input together. Each is bounded by its protocol; thousands of them are
//! not, unless somebody adds them up.

use std::cmp::Reverse;

use penstock_shard::core::Core;
use penstock_shard::kernel::Kernel;

use super::dialogue::Role;
use super::{App, Peer, Session};
use crate::limits;
use crate::messages::Message;

impl<K: Kernel> App<K> {
    /// Counts what a peer holds, behind every call for it.
    pub(super) fn account(&mut self, peer: &mut Peer) {
        let held = match &peer.session {
            Session::Http(session) => session.held_bytes(),
            Session::Rtmp(session) => session.held_bytes() + self.start_bytes(&session.role),
            Session::Rtsp(session) => session.held_bytes() + self.start_bytes(&session.role),
            Session::Pull(session) => self.pulls.held_bytes(session),
        };
        self.input_bytes = self.input_bytes + held - peer.held_bytes;
        peer.held_bytes = held;
    }

    /// Ends those who hold the most when all of them hold too much, first those who publish nothing.
    pub(super) fn bound_input(&mut self, core: &mut Core<Message<K>, K>) {
        if self.input_bytes <= limits::INPUT_BYTES_MAX {
            return;
        }
        let mut peers: Vec<&mut Peer> = self.peers.places.iter_mut().flatten().collect();
        peers.sort_by_key(|peer| (peer.publishes(), Reverse(peer.held_bytes)));
        for peer in peers {
            if self.input_bytes <= limits::INPUT_BYTES_KEPT {
                break;
            }
            self.input_bytes -= std::mem::take(&mut peer.held_bytes);
            self.counters.connections_closed_input.add(1);
            core.abort(peer.id);
        }
    }

    /// What the start of a publisher holds back.
    fn start_bytes(&self, role: &Role) -> usize {
        match role {
            Role::Publishing { place, .. } => self.streams.at(*place).map_or(0, |stream| stream.start_bytes()),
            _ => 0,
        }
    }
}

impl Peer {
    fn publishes(&self) -> bool {
        matches!(self.session, Session::Pull(_)) || matches!(self.session.role(), Some(Role::Publishing { .. }))
    }
}
