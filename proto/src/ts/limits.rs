//! Bounds and periods of the transport stream, with their reasons.

use super::wire::{CLOCK_HZ, STAMP_HZ};

/// Ticks of 27 MHz a millisecond.
pub const CLOCK_PER_MS: i64 = CLOCK_HZ as i64 / 1000;

/// Ticks of 90 kHz a millisecond.
pub const STAMP_PER_MS: i64 = STAMP_HZ as i64 / 1000;

/// Between two PCRs: ISO/IEC 13818-1 (2.7.2) allows 100 ms, DVB (ETSI TS 101 154) 40 ms.
pub const PCR_INTERVAL_MS_MAX: i64 = 40;

/// A frame sooner than this after a PCR carries none: at 120 pictures a second every second one has a PCR, and an Opus
/// packet of 2.5 ms does not pay 8 bytes each time.
pub const PCR_INTERVAL_MS_MIN: i64 = 10;

/// PAT, PMT and SDT are repeated within this time: analysers count a longer absence of PAT or PMT as an error of first
/// priority (ETSI TR 101 290, 5.2.1).
pub const TABLE_INTERVAL_MS_MAX: i64 = 500;

/// Media time after which the muxer repeats its tables: the first chance to do so may come a PCR interval later, and a
/// receiver that counts from the PCR before them sees one more.
pub const TABLE_INTERVAL_MS: i64 = TABLE_INTERVAL_MS_MAX - 2 * PCR_INTERVAL_MS_MAX;

/// How far DTS is ahead of the PCR a frame is sent with. The frame that leads in time sets the PCR; audio and video of
/// RTMP publishers are some 100 ms apart in arrival, more at the start, and no frame may come later than its DTS. Above
/// a second a system target decoder's buffers may overflow (2.4.2), and players that follow the PCR (VLC) wait all of
/// this time.
pub const DECODE_DELAY_MS: i64 = 500;

/// Most by which decode times are moved before their own value so that no PTS is behind its DTS (negative composition
/// offsets): eight pictures at 25 a second. It comes out of [`DECODE_DELAY_MS`].
pub const LEAD_MS_MAX: i64 = 320;

/// Most by which the PCR is set back for a track that lags behind the others; a track that lags more has no common
/// clock with them.
pub const SLIP_MS_MAX: i64 = 5_000;

/// Added to what a late frame needs, so that the next one, a little later, does not set the PCR back again.
pub const SLIP_MARGIN_MS: i64 = 200;

/// A step in time above this is a new time base and is not filled with PCR packets: at most 250 of them, 47 kB.
pub const GAP_MS_MAX: i64 = 10_000;

/// An audio-only stream can be joined this often: a table set (564 bytes) a second is 4.5 kb/s.
pub const AUDIO_JOIN_INTERVAL_MS: i64 = 1_000;

/// A piece of a segment is at least this long: long enough that its own cost does not count, short enough that what is held for
/// it does not either.
pub const PIECE_MS_MIN: i64 = 100;

/// The sound of a segment is put in order with its pictures when it comes this much later than they do. It is what a segment
/// muxer holds: half a MB at 4 Mb/s.
pub const ORDER_MS_MAX: i64 = 1_000;

/// Frames that a segment muxer holds. A second of 100 Mb/s; above it pieces leave without waiting for late sound.
pub const HELD_BYTES_MAX: usize = 16 << 20;

/// Sound of AAC in one PES packet of a segment: 4 or 5 frames share its head and the packet that it fills in part. Not longer than
/// a piece, so that what ends a segment is never one packet alone.
pub const SOUND_PES_MS_MAX: i64 = 90;

/// A PES packet of this length can be spread over as many packets as the counter of its PID counts, whatever it is now.
pub const SPREAD_BYTES_MIN: usize = 16;

/// Elementary streams of the program: 32 lines of at most 19 bytes fit the 1,021 bytes of a PMT.
pub const TRACKS_MAX: usize = 32;

/// A PMT line with the longest descriptors we write: 5 + registration 6 + AV1 6 + spare 2.
const LINE_BYTES_MAX: usize = 19;

/// `section_length` of PAT, PMT and SDT (2.4.4.4; EN 300 468, 5.1.1): the two high bits are zero, and 1,021 the bound.
pub const SECTION_LENGTH_MAX: usize = 1_021;

/// Provider and service name share a descriptor of 255 bytes with 3 of its own and a character table byte each.
pub const SERVICE_TEXT_BYTES_MAX: usize = 255 - 3 - 2;

/// Of the provider: what is left is for the stream's name.
pub const PROVIDER_BYTES_MAX: usize = 32;

/// PES_packet_length has 16 bits.
pub const PES_LENGTH_MAX: usize = u16::MAX as usize;

/// The checker: PIDs it keeps a state for. We write 35 at most; another's multiplex has some hundreds.
pub const CHECK_PIDS_MAX: usize = 512;

/// The checker: problems it keeps; the rest are counted.
pub const CHECK_PROBLEMS_MAX: usize = 1_000;

/// The checker: a PES packet it looks into, 2 s of 40 Mb/s. The rest of a larger one is not looked at.
pub const CHECK_PES_BYTES_MAX: usize = 10 << 20;

/// The checker: how far a DTS may be ahead of the PCR (2.4.2 says 10 s for AVC and HEVC).
pub const CHECK_AHEAD_MS_MAX: i64 = 10_000;

const _: () = assert!(SOUND_PES_MS_MAX < PIECE_MS_MIN);
const _: () = assert!(LEAD_MS_MAX < DECODE_DELAY_MS);
const _: () = assert!(DECODE_DELAY_MS + SLIP_MS_MAX + SLIP_MARGIN_MS < CHECK_AHEAD_MS_MAX);
const _: () = assert!(TRACKS_MAX * LINE_BYTES_MAX + 13 <= SECTION_LENGTH_MAX);
const _: () = assert!(PCR_INTERVAL_MS_MIN < PCR_INTERVAL_MS_MAX);
