//! The muxer: frames in, chunks out. See the front page of [`super`] for its invariants.
//!
//! One track *leads*: video, or audio when there is no video. Its frames decide where chunks are cut; audio beside video
//! *follows*.

use super::{
    lane::{Lane, carries},
    limits,
    wire::{MovieTrack, Run, write_chunk, write_movie},
};
use crate::media::{Break, Frame, Kind, Mux, Records, Track, Verdict, rescale};

/// Owned by the stream's home shard.
#[derive(Debug, Default)]
pub struct Muxer {
    lead: Option<Lane>,
    follow: Option<Lane>,
    /// Seconds added to every time, so that none is below zero; zero for all streams but those that begin before zero.
    shift_seconds: Option<i64>,
    /// Ticks by which pictures are decoded before the stream's time, so that none is shown before it is decoded.
    early: i64,
    /// Decode time of the last picture, as written.
    decoded: Option<i64>,
    /// `mfhd` number of the last chunk.
    sequence_number: u32,
    join: Option<Join>,
    /// A join was pushed in this call; its header is not yet asked for.
    join_pushed: bool,
    ended: bool,
}

/// The last join that was pushed.
#[derive(Clone, Copy, Debug)]
struct Join {
    /// Decode time of the leading track, ticks.
    dts: i64,
    /// Per track what is shown first, ticks.
    lead_time: i64,
    follow_time: i64,
}

impl Muxer {
    pub fn new() -> Self {
        Self::default()
    }

    fn take_tracks(&mut self, tracks: &[Track]) {
        let (video, audio) = chosen(tracks);
        let (video, audio) = (video.and_then(Lane::new), audio.and_then(Lane::new));
        (self.lead, self.follow) = match video {
            Some(video) => (Some(video), audio),
            None => (audio, None),
        };
    }

    /// Whether the `moov` that viewers have holds for `tracks`. Takes over their ids when so.
    fn accept_tracks(&mut self, tracks: &[Track]) -> bool {
        let (video, audio) = chosen(tracks);
        let (lead, follow) = if video.is_some() { (video, audio) } else { (audio, None) };
        accept(&mut self.lead, lead) && accept(&mut self.follow, follow)
    }

    fn shift(&mut self, frame: &Frame<'_>, timescale: u32) -> i64 {
        let seconds = *self.shift_seconds.get_or_insert_with(|| {
            let earliest = frame.dts.saturating_add(i64::from(frame.offset.min(0)));
            match earliest {
                0.. => 0,
                before => rescale(before, timescale, 1)
                    .saturating_neg()
                    .saturating_add(SHIFT_SPARE_SECONDS),
            }
        });
        seconds.saturating_mul(i64::from(timescale))
    }

    /// Decode time and offset of a leading frame. A negative offset (Wirecast) could be written, but ffmpeg, and so every
    /// player on it, adds the largest of them to what it shows of a fragmented file, and to the pictures alone.
    fn decoded_first(&mut self, dts: i64, frame: &Frame<'_>, timescale: u32) -> (i64, i32) {
        let early_max = i64::from(timescale) * i64::from(limits::EARLY_MILLIS_MAX) / 1000;
        self.early = self.early.max(i64::from(frame.offset).saturating_neg().min(early_max));
        let mut moved = dts.saturating_sub(self.early);
        // Having just begun to be earlier must not turn time back.
        if let Some(last) = self.decoded
            && self.early > 0
            && (0..=early_max).contains(&last.saturating_sub(moved))
        {
            moved = last.saturating_add(1);
        }
        self.decoded = Some(moved);
        let offset = i64::from(frame.offset).saturating_add(dts.saturating_sub(moved));
        (moved, i32::try_from(offset).unwrap_or(frame.offset))
    }

    fn lead_frame(&mut self, dts: i64, frame: &Frame<'_>, out: &mut Records) {
        let lead = self.lead.as_mut().expect("the frame is of the leading track");
        let key = frame.key || lead.kind() == Kind::Audio;
        if lead.samples().is_empty() && self.join.is_none() && !key {
            return;
        }
        lead.close_at(dts);
        let new_gop = frame.key && lead.kind() == Kind::Video;
        self.cut(if new_gop { Cut::All } else { Cut::Full }, out);
        if let Some(lead) = &mut self.lead {
            lead.append(dts, frame);
        }
    }

    fn follow_frame(&mut self, dts: i64, frame: &Frame<'_>, out: &mut Records) {
        let follow = self.follow.as_mut().expect("the frame is of the following track");
        follow.close_at(dts);
        follow.append(dts, frame);
        while let Some(follow) = &mut self.follow {
            let held = follow.complete().len();
            if follow.span(held) <= follow.ticks(limits::HELD_MILLIS_MAX) && held < limits::HELD_FRAMES_MAX {
                break;
            }
            let count = follow.fit(follow.ticks(limits::CHUNK_MILLIS_MAX));
            let lead_count = self.lead.as_ref().map_or(0, |lead| lead.complete().len());
            if lead_count > 0 {
                // Pictures stopped in the middle of a chunk: no use in waiting to fill it.
                self.push_chunk(lead_count, out);
            } else if self.join.is_some() {
                self.push_follow(count, out);
            } else {
                // Nobody can hear what is before the first join.
                follow.drop_front(count);
            }
        }
    }

    /// Pushes what the leading track has, all of it complete.
    fn cut(&mut self, cut: Cut, out: &mut Records) {
        while let Some(lead) = &self.lead {
            let count = lead.samples().len();
            let ticks = lead.ticks(limits::CHUNK_MILLIS_MAX);
            let fitting = lead.fit(ticks);
            if count == 0 || (fitting == count && cut == Cut::Full && !lead.is_full(ticks)) {
                return;
            }
            self.push_chunk(fitting, out);
        }
    }

    /// Pushes the first `count` samples of the leading track with the audio of their time.
    fn push_chunk(&mut self, count: usize, out: &mut Records) {
        let join = self.is_join();
        self.settle_follow_before(join, out);
        let (Some(lead), sequence_number) = (&self.lead, self.sequence_number.wrapping_add(1)) else {
            return;
        };
        let (first, last) = (lead.samples()[0], lead.samples()[count - 1]);
        let follow_count = self.follow.as_ref().map_or(0, |follow| {
            let span = rescale(lead.span(count), lead.timescale(), follow.timescale());
            let fitting = follow.fit(span.max(follow.ticks(limits::CHUNK_MILLIS_MAX)));
            follow.count_before(last.end(), lead.timescale()).min(fitting)
        });
        let follow_run = self
            .follow
            .as_ref()
            .map_or(EMPTY_RUN, |follow| follow.run(follow_count));
        let shift = self
            .shift_seconds
            .unwrap_or(0)
            .saturating_mul(i64::from(lead.timescale()));
        out.push(join, first.dts.saturating_sub(shift), lead.timescale(), |out| {
            write_chunk(out, sequence_number, [lead.run(count), follow_run]);
        });
        if join {
            self.join = Some(self.join_at());
            self.join_pushed = true;
        }
        self.sequence_number = sequence_number;
        if let Some(lead) = &mut self.lead {
            lead.drop_front(count);
        }
        if let Some(follow) = &mut self.follow {
            follow.drop_front(follow_count);
        }
    }

    /// Audio from before the leading track's first sample does not belong into a join.
    fn settle_follow_before(&mut self, join: bool, out: &mut Records) {
        let (Some(lead), Some(follow), true) = (&self.lead, &self.follow, join) else {
            return;
        };
        let mut before = lead.samples()[0].dts;
        if self.join.is_none() {
            // No chunk can go before the first join: it carries the sound that came just ahead of its picture itself.
            before = before.saturating_sub(lead.ticks(limits::CHUNK_MILLIS_MAX));
        }
        let mut early = follow.count_before(before, lead.timescale());
        while let (Some(follow), 1..) = (&mut self.follow, early) {
            let count = follow.fit(follow.ticks(limits::CHUNK_MILLIS_MAX)).min(early);
            early -= count;
            if self.join.is_some() {
                self.push_follow(count, out);
            } else {
                // Before the first join there is no viewer.
                follow.drop_front(count);
            }
        }
    }

    /// Pushes the first `count` samples of the following track alone.
    fn push_follow(&mut self, count: usize, out: &mut Records) {
        let Some(follow) = &mut self.follow else { return };
        self.sequence_number = self.sequence_number.wrapping_add(1);
        let shift = self
            .shift_seconds
            .unwrap_or(0)
            .saturating_mul(i64::from(follow.timescale()));
        let dts = follow.samples()[0].dts.saturating_sub(shift);
        out.push(false, dts, follow.timescale(), |out| {
            write_chunk(out, self.sequence_number, [EMPTY_RUN, follow.run(count)]);
        });
        follow.drop_front(count);
    }

    /// Whether the chunk that begins with the leading track's first sample is a join.
    fn is_join(&self) -> bool {
        let Some(lead) = &self.lead else { return false };
        let first = lead.samples()[0];
        // One header can be asked for per call.
        if !first.key || self.join_pushed {
            return false;
        }
        match (lead.kind(), self.join) {
            (Kind::Audio, Some(join)) => first.dts.saturating_sub(join.dts) >= lead.ticks(limits::JOIN_MILLIS_MIN),
            _ => true,
        }
    }

    /// What a viewer who starts with the leading track's first sample sees at time zero: that sample, or, when its picture is
    /// shown later than it is decoded, the audio that plays meanwhile.
    fn join_at(&self) -> Join {
        let lead = self.lead.as_ref().expect("a join has a leading sample");
        let first = lead.samples()[0];
        let shown = first.dts.saturating_add(i64::from(first.offset));
        let mut join = Join {
            dts: first.dts,
            lead_time: shown,
            follow_time: 0,
        };
        let Some(follow) = &self.follow else { return join };
        join.follow_time = rescale(shown, lead.timescale(), follow.timescale());
        if let Some(heard) = follow.samples().first() {
            let heard_ticks = rescale(heard.dts, follow.timescale(), lead.timescale());
            if (first.dts..shown).contains(&heard_ticks) {
                (join.lead_time, join.follow_time) = (heard_ticks, heard.dts);
            }
        }
        join
    }

    fn flush(&mut self, out: &mut Records) {
        if let Some(lead) = &mut self.lead {
            lead.close();
        }
        if let Some(follow) = &mut self.follow {
            follow.close();
        }
        self.cut(Cut::All, out);
        while let Some(follow) = &self.follow {
            let count = follow.fit(follow.ticks(limits::CHUNK_MILLIS_MAX));
            if count == 0 || self.join.is_none() {
                return;
            }
            self.push_follow(count, out);
        }
    }
}

impl Mux for Muxer {
    fn carries(&self, track: &Track) -> bool {
        carries(track)
    }

    fn start(&mut self, tracks: &[Track]) {
        *self = Self::default();
        self.take_tracks(tracks);
    }

    /// The open frame of each track stays open over a break that goes on: it lasts until what follows.
    fn on_break(&mut self, _kind: Break, tracks: &[Track], out: &mut Records) -> Verdict {
        self.join_pushed = false;
        if self.ended {
            return Verdict::End;
        }
        if self.accept_tracks(tracks) {
            return Verdict::Continue;
        }
        if self.join.is_none() {
            // Nobody has a `moov` yet.
            self.take_tracks(tracks);
            return Verdict::Continue;
        }
        self.flush(out);
        self.ended = true;
        Verdict::End
    }

    /// Frames without bytes, of tracks that are not carried, before the first keyframe, or behind the end are left out.
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Records) {
        assert!(frame.data.len() <= limits::FRAME_BYTES_MAX, "the ring bounds frames");
        self.join_pushed = false;
        if self.ended || frame.data.is_empty() {
            return;
        }
        let leads = self.lead.as_ref().is_some_and(|lane| lane.is_of(frame));
        let lane = if leads { &self.lead } else { &self.follow };
        let Some(lane) = lane.as_ref().filter(|lane| lane.is_of(frame)) else {
            return;
        };
        let (timescale, newest) = (lane.timescale(), lane.samples().last().map_or(0, |sample| sample.dts));
        let dts = frame.dts.saturating_add(self.shift(frame, timescale));
        if dts < 0 {
            // Only another track's start, before a stream that began at zero or later: no player shows it.
            return;
        }
        if leads {
            let (dts, offset) = self.decoded_first(dts, frame, timescale);
            debug_assert!(dts >= newest, "decode time does not fall within a track");
            self.lead_frame(dts.max(newest), &Frame { offset, ..*frame }, out);
        } else {
            debug_assert!(dts >= newest, "decode time does not fall within a track");
            self.follow_frame(dts.max(newest), frame, out);
        }
    }

    fn finish(&mut self, out: &mut Records) {
        self.join_pushed = false;
        if !self.ended {
            self.flush(out);
            self.ended = true;
        }
    }

    fn join_header(&self, out: &mut Vec<u8>) {
        let Some(join) = self.join else {
            debug_assert!(false, "a join was pushed");
            return;
        };
        let tracks = [(&self.lead, join.lead_time), (&self.follow, join.follow_time)];
        let tracks = tracks.iter().filter_map(|(lane, time)| {
            let lane = lane.as_ref()?;
            Some(MovieTrack {
                track_id: lane.track_id,
                kind: lane.kind(),
                timescale: lane.timescale(),
                width: lane.width,
                height: lane.height,
                entry: &lane.entry,
                default_flags: lane.default_flags(),
                media_time: Some(u64::try_from(*time).unwrap_or(0)),
            })
        });
        write_movie(out, &BRANDS, tracks);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// What is as long as a chunk may be.
    Full,
    /// Everything.
    All,
}

/// The first video and the first audio track that MP4 can carry.
fn chosen(tracks: &[Track]) -> (Option<&Track>, Option<&Track>) {
    let first = |kind| {
        tracks
            .iter()
            .find(|track| track.kind() == kind && Lane::new(track).is_some())
    };
    (first(Kind::Video), first(Kind::Audio))
}

fn accept(lane: &mut Option<Lane>, track: Option<&Track>) -> bool {
    match (lane, track) {
        (Some(lane), Some(track)) => lane.accept(track),
        (None, None) => true,
        _ => false,
    }
}

pub const EMPTY_RUN: Run<'static> = Run {
    track_id: 0,
    default_flags: 0,
    samples: &[],
    bytes: &[],
};

/// What `ftyp` says, the major brand first.
const BRANDS: [&[u8; 4]; 3] = [b"iso6", b"isom", b"mp41"];

/// Room below the first time of a stream that begins before zero: other tracks may begin earlier still.
const SHIFT_SPARE_SECONDS: i64 = 3600;
