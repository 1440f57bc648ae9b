//! Frames of a track to RTP payloads: one file a payload format, the reverse of `unpack`.
//!
//! A payload is at most as long as its maker was told, but for what no format can cut: an Opus packet (RFC 7587, 4.2) and a
//! payload that is not read here ([`Codec::Rtp`]) go out as they are. Nothing is held back for the next frame, so nothing is
//! delayed: several access units share a packet only where they are one frame. No frame costs an allocation once the
//! buffers have grown.
//!
//! Not here: RTP heads, sequence numbers, time, RTCP (who sends the payloads), session descriptions (`sdp`).

mod aac;
mod ac3;
mod av1;
mod describe;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod h264;
mod hevc;
mod jpeg;
pub mod limits;
mod mpa;
mod nal;
mod pcm;
mod vp8;
mod vp9;
mod whole;

#[cfg(test)]
pub(in crate::rtp) mod tests;

pub use describe::format;

use crate::media::{Codec, Frame, Track};

/// One payload, lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// How far behind the frame's presentation time its timestamp is, in ticks of the format's clock rate.
    pub ticks: u32,
    /// Of the RTP header.
    pub marker: bool,
    /// The payload's bytes, one part behind the other.
    pub parts: &'a [&'a [u8]],
}

impl Packet<'_> {
    /// Bytes of all parts.
    pub fn payload_bytes(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }
}

/// Where payloads go, in the order in which they are sent.
pub type Put<'a> = &'a mut dyn FnMut(Packet<'_>);

/// Cuts frames of one track into payloads.
pub trait Pack: std::fmt::Debug {
    /// One frame. What cannot be cut into payloads is counted and gives none.
    fn frame(&mut self, frame: &Frame<'_>, put: Put<'_>);

    /// Frames that gave no payload: damaged, or nothing that the format can say.
    fn skipped(&self) -> u64;
}

/// The maker of payloads of at most `payload_bytes_max` for `track`; None where [`format()`] is none. `seed` is where numbers
/// that begin anywhere begin (the picture ids of VP8 and VP9).
///
/// # Panics
/// Below [`limits::PAYLOAD_BYTES_MIN`].
pub fn of(track: &Track, payload_bytes_max: usize, seed: u16) -> Option<Box<dyn Pack>> {
    assert!(
        payload_bytes_max >= limits::PAYLOAD_BYTES_MIN,
        "a payload has room for its own head and for a unit's"
    );
    format(track, &[])?;
    let max = payload_bytes_max;
    Some(match track.codec {
        Codec::H264 => Box::new(h264::pack(track, max)),
        Codec::Hevc => Box::new(hevc::pack(track, max)),
        Codec::Av1 => Box::new(av1::Av1::new(track, max)),
        Codec::Vp8 => Box::new(vp8::Vp8::new(max, seed)),
        Codec::Vp9 => Box::new(vp9::Vp9::new(max, seed)),
        Codec::Mjpeg => Box::new(jpeg::Jpeg::new(max)),
        Codec::Aac => Box::new(aac::Aac::new(max)),
        Codec::Mp3 | Codec::Mp2 => Box::new(mpa::Mpa::new(max)),
        Codec::Ac3 => Box::new(ac3::Ac3::new(ac3::Kind::Plain, max)),
        Codec::Eac3 => Box::new(ac3::Ac3::new(ac3::Kind::Enhanced, max)),
        Codec::Alaw | Codec::Ulaw | Codec::Pcm | Codec::G722 => Box::new(pcm::Pcm::new(track, max)),
        Codec::Opus => Box::new(whole::Opus::default()),
        Codec::Rtp => Box::new(whole::Opaque::default()),
        Codec::Flac | Codec::Json => return None,
    })
}
