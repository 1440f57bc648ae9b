//! Smooth Streaming as text: manifests from the facts of [`media::Presentation`](crate::media::Presentation), and a checker.
//!
//! It is: [`manifest`], which writes; [`check`], which no part of the appliance needs. It is not: fragments with their `tfxd`
//! and `tfrf` boxes (`mp4`), cuts, or HTTP.
//!
//! Specification: MS-SSTR 2.2.2 (manifest), 2.2.2.6 (fragments and their times). In UTF-16LE with a mark, as MistServer and IIS.
//!
//! # Invariants
//! - Times are milliseconds ([`TIMESCALE`]), in the manifest as in URLs: `{start time}` is the name of a segment. A player makes
//!   its own `moov` from the manifest, so that `trun`, `tfxd` and `tfrf` of fragments must count milliseconds as well.
//! - A bitrate ends with its track's id, by which the server finds the track; there is no other name for it.
//! - One `StreamIndex` has one list of fragments: a picture is in it only if its segments begin when the others' do.
//! - There is one codec configuration for a track: segments of an older one are not listed.

pub mod check;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod manifest;
#[cfg(test)]
mod tests;

pub use manifest::manifest;

/// Ticks a second of all times: MistServer's.
pub const TIMESCALE: u32 = 1000;

/// A bitrate is a multiple of this and the track's id.
pub const BITRATE_UNIT: u64 = 100;

/// What is not a fact of the stream's segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How many fragments ahead of itself a fragment tells of (`tfrf`): those are not waited for.
    pub look_ahead: u32,
}

/// The bitrate in the URL of a track, from what is measured. `None`: there is no room for its id.
pub fn bitrate(bits: u64, track: u32) -> Option<u64> {
    let track = u64::from(track);
    (track < BITRATE_UNIT).then_some(bits / BITRATE_UNIT * BITRATE_UNIT + track)
}

/// The track that a bitrate in a URL names.
pub fn track_of(bitrate: u64) -> u32 {
    (bitrate % BITRATE_UNIT) as u32
}
