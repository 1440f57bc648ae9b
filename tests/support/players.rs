//! The players people use, each started on a URL and asked for proof that it played.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::process::{From, Process, run};
use super::server::Server;

/// A command that runs as `nobody` without groups, where the tests themselves run as root; VLC refuses root.
pub fn as_nobody(program: &Path) -> Command {
    let root = run("id", Command::new("id").arg("-u"), Duration::from_secs(5)).trim() == "0";
    let home = super::scratch("home");
    let mut command = if root {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--no-new-privs",
            "--",
        ]);
        command.arg(program);
        command
    } else {
        Command::new(program)
    };
    command
        .env("HOME", &home)
        .env("XDG_RUNTIME_DIR", &home)
        .current_dir(&home);
    command
}

/// The ffmpeg that knows enhanced RTMP (tests/ffmpeg/requirements.txt).
pub fn newer_ffmpeg() -> PathBuf {
    let binary = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/ffmpeg-newer/ffmpeg");
    assert!(binary.exists(), "run tests/run, or tests/run --only install, first");
    binary
}

/// ffmpeg writing what it reads to an FLV file, times as they came.
pub fn ffmpeg_record(url: &str, path: &Path) -> Process {
    record_with(Path::new("ffmpeg"), url, path)
}

/// The same by the newer one.
pub fn newer_ffmpeg_record(url: &str, path: &Path) -> Process {
    record_with(&newer_ffmpeg(), url, path)
}

fn record_with(program: &Path, url: &str, path: &Path) -> Process {
    let mut command = Command::new(program);
    command.args([
        "-hide_banner",
        "-nostats",
        "-v",
        "error",
        "-y",
        "-rw_timeout",
        "15000000",
    ]);
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
    command
        .args(["-flvflags", "no_duration_filesize", "-f", "flv"])
        .arg(path);
    Process::start(&format!("{} (player of {url})", program.display()), &mut command)
}

/// rtmpdump writing the FLV it received, to the end of the stream. It succeeds only when the server tells it of the end.
pub fn rtmpdump(url: &str, path: &Path) -> Process {
    let mut command = Command::new("rtmpdump");
    command.args(["--live", "--rtmp", url, "--flv"]).arg(path);
    Process::start("rtmpdump", &mut command)
}

/// A GStreamer pipeline that decodes picture and sound until `frames` pictures and half as many again of sound are out.
pub fn gstreamer(source_and_demux: &str, frames: u32) -> Process {
    let sound = frames * 3 / 2;
    // The parsers come first, so that each takes the pad it understands; a demuxer with a pad left open gives up. No
    // sink waits for the other's first buffer and no queue has a bound: a fragment of one track may come before any of
    // the other.
    let queue = "queue max-size-time=0 max-size-buffers=0 max-size-bytes=0";
    let sink = "fakesink async=false sync=false";
    let pipeline = format!(
        "{source_and_demux} d. ! h264parse ! {queue} ! avdec_h264 ! {sink} silent=false num-buffers={frames} \
         d. ! aacparse ! {queue} ! avdec_aac ! {sink} num-buffers={sound}"
    );
    let mut command = Command::new("gst-launch-1.0");
    command.arg("-v").args(pipeline.split_whitespace());
    Process::start(&format!("gst-launch-1.0 ({source_and_demux})"), &mut command)
}

/// Source and demuxer of every output of a stream, for [`gstreamer`]: FLV, TS and MP4 over HTTP, and RTMP.
pub fn gstreamer_sources(server: &Server, name: &str) -> [String; 4] {
    let http = |kind: &str, demux: &str| {
        let location = server.http_url(&format!("{name}.{kind}"));
        format!("souphttpsrc location={location} is-live=true ! {demux} name=d")
    };
    let rtmp = server.rtmp_url(&format!("app/{name}"));
    [
        http("flv", "flvdemux"),
        http("ts", "tsdemux"),
        http("mp4", "qtdemux"),
        format!("rtmp2src location={rtmp} ! flvdemux name=d"),
    ]
}

/// Waits for the end of [`gstreamer`] pipelines: each decodes so many pictures, without an error.
pub fn assert_gstreamer_plays(running: &[Process], frames: u32, within: Duration) {
    for player in running {
        player.succeed(within);
        let (decoded, said) = (gstreamer_frames(player), player.said());
        assert!(
            decoded >= frames as usize,
            "{}: {decoded} frames decoded\n{said}",
            player.name
        );
        assert!(!said.contains("ERROR"), "{said}");
    }
}

/// Decoded frames that a `gstreamer` pipeline reported.
fn gstreamer_frames(process: &Process) -> usize {
    let reports = |line: &String| line.contains("last-message = chain");
    process
        .lines()
        .iter()
        .filter(|(from, line)| *from == From::Stdout && reports(line))
        .count()
}

/// GStreamer that finds out by itself what is at a URL (HLS, DASH, Smooth), and decodes it for as long as it is let.
pub fn gstreamer_uri(url: &str) -> Process {
    let sink = "fakesink async=false sync=false silent=false";
    // The newer Smooth demuxer of GStreamer 1.22 waits for ever before each fragment of a live stream; the older one plays.
    let is_smooth = url.ends_with("Manifest");
    let source = if is_smooth { "uridecodebin" } else { "uridecodebin3" };
    let pipeline = format!(
        "{source} uri={url} name=d d. ! video/x-raw ! {sink} name=picture d. ! audio/x-raw ! {sink} name=sound"
    );
    let mut command = Command::new("gst-launch-1.0");
    if is_smooth {
        command.env("GST_PLUGIN_FEATURE_RANK", "mssdemux2:NONE,mssdemux:MAX");
    }
    command.arg("-v").args(pipeline.split_whitespace());
    Process::start(&format!("gst-launch-1.0 ({url})"), &mut command)
}

/// Waits until a [`gstreamer_uri`] has decoded so many pictures, and half as many again of sound, without an error.
pub fn gstreamer_counts(player: &Process, frames: u32, within: Duration) {
    let reached = |what: &str, count: u32| {
        let seen = std::cell::Cell::new(0);
        let wanted = format!("{what}: last-message = chain");
        player.wait(&format!("{count} of {what}"), within, |from, line| {
            let is_one = from == From::Stdout && line.contains(&wanted);
            seen.set(seen.get() + u32::from(is_one));
            (seen.get() == count).then_some(())
        });
    };
    reached("picture", frames);
    reached("sound", frames * 3 / 2);
    player.signal("TERM");
    player.wait_exit(within);
    assert!(!player.said().contains("ERROR"), "{}", player.said());
}

/// VLC without a screen, as an ordinary user; every tenth decoded picture becomes a file in the directory given back.
/// It plays until it is ended: its `--run-time` counts from a stream time of zero.
pub fn vlc(url: &str) -> (Process, PathBuf) {
    let pictures = super::scratch("vlc");
    let mut command = as_nobody(Path::new("/usr/bin/cvlc"));
    command.args([
        "-I",
        "dummy",
        "--verbose",
        "1",
        "--no-color",
        "--vout",
        "vdummy",
        "--aout",
        "adummy",
    ]);
    command.args([
        "--network-caching",
        "300",
        "--avcodec-hw",
        "none",
        "--no-audio-time-stretch",
    ]);
    command.args([
        "--video-filter",
        "scene",
        "--scene-format",
        "png",
        "--scene-ratio",
        "10",
        "--scene-prefix",
        "p",
    ]);
    command.arg("--scene-path").arg(&pictures).arg("--play-and-exit");
    command.args([url, "vlc://quit"]);
    (Process::start("cvlc", &mut command), pictures)
}

/// Waits until VLC has made `count` pictures, and ends it.
pub fn vlc_pictures(vlc: &Process, pictures: &Path, count: usize, within: Duration) {
    let deadline = Instant::now() + within;
    loop {
        let made = std::fs::read_dir(pictures).expect("scratch is ours").count();
        if made >= count {
            break;
        }
        let ended = vlc.try_exit(Duration::from_millis(100));
        assert_eq!(ended, None, "VLC ended after {made} pictures\n{}", vlc.said());
        assert!(
            Instant::now() < deadline,
            "VLC made {made} pictures of {count} within {within:?}\n{}",
            vlc.said()
        );
    }
    vlc.signal("TERM");
    vlc.wait_exit(within);
    std::fs::remove_dir_all(pictures).expect("scratch is ours");
}

/// ffmpeg decoding a stream for some seconds of it; each decoded picture or sound is a line.
pub fn ffmpeg_decode(url: &str, seconds: u32) -> Process {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostats", "-v", "error", "-rw_timeout", "15000000"]);
    command.args(["-i", url, "-map", "0:v", "-map", "0:a", "-t", &seconds.to_string()]);
    command.args(["-f", "framecrc", "-"]);
    Process::start(&format!("ffmpeg ({url})"), &mut command)
}

/// Decoded pictures and sounds of an `ffmpeg_decode`.
pub fn ffmpeg_frames(process: &Process) -> (usize, usize) {
    let lines = process.lines();
    let of = |track: &str| {
        let is_frame = |(from, line): &&(From, String)| *from == From::Stdout && line.starts_with(track);
        lines.iter().filter(is_frame).count()
    };
    (of("0,"), of("1,"))
}

/// What a page in Chromium saw of one stream.
#[derive(Debug)]
pub struct PagePlay {
    pub kind: String,
    /// From the moment the player was given its URL until its clock ran.
    pub start_millis: u64,
    pub advanced_seconds: f64,
    pub decoded_frames: u64,
    pub errors: Vec<String>,
}

/// Plays URLs in Chromium at once, one page each: `flv` and `ts` by mpegts.js, `mp4` by the video element.
/// Each page plays until its clock has advanced by `seconds`; a screenshot of it is left in the artifacts.
pub fn chromium(plays: &[(&str, String)], seconds: u32) -> Vec<PagePlay> {
    let browser = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    assert!(
        browser.join("node_modules/mpegts.js").exists(),
        "run tests/run, or `npm ci` in tests/browser, first"
    );
    let mut command = Command::new("node");
    command
        .arg(browser.join("play.mjs"))
        .arg(seconds.to_string())
        .arg(super::artifacts());
    command.args(plays.iter().map(|(kind, url)| format!("{kind}={url}")));
    let printed = run("chromium", &mut command, Duration::from_secs(90));
    let line = printed.lines().last().expect("the script prints one line of JSON");
    let pages: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let pages = pages.as_array().expect("a list of pages");
    assert_eq!(pages.len(), plays.len());
    pages
        .iter()
        .map(|page| PagePlay {
            kind: page["kind"].as_str().expect("a page has a kind").to_string(),
            start_millis: page["start"].as_u64().unwrap_or(u64::MAX),
            advanced_seconds: page["advanced"].as_f64().expect("a number of seconds"),
            decoded_frames: page["decoded"].as_u64().expect("a count"),
            errors: page["errors"]
                .as_array()
                .expect("a list")
                .iter()
                .map(Value::to_string)
                .collect(),
        })
        .collect()
}
