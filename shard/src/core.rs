//! What a shard owns beside its sessions: the ring, connections, timers, feeds' cursors and its end of the mesh. The
//! appliance's handler is given `&mut Core` with each event and does everything through it.
//!
//! Nothing here waits. What a call sets off happens in the shard's next pass, and comes back as an event.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::connection::{ConnId, Connections, InFlight, Life, Own, ZeroCopyUse};
use crate::counters::ShardCounters;
use crate::datagrams::Sockets;
use crate::fanout::{FanOut, GroupId, Pauses, Standing};
use crate::kernel::{Kernel, Uring};
use crate::limits;
use crate::mesh::{Mesh, ShardId};
use crate::outgoing::Connecting;
use crate::pool::Pool;
use crate::seal::{Seals, Wrap};
use crate::timers::{Heap, Wheel};

/// What the operations of a ring are for; the upper byte of their user data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Operation {
    Accept = 1,
    Receive = 2,
    Writable = 3,
    Send = 4,
    Timeout = 5,
    Doorbell = 6,
    DoorbellFailed = 7,
    SendZeroCopy = 8,
    SendDatagrams = 9,
    ReceiveDatagrams = 10,
    Connect = 11,
}

impl Operation {
    pub fn of(user_data: u64) -> Option<Operation> {
        Some(match (user_data >> 56) as u8 {
            1 => Operation::Accept,
            2 => Operation::Receive,
            3 => Operation::Writable,
            4 => Operation::Send,
            5 => Operation::Timeout,
            6 => Operation::Doorbell,
            7 => Operation::DoorbellFailed,
            8 => Operation::SendZeroCopy,
            9 => Operation::SendDatagrams,
            10 => Operation::ReceiveDatagrams,
            11 => Operation::Connect,
            _ => return None,
        })
    }

    pub fn of_connection(self, id: ConnId) -> u64 {
        (self as u64) << 56 | u64::from(id.generation) << 32 | u64::from(id.index)
    }

    pub fn of_number(self, number: u64) -> u64 {
        (self as u64) << 56 | number & ((1 << 56) - 1)
    }
}

pub(crate) fn connection_of(user_data: u64) -> ConnId {
    ConnId {
        index: user_data as u32,
        generation: (user_data >> 32) as u32 & crate::connection::GENERATION_MASK,
    }
}

/// Why a connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed or reset it.
    Peer,
    /// We ended it and the peer has read everything, or had its time to.
    Finished,
    /// A call on its socket failed with this errno.
    Failed(i32),
    /// We aborted it.
    Aborted,
    /// It read so slowly that it could not be moved to a newer join point.
    Lagged,
    /// It held back more of a feed than the feed's cap allows.
    Evicted,
    /// It took nothing of what was there for it, for as long as its listener allows.
    Stalled,
    /// It made us answer more than it read.
    OwnOverflow,
    /// The appliance's code for it panicked.
    Panicked,
    /// Its seal was not open in its time.
    Unopened,
}

/// What the core has to tell the appliance.
#[derive(Debug)]
pub(crate) enum Event<S> {
    Ended(ConnId, End),
    ReachedEnd(ConnId),
    Detached(ConnId, Detached<S>),
    FeedUnused(FeedId),
    Deadline(ConnId),
    /// A viewer was put at a join point, at this position, whose header the appliance reads.
    Joining {
        id: ConnId,
        position: u64,
        header: Box<[u8]>,
    },
    /// The peer of a viewer by datagrams cannot be reached.
    Unreachable(ConnId),
    /// The feed of a group has ended, and everything of it is sent.
    GroupEnded(GroupId),
    /// The number that a connect was asked for with, and the errno.
    ConnectFailed(u64, i32),
}

/// A connection taken off its shard, to be adopted by another.
#[derive(Debug)]
pub struct Detached<S = OwnedFd> {
    pub socket: S,
    /// Session bytes that its socket has not taken yet.
    pub unsent: Vec<u8>,
    /// Its seal, with what is sealed and not sent, and what is received and not opened.
    pub(crate) wrap: Wrap,
    /// A viewer's place in its feed.
    pub(crate) standing: Option<Standing>,
    pub(crate) zero_copy: ZeroCopyUse,
    /// The bound that its socket has.
    pub(crate) pacing: u32,
}

/// A socket that has sent nothing yet.
impl<S> From<S> for Detached<S> {
    fn from(socket: S) -> Detached<S> {
        Detached {
            socket,
            unsent: Vec::new(),
            wrap: Wrap::Plain,
            standing: None,
            zero_copy: ZeroCopyUse::Tried { copied: 0 },
            pacing: 0,
        }
    }
}

/// A feed as this shard knows it; stale once [`Core::close_feed`] was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FeedId(pub(crate) u32);

/// A shard's own thread owns it; nothing of it is shared but the mesh, the pool and the counters.
#[derive(Debug)]
pub struct Core<M, K: Kernel = Uring> {
    pub(crate) id: ShardId,
    pub(crate) now: u64,
    pub(crate) kernel: K,
    pub(crate) connections: Connections<K::Socket>,
    pub(crate) connecting: Vec<Connecting>,
    pub(crate) sockets: Sockets<K::Socket>,
    pub(crate) fanout: FanOut,
    pub(crate) wheel: Wheel<ConnId>,
    pub(crate) heap: Heap,
    pub(crate) mesh: Arc<Mesh<M>>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) counters: Arc<ShardCounters>,
    pub(crate) events: VecDeque<Event<K::Socket>>,
    pub(crate) listeners: Vec<Listener<K::Socket>>,
    /// Deadlines armed in the kernel, latest first.
    pub(crate) armed: Vec<u64>,
    pub(crate) stopped: bool,
    /// Buffers for session bytes.
    pub(crate) spare: Vec<Vec<u8>>,
    pub(crate) seals: Seals,
    /// Places of the table that are kept for connections on their way here.
    pub(crate) seats: usize,
}

#[derive(Debug)]
pub(crate) struct Listener<S> {
    pub socket: S,
    pub tag: u32,
    pub open: bool,
    /// Accepts in the kernel, up to [`limits::ACCEPTS_ARMED`].
    pub armed: u32,
    /// When accepting goes on after a failure; `u64::MAX` while it does not rest.
    pub rests_until: u64,
}

impl<M, K: Kernel> Core<M, K> {
    pub(crate) fn new(
        id: ShardId,
        kernel: K,
        connections_max: u32,
        pauses: Pauses,
        mesh: Arc<Mesh<M>>,
        pool: Arc<Pool>,
        counters: Arc<ShardCounters>,
    ) -> Self {
        let now = kernel.monotonic_micros();
        Core {
            id,
            now,
            kernel,
            connections: Connections::new(connections_max),
            connecting: Vec::new(),
            sockets: Sockets::new(connections_max),
            fanout: FanOut::new(now, pauses),
            wheel: Wheel::new(now),
            heap: Heap::default(),
            mesh,
            pool,
            counters,
            events: VecDeque::new(),
            listeners: Vec::new(),
            armed: Vec::new(),
            stopped: false,
            spare: Vec::new(),
            seals: Seals::default(),
            seats: 0,
        }
    }

    pub fn id(&self) -> ShardId {
        self.id
    }

    pub fn shards(&self) -> usize {
        self.mesh.shards()
    }

    /// µs of the monotonic clock, read once per pass.
    pub fn now(&self) -> u64 {
        self.now
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub fn counters(&self) -> &ShardCounters {
        &self.counters
    }

    /// Connections open on this shard.
    pub fn open_connections(&self) -> usize {
        self.connections.open()
    }

    /// Connections that the table has room for, beside those that seats are kept for.
    pub fn room(&self) -> usize {
        self.connections.room().saturating_sub(self.seats)
    }

    /// Keeps so many more places of the table for connections that will be adopted.
    pub fn keep_seats(&mut self, seats: usize) {
        self.seats += seats;
    }

    /// So many of those that were kept are taken, or not needed.
    pub fn give_seats(&mut self, seats: usize) {
        assert!(seats <= self.seats, "seats are kept before they are given");
        self.seats -= seats;
    }

    /// Every open connection.
    pub fn connection_ids(&self) -> Vec<ConnId> {
        self.connections.ids().collect()
    }

    /// Accepts from `socket`; each connection is handed to the appliance with `tag`.
    pub fn listen(&mut self, socket: K::Socket, tag: u32) -> io::Result<()> {
        self.listeners.push(Listener {
            socket,
            tag,
            open: true,
            armed: 0,
            rests_until: u64::MAX,
        });
        self.arm_accepts(self.listeners.len() - 1)
    }

    /// As many accepts as a pass may take, each for one connection: a flood of them takes its share of every pass, and
    /// never a whole one.
    pub(crate) fn arm_accepts(&mut self, number: usize) -> io::Result<()> {
        let listener = &mut self.listeners[number];
        listener.rests_until = u64::MAX;
        while listener.armed < limits::ACCEPTS_ARMED {
            let user_data = Operation::Accept.of_number(number as u64);
            self.kernel.accept(&listener.socket, user_data)?;
            listener.armed += 1;
        }
        Ok(())
    }

    /// Accepts nothing more.
    pub fn stop_accepting(&mut self) -> io::Result<()> {
        for number in 0..self.listeners.len() {
            self.listeners[number].open = false;
            self.kernel
                .cancel_operations(Operation::Accept.of_number(number as u64))?;
            // Connections in the backlog are reset by the close; nobody would accept them.
            self.kernel.shutdown_listener(&self.listeners[number].socket);
        }
        Ok(())
    }

    /// The shard's loop ends after this pass.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// The address of the peer.
    pub fn peer(&self, id: ConnId) -> Option<SocketAddr> {
        self.kernel.peer_address(&self.connections.get(id)?.socket).ok()
    }

    /// Bytes that the connection's socket has taken.
    pub fn bytes_sent(&self, id: ConnId) -> u64 {
        self.connections.get(id).map_or(0, |connection| connection.bytes_sent)
    }

    /// Whether the peer had sent more than the appliance was given, when that was received.
    pub fn has_unread(&self, id: ConnId) -> bool {
        self.connections.get(id).is_some_and(|connection| connection.has_unread)
    }

    /// The appliance's `deadline` is called for `id` at `at` (µs, within a tick of 50 ms), once. Nothing once it is being
    /// finished: that has a deadline of its own.
    pub fn set_deadline(&mut self, id: ConnId, at: Option<u64>) {
        let connection = self.connections.get(id);
        if connection.is_some_and(|connection| matches!(connection.life, Life::Open | Life::Deaf | Life::Detaching)) {
            let at = self.deadline_beside_seal(id, at);
            self.put_deadline(id, at);
        }
    }

    pub(crate) fn put_deadline(&mut self, id: ConnId, at: Option<u64>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.deadline = at.unwrap_or(u64::MAX);
        // An entry at or before the deadline's own tick serves it.
        if connection.deadline <= connection.looked_at.saturating_sub(limits::WHEEL_TICK_MICROS) {
            connection.looked_at = self.wheel.insert(id, connection.deadline);
        }
    }

    /// The appliance's `timer` is called with `key` at `at` (µs).
    pub fn set_timer(&mut self, at: u64, key: u64) {
        self.heap.insert(at, key);
    }

    /// Sends session bytes: at once if the socket takes them, and never inside a record.
    pub fn send(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if bytes.is_empty() || !matches!(connection.life, Life::Open | Life::Detaching) {
            return;
        }
        if connection.own.answers() + bytes.len() > limits::OWN_BYTES_MAX {
            self.counters.connections_closed_own.add(1);
            return self.end(id, End::OwnOverflow);
        }
        if connection.own.bytes.capacity() == 0 {
            connection.own.bytes = self.spare.pop().unwrap_or_default();
        }
        // A send reads the buffer within the submit that issues it, and this is between two.
        debug_assert_eq!(connection.in_flight, InFlight::Nothing);
        self.fanout.rest_bytes -= connection.own.push(bytes);
        self.make_urgent(id);
    }

    /// Ends a connection cleanly: what is queued is sent, the peer reads the end. `ended` follows. Of a range under way,
    /// what is there of it is queued; a peer that has not read it by then has [`limits::DRAIN_MICROS`].
    pub fn finish(&mut self, id: ConnId) {
        if !self.bound_range(id) {
            self.leave_feed(id);
        }
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.life == Life::Deaf {
            return self.end(id, End::Peer);
        }
        if connection.life == Life::Connecting {
            return self.end(id, End::Aborted);
        }
        if connection.life == Life::Open || connection.life == Life::Detaching {
            connection.life = Life::Flushing;
            let deadline = self.now + limits::DRAIN_MICROS;
            self.put_deadline(id, Some(deadline));
            self.make_urgent(id);
        }
    }

    /// Ends a connection now; what is unsent is thrown away. `ended` follows.
    pub fn abort(&mut self, id: ConnId) {
        self.end(id, End::Aborted);
    }

    /// Ends a connection whose peer is gone. `ended` follows.
    pub fn peer_ended(&mut self, id: ConnId) {
        self.end(id, End::Peer);
    }

    /// The appliance's code for `id` panicked: the connection ends now, and is counted. `ended` follows if it is still there.
    pub fn panicked(&mut self, id: ConnId) {
        self.counters.connections_panicked.add(1);
        self.end(id, End::Panicked);
    }

    /// Takes the connection off this shard. One that is being made stays. Bytes may still be received until `detached` is called with it. A viewer is
    /// sent nothing more here: its place in the feed goes with it. One that is being ended stays. Of shared bytes the rest
    /// goes with the session's own, and their end is told here; a range does not move, and the connection ends.
    pub fn detach(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if matches!(connection.life, Life::Connecting | Life::Flushing | Life::Draining) {
            return;
        }
        if connection.is_answered() && connection.shared.is_none() {
            return self.end(id, End::Aborted);
        }
        connection.life = Life::Detaching;
        self.leave_cast(id);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.receive_armed {
            if let Err(error) = self.kernel.cancel(id.index) {
                self.end(id, failed(&error));
            }
        } else {
            self.detached(id);
        }
    }

    /// Takes in a connection of another shard, at no place in any feed.
    pub fn adopt(&mut self, detached: Detached<K::Socket>) -> Option<ConnId> {
        let id = self.insert(detached.socket)?;
        self.counters.connections_moved_in.add(1);
        // The shard that it comes from has bounded it, the rest of a record included: no answer of this shard's peer.
        let rest = detached.unsent.len();
        if let Some(connection) = self.connections.get_mut(id) {
            connection.own = Own {
                bytes: detached.unsent,
                rest,
                ..Own::default()
            };
            connection.wrap = detached.wrap;
            connection.pacing = detached.pacing;
            if self.fanout.sends_zero_copy() {
                connection.zero_copy = detached.zero_copy;
            }
            self.fanout.rest_bytes += rest;
            if let Some(sealed) = connection.wrap.sealed_mut() {
                sealed.queued = false;
                self.counters.sealed_bytes_kept.add(sealed.kept.len() as u64);
            }
        }
        let at = self.deadline_beside_seal(id, None);
        self.put_deadline(id, at);
        self.queue_opening(id);
        self.make_urgent(id);
        Some(id)
    }

    /// A message to another shard, or to this one. It comes back when the target's inbox is full.
    pub fn send_message(&mut self, target: ShardId, message: M) -> Result<(), M> {
        if let Err(message) = self.mesh.push(target, message) {
            self.counters.messages_refused.add(1);
            return Err(message);
        }
        if target != self.id {
            self.ring(target);
        }
        Ok(())
    }

    /// Wakes `target`, unless a doorbell of ours is on its way there.
    pub(crate) fn ring(&mut self, target: ShardId) {
        let Some(fd) = self.mesh.claim_doorbell(self.id, target) else {
            return;
        };
        let user_data = Operation::Doorbell.of_number(u64::from(self.id.0));
        let failure = Operation::DoorbellFailed.of_number(u64::from(target.0));
        self.counters.doorbells.add(1);
        if self.kernel.ring_doorbell(fd, user_data, failure).is_err() {
            self.counters.doorbells_failed.add(1);
            self.mesh.clear_doorbell(self.id, target);
        }
    }

    /// A new connection with its receive armed; nothing when the table is full or the ring refuses it.
    pub(crate) fn insert(&mut self, socket: K::Socket) -> Option<ConnId> {
        let id = self.connections.insert(socket)?;
        self.begin_zero_copy(id);
        self.counters.connections_open.add(1);
        let socket = self.connections.get(id).map(|connection| &connection.socket);
        let armed = socket
            .map_or(Ok(()), |socket| self.kernel.register(id.index, socket))
            .and_then(|()| self.arm_receive(id));
        match armed {
            Ok(()) => Some(id),
            Err(_) => {
                self.counters.accept_errors.add(1);
                drop(self.remove(id));
                None
            }
        }
    }

    pub(crate) fn arm_receive(&mut self, id: ConnId) -> io::Result<()> {
        self.kernel.receive(id.index, Operation::Receive.of_connection(id))?;
        if let Some(connection) = self.connections.get_mut(id) {
            connection.receive_armed = true;
        }
        Ok(())
    }

    /// Ends the connection at once and tells the appliance why.
    pub(crate) fn end(&mut self, id: ConnId, why: End) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        if connection.life == Life::Connecting {
            let errno = if let End::Failed(errno) = why {
                errno
            } else {
                libc::ECANCELED
            };
            return self.fail_connect(id, errno);
        }
        // The kernel reads a send's memory within one submit; a connection is only freed between two.
        debug_assert_eq!(connection.in_flight, InFlight::Nothing);
        if why == End::Stalled {
            self.counters.connections_closed_stalled.add(1);
        }
        if !matches!(why, End::Peer | End::Finished) {
            // Whether or not the option is taken, the close below ends the connection.
            let _ = self.kernel.reset_on_close(&connection.socket);
        }
        drop(self.remove(id));
        self.events.push_back(Event::Ended(id, why));
    }

    pub(crate) fn detached(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let (first, behind) = connection.own.unsent().split_at(connection.own.ahead);
        let shared = connection.shared.as_ref().map_or(&[][..], |shared| shared.unsent());
        let unsent = [first, shared, behind].concat();
        if connection.shared.is_some() {
            self.events.push_back(Event::ReachedEnd(id));
        }
        let wrap = std::mem::take(&mut connection.wrap);
        let kept = wrap.sealed().map_or(0, |sealed| sealed.kept.len());
        self.counters.sealed_bytes_kept.sub(kept as u64);
        let (zero_copy, pacing) = (connection.zero_copy, connection.pacing);
        let standing = self.standing(id);
        // The descriptor itself, not another one of it: there may be none left.
        if let Some(socket) = self.remove(id) {
            let detached = Detached {
                socket,
                unsent,
                wrap,
                standing,
                zero_copy,
                pacing,
            };
            self.events.push_back(Event::Detached(id, detached));
        }
    }

    /// Cancel by descriptor, empty the slot (DESIGN.md 4.3); then whoever drops the descriptor closes it.
    pub(crate) fn remove(&mut self, id: ConnId) -> Option<K::Socket> {
        self.drop_cursor(id);
        self.leave_cast(id);
        self.drop_shared(id);
        let mut connection = self.connections.remove(id)?;
        // A ring that takes no cancel is out of entries for good, and the next pass ends with its error. The cancel must
        // be issued before the slot is emptied, since it names the slot.
        let cancelled = self.kernel.cancel(id.index).and_then(|()| self.kernel.submit());
        let emptied = self.kernel.unregister(id.index);
        debug_assert!(cancelled.is_ok() && emptied.is_ok());
        let own = std::mem::take(&mut connection.own);
        self.spare_own(own.bytes, own.rest);
        if let Some(sealed) = connection.wrap.sealed_mut() {
            self.seals.give_back(std::mem::take(&mut sealed.unsent));
            self.counters.sealed_bytes_kept.sub(sealed.kept.len() as u64);
            self.seals.give_back(std::mem::take(&mut sealed.kept));
        }
        self.counters.connections_open.sub(1);
        Some(connection.socket)
    }

    pub(crate) fn spare_own(&mut self, mut bytes: Vec<u8>, rest: usize) {
        self.fanout.rest_bytes -= rest;
        let poolable = (1..=limits::OWN_POOLED_BYTES).contains(&bytes.capacity());
        if poolable && self.spare.len() < limits::OWN_POOLED_MAX {
            bytes.clear();
            self.spare.push(bytes);
        }
    }
}

pub(crate) fn failed(error: &io::Error) -> End {
    End::Failed(error.raw_os_error().unwrap_or(libc::EIO))
}
