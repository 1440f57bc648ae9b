//! Players of live streams that run in a browser, all at once in one headless Chromium (tests/browser/watch.mjs): each plays
//! for some time, seeks back in the window and plays on, and tells what it saw.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::numbered::{Numbered, RATE};
use super::process::{From, Process};

/// A player on a stream. `player`: `hlsjs`, `dashjs`, `shaka`, each with or without `-ll` (low latency), or `mpegts`.
pub struct Watch {
    pub label: &'static str,
    pub player: &'static str,
    pub url: String,
}

/// How long each plays, how far it seeks back then, and how long it plays on.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    pub seconds: u32,
    pub back: u32,
    pub again: u32,
}

/// What a page saw. A picture is its number and the wall time at which it was shown, ms since 1970.
#[derive(Debug)]
pub struct Seen {
    pub label: String,
    /// `done`, or where it got stuck.
    phase: String,
    /// What the player, the page or the element called an error, fatal or not.
    errors: Vec<String>,
    /// Answers of 400 and above, and requests without an answer.
    refused: Vec<String>,
    /// Media times at which it ran dry after its start.
    rebuffers: Vec<f64>,
    start: Option<u64>,
    frames: Vec<(u32, u64)>,
    again: Vec<(u32, u64)>,
    unreadable: u64,
    /// The longest time without a new picture, ms.
    silence: u64,
    /// Media seconds played before the seek.
    advanced: f64,
    /// What the player says can be sought.
    seekable: Option<(f64, f64)>,
    decoded: u64,
    dropped: u64,
}

/// Plays all at once; gives what each saw, in the order of `watches`. Screenshots are left in the artifacts.
pub fn watch(watches: &[Watch], course: Course) -> Vec<Seen> {
    let browser = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    for package in ["hls.js", "dashjs", "shaka-player", "mpegts.js"] {
        assert!(
            browser.join("node_modules").join(package).exists(),
            "run tests/run, or `npm ci` in tests/browser, first"
        );
    }
    let mut command = Command::new("node");
    command.arg(browser.join("watch.mjs")).arg(super::artifacts());
    command.args([course.seconds, course.back, course.again].map(|seconds| seconds.to_string()));
    let plays = watches
        .iter()
        .map(|watch| format!("{}:{}={}", watch.label, watch.player, watch.url));
    command.args(plays);
    let process = Process::start("chromium", &mut command);
    process.succeed(Duration::from_secs(u64::from(course.seconds + course.again) + 60));
    let lines = process.lines();
    let printed = lines.iter().filter(|(from, _)| *from == From::Stdout);
    let mut pages: Vec<Seen> = printed
        .map(|(_, line)| {
            let page: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            Seen::of(&page)
        })
        .collect();
    let place = |seen: &Seen| watches.iter().position(|watch| watch.label == seen.label);
    pages.sort_by_key(place);
    assert_eq!(pages.len(), watches.len(), "{}", process.said());
    pages
}

impl Seen {
    fn of(page: &Value) -> Seen {
        let list = |key: &str| {
            page[key]
                .as_array()
                .unwrap_or_else(|| panic!("a page tells its {key}: {page}"))
        };
        let texts = |key: &str| {
            list(key)
                .iter()
                .map(|each| each.as_str().unwrap_or("?").to_string())
                .collect()
        };
        let count = |key: &str| {
            page[key]
                .as_u64()
                .unwrap_or_else(|| panic!("a page tells its {key}: {page}"))
        };
        let pictures = |key: &str| {
            let pair = |each: &Value| Some((u32::try_from(each[0].as_u64()?).ok()?, each[1].as_u64()?));
            let pairs = list(key).iter().map(|each| pair(each).expect("a number and a time"));
            pairs.collect()
        };
        Seen {
            label: page["label"].as_str().expect("a page has a label").to_string(),
            phase: page["phase"].as_str().expect("a page is somewhere").to_string(),
            errors: texts("errors"),
            refused: texts("refused"),
            rebuffers: list("rebuffers").iter().filter_map(Value::as_f64).collect(),
            start: page["start"].as_u64(),
            frames: pictures("frames"),
            again: pictures("again"),
            unreadable: count("unreadable"),
            silence: count("silence"),
            advanced: page["advanced"].as_f64().expect("a number of seconds"),
            seekable: page["seekable"][0].as_f64().zip(page["seekable"][1].as_f64()),
            decoded: count("decoded"),
            dropped: count("dropped"),
        }
    }

    /// What is wrong with how it played; nothing, if all is well.
    pub fn faults(&self, sent: &Numbered, course: Course) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |is_wrong: bool, what: String| {
            if is_wrong {
                faults.push(format!("{}: {what}", self.label));
            }
        };
        fault(
            self.phase != "done",
            format!("stood in phase {:?} after {:.2} s of media", self.phase, self.advanced),
        );
        fault(!self.errors.is_empty(), format!("errors {:?}", self.errors));
        fault(!self.refused.is_empty(), format!("refused {:?}", self.refused));
        fault(!self.rebuffers.is_empty(), format!("ran dry at {:?} s", self.rebuffers));
        fault(
            self.unreadable > 0,
            format!("{} pictures without a number", self.unreadable),
        );
        for (what, frames, seconds) in [
            ("first", &self.frames, course.seconds),
            ("again", &self.again, course.again),
        ] {
            // A busy machine shows less than every picture; half of them are a player that plays.
            let wanted = (seconds * RATE / 2) as usize;
            fault(
                frames.len() < wanted,
                format!("{what}: showed {} pictures, of {wanted} at least", frames.len()),
            );
            let falls = |two: &&[(u32, u64)]| two[1].0 < two[0].0 && two[1].0 > RATE;
            fault(
                frames.windows(2).any(|two| falls(&two)),
                format!("{what}: pictures are not in order: {frames:?}"),
            );
        }
        let (Some(last), Some(first)) = (self.frames.last(), self.again.first()) else {
            fault(true, "showed nothing".to_string());
            return faults;
        };
        let (before, after) = (sent.behind_millis(last.0, last.1), sent.behind_millis(first.0, first.1));
        let wanted = before + u64::from(course.back) * 1_000 * 3 / 4;
        fault(
            after < wanted,
            format!("a seek by {} s went from {before} to {after} ms behind", course.back),
        );
        faults
    }

    /// Median of how far the pictures of the last seconds before the seek were behind the publisher, ms.
    pub fn median_behind_millis(&self, sent: &Numbered, seconds: u32) -> Option<u64> {
        let until = self.frames.last()?.1;
        let newest = self
            .frames
            .iter()
            .rev()
            .take_while(|(_, wall)| wall + u64::from(seconds) * 1_000 > until);
        let mut behind: Vec<u64> = newest
            .map(|(number, wall)| sent.behind_millis(*number, *wall))
            .collect();
        behind.sort_unstable();
        behind.get(behind.len() / 2).copied()
    }

    /// One line for who reads the test's output.
    pub fn line(&self, sent: &Numbered) -> String {
        let behind = self.median_behind_millis(sent, 10);
        let behind = behind.map_or("?".to_string(), |millis| millis.to_string());
        let start = self.start.map_or("?".to_string(), |millis| millis.to_string());
        let window = self.seekable.map_or(0.0, |(from, to)| to - from);
        format!(
            "{:<14} first picture after {start} ms, {behind} ms behind the publisher (median of 10 s), longest silence {} ms, \
             {} decoded, {} dropped, window {window:.1} s",
            self.label, self.silence, self.decoded, self.dropped
        )
    }
}
