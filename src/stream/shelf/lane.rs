//! One rendition in one packaging: its list of segments, from the stream's index, and, while somebody asks for them, the
//! segments themselves.
//!
//! The list is kept from the ring alone. Segments are *made* from the newest few on; older ones are made again when somebody
//! asks, by a muxer of their own, with the same bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use penstock_proto::dash;
use penstock_proto::media::{Frame, Kind, Rendition, Segment, Track, rescale};
use penstock_shard::feed::FeedError;
use penstock_shard::pool::Pool;
use penstock_shard::ring::{self, flags as frame_flags};

use super::Scene;
use super::again::{Again, Ends};
use super::made::Made;
use crate::counters::AppCounters;
use crate::limits;
use crate::registry;
use crate::shelf::{self, LaneKey};
use crate::stream::segments::{Begins, flags};

#[derive(Debug)]
pub struct Lane {
    pub key: LaneKey,
    /// Its tracks; the first one leads: where it begins a segment, the lane does.
    pub tracks: Vec<u32>,
    pub rendition: Rendition,
    /// Where each listed segment begins in the ring, and the growing one; nothing for a gap.
    starts: VecDeque<Option<u64>>,
    /// Decode time of the leading track's newest frame, and ticks since the one before.
    newest: Option<(i64, i64)>,
    pub made: Option<Made>,
    /// Where the run of segments began that the first listed one belongs to, when that is not its first.
    pub began: Option<dash::Began>,
    again: Option<Again>,
    /// What editions have of it, until it changes.
    shown: Option<Arc<shelf::Lane>>,
    /// When the home was last asked for it (µs).
    pub asked_at: u64,
    is_ended: bool,
}

/// A segment of the leading track begins.
struct Opens {
    number: u64,
    flags: u32,
    sequence: u64,
    entry: Head,
}

/// What is known of its first frame.
#[derive(Clone, Copy)]
struct Head {
    dts: i64,
    offset: i32,
    is_key: bool,
    generation: u32,
    wall_micros: Option<i64>,
}

impl Lane {
    /// Lists what the ring has of the tracks of `key`; nothing if the packaging cannot carry them all, or one is not there.
    pub fn new(key: LaneKey, scene: &Scene<'_>, part_target_micros: u32, now: u64) -> Option<Lane> {
        let ids = tracks_of(key);
        let in_force = scene.tracks();
        let known = ids
            .iter()
            .map(|id| in_force.iter().find(|track| track.id == *id).cloned());
        let tracks: Vec<Track> = known.collect::<Option<_>>()?;
        let lead = tracks.first()?;
        // A pair is a picture with its sound: other pairs would be lanes that nothing lists, as many as there are tracks squared.
        if let [first, second] = &tracks[..]
            && (first.kind(), second.kind()) != (Kind::Video, Kind::Audio)
        {
            return None;
        }
        let mux = registry::segment_mux(key, scene.name, i64::MAX);
        if !tracks.iter().all(|track| mux.carries(track)) {
            return None;
        }
        let rendition = Rendition {
            path: path_of(&ids),
            timescale: lead.timescale,
            part_target_micros: match key {
                LaneKey::Cmaf { .. } => part_target_micros,
                _ => 0,
            },
            tracks,
            ..Rendition::default()
        };
        let mut lane = Lane {
            key,
            tracks: ids,
            rendition,
            starts: VecDeque::new(),
            newest: None,
            made: None,
            began: None,
            again: None,
            shown: None,
            asked_at: now,
            is_ended: false,
        };
        lane.recall(scene);
        lane.measure(scene);
        Some(lane)
    }

    fn lead(&self) -> u32 {
        self.tracks[0]
    }

    /// Fills the list from the ring's index.
    fn recall(&mut self, scene: &Scene<'_>) {
        let mut facts = ring::Segment::default();
        for number in scene.reader.segments() {
            if scene.reader.segment(number, &mut facts) {
                let start = facts.tracks.iter().find(|start| start.track == self.lead());
                self.recall_one(number, facts.flags, start.map(|start| start.sequence), scene);
            }
        }
        if let Some((number, flags, sequence)) = scene.segments.running(self.lead()) {
            self.recall_one(number, flags, sequence, scene);
        }
        self.newest = self.newest_before(scene.reader.head_sequence(), scene);
    }

    fn recall_one(&mut self, number: u64, flags: u32, sequence: Option<u64>, scene: &Scene<'_>) {
        let Some(entry) = sequence.and_then(|sequence| scene.reader.entry(sequence).ok()) else {
            return;
        };
        let head = Head {
            dts: entry.dts,
            offset: entry.offset,
            is_key: entry.flags & frame_flags::KEY != 0,
            generation: entry.generation,
            wall_micros: scene.reader.wall_of(entry.dts_micros),
        };
        self.newest = self.newest_before(entry.sequence, scene);
        self.open(
            Opens {
                number,
                flags,
                sequence: entry.sequence,
                entry: head,
            },
            scene,
        );
    }

    /// The leading track's last frame before `sequence`, and the ticks to it from the one before that.
    fn newest_before(&self, sequence: u64, scene: &Scene<'_>) -> Option<(i64, i64)> {
        let tail = scene.reader.tail_sequence();
        let entries = (tail..sequence)
            .rev()
            .map_while(|sequence| scene.reader.entry(sequence).ok());
        let mut last = entries.filter(|entry| entry.track == self.lead());
        let newest = last.next()?;
        let interval = last.next().map_or(0, |before| newest.dts - before.dts);
        Some((newest.dts, interval))
    }

    /// Closes the growing segment and begins the next one; gaps stand for those in which the leading track had no frame.
    fn open(&mut self, opens: Opens, scene: &Scene<'_>) {
        let is_discontinuity = opens.flags & flags::DISCONTINUITY != 0;
        let until = self.until(&opens);
        self.close(until);
        let last = self.rendition.segments.back().map(|last| last.number);
        if let Some(last) = last {
            for number in last + 1..opens.number {
                self.list_gap(number, scene);
            }
        }
        if self.rendition.segments.is_empty() {
            self.rendition.discontinuities_before =
                u64::from((opens.flags >> flags::COUNT_SHIFT) - u32::from(is_discontinuity));
        }
        let head = opens.entry;
        let shown = head.dts.saturating_add(i64::from(head.offset));
        let before = self.rendition.segments.iter().rev().find(|segment| !segment.gap);
        let name_after = before.map_or(i64::MIN, |before| before.name_millis + 1);
        self.starts.push_back(Some(opens.sequence));
        self.rendition.growing = Some(Segment {
            number: opens.number,
            name_millis: rescale(shown, self.rendition.timescale, 1000).max(name_after),
            start: head.dts,
            shown,
            generation: head.generation,
            discontinuity: is_discontinuity,
            independent: head.is_key,
            wall_micros: head.wall_micros,
            ..Segment::default()
        });
    }

    /// Where the growing segment's last frame ends, if it is the begin of the next one.
    fn until(&self, opens: &Opens) -> Option<i64> {
        let growing = self.rendition.growing.as_ref()?;
        let follows = opens.number == growing.number + 1 && opens.flags & flags::DISCONTINUITY == 0;
        follows.then_some(opens.entry.dts)
    }

    /// The growing segment is complete, and ends at `until`, or where its last frame is thought to.
    fn close(&mut self, until: Option<i64>) {
        let Some(mut growing) = self.rendition.growing.take() else {
            return;
        };
        let guess = || self.newest.map_or(growing.start, |(dts, interval)| dts + interval);
        growing.duration = (until.unwrap_or_else(guess) - growing.start).max(1);
        self.rendition.segments.push_back(growing);
    }

    fn list_gap(&mut self, number: u64, scene: &Scene<'_>) {
        let mut facts = ring::Segment::default();
        if !scene.reader.segment(number, &mut facts) {
            // It has left the window already: what is listed before it is no longer joined to what follows.
            self.rendition.segments.clear();
            self.starts.clear();
            return;
        }
        let ticks = |micros| rescale(micros, 1_000_000, self.rendition.timescale);
        let start = ticks(facts.start_micros);
        self.rendition.segments.push_back(Segment {
            number,
            name_millis: rescale(facts.start_micros, 1_000_000, 1000),
            start,
            shown: start,
            duration: ticks(facts.duration_micros).max(1),
            discontinuity: facts.flags & flags::DISCONTINUITY != 0,
            gap: true,
            generation: self.rendition.segments.back().map_or(0, |before| before.generation),
            wall_micros: scene.reader.wall_of(facts.start_micros),
            ..Segment::default()
        });
        self.starts.push_back(None);
    }

    /// A frame of the stream. Whether the list or what can be fetched has changed; the lane stops making segments where there
    /// is no memory.
    pub fn frame(
        &mut self,
        frame: &Frame<'_>,
        sequence: u64,
        begins: Option<Begins>,
        scene: &Scene<'_>,
        counters: &AppCounters,
    ) -> Change {
        if !self.tracks.contains(&frame.track) {
            return Change::None;
        }
        let mut change = Change::None;
        let is_lead = frame.track == self.lead();
        if let Some(begins) = begins.filter(|_| is_lead)
            && self.rendition.growing.as_ref().map(|growing| growing.number) != Some(begins.number)
        {
            self.begin(frame, sequence, begins, scene, counters);
            change = Change::Segment;
        }
        let Some(growing) = &mut self.rendition.growing else {
            return change;
        };
        if is_lead {
            let interval = self.newest.map_or(0, |(dts, _)| frame.dts - dts);
            self.newest = Some((frame.dts, interval));
            growing.duration = frame.dts - growing.start;
        }
        if let Some(made) = &mut self.made {
            match made.frame(frame, growing, counters) {
                // With its first part a segment can be fetched: manifests list it from then on.
                Ok(count) if count > 0 && count == growing.parts.len() && self.rendition.part_target_micros > 0 => {
                    change = Change::Segment;
                }
                Ok(count) if count > 0 && self.rendition.part_target_micros > 0 => change = change.max(Change::Parts),
                Ok(_) => {}
                Err(_) => {
                    counters.feeds_ended_memory.add(1);
                    self.unmake(counters);
                    change = Change::Segment;
                }
            }
        }
        if change != Change::None {
            self.shown = None;
        }
        change
    }

    fn begin(&mut self, frame: &Frame<'_>, sequence: u64, begins: Begins, scene: &Scene<'_>, counters: &AppCounters) {
        let tracks = scene.tracks_at(sequence, &self.tracks);
        let generation = tracks.first().map_or(0, |track| track.generation);
        let micros = rescale(frame.dts, self.rendition.timescale, 1_000_000);
        let opens = Opens {
            number: begins.number,
            flags: begins.flags,
            sequence,
            entry: Head {
                dts: frame.dts,
                offset: frame.offset,
                is_key: frame.key,
                generation,
                wall_micros: scene.reader.wall_of(micros),
            },
        };
        self.end_made(self.until(&opens), counters);
        self.open(opens, scene);
        self.rendition.tracks = tracks;
        let is_made_now = !self.is_made_on_request();
        if let (Some(made), Some(growing), true) = (&mut self.made, &mut self.rendition.growing, is_made_now)
            && made.begin(growing, &self.rendition.tracks, counters).is_err()
        {
            counters.feeds_ended_memory.add(1);
            self.unmake(counters);
        }
        self.trim(scene);
        self.measure(scene);
        self.shown = None;
    }

    /// The segment that is being made ends.
    fn end_made(&mut self, until: Option<i64>, counters: &AppCounters) {
        let (Some(made), Some(growing)) = (&mut self.made, &mut self.rendition.growing) else {
            return;
        };
        if made.end(until, growing, counters).is_err() {
            counters.feeds_ended_memory.add(1);
            self.unmake(counters);
        }
    }

    /// No frame will come.
    pub fn finish(&mut self, counters: &AppCounters) {
        self.end_made(None, counters);
        self.close(None);
        self.is_ended = true;
        self.shown = None;
    }

    /// What nobody can be told of any more leaves the list.
    fn trim(&mut self, scene: &Scene<'_>) {
        let tail = scene.reader.tail_sequence();
        let target = i64::from(scene.target_seconds()) * i64::from(self.rendition.timescale);
        let window = rescale(scene.window_millis as i64, 1000, self.rendition.timescale);
        let segments = &self.rendition.segments;
        let end = segments.back().map_or(0, |last| last.start + last.duration);
        let made = self.made.as_ref().and_then(Made::first_number);
        let mut leaving = 0;
        for (segment, start) in segments.iter().zip(&self.starts) {
            let is_kept = made.is_some_and(|made| segment.number >= made);
            let is_lost = start.is_some_and(|start| start < tail) && !is_kept;
            let rest = end - (segment.start + segment.duration);
            let is_old = rest > window.max(3 * target);
            if !is_lost && !is_old {
                break;
            }
            leaving += 1;
        }
        for _ in 0..leaving {
            self.starts.pop_front();
            let Some(segment) = self.rendition.segments.pop_front() else {
                break;
            };
            self.rendition.discontinuities_before += u64::from(segment.discontinuity);
            let next = self.rendition.segments.front().or(self.rendition.growing.as_ref());
            self.began = match next {
                Some(next) if next.discontinuity => None,
                _ => {
                    let before = self.began.filter(|_| !segment.discontinuity);
                    Some(before.unwrap_or_else(|| dash::Began::at(&self.rendition, &segment)))
                }
            };
        }
        for segment in &mut self.rendition.segments {
            if made.is_none_or(|made| segment.number < made) {
                segment.parts = Vec::new();
            }
        }
    }

    /// Rates: of the segments that were made, else of their frames with what the packaging adds.
    fn measure(&mut self, scene: &Scene<'_>) {
        self.rendition.rate = super::rates::rate(self.key, &self.tracks, &self.rendition, scene.segments);
        self.rendition.frame_rate = match self.rendition.tracks.first() {
            Some(track) if track.kind() == Kind::Video => scene.segments.frame_rate(track.id),
            _ => 0.0,
        };
    }

    /// Has segments made from the newest few on.
    ///
    /// # Errors
    /// There is no memory for them.
    pub fn make(&mut self, scene: &Scene<'_>, pool: &Arc<Pool>, counters: &AppCounters) -> Result<(), FeedError> {
        if self.made.is_some() {
            return Ok(());
        }
        let mux = registry::segment_mux(self.key, scene.name, self.part_ticks());
        let keep_micros = i64::from(scene.target_seconds()) * 1_000_000 * limits::LIVE_SEGMENTS as i64;
        let mut made = Made::create(mux, pool, keep_micros as u64, self.rendition.part_target_micros > 0)?;
        let listed = self.rendition.segments.len();
        let first = listed.saturating_sub(limits::LIVE_SEGMENTS);
        let starts: Vec<(usize, u64)> = (first..self.starts.len())
            .filter_map(|at| Some((at, self.starts[at]?)))
            .collect();
        if let Some((_, from)) = starts.first().filter(|_| !self.is_made_on_request()) {
            self.replay(&mut made, *from, &starts, scene, counters)?;
        }
        counters.lanes.add(1);
        self.made = Some(made);
        self.measure(scene);
        self.shown = None;
        Ok(())
    }

    /// The segments from the frame at `from` on, as if they came now.
    fn replay(
        &mut self,
        made: &mut Made,
        from: u64,
        starts: &[(usize, u64)],
        scene: &Scene<'_>,
        counters: &AppCounters,
    ) -> Result<(), FeedError> {
        let mut starts = starts.iter().peekable();
        let mut payload = Vec::new();
        let mut current: Option<usize> = None;
        for sequence in from..scene.reader.head_sequence() {
            let Ok(entry) = scene.reader.payload(sequence, &mut payload) else {
                continue;
            };
            if !self.tracks.contains(&entry.track) {
                continue;
            }
            if let Some((at, _)) = starts.next_if(|(_, start)| *start == sequence) {
                let until = self.until_known(current);
                if let Some(segment) = current.and_then(|at| self.rendition.segments.get_mut(at)) {
                    made.end(until, segment, counters)?;
                }
                current = Some(*at);
                let tracks = scene.tracks_at(sequence, &self.tracks);
                if let Some(segment) = self.at_mut(*at) {
                    made.begin(segment, &tracks, counters)?;
                }
            }
            if let Some(segment) = current.and_then(|at| self.at_mut(at)) {
                made.frame(&frame_of(&entry, &payload), segment, counters)?;
            }
        }
        // A stream that has ended has no growing segment.
        if let Some(at) = current.filter(|at| *at < self.rendition.segments.len()) {
            made.end(None, &mut self.rendition.segments[at], counters)?;
        }
        Ok(())
    }

    /// A listed segment, or the growing one behind them.
    fn at_mut(&mut self, at: usize) -> Option<&mut Segment> {
        if at == self.rendition.segments.len() {
            return self.rendition.growing.as_mut();
        }
        self.rendition.segments.get_mut(at)
    }

    /// Where the segment at `at` ends, if that is where the next one begins.
    fn until_known(&self, at: Option<usize>) -> Option<i64> {
        let at = at?;
        let segment = self.rendition.segments.get(at)?;
        let next = self.rendition.segments.get(at + 1);
        let next = next.or(self.rendition.growing.as_ref())?;
        let follows = next.number == segment.number + 1 && !next.discontinuity && !next.gap;
        follows.then_some(segment.start + segment.duration)
    }

    pub fn part_ticks(&self) -> i64 {
        match self.rendition.part_target_micros {
            0 => i64::MAX,
            micros => rescale(i64::from(micros), 1_000_000, self.rendition.timescale),
        }
    }

    /// Puts a listed segment on the shelf that is not there any more. False when it is not listed, or lost.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn make_again(
        &mut self,
        at: usize,
        scene: &Scene<'_>,
        pool: &Arc<Pool>,
        counters: &AppCounters,
    ) -> Result<bool, FeedError> {
        // What the feeds have passed since is not there, whatever the last edition says.
        self.forget_passed();
        let (Some(segment), Some(Some(start))) = (self.rendition.segments.get(at), self.starts.get(at)) else {
            return Ok(false);
        };
        if self.is_shelved(segment.number) {
            return Ok(true);
        }
        let end = self.starts.iter().skip(at + 1).flatten().next();
        let end = end.copied().unwrap_or_else(|| scene.reader.head_sequence());
        if self.is_early(at) {
            return Ok(false);
        }
        let following: Vec<(i64, i64)> = self.following(at).map(|next| (next.shown, next.duration)).collect();
        let ends = Ends {
            until: self.until_known(Some(at)),
            following: &following,
        };
        let part_ticks = self.part_ticks();
        let again = match &mut self.again {
            Some(again) => again,
            None => self.again.insert(Again::create(pool)?),
        };
        let mut mux = registry::segment_mux(self.key, scene.name, part_ticks);
        let is_whole = again.make(&mut *mux, segment, &self.tracks, *start..end, &ends, scene)?;
        counters.segments_again.add(1);
        self.shown = None;
        Ok(is_whole)
    }

    /// The segments that one tells of.
    fn following(&self, at: usize) -> impl Iterator<Item = &Segment> {
        let told = match self.is_made_on_request() {
            true => limits::SMOOTH_LOOK_AHEAD,
            false => 0,
        };
        let behind = self.rendition.segments.iter().skip(at + 1);
        behind.filter(|next| !next.gap).take(told)
    }

    /// Whether a listed segment is complete before those that it tells of: other bytes would come of it now than later.
    pub fn is_early(&self, at: usize) -> bool {
        self.is_made_on_request() && !self.is_ended && self.following(at).count() < limits::SMOOTH_LOOK_AHEAD
    }

    /// Its segments tell of those behind them: they are made when somebody asks and those are there, not as frames come.
    pub fn is_made_on_request(&self) -> bool {
        matches!(self.key, LaneKey::Smooth { .. })
    }

    fn is_shelved(&self, number: u64) -> bool {
        let is_live = self.made.as_ref().is_some_and(|made| made.has(number));
        is_live || self.again.as_ref().is_some_and(|again| again.has(number))
    }

    /// No segments are made any more; the list goes on.
    pub fn unmake(&mut self, counters: &AppCounters) {
        if self.made.take().is_some() {
            counters.lanes.sub(1);
        }
        self.again = None;
        self.shown = None;
    }

    /// Segments as they are fetched while they are made, in HTTP chunks.
    pub fn chunk(&mut self, pool: &Arc<Pool>) -> Result<(), FeedError> {
        if let Some(made) = &mut self.made {
            made.chunk(pool)?;
            self.shown = None;
        }
        Ok(())
    }

    /// Segments that their feed keeps no more are not there.
    fn forget_passed(&mut self) {
        let is_made_shorter = self.made.as_mut().is_some_and(Made::forget_passed);
        let is_again_shorter = self.again.as_mut().is_some_and(Again::forget_passed);
        if is_made_shorter || is_again_shorter {
            self.shown = None;
        }
    }

    /// As editions show it; nothing while no segments are made.
    pub fn shown(&mut self) -> Option<Arc<shelf::Lane>> {
        self.forget_passed();
        let made = self.made.as_ref()?;
        if let Some(shown) = &self.shown {
            return Some(shown.clone());
        }
        let mut segments = self.again.as_ref().map_or(Vec::new(), Again::shelved);
        segments.extend(made.shelved());
        segments.sort_by_key(|shelved| shelved.number);
        let shown = Arc::new(shelf::Lane {
            key: self.key,
            content_type: registry::segment_type(self.key, &self.rendition.tracks),
            live: made.live().clone(),
            chunked: made.chunked().cloned(),
            again: self.again.as_ref().map(|again| again.feed().clone()),
            inits: made.inits.clone(),
            segments,
            growing: made.growing.clone(),
            has_parts: self.rendition.part_target_micros > 0,
        });
        self.shown = Some(shown.clone());
        Some(shown)
    }

    /// Where a listed segment stands in the list, by its number in URLs.
    pub fn named(&self, name_millis: i64) -> Option<usize> {
        let is_named = |segment: &Segment| !segment.gap && segment.name_millis == name_millis;
        self.rendition.segments.iter().position(is_named)
    }

    pub fn numbered(&self, number: u64) -> Option<usize> {
        let first = self.rendition.segments.front()?.number;
        let at = usize::try_from(number.checked_sub(first)?).ok()?;
        (at < self.rendition.segments.len()).then_some(at)
    }
}

/// What a frame changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    None,
    /// Parts of the growing segment.
    Parts,
    /// A segment is complete, or the lane is gone from the shelf.
    Segment,
}

pub fn frame_of<'a>(entry: &ring::Entry, payload: &'a [u8]) -> Frame<'a> {
    Frame {
        track: entry.track,
        dts: entry.dts,
        offset: entry.offset,
        key: entry.flags & frame_flags::KEY != 0,
        data: payload,
    }
}

/// Tracks of a lane, the leading one first.
pub fn tracks_of(key: LaneKey) -> Vec<u32> {
    match key {
        LaneKey::Ts { first, second } | LaneKey::Hds { first, second } => {
            [Some(first), second].into_iter().flatten().collect()
        }
        LaneKey::Cmaf { track } | LaneKey::Smooth { track } => vec![track],
    }
}

fn path_of(tracks: &[u32]) -> String {
    let ids: Vec<String> = tracks.iter().map(u32::to_string).collect();
    ids.join("_")
}
