//! Viewers of every protocol against servers that speak it: scripted ones, and penstock behind a front with TLS.

mod peers;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use peers::{Framing, Reply, Wire, http, listen, relay, request, tls};
use penstock_benches::audience::{Audience, Findings};
use penstock_benches::clip::Clip;
use penstock_benches::quantity::Verify;
use penstock_benches::scene::{Packaging, Stage, clips};
use penstock_benches::seats::{Pattern, Plan};
use penstock_benches::server::{self, Settings};
use penstock_benches::stamp::Stamp;
use penstock_benches::target::Target;
use penstock_benches::tls::Trust;
use penstock_proto::flv::wire::emit_tag;
use penstock_proto::tag::MessageKind;

const DEADLINE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);
/// Pictures of the clip: ten seconds of 30.
const PICTURES: u64 = 300;
const SEGMENTS: usize = 5;

fn plan(viewers: u32, verify: u32) -> Plan {
    Plan {
        viewers,
        pattern: Pattern::All,
        ramp: Duration::ZERO,
        streams: 1,
        zipf: None,
        slow: 0.0,
        slow_bytes_per_second: 0,
        path_bytes_per_second: None,
        verify: Verify::Some(verify),
    }
}

/// Viewers watch until `done`.
fn watch(url: &str, viewers: u32, verify: u32, done: impl Fn(&Audience) -> bool) -> Findings {
    let targets: Arc<[Target]> = [Target::parse_trusting(url, Trust::Any).expect("it is there")].into();
    let mut audience = Audience::new("test").expect("it is there");
    audience
        .open_plan(&targets, &plan(viewers, verify))
        .expect("it is there");
    let deadline = Instant::now() + DEADLINE;
    while !done(&audience) && Instant::now() < deadline {
        audience.watch(LOOK, None).expect("it is there");
    }
    assert!(
        done(&audience),
        "{} play, {} failed: {:?}",
        audience.playing(),
        audience.failed(),
        audience.end()
    );
    audience.end().expect("it is there")
}

/// The canonical clip of 600 kb/s with a stamp in each picture, cut into segments by ffmpeg; once per test.
fn segments(kind: &str) -> Vec<Vec<u8>> {
    let folder = std::env::temp_dir().join(format!("penstock-bench-hls-{kind}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("it is there");
    let clip = Clip::of(600, &clips().expect("it is there")).expect("it is there");
    let mut file = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
    let mut number = 0;
    for timed in clip.setup.iter().chain(&clip.frames) {
        let tag = match timed.kind {
            MessageKind::Audio => 8,
            MessageKind::Video => 9,
            MessageKind::Script => 18,
        };
        emit_tag(tag, timed.millis, &mut file, |out| {
            match timed.body.split_at_checked(5) {
                Some((head, units)) if tag == 9 && timed.body[1] == 1 => {
                    out.extend_from_slice(head);
                    Stamp { nanos: 0, number }.emit(out);
                    out.extend_from_slice(units);
                    number += 1;
                }
                _ => out.extend_from_slice(&timed.body),
            }
        });
    }
    assert_eq!(u64::from(number), PICTURES);
    std::fs::write(folder.join("stamped.flv"), file).expect("it is there");
    let names = cut(&folder, kind);
    let read = names
        .iter()
        .map(|name| std::fs::read(folder.join(name)).expect("it is there"))
        .collect();
    std::fs::remove_dir_all(&folder).expect("it is there");
    read
}

fn cut(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let end = if kind == "fmp4" { "m4s" } else { "ts" };
    let output = Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-v",
            "error",
            "-i",
            "stamped.flv",
            "-c",
            "copy",
            "-f",
            "hls",
            "-hls_time",
            "2",
        ])
        .args([
            "-hls_list_size",
            "0",
            "-hls_segment_type",
            kind,
            "-hls_segment_filename",
            &format!("%d.{end}"),
        ])
        .arg("index.m3u8")
        .current_dir(folder)
        .output()
        .expect("it is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut names: Vec<PathBuf> = (0..SEGMENTS).map(|number| format!("{number}.{end}").into()).collect();
    if kind == "fmp4" {
        names.push("init.mp4".into());
    }
    names
}

/// When the segments and parts of a stream come to be: some are there, the others follow once all viewers have come.
struct Live {
    first: usize,
    interval: Duration,
    all: usize,
    awaited: u64,
    came: AtomicU64,
    since: Mutex<Option<Instant>>,
    begun: Condvar,
}

impl Live {
    fn new(first: usize, millis: u64, all: usize, awaited: u64) -> Live {
        Live {
            first,
            interval: Duration::from_millis(millis),
            all,
            awaited,
            came: AtomicU64::new(0),
            since: Mutex::new(None),
            begun: Condvar::new(),
        }
    }

    /// A list was asked for.
    fn asked(&self) {
        if self.came.fetch_add(1, Ordering::Relaxed) + 1 == self.awaited {
            self.since
                .lock()
                .expect("no holder panics")
                .get_or_insert_with(Instant::now);
            self.begun.notify_all();
        }
    }

    fn there(&self) -> usize {
        let Some(since) = *self.since.lock().expect("no holder panics") else {
            return self.first;
        };
        let passed = since.elapsed().as_secs_f64() / self.interval.as_secs_f64();
        (self.first + passed as usize).min(self.all)
    }

    /// A server that blocks answers when it can.
    fn wait_for(&self, number: usize) {
        let Some(steps) = number.min(self.all).checked_sub(self.first) else {
            return;
        };
        let since = self.since.lock().expect("no holder panics");
        let since = self
            .begun
            .wait_while(since, |since| since.is_none())
            .expect("no holder panics");
        let due = since.expect("waited for") + self.interval.mul_f64(steps as f64 + 0.001);
        drop(since);
        // What is waited for is a time: the stream goes on by its clock.
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// A live stream of whole segments: its list has the newest four, and ends after the last.
fn segmented(live: &Live, path: &str, all: &[Vec<u8>], framing: Framing) -> Reply {
    if path == "/live/master.m3u8" {
        let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=600000\nv/index.m3u8?token=a\n";
        return Reply::ok(text, framing);
    }
    if path == "/live/v/index.m3u8?token=a" {
        live.asked();
        let there = live.there();
        let first = there.saturating_sub(4);
        let mut text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{first}\n");
        (first..there).for_each(|number| text += &format!("#EXTINF:0.5,\n../{number}.ts\n"));
        if there == live.all {
            text += "#EXT-X-ENDLIST\n";
        }
        return Reply::ok(text, framing);
    }
    let number = path
        .strip_prefix("/live/")
        .and_then(|name| name.strip_suffix(".ts")?.parse().ok());
    match number.and_then(|number: usize| all.get(number)) {
        Some(segment) => Reply::ok(segment.clone(), framing),
        None => Reply::none("404 Not Found"),
    }
}

fn segmented_is_watched(all: Vec<Vec<u8>>, framing: Framing, secure: bool) {
    let live = Live::new(3, 500, SEGMENTS, 20);
    let address = listen(if secure { tls() } else { None }, move |wire| {
        http(wire, |path| segmented(&live, path, &all, framing));
    });
    let scheme = if secure { "https" } else { "http" };
    let url = format!("{scheme}://{address}/live/master.m3u8");
    let found = watch(&url, 20, 6, |audience| audience.over() == 20);
    assert_eq!((found.ok, found.failed, found.missed), (20, 0, 0), "{found:?}");
    assert_eq!(found.pictures(), (6 * PICTURES, 0));
    assert_eq!(found.problems().0, 0, "{:?}", found.problems());
}

#[test]
fn segments_are_fetched_as_they_come_however_they_are_sent() {
    let all = segments("mpegts");
    std::thread::scope(|scope| {
        for (framing, secure) in [
            (Framing::Length, false),
            (Framing::Chunked, true),
            (Framing::Close, false),
        ] {
            let all = all.clone();
            scope.spawn(move || segmented_is_watched(all, framing, secure));
        }
    });
}

#[test]
fn a_lost_segment_is_found() {
    let mut all = segments("mpegts");
    all.remove(3);
    let live = Live::new(4, 500, 4, 1);
    let address = listen(None, move |wire| {
        http(wire, |path| segmented(&live, path, &all, Framing::Length))
    });
    let url = format!("http://{address}/live/v/index.m3u8?token=a");
    let found = watch(&url, 1, 1, |audience| audience.over() == 1);
    assert_eq!((found.pictures(), found.frames_lost), ((240, 1), 60), "{found:?}");
}

const PARTS: usize = 4;

/// The parts of all segments, for low latency.
fn parts(all: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let of_segment = |segment: &Vec<u8>| {
        let size = segment.len().div_ceil(PARTS);
        segment.chunks(size).map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    all[..SEGMENTS].iter().flat_map(of_segment).collect()
}

fn low_latency(live: &Live, path: &str, parts: &[Vec<u8>], init: &[u8], early: &AtomicU64) -> Reply {
    let (name, query) = path.split_once('?').unwrap_or((path, ""));
    match name.trim_start_matches('/').split_once('.') {
        Some(("index", _)) => {
            let value = |name: &str| {
                let found = query
                    .split('&')
                    .find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
                found.map(|text| text.parse::<usize>().expect("it is there"))
            };
            if let (Some(number), Some(part)) = (value("_HLS_msn"), value("_HLS_part")) {
                live.wait_for(number * PARTS + part + 1);
            } else {
                live.asked();
            }
            Reply::ok(low_latency_list(live.there()), Framing::Length)
        }
        Some(("init", _)) => Reply::ok(init, Framing::Length),
        Some((number, _)) => match number.strip_prefix('p').and_then(|number| number.parse::<usize>().ok()) {
            Some(number) if number < parts.len() => {
                early.fetch_add(u64::from(live.there() <= number), Ordering::Relaxed);
                live.wait_for(number + 1);
                Reply::ok(parts[number].clone(), Framing::Chunked)
            }
            _ => Reply::none("404 Not Found"),
        },
        None => Reply::none("404 Not Found"),
    }
}

fn low_latency_list(there: usize) -> String {
    let mut text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-VERSION:9\n#EXT-X-PART-INF:PART-TARGET=0.1\n\
                    #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.3\n#EXT-X-MEDIA-SEQUENCE:0\n\
                    #EXT-X-MAP:URI=\"init.mp4\"\n"
        .to_owned();
    for part in 0..there {
        let independent = if part % PARTS == 0 { ",INDEPENDENT=YES" } else { "" };
        text += &format!("#EXT-X-PART:DURATION=0.1,URI=\"p{part}.m4s\"{independent}\n");
        if part % PARTS == PARTS - 1 {
            text += &format!("#EXTINF:0.4,\ns{}.m4s\n", part / PARTS);
        }
    }
    // The next part may turn out to be none.
    text + &if there == SEGMENTS * PARTS {
        "#EXT-X-ENDLIST\n".to_owned()
    } else {
        format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p{there}.m4s\"\n")
    }
}

#[test]
fn parts_are_asked_for_before_they_are_there() {
    let mut all = segments("fmp4");
    let init = all.pop().expect("it is there");
    let parts = parts(&all);
    let early = Arc::new(AtomicU64::new(0));
    let live = Live::new(2 * PARTS, 120, SEGMENTS * PARTS, 10);
    let counted = Arc::clone(&early);
    let address = listen(None, move |wire| {
        http(wire, |path| low_latency(&live, path, &parts, &init, &counted));
    });
    let url = format!("http://{address}/index.m3u8");
    let found = watch(&url, 10, 5, |audience| audience.over() == 10);
    assert_eq!((found.ok, found.failed, found.missed), (10, 0, 0), "{found:?}");
    let (pictures, breaks) = found.pictures();
    // They begin with the second segment.
    assert_eq!((pictures, breaks), (5 * 240, 0), "{found:?}");
    assert_eq!(found.problems().0, 0, "{:?}", found.problems());
    assert!(early.load(Ordering::Relaxed) >= 10, "hints are followed: {early:?}");
}

/// RTP packets in `$` frames, with the numbers and times of the script.
fn rtsp(mut wire: Wire, left_out: Option<u16>, kept: &AtomicU64) {
    let (mut held, mut kept_here) = (Vec::new(), 0);
    let mut set_up = 0;
    while let Some(head) = request(&mut wire, &mut held) {
        let sequence = head
            .lines()
            .find_map(|line| line.strip_prefix("CSeq: "))
            .expect("it is there");
        let method = head.split(' ').next().expect("it is there");
        let session = "Session: 77;timeout=2\r\n";
        let text = match method {
            "DESCRIBE" => {
                let sdp =
                    "v=0\r\nm=video 0 RTP/AVP 96\r\na=control:track1\r\nm=audio 0 RTP/AVP 97\r\na=control:track2\r\n";
                format!(
                    "Content-Base: rtsp://127.0.0.1/live/\r\nContent-Length: {}\r\n\r\n{sdp}",
                    sdp.len()
                )
            }
            "SETUP" => {
                set_up += 1;
                assert!(
                    head.contains(&format!("SETUP rtsp://127.0.0.1/live/track{set_up} RTSP/1.0")),
                    "{head}"
                );
                assert!(
                    head.contains(&format!("interleaved={}-{}", 2 * set_up - 2, 2 * set_up - 1)),
                    "{head}"
                );
                format!("{session}\r\n")
            }
            "OPTIONS" => "Public: DESCRIBE, SETUP, PLAY\r\n\r\n".to_owned(),
            _ => {
                assert!(head.contains("\r\nSession: 77\r\n"), "{head}");
                format!("{session}\r\n")
            }
        };
        let mut out = format!("RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n{text}").into_bytes();
        // A keep-alive after the first second shows that the session is held; then come the rest of the packets.
        if method == "GET_PARAMETER" {
            kept_here += 1;
            kept.fetch_add(1, Ordering::Relaxed);
        }
        let packets = match (method, kept_here) {
            ("PLAY", _) => 0..50,
            ("GET_PARAMETER", 1) => 50..100,
            _ => 0..0,
        };
        for number in packets.filter(|number| Some(*number) != left_out) {
            for channel in [0, 1, 2] {
                let mut packet = vec![0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                packet[2..4].copy_from_slice(&number.to_be_bytes());
                if channel == 0 {
                    Stamp {
                        nanos: 0,
                        number: number.into(),
                    }
                    .emit(&mut packet);
                }
                out.extend([b'$', channel, 0, packet.len() as u8]);
                out.extend(packet);
            }
        }
        if out.chunks(1000).any(|piece| wire.write_all(piece).is_err()) {
            return;
        }
    }
}

fn rtsp_is_watched(secure: bool, left_out: Option<u16>) -> Findings {
    let kept = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&kept);
    let address = listen(if secure { tls() } else { None }, move |wire| {
        rtsp(wire, left_out, &counted)
    });
    let scheme = if secure { "rtsps" } else { "rtsp" };
    // At the second keep-alive of each of the four all packets have long been read.
    let found = watch(&format!("{scheme}://{address}/live"), 4, 2, |audience| {
        audience.playing() == 4 && kept.load(Ordering::Relaxed) >= 8
    });
    // Between two keep-alives it is silent.
    assert_eq!((found.ok + found.stalled, found.failed), (4, 0), "{found:?}");
    found
}

#[test]
fn interleaved_packets_are_watched_and_a_lost_one_is_found() {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let found = rtsp_is_watched(false, None);
            let problems = found.problems();
            assert_eq!((found.pictures(), problems.0), ((200, 0), 0), "{problems:?}");
        });
        scope.spawn(|| {
            let found = rtsp_is_watched(true, Some(20));
            let problems = found.problems();
            // On both channels of two viewers.
            assert_eq!((found.pictures(), problems.0), ((198, 2), 4), "{problems:?}");
        });
    });
}

#[test]
fn penstock_is_watched_through_a_front_with_tls() {
    let settings = Settings {
        binary: server::sibling().expect("it is there"),
        shards: 1,
    };
    let stage = Stage::start_streams(&settings, 600, 3).expect("it is there");
    let (to_http, to_rtmp) = (stage.server().http, stage.server().rtmp);
    let web = listen(tls(), move |wire| relay(wire, to_http));
    let rtmp = listen(tls(), move |wire| relay(wire, to_rtmp));
    assert_eq!(stage.targets(Packaging::Flv).expect("it is there").len(), 3);
    for url in [
        format!("https://{web}/live+2.flv"),
        format!("https://{web}/live+3.ts"),
        format!("rtmps://{rtmp}/app/live+1"),
    ] {
        // Two seconds of the stream for each.
        let found = watch(&url, 4, 2, |audience| {
            let bytes = audience.moment(None).map_or(0, |moment| moment.bytes);
            audience.playing() == 4 && bytes > 600_000
        });
        assert_eq!((found.ok, found.failed), (4, 0), "{url}: {found:?}");
        let (pictures, breaks) = found.pictures();
        assert!(pictures >= 2 * 15 && breaks == 0, "{url}: {found:?}");
        assert_eq!(found.problems().0, 0, "{url}: {:?}", found.problems());
    }
    // A certificate that nobody knows is refused without --insecure.
    let target = Target::parse(&format!("https://{web}/live+1.flv")).expect("it is there");
    let mut audience = Audience::new("test").expect("it is there");
    audience.open(&target, 1, 0, Duration::ZERO).expect("it is there");
    let deadline = Instant::now() + DEADLINE;
    while audience.failed() == 0 && Instant::now() < deadline {
        audience.watch(LOOK, None).expect("it is there");
    }
    let found = audience.end().expect("it is there");
    assert!(
        found.failed == 1 && found.reasons[0].contains("certificate"),
        "{found:?}"
    );
}
