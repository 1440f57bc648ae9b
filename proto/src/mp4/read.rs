//! A strict reader of what [`super::Muxer`] writes, for tests: one viewer's bytes in, samples out.
//!
//! Not a demuxer: what the muxer never writes is an error, so that a test sees it. It checks that boxes fill what holds them,
//! that sample bytes are all of the `mdat` in order, that each track's runs follow each other without gap or overlap, and that
//! chunk numbers grow by one. [`segments`] does the same with what [`super::Cmaf`] and [`super::Smooth`] make.

mod segments;

pub use segments::{Fragment, Segments, check_fragments, check_segments};

use super::{
    error::ReadError,
    limits,
    wire::{MOVIE_TIMESCALE, flags},
};

/// What one viewer received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movie<'a> {
    pub tracks: Vec<ReadTrack<'a>>,
    pub chunks: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadTrack<'a> {
    pub track_id: u32,
    /// `vide` or `soun`.
    pub handler: [u8; 4],
    pub timescale: u32,
    /// Media time shown at presentation time zero, ticks; 0 without an edit list.
    pub media_time: i64,
    /// Kind of the sample entry: `avc1`, `mp4a`, …
    pub entry_kind: [u8; 4],
    /// The sample entry, a whole box.
    pub entry: &'a [u8],
    pub samples: Vec<ReadSample<'a>>,
    default_flags: u32,
    end: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSample<'a> {
    /// Decode time, ticks of the track.
    pub dts: u64,
    pub offset: i32,
    pub duration: u32,
    pub key: bool,
    pub bytes: &'a [u8],
    /// Counts the chunks, from 0.
    pub chunk: usize,
}

/// Reads a join header with whole chunks behind it.
pub fn read(bytes: &[u8]) -> Result<Movie<'_>, ReadError> {
    let (movie, end) = read_movie(bytes)?;
    match end {
        Some(error) => Err(error),
        None => Ok(movie),
    }
}

/// The same of a capture that was cut anywhere: the chunk that is not whole is left out. Returns also how many bytes were
/// read.
pub fn read_whole_chunks(bytes: &[u8]) -> Result<(Movie<'_>, usize), ReadError> {
    let (movie, end) = read_movie(bytes)?;
    match end {
        None => Ok((movie, bytes.len())),
        Some(ReadError::Truncated { at }) => Ok((movie, at)),
        Some(error) => Err(error),
    }
}

/// The movie as far as it is right, and what ended it. An error in the header is the function's own; `Truncated` is given at
/// the chunk that the capture's end cuts.
fn read_movie(bytes: &[u8]) -> Result<(Movie<'_>, Option<ReadError>), ReadError> {
    let mut cursor = Cursor {
        all: bytes,
        at: 0,
        end: bytes.len(),
    };
    cursor.expect(b"ftyp")?;
    let moov = cursor.expect(b"moov")?;
    let mut movie = Movie {
        tracks: read_moov(moov, Edits::Two)?,
        chunks: 0,
    };
    let mut sequence_number = None;
    while cursor.at < cursor.end {
        let begin = cursor.at;
        let Some((moof, mdat)) = cursor.whole_chunk()? else {
            return Ok((movie, Some(ReadError::Truncated { at: begin })));
        };
        if let Err(error) = read_chunk(&mut movie, &mut sequence_number, begin, moof, mdat) {
            return Ok((movie, Some(error)));
        }
        movie.chunks += 1;
    }
    Ok((movie, None))
}

/// What edit list a track has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edits {
    Two,
    None,
}

fn read_moov(mut moov: Cursor<'_>, edits: Edits) -> Result<Vec<ReadTrack<'_>>, ReadError> {
    let mut tracks: Vec<ReadTrack<'_>> = Vec::new();
    moov.expect(b"mvhd")?;
    loop {
        let at = moov.at;
        let (kind, content) = moov.next()?.ok_or(ReadError::MissingBox { at, kind: *b"mvex" })?;
        match &kind {
            b"trak" if tracks.len() < limits::TRACKS_MAX => {
                let track = read_trak(content, edits)?;
                if tracks.iter().any(|other| other.track_id == track.track_id) {
                    return field(at, "track_ID", u64::from(track.track_id));
                }
                tracks.push(track);
            }
            b"mvex" => {
                read_mvex(content, &mut tracks)?;
                break;
            }
            _ => return Err(ReadError::UnexpectedBox { at, kind }),
        }
    }
    moov.finish()?;
    if tracks.is_empty() {
        return Err(ReadError::MissingBox {
            at: moov.at,
            kind: *b"trak",
        });
    }
    Ok(tracks)
}

fn read_trak(mut trak: Cursor<'_>, edits: Edits) -> Result<ReadTrack<'_>, ReadError> {
    let mut tkhd = trak.expect(b"tkhd")?;
    tkhd.version(1)?;
    tkhd.take(16)?;
    let track_id = tkhd.u32()?;
    let elst = match edits {
        Edits::None => None,
        Edits::Two => {
            let mut edts = trak.expect(b"edts")?;
            let elst = edts.expect(b"elst")?;
            edts.finish()?;
            Some(elst)
        }
    };
    let mut mdia = trak.expect(b"mdia")?;
    trak.finish()?;

    let mut mdhd = mdia.expect(b"mdhd")?;
    mdhd.version(1)?;
    mdhd.take(16)?;
    let timescale = mdhd.u32()?;
    if timescale == 0 {
        return field(mdhd.at - 4, "timescale", 0);
    }
    let media_time = elst.map_or(Ok(0), |elst| read_elst(elst, timescale))?;
    let mut hdlr = mdia.expect(b"hdlr")?;
    hdlr.take(8)?;
    let handler = hdlr.kind()?;
    let mut minf = mdia.expect(b"minf")?;
    mdia.finish()?;
    minf.expect(if &handler == b"soun" { b"smhd" } else { b"vmhd" })?;
    minf.expect(b"dinf")?;
    let mut stbl = minf.expect(b"stbl")?;
    minf.finish()?;
    let mut stsd = stbl.expect(b"stsd")?;
    stsd.version(0)?;
    let count = stsd.u32()?;
    if count != 1 {
        return field(stsd.at - 4, "entry_count", u64::from(count));
    }
    let entry = &stsd.all[stsd.at..stsd.end];
    let at = stsd.at;
    let (entry_kind, _) = stsd.next()?.ok_or(ReadError::Truncated { at })?;
    stsd.finish()?;
    Ok(ReadTrack {
        track_id,
        handler,
        timescale,
        media_time,
        entry_kind,
        entry,
        samples: Vec::new(),
        default_flags: 0,
        end: None,
    })
}

/// Two edits, the second of which goes on where the first ends and has no end. Returns where the first begins.
fn read_elst(mut elst: Cursor<'_>, timescale: u32) -> Result<i64, ReadError> {
    let at = elst.at;
    let version = elst.u32()?;
    let count = elst.u32()?;
    if count != 2 || version >> 24 > 1 {
        return field(at, "edit list", u64::from(version));
    }
    let (duration, media_time) = read_edit(&mut elst, version >> 24)?;
    let (duration_rest, media_time_rest) = read_edit(&mut elst, version >> 24)?;
    elst.finish()?;
    if duration == 0 || duration % u64::from(MOVIE_TIMESCALE) != 0 {
        return field(at, "segment_duration", duration);
    }
    if duration_rest != 0 {
        return field(at, "segment_duration", duration_rest);
    }
    if media_time < 0 {
        return field(at, "media_time", media_time as u64);
    }
    let ticks = i128::from(duration / u64::from(MOVIE_TIMESCALE)) * i128::from(timescale);
    if i128::from(media_time_rest) != i128::from(media_time) + ticks {
        return field(at, "media_time", media_time_rest as u64);
    }
    Ok(media_time)
}

/// Segment duration and media time.
fn read_edit(elst: &mut Cursor<'_>, version: u32) -> Result<(u64, i64), ReadError> {
    let edit = if version == 1 {
        (elst.u64()?, elst.u64()? as i64)
    } else {
        (u64::from(elst.u32()?), i64::from(elst.u32()? as i32))
    };
    let at = elst.at;
    match elst.u32()? {
        0x1_0000 => Ok(edit),
        rate => field(at, "media_rate", u64::from(rate)),
    }
}

fn read_mvex(mut mvex: Cursor<'_>, tracks: &mut [ReadTrack<'_>]) -> Result<(), ReadError> {
    for track in tracks {
        let mut trex = mvex.expect(b"trex")?;
        let at = trex.at;
        trex.version(0)?;
        let (track_id, description) = (trex.u32()?, trex.u32()?);
        if track_id != track.track_id {
            return Err(ReadError::UnknownTrack { at, track_id });
        }
        if description != 1 {
            return field(at, "default_sample_description_index", u64::from(description));
        }
        trex.take(8)?;
        track.default_flags = trex.u32()?;
        trex.finish()?;
    }
    mvex.finish()
}

fn read_chunk<'a>(
    movie: &mut Movie<'a>,
    sequence_number: &mut Option<u32>,
    moof_at: usize,
    mut moof: Cursor<'a>,
    mdat: Cursor<'a>,
) -> Result<(), ReadError> {
    let found = read_mfhd(&mut moof)?;
    if let Some(expected) = sequence_number
        .map(|last: u32| last.wrapping_add(1))
        .filter(|&expected| expected != found)
    {
        return Err(ReadError::Sequence {
            at: moof_at,
            expected,
            found,
        });
    }
    *sequence_number = Some(found);
    let mut data_at = mdat.at;
    let mut tracks_seen = [None; limits::TRACKS_MAX];
    for seen in &mut tracks_seen {
        if moof.at == moof.end {
            break;
        }
        let (track_id, end) = read_traf(movie, moof_at, moof.expect(b"traf")?, (data_at, mdat.end))?;
        data_at = end;
        *seen = Some(track_id);
    }
    moof.finish()?;
    if tracks_seen[0].is_none() || tracks_seen[0] == tracks_seen[1] {
        return field(moof_at, "track runs", u64::from(tracks_seen[0].unwrap_or(0)));
    }
    if data_at != mdat.end {
        return Err(ReadError::DataOutside {
            at: moof_at,
            begin: data_at,
            end: mdat.end,
        });
    }
    Ok(())
}

fn read_mfhd(moof: &mut Cursor<'_>) -> Result<u32, ReadError> {
    let mut mfhd = moof.expect(b"mfhd")?;
    mfhd.version(0)?;
    let sequence_number = mfhd.u32()?;
    mfhd.finish()?;
    Ok(sequence_number)
}

/// Returns the track and the end of its bytes.
fn read_traf<'a>(
    movie: &mut Movie<'a>,
    moof_at: usize,
    mut traf: Cursor<'a>,
    data: (usize, usize),
) -> Result<(u32, usize), ReadError> {
    let at = traf.at;
    let (track_id, defaults) = read_tfhd(&mut traf)?;
    let chunk = movie.chunks;
    let track = movie
        .tracks
        .iter_mut()
        .find(|track| track.track_id == track_id)
        .ok_or(ReadError::UnknownTrack { at, track_id })?;
    let mut tfdt = traf.expect(b"tfdt")?;
    tfdt.version(1)?;
    let dts = tfdt.u64()?;
    tfdt.finish()?;
    if let Some(expected) = track.end.filter(|&end| end != dts) {
        return Err(ReadError::Discontinuity {
            at,
            track_id,
            expected,
            found: dts,
        });
    }
    let trun = traf.expect(b"trun")?;
    traf.finish()?;
    let end = read_trun(track, trun, &defaults, dts, (moof_at, data), chunk)?;
    Ok((track_id, end))
}

/// The track and what holds for samples that say nothing.
fn read_tfhd(traf: &mut Cursor<'_>) -> Result<(u32, Defaults), ReadError> {
    let at = traf.at;
    let mut tfhd = traf.expect(b"tfhd")?;
    let tfhd_flags = tfhd.u32()?;
    let known = flags::TFHD_BASE_IS_MOOF | flags::TFHD_DURATION | flags::TFHD_SIZE | flags::TFHD_FLAGS;
    if tfhd_flags & !known != 0 || tfhd_flags & flags::TFHD_BASE_IS_MOOF == 0 {
        return field(at, "tf_flags", u64::from(tfhd_flags));
    }
    let track_id = tfhd.u32()?;
    let mut default = |flag| {
        if tfhd_flags & flag != 0 {
            tfhd.u32().map(Some)
        } else {
            Ok(None)
        }
    };
    let defaults = Defaults {
        duration: default(flags::TFHD_DURATION)?,
        bytes: default(flags::TFHD_SIZE)?,
        flags: default(flags::TFHD_FLAGS)?,
    };
    tfhd.finish()?;
    Ok((track_id, defaults))
}

struct Defaults {
    duration: Option<u32>,
    bytes: Option<u32>,
    flags: Option<u32>,
}

fn read_trun<'a>(
    track: &mut ReadTrack<'a>,
    mut trun: Cursor<'a>,
    defaults: &Defaults,
    mut dts: u64,
    (moof_at, (mut data_at, data_end)): (usize, (usize, usize)),
    chunk: usize,
) -> Result<usize, ReadError> {
    let at = trun.at;
    let trun_flags = trun.u32()?;
    let count = trun.u32()?;
    let data_offset = trun.u32()?;
    let known = flags::TRUN_DATA_OFFSET
        | flags::TRUN_FIRST_FLAGS
        | flags::TRUN_DURATION
        | flags::TRUN_SIZE
        | flags::TRUN_FLAGS
        | flags::TRUN_OFFSET;
    let both = flags::TRUN_FIRST_FLAGS | flags::TRUN_FLAGS;
    if trun_flags & !known != 1 << 24 || trun_flags & flags::TRUN_DATA_OFFSET == 0 || trun_flags & both == both {
        return field(at, "tr_flags", u64::from(trun_flags));
    }
    if count == 0 {
        return field(at, "sample_count", 0);
    }
    if usize::try_from(data_offset)
        .ok()
        .and_then(|offset| moof_at.checked_add(offset))
        != Some(data_at)
    {
        return field(at, "data_offset", u64::from(data_offset));
    }
    let mut first_flags = if trun_flags & flags::TRUN_FIRST_FLAGS != 0 {
        Some(trun.u32()?)
    } else {
        None
    };
    for _ in 0..count {
        let mut own = |flag| {
            if trun_flags & flag != 0 {
                trun.u32().map(Some)
            } else {
                Ok(None)
            }
        };
        let duration = own(flags::TRUN_DURATION)?.or(defaults.duration);
        let bytes = own(flags::TRUN_SIZE)?.or(defaults.bytes);
        let sample_flags = own(flags::TRUN_FLAGS)?
            .or(first_flags.take())
            .or(defaults.flags)
            .unwrap_or(track.default_flags);
        let offset = own(flags::TRUN_OFFSET)?.unwrap_or(0) as i32;
        let duration = duration.ok_or(ReadError::Field {
            at,
            field: "sample_duration",
            value: 0,
        })?;
        // An empty sample would also let a short run claim any number of samples.
        let bytes = bytes.filter(|&bytes| bytes > 0).ok_or(ReadError::Field {
            at,
            field: "sample_size",
            value: 0,
        })?;
        let end = data_at.saturating_add(bytes as usize);
        if end > data_end {
            return Err(ReadError::DataOutside {
                at,
                begin: data_at,
                end,
            });
        }
        track.samples.push(ReadSample {
            dts,
            offset,
            duration,
            key: match sample_flags {
                flags::SYNC => true,
                flags::NON_SYNC => false,
                other => return field(at, "sample_flags", u64::from(other)),
            },
            bytes: &trun.all[data_at..end],
            chunk,
        });
        data_at = end;
        dts = dts.checked_add(u64::from(duration)).ok_or(ReadError::Field {
            at,
            field: "tfdt",
            value: dts,
        })?;
    }
    trun.finish()?;
    track.end = Some(dts);
    Ok(data_at)
}

fn field<T>(at: usize, field: &'static str, value: u64) -> Result<T, ReadError> {
    Err(ReadError::Field { at, field, value })
}

/// A place in a box's content.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    all: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], ReadError> {
        if self.end - self.at < count {
            return Err(ReadError::Truncated { at: self.at });
        }
        let taken = &self.all[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, ReadError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, ReadError> {
        self.array().map(u64::from_be_bytes)
    }

    fn kind(&mut self) -> Result<[u8; 4], ReadError> {
        self.array()
    }

    fn version(&mut self, version: u32) -> Result<(), ReadError> {
        let at = self.at;
        match self.u32()? >> 24 {
            found if found == version => Ok(()),
            found => field(at, "version", u64::from(found)),
        }
    }

    /// The next box's kind and content, or nothing at the end.
    fn next(&mut self) -> Result<Option<([u8; 4], Cursor<'a>)>, ReadError> {
        if self.at == self.end {
            return Ok(None);
        }
        let at = self.at;
        let bytes = self.u32()? as usize;
        let kind = self.kind()?;
        if bytes < 8 {
            return Err(ReadError::BoxSize {
                at,
                bytes: bytes as u64,
            });
        }
        if bytes > self.end - at {
            return Err(ReadError::Truncated { at });
        }
        let content = Cursor {
            all: self.all,
            at: self.at,
            end: at + bytes,
        };
        self.at = content.end;
        Ok(Some((kind, content)))
    }

    fn expect(&mut self, expected: &[u8; 4]) -> Result<Cursor<'a>, ReadError> {
        let at = self.at;
        match self.next()? {
            None => Err(ReadError::MissingBox { at, kind: *expected }),
            Some((kind, content)) if kind == *expected => Ok(content),
            Some((kind, _)) => Err(ReadError::UnexpectedBox { at, kind }),
        }
    }

    fn finish(&self) -> Result<(), ReadError> {
        if self.at == self.end {
            Ok(())
        } else {
            field(self.at, "bytes behind the last field", (self.end - self.at) as u64)
        }
    }

    /// `moof` and `mdat`, or nothing when the end cuts them.
    fn whole_chunk(&mut self) -> Result<Option<(Cursor<'a>, Cursor<'a>)>, ReadError> {
        let whole = self.expect(b"moof").and_then(|moof| match self.expect(b"mdat") {
            Ok(mdat) => Ok((moof, mdat)),
            Err(ReadError::MissingBox { at, .. }) if at == self.all.len() => Err(ReadError::Truncated { at }),
            Err(error) => Err(error),
        });
        match whole {
            Ok(chunk) => Ok(Some(chunk)),
            Err(ReadError::Truncated { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
