//! Codecs that came with enhanced RTMP, and old ones in new company: what a publisher sends is what every output has.
//!
//! ffmpeg 5.1 cannot push them, so the publisher is a script with penstock's own message writer. MP4 and TS are read
//! by ffmpeg, where it knows the pair; FLV and RTMP are read back by our own reader and compared frame for frame.

mod support;

use std::path::{Path, PathBuf};

use support::clips::{self, Modern};
use support::compare::{self, WHOLE};
use support::flv::{self, Tag};
use support::rtmp::{Player, Publisher};
use support::server::{self, Server};
use support::strict;
use support::tags;
use support::wire::Recorder;

/// Times faster than its clock.
const PACE: u32 = 4;
/// Media sent before the viewers come, less than a GOP: the stream has begun, and they miss nothing.
const HEAD_MILLIS: u32 = 1_000;

/// Pushes a clip, watches FLV, RTMP and these other outputs from its start, and compares.
fn play(clip: Modern, kinds: &[&str]) {
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
    same_frames(&file, "RTMP", &player.finish());
    for got in &files[1..] {
        strict::assert_strict(got);
        compare::assert_equal(&file, got, WHOLE);
        compare::assert_decodes(got);
    }
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
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

#[test]
fn av1_and_opus() {
    play(clips::AV1_OPUS, &["mp4"]);
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
