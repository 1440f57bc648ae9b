//! Shards that a test drives: every message is a piece of code that runs on the shard, every event is told to the test.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, Detached, End, FeedId};
use penstock_shard::counters::ShardCounters;
use penstock_shard::datagrams::DatagramId;
use penstock_shard::executor::Thread;
use penstock_shard::fanout::{Class, GroupId};
use penstock_shard::feed::{Config, Feed, Writer};
use penstock_shard::mesh::{Mesh, ShardId};
use penstock_shard::pool::Pool;
use penstock_shard::seal::Broken;
use penstock_shard::shard::{self, App, Sends, Setup};
use penstock_shard::sys::socket::{self, First};

/// Nothing here takes so long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// No test waits for the kernel to end a stalled reader.
const STALL_MAX: Duration = Duration::from_secs(60);

type Code = Box<dyn FnOnce(&mut Stage, &mut Core<Run>) + Send>;

pub struct Run(pub Code);

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Run")
    }
}

/// What happened on a shard.
#[derive(Debug)]
pub enum Fact {
    Accepted(ConnId),
    Ended(ConnId, End),
    HalfClosed(ConnId),
    Broken(ConnId, String),
    Joining(ConnId),
    Unreachable(ConnId),
    GroupEnded(GroupId),
    Connected(ConnId, u64),
    ConnectFailed(u64, i32),
    ReachedEnd(ConnId),
    Detached(ConnId, Detached),
    FeedUnused,
    Deadline(ConnId, u64),
    Timer(u64),
}

type OnAccepted = Box<dyn FnMut(&mut Core<Run>, ConnId)>;
type OnReceived = Box<dyn FnMut(&mut Core<Run>, ConnId, &[u8])>;
type OnDetached = Box<dyn FnMut(&mut Core<Run>, Detached)>;
type OnJoining = Box<dyn FnMut(&mut Core<Run>, ConnId, &[u8])>;
type OnDatagram = Box<dyn FnMut(&mut Core<Run>, DatagramId, SocketAddr, &[u8])>;
type OnTimer = Box<dyn FnMut(&mut Core<Run>, u64)>;

/// The appliance's side of a shard, as far as a test needs one.
pub struct Stage {
    facts: Sender<Fact>,
    pub writer: Option<Writer>,
    pub feed: Option<FeedId>,
    /// What is accepted joins the feed.
    pub joins: bool,
    /// What reached the end of its feed is finished.
    pub finishes: bool,
    /// A peer that ends its side is gone.
    pub ends_half_closed: bool,
    pub on_accepted: Option<OnAccepted>,
    pub on_received: Option<OnReceived>,
    pub on_timer: Option<OnTimer>,
    pub on_detached: Option<OnDetached>,
    pub on_joining: Option<OnJoining>,
    pub on_datagram: Option<OnDatagram>,
}

impl Stage {
    fn tell(&self, fact: Fact) {
        // A test that has seen enough hangs up.
        let _ = self.facts.send(fact);
    }
}

impl App for Stage {
    type Message = Run;

    fn accepted(&mut self, core: &mut Core<Run>, _tag: u32, conn: ConnId, _peer: SocketAddr) {
        if let Some(on_accepted) = &mut self.on_accepted {
            on_accepted(core, conn);
        }
        if let (true, Some(feed)) = (self.joins, self.feed) {
            core.join(conn, feed);
        }
        self.tell(Fact::Accepted(conn));
    }
    fn received(&mut self, core: &mut Core<Run>, conn: ConnId, bytes: &[u8]) {
        if let Some(on_received) = &mut self.on_received {
            on_received(core, conn, bytes);
        }
    }
    fn half_closed(&mut self, core: &mut Core<Run>, conn: ConnId) {
        self.tell(Fact::HalfClosed(conn));
        if self.ends_half_closed {
            core.peer_ended(conn);
        }
    }
    fn broken(&mut self, core: &mut Core<Run>, conn: ConnId, why: Broken) {
        self.tell(Fact::Broken(conn, why.to_string()));
        core.finish(conn);
    }
    fn ended(&mut self, _core: &mut Core<Run>, conn: ConnId, why: End) {
        self.tell(Fact::Ended(conn, why));
    }
    fn joining(&mut self, core: &mut Core<Run>, conn: ConnId, header: &[u8]) {
        if let Some(on_joining) = &mut self.on_joining {
            on_joining(core, conn, header);
        }
        self.tell(Fact::Joining(conn));
    }
    fn datagram(&mut self, core: &mut Core<Run>, socket: DatagramId, from: SocketAddr, bytes: &[u8]) {
        if let Some(on_datagram) = &mut self.on_datagram {
            on_datagram(core, socket, from, bytes);
        }
    }
    fn unreachable(&mut self, _core: &mut Core<Run>, conn: ConnId) {
        self.tell(Fact::Unreachable(conn));
    }
    fn group_ended(&mut self, _core: &mut Core<Run>, group: GroupId) {
        self.tell(Fact::GroupEnded(group));
    }
    fn connected(&mut self, _core: &mut Core<Run>, conn: ConnId, tag: u64) {
        self.tell(Fact::Connected(conn, tag));
    }
    fn connect_failed(&mut self, _core: &mut Core<Run>, tag: u64, errno: i32) {
        self.tell(Fact::ConnectFailed(tag, errno));
    }
    fn reached_end(&mut self, core: &mut Core<Run>, conn: ConnId) {
        if self.finishes {
            core.finish(conn);
        }
        self.tell(Fact::ReachedEnd(conn));
    }
    fn detached(&mut self, core: &mut Core<Run>, conn: ConnId, detached: Detached) {
        match &mut self.on_detached {
            Some(on_detached) => on_detached(core, detached),
            None => self.tell(Fact::Detached(conn, detached)),
        }
    }
    fn feed_unused(&mut self, _core: &mut Core<Run>, _feed: FeedId) {
        self.tell(Fact::FeedUnused);
    }
    fn deadline(&mut self, core: &mut Core<Run>, conn: ConnId) {
        self.tell(Fact::Deadline(conn, core.now()));
    }
    fn timer(&mut self, core: &mut Core<Run>, key: u64) {
        if let Some(on_timer) = &mut self.on_timer {
            on_timer(core, key);
        }
        self.tell(Fact::Timer(key));
    }
    fn message(&mut self, core: &mut Core<Run>, message: Run) {
        (message.0)(self, core);
    }
}

/// Shards with a listener each; stopped and joined when dropped.
pub struct World {
    pub mesh: Arc<Mesh<Run>>,
    pub pool: Arc<Pool>,
    pub counters: Vec<Arc<ShardCounters>>,
    pub facts: Vec<Receiver<Fact>>,
    pub addresses: Vec<SocketAddr>,
    threads: Vec<Option<Thread>>,
}

impl World {
    pub fn new(shards: usize) -> World {
        World::with(shards, 4096, 512 * 1024 * 1024)
    }

    pub fn with(shards: usize, connections_max: u32, pool_bytes: u64) -> World {
        World::made(shards, connections_max, pool_bytes, Sends::default())
    }

    pub fn made(shards: usize, connections_max: u32, pool_bytes: u64, sends: Sends) -> World {
        let cpus = socket::allowed_cpus().unwrap();
        let pool = Pool::create(pool_bytes).unwrap();
        let mesh: Arc<Mesh<Run>> = Arc::new(Mesh::new(shards));
        let mut world = World {
            mesh: mesh.clone(),
            pool: pool.clone(),
            counters: Vec::new(),
            facts: Vec::new(),
            addresses: Vec::new(),
            threads: Vec::new(),
        };
        for number in 0..shards {
            let listener = socket::listen("127.0.0.1:0".parse().unwrap(), First::Yes, STALL_MAX).unwrap();
            world.addresses.push(socket::local_address(listener.as_fd()).unwrap());
            let counters = Arc::new(ShardCounters::default());
            world.counters.push(counters.clone());
            let (facts, told) = channel();
            world.facts.push(told);
            let setup = Setup {
                id: ShardId(number as u16),
                cpu: cpus[number % cpus.len()],
                connections_max,
                mesh: mesh.clone(),
                pool: pool.clone(),
                counters,
                listeners: vec![(listener, number as u32)],
                sends,
            };
            let thread = shard::start(setup, move |_| Stage {
                facts,
                writer: None,
                feed: None,
                joins: true,
                finishes: true,
                ends_half_closed: true,
                on_accepted: None,
                on_received: None,
                on_timer: None,
                on_detached: None,
                on_joining: None,
                on_datagram: None,
            });
            world.threads.push(Some(thread.unwrap()));
        }
        let begun = Instant::now();
        while !mesh.is_complete() {
            assert!(begun.elapsed() < PATIENCE, "shards come up");
            std::thread::yield_now();
        }
        world
    }

    /// Runs `code` on a shard and waits for its result.
    pub fn run<T: Send + 'static>(
        &self,
        shard: usize,
        code: impl FnOnce(&mut Stage, &mut Core<Run>) -> T + Send + 'static,
    ) -> T {
        let (result, done) = channel();
        let message = Run(Box::new(move |stage, core| {
            let _ = result.send(code(stage, core));
        }));
        self.mesh
            .send_from_outside(ShardId(shard as u16), message)
            .expect("its inbox has room");
        done.recv_timeout(PATIENCE).expect("the shard answers")
    }

    /// A feed whose writer is on shard 0, known to all shards; what they accept joins it.
    pub fn feed(&self, config: Config, class: Class) -> Arc<Feed> {
        let feed = self.run(0, move |stage, core| {
            let writer = Writer::create(core.pool(), config).unwrap();
            let feed = writer.feed().clone();
            stage.writer = Some(writer);
            feed
        });
        for shard in 0..self.addresses.len() {
            let feed = feed.clone();
            self.run(shard, move |stage, core| stage.feed = Some(core.open_feed(feed, class)));
        }
        feed
    }

    /// Runs `code` with the writer; viewers are told of what it appended.
    pub fn write<T: Send + 'static>(&self, code: impl FnOnce(&mut Writer) -> T + Send + 'static) -> T {
        self.run(0, move |stage, core| {
            let writer = stage.writer.as_mut().expect("the feed is open");
            let result = code(writer);
            let feed = writer.feed().clone();
            core.feed_grew(&feed, stage.feed);
            result
        })
    }

    pub fn connect(&self, shard: usize) -> TcpStream {
        let stream = TcpStream::connect(self.addresses[shard]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The next fact of `shard` that `wanted` takes.
    pub fn await_fact<T>(&self, shard: usize, wanted: impl Fn(Fact) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let fact = self.facts[shard].recv_timeout(left).expect("what is awaited happens");
            if let Some(found) = wanted(fact) {
                return found;
            }
        }
    }

    pub fn await_accepted(&self, shard: usize) -> ConnId {
        self.await_fact(shard, |fact| match fact {
            Fact::Accepted(conn) => Some(conn),
            _ => None,
        })
    }

    pub fn await_ended(&self, shard: usize) -> (ConnId, End) {
        self.await_fact(shard, |fact| match fact {
            Fact::Ended(conn, why) => Some((conn, why)),
            _ => None,
        })
    }

    /// Asks a shard until `condition` holds; each asking is a round trip through its loop.
    pub fn await_on(&self, shard: usize, condition: impl Fn(&Stage, &Core<Run>) -> bool + Send + Clone + 'static) {
        let until = Instant::now() + PATIENCE;
        while !self.run(shard, {
            let condition = condition.clone();
            move |stage, core| condition(stage, core)
        }) {
            assert!(Instant::now() < until, "what is awaited happens");
        }
    }

    /// Ends one shard and waits for it.
    pub fn stop(&mut self, shard: usize) {
        let message = Run(Box::new(|stage, core| {
            stage.writer = None;
            core.stop();
        }));
        // A shard that failed takes no message; its result says why.
        let _ = self.mesh.send_from_outside(ShardId(shard as u16), message);
        if let Some(thread) = self.threads[shard].take() {
            let result = thread.join();
            if !std::thread::panicking() {
                result.unwrap();
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for shard in 0..self.threads.len() {
            self.stop(shard);
        }
    }
}
