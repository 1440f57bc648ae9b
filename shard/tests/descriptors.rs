//! A process that has no descriptor left: accepting rests and goes on. Alone in its file, since it uses up what all tests of
//! a process share.

#![allow(clippy::unwrap_used)]

#[path = "loopback/wire.rs"]
#[allow(dead_code)]
mod wire;
#[path = "loopback/world.rs"]
#[allow(dead_code)]
mod world;

use std::fs::File;
use std::time::{Duration, Instant};

use wire::{Client, Kind, piece};
use world::{PATIENCE, World};

#[test]
fn accepting_rests_without_descriptors_and_goes_on_with_them() {
    let world = World::with(1, 8, 4 * 1024 * 1024);
    let mut early = Client::new(world.connect(0));
    let early_conn = world.await_accepted(0);
    let null = File::open("/dev/null").unwrap();
    let mut taken: Vec<File> = std::iter::from_fn(|| null.try_clone().ok()).collect();
    assert!(taken.len() > 10);
    // One for the client's own socket; there is none to accept it with.
    taken.pop();
    let stream = world.connect(0);
    let counters = &world.counters[0];
    let begun = Instant::now();
    while counters.accept_errors.value() < 3 {
        assert!(begun.elapsed() < PATIENCE, "accepting is tried again");
        std::thread::yield_now();
    }
    // Two rests of 100 ms lie between three errors.
    assert!(begun.elapsed() > Duration::from_millis(180), "{:?}", begun.elapsed());
    assert!(counters.kernel_entries.value() < 300);
    // Who is there is served meanwhile.
    world.run(0, move |_, core| core.send(early_conn, &piece(Kind::Ping, 1, 10)));
    early.read_until(|seen| seen.pings == [1]);
    drop(taken);
    let mut late = Client::new(stream);
    let conn = world.await_accepted(0);
    world.run(0, move |_, core| {
        core.send(conn, &piece(Kind::Ping, 2, 10));
        core.finish(conn);
    });
    assert_eq!(late.read_to_end().pings, [2]);
}
