//! Seals with a greeting, an end and a last word, as TLS has them: what comes is opened before anybody sees it, and what is
//! said before both sides are ready waits.
//!
//! ```text
//! length u16 | kind u8 | for a greeting: key u64; for data: bytes mixed with the sender's running key
//! ```

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, Detached, End};
use penstock_shard::fanout::Class;
use penstock_shard::limits::{
    SEALED_ANSWERS_BYTES_MAX, SEALED_KEPT_ALL_BYTES_MAX, SEALED_KEPT_BYTES_MAX, SEALED_PLAIN_BYTES,
};
use penstock_shard::seal::{Broken, Closed, Seal, Taken};
use penstock_shard::sys::socket;

use crate::slow::connected_pair;
use crate::viewers::KEEPS_ALL;
use crate::wire::{Kind, Noise, Pieces, append, piece};
use crate::world::{Fact, PATIENCE, Run, World};

const GREETING: u8 = 1;
const DATA: u8 = 2;
const END: u8 = 3;
/// The last word of who is told nonsense.
const NONSENSE: u8 = 4;
/// Asks for as many bytes of the other seal's own.
const ECHO: u8 = 5;

/// One side of it; the peer of a test has the same.
#[derive(Debug)]
struct Envelope {
    ours: Noise,
    theirs: Option<Noise>,
    greets: Greets,
    has_greeted: bool,
    /// What a greeting costs.
    work: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greets {
    First,
    WhenGreeted,
}

impl Envelope {
    fn new(greets: Greets, seed: u64) -> Envelope {
        Envelope {
            ours: Noise(seed | 1),
            theirs: None,
            greets,
            has_greeted: false,
            work: Duration::ZERO,
        }
    }

    fn put(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
        out.push(kind);
        out.extend_from_slice(bytes);
    }

    fn greet(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_greeted, true) {
            Envelope::put(GREETING, &self.ours.0.to_be_bytes(), out);
        }
    }

    fn take(&mut self, kind: u8, bytes: &[u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Closed, Broken> {
        match (kind, &mut self.theirs) {
            (GREETING, None) if bytes.len() == 8 => {
                let begun = Instant::now();
                while begun.elapsed() < self.work {}
                self.theirs = Some(Noise(u64::from_be_bytes(bytes.try_into().unwrap())));
                self.greet(out);
            }
            (DATA, Some(key)) => plain.extend(bytes.iter().map(|byte| byte ^ key.next() as u8)),
            (ECHO, Some(_)) => Envelope::put(NONSENSE, &vec![0; 60_000], out),
            (END, Some(_)) => return Ok(Closed::Yes),
            _ => {
                Envelope::put(NONSENSE, b"what?", out);
                return Err(format!("a record of kind {kind}").into());
            }
        }
        Ok(Closed::No)
    }
}

impl Seal for Envelope {
    fn is_open(&self) -> bool {
        self.theirs.is_some()
    }

    fn seal(&mut self, plain: &[u8], kept: &mut [u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        let whole = |head: &[u8; 3]| 3 + usize::from(u16::from_be_bytes([head[0], head[1]]));
        assert!(
            kept.first_chunk().is_none_or(|head| kept.len() < whole(head)),
            "what is kept is not whole"
        );
        // Who greets first has a key before it is answered.
        assert!(self.has_greeted && (self.is_open() || self.greets == Greets::First));
        assert!((1..=SEALED_PLAIN_BYTES).contains(&plain.len()));
        let mixed: Vec<u8> = plain.iter().map(|byte| byte ^ self.ours.next() as u8).collect();
        Envelope::put(DATA, &mixed, out);
        Ok(())
    }

    fn open(&mut self, sealed: &mut [u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Taken, Broken> {
        if self.greets == Greets::First {
            self.greet(out);
        }
        let mut taken = 0;
        let mut closed = Closed::No;
        while closed == Closed::No
            && let Some((head, rest)) = sealed[taken..].split_first_chunk::<3>()
            && let Some(bytes) = rest.get(..u16::from_be_bytes([head[0], head[1]]) as usize)
        {
            taken += 3 + bytes.len();
            closed = self.take(head[2], bytes, plain, out)?;
        }
        Ok(Taken { bytes: taken, closed })
    }

    fn close(&mut self, _kept: &mut [u8], out: &mut Vec<u8>) {
        Envelope::put(END, &[], out);
    }
}

/// The other end of a sealed connection.
struct Peer {
    stream: TcpStream,
    envelope: Envelope,
    sealed: Vec<u8>,
    plain: Vec<u8>,
    closed: Closed,
}

impl Peer {
    fn new(stream: TcpStream, greets: Greets) -> Peer {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Peer {
            stream,
            envelope: Envelope::new(greets, 5),
            sealed: Vec::new(),
            plain: Vec::new(),
            closed: Closed::No,
        }
    }

    /// One read; false at the end.
    fn read(&mut self) -> bool {
        let mut chunk = [0; 64 * 1024];
        let count = self.stream.read(&mut chunk).expect("bytes come in time");
        self.sealed.extend_from_slice(&chunk[..count]);
        let mut out = Vec::new();
        let taken = self.envelope.open(&mut self.sealed, &mut self.plain, &mut out);
        let taken = taken.unwrap();
        self.sealed.drain(..taken.bytes);
        if taken.closed == Closed::Yes {
            self.closed = Closed::Yes;
            assert!(self.sealed.is_empty(), "nothing comes behind the end");
        }
        self.stream.write_all(&out).unwrap();
        count > 0
    }

    fn greet(&mut self) {
        let greeting = self.greeting();
        self.stream.write_all(&greeting).unwrap();
        while self.envelope.theirs.is_none() {
            assert!(self.read());
        }
    }

    fn greeting(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.envelope.greet(&mut out);
        out
    }

    fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for plain in plain.chunks(SEALED_PLAIN_BYTES) {
            self.envelope.seal(plain, &mut [], &mut out).unwrap();
        }
        out
    }

    fn read_to_end(mut self) -> Vec<u8> {
        while self.read() {}
        assert_eq!(self.closed, Closed::Yes, "the end is said, not only done");
        self.plain
    }

    fn read_until(&mut self, bytes: usize) -> &[u8] {
        while self.plain.len() < bytes {
            assert!(self.read(), "{} of {bytes} bytes", self.plain.len());
        }
        &self.plain
    }
}

/// Every connection is sealed; what comes out of it is told, and answered with the same.
fn echoes(world: &World, shard: usize, work: Duration) -> Receiver<Vec<u8>> {
    let (told, heard) = channel();
    world.run(shard, move |stage, _| {
        stage.joins = false;
        stage.on_accepted = Some(Box::new(move |core, conn| {
            let mut envelope = Envelope::new(Greets::WhenGreeted, conn.number());
            envelope.work = work;
            core.seal(conn, Box::new(envelope));
            core.send(conn, b"welcome ");
        }));
        stage.on_received = Some(Box::new(move |core: &mut Core<Run>, conn: ConnId, bytes: &[u8]| {
            assert!(!bytes.is_empty());
            told.send(bytes.to_vec()).unwrap();
            core.send(conn, bytes);
        }));
    });
    heard
}

fn seals(world: &World) -> [u64; 4] {
    let counters = &world.counters[0];
    let all = [
        &counters.seals_begun,
        &counters.seals_opened,
        &counters.seals_refused,
        &counters.seals_broken,
    ];
    all.map(|counter| counter.value())
}

#[test]
fn what_comes_byte_by_byte_is_opened_and_what_was_said_before_waits() {
    let world = World::new(1);
    let heard = echoes(&world, 0, Duration::ZERO);
    let mut peer = Peer::new(world.connect(0), Greets::First);
    peer.stream.set_nodelay(true).unwrap();
    world.await_accepted(0);
    // Welcomed, and nothing can be said before there is a key.
    peer.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let early = peer.stream.peek(&mut [0]).unwrap_err().kind();
    assert!(matches!(early, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{early}");
    peer.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let greeting = peer.greeting();
    let hello = peer.seal(b"hello there");
    for byte in greeting.iter().chain(&hello) {
        peer.stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(peer.read_until(19), b"welcome hello there");
    assert_eq!(heard.recv().unwrap(), b"hello there");
    assert_eq!(seals(&world), [1, 1, 0, 0]);
    world.run(0, |_, core| core.check_invariants());
}

/// Greeting, three records and the end in one segment, then the end of the stream: everything comes, in order, the end is
/// told once, and what is still to be said goes out.
#[test]
fn all_in_one_read_is_opened_in_order_and_the_end_is_told_once() {
    for shut in [true, false] {
        let world = World::new(1);
        let heard = echoes(&world, 0, Duration::ZERO);
        world.run(0, |stage, _| stage.ends_half_closed = false);
        let mut peer = Peer::new(world.connect(0), Greets::First);
        let mut all = peer.greeting();
        for number in 0..3_u8 {
            all.extend(peer.seal(&[number; 300]));
        }
        peer.envelope.close(&mut [], &mut all);
        peer.stream.write_all(&all).unwrap();
        if shut {
            peer.stream.shutdown(Shutdown::Write).unwrap();
        }
        let conn = world.await_fact(0, |fact| match fact {
            Fact::HalfClosed(conn) => Some(conn),
            Fact::Ended(_, why) => panic!("{why:?}"),
            _ => None,
        });
        let expected: Vec<u8> = (0..3_u8).flat_map(|number| [number; 300]).collect();
        assert_eq!(heard.recv().unwrap(), expected, "in one piece");
        assert_eq!(peer.read_until(8 + 900)[8..], expected);
        world.run(0, move |_, core| {
            core.send(conn, b"bye");
            core.finish(conn);
        });
        let mut rest = TcpStream::try_clone(&peer.stream).unwrap();
        assert!(peer.read_to_end().ends_with(b"bye"));
        if !shut {
            rest.write_all(b"nobody reads this").unwrap();
            rest.shutdown(Shutdown::Write).unwrap();
        }
        world.await_fact(0, |fact| match fact {
            Fact::Ended(ended, End::Finished) => (ended == conn).then_some(()),
            Fact::HalfClosed(_) => panic!("told twice"),
            Fact::Ended(_, why) => panic!("{why:?}"),
            _ => None,
        });
        world.run(0, |_, core| core.check_invariants());
    }
}

/// An end that came only with the stream's, in the pass in which a greeting waits for its share.
#[test]
fn a_greeting_that_waits_is_opened_before_the_end_of_the_stream_is_told() {
    let world = World::new(1);
    let heard = echoes(&world, 0, Duration::from_millis(3));
    for _ in 0..8 {
        let mut peer = Peer::new(world.connect(0), Greets::First);
        let mut all = peer.greeting();
        all.extend(peer.seal(b"in haste"));
        peer.stream.write_all(&all).unwrap();
        drop(peer);
    }
    for _ in 0..8 {
        assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), b"in haste");
        world.await_ended(0);
    }
    assert_eq!(seals(&world), [8, 8, 0, 0]);
}

#[test]
fn a_crowd_of_greetings_takes_its_share_of_a_pass() {
    const CROWD: u64 = 24;
    let world = World::new(1);
    let _heard = echoes(&world, 0, Duration::from_millis(2));
    let mut peers: Vec<Peer> = (0..CROWD).map(|_| Peer::new(world.connect(0), Greets::First)).collect();
    (0..CROWD).for_each(|_| {
        world.await_accepted(0);
    });
    // All of them are there when the shard looks.
    let counters = world.counters[0].clone();
    let greetings: Vec<Vec<u8>> = peers.iter_mut().map(Peer::greeting).collect();
    let streams: Vec<TcpStream> = peers.iter().map(|peer| peer.stream.try_clone().unwrap()).collect();
    let before = world.run(0, move |_, core| {
        for (mut stream, greeting) in streams.into_iter().zip(greetings) {
            stream.write_all(&greeting).unwrap();
        }
        core.counters().kernel_entries.value()
    });
    // Somebody else's work is done between two of them.
    let mut opened = 0;
    let mut seen = 0;
    while opened < CROWD {
        let now = world.run(0, |_, core| core.counters().seals_opened.value());
        seen += u64::from(now > opened);
        opened = now;
    }
    assert!(seen > CROWD / 4, "{seen} looks at {CROWD} greetings");
    let passes = counters.kernel_entries.value() - before;
    assert!(passes >= CROWD, "{passes} passes");
    for peer in &mut peers {
        assert_eq!(peer.read_until(8), b"welcome ");
    }
}

#[test]
fn nonsense_is_answered_by_the_seal_told_and_ended() {
    let data_before_a_greeting = [0, 1, DATA, 7].to_vec();
    let torn = |peer: &mut Peer| {
        let mut all = peer.greeting();
        all.extend(peer.seal(b"fine"));
        all.extend([0, 0, 99]);
        all.extend(peer.seal(b"not looked at"));
        all
    };
    for (number, kind) in [(0, "2"), (1, "99")] {
        let world = World::new(1);
        let heard = echoes(&world, 0, Duration::ZERO);
        let mut peer = Peer::new(world.connect(0), Greets::First);
        let bytes = match number {
            0 => data_before_a_greeting.clone(),
            _ => torn(&mut peer),
        };
        peer.stream.write_all(&bytes).unwrap();
        let conn = world.await_accepted(0);
        let why = world.await_fact(0, |fact| match fact {
            Fact::Broken(of, why) => Some(why).filter(|_| of == conn),
            Fact::Ended(..) => panic!("{fact:?}"),
            _ => None,
        });
        assert_eq!(why, format!("a record of kind {kind}"));
        let mut last = Vec::new();
        peer.stream.read_to_end(&mut last).unwrap();
        assert!(last.ends_with(b"what?"), "{last:?}");
        drop(peer);
        assert_eq!(world.await_ended(0).1, End::Finished);
        match number {
            0 => assert!(heard.try_recv().is_err() && seals(&world) == [1, 0, 1, 0]),
            _ => {
                assert!(heard.recv().unwrap() == b"fine" && heard.try_recv().is_err() && seals(&world) == [1, 1, 0, 1])
            }
        }
    }
}

/// Two shards and back, again and again, in the middle of records of both directions and of the greeting.
#[test]
fn a_sealed_connection_that_moves_loses_no_byte_either_way() {
    const HOPS: u64 = 16;
    let world = World::new(2);
    let (told, heard) = channel();
    for shard in 0..2 {
        let told = told.clone();
        world.run(shard, move |stage, _| {
            stage.on_received = Some(Box::new(move |_, _, bytes| told.send(bytes.to_vec()).unwrap()));
        });
    }
    let (fd, stream) = connected_pair(8 * 1024);
    let mut peer = Peer::new(stream, Greets::First);
    let numbers: Vec<u8> = (0..40_000_u32).flat_map(u32::to_be_bytes).collect();
    let mut wire = peer.greeting();
    wire.extend(peer.seal(&numbers));
    let mut sending = peer.stream.try_clone().unwrap();
    let mut moving = Detached::from(fd);
    let cut = wire.len() / HOPS as usize;
    let mut arrived = Vec::new();
    for hop in 0..HOPS as usize {
        let shard = hop % 2;
        // Never at the end of a record; at first within the greeting.
        let until = if hop == 0 { 5 } else { hop * cut };
        let from = [0, 5][hop.min(1)].max(hop.saturating_sub(1) * cut);
        let conn = world.run(shard, move |_, core| {
            let conn = core.adopt(moving).unwrap();
            if hop == 0 {
                core.seal(conn, Box::new(Envelope::new(Greets::WhenGreeted, 77)));
            }
            core.send(conn, &piece(Kind::Ping, hop as u64, 10_000));
            conn
        });
        let before = world.counters[shard].bytes_received.value();
        let chunk = wire[from.min(until)..until].to_vec();
        let bytes = chunk.len() as u64;
        sending.write_all(&chunk).unwrap();
        let counters = world.counters[shard].clone();
        world.await_on(shard, move |_, _| counters.bytes_received.value() >= before + bytes);
        world.run(shard, move |_, core| core.detach(conn));
        moving = world.await_fact(shard, |fact| match fact {
            Fact::Detached(_, detached) => Some(detached),
            Fact::Ended(_, why) => panic!("{why:?}"),
            _ => None,
        });
    }
    sending.write_all(&wire[(HOPS as usize - 1) * cut..]).unwrap();
    let conn = world.run(0, move |_, core| core.adopt(moving).unwrap());
    while arrived.len() < numbers.len() {
        arrived.extend(heard.recv_timeout(PATIENCE).unwrap());
    }
    assert!(arrived == numbers, "every byte, once");
    world.run(0, move |_, core| core.finish(conn));
    let mut pieces = Pieces::default();
    pieces.feed(&peer.read_to_end());
    for hop in 0..HOPS {
        assert_eq!(pieces.next(), Some((Kind::Ping, hop)));
    }
    assert!(pieces.is_empty());
    assert_eq!(world.counters.iter().map(|c| c.seals_opened.value()).sum::<u64>(), 1);
}

#[test]
fn half_a_record_is_kept_within_bounds_and_gives_its_buffer_back() {
    let world = World::new(1);
    let _heard = echoes(&world, 0, Duration::ZERO);
    let mut peer = Peer::new(world.connect(0), Greets::First);
    let conn = world.await_accepted(0);
    peer.greet();
    let kept = |core: &Core<Run>| core.counters().sealed_bytes_kept.value();
    assert!(world.run(0, move |_, core| core.is_sealed(conn) && kept(core) == 0));
    let record = peer.seal(&[9; 1000]);
    peer.stream.write_all(&record[..700]).unwrap();
    world.await_on(0, move |_, core| kept(core) == 700);
    peer.stream.write_all(&record[700..]).unwrap();
    world.await_on(0, move |_, core| kept(core) == 0);
    // One that never ends.
    let (fd, mut stream) = connected_pair(64 * 1024);
    world.run(0, move |_, core| {
        let conn = core.adopt(fd.into()).unwrap();
        core.seal(conn, Box::new(NeverWhole));
    });
    let sent = stream.write(&vec![1; 4 * SEALED_KEPT_BYTES_MAX]).unwrap();
    assert!(sent >= SEALED_KEPT_BYTES_MAX);
    let why = world.await_fact(0, |fact| match fact {
        Fact::Broken(_, why) => Some(why),
        _ => None,
    });
    assert_eq!(why, format!("more than {SEALED_KEPT_BYTES_MAX} bytes make no whole"));
    drop(stream);
    world.await_ended(0);
    world.run(0, |_, core| core.check_invariants());
}

/// Half records of a crowd: each is within its bound, all of them are not. Who is open stays.
#[test]
fn half_records_of_all_peers_are_bounded_together() {
    const EACH: usize = SEALED_KEPT_BYTES_MAX - 5000;
    socket::raise_descriptor_limit().unwrap();
    let world = World::new(1);
    let _heard = echoes(&world, 0, Duration::ZERO);
    let mut open = Peer::new(world.connect(0), Greets::First);
    open.greet();
    let half = open.seal(&[1; 16_000]);
    open.stream.write_all(&half[..9_000]).unwrap();
    world.run(0, |stage, _| {
        stage.on_accepted = Some(Box::new(|core, conn| core.seal(conn, Box::new(NeverWhole))));
    });
    let crowd = SEALED_KEPT_ALL_BYTES_MAX as usize / EACH + 20;
    let chunk = vec![1; EACH];
    let mut streams = Vec::new();
    for _ in 0..crowd {
        let mut stream = world.connect(0);
        // The last ones find the first ones closed, and are within what is left.
        stream.write_all(&chunk).unwrap();
        streams.push(stream);
    }
    world.await_on(0, |_, core| core.counters().seals_closed_kept.value() > 0);
    assert_eq!(world.await_ended(0).1, End::Aborted);
    let kept = world.run(0, |_, core| {
        core.check_invariants();
        core.counters().sealed_bytes_kept.value()
    });
    assert!(kept <= SEALED_KEPT_ALL_BYTES_MAX, "{kept}");
    open.stream.write_all(&half[9_000..]).unwrap();
    assert_eq!(open.read_until(16_008)[8..], [1; 16_000]);
}

/// Takes nothing, whatever comes.
struct NeverWhole;

impl Seal for NeverWhole {
    fn is_open(&self) -> bool {
        false
    }
    fn seal(&mut self, _plain: &[u8], _kept: &mut [u8], _out: &mut Vec<u8>) -> Result<(), Broken> {
        Err("never".into())
    }
    fn open(&mut self, _sealed: &mut [u8], _plain: &mut Vec<u8>, _out: &mut Vec<u8>) -> Result<Taken, Broken> {
        Ok(Taken {
            bytes: 0,
            closed: Closed::No,
        })
    }
}

/// A peer that makes the seal itself speak, and reads nothing.
#[test]
fn a_seal_that_is_made_to_answer_is_bounded() {
    let world = World::new(1);
    let (fd, stream) = connected_pair(16 * 1024);
    world.run(0, move |_, core| {
        let conn = core.adopt(fd.into()).unwrap();
        core.seal(conn, Box::new(Envelope::new(Greets::WhenGreeted, 3)));
    });
    let mut peer = Peer::new(stream, Greets::First);
    peer.greet();
    let mut asking = Vec::new();
    for _ in 0..200 {
        Envelope::put(ECHO, &[], &mut asking);
    }
    let _until_it_is_closed = peer.stream.write_all(&asking);
    assert_eq!(world.await_ended(0).1, End::OwnOverflow);
    assert_eq!(world.counters[0].connections_closed_own.value(), 1);
    const { assert!(SEALED_ANSWERS_BYTES_MAX < 200 * 60_000) };
}

/// This side makes the connection, and greets.
#[test]
fn a_connection_that_this_side_makes_is_sealed_from_its_first_byte() {
    let world = World::new(1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let (told, heard) = channel();
    world.run(0, move |stage, core| {
        stage.on_received = Some(Box::new(move |_, _, bytes| told.send(bytes.to_vec()).unwrap()));
        core.connect(to, 1, core.now() + 15_000_000).unwrap();
    });
    let conn = world.await_fact(0, |fact| match fact {
        Fact::Connected(conn, 1) => Some(conn),
        _ => None,
    });
    world.run(0, move |_, core| {
        core.seal(conn, Box::new(Envelope::new(Greets::First, 8)));
        core.send(conn, b"a question");
        assert!(core.is_sealed(conn));
    });
    let mut peer = Peer::new(listener.accept().unwrap().0, Greets::WhenGreeted);
    assert_eq!(peer.read_until(10), b"a question");
    let answer = peer.seal(&[3; 50_000]);
    peer.stream.write_all(&answer).unwrap();
    let mut arrived = 0;
    while arrived < 50_000 {
        arrived += heard.recv_timeout(PATIENCE).unwrap().len();
    }
    world.run(0, move |_, core| core.finish(conn));
    assert!(peer.read_to_end().len() == 10);
}

/// Ended before it is open: nothing plain goes out, and nobody waits.
#[test]
fn a_seal_that_never_opens_is_ended_without_a_byte() {
    let world = World::new(1);
    let _heard = echoes(&world, 0, Duration::ZERO);
    let mut stream = world.connect(0);
    let conn = world.await_accepted(0);
    stream.write_all(&[0, 8, GREETING]).unwrap();
    world.run(0, move |_, core| core.finish(conn));
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"");
    drop(stream);
    assert_eq!(world.await_ended(0).1, End::Finished);
}

/// Sealed viewers take their turns as others do: what comes meanwhile goes out together.
#[test]
fn sealed_viewers_wait_for_their_turn_and_buffers_are_used_again() {
    let world = World::new(1);
    world.feed(KEEPS_ALL, Class::Buffered);
    let mut peers: Vec<Peer> = (0..8)
        .map(|_| {
            let (fd, stream) = connected_pair(1024 * 1024);
            world.run(0, move |stage, core| {
                let conn = core.adopt(fd.into()).unwrap();
                core.seal(conn, Box::new(Envelope::new(Greets::WhenGreeted, conn.number())));
                core.join(conn, stage.feed.unwrap());
            });
            let mut peer = Peer::new(stream, Greets::First);
            peer.greet();
            peer
        })
        .collect();
    for number in 0..400 {
        world.write(move |writer| append(writer, number, 500, 50));
    }
    let mut pieces: Vec<Pieces> = (0..8).map(|_| Pieces::default()).collect();
    for (peer, pieces) in peers.iter_mut().zip(&mut pieces) {
        let mut last = None;
        while last != Some((Kind::Record, 399)) {
            assert!(peer.read());
            pieces.feed(&std::mem::take(&mut peer.plain));
            while let Some(piece) = pieces.next() {
                last = Some(piece);
            }
        }
    }
    let sends = world.counters[0].sends.value();
    assert!(sends < 8 * 100, "{sends} sends of 400 records for 8 viewers");
    world.run(0, |_, core| core.check_invariants());
}
