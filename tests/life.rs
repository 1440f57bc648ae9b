//! Start, stop and what an operator sees: the configuration's check, signals, counters, a second instance, no privilege.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use support::clips;
use support::process::{From, Process, run};
use support::publish::{Times, push};
use support::rtmp::Publisher;
use support::server::{self, Server};
use support::wire;

const WITHIN: Duration = Duration::from_secs(15);
/// What the issue promises for the end after SIGTERM.
const END: Duration = Duration::from_secs(2);

#[test]
fn sigterm_ends_viewers_cleanly_and_prints_counters() {
    let server = Server::start(&server::config(2));
    let _publisher = push(&clips::B_FRAMES.file(), &server.rtmp_url("live/live"), Times::Forever);
    server.wait_live("live", WITHIN);
    let dir = support::scratch("term");
    let viewers: Vec<_> = ["flv", "ts", "mp4"]
        .into_iter()
        .map(|kind| wire::Recorder::start(server.http, &format!("/live.{kind}"), &dir.join(format!("live.{kind}"))))
        .collect();
    for viewer in &viewers {
        assert_eq!(viewer.answer().status, 200);
    }
    let (status, took) = server.terminate(WITHIN);
    assert_eq!(status.code(), Some(0), "{}", server.process.said());
    assert!(took <= END, "the end took {took:?}");
    for viewer in viewers {
        let file = viewer.path.clone();
        viewer.finish();
        support::compare::assert_decodes(&file);
    }
    let counters = server
        .process
        .lines()
        .iter()
        .filter(|(_, line)| server::counter(line).is_some())
        .count();
    assert!(counters > 0, "no counter at the end\n{}", server.process.said());
}

#[test]
fn sigterm_while_idle() {
    let server = Server::start(&server::config(2));
    let (status, took) = server.terminate(WITHIN);
    assert_eq!(status.code(), Some(0));
    assert!(took <= END, "the end took {took:?}");
}

#[test]
fn counters_count() {
    let server = Server::start(&server::config(2));
    let before = server.counters();
    assert!(!before.is_empty());
    let names: Vec<&String> = before.keys().collect();
    assert!(names.iter().all(|name| {
        name.chars()
            .all(|char| char.is_ascii_lowercase() || "_.0123456789".contains(char))
    }));
    let _publisher = push(&clips::B_FRAMES.file(), &server.rtmp_url("live/live"), Times::Once);
    server.wait_live("live", WITHIN);
    let after = server.counters();
    assert_eq!(
        after.keys().collect::<Vec<_>>(),
        names,
        "counters are declared once and all are always printed"
    );
    assert!(
        after.iter().any(|(name, value)| before[name] < *value),
        "nothing was counted: {after:?}"
    );
}

#[test]
fn a_second_instance_says_that_the_port_is_taken() {
    let first = Server::start(&server::config(2));
    let mut config = server::config(2);
    config["config"]["protocols"][0]["port"] = json!(first.http.port());
    let (mut command, _) = server::command("serve", &config);
    let second = Process::start("penstock (second)", &mut command);
    let status = second.wait_exit(WITHIN);
    assert!(!status.success(), "two servers share a port");
    let port = first.http.port().to_string();
    let said = second.said();
    assert!(
        said.contains(&port) && said.to_lowercase().contains("in use"),
        "no clear error:\n{said}"
    );
    assert_eq!(
        wire::ask(first.http, "GET", "/nosuch.flv", &[]).status,
        404,
        "the first one is not disturbed"
    );
}

#[test]
fn runs_as_an_ordinary_user() {
    let server = Server::start_as_nobody(&server::config(2));
    let clip = clips::NO_B_FRAMES;
    let publisher = push(&clip.file(), &server.rtmp_url("live/live"), Times::Once);
    server.wait_live("live", WITHIN);
    let file = support::scratch("nobody").join("live.ts");
    let viewer = wire::Recorder::start(server.http, "/live.ts", &file);
    assert_eq!(viewer.answer().status, 200);
    publisher.succeed(Duration::from_secs(clip.seconds.into()) + WITHIN);
    viewer.finish();
    support::compare::assert_equal(&clip.file(), &file, support::compare::WHOLE);
}

fn check(config: &serde_json::Value) -> (bool, String) {
    let (mut command, _) = server::command("check", config);
    let process = Process::start("penstock check", &mut command);
    let status = process.wait_exit(WITHIN);
    (status.success(), process.said())
}

#[test]
fn check_names_what_is_wrong() {
    let (good, said) = check(&server::config(2));
    assert!(good, "{said}");
    let mut unknown = server::config(2);
    unknown["config"]["protocols"][0]["prot"] = json!(8080);
    let (good, said) = check(&unknown);
    // The key's path, the name that was perhaps meant, and the line.
    assert!(
        !good
            && said.contains("config.protocols[0].prot:")
            && said.contains("\"port\"")
            && said.contains("penstock.json:15:"),
        "{said}"
    );
    let mut wrong = server::config(2);
    wrong["streams"]["live"]["source"] = json!(7);
    let (good, said) = check(&wrong);
    assert!(!good && said.contains("streams.live.source"), "{said}");
    let mut mistaken = server::config(2);
    mistaken["config"]["protocols"][1]["port"] = json!(123_456);
    let (good, said) = check(&mistaken);
    assert!(!good && said.contains("123456"), "{said}");
}

/// README's and the issue's example, as it stands.
#[test]
fn the_example_configuration_is_good() {
    let example = r#"{"config":{"controller":{"port":4242,"interface":"127.0.0.1"},"protocols":[
        {"connector":"HTTP","port":8080,"interface":"0.0.0.0"},{"connector":"RTMP","port":1935},
        {"connector":"FLV"},{"connector":"HTTPTS"},{"connector":"MP4"}]},
        "streams":{"live":{"source":"push://127.0.0.1"}}}"#;
    let path = support::scratch("example").join("penstock.json");
    std::fs::write(&path, example).expect("scratch is ours");
    let said = run_penstock(&["check", "-c", &path.display().to_string()]);
    assert!(said.contains("good") && said.contains("2 listeners"), "{said}");
    // What is not there yet is named, with its place.
    assert!(
        said.contains("warning: ") && said.contains("penstock.json:1:25: config.controller:"),
        "{said}"
    );
}

/// Runs penstock to its end, which must be a success; everything it said.
fn run_penstock(arguments: &[&str]) -> String {
    let process = Process::start("penstock", std::process::Command::new(server::binary()).args(arguments));
    process.succeed(WITHIN);
    process.said()
}

#[test]
fn every_counter_is_explained() {
    let said = |arguments: &[&str]| {
        run(
            "penstock",
            std::process::Command::new(server::binary()).args(arguments),
            WITHIN,
        )
    };
    let lines: serde_json::Value = serde_json::from_str(&said(&["counters", "--json"])).unwrap();
    let kind = |name: &str| {
        lines
            .as_array()
            .unwrap()
            .iter()
            .find(|line| line["name"] == name)
            .unwrap()["kind"]
            .clone()
    };
    assert_eq!(
        (kind("viewers"), kind("viewers_total")),
        ("gauge".into(), "total".into())
    );
    assert!(said(&["counters"]).contains("bytes_sent (total, bytes)"));
    let server = server::Server::start(&server::config(1));
    let reported: Vec<_> = server.counters().into_keys().collect();
    let mut declared: Vec<_> = lines
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["name"].as_str().unwrap())
        .collect();
    declared.sort_unstable();
    assert_eq!(reported, declared);
}

#[test]
fn help_and_version() {
    let help = run_penstock(&["--help"]);
    for words in ["Usage: penstock", "serve", "check", "demo", "counters", "--version"] {
        assert!(help.contains(words), "{words:?} is not in\n{help}");
    }
    let help = run_penstock(&["serve", "--help"]);
    assert!(help.contains("--config") && help.contains("penstock.json"), "{help}");
    let version = run_penstock(&["--version"]);
    assert!(
        version.starts_with(concat!("penstock ", env!("CARGO_PKG_VERSION"))),
        "{version}"
    );
    for fact in ["commit:", "changed:", "built:", "with:    rustc "] {
        assert!(version.contains(fact), "{fact:?} is not in\n{version}");
    }
}

#[test]
fn a_missing_configuration_is_named() {
    let nowhere = support::scratch("nowhere").join("penstock.json");
    let mut command = std::process::Command::new(server::binary());
    let process = Process::start("penstock", command.args(["serve", "-c"]).arg(&nowhere));
    assert!(!process.wait_exit(WITHIN).success());
    let said = process.said();
    assert!(
        said.contains(&nowhere.display().to_string()) && said.contains("no such file"),
        "{said}"
    );
}

/// What `cargo run --release -- demo` gives a newcomer: addresses that play, one to push to, and an end.
#[test]
fn demo_plays_and_stops() {
    let mut command = std::process::Command::new(server::binary());
    command.args(["demo", "--http-port", "0", "--rtmp-port", "0"]);
    let demo = Process::start("penstock demo", &mut command);
    let address = |end: &str| {
        demo.wait(&format!("an address that ends with {end}"), WITHIN, |from, line| {
            let is_it = |word: &&str| word.contains("://") && word.ends_with(end);
            let word = line.split_whitespace().find(is_it).filter(|_| from == From::Stdout);
            word.map(str::to_string)
        })
    };
    demo.wait_words(&["Stop it with Ctrl-C"], WITHIN);
    for end in [
        "/demo.flv",
        "/demo.ts",
        "/demo.mp4",
        "/play/demo",
        "/hls/demo/index.m3u8",
        "/cmaf/demo/index.m3u8",
        "/cmaf/demo/index.mpd",
    ] {
        let mut command = std::process::Command::new("ffprobe");
        command.args([
            "-v",
            "error",
            "-analyzeduration",
            "1000000",
            "-show_entries",
            "stream=codec_name",
        ]);
        let codecs = run("ffprobe", command.arg(address(end)), WITHIN);
        assert!(codecs.contains("h264") && codecs.contains("aac"), "{end}: {codecs}");
    }
    let publisher = push(&clips::NO_B_FRAMES.file(), &address("/app/live"), Times::Forever);
    demo.wait_words(&["publisher accepted", "live"], WITHIN);
    drop(publisher);
    let asked = Instant::now();
    demo.signal("INT");
    let status = demo.wait_exit(WITHIN);
    assert_eq!(status.code(), Some(0), "{}", demo.said());
    assert!(asked.elapsed() <= END, "the end took {:?}", asked.elapsed());
}

/// A stream that nobody watches is taken in and no more; a feed is made for a viewer and goes some seconds after it.
#[test]
fn nothing_is_muxed_for_nobody() {
    let server = Server::start(&server::config(2));
    let _publisher = push(&clips::B_FRAMES.file(), &server.rtmp_url("live/live"), Times::Forever);
    server.wait_counters("a second of media", WITHIN, |counters| counters["frames_in"] > 60);
    let counters = server.counters();
    assert_eq!((counters["frames_muxed"], counters["feeds"]), (0, 0));
    let mut viewer = wire::Wire::connect(server.http);
    viewer.request("GET", "/live.flv", &[]);
    assert_eq!(viewer.answer("GET").status, 200);
    assert!(!viewer.read_at_least(1).is_empty());
    let counters = server.counters();
    assert!(counters["frames_muxed"] > 0);
    assert_eq!((counters["feeds"], counters["viewers"]), (1, 1));
    drop(viewer);
    server.wait_counters("the feed's end", WITHIN, |counters| counters["feeds"] == 0);
    let before = server.counters();
    assert_eq!(before["viewers"], 0);
    let later = before["frames_in"] + 25;
    server.wait_counters("more media", WITHIN, |counters| counters["frames_in"] > later);
    assert_eq!(server.counters()["frames_muxed"], before["frames_muxed"]);
}

/// Everybody who is there from the start has the same bytes to the end.
#[test]
fn three_hundred_viewers() {
    const VIEWERS: usize = 300;
    let server = Server::start(&server::config(2));
    let sent = support::flv::tags(&std::fs::read(clips::SMALL.file()).expect("made by the call"));
    let head = sent.partition_point(|tag| tag.time < 1_000);
    // 1 s of media before the viewers come, 5 s in half that time while they watch.
    let mut publisher = Publisher::start(server.rtmp, "live", 2);
    publisher.send(&sent[..head]);
    let viewers: Vec<_> = (0..VIEWERS)
        .map(|_| wire::Recorder::start(server.http, "/live.flv", Path::new("/dev/null")))
        .collect();
    for viewer in &viewers {
        assert_eq!(viewer.answer().status, 200);
    }
    assert_eq!(server.counters()["viewers"], VIEWERS as u64);
    publisher.restart_clock();
    publisher.send(&sent[head..]);
    publisher.end();
    let bytes: Vec<u64> = viewers.into_iter().map(wire::Recorder::finish).collect();
    let media: usize = sent.iter().map(|tag| tag.body.len()).sum();
    assert!(bytes[0] > media as u64, "{} bytes of {media}", bytes[0]);
    assert!(bytes.iter().all(|count| *count == bytes[0]), "{bytes:?}");
}
