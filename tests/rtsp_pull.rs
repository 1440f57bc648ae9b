//! Sources that the server pulls over RTSP, from outside: GStreamer's RTSP server as a camera, and penstock itself. What is
//! pulled comes out of every output, frame for frame.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use support::clips;
use support::compare::{self, End, REPORTED_JOINED, Rules};
use support::normal::{self, Kind, Track};
use support::publish::{Times, push};
use support::rtsp::{self, Camera, TCP};
use support::server::{self, Server};
use support::strict;
use support::wire::{self, Recorder};

const SLACK: Duration = Duration::from_secs(20);
const WITHIN: Duration = Duration::from_secs(10);

/// What is pulled begins at a keyframe, on times of reports, and ends where the camera does.
const PULLED: Rules = Rules {
    end: End::Anywhere,
    ..REPORTED_JOINED
};

fn config(streams: Value) -> Value {
    server::with_rtsp(server::config_with(2, streams))
}

fn assert_pulled(clip: &Path, file: &Path) {
    if file.extension().is_some_and(|extension| extension != "mkv") {
        strict::assert_strict(file);
    }
    compare::assert_equal(clip, file, PULLED);
    compare::assert_decodes(file);
}

fn pictures(file: &Path) -> usize {
    let tracks = normal::read(file).tracks;
    let pictures = tracks.iter().filter(|track| track.kind == Kind::Video);
    pictures.map(|track| track.frames.len()).sum()
}

fn record(server: &Server, name: &str, kind: &str, dir: &Path) -> Recorder {
    Recorder::start(
        server.http,
        &format!("/{name}.{kind}"),
        &dir.join(format!("{name}.{kind}")),
    )
}

/// Viewers of four outputs start the pull; all of them get the clip, with its B-frames, from its first picture; and when the
/// camera has said goodbye and nobody is left, nothing is pulled.
#[test]
fn a_camera_is_pulled_over_tcp_when_somebody_watches() {
    let clip = clips::B_FRAMES.file();
    let login = ["--login", "digest", "--user", "ad:min", "--password", "p@ss/50%"];
    let camera = Camera::start(&clip, &[&["--protocols", "tcp"], &login[..]].concat());
    let source = camera.url("ad%3amin:p%40ss%2F50%25@");
    let server = Server::start(&config(
        json!({"cam": {"source": source, "transport": "tcp", "grace": 300}}),
    ));
    let counters = server.counters();
    assert_eq!((counters["pulls"], counters["pulls_tried"]), (0, 0), "nobody watches");
    let dir = support::scratch("pull-tcp");
    let recorders: Vec<Recorder> = ["flv", "ts", "mp4"]
        .map(|kind| record(&server, "cam", kind, &dir))
        .into();
    let played = dir.join("cam.mkv");
    let player = rtsp::ffmpeg_record(&server.rtsp_url("cam"), TCP, &played);
    server.wait_log(&["source plays", "cam", "tcp"], WITHIN);
    for recorder in recorders {
        let file = recorder.path.clone();
        assert!(recorder.finish() > 0, "{}: no byte came", file.display());
        assert_pulled(&clip, &file);
        assert_eq!(pictures(&file), pictures(&clip), "{}", file.display());
    }
    player.succeed(SLACK);
    assert_pulled(&clip, &played);
    server.wait_counters("the pull ends", WITHIN, |counters| counters["pulls"] == 0);
    let counters = server.counters();
    assert_eq!(
        (counters["frames_lost"], counters["packets_unreadable"]),
        (0, 0),
        "{counters:?}"
    );
    camera.process.wait_words(&["teardown"], WITHIN);
    assert!(!server.process.said().contains("p@ss") && !server.process.said().contains("p%40ss"));
}

#[test]
fn a_camera_is_pulled_by_udp() {
    let clip = clips::B_FRAMES.file();
    let login = ["--login", "basic", "--user", "admin", "--password", "50%&x"];
    let camera = Camera::start(&clip, &login);
    // Pasted as it is.
    let source = camera.url("admin:50%&x@");
    let server = Server::start(&config(json!({"cam": {"source": source, "grace": 300}})));
    let dir = support::scratch("pull-udp");
    let recorder = record(&server, "cam", "flv", &dir);
    server.wait_log(&["source plays", "cam", "udp"], WITHIN);
    let file = recorder.path.clone();
    assert!(recorder.finish() > 0, "no byte came");
    assert_pulled(&clip, &file);
    assert_eq!(pictures(&file), pictures(&clip));
    let counters = server.counters();
    assert_eq!(
        (counters["packets_lost"], counters["frames_lost"]),
        (0, 0),
        "{counters:?}"
    );
    assert_eq!(counters["datagrams_stray"], 0, "{counters:?}");
}

/// UDP is refused, TCP is not. The last viewer gone, the pull ends after its time; the next viewer begins it anew.
#[test]
fn auto_falls_back_to_tcp_and_a_pull_ends_without_viewers() {
    let clip = clips::NO_B_FRAMES.file();
    let camera = Camera::start(&clip, &["--protocols", "tcp"]);
    let stream = json!({"source": camera.url(""), "grace": 300, "inputtimeout": 0});
    let mut config = config(json!({"cam": stream}));
    let protocols = config["config"]["protocols"].as_array_mut();
    protocols.expect("they are a list").push(json!({"connector": "HLS"}));
    let server = Server::start(&config);
    for round in 1..=2 {
        assert!(wire::first_media_byte(server.http, "/cam.flv", WITHIN), "round {round}");
        server.wait_log(&["source plays", "cam", "tcp"], WITHIN);
        server.wait_log(&["source is pulled no more", "nobody watches"], WITHIN);
        server.wait_counters("the pull ends", WITHIN, |counters| {
            counters["pulls"] == 0 && counters["streams"] == 0 && counters["pulls_tried"] == round
        });
    }
    camera.process.wait_words(&["teardown"], WITHIN);
    // Who asks for a playlist is a viewer too.
    let playlist = wire::ask(server.http, "GET", "/hls/cam/index.m3u8", &[]);
    assert_eq!(playlist.status, 200);
    assert_eq!(server.counters()["pulls"], 1);
    let (status, _) = server.terminate(Duration::from_secs(5));
    assert!(status.success(), "{status}");
}

#[test]
fn a_wrong_password_is_told_apart_and_not_told() {
    let login = ["--login", "digest", "--user", "admin", "--password", "right"];
    let camera = Camera::start(&clips::NO_B_FRAMES.file(), &login);
    let wrong = json!({"source": camera.url("admin:WRONG@"), "grace": 300});
    let nobody = json!({"source": camera.url(""), "grace": 300});
    let server = Server::start(&config(json!({"wrong": wrong, "nobody": nobody})));
    for (name, why) in [
        ("wrong", "the server refuses the user or password of the address"),
        (
            "nobody",
            "the server wants a user and password, and the address has none",
        ),
    ] {
        let answer = wire::ask(server.http, "GET", &format!("/{name}.flv"), &[]);
        assert_eq!(answer.status, 404, "{name}");
        let line = server.wait_log(&["WARN", "source failed", name], WITHIN);
        assert!(line.contains(why), "{line}");
        server.wait_log(&["source is pulled no more", name], WITHIN);
    }
    assert!(!server.process.said().contains("WRONG"), "{}", server.process.said());
}

/// Another penstock is the source, over both transports at once.
#[test]
fn penstock_pulls_from_penstock() {
    let clip = clips::B_FRAMES.file();
    let origin = Server::start(&config(json!({"live": {"source": "push://127.0.0.1", "grace": 300}})));
    let publisher = push(&clip, &origin.rtmp_url("live/live"), Times::Once);
    origin.wait_live("live", WITHIN);
    let of = |transport: &str| json!({"source": origin.rtsp_url("live"), "transport": transport, "grace": 300});
    let edge = Server::start(&config(json!({"tcp": of("tcp"), "udp": of("udp")})));
    let dir = support::scratch("pull-penstock");
    let recorders = ["tcp", "udp"].map(|name| record(&edge, name, "flv", &dir));
    for name in ["tcp", "udp"] {
        edge.wait_log(
            &[
                "source plays",
                &format!("stream=\"{name}\""),
                &format!("transport=\"{name}\""),
            ],
            WITHIN,
        );
    }
    publisher.succeed(SLACK);
    for recorder in recorders {
        let file = recorder.path.clone();
        assert!(recorder.finish() > 0, "{}: no byte came", file.display());
        assert_pulled(&clip, &file);
        assert!(pictures(&file) > 50, "{}", file.display());
    }
}

/// The source dies and comes back: one viewer sees both, on one timeline.
#[test]
fn a_source_that_comes_back_goes_on() {
    let clip = clips::SHORT_GOPS.file();
    let origin_config = config(json!({"live": {"source": "push://127.0.0.1"}}));
    let origin = Server::start(&origin_config);
    let publisher = push(&clip, &origin.rtmp_url("live/live"), Times::Forever);
    origin.wait_live("live", WITHIN);
    let source = origin.rtsp_url("live");
    let stream = json!({"source": source, "transport": "tcp", "grace": 15_000, "resume": 1, "always_on": true});
    let edge = Server::start(&config(json!({"cam": stream})));
    edge.wait_log(&["source plays", "cam"], WITHIN);
    let dir = support::scratch("pull-again");
    let recorder = record(&edge, "cam", "flv", &dir);
    recorder.progress.wait_beyond(700_000);
    let mut again = origin_config.clone();
    for connector in again["config"]["protocols"].as_array_mut().expect("they are a list") {
        if connector["connector"] == "RTSP" {
            connector["port"] = json!(origin.rtsp().port());
        }
    }
    drop((origin, publisher));
    edge.wait_log(&["WARN", "source failed", "cam"], WITHIN);
    let before = recorder.progress.reached();
    let origin = Server::start(&again);
    let publisher = push(&clip, &origin.rtmp_url("live/live"), Times::Forever);
    recorder.progress.wait_beyond(before + 700_000);
    let plays = |line: &str| line.contains("source plays");
    let lines = edge.process.lines();
    assert_eq!(lines.iter().filter(|(_, line)| plays(line)).count(), 2);
    drop((origin, publisher));
    let (status, _) = edge.terminate(Duration::from_secs(5));
    assert!(status.success(), "{status}");
    let file: PathBuf = recorder.path.clone();
    recorder.finish();
    // Decode times that only rise, and pictures that decode across the seam.
    strict::assert_strict(&file);
    compare::assert_decodes(&file);
    let tracks = normal::read(&file).tracks;
    assert_eq!(tracks.len(), 2);
    let shown = |track: &Track| track.frames.iter().map(|frame| frame.pts_nanos).collect::<Vec<_>>();
    let times = tracks
        .iter()
        .filter(|track| track.kind == Kind::Video)
        .map(shown)
        .next();
    let times = times.expect("it has pictures");
    // More than in either of its lives; where the source was away there is no hole, and no step back.
    assert!(times.len() > 30, "{} pictures", times.len());
    let steps: Vec<i64> = times.windows(2).map(|two| (two[1] - two[0]) / 1_000_000).collect();
    assert!(steps.iter().all(|millis| (1..500).contains(millis)), "{steps:?}");
}
