//! The checker of playlists on ffmpeg's, and ffmpeg on ours: it knows no tag of low latency, and reads on.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use penstock_proto::hls::check::{Media, Problem, check_master, check_media, read_media};
use penstock_proto::hls::{Form, Newest, Packaging, Skip, media};
use penstock_proto::media::{Codec, Format, Part, Presentation, Rendition, Segment, Track};
use support::{clips, process, scratch};

const WITHIN: Duration = Duration::from_secs(60);

/// Segments and playlists of a clip, made by ffmpeg without encoding.
fn packaged(name: &str, options: &[&str]) -> PathBuf {
    let dir = scratch(name);
    let mut command = Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-v", "error", "-i"])
        .arg(clips::NO_B_FRAMES.file());
    command
        .args(["-c", "copy", "-f", "hls", "-hls_time", "2"])
        .args(options);
    command.arg(dir.join("index.m3u8")).current_dir(&dir);
    process::run("ffmpeg (HLS)", &mut command, WITHIN);
    dir
}

fn text(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap_or_else(|error| panic!("{name} in {}: {error}", dir.display()))
}

/// Nothing that the RFC forbids; what we promise beyond it is not ffmpeg's to keep.
#[track_caller]
fn assert_legal(problems: &[Problem], text: &str) {
    let illegal: Vec<String> = problems
        .iter()
        .filter(|problem| !problem.what.is_ours())
        .map(Problem::to_string)
        .collect();
    assert!(illegal.is_empty(), "{}\n{text}", illegal.join("\n"));
}

#[test]
fn lists_of_ffmpeg_are_legal() {
    let fragments = ["-hls_segment_type", "fmp4"];
    let cases: [(&str, &[&str]); 5] = [
        ("ts", &["-hls_list_size", "0", "-hls_flags", "program_date_time"]),
        (
            "ts-live",
            &["-hls_list_size", "3", "-hls_flags", "omit_endlist+independent_segments"],
        ),
        ("ts-single", &["-hls_list_size", "0", "-hls_flags", "single_file"]),
        ("fmp4", &["-hls_list_size", "0", "-hls_playlist_type", "vod"]),
        ("fmp4-single", &["-hls_list_size", "0", "-hls_flags", "single_file"]),
    ];
    for (name, options) in cases {
        let mut options = options.to_vec();
        if name.starts_with("fmp4") {
            options.extend(fragments);
        }
        options.extend(["-master_pl_name", "master.m3u8"]);
        let dir = packaged(name, &options);
        let list = text(&dir, "index.m3u8");
        let (media, problems) = read_media(&list);
        assert_legal(&problems, &list);
        assert!(media.segments.len() >= 3, "{list}");
        assert_eq!(media.is_ended, name != "ts-live");
        assert_eq!(media.segments[0].map.is_some(), name.starts_with("fmp4"), "{list}");
        assert_eq!(media.segments[1].range.is_some(), name.ends_with("single"), "{list}");
        let master = text(&dir, "master.m3u8");
        assert_legal(&check_master(&master), &master);
        assert!(!check_media(&master).is_empty() && !check_master(&list).is_empty());
    }
}

/// Our list of ffmpeg's fragments, with all that low latency adds, and those fragments under the names that it has.
fn ours(dir: &Path, theirs: &Media, newest: Newest) -> PathBuf {
    let mut rendition = Rendition {
        tracks: vec![Track {
            id: 1,
            generation: 0,
            codec: Codec::H264,
            timescale: 90_000,
            codec_data: Vec::new(),
            bitrate_hint: 0,
            format: Format::Meta,
        }],
        path: "1".to_owned(),
        timescale: 90_000,
        part_target_micros: 1_000_000,
        ..Rendition::default()
    };
    let target_seconds = u32::try_from(theirs.target_seconds).expect("a few seconds");
    let mut start = 0;
    for segment in &theirs.segments {
        let duration = i64::try_from(segment.nanos).expect("a few seconds") * 90 / 1_000_000;
        let bytes = std::fs::metadata(dir.join(&segment.uri)).expect("ffmpeg made it").len();
        let mut parts = Vec::new();
        let mut at = 0;
        while at < duration {
            let part = (duration - at).min(90_000);
            parts.push(Part {
                duration: part,
                independent: at == 0,
                offset: bytes / 8 * parts.len() as u64,
                bytes: bytes / 8,
            });
            at += part;
        }
        let name_millis = start / 90;
        let name = format!("chunk_{name_millis}.m4s?e=ab12cd");
        std::fs::copy(dir.join(&segment.uri), dir.join(name)).expect("scratch is ours");
        rendition.segments.push_back(Segment {
            number: segment.number,
            name_millis,
            start,
            shown: start,
            duration,
            independent: true,
            wall_micros: Some(1_769_688_000_000_000 + start * 100 / 9),
            parts,
            ..Segment::default()
        });
        start += duration;
    }
    std::fs::copy(dir.join("init.mp4"), dir.join("init.m4s?e=ab12cd&g=0")).expect("scratch is ours");
    let presentation = Presentation {
        epoch: "ab12cd".to_owned(),
        target_seconds,
        is_independent: true,
        is_ended: true,
        ..Presentation::default()
    };
    let form = Form {
        packaging: Packaging::Cmaf,
        newest,
        skip: Skip::No,
        list_max: 0,
    };
    let mut list = String::new();
    let whole = rendition.segments.len();
    // Parts of the last three targets only.
    for segment in rendition.segments.iter_mut().take(whole.saturating_sub(4)) {
        segment.parts.clear();
    }
    media(&presentation, &rendition, &form, &[], &mut list);
    let problems = check_media(&list);
    assert!(problems.is_empty(), "{problems:?}\n{list}");
    let path = dir.join(format!("{newest:?}.m3u8"));
    std::fs::write(&path, list).expect("scratch is ours");
    path
}

/// Frames of picture and sound that ffmpeg finds, and what it has to say besides.
fn frames(path: &Path) -> String {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-allowed_extensions", "ALL", "-count_packets"]);
    // To a file name a query is a part of its extension.
    command.args(["-allowed_segment_extensions", "ALL", "-extension_picky", "0"]);
    command
        .args(["-show_entries", "stream=codec_type,nb_read_packets", "-of", "csv"])
        .arg(path);
    process::run("ffprobe", &mut command, WITHIN)
}

/// Client habits 4.7: players that know no tag of low latency read on.
#[test]
fn ffmpeg_reads_our_lists_in_every_form() {
    let dir = packaged("ours", &["-hls_list_size", "0", "-hls_segment_type", "fmp4"]);
    let theirs = read_media(&text(&dir, "index.m3u8")).0;
    let expected = frames(&dir.join("index.m3u8"));
    assert!(expected.contains("video,") && expected.contains("audio,"), "{expected}");
    for newest in [Newest::Segments, Newest::Parts, Newest::Ranges] {
        let path = ours(&dir, &theirs, newest);
        assert_eq!(frames(&path), expected, "{newest:?}");
        let has_parts = std::fs::read_to_string(&path)
            .expect("written above")
            .contains("#EXT-X-PART:");
        assert_eq!(has_parts, newest != Newest::Segments);
    }
}
