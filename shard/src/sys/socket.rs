//! Listening sockets, descriptors taken from the kernel, `sendfile`, and the socket options of DESIGN.md 4.3 and 4.4.
//!
//! Options are set on the listening socket; Linux copies them to what it accepts, so an accepted connection costs no
//! call of its own.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::limits;

/// Listens at `address`. The first listener of an address (shard 0) binds alone, so that a second process is refused
/// with `EADDRINUSE`; it shares the port afterwards, and the listeners of the other shards join it. What it accepts is
/// ended by the kernel when the peer has taken nothing of what is there for it for `stall_max`: neither acknowledged, nor
/// opened a window that was shut (Linux counts both since 5.11).
pub fn listen(address: SocketAddr, first: First, stall_max: Duration) -> io::Result<OwnedFd> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.cloexec().nonblocking(),
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    if first == First::No {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(stall_max))?;
    set_not_sent_low_water(&socket, limits::NOT_SENT_BYTES_MIN)?;
    socket.listen(limits::LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// A socket for a connection to `address`, not connected yet, with the options that a listener gives to what it accepts.
pub fn outgoing(address: SocketAddr, stall_max: Duration) -> io::Result<OwnedFd> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.cloexec().nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(stall_max))?;
    set_not_sent_low_water(&socket, limits::NOT_SENT_BYTES_MIN)?;
    Ok(socket.into())
}

/// Whether a listener is the first of its address in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    Yes,
    No,
}

/// The address a socket is bound to.
pub fn local_address(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    SockRef::from(&fd)
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// The address of a connected socket's peer; an IPv4 peer of a dual-stack listener is IPv4.
pub fn peer_address(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let address = SockRef::from(&fd)
        .peer_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// Takes a descriptor that a completion reported.
pub fn take_accepted(fd: RawFd) -> OwnedFd {
    assert!(
        fd >= 0,
        "a completion with a negative result is an error, not a descriptor"
    );
    // SAFETY: accept completions hand a fresh descriptor to exactly one place, `Uring::completions`' reader, and it
    // comes here once.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Unsent bytes above which a socket counts as full (DESIGN.md 4.4).
pub fn set_not_sent_low_water(socket: &impl AsRawFd, bytes: u32) -> io::Result<()> {
    set_number(socket, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, bytes)
}

/// Bytes a second that the socket sends at most: by the `fq` queue where there is one, by TCP's own timer elsewhere.
pub fn set_pacing(socket: &impl AsRawFd, bytes_per_second: u32) -> io::Result<()> {
    set_number(socket, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, bytes_per_second)
}

pub(super) fn set_number(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    number: u32,
) -> io::Result<()> {
    let size = size_of::<u32>() as libc::socklen_t;
    let value: *const u32 = &number;
    // SAFETY: `value` points to a u32 that lives through the call, and `size` is its size.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value.cast(), size) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Ends the sending side: what was sent is delivered, then the peer sees the end.
pub fn shutdown_write(fd: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&fd).shutdown(std::net::Shutdown::Write)
}

/// Closing will throw away what is unsent and reset the connection, so that its memory comes back at once.
pub fn reset_on_close(fd: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&fd).set_linger(Some(Duration::ZERO))
}

/// Sends `bytes` of `file` from `offset` without waiting; the number of bytes that the socket took.
///
/// The pages stay referenced by the socket until the peer acknowledged them, and nothing tells when: whoever owns the
/// file must not overwrite them, only punch them out.
pub fn sendfile(socket: BorrowedFd<'_>, file: BorrowedFd<'_>, offset: u64, bytes: usize) -> io::Result<usize> {
    let mut offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `offset` is a valid place for the call to read and write; both descriptors are only numbers to it.
    let sent = unsafe { libc::sendfile(socket.as_raw_fd(), file.as_raw_fd(), &mut offset, bytes) };
    if sent >= 0 {
        Ok(sent as usize)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Raises the soft limit of open descriptors to the hard one and returns it.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    raise(libc::RLIMIT_NOFILE, 0)
}

/// Descriptors that the process may have open.
pub fn descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid place for one rlimit.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => Ok(limit.rlim_cur),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Raises the soft limit of locked memory to the hard one, and that to `least` where the process may; the bytes this
/// process may lock, `u64::MAX` when unlimited.
pub fn raise_locked_memory_limit(least: u64) -> io::Result<u64> {
    raise(libc::RLIMIT_MEMLOCK, least)
}

fn raise(resource: libc::__rlimit_resource_t, least: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid place for one rlimit.
    if unsafe { libc::getrlimit(resource, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let hard = limit.rlim_max;
    let mut refused = None;
    for wanted in [hard.max(least), hard] {
        (limit.rlim_cur, limit.rlim_max) = (wanted, wanted);
        // SAFETY: `limit` is an rlimit that the call only reads.
        if unsafe { libc::setrlimit(resource, &limit) } == 0 {
            return Ok(wanted);
        }
        refused = Some(io::Error::last_os_error());
    }
    Err(refused.expect("the loop ran"))
}

/// The calling thread runs on `cpu` only.
pub fn pin(cpu: usize) -> io::Result<()> {
    assert!(cpu < libc::CPU_SETSIZE as usize, "a CPU that the kernel named");
    // SAFETY: a cpu_set_t is a bit array; all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: CPU_SET writes one bit of `set`, which is below its size by the assertion above.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` is only read, and of the size given.
    if unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// An eventfd in blocking mode, as a ring that reads it wants it.
pub fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: the call takes two numbers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds one to an eventfd: wakes whoever reads it.
pub fn signal_eventfd(fd: BorrowedFd<'_>) -> io::Result<()> {
    let one = 1u64.to_ne_bytes();
    // SAFETY: `one` is eight readable bytes.
    let written = unsafe { libc::write(fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    if written == 8 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The executor's handle of an eventfd that the ring signals. Owns a duplicate of the descriptor.
pub fn eventfd_as_file(fd: BorrowedFd<'_>) -> io::Result<glommio::io::BufferedFile> {
    let copy = fd.try_clone_to_owned()?.into_raw_fd();
    // SAFETY: `copy` is a fresh duplicate that nobody else owns.
    Ok(unsafe { glommio::io::BufferedFile::from_raw_fd(copy) })
}

/// A listening socket refuses from here on, before its descriptor is closed.
pub fn shutdown_listener(fd: BorrowedFd<'_>) {
    // Linux answers ENOTCONN for a listener that is already shut; either way it listens no more.
    let _ = SockRef::from(&fd).shutdown(std::net::Shutdown::Both);
}

/// The CPUs the calling thread may run on, as the kernel numbers them.
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    // SAFETY: a cpu_set_t is a bit array; all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a valid place of the size given.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: CPU_ISSET only reads bits of `set`, and every number asked is below its size.
    Ok((0..libc::CPU_SETSIZE as usize)
        .filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    fn number_of(socket: &impl AsRawFd, level: libc::c_int, option: libc::c_int) -> u32 {
        let (mut number, mut size) = (0_u32, size_of::<u32>() as libc::socklen_t);
        let place: *mut u32 = &mut number;
        // SAFETY: `place` is a u32 that lives through the call, and `size` is its size.
        let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, place.cast(), &mut size) };
        assert_eq!((result, size), (0, 4), "{}", io::Error::last_os_error());
        number
    }

    #[test]
    fn what_is_accepted_has_the_options_of_its_listener_and_can_be_paced() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), First::Yes, Duration::from_secs(9)).unwrap();
        let address = local_address(listener.as_fd()).unwrap();
        let _peer = TcpStream::connect(address).unwrap();
        let listener = TcpListener::from(listener);
        listener.set_nonblocking(false).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
        let tcp = |option| number_of(&accepted, libc::IPPROTO_TCP, option);
        assert_eq!(tcp(libc::TCP_USER_TIMEOUT), 9_000);
        assert_eq!(tcp(libc::TCP_NOTSENT_LOWAT), limits::NOT_SENT_BYTES_MIN);
        let pacing = || number_of(&accepted, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE);
        assert_eq!(pacing(), u32::MAX, "no bound");
        for bytes_per_second in [125_000, 4_000_000] {
            set_pacing(&accepted, bytes_per_second).unwrap();
            assert_eq!(pacing(), bytes_per_second);
        }
    }
}
