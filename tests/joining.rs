//! The players people use, joining streams that have been on air for long: one 24.9 days, past 2^31 ms, and one whose
//! 32 bits of ms have wrapped. Each starts within seconds and decodes.
//!
//! The times are such that a player which takes the stream's time for a gap to be waited out, or for samples to be
//! dropped, stands still for ten minutes and more.

mod support;

use std::time::{Duration, Instant};

use serde_json::json;

use support::flv::{self, AUDIO, VIDEO};
use support::rtmp::Endless;
use support::server::{self, Server};
use support::{clips, players};

/// 2^31 ms and ten minutes.
const OLD: u32 = (1 << 31) + 600_000;
/// A second before the wrap.
const WRAPPING: u32 = 0_u32.wrapping_sub(1_000);
const NAMES: [&str; 2] = ["old", "wrapped"];
const WITHIN: Duration = Duration::from_secs(40);
/// A player with the machine to itself starts in one or two; ours has two cores and other tests.
const START_MAX: Duration = Duration::from_secs(15);
/// Decoded pictures asked of each player: 2 s of 25 a second.
const FRAMES: u32 = 50;

/// A server with both streams, the second one past its wrap.
fn on_air() -> (Server, [Endless; 2]) {
    let settings = json!({"source": "push://127.0.0.1", "grace": 300});
    let server = Server::start(&server::config_with(2, json!({"old": settings, "wrapped": settings})));
    let clip = clips::B_FRAMES;
    let tags = flv::tags(&std::fs::read(clip.file()).expect("made by the call"));
    let publish = |(name, start)| Endless::start(server.rtmp, name, tags.clone(), clip.seconds * 1000, start);
    let publishers = [(NAMES[0], OLD), (NAMES[1], WRAPPING)].map(publish);
    // Of each, 25 pictures and 46 sounds a second.
    server.wait_counters("two seconds of both", WITHIN, |counters| {
        counters["frames_in"] >= 2 * 2 * 72
    });
    (server, publishers)
}

/// The same stream from every output.
fn urls(server: &Server) -> Vec<String> {
    let of = |name: &str| {
        let http = ["flv", "ts", "mp4"].map(|kind| server.http_url(&format!("{name}.{kind}")));
        let rtmp = server.rtmp_url(&format!("app/{name}"));
        http.into_iter().chain([rtmp])
    };
    NAMES.into_iter().flat_map(of).collect()
}

#[test]
fn ffmpeg() {
    let (server, _publishers) = on_air();
    let begun = Instant::now();
    let running: Vec<_> = urls(&server).iter().map(|url| players::ffmpeg_decode(url, 2)).collect();
    for player in &running {
        player.succeed(WITHIN);
        let (pictures, sounds) = players::ffmpeg_frames(player);
        assert!(
            pictures >= FRAMES as usize - 2 && sounds >= 90,
            "{}: {pictures} pictures and {sounds} sounds\n{}",
            player.name,
            player.said()
        );
    }
    assert!(begun.elapsed() < START_MAX, "{:?}", begun.elapsed());
}

/// It writes what it gets: after three seconds of media the tags are there, with times that only grow, the first one's
/// its own.
#[test]
fn rtmpdump() {
    let (server, _publishers) = on_air();
    for name in NAMES {
        let file = support::scratch("rtmpdump").join("live.flv");
        let player = players::rtmpdump(&server.rtmp_url(&format!("app/{name}")), &file);
        let begun = Instant::now();
        let tags = loop {
            let tags = flv::whole_tags(&std::fs::read(&file).unwrap_or_default());
            if tags.iter().filter(|tag| tag.is_frame(VIDEO)).count() > 75 {
                break tags;
            }
            assert!(
                begun.elapsed() < WITHIN,
                "{name}: {} tags\n{}",
                tags.len(),
                player.said()
            );
            let ended = player.try_exit(Duration::from_millis(100));
            assert_eq!(ended, None, "rtmpdump ended\n{}", player.said());
        };
        assert!(begun.elapsed() < START_MAX, "{name}: {:?}", begun.elapsed());
        for kind in [VIDEO, AUDIO] {
            let times: Vec<u32> = tags
                .iter()
                .filter(|tag| tag.is_frame(kind))
                .map(|tag| tag.time)
                .collect();
            let steps = times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]).cast_signed());
            assert!(
                steps.into_iter().all(|step| (1..=100).contains(&step)),
                "{name}: {times:?}"
            );
        }
    }
}

#[test]
fn gstreamer() {
    let (server, _publishers) = on_air();
    for name in NAMES {
        let sources = players::gstreamer_sources(&server, name);
        let begun = Instant::now();
        let running = sources.map(|source| players::gstreamer(&source, FRAMES));
        players::assert_gstreamer_plays(&running, FRAMES, WITHIN);
        assert!(begun.elapsed() < START_MAX, "{:?}", begun.elapsed());
    }
}

#[test]
fn vlc() {
    let (server, _publishers) = on_air();
    for urls in urls(&server).chunks(4) {
        let running: Vec<_> = urls.iter().map(|url| players::vlc(url)).collect();
        for (player, pictures) in &running {
            players::vlc_pictures(player, pictures, FRAMES as usize / 10, START_MAX);
        }
    }
}

#[test]
fn chromium() {
    let (server, _publishers) = on_air();
    for name in NAMES {
        let plays = ["flv", "ts", "mp4"].map(|kind| (kind, server.http_url(&format!("{name}.{kind}"))));
        for page in players::chromium(&plays, 2) {
            println!("{name}.{}: starts after {} ms", page.kind, page.start_millis);
            let plays = page.errors.is_empty()
                && page.start_millis < START_MAX.as_millis() as u64
                && page.advanced_seconds >= 2.0
                && page.decoded_frames >= u64::from(FRAMES) / 2;
            assert!(plays, "{name}: {page:?}\n{}", server.process.said());
        }
    }
}
