//! The first frames of a publisher, kept until its track set is known: encoders send the picture before the sound, or
//! announce a sound that never comes. So a stream starts once with all its tracks, and no viewer sees one join late.

use penstock_proto::media::{Frame, Kind, Track, rescale};

use super::input::Completeness;
use super::main_track;
use crate::limits;

#[derive(Debug, Default)]
pub struct Held {
    pub tracks: Vec<Track>,
    pub frames: Vec<HeldFrame>,
    /// Decode time of the earliest frame, µs of the publisher's time.
    pub first_micros: i64,
    /// Earliest presentation time.
    pub first_shown_micros: i64,
    last_micros: i64,
    bytes: usize,
}

/// A frame of its own.
#[derive(Debug)]
pub struct HeldFrame {
    track: u32,
    dts: i64,
    offset: i32,
    key: bool,
    data: Vec<u8>,
}

impl HeldFrame {
    pub fn lend(&self) -> Frame<'_> {
        Frame {
            track: self.track,
            dts: self.dts,
            offset: self.offset,
            key: self.key,
            data: &self.data,
        }
    }
}

impl Held {
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Memory that the frames take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether every held frame has its track among `tracks` still: a track whose codec was replaced does not.
    pub fn fits(&self, tracks: &[Track]) -> bool {
        let is_kept = |held: &HeldFrame| tracks.iter().any(|track| track.id == held.track);
        self.frames.iter().all(is_kept)
    }

    pub fn keep(&mut self, frame: &Frame<'_>) {
        let Some(track) = self.tracks.iter().find(|track| track.id == frame.track) else {
            return;
        };
        let micros = rescale(frame.dts, track.timescale, 1_000_000);
        let shown = frame.dts.saturating_add(i64::from(frame.offset));
        let shown_micros = rescale(shown, track.timescale, 1_000_000);
        if self.frames.is_empty() {
            (self.first_micros, self.last_micros) = (micros, micros);
            self.first_shown_micros = shown_micros;
        }
        self.first_shown_micros = self.first_shown_micros.min(shown_micros);
        self.first_micros = self.first_micros.min(micros);
        self.last_micros = self.last_micros.max(micros);
        self.bytes += frame.data.len() + size_of::<HeldFrame>();
        self.frames.push(HeldFrame {
            track: frame.track,
            dts: frame.dts,
            offset: frame.offset,
            key: frame.key,
            data: frame.data.to_vec(),
        });
    }

    /// The first keyframe of the main track goes before the sound that came ahead of it: viewers start at a keyframe, and
    /// those who are there from the start then miss no frame.
    pub fn put_keyframe_first(&mut self) {
        let main = main_track(&self.tracks);
        let first_main = self.frames.iter().position(|frame| Some(frame.track) == main);
        if let Some(at) = first_main.filter(|at| self.frames[*at].key) {
            self.frames[..=at].rotate_right(1);
        }
    }

    /// Whether to wait no longer: every track that is to be expected is there, and the main one begins with a keyframe.
    pub fn is_enough(&self, completeness: Completeness) -> bool {
        if self.frames.is_empty() {
            return false;
        }
        let span = self.last_micros - self.first_micros;
        let has = |kind| self.tracks.iter().any(|track| track.kind() == kind);
        let (complete, span_max) = match completeness {
            Completeness::Unsaid => (
                has(Kind::Video) && has(Kind::Audio),
                limits::START_HOLD_UNANNOUNCED_MICROS,
            ),
            Completeness::Missing => (false, limits::START_HOLD_MICROS),
            Completeness::Complete => (true, limits::START_HOLD_MICROS),
        };
        // What passes unread has no main track: it begins anywhere.
        let keyed = main_track(&self.tracks)
            .is_none_or(|main| self.frames.iter().any(|frame| frame.track == main && frame.key));
        complete && keyed || span >= span_max || self.bytes >= limits::START_HOLD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use penstock_proto::media::{Codec, Format};

    use super::*;

    /// A stream of these tracks, and the frames that came: of which track, and whether key.
    fn held(codecs: &[Codec], frames: &[(u32, bool)]) -> Held {
        let track = |(id, codec): (u32, &Codec)| Track {
            id,
            generation: 0,
            codec: *codec,
            timescale: 90_000,
            codec_data: Vec::new(),
            bitrate_hint: 0,
            format: Format::Meta,
        };
        let mut held = Held {
            tracks: (1..).zip(codecs).map(track).collect(),
            ..Held::default()
        };
        for &(track, key) in frames {
            held.keep(&Frame {
                track,
                dts: 0,
                offset: 0,
                key,
                data: b"x",
            });
        }
        held
    }

    #[test]
    fn the_main_tracks_keyframe_is_waited_for_where_there_is_one() {
        use Completeness::{Complete, Missing};
        let both = [Codec::H264, Codec::Aac];
        for (codecs, frames, completeness, is_enough) in [
            (&both[..], &[(2, true), (1, true)][..], Complete, true),
            (&both, &[(2, true), (1, true)], Missing, false),
            (&both, &[(2, true), (1, false)], Complete, false),
            (&[Codec::Aac], &[(1, true)], Complete, true),
            // What passes unread has no main track.
            (&[Codec::Rtp, Codec::Rtp], &[(1, false)], Complete, true),
            (&[Codec::Rtp, Codec::Rtp], &[(1, false)], Missing, false),
            (&[Codec::Rtp], &[], Complete, false),
        ] {
            let found = held(codecs, frames).is_enough(completeness);
            assert_eq!(found, is_enough, "{codecs:?} {frames:?}");
        }
    }
}
