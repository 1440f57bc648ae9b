//! RTMP chunks passed over: media are counted and forgotten, control messages come out, a few bytes are kept per stream.
//!
//! Specification 5.3.1, with the tolerances of `penstock_proto::rtmp::wire::chunk`, whose reader puts messages together
//! and so would hold a keyframe for each of ten thousand viewers.

use anyhow::{Context, bail};
use penstock_proto::rtmp::wire::message::{self, Control};

const HEADER_BYTES_MAX: usize = 18;
const CHUNK_BYTES_FIRST: u32 = 128;
const EXTENDED: u32 = 0x00ff_ffff;
/// Control messages have at most ten bytes.
const CONTROL_BYTES_MAX: usize = 16;
/// A player gets control, commands, data, sound and picture.
const STREAMS_MAX: usize = 32;

/// What a player must know of what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The first byte of a message of sound or picture or data.
    Media,
    Control(Control),
}

#[derive(Debug)]
pub struct Skim {
    chunk_bytes: u32,
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    streams: Vec<Stream>,
    /// The chunk at work: its stream, and what is left of its payload.
    chunk: Option<(usize, u32)>,
    control: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    id: u32,
    length: u32,
    kind: u8,
    /// What is left of its message; 0 between two.
    left: u32,
    /// Its last time field stood in 32 bits of its own, and what they were.
    extended: Option<u32>,
}

impl Skim {
    pub fn new() -> Skim {
        Skim {
            chunk_bytes: CHUNK_BYTES_FIRST,
            header: [0; HEADER_BYTES_MAX],
            header_bytes: 0,
            streams: Vec::new(),
            chunk: None,
            control: Vec::new(),
        }
    }

    pub fn feed(&mut self, mut input: &[u8], mut seen: impl FnMut(Seen)) -> anyhow::Result<()> {
        loop {
            if let Some((at, left)) = self.chunk {
                let held = self.header_bytes.min(left as usize);
                if held > 0 {
                    // Read to find out whether a time stamp stands before the payload; it does not.
                    let bytes = self.header;
                    self.payload(at, &bytes[..held], &mut seen)?;
                    self.header.copy_within(held.., 0);
                    self.header_bytes -= held;
                } else if left > 0 && input.is_empty() {
                    return Ok(());
                } else {
                    let (part, rest) = input.split_at(input.len().min(left as usize));
                    input = rest;
                    self.payload(at, part, &mut seen)?;
                }
                continue;
            }
            match self.begin()? {
                true => {}
                false if input.is_empty() => return Ok(()),
                false => {
                    self.header[self.header_bytes] = input[0];
                    self.header_bytes += 1;
                    input = &input[1..];
                }
            }
        }
    }

    fn payload(&mut self, at: usize, part: &[u8], seen: &mut impl FnMut(Seen)) -> anyhow::Result<()> {
        let (_, left) = self.chunk.context("a payload has its chunk")?;
        let stream = &mut self.streams[at];
        let is_first = stream.left == stream.length;
        stream.left -= part.len() as u32;
        let (kind, ends) = (stream.kind, stream.left == 0);
        let left = left - part.len() as u32;
        self.chunk = (left > 0).then_some((at, left));
        match kind {
            message::AUDIO | message::VIDEO | message::DATA | message::AGGREGATE if is_first && !part.is_empty() => {
                seen(Seen::Media);
            }
            message::SET_CHUNK_SIZE..=message::PEER_BANDWIDTH => {
                if is_first {
                    self.control.clear();
                }
                let room = CONTROL_BYTES_MAX.saturating_sub(self.control.len()).min(part.len());
                self.control.extend_from_slice(&part[..room]);
                if ends {
                    self.obey(kind, seen)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn obey(&mut self, kind: u8, seen: &mut impl FnMut(Seen)) -> anyhow::Result<()> {
        match Control::parse(kind, &self.control, 0)? {
            Some(Control::SetChunkSize(0)) => bail!("a chunk size of 0"),
            Some(Control::SetChunkSize(bytes)) => self.chunk_bytes = bytes & 0x7fff_ffff,
            Some(Control::Abort(id)) => {
                for stream in self.streams.iter_mut().filter(|stream| stream.id == id) {
                    stream.left = 0;
                }
            }
            Some(control) => seen(Seen::Control(control)),
            None => {}
        }
        Ok(())
    }

    /// Whether a chunk's header was whole; its payload is then at work.
    fn begin(&mut self) -> anyhow::Result<bool> {
        let Some(header) = self.parse() else { return Ok(false) };
        let Header {
            id,
            format,
            extended,
            bytes,
            ..
        } = header;
        let at = match header.known {
            Some(at) => at,
            None if format > 1 => bail!("chunk stream {id} begins with format {format}"),
            None if self.streams.len() == STREAMS_MAX => bail!("more than {STREAMS_MAX} chunk streams"),
            None => {
                self.streams.push(Stream {
                    id,
                    length: 0,
                    kind: 0,
                    left: 0,
                    extended,
                });
                self.streams.len() - 1
            }
        };
        let stream = &mut self.streams[at];
        if let Some((length, kind)) = header.message {
            (stream.length, stream.kind) = (length, kind);
        }
        if format < 3 || stream.left == 0 {
            stream.left = stream.length;
        }
        if format < 3 {
            stream.extended = extended;
        }
        let payload = stream.left.min(self.chunk_bytes);
        self.chunk = (payload > 0).then_some((at, payload));
        self.header.copy_within(bytes.., 0);
        self.header_bytes -= bytes;
        Ok(true)
    }

    /// The header, when it is whole.
    fn parse(&self) -> Option<Header> {
        let bytes = &self.header[..self.header_bytes];
        let first = bytes.first()?;
        let basic = match first & 0x3f {
            0 => 2,
            1 => 3,
            _ => 1,
        };
        let format = first >> 6;
        let fixed = basic + [11, 7, 3, 0][usize::from(format)];
        if bytes.len() < fixed {
            return None;
        }
        let id = match basic {
            1 => u32::from(first & 0x3f),
            2 => 64 + u32::from(bytes[1]),
            _ => 64 + u32::from(bytes[1]) + (u32::from(bytes[2]) << 8),
        };
        let known = self.streams.iter().position(|stream| stream.id == id);
        let three = |at: usize| u32::from_be_bytes([0, bytes[at], bytes[at + 1], bytes[at + 2]]);
        let (mut end, mut extended) = (fixed, None);
        if format < 3 && three(basic) == EXTENDED {
            let stamp = bytes[fixed..].first_chunk::<4>()?;
            extended = Some(u32::from_be_bytes(*stamp));
            end += 4;
        }
        if format == 3
            && let Some(stamp) = known.and_then(|at| self.streams[at].extended)
        {
            // Some repeat it before every chunk, some never: it is there if it is the same.
            let have = &bytes[fixed..];
            if stamp.to_be_bytes().starts_with(&have[..have.len().min(4)]) {
                have.first_chunk::<4>()?;
                end += 4;
            }
        }
        Some(Header {
            id,
            format,
            known,
            extended,
            message: (format <= 1).then(|| (three(basic + 3), bytes[basic + 6])),
            bytes: end,
        })
    }
}

struct Header {
    id: u32,
    format: u8,
    /// Place of its stream.
    known: Option<usize>,
    extended: Option<u32>,
    /// Length and kind, where it says them.
    message: Option<(u32, u8)>,
    bytes: usize,
}

#[cfg(test)]
mod tests {
    use penstock_proto::rtmp::wire::chunk::{Message, write_message};

    use super::*;

    fn message(kind: u8, csid: u32, timestamp: u32, chunk_bytes: u32, body: &[u8], out: &mut Vec<u8>) {
        let message = Message {
            csid,
            kind,
            timestamp,
            message_stream: 1,
        };
        write_message(message, chunk_bytes, body, out);
    }

    #[test]
    fn control_is_seen_between_media_of_any_cut() {
        let mut wire = Vec::new();
        message(message::VIDEO, 6, 5, 128, &[7; 300], &mut wire);
        let mut body = Vec::new();
        let kind = Control::SetChunkSize(4096).emit(&mut body);
        message(kind, 2, 0, 128, &body, &mut wire);
        message(message::AUDIO, 400, 0x0100_0000, 4096, &[3; 9000], &mut wire);
        for control in [Control::PingRequest(77), Control::WindowAckSize(1 << 20)] {
            body.clear();
            let kind = control.emit(&mut body);
            message(kind, 2, 0, 4096, &body, &mut wire);
        }
        message(message::COMMAND, 3, 0, 4096, b"anything", &mut wire);
        message(message::VIDEO, 6, u32::MAX, 4096, &[0xff; 5000], &mut wire);
        let expected = [
            Seen::Media,
            Seen::Media,
            Seen::Control(Control::PingRequest(77)),
            Seen::Control(Control::WindowAckSize(1 << 20)),
            Seen::Media,
        ];
        for step in (1..40).chain([wire.len()]) {
            let (mut skim, mut found) = (Skim::new(), Vec::new());
            for piece in wire.chunks(step) {
                skim.feed(piece, |seen| found.push(seen)).unwrap();
            }
            assert_eq!(found, expected, "pieces of {step}");
            assert!(skim.chunk.is_none() && skim.header_bytes == 0);
        }
    }

    #[test]
    fn chunks_of_no_stream_are_refused() {
        assert!(Skim::new().feed(&[0xc6, 0, 0], |_| {}).is_err());
    }
}
