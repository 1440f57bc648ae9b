//! Sessions that move in every state, behind every byte, and exports that are damaged on the way.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::ImportError;
use super::super::dialogue::Activity;
use super::super::greeting::Stage;
use super::*;
use crate::noise::Noise;
use crate::states::states;

states! {
    fn stage(Stage) -> STAGES {
        Stage::Hello(_) => "hello",
        Stage::Confirmation(_) => "confirmation",
    }
    fn activity(Activity) -> ACTIVITIES {
        Activity::Idle => "idle",
        Activity::PublishAsked(_) => "publish asked",
        Activity::PlayAsked(_) => "play asked",
        Activity::Publishing(_) => "publishing",
        Activity::Playing(_) => "playing",
        Activity::Paused(_) => "paused",
    }
}

/// Where a chunk can be cut.
const PLACES: [&str; 4] = [
    "in a chunk's header",
    "in a chunk's payload",
    "between two chunks of a message",
    "between messages",
];

type State = (&'static str, &'static str);

fn state(session: &Session) -> State {
    match &session.phase {
        Phase::Greeting(greeting) => (stage(&greeting.stage), ""),
        Phase::Dialogue(dialogue) => (activity(&dialogue.activity), dialogue.reader.place()),
        Phase::Closed => ("closed", ""),
    }
}

fn exported(session: &Session) -> Vec<u8> {
    let mut bytes = Vec::new();
    session.export(&mut bytes);
    bytes
}

/// The session after a move, which loses nothing that can be asked for.
pub(super) fn moved(session: &Session) -> Session {
    let bytes = exported(session);
    let moved = Session::import(&bytes).unwrap();
    assert_eq!(exported(&moved), bytes);
    assert_eq!(facts(&moved), facts(session));
    moved
}

fn facts(session: &Session) -> (Option<u64>, Counters, [bool; 2], State) {
    let told = [session.awaits_decision(), session.is_closed()];
    (session.poll_timeout(), session.counters(), told, state(session))
}

/// All dialogues of the tests, and one that a peer breaks off by an illegal chunk.
fn all_dialogues() -> Vec<Vec<u8>> {
    let mut all = dialogues();
    let handshake = &all[0][..HELLO_BYTES + PACKET_BYTES];
    // Format 3 on a chunk stream that has not begun.
    let broken = [handshake, &[0xC9, 0]].concat();
    all.push(broken);
    all
}

/// A dialogue byte by byte, a millisecond each; a player is silent before each of its bytes until it is pinged. `at` is told the place, the session and what is still to come whenever the
/// session could move, also while a decision is awaited; what it gives back goes on.
fn walk(input: &[u8], mut at: impl FnMut(usize, Session) -> Session) -> Vec<Said> {
    let mut session = Session::new(0, SEED);
    let mut all = Vec::new();
    let mut now = 0;
    for (number, byte) in input.iter().enumerate() {
        now += 1;
        if matches!(state(&session).0, "playing" | "paused") {
            now += PING_MILLIS;
            session.handle_timeout(now).unwrap();
            all.extend(drain(&mut session));
            session = at(number, session);
        }
        let mut rest = std::slice::from_ref(byte);
        loop {
            // An error closes; what comes then is swallowed.
            let taken = session.handle_input(now, rest).unwrap_or(rest.len());
            rest = &rest[taken..];
            let said = drain(&mut session);
            session = at(number + 1, session);
            let answers = decide(&mut session, &said);
            let is_quiet = taken == 0 && said.is_empty();
            all.extend(said);
            all.extend(answers);
            session = at(number + 1, session);
            if is_quiet {
                break;
            }
        }
    }
    join(all)
}

/// The dialogue, how many bytes came before, and the export there.
type Place = (Vec<u8>, usize, Vec<u8>);

/// For each state the first places, at most one a dialogue.
fn places() -> BTreeMap<State, Vec<Place>> {
    let mut all: BTreeMap<State, Vec<Place>> = BTreeMap::new();
    for input in all_dialogues() {
        let mut seen = BTreeSet::new();
        walk(&input, |bytes, session| {
            if seen.insert(state(&session)) {
                let place = (input.clone(), bytes, exported(&session));
                all.entry(state(&session)).or_default().push(place);
            }
            session
        });
    }
    all
}

#[test]
fn every_state_is_moved_in() {
    let seen: BTreeSet<State> = places().into_keys().collect();
    let first: BTreeSet<&str> = seen.iter().map(|state| state.0).collect();
    let all: BTreeSet<&str> = [STAGES, ACTIVITIES, &["closed"]].concat().into_iter().collect();
    assert_eq!(first, all);
    for activity in ["idle", "publishing", "playing", "paused"] {
        for place in PLACES {
            // A player's commands fit a chunk.
            let is_short = place == "between two chunks of a message" && activity != "publishing";
            assert!(is_short || seen.contains(&(activity, place)), "{activity}, {place}");
        }
    }
}

#[test]
fn moved_behind_every_byte_a_dialogue_goes_as_without() {
    for input in all_dialogues() {
        let whole = walk(&input, |_, session| session);
        assert!(!whole.is_empty());
        assert_eq!(walk(&input, |_, session| moved(&session)), whole);
    }
}

/// All that can be done to a session next: it comes to the same when it has moved.
#[test]
fn in_every_state_decisions_input_and_time_come_to_the_same() {
    type Act = fn(&mut Session, &[u8]) -> Result<(), Error>;
    let acts: [(&str, Act); 9] = [
        ("input", |session, rest| {
            session.handle_input(session.heard_ms + 9, rest).map(drop)
        }),
        ("input later", |session, rest| {
            let later = session.handle_timeout(session.heard_ms + 10_000);
            drain(session);
            later?;
            match session.awaits_decision() {
                true => Ok(()),
                false => feed(session, session.heard_ms + 10_001, rest).map(drop),
            }
        }),
        ("the deadline", |session, _| match session.poll_timeout() {
            Some(at) => session.handle_timeout(at),
            None => Ok(()),
        }),
        ("just before it", |session, _| match session.poll_timeout() {
            Some(at) => session.handle_timeout(at - 1),
            None => Ok(()),
        }),
        ("long silence", |session, _| session.handle_timeout(u64::MAX)),
        ("publish accepted", |session, _| {
            if state(session).0 == "publish asked" {
                session.accept_publish();
            }
            Ok(())
        }),
        ("play refused", |session, _| {
            if state(session).0 == "play asked" {
                session.reject_play(PlayRejection::StreamNotFound, "gone");
            }
            Ok(())
        }),
        ("play stopped", |session, _| {
            session.play_stopped(StopReason::TooSlow);
            Ok(())
        }),
        ("publish stopped", |session, _| {
            session.publish_stopped(StopReason::Replaced);
            Ok(())
        }),
    ];
    for (state_there, places) in places() {
        for (input, bytes, export) in places {
            for (name, act) in &acts {
                let outcome = |session: &mut Session| {
                    let result = act(session, &input[bytes..]);
                    (result, drain(session), facts(session))
                };
                // Whoever walks the dialogue again stands where the export was made.
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
                assert_eq!(stayed, Some(went), "{name} when {state_there:?}");
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
        assert!(matches!(Session::import(&longer), Err(ImportError::Invalid { .. })));
        for layout in (0..=u8::MAX).filter(|layout| *layout != export[0]) {
            let other = [&[layout], &export[1..]].concat();
            let expected = export[0];
            let found = Session::import(&other).err();
            assert_eq!(
                found,
                Some(ImportError::Layout {
                    found: layout,
                    expected
                })
            );
        }
        let rest = &input[bytes..input.len().min(bytes + 1500)];
        for bit in 0..export.len().min(300) * 8 {
            let mut damaged = export.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            live_on(&damaged, rest);
        }
        for _ in 0..300 {
            let mut damaged = export.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(damaged.len());
                let end = damaged.len().min(at + 1 + random.below(4));
                let byte = [0, 0xFF, random.next() as u8][random.below(3)];
                damaged[at..end].fill(byte);
            }
            live_on(&damaged, rest);
        }
    }
    for bytes in 0..400 {
        let noise: Vec<u8> = (0..bytes).map(|_| random.next() as u8).collect();
        live_on(&noise, b"\x03");
    }
}

/// If it is taken at all, it answers, takes input and keeps time without a panic, in bounded memory.
fn live_on(export: &[u8], rest: &[u8]) {
    for act in 0..3 {
        let Ok(mut session) = Session::import(export) else {
            return;
        };
        assert!(session.bytes() <= export.len() * 8 + REASSEMBLY_BYTES_MAX);
        match (act, state(&session).0) {
            (0, "publish asked") => session.accept_publish(),
            (0, "play asked") => session.accept_play(),
            (1, "publish asked") => session.reject_publish(PublishRejection::Rejected, "no"),
            (1, "play asked") => session.reject_play(PlayRejection::Failed, "no"),
            (1, _) => {
                session.play_stopped(StopReason::StreamEnded);
                session.publish_stopped(StopReason::StreamEnded);
            }
            (2, _) => {
                let _closed = session.handle_timeout(session.poll_timeout().unwrap_or(0));
            }
            _ => {}
        }
        drain(&mut session);
        if !session.awaits_decision() {
            drop(feed(&mut session, 5, rest));
        }
        let _closed = session.handle_timeout(u64::MAX);
        drain(&mut session);
    }
}
