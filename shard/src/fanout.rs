//! Fan-out: the same bytes of a feed to all its viewers on this shard (DESIGN.md 4.3).
//!
//! A *turn* visits every cursor of the feeds of one class that have grown, cut in *slices* of at most 128 sends or 1 ms,
//! one kernel entry a slice; between slices the shard's loop serves publishers and joins. The pause between two turns
//! of a class grows with what turns cost (*elastic coalescing*), so that sends get fewer and larger as viewers come.
//! Connections with something of their own to do (a join, an answer, a socket that can take bytes again) stand in the
//! *urgent* queue and wait for no turn.
//!
//! Invariants:
//! - A queued range ends on a record boundary; session bytes go out and skips happen only when the cursor stands on one.
//! - Every send completes within the submit that issues it, so memory is pinned by positions alone: `released` of a
//!   shard is never above any of its cursors. Zero-copy sends are read beyond that, and pin it too: see `zero_copy`.
//! - A socket that is full has a poll armed and is visited only to be counted.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::connection::{ConnId, Cursor, InFlight, WAITING};
use crate::core::{Core, End, FeedId};
use crate::counters::TurnCount;
use crate::feed::Feed;
use crate::kernel::Kernel;
use crate::limits;
use crate::mesh::ShardId;

mod answers;
mod casts;
mod joins;
mod layout;
mod letters;
mod load;
mod moves;
mod pacing;
mod sealed;
mod send;
mod zero_copy;

pub use answers::Limit;
pub(crate) use casts::CastId;
use casts::{Casts, Met};
pub use casts::{GroupId, Route, Segmentation};
use pacing::Pacing;
pub use zero_copy::ZeroCopy;
use zero_copy::{Held, Sends};

pub(crate) use moves::Standing;

/// How long a feed's bytes may be held back to be sent in larger pieces (DESIGN.md 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Never held beyond a frame.
    Realtime = 0,
    /// Somebody waits for exactly this: sent in the turn in which it comes to be.
    Waiting = 1,
    /// 0 to 150 ms.
    Interactive = 2,
    /// 100 to 500 ms.
    Buffered = 3,
}

/// How a core's load changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    Overloaded,
    Eased,
}

const CLASSES: [Class; 4] = [Class::Realtime, Class::Waiting, Class::Interactive, Class::Buffered];
/// Shortest and longest pause between two turns of one class, µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    pub min: u64,
    pub max: u64,
}

/// Those of the classes that bytes are held back for; what is realtime or waited for never rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    pub interactive: Pause,
    pub buffered: Pause,
}

impl Default for Pauses {
    fn default() -> Self {
        Pauses {
            interactive: Pause { min: 0, max: 150_000 },
            buffered: Pause {
                min: 100_000,
                max: 500_000,
            },
        }
    }
}

impl Pauses {
    fn of(&self, class: Class) -> Pause {
        match class {
            Class::Realtime | Class::Waiting => Pause { min: 0, max: 0 },
            Class::Interactive => self.interactive,
            Class::Buffered => self.buffered,
        }
    }
}

/// Turns take one part, pauses so many: fan-out uses about a sixth of a core while the longest pause allows.
const PAUSE_FACTOR: u64 = 5;
/// How long a turn counts: two of the longest pauses, within which a class that is at work has its next one.
const COST_KEPT_MICROS: u64 = 1_000_000;

#[derive(Debug)]
pub(crate) struct FanOut {
    pauses: Pauses,
    feeds: Vec<Option<LocalFeed>>,
    free: Vec<u32>,
    classes: [Pace; 4],
    turn: Option<Turn>,
    /// The first [`LocalFeed::release_at`] of all, or earlier.
    release_at: u64,
    /// µs of the shard's clock.
    overloaded_until: u64,
    /// What [`Core::is_overloaded`] said last.
    overloaded: bool,
    /// Places of connections that the running visit goes through: those with a cursor in its feed when it began.
    order: Vec<u32>,
    pub urgent: VecDeque<ConnId>,
    /// Feed bytes in the sends of the slice that is being queued.
    slice_bytes: usize,
    /// Rests of records copied for viewers that fell behind and not yet sent.
    pub rest_bytes: usize,
    /// Scratch for join headers, skip headers and rests.
    scratch: Vec<u8>,
    /// What all viewers here cost ([`load`]).
    demand: u64,
    /// What others are expected to cost, who are on their way here.
    expected: u64,
    measured: load::Measured,
    zero_copy: Sends,
    casts: Casts,
    /// What a viewer may be sent at most, in percent of its feed's rate; 0 for no bound.
    pub max_pacing: u64,
}

/// A feed with its cursors on this shard.
#[derive(Debug)]
struct LocalFeed {
    feed: Arc<Feed>,
    class: Class,
    /// Places of connections.
    cursors: Vec<u32>,
    /// How many of them are ranges, and how many of those have sent all that is there.
    ranges: usize,
    waiting: usize,
    /// When what was let go is published, if no turn does it before; `u64::MAX` while nothing waits for that.
    release_at: u64,
    /// Head up to which a turn has been asked for.
    seen: u64,
    dirty: bool,
    /// Where the next turn begins, so that the order of viewers rotates.
    rotation: usize,
    /// Counts arrivals, departures and jumps of cursors.
    changes: u64,
    /// Unsent bytes at which a viewer's socket counts as full; grows with the feed's rate.
    low_water: u32,
    /// When and at which head the rate was measured last.
    measured: (u64, u64),
    /// Positions that viewers on their way here may bring: claimed until they have come.
    holds: Vec<u64>,
    demand: load::Demand,
    pacing: Pacing,
    held: Held,
}

impl LocalFeed {
    /// Sockets take what one turn brings at the feed's rate, and half as much again (DESIGN.md 4.4). A rate that falls
    /// leaves them as they are.
    fn measure(&mut self, now: u64, pause_max: u64, max_pacing: u64) {
        let (since, from) = self.measured;
        let elapsed = now.saturating_sub(since);
        if elapsed < limits::RATE_MICROS {
            return;
        }
        let head = self.feed.head();
        let turn = (head - from) * pause_max / elapsed;
        let wanted = (turn + turn / 2).min(u64::from(limits::NOT_SENT_BYTES_MAX)) as u32;
        self.low_water = self.low_water.max(wanted);
        self.pacing.measured(head - from, elapsed, max_pacing);
        self.measured = (now, head);
    }

    /// One more cursor, of the connection at `index`; its place in the list.
    fn enter(&mut self, index: u32, shard: usize) -> u32 {
        if self.cursors.is_empty() {
            self.feed.subscribe(shard);
        }
        self.cursors.push(index);
        self.changes += 1;
        self.cursors.len() as u32 - 1
    }

    /// The cursor at `place` is gone; the connection whose cursor has that place from here on.
    fn leave(&mut self, place: u32, shard: usize) -> Option<u32> {
        self.cursors.swap_remove(place as usize);
        self.changes += 1;
        if self.cursors.is_empty() {
            self.feed.unsubscribe(shard);
            self.dirty = false;
        }
        self.cursors.get(place as usize).copied()
    }
}

/// When a class may have its next turn.
#[derive(Debug)]
struct Pace {
    dirty: bool,
    next_at: u64,
    /// CPU µs of its last turn.
    cost: u64,
    /// When that ended.
    ended_at: u64,
    /// Turns in a row that took so long that pauses save nothing any more.
    late_turns: u32,
}

#[derive(Debug)]
struct Turn {
    class: Class,
    /// Feeds to visit, last first.
    feeds: Vec<u32>,
    visit: Option<Visit>,
    began_at: u64,
    cost: u64,
    sends: u64,
}

/// A turn's place in one feed.
#[derive(Debug)]
struct Visit {
    feed: u32,
    visited: usize,
    floor: u64,
    evict_below: u64,
    /// [`LocalFeed::changes`] at its begin.
    changes: u64,
}

impl FanOut {
    pub fn new(now: u64, pauses: Pauses) -> Self {
        FanOut {
            pauses,
            feeds: Vec::new(),
            free: Vec::new(),
            classes: std::array::from_fn(|_| Pace {
                dirty: false,
                next_at: now,
                cost: 0,
                ended_at: now,
                late_turns: 0,
            }),
            turn: None,
            release_at: u64::MAX,
            overloaded_until: now,
            overloaded: false,
            order: Vec::new(),
            urgent: VecDeque::new(),
            slice_bytes: 0,
            rest_bytes: 0,
            scratch: Vec::new(),
            demand: 0,
            expected: 0,
            measured: load::Measured::new(now),
            zero_copy: Sends::default(),
            casts: Casts::default(),
            max_pacing: 0,
        }
    }

    pub fn set_segmentation(&mut self, segmentation: Segmentation) {
        self.casts.segmentation = segmentation;
    }

    fn local(&self, feed: u32) -> Option<&LocalFeed> {
        self.feeds.get(feed as usize)?.as_ref()
    }

    fn local_mut(&mut self, feed: u32) -> Option<&mut LocalFeed> {
        self.feeds.get_mut(feed as usize)?.as_mut()
    }

    /// Marks every feed that has grown since it was last looked at.
    pub fn look_at_heads(&mut self, shard: usize, now: u64) {
        for feed in 0..self.feeds.len() as u32 {
            self.look_at_head(feed, shard, now);
        }
    }

    fn look_at_head(&mut self, feed: u32, shard: usize, now: u64) {
        let Some(local) = self.local_mut(feed) else { return };
        let head = local.feed.head();
        if head == local.seen && !local.feed.is_ended() || local.cursors.is_empty() {
            return;
        }
        local.seen = head;
        if !local.wants_turn(shard) {
            return self.look_at_claim(feed, shard, now);
        }
        local.dirty = true;
        let class = local.class as usize;
        self.classes[class].dirty = true;
    }

    /// Whether a slice would find something to do at `now`.
    pub fn has_work(&self, now: u64) -> bool {
        self.turn.is_some()
            || !self.urgent.is_empty()
            || self.casts.has_work(now)
            || self.release_at <= now
            || self.due(now).is_some()
    }

    /// When the next turn is due, if one is wanted.
    pub fn next_turn_at(&self) -> Option<u64> {
        let turns = self.classes.iter().filter(|pace| pace.dirty).map(|pace| pace.next_at);
        turns
            .chain([self.release_at])
            .chain(self.casts.next_at())
            .min()
            .filter(|at| *at != u64::MAX)
    }

    /// When the overload that is said to be passes, if nothing prolongs it.
    pub fn overload_ends_at(&self) -> Option<u64> {
        self.overloaded.then_some(self.overloaded_until)
    }

    fn due(&self, now: u64) -> Option<Class> {
        CLASSES.into_iter().find(|class| {
            let pace = &self.classes[*class as usize];
            pace.dirty && pace.next_at <= now
        })
    }

    fn begin_turn(&mut self, class: Class, now: u64) {
        self.classes[class as usize].dirty = false;
        let dirty = self.feeds.iter_mut().enumerate().filter_map(|(number, local)| {
            let local = local.as_mut().filter(|local| local.class == class && local.dirty)?;
            (local.dirty, local.release_at) = (false, u64::MAX);
            Some(number as u32)
        });
        let feeds = dirty.collect();
        self.turn = Some(Turn {
            class,
            feeds,
            visit: None,
            began_at: now,
            cost: 0,
            sends: 0,
        });
    }

    /// Who comes and goes while a visit runs changes neither whom it meets nor in which order.
    fn begin_visit(&mut self, feed: u32, now: u64) {
        let (Some(turn), Some(Some(local))) = (self.turn.as_mut(), self.feeds.get_mut(feed as usize)) else {
            return;
        };
        local.measure(now, self.pauses.of(local.class).max, self.max_pacing);
        local.rotation = (local.rotation + 1).checked_rem(local.cursors.len()).unwrap_or(0);
        let (before, from) = local.cursors.split_at(local.rotation);
        self.order.clear();
        self.order.extend_from_slice(from);
        self.order.extend_from_slice(before);
        turn.visit = Some(Visit {
            feed,
            visited: 0,
            floor: WAITING,
            evict_below: local.feed.evict_below(),
            changes: local.changes,
        });
    }

    /// The pause grows with the cost of all classes' turns: they share one core. A turn that itself takes long leaves less
    /// of it, so that no viewer waits longer than the longest pause for its next bytes as long as the core keeps up.
    fn end_turn(&mut self, now: u64) -> Option<(Class, TurnCount)> {
        let turn = self.turn.take()?;
        let class = turn.class as usize;
        (self.classes[class].cost, self.classes[class].ended_at) = (turn.cost, now);
        // A class whose viewers have gone has no turns any more, and its last one costs nothing.
        let recent = self
            .classes
            .iter()
            .filter(|pace| now - pace.ended_at <= COST_KEPT_MICROS);
        let cost: u64 = recent.map(|pace| pace.cost).sum();
        let Pause { min, max } = self.pauses.of(turn.class);
        let wanted = (PAUSE_FACTOR * cost).max(min);
        let took = now - turn.began_at;
        let pause_micros = wanted.min(max.saturating_sub(took));
        self.classes[class].next_at = now + pause_micros;
        self.judge_load(turn.class, now, took);
        let count = TurnCount {
            cpu_micros: turn.cost,
            sends: turn.sends,
            pause_micros,
            is_longest: max > 0 && wanted >= max,
        };
        Some((turn.class, count))
    }
}

impl FanOut {
    /// A class whose turns take about as long as its longest pause has nothing left to give: sends get no larger without
    /// viewers waiting longer.
    fn judge_load(&mut self, class: Class, now: u64, took: u64) {
        let max = self.pauses.of(class).max;
        let pace = &mut self.classes[class as usize];
        if max == 0 || took * 10 <= max * limits::OVERLOAD_TENTHS {
            pace.late_turns = 0;
            return;
        }
        pace.late_turns += 1;
        if pace.late_turns >= limits::OVERLOAD_TURNS {
            self.overloaded_until = now + limits::OVERLOAD_KEPT_MICROS;
        }
    }
}

/// What a visit to a connection came to.
enum Step {
    /// One send is queued in the ring.
    Queued,
    /// Bytes went by a call of its own; there may be more.
    Again,
    /// Nothing to send, or the socket is full.
    Idle,
}

impl<M, K: Kernel> Core<M, K> {
    /// Makes `feed` known to this shard. Its cursors are served in the pace of `class`.
    pub fn open_feed(&mut self, feed: Arc<Feed>, class: Class) -> FeedId {
        let head = feed.head();
        let local = LocalFeed {
            seen: head,
            demand: load::Demand::new(&feed, self.fanout.pauses.of(class).max, self.now),
            holds: Vec::new(),
            feed,
            class,
            cursors: Vec::new(),
            ranges: 0,
            waiting: 0,
            release_at: u64::MAX,
            dirty: false,
            rotation: 0,
            changes: 0,
            low_water: limits::NOT_SENT_BYTES_MIN,
            measured: (self.now, head),
            pacing: Pacing::default(),
            held: Held::new(self.fanout.zero_copy.begin_hold()),
        };
        let number = match self.fanout.free.pop() {
            Some(number) => {
                self.fanout.feeds[number as usize] = Some(local);
                number
            }
            None => {
                self.fanout.feeds.push(Some(local));
                self.fanout.feeds.len() as u32 - 1
            }
        };
        FeedId(number)
    }

    /// Forgets a feed that has no cursor here.
    pub fn close_feed(&mut self, id: FeedId) {
        let Some(local) = self.fanout.local(id.0) else { return };
        assert!(!local.is_needed(), "viewers leave a feed before it is closed");
        debug_assert_eq!(
            local.held.floor(),
            WAITING,
            "and with the last one, what is under way was let go"
        );
        self.fanout.casts.forget_feed(id.0);
        self.fanout.feeds[id.0 as usize] = None;
        self.fanout.free.push(id.0);
        // Its place may go to another feed before the turn ends.
        if let Some(turn) = self.fanout.turn.as_mut() {
            turn.feeds.retain(|feed| *feed != id.0);
            turn.visit.take_if(|visit| visit.feed == id.0);
        }
    }

    pub fn feed(&self, id: FeedId) -> Option<&Arc<Feed>> {
        self.fanout.local(id.0).map(|local| &local.feed)
    }

    /// Viewers of `id` on this shard.
    pub fn viewers(&self, id: FeedId) -> usize {
        self.fanout.local(id.0).map_or(0, |local| local.cursors.len())
    }

    /// Nobody here watches `feed` any more. Unless somebody is on the way, nothing of it is claimed: peers that acknowledge
    /// nothing would hold its memory for as long as they like.
    fn release(&mut self, feed: u32) {
        if !self.fanout.local(feed).is_some_and(LocalFeed::is_needed) {
            self.let_go_zero_copy(feed);
        }
        if let Some(local) = self.fanout.local(feed) {
            local.set_released(self.id.index(), WAITING);
        }
    }

    /// Whether the viewer stands between two records (true without a feed).
    pub fn is_on_boundary(&self, id: ConnId) -> bool {
        let cursor = self
            .connections
            .get(id)
            .and_then(|connection| connection.cursor.as_ref());
        cursor.is_none_or(Cursor::is_on_boundary)
    }

    /// The home shard has appended to, or ended, `feed`: its viewers here get a turn, other shards a doorbell.
    pub fn feed_grew(&mut self, feed: &Arc<Feed>, local: Option<FeedId>) {
        if let Some(local) = local {
            self.fanout.look_at_head(local.0, self.id.index(), self.now);
        }
        let mut others = feed.subscribers() & !self.id.bit();
        while others != 0 {
            let target = others.trailing_zeros() as u16;
            others &= others - 1;
            self.ring(ShardId(target));
        }
    }

    pub(crate) fn make_urgent(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.queued
        {
            connection.queued = true;
            self.fanout.urgent.push_back(id);
        }
    }

    fn cursor_feed(&self, id: ConnId) -> Option<Arc<Feed>> {
        let cursor = self.connections.get(id)?.cursor.as_ref()?;
        self.fanout.local(cursor.feed).map(|local| local.feed.clone())
    }

    /// Puts a cursor elsewhere. A visit that is under way has seen it where it stood, and counts again.
    fn set_cursor(&mut self, id: ConnId, position: u64, end: u64) {
        let cursor = self
            .connections
            .get_mut(id)
            .and_then(|connection| connection.cursor.as_mut());
        if let Some(cursor) = cursor {
            (cursor.position, cursor.end) = (position, end);
            cursor.begun |= position != WAITING;
            let feed = cursor.feed;
            if let Some(local) = self.fanout.local_mut(feed) {
                local.changes += 1;
            }
        }
    }

    /// Publishes the lowest position of this shard's cursors and zero-copy sends in `feed`; a waiting cursor ([`WAITING`] is the highest
    /// position) claims nothing, like none.
    fn publish_released(&mut self, feed: u32) {
        let Some(local) = self.fanout.local(feed) else {
            return;
        };
        let positions = local.cursors.iter().filter_map(|index| {
            let id = self.connections.at(*index)?;
            self.connections.get(id)?.cursor.as_ref().map(|cursor| cursor.position)
        });
        let lowest = positions.min().unwrap_or(WAITING);
        local.set_released(self.id.index(), lowest.min(self.fanout.lowest_cast(local)));
    }

    /// Queues up to one slice of sends; the loop submits them. CPU time is charged by [`Core::charge`].
    pub(crate) fn queue_slice(&mut self) {
        let mut queued = 0;
        self.fanout.slice_bytes = 0;
        let mut urgent = self.fanout.urgent.len();
        // Long ranges that many fetch at once leave a turn its half.
        let share = match self.fanout.turn.is_some() || self.fanout.due(self.now).is_some() {
            true => 2,
            false => 1,
        };
        let (sends, bytes) = (limits::SLICE_SENDS / share, limits::SLICE_BYTES / share);
        self.fanout.casts.begin_slice(self.now);
        queued += self.queue_letters(sends);
        // Of the rest, those who start leave others their half.
        queued += self.serve_casts((sends - queued).div_ceil(1 + usize::from(urgent > 0)));
        while queued < sends && self.fanout.slice_bytes < bytes && urgent > 0 {
            urgent -= 1;
            let Some(id) = self.fanout.urgent.pop_front() else {
                break;
            };
            if let Some(connection) = self.connections.get_mut(id) {
                connection.queued = false;
                queued += self.serve(id);
            }
        }
        let started = self.kernel.monotonic_micros();
        while queued < limits::SLICE_SENDS
            && self.fanout.slice_bytes < limits::SLICE_BYTES
            && self.kernel.monotonic_micros() - started < limits::SLICE_MICROS
        {
            match self.next_of_turn() {
                Some(Met::Connection(id)) => queued += self.visit(id),
                Some(Met::Cast(id)) => queued += self.visit_cast(id, limits::SLICE_SENDS - queued),
                None => break,
            }
        }
    }

    /// One visit to a connection; how much of the slice it took.
    fn serve(&mut self, id: ConnId) -> usize {
        match self.step(id) {
            Step::Queued => 1,
            Step::Again => {
                self.make_urgent(id);
                1
            }
            Step::Idle => 0,
        }
    }

    /// Charges the running turn, ends it when all its feeds are done.
    pub(crate) fn charge(&mut self, cpu_micros: u64) {
        self.counters.turn_cpu_micros.add(cpu_micros);
        if cpu_micros > limits::PASS_MICROS_MAX {
            self.counters.slices_long.add(1);
        }
        let Some(turn) = self.fanout.turn.as_mut() else { return };
        turn.cost += cpu_micros;
        if turn.visit.is_some() || !turn.feeds.is_empty() {
            return;
        }
        if let Some((class, count)) = self.fanout.end_turn(self.kernel.monotonic_micros()) {
            self.counters.count_turn(class, count);
        }
    }

    /// Whether this core has no more to give: turns take as long as the longest pauses allow. Who watches is still served;
    /// who is far behind is moved on sooner, and new viewers are better refused.
    pub fn is_overloaded(&self) -> bool {
        self.fanout.overloaded
    }

    /// Once a pass: whether an overload has begun or has passed.
    pub(crate) fn look_at_load(&mut self) -> Option<Load> {
        let is_overloaded = self.now < self.fanout.overloaded_until;
        if is_overloaded == self.fanout.overloaded {
            return None;
        }
        self.fanout.overloaded = is_overloaded;
        if !is_overloaded {
            self.counters.overloaded.sub(1);
            return Some(Load::Eased);
        }
        self.counters.overloads.add(1);
        self.counters.overloaded.add(1);
        Some(Load::Overloaded)
    }

    /// The next viewer of the running turn, or of one that begins here.
    fn next_of_turn(&mut self) -> Option<Met> {
        if self.fanout.turn.is_none() {
            self.fanout.release_due(self.now);
            let class = self.fanout.due(self.now)?;
            self.fanout.begin_turn(class, self.now);
        }
        loop {
            let turn = self.fanout.turn.as_mut()?;
            let Some(visit) = turn.visit.as_mut() else {
                let feed = turn.feeds.pop()?;
                self.fanout.begin_visit(feed, self.now);
                continue;
            };
            let (feed, index) = (visit.feed, self.fanout.order.get(visit.visited).copied());
            visit.visited += 1;
            let Some(index) = index else {
                self.end_visit();
                continue;
            };
            if let Some(met) = self.meet(index, feed) {
                return Some(met);
            }
        }
    }

    /// A turn's visit to one viewer; how much of the slice it took. One that holds back too much is closed, unless a
    /// send of it is queued in this very slice: then the next turn meets it again.
    fn visit(&mut self, id: ConnId) -> usize {
        let Some(connection) = self.connections.get(id) else {
            return 0;
        };
        let position = connection.cursor.as_ref().map_or(WAITING, |cursor| cursor.position);
        let is_idle = connection.in_flight == InFlight::Nothing;
        let Some(visit) = self.fanout.turn.as_mut().and_then(|turn| turn.visit.as_mut()) else {
            return 0;
        };
        if position < visit.evict_below && is_idle {
            if self.copy_range(id) {
                return 1;
            }
            self.counters.cursors_closed_evicted.add(1);
            self.end(id, End::Evicted);
            return 1;
        }
        visit.floor = visit.floor.min(position);
        let sends = self.serve(id);
        if let Some(turn) = self.fanout.turn.as_mut() {
            turn.sends += sends as u64;
        }
        sends
    }

    /// A feed and the places of its viewers here.
    pub(crate) fn local_feed(&self, feed: u32) -> Option<(&Feed, &[u32])> {
        let local = self.fanout.local(feed)?;
        Some((&local.feed, &local.cursors))
    }

    /// # Panics
    /// When a feed's list of viewers, its claim and its subscription contradict each other.
    pub(crate) fn check_fanout(&self) {
        let cursor_of = |index: &u32| self.connections.get(self.connections.at(*index)?)?.cursor.as_ref();
        let mut demand = 0;
        for (number, local) in self.fanout.feeds.iter().enumerate() {
            let Some(local) = local else {
                assert!(self.fanout.free.contains(&(number as u32)));
                continue;
            };
            demand += local.demand.of(local.endless());
            let cursors = local.cursors.iter().filter_map(cursor_of);
            let ranges = cursors.clone().filter(|cursor| cursor.limit.is_some()).count();
            let waiting = cursors.filter(|cursor| cursor.waits).count();
            assert_eq!(
                (local.ranges, local.waiting),
                (ranges, waiting),
                "ranges counted and there"
            );
            assert!(self.fanout.release_at <= local.release_at);
            for (place, index) in local.cursors.iter().enumerate() {
                let met = self.meet(*index, number as u32);
                let met = met.expect("who stands in a feed's list is its viewer");
                let Some(cursor) = cursor_of(index) else {
                    assert!(matches!(met, Met::Cast(_)), "looked at in its own check");
                    continue;
                };
                assert_eq!((cursor.feed as usize, cursor.place as usize), (number, place));
            }
            let asks = local.feed.subscribers() & self.id.bit() != 0;
            assert_eq!(asks, !local.cursors.is_empty(), "doorbells are for who has viewers");
            if local.cursors.is_empty() {
                let released = local.feed.released(self.id.index());
                assert!(released <= local.lowest_hold(), "who is on the way is waited for");
                assert!(released == WAITING || local.is_needed(), "nobody claims nothing");
            }
            let pace = &self.fanout.classes[local.class as usize];
            let in_turn = self.fanout.turn.as_ref().is_some_and(|turn| turn.class == local.class);
            assert!(
                !local.dirty || pace.dirty || in_turn,
                "a feed that wants a turn gets one"
            );
        }
        assert_eq!(demand, self.fanout.demand, "what viewers cost, counted and summed");
    }

    fn end_visit(&mut self) {
        let Some(visit) = self.fanout.turn.as_mut().and_then(|turn| turn.visit.take()) else {
            return;
        };
        // What the feed told its viewers to let go, it waits for no longer.
        if (self.fanout.local(visit.feed)).is_some_and(|local| local.held.floor() < visit.evict_below) {
            self.let_go_zero_copy(visit.feed);
        }
        let Some(local) = self.fanout.local(visit.feed) else {
            return;
        };
        if local.changes == visit.changes {
            // Every cursor was visited once; none stands below where it stood then.
            local.set_released(self.id.index(), visit.floor);
        } else {
            self.publish_released(visit.feed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause_after(fanout: &mut FanOut, class: Class, now: u64, cost: u64) -> u64 {
        fanout.begin_turn(class, now);
        fanout.turn.as_mut().unwrap().cost = cost;
        let (ended, count) = fanout.end_turn(now).unwrap();
        assert_eq!((ended, count.cpu_micros), (class, cost));
        assert_eq!(fanout.classes[class as usize].next_at, now + count.pause_micros);
        count.pause_micros
    }

    #[test]
    fn the_pause_grows_with_what_turns_cost_and_shrinks_when_a_class_has_gone() {
        let mut fanout = FanOut::new(0, Pauses::default());
        let mut pause = |class, now, cost| pause_after(&mut fanout, class, now, cost);
        assert_eq!(pause(Class::Interactive, 0, 20), 100);
        assert_eq!(pause(Class::Buffered, 0, 20), 100_000);
        assert_eq!(pause(Class::Buffered, 0, 40_000), 5 * 40_020);
        assert_eq!(pause(Class::Buffered, 0, 4_000_000), 500_000);
        assert_eq!(pause(Class::Interactive, 400_000, 20), 150_000);
        assert_eq!(pause(Class::Realtime, 400_000, 20), 0);
        assert_eq!(pause(Class::Interactive, 1_400_001, 20), 100);
    }

    #[test]
    fn what_a_long_turn_takes_is_no_pause_and_several_are_an_overload() {
        let mut fanout = FanOut::new(0, Pauses::default());
        let mut now = 0;
        let mut turn = |class, took, cost| {
            fanout.begin_turn(class, now);
            fanout.turn.as_mut().unwrap().cost = cost;
            now += took;
            let (_, count) = fanout.end_turn(now).unwrap();
            (count.pause_micros, count.is_longest, fanout.overloaded_until > now)
        };
        assert_eq!(turn(Class::Buffered, 20_000, 20_000), (100_000, false, false));
        assert_eq!(turn(Class::Buffered, 300_000, 300_000), (200_000, true, false));
        assert_eq!(turn(Class::Buffered, 450_000, 450_000), (50_000, true, false));
        assert_eq!(turn(Class::Buffered, 700_000, 450_000), (0, true, false));
        // Another class's turns of no account are no relief, and no burden.
        assert_eq!(turn(Class::Realtime, 900_000, 1), (0, false, false));
        assert_eq!(turn(Class::Buffered, 400_001, 1), (99_999, false, true));
        assert_eq!(turn(Class::Buffered, 400_000, 1), (100_000, false, true));
        now += limits::OVERLOAD_KEPT_MICROS;
        let mut turn = |took| {
            fanout.begin_turn(Class::Interactive, now);
            now += took;
            fanout.end_turn(now);
            fanout.overloaded_until > now
        };
        assert!(
            !turn(130_000) && !turn(130_000) && !turn(20_000),
            "one that is in time breaks the row"
        );
        assert!(!turn(130_000) && !turn(130_000) && turn(130_000));
    }
}
