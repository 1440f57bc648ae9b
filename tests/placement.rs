//! Where viewers are served on a real server of two shards: together on their stream's home, on both when that has its
//! share, and moved while they watch when loads grow apart. Whatever happens, each has every byte, once.
//!
//! The kernel spreads connections over shards by a hash that nobody can foretell; with a dozen of them some are accepted
//! on each. Where they are served is told by counters: a shard without viewers is rung by no doorbell.

mod support;

use std::collections::BTreeMap;

use serde_json::json;

use support::audience::{ALL, Audience};
use support::clips::B_FRAMES;
use support::flv::Tag;
use support::rtmp::Publisher;
use support::server::{self, Server};
use support::wire::{PATIENCE, Recorder, Wire};

/// Media before the viewers come, less than a GOP: they miss nothing.
const HEAD_MILLIS: u32 = 400;
/// Times faster than its clock.
const PACE: u32 = 4;
/// With the audience's four: a dozen.
const MORE: usize = 8;

fn server(shard_share: u32) -> Server {
    let mut config = server::config(2);
    config["config"]["penstock"]["shard_share"] = json!(shard_share);
    Server::start(&config)
}

/// A stream with a dozen viewers of every output, who have come one after the other.
struct OnAir {
    server: Server,
    publisher: Publisher,
    clip: Vec<Tag>,
    sent: usize,
    audience: Audience,
    more: Vec<Recorder>,
    /// Every second of those who have come, if they were asked for.
    leaving: Vec<Wire>,
}

/// Whether every second viewer is one that will leave.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Company {
    Stays,
    Leaves,
}

impl OnAir {
    fn begin(name: &str, shard_share: u32, company: Company) -> OnAir {
        let server = server(shard_share);
        let clip = B_FRAMES.part(B_FRAMES.seconds * 1000);
        let mut publisher = Publisher::start(server.rtmp, "live", PACE);
        let sent = clip.partition_point(|tag| tag.time < HEAD_MILLIS);
        publisher.send(&clip[..sent]);
        let dir = support::scratch(name);
        let mut leaving = Vec::new();
        let more = (0..MORE).map(|number| {
            if company == Company::Leaves {
                let mut wire = Wire::connect(server.http);
                wire.request("GET", "/live.flv", &[]);
                assert_eq!(wire.answer("GET").status, 200);
                leaving.push(wire);
            }
            let kind = ALL[number % ALL.len()];
            let file = dir.join(format!("{number}.{kind}"));
            let viewer = Recorder::start(server.http, &format!("/live.{kind}"), &file);
            assert_eq!(viewer.answer().status, 200);
            viewer
        });
        let more = more.collect();
        let audience = Audience::join(&server, "live", &ALL);
        publisher.restart_clock();
        OnAir {
            server,
            publisher,
            clip,
            sent,
            audience,
            more,
            leaving,
        }
    }

    fn send_until(&mut self, millis: u32) {
        let end = self.clip.partition_point(|tag| tag.time < millis);
        self.publisher.send(&self.clip[self.sent..end]);
        self.sent = end;
    }

    /// What the counters say before and after some seconds of media, which everybody has begun to get.
    fn counters_over(&mut self, millis: u32) -> [BTreeMap<String, u64>; 2] {
        let before = self.server.counters();
        let records = before["records_out"];
        self.send_until(millis);
        self.server
            .wait_counters("media is made", PATIENCE, |counters| counters["records_out"] > records);
        [before, self.server.counters()]
    }

    /// The rest of the clip: each viewer has all of it.
    fn end(mut self) {
        self.send_until(u32::MAX);
        self.publisher.end();
        let seen = self.audience.finish();
        for viewer in self.more {
            let file = viewer.path.clone();
            let kind = file.extension().expect("one of ours").to_string_lossy().into_owned();
            viewer.finish();
            let (got, whole) = (std::fs::read(&file), std::fs::read(seen.file(&kind)));
            assert!(got.expect("recorded") == whole.expect("recorded"), "{}", file.display());
        }
        seen.assert_saw(&self.clip);
        self.server.wait_counters("nobody is left", PATIENCE, |counters| {
            counters["viewers"] + counters["feeds"] + counters["streams"] + counters["connections_open"] == 0
        });
        let (status, _) = self.server.terminate(PATIENCE);
        assert!(status.success());
    }
}

#[test]
fn the_first_viewers_are_served_on_their_streams_home_and_nothing_is_done_elsewhere() {
    let mut air = OnAir::begin("home", 50, Company::Stays);
    let [before, after] = air.counters_over(3_000);
    let placed = before["viewers_placed"];
    assert!(
        (1..=MORE as u64 + 4).contains(&placed),
        "{placed} were accepted elsewhere"
    );
    assert_eq!((before["viewers"], before["feeds"]), (MORE as u64 + 4, 4));
    assert!(after["records_out"] > before["records_out"] + 100);
    assert_eq!(after["doorbells"], before["doorbells"], "the other shard is not woken");
    assert_eq!(after["viewers_moved"], 0);
    air.end();
}

#[test]
fn beyond_its_share_a_stream_is_served_on_both_shards() {
    let mut air = OnAir::begin("spread", 0, Company::Stays);
    let [before, after] = air.counters_over(3_000);
    assert!(before["viewers_placed"] > 0);
    assert!(after["doorbells"] > before["doorbells"], "the other shard has viewers");
    air.end();
}

/// Viewers are placed in turn on the one and on the other shard; every second one leaves.
#[test]
fn when_loads_grow_apart_viewers_move_while_they_watch() {
    let mut air = OnAir::begin("moves", 0, Company::Leaves);
    air.leaving.clear();
    // One second of media goes by while they move, and another behind it.
    let mut millis = HEAD_MILLIS;
    while air.server.counters()["viewers_moved"] == 0 && millis < 3_000 {
        millis += 50;
        air.send_until(millis);
    }
    air.server
        .wait_counters("some move", PATIENCE, |counters| counters["viewers_moved"] > 0);
    let line = air
        .server
        .wait_log(&["viewers moved to a shard with less load"], PATIENCE);
    assert!(line.contains("viewers="), "{line}");
    air.end();
}
