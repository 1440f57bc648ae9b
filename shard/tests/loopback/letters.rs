//! Datagrams that come in, and those of the appliance's own.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};

use penstock_shard::datagrams::DatagramId;
use penstock_shard::limits;
use penstock_shard::sys::datagrams;

use crate::datagrams::listener;
use crate::world::{PATIENCE, World};

type Heard = (DatagramId, SocketAddr, Vec<u8>);

/// A world whose shard tells what it receives at `address`.
fn hearing(address: &str) -> (World, DatagramId, SocketAddr, Receiver<Heard>) {
    let world = World::new(1);
    let (heard, told) = channel();
    let address: SocketAddr = address.parse().unwrap();
    let (id, bound) = world.run(0, move |stage, core| {
        stage.on_datagram = Some(Box::new(move |_, id, from, bytes| {
            let _ = heard.send((id, from, bytes.to_vec()));
        }));
        let id = core.open_datagrams(datagrams::open(address).unwrap()).unwrap();
        (id, core.datagram_address(id).unwrap())
    });
    (world, id, bound, told)
}

fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at / 3) as u8).collect()
}

#[test]
fn datagrams_of_any_size_up_to_a_buffers_come_whole_and_larger_ones_are_counted() {
    let (world, id, to, told) = hearing("127.0.0.1:0");
    let peer = listener(Ipv4Addr::LOCALHOST);
    let from = peer.local_addr().unwrap();
    for bytes in [0, 1, 12, 1_200, 10_000, 16 * 1024, 1] {
        peer.send_to(&payload(bytes), to).unwrap();
        let heard = told.recv_timeout(PATIENCE).unwrap();
        assert!(
            heard == (id, from, payload(bytes)),
            "of {bytes} bytes came {}",
            heard.2.len()
        );
    }
    for bytes in [limits::RECEIVE_BUFFER_BYTES, 65_000] {
        peer.send_to(&payload(bytes), to).unwrap();
    }
    peer.send_to(b"behind them", to).unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().2, b"behind them");
    assert_eq!(world.counters[0].datagrams_received_cut.value(), 2);
    assert_eq!(world.counters[0].datagrams_received.value(), 10);
}

/// More than there are buffers, at once: the receive stops for want of them, and goes on.
#[test]
fn a_burst_is_received_to_its_end() {
    let (world, _, to, told) = hearing("127.0.0.1:0");
    let peer = listener(Ipv4Addr::LOCALHOST);
    const BURST: usize = 2 * limits::RECEIVE_BUFFERS as usize;
    world.run(0, move |_, _| {
        for number in 0..BURST {
            peer.send_to(&number.to_be_bytes(), to).unwrap();
        }
    });
    for number in 0..BURST {
        assert_eq!(told.recv_timeout(PATIENCE).unwrap().2, number.to_be_bytes());
    }
}

#[test]
fn an_ipv4_peer_of_a_socket_of_both_families_is_answered() {
    let (world, id, bound, told) = hearing("[::]:0");
    let four = listener(Ipv4Addr::LOCALHOST);
    let six = UdpSocket::bind("[::1]:0").unwrap();
    six.set_read_timeout(Some(PATIENCE)).unwrap();
    // More than a slice, and no more than the receive buffer that a socket has by default.
    const LETTERS: u16 = 150;
    for (peer, ip) in [(four, "127.0.0.1"), (six, "::1")] {
        peer.send_to(b"hello", (ip, bound.port())).unwrap();
        let (_, from, _) = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(from, peer.local_addr().unwrap());
        world.run(0, move |_, core| {
            for number in 0..LETTERS {
                core.send_datagram(id, from, &number.to_be_bytes());
            }
        });
        let mut heard = [0; 10];
        for number in 0..LETTERS {
            assert_eq!(peer.recv(&mut heard).unwrap(), 2);
            assert_eq!(heard[..2], number.to_be_bytes());
        }
    }
    world.await_on(0, |_, core| {
        core.counters().datagrams_sent.value() == 2 * u64::from(LETTERS)
    });
}

#[test]
fn what_exceeds_a_pass_or_leads_nowhere_is_counted_and_not_sent() {
    let (world, id, _, _told) = hearing("127.0.0.1:0");
    let peer = listener(Ipv4Addr::LOCALHOST);
    let to = peer.local_addr().unwrap();
    let counters = &world.counters[0];
    world.run(0, move |_, core| {
        for _ in 0..limits::LETTERS_MAX + 5 {
            core.send_datagram(id, to, b"1");
        }
    });
    assert_eq!(counters.datagrams_dropped.value(), 5);
    world.await_on(0, |_, core| {
        core.counters().datagrams_sent.value() == limits::LETTERS_MAX as u64
    });
    world.run(0, move |_, core| {
        core.send_datagram(id, to, &vec![0; limits::LETTER_BYTES_MAX + 1]);
        // Longer than a datagram can be, to nowhere, and from a socket that is gone by then.
        core.send_datagram(id, to, &[0; 65_536]);
        core.send_datagram(id, "127.0.0.1:0".parse().unwrap(), b"1");
    });
    world.await_on(0, |_, core| core.counters().datagrams_refused.value() == 2);
    world.run(0, move |_, core| {
        core.send_datagram(id, to, b"1");
        core.close_datagrams(id);
    });
    world.await_on(0, |_, core| core.counters().datagrams_refused.value() == 3);
    assert_eq!(counters.datagrams_dropped.value(), 6);
    assert_eq!(counters.datagram_sockets_open.value(), 0);
    world.run(0, |_, core| core.check_invariants());
}

/// The place of a closed socket goes to another one, and nothing that was on its way to the first reaches it.
#[test]
fn a_closed_socket_is_gone_and_its_port_free() {
    let (world, id, bound, told) = hearing("127.0.0.1:0");
    let peer = listener(Ipv4Addr::LOCALHOST);
    let again = world.run(0, move |_, core| {
        peer.send_to(b"late", bound).unwrap();
        core.close_datagrams(id);
        core.close_datagrams(id);
        assert!(core.datagram_address(id).is_none());
        let again = core.open_datagrams(datagrams::open(bound).unwrap()).unwrap();
        assert_ne!(again, id);
        peer.send_to(b"new", bound).unwrap();
        again
    });
    let (by, _, bytes) = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!((by, &bytes[..]), (again, &b"new"[..]));
    assert_eq!(world.counters[0].datagram_receive_errors.value(), 0);
}
