//! The loop of one shard, and what it asks of the appliance.
//!
//! One pass: queue a slice of fan-out, enter the kernel once, hand out what completed, then messages, timers and events;
//! sleep when there is nothing left. All of it on one thread; nothing else touches the shard's state.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::connection::{ConnId, Life};
use crate::core::{Core, Detached, End, Event, FeedId, Operation, connection_of, failed};
use crate::counters::ShardCounters;
use crate::datagrams::{DatagramId, socket_of};
use crate::executor::{self, Reserved, Sleep, Thread};
use crate::fanout::{GroupId, Load, Pauses, Segmentation, ZeroCopy};
use crate::kernel::{Buffers, Completion, Kernel, ReceiveBuffers, Signalling, Uring};
use crate::limits;
use crate::mesh::{Mesh, ShardId};
use crate::pool::{BLOCK_BYTES, Pool};
use crate::seal::{Broken, Outcome};
use crate::sys::socket;

/// The appliance's side of a shard: sessions, streams, decisions. Every call is an event; what to do goes through
/// `core`.
pub trait App<K: Kernel = Uring>: Sized {
    /// What shards say to each other.
    type Message: Send + 'static;

    /// `conn` was accepted by the listener with `tag`.
    fn accepted(&mut self, core: &mut Core<Self::Message, K>, tag: u32, conn: ConnId, peer: SocketAddr);
    /// The peer sent `bytes`; they are gone after the call.
    fn received(&mut self, core: &mut Core<Self::Message, K>, conn: ConnId, bytes: &[u8]);
    /// The peer ends its sending side. It may still read what it is sent (`shutdown(SHUT_WR)`), or be gone altogether:
    /// then the next send tells. Ends the connection where the appliance does not say otherwise.
    fn half_closed(&mut self, core: &mut Core<Self::Message, K>, conn: ConnId) {
        core.peer_ended(conn);
    }
    /// What came on `conn`, which is sealed, is not what its seal takes. It is not received any more; what the seal had to
    /// say about it is queued, and goes out where the appliance does not abort.
    fn broken(&mut self, core: &mut Core<Self::Message, K>, conn: ConnId, _why: Broken) {
        core.finish(conn);
    }
    /// `conn` exists no more.
    fn ended(&mut self, core: &mut Core<Self::Message, K>, conn: ConnId, why: End);
    /// `conn`, a viewer by [`Core::join_with`], stands at a join point with this header. What is sent to it here goes out
    /// ahead of the feed. Not called for a skip.
    fn joining(&mut self, _core: &mut Core<Self::Message, K>, _conn: ConnId, _header: &[u8]) {}
    /// The feed that `conn` watched has ended and everything of it is sent, or its range or shared bytes are (see
    /// [`Core::range_cut`]); the connection has no feed any more.
    fn reached_end(&mut self, core: &mut Core<Self::Message, K>, conn: ConnId);
    /// `conn` exists here no more and can be adopted elsewhere.
    fn detached(&mut self, core: &mut Core<Self::Message, K>, conn: ConnId, detached: Detached<K::Socket>);
    /// The last viewer on this shard has left the feed.
    fn feed_unused(&mut self, core: &mut Core<Self::Message, K>, feed: FeedId);
    /// A datagram came to `socket`; `bytes` are gone after the call.
    fn datagram(&mut self, _core: &mut Core<Self::Message, K>, _socket: DatagramId, _from: SocketAddr, _bytes: &[u8]) {}
    /// Datagrams to `conn`, a viewer by [`Core::join_datagrams`], were refused: there is no way to its peer, or the socket
    /// of a route is closed. It stays a viewer, and this comes again with each record.
    fn unreachable(&mut self, _core: &mut Core<Self::Message, K>, _conn: ConnId) {}
    /// The feed of a group has ended and everything of it is sent; the group exists no more.
    fn group_ended(&mut self, _core: &mut Core<Self::Message, K>, _group: GroupId) {}
    /// The connection that [`Core::connect`] was asked for, with `tag`, is made.
    fn connected(&mut self, core: &mut Core<Self::Message, K>, conn: ConnId, _tag: u64) {
        core.abort(conn);
    }
    /// It is not made, for this errno: `ETIMEDOUT` at its deadline, `ECANCELED` when it was aborted.
    fn connect_failed(&mut self, _core: &mut Core<Self::Message, K>, _tag: u64, _errno: i32) {}
    /// The deadline of `conn` has passed.
    fn deadline(&mut self, core: &mut Core<Self::Message, K>, conn: ConnId);
    /// A timer of the appliance has come.
    fn timer(&mut self, core: &mut Core<Self::Message, K>, key: u64);
    /// This core has no more to give, or has again: see [`Core::is_overloaded`].
    fn load_changed(&mut self, _core: &mut Core<Self::Message, K>, _load: Load) {}
    /// Another shard, or the control plane, sent a message.
    fn message(&mut self, core: &mut Core<Self::Message, K>, message: Self::Message);
}

/// What one shard is started with.
#[derive(Debug)]
pub struct Setup<M, S = OwnedFd> {
    pub id: ShardId,
    pub cpu: usize,
    pub connections_max: u32,
    pub mesh: Arc<Mesh<M>>,
    pub pool: Arc<Pool>,
    pub counters: Arc<ShardCounters>,
    /// Listening sockets of this shard with their tags.
    pub listeners: Vec<(S, u32)>,
    pub sends: Sends,
}

/// How feed bytes go out, where the operator has a say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sends {
    pub pauses: Pauses,
    pub zero_copy: ZeroCopy,
    /// Whether the kernel cuts datagrams of viewers who get them.
    pub segmentation: Segmentation,
    /// In percent of the feed's rate, for viewers whose start burst is over; 0 for no bound.
    pub max_pacing: u64,
}

/// Starts a shard; `app` is made on its thread.
pub fn start<A, F>(setup: Setup<A::Message>, app: F) -> io::Result<Thread>
where
    A: App + 'static,
    F: FnOnce(&mut Core<A::Message>) -> A + Send + 'static,
{
    reserve(setup, app)?.begin()
}

/// A shard with its ring, which begins when it is told to: where there are several, all of them have theirs before the
/// first one's executor takes what is left of locked memory.
pub fn reserve<A, F>(setup: Setup<A::Message>, app: F) -> io::Result<Reserved>
where
    A: App + 'static,
    F: FnOnce(&mut Core<A::Message>) -> A + Send + 'static,
{
    let (name, cpu, connections_max) = (format!("shard-{}", setup.id.0), setup.cpu, setup.connections_max);
    let zero_copy = setup.sends.zero_copy;
    let first = move || {
        // The kernel makes no table of more slots than there may be descriptors; those that are missing then are the last
        // ones, of sockets that could not be opened either.
        let slots = connections_max + limits::DATAGRAM_SOCKETS_MAX;
        let possible = socket::descriptor_limit()?.max(connections_max.into());
        let (mut uring, buffers) = Uring::new(possible.min(slots.into()) as u32)?;
        if zero_copy == ZeroCopy::On && !uring.can_send_zero_copy() {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        uring.keep_locked(executor::RINGS_LOCKED_BYTES)?;
        Ok((uring, buffers))
    };
    let before = |(uring, _): &mut (Uring, ReceiveBuffers)| uring.give_locked();
    executor::reserve(&name, cpu, first, before, move |(uring, buffers)| {
        run(setup, uring, buffers, app)
    })
}

async fn run<A, F>(setup: Setup<A::Message>, uring: Uring, buffers: ReceiveBuffers, app: F) -> io::Result<()>
where
    A: App,
    F: FnOnce(&mut Core<A::Message>) -> A,
{
    let sleep = Sleep::new(uring.eventfd())?;
    setup.mesh.arrive(setup.id, uring.fd(), uring.eventfd())?;
    let mut shard = Shard::new(setup, uring, buffers, app)?;
    loop {
        match shard.step()? {
            Step::Stopped => return Ok(()),
            Step::Asleep => sleep.wait().await?,
            Step::Awake => executor::yield_if_needed().await,
        }
    }
}

/// What a shard does after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to do.
    Awake,
    /// Nothing, before a completion wakes it.
    Asleep,
    Stopped,
}

/// A shard between two steps. Who drives it (the loop above, or a simulation) has said to the mesh that it arrived.
///
/// Field order matters: the ring in `core` is dropped before the buffers that the kernel fills.
#[derive(Debug)]
pub struct Shard<A: App<K>, K: Kernel = Uring> {
    core: Core<A::Message, K>,
    app: A,
    buffers: K::Buffers,
    completions: Vec<Completion>,
    expired: Vec<ConnId>,
    /// What came out of a seal.
    opened: Vec<u8>,
    /// The pass before this one found that there is more to do.
    is_awake: bool,
}

impl<A: App<K>, K: Kernel> Shard<A, K> {
    /// Listens, and makes the appliance.
    pub fn new(
        setup: Setup<A::Message, K::Socket>,
        kernel: K,
        buffers: K::Buffers,
        app: impl FnOnce(&mut Core<A::Message, K>) -> A,
    ) -> io::Result<Self> {
        let mut core = Core::new(
            setup.id,
            kernel,
            setup.connections_max,
            setup.sends.pauses,
            setup.mesh,
            setup.pool,
            setup.counters,
        );
        core.set_sends(setup.sends);
        for (listener, tag) in setup.listeners {
            core.listen(listener, tag)?;
        }
        let app = app(&mut core);
        Ok(Shard {
            core,
            app,
            buffers,
            completions: Vec::new(),
            expired: Vec::new(),
            opened: Vec::new(),
            is_awake: false,
        })
    }

    pub fn core(&self) -> &Core<A::Message, K> {
        &self.core
    }

    pub fn app(&self) -> &A {
        &self.app
    }

    /// One pass, and what comes after it.
    pub fn step(&mut self) -> io::Result<Step> {
        self.core.kernel.set_signalling(Signalling::Off);
        self.pass()?;
        let may_sleep = self.may_sleep()?;
        self.is_awake = !may_sleep;
        if self.core.stopped {
            return Ok(Step::Stopped);
        }
        if may_sleep {
            self.core.counters.parks.add(1);
            return Ok(Step::Asleep);
        }
        Ok(Step::Awake)
    }

    fn pass(&mut self) -> io::Result<()> {
        let before = std::mem::replace(&mut self.core.now, self.core.kernel.monotonic_micros());
        if self.is_awake && self.core.now - before > limits::PASS_MICROS_MAX {
            self.core.counters.passes_long.add(1);
        }
        if let Some(load) = self.core.look_at_load() {
            self.app.load_changed(&mut self.core, load);
        }
        if self.core.fanout.has_work(self.core.now) {
            let before = self.core.kernel.thread_cpu_micros();
            self.core.queue_slice();
            self.enter()?;
            let cost = self.core.kernel.thread_cpu_micros() - before;
            self.core.charge(cost);
        } else {
            self.enter()?;
        }
        self.open_waiting();
        self.messages();
        self.timers()?;
        self.events();
        Ok(())
    }

    fn enter(&mut self) -> io::Result<()> {
        self.core.counters.kernel_entries.add(1);
        self.core.kernel.submit()?;
        self.core.kernel.completions(&mut self.completions);
        let mut completions = std::mem::take(&mut self.completions);
        // Sends first: whoever ends a connection below may rely on nothing of it being in flight.
        for completion in &completions {
            match Operation::of(completion.user_data) {
                Some(Operation::Send) => {
                    self.core
                        .send_completed(connection_of(completion.user_data), completion.result);
                }
                Some(Operation::SendDatagrams) => {
                    let number = completion.user_data & ((1 << 56) - 1);
                    self.core.datagrams_completed(number, completion.result);
                }
                Some(Operation::SendZeroCopy) if !completion.is_notification() => {
                    self.core.zero_copy_completed(completion);
                }
                _ => {}
            }
        }
        for completion in completions.drain(..) {
            self.completed(completion)?;
        }
        self.completions = completions;
        Ok(())
    }

    fn completed(&mut self, completion: Completion) -> io::Result<()> {
        match Operation::of(completion.user_data) {
            Some(Operation::Accept) => self.accepted(completion),
            Some(Operation::Receive) => {
                self.received(completion);
                Ok(())
            }
            Some(Operation::Writable) => {
                self.core.writable(connection_of(completion.user_data));
                Ok(())
            }
            Some(Operation::Timeout) => {
                let deadline = completion.user_data & ((1 << 56) - 1);
                self.core.armed.retain(|armed| *armed != deadline);
                Ok(())
            }
            Some(Operation::Doorbell) => {
                let sender = ShardId(completion.user_data as u16);
                self.core.mesh.clear_doorbell(sender, self.core.id);
                let shard = self.core.id.index();
                self.core.fanout.look_at_heads(shard, self.core.now);
                Ok(())
            }
            Some(Operation::DoorbellFailed) => {
                let target = ShardId(completion.user_data as u16);
                self.core.counters.doorbells_failed.add(1);
                self.core.mesh.clear_doorbell(self.core.id, target);
                // Want of memory or room passes; a ring that is gone stays so.
                if matches!(
                    -completion.result,
                    libc::EAGAIN | libc::EBUSY | libc::ENOMEM | libc::EOVERFLOW
                ) {
                    self.core.ring(target);
                }
                Ok(())
            }
            Some(Operation::SendZeroCopy) if completion.is_notification() => {
                self.core.zero_copy_notified(&completion);
                Ok(())
            }
            Some(Operation::ReceiveDatagrams) => {
                self.datagram(&completion);
                Ok(())
            }
            Some(Operation::Connect) => {
                let id = connection_of(completion.user_data);
                if let Some(tag) = self.core.connect_completed(id, completion.result) {
                    self.app.connected(&mut self.core, id, tag);
                }
                Ok(())
            }
            Some(Operation::Send | Operation::SendDatagrams | Operation::SendZeroCopy) | None => Ok(()),
        }
    }

    fn datagram(&mut self, completion: &Completion) {
        let id = socket_of(completion.user_data);
        if let Some(buffer) = completion.buffer() {
            let bytes = completion.result.max(0) as usize;
            let received = self.buffers.datagram(buffer, bytes).filter(|_| self.core.is_open(id));
            if let Some(received) = received {
                self.core.counters.datagrams_received.add(1);
                self.core.counters.bytes_received.add(received.bytes.len() as u64);
                match received.is_cut {
                    // Half a datagram is none.
                    true => self.core.counters.datagrams_received_cut.add(1),
                    false => (self.app).datagram(&mut self.core, id, received.from, received.bytes),
                }
            }
            self.buffers.give_back(buffer);
        }
        if !completion.is_armed() {
            self.core.receive_on(id, completion.result);
        }
    }

    fn accepted(&mut self, completion: Completion) -> io::Result<()> {
        let number = (completion.user_data & ((1 << 56) - 1)) as usize;
        if completion.result >= 0 {
            let socket = self.core.kernel.take_accepted(completion.result);
            self.welcome(number, socket);
        } else if self.core.listeners[number].open {
            self.core.counters.accept_errors.add(1);
        }
        let listener = &mut self.core.listeners[number];
        listener.armed -= 1;
        if completion.result < 0 {
            listener.rests_until = self.core.now + limits::ACCEPT_REST_MICROS;
        }
        // What is armed here is issued in the next pass, beside its fan-out.
        if !listener.open || listener.rests_until != u64::MAX {
            return Ok(());
        }
        self.core.arm_accepts(number)
    }

    fn welcome(&mut self, listener: usize, socket: K::Socket) {
        if self.core.room() == 0 {
            self.core.counters.connections_refused_full.add(1);
            return;
        }
        let Some(id) = self.core.insert(socket) else { return };
        self.core.counters.connections_accepted.add(1);
        match self.core.peer(id) {
            Some(peer) => {
                if peer.ip().is_loopback() {
                    self.core.keep_copying(id);
                }
                let tag = self.core.listeners[listener].tag;
                self.app.accepted(&mut self.core, tag, id, peer);
            }
            // Gone before it was looked at: the appliance never hears of it.
            None => {
                self.core.end(id, End::Peer);
                self.core
                    .events
                    .retain(|event| !matches!(event, Event::Ended(ended, _) if *ended == id));
            }
        }
    }

    fn received(&mut self, completion: Completion) {
        let id = connection_of(completion.user_data);
        let armed = completion.is_armed();
        let Some(connection) = self.core.connections.get_mut(id) else {
            if let Some(buffer) = completion.buffer() {
                self.buffers.give_back(buffer);
            }
            return;
        };
        connection.receive_armed = armed;
        connection.has_unread = completion.has_unread();
        let life = connection.life;
        if let Some(buffer) = completion.buffer() {
            let bytes = completion.result.max(0) as usize;
            self.core.counters.bytes_received.add(bytes as u64);
            if bytes > 0 && matches!(life, Life::Open | Life::Deaf | Life::Detaching) {
                let bytes = self.buffers.bytes(buffer, bytes);
                match self.core.is_sealed(id) {
                    false => self.app.received(&mut self.core, id, bytes),
                    true if self.core.keep_sealed(id, bytes) => self.open(id),
                    true => {}
                }
            }
            self.buffers.give_back(buffer);
        }
        if completion.result <= 0 && self.core.waits_for_opening(id) {
            self.open(id);
        }
        let Some(connection) = self.core.connections.get(id) else {
            return;
        };
        let life = connection.life;
        match completion.result {
            1.. => self.rearm(id, armed),
            // A peer may end its side with its request; what is queued for it is still sent, within the deadline.
            0 if life == Life::Flushing => {}
            0 if life == Life::Draining => self.core.end(id, End::Finished),
            // It said so before.
            0 if life == Life::Open && self.core.has_peer_closed(id) => {}
            0 if life == Life::Open => self.app.half_closed(&mut self.core, id),
            // Where it goes to, its receive finds the same end.
            0 if life == Life::Detaching => self.core.detached(id),
            0 => self.core.end(id, End::Peer),
            error if error == -libc::ENOBUFS => {
                self.core.counters.receive_buffers_short.add(1);
                self.rearm(id, armed);
            }
            error if error == -libc::ECANCELED && life == Life::Detaching => self.core.detached(id),
            // It was to move, and is being ended instead.
            error if error == -libc::ECANCELED => self.rearm(id, armed),
            error if error == -libc::ECONNRESET => self.core.end(id, End::Peer),
            error if error == -libc::ETIMEDOUT => self.core.end(id, End::Stalled),
            error => self.core.end(id, End::Failed(-error)),
        }
    }

    /// Hands out what the seal of `id` makes of what came.
    fn open(&mut self, id: ConnId) {
        let mut opened = std::mem::take(&mut self.opened);
        opened.clear();
        let outcome = self.core.open_sealed(id, &mut opened);
        if !opened.is_empty() && self.core.connections.get(id).is_some() {
            self.app.received(&mut self.core, id, &opened);
        }
        self.opened = opened;
        let Some(connection) = self.core.connections.get(id) else {
            return;
        };
        match outcome {
            Outcome::Broken(why) => self.app.broken(&mut self.core, id, why),
            Outcome::PeerClosed if connection.life == Life::Open => self.app.half_closed(&mut self.core, id),
            Outcome::PeerClosed | Outcome::Opened | Outcome::Gone => {}
        }
    }

    /// Seals that are not open yet take their share of the pass.
    fn open_waiting(&mut self) {
        let until = self.core.kernel.monotonic_micros() + limits::OPENING_MICROS;
        while let Some(id) = self.core.next_opening() {
            self.open(id);
            if self.core.kernel.monotonic_micros() >= until {
                break;
            }
        }
    }

    fn rearm(&mut self, id: ConnId, armed: bool) {
        let Some(connection) = self.core.connections.get(id) else {
            return;
        };
        if armed || connection.receive_armed {
            return;
        }
        if connection.life == Life::Detaching {
            return self.core.detached(id);
        }
        if let Err(error) = self.core.arm_receive(id) {
            self.core.end(id, failed(&error));
        }
    }

    /// As many messages as were there at the start: a shard that is sent more meanwhile still serves its sockets.
    fn messages(&mut self) {
        for _ in 0..self.core.mesh.messages(self.core.id) {
            let Some(message) = self.core.mesh.pop(self.core.id) else {
                break;
            };
            self.app.message(&mut self.core, message);
        }
    }

    fn timers(&mut self) -> io::Result<()> {
        let now = self.core.now;
        while let Some(key) = self.core.heap.expired(now) {
            self.app.timer(&mut self.core, key);
        }
        self.core.wheel.expire(now, &mut self.expired);
        let mut expired = std::mem::take(&mut self.expired);
        for id in expired.drain(..) {
            self.core.expire(id);
        }
        self.expired = expired;
        for number in 0..self.core.listeners.len() {
            if self.core.listeners[number].open && self.core.listeners[number].rests_until <= now {
                self.core.arm_accepts(number)?;
            }
        }
        Ok(())
    }

    fn events(&mut self) {
        while let Some(event) = self.core.events.pop_front() {
            match event {
                Event::Ended(id, why) => self.app.ended(&mut self.core, id, why),
                Event::ReachedEnd(id) => self.app.reached_end(&mut self.core, id),
                Event::Detached(id, detached) => self.app.detached(&mut self.core, id, detached),
                Event::FeedUnused(feed) => self.app.feed_unused(&mut self.core, feed),
                Event::Deadline(id) => self.app.deadline(&mut self.core, id),
                Event::Unreachable(id) => self.app.unreachable(&mut self.core, id),
                Event::GroupEnded(group) => self.app.group_ended(&mut self.core, group),
                Event::ConnectFailed(tag, errno) => self.app.connect_failed(&mut self.core, tag, errno),
                Event::Joining { id, position, header } => {
                    if self.core.let_join(id, position) {
                        self.app.joining(&mut self.core, id, &header);
                    }
                }
            }
        }
        self.core.connections.reuse();
    }

    /// Whether nothing can happen before the eventfd is signalled; arms what will signal it.
    fn may_sleep(&mut self) -> io::Result<bool> {
        let core = &mut self.core;
        let now = core.kernel.monotonic_micros();
        let is_opening = !core.seals.opening.is_empty();
        let has_work = is_opening || core.fanout.has_work(now) || core.mesh.has_messages(core.id);
        if core.stopped || has_work || !core.events.is_empty() {
            return Ok(false);
        }
        let rest = core
            .listeners
            .iter()
            .filter(|listener| listener.open)
            .map(|listener| listener.rests_until)
            .min();
        let next = [
            core.heap.next(),
            core.wheel.next(),
            core.fanout.next_turn_at(),
            core.fanout.overload_ends_at(),
            rest,
        ];
        if let Some(next) = next.into_iter().flatten().filter(|next| *next != u64::MAX).min() {
            if next <= now {
                return Ok(false);
            }
            let earliest = core.armed.last().copied().unwrap_or(u64::MAX);
            if next < earliest {
                if core.armed.len() >= limits::TIMEOUTS_ARMED_MAX {
                    return Ok(false);
                }
                core.armed.push(next);
                core.kernel.timeout(next, Operation::Timeout.of_number(next))?;
            }
        }
        // What arrives from here on signals; what arrived before is found by looking once more.
        core.kernel.set_signalling(Signalling::On);
        core.kernel.submit()?;
        core.kernel.run_deferred()?;
        Ok(!core.kernel.has_completions() && !core.mesh.has_messages(core.id))
    }
}

impl<M, K: Kernel> Core<M, K> {
    fn set_sends(&mut self, sends: Sends) {
        let zero_copy = match self.kernel.can_send_zero_copy() {
            true => sends.zero_copy,
            false => ZeroCopy::Off,
        };
        let pool_bytes = self.pool.usage().blocks * BLOCK_BYTES as u64;
        self.fanout.set_zero_copy(zero_copy, pool_bytes, self.mesh.shards());
        self.fanout.max_pacing = sends.max_pacing;
        self.fanout.set_segmentation(sends.segmentation);
    }

    /// The wheel says that the deadline of `id` may have come.
    fn expire(&mut self, id: ConnId) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.looked_at <= now {
            connection.looked_at = u64::MAX;
        }
        match connection.deadline {
            u64::MAX => {}
            later if later > now => {
                if connection.looked_at == u64::MAX {
                    connection.looked_at = self.wheel.insert(id, later);
                }
            }
            _ => {
                connection.deadline = u64::MAX;
                match connection.life {
                    Life::Connecting => self.fail_connect(id, libc::ETIMEDOUT),
                    Life::Open | Life::Deaf | Life::Detaching => {
                        if !self.end_unopened(id) {
                            self.events.push_back(Event::Deadline(id));
                        }
                    }
                    // It had its time to read the rest: what is left is thrown away.
                    Life::Flushing => self.end(id, End::Aborted),
                    // The kernel's copy of the rest goes too (DESIGN.md 4.3): a peer that reads nothing would hold it.
                    Life::Draining => {
                        let _ = self.kernel.reset_on_close(&connection.socket);
                        self.end(id, End::Finished);
                    }
                }
            }
        }
    }
}
