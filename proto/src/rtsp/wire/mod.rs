//! RTSP's text: messages and interleaved frames, addresses, and the headers that have a grammar of their own. No state
//! beside a message that is not whole yet. RFC 2326, and what of RFC 7826 is in use.
//!
//! Each type is parsed and written in its file.

pub mod message;
pub mod range;
pub mod transport;
pub mod url;
