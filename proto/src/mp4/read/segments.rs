//! The same strictness for segments: an initialization segment with the segments that follow it, and Smooth fragments.
//!
//! Segments of a run without a break are given: decode times go on from the last sample of one to the first of the next. That
//! there is one `styp` at the begin of each, chunks behind it and nothing else, and that chunk numbers grow, is checked as well.

use super::super::{
    error::SegmentError,
    wire::{TFRF, TFXD},
};
use super::{
    Cursor, Edits, Movie, ReadError, ReadSample, ReadTrack, field, limits, read_chunk, read_mfhd, read_moov, read_tfhd,
    read_trun,
};

/// What an initialization segment and segments hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments<'a> {
    /// [`ReadSample::chunk`] counts the chunks of all segments.
    pub track: ReadTrack<'a>,
    /// Of each segment, how many chunks it has: at least one.
    pub chunks: Vec<usize>,
}

/// A Smooth fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// `tfxd`, in the manifest's timescale.
    pub time: u64,
    pub duration: u64,
    /// `tfrf`: time and duration of those behind it.
    pub following: Vec<(u64, u64)>,
    /// [`ReadSample::dts`] goes on from `time`, as players count.
    pub samples: Vec<ReadSample<'a>>,
}

/// Reads an initialization segment and, behind it, segments that follow each other without a break.
pub fn check_segments<'a>(init: &'a [u8], segments: &[&'a [u8]]) -> Result<Segments<'a>, SegmentError> {
    let mut movie = Movie {
        tracks: vec![read_init(init).map_err(|error| SegmentError { segment: None, error })?],
        chunks: 0,
    };
    let (mut chunks, mut last_number) = (Vec::new(), None);
    for (at, bytes) in segments.iter().enumerate() {
        let before = movie.chunks;
        read_segment(&mut movie, &mut last_number, bytes).map_err(|error| SegmentError {
            segment: Some(at),
            error,
        })?;
        chunks.push(movie.chunks - before);
    }
    let track = movie.tracks.remove(0);
    Ok(Segments { track, chunks })
}

/// Reads Smooth fragments that follow each other. Those of one segment, when it had to go on in another, stand in one.
pub fn check_fragments<'a>(fragments: &[&'a [u8]]) -> Result<Vec<Fragment<'a>>, SegmentError> {
    let (mut read, mut last_number) = (Vec::new(), None);
    for (at, bytes) in fragments.iter().enumerate() {
        let fragment = read_fragment(&mut last_number, bytes).map_err(|error| SegmentError {
            segment: Some(at),
            error,
        })?;
        read.push(fragment);
    }
    Ok(read)
}

/// The one track of an initialization segment.
fn read_init(bytes: &[u8]) -> Result<ReadTrack<'_>, ReadError> {
    let mut cursor = Cursor::of(bytes);
    let mut ftyp = cursor.expect(b"ftyp")?;
    let at = ftyp.at;
    let mut brands = vec![ftyp.kind()?];
    ftyp.u32()?;
    while ftyp.at < ftyp.end {
        brands.push(ftyp.kind()?);
    }
    for kind in [b"cmfc", b"dash"] {
        if !brands.contains(kind) {
            return Err(ReadError::MissingBox { at, kind: *kind });
        }
    }
    let at = cursor.at;
    let mut tracks = read_moov(cursor.expect(b"moov")?, Edits::None)?;
    cursor.finish()?;
    if tracks.len() != 1 {
        return field(at, "tracks", tracks.len() as u64);
    }
    Ok(tracks.remove(0))
}

fn read_segment<'a>(movie: &mut Movie<'a>, last_number: &mut Option<u32>, bytes: &'a [u8]) -> Result<(), ReadError> {
    let mut cursor = Cursor::of(bytes);
    let mut styp = cursor.expect(b"styp")?;
    let at = styp.at;
    if styp.kind()? != *b"msdh" {
        return field(at, "major_brand", 0);
    }
    let first = movie.chunks;
    while cursor.at < cursor.end || movie.chunks == first {
        let begin = cursor.at;
        let (moof, mdat) = (cursor.expect(b"moof")?, cursor.expect(b"mdat")?);
        let mut head = moof;
        check_growth(begin, read_mfhd(&mut head)?, last_number)?;
        // What grows by one from the number that is there.
        read_chunk(movie, &mut None, begin, moof, mdat)?;
        movie.chunks += 1;
    }
    Ok(())
}

/// Numbers of 32 bits that grow, and may pass their end.
fn check_growth(at: usize, found: u32, last: &mut Option<u32>) -> Result<(), ReadError> {
    if let Some(last) = *last
        && found.wrapping_sub(last).cast_signed() <= 0
    {
        return Err(ReadError::SequenceBack { at, last, found });
    }
    *last = Some(found);
    Ok(())
}

fn read_fragment<'a>(last_number: &mut Option<u32>, bytes: &'a [u8]) -> Result<Fragment<'a>, ReadError> {
    let mut cursor = Cursor::of(bytes);
    let (mut moof, mdat) = (cursor.expect(b"moof")?, cursor.expect(b"mdat")?);
    cursor.finish()?;
    check_growth(0, read_mfhd(&mut moof)?, last_number)?;
    let mut traf = moof.expect(b"traf")?;
    moof.finish()?;
    let (track_id, defaults) = read_tfhd(&mut traf)?;
    let trun = traf.expect(b"trun")?;
    let (time, duration) = read_tfxd(traf.expect(b"uuid")?)?;
    let following = read_tfrf(traf.expect(b"uuid")?)?;
    traf.finish()?;
    let mut track = ReadTrack {
        track_id,
        handler: [0; 4],
        timescale: 1,
        media_time: 0,
        entry_kind: [0; 4],
        entry: &[],
        samples: Vec::new(),
        // Players have none either: each sample's are told.
        default_flags: 0,
        end: None,
    };
    let end = read_trun(&mut track, trun, &defaults, time, (0, (mdat.at, mdat.end)), 0)?;
    if end != mdat.end {
        return Err(ReadError::DataOutside {
            at: 0,
            begin: end,
            end: mdat.end,
        });
    }
    let sum = track.end.map_or(0, |end| end - time);
    if sum != duration {
        return field(trun.at, "FragmentDuration", duration);
    }
    Ok(Fragment {
        time,
        duration,
        following,
        samples: track.samples,
    })
}

fn read_tfxd(mut uuid: Cursor<'_>) -> Result<(u64, u64), ReadError> {
    uuid.uuid(&TFXD)?;
    uuid.version(1)?;
    let times = (uuid.u64()?, uuid.u64()?);
    uuid.finish()?;
    Ok(times)
}

fn read_tfrf(mut uuid: Cursor<'_>) -> Result<Vec<(u64, u64)>, ReadError> {
    uuid.uuid(&TFRF)?;
    uuid.version(1)?;
    let at = uuid.at;
    let count = usize::from(uuid.array::<1>()?[0]);
    if count > limits::FOLLOWING_MAX {
        return field(at, "FragmentCount", count as u64);
    }
    let mut following = Vec::new();
    for _ in 0..count {
        following.push((uuid.u64()?, uuid.u64()?));
    }
    uuid.finish()?;
    Ok(following)
}

impl<'a> Cursor<'a> {
    fn of(all: &'a [u8]) -> Self {
        Cursor {
            all,
            at: 0,
            end: all.len(),
        }
    }

    fn uuid(&mut self, expected: &[u8; 16]) -> Result<(), ReadError> {
        let at = self.at;
        match self.array::<16>()? {
            found if found == *expected => Ok(()),
            found => field(at, "extended_type", u64::from(found[0])),
        }
    }
}
