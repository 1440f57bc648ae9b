//! Requests, answers and interleaved frames (RFC 2326, 4 to 7 and 10.12), read one at a time from bytes that are cut
//! anywhere.
//!
//! Tolerated: line feeds without carriage returns, line ends before a message, folded lines, spaces around colons, headers
//! in any case.

use std::ops::Range;

use super::super::error::Error;
use super::super::limits::{BODY_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX, LEADING_LINE_ENDS_MAX, LINE_BYTES_MAX};

/// Of `$`, channel and length.
pub const FRAME_HEAD_BYTES: usize = 4;

/// Which protocol a first line names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Rtsp1,
    /// Another RTSP.
    Other,
    /// HTTP, which carries RTSP in a tunnel.
    Http,
}

/// What a message's first line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    Request {
        method: String,
        url: String,
        version: Version,
    },
    Response {
        status: u16,
        reason: String,
    },
}

/// A message without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub start: Start,
    /// Names as they came, values without spaces around them, folded lines joined by a space.
    headers: Vec<(String, String)>,
}

impl Head {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let same = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str())
    }

    /// Every header of that name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let same = self
            .headers
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str())
    }

    /// `CSeq`; none if it is missing or no number.
    pub fn sequence(&self) -> Option<u32> {
        self.header("CSeq")?.parse().ok()
    }
}

/// What came whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Read<'a> {
    Frame { channel: u8, packet: &'a [u8] },
    Message { head: Head, body: &'a [u8] },
}

/// Bytes to messages. Its one buffer holds the message that is under way.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    stage: Stage,
    /// Of the peer, before the message under way.
    offset: u64,
    line_ends: u32,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    /// Where the line under way begins.
    Head {
        line: usize,
    },
    Body {
        head: Head,
        begin: usize,
        end: usize,
    },
    Frame,
    /// It was given out: the next read begins anew.
    Whole,
}

impl Reader {
    /// Takes bytes up to the end of one message, or all.
    pub fn read(&mut self, input: &[u8]) -> Result<(usize, Option<Read<'_>>), Error> {
        if matches!(self.stage, Stage::Whole) {
            self.offset += self.bytes.len() as u64;
            self.bytes.clear();
            self.stage = Stage::Idle;
        }
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match &self.stage {
                Stage::Whole => unreachable!("begun anew above, and left by the return below"),
                Stage::Idle => {
                    let Some(byte) = rest.first() else {
                        return Ok((at, None));
                    };
                    at += self.begin(*byte)?;
                }
                Stage::Frame => {
                    let end = match self.bytes.get(2..FRAME_HEAD_BYTES) {
                        Some(length) => FRAME_HEAD_BYTES + usize::from(u16::from_be_bytes([length[0], length[1]])),
                        None => FRAME_HEAD_BYTES,
                    };
                    at += self.fill(rest, end);
                    if self.bytes.len() < end {
                        return Ok((at, None));
                    }
                    if self.bytes.len() > FRAME_HEAD_BYTES || self.bytes[2..] == [0, 0] {
                        return Ok((at, Some(self.frame())));
                    }
                }
                Stage::Head { line } => {
                    let line = *line;
                    let end = rest.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
                    let part = &rest[..end.unwrap_or(rest.len())];
                    self.bytes.extend_from_slice(part);
                    at += part.len();
                    self.require_bounds(line)?;
                    if end.is_none() {
                        return Ok((at, None));
                    }
                    self.line(line)?;
                }
                Stage::Body { end, .. } => {
                    let end = *end;
                    at += self.fill(rest, end);
                    if self.bytes.len() < end {
                        return Ok((at, None));
                    }
                    return Ok((at, Some(self.message())));
                }
            }
        }
    }

    /// The last frame's packet again, until the next read.
    pub fn packet(&self) -> &[u8] {
        self.bytes.get(FRAME_HEAD_BYTES..).unwrap_or_default()
    }

    /// Whether a message is under way.
    pub fn is_within(&self) -> bool {
        !matches!(self.stage, Stage::Idle | Stage::Whole)
    }

    /// What it owns, by capacity; a head that is read is no longer than its bytes.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives memory back between messages.
    pub fn park(&mut self) {
        if !self.is_within() {
            self.offset += self.bytes.len() as u64;
            self.bytes = Vec::new();
            self.stage = Stage::Idle;
        }
    }

    /// The bytes of the message under way, and how many came before it: [`Reader::resumed`] makes the same reader of them.
    pub fn unfinished(&self) -> (u64, u32, &[u8]) {
        match self.stage {
            Stage::Whole => (self.offset + self.bytes.len() as u64, 0, &[]),
            _ => (self.offset, self.line_ends, &self.bytes),
        }
    }

    /// None if the bytes are more than one unfinished message.
    pub fn resumed(offset: u64, line_ends: u32, bytes: &[u8]) -> Option<Reader> {
        let mut reader = Reader {
            offset,
            line_ends: line_ends.min(LEADING_LINE_ENDS_MAX),
            ..Reader::default()
        };
        let fits = bytes.len() <= HEAD_BYTES_MAX + BODY_BYTES_MAX && offset < 1 << 62;
        if !fits || !matches!(reader.read(bytes), Ok((taken, None)) if taken == bytes.len()) {
            return None;
        }
        Some(reader).filter(|reader| reader.bytes == bytes)
    }

    /// The first byte of a message; 1 if it was a line end before it.
    fn begin(&mut self, byte: u8) -> Result<usize, Error> {
        match byte {
            b'\r' | b'\n' if self.line_ends < LEADING_LINE_ENDS_MAX => {
                self.line_ends += 1;
                self.offset += 1;
                return Ok(1);
            }
            b'$' => self.stage = Stage::Frame,
            b'A'..=b'Z' | b'a'..=b'z' => self.stage = Stage::Head { line: 0 },
            byte => {
                return Err(Error::Garbage {
                    offset: self.offset,
                    byte,
                });
            }
        }
        self.line_ends = 0;
        Ok(0)
    }

    fn fill(&mut self, rest: &[u8], end: usize) -> usize {
        let taken = rest.len().min(end - self.bytes.len());
        self.bytes.extend_from_slice(&rest[..taken]);
        taken
    }

    fn require_bounds(&self, line: usize) -> Result<(), Error> {
        if self.bytes.len() - line > LINE_BYTES_MAX {
            return Err(Error::LineTooLong {
                offset: self.offset + line as u64,
                bytes_max: LINE_BYTES_MAX,
            });
        }
        if self.bytes.len() > HEAD_BYTES_MAX {
            return Err(Error::HeadTooLong {
                offset: self.offset,
                bytes_max: HEAD_BYTES_MAX,
            });
        }
        // A peer that speaks no RTSP is told apart by its first line, not by its length.
        Ok(())
    }

    /// A line of the head came whole.
    fn line(&mut self, line: usize) -> Result<(), Error> {
        let is_empty = trimmed(&self.bytes[line..]).is_empty();
        if line == 0 {
            parse_start(trimmed(&self.bytes)).ok_or(Error::StartLine { offset: self.offset })?;
        }
        if !is_empty {
            self.stage = Stage::Head { line: self.bytes.len() };
            return Ok(());
        }
        let head = self.head()?;
        let begin = self.bytes.len();
        // An HTTP POST of a tunnel has no end: its body is the tunnel.
        let is_http = matches!(
            head.start,
            Start::Request {
                version: Version::Http,
                ..
            }
        );
        let bytes = match head.header("Content-Length") {
            Some(length) if !is_http => length
                .parse::<u64>()
                .map_err(|_| Error::ContentLength { offset: self.offset })?,
            _ => 0,
        };
        if bytes > BODY_BYTES_MAX as u64 {
            return Err(Error::BodyTooLong {
                offset: self.offset,
                bytes,
                bytes_max: BODY_BYTES_MAX,
            });
        }
        let end = begin + bytes as usize;
        self.stage = Stage::Body { head, begin, end };
        Ok(())
    }

    fn head(&self) -> Result<Head, Error> {
        let mut lines = self.bytes.split_inclusive(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default();
        let start = parse_start(trimmed(first)).ok_or(Error::StartLine { offset: self.offset })?;
        let mut offset = self.offset + first.len() as u64;
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            let text = String::from_utf8_lossy(trimmed(line));
            let count = headers.len();
            match (line.first(), headers.last_mut(), text.split_once(':')) {
                _ if text.is_empty() => {}
                (Some(b' ' | b'\t'), Some((_, value)), _) => {
                    value.push(' ');
                    value.push_str(&text);
                }
                (_, _, Some((name, value))) if count < HEADERS_MAX => {
                    headers.push((name.trim().to_owned(), value.trim().to_owned()));
                }
                (_, _, Some(_)) => {
                    return Err(Error::TooManyHeaders {
                        offset: self.offset,
                        max: HEADERS_MAX,
                    });
                }
                (_, _, None) => return Err(Error::HeaderLine { offset }),
            }
            offset += line.len() as u64;
        }
        Ok(Head { start, headers })
    }

    fn frame(&mut self) -> Read<'_> {
        self.stage = Stage::Whole;
        Read::Frame {
            channel: self.bytes[1],
            packet: &self.bytes[FRAME_HEAD_BYTES..],
        }
    }

    fn message(&mut self) -> Read<'_> {
        let Stage::Body { head, begin, end } = std::mem::replace(&mut self.stage, Stage::Whole) else {
            unreachable!("only a body's end makes a message")
        };
        let body: Range<usize> = begin..end;
        Read::Message {
            head,
            body: &self.bytes[body],
        }
    }
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.trim_ascii()
}

fn parse_start(line: &[u8]) -> Option<Start> {
    let text = String::from_utf8_lossy(line);
    if text.get(..5).is_some_and(|begin| begin.eq_ignore_ascii_case("RTSP/")) {
        let mut words = text.splitn(3, [' ', '\t']).skip(1);
        let status = words
            .next()?
            .parse()
            .ok()
            .filter(|status| (100..1000).contains(status))?;
        let reason = words.next().unwrap_or_default().trim().to_owned();
        return Some(Start::Response { status, reason });
    }
    let (method, rest) = text.split_once([' ', '\t'])?;
    let (url, version) = rest.trim().rsplit_once([' ', '\t'])?;
    let version = match version.to_ascii_uppercase().as_str() {
        "RTSP/1.0" => Version::Rtsp1,
        version if version.starts_with("RTSP/") => Version::Other,
        version if version.starts_with("HTTP/1.") => Version::Http,
        _ => return None,
    };
    let is_token = method
        .bytes()
        .all(|byte| byte.is_ascii_alphabetic() || byte == b'_' || byte == b'-');
    is_token.then(|| Start::Request {
        method: method.to_owned(),
        // Some cameras' tools leave spaces in names.
        url: url.trim().to_owned(),
        version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out, a line each, however it is cut.
    fn shown(input: &[u8], step: usize) -> Vec<String> {
        let mut reader = Reader::default();
        let mut out = Vec::new();
        for mut piece in input.chunks(step) {
            loop {
                let (offset, line_ends, bytes) = reader.unfinished();
                reader = Reader::resumed(offset, line_ends, bytes).expect("any reader can be moved");
                let (taken, read) = match reader.read(piece) {
                    Ok(read) => read,
                    Err(error) => {
                        out.push(error.to_string());
                        return out;
                    }
                };
                piece = &piece[taken..];
                match read {
                    None => break,
                    Some(Read::Frame { channel, packet }) => out.push(format!("{channel}: {}", packet.escape_ascii())),
                    Some(Read::Message { head, body }) => {
                        let headers = head.headers.iter().map(|(name, value)| format!("{name}={value}"));
                        let headers = headers.collect::<Vec<_>>().join("|");
                        let start = match &head.start {
                            Start::Request { method, url, version } => format!("{method} {url} {version:?}"),
                            Start::Response { status, reason } => format!("{status} {reason}"),
                        };
                        out.push(format!("{start}|{headers}|{}", body.escape_ascii()));
                    }
                }
            }
            assert!(piece.is_empty(), "what is no whole message is taken");
        }
        out
    }

    #[test]
    fn messages_and_frames_come_out_however_they_are_cut() {
        let cases: [(&[u8], &[&str]); 14] = [
            (b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", &["OPTIONS * Rtsp1|CSeq=1|"]),
            (
                b"\r\n\n\r\nOPTIONS rtsp://a/b RTSP/1.0\ncseq : 1\nX:\n\nRTSP/1.0 200 OK\r\nCSEQ:1\r\n\r\n",
                &["OPTIONS rtsp://a/b Rtsp1|cseq=1|X=|", "200 OK|CSEQ=1|"],
            ),
            (
                b"ANNOUNCE rtsp://a/b RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 3\r\n\r\nabc$\x01\0\x02hiTEARDOWN rtsp://a/b RTSP/1.0\r\n\r\n",
                &["ANNOUNCE rtsp://a/b Rtsp1|CSeq=2|Content-Length=3|abc", "1: hi", "TEARDOWN rtsp://a/b Rtsp1||"],
            ),
            (b"$\x05\0\0$\x06\0\x01$", &["5: ", "6: $"]),
            (
                b"SETUP rtsp://a/my cam RTSP/1.0\r\nTransport: RTP/AVP,\r\n\tRTP/AVP/TCP\r\n\r\n",
                &["SETUP rtsp://a/my cam Rtsp1|Transport=RTP/AVP, RTP/AVP/TCP|"],
            ),
            (b"RTSP/1.0 401\r\n\r\n", &["401 ||"]),
            (b"PLAY x RTSP/2.0\r\n\r\n", &["PLAY x Other||"]),
            (
                b"POST /x HTTP/1.0\r\nContent-Length: 32767\r\n\r\n",
                &["POST /x Http|Content-Length=32767|"],
            ),
            (b"\x80\x60", &["byte 0x80 at 0 begins neither a message nor a frame"]),
            (b"$\x00\0\x01a\x16", &["0: a", "byte 0x16 at 5 begins neither a message nor a frame"]),
            (b"HELO there\r\n", &["line at 0 is neither a request's nor an answer's"]),
            (b"PLAY x RTSP/1.0\r\nnonsense\r\n\r\n", &["line at 17 is no header"]),
            (
                b"PLAY x RTSP/1.0\r\nContent-Length: -1\r\n\r\n",
                &["message at 0 has a Content-Length that is no number"],
            ),
            (
                b"PLAY x RTSP/1.0\r\nContent-Length: 65537\r\n\r\n",
                &["message at 0 has a body of 65537 bytes, more than 65536"],
            ),
        ];
        for (input, expected) in cases {
            for step in 1..=input.len() {
                assert_eq!(
                    shown(input, step),
                    expected,
                    "{} in steps of {step}",
                    input.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn what_does_not_end_has_bounds() {
        let check = |input: &[u8], expected: Error| {
            for step in [1, 1000, usize::MAX] {
                assert_eq!(shown(input, step.min(input.len())), [expected.to_string()]);
            }
        };
        check(
            &[b'A'; LINE_BYTES_MAX + 1],
            Error::LineTooLong {
                offset: 0,
                bytes_max: LINE_BYTES_MAX,
            },
        );
        let line = format!("X: {}\r\n", "y".repeat(4000));
        check(
            format!("A b RTSP/1.0\r\n{}", line.repeat(5)).as_bytes(),
            Error::HeadTooLong {
                offset: 0,
                bytes_max: HEAD_BYTES_MAX,
            },
        );
        check(
            format!("A b RTSP/1.0\r\n{}\r\n", "a:b\r\n".repeat(HEADERS_MAX + 1)).as_bytes(),
            Error::TooManyHeaders {
                offset: 0,
                max: HEADERS_MAX,
            },
        );
        check(
            &b"\n".repeat(LEADING_LINE_ENDS_MAX as usize + 1),
            Error::Garbage {
                offset: u64::from(LEADING_LINE_ENDS_MAX),
                byte: b'\n',
            },
        );
    }
}
