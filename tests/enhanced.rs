//! Codecs that came with enhanced RTMP, and old ones in new company: what a publisher sends is what every output has.
//!
//! ffmpeg 5.1 cannot push them, so the publisher is a script with penstock's own message writer, and in a second round
//! ffmpeg 9. MP4 and TS are read by ffmpeg 5.1, where it knows the pair; FLV and RTMP are read back by our own reader and,
//! in the second round, by ffmpeg 9.
//!
//! What no ffmpeg can push: VP8 (9 refuses it for FLV). Telephone sound and PCM are pushed by ffmpeg 5.1.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::audience::{ALL, Audience};
use support::clips::{self, Modern};
use support::compare::{self, CONVERTED, JOINED, Rules, WHOLE};
use support::flv::{self, Tag};
use support::publish::{Times, newer_push, push};
use support::rtmp::{Player, Publisher};
use support::server::{self, Server};
use support::strict;
use support::wire::{self, PATIENCE, Recorder};
use support::{normal, players, process, tags};

/// Times faster than its clock.
const PACE: u32 = 4;
/// Media sent before the viewers come, less than a GOP: the stream has begun, and they miss nothing.
const HEAD_MILLIS: u32 = 1_000;

/// Pushes a clip, watches FLV, RTMP and these other outputs from its start, and compares; gives what the RTMP player got.
fn play(clip: Modern, kinds: &[&str]) -> Vec<Tag> {
    let file = clip.file();
    let sent = tags::of_file(&file);
    let dir = support::scratch(clip.name);
    let server = Server::start(&server::config(2));
    let mut publisher = Publisher::start(server.rtmp, "live", PACE);
    let head = sent.partition_point(|tag| tag.time < HEAD_MILLIS);
    publisher.send(&sent[..head]);
    let http = ["flv"].iter().chain(kinds).map(|kind| {
        let file = dir.join(format!("live.{kind}"));
        Recorder::start(server.http, &format!("/live.{kind}"), &file)
    });
    let http: Vec<Recorder> = http.collect();
    for viewer in &http {
        viewer.answer().assert_not_chunked();
    }
    let player = Player::start(server.rtmp, "live");
    publisher.restart_clock();
    publisher.send(&sent[head..]);
    publisher.end();
    let mut files: Vec<PathBuf> = Vec::new();
    for viewer in http {
        files.push(viewer.path.clone());
        viewer.finish();
    }
    let flv = std::fs::read(&files[0]).expect("recorded above");
    same_frames(&file, "FLV", &flv::tags(&flv));
    let played = player.finish();
    same_frames(&file, "RTMP", &played);
    for got in &files[1..] {
        strict::assert_strict(got);
        compare::assert_equal(&file, got, WHOLE);
        compare::assert_decodes(got);
    }
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
    played
}

fn same_frames(clip: &Path, output: &str, got: &[Tag]) {
    let (sent, got) = (support::normal::read(clip), tags::recording(output, got));
    if let Err(difference) = compare::compare(&sent, &got, WHOLE) {
        panic!("{output} is not what was sent ({}): {difference}", clip.display());
    }
}

#[test]
fn hevc_and_aac() {
    play(clips::HEVC_AAC, &["mp4", "ts"]);
}

/// A picture begins with a temporal delimiter, which FFmpeg's older readers miss otherwise.
#[test]
fn av1_and_opus() {
    let played = play(clips::AV1_OPUS, &["mp4"]);
    let coded = |tag: &&Tag| tag.kind == flv::VIDEO && tag.body[0] & 0x0F == 1;
    let pictures: Vec<&Tag> = played.iter().filter(coded).collect();
    assert_eq!(pictures.len(), 100);
    assert!(pictures.iter().all(|tag| tag.body[1..].starts_with(b"av01\x12\0")));
}

#[test]
fn vp9_and_opus() {
    play(clips::VP9_OPUS, &["mp4"]);
}

#[test]
fn h264_and_flac() {
    play(clips::H264_FLAC, &["mp4"]);
}

#[test]
fn h264_and_ac3() {
    play(clips::H264_AC3, &["mp4", "ts"]);
}

#[test]
fn h264_and_mp3() {
    play(clips::H264_MP3, &["mp4", "ts"]);
}

/// Pushes a clip by ffmpeg 9, and reads it back by ffmpeg 9 over RTMP and HTTP: both have every frame in their own FLV and
/// decode it. These other outputs are compared as well.
fn through_ffmpeg(clip: Modern, kinds: &[&str]) {
    let file = clip.file();
    let dir = support::scratch(clip.name);
    let server = Server::start(&server::config(2));
    let publisher = newer_push(&file, &server.rtmp_url("live/live"), Times::Once);
    server.wait_live("live", PATIENCE);
    let records = [
        (server.rtmp_url("anyapp/live"), dir.join("rtmp.flv")),
        (server.http_url("live.flv"), dir.join("http.flv")),
    ];
    let running = records.map(|(url, path)| (players::newer_ffmpeg_record(&url, &path), path));
    let audience = Audience::join(&server, "live", kinds);
    publisher.succeed(Duration::from_secs(25));
    let sent = normal::read(&file);
    // ffmpeg takes a moment to come: then it begins at the second keyframe.
    let late = Rules {
        audio: CONVERTED.audio,
        ..JOINED
    };
    for (player, path) in running {
        player.succeed(Duration::from_secs(25));
        let got = std::fs::read(&path).expect("written by the player");
        let got = tags::recording(&player.name, &flv::tags(&got));
        if let Err(difference) = compare::compare(&sent, &got, late) {
            panic!("{} is not what was sent: {difference}", player.name);
        }
        decodes(&path);
    }
    audience.finish().assert_saw_recording(&sent, JOINED);
    assert_eq!(server.counters()["bad_messages"], 0);
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// Requires that ffmpeg 9 decodes the whole file and has nothing to say about it.
fn decodes(path: &Path) {
    let mut command = Command::new(players::newer_ffmpeg());
    command.args(["-hide_banner", "-nostats", "-v", "error", "-xerror", "-i"]);
    command.arg(path).args(["-f", "null", "-"]);
    let process = process::Process::start("ffmpeg 9 (decoding)", &mut command);
    process.succeed(Duration::from_secs(25));
    assert_eq!(process.said(), "", "{}", path.display());
}

#[test]
fn ffmpeg_9_with_hevc_and_aac() {
    through_ffmpeg(clips::HEVC_AAC, &["mp4", "ts"]);
}

#[test]
fn ffmpeg_9_with_av1_and_opus() {
    through_ffmpeg(clips::AV1_OPUS, &["mp4"]);
}

#[test]
fn ffmpeg_9_with_vp9_and_opus() {
    through_ffmpeg(clips::VP9_OPUS, &["mp4"]);
}

#[test]
fn ffmpeg_9_with_h264_and_flac() {
    through_ffmpeg(clips::H264_FLAC, &["mp4"]);
}

#[test]
fn ffmpeg_9_with_h264_and_ac3() {
    through_ffmpeg(clips::H264_AC3, &["mp4", "ts"]);
}

#[test]
fn ffmpeg_9_with_h264_and_eac3() {
    through_ffmpeg(clips::H264_EAC3, &["mp4", "ts"]);
}

/// ffmpeg 5.1 with what it has always known.
#[test]
fn ffmpeg_5_with_h264_and_mp3() {
    let file = clips::H264_MP3.file();
    let server = Server::start(&server::config(2));
    let publisher = push(&file, &server.rtmp_url("live/live"), Times::Once);
    server.wait_live("live", PATIENCE);
    let audience = Audience::join(&server, "live", &ALL);
    publisher.succeed(Duration::from_secs(25));
    audience.finish().assert_saw_recording(&normal::read(&file), JOINED);
}

/// Sound that TS and MP4 do not carry: beside pictures it is left out of them, alone it is not there.
fn uncarried_sound(clip: Modern) {
    let file = clip.file();
    let sent = flv::tags(&std::fs::read(&file).expect("made by the call"));
    let streams = ["both", "alone"].map(|name| {
        let settings = serde_json::json!({"source": "push://127.0.0.1", "grace": 300});
        (name.to_string(), settings)
    });
    let server = Server::start(&server::config_with(
        2,
        serde_json::Value::Object(streams.into_iter().collect()),
    ));
    // Debian's ffmpeg pushes both; the other stream is its sound, by a script.
    let publisher = push(&file, &server.rtmp_url("live/both"), Times::Once);
    server.wait_live("both", PATIENCE);
    let audience = Audience::join(&server, "both", &ALL);
    let sound: Vec<Tag> = sent.iter().filter(|tag| tag.kind == flv::AUDIO).cloned().collect();
    let mut alone = Publisher::start(server.rtmp, "alone", PACE);
    let head = sound.partition_point(|tag| tag.time < HEAD_MILLIS);
    alone.send(&sound[..head]);
    let listeners = Audience::join(&server, "alone", &["flv"]);
    for kind in ["ts", "mp4"] {
        let answer = wire::ask(server.http, "GET", &format!("/alone.{kind}"), &[]);
        assert_eq!(answer.status, 404, "{kind}: {}", answer.head);
    }
    alone.restart_clock();
    alone.send(&sound[head..]);
    alone.end();
    let (whole, rules) = (normal::read(&file), JOINED);
    let seen = listeners.finish();
    for (kind, got) in seen.recordings() {
        let mut wanted = whole.clone();
        wanted.tracks.retain(|track| track.kind == normal::Kind::Audio);
        if let Err(difference) = compare::compare(&wanted, &got, rules) {
            panic!("{kind} of the sound alone: {difference}");
        }
    }
    seen.discard();
    publisher.succeed(Duration::from_secs(25));
    let seen = audience.finish();
    let mut recordings = seen.recordings();
    // These old codecs ffmpeg 5.1 knows in FLV: its own reading says more than ours.
    recordings.push(("flv (ffmpeg)".to_string(), normal::read(seen.file("flv"))));
    for (kind, got) in recordings {
        let mut wanted = whole.clone();
        if kind == "ts" || kind == "mp4" {
            wanted.tracks.retain(|track| track.kind == normal::Kind::Video);
        }
        if let Err(difference) = compare::compare(&wanted, &got, rules) {
            panic!("{kind} of both: {difference}");
        }
    }
    seen.discard();
}

#[test]
fn ffmpeg_5_with_alaw() {
    uncarried_sound(clips::H264_ALAW);
}

#[test]
fn ffmpeg_5_with_ulaw() {
    uncarried_sound(clips::H264_ULAW);
}

#[test]
fn ffmpeg_5_with_pcm() {
    uncarried_sound(clips::H264_PCM);
}
