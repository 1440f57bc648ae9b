//! What ranges cost their feed: turns, claims, evictions.

use penstock_shard::core::End;
use penstock_shard::fanout::{Class, Limit, Pause, Pauses, ZeroCopy};
use penstock_shard::feed::{Config, ENDS_OBJECT};
use penstock_shard::pool::BLOCK_BYTES;
use penstock_shard::shard::Sends;

use crate::answers::{Peer, answering, answering_by, bytes_at, grow};
use crate::viewers::KEEPS_ALL;
use crate::wire::wraps;
use crate::world::{Fact, World};

const MIB: u64 = 1024 * 1024;

/// Keeps about 1 MiB, and what is claimed behind it.
fn window(claimed_bytes_max: u64) -> Config {
    Config {
        lag_max_micros: 1,
        bytes_max: MIB / 4,
        claimed_bytes_max,
    }
}

/// Grows the feed record by record, each seen by the shard.
fn advance(world: &World, records: u64) {
    for _ in 0..records {
        world.write(|writer| grow(writer, 50_000, 0));
        world.pool.punch_pending(usize::MAX).unwrap();
    }
}

/// A peer that has been sent some of a range and reads nothing.
fn stopped(world: &World, seal: Option<crate::wire::XorKey>, start: u64, limit: Limit) -> Peer {
    let peer = Peer::narrow(world, 0, 16 * 1024, seal);
    peer.ask(world, b"head", start, limit);
    let conn = peer.conn;
    world.await_on(0, move |_, core| core.bytes_sent(conn) > 1000);
    peer
}

/// Behind the window, on a core that moves on whoever is behind: a range is sent whole all the same.
#[test]
fn a_range_behind_the_window_is_sent_whole() {
    for seal in wraps() {
        let none_left = Pauses {
            interactive: Pause { min: 0, max: 1 },
            ..Pauses::default()
        };
        let sends = Sends {
            pauses: none_left,
            ..Sends::default()
        };
        let world = World::made(1, 16, 64 * MIB, sends);
        let feed = world.feed(window(16 * MIB), Class::Interactive);
        world.run(0, |stage, _| stage.finishes = false);
        // Somebody who watches without end makes turns, and these an overload.
        let mut watching = world.connect(0);
        world.await_accepted(0);
        world.run(0, |stage, _| stage.joins = false);
        world.write(|writer| (0..10).for_each(|_| grow(writer, 90_000, 0)));
        let mut slow = stopped(&world, seal, 10_000, Limit::At(890_000));
        let reader = std::thread::spawn(move || std::io::copy(&mut watching, &mut std::io::sink()).unwrap());
        advance(&world, 100);
        assert!(feed.tail() > 3 * MIB && feed.evict_below() == 0);
        slow.expect(b"head");
        slow.expect(&bytes_at(10_000..890_000));
        slow.await_reached(&world);
        assert_eq!(world.counters[0].cursors_skipped.value(), 0);
        assert_eq!(world.counters[0].cursors_skipped_overload.value(), 0);
        world.write(|writer| writer.finish());
        world.run(0, |_, core| {
            for conn in core.connection_ids() {
                core.finish(conn);
            }
        });
        reader.join().unwrap();
    }
}

/// A feed that needs its memory back closes who stands long before the end of a range, and copies the little that is left
/// for who does not.
#[test]
fn an_evicted_range_is_closed_or_its_little_rest_copied() {
    for seal in wraps() {
        let (world, feed) = answering(1, window(2 * MIB), Class::Waiting);
        world.write(|writer| {
            (0..8).for_each(|_| grow(writer, 100_000, 0));
            grow(writer, 100_000, ENDS_OBJECT);
        });
        let far = [
            stopped(&world, seal.clone(), 0, Limit::At(900_000)),
            stopped(&world, seal.clone(), 700_000, Limit::At(u64::MAX)),
        ];
        let mut near = [
            stopped(&world, seal.clone(), 700_000, Limit::At(890_001)),
            stopped(&world, seal.clone(), 700_000, Limit::EndOfObject),
        ];
        near.iter()
            .for_each(|peer| peer.on(&world, |core, conn| core.send(conn, b"behind")));
        // Of this one not even the head has gone out: its socket is full of what was before.
        let before = vec![b'x'; 150_000];
        let mut unbegun = Peer::narrow(&world, 0, 16 * 1024, seal.clone());
        unbegun.on(&world, {
            let before = before.clone();
            move |core, conn| core.send(conn, &before)
        });
        unbegun.ask(&world, b"head", 700_000, Limit::At(890_001));
        unbegun.on(&world, |core, conn| core.send(conn, b"behind"));
        advance(&world, 120);
        let mut ended = [0; 2].map(|_| world.await_ended(0));
        ended.sort_by_key(|(conn, _)| conn.number());
        let mut wanted = far.map(|peer| (peer.conn, End::Evicted));
        wanted.sort_by_key(|(conn, _)| conn.number());
        assert_eq!(ended, wanted);
        // The others wait for their readers, and hold nothing of the feed.
        world.await_on(0, |_, core| core.counters().ranges_copied.value() == 3);
        world.run(0, |_, core| core.check_invariants());
        assert_eq!(feed.released(0), u64::MAX);
        unbegun.expect(&before);
        let others = near.iter_mut().chain([&mut unbegun]);
        for (peer, end) in others.zip([890_001, 900_000, 890_001]) {
            peer.expect(b"head");
            peer.expect(&bytes_at(700_000..end));
            peer.expect(b"behind");
            peer.await_reached(&world);
            peer.expect_quiet(&world);
        }
    }
}

/// A peer that reads nothing holds its claim, and a feed that grows does not make its shard look at it each time.
#[test]
fn a_feed_of_ranges_that_are_there_has_no_turn_when_it_grows() {
    let (world, _) = answering(1, KEEPS_ALL, Class::Realtime);
    world.write(|writer| (0..10).for_each(|_| grow(writer, 100_000, 0)));
    let mut peer = stopped(&world, None, 0, Limit::At(1_000_000));
    let turns = world.counters[0].turns.value();
    advance(&world, 100);
    assert_eq!(world.counters[0].turns.value(), turns, "there is nothing to do");
    peer.expect(b"head");
    peer.expect(&bytes_at(0..1_000_000));
    peer.await_reached(&world);
    assert_eq!(world.counters[0].turns.value(), turns, "nor was there to send it");
}

/// What is held back behind the window goes back while one of those who held it stands, and soon; what the last one held,
/// at once.
#[test]
fn blocks_go_back_while_a_slow_reader_of_one_range_stands() {
    let (world, feed) = answering(1, window(64 * MIB), Class::Waiting);
    world.write(|writer| (0..9).for_each(|_| grow(writer, 100_000, 0)));
    let mut first = stopped(&world, None, 0, Limit::At(900_000));
    advance(&world, 100);
    let second_start = feed.tail();
    let mut second = stopped(&world, None, second_start, Limit::At(second_start + 900_000));
    advance(&world, 100);
    assert!(feed.released(0) < 100_000, "the first holds everything");
    let blocks = || world.pool.usage().used;
    let before = blocks();
    first.expect(b"head");
    first.expect(&bytes_at(0..900_000));
    first.await_reached(&world);
    world.await_on(0, {
        let feed = feed.clone();
        move |_, _| feed.released(0) >= second_start
    });
    advance(&world, 1);
    let back = before - blocks();
    assert!(back + 2 >= second_start / BLOCK_BYTES as u64, "{back} blocks came back");
    let turns = world.counters[0].turns.value();
    second.expect(b"head");
    second.expect(&bytes_at(second_start..second_start + 900_000));
    second.await_reached(&world);
    assert_eq!(feed.released(0), u64::MAX, "a feed of finished ranges is not held");
    advance(&world, 1);
    assert!(blocks() <= 5 * MIB / BLOCK_BYTES as u64 + 8, "{} blocks", blocks());
    assert!(world.counters[0].turns.value() <= turns + 4);
}

/// A hundred wait for the part that is being made; the pass behind the one that makes it sends it to all of them, and no
/// clock has a say in it.
#[test]
fn those_who_wait_are_sent_what_comes_in_the_next_pass() {
    const BYTES: u64 = 4096;
    let (world, _) = answering(1, KEEPS_ALL, Class::Waiting);
    let mut peers: Vec<Peer> = (0..100).map(|_| Peer::narrow(&world, 0, 64 * 1024, None)).collect();
    let conns: Vec<_> = peers.iter().map(|peer| peer.conn).collect();
    for peer in &mut peers {
        peer.ask(&world, b"head", 0, Limit::EndOfObject);
        peer.expect(b"head");
    }
    // Each is a pass, behind whose completions everybody has found that there is no more.
    (0..3).for_each(|_| world.run(0, |_, core| core.check_invariants()));
    let counters = &world.counters[0];
    let before = (counters.turns_waiting.value(), counters.turn_sends_waiting.value());
    let parks = world.run(0, move |stage, core| {
        let writer = stage.writer.as_mut().unwrap();
        grow(writer, BYTES, ENDS_OBJECT);
        let feed = writer.feed().clone();
        core.feed_grew(&feed, stage.feed);
        let parks = core.counters().parks.value();
        let entries = core.counters().kernel_entries.value();
        let conns = conns.clone();
        stage.on_timer = Some(Box::new(move |core, _| {
            let sent = conns.iter().filter(|conn| core.bytes_sent(**conn) == BYTES + 4).count();
            assert_eq!(sent, 100, "all of them");
            assert_eq!(core.counters().kernel_entries.value(), entries + 1, "in the next pass");
            assert_eq!(core.counters().parks.value(), parks, "without a sleep");
        }));
        // The next pass has a later time.
        core.set_timer(core.now() + 1, 0);
        parks
    });
    world.await_fact(0, |fact| matches!(fact, Fact::Timer(0)).then_some(()));
    assert!(world.counters[0].parks.value() >= parks);
    for peer in &mut peers {
        peer.expect(&bytes_at(0..BYTES));
    }
    let turns = counters.turns_waiting.value() - before.0;
    assert_eq!((turns, counters.turn_sends_waiting.value() - before.1), (1, 100));
    assert_eq!(counters.pause_micros_waiting.value(), 0);
}

/// Ranges by zero-copy sends: what their peers have not taken outlives the range, its claim and the block.
#[test]
fn a_range_that_goes_by_reference_is_its_bytes() {
    let sends = Sends {
        zero_copy: ZeroCopy::On,
        ..Sends::default()
    };
    let world = World::made(1, 16, 32 * MIB, sends);
    let (world, feed) = answering_by(world, window(16 * MIB), Class::Buffered);
    let mut peer = Peer::narrow(&world, 0, 256 * 1024, None);
    for round in 0..20 {
        world.write(|writer| (0..6).for_each(|_| grow(writer, 50_000, 0)));
        let (start, end) = (feed.head() - 290_000, feed.head() - round * 10_000);
        peer.ask(&world, b"head", start, Limit::At(end));
        if round % 2 == 0 {
            peer.await_reached(&world);
            advance(&world, 20);
        }
        peer.expect(b"head");
        peer.expect(&bytes_at(start..end));
        if round % 2 == 1 {
            peer.await_reached(&world);
        }
        peer.expect_quiet(&world);
    }
    assert!(world.counters[0].sends_zero_copy.value() > 20);
}

/// Placement knows what a core does for those who fetch piece by piece, though none of them watches a feed.
#[test]
fn what_is_fetched_is_a_part_of_the_load() {
    for fetched in [0, 400] {
        let (world, _) = answering(1, KEEPS_ALL, Class::Buffered);
        world.write(|writer| grow(writer, 4000, ENDS_OBJECT));
        let mut peer = Peer::narrow(&world, 0, 64 * 1024, None);
        for number in 0..fetched {
            match number % 2 {
                0 => peer.ask(&world, b"", 0, Limit::EndOfObject),
                _ => peer.on(&world, |core, conn| core.send_shared(conn, bytes_at(0..4000).into())),
            }
            peer.expect(&bytes_at(0..4000));
            peer.await_reached(&world);
        }
        // The first measurement has the thread's start in it, and says nothing of other work.
        world.run(0, |_, core| core.set_timer(core.now() + 300_000, 0));
        world.await_fact(0, |fact| matches!(fact, Fact::Timer(0)).then_some(()));
        let load = world.run(0, |_, core| {
            core.measure_load();
            core.load(core.id())
        });
        assert_eq!(load > 0, fetched > 0, "{load} µs a second for {fetched} answers");
        let none = world.run(0, |_, core| {
            core.forget_load();
            core.load(core.id())
        });
        assert_eq!(none, 0);
    }
}
