//! Bounds of what DTSC may state.

/// Payload of one media packet. A 40 Mb/s all-intra stream has frames of 1 MB; 16 times as much is a mistake.
pub const DATA_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One packet, with its magic and length: the payload, and what stands around it with room for members we do not know.
pub const PACKET_BYTES_MAX: usize = DATA_BYTES_MAX + 64 * 1024;

/// Objects and arrays inside each other. A header has three levels, commands one; MistServer's own tables are flat.
pub const DEPTH_MAX: usize = 16;

/// Values of one object, all levels counted. A header has about twenty per track.
pub const VALUES_MAX: usize = 16 * 1024;

/// Tracks of one header: video, audio and subtitles in many languages are a few dozen.
pub const TRACKS_MAX: usize = 128;

/// A member's name has a 16-bit length.
pub const NAME_BYTES_MAX: usize = u16::MAX as usize;

const _: () = assert!(PACKET_BYTES_MAX < u32::MAX as usize, "a packet's length has 32 bits");
const _: () = assert!(TRACKS_MAX * 24 < VALUES_MAX, "a header of all tracks fits");
