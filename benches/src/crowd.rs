//! Viewers on one thread: all of their connecting, asking and reading is `epoll` and a heap of times.
//!
//! Times are taken when the thread reads, so a thread that is behind makes the server look slow: viewers that verify
//! stand in a crowd of their own with few others.

mod viewer;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::link::Scratch;
use crate::report::Times;
use crate::seats::{Random, Reading, Seat, Temper};
use crate::sys::{self, Epoll, Events};
use crate::target::Target;
use crate::verify::Heard;
use viewer::{LANE_BITS, Room, Viewer};
pub use viewer::{STALL_NANOS, Watched};

const EVENTS: usize = 512;
/// The wish to stop is looked at so often.
const WAIT_MILLIS: u64 = 50;
/// So many join before those who are there are read again.
const JOINS_AT_ONCE: usize = 64;
/// Token of the thread's own eventfd.
const WAKE: u64 = u64::MAX;
const CHURN_SEED: u64 = 11;

/// What a crowd has seen.
#[derive(Debug)]
pub struct Outcome {
    pub viewers: Vec<Watched>,
    pub heard: Heard,
    /// First bytes of those that joined in a row, corrected for coordinated omission.
    pub row: Times,
    /// Viewers that left to make room for others.
    pub left: u64,
}

/// What the crowd says while it runs.
#[derive(Debug, Default)]
pub struct Tally {
    pub bytes: AtomicU64,
    pub asked: AtomicU64,
    pub playing: AtomicU64,
    pub failed: AtomicU64,
    /// Those that have left, failed, or seen the stream's end.
    pub over: AtomicU64,
    /// Those of a row that are not answered yet, and those to come.
    pub row_left: AtomicU64,
}

#[derive(Debug)]
enum Order {
    Open {
        targets: Arc<[Target]>,
        seats: Vec<Seat>,
    },
    Row {
        target: Target,
        viewers: u32,
        interval: Duration,
    },
    Churn {
        interval: Duration,
    },
    BeginWindow,
    End,
}

/// A thread with viewers. Dropping it closes them.
#[derive(Debug)]
pub struct Crowd {
    orders: Sender<Order>,
    waker: Arc<OwnedFd>,
    tally: Arc<Tally>,
    added: u64,
    thread: Option<JoinHandle<anyhow::Result<Outcome>>>,
    stop: Arc<AtomicBool>,
}

impl Crowd {
    pub fn start(name: &str) -> anyhow::Result<Crowd> {
        let epoll = Arc::new(Epoll::new().context("cannot make an epoll")?);
        let waker = Arc::new(sys::waker().context("cannot make an eventfd")?);
        epoll.add(&waker, WAKE)?;
        let (orders, received) = mpsc::channel();
        let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
        let room = Room {
            epoll,
            tally: Arc::clone(&tally),
            heard: Arc::default(),
            scratch: Scratch::new(),
            asks: Vec::new(),
        };
        let thread = ViewersThread::new(room, received, Arc::clone(&waker), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || thread.run())?;
        Ok(Crowd {
            orders,
            waker,
            tally,
            added: 0,
            thread: Some(thread),
            stop,
        })
    }

    /// Viewers come to their seats, whose times count from here.
    pub fn open(&mut self, targets: &Arc<[Target]>, seats: Vec<Seat>) -> anyhow::Result<()> {
        self.added += seats.len() as u64;
        let targets = Arc::clone(targets);
        self.order(Order::Open { targets, seats })
    }

    /// Viewers join one by one, each when its time has come and the one before has got its first byte or failed.
    pub fn open_row(&mut self, target: &Target, viewers: u32, interval: Duration) -> anyhow::Result<()> {
        self.added += u64::from(viewers);
        self.tally.row_left.fetch_add(viewers.into(), Ordering::Relaxed);
        let target = target.clone();
        self.order(Order::Row {
            target,
            viewers,
            interval,
        })
    }

    /// From here on a viewer leaves and another joins in each interval.
    pub fn churn(&self, interval: Duration) -> anyhow::Result<()> {
        self.order(Order::Churn { interval })
    }

    /// Gaps and latencies count from here.
    pub fn begin_window(&self) -> anyhow::Result<()> {
        self.order(Order::BeginWindow)
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The same, for a thread that looks at it.
    pub fn tally_shared(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    pub fn added(&self) -> u64 {
        self.added
    }

    /// Closes all viewers; their results.
    pub fn end(mut self) -> anyhow::Result<Outcome> {
        self.order(Order::End)?;
        let thread = self.thread.take().context("a crowd ends once")?;
        thread.join().map_err(|_| anyhow!("the viewers' thread panicked"))?
    }

    fn order(&self, order: Order) -> anyhow::Result<()> {
        let given = self.orders.send(order);
        sys::wake(&self.waker);
        given.map_err(|_| anyhow!("the viewers' thread has ended"))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        sys::wake(&self.waker);
        if let Some(thread) = self.thread.take() {
            // A panic has been printed by the thread.
            let _ = thread.join();
        }
    }
}

/// Seats that are still empty.
#[derive(Debug)]
struct Opening {
    targets: Arc<[Target]>,
    seats: VecDeque<Seat>,
    since: u64,
}

#[derive(Debug)]
struct Row {
    targets: Arc<[Target]>,
    left: u32,
    interval: Duration,
    due: u64,
    /// The one that is waited for.
    place: Option<usize>,
}

#[derive(Debug)]
struct Churn {
    interval: u64,
    due: u64,
    random: Random,
}

#[derive(Debug)]
struct ViewersThread {
    room: Room,
    orders: Receiver<Order>,
    waker: Arc<OwnedFd>,
    stop: Arc<AtomicBool>,
    viewers: Vec<Viewer>,
    /// When each viewer is woken, as the heap has it.
    armed: Vec<u64>,
    times: BinaryHeap<Reverse<(u64, usize)>>,
    openings: Vec<Opening>,
    rows: Vec<Row>,
    churn: Option<Churn>,
    row: Times,
    left: u64,
}

impl ViewersThread {
    fn new(room: Room, orders: Receiver<Order>, waker: Arc<OwnedFd>, stop: Arc<AtomicBool>) -> ViewersThread {
        ViewersThread {
            room,
            orders,
            waker,
            stop,
            viewers: Vec::new(),
            armed: Vec::new(),
            times: BinaryHeap::new(),
            openings: Vec::new(),
            rows: Vec::new(),
            churn: None,
            row: Times::default(),
            left: 0,
        }
    }

    fn run(mut self) -> anyhow::Result<Outcome> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let wait = self
                .next_due()
                .saturating_sub(sys::monotonic_nanos())
                .div_ceil(1_000_000);
            let wait = u32::try_from(wait.min(WAIT_MILLIS))?;
            self.room.epoll.wait(&mut events, wait).context("epoll failed")?;
            for token in events.tokens() {
                if token == WAKE {
                    sys::clear_wake(&self.waker);
                    continue;
                }
                let place = usize::try_from(token >> LANE_BITS)?;
                let lane = (token & ((1 << LANE_BITS) - 1)) as usize;
                if let Some(viewer) = self.viewers.get_mut(place) {
                    viewer.ready(lane, &mut self.room);
                    self.arm(place);
                }
            }
            if self.take_orders() || self.stop.load(Ordering::Relaxed) {
                return Ok(self.finish());
            }
            self.wake_due();
            self.seat_due();
        }
    }

    fn next_due(&self) -> u64 {
        let timer = self.times.peek().map(|Reverse((due, _))| *due);
        let seat = |opening: &Opening| Some(opening.since + opening.seats.front()?.after.as_nanos() as u64);
        let seats = self.openings.iter().filter_map(seat).min();
        let rows = self
            .rows
            .iter()
            .filter(|row| row.place.is_none())
            .map(|row| row.due)
            .min();
        let churn = self.churn.as_ref().map(|churn| churn.due);
        [timer, seats, rows, churn]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(u64::MAX)
    }

    fn arm(&mut self, place: usize) {
        let due = self.viewers[place].due();
        if due != self.armed[place] {
            self.armed[place] = due;
            if due < u64::MAX {
                self.times.push(Reverse((due, place)));
            }
        }
    }

    fn wake_due(&mut self) {
        let now = sys::monotonic_nanos();
        while let Some(Reverse((due, place))) = self.times.peek().copied() {
            if due > now {
                return;
            }
            self.times.pop();
            if self.armed[place] == due {
                self.armed[place] = u64::MAX;
                self.viewers[place].wake(&mut self.room);
                self.arm(place);
            }
        }
    }

    fn seat_due(&mut self) {
        let now = sys::monotonic_nanos();
        for at in 0..self.openings.len() {
            for _ in 0..JOINS_AT_ONCE {
                let opening = &mut self.openings[at];
                let is_due = |seat: &Seat| opening.since + seat.after.as_nanos() as u64 <= now;
                if !opening.seats.front().is_some_and(is_due) {
                    break;
                }
                let (targets, seat) = (Arc::clone(&opening.targets), opening.seats.pop_front());
                if let Some(seat) = seat {
                    self.seat(targets, seat.target, seat.temper, seat.reading);
                }
            }
        }
        self.openings.retain(|opening| !opening.seats.is_empty());
        for at in 0..self.rows.len() {
            self.advance_row(at, now);
        }
        self.rows.retain(|row| row.left > 0 || row.place.is_some());
        while self.churn.as_ref().is_some_and(|churn| churn.due <= now) {
            self.change_one();
        }
    }

    fn seat(&mut self, targets: Arc<[Target]>, target: usize, temper: Temper, reading: Reading) -> usize {
        let place = self.viewers.len();
        let mut viewer = Viewer::new(place as u64, targets, target, temper, reading, &self.room);
        viewer.start(&mut self.room);
        self.room.tally.asked.fetch_add(1, Ordering::Relaxed);
        self.viewers.push(viewer);
        self.armed.push(u64::MAX);
        self.arm(place);
        place
    }

    fn advance_row(&mut self, at: usize, now: u64) {
        if let Some(place) = self.rows[at].place {
            let Some(answer) = self.viewers[place].answered() else {
                return;
            };
            if let Some(nanos) = answer {
                self.row.record_paced(nanos, self.rows[at].interval);
            }
            self.rows[at].place = None;
            self.room.tally.row_left.fetch_sub(1, Ordering::Relaxed);
        }
        if self.rows[at].left > 0 && self.rows[at].due <= now {
            let row = &mut self.rows[at];
            row.left -= 1;
            row.due += row.interval.as_nanos() as u64;
            let targets = Arc::clone(&row.targets);
            let place = self.seat(targets, 0, Temper::Eager, Reading::Drain);
            self.rows[at].place = Some(place);
        }
    }

    /// One who plays leaves; one of the same kind joins.
    fn change_one(&mut self) {
        let Some(churn) = &mut self.churn else { return };
        churn.due += churn.interval;
        let first = churn.random.below(self.viewers.len() as u64) as usize;
        let around = (first..self.viewers.len()).chain(0..first);
        let Some(place) = around.into_iter().find(|place| self.viewers[*place].is_playing()) else {
            return;
        };
        let viewer = &mut self.viewers[place];
        let (targets, target) = (Arc::clone(&viewer.target), viewer.target_index);
        let (temper, reading) = (viewer.temper, viewer.reading());
        viewer.end(&self.room);
        self.left += 1;
        self.seat(targets, target, temper, reading);
    }

    /// Whether the end was ordered.
    fn take_orders(&mut self) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            let now = sys::monotonic_nanos();
            match order {
                Order::Open { targets, seats } => self.openings.push(Opening {
                    targets,
                    seats: seats.into(),
                    since: now,
                }),
                Order::Row {
                    target,
                    viewers,
                    interval,
                } => self.rows.push(Row {
                    targets: [target].into(),
                    left: viewers,
                    interval,
                    due: now,
                    place: None,
                }),
                Order::Churn { interval } => {
                    let interval = (interval.as_nanos() as u64).max(1);
                    let due = now + interval;
                    let random = Random(CHURN_SEED);
                    self.churn = Some(Churn { interval, due, random });
                }
                Order::BeginWindow => {
                    let mut heard = self.room.heard.lock().unwrap_or_else(PoisonError::into_inner);
                    heard.begin_window();
                    self.viewers.iter_mut().for_each(Viewer::begin_window);
                }
                Order::End => return true,
            }
        }
        false
    }

    fn finish(self) -> Outcome {
        let (now, room) = (sys::monotonic_nanos(), self.room);
        let viewers = self
            .viewers
            .into_iter()
            .map(|viewer| viewer.finish(now, &room))
            .collect();
        let heard = Arc::into_inner(room.heard).expect("the viewers are gone, and their shares of it");
        Outcome {
            viewers,
            heard: heard.into_inner().unwrap_or_else(PoisonError::into_inner),
            row: self.row,
            left: self.left,
        }
    }
}

#[cfg(test)]
mod tests;
