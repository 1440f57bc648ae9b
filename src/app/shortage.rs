//! What is given up when the memory budget is short, in this order: what windows hold beyond the newest complete GOP and
//! the running one, of the streams that keep most; then new streams; only then frames and feeds (`stream`), where not
//! even those on air find room.
//!
//! Each step leaves the next one room: windows are shortened while an eighth of the budget is free still, and new streams
//! are refused below a sixteenth. So a frame finds room though another shard's windows are the ones to be shortened, and
//! though one stream's next GOP is larger than its last. A step is taken back later than it is taken.
//!
//! Looked at with every message of a publisher: one load of a count, and nothing more while there is enough.

use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use penstock_shard::core::Core;
use penstock_shard::kernel::Kernel;
use penstock_shard::mesh::ShardId;
use penstock_shard::pool::{BLOCK_BYTES, Pool};
use tracing::{info, warn};

use super::App;
use crate::limits;
use crate::messages::Message;

/// How short memory is, shared by all shards; recent values are good enough.
#[derive(Debug)]
pub struct Shortage {
    step: AtomicU8,
    shards: Vec<Windows>,
}

/// What the other shards know of one's windows.
#[derive(Debug, Default)]
struct Windows {
    /// Bytes of the largest one that could be shortened.
    largest: AtomicU64,
    /// It has been told to shorten, and has not yet.
    asked: AtomicBool,
}

const ENOUGH: u8 = 0;
const SHORT: u8 = 1;
const REFUSING: u8 = 2;

/// Whether other shards are asked for theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    Asked,
    LeftAlone,
}

impl Shortage {
    pub fn new(shards: usize) -> Shortage {
        Shortage {
            step: AtomicU8::new(ENOUGH),
            shards: (0..shards).map(|_| Windows::default()).collect(),
        }
    }

    /// Moves on to a step; whether this call did.
    fn enter(&self, step: u8) -> bool {
        self.step.swap(step, Ordering::Relaxed) != step
    }

    fn step(&self) -> u8 {
        self.step.load(Ordering::Relaxed)
    }

    fn publish(&self, shard: ShardId, largest: u64) {
        self.shards[shard.index()].largest.store(largest, Ordering::Relaxed);
    }

    /// The shard with the largest window of all others, and its bytes.
    fn largest_beside(&self, shard: ShardId) -> Option<(ShardId, u64)> {
        let others = (0..self.shards.len()).filter(|number| *number != shard.index());
        let bytes = |number: usize| self.shards[number].largest.load(Ordering::Relaxed);
        let largest = others.max_by_key(|number| bytes(*number))?;
        Some((ShardId(largest as u16), bytes(largest)))
    }
}

/// Blocks of the budget that are free, and how many there should be.
#[derive(Clone, Copy, Debug)]
struct Room {
    blocks: u64,
    free: u64,
}

impl Room {
    fn of(pool: &Pool) -> Room {
        let usage = pool.usage();
        Room {
            blocks: usage.blocks,
            free: usage.blocks.saturating_sub(usage.used),
        }
    }

    /// `bytes` are about to come, which go into a ring and some feeds.
    fn is_short(self, bytes: usize) -> bool {
        self.free < self.blocks / limits::MEMORY_SHORT_PART + coming(bytes)
    }

    fn is_enough(self, bytes: usize) -> bool {
        self.free >= self.blocks * limits::MEMORY_ENOUGH_PARTS / limits::MEMORY_ENOUGH_OF + coming(bytes)
    }

    /// Nothing is left that could wait for another shard.
    fn is_urgent(self, bytes: usize) -> bool {
        self.free < self.blocks / limits::MEMORY_REFUSE_PART + coming(bytes)
    }

    fn has_none_for_a_stream(self) -> bool {
        self.free < (self.blocks / limits::MEMORY_REFUSE_PART).max(limits::STREAM_BLOCKS)
    }

    fn is_plenty(self) -> bool {
        self.free >= self.blocks / limits::MEMORY_PLENTY_PART
    }
}

fn coming(bytes: usize) -> u64 {
    limits::MEMORY_COPIES * bytes.div_ceil(BLOCK_BYTES) as u64
}

impl<K: Kernel> App<K> {
    /// So many bytes of a publisher are about to be taken in.
    pub(super) fn look_at_memory(&mut self, core: &mut Core<Message<K>, K>, bytes: usize) {
        let room = Room::of(core.pool());
        if room.is_plenty() {
            if self.homes.shortage.step() != ENOUGH && self.homes.shortage.enter(ENOUGH) {
                info!("there is memory again: windows grow to what DVR asks, and new streams are taken");
            }
            return;
        }
        // What others may ask of this shard.
        if core.now() >= self.windows_published_at + limits::WINDOWS_PUBLISHED_MICROS {
            self.windows_published_at = core.now();
            let largest = self.windows().peek().map_or(0, |(bytes, _)| *bytes);
            self.homes.shortage.publish(core.id(), largest);
        }
        if room.is_short(bytes) {
            self.shorten_windows(core, bytes, Others::Asked);
        }
    }

    /// Another shard has no room, and this one's windows are larger than its own.
    pub(super) fn asked_to_shorten(&mut self, core: &mut Core<Message<K>, K>) {
        self.homes.shortage.shards[core.id().index()]
            .asked
            .store(false, Ordering::Relaxed);
        self.shorten_windows(core, 0, Others::LeftAlone);
    }

    /// Whether a stream that is not there yet may begin.
    pub(super) fn has_room_for_a_stream(&mut self, core: &mut Core<Message<K>, K>) -> bool {
        self.look_at_memory(
            core,
            limits::STREAM_BLOCKS as usize * BLOCK_BYTES / limits::MEMORY_COPIES as usize,
        );
        let room = Room::of(core.pool());
        let is_refusing = self.homes.shortage.step() == REFUSING;
        if room.has_none_for_a_stream() || is_refusing && room.is_short(0) {
            if self.homes.shortage.enter(REFUSING) {
                let (blocks, free) = (room.blocks, room.free);
                warn!(
                    blocks,
                    free, "memory is short: new streams are refused; raise memory_bytes or --memory"
                );
            }
            return false;
        }
        if is_refusing {
            self.homes.shortage.enter(SHORT);
        }
        true
    }

    /// This shard's windows that can be shortened, the largest first.
    fn windows(&mut self) -> BinaryHeap<(u64, usize)> {
        self.streams.windows().collect()
    }

    /// The streams that keep most give up their oldest GOPs until there is enough, or other shards' streams keep more.
    fn shorten_windows(&mut self, core: &mut Core<Message<K>, K>, bytes: usize, others: Others) {
        let mut windows = self.windows();
        loop {
            let room = Room::of(core.pool());
            let largest = windows.peek().map_or(0, |(bytes, _)| *bytes);
            if room.is_enough(bytes) {
                break;
            }
            let beside = self.homes.shortage.largest_beside(core.id());
            if let Some((shard, _)) = beside.filter(|(_, beside)| *beside > largest) {
                if others == Others::Asked {
                    self.ask_to_shorten(core, shard);
                }
                if !room.is_urgent(bytes) {
                    break;
                }
            }
            let Some((_, place)) = windows.pop() else { break };
            if let Some(stream) = self.streams.at_mut(place) {
                stream.shorten_window(&self.counters);
                windows.extend(stream.window_bytes().map(|bytes| (bytes, place)));
            }
            if self.homes.shortage.step() == ENOUGH && self.homes.shortage.enter(SHORT) {
                let blocks = room.blocks;
                warn!(
                    blocks,
                    "memory is short: the windows of streams that keep most are shortened; raise memory_bytes or --memory"
                );
            }
        }
        let largest = windows.peek().map_or(0, |(bytes, _)| *bytes);
        self.homes.shortage.publish(core.id(), largest);
    }

    fn ask_to_shorten(&mut self, core: &mut Core<Message<K>, K>, shard: ShardId) {
        let asked = &self.homes.shortage.shards[shard.index()].asked;
        if asked.swap(true, Ordering::Relaxed) {
            return;
        }
        // A shard whose inbox is full is asked again with the next message of a publisher.
        if self.send(core, shard, Message::ShortenWindows).is_err() {
            self.homes.shortage.shards[shard.index()]
                .asked
                .store(false, Ordering::Relaxed);
        }
    }
}
