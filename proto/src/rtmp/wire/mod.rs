//! Bytes and values of RTMP, parse and emit side by side, without the dialogue's state.

pub mod chunk;
pub mod command;
pub mod handshake;
pub mod message;
