//! The comparer on damaged streams: each damage is told, and a mere change of container is none.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::compare::{self, AudioClock, CONVERTED, End, JOINED, Rules, Start, WHOLE};
use support::flv::{self, Tag};
use support::{clips, normal, process, scratch};

fn convert(from: &Path, to: &Path, options: &[&str]) {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-v", "error", "-y", "-i"])
        .arg(from)
        .args(["-c", "copy"])
        .args(options)
        .arg(to);
    process::run("ffmpeg (converting)", &mut command, Duration::from_secs(60));
}

fn equal(sent: &Path, got: &Path, rules: Rules) -> Result<usize, String> {
    compare::compare(&normal::read(sent), &normal::read(got), rules)
}

/// Writes the tags with one damage done to them and compares with the whole clip.
fn damaged(name: &str, rules: Rules, damage: impl FnOnce(&mut Vec<Tag>)) -> Result<usize, String> {
    let clip = clips::B_FRAMES.file();
    let mut tags = flv::tags(&std::fs::read(&clip).expect("made above"));
    damage(&mut tags);
    let path = scratch(name).join("damaged.flv");
    std::fs::write(&path, flv::file(&tags)).expect("scratch is ours");
    equal(&clip, &path, rules)
}

/// The place in the file of the `n`th frame of a track.
fn nth(tags: &[Tag], kind: u8, n: usize) -> usize {
    let mut frames = tags.iter().enumerate().filter(|(_, tag)| tag.is_frame(kind));
    frames.nth(n).expect("the clip has as many frames").0
}

fn assert_told(name: &str, words: &[&str], damage: impl FnOnce(&mut Vec<Tag>)) {
    let told = damaged(name, CONVERTED, damage).expect_err(name);
    for word in words {
        assert!(told.contains(word), "{name}: {told:?} does not say {word:?}");
    }
}

#[test]
fn an_untouched_rewrite_is_equal() {
    let frames = damaged("rewritten", WHOLE, |_| {}).unwrap();
    assert!(frames > 400, "only {frames} frames were compared");
}

#[test]
fn containers_make_no_difference() {
    for clip in clips::ALL {
        let dir = scratch(clip.name);
        let sent = clip.file();
        let (ts, mp4, flv) = (dir.join("a.ts"), dir.join("a.mp4"), dir.join("a.flv"));
        convert(&sent, &ts, &[]);
        // An empty moov (without delay) could not say that one track begins later than the other.
        let adts: &[&str] = if clip.has_audio() {
            &["-bsf:a", "aac_adtstoasc"]
        } else {
            &[]
        };
        let (again, fragments) = (
            dir.join("b.mp4"),
            ["-movflags", "frag_keyframe+delay_moov+default_base_moof"],
        );
        convert(&ts, &again, &[&fragments, adts].concat());
        convert(&sent, &mp4, &fragments);
        convert(&mp4, &flv, &[]);
        for got in [&ts, &again, &mp4, &flv] {
            let frames =
                equal(&sent, got, CONVERTED).unwrap_or_else(|why| panic!("{}: {}: {why}", clip.name, got.display()));
            assert!(frames > 100, "{}: only {frames} frames were compared", clip.name);
        }
        compare::assert_md5_equal(&sent, &flv);
        compare::assert_md5_equal(&sent, &mp4);
    }
}

#[test]
fn other_codecs_divide_into_units_too() {
    let dir = scratch("codecs");
    let make = |file: &str, codec: &[&str]| -> PathBuf {
        let path = dir.join(file);
        let mut command = Command::new("ffmpeg");
        command.args([
            "-hide_banner",
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x180:rate=25:duration=1",
        ]);
        command
            .args(["-f", "lavfi", "-i", "anoisesrc=r=48000:seed=3:duration=1"])
            .args(codec)
            .arg(&path);
        process::run("ffmpeg (making a clip)", &mut command, Duration::from_secs(60));
        path
    };
    let hevc = make(
        "hevc.mp4",
        &[
            "-c:v",
            "libx265",
            "-preset",
            "ultrafast",
            "-x265-params",
            "log-level=error",
            "-c:a",
            "mp3",
        ],
    );
    let ts = dir.join("hevc.ts");
    convert(&hevc, &ts, &[]);
    // The MP4's sound has ticks of samples, TS has 90 kHz; priming samples hide behind an edit list in the MP4.
    assert_eq!(equal(&hevc, &ts, CONVERTED).map(|frames| frames > 50), Ok(true));
    let av1 = make(
        "av1.mp4",
        &[
            "-c:v",
            "libaom-av1",
            "-cpu-used",
            "8",
            "-usage",
            "realtime",
            "-c:a",
            "aac",
        ],
    );
    let mkv = dir.join("av1.mkv");
    convert(&av1, &mkv, &[]);
    assert_eq!(equal(&av1, &mkv, CONVERTED).map(|frames| frames > 50), Ok(true));
}

#[test]
fn damaged_frames_are_told() {
    let units = |tags: &mut Vec<Tag>, change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let at = nth(tags, flv::VIDEO, 60);
        let mut nals = tags[at].nals();
        change(&mut nals);
        tags[at].set_nals(&nals);
    };
    assert_told("dropped", &["video", "frame 60", "missing"], |tags| {
        tags.remove(nth(tags, flv::VIDEO, 60));
    });
    assert_told("dropped sound", &["audio", "frame 60", "missing"], |tags| {
        tags.remove(nth(tags, flv::AUDIO, 60));
    });
    assert_told("duplicated", &["frame 61", "again"], |tags| {
        let at = nth(tags, flv::VIDEO, 60);
        tags.insert(at, tags[at].clone());
    });
    assert_told("swapped", &["frame 60", "swapped"], |tags| {
        let (first, second) = (nth(tags, flv::VIDEO, 60), nth(tags, flv::VIDEO, 61));
        let body = std::mem::take(&mut tags[first].body);
        tags[first].body = std::mem::replace(&mut tags[second].body, body);
    });
    assert_told("flipped byte", &["frame 60", "unit 0", "other bytes"], |tags| {
        let at = nth(tags, flv::VIDEO, 60);
        *tags[at].body.last_mut().unwrap() ^= 0x40;
    });
    assert_told("flipped byte of sound", &["audio", "frame 60", "other bytes"], |tags| {
        let at = nth(tags, flv::AUDIO, 60);
        *tags[at].body.last_mut().unwrap() ^= 0x40;
    });
    assert_told("missing NAL", &["frame 60", "missing"], |tags| {
        units(tags, &|nals| nals.truncate(0))
    });
    assert_told("extra NAL", &["frame 60", "unit 0 (type 6", "one too many"], |tags| {
        units(tags, &|nals| nals.insert(0, vec![6, 5, 1, 0xAA, 0x80]));
    });
    assert_told("shorter NAL", &["frame 60", "unit 0 is"], |tags| {
        units(tags, &|nals| {
            let shorter = nals[0].len() / 2;
            nals[0].truncate(shorter);
        });
    });
    assert_told("another parameter set", &["frame 60", "parameter sets"], |tags| {
        units(tags, &|nals| nals.insert(0, vec![0x68, 0xEF, 0xBC, 0xB1]));
    });
}

#[test]
fn a_damaged_keyframe_is_told() {
    let at_key = |tags: &[Tag]| nth(tags, flv::VIDEO, 50);
    assert_told("key flag lost", &["frame 50", "key flag is not set"], |tags| {
        let at = at_key(tags);
        assert_eq!(tags[at].body[0] >> 4, 1, "frame 50 begins a GOP");
        tags[at].body[0] = 0x27;
    });
    assert_told("key flag invented", &["frame 60", "key flag is set"], |tags| {
        let at = nth(tags, flv::VIDEO, 60);
        tags[at].body[0] = 0x17;
    });
    assert_told(
        "missing NAL of several",
        &["frame 0", "unit 0 (type 6", "missing"],
        |tags| {
            let at = nth(tags, flv::VIDEO, 0);
            let mut nals = tags[at].nals();
            assert!(nals.len() > 1, "the first frame has a SEI");
            nals.remove(0);
            tags[at].set_nals(&nals);
        },
    );
}

#[test]
fn shifted_times_are_told() {
    assert_told(
        "one frame",
        &["video", "frame 60", "decode time is off by 2000 us"],
        |tags| {
            let at = nth(tags, flv::VIDEO, 60);
            tags[at].time += 2;
        },
    );
    assert_told("one sound frame", &["audio", "frame 60", "off by -2000 us"], |tags| {
        let at = nth(tags, flv::AUDIO, 60);
        tags[at].time -= 2;
    });
    assert_told(
        "composition",
        &["frame 60", "presentation time is off by 2000 us"],
        |tags| {
            let at = nth(tags, flv::VIDEO, 60);
            tags[at].body[4] += 2;
        },
    );
    assert_told("sound against picture", &["off by"], |tags| {
        tags.iter_mut()
            .filter(|tag| tag.is_frame(flv::AUDIO))
            .for_each(|tag| tag.time += 2);
    });
    let all = damaged("all alike", CONVERTED, |tags| {
        tags.iter_mut().for_each(|tag| tag.time += 1_000)
    });
    assert!(all.is_ok(), "a constant offset is no difference: {all:?}");
}

#[test]
fn a_straying_audio_clock_is_told() {
    // Each time is within 1 ms of what was sent, yet the sound walks 0.9 ms to and fro around its sample count.
    let clip = clips::AUDIO_ONLY.file();
    let ts = scratch("stray").join("a.ts");
    convert(&clip, &ts, &[]);
    let samples = Rules {
        audio: AudioClock::Samples,
        ..CONVERTED
    };
    assert!(equal(&clip, &ts, CONVERTED).is_ok());
    let told = equal(&clip, &ts, samples).expect_err("whole milliseconds are no 90 kHz sample count");
    assert!(told.contains("sample count"), "{told}");
}

#[test]
fn late_viewers_begin_at_a_keyframe_and_run_to_the_end() {
    let from = |n: usize| {
        move |tags: &mut Vec<Tag>| {
            let first = nth(tags, flv::VIDEO, n);
            let mut at = 0;
            tags.retain(|tag| {
                at += 1;
                at > first || !(tag.is_frame(flv::VIDEO) || tag.is_frame(flv::AUDIO))
            });
        }
    };
    assert!(damaged("late", JOINED, from(50)).is_ok());
    let told = damaged("late for all", WHOLE, from(50)).unwrap_err();
    assert!(told.contains("begins at frame 50"), "{told}");
    let told = damaged("late, no key", JOINED, from(55)).unwrap_err();
    assert!(told.contains("not with a keyframe"), "{told}");
    let stop = |tags: &mut Vec<Tag>| tags.truncate(nth(tags, flv::VIDEO, 100));
    let told = damaged("stopped", JOINED, stop).unwrap_err();
    assert!(told.contains("the last 50 of 150 frames are missing"), "{told}");
    let anywhere = Rules {
        start: Start::First,
        end: End::Anywhere,
        audio: AudioClock::Sent,
        times: compare::Times::Both,
    };
    assert!(damaged("stopped", anywhere, stop).is_ok());
}

#[test]
fn md5s_and_decoding_tell_too() {
    let clip = clips::B_FRAMES.file();
    let dir = scratch("md5");
    let mut tags = flv::tags(&std::fs::read(&clip).unwrap());
    compare::assert_decodes(&clip);
    let at = nth(&tags, flv::VIDEO, 50);
    let slice = tags[at].body.len() / 2;
    tags[at].body[slice..slice + 1_000].fill(0xFF);
    let path = dir.join("damaged.flv");
    std::fs::write(&path, flv::file(&tags)).unwrap();
    assert!(std::panic::catch_unwind(|| compare::assert_md5_equal(&clip, &path)).is_err());
    assert!(std::panic::catch_unwind(|| compare::assert_decodes(&path)).is_err());
}
