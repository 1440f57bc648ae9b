//! Cases of whole connections, and a bounded mutation run over them.

use super::*;
use crate::noise::Noise;

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

/// What a connection came to. Equal for equal input, however it was cut.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) asked: Vec<String>,
    pub(super) sent: Vec<u8>,
    pub(super) cause: Option<Cause>,
}

/// Feeds `input` cut at the given places to a session, answering each request at once.
pub(super) fn converse(input: &[u8], cuts: &[usize]) -> Told {
    let mut session = Session::new(0, Limits::default());
    let mut told = Told::default();
    let mut start = 0;
    for end in cuts.iter().copied().chain([input.len()]) {
        feed(&mut session, &input[start..end], &mut told);
        start = end;
    }
    told
}

/// As [`converse`], with the session exported and imported behind byte `cut`, also while a request waits.
pub(super) fn converse_moving(input: &[u8], cut: usize) -> Told {
    let mut session = Session::new(0, Limits::default());
    let mut told = Told::default();
    feed(&mut session, &input[..cut], &mut told);
    session = moved(&session);
    feed(&mut session, &input[cut..], &mut told);
    told
}

pub(super) fn moved(session: &Session) -> Session {
    let mut bytes = Vec::new();
    session.export(&mut bytes);
    let moved = Session::import(&bytes).expect("what was exported is imported");
    moved.check_invariants();
    let mut again = Vec::new();
    moved.export(&mut again);
    assert_eq!(bytes, again);
    moved
}

fn feed(session: &mut Session, mut input: &[u8], told: &mut Told) {
    loop {
        let closed = told.cause.is_some();
        let taken = session.handle_input(1, input).unwrap_or(input.len());
        session.check_invariants();
        let mut answered = 0;
        while drain(session, told) {
            // Moved in the middle of a question and back.
            *session = moved(session);
            answer(session);
            session.check_invariants();
            answered += 1;
        }
        assert!(!closed || answered == 0, "nothing comes behind the close");
        input = &input[taken..];
        if input.is_empty() {
            return;
        }
        assert!(
            taken > 0 || answered > 0,
            "input is neither taken nor waiting for an answer"
        );
    }
}

/// Drains the session; `true` if a request waits.
pub(super) fn drain(session: &mut Session, told: &mut Told) -> bool {
    loop {
        match session.poll_output() {
            Some(Output::Transmit(bytes)) => {
                assert!(told.cause.is_none() && !bytes.is_empty());
                told.sent.extend_from_slice(bytes);
            }
            Some(Output::Event(Event::Request(request))) => {
                let shown = format!("{:?} {}", request.method(), request.path()).replace("Method::", "");
                assert!(!request.path().chars().any(char::is_control));
                assert!(request.path().starts_with('/') || request.path() == "*");
                request.parameters().for_each(|_| {});
                told.asked.push(shown);
            }
            Some(Output::Event(Event::Close(cause))) => {
                assert_eq!(told.cause.replace(cause), None);
            }
            None => return session.request().is_some(),
        }
    }
}

pub(super) fn answer(session: &mut Session) {
    let request = session.request().expect("the caller saw one");
    match (request.method(), request.path()) {
        (Method::Options, _) => session.respond_options(1, "GET, HEAD, OPTIONS"),
        (Method::Get | Method::Head, "/fixed") => session.respond(1, Status::Ok, "text/plain", b"body"),
        (Method::Get | Method::Head, path) if path.ends_with(".flv") => {
            session.respond_stream(1, "video/x-flv");
        }
        (Method::Get | Method::Head, _) => session.refuse(1, Status::NotFound, "no such stream"),
        _ => session.refuse(
            1,
            Status::MethodNotAllowed {
                allow: "GET, HEAD, OPTIONS",
            },
            "only GET here",
        ),
    }
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

/// Damages one connection's bytes and cuts them anywhere: no panic, bounded state, and the same outcome for every cut.
fn run(input: &[u8], cut: usize) {
    let whole = converse(input, &[]);
    let cut = cut % (input.len() + 1);
    assert_eq!(converse(input, &[cut]), whole, "cut at {cut}: {}", input.escape_ascii());
    assert_eq!(
        converse_moving(input, cut),
        whole,
        "moved at {cut}: {}",
        input.escape_ascii()
    );
}

#[test]
fn mutated_connections_neither_panic_nor_depend_on_cuts() {
    const TOKENS: &[&[u8]] = &[
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b":",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\r\n\r\n",
        b"%",
        b"GET /a.flv HTTP/1.1\r\nHost: h\r\n\r\n",
        b"0\r\n\r\n",
        b"ffffffffffffffff\r\n",
    ];
    let mut random = Noise(0x9e37_79b9_7f4a_7c15);
    let seeds: Vec<Vec<u8>> = CASES
        .iter()
        .map(|case| (case.input)())
        .filter(|input| input.len() < 2_000)
        .collect();
    for _ in 0..10_000 {
        let mut input = seeds[random.below(seeds.len())].clone();
        if random.below(3) == 0 {
            input.extend_from_slice(&seeds[random.below(seeds.len())]);
        }
        for _ in 0..=random.below(4) {
            let at = random.below(input.len() + 1);
            match random.below(5) {
                0 if at < input.len() => input[at] ^= 1 << random.below(8),
                1 if at < input.len() => {
                    input.remove(at);
                }
                2 => input.truncate(at),
                _ => {
                    let token = TOKENS[random.below(TOKENS.len())];
                    input.splice(at..at, token.iter().copied());
                }
            }
        }
        run(&input, random.below(input.len() + 1));
    }
}

#[test]
fn mutated_exports_are_refused_or_sound() {
    let mut random = Noise(0x2545_f491_4f6c_dd1d);
    for case in CASES {
        let input = (case.input)();
        if input.len() > 2_000 {
            continue;
        }
        let mut session = Session::new(0, Limits::default());
        let _refused = session.handle_input(0, &input);
        drain(&mut session, &mut Told::default());
        let mut exported = Vec::new();
        session.export(&mut exported);
        for _ in 0..100 {
            let mut bytes = exported.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            if let Ok(mut session) = Session::import(&bytes) {
                session.check_invariants();
                drain(&mut session, &mut Told::default());
                let _refused = session.handle_input(1, &input);
                session.check_invariants();
            }
        }
    }
}
