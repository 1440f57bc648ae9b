//! A running stream: frames to the ring and to the muxers, breaks, feeds made from the ring, the end.

use penstock_proto::dtsc::wire::header::{Entry, Header};
use penstock_shard::mesh::ShardId;
use tracing::warn;

use super::cuts::Key;
use super::*;

impl Stream {
    /// One frame in the publisher's time.
    pub(super) fn append(&mut self, frame: &Frame<'_>, counters: &AppCounters) {
        if self.presence.rests(frame.track) {
            if !frame.key {
                return counters.frames_dropped_undecodable.add(1);
            }
            self.presence.wake(frame.track);
            self.enter_tracks(Break::TrackSet, &self.presence.present(), counters);
        }
        let Some(at) = self.tracks.iter().position(|track| track.id == frame.track) else {
            return;
        };
        let timescale = self.tracks[at].timescale;
        let dts = self.timeline.map(frame.track, timescale, frame.dts);
        self.timeline.shown(frame.track, timescale, dts, frame.offset);
        let dts_micros = rescale(dts, timescale, 1_000_000);
        if self.awaiting_key.contains(&frame.track) {
            if !frame.key {
                return counters.frames_dropped_undecodable.add(1);
            }
            self.awaiting_key.retain(|track| *track != frame.track);
        }
        let key_main = self.hear(frame, dts_micros, counters);
        let Some(at) = self.tracks.iter().position(|track| track.id == frame.track) else {
            return;
        };
        let arrival = Arrival {
            track: frame.track,
            kind: self.tracks[at].kind(),
            key: if frame.key { Key::Key } else { Key::Between },
            is_main: main_track(&self.tracks) == Some(frame.track),
            micros: dts_micros,
            bytes: frame.data.len(),
        };
        if let Some(micros) = self.segments.before(&mut self.ring, &arrival) {
            let (stream, gop_millis) = (self.name.as_str(), micros / 1000);
            let target_seconds = self.segments.cuts.target_seconds();
            counters.gops_too_long.add(1);
            warn!(
                stream,
                gop_millis,
                target_seconds,
                "a GOP is longer than the target duration that playlists have shown: segments begin without keyframes; have the encoder send one at least as often"
            );
        }
        let packet = packet::Media {
            track: frame.track,
            time_ms: rescale(dts, timescale, 1000).max(0) as u64,
            offset_ms: rescale(i64::from(frame.offset), timescale, 1000),
            bpos: 0,
            key: frame.key,
            data: frame.data,
        };
        // Empty frames are none.
        let Ok(head) = packet.head() else { return };
        let flags = if frame.key { flags::KEY } else { 0 } | if key_main { flags::KEY_MAIN } else { 0 };
        let line = ring::Frame {
            track: frame.track,
            generation: self.tracks[at].generation,
            dts,
            offset: frame.offset,
            flags,
            dts_micros,
            head: &head,
            payload: frame.data,
            tail: &packet::TAIL,
        };
        let sequence = match append_or_shrink(&mut self.ring, &line, &self.tracks[at]) {
            Ok(sequence) => sequence,
            Err(error) => {
                match error {
                    RingError::PacketTooLarge { .. } | RingError::GopTooLarge { .. } => {
                        counters.frames_dropped_size.add(1);
                    }
                    _ => counters.frames_dropped_memory.add(1),
                }
                return self.awaiting_key.push(frame.track);
            }
        };
        counters.frames_in.add(1);
        counters.frame_bytes_in.add(frame.data.len() as u64);
        let begins = self.segments.after(&arrival, sequence);
        let frame = Frame { dts, ..*frame };
        self.mux(&frame, counters);
        if let Some(mut shelf) = self.shelf.take() {
            shelf.frame(&frame, sequence, begins, &self.scene(), counters);
            self.shelf = Some(shelf);
        }
    }

    /// Whether the frame is one that viewers begin at. Tracks that have had none for long leave the track set before it.
    fn hear(&mut self, frame: &Frame<'_>, dts_micros: i64, counters: &AppCounters) -> bool {
        let main = main_track(&self.tracks);
        let key_main = frame.key && main == Some(frame.track);
        let rested = self.presence.hear(frame.track, dts_micros, main, key_main);
        if rested == 0 {
            return key_main;
        }
        counters.tracks_rested.add(rested as u64);
        self.enter_tracks(Break::TrackSet, &self.presence.present(), counters);
        frame.key && main_track(&self.tracks) == Some(frame.track)
    }

    fn mux(&mut self, frame: &Frame<'_>, counters: &AppCounters) {
        for packaged in &mut self.feeds {
            if packaged.carries(frame.track) {
                let fate = packaged.frame(frame, counters);
                packaged.end_if(fate, counters);
            }
        }
    }

    /// The publisher has another track set or codec data from the next frame on.
    pub(super) fn publish_tracks(&mut self, kind: Break, tracks: &[Track], counters: &AppCounters) {
        self.presence.publish(kind, tracks);
        self.enter_tracks(kind, &self.presence.present(), counters);
    }

    /// Another track set or codec data are in force from the next frame on.
    fn enter_tracks(&mut self, kind: Break, tracks: &[Track], counters: &AppCounters) {
        let tracks: Vec<Track> = tracks.iter().map(|track| self.with_generation(track)).collect();
        let first = self.track_sets.is_empty();
        if !first {
            if self.is_cut_by(kind, &tracks) {
                self.segments.cuts.on_break();
            }
            counters.breaks.add(1);
            while self.ring.add_break(kind as u8).is_err() {
                give_way(&mut self.ring);
            }
        }
        self.track_sets.push((self.reader.head_sequence(), tracks.clone()));
        self.forget_track_sets();
        self.timeline.keep(|id| tracks.iter().any(|track| track.id == id));
        self.awaiting_key
            .retain(|id| tracks.iter().any(|track| track.id == *id));
        self.segments.keep(|id| tracks.iter().any(|track| track.id == id));
        self.tracks = tracks;
        if !first {
            for packaged in &mut self.feeds {
                let fate = packaged.on_break(kind, &self.tracks, counters);
                packaged.end_if(fate, counters);
            }
        }
    }

    /// Whether segments cannot go on over a break. They can where tracks only come and go: their renditions do.
    fn is_cut_by(&self, kind: Break, tracks: &[Track]) -> bool {
        let goes_on = |track: &Track| {
            let before = self.tracks.iter().find(|before| before.id == track.id);
            before.is_none_or(|before| before.generation == track.generation)
        };
        let same_main = main_track(&self.tracks) == main_track(tracks);
        kind != Break::TrackSet || !same_main || !tracks.iter().all(goes_on)
    }

    /// The publisher's track with this stream's count of its generations, which the ring keeps: codec data that change
    /// get a new one, also over a change of publisher.
    fn with_generation(&mut self, track: &Track) -> Track {
        let known = self
            .track_sets
            .iter()
            .flat_map(|(_, set)| set)
            .filter(|known| known.id == track.id)
            .max_by_key(|known| known.generation);
        let mut track = track.clone();
        match known {
            Some(known)
                if known.codec == track.codec
                    && known.codec_data == track.codec_data
                    && known.timescale == track.timescale =>
            {
                track.generation = known.generation;
            }
            known => {
                track.generation = known.map_or(0, |known| known.generation + 1);
                // Of a publisher before the last, whose track sets are forgotten.
                while let Err(RingError::GenerationKnown { .. }) = keep_generation(&mut self.ring, &track) {
                    track.generation += 1;
                }
            }
        }
        track
    }

    /// Sets that no frame in the ring needs go, oldest first.
    pub(super) fn forget_track_sets(&mut self) {
        let tail = self.reader.tail_sequence();
        while self.track_sets.len() > 1
            && (self.track_sets[1].0 <= tail || self.track_sets.len() > limits::TRACK_SETS_MAX)
        {
            self.track_sets.remove(0);
        }
    }

    /// Once a second: where media time stands against wall time. Whether it was time for it.
    pub(super) fn observe_clock(&mut self, now: u64, counters: &AppCounters) -> bool {
        let is_early = self.clock_observed_at.is_some_and(|at| now < at + 1_000_000);
        if is_early || !matches!(self.phase, Phase::Running) {
            return false;
        }
        let newest = self
            .reader
            .head_sequence()
            .checked_sub(1)
            .and_then(|newest| self.reader.entry(newest).ok());
        if let Some(entry) = &newest {
            self.clock_observed_at = Some(now);
            self.observe_window(counters);
            self.ring
                .observe_clock(entry.dts_micros, clock::wall_micros(), CLOCK_ARRIVAL);
            if let Some(wall_micros) = self.reader.wall_of(entry.dts_micros) {
                for packaged in &mut self.feeds {
                    packaged.wall_clock(entry.dts_micros, wall_micros);
                }
            }
        }
        newest.is_some()
    }

    /// Stream time and wall time of a frame in the ring, or of what comes next.
    fn moment_of(&self, sequence: u64) -> Option<(i64, i64)> {
        let newest = self.reader.head_sequence().checked_sub(1)?;
        let entry = self.reader.entry(sequence.min(newest)).ok()?;
        Some((entry.dts_micros, self.reader.wall_of(entry.dts_micros)?))
    }

    /// The answer to a viewer's question; the feed is made if it has to be.
    pub fn open(&mut self, open: &Open, home: ShardId, pool: &Arc<Pool>, counters: &AppCounters) -> Opening {
        let Some(packaging) = open.packaging else {
            let tracks = self.tracks.clone().into();
            return Opening::There { home, tracks };
        };
        #[cfg(test)]
        crate::trap::spring(crate::trap::Step::Open);
        let made = |packaged: &Packaged| packaged.packaging == packaging && !packaged.is_ended();
        let at = match self.feeds.iter().position(made) {
            Some(at) => at,
            None => {
                match self.package(packaging, pool, counters) {
                    Ok(packaged) => self.feeds.push(packaged),
                    Err(why) => return why,
                }
                counters.feeds.add(1);
                self.feeds.len() - 1
            }
        };
        let packaged = &mut self.feeds[at];
        packaged.watch(open.from);
        Opening::Feed {
            home,
            feed: packaged.feed().clone(),
        }
    }

    /// A new feed, filled from the newest keyframe in the ring; when its container cannot go on behind a later break, from
    /// there, and its viewers wait for the next keyframe.
    fn package(&mut self, packaging: Packaging, pool: &Arc<Pool>, counters: &AppCounters) -> Result<Packaged, Opening> {
        if self.feeds.len() >= limits::FEEDS_PER_STREAM_MAX {
            return Err(Opening::Busy);
        }
        let head = self.reader.head_sequence();
        let mut from = self.reader.newest_key().unwrap_or(head);
        loop {
            match self.fill(packaging, from, head, pool, counters)? {
                Filled::Whole(packaged) => return Ok(*packaged),
                // Later than `from`, and at most `head`, behind which is no break.
                Filled::EndsAt(sequence) => from = sequence,
            }
        }
    }

    /// A feed of the frames from `from` up to `head`, and of the breaks between and behind them.
    fn fill(
        &mut self,
        packaging: Packaging,
        from: u64,
        head: u64,
        pool: &Arc<Pool>,
        counters: &AppCounters,
    ) -> Result<Filled, Opening> {
        let tracks = in_force(&self.track_sets, from).ok_or(Opening::NothingToCarry)?;
        let seed = seed_of(&self.name, clock::wall_micros());
        let mux = registry::mux(packaging, &self.name, tracks, seed).ok_or(Opening::NothingToCarry)?;
        let moment = self.moment_of(from);
        let created = Packaged::create(packaging, mux, tracks, pool, self.lag_max_micros, moment);
        let mut packaged = created.map_err(|_| Opening::Busy)?.ok_or(Opening::NothingToCarry)?;
        let mut breaks = Vec::new();
        // This shard alone moves the tail, and `from` is in the window or at the head.
        let found = self.reader.breaks(from..head + 1, &mut breaks);
        debug_assert!(found.is_ok());
        let mut breaks = breaks.into_iter().filter(|stands| stands.sequence > from).peekable();
        for sequence in from..=head {
            while let Some(stands) = breaks.next_if(|stands| stands.sequence <= sequence) {
                let set = in_force(&self.track_sets, stands.sequence);
                let (Some(tracks), Some(kind)) = (set, break_of(stands.kind)) else {
                    continue;
                };
                match packaged.on_break(kind, tracks, counters) {
                    Fate::Goes => {}
                    Fate::EndedByBreak => return Ok(Filled::EndsAt(stands.sequence)),
                    Fate::EndedByMemory | Fate::EndedByClaims => return Err(Opening::Busy),
                }
            }
            if sequence == head {
                break;
            }
            let Ok(entry) = self.reader.payload(sequence, &mut self.payload) else {
                continue;
            };
            if packaged.carries(entry.track) {
                let frame = Frame {
                    track: entry.track,
                    dts: entry.dts,
                    offset: entry.offset,
                    key: entry.flags & flags::KEY != 0,
                    data: &self.payload,
                };
                if packaged.frame(&frame, counters) != Fate::Goes {
                    return Err(Opening::Busy);
                }
            }
        }
        Ok(Filled::Whole(Box::new(packaged)))
    }

    /// The publisher has left; the stream waits for the next one.
    pub fn publisher_left(&mut self, now: u64, counters: &AppCounters) {
        // A publisher that was never complete leaves what it sent.
        if let Phase::Starting(held) = &self.phase
            && !held.is_empty()
        {
            self.start(counters);
        }
        self.publisher = None;
        #[cfg(test)]
        crate::trap::spring(crate::trap::Step::Leave);
        self.gone_since = Some(now);
        self.ring.set_state(State::PublisherGone {
            since_micros: clock::wall_micros(),
        });
    }

    /// The next publisher begins.
    pub fn publisher_came(&mut self, publisher: Publisher) {
        self.publisher = Some(publisher);
        self.gone_since = None;
        self.phase = Phase::Starting(Held::default());
        if self.settings.resume == config::Resume::Empty {
            // It leaves the index with its frames.
            self.segments.end(&mut self.ring);
            self.ring.clear();
        }
        self.ring.set_state(State::Live);
    }

    /// No frame will come: every feed gets its container's end.
    pub fn finish(&mut self, counters: &AppCounters) {
        for packaged in &mut self.feeds {
            if !packaged.is_ended() {
                packaged.finish(counters);
            }
            #[cfg(test)]
            crate::trap::spring(crate::trap::Step::Finish);
        }
        self.segments.end(&mut self.ring);
        if let Some(shelf) = &mut self.shelf {
            shelf.finish(counters);
        }
        self.ring.set_state(State::Ended);
    }
}

/// What became of a feed that is made from the ring.
enum Filled {
    Whole(Box<Packaged>),
    /// Its container cannot express what follows the break there.
    EndsAt(u64),
}

/// The track set of the frame at `sequence`.
pub(super) fn in_force(sets: &[(u64, Vec<Track>)], sequence: u64) -> Option<&[Track]> {
    let newest = sets.iter().rev().find(|(since, _)| *since <= sequence);
    newest.or(sets.first()).map(|(_, tracks)| &tracks[..])
}

/// The oldest GOPs give way when the memory budget is used up; before a keyframe, which needs nothing older, all do.
fn append_or_shrink(ring: &mut ring::Writer, line: &ring::Frame<'_>, track: &Track) -> Result<u64, RingError> {
    let mut is_cleared = false;
    loop {
        match ring.append(line) {
            Err(RingError::Full(_)) if ring.drop_oldest_gop() => {}
            Err(RingError::Full(_)) if line.flags & flags::KEY_MAIN != 0 && !is_cleared => {
                ring.clear();
                is_cleared = true;
            }
            // There was no room for it when the track came, or it gave way to others while no frame cited it.
            Err(RingError::GenerationUnknown { .. }) => keep_generation(ring, track)?,
            result => return result,
        }
    }
}

/// Has the ring keep a track's codec data and description; frames that cite others give way.
fn keep_generation(ring: &mut ring::Writer, track: &Track) -> Result<(), RingError> {
    let mut description = Vec::new();
    let header = Header::new(true, vec![Entry::new(track.clone())]);
    // A description that cannot be written (longer than DTSC allows) is an empty one; the codec data say all.
    if header.emit(&mut description).is_err() || description.len() > ring::limits::DESCRIPTION_BYTES_MAX {
        description.clear();
    }
    loop {
        match ring.add_generation(track.id, track.generation, &track.codec_data, &description) {
            Err(RingError::GenerationsFull { .. }) => give_way(ring),
            Err(RingError::Full(_)) if ring.drop_oldest_gop() => {}
            result => return result,
        }
    }
}

/// The oldest GOP goes, be it the only one.
fn give_way(ring: &mut ring::Writer) {
    if !ring.drop_oldest_gop() {
        ring.clear();
    }
}

fn break_of(kind: u8) -> Option<Break> {
    [Break::CodecData, Break::TrackSet, Break::Publisher, Break::TimeJump]
        .into_iter()
        .find(|known| *known as u8 == kind)
}
