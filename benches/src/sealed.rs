//! What does TLS cost a core that sends: CPU time of the same bytes to 100 viewers, plain and sealed?
//!
//! The shard's own loop over its own ring, on this thread: one record is appended, and the shard steps until it would sleep;
//! every viewer has then been sent it, over loopback. The CPU time of that is counted, the kernel's way to the receiving
//! socket with it; reading and opening there is not.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use penstock::tls::{Client, Server, Trust};
use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, Detached, End, FeedId};
use penstock_shard::counters::ShardCounters;
use penstock_shard::fanout::Class;
use penstock_shard::feed;
use penstock_shard::kernel::Uring;
use penstock_shard::mesh::{Mesh, ShardId};
use penstock_shard::pool::Pool;
use penstock_shard::seal::Seal;
use penstock_shard::shard::{App, Sends, Setup, Shard, Step};
use penstock_shard::sys::clock;

const GOP: u64 = 60;
const POOL_BYTES: u64 = 128 << 20;
/// Steps of one record: slices, and a few passes around them.
const STEPS_MAX: u32 = 100_000;

/// A shard with its viewers.
pub struct Ground {
    shard: Shard<Feeder, Uring>,
    mesh: Arc<Mesh<()>>,
    counters: Arc<ShardCounters>,
    ears: Vec<Ear>,
    record_bytes: usize,
}

impl std::fmt::Debug for Ground {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ground({} viewers)", self.ears.len())
    }
}

/// A viewer's end.
struct Ear {
    stream: TcpStream,
    seal: Option<Box<dyn Seal>>,
    /// Bytes to its seal.
    kept: Vec<u8>,
    /// What came out, as many bytes.
    heard: usize,
    plain: Vec<u8>,
}

impl Ground {
    /// `server`: what seals, if anything does.
    ///
    /// # Panics
    /// When this machine has not what a shard needs, or a viewer does not get the first records.
    pub fn new(viewers: usize, record_bytes: usize, server: Option<Server>) -> Ground {
        let pool = Pool::create(POOL_BYTES).expect("the machine has the memory");
        let (mesh, counters) = (Arc::new(Mesh::new(1)), Arc::new(ShardCounters::default()));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let to = listener.local_addr().expect("it is bound");
        let client = server
            .as_ref()
            .map(|_| Client::new(Trust::Anyone).expect("nobody is asked"));
        let (mut ears, mut sockets) = (Vec::new(), Vec::new());
        for _ in 0..viewers {
            let stream = TcpStream::connect(to).expect("it listens");
            stream.set_nonblocking(true).expect("a socket");
            let (accepted, _) = listener.accept().expect("it was connected");
            accepted.set_nonblocking(true).expect("a socket");
            accepted.set_nodelay(true).expect("a TCP socket");
            sockets.push(accepted);
            let seal = client.as_ref().map(|client| client.seal("localhost").expect("a name"));
            ears.push(Ear::new(stream, seal));
        }
        let (uring, buffers) = Uring::new(viewers as u32 + 16).expect("io_uring");
        let arrived = mesh.arrive(ShardId(0), uring.fd(), uring.eventfd());
        arrived.expect("a descriptor can be doubled");
        let setup = Setup {
            id: ShardId(0),
            cpu: 0,
            connections_max: viewers as u32 + 16,
            sends: Sends::default(),
            mesh: Arc::clone(&mesh),
            pool,
            counters: Arc::clone(&counters),
            listeners: Vec::new(),
        };
        let feeder = |core: &mut Core<()>| Feeder::new(core, sockets, record_bytes, server);
        let shard = Shard::new(setup, uring, buffers, feeder).expect("a new ring takes all of this");
        let mut ground = Ground {
            shard,
            mesh,
            counters,
            ears,
            record_bytes,
        };
        ground.shake_hands();
        // The first one has a join header, and makes the buffers.
        for _ in 0..3 {
            ground.round();
        }
        ground
    }

    fn shake_hands(&mut self) {
        let sealed = self.ears.iter().filter(|ear| ear.seal.is_some()).count() as u64;
        let mut steps = 0..STEPS_MAX;
        while self.counters.seals_opened.value() < sealed {
            assert!(steps.next().is_some(), "a handshake ends");
            self.ears.iter_mut().for_each(Ear::listen);
            self.rest();
        }
        self.ears.iter_mut().for_each(Ear::listen);
    }

    fn rest(&mut self) {
        let mut steps = 0..STEPS_MAX;
        while self.shard.step().expect("the ring goes on") != Step::Asleep {
            assert!(steps.next().is_some(), "a turn ends");
        }
    }

    /// One record to all viewers; the CPU time that it took.
    ///
    /// # Panics
    /// When the shard fails, or a viewer has not got all of it.
    pub fn round(&mut self) -> Duration {
        let before = clock::thread_cpu_micros();
        let given = self.mesh.send_from_outside(ShardId(0), ());
        given.expect("its inbox is empty");
        self.rest();
        let took = Duration::from_micros(clock::thread_cpu_micros() - before);
        for ear in &mut self.ears {
            ear.listen();
            assert_eq!(std::mem::take(&mut ear.heard), self.record_bytes, "a record, whole");
        }
        took
    }

    /// Sends that the shard has issued, by which its costs are judged.
    pub fn sends(&self) -> u64 {
        self.counters.sends.value() + self.counters.sendfiles.value()
    }
}

impl Ear {
    fn new(stream: TcpStream, seal: Option<Box<dyn Seal>>) -> Ear {
        let mut ear = Ear {
            stream,
            seal,
            kept: Vec::new(),
            heard: 0,
            plain: Vec::new(),
        };
        ear.open();
        ear
    }

    /// Takes all that is there, and answers where its seal does.
    fn listen(&mut self) {
        let mut chunk = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => panic!("a viewer was closed"),
                Ok(bytes) if self.seal.is_none() => self.heard += bytes,
                Ok(bytes) => {
                    self.kept.extend_from_slice(&chunk[..bytes]);
                    self.open();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn open(&mut self) {
        let Some(seal) = &mut self.seal else { return };
        let mut out = Vec::new();
        let taken = seal
            .open(&mut self.kept, &mut self.plain, &mut out)
            .expect("the shard speaks TLS");
        self.kept.drain(..taken.bytes);
        self.heard += self.plain.len();
        assert!(self.plain.iter().all(|byte| *byte == FILL), "what was sent");
        self.plain.clear();
        self.stream.write_all(&out).expect("a handshake fits a socket");
    }
}

const FILL: u8 = 0x5a;

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
    fn new(core: &mut Core<()>, viewers: Vec<TcpStream>, record_bytes: usize, server: Option<Server>) -> Feeder {
        let config = feed::Config {
            lag_max_micros: 5_000_000,
            bytes_max: POOL_BYTES / 4,
            claimed_bytes_max: POOL_BYTES / 4,
        };
        let writer = feed::Writer::create(core.pool(), config).expect("the pool is empty");
        let local = core.open_feed(Arc::clone(writer.feed()), Class::Realtime);
        for viewer in viewers {
            let id = core.adopt(OwnedFd::from(viewer).into()).expect("the table has room");
            if let Some(server) = &server {
                core.seal(id, server.seal());
            }
            core.join(id, local);
        }
        Feeder {
            writer,
            local,
            record: vec![FILL; record_bytes],
            records: 0,
        }
    }
}

impl App for Feeder {
    type Message = ();

    fn accepted(&mut self, _: &mut Core<()>, _: u32, _: ConnId, _: SocketAddr) {}
    fn received(&mut self, _: &mut Core<()>, _: ConnId, _: &[u8]) {}
    fn ended(&mut self, _: &mut Core<()>, id: ConnId, why: End) {
        panic!("viewer {} ended: {why:?}", id.number());
    }
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
    use penstock::tls::Certificates;

    use super::*;

    /// The smoke run.
    #[test]
    fn every_viewer_is_sent_every_record_plain_and_sealed() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificates = Certificates::of_der(made.cert.der().to_vec(), made.signing_key.serialize_der()).unwrap();
        for server in [None, Some(Server::new(certificates, b""))] {
            let mut ground = Ground::new(10, 33_000, server);
            for _ in 0..2 * GOP {
                ground.round();
            }
            assert!(ground.sends() > 20 * GOP);
        }
    }
}
