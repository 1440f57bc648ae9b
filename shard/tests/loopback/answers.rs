//! Answers from outside: a head of the session's own, then a range of a feed or shared bytes, then what the session sent
//! meanwhile. Each byte of a feed says where it stands, so that a range is right or wrong by itself.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::ops::Range;
use std::sync::Arc;

use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, End};
use penstock_shard::fanout::{Class, Limit};
use penstock_shard::feed::{ENDS_OBJECT, Feed, Record, Writer};

use crate::slow::{connected_pair, narrow_viewer};
use crate::viewers::KEEPS_ALL;
use crate::wire::{Noise, Pieces, XorKey, append, wraps};
use crate::world::{Fact, Run, World};

/// The byte of every test's feed at a position.
fn byte_at(position: u64) -> u8 {
    (position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

pub fn bytes_at(range: Range<u64>) -> Vec<u8> {
    range.map(byte_at).collect()
}

/// Appends a record of `bytes` bytes.
pub fn grow(writer: &mut Writer, bytes: u64, flags: u32) {
    let head = writer.feed().head();
    let record = Record {
        bytes: &[&bytes_at(head..head + bytes)],
        join: None,
        dts_micros: (head / 100) as i64,
        flags,
    };
    writer.append(&[record]).unwrap();
    writer.check_invariants();
}

/// A world whose connections are answered by the test, and not by its stage.
pub fn answering(shards: usize, config: penstock_shard::feed::Config, class: Class) -> (World, Arc<Feed>) {
    answering_by(World::new(shards), config, class)
}

pub fn answering_by(world: World, config: penstock_shard::feed::Config, class: Class) -> (World, Arc<Feed>) {
    let feed = world.feed(config, class);
    for shard in 0..world.addresses.len() {
        world.run(shard, |stage, _| (stage.joins, stage.finishes) = (false, false));
    }
    (world, feed)
}

/// One connection, seen from both its ends.
pub struct Peer {
    pub shard: usize,
    pub conn: ConnId,
    pub stream: TcpStream,
    key: Option<XorKey>,
    opened: Pieces,
}

impl Peer {
    /// Over sockets that take `send_bytes` at most, on `shard`.
    pub fn narrow(world: &World, shard: usize, send_bytes: usize, key: Option<XorKey>) -> Peer {
        let (fd, stream) = connected_pair(send_bytes);
        let seal = key.clone();
        let conn = world.run(shard, move |_, core| {
            let conn = core.adopt(fd.into()).unwrap();
            if let Some(seal) = seal {
                core.seal(conn, Box::new(seal));
            }
            conn
        });
        Peer {
            shard,
            conn,
            stream,
            key,
            opened: Pieces::default(),
        }
    }

    pub fn on<T: Send + 'static>(
        &self,
        world: &World,
        code: impl FnOnce(&mut Core<Run>, ConnId) -> T + Send + 'static,
    ) -> T {
        let conn = self.conn;
        world.run(self.shard, move |_, core| code(core, conn))
    }

    /// A head and a range behind it.
    pub fn ask(&self, world: &World, head: &[u8], start: u64, limit: Limit) {
        let (conn, head) = (self.conn, head.to_vec());
        world.run(self.shard, move |stage, core| {
            core.send(conn, &head);
            core.join_range(conn, stage.feed.unwrap(), start, limit).unwrap();
        });
    }

    /// The next bytes are these.
    pub fn expect(&mut self, wanted: &[u8]) {
        let mut got = vec![0; wanted.len()];
        match &mut self.key {
            None => self.stream.read_exact(&mut got).expect("bytes come in time"),
            Some(key) => {
                let mut sealed = vec![0; 64 * 1024];
                while self.opened.rest().len() < wanted.len() {
                    let count = self.stream.read(&mut sealed).expect("bytes come in time");
                    assert!(count > 0, "the stream ends early");
                    key.open(&sealed[..count], &mut self.opened);
                }
                got.copy_from_slice(&self.opened.rest()[..wanted.len()]);
                self.opened.skip(wanted.len());
            }
        }
        let wrong = got.iter().zip(wanted).position(|(got, wanted)| got != wanted);
        assert_eq!(wrong, None, "of {} bytes", wanted.len());
    }

    /// Nothing but the end follows.
    pub fn expect_end(&mut self) {
        assert!(self.opened.is_empty());
        assert_eq!(self.stream.read(&mut [0; 16]).expect("the end comes in time"), 0);
    }

    pub fn await_reached(&self, world: &World) {
        let conn = self.conn;
        world.await_fact(self.shard, |fact| match fact {
            Fact::ReachedEnd(of) if of == conn => Some(()),
            Fact::Ended(of, why) if of == conn => panic!("{why:?}"),
            _ => None,
        });
    }

    /// That is not told once more, and nothing else.
    pub fn expect_quiet(&self, world: &World) {
        self.on(world, |core, _| core.check_invariants());
        let told: Vec<Fact> = world.facts[self.shard].try_iter().collect();
        assert!(told.iter().all(|fact| matches!(fact, Fact::FeedUnused)), "{told:?}");
    }
}

/// Ranges of a feed of records of all sizes: inside one record, over many, over blocks, empty; to narrow sockets, which
/// take a little at a time. What the session sends while one is under way comes behind it.
#[test]
fn a_range_is_its_bytes_wherever_it_starts_and_stops() {
    for seal in wraps() {
        let (world, feed) = answering(1, KEEPS_ALL, Class::Buffered);
        let mut noise = Noise(0x5EED_0001);
        let mut boundaries = vec![0];
        for number in 0..60 {
            let bytes = noise.between(1, [40, 3_000, 90_000, 300_000][number % 4]);
            world.write(move |writer| grow(writer, bytes, 0));
            boundaries.push(feed.head());
        }
        let mut peer = Peer::narrow(&world, 0, 16 * 1024, seal);
        let mut begun = 0;
        for round in 0..50 {
            let start = match round % 3 {
                0 => boundaries[noise.between(0, 60) as usize],
                _ => noise.between(0, feed.head()),
            };
            let longest = [1, 900, 70_000, 700_000][round % 4].min(feed.head() - start);
            let end = start + noise.between(0, longest + 1);
            let (head, behind) = (format!("{start}-{end}:"), format!("behind {round};"));
            peer.ask(&world, head.as_bytes(), start, Limit::At(end));
            begun += 1;
            let sent = behind.clone();
            peer.on(&world, move |core, conn| core.send(conn, sent.as_bytes()));
            peer.expect(head.as_bytes());
            peer.expect(&bytes_at(start..end));
            peer.expect(behind.as_bytes());
            peer.await_reached(&world);
            peer.expect_quiet(&world);
            assert!(!peer.on(&world, |core, conn| core.range_cut(conn)));
            assert_eq!(feed.released(0), u64::MAX, "nothing is under way");
        }
        let counters = &world.counters[0];
        assert_eq!(counters.ranges_begun.value(), begun);
        // How often is the reader's doing: 29 to 120 times were seen.
        assert!(counters.sends_full.value() > 5, "sockets were full");
    }
}

#[test]
fn an_object_ends_behind_the_first_record_that_ends_one() {
    for seal in wraps() {
        let (world, feed) = answering(1, KEEPS_ALL, Class::Buffered);
        let mut noise = Noise(0x5EED_0002);
        // The start of each record, and the end of its object.
        let mut records = Vec::new();
        for _ in 0..6 {
            let pieces = noise.between(1, 9);
            let bytes: Vec<u64> = (0..pieces).map(|_| noise.between(1, 120_000)).collect();
            let start = feed.head();
            let end = start + bytes.iter().sum::<u64>();
            let mut at = start;
            for (number, bytes) in bytes.into_iter().enumerate() {
                records.push((at, at + bytes, end));
                at += bytes;
                let flags = if number as u64 + 1 == pieces { ENDS_OBJECT } else { 6 };
                world.write(move |writer| grow(writer, bytes, flags));
            }
        }
        let mut peer = Peer::narrow(&world, 0, 64 * 1024, seal);
        for (start, record_end, end) in records {
            let inside = noise.between(start, record_end);
            for start in [start, inside] {
                peer.ask(&world, b"head", start, Limit::EndOfObject);
                peer.expect(b"head");
                peer.expect(&bytes_at(start..end));
                peer.await_reached(&world);
                peer.expect_quiet(&world);
            }
        }
    }
}

/// A segment that is being made: what comes is sent as it comes, on the home's shard and on another.
#[test]
fn a_range_waits_for_what_is_not_there_yet() {
    for seal in wraps() {
        let (world, feed) = answering(2, KEEPS_ALL, Class::Waiting);
        world.write(|writer| grow(writer, 1000, ENDS_OBJECT));
        let mut peers: Vec<Peer> = (0..4)
            .map(|n| Peer::narrow(&world, n % 2, 64 * 1024, seal.clone()))
            .collect();
        for (round, flags) in [(0, 0), (1, ENDS_OBJECT)] {
            let start = feed.head();
            for (n, peer) in peers.iter().enumerate() {
                // The one inside a record that is to come, the other where the object ends.
                let limit = match n < 2 {
                    true => Limit::At(start + 65_500),
                    false => Limit::EndOfObject,
                };
                peer.ask(&world, b"head", start, limit);
            }
            peers.iter_mut().for_each(|peer| peer.expect(b"head"));
            for bytes in [1, 400, 60_000] {
                let from = feed.head();
                world.write(move |writer| grow(writer, bytes, 0));
                for peer in &mut peers {
                    peer.expect(&bytes_at(from..from + bytes));
                    peer.on(&world, |core, _| core.check_invariants());
                }
            }
            let from = feed.head();
            world.write(move |writer| {
                grow(writer, 30_000, 4);
                grow(writer, 10, ENDS_OBJECT | flags);
                grow(writer, 500, ENDS_OBJECT);
            });
            for (n, peer) in peers.iter_mut().enumerate() {
                let end = if n < 2 { start + 65_500 } else { from + 30_010 };
                peer.expect(&bytes_at(from..end));
                peer.await_reached(&world);
                peer.on(&world, move |core, conn| {
                    assert!(!core.range_cut(conn), "round {round}");
                    core.send(conn, b"next");
                });
                peer.expect(b"next");
            }
            peers.iter().for_each(|peer| peer.expect_quiet(&world));
            assert_eq!([feed.released(0), feed.released(1)], [u64::MAX; 2]);
        }
    }
}

#[test]
fn a_feed_that_ends_before_a_range_cuts_it() {
    let (world, feed) = answering(1, KEEPS_ALL, Class::Waiting);
    world.write(|writer| grow(writer, 5000, 0));
    let limits = [Limit::At(5001), Limit::EndOfObject, Limit::At(5000), Limit::At(3000)];
    let mut peers = limits.map(|limit| {
        let peer = Peer::narrow(&world, 0, 64 * 1024, None);
        peer.ask(&world, b"", 2000, limit);
        peer
    });
    for (peer, end) in peers.iter_mut().zip([5000, 5000, 5000, 3000]) {
        peer.expect(&bytes_at(2000..end));
    }
    world.write(|writer| writer.finish());
    let mut told = Vec::new();
    while told.len() < 4 {
        told.push(world.await_fact(0, |fact| match fact {
            Fact::ReachedEnd(conn) => Some(conn),
            _ => None,
        }));
    }
    let cut = peers
        .iter()
        .map(|peer| peer.on(&world, |core, conn| core.range_cut(conn)));
    assert_eq!(cut.collect::<Vec<_>>(), [true, true, false, false]);
    assert_eq!(world.counters[0].ranges_cut.value(), 2);
    // An end that has been is found at once, and the next range says what became of it.
    let [peer, ..] = &mut peers;
    for (limit, end, is_cut) in [(Limit::At(5000), 5000, false), (Limit::EndOfObject, 5000, true)] {
        peer.ask(&world, b"again", 4000, limit);
        peer.expect(b"again");
        peer.expect(&bytes_at(4000..end));
        peer.await_reached(&world);
        assert_eq!(peer.on(&world, |core, conn| core.range_cut(conn)), is_cut);
    }
    peer.expect_quiet(&world);
    assert_eq!(feed.released(0), u64::MAX);
}

#[test]
fn what_the_window_has_passed_is_refused_and_nothing_changes() {
    let config = penstock_shard::feed::Config {
        lag_max_micros: 1,
        bytes_max: 100_000,
        claimed_bytes_max: 8 * 1024 * 1024,
    };
    let (world, feed) = answering(1, config, Class::Buffered);
    let mut peer = Peer::narrow(&world, 0, 64 * 1024, None);
    world.write(|writer| grow(writer, 100_000, 0));
    // Whatever is still held for another.
    let holding = Peer::narrow(&world, 0, 16 * 1024, None);
    holding.ask(&world, b"", 0, Limit::At(u64::MAX));
    for _ in 0..30 {
        world.write(|writer| grow(writer, 50_000, 0));
    }
    let tail = feed.tail();
    assert!(tail > 500_000 && feed.released(0) < 100_000);
    peer.on(&world, |core, conn| core.send(conn, b"head"));
    let conn = peer.conn;
    let refused = world.run(0, move |stage, core| {
        core.join_range(conn, stage.feed.unwrap(), tail - 1, Limit::At(tail + 5))
    });
    assert_eq!(
        refused.map_err(|passed| (passed.position, passed.tail)),
        Err((tail - 1, tail))
    );
    assert_eq!(world.counters[0].ranges_passed.value(), 1);
    assert!(feed.released(0) < 100_000);
    peer.ask(&world, b" and ", tail, Limit::At(tail + 5));
    peer.expect(b"head and ");
    peer.expect(&bytes_at(tail..tail + 5));
    peer.await_reached(&world);
}

/// Texts: nothing, a byte, and more than a socket takes; with the session's bytes before and behind.
#[test]
fn shared_bytes_are_sent_behind_the_head_and_before_what_follows() {
    for seal in wraps() {
        let (world, _) = answering(1, KEEPS_ALL, Class::Buffered);
        let mut peer = Peer::narrow(&world, 0, 16 * 1024, seal);
        for bytes in [0, 1, 300 * 1024, 0, 7, 300 * 1024] {
            let text: Arc<[u8]> = bytes_at(0..bytes).into();
            let shared = text.clone();
            peer.on(&world, move |core, conn| {
                core.send(conn, b"head");
                core.send_shared(conn, shared);
                core.send(conn, b"behind");
            });
            peer.expect(b"head");
            peer.expect(&text);
            peer.expect(b"behind");
            peer.await_reached(&world);
            peer.expect_quiet(&world);
            assert_eq!(Arc::strong_count(&text), 1, "it is let go");
        }
        assert_eq!(world.counters[0].shared_begun.value(), 6);
    }
}

/// A peer that has gone away in the middle, and an appliance that ends the connection there, at once or cleanly.
#[test]
fn an_answer_may_be_ended_in_its_middle_from_either_side() {
    for seal in wraps() {
        for shared in [false, true] {
            let (world, feed) = answering(1, KEEPS_ALL, Class::Buffered);
            world.write(|writer| (0..10).for_each(|_| grow(writer, 100_000, 0)));
            let half_sent = || {
                let peer = Peer::narrow(&world, 0, 16 * 1024, seal.clone());
                match shared {
                    true => peer.on(&world, |core, conn| {
                        core.send(conn, b"head");
                        core.send_shared(conn, bytes_at(0..900_000).into());
                    }),
                    false => peer.ask(&world, b"head", 0, Limit::At(900_000)),
                }
                let conn = peer.conn;
                world.await_on(0, move |_, core| core.bytes_sent(conn) > 1000);
                peer
            };
            let gone = half_sent();
            let conn = gone.conn;
            drop(gone);
            assert_eq!(world.await_ended(0), (conn, End::Peer));
            let mut aborted = half_sent();
            aborted.on(&world, |core, conn| core.abort(conn));
            assert_eq!(world.await_ended(0), (aborted.conn, End::Aborted));
            let reset =
                std::iter::repeat_with(|| aborted.stream.read(&mut [0; 65_536])).find(|read| !matches!(read, Ok(1..)));
            assert_eq!(reset.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
            let mut finished = half_sent();
            finished.on(&world, |core, conn| core.finish(conn));
            finished.expect(b"head");
            finished.expect(&bytes_at(0..900_000));
            finished.expect_end();
            let conn = finished.conn;
            drop(finished);
            assert_eq!(world.await_ended(0), (conn, End::Finished));
            world.run(0, |_, core| core.check_invariants());
            assert!(world.facts[0].try_iter().all(|fact| matches!(fact, Fact::FeedUnused)));
            assert_eq!(feed.released(0), u64::MAX);
        }
    }
}

/// Finished while it waits for more: what is there comes, then the end, at once.
#[test]
fn a_range_that_waits_is_finished_where_its_feed_stands() {
    let (world, _) = answering(1, KEEPS_ALL, Class::Waiting);
    world.write(|writer| grow(writer, 5000, 0));
    for limit in [Limit::At(6000), Limit::EndOfObject] {
        let mut peer = Peer::narrow(&world, 0, 64 * 1024, None);
        peer.ask(&world, b"head", 1, limit);
        peer.on(&world, |core, conn| core.finish(conn));
        peer.expect(b"head");
        peer.expect(&bytes_at(1..5000));
        peer.expect_end();
        let conn = peer.conn;
        drop(peer);
        assert_eq!(world.await_ended(0), (conn, End::Finished));
    }
}

#[test]
fn shared_bytes_move_with_their_connection_and_a_range_does_not() {
    for seal in wraps() {
        let (world, feed) = answering(2, KEEPS_ALL, Class::Buffered);
        world.write(|writer| grow(writer, 900_000, 0));
        let mut moving = Peer::narrow(&world, 0, 16 * 1024, seal.clone());
        moving.on(&world, |core, conn| {
            core.send(conn, b"head");
            core.send_shared(conn, bytes_at(0..900_000).into());
            core.send(conn, b"behind");
        });
        let conn = moving.conn;
        world.await_on(0, move |_, core| core.bytes_sent(conn) > 1000);
        moving.on(&world, |core, conn| core.detach(conn));
        moving.await_reached(&world);
        let detached = world.await_fact(0, |fact| match fact {
            Fact::Detached(of, detached) => (of == conn).then_some(detached),
            other => panic!("{other:?}"),
        });
        world.run(1, move |_, core| {
            let conn = core.adopt(detached).unwrap();
            core.send(conn, b" it");
        });
        moving.expect(b"head");
        moving.expect(&bytes_at(0..900_000));
        moving.expect(b"behind it");
        let staying = Peer::narrow(&world, 0, 16 * 1024, seal);
        staying.ask(&world, b"", 0, Limit::At(900_000));
        staying.on(&world, |core, conn| core.detach(conn));
        assert_eq!(world.await_ended(0), (staying.conn, End::Aborted));
        assert_eq!(feed.released(0), u64::MAX);
        world.run(1, |_, core| core.check_invariants());
    }
}

/// What stands behind a head goes out with it: one send a request, as long as what follows is no more than one.
#[test]
fn a_head_and_what_it_announces_are_one_send() {
    const HEAD: &[u8] = &[b'h'; 300];
    let (world, _) = answering(1, KEEPS_ALL, Class::Buffered);
    world.write(|writer| (0..80).for_each(|_| grow(writer, 4096, ENDS_OBJECT)));
    let mut peer = Peer::narrow(&world, 0, 1024 * 1024, None);
    let counters = world.counters[0].clone();
    let sends = || (counters.sends.value(), counters.sendfiles.value());
    let (short, long) = (100_000, 300_000);
    let limits = [
        (0, Limit::EndOfObject, 4096, (1, 0)),
        (4096, Limit::At(8000), 8000, (1, 0)),
        // A block ends in it.
        (250_000, Limit::At(270_000), 270_000, (2, 0)),
        // More than what goes by reference elsewhere, and short for a range.
        (5, Limit::At(5 + short), 5 + short, (1, 0)),
        // The head waits for what goes by reference; a block ends in it, and what is behind is little.
        (5, Limit::At(5 + long), 5 + long, (2, 1)),
        // Nothing stands behind it.
        (77, Limit::At(77), 77, (1, 0)),
    ];
    for (start, limit, end, wanted) in limits {
        let before = sends();
        peer.ask(&world, HEAD, start, limit);
        peer.expect(HEAD);
        peer.expect(&bytes_at(start..end));
        peer.await_reached(&world);
        let after = sends();
        assert_eq!((after.0 - before.0, after.1 - before.1), wanted, "from {start}");
    }
    for bytes in [0, 1, 4096, 200_000] {
        let before = sends();
        peer.on(&world, move |core, conn| {
            core.send(conn, HEAD);
            core.send_shared(conn, bytes_at(0..bytes).into());
        });
        peer.expect(HEAD);
        peer.expect(&bytes_at(0..bytes));
        peer.await_reached(&world);
        assert_eq!(sends().0 - before.0, 1, "of {bytes} shared bytes");
    }
    let own = counters.bytes_sent_own.value();
    assert_eq!(own, 10 * HEAD.len() as u64, "and counted apart");
}

/// The same for who watches without end: its join header and the first records.
#[test]
fn a_join_header_goes_out_with_the_first_records() {
    let world = World::new(1);
    world.feed(KEEPS_ALL, Class::Buffered);
    world.write(|writer| (0..3).for_each(|number| append(writer, number, 4000, 10)));
    let (conn, mut client) = narrow_viewer(&world, 1024 * 1024, None);
    client.read_until(|seen| seen.last == Some(2));
    world.await_on(0, move |_, core| core.bytes_sent(conn) > 12_000);
    assert_eq!(world.counters[0].sends.value(), 1);
}
