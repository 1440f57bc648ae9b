//! HTTP/1.1 as bytes (RFC 9110, 9112): request heads, their targets and conditions, request bodies (only to find their end),
//! answer heads, ranges, the framing of chunks.
//! No state: which request an answer belongs to, and what may follow it, is the session's.

pub mod body;
pub mod chunks;
mod conditions;
pub mod content;
mod date;
pub mod range;
pub mod request;
pub mod response;
pub mod target;
