//! Beginnings and ends: viewers that come before the first join point, after the last record, or with empty headers.

use penstock_shard::core::End;
use penstock_shard::fanout::Class;
use penstock_shard::feed::{Config, Headers, Record};

use crate::slow::connected_pair;
use crate::viewers::KEEPS_ALL;
use crate::wire::{Client, Kind, XorKey, append, piece};
use crate::world::{Fact, World};

#[test]
fn every_viewer_of_an_ended_feed_is_told() {
    let world = World::new(1);
    world.feed(KEEPS_ALL, Class::Buffered);
    let mut clients: Vec<Client> = (0..37).map(|_| Client::new(world.connect(0))).collect();
    for _ in &clients {
        world.await_accepted(0);
    }
    world.write(|writer| append(writer, 0, 1000, 1));
    for client in &mut clients {
        client.read_until(|seen| seen.last == Some(0));
    }
    world.write(|writer| writer.finish());
    for mut client in clients {
        client.read_to_end();
    }
    for _ in 0..37 {
        assert_eq!(world.await_ended(0).1, End::Finished);
    }
}

#[test]
fn a_viewer_of_a_feed_that_ended_without_a_join_point_is_told() {
    let world = World::new(1);
    world.feed(KEEPS_ALL, Class::Buffered);
    world.write(|writer| {
        append(writer, 1, 1000, 100);
        writer.finish();
    });
    let mut client = Client::new(world.connect(0));
    let conn = world.await_accepted(0);
    assert_eq!(client.read_to_end().records, 0);
    world.await_fact(0, |fact| match fact {
        Fact::ReachedEnd(of) => (of == conn).then_some(()),
        _ => None,
    });
}

#[test]
fn a_waiting_viewer_starts_at_the_first_join_point_and_nothing_is_claimed_before() {
    let world = World::new(2);
    let feed = world.feed(KEEPS_ALL, Class::Interactive);
    let mut clients: Vec<Client> = (0..6).map(|n| Client::new(world.connect(n % 2))).collect();
    for n in 0..6 {
        world.await_accepted(n % 2);
    }
    for number in 1..30 {
        world.write(move |writer| append(writer, number, 5000, 20));
    }
    for client in &mut clients {
        assert_eq!(client.read_until(|seen| seen.last == Some(29)).first, Some(20));
    }
    drop(clients);
    for shard in 0..2 {
        world.await_on(shard, |_, core| core.open_connections() == 0);
        assert_eq!(feed.released(shard), u64::MAX);
    }
}

/// A viewer waits for a join point without a header, falls behind, and is moved to another.
fn empty_headers_are_no_sends(sealed: bool) {
    let world = World::new(1);
    let keeps_little = Config {
        lag_max_micros: 50_000,
        bytes_max: 512 * 1024,
        claimed_bytes_max: 32 * 1024 * 1024,
    };
    let feed = world.feed(keeps_little, Class::Interactive);
    let (fd, stream) = connected_pair(16 * 1024);
    let mut client = Client::new(stream);
    client.key = sealed.then(|| XorKey::new(5));
    world.run(0, move |stage, core| {
        let conn = core.adopt(fd.into()).unwrap();
        if sealed {
            core.seal(conn, Box::new(XorKey::new(5)));
        }
        core.join(conn, stage.feed.unwrap());
    });
    for number in 0..60 {
        // Each record says itself that a run may begin here.
        let kind = if number == 0 { Kind::Join } else { Kind::Skip };
        world.write(move |writer| {
            let bytes = [piece(kind, number, 1), piece(Kind::Record, number, 100_000)];
            let empty = Headers { join: &[], skip: &[] };
            let record = Record {
                bytes: &[&bytes[0], &bytes[1]],
                join: number.is_multiple_of(10).then_some(empty),
                dts_micros: number as i64 * 10_000,
                flags: 0,
            };
            writer.append(&[record]).unwrap();
        });
        world.await_on(0, |_, core| core.counters().cursors_joined.value() == 1);
    }
    world.write(|writer| writer.finish());
    assert!(feed.tail() > 0);
    let seen = client.read_to_end();
    assert_eq!((seen.first, seen.last), (Some(0), Some(59)));
    assert!(seen.records < 60, "it was moved");
    assert_eq!(world.counters[0].cursors_skipped.value(), 1);
}

#[test]
fn empty_headers_are_no_sends_plain() {
    empty_headers_are_no_sends(false);
}

#[test]
fn empty_headers_are_no_sends_sealed() {
    empty_headers_are_no_sends(true);
}
