//! Older segments of one rendition, made again from the ring because somebody asked: the last few that were, in a feed of
//! their own.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use penstock_proto::media::{Pieces, Segment, SegmentMux};
use penstock_shard::feed::{self, Feed, FeedError};
use penstock_shard::pool::Pool;

use super::Scene;
use super::lane::frame_of;
use super::made::append;
use crate::limits;
use crate::shelf::{Shelved, Source};

#[derive(Debug)]
pub struct Again {
    writer: feed::Writer,
    shelved: VecDeque<Shelved>,
    pieces: Pieces,
    payload: Vec<u8>,
}

/// What is known of a segment's end.
#[derive(Debug)]
pub struct Ends<'a> {
    /// Where its last frame ends, when that is where the next one begins.
    pub until: Option<i64>,
    /// When the segments behind it are shown, and how long they last.
    pub following: &'a [(i64, i64)],
}

impl Again {
    pub fn create(pool: &Arc<Pool>) -> Result<Again, FeedError> {
        let config = feed::Config {
            lag_max_micros: 0,
            bytes_max: limits::AGAIN_BYTES_MAX,
            claimed_bytes_max: limits::FEED_CLAIMED_BYTES_MAX,
        };
        Ok(Again {
            writer: feed::Writer::create(pool, config)?,
            shelved: VecDeque::new(),
            pieces: Pieces::new(),
            payload: Vec::new(),
        })
    }

    pub fn feed(&self) -> &Arc<Feed> {
        self.writer.feed()
    }

    /// Makes `segment` of the frames of `tracks` in `sequences`. False when some have left the ring.
    pub fn make(
        &mut self,
        mux: &mut dyn SegmentMux,
        segment: &Segment,
        tracks: &[u32],
        sequences: Range<u64>,
        ends: &Ends<'_>,
        scene: &Scene<'_>,
    ) -> Result<bool, FeedError> {
        let start = self.writer.feed().head();
        let mut parts = Vec::new();
        self.pieces.clear();
        mux.begin(
            segment.number,
            &scene.tracks_at(sequences.start, tracks),
            &mut self.pieces,
        );
        for sequence in sequences {
            let Ok(entry) = scene.reader.payload(sequence, &mut self.payload) else {
                return Ok(false);
            };
            if tracks.contains(&entry.track) {
                mux.frame(&frame_of(&entry, &self.payload), &mut self.pieces);
                self.take_pieces(&mut parts, start)?;
            }
        }
        mux.following(ends.following);
        mux.end(ends.until, &mut self.pieces);
        self.take_pieces(&mut parts, start)?;
        let end = self.writer.feed().head();
        if end == start {
            return Ok(false);
        }
        self.shelved.push_back(Shelved {
            number: segment.number,
            name_millis: segment.name_millis,
            from: Source::Again,
            range: start..end,
            parts,
        });
        Ok(true)
    }

    fn take_pieces(&mut self, parts: &mut Vec<Range<u64>>, start: u64) -> Result<(), FeedError> {
        for (_, bytes) in self.pieces.iter() {
            let at = self.writer.feed().head();
            // All of one time: what is kept is bounded by bytes alone.
            append(&mut self.writer, &[bytes], at == start, 0, 0)?;
            parts.push(at..at + bytes.len() as u64);
        }
        self.pieces.clear();
        Ok(())
    }

    /// Forgets segments that the feed keeps no more; whether there were some.
    pub fn forget_passed(&mut self) -> bool {
        let tail = self.writer.feed().tail();
        let before = self.shelved.len();
        self.shelved.retain(|shelved| shelved.range.start >= tail);
        self.shelved.len() < before
    }

    pub fn shelved(&self) -> Vec<Shelved> {
        self.shelved.iter().cloned().collect()
    }

    pub fn has(&self, number: u64) -> bool {
        self.shelved.iter().any(|shelved| shelved.number == number)
    }
}
