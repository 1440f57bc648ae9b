//! Connections come to an end: refused, reset, finished within the deadline, aborted.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, End};
use penstock_shard::fanout::Class;
use penstock_shard::limits;
use penstock_shard::mesh::{Mesh, ShardId};
use penstock_shard::pool::Pool;
use penstock_shard::shard::{self, Sends, Setup};
use penstock_shard::sys::socket;
use socket2::SockRef;

use crate::slow::connected_pair;
use crate::viewers::KEEPS_ALL;
use crate::wire::{Client, Kind, XorKey, append, piece, wraps};
use crate::world::{Fact, PATIENCE, Run, Stage, World};

#[test]
fn a_full_table_refuses_and_serves_again() {
    let world = World::with(1, 4, 4 * 1024 * 1024);
    let mut clients: Vec<_> = (0..4).map(|_| world.connect(0)).collect();
    for _ in 0..4 {
        world.await_accepted(0);
    }
    assert_eq!(world.connect(0).read(&mut [0; 8]).unwrap(), 0, "closed at once");
    assert_eq!(world.counters[0].connections_refused_full.value(), 1);
    drop(clients.pop());
    assert_eq!(world.await_ended(0).1, End::Peer);
    let mut last = Client::new(world.connect(0));
    let conn = world.await_accepted(0);
    world.run(0, move |_, core| {
        core.send(conn, &piece(Kind::Ping, 1, 10));
        core.finish(conn);
    });
    assert_eq!(last.read_to_end().pings, [1]);
}

/// Whoever is served already is served between two handfuls of those who come.
#[test]
fn a_full_queue_of_connections_is_taken_in_over_many_passes() {
    const QUEUED: usize = 300;
    let world = World::new(1);
    let (told, wait) = channel();
    world.run(0, move |stage, _| {
        stage.on_accepted = Some(Box::new(move |core, _| told.send(core.now()).unwrap()));
    });
    // Everybody is in the queue before the shard looks.
    let address = world.addresses[0];
    let clients: Vec<TcpStream> = world.run(0, move |_, _| {
        (0..QUEUED).map(|_| TcpStream::connect(address).unwrap()).collect()
    });
    // The clock is read once a pass.
    let mut passes = BTreeMap::new();
    for _ in 0..QUEUED {
        *passes.entry(wait.recv_timeout(PATIENCE).unwrap()).or_insert(0) += 1;
    }
    let most = passes.values().max().copied();
    assert!(most <= Some(limits::ACCEPTS_ARMED), "{most:?} in one pass");
    drop(clients);
    world.run(0, |stage, _| stage.on_accepted = None);
}

/// The appliance's table beside the slab has one row a place.
#[test]
fn a_place_is_not_taken_before_the_end_there_was_told() {
    let world = World::new(1);
    let _first = world.connect(0);
    let first = world.await_accepted(0);
    let (fd, _second) = connected_pair(16 * 1024);
    let second = world.run(0, move |_, core| {
        core.abort(first);
        core.adopt(fd.into()).unwrap()
    });
    assert_ne!(first.index(), second.index());
    assert_eq!(world.await_ended(0), (first, End::Aborted));
    let _third = world.connect(0);
    assert_eq!(world.await_accepted(0).index(), first.index());
}

/// Places are reused while completions of the connections before are under way.
#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let world = World::with(2, 8, 32 * 1024 * 1024);
    world.feed(KEEPS_ALL, Class::Realtime);
    for number in 0..150_u64 {
        let shard = number as usize % 2;
        world.write(move |writer| append(writer, number, 60_000, 5));
        let stream = world.connect(shard);
        let conn = world.await_accepted(shard);
        let mut client = Client::new(stream);
        match number % 4 {
            0 => {
                client.read_until(|seen| seen.records > 0);
            }
            1 => SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap(),
            2 => world.run(shard, move |_, core| core.abort(conn)),
            _ => {
                world.run(shard, move |_, core| core.finish(conn));
                client.read_to_end();
            }
        }
        drop(client);
        assert_eq!(world.await_ended(shard).0, conn);
    }
    for shard in 0..2 {
        world.run(shard, |stage, core| {
            assert_eq!((core.open_connections(), core.viewers(stage.feed.unwrap())), (0, 0));
        });
        assert_eq!(world.counters[shard].connections_open.value(), 0);
        assert_eq!(world.counters[shard].connections_refused_full.value(), 0);
    }
}

#[test]
fn a_peer_that_resets_in_the_middle_of_a_send_harms_nobody() {
    let world = World::new(1);
    world.feed(KEEPS_ALL, Class::Interactive);
    let mut steady = Client::new(world.connect(0));
    world.await_accepted(0);
    for number in 0..30 {
        let (fd, stream) = connected_pair(16 * 1024);
        let conn = world.run(0, move |stage, core| {
            let conn = core.adopt(fd.into()).unwrap();
            core.join(conn, stage.feed.unwrap());
            conn
        });
        world.write(move |writer| append(writer, number, 400_000, 1));
        world.await_on(0, move |_, core| core.bytes_sent(conn) > 0);
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(stream);
        steady.read_until(|seen| seen.last == Some(number));
        assert_eq!(world.await_ended(0), (conn, End::Peer));
    }
    assert_eq!(steady.seen.skips, 0);
}

/// An encoder that closes with an answer unread resets its connection, and then no further answer reaches it; all that
/// it sent before is there.
#[test]
fn what_came_before_a_reset_is_received_though_an_answer_fails() {
    const SENT: usize = 40_000;
    let world = World::new(1);
    let (entered, has_entered) = channel();
    let (release, released) = channel::<()>();
    let (told, received) = channel();
    world.run(0, move |stage, _| {
        stage.on_accepted = Some(Box::new(|core, conn| core.send(conn, b"an answer")));
        let mut first = true;
        stage.on_received = Some(Box::new(move |core, conn, bytes| {
            if std::mem::take(&mut first) {
                entered.send(()).unwrap();
                released.recv_timeout(PATIENCE).unwrap();
            }
            core.send(conn, b"a further one");
            told.send(bytes.len()).unwrap();
        }));
    });
    let mut client = world.connect(0);
    let conn = world.await_accepted(0);
    client.peek(&mut [0; 1]).unwrap();
    client.write_all(&[1]).unwrap();
    has_entered.recv_timeout(PATIENCE).unwrap();
    client.write_all(&vec![2; SENT - 1]).unwrap();
    drop(client);
    release.send(()).unwrap();
    assert_eq!(world.await_ended(0), (conn, End::Peer));
    assert_eq!(received.try_iter().sum::<usize>(), SENT);
}

/// One reads nothing, one reads all and does not close; both had a far deadline before.
#[test]
fn finish_takes_no_longer_than_its_deadline() {
    let world = World::new(1);
    let begun = Instant::now();
    let (deaf, deaf_stream) = connected_pair(16 * 1024);
    let (idle, idle_stream) = connected_pair(16 * 1024);
    let (deaf, idle) = world.run(0, move |_, core| {
        let conns = [deaf, idle].map(|fd| {
            let conn = core.adopt(fd.into()).unwrap();
            core.set_deadline(conn, Some(core.now() + 20_000_000));
            conn
        });
        core.send(conns[0], &vec![0; 250_000]);
        core.send(conns[1], &piece(Kind::Ping, 3, 100));
        conns.iter().for_each(|conn| core.finish(*conn));
        // What its session would set behind its last word is no way to stay.
        core.set_deadline(conns[0], Some(core.now() + 20_000_000));
        core.set_deadline(conns[1], None);
        (conns[0], conns[1])
    });
    let mut client = Client::new(idle_stream);
    assert_eq!(client.read_to_end().pings, [3]);
    assert!(begun.elapsed() < Duration::from_secs(1), "the end is told at once");
    let ended = [world.await_ended(0), world.await_ended(0)];
    let took = begun.elapsed();
    assert!(
        ended.contains(&(deaf, End::Aborted)) && ended.contains(&(idle, End::Finished)),
        "{ended:?}"
    );
    assert!(
        (Duration::from_millis(1900)..Duration::from_millis(3500)).contains(&took),
        "{took:?}"
    );
    drop(deaf_stream);
}

#[test]
fn a_deadline_that_is_moved_nearer_comes_then() {
    let world = World::new(1);
    let _stream = world.connect(0);
    let conn = world.await_accepted(0);
    let due = world.run(0, move |_, core| {
        core.set_deadline(conn, Some(core.now() + 20_000_000));
        core.set_deadline(conn, Some(core.now() + 10_000_000));
        core.set_deadline(conn, Some(core.now() + 100_000));
        core.now() + 100_000
    });
    let deadline = |fact| match fact {
        Fact::Deadline(of, at) if of == conn => Some(at),
        _ => None,
    };
    let came = world.await_fact(0, deadline);
    assert!((due..due + 400_000).contains(&came), "due at {due}, came at {came}");
    let due = world.run(0, move |_, core| {
        core.set_deadline(conn, Some(core.now() + 300_000));
        core.now() + 300_000
    });
    let came = world.await_fact(0, deadline);
    assert!((due..due + 400_000).contains(&came), "due at {due}, came at {came}");
}

#[test]
fn abort_resets() {
    let world = World::new(1);
    let mut stream = world.connect(0);
    let conn = world.await_accepted(0);
    world.run(0, move |_, core| core.abort(conn));
    assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(world.await_ended(0), (conn, End::Aborted));
}

/// It says its request and ends its sending side, as `nc -N` does; the answer is larger than its socket takes at once.
#[test]
fn a_peer_that_has_ended_its_side_still_reads_the_whole_answer() {
    wraps().into_iter().for_each(a_peer_has_ended_its_side);
}

fn a_peer_has_ended_its_side(seal: Option<XorKey>) {
    let world = World::new(1);
    let (fd, stream) = connected_pair(16 * 1024);
    let key = seal.clone();
    world.run(0, move |stage, core| {
        stage.on_received = Some(Box::new(|core, conn, _| {
            core.send(conn, &piece(Kind::Ping, 9, 250_000));
            core.finish(conn);
        }));
        let conn = core.adopt(fd.into()).unwrap();
        if let Some(seal) = key {
            core.seal(conn, Box::new(seal));
        }
    });
    let mut client = Client::new(stream);
    client.key = seal;
    client.stream.write_all(b"request").unwrap();
    client.stream.shutdown(Shutdown::Write).unwrap();
    // The answer has filled the socket before any of it is read.
    world.await_on(0, |_, core| core.counters().sends_full.value() > 0);
    assert_eq!(client.read_to_end().pings, [9]);
    assert_eq!(world.await_ended(0).1, End::Finished);
}

#[test]
fn who_is_there_is_served_when_accepting_has_stopped() {
    let world = World::new(1);
    let mut client = Client::new(world.connect(0));
    let conn = world.await_accepted(0);
    world.run(0, |_, core| core.stop_accepting().unwrap());
    assert_eq!(
        TcpStream::connect(world.addresses[0]).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    world.run(0, move |_, core| {
        core.send(conn, &piece(Kind::Ping, 1, 10));
        core.finish(conn);
    });
    assert_eq!(client.read_to_end().pings, [1]);
    assert_eq!(world.counters[0].accept_errors.value(), 0);
}

#[test]
fn a_shard_that_panics_is_known_to_have_ended() {
    let setup = Setup {
        id: ShardId(0),
        cpu: socket::allowed_cpus().unwrap()[0],
        connections_max: 4,
        mesh: Arc::new(Mesh::<Run>::new(1)),
        pool: Pool::create(4 * 1024 * 1024).unwrap(),
        counters: Arc::default(),
        listeners: Vec::new(),
        sends: Sends::default(),
    };
    let thread = shard::start::<Stage, _>(setup, |_| panic!("as the test wants")).unwrap();
    let begun = Instant::now();
    while !thread.is_finished() {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    assert!(thread.join().is_err());
}

/// A registered file keeps its socket open until its slot is empty and what was armed on it has been cancelled: nothing
/// pokes the shard here, so an end that waits for something else is not seen.
#[test]
fn every_end_is_seen_within_a_turn() {
    type Act = fn(&mut Core<Run>, ConnId);
    let acts: [(&str, Act, Sees); 6] = [
        ("finished", |core, conn| core.finish(conn), Sees::End),
        (
            "finished behind an answer",
            |core, conn| {
                core.send(conn, &piece(Kind::Ping, 1, 100));
                core.finish(conn);
            },
            Sees::End,
        ),
        ("aborted", |core, conn| core.abort(conn), Sees::Reset),
        (
            "aborted before its answer went out",
            |core, conn| {
                core.send(conn, &piece(Kind::Ping, 1, 100));
                core.abort(conn);
            },
            Sees::Reset,
        ),
        (
            "answering too much",
            |core, conn| core.send(conn, &vec![0; 300_000]),
            Sees::Reset,
        ),
        ("panicked", |core, conn| core.panicked(conn), Sees::Reset),
    ];
    let world = World::new(1);
    world.feed(KEEPS_ALL, Class::Buffered);
    world.write(|writer| append(writer, 0, 1000, 1));
    for (name, act, sees) in acts {
        let mut client = Client::new(world.connect(0));
        let conn = world.await_accepted(0);
        client.read_until(|seen| seen.last == Some(0));
        world.run(0, move |_, core| act(core, conn));
        let begun = Instant::now();
        let mut bytes = [0; 4096];
        let end = loop {
            match client.stream.read(&mut bytes) {
                Ok(0) => break Sees::End,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break Sees::Reset,
                Err(error) => panic!("{name}: {error} after {:?}", begun.elapsed()),
            }
        };
        // The longest pause between two turns.
        assert!(
            begun.elapsed() < Duration::from_millis(500),
            "{name}: {:?}",
            begun.elapsed()
        );
        assert_eq!(end, sees, "{name}");
    }
    // The peer's own end is answered by ours.
    let mut client = Client::new(world.connect(0));
    world.await_accepted(0);
    client.read_until(|seen| seen.last == Some(0));
    client.stream.shutdown(Shutdown::Write).unwrap();
    let begun = Instant::now();
    client.read_to_end();
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sees {
    End,
    Reset,
}

/// A message that sends the next one to its own shard.
fn once_more(left: usize, seen: std::sync::mpsc::Sender<u64>) -> Run {
    Run(Box::new(move |_: &mut Stage, core: &mut Core<Run>| {
        seen.send(core.counters().kernel_entries.value()).unwrap();
        if left > 0 {
            core.send_message(core.id(), once_more(left - 1, seen)).unwrap();
        }
    }))
}

#[test]
fn a_shard_that_is_sent_messages_without_end_serves_its_sockets_between_them() {
    let world = World::new(1);
    let (seen, entries) = channel();
    assert!(world.mesh.send_from_outside(ShardId(0), once_more(50, seen)).is_ok());
    let entries: Vec<u64> = std::iter::from_fn(|| entries.recv_timeout(PATIENCE).ok()).collect();
    assert_eq!(entries.len(), 51);
    assert!(entries.is_sorted_by(|one, next| one < next), "{entries:?}");
}
