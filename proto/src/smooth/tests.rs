//! Smooth manifests of a stream that plays, and manifests that are broken in one way each.

use super::check::{Watcher, check};
use super::{Options, bitrate, manifest, track_of};
use crate::codec::cases;
use crate::media::{Codec, Format, Presentation, Rate, Rendition, Segment, Track};

fn track(id: u32, codec: Codec) -> Track {
    let mut codec_data = vec![0x11, 0x90];
    let mut format = Format::Audio {
        sample_rate: 48_000,
        channels: 2,
        sample_bits: 16,
    };
    if codec == Codec::H264 {
        codec_data = cases::hex(cases::AVCC_HIGH);
        format = Format::Video {
            width: 640,
            height: 360,
            frame_rate: 25.0,
        };
    }
    Track {
        id,
        generation: 0,
        codec,
        timescale: if codec == Codec::H264 { 90_000 } else { 48_000 },
        codec_data,
        bitrate_hint: 0,
        format,
    }
}

/// Whole segments `from..until`, each 2 s and a bit, as `frame` ticks allow; one more is being made.
fn rendition(track: Track, frame: i64, from: i64, until: i64) -> Rendition {
    let scale = i64::from(track.timescale);
    let start = |at: i64| (at * 2 * scale + frame - 1) / frame * frame;
    let segment = |at: i64| Segment {
        number: at as u64,
        name_millis: start(at) * 1000 / scale,
        start: start(at),
        shown: start(at),
        duration: start(at + 1) - start(at),
        ..Segment::default()
    };
    Rendition {
        path: track.id.to_string(),
        timescale: track.timescale,
        tracks: vec![track],
        segments: (from..until).map(segment).collect(),
        growing: Some(segment(until)),
        rate: Rate {
            peak: 2_634_221 + until as u64,
            average: 1,
        },
        ..Rendition::default()
    }
}

fn write(video: &[&Rendition], audio: &[&Rendition], is_ended: bool) -> Option<Vec<u8>> {
    let presentation = Presentation {
        epoch: "a1B2c3".to_owned(),
        target_seconds: 2,
        window_millis: 40_000,
        is_ended,
        ..Presentation::default()
    };
    let mut out = vec![1];
    manifest(&presentation, video, audio, Options { look_ahead: 2 }, &mut out).then_some(out)
}

fn text_of(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes[2..]
        .chunks(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    String::from_utf16(&units).unwrap()
}

fn bytes_of(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().flat_map(u16::to_le_bytes);
    [0xff, 0xfe].into_iter().chain(units).collect()
}

#[test]
fn five_minutes_and_a_day_pass_the_checker() {
    for first in [0, 43_100, 2_147_400] {
        let mut watcher = Watcher::new();
        for at in first..first + 150 {
            let video = rendition(track(1, Codec::H264), 3_600, (at - 20).max(first), at + 1);
            let audio = rendition(track(2, Codec::Aac), 1_024, (at - 20).max(first), at + 1);
            let bytes = write(&[&video], &[&audio], at == first + 149).unwrap();
            let report = watcher.push(&bytes);
            report.assert_none();
            assert_eq!(
                (report.holes, report.is_live),
                (0, at != first + 149),
                "{}",
                text_of(&bytes)
            );
            assert_eq!(report.fragments, 2 * video.segments.len());
            assert_eq!(
                report
                    .bitrates
                    .iter()
                    .map(|bitrate| track_of(*bitrate))
                    .collect::<Vec<_>>(),
                [2, 1]
            );
        }
    }
}

#[test]
fn only_pictures_that_begin_together_share_a_list() {
    let one = rendition(track(1, Codec::H264), 3_600, 3, 9);
    let late = rendition(track(2, Codec::H264), 3_600, 3, 8);
    let odd = rendition(track(3, Codec::H264), 3_601, 3, 9);
    let audio = rendition(track(4, Codec::Aac), 1_024, 3, 9);
    let bytes = write(&[&one, &late, &odd], &[&audio], false).unwrap();
    let report = check(&bytes);
    report.assert_none();
    // Of those that share, what both have.
    assert_eq!(report.fragments, 6 + 5);
    let tracks: Vec<u32> = report.bitrates.iter().map(|bitrate| track_of(*bitrate)).collect();
    assert_eq!(tracks, [4, 1, 2]);
}

#[test]
fn what_smooth_cannot_say_is_left_out() {
    let mut video = rendition(track(1, Codec::H264), 3_600, 3, 9);
    let opus = rendition(track(2, Codec::Opus), 960, 3, 9);
    let far = rendition(track(100, Codec::Aac), 1_024, 3, 9);
    assert_eq!(write(&[], &[&opus, &far], false), None);
    // Of two generations of codec data the newer, and no segment that is lost.
    video.tracks[0].generation = 1;
    video
        .segments
        .iter_mut()
        .skip(2)
        .for_each(|segment| segment.generation = 1);
    video.segments[4].gap = true;
    let bytes = write(&[&video], &[&opus], false).unwrap();
    let report = check(&bytes);
    report.assert_none();
    assert_eq!((report.fragments, report.holes, report.bitrates.len()), (3, 1, 1));
    // Nothing of a track yet: a player would never learn of it.
    let audio = rendition(track(2, Codec::Aac), 1_024, 9, 9);
    assert_eq!(write(&[&video], &[&audio], false), None);
}

#[test]
fn bitrates_name_their_track() {
    for (bits, id, expected) in [
        (2_634_221, 1, Some(2_634_201)),
        (99, 7, Some(7)),
        (5_000, 99, Some(5_099)),
        (1, 100, None),
    ] {
        assert_eq!(bitrate(bits, id), expected);
        assert!(expected.is_none_or(|bitrate| track_of(bitrate) == id));
    }
}

#[test]
fn a_broken_manifest_is_told() {
    let video = rendition(track(1, Codec::H264), 3_600, 3, 9);
    let audio = rendition(track(2, Codec::Aac), 1_024, 3, 9);
    let bytes = write(&[&video], &[&audio], false).unwrap();
    check(&bytes).assert_none();
    let text = text_of(&bytes);
    for (from, to, expected) in [
        ("utf-16", "utf-8", "Encoding"),
        ("</SmoothStreamingMedia>", "", "NotXml"),
        ("SmoothStreamingMedia", "Media", "NotXml"),
        ("MajorVersion=\"2\"", "MajorVersion=\"1\"", "Malformed"),
        (" MinorVersion=\"2\"", "", "Missing"),
        ("TimeScale=\"1000\"", "TimeScale=\"10000000\"", "Malformed"),
        ("Duration=\"0\"", "Duration=\"12000\"", "Count"),
        (" LookAheadFragmentCount=\"2\"", "", "Missing"),
        (" DVRWindowLength=\"40000\"", "", "Missing"),
        (" IsLive=\"TRUE\"", "", "Count"),
        ("Type=\"audio\"", "Type=\"sound\"", "Malformed"),
        ("Name=\"audio\"", "Name=\"video\"", "Duplicate"),
        ("QualityLevels=\"1\"", "QualityLevels=\"2\"", "Count"),
        ("Chunks=\"6\"", "Chunks=\"5\"", "Count"),
        ("{bitrate}", "{rate}", "Template"),
        ("{start time}", "{start_time}", "Template"),
        ("Bitrate=\"2634202\"", "Bitrate=\"2634200\"", "Bitrate"),
        ("Bitrate=\"2634202\"", "Bitrate=\"2634201\"", "Bitrate"),
        ("FourCC=\"AACL\"", "FourCC=\"AAC\"", "Malformed"),
        ("CodecPrivateData=\"1190\"", "CodecPrivateData=\"119\"", "Malformed"),
        ("CodecPrivateData=\"00000001", "CodecPrivateData=\"", "Malformed"),
        (" SamplingRate=\"48000\"", "", "Missing"),
        (" AudioTag=\"255\"", "", "Missing"),
        ("MaxWidth=\"640\" MaxHeight=\"360\"/>", "/>", "Missing"),
        ("<c t=\"6016\" d=\"1984\"/>", "<c d=\"1984\"/>", "Missing"),
        ("<c t=\"6016\" d=\"1984\"/>", "<c t=\"6016\" d=\"2984\"/>", "Overlap"),
        ("<c t=\"6016\" d=\"1984\"/>", "<c t=\"6016\" d=\"0\"/>", "Malformed"),
        ("<c t=\"6016\" d=\"1984\"/>", "<c t=\"6016\"/>", ""),
    ] {
        assert!(text.contains(from), "{from} is not in {text}");
        let report = check(&bytes_of(&text.replacen(from, to, 1)));
        assert!(!report.problems.is_empty(), "{from} -> {to}: nothing was found");
        for problem in &report.problems {
            assert!(
                format!("{:?}", problem.what).starts_with(expected),
                "{from} -> {to}: {problem}"
            );
        }
    }
    assert!(!check(&bytes[2..]).problems.is_empty(), "no mark");
    assert!(!check(text.as_bytes()).problems.is_empty(), "UTF-8");
    assert!(
        !check(&bytes[..bytes.len() - 1]).problems.is_empty(),
        "half a character"
    );
    // From one text to the next.
    for (from, to, expected) in [
        ("<c t=\"8000\"", "<c t=\"8001\"", ""),
        ("d=\"1984\"", "d=\"1983\"", "FragmentChanged"),
        (
            "CodecPrivateData=\"1190\"",
            "CodecPrivateData=\"1210\"",
            "StreamChanged",
        ),
        ("Name=\"audio\"", "Name=\"other\"", "StreamGone"),
    ] {
        let mut watcher = Watcher::new();
        watcher.push(&bytes).assert_none();
        let report = watcher.push(&bytes_of(&text.replacen(from, to, 1)));
        assert!(!report.problems.is_empty(), "{from} -> {to}: nothing was found");
        for problem in &report.problems {
            assert!(
                format!("{:?}", problem.what).starts_with(expected),
                "{from} -> {to}: {problem}"
            );
        }
    }
}

/// A live manifest as text.
pub(super) fn live() -> String {
    let video = rendition(track(1, Codec::H264), 3_600, 3, 9);
    let audio = rendition(track(2, Codec::Aac), 1_024, 3, 9);
    text_of(&write(&[&video], &[&audio], false).unwrap())
}
