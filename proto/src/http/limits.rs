//! Bounds of an HTTP connection, each with its reason.

/// Bounds that a configuration may set; the rest are constants of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From accept, or from the first byte of a later request, to the end of its head and body. A peer that sends a byte a
    /// second (slow-loris) holds a descriptor no longer than this.
    pub request_millis: u32,
    /// From an answer to the first byte of the next request. Players that poll a playlist come back within seconds; 60 s
    /// is what common servers grant and what browsers' pools expect.
    pub idle_millis: u32,
    /// Request bodies are read and dropped up to here so that the connection stays usable; a longer one is answered 413.
    pub body_bytes_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            request_millis: 10_000,
            idle_millis: 60_000,
            body_bytes_max: 64 * 1024,
        }
    }
}

/// Method, target and version with their CRLF. Signed URLs of CDNs come to 2-4 KiB; 8,000 octets is the least that
/// RFC 9112 section 3 recommends to support.
pub const REQUEST_LINE_BYTES_MAX: usize = 8 * 1024;

/// Header lines with the empty line behind them. Browsers with many cookies send up to 8 KiB; twice that.
pub const HEADER_BLOCK_BYTES_MAX: usize = 16 * 1024;

/// Header lines of a request. Browsers behind two proxies send about 30; also the size of the array on the stack.
pub const HEADERS_MAX: usize = 64;

/// Empty lines in front of a request line that are skipped (RFC 9112 section 2.2: at least one; some old clients send
/// one behind a POST body).
pub const LEADING_EMPTY_LINES_MAX: u8 = 4;

/// Bytes of later requests kept while one waits for its answer, or its body is being sent: a dozen of a player's requests. What comes beyond is not
/// taken ([`handle_input`](super::Session::handle_input) says so).
pub const PIPELINED_BYTES_MAX: usize = 8 * 1024;

/// A chunk's size line with extensions, and a trailer line. Extensions have no known use.
pub const CHUNK_LINE_BYTES_MAX: u32 = 256;

/// All trailer lines of a chunked body.
pub const TRAILER_BYTES_MAX: u32 = 4 * 1024;

/// What a viewer may send while it is sent the connection's last answer, an endless one or a body; it has nothing to say
/// there, and pipelined requests behind one can never be answered.
pub const STREAM_INPUT_BYTES_MAX: u32 = 64 * 1024;

/// `User-Agent` as given to logs and counters.
pub const USER_AGENT_BYTES_MAX: usize = 128;

/// `Access-Control-Request-Headers` that is repeated in the answer to a preflight; a longer one is not granted.
pub const CORS_HEADERS_BYTES_MAX: usize = 512;

/// How long a browser may keep the answer to a preflight; Chromium caps it at two hours.
pub const CORS_MAX_AGE_SECONDS: u32 = 7_200;

/// A parked session (an answer is being sent by others), heap included but for requests that came early. A TCP viewer's whole state is budgeted at 2 KiB.
pub const PARKED_BYTES_MAX: usize = 256;

/// Nothing that [`Session::export`](super::Session::export) writes is longer: one head, pipelined bytes, one answer.
pub const EXPORT_BYTES_MAX: usize = 1024 * 1024;

const _: () = assert!(REQUEST_LINE_BYTES_MAX + HEADER_BLOCK_BYTES_MAX < u16::MAX as usize);
const _: () = assert!(std::mem::size_of::<super::Session>() <= PARKED_BYTES_MAX);
