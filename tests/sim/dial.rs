//! A client's connection with what it still has to send, and with its RTMP session if it speaks RTMP.
//!
//! The session is penstock's own client: it proves nothing of handshake or chunks, for that the real clients are there.

use penstock_proto::rtmp::client::{Client, Event, Options};
use penstock_proto::rtmp::session::Output;
use penstock_proto::tag::MessageKind;

use super::net::{End, LinkId, Net, Read};

/// Media as they came: kind, time in ms, body.
pub type Media = (MessageKind, u32, Vec<u8>);

#[derive(Debug)]
pub struct Dial {
    pub link: LinkId,
    outbox: Vec<u8>,
    sent: usize,
}

impl Dial {
    pub fn new(link: LinkId) -> Dial {
        Dial {
            link,
            outbox: Vec::new(),
            sent: 0,
        }
    }

    pub fn say(&mut self, bytes: &[u8]) {
        self.outbox.extend_from_slice(bytes);
    }

    pub fn unsent(&self) -> usize {
        self.outbox.len() - self.sent
    }

    /// Sends what the connection takes.
    pub fn flush(&mut self, net: &mut Net) {
        self.sent += net.client_send(self.link, &self.outbox[self.sent..]);
        if self.sent == self.outbox.len() {
            self.outbox.clear();
            self.sent = 0;
        }
    }

    /// Only the first `bytes` of what is unsent will be.
    pub fn cut(&mut self, bytes: usize) {
        self.outbox.truncate(self.sent + bytes);
    }
}

/// An RTMP session over a dial.
#[derive(Debug)]
pub struct Talk {
    pub dial: Dial,
    pub client: Client,
    pub events: Vec<Event>,
    pub media: Vec<Media>,
    /// Numbers of media at which a paused play went on: it begins anew at a keyframe.
    pub resumed: Vec<usize>,
}

impl Talk {
    pub fn publish(link: LinkId, name: &str, seed: u64) -> Talk {
        let options = Options {
            seed: seed | 1,
            ..Options::default()
        };
        Talk::new(link, Client::publish(options, "live", "rtmp://127.0.0.1/live", name))
    }

    pub fn play(link: LinkId, name: &str, seed: u64) -> Talk {
        let options = Options {
            seed: seed | 1,
            ..Options::default()
        };
        Talk::new(link, Client::play(options, "play", "rtmp://127.0.0.1/play", name))
    }

    fn new(link: LinkId, client: Client) -> Talk {
        let mut talk = Talk {
            dial: Dial::new(link),
            client,
            events: Vec::new(),
            media: Vec::new(),
            resumed: Vec::new(),
        };
        talk.drain();
        talk
    }

    /// Reads at most `bytes_max` and answers; the end, when it has come.
    pub fn listen(&mut self, net: &mut Net, bytes_max: usize) -> Result<Option<End>, String> {
        let mut bytes = Vec::new();
        let read = net.client_read(self.dial.link, bytes_max, &mut bytes);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let taken = self
                .client
                .handle_input(0, rest)
                .map_err(|error| format!("the server speaks no RTMP: {error}"))?;
            rest = &rest[taken..];
            self.drain();
        }
        self.dial.flush(net);
        Ok(match read {
            Read::End(end) => Some(end),
            _ => None,
        })
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Transmit(bytes) => self.dial.say(bytes),
                Output::Media {
                    kind, timestamp, body, ..
                } => self.media.push((kind, timestamp, body.to_vec())),
                Output::Event(event) => {
                    if matches!(&event, Event::Status { code } if code == "NetStream.Unpause.Notify") {
                        self.resumed.push(self.media.len());
                    }
                    self.events.push(event);
                }
            }
        }
    }
}
