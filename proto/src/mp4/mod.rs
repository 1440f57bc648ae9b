//! Progressive live MP4 (`http://host/NAME.mp4`): fragmented ISO base media, muxed once per stream and shared by all viewers.
//! And of the same boxes what is fetched piece by piece, each with a front page of its own: CMAF segments ([`Cmaf`]: HLS, DASH)
//! and Smooth Streaming's fragments ([`Smooth`]). What follows is of the progressive form.
//!
//! Specification: ISO/IEC 14496-12 (8.2 movie, 8.6.6 edit list, 8.8 fragments), 14496-14 (esds), 14496-15 (avc1, hvc1), and
//! the codec bindings for AV1, VP9, Opus, FLAC and ETSI TS 102 366 annex F (AC-3, E-AC-3). Not a file reader: [`read()`] knows only
//! what [`Muxer`] writes, [`check_segments`] what [`Cmaf`] does, and both are strict about it. No `sidx`, `mfra` or `emsg`; no encryption.
//!
//! Shape of what a viewer gets: `ftyp moov` (its join header) and then chunks, `moof mdat` each, from a join record on.
//!
//! Invariants:
//! - **Time is the stream's.** `tfdt` is the decode time of the run's first sample in the track's timescale, 64 bit, the same
//!   bytes for every viewer. Where a viewer joined is said by its own `moov`: an edit list per track that begins at the
//!   instant of the join, so players start near zero and seek nowhere, however large stream time is.
//!   It has **two edits without a seam**, because two players misread a single one: libavformat takes its media time for
//!   AAC's priming, and Chromium then drops as many samples (it stood still as long as the stream had been on air);
//!   GStreamer's `qtdemux` adds it to the time of the first run, and drops all that is before. Both leave that alone when
//!   there is a second edit.
//!   Tolerated for it: players on libavformat show stream time as the duration.
//! - **A sample lasts until its successor's decode time**, exactly. So the newest frame of each track is held until the next
//!   one arrives. For video that is one frame of latency and no more, as a chunk closes in the moment its last duration is
//!   known; for audio beside video it costs nothing, as the chunk waits for the picture anyway. Counting an audio frame's
//!   samples would save one audio frame when there is no video, and would leave gaps wherever a source's clock is
//!   re-anchored.
//! - **A chunk is at most [`limits::CHUNK_MILLIS_MAX`] or one picture** (one audio frame without video). A keyframe begins a
//!   chunk, and only such a chunk is a join.
//! - **Audio goes with the pictures of its time**: it waits for them (at most [`limits::HELD_MILLIS_MAX`]), and what is
//!   before a keyframe's decode time leaves in a chunk before the join. So a viewer who joins misses no audio and gets none
//!   that must be cut, as long as audio is not later than one picture. Before a stream's first join nothing can leave: that
//!   join carries up to one chunk's length of audio from ahead of its keyframe.
//! - A `moov` never changes: new codec data or other tracks end the feed.

mod cmaf;
mod entry;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod lane;
pub mod limits;
mod mux;
mod read;
mod smooth;
#[cfg(test)]
mod tests;
mod wire;

pub use cmaf::Cmaf;
pub use error::{ReadError, SegmentError};
pub use mux::Muxer;
pub use read::{
    Fragment, Movie, ReadSample, ReadTrack, Segments, check_fragments, check_segments, read, read_whole_chunks,
};
pub use smooth::Smooth;
