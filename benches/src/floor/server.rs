//! The floor: the least that a server of one thread can do with `epoll`. The same bytes to all viewers, from one buffer.
//!
//! It reads a request without looking at it, answers with a head, and from then on sends by its [`Plan`]. No pictures, no
//! protocol, no publisher. What it has in common with penstock: sockets that do not wait, `TCP_NODELAY`,
//! `TCP_NOTSENT_LOWAT`, and a full socket that is left alone until `EPOLLOUT`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use anyhow::Context;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::SendFlags;

use super::plan::{Histogram, Plan, class_of};
use crate::sys;

/// How bytes are handed to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Call {
    /// `send(2)` from one buffer.
    Send,
    /// `sendfile(2)` from a memfd.
    Sendfile,
}

/// `TCP_NOTSENT_LOWAT` as penstock sets it: half as much again as a turn brings, within these bounds (DESIGN.md 4.4).
const NOT_SENT_BYTES: std::ops::RangeInclusive<u32> = 64 * 1024..=2 * 1024 * 1024;
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nConnection: close\r\n\r\n";
const EVENTS: usize = 1024;
const LISTENER: u64 = u64::MAX;
const ORDERS: u64 = u64::MAX - 1;

/// What the floor has done since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub by_size: Histogram,
    pub bytes: u64,
    /// Sends of which the socket took nothing or a part.
    pub full: u64,
    /// Viewers whose socket is full.
    pub waiting: u64,
    pub rounds: u64,
}

#[derive(Debug)]
struct Viewer {
    stream: TcpStream,
    asked: bool,
    /// In the buffer.
    at: usize,
    /// What a full socket did not take.
    owed: usize,
    waits: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Floor {
    epoll: OwnedFd,
    listener: TcpListener,
    orders: OwnedFd,
    call: Call,
    plan: Plan,
    /// The bytes once, and the beginning again: no send is cut by the end.
    buffer: Vec<u8>,
    /// Where the bytes begin again.
    around: usize,
    file: OwnedFd,
    viewers: Vec<Option<Viewer>>,
    low_water: u32,
    counts: Counts,
}

impl Floor {
    /// `orders` is read until its end, which is the floor's; each byte of it asks for the counts.
    pub fn new(orders: OwnedFd, call: Call, plan: Plan, media: &[u8]) -> anyhow::Result<Floor> {
        anyhow::ensure!(!media.is_empty(), "there is nothing to send");
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        rustix::net::listen(&listener, 4096)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &listener,
            epoll::EventData::new_u64(LISTENER),
            epoll::EventFlags::IN,
        )?;
        epoll::add(
            &epoll,
            &orders,
            epoll::EventData::new_u64(ORDERS),
            epoll::EventFlags::IN,
        )?;
        let largest = plan.largest() as usize;
        let buffer: Vec<u8> = media.iter().copied().cycle().take(media.len() + largest).collect();
        let file = memfd_create("floor", MemfdFlags::CLOEXEC)?;
        if call == Call::Sendfile {
            std::fs::File::from(file.try_clone()?).write_all(&buffer)?;
        }
        let wanted = plan.largest().saturating_add(plan.largest() / 2);
        Ok(Floor {
            epoll,
            listener,
            orders,
            call,
            low_water: wanted.clamp(*NOT_SENT_BYTES.start(), *NOT_SENT_BYTES.end()),
            plan,
            buffer,
            around: media.len(),
            file,
            viewers: Vec::new(),
            counts: Counts::default(),
        })
    }

    pub fn address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `orders` ends; `told` gets the counts when they are asked for.
    pub fn run(&mut self, mut told: impl FnMut(&Counts)) -> anyhow::Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        let (start, mut round) = (sys::monotonic_nanos(), 1u64);
        loop {
            let due = start + round * self.plan.interval_nanos;
            let left = due.saturating_sub(sys::monotonic_nanos());
            let timeout = Timespec {
                tv_sec: (left / 1_000_000_000) as i64,
                tv_nsec: (left % 1_000_000_000) as i64,
            };
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("epoll failed"),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    ORDERS => {
                        if rustix::io::read(&self.orders, &mut [0; 1])? == 0 {
                            return Ok(());
                        }
                        told(&self.counts);
                    }
                    place => self.ready(place as usize, event.flags),
                }
            }
            if sys::monotonic_nanos() >= due {
                self.round(round - 1);
                round += 1;
            }
        }
    }

    fn accept(&mut self) -> anyhow::Result<()> {
        let (stream, _) = match self.listener.accept() {
            Ok(accepted) => accepted,
            // Gone again, or an event that another accept has answered.
            Err(_) => return Ok(()),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        penstock_shard::sys::socket::set_not_sent_low_water(&stream, self.low_water)?;
        let token = epoll::EventData::new_u64(self.viewers.len() as u64);
        epoll::add(&self.epoll, &stream, token, epoll::EventFlags::IN)?;
        self.viewers.push(Some(Viewer {
            stream,
            asked: false,
            at: 0,
            owed: 0,
            waits: false,
        }));
        Ok(())
    }

    fn ready(&mut self, place: usize, flags: epoll::EventFlags) {
        let Some(Some(viewer)) = self.viewers.get_mut(place) else {
            return;
        };
        if flags.contains(epoll::EventFlags::OUT) {
            self.counts.waiting -= u64::from(std::mem::take(&mut viewer.waits));
            let rest = std::mem::take(&mut viewer.owed);
            self.watch(place, epoll::EventFlags::IN);
            self.send(place, rest);
        }
        let Some(Some(viewer)) = self.viewers.get_mut(place) else {
            return;
        };
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            let mut request = [0; 2048];
            match viewer.stream.read(&mut request) {
                Ok(bytes) if bytes > 0 => {
                    if !viewer.asked {
                        viewer.asked = true;
                        // A new socket has room for a head.
                        if viewer.stream.write(HEAD).is_err() {
                            self.leave(place);
                        }
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => self.leave(place),
            }
        }
    }

    /// One send to each viewer of the round. Who is in a short or mixed round changes from loop to loop.
    fn round(&mut self, number: u64) {
        let rounds = self.plan.rounds.len() as u64;
        let runs = std::mem::take(&mut self.plan.rounds[(number % rounds) as usize]);
        let viewers = self.viewers.len();
        let mut place = if viewers == 0 {
            0
        } else {
            (number / rounds) as usize * 37 % viewers
        };
        let mut left = viewers;
        for run in &runs {
            for _ in 0..run.viewers.min(left as u32) {
                self.send(place, run.bytes as usize);
                place = (place + 1) % viewers;
                left -= 1;
            }
        }
        self.plan.rounds[(number % rounds) as usize] = runs;
        self.counts.rounds += 1;
    }

    fn send(&mut self, place: usize, bytes: usize) {
        let Some(Some(viewer)) = self.viewers.get_mut(place) else {
            return;
        };
        if !viewer.asked || bytes == 0 {
            return;
        }
        if viewer.waits {
            // Never more than the buffer has behind any place.
            viewer.owed = (viewer.owed + bytes).min(self.buffer.len() - self.around);
            return;
        }
        let result = match self.call {
            Call::Send => {
                let range = &self.buffer[viewer.at..viewer.at + bytes];
                rustix::net::send(&viewer.stream, range, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            }
            Call::Sendfile => {
                let mut offset = viewer.at as u64;
                rustix::fs::sendfile(&viewer.stream, &self.file, Some(&mut offset), bytes)
            }
        };
        let taken = match result {
            Ok(taken) => taken,
            Err(rustix::io::Errno::AGAIN) => 0,
            Err(_) => {
                self.leave(place);
                return;
            }
        };
        viewer.at = (viewer.at + taken) % self.around;
        if taken > 0 {
            self.counts.by_size[class_of(taken)] += 1;
            self.counts.bytes += taken as u64;
        }
        if taken < bytes {
            (viewer.owed, viewer.waits) = (bytes - taken, true);
            self.counts.full += 1;
            self.counts.waiting += 1;
            self.watch(place, epoll::EventFlags::IN | epoll::EventFlags::OUT);
        }
    }

    fn leave(&mut self, place: usize) {
        let left = self.viewers[place].take();
        self.counts.waiting -= u64::from(left.is_some_and(|viewer| viewer.waits));
    }

    fn watch(&mut self, place: usize, flags: epoll::EventFlags) {
        let Some(Some(viewer)) = self.viewers.get(place) else {
            return;
        };
        let token = epoll::EventData::new_u64(place as u64);
        if epoll::modify(&self.epoll, viewer.stream.as_fd(), token, flags).is_err() {
            self.leave(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::PipeWriter;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::floor::plan::Run;

    struct Running {
        orders: Option<PipeWriter>,
        address: std::net::SocketAddr,
        counts: Arc<Mutex<Option<Counts>>>,
        thread: Option<std::thread::JoinHandle<()>>,
    }

    impl Running {
        fn start(call: Call, plan: Plan, media: &[u8]) -> Running {
            let (read, write) = std::io::pipe().unwrap();
            let mut floor = Floor::new(read.into(), call, plan, media).unwrap();
            let (address, counts) = (floor.address().unwrap(), Arc::new(Mutex::new(None)));
            let told = Arc::clone(&counts);
            let thread = std::thread::spawn(move || {
                floor
                    .run(|counts| *told.lock().unwrap() = Some(counts.clone()))
                    .unwrap();
            });
            Running {
                orders: Some(write),
                address,
                counts,
                thread: Some(thread),
            }
        }

        fn counts(&mut self) -> Counts {
            *self.counts.lock().unwrap() = None;
            self.orders.as_mut().unwrap().write_all(b"?").unwrap();
            let deadline = Instant::now() + Duration::from_secs(10);
            loop {
                if let Some(counts) = self.counts.lock().unwrap().take() {
                    return counts;
                }
                assert!(Instant::now() < deadline);
                std::thread::yield_now();
            }
        }

        fn viewer(&self) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            let mut head = vec![0; HEAD.len()];
            stream.read_exact(&mut head).unwrap();
            assert_eq!(head, HEAD);
            stream
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            drop(self.orders.take());
            if let Some(thread) = self.thread.take() {
                let ended = thread.join();
                assert!(ended.is_ok() || std::thread::panicking());
            }
        }
    }

    /// 97,003 bytes without a period that a wrong place could hide behind.
    fn media() -> Vec<u8> {
        (0..97_003u32)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect()
    }

    fn rounds(sizes: &[&[(u32, u32)]]) -> Vec<Vec<Run>> {
        let runs = |round: &&[(u32, u32)]| {
            let run = |(viewers, bytes): &(u32, u32)| Run {
                viewers: *viewers,
                bytes: *bytes,
            };
            round.iter().map(run).collect()
        };
        sizes.iter().map(runs).collect()
    }

    #[test]
    fn viewers_get_the_bytes_in_the_sends_of_the_plan() {
        let media = media();
        for call in [Call::Send, Call::Sendfile] {
            let plan = Plan {
                interval_nanos: 1_000_000,
                rounds: rounds(&[&[(3, 700)], &[(2, 300), (1, 5000)], &[(3, 40_000)], &[(1, 1)]]),
            };
            let mut running = Running::start(call, plan, &media);
            let viewers: Vec<TcpStream> = (0..3).map(|_| running.viewer()).collect();
            let before = running.counts();
            // Round the buffer's end several times.
            for mut viewer in viewers {
                let mut bytes = vec![0; 300_000];
                viewer.read_exact(&mut bytes).unwrap();
                let expected: Vec<u8> = media.iter().copied().cycle().take(bytes.len()).collect();
                assert!(bytes == expected, "{call:?}");
                std::thread::spawn(move || std::io::copy(&mut viewer, &mut std::io::sink()));
            }
            // All of them read: whole loops of the plan from here on.
            let (mut first, mut last) = (running.counts(), running.counts());
            let deadline = Instant::now() + Duration::from_secs(20);
            while last.rounds - first.rounds < 200 || !(last.rounds - first.rounds).is_multiple_of(4) {
                assert!(Instant::now() < deadline, "{first:?} {last:?}");
                last = running.counts();
                if last.full > first.full || first.waiting > 0 {
                    first = last.clone();
                }
            }
            assert!(first.rounds > before.rounds);
            let loops = (last.rounds - first.rounds) / 4;
            let sends: Vec<u64> = (0..11)
                .map(|class| last.by_size[class] - first.by_size[class])
                .collect();
            let expected: [u64; 11] = [3, 3, 0, 0, 1, 0, 0, 3, 0, 0, 0].map(|sends| sends * loops);
            assert_eq!(sends, expected, "{call:?}: {loops} loops");
            assert_eq!(last.bytes - first.bytes, loops * (3 * 700 + 600 + 5000 + 120_000 + 1));
        }
    }

    #[test]
    fn a_full_socket_is_left_alone_and_loses_nothing() {
        let media = media();
        for call in [Call::Send, Call::Sendfile] {
            let plan = Plan {
                interval_nanos: 1_000_000,
                rounds: rounds(&[&[(2, 90_000)]]),
            };
            let mut running = Running::start(call, plan, &media);
            let mut slow = running.viewer();
            let deadline = Instant::now() + Duration::from_secs(20);
            while running.counts().full == 0 {
                assert!(Instant::now() < deadline, "a reader that stopped fills its socket");
            }
            let first = running.counts();
            while running.counts().rounds < first.rounds + 20 {
                assert!(Instant::now() < deadline);
            }
            let later = running.counts();
            assert!(
                later.full <= first.full + 2,
                "nothing is tried at a full socket: {first:?} {later:?}"
            );
            let mut bytes = vec![0; 8_000_000];
            slow.read_exact(&mut bytes).unwrap();
            let expected: Vec<u8> = media.iter().copied().cycle().take(bytes.len()).collect();
            assert!(bytes == expected, "{call:?}");
            // One who leaves is no end of the floor.
            drop(slow);
            let mut next = running.viewer();
            next.read_exact(&mut [0; 1000]).unwrap();
        }
    }
}
