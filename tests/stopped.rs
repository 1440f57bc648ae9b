//! A fifth of a hundred viewers stops reading, of HTTP and of RTMP: nothing more is sent to them, and the others, who come
//! and play beside them, have every frame. The stopped ones are ended with their reason, and what they held comes back.
//!
//! `slow` has viewers who read on, one by one; here it is the crowd, by counters.

mod support;

use std::collections::BTreeMap;

use serde_json::json;

use support::clips;
use support::compare::{self, WHOLE};
use support::crowd::{Crowd, Got};
use support::flv::{self, Tag, VIDEO};
use support::rtmp::{Player, Publisher, SlowPlayer};
use support::server::{self, Server};
use support::tags;
use support::wire::{PATIENCE, Recorder, Wire};

const STOPPED_HTTP: usize = 10;
const STOPPED_RTMP: usize = 10;
const HEALTHY_HTTP: usize = 70;
const HEALTHY_RTMP: usize = 10;
/// The ring's window of three seconds and two feeds with what stopped readers hold of them: 6 s of 1.7 Mb/s three times.
const BLOCKS_MAX: u64 = 60;

fn sends(counters: &BTreeMap<String, u64>) -> u64 {
    counters["sends"] + counters["sendfiles"]
}

fn is_at_least(tag: &Tag, millis: u32) -> bool {
    tag.time >= millis
}

#[test]
fn a_fifth_of_the_viewers_stops_and_the_others_notice_nothing() {
    let mut config = server::config(2);
    config["config"]["penstock"]["stall_max"] = json!(5_000);
    config["config"]["penstock"]["lag_max"] = json!(1_000);
    config["streams"]["live"]["DVR"] = json!(3_000);
    let server = Server::start(&config);
    let dir = support::scratch("stopped");
    let all = flv::tags(&std::fs::read(clips::NO_B_FRAMES.file()).expect("made by the call"));
    let (head, rest) = all.split_at(all.partition_point(|tag| !is_at_least(tag, 400)));
    // Behind the second keyframe, from which those who come then begin.
    let (stopping, rest) = rest.split_at(rest.partition_point(|tag| !is_at_least(tag, 3_000)));
    let (unseen, rest) = rest.split_at(rest.partition_point(|tag| !is_at_least(tag, 3_900)));
    let mut publisher = Publisher::start(server.rtmp, "live", 8);
    publisher.send(head);
    let mut stopped_http = Vec::new();
    for _ in 0..STOPPED_HTTP {
        let mut wire = Wire::connect_narrow(server.http);
        wire.request("GET", "/live.flv", &[]);
        assert_eq!(wire.answer("GET").status, 200);
        stopped_http.push(wire);
    }
    let players = (0..STOPPED_RTMP).map(|_| SlowPlayer::start(server.rtmp, "live"));
    let stopped_rtmp: Vec<SlowPlayer> = players.collect();
    publisher.restart_clock();
    publisher.send(stopping);
    let stopped = (STOPPED_HTTP + STOPPED_RTMP) as u64;
    server.wait_counters("all of their sockets are full", PATIENCE, |counters| {
        counters["sends_full"] >= stopped
    });
    nothing_is_sent(&server, &mut publisher, unseen);
    // The healthy ones come, and have all there is from the newest keyframe on.
    let recorder = Recorder::start(server.http, "/live.flv", &dir.join("healthy.flv"));
    assert_eq!(recorder.answer().status, 200);
    let crowd = Crowd::join(server.http, "/live.flv", HEALTHY_HTTP - 1);
    crowd.progress.wait_beyond(0);
    let players: Vec<Player> = (0..HEALTHY_RTMP).map(|_| Player::start(server.rtmp, "live")).collect();
    publisher.restart_clock();
    publisher.send(rest);
    let used = server.counters()["memory_blocks_used"];
    assert!(used <= BLOCKS_MAX, "{used} blocks are in use");
    publisher.end();
    let file = recorder.path.clone();
    recorder.finish();
    let bytes = std::fs::read(&file).expect("recorded before");
    let is_key = |tag: &Tag| tag.is_frame(VIDEO) && tag.body[0] >> 4 == 1;
    let key = all.iter().rposition(|tag| is_key(tag) && !is_at_least(tag, 3_900));
    let key = key.expect("there is one every two seconds");
    let mut sent: Vec<Tag> = all[..key].iter().filter(|tag| tag.is_header()).cloned().collect();
    sent.extend_from_slice(&all[key..]);
    let sent = tags::recording("sent", &sent);
    let check = |tags: &[Tag]| {
        if let Err(difference) = compare::compare(&sent, &tags::recording("healthy", tags), WHOLE) {
            panic!("a healthy viewer lost something: {difference}");
        }
    };
    check(&flv::tags(&bytes));
    let got = crowd.finish();
    assert!(
        got.iter().all(|one| *one == Got::of(&bytes)),
        "viewers got other bytes: {got:?}"
    );
    players.into_iter().for_each(|player| check(&player.finish()));
    assert!(sent.tracks[0].frames.len() > 40);
    server.wait_counters("the stopped ones are ended", PATIENCE, |counters| {
        (counters["connections_closed_stalled"], counters["viewers"]) == (stopped, 0)
    });
    let counters = server.counters();
    for name in [
        "cursors_skipped",
        "cursors_closed_lag",
        "cursors_closed_evicted",
        "feeds_ended_memory",
    ] {
        assert_eq!(counters[name], 0, "{name}");
    }
    server.wait_counters("nothing is held any more", PATIENCE, |counters| {
        (counters["connections_open"], counters["memory_blocks_used"]) == (0, 0)
    });
    drop((stopped_http, stopped_rtmp));
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// Sends media while nobody reads: it reaches the feeds, and no socket.
fn nothing_is_sent(server: &Server, publisher: &mut Publisher, media: &[Tag]) {
    let before = server.counters();
    let frames = media.iter().filter(|tag| !tag.is_header()).count() as u64;
    publisher.restart_clock();
    publisher.send(media);
    server.wait_counters("it is in both feeds", PATIENCE, |counters| {
        counters["records_out"] >= before["records_out"] + 2 * frames
    });
    // Every class has had a turn since.
    server.wait_counters("a second", PATIENCE, |counters| {
        ["turns_buffered", "turns_interactive"]
            .iter()
            .all(|name| counters[*name] > before[*name])
    });
    let after = server.counters();
    assert_eq!(
        sends(&after),
        sends(&before),
        "something was sent to a socket that is full"
    );
    assert_eq!(after["sends_full"], before["sends_full"]);
}
