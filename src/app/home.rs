//! Streams at home on this shard: media in, feeds out, grace and end.

use std::collections::HashMap;
use std::sync::Arc;

use penstock_shard::core::{Core, FeedId};
use penstock_shard::feed::Feed;
use penstock_shard::kernel::Kernel;
use penstock_shard::mesh::ShardId;
use tracing::info;

use super::{App, Timer, guarded};
use crate::directory::arbiter_of;
use crate::limits;
use crate::messages::{Message, Open, Opening};
use crate::names::StreamName;
use crate::registry::Packaging;
use crate::shelf::Shelving;
use crate::stream::{Piece, Stream};

/// Streams by place and by name. A place is reused; timers that name it look before they act.
#[derive(Debug, Default)]
pub(super) struct Streams {
    places: Vec<Option<Stream>>,
    by_name: HashMap<StreamName, usize>,
}

impl Streams {
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn insert(&mut self, stream: Stream) -> usize {
        let free = self.places.iter().position(Option::is_none);
        let place = free.unwrap_or(self.places.len());
        self.by_name.insert(stream.name.clone(), place);
        if place == self.places.len() {
            self.places.push(Some(stream));
        } else {
            self.places[place] = Some(stream);
        }
        place
    }

    pub fn place_of(&self, name: &StreamName) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub fn at_mut(&mut self, place: usize) -> Option<&mut Stream> {
        self.places.get_mut(place)?.as_mut()
    }

    pub fn at(&self, place: usize) -> Option<&Stream> {
        self.places.get(place)?.as_ref()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.places.iter().flatten()
    }

    /// Bytes and place of every window that can be shortened.
    pub fn windows(&mut self) -> impl Iterator<Item = (u64, usize)> {
        let streams = self.places.iter_mut().enumerate();
        streams.filter_map(|(place, stream)| Some((stream.as_mut()?.window_bytes()?, place)))
    }

    /// # Panics
    /// When names and places disagree, or a stream contradicts itself.
    pub fn check_invariants(&self) {
        assert_eq!(self.iter().count(), self.by_name.len());
        for stream in self.iter() {
            let place = self.place_of(&stream.name).expect("a stream is found by its name");
            assert_eq!(self.at(place).map(|found| &found.name), Some(&stream.name));
            stream.check_invariants();
        }
    }

    fn named(&mut self, name: &StreamName) -> Option<&mut Stream> {
        let place = self.place_of(name)?;
        self.at_mut(place)
    }

    pub fn remove(&mut self, place: usize) -> Option<Stream> {
        let stream = self.places.get_mut(place)?.take()?;
        self.by_name.remove(&stream.name);
        Some(stream)
    }
}

impl<K: Kernel> App<K> {
    pub(super) fn push_media(&mut self, core: &mut Core<Message<K>, K>, place: usize, piece: &Piece<'_>) {
        self.look_at_memory(core, piece.bytes());
        let now = core.now();
        if let Some(stream) = self.streams.at_mut(place) {
            stream.push(now, piece, &self.counters);
        }
    }

    /// Tells viewers of what was appended, and answers questions that waited for the stream's start.
    pub(super) fn flush_stream(&mut self, core: &mut Core<Message<K>, K>, place: usize) {
        let Some(stream) = self.streams.at_mut(place) else {
            return;
        };
        for packaged in &mut stream.feeds {
            if packaged.take_grown() {
                core.feed_grew(packaged.feed(), packaged.local);
            }
        }
        // Viewers keep what they still have to read of a feed that has ended; the next one gets a new feed.
        let feeds = stream.feeds.len();
        stream.feeds.retain(|packaged| !packaged.is_ended());
        self.counters.feeds.sub((feeds - stream.feeds.len()) as u64);
        if stream.is_running() && !stream.opens.is_empty() {
            for open in std::mem::take(&mut stream.opens) {
                self.answer_open(core, open);
            }
        }
        self.flush_shelf(core, place);
    }

    /// As home: a shard wants a feed, or to know whether the stream is here.
    pub(super) fn answer_open(&mut self, core: &mut Core<Message<K>, K>, open: Open) {
        let (home, pool) = (core.id(), core.pool().clone());
        let place = self.streams.place_of(&open.name);
        let elsewhere = self.elsewhere_for(core, &open);
        let outcome = match place.and_then(|place| self.streams.at_mut(place)) {
            None => Opening::NotThere,
            // Only what is fetched piece by piece has an end that can still be asked for.
            Some(stream) if stream.ends_at.is_some() => Opening::NotThere,
            Some(stream) if !stream.is_running() => {
                if stream.opens.len() < limits::OPENS_PENDING_MAX {
                    stream.opens.push(open);
                    return;
                }
                Opening::Busy
            }
            Some(_) if let Some(shard) = elsewhere => Opening::Elsewhere { home, shard },
            // The muxers of a new feed see what the publisher sent long ago.
            Some(stream) => match guarded(|| stream.open(&open, home, &pool, &self.counters)) {
                Some(outcome) => outcome,
                None => {
                    place.into_iter().for_each(|place| self.discard_stream(core, place));
                    Opening::NotThere
                }
            },
        };
        let Open {
            name, packaging, from, ..
        } = open;
        let answer = Message::Opened {
            name,
            packaging,
            outcome,
        };
        self.deliver(core, from, answer);
    }

    /// This shard watches a feed of a stream that may be at home here.
    pub(super) fn feed_opened_here(
        &mut self,
        core: &Core<Message<K>, K>,
        name: &StreamName,
        packaging: Option<Packaging>,
        id: FeedId,
    ) {
        let Some(feed) = core.feed(id) else { return };
        let Some(stream) = self.streams.named(name) else { return };
        let ours = |packaged: &&mut crate::stream::Packaged| {
            Some(packaged.packaging) == packaging && Arc::ptr_eq(packaged.feed(), feed)
        };
        if let Some(packaged) = stream.feeds.iter_mut().find(ours) {
            packaged.local = Some(id);
        }
    }

    pub(super) fn feed_closed_here(&mut self, name: &StreamName, feed: &Arc<Feed>) {
        let Some(stream) = self.streams.named(name) else { return };
        for packaged in &mut stream.feeds {
            if Arc::ptr_eq(packaged.feed(), feed) {
                packaged.local = None;
            }
        }
    }

    /// `from` has viewers of a feed that it did not ask for: they came from another shard.
    pub(super) fn watched_from(&mut self, name: &StreamName, feed: &Arc<Feed>, from: ShardId) {
        let Some(stream) = self.streams.named(name) else { return };
        for packaged in &mut stream.feeds {
            if Arc::ptr_eq(packaged.feed(), feed) {
                packaged.watch(from);
            }
        }
    }

    pub(super) fn unwatched(
        &mut self,
        core: &mut Core<Message<K>, K>,
        name: &StreamName,
        feed: &Arc<Feed>,
        from: ShardId,
    ) {
        let now = core.now();
        let Some(place) = self.streams.place_of(name) else {
            return;
        };
        let Some(stream) = self.streams.at_mut(place) else {
            return;
        };
        for packaged in &mut stream.feeds {
            if Arc::ptr_eq(packaged.feed(), feed) {
                packaged.unwatch(from, now);
            }
        }
        core.set_timer(now + limits::FEED_UNUSED_MICROS, Timer::Stream.key(place));
    }

    /// A stream without publisher waits for its grace to pass.
    pub(super) fn stream_left_alone(&mut self, core: &mut Core<Message<K>, K>, place: usize) {
        let now = core.now();
        let Some(stream) = self.streams.at_mut(place) else {
            return;
        };
        stream.publisher_left(now, &self.counters);
        core.set_timer(now + stream.grace_micros(), Timer::Stream.key(place));
        self.flush_stream(core, place);
    }

    /// Something of the stream in `place` may be over: its grace, or a feed that nobody watches.
    pub(super) fn stream_timer(&mut self, core: &mut Core<Message<K>, K>, place: usize) {
        let now = core.now();
        let Some(stream) = self.streams.at_mut(place) else {
            return;
        };
        let feeds = stream.feeds.len();
        stream.feeds.retain(|packaged| {
            packaged
                .unused_since
                .is_none_or(|since| now < since + limits::FEED_UNUSED_MICROS)
        });
        self.counters.feeds.sub((feeds - stream.feeds.len()) as u64);
        let gone = stream
            .gone_since
            .is_some_and(|since| now >= since + stream.grace_micros());
        if stream.ends_at.map_or(gone, |at| now >= at) {
            self.end_stream(core, place);
            self.stop_if_empty(core);
        } else if stream.tidy_shelf() {
            core.set_timer(now + limits::SHELF_UNUSED_MICROS, Timer::Stream.key(place));
            self.flush_shelf(core, place);
        }
    }

    /// Viewers get the rest and the end; the name is free, at once or when the end has been fetched.
    pub(super) fn end_stream(&mut self, core: &mut Core<Message<K>, K>, place: usize) {
        let now = core.now();
        let Some(stream) = self.streams.at_mut(place) else {
            return;
        };
        if stream.ends_at.is_none() {
            stream.finish(&self.counters);
            info!(stream = stream.name.as_str(), "stream ended");
            if !self.stopping && stream.is_shelf_used(now) {
                let ends_at = now + stream.shelf_ends_micros();
                stream.ends_at = Some(ends_at);
                core.set_timer(ends_at, Timer::Stream.key(place));
                return self.flush_stream(core, place);
            }
            self.flush_stream(core, place);
        }
        if let Some(name) = self.forget_stream(core, place) {
            let arbiter = arbiter_of(&name, core.shards());
            self.deliver(core, arbiter, Message::Gone { name });
        }
    }

    /// A stream that has ended, and is only there to be fetched to its end, makes room for the next of its name.
    pub(super) fn end_shelf_of(&mut self, core: &mut Core<Message<K>, K>, name: &StreamName) {
        let place = self.streams.place_of(name);
        let ended = place.filter(|place| self.streams.at(*place).is_some_and(|stream| stream.ends_at.is_some()));
        if let Some(place) = ended {
            self.forget_stream(core, place);
        }
    }

    /// Takes a stream that has ended out of the tables. Its name, if there was one.
    fn forget_stream(&mut self, core: &mut Core<Message<K>, K>, place: usize) -> Option<StreamName> {
        let mut stream = self.streams.remove(place)?;
        self.counters.streams.sub(1);
        stream.forget_shortened(&self.counters);
        self.counters.feeds.sub(stream.feeds.len() as u64);
        let watchers = stream.clear_shelf(&self.counters);
        self.tell_unshelved(core, &stream.name, watchers);
        for shelve in stream.shelves {
            self.answer_shelve(core, shelve, Shelving::NotThere);
        }
        for open in stream.opens {
            let Open {
                name, packaging, from, ..
            } = open;
            let gone = Message::Opened {
                name,
                packaging,
                outcome: Opening::NotThere,
            };
            self.deliver(core, from, gone);
        }
        Some(stream.name)
    }

    /// The name has no publisher: one that never arrived here left no stream that would end.
    pub(super) fn vacant(&mut self, core: &mut Core<Message<K>, K>, name: StreamName) {
        if self.streams.place_of(&name).is_none() {
            let arbiter = arbiter_of(&name, core.shards());
            self.deliver(core, arbiter, Message::Gone { name });
        }
    }

    pub(super) fn end_all_streams(&mut self, core: &mut Core<Message<K>, K>) {
        for place in 0..self.streams.places.len() {
            self.with_stream(core, place, |app, core| app.end_stream(core, place));
        }
    }
}
