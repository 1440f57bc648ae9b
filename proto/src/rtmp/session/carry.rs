//! A session as bytes, so that it can move to another shard or process in any state between two outputs.

use super::super::error::ImportError;
use super::super::limits::{CHUNK_BYTES_MAX, NAME_BYTES_MAX, STREAMS_MAX, WINDOW_BYTES, WINDOW_BYTES_MIN};
use super::super::snapshot::{Import, LAYOUT, Snapshot};
use super::super::wire::chunk::Reader;
use super::dialogue::{Activity, Application, Dialogue, Media};
use super::greeting::Greeting;
use super::{Outbox, Phase, Session};

impl Session {
    /// Appends the session. Its outputs must be drained.
    pub fn export(&self, out: &mut Vec<u8>) {
        assert!(self.is_drained(), "outputs are drained before a session moves");
        let mut out = Snapshot(out);
        out.u8(LAYOUT);
        out.u64(self.heard_ms);
        match &self.phase {
            Phase::Greeting(greeting) => {
                out.u8(0);
                greeting.export(&mut out);
            }
            Phase::Dialogue(dialogue) => {
                out.u8(1);
                dialogue.export(&mut out);
            }
            Phase::Closed => out.u8(2),
        }
    }

    /// What [`Session::export`] wrote, whole. Times go on in the importer's clock only if it is the same.
    pub fn import(input: &[u8]) -> Result<Session, ImportError> {
        let mut input = Import::new(input);
        let layout = input.u8()?;
        if layout != LAYOUT {
            return Err(ImportError::Layout {
                found: layout,
                expected: LAYOUT,
            });
        }
        let heard_ms = input.u64()?;
        let phase = match input.u8()? {
            0 => Phase::Greeting(Box::new(Greeting::import(&mut input)?)),
            1 => Phase::Dialogue(Box::new(Dialogue::import(&mut input)?)),
            2 => Phase::Closed,
            _ => return Err(input.invalid()),
        };
        input.end()?;
        Ok(Session {
            phase,
            outbox: Outbox::default(),
            lent: false,
            heard_ms,
        })
    }
}

impl Dialogue {
    fn export(&self, out: &mut Snapshot<'_>) {
        self.reader.export(out);
        out.u8(u8::from(self.application.is_some()));
        if let Some(application) = &self.application {
            out.bytes(application.name.as_bytes());
            out.bytes(application.query.as_bytes());
        }
        let (state, stream) = match self.activity {
            Activity::Idle => (0, 0),
            Activity::PublishAsked(stream) => (1, stream),
            Activity::PlayAsked(stream) => (2, stream),
            Activity::Publishing(stream) => (3, stream),
            Activity::Playing(stream) => (4, stream),
            Activity::Paused(stream) => (5, stream),
        };
        out.u8(state);
        out.u32(stream);
        out.u8(self.streams);
        out.u8(u8::from(self.announced) | u8::from(self.answers_pings) << 1);
        out.u64(self.pinged_ms);
        out.u64(self.since_ms);
        out.u32(self.chunk_bytes);
        out.u32(self.window.unwrap_or(0));
        out.u64(self.acknowledged);
        out.u32(self.ignored);
    }

    fn import(input: &mut Import<'_>) -> Result<Dialogue, ImportError> {
        let reader = Reader::import(input)?;
        let application = match input.u8()? {
            0 => None,
            1 => Some(Application {
                name: input.text(NAME_BYTES_MAX)?.into(),
                query: input.text(NAME_BYTES_MAX)?.into(),
            }),
            _ => return Err(input.invalid()),
        };
        let (state, stream) = (input.u8()?, input.u32()?);
        let activity = match state {
            0 => Activity::Idle,
            1 => Activity::PublishAsked(stream),
            2 => Activity::PlayAsked(stream),
            3 => Activity::Publishing(stream),
            4 => Activity::Playing(stream),
            5 => Activity::Paused(stream),
            _ => return Err(input.invalid()),
        };
        input.require(state == 0 || (application.is_some() && (1..=STREAMS_MAX).contains(&stream)))?;
        let streams = input.u8()?;
        let flags = input.u8()?;
        let mut dialogue = Dialogue {
            reader,
            application,
            activity,
            streams,
            announced: flags & 1 != 0,
            answers_pings: flags & 2 != 0,
            pinged_ms: input.u64()?,
            since_ms: input.u64()?,
            chunk_bytes: input.u32()?,
            window: Some(input.u32()?).filter(|window| *window > 0),
            acknowledged: input.u64()?,
            ignored: input.u32()?,
            media: Media::None,
        };
        input.require((1..=CHUNK_BYTES_MAX).contains(&dialogue.chunk_bytes))?;
        let is_window = |window: u32| (WINDOW_BYTES_MIN..=WINDOW_BYTES).contains(&window);
        input.require(dialogue.window.is_none_or(is_window))?;
        input.require(dialogue.acknowledged <= dialogue.reader.taken())?;
        dialogue.bound_memory();
        Ok(dialogue)
    }
}
