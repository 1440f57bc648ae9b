//! The system calls that std does not offer: `epoll(7)`, `recv(2)` with `MSG_TRUNC`, `CLOCK_MONOTONIC`, signals.
//!
//! All of it by crates that make them safe; sizes and names are those that the rest of the bench works with.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::net::RecvFlags;
use rustix::process::{Pid, kill_process};
use rustix::time::{ClockId, clock_gettime};
use signal_hook::consts::{SIGINT, SIGTERM};

pub use penstock_shard::sys::socket::raise_descriptor_limit;
pub use rustix::process::Signal;

/// Set by the first Ctrl-C or SIGTERM.
static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Nanoseconds of `CLOCK_MONOTONIC`: one clock for publisher and viewers, whatever thread they are on.
pub fn monotonic_nanos() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Units per second of the times in `/proc/PID/stat`.
pub fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second().max(1)
}

/// A signal to a child that has not been waited for, so that the number is still its own.
pub fn send_signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    kill_process(pid.ok_or(io::ErrorKind::InvalidInput)?, signal)?;
    Ok(())
}

/// From here on Ctrl-C and SIGTERM are told by [`interrupted`]; a second one ends the process as usual.
pub fn catch_interrupts() -> io::Result<()> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset and sets it, the second finds it set.
        signal_hook::flag::register_conditional_default(signal, flag.clone())?;
        signal_hook::flag::register(signal, flag.clone())?;
    }
    Ok(())
}

/// Whether the user wants to end.
pub fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// A command for `program` that stands in a process group of its own, so that Ctrl-C reaches us alone, and is killed when
/// the thread that starts it ends in whatever way. `setpriv` of util-linux asks the kernel for that, then becomes the
/// program.
pub fn bound_to_this_thread(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .process_group(0);
    command
}

/// Bytes that came, thrown away by the kernel; 0 is the peer's end. Never waits. `scratch` only says how many at most:
/// TCP does not write to it under `MSG_TRUNC`.
pub fn discard(socket: &impl AsFd, scratch: &mut [u8]) -> io::Result<usize> {
    receive(socket, scratch, RecvFlags::TRUNC)
}

/// Bytes that came. Never waits.
pub fn read(socket: &impl AsFd, into: &mut [u8]) -> io::Result<usize> {
    receive(socket, into, RecvFlags::empty())
}

fn receive(socket: &impl AsFd, into: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
    let (_, bytes) = rustix::net::recv(socket, into, flags | RecvFlags::DONTWAIT)?;
    Ok(bytes)
}

/// What a socket is watched for; its reset is told in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    Read,
    Write,
    Both,
    End,
}

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        let read = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        match self {
            Interest::Read => read,
            Interest::Write => epoll::EventFlags::OUT,
            Interest::Both => read | epoll::EventFlags::OUT,
            Interest::End => epoll::EventFlags::empty(),
        }
    }
}

/// An eventfd: whoever has it can wake a thread that watches it.
pub fn waker() -> io::Result<OwnedFd> {
    let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
    Ok(rustix::event::eventfd(0, flags)?)
}

pub fn wake(waker: &OwnedFd) {
    // Full means that it is awake.
    let _ = rustix::io::write(waker, &1u64.to_ne_bytes());
}

pub fn clear_wake(waker: &OwnedFd) {
    // Nothing there is as good.
    let _ = rustix::io::read(waker, &mut [0; 8]);
}

/// Threads that this one starts from here on, and itself, run on these cores.
pub fn run_on(cpus: &[usize]) -> io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu));
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// The cores that this thread may run on.
pub fn runs_on() -> io::Result<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None)?;
    Ok((0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|cpu| set.is_set(*cpu))
        .collect())
}

/// Sockets to be told of when bytes come.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

/// Room for the answer of one [`Epoll::wait`].
pub struct Events(Vec<epoll::Event>);

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
        self.0.iter().map(|event| event.data.u64())
    }
}

impl Epoll {
    pub fn new() -> io::Result<Epoll> {
        Ok(Epoll(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Bytes or the end of `socket` are told with `token`, until it is closed.
    pub fn add(&self, socket: &impl AsFd, token: u64) -> io::Result<()> {
        self.watch(socket, token, Interest::Read)
    }

    /// What happens to `socket` is told with `token`, until it is closed.
    pub fn watch(&self, socket: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        epoll::add(&self.0, socket, epoll::EventData::new_u64(token), interest.flags())?;
        Ok(())
    }

    pub fn modify(&self, socket: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        epoll::modify(&self.0, socket, epoll::EventData::new_u64(token), interest.flags())?;
        Ok(())
    }

    /// Waits for the next events, at most `millis`.
    pub fn wait(&self, events: &mut Events, millis: u32) -> io::Result<()> {
        let timeout = Timespec {
            tv_sec: i64::from(millis / 1000),
            tv_nsec: i64::from(millis % 1000) * 1_000_000,
        };
        events.0.clear();
        match epoll::wait(&self.0, spare_capacity(&mut events.0), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
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
