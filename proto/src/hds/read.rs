//! Reads bootstraps and fragments, and is strict about them: what is legal elsewhere and not written here is an error.
//!
//! Not a player: for tests, and for whoever looks into a stream. State and results are no larger than what is read.

use super::Error;
use super::bootstrap::{END, LIVE, NUMBERS_JUMP, Run, TIMES_JUMP, TIMESCALE};
use crate::tag::wire::outer::{PREVIOUS_TAG_SIZE_BYTES, TAG_HEADER_BYTES, TagHeader};

/// An `abst` box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    pub version: u32,
    pub is_live: bool,
    /// ms.
    pub current_media_time: u64,
    pub movie: String,
    /// Fragments that the one segment has.
    pub fragments_per_segment: u32,
    runs: Vec<Run>,
}

/// A fragment that a bootstrap lists; times in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    pub number: u32,
    pub time: u64,
    pub duration: u32,
}

/// Reads the one `abst` box that `bytes` are.
pub fn bootstrap(bytes: &[u8]) -> Result<Bootstrap, Error> {
    let mut whole = Cursor { bytes, at: 0 };
    let mut abst = whole.enter(*b"abst")?;
    whole.done()?;
    let version = abst.u32("BootstrapinfoVersion")?;
    let offset = abst.at;
    let flags = abst.u8("Live")?;
    if flags & !LIVE != 0 {
        return Err(illegal("Profile, Live and Update", flags, offset));
    }
    abst.expect("TimeScale", TIMESCALE)?;
    let current_media_time = abst.u64("CurrentMediaTime")?;
    abst.expect("SmpteTimeCodeOffset", 0)?;
    abst.expect("SmpteTimeCodeOffset", 0)?;
    let movie = abst.text("MovieIdentifier")?;
    for (field, wanted) in [
        ("ServerEntryCount", 0),
        ("QualityEntryCount", 0),
        ("DrmData", 0),
        ("MetaData", 0),
        ("SegmentRunTableCount", 1),
    ] {
        abst.expect_u8(field, wanted)?;
    }
    let mut asrt = abst.enter(*b"asrt")?;
    asrt.expect_u8("QualityEntryCount", 0)?;
    asrt.expect("SegmentRunEntryCount", 1)?;
    asrt.expect("FirstSegment", 1)?;
    let fragments_per_segment = asrt.u32("FragmentsPerSegment")?;
    asrt.done()?;
    abst.expect_u8("FragmentRunTableCount", 1)?;
    let afrt = abst.enter(*b"afrt")?;
    abst.done()?;
    let bootstrap = Bootstrap {
        version,
        is_live: flags & LIVE != 0,
        current_media_time,
        movie,
        fragments_per_segment,
        runs: fragment_runs(afrt)?,
    };
    bootstrap.check()?;
    Ok(bootstrap)
}

fn fragment_runs(mut afrt: Cursor<'_>) -> Result<Vec<Run>, Error> {
    afrt.expect("TimeScale", TIMESCALE)?;
    afrt.expect_u8("QualityEntryCount", 0)?;
    let offset = afrt.at;
    let count = afrt.u32("FragmentRunEntryCount")?;
    let mut runs = Vec::new();
    while afrt.at < afrt.bytes.len() {
        let first = afrt.u32("FirstFragment")?;
        let time = afrt.u64("FirstFragmentTimestamp")?;
        let duration = afrt.u32("FragmentDuration")?;
        let offset = afrt.at;
        let indicator = if duration == 0 {
            afrt.u8("DiscontinuityIndicator")?
        } else {
            0
        };
        if indicator > (NUMBERS_JUMP | TIMES_JUMP) {
            return Err(illegal("DiscontinuityIndicator", indicator, offset));
        }
        runs.push(Run {
            first,
            time,
            duration,
            indicator,
        });
    }
    if runs.len() as u64 != u64::from(count) {
        return Err(illegal("FragmentRunEntryCount", count, offset));
    }
    Ok(runs)
}

impl Bootstrap {
    /// The end of the presentation is marked.
    pub fn is_ended(&self) -> bool {
        self.runs
            .last()
            .is_some_and(|run| run.duration == 0 && run.indicator == END)
    }

    /// Marks of jumps: numbers, times.
    pub fn jumps(&self) -> impl Iterator<Item = (bool, bool)> {
        let marks = self.runs.iter().filter(|run| run.duration == 0 && run.indicator != END);
        marks.map(|run| (run.indicator & NUMBERS_JUMP != 0, run.indicator & TIMES_JUMP != 0))
    }

    /// All fragments, in order. As many as the box states, which can be very many.
    pub fn fragments(&self) -> impl Iterator<Item = Fragment> {
        self.runs.iter().enumerate().flat_map(|(at, run)| {
            let count = self.count(at);
            (0..count).map(|index| Fragment {
                number: run.first + index as u32,
                time: run.time + index * u64::from(run.duration),
                duration: run.duration,
            })
        })
    }

    /// Fragments of the run at `at`: up to the next entry, or to the time that the bootstrap has reached.
    fn count(&self, at: usize) -> u64 {
        let run = self.runs[at];
        match self.runs.get(at + 1) {
            _ if run.duration == 0 => 0,
            Some(next) => u64::from(next.first.saturating_sub(run.first)),
            None => self.current_media_time.saturating_sub(run.time) / u64::from(run.duration),
        }
    }

    /// Every run is as long in time as it is in numbers, only marked jumps are there, and only the last entry is the end.
    fn check(&self) -> Result<(), Error> {
        let order = |field, before, found| Err(Error::Order { field, before, found });
        for (at, pair) in self.runs.windows(2).enumerate() {
            let [run, next] = [pair[0], pair[1]];
            if run.duration == 0 {
                let jumped = (next.first != run.first, next.time != run.time);
                let marked = (run.indicator & NUMBERS_JUMP != 0, run.indicator & TIMES_JUMP != 0);
                if run.indicator == END || next.duration == 0 || jumped != marked || next.first < run.first {
                    return order("FirstFragment behind a mark", run.first.into(), next.first.into());
                }
                continue;
            }
            let end = self
                .count(at)
                .checked_mul(run.duration.into())
                .and_then(|span| run.time.checked_add(span));
            if next.first <= run.first {
                return order("FirstFragment", run.first.into(), next.first.into());
            }
            if end != Some(next.time) {
                return order("FirstFragmentTimestamp", run.time, next.time);
            }
        }
        let Some((first, last)) = self.runs.first().zip(self.runs.last()) else {
            return Ok(());
        };
        if first.duration == 0 || first.first == 0 {
            return order("FirstFragment", 0, first.first.into());
        }
        let next = u64::from(last.first) + self.count(self.runs.len() - 1);
        let end = self.count(self.runs.len() - 1) * u64::from(last.duration) + last.time;
        if end != self.current_media_time {
            return order("CurrentMediaTime", end, self.current_media_time);
        }
        let wanted = if self.is_live { u64::from(u32::MAX) } else { next - 1 };
        if self.is_live == self.is_ended() || u64::from(self.fragments_per_segment) != wanted || next > wanted + 1 {
            return order("FragmentsPerSegment", next, self.fragments_per_segment.into());
        }
        Ok(())
    }
}

/// Reads a whole fragment; `each` is called with every tag.
pub fn fragment(bytes: &[u8], mut each: impl FnMut(TagHeader, &[u8])) -> Result<(), Error> {
    let mut whole = Cursor { bytes, at: 0 };
    let mut mdat = whole.open(*b"mdat")?;
    whole.done()?;
    while mdat.at < mdat.bytes.len() {
        let offset = mdat.at;
        let header: [u8; TAG_HEADER_BYTES] = mdat.array("tag header")?;
        let header = TagHeader::parse(&header);
        let is_ours = matches!(header.tag_type, TagHeader::AUDIO | TagHeader::VIDEO);
        if !is_ours || header.filtered || header.stream_id != 0 || mdat.bytes[offset] & 0xc0 != 0 {
            return Err(illegal("TagType", mdat.bytes[offset], offset));
        }
        let body = mdat.take(header.body_bytes as usize, "tag body")?;
        let at = mdat.at;
        let size: [u8; PREVIOUS_TAG_SIZE_BYTES] = mdat.array("PreviousTagSize")?;
        let size = u32::from_be_bytes(size);
        if size as usize != TAG_HEADER_BYTES + body.len() {
            return Err(illegal("PreviousTagSize", size, at));
        }
        each(header, body);
    }
    Ok(())
}

fn illegal(field: &'static str, value: impl Into<u64>, offset: usize) -> Error {
    Error::Illegal {
        field,
        value: value.into(),
        offset,
    }
}

/// A place in the bytes; those behind the box at work are cut off.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], Error> {
        let offset = self.at;
        let taken = self.bytes[offset..]
            .get(..count)
            .ok_or(Error::Truncated { field, offset })?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Error> {
        Ok(self.take(N, field)?.try_into().expect("take(N) lends N bytes"))
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, Error> {
        Ok(self.array::<1>(field)?[0])
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, Error> {
        self.array(field).map(u32::from_be_bytes)
    }

    fn u64(&mut self, field: &'static str) -> Result<u64, Error> {
        self.array(field).map(u64::from_be_bytes)
    }

    fn expect(&mut self, field: &'static str, wanted: u32) -> Result<(), Error> {
        let offset = self.at;
        let found = self.u32(field)?;
        if found == wanted {
            Ok(())
        } else {
            Err(illegal(field, found, offset))
        }
    }

    fn expect_u8(&mut self, field: &'static str, wanted: u8) -> Result<(), Error> {
        let offset = self.at;
        let found = self.u8(field)?;
        if found == wanted {
            Ok(())
        } else {
            Err(illegal(field, found, offset))
        }
    }

    fn text(&mut self, field: &'static str) -> Result<String, Error> {
        let offset = self.at;
        let length = self.bytes[offset..].iter().position(|&byte| byte == 0);
        let length = length.ok_or(Error::Truncated { field, offset })?;
        let text = self.take(length, field)?;
        self.at += 1;
        match std::str::from_utf8(text) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(illegal(field, text[error.valid_up_to()], offset + error.valid_up_to())),
        }
    }

    /// A box with its head; this cursor goes on behind it.
    fn open(&mut self, wanted: [u8; 4]) -> Result<Cursor<'a>, Error> {
        let offset = self.at;
        let stated = self.u32("size")?;
        let found: [u8; 4] = self.array("type")?;
        if found != wanted {
            return Err(Error::NotTheBox { wanted, found, offset });
        }
        let end = offset.saturating_add(stated as usize);
        if end < self.at || end > self.bytes.len() {
            let found = (self.bytes.len() - offset) as u64;
            let stated = stated.into();
            return Err(Error::BoxBytes { stated, found, offset });
        }
        let inside = Cursor {
            bytes: &self.bytes[..end],
            at: self.at,
        };
        self.at = end;
        Ok(inside)
    }

    /// A box with version and flags, which are 0.
    fn enter(&mut self, wanted: [u8; 4]) -> Result<Cursor<'a>, Error> {
        let mut inside = self.open(wanted)?;
        inside.expect("version and flags", 0)?;
        Ok(inside)
    }

    fn done(&self) -> Result<(), Error> {
        if self.at == self.bytes.len() {
            return Ok(());
        }
        let (stated, found, offset) = (self.bytes.len() as u64, self.at as u64, self.at);
        Err(Error::BoxBytes { stated, found, offset })
    }
}
