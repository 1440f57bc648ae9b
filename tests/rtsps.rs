//! RTSP over TLS from outside: what is pushed comes out, frame for frame, sessions move between cores with their seals,
//! certificates are chosen by name and replaced while the server runs, and peers that speak something else are told.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use penstock::tls::Fingerprint;
use rustls::version::{TLS12, TLS13};
use serde_json::json;

use support::clips;
use support::compare::{self, End, REPORTED_JOINED, Rules};
use support::players;
use support::process::Process;
use support::publish::{Times, push};
use support::rtsp::{self, Heard, Peer, TCP};
use support::server::{self, Server};
use support::tls::{self, Certificate};
use support::wire::Recorder;

const SLACK: Duration = Duration::from_secs(20);
const WITHIN: Duration = Duration::from_secs(15);
const BOTH: &[&rustls::SupportedProtocolVersion] = &[&TLS12, &TLS13];

fn rtsps_url(server: &Server, path: &str) -> String {
    format!("rtsps://{}/{path}", server.listener("rtsps"))
}

/// A peer over TLS that trusts `certificate`.
fn peer(server: &Server, path: &str, certificate: &Certificate) -> Peer {
    let to = server.listener("rtsps");
    let stream = tls::connect(to, "localhost", &[certificate], BOTH).unwrap_or_else(|error| panic!("{error}"));
    Peer::over(Box::new(stream), &format!("rtsps://{to}/{path}"))
}

#[test]
fn what_ffmpeg_pushes_over_tls_comes_out_over_tls() {
    let dir = support::scratch("rtsps");
    let own = Certificate::make(&dir, "own", &["localhost"]);
    let server = Server::start(&tls::with_rtsps(server::config(2), &[&own]));
    let clip = clips::B_FRAMES.file();
    let publisher = rtsp::ffmpeg_push(&clip, &rtsps_url(&server, "live"), TCP);
    server.wait_live("live", WITHIN);
    let flv = Recorder::start(server.http, "/live.flv", &dir.join("live.flv"));
    let played: Vec<_> = (0..3).map(|number| dir.join(format!("{number}.mkv"))).collect();
    let url = rtsps_url(&server, "live");
    let players: Vec<Process> = played.iter().map(|file| rtsp::ffmpeg_record(&url, TCP, file)).collect();
    publisher.succeed(SLACK);
    let path = flv.path.clone();
    assert!(flv.finish() > 0);
    let near_end = |rules: Rules| Rules {
        end: End::Anywhere,
        ..rules
    };
    compare::assert_equal(&clip, &path, near_end(REPORTED_JOINED));
    for (player, file) in players.iter().zip(&played) {
        player.succeed(SLACK);
        assert_eq!(player.said(), "", "the player complains");
        compare::assert_equal(&clip, file, near_end(REPORTED_JOINED));
        compare::assert_decodes(file);
    }
    let counters = server.counters();
    assert_eq!(
        (counters["seals_begun"], counters["seals_opened"]),
        (4, 4),
        "{counters:?}"
    );
    for name in [
        "seals_refused",
        "seals_broken",
        "sealed_bytes_kept",
        "packets_lost",
        "packets_unreadable",
    ] {
        assert_eq!(counters[name], 0, "{name}: {counters:?}");
    }
    let (status, _) = server.terminate(Duration::from_secs(5));
    assert!(status.success(), "{status}");
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

#[test]
fn gstreamer_pushes_and_plays_over_tls() {
    let dir = support::scratch("rtsps");
    let own = Certificate::make(&dir, "own", &["localhost"]);
    let server = Server::start(&tls::with_rtsps(server::config(2), &[&own]));
    let clip = clips::NO_B_FRAMES.file();
    // It is not told to trust what a test has made.
    let trusting = "tcp+tls tls-validation-flags=0";
    let _publisher = rtsp::gstreamer_push(&clip, &rtsps_url(&server, "live"), trusting);
    server.wait_live("live", WITHIN);
    let player = rtsp::gstreamer_play(&rtsps_url(&server, "live"), trusting);
    players::gstreamer_counts(&player, 50, SLACK);
    let counters = server.counters();
    assert!(
        counters["seals_opened"] >= 2 && counters["seals_refused"] == 0,
        "{counters:?}"
    );
}

const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
                   a=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n";

/// Publishers are accepted on either shard and moved to their stream's home before they are answered: with their seals.
#[test]
fn a_publisher_that_moves_keeps_its_seal() {
    let dir = support::scratch("rtsps");
    let own = Certificate::make(&dir, "own", &["localhost"]);
    let streams: serde_json::Map<_, _> = (0..40)
        .map(|number| {
            (
                format!("s{number}"),
                json!({"source": "push://127.0.0.1", "grace": 300}),
            )
        })
        .collect();
    let server = Server::start(&tls::with_rtsps(server::config_with(2, streams.into()), &[&own]));
    let mut peers = Vec::new();
    for number in 0..40 {
        let mut peer = peer(&server, &format!("s{number}"), &own);
        let announced = peer.ask("ANNOUNCE", "", &[("Content-Type", "application/sdp")], SDP);
        assert_eq!(announced.status, 200, "{announced:?}");
        let transport = ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record");
        assert_eq!(peer.ask("SETUP", "/streamid=0", &[transport], "").status, 200);
        assert_eq!(peer.ask("RECORD", "", &[], "").status, 200);
        // In records of one byte: what came before the move and what comes behind it is one stream.
        let packet = [
            b"$\0\0\x0e".as_slice(),
            &[0x80, 0xe0, 0, number, 0, 0, 0, 0, 0, 0, 0, 1, 0x09, 0xf0],
        ]
        .concat();
        packet.chunks(1).for_each(|byte| peer.send(byte));
        assert_eq!(peer.ask("GET_PARAMETER", "", &[], "").status, 200);
        peers.push(peer);
        if number > 3 && server.counters()["publishers_moved"] >= 2 {
            break;
        }
    }
    let counters = server.counters();
    assert!(counters["publishers_moved"] >= 2, "{counters:?}");
    assert_eq!(counters["publishers"], peers.len() as u64);
    assert_eq!(
        (counters["protocol_errors"], counters["seals_broken"]),
        (0, 0),
        "{counters:?}"
    );
    for peer in &mut peers {
        assert_eq!(peer.ask("TEARDOWN", "", &[], "").status, 200);
    }
}

/// What openssl says of the server.
fn openssl(server: &Server, arguments: &[&str], certificate: &Certificate) -> String {
    let to = server.listener("rtsps").to_string();
    let mut command = Command::new("timeout");
    command.args([
        "10",
        "openssl",
        "s_client",
        "-brief",
        "-verify_return_error",
        "-connect",
        &to,
        "-CAfile",
    ]);
    command.arg(&certificate.certificate).args(arguments);
    command.stdin(std::process::Stdio::null());
    let output = command.output().expect("openssl is installed");
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

/// A hello that never goes on, and one that ends in the middle.
fn half_a_handshake(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.listener("rtsps")).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("not zero");
    stream
        .write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        .expect("it is open");
    stream
}

#[test]
fn names_versions_and_peers_that_speak_something_else() {
    let dir = support::scratch("rtsps");
    let first = Certificate::make(&dir, "first", &["localhost", "first.test"]);
    let second = Certificate::make(&dir, "second", &["*.second.test"]);
    let server = Server::start(&tls::with_rtsps(server::config(1), &[&first, &second]));
    let to = server.listener("rtsps");
    let begun = Instant::now();
    let mut half = half_a_handshake(&server);

    for (name, version, certificate, said) in [
        ("first.test", "-tls1_2", &first, "TLSv1.2"),
        ("a.second.test", "-tls1_2", &second, "TLSv1.2"),
        ("a.second.test", "-tls1_3", &second, "TLSv1.3"),
        ("elsewhere.test", "-tls1_3", &first, "TLSv1.3"),
    ] {
        let words = openssl(&server, &["-servername", name, version], certificate);
        assert!(
            words.contains(said) && words.contains("Verification: OK"),
            "{name} {version}: {words}"
        );
    }
    openssl(&server, &["-tls1_1", "-cipher", "ALL@SECLEVEL=0"], &first);
    let answer = peer(&server, "live", &first).ask("OPTIONS", "", &[], "");
    assert_eq!(answer.status, 200, "{answer:?}");

    // Without TLS.
    let mut plain = Peer::connect(to, "live?pass=secret");
    let answer = plain.ask("OPTIONS", "", &[], "");
    assert_eq!((answer.status, &answer.reason[..]), (400, "This Port Speaks RTSPS"));
    assert!(matches!(plain.hear(), Heard::End));
    // Who trusts somebody else says so.
    let refused = tls::connect(to, "localhost", &[&second], BOTH).map(drop).unwrap_err();
    assert!(refused.contains("invalid peer certificate"), "{refused}");
    let mut garbage = TcpStream::connect(to).expect("it listens");
    garbage.write_all(&[0xa5; 4000]).expect("it is open");
    let mut last = Vec::new();
    let _closed_or_reset = garbage.read_to_end(&mut last);
    // A fatal alert, or nothing where the rest was still unread.
    assert!(last.is_empty() || last[..6] == [21, 3, 3, 0, 2, 2], "{last:?}");
    server.wait_counters("all are told apart", WITHIN, |counters| {
        let of = |name| counters[name];
        of("tls_ended_plain") == 1
            && of("tls_ended_refused") == 1
            && of("tls_ended_garbled") == 1
            && of("tls_ended_nothing_in_common") == 1
            && of("seals_refused") == 4
            && of("seals_opened") == 5
    });
    server.wait_log(&["cannot be sealed with TLS", "peer="], WITHIN);
    let said = server.process.said();
    assert!(!said.contains("secret"), "{said}");

    // Its time is up, and not before.
    let mut nothing = Vec::new();
    let _closed_or_reset = half.read_to_end(&mut nothing);
    let took = begun.elapsed();
    assert!(
        nothing.is_empty() && took > Duration::from_secs(9) && took < Duration::from_secs(15),
        "{took:?}"
    );
    let counters = server.counters();
    assert_eq!(
        (counters["seals_timed_out"], counters["sealed_bytes_kept"]),
        (1, 0),
        "{counters:?}"
    );
}

/// The first of a second is logged: with what it begins.
#[test]
fn a_plain_peer_on_the_port_of_tls_is_logged() {
    let dir = support::scratch("rtsps");
    let own = Certificate::make(&dir, "own", &["localhost"]);
    let server = Server::start(&tls::with_rtsps(server::config(1), &[&own]));
    let url = rtsps_url(&server, "live").replace("rtsps://", "rtsp://");
    let player = rtsp::ffmpeg_record(&url, TCP, &dir.join("none.mkv"));
    assert!(!player.wait_exit(SLACK).success());
    assert!(player.said().contains("400"), "{}", player.said());
    server.wait_log(&["cannot be sealed with TLS", "OPTIONS", "does not speak TLS"], WITHIN);
}

/// A player asks for UDP, for which there is no seal, and then for what there is.
#[test]
fn media_does_not_go_past_the_seal() {
    let dir = support::scratch("rtsps");
    let own = Certificate::make(&dir, "own", &["localhost"]);
    let config = tls::with_rtsps(server::with_rtsp(server::config(2)), &[&own]);
    let server = Server::start(&config);
    let clip = clips::SHORT_GOPS.file();
    let _publisher = push(&clip, &server.rtmp_url("live/live"), Times::Forever);
    server.wait_live("live", WITHIN);
    let mut peer = peer(&server, "live", &own);
    let described = peer.ask("DESCRIBE", "", &[("Accept", "application/sdp")], "");
    assert_eq!(described.status, 200, "{described:?}");
    let control = described
        .body
        .lines()
        .filter_map(|line| line.strip_prefix("a=control:"));
    let control = {
        let mut control = control;
        control.find(|control| *control != "*")
    }
    .expect("it has tracks");
    let track = format!("/{control}");
    let udp = ("Transport", "RTP/AVP;unicast;client_port=40000-40001");
    assert_eq!(peer.ask("SETUP", &track, &[udp], "").status, 461);
    let tcp = ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1");
    assert_eq!(peer.ask("SETUP", &track, &[tcp], "").status, 200);
    let playing = peer.ask("PLAY", "/", &[], "");
    assert_eq!(playing.status, 200, "{playing:?}");
    assert!(playing.header("RTP-Info").contains("rtsps://"), "{playing:?}");
    for _ in 0..50 {
        peer.frame();
    }
    assert_eq!(peer.ask("GET_PARAMETER", "/", &[], "").status, 200);
    drop(peer);
    server.wait_counters("no viewer", WITHIN, |counters| counters["viewers"] == 0);
}

/// A renewed certificate is shown to who comes, and who is there notices nothing.
#[test]
fn a_certificate_is_renewed_while_somebody_plays() {
    let dir = support::scratch("rtsps");
    let old = Certificate::make(&dir, "own", &["localhost"]);
    let server = Server::start(&tls::with_rtsps(server::config(2), &[&old]));
    let to = server.listener("rtsps");
    let mut staying = peer(&server, "live", &old);
    assert_eq!(staying.ask("OPTIONS", "", &[], "").status, 200);
    // A bad one first: it is said, and changes nothing.
    std::fs::write(
        &old.key,
        "-----BEGIN PRIVATE KEY-----\nnone\n-----END PRIVATE KEY-----\n",
    )
    .expect("scratch is ours");
    server.process.signal("HUP");
    server.wait_log(&["cannot be read again", "own.key"], WITHIN);
    assert_eq!(peer(&server, "live", &old).ask("OPTIONS", "", &[], "").status, 200);
    let new = Certificate::make(&dir, "own", &["localhost"]);
    server.process.signal("HUP");
    server.wait_log(&["certificates were read again"], WITHIN);
    // Both shards were told before it was said; one may have accepted a connection and not listened yet.
    let deadline = Instant::now() + WITHIN;
    let mut in_a_row = 0;
    while in_a_row < 8 {
        in_a_row = tls::connect(to, "localhost", &[&new], BOTH).map_or(0, |_| in_a_row + 1);
        assert!(Instant::now() < deadline, "the new certificate is shown");
    }
    assert_eq!(peer(&server, "live", &new).ask("OPTIONS", "", &[], "").status, 200);
    let refused = tls::connect(to, "localhost", &[&old], BOTH).map(drop).unwrap_err();
    assert!(refused.contains("invalid peer certificate"), "{refused}");
    assert_eq!(staying.ask("OPTIONS", "", &[], "").status, 200);
}

/// `penstock check` names the file and what to do, and `serve` does not start.
#[test]
fn files_that_are_of_no_use_are_named_before_anything_starts() {
    let dir = support::scratch("rtsps");
    let own = Certificate::make(&dir, "own", &["localhost"]);
    let other = Certificate::make(&dir, "other", &["localhost"]);
    let old = Certificate::good_until(&dir, "old", &["localhost"], 2003);
    let empty = dir.join("empty.crt");
    std::fs::write(&empty, "nothing\n").expect("scratch is ours");
    let absent = dir.join("absent.crt");
    let with = |certificate: &std::path::Path, key: &std::path::Path| {
        let made = Certificate {
            der: own.der.clone(),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        tls::with_rtsps(server::config(1), &[&made])
    };
    for verb in ["check", "serve"] {
        for (certificate, key, words) in [
            (&absent, &own.key, "cert[0]: \"ABSENT\" there is no such file"),
            (&empty, &own.key, "cert[0]: \"EMPTY\" has no certificate"),
            (
                &own.certificate,
                &other.key,
                "key[0]: \"OTHER\" is not the key of this certificate",
            ),
            (&own.certificate, &own.certificate, "key[0]: \"OWN\" has no private key"),
        ] {
            let (mut command, _) = server::command(verb, &with(certificate, key));
            let process = Process::start("penstock", &mut command);
            assert!(!process.wait_exit(WITHIN).success());
            let said = process.said();
            for part in words.split(['"']).step_by(2) {
                assert!(said.contains(part.trim()), "{verb}: {part}: {said}");
            }
        }
    }
    let (mut command, _) = server::command("check", &with(&old.certificate, &old.key));
    let check = Process::start("penstock", &mut command);
    check.succeed(WITHIN);
    let said = check.said();
    assert!(said.contains("expired on 2003-01-01"), "{said}");
    let server = Server::start(&with(&old.certificate, &old.key));
    server.wait_log(&["WARN", "expired on 2003-01-01"], WITHIN);
}

/// Another penstock is the source, by TLS: trusted by the fingerprint of its certificate, or not.
#[test]
fn a_source_by_tls_is_pulled_if_it_is_trusted() {
    let dir = support::scratch("pull-tls");
    let own = Certificate::make(&dir, "own", &["localhost"]);
    let origin = Server::start(&tls::with_rtsps(server::config(2), &[&own]));
    let clip = clips::B_FRAMES.file();
    let publisher = push(&clip, &origin.rtmp_url("live/live"), Times::Once);
    origin.wait_live("live", WITHIN);
    let source = rtsps_url(&origin, "live");
    let of = |trust: &str| json!({"source": source, "transport": "tcp", "grace": 300, "tls_trust": trust});
    let (named, system) = (of(&Fingerprint::of(&own.der).to_string()), of("system"));
    let edge = Server::start(&server::config_with(2, json!({"named": named, "system": system})));
    let file = dir.join("named.flv");
    let recorder = Recorder::start(edge.http, "/named.flv", &file);
    edge.wait_log(&["source plays", "named", "rtsps://"], WITHIN);
    let untrusted = support::wire::ask(edge.http, "GET", "/system.flv", &[]);
    assert_eq!(untrusted.status, 404);
    let line = edge.wait_log(&["WARN", "source failed", "system", "no TLS with it"], WITHIN);
    assert!(line.contains("certificate"), "{line}");
    publisher.succeed(SLACK);
    assert!(recorder.finish() > 0, "no byte came");
    let pulled = Rules {
        end: End::Anywhere,
        ..REPORTED_JOINED
    };
    compare::assert_equal(&clip, &file, pulled);
}
