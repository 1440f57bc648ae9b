//! Every protocol and container that penstock speaks, sans-IO.
//!
//! Nothing here owns a socket, a file, a clock, a thread, randomness or a log: bytes, time and seeds come in as
//! arguments, and what to do comes out as values. A protocol is one folder; none imports another. What they share is
//! [`media`] (tracks, frames, breaks, the [`media::Mux`] seam), [`codec`] (headers of the codecs themselves),
//! [`tag`] (the audio and video message body that RTMP, FLV and HDS have in common), [`rtp`] (packets, payload formats and
//! RTCP, for all that speak it) with their descriptions, and [`xml`].

#![forbid(unsafe_code)]

pub mod codec;
#[cfg(test)]
mod damage;
pub mod media;
#[cfg(any(test, feature = "fuzzing"))]
mod noise;
pub mod rtp;
pub mod sdp;
#[cfg(test)]
mod states;
pub mod tag;
pub mod xml;

pub mod dash;
pub mod dtsc;
pub mod flv;
pub mod hds;
pub mod hls;
pub mod http;
pub mod mp4;
pub mod rtmp;
pub mod rtsp;
pub mod smooth;
pub mod ts;
