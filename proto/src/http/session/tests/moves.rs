//! Sessions that move in every state, behind every byte, and exports that are damaged on the way.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::cases::CASES;
use super::super::super::fuzz::{ETAG, Told, converse, drain, exported_bytes as exported, finish, moved, serve};
use super::super::super::wire::body::Place as BodyPlace;
use super::super::super::{Cache, Coding, Head, ImportError, Length};
use super::*;
use crate::noise::Noise;
use crate::states::states;

states! {
    fn state(State) -> STATES {
        State::Head(_) => "head",
        State::Body { body: Body::Length { .. }, .. } => "body of a length",
        State::Body { body: Body::Chunked { place: BodyPlace::Size { .. }, .. }, .. } => "chunk size",
        State::Body { body: Body::Chunked { place: BodyPlace::Extension { .. }, .. }, .. } => "chunk extension",
        State::Body { body: Body::Chunked { place: BodyPlace::Bytes { .. }, .. }, .. } => "chunk bytes",
        State::Body { body: Body::Chunked { place: BodyPlace::End { .. }, .. }, .. } => "chunk end",
        State::Body { body: Body::Chunked { place: BodyPlace::Trailer { .. }, .. }, .. } => "trailer",
        State::Asked { .. } => "asked",
        State::Sending { .. } => "sending",
        State::Streaming { .. } => "streaming",
        State::Closing(_) => "closing",
        State::Closed => "closed",
    }
    fn timer(Option<Timer>) -> TIMERS {
        None => "no timer",
        Some(Timer::Unused) => "unused",
        Some(Timer::Request) => "request",
        Some(Timer::Idle) => "idle",
    }
}

type Found = (&'static str, &'static str);

fn found(session: &Session) -> Found {
    (
        state(&session.state),
        timer(&session.deadline.map(|deadline| deadline.timer)),
    )
}

/// A connection byte by byte, a millisecond each; requests are answered at once. `at` is told the place and the session
/// whenever it could move, also while a request waits and while a body is being sent; what it gives back goes on.
fn walk(input: &[u8], mut at: impl FnMut(usize, Session) -> Session) -> Told {
    let mut session = at(0, Session::new(0, Limits::default()));
    let mut told = Told::default();
    let mut stop = |bytes: usize, session: &mut Session| {
        let there = std::mem::replace(session, Session::new(0, Limits::default()));
        *session = at(bytes, there);
    };
    for (number, byte) in input.iter().enumerate() {
        let taken = session.handle_input(number as u64, &[*byte]).unwrap_or(1);
        assert_eq!(taken, 1, "answers are not waited for");
        serve(&mut session, &mut told, &mut |session| stop(number + 1, session));
    }
    finish(&mut session, &mut told, &mut |session| stop(input.len(), session));
    told
}

fn short_cases() -> impl Iterator<Item = Vec<u8>> {
    CASES
        .iter()
        .map(|case| (case.input)())
        .filter(|input| input.len() <= 2_000)
}

/// The connection's bytes, how many came before, and the export there.
type Place = (Vec<u8>, usize, Vec<u8>);

/// For each state some places.
fn places() -> BTreeMap<Found, Vec<Place>> {
    let mut all: BTreeMap<Found, Vec<Place>> = BTreeMap::new();
    for input in short_cases() {
        let mut seen = BTreeSet::new();
        walk(&input, |bytes, session| {
            let found = found(&session);
            let known = all.entry(found).or_default();
            if known.len() < 6 && seen.insert(found) {
                known.push((input.clone(), bytes, exported(&session)));
            }
            session
        });
    }
    all
}

#[test]
fn every_state_is_moved_in() {
    let places = places();
    let states: BTreeSet<&str> = places.keys().map(|found| found.0).collect();
    // One that is closing says so first: outputs are drained before a session moves.
    let movable = STATES.iter().copied().filter(|state| *state != "closing");
    assert_eq!(states, movable.collect());
    let timers: BTreeSet<&str> = places.keys().map(|found| found.1).collect();
    assert_eq!(timers, TIMERS.iter().copied().collect());
}

#[test]
fn moved_behind_every_byte_a_connection_goes_as_without() {
    for input in short_cases() {
        let whole = walk(&input, |_, session| session);
        assert_eq!(whole, converse(&input, &[]));
        assert_eq!(
            walk(&input, |_, session| moved(&session)),
            whole,
            "{}",
            input.escape_ascii()
        );
    }
}

/// All that can be done to a session next: it comes to the same when it has moved.
#[test]
fn in_every_state_answers_input_and_time_come_to_the_same() {
    type Act = fn(&mut Session, &[u8]);
    let acts: [(&str, Act); 9] = [
        ("input", |session, rest| {
            let _refused = session.handle_input(9_000, rest);
        }),
        ("the deadline", |session, _| {
            session.handle_timeout(session.poll_timeout().unwrap_or(0))
        }),
        ("just before it", |session, _| {
            session.handle_timeout(session.poll_timeout().unwrap_or(1) - 1)
        }),
        ("long silence", |session, _| session.handle_timeout(u64::MAX)),
        ("an answer", |session, _| {
            if session.request().is_some() {
                session.refuse(7, Status::NotFound, "no such segment");
            }
        }),
        ("a body", |session, _| {
            if session.request().is_some() {
                session.respond_body(7, &whole_in_chunks());
            }
        }),
        ("a body's end", |session, _| {
            if session.is_parked() {
                session.body_sent(7);
            }
        }),
        ("a stream", |session, _| {
            if session.request().is_some() {
                session.respond_stream(7, "video/mp2t");
            }
        }),
        ("the end", |session, _| session.close()),
    ];
    for (found_there, places) in places() {
        for (input, bytes, export) in places {
            for (name, act) in &acts {
                let outcome = |session: &mut Session| {
                    act(session, &input[bytes..]);
                    let mut told = Told::default();
                    let waits = drain(session, &mut told);
                    (
                        told,
                        waits,
                        found(session),
                        session.poll_timeout(),
                        session.is_parked(),
                        exported(session),
                    )
                };
                let mut stayed = None;
                walk(&input[..bytes], |at, mut session| {
                    if at == bytes && stayed.is_none() && exported(&session) == export {
                        let copy = Session::import(&export).unwrap();
                        stayed = Some(outcome(&mut session));
                        return copy;
                    }
                    session
                });
                let went = outcome(&mut Session::import(&export).unwrap());
                assert_eq!(stayed, Some(went), "{name} when {found_there:?}");
            }
        }
    }
}

#[test]
fn in_every_state_damage_is_an_error_or_harmless() {
    let mut random = Noise(0x5EED_D0E5);
    for (input, bytes, export) in places().into_values().flatten() {
        for end in 0..export.len() {
            let short = Session::import(&export[..end]);
            assert!(
                matches!(short, Err(ImportError::Truncated { .. })),
                "{end} bytes: {short:?}"
            );
        }
        let longer = [&export[..], &[0]].concat();
        assert!(Session::import(&longer).is_err(), "a byte more");
        for layout in (0..=u8::MAX).filter(|layout| *layout != export[0]) {
            let other = [&[layout], &export[1..]].concat();
            assert!(matches!(Session::import(&other), Err(ImportError::Version { found }) if found == layout));
        }
        for bit in 0..export.len() * 8 {
            let mut damaged = export.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            live_on(&damaged, &input[bytes..]);
        }
        for _ in 0..300 {
            let mut damaged = export.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(damaged.len());
                let end = damaged.len().min(at + 1 + random.below(8));
                let byte = [0, 0xFF, random.next() as u8][random.below(3)];
                damaged[at..end].fill(byte);
            }
            live_on(&damaged, &input[bytes..]);
        }
    }
    for bytes in 0..400 {
        let noise: Vec<u8> = (0..bytes).map(|_| random.next() as u8).collect();
        live_on(&noise, b"GET / HTTP/1.1\r\n");
    }
}

fn whole_in_chunks() -> Head<'static> {
    Head {
        status: Status::Ok,
        content_type: "video/mp4",
        length: Length::Chunked,
        content_range: None,
        etag: Some(ETAG),
        cache: Cache::NoStore,
        coding: Coding::Only,
        wall_seconds: 0,
    }
}

/// If it is taken at all, it answers, takes input and keeps time without a panic, and can move on.
fn live_on(export: &[u8], rest: &[u8]) {
    for time in [0, u64::MAX] {
        let Ok(mut session) = Session::import(export) else {
            return;
        };
        let mut told = Told::default();
        session.check_invariants();
        session.handle_timeout(time);
        serve(&mut session, &mut told, &mut |_| {});
        let _refused = session.handle_input(time, rest);
        session.check_invariants();
        serve(&mut session, &mut told, &mut |_| {});
        session = moved(&session);
        finish(&mut session, &mut told, &mut |_| {});
        session = moved(&session);
        session.handle_timeout(u64::MAX);
        session.check_invariants();
    }
}
