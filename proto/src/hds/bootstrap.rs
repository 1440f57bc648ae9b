//! `abst` with its two tables (annex C.2): which fragments there are, and when each begins.
//!
//! ```text
//! abst | version, flags:32 | BootstrapinfoVersion:32 | Profile:2 Live:1 Update:1 0:4 | TimeScale:32 | CurrentMediaTime:64
//!      | SmpteTimeCodeOffset:64 | MovieIdentifier, 0 | ServerEntryCount:8 | QualityEntryCount:8 | DrmData, 0 | MetaData, 0
//!      | SegmentRunTableCount:8 | asrt | FragmentRunTableCount:8 | afrt |
//! asrt | version, flags:32 | QualityEntryCount:8 | count:32 | ( FirstSegment:32 | FragmentsPerSegment:32 ) |
//! afrt | version, flags:32 | TimeScale:32 | QualityEntryCount:8 | count:32
//!      | ( FirstFragment:32 | FirstFragmentTimestamp:64 | FragmentDuration:32 | only if that is 0: DiscontinuityIndicator:8 ) |
//! ```

use crate::media::{Presentation, Rendition, rescale};

/// What an entry of `afrt` with duration 0 says.
pub(super) const END: u8 = 0;
pub(super) const NUMBERS_JUMP: u8 = 1;
pub(super) const TIMES_JUMP: u8 = 2;

pub(super) const LIVE: u8 = 0x20;

/// Ticks a second of all times: those of FLV tags.
pub(super) const TIMESCALE: u32 = 1_000;

/// An entry of `afrt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub first: u32,
    pub time: u64,
    /// Of each fragment, ms; 0 in an entry that is a mark.
    pub duration: u32,
    pub indicator: u8,
}

/// Appends the `abst` box of `rendition`: its complete fragments, without gaps, which are marked.
///
/// A mark (of a jump in numbers or times, or of the end) stands where the run before it ends, with the number and the time
/// that would have come next: so the length of every run can be read.
pub fn bootstrap(presentation: &Presentation, rendition: &Rendition, out: &mut Vec<u8>) {
    let runs = runs(presentation, rendition);
    let (next, end) = edge(rendition);
    put_box(out, *b"abst", |out| {
        let version = next.wrapping_mul(2).wrapping_add(u32::from(presentation.is_ended));
        out.extend_from_slice(&version.to_be_bytes());
        out.push(if presentation.is_ended { 0 } else { LIVE });
        out.extend_from_slice(&TIMESCALE.to_be_bytes());
        out.extend_from_slice(&end.to_be_bytes());
        out.extend_from_slice(&0_u64.to_be_bytes());
        out.extend_from_slice(rendition.path.as_bytes());
        // ends the identifier; no servers, no qualities, no DRM, no metadata; one table of each kind
        out.extend_from_slice(&[0, 0, 0, 0, 0, 1]);
        put_box(out, *b"asrt", |out| {
            // Of a stream that goes on, every fragment to come is in the one segment as well.
            let fragments = if presentation.is_ended { next - 1 } else { u32::MAX };
            out.push(0);
            [1, 1, fragments]
                .iter()
                .for_each(|value| out.extend_from_slice(&value.to_be_bytes()));
        });
        out.push(1);
        put_box(out, *b"afrt", |out| {
            out.extend_from_slice(&TIMESCALE.to_be_bytes());
            out.push(0);
            out.extend_from_slice(&(runs.len() as u32).to_be_bytes());
            for run in &runs {
                out.extend_from_slice(&run.first.to_be_bytes());
                out.extend_from_slice(&run.time.to_be_bytes());
                out.extend_from_slice(&run.duration.to_be_bytes());
                if run.duration == 0 {
                    out.push(run.indicator);
                }
            }
        });
    });
}

/// A fragment that can be fetched, times in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listed {
    number: u32,
    begin: u64,
    end: u64,
}

fn listed(rendition: &Rendition) -> impl Iterator<Item = Listed> {
    let segments = &rendition.segments;
    let millis = |ticks| millis(ticks, rendition.timescale);
    segments.iter().enumerate().filter_map(move |(at, segment)| {
        let number = u32::try_from(segment.number)
            .ok()
            .filter(|&number| number > 0 && number < u32::MAX)?;
        let next = segments.get(at + 1);
        let next = next.filter(|next| next.number == segment.number + 1 && !next.gap && !next.discontinuity);
        let end = next.map_or(segment.start.saturating_add(segment.duration), |next| next.start);
        let begin = millis(segment.start);
        // a duration of 0 is a mark, and one has 32 bits
        let end = millis(end).clamp(begin + 1, begin + u64::from(u32::MAX));
        (!segment.gap).then_some(Listed { number, begin, end })
    })
}

/// Number of the fragment that comes next, and when it begins, ms.
fn edge(rendition: &Rendition) -> (u32, u64) {
    listed(rendition)
        .last()
        .map_or((1, 0), |last| (last.number + 1, last.end))
}

fn runs(presentation: &Presentation, rendition: &Rendition) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut before: Option<Listed> = None;
    let mark = |before: Listed, indicator| Run {
        first: before.number + 1,
        time: before.end,
        duration: 0,
        indicator,
    };
    for fragment in listed(rendition) {
        let mut jumps = 0;
        if let Some(before) = before {
            if fragment.number != before.number + 1 {
                jumps |= NUMBERS_JUMP;
            }
            if fragment.begin != before.end {
                jumps |= TIMES_JUMP;
            }
            if jumps != 0 {
                runs.push(mark(before, jumps));
            }
        }
        let duration = (fragment.end - fragment.begin) as u32;
        if runs.last().is_none_or(|run| run.duration != duration) {
            runs.push(Run {
                first: fragment.number,
                time: fragment.begin,
                duration,
                indicator: 0,
            });
        }
        before = Some(fragment);
    }
    if let Some(before) = before.filter(|_| presentation.is_ended) {
        runs.push(mark(before, END));
    }
    runs
}

/// As the tags have it: rounded to the nearest. There is no time before 0.
pub(super) fn millis(ticks: i64, timescale: u32) -> u64 {
    let halves = rescale(ticks.saturating_mul(2), timescale.max(1), TIMESCALE);
    (halves.saturating_add(1) >> 1).max(0) as u64
}

/// Size, type, and a version and flags of 0.
fn put_box(out: &mut Vec<u8>, name: [u8; 4], body: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&name);
    out.extend_from_slice(&[0; 4]);
    body(out);
    let bytes = (out.len() - begin) as u32;
    out[begin..begin + 4].copy_from_slice(&bytes.to_be_bytes());
}
