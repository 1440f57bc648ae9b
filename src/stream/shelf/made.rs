//! The segments of one rendition as they are made: their muxer, the feed they are ranges of, and the same in HTTP chunks
//! while somebody fetches a segment that grows.

use std::collections::VecDeque;
use std::sync::Arc;

use penstock_proto::http;
use penstock_proto::media::{Frame, Part, Piece, Pieces, Segment, SegmentMux, Track, rescale};
use penstock_shard::feed::{self, Feed, FeedError, Headers, Record};
use penstock_shard::pool::Pool;

use crate::counters::AppCounters;
use crate::limits;
use crate::shelf::{ENDS_SEGMENT, Growing, Shelved, Source};

#[derive(Debug)]
pub struct Made {
    mux: Box<dyn SegmentMux>,
    pieces: Pieces,
    live: feed::Writer,
    chunked: Option<feed::Writer>,
    timescale: u32,
    has_parts: bool,
    /// Initialization segments by generation, newest last.
    pub inits: Vec<(u32, Arc<[u8]>)>,
    shelved: VecDeque<Shelved>,
    pub growing: Option<Growing>,
    keep_micros: u64,
    scratch: Vec<u8>,
    /// Viewers of the feeds have something new.
    grown: bool,
}

impl Made {
    pub fn create(
        mux: Box<dyn SegmentMux>,
        pool: &Arc<Pool>,
        keep_micros: u64,
        has_parts: bool,
    ) -> Result<Made, FeedError> {
        Ok(Made {
            mux,
            pieces: Pieces::new(),
            live: writer(pool, keep_micros)?,
            chunked: None,
            timescale: 1,
            has_parts,
            inits: Vec::new(),
            shelved: VecDeque::new(),
            growing: None,
            keep_micros,
            scratch: Vec::new(),
            grown: false,
        })
    }

    pub fn live(&self) -> &Arc<Feed> {
        self.live.feed()
    }

    pub fn chunked(&self) -> Option<&Arc<Feed>> {
        self.chunked.as_ref().map(feed::Writer::feed)
    }

    /// Whether its feeds have grown since the last call.
    pub fn take_grown(&mut self) -> bool {
        std::mem::take(&mut self.grown)
    }

    /// A segment begins.
    pub fn begin(&mut self, segment: &mut Segment, tracks: &[Track], counters: &AppCounters) -> Result<(), FeedError> {
        self.timescale = tracks.first().map_or(1, |track| track.timescale);
        self.pieces.clear();
        self.mux.begin(segment.number, tracks, &mut self.pieces);
        let start = self.live.feed().head();
        self.growing = Some(Growing {
            number: segment.number,
            name_millis: segment.name_millis,
            parts: Vec::new(),
            start,
            chunks: self.chunked().map(|chunked| chunked.head()).into_iter().collect(),
        });
        self.take_pieces(segment, counters)?;
        Ok(())
    }

    /// One frame of the growing segment; how many pieces it completed.
    pub fn frame(
        &mut self,
        frame: &Frame<'_>,
        segment: &mut Segment,
        counters: &AppCounters,
    ) -> Result<usize, FeedError> {
        if self.growing.is_none() {
            return Ok(0);
        }
        counters.frames_muxed.add(1);
        self.pieces.clear();
        self.mux.frame(frame, &mut self.pieces);
        // Some codecs are described by a first frame alone.
        if self.inits.last().is_none_or(|(known, _)| *known != segment.generation) {
            self.keep_init(segment.generation);
        }
        self.take_pieces(segment, counters)
    }

    /// The initialization segment of another generation.
    fn keep_init(&mut self, generation: u32) {
        self.inits.retain(|(known, _)| *known != generation);
        if self.inits.len() == limits::INITS_MAX {
            self.inits.remove(0);
        }
        self.scratch.clear();
        self.mux.init(&mut self.scratch);
        self.inits.push((generation, Arc::from(&self.scratch[..])));
    }

    /// The growing segment is complete.
    pub fn end(&mut self, until: Option<i64>, segment: &mut Segment, counters: &AppCounters) -> Result<(), FeedError> {
        self.pieces.clear();
        if self.growing.is_none() {
            return Ok(());
        }
        self.mux.end(until, &mut self.pieces);
        self.take_pieces(segment, counters)?;
        let Some(growing) = self.growing.take() else {
            return Ok(());
        };
        if let Some(chunked) = &mut self.chunked {
            append(chunked, &[http::LAST_CHUNK], false, 0, ENDS_SEGMENT)?;
        }
        self.grown = true;
        let end = self.live.feed().head();
        segment.bytes = Some(end - growing.start);
        if end > growing.start {
            counters.segments_made.add(1);
            self.shelved.push_back(Shelved {
                number: growing.number,
                name_millis: growing.name_millis,
                from: Source::Live,
                range: growing.start..end,
                parts: growing.parts,
            });
        }
        Ok(())
    }

    fn take_pieces(&mut self, segment: &mut Segment, counters: &AppCounters) -> Result<usize, FeedError> {
        let Made {
            pieces,
            live,
            chunked,
            growing,
            scratch,
            ..
        } = self;
        let Some(growing) = growing else { return Ok(0) };
        let mut count = 0;
        for (piece, bytes) in pieces.iter() {
            let start = live.feed().head();
            let micros = rescale(piece.dts, self.timescale, 1_000_000);
            append(live, &[bytes], start == growing.start, micros, 0)?;
            growing.parts.push(start..start + bytes.len() as u64);
            if let Some(chunked) = chunked {
                scratch.clear();
                http::chunk_head(bytes.len(), scratch);
                let is_first = growing.chunks.len() <= 1;
                append(chunked, &[scratch, bytes, http::CHUNK_END], is_first, micros, 0)?;
                growing.chunks.push(chunked.feed().head());
            }
            if self.has_parts {
                segment.parts.push(part_of(piece, start - growing.start, bytes));
            }
            counters.records_out.add(1);
            count += 1;
        }
        self.grown |= count > 0;
        Ok(count)
    }

    /// From here on the growing segment is there in HTTP chunks too, from its begin.
    pub fn chunk(&mut self, pool: &Arc<Pool>) -> Result<(), FeedError> {
        if self.chunked.is_some() {
            return Ok(());
        }
        let mut chunked = writer(pool, self.keep_micros)?;
        if let Some(growing) = &mut self.growing {
            growing.chunks = vec![chunked.feed().head()];
            let mut bytes = Vec::new();
            for part in &growing.parts {
                bytes.clear();
                bytes.resize((part.end - part.start) as usize, 0);
                // This shard alone moves the feed's tail, and never past the segment that grows.
                let is_there = self.live.feed().copy_out(part.start, &mut bytes);
                debug_assert!(is_there);
                self.scratch.clear();
                http::chunk_head(bytes.len(), &mut self.scratch);
                let record = [&self.scratch[..], &bytes, http::CHUNK_END];
                append(&mut chunked, &record, growing.chunks.len() == 1, 0, 0)?;
                growing.chunks.push(chunked.feed().head());
            }
        }
        self.chunked = Some(chunked);
        Ok(())
    }

    /// Forgets segments that the feed keeps no more; whether there were some.
    pub fn forget_passed(&mut self) -> bool {
        let tail = self.live.feed().tail();
        let before = self.shelved.len();
        while self.shelved.front().is_some_and(|shelved| shelved.range.start < tail) {
            self.shelved.pop_front();
        }
        self.shelved.len() < before
    }

    pub fn shelved(&self) -> impl Iterator<Item = Shelved> + '_ {
        self.shelved.iter().cloned()
    }

    pub fn has(&self, number: u64) -> bool {
        self.shelved.iter().any(|shelved| shelved.number == number)
    }

    /// Of the oldest segment that is there.
    pub fn first_number(&self) -> Option<u64> {
        self.shelved.front().map(|shelved| shelved.number)
    }
}

pub fn part_of(piece: &Piece, offset: u64, bytes: &[u8]) -> Part {
    Part {
        duration: piece.duration,
        independent: piece.independent,
        offset,
        bytes: bytes.len() as u64,
    }
}

fn writer(pool: &Arc<Pool>, keep_micros: u64) -> Result<feed::Writer, FeedError> {
    let config = feed::Config {
        lag_max_micros: keep_micros,
        bytes_max: limits::FEED_BYTES_MAX,
        claimed_bytes_max: limits::FEED_CLAIMED_BYTES_MAX,
    };
    feed::Writer::create(pool, config)
}

pub fn append(
    writer: &mut feed::Writer,
    bytes: &[&[u8]],
    begins_segment: bool,
    dts_micros: i64,
    flags: u32,
) -> Result<(), FeedError> {
    let join = begins_segment.then_some(Headers { join: &[], skip: &[] });
    let record = Record {
        bytes,
        join,
        dts_micros,
        flags,
    };
    writer.append(&[record])
}
