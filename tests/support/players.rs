//! The players people use, each started on a URL and asked for proof that it played.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::process::{From, Process, run};

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

/// Decoded frames that a `gstreamer` pipeline reported.
pub fn gstreamer_frames(process: &Process) -> usize {
    let reports = |line: &String| line.contains("last-message = chain");
    process
        .lines()
        .iter()
        .filter(|(from, line)| *from == From::Stdout && reports(line))
        .count()
}

/// VLC without a screen, as an ordinary user, for some seconds; every tenth decoded picture becomes a file in the directory given back.
pub fn vlc(url: &str, seconds: u32) -> (Process, PathBuf) {
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
    command
        .arg("--scene-path")
        .arg(&pictures)
        .args(["--run-time", &seconds.to_string(), "--play-and-exit"]);
    command.args([url, "vlc://quit"]);
    (Process::start("cvlc", &mut command), pictures)
}

/// What a page in Chromium saw of one stream.
#[derive(Debug)]
pub struct PagePlay {
    pub kind: String,
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
