//! The memory budget: how much it is, and what is given up in which order when it is short.

mod support;

use std::time::Duration;

use serde_json::json;

use support::audience::Audience;
use support::clips::{self, Clip};
use support::confine;
use support::flv::{self, Tag};
use support::process::{From, Process};
use support::rtmp::Publisher;
use support::server::{self, Server};
use support::wire::PATIENCE;

const WITHIN: Duration = Duration::from_secs(15);
/// As told to the server, so that a test need not fill the machine.
const MEGABYTES: u64 = 32;
const BLOCKS: u64 = MEGABYTES * 4 - 1;

/// A server that is started with these arguments more.
fn start_with(config: &serde_json::Value, arguments: &[&str]) -> Server {
    let (mut command, path) = server::command("serve", config);
    command.args(arguments);
    Server::ready(&mut command, path)
}

fn tags(clip: Clip) -> Vec<Tag> {
    flv::tags(&std::fs::read(clip.file()).expect("made by the call"))
}

#[test]
fn the_budget_is_what_is_asked_for_or_a_share_of_what_there_is() {
    let meminfo = [("/proc/meminfo", "MemTotal: 262144 kB\nMemFree: 1 kB\n")];
    let mut configured = server::config(1);
    configured["config"]["penstock"]["memory_bytes"] = json!(32 << 20);
    let plain = server::config(1);
    let cases: [(_, &[&str], u64, &str); 4] = [
        (&plain, &[], 128, "50% of 256 MiB of RAM"),
        (&plain, &["--memory", "25%"], 64, "--memory 25% of 256 MiB of RAM"),
        (&configured, &[], 32, "config.penstock.memory_bytes"),
        (&configured, &["--memory", "48M"], 48, "--memory"),
    ];
    for (config, arguments, megabytes, source) in cases {
        let (mut command, path) = server::command("serve", config);
        command.args(arguments);
        let server = Server::ready(&mut confine::with_files(&meminfo, &command), path);
        let bytes = format!("memory_bytes={}", megabytes << 20);
        server.wait_log(&["started", &bytes, source], WITHIN);
        // The first block is the pool's own.
        assert_eq!(server.counters()["memory_blocks"], megabytes * 4 - 1, "{arguments:?}");
    }
    let server = start_with(&plain, &["--memory", "10T"]);
    server.wait_log(&["WARN", "more than the process may use", "usable="], WITHIN);
}

#[test]
fn an_amount_that_is_none_is_refused_with_what_is_possible() {
    for (amount, words) in [
        ("8X", "neither bytes (8589934592, 512M, 8G) nor a share (50%)"),
        ("200%", "from 1% to 100%"),
        ("1K", "not between 16 MiB and 16 TiB"),
    ] {
        let (mut command, _) = server::command("serve", &server::config(1));
        command.args(["--memory", amount]);
        let process = Process::start("penstock", &mut command);
        assert_eq!(process.wait_exit(WITHIN).code(), Some(2), "{}", process.said());
        let said = process.said();
        assert!(said.contains(words) && said.contains(amount), "{said}");
        assert!(process.lines().iter().all(|(from, _)| *from == From::Stderr), "{said}");
    }
}

/// The window of the stream that keeps most is shortened for new ones, then they are refused, and those on air go on:
/// no frame is dropped and no feed ended. What leaves makes room again.
#[test]
fn windows_are_shortened_before_new_streams_are_refused_and_nobody_on_air_loses_anything() {
    const STREAMS_MAX: usize = 24;
    let mut config = server::config_with(2, json!({"live": {"source": "push://127.0.0.1", "grace": 300}}));
    for number in 0..STREAMS_MAX {
        config["streams"][format!("s{number}")] = json!({"source": "push://127.0.0.1", "grace": 100});
    }
    let server = start_with(&config, &["--memory", &format!("{MEGABYTES}M")]);
    let all = tags(clips::SHORT_GOPS);
    let (head, rest) = all.split_at(all.partition_point(|tag| tag.time < 400));
    let (middle, last) = rest.split_at(rest.partition_point(|tag| tag.time < 11_000));
    let mut large = Publisher::start(server.rtmp, "live", 8);
    large.send(head);
    let audience = Audience::join(&server, "live", &["flv"]);
    large.restart_clock();
    large.send(middle);
    // Nothing is short yet; its window is the most of what is used.
    let before = server.counters();
    assert_eq!(
        (before["rings_shrunk"], before["streams_shortened"]),
        (0, 0),
        "{before:?}"
    );
    let small = clips::SMALL.part(1_000);
    let mut others = Vec::new();
    let refusal = loop {
        let name = format!("s{}", others.len());
        assert!(
            others.len() < STREAMS_MAX,
            "no stream is refused: {:?}",
            server.counters()
        );
        match Publisher::try_start(server.rtmp, &name, 8) {
            Ok(mut publisher) => {
                publisher.send(&small);
                // It is on air, and has taken what it takes.
                server.wait_live(&name, PATIENCE);
                others.push(publisher);
            }
            Err(why) => break why,
        }
    };
    assert!(refusal.contains("no memory for another stream"), "{refusal}");
    server.wait_log(&["WARN", "windows of streams that keep most are shortened"], WITHIN);
    server.wait_log(&["WARN", "new streams are refused"], WITHIN);
    server.wait_log(&["WARN", "publisher refused", "no memory for another stream"], WITHIN);
    // Only the large one had anything to give, and it gave all before anybody was refused.
    let short = server.counters();
    assert_eq!(short["publishers_refused_memory"], 1);
    assert_eq!(short["streams_shortened"], 1, "{short:?}");
    assert!(short["rings_shrunk"] >= 15, "{short:?}");
    assert!(short["memory_blocks_used"] > BLOCKS * 7 / 8, "{short:?}");
    // It goes on, and so do those beside it.
    large.restart_clock();
    large.send(last);
    large.end();
    audience.finish().assert_saw(&all);
    let counters = server.counters();
    for name in [
        "frames_dropped_memory",
        "frames_dropped_undecodable",
        "feeds_ended_memory",
    ] {
        assert_eq!(counters[name], 0, "{name}");
    }
    // What has left is free for others, and it is said once.
    others.into_iter().for_each(Publisher::end);
    server.wait_counters("all have left", PATIENCE, |counters| counters["streams"] == 0);
    let mut again = Publisher::start(server.rtmp, "s0", 8);
    again.send(&small);
    server.wait_log(&["INFO", "there is memory again"], WITHIN);
    again.end();
    server.wait_counters("nothing is left", PATIENCE, |counters| {
        (
            counters["streams"],
            counters["streams_shortened"],
            counters["memory_blocks_used"],
        ) == (0, 0, 0)
    });
}
