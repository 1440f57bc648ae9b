//! Bounds of FLV files and feeds.

use crate::tag::limits::TAG_BODY_BYTES_MAX;

/// The header has 9 bytes in version 1; a later version may append to it.
pub const HEADER_BYTES_MAX: u32 = 1024;

/// The reader's buffer holds one tag whole, and never more than that beyond what one `feed` brought.
pub const READER_BYTES_MAX: usize = TAG_BODY_BYTES_MAX + super::wire::TAG_HEADER_BYTES + 4;

/// Between two joins of a feed without video: a player joins within this, and the index of joins stays small.
pub const AUDIO_JOIN_MICROS: i64 = 1_000_000;
