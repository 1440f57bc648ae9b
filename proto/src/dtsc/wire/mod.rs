//! DTSC as bytes: [`packet`] (framing and media packets), [`object`] (the value encoding inside) and [`header`] (the
//! description of a stream's tracks). No state.

pub mod header;
pub mod object;
pub mod packet;
