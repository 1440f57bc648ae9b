//! Answers of HTTP/1.1 on a connection that is kept: heads, and bodies by length, in chunks, or until the end.
//!
//! RFC 9112, 6 and 7.1. Fed with pieces of any size; between two answers nothing is held.

use anyhow::{Context, bail};

/// A response head that is longer is none.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// Digits of a chunk's length with its extensions, and a line of the trailer.
const LINE_BYTES_MAX: usize = 1024;

/// What a viewer wants to know of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    pub reason: String,
    pub location: Option<String>,
}

impl Head {
    /// Where another one answers.
    pub fn redirect(&self) -> Option<&str> {
        matches!(self.status, 301 | 302 | 303 | 307 | 308)
            .then_some(self.location.as_deref())
            .flatten()
    }

    pub fn check(&self) -> anyhow::Result<()> {
        match self.status {
            200 | 206 => Ok(()),
            _ => bail!("answered {} {}", self.status, self.reason),
        }
    }
}

#[derive(Debug, PartialEq)]
pub enum Piece<'a> {
    /// All input was taken.
    More,
    Head(Head),
    Body(&'a [u8]),
    /// The answer is whole; the next one follows.
    End,
}

#[derive(Debug, Default, PartialEq)]
enum Stage {
    #[default]
    Head,
    Length(u64),
    UntilClose,
    ChunkHead,
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    Trailer,
    End,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Answer {
    stage: Stage,
    /// A head or line as far as it came.
    text: Vec<u8>,
}

impl Answer {
    /// Between two answers: the connection may be closed.
    pub fn is_idle(&self) -> bool {
        self.stage == Stage::Head && self.text.is_empty()
    }

    /// Whether the end of the connection is the end of the body.
    pub fn ends_by_close(&self) -> bool {
        self.stage == Stage::UntilClose
    }

    /// Bytes of the body that may be thrown away unseen.
    pub fn droppable(&self) -> usize {
        match self.stage {
            Stage::Length(left) | Stage::Chunk(left) => usize::try_from(left).unwrap_or(usize::MAX),
            Stage::UntilClose => usize::MAX,
            _ => 0,
        }
    }

    /// So many were; whether the answer is whole.
    pub fn dropped(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        match &mut self.stage {
            Stage::Length(left) if *left == bytes => {
                self.stage = Stage::Head;
                return true;
            }
            Stage::Chunk(left) if *left == bytes => self.stage = Stage::ChunkEnd,
            Stage::Length(left) | Stage::Chunk(left) => *left -= bytes,
            _ => {}
        }
        false
    }

    /// The next piece of `input`, which it is cut off from.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> anyhow::Result<Piece<'a>> {
        loop {
            match self.stage {
                Stage::End => {
                    self.stage = Stage::Head;
                    return Ok(Piece::End);
                }
                Stage::Length(0) => self.stage = Stage::End,
                _ if input.is_empty() => return Ok(Piece::More),
                Stage::Head => {
                    if let Some(head) = self.head(input)? {
                        return Ok(Piece::Head(head));
                    }
                }
                Stage::UntilClose => return Ok(Piece::Body(std::mem::take(input))),
                Stage::Length(left) | Stage::Chunk(left) => {
                    let bytes = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let (body, rest) = input.split_at(bytes);
                    *input = rest;
                    self.stage = match (&self.stage, left - bytes as u64) {
                        (Stage::Chunk(_), 0) => Stage::ChunkEnd,
                        (Stage::Chunk(_), left) => Stage::Chunk(left),
                        (_, left) => Stage::Length(left),
                    };
                    return Ok(Piece::Body(body));
                }
                Stage::ChunkHead => {
                    if let Some(line) = self.line(input)? {
                        self.stage = match chunk_bytes(&line)? {
                            0 => Stage::Trailer,
                            bytes => Stage::Chunk(bytes),
                        };
                    }
                }
                Stage::ChunkEnd => match self.line(input)? {
                    Some(line) if line.is_empty() => self.stage = Stage::ChunkHead,
                    Some(line) => bail!(
                        "a chunk is longer than its length: {:?}",
                        String::from_utf8_lossy(&line)
                    ),
                    None => {}
                },
                Stage::Trailer => {
                    if self.line(input)?.is_some_and(|line| line.is_empty()) {
                        self.stage = Stage::End;
                    }
                }
            }
        }
    }

    /// A line without its end, when it has come.
    fn line(&mut self, input: &mut &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let (line, rest) = input.split_at(end.map_or(input.len(), |end| end + 1));
        *input = rest;
        if self.text.len() + line.len() > LINE_BYTES_MAX {
            bail!("a line of more than {LINE_BYTES_MAX} bytes in a chunked body");
        }
        self.text.extend_from_slice(line);
        if end.is_none() {
            return Ok(None);
        }
        let mut line = std::mem::take(&mut self.text);
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }

    fn head(&mut self, input: &mut &[u8]) -> anyhow::Result<Option<Head>> {
        let before = self.text.len();
        self.text.extend_from_slice(input);
        let from = before.saturating_sub(3);
        let Some(end) = self.text[from..].windows(4).position(|four| four == b"\r\n\r\n") else {
            if self.text.len() > HEAD_BYTES_MAX {
                bail!("a response head of more than {HEAD_BYTES_MAX} bytes");
            }
            *input = &[];
            return Ok(None);
        };
        let end = from + end + 4;
        *input = &input[end - before..];
        let text = std::mem::take(&mut self.text);
        let (head, stage) = read_head(&text[..end])?;
        self.stage = stage;
        // An interim answer (100, 103) is followed by the real one.
        Ok((head.status >= 200).then_some(head))
    }
}

fn read_head(text: &[u8]) -> anyhow::Result<(Head, Stage)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    let line = || {
        String::from_utf8_lossy(text)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let whole = answer
        .parse(text)
        .with_context(|| format!("no HTTP answer: {:?}", line()))?;
    if whole.is_partial() {
        bail!("no HTTP answer: {:?}", line());
    }
    let status = answer.code.unwrap_or(0);
    let value = |name: &str| {
        let header = answer
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
    };
    let chunked = value("transfer-encoding").is_some_and(|coding| coding.to_ascii_lowercase().ends_with("chunked"));
    let length = match value("content-length") {
        Some(text) => Some(text.parse().with_context(|| format!("content-length is {text:?}"))?),
        None => None,
    };
    let stage = match (status, length) {
        (100..200, _) => Stage::Head,
        (204 | 304, _) => Stage::Length(0),
        _ if chunked => Stage::ChunkHead,
        (_, Some(bytes)) => Stage::Length(bytes),
        (_, None) => Stage::UntilClose,
    };
    let head = Head {
        status,
        reason: answer.reason.unwrap_or_default().to_owned(),
        location: value("location"),
    };
    Ok((head, stage))
}

fn chunk_bytes(line: &[u8]) -> anyhow::Result<u64> {
    let text = String::from_utf8_lossy(line);
    let digits = text.split(';').next().unwrap_or_default().trim();
    u64::from_str_radix(digits, 16).with_context(|| format!("a chunk's length is {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status and body of each answer.
    fn read(wire: &[u8], step: usize) -> Vec<(u16, Vec<u8>, bool)> {
        let (mut answer, mut found) = (Answer::default(), Vec::new());
        for mut piece in wire.chunks(step) {
            loop {
                match answer.next(&mut piece).unwrap() {
                    Piece::More => break,
                    Piece::Head(head) => found.push((head.status, Vec::new(), false)),
                    Piece::Body(body) => found.last_mut().unwrap().1.extend_from_slice(body),
                    Piece::End => found.last_mut().unwrap().2 = true,
                }
            }
        }
        found
    }

    #[test]
    fn answers_follow_each_other_whatever_the_cut() {
        let wire = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
            HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n\
            HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\ndefg\r\n1\r\nh\r\n0\r\nT: x\r\n\r\n\
            HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.0 206 Partial Content\r\n\r\nto the end";
        let expected = [
            (200, &b"abc"[..], true),
            (404, b"", true),
            (200, b"defgh", true),
            (304, b"", true),
            (206, b"to the end", false),
        ]
        .map(|(status, body, whole)| (status, body.to_vec(), whole));
        for step in 1..=wire.len() {
            assert_eq!(read(wire, step), expected, "pieces of {step}");
        }
    }

    #[test]
    fn what_is_thrown_away_is_counted() {
        let mut answer = Answer::default();
        let mut input = &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"[..];
        assert!(matches!(answer.next(&mut input), Ok(Piece::Head(_))));
        assert_eq!(answer.next(&mut input).unwrap(), Piece::Body(b"ab"));
        assert_eq!(answer.droppable(), 8);
        assert!(!answer.dropped(5));
        assert!(answer.dropped(3) && answer.is_idle());
        let mut input = &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"[..];
        assert!(matches!(answer.next(&mut input), Ok(Piece::Head(_))));
        assert_eq!(answer.next(&mut input).unwrap(), Piece::More);
        assert!(answer.droppable() == 5 && !answer.dropped(5) && answer.droppable() == 0);
        let mut input = &b"\r\n0\r\n\r\n"[..];
        assert_eq!(answer.next(&mut input).unwrap(), Piece::End);
    }

    #[test]
    fn what_is_no_answer_is_said() {
        for bad in [
            &b"SSH-2.0-x\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        ] {
            let (mut answer, mut input, mut failed) = (Answer::default(), bad, false);
            while !input.is_empty() && !failed {
                failed = answer.next(&mut input).is_err();
            }
            assert!(failed, "{:?}", String::from_utf8_lossy(bad));
        }
        let long = vec![b'x'; HEAD_BYTES_MAX + 1];
        assert!(Answer::default().next(&mut &long[..]).is_err());
        let head = Head {
            status: 503,
            reason: "Busy".into(),
            location: None,
        };
        assert!(format!("{}", head.check().unwrap_err()).contains("503 Busy"));
    }
}
