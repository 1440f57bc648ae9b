//! Playlists as written: word for word where they are short, and by the checker over minutes of simulated time.
//!
//! Rows of client habits 4.7: segment URIs that stay, line feeds and the final one (VLC, ffplay) are the checker's on every
//! text here; iPhone's 85 %, AVPlayer's hold-back and version, a constant target, reports (Safari) likewise. Part 0 of a future
//! segment (hls.js), the first request and answers that are early (ExoPlayer) are in `reload`.

use super::check::{Problem, Watcher, check_delta, check_master, check_media, check_reports};
use super::scene::{Happens, Scene, TARGET_SECONDS, audio_track, codec_name, video_track};
use super::{Form, Newest, Packaging, Skip, master_cmaf, master_ts, media};
use crate::media::{Codec, Part, Presentation, Rate, Rendition, Segment, Track};

#[track_caller]
fn assert_right(problems: &[Problem], text: &str) {
    let shown: Vec<String> = problems.iter().map(Problem::to_string).collect();
    assert!(problems.is_empty(), "{}\n{text}", shown.join("\n"));
}

/// What one list goes through: `full` and `delta` are what two players see that fetch each text.
#[derive(Default)]
struct Followed {
    full: Watcher,
    delta: Watcher,
    before: String,
    deltas: usize,
}

impl Followed {
    fn see(&mut self, scene: &Scene, which: usize, form: Form) {
        let text = scene.text(which, &form);
        assert_right(&self.full.see(scene.now_millis, &text), &text);
        for skip in [Skip::Yes, Skip::V2] {
            let delta = scene.text(which, &Form { skip, ..form });
            self.deltas += usize::from(delta.contains("EXT-X-SKIP"));
            if !self.before.is_empty() {
                assert_right(&check_delta(&self.before, &delta, &text), &delta);
            }
            if skip == Skip::Yes {
                // The first is whole: who has nothing does not ask for a delta.
                let seen = if self.before.is_empty() { &text } else { &delta };
                assert_right(&self.delta.see(scene.now_millis, seen), seen);
            } else if delta.contains("EXT-X-SKIP") {
                assert!(delta.len() < text.len());
            }
        }
        self.before = text;
    }
}

/// Every text of a stream, whatever happens to it, is right in itself and behind the one before.
fn follow(mut scene: Scene, steps: usize, list_max: usize) -> Scene {
    let forms = [Newest::Segments, Newest::Parts, Newest::Ranges].map(|newest| Form {
        list_max,
        ..Scene::form(newest, Skip::No)
    });
    let ts = Form {
        packaging: Packaging::Ts,
        ..forms[0]
    };
    let mut cmaf: Vec<Followed> = (0..6).map(|_| Followed::default()).collect();
    let mut watched_ts = Watcher::new();
    for at in 0..steps {
        let is_last = at == steps - 1;
        match at % 331 {
            100 => scene.step(Happens::CodecData),
            200 => scene.step(Happens::Publisher),
            201 => scene.step(Happens::Publisher),
            300 => scene.step(Happens::Loss),
            _ => scene.step(Happens::Nothing),
        }
        if is_last {
            scene.finish();
        }
        // As for the lead: no list is shown before the first whole segment.
        if scene.video.segments.is_empty() {
            continue;
        }
        for which in [0, 1] {
            for (place, form) in forms.iter().enumerate() {
                cmaf[which * 3 + place].see(&scene, which, *form);
            }
            let sibling = ["../2/index.m3u8", "../1/index.m3u8"][which];
            let texts = [scene.text(which, &forms[1]), scene.text(1 - which, &forms[1])];
            if !is_last {
                assert_right(&check_reports(&texts[0], &[(sibling, &texts[1])]), &texts[0]);
            }
        }
        let text = scene.text(0, &ts);
        assert_right(&watched_ts.see(scene.now_millis, &text), &text);
    }
    for (place, followed) in cmaf.iter().enumerate() {
        let has_parts = place % 3 != 0;
        let has_deltas = has_parts && list_max == 0;
        assert_eq!(followed.deltas > 100, has_deltas, "{}", followed.deltas);
        let (full, delta) = (
            followed.full.media().expect("seen"),
            followed.delta.media().expect("seen"),
        );
        assert!(full.is_ended && delta.is_ended);
        assert_eq!(full.segments.len(), delta.segments.len());
    }
    scene
}

const MIDNIGHT: i64 = 1_798_761_600_000_000;

/// Five minutes; midnight and the new year pass, codec data, publishers and time change, segments are lost, and it ends.
#[test]
fn five_minutes_of_a_stream_are_right_at_every_part() {
    let scene = follow(Scene::new(1, 0, MIDNIGHT - 150_000_000), 960, 0);
    assert!(scene.now_millis > 300_000, "{}", scene.now_millis);
    assert!(scene.video.discontinuities_before >= 6);
    assert!(scene.video.segments.len() > 15);
    let text = scene.text(0, &Scene::form(Newest::Parts, Skip::No));
    assert!(text.contains("PROGRAM-DATE-TIME:2027-01-01T00:0") && text.ends_with("\n#EXT-X-ENDLIST\n"));
}

/// A day, 33 bits of 90 kHz and 32 bits of ms have no place in a text.
#[test]
fn boundaries_of_time_are_passed_unseen() {
    for (seed, start_seconds) in [
        (2, 86_400 - 40),
        (3, (1 << 33) / 90_000 - 40),
        (4, (1 << 32) / 1_000 - 40),
    ] {
        let scene = follow(Scene::new(seed, start_seconds, MIDNIGHT - 40_000_000), 240, 0);
        let first = scene.video.segments.front().expect("some").start;
        let last = scene.video.segments.back().expect("some").start;
        assert!(first < start_seconds * 90_000 + 40 * 90_000 || last > first);
        assert!(last > (start_seconds + 40) * 90_000, "the boundary was passed");
    }
}

/// `listlimit` shortens a list, and never below three target durations.
#[test]
fn a_limited_list_is_never_too_short() {
    let scene = follow(Scene::new(5, 0, MIDNIGHT), 400, 2);
    let form = Form {
        list_max: 2,
        ..Scene::form(Newest::Segments, Skip::No)
    };
    let text = scene.text(0, &form);
    let listed = text.matches("#EXTINF").count();
    assert!((3..=6).contains(&listed), "{text}");
    let mut watcher = Watcher::new();
    watcher.see(0, &text);
    let nanos = watcher.media().expect("seen").nanos();
    assert!(nanos >= 3 * u64::from(TARGET_SECONDS) * 1_000_000_000);
}

/// Two segments, the second behind other codec data, and two parts of a third.
fn small() -> (Presentation, Rendition, Rendition) {
    let part = |duration, offset| Part {
        duration,
        independent: offset == 0,
        offset,
        bytes: 500,
    };
    let segment = |number: u64, start: i64, duration: i64| Segment {
        number,
        name_millis: start / 90 + 40,
        start,
        shown: start + 3_600,
        duration,
        independent: true,
        wall_micros: Some(1_769_688_000_000_000 + start * 100 / 9),
        ..Segment::default()
    };
    let mut video = Rendition {
        tracks: vec![video_track()],
        path: "1".to_owned(),
        timescale: 90_000,
        part_target_micros: 1_000_000,
        discontinuities_before: 3,
        ..Rendition::default()
    };
    let mut first = segment(41, 0, 180_000);
    first.parts = vec![part(90_000, 0), part(90_000, 500)];
    let mut second = segment(42, 180_000, 150_001);
    second.parts = vec![part(90_000, 0), part(60_001, 500)];
    (second.discontinuity, second.generation) = (true, 1);
    video.segments.extend([first, second]);
    let mut growing = segment(43, 330_001, 90_000);
    (growing.parts, growing.generation) = (vec![part(90_000, 0)], 1);
    video.growing = Some(growing);
    let mut audio = Rendition {
        tracks: vec![audio_track(2)],
        path: "2".to_owned(),
        timescale: 48_000,
        part_target_micros: 1_002_667,
        ..Rendition::default()
    };
    audio.segments.push_back(Segment {
        number: 42,
        parts: vec![part(48_000, 0); 3],
        ..Segment::default()
    });
    let presentation = Presentation {
        epoch: "ab12cd".to_owned(),
        target_seconds: 2,
        is_independent: true,
        ..Presentation::default()
    };
    (presentation, video, audio)
}

fn written(form: Form) -> String {
    let (presentation, video, audio) = small();
    let mut out = String::new();
    media(&presentation, &video, &form, &[&audio], &mut out);
    assert_right(&check_media(&out), &out);
    out
}

#[test]
fn a_list_of_transport_streams() {
    let form = Form {
        packaging: Packaging::Ts,
        ..Scene::form(Newest::Parts, Skip::Yes)
    };
    let expected = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:41\n\
        #EXT-X-DISCONTINUITY-SEQUENCE:3\n#EXT-X-INDEPENDENT-SEGMENTS\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-01-29T12:00:00.000Z\n#EXTINF:2.000000,\n40_2040.ts?e=ab12cd\n\
        #EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2026-01-29T12:00:02.000Z\n#EXTINF:1.666677,\n\
        2040_3706.ts?e=ab12cd\n";
    assert_eq!(written(form), expected);
}

#[test]
fn a_list_of_whole_fragments() {
    let expected = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:41\n\
        #EXT-X-DISCONTINUITY-SEQUENCE:3\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"init.m4s?e=ab12cd&g=0\"\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-01-29T12:00:00.000Z\n#EXTINF:2.000000,\nchunk_40.m4s?e=ab12cd\n\
        #EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init.m4s?e=ab12cd&g=1\"\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-01-29T12:00:02.000Z\n#EXTINF:1.666677,\nchunk_2040.m4s?e=ab12cd\n";
    assert_eq!(written(Scene::form(Newest::Segments, Skip::No)), expected);
}

const LOW_LATENCY_HEAD: &str = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
    #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,HOLD-BACK=6.0,PART-HOLD-BACK=3.008001\n\
    #EXT-X-PART-INF:PART-TARGET=1.000000\n#EXT-X-MEDIA-SEQUENCE:41\n#EXT-X-DISCONTINUITY-SEQUENCE:3\n\
    #EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"init.m4s?e=ab12cd&g=0\"\n";

#[test]
fn a_list_of_parts() {
    let expected = LOW_LATENCY_HEAD.to_owned()
        + "#EXT-X-PROGRAM-DATE-TIME:2026-01-29T12:00:00.000Z\n\
        #EXT-X-PART:DURATION=1.000000,URI=\"chunk_40.0.m4s?e=ab12cd\",INDEPENDENT=YES\n\
        #EXT-X-PART:DURATION=1.000000,URI=\"chunk_40.1.m4s?e=ab12cd\"\n#EXTINF:2.000000,\nchunk_40.m4s?e=ab12cd\n\
        #EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init.m4s?e=ab12cd&g=1\"\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-01-29T12:00:02.000Z\n\
        #EXT-X-PART:DURATION=1.000000,URI=\"chunk_2040.0.m4s?e=ab12cd\",INDEPENDENT=YES\n\
        #EXT-X-PART:DURATION=0.666677,URI=\"chunk_2040.1.m4s?e=ab12cd\"\n\
        #EXTINF:1.666677,\nchunk_2040.m4s?e=ab12cd\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-01-29T12:00:03.666Z\n\
        #EXT-X-PART:DURATION=1.000000,URI=\"chunk_3706.0.m4s?e=ab12cd\",INDEPENDENT=YES\n\
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"chunk_3706.1.m4s?e=ab12cd\"\n\
        #EXT-X-RENDITION-REPORT:URI=\"../2/index.m3u8\",LAST-MSN=42,LAST-PART=2\n";
    // Nothing is old enough to be skipped.
    for skip in [Skip::No, Skip::Yes] {
        assert_eq!(written(Scene::form(Newest::Parts, skip)), expected);
    }
}

#[test]
fn a_list_of_ranges() {
    let text = written(Scene::form(Newest::Ranges, Skip::No));
    for line in [
        "#EXT-X-PART:DURATION=1.000000,URI=\"chunk_2040.m4s?e=ab12cd\",BYTERANGE=\"500@0\",INDEPENDENT=YES",
        "#EXT-X-PART:DURATION=0.666677,URI=\"chunk_2040.m4s?e=ab12cd\",BYTERANGE=\"500@500\"",
        "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"chunk_3706.m4s?e=ab12cd\",BYTERANGE-START=500",
        "#EXT-X-RENDITION-REPORT:URI=\"../2/index.m3u8?llhls=range\",LAST-MSN=42,LAST-PART=2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.starts_with(LOW_LATENCY_HEAD), "{text}");
}

/// A lost segment keeps its number and its time, and is asked for by nobody.
#[test]
fn a_lost_segment_is_a_gap() {
    let (presentation, mut video, _) = small();
    video.segments[1].gap = true;
    let mut out = String::new();
    media(
        &presentation,
        &video,
        &Scene::form(Newest::Parts, Skip::No),
        &[],
        &mut out,
    );
    assert_right(&check_media(&out), &out);
    assert!(out.contains("#EXT-X-GAP\n"), "{out}");
    assert!(out.contains("URI=\"chunk_2040.1.m4s?e=ab12cd\",GAP=YES\n"), "{out}");
}

fn rendition(track: Track, path: &str, peak: u64) -> Rendition {
    Rendition {
        timescale: track.timescale,
        tracks: vec![track],
        path: path.to_owned(),
        rate: Rate {
            peak,
            average: peak / 10 * 9,
        },
        frame_rate: 30_000.0 / 1_001.0,
        ..Rendition::default()
    }
}

fn opus(id: u32) -> Track {
    Track {
        codec: Codec::Opus,
        ..audio_track(id)
    }
}

#[track_caller]
fn assert_master(video: &[&Rendition], audio: &[&Rendition], newest: Newest, expected: &str) {
    let presentation = small().0;
    let mut out = String::new();
    master_cmaf(&presentation, video, audio, newest, &codec_name, &mut out);
    assert_right(&check_master(&out), &out);
    let head = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n";
    assert_eq!(out.strip_prefix(head), Some(expected), "{out}");
}

#[test]
fn masters_name_every_combination() {
    let video = rendition(video_track(), "1", 2_000_000);
    let small_video = rendition(Track { id: 4, ..video_track() }, "4", 1_000_000);
    let (aac, more_aac) = (
        rendition(audio_track(2), "2", 130_000),
        rendition(audio_track(3), "3", 190_000),
    );
    let (opus_5, opus_6) = (rendition(opus(5), "5", 100_000), rendition(opus(6), "6", 100_000));
    let picture = "RESOLUTION=1280x720,FRAME-RATE=29.970";
    let inf = |peak: u64, average: u64, codecs: &str, rest: &str| {
        format!("#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},CODECS=\"{codecs}\"{rest}\n")
    };
    let sound = |group: &str, at: usize, path: &str, query: &str| {
        let chosen = if at == 1 {
            "DEFAULT=YES,AUTOSELECT=YES"
        } else {
            "DEFAULT=NO,AUTOSELECT=NO"
        };
        format!(
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{group}\",NAME=\"Audio {at}\",{chosen},CHANNELS=\"2\",URI=\"{path}/index.m3u8{query}\"\n"
        )
    };
    let with = |group: &str| format!(",{picture},AUDIO=\"{group}\"");
    // Two pictures and a sound, in the form for byte ranges.
    let expected = sound("audio-aac", 1, "2", "?llhls=range")
        + &inf(2_130_000, 1_917_000, "avc1.64001f,mp4a.40.2", &with("audio-aac"))
        + "1/index.m3u8?llhls=range\n"
        + &inf(1_130_000, 1_017_000, "avc1.64001f,mp4a.40.2", &with("audio-aac"))
        + "4/index.m3u8?llhls=range\n";
    assert_master(&[&video, &small_video], &[&aac], Newest::Ranges, &expected);
    // Two languages: the one that takes more counts.
    let expected = sound("audio-aac", 1, "2", "")
        + &sound("audio-aac", 2, "3", "")
        + &inf(2_190_000, 1_971_000, "avc1.64001f,mp4a.40.2", &with("audio-aac"))
        + "1/index.m3u8\n";
    assert_master(&[&video], &[&aac, &more_aac], Newest::Parts, &expected);
    // Two codecs are two groups; of unlike ones the largest is shown.
    let expected = sound("audio-aac", 1, "2", "")
        + &sound("audio-opus", 1, "5", "")
        + &inf(2_130_000, 1_917_000, "avc1.64001f,mp4a.40.2", &with("audio-aac"))
        + "1/index.m3u8\n"
        + &inf(2_100_000, 1_890_000, "avc1.64001f,opus", &with("audio-opus"))
        + "1/index.m3u8\n";
    assert_master(&[&video], &[&aac, &opus_5], Newest::Parts, &expected);
    let expected = sound("audio-opus", 1, "5", "")
        + &sound("audio-opus", 2, "6", "")
        + &inf(2_100_000, 1_890_000, "avc1.64001f,opus", &with("audio-opus"))
        + "1/index.m3u8\n";
    assert_master(&[&video], &[&aac, &opus_5, &opus_6], Newest::Parts, &expected);
    // Picture or sound alone.
    let expected = inf(2_000_000, 1_800_000, "avc1.64001f", &format!(",{picture}")) + "1/index.m3u8?llhls=0\n";
    assert_master(&[&video], &[], Newest::Segments, &expected);
    let expected = inf(130_000, 117_000, "mp4a.40.2", "") + "2/index.m3u8\n";
    assert_master(&[], &[&aac], Newest::Parts, &expected);
    let expected = sound("audio-aac", 1, "2", "")
        + &sound("audio-aac", 2, "3", "")
        + &inf(190_000, 171_000, "mp4a.40.2", ",AUDIO=\"audio-aac\"")
        + "2/index.m3u8\n";
    assert_master(&[], &[&aac, &more_aac], Newest::Parts, &expected);
}

#[test]
fn a_master_of_transport_streams() {
    let (presentation, ..) = small();
    let mut pair = rendition(video_track(), "1_2", 2_200_000);
    pair.tracks.push(audio_track(2));
    let mut unmeasured = pair.clone();
    (unmeasured.rate, unmeasured.frame_rate) = (Rate::default(), 0.0);
    let mut out = String::new();
    master_ts(&presentation, &[&pair, &unmeasured], &codec_name, &mut out);
    assert_right(&check_master(&out), &out);
    let expected = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-INDEPENDENT-SEGMENTS\n\
        #EXT-X-STREAM-INF:BANDWIDTH=2200000,AVERAGE-BANDWIDTH=1980000,CODECS=\"avc1.64001f,mp4a.40.2\",\
        RESOLUTION=1280x720,FRAME-RATE=29.970\n1_2/index.m3u8\n\
        #EXT-X-STREAM-INF:BANDWIDTH=2128000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720\n1_2/index.m3u8\n";
    assert_eq!(out, expected);
    // A codec without a name: no list rather than half of one.
    let mut out = String::new();
    pair.tracks[1].codec = Codec::Pcm;
    master_ts(&presentation, &[&pair], &codec_name, &mut out);
    assert!(!out.contains("CODECS"), "{out}");
}
