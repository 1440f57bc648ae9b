//! What shards say to each other, and what the control plane says to them: one closed enum.
//!
//! Dialogues (DESIGN.md 4.5): *claim* (publisher's shard, arbiter, home), *open* (viewer's shard, arbiter or home,
//! viewer's shard), *move* (publisher's shard, home), *place* (a viewer goes to the shard that will serve it), *offer*
//! (a shard with too much load, one with little: so many seats, the viewers, settled). Each question has one answer; a
//! peer that is gone by then is no error.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use penstock_proto::media::Track;
use penstock_proto::rtsp::tunnel;
use penstock_shard::connection::ConnId;
use penstock_shard::core::Detached;
use penstock_shard::feed::Feed;
use penstock_shard::kernel::{Kernel, Uring};
use penstock_shard::mesh::ShardId;

use crate::config::{Protocol, SecondPublisher};
use crate::names::{Hosts, StreamName};
use crate::registry::Packaging;
use crate::shelf::{Edition, Item, Shelving};
use crate::tls::Servers;

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
    /// To where its other half is: this half of a tunnel is yours.
    Half(Box<MovedHalf<K>>),
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
    /// To the shard that is to serve it: this viewer is yours.
    Viewer(Box<MovedViewer<K>>),
    /// To the shard that sent a viewer: its stream is not at home here.
    NotHome { name: StreamName },
    /// To a shard with less load: take some of these viewers.
    Offer(Box<Offer>),
    /// The answer: for so many there is room, and their positions are claimed. 0 refuses.
    Seats {
        name: StreamName,
        packaging: Packaging,
        from: ShardId,
        seats: u32,
    },
    /// To the shard that gave seats: all who came have come.
    Settled {
        name: StreamName,
        packaging: Packaging,
        from: ShardId,
    },
    /// To the home: `from` has viewers of this feed, who came from another shard.
    Watch {
        name: StreamName,
        feed: Arc<Feed>,
        from: ShardId,
    },
    /// Memory is short, and this shard's windows are the largest.
    ShortenWindows,
    /// To the home: no viewer of `from` is left. The feed itself is named, since a newer one of the same packaging may
    /// be watched by then.
    Unwatch {
        name: StreamName,
        feed: Arc<Feed>,
        from: ShardId,
    },
    /// To the arbiter: hand this question to the home, if there is one.
    FindShelf(Shelve),
    /// To the home: a viewer of `from` wants this, and it is not on the edition that `from` has.
    Shelve(Shelve),
    /// The answer to the shard that asked.
    Shelved {
        name: StreamName,
        item: Item,
        shelving: Shelving,
    },
    /// From the home to every shard that uses the stream's shelf: it has changed.
    Edition { name: StreamName, edition: Arc<Edition> },
    /// From the home: the shelf is gone, or no edition will come any more because this shard has not used it for long.
    Unshelved { name: StreamName },
    /// From the control plane: play the built-in clip as `name`. To the arbiter of `name`.
    PlayClip { name: StreamName },
    /// From the control plane: pull the source of `name` from now on. To the arbiter of `name`.
    StartPull { name: StreamName },
    /// To the home: the name is yours to pull.
    Pull { name: StreamName, claim: ClaimId },
    /// The addresses of a host name that this shard asked for.
    Resolved {
        tag: u64,
        addresses: io::Result<Vec<IpAddr>>,
    },
    /// From the control plane, to every shard: the host names of push rules have other addresses now.
    Hosts(Arc<Hosts>),
    /// From the control plane, to every shard: what listeners show from now on.
    Certificates(Servers),
    /// From the control plane: end everybody cleanly, then the shard.
    Shutdown,
}

#[derive(Clone, Debug)]
pub struct Open {
    pub name: StreamName,
    /// None: only whether the stream is there, and its tracks.
    pub packaging: Option<Packaging>,
    pub from: ShardId,
    pub placing: Placing,
}

#[derive(Clone, Debug)]
pub struct Shelve {
    pub name: StreamName,
    pub item: Item,
    pub from: ShardId,
}

/// Whether the home may say that another shard is to serve who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placing {
    Anywhere,
    /// Its viewers have been sent there.
    Here,
}

#[derive(Debug)]
pub enum Opening {
    Feed {
        home: ShardId,
        feed: Arc<Feed>,
    },
    /// Another shard is to serve its viewers.
    Elsewhere {
        home: ShardId,
        shard: ShardId,
    },
    /// The stream is there, with these tracks.
    There {
        home: ShardId,
        tracks: Arc<[Track]>,
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
    pub protocol: Protocol,
    /// The exported session.
    pub session: Vec<u8>,
    /// Received and not yet taken by it.
    pub pending: Vec<u8>,
}

/// One of a tunnel's two connections on its way to where they meet. It has no session yet.
#[derive(Debug)]
pub struct MovedHalf<K: Kernel> {
    pub opening: tunnel::Opening,
    pub detached: Detached<K::Socket>,
    pub peer: SocketAddr,
    /// Received behind the opening.
    pub said: Vec<u8>,
}

/// A viewer's connection on its way to the shard that will serve it.
#[derive(Debug)]
pub struct MovedViewer<K: Kernel> {
    pub name: StreamName,
    pub packaging: Packaging,
    pub from: ShardId,
    pub progress: Progress,
    pub settling: Settling,
    pub detached: Detached<K::Socket>,
    pub peer: SocketAddr,
    /// The exported session.
    pub session: Vec<u8>,
    /// Received and not yet taken by it.
    pub pending: Vec<u8>,
}

/// How far a viewer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has given up what it asked for.
    Idle,
    /// It waits for its stream; one that resumes has watched since then (µs).
    Asking {
        since: Option<u64>,
    },
    /// It watches since then (µs): its place in the feed comes with its connection.
    Watching {
        since: u64,
    },
    Paused {
        since: u64,
    },
}

/// Whether a viewer may be sent on before it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settling {
    /// It was not sent anywhere.
    Free,
    /// To what was its stream's home when that was last heard of: sent on once, if it is no longer.
    ToHome,
    /// Where it was told to go.
    Settled,
    /// There was no room for it where it was told to go.
    Returned,
}

/// Viewers of one feed that a shard would give away.
#[derive(Debug)]
pub struct Offer {
    pub name: StreamName,
    pub packaging: Packaging,
    pub feed: Arc<Feed>,
    pub home: ShardId,
    pub from: ShardId,
    pub viewers: u32,
    /// The lowest position that they may bring.
    pub floor: u64,
    /// The offering shard's load, and what one of them costs.
    pub load: u64,
    pub each: u64,
}
