//! RTSP in HTTP, for players behind proxies: two connections that name the same cookie are one. What the server says goes
//! down as the endless answer to a GET; what the player says comes up as the endless body of a POST, in base64.
//!
//! Not here: who meets whom, which the appliance knows; a [`Session`](super::Session) reads what comes up, decoded, as from
//! any connection.
//!
//! There is no RFC: Apple's description of 1999 is what QuickTime, VLC, ffmpeg and GStreamer follow. A POST gets no answer,
//! ever: its `Content-Length` is made up (32767, whatever is sent), and players do not read there. A player may end its POST
//! and go on with another one; it may also open its POST before its GET is answered.

use std::fmt;

use super::error::Error;
use super::limits::COOKIE_BYTES_MAX;

/// What names both halves of a tunnel. It makes a request one of a tunnel, whatever else that says.
pub const COOKIE_HEADER: &str = "x-sessioncookie";

/// The answer to a GET: what follows is RTSP, up to the connection's end. Proxies are told to keep nothing and to wait for
/// nothing.
pub(super) const OPENED: &str = "HTTP/1.0 200 OK\r\nConnection: close\r\nCache-Control: no-store\r\nPragma: no-cache\r\n\
                                 Content-Type: application/x-rtsp-tunnelled\r\n\r\n";

/// Which way a connection of a tunnel goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// A GET: what the server says.
    Down,
    /// A POST: what the player says.
    Up,
}

/// A request that opens one half of a tunnel.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    pub half: Half,
    /// At most [`COOKIE_BYTES_MAX`]. Who knows it can speak for the player: `Debug` leaves it out.
    pub cookie: String,
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening")
            .field("half", &self.half)
            .finish_non_exhaustive()
    }
}

impl Opening {
    /// Of an HTTP request's method and its [`COOKIE_HEADER`]; none if it opens no tunnel.
    pub fn parse(method: &str, cookie: Option<&str>) -> Option<Opening> {
        let half = match method {
            "GET" => Half::Down,
            "POST" => Half::Up,
            _ => return None,
        };
        let cookie = cookie?.trim();
        let fits = !cookie.is_empty() && cookie.len() <= COOKIE_BYTES_MAX;
        fits.then(|| Opening {
            half,
            cookie: cookie.to_owned(),
        })
    }
}

/// Base64 (RFC 4648, 4) of what comes up, cut anywhere. Each message may be encoded by itself, so that padding stands in the
/// middle, and lines may end anywhere.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Of the group under way: its letters so far, six bits each.
    bits: u32,
    letters: u8,
    /// A second `=` is due.
    is_padded: bool,
    offset: u64,
}

impl Decoder {
    /// Appends what `input` says to `out`: at most three bytes for four.
    ///
    /// # Errors
    /// It is no base64. What came before that is in `out`.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        for byte in input {
            let offset = self.offset;
            let wrong = Error::Base64 { offset, byte: *byte };
            self.offset += 1;
            match (byte, value(*byte)) {
                (b'\r' | b'\n' | b' ' | b'\t', _) => {}
                (b'=', _) if self.is_padded => self.is_padded = false,
                (b'=', _) => self.pad(out).ok_or(wrong)?,
                (_, Some(value)) if !self.is_padded => self.letter(value, out),
                _ => return Err(wrong),
            }
        }
        Ok(())
    }

    fn letter(&mut self, value: u8, out: &mut Vec<u8>) {
        self.bits = self.bits << 6 | u32::from(value);
        self.letters += 1;
        if self.letters == 4 {
            let [_, bytes @ ..] = self.bits.to_be_bytes();
            out.extend_from_slice(&bytes);
            (self.bits, self.letters) = (0, 0);
        }
    }

    /// The end of a message, in the middle of a group.
    fn pad(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let bytes = match self.letters {
            2 => 1,
            3 => 2,
            _ => return None,
        };
        let group = self.bits << (6 * (4 - u32::from(self.letters)));
        out.extend_from_slice(&group.to_be_bytes()[1..=bytes]);
        self.is_padded = self.letters == 2;
        (self.bits, self.letters) = (0, 0);
        Some(())
    }
}

fn value(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn decoded(input: &[u8], step: usize) -> Result<Vec<u8>, Error> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for piece in input.chunks(step) {
            decoder.decode(piece, &mut out)?;
            assert!(out.len() <= input.len() / 4 * 3 + 3);
        }
        Ok(out)
    }

    #[test]
    fn only_requests_with_a_cookie_open_a_tunnel() {
        for (method, cookie, half) in [
            ("GET", Some("abc"), Some(Half::Down)),
            ("POST", Some(" abc "), Some(Half::Up)),
            ("HEAD", Some("abc"), None),
            ("GET", Some(" "), None),
            ("GET", None, None),
            ("POST", None, None),
        ] {
            let opening = Opening::parse(method, cookie);
            assert_eq!(
                opening.as_ref().map(|opening| opening.half),
                half,
                "{method} {cookie:?}"
            );
            assert!(opening.is_none_or(|opening| opening.cookie == "abc" && !format!("{opening:?}").contains("abc")));
        }
        let longest = "x".repeat(COOKIE_BYTES_MAX);
        assert!(Opening::parse("GET", Some(&longest)).is_some());
        assert!(Opening::parse("GET", Some(&format!("{longest}x"))).is_none());
    }

    #[test]
    fn what_comes_up_is_decoded_however_it_is_cut_and_padded() {
        let every: Vec<u8> = (0..=255).collect();
        for length in 0..20 {
            // A message each, encoded by itself; and lines, as encoders of mail write them.
            let messages = [&every[..length], &every[200..], &every[length..100], b"x"];
            let sent: String = messages.iter().map(|message| STANDARD.encode(message)).collect();
            let lined: String = sent.chars().flat_map(|char| [char, '\r', '\n']).collect();
            for text in [&sent, &lined] {
                for step in [1, 2, 3, 5, 64, 10_000] {
                    assert_eq!(
                        decoded(text.as_bytes(), step),
                        Ok(messages.concat()),
                        "{text} by {step}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_no_base64_is_told_with_its_place() {
        for (text, offset, byte) in [
            ("QUJD*", 4, b'*'),
            ("QUJD\0", 4, 0),
            ("=", 0, b'='),
            ("Q=", 1, b'='),
            ("QQ=Q", 3, b'Q'),
            ("QQ===", 4, b'='),
            ("QUI==", 4, b'='),
            ("QUJD-_", 4, b'-'),
        ] {
            for step in [1, 10] {
                assert_eq!(
                    decoded(text.as_bytes(), step),
                    Err(Error::Base64 { offset, byte }),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn no_body_is_too_long() {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        let request = STANDARD.encode("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
        for _ in 0..3 * 32_767 / request.len() {
            out.clear();
            decoder.decode(request.as_bytes(), &mut out).unwrap();
            assert!(out.ends_with(b"\r\n\r\n"));
        }
    }
}
