//! Packets of one publisher to tracks and frames in one stream time, and the receiver reports that it gets.
//!
//! Not here: where packets come from, the session description (`sdp`), what becomes of frames.
//!
//! What is lost is not covered up: a picture of which a part is missing is dropped, and so is what depends on it up to the
//! next keyframe, and behind that what is shown before it; sound goes on with the next packet. All of it is counted.
//!
//! Invariants: decode times of a track only rise; a frame's track is in [`Input::tracks`] before the frame is polled,
//! behind a break that says so; codec data of a (track, generation) never change; a track of pictures begins with a
//! keyframe.

use std::collections::VecDeque;
use std::ops::Range;

use super::clock::{Clock, Stamp, Step};
use super::format::PayloadFormat;
use super::limits::{
    FIRST_REPORT_MICROS, MEDIA_MAX, PARTS_MAX, REORDER_FRAMES_MAX, REORDER_MICROS, REPORT_MICROS, SHARED_JUMP_MICROS,
};
use super::private::PrivateHead;
use super::receive::{self, Arrival, Delivery, Receiver, Source};
use super::unpack::{self, Gap, Payload, Setup, Unit, Units, Unpack, Unpacked, Wholeness};
use super::wire::packet::is_rtcp;
use super::wire::rtcp::{self, Part};
use crate::media::{Break, Frame, Item, Kind, Track, rescale};
use crate::tag::Announced;

mod runs;
#[cfg(test)]
mod tests;

use runs::Runs;

/// What is ours to choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Of our reports: of the first medium, each other has the next. Random.
    pub ssrc: u32,
    /// Canonical name in our reports (RFC 3550, 6.5.1), at most 255 bytes.
    pub cname: String,
    /// How long a missing datagram is waited for.
    pub reorder_micros: i64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            ssrc: 1,
            cname: "penstock".to_owned(),
            reorder_micros: REORDER_MICROS,
        }
    }
}

/// Frames, unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub frames: u64,
    /// A part of them was lost, or may have been. Of what was lost whole nothing is known.
    pub frames_damaged: u64,
    /// Came between a loss and the next keyframe, or are shown before that one and depend on what is before it.
    pub frames_undecodable: u64,
    /// Came before the first keyframe.
    pub frames_before_key: u64,
    pub time_jumps: u64,
    /// Sound at which counted time was set to its stamp.
    pub reanchors: u64,
    /// Packets that could not be read.
    pub bad_packets: u64,
    /// RTCP packets that could not be read to their end.
    pub bad_reports: u64,
    /// Packets that had something before the RTP header.
    pub private_heads: u64,
    /// Payloads that could not be read.
    pub bad_payloads: u64,
    /// Sender reports that were wrong, or of another source.
    pub reports_refused: u64,
    /// Sender reports by which a medium was moved against others.
    pub reports_applied: u64,
    /// `RTP-Info` that was wrong.
    pub announced_refused: u64,
}

/// State of one publisher; a plain value, owned by its connection. Times are µs of one clock that does not go back.
#[derive(Debug)]
pub struct Input {
    media: Vec<Medium>,
    works: Works,
    tracks: Vec<Track>,
    /// The medium of each of `tracks`, rising.
    owners: Vec<usize>,
    options: Options,
    report_at: i64,
    /// Media that are still to be reported on.
    reports: Range<usize>,
    report: Vec<u8>,
    now: i64,
}

/// One media line.
#[derive(Debug)]
struct Medium {
    private: PrivateHead,
    receiver: Receiver,
    lane: Lane,
}

/// What a medium is beyond its packets.
#[derive(Debug)]
struct Lane {
    at: usize,
    payload_type: u8,
    clock_rate: u32,
    /// As described.
    announced: Kind,
    /// As it is read: what stays in its packets is neither pictures nor sound.
    kind: Kind,
    unpack: Box<dyn Unpack>,
    /// As it will be when everything pending is polled.
    track: Option<Track>,
    awaiting: Awaiting,
    leading: Option<Leading>,
    runs: Runs,
    has_ended: bool,
}

/// Behind a keyframe that something was missing before: pictures that come after it and are shown before it (of an open GOP)
/// need what is missing.
#[derive(Clone, Copy, Debug)]
struct Leading {
    /// Of the keyframe.
    timestamp: i64,
    /// How many there may be.
    left: usize,
    /// What the keyframe ended.
    cause: Awaiting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaiting {
    Nothing,
    FirstKey,
    /// Something was lost.
    Key,
}

/// What all media work on.
#[derive(Debug)]
struct Works {
    clock: Clock,
    units: Units,
    pending: VecDeque<Pending>,
    /// Payloads of the frames in `pending`.
    buffer: Vec<u8>,
    last_id: u32,
    /// The medium of a jump that is to be said before the next frame.
    jump_due: Option<usize>,
    jumped_at: Option<i64>,
    counters: Counters,
}

#[derive(Debug)]
enum Pending {
    Jump,
    /// A track as it is from here on, and the break; none if only hints changed.
    Track(usize, Track, Option<Break>),
    Frame {
        track: u32,
        stamp: Stamp,
        key: bool,
        range: Range<usize>,
    },
}

impl Input {
    /// One format for each media line that is listened to, at most [`MEDIA_MAX`], in their order.
    pub fn new(formats: &[PayloadFormat], options: Options, now: i64) -> Self {
        let media = formats.iter().map(|format| (format.clone(), unpack::of(format)));
        Self::with(media.collect(), options, now)
    }

    /// The same with payloads read by others.
    pub(super) fn with(media: Vec<(PayloadFormat, Box<dyn Unpack>)>, options: Options, now: i64) -> Self {
        assert!(media.len() <= MEDIA_MAX, "the caller leaves out what is too much");
        let clock = Clock::new(media.iter().map(|(format, _)| (format.kind, format.clock_rate)));
        let medium = |(at, (format, unpack)): (usize, (PayloadFormat, Box<dyn Unpack>))| Medium {
            private: PrivateHead::default(),
            receiver: Receiver::new(format.payload_type, format.clock_rate, options.reorder_micros),
            lane: Lane {
                at,
                payload_type: format.payload_type,
                clock_rate: format.clock_rate.max(1),
                announced: format.kind,
                kind: format.kind,
                unpack,
                track: None,
                awaiting: match format.kind {
                    Kind::Video => Awaiting::FirstKey,
                    _ => Awaiting::Nothing,
                },
                leading: None,
                runs: Runs::default(),
                has_ended: false,
            },
        };
        let media: Vec<Medium> = media.into_iter().enumerate().map(medium).collect();
        Input {
            works: Works {
                clock,
                units: Units::new(),
                pending: VecDeque::new(),
                buffer: Vec::new(),
                last_id: media.len() as u32,
                jump_due: None,
                jumped_at: None,
                counters: Counters::default(),
            },
            tracks: Vec::new(),
            owners: Vec::new(),
            report_at: now + FIRST_REPORT_MICROS,
            reports: 0..0,
            report: Vec::new(),
            now,
            media,
            options,
        }
    }

    /// `RTP-Info` says that medium `at` begins at this RTP time. Before its first packet.
    pub fn announce(&mut self, at: usize, rtp_time: u32) {
        self.works.clock.announce(at, rtp_time);
    }

    /// One packet of medium `at`. What cannot be read is counted. Must be drained with [`Input::poll`] before the next call.
    pub fn rtp(&mut self, at: usize, now: i64, arrival: Arrival, bytes: &[u8]) {
        self.enter(now);
        if is_rtcp(bytes) {
            // MistServer and some cameras send reports there.
            return self.rtcp(at, now, bytes);
        }
        let Medium {
            private,
            receiver,
            lane,
        } = &mut self.media[at];
        let Some(packet) = private.parse(bytes, lane.payload_type) else {
            return;
        };
        lane.has_ended = false;
        let works = &mut self.works;
        receiver.packet(now, arrival, &packet, &mut |delivery| works.take(lane, delivery));
    }

    /// One compound RTCP packet of medium `at`.
    pub fn rtcp(&mut self, at: usize, now: i64, bytes: &[u8]) {
        self.enter(now);
        let medium = &mut self.media[at];
        let source = medium.receiver.ssrc();
        let is_ours = |ssrc| source.is_none_or(|source| source == ssrc);
        for part in rtcp::parts(bytes).take(PARTS_MAX) {
            match part {
                Ok(Part::SenderReport(report, _)) if is_ours(report.ssrc) => {
                    medium.receiver.note_report(now, report.ntp);
                    if self.works.clock.report(at, &report) {
                        self.works.jump(at, now);
                    }
                }
                Ok(Part::SenderReport(..)) => self.works.counters.reports_refused += 1,
                Ok(Part::Goodbye { ssrc }) if is_ours(ssrc) => medium.lane.has_ended = true,
                Ok(_) => {}
                Err(_) => self.works.counters.bad_reports += 1,
            }
        }
    }

    /// What is due at [`Input::poll_timeout`]: missing packets are given up, reports are made.
    pub fn handle_timeout(&mut self, now: i64) {
        self.enter(now);
        for Medium { receiver, lane, .. } in &mut self.media {
            let works = &mut self.works;
            receiver.handle_timeout(now, &mut |delivery| works.take(lane, delivery));
        }
        if now >= self.report_at {
            self.reports = 0..self.media.len();
            self.report_at = now + REPORT_MICROS;
        }
    }

    /// When [`Input::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> i64 {
        let waiting = self.media.iter().filter_map(|medium| medium.receiver.poll_timeout());
        waiting.fold(self.report_at, i64::min)
    }

    /// No packet will come: what is there is completed.
    pub fn flush(&mut self, now: i64) {
        self.enter(now);
        for Medium { receiver, lane, .. } in &mut self.media {
            let works = &mut self.works;
            receiver.flush(&mut |delivery| works.take(lane, delivery));
            works.complete(lane);
        }
    }

    pub fn poll(&mut self) -> Option<Item<'_>> {
        Some(match self.works.pending.pop_front()? {
            Pending::Jump => Item::Break(Break::TimeJump),
            Pending::Track(at, track, kind) => {
                self.enter_track(at, track);
                kind.map_or(Item::Metadata, Item::Break)
            }
            Pending::Frame {
                track,
                stamp,
                key,
                range,
            } => Item::Frame(Frame {
                track,
                dts: stamp.dts,
                offset: stamp.offset,
                key,
                data: &self.works.buffer[range],
            }),
        })
    }

    /// A receiver report to be sent, and its medium. It stands until the next call.
    pub fn poll_report(&mut self) -> Option<(usize, &[u8])> {
        let at = self.reports.next()?;
        let ssrc = self.options.ssrc.wrapping_add(at as u32);
        let block = self.media[at].receiver.report(self.now);
        self.report.clear();
        rtcp::emit_receiver_report(ssrc, block.as_slice(), &mut self.report);
        rtcp::emit_name(ssrc, &self.options.cname, &mut self.report);
        Some((at, &self.report))
    }

    /// In the order of the media lines.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// The description says what there is.
    pub fn announced(&self) -> Announced {
        let has = |kind| self.media.iter().any(|medium| medium.lane.announced == kind);
        Announced {
            video: Some(has(Kind::Video)),
            audio: Some(has(Kind::Audio)),
        }
    }

    /// Every medium of pictures or sound has its track.
    pub fn is_complete(&self) -> bool {
        let is_there =
            |(at, medium): (usize, &Medium)| medium.lane.announced == Kind::Meta || self.owners.contains(&at);
        self.media.iter().enumerate().all(is_there)
    }

    /// Every medium that has sent anything has said goodbye.
    pub fn has_ended(&self) -> bool {
        let mut sources = self.media.iter().filter(|medium| medium.receiver.ssrc().is_some());
        let is_any = sources.clone().next().is_some();
        is_any && sources.all(|medium| medium.lane.has_ended)
    }

    /// Stream time and the publisher's time since 1970 that goes with it, in µs, once a publisher that knows the date has
    /// reported.
    pub fn wall_clock(&self) -> Option<(i64, i64)> {
        self.works.clock.wall_clock()
    }

    pub fn counters(&self) -> Counters {
        let clock = self.works.clock.counters;
        let mut counters = self.works.counters;
        counters.reanchors = clock.reanchors;
        counters.reports_refused += clock.reports_refused;
        counters.reports_applied = clock.reports_applied;
        counters.announced_refused = clock.announced_refused;
        for medium in &self.media {
            counters.bad_packets += medium.private.unreadable;
            counters.private_heads += medium.private.skipped;
            counters.bad_payloads += medium.lane.unpack.unreadable();
        }
        counters
    }

    /// Packets of medium `at`.
    pub fn received(&self, at: usize) -> receive::Counters {
        self.media[at].receiver.counters()
    }

    fn enter(&mut self, now: i64) {
        assert!(self.works.pending.is_empty(), "drain before the next input");
        self.works.buffer.clear();
        self.now = self.now.max(now);
    }

    fn enter_track(&mut self, at: usize, track: Track) {
        match self.owners.binary_search(&at) {
            Ok(index) => self.tracks[index] = track,
            Err(index) => {
                self.owners.insert(index, at);
                self.tracks.insert(index, track);
            }
        }
    }

    /// Of packets that wait, of buffers and of what is polled next. What an unpacker has begun is bounded by its own limits.
    #[cfg(test)]
    fn held_bytes(&self) -> usize {
        let waiting = self
            .media
            .iter()
            .map(|medium| medium.receiver.held_bytes())
            .sum::<usize>();
        waiting + self.works.buffer.capacity() + self.works.units.held_bytes()
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn check_invariants(&self) {
        for medium in &self.media {
            medium.receiver.check_invariants();
        }
        assert!(self.tracks.len() == self.owners.len() && self.tracks.len() <= self.media.len());
    }
}

impl Lane {
    fn timescale(&self) -> u32 {
        self.track.as_ref().map_or(self.clock_rate, |track| track.timescale)
    }

    /// Why a whole unit cannot be decoded, if it cannot.
    fn shuts_out(&mut self, unit: &Unit<'_>) -> Option<Awaiting> {
        if self.kind != Kind::Video || unit.key {
            self.leading = None;
            return None;
        }
        if self.awaiting != Awaiting::Nothing {
            return Some(self.awaiting);
        }
        let leading = self.leading.as_mut()?;
        if unit.timestamp >= leading.timestamp || leading.left == 0 {
            self.leading = None;
            return None;
        }
        leading.left -= 1;
        Some(leading.cause)
    }
}

impl Works {
    /// One packet in order.
    fn take(&mut self, lane: &mut Lane, delivery: &Delivery<'_>) {
        if delivery.source == Source::New || self.clock.jumps(lane.at, delivery) {
            self.complete(lane);
        }
        match self.clock.packet(lane.at, delivery) {
            Step::Goes => {}
            Step::Jumps => self.jump(lane.at, delivery.arrival_micros),
            Step::Returns => self.jump_due = self.jump_due.filter(|at| *at != lane.at),
        }
        let payload = Payload {
            timestamp: delivery.timestamp,
            marker: delivery.marker,
            gap: delivery.gap,
            data: delivery.payload,
        };
        self.units.clear();
        lane.runs.packet(delivery.timestamp, delivery.gap);
        lane.unpack.packet(&payload, &mut self.units);
        let lost = (delivery.gap == Gap::Lost).then_some(delivery.timestamp);
        self.pass_on(lane, lost);
        self.counters.frames_damaged += u64::from(lane.runs.settle());
    }

    /// What is there of a frame is all of it.
    fn complete(&mut self, lane: &mut Lane) {
        self.units.clear();
        lane.unpack.flush(&mut self.units);
        self.pass_on(lane, None);
        self.counters.frames_damaged += u64::from(lane.runs.end(lane.kind));
        lane.leading = None;
    }

    /// Units to frames. `lost` is the timestamp behind a loss.
    fn pass_on(&mut self, lane: &mut Lane, mut lost: Option<i64>) {
        if lost.is_some() && lane.kind != Kind::Video {
            self.lose(lane);
            lost = None;
        }
        let units = std::mem::take(&mut self.units);
        for unpacked in units.iter() {
            match unpacked {
                Unpacked::Setup(setup) => self.set_up(lane, setup),
                Unpacked::Unit(unit) => {
                    let (kind, clock_rate, timescale) = (lane.kind, lane.clock_rate, lane.timescale());
                    // Sound is complete with its last packet; a picture may be only with the next.
                    let is_of =
                        |timestamp| kind != Kind::Video || rescale(timestamp, clock_rate, timescale) == unit.timestamp;
                    lane.runs.tell(is_of);
                    // What was complete before the loss has another timestamp.
                    if lost.is_some_and(is_of) {
                        self.lose(lane);
                        lost = None;
                    }
                    self.unit(lane, &unit);
                }
            }
        }
        if lost.is_some() {
            self.lose(lane);
        }
        self.units = units;
    }

    /// Packets are missing.
    fn lose(&mut self, lane: &mut Lane) {
        if lane.kind != Kind::Video {
            self.clock.restart(lane.at);
        } else if lane.awaiting == Awaiting::Nothing {
            lane.awaiting = Awaiting::Key;
        }
    }

    fn unit(&mut self, lane: &mut Lane, unit: &Unit<'_>) {
        let Some(track) = lane.track.as_ref().map(|track| track.id) else {
            return;
        };
        if unit.wholeness == Wholeness::Damaged {
            self.counters.frames_damaged += 1;
            return self.lose(lane);
        }
        if let Some(cause) = lane.shuts_out(unit) {
            match cause {
                Awaiting::FirstKey => self.counters.frames_before_key += 1,
                _ => self.counters.frames_undecodable += 1,
            }
            return;
        }
        if lane.awaiting != Awaiting::Nothing {
            lane.leading = Some(Leading {
                timestamp: unit.timestamp,
                left: REORDER_FRAMES_MAX,
                cause: lane.awaiting,
            });
            self.clock.restart(lane.at);
            lane.awaiting = Awaiting::Nothing;
        }
        if self.jump_due.take().is_some() {
            self.counters.time_jumps += 1;
            self.pending.push_back(Pending::Jump);
        }
        let begin = self.buffer.len();
        self.buffer.extend_from_slice(unit.data);
        self.pending.push_back(Pending::Frame {
            track,
            stamp: self.clock.frame(lane.at, unit),
            key: unit.key || lane.kind == Kind::Audio,
            range: begin..self.buffer.len(),
        });
        self.counters.frames += 1;
    }

    fn set_up(&mut self, lane: &mut Lane, setup: &Setup) {
        let mut track = Track {
            id: lane.at as u32 + 1,
            generation: 0,
            codec: setup.codec,
            timescale: setup.timescale.max(1),
            codec_data: setup.codec_data.clone(),
            bitrate_hint: 0,
            format: setup.format,
        };
        let kind = match &lane.track {
            None => Some(Break::TrackSet),
            Some(before) if before.codec == track.codec && before.timescale == track.timescale => {
                (track.id, track.generation) = (before.id, before.generation);
                if *before == track {
                    return;
                }
                let is_new = before.codec_data != track.codec_data;
                track.generation += u32::from(is_new);
                is_new.then_some(Break::CodecData)
            }
            Some(_) => {
                self.last_id += 1;
                track.id = self.last_id;
                Some(Break::TrackSet)
            }
        };
        self.clock.set_up(lane.at, setup);
        lane.kind = track.kind();
        if lane.kind != Kind::Video {
            lane.awaiting = Awaiting::Nothing;
        }
        lane.track = Some(track.clone());
        self.pending.push_back(Pending::Track(lane.at, track, kind));
    }

    /// Media that jump together make one jump.
    fn jump(&mut self, at: usize, now: i64) {
        let is_shared = self
            .jumped_at
            .is_some_and(|before| (now - before).abs() <= SHARED_JUMP_MICROS);
        if !is_shared {
            self.jump_due = Some(at);
            self.jumped_at = Some(now);
        }
    }
}
