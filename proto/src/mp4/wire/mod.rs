//! Boxes as bytes (ISO/IEC 14496-12, 4.2): a box is opened, its content appended, and its size filled in when it closes.
//! `movie` writes what comes once (`ftyp`, `moov`), `fragment` what comes with each chunk (`moof`, `mdat`).
//! No state: times, numbers and samples come in as values.

mod fragment;
mod movie;

pub use fragment::{Run, Sample, SmoothTimes, TFRF, TFXD, flags, write_chunk, write_smooth};
pub use movie::{MOVIE_TIMESCALE, MovieTrack, put, write_movie};

/// Appends a box of `kind` around what `content` appends.
pub fn boxed(out: &mut Vec<u8>, kind: &[u8; 4], content: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(kind);
    content(out);
    let bytes = u32::try_from(out.len() - begin).expect("a chunk's bytes are bounded in limits.rs below 4 GiB");
    out[begin..begin + 4].copy_from_slice(&bytes.to_be_bytes());
}

/// The same with version and flags before the content.
pub fn full_boxed(out: &mut Vec<u8>, kind: &[u8; 4], version: u8, flags: u32, content: impl FnOnce(&mut Vec<u8>)) {
    debug_assert!(flags < 1 << 24);
    boxed(out, kind, |out| {
        put32(out, u32::from(version) << 24 | flags);
        content(out);
    });
}

pub fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}
