//! The commands of a peer and what is answered (reference/mistserver-media.md 7.3), and the decisions of the appliance.

use crate::tag::amf0::Value;

use super::super::error::Error;
use super::super::limits::{NAME_BYTES_MAX, PLAY_CHUNK_BYTES, REPORTED_BYTES_MAX, STREAMS_MAX, WINDOW_BYTES};
use super::super::wire::command::{Command, status};
use super::super::wire::message::Control;
use super::dialogue::{Activity, Application, Dialogue};
use super::{EndReason, Event, Outbox, PlayRejection, PublishKind, PublishRejection, StopReason};

impl Dialogue {
    /// `stream` is the message stream that the command came on.
    pub(super) fn handle_command(&mut self, stream: u32, command: &Command, outbox: &mut Outbox) -> Result<(), Error> {
        match command.name.as_str() {
            "connect" => self.connect(command, outbox)?,
            "createStream" => self.create_stream(command, outbox)?,
            "publish" => self.publish(stream, command, outbox)?,
            "play" => self.play(stream, command, command.argument(1), outbox)?,
            "play2" => {
                let name = command.argument(1).member("streamName").unwrap_or(&Value::Undefined);
                self.play(stream, command, name, outbox)?;
            }
            "pause" | "pauseRaw" => self.pause(command, outbox),
            "seek" => self.seek(outbox),
            "deleteStream" => self.delete_stream(command, outbox),
            "closeStream" => self.end(stream, EndReason::Closed, outbox),
            "FCUnpublish" => self.unpublish(command, outbox),
            "FCPublish" => {
                self.announced = true;
                self.result(command, vec![Value::Null, Value::Undefined], outbox);
            }
            "FCSubscribe" => {
                let fields = status("status", "NetStream.Play.Start", "Subscribed.");
                self.command(
                    0,
                    &Command::new("onFCSubscribe", 0.0, vec![Value::Null, Value::Object(fields)]),
                    outbox,
                );
            }
            "releaseStream" | "_checkbw" | "checkBandwidth" => {
                self.result(command, vec![Value::Null, Value::Undefined], outbox);
            }
            // Live: as long as 0 says.
            "getStreamLength" | "getMovLen" => self.result(command, vec![Value::Null, Value::Number(0.0)], outbox),
            "ping" => self.result(command, vec![Value::Null, "Pong!".into()], outbox),
            // Answers to what nobody asked: answered in turn they could go round for ever.
            "_result" | "_error" | "onStatus" | "onBWDone" => self.ignore(),
            // XSplit's bandwidth test ("xsbwtest") ends only by an error; others are told that there is no such call.
            _ => self.unknown(command, outbox),
        }
        Ok(())
    }

    fn connect(&mut self, command: &Command, outbox: &mut Outbox) -> Result<(), Error> {
        let object = command.object();
        let text = |name: &str| object.member(name).and_then(Value::as_str).unwrap_or_default();
        let (name, query) = cut_query(text("app"));
        let name = name.trim_matches('/');
        // FMLE names the application's only instance, in words that Flash servers know.
        let name = name.strip_suffix("/_definst_").unwrap_or(name);
        self.check_name(name)?;
        self.check_name(query)?;
        self.application = Some(Application {
            name: name.into(),
            query: query.into(),
        });
        // The chunk size stands before the answer: OBS 25, which says it is FMLE, wants it so, and nobody minds.
        self.control(Control::WindowAckSize(WINDOW_BYTES), outbox);
        self.control(
            Control::PeerBandwidth {
                window: WINDOW_BYTES,
                limit: BANDWIDTH_HARD,
            },
            outbox,
        );
        if self.chunk_bytes != PLAY_CHUNK_BYTES {
            self.control(Control::SetChunkSize(PLAY_CHUNK_BYTES), outbox);
            self.chunk_bytes = PLAY_CHUNK_BYTES;
        }
        self.command(0, &connected(command), outbox);
        outbox.events.push(Event::Connected {
            app: name.to_owned(),
            tc_url: cut(text("tcUrl")),
            flash_ver: cut(text("flashVer")),
        });
        Ok(())
    }

    fn create_stream(&mut self, command: &Command, outbox: &mut Outbox) -> Result<(), Error> {
        self.application()?;
        // The lowest free id: a publisher that deletes and creates again stays on 1, and feeds are shared by id.
        let stream = self.streams.trailing_ones() + 1;
        if stream > STREAMS_MAX {
            self.error(
                command,
                "NetConnection.Call.Failed",
                "Too many streams on this connection.",
                outbox,
            );
            return Ok(());
        }
        self.streams |= bit(stream);
        self.result(command, vec![Value::Null, Value::Number(f64::from(stream))], outbox);
        Ok(())
    }

    fn publish(&mut self, stream: u32, command: &Command, outbox: &mut Outbox) -> Result<(), Error> {
        let (app, name, query) = self.names(command.argument(1))?;
        let stream_id = self.claim(stream);
        match self.activity {
            Activity::Publishing(running) if running == stream_id => self.end(running, EndReason::Replaced, outbox),
            Activity::Idle => {}
            _ => {
                let description = "This connection publishes or plays already.";
                self.on_status(stream_id, "error", "NetStream.Publish.BadName", description, outbox);
                return Ok(());
            }
        }
        let kind = match command.argument(2).as_str() {
            Some("record") => PublishKind::Record,
            Some("append") => PublishKind::Append,
            _ => PublishKind::Live,
        };
        self.activity = Activity::PublishAsked(stream_id);
        outbox.events.push(Event::PublishRequested {
            stream_id,
            app,
            name,
            query,
            kind,
        });
        Ok(())
    }

    fn play(&mut self, stream: u32, _: &Command, name: &Value, outbox: &mut Outbox) -> Result<(), Error> {
        let (app, name, query) = self.names(name)?;
        let stream_id = self.claim(stream);
        match self.activity {
            Activity::Playing(running) | Activity::Paused(running) => self.end(running, EndReason::Replaced, outbox),
            Activity::Idle => {}
            _ => {
                let description = "This connection publishes.";
                self.on_status(stream_id, "error", "NetStream.Play.Failed", description, outbox);
                return Ok(());
            }
        }
        self.activity = Activity::PlayAsked(stream_id);
        outbox.events.push(Event::PlayRequested {
            stream_id,
            app,
            name,
            query,
        });
        Ok(())
    }

    fn pause(&mut self, command: &Command, outbox: &mut Outbox) {
        match (self.activity, command.argument(1).as_bool().unwrap_or(true)) {
            (Activity::Playing(stream_id), true) => {
                self.activity = Activity::Paused(stream_id);
                self.on_status(stream_id, "status", "NetStream.Pause.Notify", "Paused.", outbox);
                outbox.events.push(Event::Paused { stream_id });
            }
            (Activity::Paused(stream_id), false) => {
                self.activity = Activity::Playing(stream_id);
                self.on_status(stream_id, "status", "NetStream.Unpause.Notify", "Goes on live.", outbox);
                outbox.events.push(Event::Resumed { stream_id });
            }
            _ => self.ignore(),
        }
    }

    fn seek(&mut self, outbox: &mut Outbox) {
        match self.activity {
            Activity::Playing(stream_id) | Activity::Paused(stream_id) => {
                self.on_status(
                    stream_id,
                    "error",
                    "NetStream.Seek.Failed",
                    "A live stream has no past.",
                    outbox,
                );
                outbox.events.push(Event::SeekRefused { stream_id });
            }
            _ => self.ignore(),
        }
    }

    fn delete_stream(&mut self, command: &Command, outbox: &mut Outbox) {
        let Some(stream) = command.argument(1).as_number().map(|number| number as u32) else {
            self.ignore();
            return;
        };
        if self.activity.stream() == Some(stream) {
            self.end(stream, EndReason::Deleted, outbox);
        }
        if (1..=STREAMS_MAX).contains(&stream) {
            self.streams &= !bit(stream);
        }
    }

    fn unpublish(&mut self, command: &Command, outbox: &mut Outbox) {
        self.announced = false;
        let fields = status("status", "NetStream.Unpublish.Success", "Unpublished.");
        self.command(
            0,
            &Command::new("onFCUnpublish", 0.0, vec![Value::Null, Value::Object(fields)]),
            outbox,
        );
        self.result(command, vec![Value::Null, Value::Undefined], outbox);
        if let Activity::Publishing(stream) = self.activity {
            self.end(stream, EndReason::Unpublished, outbox);
        }
    }

    /// The publish or play on `stream` ends at the peer's wish; 0 stands for whichever runs.
    fn end(&mut self, stream: u32, reason: EndReason, outbox: &mut Outbox) {
        let stream_id = match self.activity.stream() {
            Some(running) if stream == running || stream == 0 => running,
            _ => return self.ignore(),
        };
        match self.activity {
            Activity::Publishing(_) => {
                self.on_status(
                    stream_id,
                    "status",
                    "NetStream.Unpublish.Success",
                    "Unpublished.",
                    outbox,
                );
                outbox.events.push(Event::PublishEnded { stream_id, reason });
            }
            _ => {
                self.control(Control::StreamEof(stream_id), outbox);
                self.on_status(stream_id, "status", "NetStream.Play.Stop", "Stopped.", outbox);
                outbox.events.push(Event::PlayEnded { stream_id, reason });
            }
        }
        self.activity = Activity::Idle;
    }

    fn unknown(&mut self, command: &Command, outbox: &mut Outbox) {
        if command.transaction > 0.0 {
            self.error(command, "NetConnection.Call.Failed", "No such call.", outbox);
        } else {
            self.ignore();
        }
    }

    fn application(&self) -> Result<&Application, Error> {
        self.application.as_ref().ok_or(Error::NotConnected {
            offset: self.reader.taken(),
        })
    }

    /// Application, name and joined query of a publish or play.
    fn names(&self, name: &Value) -> Result<(String, String, String), Error> {
        let application = self.application()?;
        let (name, query) = cut_query(name.as_str().unwrap_or_default());
        self.check_name(name)?;
        self.check_name(query)?;
        let query = match (&*application.query, query) {
            (first, "") => first.to_owned(),
            ("", second) => second.to_owned(),
            (first, second) => format!("{first}&{second}"),
        };
        Ok((application.name.to_string(), name.to_owned(), query))
    }

    /// The stream that a publish or play is for: encoders that name one they never created, or none, are served.
    fn claim(&mut self, stream: u32) -> u32 {
        let stream = stream.clamp(1, STREAMS_MAX);
        self.streams |= bit(stream);
        stream
    }

    fn check_name(&self, name: &str) -> Result<(), Error> {
        if name.len() > NAME_BYTES_MAX {
            let offset = self.reader.taken();
            return Err(Error::NameTooLong {
                offset,
                bytes: name.len(),
                bytes_max: NAME_BYTES_MAX,
            });
        }
        Ok(())
    }

    fn result(&self, command: &Command, values: Vec<Value>, outbox: &mut Outbox) {
        if command.transaction > 0.0 {
            self.command(0, &Command::new("_result", command.transaction, values), outbox);
        }
    }

    fn error(&self, command: &Command, code: &str, description: &str, outbox: &mut Outbox) {
        let fields = Value::Object(status("error", code, description));
        self.command(
            0,
            &Command::new("_error", command.transaction, vec![Value::Null, fields]),
            outbox,
        );
    }

    fn on_status(&self, stream: u32, level: &str, code: &str, description: &str, outbox: &mut Outbox) {
        let fields = Value::Object(status(level, code, description));
        self.command(
            stream,
            &Command::new("onStatus", 0.0, vec![Value::Null, fields]),
            outbox,
        );
    }
}

/// The decisions of the appliance.
impl Dialogue {
    pub(super) fn accept_publish(&mut self, outbox: &mut Outbox) {
        let Activity::PublishAsked(stream) = self.activity else {
            panic!("no publish is asked for");
        };
        self.activity = Activity::Publishing(stream);
        if std::mem::take(&mut self.announced) {
            let fields = status("status", "NetStream.Publish.Start", "Publishing.");
            self.command(
                0,
                &Command::new("onFCPublish", 0.0, vec![Value::Null, Value::Object(fields)]),
                outbox,
            );
        }
        self.on_status(stream, "status", "NetStream.Publish.Start", "Publishing.", outbox);
        self.control(Control::StreamBegin(stream), outbox);
    }

    pub(super) fn reject_publish(&mut self, rejection: PublishRejection, description: &str, outbox: &mut Outbox) {
        let Activity::PublishAsked(stream) = self.activity else {
            panic!("no publish is asked for");
        };
        let code = match rejection {
            PublishRejection::BadName => "NetStream.Publish.BadName",
            PublishRejection::Rejected => "NetStream.Publish.Rejected",
            PublishRejection::Unauthorized => "NetStream.Publish.Unauthorized",
            PublishRejection::Failed => "NetStream.Failed",
        };
        self.on_status(stream, "error", code, description, outbox);
    }

    pub(super) fn accept_play(&mut self, outbox: &mut Outbox) {
        let Activity::PlayAsked(stream) = self.activity else {
            panic!("no play is asked for");
        };
        debug_assert_eq!(
            self.chunk_bytes, PLAY_CHUNK_BYTES,
            "announced with the answer to connect"
        );
        self.activity = Activity::Playing(stream);
        self.control(Control::StreamBegin(stream), outbox);
        self.on_status(
            stream,
            "status",
            "NetStream.Play.Reset",
            "Plays from its beginning here.",
            outbox,
        );
        // NetStream.Data.Start is left out: ffmpeg makes an empty data stream of it.
        self.on_status(stream, "status", "NetStream.Play.Start", "Plays.", outbox);
    }

    pub(super) fn reject_play(&mut self, rejection: PlayRejection, description: &str, outbox: &mut Outbox) {
        let Activity::PlayAsked(stream) = self.activity else {
            panic!("no play is asked for");
        };
        let code = match rejection {
            PlayRejection::StreamNotFound => "NetStream.Play.StreamNotFound",
            // Players know no code for it.
            PlayRejection::Unauthorized | PlayRejection::Failed => "NetStream.Play.Failed",
        };
        self.on_status(stream, "error", code, description, outbox);
    }

    /// Whether a play ran.
    pub(super) fn play_stopped(&mut self, reason: StopReason, outbox: &mut Outbox) -> bool {
        let (Activity::Playing(stream) | Activity::Paused(stream)) = self.activity else {
            return false;
        };
        let description = reason.describe();
        self.control(Control::StreamEof(stream), outbox);
        self.on_status(stream, "status", "NetStream.Play.Stop", description, outbox);
        self.on_status(stream, "status", "NetStream.Play.UnpublishNotify", description, outbox);
        true
    }

    /// Whether a publish ran.
    pub(super) fn publish_stopped(&mut self, reason: StopReason, outbox: &mut Outbox) -> bool {
        let Activity::Publishing(stream) = self.activity else {
            return false;
        };
        let code = match reason {
            StopReason::Replaced => "NetStream.Publish.BadName",
            _ => "NetStream.Publish.Rejected",
        };
        self.on_status(stream, "error", code, reason.describe(), outbox);
        true
    }
}

impl Activity {
    fn stream(self) -> Option<u32> {
        match self {
            Activity::Idle => None,
            Activity::PublishAsked(stream)
            | Activity::PlayAsked(stream)
            | Activity::Publishing(stream)
            | Activity::Playing(stream)
            | Activity::Paused(stream) => Some(stream),
        }
    }
}

impl StopReason {
    fn describe(self) -> &'static str {
        match self {
            StopReason::StreamEnded => "The stream has ended.",
            StopReason::Replaced => "Another publisher took the stream over.",
            StopReason::ServerClosing => "The server closes this connection.",
            StopReason::TooSlow => "The connection did not keep up with the stream.",
        }
    }
}

fn connected(command: &Command) -> Command {
    let object = command.object();
    let number = |name: &str, value: f64| (name.to_owned(), Value::Number(value));
    let server = vec![
        ("fmsVer".to_owned(), "FMS/3,5,5,2004".into()),
        number("capabilities", 31.0),
        number("mode", 1.0),
    ];
    let mut fields = status("status", "NetConnection.Connect.Success", "Connected.");
    let encoding = object
        .member("objectEncoding")
        .and_then(Value::as_number)
        .unwrap_or(0.0);
    fields.push(number("objectEncoding", encoding));
    let enhanced = ["capsEx", "fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap"];
    if enhanced.iter().any(|name| object.member(name).is_some()) {
        let list = FOUR_CCS_VIDEO.iter().chain(FOUR_CCS_AUDIO);
        let map =
            |four_ccs: &[&str]| Value::Object(four_ccs.iter().map(|&name| number(name, FOUR_CC_ABILITIES)).collect());
        fields.push(number("capsEx", CAPS_EX));
        fields.push((
            "fourCcList".to_owned(),
            Value::StrictArray(list.map(|&name| name.into()).collect()),
        ));
        fields.push(("videoFourCcInfoMap".to_owned(), map(FOUR_CCS_VIDEO)));
        fields.push(("audioFourCcInfoMap".to_owned(), map(FOUR_CCS_AUDIO)));
    }
    Command::new(
        "_result",
        command.transaction,
        vec![Value::Object(server), Value::Object(fields)],
    )
}

fn cut_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(REPORTED_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn bit(stream: u32) -> u8 {
    debug_assert!((1..=STREAMS_MAX).contains(&stream));
    1 << (stream - 1)
}

const BANDWIDTH_HARD: u8 = 0;
/// Enhanced RTMP: multitrack (2), ModEx (4) and nanosecond offsets (8) are understood; reconnect (1) is never asked for.
const CAPS_EX: f64 = 14.0;
/// Decode, encode and forward: what we take in and hand on, in the terms of a peer that asks what it may send and get.
const FOUR_CC_ABILITIES: f64 = 7.0;
const FOUR_CCS_VIDEO: &[&str] = &["av01", "avc1", "hvc1", "vp08", "vp09"];
const FOUR_CCS_AUDIO: &[&str] = &["ac-3", "ec-3", "Opus", ".mp3", "fLaC", "mp4a"];
