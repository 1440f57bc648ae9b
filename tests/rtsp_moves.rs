//! RTSP publishers whose stream is at home on another shard than they were accepted by: they go there before they hear that
//! they may begin, and nothing of what they have said meanwhile is lost.

mod support;

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use support::rtsp::{Peer, connect};
use support::server::{self, Server};

const WITHIN: Duration = Duration::from_secs(15);
/// Sounds that each publisher sends, and how many publishers come one after the other: that all of a dozen are accepted by
/// the home shard of four does not happen.
const SOUNDS: u16 = 200;
const PUBLISHERS: u16 = 12;

const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\na=control:streamid=0\r\n";

/// Everything that a publisher says, without waiting for any answer.
fn dialogue(to: &Peer, number: u16) -> Vec<u8> {
    let request = |sequence: u32, method: &str, track: &str, headers: &str, body: &str| {
        let length = body.len();
        let url = format!("{}{track}", to.base());
        format!("{method} {url} RTSP/1.0\r\nCSeq: {sequence}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
    };
    let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n";
    let mut said = [
        request(1, "OPTIONS", "", "", ""),
        request(2, "ANNOUNCE", "", "Content-Type: application/sdp\r\n", SDP),
        request(3, "SETUP", "/streamid=0", transport, ""),
        request(4, "RECORD", "", "", ""),
    ]
    .concat()
    .into_bytes();
    for sound in 0..SOUNDS {
        let mut packet = vec![0x80, 0];
        packet.extend(sound.wrapping_sub(9).to_be_bytes());
        packet.extend((u32::from(sound) * 160).to_be_bytes());
        packet.extend([0, 0, 7, number as u8]);
        packet.extend([0xFF; 160]);
        said.extend([b'$', 0]);
        said.extend((packet.len() as u16).to_be_bytes());
        said.extend(packet);
    }
    said.extend(request(5, "GET_PARAMETER", "", "", "").into_bytes());
    said
}

#[test]
fn a_publisher_moves_to_its_home_and_nothing_is_lost() {
    let streams = json!({"live": {"source": "push://127.0.0.1", "grace": 10_000}});
    let server = Server::start(&server::with_rtsp(server::config_with(4, streams)));
    for number in 0..PUBLISHERS {
        let mut peer = Peer::connect(server.rtsp(), "live");
        let said = dialogue(&peer, number);
        // Some in one write, some in pieces that end anywhere.
        match number % 3 {
            0 => peer.send(&said),
            step => said.chunks(97 * usize::from(step)).for_each(|piece| peer.send(piece)),
        }
        for sequence in 1..=5 {
            let answer = peer.answer();
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.header("CSeq"), sequence.to_string());
        }
        assert_eq!(peer.ask("TEARDOWN", "", &[], "").status, 200);
        let left = server.wait_log(&["publisher left", &format!("frames={}", u32::from(SOUNDS))], WITHIN);
        assert!(left.contains("live"), "{left}");
        let times = u64::from(number) + 1;
        server.wait_counters("it is gone", WITHIN, |counters| {
            counters["publishers"] == 0 && counters["publishers_accepted"] == times
        });
    }
    let all = server.process.said();
    let whole = format!("frames={SOUNDS} ");
    assert_eq!(all.matches(&whole).count(), usize::from(PUBLISHERS), "{all}");
    let counters = server.counters();
    assert!(counters["publishers_moved"] > 0, "{counters:?}");
    for none in [
        "packets_lost",
        "packets_late",
        "packets_reordered",
        "packets_unreadable",
        "protocol_errors",
    ] {
        assert_eq!(counters[none], 0, "{none}: {counters:?}");
    }
    let (status, _) = server.terminate(WITHIN);
    assert!(status.success(), "{status}");
}

/// Peers that go away in the middle of everything leave nothing behind.
#[test]
fn one_that_goes_on_its_way_leaves_the_name_free() {
    let streams = json!({"live": {"source": "push://127.0.0.1", "grace": 100}});
    let server = Server::start(&server::with_rtsp(server::config_with(4, streams)));
    for number in 0..PUBLISHERS {
        let said = dialogue(&Peer::connect(server.rtsp(), "live"), number);
        let mut stream = connect(server.rtsp());
        stream
            .write_all(&said[..said.len() * usize::from(number) / usize::from(PUBLISHERS)])
            .expect("it listens");
    }
    let all = 2 * u64::from(PUBLISHERS);
    server.wait_counters("all came and are gone", WITHIN, |counters| {
        let is_empty = counters["publishers"] == 0 && counters["streams"] == 0 && counters["connections_open"] == 0;
        is_empty && counters["connections_accepted"] >= all
    });
    // The last may be on its way still: its name is free when it has arrived.
    let deadline = Instant::now() + WITHIN;
    loop {
        let mut peer = Peer::connect(server.rtsp(), "live");
        let answer = peer.ask("ANNOUNCE", "", &[("Content-Type", "application/sdp")], SDP);
        if answer.status == 200 {
            break;
        }
        assert!(answer.status == 455 && Instant::now() < deadline, "{answer:?}");
    }
    assert_eq!(server.counters()["connections_panicked"], 0);
}
