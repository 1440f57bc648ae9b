//! The players of browsers on a live stream, in one Chromium, each for 20 s without an
//! error or a rebuffer, then back in the window and on. How far each is behind the publisher is told by the number that every
//! picture carries.

mod support;

use std::time::Duration;

use serde_json::json;

use support::browser::{Course, Seen, Watch, watch};
use support::numbered::{Numbered, RATE};
use support::segmented::config;
use support::server::Server;

const COURSE: Course = Course {
    seconds: 20,
    back: 10,
    again: 4,
};
/// Low-latency HLS with parts of 333 ms, median of 10 s: the bar.
const BEHIND_MAX_MILLIS: u64 = 2_000;
/// Pictures sent before the first player comes: the window they seek in.
const AHEAD_SECONDS: u32 = 12;

/// A server with the numbered clip on `live`.
fn on_air() -> (Server, Numbered) {
    let server = Server::start(&config(json!({})));
    let sent = Numbered::start(server.rtmp, "live");
    let ahead = Duration::from_secs(u64::from(AHEAD_SECONDS) + 10);
    sent.wait_pictures((AHEAD_SECONDS * RATE) as usize, ahead);
    (server, sent)
}

/// Label, player, path. At most six at once: so many decode in time on two cores with everything else.
const BATCHES: [&[(&str, &str, &str)]; 2] = [
    &[
        (LOW_LATENCY, "hlsjs-ll", "cmaf/live/index.m3u8"),
        ("dashjs-ll", "dashjs-ll", "cmaf/live/index.mpd"),
        ("shaka-ll-dash", "shaka-ll", "cmaf/live/index.mpd?naming=number"),
        ("mpegts-flv", "mpegts", "live.flv"),
    ],
    &[
        ("hlsjs-ts", "hlsjs", "hls/live/index.m3u8"),
        ("hlsjs-cmaf", "hlsjs", "cmaf/live/index.m3u8"),
        ("dashjs", "dashjs", "cmaf/live/index.mpd"),
        ("shaka-dash", "shaka", "cmaf/live/index.mpd"),
        ("mpegts-ts", "mpegts", "live.ts"),
    ],
];
const LOW_LATENCY: &str = "hlsjs-ll";

#[test]
fn players_of_browsers() {
    let (server, sent) = on_air();
    let mut faults = Vec::new();
    for batch in BATCHES {
        let watches: Vec<Watch> = batch
            .iter()
            .map(|(label, player, path)| Watch {
                label,
                player,
                url: server.http_url(path),
            })
            .collect();
        // So many at once are more than two cores always decode in time: who fails among them has to do it alone.
        for page in watch(&watches, COURSE) {
            println!("{}", page.line(&sent));
            let first = faults_of(&page, &sent);
            if first.is_empty() {
                continue;
            }
            println!("{}: once more, alone, after:\n{}", page.label, first.join("\n"));
            let again: Vec<Watch> = (watches.iter().filter(|watch| watch.label == page.label))
                .map(|watch| Watch {
                    url: watch.url.clone(),
                    ..*watch
                })
                .collect();
            for page in watch(&again, COURSE) {
                println!("{}", page.line(&sent));
                faults.extend(faults_of(&page, &sent));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn faults_of(page: &Seen, sent: &Numbered) -> Vec<String> {
    let mut faults = page.faults(sent, COURSE);
    if page.label == LOW_LATENCY {
        let behind = page.median_behind_millis(sent, 10);
        if behind.is_none_or(|behind| behind > BEHIND_MAX_MILLIS) {
            faults.push(format!("{LOW_LATENCY}: {behind:?} ms behind the publisher"));
        }
    }
    faults
}
