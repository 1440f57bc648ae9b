//! Dialogues as clients lead them: what they send, what they are told.

use super::*;

mod keeping;
pub(crate) mod scripts;

const NOW: u64 = 1_000;

fn drain(session: &mut Session) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(output) = session.poll_output() {
        said.push(match output {
            Output::Transmit(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Output::Packet { medium, part, packet } => format!("{medium} {part:?} {}", packet.escape_ascii()),
            Output::Event(event) => format!("{event:?}"),
        });
    }
    said
}

/// Everything is taken, as far as no decision is awaited.
fn say(session: &mut Session, text: &str) -> Vec<String> {
    let mut rest = text.as_bytes();
    let mut said = Vec::new();
    loop {
        let taken = session.handle_input(NOW, rest).unwrap();
        rest = &rest[taken..];
        said.extend(drain(session));
        if rest.is_empty() || taken == 0 {
            return said;
        }
    }
}

pub(crate) fn session() -> Session {
    Session::new(0, 7, 0x5EED)
}

const SDP: &str = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:streamid=0\r\nm=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/44100/2\r\na=control:streamid=1\r\n";

#[test]
fn ffmpeg_publishes_over_tcp() {
    let mut session = session();
    let said = say(&mut session, "OPTIONS rtsp://h/live?pass=x RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    assert!(
        said[0].starts_with("RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: OPTIONS, "),
        "{said:?}"
    );
    let announce = format!(
        "ANNOUNCE rtsp://h/live?pass=x RTSP/1.0\r\nCSeq: 2\r\nContent-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    );
    let said = say(&mut session, &announce);
    assert!(
        said[0].starts_with("AnnounceRequested { target: Target { path: \"live\""),
        "{said:?}"
    );
    assert!(session.awaits_decision() && session.poll_timeout().is_none());
    session.announced();
    assert_eq!(drain(&mut session), ["RTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n"]);
    for medium in 0..2 {
        let (rtp, rtcp) = (medium * 2, medium * 2 + 1);
        let known = session
            .id
            .as_ref()
            .map_or(String::new(), |id| format!("Session: {id}\r\n"));
        let set_up = format!(
            "SETUP rtsp://h/live?pass=x/streamid={medium} RTSP/1.0\r\nTransport: RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp};mode=record\r\nCSeq: 3\r\n{known}\r\n"
        );
        let said = say(&mut session, &set_up);
        assert!(
            said[0].contains(&format!(
                "Transport: RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp};mode=record\r\n"
            )),
            "{said:?}"
        );
        assert!(said[0].contains(";timeout=60\r\n"));
    }
    let said = say(
        &mut session,
        "RECORD rtsp://h/live?pass=x RTSP/1.0\r\nCSeq: 5\r\n\r\n$\x02\0\x02hi",
    );
    assert!(said[0].starts_with("RecordRequested") && said.len() == 1, "{said:?}");
    session.recording();
    assert!(drain(&mut session)[0].starts_with("RTSP/1.0 200 OK\r\nCSeq: 5\r\n"));
    assert_eq!(
        say(&mut session, "$\x02\0\x02hi$\x01\0\x01r$\x09\0\0"),
        ["1 Rtp hi", "0 Rtcp r"]
    );
    assert_eq!(session.counters().packets_ignored, 1);
    let said = say(&mut session, "TEARDOWN rtsp://h/live RTSP/1.0\r\nCSeq: 6\r\n\r\n");
    assert_eq!(said[1..], ["TornDown", "Closed"]);
}

#[test]
fn a_player_is_challenged_described_set_up_and_played() {
    let mut session = session();
    let describe = "DESCRIBE rtsp://h/live RTSP/1.0\r\nCSeq: 1\r\n";
    assert!(say(&mut session, &format!("{describe}\r\n"))[0].contains("credentials: None"));
    session.challenged(NOW);
    let said = drain(&mut session);
    assert!(
        said[0].starts_with("RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Digest"),
        "{said:?}"
    );
    let said = say(&mut session, &format!("{describe}Authorization: Basic dTpw\r\n\r\n"));
    assert!(said[0].contains("credentials: Some(Credentials)"), "{said:?}");
    session.described(&Description::parse(SDP.as_bytes()).unwrap());
    let said = drain(&mut session);
    assert!(
        said[0].contains("Content-Base: rtsp://h/live/\r\n") && said[0].contains("a=control:track1\r\n"),
        "{said:?}"
    );
    let said = say(
        &mut session,
        "SETUP rtsp://h/live/track1 RTSP/1.0\r\nCSeq: 2\r\nTransport: RTP/AVP;unicast;client_port=4-5, RTP/AVP/TCP;interleaved=0-1\r\n\r\n",
    );
    assert!(
        said[0].starts_with("PortsRequested { medium: 1, purpose: Play"),
        "{said:?}"
    );
    session.transport_refused();
    assert!(drain(&mut session)[0].contains("interleaved=0-1"));
    let said = say(
        &mut session,
        "PLAY rtsp://h/live/ RTSP/1.0\r\nCSeq: 3\r\nRange: npt=0-\r\n\r\n",
    );
    assert!(
        said[0].contains("lanes: [Lane { medium: 1, carriage: Interleaved { rtp: 0, rtcp: 1 } }]"),
        "{said:?}"
    );
    let begin = Begin {
        medium: 1,
        sequence: 9,
        timestamp: 77,
    };
    session.playing(&[begin], Range::parse("npt=2-"));
    let said = drain(&mut session);
    assert!(
        said[0].contains("Range: npt=2.000-\r\nRTP-Info: url=rtsp://h/live/track1;seq=9;rtptime=77\r\n"),
        "{said:?}"
    );
    assert!(say(&mut session, "PAUSE rtsp://h/live RTSP/1.0\r\nCSeq: 4\r\n\r\n").contains(&"Paused".to_owned()));
    // ffmpeg, when nothing comes: everything again, without a session.
    let said = say(
        &mut session,
        "SETUP rtsp://h/live/track0 RTSP/1.0\r\nCSeq: 5\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n",
    );
    assert!(said[0].starts_with("RTSP/1.0 200"), "{said:?}");
}

#[test]
fn what_is_wrong_is_said_by_its_number() {
    for (request, status) in [
        ("OPTIONS * RTSP/1.0\r\n\r\n", "400"),
        ("OPTIONS * RTSP/2.0\r\nCSeq: 1\r\n\r\n", "505"),
        ("FLY * RTSP/1.0\r\nCSeq: 1\r\n\r\n", "501"),
        ("PLAY rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\n\r\n", "455"),
        ("RECORD rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\n\r\n", "455"),
        ("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nRequire: x\r\n\r\n", "551"),
        ("ANNOUNCE rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\n\r\n", "400"),
        ("GET /x HTTP/1.0\r\n\r\n", "501"),
    ] {
        let mut session = session();
        let said = say(&mut session, request);
        assert!(
            said[0].starts_with(&format!("RTSP/1.0 {status} ")),
            "{request}: {said:?}"
        );
        assert_eq!(session.counters().requests_refused, 1);
    }
    let mut session = session();
    say(
        &mut session,
        "SETUP rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/SAVP\r\n\r\n",
    );
    session.described(&Description::parse(SDP.as_bytes()).unwrap());
    assert!(drain(&mut session)[0].starts_with("RTSP/1.0 459 "));
    let said = say(
        &mut session,
        "SETUP rtsp://h/a/track0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/SAVP\r\n\r\n",
    );
    assert!(said[0].starts_with("RTSP/1.0 461 "));
    let said = say(
        &mut session,
        "SETUP rtsp://h/a/track7 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP\r\n\r\n",
    );
    assert!(said[0].starts_with("RTSP/1.0 404 "));
    assert!(
        say(
            &mut session,
            "SETUP rtsp://h/a/track0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP\r\n\r\n"
        )[0]
        .contains("200")
    );
    assert!(
        say(
            &mut session,
            "PLAY rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\nSession: x\r\n\r\n"
        )[0]
        .starts_with("RTSP/1.0 454 ")
    );
}

#[test]
fn silence_and_slowness_end_a_session() {
    let mut session = session();
    session.handle_input(5, b"OPT").unwrap();
    let at = session.poll_timeout().unwrap();
    assert_eq!(at, 5 + MESSAGE_MILLIS_MAX);
    assert_eq!(session.handle_timeout(at - 1), Ok(()));
    assert!(matches!(session.handle_timeout(at), Err(Error::MessageSlow { .. })) && session.is_closed());
    let mut session = Session::new(0, 7, 1);
    assert_eq!(session.poll_timeout(), Some(SILENT_MILLIS_MAX));
    session.alive(100_000);
    assert!(matches!(
        session.handle_timeout(NOTHING_ASKED_MILLIS_MAX),
        Err(Error::NothingAsked { .. })
    ));
}
