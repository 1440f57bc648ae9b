//! Small scripted servers: HTTP and RTSP with real answers on kept connections, plain or in TLS, a thread a connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A peer that says nothing for longer is gone.
const SILENCE: Duration = Duration::from_secs(20);

/// One accepted connection.
pub enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Wire {
    pub fn set_read_timeout(&self, time: Duration) {
        let socket = match self {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => &stream.sock,
        };
        socket.set_read_timeout(Some(time)).expect("it can be done");
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(into),
            Wire::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}

/// A certificate that nobody knows.
pub fn tls() -> Option<Arc<ServerConfig>> {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("it can be done");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.expect("it can be done").with_no_client_auth();
    Some(Arc::new(
        config
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("it can be done"),
    ))
}

/// Listens on a free port; each connection is `serve`d by a thread of its own, until the test ends.
pub fn listen(tls: Option<Arc<ServerConfig>>, serve: impl Fn(Wire) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("it can be done");
    let address = listener.local_addr().expect("it can be done");
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nodelay(true).expect("it can be done");
            let (serve, tls) = (Arc::clone(&serve), tls.clone());
            std::thread::spawn(move || {
                let wire = match tls {
                    None => Wire::Plain(stream),
                    Some(config) => {
                        let connection = ServerConnection::new(config).expect("it can be done");
                        Wire::Tls(Box::new(StreamOwned::new(connection, stream)))
                    }
                };
                wire.set_read_timeout(SILENCE);
                serve(wire);
            });
        }
    });
    address
}

/// How a body goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length,
    Chunked,
    /// By the end of the connection.
    Close,
}

pub struct Reply {
    pub status: &'static str,
    pub headers: String,
    pub body: Vec<u8>,
    pub framing: Framing,
}

impl Reply {
    pub fn ok(body: impl Into<Vec<u8>>, framing: Framing) -> Reply {
        Reply {
            status: "200 OK",
            headers: String::new(),
            body: body.into(),
            framing,
        }
    }

    pub fn none(status: &'static str) -> Reply {
        Reply {
            status,
            ..Reply::ok("", Framing::Length)
        }
    }
}

/// A request's first line and headers, when one comes.
pub fn request(wire: &mut Wire, held: &mut Vec<u8>) -> Option<String> {
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = held.split_off(end + 4);
            let head = std::mem::replace(held, rest);
            return Some(String::from_utf8(head).expect("it can be done"));
        }
        match wire.read(&mut piece) {
            Ok(bytes) if bytes > 0 => held.extend_from_slice(&piece[..bytes]),
            _ => return None,
        }
    }
}

/// Answers GETs, one after the other on a kept connection: `answer` is given the path with its query.
pub fn http(mut wire: Wire, answer: impl Fn(&str) -> Reply) {
    let mut held = Vec::new();
    while let Some(head) = request(&mut wire, &mut held) {
        let path = head.split(' ').nth(1).expect("it can be done");
        assert!(
            head.starts_with("GET /") && head.contains("\r\nHost: 127.0.0.1:"),
            "{head}"
        );
        let reply = answer(path);
        let mut out = format!("HTTP/1.1 {}\r\n{}", reply.status, reply.headers).into_bytes();
        match reply.framing {
            Framing::Length => {
                out.extend(format!("Content-Length: {}\r\n\r\n", reply.body.len()).bytes());
                out.extend(reply.body);
            }
            Framing::Chunked => {
                out.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in reply.body.chunks(7000) {
                    out.extend(format!("{:x}\r\n", chunk.len()).bytes());
                    out.extend(chunk);
                    out.extend(b"\r\n");
                }
                out.extend(b"0\r\n\r\n");
            }
            Framing::Close => {
                out.extend(b"Connection: close\r\n\r\n");
                out.extend(reply.body);
            }
        }
        if wire.write_all(&out).and_then(|()| wire.flush()).is_err() || reply.framing == Framing::Close {
            return;
        }
    }
}

/// Carries bytes between a connection and another server: a front that ends the TLS.
pub fn relay(mut wire: Wire, to: SocketAddr) {
    let mut stream = TcpStream::connect(to).expect("it can be done");
    let short = Duration::from_millis(2);
    wire.set_read_timeout(short);
    stream.set_read_timeout(Some(short)).expect("it can be done");
    let mut piece = vec![0; 64 * 1024];
    let is_late = |error: &io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    loop {
        let done = match wire.read(&mut piece) {
            Ok(0) => true,
            Ok(bytes) => stream.write_all(&piece[..bytes]).is_err(),
            Err(error) => !is_late(&error),
        };
        let over = match stream.read(&mut piece) {
            Ok(0) => true,
            Ok(bytes) => wire.write_all(&piece[..bytes]).is_err(),
            Err(error) => !is_late(&error),
        };
        if done || over {
            return;
        }
    }
}
