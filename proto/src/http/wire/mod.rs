//! HTTP/1.1 as bytes (RFC 9110, 9112): request heads and their targets, request bodies (only to find their end), answer
//! heads.
//! No state: which request an answer belongs to, and what may follow it, is the session's.

pub mod body;
pub mod request;
pub mod response;
pub mod target;
