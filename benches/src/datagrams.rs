//! How many datagrams does a core send in a second, cut by the kernel (UDP GSO) or one by one: 200 viewers of 2.6 Mb/s?
//!
//! The shard's own loop over its own ring, on this thread: one picture of 10.8 kB in nine packets is appended, and the shard
//! steps until it would sleep; every viewer has then been sent it, over loopback. The CPU time of that is counted, the
//! kernel's way to the receiving socket with it; reading there is not.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, Detached, End, FeedId};
use penstock_shard::counters::ShardCounters;
use penstock_shard::fanout::{Class, Route, Segmentation};
use penstock_shard::feed;
use penstock_shard::kernel::Uring;
use penstock_shard::limits;
use penstock_shard::mesh::{Mesh, ShardId};
use penstock_shard::pool::Pool;
use penstock_shard::shard::{App, Sends, Setup, Shard, Step};
use penstock_shard::sys::{clock, datagrams};

pub const PACKETS: u64 = 9;
const PACKET_BYTES: u16 = 1_200;
/// Records between two that a viewer can start at.
const GOP: u64 = 60;
const POOL_BYTES: u64 = 64 << 20;
/// Steps of one picture: slices, and a few passes around them.
const STEPS_MAX: u32 = 100_000;

/// A shard with its viewers.
#[derive(Debug)]
pub struct Ground {
    shard: Shard<Feeder, Uring>,
    mesh: Arc<Mesh<()>>,
    counters: Arc<ShardCounters>,
    ears: Vec<UdpSocket>,
}

impl Ground {
    /// # Panics
    /// When this machine has not what a shard needs, or a viewer does not get the first pictures.
    pub fn new(viewers: usize, segmentation: Segmentation) -> Ground {
        let pool = Pool::create(POOL_BYTES).expect("the machine has the memory");
        let (mesh, counters) = (Arc::new(Mesh::new(1)), Arc::new(ShardCounters::default()));
        let ear = |_| UdpSocket::from(datagrams::open((Ipv4Addr::LOCALHOST, 0).into()).expect("one more socket"));
        let ears: Vec<UdpSocket> = (0..viewers).map(ear).collect();
        let address = |ear: &UdpSocket| ear.local_addr().expect("it is bound");
        let addresses: Vec<SocketAddr> = ears.iter().map(address).collect();
        let (uring, buffers) = Uring::new(16).expect("io_uring");
        let arrived = mesh.arrive(ShardId(0), uring.fd(), uring.eventfd());
        arrived.expect("a descriptor can be doubled");
        let setup = Setup {
            id: ShardId(0),
            cpu: 0,
            connections_max: 1,
            sends: Sends {
                segmentation,
                ..Sends::default()
            },
            mesh: Arc::clone(&mesh),
            pool,
            counters: Arc::clone(&counters),
            listeners: Vec::new(),
        };
        let shard = Shard::new(setup, uring, buffers, |core| Feeder::new(core, &addresses));
        let mut ground = Ground {
            shard: shard.expect("a new ring takes all of this"),
            mesh,
            counters,
            ears,
        };
        // The first one tells whether the kernel cuts.
        for _ in 0..3 {
            let before = ground.counters.datagrams_sent.value();
            ground.round();
            let sent = ground.counters.datagrams_sent.value() - before;
            assert_eq!(sent, viewers as u64 * PACKETS, "each viewer was sent one picture");
        }
        let counters = &ground.counters;
        assert_eq!(
            counters.datagram_sends_cut.value() > 0,
            segmentation == Segmentation::Auto
        );
        assert_eq!(counters.datagram_cuts_refused.value(), 0);
        ground
    }

    /// One picture to all viewers; the CPU time that it took.
    ///
    /// # Panics
    /// When the shard fails, or a viewer has not got all of it.
    pub fn round(&mut self) -> Duration {
        let before = clock::thread_cpu_micros();
        let given = self.mesh.send_from_outside(ShardId(0), ());
        given.expect("its inbox is empty");
        let mut steps = 0..STEPS_MAX;
        while self.shard.step().expect("the ring goes on") != Step::Asleep {
            assert!(steps.next().is_some(), "a turn ends");
        }
        let took = Duration::from_micros(clock::thread_cpu_micros() - before);
        let mut heard = [0; 2 * PACKET_BYTES as usize];
        for ear in &self.ears {
            let packets = std::iter::from_fn(|| ear.recv(&mut heard).ok()).count();
            assert_eq!(packets as u64, PACKETS, "a picture, whole");
        }
        took
    }
}

/// The least of an appliance: a message appends one record.
struct Feeder {
    writer: feed::Writer,
    local: FeedId,
    record: Vec<u8>,
    records: u64,
}

impl std::fmt::Debug for Feeder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Feeder({} records)", self.records)
    }
}

impl Feeder {
    fn new(core: &mut Core<()>, viewers: &[SocketAddr]) -> Feeder {
        assert!(viewers.len() <= limits::GROUPS_MAX);
        let config = feed::Config {
            lag_max_micros: 5_000_000,
            bytes_max: POOL_BYTES / 4,
            claimed_bytes_max: POOL_BYTES / 4,
        };
        let writer = feed::Writer::create(core.pool(), config).expect("the pool is empty");
        let local = core.open_feed(Arc::clone(writer.feed()), Class::Realtime);
        let bound = datagrams::open((Ipv4Addr::LOCALHOST, 0).into()).expect("one more socket");
        let socket = core.open_datagrams(bound).expect("the table has room");
        for to in viewers.iter().copied() {
            // As a connection's, without one.
            let route = Route { channel: 0, socket, to };
            core.join_group(local, &[route]).expect("the shard has room");
        }
        let [high, low] = PACKET_BYTES.to_be_bytes();
        let mut packet = vec![0x24, 0, high, low];
        packet.resize(4 + usize::from(PACKET_BYTES), 0x5a);
        Feeder {
            writer,
            local,
            record: packet.repeat(PACKETS as usize),
            records: 0,
        }
    }
}

impl App for Feeder {
    type Message = ();

    fn accepted(&mut self, _: &mut Core<()>, _: u32, _: ConnId, _: SocketAddr) {}
    fn received(&mut self, _: &mut Core<()>, _: ConnId, _: &[u8]) {}
    fn ended(&mut self, _: &mut Core<()>, _: ConnId, _: End) {}
    fn reached_end(&mut self, _: &mut Core<()>, _: ConnId) {}
    fn detached(&mut self, _: &mut Core<()>, _: ConnId, _: Detached) {}
    fn feed_unused(&mut self, _: &mut Core<()>, _: FeedId) {}
    fn deadline(&mut self, _: &mut Core<()>, _: ConnId) {}
    fn timer(&mut self, _: &mut Core<()>, _: u64) {}

    fn message(&mut self, core: &mut Core<()>, (): ()) {
        let join = self.records.is_multiple_of(GOP).then_some(&b""[..]);
        let dts = (self.records * 33_333) as i64;
        self.records += 1;
        let appended = self.writer.append_record(&self.record, join, dts);
        appended.expect("the window is smaller than the pool");
        core.feed_grew(self.writer.feed(), Some(self.local));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smoke run.
    #[test]
    fn every_viewer_is_sent_every_picture_either_way() {
        for segmentation in [Segmentation::Auto, Segmentation::Off] {
            let mut ground = Ground::new(20, segmentation);
            for _ in 0..2 * GOP {
                ground.round();
            }
        }
    }
}
