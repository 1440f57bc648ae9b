//! HTTP/1.1 as a server speaks it to players: requests in; fixed answers, endless ones, and heads of bodies that others send
//! out.
//!
//! It is: a [`Session`] that is fed bytes and drained of answers and [`Request`]s, one at a time; the end of request
//! bodies; ranges, tags, codings and lives of what is fetched piece by piece; the framing of chunks; CORS; refusals with a
//! reason; timeouts against slow and idle peers. It is not: a router (the appliance knows what a path means), a cache, a
//! compressor, TLS, HTTP/2, WebSocket or a client.
//!
//! Specification: RFC 9110 (methods, fields, status codes, conditions, ranges), RFC 8673 (ranges of what grows), RFC 9111
//! (section 5.2), RFC 9112 (framing; sections 2.2, 3, 5, 6, 7.1 and 9.3), the Fetch standard's CORS protocol. The tokens are httparse's work, the framing is ours.
//!
//! # Invariants
//! - A request is shown only when its head *and* body are in; it stays until it is answered; then the next one is read.
//! - Two framings of one body, or a line feed without carriage return, end the connection: proxies disagree about them.
//! - An endless answer is delimited by the end of the connection and never chunked: every viewer is sent the same
//!   bytes. `Range` on it is ignored (200), and answering HEAD with its head leaves the connection usable.
//! - A body that others send is behind its head and before anything else: until [`Session::body_sent`] the session says
//!   nothing and reads no request; what comes is kept within a bound.
//! - Nothing a peer sent is repeated in an answer's head unless it was checked character by character.
//! - While an answer is being sent by others the session owns no heap memory but requests that came early ([`limits::PARKED_BYTES_MAX`]).

pub mod limits;

mod carry;
#[cfg(test)]
mod cases;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod session;
mod wire;

pub use error::{Error, ImportError};
pub use limits::Limits;
pub use session::{Answer, Cause, Event, Output, Session};
pub use wire::chunks::{CHUNK_END, CHUNK_HEAD_BYTES_MAX, LAST_CHUNK, chunk_head};
pub use wire::content::{Cache, Coding, Head, Length};
pub use wire::range::{ByteRange, ContentRange, OPEN_LAST};
pub use wire::request::{Method, Request, Version};
pub use wire::response::Status;
