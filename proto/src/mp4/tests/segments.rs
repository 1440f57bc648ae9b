//! CMAF segments and Smooth fragments: what was put in comes out, the same bytes whenever they are made, and nothing that the
//! strict reader or another one finds fault with.

use super::*;
use crate::{
    media::{Piece, Pieces, SegmentMux, rescale},
    mp4::{Cmaf, Segments, Smooth, check_fragments, check_segments},
};

/// A segment as made.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    pub bytes: Vec<u8>,
    pub pieces: Vec<Piece>,
}

/// What a segment is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    pub number: u64,
    pub frames: Vec<Made>,
    pub until: Option<i64>,
}

fn lent(made: &Made) -> Frame<'_> {
    Frame {
        track: made.track,
        dts: made.dts,
        offset: made.offset,
        key: made.key,
        data: &made.data,
    }
}

fn cut(mux: &mut dyn SegmentMux, track: &Track, plan: &Plan) -> Cut {
    let mut out = Pieces::new();
    mux.begin(plan.number, std::slice::from_ref(track), &mut out);
    for made in &plan.frames {
        mux.frame(&lent(made), &mut out);
    }
    mux.end(plan.until, &mut out);
    Cut {
        bytes: out.bytes().to_vec(),
        pieces: out.iter().map(|(piece, _)| *piece).collect(),
    }
}

pub fn init(track: &Track) -> Vec<u8> {
    let (mut mux, mut bytes) = (Cmaf::new(i64::MAX), Vec::new());
    mux.begin(0, std::slice::from_ref(track), &mut Pieces::new());
    mux.init(&mut bytes);
    bytes
}

/// Segments of the frames, one begun wherever `begins` says so.
pub fn plans(frames: &[Made], first_number: u64, begins: impl Fn(usize, &Made) -> bool) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::new();
    for (at, made) in frames.iter().enumerate() {
        if at == 0 || begins(at, made) {
            if let Some(last) = plans.last_mut() {
                last.until = Some(made.dts);
            }
            plans.push(Plan {
                number: first_number + plans.len() as u64,
                frames: Vec::new(),
                until: None,
            });
        }
        plans.last_mut().unwrap().frames.push(made.clone());
    }
    plans
}

pub fn made(track: &Track, part_ticks: i64, plans: &[Plan]) -> Vec<Cut> {
    let mut mux = Cmaf::new(part_ticks);
    plans.iter().map(|plan| cut(&mut mux, track, plan)).collect()
}

pub fn fragment(track: &Track, plan: &Plan) -> Vec<u8> {
    cut(&mut Smooth::new(), track, plan).bytes
}

fn check<'a>(init: &'a [u8], cuts: &'a [Cut]) -> Segments<'a> {
    let bytes: Vec<&[u8]> = cuts.iter().map(|cut| &cut.bytes[..]).collect();
    let read = check_segments(init, &bytes).unwrap();
    for (cut, chunks) in cuts.iter().zip(&read.chunks) {
        assert_eq!(cut.pieces.len(), *chunks, "a piece is a chunk");
    }
    read
}

fn frames_of(read: &Segments<'_>, track: u32) -> Vec<Made> {
    let frames = read.track.samples.iter().map(|sample| Made {
        track,
        dts: sample.dts as i64,
        offset: sample.offset,
        key: sample.key,
        data: sample.bytes.to_vec(),
    });
    frames.collect()
}

fn of_track(frames: &[Made], track: u32) -> Vec<Made> {
    frames.iter().filter(|made| made.track == track).cloned().collect()
}

/// Pieces stand where the bytes do, and their times go on from one to the next.
fn assert_pieces(plan: &Plan, cut: &Cut) {
    let mut dts = plan.frames[0].dts;
    for piece in &cut.pieces {
        assert_eq!(piece.dts, dts);
        dts += piece.duration;
        let first = plan.frames.iter().find(|made| made.dts == piece.dts).unwrap();
        assert_eq!(piece.independent, first.key);
    }
    assert_eq!(cut.pieces.last().map(|piece| piece.end), Some(cut.bytes.len()));
    if let Some(until) = plan.until {
        assert_eq!(dts, until);
    }
}

#[test]
fn every_frame_comes_back_from_segments_at_its_time_whatever_that_is() {
    // Zero, 24 h, where 33 and 32 bits of 90 kHz end inside, and ms since 1970.
    for base in [0, 86_399, (1 << 33) / 90_000, (1 << 32) / 90_000, 1_700_000_000] {
        for part_ticks in [i64::MAX, 30_000, 1] {
            for track in [h264(), aac()] {
                let mut frames = of_track(&usual(base), track.id);
                for made in &mut frames {
                    made.offset = made.offset.abs();
                }
                let plans = plans(&frames, 7, |at, made| made.track == 1 && made.key || at % 24 == 23);
                let cuts = made(&track, part_ticks, &plans);
                let init = init(&track);
                let read = check(&init, &cuts);
                assert_eq!(frames_of(&read, track.id), frames);
                assert_eq!(read.track.timescale, track.timescale);
                plans.iter().zip(&cuts).for_each(|(plan, cut)| assert_pieces(plan, cut));
                if part_ticks == i64::MAX {
                    assert!(read.chunks.iter().all(|chunks| *chunks == 1));
                }
            }
        }
    }
}

#[test]
fn parts_are_full_at_steady_rates_with_times_rounded_to_milliseconds() {
    for rate in [
        10.0, 12.5, 15.0, 23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0,
    ] {
        for wanted in [200.0, 333.0, 500.0, 1000.0] {
            let frame = 90_000.0 / rate;
            // What the stream's home takes: whole frames near what is wanted, and room for what was rounded.
            let count = (f64::round(wanted * 90.0 / frame)).max(1.0);
            let target = (count * frame + f64::min(frame / 4.0, 180.0)).ceil() as i64;
            let frames: Vec<Made> = (0..(rate * 20.0) as i64)
                .map(|n| video((n as f64 * 1000.0 / rate) as i64 * 90, 0, n % (rate * 2.0) as i64 == 0))
                .collect();
            let plans = plans(&frames, 0, |_, made| made.key);
            for cut in made(&h264(), target, &plans) {
                let (_, full) = cut.pieces.split_last().unwrap();
                for piece in full {
                    let share = piece.duration as f64 / target as f64;
                    assert!((0.85..=1.0).contains(&share), "{rate} {wanted}: {share}");
                }
                assert!(cut.pieces.last().unwrap().duration <= target);
            }
        }
    }
}

#[test]
fn a_part_leaves_in_the_moment_its_last_duration_is_known() {
    let (mut mux, mut out) = (Cmaf::new(30_000), Pieces::new());
    mux.begin(1, &[h264()], &mut out);
    for n in 0..40 {
        mux.frame(&lent(&video(n * 3000, 0, n == 0)), &mut out);
        // Ten frames fill it; the eleventh says how long the tenth lasts.
        assert_eq!(out.iter().count() as i64, n / 10, "{n}");
    }
    // One that does not fit begins the next, and one that is longer is a part of its own.
    let (mut mux, mut out) = (Cmaf::new(30_000), Pieces::new());
    mux.begin(1, &[h264()], &mut out);
    for dts in [0, 9000, 18_000, 45_000, 54_000, 150_000, 159_000] {
        mux.frame(&lent(&video(dts, 0, dts == 0)), &mut out);
    }
    mux.end(Some(168_000), &mut out);
    let parts: Vec<_> = out.iter().map(|(piece, _)| (piece.dts, piece.duration)).collect();
    assert_eq!(
        parts,
        [
            (0, 18_000),
            (18_000, 27_000),
            (45_000, 9000),
            (54_000, 96_000),
            (150_000, 18_000)
        ]
    );
}

#[test]
fn another_reader_agrees_on_init_and_segment_of_all_codecs() {
    for (mut carried, kind) in codecs() {
        carried.bitrate_hint = 123_456;
        assert!(Cmaf::new(1).carries(&carried) && Smooth::new().carries(&carried));
        let frames: Vec<_> = of_track(&usual(10), carried.id);
        let plans = plans(&frames, 3, |at, _| at == 9);
        let cuts = made(&carried, 20_000, &plans);
        let init = init(&carried);
        assert_eq!(&check(&init, &cuts).track.entry_kind, kind);
        assert!(init.windows(4).any(|found| found == b"btrt"));
        let boxes = boxes(&[&init[..], &cuts[0].bytes].concat());
        let [
            Any::Ftyp(ftyp),
            Any::Moov(moov),
            Any::Styp(styp),
            Any::Moof(moof),
            Any::Mdat(_),
            ..,
        ] = &boxes[..]
        else {
            panic!("{:?}", boxes.iter().map(Any::kind).collect::<Vec<_>>());
        };
        assert!(ftyp.compatible_brands.contains(&b"cmfc".into()));
        assert_eq!(styp.major_brand, b"msdh".into());
        let [trak] = &moov.trak[..] else { panic!() };
        assert!(trak.edts.is_none());
        assert_eq!(trak.mdia.mdhd.timescale, carried.timescale);
        assert!(!matches!(
            trak.mdia.minf.stbl.stsd.codecs[..],
            [mp4_atom::Codec::Unknown(..)]
        ));
        assert_eq!(moof.mfhd.sequence_number, 3 << limits::PART_NUMBER_BITS | 1);
        let tfdt = moof.traf[0].tfdt.as_ref().unwrap();
        assert_eq!(tfdt.base_media_decode_time as i64, frames[0].dts);
    }
    let plain = init(&h264());
    assert!(
        !plain.windows(4).any(|found| found == b"btrt"),
        "nothing is said of what is not known"
    );
}

/// Wirecast's, and what shows of it.
#[test]
fn pictures_of_a_segment_are_decoded_early_enough_to_be_shown() {
    let offsets = [-3600, 3600, -7200, -3600, 0, 3600, -7200, -3600];
    let frames: Vec<Made> = (0..64)
        .map(|n| video(90_000 + 3600 * n, offsets[n as usize % 8], n % 16 == 0))
        .collect();
    for part_ticks in [30_000, i64::MAX] {
        let cuts = made(&h264(), part_ticks, &plans(&frames, 0, |_, made| made.key));
        let init = init(&h264());
        let got = frames_of(&check(&init, &cuts), 1);
        assert_eq!(shown(&got), shown(&frames));
        assert!(got.iter().all(|made| made.offset >= 0));
        // The same step in every segment: nothing but the begin is moved.
        assert!(
            got.iter()
                .zip(&frames)
                .all(|(got, made)| made.dts - got.dts == 90 * i64::from(limits::EARLY_STEP_MILLIS))
        );
        assert_eq!(
            cuts[1].pieces[0].dts, frames[16].dts,
            "playlists tell the stream's time"
        );
    }
    // At the begin of time there is no room: decode times rise, and nothing is shown much before it is decoded.
    let early: Vec<Made> = (0..64)
        .map(|n| video(3600 * n, if n < 2 { 0 } else { offsets[n as usize % 8] }, n % 16 == 0))
        .collect();
    let cuts = made(&h264(), 30_000, &plans(&early, 0, |_, made| made.key));
    let init = init(&h264());
    let got = frames_of(&check(&init, &cuts), 1);
    assert_eq!(shown(&got), shown(&early));
    assert!(got.windows(2).all(|two| two[0].dts < two[1].dts));
    assert!(got.iter().all(|made| made.offset >= -90), "a millisecond");
    // What is out of all reason is written as it is.
    let far = [
        video(900_000, 0, true),
        video(903_600, -90_000, false),
        video(907_200, 0, false),
    ];
    let cuts = made(&h264(), 30_000, &plans(&far, 0, |_, _| false));
    assert_eq!(shown(&frames_of(&check(&init, &cuts), 1)), shown(&far));
}

#[test]
fn times_that_cannot_be_are_bounded() {
    let track = h264();
    let init = init(&track);
    let at = |dts| video(dts, 0, true);
    let made_of = |dts: &[i64]| -> Vec<Made> {
        let bytes = |n: usize| vec![n as u8; n + 1];
        let frames = dts.iter().enumerate().map(|(n, &dts)| Made {
            track: 1,
            dts,
            offset: 0,
            key: true,
            data: bytes(n),
        });
        frames.collect()
    };
    // Decode times below zero are zero; what is shown stays.
    for part_ticks in [1, 30_000, i64::MAX] {
        let frames = made_of(&[-9000, -6000, -3000, 0, 3000, 6000]);
        let cuts = made(&track, part_ticks, &plans(&frames, 0, |at, _| at == 4));
        let got = frames_of(&check(&init, &cuts), 1);
        assert_eq!(shown(&got), shown(&frames));
        assert!(got.iter().map(|made| made.dts).eq([0, 0, 0, 0, 3000, 6000]));
    }
    // Times that do not grow.
    let same = made_of(&[5, 5, 5, 5]);
    let cuts = made(&track, 30_000, &plans(&same, 0, |at, _| at == 2));
    assert_eq!(frames_of(&check(&init, &cuts), 1), same);
    // A hole of more than 32 bits is one between two chunks; within a segment as well.
    let hole = 1 << 34;
    for part_ticks in [30_000, i64::MAX] {
        let far = made_of(&[0, 3000, hole, hole + 3000]);
        let [cut] = &made(&track, part_ticks, &plans(&far, 0, |_, _| false))[..] else {
            panic!()
        };
        let parts: Vec<_> = cut.pieces.iter().map(|piece| piece.dts).collect();
        assert_eq!(parts.first(), Some(&0));
        assert_eq!(parts.last(), Some(&hole));
        assert!(check_segments(&init, &[&cut.bytes]).is_err(), "it is a hole");
        let chunk = &cut.bytes[cut.pieces[cut.pieces.len() - 2].end..];
        let tfdt = chunk.windows(4).position(|kind| kind == b"tfdt").unwrap() + 8;
        assert_eq!(chunk[tfdt..tfdt + 8], hole.to_be_bytes());
    }
    // An end before the last frame, one out of reach, and the ends of the clock.
    for (dts, until) in [
        (9000, Some(0)),
        (9000, Some(i64::MIN)),
        (0, Some(i64::MAX)),
        (i64::MAX, None),
        (i64::MIN, None),
        (i64::MIN, Some(i64::MAX)),
    ] {
        for offset in [0, i32::MIN, i32::MAX] {
            let plan = Plan {
                number: u64::MAX,
                frames: vec![Made { offset, ..at(0) }],
                until,
            };
            let plan = Plan {
                frames: vec![Made {
                    dts,
                    ..plan.frames[0].clone()
                }],
                ..plan
            };
            for part_ticks in [1, i64::MAX] {
                let made = cut(&mut Cmaf::new(part_ticks), &track, &plan);
                assert_eq!(made.pieces.len(), 1);
                assert!(made.pieces[0].duration >= 0);
            }
            assert_eq!(cut(&mut Smooth::new(), &track, &plan).pieces.len(), 1);
        }
    }
}

#[test]
fn a_segment_without_frames_has_no_bytes() {
    let none = Plan {
        number: 1,
        frames: Vec::new(),
        until: Some(5),
    };
    let other = Plan {
        frames: vec![Made {
            track: 2,
            ..video(0, 0, true)
        }],
        ..none.clone()
    };
    let empty = Plan {
        frames: vec![Made {
            data: Vec::new(),
            ..video(0, 0, true)
        }],
        ..none.clone()
    };
    for plan in [none, other, empty] {
        assert!(cut(&mut Cmaf::new(1), &h264(), &plan).bytes.is_empty());
        assert!(cut(&mut Smooth::new(), &h264(), &plan).bytes.is_empty());
    }
    let mut out = Pieces::new();
    let mut mux = Cmaf::new(1);
    mux.begin(0, &[track(3, Codec::Json, &[])], &mut out);
    mux.frame(&lent(&video(0, 0, true)), &mut out);
    mux.end(None, &mut out);
    let mut bytes = Vec::new();
    mux.init(&mut bytes);
    assert!(out.is_empty() && bytes.is_empty());
}

#[test]
fn what_only_a_frame_tells_is_in_an_init_segment_asked_for_behind_it() {
    let ac3 = track(2, Codec::Ac3, &[]);
    let frame = Made {
        data: vec![0x0B, 0x77, 0, 0, 0x5E, 0x40, 0xE1, 0],
        ..audio(0)
    };
    let (mut mux, mut out) = (Cmaf::new(i64::MAX), Pieces::new());
    let mut inits = Vec::new();
    for _ in 0..2 {
        mux.begin(0, std::slice::from_ref(&ac3), &mut out);
        for told in [false, true] {
            if told {
                mux.frame(&lent(&frame), &mut out);
            }
            let mut init = Vec::new();
            mux.init(&mut init);
            inits.push(init);
        }
        mux.end(None, &mut out);
    }
    assert!(inits[1].windows(7).any(|found| found == b"dac3\x50\x3D\xE0"));
    assert_ne!(inits[0], inits[1]);
    // The same at the same place of every segment.
    assert_eq!(inits[..2], inits[2..]);
}

#[test]
fn numbers_come_from_segment_and_part_alone_and_wrap() {
    let frames: Vec<_> = (0..1100).map(|n| video(n * 3000, 0, n == 0)).collect();
    let plan = |number| Plan {
        number,
        frames: frames.clone(),
        until: Some(1100 * 3000),
    };
    let number_of = |cut: &Cut, piece: usize| {
        let begin = piece.checked_sub(1).map_or(0, |before| cut.pieces[before].end);
        let at = begin + cut.bytes[begin..].windows(4).position(|kind| kind == b"mfhd").unwrap() + 8;
        u32::from_be_bytes(cut.bytes[at..at + 4].try_into().unwrap())
    };
    let cut = cut(&mut Cmaf::new(1), &h264(), &plan((1 << 40) + (1 << 22) + 5));
    assert_eq!(cut.pieces.len(), 1100);
    assert_eq!(number_of(&cut, 0), 5 << 10 | 1);
    assert_eq!(number_of(&cut, 9), 5 << 10 | 10);
    // More than are counted do not reach into the next segment's.
    assert_eq!(number_of(&cut, 1099), 5 << 10 | 1023);
    // Past the end of 32 bits.
    let short = |number, dts| Plan {
        number,
        frames: vec![video(dts, 0, true)],
        until: Some(dts + 3000),
    };
    let cuts = made(&h264(), 1, &[short((1 << 22) - 1, 0), short(1 << 22, 3000)]);
    check(&init(&h264()), &cuts);
}

#[test]
fn damage_of_segments_is_found() {
    let frames: Vec<_> = (0..20).map(|n| video(n * 3000, 0, n % 10 == 0)).collect();
    let cuts = made(&h264(), 15_000, &plans(&frames, 0, |_, made| made.key));
    let init = init(&h264());
    check(&init, &cuts);
    let (first, second) = (&cuts[0].bytes, &cuts[1].bytes);
    let find = |kind: &[u8; 4]| first.windows(4).position(|found| found == kind).unwrap();
    let patched = |at: usize, bytes: &[u8]| {
        let mut copy = first.clone();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        copy
    };
    let fault =
        |init: &[u8], segments: &[&[u8]]| check_segments(init, segments).expect_err("it is damaged").to_string();
    for (damaged, expected) in [
        (patched(find(b"styp"), b"free"), "unexpected box 'free' at byte 0"),
        (patched(find(b"msdh"), b"isom"), "major_brand at byte 8"),
        (first[..24].to_vec(), "lacks a 'moof'"),
        (first[..first.len() - 1].to_vec(), "cut short"),
        (patched(find(b"tfdt") + 15, &[1]), "begins at tick"),
        (patched(find(b"trun") + 15, &[1]), "data_offset at byte"),
        (patched(find(b"trun") + 16, &[0xFF]), "sample_flags at byte"),
        (patched(find(b"mfhd") + 11, &[0xFF]), "behind 255"),
        ([first, &b"\0\0\0\x08free"[..]].concat(), "unexpected box 'free'"),
        ([&first[..24], &first[..]].concat(), "unexpected box 'styp' at byte 24"),
    ] {
        let error = fault(&init, &[&damaged]);
        assert!(error.starts_with("segment 0: ") && error.contains(expected), "{error}");
    }
    assert_eq!(
        fault(&init, &[first, first]),
        format!("segment 1: chunk at byte 24 has number 1, behind 2")
    );
    let lost = made(&h264(), 15_000, &plans(&frames[..9], 0, |_, _| false));
    assert!(fault(&init, &[&lost[0].bytes, second]).contains("segment 1: run at byte"));
    assert!(fault(&[], &[]).starts_with("initialization segment: "));
    let edited = mux(&[h264()], &usual(0)).joins[0].1.clone();
    assert!(fault(&edited, &[]).contains("lacks a 'cmfc'"));
    assert!(fault(&[&init[..], b"\0\0\0\x08free"].concat(), &[]).contains("behind the last field"));
}

/// Pictures shown by a player that takes the fragment's time for its first sample's decode time.
fn smooth_shown(fragment: &crate::mp4::Fragment<'_>) -> Vec<i64> {
    let shown = fragment
        .samples
        .iter()
        .map(|sample| sample.dts as i64 + i64::from(sample.offset));
    shown.collect()
}

#[test]
fn smooth_fragments_keep_pictures_with_their_sound() {
    for base in [0, 86_399, (1 << 33) / 90_000, 1_700_000_000] {
        for track in [h264(), aac()] {
            let frames = of_track(&usual(base), track.id);
            let mut mux = Smooth::new();
            let plans = plans(&frames, 1, |at, made| made.track == 1 && made.key || at % 24 == 23);
            let cuts: Vec<_> = plans.iter().map(|plan| cut(&mut mux, &track, plan)).collect();
            let bytes: Vec<&[u8]> = cuts.iter().map(|cut| &cut.bytes[..]).collect();
            let read = check_fragments(&bytes).unwrap();
            assert_eq!(read.len(), plans.len());
            for ((plan, cut), fragment) in plans.iter().zip(&cuts).zip(&read) {
                assert_pieces(plan, cut);
                let millis = |ticks: i64| rescale(ticks, track.timescale, 1000);
                let expected: Vec<_> = plan
                    .frames
                    .iter()
                    .map(|made| millis(made.dts + i64::from(made.offset)))
                    .collect();
                assert_eq!(smooth_shown(fragment), expected);
                assert_eq!(fragment.time as i64, expected[0], "the name in URL and manifest");
                assert_eq!(fragment.following, []);
                // GStreamer shows pictures later by the largest that is below zero; a ms is in the rounding.
                let offsets = fragment.samples.iter().map(|sample| sample.offset);
                assert!(offsets.min().is_some_and(|least| least >= -2));
                assert_eq!(fragment.samples[0].offset, 0);
                let data = fragment.samples.iter().map(|sample| sample.bytes);
                assert!(data.eq(plan.frames.iter().map(|made| &made.data[..])));
                let keys = fragment.samples.iter().map(|sample| sample.key);
                assert!(keys.eq(plan.frames.iter().map(|made| made.key)));
                if let Some(until) = plan.until {
                    assert_eq!(fragment.duration as i64, millis(until) - millis(plan.frames[0].dts));
                }
            }
        }
    }
}

#[test]
fn smooth_fragments_tell_of_those_that_follow_when_they_are_told() {
    let told = |following: &[(i64, i64)]| {
        let (mut mux, mut out) = (Smooth::new(), Pieces::new());
        // Of another segment, and forgotten.
        mux.begin(8, &[h264()], &mut out);
        mux.following(&[(1, 1)]);
        mux.begin(9, &[h264()], &mut out);
        mux.frame(&lent(&video(90_000, 7200, true)), &mut out);
        mux.following(following);
        mux.end(Some(93_600), &mut out);
        check_fragments(&[out.bytes()]).unwrap().remove(0).following
    };
    assert_eq!(told(&[]), []);
    assert_eq!(
        told(&[(100_800, 180_000), (280_800, 180_000)]),
        [(1120, 2000), (3120, 2000)]
    );
    assert_eq!(told(&[(-5, 3)]), [(0, 0)]);
    assert_eq!(told(&[(0, 1); 9]).len(), limits::FOLLOWING_MAX);
}

#[test]
fn damage_of_fragments_is_found() {
    let frames: Vec<_> = (0..5).map(|n| video(n * 3000, 0, n == 0)).collect();
    let plan = plans(&frames, 1, |_, _| false).remove(0);
    let whole = cut(&mut Smooth::new(), &h264(), &plan).bytes;
    let fault = |bytes: &[u8]| check_fragments(&[bytes]).expect_err("it is damaged").to_string();
    let uuid = |which: usize| {
        let found = whole.windows(4).enumerate().filter(|(_, found)| found == b"uuid");
        found.map(|(at, _)| at).nth(which).unwrap()
    };
    let patched = |at: usize, byte: u8| {
        let mut copy = whole.clone();
        copy[at] = byte;
        copy
    };
    for (damaged, expected) in [
        (patched(uuid(0) + 4, 0), "extended_type at byte"),
        (patched(uuid(1) + 4, 0), "extended_type at byte"),
        (patched(uuid(0) + 39, 1), "FragmentDuration at byte"),
        (patched(uuid(1) + 24, 200), "FragmentCount at byte"),
        (whole[..whole.len() - 1].to_vec(), "cut short"),
    ] {
        let error = fault(&damaged);
        assert!(error.contains(expected), "{error}");
    }
    assert!(
        check_fragments(&[&whole, &whole])
            .unwrap_err()
            .to_string()
            .contains("has number 1, behind 1")
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn segments_are_the_same_whenever_they_are_made_and_hold_every_frame(
        frames in stream(),
        id in 1u32..=2,
        part_ticks in prop_oneof![Just(i64::MAX), 1i64..60_000],
        cuts in proptest::collection::vec(any::<bool>(), 1..40),
        number in 0u64..5_000_000,
    ) {
        let frames = of_track(&frames, id);
        prop_assume!(!frames.is_empty());
        let track = if id == 1 { h264() } else { aac() };
        let plans = plans(&frames, number, |at, _| cuts[at % cuts.len()]);
        let made = made(&track, part_ticks, &plans);
        // Backwards, each by a muxer that has made others or none, and one that was left in the middle.
        let (mut used, mut smooth) = (Cmaf::new(part_ticks), Smooth::new());
        for (plan, cut_before) in plans.iter().zip(&made).rev() {
            prop_assert_eq!(&cut(&mut used, &track, plan), cut_before);
            prop_assert_eq!(&cut(&mut Cmaf::new(part_ticks), &track, plan), cut_before);
            let (of_used, of_new) = (cut(&mut smooth, &track, plan), cut(&mut Smooth::new(), &track, plan));
            prop_assert_eq!(of_used, of_new);
            for mux in [&mut used as &mut dyn SegmentMux, &mut smooth] {
                mux.begin(1, &[if number % 2 == 0 { aac() } else { h264() }], &mut Pieces::new());
                mux.frame(&lent(&frames[0]), &mut Pieces::new());
            }
        }
        // Offsets that are not the same in every segment move decode times; each is right by itself.
        let init = init(&track);
        let mut got = Vec::new();
        for (plan, cut) in plans.iter().zip(&made) {
            assert_pieces(plan, cut);
            let read = check(&init, std::slice::from_ref(cut));
            got.extend(frames_of(&read, id));
            for (piece, frames) in cut.pieces.iter().zip(read.track.samples.chunk_by(|a, b| a.chunk == b.chunk)) {
                prop_assert!(piece.duration <= part_ticks || frames.len() == 1);
                // Where pictures would be decoded before zero they last shorter.
                if plan.frames[0].dts > 30_000 || plan.frames.iter().all(|made| made.offset >= 0) {
                    let lasts: i64 = frames.iter().map(|sample| i64::from(sample.duration)).sum();
                    prop_assert_eq!(lasts, piece.duration);
                }
            }
        }
        prop_assert_eq!(shown(&got), shown(&frames));
        if frames.iter().all(|made| made.offset >= 0) {
            prop_assert_eq!(frames_of(&check(&init, &made), id), frames);
        }
    }
}
