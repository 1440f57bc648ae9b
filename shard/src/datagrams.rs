//! The datagram sockets of one shard, which many peers share: opened by the appliance, received from all the time, sent from
//! by viewers (`fanout::casts`) and by the appliance itself (`fanout::letters`).
//!
//! Who a datagram is from is the appliance's to find out, by socket and address.
//!
//! Invariants: their slots of the ring's registered files are those behind the connections'; a name is stale once its socket
//! is closed, and a completion of an earlier one in its place is not taken for its own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use crate::connection::{ConnId, GENERATION_MASK};
use crate::core::{Core, Operation, connection_of};
use crate::kernel::Kernel;
use crate::limits;

/// Names a datagram socket of one shard; stale once it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatagramId {
    index: u32,
    /// 24 bits.
    generation: u32,
}

impl DatagramId {
    /// For tables of the appliance that run beside the shard's.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

#[derive(Debug)]
pub(crate) struct Sockets<S> {
    places: Vec<Place<S>>,
    /// Of the first one.
    slot: u32,
}

#[derive(Debug)]
struct Place<S> {
    /// Of the socket that stands or will stand here next.
    generation: u32,
    open: Option<Open<S>>,
}

#[derive(Debug)]
struct Open<S> {
    socket: S,
    /// IPv4 peers have IPv6 addresses there.
    is_v6: bool,
    receive_armed: bool,
}

impl<S> Sockets<S> {
    pub fn new(slot: u32) -> Self {
        let places = Vec::new();
        Sockets { places, slot }
    }

    fn get(&self, id: DatagramId) -> Option<&Open<S>> {
        let place = self.places.get(id.index as usize)?;
        place.open.as_ref().filter(|_| place.generation == id.generation)
    }

    fn get_mut(&mut self, id: DatagramId) -> Option<&mut Open<S>> {
        let place = self.places.get_mut(id.index as usize)?;
        place.open.as_mut().filter(|_| place.generation == id.generation)
    }

    /// The slot of an open socket, and `to` as its family writes it.
    pub fn way(&self, id: DatagramId, to: SocketAddr) -> Option<(u32, SocketAddr)> {
        let open = self.get(id)?;
        let to = match to.ip() {
            IpAddr::V4(ip) if open.is_v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
            _ => to,
        };
        Some((self.slot + id.index, to))
    }

    fn insert(&mut self, open: Open<S>) -> Option<DatagramId> {
        let index = match self.places.iter().position(|place| place.open.is_none()) {
            Some(index) => index,
            None if self.places.len() < limits::DATAGRAM_SOCKETS_MAX as usize => {
                let (generation, open) = (0, None);
                self.places.push(Place { generation, open });
                self.places.len() - 1
            }
            None => return None,
        };
        let place = &mut self.places[index];
        place.open = Some(open);
        Some(DatagramId {
            index: index as u32,
            generation: place.generation,
        })
    }

    fn remove(&mut self, id: DatagramId) -> Option<S> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation != id.generation {
            return None;
        }
        let open = place.open.take()?;
        place.generation = (place.generation + 1) & GENERATION_MASK;
        Some(open.socket)
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.places.iter().filter(|place| place.open.is_some()).count()
    }
}

/// As an operation of the ring names it.
fn named(id: DatagramId) -> ConnId {
    ConnId {
        index: id.index,
        generation: id.generation,
    }
}

pub(crate) fn socket_of(user_data: u64) -> DatagramId {
    let ConnId { index, generation } = connection_of(user_data);
    DatagramId { index, generation }
}

impl<M, K: Kernel> Core<M, K> {
    /// Takes in a bound datagram socket (`sys::datagrams` makes them). What comes to it is handed to the appliance's
    /// `datagram` from here on.
    ///
    /// # Errors
    /// `EMFILE` when the shard has [`limits::DATAGRAM_SOCKETS_MAX`] of them; what the ring says, `EINVAL` when the limit of
    /// descriptors left it fewer slots. The socket is closed then.
    pub fn open_datagrams(&mut self, socket: K::Socket) -> io::Result<DatagramId> {
        let is_v6 = self.kernel.local_address(&socket)?.is_ipv6();
        let receive_armed = false;
        let open = Open {
            socket,
            is_v6,
            receive_armed,
        };
        let id = (self.sockets.insert(open)).ok_or_else(|| io::Error::from_raw_os_error(libc::EMFILE))?;
        let slot = self.sockets.slot + id.index;
        let socket = self.sockets.get(id).map(|open| &open.socket);
        let armed = socket
            .map_or(Ok(()), |socket| self.kernel.register(slot, socket))
            .and_then(|()| self.receive_datagrams(id));
        if let Err(error) = armed {
            self.close_datagrams(id);
            return Err(error);
        }
        self.counters.datagram_sockets_open.add(1);
        Ok(id)
    }

    /// Opens two datagram sockets of one peer: at an even port of `ports`, and at the next.
    ///
    /// # Errors
    /// As [`Core::open_datagrams`], and what the kernel says: `EADDRINUSE` where every pair of `ports` is taken.
    pub fn open_datagram_pair(&mut self, ip: IpAddr, ports: Range<u16>) -> io::Result<[DatagramId; 2]> {
        let [even, odd] = self.kernel.datagram_pair(ip, ports)?;
        let even = self.open_datagrams(even)?;
        let odd = self.open_datagrams(odd).inspect_err(|_| self.close_datagrams(even))?;
        Ok([even, odd])
    }

    /// The socket is closed. Viewers that still have routes by it are told that these do not lead anywhere.
    pub fn close_datagrams(&mut self, id: DatagramId) {
        let Some(open) = self.sockets.get(id) else { return };
        let (slot, was_armed) = (self.sockets.slot + id.index, open.receive_armed);
        // As a connection's: cancelled by its slot before that is emptied, and then closed.
        let cancelled = self.kernel.cancel(slot).and_then(|()| self.kernel.submit());
        let emptied = self.kernel.unregister(slot);
        debug_assert!(cancelled.is_ok() && emptied.is_ok());
        drop(self.sockets.remove(id));
        if was_armed {
            self.counters.datagram_sockets_open.sub(1);
        }
    }

    /// Where the socket is bound.
    pub fn datagram_address(&self, id: DatagramId) -> Option<SocketAddr> {
        self.kernel.local_address(&self.sockets.get(id)?.socket).ok()
    }

    fn receive_datagrams(&mut self, id: DatagramId) -> io::Result<()> {
        let user_data = Operation::ReceiveDatagrams.of_connection(named(id));
        self.kernel.receive_datagrams(self.sockets.slot + id.index, user_data)?;
        if let Some(open) = self.sockets.get_mut(id) {
            open.receive_armed = true;
        }
        Ok(())
    }

    pub(crate) fn is_open(&self, id: DatagramId) -> bool {
        self.sockets.get(id).is_some()
    }

    /// A receive has reported for the last time: it goes on, whatever that was. An error of a datagram socket is of a
    /// datagram, and taken by the report.
    pub(crate) fn receive_on(&mut self, id: DatagramId, result: i32) {
        match -result {
            libc::ENOBUFS => self.counters.receive_buffers_short.add(1),
            libc::ECANCELED => return,
            error if error > 0 => self.counters.datagram_receive_errors.add(1),
            _ => {}
        }
        if self.is_open(id) && self.receive_datagrams(id).is_err() {
            self.counters.datagram_receive_errors.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_name_finds_nothing_and_an_address_is_of_the_sockets_family() {
        let mut sockets = Sockets::new(100);
        let open = |is_v6| Open {
            socket: (),
            is_v6,
            receive_armed: true,
        };
        let four = sockets.insert(open(false)).unwrap();
        let six = sockets.insert(open(true)).unwrap();
        let to: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        assert_eq!(sockets.way(four, to), Some((100, to)));
        let mapped = "[::ffff:192.0.2.1]:5000".parse().unwrap();
        assert_eq!(sockets.way(six, to), Some((101, mapped)));
        assert_eq!((sockets.remove(four), sockets.remove(four)), (Some(()), None));
        assert_eq!((sockets.way(four, to), sockets.open()), (None, 1));
        let again = sockets.insert(open(false)).unwrap();
        assert_eq!((again.index, again.generation), (0, 1));
        assert_ne!(again, four);
        for _ in 0..limits::DATAGRAM_SOCKETS_MAX - 2 {
            assert!(sockets.insert(open(false)).is_some());
        }
        assert!(sockets.insert(open(false)).is_none());
        assert_eq!(
            socket_of(Operation::ReceiveDatagrams.of_connection(named(again))),
            again
        );
    }
}
