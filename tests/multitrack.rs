//! Publishers of several tracks of a kind (enhanced RTMP v2): every track is taken in, viewers get the first picture and
//! the first sound, and nothing of another track among them.

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::audience::{ALL, Audience, Seen};
use support::clips::{self, Clip};
use support::compare::JOINED;
use support::flv::{AUDIO, SCRIPT, Tag, VIDEO};
use support::multitrack::{self, Part};
use support::process::Process;
use support::rtmp::Publisher;
use support::server::{self, Server};
use support::{normal, players, tags};

/// Times faster than its clock.
const PACE: u32 = 4;
/// Media sent before the viewers come, less than a GOP: they miss nothing.
const HEAD_MILLIS: u32 = 1_000;
/// Media of each publisher: into the second GOP.
const PART_MILLIS: u32 = 3_000;

fn of_clip(clip: Clip) -> Vec<Tag> {
    clip.part(PART_MILLIS)
}

fn parts(tags: &[Tag], kind: u8) -> Vec<Part> {
    tags.iter().filter(|tag| tag.kind == kind).map(Part::of).collect()
}

/// The tracks of a publisher, each a header and its frames; all of a kind have their frames at the same times.
struct Tracks {
    /// What the viewers must see.
    main: Vec<Tag>,
    video: [Vec<Part>; 2],
    audio: [Vec<Part>; 2],
}

impl Tracks {
    /// Two sizes of a picture, and a sound with the same sound backwards.
    fn of_one_codec() -> Tracks {
        let main = of_clip(clips::NO_B_FRAMES);
        let video = [parts(&main, VIDEO), parts(&of_clip(clips::SMALL), VIDEO)];
        let audio = parts(&main, AUDIO);
        let backwards = audio[1..].iter().rev().zip(&audio[1..]);
        let mut other = vec![audio[0].clone()];
        other.extend(backwards.map(|(bytes, place)| place.with_payload(bytes)));
        Tracks {
            main,
            video,
            audio: [audio, other],
        }
    }

    /// AVC beside HEVC, AAC beside Opus, whose packets are as many, at the times of the AAC frames.
    fn of_two_codecs() -> Tracks {
        let main = of_clip(clips::NO_B_FRAMES);
        let hevc = parts(&tags::of_file(&clips::HEVC_AAC.file()), VIDEO);
        let opus = parts(&tags::of_file(&clips::AV1_OPUS.file()), AUDIO);
        let (video, audio) = (parts(&main, VIDEO), parts(&main, AUDIO));
        let retimed = |parts: Vec<Part>, times: &[Part]| -> Vec<Part> {
            let pairs = parts.into_iter().zip(times);
            pairs.map(|(part, at)| part.at(at.time)).collect()
        };
        let (hevc, opus) = (retimed(hevc, &video), retimed(opus, &audio));
        assert_eq!((hevc.len(), opus.len()), (video.len(), audio.len()), "enough of both");
        Tracks {
            main,
            video: [video, hevc],
            audio: [audio, opus],
        }
    }

    fn frames(&self) -> u64 {
        let tracks = self.video.iter().chain(&self.audio);
        tracks.flatten().filter(|part| part.is_frame()).count() as u64
    }

    /// Metadata, and each pair of parts as `write` puts it, in the order of their times.
    fn messages(&self, write: impl Fn(&Part, &Part) -> Vec<Tag>) -> Vec<Tag> {
        let mut all: Vec<Tag> = self.main.iter().filter(|tag| tag.kind == SCRIPT).cloned().collect();
        let pairs = [&self.video, &self.audio];
        let mut pairs: Vec<(&Part, &Part)> = pairs
            .into_iter()
            .flat_map(|[first, second]| first.iter().zip(second))
            .collect();
        // Encoders send all headers ahead of the first frame.
        pairs.sort_by_key(|(first, _)| (first.is_frame(), first.time));
        all.extend(pairs.iter().flat_map(|(first, second)| write(first, second)));
        all
    }
}

/// Sends the messages to viewers who are there from the start; gives the server, for its counters, once all has ended.
fn watched(sent: &[Tag], main: &[Tag]) -> Server {
    let (server, seen) = watch(sent);
    seen.assert_saw(main);
    server
}

/// The same, with what the viewers saw.
fn watch(sent: &[Tag]) -> (Server, Seen) {
    let server = Server::start(&server::config(2));
    let mut publisher = Publisher::start(server.rtmp, "live", PACE);
    let head = sent.partition_point(|tag| tag.time < HEAD_MILLIS);
    publisher.send(&sent[..head]);
    let audience = Audience::join(&server, "live", &ALL);
    publisher.restart_clock();
    publisher.send(&sent[head..]);
    publisher.end();
    (server, audience.finish())
}

fn assert_counted(server: &Server, frames: u64, breaks: u64) {
    let counters = server.counters();
    assert_eq!(counters["frames_in"], frames, "frames of every track reach the ring");
    assert_eq!(counters["breaks"], breaks);
    assert_eq!(counters["bad_messages"], 0);
}

/// Each body of one track, with its number. OBS leaves number 0 away: see encoders.rs.
#[test]
fn one_track() {
    let tracks = Tracks::of_one_codec();
    let sent = tracks.messages(|first, second| vec![multitrack::one_track(0, first), multitrack::one_track(1, second)]);
    assert_counted(&watched(&sent, &tracks.main), tracks.frames(), 0);
}

#[test]
fn many_tracks() {
    let tracks = Tracks::of_one_codec();
    let sent = tracks.messages(|first, second| vec![multitrack::many_tracks(&[first, second])]);
    assert_counted(&watched(&sent, &tracks.main), tracks.frames(), 0);
}

#[test]
fn many_tracks_many_codecs() {
    let tracks = Tracks::of_two_codecs();
    let sent = tracks.messages(|first, second| vec![multitrack::many_codecs(&[first, second])]);
    assert_counted(&watched(&sent, &tracks.main), tracks.frames(), 0);
}

/// Tracks that come in the middle of the stream are a break each, and nobody who watches the others notices.
#[test]
fn tracks_that_come_later() {
    const LATER_MILLIS: u32 = 1_500;
    let mut tracks = Tracks::of_one_codec();
    for second in [&mut tracks.video[1], &mut tracks.audio[1]] {
        let header = second[0].at(LATER_MILLIS);
        second.retain(|part| part.time >= LATER_MILLIS);
        second.insert(0, header);
    }
    let mut sent = tracks.main.clone();
    let later = tracks.video[1].iter().chain(&tracks.audio[1]);
    sent.extend(later.map(|part| multitrack::one_track(1, part)));
    sent.sort_by_key(|tag| tag.time);
    assert_counted(&watched(&sent, &tracks.main), tracks.frames(), 2);
}

/// 60 pictures a second stand between milliseconds: with nanoseconds beside them every output that counts finer is
/// exact.
#[test]
fn nanoseconds_beside_milliseconds() {
    let main = of_clip(clips::FAST);
    let mut picture = 0_u64;
    let mut sent = Vec::new();
    for tag in &main {
        if tag.kind != VIDEO || !Part::of(tag).is_frame() {
            sent.push(tag.clone());
            continue;
        }
        let nanos = picture * 1_000_000_000 / 60;
        picture += 1;
        let part = Part::of(tag).at((nanos / 1_000_000) as u32);
        sent.push(multitrack::later((nanos % 1_000_000) as u32, &part));
    }
    assert!(picture > 100, "{picture} pictures");
    let (server, seen) = watch(&sent);
    for (kind, recording) in seen.recordings() {
        let video = &recording.tracks[0];
        assert_eq!(video.frames.len() as u64, picture, "{kind}");
        // A tick of 90 kHz, or half a millisecond to either side where the container has no more.
        let apart_max = if kind == "ts" || kind == "mp4" {
            12_000
        } else {
            1_000_000
        };
        let zero = video.frames[0].pts_nanos;
        for (nth, frame) in video.frames.iter().enumerate() {
            let wanted = nth as i64 * 1_000_000_000 / 60;
            let apart = (frame.pts_nanos - zero - wanted).abs();
            assert!(apart <= apart_max, "{kind}: picture {nth} is {apart} ns off");
        }
    }
    seen.discard();
    assert_counted(&server, frames_of(&main), 0);
}

fn frames_of(tags: &[Tag]) -> u64 {
    let media = tags.iter().filter(|tag| tag.kind != SCRIPT);
    media.filter(|tag| Part::of(tag).is_frame()).count() as u64
}

/// ffmpeg 9 pushes two pictures and two sounds at once, its own way.
#[test]
fn ffmpeg_with_two_of_each() {
    let (one, two) = (clips::H264_AC3, clips::HEVC_AAC);
    let server = Server::start(&server::config(2));
    let publisher = push_both(&one.file(), &two.file(), &server.rtmp_url("live/live"));
    server.wait_live("live", Duration::from_secs(10));
    let audience = Audience::join(&server, "live", &ALL);
    publisher.succeed(Duration::from_secs(25));
    audience
        .finish()
        .assert_saw_recording(&normal::read(&one.file()), JOINED);
    let frames = [one.file(), two.file()].into_iter().map(|file| {
        let recording = normal::read(&file);
        recording.tracks.iter().map(|track| track.frames.len()).sum::<usize>()
    });
    assert_counted(&server, frames.sum::<usize>() as u64, 0);
}

fn push_both(one: &Path, two: &Path, url: &str) -> Process {
    let mut command = Command::new(players::newer_ffmpeg());
    command
        .args(["-hide_banner", "-nostats", "-v", "warning", "-re", "-i"])
        .arg(one);
    command.args(["-re", "-i"]).arg(two);
    command.args(["-map", "0:v", "-map", "0:a", "-map", "1:v", "-map", "1:a", "-c", "copy"]);
    command
        .args(["-f", "flv", "-flvflags", "no_duration_filesize"])
        .arg(url);
    Process::start("ffmpeg 9 (publisher of four tracks)", &mut command)
}
