//! Connections that all wait for one answer, and when each of them has its last byte: of a server that is asked, or of
//! the [floor](send_to_all) that sends as many bytes to as many sockets.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use penstock_shard::sys::socket;
use rustix::net::SendFlags;

use crate::answer::{Answer, Piece};
use crate::sys::{self, Epoll, Events, Interest};

const EVENTS: usize = 512;
const READ_BYTES: usize = 256 * 1024;
/// `TCP_NOTSENT_LOWAT` of penstock's sockets at its least.
const NOT_SENT_BYTES: u32 = 64 * 1024;

/// What ends an answer.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// What HTTP says of it.
    Answered,
    /// So many bytes.
    Bytes(u64),
}

/// One connection's answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Got {
    /// ns of the monotonic clock; when the last byte was read.
    pub at: u64,
    pub bytes: u64,
}

#[derive(Debug)]
struct Line {
    stream: TcpStream,
    answer: Answer,
    got: Got,
    is_done: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Crowd {
    epoll: Epoll,
    lines: Vec<Line>,
    buffer: Vec<u8>,
}

impl Crowd {
    pub fn connect(address: SocketAddr, lines: u32) -> anyhow::Result<Crowd> {
        let epoll = Epoll::new()?;
        let mut crowd = Crowd {
            lines: Vec::new(),
            buffer: vec![0; READ_BYTES],
            epoll,
        };
        for number in 0..u64::from(lines) {
            let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            crowd.epoll.add(&stream, number)?;
            crowd.lines.push(Line {
                stream,
                answer: Answer::default(),
                got: Got::default(),
                is_done: true,
            });
        }
        Ok(crowd)
    }

    /// All ask, one behind the other.
    pub fn ask(&mut self, request: &[u8]) -> anyhow::Result<()> {
        for line in &mut self.lines {
            line.stream
                .write_all(request)
                .context("a request did not fit its socket")?;
        }
        Ok(())
    }

    /// Reads until every connection has its answer.
    pub fn wait(&mut self, until: Until, within: Duration) -> anyhow::Result<Vec<Got>> {
        for line in &mut self.lines {
            (line.got, line.is_done) = (Got::default(), false);
        }
        let deadline = sys::monotonic_nanos() + within.as_nanos() as u64;
        let (mut left, mut events) = (self.lines.len(), Events::with_capacity(EVENTS));
        while left > 0 {
            if sys::monotonic_nanos() > deadline || sys::interrupted() {
                bail!(
                    "{left} of {} connections have no whole answer after {within:?}",
                    self.lines.len()
                );
            }
            self.epoll.wait(&mut events, 50)?;
            for token in events.tokens() {
                let line = &mut self.lines[token as usize];
                if !line.is_done && line.read(until, &mut self.buffer)? {
                    left -= 1;
                }
            }
        }
        Ok(self.lines.iter().map(|line| line.got).collect())
    }
}

impl Line {
    /// Whether its answer is whole now.
    fn read(&mut self, until: Until, buffer: &mut [u8]) -> anyhow::Result<bool> {
        let droppable = match until {
            Until::Answered => self.answer.droppable(),
            Until::Bytes(bytes) => (bytes - self.got.bytes) as usize,
        };
        let came = match droppable {
            0 => sys::read(&self.stream, buffer),
            droppable => {
                let room = droppable.min(buffer.len());
                sys::discard(&self.stream, &mut buffer[..room])
            }
        };
        let came = match came {
            Ok(0) => bail!("closed by the server"),
            Ok(came) => came,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        self.got.bytes += came as u64;
        self.is_done = match (until, droppable) {
            (Until::Bytes(bytes), _) => self.got.bytes == bytes,
            (Until::Answered, 0) => self.parse(&buffer[..came])?,
            (Until::Answered, _) => self.answer.dropped(came),
        };
        if self.is_done {
            self.got.at = sys::monotonic_nanos();
        }
        Ok(self.is_done)
    }

    fn parse(&mut self, mut input: &[u8]) -> anyhow::Result<bool> {
        loop {
            match self.answer.next(&mut input)? {
                Piece::More => return Ok(false),
                Piece::Head(head) => head.check()?,
                Piece::Body(_) => {}
                Piece::End => return Ok(true),
            }
        }
    }
}

/// The least that a server can do: a thread that sends as many bytes as it is told to all of its connections.
#[derive(Debug)]
pub struct Floor {
    pub address: SocketAddr,
    orders: Option<Sender<usize>>,
    ended: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Floor {
    /// For `lines` connections, on the core `core`.
    pub fn start(lines: u32, core: usize) -> anyhow::Result<Floor> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        rustix::net::listen(&listener, 4096)?;
        let address = listener.local_addr()?;
        let (orders, told) = mpsc::channel();
        let serve = move || {
            sys::run_on(&[core])?;
            serve(&listener, lines, &told)
        };
        let ended = std::thread::Builder::new().name("burst floor".into()).spawn(serve)?;
        Ok(Floor {
            address,
            orders: Some(orders),
            ended: Some(ended),
        })
    }

    /// Sends so many bytes to everybody; the time of the order, ns.
    pub fn send(&self, bytes: usize) -> anyhow::Result<u64> {
        let now = sys::monotonic_nanos();
        let orders = self.orders.as_ref().context("it ends when it is dropped")?;
        orders.send(bytes).map_err(|_| anyhow!("the floor has ended"))?;
        Ok(now)
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.ended.take() {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => eprintln!("the floor failed: {error:#}"),
                Err(_) => eprintln!("the floor panicked"),
            }
        }
    }
}

fn serve(listener: &TcpListener, lines: u32, told: &Receiver<usize>) -> anyhow::Result<()> {
    let epoll = Epoll::new()?;
    let mut streams = Vec::new();
    for number in 0..u64::from(lines) {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        socket::set_not_sent_low_water(&stream, NOT_SENT_BYTES)?;
        epoll.watch(&stream, number, Interest::End)?;
        streams.push(stream);
    }
    while let Ok(bytes) = told.recv() {
        send_to_all(&epoll, &streams, &vec![0x55; bytes])?;
    }
    Ok(())
}

/// One `send` a connection in turn, and one more for each time that a full socket can take more.
fn send_to_all(epoll: &Epoll, streams: &[TcpStream], bytes: &[u8]) -> anyhow::Result<()> {
    let mut sent = vec![0; streams.len()];
    let mut owing = 0;
    for (at, stream) in streams.iter().enumerate() {
        sent[at] = send(stream, bytes)?;
        if sent[at] < bytes.len() {
            owing += 1;
            epoll.modify(stream, at as u64, Interest::Write)?;
        }
    }
    let mut events = Events::with_capacity(EVENTS);
    while owing > 0 {
        epoll.wait(&mut events, 1000)?;
        for at in events.tokens().map(|token| token as usize) {
            sent[at] += send(&streams[at], &bytes[sent[at]..])?;
            if sent[at] == bytes.len() {
                owing -= 1;
                epoll.modify(&streams[at], at as u64, Interest::End)?;
            }
        }
    }
    Ok(())
}

fn send(stream: &TcpStream, bytes: &[u8]) -> anyhow::Result<usize> {
    match rustix::net::send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Ok(took) => Ok(took),
        Err(rustix::io::Errno::AGAIN) => Ok(0),
        Err(error) => Err(error).context("the floor cannot send"),
    }
}
