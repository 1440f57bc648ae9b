//! Headers of the codecs themselves: what a container or protocol must know about H.264, HEVC, AV1, VP8, VP9, AAC, MP3,
//! Opus, FLAC and AC-3 to describe a track, find keyframes and cut frames.
//!
//! It is not a decoder, and knows no container: a configuration record (avcC, hvcC, av1C, vpcC, AudioSpecificConfig,
//! OpusHead, STREAMINFO) comes in as bytes, without box or tag around it. One module a codec; what is not made of
//! whole bytes is read by [`bits::BitReader`].
//!
//! Invariants: any bytes may come in. Nothing here panics on them, loops longer than they are, or allocates by a count
//! they state; what cannot be read is an [`Error`] with its bit position.

pub mod aac;
pub mod ac3;
pub mod av1;
pub mod bits;
pub mod flac;
pub mod h264;
pub mod hevc;
pub mod limits;
pub mod mp3;
pub mod nal;
pub mod opus;
mod rfc6381;
pub mod vp8;
pub mod vp9;

#[cfg(test)]
pub(crate) mod cases;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;

pub use error::Error;
pub use rfc6381::rfc6381;
