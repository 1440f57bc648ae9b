//! Bounds of one publisher's message bodies.

/// Tracks of one publisher, of every kind together: OBS sends 6 audio and up to 10 video ones (multitrack video), and
/// script data makes one more. Also the bound of break and generation work that one peer can cause.
pub const TRACKS_MAX: usize = 24;

/// A message that is further ahead of the one before it, of the same kind, than this is a jump of time. Longer than the
/// keyframe interval of any encoder in use, so that a publisher with one picture in ten seconds is left alone.
pub const JUMP_FORWARD_MILLIS: i64 = 10_000;

/// The same backwards. B-frames and jitter are well below 1 s.
pub const JUMP_BACKWARD_MILLIS: i64 = 3_000;

/// Counted audio time may be this far from the publisher's before it is set anew: below it, lips and voice stay
/// together (ITU-R BT.1359: 45 ms early is the threshold of detection). A longer frame is allowed its own length.
pub const AUDIO_DRIFT_MILLIS: i64 = 40;

/// Between the last frame before a jump of time and the first behind it, when the frame interval is unknown.
pub const GAP_MILLIS: i64 = 40;

/// The longest frame interval that is believed when a jump of time is bridged.
pub const GAP_MILLIS_MAX: i64 = 1_000;

/// Codec data of one generation. hvcC with several sets is below 1 KiB; av1C and SEI in hvcC stay below 4.
pub const CODEC_DATA_BYTES_MAX: usize = 64 * 1024;

/// The JSON text of one script data message; a `keyframes` index is longer and is dropped.
pub const JSON_BYTES_MAX: usize = 256 * 1024;

const _: () = assert!(JUMP_BACKWARD_MILLIS < JUMP_FORWARD_MILLIS);
const _: () = assert!(GAP_MILLIS <= GAP_MILLIS_MAX);
const _: () = assert!(TRACKS_MAX > 6 + 10);

/// Body of a tag in FLV and HDS: `DataSize` has 24 bits.
pub const TAG_BODY_BYTES_MAX: usize = (1 << 24) - 1;
