//! What every protocol has in common: codecs, tracks, frames, breaks, and the seam through which a muxer is driven.
//!
//! Payload conventions (DESIGN.md 4.1, MistServer's): H264 and HEVC frames are NAL units with **4-byte** lengths and
//! their codec data is the avcC/hvcC record; AV1 frames are OBUs with size fields and without temporal delimiter, codec
//! data is the av1C record; AAC frames are raw (no ADTS), codec data is the AudioSpecificConfig; Opus frames are raw
//! packets, codec data is an `OpusHead` (or empty); FLAC frames are FLAC frames, codec data is the 34-byte STREAMINFO
//! behind its `fLaC` mark and block head; VP9/VP8 codec data is the vpcC record or empty; MP3, MP2, AC-3, G.722 and JPEG need none;
//! JSON frames are UTF-8 text; RTP frames are one byte (bit 0: the packet's marker) and one packet's payload, codec data
//! are the format's SDP lines (`rtp::format`).
//!
//! Times are exact: decode time and composition offset count in the track's own timescale (the sample rate for audio,
//! 90,000 or finer for video).

mod records;
mod segments;

pub use records::{Mark, Records};
pub use segments::{Part, Piece, Pieces, Presentation, Rate, Rendition, Segment, SegmentMux};

/// Codecs that a track can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Codec {
    H264 = 1,
    Hevc = 2,
    Av1 = 3,
    Vp8 = 4,
    Vp9 = 5,
    /// Motion JPEG: every frame is a whole JPEG image.
    Mjpeg = 6,
    Aac = 32,
    Mp3 = 33,
    Opus = 34,
    Flac = 35,
    Ac3 = 36,
    Eac3 = 37,
    /// ITU-T G.711 A-law, 8 bit.
    Alaw = 38,
    /// ITU-T G.711 µ-law, 8 bit.
    Ulaw = 39,
    /// Linear PCM, big-endian.
    Pcm = 40,
    /// ITU-T G.722, 64 kb/s; two samples a byte.
    G722 = 41,
    /// MPEG-1/2 layers I and II.
    Mp2 = 42,
    /// Text of one JSON value a frame.
    Json = 64,
    /// An RTP format that is not read here. See the payload conventions.
    Rtp = 65,
}

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Video,
    Audio,
    Meta,
}

impl Codec {
    pub fn kind(self) -> Kind {
        match self as u8 {
            0..=31 => Kind::Video,
            32..=63 => Kind::Audio,
            _ => Kind::Meta,
        }
    }

    /// MistServer's name, as in its JSON and DTSC headers.
    pub fn name(self) -> &'static str {
        match self {
            Codec::H264 => "H264",
            Codec::Hevc => "HEVC",
            Codec::Av1 => "AV1",
            Codec::Vp8 => "VP8",
            Codec::Vp9 => "VP9",
            Codec::Mjpeg => "JPEG",
            Codec::Aac => "AAC",
            Codec::Mp3 => "MP3",
            Codec::Opus => "opus",
            Codec::Flac => "FLAC",
            Codec::Ac3 => "AC3",
            Codec::Eac3 => "EAC3",
            Codec::Alaw => "ALAW",
            Codec::Ulaw => "ULAW",
            Codec::Pcm => "PCM",
            Codec::G722 => "G722",
            Codec::Mp2 => "MP2",
            Codec::Json => "JSON",
            Codec::Rtp => "RTP",
        }
    }
}

/// One codec's line in a stream, with one generation of its codec data. A plain value; copies go to every muxer.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Unique in the stream while the stream lives, from 1.
    pub id: u32,
    /// Counts the codec data of this track, from 0. A frame cites the generation it needs.
    pub generation: u32,
    pub codec: Codec,
    /// Ticks per second of [`Frame::dts`] and [`Frame::offset`].
    pub timescale: u32,
    /// See the module's payload conventions.
    pub codec_data: Vec<u8>,
    /// Bits per second as the publisher says, 0 if it does not.
    pub bitrate_hint: u32,
    pub format: Format,
}

/// What is known about the pictures or samples of a track; zero where unknown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Format {
    Video {
        width: u32,
        height: u32,
        frame_rate: f64,
    },
    Audio {
        sample_rate: u32,
        channels: u32,
        sample_bits: u32,
    },
    Meta,
}

impl Track {
    pub fn kind(&self) -> Kind {
        self.codec.kind()
    }

    /// `ticks` of this track in units of `per_second`, rounded down (also below zero).
    pub fn rescale(&self, ticks: i64, per_second: u32) -> i64 {
        rescale(ticks, self.timescale, per_second)
    }
}

/// `ticks` of `from` per second in units of `to` per second, rounded down (also below zero).
pub fn rescale(ticks: i64, from: u32, to: u32) -> i64 {
    debug_assert!(from > 0);
    let wide = i128::from(ticks) * i128::from(to);
    wide.div_euclid(i128::from(from)) as i64
}

/// One coded picture or audio packet, lent.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// [`Track::id`].
    pub track: u32,
    /// Decode time in the track's timescale; does not fall within a track.
    pub dts: i64,
    /// Presentation time minus decode time, in the track's timescale; may be negative.
    pub offset: i32,
    /// A decoder can start here. Audio frames are all key.
    pub key: bool,
    pub data: &'a [u8],
}

/// What happened to the stream in order before the next frame (DESIGN.md 4.1, "Generations and breaks").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Break {
    /// Codec data of a track changed; the track set did not.
    CodecData = 1,
    /// A track came or went.
    TrackSet = 2,
    /// Another publisher, or the same again after an absence.
    Publisher = 3,
    /// Time jumped.
    TimeJump = 4,
}

/// What a demuxer has read.
#[derive(Debug)]
pub enum Item<'a> {
    /// Before the next frame; the demuxer's tracks are those in force behind it.
    Break(Break),
    Frame(Frame<'a>),
    /// What is announced, or hints in the tracks (size, frame rate, bit rate), changed.
    Metadata,
}

/// What a muxer makes of a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Viewers stay; what they need is in the records.
    Continue,
    /// This packaging cannot express what follows: end its viewers cleanly.
    End,
}

/// Makes one packaging of one stream, once, for all its viewers (DESIGN.md 4.2). Driven by the stream's home shard:
/// `start`, then frames in the order of the ring with breaks between them, then `finish`.
///
/// A muxer owns no viewer's state. All bytes any viewer receives are one [`Mux::join_header`] and a contiguous run of
/// records from a record marked as join.
pub trait Mux: std::fmt::Debug {
    /// Whether this packaging can carry `track`; others are left out of `start` and `on_break`.
    fn carries(&self, track: &Track) -> bool;

    /// Once, before the first frame, with the tracks in force.
    fn start(&mut self, tracks: &[Track]);

    /// In order between two frames. `tracks` are those in force from here on. Records that running viewers need (new
    /// sequence headers, a new PMT) are pushed to `out`, or kept for the next frame.
    fn on_break(&mut self, kind: Break, tracks: &[Track], out: &mut Records) -> Verdict;

    /// One frame of a track named in the last `start` or `on_break`. May push none (a chunk is not full), one or several
    /// records. A record before which a viewer can start (the newest keyframe) is pushed as a join.
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Records);

    /// Where stream time stands on the clock of the wall: `stream_micros` is (or was) at `unix_micros` since 1970. Before
    /// `start`, and whenever it is measured anew (about once a second).
    fn wall_clock(&mut self, _stream_micros: i64, _unix_micros: i64) {}

    /// Everything held back is pushed, and what ends the container, if it has an end.
    fn finish(&mut self, out: &mut Records);

    /// What a viewer gets before the join record that was pushed **last** (asked once per join record, right after the
    /// call that pushed it).
    fn join_header(&self, out: &mut Vec<u8>);

    /// What a running viewer gets before the join record it is moved to (asked as [`Mux::join_header`] is).
    fn skip_header(&self, _out: &mut Vec<u8>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rescale_rounds_down_on_both_sides_of_zero() {
        for (ticks, from, to, expected) in [
            (1024, 44_100, 1000, 23),
            (-1, 44_100, 1000, -1),
            (90, 90_000, 1000, 1),
            (i64::MAX / 2, 1, 1, i64::MAX / 2),
        ] {
            assert_eq!(rescale(ticks, from, to), expected);
        }
    }
}
