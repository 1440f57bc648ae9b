//! HDS (Adobe HTTP Dynamic Streaming): fragments of FLV tags, a manifest and a bootstrap that lists them.
//!
//! Specification: Video File Format 10.1 (Adobe), annex C (F4F) and E (FLV tags); Flash Media Manifest (F4M) 1.0. The folder in
//! the URL of a rendition is `<v>_<a>`: its fragments are `<v>_<a>-Seg1-FragN`, its bootstrap `<v>_<a>.abst`.
//!
//! [`Segments`] makes fragments; [`manifest()`] and [`bootstrap()`] are texts of a presentation; [`read`] is strict about all that
//! is written here, for tests. No DRM, no quality levels within a bootstrap, no server list.
//!
//! Invariants:
//! - A fragment is one `mdat` with its exact size, and in it whole tags in order of time. Neither `afra` (random access
//!   within a fragment), nor `moof`, nor a bootstrap of its own: players read the tags, and the bytes depend on the
//!   fragment alone.
//! - Each fragment begins with the sequence headers of its tracks, so that a player can begin with any of them.
//! - Fragment numbers are the stream's segment numbers, in one F4F segment, 1. There is no fragment 0: players take 0 for
//!   "none". Times are ms, rounded as those of the tags are, in 64 bits; those of tags wrap at 32.

mod bootstrap;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod limits;
mod manifest;
pub mod read;
mod segments;
#[cfg(test)]
mod tests;

pub use bootstrap::bootstrap;
pub use error::Error;
pub use manifest::manifest;
pub use segments::Segments;
