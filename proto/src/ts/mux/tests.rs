//! The muxer under its own checker, and against what the specification says byte for byte.

use super::scene::{PPS, SPS, Scene, Shot, audio, muxed, nals, picture, report, video};
use super::*;
use crate::media::{Codec, Format, Mux as _};
use crate::noise::Noise;
use crate::ts::check::Problem;
use crate::ts::wire::{PACKET_BYTES, Pmt, packet, pes};

fn packets(bytes: &[u8]) -> impl Iterator<Item = packet::Packet<'_>> {
    bytes
        .chunks_exact(PACKET_BYTES)
        .map(|bytes| packet::parse(bytes.try_into().unwrap()).unwrap())
}

/// Head and payload of the one PES packet on `pid`.
fn pes_on(bytes: &[u8], pid: u16) -> (pes::Parsed, Vec<u8>) {
    let whole: Vec<u8> = packets(bytes)
        .filter(|packet| packet.pid == pid)
        .filter_map(|packet| packet.payload)
        .collect::<Vec<_>>()
        .concat();
    let parsed = pes::Head::parse(&whole).unwrap();
    let payload = whole[parsed.head_bytes..].to_vec();
    (parsed, payload)
}

fn one(mux: &mut Mux, frame: &Frame<'_>) -> Vec<u8> {
    let mut out = Records::new();
    mux.frame(frame, &mut out);
    out.bytes().to_vec()
}

#[test]
fn scenes_pass_the_checker() {
    type Change = fn(&mut Scene);
    let scenes: [(&str, Change); 16] = [
        ("plain", |_| {}),
        ("video only", |scene| scene.audio = false),
        ("audio only", |scene| scene.video = false),
        ("24 pictures", |scene| scene.frame_millis = 41),
        ("60 pictures", |scene| scene.frame_millis = 16),
        ("4 pictures", |scene| (scene.frame_millis, scene.gop) = (250, 3)),
        ("a picture each 2 s, no audio", |scene| {
            (scene.frame_millis, scene.gop, scene.millis, scene.audio) = (2000, 2, 12_000, false);
        }),
        ("long GOP", |scene| (scene.gop, scene.millis) = (1000, 6_000)),
        ("large pictures", |scene| scene.picture_bytes = 40_000),
        ("late audio", |scene| scene.audio_lag_millis = 450),
        ("very late audio", |scene| scene.audio_lag_millis = 2_000),
        ("early audio", |scene| scene.audio_lag_millis = -800),
        ("32 bits of ms", |scene| scene.begin_millis = (1 << 32) - 1000),
        ("33 bits of 90 kHz", |scene| scene.begin_millis = (1 << 33) / 90 - 1500),
        ("33 bits of 90 kHz in the delay", |scene| {
            (scene.begin_millis, scene.millis) = ((1 << 33) / 90 - 400, 300);
        }),
        ("before zero", |scene| scene.begin_millis = -1000),
    ];
    for (name, change) in scenes {
        let mut scene = Scene::default();
        change(&mut scene);
        let records = muxed(&scene);
        let report = report(&records.concat());
        assert_eq!(report.problems, [], "{name}");
        let shots = scene.shots();
        let count = |track| shots.iter().filter(|shot| shot.track == track).count() as u64;
        // audio from before the first keyframe
        let skipped = if scene.audio_lag_millis < 0 {
            800 * 441 / 10_240 + 1
        } else {
            1
        };
        assert_eq!(report.video_frames, count(1), "{name}");
        assert!(
            (count(2).saturating_sub(skipped)..=count(2)).contains(&report.audio_frames),
            "{name}"
        );
        assert!(report.pcr_interval_micros_max <= 40_000, "{name}");
        assert!(report.table_interval_micros_max <= 500_000, "{name}");
        assert!(records.iter().all(|record| record.len().is_multiple_of(PACKET_BYTES)));
        let slips = u64::from(scene.audio_lag_millis.abs() > 500);
        assert_eq!(report.discontinuities, slips, "{name}");
    }
}

/// Pictures 1 ms to some seconds apart, audio and video up to 600 ms out of step, pictures of every size.
#[test]
fn any_rhythm_passes_the_checker() {
    let mut random = Noise(0x5deece66d);
    for round in 0..60 {
        let (mut at, mut audio_at, mut shots) = (random.below(1 << 33) as i64, 0, Vec::new());
        let begin = at;
        for index in 0..40 {
            at += if random.below(12) == 0 {
                random.below(4_000)
            } else {
                1 + random.below(90)
            } as i64;
            let key = random.below(8) == 0 || index == 0;
            let offset = random.below(300) as i32 * 90;
            shots.push((
                at,
                Shot {
                    track: 1,
                    dts: at * 90,
                    offset,
                    key,
                    data: picture(key, random.below(9_000)),
                },
            ));
        }
        while begin + audio_at * 1024 * 10 / 441 < at {
            let dts = media::rescale(begin, 1000, 44_100) + audio_at * 1024;
            let late = random.below(1_200) as i64 - 600;
            let arrival = media::rescale(dts, 44_100, 1000) + late;
            let data = vec![0x21; 1 + random.below(500)];
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
            audio_at += 1;
        }
        shots.sort_by_key(|&(arrival, _)| arrival);
        // within a track decode times do not fall, whatever the arrival
        let mut times: Vec<i64> = shots
            .iter()
            .filter(|(_, shot)| shot.track == 2)
            .map(|(_, shot)| shot.dts)
            .collect();
        times.sort();
        let mut times = times.into_iter();
        for (_, shot) in shots.iter_mut().filter(|(_, shot)| shot.track == 2) {
            shot.dts = times.next().unwrap();
        }
        let mut mux = Mux::new("live");
        mux.start(&Scene::default().tracks());
        let mut out = Records::new();
        shots.iter().for_each(|(_, shot)| mux.frame(&shot.frame(), &mut out));
        let stream: Vec<&[u8]> = out
            .iter()
            .skip_while(|(mark, _)| !mark.join)
            .map(|(_, bytes)| bytes)
            .collect();
        let found = report(&stream.concat());
        assert_eq!(found.problems, [], "round {round}");
        assert_eq!(found.video_frames, 40);
        assert_eq!(mux.late_frames(), 0);
    }
}

#[test]
fn a_join_record_is_tables_and_a_keyframe() {
    for scene in [
        Scene::default(),
        Scene {
            video: false,
            ..Scene::default()
        },
    ] {
        let mut mux = Mux::new("live");
        mux.start(&scene.tracks());
        let mut out = Records::new();
        scene.shots().iter().for_each(|shot| mux.frame(&shot.frame(), &mut out));
        let joins: Vec<&[u8]> = out
            .iter()
            .filter(|(mark, _)| mark.join)
            .map(|(_, bytes)| bytes)
            .collect();
        assert_eq!(joins.len(), 3);
        for join in joins {
            let first: Vec<_> = packets(join).take(4).collect();
            let pids: Vec<u16> = first.iter().map(|packet| packet.pid).collect();
            assert_eq!(pids, [PID_PAT, PID_PMT, PID_SDT, PID_FIRST]);
            let adaptation = first[3].adaptation.unwrap();
            assert!(adaptation.random_access && adaptation.pcr.is_some() && !adaptation.discontinuity);
        }
        let mut header = Vec::new();
        mux.join_header(&mut header);
        assert!(header.is_empty());
    }
}

/// What a viewer got up to some record, a skip header, and the rest from a later join record.
#[test]
fn a_viewer_that_is_moved_sees_legal_counters() {
    for scene in [
        Scene::default(),
        Scene {
            video: false,
            ..Scene::default()
        },
    ] {
        let mut mux = Mux::new("live");
        mux.start(&scene.tracks());
        let (mut before, mut after, mut joins) = (Vec::new(), Vec::new(), 0);
        for shot in scene.shots() {
            let mut out = Records::new();
            mux.frame(&shot.frame(), &mut out);
            for (mark, bytes) in out.iter() {
                joins += u32::from(mark.join);
                if mark.join && joins == 3 {
                    mux.skip_header(&mut after);
                }
                match joins {
                    1 => before.extend_from_slice(bytes),
                    3 => after.extend_from_slice(bytes),
                    _ => {}
                }
            }
        }
        let moved = report(&[&before[..], &after[..]].concat());
        assert_eq!(moved.problems, []);
        assert_eq!(moved.discontinuities, 1);
        // without it the checker does see the hole
        let tables = 3 + scene.tracks().len();
        let torn = report(&[&before[..], &after[tables * PACKET_BYTES..]].concat());
        assert!(torn.problem_count > 0);
    }
}

#[test]
fn h264_gets_one_delimiter_and_its_sets_before_keyframes() {
    let (idr, slice, sei): (&[u8], &[u8], &[u8]) = (&[0x65, 1], &[0x41, 2], &[0x06, 3]);
    let (own_aud, other_sps): (&[u8], &[u8]) = (&[0x09, 0x10], &[0x67, 9, 9]);
    let aud: &[u8] = &[0x09, 0xf0];
    type Units<'a> = &'a [&'a [u8]];
    let cases: [(bool, Units<'_>, Units<'_>); 6] = [
        (true, &[idr], &[aud, SPS, PPS, idr]),
        (true, &[own_aud, sei, idr], &[own_aud, SPS, PPS, sei, idr]),
        (true, &[SPS, PPS, idr], &[aud, SPS, PPS, idr]),
        (true, &[other_sps, idr], &[aud, SPS, PPS, other_sps, idr]),
        (false, &[slice], &[aud, slice]),
        (false, &[own_aud, slice, own_aud, slice], &[own_aud, slice, slice]),
    ];
    for (key, units, expected) in cases {
        let mut mux = Mux::new("live");
        mux.start(&[video(1)]);
        let data = nals(units);
        let bytes = one(
            &mut mux,
            &Frame {
                track: 1,
                dts: 0,
                offset: 0,
                key,
                data: &data,
            },
        );
        let (parsed, payload) = pes_on(&bytes, PID_FIRST);
        let wanted: Vec<u8> = expected
            .iter()
            .flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat())
            .collect();
        assert_eq!(payload, wanted);
        assert_eq!(parsed.payload_bytes, Some(wanted.len()));
        assert_eq!((parsed.head.pts, parsed.head.dts), (Some(45_000), None));
    }
}

#[test]
fn a_picture_above_the_length_field_has_none() {
    let mut mux = Mux::new("live");
    mux.start(&[video(1)]);
    let mut seen = Vec::new();
    // 10 + 6 bytes of delimiter, and the PES head counts 3 + 5
    for (bytes, stated) in [(65_535 - 8 - 10, true), (65_535 - 8 - 9, false)] {
        let data = picture(false, bytes);
        let record = one(
            &mut mux,
            &Frame {
                track: 1,
                dts: 0,
                offset: 0,
                key: false,
                data: &data,
            },
        );
        let (parsed, payload) = pes_on(&record, PID_FIRST);
        assert_eq!(payload.len(), 6 + 4 + bytes);
        seen.push(parsed.payload_bytes.is_some() == stated);
    }
    assert_eq!(seen, [true, true]);
}

#[test]
fn audio_times_are_the_sample_counts() {
    let mut mux = Mux::new("live");
    mux.start(&[audio(1, Codec::Aac, 44_100)]);
    for index in [0i64, 1, 2, 1000, 1_000_000, 4_000_000_000] {
        let dts = index * 1024;
        let bytes = one(
            &mut mux,
            &Frame {
                track: 1,
                dts,
                offset: 0,
                key: true,
                data: &[1, 2, 3],
            },
        );
        let (parsed, payload) = pes_on(&bytes, PID_FIRST);
        let exact = i128::from(dts) * 90_000 / 44_100 + 45_000;
        assert_eq!(parsed.head.pts, Some((exact % (1 << 33)) as u64));
        // MPEG-4 LC, index 4, two channels, 10 bytes
        assert_eq!(payload, [0xff, 0xf1, 0x50, 0x80, 0x01, 0x5f, 0xfc, 1, 2, 3]);
    }
}

#[test]
fn an_audio_frame_too_long_for_adts_is_left_out() {
    let mut mux = Mux::new("live");
    mux.start(&[audio(1, Codec::Aac, 48_000)]);
    assert!(
        one(
            &mut mux,
            &Frame {
                track: 1,
                dts: 0,
                offset: 0,
                key: true,
                data: &[0; 8185]
            }
        )
        .is_empty()
    );
    assert!(
        !one(
            &mut mux,
            &Frame {
                track: 1,
                dts: 0,
                offset: 0,
                key: true,
                data: &[0; 8184]
            }
        )
        .is_empty()
    );
}

/// The one frame of `track` has this stream type and these descriptors in the PMT, and is this elementary stream.
fn check_codec(track: Track, frame: &[u8], stream_type: u8, descriptors: &[u8], expected: &[u8]) {
    let mut mux = Mux::new("live");
    assert!(mux.carries(&track), "{:?}", track.codec);
    mux.start(std::slice::from_ref(&track));
    let bytes = one(
        &mut mux,
        &Frame {
            track: track.id,
            dts: 0,
            offset: 0,
            key: true,
            data: frame,
        },
    );
    assert_eq!(pes_on(&bytes, PID_FIRST).1, expected, "{:?}", track.codec);
    let pmt = Pmt::parse(&mux.tables.pmt).unwrap();
    assert_eq!(
        (pmt.streams[0].stream_type, &pmt.streams[0].descriptors[..]),
        (stream_type, descriptors)
    );
    assert_eq!(report(&bytes).problems, []);
}

#[test]
fn hevc_gets_a_delimiter_and_its_sets() {
    let (vps, pps, unit): (&[u8], &[u8], &[u8]) = (&[0x40, 1, 7], &[0x44, 1, 9], &[0x26, 1, 5]);
    let mut track = Track {
        codec: Codec::Hevc,
        codec_data: Vec::new(),
        ..video(1)
    };
    crate::codec::hevc::build_config(&[vps], &[HEVC_SPS], &[pps], &mut track.codec_data).unwrap();
    let units = [&[0x46, 1, 0x50], vps, HEVC_SPS, pps, unit];
    let expected: Vec<u8> = units
        .iter()
        .flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat())
        .collect();
    check_codec(track, &nals(&[unit]), 0x24, b"", &expected);
}

#[test]
fn av1_gets_start_codes_and_its_sequence_header() {
    let codec_data = vec![0x81, 0x04, 0x0c, 0x00, 0x0a, 0x01, 0x55];
    let track = Track {
        codec: Codec::Av1,
        codec_data,
        ..video(1)
    };
    // a temporal delimiter, which is left out, and a frame
    let frame = [0x12, 0, 0x32, 4, 0, 0, 1, 2];
    let expected = [0, 0, 1, 0x0a, 1, 0x55, 0, 0, 1, 0x32, 4, 0, 0, 3, 1, 2];
    check_codec(track, &frame, 0x06, b"\x05\x04AV01\x80\x04\x81\x04\x0c\xc0", &expected);
}

#[test]
fn audio_codecs_have_their_lines() {
    let plain = |codec, rate, stream_type, descriptors: &[u8]| {
        check_codec(
            audio(1, codec, rate),
            &[0x0b, 0x77, 1],
            stream_type,
            descriptors,
            &[0x0b, 0x77, 1],
        );
    };
    plain(Codec::Mp3, 44_100, 0x03, b"");
    plain(Codec::Mp3, 22_050, 0x04, b"");
    plain(Codec::Mp2, 48_000, 0x03, b"");
    plain(Codec::Mp2, 22_050, 0x04, b"");
    plain(Codec::Ac3, 48_000, 0x81, b"\x05\x04AC-3");
    plain(Codec::Eac3, 48_000, 0x87, b"\x05\x04EAC3");
    let opus = audio(1, Codec::Opus, 48_000);
    check_codec(
        opus.clone(),
        &[0xfc, 1],
        0x06,
        b"\x05\x04Opus\x7f\x02\x80\x02",
        &[0x7f, 0xe0, 2, 0xfc, 1],
    );
    let format = Format::Audio {
        sample_rate: 48_000,
        channels: 1,
        sample_bits: 16,
    };
    check_codec(
        Track { format, ..opus },
        &[8],
        0x06,
        b"\x05\x04Opus\x7f\x02\x80\x01",
        &[0x7f, 0xe0, 1, 8],
    );
}

#[test]
fn what_cannot_be_carried_is_refused() {
    let mux = Mux::new("live");
    for codec in [Codec::Json, Codec::Vp9, Codec::Flac, Codec::Alaw] {
        assert!(!mux.carries(&Track { codec, ..video(3) }), "{codec:?}");
    }
    assert!(!mux.carries(&Track {
        codec_data: vec![1, 2],
        ..video(3)
    }));
    assert!(!mux.carries(&Track {
        timescale: 0,
        ..video(3)
    }));
    assert!(!mux.carries(&Track {
        codec_data: Vec::new(),
        ..audio(3, Codec::Aac, 48_000)
    }));
}

const HEVC_SPS: &[u8] = &[
    0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x5d, 0xa0,
    0x02, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4, 0x93, 0x2b, 0xc0, 0x40, 0x40, 0x00, 0x00, 0xfa, 0x40, 0x00, 0x17,
    0x70, 0x02,
];

/// One part of a story: a break before it, its tracks, the time of its first frame.
fn tell(mux: &mut Mux, stream: &mut Vec<u8>, kind: Option<Break>, tracks: &[Track], begin_millis: i64) {
    let mut out = Records::new();
    match kind {
        None => mux.start(tracks),
        Some(kind) => assert_eq!(mux.on_break(kind, tracks, &mut out), Verdict::Continue),
    }
    let scene = Scene {
        begin_millis,
        millis: 1_200,
        ..Scene::default()
    };
    for shot in scene.shots() {
        // tracks by codec, as a new publisher's have other ids
        let codec = if shot.track == 1 { Codec::H264 } else { Codec::Aac };
        if let Some(track) = tracks.iter().find(|track| track.codec == codec) {
            let dts = media::rescale(shot.dts, if shot.track == 1 { 90_000 } else { 44_100 }, track.timescale);
            mux.frame(
                &Frame {
                    track: track.id,
                    dts,
                    ..shot.frame()
                },
                &mut out,
            );
        }
    }
    stream.extend_from_slice(out.bytes());
}

fn pmt_of(mux: &Mux) -> (u8, Vec<u16>) {
    let pmt = Pmt::parse(&mux.tables.pmt).unwrap();
    (pmt.version, pmt.streams.iter().map(|stream| stream.pid).collect())
}

#[test]
fn breaks_keep_the_stream_legal() {
    let (mut mux, mut stream) = (Mux::new("live"), Vec::new());
    let aac = |id| audio(id, Codec::Aac, 44_100);
    tell(&mut mux, &mut stream, None, &[video(1), aac(2)], 5_000);
    assert_eq!(pmt_of(&mux), (0, vec![0x100, 0x101]));
    let sets = Track {
        generation: 1,
        ..video(1)
    };
    tell(&mut mux, &mut stream, Some(Break::CodecData), &[sets, aac(2)], 6_200);
    assert_eq!(pmt_of(&mux), (0, vec![0x100, 0x101]));
    tell(
        &mut mux,
        &mut stream,
        Some(Break::TrackSet),
        &[video(1), aac(2), audio(3, Codec::Mp3, 44_100)],
        7_400,
    );
    assert_eq!(pmt_of(&mux), (1, vec![0x100, 0x101, 0x102]));
    // one of a codec takes the line of another that left; a line without heir is not used again
    tell(
        &mut mux,
        &mut stream,
        Some(Break::TrackSet),
        &[video(1), audio(4, Codec::Mp3, 44_100)],
        8_600,
    );
    assert_eq!(pmt_of(&mux), (2, vec![0x100, 0x102]));
    tell(&mut mux, &mut stream, Some(Break::TrackSet), &[video(1), aac(5)], 9_800);
    assert_eq!(pmt_of(&mux), (3, vec![0x100, 0x103]));
    // another publisher: other ids, the same lines, time goes on
    tell(
        &mut mux,
        &mut stream,
        Some(Break::Publisher),
        &[video(7), aac(8)],
        11_040,
    );
    assert_eq!(pmt_of(&mux), (4, vec![0x100, 0x103]));
    tell(&mut mux, &mut stream, Some(Break::TimeJump), &[video(7), aac(8)], 2_000);
    assert_eq!(pmt_of(&mux), (4, vec![0x100, 0x103]));
    tell(&mut mux, &mut stream, Some(Break::TrackSet), &[aac(8)], 3_200);
    assert_eq!(pmt_of(&mux), (5, vec![0x103]));
    let report = report(&stream);
    assert_eq!(report.problems, []);
    assert_eq!(report.discontinuities, 2);
    assert_eq!(report.video_frames, 7 * 30);
}

#[test]
fn after_a_jump_each_pid_announces_it_once() {
    for kind in [Break::TimeJump, Break::Publisher] {
        let (mut mux, mut before, mut after) = (Mux::new("live"), Vec::new(), Vec::new());
        let tracks = [video(1), audio(2, Codec::Aac, 44_100)];
        tell(&mut mux, &mut before, None, &tracks, 0);
        tell(&mut mux, &mut after, Some(kind), &tracks, 90_000);
        assert!(packets(&before).all(|packet| !packet.adaptation.unwrap_or_default().discontinuity));
        for pid in [0x100, 0x101] {
            let flags: Vec<bool> = packets(&after)
                .filter(|packet| packet.pid == pid)
                .map(|packet| packet.adaptation.unwrap_or_default().discontinuity)
                .collect();
            assert!(flags[0] && flags[1..].iter().all(|flag| !flag));
        }
    }
}

#[test]
fn new_sets_are_in_band_at_the_next_keyframe() {
    let mut mux = Mux::new("live");
    mux.start(&[video(1)]);
    one(
        &mut mux,
        &Frame {
            track: 1,
            dts: 0,
            offset: 0,
            key: true,
            data: &picture(true, 10),
        },
    );
    let sps: &[u8] = &[0x67, 0x4d, 0x40, 0x1f, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0xc8];
    let mut next = Track {
        generation: 1,
        ..video(1)
    };
    next.codec_data.clear();
    crate::codec::h264::build_config(&[sps], &[PPS], &mut next.codec_data).unwrap();
    mux.on_break(Break::CodecData, &[next], &mut Records::new());
    let plain = one(
        &mut mux,
        &Frame {
            track: 1,
            dts: 3600,
            offset: 0,
            key: false,
            data: &picture(false, 10),
        },
    );
    let key = one(
        &mut mux,
        &Frame {
            track: 1,
            dts: 7200,
            offset: 0,
            key: true,
            data: &picture(true, 10),
        },
    );
    let holds = |bytes: &[u8]| {
        pes_on(bytes, PID_FIRST)
            .1
            .windows(sps.len())
            .any(|window| window == sps)
    };
    assert!(!holds(&plain) && holds(&key));
}

#[test]
fn extreme_input_is_survived() {
    let mut mux = Mux::new(&"\u{1f600}".repeat(500));
    mux.start(&[video(1), audio(2, Codec::Aac, 44_100)]);
    for dts in [0, i64::MAX, i64::MIN, -1, 1 << 40, 0] {
        for offset in [0, i32::MIN, i32::MAX] {
            for data in [&[][..], &[0, 0, 0, 9, 1], &[0, 0, 0, 1, 0x65], &[0xff; 9000]] {
                for (track, key) in [(1, true), (1, false), (2, true), (9, true)] {
                    one(
                        &mut mux,
                        &Frame {
                            track,
                            dts,
                            offset,
                            key,
                            data,
                        },
                    );
                }
            }
        }
    }
    mux.on_break(Break::TrackSet, &[], &mut Records::new());
    assert!(
        one(
            &mut mux,
            &Frame {
                track: 1,
                dts: 0,
                offset: 0,
                key: true,
                data: &picture(true, 9)
            }
        )
        .is_empty()
    );
    let many: Vec<Track> = (1..100).map(|id| audio(id, Codec::Opus, 48_000)).collect();
    for round in 0..300u32 {
        let tracks: Vec<Track> = many
            .iter()
            .map(|track| Track {
                id: track.id + round * 100,
                ..track.clone()
            })
            .collect();
        mux.on_break(
            Break::TrackSet,
            if round % 2 == 0 { &tracks } else { &[] },
            &mut Records::new(),
        );
        assert!(mux.lines.len() <= TRACKS_MAX && mux.lines.iter().all(|line| (PID_FIRST..PID_PMT).contains(&line.pid)));
    }
}

#[test]
fn problems_are_printed_as_one_clause() {
    let problem = Problem {
        packet_index: 3,
        pid: 0x100,
        what: crate::ts::check::What::PcrMissing,
    };
    assert_eq!(problem.to_string(), "packet 3, PID 0x100: no PCR");
}
