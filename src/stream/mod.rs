//! One stream at its home shard: the ring's only writer, the muxers of its feeds, its publisher's comings and goings
//! (DESIGN.md 4.1, 4.2).
//!
//! Frames come in by [`Stream::push`], go to the ring with exact times, and to each muxer while somebody watches.
//! Nothing is muxed for nobody. A stream that its publisher left waits `grace` for its return and ends then.
//!
//! Owned by one shard; other shards see its feeds and read its ring.

mod cuts;
mod frames;
mod held;
mod input;
mod packaged;
mod presence;
mod segments;
pub mod shelf;
mod timeline;
mod window;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use penstock_proto::dtsc::wire::packet;
use penstock_proto::media::{Break, Frame, Item, Kind, Track, rescale};
use penstock_shard::connection::ConnId;
use penstock_shard::pool::Pool;
use penstock_shard::ring::{self, RingError, State, flags};
use penstock_shard::sys::clock;

use crate::config;
use crate::counters::AppCounters;
use crate::limits;
use crate::messages::{ClaimId, Open, Opening, Shelve};
use crate::names::StreamName;
use crate::registry::{self, Packaging};

use frames::in_force;
use held::Held;
pub use input::{Input, Piece};
pub use packaged::{Fate, Packaged};
use presence::Presence;
use segments::{Arrival, Segments};
use shelf::Shelf;
use timeline::Timeline;

/// Source numbers of clock points: by arrival.
const CLOCK_ARRIVAL: u8 = 1;

#[derive(Debug)]
pub struct Stream {
    pub name: StreamName,
    pub settings: config::Stream,
    fetched: config::Fetched,
    lag_max_micros: u64,
    pub publisher: Option<Publisher>,
    ring: ring::Writer,
    reader: ring::Reader,
    /// In force, with the stream's own generations.
    tracks: Vec<Track>,
    /// Track sets with the sequence from which each was in force, oldest first.
    track_sets: Vec<(u64, Vec<Track>)>,
    timeline: Timeline,
    presence: Presence,
    phase: Phase,
    pub feeds: Vec<Packaged>,
    /// Viewers' questions that wait for the first track set.
    pub opens: Vec<Open>,
    /// When the publisher left, µs of the shard's clock.
    pub gone_since: Option<u64>,
    segments: Segments,
    /// What is fetched piece by piece, while somebody asks for it.
    shelf: Option<Shelf>,
    /// Six characters in the URLs of its segments, others for each stream that has this name.
    epoch: String,
    /// Shards' questions for the shelf that wait for the first track set.
    pub shelves: Vec<Shelve>,
    /// When a stream that has ended leaves its shelf, µs of the shard's clock.
    pub ends_at: Option<u64>,
    clock_observed_at: Option<u64>,
    payload: Vec<u8>,
    /// Tracks that lost a frame: what follows up to their next keyframe cannot be decoded.
    awaiting_key: Vec<u32>,
    /// Its window is shorter than `DVR` asks, for want of memory.
    is_shortened: bool,
}

/// Who publishes.
#[derive(Debug)]
pub struct Publisher {
    pub claim: ClaimId,
    /// Its connection; none for the built-in clip.
    pub conn: Option<ConnId>,
    pub input: Input,
    pub frames: u64,
    pub bytes: u64,
    pub since: u64,
}

impl Publisher {
    pub fn new(claim: ClaimId, conn: Option<ConnId>, input: Input, now: u64) -> Self {
        Publisher {
            claim,
            conn,
            input,
            frames: 0,
            bytes: 0,
            since: now,
        }
    }
}

/// How far a publisher's start is.
#[derive(Debug)]
enum Phase {
    /// Frames are held until the track set is known.
    Starting(Held),
    Running,
}

impl Stream {
    pub fn create(
        name: StreamName,
        settings: config::Stream,
        fetched: config::Fetched,
        lag_max_micros: u64,
        publisher: Publisher,
        pool: &Arc<Pool>,
    ) -> Result<Stream, RingError> {
        let config = ring::Config {
            window_micros: u64::from(settings.window_millis) * 1000,
            bytes_max: limits::RING_BYTES_MAX,
            // Fragments of HDS count from 1.
            segment_number_first: 1,
        };
        let ring = ring::Writer::create(pool, config)?;
        let reader = ring.reader();
        let epoch = epoch_of(&name, clock::wall_micros());
        Ok(Stream {
            name,
            segments: Segments::new(settings.segment_millis, config.segment_number_first),
            shelf: None,
            epoch,
            shelves: Vec::new(),
            ends_at: None,
            settings,
            fetched,
            lag_max_micros,
            publisher: Some(publisher),
            ring,
            reader,
            tracks: Vec::new(),
            track_sets: Vec::new(),
            timeline: Timeline::default(),
            presence: Presence::default(),
            phase: Phase::Starting(Held::default()),
            feeds: Vec::new(),
            opens: Vec::new(),
            gone_since: None,
            clock_observed_at: None,
            payload: Vec::new(),
            awaiting_key: Vec::new(),
            is_shortened: false,
        })
    }

    /// Whether viewers can be answered: the track set is known.
    pub fn is_running(&self) -> bool {
        !self.track_sets.is_empty()
    }

    /// Whether somebody watches, or waits to.
    pub fn is_watched(&self, now: u64) -> bool {
        let waits = !self.opens.is_empty() || !self.shelves.is_empty();
        waits || self.feeds.iter().any(|feed| feed.unused_since.is_none()) || self.is_shelf_used(now)
    }

    /// What is held back of a publisher's start.
    pub fn start_bytes(&self) -> usize {
        match &self.phase {
            Phase::Starting(held) => held.bytes(),
            Phase::Running => 0,
        }
    }

    /// # Panics
    /// When its ring or a feed contradicts itself.
    pub fn check_invariants(&self) {
        self.ring.check_invariants();
        self.feeds.iter().for_each(Packaged::check_invariants);
    }

    /// How long viewers are held for a publisher's return.
    pub fn grace_micros(&self) -> u64 {
        u64::from(self.settings.grace_millis) * 1000
    }

    /// Something of the publisher's media. What cannot be read is counted and skipped.
    pub fn push(&mut self, now: u64, piece: &Piece<'_>, counters: &AppCounters) {
        let Some(mut publisher) = self.publisher.take() else {
            return;
        };
        #[cfg(test)]
        crate::trap::spring(crate::trap::Step::Push);
        if publisher.input.push(now, piece).is_err() {
            counters.bad_messages.add(1);
        }
        let input = &mut publisher.input;
        let mut metadata = false;
        loop {
            // A break changes the input's tracks, which are read after the item's borrow has ended.
            let change = match input.poll() {
                None => break,
                Some(Item::Frame(frame)) => {
                    publisher.frames += 1;
                    publisher.bytes += frame.data.len() as u64;
                    self.take_frame(&frame, counters);
                    None
                }
                Some(Item::Break(kind)) => Some(kind),
                Some(Item::Metadata) => {
                    metadata = true;
                    None
                }
            };
            if let Some(kind) = change {
                self.take_break(kind, input.tracks(), counters);
            }
        }
        // Sizes and rates that the codec data leave open may be said behind them.
        if let Phase::Starting(held) = &mut self.phase
            && metadata
            && held.fits(input.tracks())
        {
            held.tracks = input.tracks().to_vec();
        }
        if let Phase::Starting(held) = &self.phase
            && held.is_enough(input.completeness())
        {
            self.start(counters);
        }
        if self.observe_clock(now, counters) || matches!(piece, Piece::End) {
            publisher.input.count(counters);
        }
        self.publisher = Some(publisher);
    }

    /// The publisher sends nothing more: what its input holds back comes out.
    pub fn end_input(&mut self, now: u64, counters: &AppCounters) {
        let holds_back = |publisher: &Publisher| matches!(publisher.input, Input::Packets(_));
        if self.publisher.as_ref().is_some_and(holds_back) {
            self.push(now, &Piece::End, counters);
        }
    }

    fn take_frame(&mut self, frame: &Frame<'_>, counters: &AppCounters) {
        match &mut self.phase {
            Phase::Starting(held) => held.keep(frame),
            Phase::Running => self.append(frame, counters),
        }
    }

    fn take_break(&mut self, kind: Break, tracks: &[Track], counters: &AppCounters) {
        if let Phase::Starting(held) = &mut self.phase {
            if kind == Break::TrackSet && held.fits(tracks) || held.is_empty() {
                held.tracks = tracks.to_vec();
                return;
            }
            // What is held belongs before the break.
            self.start(counters);
        }
        if kind == Break::TimeJump {
            self.timeline.jumped();
        }
        self.publish_tracks(kind, tracks, counters);
    }

    /// The track set is known: what was held goes in, behind a break if another publisher was here before.
    fn start(&mut self, counters: &AppCounters) {
        let Phase::Starting(mut held) = std::mem::replace(&mut self.phase, Phase::Running) else {
            return;
        };
        let ahead = self.timeline.shown_ahead_micros();
        self.timeline
            .begin(held.first_micros.min(held.first_shown_micros.saturating_sub(ahead)));
        self.publish_tracks(Break::Publisher, &held.tracks, counters);
        held.put_keyframe_first();
        for frame in &held.frames {
            self.append(&frame.lend(), counters);
        }
    }
}

/// Another one for each feed.
fn seed_of(name: &StreamName, wall_micros: i64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name.as_str(), wall_micros, "feed").hash(&mut hasher);
    hasher.finish()
}

/// Six of 32 characters that are not mistaken for one another.
fn epoch_of(name: &StreamName, wall_micros: i64) -> String {
    const CHARACTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut hasher = DefaultHasher::new();
    (name.as_str(), wall_micros).hash(&mut hasher);
    let bits = hasher.finish();
    let character = |at: u32| char::from(CHARACTERS[(bits >> (5 * at)) as usize % CHARACTERS.len()]);
    (0..6).map(character).collect()
}

/// Video if there is any: the track whose keyframes are where viewers start.
fn main_track(tracks: &[Track]) -> Option<u32> {
    let first = |kind| tracks.iter().find(|track| track.kind() == kind).map(|track| track.id);
    first(Kind::Video).or_else(|| first(Kind::Audio))
}

#[cfg(test)]
mod tests;
