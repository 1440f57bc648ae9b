//! The endless FLV of a stream.

use super::limits::AUDIO_JOIN_MICROS;
use super::wire::{FILE_HEADER_BYTES, FileHeader, TagHeader, emit_tag};
use crate::media::{self, Break, Frame, Kind, Records, Track, Verdict, rescale};
use crate::tag::mux;

/// Carries the first video and the first audio track. A record is one tag. Viewers join at video keyframes; without
/// video, at an audio frame a second.
#[derive(Debug, Default)]
pub struct Mux {
    /// The carried ones, video first.
    tracks: Vec<Track>,
    /// Running viewers need metadata and sequence headers before the next frame.
    headers_due: bool,
    /// The tracks are not those that the first viewers were told of: one who is moved may have missed the change.
    changed: bool,
    /// Time of the last join record.
    join_timestamp: u32,
    join_micros: Option<i64>,
}

impl Mux {
    pub fn new() -> Self {
        Self::default()
    }

    fn select(&mut self, tracks: &[Track]) {
        let (video, audio) = mux::select(tracks);
        self.tracks.clear();
        self.tracks.extend(video.into_iter().chain(audio).cloned());
    }

    fn has(&self, kind: Kind) -> bool {
        self.tracks.iter().any(|track| track.kind() == kind)
    }

    /// Metadata, then the sequence headers: each a tag. Metadata have time 0 wherever they stand: at any other ffmpeg
    /// takes them for a subtitle track.
    fn headers(&self, timestamp: u32, mut push: impl FnMut(&mut dyn FnMut(&mut Vec<u8>))) {
        push(&mut |out| emit_tag(TagHeader::SCRIPT, 0, out, |out| mux::metadata(&self.tracks, out)));
        for track in &self.tracks {
            push(&mut |out| {
                let begin = out.len();
                let mut has_one = false;
                emit_tag(tag_type(track), timestamp, out, |out| {
                    has_one = mux::sequence_header(track, out)
                });
                if !has_one {
                    out.truncate(begin);
                }
            });
        }
    }

    /// Without video, joins are rationed.
    fn is_join(&mut self, index: usize, frame: &Frame<'_>) -> bool {
        let track = &self.tracks[index];
        let micros = rescale(frame.dts, track.timescale, 1_000_000);
        let join = match track.kind() {
            Kind::Video => frame.key,
            _ if self.has(Kind::Video) => false,
            _ => self
                .join_micros
                .is_none_or(|last| !(0..AUDIO_JOIN_MICROS).contains(&(micros - last))),
        };
        if join {
            self.join_micros = Some(micros);
        }
        join
    }
}

impl media::Mux for Mux {
    fn carries(&self, track: &Track) -> bool {
        mux::carries(track)
    }

    fn start(&mut self, tracks: &[Track]) {
        self.select(tracks);
    }

    fn on_break(&mut self, kind: Break, tracks: &[Track], _out: &mut Records) -> Verdict {
        let before = std::mem::take(&mut self.tracks);
        self.select(tracks);
        // Headers wait for the next frame, whose time they need. A track that is not carried concerns nobody here.
        let changed = before != self.tracks;
        self.headers_due |= changed || kind == Break::Publisher;
        self.changed |= changed;
        if changed {
            self.join_micros = None;
        }
        Verdict::Continue
    }

    fn frame(&mut self, frame: &Frame<'_>, out: &mut Records) {
        let Some(index) = self.tracks.iter().position(|track| track.id == frame.track) else {
            return;
        };
        let join = self.is_join(index, frame);
        let track = &self.tracks[index];
        let (dts, timescale) = (frame.dts, track.timescale);
        let timestamp = mux::timestamp(track, dts);
        if self.headers_due {
            self.headers(timestamp, |write| out.push(false, dts, timescale, |out| write(out)));
        }
        out.push(join, dts, timescale, |out| {
            emit_tag(tag_type(track), timestamp, out, |out| {
                mux::frame_body(track, frame, out)
            });
        });
        self.headers_due = false;
        if join {
            self.join_timestamp = timestamp;
        }
    }

    /// The end of an FLV is the end of the connection.
    fn finish(&mut self, _out: &mut Records) {}

    fn join_header(&self, out: &mut Vec<u8>) {
        let header = FileHeader {
            audio: self.has(Kind::Audio),
            video: self.has(Kind::Video),
            data_offset: FILE_HEADER_BYTES as u32,
        };
        header.emit(out);
        out.extend_from_slice(&0_u32.to_be_bytes());
        self.headers(self.join_timestamp, |write| write(out));
    }

    fn skip_header(&self, out: &mut Vec<u8>) {
        if self.changed {
            self.headers(self.join_timestamp, |write| write(out));
        }
    }
}

fn tag_type(track: &Track) -> u8 {
    match track.kind() {
        Kind::Video => TagHeader::VIDEO,
        Kind::Audio => TagHeader::AUDIO,
        Kind::Meta => TagHeader::SCRIPT,
    }
}

#[cfg(test)]
mod tests;
