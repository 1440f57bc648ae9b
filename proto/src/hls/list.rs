//! The media playlist: what of a rendition can be fetched (4.4.2 to 4.4.5).

use super::limits::{HOLD_BACK_TARGETS, LIVE_TARGETS, SKIP_TARGETS};
use super::text::{date, floor_micros, put, seconds, span_micros};
use super::{Form, Newest, Packaging, Skip};
use crate::media::{Part, Presentation, Rendition, Segment, rescale};

/// Appends the media playlist of `rendition`. `siblings` are the other renditions of its master playlist: they are reported,
/// and hold back as far (6.2.4: `EXT-X-SERVER-CONTROL` is the same in all).
pub fn media(
    presentation: &Presentation,
    rendition: &Rendition,
    form: &Form,
    siblings: &[&Rendition],
    out: &mut String,
) {
    let list = List::new(presentation, rendition, form);
    list.head(siblings, out);
    let mut generation = None;
    for (at, segment) in rendition.segments.iter().enumerate().skip(list.first + list.skipped) {
        list.tags(segment, &mut generation, out);
        if list.has_parts() && at >= list.parts_from {
            list.parts(segment, out);
        }
        list.segment(segment, out);
    }
    if presentation.is_ended {
        out.push_str("#EXT-X-ENDLIST\n");
    } else if list.has_parts() {
        if let Some(growing) = &rendition.growing {
            if !growing.parts.is_empty() {
                list.tags(growing, &mut generation, out);
                list.parts(growing, out);
            }
            list.hint(growing, out);
        }
        siblings.iter().for_each(|sibling| list.report(sibling, out));
    }
}

struct List<'a> {
    presentation: &'a Presentation,
    rendition: &'a Rendition,
    packaging: Packaging,
    /// [`Newest::Segments`] where there are no parts.
    newest: Newest,
    /// Index of the first segment that is listed.
    first: usize,
    /// Of those listed, how many a delta update leaves out.
    skipped: usize,
    /// Index of the first segment whose parts are listed.
    parts_from: usize,
}

impl<'a> List<'a> {
    fn new(presentation: &'a Presentation, rendition: &'a Rendition, form: &Form) -> Self {
        let newest = match (form.packaging, rendition.part_target_micros) {
            (Packaging::Ts, _) | (_, 0) => Newest::Segments,
            _ => form.newest,
        };
        let mut list = List {
            presentation,
            rendition,
            packaging: form.packaging,
            newest,
            first: 0,
            skipped: 0,
            parts_from: 0,
        };
        list.measure(form);
        list
    }

    /// Where the list, its parts and what is not skipped begin: all distances from its end. The end moves forwards only, so that
    /// none of them ever moves back.
    fn measure(&mut self, form: &Form) {
        let target = u64::from(self.presentation.target_seconds) * 1_000_000;
        let growing = self.rendition.growing.as_ref().filter(|_| self.has_parts());
        let growing: u64 = growing.map_or(0, |growing| {
            growing.parts.iter().map(|part| self.part_micros(part)).sum()
        });
        let segments = &self.rendition.segments;
        (self.first, self.parts_from) = (segments.len(), segments.len());
        // From the end of the last whole segment to the end of the one looked at.
        let mut behind = 0;
        let mut skip_end = 0;
        for (at, segment) in segments.iter().enumerate().rev() {
            let is_over = form.list_max != 0 && segments.len() - at > form.list_max;
            if is_over && behind >= LIVE_TARGETS * target {
                break;
            }
            self.first = at;
            if behind + growing < LIVE_TARGETS * target {
                self.parts_from = at;
            }
            if skip_end == 0 && behind > SKIP_TARGETS * target {
                skip_end = at + 1;
            }
            behind += self.segment_micros(segment);
        }
        // An ended playlist is whole (6.2.5.1).
        if form.skip != Skip::No && self.has_parts() && !self.presentation.is_ended {
            self.skipped = skip_end.saturating_sub(self.first);
        }
    }

    fn has_parts(&self) -> bool {
        self.newest != Newest::Segments
    }

    fn segment_micros(&self, segment: &Segment) -> u64 {
        span_micros(segment.start, segment.duration, self.rendition.timescale)
    }

    fn part_micros(&self, part: &Part) -> u64 {
        floor_micros(part.duration, self.rendition.timescale)
    }

    fn head(&self, siblings: &[&Rendition], out: &mut String) {
        let version = match (self.packaging, self.has_parts()) {
            (Packaging::Ts, _) => 3,
            (Packaging::Cmaf, false) => 6,
            // EXT-X-SKIP needs it, and AVPlayer wants it wherever EXT-X-SERVER-CONTROL is.
            (Packaging::Cmaf, true) => 9,
        };
        let target = u64::from(self.presentation.target_seconds);
        put(
            out,
            format_args!("#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:{target}\n"),
        );
        if self.has_parts() {
            let own = self.rendition.part_target_micros;
            let part_targets = siblings.iter().map(|sibling| sibling.part_target_micros).chain([own]);
            let longest = u64::from(part_targets.max().unwrap_or(own));
            put(
                out,
                format_args!(
                    "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={}.0,HOLD-BACK={}.0,PART-HOLD-BACK=",
                    SKIP_TARGETS * target,
                    HOLD_BACK_TARGETS * target,
                ),
            );
            seconds(out, HOLD_BACK_TARGETS * longest);
            out.push_str("\n#EXT-X-PART-INF:PART-TARGET=");
            seconds(out, u64::from(own));
            out.push('\n');
        }
        let segments = &self.rendition.segments;
        let before = segments.iter().take(self.first);
        let discontinuities = before.filter(|segment| segment.discontinuity).count() as u64;
        let sequence = segments.get(self.first).or(self.rendition.growing.as_ref());
        put(
            out,
            format_args!(
                "#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:{}\n",
                sequence.map_or(0, |segment| segment.number),
                self.rendition.discontinuities_before + discontinuities,
            ),
        );
        if self.presentation.is_independent {
            out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
        }
        if self.skipped > 0 {
            put(out, format_args!("#EXT-X-SKIP:SKIPPED-SEGMENTS={}\n", self.skipped));
        }
    }

    /// What stands before a segment and its parts. `generation` is that of the map in force. A delta update says the map again:
    /// who reads it alone needs it.
    fn tags(&self, segment: &Segment, generation: &mut Option<u32>, out: &mut String) {
        if segment.discontinuity {
            out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if self.packaging == Packaging::Cmaf && *generation != Some(segment.generation) {
            *generation = Some(segment.generation);
            let (epoch, number) = (&self.presentation.epoch, segment.generation);
            put(out, format_args!("#EXT-X-MAP:URI=\"init.m4s?e={epoch}&g={number}\"\n"));
        }
        if let Some(wall) = segment.wall_micros {
            let length = out.len();
            out.push_str("#EXT-X-PROGRAM-DATE-TIME:");
            match date(out, wall) {
                Some(()) => out.push('\n'),
                None => out.truncate(length),
            }
        }
        if segment.gap {
            out.push_str("#EXT-X-GAP\n");
        }
    }

    fn segment(&self, segment: &Segment, out: &mut String) {
        out.push_str("#EXTINF:");
        seconds(out, self.segment_micros(segment));
        out.push_str(",\n");
        self.uri(segment, None, out);
        out.push('\n');
    }

    /// Of a segment, or of a part of it.
    fn uri(&self, segment: &Segment, part: Option<usize>, out: &mut String) {
        let name = segment.name_millis;
        match (self.packaging, part) {
            (Packaging::Ts, _) => {
                let until = name.saturating_add(rescale(segment.duration, self.rendition.timescale.max(1), 1_000));
                put(out, format_args!("{name}_{until}.ts"));
            }
            (Packaging::Cmaf, None) => put(out, format_args!("chunk_{name}.m4s")),
            (Packaging::Cmaf, Some(part)) => put(out, format_args!("chunk_{name}.{part}.m4s")),
        }
        put(out, format_args!("?e={}", self.presentation.epoch));
    }

    fn parts(&self, segment: &Segment, out: &mut String) {
        for (at, part) in segment.parts.iter().enumerate() {
            out.push_str("#EXT-X-PART:DURATION=");
            seconds(out, self.part_micros(part));
            out.push_str(",URI=\"");
            match self.newest {
                Newest::Ranges => {
                    self.uri(segment, None, out);
                    put(out, format_args!("\",BYTERANGE=\"{}@{}\"", part.bytes, part.offset));
                }
                _ => {
                    self.uri(segment, Some(at), out);
                    out.push('"');
                }
            }
            if part.independent {
                out.push_str(",INDEPENDENT=YES");
            }
            if segment.gap {
                out.push_str(",GAP=YES");
            }
            out.push('\n');
        }
    }

    /// The part that comes next.
    fn hint(&self, growing: &Segment, out: &mut String) {
        if growing.gap {
            return;
        }
        out.push_str("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"");
        match self.newest {
            Newest::Ranges => {
                self.uri(growing, None, out);
                let start = growing.parts.last().map_or(0, |part| part.offset + part.bytes);
                put(out, format_args!("\",BYTERANGE-START={start}\n"));
            }
            _ => {
                self.uri(growing, Some(growing.parts.len()), out);
                out.push_str("\"\n");
            }
        }
    }

    fn report(&self, sibling: &Rendition, out: &mut String) {
        let (number, part) = match (&sibling.growing, sibling.segments.back()) {
            (Some(growing), _) if !growing.parts.is_empty() => (growing.number, growing.parts.len()),
            (_, Some(segment)) => (segment.number, segment.parts.len()),
            _ => return,
        };
        let (path, query) = (&sibling.path, self.newest.query());
        put(
            out,
            format_args!("#EXT-X-RENDITION-REPORT:URI=\"../{path}/index.m3u8{query}\",LAST-MSN={number}"),
        );
        if let Some(last) = part.checked_sub(1) {
            put(out, format_args!(",LAST-PART={last}"));
        }
        out.push('\n');
    }
}
