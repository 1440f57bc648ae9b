//! RTSP peers that mean no good, beside a viewer who must not notice: garbage, damaged dialogues, bounds, requests without
//! end. Each is ended, each end is counted under its reason, and memory stays bounded.

mod support;

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::Duration;

use support::clips;
use support::publish::{Times, push};
use support::rtsp::{Heard, Peer, connect};
use support::server::{self, Server};

const WITHIN: Duration = Duration::from_secs(15);
/// Damaged dialogues, and how many at a time.
const DAMAGED: u64 = 600;
const AT_ONCE: usize = 40;
/// What all of that may take: the pool is mapped at the start, and each peer's input is bounded.
const GROWTH_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// xorshift64
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

const SDP: &str = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n";

/// What publishers and players say, in order.
fn dialogues() -> [Vec<u8>; 3] {
    let head = "rtsp://h/live RTSP/1.0\r\nCSeq: 1\r\n";
    let track = |name: &str| head.replace("live", &format!("live/{name}"));
    let length = SDP.len();
    let publisher = format!(
        "ANNOUNCE {other}Content-Length: {length}\r\n\r\n{SDP}SETUP {}Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n\r\n\
         RECORD {other}\r\n$\0\0\x10\u{1}`\0\x01\0\0\0\0\0\0\0\x07e123$\x01\0\x04abcdTEARDOWN {other}\r\n",
        track("streamid=0").replace("live", "hostile"),
        other = head.replace("live", "hostile"),
    );
    let player = format!(
        "OPTIONS {head}\r\nDESCRIBE {head}\r\nSETUP {}Transport: RTP/AVP/TCP;interleaved=0-1\r\n\r\nPLAY {head}Range: npt=now-\r\n\r\n\
         $\x01\0\x04abcdPAUSE {head}\r\nPLAY {head}\r\nGET_PARAMETER {head}\r\nTEARDOWN {head}\r\n",
        track("track0"),
    );
    let tunnel =
        "POST /live HTTP/1.0\r\nx-sessioncookie: abc\r\nContent-Length: 32767\r\n\r\nT1BUSU9OUyAqIFJUU1AvMS4wDQo=";
    [publisher.into_bytes(), player.into_bytes(), tunnel.as_bytes().to_vec()]
}

fn damaged(number: u64) -> Vec<u8> {
    let mut noise = Noise(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..8 {
        noise.below(2);
    }
    let mut bytes = dialogues()[noise.below(3)].clone();
    for _ in 0..=noise.below(4) {
        let at = noise.below(bytes.len());
        match noise.below(5) {
            0 => bytes[at] ^= 1 << noise.below(8),
            1 => bytes.truncate(at + 1),
            2 => drop(bytes.splice(at..at, [b'$', noise.below(256) as u8, 0xff, 0xff])),
            3 => drop(bytes.drain(at..(at + noise.below(20)).min(bytes.len() - 1))),
            _ => {
                let copy = bytes[at..].to_vec();
                bytes.extend(copy);
            }
        }
        bytes.truncate(64 * 1024);
    }
    bytes
}

/// Sends what the peer takes: it may have closed already.
fn send(stream: &mut TcpStream, bytes: &[u8]) {
    match stream.write_all(bytes) {
        Err(error) if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
            panic!("send: {error}")
        }
        _ => {}
    }
}

/// A server with a stream, and one who watches it.
fn watched() -> (Server, support::process::Process, Peer) {
    let streams = serde_json::json!({
        "live": {"source": "push://127.0.0.1", "grace": 300},
        "hostile": {"source": "push://127.0.0.1", "grace": 100}
    });
    let server = Server::start(&server::with_rtsp(server::config_with(2, streams)));
    let publisher = push(&clips::SHORT_GOPS.file(), &server.rtmp_url("live/live"), Times::Forever);
    server.wait_live("live", WITHIN);
    let mut viewer = Peer::connect(server.rtsp(), "live");
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    assert_eq!(viewer.ask("SETUP", "/track0", &transport, "").status, 200);
    assert_eq!(viewer.ask("PLAY", "", &[], "").status, 200);
    viewer.frame();
    (server, publisher, viewer)
}

/// Packets in order and without a hole, and an answer to what is asked now.
fn assert_undisturbed(viewer: &mut Peer) {
    let text = viewer.text("GET_PARAMETER", "", &[], "");
    viewer.send(text.as_bytes());
    let (mut last, mut answered) = (None, false);
    while !answered || last.is_none() {
        match viewer.hear() {
            Heard::Frame { channel: 0, packet } => {
                let sequence = support::rtsp::place(&packet).0;
                let follows = |last: u16| last.wrapping_add(1) == sequence;
                assert!(last.is_none_or(follows), "{last:?}, {sequence}");
                last = Some(sequence);
            }
            Heard::Frame { .. } => {}
            Heard::Answer(answer) => {
                assert_eq!(answer.status, 200);
                answered = true;
            }
            Heard::End => panic!("the viewer was ended"),
        }
    }
}

#[test]
fn damaged_dialogues_hurt_nobody() {
    let (server, _publisher, mut viewer) = watched();
    let before = server.resident_bytes();
    let mut numbers = 0..DAMAGED;
    loop {
        let mut peers: Vec<TcpStream> = Vec::new();
        for number in numbers.by_ref().take(AT_ONCE) {
            let mut peer = connect(server.rtsp());
            let bytes = damaged(number);
            for piece in bytes.chunks(1 + (number as usize * 37) % 700) {
                send(&mut peer, piece);
            }
            peers.push(peer);
        }
        if peers.is_empty() {
            break;
        }
        assert_undisturbed(&mut viewer);
    }
    // The viewer, and whoever publishes.
    server.wait_counters("they are gone", WITHIN, |counters| counters["connections_open"] == 2);
    let counters = server.counters();
    assert_eq!(counters["connections_panicked"], 0, "{counters:?}");
    assert_eq!((counters["viewers"], counters["publishers"]), (1, 1), "{counters:?}");
    assert!(counters["protocol_errors"] > DAMAGED / 20, "{counters:?}");
    let after = server.resident_bytes();
    assert!(after < before + GROWTH_BYTES_MAX, "{before} to {after}");
    assert_undisturbed(&mut viewer);
}

/// Each is closed, and what it was closed for is in the log and counted.
#[test]
fn what_is_beyond_its_bound_is_closed_with_a_reason() {
    let (server, _publisher, mut viewer) = watched();
    let request = "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n";
    let cases: [(&str, Vec<u8>, &str); 9] = [
        (
            "garbage",
            b"\x16\x03\x01\x02".to_vec(),
            "begins neither a message nor a frame",
        ),
        (
            "garbage between frames",
            [&b"$\0\0\x02hi"[..], b"hi there, this is no frame\r\n\r\n"].concat(),
            "is neither a request's nor an answer's",
        ),
        (
            "another protocol",
            b"EHLO there\r\n".to_vec(),
            "is neither a request's nor an answer's",
        ),
        ("a line", "A".repeat(9000).into_bytes(), "has more than 8192 bytes"),
        (
            "a head",
            format!("{request}{}", format!("X: {}\r\n", "y".repeat(4000)).repeat(5)).into_bytes(),
            "has more than 16384 bytes",
        ),
        (
            "headers",
            format!("{request}{}\r\n", "a: b\r\n".repeat(70)).into_bytes(),
            "has more than 64 headers",
        ),
        (
            "a body",
            format!("{request}Content-Length: 4294967295\r\n\r\n").into_bytes(),
            "has a body of 4294967295 bytes",
        ),
        (
            "a length",
            format!("{request}Content-Length: many\r\n\r\n").into_bytes(),
            "has a Content-Length that is no number",
        ),
        (
            "a header",
            format!("{request}nonsense\r\n\r\n").into_bytes(),
            "is no header",
        ),
    ];
    let before = server.counters()["protocol_errors"];
    for (broken, (what, bytes, reason)) in (before + 1..).zip(&cases) {
        // Of who is let in the log says why it went.
        let mut peer = Peer::connect(server.rtsp(), "hostile");
        let announced = peer.ask("ANNOUNCE", "", &[("Content-Type", "application/sdp")], SDP);
        assert_eq!(announced.status, 200, "{what}: {announced:?}");
        peer.send(bytes);
        assert!(matches!(peer.hear(), Heard::End), "{what}");
        server.wait_log(&["broke the protocol", "hostile", reason], WITHIN);
        server.wait_counters(what, WITHIN, |counters| {
            counters["protocol_errors"] == broken && counters["publishers"] == 1
        });
    }
    // One that never takes its answers is let go with them.
    let mut deaf = connect(server.rtsp());
    let flood = format!("{request}\r\n").repeat(4000);
    deaf.set_write_timeout(Some(Duration::from_secs(2))).expect("not zero");
    while deaf.write_all(flood.as_bytes()).is_ok() {}
    assert_undisturbed(&mut viewer);
    drop(deaf);
    server.wait_counters("they are gone", WITHIN, |counters| counters["connections_open"] == 2);
    assert_eq!(server.counters()["connections_panicked"], 0);
}
