//! The players that people watch RTSP with, each started on a URL for so many pictures of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::flv::{AUDIO, Tag, VIDEO};
use super::process::{From, Process};

/// ffmpeg decoding for some seconds of the stream; each decoded picture or sound is a line.
pub fn ffmpeg(url: &str, transport: &str, seconds: u32) -> Process {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostats", "-v", "error", "-rtsp_transport", transport]);
    command.args(["-timeout", "15000000", "-i", url, "-map", "0:v?", "-map", "0:a?"]);
    command.args(["-t", &seconds.to_string(), "-f", "framecrc", "-"]);
    Process::start(&format!("ffmpeg ({url}, {transport})"), &mut command)
}

/// mpv without a screen, until it has shown so many pictures.
pub fn mpv(url: &str, transport: &str, pictures: u32) -> Process {
    let mut command = Command::new("mpv");
    command.args(["--no-config", "--vo=null", "--ao=null", "--msg-level=all=warn"]);
    command.args(["--term-status-msg=", "--network-timeout=15"]);
    command.arg(format!("--rtsp-transport={transport}"));
    command.arg(format!("--frames={pictures}")).arg(url);
    Process::start(&format!("mpv ({url}, {transport})"), &mut command)
}

/// Waits for the end of an [`mpv`], which complains of nothing.
pub fn mpv_played(player: &Process, within: Duration) {
    player.succeed(within);
    // The first picture has no time of its own (see `compare`): ffmpeg, by which mpv reads, gives it the next one's.
    let said = player.lines();
    let complaints: Vec<_> = said
        .iter()
        .filter(|(_, line)| !line.starts_with("Invalid video timestamp"))
        .collect();
    assert!(complaints.is_empty() && said.len() <= 1, "{}: {said:?}", player.name);
}

/// The player on live555 (tests/live555): ends when it has so many units of every medium, or the stream has ended.
pub fn live555(url: &str, transport: &str, units: u32) -> Process {
    let binary = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/live555/play");
    assert!(binary.exists(), "run tests/run, or tests/run --only install, first");
    let mut command = Command::new(binary);
    command.args([url, transport, &units.to_string()]);
    Process::start(&format!("live555 ({url}, {transport})"), &mut command)
}

/// What a [`live555`] has received.
pub struct Received {
    /// By medium: bytes and hash of each unit.
    pub media: Vec<Vec<(usize, u64)>>,
    /// Of all units, how many have a time by a sender's report.
    pub reported: usize,
    pub goodbyes: usize,
}

/// Waits for the end of a [`live555`], which complains of nothing.
pub fn live555_received(player: &Process, within: Duration) -> Received {
    player.succeed(within);
    let mut received = Received {
        media: Vec::new(),
        reported: 0,
        goodbyes: 0,
    };
    for (from, line) in player.lines() {
        assert_eq!(from, From::Stdout, "{}: {line}", player.name);
        let mut words = line.split(' ');
        let first = words.next().unwrap_or_default();
        if first == "goodbye" {
            received.goodbyes += 1;
            continue;
        }
        let medium: usize = first.parse().expect("a medium's number");
        let bytes = words.next().and_then(|word| word.parse().ok()).expect("bytes");
        let hash = words.next().and_then(|word| u64::from_str_radix(word, 16).ok());
        assert!(!line.contains("cut"), "{line}");
        received.reported += usize::from(line.contains("reported"));
        while received.media.len() <= medium {
            received.media.push(Vec::new());
        }
        received.media[medium].push((bytes, hash.expect("a hash")));
    }
    received
}

/// The units of a clip's H.264 pictures and AAC sounds, as [`live555`] tells them: NAL units, and frames.
pub fn units_of(tags: &[Tag]) -> [Vec<(usize, u64)>; 2] {
    let unit = |bytes: &[u8]| (bytes.len(), fnv(bytes));
    let pictures = tags.iter().filter(|tag| tag.is_frame(VIDEO));
    let sounds = tags.iter().filter(|tag| tag.is_frame(AUDIO));
    [
        pictures.flat_map(Tag::nals).map(|nal| unit(&nal)).collect(),
        sounds.map(|tag| unit(&tag.body[AAC_HEAD_BYTES..])).collect(),
    ]
}

/// `got` is a run of `sent`, whatever units `sent` does not have left out: parameter sets at keyframes. Its length.
///
/// # Panics
/// When it is not.
pub fn assert_run(what: &str, sent: &[(usize, u64)], got: &[(usize, u64)]) -> usize {
    let known: std::collections::HashSet<_> = sent.iter().collect();
    let got: Vec<_> = got.iter().filter(|unit| known.contains(unit)).copied().collect();
    let first = got.first().unwrap_or_else(|| panic!("{what}: nothing of it came"));
    let from = sent.iter().position(|unit| unit == first).expect("it is known");
    let there = &sent[from..sent.len().min(from + got.len())];
    assert!(there == got, "{what}: {} units are not those from {from} on", got.len());
    got.len()
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// GStreamer writing what it reads to a Matroska file, to the end of the stream. Each track's times begin with zero: by default
/// it gives what comes at once, a GOP at the beginning, times that are closer together, and its muxer drops some of that.
pub fn gstreamer_record(url: &str, protocols: &str, path: &Path) -> Process {
    let queue = "queue max-size-time=0 max-size-buffers=0 max-size-bytes=0";
    let pipeline = format!(
        "matroskamux name=m ! filesink location={} rtspsrc name=d location={url} protocols={protocols} latency=200 \
         buffer-mode=none d. ! rtph264depay ! h264parse ! {queue} ! m. d. ! rtpmp4gdepay ! aacparse ! {queue} ! m.",
        path.display()
    );
    let mut command = Command::new("gst-launch-1.0");
    command.args(pipeline.split_whitespace());
    Process::start(&format!("gst-launch-1.0 ({url}, to a file)"), &mut command)
}

/// Sound format byte and packet type ahead of an AAC frame.
const AAC_HEAD_BYTES: usize = 2;
