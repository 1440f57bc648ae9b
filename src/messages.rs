//! What shards say to each other, and what the control plane says to them: one closed enum.
//!
//! Dialogues (DESIGN.md 4.5): *claim* (publisher's shard, arbiter, home), *open* (viewer's shard, arbiter or home,
//! viewer's shard), *move* (publisher's shard, home). Each question has one answer; a peer that is gone by then is no
//! error.

use std::net::SocketAddr;
use std::sync::Arc;

use penstock_shard::connection::ConnId;
use penstock_shard::core::Detached;
use penstock_shard::feed::Feed;
use penstock_shard::kernel::{Kernel, Uring};
use penstock_shard::mesh::ShardId;

use crate::config::SecondPublisher;
use crate::names::{Hosts, StreamName};
use crate::registry::Packaging;

/// Names one grant of a name to a publisher, unique in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimId(pub u64);

/// Why a name was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameTaken {
    /// Somebody publishes.
    Busy,
    /// As many names as one arbiter keeps are in use.
    Full,
}

#[derive(Debug)]
pub enum Message<K: Kernel = Uring> {
    /// To the arbiter: may this publisher have the name?
    Claim {
        name: StreamName,
        claim: ClaimId,
        from: ShardId,
        conn: ConnId,
        second: SecondPublisher,
    },
    /// The arbiter's answer: the home shard, or why not.
    Claimed {
        conn: ConnId,
        claim: ClaimId,
        home: Result<ShardId, NameTaken>,
    },
    /// To the arbiter: the publisher is gone.
    Release { name: StreamName, claim: ClaimId },
    /// To the home: the name has no publisher; if there is no stream of it either, say [`Message::Gone`].
    Vacant { name: StreamName },
    /// To the arbiter: the stream is gone from its home.
    Gone { name: StreamName },
    /// To the home: end this publisher, another takes its place.
    Replace { name: StreamName, claim: ClaimId },
    /// To the home: this publisher is yours.
    Move(Box<Moved<K>>),
    /// To the arbiter: hand this question to the home, if there is one.
    Find(Open),
    /// To the home: a viewer of `from` wants this feed.
    Open(Open),
    /// The answer to the shard that asked.
    Opened {
        name: StreamName,
        packaging: Option<Packaging>,
        outcome: Opening,
    },
    /// To the home: no viewer of `from` is left. The feed itself is named, since a newer one of the same packaging may
    /// be watched by then.
    Unwatch {
        name: StreamName,
        feed: Arc<Feed>,
        from: ShardId,
    },
    /// From the control plane: play the built-in clip as `name`. To the arbiter of `name`.
    PlayClip { name: StreamName },
    /// From the control plane, to every shard: the host names of push rules have other addresses now.
    Hosts(Arc<Hosts>),
    /// From the control plane: end everybody cleanly, then the shard.
    Shutdown,
}

#[derive(Clone, Debug)]
pub struct Open {
    pub name: StreamName,
    /// None: only whether the stream is there.
    pub packaging: Option<Packaging>,
    pub from: ShardId,
}

#[derive(Debug)]
pub enum Opening {
    Feed {
        home: ShardId,
        feed: Arc<Feed>,
    },
    /// The stream is there.
    There {
        home: ShardId,
    },
    /// No such stream, or not here.
    NotThere,
    /// There is no memory for another feed, or too many wait.
    Busy,
    /// The stream has no track that this packaging can carry.
    NothingToCarry,
}

/// A publisher's connection on its way to its home.
#[derive(Debug)]
pub struct Moved<K: Kernel> {
    pub name: StreamName,
    pub claim: ClaimId,
    pub detached: Detached<K::Socket>,
    pub peer: SocketAddr,
    /// The exported session.
    pub session: Vec<u8>,
    /// Received and not yet taken by it.
    pub pending: Vec<u8>,
}
