//! CMAF (stand-in).
//! x
//! x
use super::{
    lane::Lane,
    wire::{MovieTrack, Run, write_chunk, write_movie},
};
use crate::media::{Frame, Piece, Pieces, SegmentMux, Track};

#[derive(Debug)]
pub struct Cmaf {
    part_ticks: i64,
    number: u64,
    part: u32,
    lane: Option<Lane>,
}

impl Cmaf {
    pub fn new(part_ticks: i64) -> Self {
        Cmaf {
            part_ticks,
            number: 0,
            part: 0,
            lane: None,
        }
    }
    fn push(&mut self, count: usize, out: &mut Pieces) {
        let Some(lane) = &mut self.lane else { return };
        if count == 0 {
            return;
        }
        let first = lane.samples()[0];
        let span = lane.span(count);
        let sequence = (self.number as u32).wrapping_mul(1024).wrapping_add(self.part + 1);
        let piece = Piece {
            end: 0,
            dts: first.dts,
            duration: span,
            independent: first.key,
        };
        let empty = Run {
            track_id: 0,
            default_flags: 0,
            samples: &[],
            bytes: &[],
        };
        out.push(piece, |out| write_chunk(out, sequence, [lane.run(count), empty]));
        lane.drop_front(count);
        self.part += 1;
    }
}

impl SegmentMux for Cmaf {
    fn carries(&self, track: &Track) -> bool {
        Lane::new(track).is_some()
    }
    fn begin(&mut self, number: u64, tracks: &[Track], _out: &mut Pieces) {
        self.lane = tracks.first().and_then(Lane::new);
        (self.number, self.part) = (number, 0);
    }
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Pieces) {
        let Some(lane) = &mut self.lane else { return };
        if frame.data.is_empty() {
            return;
        }
        lane.close_at(frame.dts);
        if !lane.samples().is_empty() && lane.is_full(self.part_ticks) {
            let count = lane.fit(self.part_ticks);
            self.push(count, out);
        }
        if let Some(lane) = &mut self.lane {
            lane.append(frame.dts.max(0), frame);
        }
    }
    fn end(&mut self, until: Option<i64>, out: &mut Pieces) {
        if let Some(lane) = &mut self.lane {
            match until {
                Some(until) => lane.close_at(until),
                None => lane.close(),
            }
        }
        while let Some(count) = self
            .lane
            .as_ref()
            .map(|lane| lane.fit(self.part_ticks))
            .filter(|count| *count > 0)
        {
            self.push(count, out);
        }
    }
    fn init(&self, out: &mut Vec<u8>) {
        if let Some(lane) = &self.lane {
            let track = MovieTrack {
                track_id: lane.track_id,
                kind: lane.kind(),
                timescale: lane.timescale(),
                width: lane.width,
                height: lane.height,
                entry: &lane.entry,
                default_flags: lane.default_flags(),
                media_time: None,
            };
            write_movie(out, [track].into_iter());
        }
    }
}
