//! What a shard costs while nothing happens, how fast it wakes, and how it holds bytes together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use penstock_shard::fanout::Class;
use penstock_shard::limits::INBOX_MESSAGES;
use penstock_shard::mesh::ShardId;
use penstock_shard::sys::clock;

use crate::viewers::{KEEPS_ALL, connect_narrow};
use crate::wire::{Client, append};
use crate::world::{Fact, PATIENCE, Run, World};

/// Lets `ticks` of 50 ms pass on a shard; CPU µs of its thread, parks and kernel entries meanwhile.
fn cost_of_ticks(world: &World, shard: usize, ticks: u64) -> (u64, u64, u64) {
    let counters = world.counters[shard].clone();
    let measure = move || {
        [
            clock::thread_cpu_micros(),
            counters.parks.value(),
            counters.kernel_entries.value(),
        ]
    };
    let before = world.run(shard, {
        let measure = measure.clone();
        move |stage, core| {
            stage.on_timer = Some(Box::new(|core, key| {
                if key > 1 {
                    core.set_timer(core.now() + 50_000, key - 1);
                }
            }));
            core.set_timer(core.now() + 50_000, ticks);
            measure()
        }
    });
    world.await_fact(shard, |fact| matches!(fact, Fact::Timer(1)).then_some(()));
    let after = world.run(shard, move |_, _| measure());
    (after[0] - before[0], after[1] - before[1], after[2] - before[2])
}

/// With a listener, parked viewers, one of them stopped, and a waiting one.
#[test]
fn an_idle_shard_sleeps() {
    let world = World::new(2);
    world.feed(KEEPS_ALL, Class::Buffered);
    let mut client = Client::new(world.connect(0));
    let stopped = connect_narrow(world.addresses[0]);
    let conns = [world.await_accepted(0), world.await_accepted(0)];
    for number in 0..80 {
        world.write(move |writer| append(writer, number, 200_000, 10));
    }
    client.read_until(|seen| seen.last == Some(79));
    world.run(0, move |_, core| {
        for conn in conns {
            core.set_deadline(conn, Some(core.now() + 60_000_000));
        }
    });
    for shard in 0..2 {
        let (cpu, parks, entries) = cost_of_ticks(&world, shard, 12);
        assert!(cpu < 20_000, "shard {shard} used {cpu} us in 600 ms");
        assert!((12..200).contains(&parks), "{parks} parks");
        assert!(entries < 200, "{entries} kernel entries");
    }
    drop(stopped);
}

#[test]
fn a_shard_that_is_gone_costs_the_others_nothing() {
    let mut world = World::new(2);
    world.stop(1);
    world.run(0, |_, core| {
        for _ in 0..10 {
            let _ = core.send_message(ShardId(1), Run(Box::new(|_, _| {})));
        }
    });
    let (cpu, _, entries) = cost_of_ticks(&world, 0, 6);
    assert!(
        entries < 100 && cpu < 20_000,
        "{entries} kernel entries, {cpu} us in 300 ms"
    );
}

#[test]
fn a_full_inbox_refuses_and_doorbells_are_few() {
    let world = World::new(2);
    let (open, gate) = channel::<()>();
    let (waiting, waits) = channel();
    let held = Run(Box::new(move |_, _| {
        waiting.send(()).unwrap();
        gate.recv_timeout(PATIENCE).unwrap();
    }));
    world.mesh.send_from_outside(ShardId(1), held).unwrap();
    waits.recv_timeout(PATIENCE).unwrap();
    let done = Arc::new(AtomicU64::new(0));
    let arrived = done.clone();
    let taken = world.run(0, move |_, core| {
        (0..2 * INBOX_MESSAGES as u64)
            .take_while(|number| {
                let (done, number) = (arrived.clone(), *number);
                let message = Run(Box::new(move |_, _| {
                    assert_eq!(done.fetch_add(1, Ordering::Relaxed), number, "in order");
                }));
                core.send_message(ShardId(1), message).is_ok()
            })
            .count()
    });
    assert_eq!(taken, INBOX_MESSAGES);
    assert_eq!(world.counters[0].messages_refused.value(), 1);
    assert_eq!(world.counters[0].doorbells.value(), 1);
    assert!(
        world
            .mesh
            .send_from_outside(ShardId(1), Run(Box::new(|_, _| {})))
            .is_err()
    );
    open.send(()).unwrap();
    let begun = Instant::now();
    while done.load(Ordering::Relaxed) < taken as u64 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    world.run(1, |_, _| {});
}

/// Each message meets a shard that is asleep or about to be.
#[test]
fn messages_wake_a_sleeping_shard() {
    let world = World::new(2);
    let (returned, back) = channel();
    let mut times: Vec<Duration> = (0..500)
        .map(|_| {
            let begun = Instant::now();
            let returned = returned.clone();
            let there = Run(Box::new(move |_, core: &mut penstock_shard::core::Core<Run>| {
                let back = Run(Box::new(move |_, _| returned.send(()).unwrap()));
                core.send_message(ShardId(0), back).unwrap();
            }));
            world.run(0, move |_, core| core.send_message(ShardId(1), there).unwrap());
            back.recv_timeout(PATIENCE).expect("the message comes back");
            begun.elapsed()
        })
        .collect();
    times.sort();
    println!(
        "there, across and back: median {:?}, worst {:?}",
        times[250], times[499]
    );
    assert!(times[250] < Duration::from_millis(50), "{:?}", times[250]);
}

/// On the home shard and across a doorbell.
#[test]
fn an_interactive_viewer_gets_a_record_at_once() {
    let world = World::new(2);
    world.feed(KEEPS_ALL, Class::Interactive);
    for shard in 0..2 {
        // Where it joins.
        world.write(move |writer| append(writer, shard as u64 * 200, 4000, 200));
        let mut client = Client::new(world.connect(shard));
        world.await_accepted(shard);
        let mut times: Vec<Duration> = (1..200)
            .map(|number| {
                let (begun, number) = (Instant::now(), shard as u64 * 200 + number);
                world.write(move |writer| append(writer, number, 4000, 200));
                client.read_until(|seen| seen.last == Some(number));
                begun.elapsed()
            })
            .collect();
        times.sort();
        println!(
            "shard {shard}, append to receipt: median {:?}, worst {:?}",
            times[100], times[198]
        );
        assert!(times[100] < Duration::from_millis(100), "{:?}", times[100]);
        drop(client);
        world.await_ended(shard);
    }
}

#[test]
fn a_buffered_viewer_gets_few_large_sends() {
    let world = World::new(1);
    world.feed(KEEPS_ALL, Class::Buffered);
    world.write(|writer| append(writer, 0, 1000, 1000));
    let mut client = Client::new(world.connect(0));
    world.await_accepted(0);
    client.read_until(|seen| seen.last == Some(0));
    let before = world.counters[0].sends.value();
    world.run(0, |stage, core| {
        stage.on_timer = Some(Box::new(|_, _| {}));
        for number in 1..=100 {
            core.set_timer(core.now() + number * 10_000, number);
        }
    });
    let begun = Instant::now();
    for number in 1..=100 {
        world.await_fact(0, |fact| matches!(fact, Fact::Timer(_)).then_some(()));
        world.write(move |writer| append(writer, number, 1500, 1000));
    }
    client.read_until(|seen| seen.last == Some(100));
    let (sends, took) = (world.counters[0].sends.value() - before, begun.elapsed());
    println!("{sends} sends in {took:?}");
    assert!(
        sends as f64 <= 10.0 * took.as_secs_f64() + 4.0,
        "{sends} sends in {took:?}"
    );
}
