//! Peers that mean no good, beside a viewer who must not notice: requests of two readings, garbage, bytes that trickle,
//! messages without end. Each is ended, each end is counted under its reason, and memory stays bounded.

mod support;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use penstock_proto::rtmp::wire::chunk::{Message, write_message};
use penstock_proto::rtmp::wire::handshake::{Form, PACKET_BYTES, hello};
use penstock_proto::rtmp::wire::message;

use support::air::Air;
use support::server::{self, Server};
use support::wire::{PATIENCE, Wire, ask};

/// From the accept to the end of a request, and of a handshake.
const REQUEST_TIME: Duration = Duration::from_secs(10);

fn began() -> Server {
    Server::start(&server::config(2))
}

/// What was counted since.
fn counted(server: &Server, before: &BTreeMap<String, u64>, name: &str) -> u64 {
    server.counters()[name] - before[name]
}

/// Reads until the peer closes. Nothing when it does not in time.
fn rest(stream: &mut TcpStream, within: Duration) -> Option<Vec<u8>> {
    let deadline = Instant::now() + within;
    let (mut got, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        stream
            .set_read_timeout(Some(left).filter(|left| !left.is_zero()))
            .expect("a TCP socket");
        match stream.read(&mut buffer) {
            _ if left.is_zero() => return None,
            Ok(0) => return Some(got),
            Ok(count) => got.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                return Some(got);
            }
            Err(_) => return None,
        }
    }
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("the server listens");
    stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
    stream.set_nodelay(true).expect("a TCP socket");
    stream
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

/// Behind each request stands one that a reader of the other framing would answer.
const BAIT: &[u8] = b"GET /nosuch.flv HTTP/1.1\r\nHost: bait\r\n\r\n";

const SHAPES: &[(&str, &[u8], &str)] = &[
    (
        "length, then chunked",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400",
    ),
    (
        "chunked, then length",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "400",
    ),
    (
        "two lengths",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 40\r\n\r\n",
        "400",
    ),
    (
        "a list of lengths",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 40\r\n\r\n",
        "400",
    ),
    (
        "a length with a sign",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\n",
        "400",
    ),
    (
        "a negative length",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: -4\r\n\r\n",
        "400",
    ),
    (
        "a hexadecimal length",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\n",
        "400",
    ),
    (
        "an empty length",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
        "400",
    ),
    (
        "a length over 64 bit",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551620\r\n\r\n",
        "400",
    ),
    (
        "a folded line",
        b"GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n Content-Length: 40\r\n\r\n",
        "400",
    ),
    (
        "a line folded by a tab",
        b"GET /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\tchunked\r\n\r\n",
        "400",
    ),
    ("a bare line feed", b"GET /a HTTP/1.1\nHost: a\n\n", "400"),
    (
        "a bare line feed between headers",
        b"GET /a HTTP/1.1\r\nHost: a\nContent-Length: 40\r\n\r\n",
        "400",
    ),
    (
        "a bare carriage return",
        b"GET /a HTTP/1.1\r\nHost: a\rContent-Length: 40\r\n\r\n",
        "400",
    ),
    (
        "a blank before the colon",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length : 40\r\n\r\n",
        "400",
    ),
    ("a blank before a name", b"POST /a HTTP/1.1\r\n Host: a\r\n\r\n", "400"),
    (
        "a NUL in a name",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent\0-Length: 40\r\n\r\n",
        "400",
    ),
    (
        "a NUL in a value",
        b"POST /a HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        "400",
    ),
    (
        "a NUL in the target",
        b"GET /a\0.flv HTTP/1.1\r\nHost: a\r\n\r\n",
        "400",
    ),
    (
        "an encoded NUL in the target",
        b"GET /a%00.flv HTTP/1.1\r\nHost: a\r\n\r\n",
        "400",
    ),
    (
        "another coding",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "501",
    ),
    (
        "chunked under another",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "501",
    ),
    (
        "chunked twice",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400",
    ),
    (
        "chunked behind a vertical tab",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        "400",
    ),
    (
        "chunked in HTTP/1.0",
        b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400",
    ),
    (
        "a chunk size in C",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x4\r\nabcd\r\n0\r\n\r\n",
        "400",
    ),
    (
        "a chunk size with a sign",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-4\r\nabcd\r\n0\r\n\r\n",
        "400",
    ),
    (
        "a chunk size with a blank",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 4\r\nabcd\r\n0\r\n\r\n",
        "400",
    ),
    (
        "a chunk size of 17 digits",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000004\r\nabcd\r\n0\r\n\r\n",
        "400",
    ),
    (
        "a chunk of 2^64 - 1 bytes",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabcd\r\n",
        "413",
    ),
    (
        "a chunk that is longer than it says",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabcd\r\n0\r\n\r\n",
        "400",
    ),
    (
        "a chunk size line with a bare line feed",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\nabcd\r\n0\r\n\r\n",
        "400",
    ),
    (
        "a chunk extension with a line feed",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;\nx\r\nabcd\r\n0\r\n\r\n",
        "400",
    ),
    ("no host", b"GET /a HTTP/1.1\r\n\r\n", "400"),
    ("two hosts", b"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
    (
        "a target of another scheme",
        b"GET ftp://a/b.flv HTTP/1.1\r\nHost: a\r\n\r\n",
        "400",
    ),
    (
        "a target that is no path",
        b"GET a.flv HTTP/1.1\r\nHost: a\r\n\r\n",
        "400",
    ),
    (
        "a proxy's question",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
        "400",
    ),
    (
        "a path that climbs",
        b"GET /../a.flv HTTP/1.1\r\nHost: a\r\n\r\n",
        "400",
    ),
    (
        "a path that climbs, encoded",
        b"GET /x/%2e%2e/a.flv HTTP/1.1\r\nHost: a\r\n\r\n",
        "400",
    ),
    ("HTTP/0.9", b"GET /a\r\n\r\n", "400"),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"),
    ("garbage", b"\xff\xfe\x00\x01\x80 \x7f\r\n\r\n", "400"),
];

/// Refused, closed, counted; and what stands behind is never taken for a request.
#[test]
fn requests_of_two_readings_are_refused_and_closed() {
    let server = began();
    let air = Air::begin(&server, 1);
    let before = server.counters();
    for (what, request, status) in SHAPES {
        let mut stream = connect(server.http);
        send(&mut stream, &[request, BAIT].concat());
        let answer = rest(&mut stream, PATIENCE).unwrap_or_else(|| panic!("{what}: not closed"));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: {answer}");
    }
    assert_eq!(counted(&server, &before, "protocol_errors"), SHAPES.len() as u64);
    assert_eq!(counted(&server, &before, "connections_panicked"), 0);
    // A whole URL as target is legal, and is the path in it.
    let whole = ask(server.http, "GET", &format!("http://{}/nosuch.flv", server.http), &[]);
    assert_eq!(whole.status, 404);
    air.end();
}

/// Whoever is refused and does not go is closed all the same.
#[test]
fn who_is_refused_does_not_stay() {
    let server = began();
    let before = server.counters();
    let mut stay = Vec::new();
    for _ in 0..20 {
        for (to, nonsense) in [(server.http, &b"nonsense\r\n\r\n"[..]), (server.rtmp, b"nonsense")] {
            let mut stream = connect(to);
            send(&mut stream, nonsense);
            stay.push(stream);
        }
    }
    server.wait_counters("all are ended", PATIENCE, |counters| {
        counters["protocol_errors"] - before["protocol_errors"] == 40
            && counters["connections_open"] == before["connections_open"]
    });
}

#[test]
fn requests_one_behind_the_other_are_answered_or_end_the_connection() {
    // Their answers are a third of what may be unsent.
    const REQUESTS: usize = 400;
    let server = began();
    let air = Air::begin(&server, 1);
    let before = server.counters();
    // Hundreds in a row, each answered.
    let mut reads = connect(server.http);
    send(&mut reads, &BAIT.repeat(REQUESTS - 1));
    send(&mut reads, b"GET /nosuch.flv HTTP/1.0\r\n\r\n");
    let answers = rest(&mut reads, PATIENCE).expect("closed behind the last answer");
    let answers = String::from_utf8_lossy(&answers).into_owned();
    assert_eq!(answers.matches("HTTP/1.1 404 ").count(), REQUESTS);
    assert_eq!(counted(&server, &before, "http_requests"), REQUESTS as u64);

    // Garbage behind a good one: that is answered first.
    let mut stream = connect(server.http);
    send(&mut stream, &[BAIT, b"\0\0\0\0garbage\r\n\r\n", BAIT].concat());
    let answers = rest(&mut stream, PATIENCE).expect("closed");
    let answers = String::from_utf8_lossy(&answers).into_owned();
    let codes: Vec<_> = answers.matches("HTTP/1.1 ").collect();
    assert!(
        answers.starts_with("HTTP/1.1 404") && codes.len() == 2 && answers.contains("HTTP/1.1 400"),
        "{answers}"
    );
    assert_eq!(counted(&server, &before, "protocol_errors"), 1);

    // Thousands whose answers nobody reads; and thousands behind one that waits for another shard's word.
    for (method, counter) in [
        ("DELETE", "connections_closed_own"),
        ("GET", "connections_closed_pending"),
    ] {
        let mut deaf = connect(server.http);
        deaf.set_write_timeout(Some(Duration::from_secs(2))).expect("not zero");
        let requests = format!("{method} /nosuch.flv HTTP/1.1\r\nHost: a\r\n\r\n").repeat(200_000);
        let _ = deaf.write_all(requests.as_bytes());
        server.wait_counters("the deaf one is closed", PATIENCE, |counters| {
            counters["connections_open"] == before["connections_open"] && counters[counter] - before[counter] == 1
        });
    }

    // A viewer who goes on asking has nothing to say.
    let mut viewer = Wire::connect(server.http);
    viewer.request("GET", "/live.flv", &[]);
    assert_eq!(viewer.answer("GET").status, 200);
    viewer.send(&BAIT.repeat(4_000));
    assert!(viewer.closes_within(PATIENCE), "a viewer may say anything for ever");
    assert_eq!(counted(&server, &before, "protocol_errors"), 2);
    air.end();
}

/// Sends one byte after the other, half a second apart, until the peer closes; how long that took.
fn trickle(to: SocketAddr, first: &[u8], then: u8) -> Option<Duration> {
    let mut stream = connect(to);
    let since = Instant::now();
    send(&mut stream, first);
    while since.elapsed() < 3 * REQUEST_TIME {
        send(&mut stream, &[then]);
        if rest(&mut stream, Duration::from_millis(500)).is_some() {
            return Some(since.elapsed());
        }
    }
    None
}

/// A byte now and then keeps no connection: the whole of a request and of a handshake has one time.
#[test]
fn what_trickles_is_ended_in_its_time() {
    let server = began();
    let air = Air::begin(&server, 1);
    let before = server.counters();
    let mut greeting = Vec::new();
    hello(Form::Simple, 1, &mut greeting);
    let cases: Vec<(&str, SocketAddr, Vec<u8>, u8)> = vec![
        ("request line", server.http, b"GET /live".to_vec(), b'x'),
        (
            "headers",
            server.http,
            b"GET /live.flv HTTP/1.1\r\nHost: a\r\nX: ".to_vec(),
            b'x',
        ),
        (
            "body",
            server.http,
            b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n".to_vec(),
            b'x',
        ),
        (
            "chunk line",
            server.http,
            b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;".to_vec(),
            b'x',
        ),
        ("hello", server.rtmp, vec![3], 0),
        ("confirmation", server.rtmp, greeting, 0),
    ];
    let slow: Vec<_> = cases
        .into_iter()
        .map(|(what, to, first, then)| (what, std::thread::spawn(move || trickle(to, &first, then))))
        .collect();
    let silent = [connect(server.http), connect(server.rtmp)];
    for (what, slow) in slow {
        let took = slow
            .join()
            .expect("the peer is served")
            .unwrap_or_else(|| panic!("{what}: not ended"));
        assert!(
            (REQUEST_TIME - Duration::from_secs(1)..2 * REQUEST_TIME).contains(&took),
            "{what}: {took:?}"
        );
    }
    for mut stream in silent {
        assert!(rest(&mut stream, REQUEST_TIME).is_some(), "who says nothing is kept");
    }
    // Of HTTP who says nothing has not begun; of RTMP it has not finished its handshake.
    assert_eq!(counted(&server, &before, "connections_slow"), 7);
    assert_eq!(counted(&server, &before, "connections_idle"), 1);
    assert_eq!(counted(&server, &before, "protocol_errors"), 0);
    air.end();
}

fn greeted(to: SocketAddr) -> TcpStream {
    let mut stream = connect(to);
    let mut greeting = Vec::new();
    hello(Form::Simple, 1, &mut greeting);
    greeting.extend_from_slice(&[0; PACKET_BYTES]);
    send(&mut stream, &greeting);
    stream
}

/// One message in chunks of 128 bytes.
fn said(csid: u32, kind: u8, body: &[u8]) -> Vec<u8> {
    let message = Message {
        csid,
        kind,
        timestamp: 0,
        message_stream: 0,
    };
    let mut out = Vec::new();
    write_message(message, 128, body, &mut out);
    out
}

/// Messages of 8 MiB on many chunk streams, a chunk of each in turn, none ever whole.
fn interleaved(chunk_streams: u8, rounds: usize) -> Vec<u8> {
    const CHUNK: usize = 4096;
    let mut out = said(2, message::SET_CHUNK_SIZE, &(CHUNK as u32).to_be_bytes());
    for round in 0..rounds {
        for csid in 3..3 + chunk_streams {
            match round {
                0 => out.extend_from_slice(&[csid, 0, 0, 0, 0x7F, 0xFF, 0xFF, message::VIDEO, 1, 0, 0, 0]),
                _ => out.push(0xC0 | csid),
            }
            out.extend_from_slice(&[0; CHUNK]);
        }
    }
    out
}

#[test]
fn rtmp_that_no_peer_may_say_ends_the_connection() {
    let server = began();
    let air = Air::begin(&server, 1);
    let before = server.counters();
    let nested = |level: &[u8]| said(3, message::COMMAND, &level.repeat(60_000 / level.len()));
    let cases = [
        ("chunk size 0", said(2, message::SET_CHUNK_SIZE, &[0; 4])),
        (
            "a negative chunk size",
            said(2, message::SET_CHUNK_SIZE, &[0x80, 0, 0, 0]),
        ),
        (
            "a chunk size without its number",
            said(2, message::SET_CHUNK_SIZE, &[1]),
        ),
        (
            "a command of 16 MiB",
            vec![3, 0, 0, 0, 0xFF, 0xFF, 0xFF, message::COMMAND, 0, 0, 0, 0],
        ),
        (
            "a video of 16 MiB",
            vec![3, 0, 0, 0, 0xFF, 0xFF, 0xFF, message::VIDEO, 0, 0, 0, 0],
        ),
        ("objects in objects", nested(b"\x03\0\x01a")),
        ("arrays in arrays", nested(b"\x0a\0\0\0\x01")),
        ("associative arrays in each other", nested(b"\x08\0\0\0\x01\0\x01a")),
        ("typed objects in each other", nested(b"\x10\0\x01a\0\x01b")),
        ("a fresh chunk stream of format 3", vec![0xC9]),
        (
            "play before connect",
            said(
                3,
                message::COMMAND,
                b"\x02\0\x04play\0\0\0\0\0\0\0\0\0\x05\x02\0\x04live",
            ),
        ),
        ("sixty messages at once", interleaved(60, 1)),
        ("messages without end", interleaved(8, 100)),
        (
            "65 chunk streams",
            (0..65_u8)
                .flat_map(|csid| [0, csid, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0, 0])
                .collect(),
        ),
    ];
    for (what, attack) in &cases {
        let mut stream = greeted(server.rtmp);
        send(&mut stream, attack);
        assert!(rest(&mut stream, PATIENCE).is_some(), "{what}: not closed");
    }
    let mut stream = connect(server.rtmp);
    send(&mut stream, b"GET / HTTP/1.1\r\n\r\n");
    assert!(rest(&mut stream, PATIENCE).is_some(), "HTTP to RTMP: not closed");
    assert_eq!(counted(&server, &before, "protocol_errors"), cases.len() as u64 + 1);

    // What is answered and not read.
    let mut deaf = greeted(server.rtmp);
    let ping = said(2, message::USER_CONTROL, &[0, 6, 0, 0, 0, 1]);
    deaf.set_write_timeout(Some(Duration::from_secs(2))).expect("not zero");
    let _ = deaf.write_all(&ping.repeat(500_000));
    server.wait_counters("the deaf one is closed", PATIENCE, |counters| {
        counters["connections_closed_own"] - before["connections_closed_own"] == 1
    });

    // What means nothing is passed over, and the peer may go on.
    let mut odd = greeted(server.rtmp);
    let mut nothing = Vec::new();
    for kind in [0, 7, 16, 19, 22, 99, 255] {
        nothing.extend(said(3, kind, &[0; 60]));
    }
    for csid in [0_u32, 3, 77, u32::MAX] {
        nothing.extend(said(2, message::ABORT, &csid.to_be_bytes()));
    }
    nothing.extend(said(2, message::WINDOW_ACK_SIZE, &[0; 4]));
    send(&mut odd, &nothing);
    send(&mut odd, &ping);
    let pong = said(2, message::USER_CONTROL, &[0, 7, 0, 0, 0, 1]);
    let mut got = vec![0; 1 + 2 * PACKET_BYTES + pong.len()];
    odd.set_read_timeout(Some(PATIENCE)).expect("not zero");
    odd.read_exact(&mut got).expect("the ping is answered");
    assert!(got.ends_with(&pong));
    assert_eq!(counted(&server, &before, "connections_panicked"), 0);
    air.end();
}

/// A thousand and more peers who each hold as much as they may: what all of them hold together is bounded.
#[test]
fn what_all_peers_hold_together_is_bounded() {
    const PEERS: usize = 1_600;
    // 256 MiB, and what an allocator keeps beside what it was asked for.
    const GROWTH_MAX: u64 = 400 << 20;
    let server = Server::start(&server::config(1));
    let air = Air::begin(&server, 1);
    let (before, base) = (server.counters(), server.resident_bytes());
    // Below what ends one of them alone: 12 messages of which 16 KiB have come.
    let attack = interleaved(12, 4);
    let mut peers: Vec<TcpStream> = Vec::new();
    let mut most = 0;
    for number in 0..PEERS {
        let mut stream = greeted(server.rtmp);
        send(&mut stream, &attack);
        peers.push(stream);
        if number % 100 == 99 {
            most = most.max(server.resident_bytes());
        }
    }
    server.wait_counters("some are closed", PATIENCE, |counters| {
        counters["connections_closed_input"] > before["connections_closed_input"]
    });
    most = most.max(server.resident_bytes());
    assert!(
        most - base < GROWTH_MAX,
        "the server grew by {} MiB",
        (most - base) >> 20
    );
    let counters = server.counters();
    assert_eq!(counters["protocol_errors"], before["protocol_errors"]);
    assert!(
        counters["connections_open"] > 100,
        "only those who hold too much are closed"
    );
    drop(peers);
    server.wait_counters("all are gone", PATIENCE, |counters| {
        counters["connections_open"] == before["connections_open"]
    });
    air.end();
}
