//! What was pushed is what is watched: each clip goes in over RTMP and comes out of every output, frame for frame.
//!
//! Viewers join in the first GOP and stay to the clean end of the stream, so every frame sent must be there: in FLV,
//! TS, MP4 and RTMP at once. One test joins late; one watches with more shards than cores.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use support::clips::{self, Clip};
use support::compare::{self, JOINED, Rules, WHOLE};
use support::players;
use support::process::Process;
use support::publish::{Times, push};
use support::server::{self, Server};
use support::strict;
use support::wire::Recorder;

/// Publisher, grace and every player are done this long after the clip's own length.
const SLACK: Duration = Duration::from_secs(20);

/// Four viewers of one stream, one an output.
struct Viewers {
    http: Vec<Recorder>,
    rtmp: Process,
    rtmp_file: PathBuf,
}

impl Viewers {
    fn join(server: &Server, name: &str, dir: &Path) -> Viewers {
        let record = |kind: &str| {
            let file = dir.join(format!("{name}.{kind}"));
            Recorder::start(server.http, &format!("/{name}.{kind}"), &file)
        };
        let http: Vec<Recorder> = ["flv", "ts", "mp4"].into_iter().map(record).collect();
        let rtmp_file = dir.join(format!("{name}-rtmp.flv"));
        let rtmp = players::ffmpeg_record(&server.rtmp_url(&format!("anyapp/{name}")), &rtmp_file);
        for recorder in &http {
            recorder.answer().assert_not_chunked();
        }
        Viewers { http, rtmp, rtmp_file }
    }

    /// Waits for the clean end of each; gives the recordings.
    fn finish(self, within: Duration) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for recorder in self.http {
            let file = recorder.path.clone();
            assert!(recorder.finish() > 0, "{}: no byte came", file.display());
            files.push(file);
        }
        self.rtmp.succeed(within);
        files.push(self.rtmp_file);
        files
    }
}

fn check(clip: &Path, files: &[PathBuf], rules: Rules) {
    for file in files {
        strict::assert_strict(file);
        compare::assert_equal(clip, file, rules);
        if file.extension().is_some_and(|extension| extension != "ts") {
            compare::assert_md5_equal(clip, file);
        }
        compare::assert_decodes(file);
    }
}

/// Pushes a clip and watches it from the start on a server with this many shards.
fn play_whole(clip: Clip, shards: u32) {
    let file = clip.file();
    let dir = support::scratch(clip.name);
    let server = Server::start(&server::config(shards));
    let publisher = push(&file, &server.rtmp_url("live/live"), Times::Once);
    server.wait_live("live", Duration::from_secs(10));
    let viewers = Viewers::join(&server, "live", &dir);
    let length = Duration::from_secs(clip.seconds.into()) + SLACK;
    publisher.succeed(length);
    let files = viewers.finish(SLACK);
    // Every sound frame is a place to join: without pictures, viewers begin at the newest one.
    check(&file, &files, if clip.has_video() { WHOLE } else { JOINED });
    let (status, _) = server.terminate(Duration::from_secs(5));
    assert!(status.success(), "{status}");
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

#[test]
fn b_frames() {
    play_whole(clips::B_FRAMES, 2);
}

#[test]
fn no_b_frames() {
    play_whole(clips::NO_B_FRAMES, 2);
}

#[test]
fn audio_only() {
    play_whole(clips::AUDIO_ONLY, 2);
}

#[test]
fn video_only() {
    play_whole(clips::VIDEO_ONLY, 2);
}

#[test]
fn ten_second_gop() {
    play_whole(clips::LONG_GOP, 2);
}

#[test]
fn sixty_frames_a_second() {
    play_whole(clips::FAST, 2);
}

#[test]
fn forty_megabit() {
    play_whole(clips::HEAVY, 2);
}

#[test]
fn variable_frame_rate() {
    play_whole(clips::VARIABLE, 2);
}

#[test]
fn more_shards_than_cores() {
    play_whole(clips::B_FRAMES, 8);
}

/// Viewers who come after the second keyframe begin at a keyframe and miss nothing from there.
#[test]
fn late_viewers() {
    let clip = clips::NO_B_FRAMES;
    let file = clip.file();
    let dir = support::scratch("late");
    let server = Server::start(&server::config(2));
    let publisher = push(&file, &server.rtmp_url("live/live"), Times::Once);
    server.wait_live("live", Duration::from_secs(10));
    // An early viewer's bytes are the clock: when a second GOP has begun in them, the late ones come.
    let early = dir.join("early.flv");
    let mut wire = support::wire::Wire::connect(server.http);
    wire.request("GET", "/live.flv", &[]);
    assert_eq!(wire.answer("GET").status, 200);
    let mut keyframes = 0;
    let mut wanted = 1;
    while keyframes < 2 {
        let bytes = wire.read_at_least(wanted);
        assert!(bytes.len() >= wanted, "the stream ended before its second GOP");
        wanted = bytes.len() + 1;
        std::fs::write(&early, bytes).expect("scratch is ours");
        let tags = support::flv::whole_tags(bytes);
        keyframes = tags
            .iter()
            .filter(|tag| tag.is_frame(support::flv::VIDEO) && tag.body[0] >> 4 == 1)
            .count();
    }
    drop(wire);
    let viewers = Viewers::join(&server, "live", &dir);
    publisher.succeed(Duration::from_secs(clip.seconds.into()) + SLACK);
    let files = viewers.finish(SLACK);
    check(&file, &files, JOINED);
    let sent = support::normal::read(&file).tracks[0].frames.len();
    for got in &files {
        let frames = support::normal::read(got).tracks[0].frames.len();
        assert!(
            frames < sent,
            "{} has all {sent} frames, though it came late",
            got.display()
        );
    }
}

/// Two streams at once on one server do not mix, and each ends for itself.
#[test]
fn two_streams() {
    let (one, two) = (clips::B_FRAMES, clips::VARIABLE);
    let dir = support::scratch("two");
    let streams = json!({
        "one": {"source": "push://127.0.0.1", "grace": 300},
        "two": {"source": "push://127.0.0.1", "grace": 300}
    });
    let server = Server::start(&server::config_with(2, streams));
    let publishers = [
        push(&one.file(), &server.rtmp_url("live/one"), Times::Once),
        push(&two.file(), &server.rtmp_url("live/two"), Times::Once),
    ];
    let viewers = ["one", "two"].map(|name| {
        server.wait_live(name, Duration::from_secs(10));
        let file = dir.join(format!("{name}.ts"));
        Recorder::start(server.http, &format!("/{name}.ts"), &file)
    });
    for publisher in &publishers {
        publisher.succeed(Duration::from_secs(6) + SLACK);
    }
    for (viewer, clip) in viewers.into_iter().zip([one, two]) {
        let file = viewer.path.clone();
        viewer.finish();
        // The first keyframe of the second stream may be past when its viewer comes.
        check(&clip.file(), &[file], JOINED);
    }
}
