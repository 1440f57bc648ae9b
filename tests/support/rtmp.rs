//! RTMP peers that say what a test wants said, when it wants it: a publisher of tags, and a player that keeps them.
//!
//! They speak through penstock's own client session, so they prove nothing of the handshake or of chunks: for that the
//! real clients are there. Every wait is for the server, with a deadline.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use penstock_proto::rtmp::client::{Client, Event, Options};
use penstock_proto::rtmp::session::Output;
use penstock_proto::rtmp::wire::command::Command;
use penstock_proto::tag::MessageKind;
use penstock_proto::tag::amf0::Value;

use super::flv::{AUDIO, SCRIPT, Tag, VIDEO, shifted};
use super::wire::{self, PATIENCE, Progress};

/// No test's stream is longer.
const PLAY: Duration = Duration::from_secs(60);

/// A connection with its session, and what the server has said on it.
struct Link {
    stream: TcpStream,
    client: Client,
    events: VecDeque<Event>,
    tags: Vec<Tag>,
    closed: bool,
}

impl Link {
    fn new(to: SocketAddr, client: Client) -> Link {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap_or_else(|error| panic!("{to}: {error}"));
        Link::over(stream, client)
    }

    fn over(stream: TcpStream, client: Client) -> Link {
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        let mut link = Link {
            stream,
            client,
            events: VecDeque::new(),
            tags: Vec::new(),
            closed: false,
        };
        link.drain();
        link
    }

    /// Takes what the server says until something came or the time is over.
    fn listen(&mut self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || self.closed {
            return;
        }
        self.stream.set_read_timeout(Some(left)).expect("not zero");
        let mut bytes = [0; 64 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.closed = true,
            Ok(count) => self.feed(&bytes[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted) => {
                self.closed = true;
            }
            Err(error) => panic!("receive: {error}"),
        }
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.client.handle_input(0, bytes).expect("the server speaks RTMP");
            bytes = &bytes[taken..];
            self.drain();
        }
    }

    fn drain(&mut self) {
        let mut out = Vec::new();
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Transmit(bytes) => out.extend_from_slice(bytes),
                Output::Media {
                    kind, timestamp, body, ..
                } => self.tags.push(Tag {
                    kind: tag_kind(kind),
                    time: timestamp,
                    body: body.to_vec(),
                }),
                Output::Event(event) => self.events.push_back(event),
            }
        }
        self.send(&out);
    }

    /// Sends; a server that has closed already is no fault here, what it said is still read.
    fn send(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            Err(error) if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                panic!("send: {error}")
            }
            _ => {}
        }
    }

    /// Waits for an event that `wanted` picks; tells what came when the server refuses or closes first.
    fn wait<T>(&mut self, what: &str, mut wanted: impl FnMut(&Event) -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(event) = self.events.pop_front() {
                if let Some(found) = wanted(&event) {
                    return Ok(found);
                }
                if let Event::Refused { code, description } = event {
                    return Err(format!("{code}: {description}"));
                }
            }
            if self.closed || Instant::now() >= deadline {
                return Err(format!("{what} did not come; closed: {}", self.closed));
            }
            self.listen(deadline);
        }
    }

    /// Reads until the server closes; false when it does not in time.
    fn closes(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !self.closed && Instant::now() < deadline {
            self.listen(deadline);
        }
        self.closed
    }
}

fn tag_kind(kind: MessageKind) -> u8 {
    match kind {
        MessageKind::Audio => AUDIO,
        MessageKind::Video => VIDEO,
        MessageKind::Script => SCRIPT,
    }
}

/// Sends tags at a multiple of their own pace.
pub struct Publisher {
    link: Link,
    pace: u32,
    /// When the tag with this time was due.
    clock: Option<(Instant, u32)>,
}

impl Publisher {
    /// A publisher that has heard that it may begin. `pace`: times faster than its clock.
    pub fn start(to: SocketAddr, name: &str, pace: u32) -> Publisher {
        Publisher::try_start(to, name, pace).unwrap_or_else(|why| panic!("publish {name}: {why}"))
    }

    pub fn try_start(to: SocketAddr, name: &str, pace: u32) -> Result<Publisher, String> {
        Publisher::try_start_as(to, "live", name, pace)
    }

    /// As `try_start`, with another application than `live`: a password.
    pub fn try_start_as(to: SocketAddr, app: &str, name: &str, pace: u32) -> Result<Publisher, String> {
        let client = Client::publish(Options::default(), app, &format!("rtmp://{to}/{app}"), name);
        let mut link = Link::new(to, client);
        let publishing = |event: &Event| matches!(event, Event::Publishing { .. }).then_some(());
        link.wait("NetStream.Publish.Start", publishing)?;
        Ok(Publisher {
            link,
            pace,
            clock: None,
        })
    }

    /// Sends tags, each when it is due.
    pub fn send(&mut self, tags: &[Tag]) {
        let mut out = Vec::new();
        for tag in tags {
            let (since, first) = *self.clock.get_or_insert((Instant::now(), tag.time));
            // Times wrap, and may fall.
            let ahead = u64::try_from(tag.time.wrapping_sub(first) as i32).unwrap_or(0);
            let due = since + Duration::from_millis(ahead) / self.pace;
            while Instant::now() < due && !self.link.closed {
                self.link.listen(due);
            }
            let kind = match tag.kind {
                AUDIO => MessageKind::Audio,
                VIDEO => MessageKind::Video,
                _ => MessageKind::Script,
            };
            out.clear();
            self.link.client.send_media(kind, tag.time, &tag.body, &mut out);
            self.link.send(&out);
        }
    }

    /// Begins to count the pace anew, after a wait for something else.
    pub fn restart_clock(&mut self) {
        self.clock = None;
    }

    /// Ends in good manners.
    pub fn end(mut self) {
        let mut out = Vec::new();
        self.link.client.send_end(&mut out);
        self.link.send(&out);
        self.vanish();
    }

    /// Says that it ends and closes its socket at once, as ffmpeg does: nothing waits for the server.
    pub fn drop_connection(mut self) {
        let mut out = Vec::new();
        self.link.client.send_end(&mut out);
        self.link.send(&out);
    }

    /// Closes the connection and waits until the server has noticed.
    pub fn vanish(mut self) {
        // A socket that is gone already was closed by the server.
        let _ = self.link.stream.shutdown(Shutdown::Write);
        assert!(
            self.link.closes(),
            "the server keeps a connection that its publisher closed"
        );
    }

    /// Ends the publish and begins it anew on the same connection.
    pub fn publish_again(&mut self) {
        let mut out = Vec::new();
        self.link.client.send_end(&mut out);
        // The transaction number is the one whose answer makes the session publish.
        let create = Command::new("createStream", 4.0, vec![Value::Null]);
        self.link.client.send_command(0, &create, &mut out);
        self.link.send(&out);
        let publishing = |event: &Event| matches!(event, Event::Publishing { .. }).then_some(());
        let again = self.link.wait("a second NetStream.Publish.Start", publishing);
        again.unwrap_or_else(|why| panic!("publish again: {why}"));
        self.restart_clock();
    }

    /// Waits until the server ends this publisher; gives the codes of what it said.
    pub fn ended(mut self) -> Vec<String> {
        assert!(self.link.closes(), "the server does not end this publisher");
        let codes = self.link.events.into_iter().filter_map(code);
        codes.collect()
    }
}

fn code(event: Event) -> Option<String> {
    match event {
        Event::Status { code } | Event::Refused { code, .. } => Some(code),
        _ => None,
    }
}

/// A player that keeps every tag it is sent, in a thread of its own.
pub struct Player {
    /// Tags.
    pub progress: Arc<Progress>,
    thread: JoinHandle<Link>,
}

impl Player {
    /// A player that has heard that media come.
    pub fn start(to: SocketAddr, name: &str) -> Player {
        let client = Client::play(Options::default(), "anyapp", &format!("rtmp://{to}/anyapp"), name);
        let mut link = Link::new(to, client);
        let playing = |event: &Event| matches!(event, Event::Playing { .. }).then_some(());
        link.wait("NetStream.Play.Start", playing)
            .unwrap_or_else(|why| panic!("play {name}: {why}"));
        let progress = Arc::new(Progress::default());
        let reached = Arc::clone(&progress);
        let thread = std::thread::spawn(move || {
            let deadline = Instant::now() + PLAY;
            while !link.closed && Instant::now() < deadline {
                link.listen(deadline);
                reached.set(link.tags.len() as u64);
            }
            reached.set(Progress::ENDED);
            link
        });
        Player { progress, thread }
    }

    /// Waits for the end, which the server must have announced; gives the tags.
    pub fn finish(self) -> Vec<Tag> {
        self.thread.join().expect("the player does not panic").finished()
    }
}

/// A player that reads when it is told to, over a socket that takes little.
pub struct SlowPlayer {
    link: Link,
}

impl SlowPlayer {
    pub fn start(to: SocketAddr, name: &str) -> SlowPlayer {
        let client = Client::play(Options::default(), "anyapp", &format!("rtmp://{to}/anyapp"), name);
        let mut link = Link::over(wire::narrow(to), client);
        let playing = |event: &Event| matches!(event, Event::Playing { .. }).then_some(());
        link.wait("NetStream.Play.Start", playing)
            .unwrap_or_else(|why| panic!("play {name}: {why}"));
        SlowPlayer { link }
    }

    /// Takes what is there, at most so many bytes, without a wait; how many there were.
    pub fn take(&mut self, count_max: usize) -> usize {
        let mut bytes = vec![0; count_max];
        let count = wire::read_at_once(&mut self.link.stream, &mut bytes);
        self.link.feed(&bytes[..count]);
        count
    }

    /// Whether the server ends the connection in time, what it said before read or not.
    pub fn closes(&mut self) -> bool {
        self.link.closes()
    }

    /// Reads to the end, which the server must have announced; gives the tags.
    pub fn finish(mut self) -> Vec<Tag> {
        self.link.closes();
        self.link.finished()
    }
}

impl Link {
    fn finished(self) -> Vec<Tag> {
        let link = self;
        assert!(link.closed, "the stream does not end within {PLAY:?}");
        let codes: Vec<String> = link.events.into_iter().filter_map(code).collect();
        let told = codes.iter().any(|code| code == "NetStream.Play.UnpublishNotify");
        assert!(told, "the end was not announced, only {codes:?}");
        link.tags
    }
}

/// A publisher that goes on until it is dropped, in a thread of its own: one clip over and over, at its own pace.
pub struct Endless {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Endless {
    /// Gives back when the server has taken the publisher. The clip's time zero is sent as `start`.
    pub fn start(to: SocketAddr, name: &str, clip: Vec<Tag>, clip_millis: u32, start: u32) -> Endless {
        let mut publisher = Publisher::start(to, name, 1);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for round in 0_u32.. {
                for tag in shifted(&clip, start.wrapping_add(round * clip_millis)) {
                    if stopped.load(Ordering::Relaxed) || publisher.link.closed {
                        return;
                    }
                    publisher.send(&[tag]);
                }
            }
        });
        Endless {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A test that fails drops this while it unwinds.
            let _ = thread.join();
        }
    }
}
