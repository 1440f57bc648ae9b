//! Segments cut as a stream's home cuts them: each alone, all together under the checker, and made again.

use super::*;
use crate::media::{Format, Mux as _, Records};
use crate::noise::Noise;
use crate::ts::check::{Checker, Report};
use crate::ts::limits::DECODE_DELAY_MS;
use crate::ts::mux::Mux;
use crate::ts::mux::scene::{Scene, Shot, audio, picture, video};
use crate::ts::wire::{PACKET_BYTES, PID_PAT, PID_SDT, Pmt, stamp};

/// A segment before it is made.
struct Recipe {
    number: u64,
    tracks: Vec<Track>,
    shots: Vec<Shot>,
    until: Option<i64>,
}

impl Recipe {
    fn make(&self, mux: &mut Segments) -> Pieces {
        let mut out = Pieces::new();
        mux.begin(self.number, &self.tracks, &mut out);
        self.shots.iter().for_each(|shot| mux.frame(&shot.frame(), &mut out));
        mux.end(self.until, &mut out);
        out
    }
}

/// A segment begins with a keyframe (without picture: with any frame) of the first track at or behind `ticks` of it.
fn cut(tracks: &[Track], shots: Vec<Shot>, ticks: i64) -> Vec<Recipe> {
    let lead = tracks[0].id;
    let mut recipes: Vec<Recipe> = Vec::new();
    let mut due = i64::MIN;
    for shot in shots {
        if shot.track == lead && shot.key && shot.dts >= due {
            due = shot.dts + ticks;
            if let Some(last) = recipes.last_mut() {
                last.until = Some(shot.dts);
            }
            recipes.push(Recipe {
                number: 1_000_003 + recipes.len() as u64,
                tracks: tracks.to_vec(),
                shots: Vec::new(),
                until: None,
            });
        }
        if let Some(last) = recipes.last_mut() {
            last.shots.push(shot);
        }
    }
    recipes
}

fn recipes(scene: &Scene) -> Vec<Recipe> {
    let tracks = scene.tracks();
    let ticks = i64::from(tracks[0].timescale) * 9 / 10;
    cut(&tracks, scene.shots(), ticks)
}

fn check(stream: &[u8]) -> Report {
    let mut checker = Checker::of_segments();
    stream.chunks(1000).for_each(|piece| checker.push(piece));
    checker.finish()
}

fn packets(bytes: &[u8]) -> impl Iterator<Item = packet::Packet<'_>> {
    let (whole, rest) = bytes.as_chunks::<PACKET_BYTES>();
    assert!(rest.is_empty());
    whole.iter().map(|bytes| packet::parse(bytes).unwrap())
}

/// PTS, DTS and payload of each PES packet on `pid`.
type Parcel = (Option<u64>, Option<u64>, Vec<u8>);

fn parcels(stream: &[u8], pid: u16) -> Vec<Parcel> {
    let mut whole: Vec<Vec<u8>> = Vec::new();
    for packet in packets(stream).filter(|packet| packet.pid == pid) {
        let Some(payload) = packet.payload else { continue };
        if packet.start {
            whole.push(Vec::new());
        }
        whole.last_mut().unwrap().extend_from_slice(payload);
    }
    whole
        .iter()
        .map(|bytes| {
            let parsed = pes::Head::parse(bytes).unwrap();
            (parsed.head.pts, parsed.head.dts, bytes[parsed.head_bytes..].to_vec())
        })
        .collect()
}

/// What must hold of each segment by itself and of its pieces.
fn check_segment(recipe: &Recipe, made: &Pieces, name: &str) {
    let first: Vec<_> = packets(made.bytes()).take(8).collect();
    let pids: Vec<u16> = first.iter().map(|packet| packet.pid).collect();
    assert_eq!(pids[..2], [PID_PAT, PID_PMT], "{name}");
    let media = pids
        .iter()
        .position(|&pid| pid != PID_SDT && pid != PID_PAT && pid != PID_PMT)
        .unwrap();
    assert!(pids[2..media].iter().all(|&pid| pid == PID_SDT) && media > 2, "{name}");
    let adaptation = first[media].adaptation.unwrap();
    assert!(adaptation.random_access && !adaptation.discontinuity, "{name}");
    let begin = rescale(recipe.shots[0].dts, recipe.tracks[0].timescale, CLOCK_HZ);
    assert_eq!(adaptation.pcr, Some(Pcr::new(begin)), "{name}");
    for pid in [PID_FIRST, PID_FIRST + 1] {
        let counters: Vec<u8> = packets(made.bytes())
            .filter(|packet| packet.pid == pid && packet.payload.is_some())
            .map(|packet| packet.counter)
            .collect();
        assert!(counters.len().is_multiple_of(16), "{name}: {}", counters.len());
        assert!(counters.first().is_none_or(|&counter| counter == 0), "{name}");
    }
    for (pid, packets_each) in [(PID_PAT, 1), (PID_PMT, 1), (PID_SDT, media as u64 - 2)] {
        let first = packets(made.bytes()).find(|packet| packet.pid == pid).unwrap();
        assert_eq!(u64::from(first.counter), recipe.number * packets_each % 16, "{name}");
    }
    let found: Vec<Piece> = made.iter().map(|(piece, _)| *piece).collect();
    assert_eq!(found[0].dts, recipe.shots[0].dts, "{name}");
    assert!(
        found[0].independent && found[1..].iter().all(|piece| !piece.independent),
        "{name}"
    );
    for pair in found.windows(2) {
        assert_eq!(pair[0].dts + pair[0].duration, pair[1].dts, "{name}");
        let millis = rescale(pair[0].duration, recipe.tracks[0].timescale, 1000);
        assert!(millis >= PIECE_MS_MIN, "{name}: {millis}");
    }
    let last = found.last().unwrap();
    if let Some(until) = recipe.until {
        assert_eq!(last.dts + last.duration, until, "{name}");
    }
    assert_eq!(last.end, made.bytes().len());
}

/// Makes all, checks each and all together, compares with what the endless muxer makes of the same frames.
fn check_all(recipes: &[Recipe], name: &str) -> Report {
    let mut used = Segments::new(name);
    let mut stream = Vec::new();
    for recipe in recipes {
        let made = recipe.make(&mut used);
        check_segment(recipe, &made, name);
        let again = recipe.make(&mut Segments::new(name));
        assert!(again.bytes() == made.bytes(), "{name}: {}", recipe.number);
        assert!(
            again
                .iter()
                .map(|(piece, _)| piece)
                .eq(made.iter().map(|(piece, _)| piece))
        );
        stream.extend_from_slice(made.bytes());
    }
    for (recipe, other) in recipes.iter().rev().zip(recipes.iter()) {
        let mut mux = Segments::new(name);
        other.make(&mut mux);
        // one that was left in the middle
        mux.begin(7, &other.tracks, &mut Pieces::new());
        mux.frame(&other.shots[0].frame(), &mut Pieces::new());
        let twice = recipe.make(&mut mux);
        assert!(
            twice.bytes() == recipe.make(&mut used).bytes(),
            "{name}: {}",
            recipe.number
        );
    }
    let mut endless = Mux::new(name);
    endless.start(&recipes[0].tracks);
    let mut records = Records::new();
    let shots = recipes.iter().flat_map(|recipe| &recipe.shots);
    shots.for_each(|shot| endless.frame(&shot.frame(), &mut records));
    for (at, track) in recipes[0].tracks.iter().enumerate() {
        let expected = parcels(records.bytes(), PID_FIRST + at as u16);
        let found = parcels(&stream, pid_of(track));
        if track.codec == Codec::Aac {
            check_sound(&found, &expected, track.timescale, name);
        } else {
            assert_eq!(found.len(), expected.len(), "{name}");
            assert!(found == expected, "{name}: other PES packets than the endless stream's");
        }
    }
    check(&stream)
}

/// Frames of AAC are those of the endless stream's PES packets, each at its time: that of its packet is exact, and counting samples
/// from there is not off by more than rounding.
fn check_sound(found: &[Parcel], expected: &[Parcel], rate: u32, name: &str) {
    let mut expected = expected.iter();
    for (pts, dts, payload) in found {
        assert_eq!(*dts, None, "{name}");
        let (mut rest, mut count) = (&payload[..], 0);
        while !rest.is_empty() {
            let head = crate::codec::aac::Adts::parse(rest).unwrap();
            let (frame, behind) = rest.split_at(head.frame_bytes);
            let wanted = expected.next().unwrap();
            assert!(frame == wanted.2, "{name}");
            let counted = pts.unwrap() as i64 + rescale(count * 1024, rate, 90_000);
            let off = crate::ts::wire::stamp_difference(stamp(counted), wanted.0.unwrap());
            assert!(if count == 0 { off == 0 } else { off.abs() <= 1 }, "{name}: {off}");
            rest = behind;
            count += 1;
        }
        assert!(
            count <= 90 * i64::from(rate) / 1024 / 1000 + 1,
            "{name}: {count} frames in a packet"
        );
    }
    assert_eq!(expected.next(), None, "{name}");
}

/// Frames of sound that follow each other share packets, others do not.
#[test]
fn sound_shares_packets_where_it_follows() {
    let count = |step: i64, codec| {
        let shot = |index| Shot {
            track: 2,
            dts: index * step,
            offset: 0,
            key: true,
            data: vec![0x21; 170],
        };
        let recipes = cut(&[audio(2, codec, 48_000)], (0..40).map(shot).collect(), 40 * step);
        let made = recipes[0].make(&mut Segments::new("x"));
        parcels(made.bytes(), PID_FIRST + 1).len()
    };
    assert!(count(1024, Codec::Aac) <= 12);
    assert_eq!(count(1030, Codec::Aac), 40);
    assert_eq!(count(1024, Codec::Ac3), 40);
}

#[test]
fn segments_are_one_stream() {
    type Change = fn(&mut Scene);
    let scenes: [(&str, Change); 15] = [
        ("plain", |_| {}),
        ("video only", |scene| scene.audio = false),
        ("audio only", |scene| scene.video = false),
        ("24 pictures", |scene| scene.frame_millis = 41),
        ("60 pictures", |scene| scene.frame_millis = 16),
        ("4 pictures", |scene| (scene.frame_millis, scene.gop) = (250, 4)),
        ("a picture each 2 s", |scene| {
            (scene.frame_millis, scene.gop, scene.millis) = (2000, 2, 16_000)
        }),
        ("a picture each 2 s, no audio", |scene| {
            (scene.frame_millis, scene.gop, scene.millis, scene.audio) = (2000, 2, 16_000, false)
        }),
        ("large pictures", |scene| scene.picture_bytes = 40_000),
        ("small pictures", |scene| scene.picture_bytes = 20),
        ("late audio", |scene| scene.audio_lag_millis = 450),
        ("early audio", |scene| scene.audio_lag_millis = -800),
        ("32 bits of ms", |scene| scene.begin_millis = (1 << 32) - 1500),
        ("33 bits of 90 kHz", |scene| scene.begin_millis = (1 << 33) / 90 - 1500),
        ("before zero", |scene| scene.begin_millis = -1000),
    ];
    for (name, change) in scenes {
        let mut scene = Scene::default();
        change(&mut scene);
        let recipes = recipes(&scene);
        assert!(recipes.len() >= 3, "{name}");
        let report = check_all(&recipes, name);
        assert_eq!(report.problems, [], "{name}");
        assert_eq!(report.discontinuities, 0, "{name}");
        let count = |track| {
            let shots = recipes.iter().flat_map(|recipe| &recipe.shots);
            shots.filter(|shot| shot.track == track).count() as u64
        };
        assert_eq!(
            (report.video_frames, report.audio_frames),
            (count(1), count(2)),
            "{name}"
        );
        assert!(report.pcr_interval_micros_max <= 40_000, "{name}");
    }
}

/// Sound that is later than all that clocks allow is behind them at the begin of a segment, and everything else holds.
#[test]
fn very_late_sound_moves_no_clock() {
    for lag in [900, 2_500, -2_500] {
        let recipes = recipes(&Scene {
            audio_lag_millis: lag,
            millis: 9_000,
            gop: 75,
            ..Scene::default()
        });
        let mut mux = Segments::new("late");
        let stream: Vec<u8> = recipes
            .iter()
            .flat_map(|recipe| recipe.make(&mut mux).bytes().to_vec())
            .collect();
        let report = check(&stream);
        let other =
            |problem: &&crate::ts::check::Problem| !matches!(problem.what, crate::ts::check::What::DtsBehindPcr { .. });
        assert_eq!(report.problems.iter().find(other), None, "{lag}");
        assert_eq!(
            (report.discontinuities, report.pcr_interval_micros_max),
            (0, 40_000),
            "{lag}"
        );
        // half a second is what decode times are ahead
        let late_millis = (lag - DECODE_DELAY_MS).clamp(0, ORDER_MS_MAX - DECODE_DELAY_MS);
        if lag < ORDER_MS_MAX {
            let frames_max = recipes.len() as i64 * (late_millis * 441 / 10_240 + 1);
            assert!(
                report.problem_count <= frames_max as u64,
                "{lag}: {}",
                report.problem_count
            );
        }
        let pts = |parcel: &Parcel| parcel.0.unwrap();
        assert!(
            parcels(&stream, PID_FIRST + 1)
                .windows(2)
                .all(|pair| pts(&pair[0]) < pts(&pair[1]))
        );
    }
}

#[test]
fn any_rhythm_is_one_stream() {
    let mut random = Noise(0x2545_f491);
    for round in 0..40 {
        let (mut at, mut shots) = (random.below(1 << 33) as i64, Vec::new());
        let begin = at;
        for index in 0..60 {
            let key = random.below(6) == 0 || index == 0;
            let data = picture(key, random.below(9_000));
            let offset = random.below(300) as i32 * 90;
            shots.push((
                at,
                Shot {
                    track: 1,
                    dts: at * 90,
                    offset,
                    key,
                    data,
                },
            ));
            at += if random.below(12) == 0 {
                random.below(3_000)
            } else {
                1 + random.below(90)
            } as i64;
        }
        let silent = random.below(2) == 0;
        for index in 0.. {
            let dts = rescale(begin, 1000, 44_100) + index * 1024;
            let arrival = rescale(dts, 44_100, 1000);
            if arrival >= at {
                break;
            }
            // a sound that comes and goes
            if !silent || index / 50 % 2 == 0 {
                let data = vec![0x21; 1 + random.below(60)];
                shots.push((
                    arrival,
                    Shot {
                        track: 2,
                        dts,
                        offset: 0,
                        key: true,
                        data,
                    },
                ));
            }
        }
        shots.sort_by_key(|&(arrival, _)| arrival);
        let shots = shots.into_iter().map(|(_, shot)| shot).collect();
        let recipes = cut(&Scene::default().tracks(), shots, 90_000);
        let report = check_all(&recipes, &format!("round {round}"));
        assert_eq!(report.problems, [], "round {round}");
        assert_eq!((report.video_frames, report.discontinuities), (60, 0), "round {round}");
    }
}

/// Frames too short to be spread behind their heads, alone in their segment and in number, and a name of two SDT packets.
#[test]
fn the_shortest_frames_fill_a_counter() {
    for (codec, bytes, each) in [
        (Codec::Aac, 1, 1),
        (Codec::Aac, 1, 40),
        (Codec::Mp3, 2, 1),
        (Codec::Ac3, 2, 3),
        (Codec::Eac3, 2, 17),
    ] {
        let tracks = [audio(2, codec, 44_100)];
        let shot = |index| Shot {
            track: 2,
            dts: 1024 * index,
            offset: 0,
            key: true,
            data: vec![0x21; bytes],
        };
        let recipes = cut(&tracks, (0..each * 4).map(shot).collect(), 1024 * each);
        assert_eq!(recipes.len(), 4);
        let report = check_all(&recipes, &"a long name ".repeat(25));
        assert_eq!(report.problems, [], "{codec:?} {each}");
    }
    // what is shorter is no frame of any of them
    let mut mux = Segments::new("x");
    let mut out = Pieces::new();
    mux.begin(1, &[audio(2, Codec::Mp3, 44_100)], &mut out);
    let frame = |data| Frame {
        track: 2,
        dts: 0,
        offset: 0,
        key: true,
        data,
    };
    mux.frame(&frame(&[1]), &mut out);
    mux.end(None, &mut out);
    assert!(out.is_empty());
}

/// The missing packets are made of several short frames, and no PES head is cut.
#[test]
fn heads_are_whole() {
    let shots = (0..33 * 6).map(|index| Shot {
        track: 2,
        dts: 1024 * index,
        offset: 0,
        key: true,
        data: vec![0x21; 6],
    });
    // 33 frames of a packet each: 15 are missing
    let recipes = cut(&[audio(2, Codec::Mp3, 44_100)], shots.collect(), 33 * 1024);
    for recipe in &recipes {
        let made = recipe.make(&mut Segments::new("x"));
        let starts = packets(made.bytes()).filter(|packet| packet.start && packet.pid == PID_FIRST + 1);
        for packet in starts {
            assert!(pes::Head::parse(packet.payload.unwrap()).is_ok());
        }
    }
}

/// Composition offsets below zero: no picture is shown at another time than its own, from the first of each segment on.
#[test]
fn negative_offsets_change_no_presentation_time() {
    let shots = (0..100i64).map(|index| Shot {
        track: 1,
        dts: index * 3600,
        // I B B P with offsets as MP4 version 1 writes them
        offset: [0, 2, -1, -1][(index % 4) as usize] * 3600,
        key: index % 20 == 0,
        data: picture(index % 20 == 0, 500),
    });
    let shots: Vec<Shot> = shots.collect();
    let expected: Vec<Option<u64>> = shots
        .iter()
        .map(|shot| Some(stamp(shot.dts + i64::from(shot.offset) + DECODE_DELAY_MS * 90)))
        .collect();
    let recipes = cut(&[video(1)], shots, 3600 * 20);
    let mut mux = Segments::new("x");
    let stream: Vec<u8> = recipes
        .iter()
        .flat_map(|recipe| recipe.make(&mut mux).bytes().to_vec())
        .collect();
    let found: Vec<Option<u64>> = parcels(&stream, PID_FIRST).iter().map(|parcel| parcel.0).collect();
    assert_eq!(found, expected);
    assert_eq!(check(&stream).problems, []);
}

#[test]
fn a_codec_keeps_its_pid_and_another_changes_the_version() {
    let pmt_of = |tracks: &[Track]| {
        let mut mux = Segments::new("x");
        mux.begin(1, tracks, &mut Pieces::new());
        Pmt::parse(&mux.tables.pmt).unwrap()
    };
    let (h264, aac, mp3) = (video(1), audio(2, Codec::Aac, 44_100), audio(3, Codec::Mp3, 44_100));
    let pair = pmt_of(&[h264.clone(), aac.clone()]);
    assert_eq!(
        (pair.pcr_pid, pair.streams[0].pid, pair.streams[1].pid),
        (0x100, 0x100, 0x101)
    );
    let sound = pmt_of(std::slice::from_ref(&aac));
    assert_eq!((sound.pcr_pid, sound.streams[0].pid), (0x101, 0x101));
    let others = [
        &pair,
        &sound,
        &pmt_of(&[h264.clone(), mp3]),
        &pmt_of(std::slice::from_ref(&h264)),
    ];
    for (at, one) in others.iter().enumerate() {
        assert!(others[..at].iter().all(|other| other.version != one.version));
    }
    // other parameter sets are no other program, and more tracks than a pair do not come in
    let again = Track {
        generation: 9,
        ..h264.clone()
    };
    assert_eq!(pmt_of(&[again, audio(5, Codec::Aac, 48_000), h264, aac]), pair);
}

#[test]
fn hls_allows_few_codecs() {
    let mux = Segments::new("x");
    for (codec, expected) in [
        (Codec::Aac, true),
        (Codec::Mp3, true),
        (Codec::Ac3, true),
        (Codec::Eac3, true),
        (Codec::Opus, false),
        (Codec::Flac, false),
        (Codec::Alaw, false),
    ] {
        assert_eq!(mux.carries(&audio(1, codec, 48_000)), expected, "{codec:?}");
    }
    assert!(mux.carries(&video(1)));
    for codec in [Codec::Av1, Codec::Vp9] {
        assert!(!mux.carries(&Track { codec, ..video(1) }));
    }
    assert!(!mux.carries(&Track {
        codec_data: Vec::new(),
        format: Format::Meta,
        ..video(1)
    }));
}

/// A sound that stops within a segment: the next one finds its counter where it begins.
#[test]
fn a_sound_that_falls_silent_leaves_its_counter_in_order() {
    let scene = Scene {
        millis: 12_000,
        gop: 100,
        ..Scene::default()
    };
    let mut shots = scene.shots();
    shots.retain(|shot| shot.track == 1 || !(44_100..44_100 * 9).contains(&shot.dts));
    let recipes = cut(&scene.tracks(), shots, 90_000);
    assert_eq!(recipes.len(), 3);
    let report = check_all(&recipes, "silent");
    assert_eq!(report.problems, []);
}

/// Without time to go by, what is held is bounded by its bytes.
#[test]
fn what_is_held_is_bounded() {
    let mut mux = Segments::new("x");
    let mut out = Pieces::new();
    mux.begin(5, &Scene::default().tracks(), &mut out);
    let data = picture(true, 1 << 20);
    let mut longest = 0;
    for index in 0..60 {
        let frame = Frame {
            track: 1,
            dts: 0,
            offset: 0,
            key: index % 2 == 0,
            data: &data,
        };
        mux.frame(&frame, &mut out);
        longest = longest.max(mux.held.bytes());
    }
    mux.end(None, &mut out);
    assert!(longest <= crate::ts::limits::HELD_BYTES_MAX + (2 << 20), "{longest}");
    let independent: Vec<bool> = out.iter().map(|(piece, _)| piece.independent).collect();
    assert!(independent.len() > 2 && independent[0] && !independent[1..].contains(&true));
    assert_eq!(check(out.bytes()).problems, []);
    assert_eq!(check(out.bytes()).video_frames, 60);
}

#[test]
fn extreme_input_is_survived() {
    let mut mux = Segments::new(&"\u{1f600}".repeat(500));
    let mut out = Pieces::new();
    let tracks = Scene::default().tracks();
    mux.frame(&Scene::default().shots()[0].frame(), &mut out);
    mux.end(Some(4), &mut out);
    for until in [None, Some(i64::MIN), Some(i64::MAX), Some(0)] {
        for tracks in [&tracks[..], &tracks[1..], &[]] {
            mux.begin(u64::MAX, tracks, &mut out);
            for dts in [0, i64::MAX, i64::MIN, -1, 1 << 40, 0] {
                for offset in [0, i32::MIN, i32::MAX] {
                    for data in [&[][..], &[0, 0, 0, 9, 1], &[0, 0, 0, 1, 0x65], &[0xff; 9000]] {
                        for (track, key) in [(1, true), (1, false), (2, true), (9, true)] {
                            let frame = Frame {
                                track,
                                dts,
                                offset,
                                key,
                                data,
                            };
                            mux.frame(&frame, &mut out);
                        }
                    }
                }
            }
            mux.end(until, &mut out);
            assert!(packets(out.bytes()).count() > 0 || tracks.is_empty());
            out.clear();
        }
    }
}
