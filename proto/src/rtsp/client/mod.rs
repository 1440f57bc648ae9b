//! The client side: a pull of one stream from a camera or server, over as many connections as that takes.
//!
//! It is not the stream: its packets go to `rtp::Input` by the driver, which also opens what the session asks for (a
//! connection, pairs of UDP ports) and sends the input's receiver reports. It looks up no name and knows no socket. Owned
//! by the shard that owns the connection.
//!
//! The dialogue is OPTIONS, DESCRIBE, a SETUP for each medium, PLAY (RFC 2326 10), then keep-alives until [`Session::close`].
//! What cameras do beside the RFC is in reference/client-habits.md 4.3; each such habit is a script in `testdata`.
//!
//! Invariants:
//! - One request at a time awaits its answer, keep-alives excepted, whose answers nobody waits for.
//! - One message at a time: no byte is taken while an output is undrained or ports are awaited.
//! - A pull plays or ends: every step has its time, every repetition its bound.
//! - User and password are in no error and in no `Debug`.

mod address;
mod dialogue;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod limits;
mod login;
mod play;
#[cfg(test)]
mod tests;

pub use address::{Address, AddressError, Security};
pub use error::{Error, Step};

use std::fmt;
use std::net::IpAddr;

use self::address::Handover;
use self::dialogue::{Asked, Authority};
use self::limits::{SILENT_MILLIS_MAX, STEP_MILLIS_MAX, TIMEOUT_SECONDS, UDP_MILLIS_MAX};
use self::play::KeepAlive;
use super::limits::MESSAGE_MILLIS_MAX;
use super::session::Part;
use super::wire::message::{Read, Reader};
use super::wire::transport::Ports;
use crate::sdp::Description;

/// By what packets are to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    Tcp,
    Udp,
    /// By UDP; by TCP if the server refuses that, or nothing comes.
    #[default]
    Auto,
}

/// See the module.
pub struct Session {
    seed: u64,
    /// After redirects.
    address: Address,
    handover: Handover,
    preference: Preference,
    over: Over,
    stage: Stage,
    asked: Option<Asked>,
    authority: Option<Authority>,
    reader: Reader,
    out: Vec<u8>,
    /// The bytes of `out` are lent and go at the next poll.
    lent: bool,
    /// The reader's last frame is to be given out.
    frame: Option<(usize, Part)>,
    events: Vec<Event>,
    /// `CSeq` of the last request.
    sequence: u32,
    /// Connections, the first not counted.
    reconnections: u32,
    id: Option<String>,
    timeout_ms: u64,
    keep_alive: KeepAlive,
    now_ms: u64,
    /// When the step under way began.
    step_ms: u64,
    /// When the message under way began.
    message_ms: u64,
    /// When the last packet came; none before the first.
    heard_ms: Option<u64>,
    counters: Counters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Tcp,
    Udp,
}

#[derive(Debug)]
enum Stage {
    Connecting,
    Options,
    Describe,
    AwaitsPorts(Plan),
    SetUp {
        plan: Plan,
        /// As it was asked for.
        way: Way,
    },
    Play(Plan),
    Playing(Plan),
    Closed,
}

/// What is set up one after the other.
#[derive(Debug)]
struct Plan {
    /// Until all is set up.
    description: Option<Box<Description>>,
    /// All media together.
    url: String,
    /// Index in the description, and address.
    media: Vec<(usize, String)>,
    /// The next of `media`.
    next: usize,
    lanes: Vec<Lane>,
    /// Of the last medium that was refused.
    refused: Option<Error>,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Output<'a> {
    /// On the connection.
    Transmit(&'a [u8]),
    /// Interleaved, of a medium that is set up.
    Packet {
        /// Index in the description's media.
        medium: usize,
        part: Part,
        packet: &'a [u8],
    },
    Event(Event),
}

/// A fact, or what is needed to go on.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Send what was drained before, then drop the connection and all ports if there are any, and connect to this
    /// address. Answer with [`Session::connected`] or [`Session::disconnected`].
    Connect(Address),
    /// Answer with [`Session::ports`] or [`Session::ports_refused`].
    PortsRequested {
        /// Index in the description's media.
        medium: usize,
    },
    /// Packets may come from here on: of these media, in these ways. Where a way has ports of the server, a packet to each
    /// opens firewalls between.
    SetUp {
        description: Box<Description>,
        lanes: Vec<Lane>,
    },
    /// The server says that it plays.
    Playing {
        /// RTP time of the first packet of a medium, where it is said.
        begins: Vec<(usize, u32)>,
    },
    /// Flush, then close the connection. Nothing comes after it.
    Closed,
}

/// A medium that was set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Index in the description's media.
    pub medium: usize,
    pub way: Way,
}

/// How packets come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// On the connection, by these channels. The session gives them out.
    Interleaved { rtp: u8, rtcp: u8 },
    /// By UDP, to `ours`, from any port of the server: what it says of `theirs` is wrong or missing too often.
    Datagrams {
        ours: Ports,
        theirs: Option<Ports>,
        /// Packets come from there, if it is not the address of the connection.
        source: Option<IpAddr>,
    },
}

/// What was tolerated, and what it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// New connections that were not the first.
    pub reconnections: u32,
    /// Media that the server would not set up.
    pub media_refused: u32,
    /// Answers to nothing that waits for one.
    pub responses_ignored: u32,
    /// Requests of the server that were answered with an error.
    pub requests_refused: u32,
    /// Interleaved packets on channels that are not set up, or before PLAY.
    pub packets_ignored: u32,
    pub keep_alives: u32,
    pub keep_alives_refused: u32,
}

impl Session {
    /// Begins with [`Event::Connect`]. `seed` makes the client's nonces. Times are of one monotonic clock.
    pub fn new(now_ms: u64, address: Address, preference: Preference, seed: u64) -> Session {
        Session {
            seed,
            handover: Handover::Any,
            preference,
            over: match preference {
                Preference::Tcp => Over::Tcp,
                Preference::Udp | Preference::Auto => Over::Udp,
            },
            stage: Stage::Connecting,
            asked: None,
            authority: None,
            reader: Reader::default(),
            out: Vec::new(),
            lent: false,
            frame: None,
            events: vec![Event::Connect(address.clone())],
            address,
            sequence: 0,
            reconnections: 0,
            id: None,
            timeout_ms: TIMEOUT_SECONDS * 1000,
            keep_alive: KeepAlive::default(),
            now_ms,
            step_ms: now_ms,
            message_ms: now_ms,
            heard_ms: None,
            counters: Counters::default(),
        }
    }

    /// The connection that was asked for is there.
    ///
    /// # Panics
    /// If none was.
    pub fn connected(&mut self, now_ms: u64) {
        assert!(matches!(self.stage, Stage::Connecting), "nothing is connected unasked");
        self.now_ms = now_ms;
        self.begin();
    }

    /// The connection ended, or could not be made. No error means that there is more to do.
    ///
    /// # Errors
    /// The pull is over.
    pub fn disconnected(&mut self, now_ms: u64) -> Result<(), Error> {
        self.now_ms = now_ms;
        if matches!(self.stage, Stage::Closed) {
            return Ok(());
        }
        // Some end the connection rather than to say 461.
        let is_refusal = matches!(self.stage, Stage::SetUp { .. }) && self.may_fall_back();
        let ended = Error::Disconnected { step: self.step() };
        // There is nobody to be told of the end of the session.
        self.id = None;
        let result = match is_refusal {
            true => self.fall_back(),
            false => Err(ended),
        };
        self.finish(result)
    }

    /// Bytes taken. Fewer than given when a message has made outputs, or ports are awaited: drain, then come back with the
    /// rest.
    ///
    /// # Errors
    /// The pull is over, and the connection is to be dropped.
    pub fn handle_input(&mut self, now_ms: u64, input: &[u8]) -> Result<usize, Error> {
        if matches!(self.stage, Stage::Closed | Stage::Connecting) {
            return Ok(input.len());
        }
        self.now_ms = now_ms;
        let mut at = 0;
        while at < input.len() && self.takes_input() {
            if !self.reader.is_within() {
                self.message_ms = now_ms;
            }
            let mut reader = std::mem::take(&mut self.reader);
            let read = reader.read(&input[at..]).map_err(Error::Wire);
            let result = read.and_then(|(taken, read)| {
                at += taken;
                read.map_or(Ok(()), |read| self.take(read))
            });
            // A new connection begins with a reader of its own.
            if !matches!(self.stage, Stage::Connecting) {
                self.reader = reader;
            }
            self.finish(result)?;
        }
        Ok(at)
    }

    fn takes_input(&self) -> bool {
        let waits = matches!(self.stage, Stage::AwaitsPorts(_) | Stage::Connecting | Stage::Closed);
        self.is_drained() && !waits
    }

    fn take(&mut self, read: Read<'_>) -> Result<(), Error> {
        match read {
            Read::Frame { channel, .. } => {
                match self.of_channel(channel) {
                    Some(lane) => {
                        self.frame = Some(lane);
                        if lane.1 == Part::Rtp {
                            self.heard_ms = Some(self.now_ms);
                        }
                    }
                    None => self.counters.packets_ignored = self.counters.packets_ignored.saturating_add(1),
                }
                Ok(())
            }
            Read::Message { head, body } => self.message(&head, body),
        }
    }

    /// An RTP packet came by UDP. The connection's need no such word.
    pub fn alive(&mut self, now_ms: u64) {
        self.heard_ms = self.heard_ms.max(Some(now_ms));
    }

    /// To be called at [`Session::poll_timeout`], harmless earlier.
    ///
    /// # Errors
    /// The pull is over.
    pub fn handle_timeout(&mut self, now_ms: u64) -> Result<(), Error> {
        self.now_ms = self.now_ms.max(now_ms);
        if let Some((at, error)) = self.deadline()
            && now_ms >= at
        {
            let falls_back = matches!(error, Error::NothingByUdp { .. }) && self.may_fall_back();
            let result = match falls_back {
                true => self.fall_back(),
                false => Err(error),
            };
            return self.finish(result);
        }
        if self.keep_alive_at().is_some_and(|at| now_ms >= at) {
            self.send_keep_alive();
        }
        Ok(())
    }

    /// When to call [`Session::handle_timeout`]; moves with every input.
    pub fn poll_timeout(&self) -> Option<u64> {
        let deadline = self.deadline().map(|(at, _)| at);
        deadline.into_iter().chain(self.keep_alive_at()).min()
    }

    fn deadline(&self) -> Option<(u64, Error)> {
        if matches!(self.stage, Stage::Closed) {
            return None;
        }
        let of = |from: u64, millis: u64, error: Error| Some((from.saturating_add(millis), error));
        let millis = STEP_MILLIS_MAX;
        let step = match (&self.stage, self.heard_ms) {
            (Stage::AwaitsPorts(_), _) => None,
            (Stage::Playing(_), None) if self.over == Over::Udp => {
                let millis = match self.preference {
                    Preference::Auto => UDP_MILLIS_MAX,
                    Preference::Tcp | Preference::Udp => SILENT_MILLIS_MAX,
                };
                of(self.step_ms, millis, Error::NothingByUdp { millis })
            }
            (Stage::Playing(_), heard) => {
                let millis = SILENT_MILLIS_MAX;
                of(heard.unwrap_or(0).max(self.step_ms), millis, Error::Silent { millis })
            }
            _ => of(
                self.step_ms,
                millis,
                Error::Late {
                    step: self.step(),
                    millis,
                },
            ),
        };
        let millis = MESSAGE_MILLIS_MAX;
        let slow = match self.reader.is_within() {
            true => of(
                self.message_ms,
                millis,
                Error::Wire(super::Error::MessageSlow { millis }),
            ),
            false => None,
        };
        step.into_iter().chain(slow).min_by_key(|(at, _)| *at)
    }

    /// To be drained to `None` after every other call that changes the session.
    pub fn poll_output(&mut self) -> Option<Output<'_>> {
        if std::mem::take(&mut self.lent) {
            self.out = Vec::new();
        }
        if !self.out.is_empty() {
            self.lent = true;
            return Some(Output::Transmit(&self.out));
        }
        if !self.events.is_empty() {
            return Some(Output::Event(self.events.remove(0)));
        }
        let (medium, part) = self.frame.take()?;
        let packet = self.reader.packet();
        Some(Output::Packet { medium, part, packet })
    }

    /// Our ports for the medium that was asked about.
    ///
    /// # Panics
    /// This and [`Session::ports_refused`]: if none are asked for.
    pub fn ports(&mut self, ours: Ports) {
        self.set_up_by_udp(ours);
    }

    /// There are none.
    ///
    /// # Errors
    /// The pull is over.
    pub fn ports_refused(&mut self) -> Result<(), Error> {
        let result = self.set_up_without_ports();
        self.finish(result)
    }

    /// Ends the pull: says so, then closes.
    pub fn close(&mut self) {
        if matches!(self.stage, Stage::Closed) {
            return;
        }
        self.tear_down();
        self.stage = Stage::Closed;
        self.asked = None;
        // Nothing that was asked for is needed any more.
        self.events = vec![Event::Closed];
    }

    /// By what packets come, or are tried to: what a later pull of the same server may begin with.
    pub fn tried(&self) -> Preference {
        match (self.preference, self.over) {
            (Preference::Auto, Over::Tcp) => Preference::Tcp,
            (preference, _) => preference,
        }
    }

    /// What it is about to do.
    pub fn step(&self) -> Step {
        match &self.stage {
            Stage::Connecting => Step::Connect,
            Stage::Options => Step::Options,
            Stage::Describe => Step::Describe,
            Stage::AwaitsPorts(_) | Stage::SetUp { .. } => Step::SetUp,
            Stage::Play(_) => Step::Play,
            Stage::Playing(_) | Stage::Closed => Step::Receive,
        }
    }

    /// What it holds of its peer's input, and of requests.
    pub fn bytes(&self) -> usize {
        self.reader.heap_bytes() + self.out.capacity()
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed)
    }

    pub fn counters(&self) -> Counters {
        let reconnections = self.reconnections;
        Counters {
            reconnections,
            ..self.counters
        }
    }

    fn is_drained(&self) -> bool {
        self.out.is_empty() && !self.lent && self.frame.is_none() && self.events.is_empty()
    }

    /// An error ends it, and nothing is said after it.
    fn finish(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        if result.is_err() {
            self.stage = Stage::Closed;
            self.asked = None;
            self.out = Vec::new();
            self.lent = false;
            self.frame = None;
            self.events = Vec::new();
        }
        result
    }
}

/// Without what it sends and is sent: addresses may hold tokens.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("address", &self.address)
            .field("step", &self.step())
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}
