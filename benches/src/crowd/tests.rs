use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use super::*;
use crate::stamp::Stamp;

fn wait(crowd: &Crowd, what: impl Fn(&Tally) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !what(crowd.tally()) {
        assert!(Instant::now() < deadline, "{:?}", crowd.tally());
        std::thread::yield_now();
    }
}

fn seat(temper: Temper, reading: Reading) -> Seat {
    Seat {
        after: Duration::ZERO,
        target: 0,
        temper,
        reading,
    }
}

fn target(listener: &TcpListener) -> Target {
    Target::parse(&format!("http://{}/x.flv", listener.local_addr().unwrap())).unwrap()
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (mut peer, _) = listener.accept().unwrap();
    let mut request = [0; 16];
    peer.read_exact(&mut request).unwrap();
    assert_eq!(&request, b"GET /x.flv HTTP/");
    peer
}

#[test]
fn viewers_are_read_verified_and_failed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let targets: Arc<[Target]> = [target(&listener)].into();
    let mut crowd = Crowd::start("crowd").unwrap();
    let mut peers = Vec::new();
    for reading in [Reading::Drain, Reading::Verify, Reading::Drain, Reading::Drain] {
        crowd.open(&targets, vec![seat(Temper::Eager, reading)]).unwrap();
        peers.push(accept(&listener));
    }
    let mut answer = b"HTTP/1.1 200 OK\r\n\r\nFLV\x01\x05\0\0\0\x09\0\0\0\0\x12\0\xff\xff\0\0\0\0\0\0\0".to_vec();
    for number in [4, 5, 9] {
        let nanos = sys::monotonic_nanos();
        Stamp { nanos, number }.emit(&mut answer);
    }
    for peer in &mut peers[..2] {
        for piece in answer.chunks(13) {
            peer.write_all(piece).unwrap();
        }
    }
    peers[2].write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap();
    drop(peers.pop());
    let bytes = 2 * answer.len() as u64;
    wait(&crowd, |tally| {
        tally.bytes.load(Ordering::Relaxed) >= bytes && tally.failed.load(Ordering::Relaxed) >= 2
    });
    let outcome = crowd.end().unwrap();
    assert_eq!(
        (
            outcome.heard.latency.count(),
            outcome.heard.breaks,
            outcome.heard.frames_lost
        ),
        (3, 1, 3)
    );
    let bytes: Vec<u64> = outcome.viewers.iter().map(|viewer| viewer.bytes).collect();
    assert_eq!(bytes, [answer.len() as u64, answer.len() as u64, 26, 0]);
    let played: Vec<bool> = outcome.viewers.iter().map(|viewer| viewer.failed.is_none()).collect();
    assert_eq!(played, [true, true, false, false]);
    assert!(outcome.viewers[0].first_byte_nanos.is_some());
}

/// Sends until the socket takes no more; how much that was.
fn stuff(peer: &mut TcpStream) -> usize {
    peer.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while let Ok(bytes) = peer.write(&[0; 16 * 1024]) {
        sent += bytes;
    }
    sent
}

#[test]
fn a_stopped_reader_reads_nothing_and_a_slow_one_a_little() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let targets: Arc<[Target]> = [target(&listener)].into();
    let mut crowd = Crowd::start("crowd").unwrap();
    for bytes_per_second in [0, 100_000] {
        let temper = Temper::Slow { bytes_per_second };
        crowd.open(&targets, vec![seat(temper, Reading::Drain)]).unwrap();
        let mut peer = accept(&listener);
        peer.write_all(b"HTTP/1.1 200 OK\r\n\r\nx").unwrap();
        wait(&crowd, |tally| tally.playing.load(Ordering::Relaxed) == 1);
        let before = crowd.tally().bytes.load(Ordering::Relaxed);
        assert!(stuff(&mut peer) > 64 * 1024);
        let begun = Instant::now();
        if bytes_per_second > 0 {
            wait(&crowd, |tally| tally.bytes.load(Ordering::Relaxed) >= before + 20_000);
            let read = crowd.tally().bytes.load(Ordering::Relaxed) - before;
            // It may read for the time until the first look, and is never ahead of its rate by more than a tick.
            let allowed = 100_000.0 * (begun.elapsed().as_secs_f64() + 0.5);
            assert!((read as f64) < allowed, "{read} bytes");
        } else {
            assert_eq!(crowd.tally().bytes.load(Ordering::Relaxed), before);
        }
        // A reset is seen, and is no failure of a slow reader's server.
        socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        wait(&crowd, |tally| tally.playing.load(Ordering::Relaxed) == 0);
        assert_eq!(crowd.tally().failed.load(Ordering::Relaxed), 0);
    }
    let viewers = crowd.end().unwrap().viewers;
    assert!(
        viewers.iter().all(|viewer| viewer.is_slow && viewer.failed.is_some()),
        "{viewers:?}"
    );
}

#[test]
fn a_path_has_small_segments_and_a_small_window() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let targets: Arc<[Target]> = [target(&listener)].into();
    let mut crowd = Crowd::start("crowd").unwrap();
    let temper = Temper::Path {
        bytes_per_second: 200_000,
    };
    crowd.open(&targets, vec![seat(temper, Reading::Drain)]).unwrap();
    let mut peer = accept(&listener);
    let segment = socket2::SockRef::from(&peer).tcp_mss().unwrap();
    assert!(segment <= 1448, "segments of {segment} bytes");
    peer.write_all(b"HTTP/1.1 200 OK\r\n\r\nx").unwrap();
    wait(&crowd, |tally| tally.playing.load(Ordering::Relaxed) == 1);
    let begun = Instant::now();
    let before = crowd.tally().bytes.load(Ordering::Relaxed);
    stuff(&mut peer);
    wait(&crowd, |tally| tally.bytes.load(Ordering::Relaxed) >= before + 60_000);
    // Not sooner than the path allows, less what was owed to it since its first byte.
    assert!(begun.elapsed() > Duration::from_millis(100), "{:?}", begun.elapsed());
    drop(crowd);
}

#[test]
fn viewers_change_places() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let targets: Arc<[Target]> = [target(&listener)].into();
    let mut crowd = Crowd::start("crowd").unwrap();
    crowd
        .open(&targets, vec![seat(Temper::Eager, Reading::Verify)])
        .unwrap();
    let answer = b"HTTP/1.1 200 OK\r\n\r\nFLV\x01\x05\0\0\0\x09";
    let mut peer = accept(&listener);
    peer.write_all(answer).unwrap();
    wait(&crowd, |tally| tally.playing.load(Ordering::Relaxed) == 1);
    crowd.churn(Duration::from_millis(10)).unwrap();
    for _ in 0..3 {
        let mut next = accept(&listener);
        assert_eq!(
            peer.read(&mut [0; 4096]).map_or(0, |rest| rest.min(1)),
            1,
            "the request's rest"
        );
        next.write_all(answer).unwrap();
        peer = next;
    }
    let outcome = crowd.end().unwrap();
    assert!(outcome.left >= 3, "{outcome:?}");
    assert!(
        outcome.viewers.iter().filter(|viewer| viewer.failed.is_none()).count() >= 3,
        "{outcome:?}"
    );
}
