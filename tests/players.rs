//! The players people use, on a stream that goes on: each decodes several seconds without an error.

mod support;

use std::time::Duration;

use support::publish::{Times, push};
use support::server::{self, Server};
use support::{clips, players};

/// Decoded frames asked of each player: 4 s of 25 a second.
const FRAMES: u32 = 100;
const WITHIN: Duration = Duration::from_secs(40);

/// A server with a looping publisher on `live`; the publisher ends when dropped.
fn on_air() -> (Server, support::process::Process) {
    let server = Server::start(&server::config(2));
    let publisher = push(&clips::B_FRAMES.file(), &server.rtmp_url("live/live"), Times::Forever);
    server.wait_live("live", Duration::from_secs(10));
    (server, publisher)
}

#[test]
fn gstreamer() {
    let (server, _publisher) = on_air();
    let http = |file: &str, demux: &str| {
        format!(
            "souphttpsrc location={} is-live=true ! {demux} name=d",
            server.http_url(file)
        )
    };
    let rtmp = format!("rtmp2src location={} ! flvdemux name=d", server.rtmp_url("app/live"));
    let sources = [
        http("live.flv", "flvdemux"),
        http("live.ts", "tsdemux"),
        http("live.mp4", "qtdemux"),
        rtmp,
    ];
    let running: Vec<_> = sources
        .iter()
        .map(|source| players::gstreamer(source, FRAMES))
        .collect();
    for player in &running {
        player.succeed(WITHIN);
        let frames = players::gstreamer_frames(player);
        assert!(
            frames >= FRAMES as usize,
            "{}: {frames} frames decoded\n{}",
            player.name,
            player.said()
        );
        assert!(!player.said().contains("ERROR"), "{}", player.said());
    }
}

#[test]
fn vlc() {
    let (server, _publisher) = on_air();
    let urls = [
        server.http_url("live.flv"),
        server.http_url("live.ts"),
        server.http_url("live.mp4"),
        server.rtmp_url("app/live"),
    ];
    let running: Vec<_> = urls.iter().map(|url| players::vlc(url)).collect();
    for (player, pictures) in &running {
        players::vlc_pictures(player, pictures, FRAMES as usize / 10, WITHIN);
    }
}

/// A finite stream: rtmpdump has every frame of it and is told that it ended.
#[test]
fn rtmpdump() {
    let clip = clips::NO_B_FRAMES;
    let server = Server::start(&server::config(2));
    let publisher = push(&clip.file(), &server.rtmp_url("live/live"), Times::Once);
    server.wait_live("live", Duration::from_secs(10));
    let file = support::scratch("rtmpdump").join("live.flv");
    let player = players::rtmpdump(&server.rtmp_url("app/live"), &file);
    publisher.succeed(WITHIN);
    player.succeed(WITHIN);
    support::compare::assert_equal(&clip.file(), &file, support::compare::WHOLE);
}

#[test]
fn chromium() {
    let (server, _publisher) = on_air();
    let plays = [
        ("flv", server.http_url("live.flv")),
        ("ts", server.http_url("live.ts")),
        ("mp4", server.http_url("live.mp4")),
    ];
    for page in players::chromium(&plays, 4) {
        assert!(page.errors.is_empty(), "{}: {:?}", page.kind, page.errors);
        assert!(page.advanced_seconds >= 4.0, "{page:?}");
        assert!(page.decoded_frames >= u64::from(FRAMES) / 2, "{page:?}");
    }
}
