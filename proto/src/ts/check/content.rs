//! What is wrong inside the PES packets of one PID.

use super::problem::What;
use crate::codec::{aac, h264, hevc, nal};
use crate::ts::limits::{CHECK_AHEAD_MS_MAX, CHECK_PES_BYTES_MAX, CLOCK_PER_MS};
use crate::ts::wire::section::Stream;
use crate::ts::wire::{Pcr, clock_difference, pes, stamp_difference};

/// What a line of the PMT says of its elementary stream, as far as it is looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    H264,
    Hevc,
    OtherVideo,
    Adts,
    OtherAudio,
    Other,
}

/// A PES packet on its way.
#[derive(Debug)]
pub struct Pes {
    pub packet_index: u64,
    pub bytes: Vec<u8>,
    /// Of all its payload; `bytes` is bounded.
    pub length: usize,
    /// Packets of it are missing: its content is not judged.
    pub damaged: bool,
    /// Of the time in force when its last packet came.
    pub pcr: Option<Pcr>,
    /// A new time base began before it was whole: its times are not compared with others.
    pub old_base: bool,
    /// The random access indicator of its first packet.
    pub random_access: bool,
}

impl Content {
    pub fn of(stream: &Stream) -> Self {
        match stream.stream_type {
            0x1b => Content::H264,
            0x24 => Content::Hevc,
            0x01 | 0x02 | 0x10 | 0x33 => Content::OtherVideo,
            0x0f => Content::Adts,
            0x03 | 0x04 | 0x11 | 0x81 | 0x87 => Content::OtherAudio,
            0x06 => match registration(&stream.descriptors) {
                Some(b"AV01") => Content::OtherVideo,
                Some(b"Opus" | b"AC-3" | b"EAC3") => Content::OtherAudio,
                _ => Content::Other,
            },
            _ => Content::Other,
        }
    }

    pub fn is_video(self) -> bool {
        matches!(self, Content::H264 | Content::Hevc | Content::OtherVideo)
    }

    pub fn is_audio(self) -> bool {
        matches!(self, Content::Adts | Content::OtherAudio)
    }
}

fn registration(descriptors: &[u8]) -> Option<&[u8; 4]> {
    let mut rest = descriptors;
    while let [tag, length, behind @ ..] = rest {
        let (body, next) = behind.split_at_checked((*length).into())?;
        if *tag == 0x05 {
            return body.first_chunk();
        }
        rest = next;
    }
    None
}

impl Pes {
    pub fn new(packet_index: u64, random_access: bool) -> Self {
        Pes {
            packet_index,
            bytes: Vec::new(),
            length: 0,
            damaged: false,
            pcr: None,
            old_base: false,
            random_access,
        }
    }

    pub fn push(&mut self, payload: &[u8], pcr: Option<Pcr>) {
        let room = CHECK_PES_BYTES_MAX - self.bytes.len();
        self.bytes.extend_from_slice(&payload[..payload.len().min(room)]);
        self.length = self.length.saturating_add(payload.len());
        self.pcr = pcr;
    }

    /// Bytes that its stated length still lacks.
    pub fn missing(&self) -> usize {
        match pes::Head::parse(&self.bytes) {
            Ok(pes::Parsed {
                head_bytes,
                payload_bytes: Some(stated),
                ..
            }) => (head_bytes + stated).saturating_sub(self.length),
            _ => 0,
        }
    }

    /// Judges the whole packet; gives the number of frames in it and its DTS, if it has one.
    pub fn check(&self, content: Content, dts_before: Option<u64>, mut report: impl FnMut(What)) -> (u64, Option<u64>) {
        if self.damaged {
            return (0, None);
        }
        let parsed = match pes::Head::parse(&self.bytes) {
            Ok(parsed) => parsed,
            Err(error) => {
                report(What::PesHead(error));
                return (0, None);
            }
        };
        let found = self.length - parsed.head_bytes.min(self.length);
        match parsed.payload_bytes {
            None if !content.is_video() => report(What::PesUnbounded),
            Some(stated) if stated != found => report(What::PesLength { stated, found }),
            _ => {}
        }
        let payload = self.bytes.get(parsed.head_bytes..).unwrap_or_default();
        let payload = &payload[..payload.len().min(parsed.payload_bytes.unwrap_or(usize::MAX))];
        let frames = match content {
            Content::H264 => delimiters(payload, |unit| h264::nal_type(unit) == h264::NAL_AUD, &mut report),
            Content::Hevc => delimiters(payload, |unit| hevc::nal_type(unit) == hevc::NAL_AUD, &mut report),
            Content::Adts => adts(payload, &mut report),
            _ => 1,
        };
        (
            frames,
            self.check_stamps(&parsed.head, content, dts_before, &mut report),
        )
    }

    fn check_stamps(
        &self,
        head: &pes::Head,
        content: Content,
        before: Option<u64>,
        report: &mut impl FnMut(What),
    ) -> Option<u64> {
        let Some(pts) = head.pts else {
            if content.is_video() || content.is_audio() {
                report(What::StampMissing);
            }
            return None;
        };
        let dts = head.dts.unwrap_or(pts);
        let offset = stamp_difference(pts, dts);
        if offset < 0 {
            report(What::PtsBeforeDts {
                ticks: offset.unsigned_abs(),
            });
        }
        let step = before
            .filter(|_| !self.old_base)
            .map_or(0, |before| stamp_difference(dts, before));
        if step < 0 {
            report(What::DtsBack {
                ticks: step.unsigned_abs(),
            });
        }
        if let Some(pcr) = self.pcr.filter(|_| !self.old_base) {
            let ahead = clock_difference(Pcr::new(dts as i64 * 300), pcr);
            let micros = ahead.unsigned_abs() / (CLOCK_PER_MS as u64 / 1000);
            if ahead < 0 {
                report(What::DtsBehindPcr { micros });
            } else if ahead > CHECK_AHEAD_MS_MAX * CLOCK_PER_MS {
                report(What::DtsFarAhead { micros });
            }
        }
        Some(dts)
    }
}

fn delimiters(payload: &[u8], is_delimiter: impl Fn(&[u8]) -> bool, report: &mut impl FnMut(What)) -> u64 {
    let mut units = nal::annexb_units(payload);
    let first = units.next().is_some_and(&is_delimiter);
    if !first || !nal::is_annexb(payload) {
        report(What::DelimiterMissing);
    }
    let count = usize::from(first) + units.filter(|unit| is_delimiter(unit)).count();
    if count > 1 {
        report(What::DelimiterRepeated { count });
    }
    1
}

fn adts(payload: &[u8], report: &mut impl FnMut(What)) -> u64 {
    let mut offset = 0;
    let mut frames = 0;
    while offset < payload.len() {
        let rest = &payload[offset..];
        match aac::Adts::parse(rest) {
            Ok(head)
                if head.frame_bytes >= head.head_bytes && head.frame_bytes <= rest.len() && head.frame_bytes > 0 =>
            {
                offset += head.frame_bytes;
                frames += 1;
            }
            _ => {
                report(What::Adts { offset });
                break;
            }
        }
    }
    frames
}
