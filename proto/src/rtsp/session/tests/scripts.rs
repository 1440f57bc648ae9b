//! Dialogues as named clients lead them: bytes that are sent, and what comes of them. Everything asked is granted.
//!
//! Rows of reference/client-habits.md 4.4 and of 4.3 that concern a server.

use std::collections::VecDeque;

use md5::{Digest as _, Md5};

use super::super::*;
use super::{SDP, session};
use crate::rtsp::wire::transport::Ports;

/// What is sent, and what comes: of each output a part, in order. In what is sent, `{id}` is the session's id, `{sdp}` and
/// `{length}` stand for a description, and a `\n` for a line's end.
type Step<'a> = (&'a str, &'a [&'a str]);

/// Who, and the dialogue.
type Script = (&'static str, &'static [Step<'static>]);

struct Server {
    session: Session,
    id: String,
    nonce: String,
}

impl Server {
    fn new() -> Server {
        Server {
            session: session(),
            id: String::new(),
            nonce: String::new(),
        }
    }

    fn hear(&mut self, bytes: &[u8], step: usize) -> Vec<String> {
        let mut said = Vec::new();
        for mut piece in bytes.chunks(step) {
            loop {
                let taken = self.session.handle_input(super::NOW, piece).unwrap();
                piece = &piece[taken..];
                let before = said.len();
                self.drain(&mut said);
                if piece.is_empty() || (taken == 0 && said.len() == before) {
                    break;
                }
            }
        }
        said
    }

    fn drain(&mut self, said: &mut Vec<String>) {
        let mut events = VecDeque::new();
        while let Some(output) = self.session.poll_output() {
            said.push(match output {
                Output::Transmit(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                Output::Packet { medium, part, packet } => format!("{medium} {part:?} {}", packet.escape_ascii()),
                Output::Event(event) => {
                    let text = format!("{event:?}");
                    events.push_back(event);
                    text
                }
            });
        }
        self.note(said);
        let asked = events.into_iter().last();
        let Some(event) = asked.filter(|_| self.session.awaits_decision()) else {
            return;
        };
        match event {
            Event::DescribeRequested { .. } => self.session.described(&Description::parse(SDP.as_bytes()).unwrap()),
            Event::AnnounceRequested { .. } => self.session.announced(),
            Event::PortsRequested { .. } => self.session.ports(Ports { rtp: 9000, rtcp: 9001 }),
            Event::GroupRequested { .. } => self.session.transport_refused(),
            Event::PlayRequested { lanes, range, .. } => {
                let begin = |lane: &Lane| Begin {
                    medium: lane.medium,
                    sequence: 10 + lane.medium as u16,
                    timestamp: 7,
                };
                let begins: Vec<Begin> = lanes.iter().map(begin).collect();
                self.session.playing(&begins, range);
            }
            Event::RecordRequested { .. } => self.session.recording(),
            other => panic!("nobody asks by {other:?}"),
        }
        self.drain(said);
    }

    fn note(&mut self, said: &[String]) {
        for text in said {
            if let Some((_, rest)) = text.split_once("Session: ") {
                self.id = rest.split([';', '\r']).next().unwrap().to_owned();
            }
            if let Some((_, rest)) = text.split_once("nonce=\"") {
                self.nonce = rest.split('"').next().unwrap().to_owned();
            }
        }
    }

    fn written(&self, text: &str) -> Vec<u8> {
        let text = text.replace('\n', "\r\n").replace("{id}", &self.id);
        text.replace("{length}", &SDP.len().to_string())
            .replace("{sdp}", SDP)
            .into_bytes()
    }
}

#[track_caller]
fn check(who: &str, steps: &[Step<'_>]) {
    for step in [usize::MAX, 1, 7] {
        let mut server = Server::new();
        for (sent, expected) in steps {
            let bytes = server.written(sent);
            let said = server.hear(&bytes, step.min(bytes.len()));
            let fits =
                said.len() == expected.len() && said.iter().zip(*expected).all(|(said, part)| said.contains(part));
            assert!(fits, "{who}: {sent}: {said:#?}");
            assert!(
                !server.id.contains('-'),
                "some clients take no dashes in a session's id"
            );
        }
    }
}

/// What clients send, whole.
pub(crate) fn dialogues() -> Vec<Vec<u8>> {
    let sent = |(_, steps): &Script| {
        let (mut server, mut all) = (Server::new(), Vec::new());
        for (sent, _) in *steps {
            let bytes = server.written(sent);
            server.hear(&bytes, bytes.len());
            all.extend(bytes);
        }
        all
    };
    PUBLISHERS.iter().chain(PLAYERS).map(sent).collect()
}

const OK: &str = "RTSP/1.0 200 OK\r\n";

const PUBLISHERS: &[Script] = &[
    (
        "ffmpeg 5.1 by UDP, with the alias of its mode; no keep-alive, and RTP goes another way",
        &[
            (
                "ANNOUNCE rtsp://h:5554/live RTSP/1.0\nContent-Type: application/sdp\nCSeq: 2\nUser-Agent: Lavf59\nContent-Length: {length}\n\n{sdp}",
                &[
                    "AnnounceRequested { target: Target { path: \"live\"",
                    "RTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n",
                ],
            ),
            (
                "SETUP rtsp://h:5554/live/streamid=0 RTSP/1.0\nTransport: RTP/AVP/UDP;unicast;client_port=5000-5001;mode=receive\nCSeq: 3\n\n",
                &[
                    "PortsRequested { medium: 0, purpose: Record, peer: Ports { rtp: 5000, rtcp: 5001 } }",
                    "Transport: RTP/AVP/UDP;unicast;client_port=5000-5001;server_port=9000-9001;mode=record\r\nSession: ",
                ],
            ),
            (
                "SETUP rtsp://h:5554/live/streamid=1 RTSP/1.0\nTransport: RTP/AVP/UDP;unicast;client_port=5002-5003;mode=record\nCSeq: 4\nSession: {id}\n\n",
                &["PortsRequested { medium: 1", ";client_port=5002-5003;"],
            ),
            (
                "RECORD rtsp://h:5554/live RTSP/1.0\nRange: npt=0.000-\nCSeq: 5\nSession: {id}\n\n",
                &["RecordRequested", "RTSP/1.0 200 OK\r\nCSeq: 5\r\nSession: "],
            ),
            (
                "TEARDOWN rtsp://h:5554/live RTSP/1.0\nCSeq: 6\nSession: {id}\n\n",
                &[OK, "TornDown", "Closed"],
            ),
        ],
    ),
    (
        "GStreamer's rtspclientsink: slash before the query's end, media behind the path, three ways to choose from",
        &[
            (
                "OPTIONS rtsp://h/live?pass=x RTSP/1.0\nCSeq: 0\nUser-Agent: GStreamer\n\n",
                &["RECORD"],
            ),
            (
                "ANNOUNCE rtsp://h/live?pass=x RTSP/1.0\nCSeq: 1\nContent-Type: application/sdp\nContent-Length: {length}\n\n{sdp}",
                &["AnnounceRequested", OK],
            ),
            (
                "SETUP rtsp://h/live/streamid=1?pass=x RTSP/1.0\nCSeq: 2\nTransport: RTP/AVP;multicast;mode=RECORD,RTP/AVP/TCP;unicast;interleaved=2-3;mode=\"RECORD\"\n\n",
                &["Transport: RTP/AVP/TCP;unicast;interleaved=2-3;mode=record"],
            ),
            (
                "SETUP rtsp://h/live?pass=x/streamid=0/ RTSP/1.0\nCSeq: 3\nSession: {id};timeout=60\nTransport: RTP/AVP/TCP;unicast;interleaved=2-3;mode=record\n\n",
                &["interleaved=0-1"],
            ),
            (
                "RECORD rtsp://h/live/?pass=x RTSP/1.0\nCSeq: 4\nSession: {id}\n\n$\x02\0\x02hi",
                &["RecordRequested", OK, "1 Rtp hi"],
            ),
        ],
    ),
    (
        "EasyDarwin's pusher calls every stream .sdp",
        &[
            (
                "ANNOUNCE rtsp://h/live.sdp RTSP/1.0\nCSeq: 1\nContent-Length: {length}\n\n{sdp}",
                &["AnnounceRequested { target: Target { path: \"live\"", OK],
            ),
            (
                "SETUP rtsp://h/live.sdp/streamid=0 RTSP/1.0\nCSeq: 2\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\n\n",
                &["interleaved=0-1"],
            ),
            (
                "RECORD rtsp://h/live.sdp RTSP/1.0\nCSeq: 3\nSession: {id}\n\n",
                &["RecordRequested { target: Target { path: \"live\"", OK],
            ),
        ],
    ),
];

#[test]
fn publishers_are_heard() {
    for (who, steps) in PUBLISHERS {
        check(who, steps);
    }
}

const PLAYERS: &[Script] = &[
    (
        "VLC, by live555: slash behind the base, a keep-alive without body, all over at once",
        &[
            (
                "OPTIONS rtsp://h/live RTSP/1.0\nCSeq: 2\nUser-Agent: LibVLC/3.0.20 (LIVE555)\n\n",
                &["GET_PARAMETER"],
            ),
            (
                "DESCRIBE rtsp://h/live RTSP/1.0\nCSeq: 3\nAccept: application/sdp\n\n",
                &["DescribeRequested", "Content-Base: rtsp://h/live/\r\n"],
            ),
            (
                "SETUP rtsp://h/live/track0 RTSP/1.0\nCSeq: 4\nTransport: RTP/AVP;unicast;client_port=4000-4001\n\n",
                &[
                    "PortsRequested",
                    "RTP/AVP;unicast;client_port=4000-4001;server_port=9000-9001\r\n",
                ],
            ),
            (
                "SETUP rtsp://h/live/track1 RTSP/1.0\nCSeq: 5\nTransport: RTP/AVP;unicast;client_port=4002-4003\nSession: {id}\n\n",
                &["PortsRequested { medium: 1", OK],
            ),
            (
                "PLAY rtsp://h/live/ RTSP/1.0\nCSeq: 6\nSession: {id}\nRange: npt=0.000-\n\n",
                &[
                    "PlayRequested",
                    "RTP-Info: url=rtsp://h/live/track0;seq=10;rtptime=7,url=rtsp://h/live/track1;seq=11;rtptime=7\r\n",
                ],
            ),
            (
                "GET_PARAMETER rtsp://h/live/ RTSP/1.0\nCSeq: 7\nSession: {id}\n\n",
                &[OK],
            ),
            (
                "TEARDOWN rtsp://h/live/ RTSP/1.0\nCSeq: 8\nSession: {id}\n\n",
                &[OK, "TornDown", "Closed"],
            ),
        ],
    ),
    (
        "GStreamer's rtspsrc says all it can at once, and asks for more before it is answered",
        &[
            (
                "OPTIONS rtsp://h/live RTSP/1.0\nCSeq: 1\n\nDESCRIBE rtsp://h/live RTSP/1.0\nCSeq: 2\n\nSETUP rtsp://h/live/track0 RTSP/1.0\nCSeq: 3\nTransport: RTP/AVP/UDP;multicast,RTP/SAVP;unicast,RTP/AVP/TCP;unicast;interleaved=0-1\n\nPLAY rtsp://h/live/ RTSP/1.0\nCSeq: 4\nRange: npt=now-\n\nGET_PARAMETER rtsp://h/live/ RTSP/1.0\nCSeq: 5\n\n",
                &[
                    "CSeq: 1\r\n",
                    "DescribeRequested",
                    "CSeq: 2\r\n",
                    "GroupRequested",
                    "interleaved=0-1",
                    "range: Some(Npt { from: Now, to: None })",
                    "CSeq: 4\r\n",
                    "CSeq: 5\r\n",
                ],
            ),
            (
                "$\x01\0\x02rr$\x01\0\x02rrPLAY rtsp://h/live/ RTSP/1.0\nCSeq: 6\nSession: {id}\n\n",
                &["0 Rtcp rr", "0 Rtcp rr", OK],
            ),
            (
                "PAUSE rtsp://h/live/ RTSP/1.0\nCSeq: 7\nSession: {id}\n\n",
                &[OK, "Paused"],
            ),
            ("PAUSE rtsp://h/live/ RTSP/1.0\nCSeq: 8\nSession: {id}\n\n", &[OK]),
            (
                "PLAY rtsp://h/live/ RTSP/1.0\nCSeq: 9\nSession: {id}\n\n",
                &["range: None", "RTP-Info: url=rtsp://h/live/track0;seq=10;rtptime=7\r\n"],
            ),
        ],
    ),
    (
        "ffmpeg when nothing came by UDP: everything again, without a session",
        &[
            (
                "DESCRIBE rtsp://h/live?a=b RTSP/1.0\nCSeq: 1\n\n",
                &["DescribeRequested", "Content-Base: rtsp://h/live/\r\n"],
            ),
            (
                "SETUP rtsp://h/live/track0 RTSP/1.0\nTransport: RTP/AVP/UDP;unicast;client_port=4-5\nCSeq: 2\n\n",
                &["PortsRequested", OK],
            ),
            (
                "SETUP rtsp://h/live/track0 RTSP/1.0\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\nCSeq: 3\n\n",
                &["interleaved=0-1"],
            ),
            (
                "PLAY rtsp://h/live/ RTSP/1.0\nCSeq: 4\nSession: {id}\n\n",
                &["Interleaved { rtp: 0, rtcp: 1 } }] }", OK],
            ),
        ],
    ),
];

#[test]
fn players_are_heard() {
    for (who, steps) in PLAYERS {
        check(who, steps);
    }
}

/// A session with two media, of which the second is set up first.
const BEGUN: [Step<'static>; 3] = [
    (
        "DESCRIBE rtsp://h/live RTSP/1.0\nCSeq: 1\n\n",
        &["DescribeRequested", "a=control:track1"],
    ),
    (
        "SETUP rtsp://h/live/track1 RTSP/1.0\nCSeq: 2\nTransport: RTP/AVP/TCP;interleaved=2-3\n\n",
        &["interleaved=2-3"],
    ),
    (
        "SETUP rtsp://h/live/track0 RTSP/1.0\nCSeq: 3\nSession: {id}\nTransport: RTP/AVP/TCP;interleaved=0-1\n\n",
        &["interleaved=0-1"],
    ),
];

#[test]
fn one_medium_of_a_session_is_torn_down() {
    let with = |rest: &[Step<'static>]| [&BEGUN[..], rest].concat();
    let gone: Step<'_> = (
        "TEARDOWN rtsp://h/live/track1 RTSP/1.0\nCSeq: 9\nSession: {id}\n\n",
        &["CSeq: 9\r\nSession: "],
    );
    let play: Step<'_> = (
        "PLAY rtsp://h/live RTSP/1.0\nCSeq: 10\nSession: {id}\n\n",
        &["medium: 0", "seq=10"],
    );
    check("before it plays", &with(&[gone, play]));
    check(
        "while it plays: what is left goes on, and the answer says from where",
        &with(&[
            (
                "PLAY rtsp://h/live RTSP/1.0\nCSeq: 8\nSession: {id}\n\n$\x03\0\x01r",
                &["medium: 1", ",url=rtsp://h/live/track1;", "1 Rtcp r"],
            ),
            (
                "TEARDOWN rtsp://h/live/track1/ RTSP/1.0\nCSeq: 9\nSession: {id}\n\n",
                &[
                    "Paused",
                    "lanes: [Lane { medium: 0, carriage: Interleaved { rtp: 0, rtcp: 1 } }] }",
                    "CSeq: 9\r\nSession: ",
                ],
            ),
            // Nobody listens there any more.
            ("$\x03\0\x01r$\x01\0\x01r", &["0 Rtcp r"]),
            (
                "TEARDOWN rtsp://h/live/track0 RTSP/1.0\nCSeq: 10\nSession: {id}\n\n",
                &[OK, "TornDown", "Closed"],
            ),
        ]),
    );
    check(
        "of a publisher: what it sends there is passed over",
        &[
            (
                "ANNOUNCE rtsp://h/live RTSP/1.0\nCSeq: 1\nContent-Length: {length}\n\n{sdp}",
                &["AnnounceRequested", OK],
            ),
            (
                "SETUP rtsp://h/live/streamid=0 RTSP/1.0\nCSeq: 2\nTransport: RTP/AVP/TCP;interleaved=0-1;mode=record\n\n",
                &[OK],
            ),
            (
                "SETUP rtsp://h/live/streamid=1 RTSP/1.0\nCSeq: 3\nSession: {id}\nTransport: RTP/AVP/TCP;interleaved=2-3;mode=record\n\n",
                &[OK],
            ),
            (
                "RECORD rtsp://h/live/streamid=1 RTSP/1.0\nCSeq: 4\nSession: {id}\n\n",
                &["RTSP/1.0 460 "],
            ),
            (
                "RECORD rtsp://h/live RTSP/1.0\nCSeq: 4\nSession: {id}\n\n$\x02\0\x01s",
                &["RecordRequested", OK, "1 Rtp s"],
            ),
            (
                "TEARDOWN rtsp://h/live/streamid=1 RTSP/1.0\nCSeq: 5\nSession: {id}\n\n$\x02\0\x01s$\0\0\x01p",
                &[OK, "0 Rtp p"],
            ),
        ],
    );
}

#[test]
fn what_is_asked_at_the_wrong_time_or_place_has_its_number() {
    let begun = |wrong: Step<'static>| [&BEGUN[..], &[wrong]].concat();
    for wrong in [
        (
            "PLAY rtsp://h/live/track0 RTSP/1.0\nCSeq: 4\nSession: {id}\n\n",
            &["RTSP/1.0 460 "] as &[&str],
        ),
        (
            "PAUSE rtsp://h/live/track0 RTSP/1.0\nCSeq: 4\nSession: {id}\n\n",
            &["RTSP/1.0 460 "],
        ),
        (
            "PLAY rtsp://h/live RTSP/1.0\nCSeq: 4\nSession: {id}0\n\n",
            &["RTSP/1.0 454 Session Not Found\r\nCSeq: 4\r\n\r\n"],
        ),
        (
            "TEARDOWN rtsp://h/live RTSP/1.0\nCSeq: 4\nSession: 1\n\n",
            &["RTSP/1.0 454 "],
        ),
        (
            "SETUP rtsp://h/other/track0 RTSP/1.0\nCSeq: 4\nSession: {id}\nTransport: RTP/AVP/TCP\n\n",
            &["RTSP/1.0 459 "],
        ),
        (
            "SETUP rtsp://h/live/track0 RTSP/1.0\nCSeq: 4\nSession: {id}\nTransport: RTP/AVP;unicast;client_port=4-5\n\n",
            &["RTSP/1.0 461 "],
        ),
        (
            "RECORD rtsp://h/live RTSP/1.0\nCSeq: 4\nSession: {id}\n\n",
            &["RTSP/1.0 455 "],
        ),
        (
            "PLAY rtsp://h/live RTSP/1.0\nCSeq: 4\nSession: {id}\nRange: smpte=0:10:00-\n\n",
            &["RTSP/1.0 457 "],
        ),
        (
            "PLAY rtsp://h/live RTSP/1.0\nCSeq: 4\nSession: {id}\nRange: npt=x-\n\n",
            &["RTSP/1.0 457 "],
        ),
        (
            "REDIRECT rtsp://h/live RTSP/1.0\nCSeq: 4\nSession: {id}\n\n",
            &["RTSP/1.0 501 Not Implemented\r\nCSeq: 4\r\nSession: "],
        ),
        ("PLAY_NOTIFY rtsp://h/live RTSP/1.0\nCSeq: 4\n\n", &["RTSP/1.0 501 "]),
        (
            "PLAY rtsp://h/live RTSP/1.0\nSession: {id}\n\n",
            &["RTSP/1.0 400 Bad Request\r\nSession: "],
        ),
        ("PLAY rtsp://h/live RTSP/2.0\nCSeq: 4\n\n", &["RTSP/1.0 505 "]),
        ("GET /live HTTP/1.0\nx-sessioncookie: abc\n\n", &["RTSP/1.0 501 "]),
        ("RTSP/1.0 200 OK\nCSeq: 4\n\n", &[]),
    ] {
        check("wrong", &begun(wrong));
    }
    for gone in ["PLAY", "PAUSE", "TEARDOWN", "RECORD", "GET_PARAMETER", "SET_PARAMETER"] {
        let request = format!("{gone} rtsp://h/live RTSP/1.0\nCSeq: 4\nSession: 12345678\n\n");
        check("a session of another connection", &[(&request, &["RTSP/1.0 454 "])]);
    }
    for anew in ["OPTIONS", "DESCRIBE"] {
        let request = format!("{anew} rtsp://h/live RTSP/1.0\nCSeq: 4\nSession: 12345678\n\n");
        let mut server = Server::new();
        let said = server.hear(&server.written(&request), 1000);
        assert!(said.last().is_some_and(|said| said.starts_with(OK)), "{said:?}");
    }
}

/// Who asks for what is not there may ask for something else.
#[test]
fn a_range_that_is_not_there_ends_nothing() {
    let mut server = Server::new();
    for (sent, _) in BEGUN {
        server.hear(&server.written(sent), 1000);
    }
    let play =
        server.written("PLAY rtsp://h/live RTSP/1.0\nCSeq: 4\nSession: {id}\nRange: clock=20200101T000000Z-\n\n");
    assert_eq!(server.session.handle_input(super::NOW, &play), Ok(play.len()));
    while server.session.poll_output().is_some() {}
    server.session.refused(Refusal::InvalidRange, "long ago");
    let mut said = Vec::new();
    server.drain(&mut said);
    assert!(
        said[0].starts_with("RTSP/1.0 457 Invalid Range\r\nCSeq: 4\r\n") && said.len() == 1,
        "{said:?}"
    );
    let play = server.written("PLAY rtsp://h/live RTSP/1.0\nCSeq: 5\nSession: {id}\n\n");
    assert!(server.hear(&play, 1000)[1].starts_with(OK));
}

#[test]
fn a_digest_is_for_the_whole_address_the_path_or_the_base() {
    let hash = |text: &str| {
        Md5::digest(text.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    for uri in [
        "rtsp://h:5554/live/track0?x=y",
        "/live/track0?x=y",
        "rtsp://h:5554/live/",
        "rtsp://h:5554/live",
        "live",
    ] {
        let mut session = session();
        let describe = "DESCRIBE rtsp://h:5554/live RTSP/1.0\r\nCSeq: 1\r\n";
        super::say(&mut session, &format!("{describe}\r\n"));
        session.challenged(super::NOW);
        let asked = super::drain(&mut session).concat();
        let (_, behind) = asked.rsplit_once("nonce=\"").unwrap();
        let nonce = behind.split('"').next().unwrap();
        let (first, second) = (hash("u:penstock:secret"), hash(&format!("DESCRIBE:{uri}")));
        let response = hash(&format!("{first}:{nonce}:{second}"));
        let request = format!(
            "{describe}Authorization: Digest username=\"u\", realm=\"penstock\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\"\r\n\r\n"
        );
        assert_eq!(session.handle_input(super::NOW, request.as_bytes()), Ok(request.len()));
        match session.poll_output() {
            Some(Output::Event(Event::DescribeRequested {
                credentials: Some(credentials),
                ..
            })) => {
                assert_eq!(credentials.proves("secret"), auth::Proof::Proven, "{uri}");
                assert_eq!(credentials.proves("other"), auth::Proof::NotProven, "{uri}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// What is tunnelled is what is said without a tunnel, behind the answer to the GET.
#[test]
fn a_tunnel_is_opened_by_the_first_message_alone() {
    for (request, half, behind) in [
        (
            "GET /live HTTP/1.0\nAccept: application/x-rtsp-tunnelled\nx-sessioncookie: abc\n\n",
            "Down",
            "",
        ),
        (
            "POST /live HTTP/1.1\nX-SessionCookie: abc\nContent-Length: 32767\nContent-Type: application/x-rtsp-tunnelled\n\n",
            "Up",
            "T1BUSU9OUw==",
        ),
    ] {
        let mut session = session();
        let bytes = [request.replace('\n', "\r\n"), behind.to_owned()].concat();
        let taken = session.handle_input(super::NOW, bytes.as_bytes()).unwrap();
        assert_eq!(&bytes[taken..], behind);
        let said = super::drain(&mut session);
        assert_eq!(said, [format!("TunnelRequested(Opening {{ half: {half}, .. }})")]);
        assert!(!session.is_portable() && session.poll_timeout().is_none());
    }
    for no_tunnel in [
        "GET /live HTTP/1.0\r\n\r\n",
        "PUT / HTTP/1.0\r\nx-sessioncookie: a\r\n\r\n",
    ] {
        let mut session = session();
        assert!(super::say(&mut session, no_tunnel)[0].starts_with("RTSP/1.0 501 "));
    }
    let mut session = Session::tunnelled(0, 7, 1);
    let said = super::drain(&mut session);
    assert!(said[0].starts_with("HTTP/1.0 200 OK\r\n") && said[0].ends_with("\r\n\r\n") && said.len() == 1);
    let said = super::say(&mut session, "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    assert!(said[0].starts_with(OK), "{said:?}");
    // In a tunnel there is none, and behind other messages neither.
    let get = "GET / HTTP/1.0\r\nx-sessioncookie: a\r\n\r\n";
    let mut fresh = Session::tunnelled(0, 7, 1);
    super::drain(&mut fresh);
    for session in [&mut session, &mut fresh] {
        for _ in 0..2 {
            assert!(super::say(session, get)[0].starts_with("RTSP/1.0 501 "));
        }
    }
}
