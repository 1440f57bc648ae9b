//! Bounds of the MP4 muxer and of the reader of its output.

/// Longest chunk unless one frame is longer. What a viewer's latency grows by; at 100 ms a chunk's boxes are under 1 % of a
/// 2.6 Mb/s stream.
pub const CHUNK_MILLIS_MAX: u32 = 100;

/// Most frames of a track in a chunk. 100 ms of 1,000 pictures per second are 100; frames that claim no time at all would
/// otherwise never close a chunk.
pub const CHUNK_FRAMES_MAX: usize = 256;

/// A chunk that has this many bytes of a track closes before its time: 100 ms at 400 Mb/s are 5 MB.
pub const CHUNK_BYTES_MAX: usize = 16 << 20;

/// Longest audio kept back for the pictures of its time. Longer than the skew that publishers show between tracks and than a
/// picture of a slide show at 1 per second; when video stalls, audio goes on this much later.
pub const HELD_MILLIS_MAX: u32 = 1000;

/// Most audio frames kept back: a second of the shortest (Opus, 2.5 ms) is 400.
pub const HELD_FRAMES_MAX: usize = 512;

/// Most by which pictures are decoded before the stream's time so that no composition offset is negative: eight pictures at
/// 25 a second, as in TS.
pub const EARLY_MILLIS_MAX: u32 = 320;

/// Largest frame: `mdat` and `trun` sizes are 32 bit, and a chunk holds one frame more than its byte bound.
pub const FRAME_BYTES_MAX: usize = 1 << 30;

/// Between two joins of a stream without video, where every frame could be one: a viewer starts with up to a second at once,
/// and the feed keeps one header a second, not ten.
pub const JOIN_MILLIS_MIN: u32 = 1000;

/// Steps in which pictures of a segment are decoded earlier: four pictures at 25 a second, which holds the usual B-frames, so
/// that segments whose offsets differ a little keep one step, and with it decode times without a seam.
pub const EARLY_STEP_MILLIS: u32 = 160;

/// Most frames in a part or in a segment without parts: 40 s of the shortest (Opus, 2.5 ms).
pub const PART_FRAMES_MAX: usize = 16_384;

/// A part or a segment without parts that has this many bytes goes on in another chunk: 10 s at 100 Mb/s.
pub const PART_BYTES_MAX: usize = 128 << 20;

/// Low bits of a chunk's `mfhd` number that count chunks of the segment: 340 s in parts of 333 ms. What is left wraps after 97
/// days in segments of 2 s.
pub const PART_NUMBER_BITS: u32 = 10;

/// Most fragments that a Smooth fragment tells of: players look at the first one or two.
pub const FOLLOWING_MAX: usize = 4;

/// Most tracks in a movie that the reader accepts; the muxer writes one of each kind.
pub const TRACKS_MAX: usize = 2;

const _: () = assert!(CHUNK_MILLIS_MAX < HELD_MILLIS_MAX);
const _: () = assert!(CHUNK_FRAMES_MAX < HELD_FRAMES_MAX);
const _: () = assert!(EARLY_MILLIS_MAX.is_multiple_of(EARLY_STEP_MILLIS));
const _: () = assert!(FOLLOWING_MAX <= u8::MAX as usize);
// Flags, sizes, durations and offsets of each frame stand before the data.
const _: () = assert!(FRAME_BYTES_MAX + PART_BYTES_MAX + 16 * PART_FRAMES_MAX < i32::MAX as usize - (1 << 20));
const _: () = assert!(FRAME_BYTES_MAX + 2 * CHUNK_BYTES_MAX < u32::MAX as usize - (1 << 20));
