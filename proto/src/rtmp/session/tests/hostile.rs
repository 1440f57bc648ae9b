//! Peers that mean no good: byte by byte, messages without end, more of everything than there is room for.

use super::super::super::wire::handshake::{Form, hello};
use super::*;

/// A session whose handshake is done.
fn greeted() -> Session {
    let mut session = Session::new(0, SEED);
    let mut input = Vec::new();
    hello(Form::Simple, SEED, &mut input);
    input.extend_from_slice(&[0; PACKET_BYTES]);
    feed(&mut session, 1_000, &input).unwrap();
    session
}

fn of_type(csid: u32, kind: u8, body: &[u8]) -> Vec<u8> {
    let message = Message {
        csid,
        kind,
        timestamp: 0,
        message_stream: 1,
    };
    let mut out = Vec::new();
    write_message(message, CHUNK_BYTES_DEFAULT, body, &mut out);
    out
}

/// A byte a second never comes to anything: neither a dialogue that asks for nothing nor a name is kept by it.
#[test]
fn who_trickles_is_ended_in_time() {
    let mut session = greeted();
    let ping = of_type(2, message::USER_CONTROL, &[0, 6, 0, 0, 0, 1]);
    let mut now = 1_000;
    let error = ping.iter().cycle().find_map(|byte| {
        now += 1_000;
        let ended = session.handle_timeout(now).err();
        feed(&mut session, now, &[*byte]).unwrap();
        ended
    });
    let millis = DIALOGUE_IDLE_MILLIS_MAX;
    assert_eq!((now, error), (1_000 + millis, Some(Error::NothingAsked { millis })));
    assert!(session.is_closed());

    // A publisher's video message of a million bytes, of which one comes each second.
    let mut session = publishing().session;
    let begun = 500_000;
    feed(&mut session, begun, &of_type(4, message::AUDIO, &[0xAF])).unwrap();
    feed(
        &mut session,
        begun,
        &[6, 0, 0, 0, 0x0F, 0x42, 0x40, message::VIDEO, 1, 0, 0, 0],
    )
    .unwrap();
    let mut now = begun;
    let error = loop {
        now += 1_000;
        assert!(session.poll_timeout().is_some_and(|at| at >= now));
        match session.handle_timeout(now) {
            Ok(()) => feed(&mut session, now, &[0x17]).unwrap(),
            Err(error) => break error,
        };
    };
    let millis = PUBLISHER_MESSAGE_MILLIS_MAX;
    assert_eq!((now, error), (begun + millis, Error::MessageSlow { millis }));
}

/// Messages of 8 MiB on many chunk streams, in turns, none of which is ever whole: what a session holds while it lets
/// the peer go on, and what ends it.
fn interleaved(session: &mut Session, chunk_streams: u8) -> (usize, Error) {
    const CHUNK: usize = 16_384;
    feed(
        session,
        0,
        &of_type(2, message::SET_CHUNK_SIZE, &(CHUNK as u32).to_be_bytes()),
    )
    .unwrap();
    let mut most = 0;
    for round in 0..1_000 {
        for csid in 2..2 + chunk_streams {
            let header = match round {
                0 => &[csid, 0, 0, 0, 0x7F, 0xFF, 0xFF, message::VIDEO, 1, 0, 0, 0][..],
                _ => &[0xC0 | csid],
            };
            if let Err(error) = feed(session, 0, &[header, &[0; CHUNK]].concat()) {
                return (most, error);
            }
            most = most.max(session.bytes());
        }
    }
    panic!("{most} bytes are held, and more are taken");
}

#[test]
fn unfinished_messages_are_bounded_by_what_the_peer_may_do() {
    for (session, bytes_max) in [
        (greeted as fn() -> Session, REASSEMBLY_BYTES_MAX_UNPUBLISHED),
        (|| publishing().session, REASSEMBLY_BYTES_MAX),
    ] {
        let (most, error) = interleaved(&mut session(), 60);
        assert!(
            matches!(
                error,
                Error::TooManyAssemblies { .. } | Error::ReassemblyTooLarge { .. }
            ),
            "{error}"
        );
        assert!(most <= bytes_max + 16 * 1024, "{most}: {error}");
        let (most, error) = interleaved(&mut session(), 4);
        assert!(matches!(error, Error::ReassemblyTooLarge { .. }), "{error}");
        assert!(
            (bytes_max / 2..=bytes_max + 16 * 1024).contains(&most),
            "{most}: {error}"
        );
    }
}

/// Bytes that no session exports are refused, before they are counted on. Found by the fuzz target `rtmp_exported`.
#[test]
fn an_exported_count_has_room_to_grow() {
    let mut bytes = Vec::new();
    publishing().session.export(&mut bytes);
    assert!(Session::import(&bytes).is_ok());
    // Behind the layout, when it was heard, the phase and the chunk size.
    bytes[14..22].copy_from_slice(&(u64::MAX - 1234).to_be_bytes());
    assert!(Session::import(&bytes).is_err());
}

/// A publisher who ends its publish is bounded as one who never began.
#[test]
fn the_bound_follows_the_publish_also_through_a_move() {
    let mut pair = publishing();
    let moved = |session: &Session| {
        let mut bytes = Vec::new();
        session.export(&mut bytes);
        Session::import(&bytes).unwrap()
    };
    let (most, _) = interleaved(&mut moved(&pair.session), 4);
    assert!(most > REASSEMBLY_BYTES_MAX / 2);
    pair.command(0, "deleteStream", 0.0, vec![Value::Null, 1.0.into()]);
    let (most, _) = interleaved(&mut moved(&pair.session), 4);
    assert!(most <= REASSEMBLY_BYTES_MAX_UNPUBLISHED + 16 * 1024);
}

/// Each is what a peer may not say; the session ends there, and says where it stood.
#[test]
fn what_no_peer_may_say_ends_the_session() {
    let deep = [
        &b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0"[..],
        &b"\x03\0\x01a".repeat(5_000),
    ]
    .concat();
    for (what, input, is) in [
        (
            "chunk size 0",
            of_type(2, message::SET_CHUNK_SIZE, &[0; 4]),
            (|error| matches!(error, Error::ChunkSizeZero { .. })) as fn(&Error) -> bool,
        ),
        (
            "a negative chunk size that is 0 without its top bit",
            of_type(2, message::SET_CHUNK_SIZE, &[0x80, 0, 0, 0]),
            |error| matches!(error, Error::ChunkSizeZero { .. }),
        ),
        (
            "a control message without its field",
            of_type(2, message::WINDOW_ACK_SIZE, &[1, 2]),
            |error| matches!(error, Error::ControlTooShort { .. }),
        ),
        (
            "a command of 16 MiB",
            vec![3, 0, 0, 0, 0xFF, 0xFF, 0xFF, message::COMMAND, 0, 0, 0, 0],
            |error| matches!(error, Error::MessageTooLarge { .. }),
        ),
        (
            "a command without a name",
            of_type(3, message::COMMAND, &[5]),
            |error| matches!(error, Error::CommandWithoutName { .. }),
        ),
        (
            "a name nested in objects",
            of_type(3, message::COMMAND, &b"\x03\0\x01a".repeat(5_000)),
            |error| matches!(error, Error::Command { .. }),
        ),
        ("format 3 on a chunk stream that never was", vec![0xC9], |error| {
            matches!(error, Error::FreshChunkStream { .. })
        }),
        (
            "a publish before connect",
            of_type(
                3,
                message::COMMAND,
                b"\x02\0\x07publish\0\x3f\xf0\0\0\0\0\0\0\x05\x02\0\x01x",
            ),
            |error| matches!(error, Error::NotConnected { .. }),
        ),
    ] {
        let mut session = greeted();
        let error = feed(&mut session, 0, &input).expect_err(what);
        assert!(is(&error), "{what}: {error}");
        assert!(session.is_closed());
    }
    // A depth bomb behind a name is an argument that is left out, as encoders' odd fields are.
    let mut session = greeted();
    feed(&mut session, 0, &of_type(3, message::COMMAND, &deep)).unwrap();
    assert!(session.bytes() < 16 * 1024);
}

/// What means nothing is counted and passed over: types nobody knows, shared objects, aborts of nothing, windows of a
/// byte, aggregates of whom nobody let publish.
#[test]
fn what_means_nothing_is_passed_over() {
    let mut session = greeted();
    let mut input = Vec::new();
    for kind in [0, 7, 10, 11, 12, 13, 14, 16, 19, 21, 23, 100, 255, message::AGGREGATE] {
        input.extend(of_type(3, kind, &[0; 40]));
    }
    for csid in [0_u32, 1, 3, 77, u32::MAX] {
        input.extend(of_type(2, message::ABORT, &csid.to_be_bytes()));
    }
    input.extend(of_type(2, message::WINDOW_ACK_SIZE, &[0, 0, 0, 0]));
    feed(&mut session, 0, &input).unwrap();
    assert_eq!(session.counters().messages_ignored, 14);
    // The smallest window is answered each 4 KiB, whatever it says.
    let noise = of_type(3, message::AUDIO, &[0; 1_000]);
    let mut acknowledged = 0;
    for _ in 0..1_000 {
        feed(&mut session, 0, &noise).unwrap();
        session.acknowledge();
        acknowledged += bytes(&drain(&mut session)).len();
    }
    assert!(
        (100..1_000 * noise.len() / 200).contains(&acknowledged),
        "{acknowledged}"
    );
}
