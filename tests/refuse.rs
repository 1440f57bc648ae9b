//! Pushes that must not be taken: each publisher is told why, before it could believe itself on air.

mod support;

use std::time::Duration;

use serde_json::json;

use support::clips;
use support::process::{Process, has_words};
use support::publish::{Times, push};
use support::server::{self, Server};
use support::wire;

const WITHIN: Duration = Duration::from_secs(15);

/// ffmpeg must end by itself with an error, and the server's log must say the reason.
fn assert_refused(server: &Server, publisher: &Process, reason: &[&str]) {
    let status = publisher.wait_exit(WITHIN);
    assert!(
        !status.success(),
        "the publisher believes it was taken:\n{}",
        publisher.said()
    );
    server.wait_log(reason, WITHIN);
    let said = publisher.said();
    assert!(said.contains("rror"), "the publisher was told nothing:\n{said}");
}

#[test]
fn wrong_password_unknown_stream_and_wrong_host() {
    let streams = json!({
        "live": {"source": "push://@secret", "grace": 300},
        "elsewhere": {"source": "push://192.0.2.1", "grace": 300}
    });
    let server = Server::start(&server::config_with(2, streams));
    let clip = clips::NO_B_FRAMES.file();
    for target in ["wrong/live", "live/live", "secret/nosuch", "app/elsewhere"] {
        let publisher = push(&clip, &server.rtmp_url(target), Times::Once);
        assert_refused(
            &server,
            &publisher,
            &["refused", target.rsplit('/').next().expect("a name")],
        );
    }
    for stream in ["live", "nosuch", "elsewhere"] {
        assert_eq!(
            wire::ask(server.http, "GET", &format!("/{stream}.flv"), &[]).status,
            404,
            "{stream}"
        );
    }
    // The right password, as the application's path, is taken on the same server.
    let _publisher = push(&clip, &server.rtmp_url("secret/live"), Times::Once);
    server.wait_live("live", WITHIN);
}

/// The second publisher is refused; the first one's viewers see nothing of it.
#[test]
fn second_publisher() {
    let server = Server::start(&server::config(2));
    let clip = clips::NO_B_FRAMES;
    let first = push(&clip.file(), &server.rtmp_url("live/live"), Times::Once);
    server.wait_live("live", WITHIN);
    let file = support::scratch("second").join("live.flv");
    let viewer = wire::Recorder::start(server.http, "/live.flv", &file);
    assert_eq!(viewer.answer().status, 200);
    let second = push(&clips::VIDEO_ONLY.file(), &server.rtmp_url("live/live"), Times::Once);
    assert_refused(&server, &second, &["refused", "live"]);
    first.succeed(Duration::from_secs(clip.seconds.into()) + WITHIN);
    viewer.finish();
    support::compare::assert_equal(&clip.file(), &file, support::compare::WHOLE);
}

/// With `replace`, the newer publisher takes over and the older one is ended.
#[test]
fn replaced_publisher() {
    let streams = json!({"live": {"source": "push://127.0.0.1", "grace": 300, "second_publisher": "replace"}});
    let server = Server::start(&server::config_with(2, streams));
    let clip = clips::NO_B_FRAMES.file();
    let first = push(&clip, &server.rtmp_url("live/live"), Times::Forever);
    server.wait_live("live", WITHIN);
    let _second = push(&clip, &server.rtmp_url("live/live"), Times::Forever);
    let status = first.wait_exit(WITHIN);
    assert!(
        !status.success(),
        "the older publisher ended as if it had been done: {status}"
    );
    let accepted = server.process.lines();
    let accepted = accepted
        .iter()
        .filter(|(_, line)| has_words(line, &["publisher accepted", "live"]))
        .count();
    assert_eq!(accepted, 2);
}
