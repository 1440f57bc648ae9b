//! The end of a request body (RFC 9112 sections 6 and 7.1). Its bytes are dropped: no request of a viewer has one that
//! means anything.

use super::super::{Error, limits};

/// Where in a body the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    Length { bytes_left: u64 },
    Chunked { place: Place, body_offset: u64 },
}

/// The grammar of a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Size {
        size: u64,
        digits: u8,
    },
    /// Behind the size, up to the line feed. `cr` says that the byte before was a carriage return.
    Extension {
        size: u64,
        bytes: u32,
        cr: bool,
    },
    Bytes {
        bytes_left: u64,
    },
    /// The carriage return (0) and line feed (1) behind a chunk's bytes.
    End {
        seen: u8,
    },
    Trailer {
        bytes: u32,
        line_bytes: u32,
        cr: bool,
    },
}

/// What [`Body::take`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// All of the input belonged to the body, which goes on.
    All,
    /// The body ended behind this many bytes.
    Ended { bytes: usize },
}

impl Body {
    pub fn chunked() -> Body {
        Body::Chunked {
            place: Place::Size { size: 0, digits: 0 },
            body_offset: 0,
        }
    }

    pub fn take(&mut self, input: &[u8], bytes_max: u32) -> Result<Taken, Error> {
        match self {
            Body::Length { bytes_left } => {
                let given = input.len() as u64;
                if given < *bytes_left {
                    *bytes_left -= given;
                    return Ok(Taken::All);
                }
                let bytes = *bytes_left as usize;
                *bytes_left = 0;
                Ok(Taken::Ended { bytes })
            }
            Body::Chunked { place, body_offset } => take_chunked(place, body_offset, input, bytes_max),
        }
    }
}

fn take_chunked(place: &mut Place, body_offset: &mut u64, input: &[u8], bytes_max: u32) -> Result<Taken, Error> {
    let mut taken = 0;
    while taken < input.len() {
        let bytes = match place {
            Place::Bytes { bytes_left } => {
                let bytes = (input.len() - taken).min(usize::try_from(*bytes_left).unwrap_or(usize::MAX));
                *bytes_left -= bytes as u64;
                if *bytes_left == 0 {
                    *place = Place::End { seen: 0 };
                }
                bytes
            }
            _ => {
                match step(*place, input[taken], *body_offset)? {
                    Some(next) => *place = next,
                    None => return Ok(Taken::Ended { bytes: taken + 1 }),
                }
                1
            }
        };
        taken += bytes;
        *body_offset = body_offset.saturating_add(bytes as u64);
        let announced = match place {
            Place::Bytes { bytes_left } => *bytes_left,
            _ => 0,
        };
        if body_offset.saturating_add(announced) > u64::from(bytes_max) {
            return Err(Error::BodyTooLong { bytes_max });
        }
    }
    Ok(Taken::All)
}

/// One byte of framing; `None` when it was the body's last.
fn step(place: Place, byte: u8, body_offset: u64) -> Result<Option<Place>, Error> {
    let next = match place {
        Place::Size { size, digits } => step_size(size, digits, byte, body_offset)?,
        Place::Extension { size, cr: true, .. } => match byte {
            b'\n' if size == 0 => Place::Trailer {
                bytes: 0,
                line_bytes: 0,
                cr: false,
            },
            b'\n' => Place::Bytes { bytes_left: size },
            _ => return Err(Error::ChunkSizeInvalid { body_offset }),
        },
        Place::Extension { size, bytes, cr: false } => {
            let bytes_max = limits::CHUNK_LINE_BYTES_MAX;
            if bytes >= bytes_max {
                return Err(Error::ChunkLineTooLong { body_offset, bytes_max });
            }
            if byte == b'\n' || byte == 0 {
                return Err(Error::ChunkSizeInvalid { body_offset });
            }
            Place::Extension {
                size,
                bytes: bytes + 1,
                cr: byte == b'\r',
            }
        }
        Place::End { seen } => match (seen, byte) {
            (0, b'\r') => Place::End { seen: 1 },
            (1, b'\n') => Place::Size { size: 0, digits: 0 },
            _ => return Err(Error::ChunkEndMissing { body_offset }),
        },
        Place::Trailer { bytes, line_bytes, cr } => {
            let bytes_max = limits::TRAILER_BYTES_MAX;
            match (byte, cr) {
                (b'\n', true) if line_bytes == 1 => return Ok(None),
                (b'\n', true) => Place::Trailer {
                    bytes: bytes + 1,
                    line_bytes: 0,
                    cr: false,
                },
                (b'\n', false) | (_, true) => return Err(Error::ChunkEndMissing { body_offset }),
                _ if bytes >= bytes_max => return Err(Error::TrailerTooLong { bytes_max }),
                _ => Place::Trailer {
                    bytes: bytes + 1,
                    line_bytes: line_bytes + 1,
                    cr: byte == b'\r',
                },
            }
        }
        Place::Bytes { .. } => unreachable!("the caller takes chunk bytes in one piece"),
    };
    Ok(Some(next))
}

fn step_size(size: u64, digits: u8, byte: u8, body_offset: u64) -> Result<Place, Error> {
    let invalid = Error::ChunkSizeInvalid { body_offset };
    if let Some(digit) = char::from(byte).to_digit(16) {
        // Sixteen digits fill 64 bits; a seventeenth, even a zero, is a trick.
        if digits >= 16 {
            return Err(invalid);
        }
        return Ok(Place::Size {
            size: size << 4 | u64::from(digit),
            digits: digits + 1,
        });
    }
    match byte {
        b'\r' if digits > 0 => Ok(Place::Extension {
            size,
            bytes: 0,
            cr: true,
        }),
        b';' if digits > 0 => Ok(Place::Extension {
            size,
            bytes: 0,
            cr: false,
        }),
        _ => Err(invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &[u8], expected: Result<Taken, Error>) {
        let whole = Body::chunked().take(input, 1000);
        assert_eq!(whole, expected, "{}", input.escape_ascii());
        // Byte by byte, the same end or the same error.
        let mut body = Body::chunked();
        let mut found = Ok(Taken::All);
        for (index, byte) in input.iter().enumerate() {
            found = body.take(&[*byte], 1000).map(|taken| match taken {
                Taken::All => Taken::All,
                Taken::Ended { bytes } => Taken::Ended { bytes: index + bytes },
            });
            if found != Ok(Taken::All) {
                break;
            }
        }
        assert_eq!(found, expected, "cut at each byte: {}", input.escape_ascii());
    }

    #[test]
    fn chunked_bodies_end_where_they_end() {
        let size = |body_offset| Err(Error::ChunkSizeInvalid { body_offset });
        let end = |body_offset| Err(Error::ChunkEndMissing { body_offset });
        check(b"0\r\n\r\nGET", Ok(Taken::Ended { bytes: 5 }));
        check(b"3\r\nabc\r\n0\r\n\r\n", Ok(Taken::Ended { bytes: 13 }));
        check(
            b"0A;x=\"y\"\r\n0123456789\r\n0\r\nT: v\r\n\r\nX",
            Ok(Taken::Ended { bytes: 33 }),
        );
        check(b"3\r\nab", Ok(Taken::All));
        check(b"", Ok(Taken::All));
        check(b"3\nabc", size(1));
        check(b" 3\r\n", size(0));
        check(b"3 \r\n", size(1));
        check(b"0x3\r\n", size(1));
        check(b"-1\r\n", size(0));
        check(b"\r\n", size(0));
        check(b"3;a\n", size(3));
        check(b"3;\rx", size(3));
        check(b"00000000000000003\r\n", size(16));
        check(b"3\r\nabcd\r\n", end(6));
        check(b"3\r\nabc\n", end(6));
        check(b"0\r\nT: v\n\r\n", end(7));
        check(b"0\r\nT: v\rx", end(8));
        check(b"ffffffffffffffff\r\n", Err(Error::BodyTooLong { bytes_max: 1000 }));
        check(b"3E9\r\n", Err(Error::BodyTooLong { bytes_max: 1000 }));
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let long = [b"1;".as_slice(), &[b'a'; 300]].concat();
        let bytes_max = limits::CHUNK_LINE_BYTES_MAX;
        check(
            &long,
            Err(Error::ChunkLineTooLong {
                body_offset: 2 + u64::from(bytes_max),
                bytes_max,
            }),
        );
        let trailer = [b"0\r\n".as_slice(), &[b'a'; 5000]].concat();
        let found = Body::chunked().take(&trailer, u32::MAX);
        assert_eq!(
            found,
            Err(Error::TrailerTooLong {
                bytes_max: limits::TRAILER_BYTES_MAX
            })
        );
    }
}
