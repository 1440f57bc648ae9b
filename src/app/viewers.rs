//! Viewers of any protocol on this shard: which feeds it watches, who waits for one to be opened, where streams live.
//!
//! A feed is asked for once per shard (DESIGN.md 4.5); later viewers join without a message, or go to the shard that is to
//! serve them (`placement`). An answer from a cached
//! home that says "not here" is asked again of the arbiter before a viewer is told so.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use penstock_proto::media::Track;
use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, FeedId};
use penstock_shard::fanout::Class;
use penstock_shard::feed::Feed;
use penstock_shard::kernel::Kernel;
use penstock_shard::mesh::ShardId;
use tracing::info;

use super::dialogue::Role;
use super::{App, Session};
use crate::config::Source;
use crate::directory::arbiter_of;
use crate::limits;
use crate::messages::{Message, Open, Opening, Placing, Settling};
use crate::names::StreamName;
use crate::registry::{self, Packaging};

pub(super) type Key = (StreamName, Option<Packaging>);

/// The feeds that this shard watches or is asking for.
#[derive(Debug, Default)]
pub(super) struct Watches {
    asked: HashMap<Key, Asked>,
    open: HashMap<Key, Watched>,
    keys: HashMap<FeedId, Key>,
    /// Where streams were found; asked again when wrong.
    homes: HashMap<StreamName, ShardId>,
}

#[derive(Debug)]
struct Asked {
    /// Those who wait longest first. May be empty: the answer is waited for all the same.
    waiting: VecDeque<ConnId>,
    /// The question went to a cached home, not to the arbiter.
    cached: bool,
    placing: Placing,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Watched {
    pub feed: FeedId,
    pub home: ShardId,
}

impl Watches {
    pub fn home(&self, name: &StreamName) -> Option<ShardId> {
        self.homes.get(name).copied()
    }

    pub fn forget_home(&mut self, name: &StreamName) {
        self.homes.remove(name);
    }

    /// The feed that viewers who come now would watch.
    pub fn feed_of(&self, key: &Key) -> Option<Watched> {
        self.open.get(key).copied()
    }

    /// Every feed with viewers here, by its key.
    pub fn feeds(&self) -> impl Iterator<Item = (&Key, Watched)> {
        self.open.iter().map(|(key, watched)| (key, *watched))
    }

    pub fn is_asking(&self, key: &Key) -> bool {
        self.asked.contains_key(key)
    }

    /// Apart from where streams were found.
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.open.is_empty() && self.keys.is_empty()
    }

    /// # Panics
    /// When a feed is watched under no key, or under one that is no feed's.
    pub fn check_invariants<K: Kernel>(&self, core: &Core<Message<K>, K>) {
        for (id, key) in &self.keys {
            assert!(core.feed(*id).is_some(), "{key:?} is watched and not open");
            assert!(core.is_needed(*id), "{key:?} is watched by nobody");
        }
        for (key, watched) in &self.open {
            assert_eq!(self.keys.get(&watched.feed), Some(key), "both tables know a feed");
        }
    }
}

/// What a viewer's session is told about its question.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// Its cursor can join.
    Watch(FeedId),
    /// Another shard is to serve it.
    Elsewhere {
        shard: ShardId,
        settling: Settling,
    },
    /// These are its tracks.
    There(Arc<[Track]>),
    NotThere,
    Busy,
    /// This core has no more to give; those who watch come first.
    Overloaded,
    NothingToCarry,
}

impl<K: Kernel> App<K> {
    /// What somebody new is told: an overloaded core takes nobody in, since those who watch would wait longer.
    pub(super) fn unless_overloaded(&self, core: &Core<Message<K>, K>, answer: Answer) -> Answer {
        match answer {
            Answer::Watch(_) if core.is_overloaded() => {
                self.counters.viewers_refused_overload.add(1);
                Answer::Overloaded
            }
            answer => answer,
        }
    }

    /// Asks for a feed on behalf of a viewer. The answer, if it is there at once; otherwise the session is told later.
    pub(super) fn ask(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        name: &StreamName,
        packaging: Option<Packaging>,
        settling: Settling,
    ) -> Option<Answer> {
        let key = (name.clone(), packaging);
        if settling == Settling::Free
            && let Some(answer) = self.destination(core, &key)
        {
            return Some(answer);
        }
        if let Some(watched) = self.watches.open.get(&key)
            && core.feed(watched.feed).is_some_and(|feed| !feed.is_ended())
        {
            return Some(Answer::Watch(watched.feed));
        }
        if let Some(asked) = self.watches.asked.get_mut(&key) {
            asked.waiting.push_back(conn);
            return None;
        }
        let home = self.watches.homes.get(name).copied();
        let placing = match settling {
            Settling::Free | Settling::ToHome => Placing::Anywhere,
            Settling::Settled | Settling::Returned => Placing::Here,
        };
        let sent = self.send_question(core, name, packaging, home, placing);
        if !sent {
            return Some(Answer::Busy);
        }
        self.watches.asked.insert(
            key,
            Asked {
                waiting: VecDeque::from([conn]),
                cached: home.is_some(),
                placing,
            },
        );
        None
    }

    fn send_question(
        &mut self,
        core: &mut Core<Message<K>, K>,
        name: &StreamName,
        packaging: Option<Packaging>,
        home: Option<ShardId>,
        placing: Placing,
    ) -> bool {
        let open = Open {
            name: name.clone(),
            packaging,
            from: core.id(),
            placing,
        };
        let sent = match home {
            Some(home) => self.send(core, home, Message::Open(open)),
            None => self.send(core, arbiter_of(name, core.shards()), Message::Find(open)),
        };
        sent.is_ok()
    }

    /// The viewer waits no longer. The question stays: its answer may bring a feed, which must be told that nobody watches.
    pub(super) fn wait_no_longer(&mut self, conn: ConnId, name: &StreamName, packaging: Option<Packaging>) {
        let key = (name.clone(), packaging);
        if let Some(asked) = self.watches.asked.get_mut(&key)
            && let Some(at) = asked.waiting.iter().position(|waiting| *waiting == conn)
        {
            asked.waiting.remove(at);
        }
    }

    /// An answer has come: everybody who waited is told.
    pub(super) fn opened(
        &mut self,
        core: &mut Core<Message<K>, K>,
        name: StreamName,
        packaging: Option<Packaging>,
        outcome: Opening,
    ) {
        let key = (name.clone(), packaging);
        let Some(asked) = self.watches.asked.remove(&key) else {
            return;
        };
        let answer = match outcome {
            Opening::Feed { home, feed } => {
                self.remember_home(&name, home);
                let class = packaging
                    .map(registry::class)
                    .expect("only questions for a feed are answered with one");
                Answer::Watch(self.watch_feed(core, &key, feed, class, home))
            }
            Opening::Elsewhere { home, shard } => {
                self.remember_home(&name, home);
                let settling = Settling::Settled;
                Answer::Elsewhere { shard, settling }
            }
            Opening::There { home, tracks } => {
                self.remember_home(&name, home);
                Answer::There(tracks)
            }
            Opening::NotThere if asked.cached => {
                self.watches.homes.remove(&name);
                if self.send_question(core, &name, packaging, None, asked.placing) {
                    self.watches.asked.insert(key, Asked { cached: false, ..asked });
                    return;
                }
                Answer::Busy
            }
            Opening::NotThere => Answer::NotThere,
            Opening::Busy => Answer::Busy,
            Opening::NothingToCarry => Answer::NothingToCarry,
        };
        for conn in asked.waiting {
            self.tell(core, conn, (&name, packaging), answer.clone());
        }
        if let Answer::Watch(feed) = answer {
            // Nobody may be left of those who waited.
            self.viewers_left(core, feed);
        }
    }

    /// This shard watches a feed from here on.
    pub(super) fn watch_feed(
        &mut self,
        core: &mut Core<Message<K>, K>,
        key: &Key,
        feed: Arc<Feed>,
        class: Class,
        home: ShardId,
    ) -> FeedId {
        let id = core.open_feed(feed, class);
        self.watches.open.insert(key.clone(), Watched { feed: id, home });
        self.watches.keys.insert(id, key.clone());
        self.feed_opened_here(core, &key.0, key.1, id);
        id
    }

    fn remember_home(&mut self, name: &StreamName, home: ShardId) {
        if self.watches.homes.len() >= limits::NAMES_PER_ARBITER_MAX {
            self.watches.homes.clear();
        }
        self.watches.homes.insert(name.clone(), home);
    }

    /// A session that has asked another question since takes no answer to this one.
    fn tell(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        question: (&StreamName, Option<Packaging>),
        answer: Answer,
    ) {
        self.with_peer(core, conn, |app, core, peer| match &mut peer.session {
            Session::Http(session) if session.asks() == Some(question) => {
                app.http_answered(core, conn, peer.address, session, answer);
            }
            Session::Rtmp(session) if session.asks() == Some(question) => {
                app.rtmp_answered(core, conn, peer.address, session, answer);
            }
            Session::Rtsp(session) if session.asks() == Some(question) => {
                app.rtsp_answered(core, conn, peer.address, session, answer);
            }
            _ => {}
        });
    }

    /// A feed without viewers here is forgotten, and its home told.
    pub(super) fn viewers_left(&mut self, core: &mut Core<Message<K>, K>, id: FeedId) {
        let Some(feed) = core.feed(id).filter(|_| !core.is_needed(id)).cloned() else {
            return;
        };
        core.close_feed(id);
        let Some(key) = self.watches.keys.remove(&id) else {
            return;
        };
        // A newer feed may stand there, when this one has ended.
        let watched = self.watches.open.get(&key).copied();
        let Some(watched) = watched.filter(|watched| watched.feed == id) else {
            return;
        };
        self.watches.open.remove(&key);
        let (name, _) = key;
        self.feed_closed_here(&name, &feed);
        let unwatch = Message::Unwatch {
            name,
            feed,
            from: core.id(),
        };
        self.deliver(core, watched.home, unwatch);
    }

    /// The viewer watches, or waits to, no longer.
    pub(super) fn viewer_gone(
        &mut self,
        core: &Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        role: &mut Role,
        why: String,
    ) {
        match &*role {
            Role::Asking { name, packaging, .. } => self.wait_no_longer(conn, name, Some(*packaging)),
            Role::Describing { name } => self.wait_no_longer(conn, name, None),
            _ => {}
        }
        match std::mem::replace(role, Role::None) {
            Role::Asking { since: None, .. } | Role::Describing { .. } => {}
            Role::Watching { name, packaging, since }
            | Role::Paused { name, packaging, since }
            | Role::Asking {
                name,
                packaging,
                since: Some(since),
            } => {
                self.counters.viewers.sub(1);
                let (seconds, output) = ((core.now() - since) / 1_000_000, registry::title(packaging));
                info!(stream = name.as_str(), output, peer = %address, seconds, reason = why, "viewer left");
            }
            other => *role = other,
        }
    }

    /// Why a viewer gets nothing, in words for it.
    pub(super) fn why_not(&self, answer: &Answer, name: &StreamName, packaging: Packaging) -> String {
        let stream = name.as_str();
        match answer {
            Answer::Busy => "the server is short of memory or too busy; try again".into(),
            Answer::Overloaded => "the server has as many viewers as it can serve in time; try again later".into(),
            Answer::NothingToCarry => format!("no track of {stream} can be carried in {}", registry::title(packaging)),
            _ => self.no_stream(name),
        }
    }

    /// Why nothing is there, in words for a viewer.
    pub(super) fn no_stream(&self, name: &StreamName) -> String {
        let stream = name.as_str();
        match self.configured(name) {
            Some(stream) if matches!(stream.source, Source::Pull(_)) => {
                format!("the source of {} cannot be reached", name.as_str())
            }
            Some(_) => format!("nobody publishes {stream}"),
            None => format!("no stream {stream} is configured"),
        }
    }

    /// The arbiter hands a question on to the stream's home.
    pub(super) fn find(&mut self, core: &mut Core<Message<K>, K>, open: Open) {
        let home = self.directory.home(&open.name);
        match home.or_else(|| self.start_pull(core, &open.name)) {
            Some(home) => self.deliver(core, home, Message::Open(open)),
            None => {
                let Open {
                    name, packaging, from, ..
                } = open;
                let answer = Message::Opened {
                    name,
                    packaging,
                    outcome: Opening::NotThere,
                };
                self.deliver(core, from, answer);
            }
        }
    }
}
