//! Audio and video message bodies as they stand on the wire, without state: legacy (FLV 10.1, E.4.2.1 and E.4.3.1) and
//! enhanced (E-RTMP v1 and v2, "ExAudioTagHeader", "ExVideoTagHeader").
//!
//! A body holds one packet, or with `Multitrack` several: parsing gives an iterator over them, each lending its payload.
//! What was emitted parses to equal values.

mod audio;
mod enhanced;
pub mod outer;
mod video;

pub use audio::{Audio, AudioCodec, AudioPacket, Audios, ChannelOrder, SoundFormat};
pub use enhanced::{FourCc, MultitrackType};
pub use video::{FrameType, Video, VideoCodec, VideoPacket, Videos};

#[cfg(test)]
pub(super) mod tests;
