//! Writes manifests. By hand, in the order of elements that the schema wants, into a text that is used again.

use std::fmt::Write;

use super::limits::{DELAY_SEGMENTS, PLAYBACK_RATES, UPDATE_MILLIS_MIN, UPDATES_PER_SEGMENT};
use super::runs::{Entry, Line, Run, runs};
use super::time;
use super::{CLOCK_URL, Latency, Naming, Options};
use crate::media::{Format, Presentation, Rendition};
use crate::xml::escape;

/// The manifest of a stream, put into `out`, which is cleared. `false`, and nothing written: there is nothing to be shown yet.
pub fn manifest(
    presentation: &Presentation,
    video: &[&Rendition],
    audio: &[&Rendition],
    options: &Options<'_>,
    out: &mut String,
) -> bool {
    out.clear();
    let part_micros = video
        .iter()
        .chain(audio)
        .map(|rendition| rendition.part_target_micros)
        .max();
    let part_millis = i64::from(part_micros.unwrap_or(0).div_ceil(1000));
    let options = &Options {
        latency: options.latency.filter(|_| part_millis > 0 && !presentation.is_ended),
        ..*options
    };
    let runs = runs(video, audio, presentation.is_ended, options);
    if runs.is_empty() {
        return false;
    }
    let page = Page {
        presentation,
        options,
        runs: &runs,
        part_millis,
    };
    page.head(out);
    for (run, next) in runs.iter().zip(runs.iter().skip(1).map(Some).chain([None])) {
        page.period(run, next, out);
    }
    if !presentation.is_ended {
        out.push_str("<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" value=\"");
        escape(CLOCK_URL, out);
        out.push_str("\"/>\n");
    }
    out.push_str("</MPD>\n");
    true
}

/// What is written of one text.
struct Page<'a> {
    presentation: &'a Presentation,
    options: &'a Options<'a>,
    runs: &'a [Run<'a>],
    part_millis: i64,
}

impl Page<'_> {
    fn head(&self, out: &mut String) {
        out.push_str(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" profiles=\"urn:mpeg:dash:profile:isoff-live:2011,\
             urn:mpeg:dash:profile:cmaf:2019,",
        );
        out.push_str(match self.options.latency {
            Some(_) => "http://www.dashif.org/guidelines/low-latency-live-v5",
            None => "http://dashif.org/guidelines/dash-if-simple",
        });
        let kind = if self.presentation.is_ended {
            "static"
        } else {
            "dynamic"
        };
        let _ = write!(out, "\" type=\"{kind}\" availabilityStartTime=\"");
        time::instant(self.presentation.epoch_wall_micros, out);
        out.push_str("\" publishTime=\"");
        time::instant(self.presentation.now_wall_micros, out);
        out.push('"');
        let target = i64::from(self.presentation.target_seconds) * 1000;
        if self.presentation.is_ended {
            duration("mediaPresentationDuration", self.end(), out);
        } else {
            let window = self.presentation.window_millis as i64;
            duration("minimumUpdatePeriod", self.update_period(), out);
            duration("timeShiftBufferDepth", window, out);
            // Not further back than there is something.
            let delay = match self.options.latency {
                Some(latency) => i64::from(latency.target_millis),
                None => (DELAY_SEGMENTS * target).min((window - target).max(target)),
            };
            duration("suggestedPresentationDelay", delay, out);
        }
        let buffer = match self.options.latency {
            Some(_) => 2 * self.part_millis,
            None => target,
        };
        duration("minBufferTime", buffer, out);
        // A sound lasts to the end of the packet that the picture's end falls into.
        duration("maxSegmentDuration", target + 1000, out);
        out.push_str(">\n");
        if !self.options.title.is_empty() {
            out.push_str("<ProgramInformation><Title>");
            escape(self.options.title, out);
            out.push_str("</Title></ProgramInformation>\n");
        }
        if let Some(latency) = self.options.latency {
            service(latency, out);
        }
    }

    /// Where the last Period ends, ms.
    fn end(&self) -> i64 {
        let run = self.runs.last().expect("there is a run");
        match self.steady(run) {
            Some(duration) => steady_end(run, duration),
            None => run_end(run),
        }
    }

    fn update_period(&self) -> i64 {
        let run = self.runs.last().expect("there is a run");
        let is_listed = self.options.naming == Naming::Timeline || run.steady().is_none();
        let period = match self.options.latency {
            Some(_) if is_listed => run.nominal() / UPDATES_PER_SEGMENT,
            _ => run.nominal(),
        };
        period.max(UPDATE_MILLIS_MIN)
    }

    fn period(&self, run: &Run<'_>, next: Option<&Run<'_>>, out: &mut String) {
        let _ = write!(out, "<Period id=\"p{}\"", run.index);
        duration("start", run.began.millis, out);
        let steady = self.steady(run);
        if let Some(each) = steady.filter(|_| run.is_finished) {
            let until = next.map_or(i64::MAX, |next| next.began.millis);
            let end = steady_end(run, each).min(until);
            duration("duration", (end - run.began.millis).max(1), out);
        }
        out.push_str(">\n");
        let mut sets: Vec<Vec<&Line<'_>>> = Vec::new();
        for line in &run.video {
            match sets
                .iter_mut()
                .find(|set| set.iter().all(|member| member.is_aligned_with(line)))
            {
                Some(set) => set.push(line),
                None => sets.push(vec![line]),
            }
        }
        for (at, set) in sets.iter().enumerate() {
            set_head("video", set, at, out);
            set.iter().for_each(|line| self.representation(run, line, steady, out));
            out.push_str("</AdaptationSet>\n");
        }
        for (at, line) in run.audio.iter().enumerate() {
            set_head("audio", &[line], at, out);
            self.representation(run, line, steady, out);
            out.push_str("</AdaptationSet>\n");
        }
        out.push_str("</Period>\n");
    }

    /// How long each segment lasts, where none is listed. In what cannot be asked for any more at its front, all are: players
    /// count from the Period's start, and nothing says how far back the window of a static presentation reaches.
    fn steady(&self, run: &Run<'_>) -> Option<i64> {
        let is_numbered = self.options.naming == Naming::Number;
        let is_reachable = !self.presentation.is_ended
            || run.lines().all(|line| {
                line.entries
                    .first()
                    .is_some_and(|first| first.number == run.began.number)
            });
        run.steady().filter(|_| is_numbered && is_reachable)
    }

    fn representation(&self, run: &Run<'_>, line: &Line<'_>, steady: Option<i64>, out: &mut String) {
        out.push_str("<Representation id=\"");
        escape(&line.rendition.path, out);
        out.push_str("\" codecs=\"");
        escape(&line.codecs, out);
        let _ = write!(out, "\" bandwidth=\"{}\"", bandwidth(line.rendition));
        match line.track.format {
            Format::Video {
                width,
                height,
                frame_rate,
            } => {
                if width > 0 && height > 0 {
                    let _ = write!(out, " width=\"{width}\" height=\"{height}\"");
                }
                let measured = if frame_rate > 0.0 {
                    frame_rate
                } else {
                    line.rendition.frame_rate
                };
                frame_rate_of(measured, out);
                out.push_str(">\n");
            }
            Format::Audio {
                sample_rate, channels, ..
            } => {
                if sample_rate > 0 {
                    let _ = write!(out, " audioSamplingRate=\"{sample_rate}\"");
                }
                out.push_str(">\n");
                if channels > 0 {
                    let _ = writeln!(
                        out,
                        "<AudioChannelConfiguration \
                         schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"{channels}\"/>"
                    );
                }
            }
            Format::Meta => out.push_str(">\n"),
        }
        self.template(run, line, steady, out);
        out.push_str("</Representation>\n");
    }

    fn template(&self, run: &Run<'_>, line: &Line<'_>, steady: Option<i64>, out: &mut String) {
        let _ = write!(
            out,
            "<SegmentTemplate timescale=\"1000\" presentationTimeOffset=\"{}\"",
            run.began.millis
        );
        // Players count on over a hole in a list: there, times tell what is meant.
        let (name, first) = match (self.options.naming, steady) {
            (Naming::Number, Some(_)) => ("chunk_n$Number$", Some(run.began.number)),
            (Naming::Number, None) if line.is_counted() => ("chunk_n$Number$", Some(line.entries[0].number)),
            _ => ("chunk_$Time$", None),
        };
        if let Some(first) = first {
            let _ = write!(out, " startNumber=\"{first}\"");
        }
        if let Some(duration) = steady {
            let _ = write!(out, " duration=\"{duration}\"");
            if run.is_finished {
                let last = line.entries[line.entries.len() - 1];
                let _ = write!(out, " endNumber=\"{}\"", last.number);
            }
        }
        if self.options.latency.is_some() && !run.is_finished {
            out.push_str(" availabilityTimeOffset=\"");
            time::seconds((run.nominal() - self.part_millis).max(0), out);
            out.push_str("\" availabilityTimeComplete=\"false\"");
        }
        let _ = write!(out, " media=\"$RepresentationID$/{name}.m4s?e=");
        escape(&self.presentation.epoch, out);
        out.push_str("\" initialization=\"$RepresentationID$/init.m4s?e=");
        escape(&self.presentation.epoch, out);
        // Always there: what is listed of an older generation must not change when a newer one comes.
        let _ = write!(out, "&amp;g={}\"", line.track.generation);
        if steady.is_some() {
            out.push_str("/>\n");
            return;
        }
        out.push_str(">\n<SegmentTimeline>");
        timeline(&line.entries, out);
        out.push_str("</SegmentTimeline>\n</SegmentTemplate>\n");
    }
}

/// Players count segments by dividing: what a sound lasts longer than the last picture must not make one more.
fn steady_end(run: &Run<'_>, duration: i64) -> i64 {
    let last = run
        .lines()
        .filter_map(|line| line.entries.last())
        .map(|last| last.number)
        .max();
    let count = last.map_or(0, |last| last + 1 - run.began.number) as i64;
    run_end(run).min(run.began.millis + count * duration)
}

fn run_end(run: &Run<'_>) -> i64 {
    let ends = run.lines().filter_map(|line| line.entries.last());
    ends.map(|last| last.time + last.duration)
        .max()
        .unwrap_or(run.began.millis)
}

fn duration(name: &str, millis: i64, out: &mut String) {
    let _ = write!(out, " {name}=\"");
    time::duration(millis, out);
    out.push('"');
}

fn service(latency: Latency, out: &mut String) {
    let _ = writeln!(
        out,
        "<ServiceDescription id=\"0\"><Latency target=\"{}\" min=\"{}\" max=\"{}\"/>\
         <PlaybackRate min=\"{}\" max=\"{}\"/></ServiceDescription>",
        latency.target_millis, latency.min_millis, latency.max_millis, PLAYBACK_RATES.0, PLAYBACK_RATES.1
    );
}

/// The first set of a kind is the one that a player begins with.
fn set_head(kind: &str, set: &[&Line<'_>], at: usize, out: &mut String) {
    let _ = write!(
        out,
        "<AdaptationSet id=\"{}\" contentType=\"{kind}\" mimeType=\"{kind}/mp4\" segmentAlignment=\"true\"",
        set[0].track.id
    );
    if set.iter().all(|line| line.is_independent) {
        out.push_str(" startWithSAP=\"1\"");
    }
    let role = if at == 0 { "main" } else { "alternate" };
    let _ = writeln!(
        out,
        ">\n<Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"{role}\"/>"
    );
}

/// Equal ones that follow each other in one element.
fn timeline(entries: &[Entry], out: &mut String) {
    let mut rest = entries;
    let mut end = None;
    while let [first, ..] = rest {
        let follows =
            |pair: &&[Entry]| pair[1].duration == first.duration && pair[1].time == pair[0].time + pair[0].duration;
        let repeats = rest.windows(2).take_while(follows).count();
        out.push_str("<S");
        if end != Some(first.time) {
            let _ = write!(out, " t=\"{}\"", first.time);
        }
        let _ = write!(out, " d=\"{}\"", first.duration);
        if repeats > 0 {
            let _ = write!(out, " r=\"{repeats}\"");
        }
        out.push_str("/>");
        end = Some(rest[repeats].time + rest[repeats].duration);
        rest = &rest[repeats + 1..];
    }
}

/// Of a segment with its overhead, at most; never 0, which Shaka refuses. Two digits, rounded up: what is measured anew with
/// each segment must not make another Representation of it.
fn bandwidth(rendition: &Rendition) -> u64 {
    let hint = rendition.tracks.iter().map(|track| u64::from(track.bitrate_hint)).sum();
    let peak = rendition.rate.peak.max(rendition.rate.average);
    let bits = if peak > 0 { peak } else { hint };
    let mut unit = 1;
    while bits / unit >= 100 {
        unit *= 10;
    }
    bits.div_ceil(unit).max(1) * unit
}

/// The nearest rate that is in use, within 1 %, or the nearest whole one: what is measured is a little off, and must not
/// change. Nothing for pictures that come less often than each second.
fn frame_rate_of(measured: f64, out: &mut String) {
    const USED: [(u32, u32); 5] = [
        (24_000, 1001),
        (30_000, 1001),
        (48_000, 1001),
        (60_000, 1001),
        (120_000, 1001),
    ];
    if !(1.0..=1000.0).contains(&measured) {
        return;
    }
    let whole = measured.round();
    let nearest = USED.iter().copied().find(|(count, of)| {
        let rate = f64::from(*count) / f64::from(*of);
        (rate - measured).abs() < (whole - measured).abs() && (rate - measured).abs() < measured * 0.01
    });
    let _ = match nearest {
        Some((count, of)) => write!(out, " frameRate=\"{count}/{of}\""),
        None => write!(out, " frameRate=\"{whole}\""),
    };
}
