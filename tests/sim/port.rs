//! The simulated kernel's side of one shard: a queue of operations, those that are armed, completions, the clock of the
//! shard's own work.
//!
//! As io_uring with DEFER_TASKRUN: operations are issued and completions appear when the shard enters, and not between.

use std::collections::{BTreeMap, VecDeque};

use penstock_shard::kernel::{Armed, Completion, Outgoing, Signalling};
use penstock_shard::pool::log::Span;

use super::mail::{Letter, Posting};
use super::net::{ByReference, ECANCELED, ECONNREFUSED, EMFILE, ENOBUFS, EOVERFLOW, LinkId, Net};

/// Few, so that receives run out of them.
const BUFFERS: u16 = 3;
const BUFFER_BYTES: u64 = 16 * 1024;

#[derive(Debug)]
pub struct Port {
    queue: Vec<Queued>,
    pub completions: VecDeque<Completion>,
    /// Connections by slot.
    slots: BTreeMap<u32, LinkId>,
    pub receives: BTreeMap<u32, u64>,
    pub polls: BTreeMap<u32, u64>,
    /// Listener and user data.
    accepts: Vec<(usize, u64)>,
    timeouts: Vec<(u64, u64)>,
    /// Doorbells on their way here.
    doorbells: Vec<(u64, u64)>,
    pub accepted: BTreeMap<i32, LinkId>,
    accepted_next: i32,
    /// Sockets of datagrams by slot, and their receives.
    pub posts: BTreeMap<u32, usize>,
    pub post_receives: BTreeMap<u32, u64>,
    pub letters_filled: BTreeMap<u16, Letter>,
    /// Connects by slot: nobody is ever there.
    connects: BTreeMap<u32, u64>,
    pub buffers_free: Vec<u16>,
    pub buffers_filled: BTreeMap<u16, Vec<u8>>,
    pub signalling: Signalling,
    /// When it last looked what had come.
    looked_at: u64,
    /// Of this step, µs.
    pub spent: u64,
    /// Of the thread, µs.
    pub cpu: u64,
    /// Times slower than an ordinary core.
    pub slowness: u64,
}

#[derive(Debug)]
enum Queued {
    Accept {
        listener: usize,
        user_data: u64,
    },
    Receive {
        slot: u32,
        user_data: u64,
    },
    Poll {
        slot: u32,
        user_data: u64,
    },
    SendOwn {
        slot: u32,
        bytes: Vec<u8>,
        user_data: u64,
    },
    SendSpan {
        slot: u32,
        span: Span,
        user_data: u64,
    },
    SendBoth {
        slot: u32,
        own: Vec<u8>,
        behind: Behind,
        user_data: u64,
    },
    SendZeroCopy {
        slot: u32,
        span: Span,
        user_data: u64,
    },
    ReceiveMail {
        slot: u32,
        user_data: u64,
    },
    SendMail(Posting),
    Connect {
        slot: u32,
        user_data: u64,
    },
    Cancel {
        slot: u32,
    },
    CancelOperations {
        user_data: u64,
    },
    Timeout {
        at: u64,
        user_data: u64,
    },
    Doorbell {
        target: usize,
        user_data: u64,
        failure: u64,
    },
}

/// The second piece of a send of two.
#[derive(Debug)]
enum Behind {
    Own(Vec<u8>),
    Span(Span),
}

/// What may have come, in an order that the noise chooses.
#[derive(Clone, Copy, Debug)]
enum Ready {
    Accept(usize),
    Receive(u32),
    Mail(u32),
    Poll(u32),
}

impl Port {
    pub fn new() -> Port {
        Port {
            queue: Vec::new(),
            completions: VecDeque::new(),
            slots: BTreeMap::new(),
            receives: BTreeMap::new(),
            polls: BTreeMap::new(),
            accepts: Vec::new(),
            timeouts: Vec::new(),
            doorbells: Vec::new(),
            accepted: BTreeMap::new(),
            accepted_next: 1000,
            posts: BTreeMap::new(),
            post_receives: BTreeMap::new(),
            letters_filled: BTreeMap::new(),
            connects: BTreeMap::new(),
            buffers_free: (0..BUFFERS).collect(),
            buffers_filled: BTreeMap::new(),
            signalling: Signalling::Off,
            looked_at: 0,
            spent: 0,
            cpu: 0,
            slowness: 1,
        }
    }

    pub fn spend(&mut self, micros: u64) {
        self.spent += micros * self.slowness;
        self.cpu += micros * self.slowness;
    }

    /// Whether everything asked is issued and everything that came is taken.
    pub fn is_settled(&self) -> bool {
        self.queue.is_empty() && self.completions.is_empty()
    }

    pub fn slot(&self, slot: u32) -> Option<LinkId> {
        self.slots.get(&slot).copied()
    }
}

// What a shard asks, see `Kernel`.
impl Net {
    pub fn fill_slot(&mut self, shard: usize, slot: u32, link: LinkId) {
        self.links[link].owners += 1;
        self.links[link].stays += 1;
        assert!(
            self.ports[shard].slots.insert(slot, link).is_none(),
            "a slot is emptied before it is filled"
        );
    }

    pub fn empty_slot(&mut self, shard: usize, slot: u32) {
        let port = &self.ports[shard];
        let armed = [&port.receives, &port.polls, &port.post_receives, &port.connects];
        let is_armed = armed.iter().any(|armed| armed.contains_key(&slot));
        assert!(
            !is_armed,
            "an armed operation keeps its socket open: it is cancelled before the slot is emptied"
        );
        let port = &mut self.ports[shard];
        port.posts.remove(&slot);
        if let Some(link) = port.slots.remove(&slot) {
            self.disown(link);
        }
    }

    pub fn queue_accept(&mut self, shard: usize, listener: usize, user_data: u64) {
        self.ports[shard].queue.push(Queued::Accept { listener, user_data });
    }

    pub fn queue_receive(&mut self, shard: usize, slot: u32, user_data: u64) {
        self.ports[shard].queue.push(Queued::Receive { slot, user_data });
    }

    pub fn queue_poll(&mut self, shard: usize, slot: u32, user_data: u64) {
        self.ports[shard].queue.push(Queued::Poll { slot, user_data });
    }

    pub fn queue_send(&mut self, shard: usize, slot: u32, from: Outgoing<'_>, user_data: u64) {
        self.ports[shard].queue.push(match from {
            Outgoing::Own(bytes) | Outgoing::OwnAndMore(bytes) => Queued::SendOwn {
                slot,
                bytes: bytes.to_vec(),
                user_data,
            },
            Outgoing::Span(span) => Queued::SendSpan { slot, span, user_data },
        });
    }

    pub fn queue_send_both(&mut self, shard: usize, slot: u32, own: &[u8], behind: Outgoing<'_>, user_data: u64) {
        let behind = match behind {
            Outgoing::Own(bytes) | Outgoing::OwnAndMore(bytes) => Behind::Own(bytes.to_vec()),
            Outgoing::Span(span) => Behind::Span(span),
        };
        self.ports[shard].queue.push(Queued::SendBoth {
            slot,
            own: own.to_vec(),
            behind,
            user_data,
        });
    }

    pub fn queue_zero_copy(&mut self, shard: usize, slot: u32, span: Span, user_data: u64) {
        let queue = &mut self.ports[shard].queue;
        queue.push(Queued::SendZeroCopy { slot, span, user_data });
    }

    pub fn queue_receive_mail(&mut self, shard: usize, slot: u32, user_data: u64) {
        self.ports[shard].queue.push(Queued::ReceiveMail { slot, user_data });
    }

    pub fn queue_mail(&mut self, shard: usize, posting: Posting) {
        self.ports[shard].queue.push(Queued::SendMail(posting));
    }

    pub fn queue_connect(&mut self, shard: usize, slot: u32, user_data: u64) {
        self.ports[shard].queue.push(Queued::Connect { slot, user_data });
    }

    pub fn queue_cancel(&mut self, shard: usize, slot: u32) {
        self.ports[shard].queue.push(Queued::Cancel { slot });
    }

    pub fn queue_cancel_operations(&mut self, shard: usize, user_data: u64) {
        self.ports[shard].queue.push(Queued::CancelOperations { user_data });
    }

    pub fn queue_timeout(&mut self, shard: usize, at: u64, user_data: u64) {
        self.ports[shard].queue.push(Queued::Timeout { at, user_data });
    }

    pub fn queue_doorbell(&mut self, shard: usize, target: usize, user_data: u64, failure: u64) {
        self.ports[shard].queue.push(Queued::Doorbell {
            target,
            user_data,
            failure,
        });
    }

    /// One kernel entry: what was queued is issued in its order, then what has come completes.
    pub fn enter(&mut self, shard: usize) {
        self.ports[shard].spend(2);
        for queued in std::mem::take(&mut self.ports[shard].queue) {
            self.issue(shard, queued);
        }
        self.look(shard);
    }

    fn issue(&mut self, shard: usize, queued: Queued) {
        let port = &mut self.ports[shard];
        match queued {
            Queued::Accept { listener, user_data } => port.accepts.push((listener, user_data)),
            Queued::Receive { slot, user_data } => {
                let armed = port.receives.insert(slot, user_data);
                assert_eq!(armed, None, "a receive is armed once");
            }
            Queued::Poll { slot, user_data } => {
                let armed = port.polls.insert(slot, user_data);
                assert_eq!(armed, None, "a poll is armed once");
            }
            Queued::SendOwn { slot, bytes, user_data } => self.send(shard, slot, Outgoing::Own(&bytes), user_data),
            Queued::SendSpan { slot, span, user_data } => self.send(shard, slot, Outgoing::Span(span), user_data),
            Queued::SendBoth {
                slot,
                own,
                behind,
                user_data,
            } => self.send_both(shard, slot, &own, &behind, user_data),
            Queued::SendZeroCopy { slot, span, user_data } => self.send_zero_copy(shard, slot, span, user_data),
            Queued::ReceiveMail { slot, user_data } => {
                let armed = port.post_receives.insert(slot, user_data);
                assert_eq!(armed, None, "a receive is armed once");
            }
            Queued::SendMail(posting) => self.send_posting(shard, posting),
            Queued::Connect { slot, user_data } => {
                port.connects.insert(slot, user_data);
                let at = self.now + 300;
                self.ports[shard].timeouts.push((at, user_data));
            }
            Queued::Cancel { slot } => {
                let connect = port.connects.remove(&slot);
                port.timeouts.retain(|(_, user_data)| Some(*user_data) != connect);
                let received = port.post_receives.remove(&slot);
                let armed = [port.receives.remove(&slot), port.polls.remove(&slot), received, connect];
                for user_data in armed.into_iter().flatten() {
                    self.complete(shard, user_data, -ECANCELED, Armed::NoMore, None);
                }
            }
            Queued::CancelOperations { user_data } => {
                let before = port.accepts.len();
                port.accepts.retain(|(_, other)| *other != user_data);
                for _ in port.accepts.len()..before {
                    self.complete(shard, user_data, -ECANCELED, Armed::NoMore, None);
                }
            }
            Queued::Timeout { at, user_data } => port.timeouts.push((at, user_data)),
            Queued::Doorbell {
                target,
                user_data,
                failure,
            } => {
                // The target's queue is full, or the kernel is short of memory.
                if self.noise.once_in(400) {
                    return self.complete(shard, failure, -EOVERFLOW, Armed::NoMore, None);
                }
                let delay = self.noise.one_of(&[1, 3, 3, 10, 40, 900]);
                let at = self.now + delay;
                self.ports[target].doorbells.push((at, user_data));
            }
        }
    }

    fn send(&mut self, shard: usize, slot: u32, from: Outgoing<'_>, user_data: u64) {
        self.ports[shard].spend(7);
        let link = self.ports[shard].slot(slot).expect("a send names a filled slot");
        let result = self.server_send(link, from, ByReference::No);
        self.complete(shard, user_data, result, Armed::NoMore, None);
    }

    /// The second piece follows when the first was taken whole.
    fn send_both(&mut self, shard: usize, slot: u32, own: &[u8], behind: &Behind, user_data: u64) {
        self.ports[shard].spend(8);
        let link = self.ports[shard].slot(slot).expect("a send names a filled slot");
        let mut result = self.server_send(link, Outgoing::Own(own), ByReference::No);
        if result == own.len() as i32 {
            let from = match behind {
                Behind::Own(bytes) => Outgoing::Own(bytes),
                Behind::Span(span) => Outgoing::Span(*span),
            };
            result += self.server_send(link, from, ByReference::No).max(0);
        }
        self.complete(shard, user_data, result, Armed::NoMore, None);
    }

    /// See `zero_copy` for what follows.
    fn send_zero_copy(&mut self, shard: usize, slot: u32, span: Span, user_data: u64) {
        self.ports[shard].spend(8);
        let link = self.ports[shard].slot(slot).expect("a send names a filled slot");
        let (result, armed) = self.server_send_zero_copy(shard, link, span, user_data);
        self.complete(shard, user_data, result, armed, None);
    }

    pub fn complete(&mut self, shard: usize, user_data: u64, result: i32, armed: Armed, buffer: Option<u16>) {
        self.ports[shard]
            .completions
            .push_back(Completion::of(user_data, result, armed, buffer));
    }

    /// Everything armed that can report by now does.
    fn look(&mut self, shard: usize) {
        let now = self.now;
        let port = &mut self.ports[shard];
        port.looked_at = now;
        let mut due: Vec<(u64, u64)> = Vec::new();
        for waiting in [&mut port.timeouts, &mut port.doorbells] {
            due.extend(waiting.iter().filter(|(at, _)| *at <= now));
            waiting.retain(|(at, _)| *at > now);
        }
        self.notify(shard);
        due.sort_unstable();
        for (_, user_data) in due {
            let connects = &mut self.ports[shard].connects;
            let before = connects.len();
            connects.retain(|_, connect| *connect != user_data);
            let result = if connects.len() < before { -ECONNREFUSED } else { 0 };
            self.complete(shard, user_data, result, Armed::NoMore, None);
        }
        let mut ready: Vec<Ready> = self.ready(shard, |at| at <= now).collect();
        for at in (1..ready.len()).rev() {
            ready.swap(at, self.noise.below(at as u64 + 1) as usize);
        }
        for one in ready {
            match one {
                Ready::Accept(at) => self.accept_all(shard, at),
                Ready::Receive(slot) => self.receive_all(shard, slot),
                Ready::Mail(slot) => self.receive_mail(shard, slot),
                Ready::Poll(slot) => {
                    if let Some(user_data) = self.ports[shard].polls.remove(&slot) {
                        // POLLOUT
                        self.complete(shard, user_data, 4, Armed::NoMore, None);
                    }
                }
            }
        }
    }

    fn ready(&self, shard: usize, is_due: impl Fn(u64) -> bool + Clone) -> impl Iterator<Item = Ready> {
        let port = &self.ports[shard];
        let accepts = self.listeners.iter().enumerate().filter_map(|(listener, waiting)| {
            let (at, _) = *waiting.backlog.front()?;
            let armed = port.accepts.iter().any(|(accepts, _)| *accepts == listener);
            armed.then_some((at, Ready::Accept(listener)))
        });
        let receives = port.receives.keys().filter_map(|slot| {
            let at = self.receivable_at(port.slot(*slot)?)?;
            Some((at, Ready::Receive(*slot)))
        });
        let polls = port.polls.keys().filter_map(|slot| {
            let at = self.writable_at(port.slot(*slot)?)?;
            Some((at, Ready::Poll(*slot)))
        });
        let mail = port.post_receives.keys().filter_map(move |slot| {
            let at = self.mail_at(shard, *slot)?;
            Some((at, Ready::Mail(*slot)))
        });
        accepts
            .chain(receives)
            .chain(mail)
            .chain(polls)
            .filter(move |(at, _)| is_due(*at))
            .map(|(_, ready)| ready)
    }

    fn accept_all(&mut self, shard: usize, listener: usize) {
        while let Some((at, link)) = self.listeners[listener].backlog.front().copied() {
            let armed = self.ports[shard]
                .accepts
                .iter()
                .position(|(accepts, _)| *accepts == listener);
            let Some(armed) = armed.filter(|_| at <= self.now) else {
                return;
            };
            let (_, user_data) = self.ports[shard].accepts.remove(armed);
            if self.noise.once_in(60) {
                self.complete(shard, user_data, -EMFILE, Armed::NoMore, None);
                continue;
            }
            self.listeners[listener].backlog.pop_front();
            let port = &mut self.ports[shard];
            let descriptor = port.accepted_next;
            port.accepted_next += 1;
            port.accepted.insert(descriptor, link);
            self.accept(link);
            self.complete(shard, user_data, descriptor, Armed::NoMore, None);
        }
    }

    fn receive_all(&mut self, shard: usize, slot: u32) {
        loop {
            let Some(user_data) = self.ports[shard].receives.get(&slot).copied() else {
                return;
            };
            let link = self.ports[shard]
                .slot(slot)
                .expect("an armed receive names a filled slot");
            if self.receivable_at(link).is_none_or(|at| at > self.now) {
                return;
            }
            let Some(buffer) = self.ports[shard].buffers_free.pop() else {
                self.ports[shard].receives.remove(&slot);
                return self.complete(shard, user_data, -ENOBUFS, Armed::NoMore, None);
            };
            let bytes_max = self.noise.one_of(&[7, 1_460, BUFFER_BYTES, BUFFER_BYTES]) as usize;
            let mut bytes = Vec::new();
            let result = self.server_receive(link, bytes_max, &mut bytes);
            match result {
                Some(result) if result > 0 => {
                    self.ports[shard].spend(3);
                    self.trace.add(result as u64);
                    self.ports[shard].buffers_filled.insert(buffer, bytes);
                    let completion = Completion::of(user_data, result, Armed::Still, Some(buffer));
                    let has_unread = self.receivable_at(link).is_some_and(|at| at <= self.now);
                    self.ports[shard].completions.push_back(match has_unread {
                        true => completion.with_unread(),
                        false => completion,
                    });
                }
                result => {
                    self.ports[shard].buffers_free.push(buffer);
                    let Some(result) = result else { return };
                    self.ports[shard].receives.remove(&slot);
                    return self.complete(shard, user_data, result, Armed::NoMore, None);
                }
            }
        }
    }

    /// Whether a shard that sleeps is woken by now: something has come since it looked, and it asked to be told.
    pub fn is_woken(&self, shard: usize) -> bool {
        let port = &self.ports[shard];
        if port.signalling == Signalling::Off {
            return false;
        }
        let (looked_at, now) = (port.looked_at, self.now);
        let has_come = move |at: u64| at > looked_at && at <= now;
        let waiting = port.timeouts.iter().chain(&port.doorbells);
        waiting.map(|(at, _)| *at).any(has_come)
            || self.notices_at(shard).any(has_come)
            || self.ready(shard, has_come).next().is_some()
    }

    /// When something will come to a shard next.
    pub fn comes_next(&self, shard: usize) -> Option<u64> {
        let port = &self.ports[shard];
        let now = self.now;
        let waiting = port.timeouts.iter().chain(&port.doorbells).map(|(at, _)| *at);
        let accepts = port.accepts.iter().filter_map(|(listener, _)| {
            let (at, _) = *self.listeners[*listener].backlog.front()?;
            Some(at)
        });
        let receives = port
            .receives
            .keys()
            .filter_map(|slot| self.receivable_at(port.slot(*slot)?));
        let polls = port.polls.keys().filter_map(|slot| self.writable_at(port.slot(*slot)?));
        let mail = port.post_receives.keys().filter_map(|slot| self.mail_at(shard, *slot));
        waiting
            .chain(accepts)
            .chain(receives)
            .chain(mail)
            .chain(polls)
            .chain(self.notices_at(shard))
            .filter(|at| *at > now)
            .min()
    }

    pub fn send_pages(&mut self, shard: usize, link: LinkId, span: Span) -> Result<usize, i32> {
        self.ports[shard].spend(9);
        let result = self.server_send(link, Outgoing::Span(span), ByReference::Yes);
        usize::try_from(result).map_err(|_| -result)
    }

    pub fn shut_listener(&mut self, number: usize) {
        let listener = &mut self.listeners[number];
        listener.is_open = false;
        let at = self.now;
        for (_, link) in std::mem::take(&mut listener.backlog) {
            self.refuse(link, at);
        }
    }
}
