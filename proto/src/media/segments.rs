//! What is fetched piece by piece (HLS, DASH, Smooth, HDS): the seam through which segments are made, and the facts that
//! playlists and manifests list.
//!
//! Specification: RFC 8216bis 3 (segments and parts), ISO/IEC 23000-19 7.3 (CMAF chunks, fragments, segments).
//!
//! Where segments and parts are cut is a fact of the stream, decided by its home. Invariant: the bytes of a segment depend on its
//! number, its tracks and its frames alone: made again, they are the same.

use std::collections::VecDeque;
use std::fmt;

use super::{Frame, Track};

/// Makes the segments of one rendition: of one track, or of a picture and a sound together (TS, HDS).
///
/// Order of calls: `begin`, frames of the tracks named there, `end`, then `begin` of the next one. Bytes of a segment are all
/// that is pushed between its `begin` and its `end`, both included.
pub trait SegmentMux: fmt::Debug {
    /// Whether this packaging can carry `track`.
    fn carries(&self, track: &Track) -> bool;

    /// A segment begins. `tracks` are those of this rendition that are in force; their codec data may have changed since the
    /// segment before.
    fn begin(&mut self, number: u64, tracks: &[Track], out: &mut Pieces);

    /// One frame of a track named in `begin`. Pushes pieces that are complete. The newest frame of a track may be held until
    /// its duration is known, which is when the next one comes, or the end.
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Pieces);

    /// Just before `end`, where it is known: when the first frames of the segments that follow are shown, and how long those
    /// last, ticks of the first track. Told again in the same way when the segment is made again.
    fn following(&mut self, _following: &[(i64, i64)]) {}

    /// No more frames in this segment: everything held is pushed. `until` says at which decode time (ticks of the track)
    /// its last frame ends; `None` where that is not known (a break, the stream's end): it lasts as long as the one before.
    fn end(&mut self, until: Option<i64>, out: &mut Pieces);

    /// The initialization segment of the tracks of the last `begin`; nothing where the packaging has none.
    fn init(&self, out: &mut Vec<u8>);
}

/// One piece of a segment: what LL-HLS calls a part and CMAF a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Index behind its last byte in [`Pieces::bytes`].
    pub end: usize,
    /// Decode time of its first frame, ticks of the rendition's first track.
    pub dts: i64,
    /// Ticks from there to where the next piece begins.
    pub duration: i64,
    /// A decoder can begin with it.
    pub independent: bool,
}

/// The sink that a [`SegmentMux`] writes to. Cleared by its owner, never by a muxer.
#[derive(Debug, Default)]
pub struct Pieces {
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
}

impl Pieces {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.pieces.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// One piece: whatever `write` appends, at least one byte. `piece.end` is set here.
    ///
    /// # Panics
    /// When nothing is written.
    pub fn push(&mut self, piece: Piece, write: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.bytes.len();
        write(&mut self.bytes);
        assert!(self.bytes.len() > begin, "a piece has bytes");
        self.pieces.push(Piece {
            end: self.bytes.len(),
            ..piece
        });
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Each piece with its bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&Piece, &[u8])> {
        let mut begin = 0;
        self.pieces.iter().map(move |piece| {
            let bytes = &self.bytes[begin..piece.end];
            begin = piece.end;
            (piece, bytes)
        })
    }
}

/// A part of a segment, as listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Ticks of the rendition's timescale.
    pub duration: i64,
    pub independent: bool,
    /// Of its first byte in the segment.
    pub offset: u64,
    pub bytes: u64,
}

/// A segment of one rendition, as listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Counts the stream's segments; the media sequence number of HLS, the same in all renditions.
    pub number: u64,
    /// In its URL: [`Segment::shown`] in ms, rounded down. Grows from segment to segment of a rendition.
    pub name_millis: i64,
    /// Decode time of its first frame, ticks of the rendition's timescale.
    pub start: i64,
    /// Presentation time of its first frame, ticks.
    pub shown: i64,
    /// Ticks from its first frame to the next segment's; of one that is being made, so far.
    pub duration: i64,
    /// Codec data of the rendition's first track: which initialization segment it needs.
    pub generation: u32,
    /// A break stands before it: another publisher, other codec data or tracks, a jump of time.
    pub discontinuity: bool,
    /// It begins with a keyframe.
    pub independent: bool,
    /// Nothing of this rendition came, or it is lost: it has no bytes, and is not asked for.
    pub gap: bool,
    /// Wall time of its first frame, µs since 1970.
    pub wall_micros: Option<i64>,
    /// Of the whole segment, when it has been made.
    pub bytes: Option<u64>,
    /// Known while it is one of the newest.
    pub parts: Vec<Part>,
}

/// Bits a second, measured over the window with all overhead of the packaging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Of the segment with the highest.
    pub peak: u64,
    pub average: u64,
}

/// What can be fetched of one rendition.
#[derive(Clone, Debug, Default)]
pub struct Rendition {
    /// One track, or a picture and its sound.
    pub tracks: Vec<Track>,
    /// Its folder in the URL: `1`, or `1_2` for a pair.
    pub path: String,
    /// Ticks a second of its times: those of its first track.
    pub timescale: u32,
    /// Complete ones in the window, oldest first, numbers without holes.
    pub segments: VecDeque<Segment>,
    /// The one that is being made, with its parts so far.
    pub growing: Option<Segment>,
    /// Discontinuities before the first listed segment since the stream began: `EXT-X-DISCONTINUITY-SEQUENCE`.
    pub discontinuities_before: u64,
    /// The longest part that is made, µs; 0 where the packaging has no parts.
    pub part_target_micros: u32,
    pub rate: Rate,
    /// Measured frames a second of its picture; 0 without.
    pub frame_rate: f64,
}

/// What all renditions of a stream have in common.
#[derive(Clone, Debug, Default)]
pub struct Presentation {
    /// Six characters in every URL's query (`e`), new whenever the timeline starts anew.
    pub epoch: String,
    /// No segment lasts longer, s. Does not change.
    pub target_seconds: u32,
    /// Segments have begun with keyframes for long enough to promise it.
    pub is_independent: bool,
    /// Nothing more will come.
    pub is_ended: bool,
    /// How far back can be fetched, ms (`DVR`).
    pub window_millis: u64,
    /// Wall time at media time 0, µs since 1970: fixed when it is first shown (DASH `availabilityStartTime`).
    pub epoch_wall_micros: i64,
    /// Wall time now, µs: when a manifest is made.
    pub now_wall_micros: i64,
}

impl Rendition {
    /// The number and parts of the newest segment of which anything is there: for `EXT-X-RENDITION-REPORT` and reloads.
    /// A complete segment has no part number.
    pub fn newest(&self) -> Option<(u64, Option<u32>)> {
        let growing = self.growing.as_ref().filter(|growing| !growing.parts.is_empty());
        match growing {
            Some(growing) => Some((growing.number, Some(growing.parts.len() as u32 - 1))),
            None => self.segments.back().map(|segment| (segment.number, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_at_their_ends() {
        let mut pieces = Pieces::new();
        let piece = Piece {
            end: 0,
            dts: 7,
            duration: 3,
            independent: true,
        };
        pieces.push(piece, |out| out.extend_from_slice(b"abc"));
        pieces.push(Piece { dts: 10, ..piece }, |out| out.push(b'd'));
        let cut: Vec<_> = pieces
            .iter()
            .map(|(piece, bytes)| (piece.dts, piece.end, bytes))
            .collect();
        assert_eq!(cut, [(7, 3, &b"abc"[..]), (10, 4, &b"d"[..])]);
    }

    #[test]
    fn the_newest_of_a_rendition_is_its_last_part_or_its_last_segment() {
        let segment = |number, parts| Segment {
            number,
            parts: vec![
                Part {
                    duration: 1,
                    independent: false,
                    offset: 0,
                    bytes: 1
                };
                parts
            ],
            ..Segment::default()
        };
        let mut rendition = Rendition::default();
        assert_eq!(rendition.newest(), None);
        rendition.segments.push_back(segment(4, 3));
        rendition.growing = Some(segment(5, 0));
        assert_eq!(rendition.newest(), Some((4, None)));
        rendition.growing = Some(segment(5, 2));
        assert_eq!(rendition.newest(), Some((5, Some(1))));
    }
}
