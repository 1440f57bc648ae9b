use super::super::Client;
use super::super::client::{self, Options};
use super::super::limits::*;
use super::super::wire::chunk::{Message, write_message};
use super::super::wire::command::Command;
use super::super::wire::handshake::{Form, HELLO_BYTES, PACKET_BYTES, Scheme};
use super::super::wire::message::{self, Control, Part};
use super::*;
use crate::tag::MessageKind;
use crate::tag::amf0::Value;

mod hostile;
mod moves;
mod whole;

pub(in super::super) use whole::dialogues;

const SEED: u64 = 11;

/// One of our outputs, owned.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Bytes(Vec<u8>),
    Media(MessageKind, u32, u32, Vec<u8>),
    Event(Event),
}

fn drain(session: &mut Session) -> Vec<Said> {
    let mut said = Vec::new();
    while let Some(output) = session.poll_output() {
        said.push(match output {
            Output::Transmit(bytes) => Said::Bytes(bytes.to_vec()),
            Output::Media {
                kind,
                timestamp,
                message_stream,
                body,
            } => Said::Media(kind, timestamp, message_stream, body.to_vec()),
            Output::Event(event) => Said::Event(event),
        });
    }
    said
}

/// Accepts what is asked for, as a driver would.
fn decide(session: &mut Session, said: &[Said]) -> Vec<Said> {
    for one in said {
        match one {
            Said::Event(Event::PublishRequested { .. }) => session.accept_publish(),
            Said::Event(Event::PlayRequested { .. }) => session.accept_play(),
            _ => {}
        }
    }
    drain(session)
}

/// Everything a session says to `input`; every request is accepted.
fn feed(session: &mut Session, now_ms: u64, mut input: &[u8]) -> Result<Vec<Said>, Error> {
    let mut all = Vec::new();
    loop {
        let taken = session.handle_input(now_ms, input)?;
        input = &input[taken..];
        let said = drain(session);
        let answers = decide(session, &said);
        if taken == 0 && said.is_empty() {
            assert!(input.is_empty(), "input is taken unless a decision is awaited");
            return Ok(all);
        }
        all.extend(said);
        all.extend(answers);
    }
}

/// Bytes next to each other joined, for how many calls brought them is not the point.
fn join(said: Vec<Said>) -> Vec<Said> {
    let mut joined: Vec<Said> = Vec::new();
    for one in said {
        match (joined.last_mut(), one) {
            (Some(Said::Bytes(bytes)), Said::Bytes(more)) => bytes.extend(more),
            (_, one) => joined.push(one),
        }
    }
    joined
}

fn events(said: &[Said]) -> Vec<Event> {
    said.iter()
        .filter_map(|one| match one {
            Said::Event(event) => Some(event.clone()),
            _ => None,
        })
        .collect()
}

fn bytes(said: &[Said]) -> Vec<u8> {
    let parts = said.iter().filter_map(|one| match one {
        Said::Bytes(bytes) => Some(bytes.as_slice()),
        _ => None,
    });
    parts.collect::<Vec<_>>().concat()
}

/// Both sides joined in memory; remembers what each said.
struct Pair {
    session: Session,
    client: Client,
    to_server: Vec<u8>,
    said: Vec<Said>,
    heard: Vec<client::Event>,
    media: Vec<(MessageKind, u32, u32, Vec<u8>)>,
    /// All bytes the client sent.
    sent: Vec<u8>,
}

impl Pair {
    fn new(client: Client) -> Pair {
        let session = Session::new(0, SEED);
        Pair {
            session,
            client,
            to_server: vec![],
            said: vec![],
            heard: vec![],
            media: vec![],
            sent: vec![],
        }
    }

    /// Until neither side has anything to say, or a decision is awaited.
    fn run(&mut self) {
        loop {
            let mut idle = true;
            while let Some(output) = self.client.poll_output() {
                idle = false;
                match output {
                    Output::Transmit(bytes) => self.to_server.extend_from_slice(bytes),
                    Output::Media {
                        kind,
                        timestamp,
                        message_stream,
                        body,
                    } => {
                        self.media.push((kind, timestamp, message_stream, body.to_vec()));
                    }
                    Output::Event(event) => self.heard.push(event),
                }
            }
            let taken = self.session.handle_input(0, &self.to_server).unwrap();
            self.sent.extend(self.to_server.drain(..taken));
            let said = drain(&mut self.session);
            idle &= taken == 0 && said.is_empty();
            self.reply(&bytes(&said));
            self.said.extend(said);
            if idle {
                return;
            }
        }
    }

    /// All that was sent is read.
    fn acknowledge(&mut self) {
        self.session.acknowledge();
        self.settle();
    }

    fn reply(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.client.handle_input(0, bytes).unwrap();
            bytes = &bytes[taken..];
            while let Some(output) = self.client.poll_output() {
                match output {
                    Output::Transmit(bytes) => self.to_server.extend_from_slice(bytes),
                    Output::Media {
                        kind,
                        timestamp,
                        message_stream,
                        body,
                    } => {
                        self.media.push((kind, timestamp, message_stream, body.to_vec()));
                    }
                    Output::Event(event) => self.heard.push(event),
                }
            }
        }
    }

    /// After a decision.
    fn settle(&mut self) {
        let said = drain(&mut self.session);
        self.reply(&bytes(&said));
        self.said.extend(said);
        self.run();
    }

    fn command(&mut self, stream: u32, name: &str, transaction: f64, values: Vec<Value>) {
        let mut out = Vec::new();
        self.client
            .send_command(stream, &Command::new(name, transaction, values), &mut out);
        self.to_server.extend(out);
        self.run();
    }

    fn control(&mut self, control: Control) {
        let mut out = Vec::new();
        self.client.send_control(control, &mut out);
        self.to_server.extend(out);
        self.run();
    }

    fn send(&mut self, kind: MessageKind, timestamp: u32, body: &[u8]) {
        let mut out = Vec::new();
        self.client.send_media(kind, timestamp, body, &mut out);
        self.to_server.extend(out);
        self.run();
    }

    fn events(&self) -> Vec<Event> {
        events(&self.said)
    }
}

fn publisher(options: Options) -> Pair {
    Pair::new(Client::publish(options, "live", "rtmp://h/live", "cam"))
}

fn publishing() -> Pair {
    let mut pair = publisher(Options::default());
    pair.run();
    pair.session.accept_publish();
    pair.settle();
    pair
}

fn playing() -> Pair {
    let mut pair = Pair::new(Client::play(Options::default(), "live", "rtmp://h/live", "cam?who=me"));
    pair.run();
    pair.session.accept_play();
    pair.settle();
    pair
}

/// The statuses and calls a client got, by name and code.
fn codes(heard: &[client::Event]) -> Vec<String> {
    heard
        .iter()
        .map(|event| match event {
            client::Event::Connected(_) => "connected".to_owned(),
            client::Event::Publishing { message_stream } => format!("publishing {message_stream}"),
            client::Event::Playing { message_stream } => format!("playing {message_stream}"),
            client::Event::Refused { code, .. } => format!("refused {code}"),
            client::Event::Status { code } => code.clone(),
            client::Event::Called(command) => format!("{} {}", command.name, command.transaction),
            client::Event::Control(control) => format!("{control:?}"),
        })
        .collect()
}

#[test]
fn a_publisher_is_asked_for_before_it_is_told_that_it_publishes() {
    let forms = [Form::Simple, Form::Digest(Scheme::Zero), Form::Digest(Scheme::One)];
    for (form, chunk_bytes) in forms
        .into_iter()
        .flat_map(|form| [1, 128, 65_536].map(|bytes| (form, bytes)))
    {
        let mut pair = publisher(Options {
            form,
            chunk_bytes,
            ..Options::default()
        });
        pair.run();
        let connected = Event::Connected {
            app: "live".into(),
            tc_url: "rtmp://h/live".into(),
            flash_ver: Options::default().flash_ver,
        };
        let requested = Event::PublishRequested {
            stream_id: 1,
            app: "live".into(),
            name: "cam".into(),
            query: String::new(),
            kind: PublishKind::Live,
        };
        assert_eq!(pair.events(), [connected, requested]);
        let start = b"NetStream.Publish.Start";
        assert!(
            !bytes(&pair.said).windows(start.len()).any(|at| at == start),
            "before the decision"
        );
        pair.session.accept_publish();
        pair.settle();
        let expected = [
            "connected",
            "_result 2",
            "_result 3",
            "onFCPublish 0",
            "publishing 1",
            "StreamBegin(1)",
        ];
        let heard: Vec<_> = codes(&pair.heard)
            .into_iter()
            .skip_while(|code| code != "connected")
            .collect();
        assert_eq!(heard, expected);

        let long = vec![3; 70_000];
        for (kind, timestamp, body) in [
            (MessageKind::Script, 0, &b"script"[..]),
            (MessageKind::Video, 0x00FF_FFFF, &long),
            (MessageKind::Audio, u32::MAX, b"audio"),
            (MessageKind::Audio, 5, b""),
        ] {
            pair.send(kind, timestamp, body);
            let last = pair.said.iter().rfind(|said| matches!(said, Said::Media(..)));
            assert_eq!(last, Some(&Said::Media(kind, timestamp, 1, body.to_vec())));
        }
    }
}

#[test]
fn input_waits_for_the_decision() {
    let mut pair = publisher(Options::default());
    pair.run();
    assert!(pair.session.awaits_decision());
    assert_eq!(pair.session.handle_input(1, b"anything"), Ok(0));
    assert_eq!(pair.session.poll_timeout(), None);
    pair.session.accept_publish();
    assert_eq!(pair.session.handle_input(1, b"anything"), Ok(0), "outputs first");
}

#[test]
fn refusals_say_why_and_close() {
    for (rejection, code) in [
        (PublishRejection::BadName, "NetStream.Publish.BadName"),
        (PublishRejection::Rejected, "NetStream.Publish.Rejected"),
        (PublishRejection::Unauthorized, "NetStream.Publish.Unauthorized"),
        (PublishRejection::Failed, "NetStream.Failed"),
    ] {
        let mut pair = publisher(Options::default());
        pair.run();
        pair.session.reject_publish(rejection, "the password is wrong");
        pair.settle();
        let refused = client::Event::Refused {
            code: code.into(),
            description: "the password is wrong".into(),
        };
        assert_eq!(pair.heard.last(), Some(&refused));
        assert_eq!(pair.events().last(), Some(&Event::Closed));
        assert!(pair.session.is_closed());
        assert_eq!(pair.session.handle_input(0, b"more"), Ok(4), "swallowed");
        assert!(drain(&mut pair.session).is_empty());
    }
    for (rejection, code) in [
        (PlayRejection::StreamNotFound, "NetStream.Play.StreamNotFound"),
        (PlayRejection::Unauthorized, "NetStream.Play.Failed"),
        (PlayRejection::Failed, "NetStream.Play.Failed"),
    ] {
        let mut pair = Pair::new(Client::play(Options::default(), "live", "", "nosuch"));
        pair.run();
        pair.session.reject_play(rejection, "no such stream");
        pair.settle();
        let refused = client::Event::Refused {
            code: code.into(),
            description: "no such stream".into(),
        };
        assert_eq!(pair.heard.last(), Some(&refused));
        assert_eq!(pair.events().last(), Some(&Event::Closed));
    }
}

#[test]
fn a_player_is_answered_in_order_and_gets_feed_bytes() {
    let mut pair = playing();
    let requested = Event::PlayRequested {
        stream_id: 1,
        app: "live".into(),
        name: "cam".into(),
        query: "who=me".into(),
    };
    assert_eq!(pair.events()[1..], [requested]);
    let heard = codes(&pair.heard);
    assert_eq!(
        heard[heard.len() - 3..],
        ["StreamBegin(1)", "NetStream.Play.Reset", "playing 1"]
    );
    let said = bytes(&pair.said);
    for absent in [&b"Publish.Start"[..], b"Data.Start"] {
        assert!(!said.windows(absent.len()).any(|at| at == absent));
    }
    let mut set_chunk = Vec::new();
    let control = Message {
        csid: 2,
        kind: message::SET_CHUNK_SIZE,
        timestamp: 0,
        message_stream: 0,
    };
    write_message(control, 128, &PLAY_CHUNK_BYTES.to_be_bytes(), &mut set_chunk);
    assert_eq!(
        said.windows(set_chunk.len()).filter(|at| *at == set_chunk).count(),
        1,
        "announced once"
    );

    let mut feed = Vec::new();
    let video = Message {
        csid: 6,
        kind: message::VIDEO,
        timestamp: 77,
        message_stream: 1,
    };
    write_message(video, PLAY_CHUNK_BYTES, &[9; 70_000], &mut feed);
    pair.reply(&feed);
    assert_eq!(pair.media, [(MessageKind::Video, 77, 1, vec![9; 70_000])]);

    pair.session.play_stopped(StopReason::StreamEnded);
    pair.settle();
    let heard = codes(&pair.heard);
    assert_eq!(
        heard[heard.len() - 3..],
        ["StreamEof(1)", "NetStream.Play.Stop", "NetStream.Play.UnpublishNotify"]
    );
    assert_eq!(pair.events().last(), Some(&Event::Closed));
}

#[test]
fn pause_and_seek() {
    let mut pair = playing();
    let pause = |on: bool| vec![Value::Null, on.into(), 0.0.into()];
    pair.command(1, "pause", 0.0, pause(true));
    pair.command(1, "pause", 0.0, pause(true));
    pair.command(1, "seek", 0.0, vec![Value::Null, 5000.0.into()]);
    pair.command(1, "pauseRaw", 0.0, pause(false));
    assert_eq!(
        pair.events()[2..],
        [
            Event::Paused { stream_id: 1 },
            Event::SeekRefused { stream_id: 1 },
            Event::Resumed { stream_id: 1 }
        ]
    );
    let heard = codes(&pair.heard);
    let expected = [
        "NetStream.Pause.Notify",
        "refused NetStream.Seek.Failed",
        "NetStream.Unpause.Notify",
    ];
    assert_eq!(heard[heard.len() - 3..], expected);
    assert_eq!(pair.session.counters().messages_ignored, 1, "the second pause");
}

#[test]
fn republish_on_the_same_connection() {
    let mut pair = publishing();
    pair.command(0, "FCUnpublish", 6.0, vec![Value::Null, "cam".into()]);
    pair.command(0, "deleteStream", 7.0, vec![Value::Null, 1.0.into()]);
    pair.send(MessageKind::Audio, 1, b"late");
    pair.command(0, "createStream", 8.0, vec![Value::Null]);
    pair.command(1, "publish", 9.0, vec![Value::Null, "cam?k=2".into(), "record".into()]);
    let requested = Event::PublishRequested {
        stream_id: 1,
        app: "live".into(),
        name: "cam".into(),
        query: "k=2".into(),
        kind: PublishKind::Record,
    };
    let ended = Event::PublishEnded {
        stream_id: 1,
        reason: EndReason::Unpublished,
    };
    assert_eq!(pair.events()[2..], [ended, requested]);
    assert_eq!(pair.session.counters().messages_ignored, 1, "the late audio");
    pair.session.accept_publish();
    pair.settle();
    pair.send(MessageKind::Audio, 2, b"again");
    assert_eq!(
        pair.said.last(),
        Some(&Said::Media(MessageKind::Audio, 2, 1, b"again".to_vec()))
    );

    for (name, stream, reason) in [
        ("publish", 1, EndReason::Replaced),
        ("closeStream", 1, EndReason::Closed),
    ] {
        pair.command(stream, name, 0.0, vec![Value::Null, "other".into()]);
        let ended = Event::PublishEnded { stream_id: 1, reason };
        assert!(pair.events().contains(&ended), "{name}");
        if pair.session.awaits_decision() {
            pair.session.accept_publish();
            pair.settle();
        }
    }
}

#[test]
fn streams_are_numbered_from_the_lowest_free_and_bounded() {
    let mut pair = playing();
    let mut ids = Vec::new();
    let create = |pair: &mut Pair| {
        pair.command(0, "createStream", 9.0, vec![Value::Null]);
        match pair.heard.last() {
            Some(client::Event::Called(command)) if command.name == "_result" => command.argument(1).as_number(),
            _ => None,
        }
    };
    for _ in 0..STREAMS_MAX {
        ids.push(create(&mut pair));
    }
    let expected: Vec<_> = (2..=STREAMS_MAX).map(|id| Some(f64::from(id))).chain([None]).collect();
    assert_eq!(ids, expected);
    pair.command(0, "deleteStream", 0.0, vec![Value::Null, 3.0.into()]);
    assert_eq!(create(&mut pair), Some(3.0));

    pair.command(2, "play", 0.0, vec![Value::Null, "b".into()]);
    let requested = Event::PlayRequested {
        stream_id: 2,
        app: "live".into(),
        name: "b".into(),
        query: String::new(),
    };
    let ended = Event::PlayEnded {
        stream_id: 1,
        reason: EndReason::Replaced,
    };
    assert_eq!(pair.events()[2..], [ended, requested]);
}

#[test]
fn one_thing_a_connection() {
    let mut pair = publishing();
    pair.command(2, "publish", 0.0, vec![Value::Null, "b".into()]);
    pair.command(2, "play", 0.0, vec![Value::Null, "b".into()]);
    let heard = codes(&pair.heard);
    let expected = ["refused NetStream.Publish.BadName", "refused NetStream.Play.Failed"];
    assert_eq!(heard[heard.len() - 2..], expected);
    assert!(!pair.session.awaits_decision());
    pair.send(MessageKind::Video, 1, b"goes on");
    assert_eq!(
        pair.said.last(),
        Some(&Said::Media(MessageKind::Video, 1, 1, b"goes on".to_vec()))
    );
}

#[test]
fn habits_of_commands() {
    for (name, transaction, expected) in [
        ("_checkbw", 9.0, Some("_result 9")),        // Haivision waits for it
        ("checkBandwidth", 9.0, Some("_result 9")),  // Flash players
        ("getStreamLength", 9.0, Some("_result 9")), // ffmpeg
        ("getMovLen", 9.0, Some("_result 9")),
        ("releaseStream", 9.0, Some("_result 9")),
        ("ping", 9.0, Some("_result 9")),
        ("FCSubscribe", 9.0, Some("onFCSubscribe 0")),
        ("xsbwtest", 9.0, Some("refused-or-called")), // XSplit: an error on purpose
        ("somethingElse", 9.0, Some("refused-or-called")),
        ("somethingElse", 0.0, None),
        ("_result", 9.0, None),
        ("_error", 9.0, None),
        ("receiveAudio", 0.0, None),
    ] {
        let mut pair = playing();
        let before = (pair.heard.len(), pair.session.counters().messages_ignored);
        pair.command(
            0,
            name,
            transaction,
            vec![Value::Null, Value::StrictArray(vec![1.0.into()])],
        );
        let heard = codes(&pair.heard[before.0..]);
        match expected {
            Some("refused-or-called") => assert_eq!(heard, ["_error 9"], "{name}"),
            Some(expected) => assert_eq!(heard, [expected], "{name}"),
            None => assert!(heard.is_empty(), "{name}"),
        }
        let ignored = pair.session.counters().messages_ignored - before.1;
        assert_eq!(ignored == 1, expected.is_none(), "{name}");
    }
}

#[test]
fn names_and_queries() {
    for (app, name, expected) in [
        ("live", "cam", ("live", "cam", "")),
        ("live/", "cam", ("live", "cam", "")),
        ("live?k=v", "cam", ("live", "cam", "k=v")), // FMLE
        ("live?k=v", "cam?a=b", ("live", "cam", "k=v&a=b")),
        ("live", "key?a=b?c", ("live", "key", "a=b?c")), // OBS: key with a query
        ("live/_definst_", "mp4:cam", ("live", "mp4:cam", "")), // FMLE
        ("live/_definst_/?k=v", "cam", ("live", "cam", "k=v")),
        ("_definst_", "cam", ("_definst_", "cam", "")),
        ("cam", "", ("cam", "", "")), // one level, as of rtmp://host/cam
    ] {
        let mut pair = Pair::new(Client::publish(Options::default(), app, "", name));
        pair.run();
        let Some(Event::PublishRequested {
            app: got_app,
            name: got_name,
            query,
            ..
        }) = pair.events().pop()
        else {
            panic!("{app} {name}");
        };
        assert_eq!((got_app.as_str(), got_name.as_str(), query.as_str()), expected);
    }
    let mut pair = Pair::new(Client::publish(
        Options::default(),
        "live",
        "",
        &"n".repeat(NAME_BYTES_MAX + 1),
    ));
    let error = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pair.run()));
    assert!(error.is_err(), "NameTooLong ends it");
    assert!(pair.session.is_closed());
}

#[test]
fn only_a_client_that_offers_enhanced_rtmp_is_offered_it() {
    for (offer, answered) in [(vec![], false), (vec!["hvc1".to_owned()], true)] {
        let mut pair = publisher(Options {
            four_ccs: offer,
            ..Options::default()
        });
        pair.run();
        let connected = pair.heard.iter().find_map(|event| match event {
            client::Event::Connected(members) => Some(members.clone()),
            _ => None,
        });
        let members = Value::Object(connected.unwrap());
        assert_eq!(members.member("objectEncoding"), Some(&Value::Number(0.0)));
        for name in ["capsEx", "fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap"] {
            assert_eq!(members.member(name).is_some(), answered, "{name}");
        }
    }
}

#[test]
fn a_ping_is_answered_and_a_silent_player_is_pinged() {
    let mut pair = playing();
    pair.said.clear();
    pair.control(Control::PingRequest(77));
    let mut pong = Vec::new();
    let control = Message {
        csid: 2,
        kind: message::USER_CONTROL,
        timestamp: 0,
        message_stream: 0,
    };
    write_message(control, 128, &[0, 7, 0, 0, 0, 77], &mut pong);
    assert_eq!(bytes(&pair.said), pong);

    let session = &mut pair.session;
    assert_eq!(session.poll_timeout(), Some(PING_MILLIS));
    session.handle_timeout(PING_MILLIS - 1).unwrap();
    assert!(drain(session).is_empty());
    for round in 1..=10 {
        session.handle_timeout(round * PING_MILLIS).unwrap();
        assert_eq!(drain(session).len(), 1, "a ping; who never answered one is kept");
        assert_eq!(session.poll_timeout(), Some((round + 1) * PING_MILLIS));
    }
    let now = 10 * PING_MILLIS;
    let mut pong = Vec::new();
    pair.client.send_control(Control::PingResponse(1), &mut pong);
    feed(session, now, &pong).unwrap();
    session.handle_timeout(now + PLAYER_SILENT_MILLIS_MAX - 1).unwrap();
    drain(session);
    assert_eq!(session.poll_timeout(), Some(now + PLAYER_SILENT_MILLIS_MAX));
    let error = Error::Idle {
        millis: PLAYER_SILENT_MILLIS_MAX,
    };
    assert_eq!(session.handle_timeout(now + PLAYER_SILENT_MILLIS_MAX), Err(error));
    assert!(session.is_closed());
}

#[test]
fn silence_ends_a_handshake_a_publisher_and_an_idle_dialogue() {
    let mut session = Session::new(5, SEED);
    assert_eq!(session.poll_timeout(), Some(5 + HANDSHAKE_MILLIS_MAX));
    assert_eq!(session.handle_timeout(5), Ok(()));
    let error = Error::HandshakeTimeout {
        millis: HANDSHAKE_MILLIS_MAX,
    };
    assert_eq!(session.handle_timeout(5 + HANDSHAKE_MILLIS_MAX), Err(error));
    assert_eq!(session.poll_timeout(), None);

    let mut pair = publishing();
    assert_eq!(pair.session.poll_timeout(), Some(PUBLISHER_IDLE_MILLIS_MAX));
    let error = Error::Idle {
        millis: PUBLISHER_IDLE_MILLIS_MAX,
    };
    assert_eq!(pair.session.handle_timeout(PUBLISHER_IDLE_MILLIS_MAX), Err(error));

    let mut pair = publishing();
    pair.command(0, "deleteStream", 0.0, vec![Value::Null, 1.0.into()]);
    assert_eq!(pair.session.poll_timeout(), Some(DIALOGUE_IDLE_MILLIS_MAX));
}

#[test]
fn what_is_received_is_acknowledged_in_time() {
    let mut pair = publishing();
    pair.control(Control::WindowAckSize(1));
    pair.heard.clear();
    for _ in 0..100 {
        pair.send(MessageKind::Video, 0, &[0; 1000]);
        pair.acknowledge();
    }
    let acks: Vec<u32> = pair
        .heard
        .iter()
        .filter_map(|event| match event {
            client::Event::Control(Control::Acknowledgement(bytes)) => Some(*bytes),
            _ => None,
        })
        .collect();
    assert!(
        (20..=26).contains(&acks.len()),
        "every {} bytes of 100 kB: {acks:?}",
        WINDOW_BYTES_MIN / 4
    );
    assert!(acks.windows(2).all(|two| two[1] > two[0]));
    assert!(*acks.last().unwrap() <= pair.sent.len() as u32);
}

/// What was read is not acknowledged while more has arrived: the peer may have closed behind it.
#[test]
fn nothing_is_acknowledged_before_all_is_read() {
    let mut pair = publishing();
    pair.heard.clear();
    for _ in 0..100 {
        pair.send(MessageKind::Video, 0, &[0; 100_000]);
    }
    pair.acknowledge();
    assert_eq!(pair.heard, [], "no window was announced");
    pair.control(Control::WindowAckSize(WINDOW_BYTES));
    assert_eq!(pair.heard, [], "10 MB were read, and nobody says that it was all");
    pair.acknowledge();
    let read = pair.sent.len() as u32;
    assert_eq!(pair.heard, [client::Event::Control(Control::Acknowledgement(read))]);
    pair.acknowledge();
    assert_eq!(pair.heard.len(), 1, "once");
}

#[test]
fn aggregates_are_split_and_shifted() {
    let mut pair = publishing();
    let mut body = Vec::new();
    Part::emit(message::VIDEO, 500, b"key", &mut body);
    Part::emit(99, 500, b"?", &mut body);
    Part::emit(message::AUDIO, 520, b"", &mut body);
    Part::emit(message::DATA, 530, b"d", &mut body);
    body.extend(b"rest");
    let aggregate = Message {
        csid: 6,
        kind: message::AGGREGATE,
        timestamp: 10_000,
        message_stream: 1,
    };
    let mut input = Vec::new();
    write_message(aggregate, 4096, &body, &mut input);
    let said = feed(&mut pair.session, 0, &input).unwrap();
    assert_eq!(
        said,
        [
            Said::Media(MessageKind::Video, 10_000, 1, b"key".to_vec()),
            Said::Media(MessageKind::Audio, 10_020, 1, vec![]),
            Said::Media(MessageKind::Script, 10_030, 1, b"d".to_vec()),
        ]
    );
}

#[test]
fn amf3_wrappers_and_odd_streams_are_tolerated() {
    let mut pair = publishing();
    let mut input = Vec::new();
    for (kind, csid, stream, body) in [
        (message::DATA_AMF3, 9, 0, &b"\0script"[..]),
        (message::DATA, 2, 7, b"odd ids"),
        (0x77, 3, 0, b"unknown type"),
    ] {
        write_message(
            Message {
                csid,
                kind,
                timestamp: 1,
                message_stream: stream,
            },
            4096,
            body,
            &mut input,
        );
    }
    let mut command = vec![0];
    Command::new("_checkbw", 4.0, vec![]).emit(&mut command);
    let amf3 = Message {
        csid: 3,
        kind: message::COMMAND_AMF3,
        timestamp: 0,
        message_stream: 0,
    };
    write_message(amf3, 4096, &command, &mut input);
    let said = feed(&mut pair.session, 0, &input).unwrap();
    assert_eq!(said[0], Said::Media(MessageKind::Script, 1, 1, b"script".to_vec()));
    assert_eq!(said[1], Said::Media(MessageKind::Script, 1, 1, b"odd ids".to_vec()));
    assert!(matches!(said[2..], [Said::Bytes(_)]));
    assert_eq!(pair.session.counters().messages_ignored, 1);
}

#[test]
fn errors_name_their_place_and_close() {
    for first in [b'G', 0x00, 0x80] {
        let mut session = Session::new(0, SEED);
        assert_eq!(
            session.handle_input(0, &[first]),
            Err(Error::Version { version: first })
        );
        assert!(session.is_closed());
    }
    let mut session = Session::new(0, SEED);
    let mut input = vec![3; HELLO_BYTES + PACKET_BYTES];
    let mut command = Vec::new();
    Command::new("createStream", 1.0, vec![]).emit(&mut command);
    let message = Message {
        csid: 3,
        kind: message::COMMAND,
        timestamp: 0,
        message_stream: 0,
    };
    write_message(message, 128, &command, &mut input);
    let offset = input.len() as u64;
    assert_eq!(feed(&mut session, 0, &input), Err(Error::NotConnected { offset }));
    assert!(session.is_closed() && session.poll_output().is_none());
}

#[test]
fn a_parked_player_is_small() {
    let mut pair = playing();
    pair.control(Control::WindowAckSize(2_500_000));
    pair.control(Control::BufferLength {
        stream: 1,
        millis: 3000,
    });
    let bytes = pair.session.bytes();
    assert!(bytes <= PARKED_BYTES_MAX, "{bytes} of {PARKED_BYTES_MAX}");
    assert!(pair.session.bytes() >= size_of::<Session>() + size_of::<Dialogue>());
    let mut publisher = publishing();
    publisher.send(MessageKind::Video, 0, &[1; 50_000]);
    assert!(publisher.session.bytes() > 50_000, "a publisher keeps its buffer");
    publisher.command(0, "deleteStream", 0.0, vec![Value::Null, 1.0.into()]);
    assert!(publisher.session.bytes() <= PARKED_BYTES_MAX);
}
