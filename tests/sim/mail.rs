//! Datagrams of the simulated network: sockets of shards, and an outside that sends to them and keeps what it is sent.
//!
//! Datagrams are lost, doubled and overtake each other, as the noise chooses; a socket is full now and then; some kernels do
//! not cut. Memory is read when a send is issued, as the kernel does it.

use std::collections::VecDeque;
use std::net::SocketAddr;

use penstock_shard::kernel::{Armed, Datagrams};
use penstock_shard::pool::log::Span;

use super::net::{EAGAIN, ECONNREFUSED, EINVAL, ENOBUFS, Net};

/// What one buffer holds behind the head of a datagram.
const BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Default)]
pub struct Mail {
    pub sockets: Vec<Post>,
    /// What has left the server, in the order of its arrival.
    pub outside: Vec<Letter>,
    /// One in so many is lost; 0 for none.
    pub lost_once_in: u64,
    /// A socket is full once in so many sends; 0 for never.
    pub full_once_in: u64,
    /// This kernel refuses to cut.
    pub refuses_cuts: bool,
    /// Nobody is there, and the way says so.
    pub closed: Vec<SocketAddr>,
}

/// A socket of a shard.
#[derive(Debug)]
pub struct Post {
    pub address: SocketAddr,
    pub is_open: bool,
    waiting: VecDeque<Letter>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    pub at: u64,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// A send of datagrams that is not issued yet.
#[derive(Debug)]
pub struct Posting {
    pub slot: u32,
    pub to: SocketAddr,
    pub what: Words,
    pub user_data: u64,
}

#[derive(Debug)]
pub enum Words {
    Own(Vec<u8>),
    Pieces { spans: Vec<Span>, segment: Option<u16> },
}

impl Words {
    pub fn of(what: Datagrams<'_>) -> Words {
        match what {
            Datagrams::Own(bytes) => Words::Own(bytes.to_vec()),
            Datagrams::Pieces { pieces, range, segment } => Words::Pieces {
                spans: pieces.spans()[range].to_vec(),
                segment,
            },
        }
    }
}

impl Net {
    /// A socket for a shard, bound to `address`; its number.
    pub fn open_post(&mut self, address: SocketAddr) -> usize {
        self.mail.sockets.push(Post {
            address,
            is_open: true,
            waiting: VecDeque::new(),
        });
        self.mail.sockets.len() - 1
    }

    pub fn close_post(&mut self, number: usize) {
        let post = &mut self.mail.sockets[number];
        post.is_open = false;
        post.waiting.clear();
    }

    /// From outside, to a socket of a shard.
    pub fn post(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let found = self
            .mail
            .sockets
            .iter()
            .position(|post| post.is_open && post.address == to);
        let Some(number) = found else { return };
        for at in self.arrivals() {
            let (bytes, post) = (bytes.to_vec(), &mut self.mail.sockets[number]);
            let place = post.waiting.partition_point(|letter| letter.at <= at);
            post.waiting.insert(place, Letter { at, from, to, bytes });
        }
    }

    /// When a datagram that is sent now arrives: not at all, once, or twice.
    fn arrivals(&mut self) -> Vec<u64> {
        let odds = self.mail.lost_once_in;
        if odds > 0 && self.noise.once_in(odds) {
            return Vec::new();
        }
        let copies = if odds > 0 && self.noise.once_in(odds) { 2 } else { 1 };
        let mut arrival = || self.now + if odds > 0 { self.noise.below(3_000) } else { 50 };
        (0..copies).map(|_| arrival()).collect()
    }

    /// A send is issued.
    pub(super) fn send_posting(&mut self, shard: usize, posting: Posting) {
        let Posting {
            slot,
            to,
            what,
            user_data,
        } = posting;
        let number = self.ports[shard].posts[&slot];
        let (bytes, segment) = match what {
            Words::Own(bytes) => (bytes, None),
            Words::Pieces { spans, segment } => {
                let mut bytes = Vec::new();
                for span in spans {
                    let from = bytes.len();
                    bytes.resize(from + span.len, 0);
                    self.pool.read(span.file_offset, &mut bytes[from..]);
                }
                (bytes, segment)
            }
        };
        let datagrams = match segment {
            Some(segment) => bytes.len().div_ceil(segment.into()),
            None => 1,
        };
        assert!(
            datagrams <= 64 && bytes.len() <= 65_507,
            "{datagrams} datagrams, {} bytes",
            bytes.len()
        );
        self.ports[shard].spend(2 + datagrams as u64 / 2);
        let full = self.mail.full_once_in;
        let result = if segment.is_some() && self.mail.refuses_cuts {
            -EINVAL
        } else if full > 0 && self.noise.once_in(full) {
            -EAGAIN
        } else if self.mail.closed.contains(&to) {
            -ECONNREFUSED
        } else {
            bytes.len() as i32
        };
        if result >= 0 {
            let from = self.mail.sockets[number].address;
            for datagram in bytes.chunks(segment.map_or(bytes.len().max(1), usize::from)) {
                for at in self.arrivals() {
                    let place = self.mail.outside.partition_point(|letter| letter.at <= at);
                    let bytes = datagram.to_vec();
                    self.mail.outside.insert(place, Letter { at, from, to, bytes });
                }
            }
        }
        self.trace.add(result as u64);
        self.complete(shard, user_data, result, Armed::NoMore, None);
    }

    /// When a receive of datagrams has something to bring.
    pub(super) fn mail_at(&self, shard: usize, slot: u32) -> Option<u64> {
        let number = self.ports[shard].posts.get(&slot)?;
        self.mail.sockets[*number].waiting.front().map(|letter| letter.at)
    }

    pub(super) fn receive_mail(&mut self, shard: usize, slot: u32) {
        while let Some(at) = self.mail_at(shard, slot)
            && at <= self.now
            && let Some(user_data) = self.ports[shard].post_receives.get(&slot).copied()
        {
            let Some(buffer) = self.ports[shard].buffers_free.pop() else {
                self.ports[shard].post_receives.remove(&slot);
                return self.complete(shard, user_data, -ENOBUFS, Armed::NoMore, None);
            };
            let number = self.ports[shard].posts[&slot];
            let letter = self.mail.sockets[number].waiting.pop_front();
            let letter = letter.expect("it has one that has come");
            let result = letter.bytes.len().min(BYTES_MAX) as i32;
            self.trace.add(result as u64);
            self.ports[shard].spend(2);
            self.ports[shard].letters_filled.insert(buffer, letter);
            self.complete(shard, user_data, result, Armed::Still, Some(buffer));
        }
    }
}
