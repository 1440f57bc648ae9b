//! Viewers that do not read: moved, or closed with a reason; they cost others nothing and give their memory back.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use penstock_shard::connection::ConnId;
use penstock_shard::core::End;
use penstock_shard::fanout::{Class, Pause, Pauses};
use penstock_shard::feed::{Config, FeedError, Writer};
use penstock_shard::limits::SEALED_BUFFER_BYTES;
use penstock_shard::pool::BLOCK_BYTES;
use penstock_shard::shard::Sends;
use socket2::{Domain, SockRef, Socket, Type};

use crate::crowd::hold;
use crate::viewers::{KEEPS_ALL, connect_narrow};
use crate::wire::{Client, HEAD_BYTES, Kind, XorKey, append, piece, try_append, wraps};
use crate::world::{PATIENCE, World};

const KIB: usize = 1024;
const MIB: u64 = 1024 * 1024;

fn window(claimed_bytes_max: u64) -> Config {
    Config {
        lag_max_micros: 100_000,
        bytes_max: MIB,
        claimed_bytes_max,
    }
}

/// A shard's end, which takes `send_bytes` at most, and a narrow reading end.
pub fn connected_pair(send_bytes: usize) -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = connect_narrow(listener.local_addr().unwrap());
    let (served, _) = listener.accept().unwrap();
    served.set_nonblocking(true).unwrap();
    // As what a shard accepts.
    served.set_nodelay(true).unwrap();
    SockRef::from(&served).set_send_buffer_size(send_bytes).unwrap();
    (served.into(), stream)
}

/// A viewer over such a pair, on shard 0.
pub fn narrow_viewer(world: &World, send_bytes: usize, seal: Option<XorKey>) -> (ConnId, Client) {
    let (fd, stream) = connected_pair(send_bytes);
    let mut client = Client::new(stream);
    client.key = seal.clone();
    let conn = world.run(0, move |stage, core| {
        let conn = core.adopt(fd.into()).unwrap();
        if let Some(seal) = seal {
            core.seal(conn, Box::new(seal));
        }
        core.join(conn, stage.feed.unwrap());
        conn
    });
    (conn, client)
}

/// Appends records and has `fast` read each before the next; the others fall behind as they like.
fn advance(world: &World, fast: &mut Client, numbers: std::ops::Range<u64>, bytes: usize) {
    for number in numbers {
        world.write(move |writer| append(writer, number, bytes, 10));
        fast.read_until(|seen| seen.last == Some(number));
        world.pool.punch_pending(usize::MAX).unwrap();
    }
}

fn a_reader_that_stops_is_moved(seal: Option<XorKey>, bytes: usize) {
    let world = World::new(1);
    let feed = world.feed(window(32 * MIB), Class::Interactive);
    let mut fast = Client::new(world.connect(0));
    world.await_accepted(0);
    let (conn, mut slow) = narrow_viewer(&world, 32 * KIB, seal.clone());
    let records = 12 * MIB / bytes as u64;
    // Many at once: a range of several records is queued for it.
    world.write(move |writer| {
        for number in 0..10 {
            append(writer, number, bytes, 10);
        }
    });
    world.await_on(0, |_, core| core.counters().cursors_joined.value() == 2);
    fast.read_until(|seen| seen.last == Some(9));
    advance(&world, &mut fast, 10..records, bytes);
    // Session bytes wait for the end of the record it stands in.
    world.run(0, move |_, core| core.send(conn, &piece(Kind::Ping, 1, 100)));
    let taken = world.run(0, move |_, core| core.bytes_sent(conn));
    assert!(taken < feed.tail(), "it has fallen behind");
    let mut before_skip = 0;
    slow.read_until(|seen| {
        if seen.skips == 0 {
            before_skip = seen.records;
        }
        seen.skips == 1 && !seen.pings.is_empty()
    });
    // A seal holds up to one buffer that its socket has not taken.
    let sealed = if seal.is_some() { SEALED_BUFFER_BYTES } else { 0 };
    let run = before_skip * (bytes + HEAD_BYTES) as u64 + 40 + HEAD_BYTES as u64;
    assert!(
        run <= taken + (bytes + HEAD_BYTES + sealed) as u64,
        "only its record: {run} of {taken}"
    );
    assert_eq!(world.counters[0].cursors_skipped.value(), 1);
    // It keeps up from there.
    for number in records..records + 30 {
        advance(&world, &mut fast, number..number + 1, bytes);
        slow.read_until(|seen| seen.last == Some(number));
    }
    assert_eq!((fast.seen.skips, fast.seen.records), (0, records + 30));
    assert_eq!((slow.seen.skips, &slow.seen.pings[..]), (1, &[1][..]));
    // What it held back is given back: window, the block before, the head's, and the index.
    advance(&world, &mut fast, records + 30..records + 32, bytes);
    slow.read_until(|seen| seen.last == Some(records + 31));
    advance(&world, &mut fast, records + 32..records + 34, bytes);
    let kept = (feed.head() - feed.tail()) / BLOCK_BYTES as u64;
    let used = world.pool.usage().used;
    assert!(used <= kept + 6, "{used} blocks for a window of {kept}");
}

/// The same reader on a core that has no more to give, and on one that has: behind by some GOPs, all of them kept.
#[test]
fn an_overloaded_core_moves_those_who_are_behind_and_recovers() {
    // No turn is as short as that.
    let none_left = Pauses {
        interactive: Pause { min: 0, max: 1 },
        ..Pauses::default()
    };
    for (pauses, skips) in [(none_left, 1), (Pauses::default(), 0)] {
        let sends = Sends {
            pauses,
            ..Sends::default()
        };
        let world = World::made(1, 16, 64 * MIB, sends);
        world.feed(KEEPS_ALL, Class::Interactive);
        let mut fast = Client::new(world.connect(0));
        world.await_accepted(0);
        let (conn, mut slow) = narrow_viewer(&world, 32 * KIB, None);
        advance(&world, &mut fast, 0..35, 100_000);
        let taken = world.run(0, move |_, core| core.bytes_sent(conn));
        assert!(taken < 10 * 100_000, "it is behind: {taken}");
        assert_eq!(world.run(0, |_, core| core.is_overloaded()), skips > 0);
        slow.read_until(|seen| seen.last == Some(34));
        assert_eq!((fast.seen.skips, fast.seen.records), (0, 35));
        assert_eq!(slow.seen.skips, skips);
        let counters = &world.counters[0];
        assert_eq!(counters.cursors_skipped_overload.value(), skips);
        assert_eq!(
            (counters.overloads.value(), counters.overloaded.value()),
            (skips, skips)
        );
        // Nothing is sent any more.
        world.await_on(0, |_, core| !core.is_overloaded());
        assert_eq!(counters.overloaded.value(), 0);
    }
}

#[test]
fn a_reader_that_stops_in_small_records_is_moved() {
    wraps()
        .into_iter()
        .for_each(|seal| a_reader_that_stops_is_moved(seal, 24_000));
}

#[test]
fn a_reader_that_stops_in_large_records_is_moved() {
    wraps()
        .into_iter()
        .for_each(|seal| a_reader_that_stops_is_moved(seal, 150_000));
}

/// A GOP that outgrows the window leaves nowhere to be moved to: the reader waits for the next join point, and is moved.
#[test]
fn a_reader_that_finds_no_join_point_is_moved_to_the_next() {
    const BYTES: usize = 24_000;
    let world = World::new(1);
    let feed = world.feed(window(32 * MIB), Class::Interactive);
    let mut fast = Client::new(world.connect(0));
    world.await_accepted(0);
    let (conn, mut slow) = narrow_viewer(&world, 32 * KIB, None);
    let next_join = 12 * MIB / BYTES as u64;
    let mut write = |numbers: std::ops::Range<u64>| {
        for number in numbers {
            world.write(move |writer| append(writer, number, BYTES, next_join));
            fast.read_until(|seen| seen.last == Some(number));
        }
    };
    write(0..next_join);
    let taken = world.run(0, move |_, core| core.bytes_sent(conn));
    assert!(taken < feed.tail(), "it has fallen behind");
    let reader = std::thread::spawn(move || {
        slow.read_until(|seen| seen.skips == 1 && seen.last.is_some_and(|last| last > next_join));
        slow.seen
    });
    // It has read the rest of its record, and is sent nothing more.
    let mut sent = 0;
    world.await_on(0, move |_, core| core.is_on_boundary(conn));
    while sent < world.run(0, move |_, core| core.bytes_sent(conn)) {
        for _ in 0..20 {
            sent = world.run(0, move |_, core| core.bytes_sent(conn));
        }
    }
    write(next_join..next_join + 10);
    let seen = reader.join().unwrap();
    assert_eq!(seen.first, Some(0), "and not joined a second time");
    assert_eq!(world.counters[0].cursors_skipped.value(), 1);
}

#[test]
fn a_reader_that_never_reads_again_is_evicted_and_its_memory_comes_back() {
    wraps().into_iter().for_each(a_reader_that_never_reads_again_is_evicted);
}

fn a_reader_that_never_reads_again_is_evicted(seal: Option<XorKey>) {
    let world = World::new(1);
    let feed = world.feed(window(2 * MIB), Class::Interactive);
    let mut fast = Client::new(world.connect(0));
    world.await_accepted(0);
    let stopped: Vec<_> = (0..5).map(|_| narrow_viewer(&world, 32 * KIB, seal.clone())).collect();
    advance(&world, &mut fast, 0..200, 100_000);
    let mut ended: Vec<ConnId> = stopped
        .iter()
        .map(|_| match world.await_ended(0) {
            (conn, End::Evicted) => conn,
            other => panic!("{other:?}"),
        })
        .collect();
    ended.sort();
    let mut wanted: Vec<ConnId> = stopped.iter().map(|(conn, _)| *conn).collect();
    wanted.sort();
    assert_eq!(ended, wanted);
    assert_eq!(world.counters[0].cursors_closed_evicted.value(), 5);
    assert_eq!((fast.seen.skips, fast.seen.records), (0, 200));
    let kept = (feed.head() - feed.tail()) / BLOCK_BYTES as u64;
    let used = world.pool.usage().used;
    assert!(used <= kept + 6, "{used} blocks for a window of {kept}");
}

/// A reader that becomes writable in the very pass in which it is to be evicted.
#[test]
fn readers_that_wake_while_they_are_evicted_tear_nothing() {
    let world = World::new(1);
    world.feed(window(MIB), Class::Realtime);
    let mut fast = Client::new(world.connect(0));
    world.await_accepted(0);
    for round in 0..40_u64 {
        let (conn, mut slow) = narrow_viewer(&world, 32 * KIB, None);
        let reader = std::thread::spawn(move || {
            slow.read_until(|seen| seen.records > 0 || seen.first.is_some());
            let mut bytes = vec![0; 64 * KIB];
            slow.stream.set_read_timeout(Some(PATIENCE)).unwrap();
            // A reset may throw away what was not read; what is read is right.
            while let Ok(count @ 1..) = std::io::Read::read(&mut slow.stream, &mut bytes[..]) {
                slow.pieces.feed(&bytes[..count]);
                while slow.pieces.next().is_some() {}
            }
        });
        advance(&world, &mut fast, round * 30..round * 30 + 30, 100_000);
        world.run(0, move |_, core| core.abort(conn));
        reader.join().unwrap();
    }
    assert_eq!(fast.seen.skips, 0);
}

/// Blocks are handed to the socket by `sendfile`, given back, punched and written again while the peer has not
/// acknowledged them.
#[test]
fn pages_that_a_stopped_reader_has_not_taken_survive_the_reuse_of_their_blocks() {
    // One word of its bitmap: the blocks given back first are taken again first.
    let world = World::with(1, 16, 16 * MIB);
    let feed = world.feed(window(8 * MIB), Class::Interactive);
    let mut fast = Client::new(world.connect(0));
    world.await_accepted(0);
    let wide = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    wide.set_recv_buffer_size(4 * MIB as usize).unwrap();
    wide.connect(&world.addresses[0].into()).unwrap();
    wide.set_read_timeout(Some(PATIENCE)).unwrap();
    let conn = world.await_accepted(0);
    let mut stopped = Client::new(wide.into());
    let mut number = 0;
    let mut punched = 0;
    // Until blocks from the window on, so far as its claim allows, have been written in the place of those it was sent.
    while feed.evict_below() == 0 && feed.tail() < 7 * MIB {
        world.write(move |writer| append(writer, number, 250_000, 4));
        // Both start at the first record.
        world.await_on(0, |_, core| core.counters().cursors_joined.value() == 2);
        fast.read_until(|seen| seen.last == Some(number));
        punched += world.pool.punch_pending(usize::MAX).unwrap();
        number += 1;
    }
    assert!(
        world.counters[0].sendfiles.value() > 0 && punched > 0,
        "{punched} blocks"
    );
    // Blocks are given back from the first on, and of that one it was sent everything and has read nothing. Whether it has
    // been moved meanwhile depends on how much its socket takes.
    let taken = world.run(0, move |_, core| core.bytes_sent(conn));
    assert!(taken > BLOCK_BYTES as u64, "{taken} bytes are under way");
    stopped.read_until(|seen| seen.last == Some(number - 1));
    assert_eq!(fast.seen.skips, 0);
}

/// Rests of records are bounded for a shard: what does not fit is closed with a reason, and what is gone makes room.
#[test]
fn rests_of_records_are_bounded_and_come_back() {
    wraps().into_iter().for_each(rests_are_bounded);
}

fn rests_are_bounded(seal: Option<XorKey>) {
    let world = World::new(1);
    world.feed(crate::viewers::KEEPS_ALL, Class::Interactive);
    world.write(|writer| append(writer, 0, 6_000_000, 1));
    for _ in 0..3 {
        let viewers: Vec<_> = (0..3).map(|_| narrow_viewer(&world, 32 * KIB, seal.clone())).collect();
        let conns: Vec<ConnId> = viewers.iter().map(|(conn, _)| *conn).collect();
        for conn in conns.clone() {
            world.await_on(0, move |_, core| {
                !core.is_on_boundary(conn) && core.bytes_sent(conn) > 1000
            });
        }
        let leaving = conns.clone();
        world.run(0, move |_, core| leaving.iter().for_each(|conn| core.leave_feed(*conn)));
        assert_eq!(world.await_ended(0), (conns[2], End::Lagged));
        world.run(0, move |_, core| conns[..2].iter().for_each(|conn| core.abort(*conn)));
        assert_eq!([world.await_ended(0).1, world.await_ended(0).1], [End::Aborted; 2]);
    }
    assert_eq!(world.counters[0].cursors_closed_lag.value(), 3);
}

/// Its viewers hold the feed. The others' feed ends before that memory is all there is, a new one takes its place, and what
/// was held comes back when the shard moves again.
#[test]
fn a_shard_that_stands_still_costs_what_it_may_hold_and_gives_it_back() {
    let world = World::new(2);
    let feed = world.feed(window(2 * MIB), Class::Interactive);
    let mut fast = Client::new(world.connect(0));
    let mut held = Client::new(world.connect(1));
    world.await_accepted(0);
    let conn = world.await_accepted(1);
    advance(&world, &mut fast, 0..1, 100_000);
    held.read_until(|seen| seen.last == Some(0));
    world.await_on(1, move |_, core| core.is_on_boundary(conn));
    let open = hold(&world, 1);
    let mut number = 1;
    let error = loop {
        let result = world.write(move |writer| try_append(writer, number, 100_000, 10));
        if let Err(error) = result {
            break error;
        }
        fast.read_until(|seen| seen.last == Some(number));
        number += 1;
    };
    assert!(matches!(error, FeedError::Claimed { .. }), "{error:?}");
    let held_bytes = world.pool.usage().used * BLOCK_BYTES as u64;
    assert!((4 * MIB..8 * MIB).contains(&held_bytes), "{held_bytes} bytes");
    world.write(|writer| writer.finish());
    fast.read_to_end();
    // As the appliance does it: the next viewer gets a new feed.
    world.run(0, |stage, core| {
        let before = stage.feed.take().unwrap();
        core.close_feed(before);
        let writer = Writer::create(core.pool(), window(2 * MIB)).unwrap();
        stage.feed = Some(core.open_feed(writer.feed().clone(), Class::Interactive));
        stage.writer = Some(writer);
    });
    let mut next = Client::new(world.connect(0));
    world.await_accepted(0);
    advance(&world, &mut next, 0..30, 100_000);
    drop(feed);
    open.send(()).unwrap();
    assert_eq!(world.await_ended(1), (conn, End::Evicted));
    world.run(1, |stage, core| core.close_feed(stage.feed.take().unwrap()));
    world.pool.punch_pending(usize::MAX).unwrap();
    let left_bytes = world.pool.usage().used * BLOCK_BYTES as u64;
    assert!(left_bytes < 3 * MIB, "{left_bytes} bytes are left");
}
