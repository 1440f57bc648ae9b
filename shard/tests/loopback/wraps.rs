//! What is sent is the same whether it goes by reference or through a seal: session bytes, skips, partial sends, moves and
//! ends, each while a piece is half sent.

use penstock_shard::connection::ConnId;
use penstock_shard::core::End;
use penstock_shard::fanout::Class;
use penstock_shard::feed::Config;

use crate::slow::narrow_viewer;
use crate::viewers::KEEPS_ALL;
use crate::wire::{Client, Kind, Noise, XorKey, append, piece, wraps};
use crate::world::{Fact, World};

/// A viewer whose socket is full somewhere in record 0, which is large.
fn half_sent(world: &World, seal: Option<XorKey>) -> (ConnId, Client) {
    let (conn, client) = narrow_viewer(world, 16 * 1024, seal);
    world.write(|writer| append(writer, 0, 1_500_000, 50));
    world.await_on(0, move |_, core| {
        core.bytes_sent(conn) > 1000 && core.counters().sends_full.value() > 0
    });
    (conn, client)
}

#[test]
fn session_bytes_wait_for_the_end_of_a_record_that_is_half_sent() {
    for seal in wraps() {
        let world = World::new(1);
        world.feed(KEEPS_ALL, Class::Interactive);
        let (conn, mut client) = half_sent(&world, seal);
        world.run(0, move |_, core| {
            assert!(!core.is_on_boundary(conn));
            for (number, bytes) in [(1, 0), (2, 100), (3, 40_000)] {
                core.send(conn, &piece(Kind::Ping, number, bytes));
            }
        });
        world.write(|writer| append(writer, 1, 100, 50));
        client.read_until(|seen| seen.last == Some(1));
        assert_eq!(
            (&client.seen.pings[..], &client.seen.behind[..]),
            (&[1, 2, 3][..], &[Some(0); 3][..])
        );
    }
}

/// Session bytes of all sizes while the socket takes a little at a time; each ping must stand between two records.
#[test]
fn partial_sends_of_everything_are_put_together_again() {
    for seal in wraps() {
        let world = World::new(1);
        world.feed(KEEPS_ALL, Class::Realtime);
        let (conn, mut client) = narrow_viewer(&world, 16 * 1024, seal);
        let mut noise = Noise(0x0DD5_EED5);
        let mut pinged = 0;
        for number in 0..150 {
            let bytes = noise.between(1, [50, 5_000, 90_000][number as usize % 3]) as usize;
            world.write(move |writer| append(writer, number, bytes, 50));
            for _ in 0..noise.next() % 3 {
                let bytes = noise.between(0, 9_000) as usize;
                world.run(0, move |_, core| core.send(conn, &piece(Kind::Ping, pinged, bytes)));
                pinged += 1;
            }
            if number % 5 == 4 {
                client.read_until(|seen| seen.last.is_some_and(|last| last + 3 > number));
            }
        }
        client.read_until(|seen| seen.last == Some(149) && seen.pings.len() as u64 == pinged);
        assert!(client.seen.pings.iter().copied().eq(0..pinged));
        assert_eq!((client.seen.skips, client.seen.records), (0, 150));
        let full = world.counters[0].sends_full.value();
        assert!(full > 30, "the socket was full {full} times");
    }
}

/// It stands in a record that has left the window, with a buffer of it half sent, and session bytes wait: the record ends,
/// they follow, then it is moved.
#[test]
fn a_skip_comes_behind_what_is_half_sent() {
    for seal in wraps() {
        let world = World::new(1);
        let keeps_little = Config {
            lag_max_micros: 50_000,
            bytes_max: 512 * 1024,
            claimed_bytes_max: 32 * 1024 * 1024,
        };
        let feed = world.feed(keeps_little, Class::Interactive);
        let (conn, mut client) = half_sent(&world, seal);
        world.run(0, move |_, core| core.send(conn, &piece(Kind::Ping, 1, 30_000)));
        for number in 1..160 {
            world.write(move |writer| append(writer, number, 20_000, 50));
        }
        assert!(feed.tail() > 1_500_000, "its record has left");
        world.write(|writer| writer.finish());
        let seen = client.read_to_end();
        assert_eq!((seen.first, seen.last, seen.skips), (Some(0), Some(159), 1));
        assert_eq!((&seen.pings[..], &seen.behind[..]), (&[1][..], &[Some(0)][..]));
        assert_eq!(world.counters[0].cursors_skipped.value(), 1);
    }
}

/// Where it is moved to is decided when the rest of its record has gone out, however long that takes it: what is newest then.
#[test]
fn a_reader_that_trickles_is_moved_when_the_rest_is_sent() {
    for seal in wraps() {
        let world = World::new(1);
        let keeps_little = Config {
            lag_max_micros: 50_000,
            bytes_max: 512 * 1024,
            claimed_bytes_max: 32 * 1024 * 1024,
        };
        let feed = world.feed(keeps_little, Class::Interactive);
        let (_, mut client) = half_sent(&world, seal);
        let write = |numbers: std::ops::Range<u64>| {
            for number in numbers {
                world.write(move |writer| append(writer, number, 20_000, 50));
            }
        };
        write(1..160);
        assert!(feed.tail() > 1_500_000, "its record has left");
        client.read_until(|seen| seen.bytes > 700_000);
        assert_eq!(world.counters[0].cursors_skipped.value(), 0, "it is inside its record");
        write(160..320);
        world.write(|writer| writer.finish());
        let seen = client.read_to_end();
        assert_eq!((seen.first, seen.last, seen.skips), (Some(0), Some(319), 1));
        assert_eq!(world.counters[0].cursors_skipped.value(), 1);
    }
}

/// A player that pauses in the middle of a record, moves to another shard, and plays on there.
#[test]
fn a_viewer_that_moves_with_a_piece_half_sent_plays_on() {
    for seal in wraps() {
        let world = World::new(2);
        world.feed(KEEPS_ALL, Class::Interactive);
        let (conn, mut client) = half_sent(&world, seal);
        world.run(0, move |_, core| {
            core.leave_feed(conn);
            core.send(conn, &piece(Kind::Ping, 1, 100));
            core.detach(conn);
        });
        let moved = world.await_fact(0, |fact| match fact {
            Fact::Detached(of, detached) if of == conn => Some(detached),
            Fact::Ended(_, why) => panic!("{why:?}"),
            _ => None,
        });
        assert!(!moved.unsent.is_empty());
        let conn = world.run(1, |_, core| {
            let conn = core.adopt(moved).unwrap();
            core.send(conn, &piece(Kind::Ping, 2, 100));
            conn
        });
        client.read_until(|seen| seen.pings == [1, 2]);
        assert_eq!(client.seen.behind, [Some(0); 2]);
        // What follows begins with a join header, as the session wants it.
        client.seen = Default::default();
        world.write(|writer| append(writer, 50, 3000, 50));
        world.run(1, move |stage, core| core.join(conn, stage.feed.unwrap()));
        assert_eq!(client.read_until(|seen| seen.last == Some(50)).first, Some(50));
        world.run(1, move |_, core| core.finish(conn));
        client.read_to_end();
        drop(client);
        assert_eq!(world.await_ended(1), (conn, End::Finished));
    }
}

/// Finished with a record and an answer half sent: both come whole, then the end.
#[test]
fn an_end_comes_behind_what_is_half_sent() {
    for seal in wraps() {
        let world = World::new(1);
        world.feed(KEEPS_ALL, Class::Interactive);
        let (conn, mut client) = half_sent(&world, seal);
        world.run(0, move |_, core| {
            core.send(conn, &piece(Kind::Ping, 1, 100_000));
            core.finish(conn);
        });
        let seen = client.read_to_end();
        assert_eq!((seen.last, &seen.behind[..]), (Some(0), &[Some(0)][..]));
        drop(client);
        assert_eq!(world.await_ended(0), (conn, End::Finished));
    }
}
