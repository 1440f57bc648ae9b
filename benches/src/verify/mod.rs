//! A viewer's ear: parses the container that it gets, and says what does not follow.
//!
//! Containers are told by their first bytes. FLV and RTMP messages: tags are whole and time does not run back; TS: what
//! `penstock_proto::ts::check` finds wrong by ISO/IEC 13818-1 (of what we promise beyond it, nothing: other servers are
//! measured too); fragmented MP4: [`boxes`]; RTP: sequence numbers. Stamps are looked for in all of them, and their
//! numbers count frames.

mod boxes;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Context;
use penstock_proto::flv;
use penstock_proto::tag::MessageKind;
use penstock_proto::ts::check::{Checker, What};

use crate::report::Times;
use crate::stamp::{Search, Stamp};
use boxes::Boxes;

/// Problems kept as text.
const TEXTS_MAX: usize = 5;
/// A container is known by then.
const SNIFF_BYTES: usize = 8;
const TS_SYNC: u8 = 0x47;

/// What was heard by all viewers of a thread.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// From a frame's sending to its bytes' reading, since the window began.
    pub latency: Times,
    /// From the request to the first picture, which is a keyframe.
    pub first_picture: Times,
    /// From a part's end to its last byte's reading: of parts that were asked for before they ended. A part ends when the
    /// picture is sent that shows it to be full: the next one's first, or the one behind that where a hole follows.
    pub part_end: Times,
    /// Of these, parts before a hole.
    pub holes: u64,
    /// Pictures that came, since the window began.
    pub pictures: u64,
    /// Times a picture's number did not follow the one before, and how many were left out.
    pub breaks: u64,
    pub frames_lost: u64,
    /// Things wrong with the container.
    pub problems: u64,
    pub texts: Vec<String>,
}

impl Heard {
    pub fn begin_window(&mut self) {
        self.latency.clear();
        self.part_end.clear();
        self.holes = 0;
        (self.pictures, self.breaks, self.frames_lost) = (0, 0, 0);
    }

    fn problem(&mut self, text: impl FnOnce() -> String) {
        self.problems += 1;
        if self.texts.len() < TEXTS_MAX {
            self.texts.push(text());
        }
    }

    pub fn add(&mut self, other: &Heard) {
        self.latency.add(&other.latency);
        self.part_end.add(&other.part_end);
        self.holes += other.holes;
        self.first_picture.add(&other.first_picture);
        self.pictures += other.pictures;
        self.breaks += other.breaks;
        self.frames_lost += other.frames_lost;
        self.problems += other.problems;
        let room = TEXTS_MAX.saturating_sub(self.texts.len());
        self.texts.extend(other.texts.iter().take(room).cloned());
    }
}

#[derive(Debug)]
enum Container {
    Unknown(Vec<u8>),
    Flv(flv::Reader, Clock),
    Ts(Box<Checker>),
    Mp4(Box<Boxes>),
}

/// One viewer's.
#[derive(Debug)]
pub struct Ear {
    asked_at: u64,
    container: Container,
    search: Search,
    last: Option<u32>,
    clock: Clock,
    sequences: BTreeMap<u8, u16>,
    piece: Piece,
    heard: Arc<Mutex<Heard>>,
}

impl Ear {
    pub fn new(asked_at: u64, heard: &Arc<Mutex<Heard>>) -> Ear {
        Ear {
            asked_at,
            container: Container::Unknown(Vec::new()),
            search: Search::new(),
            last: None,
            clock: Clock::default(),
            sequences: BTreeMap::new(),
            piece: Piece::default(),
            heard: Arc::clone(heard),
        }
    }

    /// The next bytes of a container.
    pub fn hear(&mut self, bytes: &[u8], now: u64) -> anyhow::Result<()> {
        self.look_for_stamps(bytes, now);
        let Container::Unknown(first) = &mut self.container else {
            return self.parse(bytes);
        };
        first.extend_from_slice(bytes);
        if first.len() < SNIFF_BYTES {
            return Ok(());
        }
        let first = std::mem::take(first);
        self.container = match &first[..] {
            [b'F', b'L', b'V', ..] => Container::Flv(flv::Reader::new(), Clock::default()),
            [TS_SYNC, ..] => Container::Ts(Box::default()),
            _ => Container::Mp4(Box::default()),
        };
        self.parse(&first)
    }

    fn parse(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let heard = &mut *lock(&self.heard);
        match &mut self.container {
            Container::Unknown(_) => {}
            Container::Flv(reader, clock) => {
                reader.feed(bytes);
                while let Some(tag) = reader.next_tag().context("no FLV")? {
                    clock.check(tag.kind, tag.timestamp, heard);
                }
            }
            Container::Ts(checker) => checker.push(bytes),
            Container::Mp4(boxes) => boxes.push(bytes, |text| heard.problem(|| text))?,
        }
        Ok(())
    }

    /// A segment begins: a transport stream's counters may begin anew with it.
    pub fn segment_begins(&mut self) {
        if let Container::Ts(_) = self.container {
            self.end_container();
            self.container = Container::Unknown(Vec::new());
        }
    }

    /// A segment or part of the picture is asked for.
    pub fn piece_asked(&mut self, now: u64) {
        self.piece.asked_at = now;
    }

    /// It is here.
    pub fn piece_came(&mut self, now: u64) {
        self.piece.came.push(Came {
            asked_at: self.piece.asked_at,
            at: now,
            next: None,
        });
    }

    /// An RTMP message.
    pub fn message(&mut self, kind: MessageKind, timestamp: u32, body: &[u8], now: u64) {
        self.clock.check(kind, timestamp, &mut lock(&self.heard));
        self.look_for_stamps(body, now);
    }

    /// An RTP packet (RFC 3550, 5.1) on an interleaved channel.
    pub fn packet(&mut self, channel: u8, packet: &[u8], now: u64) {
        let [0x80..=0xbf, _, high, low, _, _, _, _, _, _, _, _, payload @ ..] = packet else {
            lock(&self.heard).problem(|| format!("channel {channel}: no RTP packet"));
            return;
        };
        let sequence = u16::from_be_bytes([*high, *low]);
        if let Some(last) = self.sequences.insert(channel, sequence) {
            let step = sequence.wrapping_sub(last);
            if step != 1 {
                lock(&self.heard).problem(|| format!("channel {channel}: packet {sequence} follows {last}"));
            }
        }
        self.look_for_stamps(payload, now);
    }

    fn look_for_stamps(&mut self, bytes: &[u8], now: u64) {
        let (heard, last, asked_at, piece) = (&self.heard, &mut self.last, self.asked_at, &mut self.piece);
        self.search.feed(bytes, |stamp| {
            piece.picture(stamp.nanos, &mut lock(heard));
            note(stamp, now, asked_at, last, &mut lock(heard));
        });
    }

    fn end_container(&mut self) {
        if let Container::Ts(checker) = &mut self.container {
            let report = std::mem::take(checker).finish();
            for problem in report.problems.iter().filter(|problem| is_foreign(&problem.what)) {
                lock(&self.heard).problem(|| {
                    format!(
                        "TS packet {}, PID {}: {:?}",
                        problem.packet_index, problem.pid, problem.what
                    )
                });
            }
        }
    }

    /// What can only be said at the end.
    pub fn finish(mut self) {
        self.end_container();
    }
}

/// What is asked for piece by piece: when the newest was asked for, and those before it whose end is not known yet.
#[derive(Debug, Default)]
struct Piece {
    asked_at: u64,
    came: Vec<Came>,
    /// When the newest picture was sent.
    newest: u64,
}

/// A piece that is here, until it is known when it ended: two pictures later.
#[derive(Debug)]
struct Came {
    asked_at: u64,
    at: u64,
    /// When the first picture behind it was sent, and how long after the one before.
    next: Option<(u64, u64)>,
}

impl Piece {
    /// A picture that was sent at `nanos`. A server that makes its parts as full as they can be does not know that a picture
    /// lasts too long for one before the picture behind it is there.
    fn picture(&mut self, nanos: u64, heard: &mut Heard) {
        let interval = nanos.saturating_sub(self.newest);
        self.newest = nanos;
        self.came.retain_mut(|came| {
            let Some((first, before)) = came.next else {
                came.next = Some((nanos, interval));
                return true;
            };
            let is_hole = interval > before + before / 2;
            let end = if is_hole { nanos } else { first };
            if came.asked_at < end {
                heard.part_end.record_nanos(came.at.saturating_sub(end));
                heard.holes += u64::from(is_hole);
            }
            false
        });
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().expect("no thread panics while it holds what was heard")
}

/// What is wrong whoever has made the stream, and is not just that the viewer left in the middle of something.
fn is_foreign(what: &What) -> bool {
    matches!(
        what,
        What::Packet(_)
            | What::TransportError
            | What::Continuity { .. }
            | What::Section(_)
            | What::PesHead(_)
            | What::PesWithoutStart
            | What::PtsBeforeDts { .. }
            | What::DtsBack { .. }
            | What::PcrBack { .. }
    )
}

/// Frames from before the viewer asked came out of the memory of the server: their age is no latency.
fn note(stamp: Stamp, now: u64, asked_at: u64, last: &mut Option<u32>, heard: &mut Heard) {
    match last.replace(stamp.number) {
        None => heard.first_picture.record_nanos(now.saturating_sub(asked_at)),
        Some(last) => {
            let step = stamp.number.wrapping_sub(last);
            if step != 1 {
                heard.breaks += 1;
                heard.frames_lost += u64::from(step.wrapping_sub(1)).min(u64::from(u32::MAX / 2));
            }
        }
    }
    heard.pictures += 1;
    if stamp.nanos >= asked_at {
        heard.latency.record_nanos(now.saturating_sub(stamp.nanos));
    }
}

/// Times of sound and of picture, each of which must not run back.
#[derive(Debug, Default)]
struct Clock {
    times: [Option<u32>; 2],
}

impl Clock {
    fn check(&mut self, kind: MessageKind, timestamp: u32, heard: &mut Heard) {
        let place = match kind {
            MessageKind::Audio => 0,
            MessageKind::Video => 1,
            MessageKind::Script => return,
        };
        if let Some(last) = self.times[place].replace(timestamp)
            && (timestamp.wrapping_sub(last) as i32) < 0
        {
            heard.problem(|| format!("{kind:?}: time runs back from {last} to {timestamp} ms"));
        }
    }
}

#[cfg(test)]
mod tests;
