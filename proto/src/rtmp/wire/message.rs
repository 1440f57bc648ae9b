//! Message types, control messages (specification 5.4), user control events (7.1.7) and aggregates (7.1.6).

use super::super::error::Error;
use super::super::limits::{AUDIO_BYTES_MAX, COMMAND_BYTES_MAX, CONTROL_BYTES_MAX, SCRIPT_BYTES_MAX, VIDEO_BYTES_MAX};

pub const SET_CHUNK_SIZE: u8 = 1;
pub const ABORT: u8 = 2;
pub const ACKNOWLEDGEMENT: u8 = 3;
pub const USER_CONTROL: u8 = 4;
pub const WINDOW_ACK_SIZE: u8 = 5;
pub const PEER_BANDWIDTH: u8 = 6;
pub const AUDIO: u8 = 8;
pub const VIDEO: u8 = 9;
/// Script data behind a leading 0 byte, in AMF0 all the same by everybody.
pub const DATA_AMF3: u8 = 15;
/// A command behind a leading 0 byte, in AMF0 all the same by everybody.
pub const COMMAND_AMF3: u8 = 17;
pub const DATA: u8 = 18;
pub const COMMAND: u8 = 20;
pub const AGGREGATE: u8 = 22;

/// The longest body of a message of type `kind`.
pub fn bytes_max(kind: u8) -> u32 {
    match kind {
        VIDEO | AGGREGATE => VIDEO_BYTES_MAX,
        AUDIO => AUDIO_BYTES_MAX,
        DATA | DATA_AMF3 => SCRIPT_BYTES_MAX,
        COMMAND | COMMAND_AMF3 => COMMAND_BYTES_MAX,
        _ => CONTROL_BYTES_MAX,
    }
}

/// AMF3 messages of encoders are a 0 byte (or none at all) and then AMF0.
pub fn without_amf3_lead(body: &[u8]) -> &[u8] {
    body.strip_prefix(&[0]).unwrap_or(body)
}

/// A protocol control message; of the user control events those of specification 7.1.7 and 31, 32 of Adobe's server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    SetChunkSize(u32),
    /// Chunk stream.
    Abort(u32),
    /// Bytes received, wrapping.
    Acknowledgement(u32),
    WindowAckSize(u32),
    PeerBandwidth {
        window: u32,
        limit: u8,
    },
    StreamBegin(u32),
    StreamEof(u32),
    StreamDry(u32),
    BufferLength {
        stream: u32,
        millis: u32,
    },
    StreamIsRecorded(u32),
    PingRequest(u32),
    PingResponse(u32),
    BufferEmpty(u32),
    BufferReady(u32),
    /// Legal, and nothing to us.
    OtherEvent {
        event: u16,
    },
}

impl Control {
    /// `Ok(None)` if `kind` is no control message. `offset` is where the message ended. Bytes behind the fields are
    /// ignored.
    pub fn parse(kind: u8, body: &[u8], offset: u64) -> Result<Option<Control>, Error> {
        let short = Error::ControlTooShort {
            offset,
            kind,
            bytes: body.len(),
        };
        let word = |at: usize| match body.get(at..at + 4) {
            Some(word) => Ok(u32::from_be_bytes([word[0], word[1], word[2], word[3]])),
            None => Err(short),
        };
        Ok(Some(match kind {
            SET_CHUNK_SIZE => Control::SetChunkSize(word(0)?),
            ABORT => Control::Abort(word(0)?),
            ACKNOWLEDGEMENT => Control::Acknowledgement(word(0)?),
            WINDOW_ACK_SIZE => Control::WindowAckSize(word(0)?),
            // The limit type is left out by some encoders.
            PEER_BANDWIDTH => Control::PeerBandwidth {
                window: word(0)?,
                limit: body.get(4).copied().unwrap_or(2),
            },
            USER_CONTROL => {
                let event = body.first_chunk::<2>().ok_or(short)?;
                match u16::from_be_bytes(*event) {
                    0 => Control::StreamBegin(word(2)?),
                    1 => Control::StreamEof(word(2)?),
                    2 => Control::StreamDry(word(2)?),
                    3 => Control::BufferLength {
                        stream: word(2)?,
                        millis: word(6)?,
                    },
                    4 => Control::StreamIsRecorded(word(2)?),
                    6 => Control::PingRequest(word(2)?),
                    7 => Control::PingResponse(word(2)?),
                    31 => Control::BufferEmpty(word(2)?),
                    32 => Control::BufferReady(word(2)?),
                    event => Control::OtherEvent { event },
                }
            }
            _ => return Ok(None),
        }))
    }

    /// Appends the body and returns the message type.
    pub fn emit(self, out: &mut Vec<u8>) -> u8 {
        let (event, first, second) = match self {
            Control::SetChunkSize(bytes) => return word(SET_CHUNK_SIZE, bytes, out),
            Control::Abort(csid) => return word(ABORT, csid, out),
            Control::Acknowledgement(bytes) => return word(ACKNOWLEDGEMENT, bytes, out),
            Control::WindowAckSize(bytes) => return word(WINDOW_ACK_SIZE, bytes, out),
            Control::PeerBandwidth { window, limit } => {
                word(PEER_BANDWIDTH, window, out);
                out.push(limit);
                return PEER_BANDWIDTH;
            }
            Control::StreamBegin(stream) => (0, Some(stream), None),
            Control::StreamEof(stream) => (1, Some(stream), None),
            Control::StreamDry(stream) => (2, Some(stream), None),
            Control::BufferLength { stream, millis } => (3, Some(stream), Some(millis)),
            Control::StreamIsRecorded(stream) => (4, Some(stream), None),
            Control::PingRequest(stamp) => (6, Some(stamp), None),
            Control::PingResponse(stamp) => (7, Some(stamp), None),
            Control::BufferEmpty(stream) => (31, Some(stream), None),
            Control::BufferReady(stream) => (32, Some(stream), None),
            Control::OtherEvent { event } => (event, None, None),
        };
        out.extend_from_slice(&event.to_be_bytes());
        for value in [first, second].into_iter().flatten() {
            out.extend_from_slice(&value.to_be_bytes());
        }
        USER_CONTROL
    }
}

fn word(kind: u8, value: u32, out: &mut Vec<u8>) -> u8 {
    out.extend_from_slice(&value.to_be_bytes());
    kind
}

/// One message inside an aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub kind: u8,
    /// As written: only the difference to the aggregate's first part means something.
    pub timestamp: u32,
    /// Where its body begins and ends in the aggregate.
    pub begin: usize,
    pub end: usize,
}

impl Part {
    /// The part at `at`, an index into the aggregate's body. None at its end, or where the rest is no whole part.
    pub fn parse(aggregate: &[u8], at: usize) -> Option<Part> {
        let header = aggregate.get(at..)?.first_chunk::<PART_HEADER_BYTES>()?;
        let bytes = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
        let begin = at + PART_HEADER_BYTES;
        let end = begin + bytes;
        (end <= aggregate.len()).then_some(Part {
            kind: header[0],
            timestamp: u32::from_be_bytes([header[7], header[4], header[5], header[6]]),
            begin,
            end,
        })
    }

    /// Where the next part begins: behind the size that follows each.
    pub fn next(&self) -> usize {
        self.end + PART_TRAILER_BYTES
    }

    pub fn emit(kind: u8, timestamp: u32, body: &[u8], out: &mut Vec<u8>) {
        let time = timestamp.to_be_bytes();
        out.push(kind);
        out.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
        out.extend_from_slice(&[time[1], time[2], time[3], time[0], 0, 0, 0]);
        out.extend_from_slice(body);
        out.extend_from_slice(&((PART_HEADER_BYTES + body.len()) as u32).to_be_bytes());
    }
}

const PART_HEADER_BYTES: usize = 11;
const PART_TRAILER_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_message_parses_back_and_none_of_its_beginnings_do() {
        for control in [
            Control::SetChunkSize(65_536),
            Control::Abort(5),
            Control::Acknowledgement(u32::MAX),
            Control::WindowAckSize(1),
            Control::PeerBandwidth { window: 2, limit: 0 },
            Control::StreamBegin(1),
            Control::StreamEof(2),
            Control::StreamDry(3),
            Control::BufferLength {
                stream: 1,
                millis: 3000,
            },
            Control::StreamIsRecorded(1),
            Control::PingRequest(77),
            Control::PingResponse(78),
            Control::BufferEmpty(1),
            Control::BufferReady(1),
            Control::OtherEvent { event: 99 },
        ] {
            let mut body = Vec::new();
            let kind = control.emit(&mut body);
            assert_eq!(Control::parse(kind, &body, 0), Ok(Some(control)));
            body.push(9);
            if !matches!(control, Control::PeerBandwidth { .. }) {
                assert_eq!(Control::parse(kind, &body, 0), Ok(Some(control)), "with a byte more");
            }
            let bytes = 1;
            let short = Error::ControlTooShort { offset: 3, kind, bytes };
            assert_eq!(Control::parse(kind, &body[..bytes], 3), Err(short));
        }
        assert_eq!(Control::parse(VIDEO, &[], 0), Ok(None));
    }

    #[test]
    fn parts_of_an_aggregate_come_out_and_a_cut_one_does_not() {
        let mut body = Vec::new();
        Part::emit(AUDIO, 0x0100_0001, b"abc", &mut body);
        Part::emit(VIDEO, 7, b"", &mut body);
        let first = Part::parse(&body, 0).unwrap();
        assert_eq!(
            (first.kind, first.timestamp, &body[first.begin..first.end]),
            (AUDIO, 0x0100_0001, &b"abc"[..])
        );
        let second = Part::parse(&body, first.next()).unwrap();
        assert_eq!(
            (second.kind, second.timestamp, second.begin == second.end),
            (VIDEO, 7, true)
        );
        assert_eq!(Part::parse(&body, second.next()), None);
        assert_eq!(Part::parse(&body[..13], 0), None);
        assert_eq!(Part::parse(&body, usize::MAX), None);
    }
}
