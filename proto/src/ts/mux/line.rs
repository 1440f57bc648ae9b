//! One track as a line of the program: PID, counter, stream type, descriptors, and the elementary stream of its frames.

use crate::codec::{aac, av1, h264, hevc, nal, opus};
use crate::media::{Codec, Format, Frame, Kind, Track};
use crate::ts::limits::{DECODE_DELAY_MS, LEAD_MS_MAX, STAMP_PER_MS};
use crate::ts::wire::{Adaptation, STAMP_HZ, packet, pes, section, stamp};

/// A track that the program carries.
#[derive(Debug)]
pub struct Line {
    pub track: u32,
    pub codec: Codec,
    pub timescale: u32,
    pub pid: u16,
    /// Of the next packet with payload.
    pub counter: u8,
    /// The next packet of the PID says so.
    pub discontinuity: bool,
    pub stream: section::Stream,
    elementary: Elementary,
    stamps: Stamps,
}

/// What a frame becomes.
#[derive(Debug)]
enum Elementary {
    /// Start codes, an access unit delimiter, and these parameter sets (with start codes) before keyframes.
    H264(Vec<u8>),
    Hevc(Vec<u8>),
    /// Start codes and emulation prevention; the sequence header before keyframes. `obu` is the one at work.
    Av1 {
        sequence: Vec<u8>,
        obu: Vec<u8>,
    },
    Adts(aac::Config),
    /// A control header per packet.
    Opus,
    /// The frames as they are.
    Plain,
    /// Nothing: the codec data cannot be read.
    Unreadable,
}

/// Times of one PES packet in 90 kHz ticks, not wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    pub dts: i64,
    pub pts: i64,
}

impl Line {
    pub fn new(track: &Track, pid: u16) -> Self {
        Line {
            track: track.id,
            codec: track.codec,
            timescale: track.timescale,
            pid,
            counter: 0,
            discontinuity: false,
            stream: section::Stream {
                stream_type: stream_type(track),
                pid,
                descriptors: descriptors(track),
            },
            elementary: Elementary::of(track),
            stamps: Stamps::default(),
        }
    }

    /// The same line, continued by `track`: counter and PID go on.
    pub fn adopt(&mut self, track: &Track) {
        let next = Line::new(track, self.pid);
        *self = Line {
            counter: self.counter,
            discontinuity: self.discontinuity,
            stamps: self.stamps,
            ..next
        };
    }

    /// Times begin anew behind a jump.
    pub fn jump(&mut self) {
        self.discontinuity = true;
        self.stamps.last = None;
    }

    pub fn times(&mut self, frame: &Frame<'_>) -> Times {
        self.times_at(frame.dts, frame.offset)
    }

    /// Of the next frame, by its decode time and composition offset.
    pub fn times_at(&mut self, dts: i64, offset: i32) -> Times {
        let (dts, pts) = self.stamps_of(dts, offset);
        self.stamps.next(dts, pts)
    }

    /// The frame will come, and decode times before its own will be moved for its sake.
    pub fn expect(&mut self, frame: &Frame<'_>) {
        let (dts, pts) = self.stamps_of(frame.dts, frame.offset);
        self.stamps.lead_for(dts, pts);
    }

    fn stamps_of(&self, dts: i64, offset: i32) -> (i64, i64) {
        let rescale = |ticks| crate::media::rescale(ticks, self.timescale, STAMP_HZ);
        (rescale(dts), rescale(dts.saturating_add(offset.into())))
    }

    /// Replaces `out` by the PES packet of `frame`; false, and `out` is worthless, if it cannot be expressed.
    pub fn pes(&mut self, frame: &Frame<'_>, times: Times, out: &mut Vec<u8>) -> bool {
        let head = self.head(times);
        out.clear();
        head.put(out, 0);
        let begin = out.len();
        let expressed = self.put_elementary(frame, out);
        let stated = self.codec.kind() == Kind::Video || head.can_state(out.len() - begin);
        head.close(out);
        expressed && stated
    }

    /// The head of a PES packet with `times`.
    pub fn head(&self, times: Times) -> pes::Head {
        let stream_id = match self.codec {
            Codec::H264 | Codec::Hevc => pes::STREAM_VIDEO,
            Codec::Aac | Codec::Mp2 | Codec::Mp3 => pes::STREAM_AUDIO,
            _ => pes::STREAM_PRIVATE_1,
        };
        pes::Head {
            stream_id,
            aligned: true,
            pts: Some(stamp(times.pts)),
            dts: (times.dts != times.pts).then(|| stamp(times.dts)),
        }
    }

    /// Whether a frame with `times` can stand in the PES packet that begins at `first`, behind `count` frames: it has no times of
    /// its own there, so it must be where counting samples puts it, as players do for ADTS.
    pub fn follows(&self, first: Times, count: u32, times: Times) -> bool {
        let Elementary::Adts(config) = &self.elementary else {
            return false;
        };
        let counted = crate::media::rescale(i64::from(count) * ADTS_SAMPLES, config.sample_rate, STAMP_HZ);
        let is_shown_at_once = first.pts == first.dts && times.pts == times.dts;
        i64::from(config.frame_samples) == ADTS_SAMPLES
            && is_shown_at_once
            && (times.pts - first.pts - counted).abs() <= 1
    }

    /// Appends what the frame is in the elementary stream; false, and what was appended is worthless, if it is nothing.
    pub fn put_elementary(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> bool {
        let begin = out.len();
        self.elementary.put(frame, out) && out.len() > begin
    }

    /// Appends a PES packet in as few packets as hold it and `more`, which must not be more than there are bytes for.
    pub fn put_packets(&mut self, adaptation: &Adaptation, pes: &[u8], more: usize, out: &mut Vec<u8>) {
        let mut left = packet::count(adaptation, pes.len()) + more;
        debug_assert!(left <= pes.len());
        let mut adaptation = *adaptation;
        let mut rest = pes;
        let mut start = true;
        while !rest.is_empty() {
            let head = packet::Head {
                pid: self.pid,
                start,
                counter: self.counter,
            };
            // each packet that follows has a byte at least
            left = left.saturating_sub(1);
            let taken = packet::put(out, head, &adaptation, &rest[..rest.len() - left.min(rest.len() - 1)]);
            self.counter = (self.counter + 1) % 16;
            rest = &rest[taken..];
            start = false;
            adaptation = Adaptation::default();
        }
    }
}

/// An adaptation-only packet between two others: it has the counter of the one before.
pub fn put_bare(out: &mut Vec<u8>, pid: u16, counter_next: u8, adaptation: &Adaptation) {
    let head = packet::Head {
        pid,
        start: false,
        counter: (counter_next + 15) % 16,
    };
    packet::put(out, head, adaptation, &[]);
}

/// Whether we know how to carry the track, its codec data included.
pub fn carries(track: &Track) -> bool {
    let known = matches!(
        track.codec,
        Codec::H264
            | Codec::Hevc
            | Codec::Av1
            | Codec::Aac
            | Codec::Mp2
            | Codec::Mp3
            | Codec::Ac3
            | Codec::Eac3
            | Codec::Opus
    );
    known && track.timescale > 0 && !matches!(Elementary::of(track), Elementary::Unreadable)
}

impl Elementary {
    fn of(track: &Track) -> Self {
        let record = &track.codec_data[..];
        let annexb = |sets: &mut dyn Iterator<Item = &[u8]>| {
            let mut bytes = Vec::new();
            sets.for_each(|set| put_unit(set, &mut bytes));
            bytes
        };
        match track.codec {
            Codec::H264 => h264::Config::parse(record).map_or(Elementary::Unreadable, |config| {
                Elementary::H264(annexb(&mut config.sps().chain(config.pps())))
            }),
            Codec::Hevc => hevc::Config::parse(record).map_or(Elementary::Unreadable, |config| {
                Elementary::Hevc(annexb(&mut config.vps().chain(config.sps()).chain(config.pps())))
            }),
            // a record without OBUs leaves the sequence header to the frames
            Codec::Av1 => Elementary::Av1 {
                sequence: av1_sequence(record),
                obu: Vec::new(),
            },
            Codec::Aac => match aac::Config::parse(record) {
                Ok(config) if config.adts_head(0).is_ok() => Elementary::Adts(config),
                _ => Elementary::Unreadable,
            },
            Codec::Opus if opus_channels(track).is_some() => Elementary::Opus,
            Codec::Opus => Elementary::Unreadable,
            _ => Elementary::Plain,
        }
    }

    fn put(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> bool {
        match self {
            Elementary::H264(sets) => {
                let has = |wanted| nal::units(frame.data).any(|unit| h264::nal_type(unit) == wanted);
                let sets = if frame.key && !(has(7) && has(8)) {
                    &sets[..]
                } else {
                    &[]
                };
                put_access_unit(frame.data, &[0x09, 0xf0], |unit| h264::nal_type(unit) == 9, sets, out)
            }
            Elementary::Hevc(sets) => {
                let has = |wanted| nal::units(frame.data).any(|unit| hevc::nal_type(unit) == wanted);
                let sets = if frame.key && !(has(hevc::NAL_VPS) && has(hevc::NAL_SPS) && has(hevc::NAL_PPS)) {
                    &sets[..]
                } else {
                    &[]
                };
                put_access_unit(
                    frame.data,
                    &[0x46, 0x01, 0x50],
                    |unit| hevc::nal_type(unit) == hevc::NAL_AUD,
                    sets,
                    out,
                )
            }
            Elementary::Av1 { sequence, obu } => put_temporal_unit(frame, sequence, obu, out),
            Elementary::Adts(config) => match config.adts_head(frame.data.len()) {
                Ok(head) => {
                    out.extend_from_slice(&head);
                    out.extend_from_slice(frame.data);
                    true
                }
                Err(_) => false,
            },
            Elementary::Opus => {
                put_opus_control(frame.data.len(), out);
                out.extend_from_slice(frame.data);
                !frame.data.is_empty()
            }
            Elementary::Plain => {
                out.extend_from_slice(frame.data);
                true
            }
            Elementary::Unreadable => false,
        }
    }
}

/// Exactly one access unit delimiter first: the frame's own where it begins with one, else `delimiter` (any slice type).
fn put_access_unit(
    frame: &[u8],
    delimiter: &[u8],
    is_delimiter: impl Fn(&[u8]) -> bool,
    sets: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    let first = nal::units(frame).next().filter(|unit| is_delimiter(unit));
    put_unit(first.unwrap_or(delimiter), out);
    out.extend_from_slice(sets);
    let begin = out.len();
    nal::units(frame)
        .filter(|unit| !is_delimiter(unit))
        .for_each(|unit| put_unit(unit, out));
    out.len() > begin
}

fn put_unit(unit: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0, 0, 1]);
    out.extend_from_slice(unit);
}

/// "Carriage of AV1 in MPEG-2 TS", 3.2: every OBU behind a start code, with emulation prevention, temporal delimiters
/// left out.
fn put_temporal_unit(frame: &Frame<'_>, sequence: &[u8], scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
    let has_sequence = || {
        av1::obus(frame.data)
            .flatten()
            .any(|obu| obu.kind == av1::OBU_SEQUENCE_HEADER)
    };
    if frame.key && !sequence.is_empty() && !has_sequence() {
        put_obu(sequence, out);
    }
    let begin = out.len();
    let kept = |obu: &av1::Obu<'_>| obu.kind != av1::OBU_TEMPORAL_DELIMITER;
    for obu in av1::obus(frame.data).flatten().filter(kept) {
        scratch.clear();
        obu.emit(scratch);
        put_obu(scratch, out);
    }
    out.len() > begin
}

fn put_obu(obu: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0, 1]);
    let mut zeros = 0;
    for &byte in obu {
        if zeros >= 2 && byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        out.push(byte);
        zeros = if byte == 0 { zeros + 1 } else { 0 };
    }
}

/// `opus_control_header`: no trims, no extension, the packet's length in bytes of up to 255.
fn put_opus_control(packet_bytes: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x7f, 0xe0]);
    let mut left = packet_bytes;
    while left >= 255 {
        out.push(255);
        left -= 255;
    }
    out.push(left as u8);
}

fn av1_sequence(record: &[u8]) -> Vec<u8> {
    let mut sequence = Vec::new();
    let obus = av1::Config::parse(record).map_or(&[][..], |config| config.obus);
    if let Some(obu) = av1::obus(obus)
        .flatten()
        .find(|obu| obu.kind == av1::OBU_SEQUENCE_HEADER)
    {
        obu.emit(&mut sequence);
    }
    sequence
}

fn stream_type(track: &Track) -> u8 {
    match (track.codec, track.format) {
        (Codec::H264, _) => 0x1b,
        (Codec::Hevc, _) => 0x24,
        (Codec::Aac, _) => 0x0f,
        // half the sample rates of MPEG-1 are MPEG-2's (ISO/IEC 13818-3)
        (
            Codec::Mp2 | Codec::Mp3,
            Format::Audio {
                sample_rate: 1..32_000, ..
            },
        ) => 0x04,
        (Codec::Mp2 | Codec::Mp3, _) => 0x03,
        (Codec::Ac3, _) => 0x81,
        (Codec::Eac3, _) => 0x87,
        _ => 0x06,
    }
}

fn descriptors(track: &Track) -> Vec<u8> {
    let mut out = Vec::new();
    let mut registration = |name: &[u8; 4]| {
        out.extend_from_slice(&[0x05, 4]);
        out.extend_from_slice(name);
    };
    match track.codec {
        Codec::Ac3 => registration(b"AC-3"),
        Codec::Eac3 => registration(b"EAC3"),
        Codec::Opus => {
            registration(b"Opus");
            // DVB extension descriptor, user defined 80: the channel configuration
            out.extend_from_slice(&[0x7f, 2, 0x80, opus_channels(track).unwrap_or(2)]);
        }
        Codec::Av1 => {
            registration(b"AV01");
            if let Some(&[marker, profile, flags, delay]) = track.codec_data.first_chunk::<4>() {
                // hdr_wcg_idc stands in two bits that av1C reserves; 3 is "no indication made"
                out.extend_from_slice(&[0x80, 4, marker, profile, flags, delay | 0xc0]);
            }
        }
        _ => {}
    }
    out
}

/// 1 to 8: `channel_config_code` of mono, stereo and of the Vorbis orders of mapping family 1.
fn opus_channels(track: &Track) -> Option<u8> {
    let stated = match track.format {
        Format::Audio { channels, .. } if channels > 0 => channels,
        _ => 2,
    };
    let channels = match opus::Head::parse(&track.codec_data) {
        Ok(head) => head.channels,
        Err(_) => u8::try_from(stated).ok()?,
    };
    (1..=8).contains(&channels).then_some(channels)
}

/// Makes times that the wire can express: DTS rises, PTS is not before it, both are ahead of the PCR.
#[derive(Clone, Copy, Debug, Default)]
struct Stamps {
    /// Decode times are this much earlier than the stream's, so that negative composition offsets come out positive.
    lead: i64,
    last: Option<i64>,
}

impl Stamps {
    fn lead_for(&mut self, dts: i64, pts: i64) {
        self.lead = self.lead.max(dts.saturating_sub(pts).min(LEAD_MAX));
    }

    fn next(&mut self, dts: i64, pts: i64) -> Times {
        self.lead_for(dts, pts);
        let mut sent = dts.saturating_sub(self.lead);
        // a lead that has just grown, or equal times, move it by a tick; a step back is left for the receiver to see
        if let Some(last) = self.last
            && (0..=LEAD_MAX).contains(&last.saturating_sub(sent))
        {
            sent = last.saturating_add(1);
        }
        self.last = Some(sent);
        let delay = DECODE_DELAY_MS * STAMP_PER_MS;
        Times {
            dts: sent.saturating_add(delay),
            pts: pts.max(sent).saturating_add(delay),
        }
    }
}

/// Of a raw data block, as readers of ADTS take it.
const ADTS_SAMPLES: i64 = 1024;

const LEAD_MAX: i64 = LEAD_MS_MAX * STAMP_PER_MS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulation_prevention_hides_start_codes() {
        for (obu, expected) in [
            (&[0u8, 0, 0, 0, 0][..], &[0u8, 0, 1, 0, 0, 3, 0, 0, 3, 0][..]),
            (&[0, 0, 1, 0, 0, 4], &[0, 0, 1, 0, 0, 3, 1, 0, 0, 4]),
            (&[0, 0, 3], &[0, 0, 1, 0, 0, 3, 3]),
        ] {
            let mut out = Vec::new();
            put_obu(obu, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn opus_lengths_are_laced() {
        for (bytes, expected) in [
            (3, &[0x7f, 0xe0, 3][..]),
            (255, &[0x7f, 0xe0, 255, 0]),
            (600, &[0x7f, 0xe0, 255, 255, 90]),
        ] {
            let mut out = Vec::new();
            put_opus_control(bytes, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn negative_offsets_move_decode_times_forward_in_the_queue() {
        // I P B B in decode order at 3600 ticks, presented 0, 3, 1, 2, with offsets as written by MP4 version 1
        let mut stamps = Stamps::default();
        let delay = DECODE_DELAY_MS * STAMP_PER_MS;
        let sent: Vec<(i64, i64)> = [(0, 0), (1, 3), (2, 1), (3, 2), (4, 4), (5, 7), (6, 5)]
            .map(|(dts, pts)| stamps.next(dts * 3600, pts * 3600))
            .map(|times| (times.dts - delay, times.pts - delay))
            .to_vec();
        let expected = [
            (0, 0),
            (3600, 10_800),
            (3601, 3601),
            (7200, 7200),
            (10_800, 14_400),
            (14_400, 25_200),
            (18_000, 18_000),
        ];
        assert_eq!(sent, expected);
        assert!(sent.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
