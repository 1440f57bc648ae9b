//! Bounds of payloads.

/// A payload has room for the longest head of a format (JPEG's: 8 bytes, 4 of restart intervals, 4 and two tables of 128
/// bytes) and at least as much of what it carries.
pub const PAYLOAD_BYTES_MIN: usize = 576;

/// Of what is not cut: a UDP datagram over IPv4 less the RTP header. `$` frames end a little above.
pub const WHOLE_BYTES_MAX: usize = 65_507 - 12;

/// AU-size of AAC-hbr has 13 bits (RFC 3640, 3.3.6).
pub const AAC_UNIT_BYTES_MAX: usize = (1 << 13) - 1;

/// `Frag_offset` of RFC 2250, 3.5, has 16 bits.
pub const MPA_FRAME_BYTES_MAX: usize = u16::MAX as usize;

/// Fragment offset of RFC 2435, 3.1.2, has 24 bits.
pub const JPEG_SCAN_BYTES_MAX: usize = (1 << 24) - 1;

/// Width and height of RFC 2435, 3.1.5 and 3.1.6, are eight bits of eight pixels.
pub const JPEG_SIDE_MAX: u32 = 255 * 8;

/// OBU elements in a packet: as many as field W can count, so the last one needs no length (AV1 RTP, 4.4).
pub const AV1_ELEMENTS_MAX: usize = 3;

/// Fragments of an AC-3 frame are counted in 8 bits (RFC 4184, 4.1.1); a frame has at most 3,840 bytes.
pub const AC3_FRAGMENTS_MAX: usize = 255;

/// Of sound that is cut between its samples: a payload holds one of each channel whatever they are.
pub const CHANNELS_MAX: u32 = 64;

const _: () = assert!(CHANNELS_MAX as usize * 3 <= PAYLOAD_BYTES_MIN);
