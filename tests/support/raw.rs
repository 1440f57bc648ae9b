//! RTMP peers that are bytes: what is sent is the test's own affair, what the server says is read.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use penstock_proto::rtmp::wire::chunk::Reader;
use penstock_proto::rtmp::wire::command::Command;
use penstock_proto::rtmp::wire::message;
use penstock_proto::tag::amf0::Value;

use super::flv::Tag;
use super::wire::PATIENCE;

/// A connection behind its handshake.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    reader: Reader,
    /// The commands that the server sent, each by its name, or by its status code where it has one.
    heard: Vec<String>,
    closed: bool,
    clock: Option<(Instant, u32)>,
}

impl Raw {
    /// Connects and shakes hands with these C0 and C1. Streamlabs wants C1 back as S2; C2 is never looked at (ffmpeg
    /// sends what it likes), so it is nonsense here.
    pub fn connect(to: SocketAddr, hello: &[u8]) -> Raw {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap_or_else(|error| panic!("{to}: {error}"));
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.write_all(hello).expect("a fresh connection takes C0 and C1");
        let mut answer = vec![0; 1 + 1536 + 1536];
        stream.read_exact(&mut answer).expect("the server shakes hands");
        assert_eq!(answer[0], 3, "S0 is the version");
        assert_eq!(&answer[1 + 1536..], &hello[1..], "S2 is not C1");
        stream.write_all(&[0xC2; 1536]).expect("the connection is open");
        Raw {
            stream,
            reader: Reader::new(0),
            heard: Vec::new(),
            closed: false,
            clock: None,
        }
    }

    /// Sends; a server that has closed already is no fault here, what it said is still read.
    pub fn say(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            Err(error) if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                panic!("send: {error}")
            }
            _ => {}
        }
    }

    /// Waits until the server has said this command or status.
    pub fn hear(&mut self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.heard.iter().any(|heard| heard == wanted) {
            assert!(
                !self.closed && Instant::now() < deadline,
                "{wanted} did not come, only {:?}; closed: {}",
                self.heard,
                self.closed
            );
            self.listen(deadline);
        }
    }

    /// Sends tags at a multiple of their own pace, each as `write` puts it.
    pub fn send(&mut self, tags: &[Tag], pace: u32, mut write: impl FnMut(&Tag, &mut Vec<u8>)) {
        let mut out = Vec::new();
        for tag in tags {
            let (since, first) = *self.clock.get_or_insert((Instant::now(), tag.time));
            let due = since + Duration::from_millis(u64::from(tag.time.saturating_sub(first))) / pace;
            while Instant::now() < due && !self.closed {
                self.listen(due);
            }
            out.clear();
            write(tag, &mut out);
            self.say(&out);
        }
    }

    /// Begins to count the pace anew, after a wait for something else.
    pub fn restart_clock(&mut self) {
        self.clock = None;
    }

    /// Closes the sending side and waits until the server closes as well; gives what it said in all.
    pub fn close(mut self) -> Vec<String> {
        // A socket that is gone already was closed by the server.
        let _ = self.stream.shutdown(Shutdown::Write);
        self.until_closed()
    }

    /// Waits until the server closes; gives what it said in all.
    pub fn closed(mut self) -> Vec<String> {
        self.until_closed()
    }

    fn until_closed(&mut self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        while !self.closed && Instant::now() < deadline {
            self.listen(deadline);
        }
        assert!(self.closed, "the server keeps the connection");
        std::mem::take(&mut self.heard)
    }

    fn listen(&mut self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || self.closed {
            return;
        }
        self.stream.set_read_timeout(Some(left)).expect("not zero");
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.closed = true,
            Ok(count) => self.take(&bytes[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted) => {
                self.closed = true;
            }
            Err(error) => panic!("receive: {error}"),
        }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        loop {
            let (taken, got) = self.reader.read(bytes).expect("the server writes chunks");
            bytes = &bytes[taken..];
            let Some(got) = got else { return };
            let body = self.reader.body();
            match got.kind {
                message::SET_CHUNK_SIZE => {
                    let size = u32::from_be_bytes(body.try_into().expect("a chunk size has four bytes"));
                    self.reader.set_chunk_bytes(size).expect("not zero");
                }
                message::COMMAND => {
                    let command = Command::parse(body, 0).expect("the server's commands are AMF0");
                    let code = command.argument(1).member("code").and_then(Value::as_str);
                    let said = match (command.name.as_str(), code) {
                        ("onStatus" | "_error", Some(code)) => code.to_string(),
                        ("_result", _) => format!("_result {}", command.transaction),
                        (name, _) => name.to_string(),
                    };
                    self.heard.push(said);
                }
                _ => {}
            }
        }
    }
}
