//! One viewer: its player, the connections that the player asks for, and how fast it reads them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use anyhow::bail;

use super::Tally;
use crate::link::{Came, Link, Scratch, Shape};
use crate::player::{Ask, LANES_MAX, Player, Turn};
use crate::seats::{Reading, Temper};
use crate::sys::{self, Epoll, Interest};
use crate::target::{ANSWER_WAIT, Target};
use crate::verify::{Ear, Heard};

/// No byte for longer is a stall.
pub const STALL_NANOS: u64 = 1_000_000_000;
/// A viewer with a pace reads so often: the sawtooth is small against a path's own.
const TICK_NANOS: u64 = 20_000_000;
/// One that reads less than this in a tick reads less often.
const TICK_BYTES_MIN: u64 = 2_000;
const SECOND: u64 = 1_000_000_000;

/// One viewer's result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watched {
    /// From the request to the first byte of media.
    pub first_byte_nanos: Option<u64>,
    pub bytes: u64,
    /// Since the window began; of one that plays segments: the longest time in which nothing was there to play.
    pub longest_gap_nanos: u64,
    /// Segments that left the list before they were asked for.
    pub missed: u64,
    /// Why it ended before its time.
    pub failed: Option<String>,
    /// It reads slowly by intent, and what happens to it is no failure of the server's.
    pub is_slow: bool,
}

impl Watched {
    pub fn is_stalled(&self) -> bool {
        self.longest_gap_nanos > STALL_NANOS
    }
}

/// What the viewers of a thread share.
#[derive(Debug)]
pub struct Room {
    pub epoll: Arc<Epoll>,
    pub tally: Arc<Tally>,
    pub heard: Arc<Mutex<Heard>>,
    pub scratch: Scratch,
    pub asks: Vec<Ask>,
}

#[derive(Debug)]
pub struct Viewer {
    place: u64,
    pub target: Arc<[Target]>,
    pub target_index: usize,
    pub temper: Temper,
    player: Player,
    links: [Option<Box<Link>>; LANES_MAX],
    ear: Option<Box<Ear>>,
    asked_at: u64,
    last_at: u64,
    /// When it reads next, of one with a pace that has begun to play.
    tick_at: Option<u64>,
    read_at: u64,
    is_over: bool,
    watched: Watched,
}

impl Viewer {
    pub fn new(
        place: u64,
        target: Arc<[Target]>,
        target_index: usize,
        temper: Temper,
        reading: Reading,
        room: &Room,
    ) -> Viewer {
        let asked_at = sys::monotonic_nanos();
        Viewer {
            place,
            player: Player::new(&target[target_index]),
            target,
            target_index,
            temper,
            links: Default::default(),
            ear: (reading == Reading::Verify).then(|| Box::new(Ear::new(asked_at, &room.heard))),
            asked_at,
            last_at: asked_at,
            tick_at: None,
            read_at: asked_at,
            is_over: false,
            watched: Watched {
                is_slow: temper.is_slow(),
                ..Watched::default()
            },
        }
    }

    pub fn reading(&self) -> Reading {
        if self.ear.is_some() {
            Reading::Verify
        } else {
            Reading::Drain
        }
    }

    pub fn is_playing(&self) -> bool {
        !self.is_over && self.watched.first_byte_nanos.is_some()
    }

    /// The request's way to the first byte, or that there will be none.
    pub fn answered(&self) -> Option<Option<u64>> {
        match self.watched.first_byte_nanos {
            Some(nanos) => Some(Some(nanos)),
            None => self.is_over.then_some(None),
        }
    }

    pub fn start(&mut self, room: &mut Room) {
        self.call(room, |player, turn| {
            player.start(turn);
            Ok(())
        });
    }

    /// Something happened on a lane's socket.
    pub fn ready(&mut self, lane: usize, room: &mut Room) {
        let Some(link) = self.links.get_mut(lane).and_then(Option::as_mut) else {
            return;
        };
        let was_waiting = link.wants_out();
        if was_waiting {
            if let Err(error) = link.advance() {
                return self.fail(room, format!("cannot be spoken to: {error}"));
            }
            self.set_interest(lane, room);
        }
        match self.tick_at {
            None => self.read(lane, usize::MAX, room),
            Some(_) if was_waiting => {}
            Some(_) => self.look_for_end(lane, room),
        }
    }

    /// When it wants to be woken.
    pub fn due(&self) -> u64 {
        if self.is_over {
            return u64::MAX;
        }
        let answer = match self.watched.first_byte_nanos {
            Some(_) => u64::MAX,
            None => self.asked_at + ANSWER_WAIT.as_nanos() as u64,
        };
        let player = self.player.due().unwrap_or(u64::MAX);
        answer.min(player).min(self.tick_at.unwrap_or(u64::MAX))
    }

    pub fn wake(&mut self, room: &mut Room) {
        let now = sys::monotonic_nanos();
        if self.is_over {
            return;
        }
        if self.watched.first_byte_nanos.is_none() && now >= self.asked_at + ANSWER_WAIT.as_nanos() as u64 {
            return self.fail(room, format!("no media within {ANSWER_WAIT:?}"));
        }
        if self.player.due().is_some_and(|due| due <= now) {
            self.call(room, Player::wake);
        }
        if self.tick_at.is_some_and(|due| due <= now) {
            self.tick(now, room);
        }
    }

    /// Reads what its pace allows since it has read last.
    fn tick(&mut self, now: u64, room: &mut Room) {
        let Some(rate) = self.temper.bytes_per_second() else {
            return;
        };
        let bytes = rate.saturating_mul(now - self.read_at) / SECOND;
        if bytes > 0 {
            self.read_at = now;
            for lane in 0..LANES_MAX {
                self.read(lane, usize::try_from(bytes).unwrap_or(usize::MAX), room);
            }
        }
        self.tick_at = self.next_tick(now);
    }

    fn next_tick(&self, now: u64) -> Option<u64> {
        let rate = self.temper.bytes_per_second()?;
        // A stopped one only waits to be closed.
        Some(match rate {
            0 => u64::MAX,
            rate => now + TICK_NANOS.max((TICK_BYTES_MIN * SECOND / rate).min(SECOND)),
        })
    }

    fn read(&mut self, lane: usize, bytes_max: usize, room: &mut Room) {
        let Some(link) = &mut self.links[lane] else { return };
        let droppable = match self.ear {
            None if link.can_discard() => self.player.droppable(lane),
            _ => 0,
        };
        let mut scratch = std::mem::take(&mut room.scratch);
        let came = match droppable {
            0 => link.receive(bytes_max, &mut scratch),
            droppable => link.discard(droppable.min(bytes_max), &mut scratch),
        };
        match came {
            Ok(Came::Nothing) => {}
            Ok(Came::End) => {
                self.links[lane] = None;
                self.call(room, |player, turn| player.closed(lane, turn));
            }
            Ok(Came::Bytes { plain, wire }) => {
                room.tally.bytes.fetch_add(wire as u64, Ordering::Relaxed);
                self.watched.bytes += wire as u64;
                self.call(room, |player, turn| match droppable {
                    0 => player.take(lane, plain, turn),
                    _ => player.dropped(lane, wire, turn),
                });
                // A handshake answers by itself.
                self.say(lane, room);
            }
            Err(error) => self.fail(room, error.to_string()),
        }
        room.scratch = scratch;
    }

    /// A viewer that does not read now is still told of a reset.
    fn look_for_end(&mut self, lane: usize, room: &mut Room) {
        let Some(link) = &self.links[lane] else { return };
        match link.stream().take_error() {
            Ok(Some(error)) => self.fail(room, error.to_string()),
            // Closed on both sides: behind what is left stands the end.
            _ => self.read(lane, usize::MAX, room),
        }
    }

    /// One call of the player, and what comes of it.
    fn call(&mut self, room: &mut Room, act: impl FnOnce(&mut Player, &mut Turn<'_>) -> anyhow::Result<()>) {
        if self.is_over {
            return;
        }
        let now = sys::monotonic_nanos();
        let mut turn = Turn {
            now,
            asks: &mut room.asks,
            ear: self.ear.as_deref_mut(),
            media: false,
            underrun: 0,
            ended: false,
        };
        let result = act(&mut self.player, &mut turn);
        let (media, underrun, ended) = (turn.media, turn.underrun, turn.ended);
        if media {
            self.media_came(now, room);
        }
        self.watched.longest_gap_nanos = self.watched.longest_gap_nanos.max(underrun);
        if let Err(error) = result.and_then(|()| self.ask(room)) {
            room.asks.clear();
            return self.fail(room, format!("{error:#}"));
        }
        if ended {
            self.end(room);
        }
    }

    fn media_came(&mut self, now: u64, room: &mut Room) {
        if self.watched.first_byte_nanos.is_none() {
            self.watched.first_byte_nanos = Some(now - self.asked_at);
            room.tally.playing.fetch_add(1, Ordering::Relaxed);
            self.read_at = now;
            self.tick_at = self.next_tick(now);
            if self.tick_at.is_some() {
                (0..LANES_MAX).for_each(|lane| self.set_interest(lane, room));
            }
        } else if !self.player.is_segmented() {
            let gap = now.saturating_sub(self.last_at);
            self.watched.longest_gap_nanos = self.watched.longest_gap_nanos.max(gap);
        }
        self.last_at = now;
    }

    fn ask(&mut self, room: &mut Room) -> anyhow::Result<()> {
        while !room.asks.is_empty() {
            let Ask { lane, to, bytes } = room.asks.remove(0);
            if self.links[lane].as_ref().is_some_and(|link| !link.leads_to(&to)) {
                self.links[lane] = None;
            }
            let link = match &mut self.links[lane] {
                Some(link) => link,
                place => {
                    let shape = match self.temper {
                        Temper::Path { bytes_per_second } => Shape::Path { bytes_per_second },
                        Temper::Eager | Temper::Slow { .. } => Shape::Local,
                    };
                    let link = place.insert(Box::new(Link::connect(&to, shape)?));
                    room.epoll
                        .watch(link.stream(), self.place << LANE_BITS | lane as u64, Interest::Both)?;
                    link
                }
            };
            link.send(&bytes)?;
            self.say(lane, room);
            if self.is_over {
                bail!("closed by the server");
            }
        }
        Ok(())
    }

    /// Sends what waits on a lane.
    fn say(&mut self, lane: usize, room: &mut Room) {
        let Some(link) = &mut self.links[lane] else { return };
        if !link.wants_out() {
            return;
        }
        match link.advance() {
            Ok(()) => self.set_interest(lane, room),
            // What the server said before it closed is still to be read: it is the reason.
            Err(error) if is_end(&error) => self.set_interest(lane, room),
            Err(error) => self.fail(room, error.to_string()),
        }
    }

    fn set_interest(&mut self, lane: usize, room: &Room) {
        let Some(link) = &self.links[lane] else { return };
        let interest = match (link.wants_out(), self.tick_at) {
            (true, None) => Interest::Both,
            (true, Some(_)) => Interest::Write,
            (false, None) => Interest::Read,
            (false, Some(_)) => Interest::End,
        };
        let token = self.place << LANE_BITS | lane as u64;
        // It is watched since it was made; should it not be, it is without events and its deadline ends it.
        let _ = room.epoll.modify(link.stream(), token, interest);
    }

    fn fail(&mut self, room: &Room, why: String) {
        if self.is_over {
            return;
        }
        if !self.watched.is_slow {
            room.tally.failed.fetch_add(1, Ordering::Relaxed);
        }
        self.watched.failed = Some(why);
        self.end(room);
    }

    /// Leaves, or has come to the end.
    pub fn end(&mut self, room: &Room) {
        if self.is_playing() {
            room.tally.playing.fetch_sub(1, Ordering::Relaxed);
        }
        room.tally.over.fetch_add(1, Ordering::Relaxed);
        self.is_over = true;
        self.links = Default::default();
        if let Player::Hls(player) = &self.player {
            self.watched.missed = player.missed;
        }
        if let Some(ear) = self.ear.take() {
            ear.finish();
        }
    }

    pub fn begin_window(&mut self) {
        self.watched.longest_gap_nanos = 0;
    }

    pub fn finish(mut self, now: u64, room: &Room) -> Watched {
        if self.is_over {
            return self.watched;
        }
        match (&self.player, self.watched.first_byte_nanos) {
            // Who has only just asked is neither served nor failed.
            (_, None) if now < self.asked_at + STALL_NANOS => {}
            (_, None) => self.watched.failed = Some("no answer".into()),
            (Player::Hls(player), _) => {
                let underrun = player.underrun(now);
                self.watched.longest_gap_nanos = self.watched.longest_gap_nanos.max(underrun);
            }
            _ => {
                let gap = now.saturating_sub(self.last_at);
                self.watched.longest_gap_nanos = self.watched.longest_gap_nanos.max(gap);
            }
        }
        self.end(room);
        self.watched
    }
}

fn is_end(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

/// A token is the viewer's place, and its lane in the lowest bits.
pub const LANE_BITS: u32 = 3;
const _: () = assert!(LANES_MAX <= 1 << LANE_BITS);
