//! Minutes and days of manifests in seconds: each text goes to the checker, and what it lists is compared with what is there.

use super::super::scene::{Cut, LATENCY, Moment, Scene, audio, video};
use super::super::{Latency, Naming};
use super::read::{Addressing, Representation, read};
use super::{Report, Watcher};
use crate::media::Rendition;

const FORMS: [(Naming, Option<Latency>); 4] = [
    (Naming::Timeline, None),
    (Naming::Number, None),
    (Naming::Timeline, Some(LATENCY)),
    (Naming::Number, Some(LATENCY)),
];

/// What a run of texts showed.
#[derive(Debug, Default)]
struct Seen {
    texts: usize,
    periods_max: usize,
    holes_max: usize,
    /// Texts in which segments are not listed.
    counted: usize,
    is_ended: bool,
}

fn play(scene: &Scene, step: i64, naming: Naming, latency: Option<Latency>) -> Seen {
    let mut watcher = Watcher::new();
    let mut seen = Seen::default();
    let mut text = String::new();
    let mut now = scene.cuts[0].start as i64 + 40;
    while !seen.is_ended {
        // Texts are made when something has come, at odd times.
        now = (now + step).min(scene.end() + 200);
        let moment = scene.at(now);
        if !moment.write(naming, latency, &mut text) {
            assert_eq!(seen.texts, 0, "what was shown is shown on");
            continue;
        }
        let report = watcher.push(&text, moment.presentation.now_wall_micros);
        report.assert_none(&text);
        compare(&moment, latency, &text);
        seen.texts += 1;
        seen.periods_max = seen.periods_max.max(report.periods);
        seen.holes_max = seen.holes_max.max(report.holes);
        seen.counted += usize::from(report.segments == 0);
        seen.is_ended = !report.is_dynamic;
    }
    seen
}

/// Every URL of a text is one of a segment that is there, of the right run; and everything whole is reached.
fn compare(moment: &Moment, latency: Option<Latency>, text: &str) {
    let mpd = read(text, &mut Report::default()).expect("it was read before");
    for rendition in &moment.renditions {
        let mut reached = 0;
        for period in &mpd.periods {
            let lines = period.sets.iter().flat_map(|set| &set.representations);
            for line in lines.filter(|line| line.id == rendition.path) {
                reached += reach(rendition, line, latency, text);
            }
        }
        // Of the newest run, nothing is shown until there is something of each track.
        let there = rendition.segments.iter().filter(|segment| !segment.gap).count();
        let awaited = rendition
            .segments
            .iter()
            .rev()
            .take_while(|segment| !segment.discontinuity)
            .count();
        assert!(
            reached >= there || (awaited == 0 && reached + 1 >= there),
            "{reached} of {there} segments of {} are listed: {text}",
            rendition.path
        );
    }
}

fn reach(rendition: &Rendition, line: &Representation, latency: Option<Latency>, text: &str) -> usize {
    let growing = rendition.growing.as_ref().filter(|_| latency.is_some());
    let all = || rendition.segments.iter().chain(growing);
    let by_number = line.media.contains("$Number$");
    assert_eq!(line.media.contains("/chunk_n$"), by_number, "{text}");
    match &line.addressing {
        Addressing::Timeline(listed) => {
            for entry in listed {
                let found = all().find(|segment| match by_number {
                    true => segment.number == entry.number,
                    false => segment.name_millis == entry.time / 1000,
                });
                let found = found.unwrap_or_else(|| panic!("{entry:?} is not there: {text}"));
                assert!(!found.gap, "{entry:?} is lost: {text}");
                assert_eq!(found.name_millis * 1000, entry.time, "{text}");
                let generation = format!("g={}", found.generation);
                assert!(line.init.ends_with(&generation), "{} for {generation}", line.init);
            }
            listed.len()
        }
        Addressing::Duration { first, last, each } => {
            let of_run = |number: u64| number >= *first && last.is_none_or(|last| number <= last);
            let mut reached = 0;
            for segment in all().filter(|segment| of_run(segment.number)) {
                // Where a player looks for it.
                let time = line.offset + (segment.number - first) as i64 * each;
                let off = (segment.name_millis * 1000 - time).abs();
                assert!(off <= each / 2, "segment {} is {off} µs off: {text}", segment.number);
                reached += 1;
            }
            reached
        }
        Addressing::None => panic!("no addressing: {text}"),
    }
}

fn every_form(scene: &Scene, step: i64) -> Vec<Seen> {
    let seen = FORMS
        .iter()
        .map(|(naming, latency)| play(scene, step, *naming, *latency));
    seen.collect()
}

#[test]
fn five_minutes_pass_the_checker_in_every_form() {
    for seen in every_form(&Scene::new(0, 300), 333) {
        assert!(seen.texts > 850 && seen.is_ended, "{seen:?}");
        assert_eq!((seen.periods_max, seen.holes_max), (1, 0), "{seen:?}");
    }
}

/// Steady segments are not listed, and the names that players count are right for as long as it goes.
#[test]
fn steady_segments_are_counted_not_listed() {
    for (naming, latency) in [(Naming::Number, None), (Naming::Number, Some(LATENCY))] {
        let seen = play(&Scene::new(3_723_456, 300), 700, naming, latency);
        assert!(seen.counted + 2 >= seen.texts, "{seen:?}");
        let seen = play(&ntsc(120), 700, naming, latency);
        assert_eq!(seen.counted, 0, "{seen:?}");
    }
}

/// 29.97 pictures a second in GOPs of 50: 1,668.33 ms.
fn ntsc(seconds: i64) -> Scene {
    let mut scene = Scene::new(0, 2);
    let each = 50.0 * 1001.0 / 30.0;
    let cuts = (0..=(seconds * 1000) / each as i64).map(|at| Cut {
        start: at as f64 * each,
        ..Cut::default()
    });
    scene.cuts = cuts.collect();
    scene.tracks = vec![video(1), audio(2), audio(3)];
    scene.tracks[2].timescale = 44_100;
    scene.frames = vec![3_003, 1_024, 1_024];
    scene
}

#[test]
fn odd_rates_and_several_sounds_pass_the_checker() {
    for seen in every_form(&ntsc(300), 333) {
        assert_eq!((seen.periods_max, seen.holes_max), (1, 0), "{seen:?}");
    }
}

/// 12 h, 24 h, 32 bits of milliseconds and of 90 kHz, 33 bits of 90 kHz.
#[test]
fn no_boundary_of_time_is_seen() {
    let hour = 3_600_000;
    for boundary in [
        12 * hour,
        24 * hour,
        1 << 32,
        (1 << 32) / 90,
        (1i64 << 33) / 90,
        1 << 31,
    ] {
        let scene = Scene::new(boundary - 61_000, 120);
        for seen in every_form(&scene, 500) {
            assert_eq!((seen.periods_max, seen.holes_max), (1, 0), "{boundary}: {seen:?}");
        }
    }
}

/// A day and a little, text by text, as long as segments may be.
#[test]
fn a_whole_day_passes_the_checker() {
    let mut scene = Scene::new(0, 2);
    scene.presentation.target_seconds = 10;
    scene.presentation.window_millis = 60_000;
    scene.cuts = (0..=8_700)
        .map(|at| Cut {
            start: f64::from(at) * 10_000.0,
            ..Cut::default()
        })
        .collect();
    for (naming, latency) in [(Naming::Timeline, None), (Naming::Number, Some(LATENCY))] {
        let seen = play(&scene, 10_000, naming, latency);
        assert!(seen.texts > 8_600, "{seen:?}");
    }
}

/// Publishers come and go: one with other codec data, one after a pause, two within a window.
fn broken() -> Scene {
    let mut scene = Scene::new(7_804_600, 120);
    for (at, pause, generation) in [(12, 40.0, 1), (15, 3_000.0, 1), (16, 0.0, 2), (40, 700.0, 2)] {
        for cut in &mut scene.cuts[at..] {
            cut.start += pause;
            cut.generation = generation;
        }
        scene.cuts[at].discontinuity = true;
        scene.cuts[at].pause = pause;
    }
    scene
}

#[test]
fn discontinuities_are_periods_and_nothing_moves() {
    for seen in every_form(&broken(), 333) {
        assert_eq!(seen.periods_max, 4, "{seen:?}");
    }
    // With nothing remembered of what has left the window, a Period would move.
    let mut watcher = Watcher::new();
    let mut text = String::new();
    let mut count = 0;
    let scene = broken();
    for now in (0..100).map(|at| 7_804_600 + at * 1_000) {
        let mut moment = scene.at(now);
        moment.began = None;
        if moment.write(Naming::Timeline, None, &mut text) {
            count += watcher.push(&text, moment.presentation.now_wall_micros).problem_count;
        }
    }
    assert!(count > 0, "the checker sees Periods move");
}

#[test]
fn what_is_lost_is_a_hole_and_not_asked_for() {
    let mut scene = Scene::new(0, 120);
    for at in [20, 21, 25] {
        scene.cuts[at].silent = true;
    }
    for seen in every_form(&scene, 333) {
        assert_eq!(seen.holes_max, 2, "{seen:?}");
    }
}

#[test]
fn uneven_segments_pass_the_checker() {
    let mut scene = Scene::new(0, 300);
    let mut start = 0.0;
    for (at, cut) in scene.cuts.iter_mut().enumerate() {
        cut.start = start;
        start += [2_000.0, 1_200.0, 1_960.0, 840.0, 1_520.0][at * at % 5];
    }
    for seen in every_form(&scene, 333) {
        assert_eq!((seen.periods_max, seen.holes_max), (1, 0), "{seen:?}");
    }
}

#[test]
fn sound_alone_and_several_pictures_pass_the_checker() {
    let mut scene = Scene::new(1_000, 60);
    scene.tracks = vec![audio(4)];
    scene.frames = vec![1_024];
    every_form(&scene, 333);
    scene.tracks = vec![video(1), video(2), video(3), audio(4)];
    scene.tracks[2].timescale = 1_000;
    scene.frames = vec![3_600, 3_600, 40, 1_024];
    every_form(&scene, 333);
}

/// Looked at each 5 ms: of a Period that begins, a picture is whole before its sound is.
#[test]
fn tracks_do_not_join_a_period_later() {
    let mut scene = broken();
    scene.cuts.truncate(20);
    for seen in every_form(&scene, 5) {
        assert!(seen.texts > 5_000 && seen.periods_max == 4, "{seen:?}");
    }
}
