//! A stream on air while something else goes on: one publisher at its own pace, viewers who are there from its first
//! frame. At the end every viewer must have every frame, and nobody may have waited long for the next.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::clips;
use super::compare::{self, CONVERTED};
use super::flv::{self, SCRIPT, Tag};
use super::rtmp::Publisher;
use super::server::Server;
use super::tags;
use super::wire::PATIENCE;

/// Sent before the viewers come: less than a GOP, so they miss nothing.
const HEAD_MILLIS: u32 = 1_000;
/// Viewers of HTTP are served every half second at the latest; the rest is what a machine with other work to do may take.
const SILENCE_MAX: Duration = Duration::from_secs(3);

pub struct Air {
    over: Arc<AtomicBool>,
    publisher: JoinHandle<Vec<Tag>>,
    viewers: Vec<JoinHandle<Seen>>,
}

/// What one viewer got.
struct Seen {
    file: Vec<u8>,
    /// The longest time without a byte.
    silence: Duration,
}

impl Air {
    /// `live` is on air, and watched by some viewers.
    pub fn begin(server: &Server, viewers: usize) -> Air {
        let over = Arc::new(AtomicBool::new(false));
        let (begun, wait_begun) = channel();
        let (go, wait_go) = channel();
        let (to, is_over) = (server.rtmp, over.clone());
        let publisher = std::thread::spawn(move || {
            let clip = flv::tags(&std::fs::read(clips::VIDEO_ONLY.file()).expect("made by the call"));
            let mut publisher = Publisher::start(to, "live", 1);
            let mut sent: Vec<Tag> = Vec::new();
            for round in 0.. {
                for tag in &clip {
                    let time = tag.time + round * clips::VIDEO_ONLY.seconds * 1000;
                    // Headers are said once.
                    if round > 0 && !tag.is_frame(flv::VIDEO) {
                        continue;
                    }
                    if time >= HEAD_MILLIS && sent.last().is_some_and(|last| last.time < HEAD_MILLIS) {
                        begun.send(()).expect("the test waits");
                        wait_go.recv().expect("the test says so");
                        publisher.restart_clock();
                    }
                    let tag = Tag { time, ..tag.clone() };
                    publisher.send(std::slice::from_ref(&tag));
                    sent.push(tag);
                    if is_over.load(Ordering::Relaxed) {
                        publisher.end();
                        return sent;
                    }
                }
            }
            sent
        });
        wait_begun.recv_timeout(PATIENCE).expect("the publisher is let in");
        let viewers = (0..viewers).map(|_| watch(server)).collect();
        go.send(()).expect("the publisher waits");
        Air {
            over,
            publisher,
            viewers,
        }
    }

    /// Takes the stream off air: every viewer had every frame in time. Gives the longest silence.
    pub fn end(self) -> Duration {
        self.over.store(true, Ordering::Relaxed);
        let mut sent = self.publisher.join().expect("the publisher is served to its end");
        sent.retain(|tag| tag.kind != SCRIPT);
        let sent = tags::recording("sent", &sent);
        let mut longest = Duration::ZERO;
        for viewer in self.viewers {
            let seen = viewer.join().expect("the viewer is served to its end");
            let got = tags::recording("viewer", &flv::tags(&seen.file));
            if let Err(difference) = compare::compare(&sent, &got, CONVERTED) {
                panic!("a viewer lost something: {difference}");
            }
            longest = longest.max(seen.silence);
        }
        assert!(longest < SILENCE_MAX, "a viewer waited {longest:?} for the next byte");
        longest
    }
}

/// A viewer in a thread of its own, who is being served when this returns.
fn watch(server: &Server) -> JoinHandle<Seen> {
    let mut stream = TcpStream::connect(server.http).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream
        .write_all(b"GET /live.flv HTTP/1.0\r\n\r\n")
        .expect("a fresh socket");
    let (served, wait_served) = channel();
    let viewer = std::thread::spawn(move || read_all(stream, &served));
    wait_served.recv_timeout(PATIENCE).expect("the viewer is served");
    viewer
}

fn read_all(mut stream: TcpStream, served: &Sender<()>) -> Seen {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let mut silence = Duration::ZERO;
    let mut last: Option<Instant> = None;
    loop {
        let count = stream.read(&mut buffer).expect("a viewer is served without pause");
        let now = Instant::now();
        match last.replace(now) {
            Some(before) => silence = silence.max(now - before),
            // Nobody listens when the test has failed already.
            None => drop(served.send(())),
        }
        if count == 0 {
            break;
        }
        bytes.extend_from_slice(&buffer[..count]);
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.expect("an answer has a head") + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    Seen {
        file: bytes.split_off(end),
        silence,
    }
}
