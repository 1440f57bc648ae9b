//! Zero-copy sends on the real ring, forced: over loopback the kernel copies when the peer's side takes the bytes, and what
//! a socket has not sent stays in the feed's own memory until then.

use penstock_shard::connection::ConnId;
use penstock_shard::core::{Detached, End};
use penstock_shard::fanout::{Class, ZeroCopy};
use penstock_shard::feed::{Config, Writer};
use penstock_shard::limits::{ZERO_COPY_BYTES, ZERO_COPY_COPIED_MAX};
use penstock_shard::shard::Sends;
use socket2::SockRef;

use crate::slow::{connected_pair, narrow_viewer};
use crate::viewers::KEEPS_ALL;
use crate::wire::{Client, Kind, append, piece, wraps};
use crate::world::{Fact, World};

const KIB: usize = 1024;
const MIB: u64 = 1024 * 1024;
/// Each is one send.
const BYTES: usize = 40_000;

fn world(shards: usize, zero_copy: ZeroCopy) -> World {
    let sends = Sends {
        zero_copy,
        ..Sends::default()
    };
    // One word of the pool's bitmap: the blocks given back first are taken again first.
    World::made(shards, 64, 16 * MIB, sends)
}

fn window(claimed_bytes_max: u64) -> Config {
    Config {
        lag_max_micros: 100_000,
        bytes_max: MIB,
        claimed_bytes_max,
    }
}

fn outstanding(world: &World) -> u64 {
    world.counters[0].zero_copy_bytes_outstanding.value()
}

/// A viewer that reads nothing, whose socket has taken more than the way holds: some of it lies in the feed.
fn stopped_viewer(world: &World) -> (ConnId, Client) {
    let (conn, client) = narrow_viewer(world, 256 * KIB, None);
    world.write(|writer| append(writer, 0, BYTES, 10));
    world.await_on(0, move |_, core| core.bytes_sent(conn) > 0);
    for number in 1..20 {
        world.write(move |writer| append(writer, number, BYTES, 10));
    }
    world.await_on(0, move |_, core| core.bytes_sent(conn) > 128 * KIB as u64);
    assert!(world.counters[0].sends_zero_copy.value() > 0);
    (conn, client)
}

/// The window moves on, block after block, and blocks that were given back are written again.
fn overwrite(world: &World, fast: &mut Option<Client>, records: std::ops::Range<u64>) {
    for number in records {
        world.write(move |writer| append(writer, number, BYTES, 10));
        if let Some(fast) = fast {
            fast.read_until(|seen| seen.last == Some(number));
        }
        world.pool.punch_pending(usize::MAX).unwrap();
    }
}

/// Nothing is lost or torn: from the first record to the end of the one that it stood in.
fn reads_all(mut client: Client) {
    let seen = client.read_to_end();
    assert_eq!((seen.first, seen.skips), (Some(0), 0));
    assert!(seen.records > 0);
}

fn leave(world: &World, conn: ConnId) {
    world.run(0, move |_, core| core.leave_feed(conn));
}

/// The viewer has left the feed, and moves to another shard; what its socket has taken stays where it is for it.
#[test]
fn memory_is_held_until_its_notification_wherever_the_viewer_is() {
    let world = world(2, ZeroCopy::On);
    let feed = world.feed(window(8 * MIB), Class::Interactive);
    let mut fast = Client::new(world.connect(0));
    world.await_accepted(0);
    let (conn, client) = stopped_viewer(&world);
    fast.read_until(|seen| seen.last == Some(19));
    let detached = detach(&world, conn);
    let mut fast = Some(fast);
    overwrite(&world, &mut fast, 20..140);
    let held = outstanding(&world);
    assert!(held > 0, "its peer reads nothing");
    let released = feed.released(0);
    assert!(released < feed.tail() && released < 20 * BYTES as u64, "{released}");
    assert_eq!(world.counters[0].zero_copy_let_go.value(), 0);
    let conn = world.run(1, move |_, core| core.adopt(detached).unwrap());
    world.run(1, move |_, core| core.finish(conn));
    reads_all(client);
    // The notifications come, and with the next turns nothing is held back any more.
    world.await_on(0, |_, core| core.counters().zero_copy_bytes_outstanding.value() == 0);
    overwrite(&world, &mut fast, 140..150);
    assert!(feed.released(0) >= feed.tail());
    let kept = (feed.head() - feed.tail()) / (256 * KIB) as u64;
    let used = world.pool.usage().used;
    assert!(used <= kept + 6, "{used} blocks for a window of {kept}");
}

/// A peer that reads nothing does not end the feed for the others: beyond the feed's cap its memory is let go, by punching.
#[test]
fn what_a_feed_evicts_is_let_go_and_stays_whole() {
    let world = world(1, ZeroCopy::On);
    let feed = world.feed(window(2 * MIB), Class::Interactive);
    let fast = Client::new(world.connect(0));
    world.await_accepted(0);
    let (conn, client) = stopped_viewer(&world);
    leave(&world, conn);
    let mut fast = Some(fast);
    overwrite(&world, &mut fast, 20..300);
    let counters = &world.counters[0];
    assert!(counters.zero_copy_let_go.value() > 0);
    assert!(outstanding(&world) > 0, "it still reads nothing");
    assert!(feed.released(0) >= feed.evict_below());
    world.run(0, move |_, core| core.finish(conn));
    reads_all(client);
    assert_eq!(counters.cursors_closed_evicted.value(), 0);
}

/// The feed has no viewer here any more, is closed, and its memory goes to others, under a socket that has not sent it.
#[test]
fn a_feed_that_nobody_watches_is_given_back_under_what_is_under_way() {
    let world = world(1, ZeroCopy::On);
    let feed = world.feed(window(2 * MIB), Class::Interactive);
    let (conn, client) = stopped_viewer(&world);
    leave(&world, conn);
    assert!(world.counters[0].zero_copy_let_go.value() > 0 && outstanding(&world) > 0);
    assert_eq!(feed.released(0), u64::MAX);
    drop(feed);
    world.run(0, |stage, core| {
        stage.writer = None;
        core.close_feed(stage.feed.take().unwrap());
    });
    world.pool.punch_pending(usize::MAX).unwrap();
    assert_eq!(world.pool.usage().used, 0);
    // Another feed in the same place of the shard's table, in the same blocks.
    world.feed(window(2 * MIB), Class::Interactive);
    overwrite(&world, &mut Some(fast_viewer(&world)), 0..60);
    world.run(0, move |_, core| core.finish(conn));
    reads_all(client);
}

fn fast_viewer(world: &World) -> Client {
    let client = Client::new(world.connect(0));
    world.await_accepted(0);
    client
}

/// A reset throws away what a socket has not sent, and the kernel says so.
#[test]
fn a_connection_that_is_aborted_gives_its_memory_back_at_once() {
    let world = world(1, ZeroCopy::On);
    world.feed(KEEPS_ALL, Class::Interactive);
    let mut fast = fast_viewer(&world);
    let (conn, _client) = stopped_viewer(&world);
    fast.read_until(|seen| seen.last == Some(19));
    assert!(outstanding(&world) > 0);
    world.run(0, move |_, core| core.abort(conn));
    assert_eq!(world.await_ended(0), (conn, End::Aborted));
    world.await_on(0, |_, core| core.counters().zero_copy_bytes_outstanding.value() == 0);
    assert_eq!(world.counters[0].zero_copy_let_go.value(), 0);
}

/// Session bytes, sealed buffers and short ranges are copied, whatever is forced.
#[test]
fn only_long_ranges_of_a_feed_go_so() {
    let world = world(1, ZeroCopy::On);
    world.feed(KEEPS_ALL, Class::Interactive);
    let [_, seal] = wraps();
    let (_, mut sealed) = narrow_viewer(&world, 256 * KIB, seal);
    world.write(|writer| append(writer, 0, BYTES, 1));
    sealed.read_until(|seen| seen.last == Some(0));
    let sent = || world.counters[0].sends_zero_copy.value();
    assert_eq!(sent(), 0);
    let (conn, mut plain) = narrow_viewer(&world, 256 * KIB, None);
    plain.read_until(|seen| seen.last == Some(0));
    let before = sent();
    assert!(before > 0);
    for number in 1..20 {
        world.write(move |writer| append(writer, number, ZERO_COPY_BYTES - 1000, 1));
        plain.read_until(|seen| seen.last == Some(number));
    }
    world.run(0, move |_, core| core.send(conn, &piece(Kind::Ping, 1, 50_000)));
    plain.read_until(|seen| !seen.pings.is_empty());
    assert_eq!(sent(), before);
}

/// The kernel reports that this way copies: after a few sends the connection goes back for good. A peer that is known to be
/// on this machine is not tried.
#[test]
fn a_way_that_copies_is_left_and_one_to_this_machine_is_not_tried() {
    let world = world(1, ZeroCopy::Auto);
    world.feed(KEEPS_ALL, Class::Interactive);
    let mut accepted = fast_viewer(&world);
    let mut adopted = None;
    for number in 0..30 {
        world.write(move |writer| append(writer, number, BYTES, 1));
        accepted.read_until(|seen| seen.last == Some(number));
        match &mut adopted {
            None => {
                assert_eq!(world.counters[0].sends_zero_copy.value(), 0);
                // Nobody has said where its peer is.
                let (fd, stream) = connected_pair(2 * 256 * KIB);
                SockRef::from(&stream).set_recv_buffer_size(256 * KIB).unwrap();
                let conn = adopt_and_join(&world, fd.into());
                adopted = Some((conn, Client::new(stream)));
            }
            Some((_, adopted)) => {
                adopted.read_until(|seen| seen.last == Some(number));
                // So that each report is there before the next send.
                world.await_on(0, |_, core| core.counters().zero_copy_bytes_outstanding.value() == 0);
            }
        }
    }
    let counters = &world.counters[0];
    let (sent, copied) = (
        counters.sends_zero_copy.value(),
        counters.sends_zero_copy_copied.value(),
    );
    assert_eq!(copied, u64::from(ZERO_COPY_COPIED_MAX));
    // The first record was there at its join, in one send or two.
    assert!((copied..=copied + 1).contains(&sent), "{sent} sends");
    // What is known of a way stays known where the connection goes.
    let (conn, client) = adopted.unwrap();
    let detached = detach(&world, conn);
    adopt_and_join(&world, detached);
    let mut client = Client::new(client.stream);
    client.read_until(|seen| seen.last == Some(29));
    assert_eq!(world.counters[0].sends_zero_copy.value(), sent);
}

fn adopt_and_join(world: &World, detached: Detached) -> ConnId {
    world.run(0, move |stage, core| {
        let conn = core.adopt(detached).unwrap();
        core.join(conn, stage.feed.unwrap());
        conn
    })
}

fn detach(world: &World, conn: ConnId) -> Detached {
    world.run(0, move |_, core| {
        core.leave_feed(conn);
        core.detach(conn);
    });
    world.await_fact(0, |fact| match fact {
        Fact::Detached(_, detached) => Some(detached),
        _ => None,
    })
}

/// A shard ends with sends under way: its feed goes back to the pool, whose other shards use the memory.
#[test]
fn a_shard_that_ends_leaves_what_is_under_way_whole() {
    let mut world = world(2, ZeroCopy::On);
    let feed = world.feed(window(2 * MIB), Class::Interactive);
    world.run(1, |stage, core| core.close_feed(stage.feed.take().unwrap()));
    let (_, mut client) = stopped_viewer(&world);
    drop(feed);
    world.stop(0);
    assert!(outstanding(&world) > 0);
    assert!(world.pool.punch_pending(usize::MAX).unwrap() > 0);
    assert_eq!(world.pool.usage().used, 0);
    world.run(1, |stage, core| {
        let mut writer = Writer::create(core.pool(), window(2 * MIB)).unwrap();
        for number in 100..160 {
            append(&mut writer, number, BYTES, 10);
        }
        stage.writer = Some(writer);
    });
    // Each piece is looked at as it comes; the last one is cut where the socket was full.
    while client.read() {}
    assert!(client.seen.records > 0);
}
