//! The muxer: tables, PCR and PES packets of one stream, made once for all its viewers.
//!
//! Every frame is one PES packet and goes out at once: two audio frames in one would save up to a packet of overhead and
//! cost a frame of latency.
//!
//! Continuity: a counter belongs to its PID and counts packets with payload only. A viewer that is moved to a later join
//! record gets one adaptation-only packet per PID first ([`Mux::skip_header`]). It sets `discontinuity_indicator` and
//! has the counter of the packet *before* the join record's first one, so that the following packet is one more
//! (2.4.3.3); on the PCR's PID it has a PCR just below that of the join record, because the indicator of that PID holds
//! until the first PCR of the new time base (2.4.3.5).

pub(super) mod clock;
pub(super) mod line;
#[cfg(test)]
pub(super) mod scene;
pub(super) mod tables;
#[cfg(test)]
mod tests;

use self::clock::{Carrier, Clock, INTERVAL, Step};
use self::line::{Line, put_bare};
use self::tables::Tables;
use super::limits::{AUDIO_JOIN_INTERVAL_MS, CLOCK_PER_MS, TRACKS_MAX};
use super::wire::{Adaptation, CLOCK_HZ, PID_PAT, PID_SDT, Pcr};
use crate::media::{self, Break, Frame, Kind, Records, Track, Verdict};

/// PID of the PMT.
pub const PID_PMT: u16 = 0x1000;

/// PID of the first track; the others follow in track order.
pub const PID_FIRST: u16 = 0x100;

/// One stream as a program of its own. Owned by the stream's home shard.
#[derive(Debug)]
pub struct Mux {
    /// The service's name in the SDT.
    name: String,
    lines: Vec<Line>,
    /// Lines whose tracks have gone, the last one first: a track that comes back has its PID, by which players know it.
    former: Vec<Line>,
    /// Index of the line with the PCR: the first video track, else the first audio track.
    pcr_line: usize,
    pid_next: u16,
    tables: Tables,
    pmt_version: u8,
    clock: Clock,
    /// Media time of the last join of an audio-only program, 27 MHz.
    joined: Option<i64>,
    /// The PES packet at work.
    pes: Vec<u8>,
    skip: Vec<u8>,
}

impl Mux {
    /// `name` is the stream's, for the service name.
    pub fn new(name: &str) -> Self {
        Mux {
            name: name.to_owned(),
            lines: Vec::new(),
            former: Vec::new(),
            pcr_line: 0,
            pid_next: PID_FIRST,
            tables: Tables::default(),
            pmt_version: 0,
            clock: Clock::default(),
            joined: None,
            pes: Vec::new(),
            skip: Vec::new(),
        }
    }

    /// Frames that were sent behind the PCR, because their track lags behind the others by seconds.
    pub fn late_frames(&self) -> u64 {
        self.clock.late_frames()
    }

    /// Lines for `tracks`. A line goes on for the track with its id and codec, else (another publisher) for one of its
    /// codec, in order; a new line has a PID that no line had lately.
    fn assign(&mut self, tracks: &[Track]) {
        let mut before = std::mem::take(&mut self.lines);
        let ids: Vec<u32> = before.iter().map(|line| line.track).collect();
        let pids: Vec<u16> = before.iter().chain(&self.former).map(|line| line.pid).collect();
        for track in tracks.iter().filter(|track| line::carries(track)).take(TRACKS_MAX) {
            let is_same = |line: &Line| line.track == track.id && line.codec == track.codec;
            let same = before.iter().position(is_same);
            let free = || {
                let gone = |line: &Line| {
                    !tracks
                        .iter()
                        .any(|track| track.id == line.track && track.codec == line.codec)
                };
                let fresh = !ids.contains(&track.id);
                before
                    .iter()
                    .position(|line| fresh && line.codec == track.codec && gone(line))
            };
            let known = match same.or_else(free) {
                Some(index) => Some(before.remove(index)),
                None => {
                    let back = self.former.iter().position(is_same);
                    back.map(|index| self.former.remove(index))
                }
            };
            match known {
                Some(mut line) => {
                    line.adopt(track);
                    self.lines.push(line);
                }
                None => {
                    let pid = self.fresh_pid(&pids);
                    self.lines.push(Line::new(track, pid));
                }
            }
        }
        before.append(&mut self.former);
        before.truncate(TRACKS_MAX);
        self.former = before;
        let first = |kind| self.lines.iter().position(|line| line.codec.kind() == kind);
        self.pcr_line = first(Kind::Video).or_else(|| first(Kind::Audio)).unwrap_or(0);
    }

    fn fresh_pid(&mut self, taken: &[u16]) -> u16 {
        loop {
            let pid = self.pid_next;
            self.pid_next = if pid + 1 == PID_PMT { PID_FIRST } else { pid + 1 };
            if !taken.contains(&pid) && self.lines.iter().all(|line| line.pid != pid) {
                return pid;
            }
        }
    }

    /// Makes the sections anew; a PMT that differs has the next version.
    fn describe(&mut self, version: Version) {
        let tables = &mut self.tables;
        let before = std::mem::take(&mut tables.pmt);
        let mut pmt = tables::pmt(&self.lines, self.pcr_line, self.pmt_version);
        pmt.put(&mut tables.pmt);
        let next = match version {
            Version::First => false,
            Version::Next => true,
            Version::NextIfChanged => tables.pmt != before,
        };
        if next {
            pmt.version = (pmt.version + 1) % 32;
            self.pmt_version = pmt.version;
            tables.pmt.clear();
            pmt.put(&mut tables.pmt);
        }
        if tables.pmt != before {
            tables.sent = None;
        }
        tables.describe(&self.name, &self.lines);
    }

    fn is_audio_only(&self) -> bool {
        self.lines.iter().all(|line| line.codec.kind() != Kind::Video)
    }

    /// How the PCR stands to a frame of that line.
    fn carrier(&self, index: usize, frame: &Frame<'_>, media: i64) -> Carrier {
        if index != self.pcr_line {
            return Carrier::Other;
        }
        let joins = if self.is_audio_only() {
            self.joined
                .is_none_or(|at| media.saturating_sub(at) >= AUDIO_JOIN_INTERVAL_MS * CLOCK_PER_MS)
        } else {
            frame.key
        };
        if joins { Carrier::Join } else { Carrier::Own }
    }

    /// The PCR packets of `step`, with tables among them where they are due.
    fn put_fill(&mut self, step: &Step, out: &mut Vec<u8>) {
        for index in 1..=step.count {
            let value = step.from.saturating_add(index * INTERVAL);
            if self.tables.are_due(value) {
                self.tables.put(value, out);
            }
            let line = &mut self.lines[self.pcr_line];
            let begins = index == 1 && step.discontinuity;
            let discontinuity = std::mem::take(&mut line.discontinuity) || begins;
            let adaptation = Adaptation {
                discontinuity,
                random_access: false,
                pcr: Some(Pcr::new(value)),
            };
            put_bare(out, line.pid, line.counter, &adaptation);
        }
    }

    /// The PES packet at work, behind tables where they are due.
    fn put_frame(&mut self, index: usize, step: &Step, random_access: bool, out: &mut Vec<u8>) {
        if self.tables.are_due(step.now) {
            self.tables.put(step.now, out);
        }
        let line = &mut self.lines[index];
        let begins = step.discontinuity && step.own.is_some();
        let discontinuity = std::mem::take(&mut line.discontinuity) || begins;
        let adaptation = Adaptation {
            discontinuity,
            random_access,
            pcr: step.own.map(Pcr::new),
        };
        line.put_packets(&adaptation, &self.pes, 0, out);
    }

    /// Before the join record with `step`: what [`Mux::skip_header`] will give.
    fn remember_skip(&mut self, step: &Step) {
        self.skip.clear();
        let flagged = Adaptation {
            discontinuity: true,
            ..Default::default()
        };
        let tables = &self.tables;
        for (pid, counter) in [
            (PID_PAT, tables.pat_counter),
            (PID_PMT, tables.pmt_counter),
            (PID_SDT, tables.sdt_counter),
        ] {
            put_bare(&mut self.skip, pid, counter, &flagged);
        }
        let before = step.own.unwrap_or(step.now).saturating_sub(SKIP_PCR_BEFORE);
        for (index, line) in self.lines.iter().enumerate() {
            let pcr = (index == self.pcr_line).then(|| Pcr::new(before));
            put_bare(&mut self.skip, line.pid, line.counter, &Adaptation { pcr, ..flagged });
        }
    }
}

impl media::Mux for Mux {
    fn carries(&self, track: &Track) -> bool {
        line::carries(track)
    }

    fn start(&mut self, tracks: &[Track]) {
        self.assign(tracks);
        self.describe(Version::First);
    }

    fn on_break(&mut self, kind: Break, tracks: &[Track], _out: &mut Records) -> Verdict {
        self.assign(tracks);
        match kind {
            Break::CodecData => self.describe(Version::NextIfChanged),
            Break::TrackSet => self.describe(Version::Next),
            Break::Publisher => {
                self.describe(Version::Next);
                self.jump();
            }
            Break::TimeJump => {
                self.describe(Version::NextIfChanged);
                self.jump();
            }
        }
        Verdict::Continue
    }

    fn frame(&mut self, frame: &Frame<'_>, out: &mut Records) {
        let Some(index) = self.lines.iter().position(|line| line.track == frame.track) else {
            return;
        };
        let line = &mut self.lines[index];
        let times = line.times(frame);
        if !line.pes(frame, times, &mut self.pes) {
            return;
        }
        let (timescale, is_video) = (line.timescale, line.codec.kind() == Kind::Video);
        let media = media::rescale(frame.dts, timescale, CLOCK_HZ);
        let carrier = self.carrier(index, frame, media);
        let join = carrier == Carrier::Join;
        let step = self.clock.step(media, times.dts.saturating_mul(300), carrier);
        if step.discontinuity {
            self.tables.sent = None;
        }
        if join {
            // what is due before it belongs to those who watch already
            out.push(false, frame.dts, timescale, |out| self.put_fill(&step, out));
            self.remember_skip(&step);
            self.tables.sent = None;
            self.joined = Some(media);
        }
        let random_access = join || (frame.key && is_video);
        out.push(join, frame.dts, timescale, |out| {
            if !join {
                self.put_fill(&step, out);
            }
            self.put_frame(index, &step, random_access, out);
        });
    }

    fn finish(&mut self, _out: &mut Records) {}

    fn join_header(&self, _out: &mut Vec<u8>) {}

    fn skip_header(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.skip);
    }
}

impl Mux {
    fn jump(&mut self) {
        self.clock.jump();
        self.joined = None;
        self.tables.sent = None;
        self.lines.iter_mut().for_each(Line::jump);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    First,
    Next,
    NextIfChanged,
}

const PROVIDER: &str = "penstock";

/// How far the PCR of a skip header is below that of the join record: 1 ms.
const SKIP_PCR_BEFORE: i64 = CLOCK_PER_MS;
