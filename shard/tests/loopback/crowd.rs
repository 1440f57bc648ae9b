//! Many things at once: a thousand hang-ups between two turns, and more completions than the ring has places for.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use penstock_shard::connection::ConnId;
use penstock_shard::core::End;
use penstock_shard::fanout::Class;
use penstock_shard::limits::RING_COMPLETIONS;
use penstock_shard::mesh::ShardId;
use penstock_shard::sys::socket;
use socket2::SockRef;

use crate::slow::narrow_viewer;
use crate::viewers::KEEPS_ALL;
use crate::wire::{Client, Kind, append, piece, wraps};
use crate::world::{PATIENCE, Run, World};

const HANG_UPS: usize = 1_000;
const STOPPED: usize = 20;
const RECORDS: u64 = 30;

/// A shard stands still between two passes until the sender is used or dropped.
pub fn hold(world: &World, shard: u16) -> Sender<()> {
    let (open, gate) = channel::<()>();
    let (standing, stands) = channel();
    let held = Run(Box::new(move |_, _| {
        standing.send(()).unwrap();
        let _ = gate.recv_timeout(PATIENCE);
    }));
    world.mesh.send_from_outside(ShardId(shard), held).unwrap();
    stands.recv_timeout(PATIENCE).unwrap();
    open
}

/// Viewers whose sockets are full, so that a poll is armed for each.
fn stopped_viewers(world: &World) -> Vec<(ConnId, Client)> {
    let [plain, sealed] = wraps();
    let viewers: Vec<_> = (0..STOPPED)
        .map(|number| {
            let seal = if number % 2 == 0 { plain.clone() } else { sealed.clone() };
            narrow_viewer(world, 16 * 1024, seal)
        })
        .collect();
    for number in 0..RECORDS {
        world.write(move |writer| append(writer, number, 60_000, RECORDS));
    }
    for (conn, _) in &viewers {
        let conn = *conn;
        world.await_on(0, move |_, core| core.bytes_sent(conn) > 0);
    }
    world.await_on(0, |_, core| core.counters().sends_full.value() >= STOPPED as u64);
    viewers
}

/// Each reads a little at a time from here on: its socket is full, polled and woken again and again.
fn all_read_to_the_end(world: &World, viewers: Vec<(ConnId, Client)>) {
    let full = world.counters[0].sends_full.value();
    world.write(|writer| writer.finish());
    for (_, mut client) in viewers {
        let seen = client.read_to_end();
        assert_eq!((seen.records, seen.skips), (RECORDS, 0));
    }
    assert!(world.counters[0].sends_full.value() > full + 10 * STOPPED as u64);
}

fn all_have_ended(world: &World, mut expected: Vec<ConnId>) {
    let mut ended: Vec<ConnId> = (0..expected.len())
        .map(|_| match world.await_ended(0) {
            (conn, End::Peer) => conn,
            other => panic!("{other:?}"),
        })
        .collect();
    ended.sort();
    expected.sort();
    assert_eq!(ended, expected);
    assert_eq!(world.run(0, |_, core| core.open_connections()), STOPPED);
}

#[test]
fn a_thousand_hang_ups_in_one_turn_lose_no_poll() {
    socket::raise_descriptor_limit().unwrap();
    let world = World::new(1);
    world.feed(KEEPS_ALL, Class::Interactive);
    let stopped = stopped_viewers(&world);
    let mut crowd: Vec<TcpStream> = Vec::new();
    let mut conns = Vec::new();
    for _ in 0..HANG_UPS {
        crowd.push(world.connect(0));
        conns.push(world.await_accepted(0));
    }
    world.await_on(0, |_, core| {
        core.counters().cursors_joined.value() == (STOPPED + HANG_UPS) as u64
    });
    let open = hold(&world, 0);
    // What the stopped ones read meanwhile wakes them in the same pass in which the crowd is gone.
    let readers: Vec<_> = stopped
        .into_iter()
        .map(|(conn, mut client)| {
            std::thread::spawn(move || {
                client.read();
                (conn, client)
            })
        })
        .collect();
    let stopped = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    for (number, stream) in crowd.into_iter().enumerate() {
        if number % 2 == 0 {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(stream);
    }
    open.send(()).unwrap();
    all_have_ended(&world, conns);
    all_read_to_the_end(&world, stopped);
}

/// Each of these hang-ups completes a receive and a poll: half as much again as the completion queue holds.
#[test]
fn more_completions_than_places_lose_none() {
    const PAIRS: usize = RING_COMPLETIONS as usize / 4 * 3;
    let descriptors = socket::raise_descriptor_limit().unwrap();
    assert!(
        descriptors > 2 * PAIRS as u64 + 500,
        "{descriptors} descriptors allowed"
    );
    let world = World::with(1, PAIRS as u32 + 100, 64 * 1024 * 1024);
    world.feed(KEEPS_ALL, Class::Interactive);
    let stopped = stopped_viewers(&world);
    let (ours, theirs): (Vec<_>, Vec<_>) = (0..PAIRS)
        .map(|_| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            SockRef::from(&ours).set_send_buffer_size(4 * 1024).unwrap();
            (ours, theirs)
        })
        .unzip();
    let full = world.counters[0].sends_full.value();
    let conns = world.run(0, move |_, core| {
        let answer = piece(Kind::Ping, 1, 50_000);
        let conns = ours.into_iter().map(|ours| {
            let conn = core.adopt(std::os::fd::OwnedFd::from(ours).into()).unwrap();
            core.send(conn, &answer);
            conn
        });
        conns.collect::<Vec<_>>()
    });
    world.await_on(0, move |_, core| {
        core.counters().sends_full.value() >= full + PAIRS as u64
    });
    let open = hold(&world, 0);
    drop(theirs);
    open.send(()).unwrap();
    all_have_ended(&world, conns);
    all_read_to_the_end(&world, stopped);
}
