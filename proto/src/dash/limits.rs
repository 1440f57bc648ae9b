//! Bounds and periods of manifests, with their reasons.

/// Between two looks of a player at a manifest, at least: a text is made once for all, but each look is a request.
pub const UPDATE_MILLIS_MIN: i64 = 500;

/// With listed low-latency segments a player learns of a new one by looking: so many looks a segment.
pub const UPDATES_PER_SEGMENT: i64 = 4;

/// Segments that a player which does not care for latency is told to stay behind the live edge: one being made, one being
/// fetched, one in hand.
pub const DELAY_SEGMENTS: i64 = 3;

/// How much longer or shorter than its own duration a segment is said to be so that the next one follows without a hole: two
/// packets of the slowest AAC (1,024 samples at 16 kHz) are 128 ms. More is a hole that is shown.
pub const SLACK_MILLIS: i64 = 130;

/// Names of aligned segments in two tracks: each was rounded down to 1 ms.
pub const ALIGNED_MILLIS: i64 = 1;

/// Speeds within which a player catches up or falls back without being heard; pitch is kept, and 4 % is what dash.js and
/// Shaka use.
pub const PLAYBACK_RATES: (&str, &str) = ("0.96", "1.04");

/// The checker: problems it keeps; the rest are counted.
pub const CHECK_PROBLEMS_MAX: usize = 1_000;

/// The checker: segments of one timeline that it unfolds. 30 days of segments of 2 s are 1,296,000.
pub const CHECK_SEGMENTS_MAX: usize = 2_000_000;

/// The checker: how far behind the moment of a manifest the end of its newest segment may be, in segments: one that is being
/// made and one for jitter, and one that waits for its sound.
pub const CHECK_EDGE_SEGMENTS: i64 = 3;

/// The checker: clocks of a publisher and of the wall, and rounding.
pub const CHECK_EDGE_SLACK_MILLIS: i64 = 500;
