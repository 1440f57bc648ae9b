//! Fuzz bodies: one connection whole, cut and moved, and exported sessions.

use super::*;
use crate::noise::chosen_by;

/// Any bytes of one connection: no panic, bounded state, an answer to whatever is illegal, and the same outcome for every
/// cut and move.
pub fn connection(input: &[u8]) {
    let whole = converse(input, &[]);
    let cut = chosen_by(input, input.len() + 1);
    assert_eq!(converse(input, &[cut]), whole, "cut at {cut}");
    assert_eq!(converse_moving(input, cut), whole, "moved at {cut}");
    let answers = whole.sent.windows(9).filter(|nine| nine == b"HTTP/1.1 ").count();
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
    drain(&mut session, &mut Told::default());
    if session.request().is_some() {
        answer(&mut session);
        drain(&mut session, &mut Told::default());
    }
    let _refused = session.handle_input(1, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    session.check_invariants();
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
        let exports = seeds().into_iter().map(|input| {
            let mut session = Session::new(0, Limits::default());
            let _refused = session.handle_input(0, &input);
            drain(&mut session, &mut Told::default());
            let mut bytes = Vec::new();
            session.export(&mut bytes);
            bytes
        });
        damaged(
            "http_exported",
            Cost::Light,
            &exports.collect::<Vec<_>>(),
            TOKENS,
            exported,
        );
    }
}
