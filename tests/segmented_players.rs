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
use support::players;
use support::process::Process;
use support::publish::{Times, push};
use support::segmented::config;
use support::server::Server;

const WITHIN: Duration = Duration::from_secs(60);
/// Pictures, of 25 a second.
const FRAMES: u32 = 100;

/// ffmpeg writing what it reads of a live stream to a file, times as they came.
fn ffmpeg_record(url: &str, input: &[&str], path: &Path) -> Process {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostats", "-v", "error", "-y"]);
    command.args(input);
    command.args(["-i", url, "-map", "0:v?", "-map", "0:a?", "-c", "copy"]);
    command.args(["-copyinkf", "-copyts"]).arg(path);
    Process::start(&format!("ffmpeg (player of {url})"), &mut command)
}

/// ffmpeg follows playlists from their first segment to the end of the stream, and has what was sent.
#[test]
fn ffmpeg() {
    let clip = clips::B_FRAMES;
    let server = Server::start(&config(json!({})));
    let dir = support::scratch("ffmpeg");
    let publisher = push(&clip.file(), &server.rtmp_url("live/live"), Times::Once);
    let mut client = Client::new(server.http);
    let plays = [("hls/live/index.m3u8", "hls.ts"), ("cmaf/live/index.m3u8", "cmaf.mp4")];
    let running = plays.map(|(path, file)| {
        client.text_when_there(&format!("/{path}"), Duration::from_secs(20));
        let file = dir.join(file);
        (
            ffmpeg_record(&server.http_url(path), &["-live_start_index", "0"], &file),
            file,
        )
    });
    publisher.succeed(WITHIN);
    for (player, file) in &running {
        player.succeed(WITHIN);
        compare::assert_equal(&clip.file(), file, WHOLE);
        assert_eq!(player.said(), "", "{}", player.name);
    }
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// Of DASH ffmpeg begins near the live edge, and never believes that a live stream has ended (`is_live` of its demuxer is
/// set for good).
#[test]
fn ffmpeg_with_dash() {
    let clip = clips::SHORT_GOPS;
    let server = Server::start(&config(json!({})));
    let dir = support::scratch("ffmpeg-dash");
    let _publisher = push(&clip.file(), &server.rtmp_url("live/live"), Times::Once);
    let path = "cmaf/live/index.mpd";
    Client::new(server.http).text_when_there(&format!("/{path}"), Duration::from_secs(20));
    let file = dir.join("dash.mp4");
    let player = ffmpeg_record(&server.http_url(path), &["-t", "4"], &file);
    player.succeed(WITHIN);
    let rules = Rules {
        start: Start::Keyframe,
        end: End::Anywhere,
        ..WHOLE
    };
    compare::assert_equal(&clip.file(), &file, rules);
    assert_eq!(player.said(), "");
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
