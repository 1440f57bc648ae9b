//! One connection of a viewer: never waits, plain or in TLS, shaped like a path where it has to be.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::ClientConnection;
use socket2::{Domain, Socket, Type};

use crate::sys;
use crate::target::Authority;
use crate::tls;

/// What is read into at a time: larger than a TLS record, small enough to stay in a core's cache.
const READ_BYTES: usize = 256 * 1024;
/// At most so much is thrown away at a time of one viewer, so that the others are read too.
const DISCARD_BYTES: usize = 1 << 20;
/// Connections from one address of loopback: of about 28,000 ports some are in TIME_WAIT.
const SOURCE_CONNECTIONS: u32 = 8000;
/// 127.0.0.1 to 127.0.0.200.
const SOURCES: u32 = 200;
/// Ethernet's, less the headers of IPv4 and TCP with time stamps.
const PATH_SEGMENT_BYTES: u32 = 1448;
/// The window of a path holds a tenth of a second; less than four segments would stall on delayed acknowledgements.
const PATH_WINDOW_PARTS: u64 = 10;
const PATH_WINDOW_BYTES_MIN: u64 = 8 * 1024;

/// How the connection looks to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As loopback makes it: segments of 64 KiB, a window that grows.
    Local,
    /// Segments of Ethernet's size, and a window of a tenth of a second at this rate.
    Path { bytes_per_second: u64 },
}

/// Buffers that all connections of a thread share.
#[derive(Debug, Default)]
pub struct Scratch {
    wire: Vec<u8>,
    /// Out of TLS.
    plain: Vec<u8>,
}

impl Scratch {
    /// The default has no room.
    pub fn new() -> Scratch {
        Scratch {
            wire: vec![0; DISCARD_BYTES],
            plain: Vec::new(),
        }
    }
}

/// What came of a read.
#[derive(Debug)]
pub enum Came<'a> {
    /// Bytes of the dialogue, and how many they were on the wire.
    Bytes {
        plain: &'a [u8],
        wire: usize,
    },
    /// The peer has ended.
    End,
    Nothing,
}

/// See the module.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    authority: Arc<Authority>,
    tls: Option<Box<ClientConnection>>,
    out: Vec<u8>,
    connected: bool,
}

impl Link {
    /// Begins to connect.
    pub fn connect(authority: &Arc<Authority>, shape: Shape) -> anyhow::Result<Link> {
        let address = authority.address;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
        socket.set_tcp_nodelay(true)?;
        if let Shape::Path { bytes_per_second } = shape {
            let window = (bytes_per_second / PATH_WINDOW_PARTS).max(PATH_WINDOW_BYTES_MIN);
            socket.set_tcp_mss(PATH_SEGMENT_BYTES)?;
            socket.set_recv_buffer_size(usize::try_from(window)?)?;
        }
        if let Some(source) = next_source(address.ip()) {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
            Err(error) => return Err(anyhow::Error::new(error).context(format!("cannot connect to {address}"))),
        }
        let tls = match &authority.tls {
            Some(config) => {
                let name = tls::server_name(authority.name())?;
                Some(Box::new(ClientConnection::new(Arc::clone(config), name)?))
            }
            None => None,
        };
        Ok(Link {
            stream: socket.into(),
            authority: Arc::clone(authority),
            tls,
            out: Vec::new(),
            connected: false,
        })
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn leads_to(&self, authority: &Authority) -> bool {
        self.authority.is_same(authority)
    }

    /// Goes out as the connection allows: [`Link::advance`].
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(bytes),
            None => {
                self.out.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Whether something waits until the socket can be written to.
    pub fn wants_out(&self) -> bool {
        !self.connected || !self.out.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// The socket may have been connected, or have room: sends what waits.
    pub fn advance(&mut self) -> io::Result<()> {
        if !self.connected {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            if self.stream.peer_addr().is_err() {
                return Ok(());
            }
            self.connected = true;
        }
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.out)?;
            }
        }
        let mut sent = 0;
        let result = loop {
            if sent == self.out.len() {
                break Ok(());
            }
            match self.stream.write(&self.out[sent..]) {
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.out.drain(..sent);
        if self.out.is_empty() {
            // A request every few seconds needs no room in between.
            self.out = Vec::new();
        }
        result
    }

    /// Whether bytes can be thrown away unseen.
    pub fn can_discard(&self) -> bool {
        self.tls.is_none()
    }

    /// Throws away at most `bytes`.
    pub fn discard<'a>(&mut self, bytes: usize, scratch: &'a mut Scratch) -> io::Result<Came<'a>> {
        let bytes = bytes.min(DISCARD_BYTES);
        Ok(match sys::discard(&self.stream, &mut scratch.wire[..bytes]) {
            Ok(0) => Came::End,
            Ok(wire) => Came::Bytes { plain: &[], wire },
            Err(error) if error.kind() == ErrorKind::WouldBlock => Came::Nothing,
            Err(error) => return Err(error),
        })
    }

    /// Reads at most `bytes` off the wire.
    pub fn receive<'a>(&mut self, bytes: usize, scratch: &'a mut Scratch) -> io::Result<Came<'a>> {
        let Scratch { wire, plain } = scratch;
        let wire = &mut wire[..bytes.min(READ_BYTES)];
        let bytes = match sys::read(&self.stream, wire) {
            Ok(0) => return Ok(Came::End),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Came::Nothing),
            Err(error) => return Err(error),
        };
        let Some(tls) = &mut self.tls else {
            return Ok(Came::Bytes {
                plain: &wire[..bytes],
                wire: bytes,
            });
        };
        plain.clear();
        let mut sealed = &wire[..bytes];
        while !sealed.is_empty() {
            tls.read_tls(&mut sealed)?;
            let state = tls.process_new_packets().map_err(io::Error::other)?;
            let opened = state.plaintext_bytes_to_read();
            if opened > 0 {
                let begin = plain.len();
                plain.resize(begin + opened, 0);
                tls.reader().read_exact(&mut plain[begin..])?;
            }
        }
        Ok(Came::Bytes { plain, wire: bytes })
    }
}

/// Loopback has more addresses than one, and each has its own ports.
fn next_source(address: IpAddr) -> Option<IpAddr> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    if !matches!(address, IpAddr::V4(address) if address.is_loopback()) {
        return None;
    }
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    let host = (made / SOURCE_CONNECTIONS) % SOURCES;
    (host > 0).then(|| Ipv4Addr::new(127, 0, 0, host as u8 + 1).into())
}

/// `EINPROGRESS`.
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();
