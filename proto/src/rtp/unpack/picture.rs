//! NAL units of H.264 and HEVC to pictures: what both payload formats have in common once units are found.
//!
//! A picture ends with its marker or, where markers are missing or wrong, when the timestamp changes. Parameter sets are taken
//! out of pictures (an `avc1` or `hvc1` track has them in its codec data alone), as are delimiters and filler.
//!
//! Invariant: a picture is [`Wholeness::Whole`] only if no packet was lost between its first and its last, and its first
//! slice is there.

use super::limits::{HEAD_BYTES_MAX, NALS_MAX, UNIT_BYTES_MAX};
use super::sets::{Kind, Origin, Sets};
use super::{Gap, Payload, Units, Wholeness};
use crate::codec::{h264, hevc, nal};
use crate::media::Codec;

/// State of one track.
#[derive(Debug)]
pub(super) struct Pictures {
    codec: Codec,
    sets: Sets,
    picture: Picture,
    /// Of the picture that a marker ended last.
    ended: Option<i64>,
    /// A marker has ended one.
    has_markers: bool,
    /// Slices came behind a marker: only the timestamp is believed.
    markers_lie: bool,
    /// A track has its first setup.
    has_setup: bool,
    /// A unit that came in fragments and is none of a picture.
    scratch: Vec<u8>,
    unreadable: u64,
}

/// The one in progress.
#[derive(Debug, Default)]
struct Picture {
    timestamp: Option<i64>,
    /// Whole units behind 4-byte lengths, then the one that comes in fragments.
    bytes: Vec<u8>,
    /// Where the unit in fragments begins.
    open: Option<usize>,
    nals: usize,
    key: bool,
    has_slice: bool,
    has_sets: bool,
    /// Packets were lost right before it, or are unknown.
    head_unsure: bool,
    /// Packets of it were lost, or the first ones may have been.
    has_loss: bool,
    damaged: bool,
}

/// What is done with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Slice {
        key: bool,
        first: bool,
    },
    Set(Kind),
    Recovery,
    /// Stands before or between slices.
    Other,
    /// Stands behind the slices.
    Tail,
    Dropped,
    Unknown,
}

impl Pictures {
    /// `codec` is H264 or Hevc.
    pub fn new(codec: Codec) -> Self {
        Pictures {
            codec,
            sets: Sets::new(codec),
            picture: Picture {
                head_unsure: true,
                ..Picture::default()
            },
            ended: None,
            has_markers: false,
            markers_lie: false,
            has_setup: false,
            scratch: Vec::new(),
            unreadable: 0,
        }
    }

    /// Parameter sets of the description, base64 with commas between: raw, or behind start codes as some cameras write them.
    pub fn describe(&mut self, sets: &str) {
        for text in sets.split(',') {
            let mut set = Vec::new();
            super::text::push_base64(text, &mut set);
            for unit in split(self.codec, &set) {
                if let Class::Set(kind) = class(self.codec, unit)
                    && self.sets.put(kind, unit, Origin::Description).is_err()
                {
                    self.unreadable += 1;
                }
            }
        }
    }

    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// A packet begins.
    pub fn begin(&mut self, payload: &Payload<'_>, out: &mut Units) {
        let lost = payload.gap == Gap::Lost;
        if lost {
            self.abandon();
            self.picture.damaged |= self.picture.has_slice;
            self.picture.has_sets = false;
        }
        if self.picture.timestamp != Some(payload.timestamp) {
            self.finish(out);
            self.picture.timestamp = Some(payload.timestamp);
        }
        self.picture.head_unsure |= lost && !self.picture.has_slice;
        self.picture.has_loss |= lost;
    }

    /// A packet is over; `marker` is its own.
    pub fn end(&mut self, marker: bool, out: &mut Units) {
        let is_whole = self.picture.has_slice && self.picture.open.is_none();
        // On parameter sets (Tapo), or before the last fragment, it ends nothing.
        if marker && is_whole && !self.markers_lie {
            self.ended = self.picture.timestamp;
            self.has_markers = true;
            self.finish(out);
        }
    }

    /// The packet could not be read: something of the picture is missing.
    pub fn refuse(&mut self) {
        self.unreadable += 1;
        self.abandon();
        self.picture.damaged = true;
    }

    /// One whole unit, or several with start codes between.
    pub fn unit(&mut self, bytes: &[u8]) {
        self.abandon();
        for unit in split(self.codec, bytes) {
            self.take(unit);
        }
    }

    /// The first fragment of a unit; `head` is its header.
    pub fn open(&mut self, head: &[u8], bytes: &[u8]) {
        self.abandon();
        self.picture.open = Some(self.picture.bytes.len());
        self.picture.bytes.extend_from_slice(&[0; 4]);
        self.picture.bytes.extend_from_slice(head);
        self.extend(bytes);
    }

    /// Another fragment. Without a first one, which was not lost, it is refused.
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.picture.open.is_none() && self.picture.has_loss {
            self.picture.damaged = true;
            return;
        }
        if self.picture.open.is_none() || self.picture.bytes.len() + bytes.len() > UNIT_BYTES_MAX {
            return self.refuse();
        }
        self.picture.bytes.extend_from_slice(bytes);
    }

    /// The last fragment was the last one.
    pub fn close(&mut self) {
        let Some(begin) = self.picture.open.take() else { return };
        let kept = nal::without_trailing_zeros(&self.picture.bytes[begin + 4..]).len();
        self.picture.bytes.truncate(begin + 4 + kept);
        let unit = &self.picture.bytes[begin + 4..];
        match class(self.codec, unit) {
            // It stays where it is, which is the usual case.
            class @ Class::Slice { .. } => {
                self.picture.bytes[begin..begin + 4].copy_from_slice(&(kept as u32).to_be_bytes());
                self.note(class);
                self.picture.nals += 1;
            }
            _ => {
                let mut unit = std::mem::take(&mut self.scratch);
                unit.clear();
                unit.extend_from_slice(&self.picture.bytes[begin + 4..]);
                self.picture.bytes.truncate(begin);
                self.unit(&unit);
                self.scratch = unit;
            }
        }
    }

    /// Nothing more comes.
    pub fn flush(&mut self, out: &mut Units) {
        // Of a sender that sets markers, it has not come whole.
        self.picture.damaged |= self.has_markers && self.picture.has_slice;
        self.finish(out);
        self.picture.bytes.clear();
        self.picture.nals = 0;
        self.picture.head_unsure = true;
        self.ended = None;
    }

    /// The rest of a unit in fragments is not coming.
    fn abandon(&mut self) {
        if let Some(begin) = self.picture.open.take() {
            self.picture.bytes.truncate(begin);
            self.picture.damaged = true;
        }
    }

    fn take(&mut self, unit: &[u8]) {
        let class = class(self.codec, unit);
        match class {
            Class::Set(kind) => {
                self.picture.has_sets = true;
                if self.sets.put(kind, unit, Origin::Stream).is_err() {
                    self.unreadable += 1;
                }
                return;
            }
            // Cameras send units of their own in every picture: nothing is missing without them.
            Class::Unknown => {
                self.unreadable += 1;
                return;
            }
            Class::Dropped => return,
            Class::Tail if !self.picture.has_slice => return,
            _ => {}
        }
        if self.picture.nals == NALS_MAX || self.picture.bytes.len() + 4 + unit.len() > UNIT_BYTES_MAX {
            return self.refuse();
        }
        self.note(class);
        self.picture.nals += 1;
        nal::push_unit(unit, &mut self.picture.bytes);
    }

    /// What a unit that is kept says of its picture.
    fn note(&mut self, class: Class) {
        match class {
            Class::Recovery => self.picture.key = true,
            Class::Slice { key, first } => {
                self.picture.key |= key;
                if !self.picture.has_slice && !first {
                    let is_late = self.ended.is_some() && self.ended == self.picture.timestamp;
                    self.markers_lie |= is_late;
                    self.has_markers &= !is_late;
                    self.picture.damaged |= is_late || self.picture.head_unsure;
                }
                self.picture.has_slice = true;
            }
            _ => {}
        }
    }

    /// The picture is over. What has no slice yet is the head of the next.
    fn finish(&mut self, out: &mut Units) {
        self.abandon();
        if !self.picture.has_slice {
            // Of a picture whose slices were lost, it is no head of another.
            let is_long = self.picture.bytes.len() > HEAD_BYTES_MAX;
            if is_long || self.picture.damaged {
                self.picture.bytes.clear();
                self.picture.nals = 0;
                self.picture.key = false;
                self.picture.head_unsure = true;
                (self.picture.damaged, self.picture.has_loss) = (false, false);
                self.unreadable += u64::from(is_long);
            }
            return;
        }
        let picture = &mut self.picture;
        // The sets of a picture that can be begun with may be what was lost before it.
        let sets_lost = picture.key && picture.head_unsure && !picture.has_sets && self.sets.are_in_stream();
        let wholeness = if picture.damaged || sets_lost {
            Wholeness::Damaged
        } else {
            Wholeness::Whole
        };
        self.sets.settle();
        if let Some(setup) = self.sets.take_setup() {
            self.has_setup = true;
            out.push_setup(setup);
        }
        if let (true, Some(timestamp)) = (self.has_setup, picture.timestamp) {
            out.push(timestamp, picture.key, wholeness, |bytes| {
                bytes.extend_from_slice(&picture.bytes);
            });
        } else {
            self.unreadable += 1;
        }
        picture.bytes.clear();
        let bytes = std::mem::take(&mut picture.bytes);
        self.picture = Picture {
            bytes,
            ..Picture::default()
        };
    }
}

/// The units of what is said to be one. A start code cannot be inside a unit, and several cameras send parameter sets with a
/// picture behind them as one, or start codes in front. What begins as a slice is not searched: it is long, and no
/// camera is known to put two into one.
fn split(codec: Codec, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    // Start codes read as HEVC's type 0, with a temporal id that is none.
    let is_slice = !nal::is_annexb(bytes) && matches!(class(codec, bytes), Class::Slice { .. });
    let code = if is_slice { None } else { nal::start_code(bytes) };
    let at = code.unwrap_or(bytes.len());
    let (first, rest) = bytes.split_at(at);
    let first = nal::without_trailing_zeros(first);
    let first = (!first.is_empty()).then_some(first);
    first.into_iter().chain(nal::annexb_units(rest))
}

fn class(codec: Codec, unit: &[u8]) -> Class {
    match codec {
        Codec::Hevc => class_hevc(unit),
        _ => class_h264(unit),
    }
}

fn class_h264(unit: &[u8]) -> Class {
    let kind = h264::nal_type(unit);
    match kind {
        // first_mb_in_slice is 0: one bit that is set.
        1 | 2 | h264::NAL_IDR => Class::Slice {
            key: kind == h264::NAL_IDR,
            first: unit.get(1).is_some_and(|byte| byte & 0x80 != 0),
        },
        // Data partitions B and C.
        3 | 4 => Class::Slice {
            key: false,
            first: false,
        },
        h264::NAL_SEI if h264::has_recovery_point(unit) => Class::Recovery,
        h264::NAL_SEI => Class::Other,
        h264::NAL_SPS => Class::Set(Kind::Sps),
        h264::NAL_PPS => Class::Set(Kind::Pps),
        h264::NAL_AUD | h264::NAL_FILLER => Class::Dropped,
        h264::NAL_END_OF_SEQUENCE | h264::NAL_END_OF_STREAM => Class::Tail,
        13..=23 => Class::Other,
        _ => Class::Unknown,
    }
}

fn class_hevc(unit: &[u8]) -> Class {
    if unit.len() < 2 {
        return Class::Unknown;
    }
    let kind = hevc::nal_type(unit);
    match kind {
        0..=9 | 16..=21 => Class::Slice {
            key: kind >= 16,
            // first_slice_segment_in_pic_flag
            first: unit.get(2).is_some_and(|byte| byte & 0x80 != 0),
        },
        hevc::NAL_VPS => Class::Set(Kind::Vps),
        hevc::NAL_SPS => Class::Set(Kind::Sps),
        hevc::NAL_PPS => Class::Set(Kind::Pps),
        hevc::NAL_AUD | hevc::NAL_FILLER => Class::Dropped,
        hevc::NAL_END_OF_SEQUENCE | hevc::NAL_END_OF_BITSTREAM | hevc::NAL_SUFFIX_SEI => Class::Tail,
        hevc::NAL_PREFIX_SEI => Class::Other,
        _ => Class::Unknown,
    }
}
