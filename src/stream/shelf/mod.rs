//! A stream's shelf at its home: renditions whose segments are made because somebody asks for them, playlists and manifests,
//! and the editions in which other shards are told (`crate::shelf`).
//!
//! Segments and parts are made as frames come, once for all; texts once per change; what nobody has asked for in a while is
//! made no more, and a shelf that nobody uses is gone. What is cut where is not decided here but in the stream's index
//! ([`super::segments`]), which goes on without a shelf.

mod again;
mod lane;
mod made;
mod rates;
mod texts;

use std::sync::Arc;

use penstock_proto::media::{Frame, Kind, Presentation, Track};
use penstock_shard::feed::Feed;
use penstock_shard::mesh::ShardId;
use penstock_shard::pool::Pool;
use penstock_shard::ring;
use penstock_shard::sys::clock;

use super::segments::{Begins, Segments};
use super::{Stream, in_force};
use crate::config;
use crate::counters::AppCounters;
use crate::limits;
use crate::messages::Shelve;
use crate::names::StreamName;
use crate::registry;
use crate::shelf::{Edition, Item, LaneKey, Shelving, TextKey, Usage};

use lane::{Change, Lane};
use texts::Wanted;

/// Owned by the stream.
#[derive(Debug)]
pub struct Shelf {
    epoch: String,
    usage: Arc<Usage>,
    /// Shards that are told of new editions, a bit each.
    watchers: u64,
    lanes: Vec<Lane>,
    texts: Vec<Wanted>,
    edition: Option<Arc<Edition>>,
    serial: u64,
    change: Change,
    /// Wall time at media time 0, µs: once it has been shown it does not change.
    epoch_wall_micros: Option<i64>,
    is_ended: bool,
    began_at: u64,
}

/// What of its stream a shelf looks at.
#[derive(Debug)]
pub struct Scene<'a> {
    pub name: &'a StreamName,
    pub reader: &'a ring::Reader,
    pub track_sets: &'a [(u64, Vec<Track>)],
    pub segments: &'a Segments,
    pub window_millis: u64,
    pub fetched: config::Fetched,
}

impl Scene<'_> {
    /// In force now.
    pub fn tracks(&self) -> &[Track] {
        self.track_sets.last().map_or(&[], |(_, tracks)| tracks)
    }

    /// Those of `ids` that are in force for the frame at `sequence`, in their order.
    pub fn tracks_at(&self, sequence: u64, ids: &[u32]) -> Vec<Track> {
        let set = in_force(self.track_sets, sequence).unwrap_or(&[]);
        let of = |id: &u32| set.iter().find(|track| track.id == *id).cloned();
        ids.iter().filter_map(of).collect()
    }

    pub fn target_seconds(&self) -> u32 {
        self.segments.cuts.target_seconds()
    }
}

/// Another edition, and who is to be told.
#[derive(Debug)]
pub struct News {
    pub edition: Arc<Edition>,
    pub watchers: u64,
    /// Shards that have not used the shelf for long, and are told no more.
    pub dropped: u64,
}

impl Shelf {
    fn new(epoch: String, now: u64) -> Shelf {
        Shelf {
            epoch,
            usage: Arc::new(Usage::new()),
            watchers: 0,
            lanes: Vec::new(),
            texts: Vec::new(),
            edition: None,
            serial: 0,
            change: Change::Segment,
            epoch_wall_micros: None,
            is_ended: false,
            began_at: now,
        }
    }

    /// A frame that is in the ring at `sequence`.
    pub fn frame(
        &mut self,
        frame: &Frame<'_>,
        sequence: u64,
        begins: Option<Begins>,
        scene: &Scene<'_>,
        counters: &AppCounters,
    ) {
        for lane in &mut self.lanes {
            let change = lane.frame(frame, sequence, begins, scene, counters);
            self.change = self.change.max(change);
            self.texts
                .iter_mut()
                .for_each(|text| text.lane_changed(lane.key, change));
        }
    }

    /// No frame will come.
    pub fn finish(&mut self, counters: &AppCounters) {
        self.lanes.iter_mut().for_each(|lane| lane.finish(counters));
        self.is_ended = true;
        self.change = Change::Segment;
        self.texts.iter_mut().for_each(Wanted::stale);
    }

    /// Feeds that viewers on other shards may stand in, and have grown.
    pub fn grown(&mut self) -> impl Iterator<Item = Arc<Feed>> + '_ {
        let made = self.lanes.iter_mut().filter_map(|lane| lane.made.as_mut());
        let grown = made.filter_map(|made| made.take_grown().then_some(made));
        grown.flat_map(|made| {
            [Some(made.live().clone()), made.chunked().cloned()]
                .into_iter()
                .flatten()
        })
    }

    /// The lane of `key`, listed from here on; nothing when the stream has no such tracks.
    fn lane(&mut self, key: LaneKey, scene: &Scene<'_>, part_target_micros: u32, now: u64) -> Option<&mut Lane> {
        if let Some(at) = self.lanes.iter().position(|lane| lane.key == key) {
            return Some(&mut self.lanes[at]);
        }
        if self.lanes.len() >= limits::LANES_MAX {
            return None;
        }
        let mut lane = Lane::new(key, scene, part_target_micros, now)?;
        if self.is_ended {
            return None;
        }
        lane.asked_at = now;
        self.lanes.push(lane);
        self.lanes.last_mut()
    }

    fn presentation(&mut self, scene: &Scene<'_>) -> Presentation {
        let now_wall_micros = clock::wall_micros();
        let newest = scene.reader.head_sequence().checked_sub(1);
        let newest = newest.and_then(|newest| scene.reader.entry(newest).ok());
        let begun = newest.map(|entry| {
            let wall = scene.reader.wall_of(entry.dts_micros).unwrap_or(now_wall_micros);
            wall - entry.dts_micros
        });
        let epoch_wall_micros = *self.epoch_wall_micros.get_or_insert(begun.unwrap_or(now_wall_micros));
        Presentation {
            epoch: self.epoch.clone(),
            target_seconds: scene.target_seconds(),
            is_independent: scene.segments.cuts.is_stable(),
            is_ended: self.is_ended,
            window_millis: scene.window_millis,
            epoch_wall_micros,
            now_wall_micros,
        }
    }

    /// The newest edition, made anew when something has changed.
    fn edition(&mut self, scene: &Scene<'_>, counters: &AppCounters) -> Arc<Edition> {
        if self.change == Change::None
            && let Some(edition) = &self.edition
        {
            return edition.clone();
        }
        let presentation = self.presentation(scene);
        texts::make(&mut self.texts, &presentation, &self.lanes, scene, counters);
        self.serial += 1;
        self.change = Change::None;
        let edition = Arc::new(Edition {
            epoch: self.epoch.clone(),
            serial: self.serial,
            target_seconds: presentation.target_seconds,
            window_millis: scene.window_millis,
            is_ended: self.is_ended,
            texts: self.texts.iter().filter_map(Wanted::text).collect(),
            lanes: self.lanes.iter_mut().filter_map(Lane::shown).collect(),
            usage: self.usage.clone(),
        });
        self.edition = Some(edition.clone());
        edition
    }

    /// Takes off what nobody has asked for lately.
    fn tidy(&mut self, target_seconds: u32, now: u64, counters: &AppCounters) {
        let kept = limits::SHELF_UNUSED_MICROS + 3 * u64::from(target_seconds) * 1_000_000;
        let is_used = |asked: u64, used: u64| asked.max(used) + kept > now;
        let usage = &self.usage;
        self.texts
            .retain(|text| is_used(text.asked_at, usage.text_used_at(text.key)));
        for lane in &mut self.lanes {
            if !is_used(lane.asked_at, usage.lane_used_at(lane.key)) {
                lane.unmake(counters);
            }
        }
        let texts = &self.texts;
        self.lanes
            .retain(|lane| lane.made.is_some() || texts.iter().any(|text| text.key.lists(lane.key)));
    }

    /// Shards that have used it lately, of those that are told.
    fn users(&self, target_seconds: u32, now: u64) -> u64 {
        let kept = limits::SHELF_UNUSED_MICROS + 3 * u64::from(target_seconds) * 1_000_000;
        let shards = (0..u64::BITS as u16)
            .map(ShardId)
            .filter(|shard| self.watchers & shard.bit() != 0);
        let used = shards.filter(|shard| self.usage.shard_used_at(*shard).max(self.began_at) + kept > now);
        used.fold(0, |bits, shard| bits | shard.bit())
    }
}

impl Stream {
    /// A viewer's shard asks for something that is not on the edition it has.
    pub fn shelve(
        &mut self,
        shelve: &Shelve,
        home: ShardId,
        now: u64,
        pool: &Arc<Pool>,
        counters: &AppCounters,
    ) -> Shelving {
        if self.shelf.is_none() {
            self.shelf = Some(Shelf::new(self.epoch.clone(), now));
            counters.shelves.add(1);
        }
        let part_millis = self.fetched.part_millis;
        let lanes = lanes_of(&shelve.item, self.tracks());
        let targets: Vec<u32> = lanes
            .iter()
            .map(|key| match key {
                LaneKey::Cmaf { track } => self.segments.part_target_micros(*track, part_millis),
                _ => 0,
            })
            .collect();
        let is_listed = !matches!(shelve.item, Item::Text(TextKey::TsMaster | TextKey::CmafMaster { .. }));
        if is_listed && self.segments.cuts.is_settled() {
            self.segments.cuts.fix_target();
        }
        let Some(mut shelf) = self.shelf.take() else {
            return Shelving::Busy;
        };
        shelf.watchers |= shelve.from.bit();
        shelf.usage.used_shard(shelve.from, now);
        let scene = self.scene();
        let put = shelf.put(
            &shelve.item,
            lanes.iter().copied().zip(targets),
            &scene,
            now,
            pool,
            counters,
        );
        let shelving = match put {
            Put::There => Shelving::Edition {
                home,
                edition: shelf.edition(&scene, counters),
            },
            Put::NoSuch => Shelving::NoSuch {
                home,
                edition: Some(shelf.edition(&scene, counters)),
            },
            Put::NoMemory => Shelving::Busy,
            Put::NothingToCarry => Shelving::NothingToCarry,
        };
        self.shelf = Some(shelf);
        shelving
    }

    /// In force now.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    pub(super) fn scene(&self) -> Scene<'_> {
        Scene {
            name: &self.name,
            reader: &self.reader,
            track_sets: &self.track_sets,
            segments: &self.segments,
            window_millis: u64::from(self.settings.window_millis),
            fetched: self.fetched,
        }
    }

    /// What is new on the shelf since the last call.
    pub fn shelf_news(&mut self, now: u64, counters: &AppCounters) -> Option<News> {
        let mut shelf = self.shelf.take_if(|shelf| shelf.change != Change::None)?;
        let target_seconds = self.segments.cuts.target_seconds();
        let is_segment = shelf.change == Change::Segment;
        let users = if is_segment {
            shelf.users(target_seconds, now)
        } else {
            shelf.watchers
        };
        let dropped = shelf.watchers & !users;
        shelf.watchers = users;
        if is_segment {
            shelf.tidy(target_seconds, now, counters);
        }
        let edition = shelf.edition(&self.scene(), counters);
        let news = News {
            edition,
            watchers: users,
            dropped,
        };
        match users {
            0 => self.drop_shelf(shelf, counters),
            _ => self.shelf = Some(shelf),
        }
        Some(news)
    }

    fn drop_shelf(&mut self, mut shelf: Shelf, counters: &AppCounters) {
        shelf.lanes.iter_mut().for_each(|lane| lane.unmake(counters));
        counters.shelves.sub(1);
    }

    /// Whether somebody has fetched from the shelf lately: then the stream's end is to be fetched too.
    pub fn is_shelf_used(&self, now: u64) -> bool {
        let target_seconds = self.segments.cuts.target_seconds();
        self.shelf
            .as_ref()
            .is_some_and(|shelf| shelf.users(target_seconds, now) != 0)
    }

    /// Has the next news look at who uses what; false without a shelf.
    pub fn tidy_shelf(&mut self) -> bool {
        let Some(shelf) = &mut self.shelf else { return false };
        shelf.change = Change::Segment;
        true
    }

    /// How long a stream that has ended stays on its shelf, µs.
    pub fn shelf_ends_micros(&self) -> u64 {
        let window = u64::from(self.settings.window_millis) * 1000;
        let least = 3 * u64::from(self.segments.cuts.target_seconds()) * 1_000_000;
        window.min(limits::SHELF_ENDED_MICROS).max(least)
    }

    /// The shelf is gone; the shards that are to hear of it, a bit each.
    pub fn clear_shelf(&mut self, counters: &AppCounters) -> u64 {
        let Some(shelf) = self.shelf.take() else { return 0 };
        let watchers = shelf.watchers;
        self.drop_shelf(shelf, counters);
        watchers
    }

    /// Feeds of the shelf that have grown since the last call.
    pub fn shelf_grown(&mut self) -> Vec<Arc<Feed>> {
        self.shelf.as_mut().map_or(Vec::new(), |shelf| shelf.grown().collect())
    }
}

/// What became of a question.
enum Put {
    /// It is on the next edition, or will be on one that follows.
    There,
    NoSuch,
    NoMemory,
    NothingToCarry,
}

impl Shelf {
    fn put(
        &mut self,
        item: &Item,
        lanes: impl Iterator<Item = (LaneKey, u32)>,
        scene: &Scene<'_>,
        now: u64,
        pool: &Arc<Pool>,
        counters: &AppCounters,
    ) -> Put {
        let mut has_some = false;
        for (key, part_target_micros) in lanes {
            let Some(lane) = self.lane(key, scene, part_target_micros, now) else {
                continue;
            };
            has_some = true;
            lane.asked_at = now;
            let is_made = match item {
                Item::Text(key) => key.is_of_one_lane(),
                _ => true,
            };
            if is_made && lane.made.is_none() {
                if lane.make(scene, pool, counters).is_err() {
                    return Put::NoMemory;
                }
                self.change = Change::Segment;
            }
        }
        if let Item::Text(key) = item {
            if !has_some {
                return Put::NothingToCarry;
            }
            let wanted = match self.texts.iter_mut().find(|wanted| wanted.key == *key) {
                Some(wanted) => wanted,
                None => {
                    // All forms of a list are of one moment, so that one stands for another.
                    let lanes: Vec<LaneKey> = self.lanes.iter().map(|lane| lane.key).collect();
                    let listed =
                        |text: &&mut Wanted| lanes.iter().any(|lane| text.key.lists(*lane) && key.lists(*lane));
                    self.texts.iter_mut().filter(listed).for_each(Wanted::stale);
                    self.texts.push(Wanted::new(*key));
                    self.change = Change::Segment;
                    let last = self.texts.len() - 1;
                    &mut self.texts[last]
                }
            };
            wanted.asked_at = now;
            return Put::There;
        }
        if !has_some {
            return Put::NoSuch;
        }
        self.put_segment(item, scene, pool, counters)
    }

    /// A segment, or a part of it, or an initialization segment, of a lane that is being made.
    fn put_segment(&mut self, item: &Item, scene: &Scene<'_>, pool: &Arc<Pool>, counters: &AppCounters) -> Put {
        let (key, name) = match item {
            Item::Text(_) => return Put::There,
            Item::Init { lane, .. } => (*lane, None),
            Item::Segment { lane, name_millis } | Item::Part { lane, name_millis, .. } => {
                (*lane, Some(Named::Millis(*name_millis)))
            }
            Item::Numbered { lane, number } => (*lane, Some(Named::Number(*number))),
        };
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.key == key) else {
            return Put::NoSuch;
        };
        let Some(name) = name else { return Put::There };
        let growing = lane.rendition.growing.as_ref().map(|growing| match name {
            Named::Millis(millis) => growing.name_millis == millis,
            Named::Number(number) => growing.number == number,
        });
        if growing == Some(true) && lane.is_made_on_request() {
            return Put::There;
        }
        if growing == Some(true) {
            self.change = Change::Segment;
            return match lane.chunk(pool) {
                Ok(()) => Put::There,
                Err(_) => Put::NoMemory,
            };
        }
        let at = match name {
            Named::Millis(millis) => lane.named(millis),
            Named::Number(number) => lane.numbered(number),
        };
        let Some(at) = at else { return Put::NoSuch };
        if lane.is_early(at) {
            return Put::There;
        }
        match lane.make_again(at, scene, pool, counters) {
            Ok(true) => {
                self.change = Change::Segment;
                Put::There
            }
            Ok(false) => Put::NoSuch,
            Err(_) => Put::NoMemory,
        }
    }
}

#[derive(Clone, Copy)]
enum Named {
    Millis(i64),
    Number(u64),
}

/// The renditions that an item is of, or lists.
fn lanes_of(item: &Item, tracks: &[Track]) -> Vec<LaneKey> {
    let all = |make: fn(u32) -> LaneKey| tracks.iter().map(|track| make(track.id)).collect();
    match *item {
        Item::Init { lane, .. }
        | Item::Segment { lane, .. }
        | Item::Numbered { lane, .. }
        | Item::Part { lane, .. } => {
            vec![lane]
        }
        Item::Text(TextKey::TsMedia { first, second }) => vec![LaneKey::Ts { first, second }],
        Item::Text(TextKey::TsMaster) => ts_lanes(tracks),
        Item::Text(TextKey::CmafMedia { track, .. }) => vec![LaneKey::Cmaf { track }],
        Item::Text(TextKey::CmafMaster { .. } | TextKey::Mpd { .. }) => all(|track| LaneKey::Cmaf { track }),
        Item::Text(TextKey::Smooth) => all(|track| LaneKey::Smooth { track }),
        Item::Text(TextKey::Hds) => hds_lanes(tracks),
        Item::Text(TextKey::HdsBootstrap { first, second }) => vec![LaneKey::Hds { first, second }],
    }
}

/// Each picture that is carried with the first sound that is, or the sounds alone.
fn pairs(tracks: &[Track], carries: impl Fn(&Track) -> bool) -> Vec<(u32, Option<u32>)> {
    let carried: Vec<&Track> = tracks.iter().filter(|track| carries(track)).collect();
    let of = |kind| {
        let of_kind = carried.iter().filter(move |track| track.kind() == kind);
        of_kind.map(|track| track.id)
    };
    let audio = of(Kind::Audio).next();
    let mut pairs: Vec<_> = of(Kind::Video).map(|video| (video, audio)).collect();
    if pairs.is_empty() {
        pairs.extend(of(Kind::Audio).map(|audio| (audio, None)));
    }
    pairs
}

fn ts_lanes(tracks: &[Track]) -> Vec<LaneKey> {
    let pairs = pairs(tracks, registry::ts_carries).into_iter();
    pairs.map(|(first, second)| LaneKey::Ts { first, second }).collect()
}

fn hds_lanes(tracks: &[Track]) -> Vec<LaneKey> {
    let pairs = pairs(tracks, registry::hds_carries).into_iter();
    pairs.map(|(first, second)| LaneKey::Hds { first, second }).collect()
}
