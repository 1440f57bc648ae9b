//! Segments of HLS in transport stream: a picture and a sound, or one of them, cut where the stream's home says.
//!
//! RFC 8216bis 3.1.1: a segment has one program, and PAT and PMT first. Codecs are those that HLS allows there.
//!
//! **One stream, however it is put together.** Segments are made one by one, some of them again and much later, and players
//! send them one behind the other through one demuxer. So nothing is carried over from one segment to the next, and yet:
//! - PAT, PMT and SDT stand once, at the begin; their counters there follow from the number, as every segment has as many
//!   packets of them. Repeating them to be seen each 500 ms, as the endless stream does, would need 16 sets a segment.
//! - The counter of a picture's and a sound's PID is 0 at the begin, and 0 again behind the end. There is no packet that could
//!   be added for that: without payload it does not count, and payload must be elementary stream (padding PES packets on
//!   a media PID are read as media by hls.js). So the last PES packets are spread over as many more packets as are missing,
//!   at most 15, each with a byte of them at least; 2.4.3.5 stuffs a packet with payload by its adaptation field. The head of
//!   a PES packet stays whole as long as the last piece has bytes enough behind heads.
//!   `discontinuity_indicator` would be shorter and is no way: players drop the unfinished picture before it (ExoPlayer).
//! - PCR is media time of the leading track, from its first frame to below `until`; PTS and DTS are `DECODE_DELAY_MS` ahead of
//!   it, as in the endless stream. Frames stand in order of time, so that sound that came late, or early, moves no clock.
//! - Decode times are moved before their own for negative composition offsets as far as the frames seen so far need.
//!   Only the begin of a segment could be wrong, and a piece is held for long enough to see more.
//! - Frames of AAC that follow each other share a PES packet, of 90 ms at most: the first one's times are exact, and the others
//!   stand where counting samples puts them; one that does not begins the next.
//! - The version of a PMT is made of what it says.
//!
//! A break is not marked here: the playlist does that (`EXT-X-DISCONTINUITY`).

mod held;
#[cfg(test)]
mod tests;

use self::held::{Entry, Held};
use super::limits::{CLOCK_PER_MS, GAP_MS_MAX, ORDER_MS_MAX, PIECE_MS_MIN, SOUND_PES_MS_MAX, STAMP_PER_MS};
use super::mux::clock::{Carrier, Clock, INTERVAL, Step};
use super::mux::line::{self, Line, Times, put_bare};
use super::mux::tables::{self, Tables};
use super::mux::{PID_FIRST, PID_PMT};
use super::wire::section::crc32;
use super::wire::{Adaptation, CLOCK_HZ, Pcr, packet, pes};
use crate::media::{Codec, Frame, Kind, Piece, Pieces, SegmentMux, Track, rescale};

/// The segment muxer of one rendition. Owned by the stream's home shard.
#[derive(Debug)]
pub struct Segments {
    /// The service's name in the SDT.
    name: String,
    /// Those that are carried, the picture first.
    tracks: Vec<Track>,
    /// Of the same order. The first one leads: it has the PCR, and pieces begin with its frames.
    lines: Vec<Line>,
    tables: Tables,
    clock: Clock,
    held: Held,
    /// Decode time of each line's newest frame in this segment, 27 MHz.
    newest: Vec<Option<i64>>,
    /// Of the leading track's last two frames, ticks of its own.
    interval: i64,
    lead_dts: Option<i64>,
    /// Where the piece at work begins; none before the first frame of the segment.
    piece: Option<Start>,
    is_first_piece: bool,
    plan: Vec<Planned>,
    sounds: Vec<Option<Sound>>,
    head: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Start {
    /// Ticks of the leading track.
    dts: i64,
    /// The same in 27 MHz.
    media: i64,
    key: bool,
}

/// What a piece ends with.
#[derive(Clone, Copy, Debug)]
enum Upto {
    /// This frame of the leading track begins the next one.
    Cut(Start),
    /// There is no room: all that is held leaves.
    Full,
    /// As [`SegmentMux::end`] says.
    End(Option<i64>),
}

/// A line's newest PES packet in the piece at work.
#[derive(Clone, Copy, Debug)]
struct Sound {
    planned: usize,
    /// Of its first frame.
    times: Times,
    /// Its last frame, as arranged.
    last: usize,
    count: u32,
}

/// A PES packet on its way out.
#[derive(Debug)]
struct Planned {
    /// Of its first frame, as arranged in [`Held`].
    at: usize,
    line: usize,
    payload_bytes: usize,
    head: pes::Head,
    step: Step,
    adaptation: Adaptation,
    /// Packets beyond those that it needs.
    more: usize,
}

impl Segments {
    /// `name` is the stream's, for the service name.
    pub fn new(name: &str) -> Self {
        Segments {
            name: name.to_owned(),
            tracks: Vec::new(),
            lines: Vec::new(),
            tables: Tables::default(),
            clock: Clock::default(),
            held: Held::default(),
            newest: Vec::new(),
            interval: 0,
            lead_dts: None,
            piece: None,
            is_first_piece: true,
            plan: Vec::new(),
            sounds: Vec::new(),
            head: Vec::new(),
        }
    }

    /// Lines and tables anew for the first picture and the first sound of `tracks`.
    fn assign(&mut self, tracks: &[Track]) {
        let first = |kind| {
            tracks
                .iter()
                .find(|track| track.kind() == kind && self.carries(track))
                .cloned()
        };
        let picked: Vec<Track> = first(Kind::Video).into_iter().chain(first(Kind::Audio)).collect();
        self.lines.clear();
        self.lines
            .extend(picked.iter().map(|track| Line::new(track, pid_of(track))));
        self.tracks = picked;
        let mut pmt = tables::pmt(&self.lines, 0, 0);
        self.tables.pmt.clear();
        pmt.put(&mut self.tables.pmt);
        let sum = crc32(&self.tables.pmt[..self.tables.pmt.len() - 4]);
        pmt.version = (sum % 31) as u8;
        self.tables.pmt.clear();
        pmt.put(&mut self.tables.pmt);
        self.tables.describe(&self.name, &self.lines);
    }

    /// Up to where no frame is expected any more that would have to stand before: 27 MHz.
    fn settled(&self) -> Option<i64> {
        let lead = self.newest.first().copied().flatten()?;
        if self.held.is_over() {
            return Some(i64::MAX);
        }
        let others = self.newest[1..].iter();
        let slowest = others.map(|newest| newest.unwrap_or(i64::MIN)).fold(lead, i64::min);
        Some(slowest.max(lead.saturating_sub(ORDER_MS_MAX * CLOCK_PER_MS)))
    }

    /// The frame of the leading track with which the next piece begins, when all of the piece before it is there, and enough
    /// behind it to end the segment with.
    fn cut(&self) -> Option<Start> {
        let begin = self.piece?.media;
        let piece = PIECE_MS_MIN * CLOCK_PER_MS;
        let far = |entry: &&Entry| entry.line == 0 && entry.media.saturating_sub(begin) >= piece;
        let entry = self.held.entries().iter().find(far)?;
        let settled = self.settled()?;
        (settled.saturating_sub(entry.media) >= piece).then_some(Start {
            dts: entry.dts,
            media: entry.media,
            key: false,
        })
    }

    /// What goes out in one piece: the frames held that are before `cut`, in order of time.
    fn plan(&mut self, cut: Option<i64>, pcr_max: i64) {
        self.plan.clear();
        self.sounds.clear();
        self.sounds.resize(self.lines.len(), None);
        self.held.arrange(cut);
        for at in 0..self.held.arranged().len() {
            let entry = self.held.arranged()[at];
            let times = self.lines[entry.line].times_at(entry.dts, entry.offset);
            if self.joins(at, entry, times) {
                continue;
            }
            let line = &self.lines[entry.line];
            let is_first = self.is_first_piece && self.plan.is_empty();
            let carrier = match entry.line {
                0 if is_first => Carrier::Join,
                0 => Carrier::Own,
                _ => Carrier::Other,
            };
            // No PCR is set back: a frame that is late is late, players of segments do not wait for it.
            let step = self.clock.step(entry.place.min(pcr_max), i64::MAX, carrier);
            let is_video = line.codec.kind() == Kind::Video;
            self.sounds[entry.line] = Some(Sound {
                planned: self.plan.len(),
                times,
                last: at,
                count: 1,
            });
            self.plan.push(Planned {
                at,
                line: entry.line,
                payload_bytes: entry.payload_bytes(),
                head: line.head(times),
                adaptation: Adaptation {
                    discontinuity: step.discontinuity && step.own.is_some(),
                    random_access: entry.key && (is_video || (is_first && entry.line == 0)),
                    pcr: step.own.map(Pcr::new),
                },
                step,
                more: 0,
            });
        }
    }

    /// Puts the frame at `at` into the PES packet before it of its line, where it can stand.
    fn joins(&mut self, at: usize, entry: Entry, times: Times) -> bool {
        let Some(sound) = &mut self.sounds[entry.line] else {
            return false;
        };
        let planned = &mut self.plan[sound.planned];
        let bytes = planned.payload_bytes + entry.payload_bytes();
        let is_near = times.pts.saturating_sub(sound.times.pts) <= SOUND_PES_MS_MAX * STAMP_PER_MS;
        if !is_near
            || !planned.head.can_state(bytes)
            || !self.lines[entry.line].follows(sound.times, sound.count, times)
        {
            return false;
        }
        planned.payload_bytes = bytes;
        self.held.join(sound.last, at);
        sound.last = at;
        sound.count += 1;
        true
    }

    /// Spreads PES packets of those lines of which nothing is held from `cut` on, so that their counters end where they began.
    /// Before the end those are lines that have fallen silent.
    fn spread(&mut self, cut: Option<i64>) {
        for index in 0..self.lines.len() {
            if self.held.is_held(index, cut) {
                continue;
            }
            let of_line = |planned: &Planned| planned.line == index;
            let packets = |planned: &Planned| if of_line(planned) { planned.packets() } else { 0 };
            let packets: usize = self.plan.iter().map(packets).sum();
            let mut missing = (usize::from(self.lines[index].counter) + packets).wrapping_neg() % COUNTER;
            if packets == 0 {
                debug_assert_eq!(missing, 0, "its last packets have been spread");
                continue;
            }
            // first without a PES head that is cut, then with
            for head_cut in [0, 1] {
                for planned in self.plan.iter_mut().rev().filter(|planned| of_line(planned)) {
                    let bytes = planned.payload_bytes + planned.head.bytes() * head_cut;
                    let room = bytes.saturating_sub(planned.packets() + planned.more);
                    let more = missing.min(room);
                    planned.more += more;
                    missing -= more;
                }
            }
            debug_assert_eq!(missing, 0, "a PES packet has SPREAD_BYTES_MIN bytes");
        }
    }

    fn put_plan(&mut self, out: &mut Vec<u8>) {
        if self.is_first_piece {
            self.tables.put(0, out);
        }
        for planned in &self.plan {
            put_clock(&self.lines[0], &planned.step, out);
            self.head.clear();
            planned.head.put(&mut self.head, planned.payload_bytes);
            let pes = self.held.packet(planned.at, &self.head);
            let line = &mut self.lines[planned.line];
            line.put_packets(&planned.adaptation, pes, planned.more, out);
        }
    }

    /// The piece that begins with `begin`.
    fn push(&mut self, begin: Start, upto: Upto, out: &mut Pieces) {
        let lead = &self.tracks[0];
        let guess = self.lead_dts.map(|last| last.saturating_add(self.interval));
        let (cut, until) = match upto {
            Upto::Cut(cut) => (Some(cut.media), Some(cut.dts)),
            Upto::Full => (None, guess),
            Upto::End(until) => (None, until.or(guess)),
        };
        // PCR stays below where the next segment's begins, and where that is not known, below no frame of the leading track.
        let last = match upto {
            Upto::End(Some(until)) => Some(rescale(until, lead.timescale, CLOCK_HZ).saturating_sub(1)),
            _ => None,
        };
        let pcr_max = cut.or(last).or(self.newest[0]).unwrap_or(i64::MAX).max(begin.media);
        self.plan(cut, pcr_max);
        self.spread(cut);
        let is_near = |last: &i64| last.saturating_sub(begin.media) <= GAP_MS_MAX * CLOCK_PER_MS;
        let fill = last
            .filter(is_near)
            .map(|last| self.clock.step(last, i64::MAX, Carrier::Other));
        let piece = Piece {
            end: 0,
            dts: begin.dts,
            duration: until.map_or(0, |until| until.saturating_sub(begin.dts).max(0)),
            independent: self.is_first_piece && begin.key,
        };
        if !self.plan.is_empty() {
            out.push(piece, |out| {
                self.put_plan(out);
                if let Some(step) = &fill {
                    put_clock(&self.lines[0], step, out);
                }
            });
            self.is_first_piece = false;
        }
        self.held.release(cut);
    }
}

impl SegmentMux for Segments {
    fn carries(&self, track: &Track) -> bool {
        let allowed = matches!(
            track.codec,
            Codec::H264 | Codec::Hevc | Codec::Aac | Codec::Mp3 | Codec::Ac3 | Codec::Eac3
        );
        allowed && line::carries(track)
    }

    fn begin(&mut self, number: u64, tracks: &[Track], _out: &mut Pieces) {
        self.assign(tracks);
        let tables = &mut self.tables;
        let first = |section: &[u8]| {
            let packets = crate::ts::wire::section::packets(section) as u64;
            (number % COUNTER as u64 * packets % COUNTER as u64) as u8
        };
        tables.pat_counter = first(&tables.pat);
        tables.pmt_counter = first(&tables.pmt);
        tables.sdt_counter = first(&tables.sdt);
        self.clock = Clock::default();
        self.held.clear();
        self.newest.clear();
        self.newest.resize(self.lines.len(), None);
        (self.interval, self.lead_dts, self.piece) = (0, None, None);
        self.is_first_piece = true;
    }

    fn frame(&mut self, frame: &Frame<'_>, out: &mut Pieces) {
        let Some(index) = self.lines.iter().position(|line| line.track == frame.track) else {
            return;
        };
        if self.held.is_over()
            && let Some(begin) = self.piece.take()
        {
            self.push(begin, Upto::Full, out);
        }
        let line = &mut self.lines[index];
        let media = rescale(frame.dts, line.timescale, CLOCK_HZ);
        if !self.held.push(index, line, frame, media) {
            return;
        }
        line.expect(frame);
        self.newest[index] = self.newest[index].max(Some(media));
        if self.piece.is_none() {
            let lead = &self.tracks[0];
            let dts = if index == 0 {
                frame.dts
            } else {
                rescale(media, CLOCK_HZ, lead.timescale)
            };
            let key = index == 0 && frame.key;
            self.piece = Some(Start { dts, media, key });
            self.held.begin(media);
        }
        if index == 0 {
            let before = self.lead_dts.replace(frame.dts);
            self.interval = before.map_or(0, |before| frame.dts.saturating_sub(before));
        }
        while let Some(cut) = self.cut() {
            let begin = self.piece.replace(cut).expect("a cut is behind a begin");
            self.push(begin, Upto::Cut(cut), out);
        }
    }

    fn end(&mut self, until: Option<i64>, out: &mut Pieces) {
        if let Some(begin) = self.piece.take() {
            self.push(begin, Upto::End(until), out);
        }
        self.held.clear();
    }

    fn init(&self, _out: &mut Vec<u8>) {}
}

impl Planned {
    /// Packets that it needs.
    fn packets(&self) -> usize {
        packet::count(&self.adaptation, self.head.bytes() + self.payload_bytes)
    }
}

/// The PCR packets of `step` on the PID of `line`.
fn put_clock(line: &Line, step: &Step, out: &mut Vec<u8>) {
    for index in 1..=step.count {
        let adaptation = Adaptation {
            discontinuity: index == 1 && step.discontinuity,
            random_access: false,
            pcr: Some(Pcr::new(step.from.saturating_add(index * INTERVAL))),
        };
        put_bare(out, line.pid, line.counter, &adaptation);
    }
}

/// The same for whatever picture or sound, with another or alone: a player that goes from rendition to rendition sees one line.
fn pid_of(track: &Track) -> u16 {
    match track.kind() {
        Kind::Video => PID_FIRST,
        _ => PID_FIRST + 1,
    }
}

/// Values of a continuity counter.
const COUNTER: usize = 16;

const _: () = assert!(PID_FIRST + 1 < PID_PMT);
