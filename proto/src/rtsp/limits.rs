//! Bounds of one RTSP peer.

/// A first line or header line, with its continuations. Digest credentials and signed addresses stay below 4 KiB.
pub const LINE_BYTES_MAX: usize = 8 * 1024;

/// All lines of a message before its body.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header lines. Clients send ten.
pub const HEADERS_MAX: usize = 64;

/// A body: a session description, which is the longest that is taken.
pub const BODY_BYTES_MAX: usize = crate::sdp::limits::TEXT_BYTES_MAX;

/// Line ends before a message, which some clients send to keep a connection alive.
pub const LEADING_LINE_ENDS_MAX: u32 = 64;

/// Alternatives in one `Transport`. GStreamer lists three.
pub const ALTERNATIVES_MAX: usize = 8;

const _: () = assert!(HEAD_BYTES_MAX >= 2 * LINE_BYTES_MAX);
