//! The system calls that std does not offer: `epoll(7)`, `recv(2)` with `MSG_TRUNC`, `CLOCK_MONOTONIC`, limits, signals.
//!
//! The only file of this crate with `unsafe`: one operation a block, each with the fact that makes it sound.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Nanoseconds of `CLOCK_MONOTONIC`: one clock for publisher and viewers, whatever thread they are on.
pub fn monotonic_nanos() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` lives across the call and is of the type that the call fills.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    assert_eq!(result, 0, "Linux has CLOCK_MONOTONIC");
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Units per second of the times in `/proc/PID/stat`.
pub fn ticks_per_second() -> u64 {
    // SAFETY: `sysconf` takes an integer and touches no memory of ours.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).unwrap_or(100).max(1)
}

/// Raises the soft limit of open files to the hard one; returns it. Children inherit it.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` lives across the call and is of the type that the call fills.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` lives across the call, which only reads it.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(limit.rlim_cur)
}

/// A signal to a child that has not been waited for, so that the number is still its own.
pub fn send_signal(pid: u32, signal: i32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: `kill` takes integers and touches no memory of ours.
    check(unsafe { libc::kill(pid, signal) })
}

/// From here on Ctrl-C and SIGTERM are told by [`interrupted`]; a second one ends the process as usual.
pub fn catch_interrupts() -> io::Result<()> {
    // SAFETY: all zeros is a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_interrupt as extern "C" fn(libc::c_int) as usize;
    action.sa_flags = libc::SA_RESETHAND | libc::SA_RESTART;
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: `action` lives across the call; its function only stores to an atomic, which a signal may do.
        check(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) })?;
    }
    Ok(())
}

/// Whether the user wants to end.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

extern "C" fn on_interrupt(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// The child stands in a process group of its own, so that Ctrl-C reaches us alone, and is killed when the thread that
/// starts it ends in whatever way.
pub fn bind_to_this_thread(command: &mut Command) {
    command.process_group(0);
    let bind = || {
        // SAFETY: `prctl` with PR_SET_PDEATHSIG takes integers and touches no memory.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })
    };
    // SAFETY: `bind` runs between fork and exec: it makes one system call, which is async-signal-safe, and allocates
    // nothing.
    unsafe { command.pre_exec(bind) };
}

/// Bytes that came, thrown away by the kernel; 0 is the peer's end. Never waits. `scratch` only says how many at most:
/// TCP does not write to it under `MSG_TRUNC`.
pub fn discard(socket: &impl AsFd, scratch: &mut [u8]) -> io::Result<usize> {
    receive(socket, scratch, libc::MSG_TRUNC)
}

/// Bytes that came. Never waits.
pub fn read(socket: &impl AsFd, into: &mut [u8]) -> io::Result<usize> {
    receive(socket, into, 0)
}

fn receive(socket: &impl AsFd, into: &mut [u8], flags: i32) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `into` is writable for its whole length and lives across the call, which writes no more than that.
    let bytes = unsafe { libc::recv(fd, into.as_mut_ptr().cast(), into.len(), flags | libc::MSG_DONTWAIT) };
    usize::try_from(bytes).map_err(|_| io::Error::last_os_error())
}

/// Sockets to be told of when bytes come.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

/// Room for the answer of one [`Epoll::wait`].
pub struct Events(Vec<libc::epoll_event>);

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Events({})", self.0.capacity())
    }
}

impl Events {
    pub fn with_capacity(events: usize) -> Events {
        Events(Vec::with_capacity(events.max(1)))
    }

    /// Tokens of the sockets that are ready.
    pub fn tokens(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|event| event.u64)
    }
}

impl Epoll {
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: `epoll_create1` takes an integer and touches no memory of ours.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        check(fd)?;
        // SAFETY: `fd` is a fresh descriptor that nobody else owns.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Bytes or the end of `socket` are told with `token`, until it is closed.
    pub fn add(&self, socket: &impl AsFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: (libc::EPOLLIN | libc::EPOLLRDHUP).unsigned_abs(),
            u64: token,
        };
        let fd = socket.as_fd().as_raw_fd();
        // SAFETY: `event` lives across the call, which only reads it.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) })
    }

    /// Waits for the next events, at most `millis`.
    pub fn wait(&self, events: &mut Events, millis: i32) -> io::Result<()> {
        let room = i32::try_from(events.0.capacity()).unwrap_or(i32::MAX);
        events.0.clear();
        // SAFETY: the vector has room for `room` events (its capacity), to which the kernel writes at most.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.0.as_mut_ptr(), room, millis) };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted {
                Ok(())
            } else {
                Err(error)
            };
        }
        // SAFETY: the kernel has written `count` events, not more than the capacity.
        unsafe { events.0.set_len(count.unsigned_abs() as usize) };
        Ok(())
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_comes_is_told_and_counted_without_being_copied() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        let epoll = Epoll::new().unwrap();
        epoll.add(&far, 7).unwrap();
        let (mut events, mut scratch) = (Events::with_capacity(4), vec![0x55; 1 << 16]);
        near.write_all(&[1; 3000]).unwrap();
        let mut counted = 0;
        while counted < 3000 {
            epoll.wait(&mut events, 5000).unwrap();
            assert_eq!(events.tokens().collect::<Vec<_>>(), [7]);
            counted += discard(&far, &mut scratch).unwrap();
        }
        assert_eq!(counted, 3000);
        assert!(scratch.iter().all(|byte| *byte == 0x55));
        let empty = discard(&far, &mut scratch).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        drop(near);
        epoll.wait(&mut events, 5000).unwrap();
        assert_eq!(discard(&far, &mut scratch).unwrap(), 0);
    }

    #[test]
    fn the_clock_rises() {
        let before = monotonic_nanos();
        assert!(before > 0 && monotonic_nanos() >= before);
    }
}
