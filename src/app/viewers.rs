//! Viewers of any protocol on this shard: which feeds it watches, who waits for one to be opened, where streams live.
//!
//! A feed is asked for once per shard (DESIGN.md 4.5); later viewers join without a message. An answer from a cached
//! home that says "not here" is asked again of the arbiter before a viewer is told so.

use std::collections::HashMap;

use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, FeedId};
use penstock_shard::mesh::ShardId;

use super::{App, Session};
use crate::directory::arbiter_of;
use crate::limits;
use crate::messages::{Message, Open, Opening};
use crate::names::StreamName;
use crate::registry::{self, Packaging};

type Key = (StreamName, Option<Packaging>);

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
    waiting: Vec<ConnId>,
    /// The question went to a cached home, not to the arbiter.
    cached: bool,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    feed: FeedId,
    home: ShardId,
}

/// What a viewer's session is told about its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Its cursor can join.
    Watch(FeedId),
    There,
    NotThere,
    Busy,
    NothingToCarry,
}

impl App {
    /// Asks for a feed on behalf of a viewer. The answer, if it is there at once; otherwise the session is told later.
    pub(super) fn ask(
        &mut self,
        core: &mut Core<Message>,
        conn: ConnId,
        name: &StreamName,
        packaging: Option<Packaging>,
    ) -> Option<Answer> {
        let key = (name.clone(), packaging);
        if let Some(watched) = self.watches.open.get(&key)
            && core.feed(watched.feed).is_some_and(|feed| !feed.is_ended())
        {
            return Some(Answer::Watch(watched.feed));
        }
        if let Some(asked) = self.watches.asked.get_mut(&key) {
            asked.waiting.push(conn);
            return None;
        }
        let home = self.watches.homes.get(name).copied();
        let sent = self.send_question(core, name, packaging, home);
        if !sent {
            return Some(Answer::Busy);
        }
        self.watches.asked.insert(
            key,
            Asked {
                waiting: vec![conn],
                cached: home.is_some(),
            },
        );
        None
    }

    fn send_question(
        &mut self,
        core: &mut Core<Message>,
        name: &StreamName,
        packaging: Option<Packaging>,
        home: Option<ShardId>,
    ) -> bool {
        let open = Open {
            name: name.clone(),
            packaging,
            from: core.id(),
        };
        let sent = match home {
            Some(home) => core.send_message(home, Message::Open(open)),
            None => core.send_message(arbiter_of(name, core.shards()), Message::Find(open)),
        };
        sent.is_ok()
    }

    /// An answer has come: everybody who waited is told.
    pub(super) fn opened(
        &mut self,
        core: &mut Core<Message>,
        name: StreamName,
        packaging: Option<Packaging>,
        outcome: Opening,
    ) {
        let key = (name.clone(), packaging);
        let Some(asked) = self.watches.asked.remove(&key) else {
            return;
        };
        let answer = match outcome {
            Opening::Feed {
                home,
                feed,
                bytes_per_second,
            } => {
                self.remember_home(&name, home);
                let class = packaging
                    .map(registry::class)
                    .expect("only questions for a feed are answered with one");
                let id = core.open_feed(feed, class);
                core.set_feed_rate(id, bytes_per_second);
                self.watches.open.insert(key.clone(), Watched { feed: id, home });
                self.watches.keys.insert(id, key);
                self.feed_opened_here(core, &name, packaging, id);
                Answer::Watch(id)
            }
            Opening::There { home } => {
                self.remember_home(&name, home);
                Answer::There
            }
            Opening::NotThere if asked.cached => {
                self.watches.homes.remove(&name);
                if self.send_question(core, &name, packaging, None) {
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
            self.tell(core, conn, answer);
        }
        if let Answer::Watch(feed) = answer {
            // Nobody may be left of those who waited.
            self.viewers_left(core, feed);
        }
    }

    fn remember_home(&mut self, name: &StreamName, home: ShardId) {
        if self.watches.homes.len() >= limits::NAMES_PER_ARBITER_MAX {
            self.watches.homes.clear();
        }
        self.watches.homes.insert(name.clone(), home);
    }

    fn tell(&mut self, core: &mut Core<Message>, conn: ConnId, answer: Answer) {
        let Some(mut peer) = self.peers.take(conn) else { return };
        match &mut peer.session {
            Session::Http(session) => self.http_answered(core, conn, peer.address, session, answer),
            Session::Rtmp(session) => self.rtmp_answered(core, conn, peer.address, session, answer),
        }
        self.peers.insert(peer);
    }

    /// A feed without viewers here is forgotten, and its home told.
    pub(super) fn viewers_left(&mut self, core: &mut Core<Message>, feed: FeedId) {
        if core.feed(feed).is_none() || core.viewers(feed) > 0 {
            return;
        }
        core.close_feed(feed);
        let Some(key) = self.watches.keys.remove(&feed) else {
            return;
        };
        let Some(watched) = self
            .watches
            .open
            .get(&key)
            .copied()
            .filter(|watched| watched.feed == feed)
        else {
            return;
        };
        self.watches.open.remove(&key);
        let (name, Some(packaging)) = key else { return };
        self.feed_closed_here(&name, packaging, feed);
        let unwatch = Message::Unwatch {
            name,
            packaging,
            from: core.id(),
        };
        // A full inbox loses this: the feed is then made until the stream ends, and counted in messages_refused.
        if core.send_message(watched.home, unwatch).is_err() {
            tracing::warn!("a shard's inbox is full: a feed stays open without viewers");
        }
    }

    /// The arbiter hands a question on to the stream's home.
    pub(super) fn find(&mut self, core: &mut Core<Message>, open: Open) {
        let question = match self.directory.home(&open.name) {
            Some(home) => core.send_message(home, Message::Open(open)),
            None => {
                let Open { name, packaging, from } = open;
                core.send_message(
                    from,
                    Message::Opened {
                        name,
                        packaging,
                        outcome: Opening::NotThere,
                    },
                )
            }
        };
        self.report_refused(question);
    }

    /// A question that another shard's full inbox refused is answered "busy" by the viewer's own deadline.
    pub(super) fn report_refused(&self, sent: Result<(), Message>) {
        if sent.is_err() {
            tracing::warn!("a shard's inbox is full: a viewer or publisher will not be answered");
        }
    }
}
