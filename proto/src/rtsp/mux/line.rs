//! One lane of a feed: its packets, sequence numbers, timestamps and reports.

use super::join::JoinLane;
use super::{Clock, Lane};
use crate::media::{Frame, Kind, Track, rescale};
use crate::rtp::format::PayloadFormat;
use crate::rtp::pack::{self, Pack};
use crate::rtp::wire::Packet;
use crate::rtp::wire::packet::HEAD_BYTES;
use crate::rtp::wire::rtcp::{self, SenderReport};

/// Where sequence numbers and times of a lane begin, and its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed {
    pub ssrc: u32,
    pub sequence: u16,
    pub rtp_time: u32,
}

#[derive(Debug)]
pub(super) struct Line {
    lane: Lane,
    /// What the publisher calls its track.
    id: u32,
    seed: Seed,
    packet_bytes_max: usize,
    /// The track it carries now; none while it is silent.
    bound: Option<Bound>,
    /// Of the next packet.
    sequence: u16,
    packets: u32,
    octets: u32,
    skipped_before: u64,
}

#[derive(Debug)]
struct Bound {
    track: Track,
    pack: Box<dyn Pack>,
}

impl Line {
    pub(super) fn new(lane: Lane, seed: Seed, packet_bytes_max: usize) -> Self {
        Line {
            id: lane.track,
            lane,
            seed,
            packet_bytes_max,
            bound: None,
            sequence: seed.sequence,
            packets: 0,
            octets: 0,
            skipped_before: 0,
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Whether what was described holds for `track`.
    pub(super) fn holds(&self, track: &Track) -> bool {
        pack::format(track, &[]).is_some_and(|format| agree(&self.lane.format, &format))
    }

    /// Frames of `track` from here on, or none.
    pub(super) fn bind(&mut self, track: Option<&Track>) {
        if self.bound.as_ref().map(|bound| &bound.track) == track {
            return;
        }
        self.id = track.map_or(self.id, |track| track.id);
        if let Some(bound) = self.bound.take() {
            self.skipped_before += bound.pack.skipped();
        }
        let payload_bytes_max = self.packet_bytes_max - HEAD_BYTES;
        self.bound = track.and_then(|track| {
            Some(Bound {
                track: track.clone(),
                pack: pack::of(track, payload_bytes_max, self.sequence)?,
            })
        });
    }

    pub(super) fn track(&self) -> Option<&Track> {
        self.bound.as_ref().map(|bound| &bound.track)
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        self.track().map(Track::kind)
    }

    pub(super) fn skipped(&self) -> u64 {
        self.skipped_before + self.bound.as_ref().map_or(0, |bound| bound.pack.skipped())
    }

    /// Appends the packets of a frame of its track, each a `$` frame.
    pub(super) fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) {
        let Some(bound) = &mut self.bound else { return };
        let shown = frame.dts.saturating_add(i64::from(frame.offset));
        let ticks = rescale(shown, bound.track.timescale, self.lane.format.clock_rate);
        let rtp_time = self.seed.rtp_time.wrapping_add(ticks as u32);
        bound.pack.frame(frame, &mut |payload| {
            let payload_bytes = payload.payload_bytes();
            let head = Packet {
                marker: payload.marker,
                payload_type: self.lane.format.payload_type,
                sequence: self.sequence,
                timestamp: rtp_time.wrapping_add(payload.ticks),
                ssrc: self.seed.ssrc,
                payload: &[],
            };
            let at = begin_frame(self.lane.rtp_channel, HEAD_BYTES + payload_bytes, out);
            head.emit_head(out);
            payload.parts.iter().for_each(|part| out.extend_from_slice(part));
            debug_assert_eq!(out.len() - at, HEAD_BYTES + payload_bytes);
            self.sequence = self.sequence.wrapping_add(1);
            self.packets = self.packets.wrapping_add(1);
            self.octets = self.octets.wrapping_add(payload_bytes as u32);
        });
    }

    /// Appends the report of the moment of `dts`, with the lane's name.
    pub(super) fn report(&self, dts: i64, timescale: u32, clock: &Clock, name: &str, out: &mut Vec<u8>) {
        self.control(out, |out| {
            rtcp::emit_sender_report(&self.sender_report(dts, timescale, clock), out);
            rtcp::emit_name(self.seed.ssrc, name, out);
        });
    }

    /// Appends the lane's last words.
    pub(super) fn goodbye(&self, dts: i64, timescale: u32, clock: &Clock, name: &str, out: &mut Vec<u8>) {
        self.control(out, |out| {
            // A compound packet begins with a report (RFC 3550, 6.1), if only an empty one.
            if clock.is_known() {
                rtcp::emit_sender_report(&self.sender_report(dts, timescale, clock), out);
            } else {
                rtcp::emit_receiver_report(self.seed.ssrc, &[], out);
            }
            rtcp::emit_name(self.seed.ssrc, name, out);
            rtcp::emit_goodbye(self.seed.ssrc, out);
        });
    }

    fn sender_report(&self, dts: i64, timescale: u32, clock: &Clock) -> SenderReport {
        let rate = self.lane.format.clock_rate;
        let ticks = rescale(dts, timescale, rate);
        SenderReport {
            ssrc: self.seed.ssrc,
            ntp: clock.ntp(ticks, rate),
            rtp_time: self.seed.rtp_time.wrapping_add(ticks as u32),
            packets: self.packets,
            octets: self.octets,
        }
    }

    fn control(&self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let at = begin_frame(self.lane.rtcp_channel, 0, out);
        write(out);
        let bytes = u16::try_from(out.len() - at).expect("a report, a name and a goodbye are short");
        out[at - 2..at].copy_from_slice(&bytes.to_be_bytes());
    }

    /// Where a viewer begins who gets everything from here on.
    pub(super) fn join(&self, dts: i64, timescale: u32) -> JoinLane {
        let ticks = rescale(dts, timescale, self.lane.format.clock_rate);
        JoinLane {
            track: self.lane.track,
            ssrc: self.seed.ssrc,
            sequence: self.sequence,
            rtp_time: self.seed.rtp_time.wrapping_add(ticks as u32),
        }
    }
}

/// Appends the head of a `$` frame (RFC 2326, 10.12); where its body begins.
fn begin_frame(channel: u8, bytes: usize, out: &mut Vec<u8>) -> usize {
    let length = u16::try_from(bytes).expect("packets are bounded by PACKET_BYTES_MAX or WHOLE_BYTES_MAX");
    let [high, low] = length.to_be_bytes();
    out.extend_from_slice(&[b'$', channel, high, low]);
    out.len()
}

/// Whether packets of `format` are what `described` says. What a decoder finds in the packets themselves may differ.
fn agree(described: &PayloadFormat, format: &PayloadFormat) -> bool {
    let same = |a: &PayloadFormat, b: &PayloadFormat| {
        (&a.encoding, a.clock_rate, a.channels) == (&b.encoding, b.clock_rate, b.channels)
    };
    let in_band = IN_BAND.contains(&format.encoding.as_str());
    same(described, format) && (in_band || described.parameters == format.parameters)
}

const IN_BAND: [&str; 6] = ["H264", "H265", "AV1", "VP9", "JPEG", "OPUS"];
