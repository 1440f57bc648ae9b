//! Viewers by datagrams get exactly the packets of the feed, in each channel's order, whether or not the kernel cuts them;
//! their dialogue goes on beside, and who cannot be reached harms nobody.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use penstock_shard::connection::ConnId;
use penstock_shard::core::End;
use penstock_shard::datagrams::DatagramId;
use penstock_shard::fanout::{Class, Route, Segmentation};
use penstock_shard::feed::{Feed, Headers, Record, Writer};
use penstock_shard::shard::Sends;
use penstock_shard::sys::datagrams;

use crate::viewers::KEEPS_ALL;
use crate::wire::{Client, Kind, Noise, piece};
use crate::world::{Fact, PATIENCE, World};

const CHANNELS: [u8; 3] = [0, 1, 2];

/// The packets of one record: pictures in pieces of one size and a rest, a report now and then, sound of any size.
fn packets(number: u64) -> Vec<(u8, Vec<u8>)> {
    let mut noise = Noise(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut packets = Vec::new();
    let mut packet = |channel: u8, bytes: u64| {
        let index = packets.len() as u64;
        let mut payload = vec![index as u8; bytes as usize];
        payload[..8].copy_from_slice(&number.to_be_bytes());
        packets.push((channel, payload));
    };
    for _ in 0..noise.between(0, 24) {
        packet(0, 1_200);
    }
    if number.is_multiple_of(7) {
        packet(1, 28);
    }
    packet(0, noise.between(8, 1_200));
    for _ in 0..noise.between(0, 4) {
        packet(2, noise.between(300, 310));
    }
    packets
}

pub fn append(writer: &mut Writer, number: u64, join_every: u64, packets: &[(u8, Vec<u8>)]) {
    let mut bytes = Vec::new();
    for (channel, payload) in packets {
        bytes.extend_from_slice(&[0x24, *channel]);
        bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        bytes.extend_from_slice(payload);
    }
    let headers = Headers {
        join: &number.to_be_bytes(),
        skip: b"not sent either",
    };
    let record = Record {
        bytes: &[&bytes],
        join: number.is_multiple_of(join_every).then_some(headers),
        dts_micros: number as i64 * 10_000,
        flags: 0,
    };
    writer.append(&[record]).unwrap();
}

fn write(world: &World, number: u64, join_every: u64) {
    world.write(move |writer| append(writer, number, join_every, &packets(number)));
}

/// A peer's end, with as large a buffer as the process may have.
pub fn listener(ip: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::from(datagrams::open((ip, 0).into()).unwrap());
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A viewer's sockets, one a channel, and how much of the feed they have brought.
struct Ears {
    sockets: [UdpSocket; 3],
}

impl Ears {
    fn new() -> Ears {
        Ears {
            sockets: CHANNELS.map(|_| listener(Ipv4Addr::LOCALHOST)),
        }
    }

    fn routes(&self, sockets: [DatagramId; 2]) -> Vec<Route> {
        let ways = CHANNELS.iter().zip(&self.sockets);
        let route = |(channel, socket): (&u8, &UdpSocket)| Route {
            channel: *channel,
            socket: sockets[usize::from(channel % 2)],
            to: socket.local_addr().unwrap(),
        };
        ways.map(route).collect()
    }

    /// Exactly these, from `from`.
    fn hear(&self, packets: &[(u8, Vec<u8>)], from: [SocketAddr; 2]) {
        let mut heard = [0; 65_536];
        for (channel, payload) in packets {
            let (bytes, by) = self.sockets[usize::from(*channel)].recv_from(&mut heard).unwrap();
            assert!(&heard[..bytes] == payload, "of channel {channel}");
            assert_eq!(by, from[usize::from(channel % 2)]);
        }
    }

    fn hear_nothing_more(&self) {
        for socket in &self.sockets {
            socket.set_nonblocking(true).unwrap();
            let error = socket.recv_from(&mut [0; 10]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        }
    }
}

/// A pair of sockets on a shard.
fn open_pair(world: &World, shard: usize) -> ([DatagramId; 2], [SocketAddr; 2]) {
    world.run(shard, |_, core| {
        let pair = datagrams::open_pair(IpAddr::V4(Ipv4Addr::LOCALHOST), 20_000, 60_000).unwrap();
        let ids = pair.map(|socket| core.open_datagrams(socket).unwrap());
        let addresses = ids.map(|id| core.datagram_address(id).unwrap());
        assert!(addresses[0].port().is_multiple_of(2) && addresses[1].port() == addresses[0].port() + 1);
        (ids, addresses)
    })
}

/// A connection that watches nothing yet.
fn dialogue(world: &World, shard: usize) -> (ConnId, Client) {
    world.run(shard, |stage, _| stage.joins = false);
    let client = Client::new(world.connect(shard));
    (world.await_accepted(shard), client)
}

fn join(world: &World, shard: usize, conn: ConnId, routes: Vec<Route>) {
    world.run(shard, move |stage, core| {
        core.join_datagrams(conn, stage.feed.unwrap(), &routes);
    });
}

struct Total {
    sends: u64,
    cut: u64,
    datagrams: u64,
    bytes: u64,
}

fn all_viewers_hear_all(segmentation: Segmentation) -> Total {
    const VIEWERS: usize = 100;
    const JOIN: u64 = 12;
    const RECORDS: u64 = 140;
    let sends = Sends {
        segmentation,
        ..Sends::default()
    };
    let world = World::made(2, 4096, 256 * 1024 * 1024, sends);
    let feed = world.feed(KEEPS_ALL, Class::Realtime);
    let pairs = [0, 1].map(|shard| open_pair(&world, shard));
    // Viewers start at 12, and catch up.
    for number in 0..20 {
        write(&world, number, JOIN);
    }
    let mut viewers = Vec::new();
    for number in 0..VIEWERS {
        let shard = number % 2;
        let (ids, addresses) = pairs[shard];
        let ears = Ears::new();
        let (conn, client) = dialogue(&world, shard);
        join(&world, shard, conn, ears.routes(ids));
        for number in JOIN..20 {
            ears.hear(&packets(number), addresses);
        }
        viewers.push((ears, addresses, conn, client));
    }
    for number in 20..RECORDS {
        write(&world, number, JOIN);
        for (ears, addresses, ..) in &viewers {
            ears.hear(&packets(number), *addresses);
        }
    }
    // Over several blocks of memory.
    assert!(feed.head() > 5 * penstock_shard::pool::BLOCK_BYTES as u64);
    world.write(|writer| writer.finish());
    for (ears, _, _, mut client) in viewers {
        assert_eq!(client.read_to_end().bytes, 0, "the dialogue is not the feed");
        ears.hear_nothing_more();
    }
    for shard in 0..2 {
        world.await_on(shard, |_, core| core.counters().datagram_viewers.value() == 0);
        world.run(shard, |_, core| core.check_invariants());
        assert_eq!(feed.released(shard), u64::MAX);
    }
    let sum = |of: fn(&penstock_shard::counters::ShardCounters) -> u64| {
        world.counters.iter().map(|counters| of(counters)).sum::<u64>()
    };
    assert_eq!(sum(|c| c.datagrams_dropped.value() + c.datagrams_refused.value()), 0);
    assert_eq!(sum(|c| c.datagram_cuts_refused.value()), 0);
    assert_eq!(sum(|c| c.cursors_joined.value()), VIEWERS as u64);
    assert_eq!(sum(|c| c.cursors_skipped.value()), 0);
    let per_viewer = (JOIN..RECORDS).map(|number| packets(number).len() as u64).sum::<u64>();
    assert_eq!(sum(|c| c.datagrams_sent.value()), per_viewer * VIEWERS as u64);
    Total {
        sends: sum(|c| c.datagram_sends.value()),
        cut: sum(|c| c.datagram_sends_cut.value()),
        datagrams: sum(|c| c.datagrams_sent.value()),
        bytes: sum(|c| c.datagram_bytes_sent.value()),
    }
}

#[test]
fn a_hundred_viewers_get_the_packets_of_the_feed_cut_by_the_kernel_or_not() {
    let cut = all_viewers_hear_all(Segmentation::Auto);
    let single = all_viewers_hear_all(Segmentation::Off);
    assert_eq!((cut.datagrams, cut.bytes), (single.datagrams, single.bytes));
    assert_eq!((single.sends, single.cut), (single.datagrams, 0));
    assert!(
        cut.cut > 0 && cut.sends * 2 < single.sends,
        "{} of {}",
        cut.sends,
        single.sends
    );
}

/// A world of one shard with one viewer, who waits for the first join point.
fn one_viewer() -> (World, Arc<Feed>, Ears, [SocketAddr; 2], ConnId, Client) {
    let world = World::new(1);
    let feed = world.feed(KEEPS_ALL, Class::Realtime);
    let (ids, addresses) = open_pair(&world, 0);
    let ears = Ears::new();
    let (conn, client) = dialogue(&world, 0);
    join(&world, 0, conn, ears.routes(ids));
    (world, feed, ears, addresses, conn, client)
}

#[test]
fn the_dialogue_goes_on_beside_and_speaks_before_the_first_packet() {
    let (world, feed, ears, addresses, conn, mut client) = one_viewer();
    world.run(0, |stage, _| {
        stage.on_joining = Some(Box::new(|core, conn, header| {
            assert_eq!(core.counters().datagrams_sent.value(), 0);
            let number = u64::from_be_bytes(header.try_into().unwrap());
            core.send(conn, &piece(Kind::Ping, number, 10));
        }));
    });
    for number in 1..10 {
        write(&world, number, 5);
    }
    client.read_until(|seen| seen.pings == [5]);
    for number in 5..10 {
        ears.hear(&packets(number), addresses);
    }
    for number in 10..40 {
        world.run(0, move |_, core| core.send(conn, &piece(Kind::Ping, number, 3_000)));
        write(&world, number, 5);
        ears.hear(&packets(number), addresses);
        client.read_until(|seen| seen.pings.last() == Some(&number));
    }
    // Paused, and on from where it is then.
    world.run(0, move |_, core| {
        assert!(core.bytes_sent(conn) > 30 * 3_000 + feed.head() / 2);
        core.leave_feed(conn);
    });
    for number in 40..52 {
        write(&world, number, 5);
    }
    world.run(0, |_, core| {
        core.check_invariants();
        assert_eq!(core.counters().datagram_viewers.value(), 0);
    });
    let (ids, addresses) = open_pair(&world, 0);
    world.run(0, |stage, _| stage.on_joining = None);
    join(&world, 0, conn, ears.routes(ids));
    for number in 50..52 {
        ears.hear(&packets(number), addresses);
    }
    ears.hear_nothing_more();
    world.run(0, move |_, core| core.finish(conn));
    assert_eq!(client.read_to_end().records, 0);
    drop(client);
    assert_eq!(world.await_ended(0), (conn, End::Finished));
    world.run(0, |_, core| core.check_invariants());
}

#[test]
fn only_channels_with_a_route_are_sent_and_one_without_any_moves_on() {
    let world = World::new(1);
    let feed = world.feed(KEEPS_ALL, Class::Realtime);
    let (ids, addresses) = open_pair(&world, 0);
    let (ears, deaf) = (Ears::new(), Ears::new());
    let [(conn, _first), (other, _second)] = [(); 2].map(|()| dialogue(&world, 0));
    let routes = ears.routes(ids).split_off(2);
    join(&world, 0, conn, routes);
    join(&world, 0, other, Vec::new());
    for number in 0..60 {
        write(&world, number, 100);
        let heard: Vec<_> = packets(number)
            .into_iter()
            .filter(|(channel, _)| *channel == 2)
            .collect();
        ears.hear(&heard, addresses);
    }
    ears.hear_nothing_more();
    deaf.hear_nothing_more();
    // Who is sent nothing holds nothing.
    let head = feed.head();
    world.await_on(0, move |_, core| {
        core.check_invariants();
        feed.released(0) > head / 2
    });
}

#[test]
fn who_cannot_be_reached_is_told_and_harms_nobody() {
    let (world, _feed, ears, addresses, conn, mut client) = one_viewer();
    let (ids, _) = open_pair(&world, 0);
    let (lost, mut other) = dialogue(&world, 0);
    let [socket, closed] = ids;
    // No socket may send to everybody unasked, and one is closed.
    let routes = vec![
        Route {
            channel: 0,
            socket,
            to: "255.255.255.255:9".parse().unwrap(),
        },
        Route {
            channel: 1,
            socket: closed,
            to: ears.sockets[0].local_addr().unwrap(),
        },
    ];
    join(&world, 0, lost, routes);
    world.run(0, move |_, core| core.close_datagrams(closed));
    let (mut pictures, mut reports) = (0, 0);
    for number in 0..15 {
        write(&world, number, 100);
        let all = packets(number);
        let of = |wanted: u8| all.iter().filter(|(channel, _)| *channel == wanted).count() as u64;
        (pictures, reports) = (pictures + of(0), reports + of(1));
        ears.hear(&all, addresses);
        let told = world.await_fact(0, |fact| match fact {
            Fact::Unreachable(conn) => Some(conn),
            Fact::Ended(..) => panic!("{fact:?}"),
            _ => None,
        });
        assert_eq!(told, lost);
    }
    assert_eq!(world.counters[0].datagrams_refused.value(), pictures + reports);
    for (conn, client) in [(conn, &mut client), (lost, &mut other)] {
        world.run(0, move |_, core| core.send(conn, &piece(Kind::Ping, 1, 10)));
        client.read_until(|seen| seen.pings == [1]);
    }
    world.run(0, |_, core| core.check_invariants());
}

/// Who leaves takes its place in the list with it, whoever stands there then.
#[test]
fn viewers_of_both_kinds_come_and_go() {
    let world = World::new(1);
    let feed = world.feed(KEEPS_ALL, Class::Realtime);
    let (ids, addresses) = open_pair(&world, 0);
    write(&world, 0, 100);
    let mut streams: Vec<_> = (0..4).map(|_| dialogue(&world, 0)).collect();
    let mut casts: Vec<_> = (0..4).map(|_| (Ears::new(), dialogue(&world, 0))).collect();
    for ((stream, _), (ears, (cast, _))) in streams.iter().zip(&casts) {
        let (stream, cast, routes) = (*stream, *cast, ears.routes(ids));
        world.run(0, move |stage, core| {
            core.join(stream, stage.feed.unwrap());
            core.join_datagrams(cast, stage.feed.unwrap(), &routes);
        });
        ears.hear(&packets(0), addresses);
    }
    let mut read = 0;
    for number in 1..5 {
        write(&world, number, 100);
        for (ears, _) in &casts {
            ears.hear(&packets(number), addresses);
        }
        // The bytes of a stream's viewers are the feed's, heads and all, behind the join header.
        let head = feed.head() + 8;
        for (_, client) in &mut streams {
            let mut bytes = vec![0; (head - read) as usize];
            std::io::Read::read_exact(&mut client.stream, &mut bytes).unwrap();
        }
        read = head;
        let (gone, client) = casts.remove(0).1;
        drop(client);
        world.await_fact(0, |fact| match fact {
            Fact::Ended(conn, _) => (conn == gone).then_some(()),
            _ => None,
        });
        let (left, _client) = streams.remove(0);
        world.run(0, move |stage, core| {
            core.leave_feed(left);
            assert_eq!(core.viewers(stage.feed.unwrap()), 2 * (4 - number as usize));
        });
        world.run(0, |_, core| core.check_invariants());
    }
    assert_eq!(feed.released(0), u64::MAX);
}

#[test]
fn a_group_is_sent_the_feed_once_for_all_who_listen() {
    let world = World::new(1);
    world.feed(KEEPS_ALL, Class::Realtime);
    let address = Ipv4Addr::new(239, 255, 71, 3);
    let socket = listener(Ipv4Addr::UNSPECIFIED);
    socket.join_multicast_v4(&address, &Ipv4Addr::LOCALHOST).unwrap();
    let to = (address, socket.local_addr().unwrap().port()).into();
    let group = world.run(0, move |stage, core| {
        let socket = core
            .open_datagrams(datagrams::open_group(Ipv4Addr::LOCALHOST, 1).unwrap())
            .unwrap();
        let routes = [Route { channel: 0, socket, to }];
        let feed = stage.feed.unwrap();
        let left = core.join_group(feed, &routes).unwrap();
        let group = core.join_group(feed, &routes).unwrap();
        core.leave_group(left);
        assert_eq!((core.viewers(feed), left == group), (1, false));
        group
    });
    let mut heard = [0; 2_000];
    for number in 0..40 {
        write(&world, number, 10);
        for (_, payload) in packets(number).iter().filter(|(channel, _)| *channel == 0) {
            let bytes = socket.recv(&mut heard).unwrap();
            assert!(&heard[..bytes] == payload);
        }
    }
    world.write(|writer| writer.finish());
    let ended = world.await_fact(0, |fact| match fact {
        Fact::GroupEnded(group) => Some(group),
        _ => None,
    });
    assert_eq!(ended, group);
    world.run(0, |_, core| core.check_invariants());
}
