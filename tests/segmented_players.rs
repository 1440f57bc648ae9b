//! ffmpeg, GStreamer and VLC on streams that are fetched piece by piece.

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use support::clips;
use support::compare::{self, End, Rules, Start, WHOLE};
use support::fetch::Client;
use support::numbered::{Numbered, RATE};
use support::process::Process;
use support::publish::{Times, push};
use support::segmented::config;
use support::server::Server;
use support::{normal, players};

const WITHIN: Duration = Duration::from_secs(60);
/// Pictures, of 25 a second.
const FRAMES: u32 = 100;

/// ffmpeg writing what it reads of a live stream to a file, times as they came.
fn ffmpeg_record(url: &str, path: &Path) -> Process {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostats", "-v", "error", "-y"]);
    // From the first segment that is listed.
    if url.ends_with(".m3u8") {
        command.args(["-live_start_index", "0"]);
    }
    command.args([
        "-i",
        url,
        "-map",
        "0:v?",
        "-map",
        "0:a?",
        "-c",
        "copy",
        "-copyinkf",
        "-copyts",
    ]);
    command.arg(path);
    Process::start(&format!("ffmpeg (player of {url})"), &mut command)
}

/// ffmpeg follows every manifest to the end of the stream, and has what was sent.
#[test]
fn ffmpeg() {
    let clip = clips::B_FRAMES;
    let server = Server::start(&config(json!({})));
    let dir = support::scratch("ffmpeg");
    let publisher = push(&clip.file(), &server.rtmp_url("live/live"), Times::Once);
    let mut client = Client::new(server.http);
    let plays = [
        ("hls/live/index.m3u8", "hls.ts"),
        ("cmaf/live/index.m3u8", "cmaf.mp4"),
        ("cmaf/live/index.mpd", "dash.mp4"),
    ];
    let running = plays.map(|(path, file)| {
        client.text_when_there(&format!("/{path}"), Duration::from_secs(20));
        let file = dir.join(file);
        (ffmpeg_record(&server.http_url(path), &file), file)
    });
    publisher.succeed(WITHIN);
    for ((player, file), (path, _)) in running.iter().zip(plays) {
        player.succeed(WITHIN);
        let (sent, got) = (normal::read(&clip.file()), normal::read(file));
        // ffmpeg begins to read DASH where it thinks that the live edge is.
        let rules = if path.ends_with(".mpd") {
            Rules {
                start: Start::Keyframe,
                end: End::Anywhere,
                ..WHOLE
            }
        } else {
            WHOLE
        };
        if let Err(difference) = compare::compare(&sent, &got, rules) {
            panic!("{path} is not what was sent: {difference}\n{}", player.said());
        }
        assert_eq!(player.said(), "", "{path}");
    }
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// A server with a live stream that has a window.
fn on_air() -> (Server, Numbered) {
    let server = Server::start(&config(json!({})));
    let sent = Numbered::start(server.rtmp, "live");
    sent.wait_pictures(8 * RATE as usize, Duration::from_secs(20));
    (server, sent)
}

/// GStreamer decodes HLS, DASH and Smooth.
#[test]
fn gstreamer() {
    let (server, _sent) = on_air();
    let paths = [
        "hls/live/index.m3u8",
        "cmaf/live/index.m3u8",
        "cmaf/live/index.mpd",
        "cmaf/live/Manifest",
    ];
    let running = paths.map(|path| players::gstreamer_uri(&server.http_url(path)));
    for player in &running {
        players::gstreamer_counts(player, FRAMES, WITHIN);
    }
}

#[test]
fn vlc() {
    let (server, _sent) = on_air();
    let paths = ["hls/live/index.m3u8", "cmaf/live/index.m3u8", "cmaf/live/index.mpd"];
    let running = paths.map(|path| players::vlc(&server.http_url(path)));
    for (player, pictures) in &running {
        players::vlc_pictures(player, pictures, FRAMES as usize / 10, WITHIN);
    }
}
