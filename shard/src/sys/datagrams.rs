//! Datagrams as the kernel takes and gives them: messages that name pieces of memory, segmentation in the kernel (UDP GSO),
//! the head of what a multishot `recvmsg` received, and the sockets.
//!
//! Invariants:
//! - A [`Letter`] points into itself and at pieces; it and they stay as they are until the submit that issues it.
//! - A socket never waits, and is not connected: many peers share it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::Range;
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::limits;
use crate::pool::log::Span;

/// Runs of the pool's memory that datagrams are put together from. What they name is pinned by a claim while it is sent.
#[derive(Default)]
pub struct Pieces {
    spans: Vec<Span>,
    places: Vec<libc::iovec>,
}

impl Pieces {
    pub fn clear(&mut self) {
        self.spans.clear();
        self.places.clear();
    }

    pub fn push(&mut self, span: Span) {
        self.spans.push(span);
        self.places.push(libc::iovec {
            iov_base: span.address as *mut libc::c_void,
            iov_len: span.len,
        });
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    pub fn spans(&self) -> &[Span] {
        &self.spans
    }
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.spans).finish()
    }
}

/// What one send carries to one peer.
#[derive(Clone, Debug)]
pub enum Datagrams<'a> {
    /// One, in a buffer that does not change before the send has completed.
    Own(&'a [u8]),
    /// One, or several that the kernel cuts: each of `segment` bytes, the last of as many or fewer.
    Pieces {
        pieces: &'a Pieces,
        range: Range<usize>,
        segment: Option<u16>,
    },
}

/// udp.h: UDP_SEGMENT.
const UDP_SEGMENT: libc::c_int = 103;

/// Ancillary bytes that say where the kernel cuts.
#[repr(C)]
struct Cut {
    header: libc::cmsghdr,
    segment: u16,
    padding: [u16; 3],
}

/// CMSG_LEN of a u16: the header, which is as long as its alignment wants, and the number.
const CUT_BYTES: usize = size_of::<libc::cmsghdr>() + size_of::<u16>();

/// A message and all of its own that it points at.
pub(super) struct Letter {
    header: libc::msghdr,
    to: SockAddr,
    own: libc::iovec,
    cut: Cut,
}

impl Default for Letter {
    fn default() -> Letter {
        Letter {
            // SAFETY: a msghdr of zeros names no peer, no pieces and no ancillary bytes.
            header: unsafe { std::mem::zeroed() },
            to: SocketAddr::from(([0; 4], 0)).into(),
            own: libc::iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0,
            },
            cut: Cut {
                header: libc::cmsghdr {
                    cmsg_len: CUT_BYTES,
                    cmsg_level: libc::SOL_UDP,
                    cmsg_type: UDP_SEGMENT,
                },
                segment: 0,
                padding: [0; 3],
            },
        }
    }
}

impl Letter {
    /// Of these datagrams. It points into itself, and must not move before it is issued.
    pub fn of(&mut self, to: SocketAddr, what: Datagrams<'_>) -> *const libc::msghdr {
        self.to = to.into();
        let mut segment = None;
        let (pieces, count) = match what {
            Datagrams::Own(bytes) => {
                self.own.iov_base = bytes.as_ptr().cast_mut().cast();
                self.own.iov_len = bytes.len();
                (&raw mut self.own, 1)
            }
            Datagrams::Pieces {
                pieces,
                range,
                segment: cut,
            } => {
                segment = cut;
                let places = &pieces.places[range];
                // Only ever read, by the kernel.
                (places.as_ptr().cast_mut(), places.len())
            }
        };
        self.header.msg_iov = pieces;
        self.header.msg_iovlen = count as _;
        self.header.msg_name = self.to.as_ptr().cast_mut().cast();
        self.header.msg_namelen = self.to.len();
        self.cut.segment = segment.unwrap_or(0);
        (self.header.msg_control, self.header.msg_controllen) = match segment {
            Some(_) => ((&raw mut self.cut).cast(), size_of::<Cut>() as _),
            None => (std::ptr::null_mut(), 0),
        };
        &raw const self.header
    }

    /// The address alone, for a connect: where it is, and its length.
    pub fn address(&mut self, to: SocketAddr) -> (*const libc::sockaddr, libc::socklen_t) {
        self.to = to.into();
        (self.to.as_ptr().cast(), self.to.len())
    }
}

/// What a multishot receive of datagrams is asked with: room for the peer's address, none for anything ancillary.
pub(super) fn receive_header() -> libc::msghdr {
    // SAFETY: a msghdr of zeros names no peer, no pieces and no ancillary bytes.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_namelen = NAME_BYTES as libc::socklen_t;
    header
}

/// io_uring.h, struct io_uring_recvmsg_out: lengths of name, control and payload, and flags, each a u32.
const OUT_BYTES: usize = 16;
/// Room for a peer's address, sockaddr_in6 being the longest.
const NAME_BYTES: usize = size_of::<libc::sockaddr_in6>();
const _: () = assert!(OUT_BYTES + NAME_BYTES <= limits::DATAGRAM_HEAD_BYTES);

/// A datagram as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// An IPv4 peer of a socket of both families is IPv4.
    pub from: SocketAddr,
    pub bytes: &'a [u8],
    /// It was longer than a buffer; the rest is lost.
    pub is_cut: bool,
}

impl Received<'_> {
    /// Of a buffer that a multishot receive filled; nothing when it has no address of a family known here.
    pub fn of(filled: &[u8]) -> Option<Received<'_>> {
        let word = |at: usize| {
            let bytes = filled.get(at..at + 4)?;
            Some(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        let flags = word(12)?;
        let from = address_of(filled.get(OUT_BYTES..OUT_BYTES + NAME_BYTES)?)?;
        Some(Received {
            from,
            bytes: &filled[OUT_BYTES + NAME_BYTES..],
            is_cut: flags & libc::MSG_TRUNC as u32 != 0,
        })
    }
}

/// A sockaddr_in or sockaddr_in6, in its bytes.
fn address_of(name: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes([*name.first()?, *name.get(1)?]);
    let port = u16::from_be_bytes([*name.get(2)?, *name.get(3)?]);
    match libc::c_int::from(family) {
        libc::AF_INET => {
            let ip: [u8; 4] = name.get(4..8)?.try_into().ok()?;
            Some(SocketAddrV4::new(Ipv4Addr::from(ip), port).into())
        }
        libc::AF_INET6 => {
            let ip: [u8; 16] = name.get(8..24)?.try_into().ok()?;
            let scope: [u8; 4] = name.get(24..28)?.try_into().ok()?;
            match Ipv6Addr::from(ip).to_canonical() {
                std::net::IpAddr::V4(ip) => Some(SocketAddrV4::new(ip, port).into()),
                std::net::IpAddr::V6(ip) => Some(SocketAddrV6::new(ip, port, 0, u32::from_ne_bytes(scope)).into()),
            }
        }
        _ => None,
    }
}

/// A socket for datagrams, bound to `address`; one of IPv6's unspecified address serves IPv4 peers too.
pub fn open(address: SocketAddr) -> io::Result<OwnedFd> {
    Ok(bound(address)?.into())
}

/// Two sockets at an even port and the next, the even one at or above `from` and below `until`.
///
/// # Errors
/// `EADDRINUSE` when there is no such pair; whatever else the kernel says.
pub fn open_pair(ip: std::net::IpAddr, from: u16, until: u16) -> io::Result<[OwnedFd; 2]> {
    let even = u32::from(from).next_multiple_of(2);
    for port in (even..u32::from(until)).step_by(2) {
        let (Ok(first), Ok(second)) = (u16::try_from(port), u16::try_from(port + 1)) else {
            break;
        };
        let pair = open(SocketAddr::new(ip, first)).and_then(|first| Ok([first, open(SocketAddr::new(ip, second))?]));
        match pair {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            pair => return pair,
        }
    }
    Err(io::Error::from_raw_os_error(libc::EADDRINUSE))
}

/// A socket that sends to groups by `interface`, an address of this machine (the unspecified one leaves the choice to the
/// routes), up to `hops` routers far. Viewers on this machine hear it.
///
/// # Errors
/// Whatever the kernel says; `EADDRNOTAVAIL` for an interface that is not there.
pub fn open_group(interface: Ipv4Addr, hops: u8) -> io::Result<OwnedFd> {
    let socket = bound(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0).into())?;
    socket.set_multicast_ttl_v4(hops.into())?;
    socket.set_multicast_loop_v4(true)?;
    if !interface.is_unspecified() {
        socket.set_multicast_if_v4(&interface)?;
    }
    Ok(socket.into())
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::DGRAM.cloexec().nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    grow_buffers(&socket);
    socket.bind(&address.into())?;
    Ok(socket)
}

/// As far as the process may: beyond `net.core.wmem_max` and `rmem_max` only with CAP_NET_ADMIN.
fn grow_buffers(socket: &Socket) {
    let bytes = limits::DATAGRAM_SOCKET_BYTES;
    for (forced, asked) in [
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
    ] {
        // A socket with the buffers that it has drops sooner, and that is counted.
        let _ = super::socket::set_number(socket, libc::SOL_SOCKET, forced, bytes)
            .or_else(|_| super::socket::set_number(socket, libc::SOL_SOCKET, asked, bytes));
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::super::socket;
    use super::super::uring::Uring;
    use super::*;
    use crate::pool::Pool;

    /// As the kernel writes it ahead of a datagram.
    fn filled(name: &[u8], flags: u32, payload: &[u8]) -> Vec<u8> {
        let words = [name.len() as u32, 0, payload.len() as u32, flags];
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
        bytes.extend_from_slice(name);
        bytes.resize(OUT_BYTES + NAME_BYTES, 0);
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn what_was_received_is_taken_apart_whatever_it_is() {
        let family = |family: libc::c_int| (family as u16).to_ne_bytes();
        let four = [&family(libc::AF_INET)[..], &[0x13, 0x88, 192, 0, 2, 7]].concat();
        let ip = "2001:db8::7".parse::<Ipv6Addr>().unwrap().octets();
        let six = [
            &family(libc::AF_INET6)[..],
            &[0x13, 0x88],
            &[0; 4],
            &ip,
            &3_u32.to_ne_bytes(),
        ]
        .concat();
        let ip = "::ffff:192.0.2.7".parse::<Ipv6Addr>().unwrap().octets();
        let mapped = [&family(libc::AF_INET6)[..], &[0x13, 0x88], &[0; 4], &ip, &[0; 4]].concat();
        for (name, from) in [
            (&four, "192.0.2.7:5000"),
            (&six, "[2001:db8::7%3]:5000"),
            (&mapped, "192.0.2.7:5000"),
        ] {
            let expected = Received {
                from: from.parse().unwrap(),
                bytes: b"payload",
                is_cut: false,
            };
            assert_eq!(Received::of(&filled(name, 0, b"payload")), Some(expected));
            let cut = filled(name, libc::MSG_TRUNC as u32, b"");
            assert!(Received::of(&cut).unwrap().is_cut);
            for bytes in 0..OUT_BYTES + NAME_BYTES {
                assert_eq!(Received::of(&cut[..bytes]), None, "{bytes} bytes");
            }
        }
        assert_eq!(Received::of(&filled(&family(libc::AF_UNIX), 0, b"payload")), None);
    }

    /// A ring with one socket in slot 0, and a peer of it.
    fn pair() -> (Uring, OwnedFd, UdpSocket) {
        let (mut uring, _buffers) = Uring::new(4).unwrap();
        let socket = open("127.0.0.1:0".parse().unwrap()).unwrap();
        uring.register(0, socket.as_fd()).unwrap();
        uring.submit().unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(std::time::Duration::from_secs(15))).unwrap();
        (uring, socket, peer)
    }

    fn pieces(memory: &[u8], cuts: &[usize]) -> Pieces {
        let pool = Pool::create(1 << 20).unwrap();
        let block = pool.allocate(&mut pool.hint()).unwrap();
        let mut pieces = Pieces::default();
        let mut at = 0;
        for cut in cuts {
            pieces.push(Span {
                address: memory[at..].as_ptr() as u64,
                len: *cut,
                file_offset: 0,
                block,
            });
            at += cut;
        }
        pieces
    }

    fn sent(uring: &mut Uring, peer: &UdpSocket, what: Datagrams<'_>) -> i32 {
        uring.send_datagrams(0, peer.local_addr().unwrap(), what, 7).unwrap();
        let mut completions = Vec::new();
        uring.submit().unwrap();
        uring.completions(&mut completions);
        assert_eq!(completions.len(), 1, "a send completes within its submit");
        completions[0].result
    }

    #[test]
    fn the_kernel_cuts_where_it_is_told_and_says_when_it_cannot() {
        let (mut uring, socket, peer) = pair();
        let memory: Vec<u8> = (0..2_600).map(|at| (at / 10) as u8).collect();
        // Cuts of memory and cuts of datagrams have nothing to do with each other.
        let pieces = pieces(&memory, &[1, 999, 1_200, 400]);
        let cut = |segment| Datagrams::Pieces {
            pieces: &pieces,
            range: 0..4,
            segment,
        };
        let mut heard = [0; 4_000];
        assert_eq!(sent(&mut uring, &peer, cut(Some(1_000))), 2_600);
        for expected in memory.chunks(1_000) {
            let bytes = peer.recv(&mut heard).unwrap();
            assert!(heard[..bytes] == *expected);
        }
        assert_eq!(sent(&mut uring, &peer, cut(None)), 2_600);
        assert_eq!(peer.recv(&mut heard).unwrap(), 2_600, "and no cut is left over");
        // Without checksums there is no cutting, as on a device that makes none.
        socket::set_number(&socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
        let refused = -sent(&mut uring, &peer, cut(Some(1_000)));
        assert!([libc::EINVAL, libc::EIO].contains(&refused), "{refused}");
        assert_eq!(sent(&mut uring, &peer, cut(None)), 2_600);
    }

    #[test]
    fn a_pair_is_even_and_odd_and_the_next_one_is_beside_it() {
        let ip = "127.0.0.9".parse().unwrap();
        let port = |socket: &OwnedFd| socket::local_address(socket.as_fd()).unwrap().port();
        let first = open_pair(ip, 30_001, 31_000).unwrap();
        let second = open_pair(ip, 30_001, 31_000).unwrap();
        for pair in [&first, &second] {
            assert!(port(&pair[0]).is_multiple_of(2));
            assert_eq!(port(&pair[0]) + 1, port(&pair[1]));
        }
        assert!(port(&second[0]) > port(&first[0]) && port(&first[0]) >= 30_002);
        let taken = open_pair(ip, port(&first[0]), port(&first[0]) + 2).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let nowhere = open_pair("203.0.113.1".parse().unwrap(), 30_000, 31_000).unwrap_err();
        assert_eq!(nowhere.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
