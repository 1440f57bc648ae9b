//! RTSP from outside: what ffmpeg and GStreamer push comes out of every output, what is pushed over RTMP comes out of
//! RTSP, frame for frame; what players ask for is answered as RFC 2326 has it.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use penstock_proto::rtsp::wire::range::Range;
use serde_json::json;

use support::clips;
use support::compare::{self, End, REPORTED_JOINED, Rules, SHOWN};
use support::normal::{self, Kind};
use support::players;
use support::process::run;
use support::publish::{Times, push};
use support::rtsp::{self, Heard, Peer, TCP};
use support::segmented::{self, Following};
use support::server::{self, Server};
use support::strict;
use support::wire::Recorder;

/// Publisher, grace and every player are done this long after the clip's own length.
const SLACK: Duration = Duration::from_secs(20);
const WITHIN: Duration = Duration::from_secs(15);

fn config(shards: u32) -> serde_json::Value {
    server::with_rtsp(server::config(shards))
}

/// With every output.
fn config_of_all() -> serde_json::Value {
    server::with_rtsp(segmented::config(json!({})))
}

/// A recording is what was sent, and decodes.
fn check(clip: &Path, file: &Path, rules: Rules) {
    if file.extension().is_some_and(|extension| extension != "mkv") {
        strict::assert_strict(file);
    }
    compare::assert_equal(clip, file, rules);
    compare::assert_decodes(file);
}

/// A publisher's clip, watched from its start over FLV, TS, MP4, HLS of both kinds and RTSP.
fn pushed(server: &Server, name: &str, clip: &Path, ended: impl FnOnce(), rules: Rules) {
    let dir = support::scratch(name);
    server.wait_live(name, Duration::from_secs(10));
    let record = |kind: &str| {
        let file = dir.join(format!("{name}.{kind}"));
        Recorder::start(server.http, &format!("/{name}.{kind}"), &file)
    };
    let recorders: Vec<Recorder> = ["flv", "ts", "mp4"].into_iter().map(record).collect();
    let lists = [(segmented::CMAF, "mp4"), (segmented::TS, "ts")];
    let lists = lists.map(|(master, extension)| (Following::start(server, master), extension));
    let played = dir.join(format!("{name}.mkv"));
    let player = rtsp::ffmpeg_record(&server.rtsp_url(name), TCP, &played);
    ended();
    for recorder in recorders {
        let file = recorder.path.clone();
        assert!(recorder.finish() > 0, "{}: no byte came", file.display());
        check(clip, &file, rules);
        assert_misses_only(clip, &file, FORGOTTEN);
    }
    for (following, extension) in lists {
        let got = segmented::recording(&following.finish(), &dir, &format!("{name}-list"), extension);
        let sent = normal::read(clip);
        assert_eq!(got.tracks.len(), sent.tracks.len(), "{}", got.name);
        segmented::assert_saw(&sent, &got, rules);
    }
    player.succeed(SLACK);
    assert_eq!(player.said(), "", "the player complains");
    check(clip, &played, JOINED_NEAR_END);
    assert_misses_only(clip, &played, FORGOTTEN + JOINED_LATE);
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// Sounds that ffmpeg has put into a packet and not sent when it ends: it drops them.
const FORGOTTEN: usize = 6;
/// Sounds that a player may miss who begins at the first keyframe.
const JOINED_LATE: usize = 6;
/// Up to where the publisher has sent it.
const NEAR_END: Rules = Rules {
    end: End::Anywhere,
    ..SHOWN
};
const JOINED_NEAR_END: Rules = Rules {
    end: End::Anywhere,
    ..REPORTED_JOINED
};

/// Every picture is there, and all but so many sounds.
fn assert_misses_only(clip: &Path, file: &Path, sounds_max: usize) {
    let (sent, got) = (normal::read(clip), normal::read(file));
    for (sent, got) in sent.tracks.iter().zip(&got.tracks) {
        let missing = sent.frames.len() - got.frames.len();
        let missing_max = if sent.kind == Kind::Video { 0 } else { sounds_max };
        assert!(missing <= missing_max, "{}: {missing} missing", file.display());
    }
}

#[test]
fn what_ffmpeg_pushes_over_tcp_comes_out_of_every_output() {
    let server = Server::start(&config_of_all());
    let clip = clips::B_FRAMES.file();
    let publisher = rtsp::ffmpeg_push(&clip, &server.rtsp_url("live"), TCP);
    pushed(&server, "live", &clip, || publisher.succeed(SLACK), NEAR_END);
    let counters = server.counters();
    assert_eq!(
        (counters["packets_lost"], counters["packets_unreadable"]),
        (0, 0),
        "{counters:?}"
    );
    let (status, _) = server.terminate(Duration::from_secs(5));
    assert!(status.success(), "{status}");
}

#[test]
fn what_gstreamer_pushes_over_tcp_comes_out_of_every_output() {
    let server = Server::start(&config_of_all());
    let clip = clips::NO_B_FRAMES.file();
    let publisher = rtsp::gstreamer_push(&clip, &server.rtsp_url("live"), "tcp");
    let ended = || rtsp::gstreamer_pushed(&server, &publisher, &clip, SLACK);
    pushed(&server, "live", &clip, ended, JOINED_NEAR_END);
}

#[test]
fn gstreamer_plays_over_tcp() {
    let server = Server::start(&config(2));
    let clip = clips::B_FRAMES.file();
    let _publisher = push(&clip, &server.rtmp_url("live/live"), Times::Forever);
    server.wait_live("live", Duration::from_secs(10));
    let gstreamer = rtsp::gstreamer_play(&server.rtsp_url("live"), "tcp");
    players::gstreamer_counts(&gstreamer, 50, SLACK);
}

/// Frames with their order and times, B-frames included, from a publisher of another protocol.
#[test]
fn ffmpeg_sees_every_frame_of_an_rtmp_publisher() {
    let server = Server::start(&config(2));
    let clip = clips::B_FRAMES.file();
    let dir = support::scratch("played");
    let publisher = push(&clip, &server.rtmp_url("live/live"), Times::Once);
    server.wait_live("live", Duration::from_secs(10));
    let file: PathBuf = dir.join("live.mkv");
    let player = rtsp::ffmpeg_record(&server.rtsp_url("live"), TCP, &file);
    publisher.succeed(SLACK);
    player.succeed(SLACK);
    assert_eq!(player.said(), "", "the player complains");
    check(&clip, &file, REPORTED_JOINED);
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
                   a=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n";

fn announce(peer: &mut Peer, headers: &[(&str, &str)]) -> rtsp::Answer {
    let mut all = vec![("Content-Type", "application/sdp")];
    all.extend(headers);
    peer.ask("ANNOUNCE", "", &all, SDP)
}

/// `any:wrong` and `any:secret`.
const BASIC_WRONG: &str = "Basic YW55Ondyb25n";
const BASIC_SECRET: &str = "Basic YW55OnNlY3JldA==";

/// Pushes that are not taken say why, in the answer and in the log, and a passphrase is never in it.
#[test]
fn a_push_that_is_refused_is_told_why() {
    let streams = json!({
        "live": {"source": "push://@secret", "grace": 300},
        "open": {"source": "push://127.0.0.1", "grace": 300},
        "elsewhere": {"source": "push://192.0.2.1", "grace": 300}
    });
    let server = Server::start(&server::with_rtsp(server::config_with(2, streams)));
    for (path, status, said, logged) in [
        ("nosuch", 404, "no stream nosuch is configured", "nosuch"),
        ("live?pass=wrong", 403, "passphrase", "live"),
        ("elsewhere", 403, "127.0.0.1", "elsewhere"),
        ("secret/live", 404, "", "passphrase stands in the place"),
    ] {
        let mut peer = Peer::connect(server.rtsp(), path);
        let answer = announce(&mut peer, &[]);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        let told = format!("{} {:?} {}", answer.reason, answer.headers, answer.body);
        assert!(told.contains(said), "{path}: {told}");
        server.wait_log(&["publisher refused", logged], WITHIN);
        assert!(matches!(peer.hear(), Heard::End), "{path}: refused and still there");
    }
    // Who says nothing of a passphrase is asked for it, and may try once.
    let mut peer = Peer::connect(server.rtsp(), "live");
    let asked = announce(&mut peer, &[]);
    assert_eq!(asked.status, 401, "{asked:?}");
    assert_eq!(announce(&mut peer, &[("Authorization", BASIC_WRONG)]).status, 403);
    let mut peer = Peer::connect(server.rtsp(), "live");
    assert_eq!(announce(&mut peer, &[]).status, 401);
    drop(peer);
    server.wait_log(&["publisher refused", "live", "passphrase"], WITHIN);
    let counters = server.counters();
    assert_eq!(
        (
            counters["publishers_refused_unknown"],
            counters["publishers_refused_rule"]
        ),
        (2, 4),
        "{counters:?}"
    );
    for path in ["live?pass=secret", "live?a=b&pass=s%65cret"] {
        let mut peer = Peer::connect(server.rtsp(), path);
        assert_eq!(announce(&mut peer, &[]).status, 200, "{path}");
        peer.ask("TEARDOWN", "", &[], "");
        server.wait_counters("gone", WITHIN, |counters| counters["publishers"] == 0);
    }
    let mut peer = Peer::connect(server.rtsp(), "live");
    assert_eq!(announce(&mut peer, &[("Authorization", BASIC_SECRET)]).status, 200);
    let mut second = Peer::connect(server.rtsp(), "live?pass=secret");
    let answer = announce(&mut second, &[]);
    assert_eq!(answer.status, 455, "{answer:?}");
    server.wait_log(&["publisher refused", "already has a publisher"], WITHIN);
    let said = server.process.said();
    assert!(!said.contains("secret") && !said.contains("s%65cret"), "{said}");
}

/// ffmpeg with user and password in its address: it is asked by Digest, and let in.
#[test]
fn ffmpeg_proves_its_passphrase_by_digest() {
    let streams = json!({"live": {"source": "push://@secret", "grace": 300}});
    let server = Server::start(&server::with_rtsp(server::config_with(2, streams)));
    let clip = clips::NO_B_FRAMES.file();
    let url = server.rtsp_url("live").replace("rtsp://", "rtsp://any:secret@");
    let _publisher = rtsp::ffmpeg_push(&clip, &url, TCP);
    server.wait_live("live", WITHIN);
    let wrong = server.rtsp_url("live").replace("rtsp://", "rtsp://any:wrong@");
    let refused = rtsp::ffmpeg_push(&clip, &wrong, TCP);
    assert!(!refused.wait_exit(WITHIN).success());
    server.wait_log(&["publisher refused", "live"], WITHIN);
}

/// A text's digest, by one of the system's programs.
fn digest(program: &str, text: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-c", "printf %s \"$2\" | \"$1\"", "sh", program, text]);
    let printed = run(program, &mut command, WITHIN);
    printed.split(' ').next().unwrap_or_default().to_owned()
}

/// A quoted parameter of a challenge.
fn parameter<'a>(challenge: &'a str, name: &str) -> &'a str {
    let found = challenge.split(&format!("{name}=\"")).nth(1);
    found.and_then(|rest| rest.split('"').next()).unwrap_or_default()
}

/// Each digest that is offered lets in who knows the passphrase (RFC 7616): ffmpeg cannot do SHA-256.
#[test]
fn a_passphrase_is_proven_by_each_digest() {
    let streams = json!({"live": {"source": "push://@secret", "grace": 300}});
    let server = Server::start(&server::with_rtsp(server::config_with(2, streams)));
    let url = server.rtsp_url("live");
    for (algorithm, program, named) in [
        ("SHA-256", "sha256sum", ", algorithm=SHA-256"),
        ("MD5", "md5sum", ", algorithm=MD5"),
        ("MD5", "md5sum", ""),
    ] {
        for (passphrase, status) in [("wrong", 403), ("secret", 200)] {
            let mut peer = Peer::connect(server.rtsp(), "live");
            let asked = announce(&mut peer, &[]);
            assert_eq!(asked.status, 401, "{asked:?}");
            let challenges: Vec<&str> = asked
                .headers
                .iter()
                .filter(|(name, value)| name == "WWW-Authenticate" && value.starts_with("Digest "))
                .map(|(_, value)| value.as_str())
                .collect();
            let is_it = |challenge: &&str| challenge.contains("SHA-256") == (algorithm == "SHA-256");
            let challenge = challenges.into_iter().find(is_it).expect("every digest is offered");
            let (realm, nonce) = (parameter(challenge, "realm"), parameter(challenge, "nonce"));
            let secret = digest(program, &format!("any:{realm}:{passphrase}"));
            let request = digest(program, &format!("ANNOUNCE:{url}"));
            let response = digest(program, &format!("{secret}:{nonce}:{request}"));
            let proof = format!(
                "Digest username=\"any\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{url}\", response=\"{response}\"{named}"
            );
            let answer = announce(&mut peer, &[("Authorization", &proof)]);
            assert_eq!(answer.status, status, "{algorithm} {passphrase}: {answer:?}");
            drop(peer);
            server.wait_counters("gone", WITHIN, |counters| counters["publishers"] == 0);
        }
    }
    let said = server.process.said();
    assert!(!said.contains("secret"), "{said}");
}

/// The value of `name=` in a header's list.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let at = text.split([';', ',']).filter_map(|part| part.trim().split_once('='));
    at.into_iter()
        .find(|(known, _)| *known == name)
        .map_or("", |(_, value)| value)
}

/// A player of both tracks that has just been told where they begin.
fn play(server: &Server, name: &str) -> (Peer, rtsp::Answer) {
    let mut peer = Peer::connect(server.rtsp(), name);
    assert_eq!(peer.ask("OPTIONS", "", &[], "").status, 200);
    let described = peer.ask("DESCRIBE", "", &[("Accept", "application/sdp")], "");
    assert_eq!(described.status, 200, "{described:?}");
    assert_eq!(described.header("Content-Type"), "application/sdp");
    let controls: Vec<&str> = described
        .body
        .lines()
        .filter_map(|line| line.strip_prefix("a=control:"))
        .collect();
    let media: Vec<&str> = controls.into_iter().filter(|control| *control != "*").collect();
    assert_eq!(media.len(), 2, "{}", described.body);
    for (number, control) in media.iter().enumerate() {
        let channels = format!("RTP/AVP/TCP;unicast;interleaved={}-{}", 2 * number, 2 * number + 1);
        let set_up = peer.ask("SETUP", &format!("/{control}"), &[("Transport", &channels)], "");
        assert_eq!(set_up.status, 200, "{set_up:?}");
    }
    let playing = peer.ask("PLAY", "/", &[("Range", "npt=0.000-")], "");
    assert_eq!((playing.status, playing.frames_before), (200, 0), "{playing:?}");
    (peer, playing)
}

/// `RTP-Info` names the first packet of each track that comes behind it.
fn assert_begins_as_told(peer: &mut Peer, playing: &rtsp::Answer) {
    let told: Vec<(u16, u32)> = playing
        .header("RTP-Info")
        .split(',')
        .map(|one| {
            (
                field(one, "seq").parse().expect("a number"),
                field(one, "rtptime").parse().expect("a number"),
            )
        })
        .collect();
    assert_eq!(told.len(), 2, "{playing:?}");
    let mut firsts = [None; 2];
    while firsts.iter().any(Option::is_none) {
        let (channel, packet) = peer.frame();
        if channel % 2 == 0 {
            let first = &mut firsts[usize::from(channel / 2)];
            first.get_or_insert(rtsp::place(&packet));
        }
    }
    for (told, first) in told.iter().zip(firsts) {
        let (sequence, timestamp) = first.expect("waited for above");
        assert_eq!(sequence, told.0, "{playing:?}");
        let ahead = timestamp.wrapping_sub(told.1) as i32;
        assert!(
            (-90_000..90_000).contains(&ahead),
            "{timestamp} where {} was told",
            told.1
        );
    }
}

/// Reads until the next answer, which is asked for now.
fn ask_while_playing(peer: &mut Peer, method: &str) -> rtsp::Answer {
    let answer = peer.ask(method, "/", &[], "");
    assert_eq!(answer.status, 200, "{method}: {answer:?}");
    answer
}

#[test]
fn a_player_pauses_goes_on_and_asks_much_at_once() {
    let server = Server::start(&config(2));
    let clip = clips::SHORT_GOPS.file();
    let _publisher = push(&clip, &server.rtmp_url("live/live"), Times::Forever);
    server.wait_live("live", Duration::from_secs(10));
    let (mut peer, playing) = play(&server, "live");
    assert_begins_as_told(&mut peer, &playing);
    server.wait_log(&["viewer came", "RTSP", "live"], WITHIN);

    // Every keep-alive, in the middle of the packets.
    for method in ["OPTIONS", "GET_PARAMETER", "SET_PARAMETER"] {
        ask_while_playing(&mut peer, method);
    }
    ask_while_playing(&mut peer, "PAUSE");
    // Nothing of the stream comes behind the answer: the next thing heard is the next answer.
    assert_eq!(ask_while_playing(&mut peer, "GET_PARAMETER").frames_before, 0);
    let again = ask_while_playing(&mut peer, "PLAY");
    assert_eq!(again.frames_before, 0);
    assert_begins_as_told(&mut peer, &again);

    let mut all = String::new();
    for method in ["GET_PARAMETER", "PAUSE", "PLAY", "TEARDOWN"] {
        all += &peer.text(method, "/", &[], "");
    }
    peer.send(all.as_bytes());
    for _ in 0..4 {
        assert_eq!(peer.answer().status, 200);
    }
    assert!(matches!(peer.hear(), Heard::End));
    server.wait_log(&["viewer left", "RTSP", "live", "stopped"], WITHIN);
    server.wait_counters("no viewer", WITHIN, |counters| counters["viewers"] == 0);
    assert_eq!(server.counters()["protocol_errors"], 0);
}

/// What can be played is, and the answer says what that is; who asks for something else may ask again.
#[test]
fn a_player_gets_the_range_that_there_is() {
    let server = Server::start(&config(2));
    let clip = clips::SHORT_GOPS.file();
    let _publisher = push(&clip, &server.rtmp_url("live/live"), Times::Forever);
    server.wait_live("live", Duration::from_secs(10));
    let (mut peer, playing) = play(&server, "live");
    assert_eq!(playing.header("Range"), "npt=now-");
    let wall = || {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.expect("behind 1970").as_millis() as u64
    };
    let clock = |from: u64| Range::Clock { from, to: None }.text();
    for _ in 0..2 {
        ask_while_playing(&mut peer, "PAUSE");
        let now = wall();
        for wrong in [
            "npt=5-10",
            "smpte=0:10:00-",
            "npt=soon-",
            &clock(now - 60_000),
            &clock(now + 60_000),
        ] {
            let answer = peer.ask("PLAY", "/", &[("Range", wrong)], "");
            assert_eq!((answer.status, answer.frames_before), (457, 0), "{wrong}: {answer:?}");
        }
        let again = peer.ask("PLAY", "/", &[("Range", "npt=17.25-")], "");
        assert_eq!((again.status, again.header("Range")), (200, "npt=now-"), "{again:?}");
        assert_begins_as_told(&mut peer, &again);
        ask_while_playing(&mut peer, "PAUSE");
        let again = peer.ask("PLAY", "/", &[("Range", &clock(now))], "");
        assert_eq!(again.status, 200, "{again:?}");
        let Some(Range::Clock { from, to: None }) = Range::parse(again.header("Range")) else {
            panic!("{again:?}")
        };
        // From the keyframe before: a GOP has half a second.
        assert!((now - 5_000..=wall()).contains(&from), "{from} at {now}");
        assert_begins_as_told(&mut peer, &again);
    }
    assert_eq!(server.counters()["viewers"], 1);
}

#[test]
fn a_player_is_told_what_is_not_there() {
    let server = Server::start(&config(2));
    for (path, status) in [("live", 404), ("nosuch", 404)] {
        let mut peer = Peer::connect(server.rtsp(), path);
        let answer = peer.ask("DESCRIBE", "", &[], "");
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    let mut peer = Peer::connect(server.rtsp(), "live");
    peer.send(b"\x00\x01\x02 nonsense\r\n\r\n");
    assert!(matches!(peer.hear(), Heard::End));
    assert_eq!(server.counters()["protocol_errors"], 1);
}

/// Whoever sends what is neither a message nor a packet is let go, and the log says for what.
#[test]
fn garbage_between_packets_ends_a_peer_with_a_reason() {
    let server = Server::start(&config(1));
    let clip = clips::SHORT_GOPS.file();
    let _publisher = push(&clip, &server.rtmp_url("live/live"), Times::Forever);
    server.wait_live("live", Duration::from_secs(10));
    let (mut peer, _) = play(&server, "live");
    // A packet of nobody, a report that is none: passed over.
    peer.send(b"$\x09\x00\x04abcd$\x01\x00\x04efgh");
    assert_eq!(ask_while_playing(&mut peer, "GET_PARAMETER").status, 200);
    peer.send(b"\x00garbage");
    while !matches!(peer.hear_cut(), Heard::End) {}
    server.wait_log(&["viewer left", "RTSP", "broke the protocol", "0x00"], WITHIN);
    let counters = server.counters();
    assert_eq!(
        (counters["viewers"], counters["protocol_errors"]),
        (0, 1),
        "{counters:?}"
    );
}

/// A receiver report on a medium (RFC 3550, 6.4.2), interleaved.
fn report(channel: u8, lost: u32) -> Vec<u8> {
    let mut frame = vec![b'$', channel, 0, 32, 0x81, 201, 0, 7];
    frame.extend([0, 0, 0, 1, 0, 0, 0, 2]);
    frame.extend(lost.to_be_bytes());
    frame.extend([0; 16]);
    frame
}

/// What players report as lost is counted, each loss once.
#[test]
fn losses_that_players_report_are_counted() {
    let server = Server::start(&config(1));
    let clip = clips::SHORT_GOPS.file();
    let _publisher = push(&clip, &server.rtmp_url("live/live"), Times::Forever);
    server.wait_live("live", Duration::from_secs(10));
    let (mut peer, _) = play(&server, "live");
    for (channel, lost) in [(1, 0), (1, 3), (1, 3), (3, 4), (1, 2), (1, 5)] {
        peer.send(&report(channel, lost));
    }
    ask_while_playing(&mut peer, "GET_PARAMETER");
    let counters = server.counters();
    assert_eq!(
        (counters["viewer_reports"], counters["viewer_packets_lost"]),
        (6, 9),
        "{counters:?}"
    );
}

/// Connections that come to nothing are ended: one whose request is not whole in its time; with `PENSTOCK_LONG`, also a
/// player that is paused and says nothing within its session's timeout, while one that says anything goes on.
#[test]
fn half_open_sessions_are_reaped() {
    let server = Server::start(&config(1));
    let clip = clips::SHORT_GOPS.file();
    let _publisher = push(&clip, &server.rtmp_url("live/live"), Times::Forever);
    server.wait_live("live", Duration::from_secs(10));
    let mut half = Peer::connect(server.rtsp(), "live");
    let text = half.text("OPTIONS", "", &[], "");
    half.send(&text.as_bytes()[..text.len() - 2]);
    half.ends_within(REQUEST + SLACK);
    assert_eq!(server.counters()["connections_slow"], 1);
    if std::env::var_os("PENSTOCK_LONG").is_none() {
        return;
    }
    let (mut silent, _) = play(&server, "live");
    ask_while_playing(&mut silent, "PAUSE");
    let (mut alive, _) = play(&server, "live");
    ask_while_playing(&mut alive, "PAUSE");
    let before = std::time::Instant::now();
    while !silent.has_ended_within(KEEP_ALIVE) {
        ask_while_playing(&mut alive, "OPTIONS");
        assert!(before.elapsed() < SESSION + SLACK, "a silent player is kept");
    }
    assert!(before.elapsed() > SESSION, "it had {:?}", before.elapsed());
    server.wait_log(&["viewer left", "RTSP", "nothing"], WITHIN);
    assert_eq!(server.counters()["connections_idle"], 1);
    ask_while_playing(&mut alive, "PLAY");
}

/// In which a request is to be whole.
const REQUEST: Duration = Duration::from_secs(20);
/// As it is told in `Session`.
const SESSION: Duration = Duration::from_secs(60);
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A peer may turn to something else on its connection: what it was before is over, and counted so.
#[test]
fn a_peer_turns_to_another_stream() {
    let streams = json!({
        "live": {"source": "push://127.0.0.1", "grace": 300},
        "one": {"source": "push://127.0.0.1", "grace": 300},
        "two": {"source": "push://127.0.0.1", "grace": 300}
    });
    let server = Server::start(&server::with_rtsp(server::config_with(1, streams)));
    let clip = clips::SHORT_GOPS.file();
    let _publisher = push(&clip, &server.rtmp_url("live/live"), Times::Forever);
    server.wait_live("live", Duration::from_secs(10));
    let (mut peer, _) = play(&server, "live");
    ask_while_playing(&mut peer, "PAUSE");
    assert_eq!(peer.ask("DESCRIBE", "", &[], "").status, 200);
    server.wait_counters("no viewer", WITHIN, |counters| counters["viewers"] == 0);
    drop(peer);

    let mut peer = Peer::connect(server.rtsp(), "one");
    assert_eq!(announce(&mut peer, &[]).status, 200);
    let mut other = Peer::connect(server.rtsp(), "one");
    assert_eq!(announce(&mut other, &[]).status, 455, "it has a publisher");
    peer.turn_to("two");
    assert_eq!(announce(&mut peer, &[]).status, 200);
    let mut other = Peer::connect(server.rtsp(), "one");
    assert_eq!(announce(&mut other, &[]).status, 200, "it is free");
    let counters = server.counters();
    assert_eq!((counters["publishers"], counters["viewers"]), (3, 0), "{counters:?}");
    drop((peer, other));
    server.wait_counters("gone", WITHIN, |counters| counters["publishers"] == 1);
}

/// The stream's end is said by RTCP to every track, and then by the connection.
#[test]
fn a_player_hears_of_the_end() {
    let server = Server::start(&config(2));
    let clip = clips::SHORT_GOPS.file();
    let publisher = push(&clip, &server.rtmp_url("live/live"), Times::Once);
    server.wait_live("live", Duration::from_secs(10));
    let (mut peer, _) = play(&server, "live");
    publisher.succeed(SLACK);
    let mut goodbyes = [0, 0];
    loop {
        match peer.hear() {
            Heard::Frame { channel, packet } if channel % 2 == 1 => {
                let is_goodbye = packet.windows(2).any(|two| two[0] & 0xc0 == 0x80 && two[1] == 203);
                goodbyes[usize::from(channel / 2)] += usize::from(is_goodbye);
            }
            Heard::Frame { .. } => {}
            Heard::Answer(answer) => panic!("nobody asked for {answer:?}"),
            Heard::End => break,
        }
    }
    assert_eq!(goodbyes, [1, 1]);
    server.wait_log(&["viewer left", "RTSP", "live"], WITHIN);
}
