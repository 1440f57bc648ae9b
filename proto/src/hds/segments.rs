//! The fragment muxer.

use super::limits::FRAGMENT_BYTES_MAX;
use crate::media::{Codec, Frame, Kind, Piece, Pieces, SegmentMux, Track, rescale};
use crate::tag::mux;
use crate::tag::wire::outer::{TagHeader, emit_tag};

/// Makes fragments of one picture and one sound, or of one of them. Owned by the stream's home shard. A fragment is one
/// piece: its size stands before it.
#[derive(Debug, Default)]
pub struct Segments {
    /// Those that are carried, the picture first. The first one leads: pieces count in its ticks.
    tracks: Vec<Track>,
    /// Whole tags in order of arrival.
    bytes: Vec<u8>,
    tags: Vec<Held>,
    lead: Option<Lead>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    /// Decode time, µs.
    micros: i64,
    track: usize,
    begin: usize,
    end: usize,
}

/// The leading track's frames in this fragment.
#[derive(Clone, Copy, Debug)]
struct Lead {
    first: i64,
    key: bool,
    last: i64,
    interval: i64,
}

impl Segments {
    pub fn new() -> Self {
        Self::default()
    }

    fn put_fragment(&mut self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(b"\0\0\0\0mdat");
        let first = self.tags.first().map_or(0, |tag| tag.micros);
        for track in &self.tracks {
            let timestamp = mux::timestamp(track, rescale(first, 1_000_000, track.timescale));
            let headers = out.len();
            let mut has_one = false;
            emit_tag(tag_type(track), timestamp, out, |out| {
                has_one = mux::sequence_header(track, out);
            });
            if !has_one {
                out.truncate(headers);
            }
        }
        for tag in &self.tags {
            out.extend_from_slice(&self.bytes[tag.begin..tag.end]);
        }
        let bytes = out.len() - begin;
        let stated = u32::try_from(bytes).expect("limits keep a fragment in 32 bits");
        out[begin..begin + 4].copy_from_slice(&stated.to_be_bytes());
    }

    fn forget(&mut self) {
        self.bytes.clear();
        self.tags.clear();
        self.lead = None;
    }
}

impl SegmentMux for Segments {
    /// What Flash players decode.
    fn carries(&self, track: &Track) -> bool {
        let known = matches!(track.codec, Codec::H264 | Codec::Aac | Codec::Mp3);
        let described = track.codec == Codec::Mp3 || !track.codec_data.is_empty();
        known && described && track.timescale > 0 && mux::carries(track)
    }

    fn begin(&mut self, _number: u64, tracks: &[Track], _out: &mut Pieces) {
        let of = |kind| {
            let mut carried = tracks.iter().filter(|track| self.carries(track));
            carried.find(|track| track.kind() == kind).cloned()
        };
        self.tracks = of(Kind::Video).into_iter().chain(of(Kind::Audio)).collect();
        self.forget();
    }

    fn frame(&mut self, frame: &Frame<'_>, _out: &mut Pieces) {
        let Some(index) = self.tracks.iter().position(|track| track.id == frame.track) else {
            return;
        };
        let track = &self.tracks[index];
        let begin = self.bytes.len();
        if begin + frame.data.len() > FRAGMENT_BYTES_MAX - HEADERS_BYTES_MAX {
            return;
        }
        emit_tag(
            tag_type(track),
            mux::timestamp(track, frame.dts),
            &mut self.bytes,
            |out| mux::frame_body(track, frame, out),
        );
        if self.bytes.len() == begin {
            return;
        }
        self.tags.push(Held {
            micros: rescale(frame.dts, track.timescale, 1_000_000),
            track: index,
            begin,
            end: self.bytes.len(),
        });
        if index == 0 {
            let before = self.lead;
            self.lead = Some(Lead {
                first: before.map_or(frame.dts, |lead| lead.first),
                key: before.map_or(frame.key, |lead| lead.key),
                last: frame.dts,
                interval: before.map_or(0, |lead| frame.dts.saturating_sub(lead.last)),
            });
        }
    }

    fn end(&mut self, until: Option<i64>, out: &mut Pieces) {
        let Some(first) = self.tags.first() else {
            return;
        };
        let dts = rescale(first.micros, 1_000_000, self.tracks[0].timescale);
        let lead = self.lead.unwrap_or(Lead {
            first: dts,
            key: false,
            last: dts,
            interval: 0,
        });
        let until = until.unwrap_or(lead.last.saturating_add(lead.interval));
        // What came early or late stands in its place, but nothing before the frame that the fragment begins with.
        let floor = rescale(lead.first, self.tracks[0].timescale, 1_000_000);
        self.tags
            .sort_unstable_by_key(|tag| (tag.micros.max(floor), tag.track, tag.begin));
        let piece = Piece {
            end: 0,
            dts: lead.first,
            duration: until.saturating_sub(lead.first).max(0),
            independent: lead.key,
        };
        out.push(piece, |out| self.put_fragment(out));
        self.forget();
    }

    fn init(&self, _out: &mut Vec<u8>) {}
}

fn tag_type(track: &Track) -> u8 {
    match track.kind() {
        Kind::Video => TagHeader::VIDEO,
        _ => TagHeader::AUDIO,
    }
}

/// The box's head, two sequence headers, and what a tag is longer than its frame. Codec data have 64 KiB at most.
const HEADERS_BYTES_MAX: usize = 1 << 20;
