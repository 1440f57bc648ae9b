//! The server side of one peer, publisher or player: handshake, `connect`, streams, one publish or play at a time.
//!
//! It is not the stream: who may publish or play what is decided by the appliance ([`Session::accept_publish`] and its
//! like), and a player's media are feed bytes that the driver sends by itself, from a boundary of the feed on which
//! also [`Output::Transmit`] may stand. Owned by the shard that owns the socket; [`Session::export`] moves it.
//!
//! Invariants:
//! - One message at a time: no byte is taken while an output is undrained or a decision is awaited, so that nothing is
//!   queued without bound and outputs do not depend on how the input was cut.
//! - `NetStream.Publish.Start` is said by [`Session::accept_publish`] alone: OBS reconnects for ever if it is refused
//!   after that.
//! - At most one publish or play is asked for or runs on a connection.
//! - Parked in a play, a session takes at most [`super::limits::PARKED_BYTES_MAX`] bytes.

mod carry;
mod commands;
mod dialogue;
mod greeting;
#[cfg(test)]
pub(super) mod tests;

use self::dialogue::Dialogue;
use self::greeting::Greeting;
use super::error::Error;
use super::limits::HANDSHAKE_MILLIS_MAX;
use crate::tag::MessageKind;

/// See the module.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    outbox: Outbox,
    /// The first bytes of the outbox are lent and go at the next poll.
    lent: bool,
    heard_ms: u64,
}

#[derive(Debug)]
enum Phase {
    Greeting(Box<Greeting>),
    Dialogue(Box<Dialogue>),
    Closed,
}

/// What a message made, until it is polled.
#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    events: Vec<Event>,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Output<'a, E = Event> {
    /// To the peer; to a player only at a record boundary of its feed.
    Transmit(&'a [u8]),
    /// From the publisher. `timestamp` in ms wraps at 32 bit; `body` begins with the codec byte, or is script data.
    Media {
        kind: MessageKind,
        timestamp: u32,
        message_stream: u32,
        body: &'a [u8],
    },
    Event(E),
}

/// A fact about the peer. Names are as the peer wrote them, cut at the first `?` into name and query; an application
/// has no slash at either end.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Connected {
        app: String,
        tc_url: String,
        flash_ver: String,
    },
    /// Answer with `accept_publish` or `reject_publish`; the session takes no input before. `query` joins what stood
    /// behind the application and behind the name. An empty name means that the URL had one level: it is the
    /// application's.
    PublishRequested {
        stream_id: u32,
        app: String,
        name: String,
        query: String,
        kind: PublishKind,
    },
    PublishEnded {
        stream_id: u32,
        reason: EndReason,
    },
    /// Answer with `accept_play` or `reject_play`.
    PlayRequested {
        stream_id: u32,
        app: String,
        name: String,
        query: String,
    },
    PlayEnded {
        stream_id: u32,
        reason: EndReason,
    },
    /// Send no media until `Resumed`, then from the newest join point.
    Paused {
        stream_id: u32,
    },
    Resumed {
        stream_id: u32,
    },
    SeekRefused {
        stream_id: u32,
    },
    /// Flush, then close the connection. Nothing comes after it.
    Closed,
}

/// What a publisher wants done with its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishKind {
    Live,
    Record,
    Append,
}

/// Why a publish or play ended that the peer began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// `deleteStream`.
    Deleted,
    /// `closeStream`; players of Flash descent pause so.
    Closed,
    /// `FCUnpublish`.
    Unpublished,
    /// The peer asked for another on the same connection.
    Replaced,
}

/// Why a publish is refused, as the peer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishRejection {
    /// No such stream, or it has a publisher.
    BadName,
    /// The stream takes no publisher from there.
    Rejected,
    /// Wrong password or token.
    Unauthorized,
    /// Our own fault.
    Failed,
}

/// Why a play is refused, as the peer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlayRejection {
    StreamNotFound,
    Unauthorized,
    Failed,
}

/// Why we end a publish or play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The stream is over.
    StreamEnded,
    /// Another publisher took the stream over.
    Replaced,
    /// This server stops, or an operator said so.
    ServerClosing,
    /// The player did not keep up.
    TooSlow,
}

/// What was tolerated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that mean nothing to us, or nothing where they came.
    pub messages_ignored: u32,
    /// Messages that another one, or an abort, cut off.
    pub messages_cut: u32,
}

impl Session {
    /// `seed` makes the random bytes of the handshake. `now_ms` begins the handshake's deadline; all times of a
    /// session are of one monotonic clock.
    pub fn new(now_ms: u64, seed: u64) -> Session {
        Session {
            phase: Phase::Greeting(Box::new(Greeting::new(
                seed,
                now_ms.saturating_add(HANDSHAKE_MILLIS_MAX),
            ))),
            outbox: Outbox::default(),
            lent: false,
            heard_ms: now_ms,
        }
    }

    /// Bytes taken. Fewer than given when a message has made outputs, or a decision is awaited: drain, then come back
    /// with the rest (also with an empty rest, until nothing is taken and nothing comes out). After an error the
    /// session is closed and the connection is to be dropped.
    pub fn handle_input(&mut self, now_ms: u64, input: &[u8]) -> Result<usize, Error> {
        if !input.is_empty() {
            self.heard_ms = now_ms;
        }
        if !self.is_drained() || self.awaits_decision() {
            return Ok(0);
        }
        let taken = match &mut self.phase {
            Phase::Closed => Ok(input.len()),
            Phase::Dialogue(dialogue) => dialogue.handle_input(now_ms, input, &mut self.outbox),
            Phase::Greeting(greeting) => match greeting.handle_input(input, &mut self.outbox) {
                Ok((taken, None)) => Ok(taken),
                Ok((taken, Some(bytes))) => {
                    self.phase = Phase::Dialogue(Box::new(Dialogue::new(now_ms, bytes)));
                    Ok(taken)
                }
                Err(error) => Err(error),
            },
        };
        if taken.is_err() {
            self.close_now();
        }
        taken
    }

    /// Tells a peer that has announced a window how much was received, when that is more than a quarter of the window since
    /// it was last told. To be called when all that has arrived was read, and drained: a peer that waits for it sends
    /// nothing more. Encoders that announce none (ffmpeg, OBS) do not read it either: a socket that is closed over what
    /// was not read drops what it still had to send, so they are told nothing.
    pub fn acknowledge(&mut self) {
        if let Phase::Dialogue(dialogue) = &mut self.phase {
            dialogue.acknowledge(&mut self.outbox);
        }
    }

    /// To be called at [`Session::poll_timeout`], harmless earlier. An error as in [`Session::handle_input`].
    pub fn handle_timeout(&mut self, now_ms: u64) -> Result<(), Error> {
        let result = match &mut self.phase {
            Phase::Greeting(greeting) if now_ms >= greeting.deadline_ms() => Err(Error::HandshakeTimeout {
                millis: HANDSHAKE_MILLIS_MAX,
            }),
            Phase::Dialogue(dialogue) => dialogue.handle_timeout(now_ms, self.heard_ms, &mut self.outbox),
            _ => Ok(()),
        };
        if result.is_err() {
            self.close_now();
        }
        result
    }

    /// When to call [`Session::handle_timeout`]; moves with every input.
    pub fn poll_timeout(&self) -> Option<u64> {
        match &self.phase {
            Phase::Greeting(greeting) => Some(greeting.deadline_ms()),
            Phase::Dialogue(dialogue) => dialogue.deadline_ms(self.heard_ms),
            Phase::Closed => None,
        }
    }

    /// To be drained to `None` after every other call that changes the session.
    pub fn poll_output(&mut self) -> Option<Output<'_>> {
        if std::mem::take(&mut self.lent) {
            self.outbox.bytes.clear();
        }
        if !self.outbox.bytes.is_empty() {
            self.lent = true;
            return Some(Output::Transmit(&self.outbox.bytes));
        }
        if let Phase::Dialogue(dialogue) = &mut self.phase
            && let Some(media) = dialogue.next_media()
        {
            return match &self.phase {
                Phase::Dialogue(dialogue) => Some(dialogue.lend(&media)),
                _ => unreachable!("the phase was Dialogue above"),
            };
        }
        if !self.outbox.events.is_empty() {
            return Some(Output::Event(self.outbox.events.remove(0)));
        }
        self.park();
        None
    }

    /// The publish that was asked for may begin: everything about it has been checked.
    ///
    /// # Panics
    /// If no publish is asked for; like the other decisions.
    pub fn accept_publish(&mut self) {
        let (dialogue, outbox) = self.parts();
        dialogue.accept_publish(outbox);
    }

    /// Says why, then closes.
    pub fn reject_publish(&mut self, rejection: PublishRejection, description: &str) {
        let (dialogue, outbox) = self.parts();
        dialogue.reject_publish(rejection, description, outbox);
        self.close();
    }

    /// The play that was asked for may begin: send the drained bytes, then the feed.
    pub fn accept_play(&mut self) {
        let (dialogue, outbox) = self.parts();
        dialogue.accept_play(outbox);
    }

    /// Says why, then closes.
    pub fn reject_play(&mut self, rejection: PlayRejection, description: &str) {
        let (dialogue, outbox) = self.parts();
        dialogue.reject_play(rejection, description, outbox);
        self.close();
    }

    /// The feed is at its end, at a record boundary: says so to the player, then closes. Nothing if no play runs.
    pub fn play_stopped(&mut self, reason: StopReason) {
        if let Phase::Dialogue(dialogue) = &mut self.phase
            && dialogue.play_stopped(reason, &mut self.outbox)
        {
            self.close();
        }
    }

    /// The publisher is sent away. Nothing if no publish runs.
    pub fn publish_stopped(&mut self, reason: StopReason) {
        if let Phase::Dialogue(dialogue) = &mut self.phase
            && dialogue.publish_stopped(reason, &mut self.outbox)
        {
            self.close();
        }
    }

    /// Whether a publish or play waits for its decision.
    pub fn awaits_decision(&self) -> bool {
        match &self.phase {
            Phase::Dialogue(dialogue) => dialogue.awaits_decision(),
            _ => false,
        }
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    pub fn counters(&self) -> Counters {
        match &self.phase {
            Phase::Dialogue(dialogue) => dialogue.counters(),
            _ => Counters::default(),
        }
    }

    /// This value and everything it owns, by capacity.
    pub fn bytes(&self) -> usize {
        let phase = match &self.phase {
            Phase::Greeting(greeting) => size_of::<Greeting>() + greeting.heap_bytes(),
            Phase::Dialogue(dialogue) => size_of::<Dialogue>() + dialogue.heap_bytes(),
            Phase::Closed => 0,
        };
        let outbox = self.outbox.bytes.capacity() + self.outbox.events.capacity() * size_of::<Event>();
        size_of::<Session>() + phase + outbox
    }

    fn is_drained(&self) -> bool {
        let media = match &self.phase {
            Phase::Dialogue(dialogue) => dialogue.has_media(),
            _ => false,
        };
        self.outbox.is_empty() && !self.lent && !media
    }

    /// Gives memory back where the next message may be hours away.
    fn park(&mut self) {
        if self.outbox.events.capacity() > 0 {
            self.outbox.events = Vec::new();
        }
        let publishes = match &mut self.phase {
            Phase::Dialogue(dialogue) => dialogue.park(),
            _ => false,
        };
        if !publishes {
            self.outbox.bytes = Vec::new();
        }
    }

    fn parts(&mut self) -> (&mut Dialogue, &mut Outbox) {
        match &mut self.phase {
            Phase::Dialogue(dialogue) => (dialogue, &mut self.outbox),
            _ => panic!("a decision without a request"),
        }
    }

    fn close(&mut self) {
        self.outbox.events.push(Event::Closed);
        self.phase = Phase::Closed;
    }

    fn close_now(&mut self) {
        self.outbox = Outbox::default();
        self.lent = false;
        self.phase = Phase::Closed;
    }
}

impl Outbox {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.events.is_empty()
    }
}
