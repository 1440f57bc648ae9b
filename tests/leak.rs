//! What comes and goes leaves nothing behind: three cycles of three thousand peers of all kinds, after each of which every
//! count of what there is stands where it stood, and the server's own memory where it stood after the first.

mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use socket2::SockRef;

use support::clips;
use support::flv::Tag;
use support::rtmp::{Publisher, SlowPlayer};
use support::server::{self, Server};
use support::wire::{self, PATIENCE, Wire};

const CYCLES: usize = 3;
/// Peers of a cycle come in waves, so that many are there at once and no backlog is full.
const WAVES: u32 = 12;
const PEERS: usize = 250;
/// What an allocator may keep at hand more than it did before.
const SPARE_BYTES: u64 = 1024 * 1024;

/// What there is, as opposed to what there was.
const GAUGES: [&str; 7] = [
    "connections_open",
    "publishers",
    "viewers",
    "feeds",
    "streams",
    "streams_shortened",
    "memory_blocks_used",
];

fn gauges(counters: &BTreeMap<String, u64>) -> Vec<u64> {
    GAUGES.iter().map(|name| counters[*name]).collect()
}

/// One of a wave, until the wave is over.
enum Peer {
    /// Watches, and leaves in good manners.
    Watches(Wire),
    Plays(Box<SlowPlayer>),
    /// Leaves by a reset: behind a request, in the middle of one, or while it reads nothing.
    Resets(TcpStream),
    /// Closes in the middle of what it was saying.
    Stops(TcpStream),
}

fn connect(server: &Server, request: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.http).expect("the server listens");
    stream.write_all(request).expect("a fresh socket");
    stream
}

fn come(server: &Server, number: usize) -> Peer {
    let kind = ["flv", "ts", "mp4"][number / 10 % 3];
    let request = format!("GET /live.{kind} HTTP/1.1\r\nHost: a\r\n\r\n");
    match number % 10 {
        0 | 1 => Peer::Resets(connect(server, request.as_bytes())),
        2 => Peer::Stops(connect(server, request.as_bytes())),
        3 => Peer::Stops(connect(server, &request.as_bytes()[..20])),
        4 => {
            // The first half of a handshake.
            let mut stream = TcpStream::connect(server.rtmp).expect("the server listens");
            stream.write_all(&[3; 800]).expect("a fresh socket");
            Peer::Resets(stream)
        }
        5 => {
            let mut stream = wire::narrow(server.http);
            stream.write_all(request.as_bytes()).expect("a fresh socket");
            Peer::Resets(stream)
        }
        6 => Peer::Plays(Box::new(SlowPlayer::start(server.rtmp, "live"))),
        _ => {
            let mut wire = Wire::connect(server.http);
            wire.request("GET", &format!("/live.{kind}"), &[]);
            Peer::Watches(wire)
        }
    }
}

fn leave(peer: Peer) {
    match peer {
        Peer::Watches(mut wire) => {
            assert_eq!(wire.answer("GET").status, 200);
            assert!(!wire.read_at_least(1).is_empty(), "a viewer got nothing");
        }
        Peer::Plays(player) => drop(player),
        Peer::Resets(stream) => {
            let reset = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            reset.expect("a TCP socket");
        }
        Peer::Stops(stream) => drop(stream),
    }
}

/// The server's own memory: neither the streams' nor the program's.
fn anonymous_bytes(server: &Server) -> u64 {
    let path = format!("/proc/{}/status", server.process.pid);
    let status = std::fs::read_to_string(path).expect("the server runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.expect("Linux says so") * 1024
}

#[test]
fn three_cycles_of_three_thousand_joins_leave_nothing_behind() {
    let streams = json!({"live": {"source": "push://127.0.0.1", "grace": 100}});
    let server = Server::start(&server::config_with(2, streams));
    let start = gauges(&server.counters());
    assert_eq!(start, [0; GAUGES.len()]);
    let clip = clips::SMALL.part(6_000);
    let mut anonymous = Vec::new();
    for cycle in 1..=CYCLES {
        let before = server.counters();
        let mut publisher = Publisher::start(server.rtmp, "live", 50);
        let wave_tags = |wave: u32| -> Vec<Tag> {
            let (from, to) = (wave * 500, (wave + 1) * 500);
            let part = clip.iter().filter(|tag| (from..to).contains(&tag.time));
            part.cloned().collect()
        };
        for wave in 0..WAVES {
            publisher.restart_clock();
            publisher.send(&wave_tags(wave));
            if wave == 0 {
                server.wait_live("live", PATIENCE);
            }
            let peers: Vec<Peer> = (0..PEERS).map(|number| come(&server, number)).collect();
            peers.into_iter().for_each(leave);
        }
        publisher.end();
        server.wait_counters("everything is as it was", PATIENCE, |counters| {
            gauges(counters) == start
        });
        let counters = server.counters();
        let joined = counters["connections_accepted"] - before["connections_accepted"];
        assert!(
            joined >= u64::from(WAVES) * PEERS as u64,
            "{joined} connections in cycle {cycle}"
        );
        let watched = counters["viewers_total"] - before["viewers_total"];
        // Those who stay for it, and as many of the others as were not gone before they were answered.
        assert!(
            watched >= u64::from(WAVES) * PEERS as u64 * 4 / 10,
            "{watched} viewers in cycle {cycle}"
        );
        anonymous.push(anonymous_bytes(&server));
    }
    assert!(
        anonymous[CYCLES - 1] <= anonymous[0] + SPARE_BYTES,
        "the server's own memory grew: {anonymous:?}"
    );
    println!("anonymous memory after each cycle: {anonymous:?}");
    assert_eq!(server.counters()["connections_panicked"], 0);
}
