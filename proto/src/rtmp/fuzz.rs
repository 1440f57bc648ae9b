//! Any dialogue: whatever comes, and however it is cut, a session neither panics nor turns for ever, holds no more than its
//! bounds, and says the same.

use super::limits::{HANDSHAKE_MILLIS_MAX, REASSEMBLY_BYTES_MAX, REASSEMBLY_BYTES_MAX_UNPUBLISHED};
use super::wire::chunk::Reader;
use super::wire::handshake::{Form, PACKET_BYTES, hello};
use super::{Client, Error, Event, Output, Session};
use crate::noise::chosen_by;
use crate::rtmp::client::Options;

/// What a session holds beside unfinished messages: outputs of one input, a greeting, names.
const BESIDE_BYTES_MAX: usize = 64 * 1024;

/// Any bytes from the first of a connection.
pub fn handshake(input: &[u8]) {
    let whole = life(Session::new(0, 1), input, usize::MAX);
    assert_eq!(life(Session::new(0, 1), input, 1 + chosen_by(input, 300)), whole);
}

/// Any bytes behind a handshake.
pub fn server(input: &[u8]) {
    let greeted = || {
        let (mut session, mut bytes) = (Session::new(0, 1), Vec::new());
        hello(Form::Simple, 1, &mut bytes);
        bytes.extend_from_slice(&[0; PACKET_BYTES]);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let taken = session.handle_input(0, rest).expect("a handshake");
            rest = &rest[taken..];
            while session.poll_output().is_some() {}
        }
        session
    };
    let whole = life(greeted(), input, usize::MAX);
    let step = [1, 7, 100, 500][chosen_by(input, 4)];
    assert_eq!(life(greeted(), input, step), whole, "in steps of {step}");
}

/// What came of one life.
#[derive(Debug, Default, PartialEq)]
struct Life {
    said: Vec<u8>,
    events: Vec<Event>,
    /// Kind, time and length of each.
    media: Vec<(u8, u32, usize)>,
    end: Option<Error>,
}

/// Every request is accepted.
fn life(mut session: Session, mut input: &[u8], step: usize) -> Life {
    let mut life = Life::default();
    let turns_max = 8 * input.len() + 64;
    let mut turns = 0;
    loop {
        turns += 1;
        assert!(turns <= turns_max, "it goes round");
        let part = &input[..input.len().min(step)];
        let taken = match session.handle_input(0, part) {
            Ok(taken) => taken,
            Err(error) => {
                assert!(session.is_closed() && session.poll_output().is_none());
                life.end = Some(error);
                return life;
            }
        };
        input = &input[taken..];
        let outputs = drain(&mut session, &mut life);
        let bytes_max = match life
            .events
            .iter()
            .any(|event| matches!(event, Event::PublishRequested { .. }))
        {
            true => REASSEMBLY_BYTES_MAX,
            false => REASSEMBLY_BYTES_MAX_UNPUBLISHED,
        };
        assert!(
            session.bytes() <= bytes_max + BESIDE_BYTES_MAX,
            "{} bytes",
            session.bytes()
        );
        if session.awaits_decision() {
            match life.events.last() {
                Some(Event::PublishRequested { .. }) => session.accept_publish(),
                Some(Event::PlayRequested { .. }) => session.accept_play(),
                other => panic!("a decision about {other:?}"),
            }
            drain(&mut session, &mut life);
        } else if taken == 0 && outputs == 0 {
            assert!(input.is_empty(), "input is neither taken nor waits");
            break;
        }
        if outputs == 0 && turns % 16 == 0 {
            session = moved(&session);
        }
    }
    // Time passes: it is ended, or asks whether the peer is there.
    if let Err(error) = session.handle_timeout(HANDSHAKE_MILLIS_MAX * 100) {
        assert!(session.is_closed());
        life.end = Some(error);
    }
    drain(&mut session, &mut life);
    life
}

fn drain(session: &mut Session, life: &mut Life) -> usize {
    let mut outputs = 0;
    while let Some(output) = session.poll_output() {
        outputs += 1;
        match output {
            Output::Transmit(bytes) => life.said.extend_from_slice(bytes),
            Output::Event(event) => life.events.push(event),
            Output::Media {
                kind, timestamp, body, ..
            } => life.media.push((kind as u8, timestamp, body.len())),
        }
    }
    outputs
}

fn moved(session: &Session) -> Session {
    let mut bytes = Vec::new();
    session.export(&mut bytes);
    let moved = Session::import(&bytes).expect("what was exported is imported");
    let mut again = Vec::new();
    moved.export(&mut again);
    assert_eq!(bytes, again);
    moved
}

/// Any bytes as an exported session.
pub fn exported(input: &[u8]) {
    let Ok(mut session) = Session::import(input) else {
        return;
    };
    let _ = session.handle_timeout(u64::MAX);
    while session.poll_output().is_some() {}
    let session = moved(&session);
    assert!(session.bytes() <= 2 * REASSEMBLY_BYTES_MAX + BESIDE_BYTES_MAX);
    if !session.awaits_decision() {
        life(session, &[0; 4096], usize::MAX);
    }
}

/// Any bytes of a server, behind its handshake, to our client's side.
pub fn client(input: &[u8]) {
    for client in [
        Client::publish(Options::default(), "live", "rtmp://a/live", "x"),
        Client::play(Options::default(), "live", "rtmp://a/live", "x"),
    ] {
        answered(client, input);
    }
}

fn answered(mut client: Client, input: &[u8]) {
    let reply = [&[3][..], &[0; 2 * PACKET_BYTES], input].concat();
    let mut rest = &reply[..];
    while client.poll_output().is_some() {}
    let mut turns = 0;
    while !rest.is_empty() {
        turns += 1;
        assert!(turns <= 8 * reply.len(), "it goes round");
        let Ok(taken) = client.handle_input(0, rest) else {
            return;
        };
        rest = &rest[taken..];
        let mut outputs = 0;
        while let Some(output) = client.poll_output() {
            outputs += 1;
            if let Output::Media { body, .. } = output {
                assert!(body.len() <= REASSEMBLY_BYTES_MAX);
            }
        }
        assert!(taken > 0 || outputs > 0, "input is taken");
    }
}

/// Any bytes as chunks, in the chunk size that they choose: the same messages however they are cut.
pub fn chunks(input: &[u8]) {
    let chunk_bytes = [1, 64, 128, 4096, 0x7FFF_FFFF][chosen_by(input, 5)];
    let whole = messages(input, chunk_bytes, usize::MAX);
    assert_eq!(messages(input, chunk_bytes, 1 + chosen_by(input, 50)), whole);
}

type Messages = (Vec<(u32, u8, u32, u32, Vec<u8>)>, Option<Error>);

fn messages(input: &[u8], chunk_bytes: u32, step: usize) -> Messages {
    let mut reader = Reader::new(0);
    reader.set_chunk_bytes(chunk_bytes).expect("not 0");
    let mut found = Vec::new();
    for mut piece in input.chunks(step.min(input.len().max(1))) {
        loop {
            match reader.read(piece) {
                Err(error) => return (found, Some(error)),
                Ok((taken, message)) => {
                    piece = &piece[taken..];
                    assert!(reader.heap_bytes() <= REASSEMBLY_BYTES_MAX + BESIDE_BYTES_MAX);
                    let Some(message) = message else { break };
                    let body = reader.body().to_vec();
                    found.push((
                        message.csid,
                        message.kind,
                        message.timestamp,
                        message.message_stream,
                        body,
                    ));
                }
            }
        }
        assert!(piece.is_empty(), "what is no whole message is taken");
    }
    (found, None)
}

#[cfg(test)]
mod runs {
    use super::super::session::tests::dialogues;
    use super::super::wire::chunk::{Message, write_message};
    use super::super::wire::handshake::HELLO_BYTES;
    use super::super::wire::message;
    use super::*;
    use crate::damage::{Cost, damaged};

    const HANDSHAKE_BYTES: usize = HELLO_BYTES + PACKET_BYTES;
    const TOKENS: &[&[u8]] = &[
        b"\x02\0\0\0\0\0\x04\x01\0\0\0\0",
        b"\x02\0\0\0\0\0\x04\x02\0\0\0\0\0\0\0\x03",
        b"\x02\0\0\0\0\0\x04\x05\0\0\0\0\0\0\0\x01",
        b"\x04\0\0\0\0\0\x40\x16\x01\0\0\0",
        b"\x06\xff\xff\xff\0\x10\0\x09\x01\0\0\0",
        b"\x03\0\0\0\0\0\x20\x14\0\0\0\0",
        b"\xc3",
        b"\xc4",
        b"\xc6",
        b"\x83",
        b"\x44",
        b"\0\xff",
        b"\x01\xff\xff",
        b"\x02\0\x07connect",
        b"\x02\0\x0ccreateStream",
        b"\x02\0\x07publish",
        b"\x02\0\x04play",
        b"\x02\0\x05pause",
        b"\x02\0\x0cdeleteStream",
        b"\x03\0\x01a",
    ];

    /// What clients say behind their handshakes, and a publisher who sends aggregates.
    fn behind() -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = dialogues()
            .iter()
            .map(|input| input[HANDSHAKE_BYTES..].to_vec())
            .collect();
        // The pictures are not what is tested, and would take most of the hits.
        all.iter_mut().for_each(|input| input.truncate(8_000));
        let mut aggregates = all[0].clone();
        let part = [&[8, 0, 0, 3, 0, 0, 5, 0, 0, 0, 0][..], &[0xAF, 1, 2], &[0, 0, 0, 14]].concat();
        let aggregate = Message {
            csid: 5,
            kind: message::AGGREGATE,
            timestamp: 9,
            message_stream: 1,
        };
        write_message(aggregate, 4096, &part.repeat(5), &mut aggregates);
        all.push(aggregates);
        all
    }

    #[test]
    fn rtmp_handshake() {
        let mut seeds = dialogues();
        seeds.iter_mut().for_each(|input| input.truncate(HANDSHAKE_BYTES + 40));
        damaged("rtmp_handshake", Cost::Heavy, &seeds, &[b"\x03", b"\x06"], handshake);
    }

    #[test]
    fn rtmp_server() {
        damaged("rtmp_server", Cost::Heavy, &behind(), TOKENS, server);
    }

    #[test]
    fn rtmp_chunks() {
        damaged("rtmp_chunks", Cost::Heavy, &behind(), TOKENS, chunks);
    }

    #[test]
    fn rtmp_client() {
        let seeds = dialogues().into_iter().map(|input| {
            let said = life(Session::new(0, 1), &input, usize::MAX).said;
            said[1 + 2 * PACKET_BYTES..].to_vec()
        });
        damaged("rtmp_client", Cost::Heavy, &seeds.collect::<Vec<_>>(), TOKENS, client);
    }

    #[test]
    fn rtmp_exported() {
        let mut seeds = Vec::new();
        for input in dialogues() {
            for cut in [
                0,
                700,
                HANDSHAKE_BYTES - 1,
                HANDSHAKE_BYTES + 150,
                input.len() * 2 / 3,
                input.len(),
            ] {
                let mut session = Session::new(0, 1);
                let mut rest = &input[..cut];
                while let Ok(taken) = session.handle_input(0, rest) {
                    rest = &rest[taken..];
                    let mut outputs = 0;
                    while session.poll_output().is_some() {
                        outputs += 1;
                    }
                    if taken == 0 && outputs == 0 {
                        break;
                    }
                }
                let mut bytes = Vec::new();
                session.export(&mut bytes);
                seeds.push(bytes);
            }
        }
        damaged("rtmp_exported", Cost::Light, &seeds, TOKENS, exported);
    }
}
