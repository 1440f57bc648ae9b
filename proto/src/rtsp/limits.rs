//! Bounds of one RTSP peer.

/// A first line or header line, with its continuations. Digest credentials and signed addresses stay below 4 KiB.
pub const LINE_BYTES_MAX: usize = 8 * 1024;

/// All lines of a message before its body.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header lines. Clients send ten.
pub const HEADERS_MAX: usize = 64;

/// A body: a session description, which is the longest that is taken.
pub const BODY_BYTES_MAX: usize = crate::sdp::limits::TEXT_BYTES_MAX;

/// What names a tunnel. Players send 22 to 64 letters.
pub const COOKIE_BYTES_MAX: usize = 128;

/// How long one half of a tunnel waits for the other: players open both within a second.
pub const TUNNEL_MILLIS_MAX: u64 = 5_000;

/// Line ends before a message, which some clients send to keep a connection alive.
pub const LEADING_LINE_ENDS_MAX: u32 = 64;

/// Alternatives in one `Transport`. GStreamer lists three.
pub const ALTERNATIVES_MAX: usize = 8;

const _: () = assert!(HEAD_BYTES_MAX >= 2 * LINE_BYTES_MAX);

/// Told to peers as the session's timeout (RFC 2326 12.37): they keep it alive before that.
pub const SESSION_SECONDS: u64 = 60;

/// When a silent peer is given up: its keep-alive may come late.
pub const SILENT_MILLIS_MAX: u64 = SESSION_SECONDS * 1000 + 10_000;

/// From its first byte to its last: no message takes a peer longer that can send video.
pub const MESSAGE_MILLIS_MAX: u64 = 20_000;

/// How long a connection may go without a play or publish, however much it says. A paused player has had one.
pub const NOTHING_ASKED_MILLIS_MAX: u64 = 120_000;

/// Media of a session. A stream has picture, two or three sounds, texts.
pub const LANES_MAX: usize = 16;

/// An address with its query: tokens and JWTs stay below 2 KiB.
pub const URL_BYTES_MAX: usize = 4096;

/// How long a nonce is in force.
pub const NONCE_MILLIS: u64 = 300_000;

const _: () = assert!(URL_BYTES_MAX < LINE_BYTES_MAX);
const _: () = assert!(MESSAGE_MILLIS_MAX < SILENT_MILLIS_MAX);
