//! The head of a request as it comes: lines up to the empty one behind the headers (RFC 9112 sections 2.1 and 2.2).
//!
//! What the lines say is `wire/request`'s to read; here are only their ends, and the bounds of what is kept of them.

use super::super::{Error, limits};

/// The head so far.
#[derive(Debug, Default)]
pub(in super::super) struct Reading {
    pub(in super::super) bytes: Vec<u8>,
    /// Where the line begins that is being read.
    pub(super) line_start: usize,
    /// Behind the request line; 0 in it.
    pub(super) headers_start: usize,
    pub(in super::super) empty_lines: u8,
}

/// How far [`Reading::take`] came.
pub(super) enum Line {
    NeedsMore { taken: usize },
    HeadComplete { taken: usize },
}

impl Reading {
    /// Takes the bytes of a head that is not complete; `None` if they are anything else.
    pub(in super::super) fn resume(&mut self, bytes: &[u8]) -> Option<()> {
        match self.take(bytes) {
            Ok(Line::NeedsMore { .. }) if self.bytes == bytes => Some(()),
            _ => None,
        }
    }

    /// Takes lines up to the empty one behind the headers. Lengths are judged by bytes seen, so that the answer does not
    /// depend on how the input was cut.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<Line, Error> {
        let mut taken = 0;
        while taken < input.len() {
            let rest = &input[taken..];
            let line_feed = rest.iter().position(|byte| *byte == b'\n');
            let bytes = line_feed.map_or(rest.len(), |position| position + 1);
            self.append(&rest[..bytes])?;
            taken += bytes;
            if line_feed.is_some() && self.line_ended()? {
                return Ok(Line::HeadComplete { taken });
            }
        }
        Ok(Line::NeedsMore { taken })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let length = self.bytes.len() + bytes.len();
        if self.headers_start == 0 {
            let bytes_max = limits::REQUEST_LINE_BYTES_MAX;
            if length > bytes_max {
                return Err(Error::RequestLineTooLong { bytes_max });
            }
        } else {
            let bytes_max = limits::HEADER_BLOCK_BYTES_MAX;
            if length - self.headers_start > bytes_max {
                return Err(Error::HeaderBlockTooLong { bytes_max });
            }
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Judges the line that just ended; `true` when it was the empty one behind the headers.
    fn line_ended(&mut self) -> Result<bool, Error> {
        let line = &self.bytes[self.line_start..];
        let Some(text) = line.strip_suffix(b"\r\n") else {
            return Err(Error::BareLineFeed {
                offset: self.bytes.len() - 1,
            });
        };
        if !text.is_empty() {
            self.line_start = self.bytes.len();
            if self.headers_start == 0 {
                self.headers_start = self.line_start;
            }
            return Ok(false);
        }
        if self.line_start > 0 {
            return Ok(true);
        }
        self.bytes.clear();
        self.empty_lines += 1;
        let lines_max = limits::LEADING_EMPTY_LINES_MAX;
        if self.empty_lines > lines_max {
            return Err(Error::TooManyEmptyLines { lines_max });
        }
        Ok(false)
    }
}
