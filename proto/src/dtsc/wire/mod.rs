//! DTSC as bytes, parse and emit side by side: [`packet`] (framing and media packets), [`object`] (the value encoding
//! inside) and [`header`] (the description of a stream's tracks).
//! No state: a stream of packets is read by whoever holds its bytes.

pub mod header;
pub mod object;
pub mod packet;
