//! Publishers: ffmpeg pushing a clip over RTMP at the pace of its clock.

use std::path::Path;
use std::process::Command;

use super::process::Process;

/// How often the clip is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    Once,
    Forever,
}

/// Starts pushing the clip's own frames to the URL.
pub fn push(clip: &Path, url: &str, times: Times) -> Process {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostats", "-v", "warning", "-re"]);
    if times == Times::Forever {
        command.args(["-stream_loop", "-1"]);
    }
    command
        .arg("-i")
        .arg(clip)
        .args(["-c", "copy", "-f", "flv", "-flvflags", "no_duration_filesize"])
        .arg(url);
    Process::start("ffmpeg (publisher)", &mut command)
}
