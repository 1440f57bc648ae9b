use super::super::cases::{CASES, Case};
use super::super::fuzz::{converse, read_answers};
use super::*;

mod bodies;
mod moves;

#[test]
fn every_case_ends_as_the_table_says() {
    for Case {
        name,
        input,
        asked,
        codes,
        cause,
    } in CASES
    {
        let told = converse(&input(), &[]);
        assert_eq!(told.asked, *asked, "{name}");
        let found: Vec<_> = read_answers(&told).iter().map(|(code, ..)| code.to_string()).collect();
        assert_eq!(found, *codes, "{name}");
        assert_eq!(told.cause, *cause, "{name}");
    }
}

#[test]
fn any_cut_gives_the_same_outputs() {
    for Case { name, input, .. } in CASES {
        let input = input();
        let whole = converse(&input, &[]);
        let every: Vec<usize> = (1..input.len()).collect();
        assert_eq!(converse(&input, &every), whole, "{name}: byte by byte");
        let step = (input.len() / 400).max(1);
        for cut in (1..input.len()).step_by(step) {
            assert_eq!(converse(&input, &[cut]), whole, "{name}: cut at {cut}");
        }
    }
}

#[test]
fn a_session_can_move_behind_any_byte() {
    for Case { name, input, .. } in CASES {
        let input = input();
        if input.len() > 2_000 {
            continue;
        }
        let whole = converse(&input, &[]);
        for cut in 0..=input.len() {
            let told = super::super::fuzz::converse_moving(&input, cut);
            assert_eq!(told, whole, "{name}: moved behind byte {cut}");
        }
    }
}

#[test]
fn import_takes_only_what_export_writes() {
    let mut session = Session::new(0, Limits::default());
    session.handle_input(1, b"GET /fixed HTTP/1.1\r\nHo").unwrap();
    let mut bytes = Vec::new();
    session.export(&mut bytes);
    assert!(Session::import(&bytes).is_ok());
    for length in 0..bytes.len() {
        assert!(Session::import(&bytes[..length]).is_err(), "truncated to {length}");
    }
    assert!(matches!(
        Session::import(&[9]),
        Err(super::super::ImportError::Version { found: 9 })
    ));
    bytes.push(0);
    assert!(Session::import(&bytes).is_err(), "one byte more");
}

fn drain(session: &mut Session) -> (Vec<u8>, Option<Cause>) {
    let (mut sent, mut cause) = (Vec::new(), None);
    loop {
        match session.poll_output() {
            Some(Output::Transmit(bytes)) => sent.extend_from_slice(bytes),
            Some(Output::Event(Event::Close(found))) => cause = Some(found),
            Some(Output::Event(Event::Request(_))) => {}
            None => break,
        }
        session.check_invariants();
    }
    (sent, cause)
}

#[test]
fn slow_and_idle_peers_are_ended() {
    let limits = Limits::default();
    let unused = || Session::new(1_000, limits);

    let mut session = unused();
    assert_eq!(session.poll_timeout(), Some(11_000));
    session.handle_timeout(10_999);
    assert_eq!(drain(&mut session), (vec![], None), "not yet");
    session.handle_timeout(11_000);
    assert_eq!(drain(&mut session), (vec![], Some(Cause::Unused)));
    assert_eq!(session.poll_timeout(), None);

    // A byte a second does not prolong it.
    let mut session = unused();
    for second in 1..10 {
        session.handle_input(1_000 + second * 1_000, b"G").unwrap();
        assert_eq!(session.poll_timeout(), Some(11_000));
    }
    session.handle_timeout(11_000);
    let (sent, cause) = drain(&mut session);
    assert!(sent.starts_with(b"HTTP/1.1 408 "), "{}", sent.escape_ascii());
    assert_eq!(cause, Some(Cause::Slow));

    // Idle behind an answer, then a slow second request, with a deadline of its own.
    let mut session = unused();
    session
        .handle_input(2_000, b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        .unwrap();
    drain(&mut session);
    assert_eq!(session.poll_timeout(), None, "the peer waits for us");
    session.refuse(50_000, Status::NotFound, "no such stream");
    drain(&mut session);
    assert_eq!(session.poll_timeout(), Some(110_000));
    session.handle_input(100_000, b"\r\n").unwrap();
    assert_eq!(session.poll_timeout(), Some(110_000), "an empty line is no request");
    session.handle_input(100_500, b"GET").unwrap();
    assert_eq!(session.poll_timeout(), Some(110_500));
    session.handle_timeout(110_500);
    assert_eq!(drain(&mut session).1, Some(Cause::Slow));

    // A body counts to its request.
    let mut session = unused();
    session
        .handle_input(2_000, b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n1")
        .unwrap();
    assert_eq!(session.poll_timeout(), Some(11_000));
    session.handle_timeout(11_000);
    assert_eq!(drain(&mut session).1, Some(Cause::Slow));
}

#[test]
fn a_parked_session_owns_no_heap() {
    let mut session = Session::new(0, Limits::default());
    let long_name = "x".repeat(2_000);
    let request = format!("GET /{long_name}.flv HTTP/1.1\r\nHost: h\r\n\r\nGET /next HTTP/1.1\r\n");
    session.handle_input(0, request.as_bytes()).unwrap();
    drain(&mut session);
    assert_eq!(session.respond_stream(5, "video/x-flv"), Answer::Stream);
    assert!(!session.is_parked(), "the head is not out");
    let (head, cause) = drain(&mut session);
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert_eq!(cause, None);
    assert!(session.is_parked());
    assert_eq!(session.out.capacity(), 0);
    assert_eq!(session.poll_timeout(), None);
    assert!(matches!(session.state, State::Streaming { .. }), "all state is inline");
    session.close();
    assert_eq!(drain(&mut session), (vec![], Some(Cause::Local)));
}

#[test]
fn viewers_that_talk_without_end_are_closed() {
    let mut session = Session::new(0, Limits::default());
    session.handle_input(0, b"GET /x HTTP/1.0\r\n\r\n").unwrap();
    drain(&mut session);
    session.respond_stream(0, "video/x-flv");
    drain(&mut session);
    let most = vec![b'x'; limits::STREAM_INPUT_BYTES_MAX as usize];
    assert_eq!(session.handle_input(1, &most), Ok(most.len()));
    assert_eq!(drain(&mut session), (vec![], None));
    let error = Error::StreamInputTooLong {
        bytes_max: limits::STREAM_INPUT_BYTES_MAX,
    };
    assert_eq!(session.handle_input(1, b"x"), Err(error));
    // No answer can be put into a stream.
    assert_eq!(drain(&mut session), (vec![], Some(Cause::Illegal(error))));
}

#[test]
fn pipelined_bytes_are_bounded_and_continue_behind_the_answer() {
    let one = b"GET /fixed HTTP/1.1\r\nHost: h\r\n\r\n";
    let input = one.repeat(1_000);
    let mut session = Session::new(0, Limits::default());
    let taken = session.handle_input(0, &input).unwrap();
    assert_eq!(taken, one.len() + limits::PIPELINED_BYTES_MAX);
    drain(&mut session);
    assert_eq!(session.handle_input(0, &input[taken..]), Ok(0), "full");
    session.respond(0, Status::Ok, "text/plain", b"x");
    drain(&mut session);
    assert_eq!(
        session.handle_input(0, &input[taken..]),
        Ok(one.len()),
        "as much as was answered"
    );

    // With the rest given again after each answer, all are answered.
    let told = converse(&input, &[]);
    assert_eq!(told.asked.len(), 1_000);
}

#[test]
#[should_panic(expected = "no announced request waits")]
fn an_answer_without_request_is_a_defect() {
    Session::new(0, Limits::default()).refuse(0, Status::NotFound, "x");
}

#[test]
#[should_panic(expected = "control character in Content-Type")]
fn answers_cannot_be_split() {
    let mut session = Session::new(0, Limits::default());
    session.handle_input(0, b"GET /x HTTP/1.0\r\n\r\n").unwrap();
    drain(&mut session);
    session.respond(0, Status::Ok, "a\r\nSet-Cookie: b", b"");
}
