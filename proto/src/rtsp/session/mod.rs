//! The server side of one connection, publisher or player: its requests, and the packets that are interleaved with them.
//!
//! It is not the stream: who may publish or play what is decided by the appliance, and a player's media are feed bytes that
//! the driver sends by itself, from a boundary of the feed on which also [`Output::Transmit`] may stand. It knows no
//! password: see [`Credentials`]. Owned by the shard that owns the socket; [`Session::export`] moves it.
//!
//! Two connections can be one dialogue (RTSP in HTTP, as Apple's players do it): the one that sent GET is the session, the
//! one that sent POST becomes a carrier whose decoded bytes ([`Output::Carried`]) are fed to the first by
//! [`Session::handle_carried`].
//!
//! Invariants:
//! - One message at a time: no byte is taken while an output is undrained or a decision is awaited, so that nothing is
//!   queued without bound and outputs do not depend on how the input was cut.
//! - An RTSP session lives no longer than its connection, and a connection has one.
//! - All media of a session go the same way: interleaved, or as datagrams.

use super::auth::Credentials;
use super::error::{Error, ImportError};
use super::wire::range::Range;
use super::wire::transport::{Group, Ports};
use super::wire::url::Target;
use crate::sdp::Description;

/// See the module.
#[derive(Debug)]
pub struct Session {}

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
    /// Of a carrier, after [`Session::joined`]: to [`Session::handle_carried`] of the session whose cookie it is.
    Carried(&'a [u8]),
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
    /// This connection is the answering half of a tunnel: its own bytes mean nothing any more, those of carriers that name
    /// this cookie are its input.
    TunnelOpened { cookie: String },
    /// This connection carries the requests of the session with this cookie, which may be on any shard. Answer with
    /// [`Session::joined`], or [`Session::refused`] if there is none.
    JoinRequested { cookie: String },
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
    /// 457
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
    /// `seed` makes the session's id and nonces: nobody may be able to guess it. `wall_ms` is since 1970 at `now_ms`, for
    /// `Date`. All times are of one monotonic clock.
    pub fn new(now_ms: u64, wall_ms: u64, seed: u64) -> Session {
        let _ = (now_ms, wall_ms, seed);
        Session {}
    }

    /// Bytes taken. Fewer than given when a message has made outputs, or a decision is awaited: drain, then come back
    /// with the rest (also with an empty rest, until nothing is taken and nothing comes out). After an error the
    /// session is closed and the connection is to be dropped.
    pub fn handle_input(&mut self, now_ms: u64, input: &[u8]) -> Result<usize, Error> {
        let _ = (now_ms, input);
        Ok(0)
    }

    /// As [`Session::handle_input`], for what carriers of this session's tunnel brought.
    pub fn handle_carried(&mut self, now_ms: u64, input: &[u8]) -> Result<usize, Error> {
        let _ = (now_ms, input);
        Ok(0)
    }

    /// The peer lives: its datagrams came. Its connection's bytes need no such word.
    pub fn alive(&mut self, now_ms: u64) {
        let _ = now_ms;
    }

    /// To be called at [`Session::poll_timeout`], harmless earlier. An error as in [`Session::handle_input`].
    pub fn handle_timeout(&mut self, now_ms: u64) -> Result<(), Error> {
        let _ = now_ms;
        Ok(())
    }

    /// When to call [`Session::handle_timeout`]; moves with every input.
    pub fn poll_timeout(&self) -> Option<u64> {
        None
    }

    /// To be drained to `None` after every other call that changes the session.
    pub fn poll_output(&mut self) -> Option<Output<'_>> {
        None
    }

    /// What there is. Its media's `control` is not used: they are called `track0` and so on.
    ///
    /// # Panics
    /// This and all decisions: if nothing of the kind is asked.
    pub fn described(&mut self, now_ms: u64, description: &Description) {
        let _ = (now_ms, description);
    }

    /// The peer is told to prove who it is, by Basic or Digest (401). It asks again on the same connection.
    pub fn challenged(&mut self, now_ms: u64) {
        let _ = now_ms;
    }

    /// The publish that was asked for may be set up.
    pub fn announced(&mut self, now_ms: u64) {
        let _ = now_ms;
    }

    /// A player is sent elsewhere (302).
    pub fn redirected(&mut self, now_ms: u64, url: &str) {
        let _ = (now_ms, url);
    }

    /// Our ports for the medium that was asked about.
    pub fn ports(&mut self, now_ms: u64, ours: Ports) {
        let _ = (now_ms, ours);
    }

    /// The group of the medium that was asked about.
    pub fn grouped(&mut self, now_ms: u64, group: Group) {
        let _ = (now_ms, group);
    }

    /// Not by UDP, or not by multicast.
    pub fn transport_refused(&mut self, now_ms: u64) {
        let _ = now_ms;
    }

    /// The play may begin: send the drained bytes, then the feed. `begins` names what is known of the media; `range` is
    /// what is played in fact.
    pub fn playing(&mut self, now_ms: u64, begins: &[Begin], range: Option<Range>) {
        let _ = (now_ms, begins, range);
    }

    /// The publish may begin.
    pub fn recording(&mut self, now_ms: u64) {
        let _ = now_ms;
    }

    /// The carrier's session is found.
    pub fn joined(&mut self, now_ms: u64) {
        let _ = now_ms;
    }

    /// Whatever is asked is not granted. Says why, then closes.
    pub fn refused(&mut self, now_ms: u64, refusal: Refusal, description: &str) {
        let _ = (now_ms, refusal, description);
    }

    /// The stream is at its end, its publisher is sent away, or we stop: closes. There is no word for it in RTSP 1.0 that
    /// players understand; RTCP's BYE has said it.
    pub fn close(&mut self) {}

    /// Whether a request waits for its decision.
    pub fn awaits_decision(&self) -> bool {
        false
    }

    pub fn is_closed(&self) -> bool {
        false
    }

    /// `User-Agent`, as far as the peer said it.
    pub fn user_agent(&self) -> &str {
        ""
    }

    pub fn counters(&self) -> Counters {
        Counters::default()
    }

    /// This value and everything it owns, by capacity.
    pub fn bytes(&self) -> usize {
        size_of::<Session>()
    }

    /// Appends the session. Its outputs must be drained.
    pub fn export(&self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// What [`Session::export`] wrote, whole. Times go on in the importer's clock only if it is the same.
    pub fn import(input: &[u8]) -> Result<Session, ImportError> {
        let _ = input;
        Ok(Session {})
    }
}
