//! What keeps a session alive, and what ends one that nobody uses.

use super::super::*;
use super::{SDP, drain, say, session};

/// Set up, and playing or publishing, at 1 s.
fn running(purpose: Purpose) -> Session {
    let mut session = session();
    let mode = match purpose {
        Purpose::Play => {
            say(&mut session, "DESCRIBE rtsp://h/live RTSP/1.0\r\nCSeq: 1\r\n\r\n");
            session.described(&Description::parse(SDP.as_bytes()).unwrap());
            ("PLAY", "track0", "")
        }
        Purpose::Record => {
            let length = SDP.len();
            say(
                &mut session,
                &format!("ANNOUNCE rtsp://h/live RTSP/1.0\r\nCSeq: 1\r\nContent-Length: {length}\r\n\r\n{SDP}"),
            );
            session.announced();
            ("RECORD", "streamid=0", ";mode=record")
        }
    };
    drain(&mut session);
    let (method, medium, mode) = mode;
    say(
        &mut session,
        &format!(
            "SETUP rtsp://h/live/{medium} RTSP/1.0\r\nCSeq: 2\r\nTransport: RTP/AVP/TCP;interleaved=0-1{mode}\r\n\r\n"
        ),
    );
    say(
        &mut session,
        &format!("{method} rtsp://h/live RTSP/1.0\r\nCSeq: 3\r\n\r\n"),
    );
    match purpose {
        Purpose::Play => session.playing(&[], None),
        Purpose::Record => session.recording(),
    }
    drain(&mut session);
    session
}

#[test]
fn every_legal_keep_alive_keeps_a_session() {
    let id = "{id}";
    for (purpose, keep_alive) in [
        (Purpose::Play, "OPTIONS * RTSP/1.0\r\nCSeq: 4\r\n\r\n"),
        (
            Purpose::Play,
            "OPTIONS rtsp://h/live RTSP/1.0\r\nCSeq: 4\r\nSession: {id}\r\n\r\n",
        ),
        (
            Purpose::Play,
            "GET_PARAMETER rtsp://h/live/ RTSP/1.0\r\nCSeq: 4\r\nSession: {id}\r\n\r\n",
        ),
        (
            Purpose::Play,
            "GET_PARAMETER rtsp://h/live RTSP/1.0\r\nCSeq: 4\r\nSession: {id}\r\nContent-Type: text/parameters\r\nContent-Length: 10\r\n\r\nposition\r\n",
        ),
        (
            Purpose::Play,
            "SET_PARAMETER rtsp://h/live RTSP/1.0\r\nCSeq: 4\r\nSession: {id}\r\nContent-Length: 6\r\n\r\na: 1\r\n",
        ),
        (
            Purpose::Play,
            "PLAY rtsp://h/live RTSP/1.0\r\nCSeq: 4\r\nSession: {id}\r\n\r\n",
        ),
        (Purpose::Play, "$\x01\0\x04rrrr"),
        (Purpose::Play, "\r\n"),
        (Purpose::Record, "$\0\0\x04rtp."),
        (Purpose::Record, "$\x01\0\x04srsr"),
        (
            Purpose::Record,
            "GET_PARAMETER rtsp://h/live RTSP/1.0\r\nCSeq: 4\r\nSession: {id}\r\n\r\n",
        ),
    ] {
        let mut session = running(purpose);
        let keep_alive = keep_alive.replace(id, session.id.as_deref().unwrap());
        for time in 1..10 {
            let now = super::NOW + time * SESSION_MILLIS;
            assert_eq!(session.handle_timeout(now), Ok(()), "{keep_alive}");
            assert_eq!(session.handle_input(now, keep_alive.as_bytes()), Ok(keep_alive.len()));
            let said = drain(&mut session);
            let is_fine = |said: &String| said.starts_with("RTSP/1.0 200 ") || said.starts_with("0 ");
            assert!(said.iter().all(is_fine), "{said:?}");
            assert_eq!(session.poll_timeout(), Some(now + SILENT_MILLIS_MAX));
        }
    }
    // Packets by UDP are told by the driver.
    let mut session = running(Purpose::Record);
    session.alive(500_000);
    assert_eq!(session.poll_timeout(), Some(500_000 + SILENT_MILLIS_MAX));
}

const SESSION_MILLIS: u64 = crate::rtsp::limits::SESSION_SECONDS * 1000;

#[test]
fn whoever_is_silent_is_given_up() {
    for purpose in [Purpose::Play, Purpose::Record] {
        let mut session = running(purpose);
        let at = session.poll_timeout().unwrap();
        assert_eq!(session.handle_timeout(at - 1), Ok(()));
        let millis = SILENT_MILLIS_MAX;
        assert_eq!(session.handle_timeout(at), Err(Error::Idle { millis }));
        assert!(session.is_closed() && session.poll_timeout().is_none() && drain(&mut session).is_empty());
    }
}

/// However much it says, and however far it has come: a peer that neither plays nor publishes holds nothing for long.
#[test]
fn half_open_sessions_are_reaped() {
    let describe = "DESCRIBE rtsp://h/live RTSP/1.0\r\nCSeq: 1\r\n\r\n";
    let set_up = "SETUP rtsp://h/live/track0 RTSP/1.0\r\nCSeq: 2\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n";
    for dialogue in [&[][..], &[describe], &[describe, set_up]] {
        let mut session = session();
        for request in dialogue {
            say(&mut session, request);
            if session.awaits_decision() {
                session.described(&Description::parse(SDP.as_bytes()).unwrap());
                drain(&mut session);
            }
        }
        let mut now = super::NOW;
        let error = loop {
            now += 20_000;
            if let Err(error) = session.handle_timeout(now) {
                break error;
            }
            session
                .handle_input(now, b"OPTIONS * RTSP/1.0\r\nCSeq: 3\r\n\r\n")
                .unwrap();
            drain(&mut session);
            assert!(now < 1_000_000, "it is never given up");
        };
        let millis = NOTHING_ASKED_MILLIS_MAX;
        assert_eq!(error, Error::NothingAsked { millis });
        assert!((millis..millis + 21_000).contains(&now), "{now}");
    }
    // A request byte by byte, each in time.
    let mut session = session();
    let mut now = super::NOW;
    let error = loop {
        now += 1_000;
        if let Err(error) = session.handle_timeout(now) {
            break error;
        }
        assert_eq!(session.handle_input(now, b"O"), Ok(1));
    };
    let millis = MESSAGE_MILLIS_MAX;
    assert_eq!(error, Error::MessageSlow { millis });
    assert_eq!(now, super::NOW + 1_000 + millis);
}
