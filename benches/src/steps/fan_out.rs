//! What does one fan-out turn cost beside the kernel's part: 100, 1,000 and 5,000 cursors of one feed?
//!
//! The shard's own loop over a [`Kernel`] that takes everything at once and whose clock stands until it is set: one record
//! of 10.8 kB is appended, and the shard steps until it would sleep. Every cursor has then been sent the record, once.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;

use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, Detached, End, FeedId};
use penstock_shard::counters::ShardCounters;
use penstock_shard::fanout::Class;
use penstock_shard::feed;
use penstock_shard::kernel::{Armed, Buffers, Completion, Datagrams, Kernel, Outgoing, Received, Signalling};
use penstock_shard::mesh::{Mesh, ShardId};
use penstock_shard::pool::Pool;
use penstock_shard::pool::log::Span;
use penstock_shard::shard::{App, Sends, Setup, Shard, Step as ShardStep};
use penstock_shard::sys::socket::eventfd;

use super::{Body, Step};

const SIZES: [(&str, u32); 3] = [("100", 100), ("1000", 1000), ("5000", 5000)];
const RECORD_BYTES: usize = 10_800;
/// Records between two that a viewer can start at.
const GOP: u64 = 60;
const POOL_BYTES: u64 = 64 << 20;
/// Longer than any pause between turns.
const ROUND_MICROS: u64 = 1_000_000;
/// Steps of one turn: slices, and a few passes around them.
const STEPS_MAX: u32 = 10_000;

pub fn steps() -> Vec<Step> {
    let step = |(size, cursors): (&'static str, u32)| Step {
        name: "fan_out_turn",
        size,
        unit: "send",
        units: cursors.into(),
        bytes: 0,
        start: Box::new(move || turn(cursors)),
    };
    SIZES.into_iter().map(step).collect()
}

fn turn(cursors: u32) -> Body {
    let mut ground = Ground::new(cursors);
    // Joins, then two turns that are looked at.
    ground.round();
    for _ in 0..2 {
        let before = ground.counters.bytes_sent.value();
        ground.round();
        let sent = ground.counters.bytes_sent.value() - before;
        assert_eq!(
            sent,
            u64::from(cursors) * RECORD_BYTES as u64,
            "each cursor got one record"
        );
    }
    Box::new(move || ground.round())
}

/// A shard with its viewers, and the hand on its clock.
struct Ground {
    shard: Shard<Feeder, Taker>,
    mesh: Arc<Mesh<()>>,
    clock: Rc<Cell<u64>>,
    counters: Arc<ShardCounters>,
    _eventfd: OwnedFd,
}

impl Ground {
    fn new(cursors: u32) -> Ground {
        let pool = Pool::create(POOL_BYTES).expect("the machine has the memory");
        let (mesh, counters) = (Arc::new(Mesh::new(1)), Arc::new(ShardCounters::default()));
        let eventfd = eventfd().expect("one more descriptor");
        let arrived = mesh.arrive(ShardId(0), 0, eventfd.as_fd());
        arrived.expect("a descriptor can be doubled");
        let clock = Rc::new(Cell::new(ROUND_MICROS));
        let kernel = Taker {
            clock: Rc::clone(&clock),
            queued: Vec::new(),
            completed: Vec::new(),
        };
        let setup = Setup {
            id: ShardId(0),
            cpu: 0,
            connections_max: cursors,
            sends: Sends::default(),
            mesh: Arc::clone(&mesh),
            pool: Arc::clone(&pool),
            counters: Arc::clone(&counters),
            listeners: Vec::new(),
        };
        let shard = Shard::new(setup, kernel, Nothing, |core| Feeder::new(core, &pool, cursors));
        Ground {
            shard: shard.expect("this kernel refuses nothing"),
            mesh,
            clock,
            counters,
            _eventfd: eventfd,
        }
    }

    fn round(&mut self) {
        self.clock.set(self.clock.get() + ROUND_MICROS);
        let given = self.mesh.send_from_outside(ShardId(0), ());
        given.expect("its inbox is empty");
        for _ in 0..STEPS_MAX {
            match self.shard.step().expect("this kernel refuses nothing") {
                ShardStep::Awake => {}
                ShardStep::Asleep => return,
                ShardStep::Stopped => panic!("nobody stops it"),
            }
        }
        panic!("a turn ends");
    }
}

/// The least of an appliance: a message appends one record.
struct Feeder {
    writer: feed::Writer,
    local: FeedId,
    record: Vec<u8>,
    records: u64,
}

impl Feeder {
    fn new(core: &mut Core<(), Taker>, pool: &Arc<Pool>, cursors: u32) -> Feeder {
        let config = feed::Config {
            lag_max_micros: 5_000_000,
            bytes_max: POOL_BYTES / 4,
            claimed_bytes_max: POOL_BYTES / 4,
        };
        let writer = feed::Writer::create(pool, config).expect("the pool is empty");
        let local = core.open_feed(Arc::clone(writer.feed()), Class::Buffered);
        let mut feeder = Feeder {
            writer,
            local,
            record: vec![0x5a; RECORD_BYTES],
            records: 0,
        };
        feeder.append();
        for _ in 0..cursors {
            let id = core.adopt(Detached::from(Seat)).expect("the table has room for all");
            core.join(id, local);
        }
        feeder
    }

    fn append(&mut self) {
        let join = self.records.is_multiple_of(GOP).then_some(&b""[..]);
        let dts = (self.records * 33_333) as i64;
        self.records += 1;
        let appended = self.writer.append_record(&self.record, join, dts);
        appended.expect("the window is smaller than the pool");
    }
}

impl App<Taker> for Feeder {
    type Message = ();

    fn accepted(&mut self, _: &mut Core<(), Taker>, _: u32, _: ConnId, _: SocketAddr) {}
    fn received(&mut self, _: &mut Core<(), Taker>, _: ConnId, _: &[u8]) {}
    fn ended(&mut self, _: &mut Core<(), Taker>, conn: ConnId, why: End) {
        panic!("{conn:?} ends: {why:?}");
    }
    fn reached_end(&mut self, _: &mut Core<(), Taker>, _: ConnId) {}
    fn detached(&mut self, _: &mut Core<(), Taker>, _: ConnId, _: Detached<Seat>) {}
    fn feed_unused(&mut self, _: &mut Core<(), Taker>, _: FeedId) {}
    fn deadline(&mut self, _: &mut Core<(), Taker>, _: ConnId) {}
    fn timer(&mut self, _: &mut Core<(), Taker>, _: u64) {}

    fn message(&mut self, core: &mut Core<(), Taker>, (): ()) {
        self.append();
        core.feed_grew(self.writer.feed(), Some(self.local));
    }
}

/// A socket of this kernel.
#[derive(Debug)]
struct Seat;

/// Takes what is sent when it is entered, and knows no peer.
#[derive(Debug)]
struct Taker {
    clock: Rc<Cell<u64>>,
    queued: Vec<Completion>,
    completed: Vec<Completion>,
}

impl Kernel for Taker {
    type Socket = Seat;
    type Buffers = Nothing;

    fn monotonic_micros(&self) -> u64 {
        self.clock.get()
    }
    fn thread_cpu_micros(&self) -> u64 {
        0
    }
    fn register(&mut self, _: u32, _: &Seat) -> io::Result<()> {
        Ok(())
    }
    fn unregister(&mut self, _: u32) -> io::Result<()> {
        Ok(())
    }
    fn accept(&mut self, _: &Seat, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn receive(&mut self, _: u32, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn poll_writable(&mut self, _: u32, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn send(&mut self, _: u32, from: Outgoing<'_>, user_data: u64) -> io::Result<()> {
        let taken = Completion::of(user_data, from.len() as i32, Armed::NoMore, None);
        self.queued.push(taken);
        Ok(())
    }
    fn send_both(&mut self, _: u32, own: &[u8], behind: Outgoing<'_>, user_data: u64) -> io::Result<()> {
        let taken = own.len() + behind.len();
        let taken = Completion::of(user_data, taken as i32, Armed::NoMore, None);
        self.queued.push(taken);
        Ok(())
    }
    fn can_send_zero_copy(&self) -> bool {
        false
    }

    fn send_zero_copy(&mut self, _slot: u32, _span: Span, _user_data: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_pacing(&mut self, _socket: &Self::Socket, _bytes_per_second: u32) -> io::Result<()> {
        Ok(())
    }

    fn receive_datagrams(&mut self, _: u32, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn send_datagrams(&mut self, _: u32, _: SocketAddr, what: Datagrams<'_>, user_data: u64) -> io::Result<()> {
        let bytes: usize = match what {
            Datagrams::Own(bytes) => bytes.len(),
            Datagrams::Pieces { pieces, range, .. } => pieces.spans()[range].iter().map(|span| span.len).sum(),
        };
        let taken = Completion::of(user_data, bytes as i32, Armed::NoMore, None);
        self.queued.push(taken);
        Ok(())
    }
    fn connect(&mut self, _: u32, _: SocketAddr, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn cancel(&mut self, _: u32) -> io::Result<()> {
        Ok(())
    }
    fn cancel_operations(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn timeout(&mut self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn ring_doorbell(&mut self, _: RawFd, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn submit(&mut self) -> io::Result<()> {
        self.completed.append(&mut self.queued);
        Ok(())
    }
    fn run_deferred(&mut self) -> io::Result<()> {
        self.submit()
    }
    fn completions(&mut self, out: &mut Vec<Completion>) {
        out.append(&mut self.completed);
    }
    fn has_completions(&mut self) -> bool {
        !self.completed.is_empty()
    }
    fn set_signalling(&mut self, _: Signalling) {}
    fn take_accepted(&mut self, _: i32) -> Seat {
        Seat
    }
    fn outgoing(&mut self, _: SocketAddr) -> io::Result<Seat> {
        Ok(Seat)
    }
    fn local_address(&self, _: &Seat) -> io::Result<SocketAddr> {
        Ok(([192, 0, 2, 2], 2).into())
    }
    fn peer_address(&self, _: &Seat) -> io::Result<SocketAddr> {
        Ok(([192, 0, 2, 1], 1).into())
    }
    fn sendfile(&mut self, _: &Seat, _: &Pool, span: Span) -> io::Result<usize> {
        Ok(span.len)
    }
    fn shutdown_write(&mut self, _: &Seat) -> io::Result<()> {
        Ok(())
    }
    fn shutdown_listener(&mut self, _: &Seat) {}
    fn reset_on_close(&mut self, _: &Seat) -> io::Result<()> {
        Ok(())
    }
    fn set_not_sent_low_water(&mut self, _: &Seat, _: u32) -> io::Result<()> {
        Ok(())
    }
}

/// Nothing is received.
#[derive(Debug)]
struct Nothing;

impl Buffers for Nothing {
    fn bytes(&mut self, _: u16, _: usize) -> &[u8] {
        &[]
    }
    fn datagram(&mut self, _: u16, _: usize) -> Option<Received<'_>> {
        None
    }
    fn give_back(&mut self, _: u16) {}
}
