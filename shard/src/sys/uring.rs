//! One io_uring with its eventfd, registered files and provided receive buffers: every socket of a shard lives here
//! (DESIGN.md 4.3).
//!
//! Invariants:
//! - One thread makes, fills and drains a ring (SINGLE_ISSUER, DEFER_TASKRUN: completions appear only in `submit`).
//! - Sends carry `MSG_DONTWAIT`, so each completes within the `submit` that issues it; the kernel holds no reference to
//!   sent memory between two calls, zero-copy sends apart: they complete so too, and hold it until their notification.
//! - A received buffer belongs to the reader from its completion until [`ReceiveBuffers::give_back`].
//! - The user data of an operation is the caller's; `u64::MAX` is kept for operations nobody asks about.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use io_uring::types::{BufRingEntry, CancelBuilder, Fd, Fixed, TimeoutFlags, Timespec};
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};

use super::datagrams::{self, Datagrams, Letter};
use super::socket;
use crate::limits;

const RECEIVE_GROUP: u16 = 0;
const NOBODY: u64 = u64::MAX;

// io_uring.h: IORING_SEND_ZC_REPORT_USAGE (6.2), IORING_CQE_F_NOTIF, IORING_NOTIF_USAGE_ZC_COPIED.
const REPORT_USAGE: u16 = 1 << 3;
const CQE_F_NOTIF: u32 = 1 << 3;
/// io_uring.h: IORING_CQE_F_SOCK_NONEMPTY.
const CQE_F_SOCK_NONEMPTY: u32 = 1 << 2;
const USAGE_COPIED: i32 = i32::MIN;

/// What the kernel said about one operation.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    pub user_data: u64,
    /// Bytes, a descriptor, or a negated errno.
    pub result: i32,
    flags: u32,
}

/// How the bytes of a zero-copy send went, as its notification says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Went {
    /// From the memory itself.
    ByReference,
    /// The kernel copied them after all: the loopback, a virtual device, a packet tap.
    Copied,
}

/// Whether an operation goes on after it reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    Still,
    NoMore,
}

impl Completion {
    /// As another kernel than io_uring reports it; see [`crate::kernel`].
    pub fn of(user_data: u64, result: i32, armed: Armed, buffer: Option<u16>) -> Completion {
        // io_uring.h: IORING_CQE_F_BUFFER, IORING_CQE_F_MORE, IORING_CQE_BUFFER_SHIFT.
        let buffer = buffer.map_or(0, |buffer| u32::from(buffer) << 16 | 1);
        let more = if armed == Armed::Still { 2 } else { 0 };
        Completion {
            user_data,
            result,
            flags: buffer | more,
        }
    }

    /// The notification of a zero-copy send, as another kernel reports it.
    pub fn notification(user_data: u64, went: Went) -> Completion {
        Completion {
            user_data,
            result: if went == Went::Copied { USAGE_COPIED } else { 0 },
            flags: CQE_F_NOTIF,
        }
    }

    /// Set by the second of a zero-copy send's completions: the kernel reads its memory no more.
    pub fn is_notification(&self) -> bool {
        cqueue::notif(self.flags)
    }

    /// What a notification reports.
    pub fn went(&self) -> Went {
        match self.result & USAGE_COPIED {
            0 => Went::ByReference,
            _ => Went::Copied,
        }
    }

    /// The operation stays armed and will report again.
    pub fn is_armed(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// As `self` of a receive that left something in its socket.
    pub fn with_unread(self) -> Completion {
        Completion {
            flags: self.flags | CQE_F_SOCK_NONEMPTY,
            ..self
        }
    }

    /// A receive that left something in its socket.
    pub fn has_unread(&self) -> bool {
        cqueue::sock_nonempty(self.flags)
    }

    /// The provided buffer that holds what was received.
    pub fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

/// Owned by the shard's thread; not `Send`.
pub struct Uring {
    ring: IoUring,
    eventfd: OwnedFd,
    /// Read by the kernel during `submit` only.
    deadline: Box<Timespec>,
    /// As many as the queue has entries, used in turn: one that is used again was issued.
    messages: Box<[Message]>,
    message_next: usize,
    /// As `messages`.
    letters: Box<[Letter]>,
    letter_next: usize,
    /// What receives of datagrams are asked with; it never changes.
    receive_header: Box<libc::msghdr>,
    /// Base of the kernel's clock, CLOCK_MONOTONIC, at our microsecond 0.
    clock_base_nanos: u64,
    /// Registered only to be counted: see [`Uring::keep_locked`].
    kept: Option<Kept>,
    sends_zero_copy: bool,
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uring")
            .field("fd", &self.ring.as_raw_fd())
            .finish_non_exhaustive()
    }
}

impl Uring {
    /// A ring for up to `files` registered sockets, with its receive buffers.
    pub fn new(files: u32) -> io::Result<(Uring, ReceiveBuffers)> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(limits::RING_COMPLETIONS)
            .setup_clamp()
            .build(limits::RING_SUBMISSIONS)?;
        let eventfd = socket::eventfd()?;
        ring.submitter().register_eventfd(eventfd.as_raw_fd())?;
        ring.submitter().register_files_sparse(files)?;
        require_operations(&ring)?;
        let buffers = ReceiveBuffers::register(&ring)?;
        let messages = (0..ring.params().sq_entries()).map(|_| Message::default()).collect();
        let letters = (0..ring.params().sq_entries()).map(|_| Letter::default()).collect();
        let mut uring = Uring {
            ring,
            eventfd,
            deadline: Box::new(Timespec::new()),
            messages,
            message_next: 0,
            letters,
            letter_next: 0,
            receive_header: Box::new(datagrams::receive_header()),
            clock_base_nanos: kernel_clock_nanos().saturating_sub(super::clock::monotonic_micros() * 1000),
            kept: None,
            sends_zero_copy: false,
        };
        // A filter that lets rings be made and not be entered is found here, not by the first peer.
        uring.run_deferred()?;
        uring.sends_zero_copy = uring.ask_zero_copy()?;
        Ok((uring, buffers))
    }

    /// Keeps a part of the limit of locked memory for whatever the thread is to make next, until
    /// [`Uring::give_locked`]. Kernels that count rings beside registered memory (6.18 does) are why; others do not,
    /// so that a limit without room for it is no reason to stop.
    pub fn keep_locked(&mut self, bytes: usize) -> io::Result<()> {
        assert!(self.kept.is_none(), "kept once");
        let kept = Kept::map(bytes)?;
        // SAFETY: the memory stays mapped until `give_locked` has unregistered it, or the ring is gone: it is a later
        // field of `self` than the ring.
        if unsafe { self.ring.submitter().register_buffers(&[kept.whole()]) }.is_ok() {
            self.kept = Some(kept);
        }
        Ok(())
    }

    pub fn give_locked(&mut self) {
        if self.kept.is_some() && self.ring.submitter().unregister_buffers().is_ok() {
            self.kept = None;
        }
    }

    pub fn fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Whether [`Uring::send_zero_copy`] works here: from Linux 6.2 on.
    pub fn can_send_zero_copy(&self) -> bool {
        self.sends_zero_copy
    }

    /// Sends from no socket: a kernel that knows the operation and its report misses the socket, one that does not
    /// refuses the request itself.
    fn ask_zero_copy(&mut self) -> io::Result<bool> {
        let nothing = std::ptr::null();
        let entry = opcode::SendZc::new(Fd(-1), nothing, 0)
            .flags(libc::MSG_DONTWAIT)
            .zc_flags(REPORT_USAGE);
        self.push(&entry.build().user_data(NOBODY))?;
        self.submit()?;
        self.run_deferred()?;
        Ok(self.ring.completion().any(|entry| entry.result() == -libc::EBADF))
    }

    pub fn eventfd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }

    /// Puts `fd` into slot `slot` of the registered files.
    pub fn register(&self, slot: u32, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.ring
            .submitter()
            .register_files_update(slot, &[fd.as_raw_fd()])
            .map(|_| ())
    }

    /// Empties slot `slot`: a registered file sends no FIN before that.
    pub fn unregister(&self, slot: u32) -> io::Result<()> {
        self.ring.submitter().register_files_update(slot, &[-1]).map(|_| ())
    }

    /// Accepts one connection from `listener`. A multishot accept would take a whole backlog in one kernel entry.
    pub fn accept(&mut self, listener: BorrowedFd<'_>, user_data: u64) -> io::Result<()> {
        let nobody = std::ptr::null_mut();
        let entry = opcode::Accept::new(Fd(listener.as_raw_fd()), nobody, nobody.cast())
            .flags(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
            .build()
            .user_data(user_data);
        self.push(&entry)
    }

    /// Receives into provided buffers until end, error, or want of buffers.
    pub fn receive(&mut self, slot: u32, user_data: u64) -> io::Result<()> {
        self.push(
            &opcode::RecvMulti::new(Fixed(slot), RECEIVE_GROUP)
                .build()
                .user_data(user_data),
        )
    }

    /// Receives datagrams into provided buffers, each behind its head, until error or want of buffers.
    pub fn receive_datagrams(&mut self, slot: u32, user_data: u64) -> io::Result<()> {
        let header: *const libc::msghdr = &*self.receive_header;
        self.push(
            &opcode::RecvMsgMulti::new(Fixed(slot), header, RECEIVE_GROUP)
                .build()
                .user_data(user_data),
        )
    }

    /// Sends datagrams to `to` without waiting; completes within the next [`Uring::submit`]. Memory as for [`Uring::send`].
    pub fn send_datagrams(&mut self, slot: u32, to: SocketAddr, what: Datagrams<'_>, user_data: u64) -> io::Result<()> {
        let message = self.next_letter()?.of(to, what);
        let entry = opcode::SendMsg::new(Fixed(slot), message)
            .flags((libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as u32)
            .build()
            .user_data(user_data);
        self.push(&entry)
    }

    /// Connects the socket in `slot` to `to`; reports 0 or why not.
    pub fn connect(&mut self, slot: u32, to: SocketAddr, user_data: u64) -> io::Result<()> {
        let (address, bytes) = self.next_letter()?.address(to);
        let entry = opcode::Connect::new(Fixed(slot), address, bytes);
        self.push(&entry.build().user_data(user_data))
    }

    fn next_letter(&mut self) -> io::Result<&mut Letter> {
        self.make_room()?;
        let at = self.letter_next;
        self.letter_next = (at + 1) % self.letters.len();
        Ok(&mut self.letters[at])
    }

    /// Reports once when the socket can take bytes again.
    pub fn poll_writable(&mut self, slot: u32, user_data: u64) -> io::Result<()> {
        self.push(
            &opcode::PollAdd::new(Fixed(slot), libc::POLLOUT as u32)
                .build()
                .user_data(user_data),
        )
    }

    /// Sends `bytes` bytes at `address` without waiting; completes within the next [`Uring::submit`]. The memory is
    /// only read; what it holds must be right until then (a pinned feed span, or a buffer of the connection).
    pub fn send(&mut self, slot: u32, address: u64, bytes: u32, more: More, user_data: u64) -> io::Result<()> {
        let more = match more {
            More::No => 0,
            More::Follows => libc::MSG_MORE,
        };
        let entry = opcode::Send::new(Fixed(slot), address as *const u8, bytes)
            .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | more)
            .build()
            .user_data(user_data);
        self.push(&entry)
    }

    /// As [`Uring::send`], of two pieces (address and bytes), one behind the other.
    pub fn send_both(&mut self, slot: u32, pieces: [(u64, usize); 2], user_data: u64) -> io::Result<()> {
        self.make_room()?;
        let at = self.message_next;
        self.message_next = (at + 1) % self.messages.len();
        let message = self.messages[at].of(pieces);
        let entry = opcode::SendMsg::new(Fixed(slot), message)
            .flags((libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as u32)
            .build()
            .user_data(user_data);
        self.push(&entry)
    }

    /// As [`Uring::send`], without copying where the way to the peer allows it: the memory must stay as it is until the
    /// notification. The first completion says what the socket took, and is armed when a notification will follow.
    ///
    /// The memory is not registered: the kernel takes the pages it finds at issue, so that pages punched out of their file
    /// afterwards go out as they were.
    pub fn send_zero_copy(&mut self, slot: u32, address: u64, bytes: u32, user_data: u64) -> io::Result<()> {
        let entry = opcode::SendZc::new(Fixed(slot), address as *const u8, bytes)
            .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .zc_flags(REPORT_USAGE)
            .build()
            .user_data(user_data);
        self.push(&entry)
    }

    /// Cancels all operations on slot `slot`; each of them reports.
    pub fn cancel(&mut self, slot: u32) -> io::Result<()> {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(Fixed(slot)).all());
        self.push(&entry.build().user_data(NOBODY).flags(squeue::Flags::SKIP_SUCCESS))
    }

    /// Cancels all operations that carry `user_data`.
    pub fn cancel_operations(&mut self, user_data: u64) -> io::Result<()> {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::user_data(user_data).all());
        self.push(&entry.build().user_data(NOBODY).flags(squeue::Flags::SKIP_SUCCESS))
    }

    /// Reports at `micros` of the shard's clock. Submits at once.
    pub fn timeout(&mut self, micros: u64, user_data: u64) -> io::Result<()> {
        let nanos = self.clock_base_nanos + micros * 1000;
        *self.deadline = Timespec::new()
            .sec(nanos / 1_000_000_000)
            .nsec((nanos % 1_000_000_000) as u32);
        let spec: *const Timespec = &*self.deadline;
        self.push(
            &opcode::Timeout::new(spec)
                .flags(TimeoutFlags::ABS)
                .build()
                .user_data(user_data),
        )?;
        self.submit()
    }

    /// Posts a completion with `user_data` on another ring; a failure reports here with `failure`.
    pub fn ring_doorbell(&mut self, target: RawFd, user_data: u64, failure: u64) -> io::Result<()> {
        let entry = opcode::MsgRingData::new(Fd(target), 0, user_data, None);
        self.push(&entry.build().user_data(failure).flags(squeue::Flags::SKIP_SUCCESS))
    }

    /// Issues what was queued, runs the kernel's deferred work. One kernel entry when there is any, none otherwise.
    pub fn submit(&mut self) -> io::Result<()> {
        loop {
            match self.ring.submit() {
                Ok(_) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                // The completion queue is full or the kernel is short of memory: completions are drained first.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs deferred work whether or not the flag says that there is any: what `submit` may miss right before a sleep. The
    /// kernel does some twenty pieces a call, and sets the flag when some are left, which will signal nothing: not to be
    /// slept on, though what was done (a poll that found nothing) completed nothing.
    pub fn run_deferred(&mut self) -> io::Result<()> {
        const GET_EVENTS: u32 = 1;
        loop {
            // SAFETY: no argument block is passed; the call issues nothing (0 entries) and waits for nothing.
            let result = unsafe { self.ring.submitter().enter::<libc::sigset_t>(0, 0, GET_EVENTS, None) };
            match result {
                Ok(_) if self.ring.submission().taskrun() && !self.has_completions() => {}
                Ok(_) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves all completions that have arrived into `out`; those of nobody are dropped.
    pub fn completions(&mut self, out: &mut Vec<Completion>) {
        for entry in self.ring.completion() {
            if entry.user_data() != NOBODY {
                out.push(Completion {
                    user_data: entry.user_data(),
                    result: entry.result(),
                    flags: entry.flags(),
                });
            }
        }
    }

    pub fn has_completions(&mut self) -> bool {
        !self.ring.completion().is_empty()
    }

    /// Whether arriving completions signal the eventfd: wanted asleep, wasted awake.
    pub fn set_signalling(&mut self, signalling: Signalling) {
        let queue = self.ring.completion();
        match signalling {
            Signalling::On => queue.enable_eventfd(),
            Signalling::Off => queue.disable_eventfd(),
        }
    }

    /// A place in the queue. While it is full, none of `messages` can be used again.
    fn make_room(&mut self) -> io::Result<()> {
        if self.ring.submission().is_full() {
            self.submit()?;
        }
        match self.ring.submission().is_full() {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(()),
        }
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        self.make_room()?;
        // SAFETY: what an entry points to outlives its issue, as each function above states: sends complete within
        // `submit` (what zero-copy ones hold beyond it are pages, kept by the kernel), `deadline` is a field that changes
        // only behind a submit, one of `messages` or `letters` changes only when as many entries as the queue has were pushed behind it,
        // received memory is registered for life.
        unsafe { self.ring.submission().push(entry) }.map_err(|_| io::Error::from(io::ErrorKind::WouldBlock))
    }
}

/// Two pieces of one send; the kernel reads it within the submit that issues it.
struct Message {
    pieces: [libc::iovec; 2],
    header: libc::msghdr,
}

impl Default for Message {
    fn default() -> Message {
        let nothing = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        Message {
            pieces: [nothing; 2],
            // SAFETY: a msghdr of zeros names no peer, no pieces and no ancillary bytes.
            header: unsafe { std::mem::zeroed() },
        }
    }
}

impl Message {
    /// Of these pieces. It points into itself, and must not move before it is issued.
    fn of(&mut self, pieces: [(u64, usize); 2]) -> *const libc::msghdr {
        self.pieces = pieces.map(|(address, bytes)| libc::iovec {
            iov_base: address as *mut libc::c_void,
            iov_len: bytes,
        });
        self.header.msg_iov = self.pieces.as_mut_ptr();
        self.header.msg_iovlen = self.pieces.len() as _;
        &raw const self.header
    }
}

/// Memory that is registered for its weight alone.
struct Kept {
    memory: NonNull<u8>,
    bytes: usize,
}

impl Kept {
    fn map(bytes: usize) -> io::Result<Kept> {
        let memory = map_anonymous(bytes)?;
        Ok(Kept { memory, bytes })
    }

    fn whole(&self) -> libc::iovec {
        libc::iovec {
            iov_base: self.memory.as_ptr().cast(),
            iov_len: self.bytes,
        }
    }
}

/// Waits until the limit of locked memory leaves room for `bytes`; whether it does. Rings of a process that has ended
/// are counted until the kernel has taken them apart, which is behind its exit and nothing tells.
pub fn await_lockable(bytes: usize, patience: Duration, pause: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + patience;
    let kept = Kept::map(bytes)?;
    // One for all looks: each ring is counted too, and for a while behind its end.
    let ring = IoUring::new(1)?;
    loop {
        // SAFETY: the memory stays mapped until the ring, made after it, is gone.
        match unsafe { ring.submitter().register_buffers(&[kept.whole()]) } {
            Ok(()) => return ring.submitter().unregister_buffers().map(|()| true),
            Err(error) if error.raw_os_error() != Some(libc::ENOMEM) => return Err(error),
            Err(_) if Instant::now() >= deadline => return Ok(false),
            Err(_) => std::thread::sleep(pause),
        }
    }
}

/// What a shard asks of its ring beside reads and writes. Each is older than the set-up flags above, so that only a
/// kernel that was built otherwise, or something that plays one, is refused here.
fn require_operations(ring: &IoUring) -> io::Result<()> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let needed = [
        opcode::AcceptMulti::CODE,
        opcode::RecvMulti::CODE,
        opcode::Send::CODE,
        opcode::SendMsg::CODE,
        opcode::RecvMsgMulti::CODE,
        opcode::Connect::CODE,
        opcode::PollAdd::CODE,
        opcode::Timeout::CODE,
        opcode::AsyncCancel2::CODE,
        opcode::MsgRingData::CODE,
    ];
    match needed.iter().all(|code| probe.is_supported(*code)) {
        true => Ok(()),
        // The same word as for a set-up flag that the kernel does not know.
        false => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

/// Whether another send of the connection follows at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    No,
    Follows,
}

/// See [`Uring::set_signalling`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signalling {
    On,
    Off,
}

fn kernel_clock_nanos() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for one timespec.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    assert_eq!(result, 0, "CLOCK_MONOTONIC exists");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The buffers that the kernel fills for multishot receives. Belongs to the thread of its ring and outlives no ring
/// operation: the shard drops the ring first.
pub struct ReceiveBuffers {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    tail: u16,
}

impl std::fmt::Debug for ReceiveBuffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiveBuffers")
            .field("tail", &self.tail)
            .finish_non_exhaustive()
    }
}

const ENTRIES_BYTES: usize = limits::RECEIVE_BUFFERS as usize * size_of::<BufRingEntry>();
const MEMORY_BYTES: usize = limits::RECEIVE_BUFFERS as usize * limits::RECEIVE_BUFFER_BYTES;

impl ReceiveBuffers {
    fn register(ring: &IoUring) -> io::Result<ReceiveBuffers> {
        let entries = map_anonymous(ENTRIES_BYTES)?.cast::<BufRingEntry>();
        let memory = map_anonymous(MEMORY_BYTES)?;
        // SAFETY: `entries` is page-aligned, holds RECEIVE_BUFFERS entries, and is unmapped only when self is dropped,
        // which is after the ring (see `ReceiveBuffers`).
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                entries.as_ptr() as u64,
                limits::RECEIVE_BUFFERS,
                RECEIVE_GROUP,
                0,
            )?;
        }
        let mut buffers = ReceiveBuffers {
            entries,
            memory,
            tail: 0,
        };
        for buffer in 0..limits::RECEIVE_BUFFERS {
            buffers.give_back(buffer);
        }
        Ok(buffers)
    }

    /// What a completion received: its buffer and number of bytes.
    pub fn bytes(&self, buffer: u16, len: usize) -> &[u8] {
        assert!(buffer < limits::RECEIVE_BUFFERS && len <= limits::RECEIVE_BUFFER_BYTES);
        // SAFETY: in bounds of `memory` by the assertion above and the layout.
        let start = unsafe { self.memory.as_ptr().add(buffer as usize * limits::RECEIVE_BUFFER_BYTES) };
        // SAFETY: the kernel wrote `len` bytes there before its completion and leaves the buffer alone until
        // `give_back`, which needs `&mut self`.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// The kernel may fill `buffer` again.
    pub fn give_back(&mut self, buffer: u16) {
        assert!(buffer < limits::RECEIVE_BUFFERS);
        let slot = (self.tail & (limits::RECEIVE_BUFFERS - 1)) as usize;
        // SAFETY: `slot` is below RECEIVE_BUFFERS, the number of mapped entries.
        let entry = unsafe { &mut *self.entries.as_ptr().add(slot) };
        entry.set_addr(self.memory.as_ptr() as u64 + u64::from(buffer) * limits::RECEIVE_BUFFER_BYTES as u64);
        entry.set_len(limits::RECEIVE_BUFFER_BYTES as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `entries` is the base of a registered buffer ring; its tail lies inside the mapped memory.
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) }.cast::<AtomicU16>();
        // SAFETY: the tail is aligned, mapped, and only ever accessed atomically by us and by the kernel.
        unsafe { &*tail }.store(self.tail, Ordering::Release);
    }
}

impl Drop for ReceiveBuffers {
    fn drop(&mut self) {
        // SAFETY: mapped in `register` with this size, and no ring uses it any more (see `ReceiveBuffers`).
        unsafe { libc::munmap(self.entries.as_ptr().cast(), ENTRIES_BYTES) };
        // SAFETY: the same for the buffers' memory.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), MEMORY_BYTES) };
    }
}

fn map_anonymous(bytes: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a fresh private mapping at an address of the kernel's choice touches nothing that exists.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_ANONYMOUS | libc::MAP_PRIVATE,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_sends_zero_copy() {
        let (uring, _buffers) = Uring::new(4).unwrap();
        assert!(uring.can_send_zero_copy());
        let mut uring = uring;
        let mut completions = Vec::new();
        uring.submit().unwrap();
        uring.completions(&mut completions);
        assert!(completions.is_empty(), "nobody hears of the question: {completions:?}");
    }

    #[test]
    fn a_notification_made_by_hand_reads_as_the_kernels() {
        for went in [Went::ByReference, Went::Copied] {
            let notification = Completion::notification(7, went);
            assert!(notification.is_notification() && !notification.is_armed());
            assert_eq!((notification.went(), notification.buffer()), (went, None));
        }
        assert!(!Completion::of(7, 9, Armed::Still, None).is_notification());
    }

    #[test]
    fn what_a_receive_left_is_reported() {
        let plain = Completion::of(7, 9, Armed::Still, Some(3));
        let left = plain.with_unread();
        assert!(left.has_unread() && !plain.has_unread());
        assert_eq!((left.is_armed(), left.buffer()), (true, Some(3)));
    }

    #[test]
    fn a_completion_made_by_hand_reads_as_the_kernels() {
        for armed in [Armed::Still, Armed::NoMore] {
            for buffer in [None, Some(0), Some(127), Some(u16::MAX)] {
                let completion = Completion::of(7, -9, armed, buffer);
                assert_eq!(completion.is_armed(), armed == Armed::Still);
                assert_eq!((completion.buffer(), completion.result), (buffer, -9));
            }
        }
    }
}
