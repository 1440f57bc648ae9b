//! The runs of segments between discontinuities: each is a Period, with a line for each rendition that has something in it.

use crate::media::{Rendition, Segment, Track, rescale};

use super::Options;
use super::limits::{ALIGNED_MILLIS, SLACK_MILLIS};

/// Where a run of segments began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Began {
    /// Of its first segment.
    pub number: u64,
    /// Its Period's start.
    pub millis: i64,
}

impl Began {
    /// A run that begins with this segment of its first rendition. The sound of a segment may be shown before its picture, which
    /// waits for pictures that are decoded after it: a Period begins with decoding.
    pub fn at(rendition: &Rendition, segment: &Segment) -> Began {
        let decoded = rescale(segment.start, rendition.timescale, 1000);
        Began {
            number: segment.number,
            millis: decoded.min(segment.name_millis).max(0),
        }
    }
}

/// One entry of a timeline, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub number: u64,
    pub time: i64,
    pub duration: i64,
}

/// A rendition in a run: a Representation.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub rendition: &'a Rendition,
    /// As it was in this run.
    pub track: Track,
    pub codecs: String,
    /// Oldest first; never empty.
    pub entries: Vec<Entry>,
    /// The last entry is the segment that is being made.
    pub is_growing: bool,
    /// Each begins with a keyframe.
    pub is_independent: bool,
    /// None of the run is lost.
    has_gap: bool,
    /// Whole segments of this run last as long as this, in ticks, all of them.
    ticks: Option<i64>,
}

/// A Period.
#[derive(Debug)]
pub(super) struct Run<'a> {
    /// Discontinuities before it.
    pub index: u64,
    pub began: Began,
    pub video: Vec<Line<'a>>,
    pub audio: Vec<Line<'a>>,
    /// Another one follows, or nothing.
    pub is_finished: bool,
}

/// Whether a run gets more segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IsFinished {
    Yes,
    No,
}

impl<'a> Run<'a> {
    pub fn lines(&self) -> impl Iterator<Item = &Line<'a>> {
        self.video.iter().chain(&self.audio)
    }

    /// How long its segments last, ms: the longest whole one of its first line.
    pub fn nominal(&self) -> i64 {
        let line = self.lines().next().expect("a run has lines");
        let whole = line.entries.len() - usize::from(line.is_growing);
        let longest = line.entries[..whole].iter().map(|entry| entry.duration).max();
        longest.unwrap_or_else(|| line.entries[0].duration)
    }

    /// How long each segment lasts, ms, when number and time follow from each other: whole milliseconds, no hole, and every
    /// segment of every line, counted from where the run began, within a quarter of where it should be (DASH allows half).
    pub fn steady(&self) -> Option<i64> {
        let line = self.lines().next()?;
        let timescale = i64::from(line.rendition.timescale);
        let ticks = line.ticks.filter(|ticks| ticks * 1000 % timescale == 0)?;
        let duration = ticks * 1000 / timescale;
        let fits = |entry: &Entry| {
            let count = entry.number.checked_sub(self.began.number).map(|count| count as i64);
            count.is_some_and(|count| (self.began.millis + count * duration - entry.time).abs() <= duration / 4)
        };
        let is_steady = self.lines().all(|line| !line.has_gap && line.entries.iter().all(fits));
        (duration > 0 && is_steady).then_some(duration)
    }
}

/// All runs that can be shown, oldest first.
pub(super) fn runs<'a>(
    video: &[&'a Rendition],
    audio: &[&'a Rendition],
    is_ended: bool,
    options: &Options<'_>,
) -> Vec<Run<'a>> {
    let shown = |renditions: &[&'a Rendition]| -> Vec<&'a Rendition> {
        let has_name =
            |rendition: &&Rendition| track_of(rendition).is_some_and(|track| (options.codecs)(track).is_some());
        renditions.iter().copied().filter(has_name).collect()
    };
    let (video, audio) = (shown(video), shown(audio));
    let all = || video.iter().chain(&audio).copied();
    let mut indexes: Vec<u64> = all()
        .flat_map(|rendition| tagged(rendition).map(|(index, _)| index))
        .collect();
    indexes.sort_unstable();
    indexes.dedup();
    let last = indexes.last().copied();
    let mut runs: Vec<Run<'a>> = Vec::with_capacity(indexes.len());
    for index in indexes {
        // Tracks do not join a Period later.
        if all().any(|rendition| is_awaited(rendition, index, options)) {
            continue;
        }
        let is_finished = match is_ended || Some(index) != last {
            true => IsFinished::Yes,
            false => IsFinished::No,
        };
        let lines = |renditions: &[&'a Rendition]| -> Vec<Line<'a>> {
            let lines = renditions.iter();
            lines
                .filter_map(|rendition| Line::new(rendition, index, is_finished, options))
                .collect()
        };
        let (video_lines, audio_lines) = (lines(&video), lines(&audio));
        if video_lines.is_empty() && audio_lines.is_empty() {
            continue;
        }
        let began = all().find_map(|rendition| began(rendition, index, options));
        runs.push(Run {
            index,
            began: began.expect("a run with a line has a segment"),
            video: video_lines,
            audio: audio_lines,
            is_finished: is_finished == IsFinished::Yes,
        });
    }
    runs
}

/// Each segment with the discontinuities before it, the one that is being made behind the others.
fn tagged(rendition: &Rendition) -> impl Iterator<Item = (u64, &Segment)> {
    let mut index = rendition.discontinuities_before;
    rendition.segments.iter().chain(&rendition.growing).map(move |segment| {
        index += u64::from(segment.discontinuity);
        (index, segment)
    })
}

fn track_of(rendition: &Rendition) -> Option<&Track> {
    rendition.tracks.first()
}

/// Its first segment of this run that can be fetched is being made.
fn is_awaited(rendition: &Rendition, index: u64, options: &Options<'_>) -> bool {
    let newest = tagged(rendition).last().filter(|_| rendition.growing.is_some());
    let is_in_run = newest.is_some_and(|(of, _)| of == index);
    is_in_run && Line::new(rendition, index, IsFinished::No, options).is_none()
}

fn began(rendition: &Rendition, index: u64, options: &Options<'_>) -> Option<Began> {
    let (at, (_, first)) = tagged(rendition).enumerate().find(|(_, (of, _))| *of == index)?;
    let is_cut_off = at == 0 && !first.discontinuity;
    let kept = options.began.filter(|_| is_cut_off);
    Some(kept.unwrap_or_else(|| Began::at(rendition, first)))
}

impl<'a> Line<'a> {
    fn new(rendition: &'a Rendition, index: u64, is_finished: IsFinished, options: &Options<'_>) -> Option<Line<'a>> {
        let of_run: Vec<&Segment> = tagged(rendition)
            .filter(|(of, _)| *of == index)
            .map(|(_, segment)| segment)
            .collect();
        let growing = rendition.growing.as_ref().map(|growing| growing.number);
        let is_whole = |segment: &Segment| Some(segment.number) != growing;
        let mut entries = Vec::with_capacity(of_run.len());
        for (at, segment) in of_run.iter().enumerate().filter(|(_, segment)| is_whole(segment)) {
            let entry = entry(rendition, segment, of_run.get(at + 1).copied());
            // `$Time$` is not negative, nor is a duration zero.
            if !segment.gap && entry.time >= 0 && entry.duration > 0 {
                entries.push(entry);
            }
        }
        let mut is_growing = false;
        if options.latency.is_some()
            && let Some(segment) = of_run.last().filter(|segment| !is_whole(segment))
        {
            is_growing = grow(segment, &mut entries);
        }
        let first = of_run.iter().find(|segment| !segment.gap)?;
        let track = track_of(rendition)?;
        let track = match first.generation == track.generation {
            true => track.clone(),
            false => (options.earlier)(track, first.generation).unwrap_or_else(|| Track {
                generation: first.generation,
                ..track.clone()
            }),
        };
        let whole = || of_run.iter().filter(|segment| is_whole(segment));
        let codecs = (options.codecs)(&track)?;
        let line = Line {
            rendition,
            track,
            codecs,
            is_growing,
            is_independent: whole().all(|segment| segment.independent || segment.gap),
            has_gap: whole().any(|segment| segment.gap),
            ticks: equal(whole().map(|segment| segment.duration), is_finished),
            entries,
        };
        (!line.entries.is_empty()).then_some(line)
    }

    /// Each has the number after the one before.
    pub fn is_counted(&self) -> bool {
        self.entries.windows(2).all(|pair| pair[0].number + 1 == pair[1].number)
    }

    /// Their segments begin at the same times, so that a player can go from one to the other at any.
    pub fn is_aligned_with(&self, other: &Line<'_>) -> bool {
        if self.track.codec != other.track.codec {
            return false;
        }
        let mut others = other.entries.iter().peekable();
        self.entries.iter().all(|entry| {
            while others.next_if(|other| other.number < entry.number).is_some() {}
            let same = others.peek().filter(|other| other.number == entry.number);
            same.is_none_or(|same| (same.time - entry.time).abs() <= ALIGNED_MILLIS)
        })
    }
}

/// A whole segment. It reaches to where the next one begins, unless something is missing between them.
fn entry(rendition: &Rendition, segment: &Segment, next: Option<&Segment>) -> Entry {
    let time = segment.name_millis;
    let own = rescale(segment.shown + segment.duration, rendition.timescale, 1000) - time;
    let distance = next.map(|next| next.name_millis - time);
    Entry {
        number: segment.number,
        time,
        duration: distance
            .filter(|distance| (1..=own + SLACK_MILLIS).contains(distance))
            .unwrap_or(own),
    }
}

/// Lists the segment that is being made, if how long it will last can be told: those before it lasted about equally long. It
/// is said to last as long as the longest of them: players that learn of a longer end fetch it again (Shaka, dash.js), and
/// those that learn of a shorter one do not mind.
fn grow(segment: &Segment, entries: &mut Vec<Entry>) -> bool {
    let durations = || entries.iter().map(|entry| entry.duration);
    let (Some(shortest), Some(longest), Some(last)) = (durations().min(), durations().max(), entries.last()) else {
        return false;
    };
    let follows = last.number + 1 == segment.number && last.time + last.duration == segment.name_millis;
    if segment.gap || segment.parts.is_empty() || !follows || longest - shortest > SLACK_MILLIS {
        return false;
    }
    entries.push(Entry {
        number: segment.number,
        time: segment.name_millis,
        duration: longest,
    });
    true
}

/// The last segment of a run that is finished may be shorter than the others.
fn equal(values: impl Iterator<Item = i64>, is_finished: IsFinished) -> Option<i64> {
    let mut values = values.peekable();
    let first = *values.peek()?;
    let mut last = first;
    while let Some(value) = values.next() {
        let may_be_shorter = is_finished == IsFinished::Yes && values.peek().is_none();
        if value != first && !(may_be_shorter && value < first) {
            return None;
        }
        last = value;
    }
    Some(first.max(last))
}
