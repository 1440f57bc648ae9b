//! The players that people watch RTSP with: each shows seconds of a stream that goes on, by every way that it has, without a
//! word of complaint; and those that can write what they got have got what was sent.

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use support::clips::{self, Clip, Modern};
use support::compare::{self, REPORTED_JOINED, Rules, Times};
use support::process::Process;
use support::publish::{self, newer_push, push};
use support::rtsp::{self, TCP, UDP};
use support::server::{self, Server};
use support::{flv, players, rtsp_players as shown};

/// Players that start at once wait for each other on two cores.
const SLACK: Duration = Duration::from_secs(40);
const RATE: u32 = 25;

/// How long each player plays, s.
fn seconds() -> u32 {
    match std::env::var_os("PENSTOCK_LONG") {
        Some(_) => 20,
        None => 6,
    }
}

fn server_of(names: &[&str]) -> Server {
    let streams: serde_json::Map<_, _> = names
        .iter()
        .map(|name| ((*name).to_owned(), json!({"source": "push://127.0.0.1", "grace": 300})))
        .collect();
    Server::start(&server::with_rtsp(server::config_with(2, streams.into())))
}

/// A publisher that goes on for ever.
fn on_air(server: &Server, name: &str, clip: Clip) -> Process {
    let publisher = push(
        &clip.file(),
        &server.rtmp_url(&format!("live/{name}")),
        publish::Times::Forever,
    );
    server.wait_live(name, Duration::from_secs(10));
    publisher
}

#[test]
fn players_show_what_goes_on() {
    let server = server_of(&["both", "sound"]);
    let _publishers = [
        on_air(&server, "both", clips::B_FRAMES),
        on_air(&server, "sound", clips::AUDIO_ONLY),
    ];
    let before = server.counters()["viewers_total"];
    let (both, sound) = (server.rtsp_url("both"), server.rtsp_url("sound"));
    let pictures = seconds() * RATE;
    let ffmpegs = [(&both, TCP), (&both, UDP), (&sound, TCP), (&sound, UDP)]
        .map(|(url, transport)| shown::ffmpeg(url, transport, seconds()));
    // The last lets GStreamer choose, which begins with UDP.
    let gstreamers = ["tcp", "udp", "tcp+udp-mcast+udp"].map(|ways| rtsp::gstreamer_play(&both, ways));
    let mpvs = [TCP, UDP].map(|transport| shown::mpv(&both, transport, pictures));
    let live555s = [TCP, UDP].map(|transport| shown::live555(&both, transport, pictures));

    for player in &ffmpegs {
        player.succeed(SLACK);
        let (shown, heard) = players::ffmpeg_frames(player);
        let is_sound = player.name.contains("/sound");
        let (shown, heard) = if is_sound {
            (pictures, shown)
        } else {
            (shown as u32, heard)
        };
        // Pictures before the first sound, and what is held back to be put in order.
        assert!(shown + RATE >= pictures, "{}: {shown} pictures", player.name);
        assert!(heard as u32 + 47 >= seconds() * 47, "{}: {heard} sounds", player.name);
        let complaints = player
            .lines()
            .into_iter()
            .filter(|(from, _)| *from == support::process::From::Stderr);
        assert_eq!(complaints.count(), 0, "{}", player.said());
    }
    for player in &gstreamers {
        players::gstreamer_counts(player, pictures, SLACK);
        // Not GLib's words about how gst-launch links.
        assert!(!player.said().contains("WARNING: from"), "{}", player.said());
    }
    for player in &mpvs {
        shown::mpv_played(player, SLACK);
    }
    let sent = shown::units_of(&flv::tags(&std::fs::read(clips::B_FRAMES.file()).expect("made above")));
    for player in &live555s {
        let received = shown::live555_received(player, SLACK);
        for (medium, sent) in sent.iter().enumerate() {
            // The clip goes round.
            let round: Vec<_> = sent.iter().cycle().take(10 * sent.len()).copied().collect();
            let name = format!("{}, medium {medium}", player.name);
            let run = shown::assert_run(&name, &round, &received.media[medium]);
            assert!(run as u32 + 2 * seconds() >= pictures, "{name}: {run} units");
        }
        assert!(
            received.reported > 2 * pictures as usize / 3,
            "{} have times",
            received.reported
        );
    }
    let counters = server.counters();
    let players = (ffmpegs.len() + gstreamers.len() + mpvs.len() + live555s.len()) as u64;
    assert_eq!(counters["viewers_total"] - before, players, "{counters:?}");
    assert_eq!(
        (counters["protocol_errors"], counters["datagrams_dropped"]),
        (0, 0),
        "{counters:?}"
    );
    let (status, _) = server.terminate(Duration::from_secs(5));
    assert!(status.success(), "{status}");
}

const CODECS: [Modern; 3] = [clips::HEVC_AAC, clips::H264_MP3, clips::H264_AC3];

fn check(clip: &Path, file: &Path, rules: Rules) {
    compare::assert_equal(clip, file, rules);
    compare::assert_decodes(file);
}

/// Of streams that end: with and without B-frames, without a picture, without sound, and of other codecs.
#[test]
fn players_write_what_was_sent() {
    let plain = [
        clips::B_FRAMES,
        clips::NO_B_FRAMES,
        clips::AUDIO_ONLY,
        clips::VIDEO_ONLY,
    ];
    let names: Vec<&str> = plain
        .iter()
        .map(|clip| clip.name)
        .chain(CODECS.iter().map(|clip| clip.name))
        .collect();
    let server = server_of(&names);
    let dir = support::scratch("written");
    let files: Vec<_> = plain
        .iter()
        .map(Clip::file)
        .chain(CODECS.iter().map(Modern::file))
        .collect();
    let mut running = Vec::new();
    let mut publishers = Vec::new();
    let (first, url, written) = (&files[0], server.rtsp_url(names[0]), dir.join("gstreamer.mkv"));
    let mut others = None;
    for (name, file) in names.iter().zip(&files) {
        publishers.push(newer_push(
            file,
            &server.rtmp_url(&format!("live/{name}")),
            publish::Times::Once,
        ));
        server.wait_live(name, Duration::from_secs(10));
        others.get_or_insert_with(|| {
            (
                shown::gstreamer_record(&url, "tcp", &written),
                shown::live555(&url, TCP, 0),
            )
        });
        let written = dir.join(format!("{name}.mkv"));
        let player = rtsp::ffmpeg_record(&server.rtsp_url(name), TCP, &written);
        running.push((player, file, written));
    }
    let (gstreamer, live555) = others.expect("there is a first one");
    for publisher in &publishers {
        publisher.succeed(SLACK);
    }
    for (player, file, written) in &running {
        player.succeed(SLACK);
        assert_eq!(player.said(), "", "{}", player.name);
        check(file, written, REPORTED_JOINED);
    }
    gstreamer.succeed(SLACK);
    let said = gstreamer.said();
    assert!(!said.contains("ERROR") && !said.contains("WARNING: from"), "{said}");
    let own_times = Rules {
        times: Times::Own,
        ..REPORTED_JOINED
    };
    check(first, &written, own_times);
    let received = shown::live555_received(&live555, SLACK);
    assert_eq!(received.goodbyes, 2, "the end is said of both");
    let sent = shown::units_of(&flv::tags(&std::fs::read(first).expect("made above")));
    for (medium, sent) in sent.iter().enumerate() {
        let run = shown::assert_run("live555", sent, &received.media[medium]);
        assert_eq!(received.media[medium].last(), sent.last(), "to the end");
        assert!(2 * run > sent.len(), "medium {medium}: {run} units");
    }
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}
