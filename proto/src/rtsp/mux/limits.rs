//! Bounds of a feed of RTP packets.

use crate::rtp::pack::limits::PAYLOAD_BYTES_MIN;
use crate::rtp::wire::packet;

/// Of an RTP packet in a feed whose viewers are all on TCP: a picture of 2.6 Mb/s is two packets, and players' buffers for one
/// (live555: 20,000 bytes, ffmpeg: 65,536) hold it.
pub const TCP_PACKET_BYTES: usize = 8192;

/// Of an RTP packet in a feed with viewers on UDP: fits with IPv6, UDP and a tunnel's or SRTP's heads into 1,280 bytes, what
/// every path carries (RFC 8200, 5).
pub const UDP_PACKET_BYTES: usize = 1200;

/// Of what [`super::Mux::new`] takes: a payload has room for its heads, and a `$` frame has a 16-bit length.
pub const PACKET_BYTES_MIN: usize = packet::HEAD_BYTES + PAYLOAD_BYTES_MIN;
pub const PACKET_BYTES_MAX: usize = u16::MAX as usize;

/// Each lane takes two of 256 interleaved channels.
pub const LANES_MAX: usize = 128;

/// Without video, a viewer can start this often: each start is kept with its header in the feed, which shows 64 of them, more
/// than the 25 of the longest lag.
pub const AUDIO_JOIN_MICROS: i64 = 200_000;

/// From one sender report of a lane to the next, in stream time (issue 6; RFC 3550, 6.2, would let it be 5 s).
pub const REPORT_MICROS: i64 = 1_000_000;

/// What the clock map may be away from what reports say before they follow it: players take every report at its word, so
/// one that is corrected by the noise of a measurement makes a picture's time jump.
pub const CLOCK_SLACK_MICROS: i64 = 20_000;
/// How fast they follow, a report: below what is heard or seen, far above how wrong a crystal goes (100 µs a second).
pub const CLOCK_STEP_MICROS: i64 = 1_000;
/// Beyond this it is another clock, and taken at once.
pub const CLOCK_JUMP_MICROS: i64 = 1_000_000;

const _: () = assert!(TCP_PACKET_BYTES <= PACKET_BYTES_MAX);
const _: () = assert!(UDP_PACKET_BYTES >= PACKET_BYTES_MIN);
const _: () = assert!(CLOCK_STEP_MICROS < CLOCK_SLACK_MICROS && CLOCK_SLACK_MICROS < CLOCK_JUMP_MICROS);
