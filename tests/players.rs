//! The players people use, on a stream that goes on: each decodes several seconds without an error.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::flv::{self, AUDIO, Tag};
use support::publish::{Times, push};
use support::rtmp::Publisher;
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
    let sources = players::gstreamer_sources(&server, "live");
    let running = sources.map(|source| players::gstreamer(&source, FRAMES));
    players::assert_gstreamer_plays(&running, FRAMES, WITHIN);
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

/// Twelve seconds of pictures whose size changes with every GOP; sound that goes on.
fn changing_size() -> Vec<Tag> {
    const GOP_MILLIS: u32 = 2_000;
    let read = |clip: clips::Clip| flv::tags(&std::fs::read(clip.file()).expect("made by the call"));
    let mut tags = read(clips::SHORT_GOPS);
    tags.retain(|tag| tag.kind == AUDIO && tag.time < 6 * GOP_MILLIS);
    let sizes = [read(clips::VIDEO_ONLY), read(clips::SMALL)];
    for gop in 0..6 {
        let pictures = sizes[gop as usize % 2].iter().filter(|tag| tag.kind == flv::VIDEO);
        let first = pictures.take_while(|tag| tag.time < GOP_MILLIS);
        tags.extend(first.map(|tag| Tag {
            time: tag.time + gop * GOP_MILLIS,
            ..tag.clone()
        }));
    }
    tags.sort_by_key(|tag| tag.time);
    tags
}

/// Players decode on over changes of size: GStreamer, and mpegts.js in Chromium. Not VLC: its filter that writes pictures, by
/// which its decoding is seen, takes no second size.
#[test]
fn pictures_that_change_their_size() {
    let server = Server::start(&server::config(2));
    let tags = changing_size();
    let length = 12_000;
    let mut publisher = Publisher::start(server.rtmp, "live", 1);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..5 {
                for second in tags.chunk_by(|one, next| one.time / 1_000 >= next.time / 1_000) {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    let shifted = second.iter().map(|tag| Tag {
                        time: tag.time + round * length,
                        ..tag.clone()
                    });
                    publisher.send(&shifted.collect::<Vec<Tag>>());
                }
            }
        });
        let play = || {
            server.wait_live("live", Duration::from_secs(10));
            // MP4 ends at another size.
            let [flv, ts, _, rtmp] = players::gstreamer_sources(&server, "live");
            let running = [flv, ts, rtmp].map(|source| players::gstreamer(&source, FRAMES));
            let plays = [("flv", server.http_url("live.flv")), ("ts", server.http_url("live.ts"))];
            for page in players::chromium(&plays, 5) {
                assert!(page.errors.is_empty(), "{}: {:?}", page.kind, page.errors);
                assert!(page.advanced_seconds >= 5.0, "{page:?}");
            }
            players::assert_gstreamer_plays(&running, FRAMES, WITHIN);
        };
        // The publisher ends whatever the players say.
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(play));
        done.store(true, Ordering::Relaxed);
        if let Err(why) = played {
            std::panic::resume_unwind(why);
        }
    });
    assert!(server.counters()["breaks"] >= 2);
}
