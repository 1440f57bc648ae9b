//! Viewers of a packaging whose join header is read by the appliance, and not sent: it is told before anything of the feed
//! goes out, and what it sends then goes first.

use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, FeedId};
use penstock_shard::fanout::Class;
use penstock_shard::feed::Config;

use crate::slow::connected_pair;
use crate::viewers::KEEPS_ALL;
use crate::wire::{Client, Kind, XorKey, append, piece, wraps};
use crate::world::{Fact, Run, World};

/// The record that a header belongs to.
fn number_of(header: &[u8]) -> u64 {
    u64::from_le_bytes(header[5..13].try_into().unwrap())
}

/// The appliance answers with a ping that no header of the feed contains, and says where the viewer joins.
fn answers(world: &World, shards: usize) {
    for shard in 0..shards {
        world.run(shard, |stage, _| {
            let mut times = 0;
            stage.on_joining = Some(Box::new(move |core, conn, header| {
                assert_eq!(
                    header,
                    piece(Kind::Join, number_of(header), 40),
                    "the join header, whole"
                );
                times += 1;
                core.send(conn, &piece(Kind::Ping, times, 100));
                // To the reader, a second join is a skip: it goes on further ahead.
                let kind = if times == 1 { Kind::Join } else { Kind::Skip };
                core.send(conn, &piece(kind, number_of(header), 3));
            }));
        });
    }
}

fn viewer(
    world: &World,
    seal: Option<XorKey>,
    code: impl FnOnce(&mut Core<Run>, ConnId, FeedId) + Send + 'static,
) -> (ConnId, Client) {
    let (fd, stream) = connected_pair(32 * 1024);
    let mut client = Client::new(stream);
    client.key = seal.clone();
    let conn = world.run(0, move |stage, core| {
        let conn = core.adopt(fd.into()).unwrap();
        if let Some(seal) = seal {
            core.seal(conn, Box::new(seal));
        }
        code(core, conn, stage.feed.unwrap());
        conn
    });
    (conn, client)
}

fn await_joining(world: &World, shard: usize) -> ConnId {
    world.await_fact(shard, |fact| match fact {
        Fact::Joining(conn) => Some(conn),
        _ => None,
    })
}

/// Joins where a join point is, is paused, and resumes at another.
fn is_told_ahead_of_the_feed(seal: Option<XorKey>) {
    let world = World::new(1);
    world.feed(KEEPS_ALL, Class::Interactive);
    answers(&world, 1);
    world.write(|writer| {
        for number in 0..35 {
            append(writer, number, 5_000, 10);
        }
    });
    let (conn, mut client) = viewer(&world, seal, |core, conn, feed| core.join_with(conn, feed));
    assert_eq!(await_joining(&world, 0), conn);
    client.read_until(|seen| seen.last == Some(34));
    assert_eq!((client.seen.first, &client.seen.behind[..]), (Some(30), &[None][..]));
    world.run(0, move |_, core| core.leave_feed(conn));
    world.write(|writer| {
        for number in 35..72 {
            append(writer, number, 5_000, 10);
        }
    });
    world.run(0, move |_, core| core.send(conn, &piece(Kind::Ping, 99, 10)));
    client.read_until(|seen| seen.pings.len() == 2);
    world.run(0, move |stage, core| core.join_with(conn, stage.feed.unwrap()));
    client.read_until(|seen| seen.last == Some(71));
    assert_eq!(client.seen.pings, [1, 99, 2]);
    assert_eq!(client.seen.behind, [None, Some(34), Some(34)]);
    assert_eq!((client.seen.records, client.seen.skips), (5 + 2, 1));
    assert_eq!(world.counters[0].cursors_joined.value(), 2);
}

#[test]
fn the_appliance_is_told_ahead_of_the_feed_and_speaks_first() {
    wraps().into_iter().for_each(is_told_ahead_of_the_feed);
}

#[test]
fn who_waits_for_a_join_point_is_told_when_it_comes() {
    wraps().into_iter().for_each(|seal| {
        let world = World::new(1);
        world.feed(KEEPS_ALL, Class::Interactive);
        answers(&world, 1);
        let (conn, mut client) = viewer(&world, seal, |core, conn, feed| core.join_with(conn, feed));
        for number in 1..25 {
            world.write(move |writer| append(writer, number, 5_000, 20));
        }
        assert_eq!(await_joining(&world, 0), conn);
        assert_eq!(client.read_until(|seen| seen.last == Some(24)).first, Some(20));
        assert_eq!((&client.seen.pings[..], client.seen.behind[0]), (&[1][..], None));
    });
}

/// Twice in one breath is once, and who leaves again is not told at all.
#[test]
fn only_who_still_stands_there_is_told() {
    let world = World::new(1);
    world.feed(KEEPS_ALL, Class::Interactive);
    answers(&world, 1);
    world.write(|writer| append(writer, 0, 1_000, 10));
    let (left, _client) = viewer(&world, None, |core, conn, feed| {
        core.join_with(conn, feed);
        core.leave_feed(conn);
    });
    let (ended, _other) = viewer(&world, None, |core, conn, feed| {
        core.join_with(conn, feed);
        core.abort(conn);
    });
    let (conn, mut client) = viewer(&world, None, |core, conn, feed| {
        core.join_with(conn, feed);
        core.join_with(conn, feed);
    });
    assert!(left != conn && ended != conn);
    assert_eq!(await_joining(&world, 0), conn);
    client.read_until(|seen| seen.last == Some(0));
    assert_eq!(client.seen.pings, [1]);
    world.run(0, |_, core| core.check_invariants());
}

/// A slow viewer is moved: nothing but records, and they go on at a join point.
#[test]
fn a_skip_sends_nothing_beside_the_feed() {
    const RECORD_BYTES: usize = 40_000;
    let world = World::new(1);
    let keeps_little = Config {
        lag_max_micros: 100_000,
        bytes_max: 1024 * 1024,
        claimed_bytes_max: 32 * 1024 * 1024,
    };
    world.feed(keeps_little, Class::Interactive);
    world.run(0, |stage, _| {
        stage.on_joining = Some(Box::new(|core, conn, header| core.send(conn, header)));
    });
    world.write(|writer| append(writer, 0, RECORD_BYTES, 10));
    let (_, mut client) = viewer(&world, None, |core, conn, feed| core.join_with(conn, feed));
    for number in 1..300 {
        world.write(move |writer| append(writer, number, RECORD_BYTES, 10));
    }
    world.write(|writer| writer.finish());
    let mut seen = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let count = std::io::Read::read(&mut client.stream, &mut chunk).unwrap();
        if count == 0 {
            break;
        }
        client.pieces.feed(&chunk[..count]);
        seen.extend(std::iter::from_fn(|| client.pieces.next()));
    }
    assert!(client.pieces.is_empty());
    assert_eq!(seen[0], (Kind::Join, 0));
    assert!(seen[1..].iter().all(|(kind, _)| *kind == Kind::Record));
    let jumps: Vec<_> = seen[1..].windows(2).filter(|pair| pair[0].1 + 1 != pair[1].1).collect();
    assert!(jumps.iter().all(|pair| pair[0].1 < pair[1].1 && pair[1].1 % 10 == 0));
    assert_eq!(jumps.len() as u64, world.counters[0].cursors_skipped.value());
    assert!(!jumps.is_empty(), "it was moved");
    world.run(0, |stage, _| stage.on_joining = None);
}

/// Who waits on one shard is told on the shard where it joins; who was told goes on elsewhere without being told again.
#[test]
fn a_viewer_that_moves_is_told_once() {
    let world = World::new(2);
    world.feed(KEEPS_ALL, Class::Interactive);
    answers(&world, 2);
    let (conn, mut client) = viewer(&world, None, |core, conn, feed| core.join_with(conn, feed));
    let hop = |from: usize, to: usize, conn: ConnId| {
        world.run(from, move |_, core| core.detach(conn));
        let detached = world.await_fact(from, |fact| match fact {
            Fact::Detached(_, detached) => Some(detached),
            _ => None,
        });
        world.run(to, move |stage, core| {
            core.adopt_viewer(detached, stage.feed.unwrap()).unwrap()
        })
    };
    let conn = hop(0, 1, conn);
    world.write(|writer| append(writer, 0, 5_000, 10));
    assert_eq!(await_joining(&world, 1), conn);
    client.read_until(|seen| seen.last == Some(0));
    // The place is held for it meanwhile, as the appliance does it.
    world.run(0, |stage, core| core.hold(stage.feed.unwrap(), 0).unwrap());
    hop(1, 0, conn);
    world.write(|writer| append(writer, 1, 5_000, 10));
    client.read_until(|seen| seen.last == Some(1));
    assert_eq!((client.seen.first, &client.seen.pings[..]), (Some(0), &[1][..]));
    world.run(0, |stage, core| core.let_go(stage.feed.unwrap(), 0));
}
