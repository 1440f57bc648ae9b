//! The frame comparer: is what ffmpeg reads from an output what was sent?
//!
//! *Equal* means, in decode order: the same units (see `normal`), the same key flag, decode and presentation time within
//! 1 ms up to one constant offset for the whole stream (so that sound stays with the picture), audio within one tick of
//! the sample count where asked; every frame once, in order. A viewer who joined late begins at a keyframe and then has
//! a contiguous run. The first difference is told in words.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::normal::{self, Frame, Kind, Recording, Track, Unit};
use super::process::run;

/// What a recording must cover of what was sent, and how exact its audio clock must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    pub start: Start,
    pub end: End,
    pub audio: AudioClock,
    pub times: Times,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Decode and presentation times.
    Both,
    /// The protocol carries presentation times alone: decode times rise, and no picture is decoded after it is shown.
    Shown,
    /// As `Shown`, by sender reports, which say every second anew what time it is: within 10 ms.
    Reported,
    /// The player that wrote them has a clock of its own: they are not compared.
    Own,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The first frame sent is the first one here.
    First,
    /// Any keyframe; audio begins with it.
    Keyframe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The last frame sent is the last one here.
    Last,
    /// The viewer or the stream was stopped somewhere.
    Anywhere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudioClock {
    /// As every time: within 1 ms of what was sent.
    Sent,
    /// Besides, each frame stands within one tick of the container of where counting samples puts it.
    Samples,
}

/// Everything, from the first frame to the last, on an exact audio clock.
pub const WHOLE: Rules = Rules {
    start: Start::First,
    end: End::Last,
    audio: AudioClock::Samples,
    times: Times::Both,
};
/// A viewer who joined late and stayed to the end.
pub const JOINED: Rules = Rules {
    start: Start::Keyframe,
    ..WHOLE
};
/// What came over RTP: everything, but for decode times.
pub const SHOWN: Rules = Rules {
    times: Times::Shown,
    ..WHOLE
};
/// The same, where times follow the reports of the publisher, or those to the player.
pub const REPORTED: Rules = Rules {
    times: Times::Reported,
    audio: AudioClock::Sent,
    ..SHOWN
};
pub const REPORTED_JOINED: Rules = Rules {
    start: Start::Keyframe,
    ..REPORTED
};
/// Another container of the same times, written by a program that keeps the times it was given.
pub const CONVERTED: Rules = Rules {
    audio: AudioClock::Sent,
    ..WHOLE
};

const TIME_TOLERANCE_NANOS: i64 = 1_000_000;
/// Reports correct what was measured of the clock by up to 1 ms each.
const REPORTED_TOLERANCE_NANOS: i64 = 10_000_000;
/// Rounding to ns of a tick that is no whole number of them.
const ROUNDING_NANOS: i64 = 2;
/// A viewer's audio may begin this far from its first picture: the distance at which encoders interleave, with room.
const AUDIO_START_NANOS: i64 = 500_000_000;

/// Requires that the recording equals what was sent; panics with the first difference.
pub fn assert_equal(sent: &Path, got: &Path, rules: Rules) {
    let (sent, got) = (normal::read(sent), normal::read(got));
    if let Err(difference) = compare(&sent, &got, rules) {
        panic!("{} is not what was sent ({}): {difference}", got.name, sent.name);
    }
}

/// Tells the first difference in words. Gives the frames found equal, of all tracks.
pub fn compare(sent: &Recording, got: &Recording, rules: Rules) -> Result<usize, String> {
    let kinds = |recording: &Recording| -> Vec<(Kind, String)> {
        recording
            .tracks
            .iter()
            .map(|track| (track.kind, track.codec.clone()))
            .collect()
    };
    if kinds(sent) != kinds(got) {
        return Err(format!("tracks {:?} where {:?} were sent", kinds(got), kinds(sent)));
    }
    if sent.tracks.is_empty() {
        return Err("nothing was sent".to_string());
    }
    let (mut sent, mut got) = (sent.clone(), got.clone());
    for (sent_track, got_track) in sent.tracks.iter_mut().zip(&mut got.tracks) {
        drop_carried(sent_track, got_track);
    }
    let mut pairs = Vec::new();
    for (sent_track, got_track) in sent.tracks.iter().zip(&got.tracks) {
        let from =
            match_contents(sent_track, got_track, rules).map_err(|why| format!("{}: {why}", title(sent_track)))?;
        pairs.push((sent_track, got_track, from));
    }
    if rules.start == Start::Keyframe {
        check_join(&pairs)?;
    }
    // Matroska has no decode times: what is read from it is a guess of the reader's.
    let guessed = got.name.ends_with(".mkv");
    check_times(&pairs, rules.times, guessed)?;
    if rules.times != Times::Both && !guessed {
        for (_, got_track, _) in &pairs {
            check_decode_order(got_track)?;
        }
    }
    for (sent_track, got_track, _) in &pairs {
        if rules.audio == AudioClock::Samples && got_track.kind == Kind::Audio {
            check_sample_clock(got_track).map_err(|why| format!("{}: {why}", title(sent_track)))?;
        }
    }
    Ok(pairs.iter().map(|(_, got_track, _)| got_track.frames.len()).sum())
}

/// Of a viewer who was moved: every frame is one that was sent, in order and at its distance, and behind each gap the
/// pictures go on with a keyframe and the sound with its pictures. Gives the runs of pictures.
pub fn compare_runs(sent: &Recording, got: &Recording) -> Result<usize, String> {
    let (mut sent, mut got) = (sent.clone(), got.clone());
    if sent.tracks.len() != got.tracks.len() {
        return Err(format!(
            "{} tracks where {} were sent",
            got.tracks.len(),
            sent.tracks.len()
        ));
    }
    for (sent_track, got_track) in sent.tracks.iter_mut().zip(&mut got.tracks) {
        drop_carried(sent_track, got_track);
    }
    let mut places = Vec::new();
    for (sent_track, got_track) in sent.tracks.iter().zip(&got.tracks) {
        places.push(find_places(sent_track, got_track).map_err(|why| format!("{}: {why}", title(sent_track)))?);
    }
    let mut resumes = Vec::new();
    for ((sent_track, got_track), places) in sent.tracks.iter().zip(&got.tracks).zip(&places) {
        let starts = places.windows(2).enumerate().filter(|(_, two)| two[0] + 1 != two[1]);
        let starts = starts.map(|(at, _)| &got_track.frames[at + 1]);
        if sent_track.kind == Kind::Video {
            let starts: Vec<&Frame> = starts.collect();
            if let Some(frame) = starts.iter().find(|frame| !frame.key) {
                return Err(format!("pictures go on with {}", describe(frame)));
            }
            resumes = starts.iter().map(|frame| frame.pts_nanos).collect();
            continue;
        }
        for frame in starts {
            let near = |at: &i64| (frame.pts_nanos - at).abs() <= AUDIO_START_NANOS;
            if !resumes.iter().any(near) {
                return Err(format!("sound goes on with {}, where no picture does", describe(frame)));
            }
        }
    }
    check_placed_times(&sent, &got, &places)?;
    Ok(resumes.len() + 1)
}

/// Where each frame stands among those sent.
fn find_places(sent: &Track, got: &Track) -> Result<Vec<usize>, String> {
    let mut places: Vec<usize> = Vec::new();
    for frame in &got.frames {
        let from = places.last().map_or(0, |last| last + 1);
        let same = |wanted: &Frame| (&wanted.units, wanted.key, wanted.sets) == (&frame.units, frame.key, frame.sets);
        let Some(steps) = sent.frames[from..].iter().position(same) else {
            return Err(format!("{} is no frame sent behind frame {from}", describe(frame)));
        };
        places.push(from + steps);
    }
    if places.is_empty() {
        return Err("no frame at all".to_string());
    }
    Ok(places)
}

fn check_placed_times(sent: &Recording, got: &Recording, places: &[Vec<usize>]) -> Result<(), String> {
    let mut offset = None;
    for ((sent_track, got_track), places) in sent.tracks.iter().zip(&got.tracks).zip(places) {
        for (frame, place) in got_track.frames.iter().zip(places) {
            let off = frame.pts_nanos - sent_track.frames[*place].pts_nanos;
            // The first one may itself be rounded the other way.
            let stray = off - *offset.get_or_insert(off);
            if stray.abs() > 2 * TIME_TOLERANCE_NANOS {
                let title = title(sent_track);
                return Err(format!(
                    "{title}: frame {place} of those sent is off by {} us",
                    stray / 1_000
                ));
            }
        }
    }
    Ok(())
}

fn title(track: &Track) -> String {
    format!("{:?} ({})", track.kind, track.codec).to_lowercase()
}

/// What either codec header carries besides parameter sets is no frame's own, wherever the containers keep it.
fn drop_carried(sent: &mut Track, got: &mut Track) {
    let carried: Vec<Unit> = sent.carried.iter().chain(&got.carried).cloned().collect();
    if !carried.is_empty() {
        for frame in sent.frames.iter_mut().chain(&mut got.frames) {
            frame.units.retain(|unit| !carried.contains(unit));
        }
    }
}

/// Finds where in `sent` the run begins and checks contents and key flags; gives that index.
fn match_contents(sent: &Track, got: &Track, rules: Rules) -> Result<usize, String> {
    let (sent_frames, got_frames) = (&sent.frames, &got.frames);
    let Some(first) = got_frames.first() else {
        return Err("no frame at all".to_string());
    };
    let run_from = |from: usize| {
        let pairs = sent_frames[from..].iter().zip(got_frames);
        pairs.take_while(|(sent, got)| sent.units == got.units).count()
    };
    let starts = (0..sent_frames.len()).filter(|at| sent_frames[*at].units == first.units);
    // Frames may repeat (silence, a still picture): the right start is the one with the longest equal run.
    let from = match starts.max_by_key(|at| (run_from(*at), usize::MAX - at)) {
        Some(from) => from,
        // Then the first frame itself is damaged; say how it differs from the one that should be there.
        None if rules.start == Start::First => 0,
        None => return Err(format!("its first frame ({}) equals no frame sent", describe(first))),
    };
    if rules.start == Start::First && from > 0 {
        return Err(format!("begins at frame {from}: the first {from} frames are missing"));
    }
    for (at, frame) in got_frames.iter().enumerate() {
        let Some(wanted) = sent_frames.get(from + at) else {
            let extra = got_frames.len() - at;
            return Err(format!(
                "{extra} more frames after the last frame sent ({})",
                repeated(got_frames, at)
            ));
        };
        if frame.units != wanted.units {
            let why = difference(&sent_frames[from + at..], got_frames, at);
            return Err(format!("frame {} of those sent: {why}", from + at));
        }
        if frame.key != wanted.key {
            let flag = if frame.key { "set" } else { "not set" };
            return Err(format!("frame {} of those sent: its key flag is {flag}", from + at));
        }
        if frame.sets != wanted.sets {
            return Err(format!(
                "frame {} of those sent: other parameter sets are in force",
                from + at
            ));
        }
    }
    let missing = sent_frames.len() - from - got_frames.len();
    if rules.end == End::Last && missing > 0 {
        return Err(format!(
            "the last {missing} of {} frames are missing",
            sent_frames.len()
        ));
    }
    Ok(from)
}

/// Says what happened where `got[at]` is not `wanted[0]`.
fn difference(wanted: &[Frame], got: &[Frame], at: usize) -> String {
    let same = |sent: Option<&Frame>, got: Option<&Frame>| match (sent, got) {
        (Some(sent), Some(got)) => sent.units == got.units,
        _ => false,
    };
    if same(wanted.get(1), got.get(at)) && same(wanted.first(), got.get(at + 1)) {
        return "swapped with the frame after it".to_string();
    }
    if let Some(skipped) = (1..wanted.len()).find(|skip| same(wanted.get(*skip), got.get(at))) {
        return format!("missing, with {} after it ({})", skipped - 1, describe(&wanted[0]));
    }
    if got[..at].iter().any(|earlier| earlier.units == got[at].units) {
        return format!("an earlier frame is here again: {}", repeated(got, at));
    }
    unit_difference(&wanted[0].units, &got[at].units)
}

fn unit_difference(wanted: &[Unit], got: &[Unit]) -> String {
    let at = wanted.iter().zip(got).take_while(|(wanted, got)| wanted == got).count();
    let name = |unit: &Unit| format!("type {}, {} bytes", unit.kind, unit.bytes);
    match (wanted.get(at), got.get(at)) {
        (Some(missing), _) if got.len() < wanted.len() => format!("unit {at} ({}) is missing", name(missing)),
        (_, Some(extra)) if got.len() > wanted.len() => format!("unit {at} ({}) is one too many", name(extra)),
        (Some(wanted), Some(got)) if wanted.kind == got.kind && wanted.bytes == got.bytes => {
            format!("unit {at} ({}) has other bytes", name(wanted))
        }
        (Some(wanted), Some(got)) => format!("unit {at} is ({}) where ({}) was sent", name(got), name(wanted)),
        _ => "other units".to_string(),
    }
}

fn repeated(frames: &[Frame], at: usize) -> String {
    let earlier = frames[..at].iter().rposition(|frame| frame.units == frames[at].units);
    earlier.map_or_else(
        || format!("first {}", describe(&frames[at])),
        |earlier| format!("duplicate of the one {} before", at - earlier),
    )
}

fn describe(frame: &Frame) -> String {
    let kinds: Vec<u8> = frame.units.iter().map(|unit| unit.kind).collect();
    let bytes: usize = frame.units.iter().map(|unit| unit.bytes).sum();
    let key = if frame.key { "key, " } else { "" };
    format!(
        "{key}{bytes} bytes in units {kinds:?} at {} ms",
        frame.dts_nanos / 1_000_000
    )
}

/// A late viewer's video begins with a keyframe, and its audio about there.
fn check_join(pairs: &[(&Track, &Track, usize)]) -> Result<(), String> {
    let firsts: Vec<_> = pairs
        .iter()
        .map(|(sent, _, from)| (sent.kind, &sent.frames[*from]))
        .collect();
    for (kind, first) in &firsts {
        if *kind == Kind::Video && !first.key {
            return Err(format!("video begins with {} and not with a keyframe", describe(first)));
        }
    }
    let Some((_, picture)) = firsts.iter().find(|(kind, _)| *kind == Kind::Video) else {
        return Ok(());
    };
    for (_, sound) in firsts.iter().filter(|(kind, _)| *kind == Kind::Audio) {
        let apart = sound.dts_nanos - picture.dts_nanos;
        if apart.abs() > AUDIO_START_NANOS {
            return Err(format!("audio begins {} ms after its first picture", apart / 1_000_000));
        }
    }
    Ok(())
}

/// All times of all tracks differ from those sent by one constant, within the tolerance.
fn check_times(pairs: &[(&Track, &Track, usize)], times: Times, guessed: bool) -> Result<(), String> {
    let tolerance = match times {
        Times::Both | Times::Shown => TIME_TOLERANCE_NANOS,
        Times::Reported => REPORTED_TOLERANCE_NANOS,
        Times::Own => return Ok(()),
    };
    let mut offsets: Vec<i64> = pairs
        .iter()
        .flat_map(|(sent, got, from)| sent.frames[*from..].iter().zip(&got.frames))
        .map(|(sent, got)| match times {
            Times::Both => got.dts_nanos - sent.dts_nanos,
            Times::Shown | Times::Reported | Times::Own => got.pts_nanos - sent.pts_nanos,
        })
        .collect();
    let middle = offsets.len() / 2;
    let (_, offset, _) = offsets.select_nth_unstable(middle);
    let offset = *offset;
    for (sent, got, from) in pairs {
        for (at, (wanted, frame)) in sent.frames[*from..].iter().zip(&got.frames).enumerate() {
            let decode = ("decode", wanted.dts_nanos, frame.dts_nanos);
            let presentation = ("presentation", wanted.pts_nanos, frame.pts_nanos);
            let compared: &[_] = match times {
                Times::Both => &[decode, presentation],
                Times::Shown | Times::Reported | Times::Own => &[presentation],
            };
            // ffmpeg forgets the time of the first frame of an RTSP stream where a parser cuts it: that takes the place -1 for
            // none.
            let is_parsed = got.kind == Kind::Video || matches!(&got.codec[..], "mp2" | "mp3" | "ac3");
            let is_forgotten = times != Times::Both && at == 0 && is_parsed && guessed;
            for &(name, wanted, here) in compared.iter().filter(|_| !is_forgotten) {
                let off = here - wanted - offset;
                if off.abs() > tolerance + ROUNDING_NANOS {
                    let (title, at) = (title(sent), from + at);
                    let micros = off / 1_000;
                    return Err(format!(
                        "{title}: frame {at} of those sent: {name} time is off by {micros} us"
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Decode times that somebody made up are possible ones.
fn check_decode_order(track: &Track) -> Result<(), String> {
    let late = |frame: &&Frame| frame.dts_nanos > frame.pts_nanos + TIME_TOLERANCE_NANOS;
    if let Some(frame) = track.frames.iter().find(late) {
        return Err(format!(
            "{}: decoded after it is shown: {}",
            title(track),
            describe(frame)
        ));
    }
    let falls = |two: &&[Frame]| two[1].dts_nanos < two[0].dts_nanos;
    match track.frames.windows(2).find(falls) {
        Some(two) => Err(format!("{}: decode times fall at {}", title(track), describe(&two[1]))),
        None => Ok(()),
    }
}

/// Every audio frame stands within one tick of where counting samples from one anchor puts it.
fn check_sample_clock(got: &Track) -> Result<(), String> {
    let (Some(samples), Some(first)) = (got.frame_samples(), got.frames.first()) else {
        return Ok(());
    };
    let counted = |at: usize| at as i64 * i64::from(samples) * 1_000_000_000 / i64::from(got.sample_rate.max(1));
    let offs: Vec<i64> = got
        .frames
        .iter()
        .enumerate()
        .map(|(at, frame)| frame.pts_nanos - first.pts_nanos - counted(at))
        .collect();
    let (low, high) = (
        offs.iter().min().copied().unwrap_or(0),
        offs.iter().max().copied().unwrap_or(0),
    );
    // The anchor is free, each time may be rounded by a tick: all lie in a band of one tick to either side.
    if high - low > 2 * got.tick_nanos + ROUNDING_NANOS {
        let worst = offs.iter().position(|off| *off == high || *off == low).unwrap_or(0);
        let (band, tick) = ((high - low) / 1_000, got.tick_nanos / 1_000);
        return Err(format!(
            "times stray {band} us around the sample count (tick {tick} us), first at frame {worst}"
        ));
    }
    Ok(())
}

/// The payload hashes of each track as `ffmpeg -c copy -f framemd5` sees them, in order.
pub fn frame_md5s(path: &Path) -> Vec<Vec<String>> {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-v", "fatal", "-i"]).arg(path);
    command.args([
        "-map",
        "0:v?",
        "-map",
        "0:a?",
        "-c",
        "copy",
        "-copyinkf",
        "-copyts",
        "-f",
        "framemd5",
        "-",
    ]);
    let mut tracks: Vec<Vec<String>> = Vec::new();
    for line in run("ffmpeg (framemd5)", &mut command, Duration::from_secs(60)).lines() {
        if line.starts_with('#') {
            continue;
        }
        let columns: Vec<&str> = line.split(',').map(str::trim).collect();
        let [track, _dts, _pts, _duration, size, md5, ..] = columns[..] else {
            continue;
        };
        let track: usize = track.parse().expect("framemd5 begins a line with the track");
        tracks.resize_with(tracks.len().max(track + 1), Vec::new);
        tracks[track].push(format!("{size} {md5}"));
    }
    tracks
}

/// Requires the same payload bytes frame for frame, in FLV, RTMP and MP4 (which carry them alike): the recording is a
/// run of what was sent up to its end.
pub fn assert_md5_equal(sent: &Path, got: &Path) {
    let (sent_tracks, got_tracks) = (frame_md5s(sent), frame_md5s(got));
    assert_eq!(sent_tracks.len(), got_tracks.len(), "{}: other tracks", got.display());
    for (track, (sent, got_frames)) in sent_tracks.iter().zip(&got_tracks).enumerate() {
        assert!(!got_frames.is_empty(), "{}: track {track} is empty", got.display());
        assert!(
            sent.ends_with(got_frames),
            "{}: track {track} is not a run of the frames sent",
            got.display()
        );
    }
}

/// Requires that ffmpeg decodes the whole recording without one error.
pub fn assert_decodes(path: &Path) {
    let mut command = Command::new("ffmpeg");
    // One thread: with several, ffmpeg may look at a frame's error flags before the decoder has set them.
    command
        .args(["-hide_banner", "-xerror", "-v", "error", "-threads", "1", "-i"])
        .arg(path)
        .args(["-f", "null", "-"]);
    let process = super::process::Process::start("ffmpeg (decoding)", &mut command);
    process.succeed(Duration::from_secs(90));
    assert_eq!(process.said(), "", "{}: errors while decoding", path.display());
}
