//! Every codec that ffmpeg can send or read over RTSP, both ways: what it pushes comes out of RTSP and of the other outputs
//! that carry it, and what is pushed over RTMP comes out of RTSP, frame for frame. Many streams on one server at once.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use support::clips;
use support::compare::{self, End, REPORTED_JOINED, Rules, Times as Compared};
use support::flv;
use support::normal::{self, Kind, Recording, Source, Track};
use support::players::newer_ffmpeg;
use support::process::{self, Process};
use support::publish::{self, Times};
use support::rtsp::{self, Peer, TCP};
use support::server::{self, Server};
use support::strict;
use support::tags;
use support::wire::Recorder;

/// Clips end this long after they begin, on any machine.
const WITHIN: Duration = Duration::from_secs(30);

/// Up to where ffmpeg has sent it: it drops sounds that are in a packet which is not full when it ends.
const NEAR_END: Rules = Rules {
    end: End::Anywhere,
    ..REPORTED_JOINED
};
/// GStreamer's reports follow when it sends, which wavers by more than is compared where thirteen push at once.
const WAVERING: Rules = Rules {
    times: Compared::Own,
    ..NEAR_END
};
/// Frames of sound that ffmpeg may drop so, and that a player may miss who begins with the first picture.
const SOUNDS_MISSED_MAX: usize = 16;
/// Of sound that is cut anew into packets, which part of its bytes comes at the least.
const SAMPLES_MIN: f64 = 0.85;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    /// Debian's ffmpeg.
    Usual,
    /// For AV1.
    Newer,
    /// GStreamer, for AC-3, which ffmpeg reads and cannot send.
    GStreamer,
}

impl Program {
    /// Who reads it back.
    fn reader(self) -> PathBuf {
        match self {
            Program::Usual | Program::GStreamer => "ffmpeg".into(),
            Program::Newer => newer_ffmpeg(),
        }
    }

    fn push(self, clip: &Path, url: &str, options: &[&str]) -> Process {
        if self != Program::GStreamer {
            return rtsp::ffmpeg_push_with(&self.reader(), clip, url, options);
        }
        let pipeline = format!(
            "rtspclientsink name=s location={url} protocols=tcp filesrc location={} ! matroskademux name=d \
             d.video_0 ! queue ! h264parse ! s.sink_0 d.audio_0 ! queue ! ac3parse ! s.sink_1",
            clip.display()
        );
        let mut command = Command::new("gst-launch-1.0");
        command.args(pipeline.split_whitespace());
        Process::start("gst-launch-1.0 (RTSP publisher)", &mut command)
    }
}

/// A stream: its clip, how it is pushed, and the outputs beside RTSP that carry its pictures or its sound.
struct Case {
    name: &'static str,
    video: &'static str,
    audio: &'static str,
    program: Program,
    options: &'static [&'static str],
    outputs: &'static [Output],
    /// Where viewers begin at the newest picture, as each is key or none is read: how much they may have missed.
    begins: Begins,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    First,
    Within,
}

/// Three seconds of both.
const PICTURES_MISSED_MAX: usize = 75;
const SOUNDS_WITHIN_MAX: usize = 160;
const SAMPLES_WITHIN_MIN: f64 = 0.4;

/// A file that is recorded over HTTP, and which tracks of the clip are in it.
#[derive(Clone, Copy)]
struct Output {
    extension: &'static str,
    kinds: &'static [Kind],
}

const fn output(extension: &'static str, kinds: &'static [Kind]) -> Output {
    Output { extension, kinds }
}

const BOTH: &[Kind] = &[Kind::Video, Kind::Audio];
const PICTURES: &[Kind] = &[Kind::Video];
const FLV: Output = output("flv", BOTH);
const TS: Output = output("ts", BOTH);
const MP4: Output = output("mp4", BOTH);

const X264: &str = "-c:v libx264 -preset veryfast -bf 2";
const X265: &str = "-c:v libx265 -preset ultrafast -x265-params bframes=2:log-level=error";
const VPX8: &str = "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 300k";

const fn case(name: &'static str, video: &'static str, audio: &'static str, outputs: &'static [Output]) -> Case {
    Case {
        name,
        video,
        audio,
        program: Program::Usual,
        options: &["-rtsp_transport", TCP],
        outputs,
        begins: Begins::First,
    }
}

impl Case {
    fn rules(&self) -> (Rules, Begins) {
        let is_wavering = self.program == Program::GStreamer;
        (if is_wavering { WAVERING } else { NEAR_END }, self.begins)
    }

    fn clip(&self) -> PathBuf {
        clips::short(self.name, self.video, self.audio)
    }
}

const CASES: [Case; 13] = [
    case("h264-aac", X264, "-c:a aac -b:a 128k", &[FLV, TS, MP4]),
    Case {
        options: &["-rtsp_transport", TCP, "-rtpflags", "latm"],
        ..case("h264-latm", X264, "-c:a aac -b:a 96k", &[FLV, TS, MP4])
    },
    case("h264-mp3", X264, "-ar 44100 -c:a libmp3lame -b:a 128k", &[FLV, TS, MP4]),
    case("h264-mp2", X264, "-c:a mp2 -b:a 384k", &[TS]),
    case(
        "h264-alaw",
        X264,
        "-c:a pcm_alaw -ar 8000 -ac 1",
        &[FLV, output("ts", PICTURES), output("mp4", PICTURES)],
    ),
    case("hevc-aac", X265, "-c:a aac -b:a 128k", &[TS, MP4]),
    Case {
        program: Program::GStreamer,
        ..case("h264-ac3", X264, "-c:a ac3 -b:a 192k", &[TS, MP4])
    },
    Case {
        options: &["-strict", "experimental", "-rtsp_transport", TCP],
        ..case(
            "vp9-opus",
            "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 300k",
            "-c:a libopus -b:a 96k",
            &[MP4],
        )
    },
    Case {
        program: Program::Newer,
        options: &["-strict", "experimental", "-rtsp_transport", TCP],
        ..case(
            "av1-opus",
            "-c:v libaom-av1 -usage realtime -cpu-used 8 -b:v 300k",
            "-c:a libopus -b:a 64k",
            &[MP4],
        )
    },
    case("vp8-ulaw", VPX8, "-c:a pcm_mulaw -ar 8000 -ac 1", &[]),
    case("vp8-l16", VPX8, "-c:a pcm_s16be -ar 44100 -ac 2", &[]),
    Case {
        begins: Begins::Within,
        ..case(
            "mjpeg-g722",
            "-c:v mjpeg -huffman default -q:v 8 -pix_fmt yuvj420p",
            "-c:a g722 -ar 16000 -ac 1",
            &[],
        )
    },
    // Formats that are not read: their payloads pass as they are.
    Case {
        begins: Begins::Within,
        ..case(
            "opaque",
            "-c:v mpeg4 -g 1 -q:v 12",
            "-c:a g726 -b:a 32k -ar 8000 -ac 1",
            &[],
        )
    },
];

fn server_with<'a>(names: impl Iterator<Item = &'a str>) -> Server {
    let stream = |name: &str| (name.to_string(), json!({"source": "push://127.0.0.1", "grace": 300}));
    let streams: serde_json::Map<_, _> = names.map(stream).collect();
    Server::start(&server::with_rtsp(server::config_with(2, streams.into())))
}

/// Waits until RTSP describes so many tracks; each try waits for an answer.
fn wait_described(server: &Server, name: &str, tracks: usize) {
    let deadline = Instant::now() + WITHIN;
    server.process.wait_words(&["publisher accepted", name], WITHIN);
    loop {
        let mut peer = Peer::connect(server.rtsp(), name);
        let answer = peer.ask("DESCRIBE", "", &[("Accept", "application/sdp")], "");
        let found = answer.body.lines().filter(|line| line.starts_with("m=")).count();
        if (answer.status, found) == (200, tracks) {
            return;
        }
        assert!(Instant::now() < deadline, "{name} is not described: {answer:?}");
    }
}

/// Who watches a stream, and where it is written.
struct Watched {
    clip: PathBuf,
    publisher: Process,
    player: Process,
    played: PathBuf,
    recorders: Vec<(Recorder, Output)>,
}

impl Watched {
    fn new(server: &Server, case: &Case, dir: &Path) -> Self {
        let clip = case.clip();
        let publisher = case.program.push(&clip, &server.rtsp_url(case.name), case.options);
        wait_described(server, case.name, 2);
        let file = |extension: &str| dir.join(format!("{}.{extension}", case.name));
        let played = file("mkv");
        let player = rtsp::ffmpeg_record_with(&case.program.reader(), &server.rtsp_url(case.name), TCP, &played);
        let record = |output: &Output| {
            let (name, extension) = (case.name, output.extension);
            let recorder = Recorder::start(server.http, &format!("/{name}.{extension}"), &file(extension));
            (recorder, *output)
        };
        Watched {
            clip,
            publisher,
            player,
            played,
            recorders: case.outputs.iter().map(record).collect(),
        }
    }
}

/// Sound without frames of its own is cut as packets are: its bytes are compared.
fn is_samples(codec: &str) -> bool {
    codec.starts_with("pcm_") || codec.starts_with("adpcm_")
}

fn only(recording: &Recording, keep: impl Fn(Kind, &str) -> bool) -> Recording {
    let mut kept = recording.clone();
    kept.tracks.retain(|track| keep(track.kind, &track.codec));
    kept
}

fn bytes_of(file: &Path) -> Option<Vec<u8>> {
    let (_, _, sources) = normal::sources(file);
    let samples: Option<Source> = sources.into_iter().find(|source| is_samples(&source.codec));
    Some(samples?.packets.into_iter().flat_map(|packet| packet.bytes).collect())
}

/// What pictures look like: ffmpeg writes another head to JPEG that came over RTP.
fn decoded(file: &Path) -> Vec<String> {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-v", "error", "-i"]).arg(file);
    command.args(["-map", "0:v", "-f", "framehash", "-hash", "md5", "-"]);
    let said = process::run("ffmpeg (pictures)", &mut command, WITHIN);
    let hash = |line: &str| line.rsplit(',').next().unwrap_or_default().trim().to_string();
    said.lines().filter(|line| !line.starts_with('#')).map(hash).collect()
}

/// FLV is read by our own reader, which knows sequence headers in the middle.
fn recording(file: &Path) -> Recording {
    if file.extension().is_some_and(|extension| extension == "flv") {
        let bytes = std::fs::read(file).expect("recorded before");
        return tags::recording("FLV", &flv::tags(&bytes));
    }
    normal::read(file)
}

const UNTOLD: [&str; 2] = ["vp9", "mpeg4"];

fn got_over_rtp(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "mkv")
}

fn same(clip: &Path, file: &Path, kinds: &[Kind], (rules, begins): (Rules, Begins)) {
    let (mut sent, mut got) = (normal::read(clip), recording(file));
    // ffmpeg 5.1 does not say of all codecs which pictures that came over RTP are key.
    let is_untold = |track: &&mut Track| UNTOLD.contains(&track.codec.as_str()) && got_over_rtp(file);
    for track in sent.tracks.iter_mut().chain(&mut got.tracks).filter(is_untold) {
        track.frames.iter_mut().for_each(|frame| frame.key = true);
    }
    let title = file.display();
    assert_eq!(got.tracks.len(), kinds.len(), "{title}: tracks");
    let framed = |kind: Kind, codec: &str| kinds.contains(&kind) && !is_samples(codec) && codec != "mjpeg";
    same_frames(&only(&sent, framed), &only(&got, framed), (rules, begins));
    let pictures_missed_max = if begins == Begins::First {
        0
    } else {
        PICTURES_MISSED_MAX
    };
    if sent.tracks.iter().any(|track| track.codec == "mjpeg") {
        let (sent, got) = (decoded(clip), decoded(file));
        assert!(sent.ends_with(&got), "{title}: its pictures are not those sent");
        let missing = sent.len() - got.len();
        assert!(
            missing <= pictures_missed_max,
            "{title}: {missing} pictures are missing"
        );
    }
    if let (true, Some(sent)) = (kinds.contains(&Kind::Audio), bytes_of(clip)) {
        let got = bytes_of(file).unwrap_or_default();
        let least = if begins == Begins::First {
            SAMPLES_MIN
        } else {
            SAMPLES_WITHIN_MIN
        };
        let part = got.len() as f64 / sent.len() as f64;
        assert!(
            (least..=1.0).contains(&part),
            "{title}: {} bytes of {}",
            got.len(),
            sent.len()
        );
        let is_part = sent.windows(got.len()).any(|part| part == got);
        assert!(is_part, "{title}: its samples are not those sent");
    }
}

fn same_frames(sent: &Recording, got: &Recording, (rules, begins): (Rules, Begins)) {
    if sent.tracks.is_empty() {
        return;
    }
    if let Err(difference) = compare::compare(sent, got, rules) {
        panic!("{} is not what was sent: {difference}", got.name);
    }
    for (sent, track) in sent.tracks.iter().zip(&got.tracks) {
        let missing = sent.frames.len() - track.frames.len();
        let missing_max = match (sent.kind, begins) {
            (Kind::Video, Begins::First) => 0,
            (Kind::Video, Begins::Within) => PICTURES_MISSED_MAX,
            (Kind::Audio, Begins::First) => SOUNDS_MISSED_MAX,
            (Kind::Audio, Begins::Within) => SOUNDS_WITHIN_MAX,
        };
        let title = format!("{}: {missing} frames of {}", got.name, sent.codec);
        assert!(missing <= missing_max, "{title} are missing");
    }
}

fn assert_nothing_lost(server: &Server) {
    let counters = server.counters();
    for name in ["packets_lost", "packets_unreadable", "frames_lost", "protocol_errors"] {
        assert_eq!(counters[name], 0, "{name}: {counters:?}");
    }
}

#[test]
fn what_ffmpeg_pushes_comes_out_whatever_its_codec() {
    let server = server_with(CASES.iter().map(|case| case.name));
    let dir = support::scratch("codecs");
    // Made before anything runs that has to keep its pace.
    CASES.iter().for_each(|case| drop(case.clip()));
    let watched: Vec<Watched> = CASES.iter().map(|case| Watched::new(&server, case, &dir)).collect();
    for (case, watched) in CASES.iter().zip(watched) {
        watched.publisher.succeed(WITHIN);
        watched.player.succeed(WITHIN);
        assert_eq!(watched.player.said(), "", "{}: the player complains", case.name);
        same(&watched.clip, &watched.played, BOTH, case.rules());
        for (recorder, output) in watched.recorders {
            let file = recorder.path.clone();
            assert!(recorder.finish() > 0, "{}: no byte came", file.display());
            strict::assert_strict(&file);
            same(&watched.clip, &file, output.kinds, case.rules());
        }
    }
    assert_nothing_lost(&server);
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// Name, clip, and who pushes it over RTMP and reads it over RTSP.
fn pushed_by_rtmp() -> [(&'static str, PathBuf, Program); 5] {
    [
        ("hevc-aac", clips::HEVC_AAC.file(), Program::Newer),
        ("av1-opus", clips::AV1_OPUS.file(), Program::Newer),
        ("vp9-opus", clips::VP9_OPUS.file(), Program::Newer),
        ("h264-ac3", clips::H264_AC3.file(), Program::Newer),
        ("h264-mp3", clips::H264_MP3.file(), Program::Usual),
    ]
}

#[test]
fn what_is_pushed_over_rtmp_comes_out_of_rtsp_whatever_its_codec() {
    let streams = pushed_by_rtmp();
    let server = server_with(streams.iter().map(|(name, ..)| *name));
    let dir = support::scratch("from-rtmp");
    let mut running = Vec::new();
    for (name, clip, program) in &streams {
        let url = server.rtmp_url(&format!("live/{name}"));
        let publisher = match program {
            Program::Newer => publish::newer_push(clip, &url, Times::Once),
            _ => publish::push(clip, &url, Times::Once),
        };
        wait_described(&server, name, 2);
        // Of what it reads, only AV1 is new.
        let reader = if *name == "av1-opus" { *program } else { Program::Usual }.reader();
        let file = dir.join(format!("{name}.mkv"));
        let player = rtsp::ffmpeg_record_with(&reader, &server.rtsp_url(name), TCP, &file);
        running.push((publisher, player, file));
    }
    for ((name, clip, _), (publisher, player, file)) in streams.iter().zip(running) {
        publisher.succeed(WITHIN);
        player.succeed(WITHIN);
        assert_eq!(player.said(), "", "{name}: the player complains");
        same(clip, &file, BOTH, (NEAR_END, Begins::Within));
    }
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}

/// Another size in the middle, with its parameter sets in band: every picture comes out with the sets it was made with.
#[test]
fn parameter_sets_change_in_the_stream() {
    let server = server_with(["live"].into_iter());
    let clip = clips::two_sizes();
    let dir = support::scratch("two-sizes");
    let publisher = rtsp::ffmpeg_push(&clip, &server.rtsp_url("live"), TCP);
    wait_described(&server, "live", 1);
    let recorders = ["flv", "ts"].map(|extension| {
        let file = dir.join(format!("live.{extension}"));
        Recorder::start(server.http, &format!("/live.{extension}"), &file)
    });
    let played = dir.join("played.ts");
    let player = rtsp::ffmpeg_record_with(Path::new("ffmpeg"), &server.rtsp_url("live"), TCP, &played);
    publisher.succeed(WITHIN);
    player.succeed(WITHIN);
    same(&clip, &played, PICTURES, (NEAR_END, Begins::First));
    for recorder in recorders {
        let file = recorder.path.clone();
        assert!(recorder.finish() > 0, "{}: no byte came", file.display());
        strict::assert_strict(&file);
        same(&clip, &file, PICTURES, (NEAR_END, Begins::First));
    }
    assert_nothing_lost(&server);
    std::fs::remove_dir_all(&dir).expect("scratch is ours");
}
