//! Bounds of what is received. Those of what is put together from payloads are in `unpack`.

/// Media of one publisher: more than cameras with back-channel, metadata and several tracks of sound have, and as many as
/// tracks of a publisher of messages (`tag`).
pub const MEDIA_MAX: usize = 24;

/// Packets that wait for one that is missing, of one source. 200 ms of 25 Mb/s in packets of 1,200 bytes.
pub const REORDER_PACKETS_MAX: usize = 512;

/// Their bytes: the same, and 100 of the 10,000-byte packets that Tapo cameras send.
pub const REORDER_BYTES_MAX: usize = 1 << 20;

/// How long a packet is waited for unless the operator says otherwise: a retransmission of Wi-Fi and a queue at home.
pub const REORDER_MICROS: i64 = 200_000;

/// Buffers that are kept for packets to come: what is usual to be out of order at once.
pub const SPARE_BUFFERS_MAX: usize = 64;

/// The largest of them that is kept; most packets fit an Ethernet frame.
pub const SPARE_BYTES_MAX: usize = 2_048;

/// Sequence numbers given up or delivered that are remembered, to tell what came late from what came twice. A multiple of
/// 64.
pub const HISTORY_PACKETS: usize = 1_024;

/// A sequence number further ahead than this begins a new source (`MAX_DROPOUT` of RFC 3550, A.1); nearer it is a loss.
pub const DROPOUT_PACKETS_MAX: i64 = 3_000;

/// What came late has a timestamp at most this far before the newest one; at most [`LATE_AHEAD_MILLIS_MAX`] behind it, as
/// pictures are not sent in the order of their times. Else the sequence began anew.
pub const LATE_MILLIS_MAX: i64 = 5_000;
pub const LATE_AHEAD_MILLIS_MAX: i64 = 1_000;

/// A private header before RTP: Megvii's is short, EHOME's the longest known.
pub const PRIVATE_HEAD_BYTES_MAX: usize = 64;

/// Places in a packet that may be where RTP begins.
pub const PRIVATE_HEAD_PLACES_MAX: usize = 8;

/// Between receiver reports (RFC 3550, 6.2: five seconds). Also the shortest keep-alive that cameras are known to want.
pub const REPORT_MICROS: i64 = 5_000_000;

/// Before the first one, so that a camera knows early that somebody listens.
pub const FIRST_REPORT_MICROS: i64 = 1_000_000;

/// RTCP parts of one packet that are looked at: a report, a description and a goodbye of each of a few sources.
pub const PARTS_MAX: usize = 64;

/// Time ahead of what the clock on the wall says by more than this is a jump. As `tag` has it.
pub const JUMP_FORWARD_MICROS: i64 = 10_000_000;

/// The same backwards. A picture is sent at most 16 pictures late, below 1 s at every usual rate.
pub const JUMP_BACKWARD_MICROS: i64 = 3_000_000;

/// Of the first packet of a new source, which has no reason to go on where another was: either way.
pub const RESTART_MICROS_MAX: i64 = 500_000;

/// Jumps of several media within this are one: a camera that begins anew sends the first of each within a GOP.
pub const SHARED_JUMP_MICROS: i64 = 2_000_000;

/// Where stream time begins: later than what may be before the first packet (decode times, sound that a sender report
/// moves), so that nothing is before 0.
pub const START_MICROS: i64 = 1_000_000;

/// How far the first packet may be from the `rtptime` of `RTP-Info` for that to be believed.
pub const ANNOUNCED_MICROS_MAX: i64 = 10_000_000;

/// A sender report whose RTP time is further from the newest packet is wrong: they are sent every few seconds.
pub const REPORT_AGE_MICROS_MAX: i64 = 60_000_000;

/// Sender reports that put one track further away from the others than this are wrong: what arrives together is at most this
/// far apart, by encoder delay and buffers.
pub const REPORT_SHIFT_MICROS_MAX: i64 = 5_000_000;

/// Tracks that are together to this are left alone: a frame or so, and what reports are off by that are made
/// when they are sent. Sound 45 ms early is noticed (ITU-R BT.1359).
pub const REPORT_AGREES_MICROS: i64 = 20_000;

/// The first reports put tracks together to this: nothing is gained below the ticks of a container.
pub const REPORT_EXACT_MICROS: i64 = 500;

/// Two reports that say the same to this are believed; one is not, but the first.
pub const REPORT_REPEATS_MICROS: i64 = 40_000;

/// Shifts up to here are made little by little by pictures, beyond at once.
pub const SLEW_MICROS_MAX: i64 = 100_000;

/// Of a picture's distance to the next, what may be shifted with it: one part of so many.
pub const SLEW_PART: i64 = 8;

/// Shifts at once beyond this are said to be jumps of time; below, frames have a gap.
pub const SILENT_SHIFT_MICROS_MAX: i64 = 1_000_000;

/// Counted audio time may be this far from the publisher's before it is set anew. As `tag` has it.
pub const AUDIO_DRIFT_MILLIS: i64 = 40;

/// Pictures that stand before one that is shown before them: what H.264 and HEVC allow.
pub const REORDER_FRAMES_MAX: usize = 16;

/// The distance of pictures where nothing says it: 25 a second.
pub const FRAME_MICROS: i64 = 40_000;

/// The longest distance of pictures that decode times are made from.
pub const FRAME_MICROS_MAX: i64 = 1_000_000;

/// Pictures after which a depth that was seen once, and is not stated, is forgotten: 40 s of 25 a second.
pub const DEPTH_FRAMES: u32 = 1_000;

const _: () = assert!(REORDER_PACKETS_MAX < HISTORY_PACKETS && HISTORY_PACKETS.is_multiple_of(64));
const _: () = assert!((HISTORY_PACKETS as i64) < DROPOUT_PACKETS_MAX && DROPOUT_PACKETS_MAX < 1 << 15);
const _: () = assert!(JUMP_BACKWARD_MICROS < JUMP_FORWARD_MICROS);
const _: () = assert!(REPORT_EXACT_MICROS < REPORT_AGREES_MICROS);
const _: () = assert!(REPORT_AGREES_MICROS < REPORT_REPEATS_MICROS && REPORT_REPEATS_MICROS < REPORT_SHIFT_MICROS_MAX);
const _: () = assert!(SLEW_MICROS_MAX < SILENT_SHIFT_MICROS_MAX && SLEW_PART > 1);
