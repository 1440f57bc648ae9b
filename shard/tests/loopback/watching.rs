//! Viewers that change shards while they watch: the same bytes, wherever in a record they stand; what is claimed for them
//! on their way; who can move at all; and places of the table that are kept for them.

use std::io::Read;

use penstock_shard::connection::ConnId;
use penstock_shard::core::{Detached, End};
use penstock_shard::fanout::Class;
use penstock_shard::feed::{Config, Feed};

use crate::slow::narrow_viewer;
use crate::viewers::KEEPS_ALL;
use crate::wire::{Client, Kind, XorKey, append, piece, wraps};
use crate::world::{Fact, World};

const KIB: usize = 1024;
const HOPS: u64 = 12;
const RECORD_BYTES: usize = 200_000;

fn taken_off(world: &World, shard: usize, conn: ConnId) -> Detached {
    world.run(shard, move |_, core| core.detach(conn));
    world.await_fact(shard, |fact| match fact {
        Fact::Detached(of, detached) => (of == conn).then_some(detached),
        Fact::Ended(of, why) => panic!("{of:?}: {why:?}"),
        _ => None,
    })
}

/// Claimed there, let go here, taken in there.
fn hop(world: &World, feed: &Feed, from: usize, to: usize, conn: ConnId) -> ConnId {
    let floor = feed.released(from);
    world.run(to, move |stage, core| core.hold(stage.feed.unwrap(), floor).unwrap());
    assert_eq!(feed.released(to), floor);
    let detached = taken_off(world, from, conn);
    assert_eq!(feed.released(from), u64::MAX, "nothing is claimed where nobody watches");
    world.run(to, move |stage, core| {
        let feed = stage.feed.unwrap();
        let conn = core.adopt_viewer(detached, feed).unwrap();
        core.let_go(feed, floor);
        conn
    })
}

#[test]
fn a_viewer_that_moves_inside_a_record_sees_a_contiguous_run() {
    wraps().into_iter().for_each(a_viewer_moves);
}

fn a_viewer_moves(seal: Option<XorKey>) {
    let world = World::new(2);
    let feed = world.feed(KEEPS_ALL, Class::Interactive);
    let (mut conn, mut client) = narrow_viewer(&world, 16 * KIB, seal);
    for number in 0..HOPS {
        let (from, to) = ((number % 2) as usize, (number % 2) as usize ^ 1);
        world.write(move |writer| append(writer, number, RECORD_BYTES, 1));
        world.await_on(from, move |_, core| !core.is_on_boundary(conn));
        world.run(from, move |_, core| core.send(conn, &piece(Kind::Ping, number, 1000)));
        conn = hop(&world, &feed, from, to, conn);
        world.run(to, move |_, core| assert!(!core.is_on_boundary(conn)));
        // Up to somewhere inside the record.
        let bytes = client.seen.bytes + RECORD_BYTES as u64 / 2;
        client.read_until(|seen| seen.bytes >= bytes);
    }
    world.write(|writer| writer.finish());
    let seen = client.read_to_end();
    assert_eq!((seen.first, seen.last, seen.skips), (Some(0), Some(HOPS - 1), 0));
    assert_eq!((seen.records, seen.pings.len() as u64), (HOPS, HOPS));
    assert!(seen.pings.is_sorted());
    let counted = [0, 1].map(|shard| world.counters[shard].connections_moved_in.value());
    // Shard 0 has adopted the viewer itself, to begin with.
    assert_eq!(counted, [HOPS / 2 + 1, HOPS / 2]);
}

/// A window of a few records.
const SHORT: Config = Config {
    lag_max_micros: 100_000,
    bytes_max: 1024 * 1024,
    claimed_bytes_max: 32 * 1024 * 1024,
};

/// A viewer that stands inside record 0 while the feed goes on past it, taken off its shard.
fn left_behind(world: &World, hold: impl FnOnce(&World, u64)) -> (Detached, Client) {
    let feed = world.feed(SHORT, Class::Interactive);
    let (conn, client) = narrow_viewer(world, 16 * KIB, None);
    world.write(|writer| append(writer, 0, RECORD_BYTES, 1));
    world.await_on(0, move |_, core| !core.is_on_boundary(conn));
    hold(world, feed.released(0));
    let detached = taken_off(world, 0, conn);
    for number in 1..60 {
        world.write(move |writer| append(writer, number, RECORD_BYTES, 1));
    }
    assert!(feed.tail() > RECORD_BYTES as u64);
    (detached, client)
}

#[test]
fn what_is_held_for_a_viewer_on_its_way_is_not_given_back() {
    let world = World::new(2);
    let hold =
        |world: &World, floor: u64| world.run(1, move |stage, core| core.hold(stage.feed.unwrap(), floor).unwrap());
    let (detached, mut client) = left_behind(&world, hold);
    world.run(1, move |stage, core| {
        core.adopt_viewer(detached, stage.feed.unwrap()).unwrap();
    });
    world.write(|writer| writer.finish());
    let seen = client.read_to_end();
    // The rest of its record, and then on from a newer one.
    assert_eq!((seen.first, seen.last, seen.skips), (Some(0), Some(59), 1));
}

#[test]
fn a_viewer_for_whom_nothing_was_held_is_closed_and_sees_no_hole() {
    let world = World::new(2);
    let (detached, mut client) = left_behind(&world, |_, _| ());
    world.run(1, move |stage, core| {
        core.adopt_viewer(detached, stage.feed.unwrap());
    });
    assert_eq!(world.await_ended(1).1, End::Lagged);
    assert_eq!(world.counters[1].cursors_closed_lag.value(), 1);
    let mut rest = Vec::new();
    let _reset = client.stream.read_to_end(&mut rest);
    assert!(rest.len() < RECORD_BYTES, "nothing behind what was sent before");
}

#[test]
fn who_is_slow_or_being_ended_stays() {
    let world = World::new(1);
    world.feed(KEEPS_ALL, Class::Interactive);
    let (slow, _unread) = narrow_viewer(&world, 16 * KIB, None);
    let mut prompt = Client::new(world.connect(0));
    let well = world.await_accepted(0);
    let mut going = Client::new(world.connect(0));
    let ending = world.await_accepted(0);
    world.write(|writer| append(writer, 0, RECORD_BYTES, 1));
    for client in [&mut prompt, &mut going] {
        client.read_until(|seen| seen.last == Some(0));
    }
    world.await_on(0, move |stage, core| {
        let movable: Vec<ConnId> = core.movable(stage.feed.unwrap()).map(|(conn, _)| conn).collect();
        movable.contains(&well) && movable.contains(&ending)
    });
    let movable = world.run(0, move |stage, core| {
        core.finish(ending);
        core.detach(ending);
        let movable = core.movable(stage.feed.unwrap());
        movable.map(|(conn, _)| conn).collect::<Vec<_>>()
    });
    assert_eq!(movable, [well], "{slow:?} stands inside a record");
    assert_eq!(going.read_to_end().last, Some(0), "who is being ended has its end");
}

#[test]
fn a_seat_that_is_kept_is_nobody_elses() {
    let world = World::with(1, 2, 64 * 1024 * 1024);
    world.run(0, |_, core| {
        core.keep_seats(1);
        assert_eq!(core.room(), 1);
    });
    let _first = world.connect(0);
    world.await_accepted(0);
    let mut second = world.connect(0);
    assert_eq!(second.read(&mut [0; 1]).unwrap_or(0), 0, "there is no place for it");
    assert_eq!(world.counters[0].connections_refused_full.value(), 1);
    let (fd, _stream) = crate::slow::connected_pair(16 * KIB);
    world.run(0, move |_, core| {
        core.give_seats(1);
        assert!(core.adopt(fd.into()).is_some());
        assert_eq!(core.room(), 0);
    });
}
