//! MPEG transport stream, made once per stream for endless HTTP answers and for HLS, and a strict checker of such streams.
//!
//! [`Mux`] makes records of whole 188-byte packets, [`Segments`] what HLS fetches piece by piece; [`check::Checker`] says what is wrong with any transport stream of
//! one program, ours or another's; [`wire`] has packets, sections and PES heads, parse and emit side by side. There is
//! no demuxer here, no scrambling, no constant bit rate and no null packet: the stream is as fast as its frames.
//!
//! ISO/IEC 13818-1 (sections cited are its 2019 edition's): 2.4.3.2 packet, 2.4.3.4 adaptation field, 2.4.3.6 PES,
//! 2.4.4 program tables, 2.4.2 and 2.7 limits of time. ETSI EN 300 468: SDT. ATSC A/52 Annex A: AC-3 and E-AC-3 by registration.
//! ETSI TS 101 154: 40 ms between PCRs. AV1: AOM, "Carriage of AV1 in MPEG-2 TS" (start codes, no temporal delimiters).
//! Opus: registration `Opus` and a control header per packet, as ffmpeg and MistServer write it.
//!
//! Invariants of what the muxer makes:
//! - a record is whole packets: all of one frame, behind the tables and PCR packets that are due before it;
//! - a join record begins with PAT, PMT, SDT, and then a keyframe with a PCR in its first packet; nothing goes before it;
//! - between discontinuities PCR rises strictly, by at most 40 ms, and no DTS that follows it is behind it;
//! - nothing allocates per packet, nor per frame once the largest frame has been seen.

pub mod check;
pub mod limits;
pub mod mux;
pub mod wire;

mod segments;

mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;

pub use error::Error;
pub use mux::Mux;
pub use segments::Segments;
