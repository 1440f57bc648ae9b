//! The players of browsers on a live stream, in one Chromium, each for 20 s without an
//! error or a rebuffer, then back in the window and on. How far each is behind the publisher is told by the number that every
//! picture carries.

mod support;

use std::time::Duration;

use serde_json::json;

use support::browser::{Course, Watch, watch};
use support::numbered::{Numbered, RATE};
use support::server::{self, Server};

const COURSE: Course = Course {
    seconds: 20,
    back: 10,
    again: 4,
};
/// Pictures sent before the first player comes: the window they seek in.
const AHEAD_SECONDS: u32 = 12;

/// A server with the numbered clip on `live`.
fn on_air() -> (Server, Numbered) {
    let streams = json!({"live": {"source": "push://127.0.0.1", "DVR": 60_000}});
    let server = Server::start(&server::config_with(2, streams));
    let sent = Numbered::start(server.rtmp, "live");
    sent.wait_pictures(
        (AHEAD_SECONDS * RATE) as usize,
        Duration::from_secs(u64::from(AHEAD_SECONDS) + 10),
    );
    (server, sent)
}

#[test]
fn players_of_browsers() {
    let (server, sent) = on_air();
    let of = |label, player, path: &str| Watch {
        label,
        player,
        url: server.http_url(path),
    };
    let watches = [
        of("mpegts-flv", "mpegts", "live.flv"),
        of("mpegts-ts", "mpegts", "live.ts"),
    ];
    let pages = watch(&watches, COURSE);
    let mut faults = Vec::new();
    for page in &pages {
        println!("{}", page.line(&sent));
        faults.extend(page.faults(&sent, COURSE));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
