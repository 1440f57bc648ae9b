//! Bounds and fixed numbers of playlists, each with its reason.

/// `HOLD-BACK` and `PART-HOLD-BACK`, in target durations and part targets. 4.4.3.8 demands three and two, recommends three for
/// both; AVPlayer refuses less than three integer target durations (-12646).
pub const HOLD_BACK_TARGETS: u64 = 3;

/// `CAN-SKIP-UNTIL`: the least that 4.4.3.8 allows, so that a delta update is as short as can be.
pub const SKIP_TARGETS: u64 = 6;

/// Parts are listed this far from the end, and a live list is never shorter (both 6.2.2).
pub const LIVE_TARGETS: u64 = 3;

/// `BANDWIDTH` of tracks that neither were measured nor said theirs, bits a second: what a common camera and a common
/// microphone send. 0 is invalid, and a player that starts low climbs.
pub const VIDEO_BANDWIDTH_GUESS: u64 = 2_000_000;
pub const AUDIO_BANDWIDTH_GUESS: u64 = 128_000;

/// Segments past the newest that a reload may wait for (6.2.5.2).
pub const ADVANCE_SEGMENTS_MAX: u64 = 2;

/// Parts past the newest: 3 s of them where they are shorter than a second, else three (6.2.5.2, "Advance Part Limit").
pub const ADVANCE_PARTS_MICROS: u64 = 3_000_000;
pub const ADVANCE_PARTS_MIN: u64 = 3;

/// A part target below this is not believed when the advance limit is made of it: 10,000 parts in 3 s are no parts.
pub const PART_TARGET_MICROS_MIN: u64 = 1_000;

/// Digits of a directive's number: as many as `u64` has (decimal-integer of 4.2).
pub const NUMBER_DIGITS_MAX: usize = 20;

/// Bytes of a playlist that the checker reads: a day of 2 s segments, 160 bytes each, twice.
pub const CHECK_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Problems that the checker keeps of one text: nobody reads more, and a hostile one has one a line.
pub const CHECK_PROBLEMS_MAX: usize = 100;

/// A part but the last of its segment, in percent of the part target (4.4.4.9; iPhones stall below).
pub const PART_PERCENT_MIN: u64 = 85;

/// A list without a new segment for so long is late, in percent of the target (6.2.1).
pub const UPDATE_PERCENT_MAX: u64 = 150;

/// How far dates and durations may differ from one segment to the next, ms: 6.2.1 allows sub-second overlaps for clocks that
/// drift; ours step by 50 ms.
pub const DATE_ERROR_MILLIS_MAX: i64 = 500;

/// What one duration may be wrong by rounding, ns: the fifth decimal.
pub const ROUNDING_NANOS: u64 = 10_000;

const _: () = assert!(SKIP_TARGETS > LIVE_TARGETS, "what is skipped has no parts");
const _: () = assert!(ADVANCE_PARTS_MICROS / PART_TARGET_MICROS_MIN < u32::MAX as u64);
