pub mod segments;

use mp4_atom::{Any, DecodeMaybe};
use proptest::prelude::*;

use super::{
    error::ReadError,
    limits,
    read::{Movie, read, read_whole_chunks},
};
use crate::{
    media::{Break, Codec, Format, Frame, Mux, Records, Track, Verdict},
    mp4::Muxer,
};

pub const VIDEO_SCALE: u32 = 90_000;
pub const AUDIO_SCALE: u32 = 48_000;

/// A frame of the tests, with its bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    pub track: u32,
    pub dts: i64,
    pub offset: i32,
    pub key: bool,
    pub data: Vec<u8>,
}

pub fn avcc() -> Vec<u8> {
    vec![
        1, 0x64, 0, 30, 0xFF, 0xE1, 0, 4, 0x67, 0x64, 0, 30, 1, 0, 3, 0x68, 0xEB, 0xE3,
    ]
}

pub fn track(id: u32, codec: Codec, codec_data: &[u8]) -> Track {
    let (timescale, format) = if id == 1 {
        (
            VIDEO_SCALE,
            Format::Video {
                width: 640,
                height: 360,
                frame_rate: 0.0,
            },
        )
    } else {
        (
            AUDIO_SCALE,
            Format::Audio {
                sample_rate: AUDIO_SCALE,
                channels: 2,
                sample_bits: 16,
            },
        )
    };
    Track {
        id,
        generation: 0,
        codec,
        timescale,
        codec_data: codec_data.to_vec(),
        bitrate_hint: 0,
        format,
    }
}

pub fn h264() -> Track {
    track(1, Codec::H264, &avcc())
}

pub fn aac() -> Track {
    track(2, Codec::Aac, &[0x11, 0x90])
}

fn video(dts: i64, offset: i32, key: bool) -> Made {
    let data = (dts as u64 ^ 0x5A5A).to_be_bytes()[..3 + (dts as usize / 3000) % 5].to_vec();
    Made {
        track: 1,
        dts,
        offset,
        key,
        data,
    }
}

fn audio(dts: i64) -> Made {
    let data = (dts as u64 ^ 0xA5A5).to_le_bytes()[..2 + (dts as usize / 1024) % 6].to_vec();
    Made {
        track: 2,
        dts,
        offset: 0,
        key: true,
        data,
    }
}

/// Millionths of a second, as precise as an order needs.
fn instant(frame: &Made) -> i128 {
    let scale = if frame.track == 1 { VIDEO_SCALE } else { AUDIO_SCALE };
    i128::from(frame.dts) * 1_000_000 / i128::from(scale)
}

/// What the muxer made: every record, and every join's header with the index of its record.
#[derive(Debug, Default)]
pub struct Fed {
    pub records: Vec<(bool, Vec<u8>)>,
    pub joins: Vec<(usize, Vec<u8>)>,
}

impl Fed {
    fn take(&mut self, mux: &Muxer, records: &mut Records) {
        let mut joins = 0;
        for (mark, bytes) in records.iter() {
            if mark.join {
                joins += 1;
                let mut header = Vec::new();
                mux.join_header(&mut header);
                self.joins.push((self.records.len(), header));
            }
            self.records.push((mark.join, bytes.to_vec()));
        }
        assert!(joins <= 1, "one header can be asked for per call");
        records.clear();
    }

    /// All that a viewer who joined at the join `index` receives.
    pub fn viewer(&self, index: usize) -> Vec<u8> {
        let (record, header) = &self.joins[index];
        let mut all = header.clone();
        for (_, bytes) in &self.records[*record..] {
            all.extend_from_slice(bytes);
        }
        all
    }
}

fn feed(mux: &mut Muxer, frames: &[Made], fed: &mut Fed) {
    let mut records = Records::new();
    for made in frames {
        let frame = Frame {
            track: made.track,
            dts: made.dts,
            offset: made.offset,
            key: made.key,
            data: &made.data,
        };
        mux.frame(&frame, &mut records);
        fed.take(mux, &mut records);
    }
}

pub fn mux(tracks: &[Track], frames: &[Made]) -> Fed {
    let (mut mux, mut fed, mut records) = (Muxer::new(), Fed::default(), Records::new());
    mux.start(tracks);
    feed(&mut mux, frames, &mut fed);
    mux.finish(&mut records);
    fed.take(&mux, &mut records);
    fed
}

/// Frames of one track as read back.
fn read_back(movie: &Movie<'_>, track_id: u32) -> Vec<Made> {
    let track = movie.tracks.iter().find(|track| track.track_id == track_id);
    track.map_or_else(Vec::new, |track| {
        track
            .samples
            .iter()
            .map(|sample| Made {
                track: track_id,
                dts: sample.dts as i64,
                offset: sample.offset,
                key: sample.key,
                data: sample.bytes.to_vec(),
            })
            .collect()
    })
}

/// Durations are exact, and every run is as short as it must be.
fn check_chunks(movie: &Movie<'_>) {
    let lead_longest = longest_runs(movie, 0);
    for (index, track) in movie.tracks.iter().enumerate() {
        for pair in track.samples.windows(2) {
            assert_eq!(pair[0].dts + u64::from(pair[0].duration), pair[1].dts);
        }
        for (chunk, ticks, count) in longest_runs(movie, index) {
            let bound = u64::from(track.timescale) * u64::from(limits::CHUNK_MILLIS_MAX) / 1000;
            // Beside one long picture audio may be as long as that.
            let lead = lead_longest
                .iter()
                .find(|lead| lead.0 == chunk)
                .map_or(0, |lead| lead.1);
            let lead = lead * u64::from(track.timescale) / u64::from(movie.tracks[0].timescale);
            assert!(
                ticks <= bound.max(lead) || count == 1,
                "{ticks} ticks in {count} samples"
            );
        }
    }
}

/// Chunk, ticks and samples of each of a track's runs.
fn longest_runs(movie: &Movie<'_>, index: usize) -> Vec<(usize, u64, usize)> {
    let samples = &movie.tracks[index].samples;
    samples
        .chunk_by(|a, b| a.chunk == b.chunk)
        .map(|run| {
            let ticks = run.iter().map(|sample| u64::from(sample.duration)).sum();
            (run[0].chunk, ticks, run.len())
        })
        .collect()
}

/// A second and a half of 30 pictures per second, a keyframe each half second, B-frames; audio in the order of time.
pub fn usual(base_seconds: i64) -> Vec<Made> {
    let mut frames: Vec<Made> = (0..45)
        .map(|n| {
            video(
                base_seconds * 90_000 + n * 3000,
                if n % 3 == 0 { 6000 } else { -3000 * ((n % 3) as i32 - 2) },
                n % 15 == 0,
            )
        })
        .chain((0..70).map(|n| audio(base_seconds * 48_000 + n * 1024)))
        .collect();
    frames.sort_by_key(instant);
    frames
}

#[test]
fn a_viewer_reads_every_frame_from_the_join_on_whatever_the_stream_time() {
    for base in [0, 10, (1 << 31) / 1000, (1 << 32) / 1000 + 1, 1_700_000_000] {
        let frames = usual(base);
        let fed = mux(&[h264(), aac()], &frames);
        assert_eq!(fed.joins.len(), 3);
        for join in 0..3 {
            let bytes = fed.viewer(join);
            let movie = read(&bytes).unwrap();
            check_chunks(&movie);
            let key = base * 90_000 + join as i64 * 45_000;
            let expected: Vec<_> = frames
                .iter()
                .filter(|made| made.track == 1 && made.dts >= key)
                .cloned()
                .collect();
            assert_eq!(read_back(&movie, 1), expected);
            // Audio begins at the keyframe's decode time, no earlier, and none is missing.
            let audio_from = key * 48_000 / 90_000;
            let expected: Vec<_> = frames
                .iter()
                .filter(|made| made.track == 2 && made.dts >= audio_from)
                .cloned()
                .collect();
            assert_eq!(read_back(&movie, 2), expected);
            // It is shown from its first sample on, within two pictures of the keyframe.
            let heard = movie.tracks[1].samples[0].dts as i64;
            assert_eq!(movie.tracks[1].media_time, heard.min((key + 6000) * 48_000 / 90_000));
            let shown_at = key + 6000 - movie.tracks[0].media_time;
            assert!((0..=6000).contains(&shown_at), "{shown_at}");
        }
    }
}

#[test]
fn audio_that_comes_early_waits_for_its_pictures() {
    for early_millis in [50, 400, 900] {
        let mut frames = usual(10);
        frames.sort_by_key(|made| instant(made) - if made.track == 2 { early_millis * 1000 } else { 0 });
        let fed = mux(&[h264(), aac()], &frames);
        for join in 0..3 {
            let bytes = fed.viewer(join);
            let movie = read(&bytes).unwrap();
            check_chunks(&movie);
            let audio_from = (10 * 90_000 + join as i64 * 45_000) * 48_000 / 90_000;
            let expected: Vec<_> = frames
                .iter()
                .filter(|made| made.track == 2 && made.dts >= audio_from)
                .cloned()
                .collect();
            assert_eq!(read_back(&movie, 2), expected, "{early_millis} ms early, join {join}");
        }
    }
}

#[test]
fn audio_that_comes_late_is_late_but_whole_for_who_is_there() {
    let mut frames = usual(10);
    frames.sort_by_key(|made| instant(made) + if made.track == 2 { 300_000 } else { 0 });
    let fed = mux(&[h264(), aac()], &frames);
    let bytes = fed.viewer(0);
    let audio: Vec<_> = frames.iter().filter(|made| made.track == 2).cloned().collect();
    assert_eq!(read_back(&read(&bytes).unwrap(), 2), audio);
}

#[test]
fn a_picture_leaves_as_soon_as_its_duration_is_known() {
    let (mut mux, mut fed) = (Muxer::new(), Fed::default());
    mux.start(&[h264()]);
    // 25 pictures per second: two fit into 100 ms, so each second one completes a chunk.
    for n in 0..9 {
        feed(&mut mux, &[video(n * 3600, 0, n == 0)], &mut fed);
        assert_eq!(fed.records.len() as i64, n / 2);
    }
    // 5 per second: each is a chunk, out when its successor comes.
    let (mut mux, mut fed) = (Muxer::new(), Fed::default());
    mux.start(&[h264()]);
    for n in 0..5 {
        feed(&mut mux, &[video(n * 18_000, 0, n == 0)], &mut fed);
        assert!(fed.records.len() as i64 >= n - 1);
    }
    assert_eq!(fed.records.len(), 4);
}

#[test]
fn without_video_chunks_are_joins_once_a_second() {
    let frames: Vec<_> = (0..200).map(|n| audio(n * 1024)).collect();
    let fed = mux(&[aac()], &frames);
    assert_eq!(fed.joins.len(), 5);
    for join in 0..5 {
        let bytes = fed.viewer(join);
        let movie = read(&bytes).unwrap();
        check_chunks(&movie);
        let samples = read_back(&movie, 2);
        assert_eq!(samples, frames[frames.len() - samples.len()..]);
        assert_eq!(movie.tracks[0].media_time, samples[0].dts);
    }
    assert_eq!(read_back(&read(&fed.viewer(0)).unwrap(), 2), frames);
}

#[test]
fn audio_goes_on_when_video_stalls() {
    let mut frames = vec![video(0, 0, true), video(3000, 0, false)];
    frames.extend((0..200).map(|n| audio(n * 1024)));
    let (mut mux, mut fed) = (Muxer::new(), Fed::default());
    mux.start(&[h264(), aac()]);
    feed(&mut mux, &frames, &mut fed);
    // The first picture waits for its chunk to fill; audio of more than a second does not wait for it.
    let sent = 200 * 1024 - i64::from(AUDIO_SCALE) - 2 * 4800;
    assert!(fed.records.len() as i64 >= sent / 4800, "{}", fed.records.len());
}

#[test]
fn times_below_zero_are_shifted_by_whole_seconds() {
    let frames: Vec<_> = (0..4)
        .map(|n| Made {
            dts: n * 3000 - 100_000,
            ..video(n * 3000, 0, n == 0)
        })
        .collect();
    let fed = mux(&[h264()], &frames);
    let bytes = fed.viewer(0);
    let movie = read(&bytes).unwrap();
    let shift = movie.tracks[0].samples[0].dts as i64 + 100_000;
    assert_eq!(shift % i64::from(VIDEO_SCALE), 0);
    assert_eq!(movie.tracks[0].media_time, movie.tracks[0].samples[0].dts as i64);
    let mut records = Records::new();
    let mut mux = Muxer::new();
    mux.start(&[h264()]);
    let made = &frames[0];
    mux.frame(
        &Frame {
            track: 1,
            dts: made.dts,
            offset: 0,
            key: true,
            data: &made.data,
        },
        &mut records,
    );
    mux.finish(&mut records);
    assert_eq!(records.marks()[0].dts_micros, -1_111_112, "marks are in stream time");
}

#[test]
fn a_break_goes_on_behind_the_same_moov_and_ends_when_it_needs_another() {
    let mut other = h264();
    other.codec_data[3] = 31;
    let mut returned = h264();
    returned.id = 7;
    let cases: [(&str, Break, Vec<Track>, Verdict); 6] = [
        ("time", Break::TimeJump, vec![h264(), aac()], Verdict::Continue),
        (
            "same publisher",
            Break::Publisher,
            vec![returned, aac()],
            Verdict::Continue,
        ),
        (
            "JSON came",
            Break::TrackSet,
            vec![h264(), aac(), track(3, Codec::Json, &[])],
            Verdict::Continue,
        ),
        ("codec data", Break::CodecData, vec![other, aac()], Verdict::End),
        ("audio went", Break::TrackSet, vec![h264()], Verdict::End),
        ("all went", Break::TrackSet, vec![], Verdict::End),
    ];
    for (name, kind, tracks, expected) in cases {
        let (mut mux, mut fed, mut records) = (Muxer::new(), Fed::default(), Records::new());
        mux.start(&[h264(), aac()]);
        let before = usual(10);
        feed(&mut mux, &before, &mut fed);
        let verdict = mux.on_break(kind, &tracks, &mut records);
        fed.take(&mux, &mut records);
        assert_eq!(verdict, expected, "{name}");
        let mut after = usual(60);
        for made in after.iter_mut().filter(|made| made.track == 1) {
            made.track = tracks.first().map_or(1, |track| track.id);
        }
        feed(&mut mux, &after, &mut fed);
        mux.finish(&mut records);
        fed.take(&mux, &mut records);
        let bytes = fed.viewer(0);
        let movie = read(&bytes).unwrap();
        let video_count = |frames: &[Made]| frames.iter().filter(|made| made.track != 2).count();
        let expected_count = match expected {
            Verdict::Continue => video_count(&before) + video_count(&after),
            Verdict::End => video_count(&before),
        };
        assert_eq!(movie.tracks[0].samples.len(), expected_count, "{name}");
    }
}

#[test]
fn a_break_before_the_first_join_takes_the_new_tracks() {
    let (mut mux, mut fed, mut records) = (Muxer::new(), Fed::default(), Records::new());
    mux.start(&[aac()]);
    feed(&mut mux, &[audio(0)], &mut fed);
    assert_eq!(
        mux.on_break(Break::TrackSet, &[h264(), aac()], &mut records),
        Verdict::Continue
    );
    feed(&mut mux, &usual(0), &mut fed);
    let bytes = fed.viewer(0);
    assert_eq!(read(&bytes).unwrap().tracks.len(), 2);
}

/// Every codec with codec data that it may have, and the sample entry it gets.
pub fn codecs() -> Vec<(Track, &'static [u8; 4])> {
    let mut hvcc = vec![1; 23];
    hvcc[22] = 0;
    let mut flac = b"fLaC\x80\0\0\x22".to_vec();
    flac.extend_from_slice(&[0x10; 34]);
    let vpcc = [0, 31, 0x82, 1, 1, 1, 0, 0];
    let vpcc_full: Vec<u8> = [&[1, 0, 0, 0], &vpcc[..]].concat();
    let opus = b"OpusHead\x01\x02\x38\x01\x80\xBB\0\0\xFE\xFF\0";
    let surround = b"OpusHead\x01\x06\x38\x01\x80\xBB\0\0\0\0\x01\x04\x02\0\x04\x01\x02\x03\x05";
    vec![
        (h264(), b"avc1"),
        (track(1, Codec::Hevc, &hvcc), b"hvc1"),
        (track(1, Codec::Av1, &[0x81, 4, 0x0C, 0]), b"av01"),
        (track(1, Codec::Vp9, &[]), b"vp09"),
        (track(1, Codec::Vp9, &vpcc), b"vp09"),
        (track(1, Codec::Vp9, &vpcc_full), b"vp09"),
        (aac(), b"mp4a"),
        (track(2, Codec::Mp3, &[]), b"mp4a"),
        (track(2, Codec::Opus, opus), b"Opus"),
        (track(2, Codec::Opus, surround), b"Opus"),
        (track(2, Codec::Opus, &[]), b"Opus"),
        (track(2, Codec::Flac, &flac), b"fLaC"),
        (track(2, Codec::Ac3, &[]), b"ac-3"),
        (track(2, Codec::Eac3, &[]), b"ec-3"),
    ]
}

fn boxes(bytes: &[u8]) -> Vec<Any> {
    let (mut rest, mut boxes) = (bytes, Vec::new());
    while let Some(atom) = Any::decode_maybe(&mut rest).unwrap() {
        boxes.push(atom);
    }
    assert!(rest.is_empty());
    boxes
}

#[test]
fn another_reader_agrees_on_headers_and_chunks_of_all_codecs() {
    for (carried, kind) in codecs() {
        assert!(Muxer::new().carries(&carried), "{carried:?}");
        let frames: Vec<_> = usual(10).into_iter().filter(|made| made.track == carried.id).collect();
        let fed = mux(std::slice::from_ref(&carried), &frames);
        let bytes = fed.viewer(0);
        assert_eq!(&read(&bytes).unwrap().tracks[0].entry_kind, kind);
        let boxes = boxes(&bytes);
        let [Any::Ftyp(_), Any::Moov(moov), Any::Moof(moof), Any::Mdat(_), ..] = &boxes[..] else {
            panic!("{:?}", boxes.iter().map(Any::kind).collect::<Vec<_>>());
        };
        let trak = &moov.trak[0];
        assert_eq!(trak.mdia.mdhd.timescale, carried.timescale);
        assert_eq!(trak.mdia.minf.stbl.stsd.codecs.len(), 1);
        assert!(!matches!(
            trak.mdia.minf.stbl.stsd.codecs[0],
            mp4_atom::Codec::Unknown(..)
        ));
        assert_eq!(moov.mvex.as_ref().unwrap().trex[0].track_id, trak.tkhd.track_id);
        let traf = &moof.traf[0];
        assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time as i64, frames[0].dts);
        assert_eq!(traf.trun[0].samples.len(), fed_samples(&bytes));
    }
}

/// Samples of the first chunk.
fn fed_samples(bytes: &[u8]) -> usize {
    read(bytes).unwrap().tracks[0]
        .samples
        .iter()
        .filter(|sample| sample.chunk == 0)
        .count()
}

#[test]
fn codec_data_that_cannot_be_described_is_not_carried() {
    let mut no_scale = aac();
    no_scale.timescale = 0;
    for track in [
        no_scale,
        track(1, Codec::H264, &[]),
        track(1, Codec::H264, &avcc()[..6]),
        track(1, Codec::Hevc, &[1; 22]),
        track(1, Codec::Av1, &[0, 0, 0, 0]),
        track(1, Codec::Vp8, &[]),
        track(1, Codec::Vp9, &[0, 31]),
        track(2, Codec::Aac, &[0x11]),
        track(2, Codec::Opus, b"OpusHead"),
        track(
            2,
            Codec::Opus,
            b"OpusHead\x01\x06\x38\x01\x80\xBB\0\0\0\0\x01\x04\x02\0",
        ),
        track(2, Codec::Flac, b"fLaC\x80\0\0\x22"),
        track(2, Codec::Pcm, &[]),
        track(3, Codec::Json, &[]),
    ] {
        assert!(!Muxer::new().carries(&track), "{track:?}");
    }
}

#[test]
fn what_only_a_frame_tells_is_in_the_entry() {
    let keep = |track: Track, frame: &[u8]| {
        let made = Made {
            track: track.id,
            dts: 0,
            offset: 0,
            key: true,
            data: frame.to_vec(),
        };
        let fed = mux(&[track], &[made]);
        let bytes = fed.viewer(0);
        read(&bytes).unwrap().tracks[0].entry.to_vec()
    };
    // 44.1 kHz, 448 kb/s (code 30), bsid 8, 3/2 with LFE.
    let entry = keep(track(2, Codec::Ac3, &[]), &[0x0B, 0x77, 0, 0, 0x5E, 0x40, 0xE1, 0]);
    // fscod 1, bsid 8, bsmod 0, acmod 7, lfeon 1, bit_rate_code 15.
    assert_eq!(entry[entry.len() - 11..], *b"\0\0\0\x0Bdac3\x50\x3D\xE0");
    // 384 words in six blocks at 48 kHz: 192 kb/s, stereo, bsid 16.
    let entry = keep(track(2, Codec::Eac3, &[]), &[0x0B, 0x77, 0x01, 0x7F, 0x34, 0x80, 0]);
    assert_eq!(entry[entry.len() - 13..], *b"\0\0\0\x0Ddec3\x06\x00\x20\x04\x00");
    // VP9 profile 0, BT.709, studio range, 320x180.
    let mut vp9 = track(1, Codec::Vp9, &[]);
    vp9.format = Format::Video {
        width: 0,
        height: 0,
        frame_rate: 0.0,
    };
    let entry = keep(vp9, &[0x82, 0x49, 0x83, 0x42, 0x40, 0x13, 0xF0, 0x0B, 0x30]);
    assert_eq!(entry[32..36], [1, 64, 0, 180]);
    assert_eq!(
        entry[entry.len() - 20..],
        *b"\0\0\0\x14vpcC\x01\0\0\0\0\x0B\x82\x01\x01\x01\0\0"
    );
}

#[test]
fn size_comes_from_codec_data_when_the_publisher_says_none() {
    // From an encoder: baseline, cropped to 1918x1078.
    let record = "0142c028ffe100196742c028d900780227a9b01100000303e90000ea600f18324801000568cb83cb20";
    let record: Vec<u8> = (0..record.len() / 2)
        .map(|n| u8::from_str_radix(&record[2 * n..2 * n + 2], 16).unwrap())
        .collect();
    let mut unsized_track = track(1, Codec::H264, &record);
    unsized_track.format = Format::Video {
        width: 0,
        height: 0,
        frame_rate: 0.0,
    };
    let fed = mux(&[unsized_track], &[video(0, 0, true)]);
    let boxes = boxes(&fed.joins[0].1);
    let Any::Moov(moov) = &boxes[1] else { panic!() };
    let tkhd = &moov.trak[0].tkhd;
    assert_eq!((tkhd.width.integer(), tkhd.height.integer()), (1918, 1078));
    let mp4_atom::Codec::Avc1(entry) = &moov.trak[0].mdia.minf.stbl.stsd.codecs[0] else {
        panic!()
    };
    assert_eq!((entry.visual.width, entry.visual.height), (1918, 1078));
}

#[test]
fn fields_are_per_sample_only_where_they_vary() {
    // Bytes of the first chunk's trun, by frames of (duration, offset, bytes).
    type Shape = [(i64, i32, usize); 3];
    let cases: [(&str, Shape, usize); 4] = [
        ("nothing varies", [(3000, 0, 4), (3000, 0, 4), (3000, 0, 4)], 0),
        ("sizes", [(3000, 0, 4), (3000, 0, 5), (3000, 0, 4)], 4),
        ("durations", [(3000, 0, 4), (2000, 0, 4), (3000, 0, 4)], 4),
        ("offsets", [(3000, 3000, 4), (3000, 6000, 4), (3000, 0, 4)], 4),
    ];
    for (name, shape, per_sample) in cases {
        let mut dts = 0;
        let mut frames = Vec::new();
        for (n, (duration, offset, bytes)) in shape.into_iter().enumerate() {
            frames.push(Made {
                track: 1,
                dts,
                offset,
                key: n == 0,
                data: vec![n as u8; bytes],
            });
            dts += duration;
        }
        frames.push(Made {
            key: true,
            ..video(dts, 0, true)
        });
        let fed = mux(&[h264()], &frames);
        let chunk = &fed.records[0].1;
        let trun = chunk.windows(4).position(|kind| kind == b"trun").unwrap() - 4;
        let size = u32::from_be_bytes(chunk[trun..trun + 4].try_into().unwrap()) as usize;
        // Box, flags, count, data offset and the keyframe's own flags.
        assert_eq!(size, 8 + 4 + 4 + 4 + 4 + 3 * per_sample, "{name}");
        let bytes = fed.viewer(0);
        assert_eq!(read_back(&read(&bytes).unwrap(), 1), frames, "{name}");
    }
}

/// What is seen of frames: all but when each is decoded.
fn shown(frames: &[Made]) -> Vec<Made> {
    let shown = frames.iter().map(|made| Made {
        dts: made.dts + i64::from(made.offset),
        offset: 0,
        ..made.clone()
    });
    shown.collect()
}

/// Wirecast's; ffmpeg shows pictures later than the sound by the largest negative offset of a fragmented file.
#[test]
fn pictures_are_decoded_early_enough_to_be_shown() {
    let offsets = [-3600, 3600, -7200, -3600, 0, 3600, -7200, -3600];
    let frames: Vec<Made> = (0..)
        .zip(offsets)
        .map(|(n, offset)| video(90_000 + 3600 * n, offset, n == 0))
        .collect();
    let got = read_back(&read(&mux(&[h264()], &frames).viewer(0)).unwrap(), 1);
    assert_eq!(shown(&got), shown(&frames));
    let decoded: Vec<i64> = got.iter().map(|made| made.dts).collect();
    // A tick apart while the larger of the offsets comes to be known.
    assert_eq!(decoded[..4], [86_400, 90_000, 90_001, 93_600]);
    assert!(got.iter().all(|made| made.offset >= -1), "{got:?}");
    // What is out of all reason is written as it is.
    let far = [
        video(900_000, 0, true),
        video(903_600, -90_000, false),
        video(907_200, 0, false),
    ];
    let got = read_back(&read(&mux(&[h264()], &far).viewer(0)).unwrap(), 1);
    assert_eq!(shown(&got), shown(&far));
    assert!(got.windows(2).all(|two| two[0].dts < two[1].dts), "{got:?}");
}

#[test]
fn damage_is_found() {
    let fed = mux(&[h264(), aac()], &usual(10));
    let whole = fed.viewer(0);
    read(&whole).unwrap();
    let (header, first, second) = (fed.joins[0].1.len(), fed.records[0].1.len(), fed.records[1].1.len());
    let second_at = header + first;
    let find = |kind: &[u8; 4]| whole.windows(4).position(|found| found == kind).unwrap();
    let patched = |at: usize, bytes: &[u8]| {
        let mut copy = whole.clone();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        copy
    };
    let without = |from: usize, to: usize| [&whole[..from], &whole[to..]].concat();
    type Expected = fn(ReadError) -> bool;
    let cases: [(&str, Vec<u8>, Expected); 13] = [
        ("one edit", patched(find(b"elst") + 11, &[1]), |error| {
            matches!(error, ReadError::Field { field: "edit list", .. })
        }),
        (
            "an end of the second edit",
            patched(find(b"elst") + 27, &[1]),
            |error| {
                matches!(
                    error,
                    ReadError::Field {
                        field: "segment_duration",
                        value: 1,
                        ..
                    }
                )
            },
        ),
        ("a seam between edits", patched(find(b"elst") + 28, &[1]), |error| {
            matches!(
                error,
                ReadError::Field {
                    field: "media_time",
                    ..
                }
            )
        }),
        ("cut", whole[..whole.len() - 1].to_vec(), |error| {
            matches!(error, ReadError::Truncated { .. })
        }),
        ("cut behind moof", whole[..second_at + 100].to_vec(), |error| {
            matches!(error, ReadError::Truncated { .. })
        }),
        ("no header", whole[header..].to_vec(), |error| {
            matches!(error, ReadError::UnexpectedBox { at: 0, .. })
        }),
        ("chunk lost", without(second_at, second_at + second), |error| {
            matches!(error, ReadError::Sequence { .. })
        }),
        ("byte lost", without(second_at - 1, second_at), |error| {
            matches!(
                error,
                ReadError::UnexpectedBox { .. } | ReadError::BoxSize { .. } | ReadError::Truncated { .. }
            )
        }),
        ("tfdt moved", patched(find(b"tfdt") + 15, &[0xFF]), |error| {
            matches!(error, ReadError::Discontinuity { .. })
        }),
        ("data offset moved", patched(find(b"trun") + 15, &[1]), |error| {
            matches!(
                error,
                ReadError::Field {
                    field: "data_offset",
                    ..
                }
            )
        }),
        ("flags", patched(find(b"trun") + 16, &[0xFF]), |error| {
            matches!(
                error,
                ReadError::Field {
                    field: "sample_flags",
                    ..
                }
            )
        }),
        ("track", patched(find(b"tfhd") + 11, &[9]), |error| {
            matches!(error, ReadError::UnknownTrack { track_id: 9, .. })
        }),
        ("sample larger", patched(find(b"trun") + 23, &[0xEE]), |error| {
            matches!(error, ReadError::DataOutside { .. })
        }),
    ];
    for (name, bytes, expected) in cases {
        let error = read(&bytes).expect_err(name);
        assert!(expected(error), "{name}: {error}");
    }
    let (movie, end) = read_whole_chunks(&whole[..whole.len() - 1]).unwrap();
    assert_eq!(movie.chunks, fed.records.len() - 1);
    assert_eq!(end, whole.len() - fed.records.last().unwrap().1.len());
}

/// A stream: pictures at a rate that may vary, B-frames, gaps, and audio that arrives early or late.
fn stream() -> impl Strategy<Value = Vec<Made>> {
    (
        prop_oneof![Just(1500i64), Just(3000), Just(3600), Just(18_000), Just(90_000)],
        1usize..90,
        any::<bool>(),
        0..3i32,
        -400i64..400,
        prop_oneof![Just(0i64), Just(10), Just((1 << 31) / 1000)],
        proptest::collection::vec((0i64..4000, 0u32..40), 1..120),
    )
        .prop_map(|(interval, gop, varies, bframes, skew_millis, base, noise)| {
            let mut dts = base * 90_000;
            let mut frames = Vec::new();
            for (n, &(jitter, gap)) in noise.iter().enumerate() {
                let offset = match n as i32 % (bframes + 1) {
                    0 => bframes * interval as i32,
                    n => -n * interval as i32 / 2,
                };
                frames.push(video(dts, offset, n % gop == 0));
                dts += interval + if varies { jitter } else { 0 } + if gap == 0 { 300_000 } else { 0 };
            }
            let audio_end = (dts - base * 90_000) * 48 / 90 / 1024;
            frames.extend((0..audio_end.min(2000)).map(|n| audio(base * 48_000 + n * 1024)));
            frames.sort_by_key(|made| {
                instant(made)
                    + if made.track == 2 {
                        i128::from(skew_millis) * 1000
                    } else {
                        0
                    }
            });
            frames
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_frame_comes_back_once_in_order_from_every_join(frames in stream(), with_audio in any::<bool>()) {
        let tracks = [h264(), aac()];
        let tracks = if with_audio { &tracks[..] } else { &tracks[..1] };
        let fed = mux(tracks, &frames);
        let keys: Vec<_> = frames.iter().filter(|made| made.track == 1 && made.key).collect();
        prop_assert_eq!(fed.joins.len(), keys.len());
        for (join, key) in keys.iter().enumerate() {
            let bytes = fed.viewer(join);
            let movie = read(&bytes).unwrap();
            check_chunks(&movie);
            let expected: Vec<_> = frames.iter().filter(|made| made.track == 1 && made.dts >= key.dts).cloned().collect();
            prop_assert_eq!(shown(&read_back(&movie, 1)), shown(&expected));
            let heard = read_back(&movie, 2);
            let audio: Vec<_> = frames.iter().filter(|made| made.track == 2).cloned().collect();
            prop_assert!(audio.ends_with(&heard) || !with_audio);
            if with_audio && join > 0 {
                // What was not yet sent when the keyframe left is there, so nothing is lost between two joins.
                let before = read(&fed.viewer(join - 1)).map(|movie| movie.tracks[1].samples.len()).unwrap();
                prop_assert!(before >= heard.len());
            }
        }
    }
}
