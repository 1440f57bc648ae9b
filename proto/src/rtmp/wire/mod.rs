//! Bytes and values of RTMP 1.0, parse and emit side by side: [`handshake`], [`chunk`] streams, [`message`]s, [`command`]s.
//! A chunk reader keeps what the chunk format itself makes it keep (headers, unfinished messages), and nothing else.
//! Who says what when is the session's.

pub mod chunk;
pub mod command;
pub mod handshake;
pub mod message;
