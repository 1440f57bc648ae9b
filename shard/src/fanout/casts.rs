//! Viewers by datagrams: each has a cursor of its own kind, a *cast*, that sends the packets of a feed to the addresses of
//! their channels, by sockets that all share (DESIGN.md 4.3, *realtime*).
//!
//! A cast belongs to a connection (the dialogue that set it up, and goes on beside it) or to nobody (a group address). It has
//! no buffer and is never waited for: what a socket does not take is dropped, up to the next record.
//!
//! Invariants:
//! - A cast stands on a record boundary, or inside a range that begins and ends on one and of which packets are still to be
//!   sent. It moves on when every send of its range has completed: until then its place pins the memory.
//! - Nothing of a cast is under way when it is dropped: sends complete within the submit that issues them, and casts are
//!   dropped between two.
//! - Layouts, and what is known of the sends under way, are only given up when there is none.
//! - Until the kernel has cut one send of a cast, no second one follows: a cut that is refused is sent again, uncut, and no
//!   peer gets a datagram twice.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::connection::{ConnId, GENERATION_MASK, Life, WAITING};
use crate::core::{Core, Event, FeedId, Operation};
use crate::datagrams::DatagramId;
use crate::feed::Feed;
use crate::kernel::{Datagrams, Kernel};
use crate::limits;

use super::layout::{Cut, Key, Layout};
use super::letters::Outbox;
use super::{FanOut, LocalFeed};

/// Where the packets of one channel go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub channel: u8,
    pub socket: DatagramId,
    pub to: SocketAddr,
}

/// Whether the kernel cuts datagrams of one size out of one send (UDP GSO).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Segmentation {
    /// For each viewer until its way refuses it.
    #[default]
    Auto,
    Off,
}

/// A viewer without a connection; stale once it has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupId(CastId);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CastId {
    index: u32,
    generation: u32,
}

/// In a feed's list of cursors, what is no place of a connection.
const CAST: u32 = 1 << 31;

/// All casts of a shard, and what of their sends is under way.
#[derive(Debug, Default)]
pub(super) struct Casts {
    places: Vec<Place>,
    free: Vec<u32>,
    /// To be served at once.
    urgent: VecDeque<CastId>,
    /// Who is catching up, and when it goes on (µs); in the order of that.
    later: VecDeque<(u64, CastId)>,
    /// Of this slice, the first ones; the others are kept for their memory.
    layouts: Vec<Layout>,
    laid: usize,
    pub flights: Vec<Flight>,
    /// Of these, how many have not completed.
    pub under_way: usize,
    pub outbox: Outbox,
    pub segmentation: Segmentation,
    /// Casts of no connection.
    groups: usize,
}

#[derive(Debug)]
struct Place {
    generation: u32,
    cast: Option<Cast>,
}

#[derive(Debug)]
struct Cast {
    owner: Option<ConnId>,
    routes: Box<[Route]>,
    feed: u32,
    /// In the feed's list.
    place: u32,
    /// As a cursor's.
    position: u64,
    end: u64,
    /// It was put at a join point before.
    begun: bool,
    /// The appliance has not been told of its join point.
    held: bool,
    /// Stands in the urgent queue.
    queued: bool,
    /// Packets of the range's layout that were given to the kernel, or have no route.
    done: u32,
    /// Those that have one and are left.
    left: u32,
    /// Sends.
    under_way: u32,
    trouble: Trouble,
    cuts: Cuts,
    /// Catching up, it sends nothing before (µs).
    rests_until: u64,
}

/// What became of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    /// The socket was full.
    Full,
    /// The peer cannot be reached.
    Refused,
}

/// Whether the kernel cuts on the way to these peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cuts {
    Untried,
    Work,
    Refused,
}

/// A send under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    /// None for a letter.
    cast: Option<CastId>,
    /// Of its layout.
    first: u32,
    packets: u32,
}

impl Flight {
    pub fn letter() -> Flight {
        Flight {
            cast: None,
            first: 0,
            packets: 1,
        }
    }
}

/// Whom a turn meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    Connection(ConnId),
    Cast(CastId),
}

impl Casts {
    fn get(&self, id: CastId) -> Option<&Cast> {
        let place = self.places.get(id.index as usize)?;
        place.cast.as_ref().filter(|_| place.generation == id.generation)
    }

    fn get_mut(&mut self, id: CastId) -> Option<&mut Cast> {
        let place = self.places.get_mut(id.index as usize)?;
        place.cast.as_mut().filter(|_| place.generation == id.generation)
    }

    /// The cast that an entry of a feed's list names.
    fn named(&self, index: u32) -> Option<CastId> {
        let place = self.places.get((index ^ CAST) as usize)?;
        place.cast.as_ref().map(|_| CastId {
            index: index ^ CAST,
            generation: place.generation,
        })
    }

    fn insert(&mut self, cast: Cast) -> CastId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                generation: 0,
                cast: None,
            });
            self.places.len() as u32 - 1
        });
        let place = &mut self.places[index as usize];
        place.cast = Some(cast);
        CastId {
            index,
            generation: place.generation,
        }
    }

    fn remove(&mut self, id: CastId) -> Option<Cast> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation != id.generation {
            return None;
        }
        let cast = place.cast.take()?;
        place.generation = (place.generation + 1) & GENERATION_MASK;
        self.free.push(id.index);
        Some(cast)
    }

    pub fn has_work(&self, now: u64) -> bool {
        !self.urgent.is_empty() || !self.outbox.is_empty() || self.next_at().is_some_and(|at| at <= now)
    }

    /// When one that is catching up goes on.
    pub fn next_at(&self) -> Option<u64> {
        self.later.front().map(|(at, _)| *at)
    }

    fn make_urgent(&mut self, id: CastId) {
        if let Some(cast) = self.get_mut(id)
            && !cast.queued
        {
            cast.queued = true;
            self.urgent.push_back(id);
        }
    }

    /// A slice begins. The newest layout stays: the viewers that a slice has not come to stand where the others stood.
    pub fn begin_slice(&mut self, now: u64) {
        if self.under_way == 0 {
            self.flights.clear();
            self.outbox.turn_over();
            if self.laid > 1 {
                self.layouts.swap(0, self.laid - 1);
            }
            self.laid = self.laid.min(1);
            self.layouts.truncate(limits::LAYOUTS_KEPT);
        }
        while let Some((_, id)) = self.later.pop_front_if(|(at, _)| *at <= now) {
            self.make_urgent(id);
        }
    }

    /// The place of a feed goes to another.
    pub fn forget_feed(&mut self, feed: u32) {
        for layout in self.layouts.iter_mut().filter(|layout| layout.key.feed == feed) {
            layout.key.feed = u32::MAX;
        }
    }

    /// The number of the layout of a range; none while there is no room for one more.
    fn layout(&mut self, key: Key, feed: &Feed, shard: usize) -> Option<usize> {
        let laid = &self.layouts[..self.laid];
        if let Some(at) = laid.iter().rposition(|layout| layout.key == key) {
            return Some(at);
        }
        if self.laid >= limits::LAYOUTS_MAX {
            return None;
        }
        if self.laid == self.layouts.len() {
            self.layouts.push(Layout::new());
        }
        self.layouts[self.laid].lay(key, feed, shard);
        self.laid += 1;
        Some(self.laid - 1)
    }
}

impl FanOut {
    /// The lowest position of those of `local` that are casts.
    pub(super) fn lowest_cast(&self, local: &LocalFeed) -> u64 {
        let casts = local.cursors.iter().filter(|index| **index & CAST != 0);
        let positions = casts.filter_map(|index| {
            let id = self.casts.named(*index)?;
            self.casts.get(id).map(|cast| cast.position)
        });
        positions.min().unwrap_or(WAITING)
    }
}

impl<M, K: Kernel> Core<M, K> {
    /// Puts a viewer at the newest join point of a feed whose records are framed datagrams, or at the first one to come; from
    /// there its packets go to the address of their channel, those of channels without a route nowhere. `joining` is
    /// called as with [`Core::join_with`], before the first of them. The connection itself goes on as one without a feed;
    /// it leaves this one as others do, at its end too. It does not take this place along when it is detached.
    ///
    /// # Panics
    /// With more than [`limits::ROUTES_MAX`] routes.
    pub fn join_datagrams(&mut self, id: ConnId, feed: FeedId, routes: &[Route]) {
        self.leave_feed(id);
        if (self.connections.get(id)).is_none_or(|connection| connection.life != Life::Open) {
            return;
        }
        let Some(cast) = self.enter_cast(Some(id), feed, routes) else {
            return;
        };
        if let Some(connection) = self.connections.get_mut(id) {
            connection.cast = Some(cast);
        }
        self.start_cast(cast);
    }

    /// Sends a feed of framed datagrams to addresses that nobody here has a connection with: multicast groups. None when
    /// the feed is not open, or the shard has [`limits::GROUPS_MAX`].
    ///
    /// # Panics
    /// With more than [`limits::ROUTES_MAX`] routes.
    pub fn join_group(&mut self, feed: FeedId, routes: &[Route]) -> Option<GroupId> {
        if self.fanout.casts.groups >= limits::GROUPS_MAX {
            return None;
        }
        let cast = self.enter_cast(None, feed, routes)?;
        self.fanout.casts.groups += 1;
        self.start_cast(cast);
        Some(GroupId(cast))
    }

    /// The group gets nothing more.
    pub fn leave_group(&mut self, id: GroupId) {
        self.drop_cast(id.0);
    }

    fn enter_cast(&mut self, owner: Option<ConnId>, feed: FeedId, routes: &[Route]) -> Option<CastId> {
        assert!(routes.len() <= limits::ROUTES_MAX, "{} routes", routes.len());
        let shard = self.id.index();
        self.fanout.local(feed.0)?;
        let id = self.fanout.casts.insert(Cast {
            owner,
            routes: routes.into(),
            feed: feed.0,
            place: 0,
            position: WAITING,
            end: WAITING,
            begun: false,
            held: false,
            queued: false,
            done: 0,
            left: 0,
            under_way: 0,
            trouble: Trouble::None,
            cuts: match self.fanout.casts.segmentation {
                Segmentation::Auto => Cuts::Untried,
                Segmentation::Off => Cuts::Refused,
            },
            rests_until: 0,
        });
        let place = self.fanout.local_mut(feed.0)?.enter(CAST | id.index, shard);
        self.fanout.casts.get_mut(id)?.place = place;
        self.counters.datagram_viewers.add(1);
        self.demand_grew(feed);
        Some(id)
    }

    pub(crate) fn drop_cast(&mut self, id: CastId) {
        let Some(cast) = self.fanout.casts.remove(id) else {
            return;
        };
        debug_assert_eq!(cast.under_way, 0, "a cast is dropped between two submits");
        match cast.owner {
            Some(owner) => {
                if let Some(connection) = self.connections.get_mut(owner) {
                    connection.cast = None;
                }
            }
            None => self.fanout.casts.groups -= 1,
        }
        self.counters.datagram_viewers.sub(1);
        self.leave_place(cast.feed, cast.place);
        self.demand_shrank(FeedId(cast.feed));
    }

    /// Another one stands at `place` of a feed's list from here on.
    pub(super) fn set_place(&mut self, index: u32, place: u32) {
        if index & CAST != 0 {
            let id = self.fanout.casts.named(index);
            if let Some(cast) = id.and_then(|id| self.fanout.casts.get_mut(id)) {
                cast.place = place;
            }
            return;
        }
        let id = self.connections.at(index);
        let connection = id.and_then(|id| self.connections.get_mut(id));
        if let Some(cursor) = connection.and_then(|connection| connection.cursor.as_mut()) {
            cursor.place = place;
        }
    }

    /// Whom an entry of `feed`'s list names, if it is still a viewer of that.
    pub(super) fn meet(&self, index: u32, feed: u32) -> Option<Met> {
        if index & CAST != 0 {
            let id = self.fanout.casts.named(index)?;
            let cast = self.fanout.casts.get(id)?;
            return (cast.feed == feed).then_some(Met::Cast(id));
        }
        let id = self.connections.at(index)?;
        let cursor = self.connections.get(id)?.cursor.as_ref()?;
        (cursor.feed == feed).then_some(Met::Connection(id))
    }

    /// Puts a cast at the newest join point, if there is one. A connection's waits there until the appliance was told.
    fn start_cast(&mut self, id: CastId) -> bool {
        let mut header = std::mem::take(&mut self.fanout.scratch);
        let is_started = self.stand_at_newest(id, &mut header);
        self.fanout.scratch = header;
        // A feed that has ended brings no join point any more; the visit finds out.
        self.fanout.casts.make_urgent(id);
        is_started
    }

    fn stand_at_newest(&mut self, id: CastId, header: &mut Vec<u8>) -> bool {
        let shard = self.id.index();
        let Some(cast) = self.fanout.casts.get(id) else {
            return false;
        };
        let (number, owner, begun) = (cast.feed, cast.owner, cast.begun);
        let Some(local) = self.fanout.local_mut(number) else {
            return false;
        };
        // The feed may move on between naming a join point and the claim on it; then it names a newer one.
        let join = loop {
            match local.feed.join_newest(header) {
                Some(join) if local.feed.claim(shard, join.position).is_err() => {}
                join => break join,
            }
        };
        // A visit that is under way has seen it where it stood, and counts again.
        local.changes += 1;
        let position = join.map_or(WAITING, |join| join.position);
        if let Some(cast) = self.fanout.casts.get_mut(id) {
            (cast.position, cast.end, cast.done, cast.left) = (position, position, 0, 0);
            cast.begun |= join.is_some();
            cast.held = join.is_some() && !begun && owner.is_some();
        }
        match (join, begun, owner) {
            (None, ..) => return false,
            (Some(_), true, _) => self.counters.cursors_skipped.add(1),
            (Some(_), false, owner) => {
                self.counters.cursors_joined.add(1);
                if let Some(id) = owner {
                    let header = header.as_slice().into();
                    self.events.push_back(Event::Joining { id, position, header });
                }
            }
        }
        true
    }

    /// As [`Core::let_join`].
    pub(crate) fn let_cast_join(&mut self, id: CastId, position: u64) -> bool {
        let cast = self.fanout.casts.get_mut(id);
        let Some(cast) = cast.filter(|cast| cast.held && cast.position == position) else {
            return false;
        };
        cast.held = false;
        self.fanout.casts.make_urgent(id);
        true
    }

    /// Serves those who are to be served at once; how much of the slice they took.
    pub(super) fn serve_casts(&mut self, room: usize) -> usize {
        let mut queued = 0;
        let mut urgent = self.fanout.casts.urgent.len();
        while queued < room && self.fanout.slice_bytes < limits::SLICE_BYTES && urgent > 0 {
            urgent -= 1;
            let Some(id) = self.fanout.casts.urgent.pop_front() else {
                break;
            };
            if let Some(cast) = self.fanout.casts.get_mut(id) {
                cast.queued = false;
                queued += self.serve_cast(id, room - queued);
            }
        }
        queued
    }

    /// A turn's visit; how much of the slice it took.
    pub(super) fn visit_cast(&mut self, id: CastId, room: usize) -> usize {
        let position = self.fanout.casts.get(id).map_or(WAITING, |cast| cast.position);
        if let Some(visit) = self.fanout.turn.as_mut().and_then(|turn| turn.visit.as_mut()) {
            visit.floor = visit.floor.min(position);
        }
        let sends = self.serve_cast(id, room);
        if let Some(turn) = self.fanout.turn.as_mut() {
            turn.sends += sends as u64;
        }
        sends
    }

    /// Sends on, up to `room` sends; how much of the slice it took.
    fn serve_cast(&mut self, id: CastId, room: usize) -> usize {
        let Some(key) = self.next_of_cast(id) else { return 0 };
        let laid = self.fanout.casts.laid;
        let shard = self.id.index();
        let FanOut { casts, feeds, .. } = &mut self.fanout;
        let local = feeds.get(key.feed as usize).and_then(Option::as_ref);
        let layout = local.and_then(|local| casts.layout(key, &local.feed, shard));
        let Some(layout) = layout else {
            casts.make_urgent(id);
            return room;
        };
        let walked = usize::from(self.fanout.casts.laid > laid);
        let sends = self.queue_packets(id, layout, room);
        self.settle_cast(id);
        sends.max(walked)
    }

    /// The range that a cast is in, or the next one; nothing when there is nothing to send now.
    fn next_of_cast(&mut self, id: CastId) -> Option<Key> {
        let cast = self.fanout.casts.get(id)?;
        if cast.under_way > 0 || cast.held || cast.rests_until > self.now {
            return None;
        }
        let local = self.fanout.local(cast.feed)?;
        // The end is looked at first: nothing is appended behind it.
        let is_ended = local.feed.is_ended();
        if cast.position == WAITING || cast.position < local.feed.tail() {
            self.counters.datagrams_dropped.add(cast.left.into());
            let mut header = std::mem::take(&mut self.fanout.scratch);
            let is_started = self.stand_at_newest(id, &mut header);
            self.fanout.scratch = header;
            if !is_started && is_ended {
                self.end_cast(id);
            }
        }
        let cast = self.fanout.casts.get(id)?;
        let local = self.fanout.local(cast.feed)?;
        if cast.held || cast.position == WAITING {
            return None;
        }
        let (feed, position) = (cast.feed, cast.position);
        if cast.position == cast.end {
            if position >= local.feed.head() {
                if is_ended {
                    self.end_cast(id);
                }
                return None;
            }
            let end = burst_end(&local.feed, position);
            let cast = self.fanout.casts.get_mut(id)?;
            (cast.end, cast.done, cast.trouble) = (end, 0, Trouble::None);
        }
        let end = self.fanout.casts.get(id)?.end;
        Some(Key { feed, position, end })
    }

    fn end_cast(&mut self, id: CastId) {
        let owner = self.fanout.casts.get(id).and_then(|cast| cast.owner);
        self.drop_cast(id);
        self.events.push_back(match owner {
            Some(owner) => Event::ReachedEnd(owner),
            None => Event::GroupEnded(GroupId(id)),
        });
    }

    /// Queues packets of a layout from where the cast is in it.
    fn queue_packets(&mut self, id: CastId, layout: usize, room: usize) -> usize {
        let (casts, sockets) = (&mut self.fanout.casts, &self.sockets);
        let layout = &casts.layouts[layout];
        let place = casts.places.get_mut(id.index as usize);
        let Some(cast) = place.and_then(|place| place.cast.as_mut()) else {
            return 0;
        };
        let (mut sends, mut at) = (0, cast.done as usize);
        while at < layout.packets.len() && sends < room && self.fanout.slice_bytes < limits::SLICE_BYTES {
            let channel = layout.packets[at].channel;
            let Some(route) = cast.routes.iter().find(|route| route.channel == channel) else {
                at = layout.channel_end(at);
                continue;
            };
            let cut = match cast.cuts {
                Cuts::Refused => Cut::Here,
                Cuts::Untried | Cuts::Work => Cut::ByKernel,
            };
            let run = layout.run(at, cut);
            let is_cut = run.segment.is_some();
            let Some((slot, to)) = sockets.way(route.socket, route.to) else {
                let end = layout.channel_end(at);
                self.counters.datagrams_refused.add((end - at) as u64);
                (cast.trouble, at) = (Trouble::Refused, end);
                continue;
            };
            let what = Datagrams::Pieces {
                pieces: &layout.pieces,
                range: run.pieces,
                segment: run.segment,
            };
            let user_data = Operation::SendDatagrams.of_number(casts.flights.len() as u64);
            if self.kernel.send_datagrams(slot, to, what, user_data).is_err() {
                break;
            }
            casts.flights.push(Flight {
                cast: Some(id),
                first: at as u32,
                packets: run.packets,
            });
            casts.under_way += 1;
            cast.under_way += 1;
            self.counters.datagram_sends.add(1);
            self.counters.datagram_sends_cut.add(u64::from(is_cut));
            self.fanout.slice_bytes += run.bytes;
            sends += 1;
            at += run.packets as usize;
            if is_cut && cast.cuts == Cuts::Untried {
                break;
            }
        }
        cast.done = at as u32;
        let rest = &layout.packets[at..];
        let has_route = |channel| cast.routes.iter().any(|route| route.channel == channel);
        cast.left = rest.iter().filter(|packet| has_route(packet.channel)).count() as u32;
        sends
    }

    /// A send of datagrams has completed.
    pub(crate) fn datagrams_completed(&mut self, number: u64, result: i32) {
        let casts = &mut self.fanout.casts;
        let Some(flight) = casts.flights.get(number as usize).copied() else {
            return;
        };
        casts.under_way -= 1;
        let packets = u64::from(flight.packets);
        let trouble = match -result {
            ..=0 => {
                self.counters.datagrams_sent.add(packets);
                self.counters.datagram_bytes_sent.add(result as u64);
                Trouble::None
            }
            libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => Trouble::Full,
            _ => Trouble::Refused,
        };
        let cast = flight.cast.and_then(|id| casts.get_mut(id));
        let is_cut = flight.packets > 1;
        if let Some(cast) = cast {
            cast.under_way -= 1;
            let owner = cast.owner.filter(|_| result > 0);
            if is_cut && trouble == Trouble::Refused && matches!(-result, libc::EIO | libc::EINVAL | libc::EMSGSIZE) {
                let before = std::mem::replace(&mut cast.cuts, Cuts::Refused);
                self.counters.datagram_cuts_refused.add(1);
                match before {
                    // It was the only one: sent again, uncut.
                    Cuts::Untried => (cast.done, cast.left) = (flight.first, cast.left + flight.packets),
                    _ => {
                        cast.trouble = Trouble::Full;
                        self.counters.datagrams_dropped.add(packets);
                    }
                }
            } else {
                self.count_trouble(flight, trouble);
            }
            if let Some(connection) = owner.and_then(|owner| self.connections.get_mut(owner)) {
                connection.bytes_sent += result as u64;
            }
        } else {
            self.count_trouble(flight, trouble);
        }
        if let Some(id) = flight.cast {
            self.settle_cast(id);
        }
    }

    fn count_trouble(&mut self, flight: Flight, trouble: Trouble) {
        match trouble {
            Trouble::None => {}
            Trouble::Full => self.counters.datagrams_dropped.add(flight.packets.into()),
            Trouble::Refused => self.counters.datagrams_refused.add(flight.packets.into()),
        }
        let cast = flight.cast.and_then(|id| self.fanout.casts.get_mut(id));
        if let Some(cast) = cast {
            match trouble {
                Trouble::None if flight.packets > 1 && cast.cuts == Cuts::Untried => cast.cuts = Cuts::Work,
                Trouble::None => {}
                Trouble::Refused if cast.trouble == Trouble::Full => {}
                Trouble::Full | Trouble::Refused => cast.trouble = trouble,
            }
        }
    }

    /// When nothing of a range is under way: on with it, or, when all of it is sent or its socket was full, with the next.
    fn settle_cast(&mut self, id: CastId) {
        let Some(cast) = self.fanout.casts.get_mut(id) else {
            return;
        };
        if cast.under_way > 0 || cast.position == cast.end {
            return;
        }
        // Who cannot be reached at one address may be at another; a full socket has room for none.
        if cast.trouble != Trouble::Full && cast.left > 0 {
            return self.fanout.casts.make_urgent(id);
        }
        self.counters.datagrams_dropped.add(cast.left.into());
        (cast.position, cast.done, cast.left) = (cast.end, 0, 0);
        let trouble = std::mem::replace(&mut cast.trouble, Trouble::None);
        let (position, feed, owner) = (cast.position, cast.feed, cast.owner);
        let now = self.now;
        let Some(local) = self.fanout.local(feed) else { return };
        // The end is looked at first: nothing is appended behind it.
        let is_ended = local.feed.is_ended();
        if position < local.feed.head() {
            let at = now + limits::DATAGRAM_BURST_MICROS;
            self.fanout.casts.later.push_back((at, id));
            if let Some(cast) = self.fanout.casts.get_mut(id) {
                cast.rests_until = at;
            }
        } else if is_ended {
            self.fanout.casts.make_urgent(id);
        }
        if let (Trouble::Refused, Some(owner)) = (trouble, owner) {
            self.events.push_back(Event::Unreachable(owner));
        }
    }

    /// # Panics
    /// When casts, their connections and feeds contradict each other, or anything of one is under way.
    pub(crate) fn check_casts(&self) {
        let casts = &self.fanout.casts;
        assert_eq!(casts.under_way, 0, "a send completes within its submit");
        let mut open = 0;
        for (index, place) in casts.places.iter().enumerate() {
            let Some(cast) = &place.cast else {
                assert!(casts.free.contains(&(index as u32)));
                continue;
            };
            open += 1;
            let (feed, cursors) = self.local_feed(cast.feed).expect("a cast's feed is open");
            assert_eq!(cursors.get(cast.place as usize), Some(&(CAST | index as u32)));
            assert!(cast.under_way == 0 && !cast.held);
            if let Some(owner) = cast.owner {
                let connection = self.connections.get(owner).expect("its connection is there");
                let id = connection.cast.expect("and knows it");
                assert_eq!((id.index, id.generation), (index as u32, place.generation));
                assert!(connection.cursor.is_none() && connection.shared.is_none());
            }
            if cast.position == WAITING {
                continue;
            }
            assert!(feed.released(self.id.index()) <= cast.position && cast.position <= cast.end);
            assert!(cast.end <= feed.head());
            let goes_on = cast.queued || cast.rests_until > self.now;
            assert!(cast.position == cast.end || goes_on, "a range that is begun goes on");
        }
        assert_eq!(open, self.counters.datagram_viewers.value());
        let queued = casts.places.iter().filter_map(|place| place.cast.as_ref());
        let queued = queued.filter(|cast| cast.queued).count();
        let standing = casts
            .urgent
            .iter()
            .filter(|id| casts.get(**id).is_some_and(|cast| cast.queued));
        assert_eq!(queued, standing.count());
    }
}

/// Where a range ends that begins at `position`: the last boundary within a burst, or the end of the one record that is
/// longer.
fn burst_end(feed: &Feed, position: u64) -> u64 {
    match feed.boundary_before(position + limits::DATAGRAM_BURST_BYTES) {
        Some(boundary) if boundary > position => boundary,
        _ => feed
            .record_at(position)
            .map_or_else(|| feed.head(), |record| record.end),
    }
}
