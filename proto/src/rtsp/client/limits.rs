//! Bounds of one pull: how long each step may take, how often it may be sent elsewhere, what is remembered of the server.
//! What one message may have is in `rtsp::limits`.

pub(super) use crate::rtsp::limits::LANES_MAX;
use crate::rtsp::limits::{HEAD_BYTES_MAX, MESSAGE_MILLIS_MAX, URL_BYTES_MAX};

/// To connect, and to answer one request. Cameras that wake their encoder for a DESCRIBE take up to 5 s.
pub const STEP_MILLIS_MAX: u64 = 10_000;

/// From PLAY to the first packet by UDP, before TCP is tried. A firewall that drops them shows itself at once; a camera
/// that waits for its next keyframe sends sound or reports before.
pub const UDP_MILLIS_MAX: u64 = 5_000;

/// Without a packet while it plays. Recorders fall silent at the end of a recording and say nothing of it (Dahua).
pub const SILENT_MILLIS_MAX: u64 = 15_000;

/// The longest pause between keep-alives: there are cameras that stop after 5 s without one.
pub const KEEP_ALIVE_MILLIS_MAX: u64 = 5_000;

/// The shortest, for a server that says a timeout of a second.
pub const KEEP_ALIVE_MILLIS_MIN: u64 = 500;

/// How long a session lives where the server does not say it (RFC 2326 12.37).
pub const TIMEOUT_SECONDS: u64 = 60;

/// New connections of one pull: redirects, and one more for another transport or a server that closes with its 401.
pub const CONNECTIONS_MAX: u32 = 6;

/// Nonces that one request may find stale, one after the other.
pub const STALE_MAX: u32 = 3;

/// Of a session's id; 8 to 32 are usual.
pub const SESSION_ID_BYTES_MAX: usize = 256;

/// Of a refusal's reason that is told to the operator.
pub const REASON_CHARS_MAX: usize = 80;

/// Names and passwords, after decoding.
pub const LOGIN_BYTES_MAX: usize = 256;

const _: () = assert!(KEEP_ALIVE_MILLIS_MIN < KEEP_ALIVE_MILLIS_MAX && KEEP_ALIVE_MILLIS_MAX < SILENT_MILLIS_MAX);
const _: () = assert!(UDP_MILLIS_MAX < SILENT_MILLIS_MAX && STEP_MILLIS_MAX < MESSAGE_MILLIS_MAX);
const _: () = assert!(SESSION_ID_BYTES_MAX + URL_BYTES_MAX < HEAD_BYTES_MAX);
