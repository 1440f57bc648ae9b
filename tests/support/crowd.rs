//! Many HTTP viewers of one URL in one thread: what each got is a count and a hash, since all of them get the same bytes.
//!
//! The thread waits for bytes of one of them, and then takes what is there for all.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::wire::{PATIENCE, Progress};

/// How long one viewer is waited for before the others are looked at: it may be on a slower shard than they.
const LOOK: Duration = Duration::from_millis(20);
/// No test's stream is longer.
const PLAY: Duration = Duration::from_secs(60);

/// What one of them got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Got {
    pub status: u16,
    /// Of the body.
    pub bytes: u64,
    pub hash: u64,
}

struct Viewer {
    stream: TcpStream,
    head: Vec<u8>,
    got: Got,
    open: bool,
}

impl Viewer {
    fn join(to: SocketAddr, target: &str) -> Viewer {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap_or_else(|error| panic!("{to}: {error}"));
        let request = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("a fresh socket");
        stream.set_nonblocking(true).expect("a TCP socket");
        Viewer {
            stream,
            head: Vec::new(),
            got: Got {
                status: 0,
                bytes: 0,
                hash: HASH_START,
            },
            open: true,
        }
    }

    /// Takes what is there.
    fn take(&mut self, buffer: &mut [u8]) {
        while self.open {
            match self.stream.read(buffer) {
                Ok(0) => self.open = false,
                Ok(count) => self.took(&buffer[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
                Err(error) => panic!("a viewer of many: {error}"),
            }
        }
    }

    fn took(&mut self, bytes: &[u8]) {
        if self.got.status != 0 {
            return self.got.add(bytes);
        }
        self.head.extend_from_slice(bytes);
        let Some(end) = self.head.windows(4).position(|four| four == b"\r\n\r\n") else {
            return;
        };
        let status = std::str::from_utf8(&self.head[..end])
            .ok()
            .and_then(|head| head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        self.got.status = status.unwrap_or_else(|| panic!("no answer: {:?}", self.head));
        let body = self.head.split_off(end + 4);
        self.got.add(&body);
    }

    /// Waits a moment for bytes.
    fn wait(&mut self, buffer: &mut [u8]) {
        self.stream.set_nonblocking(false).expect("a TCP socket");
        self.stream.set_read_timeout(Some(LOOK)).expect("not zero");
        match self.stream.read(buffer) {
            Ok(0) => self.open = false,
            Ok(count) => self.took(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("a viewer of many: {error}"),
        }
        self.stream.set_nonblocking(true).expect("a TCP socket");
    }
}

/// FNV-1a.
const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;

impl Got {
    pub fn of(bytes: &[u8]) -> Got {
        let mut got = Got {
            status: 200,
            bytes: 0,
            hash: HASH_START,
        };
        got.add(bytes);
        got
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

pub struct Crowd {
    /// The least that any of them has got of its body, in bytes.
    pub progress: Arc<Progress>,
    thread: JoinHandle<Vec<Got>>,
}

impl Crowd {
    /// All of them have asked, and are read from now on.
    pub fn join(to: SocketAddr, target: &str, count: usize) -> Crowd {
        let mut viewers: Vec<Viewer> = (0..count).map(|_| Viewer::join(to, target)).collect();
        let progress = Arc::new(Progress::default());
        let reached = Arc::clone(&progress);
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 256 * 1024];
            let deadline = Instant::now() + PLAY;
            while let Some(at) = viewers.iter().position(|viewer| viewer.open) {
                assert!(Instant::now() < deadline, "the stream does not end within {PLAY:?}");
                viewers[at].wait(&mut buffer);
                viewers.iter_mut().for_each(|viewer| viewer.take(&mut buffer));
                reached.set(viewers.iter().map(|viewer| viewer.got.bytes).min().unwrap_or_default());
            }
            reached.set(Progress::ENDED);
            viewers.into_iter().map(|viewer| viewer.got).collect()
        });
        Crowd { progress, thread }
    }

    /// Waits for the clean end of each.
    pub fn finish(self) -> Vec<Got> {
        self.thread.join().expect("the crowd does not panic")
    }
}
