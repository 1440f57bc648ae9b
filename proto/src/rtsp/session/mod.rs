//! The server side of one connection, publisher or player: its requests, and the packets that are interleaved with them.
//!
//! It is not the stream: who may publish or play what is decided by the appliance, and a player's media are feed bytes that
//! the driver sends by itself, from a boundary of the feed on which also [`Output::Transmit`] may stand. It knows no
//! password: see [`Credentials`]. Owned by the shard that owns the socket.
//!
//! Invariants:
//! - One message at a time: no byte is taken while an output is undrained or a decision is awaited, so that nothing is
//!   queued without bound and outputs do not depend on how the input was cut.
//! - An RTSP session lives no longer than its connection, and a connection has one.
//! - All media of a session go the same way: interleaved, or as datagrams.

mod carry;
mod dialogue;
#[cfg(test)]
pub(crate) mod tests;

use std::net::{IpAddr, Ipv4Addr};

use self::dialogue::{Asked, Presentation};
use super::auth::{self, Credentials};
use super::error::Error;
use super::limits::{MESSAGE_MILLIS_MAX, NONCE_MILLIS, NOTHING_ASKED_MILLIS_MAX, SILENT_MILLIS_MAX};
use super::tunnel::{self, Opening};
use super::wire::message::{Read, Reader};
use super::wire::range::Range;
use super::wire::transport::{Group, Ports};
use super::wire::url::Target;
use crate::sdp::{Description, Origin};

/// See the module.
#[derive(Debug)]
pub struct Session {
    seed: u64,
    reader: Reader,
    stage: Stage,
    asked: Option<Asked>,
    out: Vec<u8>,
    /// The bytes of `out` are lent and go at the next poll.
    lent: bool,
    /// The reader's last frame is to be given out.
    frame: Option<(usize, Part)>,
    events: Vec<Event>,
    heard_ms: u64,
    began_ms: u64,
    /// When the message under way began.
    message_ms: u64,
    /// It has played or published once.
    ran: bool,
    /// Nothing was said yet, and it is in no tunnel.
    opens_tunnel: bool,
    wall_ms: u64,
    /// `CSeq` of the request that is being answered.
    sequence: Option<u32>,
    id: Option<String>,
    ids: u32,
    nonce: String,
    nonce_number: u64,
    nonce_ms: u64,
    user_agent: String,
    counters: Counters,
}

#[derive(Debug)]
enum Stage {
    Fresh,
    /// Described or announced; perhaps set up, perhaps paused.
    Known(Presentation),
    /// It plays or publishes.
    Running(Presentation),
    Closed,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Output<'a> {
    /// To the peer; to a player over TCP only at a record boundary of its feed.
    Transmit(&'a [u8]),
    /// Interleaved: a publisher's packet, or a player's RTCP.
    Packet {
        /// Index in the description's media.
        medium: usize,
        part: Part,
        packet: &'a [u8],
    },
    Event(Event),
}

/// Which of a medium's two flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Rtp,
    Rtcp,
}

/// A fact about the peer. A `…Requested` is to be answered by the method named with it, or by [`Session::refused`]; the
/// session takes no input before.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A player wants to know what there is, by DESCRIBE or by SETUP without it. Answer with [`Session::described`],
    /// [`Session::challenged`] or [`Session::redirected`].
    DescribeRequested {
        target: Target,
        credentials: Option<Credentials>,
    },
    /// A publisher says what it will send. Answer with [`Session::announced`] or [`Session::challenged`]. Everything about
    /// it is to be checked here: OBS and ffmpeg tell a refusal's reason only at this point.
    AnnounceRequested {
        target: Target,
        description: Description,
        credentials: Option<Credentials>,
    },
    /// A medium is to go by UDP. Answer with [`Session::ports`]; or with [`Session::transport_refused`], then the peer's next
    /// choice is taken, if it has one. Ports that are not in the lanes of a later [`Event::PlayRequested`] or
    /// [`Event::RecordRequested`], or at the end of the session, are free again.
    PortsRequested {
        medium: usize,
        purpose: Purpose,
        /// Where the peer sends from and receives; on its address, whatever it says.
        peer: Ports,
    },
    /// A medium is to go by multicast. Answer with [`Session::grouped`] or [`Session::transport_refused`].
    GroupRequested { medium: usize },
    /// Answer with [`Session::playing`]. Again after `Paused`.
    PlayRequested {
        target: Target,
        /// What the peer asked for; none if it said nothing.
        range: Option<Range>,
        /// By medium.
        lanes: Vec<Lane>,
    },
    /// Answer with [`Session::recording`]. Again after `Paused`.
    RecordRequested { target: Target, lanes: Vec<Lane> },
    /// Send no media until the next `PlayRequested`; or, of a publisher, none come until the next `RecordRequested`.
    Paused,
    /// The peer ended its play or publish. `Closed` follows.
    TornDown,
    /// It speaks RTSP in HTTP, and this connection is one half of what it needs for it. The session says nothing more: see
    /// [`tunnel`](super::tunnel) for what takes its place. What was not taken of the input stands behind the opening.
    TunnelRequested(Opening),
    /// Flush, then close the connection. Nothing comes after it.
    Closed,
}

/// What a medium was set up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Play,
    Record,
}

/// A medium that was set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Index in the description's media.
    pub medium: usize,
    pub carriage: Carriage,
}

/// How packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// On the connection, by these channels.
    Interleaved {
        rtp: u8,
        rtcp: u8,
    },
    /// By UDP. `ours` is what [`Session::ports`] said.
    Datagrams {
        peer: Ports,
        ours: Ports,
    },
    Multicast(Group),
}

/// Where a medium's packets begin (`RTP-Info`, RFC 2326 12.33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    pub medium: usize,
    pub sequence: u16,
    pub timestamp: u32,
}

/// Why a request is refused, as the peer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 403: not to this peer, or not at all.
    Forbidden,
    /// 404: no such stream.
    NotFound,
    /// 406: nothing of the stream can be sent by RTP.
    NotAcceptable,
    /// 415: nothing of what is announced can be taken.
    UnsupportedMedia,
    /// 453: no room for it.
    NotEnoughBandwidth,
    /// 455: it has a publisher already.
    NotNow,
    /// 457: nothing of the stream that can be played is there. The peer may ask for another.
    InvalidRange,
    /// 500: our own fault.
    Failed,
    /// 503: not at this time; come back.
    Unavailable,
}

/// What was tolerated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that were answered with an error by the session itself.
    pub requests_refused: u32,
    /// Answers to nothing that we asked.
    pub responses_ignored: u32,
    /// Interleaved packets on channels that were not set up, or when nothing runs.
    pub packets_ignored: u32,
}

impl Session {
    /// `seed` makes the session's id and nonces: nobody may be able to guess it. `wall_ms` is since 1970; it numbers the
    /// descriptions. All other times are of one monotonic clock.
    pub fn new(now_ms: u64, wall_ms: u64, seed: u64) -> Session {
        Session {
            seed,
            reader: Reader::default(),
            stage: Stage::Fresh,
            asked: None,
            out: Vec::new(),
            lent: false,
            frame: None,
            events: Vec::new(),
            heard_ms: now_ms,
            began_ms: now_ms,
            message_ms: now_ms,
            ran: false,
            opens_tunnel: true,
            wall_ms,
            sequence: None,
            id: None,
            ids: 0,
            nonce: auth::nonce(seed, 0),
            nonce_number: 0,
            nonce_ms: now_ms,
            user_agent: String::new(),
            counters: Counters::default(),
        }
    }

    /// The one that a tunnel carries. Its first output opens the way down; what is taken as input comes up by the other
    /// connection, decoded.
    pub fn tunnelled(now_ms: u64, wall_ms: u64, seed: u64) -> Session {
        let mut session = Session::new(now_ms, wall_ms, seed);
        session.opens_tunnel = false;
        session.out.extend_from_slice(tunnel::OPENED.as_bytes());
        session
    }

    /// Bytes taken. Fewer than given when a message has made outputs, or a decision is awaited: drain, then come back
    /// with the rest. After an error the session is closed and the connection is to be dropped.
    pub fn handle_input(&mut self, now_ms: u64, input: &[u8]) -> Result<usize, Error> {
        if matches!(self.stage, Stage::Closed) {
            return Ok(input.len());
        }
        if !input.is_empty() {
            self.heard_ms = now_ms;
        }
        if !self.is_drained() || self.awaits_decision() {
            return Ok(0);
        }
        if now_ms.saturating_sub(self.nonce_ms) >= NONCE_MILLIS {
            self.renew_nonce(now_ms);
        }
        let mut at = 0;
        while at < input.len() && self.is_drained() && !self.awaits_decision() {
            if !self.reader.is_within() {
                self.message_ms = now_ms;
            }
            let mut reader = std::mem::take(&mut self.reader);
            let read = reader.read(&input[at..]);
            let result = read.map(|(taken, read)| (taken, read.map(|read| self.take(read))));
            self.reader = reader;
            match result {
                Ok((taken, _)) => at += taken,
                Err(error) => {
                    self.close_now();
                    return Err(error);
                }
            }
        }
        Ok(at)
    }

    fn take(&mut self, read: Read<'_>) {
        match read {
            Read::Frame { channel, .. } => match self.of_channel(channel) {
                Some(lane) => self.frame = Some(lane),
                None => self.counters.packets_ignored = self.counters.packets_ignored.saturating_add(1),
            },
            Read::Message { head, body } => self.request(head, body),
        }
    }

    /// The peer lives: its datagrams came. Its connection's bytes need no such word.
    pub fn alive(&mut self, now_ms: u64) {
        self.heard_ms = self.heard_ms.max(now_ms);
    }

    /// To be called at [`Session::poll_timeout`], harmless earlier. An error as in [`Session::handle_input`].
    pub fn handle_timeout(&mut self, now_ms: u64) -> Result<(), Error> {
        let Some((_, error)) = self.deadline().filter(|(at, _)| now_ms >= *at) else {
            return Ok(());
        };
        self.close_now();
        Err(error)
    }

    /// When to call [`Session::handle_timeout`]; moves with every input.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.deadline().map(|(at, _)| at)
    }

    fn deadline(&self) -> Option<(u64, Error)> {
        // Whoever waits for us is not late.
        if matches!(self.stage, Stage::Closed) || self.asked.is_some() {
            return None;
        }
        let of = |from: u64, millis: u64, error: fn(u64) -> Error| (from.saturating_add(millis), error(millis));
        let silent = of(self.heard_ms, SILENT_MILLIS_MAX, |millis| Error::Idle { millis });
        let slow = of(self.message_ms, MESSAGE_MILLIS_MAX, |millis| Error::MessageSlow {
            millis,
        });
        let nothing = of(self.began_ms, NOTHING_ASKED_MILLIS_MAX, |millis| Error::NothingAsked {
            millis,
        });
        let slow = self.reader.is_within().then_some(slow);
        let nothing = (!self.ran).then_some(nothing);
        [Some(silent), slow, nothing]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
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
        if let Some((medium, part)) = self.frame.take() {
            let packet = self.reader.packet();
            return Some(Output::Packet { medium, part, packet });
        }
        if !self.events.is_empty() {
            return Some(Output::Event(self.events.remove(0)));
        }
        self.events = Vec::new();
        None
    }

    /// What there is. Its media's `control` is not used: they are called `track0` and so on.
    ///
    /// # Panics
    /// This and all decisions: if nothing of the kind is asked.
    pub fn described(&mut self, description: &Description) {
        let origin = Origin {
            session: self.wall_ms,
            version: 1,
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        self.decide_described(description, origin);
    }

    /// The peer is told to prove who it is, by Basic or Digest (401). It asks again on the same connection.
    pub fn challenged(&mut self, now_ms: u64) {
        self.decide_challenged(now_ms);
    }

    /// The publish that was asked for may be set up.
    pub fn announced(&mut self) {
        self.decide_announced();
    }

    /// A player is sent elsewhere (302).
    pub fn redirected(&mut self, url: &str) {
        self.decide_redirected(url);
    }

    /// Our ports for the medium that was asked about.
    pub fn ports(&mut self, ours: Ports) {
        self.decide_ports(ours);
    }

    /// The group of the medium that was asked about.
    pub fn grouped(&mut self, group: Group) {
        self.decide_grouped(group);
    }

    /// Not by UDP, or not by multicast.
    pub fn transport_refused(&mut self) {
        self.decide_transport_refused();
    }

    /// The play may begin: send the drained bytes, then the feed. `begins` names what is known of the media; `range` is
    /// what is played in fact.
    pub fn playing(&mut self, begins: &[Begin], range: Option<Range>) {
        self.ran = true;
        self.decide_playing(begins, range);
    }

    /// The publish may begin.
    pub fn recording(&mut self) {
        self.ran = true;
        self.decide_recording();
    }

    /// Whatever is asked is not granted. Says why, then closes, but for [`Refusal::InvalidRange`].
    pub fn refused(&mut self, refusal: Refusal, description: &str) {
        self.decide_refused(refusal, description);
    }

    /// The stream is at its end, its publisher is sent away, or we stop: closes. There is no word for it in RTSP 1.0 that
    /// players understand; RTCP's BYE has said it.
    pub fn close(&mut self) {
        if !matches!(self.stage, Stage::Closed) {
            self.stage = Stage::Closed;
            self.asked = None;
            self.events.push(Event::Closed);
        }
    }

    /// What it holds of its peer's input, and of answers.
    pub fn bytes(&self) -> usize {
        self.reader.heap_bytes() + self.out.capacity()
    }

    /// Whether a request waits for its decision.
    pub fn awaits_decision(&self) -> bool {
        self.asked.is_some()
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed)
    }

    /// `User-Agent`, as far as the peer said it.
    pub fn user_agent(&self) -> &str {
        &self.user_agent
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn is_drained(&self) -> bool {
        self.out.is_empty() && !self.lent && self.frame.is_none() && self.events.is_empty()
    }

    fn renew_nonce(&mut self, now_ms: u64) {
        self.nonce_number += 1;
        self.nonce = auth::nonce(self.seed, self.nonce_number);
        self.nonce_ms = now_ms;
    }

    fn close_now(&mut self) {
        self.stage = Stage::Closed;
        self.asked = None;
        self.out = Vec::new();
        self.lent = false;
        self.frame = None;
        self.events = Vec::new();
    }
}
