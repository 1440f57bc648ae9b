//! Bounds of a session description.

/// A description. Cameras with parameter sets of several streams stay below 4 KiB.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Media lines. A camera has picture, sound, talk-back and metadata; recorders list a dozen.
pub const MEDIA_MAX: usize = 32;

/// Payload types of one media line: a browser's offer has forty, a camera two.
pub const PAYLOAD_TYPES_MAX: usize = 64;

/// Parameters of one payload type, over all its `a=fmtp` lines. RFC 3640 names sixteen.
pub const PARAMETERS_MAX: usize = 48;

const _: () = assert!(PAYLOAD_TYPES_MAX <= 128, "no more can be told apart");
