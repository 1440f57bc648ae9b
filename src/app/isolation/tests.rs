//! Real shards whose code panics where a test wants it (`crate::trap`), with others on the same shard who must not notice.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use penstock_shard::core::Detached;
use penstock_shard::core::FeedId;
use penstock_shard::counters::ShardCounters;
use penstock_shard::executor::Thread;
use penstock_shard::mesh::{Mesh, ShardId};
use penstock_shard::pool::Pool;
use penstock_shard::shard::{self, Sends, Setup};
use penstock_shard::sys::socket::{self, First};

use super::super::{Addresses, Port};
use super::*;
use crate::config::Config;
use crate::counters::AppCounters;
use crate::directory::Homes;
use crate::trap::{self, Step};

#[allow(dead_code)]
#[path = "../../../tests/support/flv.rs"]
mod flv;
#[allow(dead_code)]
#[path = "../../../tests/support/rtmp.rs"]
mod rtmp;
#[allow(dead_code)]
#[path = "../../../tests/support/wire.rs"]
mod wire;

use flv::Tag;
use rtmp::Publisher;
use wire::PATIENCE;

/// Times faster than their clock.
const PACE: u32 = 20;
const STEPS: [Step; 7] = [
    Step::Push,
    Step::Open,
    Step::Finish,
    Step::Leave,
    Step::Accept,
    Step::Export,
    Step::Import,
];

/// The appliance, with an ear for what a test wants: `ARM n` arms a step on this shard, `PANIC` panics in the code of the
/// connection that says it. Both are answered before they are done.
struct Marked(App);

impl shard::App for Marked {
    type Message = Message;

    fn accepted(&mut self, core: &mut Core<Message>, tag: u32, conn: ConnId, peer: SocketAddr) {
        self.0.accepted(core, tag, conn, peer);
    }
    fn received(&mut self, core: &mut Core<Message>, conn: ConnId, bytes: &[u8]) {
        if let Some(step) = bytes.strip_prefix(b"ARM ") {
            core.send(conn, b"armed");
            return trap::arm(STEPS[usize::from(step[0] - b'0')]);
        }
        if bytes == b"PANIC" {
            return self.0.with_peer(core, conn, |_, core, _| {
                core.send(conn, b"half of an answer");
                panic!("armed by a test: {bytes:?}");
            });
        }
        self.0.received(core, conn, bytes);
    }
    fn ended(&mut self, core: &mut Core<Message>, conn: ConnId, why: End) {
        self.0.ended(core, conn, why);
    }
    fn reached_end(&mut self, core: &mut Core<Message>, conn: ConnId) {
        self.0.reached_end(core, conn);
    }
    fn connected(&mut self, core: &mut Core<Message>, conn: ConnId, tag: u64) {
        self.0.connected(core, conn, tag);
    }
    fn connect_failed(&mut self, core: &mut Core<Message>, tag: u64, errno: i32) {
        self.0.connect_failed(core, tag, errno);
    }
    fn detached(&mut self, core: &mut Core<Message>, conn: ConnId, detached: Detached) {
        self.0.detached(core, conn, detached);
    }
    fn feed_unused(&mut self, core: &mut Core<Message>, feed: FeedId) {
        self.0.feed_unused(core, feed);
    }
    fn deadline(&mut self, core: &mut Core<Message>, conn: ConnId) {
        self.0.deadline(core, conn);
    }
    fn timer(&mut self, core: &mut Core<Message>, key: u64) {
        self.0.timer(core, key);
    }
    fn message(&mut self, core: &mut Core<Message>, message: Message) {
        self.0.message(core, message);
    }
}

/// Shards that can be connected to one by one.
struct World {
    mesh: Arc<Mesh<Message>>,
    counters: Vec<(Arc<ShardCounters>, Arc<AppCounters>)>,
    http: Vec<SocketAddr>,
    rtmp: Vec<SocketAddr>,
    addresses: Arc<Addresses>,
    threads: Vec<Thread>,
    /// To ask a shard whether it goes on.
    lines: Vec<TcpStream>,
}

impl World {
    fn new(shards: usize) -> World {
        World::with_source(shards, "push://192.0.2.1")
    }

    /// `pulled` has this source.
    fn with_source(shards: usize, source: &str) -> World {
        let text = r#"{"config":{"protocols":[{"connector":"HTTP","port":0},{"connector":"RTMP","port":0},
            {"connector":"FLV"},{"connector":"HTTPTS"},{"connector":"MP4"}]},
            "streams":{"live":{"source":"push://127.0.0.1","grace":300},"other":{"source":"push://127.0.0.1","grace":300},
            "replaced":{"source":"push://127.0.0.1","grace":300,"second_publisher":"replace"},
            "pulled":{"source":"SOURCE","transport":"tcp","grace":300}}}"#;
        let config = Arc::new(Config::parse(&text.replace("SOURCE", source), "test").unwrap().0);
        let cpus = socket::allowed_cpus().unwrap();
        let pool = Pool::create(64 << 20).unwrap();
        let mut world = World {
            mesh: Arc::new(Mesh::new(shards)),
            counters: Vec::new(),
            http: Vec::new(),
            rtmp: Vec::new(),
            addresses: Addresses::new(Some(1000)),
            threads: Vec::new(),
            lines: Vec::new(),
        };
        let homes = Homes::new(shards);
        for number in 0..shards {
            let listen = || socket::listen("127.0.0.1:0".parse().unwrap(), First::Yes, PATIENCE).unwrap();
            let (http, rtmp) = (listen(), listen());
            world.http.push(socket::local_address(http.as_fd()).unwrap());
            world.rtmp.push(socket::local_address(rtmp.as_fd()).unwrap());
            let (ours, apps): (Arc<ShardCounters>, Arc<AppCounters>) = Default::default();
            world.counters.push((ours.clone(), apps.clone()));
            let setup = Setup {
                id: ShardId(number as u16),
                cpu: cpus[number % cpus.len()],
                connections_max: 200,
                mesh: world.mesh.clone(),
                pool: pool.clone(),
                counters: ours,
                listeners: vec![(http, Port::Http as u32), (rtmp, Port::Rtmp as u32)],
                sends: Sends::default(),
            };
            let (config, homes, addresses) = (config.clone(), homes.clone(), world.addresses.clone());
            let app = move |_: &mut Core<Message>| Marked(App::new(config, apps, homes, addresses));
            world.threads.push(shard::start(setup, app).unwrap());
        }
        let begun = Instant::now();
        while !world.mesh.is_complete() {
            assert!(begun.elapsed() < PATIENCE, "shards come up");
            std::thread::yield_now();
        }
        world.lines = world.http.iter().map(|to| connect(*to)).collect();
        world
    }

    /// The next time the shard comes to `step`, it panics.
    fn arm(&mut self, shard: usize, step: Step) {
        let number = STEPS.iter().position(|one| *one == step).unwrap();
        let line = &mut self.lines[shard];
        line.write_all(format!("ARM {number}").as_bytes()).unwrap();
        let mut said = [0; 5];
        line.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"armed");
    }

    /// Asks all shards until it is so; each asking is a question that a shard answers.
    fn wait(&mut self, what: &str, is_so: impl Fn(&World) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(begun.elapsed() < PATIENCE, "{what}: {}", self.told());
            for line in &mut self.lines {
                line.write_all(b"GET /nosuch.flv HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                let mut answer = [0; 1024];
                assert!(line.read(&mut answer).unwrap() > 0, "a shard goes on");
            }
        }
    }

    fn sum(&self, count: impl Fn(&ShardCounters, &AppCounters) -> u64) -> u64 {
        self.counters.iter().map(|(ours, apps)| count(ours, apps)).sum()
    }

    fn told(&self) -> String {
        format!("{:?}", self.counters)
    }

    fn panicked(&self) -> u64 {
        self.sum(|ours, _| ours.connections_panicked.value())
    }

    /// Somebody can publish and watch on this shard, under this name.
    fn serves(&self, shard: usize, name: &str) {
        let begun = Instant::now();
        let mut publisher = loop {
            match Publisher::try_start(self.rtmp[shard], name, PACE) {
                Ok(publisher) => break publisher,
                Err(why) => assert!(begun.elapsed() < PATIENCE, "{name}: {why}: {}", self.told()),
            }
        };
        publisher.send(&clip()[..40]);
        let viewer = View::start(self.http[shard], &format!("{name}.flv"));
        publisher.restart_clock();
        publisher.send(&clip()[40..60]);
        publisher.end();
        assert_eq!(pictures(&viewer.end()), pictures(&clip()[..60]));
    }

    /// Nothing is left of anybody.
    fn is_empty(&mut self) {
        self.wait("nothing is left", |world| {
            world.sum(|_, apps| {
                apps.streams.value() + apps.feeds.value() + apps.publishers.value() + apps.viewers.value()
            }) == 0
                && world.sum(|ours, _| ours.connections_open.value()) == world.lines.len() as u64
        });
        // Every connection has left its address: as many as it may come again.
        let here = "127.0.0.1".parse().unwrap();
        let room = (0..2000).take_while(|_| self.addresses.enter(here)).count();
        assert_eq!(room, 1000 - self.lines.len());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for shard in 0..self.threads.len() {
            // A shard that is dead takes no message; its end says why.
            let _ = self.mesh.send_from_outside(ShardId(shard as u16), Message::Shutdown);
        }
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn clip() -> Vec<Tag> {
    flv::tags(include_bytes!("../../demo/clip.flv"))
}

fn pictures(tags: &[Tag]) -> Vec<Vec<u8>> {
    let pictures = tags.iter().filter(|tag| tag.is_frame(flv::VIDEO));
    pictures.map(|tag| tag.body.clone()).collect()
}

/// A viewer who is being served.
struct View(JoinHandle<Vec<u8>>);

impl View {
    fn start(to: SocketAddr, file: &str) -> View {
        let (stream, status) = View::ask(to, file);
        assert_eq!(status, *b"200", "{file}");
        View::read(stream)
    }

    /// A request, and the status of its answer.
    fn ask(to: SocketAddr, file: &str) -> (TcpStream, [u8; 3]) {
        let mut stream = connect(to);
        stream
            .write_all(format!("GET /{file} HTTP/1.0\r\n\r\n").as_bytes())
            .unwrap();
        let status = View::status(&mut stream);
        (stream, status)
    }

    fn status(stream: &mut TcpStream) -> [u8; 3] {
        let mut line = [0; 12];
        stream.read_exact(&mut line).unwrap();
        line[9..].try_into().unwrap()
    }

    fn read(mut stream: TcpStream) -> View {
        View(std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stream
                .read_to_end(&mut bytes)
                .expect("the end of a stream is a clean one");
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            bytes.split_off(end)
        }))
    }

    /// Waits for the end of the stream.
    fn end(self) -> Vec<Tag> {
        flv::whole_tags(&self.0.join().unwrap())
    }
}

/// Two streams on one shard: what happens to `live` must not be noticed by who watches `other`.
struct Pair {
    world: World,
    live: Publisher,
    watches_live: View,
    other: Publisher,
    watches_other: View,
}

impl Pair {
    fn new() -> Pair {
        let world = World::new(1);
        let begin = |name: &str| {
            let mut publisher = Publisher::start(world.rtmp[0], name, PACE);
            publisher.send(&clip()[..40]);
            (publisher, View::start(world.http[0], &format!("{name}.flv")))
        };
        let ((live, watches_live), (other, watches_other)) = (begin("live"), begin("other"));
        Pair {
            world,
            live,
            watches_live,
            other,
            watches_other,
        }
    }

    /// `live` is gone, and free for the next; `other` has missed nothing; nothing is left at the end.
    fn assert_isolated(mut self, panicked: u64) {
        let discarded = |world: &World| world.sum(|_, apps| apps.streams_discarded.value());
        self.world.wait("the stream is given up", |world| discarded(world) == 1);
        assert_eq!(self.world.panicked(), panicked, "{}", self.world.told());
        let seen = pictures(&self.watches_live.end());
        assert!(
            pictures(&clip()).starts_with(&seen),
            "what its viewer has is what was whole"
        );
        assert!(!seen.is_empty());
        self.world.serves(0, "live");
        drop(self.live);
        self.other.restart_clock();
        self.other.send(&clip()[40..80]);
        self.other.end();
        assert_eq!(pictures(&self.watches_other.end()), pictures(&clip()[..80]));
        assert_eq!(self.world.panicked(), panicked);
        self.world.is_empty();
    }
}

#[test]
fn a_panic_for_a_viewer_ends_that_viewer() {
    let pair = Pair::new();
    let mut marked = connect(pair.world.http[0]);
    marked.write_all(b"PANIC").unwrap();
    assert!(
        marked.read_to_end(&mut Vec::new()).is_err(),
        "reset: half an answer is none"
    );
    let mut world = pair.world;
    assert_eq!(world.panicked(), 1);
    for (mut publisher, viewer) in [(pair.live, pair.watches_live), (pair.other, pair.watches_other)] {
        publisher.restart_clock();
        publisher.send(&clip()[40..60]);
        publisher.end();
        assert_eq!(pictures(&viewer.end()), pictures(&clip()[..60]));
    }
    assert_eq!(world.sum(|_, apps| apps.streams_discarded.value()), 0);
    world.is_empty();
}

#[test]
fn a_panic_over_a_publishers_medium_ends_its_stream() {
    let mut pair = Pair::new();
    pair.world.arm(0, Step::Push);
    pair.live.send(&clip()[40..41]);
    pair.assert_isolated(1);
}

#[test]
fn a_panic_when_a_publisher_leaves_ends_its_stream() {
    let mut pair = Pair::new();
    pair.world.arm(0, Step::Leave);
    // Its connection has ended already: nobody is closed for it, and it is counted.
    let vanished = std::mem::replace(&mut pair.live, Publisher::start(pair.world.rtmp[0], "replaced", PACE));
    vanished.vanish();
    pair.assert_isolated(1);
}

/// With its first viewer a muxer sees what the publisher sent long ago.
#[test]
fn a_panic_over_a_new_feed_ends_the_stream_and_its_publisher() {
    let mut pair = Pair::new();
    pair.world.arm(0, Step::Open);
    assert_eq!(View::ask(pair.world.http[0], "live.ts").1, *b"404");
    pair.assert_isolated(1);
}

/// The feeds that viewers wait for are made when the stream has started, in its publisher's call.
#[test]
fn a_panic_over_the_first_feeds_answers_all_who_wait() {
    let mut world = World::new(1);
    let mut live = Publisher::start(world.rtmp[0], "live", PACE);
    let mut waiting: Vec<TcpStream> = ["flv", "ts", "mp4"]
        .iter()
        .map(|kind| {
            let mut stream = connect(world.http[0]);
            let request = format!("GET /live.{kind} HTTP/1.0\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    world.wait("they wait", |world| {
        world.sum(|_, apps| apps.http_requests.value()) >= 3
    });
    world.arm(0, Step::Open);
    live.send(&clip()[..40]);
    assert_eq!(waiting.iter_mut().map(View::status).collect::<Vec<_>>(), [*b"404"; 3]);
    assert_eq!(world.panicked(), 1);
    live.ended();
    world.serves(0, "live");
    drop(waiting);
    world.is_empty();
}

/// In the grace of a publisher who is gone the stream's end is nobody's call.
#[test]
fn a_panic_at_a_streams_end_is_its_end() {
    let mut pair = Pair::new();
    pair.world.arm(0, Step::Finish);
    let gone = std::mem::replace(&mut pair.live, Publisher::start(pair.world.rtmp[0], "replaced", PACE));
    gone.end();
    pair.assert_isolated(0);
}

#[test]
fn a_panic_while_a_publisher_is_let_in_gives_the_name_back() {
    let mut world = World::new(1);
    world.arm(0, Step::Accept);
    assert!(Publisher::try_start(world.rtmp[0], "live", PACE).is_err());
    assert_eq!(world.panicked(), 1);
    assert_eq!(
        world.sum(|_, apps| apps.streams_discarded.value()),
        1,
        "the stream that was being made"
    );
    world.serves(0, "live");
    world.is_empty();
}

/// The one who is replaced goes down in the call of the one who replaces it.
#[test]
fn a_panic_over_who_is_replaced_does_not_end_who_replaces() {
    let mut world = World::new(1);
    let mut first = Publisher::start(world.rtmp[0], "replaced", PACE);
    first.send(&clip()[..40]);
    let viewer = View::start(world.http[0], "replaced.flv");
    world.arm(0, Step::Leave);
    let mut second = Publisher::start(world.rtmp[0], "replaced", PACE);
    assert_eq!(
        pictures(&viewer.end()),
        pictures(&clip()[..40]),
        "the first one's viewer has all of it"
    );
    second.send(&clip()[..40]);
    let viewer = View::start(world.http[0], "replaced.flv");
    second.restart_clock();
    second.send(&clip()[40..60]);
    second.end();
    assert_eq!(pictures(&viewer.end()), pictures(&clip()[..60]));
    assert_eq!(world.panicked(), 1);
    world.is_empty();
}

/// Between two shards a publisher is nobody's connection.
#[test]
fn a_panic_on_the_way_to_its_home_gives_the_name_back() {
    for (step, shard) in [(Step::Export, 1), (Step::Import, 0)] {
        let mut world = World::new(2);
        // The second stream of this shard has its home on the other.
        let other = Publisher::start(world.rtmp[1], "other", PACE);
        world.arm(shard, step);
        assert!(Publisher::try_start(world.rtmp[1], "live", PACE).is_err());
        assert_eq!(world.panicked(), 1, "{step:?}");
        world.serves(1, "live");
        let moved = world.sum(|ours, _| ours.connections_moved_in.value());
        let viewers = world.sum(|_, apps| apps.viewers_placed.value());
        assert_eq!(
            (moved - viewers, viewers),
            (1, 1),
            "the next one arrives, and its viewer"
        );
        other.end();
        world.is_empty();
    }
}

#[test]
fn a_panic_over_the_clip_ends_the_clip() {
    let mut world = World::new(1);
    let name = StreamName::sanitise("live").unwrap().name;
    let play = Message::PlayClip { name };
    world.mesh.send_from_outside(ShardId(0), play).unwrap();
    world.wait("it plays", |world| world.sum(|_, apps| apps.frames_in.value()) > 10);
    let viewer = View::start(world.http[0], "live.flv");
    world.arm(0, Step::Push);
    assert!(!viewer.end().is_empty());
    assert_eq!(world.panicked(), 0);
    world.serves(0, "live");
    world.is_empty();
}

/// A camera of one conversation: it grants everything, and sends a packet of sound when it is to play.
fn camera() -> (SocketAddr, JoinHandle<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while stream.read(&mut byte).is_ok_and(|count| count > 0) {
            request.push(byte[0]);
            if !request.ends_with(b"\r\n\r\n") {
                continue;
            }
            let body = match request.starts_with(b"DESCRIBE") {
                true => "m=audio 0 RTP/AVP 0\r\n",
                false => "",
            };
            let answer = format!("RTSP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).unwrap();
            if request.starts_with(b"PLAY") {
                stream
                    .write_all(b"$\0\0\x10\x80\0\0\x01\0\0\0\x01\0\0\0\x01abcd")
                    .unwrap();
            }
            request.clear();
        }
    });
    (address, thread)
}

#[test]
fn a_panic_over_a_pulled_source_ends_its_stream_and_nothing_else() {
    let (source, camera) = camera();
    let mut world = World::with_source(1, &format!("rtsp://{source}/x"));
    world.arm(0, Step::Push);
    let (_, status) = View::ask(world.http[0], "pulled.flv");
    assert_eq!(status, *b"404", "what was waited for is given up");
    camera.join().expect("its connection has ended");
    assert_eq!(world.panicked(), 1);
    assert_eq!(world.sum(|_, apps| apps.streams_discarded.value()), 1);
    world.wait("the pull is given up with its stream", |world| {
        world.sum(|_, apps| apps.pulls.value()) == 0
    });
    world.serves(0, "live");
    world.is_empty();
}
