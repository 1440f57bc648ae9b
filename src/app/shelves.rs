//! Shelves of streams at home here: questions of viewers' shards, new editions for them, and streams that have ended and are
//! fetched to their end.

use penstock_shard::core::Core;
use penstock_shard::kernel::Kernel;
use penstock_shard::mesh::ShardId;

use super::{App, Timer, guarded};
use crate::limits;
use crate::messages::{Message, Shelve};
use crate::names::StreamName;
use crate::shelf::Shelving;

impl<K: Kernel> App<K> {
    /// The arbiter hands a question on to the stream's home.
    pub(super) fn find_shelf(&mut self, core: &mut Core<Message<K>, K>, shelve: Shelve) {
        let home = self.directory.home(&shelve.name);
        match home.or_else(|| self.start_pull(core, &shelve.name)) {
            Some(home) => self.deliver(core, home, Message::Shelve(shelve)),
            None => self.answer_shelve(core, shelve, Shelving::NotThere),
        }
    }

    /// As home: something is to be put on a stream's shelf.
    pub(super) fn shelve(&mut self, core: &mut Core<Message<K>, K>, shelve: Shelve) {
        let (home, pool, now) = (core.id(), core.pool().clone(), core.now());
        let place = self.streams.place_of(&shelve.name);
        let Some(stream) = place.and_then(|place| self.streams.at_mut(place)) else {
            return self.answer_shelve(core, shelve, Shelving::NotThere);
        };
        if !stream.is_running() {
            if stream.shelves.len() < limits::OPENS_PENDING_MAX {
                return stream.shelves.push(shelve);
            }
            return self.answer_shelve(core, shelve, Shelving::Busy);
        }
        // Segments are made again of what the publisher sent long ago.
        let shelving = guarded(|| stream.shelve(&shelve, home, now, &pool, &self.counters));
        let Some(shelving) = shelving else {
            place.into_iter().for_each(|place| self.discard_stream(core, place));
            return self.answer_shelve(core, shelve, Shelving::NotThere);
        };
        self.answer_shelve(core, shelve, shelving);
        if let Some(place) = place {
            core.set_timer(now + limits::SHELF_UNUSED_MICROS, Timer::Stream.key(place));
        }
    }

    pub(super) fn answer_shelve(&mut self, core: &mut Core<Message<K>, K>, shelve: Shelve, shelving: Shelving) {
        let Shelve { name, item, from } = shelve;
        self.deliver(core, from, Message::Shelved { name, item, shelving });
    }

    /// Tells the shards that use the shelf of the stream in `place` what is new on it.
    pub(super) fn flush_shelf(&mut self, core: &mut Core<Message<K>, K>, place: usize) {
        let now = core.now();
        let Some(stream) = self.streams.at_mut(place) else {
            return;
        };
        for feed in stream.shelf_grown() {
            core.feed_grew(&feed, self.segmented.local_feed(&feed));
        }
        let questions = match stream.is_running() {
            true => std::mem::take(&mut stream.shelves),
            false => Vec::new(),
        };
        let (name, news) = (stream.name.clone(), stream.shelf_news(now, &self.counters));
        if let Some(news) = news {
            for shard in shards_of(news.watchers) {
                let edition = Message::Edition {
                    name: name.clone(),
                    edition: news.edition.clone(),
                };
                self.deliver(core, shard, edition);
            }
            self.tell_unshelved(core, &name, news.dropped);
        }
        for shelve in questions {
            self.shelve(core, shelve);
        }
    }

    /// These shards get no more editions.
    pub(super) fn tell_unshelved(&mut self, core: &mut Core<Message<K>, K>, name: &StreamName, shards: u64) {
        for shard in shards_of(shards) {
            self.deliver(core, shard, Message::Unshelved { name: name.clone() });
        }
    }
}

fn shards_of(bits: u64) -> impl Iterator<Item = ShardId> {
    (0..u64::BITS as u16)
        .map(ShardId)
        .filter(move |shard| bits & shard.bit() != 0)
}
