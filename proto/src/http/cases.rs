//! Cases of whole connections: what a peer sends, and what comes of it. They are also what fuzz runs damage.

use super::*;

/// What one connection's peer sends, and what comes of it with the answers of [`converse`].
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) input: fn() -> Vec<u8>,
    /// Requests shown, as `METHOD path`.
    pub(super) asked: &'static [&'static str],
    /// Status codes sent.
    pub(super) codes: &'static [&'static str],
    pub(super) cause: Option<Cause>,
}

const fn illegal(error: Error) -> Option<Cause> {
    Some(Cause::Illegal(error))
}

macro_rules! case {
    ($name:literal, $input:expr, $asked:expr, $codes:expr, $cause:expr) => {
        Case {
            name: $name,
            input: || $input.to_vec(),
            asked: &$asked,
            codes: &$codes,
            cause: $cause,
        }
    };
}

pub(super) const CASES: &[Case] = &[
    case!("nothing", b"", [], [], None),
    case!("half a head", b"GET /fixed HTTP/1.1\r\nHost", [], [], None),
    case!("keep-alive", b"GET /fixed HTTP/1.1\r\nHost: h\r\n\r\n", ["Get /fixed"], ["200"], None),
    case!(
        "pipelined",
        b"GET /fixed HTTP/1.1\r\nHost: h\r\n\r\nHEAD /fixed HTTP/1.1\r\nHost: h\r\n\r\nGET /no HTTP/1.1\r\nHost: h\r\n\r\n",
        ["Get /fixed", "Head /fixed", "Get /no"],
        ["200", "200", "404"],
        None
    ),
    case!(
        "close asked",
        b"GET /fixed HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /fixed HTTP/1.1\r\nHost: h\r\n\r\n",
        ["Get /fixed"],
        ["200"],
        Some(Cause::Answered)
    ),
    case!("HTTP/1.0", b"GET /fixed HTTP/1.0\r\n\r\n", ["Get /fixed"], ["200"], Some(Cause::Answered)),
    case!(
        "HTTP/1.0 keep-alive",
        b"GET /fixed HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
        ["Get /fixed"],
        ["200"],
        None
    ),
    case!(
        "a stream, and what is pipelined behind it is dropped",
        b"GET /a.flv HTTP/1.1\r\nHost: h\r\nRange: bytes=0-\r\n\r\nGET /fixed HTTP/1.1\r\n\r\n",
        ["Get /a.flv"],
        ["200"],
        None
    ),
    case!("a stream over HTTP/1.0", b"GET /a.flv HTTP/1.0\r\n\r\n", ["Get /a.flv"], ["200"], None),
    case!(
        "HEAD of a stream leaves the connection usable",
        b"HEAD /a.flv HTTP/1.1\r\nHost: h\r\n\r\nGET /fixed HTTP/1.1\r\nHost: h\r\n\r\n",
        ["Head /a.flv", "Get /fixed"],
        ["200", "200"],
        None
    ),
    case!(
        "preflight",
        b"OPTIONS /a.flv HTTP/1.1\r\nHost: h\r\nOrigin: http://p\r\nAccess-Control-Request-Method: GET\r\n\r\n",
        ["Options /a.flv"],
        ["204"],
        None
    ),
    case!("OPTIONS *", b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", ["Options *"], ["204"], None),
    case!("empty lines first", b"\r\n\r\nGET /fixed HTTP/1.1\r\nHost: h\r\n\r\n", ["Get /fixed"], ["200"], None),
    case!(
        "body of a GET is dropped",
        b"GET /fixed HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nGET /GET /fixed HTTP/1.1\r\nHost: h\r\n\r\n",
        ["Get /fixed", "Get /fixed"],
        ["200", "200"],
        None
    ),
    case!(
        "chunked body is dropped",
        b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n4;a=b\r\nGET \r\n0\r\nT: v\r\n\r\nGET /no HTTP/1.1\r\nHost: h\r\n\r\n",
        ["Post /x", "Get /no"],
        ["405", "404"],
        None
    ),
    case!(
        "equal lengths twice",
        b"GET /fixed HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        ["Get /fixed"],
        ["200"],
        None
    ),
    case!(
        "a body held back is not waited for",
        b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nExpect: 100-Continue\r\n\r\n",
        ["Post /x"],
        ["405"],
        Some(Cause::Answered)
    ),
    // Bodies that others send.
    case!(
        "bodies, one behind the other",
        b"GET /body HTTP/1.1\r\nHost: h\r\n\r\nGET /growing HTTP/1.1\r\nHost: h\r\n\r\nGET /fixed HTTP/1.1\r\nHost: h\r\n\r\n",
        ["Get /body", "Get /growing", "Get /fixed"],
        ["200", "200", "200"],
        None
    ),
    case!(
        "what comes while a body is being sent waits",
        b"GET /held/growing HTTP/1.1\r\nHost: h\r\n\r\nGET /held/body HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxxGET /no HTTP/1.1\r\nHo",
        ["Get /held/growing", "Get /held/body"],
        ["200", "200"],
        None
    ),
    case!(
        "what is wrong behind a body is told behind it",
        b"GET /held/body HTTP/1.1\r\nHost: h\r\n\r\nBREW /a HTTP/1.1\r\nHost: h\r\n\r\n",
        ["Get /held/body"],
        ["200", "501"],
        illegal(Error::MethodUnknown)
    ),
    case!(
        "the last body",
        b"GET /held/body HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /fixed HTTP/1.1\r\nHost: h\r\n\r\n",
        ["Get /held/body"],
        ["200"],
        Some(Cause::Answered)
    ),
    case!(
        "a body over HTTP/1.0",
        b"GET /body HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /body HTTP/1.0\r\n\r\n",
        ["Get /body", "Get /body"],
        ["200", "200"],
        Some(Cause::Answered)
    ),
    case!(
        "no chunks over HTTP/1.0",
        b"HEAD /growing HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /growing HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        ["Head /growing", "Get /growing"],
        ["200", "200"],
        Some(Cause::Answered)
    ),
    case!(
        "heads of bodies",
        b"HEAD /body HTTP/1.1\r\nHost: h\r\nRange: bytes=1-2\r\n\r\nHEAD /growing HTTP/1.1\r\nHost: h\r\n\r\nGET /fixed HTTP/1.1\r\nHost: h\r\n\r\n",
        ["Head /body", "Head /growing", "Get /fixed"],
        ["200", "200", "200"],
        None
    ),
    case!(
        "ranges",
        b"GET /body HTTP/1.1\r\nHost: h\r\nRange: bytes=1-2\r\n\r\nGET /body HTTP/1.1\r\nHost: h\r\nRange: bytes=10-\r\n\r\n\
          GET /body HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1,3-\r\n\r\nGET /body HTTP/1.1\r\nHost: h\r\nRange: bytes=99999999999999999999-\r\n\r\n",
        ["Get /body", "Get /body", "Get /body", "Get /body"],
        ["206", "416", "200", "416"],
        None
    ),
    case!(
        "ranges of what grows",
        b"GET /held/growing HTTP/1.1\r\nHost: h\r\nRange: bytes=3-\r\n\r\nGET /growing HTTP/1.1\r\nHost: h\r\nRange: bytes=3-5\r\n\r\n\
          GET /growing HTTP/1.1\r\nHost: h\r\nRange: bytes=3-9007199254740991\r\n\r\n",
        ["Get /held/growing", "Get /growing", "Get /growing"],
        ["206", "206", "206"],
        None
    ),
    case!(
        "a range over HTTP/1.0, of what grows",
        b"GET /growing HTTP/1.0\r\nRange: bytes=3-\r\n\r\n",
        ["Get /growing"],
        ["206"],
        Some(Cause::Answered)
    ),
    case!(
        "nothing new",
        b"GET /held/text HTTP/1.1\r\nHost: h\r\nIf-None-Match: \"a1\"\r\n\r\nGET /text HTTP/1.1\r\nHost: h\r\nIf-None-Match: \"a0\"\r\nAccept-Encoding: gzip\r\n\r\n",
        ["Get /held/text", "Get /text"],
        ["304", "200"],
        None
    ),
    // Smuggling shapes.
    case!(
        "length and chunked",
        b"GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        [],
        ["400"],
        illegal(Error::TwoFramings { offset: 64 })
    ),
    case!(
        "chunked and length",
        b"GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        [],
        ["400"],
        illegal(Error::TwoFramings { offset: 70 })
    ),
    case!(
        "lengths that differ",
        b"GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        [],
        ["400"],
        illegal(Error::ContentLengthsDiffer { offset: 61 })
    ),
    case!(
        "length with sign",
        b"GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n",
        [],
        ["400"],
        illegal(Error::ContentLengthInvalid { offset: 42 })
    ),
    case!(
        "list of lengths",
        b"GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n",
        [],
        ["400"],
        illegal(Error::ContentLengthInvalid { offset: 42 })
    ),
    case!(
        "length over 64 bit",
        b"GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551616\r\n\r\n",
        [],
        ["400"],
        illegal(Error::ContentLengthInvalid { offset: 42 })
    ),
    case!(
        "unknown coding",
        b"GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        [],
        ["501"],
        illegal(Error::TransferEncodingUnknown { offset: 45 })
    ),
    case!(
        "chunked in HTTP/1.0",
        b"GET /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        [],
        ["400"],
        illegal(Error::TransferEncodingInOldVersion { offset: 36 })
    ),
    case!(
        "chunked twice",
        b"GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        [],
        ["400"],
        illegal(Error::TransferEncodingRepeated { offset: 73 })
    ),
    case!(
        "blank before colon",
        b"GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n",
        [],
        ["400"],
        illegal(Error::Grammar { what: "header name", bytes: 57 })
    ),
    case!(
        "folded line",
        b"GET /a HTTP/1.1\r\nHost: h\r\nX: y\r\n Content-Length: 5\r\n\r\n",
        [],
        ["400"],
        illegal(Error::Grammar { what: "header name", bytes: 54 })
    ),
    case!(
        "bare line feed",
        b"GET /a HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
        [],
        ["400"],
        illegal(Error::BareLineFeed { offset: 24 })
    ),
    case!("line feed first", b"\nGET /a HTTP/1.1\r\n", [], ["400"], illegal(Error::BareLineFeed { offset: 0 })),
    case!(
        "carriage return in a value",
        b"GET /a HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
        [],
        ["400"],
        illegal(Error::Grammar { what: "header value", bytes: 33 })
    ),
    case!(
        "bad chunk size",
        b"GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        [],
        ["400"],
        illegal(Error::ChunkSizeInvalid { body_offset: 1 })
    ),
    case!(
        "chunk longer than said",
        b"GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        [],
        ["400"],
        illegal(Error::ChunkEndMissing { body_offset: 4 })
    ),
    // Heads that are wrong.
    case!("no host", b"GET /a HTTP/1.1\r\n\r\n", [], ["400"], illegal(Error::HostMissing)),
    case!("two hosts", b"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", [], ["400"], illegal(Error::HostRepeated)),
    case!("HTTP/2", b"PRI * HTTP/2.0\r\n\r\n", [], ["505"], illegal(Error::UnknownVersion)),
    case!("HTTP/0.9", b"GET /a\r\n\r\n", [], ["400"], illegal(Error::Grammar { what: "request line", bytes: 10 })),
    case!("strange method", b"BREW /a HTTP/1.0\r\n\r\n", [], ["501"], illegal(Error::MethodUnknown)),
    case!(
        "TLS to a plain port",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\r\n\r\n",
        [],
        ["400"],
        illegal(Error::Grammar { what: "request line", bytes: 13 })
    ),
    case!("proxy request", b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", [], ["400"], illegal(Error::TargetForm)),
    case!("star of a GET", b"GET * HTTP/1.1\r\nHost: h\r\n\r\n", [], ["400"], illegal(Error::TargetForm)),
    case!("dots", b"GET /a/%2e%2E/b HTTP/1.1\r\nHost: h\r\n\r\n", [], ["400"], illegal(Error::DotSegment)),
    case!("NUL", b"GET /a%00 HTTP/1.0\r\n\r\n", [], ["400"], illegal(Error::TargetEncoding { offset: 2 })),
    // Limits.
    Case {
        name: "empty lines without end",
        input: || b"\r\n".repeat(10),
        asked: &[],
        codes: &["400"],
        cause: illegal(Error::TooManyEmptyLines { lines_max: limits::LEADING_EMPTY_LINES_MAX }),
    },
    Case {
        name: "longest request line",
        input: || request_line(limits::REQUEST_LINE_BYTES_MAX),
        asked: &["Get /"],
        codes: &["404"],
        cause: Some(Cause::Answered),
    },
    Case {
        name: "request line over the limit",
        input: || request_line(limits::REQUEST_LINE_BYTES_MAX + 1),
        asked: &[],
        codes: &["414"],
        cause: illegal(Error::RequestLineTooLong { bytes_max: limits::REQUEST_LINE_BYTES_MAX }),
    },
    Case {
        name: "request line without end",
        input: || vec![b'x'; 3 * limits::REQUEST_LINE_BYTES_MAX],
        asked: &[],
        codes: &["414"],
        cause: illegal(Error::RequestLineTooLong { bytes_max: limits::REQUEST_LINE_BYTES_MAX }),
    },
    Case {
        name: "largest header block",
        input: || header_block(limits::HEADER_BLOCK_BYTES_MAX),
        asked: &["Get /fixed"],
        codes: &["200"],
        cause: Some(Cause::Answered),
    },
    Case {
        name: "header block over the limit",
        input: || header_block(limits::HEADER_BLOCK_BYTES_MAX + 1),
        asked: &[],
        codes: &["431"],
        cause: illegal(Error::HeaderBlockTooLong { bytes_max: limits::HEADER_BLOCK_BYTES_MAX }),
    },
    Case {
        name: "as many headers as allowed",
        input: || header_lines(limits::HEADERS_MAX),
        asked: &["Get /fixed"],
        codes: &["200"],
        cause: Some(Cause::Answered),
    },
    Case {
        name: "one header more",
        input: || header_lines(limits::HEADERS_MAX + 1),
        asked: &[],
        codes: &["431"],
        cause: illegal(Error::TooManyHeaders { headers_max: limits::HEADERS_MAX }),
    },
    Case {
        name: "announced body over the limit",
        input: || b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 65537\r\n\r\n".to_vec(),
        asked: &[],
        codes: &["413"],
        cause: illegal(Error::BodyTooLong { bytes_max: 65_536 }),
    },
    Case {
        name: "chunks over the limit",
        input: || {
            let head = b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice();
            [head, &b"4\r\nabcd\r\n".repeat(10_000)].concat()
        },
        asked: &[],
        codes: &["413"],
        cause: illegal(Error::BodyTooLong { bytes_max: 65_536 }),
    },
];

fn request_line(bytes: usize) -> Vec<u8> {
    let (before, after) = ("GET /?", " HTTP/1.0\r\n");
    format!("{before}{}{after}\r\n", "x".repeat(bytes - before.len() - after.len())).into_bytes()
}

fn header_block(bytes: usize) -> Vec<u8> {
    let value_bytes = bytes - "X: \r\n\r\n".len();
    format!("GET /fixed HTTP/1.0\r\nX: {}\r\n\r\n", "y".repeat(value_bytes)).into_bytes()
}

fn header_lines(lines: usize) -> Vec<u8> {
    format!("GET /fixed HTTP/1.0\r\n{}\r\n", "X: y\r\n".repeat(lines)).into_bytes()
}
