//! A session as bytes, to move between shards and processes. The layout is ours alone: little-endian, lengths before
//! bytes, a layout number first. Heads are carried as received and read again, so nothing in it has to be believed.

use super::session::{Deadline, Exchange, Reading, Session, State, Timer};
use super::wire::body::{Body, Place};
use super::wire::request::Head;
use super::{ImportError, Limits, limits};

const LAYOUT: u8 = 1;

impl Session {
    /// Appends the session to `out`.
    ///
    /// # Panics
    /// If outputs have not been drained.
    pub fn export(&self, out: &mut Vec<u8>) {
        assert!(self.is_drained(), "outputs must be drained before export");
        let start = out.len();
        out.push(LAYOUT);
        for limit in [
            self.limits.request_millis,
            self.limits.idle_millis,
            self.limits.body_bytes_max,
        ] {
            out.extend_from_slice(&limit.to_le_bytes());
        }
        match self.deadline {
            None => out.push(0),
            Some(Deadline { at_millis, timer }) => {
                out.push(match timer {
                    Timer::Unused => 1,
                    Timer::Request => 2,
                    Timer::Idle => 3,
                });
                out.extend_from_slice(&at_millis.to_le_bytes());
            }
        }
        match &self.state {
            State::Head(reading) => {
                out.extend_from_slice(&[0, reading.empty_lines]);
                put_bytes(out, &reading.bytes);
            }
            State::Body { exchange, body } => {
                out.push(1);
                put_bytes(out, &exchange.bytes);
                put_body(out, body);
            }
            State::Asked { exchange, .. } => {
                out.push(2);
                put_bytes(out, &exchange.bytes);
                put_bytes(out, &exchange.pipelined);
            }
            State::Streaming { input_bytes } => {
                out.push(3);
                out.extend_from_slice(&input_bytes.to_le_bytes());
            }
            State::Closing(_) | State::Closed => out.push(4),
            State::Sending { pipelined } => {
                out.push(5);
                put_bytes(out, pipelined);
            }
        }
        assert!(out.len() - start <= limits::EXPORT_BYTES_MAX);
    }

    /// Reads what [`export`](Session::export) wrote and nothing else. A request that waited for its answer waits again,
    /// without a second [`Event::Request`](super::Event::Request).
    ///
    /// # Errors
    /// The bytes are of another layout or not such a session.
    pub fn import(bytes: &[u8]) -> Result<Session, ImportError> {
        let mut source = Source { bytes, offset: 0 };
        match source.byte()? {
            LAYOUT => {}
            found => return Err(ImportError::Version { found }),
        }
        let limits = Limits {
            request_millis: source.u32()?,
            idle_millis: source.u32()?,
            body_bytes_max: source.u32()?,
        };
        let timer = match source.byte()? {
            0 => None,
            1 => Some(Timer::Unused),
            2 => Some(Timer::Request),
            3 => Some(Timer::Idle),
            _ => return Err(source.invalid("timer")),
        };
        let deadline = match timer {
            Some(timer) => Some(Deadline {
                at_millis: source.u64()?,
                timer,
            }),
            None => None,
        };
        let state = import_state(&mut source)?;
        let awaits_peer = matches!(state, State::Head(_) | State::Body { .. });
        if source.offset != bytes.len() {
            return Err(source.invalid("end"));
        }
        if awaits_peer != deadline.is_some() {
            return Err(source.invalid("deadline"));
        }
        Ok(Session::at(state, limits, deadline))
    }
}

fn import_state(source: &mut Source<'_>) -> Result<State, ImportError> {
    match source.byte()? {
        0 => {
            let empty_lines = source.byte()?;
            let mut reading = Box::<Reading>::default();
            reading.empty_lines = empty_lines;
            let bytes = source.bytes()?;
            if empty_lines > limits::LEADING_EMPTY_LINES_MAX
                || reading.resume(bytes).is_none()
                || reading.empty_lines != empty_lines
            {
                return Err(source.invalid("head"));
            }
            Ok(State::Head(reading))
        }
        1 => {
            let exchange = import_exchange(source, |_| Ok(Vec::new()))?;
            let body = import_body(source)?;
            if exchange.head.body.is_none() {
                return Err(source.invalid("body"));
            }
            Ok(State::Body { exchange, body })
        }
        2 => {
            let exchange = import_exchange(source, |source| Ok(source.bytes()?.to_vec()))?;
            if !exchange.pipelined_is_legal() {
                return Err(source.invalid("pipelined bytes"));
            }
            Ok(State::Asked {
                exchange,
                announced: true,
            })
        }
        3 => Ok(State::Streaming {
            input_bytes: source.u32()?,
        }),
        4 => Ok(State::Closed),
        5 => {
            let pipelined = source.bytes()?.to_vec();
            if pipelined.len() > limits::PIPELINED_BYTES_MAX {
                return Err(source.invalid("pipelined bytes"));
            }
            Ok(State::Sending { pipelined })
        }
        _ => Err(source.invalid("state")),
    }
}

fn import_exchange(
    source: &mut Source<'_>,
    pipelined: impl FnOnce(&mut Source<'_>) -> Result<Vec<u8>, ImportError>,
) -> Result<Box<Exchange>, ImportError> {
    let bytes = source.bytes()?.to_vec();
    let head = Head::parse(&bytes).map_err(|_| source.invalid("request"))?;
    let pipelined = pipelined(source)?;
    Ok(Box::new(Exchange { head, bytes, pipelined }))
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("heads and pipelined bytes are bounded by limits");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_body(out: &mut Vec<u8>, body: &Body) {
    let (tag, numbers) = match *body {
        Body::Length { bytes_left } => (0, [bytes_left, 0, 0, 0]),
        Body::Chunked { place, body_offset } => match place {
            Place::Size { size, digits } => (1, [body_offset, size, u64::from(digits), 0]),
            Place::Extension { size, bytes, cr } => (2, [body_offset, size, u64::from(bytes), u64::from(cr)]),
            Place::Bytes { bytes_left } => (3, [body_offset, bytes_left, 0, 0]),
            Place::End { seen } => (4, [body_offset, u64::from(seen), 0, 0]),
            Place::Trailer { bytes, line_bytes, cr } => {
                (5, [body_offset, u64::from(bytes), u64::from(line_bytes), u64::from(cr)])
            }
        },
    };
    out.push(tag);
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn import_body(source: &mut Source<'_>) -> Result<Body, ImportError> {
    let tag = source.byte()?;
    let [first, second, third, fourth] = [source.u64()?, source.u64()?, source.u64()?, source.u64()?];
    let invalid = source.invalid("body place");
    let small = |number: u64, number_max: u32| u32::try_from(number).ok().filter(|n| *n <= number_max).ok_or(invalid);
    let place = match tag {
        0 => return Ok(Body::Length { bytes_left: first }),
        1 => Place::Size {
            size: second,
            digits: small(third, 16)? as u8,
        },
        2 => Place::Extension {
            size: second,
            bytes: small(third, limits::CHUNK_LINE_BYTES_MAX)?,
            cr: fourth == 1,
        },
        3 => Place::Bytes { bytes_left: second },
        4 => Place::End {
            seen: small(second, 1)? as u8,
        },
        5 => Place::Trailer {
            bytes: small(second, limits::TRAILER_BYTES_MAX + 1)?,
            line_bytes: small(third, limits::TRAILER_BYTES_MAX + 1)?,
            cr: fourth == 1,
        },
        _ => return Err(invalid),
    };
    Ok(Body::Chunked {
        place,
        body_offset: first,
    })
}

struct Source<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Source<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ImportError> {
        let end = self.offset.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(ImportError::Truncated {
            bytes: self.bytes.len(),
        })?;
        let taken = &self.bytes[self.offset..end];
        self.offset = end;
        Ok(taken)
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], ImportError> {
        let taken = self.take(LENGTH)?;
        Ok(taken.try_into().expect("take gives the length asked for"))
    }

    fn byte(&mut self) -> Result<u8, ImportError> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, ImportError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, ImportError> {
        self.array().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8], ImportError> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    fn invalid(&self, what: &'static str) -> ImportError {
        ImportError::Invalid {
            what,
            offset: self.offset,
        }
    }
}
