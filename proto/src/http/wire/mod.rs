//! What stands on the wire: request heads and their targets, request bodies (only to find their end), answer heads.

pub mod body;
pub mod request;
pub mod response;
pub mod target;
