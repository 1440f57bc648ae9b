//! `ftyp` + `moov` (ISO/IEC 14496-12, 4.3, 8.2 to 8.6, 8.8.1).
//!
//! Leaf boxes are mp4-atom's; containers are written here, because their usual order (`edts` before `mdia`, `mvex` last) is
//! what players have seen most.

use mp4_atom::{
    Dinf, Dref, DrefEntry, Edts, Elst, ElstEntry, Encode, Ftyp, Hdlr, Mdhd, Mvex, Mvhd, Smhd, Stco, Stsc, Stsz, Stts,
    Tkhd, Trex, Url, Vmhd,
};

use super::{boxed, full_boxed, put32};
use crate::media::Kind;

/// What the movie says of one track.
#[derive(Clone, Copy, Debug)]
pub struct MovieTrack<'a> {
    pub track_id: u32,
    pub kind: Kind,
    pub timescale: u32,
    /// Pixels; zero for audio.
    pub width: u32,
    pub height: u32,
    /// The sample entry, a whole box.
    pub entry: &'a [u8],
    pub default_flags: u32,
    /// Media time that is shown at presentation time zero, ticks. `None`: no edit list; stream time is what is shown.
    pub media_time: Option<u64>,
}

/// Appends the header of a movie that has only fragments. The first of `brands` is the major one.
pub fn write_movie<'a>(out: &mut Vec<u8>, brands: &[&[u8; 4]], tracks: impl Iterator<Item = MovieTrack<'a>> + Clone) {
    put(
        out,
        &Ftyp {
            major_brand: brands[0].into(),
            minor_version: 0,
            compatible_brands: brands.iter().map(|&brand| brand.into()).collect(),
        },
    );
    boxed(out, b"moov", |out| {
        put(
            out,
            &Mvhd {
                timescale: MOVIE_TIMESCALE,
                rate: 1.into(),
                volume: 1.into(),
                next_track_id: tracks.clone().map(|track| track.track_id).max().unwrap_or(0) + 1,
                ..Mvhd::default()
            },
        );
        for track in tracks.clone() {
            boxed(out, b"trak", |out| write_trak(out, &track));
        }
        put(
            out,
            &Mvex {
                mehd: None,
                trex: tracks
                    .map(|track| Trex {
                        track_id: track.track_id,
                        default_sample_description_index: 1,
                        default_sample_duration: 0,
                        default_sample_size: 0,
                        default_sample_flags: track.default_flags,
                    })
                    .collect(),
            },
        );
    });
}

fn write_trak(out: &mut Vec<u8>, track: &MovieTrack<'_>) {
    put(
        out,
        &Tkhd {
            track_id: track.track_id,
            enabled: true,
            in_movie: true,
            volume: u8::from(track.kind == Kind::Audio).into(),
            width: saturate(track.width).into(),
            height: saturate(track.height).into(),
            ..Tkhd::default()
        },
    );
    if let Some(media_time) = track.media_time {
        write_edits(out, media_time, track.timescale);
    }
    boxed(out, b"mdia", |out| {
        put(
            out,
            &Mdhd {
                timescale: track.timescale,
                language: "und".into(),
                ..Mdhd::default()
            },
        );
        let (handler, name) = match track.kind {
            Kind::Audio => (b"soun", "SoundHandler"),
            Kind::Video | Kind::Meta => (b"vide", "VideoHandler"),
        };
        put(
            out,
            &Hdlr {
                handler: handler.into(),
                name: name.into(),
            },
        );
        boxed(out, b"minf", |out| write_minf(out, track));
    });
}

fn write_edits(out: &mut Vec<u8>, media_time: u64, timescale: u32) {
    // A segment duration of zero: the edit lasts as long as fragments come (8.6.6.1).
    let edit = |segment_duration, media_time| ElstEntry {
        segment_duration,
        media_time: Some(media_time),
        media_rate: 1.into(),
    };
    let first = edit(FIRST_EDIT_SECONDS * u64::from(MOVIE_TIMESCALE), media_time);
    let first_ticks = FIRST_EDIT_SECONDS * u64::from(timescale);
    let rest = edit(0, media_time.saturating_add(first_ticks));
    put(
        out,
        &Edts {
            elst: Some(Elst {
                entries: vec![first, rest],
            }),
        },
    );
}

fn write_minf(out: &mut Vec<u8>, track: &MovieTrack<'_>) {
    match track.kind {
        Kind::Audio => put(out, &Smhd::default()),
        Kind::Video | Kind::Meta => put(out, &Vmhd::default()),
    }
    put(
        out,
        &Dinf {
            dref: Dref {
                entries: vec![DrefEntry::Url(Url::default())],
            },
        },
    );
    boxed(out, b"stbl", |out| {
        full_boxed(out, b"stsd", 0, 0, |out| {
            put32(out, 1);
            out.extend_from_slice(track.entry);
        });
        put(out, &Stts::default());
        put(out, &Stsc::default());
        put(out, &Stsz::default());
        put(out, &Stco::default());
    });
}

/// Appends a box of mp4-atom's.
pub fn put(out: &mut Vec<u8>, atom: &impl Encode) {
    atom.encode(out)
        .expect("these boxes have a fixed shape, and their values were checked when the track was accepted");
}

fn saturate(pixels: u32) -> u16 {
    u16::try_from(pixels).unwrap_or(u16::MAX)
}

/// Only the first edit of each track has a length in it.
pub const MOVIE_TIMESCALE: u32 = 1000;

/// Length of the first edit, which the second one goes on behind without a seam. Whole seconds are whole ticks in every
/// timescale. Two edits say what one would, but see the front page of [`crate::mp4`] for what players make of a single one.
const FIRST_EDIT_SECONDS: u64 = 1;
