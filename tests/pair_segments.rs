//! Segments of a picture and a sound, of HLS in TS and of HDS: one behind the other they are every frame that was published,
//! at its time, and ffmpeg decodes them without a word.
//!
//! No server: muxer and cuts alone, so that what differs is the segments' doing.

mod support;

use std::path::{Path, PathBuf};

use penstock_proto::media::{Codec, Pieces, SegmentMux};
use penstock_proto::{hds, ts};

use support::clips::{self, Clip, Modern};
use support::compare::{self, WHOLE};
use support::demuxed::demuxed;
use support::flv::{self, Tag};
use support::tags;

/// Segments of a second and more, each begun by a keyframe of the first track. `segments_min` is how many there must be.
fn segmented(mux: &mut dyn SegmentMux, tags: &[Tag], segments_min: u64) -> Pieces {
    let (tracks, frames) = demuxed(tags);
    let lead = &tracks[0];
    let mut out = Pieces::new();
    let mut segments = 0;
    let mut due = i64::MIN;
    for frame in &frames {
        if frame.track == lead.id && frame.key && frame.dts >= due {
            if segments > 0 {
                mux.end(Some(frame.dts), &mut out);
            }
            mux.begin(40 + segments, &tracks, &mut out);
            segments += 1;
            due = frame.dts + i64::from(lead.timescale);
        }
        mux.frame(&frame.frame(), &mut out);
    }
    mux.end(None, &mut out);
    assert!(segments >= segments_min, "{segments} segments");
    out
}

fn file_of(name: &str, bytes: &[u8]) -> PathBuf {
    let file = support::scratch("segments").join(name);
    std::fs::write(&file, bytes).expect("the scratch directory can be written");
    file
}

fn check(name: &str, sent: &Path, tags: &[Tag], segments_min: u64) {
    let out = segmented(&mut ts::Segments::new(name), tags, segments_min);
    let mut checker = ts::check::Checker::of_segments();
    checker.push(out.bytes());
    let report = checker.finish();
    assert_eq!(report.problems, [], "{name}");
    assert_eq!(report.discontinuities, 0, "{name}");
    let file = file_of(&format!("{name}.ts"), out.bytes());
    compare::assert_equal(sent, &file, WHOLE);
    compare::assert_decodes(&file);
    std::fs::remove_file(&file).expect("written above");
}

fn check_clip(clip: &Clip, segments_min: u64) {
    let sent = clip.file();
    let tags = flv::tags(&std::fs::read(&sent).expect("made by the call"));
    check(clip.name, &sent, &tags, segments_min);
}

fn check_modern(clip: &Modern) {
    let sent = clip.file();
    check(clip.name, &sent, &tags::of_file(&sent), 2);
}

#[test]
fn pictures_and_sound() {
    for (clip, segments_min) in [
        (clips::B_FRAMES, 3),
        (clips::NO_B_FRAMES, 3),
        (clips::FAST, 3),
        (clips::VARIABLE, 4),
        (clips::LONG_GOP, 2),
    ] {
        check_clip(&clip, segments_min);
    }
}

#[test]
fn one_of_them() {
    check_clip(&clips::AUDIO_ONLY, 6);
    check_clip(&clips::VIDEO_ONLY, 3);
}

#[test]
fn other_codecs() {
    for clip in [clips::HEVC_AAC, clips::H264_AC3, clips::H264_EAC3, clips::H264_MP3] {
        check_modern(&clip);
    }
}

/// What is no codec of HLS in TS is left out, not garbled.
#[test]
fn a_codec_that_hls_lacks_is_not_carried() {
    let sent = clips::H264_FLAC.file();
    let (tracks, _) = demuxed(&tags::of_file(&sent));
    let mux = ts::Segments::new("x");
    let carried: Vec<Codec> = tracks
        .iter()
        .filter(|track| mux.carries(track))
        .map(|track| track.codec)
        .collect();
    assert_eq!(carried, [Codec::H264]);
}

/// The tags of fragments behind the head of an FLV file are that file.
#[test]
fn fragments_of_hds() {
    for (clip, fragments_min) in [(clips::B_FRAMES, 3), (clips::AUDIO_ONLY, 6), (clips::VIDEO_ONLY, 3)] {
        let sent = clip.file();
        let tags = flv::tags(&std::fs::read(&sent).expect("made by the call"));
        let out = segmented(&mut hds::Segments::new(), &tags, fragments_min);
        let mut found = Vec::new();
        for (_, fragment) in out.iter() {
            let read = hds::read::fragment(fragment, |header, body| {
                found.push(Tag {
                    kind: header.tag_type,
                    time: header.timestamp,
                    body: body.to_vec(),
                });
            });
            read.unwrap_or_else(|error| panic!("{}: {error}", clip.name));
        }
        let file = file_of(&format!("{}.flv", clip.name), &flv::file(&found));
        compare::assert_equal(&sent, &file, WHOLE);
        compare::assert_decodes(&file);
        std::fs::remove_file(&file).expect("written above");
    }
}
