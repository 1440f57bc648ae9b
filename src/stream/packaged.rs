//! One packaging of one stream: a muxer, the feed it fills, and who watches.

use std::sync::Arc;

use penstock_proto::media::{Break, Frame, Kind, Mux, Records, Track, Verdict};
use penstock_shard::core::FeedId;
use penstock_shard::feed::{self, Feed, FeedError, Headers, Record};
use penstock_shard::mesh::ShardId;
use penstock_shard::pool::Pool;

use crate::counters::AppCounters;
use crate::limits;
use crate::registry::Packaging;

/// Owned by the stream's home shard; the feed in it is read by all.
#[derive(Debug)]
pub struct Packaged {
    pub packaging: Packaging,
    mux: Box<dyn Mux>,
    writer: feed::Writer,
    /// Tracks that the muxer was told of.
    carried: Vec<u32>,
    records: Records,
    join_header: Vec<u8>,
    skip_header: Vec<u8>,
    /// One bit a shard that has viewers or is about to.
    watchers: u64,
    /// When its last watcher left, µs of the shard's clock.
    pub unused_since: Option<u64>,
    /// This shard's own name of the feed, while it has viewers here.
    pub local: Option<FeedId>,
    grown: bool,
}

/// Whether the feed can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Goes,
    /// Its container could not express what followed.
    EndedByBreak,
    /// There was no memory for the next record.
    EndedByMemory,
    /// A shard that stands still holds too much of it.
    EndedByClaims,
}

impl Packaged {
    /// A feed of the first video and the first audio track that `packaging` can carry, unless its viewers have chosen;
    /// nothing if there are none. `moment`: a stream time and the wall's, if they are known.
    pub fn create(
        packaging: Packaging,
        mut mux: Box<dyn Mux>,
        tracks: &[Track],
        pool: &Arc<Pool>,
        lag_max_micros: u64,
        moment: Option<(i64, i64)>,
    ) -> Result<Option<Packaged>, FeedError> {
        let carried = carried(packaging, &*mux, tracks);
        if carried.is_empty() {
            return Ok(None);
        }
        let config = feed::Config {
            lag_max_micros,
            bytes_max: limits::FEED_BYTES_MAX,
            claimed_bytes_max: limits::FEED_CLAIMED_BYTES_MAX,
        };
        let writer = feed::Writer::create(pool, config)?;
        if let Some((stream_micros, unix_micros)) = moment {
            mux.wall_clock(stream_micros, unix_micros);
        }
        mux.start(&carried);
        Ok(Some(Packaged {
            packaging,
            mux,
            writer,
            carried: carried.iter().map(|track| track.id).collect(),
            records: Records::new(),
            join_header: Vec::new(),
            skip_header: Vec::new(),
            watchers: 0,
            unused_since: None,
            local: None,
            grown: false,
        }))
    }

    /// # Panics
    /// When its feed contradicts itself.
    pub fn check_invariants(&self) {
        self.writer.check_invariants();
    }

    pub fn feed(&self) -> &Arc<Feed> {
        self.writer.feed()
    }

    /// Whether frames of `track` go into this packaging.
    pub fn carries(&self, track: u32) -> bool {
        self.carried.contains(&track)
    }

    pub fn is_ended(&self) -> bool {
        self.feed().is_ended()
    }

    /// Ends the feed when it cannot go on.
    pub fn end_if(&mut self, fate: Fate, counters: &AppCounters) {
        match fate {
            Fate::Goes => return,
            Fate::EndedByBreak => {
                counters.feeds_ended_break.add(1);
                if !self.is_ended() {
                    self.finish(counters);
                }
                return;
            }
            Fate::EndedByMemory => counters.feeds_ended_memory.add(1),
            Fate::EndedByClaims => counters.feeds_ended_claims.add(1),
        }
        // A record is missing: what the muxer still holds would stand behind a hole, in the middle of a GOP.
        self.writer.finish();
        self.grown = true;
    }

    pub fn watch(&mut self, shard: ShardId) {
        self.watchers |= shard.bit();
        self.unused_since = None;
    }

    /// The shards that have viewers or are about to, a bit each.
    pub fn watchers(&self) -> u64 {
        self.watchers
    }

    pub fn unwatch(&mut self, shard: ShardId, now: u64) {
        self.watchers &= !shard.bit();
        if self.watchers == 0 {
            self.unused_since = Some(now);
        }
    }

    /// One frame of the stream, in its order.
    pub fn frame(&mut self, frame: &Frame<'_>, counters: &AppCounters) -> Fate {
        if self.is_ended() {
            return Fate::Goes;
        }
        counters.frames_muxed.add(1);
        self.records.clear();
        self.mux.frame(frame, &mut self.records);
        self.append(counters)
    }

    pub fn on_break(&mut self, kind: Break, tracks: &[Track], counters: &AppCounters) -> Fate {
        self.records.clear();
        if self.is_ended() {
            return Fate::Goes;
        }
        let carried = carried(self.packaging, &*self.mux, tracks);
        self.carried = carried.iter().map(|track| track.id).collect();
        let verdict = self.mux.on_break(kind, &carried, &mut self.records);
        match (self.append(counters), verdict) {
            (Fate::Goes, Verdict::End) => Fate::EndedByBreak,
            (fate, _) => fate,
        }
    }

    /// Where stream time stands on the wall's clock.
    pub fn wall_clock(&mut self, stream_micros: i64, unix_micros: i64) {
        if !self.is_ended() {
            self.mux.wall_clock(stream_micros, unix_micros);
        }
    }

    /// The container's end; the feed takes nothing more.
    pub fn finish(&mut self, counters: &AppCounters) {
        self.records.clear();
        self.mux.finish(&mut self.records);
        // Without memory for its last words, which may be frames, the feed ends without them.
        if self.append(counters) == Fate::EndedByMemory {
            counters.feeds_ended_memory.add(1);
        }
        self.writer.finish();
        self.grown = true;
    }

    /// Whether viewers have something new since the last call.
    pub fn take_grown(&mut self) -> bool {
        std::mem::take(&mut self.grown)
    }

    fn append(&mut self, counters: &AppCounters) -> Fate {
        let Packaged {
            records,
            mux,
            writer,
            join_header,
            skip_header,
            ..
        } = self;
        for (mark, bytes) in records.iter() {
            let join = mark.join.then(|| {
                join_header.clear();
                skip_header.clear();
                mux.join_header(join_header);
                mux.skip_header(skip_header);
                Headers {
                    join: join_header,
                    skip: skip_header,
                }
            });
            let record = Record {
                bytes: &[bytes],
                join,
                dts_micros: mark.dts_micros,
                flags: 0,
            };
            match writer.append(&[record]) {
                Ok(()) => {}
                Err(FeedError::Claimed { .. }) => return Fate::EndedByClaims,
                Err(_) => return Fate::EndedByMemory,
            }
            counters.records_out.add(1);
            self.grown = true;
        }
        Fate::Goes
    }
}

/// What viewers get who ask for nothing else: the first picture and the first sound that the packaging can carry. Other
/// renditions and languages would cost each of them several times the bytes.
fn carried(packaging: Packaging, mux: &dyn Mux, tracks: &[Track]) -> Vec<Track> {
    if let Packaging::Rtsp(_) = packaging {
        // Its muxer knows what was chosen, also when another publisher counts its tracks in another order.
        return tracks.iter().filter(|track| mux.carries(track)).cloned().collect();
    }
    let first = |kind| tracks.iter().find(|track| track.kind() == kind && mux.carries(track));
    let found = [first(Kind::Video), first(Kind::Audio)];
    found.into_iter().flatten().cloned().collect()
}
