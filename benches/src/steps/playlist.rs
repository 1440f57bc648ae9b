//! What does it cost to write a media playlist with parts?
//!
//! Two sizes: about 10 KB, as most streams have it, and a window of an hour.

use std::hint::black_box;

use penstock_proto::hls::{Form, Newest, Packaging, Skip, media};
use penstock_proto::media::{Part, Presentation, Rendition, Segment};

use super::{Body, Step};

pub fn steps() -> Vec<Step> {
    [("10 KB", 86), ("an hour", 1_800)]
        .into_iter()
        .map(|(size, segments)| Step {
            name: "playlist",
            size,
            unit: "playlist",
            units: 1,
            bytes: written(&mut String::new(), segments),
            start: Box::new(move || {
                let mut text = String::new();
                let rendition = rendition(segments);
                Box::new(move || write(&mut text, &rendition)) as Body
            }),
        })
        .collect()
}

fn written(text: &mut String, segments: u64) -> u64 {
    write(text, &rendition(segments));
    text.len() as u64
}

fn write(text: &mut String, rendition: &Rendition) {
    let presentation = Presentation {
        epoch: "ab12cd".to_owned(),
        target_seconds: 2,
        is_independent: true,
        ..Presentation::default()
    };
    let form = Form {
        packaging: Packaging::Cmaf,
        newest: Newest::Parts,
        skip: Skip::No,
        list_max: 0,
    };
    text.clear();
    media(&presentation, black_box(rendition), &form, &[], text);
    assert!(
        text.ends_with("chunk_7200000.2.m4s?e=ab12cd\"\n"),
        "the last line is a hint"
    );
}

/// Segments of 2 s, the last four with six parts, and two parts of one that grows.
fn rendition(segments: u64) -> Rendition {
    let part = |at: u64| Part {
        duration: 30_000,
        independent: at == 0,
        offset: at * 100_000,
        bytes: 100_000,
    };
    let segment = |behind: u64, parts: u64| {
        let start = (3_600 - behind as i64) * 2 * 90_000;
        Segment {
            number: 3_600 - behind,
            name_millis: start / 90,
            start,
            shown: start,
            duration: 180_000,
            independent: true,
            wall_micros: Some(1_769_688_000_000_000 + start * 100 / 9),
            parts: (0..parts).map(part).collect(),
            ..Segment::default()
        }
    };
    let whole = (1..=segments).rev();
    Rendition {
        path: "1".to_owned(),
        timescale: 90_000,
        part_target_micros: 333_333,
        segments: whole
            .map(|behind| segment(behind, if behind <= 4 { 6 } else { 0 }))
            .collect(),
        growing: Some(segment(0, 2)),
        ..Rendition::default()
    }
}
