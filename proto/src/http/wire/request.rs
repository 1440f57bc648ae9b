//! A request head (RFC 9112 sections 2-6), checked by httparse, with what framing and answering need taken out of it.

use std::borrow::Cow;
use std::ops::Range;

use super::super::{Error, limits};
use super::body::Body;
use super::range::ByteRange;
use super::{conditions, target};

/// Methods by name; what a stream answers to is the appliance's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Get,
    Head,
    Options,
    Post,
    Put,
    Delete,
    Patch,
    Connect,
    Trace,
}

impl Method {
    fn parse(name: &str) -> Option<Method> {
        let methods = [
            ("GET", Method::Get),
            ("HEAD", Method::Head),
            ("OPTIONS", Method::Options),
            ("POST", Method::Post),
            ("PUT", Method::Put),
            ("DELETE", Method::Delete),
            ("PATCH", Method::Patch),
            ("CONNECT", Method::Connect),
            ("TRACE", Method::Trace),
        ];
        methods
            .into_iter()
            .find_map(|(known, method)| (known == name).then_some(method))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http10,
    Http11,
}

/// Whether the connection can carry another request behind the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    KeepAlive,
    Close,
}

/// How the reason of a refusal is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonFormat {
    Text,
    Json,
}

/// What a head says, with places instead of copies; the head's bytes are kept beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub method: Method,
    pub version: Version,
    pub persistence: Persistence,
    pub reason_format: ReasonFormat,
    /// `None`: no body, or one that the client holds back until it is asked for (`Expect: 100-continue`). It never is:
    /// the answer comes at once and is the connection's last (RFC 9110 section 10.1.1).
    pub body: Option<Body>,
    /// It opens one half of a tunnel ([`TUNNEL_HEADER`]): what comes behind the head, whatever its length is said to be, is
    /// for who takes the connection over.
    pub is_tunnel: bool,
    /// Places of the target and its parts in the head's bytes.
    pub target: Range<usize>,
    pub authority: Option<Range<usize>>,
    pub query: Range<usize>,
    /// Behind the request line's CRLF.
    pub headers_start: usize,
    /// The path, decoded.
    pub path: String,
}

impl Head {
    /// Reads a head that ends with its empty line.
    pub fn parse(bytes: &[u8]) -> Result<Head, Error> {
        let mut headers = [httparse::EMPTY_HEADER; limits::HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let grammar = |what| Error::Grammar {
            what,
            bytes: bytes.len(),
        };
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(head_bytes)) if head_bytes == bytes.len() => {}
            Ok(_) => return Err(grammar("line end")),
            Err(error) => return Err(from_httparse(error, grammar)),
        }
        let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
            return Err(grammar("request line"));
        };
        let method = Method::parse(method).ok_or(Error::MethodUnknown)?;
        let version = if version == 0 { Version::Http10 } else { Version::Http11 };
        let framing = Framing::of(request.headers, bytes, version)?;
        let parts = target::split(target)?;
        let mut path = String::new();
        target::decode_path(&target[parts.path], &mut path)?;
        if (path == "*") != (target == "*") || target == "*" && method != Method::Options {
            return Err(Error::TargetForm);
        }
        let start = offset_in(bytes, target.as_bytes());
        let moved = |range: Range<usize>| start + range.start..start + range.end;
        let is_tunnel = matches!(method, Method::Get | Method::Post)
            && request
                .headers
                .iter()
                .any(|header| header.name.eq_ignore_ascii_case(TUNNEL_HEADER));
        let held_back = (framing.expects_continue || is_tunnel) && framing.body().is_some();
        let line_bytes = bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(bytes.len(), |position| position + 1);
        Ok(Head {
            method,
            version,
            persistence: if held_back {
                Persistence::Close
            } else {
                persistence(request.headers, version)
            },
            reason_format: reason_format(request.headers),
            body: framing.body().filter(|_| !held_back),
            is_tunnel,
            target: start..start + target.len(),
            authority: parts.authority.map(moved),
            query: moved(parts.query),
            headers_start: line_bytes,
            path,
        })
    }
}

/// RTSP in HTTP is told by the cookie that joins its two requests.
const TUNNEL_HEADER: &str = "x-sessioncookie";

/// A request as the appliance sees it: lent, until it is answered.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub(in super::super) head: &'a Head,
    pub(in super::super) bytes: &'a [u8],
}

impl<'a> Request<'a> {
    pub fn method(&self) -> Method {
        self.head.method
    }

    pub fn version(&self) -> Version {
        self.head.version
    }

    /// The target as written, with query.
    pub fn target(&self) -> &'a str {
        self.text(&self.head.target)
    }

    /// The path, percent-decoded; starts with `/` or is `*`; has no control character and no `.` or `..` segment.
    pub fn path(&self) -> &'a str {
        &self.head.path
    }

    /// What stands behind the `?`, as written.
    pub fn query(&self) -> &'a str {
        self.text(&self.head.query)
    }

    /// The query's `name=value` pairs, decoded.
    pub fn parameters(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        target::query_pairs(self.query())
    }

    /// Host and port the client asked for: of an absolute target, else of the `Host` header.
    pub fn host(&self) -> Option<&'a str> {
        match &self.head.authority {
            Some(range) => Some(self.text(range)),
            None => self.header("host"),
        }
    }

    /// Which bytes are asked for, of an object of this length (`None`: it grows) and tag. A `Range` that is repeated, or
    /// comes with an `If-Range` for another tag, or with another method than GET, asks for nothing.
    pub fn byte_range(&self, length: Option<u64>, etag: Option<&str>) -> ByteRange {
        let Some(range) = self.only_header("range").filter(|_| self.head.method == Method::Get) else {
            return ByteRange::None;
        };
        let is_of_this = match self.header_lines("if-range").next() {
            Some(_) => {
                let asked = self.only_header("if-range");
                asked
                    .zip(etag)
                    .is_some_and(|(asked, etag)| conditions::is_tag(asked, etag))
            }
            None => true,
        };
        if is_of_this {
            ByteRange::parse(range, length)
        } else {
            ByteRange::None
        }
    }

    /// Whether the client has the object of this tag (304), which goes before a range.
    pub fn if_none_match(&self, etag: &str) -> bool {
        self.texts("if-none-match")
            .any(|line| conditions::names_tag(line, etag))
    }

    /// Whether gzip is at least as welcome as plain bytes.
    pub fn accepts_gzip(&self) -> bool {
        conditions::prefers_gzip(self.texts("accept-encoding"))
    }

    pub fn origin(&self) -> Option<&'a str> {
        self.header("origin")
    }

    /// Cut to [`limits::USER_AGENT_BYTES_MAX`].
    pub fn user_agent(&self) -> Option<&'a str> {
        let full = self.header("user-agent")?;
        Some(&full[..full.floor_char_boundary(limits::USER_AGENT_BYTES_MAX)])
    }

    /// The value of the first header of this name (any case), if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.header_lines(name)
            .next()
            .and_then(|value| str::from_utf8(value).ok())
    }

    /// The value of a header that means nothing when it is repeated.
    fn only_header(&self, name: &str) -> Option<&'a str> {
        let mut lines = self.header_lines(name);
        let value = lines.next()?;
        lines.next().is_none().then(|| str::from_utf8(value).ok()).flatten()
    }

    /// The values of a header that may be repeated, but those that are not UTF-8.
    fn texts(&self, name: &'static str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.header_lines(name).filter_map(|value| str::from_utf8(value).ok())
    }

    fn header_lines<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let lines = self.bytes[self.head.headers_start..].split(|byte| *byte == b'\n');
        lines.filter_map(move |line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let is_named = line[..colon].eq_ignore_ascii_case(name.as_bytes());
            is_named.then(|| line[colon + 1..].trim_ascii())
        })
    }

    fn text(&self, range: &Range<usize>) -> &'a str {
        str::from_utf8(&self.bytes[range.clone()]).expect("httparse gave the target as UTF-8")
    }
}

/// What says where the body ends. Every way to say it twice is refused (RFC 9112 section 6.3, request smuggling).
#[derive(Debug, Default)]
struct Framing {
    content_length: Option<u64>,
    chunked: bool,
    expects_continue: bool,
}

impl Framing {
    fn of(headers: &[httparse::Header<'_>], bytes: &[u8], version: Version) -> Result<Framing, Error> {
        let mut framing = Framing::default();
        let mut hosts = 0;
        for header in headers.iter() {
            let offset = offset_in(bytes, header.value);
            if header.name.eq_ignore_ascii_case("host") {
                hosts += 1;
            } else if header.name.eq_ignore_ascii_case("content-length") {
                framing.content_length_seen(header.value, offset)?;
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                framing.transfer_encoding_seen(header.value, offset, version)?;
            } else if header.name.eq_ignore_ascii_case("expect") {
                framing.expects_continue |= header.value.trim_ascii().eq_ignore_ascii_case(b"100-continue");
            }
        }
        match (hosts, version) {
            (0, Version::Http11) => Err(Error::HostMissing),
            (0 | 1, _) => Ok(framing),
            _ => Err(Error::HostRepeated),
        }
    }

    fn content_length_seen(&mut self, value: &[u8], offset: usize) -> Result<(), Error> {
        if self.chunked {
            return Err(Error::TwoFramings { offset });
        }
        let value = value.trim_ascii();
        // Digits only: parse() alone would take a plus sign.
        let digits = value
            .iter()
            .all(u8::is_ascii_digit)
            .then(|| str::from_utf8(value).ok())
            .flatten();
        let length: u64 = digits
            .and_then(|digits| digits.parse().ok())
            .ok_or(Error::ContentLengthInvalid { offset })?;
        match self.content_length.replace(length) {
            Some(before) if before != length => Err(Error::ContentLengthsDiffer { offset }),
            _ => Ok(()),
        }
    }

    fn transfer_encoding_seen(&mut self, value: &[u8], offset: usize, version: Version) -> Result<(), Error> {
        if version == Version::Http10 {
            return Err(Error::TransferEncodingInOldVersion { offset });
        }
        if self.content_length.is_some() {
            return Err(Error::TwoFramings { offset });
        }
        if self.chunked {
            return Err(Error::TransferEncodingRepeated { offset });
        }
        if !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Err(Error::TransferEncodingUnknown { offset });
        }
        self.chunked = true;
        Ok(())
    }

    fn body(&self) -> Option<Body> {
        match (self.content_length, self.chunked) {
            (_, true) => Some(Body::chunked()),
            (None | Some(0), false) => None,
            (Some(bytes_left), false) => Some(Body::Length { bytes_left }),
        }
    }
}

fn persistence(headers: &[httparse::Header<'_>], version: Version) -> Persistence {
    let (mut close, mut keep_alive) = (false, false);
    for header in headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("connection"))
    {
        for token in header.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            close |= token.eq_ignore_ascii_case(b"close");
            keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    match version {
        _ if close => Persistence::Close,
        Version::Http10 if !keep_alive => Persistence::Close,
        _ => Persistence::KeepAlive,
    }
}

/// JSON when `Accept` names it and prefers it to text; a browser's `*/*` is not a preference.
fn reason_format(headers: &[httparse::Header<'_>]) -> ReasonFormat {
    let (mut json, mut text) = (0, 0);
    for header in headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("accept"))
    {
        let value = str::from_utf8(header.value).unwrap_or_default();
        for choice in value.split(',') {
            let (kind, parameters) = choice.split_once(';').unwrap_or((choice, ""));
            let weight = weight_thousandths(parameters);
            let kind = kind.trim();
            if kind.eq_ignore_ascii_case("application/json") {
                json = weight.max(json);
            } else if kind.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/")) {
                text = weight.max(text);
            }
        }
    }
    if json > 0 && json >= text {
        ReasonFormat::Json
    } else {
        ReasonFormat::Text
    }
}

/// `q=0.75` as 750; 1,000 when absent or odd.
pub(super) fn weight_thousandths(parameters: &str) -> u32 {
    let value = parameters
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix(['q', 'Q'])?.strip_prefix('='));
    let weight = value.and_then(|value| value.trim().parse::<f32>().ok()).unwrap_or(1.0);
    if (0.0..=1.0).contains(&weight) {
        (weight * 1000.0) as u32
    } else {
        1000
    }
}

fn from_httparse(error: httparse::Error, grammar: impl Fn(&'static str) -> Error) -> Error {
    match error {
        httparse::Error::TooManyHeaders => Error::TooManyHeaders {
            headers_max: limits::HEADERS_MAX,
        },
        httparse::Error::Version => Error::UnknownVersion,
        httparse::Error::HeaderName => grammar("header name"),
        httparse::Error::HeaderValue => grammar("header value"),
        httparse::Error::NewLine => grammar("line end"),
        httparse::Error::Token | httparse::Error::Status => grammar("request line"),
    }
}

/// Where `part`, a piece of `whole`, begins in it.
fn offset_in(whole: &[u8], part: &[u8]) -> usize {
    let offset = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    debug_assert!(offset <= whole.len());
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(head: &[u8], check: impl FnOnce(Request<'_>)) {
        let parsed = Head::parse(head).unwrap();
        check(Request {
            head: &parsed,
            bytes: head,
        });
    }

    #[test]
    fn a_browsers_head_is_read() {
        let head = b"GET /live+c%20x.flv?video=h264&a=b%20c HTTP/1.1\r\nhost: h:8080\r\nRANGE:bytes=0-\r\n\
            Origin:  https://page \r\nUser-Agent: Mozilla\r\nAccept: */*\r\n\r\n";
        request(head, |request| {
            assert_eq!(request.method(), Method::Get);
            assert_eq!(request.version(), Version::Http11);
            assert_eq!(request.path(), "/live+c x.flv");
            assert_eq!(request.target(), "/live+c%20x.flv?video=h264&a=b%20c");
            assert_eq!(request.query(), "video=h264&a=b%20c");
            let pairs: Vec<_> = request
                .parameters()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            assert_eq!(pairs, ["video=h264", "a=b c"]);
            assert_eq!(request.host(), Some("h:8080"));
            assert_eq!(request.header("range"), Some("bytes=0-"));
            assert_eq!(request.byte_range(Some(7), None), ByteRange::One { first: 0, last: 6 });
            assert!(!request.accepts_gzip() && !request.if_none_match("\"x\""));
            assert_eq!(request.origin(), Some("https://page"));
            assert_eq!(request.user_agent(), Some("Mozilla"));
            assert_eq!(request.header("accept"), Some("*/*"));
            assert_eq!(request.header("cookie"), None);
            assert_eq!(request.head.persistence, Persistence::KeepAlive);
            assert_eq!(request.head.reason_format, ReasonFormat::Text);
        });
        let absolute = b"GET http://[::1]:8080/x.ts HTTP/1.1\r\nHost: other\r\n\r\n";
        request(absolute, |request| {
            assert_eq!((request.host(), request.path()), (Some("[::1]:8080"), "/x.ts"));
        });
    }

    #[test]
    fn long_user_agents_are_cut_between_characters() {
        let head = format!("GET / HTTP/1.0\r\nUser-Agent: x{}\r\n\r\n", "é".repeat(100));
        request(head.as_bytes(), |request| {
            assert_eq!(request.user_agent().map(str::len), Some(127))
        });
    }

    #[test]
    fn persistence_follows_version_and_tokens() {
        let cases: &[(&str, &str, Persistence)] = &[
            ("1.1", "", Persistence::KeepAlive),
            ("1.1", "Connection: Close\r\n", Persistence::Close),
            ("1.1", "Connection: foo, close\r\n", Persistence::Close),
            ("1.0", "", Persistence::Close),
            ("1.0", "Connection: Keep-Alive\r\n", Persistence::KeepAlive),
            (
                "1.0",
                "Connection: keep-alive\r\nConnection: close\r\n",
                Persistence::Close,
            ),
        ];
        for (version, headers, expected) in cases {
            let head = format!("GET / HTTP/{version}\r\nHost: h\r\n{headers}\r\n");
            request(head.as_bytes(), |request| {
                assert_eq!(request.head.persistence, *expected, "{head}")
            });
        }
    }

    #[test]
    fn json_reasons_are_for_those_who_prefer_them() {
        let cases = [
            ("application/json", ReasonFormat::Json),
            ("application/json, text/plain, */*", ReasonFormat::Json),
            ("text/html, application/json;q=0.5", ReasonFormat::Text),
            ("application/json;q=0", ReasonFormat::Text),
            ("text/plain;q=0.4, application/json; q=0.5", ReasonFormat::Json),
            ("*/*", ReasonFormat::Text),
        ];
        for (accept, expected) in cases {
            let head = format!("GET / HTTP/1.0\r\nAccept: {accept}\r\n\r\n");
            request(head.as_bytes(), |request| {
                assert_eq!(request.head.reason_format, expected, "{accept}")
            });
        }
    }

    #[test]
    fn ranges_are_asked_for_once_with_get_and_of_this_object() {
        let part = ByteRange::One { first: 1, last: 2 };
        let cases = [
            ("GET", "Range: bytes=1-2\r\n", part),
            ("GET", "RANGE:bytes=1-2 \r\nIf-Range: \"a\"\r\n", part),
            ("GET", "", ByteRange::None),
            ("HEAD", "Range: bytes=1-2\r\n", ByteRange::None),
            ("POST", "Range: bytes=1-2\r\n", ByteRange::None),
            ("GET", "Range: bytes=1-2\r\nRange: bytes=1-2\r\n", ByteRange::None),
            ("GET", "Range: bytes=1-2\r\nrange: x\r\n", ByteRange::None),
            ("GET", "Range: bytes=1-2\r\nIf-Range: \"b\"\r\n", ByteRange::None),
            ("GET", "Range: bytes=1-2\r\nIf-Range: W/\"a\"\r\n", ByteRange::None),
            (
                "GET",
                "Range: bytes=1-2\r\nIf-Range: Wed, 21 Oct 2015 07:28:00 GMT\r\n",
                ByteRange::None,
            ),
            (
                "GET",
                "Range: bytes=1-2\r\nIf-Range: \"a\"\r\nIf-Range: \"a\"\r\n",
                ByteRange::None,
            ),
            (
                "GET",
                "Range: bytes=9-\r\nIf-Range: \"a\"\r\n",
                ByteRange::Unsatisfiable,
            ),
            ("GET", "Range: bytes=9-\r\nIf-Range: \"b\"\r\n", ByteRange::None),
        ];
        for (method, headers, expected) in cases {
            let head = format!("{method} / HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
            request(head.as_bytes(), |request| {
                assert_eq!(request.byte_range(Some(9), Some("\"a\"")), expected, "{head}");
                let without = request.byte_range(Some(9), None);
                let is_conditional = headers.contains("If-Range");
                assert_eq!(
                    without,
                    if is_conditional { ByteRange::None } else { expected },
                    "{head}"
                );
            });
        }
        let odd = b"GET / HTTP/1.1\r\nHost: h\r\nRange: bytes=1-2\xff\r\n\r\n";
        request(odd, |request| {
            assert_eq!(request.byte_range(Some(9), None), ByteRange::None)
        });
    }

    #[test]
    fn lists_go_on_in_further_lines() {
        let head =
            b"GET / HTTP/1.1\r\nHost: h\r\nIf-None-Match: \"a\"\r\nAccept-Encoding: br\r\nIf-None-Match: \xff\r\n\
            If-None-Match: W/\"b\", \"c\"\r\nAccept-Encoding: gzip\r\n\r\n";
        request(head, |request| {
            let found = ["\"a\"", "\"b\"", "\"c\"", "\"d\""].map(|etag| request.if_none_match(etag));
            assert_eq!(found, [true, true, true, false]);
            assert!(request.accepts_gzip());
        });
    }
}
