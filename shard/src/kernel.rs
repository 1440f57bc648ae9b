//! What a shard asks of the kernel: sockets, completions, doorbells and clocks, as one narrow trait.
//!
//! The appliance runs on [`Uring`]. A simulation implements the same trait with sockets and clocks of its own, and then
//! the very code of core, fan-out and sessions runs in it. The choice is a type parameter: calls are direct, and the
//! appliance contains nothing of a simulation.
//!
//! Contract, kept by `sys::uring` and relied on by core and fan-out:
//! - Nothing is issued, and nothing completes, outside of [`Kernel::submit`], [`Kernel::timeout`] and
//!   [`Kernel::run_deferred`].
//! - A send completes within the `submit` that issues it. A zero-copy send does so too; when that completion is armed, a
//!   notification follows, sooner or later, whatever becomes of the socket, and until then the memory is read.
//! - Dropping a socket closes it; its slot is emptied first.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::limits;
use crate::pool::Pool;
use crate::pool::log::Span;
pub use crate::sys::datagrams::{Datagrams, Pieces, Received};
use crate::sys::uring::More;
pub use crate::sys::uring::{Armed, Completion, ReceiveBuffers, Signalling, Uring, Went};
use crate::sys::{clock, datagrams, socket};

/// Bytes on their way to a socket.
#[derive(Clone, Copy, Debug)]
pub enum Outgoing<'a> {
    /// A buffer of the connection, or that it shares; it does not change before the send has completed.
    Own(&'a [u8]),
    /// As `Own`; more follows at once, so that a packet need not go out half empty.
    OwnAndMore(&'a [u8]),
    /// A part of the pool that a claim on its feed pins.
    Span(Span),
}

impl Outgoing<'_> {
    pub fn len(&self) -> usize {
        match self {
            Outgoing::Own(bytes) | Outgoing::OwnAndMore(bytes) => bytes.len(),
            Outgoing::Span(span) => span.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// See the module. Owned by one shard.
pub trait Kernel: Sized + 'static {
    /// Listening or connected; closed by its drop, wherever that happens.
    type Socket: std::fmt::Debug + Send + 'static;
    type Buffers: Buffers;

    /// µs of a clock that never goes back.
    fn monotonic_micros(&self) -> u64;
    /// CPU time that the calling thread has used, µs.
    fn thread_cpu_micros(&self) -> u64;

    /// Puts a socket into slot `slot`; operations name the slot.
    fn register(&mut self, slot: u32, socket: &Self::Socket) -> io::Result<()>;
    /// Empties a slot.
    fn unregister(&mut self, slot: u32) -> io::Result<()>;
    /// Accepts one connection.
    fn accept(&mut self, listener: &Self::Socket, user_data: u64) -> io::Result<()>;
    /// Receives into buffers until end, error, or want of buffers.
    fn receive(&mut self, slot: u32, user_data: u64) -> io::Result<()>;
    /// Reports once when the socket can take bytes again.
    fn poll_writable(&mut self, slot: u32, user_data: u64) -> io::Result<()>;
    /// Sends without waiting.
    fn send(&mut self, slot: u32, from: Outgoing<'_>, user_data: u64) -> io::Result<()>;
    /// Sends both without waiting, `behind` behind `own`, as one send: it completes once, with what was taken of the two.
    fn send_both(&mut self, slot: u32, own: &[u8], behind: Outgoing<'_>, user_data: u64) -> io::Result<()>;
    /// Whether [`Kernel::send_zero_copy`] works here.
    fn can_send_zero_copy(&self) -> bool;
    /// Sends without waiting, and without copying where that can be; both its completions carry `user_data`.
    fn send_zero_copy(&mut self, slot: u32, span: Span, user_data: u64) -> io::Result<()>;
    /// Receives datagrams into buffers until error, or want of buffers; see [`Buffers::datagram`].
    fn receive_datagrams(&mut self, slot: u32, user_data: u64) -> io::Result<()>;
    /// Sends datagrams without waiting; completes, within the `submit` that issues it, with the bytes of all of them, or with
    /// why none was sent.
    fn send_datagrams(&mut self, slot: u32, to: SocketAddr, what: Datagrams<'_>, user_data: u64) -> io::Result<()>;
    /// Connects the socket in a slot; reports 0, or why not.
    fn connect(&mut self, slot: u32, to: SocketAddr, user_data: u64) -> io::Result<()>;
    /// Cancels all operations on a slot; each of them reports.
    fn cancel(&mut self, slot: u32) -> io::Result<()>;
    /// Cancels all operations that carry `user_data`; each of them reports.
    fn cancel_operations(&mut self, user_data: u64) -> io::Result<()>;
    /// Reports at `micros` of [`Kernel::monotonic_micros`]. Submits at once.
    fn timeout(&mut self, micros: u64, user_data: u64) -> io::Result<()>;
    /// Posts a completion with `user_data` at the shard whose address is `target`; a failure reports here.
    fn ring_doorbell(&mut self, target: RawFd, user_data: u64, failure: u64) -> io::Result<()>;

    /// Issues what was queued and runs what has come.
    fn submit(&mut self) -> io::Result<()>;
    /// As `submit`, when nothing says that anything has come: before a sleep.
    fn run_deferred(&mut self) -> io::Result<()>;
    /// Moves what has completed to `out`.
    fn completions(&mut self, out: &mut Vec<Completion>);
    fn has_completions(&mut self) -> bool;
    /// Whether completions wake the shard.
    fn set_signalling(&mut self, signalling: Signalling);

    /// The socket that a completed accept reported. Taken once.
    fn take_accepted(&mut self, result: i32) -> Self::Socket;
    /// A socket for a connection to `to`, not connected yet.
    fn outgoing(&mut self, to: SocketAddr) -> io::Result<Self::Socket>;
    /// Two bound datagram sockets: at an even port of `ports`, and at the next.
    fn datagram_pair(&mut self, _ip: IpAddr, _ports: Range<u16>) -> io::Result<[Self::Socket; 2]> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn peer_address(&self, socket: &Self::Socket) -> io::Result<SocketAddr>;
    fn local_address(&self, socket: &Self::Socket) -> io::Result<SocketAddr>;
    /// Sends a span by reference to its pages; how many bytes the socket took.
    fn sendfile(&mut self, socket: &Self::Socket, pool: &Pool, span: Span) -> io::Result<usize>;
    /// The peer is told the end behind what was sent.
    fn shutdown_write(&mut self, socket: &Self::Socket) -> io::Result<()>;
    fn shutdown_listener(&mut self, listener: &Self::Socket);
    /// The close will throw away what is unsent.
    fn reset_on_close(&mut self, socket: &Self::Socket) -> io::Result<()>;
    /// Unsent bytes at which the socket counts as full.
    fn set_not_sent_low_water(&mut self, socket: &Self::Socket, bytes: u32) -> io::Result<()>;
    /// Bytes a second that the socket sends at most.
    fn set_pacing(&mut self, socket: &Self::Socket, bytes_per_second: u32) -> io::Result<()>;
}

/// Where received bytes lie until they are given back.
pub trait Buffers {
    fn bytes(&mut self, buffer: u16, len: usize) -> &[u8];
    /// As `bytes`, of a receive of datagrams; nothing when its peer has no address.
    fn datagram(&mut self, buffer: u16, len: usize) -> Option<Received<'_>>;
    fn give_back(&mut self, buffer: u16);
}

impl Buffers for ReceiveBuffers {
    fn bytes(&mut self, buffer: u16, len: usize) -> &[u8] {
        ReceiveBuffers::bytes(self, buffer, len)
    }

    fn datagram(&mut self, buffer: u16, len: usize) -> Option<Received<'_>> {
        Received::of(ReceiveBuffers::bytes(self, buffer, len))
    }

    fn give_back(&mut self, buffer: u16) {
        ReceiveBuffers::give_back(self, buffer);
    }
}

fn place_of(from: Outgoing<'_>) -> (u64, usize) {
    match from {
        Outgoing::Own(bytes) | Outgoing::OwnAndMore(bytes) => (bytes.as_ptr() as u64, bytes.len()),
        Outgoing::Span(span) => (span.address, span.len),
    }
}

impl Kernel for Uring {
    type Socket = OwnedFd;
    type Buffers = ReceiveBuffers;

    fn monotonic_micros(&self) -> u64 {
        clock::monotonic_micros()
    }

    fn thread_cpu_micros(&self) -> u64 {
        clock::thread_cpu_micros()
    }

    fn register(&mut self, slot: u32, socket: &OwnedFd) -> io::Result<()> {
        Uring::register(self, slot, socket.as_fd())
    }

    fn unregister(&mut self, slot: u32) -> io::Result<()> {
        Uring::unregister(self, slot)
    }

    fn accept(&mut self, listener: &OwnedFd, user_data: u64) -> io::Result<()> {
        Uring::accept(self, listener.as_fd(), user_data)
    }

    fn receive(&mut self, slot: u32, user_data: u64) -> io::Result<()> {
        Uring::receive(self, slot, user_data)
    }

    fn poll_writable(&mut self, slot: u32, user_data: u64) -> io::Result<()> {
        Uring::poll_writable(self, slot, user_data)
    }

    fn send(&mut self, slot: u32, from: Outgoing<'_>, user_data: u64) -> io::Result<()> {
        let more = match from {
            Outgoing::OwnAndMore(_) => More::Follows,
            Outgoing::Own(_) | Outgoing::Span(_) => More::No,
        };
        let (address, len) = place_of(from);
        Uring::send(self, slot, address, len as u32, more, user_data)
    }

    fn send_both(&mut self, slot: u32, own: &[u8], behind: Outgoing<'_>, user_data: u64) -> io::Result<()> {
        let pieces = [Outgoing::Own(own), behind].map(place_of);
        Uring::send_both(self, slot, pieces, user_data)
    }

    fn can_send_zero_copy(&self) -> bool {
        Uring::can_send_zero_copy(self)
    }

    fn send_zero_copy(&mut self, slot: u32, span: Span, user_data: u64) -> io::Result<()> {
        Uring::send_zero_copy(self, slot, span.address, span.len as u32, user_data)
    }

    fn receive_datagrams(&mut self, slot: u32, user_data: u64) -> io::Result<()> {
        Uring::receive_datagrams(self, slot, user_data)
    }

    fn send_datagrams(&mut self, slot: u32, to: SocketAddr, what: Datagrams<'_>, user_data: u64) -> io::Result<()> {
        Uring::send_datagrams(self, slot, to, what, user_data)
    }

    fn connect(&mut self, slot: u32, to: SocketAddr, user_data: u64) -> io::Result<()> {
        Uring::connect(self, slot, to, user_data)
    }

    fn cancel(&mut self, slot: u32) -> io::Result<()> {
        Uring::cancel(self, slot)
    }

    fn cancel_operations(&mut self, user_data: u64) -> io::Result<()> {
        Uring::cancel_operations(self, user_data)
    }

    fn timeout(&mut self, micros: u64, user_data: u64) -> io::Result<()> {
        Uring::timeout(self, micros, user_data)
    }

    fn ring_doorbell(&mut self, target: RawFd, user_data: u64, failure: u64) -> io::Result<()> {
        Uring::ring_doorbell(self, target, user_data, failure)
    }

    fn submit(&mut self) -> io::Result<()> {
        Uring::submit(self)
    }

    fn run_deferred(&mut self) -> io::Result<()> {
        Uring::run_deferred(self)
    }

    fn completions(&mut self, out: &mut Vec<Completion>) {
        Uring::completions(self, out);
    }

    fn has_completions(&mut self) -> bool {
        Uring::has_completions(self)
    }

    fn set_signalling(&mut self, signalling: Signalling) {
        Uring::set_signalling(self, signalling);
    }

    fn take_accepted(&mut self, result: i32) -> OwnedFd {
        socket::take_accepted(result)
    }

    fn outgoing(&mut self, to: SocketAddr) -> io::Result<OwnedFd> {
        socket::outgoing(to, Duration::from_millis(limits::STALL_MAX_MILLIS))
    }

    fn datagram_pair(&mut self, ip: IpAddr, ports: Range<u16>) -> io::Result<[OwnedFd; 2]> {
        datagrams::open_pair(ip, ports.start, ports.end)
    }

    fn peer_address(&self, socket: &OwnedFd) -> io::Result<SocketAddr> {
        socket::peer_address(socket.as_fd())
    }

    fn local_address(&self, socket: &OwnedFd) -> io::Result<SocketAddr> {
        socket::local_address(socket.as_fd())
    }

    fn sendfile(&mut self, socket: &OwnedFd, pool: &Pool, span: Span) -> io::Result<usize> {
        socket::sendfile(socket.as_fd(), pool.fd(), span.file_offset, span.len)
    }

    fn shutdown_write(&mut self, socket: &OwnedFd) -> io::Result<()> {
        socket::shutdown_write(socket.as_fd())
    }

    fn shutdown_listener(&mut self, listener: &OwnedFd) {
        socket::shutdown_listener(listener.as_fd());
    }

    fn reset_on_close(&mut self, socket: &OwnedFd) -> io::Result<()> {
        socket::reset_on_close(socket.as_fd())
    }

    fn set_not_sent_low_water(&mut self, socket: &OwnedFd, bytes: u32) -> io::Result<()> {
        socket::set_not_sent_low_water(socket, bytes)
    }

    fn set_pacing(&mut self, socket: &OwnedFd, bytes_per_second: u32) -> io::Result<()> {
        socket::set_pacing(socket, bytes_per_second)
    }
}
