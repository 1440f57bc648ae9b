//! Viewers on one thread: `epoll`, bytes thrown away by the kernel, or searched for stamps.
//!
//! Times are taken when the thread reads, so a thread that is behind makes the server look slow: viewers that verify
//! stand in a crowd of their own with few others.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use crate::report::Times;
use crate::stamp::{Search, Stamp};
use crate::sys::{self, Epoll, Events};
use crate::target::{Asked, body_of};
use anyhow::{Context, anyhow};

/// No byte for longer is a stall.
pub const STALL_NANOS: u64 = 1_000_000_000;
const EVENTS: usize = 512;
/// At most so much at a time from one viewer, so that the others are read too.
const DRAIN_BYTES: usize = 1 << 20;
/// Orders are looked at least so often.
const WAIT_MILLIS: u32 = 50;

/// What a viewer does with its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Drain,
    Verify,
}

/// One viewer's result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watched {
    /// From the request to the first byte of media.
    pub first_byte_nanos: Option<u64>,
    pub bytes: u64,
    /// Since the window began.
    pub longest_gap_nanos: u64,
    /// Why it ended before its time.
    pub failed: Option<String>,
}

impl Watched {
    pub fn is_stalled(&self) -> bool {
        self.longest_gap_nanos > STALL_NANOS
    }
}

/// What a crowd has seen.
#[derive(Debug)]
pub struct Outcome {
    pub viewers: Vec<Watched>,
    /// From a frame's sending to its bytes' reading, since the window began.
    pub latency: Times,
    /// Stamps whose number did not follow the one before.
    pub frames_lost: u64,
}

/// What the crowd says while it runs.
#[derive(Debug, Default)]
pub struct Tally {
    pub bytes: AtomicU64,
    pub playing: AtomicU64,
    pub failed: AtomicU64,
}

#[derive(Debug)]
enum Order {
    Add {
        asked: Asked,
        reading: Reading,
        framed: Framed,
    },
    BeginWindow,
    End,
}

/// Whether the bytes begin with a response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framed {
    Head,
    Media,
}

/// A thread with viewers. Dropping it closes them.
#[derive(Debug)]
pub struct Crowd {
    orders: Sender<Order>,
    epoll: Arc<Epoll>,
    tally: Arc<Tally>,
    added: u64,
    thread: Option<JoinHandle<anyhow::Result<Outcome>>>,
    stop: Arc<AtomicBool>,
}

impl Crowd {
    pub fn start(name: &str) -> anyhow::Result<Crowd> {
        let epoll = Arc::new(Epoll::new().context("cannot make an epoll")?);
        let (orders, received) = mpsc::channel();
        let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
        let reader = ReadingThread {
            epoll: Arc::clone(&epoll),
            orders: received,
            tally: Arc::clone(&tally),
            stop: Arc::clone(&stop),
            viewers: Vec::new(),
            latency: Times::default(),
            frames_lost: 0,
            scratch: vec![0; DRAIN_BYTES],
        };
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || reader.run())?;
        Ok(Crowd {
            orders,
            epoll,
            tally,
            added: 0,
            thread: Some(thread),
            stop,
        })
    }

    /// A viewer that has asked and, over HTTP, not read its answer unless `asked.first_at` says so.
    pub fn add(&mut self, asked: Asked, reading: Reading) -> anyhow::Result<()> {
        let framed = if asked.first_at.is_some() {
            Framed::Media
        } else {
            Framed::Head
        };
        // An event may come before the order has been seen: it comes again until its bytes are read.
        self.epoll
            .add(&asked.stream, self.added)
            .context("cannot watch a socket")?;
        self.added += 1;
        self.order(Order::Add { asked, reading, framed })
    }

    /// Gaps and latencies count from here.
    pub fn begin_window(&self) -> anyhow::Result<()> {
        self.order(Order::BeginWindow)
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    pub fn added(&self) -> u64 {
        self.added
    }

    /// Closes all viewers; their results.
    pub fn end(mut self) -> anyhow::Result<Outcome> {
        self.order(Order::End)?;
        let thread = self.thread.take().context("a crowd ends once")?;
        thread.join().map_err(|_| anyhow!("the viewers' thread panicked"))?
    }

    fn order(&self, order: Order) -> anyhow::Result<()> {
        self.orders
            .send(order)
            .map_err(|_| anyhow!("the viewers' thread has ended"))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic has been printed by the thread.
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Viewer {
    /// Nothing when it has ended.
    stream: Option<TcpStream>,
    asked_at: u64,
    /// The answer's head as far as it came.
    head: Option<Vec<u8>>,
    search: Option<Search>,
    last_at: u64,
    last_number: Option<u32>,
    watched: Watched,
}

#[derive(Debug)]
struct ReadingThread {
    epoll: Arc<Epoll>,
    orders: Receiver<Order>,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    viewers: Vec<Viewer>,
    latency: Times,
    frames_lost: u64,
    scratch: Vec<u8>,
}

impl ReadingThread {
    fn run(mut self) -> anyhow::Result<Outcome> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            self.epoll.wait(&mut events, WAIT_MILLIS).context("epoll failed")?;
            for token in events.tokens() {
                let place = usize::try_from(token)?;
                if place >= self.viewers.len() && self.take_orders() {
                    return Ok(self.finish());
                }
                if place < self.viewers.len() {
                    self.read(place);
                }
            }
            if self.take_orders() || self.stop.load(Ordering::Relaxed) {
                return Ok(self.finish());
            }
        }
    }

    /// Whether the end was ordered.
    fn take_orders(&mut self) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Add { asked, reading, framed } => self.take(asked, reading, framed),
                Order::BeginWindow => {
                    self.latency.clear();
                    self.frames_lost = 0;
                    for viewer in &mut self.viewers {
                        viewer.watched.longest_gap_nanos = 0;
                    }
                }
                Order::End => return true,
            }
        }
        false
    }

    fn take(&mut self, asked: Asked, reading: Reading, framed: Framed) {
        let first_byte_nanos = asked.first_at.map(|first| first.saturating_sub(asked.at));
        if first_byte_nanos.is_some() {
            self.tally.playing.fetch_add(1, Ordering::Relaxed);
        }
        self.viewers.push(Viewer {
            stream: Some(asked.stream),
            asked_at: asked.at,
            head: (framed == Framed::Head).then(Vec::new),
            search: (reading == Reading::Verify).then(Search::new),
            last_at: asked.first_at.unwrap_or(asked.at),
            last_number: None,
            watched: Watched {
                first_byte_nanos,
                ..Watched::default()
            },
        });
    }

    fn read(&mut self, place: usize) {
        let viewer = &mut self.viewers[place];
        let Some(stream) = &viewer.stream else { return };
        let keeps = viewer.head.is_some() || viewer.search.is_some();
        let result = if keeps {
            sys::read(stream, &mut self.scratch)
        } else {
            sys::discard(stream, &mut self.scratch)
        };
        let bytes = match result {
            Ok(0) => return self.fail(place, "closed by the server".into()),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            Err(error) => return self.fail(place, error.to_string()),
        };
        let now = sys::monotonic_nanos();
        self.tally.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        viewer.watched.bytes += bytes as u64;
        let mut media = &self.scratch[..bytes];
        if let Some(head) = &mut viewer.head {
            let before = head.len();
            head.extend_from_slice(media);
            let body = match body_of(head) {
                Ok(Some(body)) if body < head.len() => body,
                Ok(_) => return,
                Err(error) => return self.fail(place, error.to_string()),
            };
            media = &media[body.saturating_sub(before)..];
            viewer.head = None;
            viewer.watched.first_byte_nanos = Some(now - viewer.asked_at);
            self.tally.playing.fetch_add(1, Ordering::Relaxed);
        } else {
            let gap = now.saturating_sub(viewer.last_at);
            viewer.watched.longest_gap_nanos = viewer.watched.longest_gap_nanos.max(gap);
        }
        viewer.last_at = now;
        if let Some(search) = &mut viewer.search {
            let (latency, lost) = (&mut self.latency, &mut self.frames_lost);
            let (asked_at, last) = (viewer.asked_at, &mut viewer.last_number);
            search.feed(media, |stamp| note(stamp, now, asked_at, last, latency, lost));
        }
    }

    fn fail(&mut self, place: usize, why: String) {
        let viewer = &mut self.viewers[place];
        if viewer.watched.first_byte_nanos.is_some() {
            self.tally.playing.fetch_sub(1, Ordering::Relaxed);
        }
        viewer.stream = None;
        viewer.watched.failed = Some(why);
        self.tally.failed.fetch_add(1, Ordering::Relaxed);
    }

    fn finish(self) -> Outcome {
        let now = sys::monotonic_nanos();
        let viewers = self.viewers.into_iter().map(|viewer| {
            let mut watched = viewer.watched;
            if viewer.stream.is_some() {
                if viewer.head.is_some() {
                    watched.failed = Some("no answer".into());
                }
                let gap = now.saturating_sub(viewer.last_at);
                watched.longest_gap_nanos = watched.longest_gap_nanos.max(gap);
            }
            watched
        });
        Outcome {
            viewers: viewers.collect(),
            latency: self.latency,
            frames_lost: self.frames_lost,
        }
    }
}

/// Frames from before the viewer asked came out of the memory of the server: their age is no latency.
fn note(stamp: Stamp, now: u64, asked_at: u64, last: &mut Option<u32>, latency: &mut Times, frames_lost: &mut u64) {
    if last.is_some_and(|last| stamp.number != last.wrapping_add(1)) {
        *frames_lost += 1;
    }
    *last = Some(stamp.number);
    if stamp.nanos >= asked_at {
        latency.record_nanos(now.saturating_sub(stamp.nanos));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::target::Target;

    fn wait(crowd: &Crowd, bytes: u64, failed: u64) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let tally = crowd.tally();
        while tally.bytes.load(Ordering::Relaxed) < bytes || tally.failed.load(Ordering::Relaxed) < failed {
            assert!(Instant::now() < deadline, "{tally:?}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn viewers_are_read_verified_and_failed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x.flv", listener.local_addr().unwrap());
        let target = Target::parse(&url).unwrap();
        let mut crowd = Crowd::start("crowd").unwrap();
        let mut peers = Vec::new();
        for reading in [Reading::Drain, Reading::Verify, Reading::Drain, Reading::Drain] {
            crowd.add(target.ask().unwrap(), reading).unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            let mut request = [0; 16];
            peer.read_exact(&mut request).unwrap();
            assert_eq!(&request, b"GET /x.flv HTTP/");
            peers.push(peer);
        }
        let mut answer = b"HTTP/1.1 200 OK\r\n\r\nabc".to_vec();
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
        wait(&crowd, 2 * answer.len() as u64, 2);
        let outcome = crowd.end().unwrap();
        assert_eq!((outcome.latency.count(), outcome.frames_lost), (3, 1));
        let bytes: Vec<u64> = outcome.viewers.iter().map(|viewer| viewer.bytes).collect();
        assert_eq!(bytes, [answer.len() as u64, answer.len() as u64, 26, 0]);
        let played: Vec<bool> = outcome.viewers.iter().map(|viewer| viewer.failed.is_none()).collect();
        assert_eq!(played, [true, true, false, false]);
        assert!(outcome.viewers[0].first_byte_nanos.is_some());
    }
}
