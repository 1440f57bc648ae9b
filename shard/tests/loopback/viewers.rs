//! What any viewer receives is a join header and a contiguous run of the feed, with the session's bytes between records.

use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use penstock_shard::fanout::Class;
use penstock_shard::feed::Config;
use socket2::{Domain, Socket, Type};

use crate::wire::{Client, Kind, Noise, Seen, XorKey, append, piece};
use crate::world::{PATIENCE, World};

/// Keeps everything a test appends.
pub const KEEPS_ALL: Config = Config {
    lag_max_micros: 3_600_000_000,
    bytes_max: 64 * 1024 * 1024,
    claimed_bytes_max: 64 * 1024 * 1024,
};

const RECORDS: u64 = 240;
const JOIN_EVERY: u64 = 12;
const SEAL_SEED: u64 = 77;

/// A connection whose receiving end holds little.
pub fn connect_narrow(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

struct Viewer {
    thread: JoinHandle<Seen>,
    /// Lets a slow one read on; none for the others.
    pace: Option<Sender<()>>,
}

fn watch(stream: TcpStream, sealed: bool, pace: Option<Receiver<()>>) -> JoinHandle<Seen> {
    std::thread::spawn(move || {
        let mut client = Client::new(stream);
        client.key = sealed.then(|| XorKey::new(SEAL_SEED));
        let mut allowed = 0;
        while client.read() {
            allowed += 1;
            // A slow one reads eight times and waits for the feed to move on.
            if let Some(pace) = &pace
                && allowed % 8 == 0
            {
                let _ = pace.recv();
            }
        }
        assert!(client.pieces.is_empty(), "the stream ends inside a piece");
        client.seen
    })
}

fn payload_bytes(number: u64, noise: &mut Noise) -> usize {
    match number {
        // Larger than a range, a block, and a send.
        100 => 700_000,
        n if n % 17 == 0 => noise.between(200_000, 300_000) as usize,
        n if n % 5 == 0 => noise.between(1, 64) as usize,
        _ => noise.between(1, 30_000) as usize,
    }
}

fn every_viewer_sees_a_contiguous_run(shards: usize, viewers: usize, sealed: bool) {
    let world = World::new(shards);
    world.feed(KEEPS_ALL, Class::Interactive);
    for shard in 0..shards {
        world.run(shard, move |stage, _| {
            stage.on_accepted = sealed.then(|| -> Box<dyn FnMut(&mut _, _)> {
                Box::new(|core: &mut penstock_shard::core::Core<_>, conn| {
                    core.seal(conn, Box::new(XorKey::new(SEAL_SEED)));
                })
            });
        });
    }
    let mut noise = Noise(0x1234_5678 + shards as u64);
    let mut watching: Vec<Viewer> = Vec::new();
    for number in 0..RECORDS {
        // A third is there before the first record, the others come while it runs.
        while watching.len() < viewers / 3
            || watching.len() * 150 < viewers * number as usize && watching.len() < viewers
        {
            let shard = watching.len() % shards;
            let slow = watching.len() % 4 == 1;
            let stream = if slow {
                connect_narrow(world.addresses[shard])
            } else {
                world.connect(shard)
            };
            let (pace, paced) = slow.then(channel).unzip();
            world.await_accepted(shard);
            watching.push(Viewer {
                thread: watch(stream, sealed, paced),
                pace,
            });
        }
        let bytes = payload_bytes(number, &mut noise);
        world.write(move |writer| append(writer, number, bytes, JOIN_EVERY));
        if noise.next().is_multiple_of(3) {
            let (shard, bytes) = (noise.next() as usize % shards, noise.between(0, 2000) as usize);
            world.run(shard, move |_, core| {
                let ping = piece(Kind::Ping, number, bytes);
                for conn in core.connection_ids() {
                    core.send(conn, &ping);
                }
            });
        }
        if number % 20 == 0 {
            for pace in watching.iter().filter_map(|viewer| viewer.pace.as_ref()) {
                let _ = pace.send(());
            }
        }
    }
    for viewer in &mut watching {
        viewer.pace = None;
    }
    world.write(|writer| writer.finish());
    let mut pings = 0;
    for viewer in watching {
        let seen = viewer.thread.join().unwrap();
        assert_eq!((seen.last, seen.skips), (Some(RECORDS - 1), 0));
        assert!(seen.first.unwrap().is_multiple_of(JOIN_EVERY));
        assert_eq!(seen.records, RECORDS - seen.first.unwrap());
        assert!(seen.pings.is_sorted(), "session bytes keep their order");
        pings += seen.pings.len();
    }
    assert!(pings > viewers, "session bytes went between records");
    if !sealed {
        assert!(world.counters.iter().any(|counters| counters.sendfiles.value() > 0));
    }
    for shard in 0..shards {
        world.await_on(shard, |_, core| core.open_connections() == 0);
        world.run(shard, |stage, core| {
            assert_eq!(core.viewers(stage.feed.unwrap()), 0);
        });
    }
}

#[test]
fn on_one_shard() {
    every_viewer_sees_a_contiguous_run(1, 24, false);
}

#[test]
fn on_two_shards() {
    every_viewer_sees_a_contiguous_run(2, 24, false);
}

#[test]
fn on_more_shards_than_cores() {
    every_viewer_sees_a_contiguous_run(8, 24, false);
}

#[test]
fn sealed_on_two_shards() {
    every_viewer_sees_a_contiguous_run(2, 9, true);
}
