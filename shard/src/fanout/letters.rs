//! Datagrams of the appliance's own: reports, answers, a first packet that opens a way back. Few, and copied.
//!
//! Invariants: they go out in the next slice, in their order; what is under way is not written to, so that what is added
//! meanwhile stands in a buffer of its own. What does not fit, or is not taken, is dropped and counted.

use std::net::SocketAddr;
use std::ops::Range;

use crate::core::{Core, Operation};
use crate::datagrams::DatagramId;
use crate::kernel::{Datagrams, Kernel};
use crate::limits;

use super::casts::Flight;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    filling: Letters,
    /// Of these, the first `sent` were given to the kernel.
    going: Letters,
    sent: usize,
}

#[derive(Debug, Default)]
struct Letters {
    bytes: Vec<u8>,
    heads: Vec<(DatagramId, SocketAddr, Range<usize>)>,
}

impl Letters {
    fn clear(&mut self) {
        self.bytes.clear();
        self.heads.clear();
    }
}

impl Outbox {
    pub fn is_empty(&self) -> bool {
        self.filling.heads.is_empty() && self.sent == self.going.heads.len()
    }

    /// Nothing is under way.
    pub fn turn_over(&mut self) {
        if self.sent == self.going.heads.len() {
            std::mem::swap(&mut self.filling, &mut self.going);
            self.filling.clear();
            self.sent = 0;
        }
    }
}

impl<M, K: Kernel> Core<M, K> {
    /// Sends one datagram of the appliance's own from `socket` to `to`, in the next pass. One that finds the socket full is
    /// dropped, as is what exceeds [`limits::LETTERS_MAX`] or [`limits::LETTER_BYTES_MAX`] a pass; all of it counted.
    pub fn send_datagram(&mut self, socket: DatagramId, to: SocketAddr, bytes: &[u8]) {
        let letters = &mut self.fanout.casts.outbox.filling;
        let from = letters.bytes.len();
        if letters.heads.len() >= limits::LETTERS_MAX || from + bytes.len() > limits::LETTER_BYTES_MAX {
            return self.counters.datagrams_dropped.add(1);
        }
        letters.bytes.extend_from_slice(bytes);
        letters.heads.push((socket, to, from..letters.bytes.len()));
    }

    /// Queues up to `room` of them; how many.
    pub(super) fn queue_letters(&mut self, room: usize) -> usize {
        let casts = &mut self.fanout.casts;
        let Outbox { going, sent, .. } = &mut casts.outbox;
        let mut queued = 0;
        while queued < room
            && let Some((socket, to, range)) = going.heads.get(*sent)
        {
            *sent += 1;
            let Some((slot, to)) = self.sockets.way(*socket, *to) else {
                self.counters.datagrams_refused.add(1);
                continue;
            };
            let what = Datagrams::Own(&going.bytes[range.clone()]);
            let user_data = Operation::SendDatagrams.of_number(casts.flights.len() as u64);
            self.counters.datagram_sends.add(1);
            match self.kernel.send_datagrams(slot, to, what, user_data) {
                Ok(()) => {
                    casts.flights.push(Flight::letter());
                    casts.under_way += 1;
                }
                Err(_) => self.counters.datagrams_dropped.add(1),
            }
            queued += 1;
        }
        queued
    }
}
