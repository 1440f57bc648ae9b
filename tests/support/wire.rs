//! Raw HTTP over a socket: what a client that is not a library would send, and exactly what came back.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// No answer of the server's that tests wait for may take longer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Asked for as the receive buffer of a reader who is to be slow; Linux doubles it.
const NARROW_BYTES: usize = 16 * 1024;

/// A parsed answer head and what of the body came with it.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// Of a chunked body: when each chunk was here, and its bytes.
    pub chunks: Vec<(Instant, usize)>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Requires that the answer names no transfer coding: what follows is the media and nothing else.
    pub fn assert_not_chunked(&self) {
        assert_eq!(
            self.header("transfer-encoding"),
            None,
            "an endless answer is close-delimited:\n{}",
            self.head
        );
        assert_eq!(
            self.header("content-length"),
            None,
            "an endless answer has no length:\n{}",
            self.head
        );
    }
}

/// One connection with what was read ahead.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    ahead: Vec<u8>,
}

impl Wire {
    pub fn connect(to: SocketAddr) -> Wire {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap_or_else(|error| panic!("{to}: {error}"));
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_nodelay(true).expect("a TCP socket");
        Wire {
            stream,
            ahead: Vec::new(),
        }
    }

    /// A connection whose own end takes little: what is not read stays with the server.
    pub fn connect_narrow(to: SocketAddr) -> Wire {
        Wire {
            stream: narrow(to),
            ahead: Vec::new(),
        }
    }

    /// The socket itself, for who reads on and looks at nothing.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    pub fn set_patience(&self, within: Duration) {
        self.stream.set_read_timeout(Some(within)).expect("not zero");
    }

    /// Sends; a peer that has closed already is no fault here, its answer is still read.
    pub fn send(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            Err(error) if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                panic!("send: {error}")
            }
            _ => {}
        }
    }

    pub fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        self.send((text + "\r\n").as_bytes());
    }

    /// Ends the sending side, as `nc -N` does behind its request.
    pub fn half_close(&mut self) {
        let ended = self.stream.shutdown(std::net::Shutdown::Write);
        ended.unwrap_or_else(|error| panic!("shutdown: {error}"));
    }

    /// Reads one answer: its head, and its body when a length says where it ends.
    pub fn answer(&mut self, method: &str) -> Answer {
        self.try_answer(method)
            .unwrap_or_else(|why| panic!("no answer to {method}: {why}"))
    }

    pub fn try_answer(&mut self, method: &str) -> Result<Answer, String> {
        let end = loop {
            if let Some(at) = self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if self.fill()? == 0 {
                return Err(format!("closed after {:?}", String::from_utf8_lossy(&self.ahead)));
            }
        };
        let head = String::from_utf8(self.ahead[..end].to_vec()).map_err(|_| "head is not text".to_string())?;
        self.ahead.drain(..end + 4);
        let status = head
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| format!("not an HTTP/1.1 status line: {head:?}"))?;
        let mut answer = Answer {
            status,
            head,
            body: Vec::new(),
            chunks: Vec::new(),
        };
        let length: usize = match answer.header("content-length") {
            Some(text) if method != "HEAD" => text.parse().map_err(|_| format!("length {text:?}"))?,
            _ => 0,
        };
        while self.ahead.len() < length {
            if self.fill()? == 0 {
                return Err(format!(
                    "closed {} bytes before the end of the body",
                    length - self.ahead.len()
                ));
            }
        }
        answer.body = self.ahead.drain(..length).collect();
        if method != "HEAD" && answer.header("transfer-encoding") == Some("chunked") {
            answer.chunks = self.chunks(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// Reads a chunked body to its end; gives when each chunk was whole here, and its bytes.
    fn chunks(&mut self, body: &mut Vec<u8>) -> Result<Vec<(Instant, usize)>, String> {
        let mut chunks = Vec::new();
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(&line, 16).map_err(|_| format!("chunk size {line:?}"))?;
            while self.ahead.len() < size + 2 {
                if self.fill()? == 0 {
                    return Err(format!("closed inside a chunk of {size} bytes"));
                }
            }
            body.extend(self.ahead.drain(..size));
            if self.ahead.drain(..2).ne(*b"\r\n") {
                return Err(format!("no line end behind a chunk of {size} bytes"));
            }
            if size == 0 {
                return Ok(chunks);
            }
            chunks.push((Instant::now(), size));
        }
    }

    fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&self.ahead[..end]).into_owned();
                self.ahead.drain(..end + 2);
                return Ok(line);
            }
            if self.fill()? == 0 {
                return Err("closed inside a line".to_string());
            }
        }
    }

    /// Reads until at least `count` bytes of an endless body are here, or the peer closes.
    pub fn read_at_least(&mut self, count: usize) -> &[u8] {
        while self.ahead.len() < count && self.fill().is_ok_and(|got| got > 0) {}
        &self.ahead
    }

    /// Takes what is there, at most so many bytes, without a wait; how many there were. The end of the stream is none.
    pub fn take(&mut self, count_max: usize) -> usize {
        let mut bytes = vec![0; count_max];
        let count = read_at_once(&mut self.stream, &mut bytes);
        self.ahead.extend_from_slice(&bytes[..count]);
        count
    }

    /// Reads an endless body to the end of the stream, which has to be a clean one; gives all of it.
    pub fn finish(mut self) -> Result<Vec<u8>, String> {
        while self.fill()? > 0 {}
        Ok(self.ahead)
    }

    /// Whether the peer closes (or resets) within the time; reads and drops what it sends before.
    pub fn closes_within(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.set_patience(left);
            let mut bytes = [0; 16 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted) => {
                    return true;
                }
                Err(_) => return false,
            }
        }
    }

    fn fill(&mut self) -> Result<usize, String> {
        let mut bytes = [0; 64 * 1024];
        let count = self.stream.read(&mut bytes).map_err(|error| error.to_string())?;
        self.ahead.extend_from_slice(&bytes[..count]);
        Ok(count)
    }
}

/// A socket with the smallest receive buffer.
pub fn narrow(to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a TCP socket");
    socket
        .set_recv_buffer_size(NARROW_BYTES)
        .expect("before the connection");
    socket
        .connect_timeout(&to.into(), PATIENCE)
        .unwrap_or_else(|error| panic!("{to}: {error}"));
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream
}

/// Reads what is there without a wait.
pub fn read_at_once(stream: &mut TcpStream, bytes: &mut [u8]) -> usize {
    stream.set_nonblocking(true).expect("a TCP socket");
    let count = match stream.read(bytes) {
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => panic!("receive: {error}"),
    };
    stream.set_nonblocking(false).expect("a TCP socket");
    count
}

/// One request on a connection of its own.
pub fn ask(to: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut wire = Wire::connect(to);
    wire.request(method, target, headers);
    wire.answer(method)
}

/// Whether a request is answered 200 and at least one byte of media follows.
pub fn first_media_byte(to: SocketAddr, target: &str, within: Duration) -> bool {
    let mut wire = Wire::connect(to);
    wire.set_patience(within);
    wire.request("GET", target, &[]);
    wire.try_answer("GET").is_ok_and(|answer| answer.status == 200) && !wire.read_at_least(1).is_empty()
}

/// A viewer that writes every byte of an endless answer to a file, in a thread of its own.
#[derive(Debug)]
pub struct Recorder {
    pub path: PathBuf,
    started: Receiver<Result<Answer, String>>,
    /// Bytes of media.
    pub progress: Arc<Progress>,
    thread: JoinHandle<Result<u64, String>>,
}

/// How far a viewer in a thread of its own is.
#[derive(Debug, Default)]
pub struct Progress {
    reached: Mutex<u64>,
    changed: Condvar,
}

impl Progress {
    /// Nothing more comes.
    pub const ENDED: u64 = u64::MAX;

    pub fn set(&self, reached: u64) {
        *self.reached.lock().expect("no holder panics") = reached;
        self.changed.notify_all();
    }

    pub fn reached(&self) -> u64 {
        *self.reached.lock().expect("no holder panics")
    }

    pub fn wait_beyond(&self, before: u64) {
        let reached = self.reached.lock().expect("no holder panics");
        let waited = self
            .changed
            .wait_timeout_while(reached, PATIENCE, |reached| {
                *reached <= before && *reached != Progress::ENDED
            })
            .expect("no holder panics");
        assert!(
            !waited.1.timed_out(),
            "a viewer has got nothing beyond {before} for {PATIENCE:?}"
        );
    }
}

impl Recorder {
    pub fn start(to: SocketAddr, target: &str, path: &Path) -> Recorder {
        let (tell, started) = channel();
        let mut wire = Wire::connect(to);
        let mut file = File::create(path).expect("scratch is ours");
        let progress = Arc::new(Progress::default());
        let reached = Arc::clone(&progress);
        wire.request("GET", target, &[("Connection", "close")]);
        let thread = std::thread::spawn(move || {
            let answer = wire.try_answer("GET");
            let begun = answer.as_ref().is_ok_and(|answer| answer.status == 200);
            // Nobody listens when the test has failed already.
            let _ = tell.send(answer);
            if !begun {
                return Err("not answered 200".to_string());
            }
            let mut taken = 0;
            loop {
                taken += wire.ahead.len() as u64;
                file.write_all(&wire.ahead).map_err(|error| error.to_string())?;
                wire.ahead.clear();
                reached.set(taken);
                let count = wire.fill();
                if !count.as_ref().is_ok_and(|count| *count > 0) {
                    reached.set(Progress::ENDED);
                    return count.map(|_| taken);
                }
            }
        });
        Recorder {
            progress,
            path: path.to_path_buf(),
            started,
            thread,
        }
    }

    /// The head of the answer.
    pub fn answer(&self) -> Answer {
        let answer = self
            .started
            .recv_timeout(PATIENCE)
            .expect("the server answers a viewer in time");
        answer.unwrap_or_else(|why| panic!("{}: {why}", self.path.display()))
    }

    /// Waits for the clean end of the stream; gives the bytes received.
    pub fn finish(self) -> u64 {
        let path = self.path.clone();
        self.thread
            .join()
            .expect("the recorder does not panic")
            .unwrap_or_else(|why| panic!("{}: the stream did not end cleanly: {why}", path.display()))
    }
}
