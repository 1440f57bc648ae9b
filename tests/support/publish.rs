//! Publishers: ffmpeg and GStreamer pushing a clip over RTMP at the pace of its clock.

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
    push_with(Path::new("ffmpeg"), clip, url, times)
}

/// The same by the ffmpeg that knows enhanced RTMP.
pub fn newer_push(clip: &Path, url: &str, times: Times) -> Process {
    push_with(&super::players::newer_ffmpeg(), clip, url, times)
}

fn push_with(program: &Path, clip: &Path, url: &str, times: Times) -> Process {
    let mut command = Command::new(program);
    command.args(["-hide_banner", "-nostats", "-v", "warning", "-re"]);
    if times == Times::Forever {
        command.args(["-stream_loop", "-1"]);
    }
    command
        .arg("-i")
        .arg(clip)
        // Every track of the file, also what is neither picture nor sound.
        .args([
            "-map",
            "0",
            "-c",
            "copy",
            "-f",
            "flv",
            "-flvflags",
            "no_duration_filesize",
        ])
        .arg(url);
    Process::start(&format!("{} (publisher)", program.display()), &mut command)
}

/// GStreamer's `rtmp2sink` pushing the clip's own frames.
pub fn gstreamer_push(clip: &Path, url: &str) -> Process {
    let pipeline = format!(
        "flvmux name=mux streamable=true ! rtmp2sink sync=true location={url} \
         filesrc location={} ! flvdemux name=d \
         d.video ! queue ! h264parse ! mux.video d.audio ! queue ! aacparse ! mux.audio",
        clip.display()
    );
    let mut command = Command::new("gst-launch-1.0");
    command.args(pipeline.split_whitespace());
    Process::start("gst-launch-1.0 (publisher)", &mut command)
}
