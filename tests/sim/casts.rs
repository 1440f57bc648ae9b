//! A small world of viewers by datagrams: one shard, its feed, peers who come and go, a network that loses, doubles and
//! reorders, sockets that are full now and then, a kernel that may not cut.
//!
//! What a peer was sent is compared with what was made, packet by packet; what it was not sent was counted.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, Detached, End, FeedId};
use penstock_shard::counters::ShardCounters;
use penstock_shard::datagrams::DatagramId;
use penstock_shard::fanout::{Class, GroupId, Route};
use penstock_shard::feed::{Config, Headers, Record, Writer};
use penstock_shard::mesh::{Mesh, ShardId};
use penstock_shard::pool::Pool;
use penstock_shard::shard::{App, Sends, Setup, Shard, Step};
use penstock_shard::sys::socket::eventfd;

use super::kernel::{SimKernel, SimSocket, locked};
use super::net::{Listener, Net, Shared};
use super::noise::Noise;

const RECORDS: u64 = 220;
const GOP: u64 = 20;
const RECORD_MICROS: u64 = 40_000;
const VIEWERS_MAX: u64 = 12;
const STEPS_MAX: u64 = 400_000;
const ASKER: &str = "198.51.100.7:5000";

/// Packets of a record: pictures of one size and a rest, sound of another; a keyframe has many.
fn packets(number: u64) -> Vec<(u8, Vec<u8>)> {
    let mut noise = Noise::new(number);
    let mut packets = Vec::new();
    let mut packet = |channel: u8, bytes: usize| {
        let index = packets.len() as u64;
        let mut payload = vec![number as u8; bytes];
        payload[..8].copy_from_slice(&(number << 16 | index).to_be_bytes());
        packets.push((channel, payload));
    };
    let many = if number.is_multiple_of(GOP) { 200 } else { 12 };
    for _ in 0..noise.below(many) {
        packet(0, 1_200);
    }
    packet(0, 8 + noise.below(1_000) as usize);
    for _ in 0..noise.below(3) {
        packet(2, 300);
    }
    packets
}

#[derive(Debug)]
enum Ask {
    Append(u64),
    Finish,
}

/// The least of an appliance: who is accepted watches by datagrams, and is shown out at the end.
struct Stage {
    writer: Writer,
    feed: FeedId,
    posts: [DatagramId; 2],
    /// Those who were not told yet that they join.
    told: BTreeMap<usize, bool>,
    group_ended: bool,
    failed: Vec<(u64, i32)>,
}

/// Where channel `channel` of the viewer with this address goes.
fn address_of(peer: SocketAddr, channel: u8) -> SocketAddr {
    (peer.ip(), 20_000 + peer.port() % 20_000 * 2 + u16::from(channel) / 2).into()
}

fn group_address() -> SocketAddr {
    ([239, 1, 2, 3], 5_004).into()
}

impl App<SimKernel> for Stage {
    type Message = Ask;

    fn accepted(&mut self, core: &mut Core<Ask, SimKernel>, _: u32, conn: ConnId, peer: SocketAddr) {
        let route = |channel: u8| Route {
            channel,
            socket: self.posts[0],
            to: address_of(peer, channel),
        };
        self.told.insert(conn.index(), false);
        core.join_datagrams(conn, self.feed, &[route(0), route(2)]);
    }
    fn joining(&mut self, core: &mut Core<Ask, SimKernel>, conn: ConnId, header: &[u8]) {
        let number = u64::from_be_bytes(header.try_into().expect("a header of eight bytes"));
        assert!(number.is_multiple_of(GOP));
        assert_eq!(self.told.insert(conn.index(), true), Some(false), "told once");
        core.send(conn, header);
    }
    fn received(&mut self, _: &mut Core<Ask, SimKernel>, _: ConnId, _: &[u8]) {}
    fn datagram(&mut self, core: &mut Core<Ask, SimKernel>, socket: DatagramId, from: SocketAddr, bytes: &[u8]) {
        assert_eq!(socket, self.posts[1]);
        core.send_datagram(socket, from, bytes);
    }
    fn group_ended(&mut self, _: &mut Core<Ask, SimKernel>, _: GroupId) {
        self.group_ended = true;
    }
    fn connected(&mut self, _: &mut Core<Ask, SimKernel>, conn: ConnId, _: u64) {
        panic!("{conn:?}: nobody is there");
    }
    fn connect_failed(&mut self, _: &mut Core<Ask, SimKernel>, tag: u64, errno: i32) {
        self.failed.push((tag, errno));
    }
    fn ended(&mut self, _: &mut Core<Ask, SimKernel>, conn: ConnId, _: End) {
        self.told.remove(&conn.index());
    }
    fn reached_end(&mut self, core: &mut Core<Ask, SimKernel>, conn: ConnId) {
        core.finish(conn);
    }
    fn detached(&mut self, _: &mut Core<Ask, SimKernel>, _: ConnId, _: Detached<SimSocket>) {}
    fn feed_unused(&mut self, _: &mut Core<Ask, SimKernel>, _: FeedId) {}
    fn deadline(&mut self, _: &mut Core<Ask, SimKernel>, _: ConnId) {}
    fn timer(&mut self, _: &mut Core<Ask, SimKernel>, _: u64) {}

    fn message(&mut self, core: &mut Core<Ask, SimKernel>, message: Ask) {
        match message {
            Ask::Append(number) => self.append(number),
            Ask::Finish => self.writer.finish(),
        }
        core.feed_grew(&self.writer.feed().clone(), Some(self.feed));
    }
}

impl Stage {
    fn new(core: &mut Core<Ask, SimKernel>, net: &Shared) -> Stage {
        let config = Config {
            lag_max_micros: 400_000,
            bytes_max: 1 << 20,
            claimed_bytes_max: 4 << 20,
        };
        let writer = Writer::create(core.pool(), config).expect("the pool is empty");
        let feed = core.open_feed(writer.feed().clone(), Class::Realtime);
        let posts = [6_970, 6_971].map(|port| {
            let number = locked(net).open_post(([203, 0, 113, 1], port).into());
            let opened = core.open_datagrams(SimSocket::post(net, number));
            opened.expect("a simulated kernel refuses nothing")
        });
        let route = Route {
            channel: 0,
            socket: posts[1],
            to: group_address(),
        };
        core.join_group(feed, &[route]).expect("the first one");
        for tag in 0..3 {
            let asked = core.connect(([192, 0, 2, 9], 554).into(), tag, core.now() + 50_000);
            asked.expect("the table is empty");
        }
        Stage {
            writer,
            feed,
            posts,
            told: BTreeMap::new(),
            group_ended: false,
            failed: Vec::new(),
        }
    }

    fn append(&mut self, number: u64) {
        let mut bytes = Vec::new();
        for (channel, payload) in packets(number) {
            bytes.extend_from_slice(&[0x24, channel]);
            bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
            bytes.extend_from_slice(&payload);
        }
        let join = number.to_be_bytes();
        let record = Record {
            bytes: &[&bytes],
            join: number.is_multiple_of(GOP).then_some(Headers { join: &join, skip: b"" }),
            dts_micros: (number * RECORD_MICROS) as i64,
            flags: 0,
        };
        self.writer
            .append(&[record])
            .expect("the pool is larger than the window");
    }
}

/// The world, driven to its end.
struct World {
    net: Shared,
    mesh: Arc<Mesh<Ask>>,
    counters: Arc<ShardCounters>,
    shard: Shard<Stage, SimKernel>,
    state: Step,
    busy_until: u64,
    is_slow: bool,
    /// When peers come, and who has.
    comers: VecDeque<u64>,
    peers: Vec<SocketAddr>,
    asked: u64,
}

/// What a world came to.
#[derive(Debug, Default)]
pub struct Outcome {
    pub trace: u64,
    pub sent: u64,
    pub dropped: u64,
    pub cut: u64,
    pub cuts_refused: u64,
    pub skipped: u64,
    pub refused: u64,
    pub buffers_short: u64,
}

pub fn run(seed: u64) -> Outcome {
    let mut world = World::new(seed);
    let begun = locked(&world.net).now;
    for number in 0..RECORDS {
        world.run_until(begun + number * RECORD_MICROS);
        world.ask(Ask::Append(number));
        if number.is_multiple_of(3) {
            world.post(number);
        }
    }
    world.run_until(begun + RECORDS * RECORD_MICROS);
    world.ask(Ask::Finish);
    world.run_until(begun + RECORDS * RECORD_MICROS + 20_000_000);
    world.judge()
}

impl World {
    fn new(seed: u64) -> World {
        let mut noise = Noise::new(seed ^ 0xda7a);
        let pool = Pool::create(32 << 20).expect("the machine has the memory");
        let mut net = Net::new(seed, pool.clone(), 1);
        net.mail.lost_once_in = noise.one_of(&[0, 0, 40]);
        net.mail.full_once_in = noise.one_of(&[0, 25, 200]);
        net.mail.refuses_cuts = noise.once_in(3);
        net.listeners.push(Listener {
            shard: 0,
            tag: 0,
            is_open: true,
            backlog: VecDeque::new(),
        });
        let mut comers: Vec<u64> = (0..=noise.below(VIEWERS_MAX))
            .map(|_| net.now + noise.below(RECORDS * RECORD_MICROS))
            .collect();
        comers.sort_unstable();
        let net: Shared = Arc::new(std::sync::Mutex::new(net));
        let (mesh, counters) = (Arc::new(Mesh::new(1)), Arc::new(ShardCounters::default()));
        let eventfd = eventfd().expect("one more descriptor");
        let arrived = mesh.arrive(ShardId(0), 0, eventfd.as_fd());
        arrived.expect("a descriptor can be doubled");
        let (kernel, buffers) = SimKernel::new(net.clone(), 0);
        let setup = Setup {
            id: ShardId(0),
            cpu: 0,
            connections_max: 16,
            mesh: mesh.clone(),
            pool,
            counters: counters.clone(),
            listeners: vec![(SimSocket::listener(&net, 0), 0)],
            sends: Sends::default(),
        };
        let shard = Shard::new(setup, kernel, buffers, |core| Stage::new(core, &net));
        World {
            mesh,
            counters,
            shard: shard.expect("a simulated kernel refuses nothing"),
            state: Step::Awake,
            busy_until: 0,
            is_slow: noise.once_in(3),
            comers: comers.into(),
            peers: Vec::new(),
            asked: 0,
            net,
        }
    }

    fn ask(&mut self, ask: Ask) {
        let given = self.mesh.send_from_outside(ShardId(0), ask);
        given.expect("its inbox has room");
        self.state = Step::Awake;
    }

    /// Somebody outside sends a few at once.
    fn post(&mut self, number: u64) {
        let mut net = locked(&self.net);
        let to = net.mail.sockets[1].address;
        for index in 0..net.noise.below(6) {
            let bytes = vec![number as u8; 10_000 + index as usize];
            net.post(ASKER.parse().expect("an address"), to, &bytes);
            self.asked += 1;
        }
    }

    fn run_until(&mut self, until: u64) {
        for _ in 0..STEPS_MAX {
            let mut net = locked(&self.net);
            if self.comers.front().is_some_and(|at| *at <= net.now) {
                self.comers.pop_front();
                if let Some(link) = net.connect(0, 0) {
                    let peer = net.links[link].peer;
                    self.peers.push(peer);
                    // One of some is not there any more, and the way says so.
                    if net.noise.once_in(12) {
                        net.mail.closed.push(address_of(peer, 0));
                    }
                }
                continue;
            }
            let is_wanted = self.state == Step::Awake || net.is_woken(0);
            if is_wanted && self.busy_until <= net.now {
                drop(net);
                self.step();
                continue;
            }
            if net.now >= until {
                return;
            }
            let shard = match is_wanted {
                true => Some(self.busy_until),
                false => net.comes_next(0),
            };
            let next = shard.into_iter().chain(self.comers.front().copied()).min();
            net.now = next.unwrap_or(until).clamp(net.now + 1, until);
        }
        panic!("no rest");
    }

    fn step(&mut self) {
        let slowness = match locked(&self.net).noise.below(400) {
            0 if self.is_slow => 20_000,
            1..20 if self.is_slow => 300,
            _ => 1,
        };
        {
            let mut net = locked(&self.net);
            net.ports[0].spent = 0;
            net.ports[0].slowness = slowness;
        }
        self.state = self.shard.step().expect("a simulated kernel refuses nothing");
        self.shard.core().check_invariants();
        let net = locked(&self.net);
        self.busy_until = net.now + net.ports[0].spent + 1;
    }

    fn judge(self) -> Outcome {
        let (core, stage, counters) = (self.shard.core(), self.shard.app(), &self.counters);
        assert_eq!(counters.datagram_viewers.value(), 0, "the feed's end is everybody's");
        assert_eq!((core.open_connections(), stage.told.len()), (0, 0));
        assert_eq!(stage.writer.feed().released(0), u64::MAX);
        assert!(stage.group_ended);
        let mut failed = stage.failed.clone();
        failed.sort_unstable();
        assert!(failed.iter().map(|(tag, _)| *tag).eq(0..3), "{failed:?}");
        // Refused, or, by a shard that stood still, out of time.
        assert!(failed.iter().all(|(_, errno)| [111, 110].contains(errno)));
        let net = locked(&self.net);
        let is_lossless = net.mail.lost_once_in == 0;
        let sent = counters.datagrams_sent.value();
        if is_lossless {
            assert_eq!(sent, net.mail.outside.len() as u64, "what sockets took is what left");
            assert_eq!(counters.datagrams_received.value(), self.asked);
        }
        let (dropped, refused) = (counters.datagrams_dropped.value(), counters.datagrams_refused.value());
        assert!(net.mail.full_once_in > 0 || self.is_slow || dropped == 0);
        let is_whole = is_lossless && dropped == 0 && counters.cursors_skipped.value() == 0;
        for (to, channel) in self.listeners() {
            let letters = net.mail.outside.iter().filter(|letter| letter.to == to);
            let heard: Vec<&[u8]> = letters.map(|letter| &letter.bytes[..]).collect();
            judge_peer(&heard, channel, is_lossless, is_whole && !net.mail.closed.contains(&to));
        }
        Outcome {
            trace: net.trace.value(),
            sent,
            dropped,
            cut: counters.datagram_sends_cut.value(),
            cuts_refused: counters.datagram_cuts_refused.value(),
            skipped: counters.cursors_skipped.value(),
            refused,
            buffers_short: counters.receive_buffers_short.value(),
        }
    }

    fn listeners(&self) -> impl Iterator<Item = (SocketAddr, u8)> {
        let of_peer = |peer: &SocketAddr| [0, 2].map(|channel| (address_of(*peer, channel), channel));
        let peers = self.peers.iter().flat_map(of_peer);
        peers.chain([(group_address(), 0)])
    }
}

/// Every packet is one that was made; nothing comes twice, or out of order, but by the network; and where nothing was lost
/// on either side, nothing is missing.
fn judge_peer(heard: &[&[u8]], channel: u8, is_lossless: bool, is_whole: bool) {
    let mut keys = Vec::new();
    for bytes in heard {
        let key = u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"));
        let made = packets(key >> 16);
        let (of, payload) = &made[key as u16 as usize];
        assert!(
            *of == channel && payload == bytes,
            "packet {key:#x} of channel {channel}"
        );
        keys.push(key);
    }
    if is_lossless {
        assert!(keys.is_sorted_by(|before, after| before < after), "in order, once");
    }
    // Who came behind the last join point that was kept hears nothing.
    let Some(first) = keys.first().filter(|_| is_whole) else {
        return;
    };
    let from = (first >> 16) / GOP * GOP;
    let expected = (from..RECORDS).flat_map(|number| {
        let made = packets(number).into_iter().enumerate();
        made.filter_map(move |(index, (of, _))| (of == channel).then_some(number << 16 | index as u64))
    });
    assert!(expected.eq(keys), "all of it from {from} on");
}
