//! What goes over the wire in these tests: pieces of one framing, of which records are the feed's and pings the session's.
//!
//! ```text
//! kind u8 | payload bytes u32 | number u64 | checksum of payload u64 | payload
//! ```

use std::io::Read;
use std::net::TcpStream;

use penstock_shard::feed::{FeedError, Headers, Record, Writer};
use penstock_shard::seal::{Broken, Closed, Seal, Taken};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Record = 1,
    /// Join header of the record with its number.
    Join = 2,
    /// Skip header of the record with its number.
    Skip = 3,
    /// The session's own.
    Ping = 4,
}

pub const HEAD_BYTES: usize = 21;

/// Fixed seed noise.
#[derive(Clone, Copy, Debug)]
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }
}

fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, word| {
        (sum ^ u64::from_le_bytes(*word))
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(23)
    });
    rest.iter().fold(sum, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

pub fn piece(kind: Kind, number: u64, payload_bytes: usize) -> Vec<u8> {
    let mut noise = Noise(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | kind as u64);
    let mut payload: Vec<u8> = Vec::with_capacity(payload_bytes + 8);
    while payload.len() < payload_bytes {
        payload.extend_from_slice(&noise.next().to_le_bytes());
    }
    payload.truncate(payload_bytes);
    let mut out = Vec::with_capacity(HEAD_BYTES + payload_bytes);
    out.push(kind as u8);
    out.extend_from_slice(&(payload_bytes as u32).to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&checksum(&payload).to_le_bytes());
    out.extend_from_slice(&payload);
    out
}

/// Appends record `number` at `number` times 10 ms; viewers may join at each `join_every`-th.
pub fn append(writer: &mut Writer, number: u64, payload_bytes: usize, join_every: u64) {
    try_append(writer, number, payload_bytes, join_every).unwrap();
    writer.check_invariants();
}

/// As [`append`], where the feed may refuse.
pub fn try_append(writer: &mut Writer, number: u64, payload_bytes: usize, join_every: u64) -> Result<(), FeedError> {
    let record = piece(Kind::Record, number, payload_bytes);
    let (join, skip) = (piece(Kind::Join, number, 40), piece(Kind::Skip, number, 5));
    let headers = Headers {
        join: &join,
        skip: &skip,
    };
    let record = Record {
        bytes: &[&record],
        join: number.is_multiple_of(join_every).then_some(headers),
        dts_micros: number as i64 * 10_000,
        flags: 0,
    };
    writer.append(&[record])
}

/// Takes pieces out of a stream of bytes, however it is cut.
#[derive(Default)]
pub struct Pieces {
    bytes: Vec<u8>,
    at: usize,
}

impl Pieces {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole piece: its kind and number. Panics when a byte of it is wrong.
    pub fn next(&mut self) -> Option<(Kind, u64)> {
        let rest = &self.bytes[self.at..];
        let head = rest.first_chunk::<HEAD_BYTES>()?;
        let kind = match head[0] {
            1 => Kind::Record,
            2 => Kind::Join,
            3 => Kind::Skip,
            4 => Kind::Ping,
            other => panic!("a piece of kind {other}: the stream is torn"),
        };
        let bytes = u32::from_le_bytes(head[1..5].try_into().unwrap()) as usize;
        let number = u64::from_le_bytes(head[5..13].try_into().unwrap());
        let sum = u64::from_le_bytes(head[13..21].try_into().unwrap());
        let payload = rest.get(HEAD_BYTES..HEAD_BYTES + bytes)?;
        assert_eq!(checksum(payload), sum, "{kind:?} {number} of {bytes} bytes is corrupt");
        self.at += HEAD_BYTES + bytes;
        Some((kind, number))
    }

    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// What was fed and not taken.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    pub fn skip(&mut self, bytes: usize) {
        self.at += bytes;
        assert!(self.at <= self.bytes.len());
    }
}

/// What a viewer saw, checked as it comes: a join header, then records in order; a skip header and its record wherever it
/// was moved; pings anywhere between.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    pub first: Option<u64>,
    pub last: Option<u64>,
    expected: Option<u64>,
    pub records: u64,
    pub skips: u64,
    pub pings: Vec<u64>,
    /// The record before each ping.
    pub behind: Vec<Option<u64>>,
    pub bytes: u64,
}

impl Seen {
    fn take(&mut self, kind: Kind, number: u64) {
        match kind {
            Kind::Ping => {
                self.pings.push(number);
                self.behind.push(self.last);
            }
            Kind::Join => {
                assert_eq!(self.first.replace(number), None, "one join header");
                self.expected = Some(number);
            }
            Kind::Skip => {
                assert!(self.last.is_some_and(|last| last < number), "a skip goes forward");
                self.skips += 1;
                self.expected = Some(number);
            }
            Kind::Record => {
                assert_eq!(self.expected, Some(number), "after {:?}", self.last);
                self.last = Some(number);
                self.expected = Some(number + 1);
                self.records += 1;
            }
        }
    }
}

/// A viewer's end of a connection.
pub struct Client {
    pub stream: TcpStream,
    pub pieces: Pieces,
    pub seen: Seen,
    /// Undone with what the shard's seal did.
    pub key: Option<XorKey>,
    chunk: Vec<u8>,
}

impl Client {
    pub fn new(stream: TcpStream) -> Client {
        Client {
            stream,
            pieces: Pieces::default(),
            seen: Seen::default(),
            key: None,
            chunk: vec![0; 64 * 1024],
        }
    }

    /// One read and what it completes; false at the end of the stream.
    pub fn read(&mut self) -> bool {
        let count = self.stream.read(&mut self.chunk).expect("bytes come in time");
        let bytes = &mut self.chunk[..count];
        self.seen.bytes += count as u64;
        match &mut self.key {
            Some(key) => key.open(bytes, &mut self.pieces),
            None => self.pieces.feed(bytes),
        }
        while let Some((kind, number)) = self.pieces.next() {
            self.seen.take(kind, number);
        }
        count > 0
    }

    pub fn read_until(&mut self, mut enough: impl FnMut(&Seen) -> bool) -> &Seen {
        while !enough(&self.seen) {
            assert!(self.read(), "the stream ends early: {:?}", self.seen);
        }
        &self.seen
    }

    pub fn read_to_end(&mut self) -> &Seen {
        while self.read() {}
        assert!(self.pieces.is_empty(), "the stream ends inside a piece");
        &self.seen
    }
}

/// The toy seal: records of a length and bytes that are mixed with a running key.
#[derive(Clone, Debug)]
pub struct XorKey {
    key: Noise,
    sealed: Vec<u8>,
}

impl XorKey {
    pub fn new(seed: u64) -> XorKey {
        XorKey {
            key: Noise(seed | 1),
            sealed: Vec::new(),
        }
    }

    pub fn open(&mut self, bytes: &[u8], out: &mut Pieces) {
        self.sealed.extend_from_slice(bytes);
        while let Some(head) = self.sealed.first_chunk::<2>() {
            let bytes = u16::from_be_bytes(*head) as usize;
            assert!((1..=16 * 1024).contains(&bytes), "a sealed record of {bytes} bytes");
            if self.sealed.len() < 2 + bytes {
                break;
            }
            let mut record: Vec<u8> = self.sealed.drain(..2 + bytes).skip(2).collect();
            for byte in &mut record {
                *byte ^= self.key.next() as u8;
            }
            out.feed(&record);
        }
    }
}

/// Every way in which bytes reach a socket: by reference, and through a seal. What is said of sending is said of both.
pub fn wraps() -> [Option<XorKey>; 2] {
    [None, Some(XorKey::new(99))]
}

/// What comes is taken as it is.
impl Seal for XorKey {
    fn seal(&mut self, plain: &[u8], _kept: &mut [u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        out.extend_from_slice(&(plain.len() as u16).to_be_bytes());
        out.extend(plain.iter().map(|byte| byte ^ self.key.next() as u8));
        Ok(())
    }

    fn open(&mut self, sealed: &mut [u8], plain: &mut Vec<u8>, _out: &mut Vec<u8>) -> Result<Taken, Broken> {
        plain.extend_from_slice(sealed);
        Ok(Taken {
            bytes: sealed.len(),
            closed: Closed::No,
        })
    }
}
