//! HTTP facts over a raw socket: what the server answers to requests of every kind, byte for byte.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::clips;
use support::process::Process;
use support::publish::{Times, push};
use support::server::{self, Server};
use support::wire::{Wire, ask};

fn on_air() -> (Server, Process) {
    let server = Server::start(&server::config(2));
    let publisher = push(&clips::B_FRAMES.file(), &server.rtmp_url("live/live"), Times::Forever);
    server.wait_live("live", Duration::from_secs(10));
    (server, publisher)
}

#[test]
fn answers_of_a_live_stream() {
    let (server, _publisher) = on_air();
    let types = [
        ("flv", "video/x-flv", &b"FLV\x01"[..]),
        ("ts", "video/mp2t", b"\x47"),
        ("mp4", "video/mp4", b""),
    ];
    for (kind, content_type, magic) in types {
        let target = format!("/live.{kind}");
        let head = ask(server.http, "HEAD", &target, &[]);
        assert_eq!(head.status, 200, "{target}");
        assert!(
            head.header("content-type")
                .is_some_and(|value| value.eq_ignore_ascii_case(content_type)),
            "{}",
            head.head
        );
        head.assert_not_chunked();
        for headers in [&[][..], &[("Range", "bytes=0-")]] {
            let mut wire = Wire::connect(server.http);
            wire.request("GET", &target, headers);
            let answer = wire.answer("GET");
            assert_eq!(answer.status, 200, "{target} {headers:?}: {}", answer.head);
            assert_eq!(answer.header("content-range"), None, "{}", answer.head);
            assert_eq!(
                answer.header("access-control-allow-origin"),
                Some("*"),
                "{}",
                answer.head
            );
            answer.assert_not_chunked();
            let body = wire.read_at_least(12);
            assert!(body.starts_with(magic), "{target} begins with {:02x?}", &body[..12]);
            assert!(
                kind != "mp4" || &body[4..8] == b"ftyp",
                "{target} begins with {:02x?}",
                &body[..12]
            );
        }
    }
}

/// HEAD of a live stream ends with its head: the connection goes on with the next request.
#[test]
fn keep_alive() {
    let (server, _publisher) = on_air();
    let mut wire = Wire::connect(server.http);
    for (method, target, status) in [
        ("HEAD", "/live.flv", 200),
        ("GET", "/nosuch.flv", 404),
        ("OPTIONS", "/live.ts", 200),
        ("POST", "/live.flv", 405),
        ("GET", "/live.flv", 200),
    ] {
        wire.request(method, target, &[]);
        let answer = wire.answer(method);
        let same = answer.status == status || (method == "OPTIONS" && answer.status == 204);
        assert!(same, "{method} {target}: {}", answer.head);
    }
    assert!(!wire.read_at_least(1).is_empty());
    // Two requests in one packet are answered in turn.
    let mut wire = Wire::connect(server.http);
    let one = "GET /nosuch.ts HTTP/1.1\r\nHost: a\r\n\r\n";
    wire.send(format!("{one}{one}").as_bytes());
    assert_eq!([wire.answer("GET").status, wire.answer("GET").status], [404, 404]);
    // HTTP/1.0 and `close` end with the answer.
    for request in [
        "GET /nosuch.ts HTTP/1.0\r\n\r\n",
        "GET /nosuch.ts HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ] {
        let mut wire = Wire::connect(server.http);
        wire.send(request.as_bytes());
        assert_eq!(wire.answer("GET").status, 404);
        assert!(wire.closes_within(Duration::from_secs(2)), "{request:?} is not closed");
    }
}

fn status_of(to: SocketAddr, request: &[u8]) -> u16 {
    let mut wire = Wire::connect(to);
    wire.send(request);
    wire.answer("GET").status
}

#[test]
fn refusals_have_their_status_and_a_reason() {
    let server = Server::start(&server::config(2));
    let offline = ask(server.http, "GET", "/live.flv", &[]);
    assert_eq!(offline.status, 404, "a stream without a publisher");
    assert!(!offline.body.is_empty(), "a refusal says why");
    assert_eq!(ask(server.http, "GET", "/live.wmv", &[]).status, 404);
    let refused = ask(server.http, "DELETE", "/live.flv", &[]);
    assert_eq!(refused.status, 405);
    let allowed = refused.header("allow").expect("405 names what is allowed");
    assert!(
        ["GET", "HEAD", "OPTIONS"].iter().all(|method| allowed.contains(method)),
        "{allowed}"
    );
    let long = format!("GET /{}.flv HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000));
    assert_eq!(status_of(server.http, long.as_bytes()), 414);
    let wide = format!(
        "GET /a.flv HTTP/1.1\r\nHost: a\r\nX-Wide: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    assert_eq!(status_of(server.http, wide.as_bytes()), 431);
    let many = format!(
        "GET /a.flv HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X-Many: 1\r\n".repeat(1_000)
    );
    assert_eq!(status_of(server.http, many.as_bytes()), 431);
    assert_eq!(status_of(server.http, b"nonsense\r\n\r\n"), 400);
}

#[test]
fn browsers_may_ask_from_any_page() {
    let server = Server::start(&server::config(2));
    let headers = [
        ("Origin", "https://example.org"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "range"),
        ("Access-Control-Request-Private-Network", "true"),
    ];
    let answer = ask(server.http, "OPTIONS", "/live.flv", &headers);
    assert!(matches!(answer.status, 200 | 204), "{}", answer.head);
    assert!(
        answer.header("access-control-allow-origin").is_some(),
        "{}",
        answer.head
    );
    assert!(
        answer
            .header("access-control-allow-methods")
            .is_some_and(|value| value.contains("GET")),
        "{}",
        answer.head
    );
    assert_eq!(
        answer.header("access-control-allow-private-network"),
        Some("true"),
        "{}",
        answer.head
    );
}

/// Whoever sends a head byte by byte, or nothing, does not hold a connection for ever.
#[test]
fn a_slow_head_is_ended() {
    let server = Server::start(&server::config(2));
    let mut silent = Wire::connect(server.http);
    let mut half = Wire::connect(server.http);
    half.send(b"GET /live.flv HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    assert!(
        half.closes_within(Duration::from_secs(40)),
        "half a head is waited for without end"
    );
    assert!(
        silent.closes_within(Duration::from_secs(40)),
        "a silent connection is kept without end"
    );
}
