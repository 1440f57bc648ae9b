//! Breaks in the middle of a stream, by one publisher that goes on: what each output makes of them (DESIGN.md 4.1).
//!
//! A break has viewers of every output from the stream's first frame, and as many who come after it. Those who were there
//! have every frame of both sides on the one connection, in times that never fall; MP4 is ended, cleanly and with all it
//! was to have, where it would need another `moov`. Who comes later has the new configuration and nothing of the old.
//! Breaks with another publisher are in `returns.rs`.

mod support;

use std::ops::Range;
use std::path::Path;

use penstock_proto::tag::amf0::Value;
use penstock_proto::ts::wire::{PACKET_BYTES, Pmt, packet};
use serde_json::json;

use support::clips::{self, Clip};
use support::compare::{self, CONVERTED, JOINED, Rules, Start, WHOLE};
use support::flv::{self, AUDIO, SCRIPT, Tag, VIDEO};
use support::normal::{Frame, Recording};
use support::rtmp::Publisher;
use support::server::{self, Server};
use support::tags;
use support::viewers::{Ffmpeg, Output, Seen, Viewers, read};
use support::wire::{self, PATIENCE, Recorder};

/// Times faster than their clock. Nobody is too slow for that: see [`patient`].
const PACE: u32 = 12;
/// Media sent before the first viewers come, less than a GOP: they miss nothing.
const HEAD_MILLIS: u32 = 1_000;
/// A GOP of every clip.
const GOP_MILLIS: u32 = 2_000;
/// From the last frame before a jump of time to the first behind it.
const JUMP_GAP_MILLIS: i64 = 120;
/// How far a jump may move sound against pictures: what counted samples may be off (ITU-R BT.1359).
const SKEW_NANOS_MAX: i64 = 45_000_000;

/// A server with the stream `live`, whose viewers may lag by more media than any test has.
fn patient(grace_millis: u32) -> Server {
    let mut config = server::config(2);
    config["config"]["penstock"]["lag_max"] = json!(60_000);
    config["streams"]["live"]["grace"] = json!(grace_millis);
    Server::start(&config)
}

fn clip(clip: Clip) -> Vec<Tag> {
    flv::tags(&std::fs::read(clip.file()).expect("made by the call"))
}

/// Frames of one kind in a span of ms, at their own times.
fn frames(tags: &[Tag], kind: u8, span: Range<u32>) -> Vec<Tag> {
    let wanted = |tag: &&Tag| tag.kind == kind && !tag.is_header() && span.contains(&tag.time);
    tags.iter().filter(wanted).cloned().collect()
}

/// The codec's header of one kind, at this time.
fn header(tags: &[Tag], kind: u8, time: u32) -> Vec<Tag> {
    let found = tags.iter().find(|tag| tag.kind == kind && tag.is_header());
    found.map(|tag| Tag { time, ..tag.clone() }).into_iter().collect()
}

/// Headers and frames of one kind.
fn line(tags: &[Tag], kind: u8, span: Range<u32>) -> Vec<Tag> {
    [header(tags, kind, span.start), frames(tags, kind, span)].concat()
}

/// Several lines in the order of their times; at one time, in the order given.
fn together(lines: &[Vec<Tag>]) -> Vec<Tag> {
    let mut tags = lines.concat();
    tags.sort_by_key(|tag| tag.time);
    tags
}

fn metadata(members: &[(&str, f64)]) -> Vec<Tag> {
    let mut body = Vec::new();
    Value::from("onMetaData").emit(&mut body);
    let members = members
        .iter()
        .map(|(name, number)| (name.to_string(), (*number).into()));
    Value::EcmaArray(members.collect()).emit(&mut body);
    vec![Tag {
        kind: SCRIPT,
        time: 0,
        body,
    }]
}

fn both() -> Vec<Tag> {
    metadata(&[("videocodecid", 7.0), ("audiocodecid", 10.0)])
}

fn shifted(tags: &[Tag], millis: i64) -> Vec<Tag> {
    let shift = |tag: &Tag| Tag {
        time: (i64::from(tag.time) + millis) as u32,
        ..tag.clone()
    };
    tags.iter().map(shift).collect()
}

/// What a publisher sends before and after a break, and what becomes of it.
struct Scene {
    before: Vec<Tag>,
    after: Vec<Tag>,
    /// Media after the break when the late viewers come: past a keyframe, into its GOP.
    late_millis: u32,
    /// As the server counts them.
    breaks: u64,
    /// Whether MP4 would need another `moov`.
    mp4_ends: bool,
    /// Whether the break is one of time: each side is then compared for itself.
    jumps: bool,
    /// Versions of the PMT that a viewer of the whole sees.
    pmt_versions: usize,
    /// Sound alone has a place to join a second: whoever comes first begins at the newest.
    start: Start,
    ffmpeg: Ffmpeg,
}

impl Scene {
    /// A break that begins with a keyframe and changes codec data.
    fn new(before: Vec<Tag>, after: Vec<Tag>) -> Scene {
        Scene {
            before,
            after,
            late_millis: HEAD_MILLIS,
            breaks: 1,
            mp4_ends: true,
            jumps: false,
            pmt_versions: 1,
            start: Start::First,
            ffmpeg: Ffmpeg::DecodesAll,
        }
    }

    fn play(self, name: &str) {
        let dir = support::scratch(name);
        let server = patient(300);
        let mut publisher = Publisher::start(server.rtmp, "live", PACE);
        let head = self
            .before
            .partition_point(|tag| tag.time < self.before[0].time + HEAD_MILLIS);
        publisher.send(&self.before[..head]);
        let early = Viewers::join(&server, &dir, "early");
        publisher.restart_clock();
        publisher.send(&self.before[head..]);
        publisher.restart_clock();
        let late_from = self.after[0].time + self.late_millis;
        let late_from = self.after.partition_point(|tag| tag.time < late_from);
        publisher.send(&self.after[..late_from]);
        wait_taken(&server, &[&self.before, &self.after[..late_from]]);
        let late = Viewers::join(&server, &dir, "late");
        publisher.restart_clock();
        publisher.send(&self.after[late_from..]);
        publisher.end();
        for seen in early.finish_with(self.ffmpeg) {
            self.check_early(&seen);
        }
        for seen in late.finish_with(self.ffmpeg) {
            self.check_late(&seen);
        }
        let counters = server.counters();
        assert_eq!(counters["breaks"], self.breaks);
        assert_eq!(counters["feeds_ended_break"], u64::from(self.mp4_ends));
        assert_eq!((counters["cursors_skipped"], counters["bad_messages"]), (0, 0));
        std::fs::remove_dir_all(&dir).expect("scratch is ours");
    }

    fn check_early(&self, seen: &Seen) {
        let got = &seen.recording;
        if self.mp4_ends && seen.output == Output::Mp4 {
            return self.same(&tags::recording("before", &self.before), got);
        }
        if self.jumps {
            assert_jumped(got, &[&self.before, &self.after]);
        } else {
            self.same(&self.whole(), got);
        }
        if seen.output == Output::Ts {
            let versions = pmt_versions(&seen.file);
            let expected: Vec<u8> = (0..self.pmt_versions as u8).collect();
            assert_eq!(versions, expected, "{}: versions of the PMT", got.name);
        }
    }

    fn check_late(&self, seen: &Seen) {
        let mut sent = self.whole();
        if self.jumps {
            sent = tags::recording("after", &[self.headers(), self.after.clone()].concat());
        } else {
            drop_frames(&mut sent, &tags::recording("before", &self.before));
        }
        compare_tracks(&sent, &seen.recording, JOINED);
        if seen.output == Output::Flv {
            for kind in [VIDEO, AUDIO] {
                let tags = flv::tags(&std::fs::read(&seen.file).expect("recorded before"));
                let headers = tags.iter().filter(|tag| tag.kind == kind && tag.is_header()).count();
                assert!(
                    headers <= 1,
                    "{}: {headers} headers of type {kind}",
                    seen.recording.name
                );
            }
        }
    }

    /// Time goes on over the break, so both sides have one clock.
    fn same(&self, sent: &Recording, got: &Recording) {
        if self.start == Start::First {
            return same(sent, got, WHOLE);
        }
        compare_tracks(
            sent,
            got,
            Rules {
                start: self.start,
                ..WHOLE
            },
        );
    }

    fn whole(&self) -> Recording {
        tags::recording("sent", &[&self.before[..], &self.after].concat())
    }

    /// The codecs' headers in force before the break.
    fn headers(&self) -> Vec<Tag> {
        self.before.iter().filter(|tag| tag.is_header()).cloned().collect()
    }
}

#[track_caller]
fn same(sent: &Recording, got: &Recording, rules: Rules) {
    if let Err(difference) = compare::compare(sent, got, rules) {
        panic!("{}: {difference}", got.name);
    }
}

/// Each track for itself, where sound and pictures do not begin together.
#[track_caller]
fn compare_tracks(sent: &Recording, got: &Recording, rules: Rules) {
    let names = |recording: &Recording| -> Vec<String> {
        let tracks = recording.tracks.iter();
        tracks.map(|track| track.codec.clone()).collect()
    };
    assert_eq!(names(sent), names(got), "{}: its tracks", got.name);
    for at in 0..sent.tracks.len() {
        same(&only(sent, at), &only(got, at), rules);
    }
}

fn only(recording: &Recording, at: usize) -> Recording {
    Recording {
        name: recording.name.clone(),
        tracks: vec![recording.tracks[at].clone()],
    }
}

/// Takes the frames of `first` away from the beginning.
fn drop_frames(recording: &mut Recording, first: &Recording) {
    for track in &mut recording.tracks {
        let same = |other: &&support::normal::Track| other.codec == track.codec;
        let count = first.tracks.iter().find(same).map_or(0, |before| before.frames.len());
        track.frames.drain(..count);
    }
    recording.tracks.retain(|track| !track.frames.is_empty());
}

/// Requires each part's frames at its own distances, every part right behind the one before, sound with its pictures.
#[track_caller]
fn assert_jumped(got: &Recording, parts: &[&[Tag]]) {
    let headers: Vec<Tag> = parts[0].iter().filter(|tag| tag.is_header()).cloned().collect();
    let mut rest = got.clone();
    let mut last: Option<i64> = None;
    for (number, part) in parts.iter().enumerate() {
        let sent = tags::recording("part", &[&headers[..], part].concat());
        let mut piece = rest.clone();
        for (at, track) in piece.tracks.iter_mut().enumerate() {
            let count = sent.tracks[at].frames.len().min(track.frames.len());
            track.frames.truncate(count);
            rest.tracks[at].frames.drain(..count);
        }
        compare_tracks(
            &sent,
            &piece,
            Rules {
                audio: compare::AudioClock::Sent,
                ..WHOLE
            },
        );
        let moved = |at: usize| piece.tracks[at].frames[0].pts_nanos - sent.tracks[at].frames[0].pts_nanos;
        let skew = moved(0) - moved(piece.tracks.len() - 1);
        assert!(
            skew.abs() <= SKEW_NANOS_MAX,
            "{}: part {number}: sound is off by {skew} ns",
            got.name
        );
        let times = |time: fn(&Frame) -> i64| {
            let frames = piece.tracks.iter().flat_map(|track| &track.frames);
            frames.map(|frame| time(frame) / 1_000_000).collect::<Vec<i64>>()
        };
        let decoded = times(|frame| frame.dts_nanos);
        let first = decoded.iter().min().copied().expect("a part has frames");
        let gap = last.map_or(1, |last| first - last);
        // Sound and pictures of one time are a frame's length apart in order.
        assert!(
            (-JUMP_GAP_MILLIS..=JUMP_GAP_MILLIS).contains(&gap),
            "{}: part {number} begins {gap} ms behind the one before",
            got.name
        );
        last = decoded.iter().max().copied();
    }
    assert!(
        rest.tracks.iter().all(|track| track.frames.is_empty()),
        "{}: more frames",
        got.name
    );
    for track in &got.tracks {
        let rises = track
            .frames
            .windows(2)
            .all(|pair| pair[0].dts_nanos < pair[1].dts_nanos);
        assert!(rises, "{}: time falls", got.name);
    }
}

/// Waits until the server has taken all frames of these.
fn wait_taken(server: &Server, parts: &[&[Tag]]) {
    let recording = tags::recording("sent", &parts.concat());
    let frames: usize = recording.tracks.iter().map(|track| track.frames.len()).sum();
    server.wait_counters("all frames", PATIENCE, |counters| {
        counters["frames_in"] == frames as u64
    });
}

/// The versions of the PMT, one after the other.
fn pmt_versions(file: &Path) -> Vec<u8> {
    let bytes = std::fs::read(file).expect("recorded before");
    let mut versions = Vec::new();
    for bytes in bytes.as_chunks::<PACKET_BYTES>().0 {
        let packet = packet::parse(bytes).expect("the strict reader has read it");
        let section = packet
            .payload
            .filter(|_| packet.pid == penstock_proto::ts::mux::PID_PMT);
        // Behind the pointer field, which is 0: a section of ours begins its packet.
        if let Some(pmt) = section.and_then(|payload| payload.get(1..)) {
            let length = 3 + (usize::from(pmt[1] & 0x0f) << 8 | usize::from(pmt[2]));
            let pmt = Pmt::parse(&pmt[..length]).expect("the strict reader has read it");
            versions.push(pmt.version);
        }
    }
    versions.dedup();
    versions
}

/// Pictures become smaller, at a keyframe; the sound goes on.
#[test]
fn another_size() {
    let (large, small) = (clip(clips::NO_B_FRAMES), clip(clips::SMALL));
    let before = together(&[both(), line(&large, VIDEO, 0..2_000), line(&large, AUDIO, 0..2_000)]);
    let after = together(&[line(&small, VIDEO, 2_000..5_000), frames(&large, AUDIO, 2_000..5_000)]);
    Scene::new(before, after).play("size");
}

/// The sound's channels change in the middle of a GOP; the pictures go on.
#[test]
fn other_channels() {
    let (stereo, mono) = (clip(clips::NO_B_FRAMES), clip(clips::MONO));
    let before = together(&[both(), line(&stereo, VIDEO, 0..2_500), line(&stereo, AUDIO, 0..2_500)]);
    let after = together(&[line(&mono, AUDIO, 2_500..5_500), frames(&stereo, VIDEO, 2_500..5_500)]);
    let scene = Scene::new(before, after);
    Scene {
        late_millis: 2_500,
        ..scene
    }
    .play("channels");
}

#[test]
fn h264_becomes_hevc() {
    let (h264, hevc) = (clip(clips::NO_B_FRAMES), tags::of_file(&clips::HEVC_AAC.file()));
    let before = together(&[both(), line(&h264, VIDEO, 0..2_000), line(&h264, AUDIO, 0..2_000)]);
    let after = together(&[line(&hevc, VIDEO, 2_000..4_000), frames(&h264, AUDIO, 2_000..4_000)]);
    let scene = Scene::new(before, after);
    Scene {
        pmt_versions: 2,
        ffmpeg: Ffmpeg::DecodesTsAndMp4,
        ..scene
    }
    .play("hevc");
}

#[test]
fn aac_becomes_mp3() {
    let (aac, mp3) = (clip(clips::NO_B_FRAMES), tags::of_file(&clips::H264_MP3.file()));
    let before = together(&[both(), line(&aac, VIDEO, 0..1_500), line(&aac, AUDIO, 0..1_500)]);
    let after = together(&[line(&mp3, AUDIO, 1_500..3_900), frames(&aac, VIDEO, 1_500..3_900)]);
    let scene = Scene::new(before, after);
    Scene {
        pmt_versions: 2,
        late_millis: 1_500,
        ..scene
    }
    .play("mp3");
}

#[test]
fn sound_comes_late() {
    let (pictures, sound) = (clip(clips::VIDEO_ONLY), clip(clips::NO_B_FRAMES));
    let before = together(&[metadata(&[("videocodecid", 7.0)]), line(&pictures, VIDEO, 0..2_500)]);
    let after = together(&[
        line(&sound, AUDIO, 2_500..5_500),
        frames(&pictures, VIDEO, 2_500..5_500),
    ]);
    let scene = Scene::new(before, after);
    Scene {
        pmt_versions: 2,
        late_millis: 2_500,
        ..scene
    }
    .play("late sound");
}

#[test]
fn pictures_come_late() {
    let (pictures, sound) = (clip(clips::VIDEO_ONLY), clip(clips::AUDIO_ONLY));
    let before = together(&[metadata(&[("audiocodecid", 10.0)]), line(&sound, AUDIO, 0..2_000)]);
    let after = together(&[
        line(&pictures, VIDEO, 2_000..5_000),
        frames(&sound, AUDIO, 2_000..5_000),
    ]);
    let scene = Scene::new(before, after);
    Scene {
        pmt_versions: 2,
        start: Start::Keyframe,
        ..scene
    }
    .play("late pictures");
}

/// Nobody says that a track has gone: there is no break, and what is left goes on everywhere.
fn falls_silent(kind: u8, name: &str) {
    let all = clip(clips::NO_B_FRAMES);
    let left = if kind == AUDIO { VIDEO } else { AUDIO };
    let before = together(&[both(), line(&all, VIDEO, 0..2_500), line(&all, AUDIO, 0..2_500)]);
    let after = frames(&all, left, 2_500..5_500);
    let dir = support::scratch(name);
    let server = patient(300);
    let mut publisher = Publisher::start(server.rtmp, "live", PACE);
    let head = before.partition_point(|tag| tag.time < HEAD_MILLIS);
    publisher.send(&before[..head]);
    let early = Viewers::join(&server, &dir, "early");
    publisher.restart_clock();
    publisher.send(&before[head..]);
    publisher.send(&after);
    wait_taken(&server, &[&before, &after]);
    publisher.end();
    let sent = tags::recording("sent", &[before, after].concat());
    for Seen { recording: got, .. } in early.finish() {
        same(&sent, &got, WHOLE);
    }
    let counters = server.counters();
    assert_eq!((counters["breaks"], counters["feeds_ended_break"]), (0, 0));
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

#[test]
fn sound_stops() {
    falls_silent(AUDIO, "silent");
}

#[test]
fn pictures_stop() {
    falls_silent(VIDEO, "dark");
}

/// Sound that was announced is waited for 2 s of media, by viewers of every output, and no longer.
#[test]
fn sound_announced_never_comes() {
    let dir = support::scratch("announced");
    let server = patient(300);
    let pictures = clip(clips::VIDEO_ONLY);
    let sent = together(&[both(), line(&pictures, VIDEO, 0..5_000)]);
    let waited = sent.partition_point(|tag| tag.time < 2_400);
    let mut publisher = Publisher::start(server.rtmp, "live", PACE);
    // All ask before there is a stream; nothing is sent behind 2.4 s until the last one is answered.
    let viewers = Viewers::join_asking(&server, &dir, "live", |_| publisher.send(&sent[..waited]));
    publisher.restart_clock();
    publisher.send(&sent[waited..]);
    publisher.end();
    let sent = tags::recording("sent", &sent);
    for Seen { recording: got, .. } in viewers.finish() {
        same(&sent, &got, JOINED);
    }
    assert_eq!(server.counters()["breaks"], 0);
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// A publisher whose clock is set: from 20 s to `to_millis`.
fn jumps(source: Clip, to_millis: i64, name: &str) {
    const FROM_MILLIS: i64 = 20_000;
    let all = clip(source);
    let before = together(&[both(), line(&all, VIDEO, 0..2_000), line(&all, AUDIO, 0..2_000)]);
    let after = together(&[frames(&all, VIDEO, 2_000..5_000), frames(&all, AUDIO, 2_000..5_000)]);
    let scene = Scene::new(shifted(&before, FROM_MILLIS), shifted(&after, to_millis - 2_000));
    Scene {
        mp4_ends: false,
        jumps: true,
        ..scene
    }
    .play(name);
}

#[test]
fn time_jumps_forward_12_seconds() {
    jumps(clips::NO_B_FRAMES, 34_000, "forward");
}

#[test]
fn time_jumps_forward_an_hour() {
    jumps(clips::B_FRAMES, 3_622_000, "hour");
}

#[test]
fn time_jumps_back_10_seconds() {
    jumps(clips::NO_B_FRAMES, 12_000, "back");
}

#[test]
fn time_jumps_back_to_zero() {
    jumps(clips::B_FRAMES, 0, "zero");
}

/// Nobody watches the break, nothing is muxed for it, and whoever comes later has the new configuration.
#[test]
fn nobody_watches_the_break() {
    let dir = support::scratch("nobody");
    let server = patient(300);
    let (large, small) = (clip(clips::NO_B_FRAMES), clip(clips::SMALL));
    let before = together(&[both(), line(&large, VIDEO, 0..2_000), line(&large, AUDIO, 0..2_000)]);
    let after = together(&[line(&small, VIDEO, 2_000..5_000), frames(&large, AUDIO, 2_000..5_000)]);
    let scene = Scene::new(before, after);
    let late_from = scene.after.partition_point(|tag| tag.time < 3_000);
    let mut publisher = Publisher::start(server.rtmp, "live", 100);
    publisher.send(&scene.before);
    publisher.send(&scene.after[..late_from]);
    wait_taken(&server, &[&scene.before, &scene.after[..late_from]]);
    assert_eq!(server.counters()["frames_muxed"], 0);
    let late = Viewers::join(&server, &dir, "late");
    publisher.send(&scene.after[late_from..]);
    publisher.end();
    for seen in late.finish() {
        scene.check_late(&seen);
    }
    let counters = server.counters();
    assert_eq!((counters["breaks"], counters["feeds_ended_break"]), (1, 0));
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// Another size with every GOP. One viewer of each output sees all of it; a MP4 for each size is ended with it.
#[test]
fn another_size_with_every_gop() {
    const GOPS: u32 = 8;
    let dir = support::scratch("flapping");
    let server = patient(300);
    let sources = [clip(clips::VIDEO_ONLY), clip(clips::SMALL)];
    let gop = |number: u32| {
        let line = line(&sources[number as usize % 2], VIDEO, 0..GOP_MILLIS);
        shifted(&line, i64::from(number * GOP_MILLIS))
    };
    let mut sent = metadata(&[("videocodecid", 7.0)]);
    let mut publisher = Publisher::start(server.rtmp, "live", PACE);
    let mut early = None;
    let mut movies = Vec::new();
    for number in 0..GOPS {
        let gop = gop(number);
        let (head, rest) = gop.split_at(gop.len() / 2);
        publisher.restart_clock();
        if number == 0 {
            publisher.send(&sent);
        }
        publisher.send(head);
        sent.extend_from_slice(head);
        wait_taken(&server, &[&sent]);
        early.get_or_insert_with(|| Viewers::join(&server, &dir, "early"));
        let file = dir.join(format!("{number}.mp4"));
        let movie = Recorder::start(server.http, "/live.mp4", &file);
        assert_eq!(movie.answer().status, 200);
        movies.push((movie, gop.clone()));
        publisher.send(rest);
        sent.extend_from_slice(rest);
    }
    publisher.end();
    let whole = tags::recording("sent", &sent);
    let first = tags::recording("first", &movies[0].1);
    for Seen {
        output, recording: got, ..
    } in early.expect("the first GOP has viewers").finish()
    {
        same(if output == Output::Mp4 { &first } else { &whole }, &got, WHOLE);
    }
    for (movie, gop) in movies {
        let file = movie.path.clone();
        movie.finish();
        support::strict::assert_strict(&file);
        same(&tags::recording("sent", &gop), &read(&file), WHOLE);
    }
    let counters = server.counters();
    assert_eq!(counters["breaks"], u64::from(GOPS) - 1);
    assert_eq!(counters["feeds_ended_break"], u64::from(GOPS) - 1);
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// Headers that come and are taken back in the middle of a GOP, no frame between them; and headers that say nothing new.
#[test]
fn headers_flap_without_a_frame() {
    let (large, small) = (clip(clips::NO_B_FRAMES), clip(clips::SMALL));
    let before = together(&[both(), line(&large, VIDEO, 0..2_500), line(&large, AUDIO, 0..2_500)]);
    let flapping = [
        header(&small, VIDEO, 2_500),
        header(&large, VIDEO, 2_500),
        header(&large, AUDIO, 2_500),
        header(&large, VIDEO, 2_500),
    ];
    let rest = [frames(&large, VIDEO, 2_500..5_500), frames(&large, AUDIO, 2_500..5_500)];
    let scene = Scene::new(before, together(&[flapping.concat(), together(&rest)]));
    Scene {
        breaks: 2,
        late_millis: 2_500,
        ..scene
    }
    .play("headers");
}

/// Not back within its grace: viewers are ended cleanly, and who comes then has the new stream alone.
#[test]
fn back_after_its_grace() {
    let dir = support::scratch("after grace");
    let server = patient(300);
    let (large, small) = (clip(clips::NO_B_FRAMES), clip(clips::SMALL));
    for (round, all) in [large, small].iter().enumerate() {
        let sent = together(&[both(), line(all, VIDEO, 0..3_000), line(all, AUDIO, 0..3_000)]);
        let head = sent.partition_point(|tag| tag.time < HEAD_MILLIS);
        let mut publisher = Publisher::start(server.rtmp, "live", PACE);
        publisher.send(&sent[..head]);
        let viewers = Viewers::join(&server, &dir, &format!("round-{round}"));
        publisher.restart_clock();
        publisher.send(&sent[head..]);
        publisher.vanish();
        let whole = tags::recording("sent", &sent);
        for Seen {
            output, recording: got, ..
        } in viewers.finish()
        {
            same(&whole, &got, WHOLE);
            let first = got
                .tracks
                .iter()
                .flat_map(|track| &track.frames)
                .map(|frame| frame.dts_nanos)
                .min();
            let begins_at = first.expect("compared above") / 1_000_000;
            // Decode times of TS are half a second ahead of its clock.
            let expected = if output == Output::Ts { 500..=501 } else { 0..=1 };
            assert!(expected.contains(&begins_at), "{}: begins at {begins_at} ms", got.name);
        }
        server.wait_counters("the stream's end", PATIENCE, |counters| counters["streams"] == 0);
        assert_eq!(wire::ask(server.http, "GET", "/live.flv", &[]).status, 404);
    }
    let counters = server.counters();
    assert_eq!((counters["breaks"], counters["feeds_ended_break"]), (0, 0));
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// GOPs of pictures, one after the other for as long as wanted.
fn long_pictures(seconds: u32) -> Vec<Tag> {
    let gop = frames(&clip(clips::VIDEO_ONLY), VIDEO, 0..GOP_MILLIS);
    let rounds = (0..seconds * 1_000 / GOP_MILLIS).map(|round| shifted(&gop, i64::from(round * GOP_MILLIS)));
    [
        header(&clip(clips::VIDEO_ONLY), VIDEO, 0),
        rounds.collect::<Vec<_>>().concat(),
    ]
    .concat()
}

/// Sound that has gone for long is off the stream for who comes then, and on it again when it is back. MP4 is ended by both.
#[test]
fn sound_stops_for_long_and_comes_back() {
    let dir = support::scratch("microphone");
    let server = patient(300);
    let (pictures, sound) = (long_pictures(20), clip(clips::NO_B_FRAMES));
    let again = shifted(&frames(&sound, AUDIO, 2_000..5_000), 15_000);
    let all = together(&[both(), pictures, line(&sound, AUDIO, 0..2_000), again]);
    // Twelve seconds behind its last frame, at the next keyframe.
    let gone = all.partition_point(|tag| tag.time < 14_000);
    let back = gone + all[gone..].iter().take_while(|tag| tag.kind == VIDEO).count();
    let (head, late) = (
        all.partition_point(|tag| tag.time < HEAD_MILLIS),
        all.partition_point(|tag| tag.time < 15_000),
    );
    let mut publisher = Publisher::start(server.rtmp, "live", PACE);
    publisher.send(&all[..head]);
    let early = Viewers::join(&server, &dir, "early");
    publisher.restart_clock();
    publisher.send(&all[head..late]);
    wait_taken(&server, &[&all[..late]]);
    let counters = server.counters();
    assert_eq!((counters["tracks_rested"], counters["breaks"]), (1, 1));
    let silent = Viewers::join(&server, &dir, "silent");
    publisher.restart_clock();
    publisher.send(&all[late..]);
    publisher.end();
    let whole = tags::recording("sent", &all);
    let part = |span: Range<usize>| {
        let mut part = tags::recording("part", &all[..span.end]);
        drop_frames(&mut part, &tags::recording("before", &all[..span.start]));
        part
    };
    for seen in early.finish() {
        if seen.output == Output::Mp4 {
            same(&part(0..gone), &seen.recording, CONVERTED);
        } else {
            same(&whole, &seen.recording, CONVERTED);
        }
        if seen.output == Output::Ts {
            assert_eq!(pmt_versions(&seen.file), [0, 1, 2]);
        }
    }
    for seen in silent.finish() {
        let sent = if seen.output == Output::Mp4 {
            part(gone..back)
        } else {
            part(gone..all.len())
        };
        compare_tracks(&sent, &seen.recording, CONVERTED);
    }
    let counters = server.counters();
    assert_eq!((counters["breaks"], counters["feeds_ended_break"]), (2, 2));
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// Without pictures there is no keyframe to begin at: who comes when they have gone for long begins with the sound.
#[test]
fn pictures_stop_for_long() {
    let dir = support::scratch("camera");
    let server = patient(300);
    let (pictures, sound) = (clip(clips::VIDEO_ONLY), clip(clips::LONG_GOP));
    // The last picture is of 1,960 ms; the sound goes on from its first round into a second, which begins where it ends.
    let round = line(&sound, AUDIO, 0..12_000);
    let second = shifted(&frames(&sound, AUDIO, 0..6_000), 11_925);
    let all = together(&[both(), line(&pictures, VIDEO, 0..2_000), round, second]);
    let (head, late) = (
        all.partition_point(|tag| tag.time < HEAD_MILLIS),
        all.partition_point(|tag| tag.time < 16_000),
    );
    let mut publisher = Publisher::start(server.rtmp, "live", PACE);
    publisher.send(&all[..head]);
    let early = Viewers::join(&server, &dir, "early");
    publisher.restart_clock();
    publisher.send(&all[head..late]);
    wait_taken(&server, &[&all[..late]]);
    let dark = Viewers::join(&server, &dir, "dark");
    publisher.restart_clock();
    publisher.send(&all[late..]);
    publisher.end();
    let whole = tags::recording("sent", &all);
    for seen in early.finish() {
        let end = if seen.output == Output::Mp4 {
            compare::End::Anywhere
        } else {
            compare::End::Last
        };
        same(&whole, &seen.recording, Rules { end, ..CONVERTED });
    }
    let first_round = frames(&sound, AUDIO, 0..12_000).len();
    for seen in dark.finish() {
        // Sound of the first round comes again in the second: whom it is looked for in must not have it twice.
        let mut heard = only(&whole, 1);
        heard.tracks[0].frames.drain(..first_round);
        same(
            &heard,
            &seen.recording,
            Rules {
                start: Start::Keyframe,
                ..CONVERTED
            },
        );
        let missed = heard.tracks[0].frames.len() - seen.recording.tracks[0].frames.len();
        assert!(
            missed > 100,
            "{}: begins {missed} frames behind the second round's start",
            seen.recording.name
        );
    }
    let counters = server.counters();
    assert_eq!((counters["tracks_rested"], counters["feeds_ended_break"]), (1, 1));
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}
