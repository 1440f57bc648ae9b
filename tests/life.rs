//! Start, stop and what an operator sees: the configuration's check, signals, counters, a second instance, no privilege.

mod support;

use std::time::Duration;

use serde_json::json;

use support::clips;
use support::process::{Process, run};
use support::publish::{Times, push};
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

#[test]
fn the_issue_s_example_configuration_is_good() {
    let example = json!({
        "config": {
            "controller": {"port": 4242, "interface": "127.0.0.1"},
            "protocols": [
                {"connector": "HTTP", "port": 8080, "interface": "0.0.0.0"},
                {"connector": "RTMP", "port": 1935},
                {"connector": "FLV"}, {"connector": "HTTPTS"}, {"connector": "MP4"}
            ]
        },
        "streams": {"live": {"source": "push://127.0.0.1"}}
    });
    let (good, said) = check(&example);
    assert!(good, "{said}");
}

#[test]
fn help_and_version() {
    let said = |argument: &str| {
        run(
            "penstock",
            std::process::Command::new(server::binary()).arg(argument),
            WITHIN,
        )
    };
    let help = said("--help");
    for verb in ["serve", "check", "demo"] {
        assert!(help.contains(verb), "{help}");
    }
    let version = said("--version");
    assert!(
        version.starts_with("penstock ") && version.contains(env!("CARGO_PKG_VERSION")),
        "{version}"
    );
}
