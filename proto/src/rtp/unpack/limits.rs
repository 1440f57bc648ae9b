//! Bounds of what is put together from payloads.

/// A coded picture, as for RTMP: a key frame of a second of 64 Mb/s. What is longer is cut and damaged.
pub const UNIT_BYTES_MAX: usize = 8 << 20;

/// NAL units of a picture: a slice for every packet of 1,000 bytes of the longest picture.
pub const NALS_MAX: usize = UNIT_BYTES_MAX / 1_000;

/// Parameter sets of a stream in all. Cameras have some 100 bytes; the long ones are HEVC's with many layers.
pub const PARAMETER_SETS_BYTES_MAX: usize = 64 << 10;

/// Sets of each kind: an avcC record has 5 bits for its count of SPS.
pub const PARAMETER_SETS_MAX: usize = 31;

/// What stands before a picture and has an earlier timestamp (SEI): more is no head of a picture.
pub const HEAD_BYTES_MAX: usize = 64 << 10;

/// Sound that comes in fragments: the longest length that RFC 3640 and RFC 4184 can state.
pub const SOUND_BYTES_MAX: usize = u16::MAX as usize;

/// A configuration in a description, decoded.
pub const CONFIG_BYTES_MAX: usize = 4 << 10;

const _: () = assert!(PARAMETER_SETS_BYTES_MAX <= UNIT_BYTES_MAX && HEAD_BYTES_MAX <= UNIT_BYTES_MAX);
