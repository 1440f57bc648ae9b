//! RTP time of several media to one stream time (RFC 3550, 6.4.1; RFC 2326, 12.33): where each begins, how they stay together,
//! what becomes of jumps.
//!
//! A medium's stream time is its RTP time and a shift. The first packets set it: by `RTP-Info` where there is one, by the
//! moment of arrival else. Sender reports say which RTP times of two media belong together; they move one medium
//! against the others where they do not agree with that already. What a clock of the sender says alone (its date, its
//! jumps) moves nothing.
//!
//! Invariants: decode times of a medium only rise; a shift changes only where that is kept, so media are moved forward,
//! or back by less than the distance of their pictures.

mod frames;
mod order;
mod reports;

use super::limits::{
    ANNOUNCED_MICROS_MAX, JUMP_BACKWARD_MICROS, JUMP_FORWARD_MICROS, REPORT_SHIFT_MICROS_MAX, RESTART_MICROS_MAX,
    START_MICROS,
};
use super::receive::{self, Source};
use crate::media::{Kind, rescale};

use frames::Frames;
use reports::Reports;

pub(super) use frames::Stamp;

/// What a packet does to stream time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Goes,
    /// Its RTP time does not go on with that of the packet before it.
    Jumps,
    /// It is what it was before the last jump.
    Returns,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub reports_refused: u64,
    pub reports_applied: u64,
    pub announced_refused: u64,
    pub reanchors: u64,
}

/// Of all media of one publisher.
#[derive(Debug)]
pub(super) struct Clock {
    lines: Vec<Line>,
    /// The moment of arrival that is [`START_MICROS`] of stream time.
    origin: Option<i64>,
    pub counters: Counters,
}

#[derive(Debug)]
struct Line {
    kind: Kind,
    clock_rate: u32,
    /// `rtptime` of `RTP-Info`.
    announced: Option<u32>,
    place: Option<Place>,
    /// Before the last jump.
    previous: Option<Place>,
    reports: Reports,
    frames: Frames,
}

/// The newest packet.
#[derive(Clone, Copy, Debug)]
struct Place {
    timestamp: i64,
    /// The same in µs.
    micros: i64,
    arrival_micros: i64,
    /// Stream time minus RTP time, µs.
    shift: i64,
}

impl Clock {
    pub fn new(media: impl Iterator<Item = (Kind, u32)>) -> Self {
        let line = |(kind, clock_rate): (Kind, u32)| Line {
            kind,
            clock_rate: clock_rate.max(1),
            announced: None,
            place: None,
            previous: None,
            reports: Reports::default(),
            frames: Frames::default(),
        };
        Clock {
            lines: media.map(line).collect(),
            origin: None,
            counters: Counters::default(),
        }
    }

    /// `RTP-Info` says where a medium begins. Only before its first packet.
    pub fn announce(&mut self, at: usize, rtp_time: u32) {
        self.lines[at].announced = Some(rtp_time);
    }

    /// Whether a packet, in order, is not where RTP time goes on.
    pub fn jumps(&self, at: usize, delivery: &receive::Delivery<'_>) -> bool {
        let line = &self.lines[at];
        let Some(place) = line.place else { return false };
        let step = rescale(delivery.timestamp, line.clock_rate, 1_000_000) - place.micros;
        let elapsed = (delivery.arrival_micros - place.arrival_micros).max(0);
        match delivery.source {
            Source::New => (step - elapsed).abs() > RESTART_MICROS_MAX,
            // What was silent for long may go on where time is.
            Source::Same => step < -JUMP_BACKWARD_MICROS || step - elapsed > JUMP_FORWARD_MICROS,
        }
    }

    /// A packet of a medium, in order.
    pub fn packet(&mut self, at: usize, delivery: &receive::Delivery<'_>) -> Step {
        let is_jump = self.jumps(at, delivery);
        let line = &mut self.lines[at];
        let micros = rescale(delivery.timestamp, line.clock_rate, 1_000_000);
        let arrival_micros = delivery.arrival_micros;
        let Some(place) = &mut line.place else {
            self.anchor(at, delivery.timestamp, micros, arrival_micros);
            return Step::Goes;
        };
        if delivery.source == Source::New {
            line.reports.forget();
        }
        let before = *place;
        (place.timestamp, place.micros) = (delivery.timestamp, micros);
        place.arrival_micros = arrival_micros;
        if !is_jump {
            return Step::Goes;
        }
        let returns = line.previous.take().filter(|previous| {
            let elapsed = arrival_micros - previous.arrival_micros;
            (micros - previous.micros - elapsed).abs() <= RESTART_MICROS_MAX
        });
        let elapsed = (arrival_micros - before.arrival_micros).max(line.frames.interval_micros());
        place.shift = match &returns {
            Some(previous) => previous.shift,
            None => before.micros + before.shift + elapsed - micros,
        };
        line.reports.forget();
        line.frames.restart();
        if returns.is_some() {
            return Step::Returns;
        }
        line.previous = Some(before);
        Step::Jumps
    }

    /// The first packet of a medium.
    fn anchor(&mut self, at: usize, timestamp: i64, micros: i64, arrival_micros: i64) {
        let line = &mut self.lines[at];
        let by_arrival = self.origin.map_or(0, |origin| arrival_micros - origin) + START_MICROS;
        let mut stream = by_arrival;
        if let Some(rtp_time) = line.announced {
            let begin = rescale(receive::unwrap(rtp_time, timestamp), line.clock_rate, 1_000_000);
            let since = micros - begin;
            let by_announced = since + START_MICROS;
            let is_near = self.origin.is_none() || (by_announced - by_arrival).abs() <= REPORT_SHIFT_MICROS_MAX;
            if is_near && (0..=ANNOUNCED_MICROS_MAX).contains(&since) {
                stream = by_announced;
            } else {
                self.counters.announced_refused += 1;
            }
        }
        self.origin.get_or_insert(arrival_micros - (stream - START_MICROS));
        line.place = Some(Place {
            timestamp,
            micros,
            arrival_micros,
            shift: stream - micros,
        });
        line.reports.check(timestamp, line.clock_rate, &mut self.counters);
        self.compare_from(at);
    }
}
