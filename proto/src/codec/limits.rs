//! Bounds of what codec headers may state.

/// Sets of one kind in a configuration record: avcC has 5 bits for SPS, and H.264 allows 32 SPS and 256 PPS.
pub const PARAMETER_SETS_MAX: usize = 256;

/// A parameter set in avcC and hvcC has a 16-bit length.
pub const PARAMETER_SET_BYTES_MAX: usize = u16::MAX as usize;

/// `frame_length` of ADTS has 13 bits and counts its own head.
pub const ADTS_FRAME_BYTES_MAX: usize = (1 << 13) - 1;

/// An Opus packet holds at most 120 ms (RFC 6716, section 3.4, R5), at 48 kHz.
pub const OPUS_PACKET_SAMPLES_MAX: u32 = 5_760;

/// `num_short_term_ref_pic_sets` (H.265, 7.4.3.2.1).
pub const HEVC_SHORT_TERM_SETS_MAX: u32 = 64;

/// Pictures in one reference picture set: `MaxDpbSize` is at most 16 (H.265, A.4.2).
pub const HEVC_REFERENCE_PICTURES_MAX: u32 = 16;

/// Bytes of a LEB128 number in AV1 (AV1, 4.10.5).
pub const LEB128_BYTES_MAX: usize = 8;
