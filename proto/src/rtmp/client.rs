//! The client's side of a connection, publisher or player: what the tests and benches speak to a [`super::Session`],
//! and what a push speaks to another server.
//!
//! It asks for one thing, in the order that ffmpeg has: handshake, `connect`, `createStream`, `publish` or `play`. It is
//! no player: media come out as they came.

use crate::tag::MessageKind;
use crate::tag::amf0::Value;

use super::error::Error;
use super::limits::{CHUNK_BYTES_DEFAULT, CHUNK_BYTES_MAX};
use super::session::Output;
use super::wire::chunk::{Message, Reader, write_message};
use super::wire::command::Command;
use super::wire::handshake::{Form, HELLO_BYTES, PACKET_BYTES, confirm, hello};
use super::wire::message::{self, Control};

/// How a client speaks.
#[derive(Clone, Debug)]
pub struct Options {
    pub form: Form,
    /// Of what it sends; announced when it is not the default of 128. 1 to 16,777,215.
    pub chunk_bytes: u32,
    /// Makes the handshake's random bytes.
    pub seed: u64,
    pub flash_ver: String,
    /// Enhanced RTMP's list of codecs, left out when empty.
    pub four_ccs: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            form: Form::Simple,
            chunk_bytes: 4096,
            seed: 1,
            flash_ver: "FMLE/3.0 (compatible; penstock)".to_owned(),
            four_ccs: Vec::new(),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Client {
    options: Options,
    wish: Wish,
    app: String,
    tc_url: String,
    name: String,
    stage: Stage,
    reader: Reader,
    stream: u32,
    chunk_bytes: u32,
    out: Vec<u8>,
    lent: bool,
    media: Option<(MessageKind, Message)>,
    events: Vec<Event>,
}

/// A fact about the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The answer to `connect`, with its second object's members.
    Connected(Vec<(String, Value)>),
    /// Media may be sent, on this message stream.
    Publishing { message_stream: u32 },
    /// Media come.
    Playing { message_stream: u32 },
    /// An `onStatus` of level error, or an `_error` to one of our calls.
    Refused { code: String, description: String },
    /// Any other `onStatus`.
    Status { code: String },
    /// Any other command, as it came.
    Called(Command),
    /// A control message that is not answered or obeyed silently.
    Control(Control),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Publish,
    Play,
}

#[derive(Debug)]
enum Stage {
    /// S0, S1 and S2 as far as they came.
    Handshake(Vec<u8>),
    Messages,
}

impl Client {
    pub fn publish(options: Options, app: &str, tc_url: &str, name: &str) -> Client {
        Client::new(options, Wish::Publish, app, tc_url, name)
    }

    pub fn play(options: Options, app: &str, tc_url: &str, name: &str) -> Client {
        Client::new(options, Wish::Play, app, tc_url, name)
    }

    fn new(options: Options, wish: Wish, app: &str, tc_url: &str, name: &str) -> Client {
        assert!((1..=CHUNK_BYTES_MAX).contains(&options.chunk_bytes));
        let mut out = Vec::new();
        hello(options.form, options.seed, &mut out);
        Client {
            options,
            wish,
            app: app.to_owned(),
            tc_url: tc_url.to_owned(),
            name: name.to_owned(),
            stage: Stage::Handshake(Vec::new()),
            reader: Reader::new(0),
            stream: 0,
            chunk_bytes: CHUNK_BYTES_DEFAULT,
            out,
            lent: false,
            media: None,
            events: Vec::new(),
        }
    }

    /// As [`super::Session::handle_input`], without anything to wait for. A client has no timers of its own.
    pub fn handle_input(&mut self, _now_ms: u64, input: &[u8]) -> Result<usize, Error> {
        if !self.out.is_empty() || self.lent || self.media.is_some() || !self.events.is_empty() {
            return Ok(0);
        }
        if let Stage::Handshake(came) = &mut self.stage {
            let part = input.len().min(REPLY_BYTES - came.len());
            came.extend_from_slice(&input[..part]);
            if came.len() == REPLY_BYTES {
                let s1 = came[..HELLO_BYTES].try_into().expect("a slice of that length");
                confirm(self.options.form, s1, self.options.seed, &mut self.out)?;
                self.stage = Stage::Messages;
                self.reader = Reader::new(REPLY_BYTES as u64);
                self.connect();
            }
            return Ok(part);
        }
        let mut at = 0;
        loop {
            let (taken, message) = self.reader.read(&input[at..])?;
            at += taken;
            let Some(message) = message else {
                return Ok(at);
            };
            self.message(message)?;
            if !self.out.is_empty() || self.media.is_some() || !self.events.is_empty() {
                return Ok(at);
            }
        }
    }

    /// As [`super::Session::poll_output`].
    pub fn poll_output(&mut self) -> Option<Output<'_, Event>> {
        if std::mem::take(&mut self.lent) {
            self.out.clear();
        }
        if !self.out.is_empty() {
            self.lent = true;
            return Some(Output::Transmit(&self.out));
        }
        if let Some((kind, message)) = self.media.take() {
            let (timestamp, message_stream) = (message.timestamp, message.message_stream);
            return Some(Output::Media {
                kind,
                timestamp,
                message_stream,
                body: self.reader.body(),
            });
        }
        if !self.events.is_empty() {
            return Some(Output::Event(self.events.remove(0)));
        }
        None
    }

    /// Appends one media message to `out`; nothing before [`Event::Publishing`] would be taken.
    pub fn send_media(&self, kind: MessageKind, timestamp: u32, body: &[u8], out: &mut Vec<u8>) {
        let (csid, kind) = match kind {
            MessageKind::Audio => (CSID_AUDIO, message::AUDIO),
            MessageKind::Video => (CSID_VIDEO, message::VIDEO),
            MessageKind::Script => (CSID_AUDIO, message::DATA),
        };
        write_message(
            Message {
                csid,
                kind,
                timestamp,
                message_stream: self.stream,
            },
            self.chunk_bytes,
            body,
            out,
        );
    }

    /// Appends any command; `stream` is the message stream that it goes on.
    pub fn send_command(&self, stream: u32, command: &Command, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        command.emit(&mut body);
        let message = Message {
            csid: CSID_COMMAND,
            kind: message::COMMAND,
            timestamp: 0,
            message_stream: stream,
        };
        write_message(message, self.chunk_bytes, &body, out);
    }

    /// Appends any control message.
    pub fn send_control(&self, control: Control, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        let kind = control.emit(&mut body);
        write_message(
            Message {
                csid: CSID_CONTROL,
                kind,
                timestamp: 0,
                message_stream: 0,
            },
            self.chunk_bytes,
            &body,
            out,
        );
    }

    /// Appends what ends a publish or play in good manners.
    pub fn send_end(&self, out: &mut Vec<u8>) {
        if self.wish == Wish::Publish {
            self.send_command(
                0,
                &Command::new("FCUnpublish", 6.0, vec![Value::Null, self.name.as_str().into()]),
                out,
            );
        }
        let stream = Value::Number(f64::from(self.stream));
        self.send_command(0, &Command::new("deleteStream", 7.0, vec![Value::Null, stream]), out);
    }

    fn connect(&mut self) {
        let mut object: Vec<(String, Value)> = [
            ("app", self.app.as_str()),
            ("type", "nonprivate"),
            ("flashVer", self.options.flash_ver.as_str()),
            ("tcUrl", self.tc_url.as_str()),
        ]
        .into_iter()
        .map(|(name, text)| (name.to_owned(), text.into()))
        .collect();
        if !self.options.four_ccs.is_empty() {
            let list = self.options.four_ccs.iter().map(|name| name.as_str().into()).collect();
            object.push(("fourCcList".to_owned(), Value::StrictArray(list)));
        }
        self.call(0, Command::new("connect", CONNECT, vec![Value::Object(object)]));
    }

    fn message(&mut self, message: Message) -> Result<(), Error> {
        let offset = self.reader.taken();
        match message.kind {
            message::AUDIO => self.media = Some((MessageKind::Audio, message)),
            message::VIDEO => self.media = Some((MessageKind::Video, message)),
            message::DATA => self.media = Some((MessageKind::Script, message)),
            message::COMMAND => {
                let command = Command::parse(self.reader.body(), offset)?;
                self.command(command);
            }
            kind => match Control::parse(kind, self.reader.body(), offset)? {
                Some(Control::SetChunkSize(bytes)) => self.reader.set_chunk_bytes(bytes)?,
                Some(Control::Abort(csid)) => self.reader.abort(csid),
                Some(Control::PingRequest(stamp)) => {
                    let mut out = std::mem::take(&mut self.out);
                    self.send_control(Control::PingResponse(stamp), &mut out);
                    self.out = out;
                }
                Some(control) => self.events.push(Event::Control(control)),
                None => {}
            },
        }
        Ok(())
    }

    fn command(&mut self, command: Command) {
        let text = |name: &str| {
            command
                .argument(1)
                .member(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        match (command.name.as_str(), command.transaction) {
            ("_result", CONNECT) => {
                let members = command.argument(1).members().unwrap_or_default().to_vec();
                self.events.push(Event::Connected(members));
                self.ask_for_stream();
            }
            ("_result", CREATE_STREAM) => {
                self.stream = command.argument(1).as_number().unwrap_or(1.0) as u32;
                self.ask_for_wish();
            }
            ("_error", transaction) if transaction <= CREATE_STREAM => {
                self.events.push(Event::Refused {
                    code: text("code"),
                    description: text("description"),
                });
            }
            ("onStatus", _) if text("level") == "error" => {
                self.events.push(Event::Refused {
                    code: text("code"),
                    description: text("description"),
                });
            }
            ("onStatus", _) => self.events.push(match text("code").as_str() {
                "NetStream.Publish.Start" => Event::Publishing {
                    message_stream: self.stream,
                },
                "NetStream.Play.Start" => Event::Playing {
                    message_stream: self.stream,
                },
                code => Event::Status { code: code.to_owned() },
            }),
            _ => self.events.push(Event::Called(command)),
        }
    }

    fn ask_for_stream(&mut self) {
        if self.options.chunk_bytes != CHUNK_BYTES_DEFAULT {
            let mut out = std::mem::take(&mut self.out);
            self.send_control(Control::SetChunkSize(self.options.chunk_bytes), &mut out);
            self.out = out;
            self.chunk_bytes = self.options.chunk_bytes;
        }
        if self.wish == Wish::Publish {
            let name = Value::from(self.name.as_str());
            self.call(0, Command::new("releaseStream", 2.0, vec![Value::Null, name.clone()]));
            self.call(0, Command::new("FCPublish", 3.0, vec![Value::Null, name]));
        }
        self.call(0, Command::new("createStream", CREATE_STREAM, vec![Value::Null]));
    }

    fn ask_for_wish(&mut self) {
        let name = Value::from(self.name.as_str());
        let command = match self.wish {
            Wish::Publish => Command::new("publish", 5.0, vec![Value::Null, name, "live".into()]),
            Wish::Play => Command::new("play", 5.0, vec![Value::Null, name, Value::Number(LIVE_OR_RECORDED)]),
        };
        self.call(self.stream, command);
    }

    fn call(&mut self, stream: u32, command: Command) {
        let mut out = std::mem::take(&mut self.out);
        self.send_command(stream, &command, &mut out);
        self.out = out;
    }
}

const REPLY_BYTES: usize = HELLO_BYTES + PACKET_BYTES;
const CONNECT: f64 = 1.0;
const CREATE_STREAM: f64 = 4.0;
/// `start` of `play` that leaves the choice to the server.
const LIVE_OR_RECORDED: f64 = -2000.0;
const CSID_CONTROL: u32 = 2;
const CSID_COMMAND: u32 = 3;
const CSID_AUDIO: u32 = 4;
const CSID_VIDEO: u32 = 6;
