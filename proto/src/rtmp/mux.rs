//! One stream as RTMP messages, made once for all players of one message stream id.
//!
//! Not here: the answer to `play` before it ([`super::Session`]) and what stands inside a message ([`crate::tag`]).
//!
//! Invariants: a record is one whole message; each begins with format 0 and its absolute time on a chunk stream of its
//! kind, in chunks of [`PLAY_CHUNK_BYTES`], so that a player can be put in front of any record, whatever it got before.
//! Joins are video keyframes, without video one audio frame a second; the sequence headers before a join have its time,
//! metadata have time 0: of any other, ffmpeg's reader makes a stream of text.

use crate::media::{self, Break, Frame, Kind, Records, Track, Verdict};
use crate::tag::{self, MessageKind};

use super::limits::{AUDIO_JOIN_MILLIS, PLAY_CHUNK_BYTES};
use super::wire::chunk::{Message, write_message};
use super::wire::message;

/// See the module. Owned by the stream's home shard.
#[derive(Debug)]
pub struct Mux {
    message_stream: u32,
    video: Option<Track>,
    audio: Option<Track>,
    /// Bodies of metadata and sequence headers of the tracks in force.
    setup: Vec<(MessageKind, Vec<u8>)>,
    /// Running players need the setup in front of the next frame.
    renewed: bool,
    /// The tracks are not those that the first players were told of: one who is moved may have missed the change.
    changed: bool,
    /// ms, not wrapped.
    audio_join: Option<i64>,
    joined: u32,
    /// Reused for each body.
    body: Vec<u8>,
}

impl Mux {
    /// `message_stream` is the player's: 1 for nearly all.
    pub fn new(message_stream: u32) -> Mux {
        Mux {
            message_stream,
            video: None,
            audio: None,
            setup: Vec::new(),
            renewed: false,
            changed: false,
            audio_join: None,
            joined: 0,
            body: Vec::new(),
        }
    }

    fn set_tracks(&mut self, tracks: &[Track]) {
        let (video, audio) = tag::mux::select(tracks);
        self.video = video.cloned();
        self.audio = audio.cloned();
        self.audio_join = None;
        self.setup.clear();
        let carried: Vec<Track> = [&self.video, &self.audio].into_iter().flatten().cloned().collect();
        if carried.is_empty() {
            return;
        }
        let mut body = Vec::new();
        tag::mux::metadata(&carried, &mut body);
        self.setup.push((MessageKind::Script, body));
        for track in &carried {
            let mut body = Vec::new();
            if tag::mux::sequence_header(track, &mut body) {
                self.setup.push((tag::mux::message_kind(track), body));
            }
        }
    }

    fn is_join(&mut self, track: &Track, frame: &Frame<'_>) -> bool {
        if track.kind() == Kind::Video || self.video.is_some() {
            return track.kind() == Kind::Video && frame.key;
        }
        let now = track.rescale(frame.dts, 1000);
        let due = self
            .audio_join
            .is_none_or(|last| now >= last.saturating_add(AUDIO_JOIN_MILLIS) || now < last);
        if due {
            self.audio_join = Some(now);
        }
        due
    }

    fn slot(&mut self, kind: Kind) -> &mut Option<Track> {
        match kind {
            Kind::Video => &mut self.video,
            _ => &mut self.audio,
        }
    }

    fn write(&mut self, track: &Track, frame: &Frame<'_>, out: &mut Records) {
        let timestamp = tag::mux::timestamp(track, frame.dts);
        if std::mem::take(&mut self.renewed) {
            for (kind, body) in &self.setup {
                let message = self.setup_message(*kind, timestamp);
                out.push(false, frame.dts, track.timescale, |out| {
                    write_message(message, PLAY_CHUNK_BYTES, body, out);
                });
            }
        }
        let join = self.is_join(track, frame);
        if join {
            self.joined = timestamp;
        }
        self.body.clear();
        tag::mux::frame_body(track, frame, &mut self.body);
        let message = self.message(tag::mux::message_kind(track), timestamp);
        let body = &self.body;
        out.push(join, frame.dts, track.timescale, |out| {
            write_message(message, PLAY_CHUNK_BYTES, body, out);
        });
    }

    fn setup_message(&self, kind: MessageKind, timestamp: u32) -> Message {
        match kind {
            MessageKind::Script => self.message(kind, 0),
            _ => self.message(kind, timestamp),
        }
    }

    fn message(&self, kind: MessageKind, timestamp: u32) -> Message {
        let (csid, kind) = match kind {
            MessageKind::Video => (CSID_VIDEO, message::VIDEO),
            MessageKind::Audio => (CSID_AUDIO, message::AUDIO),
            MessageKind::Script => (CSID_DATA, message::DATA),
        };
        Message {
            csid,
            kind,
            timestamp,
            message_stream: self.message_stream,
        }
    }
}

impl media::Mux for Mux {
    fn carries(&self, track: &Track) -> bool {
        tag::mux::carries(track)
    }

    fn start(&mut self, tracks: &[Track]) {
        self.set_tracks(tracks);
        self.renewed = false;
    }

    /// Nothing a publisher does ends a player: what changed is said in front of the next frame, at its time.
    fn on_break(&mut self, _: Break, tracks: &[Track], _: &mut Records) -> Verdict {
        let before = (self.video.take(), self.audio.take());
        self.set_tracks(tracks);
        self.changed |= (&before.0, &before.1) != (&self.video, &self.audio);
        self.renewed = true;
        Verdict::Continue
    }

    fn frame(&mut self, frame: &Frame<'_>, out: &mut Records) {
        for kind in [Kind::Video, Kind::Audio] {
            // Taken out for the time of the call, so that the rest can be changed without a copy.
            if let Some(track) = self.slot(kind).take_if(|track| track.id == frame.track) {
                self.write(&track, frame, out);
                *self.slot(kind) = Some(track);
                return;
            }
        }
    }

    /// A message stream has no end of its own: the session says StreamEOF.
    fn finish(&mut self, _: &mut Records) {}

    fn join_header(&self, out: &mut Vec<u8>) {
        for (kind, body) in &self.setup {
            write_message(self.setup_message(*kind, self.joined), PLAY_CHUNK_BYTES, body, out);
        }
    }

    fn skip_header(&self, out: &mut Vec<u8>) {
        if self.changed {
            self.join_header(out);
        }
    }
}

/// None is 2 or 3, which are the session's.
const CSID_AUDIO: u32 = 4;
const CSID_DATA: u32 = 5;
const CSID_VIDEO: u32 = 6;

#[cfg(test)]
mod tests;
