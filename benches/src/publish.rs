//! The publishers: the clip in a loop at the pace of its clock, each picture stamped with the time of its sending.
//!
//! One thread has many streams: its clip is held once, and what differs between two streams is their place in it. They
//! begin spread over a GOP, so that their keyframes do not come all at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use penstock_proto::rtmp::client::{Client, Event, Options};
use penstock_proto::rtmp::session::Output;
use penstock_proto::tag::MessageKind;

use crate::clip::{Clip, Timed};
use crate::stamp::Stamp;
use crate::sys;
use crate::target::{ANSWER_WAIT, Protocol, Target};

/// Codec byte, packet type and composition time before the NAL units of a picture.
const VIDEO_HEAD_BYTES: usize = 5;
/// Looks at whether it shall end at least so often.
const NAP: Duration = Duration::from_millis(100);
/// Streams of one thread: at 600 kb/s each costs about a thousandth of a core.
const STREAMS_OF_A_THREAD: usize = 250;
/// Their beginnings are spread over a GOP of the clip.
const SPREAD: Duration = Duration::from_secs(2);
/// What a server has not taken when it is given up: some seconds of the largest clip.
const PENDING_BYTES_MAX: usize = 8 << 20;
/// With something pending, it is tried again so soon.
const RETRY: Duration = Duration::from_millis(1);
/// Frames between two looks at what the server says.
const LISTEN_FRAMES: usize = 16;

/// Threads with connections. Dropping it ends the publishes.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    frames: AtomicU64,
    begun: AtomicU64,
    late_nanos_max: AtomicU64,
}

impl Publisher {
    /// Connects, is accepted, and goes on by itself.
    pub fn start(target: &Target, clip: Arc<Clip>) -> anyhow::Result<Publisher> {
        Publisher::start_all(std::slice::from_ref(target), clip)
    }

    /// The same for any number of streams.
    pub fn start_all(targets: &[Target], clip: Arc<Clip>) -> anyhow::Result<Publisher> {
        let mut publisher = Publisher {
            shared: Arc::default(),
            threads: Vec::new(),
        };
        let mut streams = Vec::with_capacity(targets.len());
        for (at, target) in targets.iter().enumerate() {
            let delay = SPREAD.mul_f64(at as f64 / targets.len() as f64);
            let stream = Stream::open(target, delay).with_context(|| format!("cannot publish to {}", target.url()))?;
            streams.push(stream);
        }
        // Connecting took its time; the clocks begin together.
        let now = Instant::now();
        streams.iter_mut().for_each(|stream| stream.start = now + stream.delay);
        while !streams.is_empty() {
            let of_thread = streams.split_off(streams.len().saturating_sub(STREAMS_OF_A_THREAD));
            let (clip, shared) = (Arc::clone(&clip), Arc::clone(&publisher.shared));
            let thread = std::thread::Builder::new()
                .name("publisher".into())
                .spawn(move || run(of_thread, &clip, &shared))?;
            publisher.threads.push(thread);
        }
        Ok(publisher)
    }

    /// Frames sent so far, of picture and sound, of all streams.
    pub fn frames(&self) -> u64 {
        self.shared.frames.load(Ordering::Relaxed)
    }

    /// Streams that have sent their first frame.
    pub fn begun(&self) -> u64 {
        self.shared.begun.load(Ordering::Relaxed)
    }

    /// How late the latest frame was against the clip's clock.
    pub fn late_max(&self) -> Duration {
        Duration::from_nanos(self.shared.late_nanos_max.load(Ordering::Relaxed))
    }

    /// Fails when a publish has ended by itself.
    pub fn check(&mut self) -> anyhow::Result<()> {
        if self.threads.iter().any(JoinHandle::is_finished) {
            return self.end();
        }
        Ok(())
    }

    /// Ends the publishes in good manners.
    pub fn end(&mut self) -> anyhow::Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            let ended = thread.join().map_err(|_| anyhow!("the publisher's thread panicked"));
            result = result.and(ended.and_then(|ended| ended.context("the publisher failed")));
        }
        result
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // Whoever wants to know has called `end`.
        let _ = self.end();
    }
}

/// One stream's connection, and its place in the clip.
#[derive(Debug)]
struct Stream {
    client: Client,
    socket: TcpStream,
    delay: Duration,
    start: Instant,
    /// Index into the clip's frames, and how often it has been played.
    next: usize,
    round: u64,
    number: u32,
    /// The latest time at which a frame was due.
    newest: Instant,
    /// What the server has not taken, and what the client has not.
    pending: Vec<u8>,
    input: Vec<u8>,
}

impl Stream {
    fn open(target: &Target, delay: Duration) -> anyhow::Result<Stream> {
        if target.protocol != Protocol::Rtmp || target.authority.tls.is_some() {
            bail!("a publisher needs an rtmp:// URL");
        }
        let (app, name, tc_url) = target.application();
        let mut socket = connect(target.authority.address)?;
        let client = Client::publish(Options::default(), app, &tc_url, name);
        let client = converse(client, &mut socket)?;
        socket.set_nonblocking(true)?;
        let now = Instant::now();
        Ok(Stream {
            client,
            socket,
            delay,
            start: now,
            next: 0,
            round: 0,
            number: 0,
            newest: now,
            pending: Vec::new(),
            input: Vec::new(),
        })
    }

    fn millis(&self, clip: &Clip) -> u64 {
        self.round * u64::from(clip.millis) + u64::from(clip.frames[self.next].millis)
    }

    fn due(&self, clip: &Clip) -> Instant {
        self.start + Duration::from_millis(self.millis(clip))
    }

    /// Sends the next frame; `body` and `out` are the thread's.
    fn send_next(&mut self, clip: &Clip, shared: &Shared, body: &mut Vec<u8>, out: &mut Vec<u8>) -> anyhow::Result<()> {
        out.clear();
        if self.round == 0 && self.next == 0 {
            for timed in &clip.setup {
                self.client.send_media(timed.kind, 0, &timed.body, out);
            }
            shared.begun.fetch_add(1, Ordering::Relaxed);
        }
        // Sound and picture stand in the file a little out of order; a frame is not late for the one before it.
        self.newest = self.newest.max(self.due(clip));
        let late = Instant::now().saturating_duration_since(self.newest).as_nanos() as u64;
        shared.late_nanos_max.fetch_max(late, Ordering::Relaxed);
        let timed = &clip.frames[self.next];
        stamped(timed, &mut self.number, body);
        // 32-bit message time wraps.
        self.client.send_media(timed.kind, self.millis(clip) as u32, body, out);
        self.write(out)?;
        shared.frames.fetch_add(1, Ordering::Relaxed);
        self.next += 1;
        if self.next == clip.frames.len() {
            (self.next, self.round) = (0, self.round + 1);
        }
        if self.next.is_multiple_of(LISTEN_FRAMES) {
            self.listen()?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut sent = 0;
        if self.pending.is_empty() {
            sent = self.write_some(bytes)?;
        }
        self.pending.extend_from_slice(&bytes[sent..]);
        if self.pending.len() > PENDING_BYTES_MAX {
            bail!("the server takes no more");
        }
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let sent = self.write_some(&pending)?;
        self.pending = pending;
        self.pending.drain(..sent);
        Ok(())
    }

    fn write_some(&mut self, bytes: &[u8]) -> anyhow::Result<usize> {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.socket.write(&bytes[sent..]) {
                Ok(part) => sent += part,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the server takes no more"),
            }
        }
        Ok(sent)
    }

    /// Pings are answered; acknowledgements only must not fill the socket.
    fn listen(&mut self) -> anyhow::Result<()> {
        let mut piece = [0; 4096];
        loop {
            match sys::read(&self.socket, &mut piece) {
                Ok(0) => bail!("the server closed the publisher's connection"),
                Ok(bytes) => self.input.extend_from_slice(&piece[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("the server closed the publisher's connection"),
            }
        }
        loop {
            let mut answer = Vec::new();
            while let Some(output) = self.client.poll_output() {
                match output {
                    Output::Transmit(bytes) => answer.extend_from_slice(bytes),
                    Output::Event(Event::Refused { code, description }) => bail!("refused: {code}: {description}"),
                    Output::Event(_) | Output::Media { .. } => {}
                }
            }
            self.write(&answer)?;
            let taken = self.client.handle_input(0, &self.input)?;
            self.input.drain(..taken);
            if taken == 0 {
                return Ok(());
            }
        }
    }
}

fn run(mut streams: Vec<Stream>, clip: &Clip, shared: &Shared) -> anyhow::Result<()> {
    let (mut body, mut out) = (Vec::new(), Vec::new());
    let due = |(at, stream): (usize, &Stream)| Reverse((stream.due(clip), at));
    let mut times: BinaryHeap<Reverse<(Instant, usize)>> = streams.iter().enumerate().map(due).collect();
    while !shared.stop.load(Ordering::Relaxed) {
        let Some(Reverse((due, at))) = times.peek().copied() else {
            return Ok(());
        };
        let mut nap = due.saturating_duration_since(Instant::now()).min(NAP);
        if nap.is_zero() {
            times.pop();
            streams[at].send_next(clip, shared, &mut body, &mut out)?;
            times.push(Reverse((streams[at].due(clip), at)));
            continue;
        }
        for stream in streams.iter_mut().filter(|stream| !stream.pending.is_empty()) {
            stream.flush()?;
            nap = nap.min(RETRY);
        }
        std::thread::sleep(nap);
    }
    for stream in &mut streams {
        out.clear();
        stream.client.send_end(&mut out);
        // Behind what is pending; a server that takes nothing is told by the end of the connection.
        if stream.pending.is_empty() {
            stream.write_some(&out)?;
        }
    }
    Ok(())
}

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&address, ANSWER_WAIT).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    stream.set_write_timeout(Some(ANSWER_WAIT))?;
    Ok(stream)
}

/// Speaks for `client` until it may send.
fn converse(mut client: Client, stream: &mut TcpStream) -> anyhow::Result<Client> {
    let (mut input, mut piece) = (Vec::new(), [0; 16 * 1024]);
    loop {
        while let Some(output) = client.poll_output() {
            match output {
                Output::Transmit(bytes) => stream.write_all(bytes).context("the dialogue was not taken")?,
                Output::Event(Event::Publishing { .. }) => return Ok(client),
                Output::Event(Event::Refused { code, description }) => bail!("refused: {code}: {description}"),
                Output::Event(_) | Output::Media { .. } => {}
            }
        }
        let taken = client.handle_input(0, &input)?;
        input.drain(..taken);
        if taken > 0 {
            continue;
        }
        match stream.read(&mut piece) {
            Ok(0) => bail!("closed in the dialogue"),
            Ok(bytes) => input.extend_from_slice(&piece[..bytes]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("no answer in the dialogue"),
        }
    }
}

/// The message's body, a picture's with a stamp in front of its NAL units.
fn stamped(timed: &Timed, number: &mut u32, body: &mut Vec<u8>) {
    body.clear();
    match timed.body.split_at_checked(VIDEO_HEAD_BYTES) {
        Some((head, units)) if timed.kind == MessageKind::Video => {
            body.extend_from_slice(head);
            Stamp {
                nanos: sys::monotonic_nanos(),
                number: *number,
            }
            .emit(body);
            body.extend_from_slice(units);
            *number = number.wrapping_add(1);
        }
        _ => body.extend_from_slice(&timed.body),
    }
}

#[cfg(test)]
mod tests {
    use penstock_proto::codec::nal;

    use super::*;
    use crate::stamp::Search;

    #[test]
    fn a_stamped_picture_is_its_units_behind_one_more() {
        let picture = Timed {
            kind: MessageKind::Video,
            millis: 0,
            body: vec![0x17, 1, 0, 0, 0, 0, 0, 0, 2, 0x65, 0x88],
        };
        let (mut number, mut body) = (7, Vec::new());
        stamped(&picture, &mut number, &mut body);
        assert_eq!(body[..VIDEO_HEAD_BYTES], picture.body[..VIDEO_HEAD_BYTES]);
        let units: Vec<&[u8]> = nal::units(&body[VIDEO_HEAD_BYTES..]).collect();
        assert!(nal::is_well_formed(&body[VIDEO_HEAD_BYTES..]));
        assert_eq!((units.len(), units[0][0], units[1]), (2, 6, &[0x65, 0x88][..]));
        let mut found = Vec::new();
        Search::new().feed(&body, |stamp| found.push(stamp.number));
        assert_eq!((found, number), (vec![7], 8));
    }
}
