//! What becomes of the names that peers ask for, over HTTP and RTMP: one rule for all, deletions said and counted, and
//! nothing of a passphrase in the log.

mod support;

use std::time::{Duration, Instant};

use serde_json::json;

use support::process::From;
use support::rtmp::{Player, Publisher};
use support::server::{self, Server};
use support::{clips, flv, wire};

const WITHIN: Duration = Duration::from_secs(15);

/// A publisher of `name`, whose stream has begun.
fn on_air(server: &Server, asked: &str, name: &str) -> Publisher {
    let mut tags = flv::tags(&std::fs::read(clips::SMALL.file()).expect("made by the call"));
    tags.retain(|tag| tag.time < 1_000);
    let mut publisher = Publisher::start(server.rtmp, asked, 20);
    server.wait_log(&["publisher accepted", &format!("stream={name:?}")], WITHIN);
    publisher.send(&tags);
    publisher
}

#[test]
fn names_in_http_paths() {
    let server = Server::start(&server::config(1));
    let _plain = on_air(&server, "live", "live");
    let _wild = on_air(&server, "live+Cam 1", "live+Cam 1");
    // Path, whether something is deleted.
    let found = [
        ("/live.flv", false),
        ("/LIVE.flv", false),
        ("/Live.FLV", false),
        ("/live.flv?name=/../x&y=%zz", false),
        ("/l%69ve.flv", false),
        ("/li!ve.flv", true),
        ("/%C3%A4live%7E.flv", true),
        ("/live+Cam%201.flv", false),
        ("/live%2BCam%201.flv", false),
        ("/live%20Cam%201.flv", false),
        ("/L*IVE+Cam%201.flv", true),
    ];
    for (path, _) in found {
        // The answer to a HEAD says whether the stream is there.
        assert_eq!(wire::ask(server.http, "HEAD", path, &[]).status, 200, "{path}");
    }
    let deleted = found.iter().filter(|(_, deleted)| *deleted).count() as u64;
    assert_eq!(server.counters()["names_sanitised"], deleted);
    let long = format!("/live+{}.flv", "x".repeat(96));
    let refused = [
        // A wildcard part is used as given.
        ("/live+cam%201.flv", "nobody publishes live+cam 1"),
        ("/live+.flv", "nobody publishes live+"),
        ("/studio.flv", "no stream studio is configured"),
        ("/live+a%5Cb.flv", r"'\\' at byte 6 is not allowed behind the +"),
        ("/live+..b.flv", "\"..\" at byte 5 is not allowed behind the +"),
        ("/live+a%2Fb.flv", "nothing is served at /live+a/b.flv"),
        ("/live%2Fb.flv", "nothing is served at /live/b.flv"),
        ("/!%2A.flv", "stream name has none of the characters"),
        ("/.flv", "stream name has none of the characters"),
        (&long, "stream name has 101 bytes, at most 100 are allowed"),
    ];
    for (path, words) in refused {
        let answer = wire::ask(server.http, "GET", path, &[]);
        let body = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 404, "{path}: {body}");
        assert!(body.contains(words), "{path}: {body}");
    }
    let control = wire::ask(server.http, "GET", "/live+a%01b.flv", &[]);
    assert_eq!(control.status, 400, "{}", control.head);
}

#[test]
fn names_of_rtmp_publishers_and_players() {
    let server = Server::start(&server::config(1));
    for (asked, name) in [
        ("live", "live"),
        ("LIVE", "live"),
        ("live?token=a+b", "live"),
        ("mp4:live", "live"),
        ("live/extra", "live"),
        ("Live+Cam 1", "live+Cam 1"),
        ("live Cam 2", "live+Cam 2"),
        ("live%2BCam%203", "live+Cam 3"),
    ] {
        let publisher = on_air(&server, asked, name);
        drop(Player::start(server.rtmp, asked));
        server.wait_log(&["viewer came", &format!("stream={name:?}"), "RTMP"], WITHIN);
        publisher.end();
    }
    // What is left is another name, and that is not configured.
    let why = Publisher::try_start(server.rtmp, "L!ve", 1).err().expect("refused");
    assert!(why.contains("no stream lve is configured"), "{why}");
    let long = format!("live+{}", "x".repeat(96));
    for (asked, words) in [
        ("live+a\\b", "is not allowed behind the +"),
        ("live+a%5cb", "is not allowed behind the +"),
        ("live+..", "\"..\" at byte 5 is not allowed behind the +"),
        ("live+\u{7}", "at byte 5 is not allowed behind the +"),
        ("!!!", "stream name has none of the characters"),
        (&long, "stream name has 101 bytes, at most 100 are allowed"),
    ] {
        let why = Publisher::try_start(server.rtmp, asked, 1).err().expect("refused");
        assert!(why.contains(words), "{asked}: {why}");
        server.wait_log(&["WARN", "publisher refused", &format!("asked={asked:?}")], WITHIN);
    }
    assert_eq!(server.counters()["publishers_refused_name"], 6);
}

/// The name as it was asked for is in the log, but not more than once a second.
#[test]
fn deletions_are_logged_once_a_second() {
    let server = Server::start(&server::config(1));
    let began = Instant::now();
    for number in 0..100 {
        let asked = format!("/L*ive~{number}.flv");
        assert_eq!(wire::ask(server.http, "GET", &asked, &[]).status, 404);
    }
    let line = server.wait_log(
        &["INFO", "asked=\"L*ive~0\"", "name=\"live0\"", "peer=127.0.0.1:"],
        WITHIN,
    );
    assert!(line.contains("characters that names do not have"), "{line}");
    assert_eq!(server.counters()["names_sanitised"], 100);
    let lines = server.process.lines();
    let said = lines.iter().filter(|(_, line)| line.contains("asked=")).count() as u64;
    assert!(said <= 1 + began.elapsed().as_secs(), "{said} lines");
}

/// A push to a name that is not configured: the encoder is told what to add, and the log has the line as it is written.
#[test]
fn a_name_that_is_not_configured_is_told_with_the_line_to_add() {
    let mut config = server::config_with(1, json!({}));
    let server = Server::start(&config);
    for asked in ["studio", "Studio+cam 1"] {
        let why = Publisher::try_start(server.rtmp, asked, 1).err().expect("refused");
        let told = r#"no stream studio is configured; add to streams: "studio":{"source":"push://127.0.0.1"}"#;
        assert!(why.contains(told), "{why}");
        let line = server.wait_log(&["WARN", "publisher refused", &format!("asked={asked:?}")], WITHIN);
        let (_, add) = line.split_once("add_to_streams=").expect("the line to add");
        config["streams"] = serde_json::from_str(&format!("{{{add}}}")).expect("the line to add is JSON");
    }
    assert_eq!(server.counters()["publishers_refused_unknown"], 2);
    let server = Server::start(&config);
    let _publisher = on_air(&server, "Studio+cam 1", "studio+cam 1");
}

/// Somebody puts the passphrase where the name belongs, or it stands alone: nothing of it is logged, at any level.
#[test]
fn passphrases_are_not_logged() {
    let (mut command, path) = server::command(
        "serve",
        &server::config_with(2, json!({"live": {"source": "push://@ses%ame"}})),
    );
    let server = Server::ready(command.env("RUST_LOG", "trace"), path);
    let attempt = |app: &str, name: &str| Publisher::try_start_as(server.rtmp, app, name, 1).map(Publisher::end);
    for (app, name) in [
        ("live", "ses%ame"),
        ("app", "ses%25ame"),
        ("app", "ses%ame/live"),
        ("app", "mp4:ses%ame"),
        ("app", "live+ses%ame"),
        ("ses%ame", ""),
        ("app/ses%ame", "live"),
    ] {
        assert!(attempt(app, name).is_err(), "{app} {name}");
    }
    server.wait_log(
        &[
            "publisher refused",
            "a passphrase stands in the place of the stream name",
        ],
        WITHIN,
    );
    assert_eq!(wire::ask(server.http, "GET", "/ses%25ame.flv", &[]).status, 404);
    // In its own place it is taken, as it is or as URLs have it.
    assert_eq!(attempt("ses%ame", "live"), Ok(()));
    assert_eq!(attempt("ses%25ame", "live"), Ok(()));
    server.terminate(WITHIN);
    let lines = server.process.lines();
    let telling: Vec<_> = lines
        .iter()
        .filter(|(from, line)| {
            *from == From::Stderr && line.contains("ses") && (line.contains("ame") || line.contains('%'))
        })
        .filter(|(_, line)| {
            ["ses%ame", "ses%25ame", "sesame"]
                .iter()
                .any(|secret| line.contains(secret))
        })
        .collect();
    assert!(telling.is_empty(), "{telling:?}");
}
