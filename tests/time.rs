//! Stream time where it is awkward: every output has every frame at the time its publisher gave it, whatever the start
//! value and whichever field it wraps in, and whatever the stamps do on the way.
//!
//! The publisher is a script that rewrites the times of a clip. FLV and RTMP are read back as tags, whose 32 bits must be
//! the publisher's; MP4 has 64 bits that must not wrap; TS has 33, which the checker follows.

mod support;

use std::path::PathBuf;
use std::time::Duration;

use penstock_proto::mp4;

use support::clips::{self, Clip};
use support::compare::{self, JOINED, Rules, WHOLE};
use support::flv::{self, AUDIO, Tag, VIDEO};
use support::normal::{self, Kind, Recording};
use support::rtmp::{Player, Publisher};
use support::server::{self, Server};
use support::strict;
use support::tags;
use support::wire::Recorder;

/// Times faster than its clock.
const PACE: u32 = 4;
/// Media sent before the viewers come, less than a GOP: they miss nothing.
const HEAD_MILLIS: u32 = 1_000;
/// What wraps does so here, in the second GOP.
const WRAP_MILLIS: u32 = 2_500;
/// Media sent before the late viewers come.
const LATE_MILLIS: u32 = 3_000;

/// Viewers of every output.
struct Viewers {
    http: Vec<Recorder>,
    player: Player,
    dir: PathBuf,
}

/// What they received.
struct Seen {
    flv: Vec<Tag>,
    rtmp: Vec<Tag>,
    ts: PathBuf,
    mp4: PathBuf,
}

impl Viewers {
    fn join(server: &Server, name: &str) -> Viewers {
        let dir = support::scratch(name);
        let record = |kind: &str| {
            let file = dir.join(format!("live.{kind}"));
            Recorder::start(server.http, &format!("/live.{kind}"), &file)
        };
        let http: Vec<Recorder> = ["flv", "ts", "mp4"].into_iter().map(record).collect();
        for viewer in &http {
            assert_eq!(viewer.answer().status, 200);
        }
        let player = Player::start(server.rtmp, "live");
        Viewers { http, player, dir }
    }

    /// Waits for the clean end of each, and looks for what is wrong in itself.
    fn finish(self) -> Seen {
        for viewer in self.http {
            let file = viewer.path.clone();
            viewer.finish();
            strict::assert_strict(&file);
        }
        let flv = std::fs::read(self.dir.join("live.flv")).expect("recorded above");
        Seen {
            flv: flv::tags(&flv),
            rtmp: self.player.finish(),
            ts: self.dir.join("live.ts"),
            mp4: self.dir.join("live.mp4"),
        }
    }
}

impl Seen {
    /// Each output in the comparer's form.
    fn recordings(&self) -> [Recording; 4] {
        [
            tags::recording("FLV", &self.flv),
            tags::recording("RTMP", &self.rtmp),
            normal::read(&self.ts),
            normal::read(&self.mp4),
        ]
    }

    fn assert_equal(&self, sent: &[Tag], rules: Rules) {
        let sent = tags::recording("sent", sent);
        for got in self.recordings() {
            if let Err(difference) = compare::compare(&sent, &got, rules) {
                panic!("{} is not what was sent: {difference}", got.name);
            }
        }
    }

    /// Requires the publisher's own values, in all the bits that the container has. `sent` is the clip from zero.
    fn assert_values(&self, clip: &[Tag], start: u32) {
        for (name, got) in [("FLV", &self.flv), ("RTMP", &self.rtmp)] {
            for (kind, off_max) in [(VIDEO, 0), (AUDIO, 1)] {
                let (sent, got) = (times(&flv::shifted(clip, start), kind), times(got, kind));
                assert!(!got.is_empty() && got.len() <= sent.len(), "{name}: {}", got.len());
                for (sent, got) in sent[sent.len() - got.len()..].iter().zip(&got) {
                    let off = got.wrapping_sub(*sent).cast_signed();
                    assert!(off.abs() <= off_max, "{name}: {got} where {sent} was sent");
                }
                let steps = got.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]).cast_signed());
                assert!(steps.into_iter().all(|step| step > 0), "{name}: time falls");
            }
        }
        let bytes = std::fs::read(&self.mp4).expect("recorded before");
        let movie = mp4::read(&bytes).expect("it was found to be strict");
        let pictures = &movie.tracks[0].samples;
        // Pictures that are shown before they are decoded are decoded earlier there: what is left is when they are shown.
        let early = clip.iter().any(|tag| tag.is_frame(VIDEO) && tag.composition() < 0);
        let place = |dts: u64, offset: i32| match early {
            true => (dts.wrapping_add_signed(i64::from(offset)), 0),
            false => (dts, offset),
        };
        let sent: Vec<(u64, i32)> = clip
            .iter()
            .filter(|tag| tag.is_frame(VIDEO))
            .map(|tag| place((u64::from(start) + u64::from(tag.time)) * 90, tag.composition() * 90))
            .collect();
        let got: Vec<(u64, i32)> = pictures.iter().map(|sample| place(sample.dts, sample.offset)).collect();
        assert!(sent.ends_with(&got), "MP4: {:?} of {:?}", got.first(), sent.first());
    }
}

fn times(tags: &[Tag], kind: u8) -> Vec<u32> {
    let frames = tags.iter().filter(|tag| tag.is_frame(kind));
    frames.map(|tag| tag.time).collect()
}

fn tags_of(clip: Clip) -> Vec<Tag> {
    flv::tags(&std::fs::read(clip.file()).expect("made by the call"))
}

fn part(tags: &[Tag], millis: u32) -> usize {
    tags.partition_point(|tag| tag.time < millis)
}

fn frames_of(sent: &[Tag]) -> u64 {
    let is_frame = |tag: &&Tag| tag.is_frame(VIDEO) || tag.is_frame(AUDIO);
    sent.iter().filter(is_frame).count() as u64
}

/// Sends all of it to viewers who are there from the start.
fn play(server: &Server, sent: &[Tag]) -> Seen {
    let mut publisher = Publisher::start(server.rtmp, "live", PACE);
    let head = sent.iter().position(|tag| tag.time >= sent[0].time + HEAD_MILLIS);
    let head = head.expect("a clip is longer");
    publisher.send(&sent[..head]);
    let viewers = Viewers::join(server, "all");
    publisher.restart_clock();
    publisher.send(&sent[head..]);
    publisher.end();
    viewers.finish()
}

/// The same frames, at the times at which they are shown; when they are decoded is left open.
fn shown(recording: &Recording) -> Recording {
    let mut shown = recording.clone();
    let frames = shown.tracks.iter_mut().flat_map(|track| &mut track.frames);
    frames.for_each(|frame| frame.dts_nanos = frame.pts_nanos);
    shown
}

/// Requires that the outputs show what the clip shows, when it does.
fn assert_shown(clip: &[Tag], got: &[Recording]) {
    let sent = shown(&tags::recording("clip", clip));
    for got in got {
        if let Err(difference) = compare::compare(&sent, &shown(got), WHOLE) {
            panic!("{} does not show what was sent: {difference}", got.name);
        }
        for track in &got.tracks {
            let rises = |pair: &[normal::Frame]| pair[0].dts_nanos <= pair[1].dts_nanos;
            assert!(track.frames.windows(2).all(rises), "{}: time falls", got.name);
        }
    }
}

/// A clip whose time zero is `start`, for viewers who are there from the start and others who come later.
fn play_from(start: u32) {
    let server = Server::start(&server::config(2));
    let clip = tags_of(clips::B_FRAMES);
    let sent = flv::shifted(&clip, start);
    let (head, late_from) = (part(&clip, HEAD_MILLIS), part(&clip, LATE_MILLIS));
    let mut publisher = Publisher::start(server.rtmp, "live", PACE);
    publisher.send(&sent[..head]);
    let early = Viewers::join(&server, "early");
    publisher.restart_clock();
    publisher.send(&sent[head..late_from]);
    let so_far = frames_of(&sent[..late_from]);
    server.wait_counters("what was sent", Duration::from_secs(10), |counters| {
        counters["frames_in"] == so_far
    });
    let late = Viewers::join(&server, "late");
    publisher.restart_clock();
    publisher.send(&sent[late_from..]);
    publisher.end();
    let (early, late) = (early.finish(), late.finish());
    early.assert_equal(&clip, WHOLE);
    late.assert_equal(&clip, JOINED);
    for seen in [&early, &late] {
        seen.assert_values(&clip, start);
        compare::assert_decodes(&seen.ts);
    }
    let late_pictures = late.flv.iter().filter(|tag| tag.is_frame(VIDEO)).count();
    let pictures = clip.iter().filter(|tag| tag.is_frame(VIDEO)).count();
    assert_eq!(
        late_pictures,
        pictures - 50,
        "late viewers begin at the second keyframe"
    );
    let counters = server.counters();
    assert_eq!((counters["breaks"], counters["bad_messages"]), (0, 0), "{counters:?}");
}

#[test]
fn from_zero() {
    play_from(0);
}

/// From here on the wire has extended timestamps.
#[test]
fn from_2_24() {
    play_from(1 << 24);
}

#[test]
fn through_2_24() {
    play_from((1 << 24) - WRAP_MILLIS);
}

#[test]
fn through_2_31() {
    play_from((1 << 31) - WRAP_MILLIS);
}

#[test]
fn through_2_32() {
    play_from(0_u32.wrapping_sub(WRAP_MILLIS));
}

/// PTS, DTS and PCR have 33 bits of 90 kHz: 26.5 h. PTS and DTS are half a second ahead.
#[test]
fn through_the_33_bits_of_ts() {
    play_from(((1_u64 << 33) / 90) as u32 - WRAP_MILLIS);
}

/// Every picture is shown before its decode time, as some encoders have it that keep decode times at the arrival. FLV and
/// MP4 say so; TS cannot, and sends earlier decode times.
#[test]
fn negative_composition_offsets() {
    let server = Server::start(&server::config(2));
    let mut clip = tags_of(clips::B_FRAMES);
    for tag in clip.iter_mut().filter(|tag| tag.is_frame(VIDEO)) {
        tag.set_composition(tag.composition() - 160);
    }
    assert!(
        clip.iter()
            .filter(|tag| tag.is_frame(VIDEO))
            .all(|tag| tag.composition() <= 0)
    );
    // Of a stream that began before zero, MP4 would have other values.
    let start = 5_000;
    let seen = play(&server, &flv::shifted(&clip, start));
    seen.assert_values(&clip, start);
    // ffmpeg shows a MP4 with negative offsets later than its sound; the values above are what counts.
    let [flv, rtmp, ts, _] = seen.recordings();
    assert_shown(&clip, &[flv, rtmp, ts]);
    compare::assert_decodes(&seen.ts);
    compare::assert_decodes(&seen.mp4);
    assert_eq!(server.counters()["breaks"], 0);
}

/// Pictures with the stamp of the one before, or an earlier one, and sound whose stamps jitter both ways: nothing is lost
/// or swapped, decode times do not fall, and everything is shown when it was to be.
#[test]
fn equal_and_backward_times() {
    let server = Server::start(&server::config(2));
    let clip = tags_of(clips::B_FRAMES);
    let mut sent = clip.clone();
    let (mut pictures, mut sounds, mut last) = (0, 0, 0);
    for tag in &mut sent {
        if tag.is_frame(VIDEO) {
            pictures += 1;
            let late = match pictures % 7 {
                3 => tag.time - last,
                5 => tag.time - last + 15,
                _ => 0,
            };
            last = tag.time;
            tag.time -= late;
            tag.set_composition(tag.composition() + late.cast_signed());
        } else if tag.is_frame(AUDIO) {
            sounds += 1;
            // The first one says where counting begins.
            tag.time = if sounds == 1 {
                tag.time
            } else {
                tag.time + 25 - sounds * 37 % 50
            };
        }
    }
    for kind in [VIDEO, AUDIO] {
        let falls = times(&sent, kind).windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!(falls > 10, "{falls} falls are sent");
    }
    let seen = play(&server, &sent);
    assert_shown(&clip, &seen.recordings());
    assert_eq!(server.counters()["breaks"], 0);
}

/// Sound whose clock is off by 2 %: it stays within 40 ms of its stamps, and so of the picture, in every output.
#[test]
fn drifting_sound() {
    const DRIFT_MILLIS_MAX: u32 = 41;
    let clip = tags_of(clips::B_FRAMES);
    for percent in [98, 102] {
        let server = Server::start(&server::config(2));
        let mut sent = clip.clone();
        for tag in sent.iter_mut().filter(|tag| tag.kind == AUDIO) {
            tag.time = tag.time * percent / 100;
        }
        let seen = play(&server, &sent);
        let stamps = times(&sent, AUDIO);
        for got in [&seen.flv, &seen.rtmp] {
            let got = times(got, AUDIO);
            assert_eq!(stamps.len(), got.len());
            let off = stamps.iter().zip(&got).map(|(stamp, time)| stamp.abs_diff(*time));
            let off = off.max().expect("a clip has sound");
            assert!((20..=DRIFT_MILLIS_MAX).contains(&off), "{percent} %: {off} ms");
            assert_eq!(got, times(&seen.flv, AUDIO));
        }
        // The other outputs have the same times, against the first picture.
        for got in [normal::read(&seen.ts), normal::read(&seen.mp4)] {
            let (pictures, sounds) = (&got.tracks[0].frames, &got.tracks[1].frames);
            assert_eq!(
                (pictures.len(), sounds.len()),
                (times(&sent, VIDEO).len(), stamps.len())
            );
            let zero = pictures[0].dts_nanos - i64::from(times(&seen.flv, VIDEO)[0]) * 1_000_000;
            for (sound, millis) in sounds.iter().zip(times(&seen.flv, AUDIO)) {
                let off = (sound.pts_nanos - zero) / 1000 - i64::from(millis) * 1000;
                assert!((-1_100..1_100).contains(&off), "{}: {off} us at {millis} ms", got.name);
            }
        }
        assert_eq!(server.counters()["breaks"], 0);
    }
}

/// An hour ahead, back again, and to zero: two breaks (back to the time that goes on meanwhile is none), behind each of
/// which every viewer goes on within a picture or two.
#[test]
fn jumps() {
    const HOUR: u32 = 3_600_000;
    let server = Server::start(&server::config(2));
    let clip = tags_of(clips::B_FRAMES);
    let mut sent = flv::shifted(&clip, HOUR);
    // Where pictures can be told apart from what follows: at keyframes, and in the middle of a GOP.
    for (tag, clip) in sent.iter_mut().zip(&clip) {
        tag.time = match clip.time {
            0..2_000 => tag.time,
            2_000..3_000 => tag.time + HOUR,
            3_000..4_000 => tag.time,
            _ => clip.time - 4_000,
        };
    }
    let mut publisher = Publisher::start(server.rtmp, "live", PACE);
    let parts = [
        0,
        part(&clip, HEAD_MILLIS),
        part(&clip, 2_000),
        part(&clip, 3_000),
        part(&clip, 4_000),
        sent.len(),
    ];
    publisher.send(&sent[..parts[1]]);
    let viewers = Viewers::join(&server, "jumps");
    for part in parts[1..].windows(2) {
        publisher.restart_clock();
        publisher.send(&sent[part[0]..part[1]]);
    }
    publisher.end();
    let seen = viewers.finish();
    assert_eq!(server.counters()["breaks"], 2);
    assert_eq!(server.counters()["feeds_ended_break"], 0);
    let whole = tags::recording("clip", &clip);
    for got in seen.recordings() {
        for (sent, got_track) in whole.tracks.iter().zip(&got.tracks) {
            let units =
                |track: &normal::Track| -> Vec<_> { track.frames.iter().map(|frame| frame.units.clone()).collect() };
            assert_eq!(units(sent).len(), units(got_track).len(), "{}", got.name);
            let steps = got_track
                .frames
                .windows(2)
                .map(|pair| (pair[1].dts_nanos - pair[0].dts_nanos) / 1_000_000);
            let steps: Vec<i64> = steps.collect();
            let off = steps.iter().filter(|step| !(1..=42).contains(*step)).count();
            assert!(off <= 3, "{}: {steps:?}", got.name);
            assert!(
                steps.iter().all(|step| (0..=130).contains(step)),
                "{}: {steps:?}",
                got.name
            );
        }
        let end = |kind: Kind| {
            let track = got.tracks.iter().find(|track| track.kind == kind);
            track
                .and_then(|track| track.frames.last())
                .expect("both are there")
                .dts_nanos
        };
        // Sound ends 80 ms behind the pictures, as in the clip, give or take what each was ahead of the other at a jump.
        let apart = (end(Kind::Audio) - end(Kind::Video)) / 1_000_000;
        assert!((0..=250).contains(&apart), "{}: {apart} ms", got.name);
    }
}
