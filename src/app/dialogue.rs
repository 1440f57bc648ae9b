//! Sessions that may publish, whatever their protocol: what they do for the appliance, and what it needs of them to give
//! out names, move publishers and end them (`publishers`). HTTP has no part in it.

use std::net::SocketAddr;

use penstock_shard::connection::ConnId;
use penstock_shard::core::Core;
use penstock_shard::kernel::Kernel;

use super::admission::Refusal;
use super::{App, Session};
use crate::config::Protocol;
use crate::limits;
use crate::messages::{ClaimId, Message};
use crate::names::StreamName;
use crate::registry::Packaging;
use crate::stream::Input;

/// What a session is for.
#[derive(Debug)]
pub(super) enum Role {
    None,
    /// The arbiter is asked for the name.
    Claiming {
        name: StreamName,
        claim: ClaimId,
    },
    /// On its way to the stream's home.
    Moving {
        name: StreamName,
        claim: ClaimId,
    },
    /// At the stream's home, which is here.
    Publishing {
        name: StreamName,
        claim: ClaimId,
        place: usize,
    },
    /// A player wants to know what a stream has.
    Describing {
        name: StreamName,
    },
    Asking {
        name: StreamName,
        packaging: Packaging,
        /// Of a viewer who resumes: since when it watches.
        since: Option<u64>,
    },
    Watching {
        name: StreamName,
        packaging: Packaging,
        since: u64,
    },
    Paused {
        name: StreamName,
        packaging: Packaging,
        since: u64,
    },
}

/// Why a publish is refused, for which each protocol has its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// What is asked for is no name.
    BadName,
    /// No such stream.
    Unknown,
    /// Somebody publishes it.
    Taken,
    /// The stream takes no publishers.
    Rejected,
    /// Not without the passphrase.
    PassphraseMissing,
    /// Not from there, or not with that passphrase.
    Unauthorized,
    /// There is no room or no time for it.
    Failed,
}

/// A session that may publish.
pub(super) trait Dialogue<K: Kernel> {
    fn protocol(&self) -> Protocol;

    fn role(&mut self) -> &mut Role;

    /// What reads what it will publish.
    fn input(&self, now: u64) -> Input;

    /// The peer hears that it may begin.
    fn accept_publish(&mut self);

    /// Whether the peer was asked to prove who it is: it may come again on the same connection.
    fn is_challenged(&mut self, _now: u64, _asked: &str, _refusal: &Refusal) -> bool {
        false
    }

    /// The peer hears that it may not.
    fn refuse_publish(&mut self, denial: Denial, why: &str);

    /// Another publisher has taken over.
    fn replaced(&mut self);

    /// Sends what the session has to say, where no event can be among it.
    fn transmit(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId);

    /// Whether it can go to another shard, where its stream is at home.
    fn is_portable(&self) -> bool {
        true
    }

    /// The session as bytes.
    fn export(&self, out: &mut Vec<u8>);

    /// Input that it has not taken.
    fn pending(&mut self) -> &mut Vec<u8>;

    /// It goes to another shard, which takes up what comes.
    fn is_leaving(&self) -> bool;

    /// It takes nothing before it is told what it asked for.
    fn awaits_decision(&self) -> bool;

    /// Gives the session what it takes; the rest is kept.
    fn feed(
        &mut self,
        app: &mut App<K>,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        bytes: &[u8],
    );
}

impl Session {
    /// None of a session that never publishes.
    pub fn dialogue<K: Kernel>(&mut self) -> Option<&mut dyn Dialogue<K>> {
        match self {
            Session::Http(_) => None,
            Session::Rtmp(session) => Some(&mut **session),
            Session::Rtsp(session) => Some(&mut **session),
            Session::Pull(_) => None,
        }
    }

    /// None of a session that has none.
    pub fn role(&self) -> Option<&Role> {
        match self {
            Session::Http(_) => None,
            Session::Rtmp(session) => Some(&session.role),
            Session::Rtsp(session) => Some(&session.role),
            Session::Pull(_) => None,
        }
    }

    pub fn role_mut(&mut self) -> Option<&mut Role> {
        match self {
            Session::Http(_) => None,
            Session::Rtmp(session) => Some(&mut session.role),
            Session::Rtsp(session) => Some(&mut session.role),
            Session::Pull(_) => None,
        }
    }
}

impl<K: Kernel> App<K> {
    /// What came of its peer goes to the session, or is kept for as long as that cannot take it.
    pub(super) fn dialogue_received(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut impl Dialogue<K>,
        bytes: &[u8],
    ) {
        let is_leaving = peer.is_leaving();
        if peer.pending().is_empty() && !is_leaving {
            return peer.feed(self, core, conn, address, bytes);
        }
        peer.pending().extend_from_slice(bytes);
        let pending_bytes_max = match peer.role() {
            Role::Claiming { .. } | Role::Moving { .. } => limits::PENDING_INPUT_BYTES_MAX,
            _ => limits::PENDING_REQUESTS_BYTES_MAX,
        };
        if peer.pending().len() > pending_bytes_max {
            self.counters.connections_closed_pending.add(1);
            return core.abort(conn);
        }
        let is_moving = matches!(peer.role(), Role::Moving { .. });
        if !peer.awaits_decision() && !is_moving && !is_leaving {
            let pending = std::mem::take(peer.pending());
            peer.feed(self, core, conn, address, &pending);
        }
    }
}
