//! A running stream: frames to the ring and to the muxers, breaks, feeds made from the ring, the end.

use penstock_proto::dtsc::wire::header::{Entry, Header};
use penstock_shard::mesh::ShardId;

use super::*;

impl Stream {
    /// One frame in the publisher's time.
    pub(super) fn append(&mut self, frame: &Frame<'_>, counters: &AppCounters) {
        let Some(track) = self.tracks.iter().find(|track| track.id == frame.track) else {
            return;
        };
        let (timescale, generation) = (track.timescale, track.generation);
        let is_main = main_track(&self.tracks) == Some(frame.track);
        let dts = self.timeline.map(frame.track, timescale, frame.dts);
        let dts_micros = rescale(dts, timescale, 1_000_000);
        let key_main = frame.key && is_main;
        if key_main {
            self.cut_segment(dts_micros);
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
            generation,
            dts,
            offset: frame.offset,
            flags,
            dts_micros,
            head: &head,
            payload: frame.data,
            tail: &packet::TAIL,
        };
        if append_or_shrink(&mut self.ring, &line).is_err() {
            counters.frames_dropped_memory.add(1);
            return;
        }
        counters.frames_in.add(1);
        counters.frame_bytes_in.add(frame.data.len() as u64);
        self.mux(&Frame { dts, ..*frame }, counters);
    }

    fn mux(&mut self, frame: &Frame<'_>, counters: &AppCounters) {
        for packaged in &mut self.feeds {
            if packaged.carries(frame.track) {
                let fate = packaged.frame(frame, counters);
                packaged.end_if(fate, counters);
            }
        }
    }

    /// Another track set or codec data are in force from the next frame on.
    pub(super) fn enter_tracks(&mut self, kind: Break, tracks: &[Track], counters: &AppCounters) {
        let tracks = self.with_generations(tracks);
        for track in &tracks {
            if !self.tracks.contains(track) {
                let mut description = Vec::new();
                let header = Header::new(true, vec![Entry::new(track.clone())]);
                // A description that cannot be written (longer than DTSC allows) is an empty one; the codec data say all.
                if header.emit(&mut description).is_err() {
                    description.clear();
                }
                // A table that is full of generations gives way with the frames that cite them.
                while let Err(RingError::GenerationsFull { .. }) =
                    self.ring
                        .add_generation(track.id, track.generation, &track.codec_data, &description)
                {
                    if !self.ring.drop_oldest_gop() {
                        self.ring.clear();
                    }
                }
            }
        }
        let first = self.track_sets.is_empty();
        if !first {
            counters.breaks.add(1);
            while self.ring.add_break(kind as u8).is_err() {
                if !self.ring.drop_oldest_gop() {
                    self.ring.clear();
                }
            }
        }
        self.track_sets.push((self.reader.head_sequence(), tracks.clone()));
        self.forget_track_sets();
        self.tracks = tracks;
        if !first {
            for packaged in &mut self.feeds {
                let fate = packaged.on_break(kind, &self.tracks, counters);
                packaged.end_if(fate, counters);
            }
        }
    }

    /// The publisher's tracks with this stream's count of their generations: codec data that change get a new one,
    /// also over a change of publisher.
    fn with_generations(&self, tracks: &[Track]) -> Vec<Track> {
        let newest = |id: u32| {
            let sets = self.track_sets.iter().rev();
            sets.flat_map(|(_, set)| set)
                .filter(|track| track.id == id)
                .max_by_key(|track| track.generation)
        };
        let renamed = tracks.iter().map(|track| {
            let generation = match newest(track.id) {
                None => 0,
                Some(known) => {
                    let same = known.codec == track.codec
                        && known.codec_data == track.codec_data
                        && known.timescale == track.timescale;
                    known.generation + u32::from(!same)
                }
            };
            Track {
                generation,
                ..track.clone()
            }
        });
        renamed.collect()
    }

    /// Sets that no frame in the ring needs go, oldest first.
    fn forget_track_sets(&mut self) {
        let tail = self.reader.tail_sequence();
        while self.track_sets.len() > 1
            && (self.track_sets[1].0 <= tail || self.track_sets.len() > limits::TRACK_SETS_MAX)
        {
            self.track_sets.remove(0);
        }
    }

    fn cut_segment(&mut self, micros: i64) {
        let starts = || {
            self.tracks.iter().map(|track| ring::TrackStart {
                track: track.id,
                sequence: self.reader.head_sequence(),
            })
        };
        let Some(start) = &self.segment_start else {
            self.segment_start = Some(SegmentStart {
                micros,
                tracks: starts().collect(),
            });
            return;
        };
        let duration = micros - start.micros;
        if duration >= i64::from(self.settings.segment_millis) * 1000 {
            // The index holds what fits the window; a segment that it refuses is one that nobody can ask for.
            let _ = self.ring.cut_segment(start.micros, duration, 0, &start.tracks);
            self.segment_start = Some(SegmentStart {
                micros,
                tracks: starts().collect(),
            });
        }
    }

    /// Once a second: where media time stands against wall time.
    pub(super) fn observe_clock(&mut self, now: u64) {
        if now < self.clock_observed_at + 1_000_000 || !matches!(self.phase, Phase::Running) {
            return;
        }
        let newest = self
            .reader
            .head_sequence()
            .checked_sub(1)
            .and_then(|newest| self.reader.entry(newest).ok());
        if let Some(entry) = newest {
            self.clock_observed_at = now;
            self.ring
                .observe_clock(entry.dts_micros, clock::wall_micros(), CLOCK_ARRIVAL);
        }
    }

    /// The answer to a viewer's question; the feed is made if it has to be.
    pub fn open(&mut self, open: &Open, home: ShardId, pool: &Arc<Pool>, counters: &AppCounters) -> Opening {
        let Some(packaging) = open.packaging else {
            return Opening::There { home };
        };
        let bytes_per_second = self.bytes_per_second();
        if !self
            .feeds
            .iter()
            .any(|packaged| packaged.packaging == packaging && !packaged.is_ended())
        {
            match self.package(packaging, pool, counters) {
                Ok(Some(packaged)) => self.feeds.push(packaged),
                Ok(None) => return Opening::NothingToCarry,
                Err(_) => return Opening::Busy,
            }
        }
        let found = self
            .feeds
            .iter_mut()
            .find(|packaged| packaged.packaging == packaging && !packaged.is_ended());
        let Some(packaged) = found else { return Opening::Busy };
        packaged.watch(open.from);
        Opening::Feed {
            home,
            feed: packaged.feed().clone(),
            bytes_per_second,
        }
    }

    /// A new feed, filled from the newest keyframe in the ring.
    fn package(
        &mut self,
        packaging: Packaging,
        pool: &Arc<Pool>,
        counters: &AppCounters,
    ) -> Result<Option<Packaged>, penstock_shard::feed::FeedError> {
        if self.feeds.len() >= limits::FEEDS_PER_STREAM_MAX {
            return Ok(None);
        }
        let head = self.reader.head_sequence();
        let from = self.reader.newest_key().unwrap_or(head);
        let in_force = self
            .track_sets
            .iter()
            .rposition(|(sequence, _)| *sequence <= from)
            .unwrap_or(0);
        let Some((_, tracks)) = self.track_sets.get(in_force) else {
            return Ok(None);
        };
        let mux = registry::mux(packaging, &self.name);
        let Some(mut packaged) = Packaged::create(packaging, mux, tracks, pool, self.lag_max_micros)? else {
            return Ok(None);
        };
        let mut breaks = Vec::new();
        if self.reader.breaks(from..head, &mut breaks).is_err() {
            return Ok(Some(packaged));
        }
        let mut breaks = breaks.into_iter().filter(|stands| stands.sequence > from).peekable();
        for sequence in from..head {
            while let Some(stands) = breaks.next_if(|stands| stands.sequence <= sequence) {
                let set = self
                    .track_sets
                    .iter()
                    .rev()
                    .find(|(since, _)| *since <= stands.sequence);
                if let (Some((_, tracks)), Some(kind)) = (set, break_of(stands.kind)) {
                    let fate = packaged.on_break(kind, tracks, counters);
                    packaged.end_if(fate, counters);
                }
            }
            let Ok(entry) = self.reader.payload(sequence, &mut self.payload) else {
                continue;
            };
            if packaged.carries(entry.track) && !packaged.is_ended() {
                let frame = Frame {
                    track: entry.track,
                    dts: entry.dts,
                    offset: entry.offset,
                    key: entry.flags & flags::KEY != 0,
                    data: &self.payload,
                };
                let fate = packaged.frame(&frame, counters);
                packaged.end_if(fate, counters);
            }
        }
        Ok(Some(packaged))
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
        self.gone_since = Some(now);
        self.ring.set_state(State::PublisherGone {
            since_micros: clock::wall_micros(),
        });
    }

    /// The next publisher begins.
    pub fn publisher_came(&mut self, publisher: Publisher) {
        self.rate.since = publisher.since;
        self.publisher = Some(publisher);
        self.gone_since = None;
        self.phase = Phase::Starting(Held::default());
        self.segment_start = None;
        if self.settings.resume == config::Resume::Empty {
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
        }
        self.ring.set_state(State::Ended);
    }
}

/// The oldest GOPs give way when the memory budget is used up.
fn append_or_shrink(ring: &mut ring::Writer, line: &ring::Frame<'_>) -> Result<u64, RingError> {
    loop {
        match ring.append(line) {
            Err(RingError::Full(_)) if ring.drop_oldest_gop() => {}
            result => return result,
        }
    }
}

fn break_of(kind: u8) -> Option<Break> {
    [Break::CodecData, Break::TrackSet, Break::Publisher, Break::TimeJump]
        .into_iter()
        .find(|known| *known as u8 == kind)
}
