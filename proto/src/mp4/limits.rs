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

/// Most tracks in a movie that the reader accepts; the muxer writes one of each kind.
pub const TRACKS_MAX: usize = 2;

const _: () = assert!(CHUNK_MILLIS_MAX < HELD_MILLIS_MAX);
const _: () = assert!(CHUNK_FRAMES_MAX < HELD_FRAMES_MAX);
const _: () = assert!(FRAME_BYTES_MAX + 2 * CHUNK_BYTES_MAX < u32::MAX as usize - (1 << 20));
