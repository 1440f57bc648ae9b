//! Clients that end their sending side behind their question (`nc -N`, small scripts): they are answered, and viewers
//! among them are sent the stream.

mod support;

use std::time::{Duration, Instant};

use support::rtmp::{Player, Publisher};
use support::server::{self, Server};
use support::wire::Wire;
use support::{clips, compare, flv, strict, tags};

const WITHIN: Duration = Duration::from_secs(15);
/// What is ended at once, and not by a deadline of seconds.
const AT_ONCE: Duration = Duration::from_millis(1_500);
/// Times their own pace: as fast as the sockets take tags.
const FAST: u32 = 1000;
/// Enough for a stream to be on air.
const STARTED_TAGS: usize = 12;
const BEHIND_BYTES: usize = 3 << 20;

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn questions_are_answered() {
    let server = Server::start(&server::config(2));
    for (method, request) in [
        ("GET", get("/nosuch.flv")),
        ("HEAD", get("/nosuch.flv").replace("GET", "HEAD")),
        ("GET", "GET /nosuch.flv HTTP/1.0\r\n\r\n".into()),
    ] {
        let mut wire = Wire::connect(server.http);
        wire.send(request.as_bytes());
        wire.half_close();
        assert_eq!(wire.answer(method).status, 404, "{request}");
        assert!(wire.closes_within(AT_ONCE), "{request}");
    }
    // One behind the other, in one piece; the second one's answer ends it.
    let mut wire = Wire::connect(server.http);
    wire.send((get("/nosuch.flv") + &get("/live.wmv")).as_bytes());
    wire.half_close();
    for words in ["nosuch", ".wmv"] {
        let answer = wire.answer("GET");
        assert!(String::from_utf8_lossy(&answer.body).contains(words), "{answer:?}");
    }
    assert!(wire.closes_within(AT_ONCE));
    // Nothing was asked, or half a question.
    for request in ["", "GET /live.fl"] {
        let mut wire = Wire::connect(server.http);
        wire.send(request.as_bytes());
        wire.half_close();
        assert!(wire.closes_within(AT_ONCE), "{request:?}");
    }
    server.wait_counters("no connection left", WITHIN, |counters| {
        counters["connections_open"] == 0
    });
}

/// The stream to its end: for one who asks while it is on air, and one whose answer waits for its first frame.
#[test]
fn viewers_are_sent_the_stream() {
    let server = Server::start(&server::config(2));
    let clip = clips::SMALL;
    let sent = flv::tags(&std::fs::read(clip.file()).expect("made by the call"));
    let head = sent.partition_point(|tag| tag.time < 1_000);
    let mut publisher = Publisher::start(server.rtmp, "live", 4);
    let ask = |target: &str| {
        let mut wire = Wire::connect(server.http);
        wire.send(get(target).as_bytes());
        wire.half_close();
        wire
    };
    let mut early = ask("/live.flv");
    // What has not begun is not answered with the next question, which this one's answer shows to be served.
    assert_eq!(ask("/nosuch.flv").answer("GET").status, 404);
    publisher.send(&sent[..head]);
    assert_eq!(early.answer("GET").status, 200);
    let mut late = ask("/live.ts");
    assert_eq!(late.answer("GET").status, 200);
    publisher.restart_clock();
    publisher.send(&sent[head..]);
    publisher.end();
    let dir = support::scratch("half");
    for (mut wire, kind) in [(early, "flv"), (late, "ts")] {
        let file = dir.join(format!("live.{kind}"));
        std::fs::write(&file, wire.read_at_least(usize::MAX)).expect("scratch is ours");
        strict::assert_strict(&file);
        compare::assert_equal(&clip.file(), &file, compare::WHOLE);
    }
}

/// One who has closed altogether looks the same until the next send, which finds out.
#[test]
fn viewers_who_are_gone_are_noticed() {
    let server = Server::start(&server::config(2));
    let sent = flv::tags(&std::fs::read(clips::SMALL.file()).expect("made by the call"));
    let head = sent.partition_point(|tag| tag.time < 1_000);
    let mut publisher = Publisher::start(server.rtmp, "live", 4);
    publisher.send(&sent[..head]);
    let mut wire = Wire::connect(server.http);
    wire.send(get("/live.flv").as_bytes());
    wire.half_close();
    assert_eq!(wire.answer("GET").status, 200);
    assert_eq!(server.counters()["viewers"], 1);
    drop(wire);
    publisher.restart_clock();
    let began = Instant::now();
    publisher.send(&sent[head..]);
    server.wait_counters("the viewer's end", WITHIN, |counters| counters["viewers"] == 0);
    assert!(began.elapsed() < WITHIN);
    server.wait_log(&["viewer left", "the peer closed the connection"], WITHIN);
    publisher.end();
}

/// Where there is nothing to send, a viewer who may be gone is kept for some seconds and not for ever.
#[test]
fn viewers_of_a_stalled_stream_are_not_kept() {
    let server = Server::start(&server::config(2));
    let mut publisher = Publisher::start(server.rtmp, "live", 4);
    publisher.send(&clips::SMALL.part(1_000));
    let mut stays = Wire::connect(server.http);
    let mut wire = Wire::connect(server.http);
    for wire in [&mut stays, &mut wire] {
        wire.send(get("/live.flv").as_bytes());
        assert_eq!(wire.answer("GET").status, 200);
    }
    wire.half_close();
    server.wait_counters("the viewer's end", WITHIN + WITHIN, |counters| counters["viewers"] == 1);
    assert!(wire.closes_within(AT_ONCE));
    // Who has not ended its side is known to be there.
    assert!(!stays.closes_within(AT_ONCE));
    publisher.end();
}

/// A publisher closes its socket right behind its last byte, as ffmpeg does, while the server is behind: a byte that it
/// has not read, or that comes to its closed socket, makes its kernel forget what it still had to send.
#[test]
fn the_last_frames_of_a_publisher_that_closes_are_not_lost() {
    let server = Server::start(&server::config(2));
    let tags = tags::of_file(&clips::HEAVY.file());
    let mut publisher = Publisher::start(server.rtmp, "live", FAST);
    let (start, rest) = tags.split_at(STARTED_TAGS);
    publisher.send(start);
    server.wait_live("live", WITHIN);
    let player = Player::start(server.rtmp, "live");
    player.progress.wait_beyond(0);
    // As many as fit into the sockets of both, and several times the bytes after which a publisher is acknowledged.
    let mut bytes = 0;
    let fit = rest.iter().take_while(|tag| {
        bytes += tag.body.len();
        bytes < BEHIND_BYTES
    });
    let rest = &rest[..fit.count()];
    server.process.signal("STOP");
    publisher.restart_clock();
    publisher.send(rest);
    publisher.drop_connection();
    server.process.signal("CONT");
    let sent = rest.last().expect("tags that fit");
    let got = player.finish();
    let last = got.last().expect("the player had tags");
    assert_eq!(
        (last.kind, &last.body),
        (sent.kind, &sent.body),
        "the last frame sent is not the last one that came"
    );
}
