//! HTTP peers: requests to questions, answers to endless bodies.

use std::net::SocketAddr;

use penstock_proto::dash;
use penstock_proto::http::{self, Answer as Begun, Cause, Event, Method, Output, Status};
use penstock_proto::rtsp::tunnel::Opening;
use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, End};
use penstock_shard::kernel::Kernel;
use penstock_shard::sys::clock;
use tracing::{debug, info};

use super::moves::Travel;
use super::segmented::{self, Asked, Fetch, Served, Target};
use super::viewers::Answer;
use super::{App, reason};
use crate::limits;
use crate::messages::{Message, Settling};
use crate::names::StreamName;
use crate::registry::{self, PROGRESSIVE, Packaging, Progressive};

const ALLOW: &str = "GET, HEAD, OPTIONS";
/// When a player that came too early or found us busy is told to come again.
pub(super) const RETRY_SECONDS: u32 = 1;
/// When one that an overloaded core refused is, and over how many seconds more those of one moment are spread.
const OVERLOAD_RETRY_SECONDS: u32 = 5;
const OVERLOAD_RETRY_SPREAD: u32 = 10;

/// When one that an overloaded core refused is to come again.
pub(super) fn overload_retry_seconds(conn: ConnId) -> u32 {
    OVERLOAD_RETRY_SECONDS + conn.index() as u32 % OVERLOAD_RETRY_SPREAD
}

#[derive(Debug)]
pub(super) struct HttpPeer {
    pub session: http::Session,
    /// Input that the session has not taken, because a request waits for its answer.
    pub pending: Vec<u8>,
    pub state: State,
    /// The peer has ended its sending side: what it asked is answered, and nothing more can come.
    half_closed: Option<HalfClosed>,
    pub travel: Travel,
}

/// What its socket had taken when it was last looked at.
#[derive(Debug, Clone, Copy)]
struct HalfClosed {
    bytes_sent: u64,
}

#[derive(Debug)]
pub(super) enum State {
    Idle,
    /// A request waits for a feed, or to know whether the stream is there.
    Asking {
        name: StreamName,
        progressive: &'static Progressive,
        /// None for a HEAD.
        packaging: Option<Packaging>,
    },
    Watching {
        name: StreamName,
        progressive: &'static Progressive,
        since: u64,
    },
    /// A request waits for something that is fetched piece by piece.
    Fetching(Box<Fetch>),
    /// The body of an answer is being sent.
    Sending,
    /// It is RTSP in HTTP, and leaves for where its other half is.
    Tunnel(Opening),
}

impl HttpPeer {
    pub fn new<K: Kernel>(core: &mut Core<Message<K>, K>, conn: ConnId) -> Self {
        let session = http::Session::new(core.now() / 1000, http::Limits::default());
        let peer = HttpPeer::resumed(session, State::Idle, Travel::default());
        peer.set_deadline(core, conn);
        peer
    }

    pub fn resumed(session: http::Session, state: State, travel: Travel) -> Self {
        HttpPeer {
            session,
            pending: Vec::new(),
            state,
            half_closed: None,
            travel,
        }
    }

    pub fn is_watching(&self) -> bool {
        matches!(self.state, State::Watching { .. })
    }

    pub fn is_sending(&self) -> bool {
        matches!(self.state, State::Sending)
    }

    /// The question that waits for its answer.
    pub fn asks(&self) -> Option<(&StreamName, Option<Packaging>)> {
        match &self.state {
            State::Asking { name, packaging, .. } => Some((name, *packaging)),
            _ => None,
        }
    }

    /// What it holds of its peer's input.
    pub fn held_bytes(&self) -> usize {
        self.session.bytes() + self.pending.capacity()
    }

    pub fn set_deadline<K: Kernel>(&self, core: &mut Core<Message<K>, K>, conn: ConnId) {
        let at = match self.state {
            State::Asking { .. } => Some(core.now() + limits::OPEN_WAIT_MICROS),
            State::Watching { .. } if self.half_closed.is_some() => Some(core.now() + limits::HALF_CLOSED_MICROS),
            // Whoever wakes those who wait looks at how long.
            State::Fetching(_) | State::Sending => None,
            _ => self.session.poll_timeout().map(|millis| millis * 1000),
        };
        core.set_deadline(conn, at);
    }
}

/// What a request wants, read off it.
enum Wanted {
    Options,
    Method,
    Stream {
        method: Method,
        name: StreamName,
        progressive: &'static Progressive,
    },
    Thing(StreamName, Asked),
    Time,
    Tunnel(Opening),
    Nothing {
        why: String,
    },
    Malformed {
        why: String,
    },
}

impl<K: Kernel> App<K> {
    pub(super) fn http_received(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut HttpPeer,
        bytes: &[u8],
    ) {
        if !peer.pending.is_empty() {
            peer.pending.extend_from_slice(bytes);
            if peer.pending.len() > limits::PENDING_REQUESTS_BYTES_MAX {
                self.counters.connections_closed_pending.add(1);
                return core.abort(conn);
            }
            // The session takes nothing while its request waits.
            if matches!(
                peer.state,
                State::Asking { .. } | State::Fetching(_) | State::Sending | State::Tunnel(_)
            ) {
                return;
            }
            let pending = std::mem::take(&mut peer.pending);
            self.http_feed(core, conn, address, peer, &pending);
        } else {
            self.http_feed(core, conn, address, peer, bytes);
        }
    }

    pub(super) fn http_feed(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut HttpPeer,
        mut bytes: &[u8],
    ) {
        loop {
            let taken = match peer.session.handle_input(core.now() / 1000, bytes) {
                Ok(taken) => taken,
                // Its end, which tells the error, follows.
                Err(_) => bytes.len(),
            };
            bytes = &bytes[taken..];
            let answered = self.http_drain(core, conn, address, peer);
            if bytes.is_empty() || taken == 0 && !answered {
                break;
            }
        }
        peer.pending.extend_from_slice(bytes);
        self.http_rest(core, conn, peer);
    }

    /// The peer ends its sending side (`nc -N`). As nginx does, what it asked is answered and a viewer is sent
    /// the stream; one that is gone is noticed by the next send.
    pub(super) fn http_half_closed(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, peer: &mut HttpPeer) {
        let bytes_sent = core.bytes_sent(conn);
        peer.half_closed = Some(HalfClosed { bytes_sent });
        self.http_rest(core, conn, peer);
    }

    /// Waits for what comes next; where nothing can come, the connection ends behind what is queued.
    fn http_rest(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, peer: &mut HttpPeer) {
        match peer.state {
            State::Idle if peer.half_closed.is_some() => core.finish(conn),
            _ => peer.set_deadline(core, conn),
        }
    }

    /// Sends what the session has to say and serves its requests until it has none; whether one was answered.
    fn http_drain(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut HttpPeer,
    ) -> bool {
        let mut answered = false;
        loop {
            match peer.session.poll_output() {
                Some(Output::Transmit(bytes)) => core.send(conn, bytes),
                Some(Output::Event(Event::Close(cause))) => self.http_close(core, conn, address, cause),
                Some(Output::Event(Event::Request(request))) => {
                    self.counters.http_requests.add(1);
                    let wanted = self.wanted(core.now(), &request, address);
                    answered |= self.http_serve(core, conn, address, peer, wanted);
                }
                None => return answered,
            }
        }
    }

    fn http_close(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, address: SocketAddr, cause: Cause) {
        match cause {
            Cause::Illegal(error) => {
                self.counters.protocol_errors.add(1);
                debug!(peer = %address, %error, "illegal HTTP request");
            }
            Cause::Slow => self.counters.connections_slow.add(1),
            Cause::Idle | Cause::Unused => self.counters.connections_idle.add(1),
            Cause::Answered | Cause::Local => {}
        }
        core.finish(conn);
    }

    fn wanted(&self, now: u64, request: &http::Request<'_>, address: SocketAddr) -> Wanted {
        if let Some(opening) = self.opening_of(request) {
            return Wanted::Tunnel(opening);
        }
        match request.method() {
            Method::Options => return Wanted::Options,
            Method::Get | Method::Head => {}
            _ => return Wanted::Method,
        }
        let path = request.path();
        match segmented::parse(path, request.parameters(), Served::of(&self.config)) {
            None => {}
            Some(Target::Thing(asked)) => {
                return match self.stream_name(now, &asked.name, address) {
                    Ok(name) => Wanted::Thing(name, asked),
                    Err(error) => Wanted::Nothing { why: error.to_string() },
                };
            }
            Some(Target::Time) => return Wanted::Time,
            Some(Target::Nothing { why }) => return Wanted::Nothing { why },
            Some(Target::Malformed { why }) => return Wanted::Malformed { why },
        }
        let target = path.strip_prefix('/').and_then(|path| path.rsplit_once('.'));
        let Some((name, extension)) = target.filter(|(name, _)| !name.contains('/')) else {
            return Wanted::Nothing {
                why: format!("nothing is served at {path}: try /STREAM.flv, .ts or .mp4, or /hls/STREAM/index.m3u8"),
            };
        };
        let progressive = PROGRESSIVE
            .iter()
            .find(|progressive| progressive.extension.eq_ignore_ascii_case(extension));
        let Some(progressive) = progressive else {
            return Wanted::Nothing {
                why: format!("no output is called .{extension}: try .flv, .ts or .mp4"),
            };
        };
        if !(progressive.is_on)(&self.config.containers) {
            let connector = progressive.connector;
            return Wanted::Nothing {
                why: format!("the {connector} output is not among config.protocols"),
            };
        }
        match self.stream_name(now, name, address) {
            Ok(name) => Wanted::Stream {
                method: request.method(),
                name,
                progressive,
            },
            Err(error) => Wanted::Nothing { why: error.to_string() },
        }
    }

    /// Answers, or asks for what the answer needs; whether the request is answered.
    fn http_serve(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut HttpPeer,
        wanted: Wanted,
    ) -> bool {
        let now = core.now() / 1000;
        match wanted {
            Wanted::Options => peer.session.respond_options(now, ALLOW),
            Wanted::Method => {
                self.counters.http_errors.add(1);
                peer.session.refuse(
                    now,
                    Status::MethodNotAllowed { allow: ALLOW },
                    "only GET, HEAD and OPTIONS are served here",
                );
            }
            Wanted::Nothing { why } => {
                self.counters.http_errors.add(1);
                peer.session.refuse(now, Status::NotFound, &why);
            }
            Wanted::Malformed { why } => {
                self.counters.http_errors.add(1);
                peer.session.refuse(now, Status::BadRequest, &why);
            }
            Wanted::Time => {
                let mut text = String::new();
                dash::time::instant(clock::wall_micros(), &mut text);
                peer.session
                    .respond(now, Status::Ok, "text/plain; charset=utf-8", text.as_bytes());
            }
            Wanted::Tunnel(opening) => {
                peer.state = State::Tunnel(opening);
                core.detach(conn);
                return false;
            }
            Wanted::Thing(name, asked) => {
                let fetch = Fetch {
                    name,
                    asked,
                    since: core.now(),
                    tries: 0,
                    has_waited: false,
                };
                return self.fetch(core, conn, peer, fetch);
            }
            Wanted::Stream {
                method,
                name,
                progressive,
            } => {
                let packaging = (method == Method::Get).then_some(progressive.packaging);
                let answer = self.ask(core, conn, &name, packaging, peer.travel.settling);
                peer.state = State::Asking {
                    name,
                    progressive,
                    packaging,
                };
                let Some(answer) = answer else { return false };
                self.http_answer(core, conn, address, peer, answer);
                // It goes to another shard, and is answered there.
                return !matches!(peer.state, State::Asking { .. });
            }
        }
        true
    }

    /// The answer to a question that could not be answered at once.
    pub(super) fn http_answered(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut HttpPeer,
        answer: Answer,
    ) {
        self.http_answer(core, conn, address, peer, answer);
        self.http_go_on(core, conn, address, peer);
    }

    /// Behind an answer: what the peer sent meanwhile is read.
    pub(super) fn http_go_on(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut HttpPeer,
    ) {
        self.http_drain(core, conn, address, peer);
        let pending = std::mem::take(&mut peer.pending);
        self.http_feed(core, conn, address, peer, &pending);
    }

    /// A body, or an endless answer, is sent whole.
    pub(super) fn http_reached_end(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut HttpPeer,
    ) {
        if !matches!(peer.state, State::Sending) {
            return core.finish(conn);
        }
        if core.range_cut(conn) {
            // Its peer was promised more, and must not take what it has for the whole.
            return core.abort(conn);
        }
        self.body_sent(core, peer);
        if self.stopping {
            return core.finish(conn);
        }
        self.http_go_on(core, conn, address, peer);
    }

    fn http_answer(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut HttpPeer,
        answer: Answer,
    ) {
        let State::Asking {
            name,
            progressive,
            packaging,
        } = &peer.state
        else {
            return;
        };
        let Some(answer) = self.or_elsewhere(core, conn, (name, *packaging), &mut peer.travel, answer) else {
            return;
        };
        let answer = self.unless_overloaded(core, answer);
        let (name, progressive) = (name.clone(), *progressive);
        peer.state = State::Idle;
        peer.travel.settling = Settling::Free;
        let now = core.now() / 1000;
        let status = match answer {
            Answer::Watch(feed) => {
                let begun = peer.session.respond_stream(now, progressive.content_type);
                while let Some(output) = peer.session.poll_output() {
                    if let Output::Transmit(bytes) = output {
                        core.send(conn, bytes);
                    }
                }
                if begun == Begun::Stream {
                    core.join(conn, feed);
                    self.keep_time(core);
                    self.counters.viewers.add(1);
                    self.counters.viewers_total.add(1);
                    let output = registry::title(progressive.packaging);
                    info!(stream = name.as_str(), output, peer = %address, "viewer came");
                    peer.state = State::Watching {
                        name,
                        progressive,
                        since: core.now(),
                    };
                }
                return;
            }
            Answer::There(_) => {
                // A HEAD: the same head as a GET would have.
                peer.session.respond_stream(now, progressive.content_type);
                return;
            }
            Answer::Busy => Status::ServiceUnavailable {
                retry_after_seconds: RETRY_SECONDS,
            },
            Answer::Overloaded => Status::ServiceUnavailable {
                retry_after_seconds: overload_retry_seconds(conn),
            },
            Answer::NotThere | Answer::NothingToCarry | Answer::Elsewhere { .. } => Status::NotFound,
        };
        self.counters.http_errors.add(1);
        if answer == Answer::NotThere {
            self.counters.viewers_not_found.add(1);
        }
        let why = self.why_not(&answer, &name, progressive.packaging);
        peer.session.refuse(now, status, &why);
    }

    pub(super) fn http_deadline(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut HttpPeer,
    ) {
        // Where it goes to, its time goes on.
        if peer.travel.leaving.is_some() {
            return;
        }
        if let State::Asking { name, packaging, .. } = &peer.state {
            self.wait_no_longer(conn, name, *packaging);
            let why = format!("{} has not begun yet; try again", name.as_str());
            peer.state = State::Idle;
            self.counters.http_errors.add(1);
            peer.session.refuse(
                core.now() / 1000,
                Status::ServiceUnavailable {
                    retry_after_seconds: RETRY_SECONDS,
                },
                &why,
            );
        } else if let (State::Watching { .. }, Some(seen)) = (&peer.state, &mut peer.half_closed) {
            let bytes_sent = core.bytes_sent(conn);
            if bytes_sent == seen.bytes_sent {
                return core.peer_ended(conn);
            }
            seen.bytes_sent = bytes_sent;
        } else {
            peer.session.handle_timeout(core.now() / 1000);
        }
        // A request that came behind the one that was waited for is served, as behind any answer.
        self.http_go_on(core, conn, address, peer);
    }

    pub(super) fn http_ended(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut HttpPeer,
        why: End,
    ) {
        match &peer.state {
            State::Idle | State::Sending | State::Tunnel(_) => {}
            State::Fetching(fetch) => self.fetch_ended(conn, &fetch.name),
            State::Asking { name, packaging, .. } => self.wait_no_longer(conn, name, *packaging),
            State::Watching {
                name,
                progressive,
                since,
            } => {
                self.counters.viewers.sub(1);
                let seconds = (core.now() - since) / 1_000_000;
                let output = registry::title(progressive.packaging);
                info!(stream = name.as_str(), output, peer = %address, seconds, reason = reason(why), "viewer left");
            }
        }
    }
}
