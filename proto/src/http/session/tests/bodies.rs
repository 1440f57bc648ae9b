//! Answers whose bodies others send: what their heads say, when the connection goes on, and what is kept meanwhile.

use super::super::super::fuzz::{BODY, ETAG, exported_bytes};
use super::super::super::{Cache, Coding, ContentRange, Head, Length, chunk_head};
use super::*;

const WALL_SECONDS: u64 = 784_111_777;
const ONE: &[u8] = b"GET /fixed HTTP/1.1\r\nHost: h\r\n\r\n";

const fn head(length: Length) -> Head<'static> {
    Head {
        status: Status::Ok,
        content_type: "video/mp4",
        length,
        content_range: None,
        etag: Some(ETAG),
        cache: Cache::Immutable { max_age_seconds: 60 },
        coding: Coding::Only,
        wall_seconds: WALL_SECONDS,
    }
}

/// A session to which a request came at 1,000.
fn asked(request: &[u8]) -> Session {
    let mut session = Session::new(0, Limits::default());
    assert_eq!(session.handle_input(1_000, request), Ok(request.len()));
    drain(&mut session);
    assert!(session.request().is_some());
    session
}

/// What a peer that asked with `version` and `headers` is answered with `head`.
fn answered(request: &str, head: &Head<'_>) -> (Answer, String) {
    let mut session = asked(request.as_bytes());
    let answer = session.respond_body(2_000, head);
    let reserved = session.out.capacity();
    let text = String::from_utf8(drain(&mut session).0).unwrap();
    assert!(
        reserved <= content::HEAD_BYTES,
        "a head is taken at once: {reserved}, {} used",
        text.len()
    );
    (answer, text)
}

#[test]
fn heads_say_all_that_caches_and_players_read() {
    let get = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    let always = "Server: penstock\r\nConnection: keep-alive\r\nAccess-Control-Allow-Origin: *\r\n\
        Access-Control-Expose-Headers: Accept-Ranges, Age, Content-Encoding, Content-Length, Content-Range, Date, ETag\r\n\
        Timing-Allow-Origin: *\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let whole = head(Length::Known(10));
    assert_eq!(
        answered(get, &whole),
        (
            Answer::Body,
            format!(
                "HTTP/1.1 200 OK\r\n{always}Cache-Control: max-age=60, immutable\r\nETag: \"a1\"\r\nContent-Type: video/mp4\r\n\
                 Accept-Ranges: bytes\r\nContent-Length: 10\r\n\r\n"
            )
        )
    );
    let part = Head {
        status: Status::PartialContent,
        content_range: Some(ContentRange::open(40)),
        length: Length::Chunked,
        etag: None,
        cache: Cache::NoCache,
        ..whole
    };
    assert_eq!(
        answered(get, &part),
        (
            Answer::Body,
            format!(
                "HTTP/1.1 206 Partial Content\r\n{always}Cache-Control: no-cache\r\nContent-Type: video/mp4\r\n\
                 Accept-Ranges: bytes\r\nContent-Range: bytes 40-9007199254740991/*\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
        )
    );
    let text = Head {
        coding: Coding::Gzip,
        cache: Cache::MaxAge { seconds: 1 },
        ..whole
    };
    assert_eq!(
        answered(get, &text).1,
        format!(
            "HTTP/1.1 200 OK\r\n{always}Cache-Control: max-age=1\r\nETag: \"a1\"\r\nVary: Accept-Encoding\r\n\
             Content-Type: video/mp4\r\nAccept-Ranges: none\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\n"
        )
    );
    let plain = Head {
        coding: Coding::Identity,
        cache: Cache::NoStore,
        ..text
    };
    assert_eq!(
        answered(get, &plain).1,
        format!(
            "HTTP/1.1 200 OK\r\n{always}Cache-Control: no-store\r\nETag: \"a1\"\r\nVary: Accept-Encoding\r\n\
             Content-Type: video/mp4\r\nAccept-Ranges: none\r\nContent-Length: 10\r\n\r\n"
        )
    );
    let nothing_new = Head {
        status: Status::NotModified,
        ..text
    };
    assert_eq!(
        answered(get, &nothing_new),
        (
            Answer::HeadOnly,
            format!(
                "HTTP/1.1 304 Not Modified\r\n{always}Cache-Control: max-age=1\r\nETag: \"a1\"\r\nVary: Accept-Encoding\r\n\r\n"
            )
        )
    );
}

/// The longest there is, but for types and tags that nobody has.
#[test]
fn a_head_is_written_without_growing() {
    let longest = "x".repeat(62);
    let said = Head {
        status: Status::PartialContent,
        content_type: &longest,
        length: Length::Known(u64::MAX - 1),
        content_range: Some(ContentRange {
            first: 1,
            last: u64::MAX - 1,
            complete: Some(u64::MAX),
        }),
        etag: Some(&format!("\"{longest}\"")),
        cache: Cache::Immutable {
            max_age_seconds: u32::MAX,
        },
        coding: Coding::Only,
        wall_seconds: u64::MAX,
    };
    let (_, text) = answered("GET /a HTTP/1.1\r\nHost: h\r\n\r\n", &said);
    assert!(text.contains("Content-Range: bytes 1-18446744073709551614/18446744073709551615\r\n"));
    assert!(text.contains("Content-Length: 18446744073709551614\r\n"));
    assert!(text.contains("Cache-Control: max-age=4294967295, immutable\r\n"));
}

/// Who is framed how, and whether the connection goes on behind it.
#[test]
fn framing_and_end_follow_the_request() {
    let known = head(Length::Known(10));
    let chunked = head(Length::Chunked);
    let cases: &[(&str, &Head<'_>, Answer, &str, Option<Cause>)] = &[
        ("GET 1.1", &known, Answer::Body, "Content-Length: 10", None),
        ("GET 1.1", &chunked, Answer::Body, "Transfer-Encoding: chunked", None),
        (
            "GET 1.1 close",
            &known,
            Answer::Body,
            "Content-Length: 10",
            Some(Cause::Answered),
        ),
        (
            "GET 1.1 close",
            &chunked,
            Answer::Body,
            "Transfer-Encoding: chunked",
            Some(Cause::Answered),
        ),
        (
            "GET 1.0",
            &known,
            Answer::Body,
            "Content-Length: 10",
            Some(Cause::Answered),
        ),
        ("GET 1.0", &chunked, Answer::Plain, "", Some(Cause::Answered)),
        ("GET 1.0 keep-alive", &known, Answer::Body, "Content-Length: 10", None),
        ("GET 1.0 keep-alive", &chunked, Answer::Plain, "", Some(Cause::Answered)),
        ("HEAD 1.1", &known, Answer::HeadOnly, "Content-Length: 10", None),
        (
            "HEAD 1.1",
            &chunked,
            Answer::HeadOnly,
            "Transfer-Encoding: chunked",
            None,
        ),
        ("HEAD 1.0", &chunked, Answer::HeadOnly, "", Some(Cause::Answered)),
        ("HEAD 1.0 keep-alive", &chunked, Answer::HeadOnly, "", None),
        (
            "GET 1.1",
            &head(Length::Known(0)),
            Answer::HeadOnly,
            "Content-Length: 0",
            None,
        ),
    ];
    for (request, head, answer, framing, cause) in cases {
        let (method, rest) = request.split_once(' ').unwrap();
        let (version, connection) = rest.split_once(' ').unwrap_or((rest, "x"));
        let bytes = format!("{method} /a HTTP/{version}\r\nHost: h\r\nConnection: {connection}\r\n\r\n");
        let mut session = asked(bytes.as_bytes());
        assert_eq!(session.respond_body(2_000, head), *answer, "{request}");
        let (sent, mut ended) = drain(&mut session);
        let text = String::from_utf8(sent).unwrap();
        let found: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("Content-Length") || line.starts_with("Transfer-Encoding"))
            .collect();
        assert_eq!(found.join("+"), *framing, "{request}");
        if *answer != Answer::HeadOnly {
            assert!(
                ended.is_none() && session.is_parked(),
                "{request}: the body is being sent"
            );
            assert_eq!(session.is_sending(), cause.is_none(), "{request}");
            session.body_sent(3_000);
            ended = drain(&mut session).1;
        }
        assert_eq!(ended, *cause, "{request}");
        let connection = if cause.is_some() { "close" } else { "keep-alive" };
        assert!(
            text.contains(&format!("Connection: {connection}\r\n")),
            "{request}: {text}"
        );
        if cause.is_none() {
            assert_eq!(session.handle_input(4_000, ONE), Ok(ONE.len()));
            drain(&mut session);
            assert!(session.request().is_some(), "{request}: the next one is read");
        }
    }
}

#[test]
fn time_stands_still_while_a_body_is_sent_and_idleness_begins_behind_it() {
    let mut session = asked(ONE);
    session.respond_body(2_000, &head(Length::Known(10)));
    drain(&mut session);
    assert_eq!(session.poll_timeout(), None);
    session.handle_timeout(10_000_000);
    assert_eq!(
        drain(&mut session),
        (vec![], None),
        "it is the socket that stalls, not the dialogue"
    );
    session.body_sent(10_000_000);
    assert_eq!(session.poll_timeout(), Some(10_060_000));
    session.handle_timeout(10_060_000);
    assert_eq!(drain(&mut session), (vec![], Some(Cause::Idle)));

    // The head of the next request came before: it has its time from there on.
    let mut session = asked(ONE);
    session.respond_body(2_000, &head(Length::Known(10)));
    drain(&mut session);
    assert_eq!(session.handle_input(3_000, b"GET /next"), Ok(9));
    assert_eq!(session.poll_timeout(), None);
    session.body_sent(100_000);
    assert_eq!(session.poll_timeout(), Some(110_000));
    session.handle_timeout(110_000);
    assert_eq!(drain(&mut session).1, Some(Cause::Slow));
}

#[test]
fn a_flood_of_requests_behind_a_body_is_bounded_and_continues() {
    let input = ONE.repeat(1_000);
    let mut session = asked(ONE);
    // Half before the answer and half behind it: the bound is one.
    let half = limits::PIPELINED_BYTES_MAX / 2;
    assert_eq!(session.handle_input(1_000, &input[..half]), Ok(half));
    session.respond_body(2_000, &head(Length::Chunked));
    drain(&mut session);
    let taken = session.handle_input(2_000, &input[half..]).unwrap();
    assert_eq!(taken, limits::PIPELINED_BYTES_MAX - half);
    let rest = &input[half + taken..];
    for _ in 0..1_000 {
        assert_eq!(session.handle_input(2_000, rest), Ok(0), "full");
        assert_eq!(drain(&mut session), (vec![], None), "nothing is said inside a body");
    }
    assert!(session.bytes() < 2 * limits::PIPELINED_BYTES_MAX + limits::PARKED_BYTES_MAX);
    session.body_sent(3_000);
    drain(&mut session);
    assert!(session.request().is_some());
    assert_eq!(session.handle_input(3_000, rest), Ok(ONE.len()), "as much as was read");

    let held = b"GET /held/growing HTTP/1.1\r\nHost: h\r\n\r\n".repeat(2_000);
    let told = converse(&held, &[]);
    assert_eq!(told.asked.len(), 2_000);
    assert_eq!(read_answers(&told).len(), 2_000);
}

#[test]
fn bodies_read_back_as_they_were_sent() {
    let cases: &[(&str, u16, &[u8], &str)] = &[
        ("GET /body HTTP/1.1\r\n", 200, BODY, "Content-Length: 10\r\n"),
        (
            "GET /body HTTP/1.1\r\nRange: bytes=2-4\r\n",
            206,
            b"234",
            "Content-Range: bytes 2-4/10\r\n",
        ),
        (
            "GET /body HTTP/1.1\r\nRange: bytes=-3\r\n",
            206,
            b"789",
            "Content-Range: bytes 7-9/10\r\n",
        ),
        (
            "GET /body HTTP/1.1\r\nRange: bytes=2-4\r\nIf-Range: \"a0\"\r\n",
            200,
            BODY,
            "Content-Length: 10\r\n",
        ),
        (
            "GET /body HTTP/1.1\r\nRange: bytes=10-\r\n",
            416,
            b"no such bytes\n",
            "Content-Range: bytes */10\r\n",
        ),
        (
            "GET /growing HTTP/1.1\r\nRange: bytes=7-\r\n",
            206,
            b"3\r\n789\r\n0\r\n\r\n",
            "Content-Range: bytes 7-9007199254740991/*\r\n",
        ),
        (
            "GET /growing HTTP/1.1\r\nRange: bytes=7-8\r\n",
            206,
            b"78",
            "Content-Range: bytes 7-8/*\r\n",
        ),
        ("GET /growing HTTP/1.0\r\n", 200, BODY, "Connection: close\r\n"),
        (
            "GET /growing HTTP/1.1\r\nRange: bytes=9007199254740991-\r\n",
            416,
            b"no such bytes\n",
            "",
        ),
        (
            "GET /text HTTP/1.1\r\nRange: bytes=2-4\r\n",
            200,
            BODY,
            "Accept-Ranges: none\r\n",
        ),
        (
            "GET /text HTTP/1.1\r\nAccept-Encoding: gzip\r\n",
            200,
            BODY,
            "Content-Encoding: gzip\r\n",
        ),
        (
            "GET /body HTTP/1.1\r\nRange: bytes=2-4\r\nIf-None-Match: *\r\n",
            304,
            b"",
            "ETag: \"a1\"\r\n",
        ),
    ];
    for (request, code, body, line) in cases {
        for place in ["", "/held"] {
            let request = format!("{}Host: h\r\n\r\n", request.replace("GET ", &format!("GET {place}")));
            let told = converse(request.as_bytes(), &[]);
            let answers = read_answers(&told);
            let [(found, head, bytes)] = &answers[..] else {
                panic!("{request}: {answers:?}")
            };
            assert_eq!(
                (*found, bytes.escape_ascii().to_string()),
                (*code, body.escape_ascii().to_string()),
                "{request}"
            );
            assert!(head.contains(line), "{request}: {head}");
        }
    }
}

#[test]
fn no_more_than_the_bound_is_imported_behind_a_body() {
    let mut session = asked(ONE);
    session.respond_body(2_000, &head(Length::Known(10)));
    drain(&mut session);
    let export = exported_bytes(&session);
    let before = export.strip_suffix(&[0; 4]).expect("nothing came behind the request");
    for (bytes, is_taken) in [
        (limits::PIPELINED_BYTES_MAX, true),
        (limits::PIPELINED_BYTES_MAX + 1, false),
    ] {
        let length = u32::try_from(bytes).unwrap().to_le_bytes();
        let more = [before, &length, &vec![b'x'; bytes]].concat();
        assert_eq!(Session::import(&more).is_ok(), is_taken, "{bytes} bytes");
    }
}

#[test]
fn a_session_that_sends_a_body_owns_no_heap() {
    let mut session = asked(format!("GET /{}.m4s HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(2_000)).as_bytes());
    session.respond_body(2_000, &head(Length::Known(10)));
    assert!(!session.is_parked(), "the head is not out");
    drain(&mut session);
    assert!(session.is_parked());
    assert!(session.bytes() <= limits::PARKED_BYTES_MAX, "{}", session.bytes());
}

#[test]
fn who_talks_without_end_behind_the_last_request_is_closed() {
    let mut session = asked(b"GET /a HTTP/1.0\r\n\r\n");
    session.respond_body(2_000, &head(Length::Known(10)));
    drain(&mut session);
    let input = vec![b'x'; limits::STREAM_INPUT_BYTES_MAX as usize + 1];
    assert!(session.handle_input(3_000, &input).is_err());
    assert!(matches!(drain(&mut session), (sent, Some(Cause::Illegal(_))) if sent.is_empty()));
    // Its body may have been on the way.
    session.body_sent(4_000);
    assert_eq!(drain(&mut session), (vec![], None));
}

#[test]
fn a_body_that_cannot_be_sent_whole_ends_the_connection() {
    let mut session = asked(ONE);
    session.respond_body(2_000, &head(Length::Known(10)));
    drain(&mut session);
    session.close();
    assert_eq!(drain(&mut session), (vec![], Some(Cause::Local)));
}

#[test]
#[should_panic(expected = "no body is being sent")]
fn the_end_of_no_body_is_a_defect() {
    asked(ONE).body_sent(1);
}

#[test]
#[should_panic(expected = "outputs must be drained before the end of a body")]
fn a_body_cannot_end_before_its_head_is_out() {
    let mut session = asked(ONE);
    session.respond_body(2_000, &head(Length::Known(10)));
    session.body_sent(2_000);
}

/// What contradicts itself is a defect of ours, and is found before it reaches a cache.
#[test]
fn heads_that_contradict_themselves_are_defects() {
    let whole = head(Length::Known(10));
    let range = ContentRange {
        first: 2,
        last: 4,
        complete: Some(10),
    };
    let part = Head {
        status: Status::PartialContent,
        length: Length::Known(3),
        content_range: Some(range),
        ..whole
    };
    let wrong = [
        (
            "a refusal",
            Head {
                status: Status::NotFound,
                ..whole
            },
        ),
        (
            "a whole with a range",
            Head {
                content_range: Some(range),
                ..whole
            },
        ),
        (
            "a part without a range",
            Head {
                content_range: None,
                ..part
            },
        ),
        (
            "a part that is longer",
            Head {
                length: Length::Known(4),
                ..part
            },
        ),
        (
            "a part of a text",
            Head {
                coding: Coding::Gzip,
                ..part
            },
        ),
        (
            "a tag without quotes",
            Head {
                etag: Some("a1"),
                ..whole
            },
        ),
        (
            "half a tag",
            Head {
                etag: Some("\""),
                ..whole
            },
        ),
        (
            "a tag with a line end",
            Head {
                etag: Some("\"\r\n\""),
                ..whole
            },
        ),
        (
            "a type with a line end",
            Head {
                content_type: "a\r\nb",
                ..whole
            },
        ),
    ];
    for (name, said) in wrong {
        let found = std::panic::catch_unwind(|| asked(ONE).respond_body(2_000, &said));
        assert!(found.is_err(), "{name}");
    }
    let mut out = Vec::new();
    chunk_head(3, &mut out);
    assert_eq!(
        asked(ONE).respond_body(2_000, &part),
        Answer::Body,
        "while this one is right"
    );
}

/// RTSP in HTTP: a POST's body is the tunnel, whatever is said of its length.
#[test]
fn a_tunnel_is_handed_over_with_what_came_behind_its_head() {
    let head = "POST /live HTTP/1.0\r\nx-SessionCookie: abc\r\nContent-Length: 32767\r\n\r\n";
    for (request, behind) in [
        (head, "T1BU"),
        ("GET /live HTTP/1.0\r\nx-sessioncookie: abc\r\n\r\n", ""),
        ("GET /live HTTP/1.1\r\nHost: h\r\nx-sessioncookie: abc\r\n\r\n", "x"),
    ] {
        let bytes = [request, behind].concat();
        for step in 1..bytes.len() {
            let mut session = Session::new(0, Limits::default());
            for piece in bytes.as_bytes().chunks(step) {
                assert_eq!(session.handle_input(1_000, piece), Ok(piece.len()));
                drain(&mut session);
                session.check_invariants();
            }
            assert_eq!(session.request().unwrap().header("x-sessioncookie"), Some("abc"));
            assert_eq!(session.hand_over(), behind.as_bytes(), "{request} by {step}");
            assert!(session.poll_timeout().is_none() && session.poll_output().is_none());
        }
    }
    // More than is kept is for the caller to keep.
    let mut session = Session::new(0, Limits::default());
    let bytes = [head, &"T1BU".repeat(limits::PIPELINED_BYTES_MAX)].concat();
    let taken = session.handle_input(1_000, bytes.as_bytes()).unwrap();
    assert_eq!(taken, head.len() + limits::PIPELINED_BYTES_MAX);
    drain(&mut session);
    assert_eq!(session.hand_over().len(), limits::PIPELINED_BYTES_MAX);
    // Nobody wants it: its body is not read, and so it is the connection's last request.
    let mut session = asked(b"POST /live HTTP/1.1\r\nHost: h\r\nx-sessioncookie: abc\r\nContent-Length: 32767\r\n\r\n");
    session.refuse(2_000, Status::NotFound, "no");
    let (said, _) = drain(&mut session);
    assert!(String::from_utf8(said).unwrap().contains("Connection: close"));
}
