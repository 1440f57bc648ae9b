//! Which shard serves a viewer (DESIGN.md 4.5): where a new one goes, and who moves when loads have grown apart.
//!
//! *Placing.* A stream's viewers live on its home, up to that shard's share (`shard_share`); then on one more shard, and
//! so on: a new viewer goes to the least loaded of the shards that carry the stream, and only when all of them have their
//! share to one that has not. It goes before it is served.
//!
//! *Evening out.* Once a second each shard compares loads: the busiest is paired with the idlest, the second with the
//! second last. Of a pair that differs by more than a quarter the busier one offers viewers, if it is over its share. The
//! other says for how many it has seats (its table, half of the difference at the most) and claims the lowest position
//! they may bring; then they come. What was moved rests for a while, and so does a shard that took some.
//!
//! Invariant: a feed with seats kept here is open here; every offer is answered, every answer settled.

use std::cmp::Reverse;
use std::sync::Arc;

use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, FeedId};
use penstock_shard::feed::Feed;
use penstock_shard::kernel::Kernel;
use penstock_shard::mesh::ShardId;
use tracing::info;

use super::viewers::{Answer, Key, Watched};
use super::{App, Timer};
use crate::limits;
use crate::messages::{Message, MovedViewer, Offer, Open, Placing, Settling};
use crate::names::StreamName;
use crate::registry::{self, Packaging};

/// What a shard gives away and takes in. Owned by it.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// The timer runs.
    is_timed: bool,
    offers: Vec<Offered>,
    offers_made: u64,
    /// Viewers of this round who have gone, for the log.
    gone: u64,
    seatings: Vec<Seating>,
    /// Until then it gives nobody away, since it took some (µs).
    gives_from: u64,
}

/// Viewers of one feed that another shard was asked to take.
#[derive(Debug)]
struct Offered {
    number: u64,
    name: StreamName,
    packaging: Packaging,
    feed: Arc<Feed>,
    to: ShardId,
    viewers: u32,
    floor: u64,
    /// Those who have seats and are not gone yet.
    leaving: u32,
}

/// Seats kept for viewers of one feed, who come from one shard.
#[derive(Debug)]
struct Seating {
    name: StreamName,
    packaging: Packaging,
    from: ShardId,
    feed: FeedId,
    floor: u64,
    /// Not taken yet.
    seats: u32,
    /// What one of them costs.
    each: u64,
}

impl Placement {
    pub fn is_empty(&self) -> bool {
        self.offers.is_empty() && self.seatings.is_empty()
    }
}

/// Loads of all shards.
struct Loads(Vec<u64>);

impl Loads {
    fn of<M, K: Kernel>(core: &Core<M, K>) -> Loads {
        let shards = 0..core.shards() as u16;
        Loads(shards.map(|shard| core.load(ShardId(shard))).collect())
    }

    fn at(&self, shard: ShardId) -> u64 {
        self.0[shard.index()]
    }

    /// The shard that is to serve a viewer whom `accepted` has accepted. `carriers` have the stream already, a bit each.
    fn place(&self, carriers: u64, home: ShardId, accepted: ShardId, share: u64) -> ShardId {
        let carries = |shard: ShardId| (carriers | home.bit()) & shard.bit() != 0;
        let rank = |shard: &ShardId| (self.at(*shard), !carries(*shard), *shard != home, *shard != accepted);
        let all = || (0..self.0.len() as u16).map(ShardId);
        let has_room = |shard: ShardId| carries(shard) && self.at(shard) < share;
        match all().filter(|shard| has_room(*shard)).min_by_key(rank) {
            // A move for little is not worth it.
            Some(least) if has_room(accepted) && !differ(self.at(accepted), self.at(least)) => accepted,
            Some(least) => least,
            None => all().min_by_key(rank).unwrap_or(accepted),
        }
    }

    /// Whom `shard` gives viewers to, if it has too many.
    fn partner(&self, shard: ShardId, share: u64) -> Option<ShardId> {
        let mut ranked: Vec<ShardId> = (0..self.0.len() as u16).map(ShardId).collect();
        ranked.sort_by_key(|shard| Reverse(self.at(*shard)));
        let place = ranked.iter().position(|other| *other == shard)?;
        let partner = ranked[ranked.len() - 1 - place];
        (self.at(shard) > share && differ(self.at(shard), self.at(partner))).then_some(partner)
    }
}

/// By more than a quarter of the larger one.
fn differ(larger: u64, smaller: u64) -> bool {
    larger > smaller && (larger - smaller) * 4 > larger
}

impl<K: Kernel> App<K> {
    fn share(&self) -> u64 {
        self.config.machine.shard_share_micros
    }

    /// Where a new viewer is to go, as far as that is known here without a question; none when it asks as it always did.
    pub(super) fn destination(&self, core: &Core<Message<K>, K>, key: &Key) -> Option<Answer> {
        let (name, Some(_)) = key else { return None };
        let here = core.id();
        let watched = self.watches.feed_of(key);
        let watched = watched.and_then(|watched| Some((watched, core.feed(watched.feed)?)));
        if let Some((watched, feed)) = watched.filter(|(_, feed)| !feed.is_ended()) {
            let carriers = feed.subscribers() | here.bit();
            let shard = Loads::of(core).place(carriers, watched.home, here, self.share());
            let settling = Settling::Settled;
            return (shard != here).then_some(Answer::Elsewhere { shard, settling });
        }
        let home = self.watches.home(name).filter(|home| *home != here)?;
        let settling = Settling::ToHome;
        (core.load(home) < self.share()).then_some(Answer::Elsewhere { shard: home, settling })
    }

    /// As home: the shard that is to serve the viewers who ask, if it is not the one that asks.
    pub(super) fn elsewhere_for(&self, core: &Core<Message<K>, K>, open: &Open) -> Option<ShardId> {
        if open.packaging.is_none() || open.placing == Placing::Here {
            return None;
        }
        let stream = self.streams.at(self.streams.place_of(&open.name)?)?;
        let carriers = stream
            .feeds
            .iter()
            .fold(0, |carriers, packaged| carriers | packaged.watchers());
        let shard = Loads::of(core).place(carriers, core.id(), open.from, self.share());
        (shard != open.from).then_some(shard)
    }

    /// The load is measured from here on, as long as somebody watches or publishes here.
    pub(super) fn keep_time(&mut self, core: &mut Core<Message<K>, K>) {
        if !self.placement.is_timed {
            self.placement.is_timed = true;
            core.set_timer(core.now() + limits::LOAD_MICROS, Timer::Load.key(0));
        }
    }

    pub(super) fn load_timer(&mut self, core: &mut Core<Message<K>, K>) {
        self.placement.is_timed = false;
        if self.counters.viewers.value() == 0 && self.streams.len() == 0 {
            return core.forget_load();
        }
        core.measure_load();
        self.keep_time(core);
        let may_give = self.placement.offers.is_empty() && self.placement.gives_from <= core.now();
        if may_give && !self.stopping {
            self.even_out(core);
        }
    }

    /// Offers viewers to a shard that has much less load.
    fn even_out(&mut self, core: &mut Core<Message<K>, K>) {
        let (loads, here) = (Loads::of(core), core.id());
        let Some(to) = loads.partner(here, self.share()) else {
            return;
        };
        let mut excess = (loads.at(here) - loads.at(to)) / 2;
        let mut left = limits::MOVES_PER_ROUND;
        for (key, watched) in self.feeds_to_give(core, to) {
            if left == 0 || self.placement.offers.len() == limits::OFFERS_PER_ROUND {
                break;
            }
            let each = core.viewer_load(watched.feed).max(1);
            let wanted = u32::try_from(excess / each).unwrap_or(u32::MAX).min(left);
            let Some((viewers, floor)) = self.viewers_to_give(core, watched.feed, wanted) else {
                continue;
            };
            if !self.offer(core, key, watched, to, (viewers, floor), (loads.at(here), each)) {
                break;
            }
            left -= viewers;
            excess -= u64::from(viewers) * each;
        }
    }

    /// Feeds with viewers here, those first that cost the least elsewhere: carried there already, not made here, many
    /// viewers.
    fn feeds_to_give(&self, core: &Core<Message<K>, K>, to: ShardId) -> Vec<(Key, Watched)> {
        let mut feeds: Vec<(Key, Watched)> = Vec::new();
        let open = self.watches.feeds().filter(|(_, watched)| {
            let feed = core.feed(watched.feed);
            feed.is_some_and(|feed| !feed.is_ended())
        });
        feeds.extend(open.map(|(key, watched)| (key.clone(), watched)));
        feeds.sort_by_cached_key(|(key, watched)| {
            let subscribers = core.feed(watched.feed).map_or(0, |feed| feed.subscribers());
            let is_carried = subscribers & to.bit() != 0;
            let is_ours = watched.home == core.id();
            (!is_carried, is_ours, Reverse(core.viewers(watched.feed)), key.clone())
        });
        feeds
    }

    /// How many of `wanted` could go now, and the lowest of their positions.
    fn viewers_to_give(&self, core: &Core<Message<K>, K>, feed: FeedId, wanted: u32) -> Option<(u32, u64)> {
        let positions = self.movable(core, feed).map(|(_, position)| position);
        let (mut viewers, mut floor) = (0, u64::MAX);
        for position in positions.take(wanted as usize) {
            viewers += 1;
            floor = floor.min(position);
        }
        (viewers > 0).then_some((viewers, floor))
    }

    fn movable<'a>(&'a self, core: &'a Core<Message<K>, K>, feed: FeedId) -> impl Iterator<Item = (ConnId, u64)> + 'a {
        let now = core.now();
        let is_at_rest = move |conn| self.peers.get(conn).is_some_and(|peer| peer.is_at_rest(now));
        core.movable(feed).filter(move |(conn, _)| is_at_rest(*conn))
    }

    /// False, and counted, when the other shard does not take the message.
    fn offer(
        &mut self,
        core: &mut Core<Message<K>, K>,
        (name, packaging): Key,
        watched: Watched,
        to: ShardId,
        (viewers, floor): (u32, u64),
        (load, each): (u64, u64),
    ) -> bool {
        let (Some(packaging), Some(feed)) = (packaging, core.feed(watched.feed).cloned()) else {
            return true;
        };
        let offer = Offer {
            name: name.clone(),
            packaging,
            feed: feed.clone(),
            home: watched.home,
            from: core.id(),
            viewers,
            floor,
            load,
            each,
        };
        if self.send(core, to, Message::Offer(Box::new(offer))).is_err() {
            self.counters.viewers_move_refused.add(u64::from(viewers));
            return false;
        }
        self.placement.offers_made += 1;
        self.placement.offers.push(Offered {
            number: self.placement.offers_made,
            name,
            packaging,
            feed,
            to,
            viewers,
            floor,
            leaving: 0,
        });
        true
    }

    /// Another shard would give viewers here.
    pub(super) fn offered(&mut self, core: &mut Core<Message<K>, K>, offer: Offer) {
        let seats = self.seats_for(core, &offer);
        let seats = match seats {
            0 => 0,
            seats => self.keep_seats(core, &offer, seats),
        };
        let Offer {
            name, packaging, from, ..
        } = offer;
        let answer = Message::Seats {
            name,
            packaging,
            from: core.id(),
            seats,
        };
        self.deliver(core, from, answer);
    }

    /// No more than makes both loads equal, and no more than there is room for.
    fn seats_for(&self, core: &Core<Message<K>, K>, offer: &Offer) -> u32 {
        let key = (offer.name.clone(), Some(offer.packaging));
        let watched = self.watches.feed_of(&key).and_then(|watched| core.feed(watched.feed));
        // Its own viewers wait for a feed of this name, or watch another one.
        let is_other = self.watches.is_asking(&key) || watched.is_some_and(|feed| !Arc::ptr_eq(feed, &offer.feed));
        let is_full = self.placement.seatings.len() >= limits::SEATINGS_MAX;
        let gives = !self.placement.offers.is_empty();
        if self.stopping || gives || is_full || is_other || offer.feed.is_ended() {
            return 0;
        }
        let seats = offer.load.saturating_sub(core.load(core.id())) / (2 * offer.each.max(1));
        let room = u32::try_from(core.room()).unwrap_or(u32::MAX);
        u32::try_from(seats).unwrap_or(u32::MAX).min(offer.viewers).min(room)
    }

    /// Claims what they may bring; none when the feed has moved on.
    fn keep_seats(&mut self, core: &mut Core<Message<K>, K>, offer: &Offer, seats: u32) -> u32 {
        let key = (offer.name.clone(), Some(offer.packaging));
        let feed = match self.watches.feed_of(&key) {
            Some(watched) => watched.feed,
            None => {
                let class = registry::class(offer.packaging);
                self.watch_feed(core, &key, offer.feed.clone(), class, offer.home)
            }
        };
        if core.hold(feed, offer.floor).is_err() {
            self.viewers_left(core, feed);
            return 0;
        }
        let watch = Message::Watch {
            name: offer.name.clone(),
            feed: offer.feed.clone(),
            from: core.id(),
        };
        self.deliver(core, offer.home, watch);
        core.keep_seats(seats as usize);
        core.expect_load(u64::from(seats) * offer.each);
        self.placement.gives_from = core.now() + limits::MOVED_REST_MICROS;
        self.placement.seatings.push(Seating {
            name: offer.name.clone(),
            packaging: offer.packaging,
            from: offer.from,
            feed,
            floor: offer.floor,
            seats,
            each: offer.each,
        });
        seats
    }

    /// The answer to an offer: so many may go.
    pub(super) fn seats_given(
        &mut self,
        core: &mut Core<Message<K>, K>,
        key: &(StreamName, Packaging),
        to: ShardId,
        seats: u32,
    ) {
        let (name, packaging) = key;
        let is_it = |offered: &Offered| (&offered.name, offered.packaging, offered.to) == (name, *packaging, to);
        let Some(at) = self.placement.offers.iter().position(is_it) else {
            return;
        };
        let offered = &self.placement.offers[at];
        self.counters
            .viewers_move_refused
            .add(u64::from(offered.viewers.saturating_sub(seats)));
        if seats == 0 {
            self.placement.offers.swap_remove(at);
            return self.round_over(to);
        }
        let (number, floor) = (offered.number, offered.floor);
        let watched = self.watches.feed_of(&(name.clone(), Some(*packaging)));
        let is_same = |watched: &Watched| {
            let feed = core.feed(watched.feed);
            feed.is_some_and(|feed| Arc::ptr_eq(feed, &offered.feed))
        };
        // None who have come since: they may stand below what is claimed there.
        let going: Vec<ConnId> = match watched.filter(is_same).filter(|_| !self.stopping) {
            Some(watched) => {
                let going = self.movable(core, watched.feed);
                let going = going.filter(|(_, position)| *position >= floor);
                going.map(|(conn, _)| conn).take(seats as usize).collect()
            }
            None => Vec::new(),
        };
        // One more, so that none of them settles the offer by going at once.
        self.placement.offers[at].leaving = 1;
        for conn in going {
            if self.takes_seat(core, conn, (name, *packaging), to, number) {
                self.placement.offers[at].leaving += 1;
            }
        }
        self.seat_left(core, Some(number), 0);
    }

    /// One who had a seat is gone: to where it is (`gone` 1), or for good. The last one settles the offer.
    pub(super) fn seat_left(&mut self, core: &mut Core<Message<K>, K>, offer: Option<u64>, gone: u64) {
        let is_it = |offered: &Offered| Some(offered.number) == offer;
        let Some(at) = self.placement.offers.iter().position(is_it) else {
            return;
        };
        self.placement.gone += gone;
        let offered = &mut self.placement.offers[at];
        offered.leaving -= 1;
        if offered.leaving > 0 {
            return;
        }
        let offered = self.placement.offers.swap_remove(at);
        let Offered {
            name, packaging, to, ..
        } = offered;
        let settled = Message::Settled {
            name,
            packaging,
            from: core.id(),
        };
        self.deliver(core, to, settled);
        self.round_over(to);
    }

    fn round_over(&mut self, to: ShardId) {
        if self.placement.offers.is_empty() && self.placement.gone > 0 {
            let viewers = std::mem::take(&mut self.placement.gone);
            info!(viewers, to = to.0, "viewers moved to a shard with less load");
        }
    }

    /// One of those for whom a seat is kept is here; its feed.
    pub(super) fn seat_taken(&mut self, core: &mut Core<Message<K>, K>, moved: &MovedViewer<K>) -> Option<FeedId> {
        let key = (moved.name.clone(), moved.packaging);
        let seating = self.placement.seating(&key, moved.from)?;
        let seating = &mut self.placement.seatings[seating];
        debug_assert!(seating.seats > 0, "who comes has a seat");
        seating.seats = seating.seats.checked_sub(1)?;
        core.give_seats(1);
        core.expect_no_more(seating.each);
        Some(seating.feed)
    }

    /// All who were to come have come.
    pub(super) fn settled(&mut self, core: &mut Core<Message<K>, K>, key: &(StreamName, Packaging), from: ShardId) {
        let Some(at) = self.placement.seating(key, from) else {
            return;
        };
        let Seating {
            feed,
            floor,
            seats,
            each,
            ..
        } = self.placement.seatings.swap_remove(at);
        core.give_seats(seats as usize);
        core.expect_no_more(u64::from(seats) * each);
        core.let_go(feed, floor);
        self.viewers_left(core, feed);
    }
}

impl Placement {
    fn seating(&self, key: &(StreamName, Packaging), from: ShardId) -> Option<usize> {
        let (name, packaging) = key;
        let is_it = |seating: &Seating| (&seating.name, seating.packaging, seating.from) == (name, *packaging, from);
        self.seatings.iter().position(is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: u64 = 100;

    fn placed(loads: &[u64], carriers: &[u16], home: u16, accepted: u16) -> u16 {
        let carriers = carriers
            .iter()
            .fold(0, |carriers, shard| carriers | ShardId(*shard).bit());
        let loads = Loads(loads.to_vec());
        loads.place(carriers, ShardId(home), ShardId(accepted), SHARE).0
    }

    #[test]
    fn a_stream_outgrows_shards_one_at_a_time() {
        assert_eq!(placed(&[0, 0, 0, 0], &[], 2, 0), 2, "home first");
        assert_eq!(placed(&[0, 0, 99, 0], &[2], 2, 0), 2, "up to its share");
        assert_eq!(placed(&[5, 4, 100, 7], &[2], 2, 0), 1, "then one more");
        assert_eq!(placed(&[5, 50, 100, 7], &[1, 2], 2, 0), 1, "and no third");
        assert_eq!(placed(&[5, 120, 100, 7], &[1, 2], 2, 3), 0, "before both have theirs");
        assert_eq!(placed(&[90, 60, 70, 0], &[0, 1, 2], 2, 3), 1, "the least of them");
        assert_eq!(placed(&[0, 60, 70, 0], &[1, 2], 2, 2), 2, "no move for little");
        assert_eq!(placed(&[0, 50, 70, 0], &[1, 2], 2, 2), 1, "for more");
        assert_eq!(
            placed(&[300, 200, 250, 200], &[2], 2, 3),
            3,
            "when all have theirs, where the load is least"
        );
        assert_eq!(placed(&[200, 200, 200, 200], &[1, 2], 2, 3), 2, "its home among equals");
    }

    #[test]
    fn the_busiest_gives_to_the_idlest_when_they_differ_by_a_quarter() {
        let partner = |loads: &[u64], shard| {
            let partner = Loads(loads.to_vec()).partner(ShardId(shard), SHARE);
            partner.map(|partner| partner.0)
        };
        let loads = [400, 100, 500, 200, 301];
        assert_eq!((partner(&loads, 2), partner(&loads, 0)), (Some(1), Some(3)));
        assert_eq!([1, 3, 4].map(|shard| partner(&loads, shard)), [None; 3]);
        assert_eq!(partner(&[400, 300], 0), None, "a quarter is not more than a quarter");
        assert_eq!(partner(&[400, 299], 0), Some(1));
        assert_eq!(partner(&[100, 0], 0), None, "a stream may have its share");
        assert_eq!(partner(&[101, 0], 0), Some(1));
    }
}
