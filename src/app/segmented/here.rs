//! What one shard knows of a stream's shelf: the newest edition that it has, what the home was asked for and has promised, and
//! who waits. Pure: the driver ([`super`]) asks, answers and keeps the time.
//!
//! Who waits looks again when what it waits for has changed; the others stay where they are, at the cost of a comparison.

use std::collections::VecDeque;
use std::sync::Arc;

use penstock_proto::hls::Reload;
use penstock_shard::connection::ConnId;
use penstock_shard::mesh::ShardId;

use super::resolve::{Found, resolve};
use crate::limits;
use crate::shelf::{Edition, Item, LaneKey};

/// `C` names who waits.
#[derive(Debug)]
pub(super) struct ShelfHere<C = ConnId> {
    pub home: Option<ShardId>,
    edition: Option<Arc<Edition>>,
    asking: Vec<Question>,
    promised: Vec<Promise>,
    /// Those who have waited longest first.
    waiting: VecDeque<Waiter<C>>,
    /// The timeline that those who wait have looked at last.
    looked_at: String,
    /// How often somebody was ready: where the next ones begin.
    rounds: u32,
}

/// A thing that the home was asked for.
#[derive(Debug)]
pub(super) struct Question {
    pub item: Item,
    /// It went to a cached home, not to the arbiter.
    pub is_cached: bool,
}

/// A thing that will be on an edition to come.
#[derive(Debug)]
struct Promise {
    item: Item,
    until: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter<C = ConnId> {
    pub conn: C,
    pub since: u64,
    pub item: Item,
    pub reload: Reload,
}

/// What is to be done for a thing that is not on the edition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// It was asked for, or is promised.
    Yes,
    /// The home is to be asked.
    No,
    /// Too much is being asked for already.
    TooMany,
}

impl<C: Copy + PartialEq> ShelfHere<C> {
    pub fn edition(&self) -> Option<&Arc<Edition>> {
        self.edition.as_ref()
    }

    /// A newer edition; what was promised may be on it.
    pub fn take(&mut self, edition: Arc<Edition>) {
        let before = self.edition.as_ref();
        if before.is_some_and(|before| before.epoch == edition.epoch && before.serial >= edition.serial) {
            return;
        }
        self.promised
            .retain(|promise| !is_on(&edition, &promise.item) && !is_made_on_request(&promise.item));
        self.edition = Some(edition);
    }

    /// No edition will come any more.
    pub fn forget(&mut self) {
        self.edition = None;
        self.home = None;
        self.promised.clear();
    }

    pub fn expects(&mut self, item: &Item, now: u64) -> Expected {
        self.promised.retain(|promise| now < promise.until);
        let is_asked = self.asking.iter().any(|question| question.item == *item);
        match is_asked || self.promised.iter().any(|promise| promise.item == *item) {
            true => Expected::Yes,
            false if self.asking.len() >= limits::QUESTIONS_PER_SHELF_MAX => Expected::TooMany,
            false => Expected::No,
        }
    }

    pub fn asked(&mut self, question: Question) {
        self.asking.push(question);
    }

    /// The home has answered.
    pub fn answered(&mut self, item: &Item) -> Option<Question> {
        let at = self.asking.iter().position(|question| question.item == *item)?;
        Some(self.asking.swap_remove(at))
    }

    /// The home says that `edition` has the thing, or one that follows will.
    pub fn granted(&mut self, home: ShardId, item: Item, edition: Arc<Edition>, now: u64) {
        self.home = Some(home);
        self.take(edition);
        let is_on = self.edition.as_ref().is_some_and(|edition| is_on(edition, &item));
        // As many as can be asked for: each was a question.
        if !is_on && self.promised.len() < limits::QUESTIONS_PER_SHELF_MAX {
            let until = now + limits::PROMISE_MICROS;
            self.promised.push(Promise { item, until });
        }
    }

    /// False: too many wait.
    pub fn wait(&mut self, waiter: Waiter<C>) -> bool {
        let has_room = self.waiting.len() < limits::WAITERS_PER_STREAM_MAX;
        if has_room {
            self.waiting.push_back(waiter);
        }
        has_room
    }

    /// One who waited is gone.
    pub fn leave(&mut self, conn: C) {
        self.waiting.retain(|waiter| waiter.conn != conn);
    }

    pub fn has_waiters(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Those who are to look again, beginning with another one each time, so that nobody who asks in the same order is always
    /// last: all but those whose thing is next as it was. `refused`, which will not
    /// come, is of no use to wait for.
    pub fn take_ready(&mut self, refused: Option<&Item>) -> Vec<Waiter<C>> {
        let Some(edition) = self.edition.clone().filter(|edition| edition.epoch == self.looked_at) else {
            self.looked_at = self
                .edition
                .as_ref()
                .map_or_else(String::new, |edition| edition.epoch.clone());
            return self.take_all();
        };
        // Most wait for the same few things.
        let mut known: Vec<(Item, Reload, bool)> = Vec::new();
        let mut waits = |waiter: &Waiter<C>| {
            let seen = |(item, reload, _): &&(Item, Reload, bool)| *item == waiter.item && *reload == waiter.reload;
            if let Some((_, _, waits)) = known.iter().find(seen) {
                return *waits;
            }
            let waits =
                refused != Some(&waiter.item) && matches!(resolve(&edition, &waiter.item, &waiter.reload), Found::Wait);
            if known.len() < THINGS_KNOWN {
                known.push((waiter.item, waiter.reload, waits));
            }
            waits
        };
        let mut ready = Vec::new();
        self.waiting.retain(|waiter| {
            let stays = waits(waiter);
            ready.extend((!stays).then_some(*waiter));
            stays
        });
        if !ready.is_empty() {
            self.rounds = self.rounds.wrapping_add(GOLDEN);
            let first = (u64::from(self.rounds) * ready.len() as u64) >> 32;
            ready.rotate_left(first as usize);
        }
        ready
    }

    pub fn take_all(&mut self) -> Vec<Waiter<C>> {
        std::mem::take(&mut self.waiting).into()
    }

    /// Those who have waited too long.
    pub fn take_late(&mut self, now: u64) -> Vec<Waiter<C>> {
        let longest = self.longest_wait();
        let mut late = Vec::new();
        // Waits begin in order but for those that looked again and went on: all are looked at.
        self.waiting.retain(|waiter| {
            let is_late = waiter.since + longest <= now;
            late.extend(is_late.then_some(*waiter));
            !is_late
        });
        late
    }

    pub fn is_unused(&self) -> bool {
        self.edition.is_none() && self.asking.is_empty() && self.waiting.is_empty()
    }

    /// RFC 8216bis 6.2.5.2: three target durations; a stream that is starting has none yet.
    fn longest_wait(&self) -> u64 {
        let targets = |edition: &Arc<Edition>| 3 * u64::from(edition.target_seconds) * 1_000_000;
        self.edition.as_ref().map_or(limits::OPEN_WAIT_MICROS, targets)
    }
}

impl<C> Default for ShelfHere<C> {
    fn default() -> Self {
        ShelfHere {
            home: None,
            edition: None,
            asking: Vec::new(),
            promised: Vec::new(),
            waiting: VecDeque::new(),
            looked_at: String::new(),
            rounds: 0,
        }
    }
}

/// Whether the home need not be asked for `item` again.
fn is_on(edition: &Edition, item: &Item) -> bool {
    !matches!(resolve(edition, item, &Reload::default()), Found::Ask)
}

/// A Smooth fragment is made when somebody asks and those behind it are there: with each edition the home is asked again.
fn is_made_on_request(item: &Item) -> bool {
    let (Item::Segment { lane, .. } | Item::Numbered { lane, .. }) = item else {
        return false;
    };
    matches!(lane, LaneKey::Smooth { .. })
}

/// 2^32 by the golden ratio: its multiples are evenly spread.
const GOLDEN: u32 = 0x9e37_79b9;
/// Pairs of thing and directives whose state is looked up once for all who wait for them: a playlist and a part of some tracks
/// each, as it is now and as it is next.
const THINGS_KNOWN: usize = 16;

#[cfg(test)]
mod tests;
