//! A core that has no more to give: who comes new is told so, who watches loses nothing, and it passes.
//!
//! The overload is real and small: pauses of at most 1 ms make turns to some hundred viewers late.

mod support;

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use serde_json::json;

use support::air::Air;
use support::fetch::Client;
use support::players;
use support::server::{self, Server};
use support::wire::{self, PATIENCE, Wire};

const CROWD: usize = 500;

/// Viewers who read all that comes and look at none of it.
struct Crowd {
    over: Arc<AtomicBool>,
    reader: JoinHandle<()>,
    refused: u64,
}

impl Crowd {
    fn watch(to: SocketAddr, target: &str) -> Crowd {
        let mut viewers = Vec::new();
        for _ in 0..CROWD {
            let mut wire = Wire::connect(to);
            wire.request("GET", target, &[]);
            viewers.push(wire);
        }
        let mut streams = Vec::new();
        for mut wire in viewers {
            // The last of them may find the core overloaded already.
            match wire.answer("GET").status {
                200 => streams.push(wire.into_stream()),
                status => assert_eq!(status, 503),
            }
        }
        let refused = (CROWD - streams.len()) as u64;
        let over = Arc::new(AtomicBool::new(false));
        let is_over = over.clone();
        let reader = std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                drain(&mut streams);
            }
        });
        Crowd { over, reader, refused }
    }

    fn leave(self) {
        self.over.store(true, Ordering::Relaxed);
        self.reader.join().expect("a reader does not panic");
    }
}

fn drain(streams: &mut [TcpStream]) {
    let mut waiting: Vec<PollFd<'_>> = streams
        .iter()
        .map(|stream| PollFd::new(stream, PollFlags::IN))
        .collect();
    let tick = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 50_000_000,
    };
    poll(&mut waiting, Some(&tick)).expect("sockets can be polled");
    let ready: Vec<bool> = waiting.iter().map(|fd| !fd.revents().is_empty()).collect();
    let mut scratch = vec![0; 256 * 1024];
    for (stream, _) in streams.iter_mut().zip(ready).filter(|(_, is_ready)| *is_ready) {
        wire::read_at_once(stream, &mut scratch);
    }
}

#[test]
fn new_viewers_are_refused_and_those_who_watch_lose_nothing() {
    let dir = support::scratch("overload");
    let mut config = server::config(1);
    let protocols = config["config"]["protocols"].as_array_mut().expect("a list");
    protocols.push(json!({"connector": "CMAF"}));
    config["config"]["penstock"]["buffered_pause_min"] = json!(0);
    config["config"]["penstock"]["buffered_pause_max"] = json!(1);
    let server = Server::start(&config);
    let air = Air::begin(&server, 2);
    // Somebody has begun to watch what is fetched piece by piece.
    let list = "/cmaf/live/1/index.m3u8";
    Client::new(server.http).text_when_there(list, PATIENCE);
    let crowd = Crowd::watch(server.http, "/live.flv");
    server.wait_counters("the overload", PATIENCE, |counters| counters["overloaded"] == 1);
    let answer = wire::ask(server.http, "GET", "/live.flv", &[]);
    assert_eq!(answer.status, 503, "{}", answer.head);
    let after = answer.header("retry-after").expect("when to come again");
    let after: u32 = after.parse().expect("seconds");
    assert!((5..15).contains(&after), "{after}");
    for begin in ["/cmaf/live/index.m3u8", "/cmaf/live/index.mpd", "/cmaf/live/Manifest"] {
        let answer = wire::ask(server.http, "GET", begin, &[]);
        assert_eq!(answer.status, 503, "{begin}: {}", answer.head);
        let after = answer.header("retry-after").expect("when to come again");
        assert!(
            after.parse().is_ok_and(|after: u32| (5..15).contains(&after)),
            "{after}"
        );
    }
    // Who has begun goes on, and what costs nothing is still answered.
    assert_eq!(wire::ask(server.http, "GET", list, &[]).status, 200);
    assert_eq!(wire::ask(server.http, "HEAD", "/live.flv", &[]).status, 200);
    let refused = players::rtmpdump(&server.rtmp_url("live/live"), &dir.join("refused.flv"));
    assert!(!refused.wait_exit(PATIENCE).success(), "{}", refused.said());
    server.wait_log(&["overloaded: new viewers are refused"], PATIENCE);
    assert_eq!(server.counters()["viewers_refused_overload"], crowd.refused + 5);
    crowd.leave();
    let deadline = Instant::now() + PATIENCE;
    while !wire::first_media_byte(server.http, "/live.flv", Duration::from_secs(2)) {
        assert!(Instant::now() < deadline, "it passes when they have gone");
    }
    server.wait_log(&["no longer overloaded"], PATIENCE);
    air.end();
    let (status, _) = server.terminate(Duration::from_secs(5));
    assert!(status.success(), "{status}");
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}
