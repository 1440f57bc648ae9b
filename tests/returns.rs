//! Publishers who go, come back, are replaced, are moved, or send less than they said: what viewers see of it.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use penstock_proto::tag::amf0::Value;
use serde_json::json;

use support::clips::{self, Clip};
use support::compare::{self, CONVERTED, JOINED, WHOLE};
use support::flv::{self, SCRIPT, Tag};
use support::normal::{self, Frame, Recording};
use support::rtmp::Publisher;
use support::server::{self, Server};
use support::strict;
use support::tags;
use support::viewers::{Output, Seen, Viewers, read};
use support::wire::{self, PATIENCE, Recorder};

/// Times faster than their clock.
const PACE: u32 = 4;
/// Media sent before the viewers come, less than a GOP: they miss nothing.
const HEAD_MILLIS: u32 = 1_000;
/// Media of each publisher: into the second GOP.
const PART_MILLIS: u32 = 3_000;
const GRACE_MILLIS: u32 = 2_000;
/// From the last frame of one publisher to the first of the next: a picture, and what it takes for three that are
/// decoded early (two B-frames and their P-frame) to be shown.
const DECODE_GAP_MILLIS: i64 = 160;
const SHOWN_GAP_MILLIS: i64 = 80;

/// A server with the stream `live` that waits for its publisher.
fn patient(mut settings: serde_json::Value) -> Server {
    settings["source"] = json!("push://127.0.0.1");
    settings["grace"] = json!(GRACE_MILLIS);
    Server::start(&server::config_with(2, json!({"live": settings})))
}

/// What a publisher sends of a clip.
fn part(clip: Clip) -> Vec<Tag> {
    clip.part(PART_MILLIS)
}

/// Sends the first part of what a first publisher sends, lets viewers in, and sends the rest.
fn begin(server: &Server, dir: &Path, sent: &[Tag]) -> (Publisher, Viewers) {
    let mut publisher = Publisher::start(server.rtmp, "live", PACE);
    let head = sent.partition_point(|tag| tag.time < HEAD_MILLIS);
    publisher.send(&sent[..head]);
    let viewers = Viewers::join(server, dir, "live");
    publisher.restart_clock();
    publisher.send(&sent[head..]);
    (publisher, viewers)
}

/// Requires the frames of both parts, each once and at its own distances, the second part one frame behind the first.
/// A track may be missing in either.
fn assert_joined(got: &Recording, first: &[Tag], second: &[Tag]) {
    let (first, second) = (tags::recording("first", first), tags::recording("second", second));
    let (mut before, mut after) = (got.clone(), got.clone());
    for (at, track) in got.tracks.iter().enumerate() {
        let sent = first.tracks.iter().find(|sent| sent.kind == track.kind);
        let count = sent.map_or(0, |sent| sent.frames.len()).min(track.frames.len());
        before.tracks[at].frames.truncate(count);
        after.tracks[at].frames.drain(..count);
        for pair in track.frames.windows(2) {
            assert!(pair[0].dts_nanos < pair[1].dts_nanos, "{}: time falls", got.name);
        }
    }
    for (part, sent) in [(&mut before, &first), (&mut after, &second)] {
        part.tracks.retain(|track| !track.frames.is_empty());
        if let Err(difference) = compare::compare(sent, part, CONVERTED) {
            panic!("{}: {} publisher: {difference}", got.name, sent.name);
        }
    }
    for (what, gap_max, time) in [
        (
            "decoded",
            DECODE_GAP_MILLIS,
            (|frame| frame.dts_nanos) as fn(&Frame) -> i64,
        ),
        ("shown", SHOWN_GAP_MILLIS, |frame| frame.pts_nanos),
    ] {
        let times = |part: &Recording| -> Vec<i64> {
            let frames = part.tracks.iter().flat_map(|track| &track.frames);
            frames.map(|frame| time(frame) / 1_000_000).collect()
        };
        let (last, next) = (times(&before).into_iter().max(), times(&after).into_iter().min());
        let gap = next.zip(last).map_or(i64::MAX, |(next, last)| next - last);
        assert!(
            (1..=gap_max).contains(&gap),
            "{}: the second publisher is {what} {gap} ms behind the first",
            got.name
        );
    }
}

fn comes_back(resume: u32) {
    let dir = support::scratch("back");
    let server = patient(json!({"resume": resume}));
    let sent = part(clips::NO_B_FRAMES);
    let (publisher, viewers) = begin(&server, &dir, &sent);
    publisher.vanish();
    server.wait_log(&["publisher left", "live"], PATIENCE);
    let mut again = Publisher::start(server.rtmp, "live", PACE);
    again.send(&sent);
    again.end();
    for Seen { recording: got, .. } in viewers.finish() {
        assert_joined(&got, &sent, &sent);
    }
    assert_eq!(server.counters()["feeds_ended_break"], 0);
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

#[test]
fn back_within_grace() {
    comes_back(0);
}

#[test]
fn back_within_grace_with_resume() {
    comes_back(1);
}

/// With B-frames, pictures that are shown after the last one that is decoded meet the first ones of the next.
#[test]
fn back_with_b_frames() {
    let dir = support::scratch("b-frames");
    let server = patient(json!({}));
    let sent = part(clips::B_FRAMES);
    let (publisher, viewers) = begin(&server, &dir, &sent);
    publisher.vanish();
    server.wait_log(&["publisher left", "live"], PATIENCE);
    let mut again = Publisher::start(server.rtmp, "live", PACE);
    again.send(&sent);
    again.end();
    for Seen { recording: got, .. } in viewers.finish() {
        assert_joined(&got, &sent, &sent);
    }
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// What needs another `moov` ends a MP4; everything else goes on behind new headers.
#[test]
fn back_with_another_size() {
    let dir = support::scratch("size");
    let server = patient(json!({}));
    let (large, small) = (part(clips::NO_B_FRAMES), part(clips::SMALL));
    let (publisher, viewers) = begin(&server, &dir, &large);
    publisher.vanish();
    server.wait_log(&["publisher left", "live"], PATIENCE);
    let mut again = Publisher::start(server.rtmp, "live", PACE);
    let head = small.partition_point(|tag| tag.time < HEAD_MILLIS);
    again.send(&small[..head]);
    let late = Recorder::start(server.http, "/live.mp4", &dir.join("late.mp4"));
    assert_eq!(late.answer().status, 200);
    again.restart_clock();
    again.send(&small[head..]);
    again.end();
    for Seen {
        output, recording: got, ..
    } in &viewers.finish()
    {
        if *output != Output::Mp4 {
            assert_joined(got, &large, &small);
        } else if let Err(difference) = compare::compare(&tags::recording("first", &large), got, WHOLE) {
            panic!("{}: {difference}", got.name);
        }
    }
    assert_eq!(server.counters()["feeds_ended_break"], 1);
    let late_file = late.path.clone();
    late.finish();
    strict::assert_strict(&late_file);
    compare::assert_decodes(&late_file);
    if let Err(difference) = compare::compare(&tags::recording("second", &small), &normal::read(&late_file), WHOLE) {
        panic!("the MP4 of who came after: {difference}");
    }
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// Sound that is gone ends a MP4, whose `moov` promises it; the others go on without.
#[test]
fn back_without_sound() {
    let dir = support::scratch("silent");
    let server = patient(json!({}));
    let (both, pictures) = (part(clips::NO_B_FRAMES), part(clips::VIDEO_ONLY));
    let (publisher, viewers) = begin(&server, &dir, &both);
    publisher.vanish();
    server.wait_log(&["publisher left", "live"], PATIENCE);
    let mut again = Publisher::start(server.rtmp, "live", PACE);
    again.send(&pictures);
    again.end();
    for Seen {
        output, recording: got, ..
    } in &viewers.finish()
    {
        if *output != Output::Mp4 {
            assert_joined(got, &both, &pictures);
        } else if let Err(difference) = compare::compare(&tags::recording("first", &both), got, WHOLE) {
            panic!("{}: {difference}", got.name);
        }
    }
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

#[test]
fn not_back_within_grace() {
    let dir = support::scratch("gone");
    let server = patient(json!({}));
    let sent = part(clips::NO_B_FRAMES);
    let (publisher, viewers) = begin(&server, &dir, &sent);
    publisher.vanish();
    let left = Instant::now();
    server.wait_log(&["publisher left", "live"], PATIENCE);
    assert!(
        wire::first_media_byte(server.http, "/live.flv", PATIENCE),
        "a stream in its grace can be watched"
    );
    let whole = tags::recording("sent", &sent);
    for Seen { recording: got, .. } in viewers.finish() {
        if let Err(difference) = compare::compare(&whole, &got, WHOLE) {
            panic!("{}: {difference}", got.name);
        }
    }
    let held = left.elapsed();
    // The grace began when the server noticed, a little before we did.
    assert!(
        held > Duration::from_millis(u64::from(GRACE_MILLIS) - 500),
        "viewers were held for {held:?}"
    );
    for kind in ["flv", "ts", "mp4"] {
        assert_eq!(wire::ask(server.http, "GET", &format!("/live.{kind}"), &[]).status, 404);
    }
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

#[test]
fn a_second_publisher_replaces_the_first() {
    let dir = support::scratch("replace");
    let server = patient(json!({"second_publisher": "replace"}));
    let sent = part(clips::NO_B_FRAMES);
    let whole = tags::recording("sent", &sent);
    let frames: usize = whole.tracks.iter().map(|track| track.frames.len()).sum();
    let (first, viewers) = begin(&server, &dir, &sent);
    // What the first one has sent is not what the second one's claim may overtake.
    server.wait_counters("the first part", PATIENCE, |counters| {
        counters["frames_in"] == frames as u64
    });
    let mut second = Publisher::start(server.rtmp, "live", PACE);
    let told = first.ended();
    assert!(told.iter().any(|code| code.starts_with("NetStream.")), "{told:?}");
    second.send(&sent);
    second.end();
    for Seen { recording: got, .. } in viewers.finish() {
        assert_joined(&got, &sent, &sent);
    }
    assert_eq!(server.counters()["publishers_replaced"], 1);
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// Publishers who all want the name at once, from connections on both shards: one has it in the end, and plays.
#[test]
fn many_publishers_replace_each_other() {
    const PUBLISHERS: usize = 12;
    let dir = support::scratch("many");
    let server = patient(json!({"second_publisher": "replace"}));
    let sent = part(clips::SMALL);
    let rtmp = server.rtmp;
    let starts: Vec<_> = (0..PUBLISHERS)
        .map(|_| std::thread::spawn(move || Publisher::try_start(rtmp, "live", 100)))
        .collect();
    let mut publishers = Vec::new();
    for start in starts {
        match start.join().expect("it does not panic") {
            Ok(publisher) => publishers.push(publisher),
            // Overtaken before it could begin.
            Err(why) => assert!(why.contains("another publisher took"), "{why}"),
        }
    }
    server.wait_counters("one of them", PATIENCE, |counters| {
        (counters["publishers"], counters["publishers_replaced"]) == (1, PUBLISHERS as u64 - 1)
    });
    // Who was replaced sends to a closed connection.
    let head = sent.partition_point(|tag| tag.time < HEAD_MILLIS);
    publishers
        .iter_mut()
        .for_each(|publisher| publisher.send(&sent[..head]));
    let viewer = Recorder::start(server.http, "/live.ts", &dir.join("live.ts"));
    assert_eq!(viewer.answer().status, 200);
    publishers
        .iter_mut()
        .for_each(|publisher| publisher.send(&sent[head..]));
    publishers.into_iter().for_each(Publisher::end);
    let file = viewer.path.clone();
    viewer.finish();
    strict::assert_strict(&file);
    if let Err(difference) = compare::compare(&tags::recording("sent", &sent), &read(&file), WHOLE) {
        panic!("{}: {difference}", file.display());
    }
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

#[test]
fn again_on_the_same_connection() {
    let dir = support::scratch("again");
    let server = patient(json!({}));
    let sent = part(clips::NO_B_FRAMES);
    let (mut publisher, viewers) = begin(&server, &dir, &sent);
    publisher.publish_again();
    publisher.send(&sent);
    publisher.end();
    for Seen { recording: got, .. } in viewers.finish() {
        assert_joined(&got, &sent, &sent);
    }
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// Six streams have their homes on two shards, three each, wherever their publishers' connections were accepted.
#[test]
fn publishers_are_moved_to_their_homes() {
    const STREAMS: usize = 6;
    /// On one shard only with a chance of one in thirty-two.
    const VIEWERS: usize = 6;
    let dir = support::scratch("homes");
    let names: Vec<String> = (0..STREAMS).map(|at| format!("stream{at}")).collect();
    let settings = json!({"source": "push://127.0.0.1", "grace": 300});
    let streams = names.iter().map(|name| (name.clone(), settings.clone())).collect();
    let server = Server::start(&server::config_with(2, serde_json::Value::Object(streams)));
    let sent = part(clips::NO_B_FRAMES);
    let whole = tags::recording("sent", &sent);
    let head = sent.partition_point(|tag| tag.time < HEAD_MILLIS);
    // The kernel places connections by a hash: a round without one in the wrong place is possible, eight are not.
    for round in 0.. {
        assert!(round < 8, "no publisher was moved in {round} rounds of {STREAMS}");
        let publishers: Vec<Publisher> = names
            .iter()
            .map(|name| {
                let mut publisher = Publisher::start(server.rtmp, name, 100);
                publisher.send(&sent[..head]);
                publisher
            })
            .collect();
        let viewers = names
            .iter()
            .flat_map(|name| (0..VIEWERS).map(move |number| (name, number)));
        let viewers: Vec<Recorder> = viewers
            .map(|(name, number)| {
                let file = dir.join(format!("{round}-{name}-{number}.flv"));
                Recorder::start(server.http, &format!("/{name}.flv"), &file)
            })
            .collect();
        for viewer in &viewers {
            assert_eq!(viewer.answer().status, 200);
        }
        for mut publisher in publishers {
            publisher.restart_clock();
            publisher.send(&sent[head..]);
            publisher.end();
        }
        for viewer in viewers {
            let file = viewer.path.clone();
            viewer.finish();
            if let Err(difference) = compare::compare(&whole, &read(&file), WHOLE) {
                panic!("{}: {difference}", file.display());
            }
        }
        if server.counters()["publishers_moved"] > 0 {
            break;
        }
    }
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// Sound that was announced is waited for, 2 s of media and no longer.
#[test]
fn sound_announced_and_never_sent() {
    let clip = clips::VIDEO_ONLY;
    let server = Server::start(&server::config(2));
    let mut sent = flv::tags(&std::fs::read(clip.file()).expect("made by the call"));
    sent.retain(|tag| tag.kind != SCRIPT);
    let mut body = Vec::new();
    Value::from("onMetaData").emit(&mut body);
    let members = [("videocodecid", 7.0), ("audiocodecid", 10.0)];
    Value::EcmaArray(members.map(|(name, number)| (name.to_string(), number.into())).to_vec()).emit(&mut body);
    sent.insert(
        0,
        Tag {
            kind: SCRIPT,
            time: 0,
            body,
        },
    );
    let mut publisher = Publisher::start(server.rtmp, "live", PACE);
    let dir = support::scratch("announced");
    let file = dir.join("live.flv");
    let viewer = Recorder::start(server.http, "/live.flv", &file);
    let waited = sent.partition_point(|tag| tag.time < 2_500);
    publisher.send(&sent[..waited]);
    // No more is sent before the answer: it cannot have waited for more.
    assert_eq!(viewer.answer().status, 200, "2.5 s of media are enough");
    publisher.restart_clock();
    publisher.send(&sent[waited..]);
    publisher.end();
    viewer.finish();
    // The second keyframe came just when the wait was over: a viewer begins at the newest one.
    if let Err(difference) = compare::compare(&normal::read(&clip.file()), &read(&file), JOINED) {
        panic!("{difference}");
    }
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}
