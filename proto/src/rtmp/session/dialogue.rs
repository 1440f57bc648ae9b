//! After the handshake: messages in, control answered, media handed on, silence noticed.

use super::super::error::Error;
use super::super::limits::{
    ACKNOWLEDGE_DIVISOR, CHUNK_BYTES_DEFAULT, DIALOGUE_IDLE_MILLIS_MAX, PING_MILLIS, PLAYER_SILENT_MILLIS_MAX,
    PUBLISHER_IDLE_MILLIS_MAX, PUBLISHER_MESSAGE_MILLIS_MAX, REASSEMBLY_BYTES_MAX, REASSEMBLY_BYTES_MAX_UNPUBLISHED,
    WINDOW_BYTES, WINDOW_BYTES_MIN,
};
use super::super::wire::chunk::{Message, Reader, write_message};
use super::super::wire::command::Command;
use super::super::wire::message::{self, Control, Part};
use super::{Counters, Outbox, Output};
use crate::tag::MessageKind;

#[derive(Debug)]
pub(super) struct Dialogue {
    pub(super) reader: Reader,
    /// What `connect` named; None before it.
    pub(super) application: Option<Application>,
    pub(super) activity: Activity,
    /// Message stream `n` exists if bit `n - 1` is set.
    pub(super) streams: u8,
    /// FCPublish came and was not yet followed up.
    pub(super) announced: bool,
    /// The peer's pings were answered once, so that its silence means something.
    pub(super) answers_pings: bool,
    pub(super) pinged_ms: u64,
    /// When the activity last changed, and of a publisher when a medium last was complete.
    pub(super) since_ms: u64,
    pub(super) chunk_bytes: u32,
    pub(super) window: Option<u32>,
    pub(super) acknowledged: u64,
    pub(super) ignored: u32,
    pub(super) media: Media,
}

#[derive(Debug, PartialEq)]
pub(super) struct Application {
    pub(super) name: Box<str>,
    pub(super) query: Box<str>,
}

/// What the connection does; streams by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    Idle,
    PublishAsked(u32),
    PlayAsked(u32),
    Publishing(u32),
    Playing(u32),
    Paused(u32),
}

/// What is to be handed on of the reader's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    None,
    One {
        kind: MessageKind,
        timestamp: u32,
        begin: usize,
        end: usize,
    },
    /// The parts from `at` on; `shift` is to be added to their times.
    Aggregate {
        at: usize,
        shift: u32,
    },
}

impl Dialogue {
    /// `taken` bytes were the handshake.
    pub(super) fn new(now_ms: u64, taken: u64) -> Self {
        let mut dialogue = Dialogue {
            reader: Reader::new(taken),
            application: None,
            activity: Activity::Idle,
            streams: 0,
            announced: false,
            answers_pings: false,
            pinged_ms: 0,
            since_ms: now_ms,
            chunk_bytes: CHUNK_BYTES_DEFAULT,
            window: None,
            acknowledged: 0,
            ignored: 0,
            media: Media::None,
        };
        dialogue.bound_memory();
        dialogue
    }

    /// Unfinished messages of whoever was not let in take little.
    pub(super) fn bound_memory(&mut self) {
        self.reader.set_held_bytes_max(match self.activity {
            Activity::PublishAsked(_) | Activity::Publishing(_) => REASSEMBLY_BYTES_MAX,
            _ => REASSEMBLY_BYTES_MAX_UNPUBLISHED,
        });
    }

    pub(super) fn handle_input(&mut self, now_ms: u64, input: &[u8], outbox: &mut Outbox) -> Result<usize, Error> {
        let mut at = 0;
        loop {
            let (taken, message) = self.reader.read(&input[at..])?;
            at += taken;
            let Some(message) = message else {
                return Ok(at);
            };
            let before = self.activity;
            self.message(message, outbox)?;
            if self.activity != before {
                self.since_ms = now_ms;
                self.bound_memory();
            } else if self.has_media() {
                self.since_ms = now_ms;
            }
            if !outbox.is_empty() || self.has_media() {
                return Ok(at);
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now_ms: u64, heard_ms: u64, outbox: &mut Outbox) -> Result<(), Error> {
        let silent = now_ms.saturating_sub(heard_ms);
        let stands = now_ms.saturating_sub(self.since_ms);
        match self.activity {
            Activity::PublishAsked(_) | Activity::PlayAsked(_) => {}
            Activity::Idle if stands >= DIALOGUE_IDLE_MILLIS_MAX => return Err(Error::NothingAsked { millis: stands }),
            Activity::Publishing(_) if silent >= PUBLISHER_IDLE_MILLIS_MAX => {
                return Err(Error::Idle { millis: silent });
            }
            Activity::Publishing(_) if stands >= PUBLISHER_MESSAGE_MILLIS_MAX => {
                return Err(Error::MessageSlow { millis: stands });
            }
            Activity::Idle | Activity::Publishing(_) => {}
            Activity::Playing(_) | Activity::Paused(_) => {
                if self.answers_pings && silent >= PLAYER_SILENT_MILLIS_MAX {
                    return Err(Error::Idle { millis: silent });
                }
                if now_ms >= self.ping_due_ms(heard_ms) {
                    self.pinged_ms = now_ms;
                    self.control(Control::PingRequest(now_ms as u32), outbox);
                }
            }
        }
        Ok(())
    }

    pub(super) fn deadline_ms(&self, heard_ms: u64) -> Option<u64> {
        match self.activity {
            Activity::PublishAsked(_) | Activity::PlayAsked(_) => None,
            Activity::Idle => Some(self.since_ms.saturating_add(DIALOGUE_IDLE_MILLIS_MAX)),
            Activity::Publishing(_) => {
                let slow = self.since_ms.saturating_add(PUBLISHER_MESSAGE_MILLIS_MAX);
                Some(slow.min(heard_ms.saturating_add(PUBLISHER_IDLE_MILLIS_MAX)))
            }
            Activity::Playing(_) | Activity::Paused(_) => {
                let ping = self.ping_due_ms(heard_ms);
                match self.answers_pings {
                    true => Some(ping.min(heard_ms.saturating_add(PLAYER_SILENT_MILLIS_MAX))),
                    false => Some(ping),
                }
            }
        }
    }

    pub(super) fn awaits_decision(&self) -> bool {
        matches!(self.activity, Activity::PublishAsked(_) | Activity::PlayAsked(_))
    }

    pub(super) fn has_media(&self) -> bool {
        self.media != Media::None
    }

    /// The next of the message's media, always a [`Media::One`].
    pub(super) fn next_media(&mut self) -> Option<Media> {
        let (at, shift) = match self.media {
            Media::None => return None,
            Media::One { .. } => return Some(std::mem::replace(&mut self.media, Media::None)),
            Media::Aggregate { at, shift } => (at, shift),
        };
        let (part, kind) = next_part(self.reader.body(), at)?;
        self.media = match next_part(self.reader.body(), part.next()) {
            Some(_) => Media::Aggregate { at: part.next(), shift },
            None => Media::None,
        };
        let timestamp = part.timestamp.wrapping_add(shift);
        Some(Media::One {
            kind,
            timestamp,
            begin: part.begin,
            end: part.end,
        })
    }

    pub(super) fn lend(&self, media: &Media) -> Output<'_> {
        let (
            Media::One {
                kind,
                timestamp,
                begin,
                end,
            },
            Activity::Publishing(stream),
        ) = (*media, self.activity)
        else {
            unreachable!("next_media gives one, and only of a publish");
        };
        Output::Media {
            kind,
            timestamp,
            message_stream: stream,
            body: &self.reader.body()[begin..end],
        }
    }

    pub(super) fn counters(&self) -> Counters {
        Counters {
            messages_ignored: self.ignored,
            messages_cut: self.reader.cut(),
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let names = self
            .application
            .as_ref()
            .map_or(0, |application| application.name.len() + application.query.len());
        names + self.reader.heap_bytes()
    }

    /// Gives memory back unless media come in all the time; whether they do.
    pub(super) fn park(&mut self) -> bool {
        match self.activity {
            Activity::Publishing(_) => {
                self.reader.release();
                true
            }
            _ => {
                self.reader.park();
                false
            }
        }
    }

    pub(super) fn ignore(&mut self) {
        self.ignored = self.ignored.saturating_add(1);
    }

    /// Appends a control message.
    pub(super) fn control(&self, control: Control, outbox: &mut Outbox) {
        let mut body = Vec::with_capacity(16);
        let kind = control.emit(&mut body);
        self.write(
            Message {
                csid: CSID_CONTROL,
                kind,
                timestamp: 0,
                message_stream: 0,
            },
            &body,
            outbox,
        );
    }

    /// Appends a command on message stream `stream`.
    pub(super) fn command(&self, stream: u32, command: &Command, outbox: &mut Outbox) {
        let mut body = Vec::with_capacity(256);
        command.emit(&mut body);
        let message = Message {
            csid: CSID_COMMAND,
            kind: message::COMMAND,
            timestamp: 0,
            message_stream: stream,
        };
        self.write(message, &body, outbox);
    }

    fn write(&self, message: Message, body: &[u8], outbox: &mut Outbox) {
        write_message(message, self.chunk_bytes, body, &mut outbox.bytes);
    }

    fn ping_due_ms(&self, heard_ms: u64) -> u64 {
        heard_ms.max(self.pinged_ms).saturating_add(PING_MILLIS)
    }

    fn message(&mut self, message: Message, outbox: &mut Outbox) -> Result<(), Error> {
        let offset = self.reader.taken();
        let body = self.reader.body();
        match message.kind {
            message::AUDIO => self.media(MessageKind::Audio, message.timestamp, 0),
            message::VIDEO => self.media(MessageKind::Video, message.timestamp, 0),
            message::DATA => self.media(MessageKind::Script, message.timestamp, 0),
            message::DATA_AMF3 => {
                let lead = body.len() - message::without_amf3_lead(body).len();
                self.media(MessageKind::Script, message.timestamp, lead);
            }
            message::COMMAND | message::COMMAND_AMF3 => {
                let body = match message.kind {
                    message::COMMAND_AMF3 => message::without_amf3_lead(body),
                    _ => body,
                };
                let command = Command::parse(body, offset)?;
                self.handle_command(message.message_stream, &command, outbox)?;
            }
            message::AGGREGATE => self.aggregate(message.timestamp),
            kind => match Control::parse(kind, body, offset)? {
                Some(control) => self.handle_control(control, outbox)?,
                None => self.ignore(),
            },
        }
        Ok(())
    }

    fn handle_control(&mut self, control: Control, outbox: &mut Outbox) -> Result<(), Error> {
        match control {
            Control::SetChunkSize(bytes) => self.reader.set_chunk_bytes(bytes)?,
            Control::Abort(csid) => self.reader.abort(csid),
            Control::WindowAckSize(bytes) => self.window = Some(bytes.clamp(WINDOW_BYTES_MIN, WINDOW_BYTES)),
            Control::PingRequest(stamp) => self.control(Control::PingResponse(stamp), outbox),
            Control::PingResponse(_) => self.answers_pings = true,
            // What a peer has received, holds or would like is TCP's business and the feed's.
            Control::Acknowledgement(_) | Control::PeerBandwidth { .. } | Control::BufferLength { .. } => {}
            _ => self.ignore(),
        }
        Ok(())
    }

    /// Media are of the publish that runs, whatever message stream they name: encoders err, and there is one only.
    fn media(&mut self, kind: MessageKind, timestamp: u32, begin: usize) {
        match self.activity {
            Activity::Publishing(_) => {
                let end = self.reader.body().len();
                self.media = Media::One {
                    kind,
                    timestamp,
                    begin,
                    end,
                };
            }
            _ => self.ignore(),
        }
    }

    /// The aggregate's time is that of its first part (specification 7.1.6).
    fn aggregate(&mut self, timestamp: u32) {
        let body = self.reader.body();
        let first = Part::parse(body, 0);
        match (self.activity, first) {
            (Activity::Publishing(_), Some(first)) if next_part(body, 0).is_some() => {
                self.media = Media::Aggregate {
                    at: 0,
                    shift: timestamp.wrapping_sub(first.timestamp),
                };
            }
            _ => self.ignore(),
        }
    }

    pub(super) fn acknowledge(&mut self, outbox: &mut Outbox) {
        let received = self.reader.taken();
        if let Some(window) = self.window
            && received - self.acknowledged >= u64::from(window / ACKNOWLEDGE_DIVISOR)
        {
            self.acknowledged = received;
            self.control(Control::Acknowledgement(received as u32), outbox);
        }
    }
}

/// The first part at or behind `at` that is a medium.
fn next_part(body: &[u8], mut at: usize) -> Option<(Part, MessageKind)> {
    loop {
        let part = Part::parse(body, at)?;
        let kind = match part.kind {
            message::AUDIO => MessageKind::Audio,
            message::VIDEO => MessageKind::Video,
            message::DATA => MessageKind::Script,
            _ => {
                at = part.next();
                continue;
            }
        };
        return Some((part, kind));
    }
}

/// Protocol control has this one by specification (5.4).
const CSID_CONTROL: u32 = 2;
/// As every server does; no feed uses it.
const CSID_COMMAND: u32 = 3;
