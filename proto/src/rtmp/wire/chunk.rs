//! The chunk stream (specification 5.3): messages cut in chunks, several chunk streams interleaved.
//!
//! [`Reader`] puts messages together again; [`write_message`] cuts one. Neither knows what a message means: the chunk
//! size and aborts are told to the reader by whoever understands control messages.
//!
//! Invariants: memory grows by bytes received, never by a length announced; all buffers of a reader together stay
//! below the bound it is given ([`REASSEMBLY_BYTES_MAX`] at the most); what is read does not depend on how the input was cut.
//!
//! Tolerated: a fresh chunk stream that begins with format 1 (librtmp; its message stream is taken for 0); an extended
//! timestamp on format 3 chunks or none (FMLE, ffmpeg and librtmp write it, others do not: the next bytes are compared
//! with the stamp that would stand there); format 3 that begins a message (ffmpeg, GStreamer; the last time field is
//! its delta, also after format 0, as 5.3.1.2.4 says); a header that begins a message before the last one on its chunk
//! stream was complete (the unfinished one is dropped and counted).

use super::super::error::Error;
use super::super::error::ImportError;
use super::super::limits::{
    ASSEMBLIES_MAX, ASSEMBLY_BYTES_FIRST, CHUNK_BYTES_DEFAULT, CHUNK_BYTES_MAX, CHUNK_STREAMS_MAX,
    REASSEMBLY_BYTES_MAX, RECEIVED_BYTES_MAX, SPARES_MAX,
};
use super::super::snapshot::{Import, Snapshot};
use super::message::bytes_max;

/// The header of a complete message. Its body is [`Reader::body`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub csid: u32,
    /// Message type (see [`super::message`]).
    pub kind: u8,
    /// Absolute, ms, wrapping at 32 bit.
    pub timestamp: u32,
    pub message_stream: u32,
}

/// Puts the messages of one peer together.
#[derive(Debug)]
pub struct Reader {
    chunk_bytes: u32,
    /// Of all buffers together.
    held_bytes_max: usize,
    /// Bytes received, from the first of the handshake: the offset in errors and the sequence of acknowledgements.
    taken: u64,
    /// A header of which more is to come, or bytes behind a header that were read to find its end.
    pending: Pending,
    streams: Vec<ChunkStream>,
    /// The chunk whose payload comes next: its chunk stream, and bytes left.
    current: Option<(u8, u32)>,
    cut: u32,
    /// None while no byte of a body is held.
    bodies: Option<Box<Bodies>>,
}

#[derive(Clone, Copy, Debug)]
struct ChunkStream {
    csid: u32,
    timestamp: u32,
    /// The last time field: absolute after format 0, else a delta.
    field: u32,
    message_stream: u32,
    length: u32,
    kind: u8,
    /// The last time field stood in the extended timestamp.
    extended: bool,
    /// A message began and is not complete.
    under_way: bool,
}

#[derive(Debug, Default)]
struct Bodies {
    /// Unfinished messages by index of their chunk stream.
    assemblies: Vec<(u8, Vec<u8>)>,
    ready: Vec<u8>,
    spares: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    bytes: [u8; HEADER_BYTES_MAX],
    len: u8,
}

enum Parsed {
    /// The header has at least so many bytes.
    Needs(usize),
    Header(Header),
}

struct Header {
    bytes: usize,
    format: u8,
    csid: u32,
    field: u32,
    extended: bool,
    length: u32,
    kind: u8,
    message_stream: u32,
}

impl Reader {
    /// `taken` bytes of the peer came before the first chunk.
    pub fn new(taken: u64) -> Self {
        Reader {
            chunk_bytes: CHUNK_BYTES_DEFAULT,
            held_bytes_max: REASSEMBLY_BYTES_MAX,
            taken,
            pending: Pending::default(),
            streams: Vec::new(),
            current: None,
            cut: 0,
            bodies: None,
        }
    }

    /// Reads to the end of the next message or of `input`: the bytes taken, and the message if one is complete. Its
    /// body is there until [`Reader::release`] or the next call.
    pub fn read(&mut self, input: &[u8]) -> Result<(usize, Option<Message>), Error> {
        self.release();
        let mut at = 0;
        loop {
            if let Some((index, left)) = self.current {
                if left == 0 {
                    self.current = None;
                    if let Some(message) = self.finish_chunk(index) {
                        return Ok((at, Some(message)));
                    }
                } else if self.pending.len > 0 {
                    let held = self.pending;
                    let part = usize::from(held.len).min(left as usize);
                    self.append(index, left, &held.bytes[..part])?;
                    self.pending.drop_front(part);
                } else if at < input.len() {
                    let part = input.len().min(at.saturating_add(left as usize)) - at;
                    self.append(index, left, &input[at..at + part])?;
                    self.taken += part as u64;
                    at += part;
                } else {
                    return Ok((at, None));
                }
                continue;
            }
            match self.parse() {
                Parsed::Needs(bytes) if at < input.len() => {
                    let missing = bytes - usize::from(self.pending.len);
                    let part = missing.min(input.len() - at);
                    self.pending.append(&input[at..at + part]);
                    self.taken += part as u64;
                    at += part;
                }
                Parsed::Needs(_) => return Ok((at, None)),
                Parsed::Header(header) => self.begin_chunk(&header)?,
            }
        }
    }

    /// Of the message that [`Reader::read`] returned last.
    pub fn body(&self) -> &[u8] {
        self.bodies.as_ref().map_or(&[], |bodies| &bodies.ready)
    }

    /// The message was used: its buffer serves the next one.
    pub fn release(&mut self) {
        if let Some(bodies) = &mut self.bodies {
            let mut buffer = std::mem::take(&mut bodies.ready);
            if buffer.capacity() > 0 && bodies.spares.len() < SPARES_MAX {
                buffer.clear();
                bodies.spares.push(buffer);
            }
        }
    }

    /// Gives back all memory that holds no byte of an unfinished message.
    pub fn park(&mut self) {
        self.release();
        if let Some(bodies) = &mut self.bodies {
            bodies.spares = Vec::new();
            if bodies.assemblies.is_empty() {
                self.bodies = None;
            }
        }
        self.streams.shrink_to_fit();
    }

    /// The peer's set chunk size: its top bit is no part of it, and larger than any message means the same as that.
    pub fn set_chunk_bytes(&mut self, chunk_bytes: u32) -> Result<(), Error> {
        match chunk_bytes & 0x7FFF_FFFF {
            0 => Err(Error::ChunkSizeZero { offset: self.taken }),
            bytes => {
                self.chunk_bytes = bytes.min(CHUNK_BYTES_MAX);
                Ok(())
            }
        }
    }

    /// Bounds what unfinished messages may take from here on.
    pub fn set_held_bytes_max(&mut self, bytes: usize) {
        self.held_bytes_max = bytes.min(REASSEMBLY_BYTES_MAX);
    }

    /// The peer's abort: what came of the message on `csid` is dropped.
    pub fn abort(&mut self, csid: u32) {
        if let Some(index) = self.streams.iter().position(|stream| stream.csid == csid) {
            self.drop_assembly(index as u8);
        }
    }

    /// Bytes received, from the first of the handshake.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Messages that ended before their last byte.
    pub fn cut(&self) -> u32 {
        self.cut
    }

    /// Heap of this reader, by capacity.
    pub fn heap_bytes(&self) -> usize {
        let bodies = self
            .bodies
            .as_ref()
            .map_or(0, |bodies| size_of::<Bodies>() + bodies.capacity());
        bodies + self.streams.capacity() * size_of::<ChunkStream>()
    }

    fn parse(&self) -> Parsed {
        let bytes = &self.pending.bytes[..usize::from(self.pending.len)];
        let Some(&first) = bytes.first() else {
            return Parsed::Needs(1);
        };
        let basic = match first & 0x3F {
            0 => 2,
            1 => 3,
            _ => 1,
        };
        let format = first >> 6;
        let fixed = basic + [11, 7, 3, 0][usize::from(format)];
        if bytes.len() < fixed {
            return Parsed::Needs(fixed);
        }
        let csid = match basic {
            1 => u32::from(first & 0x3F),
            2 => 64 + u32::from(bytes[1]),
            _ => 64 + u32::from(bytes[1]) + (u32::from(bytes[2]) << 8),
        };
        let mut header = Header {
            bytes: fixed,
            format,
            csid,
            field: 0,
            extended: false,
            length: 0,
            kind: 0,
            message_stream: 0,
        };
        let message = &bytes[basic..];
        if format == 3 {
            return self.parse_continuation(header, message);
        }
        header.field = u24(&message[..3]);
        header.extended = header.field == EXTENDED;
        if format <= 1 {
            header.length = u24(&message[3..6]);
            header.kind = message[6];
        }
        if format == 0 {
            header.message_stream = u32::from_le_bytes([message[7], message[8], message[9], message[10]]);
        }
        if header.extended {
            let Some(stamp) = bytes.get(fixed..fixed + 4) else {
                return Parsed::Needs(fixed + 4);
            };
            header.field = u32::from_be_bytes([stamp[0], stamp[1], stamp[2], stamp[3]]);
            header.bytes = fixed + 4;
        }
        Parsed::Header(header)
    }

    /// Format 3 where an extended timestamp may stand or not: it does if the next four bytes are what it would be.
    fn parse_continuation(&self, mut header: Header, next: &[u8]) -> Parsed {
        let Some(stream) = self.streams.iter().find(|stream| stream.csid == header.csid) else {
            return Parsed::Header(header);
        };
        if !stream.extended {
            return Parsed::Header(header);
        }
        let absolute = match stream.under_way {
            true => stream.timestamp,
            false => stream.timestamp.wrapping_add(stream.field),
        };
        let matches = [stream.field, absolute]
            .iter()
            .any(|stamp| stamp.to_be_bytes().starts_with(&next[..next.len().min(4)]));
        match (matches, next.len()) {
            (true, 4..) => header.bytes += 4,
            (true, have) => return Parsed::Needs(header.bytes + have + 1),
            (false, _) => {}
        }
        Parsed::Header(header)
    }

    fn begin_chunk(&mut self, header: &Header) -> Result<(), Error> {
        let offset = self.taken;
        self.pending.drop_front(header.bytes);
        let index = self.stream_of(header)?;
        let stream = &mut self.streams[usize::from(index)];
        let continues = header.format == 3 && stream.under_way;
        if !continues {
            let unfinished = stream.under_way;
            match header.format {
                0 => {
                    stream.timestamp = header.field;
                    stream.message_stream = header.message_stream;
                }
                3 => stream.timestamp = stream.timestamp.wrapping_add(stream.field),
                _ => stream.timestamp = stream.timestamp.wrapping_add(header.field),
            }
            if header.format <= 1 {
                stream.length = header.length;
                stream.kind = header.kind;
            }
            if header.format <= 2 {
                stream.field = header.field;
                stream.extended = header.extended;
            }
            let (kind, bytes) = (stream.kind, stream.length);
            if unfinished {
                self.drop_assembly(index);
            }
            if bytes > bytes_max(kind) {
                return Err(Error::MessageTooLarge {
                    offset,
                    kind,
                    bytes,
                    bytes_max: bytes_max(kind),
                });
            }
            self.streams[usize::from(index)].under_way = true;
        }
        let length = self.streams[usize::from(index)].length;
        let have = self.assembly(index).map_or(0, |body| body.len() as u32);
        debug_assert!(have < length || length == 0);
        self.current = Some((index, (length - have).min(self.chunk_bytes)));
        Ok(())
    }

    fn stream_of(&mut self, header: &Header) -> Result<u8, Error> {
        let (offset, csid) = (self.taken, header.csid);
        if let Some(index) = self.streams.iter().position(|stream| stream.csid == csid) {
            return Ok(index as u8);
        }
        if header.format > 1 {
            return Err(Error::FreshChunkStream {
                offset,
                csid,
                format: header.format,
            });
        }
        if self.streams.len() == CHUNK_STREAMS_MAX {
            return Err(Error::TooManyChunkStreams {
                offset,
                csid,
                max: CHUNK_STREAMS_MAX,
            });
        }
        self.streams.push(ChunkStream {
            csid,
            timestamp: 0,
            field: 0,
            message_stream: 0,
            length: 0,
            kind: 0,
            extended: false,
            under_way: false,
        });
        Ok((self.streams.len() - 1) as u8)
    }

    fn append(&mut self, index: u8, left: u32, part: &[u8]) -> Result<(), Error> {
        let length = self.streams[usize::from(index)].length as usize;
        let (offset, csid) = (self.taken, self.streams[usize::from(index)].csid);
        let bodies = self.bodies.get_or_insert_default();
        let at = match bodies.assemblies.iter().position(|(of, _)| *of == index) {
            Some(at) => at,
            None if bodies.assemblies.len() == ASSEMBLIES_MAX => {
                return Err(Error::TooManyAssemblies {
                    offset,
                    csid,
                    max: ASSEMBLIES_MAX,
                });
            }
            None => {
                let buffer = bodies.spares.pop().unwrap_or_default();
                bodies.assemblies.push((index, buffer));
                bodies.assemblies.len() - 1
            }
        };
        let body = &mut bodies.assemblies[at].1;
        let needed = body.len() + part.len();
        debug_assert!(needed <= length);
        if needed > body.capacity() {
            let target = needed
                .max(body.capacity() * 2)
                .max(ASSEMBLY_BYTES_FIRST)
                .min(length.max(needed));
            let growth = target - body.capacity();
            if bodies.capacity() + growth > self.held_bytes_max {
                bodies.spares = Vec::new();
            }
            let bytes = bodies.capacity() + growth;
            if bytes > self.held_bytes_max {
                return Err(Error::ReassemblyTooLarge {
                    offset,
                    bytes,
                    bytes_max: self.held_bytes_max,
                });
            }
            let body = &mut bodies.assemblies[at].1;
            body.reserve_exact(target - body.len());
        }
        bodies.assemblies[at].1.extend_from_slice(part);
        self.current = Some((index, left - part.len() as u32));
        Ok(())
    }

    fn finish_chunk(&mut self, index: u8) -> Option<Message> {
        let stream = self.streams[usize::from(index)];
        let have = self.assembly(index).map_or(0, Vec::len);
        if have < stream.length as usize {
            return None;
        }
        self.streams[usize::from(index)].under_way = false;
        if let Some(bodies) = &mut self.bodies
            && let Some(at) = bodies.assemblies.iter().position(|(of, _)| *of == index)
        {
            bodies.ready = bodies.assemblies.swap_remove(at).1;
        }
        Some(Message {
            csid: stream.csid,
            kind: stream.kind,
            timestamp: stream.timestamp,
            message_stream: stream.message_stream,
        })
    }

    fn assembly(&self, index: u8) -> Option<&Vec<u8>> {
        let (_, body) = self.bodies.as_ref()?.assemblies.iter().find(|(of, _)| *of == index)?;
        Some(body)
    }

    fn drop_assembly(&mut self, index: u8) {
        let stream = &mut self.streams[usize::from(index)];
        if std::mem::take(&mut stream.under_way) {
            self.cut = self.cut.saturating_add(1);
        }
        if let Some(bodies) = &mut self.bodies {
            bodies.assemblies.retain(|(of, _)| *of != index);
        }
    }
}

impl Reader {
    /// Between two messages' outputs: [`Reader::body`] is not exported.
    pub fn export(&self, out: &mut Snapshot<'_>) {
        out.u32(self.chunk_bytes);
        out.u64(self.taken);
        out.bytes(&self.pending.bytes[..usize::from(self.pending.len)]);
        out.u32(self.cut);
        out.u8(self.streams.len() as u8);
        for (index, stream) in self.streams.iter().enumerate() {
            for field in [
                stream.csid,
                stream.timestamp,
                stream.field,
                stream.message_stream,
                stream.length,
            ] {
                out.u32(field);
            }
            out.u8(stream.kind);
            out.u8(u8::from(stream.extended) | u8::from(stream.under_way) << 1);
            out.bytes(self.assembly(index as u8).map_or(&[], |body| body));
        }
        let (index, left) = self.current.unwrap_or((u8::MAX, 0));
        out.u8(index);
        out.u32(left);
    }

    pub fn import(input: &mut Import<'_>) -> Result<Reader, ImportError> {
        let mut reader = Reader::new(0);
        reader.chunk_bytes = input.u32()?;
        input.require((1..=CHUNK_BYTES_MAX).contains(&reader.chunk_bytes))?;
        reader.taken = input.u64()?;
        input.require(reader.taken <= RECEIVED_BYTES_MAX)?;
        let pending = input.bytes(HEADER_BYTES_MAX)?;
        reader.pending.append(pending);
        reader.cut = input.u32()?;
        let streams = input.u8()?;
        input.require(usize::from(streams) <= CHUNK_STREAMS_MAX)?;
        for index in 0..streams {
            let stream = ChunkStream {
                csid: input.u32()?,
                timestamp: input.u32()?,
                field: input.u32()?,
                message_stream: input.u32()?,
                length: input.u32()?,
                kind: input.u8()?,
                extended: false,
                under_way: false,
            };
            let flags = input.u8()?;
            let (extended, under_way) = (flags & 1 != 0, flags & 2 != 0);
            input.require(stream.length <= bytes_max(stream.kind) || !under_way)?;
            let body = input.bytes(stream.length as usize)?;
            input.require(body.is_empty() || (under_way && body.len() < stream.length as usize))?;
            reader.streams.push(ChunkStream {
                extended,
                under_way,
                ..stream
            });
            if !body.is_empty() {
                reader.append(index, stream.length, body).map_err(|_| input.invalid())?;
            }
        }
        let (index, left) = (input.u8()?, input.u32()?);
        reader.current = None;
        if index != u8::MAX {
            let stream = reader.streams.get(usize::from(index)).ok_or_else(|| input.invalid())?;
            let have = reader.assembly(index).map_or(0, |body| body.len() as u32);
            input.require(stream.under_way && left <= stream.length - have)?;
            reader.current = Some((index, left));
        }
        Ok(reader)
    }
}

impl Bodies {
    fn capacity(&self) -> usize {
        let assemblies: usize = self.assemblies.iter().map(|(_, body)| body.capacity()).sum();
        let spares: usize = self.spares.iter().map(Vec::capacity).sum();
        assemblies + spares + self.ready.capacity()
    }
}

impl Pending {
    fn append(&mut self, part: &[u8]) {
        let len = usize::from(self.len);
        self.bytes[len..len + part.len()].copy_from_slice(part);
        self.len += part.len() as u8;
    }

    fn drop_front(&mut self, bytes: usize) {
        self.bytes.copy_within(bytes..usize::from(self.len), 0);
        self.len -= bytes as u8;
    }
}

/// Appends one message in chunks of at most `chunk_bytes`: format 0 with its absolute time, then format 3, each with
/// the extended timestamp where there is one.
pub fn write_message(message: Message, chunk_bytes: u32, body: &[u8], out: &mut Vec<u8>) {
    assert!(body.len() < 1 << 24, "a message's length has 24 bits");
    assert!(chunk_bytes > 0);
    let length = (body.len() as u32).to_be_bytes();
    let field = message.timestamp.min(EXTENDED).to_be_bytes();
    write_basic(0, message.csid, out);
    out.extend_from_slice(&field[1..]);
    out.extend_from_slice(&length[1..]);
    out.push(message.kind);
    out.extend_from_slice(&message.message_stream.to_le_bytes());
    for (nth, part) in body.chunks(chunk_bytes as usize).enumerate() {
        if nth > 0 {
            write_basic(3, message.csid, out);
        }
        if message.timestamp >= EXTENDED {
            out.extend_from_slice(&message.timestamp.to_be_bytes());
        }
        out.extend_from_slice(part);
    }
    if body.is_empty() && message.timestamp >= EXTENDED {
        out.extend_from_slice(&message.timestamp.to_be_bytes());
    }
}

fn write_basic(format: u8, csid: u32, out: &mut Vec<u8>) {
    let format = format << 6;
    match csid {
        2..=63 => out.push(format | csid as u8),
        64..=319 => out.extend_from_slice(&[format, (csid - 64) as u8]),
        _ => {
            assert!((320..=65_599).contains(&csid), "chunk stream ids are 2 to 65,599");
            let [low, high] = ((csid - 64) as u16).to_le_bytes();
            out.extend_from_slice(&[format | 1, low, high]);
        }
    }
}

fn u24(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]])
}

/// Basic header 3, message header 11, extended timestamp 4.
const HEADER_BYTES_MAX: usize = 18;
/// A time field that says: 32 bits follow.
const EXTENDED: u32 = 0x00FF_FFFF;

#[cfg(test)]
mod tests;
