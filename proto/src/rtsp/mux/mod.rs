//! The feed of RTSP viewers: RTP packets and sender reports of some tracks as `$` frames (RFC 2326, 10.12), made once for all
//! viewers of a packaging.
//!
//! A record is what one frame becomes, with the reports that are due before it. Viewers on TCP get records as they are;
//! viewers on UDP get what is in the `$` frames, which channel is which port. SSRC, sequence numbers, times and report
//! counts are the feed's, not a viewer's: `RTP-Info` says where a viewer begins in them ([`JoinPoint`]).
//!
//! Invariants: a lane's sequence numbers are without a hole over the whole feed; its RTP time is stream time (presentation)
//! in the format's clock, rounded down, plus a constant; reports of all lanes are of one moment and stand together; every
//! packet of a format that can be cut is at most as long as the packaging says.

mod clock;
mod join;
pub mod limits;
mod line;

use std::fmt::Write;

use crate::media::{self, Break, Frame, Kind, Records, Track, Verdict, rescale};
use crate::rtp::format::PayloadFormat;
use crate::rtp::pack;

use clock::Clock;
pub use join::{JoinLane, JoinPoint};
use limits::{AUDIO_JOIN_MICROS, LANES_MAX, PACKET_BYTES_MAX, PACKET_BYTES_MIN, REPORT_MICROS};
use line::{Line, Seed};

/// One track of a packaging and where its packets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// [`Track::id`].
    pub track: u32,
    /// As viewers were told: [`pack::format`] of the track with its payload type.
    pub format: PayloadFormat,
    pub rtp_channel: u8,
    pub rtcp_channel: u8,
}

/// Makes a packaging's records. Viewers join at keyframes of the first video lane; without video, at a sound frame every
/// 200 ms.
///
/// Breaks: what decoders find in the packets (parameter sets, sequence headers) goes on in band. Where the description no
/// longer holds, viewers are ended: another codec, clock or AudioSpecificConfig, another publisher without one of the
/// tracks. A lane whose track goes away is silent, without BYE, for as long as another goes on: tracks that rest come back,
/// and players do not take up a source that said BYE. Time goes on as stream time does.
#[derive(Debug)]
pub struct Mux {
    lines: Vec<Line>,
    /// CNAME of all lanes (RFC 3550, 6.5.1; random, RFC 7022).
    name: String,
    clock: Clock,
    /// Stream time of the last reports.
    reported_micros: Option<i64>,
    /// Of the last join record.
    joined: JoinPoint,
    join_micros: Option<i64>,
    /// Decode time and timescale of the last frame.
    last: Option<(i64, u32)>,
}

impl Mux {
    /// `packet_bytes_max` bounds RTP packets ([`limits::TCP_PACKET_BYTES`], [`limits::UDP_PACKET_BYTES`]); only an Opus packet
    /// and what is passed on unread go out as they are. `seed` makes SSRCs and where sequence numbers and times begin
    /// (RFC 3550, 5.1): another one for each feed.
    ///
    /// # Panics
    /// Without lanes, with more than [`limits::LANES_MAX`], with a channel used twice, or with a bound outside
    /// [`PACKET_BYTES_MIN`] to [`PACKET_BYTES_MAX`].
    pub fn new(lanes: Vec<Lane>, packet_bytes_max: usize, seed: u64) -> Self {
        assert!(
            (PACKET_BYTES_MIN..=PACKET_BYTES_MAX).contains(&packet_bytes_max),
            "packets of {packet_bytes_max} bytes"
        );
        assert!((1..=LANES_MAX).contains(&lanes.len()), "{} lanes", lanes.len());
        let mut used = [0_u8; 256];
        for lane in &lanes {
            used[usize::from(lane.rtp_channel)] += 1;
            used[usize::from(lane.rtcp_channel)] += 1;
        }
        assert!(used.iter().all(|count| *count <= 1), "each channel has one use");
        let mut numbers = seed;
        let mut name = String::new();
        write!(name, "{:016x}", next(&mut numbers)).expect("a String takes any text");
        let lines = lanes.into_iter().map(|lane| {
            let (first, second) = (next(&mut numbers), next(&mut numbers));
            let seed = Seed {
                ssrc: first as u32,
                sequence: (first >> 32) as u16,
                rtp_time: second as u32,
            };
            Line::new(lane, seed, packet_bytes_max)
        });
        Mux {
            lines: lines.collect(),
            name,
            clock: Clock::default(),
            reported_micros: None,
            joined: JoinPoint::default(),
            join_micros: None,
            last: None,
        }
    }

    /// Frames that gave no packet, since the start.
    pub fn skipped(&self) -> u64 {
        self.lines.iter().map(Line::skipped).sum()
    }

    /// Stream time of a frame that a viewer can start at.
    fn is_join(&self, index: usize, frame: &Frame<'_>, micros: i64) -> bool {
        let of_kind = |kind| self.lines.iter().position(|line| line.kind() == Some(kind));
        match of_kind(Kind::Video) {
            Some(first) => first == index && frame.key,
            None => {
                let rationed = |last| !(0..AUDIO_JOIN_MICROS).contains(&micros.saturating_sub(last));
                self.join_micros.is_none_or(rationed)
            }
        }
    }

    fn has_video(&self) -> bool {
        self.lines.iter().any(|line| line.kind() == Some(Kind::Video))
    }

    /// Reports of all lanes, if they are due.
    fn reports(&mut self, (dts, timescale): (i64, u32), micros: i64, is_start: bool, out: &mut Vec<u8>) {
        let is_due = |last: i64| !(0..REPORT_MICROS).contains(&micros.saturating_sub(last));
        if !self.clock.is_known() || !(is_start || self.reported_micros.is_none_or(is_due)) {
            return;
        }
        if self.reported_micros.is_none_or(is_due) {
            self.clock.step();
        }
        for line in self.lines.iter().filter(|line| line.track().is_some()) {
            line.report(dts, timescale, &self.clock, &self.name, out);
        }
        self.reported_micros = Some(micros);
    }

    /// The track of each lane among those in force.
    fn bind(&mut self, tracks: &[Track], kind: Option<Break>) -> Verdict {
        let mut verdict = Verdict::Continue;
        let mut claimed = Vec::new();
        for line in &mut self.lines {
            let own = tracks.iter().find(|track| track.id == line.id());
            let free = |track: &&Track| !claimed.contains(&track.id) && line.holds(track);
            let mut found = own.filter(free);
            if kind == Some(Break::Publisher) && found.is_none() {
                // Another publisher counts its tracks in another order.
                found = tracks.iter().find(free);
            }
            let is_lost = found.is_none() && (own.is_some() || kind == Some(Break::Publisher));
            if is_lost {
                verdict = Verdict::End;
            }
            claimed.extend(found.map(|track| track.id));
            line.bind(found);
        }
        if claimed.is_empty() {
            return Verdict::End;
        }
        verdict
    }
}

impl media::Mux for Mux {
    /// Those of its lanes, and those that could take the place of one when another publisher comes.
    fn carries(&self, track: &Track) -> bool {
        let is_ours = |line: &Line| line.id() == track.id || line.holds(track);
        pack::format(track, &[]).is_some() && self.lines.iter().any(is_ours)
    }

    fn start(&mut self, tracks: &[Track]) {
        self.bind(tracks, None);
    }

    fn on_break(&mut self, kind: Break, tracks: &[Track], _out: &mut Records) -> Verdict {
        let had_video = self.has_video();
        let verdict = self.bind(tracks, Some(kind));
        if matches!(kind, Break::Publisher | Break::TimeJump) {
            self.clock.forget();
            self.reported_micros = None;
        }
        if had_video != self.has_video() {
            self.join_micros = None;
        }
        verdict
    }

    fn frame(&mut self, frame: &Frame<'_>, out: &mut Records) {
        let is_own = |line: &Line| line.track().is_some_and(|track| track.id == frame.track);
        let Some(index) = self.lines.iter().position(is_own) else {
            return;
        };
        let timescale = self.lines[index].track().map_or(1, |track| track.timescale);
        let moment = (frame.dts, timescale);
        let micros = rescale(frame.dts, timescale, 1_000_000);
        let join = self.is_join(index, frame, micros);
        let reported = self.reported_micros;
        let mut is_empty = false;
        out.push(join, frame.dts, timescale, |out| {
            let begin = out.len();
            self.reports(moment, micros, join && self.has_video(), out);
            if join {
                self.joined.stream_millis = rescale(frame.dts, timescale, 1000);
                self.joined.wall_millis = self.clock.wall_millis(micros);
                self.joined.lanes.clear();
                let lanes = self.lines.iter().map(|line| line.join(frame.dts, timescale));
                self.joined.lanes.extend(lanes);
            }
            let packets_begin = out.len();
            self.lines[index].frame(frame, out);
            is_empty = out.len() == packets_begin;
            if is_empty {
                out.truncate(begin);
            }
        });
        if is_empty {
            self.reported_micros = reported;
            return;
        }
        self.last = Some(moment);
        if join {
            self.join_micros = Some(micros);
        }
    }

    fn wall_clock(&mut self, stream_micros: i64, unix_micros: i64) {
        if self.clock.measure(stream_micros, unix_micros) {
            self.reported_micros = None;
        }
    }

    /// BYE of all lanes, silent ones too: players wait for as many as they set up.
    fn finish(&mut self, out: &mut Records) {
        let (dts, timescale) = self.last.unwrap_or((0, 1));
        out.push(false, dts, timescale, |out| {
            for line in &self.lines {
                line.goodbye(dts, timescale, &self.clock, &self.name, out);
            }
        });
    }

    /// A [`JoinPoint`], for who answers PLAY. Not for the viewer.
    fn join_header(&self, out: &mut Vec<u8>) {
        self.joined.emit(out);
    }
}

/// splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests;
