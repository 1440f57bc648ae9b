//! CMAF segments of clips behind their initialization segment, a file a track, as HLS and DASH players read them: every frame
//! that was published, at its time, sound with its pictures, and nothing that ffmpeg has to say.
//!
//! No server: muxer and cuts alone, so that what differs is the segments' doing.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use penstock_proto::media::{Pieces, SegmentMux, Track, rescale};
use penstock_proto::mp4;

use support::clips::{self, Clip, Modern};
use support::compare::{self, WHOLE};
use support::demuxed::{Kept, demuxed};
use support::flv::{self, Tag, VIDEO};
use support::normal::{self, Recording};
use support::tags;

/// What was made of a track.
struct Made {
    init: Vec<u8>,
    segments: Vec<Vec<u8>>,
}

/// Segments of a second and more, each begun by a keyframe of the first track; parts of `part_millis`.
fn segmented(tracks: &[Track], frames: &[Kept], part_millis: Option<i64>) -> BTreeMap<u32, Made> {
    let lead = &tracks[0];
    let mut starts: Vec<i64> = Vec::new();
    for frame in frames.iter().filter(|frame| frame.track == lead.id && frame.key) {
        if starts
            .last()
            .is_none_or(|last| frame.dts >= last + i64::from(lead.timescale))
        {
            starts.push(frame.dts);
        }
    }
    let mut made = BTreeMap::new();
    for track in tracks {
        let part_ticks = part_millis.map_or(i64::MAX, |millis| millis * i64::from(track.timescale) / 1000);
        let mut mux = mp4::Cmaf::new(part_ticks);
        let (mut init, mut segments, mut out) = (Vec::new(), Vec::new(), Pieces::new());
        let mut starts = starts
            .iter()
            .map(|start| rescale(*start, lead.timescale, track.timescale))
            .peekable();
        for frame in frames.iter().filter(|frame| frame.track == track.id) {
            let due = starts.next_if(|start| frame.dts >= *start).is_some();
            // Sound may begin ahead of the first picture.
            if due || (segments.is_empty() && out.is_empty() && init.is_empty()) {
                if !init.is_empty() {
                    mux.end(Some(frame.dts), &mut out);
                    segments.push(out.bytes().to_vec());
                    out.clear();
                }
                mux.begin(40 + segments.len() as u64, std::slice::from_ref(track), &mut out);
                if init.is_empty() {
                    mux.init(&mut init);
                }
            }
            mux.frame(&frame.frame(), &mut out);
        }
        mux.end(None, &mut out);
        segments.push(out.bytes().to_vec());
        made.insert(track.id, Made { init, segments });
    }
    made
}

/// One file a track, read by ffmpeg, put together.
fn recording(name: &str, tracks: &[Track], made: &BTreeMap<u32, Made>) -> Recording {
    let dir = support::scratch("cmaf-segments");
    let mut whole: Option<Recording> = None;
    for track in tracks {
        let Made { init, segments } = &made[&track.id];
        let segments: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
        let read = mp4::check_segments(init, &segments).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert_eq!(read.track.timescale, track.timescale);
        let file: PathBuf = dir.join(format!("{name}-{}.mp4", track.id));
        std::fs::write(&file, [&[&init[..]], &segments[..]].concat().concat()).expect("the directory can be written");
        compare::assert_decodes(&file);
        let read = normal::read(&file);
        match &mut whole {
            Some(whole) => whole.tracks.extend(read.tracks),
            None => whole = Some(read),
        }
    }
    std::fs::remove_dir_all(&dir).expect("written above");
    whole.expect("there are tracks")
}

fn check(name: &str, sent: &Recording, tags: &[Tag], segments_min: usize) {
    let (tracks, frames) = demuxed(tags);
    for part_millis in [None, Some(340)] {
        let made = segmented(&tracks, &frames, part_millis);
        for made in made.values() {
            assert!(made.segments.len() >= segments_min, "{name}: {}", made.segments.len());
        }
        let got = recording(name, &tracks, &made);
        if let Err(difference) = compare::compare(sent, &got, WHOLE) {
            panic!("{name}: {difference}");
        }
    }
}

fn check_clip(clip: &Clip, segments_min: usize) {
    let sent = clip.file();
    let tags = flv::tags(&std::fs::read(&sent).expect("made by the call"));
    check(clip.name, &normal::read(&sent), &tags, segments_min);
}

fn check_file(name: &str, sent: &Path) {
    check(name, &normal::read(sent), &tags::of_file(sent), 2);
}

#[test]
fn pictures_and_sound() {
    for (clip, segments_min) in [(clips::B_FRAMES, 3), (clips::VARIABLE, 4), (clips::LONG_GOP, 2)] {
        check_clip(&clip, segments_min);
    }
}

#[test]
fn one_of_them() {
    check_clip(&clips::AUDIO_ONLY, 6);
    check_clip(&clips::VIDEO_ONLY, 3);
}

fn check_modern(clips: &[Modern]) {
    for clip in clips {
        check_file(clip.name, &clip.file());
    }
}

#[test]
fn pictures_of_other_codecs() {
    check_modern(&[clips::HEVC_AAC, clips::AV1_OPUS, clips::VP9_OPUS]);
}

#[test]
fn sound_of_other_codecs() {
    check_modern(&[clips::H264_FLAC, clips::H264_AC3, clips::H264_EAC3, clips::H264_MP3]);
}

/// Wirecast's. All that ffmpeg makes of pictures that are shown before they are decoded must not be seen.
#[test]
fn pictures_with_negative_offsets_stay_with_their_sound() {
    let file = clips::B_FRAMES.file();
    let mut sent = flv::tags(&std::fs::read(&file).expect("made by the call"));
    for tag in sent.iter_mut().filter(|tag| tag.is_frame(VIDEO)) {
        tag.set_composition(tag.composition() - 120);
    }
    // The first picture is shown at zero, where there is no room to decode it earlier; and later.
    for start in [40, 5_000] {
        let sent = flv::shifted(&sent, start);
        let mut expected = tags::recording("sent", &sent);
        let (tracks, frames) = demuxed(&sent);
        let made = segmented(&tracks, &frames, Some(340));
        let mut got = recording("negative-offsets", &tracks, &made);
        assert!(
            got.tracks[0]
                .frames
                .windows(2)
                .all(|two| two[0].dts_nanos < two[1].dts_nanos)
        );
        for frame in expected
            .tracks
            .iter_mut()
            .chain(&mut got.tracks)
            .flat_map(|track| &mut track.frames)
        {
            frame.dts_nanos = frame.pts_nanos;
        }
        if let Err(difference) = compare::compare(&expected, &got, WHOLE) {
            panic!("from {start} ms: {difference}");
        }
    }
}
