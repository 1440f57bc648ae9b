//! RTSP in HTTP from outside: players that choose it, on both ports, and peers that open their tunnels in any order and
//! write them in any pieces.
//!
//! The kernel spreads connections over shards by a hash that nobody can foretell: with a dozen of tunnels some have their
//! halves accepted by different shards, whichever come first.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use support::clips;
use support::compare::{self, REPORTED_JOINED};
use support::players;
use support::process::Process;
use support::publish::{Times, push};
use support::rtsp::{self, Heard, Peer, base64, connect};
use support::server::{self, Server};
use support::wire::{Wire, ask};

const SLACK: Duration = Duration::from_secs(20);
const WITHIN: Duration = Duration::from_secs(15);

fn started(shards: u32) -> Server {
    let streams = json!({
        "live": {"source": "push://127.0.0.1", "grace": 300},
        "other": {"source": "push://127.0.0.1", "grace": 300}
    });
    Server::start(&server::with_rtsp(server::config_with(shards, streams)))
}

/// An RTSP address on the port of HTTP.
fn on_http(server: &Server, path: &str) -> String {
    format!("rtsp://{}/{path}", server.http)
}

/// Every frame, on either port.
#[test]
fn ffmpeg_plays_by_a_tunnel() {
    let server = started(2);
    let clip = clips::B_FRAMES.file();
    let dir = support::scratch("tunnel");
    let publisher = push(&clip, &server.rtmp_url("live/live"), Times::Once);
    server.wait_live("live", WITHIN);
    let players = [server.rtsp_url("live"), on_http(&server, "live")].map(|url| {
        let file = dir.join(format!("{}.mkv", url.len()));
        (rtsp::ffmpeg_record(&url, "http", &file), file)
    });
    publisher.succeed(SLACK);
    for (player, file) in players {
        player.succeed(SLACK);
        assert_eq!(player.said(), "", "the player complains");
        compare::assert_equal(&clip, &file, REPORTED_JOINED);
    }
    server.wait_counters("no viewer", WITHIN, |counters| counters["viewers"] == 0);
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// GStreamer chooses it by the address alone; live555, which VLC plays RTSP with, by an option.
#[test]
fn gstreamer_and_live555_play_by_a_tunnel() {
    let server = started(2);
    let clip = clips::B_FRAMES.file();
    let _publisher = push(&clip, &server.rtmp_url("live/live"), Times::Forever);
    server.wait_live("live", WITHIN);
    let url = on_http(&server, "live").replace("rtsp://", "rtsph://");
    let gstreamer = rtsp::gstreamer_play(&url, "tcp");
    let mut play = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/.cache/live555/play"));
    play.args([&server.rtsp_url("live"), &format!("http:{}", server.http.port()), "50"]);
    let live555 = Process::start("live555", &mut play);
    live555.succeed(SLACK);
    players::gstreamer_counts(&gstreamer, 50, SLACK);
    assert_eq!(server.counters()["protocol_errors"], 0);
}

fn get(to: SocketAddr, cookie: &str) -> TcpStream {
    let mut down = connect(to);
    let request = format!(
        "GET /live HTTP/1.0\r\nAccept: application/x-rtsp-tunnelled\r\nx-sessioncookie: {cookie}\r\n\
         Pragma: no-cache\r\n\r\n"
    );
    down.write_all(request.as_bytes()).expect("the server listens");
    down
}

fn post(to: SocketAddr, cookie: &str) -> TcpStream {
    let mut up = connect(to);
    let request = format!(
        "POST /live HTTP/1.0\r\nx-sessioncookie: {cookie}\r\nContent-Type: application/x-rtsp-tunnelled\r\n\
         Content-Length: 32767\r\nExpires: Sun, 9 Jan 1972 00:00:00 GMT\r\n\r\n"
    );
    up.write_all(request.as_bytes()).expect("the server listens");
    up
}

/// Whether the server closes, having said nothing.
fn ends(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Both tracks, from the beginning.
fn play(peer: &mut Peer) {
    for track in 0..2 {
        let channels = format!("RTP/AVP/TCP;unicast;interleaved={}-{}", 2 * track, 2 * track + 1);
        let set_up = peer.ask("SETUP", &format!("/track{track}"), &[("Transport", &channels)], "");
        assert_eq!(set_up.status, 200, "{set_up:?}");
    }
    let playing = peer.ask("PLAY", "", &[], "");
    assert_eq!((playing.status, playing.frames_before), (200, 0), "{playing:?}");
    peer.frame();
}

/// A tunnel, opened in the order that its number says, on ports that it says too.
fn opened(server: &Server, number: usize) -> (Peer, String) {
    let cookie = format!("cookie{number}");
    let ports = [server.rtsp(), server.http];
    let (for_get, for_post) = (ports[number % 2], ports[number / 2 % 2]);
    // The first to come says all that it has to say before the other is there.
    let mut peer = match number / 4 % 2 {
        0 => {
            let down = get(for_get, &cookie);
            Peer::tunnelled(down, post(for_post, &cookie), server.rtsp(), "live")
        }
        _ => {
            let mut up = post(for_post, &cookie);
            let early = format!("OPTIONS * RTSP/1.0\r\nCSeq: {number}\r\n\r\n");
            up.write_all(base64(early.as_bytes()).as_bytes()).expect("it is open");
            Peer::tunnelled(get(for_get, &cookie), up, server.rtsp(), "live")
        }
    };
    let head = peer.opened();
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
    assert!(
        head.contains("Content-Type: application/x-rtsp-tunnelled\r\n"),
        "{head}"
    );
    if number / 4 % 2 == 1 {
        let early = peer.answer();
        assert_eq!((early.status, early.header("CSeq")), (200, number.to_string().as_str()));
    }
    (peer, cookie)
}

#[test]
fn halves_meet_in_any_order_on_any_port_and_shard() {
    let server = started(3);
    let clip = clips::SHORT_GOPS.file();
    let _publisher = push(&clip, &server.rtmp_url("live/live"), Times::Forever);
    server.wait_live("live", WITHIN);
    // Nobody comes for it: see the end.
    let mut alone = post(server.http, "alone");
    alone
        .write_all(base64(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n").as_bytes())
        .expect("it is open");

    let mut tunnels: Vec<(Peer, String)> = (0..12).map(|number| opened(&server, number)).collect();
    for (peer, _) in &mut tunnels {
        assert_eq!(peer.ask("DESCRIBE", "", &[], "").status, 200);
        // Packets to a proxy's ports would be for nobody.
        let udp = peer.ask(
            "SETUP",
            "/track0",
            &[("Transport", "RTP/AVP;unicast;client_port=5000-5001")],
            "",
        );
        assert_eq!(udp.status, 461, "{udp:?}");
        play(peer);
    }
    server.wait_counters("all play", WITHIN, |counters| counters["viewers"] == 12);

    // Another POST goes on where the first ended, on another shard perhaps, with pieces of a letter each.
    for (number, (peer, cookie)) in tunnels.iter_mut().enumerate() {
        let mut up = post([server.rtsp(), server.http][number % 2], cookie);
        let request = base64(peer.text("GET_PARAMETER", "", &[], "").as_bytes());
        peer.go_on_by(up.try_clone().expect("a descriptor"));
        let (begin, end) = request.split_at(9);
        for letter in begin.as_bytes() {
            up.write_all(&[*letter]).expect("it is open");
        }
        up.write_all(end.as_bytes()).expect("it is open");
        assert_eq!(peer.answer().status, 200);
    }
    // A cookie in use opens nothing, and hurts nobody.
    let mut thief = Peer::tunnelled(
        get(server.http, "cookie3"),
        alone.try_clone().expect("a descriptor"),
        server.rtsp(),
        "live",
    );
    assert!(matches!(thief.hear(), Heard::End));
    for (peer, _) in &mut tunnels {
        peer.frame();
        assert_eq!(peer.ask("TEARDOWN", "", &[], "").status, 200);
        assert!(matches!(peer.hear(), Heard::End));
    }
    server.wait_counters("no viewer", WITHIN, |counters| counters["viewers"] == 0);
    // The one alone is given up.
    assert!(ends(&mut alone), "a half without its other half is kept");
    // The publisher's is left.
    server.wait_counters("all gone", WITHIN, |counters| counters["connections_open"] == 1);
    assert_eq!(server.counters()["connections_panicked"], 0);
}

#[test]
fn a_tunnel_is_as_long_as_it_likes_and_no_longer_than_it_is_one() {
    let server = started(2);
    let (mut peer, _) = opened(&server, 1);
    // More than the POST's Content-Length says.
    let request = peer.text("OPTIONS", "", &[("X-Long", &"x".repeat(1000))], "");
    for _ in 0..40 {
        peer.send(request.as_bytes());
        assert_eq!(peer.answer().status, 200);
    }
    // What is no base64 ends both halves.
    let mut up = post(server.rtsp(), "cookie2");
    let mut broken = Peer::tunnelled(
        get(server.http, "cookie2"),
        up.try_clone().expect("a descriptor"),
        server.rtsp(),
        "live",
    );
    broken.opened();
    up.write_all(b"T1BU*").expect("it is open");
    assert!(matches!(broken.hear(), Heard::End));
    assert!(ends(&mut up));
    server.wait_counters("one broke", WITHIN, |counters| counters["protocol_errors"] == 1);
    // A publisher may come by a tunnel too.
    peer.turn_to("other");
    let sdp = "v=0\r\nm=audio 0 RTP/AVP 0\r\na=control:streamid=0\r\n";
    assert_eq!(peer.ask("ANNOUNCE", "", &[], sdp).status, 200);
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")];
    assert_eq!(peer.ask("SETUP", "/streamid=0", &transport, "").status, 200);
    assert_eq!(peer.ask("RECORD", "", &[], "").status, 200);
    server.wait_counters("it publishes", WITHIN, |counters| counters["publishers"] == 1);
    drop(peer);
    server.wait_counters("it is gone", WITHIN, |counters| counters["publishers"] == 0);
    let (status, _) = server.terminate(WITHIN);
    assert!(status.success(), "{status}");
}

/// Without a port for RTSP such requests are like any others.
#[test]
fn http_alone_has_no_tunnels() {
    let server = Server::start(&server::config(1));
    let headers = [("x-sessioncookie", "abc")];
    assert_eq!(ask(server.http, "GET", "/live", &headers).status, 404);
    let mut wire = Wire::connect(server.http);
    wire.send(b"POST /live HTTP/1.1\r\nHost: h\r\nx-sessioncookie: a\r\nContent-Length: 32767\r\n\r\n");
    assert_eq!(wire.answer("POST").status, 405);
    assert!(wire.closes_within(WITHIN));
}
