//! Sound in frames with heads of their own: MPEG audio (RFC 2250, 3.5), AC-3 (RFC 4184) and E-AC-3 (RFC 4598), several frames a
//! packet or one frame in several packets.

use super::limits::SOUND_BYTES_MAX;
use super::sound::Sound;
use super::{Gap, Payload, PayloadFormat, Units, Unpack};
use crate::codec::{ac3, mp3};
use crate::media::Codec;

/// State of one track.
#[derive(Debug)]
pub(super) struct Frames {
    shape: Shape,
    sound: Sound,
    /// A frame that comes in fragments.
    fragments: Vec<u8>,
    fragments_timestamp: i64,
    unreadable: u64,
}

/// The payload format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Mpa,
    Ac3,
    Eac3,
}

/// What the head of a frame says.
struct Head {
    codec: Codec,
    sample_rate: u32,
    channels: u32,
    samples: u32,
    bytes: usize,
}

impl Frames {
    pub fn new(shape: Shape, format: &PayloadFormat) -> Self {
        Frames {
            shape,
            sound: Sound::new(format.clock_rate),
            fragments: Vec::new(),
            fragments_timestamp: 0,
            unreadable: 0,
        }
    }

    /// Frames one after another. Returns what is left: the beginning of one, or nothing.
    fn frames<'a>(&mut self, timestamp: i64, mut data: &'a [u8], out: &mut Units) -> &'a [u8] {
        let mut is_first = true;
        while !data.is_empty() {
            let Some(head) = self.head(data) else {
                self.unreadable += 1;
                return &[];
            };
            if head.bytes > data.len() {
                return data;
            }
            let (frame, rest) = data.split_at(head.bytes);
            self.sound.describe(head.codec, head.sample_rate, head.channels, 16);
            if is_first {
                self.sound.begin(timestamp);
            }
            self.sound
                .push(head.samples, out, |bytes| bytes.extend_from_slice(frame));
            data = rest;
            is_first = false;
        }
        data
    }

    /// A part of a frame, as the payload header says; it begins one if nothing has.
    fn fragment(&mut self, payload: &Payload<'_>, data: &[u8]) {
        if self.fragments.len() + data.len() > SOUND_BYTES_MAX {
            self.unreadable += 1;
            return self.fragments.clear();
        }
        if self.fragments.is_empty() {
            self.fragments_timestamp = payload.timestamp;
        }
        self.fragments.extend_from_slice(data);
    }

    /// The fragments are a frame if they are as long as its head says.
    fn join(&mut self, out: &mut Units) {
        let frame = std::mem::take(&mut self.fragments);
        if !self.frames(self.fragments_timestamp, &frame, out).is_empty() {
            self.unreadable += 1;
        }
        self.fragments = frame;
        self.fragments.clear();
    }

    /// 3.5: 16 bits of zeros, then where in its frame the data begin.
    fn mpa(&mut self, payload: &Payload<'_>, out: &mut Units) {
        let Some((&[_, _, high, low], data)) = payload.data.split_first_chunk() else {
            self.unreadable += 1;
            return;
        };
        let offset = usize::from(u16::from_be_bytes([high, low]));
        if offset == 0 {
            self.drop_fragments();
            let rest = self.frames(payload.timestamp, data, out);
            if !rest.is_empty() {
                self.fragment(payload, rest);
            }
            return;
        }
        // Lost or strange: what there is of the frame is of no use.
        if offset != self.fragments.len() {
            self.unreadable += u64::from(payload.gap == Gap::None && !self.fragments.is_empty());
            return self.fragments.clear();
        }
        self.fragment(payload, data);
        if self
            .head(&self.fragments)
            .is_none_or(|head| self.fragments.len() >= head.bytes)
        {
            self.join(out);
        }
    }

    /// RFC 4184, 4.1: six zeros, the type of the frames, their number or that of the fragments. RFC 4598, 4.2: one bit alone
    /// says that it is a fragment.
    fn dolby(&mut self, payload: &Payload<'_>, out: &mut Units) {
        let Some((&[kind, _], data)) = payload.data.split_first_chunk() else {
            self.unreadable += 1;
            return;
        };
        let is_fragment = match self.shape {
            Shape::Ac3 => kind & 3 != 0,
            _ => kind & 1 != 0,
        };
        if !is_fragment {
            self.drop_fragments();
            if !self.frames(payload.timestamp, data, out).is_empty() {
                self.unreadable += 1;
            }
            return;
        }
        let begins = match self.shape {
            Shape::Ac3 => kind & 3 != 3,
            _ => {
                let is_new = self.fragments.is_empty() || payload.timestamp != self.fragments_timestamp;
                is_new && ac3::SyncFrame::parse(data).is_ok_and(|frame| frame.stream_type != 1)
            }
        };
        if begins {
            self.drop_fragments();
        } else if self.fragments.is_empty() {
            return;
        }
        self.fragment(payload, data);
        if payload.marker {
            self.join(out);
        }
    }

    fn drop_fragments(&mut self) {
        self.unreadable += u64::from(!self.fragments.is_empty());
        self.fragments.clear();
    }

    /// Of the frame that `data` begin with; of E-AC-3 with the dependent substreams behind it.
    fn head(&self, data: &[u8]) -> Option<Head> {
        if self.shape == Shape::Mpa {
            let head = mp3::Header::parse(data).ok()?;
            return Some(Head {
                codec: if head.layer == 3 { Codec::Mp3 } else { Codec::Mp2 },
                sample_rate: head.sample_rate,
                channels: head.channels.into(),
                samples: head.frame_samples,
                bytes: head.frame_bytes,
            });
        }
        let first = ac3::SyncFrame::parse(data)
            .ok()
            .filter(|frame| frame.stream_type != 1)?;
        let mut bytes = first.frame_bytes;
        while let Some(next) = data.get(bytes..).and_then(|rest| ac3::SyncFrame::parse(rest).ok())
            && next.enhanced
            && next.stream_type == 1
        {
            bytes += next.frame_bytes;
        }
        Some(Head {
            codec: if first.enhanced { Codec::Eac3 } else { Codec::Ac3 },
            sample_rate: first.sample_rate,
            channels: first.channels.into(),
            samples: first.frame_samples,
            bytes: bytes.max(1),
        })
    }
}

impl Unpack for Frames {
    fn packet(&mut self, payload: &Payload<'_>, out: &mut Units) {
        if payload.data.is_empty() {
            return;
        }
        if payload.gap == Gap::Lost {
            self.fragments.clear();
        }
        match self.shape {
            Shape::Mpa => self.mpa(payload, out),
            Shape::Ac3 | Shape::Eac3 => self.dolby(payload, out),
        }
    }

    fn flush(&mut self, _out: &mut Units) {
        self.fragments.clear();
    }

    fn unreadable(&self) -> u64 {
        self.unreadable
    }
}
