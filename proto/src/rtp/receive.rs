//! One RTP source in order (RFC 3550, A.1, A.3, A.8): sequence numbers and timestamps unwrapped, packets that came out of order put
//! back, what is missing waited for and given up, and what the receiver report says of it.
//!
//! Not here: payloads, and what times mean (`clock`).
//!
//! Invariants: sequence numbers that are delivered only rise within a source; what waits is at most
//! [`REORDER_PACKETS_MAX`] packets of [`REORDER_BYTES_MAX`] bytes, and none of it longer than it was told to.

use std::collections::VecDeque;

use super::limits::{
    DROPOUT_PACKETS_MAX, HISTORY_PACKETS, LATE_AHEAD_MILLIS_MAX, LATE_MILLIS_MAX, REORDER_BYTES_MAX,
    REORDER_PACKETS_MAX, SPARE_BUFFERS_MAX, SPARE_BYTES_MAX,
};
use super::unpack::Gap;
use super::wire::Packet;
use super::wire::rtcp::{Block, Ntp};

#[cfg(test)]
mod tests;

/// How packets come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// UDP: what is missing may still come.
    Datagram,
    /// Within a TCP connection: what is missing was never sent.
    Interleaved,
}

/// Whether a packet goes on where the one before it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Same,
    /// Another SSRC, or sequence numbers that began anew: nothing before it is continued.
    New,
}

/// One packet in order, lent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delivery<'a> {
    pub source: Source,
    pub gap: Gap,
    /// Unwrapped; goes on over sources by the nearest.
    pub timestamp: i64,
    pub marker: bool,
    /// When it came, µs.
    pub arrival_micros: i64,
    pub payload: &'a [u8],
}

/// Packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// All of the source, those that came twice or late too.
    pub received: u64,
    /// Given up. Some of them may have come late.
    pub lost: u64,
    pub duplicate: u64,
    /// Came after they were given up, or before the first.
    pub late: u64,
    /// Came out of order, and were put back.
    pub reordered: u64,
    /// Of another source than the one that is listened to, or of none.
    pub strays: u64,
    /// Of another payload type.
    pub other_format: u64,
    /// New sources.
    pub restarts: u64,
}

/// State of one source.
#[derive(Debug)]
pub struct Receiver {
    payload_type: u8,
    clock_rate: u32,
    reorder_micros: i64,
    source: Option<Line>,
    /// The first place is that of the packet which is due.
    window: VecDeque<Option<Held>>,
    held: usize,
    held_bytes: usize,
    /// May be the first of a new source.
    candidate: Option<(u32, Held)>,
    spare: Vec<Vec<u8>>,
    last_timestamp: Option<i64>,
    /// Something is missing before the next packet.
    gap: Gap,
    newness: Source,
    counters: Counters,
}

/// What is known of a source in force.
#[derive(Debug)]
struct Line {
    ssrc: u32,
    /// Unwrapped: the packet that is due.
    next: i64,
    base: i64,
    highest: i64,
    received: i64,
    /// By sequence number: whether it was delivered.
    history: [u64; HISTORY_PACKETS / 64],
    /// In RTP time, times 16.
    jitter: u32,
    transit: Option<u32>,
    report: Option<(Ntp, i64)>,
    expected_before: i64,
    received_before: i64,
}

#[derive(Debug)]
struct Held {
    sequence: u16,
    marker: bool,
    payload_type: u8,
    timestamp: u32,
    arrival_micros: i64,
    bytes: Vec<u8>,
}

impl Receiver {
    /// `reorder_micros` is how long a missing datagram is waited for.
    pub fn new(payload_type: u8, clock_rate: u32, reorder_micros: i64) -> Self {
        Receiver {
            payload_type,
            clock_rate: clock_rate.max(1),
            reorder_micros: reorder_micros.max(0),
            source: None,
            window: VecDeque::new(),
            held: 0,
            held_bytes: 0,
            candidate: None,
            spare: Vec::new(),
            last_timestamp: None,
            gap: Gap::None,
            newness: Source::New,
            counters: Counters::default(),
        }
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Of the source in force.
    pub fn ssrc(&self) -> Option<u32> {
        self.source.as_ref().map(|line| line.ssrc)
    }

    /// One packet as it came, at `now` in µs of any clock that does not go back. What is in order by it goes to `deliver`.
    pub fn packet(&mut self, now: i64, arrival: Arrival, packet: &Packet<'_>, deliver: &mut impl FnMut(&Delivery<'_>)) {
        let Some(line) = &mut self.source else {
            if packet.payload_type == self.payload_type {
                self.begin(packet.ssrc, packet.sequence);
                self.place(now, arrival, 0, packet, deliver);
            } else {
                self.counters.other_format += 1;
            }
            return;
        };
        let is_ours = packet.ssrc == line.ssrc;
        if !is_ours && packet.payload_type != self.payload_type {
            self.counters.other_format += 1;
            return;
        }
        let ahead = i64::from(packet.sequence.wrapping_sub(line.next as u16).cast_signed());
        if is_ours && self.fits(ahead, packet.timestamp) {
            if let Some((_, stray)) = self.candidate.take() {
                self.counters.strays += 1;
                self.reuse(stray.bytes);
            }
            return self.place(now, arrival, ahead, packet, deliver);
        }
        if arrival == Arrival::Interleaved {
            self.restart(packet.ssrc, packet.sequence, deliver);
            return self.place(now, arrival, 0, packet, deliver);
        }
        self.consider(now, packet, deliver);
    }

    /// What was waited for long enough is given up.
    pub fn handle_timeout(&mut self, now: i64, deliver: &mut impl FnMut(&Delivery<'_>)) {
        while self.poll_timeout().is_some_and(|at| at <= now) {
            self.give_up(deliver);
        }
    }

    /// When something that is waited for is given up.
    pub fn poll_timeout(&self) -> Option<i64> {
        if self.held == 0 {
            return None;
        }
        let first = self.window.iter().flatten().map(|held| held.arrival_micros).min();
        first.map(|micros| micros + self.reorder_micros)
    }

    /// Nothing is waited for any longer.
    pub fn flush(&mut self, deliver: &mut impl FnMut(&Delivery<'_>)) {
        while self.held > 0 {
            self.give_up(deliver);
        }
    }

    /// A sender report of the source in force came.
    pub fn note_report(&mut self, now: i64, ntp: Ntp) {
        if let Some(line) = &mut self.source {
            line.report = Some((ntp, now));
        }
    }

    /// What the next receiver report says of the source in force; the fraction counts from the last call on.
    pub fn report(&mut self, now: i64) -> Option<Block> {
        let line = self.source.as_mut()?;
        let expected = line.highest - line.base + 1;
        let lost = expected - line.received;
        let expected_since = expected - line.expected_before;
        let lost_since = expected_since - (line.received - line.received_before);
        (line.expected_before, line.received_before) = (expected, line.received);
        let fraction = if expected_since > 0 {
            (lost_since.max(0) << 8) / expected_since
        } else {
            0
        };
        let (last_report, delay) = line.report.map_or((0, 0), |(ntp, at)| {
            let delay = (now - at).max(0).saturating_mul(65_536) / 1_000_000;
            (ntp.middle(), u32::try_from(delay).unwrap_or(u32::MAX))
        });
        Some(Block {
            ssrc: line.ssrc,
            fraction_lost: fraction.min(255) as u8,
            lost: lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            sequence: line.highest as u32,
            jitter: line.jitter >> 4,
            last_report,
            delay,
        })
    }

    /// Whether a packet of the source in force, so far ahead of what is due, goes on with it.
    fn fits(&self, ahead: i64, timestamp: u32) -> bool {
        if ahead >= 0 {
            return ahead < DROPOUT_PACKETS_MAX;
        }
        let Some(last) = self.last_timestamp else { return true };
        let old = i64::from((last as u32).wrapping_sub(timestamp).cast_signed()) * 1_000 / i64::from(self.clock_rate);
        ahead >= -(HISTORY_PACKETS as i64) && (-LATE_AHEAD_MILLIS_MAX..=LATE_MILLIS_MAX).contains(&old)
    }

    /// A datagram that fits nowhere. Two of them in order are a new source (RFC 3550, A.1).
    fn consider(&mut self, now: i64, packet: &Packet<'_>, deliver: &mut impl FnMut(&Delivery<'_>)) {
        let known = self.candidate.take();
        let is_second = known
            .as_ref()
            .is_some_and(|(ssrc, first)| *ssrc == packet.ssrc && first.sequence.wrapping_add(1) == packet.sequence);
        if let Some((ssrc, first)) = known {
            if is_second {
                self.restart(ssrc, first.sequence, deliver);
                let arrived = Packet {
                    marker: first.marker,
                    payload_type: first.payload_type,
                    sequence: first.sequence,
                    timestamp: first.timestamp,
                    ssrc,
                    payload: &first.bytes,
                };
                self.place(first.arrival_micros, Arrival::Datagram, 0, &arrived, deliver);
                self.place(now, Arrival::Datagram, 0, packet, deliver);
                return self.reuse(first.bytes);
            }
            self.counters.strays += 1;
            self.reuse(first.bytes);
        }
        let held = self.hold(now, packet);
        self.candidate = Some((packet.ssrc, held));
    }

    fn begin(&mut self, ssrc: u32, sequence: u16) {
        let first = i64::from(sequence);
        self.newness = Source::New;
        self.source = Some(Line {
            ssrc,
            next: first,
            base: first,
            highest: first - 1,
            received: 0,
            history: [0; HISTORY_PACKETS / 64],
            jitter: 0,
            transit: None,
            report: None,
            expected_before: 0,
            received_before: 0,
        });
    }

    fn restart(&mut self, ssrc: u32, sequence: u16, deliver: &mut impl FnMut(&Delivery<'_>)) {
        self.flush(deliver);
        self.window.clear();
        self.counters.restarts += 1;
        self.gap = Gap::Lost;
        self.begin(ssrc, sequence);
    }

    /// A packet of the source in force, so far ahead of what is due.
    fn place(
        &mut self,
        now: i64,
        arrival: Arrival,
        ahead: i64,
        packet: &Packet<'_>,
        deliver: &mut impl FnMut(&Delivery<'_>),
    ) {
        self.counters.received += 1;
        let line = self.source.as_mut().expect("the caller has looked it up");
        line.received += 1;
        let sequence = line.next + ahead;
        let is_in_order = sequence > line.highest;
        line.highest = line.highest.max(sequence);
        if ahead < 0 {
            return self.behind(sequence);
        }
        let is_near = ahead < REORDER_PACKETS_MAX as i64;
        let place = ahead as usize;
        if is_near && matches!(self.window.get(place), Some(Some(_))) {
            self.counters.duplicate += 1;
            return;
        }
        self.measure(now, packet.timestamp);
        self.counters.reordered += u64::from(!is_in_order);
        if ahead == 0 {
            self.deliver(now, packet, deliver);
            self.window.pop_front();
            return self.drain(deliver);
        }
        if arrival == Arrival::Datagram && is_near {
            let held = self.hold(now, packet);
            if self.window.len() <= place {
                self.window.resize_with(place + 1, || None);
            }
            self.held += 1;
            self.held_bytes += held.bytes.len();
            self.window[place] = Some(held);
            while self.held_bytes > REORDER_BYTES_MAX {
                self.give_up(deliver);
            }
            return;
        }
        // Packets before it may wait: they come first.
        self.flush(deliver);
        self.window.clear();
        let line = self.source.as_ref().expect("as above");
        if sequence < line.next {
            return self.behind(sequence);
        }
        self.skip(sequence - line.next);
        self.deliver(now, packet, deliver);
    }

    /// What is due was delivered or given up long ago.
    fn behind(&mut self, sequence: i64) {
        let line = self.source.as_mut().expect("the caller has looked it up");
        let (word, bit) = history_place(sequence);
        let is_known = line.history[word] & bit != 0;
        line.history[word] |= bit;
        if is_known {
            self.counters.duplicate += 1;
        } else {
            self.counters.late += 1;
        }
    }

    /// The first packets that are missing are given up, and what waited for them is delivered.
    fn give_up(&mut self, deliver: &mut impl FnMut(&Delivery<'_>)) {
        let missing = self.window.iter().take_while(|place| place.is_none()).count();
        self.window.drain(..missing);
        self.skip(missing as i64);
        self.drain(deliver);
    }

    fn skip(&mut self, missing: i64) {
        let line = self.source.as_mut().expect("the caller has looked it up");
        for sequence in (line.next..line.next + missing).rev().take(HISTORY_PACKETS) {
            let (word, bit) = history_place(sequence);
            line.history[word] &= !bit;
        }
        line.next += missing;
        if missing > 0 {
            self.counters.lost += missing as u64;
            self.gap = Gap::Lost;
        }
    }

    /// What stands at the beginning of the window is due.
    fn drain(&mut self, deliver: &mut impl FnMut(&Delivery<'_>)) {
        while let Some(Some(_)) = self.window.front() {
            let held = self.window.pop_front().flatten().expect("the front was looked at");
            self.held -= 1;
            self.held_bytes -= held.bytes.len();
            let packet = Packet {
                marker: held.marker,
                payload_type: held.payload_type,
                sequence: held.sequence,
                timestamp: held.timestamp,
                ssrc: 0,
                payload: &held.bytes,
            };
            self.deliver(held.arrival_micros, &packet, deliver);
            self.reuse(held.bytes);
        }
    }

    /// The packet that is due.
    fn deliver(&mut self, arrival_micros: i64, packet: &Packet<'_>, deliver: &mut impl FnMut(&Delivery<'_>)) {
        let line = self.source.as_mut().expect("the caller has looked it up");
        let (word, bit) = history_place(line.next);
        line.history[word] |= bit;
        line.next += 1;
        if packet.payload_type != self.payload_type {
            self.counters.other_format += 1;
            return;
        }
        let timestamp = self
            .last_timestamp
            .map_or(packet.timestamp.into(), |last| unwrap(packet.timestamp, last));
        self.last_timestamp = Some(timestamp);
        deliver(&Delivery {
            source: std::mem::replace(&mut self.newness, Source::Same),
            gap: std::mem::replace(&mut self.gap, Gap::None),
            timestamp,
            marker: packet.marker,
            arrival_micros,
            payload: packet.payload,
        });
    }

    /// Interarrival jitter (RFC 3550, 6.4.1 and A.8).
    fn measure(&mut self, now: i64, timestamp: u32) {
        let line = self.source.as_mut().expect("the caller has looked it up");
        let arrival = i128::from(now) * i128::from(self.clock_rate) / 1_000_000;
        let transit = (arrival as u32).wrapping_sub(timestamp);
        if let Some(before) = line.transit.replace(transit) {
            let distance = transit.wrapping_sub(before).cast_signed().unsigned_abs();
            // A clock that jumps is no jitter.
            let distance = distance.min(self.clock_rate.min(JITTER_MAX));
            line.jitter = line.jitter + distance - ((line.jitter + 8) >> 4);
        }
    }

    fn hold(&mut self, now: i64, packet: &Packet<'_>) -> Held {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.extend_from_slice(packet.payload);
        Held {
            sequence: packet.sequence,
            marker: packet.marker,
            payload_type: packet.payload_type,
            timestamp: packet.timestamp,
            arrival_micros: now,
            bytes,
        }
    }

    fn reuse(&mut self, mut bytes: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS_MAX && bytes.capacity() <= SPARE_BYTES_MAX {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// Of packets that wait, and of buffers for others.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        let waiting = self.window.iter().flatten().map(|held| &held.bytes);
        let candidate = self.candidate.iter().map(|(_, held)| &held.bytes);
        let buffers = waiting
            .chain(candidate)
            .chain(&self.spare)
            .map(Vec::capacity)
            .sum::<usize>();
        buffers + self.window.capacity() * size_of::<Option<Held>>()
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn check_invariants(&self) {
        let held = self.window.iter().flatten();
        assert_eq!(held.clone().count(), self.held);
        assert_eq!(held.map(|held| held.bytes.len()).sum::<usize>(), self.held_bytes);
        assert!(self.held_bytes <= REORDER_BYTES_MAX && self.window.len() <= REORDER_PACKETS_MAX);
        assert!(
            !matches!(self.window.front(), Some(Some(_))),
            "what is due is delivered"
        );
        assert!(self.spare.len() <= SPARE_BUFFERS_MAX);
    }
}

/// One step of jitter, in RTP time: sixteen times as much fits a number.
const JITTER_MAX: u32 = 1 << 24;

fn history_place(sequence: i64) -> (usize, u64) {
    let at = sequence.rem_euclid(HISTORY_PACKETS as i64) as usize;
    (at / 64, 1 << (at % 64))
}

/// `timestamp` as the nearest to `reference` that it can be.
pub(super) fn unwrap(timestamp: u32, reference: i64) -> i64 {
    let ahead = timestamp.wrapping_sub(reference as u32).cast_signed();
    reference + i64::from(ahead)
}
