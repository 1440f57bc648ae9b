//! Whole dialogues, synthesised and captured: cut anywhere, moved anywhere.

use super::super::super::wire::handshake;
use super::moves::moved;
use super::*;

/// The inputs of the flows above, as their clients sent them.
pub(in super::super::super) fn dialogues() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for form in [Form::Simple, Form::Digest(Scheme::Zero), Form::Digest(Scheme::One)] {
        let mut pair = publisher(Options {
            form,
            ..Options::default()
        });
        pair.run();
        pair.session.accept_publish();
        pair.settle();
        pair.send(MessageKind::Script, 0, b"script");
        pair.send(MessageKind::Video, 0x0100_0000, &[5; 9000]);
        pair.send(MessageKind::Audio, 0x0100_0001, &[6; 100]);
        pair.control(Control::WindowAckSize(16_384));
        pair.control(Control::PingRequest(1));
        pair.send(MessageKind::Video, 40, &[7; 5000]);
        let mut end = Vec::new();
        pair.client.send_end(&mut end);
        pair.to_server.extend(end);
        pair.run();
        all.push(pair.sent);
    }
    let mut pair = playing();
    for (name, on) in [
        ("pause", true),
        ("seek", true),
        ("pause", false),
        ("xsbwtest", true),
        ("getStreamLength", true),
    ] {
        pair.command(1, name, 3.0, vec![Value::Null, on.into(), 0.0.into()]);
    }
    pair.control(Control::BufferLength {
        stream: 1,
        millis: 3000,
    });
    pair.command(0, "deleteStream", 0.0, vec![Value::Null, 1.0.into()]);
    all.push(pair.sent);
    all.extend(CAPTURES.iter().map(|(_, input, ..)| input.to_vec()));
    all
}

/// Name, everything the client sent, its form of handshake, its request, and counts of audio, video and script messages.
type Capture = (&'static str, &'static [u8], Form, &'static str, [usize; 3]);

/// See testdata/README.md.
const CAPTURES: [Capture; 7] = [
    (
        "ffmpeg-5.1-publish",
        include_bytes!("../../testdata/ffmpeg-5.1-publish.bin"),
        Form::Digest(Scheme::Zero),
        "publish cam k=v",
        [46, 27, 1],
    ),
    (
        "gst-rtmp2sink-publish",
        include_bytes!("../../testdata/gst-rtmp2sink-publish.bin"),
        Form::Simple,
        "publish cam ",
        [45, 27, 1],
    ),
    (
        "obs-30-publish",
        include_bytes!("../../testdata/obs-30-publish.bin"),
        Form::Simple,
        "publish cam k=v",
        [51, 27, 1],
    ),
    (
        "obs-31-publish",
        include_bytes!("../../testdata/obs-31-publish.bin"),
        Form::Simple,
        "publish cam k=v",
        [102, 52, 1],
    ),
    (
        "ffmpeg-5.1-play",
        include_bytes!("../../testdata/ffmpeg-5.1-play.bin"),
        Form::Digest(Scheme::Zero),
        "play cam who=me",
        [0, 0, 0],
    ),
    (
        "gst-rtmp2src-play",
        include_bytes!("../../testdata/gst-rtmp2src-play.bin"),
        Form::Simple,
        "play cam ",
        [0, 0, 0],
    ),
    (
        "rtmpdump-swf-play",
        include_bytes!("../../testdata/rtmpdump-swf-play.bin"),
        Form::Digest(Scheme::Zero),
        "play cam ",
        [0, 0, 0],
    ),
];

#[test]
fn captures_of_real_clients() {
    for (name, input, form, request, counts) in CAPTURES {
        let mut reply = Vec::new();
        let hello = input.first_chunk().unwrap();
        assert_eq!(handshake::answer(hello, SEED, &mut reply), Ok(form), "{name}");

        let mut session = Session::new(0, SEED);
        let said = feed(&mut session, 0, input).unwrap();
        let requests: Vec<_> = events(&said)
            .into_iter()
            .filter_map(|event| match event {
                Event::PublishRequested { name, query, .. } => Some(format!("publish {name} {query}")),
                Event::PlayRequested { name, query, .. } => Some(format!("play {name} {query}")),
                _ => None,
            })
            .collect();
        assert_eq!(requests, [request], "{name}");
        let mut got = [0; 3];
        let mut times = [0; 3];
        for one in &said {
            if let Said::Media(kind, timestamp, stream, _) = one {
                let kind = *kind as usize;
                got[kind] += 1;
                assert_eq!(*stream, 1);
                assert!(
                    (times[kind]..times[kind] + 500).contains(timestamp),
                    "{name}: {timestamp}"
                );
                times[kind] = *timestamp;
            }
        }
        assert_eq!(got, counts, "{name}");
        let last = events(&said).pop();
        match name {
            // It resets its connection without a word.
            "gst-rtmp2src-play" => assert!(matches!(last, Some(Event::PlayRequested { .. })), "{last:?}"),
            _ => assert!(
                matches!(last, Some(Event::PublishEnded { .. } | Event::PlayEnded { .. })),
                "{name}: {last:?}"
            ),
        }
        assert_eq!(session.counters().messages_cut, 0, "{name}");
    }
}

#[test]
fn any_cut_of_the_input_gives_the_same_outputs_also_across_export() {
    let mut random: u64 = 0x5EED;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for input in dialogues() {
        let whole = join(feed(&mut Session::new(0, SEED), 0, &input).unwrap());
        assert!(whole.len() >= 4);
        for round in 0..12 {
            let longest = [1, 3, 20, 200, 2000, 20_000][round % 6];
            let exports = round >= 6;
            let mut session = Session::new(0, SEED);
            let mut said = Vec::new();
            let mut rest = input.as_slice();
            while !rest.is_empty() {
                let cut = rest.len().min(1 + next(longest) as usize);
                said.extend(feed(&mut session, 0, &rest[..cut]).unwrap());
                rest = &rest[cut..];
                if exports {
                    session = moved(&session);
                }
            }
            assert_eq!(join(said), whole, "cuts up to {longest}");
        }
    }
}

#[test]
fn a_pending_decision_moves_with_the_session() {
    for play in [false, true] {
        let client = match play {
            true => Client::play(Options::default(), "live", "", "cam"),
            false => Client::publish(Options::default(), "live", "", "cam"),
        };
        let mut pair = Pair::new(client);
        pair.run();
        pair.session = moved(&pair.session);
        assert!(pair.session.awaits_decision());
        match play {
            true => pair.session.accept_play(),
            false => pair.session.accept_publish(),
        }
        pair.settle();
        let expected = if play { "playing 1" } else { "publishing 1" };
        assert!(codes(&pair.heard).contains(&expected.to_owned()));
        pair.session = moved(&pair.session);
        pair.session.play_stopped(StopReason::ServerClosing);
        pair.session.publish_stopped(StopReason::Replaced);
        pair.settle();
        assert!(pair.session.is_closed());
        moved(&pair.session);
    }
}
