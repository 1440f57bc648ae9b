//! RTSP with its packets by UDP: publishers and players share a shard's two sockets, and are told apart.

mod support;

use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use support::clips;
use support::compare::{self, End, REPORTED_JOINED, Rules, SHOWN};
use support::publish::{Times, push};
use support::rtsp::{self, Peer, UDP};
use support::server::{self, Server};
use support::strict;
use support::wire::{PATIENCE, Recorder};
use support::{players, process::Process};

const SLACK: Duration = Duration::from_secs(20);

/// ffmpeg drops sounds that it has not sent when it ends; and what it sent last may come behind its TEARDOWN.
const NEAR_END: Rules = Rules {
    end: End::Anywhere,
    ..SHOWN
};
const JOINED_NEAR_END: Rules = Rules {
    end: End::Anywhere,
    ..REPORTED_JOINED
};

fn config(shards: u32) -> serde_json::Value {
    server::with_rtsp(server::config(shards))
}

/// A publisher's clip by UDP, watched over HTTP and, by UDP too, by ffmpeg.
fn pushed(server: &Server, clip: &Path, ended: impl FnOnce(), rules: Rules) {
    let dir = support::scratch("udp");
    server.wait_live("live", Duration::from_secs(10));
    let recorders: Vec<Recorder> = ["flv", "ts", "mp4"]
        .into_iter()
        .map(|kind| Recorder::start(server.http, &format!("/live.{kind}"), &dir.join(format!("live.{kind}"))))
        .collect();
    let played = dir.join("live.mkv");
    let player = rtsp::ffmpeg_record(&server.rtsp_url("live"), UDP, &played);
    ended();
    for recorder in recorders {
        let file = recorder.path.clone();
        assert!(recorder.finish() > 0, "{}: no byte came", file.display());
        strict::assert_strict(&file);
        compare::assert_equal(clip, &file, rules);
        compare::assert_decodes(&file);
    }
    player.succeed(SLACK);
    compare::assert_equal(clip, &played, JOINED_NEAR_END);
    compare::assert_decodes(&played);
    let counters = server.counters();
    assert_eq!(
        (counters["packets_lost"], counters["frames_lost"]),
        (0, 0),
        "{counters:?}"
    );
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

#[test]
fn what_ffmpeg_pushes_by_udp_comes_out_of_every_output() {
    let server = Server::start(&config(2));
    let clip = clips::B_FRAMES.file();
    let publisher = rtsp::ffmpeg_push(&clip, &server.rtsp_url("live"), UDP);
    pushed(&server, &clip, || publisher.succeed(SLACK), NEAR_END);
}

#[test]
fn what_gstreamer_pushes_by_udp_comes_out_of_every_output() {
    let server = Server::start(&config(2));
    let clip = clips::NO_B_FRAMES.file();
    let publisher = rtsp::gstreamer_push(&clip, &server.rtsp_url("live"), "udp");
    let ended = || rtsp::gstreamer_pushed(&server, &publisher, &clip, SLACK);
    pushed(&server, &clip, ended, JOINED_NEAR_END);
}

#[test]
fn gstreamer_plays_by_udp() {
    let server = Server::start(&config(2));
    let clip = clips::B_FRAMES.file();
    let _publisher = push(&clip, &server.rtmp_url("live/live"), Times::Forever);
    server.wait_live("live", Duration::from_secs(10));
    let player: Process = rtsp::gstreamer_play(&server.rtsp_url("live"), "udp");
    players::gstreamer_counts(&player, 50, SLACK);
}

/// A pair of sockets at neighbouring ports, as players have them.
fn pair() -> [UdpSocket; 2] {
    for _ in 0..100 {
        let first = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let port = first.local_addr().expect("bound").port();
        if let Ok(second) = UdpSocket::bind(("127.0.0.1", port.wrapping_add(1))) {
            for socket in [&first, &second] {
                socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
            }
            return [first, second];
        }
    }
    panic!("no two free ports side by side");
}

/// Packets begin where `RTP-Info` says, stop at PAUSE, and what strangers send is passed over.
#[test]
fn a_player_by_udp_pauses_and_goes_on() {
    let server = Server::start(&config(1));
    let clip = clips::SHORT_GOPS.file();
    let _publisher = push(&clip, &server.rtmp_url("live/live"), Times::Forever);
    server.wait_live("live", Duration::from_secs(10));
    let mut peer = Peer::connect(server.rtsp(), "live");
    let described = peer.ask("DESCRIBE", "", &[], "");
    assert_eq!(described.status, 200, "{described:?}");
    let [rtp, rtcp] = pair();
    let port = rtp.local_addr().expect("bound").port();
    let transport = format!("RTP/AVP;unicast;client_port={port}-{}", port + 1);
    let set_up = peer.ask("SETUP", "/track0", &[("Transport", &transport)], "");
    assert_eq!(set_up.status, 200, "{set_up:?}");
    let ours = set_up.header("Transport").to_string();
    let ports = ours.split("server_port=").nth(1).expect("the server's ports");
    let (even, odd) = ports
        .split(';')
        .next()
        .and_then(|ports| ports.split_once('-'))
        .expect("two ports");
    let (even, odd): (u16, u16) = (even.parse().expect("a port"), odd.parse().expect("a port"));
    assert_eq!((even % 2, odd), (0, even + 1), "{ours}");
    for _ in 0..2 {
        let playing = peer.ask("PLAY", "/", &[], "");
        assert_eq!(playing.status, 200, "{playing:?}");
        let told = playing.header("RTP-Info");
        let sequence = told
            .split("seq=")
            .nth(1)
            .and_then(|rest| rest.split(';').next())
            .expect("RTP-Info");
        let mut packet = [0; 2048];
        let (bytes, from) = rtp.recv_from(&mut packet).expect("a packet");
        assert_eq!(from.port(), even);
        assert!(bytes <= 1200, "{bytes} bytes");
        assert_eq!(rtsp::place(&packet[..bytes]).0.to_string(), sequence, "{told}");
        let (bytes, from) = rtcp.recv_from(&mut packet).expect("a report");
        assert_eq!((from.port(), packet[1]), (odd, 200), "a sender report of {bytes} bytes");
        assert_eq!(peer.ask("PAUSE", "/", &[], "").status, 200);
        // What was sent before the answer is here. Then comes nothing, while the stream goes on.
        rtp.set_nonblocking(true).expect("a socket");
        while rtp.recv_from(&mut packet).is_ok() {}
        let before = server.counters()["frames_in"];
        server.wait_counters("the stream goes on", SLACK, |counters| {
            counters["frames_in"] > before + 20
        });
        assert!(rtp.recv_from(&mut packet).is_err(), "it is paused");
        rtp.set_nonblocking(false).expect("a socket");
    }
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    stranger
        .send_to(b"who is there?", ("127.0.0.1", even))
        .expect("loopback");
    server.wait_counters("passed over", SLACK, |counters| counters["datagrams_stray"] == 1);
    assert_eq!(peer.ask("TEARDOWN", "/", &[], "").status, 200);
    server.wait_counters("no viewer", SLACK, |counters| counters["viewers"] == 0);
}
