//! What a viewer watches, and how it asks: one HTTP request, or RTMP's dialogue up to the first media.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail};
use penstock_proto::rtmp::client::{Client, Event, Options};
use penstock_proto::rtmp::session::Output;

use crate::sys;

/// A connect, or one answer of the dialogue, that takes longer has failed.
pub const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// A response head that is longer is none.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Http {
        address: SocketAddr,
        host: String,
        path: String,
    },
    Rtmp {
        address: SocketAddr,
        app: String,
        name: String,
        tc_url: String,
    },
}

/// A viewer that has asked.
#[derive(Debug)]
pub struct Asked {
    pub stream: TcpStream,
    /// When the request was sent (RTMP: the `connect` command), ns of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// When the first byte of media came, when that has been waited for.
    pub first_at: Option<u64>,
}

impl Target {
    /// `http://HOST[:PORT]/PATH` or `rtmp://HOST[:PORT]/APP/NAME`.
    pub fn parse(url: &str) -> anyhow::Result<Target> {
        let (scheme, rest) = url.split_once("://").with_context(|| format!("{url} is no URL"))?;
        let (host, path) = rest.split_once('/').with_context(|| format!("{url} has no path"))?;
        let port = match scheme {
            "http" => 80,
            "rtmp" => 1935,
            _ => bail!("{url}: http:// and rtmp:// can be opened"),
        };
        // A colon in brackets belongs to an IPv6 address.
        let has_port = host.rfind(':').is_some_and(|colon| !host[colon..].contains(']'));
        let place = if has_port {
            host.to_owned()
        } else {
            format!("{host}:{port}")
        };
        let mut found = place
            .to_socket_addrs()
            .with_context(|| format!("{host} has no address"))?;
        let address = found.next().with_context(|| format!("{host} has no address"))?;
        if scheme == "http" {
            return Ok(Target::Http {
                address,
                host: host.to_owned(),
                path: format!("/{path}"),
            });
        }
        let (app, name) = path
            .rsplit_once('/')
            .with_context(|| format!("{url}: /APP/NAME is needed"))?;
        Ok(Target::Rtmp {
            address,
            app: app.to_owned(),
            name: name.to_owned(),
            tc_url: format!("rtmp://{host}/{app}"),
        })
    }

    /// Asks. An HTTP answer has not been read; an RTMP dialogue is at its first media. The socket does not block.
    pub fn ask(&self) -> anyhow::Result<Asked> {
        let asked = match self {
            Target::Http { address, host, path } => {
                let mut stream = connect(*address)?;
                let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: penstock-benches\r\n\r\n");
                let at = sys::monotonic_nanos();
                stream
                    .write_all(request.as_bytes())
                    .context("the request was not taken")?;
                Asked {
                    stream,
                    at,
                    first_at: None,
                }
            }
            Target::Rtmp {
                address,
                app,
                name,
                tc_url,
            } => {
                let client = Client::play(Options::default(), app, tc_url, name);
                let mut stream = connect(*address)?;
                let at = sys::monotonic_nanos();
                let (_, first_at) = converse(client, &mut stream)?;
                Asked {
                    stream,
                    at,
                    first_at: Some(first_at),
                }
            }
        };
        asked.stream.set_nonblocking(true)?;
        Ok(asked)
    }

    /// Asks and waits for the first byte of media.
    pub fn ask_and_wait(&self) -> anyhow::Result<Asked> {
        let mut asked = self.ask()?;
        if asked.first_at.is_some() {
            return Ok(asked);
        }
        asked.stream.set_nonblocking(false)?;
        let (mut head, mut piece) = (Vec::new(), [0; 4096]);
        let first_at = loop {
            let bytes = asked.stream.read(&mut piece).context("no answer")?;
            let now = sys::monotonic_nanos();
            if bytes == 0 {
                bail!("closed before the first byte of media");
            }
            head.extend_from_slice(&piece[..bytes]);
            match body_of(&head)? {
                Some(body) if body < head.len() => break now,
                _ => {}
            }
        };
        asked.stream.set_nonblocking(true)?;
        asked.first_at = Some(first_at);
        Ok(asked)
    }
}

/// Where the body begins behind a response head; nothing while the head is not whole.
pub fn body_of(answer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        if answer.len() > HEAD_BYTES_MAX {
            bail!("a response head of more than {HEAD_BYTES_MAX} bytes");
        }
        return Ok(None);
    };
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    if !matches!(line.split(' ').nth(1), Some("200" | "206")) {
        bail!("answered {line}");
    }
    Ok(Some(end + 4))
}

pub fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&address, ANSWER_WAIT).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    stream.set_write_timeout(Some(ANSWER_WAIT))?;
    Ok(stream)
}

/// Speaks for `client` until a publisher may send or a player's first media come; the time of that.
pub fn converse(mut client: Client, stream: &mut TcpStream) -> anyhow::Result<(Client, u64)> {
    let (mut input, mut piece) = (Vec::new(), [0; 16 * 1024]);
    loop {
        while let Some(output) = client.poll_output() {
            match output {
                Output::Transmit(bytes) => stream.write_all(bytes).context("the dialogue was not taken")?,
                Output::Media { .. } | Output::Event(Event::Publishing { .. }) => {
                    return Ok((client, sys::monotonic_nanos()));
                }
                Output::Event(Event::Refused { code, description }) => bail!("refused: {code}: {description}"),
                Output::Event(_) => {}
            }
        }
        let taken = client.handle_input(0, &input)?;
        input.drain(..taken);
        if taken > 0 {
            continue;
        }
        match stream.read(&mut piece) {
            Ok(0) => bail!("closed in the dialogue"),
            Ok(bytes) => input.extend_from_slice(&piece[..bytes]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("no answer in the dialogue"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_what_is_asked_for() {
        let http = Target::parse("http://127.0.0.1:8080/live.flv?x=1").unwrap();
        let expected = Target::Http {
            address: "127.0.0.1:8080".parse().unwrap(),
            host: "127.0.0.1:8080".into(),
            path: "/live.flv?x=1".into(),
        };
        assert_eq!(http, expected);
        let rtmp = Target::parse("rtmp://[::1]/some/app/live").unwrap();
        let expected = Target::Rtmp {
            address: "[::1]:1935".parse().unwrap(),
            app: "some/app".into(),
            name: "live".into(),
            tc_url: "rtmp://[::1]/some/app".into(),
        };
        assert_eq!(rtmp, expected);
        for bad in [
            "live.flv",
            "http://127.0.0.1",
            "https://127.0.0.1/x",
            "rtmp://127.0.0.1/live",
        ] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_body_begins_behind_a_good_head() {
        let answer = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nFLV";
        for cut in 0..=answer.len() {
            let expected = (cut >= 25).then_some(25);
            assert_eq!(body_of(&answer[..cut]).unwrap(), expected, "{cut}");
        }
        assert!(body_of(b"HTTP/1.1 503 Busy\r\n\r\n").is_err());
        assert!(body_of(b"\r\n\r\n").is_err());
        assert!(body_of(&vec![b'x'; HEAD_BYTES_MAX + 1]).is_err());
    }
}
