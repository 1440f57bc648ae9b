//! HLS as text: playlists from the facts of [`media::Presentation`](crate::media::Presentation), what players ask about them
//! (delivery directives), and a strict checker of both.
//!
//! It is: [`master_ts`], [`master_cmaf`] and [`media`] that write; [`Reload`], which reads `_HLS_msn`, `_HLS_part` and
//! `_HLS_skip` and judges when to answer; [`check`], which no part of the appliance needs. It is not: segments themselves
//! (`ts`, `mp4`), cuts, or HTTP. Pure: no clock, and the same facts give the same text.
//!
//! Specification: draft-pantos-hls-rfc8216bis ("RFC 8216bis"): sections 4 (syntax), 6.2 (what a server owes), 8 (versions).
//!
//! # Invariants
//! - What a segment is called and how long it is never changes between two texts of one rendition.
//! - URIs are relative and the stream's name is in none of them: a name may hold what a playlist cannot.
//! - Durations of segments telescope: over any time their sum is exact to a microsecond, and none exceeds the target that its
//!   ticks do not exceed. Durations of parts are rounded down, so that none exceeds the part target.
//! - A live list is never cut below three target durations (6.2.2).
//! - A list that begins short is written as it is, without gap segments before the first: players that know no `EXT-X-GAP`
//!   (ffmpeg, VLC) would ask for them. Whoever shows lists waits for the first whole segment.

pub mod check;
pub mod limits;

mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod list;
mod master;
mod reload;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod tests;
mod text;

pub use error::Error;
pub use list::media;
pub use master::{master_cmaf, master_ts};
pub use reload::{Edge, Reload, Verdict};

/// What segments are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Packaging {
    Ts,
    Cmaf,
}

/// How a media playlist lists what is newest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Newest {
    /// Whole segments only (`llhls=0`).
    #[default]
    Segments,
    /// Parts with URLs of their own.
    Parts,
    /// Parts as byte ranges of their segment (`llhls=range`).
    Ranges,
}

/// Delta updates (6.2.5.1). No date ranges are written, so that both kinds are the same text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Skip {
    #[default]
    No,
    Yes,
    V2,
}

/// Which text of a rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    pub packaging: Packaging,
    pub newest: Newest,
    pub skip: Skip,
    /// Segments that are listed at most (`listlimit`), 0: all. More are where fewer would be under three target durations.
    pub list_max: usize,
}

impl Newest {
    /// The query by which this form is asked for, behind the URI of a media playlist.
    fn query(self) -> &'static str {
        match self {
            Newest::Segments => "?llhls=0",
            Newest::Parts => "",
            Newest::Ranges => "?llhls=range",
        }
    }
}
