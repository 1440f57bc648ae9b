//! Zero-copy sends forced on a real server: what viewers of every output get is what was sent, whether they keep up, stop
//! for a while, or the machine allows little memory to be locked.
//!
//! Over loopback the kernel copies in the end, so this says nothing of what such sends cost. That no memory is reused under
//! them is shown in `tests/sim` and in the shard's own tests.

mod support;

use std::time::Duration;

use serde_json::{Value, json};

use support::clips;
use support::compare::{self, WHOLE};
use support::confine;
use support::flv;
use support::players;
use support::rtmp::Publisher;
use support::server::{self, Server};
use support::strict;
use support::tags;
use support::viewers::{self, Viewers, read};
use support::wire::{PATIENCE, Wire};

/// Media before the viewers come, less than a GOP: they miss nothing.
const HEAD_MILLIS: u32 = 400;
/// Times faster than the clip's clock.
const PACE: u32 = 8;
const WITHIN: Duration = Duration::from_secs(20);

fn config() -> Value {
    let mut config = server::config(1);
    config["config"]["penstock"]["zero_copy"] = json!("on");
    // Nobody is moved: those who stop get all of it in the end.
    config["config"]["penstock"]["lag_max"] = json!(60_000);
    config
}

/// Who watches beside those who read nothing until all is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// One an output, and ffmpeg.
    Readers,
    Nobody,
}

/// Pushes a clip to viewers who stop, and others; each has every frame.
fn play(server: &Server, beside: Beside) {
    let dir = support::scratch("zero-copy");
    let sent = flv::tags(&std::fs::read(clips::B_FRAMES.file()).expect("made by the call"));
    let (head, rest) = sent.split_at(sent.partition_point(|tag| tag.time < HEAD_MILLIS));
    let mut publisher = Publisher::start(server.rtmp, "live", PACE);
    publisher.send(head);
    let readers = (beside == Beside::Readers).then(|| {
        let file = dir.join("ffmpeg-rtmp.flv");
        let player = players::ffmpeg_record(&server.rtmp_url("app/live"), &file);
        (Viewers::join(server, &dir, "all"), player, file)
    });
    let stopped: Vec<_> = viewers::HTTP
        .into_iter()
        .map(|(_, kind)| {
            let mut wire = Wire::connect_narrow(server.http);
            wire.request("GET", &format!("/live.{kind}"), &[]);
            assert_eq!(wire.answer("GET").status, 200);
            (wire, dir.join(format!("stopped.{kind}")))
        })
        .collect();
    let watching = if readers.is_some() { 8 } else { 3 };
    server.wait_counters("every viewer", WITHIN, |counters| {
        counters["cursors_joined"] >= watching
    });
    publisher.restart_clock();
    publisher.send(rest);
    publisher.end();
    let mut files = Vec::new();
    for (wire, file) in stopped {
        let bytes = wire.finish().unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        std::fs::write(&file, bytes).expect("scratch is ours");
        strict::assert_strict(&file);
        files.push(file);
    }
    if let Some((viewers, player, file)) = readers {
        files.extend(viewers.files().into_iter().map(|(_, file)| file));
        player.succeed(WITHIN);
        files.push(file);
    }
    let recording = tags::recording("sent", &sent);
    for file in files {
        if let Err(difference) = compare::compare(&recording, &read(&file), WHOLE) {
            panic!("{}: {difference}", file.display());
        }
    }
    server.wait_counters("nothing is under way any more", PATIENCE, |counters| {
        ["zero_copy_bytes_outstanding", "memory_blocks_used"].map(|name| counters[name]) == [0, 0]
    });
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

#[test]
fn every_viewer_has_every_frame() {
    let server = Server::start(&config());
    play(&server, Beside::Readers);
    let counters = server.counters();
    assert!(counters["sends_zero_copy"] > 20, "{}", counters["sends_zero_copy"]);
    // Over loopback, all that are reported.
    assert!(counters["sends_zero_copy_copied"] > 0);
}

/// The kernel counts what such sends hold as locked memory, and refuses more: those ranges are copied.
#[test]
fn locked_memory_that_is_short() {
    const BYTES: u32 = 640 * 1024;
    let (_, path) = server::command("serve", &config());
    let copy = path.with_file_name("penstock");
    std::fs::copy(server::binary(), &copy).expect("scratch is ours");
    let (limit, arguments) = (format!("--memlock={BYTES}:{BYTES}"), path.display().to_string());
    let mut command = confine::as_user(61_011, &[&limit], &copy, &["serve", "-c", &arguments]);
    let server = Server::ready(&mut command, path);
    play(&server, Beside::Nobody);
    let counters = server.counters();
    assert!(counters["sends_zero_copy"] > 0 && counters["zero_copy_over_budget"] > 0);
}
