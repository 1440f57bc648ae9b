//! Connections that move between shards, and the bytes of sessions.

use std::io::Write;
use std::sync::{Arc, Mutex};

use penstock_shard::core::{Detached, End};
use penstock_shard::fanout::Class;

use crate::slow::{connected_pair, narrow_viewer};
use crate::viewers::KEEPS_ALL;
use crate::wire::{Client, Kind, XorKey, append, piece, wraps};
use crate::world::{Fact, World};

const HOPS: u64 = 24;

/// The peer sends numbers all the time, and reads nothing until the end.
#[test]
fn a_connection_that_moves_loses_no_byte_either_way() {
    wraps().into_iter().for_each(a_connection_moves);
}

fn a_connection_moves(seal: Option<XorKey>) {
    let world = World::new(2);
    let arrived = Arc::new(Mutex::new(Vec::new()));
    for shard in 0..2 {
        let arrived = arrived.clone();
        world.run(shard, move |stage, _| {
            stage.on_received = Some(Box::new(move |_, _, bytes| {
                arrived.lock().unwrap().extend_from_slice(bytes);
            }));
        });
    }
    let (fd, stream) = connected_pair(8 * 1024);
    let mut sending = stream.try_clone().unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let peer = std::thread::spawn(move || {
        let mut number = 0_u64;
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let batch: Vec<u8> = (number..number + 300).flat_map(u64::to_be_bytes).collect();
            sending.write_all(&batch).unwrap();
            number += 300;
        }
        sending.shutdown(std::net::Shutdown::Write).unwrap();
        number
    });
    let mut moving = Detached::from(fd);
    let mut carried = 0;
    for hop in 0..HOPS {
        let shard = (hop % 2) as usize;
        let before = arrived.lock().unwrap().len();
        // From the first shard on it is sealed, wherever it goes.
        let first_seal = seal.clone().filter(|_| hop == 0);
        let conn = world.run(shard, move |_, core| {
            let conn = core.adopt(moving).unwrap();
            if let Some(seal) = first_seal {
                core.seal(conn, Box::new(seal));
            }
            core.send(conn, &piece(Kind::Ping, hop, 10_000));
            conn
        });
        // It stays until bytes have come on this shard.
        while arrived.lock().unwrap().len() == before {
            std::thread::yield_now();
        }
        world.run(shard, move |_, core| core.detach(conn));
        moving = world.await_fact(shard, |fact| match fact {
            Fact::Detached(of, detached) => Some((of == conn).then_some(detached).unwrap()),
            _ => None,
        });
        carried += moving.unsent.len();
    }
    assert!(carried > 0, "unsent bytes moved with it");
    let conn = world.run(0, move |_, core| core.adopt(moving).unwrap());
    let mut client = Client::new(stream);
    client.key = seal;
    client.read_until(|seen| seen.pings.len() as u64 == HOPS);
    stop.send(()).unwrap();
    assert_eq!(client.seen.pings, (0..HOPS).collect::<Vec<_>>());
    let numbers = peer.join().unwrap();
    assert_eq!(world.await_ended(0), (conn, End::Peer));
    let arrived = arrived.lock().unwrap();
    let (arrived, rest) = arrived.as_chunks::<8>();
    assert!(rest.is_empty());
    assert!(arrived.iter().map(|bytes| u64::from_be_bytes(*bytes)).eq(0..numbers));
    assert_eq!(world.counters[0].connections_moved_in.value(), HOPS / 2 + 1);
}

/// The rest of a record is the feed's, not an answer that the peer made us give.
#[test]
fn a_viewer_that_leaves_inside_a_large_record_can_still_be_answered() {
    wraps().into_iter().for_each(a_viewer_leaves_inside_a_large_record);
}

fn a_viewer_leaves_inside_a_large_record(seal: Option<XorKey>) {
    let world = World::new(1);
    world.feed(KEEPS_ALL, Class::Interactive);
    let (conn, mut client) = narrow_viewer(&world, 16 * 1024, seal);
    world.write(|writer| append(writer, 0, 1_500_000, 1));
    world.await_on(0, move |_, core| {
        !core.is_on_boundary(conn) && core.bytes_sent(conn) > 1000
    });
    world.run(0, move |_, core| {
        core.leave_feed(conn);
        core.send(conn, &piece(Kind::Ping, 7, 100));
        core.detach(conn);
    });
    let moved = world.await_fact(0, |fact| match fact {
        Fact::Detached(_, detached) => Some(detached),
        Fact::Ended(_, why) => panic!("{why:?}"),
        _ => None,
    });
    assert!(moved.unsent.len() > 1_000_000);
    world.run(0, |_, core| {
        let conn = core.adopt(moved).unwrap();
        core.send(conn, &piece(Kind::Ping, 8, 100));
        core.finish(conn);
    });
    let seen = client.read_to_end();
    assert_eq!((seen.last, &seen.pings[..]), (Some(0), &[7, 8][..]));
    assert_eq!(seen.behind, [Some(0); 2]);
    drop(client);
    assert_eq!(world.await_ended(0).1, End::Finished);
}

#[test]
fn a_peer_that_makes_us_answer_and_does_not_read_is_closed() {
    wraps().into_iter().for_each(a_peer_makes_us_answer);
}

fn a_peer_makes_us_answer(seal: Option<XorKey>) {
    let world = World::new(1);
    let (fd, _stream) = connected_pair(16 * 1024);
    let answers = world.run(0, move |_, core| {
        let conn = core.adopt(fd.into()).unwrap();
        if let Some(seal) = seal {
            core.seal(conn, Box::new(seal));
        }
        (0..10_000).find(|_| {
            core.send(conn, &[0; 1000]);
            core.peer(conn).is_none()
        })
    });
    let bytes = answers.unwrap() * 1000;
    assert!((200_000..2_000_000).contains(&bytes), "{bytes}");
    assert_eq!(world.await_ended(0).1, End::OwnOverflow);
    assert_eq!(world.counters[0].connections_closed_own.value(), 1);
}

/// A move that is under way when the connection is ended.
#[test]
fn a_connection_that_is_ended_while_it_moves_is_ended_once_and_cleanly() {
    let world = World::new(1);
    let mut client = Client::new(world.connect(0));
    let conn = world.await_accepted(0);
    world.run(0, move |_, core| {
        core.send(conn, &piece(Kind::Ping, 1, 100));
        core.detach(conn);
        core.finish(conn);
    });
    assert_eq!(client.read_to_end().pings, [1]);
    drop(client);
    assert_eq!(world.await_ended(0), (conn, End::Finished));
    assert_eq!(world.run(0, |_, core| core.open_connections()), 0);
}
