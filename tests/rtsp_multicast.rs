//! RTSP by multicast: one sending for all who listen, described by `c=` lines for who asks by `?vlcmulticast`; in a network of
//! its own, whose loopback interface carries the groups.

mod support;

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use support::clips;
use support::confine;
use support::publish::{Times, push};
use support::rtsp::{self, Heard, Peer};
use support::server::{self, Server};
use support::wire::PATIENCE;
use support::{flv, players, process, rtsp_players as shown};

const WITHIN: Duration = Duration::from_secs(15);
const SLACK: Duration = Duration::from_secs(40);
const PICTURES: u32 = 140;

/// Whether this is the test in its own network. The first of it starts it there, and says how it ended.
fn is_in_its_network(test: &str) -> bool {
    const INSIDE: &str = "PENSTOCK_TEST_NETWORK";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    // live555 wants an address that is not the loopback's.
    let script = "ip link set lo up && ip link set lo multicast on && ip route add 224.0.0.0/4 dev lo && \
                  ip link add one type veth peer name other && ip addr add 192.0.2.1/24 dev one && \
                  ip link set one up && ip link set other up && exec \"$@\"";
    let mut inner = Command::new(std::env::current_exe().expect("it runs"));
    inner.args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    process::run(test, &mut confine::in_namespace("--net", script, &inner), 4 * SLACK);
    false
}

fn start() -> Server {
    let streams = json!({
        "live": {"source": "push://127.0.0.1", "grace": 300, "multicast": "239.77.1.1", "multicastport": 15004},
        "plain": {"source": "push://127.0.0.1", "grace": 300}
    });
    let mut config = server::with_rtsp(server::config_with(2, streams));
    let protocols = config["config"]["protocols"].as_array_mut().expect("a list");
    let rtsp = protocols.last_mut().expect("it was added");
    rtsp["multicastinterface"] = json!("127.0.0.1");
    Server::start(&config)
}

const GROUP: &str = "RTP/AVP;multicast";

/// Both media of a stream by multicast, up to PLAY.
fn listen(server: &Server, path: &str) -> Peer {
    let mut peer = Peer::connect(server.rtsp(), path);
    assert_eq!(peer.ask("DESCRIBE", "", &[], "").status, 200);
    for (track, told) in [
        (
            "/track0",
            "RTP/AVP;multicast;destination=239.77.1.1;port=15004-15005;ttl=1",
        ),
        (
            "/track1",
            "RTP/AVP;multicast;destination=239.77.1.2;port=15006-15007;ttl=1",
        ),
    ] {
        let answer = peer.ask("SETUP", track, &[("Transport", GROUP)], "");
        assert_eq!((answer.status, answer.header("Transport")), (200, told), "{answer:?}");
    }
    let playing = peer.ask("PLAY", "/", &[], "");
    assert_eq!((playing.status, playing.header("RTP-Info")), (200, ""), "{playing:?}");
    peer
}

/// A socket that has joined a group.
fn joined(group: [u8; 4], port: u16) -> UdpSocket {
    let group = Ipv4Addr::from(group);
    let socket = UdpSocket::bind(SocketAddrV4::new(group, port)).expect("nobody else in this network");
    socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).expect("a group");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    socket
}

/// The next packet: its source, sequence number and type.
fn next(socket: &UdpSocket) -> (u32, u16, u8) {
    let mut packet = [0; 2048];
    let bytes = socket.recv(&mut packet).expect("a packet");
    assert!(bytes <= 1200, "{bytes} bytes");
    let source = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
    (source, rtsp::place(&packet[..bytes]).0, packet[1])
}

/// `name=value` lines of a description that begin so.
fn lines<'a>(text: &'a str, begin: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(begin)).collect()
}

#[test]
fn players_listen_to_one_sending() {
    if !is_in_its_network("players_listen_to_one_sending") {
        return;
    }
    let server = start();
    let clip = clips::B_FRAMES.file();
    let _publisher = push(&clip, &server.rtmp_url("live/live"), Times::Forever);
    server.wait_live("live", WITHIN);
    let url = server.rtsp_url("live");
    // Who leaves says goodbye to the group, and ffmpeg takes that for the stream's: it has seen enough before the others come.
    let ffmpeg = shown::ffmpeg(&url, "udp_multicast", 600);
    let seen = std::cell::Cell::new(0);
    ffmpeg.wait("25 pictures", SLACK, |from, line| {
        let is_picture = from == process::From::Stdout && line.starts_with("0,");
        seen.set(seen.get() + u32::from(is_picture));
        (seen.get() == 25).then_some(())
    });
    let gstreamer = rtsp::gstreamer_play(&format!("{url}?vlcmulticast"), "udp-mcast");
    let live555 = shown::live555(&format!("{url}?vlcmulticast"), "udp", PICTURES + 60);
    server.wait_counters("all listen", WITHIN, |counters| counters["viewers"] == 3);
    // However many listen, it is sent once.
    assert_eq!(server.counters()["datagram_viewers"], 1);
    drop(ffmpeg);
    players::gstreamer_counts(&gstreamer, PICTURES, SLACK);
    assert!(!gstreamer.said().contains("WARNING: from"), "{}", gstreamer.said());
    let received = shown::live555_received(&live555, SLACK);
    let sent = shown::units_of(&flv::tags(&std::fs::read(&clip).expect("made above")));
    for (medium, sent) in sent.iter().enumerate() {
        let round: Vec<_> = sent.iter().cycle().take(4 * sent.len()).copied().collect();
        let run = shown::assert_run("live555", &round, &received.media[medium]);
        assert!(run >= PICTURES as usize / 2, "{run} units of {medium}");
    }
    server.wait_counters("nobody listens", WITHIN, |counters| {
        (counters["viewers"], counters["datagram_viewers"]) == (0, 0)
    });
    assert_eq!(server.counters()["datagrams_dropped"], 0);
}

#[test]
fn a_group_is_described_joined_and_left() {
    if !is_in_its_network("a_group_is_described_joined_and_left") {
        return;
    }
    let server = start();
    let clip = clips::SHORT_GOPS.file();
    let publisher = push(&clip, &server.rtmp_url("live/live"), Times::Forever);
    let _plain = push(&clip, &server.rtmp_url("live/plain"), Times::Forever);
    server.wait_live("live", WITHIN);
    server.wait_live("plain", WITHIN);

    // Who asks for them is told of the groups; nobody else is.
    let text = |path: &str| Peer::connect(server.rtsp(), path).ask("DESCRIBE", "", &[], "").body;
    let wanted = text("live?vlcmulticast");
    assert_eq!(
        lines(&wanted, "c="),
        ["c=IN IP4 0.0.0.0", "c=IN IP4 239.77.1.1/1", "c=IN IP4 239.77.1.2/1"]
    );
    let ports = lines(&wanted, "m=");
    assert!(
        ports[0].starts_with("m=video 15004 ") && ports[1].starts_with("m=audio 15006 "),
        "{wanted}"
    );
    for path in ["live", "plain?vlcmulticast"] {
        assert_eq!(lines(&text(path), "c="), ["c=IN IP4 0.0.0.0"], "{path}");
    }

    // All listen to the same packets, whichever shard their connections came to.
    let (pictures, reports) = (joined([239, 77, 1, 1], 15004), joined([239, 77, 1, 1], 15005));
    let mut first = listen(&server, "live");
    let (source, sequence, _) = next(&pictures);
    let mut peers = vec![listen(&server, "live?vlcmulticast")];
    while server.counters()["viewers_placed"] == 0 {
        assert!(peers.len() < 40, "every connection came to the stream's home");
        peers.push(listen(&server, "live"));
    }
    assert_eq!(server.counters()["datagram_viewers"], 1);
    let (same, following, _) = next(&pictures);
    assert_eq!((same, following), (source, sequence.wrapping_add(1)));
    assert_eq!(next(&reports).2, 200, "a sender report");
    server.wait_log(&["multicast begins", "239.77.1.1:15004"], WITHIN);

    // One pauses and goes: the others hear on. When the last has gone, nothing is sent.
    assert_eq!(first.ask("PAUSE", "/", &[], "").status, 200);
    assert_eq!(first.ask("PLAY", "/", &[], "").status, 200);
    assert_eq!(first.ask("PAUSE", "/", &[], "").status, 200);
    peers.truncate(1);
    assert_eq!(next(&pictures).0, source);
    assert_eq!(server.counters()["datagram_viewers"], 1);
    assert_eq!(peers[0].ask("TEARDOWN", "/", &[], "").status, 200);
    server.wait_counters("nobody is sent to", WITHIN, |counters| {
        counters["datagram_viewers"] == 0
    });
    server.wait_log(&["multicast ends"], WITHIN);

    // Where there is no group, the next way is taken.
    let mut peer = Peer::connect(server.rtsp(), "plain");
    assert_eq!(peer.ask("DESCRIBE", "", &[], "").status, 200);
    assert_eq!(peer.ask("SETUP", "/track0", &[("Transport", GROUP)], "").status, 461);
    let both = format!("{GROUP},RTP/AVP/TCP;unicast;interleaved=0-1");
    let answer = peer.ask("SETUP", "/track0", &[("Transport", &both)], "");
    assert_eq!(answer.header("Transport"), "RTP/AVP/TCP;unicast;interleaved=0-1");

    // The end is said in the groups, and by the connection.
    assert_eq!(first.ask("PLAY", "/", &[], "").status, 200);
    publisher.signal("INT");
    let mut bytes = [0; 2048];
    let is_goodbye = |packet: &[u8]| packet.windows(2).any(|two| two[0] & 0xc0 == 0x80 && two[1] == 203);
    loop {
        let count = reports.recv(&mut bytes).expect("reports go on until the end");
        if is_goodbye(&bytes[..count]) {
            break;
        }
    }
    assert!(matches!(first.hear(), Heard::End));
    server.wait_log(&["viewer left", "RTSP", "live"], WITHIN);
}
