//! What is fetched piece by piece, on the viewers' shards: from a URL ([`target`]) to a thing on the stream's shelf
//! ([`resolve`]), those who wait for one that is next, and the answers ([`answer`]).
//!
//! A shard answers from the newest edition that it has of a shelf. What is not on it the stream's home is asked for, once
//! per shard and thing. Who waits is woken by the next edition, and by nothing else; one timer a shard ends waits that
//! are too long.

mod answer;
mod here;
mod resolve;
mod target;

use std::collections::HashMap;
use std::sync::Arc;

use penstock_proto::http::Status;
use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, FeedId};
use penstock_shard::feed::Feed;
use penstock_shard::kernel::Kernel;
use penstock_shard::mesh::ShardId;

use super::http::{HttpPeer, State};
use super::{App, Session, Timer};
use crate::directory::arbiter_of;
use crate::limits;
use crate::messages::{Message, Shelve};
use crate::names::StreamName;
use crate::shelf::{Edition, Item, Shelving, TextKey};

use here::{Expected, Question, ShelfHere, Waiter};
use resolve::Found;
pub(super) use target::{Asked, Served, Target, parse};

/// What this shard knows of shelves, and the feeds it sends ranges of.
#[derive(Debug, Default)]
pub(super) struct Segmented {
    shelves: HashMap<StreamName, ShelfHere>,
    feeds: HashMap<FeedId, Arc<Feed>>,
    /// Their names here, by where they are in memory.
    local: HashMap<usize, FeedId>,
    is_timed: bool,
}

/// A request that is being answered.
#[derive(Clone, Debug)]
pub(super) struct Fetch {
    pub name: StreamName,
    pub asked: Asked,
    pub since: u64,
    /// Times that what it was to be sent had left its feed.
    pub tries: u8,
    pub has_waited: bool,
}

/// Why a request gets no thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NoStream,
    NothingToCarry,
    Gone,
    TooFar,
    Busy,
    TooLong,
    Overloaded,
}

impl Segmented {
    /// This shard's own name of a feed that it sends from.
    pub fn local_feed(&self, feed: &Arc<Feed>) -> Option<FeedId> {
        self.local.get(&place_of(feed)).copied()
    }

    fn keep_feed(&mut self, id: FeedId, feed: Arc<Feed>) {
        self.local.insert(place_of(&feed), id);
        self.feeds.insert(id, feed);
    }

    fn forget_feed(&mut self, id: FeedId) {
        if let Some(feed) = self.feeds.remove(&id) {
            self.local.remove(&place_of(&feed));
        }
    }
}

/// A feed that is kept has its place to itself.
fn place_of(feed: &Arc<Feed>) -> usize {
    Arc::as_ptr(feed).addr()
}

impl<K: Kernel> App<K> {
    /// A request for a thing: answered at once, or when it comes to be. Whether it is answered.
    pub(super) fn fetch(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        peer: &mut HttpPeer,
        fetch: Fetch,
    ) -> bool {
        match fetch.asked.item {
            Item::Text(_) => self.counters.playlist_requests.add(1),
            _ => self.counters.segment_requests.add(1),
        }
        if begins_view(&fetch.asked.item) && core.is_overloaded() {
            self.counters.viewers_refused_overload.add(1);
            self.refuse_fetch(core, conn, peer, &fetch, Refusal::Overloaded);
            return true;
        }
        self.try_fetch(core, conn, peer, fetch)
    }

    fn try_fetch(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        peer: &mut HttpPeer,
        mut fetch: Fetch,
    ) -> bool {
        let edition = self
            .segmented
            .shelves
            .get(&fetch.name)
            .and_then(|shelf| shelf.edition().cloned());
        let found = match &edition {
            None => Found::Ask,
            Some(edition) if !is_epoch(edition, &fetch.asked) => Found::Gone,
            Some(edition) => resolve::resolve(edition, &fetch.asked.item, &fetch.asked.reload),
        };
        let refusal = match (found, &edition) {
            (Found::Wait, _) => return self.wait(core, conn, peer, fetch),
            (Found::Ask, _) => return self.ask_and_wait(core, conn, peer, fetch),
            (Found::Gone, _) => Refusal::Gone,
            (Found::TooFar, _) => Refusal::TooFar,
            (_, None) => Refusal::Gone,
            (found, Some(edition)) => match self.answer_fetch(core, conn, peer, &fetch, found, edition) {
                answer::Outcome::Answered => return true,
                answer::Outcome::Wait => return self.wait(core, conn, peer, fetch),
                answer::Outcome::Passed => {
                    fetch.tries += 1;
                    if fetch.tries <= limits::FETCH_TRIES_MAX {
                        return self.ask_and_wait(core, conn, peer, fetch);
                    }
                    Refusal::Gone
                }
            },
        };
        self.refuse_fetch(core, conn, peer, &fetch, refusal);
        true
    }

    /// Stays until an edition has what it is for. Whether it is answered: too many wait.
    fn wait(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, peer: &mut HttpPeer, mut fetch: Fetch) -> bool {
        let shelf = self.segmented.shelves.entry(fetch.name.clone()).or_default();
        let waiter = Waiter {
            conn,
            since: fetch.since,
            item: fetch.asked.item,
            reload: fetch.asked.reload,
        };
        if !shelf.wait(waiter) {
            self.refuse_fetch(core, conn, peer, &fetch, Refusal::Busy);
            return true;
        }
        if !std::mem::replace(&mut fetch.has_waited, true) {
            self.counters.fetches_waited.add(1);
        }
        peer.state = State::Fetching(Box::new(fetch));
        if !std::mem::replace(&mut self.segmented.is_timed, true) {
            core.set_timer(core.now() + limits::WAITERS_LOOKED_AT_MICROS, Timer::Waiters.key(0));
        }
        false
    }

    fn ask_and_wait(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        peer: &mut HttpPeer,
        fetch: Fetch,
    ) -> bool {
        let item = fetch.asked.item;
        let shelf = self.segmented.shelves.entry(fetch.name.clone()).or_default();
        let home = shelf.home;
        match shelf.expects(&item, core.now()) {
            Expected::Yes => {}
            Expected::No => self.ask_home(core, &fetch.name, item, home),
            Expected::TooMany => {
                self.refuse_fetch(core, conn, peer, &fetch, Refusal::Busy);
                return true;
            }
        }
        self.wait(core, conn, peer, fetch)
    }

    fn ask_home(&mut self, core: &mut Core<Message<K>, K>, name: &StreamName, item: Item, known: Option<ShardId>) {
        let home = known.or_else(|| self.watches.home(name));
        let shelf = self.segmented.shelves.entry(name.clone()).or_default();
        shelf.asked(Question {
            item,
            is_cached: home.is_some(),
        });
        let shelve = Shelve {
            name: name.clone(),
            item,
            from: core.id(),
        };
        match home {
            Some(home) => self.deliver(core, home, Message::Shelve(shelve)),
            None => {
                let arbiter = arbiter_of(name, core.shards());
                self.deliver(core, arbiter, Message::FindShelf(shelve));
            }
        }
    }

    /// The home's answer.
    pub(super) fn shelved(
        &mut self,
        core: &mut Core<Message<K>, K>,
        name: &StreamName,
        item: Item,
        shelving: Shelving,
    ) {
        let Some(shelf) = self.segmented.shelves.get_mut(name) else {
            return;
        };
        let question = shelf.answered(&item);
        let refusal = match shelving {
            Shelving::Edition { home, edition } => {
                shelf.granted(home, item, edition, core.now());
                None
            }
            Shelving::NoSuch { home, edition } => {
                shelf.home = Some(home);
                edition.into_iter().for_each(|edition| shelf.take(edition));
                Some(Refusal::Gone)
            }
            Shelving::NotThere => {
                shelf.home = None;
                self.watches.forget_home(name);
                if question.is_some_and(|question| question.is_cached) {
                    return self.ask_home(core, name, item, None);
                }
                Some(Refusal::NoStream)
            }
            Shelving::Busy => Some(Refusal::Busy),
            Shelving::NothingToCarry => Some(Refusal::NothingToCarry),
        };
        self.wake(core, name, refusal.map(|refusal| (item, refusal)));
    }

    pub(super) fn edition_came(&mut self, core: &mut Core<Message<K>, K>, name: StreamName, edition: Arc<Edition>) {
        let Some(shelf) = self.segmented.shelves.get_mut(&name) else {
            return;
        };
        shelf.take(edition);
        self.wake(core, &name, None);
    }

    /// No edition will come any more. Those who wait ask anew.
    pub(super) fn unshelved(&mut self, core: &mut Core<Message<K>, K>, name: &StreamName) {
        if let Some(shelf) = self.segmented.shelves.get_mut(name) {
            shelf.forget();
        }
        self.wake(core, name, None);
    }

    /// Everybody looks again whose thing may be there; those who wait for one that will not come are told so.
    fn wake(&mut self, core: &mut Core<Message<K>, K>, name: &StreamName, refused: Option<(Item, Refusal)>) {
        let Some(shelf) = self.segmented.shelves.get_mut(name) else {
            return;
        };
        for waiter in shelf.take_ready(refused.as_ref().map(|(item, _)| item)) {
            self.with_fetch(core, waiter.conn, name, |app, core, peer, fetch| {
                let refusal = refused.filter(|(item, _)| *item == fetch.asked.item);
                match refusal {
                    None => app.try_fetch(core, waiter.conn, peer, fetch),
                    Some((_, refusal)) => {
                        app.refuse_fetch(core, waiter.conn, peer, &fetch, refusal);
                        true
                    }
                }
            });
        }
        self.forget_shelf_if_unused(name);
    }

    /// Works with one who waits for something of `name`; what its peer sent meanwhile is read when it is answered.
    fn with_fetch(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        name: &StreamName,
        work: impl FnOnce(&mut Self, &mut Core<Message<K>, K>, &mut HttpPeer, Fetch) -> bool,
    ) {
        self.with_peer(core, conn, |app, core, peer| {
            let Session::Http(session) = &mut peer.session else {
                return;
            };
            let waits = matches!(&session.state, State::Fetching(fetch) if fetch.name == *name);
            if !waits {
                return;
            }
            let State::Fetching(fetch) = std::mem::replace(&mut session.state, State::Idle) else {
                return;
            };
            if work(app, core, session, *fetch) {
                app.http_go_on(core, conn, peer.address, session);
            }
        });
    }

    fn forget_shelf_if_unused(&mut self, name: &StreamName) {
        if self.segmented.shelves.get(name).is_some_and(ShelfHere::is_unused) {
            self.segmented.shelves.remove(name);
        }
    }

    /// Ends waits that have been too long.
    pub(super) fn look_at_waiters(&mut self, core: &mut Core<Message<K>, K>) {
        self.segmented.is_timed = false;
        let now = core.now();
        let names: Vec<StreamName> = self.segmented.shelves.keys().cloned().collect();
        for name in names {
            let Some(shelf) = self.segmented.shelves.get_mut(&name) else {
                continue;
            };
            for Waiter { conn, .. } in shelf.take_late(now) {
                self.counters.fetches_timed_out.add(1);
                self.with_fetch(core, conn, &name, |app, core, peer, fetch| {
                    app.refuse_fetch(core, conn, peer, &fetch, Refusal::TooLong);
                    true
                });
            }
            self.forget_shelf_if_unused(&name);
        }
        let is_needed = self.segmented.shelves.values().any(ShelfHere::has_waiters);
        if is_needed && !std::mem::replace(&mut self.segmented.is_timed, true) {
            core.set_timer(now + limits::WAITERS_LOOKED_AT_MICROS, Timer::Waiters.key(0));
        }
    }

    /// Nothing more will be waited for: the process stops.
    pub(super) fn end_waits(&mut self, core: &mut Core<Message<K>, K>) {
        let names: Vec<StreamName> = self.segmented.shelves.keys().cloned().collect();
        for name in names {
            let waiting = self.segmented.shelves.get_mut(&name).map(ShelfHere::take_all);
            for waiter in waiting.into_iter().flatten() {
                self.with_fetch(core, waiter.conn, &name, |app, core, peer, fetch| {
                    app.refuse_fetch(core, waiter.conn, peer, &fetch, Refusal::Busy);
                    true
                });
            }
        }
    }

    /// One who waited is gone.
    pub(super) fn fetch_ended(&mut self, conn: ConnId, name: &StreamName) {
        if let Some(shelf) = self.segmented.shelves.get_mut(name) {
            shelf.leave(conn);
        }
    }

    fn refuse_fetch(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        peer: &mut HttpPeer,
        fetch: &Fetch,
        refusal: Refusal,
    ) {
        let stream = fetch.name.as_str();
        let retry = |retry_after_seconds| Status::ServiceUnavailable { retry_after_seconds };
        let (status, why) = match refusal {
            Refusal::NoStream => {
                self.counters.viewers_not_found.add(1);
                (Status::NotFound, self.no_stream(&fetch.name))
            }
            Refusal::NothingToCarry => (
                Status::NotFound,
                format!("no track of {stream} can be carried in this packaging"),
            ),
            Refusal::Gone => {
                self.counters.fetches_gone.add(1);
                (
                    Status::NotFound,
                    format!(
                        "{stream} does not have this, or no longer: its window has passed it, or the stream began anew"
                    ),
                )
            }
            Refusal::TooFar => {
                self.counters.fetches_too_far.add(1);
                (
                    Status::BadRequest,
                    format!("this is too far ahead of what {stream} has"),
                )
            }
            Refusal::Busy => (
                retry(super::http::RETRY_SECONDS),
                "the server is short of memory or too busy; try again".to_owned(),
            ),
            Refusal::TooLong => (
                retry(super::http::RETRY_SECONDS),
                format!("{stream} has not had this for too long; try again"),
            ),
            Refusal::Overloaded => (
                retry(super::http::overload_retry_seconds(conn)),
                "the server has as many viewers as it can serve in time; try again later".to_owned(),
            ),
        };
        self.counters.http_errors.add(1);
        peer.session.refuse(core.now() / 1000, status, &why);
        peer.state = State::Idle;
    }
}

/// A URL without an epoch is of whatever there is. iOS 16.1.1 cuts the last character of the URL that a playlist hints at: of a
/// part, or of the segment whose ranges parts are.
fn is_epoch(edition: &Edition, asked: &Asked) -> bool {
    match (&asked.epoch, asked.item) {
        (None, _) | (_, Item::Text(_)) => true,
        (Some(epoch), Item::Part { .. } | Item::Segment { .. }) if epoch.len() + 1 == edition.epoch.len() => {
            edition.epoch.starts_with(epoch)
        }
        (Some(epoch), _) => *epoch == edition.epoch,
    }
}

/// Whether somebody who asks for it begins to watch.
fn begins_view(item: &Item) -> bool {
    matches!(
        item,
        Item::Text(
            TextKey::TsMaster | TextKey::CmafMaster { .. } | TextKey::Mpd { .. } | TextKey::Smooth | TextKey::Hds
        )
    )
}

impl Served {
    pub fn of(config: &crate::config::Config) -> Served {
        Served {
            containers: config.containers,
            newest: config.fetched.newest,
            naming: config.fetched.naming,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::resolve::tests::{CMAF, MEDIA, NOW, edition};
    use super::*;

    #[test]
    fn an_epoch_may_have_lost_its_last_character_where_playlists_hint() {
        let edition = edition(1, Vec::new(), Vec::new());
        let part = Item::Part {
            lane: CMAF,
            name_millis: 0,
            part: 0,
        };
        let segment = Item::Segment {
            lane: CMAF,
            name_millis: 0,
        };
        let init = Item::Init {
            lane: CMAF,
            generation: Some(0),
        };
        for (item, epoch, expected) in [
            (part, None, true),
            (part, Some("abcdef"), true),
            (part, Some("abcde"), true),
            (segment, Some("abcde"), true),
            (init, Some("abcdef"), true),
            (init, Some("abcde"), false),
            (part, Some("abcd"), false),
            (part, Some(""), false),
            (part, Some("bcdef"), false),
            (part, Some("abcdeg"), false),
            (part, Some("abcdefg"), false),
            (segment, Some("ghijkl"), false),
            (MEDIA, Some("ghijkl"), true),
        ] {
            let asked = Asked {
                name: "live".into(),
                item,
                epoch: epoch.map(str::to_owned),
                reload: NOW,
            };
            assert_eq!(is_epoch(&edition, &asked), expected, "{item:?} {epoch:?}");
        }
    }
}
