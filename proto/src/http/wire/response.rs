//! Answer heads. One function writes the status line and the fields every answer has; the rest is appended by line.

use super::super::limits;
use super::request::{Method, Persistence, ReasonFormat, Request};

/// Status codes that we answer with; a variant has what its code must be sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok,
    NoContent,
    PartialContent,
    NotModified,
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    /// `allow` is a header value: method names with commas.
    MethodNotAllowed {
        allow: &'static str,
    },
    RequestTimeout,
    Gone,
    ContentTooLarge,
    UriTooLong,
    /// Of what is growing the length is not known.
    RangeNotSatisfiable {
        length: Option<u64>,
    },
    TooManyRequests {
        retry_after_seconds: u32,
    },
    HeaderFieldsTooLarge,
    InternalServerError,
    NotImplemented,
    ServiceUnavailable {
        retry_after_seconds: u32,
    },
    GatewayTimeout,
    VersionNotSupported,
}

impl Status {
    pub fn code(self) -> u16 {
        self.line().0
    }

    pub fn phrase(self) -> &'static str {
        self.line().1
    }

    fn line(self) -> (u16, &'static str) {
        match self {
            Status::Ok => (200, "OK"),
            Status::NoContent => (204, "No Content"),
            Status::PartialContent => (206, "Partial Content"),
            Status::NotModified => (304, "Not Modified"),
            Status::BadRequest => (400, "Bad Request"),
            Status::Unauthorized => (401, "Unauthorized"),
            Status::Forbidden => (403, "Forbidden"),
            Status::NotFound => (404, "Not Found"),
            Status::MethodNotAllowed { .. } => (405, "Method Not Allowed"),
            Status::RequestTimeout => (408, "Request Timeout"),
            Status::Gone => (410, "Gone"),
            Status::ContentTooLarge => (413, "Content Too Large"),
            Status::UriTooLong => (414, "URI Too Long"),
            Status::RangeNotSatisfiable { .. } => (416, "Range Not Satisfiable"),
            Status::TooManyRequests { .. } => (429, "Too Many Requests"),
            Status::HeaderFieldsTooLarge => (431, "Request Header Fields Too Large"),
            Status::InternalServerError => (500, "Internal Server Error"),
            Status::NotImplemented => (501, "Not Implemented"),
            Status::ServiceUnavailable { .. } => (503, "Service Unavailable"),
            Status::GatewayTimeout => (504, "Gateway Timeout"),
            Status::VersionNotSupported => (505, "HTTP Version Not Supported"),
        }
    }
}

/// A head being written to the end of a buffer.
#[derive(Debug)]
pub struct HeadWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> HeadWriter<'a> {
    /// A writer of lines, wherever they belong.
    pub(super) fn append_to(out: &'a mut Vec<u8>) -> Self {
        HeadWriter { out }
    }

    /// Status line, `Server`, `Connection` and the permission for every page to read the answer.
    pub fn begin(out: &'a mut Vec<u8>, status: Status, persistence: Persistence) -> Self {
        let mut head = HeadWriter { out };
        let (code, phrase) = status.line();
        head.text("HTTP/1.1 ");
        head.number(u64::from(code));
        head.push(&[" ", phrase, "\r\nServer: penstock\r\n"]);
        head.text(match persistence {
            Persistence::KeepAlive => "Connection: keep-alive\r\n",
            Persistence::Close => "Connection: close\r\n",
        });
        head.text("Access-Control-Allow-Origin: *\r\n");
        match status {
            Status::MethodNotAllowed { allow } => head.field("Allow", allow),
            Status::ServiceUnavailable { retry_after_seconds } | Status::TooManyRequests { retry_after_seconds } => {
                head.number_field("Retry-After", u64::from(retry_after_seconds));
            }
            Status::RangeNotSatisfiable { length: Some(length) } => {
                head.text("Content-Range: bytes */");
                head.number(length);
                head.text("\r\n");
            }
            _ => {}
        }
        head
    }

    /// # Panics
    /// If the value could end the line: what a peer sent is checked before it comes here.
    pub fn field(&mut self, name: &str, value: &str) {
        assert!(
            !value.bytes().any(|byte| byte.is_ascii_control()),
            "control character in {name}"
        );
        self.push(&[name, ": ", value, "\r\n"]);
    }

    fn number_field(&mut self, name: &str, number: u64) {
        self.push(&[name, ": "]);
        self.number(number);
        self.text("\r\n");
    }

    pub fn end(mut self) {
        self.text("\r\n");
    }

    /// Appends `text` as it is: ours, or checked.
    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn number(&mut self, number: u64) {
        self.digits(number, 10);
    }

    pub(super) fn hexadecimal(&mut self, number: u64) {
        self.digits(number, 16);
    }

    fn digits(&mut self, mut number: u64, base: u64) {
        // 2^64 has twenty digits.
        let mut digits = [0; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b"0123456789abcdef"[(number % base) as usize];
            number /= base;
            if number == 0 {
                break;
            }
        }
        self.bytes(&digits[start..]);
    }

    fn push(&mut self, parts: &[&str]) {
        for part in parts {
            self.out.extend_from_slice(part.as_bytes());
        }
    }
}

/// A whole answer of known length. The body of an answer to HEAD is counted and left out.
pub fn write_fixed(
    out: &mut Vec<u8>,
    status: Status,
    persistence: Persistence,
    content_type: &str,
    body: &[u8],
    method: Method,
) {
    out.reserve(FIXED_HEAD_BYTES + body.len());
    let mut head = HeadWriter::begin(out, status, persistence);
    head.field("Content-Type", content_type);
    head.number_field("Content-Length", body.len() as u64);
    head.text("Cache-Control: no-store\r\n");
    head.end();
    if method != Method::Head {
        out.extend_from_slice(body);
    }
}

/// A refusal, which nobody may keep: the segment that is not there may be there at once. Its body is the reason, as one line of text or as `{"error":…}`.
pub fn write_refusal(
    out: &mut Vec<u8>,
    status: Status,
    persistence: Persistence,
    format: ReasonFormat,
    reason: &str,
    method: Method,
) {
    let (content_type, body) = match format {
        ReasonFormat::Text => ("text/plain; charset=utf-8", format!("{reason}\n")),
        ReasonFormat::Json => (
            "application/json",
            format!("{}\n", serde_json::json!({ "error": reason })),
        ),
    };
    write_fixed(out, status, persistence, content_type, body.as_bytes(), method);
}

/// The head of an endless answer: no length and no chunks, the end of the connection is the end of the stream, and so
/// every viewer is sent the same bytes.
pub fn write_stream_head(out: &mut Vec<u8>, persistence: Persistence, content_type: &str) {
    let mut head = HeadWriter::begin(out, Status::Ok, persistence);
    head.field("Content-Type", content_type);
    head.field("Cache-Control", "no-store");
    head.field("Accept-Ranges", "none");
    head.end();
}

/// The answer to a preflight (Fetch standard, CORS protocol) or to a plain OPTIONS.
pub fn write_options(out: &mut Vec<u8>, persistence: Persistence, allow: &str, request: Request<'_>) {
    let mut head = HeadWriter::begin(out, Status::NoContent, persistence);
    head.field("Allow", allow);
    head.field("Access-Control-Allow-Methods", allow);
    let asked = request
        .header("access-control-request-headers")
        .filter(|asked| is_field_list(asked));
    head.field("Access-Control-Allow-Headers", asked.unwrap_or(ALLOW_HEADERS));
    // A page on the internet that plays from a box on the viewer's own network.
    if request.header("access-control-request-private-network") == Some("true") {
        head.field("Access-Control-Allow-Private-Network", "true");
    }
    head.number_field("Access-Control-Max-Age", u64::from(limits::CORS_MAX_AGE_SECONDS));
    head.field("Vary", "Access-Control-Request-Headers");
    head.end();
}

/// What players ask a range or a newer text with, for who does not say what it will send.
const ALLOW_HEADERS: &str = "Range, If-Range, If-None-Match";

/// About what the head of a fixed answer has: taken at once.
const FIXED_HEAD_BYTES: usize = 256;

fn is_field_list(list: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_, ".contains(&byte);
    !list.is_empty() && list.len() <= limits::CORS_HEADERS_BYTES_MAX && list.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::super::request::Head;
    use super::*;

    /// Reads an answer back with httparse: code, phrase, fields, and what stands behind the head.
    fn parse(bytes: &[u8]) -> (u16, String, Vec<(String, String)>, Vec<u8>) {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let head_bytes = response.parse(bytes).unwrap().unwrap();
        let fields = response
            .headers
            .iter()
            .map(|header| {
                (
                    header.name.to_owned(),
                    String::from_utf8(header.value.to_vec()).unwrap(),
                )
            })
            .collect();
        let phrase = response.reason.unwrap().to_owned();
        (response.code.unwrap(), phrase, fields, bytes[head_bytes..].to_vec())
    }

    fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
        let mut found = fields.iter().filter(|(found, _)| found == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} twice");
        value
    }

    const EVERY: &[Status] = &[
        Status::Ok,
        Status::BadRequest,
        Status::Unauthorized,
        Status::Forbidden,
        Status::NotFound,
        Status::MethodNotAllowed { allow: "GET, HEAD" },
        Status::RequestTimeout,
        Status::Gone,
        Status::ContentTooLarge,
        Status::UriTooLong,
        Status::RangeNotSatisfiable { length: Some(1_000) },
        Status::RangeNotSatisfiable { length: None },
        Status::TooManyRequests { retry_after_seconds: 2 },
        Status::HeaderFieldsTooLarge,
        Status::InternalServerError,
        Status::NotImplemented,
        Status::ServiceUnavailable { retry_after_seconds: 5 },
        Status::GatewayTimeout,
        Status::VersionNotSupported,
    ];

    #[test]
    fn refusals_read_back() {
        for &status in EVERY {
            for format in [ReasonFormat::Text, ReasonFormat::Json] {
                let mut out = Vec::new();
                write_refusal(
                    &mut out,
                    status,
                    Persistence::Close,
                    format,
                    "no \"x\"\u{1}\r\n",
                    Method::Get,
                );
                let (code, phrase, fields, body) = parse(&out);
                assert_eq!((code, phrase.as_str()), (status.code(), status.phrase()));
                assert_eq!(field(&fields, "Content-Length"), Some(body.len().to_string().as_str()));
                assert_eq!(field(&fields, "Allow").is_some(), code == 405);
                assert_eq!(field(&fields, "Retry-After").is_some(), code == 503 || code == 429);
                let range = (status == Status::RangeNotSatisfiable { length: Some(1_000) }).then_some("bytes */1000");
                assert_eq!(field(&fields, "Content-Range"), range);
                assert_eq!(field(&fields, "Connection"), Some("close"));
                assert_eq!(field(&fields, "Cache-Control"), Some("no-store"));
                let body = String::from_utf8(body).unwrap();
                match format {
                    ReasonFormat::Text => assert_eq!(body, "no \"x\"\u{1}\r\n\n"),
                    ReasonFormat::Json => assert_eq!(body, "{\"error\":\"no \\\"x\\\"\\u0001\\r\\n\"}\n"),
                }
            }
        }
    }

    #[test]
    fn an_endless_answer_has_no_length_and_no_chunks() {
        let mut out = Vec::new();
        write_stream_head(&mut out, Persistence::Close, "video/x-flv");
        let (code, _, fields, body) = parse(&out);
        assert_eq!((code, body.len()), (200, 0));
        assert_eq!(field(&fields, "Connection"), Some("close"));
        assert_eq!(field(&fields, "Cache-Control"), Some("no-store"));
        assert_eq!(field(&fields, "Access-Control-Allow-Origin"), Some("*"));
        assert_eq!(field(&fields, "Content-Type"), Some("video/x-flv"));
        assert_eq!(field(&fields, "Content-Length"), None);
        assert_eq!(field(&fields, "Transfer-Encoding"), None);
    }

    #[test]
    fn preflights_are_granted_within_bounds() {
        let long = "x".repeat(limits::CORS_HEADERS_BYTES_MAX + 1);
        let cases: &[(&str, Option<&str>, Option<&str>)] = &[
            ("", Some(ALLOW_HEADERS), None),
            ("Access-Control-Request-Headers: range\r\n", Some("range"), None),
            (
                "Access-Control-Request-Headers: range, X-a\r\n",
                Some("range, X-a"),
                None,
            ),
            ("Access-Control-Request-Headers: a\"b\r\n", Some(ALLOW_HEADERS), None),
            (
                &format!("Access-Control-Request-Headers: {long}\r\n"),
                Some(ALLOW_HEADERS),
                None,
            ),
            (
                "Access-Control-Request-Private-Network: true\r\n",
                Some(ALLOW_HEADERS),
                Some("true"),
            ),
        ];
        for (headers, allow_headers, private_network) in cases {
            let bytes = format!("OPTIONS /x HTTP/1.1\r\nHost: h\r\n{headers}\r\n").into_bytes();
            let head = Head::parse(&bytes).unwrap();
            let mut out = Vec::new();
            write_options(
                &mut out,
                Persistence::KeepAlive,
                "GET, HEAD",
                Request {
                    head: &head,
                    bytes: &bytes,
                },
            );
            let (code, _, fields, body) = parse(&out);
            assert_eq!((code, body.len()), (204, 0));
            assert_eq!(field(&fields, "Access-Control-Allow-Methods"), Some("GET, HEAD"));
            assert_eq!(field(&fields, "Access-Control-Allow-Headers"), *allow_headers);
            assert_eq!(field(&fields, "Access-Control-Allow-Private-Network"), *private_network);
            assert_eq!(field(&fields, "Content-Length"), None, "not allowed with 204");
        }
    }
}
