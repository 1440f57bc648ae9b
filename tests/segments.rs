//! Streams that are fetched piece by piece, followed by a strict client while they are published: every playlist is right,
//! parts make their segment, a segment asked for again is the same, and all of them together have the frames that were sent.

mod support;

use std::time::{Duration, Instant};

use penstock_proto::dash;
use penstock_proto::hls::check;
use serde_json::json;

use support::clips::{self, Clip, Modern};
use support::compare::{CONVERTED, WHOLE};
use support::flv::{AUDIO, Tag, VIDEO};
use support::follow::Followed;
use support::multitrack::{self, Part};
use support::normal::{Kind, Recording};
use support::rtmp::Publisher;
use support::segmented::{CMAF, CMAF_SEGMENTS, Following, Master, TS, assert_saw, config, publish_followed, recording};
use support::server::Server;
use support::{compare, fetch, flv, follow, normal, numbered, tags, wire};

/// Times faster than the clock of the stream.
const PACE: u32 = 4;

/// Publishes the messages; every track of them is in the CMAF, and those with these codecs are in the TS.
fn follow(label: &str, sent: &[Tag], in_ts: &[&str]) {
    let server = Server::start(&config(json!({})));
    let dir = support::scratch(label);
    let masters: &[Master] = if in_ts.is_empty() { &[CMAF] } else { &[CMAF, TS] };
    let followed = publish_followed(&server, sent, PACE, masters);
    let recorded = tags::recording("sent", sent);
    let cmaf = recording(&followed[0], &dir, "cmaf", "mp4");
    assert_eq!(codecs(&cmaf), codecs(&recorded), "CMAF carries every track");
    assert_saw(&recorded, &cmaf, WHOLE);
    for playlist in &followed[0] {
        assert!(
            playlist.hinted > 3,
            "{}: parts come by their hints\n{}",
            playlist.path,
            playlist.text
        );
    }
    if in_ts.is_empty() {
        let answer = wire::ask(server.http, "GET", TS.0, &[]);
        assert_eq!(answer.status, 404, "nothing that TS carries:\n{}", answer.head);
    } else {
        let ts = recording(&followed[1], &dir, "ts", "ts");
        assert_eq!(codecs(&ts), in_ts);
        assert_saw(&recorded, &ts, WHOLE);
    }
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

fn codecs(recording: &Recording) -> Vec<String> {
    recording.tracks.iter().map(|track| track.codec.clone()).collect()
}

fn modern(clip: Modern, in_ts: &[&str]) {
    follow(clip.name, &tags::of_file(&clip.file()), in_ts);
}

fn plain(clip: Clip, in_ts: &[&str]) {
    follow(clip.name, &clip.part(u32::MAX), in_ts);
}

#[test]
fn hevc_and_aac() {
    modern(clips::HEVC_AAC, &["hevc", "aac"]);
}

#[test]
fn av1_and_opus() {
    modern(clips::AV1_OPUS, &[]);
}

#[test]
fn vp9_and_opus() {
    modern(clips::VP9_OPUS, &[]);
}

#[test]
fn h264_and_flac() {
    modern(clips::H264_FLAC, &["h264"]);
}

#[test]
fn h264_and_ac3() {
    modern(clips::H264_AC3, &["h264", "ac3"]);
}

#[test]
fn h264_and_mp3() {
    modern(clips::H264_MP3, &["h264", "mp3"]);
}

#[test]
fn b_frames() {
    plain(clips::B_FRAMES, &["h264", "aac"]);
}

#[test]
fn audio_only() {
    plain(clips::AUDIO_ONLY, &["aac"]);
}

#[test]
fn video_only() {
    plain(clips::VIDEO_ONLY, &["h264"]);
}

/// The second keyframe comes after 10 s: no segment is longer than the target that was said before.
#[test]
fn long_gop() {
    plain(clips::LONG_GOP, &["h264", "aac"]);
}

#[test]
fn whole_segments_without_parts() {
    let server = Server::start(&config(json!({})));
    let dir = support::scratch("whole");
    let sent = clips::NO_B_FRAMES.part(u32::MAX);
    let followed = publish_followed(&server, &sent, PACE, &[CMAF_SEGMENTS]);
    for playlist in &followed[0] {
        assert!(!playlist.text.contains("#EXT-X-PART"), "{}", playlist.text);
    }
    assert_saw(
        &tags::recording("sent", &sent),
        &recording(&followed[0], &dir, "whole", "mp4"),
        WHOLE,
    );
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// Messages of two pictures and two sounds.
fn two_of_each() -> (Vec<Tag>, [Vec<Part>; 4]) {
    let parts = |clip: Clip, kind: u8| -> Vec<Part> {
        let tags = clip.part(u32::MAX);
        // Not the end of a sequence, which is neither.
        let carried = tags
            .iter()
            .filter(|tag| tag.kind == kind && (tag.is_frame(kind) || tag.is_header()));
        carried.map(Part::of).collect()
    };
    let video = [parts(clips::NO_B_FRAMES, VIDEO), parts(clips::SMALL, VIDEO)];
    let audio = [parts(clips::NO_B_FRAMES, AUDIO), parts(clips::MONO, AUDIO)];
    let mut sent: Vec<Tag> = Vec::new();
    for (number, track) in video.iter().chain(&audio).enumerate() {
        sent.extend(track.iter().map(|part| multitrack::one_track(number as u8 % 2, part)));
    }
    // Headers first, each at time zero.
    sent.sort_by_key(|tag| tag.time);
    let [one, two] = video;
    let [three, four] = audio;
    (sent, [one, two, three, four])
}

/// Pictures with keyframes at the same times are variants, sounds are renditions of one group; segments of all are cut at the
/// same times and have the same numbers.
#[test]
fn several_of_a_kind() {
    let server = Server::start(&config(json!({})));
    let dir = support::scratch("several");
    let (sent, tracks) = two_of_each();
    let followed = publish_followed(&server, &sent, PACE, &[CMAF]);
    let [playlists] = &followed[..] else {
        unreachable!("one master")
    };
    assert_eq!(
        playlists.len(),
        4,
        "{:?}",
        playlists.iter().map(|each| &each.path).collect::<Vec<_>>()
    );
    let numbers = |followed: &Followed| followed.segments.keys().copied().collect::<Vec<u64>>();
    let mut frames = Vec::new();
    for playlist in playlists {
        assert_eq!(numbers(playlist), numbers(&playlists[0]), "{}", playlist.path);
        let got = recording(std::slice::from_ref(playlist), &dir, "several", "mp4");
        frames.push((got.tracks[0].kind, got.tracks[0].frames.len()));
    }
    frames.sort_unstable();
    let sent = tracks.map(|track| track.iter().filter(|part| part.is_frame()).count());
    let mut wanted = vec![
        (Kind::Video, sent[0]),
        (Kind::Video, sent[1]),
        (Kind::Audio, sent[2]),
        (Kind::Audio, sent[3]),
    ];
    wanted.sort_unstable();
    assert_eq!(frames, wanted);
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// Checks the two runs of a stream that broke once: each decodes, and the frames of both are those sent.
fn two_runs(followed: &[Followed], extension: &str, halves: [&[Tag]; 2]) {
    let dir = support::scratch("runs");
    for playlist in followed {
        let files = playlist.files(&dir, "run", extension);
        assert_eq!(files.len(), 2, "{}: one break\n{}", playlist.path, playlist.text);
        for (file, half) in files.iter().zip(halves) {
            compare::assert_decodes(file);
            let got = normal::read(file);
            let mut sent = tags::recording("sent", half);
            sent.tracks
                .retain(|track| got.tracks.iter().any(|other| other.kind == track.kind));
            if let Err(difference) = compare::compare(&sent, &got, CONVERTED) {
                panic!("{}: {}: {difference}\n{}", playlist.path, file.display(), playlist.text);
            }
        }
    }
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// Another size in the middle: a discontinuity, and another initialization segment.
#[test]
fn other_codec_data() {
    const HALF_MILLIS: u32 = 6_000;
    let server = Server::start(&config(json!({})));
    let halves = [clips::VIDEO_ONLY, clips::SMALL].map(|clip| {
        let mut tags = clip.part(u32::MAX);
        tags.retain(|tag| tag.kind == VIDEO);
        tags
    });
    let later = flv::shifted(&halves[1], HALF_MILLIS);
    let sent: Vec<Tag> = halves[0].iter().chain(&later).cloned().collect();
    let followed = publish_followed(&server, &sent, PACE, &[CMAF, TS]);
    for playlist in &followed[0] {
        assert_eq!(playlist.inits.len(), 2, "{}", playlist.text);
    }
    two_runs(&followed[0], "mp4", [&halves[0], &halves[1]]);
    two_runs(&followed[1], "ts", [&halves[0], &halves[1]]);
}

/// A publisher that comes back within its grace: a discontinuity, no end between.
#[test]
fn publisher_returns() {
    let server = Server::start(&config(json!({"grace": 3_000, "resume": 1})));
    let sent = clips::NO_B_FRAMES.part(u32::MAX);
    let mut first = Publisher::start(server.rtmp, "live", PACE);
    first.send(&sent);
    let following = [CMAF, TS].map(|master| Following::start(&server, master));
    first.vanish();
    let mut second = Publisher::start(server.rtmp, "live", PACE);
    second.send(&sent);
    second.end();
    let [cmaf, ts] = following.map(Following::finish);
    two_runs(&cmaf, "mp4", [&sent, &sent]);
    two_runs(&ts, "ts", [&sent, &sent]);
}

/// A low-latency manifest lists the segment that is being made, from its first part on, and is right at every moment.
#[test]
fn a_manifest_lists_what_is_being_made() {
    let path = "/cmaf/live/index.mpd";
    let server = Server::start(&config(json!({})));
    let mut publisher = Publisher::start(server.rtmp, "live", 1);
    let sent = clips::NO_B_FRAMES.part(4_900);
    let (head, rest) = sent.split_at(sent.partition_point(|tag| tag.time < 2_500));
    publisher.send(head);
    let mut client = fetch::Client::new(server.http);
    let mut watcher = dash::check::Watcher::new();
    let mut segments = |text: &str| {
        let now = numbered::wall_millis() as i64 * 1_000;
        let report = watcher.push(text, now);
        report.assert_none(text);
        (report.representations, report.segments)
    };
    let text = client.text_when_there(path, Duration::from_secs(10));
    assert_eq!(segments(&text).0, 2, "{text}");
    // A manifest makes nothing that nobody fetches.
    for track in [1, 2] {
        client.body(&format!("/cmaf/live/{track}/init.m4s"));
    }
    publisher.send(rest);
    // The last frames are on their way: two whole segments and one with two parts, of picture and sound.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let text = client.text(path);
        if segments(&text) == (2, 6) {
            return;
        }
        assert!(Instant::now() < deadline, "{text}");
    }
}

/// Stream times that pass a boundary of 24 hours, of 33 bits of 90 kHz, and of RTMP's own 32 bits of ms.
#[test]
fn boundaries_of_time() {
    const BEFORE_MILLIS: u32 = 3_000;
    let sent = clips::NO_B_FRAMES.part(u32::MAX);
    for boundary in [24 * 3_600_000, ((1_u64 << 33) / 90) as u32, u32::MAX] {
        let mut shifted = flv::shifted(&sent, boundary - BEFORE_MILLIS);
        // A publisher says its headers at its own time.
        shifted.retain(|tag| tag.kind != flv::SCRIPT);
        let server = Server::start(&config(json!({})));
        let dir = support::scratch("boundary");
        let mut publisher = Publisher::start(server.rtmp, "live", PACE);
        let (head, rest) = shifted.split_at(sent.partition_point(|tag| tag.time < 1_000).min(shifted.len()));
        publisher.send(head);
        let following = [CMAF, TS].map(|master| Following::start(&server, master));
        publisher.send(rest);
        publisher.end();
        let [cmaf, ts] = following.map(Following::finish);
        let recorded = tags::recording("sent", &sent);
        assert_saw(&recorded, &recording(&cmaf, &dir, "cmaf", "mp4"), WHOLE);
        assert_saw(&recorded, &recording(&ts, &dir, "ts", "ts"), WHOLE);
        std::fs::remove_dir_all(&dir).expect("scratch is ours");
    }
}

/// What has left the window is 404, and what is in it stays the same when its lane was dropped and is made anew.
#[test]
fn the_window() {
    let server = Server::start(&config(json!({"DVR": 6_000})));
    let mut publisher = Publisher::start(server.rtmp, "live", PACE);
    let clip = clips::SHORT_GOPS;
    publisher.send(&clip.part(3_000));
    let mut client = fetch::Client::new(server.http);
    let path = follow::playlists(&mut client, CMAF.0).swap_remove(0);
    let text = client.text_when_there(&path, Duration::from_secs(10));
    let (list, _) = check::read_media(&text);
    let first = fetch::resolve(&path, &list.segments[0].uri);
    client.body(&first);
    let mut later = clip.part(u32::MAX);
    later.retain(|tag| tag.time >= 3_000);
    publisher.send(&later);
    let deadline = Instant::now() + Duration::from_secs(10);
    while client.get(&first).status != 404 {
        assert!(Instant::now() < deadline, "{first} is 12 s old, in a window of 6 s");
    }
    let text = client.text(&path);
    assert!(!text.contains(&list.segments[0].uri), "{text}");
}

/// The manifest of a stream that ended is static, and lists what can still be fetched.
#[test]
fn the_end() {
    let server = Server::start(&config(json!({})));
    let sent = clips::NO_B_FRAMES.part(u32::MAX);
    let mut client = fetch::Client::new(server.http);
    let mut publisher = Publisher::start(server.rtmp, "live", PACE);
    publisher.send(&sent);
    let live = client.text_when_there("/cmaf/live/index.mpd", Duration::from_secs(10));
    assert!(live.contains("type=\"dynamic\""), "{live}");
    let following = Following::start(&server, CMAF);
    publisher.end();
    following.finish();
    let ended = client.text("/cmaf/live/index.mpd");
    assert!(ended.contains("type=\"static\""), "{ended}");
    assert!(ended.contains("mediaPresentationDuration"), "{ended}");
}
