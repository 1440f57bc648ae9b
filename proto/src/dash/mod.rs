//! DASH as text: manifests (MPD) from the facts of [`media::Presentation`](crate::media::Presentation), and a strict checker.
//!
//! It is: [`manifest`], which writes; [`time`], dates and durations as XML Schema has them; [`check`], which no part of the
//! appliance needs. It is not: segments (`mp4`), cuts, or HTTP. Pure: no clock, and the same facts give the same text.
//!
//! Specification: ISO/IEC 23009-1 ("DASH", 5th edition), DASH-IF IOP v4.3 (live: 4.4) and its part on low latency (CR r8),
//! ISO/IEC 23000-19 (CMAF).
//!
//! # The timeline
//! The timeline of the presentation is the stream's: a picture with time `t` is shown at MPD time `t`, and at wall time
//! `availabilityStartTime + t`. A Period begins at each discontinuity; its `start` and every `presentationTimeOffset` in it
//! are the same number. Its id counts the stream's discontinuities.
//!
//! # Invariants
//! - Between two texts of one presentation a segment keeps its time, its number and its Period; a Period keeps id and start
//!   when its front has left the window. Only the segment that is being made (low latency) may change its duration.
//! - Within a Period a timeline has holes only where there is nothing to fetch, and never overlaps.
//! - A Period is shown when each of its tracks has something to fetch: tracks do not join a Period later.
//! - URIs are relative and the stream's name is in none of them.

pub mod check;
pub mod limits;
pub mod time;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod manifest;
mod runs;
#[cfg(test)]
pub(crate) mod scene;

pub use manifest::manifest;
pub use runs::Began;

use std::fmt;

use crate::media::Track;

/// Where the server's clock is read, relative to a manifest: `/cmaf/time.txt`. The answer is [`time::instant`] as
/// `text/plain`, never stored.
pub const CLOCK_URL: &str = "../time.txt";

/// How segments are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Naming {
    /// `chunk_$Time$.m4s`, each listed.
    #[default]
    Timeline,
    /// `chunk_n$Number$.m4s`; not listed while all last equally long since the Period began, else listed.
    Number,
}

/// Low latency: the segment that is being made can be fetched (ISO/IEC 23009-1 K.3.2, `Latency`). Milliseconds behind live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    pub target_millis: u32,
    pub min_millis: u32,
    pub max_millis: u32,
}

/// What is not a fact of the stream's segments.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    pub naming: Naming,
    /// Of the first rendition (the first of `video`, or of `audio` without any): where the run of segments began that the first
    /// listed one belongs to. `None` while that one is the run's first. To be set whenever a segment leaves the front of
    /// that rendition, if it was the first of its run: [`Began::at`].
    pub began: Option<Began>,
    /// `None`: whole segments only. Without parts in the renditions it is not heeded.
    pub latency: Option<Latency>,
    /// For people; may be empty.
    pub title: &'a str,
    /// RFC 6381. A track without is left out.
    pub codecs: &'a dyn Fn(&Track) -> Option<String>,
    /// The track as it was with another generation of its codec data. `None`: as it is now.
    pub earlier: &'a dyn Fn(&Track, u32) -> Option<Track>,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("naming", &self.naming)
            .field("began", &self.began)
            .field("latency", &self.latency)
            .finish_non_exhaustive()
    }
}
