//! What a publisher sends, to tracks, breaks and frames: the one place where a stream knows of its publisher's protocol.

use penstock_proto::media::{Item, Track};
use penstock_proto::rtp::format::PayloadFormat;
use penstock_proto::rtp::{self, Arrival, limits::MEDIA_MAX};
use penstock_proto::rtsp::Part;
use penstock_proto::tag::demux::{Demux, MessageKind};

use crate::counters::AppCounters;

/// Reads what one publisher sends. Owned by the stream's home shard.
#[derive(Debug)]
pub enum Input {
    /// Of RTMP and FLV.
    Tags(Box<Demux>),
    /// Of RTSP.
    Packets(Box<Packets>),
}

/// Something of a publisher's media, as its protocol cuts it.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    Message {
        kind: MessageKind,
        timestamp: u32,
        body: &'a [u8],
    },
    Packet {
        /// Index in the publisher's description.
        medium: usize,
        part: Part,
        arrival: Arrival,
        bytes: &'a [u8],
    },
    /// Nothing came, and [`Input::poll_timeout`] has passed.
    Time,
    /// Nothing will come.
    End,
}

/// RTP and RTCP of several media.
#[derive(Debug)]
pub struct Packets {
    input: rtp::Input,
    /// The input's number of each medium that was described; none of what is no RTP, or not sent.
    numbers: Vec<Option<usize>>,
    /// What was counted before.
    counted: Totals,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    lost: u64,
    late: u64,
    reordered: u64,
    unreadable: u64,
    frames_lost: u64,
}

impl Piece<'_> {
    pub fn bytes(&self) -> usize {
        match self {
            Piece::Message { body, .. } => body.len(),
            Piece::Packet { bytes, .. } => bytes.len(),
            Piece::Time | Piece::End => 0,
        }
    }
}

/// What could not be read, which is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Whether the tracks that a publisher said it would send are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// It said nothing.
    Unsaid,
    Missing,
    Complete,
}

impl Input {
    pub fn tags() -> Input {
        Input::Tags(Box::default())
    }

    /// By medium, as described; none of what is no RTP, or not sent. `ssrc`: ours, in reports; random.
    pub fn packets(media: &[Option<PayloadFormat>], ssrc: u32, now: u64) -> Input {
        let mut inputs = Vec::new();
        let mut numbers = Vec::new();
        for format in media {
            let format = format.as_ref().filter(|_| inputs.len() < MEDIA_MAX);
            numbers.push(format.map(|_| inputs.len()));
            inputs.extend(format.cloned());
        }
        let options = rtp::Options {
            ssrc,
            ..rtp::Options::default()
        };
        Input::Packets(Box::new(Packets {
            input: rtp::Input::new(&inputs, options, micros(now)),
            numbers,
            counted: Totals::default(),
        }))
    }

    /// Takes in a piece; [`Input::poll`] gives what it makes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn push(&mut self, now: u64, piece: &Piece<'_>) -> Result<(), Unreadable> {
        match (self, piece) {
            (Input::Tags(demux), Piece::Message { kind, timestamp, body }) => {
                demux.push(*kind, *timestamp, body).map_err(|_| Unreadable)
            }
            (Input::Packets(packets), piece) => packets.push(micros(now), piece),
            (Input::Tags(_), Piece::Time | Piece::End) => Ok(()),
            (Input::Tags(_), Piece::Packet { .. }) => Err(Unreadable),
        }
    }

    pub fn poll(&mut self) -> Option<Item<'_>> {
        match self {
            Input::Tags(demux) => demux.poll(),
            Input::Packets(packets) => packets.input.poll(),
        }
    }

    /// When [`Piece::Time`] is due (µs).
    pub fn poll_timeout(&self) -> Option<u64> {
        match self {
            Input::Tags(_) => None,
            Input::Packets(packets) => u64::try_from(packets.input.poll_timeout()).ok(),
        }
    }

    /// A receiver report for the publisher, and its medium; behind [`Piece::Time`].
    pub fn poll_report(&mut self) -> Option<(usize, &[u8])> {
        let Input::Packets(packets) = self else { return None };
        let Packets { input, numbers, .. } = &mut **packets;
        let (number, report) = input.poll_report()?;
        let medium = numbers.iter().position(|known| *known == Some(number))?;
        Some((medium, report))
    }

    /// In force behind what was polled last.
    pub fn tracks(&self) -> &[Track] {
        match self {
            Input::Tags(demux) => demux.tracks(),
            Input::Packets(packets) => packets.input.tracks(),
        }
    }

    pub fn completeness(&self) -> Completeness {
        let (announced, is_complete) = match self {
            Input::Tags(demux) => (demux.announced(), demux.is_complete()),
            Input::Packets(packets) => (packets.input.announced(), packets.input.is_complete()),
        };
        match (announced.video, announced.audio) {
            (None, None) => Completeness::Unsaid,
            _ if is_complete => Completeness::Complete,
            _ => Completeness::Missing,
        }
    }

    /// `RTP-Info` says that a medium begins at this RTP time. It counts before its first packet.
    pub fn announce(&mut self, medium: usize, rtp_time: u32) {
        let Input::Packets(packets) = self else { return };
        if let Some(number) = packets.numbers.get(medium).copied().flatten() {
            packets.input.announce(number, rtp_time);
        }
    }

    /// The publisher has said that nothing more comes, while its connection goes on.
    pub fn has_ended(&self) -> bool {
        match self {
            Input::Tags(_) => false,
            Input::Packets(packets) => packets.input.has_ended(),
        }
    }

    /// Adds what was lost on the way since the last call.
    pub fn count(&mut self, counters: &AppCounters) {
        if let Input::Packets(packets) = self {
            packets.count(counters);
        }
    }
}

impl Packets {
    fn push(&mut self, now: i64, piece: &Piece<'_>) -> Result<(), Unreadable> {
        match *piece {
            Piece::Packet {
                medium,
                part,
                arrival,
                bytes,
            } => {
                let number = self.numbers.get(medium).copied().flatten().ok_or(Unreadable)?;
                match part {
                    Part::Rtp => self.input.rtp(number, now, arrival, bytes),
                    Part::Rtcp => self.input.rtcp(number, now, bytes),
                }
            }
            Piece::Time => self.input.handle_timeout(now),
            Piece::End => self.input.flush(now),
            Piece::Message { .. } => return Err(Unreadable),
        }
        Ok(())
    }

    fn count(&mut self, counters: &AppCounters) {
        let ours = self.input.counters();
        let mut totals = Totals {
            unreadable: ours.bad_packets + ours.bad_payloads + ours.bad_reports,
            frames_lost: ours.frames_damaged + ours.frames_undecodable,
            ..Totals::default()
        };
        for number in self.numbers.iter().flatten() {
            let received = self.input.received(*number);
            totals.lost += received.lost;
            totals.late += received.late;
            totals.reordered += received.reordered;
        }
        let before = std::mem::replace(&mut self.counted, totals);
        counters.packets_lost.add(totals.lost - before.lost);
        counters.packets_late.add(totals.late - before.late);
        counters.packets_reordered.add(totals.reordered - before.reordered);
        counters.packets_unreadable.add(totals.unreadable - before.unreadable);
        counters.frames_lost.add(totals.frames_lost - before.frames_lost);
    }
}

fn micros(now: u64) -> i64 {
    i64::try_from(now).unwrap_or(i64::MAX)
}
