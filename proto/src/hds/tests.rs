//! Fragments and bootstraps against the strict reader, and against what the specification says byte for byte.

use std::collections::VecDeque;

use super::read::{self, Fragment};
use super::*;
use crate::codec::cases::{self, hex};
use crate::media::{Codec, Format, Frame, Item, Pieces, Presentation, Rate, Rendition, Segment, SegmentMux, Track};
use crate::tag::wire::outer::TagHeader;
use crate::tag::{Demux, MessageKind};

fn video() -> Track {
    Track {
        id: 1,
        generation: 0,
        codec: Codec::H264,
        timescale: 90_000,
        codec_data: hex(cases::AVCC_HIGH),
        bitrate_hint: 0,
        format: Format::Video {
            width: 640,
            height: 360,
            frame_rate: 25.0,
        },
    }
}

fn audio(codec: Codec) -> Track {
    Track {
        id: 2,
        generation: 0,
        codec,
        timescale: 48_000,
        codec_data: if codec == Codec::Aac {
            vec![0x11, 0x90]
        } else {
            Vec::new()
        },
        bitrate_hint: 0,
        format: Format::Audio {
            sample_rate: 48_000,
            channels: 2,
            sample_bits: 16,
        },
    }
}

struct Shot {
    track: u32,
    dts: i64,
    offset: i32,
    key: bool,
    data: Vec<u8>,
}

/// Two seconds from `begin_millis` on in order of arrival, sound 250 ms late.
fn shots(tracks: &[Track], begin_millis: i64) -> Vec<Shot> {
    let mut shots: Vec<(i64, Shot)> = Vec::new();
    for track in tracks {
        let is_video = track.id == 1;
        let (count, step, late) = if is_video { (50, 3_600, 0) } else { (93, 1024, 250) };
        let begin = begin_millis * i64::from(track.timescale) / 1000;
        for index in 0..count {
            let dts = begin + index * step;
            let key = !is_video || index == 0;
            let data = if is_video {
                vec![0, 0, 0, 2, if key { 0x65 } else { 0x41 }, index as u8]
            } else {
                vec![0x21, index as u8]
            };
            let offset = if is_video { 3_600 } else { 0 };
            let arrival = dts * 1000 / i64::from(track.timescale) + late;
            shots.push((
                arrival,
                Shot {
                    track: track.id,
                    dts,
                    offset,
                    key,
                    data,
                },
            ));
        }
    }
    shots.sort_by_key(|(arrival, _)| *arrival);
    shots.into_iter().map(|(_, shot)| shot).collect()
}

fn made(mux: &mut Segments, tracks: &[Track], shots: &[Shot], until: Option<i64>) -> Pieces {
    let mut out = Pieces::new();
    mux.begin(7, tracks, &mut out);
    for shot in shots {
        let frame = Frame {
            track: shot.track,
            dts: shot.dts,
            offset: shot.offset,
            key: shot.key,
            data: &shot.data,
        };
        mux.frame(&frame, &mut out);
        assert!(out.is_empty(), "a fragment is one piece");
    }
    mux.end(until, &mut out);
    out
}

/// Seeds of the fuzz run.
pub(super) fn fragments() -> Vec<Vec<u8>> {
    let pairs = [vec![video(), audio(Codec::Aac)], vec![audio(Codec::Mp3)], vec![video()]];
    pairs
        .iter()
        .map(|tracks| {
            made(&mut Segments::new(), tracks, &shots(tracks, 0), None)
                .bytes()
                .to_vec()
        })
        .collect()
}

#[test]
fn a_fragment_has_its_headers_and_every_frame_in_order_of_time() {
    let tracks = [video(), audio(Codec::Aac)];
    // on the far side of 32 bits of ms, too
    for begin_millis in [0, 5_000, (1 << 32) - 1_000] {
        let shots = shots(&tracks, begin_millis);
        let out = made(&mut Segments::new(), &tracks, &shots, Some(begin_millis * 90 + 180_000));
        let pieces: Vec<_> = out.iter().map(|(piece, _)| *piece).collect();
        assert_eq!(pieces.len(), 1);
        assert_eq!(
            (pieces[0].dts, pieces[0].duration, pieces[0].independent),
            (begin_millis * 90, 180_000, true)
        );
        let mut demux = Demux::new();
        let (mut bodies, mut times, mut payloads) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
        read::fragment(out.bytes(), |header, body| {
            let (kind, at) = match header.tag_type {
                TagHeader::VIDEO => (MessageKind::Video, 0),
                _ => (MessageKind::Audio, 1),
            };
            demux.push(kind, header.timestamp, body).unwrap();
            while let Some(item) = demux.poll() {
                if let Item::Frame(frame) = item {
                    payloads[at].push((frame.data.to_vec(), frame.offset, frame.key));
                }
            }
            times.push(header.timestamp.wrapping_sub(begin_millis as u32));
            bodies.push((header.tag_type, body[0], body[1]));
        })
        .unwrap();
        assert_eq!(bodies[..2], [(9, 0x17, 0), (8, 0xaf, 0)]);
        assert_eq!((times[0], times[1]), (0, 0));
        assert!(times.windows(2).all(|pair| pair[0] <= pair[1]), "{times:?}");
        let found: Vec<_> = demux.tracks().iter().map(|track| &track.codec_data).collect();
        assert_eq!(found, [&tracks[0].codec_data, &tracks[1].codec_data]);
        for (track, payloads) in tracks.iter().zip(&payloads) {
            let of_track = shots.iter().filter(|shot| shot.track == track.id);
            let sent: Vec<_> = of_track
                .map(|shot| (shot.data.clone(), shot.offset, shot.key))
                .collect();
            assert_eq!(payloads, &sent);
        }
    }
}

/// Sound from before the keyframe goes behind it, and nothing of the muxer's past goes into a fragment.
#[test]
fn bytes_are_those_of_the_fragment_alone() {
    let tracks = [video(), audio(Codec::Aac)];
    let mut mixed = shots(&tracks, 10_000);
    mixed.insert(
        1,
        Shot {
            track: 2,
            dts: 9_800 * 48,
            offset: 0,
            key: true,
            data: vec![0x21, 0xee],
        },
    );
    let fresh = made(&mut Segments::new(), &tracks, &mixed, Some(12_000 * 90));
    let mut kinds = Vec::new();
    read::fragment(fresh.bytes(), |header, _| {
        kinds.push((header.tag_type, header.timestamp))
    })
    .unwrap();
    assert_eq!(kinds[..4], [(9, 10_000), (8, 10_000), (9, 10_000), (8, 9_800)]);
    let mut used = Segments::new();
    made(
        &mut used,
        &[audio(Codec::Mp3)],
        &shots(&[audio(Codec::Mp3)], 4_000),
        None,
    );
    used.begin(1, &tracks, &mut Pieces::new());
    let late = &mixed[0];
    used.frame(
        &Frame {
            track: 1,
            dts: late.dts,
            offset: 0,
            key: true,
            data: &late.data,
        },
        &mut Pieces::new(),
    );
    let again = made(&mut used, &tracks, &mixed, Some(12_000 * 90));
    assert!(again.bytes() == fresh.bytes());
    // no frame, no fragment
    let mut out = Pieces::new();
    used.begin(2, &tracks, &mut out);
    used.end(None, &mut out);
    assert!(out.is_empty());
}

#[test]
fn flash_knows_three_codecs() {
    let mux = Segments::new();
    assert!(mux.carries(&video()) && mux.carries(&audio(Codec::Aac)) && mux.carries(&audio(Codec::Mp3)));
    for codec in [Codec::Opus, Codec::Ac3, Codec::Flac, Codec::Alaw] {
        assert!(!mux.carries(&audio(codec)), "{codec:?}");
    }
    for codec in [Codec::Hevc, Codec::Av1] {
        assert!(!mux.carries(&Track { codec, ..video() }));
    }
    assert!(!mux.carries(&Track {
        codec_data: Vec::new(),
        ..video()
    }));
    let mut out = Pieces::new();
    let mut mux = Segments::new();
    mux.begin(1, &[audio(Codec::Opus)], &mut out);
    mux.end(None, &mut out);
    assert!(out.is_empty());
}

/// Number, start and duration in ms, discontinuity, gap.
type Row = (u64, i64, i64, bool, bool);

fn rendition(rows: &[Row]) -> Rendition {
    let segments: VecDeque<Segment> = rows
        .iter()
        .map(|&(number, start, duration, discontinuity, gap)| Segment {
            number,
            start: start * 90,
            duration: duration * 90,
            discontinuity,
            gap,
            ..Segment::default()
        })
        .collect();
    Rendition {
        tracks: vec![video(), audio(Codec::Aac)],
        path: "1_2".to_owned(),
        timescale: 90_000,
        segments,
        rate: Rate {
            peak: 3_000_000,
            average: 2_600_001,
        },
        ..Rendition::default()
    }
}

fn presentation(is_ended: bool) -> Presentation {
    Presentation {
        is_ended,
        ..Presentation::default()
    }
}

fn made_bootstrap(rows: &[Row], is_ended: bool) -> Vec<u8> {
    let mut out = Vec::new();
    bootstrap(&presentation(is_ended), &rendition(rows), &mut out);
    out
}

const PLAIN: &[Row] = &[
    (5, 10_000, 2_000, false, false),
    (6, 12_000, 2_000, false, false),
    (7, 14_000, 1_960, false, false),
];

type Case<'a> = (&'a str, &'a [Row], &'a [(u32, u64, u32)], &'a [(bool, bool)]);

const CASES: &[Case<'_>] = &[
    (
        "plain",
        PLAIN,
        &[(5, 10_000, 2_000), (6, 12_000, 2_000), (7, 14_000, 1_960)],
        &[],
    ),
    ("none", &[], &[], &[]),
    ("one", &[(1, 0, 2_000, false, false)], &[(1, 0, 2_000)], &[]),
    (
        "number 0 is no fragment",
        &[(0, 0, 2_000, false, false), (1, 2_000, 2_000, false, false)],
        &[(1, 2_000, 2_000)],
        &[],
    ),
    (
        "a publisher's return without a jump",
        &[(3, 6_000, 2_000, false, false), (4, 8_000, 2_000, true, false)],
        &[(3, 6_000, 2_000), (4, 8_000, 2_000)],
        &[],
    ),
    (
        "time jumps ahead, and back",
        &[
            (3, 6_000, 2_000, false, false),
            (4, 90_000, 2_000, true, false),
            (5, 1_000, 2_000, true, false),
            (6, 3_000, 2_000, false, false),
        ],
        &[
            (3, 6_000, 2_000),
            (4, 90_000, 2_000),
            (5, 1_000, 2_000),
            (6, 3_000, 2_000),
        ],
        &[(false, true), (false, true)],
    ),
    (
        "a gap",
        &[
            (3, 6_000, 2_000, false, false),
            (4, 8_000, 2_000, false, true),
            (5, 10_000, 2_000, false, false),
        ],
        &[(3, 6_000, 2_000), (5, 10_000, 2_000)],
        &[(true, true)],
    ),
    (
        "what was thought to last longer",
        &[(3, 6_000, 2_500, false, false), (4, 8_000, 2_000, false, false)],
        &[(3, 6_000, 2_000), (4, 8_000, 2_000)],
        &[],
    ),
    (
        "no duration",
        &[(3, 6_000, 0, false, false), (4, 6_000, 2_000, true, false)],
        &[(3, 6_000, 1), (4, 6_000, 2_000)],
        &[(false, true)],
    ),
    (
        "beyond 32 bits of ms",
        &[
            (3, 1 << 32, 2_000, false, false),
            (4, (1 << 32) + 2_000, 1_000, false, false),
        ],
        &[(3, 1 << 32, 2_000), (4, (1 << 32) + 2_000, 1_000)],
        &[],
    ),
];

/// Seeds of the fuzz run.
pub(super) fn bootstraps() -> Vec<Vec<u8>> {
    let each = |(_, rows, _, _): &Case<'_>| [made_bootstrap(rows, false), made_bootstrap(rows, true)];
    CASES.iter().flat_map(each).collect()
}

#[test]
fn a_bootstrap_lists_what_can_be_fetched() {
    for &(name, rows, expected, jumps) in CASES {
        for is_ended in [false, true] {
            let found =
                read::bootstrap(&made_bootstrap(rows, is_ended)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let fragments: Vec<Fragment> = found.fragments().collect();
            let wanted: Vec<Fragment> = expected
                .iter()
                .map(|&(number, time, duration)| Fragment { number, time, duration })
                .collect();
            assert_eq!(fragments, wanted, "{name}");
            assert_eq!(found.jumps().collect::<Vec<_>>(), jumps, "{name}");
            assert_eq!(found.is_live, !is_ended, "{name}");
            assert_eq!(found.is_ended(), is_ended && !expected.is_empty(), "{name}");
            let end = expected.last().map_or(0, |last| last.1 + u64::from(last.2));
            assert_eq!((found.current_media_time, &found.movie[..]), (end, "1_2"), "{name}");
        }
    }
}

#[test]
fn the_bytes_of_a_bootstrap_are_those_of_annex_c() {
    let runs = "00000005 0000000000002710 000007d0 00000007 00000000000036b0 000007a8";
    let end = "00000008 0000000000003e58 00000000 00";
    for (is_ended, version, flags, fragments, size, afrt, count, end) in [
        (false, "00000010", "20", "ffffffff", 0x7d, 0x35, 2, ""),
        (true, "00000011", "00", "00000007", 0x8e, 0x46, 3, end),
    ] {
        let text = format!(
            "{size:08x} 61627374 00000000 {version} {flags} 000003e8 0000000000003e58 0000000000000000 315f3200 00 00 00 00 \
             01 00000019 61737274 00000000 00 00000001 00000001 {fragments} \
             01 {afrt:08x} 61667274 00000000 000003e8 00 {count:08x} {runs} {end}"
        );
        let expected = hex(&text.replace(' ', ""));
        assert_eq!(made_bootstrap(PLAIN, is_ended), expected);
    }
}

#[test]
fn a_wrong_bootstrap_or_fragment_is_refused() {
    let good = made_bootstrap(PLAIN, true);
    // size, type, version, live, time scale, current time, asrt, indicator of the end
    for (at, value) in [
        (3, 0),
        (4, b'x'),
        (8, 1),
        (16, 0x20),
        (20, 0),
        (28, 1),
        (good.len() - 1, 1),
    ] {
        let mut wrong = good.clone();
        wrong[at] = value;
        assert!(read::bootstrap(&wrong).is_err(), "{at}");
    }
    for length in 0..good.len() {
        assert!(read::bootstrap(&good[..length]).is_err());
    }
    assert!(read::bootstrap(&[&good[..], &[0]].concat()).is_err());
    let good = fragments().remove(0);
    // size, type, tag type, stream id, and the size behind the last tag
    for (at, value) in [(3, 1), (7, b'x'), (8, 7), (18, 1), (good.len() - 1, 0)] {
        let mut wrong = good.clone();
        wrong[at] = value;
        assert!(read::fragment(&wrong, |_, _| {}).is_err(), "{at}");
    }
    assert!(read::fragment(&good[..good.len() - 1], |_, _| {}).is_err());
}

#[test]
fn a_manifest_names_bootstraps_and_media() {
    let sound = Rendition {
        tracks: vec![audio(Codec::Aac)],
        path: "2".to_owned(),
        rate: Rate::default(),
        ..rendition(PLAIN)
    };
    let pair = rendition(PLAIN);
    let mut out = String::new();
    manifest(&presentation(false), "live+<a&b>", &[&pair, &sound], &mut out);
    let (lines, metadata): (Vec<&str>, Vec<&str>) = out.lines().partition(|line| !line.starts_with("<metadata>"));
    assert_eq!(
        lines,
        [
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
            "<manifest xmlns=\"http://ns.adobe.com/f4m/1.0\">",
            "<id>live+&lt;a&amp;b&gt;</id>",
            "<streamType>live</streamType>",
            "<deliveryType>streaming</deliveryType>",
            "<bootstrapInfo profile=\"named\" id=\"bootstrap1_2\" url=\"1_2.abst\"/>",
            "<bootstrapInfo profile=\"named\" id=\"bootstrap2\" url=\"2.abst\"/>",
            "<media streamId=\"1_2\" url=\"1_2-\" bootstrapInfoId=\"bootstrap1_2\" bitrate=\"2601\" width=\"640\" height=\"360\">",
            "</media>",
            "<media streamId=\"2\" url=\"2-\" bootstrapInfoId=\"bootstrap2\">",
            "</media>",
            "</manifest>",
        ]
    );
    // AMF0: a string of 10 characters, "onMetaData"
    assert_eq!(metadata.len(), 2);
    for line in metadata {
        assert!(
            line.starts_with("<metadata>AgAKb25NZXRhRGF0YQgA") && line.ends_with("</metadata>"),
            "{line}"
        );
    }
    out.clear();
    manifest(&presentation(true), "live", &[&pair], &mut out);
    assert!(out.contains("<streamType>recorded</streamType>") && out.contains("<duration>5.960</duration>"));
}

#[test]
fn extreme_times_and_numbers_are_survived() {
    let rows = [
        (u64::from(u32::MAX) - 1, i64::MAX / 90, 5, false, false),
        (u64::from(u32::MAX), 5, 5, true, false),
        (u64::MAX, i64::MIN / 90, i64::MAX / 90, true, false),
    ];
    for is_ended in [false, true] {
        assert!(!made_bootstrap(&rows, is_ended).is_empty());
        manifest(&presentation(is_ended), "x", &[&rendition(&rows)], &mut String::new());
    }
    let mut mux = Segments::new();
    let mut out = Pieces::new();
    for until in [None, Some(i64::MIN), Some(i64::MAX)] {
        mux.begin(u64::MAX, &[video(), audio(Codec::Aac)], &mut out);
        for dts in [0, i64::MAX / 2, i64::MIN / 2, -1] {
            for (track, offset) in [(1, i32::MIN), (1, i32::MAX), (2, 0), (9, 0)] {
                let frame = Frame {
                    track,
                    dts,
                    offset,
                    key: true,
                    data: &[1, 2],
                };
                mux.frame(&frame, &mut out);
            }
        }
        mux.end(until, &mut out);
    }
    assert_eq!(out.iter().count(), 3);
}
