//! Any server: no panic, bounded memory and output, and the pull ends.

use super::{Address, Event, Output, Preference, Session};
use crate::rtsp::limits::{BODY_BYTES_MAX, HEAD_BYTES_MAX};
use crate::rtsp::wire::transport::Ports;

/// Any bytes as what happens to one pull: a byte that says by what packets are to come; then acts, each a byte that says which,
/// two of length, and what the server sends or how much time passes.
pub fn dialogue(input: &[u8]) {
    let Some((first, mut rest)) = input.split_first() else {
        return;
    };
    let preference = match first % 3 {
        0 => Preference::Auto,
        1 => Preference::Udp,
        _ => Preference::Tcp,
    };
    let address = Address::parse("rtsp://admin:se%25cret@10.0.0.1/live?token=x").expect("it is one");
    let mut driver = Driver {
        session: Session::new(0, address, preference, 7),
        now: 0,
        pairs: 0,
        connections: 0,
    };
    driver.drain();
    while let Some((head, behind)) = rest.split_first_chunk::<HEAD_BYTES>() {
        let length = usize::from(u16::from_be_bytes([head[1], head[2]])).min(behind.len());
        let (bytes, behind) = behind.split_at(length);
        rest = behind;
        match head[0] % 8 {
            1 => driver.wait(
                bytes
                    .iter()
                    .fold(0, |all: u64, byte| all.wrapping_shl(8) | u64::from(*byte))
                    % 100_000,
            ),
            2 => driver.session.alive(driver.now),
            3 => {
                let _ = driver.session.disconnected(driver.now);
            }
            4 => driver.session.close(),
            _ => driver.feed(bytes),
        }
        driver.drain();
    }
    // Whatever it was, nothing comes any more.
    let mut turns = 0;
    while !driver.session.is_closed() {
        let at = driver.session.poll_timeout().expect("an open pull waits for something");
        driver.wait(at.saturating_sub(driver.now));
        driver.drain();
        turns += 1;
        assert!(turns < TURNS_MAX, "it does not end");
    }
    assert!(driver.session.poll_timeout().is_none());
}

#[derive(Debug)]
struct Driver {
    session: Session,
    now: u64,
    pairs: u16,
    connections: u32,
}

impl Driver {
    fn wait(&mut self, millis: u64) {
        self.now += millis;
        let _ = self.session.handle_timeout(self.now);
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while let Ok(taken) = self.session.handle_input(self.now, bytes) {
            bytes = &bytes[taken..];
            assert!(self.session.bytes() <= HELD_BYTES_MAX, "{} bytes", self.session.bytes());
            if self.drain() == 0 && taken == 0 || bytes.is_empty() {
                assert!(
                    bytes.is_empty() || self.session.is_closed(),
                    "it takes nothing and waits for nothing"
                );
                return;
            }
        }
        assert!(self.session.is_closed());
    }

    fn drain(&mut self) -> usize {
        let mut outputs = 0;
        loop {
            let event = match self.session.poll_output() {
                None => return outputs,
                Some(Output::Transmit(bytes)) => {
                    assert!(bytes.ends_with(b"\r\n\r\n"));
                    let text = std::str::from_utf8(bytes).expect("we send text");
                    assert!(!text.contains("se%cret") && !text.contains("se%25cret"));
                    None
                }
                Some(Output::Packet { .. }) => None,
                Some(Output::Event(event)) => Some(event),
            };
            outputs += 1;
            assert!(outputs < OUTPUTS_MAX, "one message makes no more");
            match event {
                Some(Event::Connect(_)) => {
                    self.connections += 1;
                    assert!(self.connections <= super::limits::CONNECTIONS_MAX + 1);
                    self.session.connected(self.now);
                }
                Some(Event::PortsRequested { .. }) if self.pairs % 8 == 7 => {
                    self.pairs += 1;
                    let _ = self.session.ports_refused();
                }
                Some(Event::PortsRequested { .. }) => {
                    self.pairs += 1;
                    self.session.ports(Ports { rtp: 5000, rtcp: 5001 });
                }
                Some(Event::SetUp { description, lanes }) => {
                    assert!(lanes.iter().all(|lane| description.media[lane.medium].format.is_some()));
                }
                Some(Event::Playing { .. } | Event::Closed) | None => {}
            }
        }
    }
}

const HEAD_BYTES: usize = 3;
/// Steps and keep-alives of a pull that nothing is said to.
const TURNS_MAX: usize = 100;
const OUTPUTS_MAX: usize = 16;
/// A message, twice as capacity grows, and a request that cites its nonces.
const HELD_BYTES_MAX: usize = 2 * (HEAD_BYTES_MAX + BODY_BYTES_MAX) + 4 * HEAD_BYTES_MAX;

#[cfg(test)]
mod runs {
    use crate::damage::{Cost, damaged};

    #[test]
    fn rtsp_pull() {
        let seeds = super::super::tests::dialogues();
        let tokens: &[&[u8]] = &[
            b"RTSP/1.0 200 OK\r\n",
            b"RTSP/1.0 401 x\r\n",
            b"RTSP/1.0 302 x\r\nLocation: rtsp://h/\r\n",
            b"REDIRECT * RTSP/1.0\r\n",
            b"WWW-Authenticate: Digest realm=\"x\", nonce=\"y\", stale=true\r\n",
            b"Transport: RTP/AVP;interleaved=0-1;server_port=1-2\r\n",
            b"Session: 1;timeout=1\r\n",
            b"Content-Length: ",
            b"CSeq: 2\r\n",
            b"\r\n\r\n",
            b"a=control:",
            b"m=audio 0 RTP/AVP 0\r\n",
            b"$\0\0\x01x",
        ];
        damaged("rtsp_pull", Cost::Heavy, &seeds, tokens, super::dialogue);
    }
}
