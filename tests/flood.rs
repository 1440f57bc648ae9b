//! Floods of connections beside viewers who must not notice: a peer that comes and goes as fast as it can, one that takes
//! the whole table, one that takes the last descriptor, one that fills the accept queue.

mod support;

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, SockRef, Socket, Type};

use support::air::Air;
use support::server::{self, Server};
use support::wire::{self, PATIENCE, Wire};

const FLOOD: Duration = Duration::from_secs(4);

/// Threads that connect and close, or reset, without pause.
struct Churn {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    made: Arc<AtomicU64>,
}

impl Churn {
    fn start(targets: &[SocketAddr]) -> Churn {
        let (over, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = targets.iter().map(|to| {
            let (to, over, made) = (*to, over.clone(), made.clone());
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // A full backlog refuses or lets wait: what a flood is for.
                    let Ok(stream) = TcpStream::connect_timeout(&to, Duration::from_secs(1)) else {
                        continue;
                    };
                    // Half of them reset, so that no port of this machine waits; the others end in good manners.
                    if made.fetch_add(1, Ordering::Relaxed) % 2 == 0 {
                        SockRef::from(&stream)
                            .set_linger(Some(Duration::ZERO))
                            .expect("a TCP socket");
                    }
                }
            })
        });
        let threads = threads.collect();
        Churn { over, threads, made }
    }

    /// Ends; gives how many connections were made.
    fn stop(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a flood does not panic");
        }
        self.made.load(Ordering::Relaxed)
    }
}

fn is_served(server: &Server) {
    let deadline = Instant::now() + PATIENCE;
    while !wire::first_media_byte(server.http, "/live.flv", Duration::from_secs(2)) {
        assert!(Instant::now() < deadline, "no new viewer is served");
    }
}

/// As many connections as can be had, from an address of this machine, without waiting for any.
fn burst(to: SocketAddr, from: &str, count: usize) -> Vec<Socket> {
    let from: SocketAddr = format!("{from}:0").parse().expect("an address");
    let mut sockets = Vec::new();
    for _ in 0..count {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("descriptors enough");
        socket.bind(&from.into()).expect("all of 127.0.0.0/8 is this machine");
        socket.set_nonblocking(true).expect("a socket");
        // In progress, or done, or refused by a full queue.
        let _ = socket.connect(&to.into());
        sockets.push(socket);
    }
    sockets
}

#[test]
fn a_peer_that_comes_and_goes_costs_viewers_nothing() {
    let server = Server::start(&server::config(2));
    let air = Air::begin(&server, 4);
    let before = server.counters();
    let churn = Churn::start(&[server.http, server.rtmp, server.http]);
    let since = Instant::now();
    while since.elapsed() < FLOOD {
        // New viewers are let in all the while.
        is_served(&server);
    }
    let made = churn.stop();
    let silence = air.end();
    server.wait_counters("all are gone", PATIENCE, |counters| counters["connections_open"] == 0);
    let counters = server.counters();
    let accepted = counters["connections_accepted"] - before["connections_accepted"];
    println!("{made} connections in {FLOOD:?}, {accepted} accepted; the longest silence was {silence:?}");
    assert!(made > 2_000, "{made} connections are no flood");
    assert!(accepted > made / 2, "{accepted} of {made}");
}

#[test]
fn a_queue_full_of_connections_costs_viewers_nothing() {
    let server = Server::start(&server::config(2));
    let air = Air::begin(&server, 4);
    for round in 0..3 {
        let sockets = burst(server.http, &format!("127.0.0.{}", 2 + round), 6_000);
        is_served(&server);
        for socket in &sockets {
            socket.set_linger(Some(Duration::ZERO)).expect("a socket");
        }
        drop(sockets);
    }
    let silence = air.end();
    println!("the longest silence was {silence:?}");
    server.wait_counters("all are gone", PATIENCE, |counters| counters["connections_open"] == 0);
}

#[test]
fn a_full_table_refuses_and_serves_again() {
    let mut config = server::config(2);
    config["config"]["penstock"]["connections_max"] = json!(60);
    let server = Server::start(&config);
    let air = Air::begin(&server, 2);
    let held = burst(server.http, "127.0.0.2", 300);
    server.wait_counters("the table is full", PATIENCE, |counters| {
        counters["connections_refused_full"] > 100
    });
    drop(held);
    is_served(&server);
    air.end();
}

#[test]
fn the_last_descriptor_is_taken_and_given_back() {
    const DESCRIPTORS: u32 = 1_000;
    let server = Server::start_with_descriptors(&server::config(2), DESCRIPTORS);
    let air = Air::begin(&server, 2);
    let held = burst(server.http, "127.0.0.2", 2 * DESCRIPTORS as usize);
    server.wait_counters("no descriptor is left", PATIENCE, |counters| {
        counters["accept_errors"] > 0
    });
    drop(held);
    is_served(&server);
    air.end();
    // Nothing spins meanwhile: accepting rests a tenth of a second, of sixteen that are armed on each of two shards' ports.
    let counters = server.counters();
    assert!(counters["accept_errors"] < 50_000, "{}", counters["accept_errors"]);
}

#[test]
fn an_address_may_be_bounded() {
    let mut config = server::config(2);
    config["config"]["penstock"]["connections_per_address_max"] = json!(20);
    let server = Server::start(&config);
    let air = Air::begin(&server, 2);
    let held = burst(server.http, "127.0.0.2", 200);
    server.wait_counters("the rest is refused", PATIENCE, |counters| {
        counters["connections_refused_address"] == 180
    });
    // Another address is another matter, and so is this one when some have left.
    is_served(&server);
    drop(held);
    server.wait_counters("they are gone", PATIENCE, |counters| counters["connections_open"] < 10);
    let held = burst(server.http, "127.0.0.2", 20);
    server.wait_counters("they are back", PATIENCE, |counters| counters["connections_open"] >= 20);
    assert_eq!(server.counters()["connections_refused_address"], 180);
    drop(held);
    let mut wire = Wire::connect(server.http);
    wire.request("GET", "/nosuch.flv", &[]);
    assert_eq!(wire.answer("GET").status, 404);
    air.end();
}
