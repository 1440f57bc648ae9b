//! Connections that a shard makes: made, refused, given up at their deadline or before.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, End};
use socket2::{Domain, Socket, Type};

use crate::world::{Fact, PATIENCE, Run, World};

fn connected(world: &World) -> (ConnId, u64) {
    world.await_fact(0, |fact| match fact {
        Fact::Connected(conn, tag) => Some((conn, tag)),
        Fact::ConnectFailed(..) => panic!("{fact:?}"),
        _ => None,
    })
}

fn failed(world: &World) -> (u64, i32) {
    world.await_fact(0, |fact| match fact {
        Fact::ConnectFailed(tag, errno) => Some((tag, errno)),
        Fact::Connected(..) | Fact::Ended(..) => panic!("{fact:?}"),
        _ => None,
    })
}

fn soon(core: &Core<Run>) -> u64 {
    core.now() + 15_000_000
}

#[test]
fn a_connection_that_is_made_is_like_any_other() {
    let world = World::new(1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let asked = world.run(0, move |stage, core| {
        stage.on_received = Some(Box::new(|core, conn, bytes| core.send(conn, bytes)));
        let conn = core.connect(to, 77, soon(core)).unwrap();
        // Nothing can be done with it yet, and nothing breaks.
        core.send(conn, b"too early");
        let feed = no_feed(core);
        core.join(conn, feed);
        core.join_datagrams(conn, feed, &[]);
        core.detach(conn);
        core.check_invariants();
        conn
    });
    assert_eq!(connected(&world), (asked, 77));
    let (mut stream, from) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let addresses = world.run(0, move |_, core| (core.local_address(asked), core.peer(asked)));
    assert_eq!(addresses, (Some(from), Some(to)));
    stream.write_all(b"hello there").unwrap();
    let mut heard = [0; 11];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello there");
    world.run(0, move |_, core| core.finish(asked));
    assert_eq!(stream.read(&mut heard).unwrap(), 0);
    drop(stream);
    assert_eq!(world.await_ended(0), (asked, End::Finished));
    assert_eq!(
        (
            world.counters[0].connects.value(),
            world.counters[0].connects_failed.value()
        ),
        (1, 0)
    );
    world.run(0, |_, core| core.check_invariants());
}

fn no_feed(core: &mut Core<Run>) -> penstock_shard::core::FeedId {
    let writer = penstock_shard::feed::Writer::create(core.pool(), crate::viewers::KEEPS_ALL).unwrap();
    core.open_feed(writer.feed().clone(), penstock_shard::fanout::Class::Interactive)
}

#[test]
fn one_that_is_refused_is_told_and_its_place_is_free() {
    let world = World::with(1, 1, 4 * 1024 * 1024);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = nobody.local_addr().unwrap();
    drop(nobody);
    for tag in 0..3 {
        world.run(0, move |_, core| {
            core.connect(to, tag, soon(core)).unwrap();
            // The table has one place.
            assert_eq!(core.connect(to, 9, soon(core)).unwrap_err().raw_os_error(), Some(24));
        });
        assert_eq!(failed(&world), (tag, 111));
    }
    assert_eq!(world.counters[0].connects_failed.value(), 3);
    world.run(0, |_, core| {
        assert_eq!(core.open_connections(), 0);
        core.check_invariants();
    });
}

/// A listener that answers nobody any more: its backlog is full.
fn silent() -> (Socket, Vec<Socket>, SocketAddr) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let fill = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap();
        let _ = socket.connect(&address);
        socket
    };
    let filled = (0..4).map(|_| fill()).collect();
    (listener, filled, address.as_socket().unwrap())
}

#[test]
fn one_that_nobody_answers_ends_at_its_deadline_or_when_it_is_given_up() {
    let world = World::new(1);
    let (_listener, _filled, to) = silent();
    let begun = world.run(0, move |_, core| {
        core.connect(to, 1, core.now() + 200_000).unwrap();
        let given_up = core.connect(to, 2, soon(core)).unwrap();
        let finished = core.connect(to, 3, soon(core)).unwrap();
        core.abort(given_up);
        core.finish(finished);
        core.now()
    });
    assert_eq!([failed(&world), failed(&world)], [(2, 125), (3, 125)]);
    assert_eq!(failed(&world), (1, 110));
    world.run(0, move |_, core| {
        let took = core.now() - begun;
        assert!((200_000..2_000_000).contains(&took), "{took}");
        assert_eq!(core.open_connections(), 0);
        core.check_invariants();
    });
    // Nothing is left in the ring that a later connection in those places could take for its own.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    for tag in 10..13 {
        world.run(0, move |_, core| core.connect(to, tag, soon(core)).unwrap());
        assert_eq!(connected(&world).1, tag);
    }
}
