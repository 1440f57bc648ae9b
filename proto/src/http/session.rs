//! One connection of a player: reads requests one at a time, says what to answer with, keeps the time.

mod reading;

use reading::Line;
pub(super) use reading::Reading;

use super::wire::body::{Body, Taken};
use super::wire::content::{self, Framing, Length};
use super::wire::request::{Head, Method, Persistence, ReasonFormat, Request, Version};
use super::wire::response::{self, Status};
use super::{Error, Limits, limits};

/// What is to be done next.
#[derive(Debug)]
pub enum Output<'a> {
    /// Send these bytes. They are lent until the next call and count as sent.
    Transmit(&'a [u8]),
    Event(Event<'a>),
}

#[derive(Debug)]
pub enum Event<'a> {
    /// A request is complete and waits for one of the answering methods. It stays readable by [`Session::request`].
    Request(Request<'a>),
    /// All that was to be transmitted has been: end the connection. Nothing comes behind this.
    Close(Cause),
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The answer to the last request is out and one of the sides wanted no more.
    Answered,
    /// Nothing came behind the last answer in [`Limits::idle_millis`].
    Idle,
    /// A new connection on which nothing came in [`Limits::request_millis`].
    Unused,
    /// A request was not complete in [`Limits::request_millis`]; the peer was told 408.
    Slow,
    /// The peer was told by [`Error::status`].
    Illegal(Error),
    /// [`Session::close`] was called.
    Local,
}

/// What was begun by [`Session::respond_stream`] or [`Session::respond_body`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The stream's bytes follow the head, up to the end of the connection.
    Stream,
    /// Nothing follows the head, and the session goes on: the request was a HEAD, or there are no bytes to send.
    HeadOnly,
    /// The body follows the head, framed as the head says.
    Body,
    /// The body follows the head as it is, without chunks, for a peer that knows none: the connection's end is the body's.
    Plain,
}

/// One peer's dialogue. Owned by the shard that owns its socket; moves by [`export`](Session::export).
///
/// Times are milliseconds of any clock that does not go back. After each call that changes it, drain
/// [`poll_output`](Session::poll_output) to `None`.
#[derive(Debug)]
pub struct Session {
    pub(super) limits: Limits,
    pub(super) state: State,
    pub(super) deadline: Option<Deadline>,
    out: Vec<u8>,
    out_lent: bool,
}

#[derive(Debug)]
pub(super) enum State {
    /// Between requests, or in the head of one.
    Head(Box<Reading>),
    Body {
        exchange: Box<Exchange>,
        body: Body,
    },
    /// A request waits for its answer.
    Asked {
        exchange: Box<Exchange>,
        announced: bool,
    },
    /// An answer is being sent by others, and more come behind it.
    Sending {
        /// Later requests, unread.
        pipelined: Vec<u8>,
    },
    /// The connection's last answer is being sent by others: an endless one, or a body.
    Streaming {
        input_bytes: u32,
    },
    Closing(Cause),
    Closed,
}

/// A request with what came behind it.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) head: Head,
    pub(super) bytes: Vec<u8>,
    /// Later requests, unread.
    pub(super) pipelined: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline {
    pub(super) at_millis: u64,
    pub(super) timer: Timer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    Unused,
    Request,
    Idle,
}

impl Session {
    pub fn new(now_millis: u64, limits: Limits) -> Session {
        let mut session = Session::at(State::Head(Box::default()), limits, None);
        session.arm(now_millis, Timer::Unused);
        session
    }

    pub(super) fn at(state: State, limits: Limits, deadline: Option<Deadline>) -> Session {
        Session {
            limits,
            state,
            deadline,
            out: Vec::new(),
            out_lent: false,
        }
    }

    /// Takes what the peer sent and returns how many bytes of it. Fewer than given only while a request waits for its
    /// answer, or a body is being sent, and [`limits::PIPELINED_BYTES_MAX`] are kept already: give the rest again behind the answer.
    ///
    /// # Errors
    /// The peer broke the protocol. It has its answer in `poll_output`, and [`Event::Close`] with the same error follows;
    /// later input is taken and dropped. (Of a pipelined request, only `Close` tells.)
    pub fn handle_input(&mut self, now_millis: u64, input: &[u8]) -> Result<usize, Error> {
        assert!(self.is_drained(), "outputs must be drained before new input");
        self.advance(now_millis, input)
    }

    /// Ends what took too long.
    pub fn handle_timeout(&mut self, now_millis: u64) {
        assert!(self.is_drained(), "outputs must be drained before a timeout");
        let Some(deadline) = self.deadline.filter(|deadline| deadline.at_millis <= now_millis) else {
            return;
        };
        self.deadline = None;
        let cause = match deadline.timer {
            Timer::Unused => Cause::Unused,
            Timer::Idle => Cause::Idle,
            Timer::Request => {
                let seconds = self.limits.request_millis / 1000;
                let reason = format!("the request was not complete after {seconds} s");
                self.write_last_refusal(Status::RequestTimeout, ReasonFormat::Text, &reason);
                Cause::Slow
            }
        };
        self.state = State::Closing(cause);
    }

    /// When [`handle_timeout`](Session::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.deadline.map(|deadline| deadline.at_millis)
    }

    pub fn poll_output(&mut self) -> Option<Output<'_>> {
        if self.out_lent {
            self.out_lent = false;
            self.out.clear();
            // A parked or idle connection keeps no buffer.
            self.out.shrink_to(0);
        }
        if !self.out.is_empty() {
            self.out_lent = true;
            return Some(Output::Transmit(&self.out));
        }
        if let State::Closing(cause) = self.state {
            self.state = State::Closed;
            return Some(Output::Event(Event::Close(cause)));
        }
        match &mut self.state {
            State::Asked { exchange, announced } if !*announced => {
                *announced = true;
                Some(Output::Event(Event::Request(exchange.request())))
            }
            _ => None,
        }
    }

    /// The request that waits for its answer.
    pub fn request(&self) -> Option<Request<'_>> {
        match &self.state {
            State::Asked { exchange, .. } => Some(exchange.request()),
            _ => None,
        }
    }

    /// The connection is no longer HTTP's: what came behind the head of the waiting request, as far as it was taken. The
    /// session is closed, and says nothing more.
    ///
    /// # Panics
    /// As the answering methods.
    pub fn hand_over(&mut self) -> Vec<u8> {
        self.take_exchange().pipelined
    }

    /// Answers with a body of known length.
    ///
    /// # Panics
    /// This and the other answering methods: if no request waits, or if `content_type` has control characters.
    pub fn respond(&mut self, now_millis: u64, status: Status, content_type: &str, body: &[u8]) {
        let exchange = self.take_exchange();
        let Head {
            persistence, method, ..
        } = exchange.head;
        response::write_fixed(&mut self.out, status, persistence, content_type, body, method);
        self.answered(now_millis, *exchange);
    }

    /// Answers with a reason, as text or as JSON by the client's `Accept`. The connection stays usable.
    pub fn refuse(&mut self, now_millis: u64, status: Status, reason: &str) {
        let exchange = self.take_exchange();
        let Head {
            persistence,
            method,
            reason_format,
            ..
        } = exchange.head;
        response::write_refusal(&mut self.out, status, persistence, reason_format, reason, method);
        self.answered(now_millis, *exchange);
    }

    /// Answers an OPTIONS request: 204 with what a browser's preflight wants to know. `allow` names methods, by commas.
    pub fn respond_options(&mut self, now_millis: u64, allow: &str) {
        let exchange = self.take_exchange();
        response::write_options(&mut self.out, exchange.head.persistence, allow, exchange.request());
        self.answered(now_millis, *exchange);
    }

    /// Begins an endless answer. Once its head has been drained the caller sends the stream's bytes, and ends it by
    /// closing the connection; pipelined requests behind it are dropped.
    pub fn respond_stream(&mut self, now_millis: u64, content_type: &str) -> Answer {
        let exchange = self.take_exchange();
        if exchange.head.method == Method::Head {
            response::write_stream_head(&mut self.out, exchange.head.persistence, content_type);
            self.answered(now_millis, *exchange);
            return Answer::HeadOnly;
        }
        response::write_stream_head(&mut self.out, Persistence::Close, content_type);
        self.state = State::Streaming { input_bytes: 0 };
        Answer::Stream
    }

    /// Begins an answer whose body others send. Once its head has been drained, the caller sends the bytes that the head
    /// announced (for [`Answer::Body`] and [`Answer::Plain`]), and says [`body_sent`](Session::body_sent). A body that
    /// cannot be sent whole ends with the connection, by a reset: a peer may not take it for complete.
    ///
    /// # Panics
    /// If the head contradicts itself.
    pub fn respond_body(&mut self, now_millis: u64, head: &content::Head<'_>) -> Answer {
        let exchange = self.take_exchange();
        let asked = &exchange.head;
        let (framing, mut persistence) = match (head.length, asked.version) {
            (Length::Known(bytes), _) => (Framing::Length(bytes), asked.persistence),
            (Length::Chunked, Version::Http11) => (Framing::Chunked, asked.persistence),
            (Length::Chunked, Version::Http10) => (Framing::Close, asked.persistence),
        };
        let follows =
            asked.method != Method::Head && head.status != Status::NotModified && head.length != Length::Known(0);
        if !follows {
            content::write_head(&mut self.out, persistence, head, framing);
            self.answered(now_millis, *exchange);
            return Answer::HeadOnly;
        }
        if framing == Framing::Close {
            persistence = Persistence::Close;
        }
        content::write_head(&mut self.out, persistence, head, framing);
        self.state = match persistence {
            Persistence::KeepAlive => State::Sending {
                pipelined: exchange.pipelined,
            },
            Persistence::Close => State::Streaming { input_bytes: 0 },
        };
        match framing {
            Framing::Length(_) | Framing::Chunked => Answer::Body,
            Framing::Close => Answer::Plain,
        }
    }

    /// The last byte of a body is on its way: the next request is read, or the connection ends. Of one that has ended
    /// meanwhile there is nothing more to say.
    ///
    /// # Panics
    /// If none was being sent.
    pub fn body_sent(&mut self, now_millis: u64) {
        assert!(self.is_drained(), "outputs must be drained before the end of a body");
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Sending { pipelined } => self.read_on(now_millis, &pipelined),
            State::Streaming { .. } => self.state = State::Closing(Cause::Answered),
            State::Closed => {}
            state => panic!("no body is being sent in {state:?}"),
        }
    }

    /// Whether a body is being sent behind which the connection goes on.
    pub fn is_sending(&self) -> bool {
        matches!(self.state, State::Sending { .. })
    }

    /// Ends the dialogue from our side: [`Event::Close`] follows. A waiting request gets no answer.
    pub fn close(&mut self) {
        self.deadline = None;
        if !matches!(self.state, State::Closed | State::Closing(_)) {
            self.state = State::Closing(Cause::Local);
        }
    }

    /// Whether an answer is being sent by others and its head is out: the connection needs no task and no buffer.
    pub fn is_parked(&self) -> bool {
        matches!(self.state, State::Streaming { .. } | State::Sending { .. }) && self.out.is_empty()
    }

    /// This value and everything it owns, by capacity.
    pub fn bytes(&self) -> usize {
        let state = match &self.state {
            State::Head(reading) => size_of::<Reading>() + reading.bytes.capacity(),
            State::Body { exchange, .. } | State::Asked { exchange, .. } => exchange.bytes(),
            State::Sending { pipelined } => pipelined.capacity(),
            State::Streaming { .. } | State::Closing(_) | State::Closed => 0,
        };
        size_of::<Session>() + self.out.capacity() + state
    }

    /// What must hold between calls.
    ///
    /// # Panics
    /// If it does not.
    pub fn check_invariants(&self) {
        assert!(
            self.out_lent <= !self.out.is_empty(),
            "nothing is lent of an empty buffer"
        );
        match &self.state {
            State::Head(reading) => {
                assert!(self.deadline.is_some(), "a peer that must send has a deadline");
                assert!(reading.line_start <= reading.bytes.len());
                assert!(reading.headers_start <= reading.line_start);
                assert!(
                    reading.bytes.len() <= limits::REQUEST_LINE_BYTES_MAX + limits::HEADER_BLOCK_BYTES_MAX,
                    "a head is bounded"
                );
            }
            State::Body { .. } => assert!(self.deadline.is_some(), "a body has its request's deadline"),
            State::Asked { exchange, .. } => {
                assert!(self.deadline.is_none(), "the peer waits for us");
                assert!(exchange.pipelined.len() <= limits::PIPELINED_BYTES_MAX);
                assert!(exchange.pipelined_is_legal());
            }
            State::Sending { pipelined } => {
                assert!(self.deadline.is_none(), "the peer waits for the body");
                assert!(pipelined.len() <= limits::PIPELINED_BYTES_MAX);
            }
            State::Streaming { .. } | State::Closing(_) | State::Closed => assert!(self.deadline.is_none()),
        }
    }

    pub(super) fn is_drained(&self) -> bool {
        !matches!(self.state, State::Asked { announced: false, .. } | State::Closing(_)) && self.out.is_empty()
    }

    /// Runs the states over `input` until it is used up or a request waits.
    fn advance(&mut self, now_millis: u64, input: &[u8]) -> Result<usize, Error> {
        let mut taken = 0;
        loop {
            let rest = &input[taken..];
            match &mut self.state {
                State::Head(_) => {
                    if rest.is_empty() {
                        return Ok(taken);
                    }
                    taken += self.advance_head(now_millis, rest)?;
                }
                State::Body { body, exchange } => match body.take(rest, self.limits.body_bytes_max) {
                    Ok(Taken::All) => return Ok(input.len()),
                    Ok(Taken::Ended { bytes }) => {
                        taken += bytes;
                        self.body_ended();
                    }
                    Err(error) => {
                        let format = exchange.head.reason_format;
                        return Err(self.fail(error, format));
                    }
                },
                State::Asked { exchange, .. } => return Ok(taken + exchange.keep(rest)),
                State::Sending { pipelined } => return Ok(taken + keep(pipelined, rest)),
                State::Streaming { input_bytes } => {
                    let added = u32::try_from(rest.len()).unwrap_or(u32::MAX);
                    *input_bytes = input_bytes.saturating_add(added);
                    let bytes_max = limits::STREAM_INPUT_BYTES_MAX;
                    if *input_bytes > bytes_max {
                        let error = Error::StreamInputTooLong { bytes_max };
                        self.state = State::Closing(Cause::Illegal(error));
                        return Err(error);
                    }
                    return Ok(input.len());
                }
                State::Closing(_) | State::Closed => return Ok(input.len()),
            }
        }
    }

    fn advance_head(&mut self, now_millis: u64, input: &[u8]) -> Result<usize, Error> {
        let State::Head(reading) = &mut self.state else {
            return Ok(0);
        };
        let read = reading.take(input);
        if !reading.bytes.is_empty() {
            match self.deadline.map(|deadline| deadline.timer) {
                // From accept on, not from the first byte: the first request has one deadline in all.
                Some(Timer::Unused) => {
                    self.deadline = self.deadline.map(|before| Deadline {
                        timer: Timer::Request,
                        ..before
                    })
                }
                Some(Timer::Idle) => self.arm(now_millis, Timer::Request),
                Some(Timer::Request) | None => {}
            }
        }
        match read {
            Ok(Line::NeedsMore { taken }) => Ok(taken),
            Ok(Line::HeadComplete { taken }) => {
                self.head_complete()?;
                Ok(taken)
            }
            Err(error) => Err(self.fail(error, ReasonFormat::Text)),
        }
    }

    fn head_complete(&mut self) -> Result<(), Error> {
        let State::Head(reading) = &mut self.state else {
            return Ok(());
        };
        let bytes = std::mem::take(&mut reading.bytes);
        let head = match Head::parse(&bytes) {
            Ok(head) => head,
            Err(error) => return Err(self.fail(error, ReasonFormat::Text)),
        };
        let (body, format) = (head.body, head.reason_format);
        let exchange = Box::new(Exchange {
            head,
            bytes,
            pipelined: Vec::new(),
        });
        match body {
            Some(Body::Length { bytes_left }) if bytes_left > u64::from(self.limits.body_bytes_max) => {
                let error = Error::BodyTooLong {
                    bytes_max: self.limits.body_bytes_max,
                };
                return Err(self.fail(error, format));
            }
            Some(body) => self.state = State::Body { exchange, body },
            None => self.ask(exchange),
        }
        Ok(())
    }

    fn body_ended(&mut self) {
        if let State::Body { exchange, .. } = std::mem::replace(&mut self.state, State::Closed) {
            self.ask(exchange);
        }
    }

    fn ask(&mut self, exchange: Box<Exchange>) {
        self.deadline = None;
        self.state = State::Asked {
            exchange,
            announced: false,
        };
    }

    fn take_exchange(&mut self) -> Box<Exchange> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Asked {
                exchange,
                announced: true,
            } => exchange,
            state => panic!("no announced request waits for an answer in {state:?}"),
        }
    }

    /// The answer is written: the next request is read, from what came ahead first.
    fn answered(&mut self, now_millis: u64, exchange: Exchange) {
        if exchange.head.persistence == Persistence::Close {
            self.state = State::Closing(Cause::Answered);
            return;
        }
        self.read_on(now_millis, &exchange.pipelined);
    }

    fn read_on(&mut self, now_millis: u64, pipelined: &[u8]) {
        self.state = State::Head(Box::default());
        self.arm(now_millis, Timer::Idle);
        if let Ok(taken) = self.advance(now_millis, pipelined) {
            assert_eq!(taken, pipelined.len(), "what was kept once fits again");
        }
    }

    fn fail(&mut self, error: Error, format: ReasonFormat) -> Error {
        self.deadline = None;
        self.write_last_refusal(error.status(), format, &error.to_string());
        self.state = State::Closing(Cause::Illegal(error));
        error
    }

    fn write_last_refusal(&mut self, status: Status, format: ReasonFormat, reason: &str) {
        response::write_refusal(&mut self.out, status, Persistence::Close, format, reason, Method::Get);
    }

    fn arm(&mut self, now_millis: u64, timer: Timer) {
        let millis = match timer {
            Timer::Unused | Timer::Request => self.limits.request_millis,
            Timer::Idle => self.limits.idle_millis,
        };
        self.deadline = Some(Deadline {
            at_millis: now_millis.saturating_add(u64::from(millis)),
            timer,
        });
    }
}

impl Exchange {
    fn bytes(&self) -> usize {
        size_of::<Exchange>() + self.bytes.capacity() + self.pipelined.capacity() + self.head.path.capacity()
    }

    fn request(&self) -> Request<'_> {
        Request {
            head: &self.head,
            bytes: &self.bytes,
        }
    }

    pub(super) fn pipelined_is_legal(&self) -> bool {
        let room = match self.head.persistence {
            Persistence::Close if !self.head.is_tunnel => 0,
            Persistence::KeepAlive | Persistence::Close => limits::PIPELINED_BYTES_MAX,
        };
        self.pipelined.len() <= room
    }

    /// Keeps what comes behind the request; behind the last one of a connection it is dropped.
    fn keep(&mut self, input: &[u8]) -> usize {
        if self.head.persistence == Persistence::Close && !self.head.is_tunnel {
            return input.len();
        }
        keep(&mut self.pipelined, input)
    }
}

fn keep(pipelined: &mut Vec<u8>, input: &[u8]) -> usize {
    let room = limits::PIPELINED_BYTES_MAX - pipelined.len();
    let taken = input.len().min(room);
    pipelined.extend_from_slice(&input[..taken]);
    taken
}

#[cfg(test)]
mod tests;
