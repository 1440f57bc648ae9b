//! Publishers and their habits, each under the name of the software that has it (client-habits.md 4.1): what viewers of
//! every output see is what was meant.
//!
//! Facts of bytes alone (chunks, AMF0, commands, bodies) are tables beside the code in `proto`. Here is what a viewer
//! would notice.

mod support;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use penstock_proto::tag::amf0::Value;
use serde_json::json;

use support::audience::{ALL, Audience};
use support::clips::{self, Clip};
use support::compare::{self, JOINED, WHOLE};
use support::flv::{AUDIO, SCRIPT, Tag, VIDEO};
use support::librtmp::{self, Obs};
use support::multitrack::{self, Part};
use support::normal::{Kind, Recording};
use support::publish::{Times, gstreamer_push, push};
use support::raw::Raw;
use support::rtmp::Publisher;
use support::server::{self, Server};
use support::wire::{self, PATIENCE};
use support::{process, tags};

/// Times faster than their clock.
const PACE: u32 = 4;
/// Media sent before the viewers come, less than a GOP: they miss nothing.
const HEAD_MILLIS: u32 = 1_000;
/// Media of each publisher: into the second GOP.
const PART_MILLIS: u32 = 3_000;

fn of_clip(clip: Clip) -> Vec<Tag> {
    clip.part(PART_MILLIS)
}

/// Those behind the metadata.
fn media(tags: &[Tag]) -> Vec<Tag> {
    tags.iter().filter(|tag| tag.kind != SCRIPT).cloned().collect()
}

fn script(time: u32, values: &[Value]) -> Tag {
    let mut body = Vec::new();
    for value in values {
        value.emit(&mut body);
    }
    Tag {
        kind: SCRIPT,
        time,
        body,
    }
}

fn object(members: &[(&str, Value)]) -> Value {
    let members = members.iter().map(|(name, value)| (name.to_string(), value.clone()));
    Value::EcmaArray(members.collect())
}

/// Pushes messages with penstock's own client to viewers who are there from the start; `meant` is what they must see.
fn pushed(habit: &[Tag], meant: &[Tag]) {
    let server = Server::start(&server::config(2));
    pushed_to(&server, "live", &ALL, habit).assert_saw(meant);
}

fn pushed_to(server: &Server, name: &str, kinds: &[&str], habit: &[Tag]) -> support::audience::Seen {
    let mut publisher = Publisher::start(server.rtmp, name, PACE);
    let head = habit.partition_point(|tag| tag.time < HEAD_MILLIS);
    publisher.send(&habit[..head]);
    let audience = Audience::join(server, name, kinds);
    publisher.restart_clock();
    publisher.send(&habit[head..]);
    publisher.end();
    audience.finish()
}

/// OBS's dialogue up to the word that it may begin.
fn obs(server: &Server, key: &str) -> (Obs, Raw) {
    let mut obs = Obs::new(&server.rtmp.to_string(), "live", key);
    let mut link = Raw::connect(server.rtmp, &Obs::hello());
    for (say, answer) in [
        (Obs::connect as fn(&mut Obs, &mut Vec<u8>), "_result 1"),
        (Obs::create, "_result 4"),
        (Obs::publish, "NetStream.Publish.Start"),
    ] {
        let mut out = Vec::new();
        say(&mut obs, &mut out);
        link.say(&out);
        link.hear(answer);
    }
    (obs, link)
}

/// Pushes messages as OBS does; gives what it was told.
fn pushed_by_obs(habit: &[Tag], meant: &[Tag]) -> Vec<String> {
    let server = Server::start(&server::config(2));
    let (mut obs, mut link) = obs(&server, "live?token=t");
    let head = habit.partition_point(|tag| tag.time < HEAD_MILLIS);
    link.send(&habit[..head], PACE, |tag, out| obs.tag(tag, out));
    let audience = Audience::join(&server, "live", &ALL);
    link.restart_clock();
    link.send(&habit[head..], PACE, |tag, out| obs.tag(tag, out));
    let mut out = Vec::new();
    obs.end(&mut out);
    link.say(&out);
    link.hear("NetStream.Unpublish.Success");
    let heard = link.close();
    audience.finish().assert_saw(meant);
    assert_eq!(server.counters()["bad_messages"], 0, "OBS sends nothing that is wrong");
    heard
}

#[test]
fn obs_30_with_h264() {
    let meant = of_clip(clips::NO_B_FRAMES);
    let mut habit = vec![librtmp::metadata(7.0, "obs-output module (libobs version 30.2.3)")];
    habit.extend(media(&meant));
    let heard = pushed_by_obs(&habit, &meant);
    let unpublished = heard
        .iter()
        .filter(|code| *code == "NetStream.Unpublish.Success")
        .count();
    assert_eq!(unpublished, 1, "{heard:?}");
}

/// HEVC by its fourCC though none was offered in `connect`, with its HDR description.
#[test]
fn obs_30_with_hevc_in_hdr() {
    let meant = tags::of_file(&clips::HEVC_AAC.file());
    let mut habit = vec![librtmp::metadata(
        f64::from(0x6876_6331),
        "obs-output module (libobs version 30.2.3)",
    )];
    for tag in media(&meant) {
        let is_header = tag.kind == VIDEO && tag.body.starts_with(b"\x90hvc1");
        habit.push(tag);
        if is_header {
            habit.push(librtmp::color(b"hvc1"));
        }
    }
    pushed_by_obs(&habit, &meant);
}

/// A second picture and a VOD sound, each as OneTrack number 1; the first of each is as it always was, and everything
/// ends with its end of sequence.
#[test]
fn obs_31_with_a_second_video_and_a_vod_track() {
    let meant = of_clip(clips::NO_B_FRAMES);
    let second = of_clip(clips::SMALL);
    let mut habit = vec![librtmp::metadata(7.0, "obs-output module (libobs version 31.0.1)")];
    let mut all = media(&meant);
    all.extend(
        media(&second)
            .iter()
            .map(|tag| multitrack::one_track(1, &Part::of(tag))),
    );
    all.sort_by_key(|tag| tag.time);
    habit.extend(all);
    habit.push(Tag {
        kind: VIDEO,
        time: PART_MILLIS,
        body: b"\x96\x02avc1\x01".to_vec(),
    });
    pushed_by_obs(&habit, &meant);
}

/// A second of sound and pictures whose bytes are nobody's: what matters is how they are written.
fn filler(config: &[u8], head: &[u8]) -> Vec<Tag> {
    let tag = |kind, time, head: &[u8], bytes: usize| Tag {
        kind,
        time,
        body: [head, &vec![time as u8; bytes]].concat(),
    };
    let mut tags = vec![tag(AUDIO, 0, b"\xAF\x00\x11\x90", 0), tag(VIDEO, 0, config, 40)];
    for nth in 0..25 {
        // The first does not fit one chunk; two sounds of one size follow each other, so that headers get smaller.
        let bytes = if nth == 0 { 5_000 } else { 300 + nth as usize % 3 };
        let frame_type = if nth == 0 { 0x10 } else { 0x20 };
        let head = [&[head[0] & 0x8F | frame_type], &head[1..]].concat();
        tags.push(tag(VIDEO, 40 * nth, &head, bytes));
        tags.push(tag(AUDIO, 40 * nth + 7, b"\xAF\x01", 120));
        tags.push(tag(AUDIO, 40 * nth + 28, b"\xAF\x01", 120));
    }
    tags
}

/// The dialogues that proto's tests have as whole captures (testdata/README.md) are what this script writes.
#[test]
fn kept_dialogues_of_obs() {
    let hevc = librtmp::metadata(f64::from(0x6876_6331), "obs-output module (libobs version 30.2.3)");
    let mut thirty = vec![hevc];
    thirty.extend(filler(b"\x90hvc1", b"\x93hvc1"));
    thirty.insert(3, librtmp::color(b"hvc1"));
    let mut thirty_one = vec![librtmp::metadata(7.0, "obs-output module (libobs version 31.0.1)")];
    for tag in filler(b"\x17\x00\0\0\0", b"\x17\x01\0\0\0") {
        let second = multitrack::one_track(1, &Part::of(&tag));
        thirty_one.extend([tag, second]);
    }
    let mut stale = Vec::new();
    for (name, messages) in [("obs-30-publish.bin", thirty), ("obs-31-publish.bin", thirty_one)] {
        let mut obs = Obs::new("127.0.0.1:1935", "live", "cam?k=v");
        let mut bytes = Obs::hello();
        // C2 is what the server's S1 was; nobody looks.
        bytes.extend_from_slice(&[0xC2; 1536]);
        obs.connect(&mut bytes);
        obs.create(&mut bytes);
        obs.publish(&mut bytes);
        for tag in &messages {
            obs.tag(tag, &mut bytes);
        }
        obs.end(&mut bytes);
        let kept = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("proto/src/rtmp/testdata")
            .join(name);
        if std::fs::read(&kept).ok().as_ref() != Some(&bytes) {
            let fresh = support::artifacts().join(name);
            std::fs::write(&fresh, &bytes).expect("the target directory can be written");
            stale.push(format!("{} is not {}", kept.display(), fresh.display()));
        }
    }
    assert!(stale.is_empty(), "the script writes other bytes: {stale:?}");
}

/// It would reconnect for ever if it were told to begin and sent away afterwards.
#[test]
fn obs_that_is_refused_is_not_told_to_begin_first() {
    let streams = json!({"live": {"source": "push://@secret", "grace": 300}});
    let server = Server::start(&server::config_with(2, streams));
    let mut obs = Obs::new(&server.rtmp.to_string(), "wrong", "live");
    let mut link = Raw::connect(server.rtmp, &Obs::hello());
    let mut out = Vec::new();
    obs.connect(&mut out);
    obs.create(&mut out);
    link.say(&out);
    link.hear("_result 4");
    // It sends media at once behind its question, when it is in a hurry.
    out.clear();
    obs.publish(&mut out);
    for tag in of_clip(clips::NO_B_FRAMES).iter().take(10) {
        obs.tag(tag, &mut out);
    }
    link.say(&out);
    let heard = link.closed();
    assert_eq!(
        heard.last().map(String::as_str),
        Some("NetStream.Publish.Unauthorized"),
        "{heard:?}"
    );
    assert!(!heard.iter().any(|code| code == "NetStream.Publish.Start"), "{heard:?}");
    assert_eq!(wire::ask(server.http, "GET", "/live.flv", &[]).status, 404);
}

/// `rtmp://host/live`, as some write it who were told one name: it is the stream's.
#[test]
fn one_level_of_path() {
    let meant = of_clip(clips::NO_B_FRAMES);
    let server = Server::start(&server::config(2));
    let (mut obs, mut link) = obs(&server, "");
    let head = meant.partition_point(|tag| tag.time < HEAD_MILLIS);
    link.send(&meant[..head], PACE, |tag, out| obs.tag(tag, out));
    let audience = Audience::join(&server, "live", &["flv"]);
    link.send(&meant[head..], PACE, |tag, out| obs.tag(tag, out));
    link.close();
    audience.finish().assert_saw(&meant);
}

/// An enhanced HEVC body with the head from before: codec number and AVC's packet types.
fn legacy_hevc(tag: &Tag, number: u8) -> Tag {
    if tag.kind != VIDEO {
        return tag.clone();
    }
    let frame_type = tag.body[0] & 0x70;
    let head = match tag.body[0] & 0x0F {
        0 => vec![0, 0, 0, 0],
        1 => [&[1], &tag.body[5..8]].concat(),
        _ => vec![1, 0, 0, 0],
    };
    let data = if tag.body[0] & 0x0F == 1 { 8 } else { 5 };
    Tag {
        body: [&[frame_type | number], &head[..], &tag.body[data..]].concat(),
        ..tag.clone()
    }
}

/// HEVC under AVC's number, and metadata that say AVC: the record decides.
#[test]
fn obs_before_29_1_with_hevc() {
    let meant = tags::of_file(&clips::HEVC_AAC.file());
    let mut habit = vec![librtmp::metadata(7.0, "obs-output module (libobs version 28.1.2)")];
    habit.extend(media(&meant).iter().map(|tag| legacy_hevc(tag, 7)));
    pushed(&habit, &meant);
}

/// HEVC as codec 12, by agreement among Chinese encoders and CDNs.
#[test]
fn chinese_encoders_with_hevc() {
    let meant = tags::of_file(&clips::HEVC_AAC.file());
    let codecs = object(&[("videocodecid", 12.0.into()), ("audiocodecid", 10.0.into())]);
    let mut habit = vec![script(0, &["onMetaData".into(), codecs])];
    habit.extend(media(&meant).iter().map(|tag| legacy_hevc(tag, 12)));
    pushed(&habit, &meant);
}

/// ffmpeg passes a file's timecode track on as four bytes of script data, which are no AMF.
#[test]
fn ffmpeg_with_a_timecode_track() {
    let clip = clips::NO_B_FRAMES;
    let dir = support::scratch("timecode");
    let file = dir.join("timecode.mov");
    let mut command = Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-v", "error", "-y", "-i"])
        .arg(clip.file());
    command
        .args(["-c", "copy", "-t", "4", "-timecode", "01:00:00:00"])
        .arg(&file);
    process::run("ffmpeg (adding a timecode)", &mut command, Duration::from_secs(20));
    let server = Server::start(&server::config(2));
    let publisher = push(&file, &server.rtmp_url("live/live"), Times::Once);
    server.wait_live("live", PATIENCE);
    let audience = Audience::join(&server, "live", &ALL);
    publisher.succeed(Duration::from_secs(25));
    audience
        .finish()
        .assert_saw_recording(&support::normal::read(&file), JOINED);
    assert_eq!(
        server.counters()["bad_messages"],
        1,
        "the timecode is counted and skipped"
    );
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// Whether the extended timestamp stands on the chunks that continue a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Continued {
    Stamped,
    Bare,
}

/// One message in chunks of 128 bytes, each message with its absolute time.
fn chunks(tag: &Tag, continued: Continued, out: &mut Vec<u8>) {
    const CHANNEL: u8 = 6;
    out.push(CHANNEL);
    let is_extended = tag.time >= 0x00FF_FFFF;
    out.extend_from_slice(&tag.time.min(0x00FF_FFFF).to_be_bytes()[1..]);
    out.extend_from_slice(&(tag.body.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[tag.kind, 1, 0, 0, 0]);
    for (nth, part) in tag.body.chunks(128).enumerate() {
        if nth > 0 {
            out.push(0xC0 | CHANNEL);
        }
        if is_extended && (nth == 0 || continued == Continued::Stamped) {
            out.extend_from_slice(&tag.time.to_be_bytes());
        }
        out.extend_from_slice(part);
    }
}

/// A publisher that has been on air for 4.7 h: its times pass 24 bits in the middle.
fn beyond_24_bits(continued: Continued) {
    let mut meant = of_clip(clips::NO_B_FRAMES);
    for tag in &mut meant {
        // Metadata and headers keep their zero, as encoders have it.
        if tag.time > 0 || tag.is_frame(VIDEO) {
            tag.time += 0x00FF_FFFF - 1_500;
        }
    }
    let server = Server::start(&server::config(2));
    let (_, mut link) = obs(&server, "live");
    // OBS's own size ends here.
    link.say(&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 128]);
    let head = meant.partition_point(|tag| tag.time < 0x00FF_FFFF - 1_500 + HEAD_MILLIS);
    let first = meant
        .iter()
        .position(|tag| tag.is_frame(VIDEO))
        .expect("the clip has pictures");
    link.send(&meant[..first], PACE, |tag, out| chunks(tag, continued, out));
    link.restart_clock();
    link.send(&meant[first..head], PACE, |tag, out| chunks(tag, continued, out));
    let audience = Audience::join(&server, "live", &ALL);
    link.restart_clock();
    link.send(&meant[head..], PACE, |tag, out| chunks(tag, continued, out));
    link.close();
    audience.finish().assert_saw(&meant);
}

#[test]
fn fmle_stamps_every_chunk() {
    beyond_24_bits(Continued::Stamped);
}

#[test]
fn others_stamp_the_first_chunk_only() {
    beyond_24_bits(Continued::Bare);
}

/// Metadata without tracks, empty NAL units, a last NAL unit whose length says more than there is, and another video
/// configuration in the middle.
#[test]
fn dji() {
    let (first, second) = (of_clip(clips::NO_B_FRAMES), of_clip(clips::SMALL));
    let mut meant = first.clone();
    let shifted = second.iter().filter(|tag| tag.kind == VIDEO).map(|tag| Tag {
        time: tag.time + PART_MILLIS,
        ..tag.clone()
    });
    meant.extend(shifted);
    let mut habit = vec![script(0, &["onMetaData".into(), object(&[("encoder", "DJI".into())])])];
    for (nth, tag) in media(&meant).into_iter().enumerate() {
        let mut tag = tag;
        if tag.is_frame(VIDEO) {
            match nth % 3 {
                0 => drop(tag.body.splice(5..5, [0; 4])),
                1 => tag.body.extend_from_slice(&[0; 8]),
                _ => tag.body.extend_from_slice(&[0, 0, 1, 0]),
            }
        }
        habit.push(tag);
    }
    let server = Server::start(&server::config(2));
    let seen = pushed_to(&server, "live", &ALL, &habit);
    let all = tags::recording("sent", &meant);
    for (kind, got) in seen.recordings() {
        let mut wanted = all.clone();
        if kind == "mp4" {
            // An MP4 ends in good manners where its header no longer holds.
            let before = tags::recording("sent", &first);
            wanted.tracks[0].frames.truncate(before.tracks[0].frames.len());
        }
        if let Err(difference) = compare::compare(&wanted, &got, WHOLE) {
            panic!("{kind}: {difference}");
        }
    }
    seen.discard();
    let counters = server.counters();
    assert_eq!((counters["bad_messages"], counters["breaks"]), (0, 1));
}

/// No metadata at all, an AAC configuration without a byte before the real one, sound before either, and control
/// messages on chunk streams that are not theirs.
#[test]
fn some_encoders_with_an_empty_configuration() {
    let meant = media(&of_clip(clips::NO_B_FRAMES));
    let server = Server::start(&server::config(2));
    let (mut obs, mut link) = obs(&server, "live");
    let empty = Tag {
        kind: AUDIO,
        time: 0,
        body: b"\xAF\x00".to_vec(),
    };
    let early = meant
        .iter()
        .find(|tag| tag.is_frame(AUDIO))
        .expect("the clip has sound");
    let early = Tag {
        time: 0,
        ..early.clone()
    };
    for tag in [empty, early] {
        let mut out = Vec::new();
        obs.tag(&tag, &mut out);
        link.say(&out);
    }
    // Window, chunk size (again the one in force), acknowledgement and a ping, on 3, 5, 64 and 65,599.
    let (window, ping) = (2_500_000_u32.to_be_bytes(), [0, 6, 0, 0, 0, 9]);
    for (head, kind, body) in [
        (&[3][..], 5, &window[..]),
        (&[5], 1, &4096_u32.to_be_bytes()),
        (&[0, 0], 3, &window),
        (&[1, 0xFF, 0xFF], 4, &ping),
    ] {
        let header = [0, 0, 0, 0, 0, body.len() as u8, kind, 0, 0, 0, 0];
        link.say(&[head, &header, body].concat());
    }
    let head = meant.partition_point(|tag| tag.time < HEAD_MILLIS);
    link.send(&meant[..head], PACE, |tag, out| obs.tag(tag, out));
    let audience = Audience::join(&server, "live", &ALL);
    link.send(&meant[head..], PACE, |tag, out| obs.tag(tag, out));
    link.close();
    audience.finish().assert_saw(&meant);
    let frames = meant
        .iter()
        .filter(|tag| tag.is_frame(AUDIO) || tag.is_frame(VIDEO))
        .count();
    let counters = server.counters();
    // The sound that came too early is in no track, and nothing was made of the empty configuration.
    assert_eq!((counters["frames_in"], counters["breaks"]), (frames as u64, 0));
}

/// Pictures are to be shown up to 120 ms before they are decoded. What can be said is said (FLV, RTMP); where a stamp
/// must not be below the other, all are shown as far apart as they were, and decode times rise.
#[test]
fn wirecast_with_negative_offsets() {
    let mut sent = of_clip(clips::B_FRAMES);
    for tag in sent.iter_mut().filter(|tag| tag.is_frame(VIDEO)) {
        let offset = i32::from_be_bytes([tag.body[2], tag.body[3], tag.body[4], 0]) >> 8;
        tag.body[2..5].copy_from_slice(&(offset - 120).to_be_bytes()[1..]);
    }
    let server = Server::start(&server::config(2));
    let seen = pushed_to(&server, "live", &ALL, &sent);
    let sent = tags::recording("sent", &sent);
    let negative = sent.tracks[0]
        .frames
        .iter()
        .filter(|frame| frame.pts_nanos < frame.dts_nanos);
    assert!(negative.count() > 40, "the offsets are negative");
    for (kind, got) in seen.recordings() {
        let (mut wanted, mut got) = (sent.clone(), got);
        let is_as_it_came = kind == "flv" || kind == "rtmp";
        if !is_as_it_came {
            let video = &got.tracks[0].frames;
            assert!(video.iter().all(|frame| frame.pts_nanos >= frame.dts_nanos), "{kind}");
            assert!(
                video.windows(2).all(|two| two[0].dts_nanos < two[1].dts_nanos),
                "{kind}"
            );
            shown_only(&mut wanted);
            shown_only(&mut got);
        }
        if let Err(difference) = compare::compare(&wanted, &got, WHOLE) {
            panic!("{kind}: {difference}");
        }
    }
    seen.discard();
}

/// Leaves the comparer the times at which pictures are shown.
fn shown_only(recording: &mut Recording) {
    for track in recording.tracks.iter_mut().filter(|track| track.kind == Kind::Video) {
        for frame in &mut track.frames {
            frame.dts_nanos = frame.pts_nanos;
        }
    }
}

/// Metadata in every dress that is about; the tracks come from the media.
#[test]
fn metadata_in_odd_dress() {
    let clean = of_clip(clips::NO_B_FRAMES);
    let size = || vec![("width", 640.0.into()), ("height", 360.0.into())];
    let with = |more: Vec<(&'static str, Value)>| object(&[size(), more].concat());
    let codecs = || vec![("videocodecid", 7.0.into()), ("audiocodecid", 10.0.into())];
    let full = with(codecs());
    let long = Value::String("x".repeat(70_000));
    let odd = vec![
        ("videocodecid", "avc1".into()),
        ("audiocodecid", Value::Null),
        ("framerate", "25".into()),
        (
            "list",
            Value::StrictArray(vec![1.0.into(), Value::Undefined, "two".into()]),
        ),
        (
            "when",
            Value::Date {
                millis: 1.6e12,
                zone: 0,
            },
        ),
        ("note", long),
        (
            "typed",
            Value::Typed {
                class: "C".into(),
                members: vec![],
            },
        ),
    ];
    let type_15 = |values: &[Value]| Tag {
        body: [&[0][..], &script(0, values).body].concat(),
        ..script(0, &[])
    };
    let cases: Vec<(&str, Vec<Tag>)> = vec![
        (
            "dahua",
            vec![script(
                0,
                &["onMetaData".into(), with(vec![("audiocodecid", 10.0.into())])],
            )],
        ),
        (
            "uniview",
            vec![script(
                0,
                &[0.0.into(), "@setDataFrame".into(), "onMetaData".into(), full.clone()],
            )],
        ),
        ("bare", vec![script(0, &["onMetaData".into(), full.clone()])]),
        ("amf3", vec![type_15(&["onMetaData".into(), full.clone()])]),
        (
            "xsplit",
            vec![script(0, &["@setDataFrame".into(), "onMetaData".into(), with(odd)])],
        ),
        ("late", vec![]),
        (
            "wrong",
            vec![script(
                0,
                &[
                    "onMetaData".into(),
                    with(vec![("videocodecid", 2.0.into()), ("audiocodecid", 2.0.into())]),
                ],
            )],
        ),
    ];
    let streams = cases
        .iter()
        .map(|(name, _)| (name.to_string(), json!({"source": "push://127.0.0.1", "grace": 300})));
    let server = Server::start(&server::config_with(2, serde_json::Value::Object(streams.collect())));
    for (name, metadata) in cases {
        let mut habit = metadata;
        habit.extend(media(&clean));
        if name == "late" {
            // Reolink: what describes the stream comes behind its first frames.
            let at = habit.partition_point(|tag| tag.time < 200);
            habit.insert(at, script(200, &["onMetaData".into(), full.clone()]));
        }
        pushed_to(&server, name, &["flv"], &habit).assert_saw(&clean);
    }
    assert_eq!(server.counters()["bad_messages"], 0);
}

/// GStreamer's own bytes: chunks of format 3 that begin messages, and its connect with fields of Flash.
#[test]
fn gstreamer_rtmp2sink() {
    let clip = clips::NO_B_FRAMES;
    let server = Server::start(&server::config(2));
    let publisher = gstreamer_push(&clip.file(), &server.rtmp_url("app/live"));
    server.wait_live("live", PATIENCE);
    let audience = Audience::join(&server, "live", &ALL);
    publisher.succeed(Duration::from_secs(30));
    let sent: PathBuf = clip.file();
    audience
        .finish()
        .assert_saw_recording(&support::normal::read(&sent), JOINED);
}
