//! Fuzz bodies: one connection whole, cut and moved, and exported sessions.
//!
//! Requests are answered at once. A body that others send follows its head at once, or (`/held`) as late as it can: when the
//! session takes no more input, or at the end. What was sent is read back as a client does, answer by answer.

use super::wire::body::{Body, Taken};
use super::*;
use crate::noise::chosen_by;

/// What others send, its tag, and the moment in which it is asked for.
pub(super) const BODY: &[u8] = b"0123456789";
pub(super) const ETAG: &str = "\"a1\"";
const WALL_SECONDS: u64 = 1_764_120_000;

/// Any bytes of one connection: no panic, bounded state, an answer to whatever is illegal, and the same outcome for every
/// cut and move.
pub fn connection(input: &[u8]) {
    let whole = converse(input, &[]);
    let cut = chosen_by(input, input.len() + 1);
    assert_eq!(converse(input, &[cut]), whole, "cut at {cut}");
    assert_eq!(converse_moving(input, cut), whole, "moved at {cut}");
    let answers = read_answers(&whole).len();
    assert!(answers >= whole.asked.len());
    if let Some(Cause::Illegal(error)) = whole.cause {
        assert!(answers > whole.asked.len() || matches!(error, Error::StreamInputTooLong { .. }));
    }
}

/// Any bytes as an exported session: refused, or a session that holds what every one does.
pub fn exported(input: &[u8]) {
    let Ok(mut session) = Session::import(input) else {
        return;
    };
    session.check_invariants();
    let mut again = Vec::new();
    if session.is_drained() {
        session.export(&mut again);
        assert!(Session::import(&again).is_ok());
    }
    let mut told = Told::default();
    serve(&mut session, &mut told, &mut |_| {});
    let _refused = session.handle_input(1, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    session.check_invariants();
    serve(&mut session, &mut told, &mut |_| {});
    finish(&mut session, &mut told, &mut |_| {});
}

/// What a connection came to. Equal for equal input, however it was cut.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) asked: Vec<String>,
    pub(super) sent: Vec<u8>,
    pub(super) cause: Option<Cause>,
    /// A body that is to be sent.
    owed: Option<Owed>,
}

#[derive(Clone, Debug, PartialEq)]
struct Owed {
    bytes: Vec<u8>,
    is_held: bool,
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
    finish(&mut session, &mut told, &mut |_| {});
    told
}

/// As [`converse`], with the session exported and imported behind byte `cut`, also while a request waits.
pub(super) fn converse_moving(input: &[u8], cut: usize) -> Told {
    let mut session = Session::new(0, Limits::default());
    let mut told = Told::default();
    feed(&mut session, &input[..cut], &mut told);
    session = moved(&session);
    feed(&mut session, &input[cut..], &mut told);
    session = moved(&session);
    finish(&mut session, &mut told, &mut |session| *session = moved(session));
    told
}

pub(super) fn moved(session: &Session) -> Session {
    let bytes = exported_bytes(session);
    let moved = Session::import(&bytes).expect("what was exported is imported");
    moved.check_invariants();
    assert_eq!(bytes, exported_bytes(&moved));
    moved
}

pub(super) fn exported_bytes(session: &Session) -> Vec<u8> {
    let mut bytes = Vec::new();
    session.export(&mut bytes);
    bytes
}

fn feed(session: &mut Session, mut input: &[u8], told: &mut Told) {
    loop {
        let closed = told.cause.is_some();
        let taken = session.handle_input(1, input).unwrap_or(input.len());
        session.check_invariants();
        // Moved in the middle of a question and back, and while its answer is being sent.
        let answered = serve(session, told, &mut |session| *session = moved(session));
        assert!(!closed || answered == 0, "nothing comes behind the close");
        input = &input[taken..];
        if input.is_empty() {
            return;
        }
        if taken == 0 && answered == 0 {
            assert!(told.owed.is_some(), "input is neither taken nor waiting for an answer");
            send_owed(session, told);
            serve(session, told, &mut |session| *session = moved(session));
        }
    }
}

/// Answers until no request waits and no body is due; how many answers. `at` is shown the session wherever it could move.
pub(super) fn serve(session: &mut Session, told: &mut Told, at: &mut dyn FnMut(&mut Session)) -> usize {
    let mut answered = 0;
    loop {
        let waits = drain(session, told);
        at(session);
        if waits {
            told.owed = answer(session);
            answered += 1;
        } else if told.owed.as_ref().is_some_and(|owed| !owed.is_held) {
            send_owed(session, told);
        } else {
            return answered;
        }
        session.check_invariants();
    }
}

/// Sends bodies that were held, until there are none.
pub(super) fn finish(session: &mut Session, told: &mut Told, at: &mut dyn FnMut(&mut Session)) {
    while session.is_sending() || told.owed.is_some() {
        send_owed(session, told);
        serve(session, told, at);
    }
}

/// The body that others send, and its end. An imported session does not say what is still owed.
fn send_owed(session: &mut Session, told: &mut Told) {
    let owed = told.owed.take();
    if told.cause.is_none() {
        told.sent.extend(owed.into_iter().flat_map(|owed| owed.bytes));
    }
    session.body_sent(1);
    session.check_invariants();
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

/// Answers the request that waits; what others are to send.
fn answer(session: &mut Session) -> Option<Owed> {
    let request = session.request().expect("the caller saw one");
    let (method, path) = (request.method(), request.path());
    match (method, path.strip_prefix("/held").unwrap_or(path)) {
        (Method::Get | Method::Head, "/body" | "/growing" | "/text") => return answer_body(session),
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
    None
}

fn answer_body(session: &mut Session) -> Option<Owed> {
    let request = session.request().expect("the caller saw one");
    let path = request.path();
    let (is_held, is_text) = (path.starts_with("/held"), path.ends_with("/text"));
    let complete = (!path.ends_with("/growing")).then_some(BODY.len() as u64);
    let range = match is_text {
        true => ByteRange::None,
        false => request.byte_range(complete, Some(ETAG)),
    };
    let mut head = Head {
        status: Status::Ok,
        content_type: "video/mp4",
        length: complete.map_or(Length::Chunked, Length::Known),
        content_range: None,
        etag: Some(ETAG),
        cache: Cache::Immutable { max_age_seconds: 60 },
        coding: match (is_text, request.accepts_gzip()) {
            (false, _) => Coding::Only,
            (true, false) => Coding::Identity,
            (true, true) => Coding::Gzip,
        },
        wall_seconds: WALL_SECONDS,
    };
    let mut bytes = BODY;
    match range {
        _ if request.if_none_match(ETAG) => head.status = Status::NotModified,
        ByteRange::None => {}
        ByteRange::One { first, last } if last < BODY.len() as u64 => {
            bytes = &BODY[first as usize..=last as usize];
            head.status = Status::PartialContent;
            head.length = Length::Known(bytes.len() as u64);
            head.content_range = Some(ContentRange { first, last, complete });
        }
        ByteRange::Open { first } if first < BODY.len() as u64 => {
            bytes = &BODY[first as usize..];
            head.status = Status::PartialContent;
            head.content_range = Some(ContentRange::open(first));
        }
        ByteRange::One { .. } | ByteRange::Open { .. } | ByteRange::Unsatisfiable => {
            session.refuse(1, Status::RangeNotSatisfiable { length: complete }, "no such bytes");
            return None;
        }
    }
    let bytes = match (session.respond_body(1, &head), head.length) {
        (Answer::HeadOnly | Answer::Stream, _) => return None,
        (Answer::Body, Length::Chunked) => in_chunks(bytes),
        (Answer::Body, Length::Known(_)) | (Answer::Plain, _) => bytes.to_vec(),
    };
    Some(Owed { bytes, is_held })
}

fn in_chunks(bytes: &[u8]) -> Vec<u8> {
    let mut framed = Vec::new();
    for piece in bytes.chunks(3) {
        chunk_head(piece.len(), &mut framed);
        framed.extend_from_slice(piece);
        framed.extend_from_slice(CHUNK_END);
    }
    framed.extend_from_slice(LAST_CHUNK);
    framed
}

/// What was sent, as a client reads it that knows what it asked: status line, fields, and body of each answer.
pub(super) fn read_answers(told: &Told) -> Vec<(u16, String, Vec<u8>)> {
    let mut rest = &told.sent[..];
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(head_bytes)) = head.parse(rest) else {
            panic!("answer {} has no head: {}", answers.len(), rest.escape_ascii());
        };
        let code = head.code.expect("a whole head has a code");
        let text = String::from_utf8(rest[..head_bytes].to_vec()).expect("heads are ASCII");
        rest = &rest[head_bytes..];
        let value = |name: &str| {
            let found = head.headers.iter().find(|field| field.name == name)?;
            str::from_utf8(found.value).ok()
        };
        let is_head = told
            .asked
            .get(answers.len())
            .is_some_and(|asked| asked.starts_with("Head "));
        let body_bytes = if is_head || matches!(code, 204 | 304) {
            0
        } else if value("Transfer-Encoding") == Some("chunked") {
            match Body::chunked().take(rest, u32::MAX) {
                Ok(Taken::Ended { bytes }) => bytes,
                other => panic!("chunks end with {other:?}: {}", rest.escape_ascii()),
            }
        } else if let Some(length) = value("Content-Length") {
            length.parse().expect("a length is a number")
        } else {
            assert_eq!(value("Connection"), Some("close"), "a body without an end");
            rest.len()
        };
        assert!(body_bytes <= rest.len(), "a body is cut short: {text}");
        let (body, behind) = rest.split_at(body_bytes);
        rest = behind;
        answers.push((code, text, body.to_vec()));
    }
    answers
}

#[cfg(test)]
mod runs {
    use super::super::cases::CASES;
    use super::*;
    use crate::damage::{Cost, damaged};

    const TOKENS: &[&[u8]] = &[
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b":",
        b"\t",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"\r\n\r\n",
        b"%",
        b"%00",
        b"/../",
        b"GET /a.flv HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: h\r\n",
        b"GET /held/growing HTTP/1.1\r\nHost: h\r\n",
        b"GET /body HTTP/1.1\r\nHost: h\r\n",
        b"Range: bytes=0-\r\n",
        b"Range: bytes=-3,",
        b"18446744073709551616",
        b"9007199254740991",
        b"If-Range: \"a1\"\r\n",
        b"If-None-Match: W/\"a1\", *\r\n",
        b"Accept-Encoding: gzip;q=0.5, *;q=0\r\n",
        b"\"",
        b"0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b";",
    ];

    fn seeds() -> Vec<Vec<u8>> {
        let inputs = CASES.iter().map(|case| (case.input)());
        inputs.filter(|input| input.len() < 2_000).collect()
    }

    #[test]
    fn http_connection() {
        damaged("http_connection", Cost::Heavy, &seeds(), TOKENS, connection);
    }

    #[test]
    fn http_exported() {
        let mut exports = Vec::new();
        for input in seeds() {
            let mut session = Session::new(0, Limits::default());
            let mut told = Told::default();
            let _refused = session.handle_input(0, &input);
            drain(&mut session, &mut told);
            exports.push(exported_bytes(&session));
            serve(&mut session, &mut told, &mut |_| {});
            exports.push(exported_bytes(&session));
        }
        damaged("http_exported", Cost::Light, &exports, TOKENS, exported);
    }
}
