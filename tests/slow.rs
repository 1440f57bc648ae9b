//! Viewers that do not keep up, on a real server: they stop, trickle, or come back; and what a break does to them.
//!
//! Beside the slow ones, viewers of every output have every frame, and one waits for every half second that was sent.
//! What a slow one received is read strictly: whole records, and behind each gap a keyframe with all that it needs.
//! The slow ones are read by the test itself, between two sends, over sockets that take little. With `PENSTOCK_LONG` those
//! who come back do so after ten seconds of the clock.

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use penstock_proto::mp4;
use penstock_proto::ts::check::Checker;
use serde_json::json;

use support::clips::{self, Clip};
use support::compare::{self, WHOLE};
use support::flv::{self, AUDIO, Tag, VIDEO};
use support::normal::Recording;
use support::rtmp::{Publisher, SlowPlayer};
use support::server::{self, Server};
use support::strict;
use support::tags;
use support::viewers::{self, Output, Seen, Viewers, read};
use support::wire::{PATIENCE, Wire};

/// Media before the viewers come, less than a GOP: they miss nothing.
const HEAD_MILLIS: u32 = 400;
/// When those who stopped read on. The gap that they find stays below what our own reader takes for a jump of time.
const BACK_MILLIS: u32 = 10_050;
/// Media between two looks at the viewers.
const STEP_MILLIS: u32 = 500;
/// Times faster than its clock; each step besides waits for the viewer beside the slow ones.
const PACE: u32 = 8;
/// How long that one may wait for what was sent: turns are half a second apart, on a busy machine more.
const LATE_MAX: Duration = Duration::from_secs(4);
/// Four steps; the viewers beside the slow ones are at most two behind.
const LAG_MAX_MILLIS: u32 = 2_000;

fn server(lag_max_millis: u32, stall_max_millis: u32) -> Server {
    let mut config = server::config(2);
    config["config"]["penstock"]["lag_max"] = json!(lag_max_millis);
    config["config"]["penstock"]["stall_max"] = json!(stall_max_millis);
    config["streams"]["live"]["DVR"] = json!(1_000);
    Server::start(&config)
}

fn clip(clip: Clip) -> Vec<Tag> {
    flv::tags(&std::fs::read(clip.file()).expect("made by the call"))
}

/// A viewer of one output that reads when it is told to.
struct SlowViewer {
    output: Output,
    end: ReadingEnd,
    file: PathBuf,
}

enum ReadingEnd {
    Http(Wire),
    Rtmp(Box<SlowPlayer>),
}

impl SlowViewer {
    /// One an output.
    fn join_all(server: &Server, dir: &Path) -> Vec<SlowViewer> {
        let mut slow = Vec::new();
        for (output, kind) in viewers::HTTP {
            let mut wire = Wire::connect_narrow(server.http);
            wire.request("GET", &format!("/live.{kind}"), &[]);
            assert_eq!(wire.answer("GET").status, 200);
            let file = dir.join(format!("slow.{kind}"));
            let end = ReadingEnd::Http(wire);
            slow.push(SlowViewer { output, end, file });
        }
        slow.push(SlowViewer {
            output: Output::Rtmp,
            end: ReadingEnd::Rtmp(Box::new(SlowPlayer::start(server.rtmp, "live"))),
            file: dir.join("slow-rtmp.flv"),
        });
        slow
    }

    fn take(&mut self, count_max: usize) {
        match &mut self.end {
            ReadingEnd::Http(wire) => wire.take(count_max),
            ReadingEnd::Rtmp(player) => player.take(count_max),
        };
    }

    /// Reads on, as fast as it can, to the clean end; what it has is left in its file.
    fn finish(self) -> (Output, PathBuf) {
        let bytes = match self.end {
            ReadingEnd::Http(wire) => wire.finish().unwrap_or_else(|why| panic!("{:?}: {why}", self.output)),
            ReadingEnd::Rtmp(player) => flv::file(&player.finish()),
        };
        std::fs::write(&self.file, bytes).expect("scratch is ours");
        (self.output, self.file)
    }
}

/// All of them at once: one alone would let the others fall behind.
fn finish_all(slow: Vec<SlowViewer>) -> Vec<(Output, PathBuf)> {
    let threads: Vec<_> = slow
        .into_iter()
        .map(|viewer| std::thread::spawn(move || viewer.finish()))
        .collect();
    let done = threads
        .into_iter()
        .map(|thread| thread.join().expect("its reading does not panic"));
    done.collect()
}

/// The publisher, and viewers of every output, who must get something of what was sent before more is; one of them all.
struct OnAir {
    publisher: Publisher,
    fast: Viewers,
    prompt: Wire,
    /// The longest that `prompt` has waited for the last picture of a step.
    latest: Duration,
}

impl OnAir {
    /// With the first media sent.
    fn begin(server: &Server, dir: &Path, pace: u32, first: &[Tag]) -> OnAir {
        let mut publisher = Publisher::start(server.rtmp, "live", pace);
        publisher.send(first);
        let mut prompt = Wire::connect(server.http);
        prompt.request("GET", "/live.flv", &[]);
        assert_eq!(prompt.answer("GET").status, 200);
        publisher.restart_clock();
        OnAir {
            publisher,
            fast: Viewers::join(server, dir, "fast"),
            prompt,
            latest: Duration::ZERO,
        }
    }

    /// Sends tags, and waits until the last picture of them is here.
    fn send(&mut self, tags: &[Tag]) {
        let before = self.fast.progress();
        self.publisher.send(tags);
        let sent = Instant::now();
        let Some(last) = tags.iter().rfind(|tag| tag.is_frame(VIDEO)) else {
            return;
        };
        let marker = &last.body;
        let mut wanted = 1;
        loop {
            let bytes = self.prompt.read_at_least(wanted);
            assert!(bytes.len() >= wanted, "the viewer beside the slow ones gets no more");
            let tail = &bytes[bytes.len().saturating_sub(marker.len() + 8 * 1024)..];
            if tail.windows(marker.len()).any(|window| window == marker) {
                break;
            }
            wanted = bytes.len() + 1;
        }
        self.latest = self.latest.max(sent.elapsed());
        self.fast.wait_beyond(&before);
        self.publisher.restart_clock();
    }

    /// The stream's end. Nobody beside the slow ones has waited long.
    fn end(self) -> Viewers {
        assert!(self.latest <= LATE_MAX, "what was sent came {:?} later", self.latest);
        self.publisher.end();
        self.fast
    }
}

/// Tags before and from a time on.
fn cut(tags: &[Tag], millis: u32) -> (&[Tag], &[Tag]) {
    tags.split_at(tags.partition_point(|tag| tag.time < millis))
}

/// Tags in steps of half a second.
fn steps(tags: &[Tag]) -> Vec<&[Tag]> {
    tags.chunk_by(|one, next| one.time / STEP_MILLIS >= next.time / STEP_MILLIS)
        .collect()
}

/// What a moved viewer has, in its runs.
fn assert_moved(sent: &Recording, (output, file): &(Output, PathBuf)) -> usize {
    let told = strict::assert_strict_runs(file);
    compare::assert_decodes(file);
    let runs = compare::compare_runs(sent, &read(file)).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    if let Some(told) = told {
        assert_eq!(told, runs, "{}: runs", file.display());
    }
    if *output == Output::Ts {
        let mut checker = Checker::new();
        checker.push(&std::fs::read(file).expect("recorded before"));
        assert_eq!(checker.finish().discontinuities, runs as u64 - 1, "{}", file.display());
    }
    runs
}

fn assert_whole(sent: &Recording, viewers: Vec<Seen>) {
    for Seen { recording: got, .. } in viewers {
        if let Err(difference) = compare::compare(sent, &got, WHOLE) {
            panic!("{}: {difference}", got.name);
        }
    }
}

/// They stop after their first bytes, and read on when nearly everything has been sent: each is moved once.
#[test]
fn readers_that_come_back_are_moved() {
    let (pace, lag_max) = match std::env::var_os("PENSTOCK_LONG") {
        Some(_) => (1, 5_000),
        None => (PACE, LAG_MAX_MILLIS),
    };
    let dir = support::scratch("come back");
    let server = server(lag_max, 60_000);
    let all = clip(clips::SHORT_GOPS);
    let (head, rest) = cut(&all, HEAD_MILLIS);
    let mut on_air = OnAir::begin(&server, &dir, pace, head);
    let slow = SlowViewer::join_all(&server, &dir);
    let (rest, last) = cut(rest, BACK_MILLIS);
    steps(rest).iter().for_each(|step| on_air.send(step));
    let counters = server.counters();
    assert_eq!(
        (counters["cursors_skipped"], counters["viewers"]),
        (0, 9),
        "nobody has read on yet"
    );
    let threads = std::thread::spawn(move || finish_all(slow));
    server.wait_counters("all four are moved", PATIENCE, |counters| {
        counters["cursors_skipped"] == 4
    });
    steps(last).iter().for_each(|step| on_air.send(step));
    let fast = on_air.end().finish();
    let sent = tags::recording("sent", &all);
    for moved in threads.join().expect("they do not panic") {
        assert_eq!(assert_moved(&sent, &moved), 2, "{:?}", moved.0);
    }
    assert_whole(&sent, fast);
    assert_closed(&server, &[("cursors_skipped", 4)]);
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// The counters of slow viewers: these as said, the others zero.
fn assert_closed(server: &Server, expected: &[(&str, u64)]) {
    let counters = server.counters();
    for name in [
        "cursors_skipped",
        "cursors_closed_lag",
        "cursors_closed_evicted",
        "connections_closed_stalled",
        "connections_closed_own",
        "feeds_ended_memory",
    ] {
        let wanted = expected
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(0, |(_, count)| *count);
        assert_eq!(counters[name], wanted, "{name}");
    }
}

/// They read a fifteenth of the stream: moved again and again, they see a keyframe and some more of it each time.
#[test]
fn readers_that_trickle_are_moved_again_and_again() {
    const BYTES_A_STEP: usize = 25_000;
    let dir = support::scratch("trickle");
    let server = server(LAG_MAX_MILLIS, 60_000);
    let all = clip(clips::SHORT_GOPS);
    let (head, rest) = cut(&all, HEAD_MILLIS);
    let mut on_air = OnAir::begin(&server, &dir, PACE, head);
    let mut slow = SlowViewer::join_all(&server, &dir);
    for step in steps(rest) {
        on_air.send(step);
        slow.iter_mut().for_each(|viewer| viewer.take(BYTES_A_STEP));
    }
    let fast = on_air.end().finish();
    let sent = tags::recording("sent", &all);
    let mut skips = 0;
    for moved in finish_all(slow) {
        let runs = assert_moved(&sent, &moved);
        assert!(runs >= 2, "{:?}: {runs} runs", moved.0);
        skips += runs - 1;
    }
    assert_whole(&sent, fast);
    assert_closed(&server, &[("cursors_skipped", skips as u64)]);
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// They never read again, and are closed for it: counted, said in the log, and their memory comes back.
#[test]
fn readers_that_stop_for_good_are_closed() {
    /// Blocks by which two looks at a running stream differ: what its window holds, and what waits to be cleaned.
    const BLOCKS_SPARE: u64 = 16;
    let dir = support::scratch("stop");
    let server = server(LAG_MAX_MILLIS, 1_000);
    let all = clip(clips::SHORT_GOPS);
    let (head, rest) = cut(&all, HEAD_MILLIS);
    let mut on_air = OnAir::begin(&server, &dir, PACE, head);
    let (before, rest) = cut(rest, 3_000);
    steps(before).iter().for_each(|step| on_air.send(step));
    let used_before = server.counters()["memory_blocks_used"];
    let slow = SlowViewer::join_all(&server, &dir);
    let (stalling, last) = cut(rest, BACK_MILLIS);
    steps(stalling).iter().for_each(|step| on_air.send(step));
    for output in ["FLV", "TS", "MP4", "RTMP"] {
        let words = [
            "viewer left",
            &format!("output=\"{output}\""),
            "took nothing for stall_max",
        ];
        server.wait_log(&words, PATIENCE);
    }
    assert_closed(&server, &[("connections_closed_stalled", 4)]);
    server.wait_counters("what they held", PATIENCE, |counters| {
        counters["memory_blocks_used"] <= used_before + BLOCKS_SPARE
    });
    // Others, whose stream is over before they are ended.
    let at_the_end = SlowViewer::join_all(&server, &dir);
    steps(last).iter().for_each(|step| on_air.send(step));
    let fast = on_air.end().finish();
    assert_whole(&tags::recording("sent", &all), fast);
    server.wait_counters("nothing is held any more", PATIENCE, |counters| {
        (
            counters["connections_closed_stalled"],
            counters["connections_open"],
            counters["memory_blocks_used"],
        ) == (8, 0, 0)
    });
    drop(at_the_end);
    drop(slow);
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// One stops on a stream so large that what it holds back reaches the feed's cap before anything else.
#[test]
fn a_reader_that_holds_back_too_much_is_closed() {
    /// 120 MB: the cap is 64 MiB behind a window of two GOPs of 10 MB.
    const ROUNDS: u32 = 4;
    /// The cap, windows of four feeds, and the ring: half of what all of them would hold in the end.
    const BLOCKS_MAX: u64 = 1_200;
    let dir = support::scratch("evicted");
    let server = server(LAG_MAX_MILLIS, 60_000);
    let once = clip(clips::HEAVY);
    let length = clips::HEAVY.seconds * 1_000;
    let mut on_air = OnAir::begin(&server, &dir, PACE, cut(&once, HEAD_MILLIS).0);
    let mut slow = Wire::connect_narrow(server.http);
    slow.request("GET", "/live.ts", &[]);
    assert_eq!(slow.answer("GET").status, 200);
    let mut used = 0;
    for round in 0..ROUNDS {
        let shifted: Vec<Tag> = once
            .iter()
            .filter(|tag| tag.time < length && (round == 0 || tag.is_frame(VIDEO) || tag.is_frame(AUDIO)))
            .map(|tag| Tag {
                time: tag.time + round * length,
                ..tag.clone()
            })
            .collect();
        let from = if round == 0 { HEAD_MILLIS } else { 0 };
        steps(cut(&shifted, from).1).iter().for_each(|step| on_air.send(step));
        used = used.max(server.counters()["memory_blocks_used"]);
    }
    assert!(used <= BLOCKS_MAX, "{used} blocks were in use");
    server.wait_log(&["viewer left", "TS", "held back more than the feed's cap"], PATIENCE);
    let pictures = once.iter().filter(|tag| tag.is_frame(VIDEO)).count();
    for (output, file) in on_air.end().files() {
        let bytes = std::fs::read(&file).expect("recorded before");
        // Pictures come again with every round, so they are counted.
        let count = match output {
            Output::Ts => ts_pictures(&bytes),
            Output::Mp4 => mp4::read(&bytes)
                .expect("strict")
                .tracks
                .iter()
                .find(|track| &track.handler == b"vide")
                .map_or(0, |track| track.samples.len()),
            _ => flv::tags(&bytes).iter().filter(|tag| tag.is_frame(VIDEO)).count(),
        };
        assert_eq!(count, ROUNDS as usize * pictures, "{output:?}");
    }
    assert_closed(&server, &[("cursors_closed_evicted", 1)]);
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

fn ts_pictures(bytes: &[u8]) -> usize {
    let mut checker = Checker::new();
    checker.push(bytes);
    checker.finish().video_frames as usize
}

/// Pictures become smaller while they do not read: moved over the break, they have what the new ones need. A MP4 that is
/// ended meanwhile is read to its clean end.
#[test]
fn readers_that_miss_a_break_have_its_headers() {
    let dir = support::scratch("missed");
    let server = server(LAG_MAX_MILLIS, 60_000);
    let (large, small) = (clip(clips::SHORT_GOPS), clip(clips::SMALL));
    let mut all: Vec<Tag> = large
        .iter()
        .filter(|tag| tag.time < 6_000 || tag.kind == AUDIO)
        .cloned()
        .collect();
    let moved = small.iter().filter(|tag| tag.kind == VIDEO);
    all.extend(moved.map(|tag| Tag {
        time: tag.time + 6_000,
        ..tag.clone()
    }));
    all.sort_by_key(|tag| tag.time);
    let (head, rest) = cut(&all, HEAD_MILLIS);
    let mut on_air = OnAir::begin(&server, &dir, PACE, head);
    let slow = SlowViewer::join_all(&server, &dir);
    let (rest, last) = cut(rest, BACK_MILLIS);
    steps(rest).iter().for_each(|step| on_air.send(step));
    assert_eq!(server.counters()["cursors_skipped"], 0, "nobody has read on yet");
    let threads = std::thread::spawn(move || finish_all(slow));
    server.wait_counters("all four are moved", PATIENCE, |counters| {
        counters["cursors_skipped"] == 4
    });
    steps(last).iter().for_each(|step| on_air.send(step));
    let fast = on_air.end().finish();
    let whole = tags::recording("sent", &all);
    assert_whole(
        &whole,
        fast.into_iter().filter(|seen| seen.output != Output::Mp4).collect(),
    );
    let before: Vec<Tag> = all
        .iter()
        .take_while(|tag| tag.time < 6_000 || !tag.is_header())
        .cloned()
        .collect();
    let before = tags::recording("before", &before);
    for moved in threads.join().expect("they do not panic") {
        let sent = if moved.0 == Output::Mp4 { &before } else { &whole };
        assert_eq!(assert_moved(sent, &moved), 2, "{:?}", moved.0);
        if moved.0 != Output::Mp4 {
            let last = |recording: &Recording| recording.tracks[0].frames.last().map(|frame| frame.units.clone());
            assert_eq!(last(&read(&moved.1)), last(&whole), "{:?}: its last picture", moved.0);
        }
    }
    assert_eq!(server.counters()["feeds_ended_break"], 1);
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}
