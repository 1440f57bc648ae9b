use super::super::wire::chunk::Reader;
use super::*;
use crate::media::{Codec, Format, Item, Mux as _};
use crate::tag::Demux;

const AVCC: &[u8] = &[
    1, 0x42, 0xC0, 0x1E, 0xFF, 0xE1, 0, 25, 0x67, 0x42, 0xC0, 0x1E, 0xDA, 0x02, 0x80, 0xBF, 0xE5, 0xC0, 0x44, 0, 0, 3,
    0, 4, 0, 0, 3, 0, 0xC8, 0x3C, 0x58, 0xBA, 0x80, 1, 0, 4, 0x68, 0xCE, 0x0F, 0xC8,
];

fn video(generation: u32) -> Track {
    Track {
        id: 1,
        generation,
        codec: Codec::H264,
        timescale: 90_000,
        codec_data: AVCC.to_vec(),
        bitrate_hint: 0,
        format: Format::Video {
            width: 640,
            height: 360,
            frame_rate: 25.0,
        },
    }
}

fn audio() -> Track {
    Track {
        id: 2,
        generation: 0,
        codec: Codec::Aac,
        timescale: 44_100,
        codec_data: vec![0x12, 0x10],
        bitrate_hint: 0,
        format: Format::Audio {
            sample_rate: 44_100,
            channels: 2,
            sample_bits: 16,
        },
    }
}

/// Messages of `bytes` as a player reads them that was told the chunk size and nothing else.
fn messages(bytes: &[u8]) -> Vec<(u8, u32, u32, Vec<u8>)> {
    let mut reader = Reader::new(0);
    reader.set_chunk_bytes(PLAY_CHUNK_BYTES).unwrap();
    let (mut at, mut got) = (0, Vec::new());
    while at < bytes.len() {
        let (taken, message) = reader.read(&bytes[at..]).unwrap();
        let message = message.expect("whole messages only");
        at += taken;
        got.push((
            message.kind,
            message.timestamp,
            message.message_stream,
            reader.body().to_vec(),
        ));
    }
    got
}

fn nal(length: usize) -> Vec<u8> {
    let mut data = ((length - 4) as u32).to_be_bytes().to_vec();
    data.resize(length, 0x41);
    data
}

/// Frames of 5 s from `begin` ms, a keyframe a second, of 100 kB; what was pushed, and the header at each join.
fn run(mux: &mut Mux, begin: i64, tracks: &[Track]) -> (Records, Vec<Vec<u8>>) {
    let (mut out, mut headers) = (Records::new(), Vec::new());
    let key = nal(100_000);
    let inter = nal(500);
    for nth in 0..125 {
        let millis = begin + nth * 40;
        for track in tracks {
            let dts = media::rescale(millis, 1000, track.timescale);
            let key_frame = track.kind() == Kind::Audio || nth % 25 == 0;
            let data = match track.kind() {
                Kind::Video if key_frame => &key[..],
                Kind::Video => &inter,
                _ => &[0x21, 1, 2, 3],
            };
            let before = out.marks().len();
            let frame = Frame {
                track: track.id,
                dts,
                offset: 0,
                key: key_frame,
                data,
            };
            mux.frame(&frame, &mut out);
            if out.marks()[before..].iter().any(|mark| mark.join) {
                let mut header = Vec::new();
                mux.join_header(&mut header);
                headers.push(header);
            }
        }
    }
    (out, headers)
}

#[test]
fn every_record_is_one_message_that_any_player_can_read_first() {
    for (begin, stream) in [(0, 1), (0xFF_FFFF - 2000, 1), ((1 << 32) - 2000, 2)] {
        let tracks = [video(0), audio()];
        let mut mux = Mux::new(stream);
        mux.start(&tracks);
        let (out, headers) = run(&mut mux, begin, &tracks);
        assert_eq!(out.marks().len(), 250);
        assert_eq!(headers.len(), 5);
        for (nth, (mark, record)) in out.iter().enumerate() {
            let got = messages(record);
            let [(kind, timestamp, message_stream, body)] = got.as_slice() else {
                panic!("{} messages in a record", got.len());
            };
            let millis = begin + nth as i64 / 2 * 40;
            assert_eq!((*kind, *message_stream), (if nth % 2 == 0 { 9 } else { 8 }, stream));
            assert!(
                timestamp.wrapping_sub(millis as u32).wrapping_add(1) <= 2,
                "wraps, never clamps"
            );
            assert_eq!(mark.join, *kind == 9 && body[0] == 0x17);
        }
    }
}

#[test]
fn a_join_is_metadata_sequence_headers_and_the_keyframe_at_one_time_and_demuxes() {
    let tracks = [video(0), audio()];
    let mut mux = Mux::new(1);
    mux.start(&tracks);
    let (out, headers) = run(&mut mux, 7_000, &tracks);
    let mut begin = 0;
    let mut joins = 0;
    for mark in out.marks() {
        if mark.join {
            let stream = [&headers[joins][..], &out.bytes()[begin..]].concat();
            let got = messages(&stream);
            let time = 7_000 + joins as u32 * 1000;
            let start: Vec<_> = got[..4]
                .iter()
                .map(|(kind, timestamp, ..)| (*kind, *timestamp))
                .collect();
            assert_eq!(start, [(18, 0), (9, time), (8, time), (9, time)]);
            joins += 1;

            let mut demux = Demux::new();
            let (mut keys, mut frames) = (0, 0);
            for (kind, timestamp, _, body) in &got {
                let kind = match kind {
                    8 => MessageKind::Audio,
                    9 => MessageKind::Video,
                    _ => MessageKind::Script,
                };
                demux.push(kind, *timestamp, body).unwrap();
                while let Some(item) = demux.poll() {
                    if let Item::Frame(frame) = item {
                        frames += 1;
                        keys += usize::from(frame.key && frame.data.len() == 100_000);
                    }
                }
            }
            assert_eq!((keys, frames), (6 - joins, got.len() - 3));
            assert_eq!(demux.tracks().len(), 2);
        }
        begin = mark.end;
    }
    assert_eq!(joins, 5);
}

#[test]
fn without_video_one_audio_frame_a_second_is_a_join() {
    let tracks = [audio()];
    let mut mux = Mux::new(1);
    mux.start(&tracks);
    let (out, headers) = run(&mut mux, 0, &tracks);
    let joins: Vec<_> = out
        .marks()
        .iter()
        .filter(|mark| mark.join)
        .map(|mark| mark.dts_micros)
        .collect();
    assert_eq!(joins.len(), 5, "{joins:?}");
    assert!(joins.windows(2).all(|two| two[1] - two[0] >= 1_000_000));
    let kinds: Vec<_> = messages(&headers[4]).iter().map(|message| message.0).collect();
    assert_eq!(kinds, [18, 8]);
}

#[test]
fn a_break_says_what_changed_in_front_of_the_next_frame_and_ends_nobody() {
    for kind in [Break::CodecData, Break::TrackSet, Break::Publisher, Break::TimeJump] {
        let mut mux = Mux::new(1);
        mux.start(&[video(0)]);
        let (_, _) = run(&mut mux, 0, &[video(0)]);
        let mut out = Records::new();
        let tracks = [video(1), audio()];
        assert_eq!(mux.on_break(kind, &tracks, &mut out), Verdict::Continue);
        assert!(out.is_empty());
        let (out, _) = run(&mut mux, 60_000, &tracks);
        let got: Vec<_> = messages(out.bytes())
            .into_iter()
            .map(|(kind, timestamp, ..)| (kind, timestamp))
            .collect();
        assert_eq!(got[..5], [(18, 0), (9, 60_000), (8, 60_000), (9, 60_000), (8, 60_000)]);
        assert_eq!(got.len(), 253);
        let joins: Vec<_> = out.marks().iter().map(|mark| mark.join).take(4).collect();
        assert_eq!(joins, [false, false, false, true]);
    }
}

#[test]
fn a_player_who_is_moved_over_a_change_gets_the_headers() {
    let mut mux = Mux::new(1);
    let skip = |mux: &Mux| {
        let mut header = Vec::new();
        mux.skip_header(&mut header);
        messages(&header)
    };
    mux.start(&[video(0)]);
    run(&mut mux, 0, &[video(0)]);
    mux.on_break(Break::TimeJump, &[video(0)], &mut Records::new());
    run(&mut mux, 10_000, &[video(0)]);
    assert_eq!(skip(&mux), [], "what it was told holds");
    let tracks = [video(1), audio()];
    mux.on_break(Break::TrackSet, &tracks, &mut Records::new());
    run(&mut mux, 60_000, &tracks);
    let got: Vec<_> = skip(&mux)
        .into_iter()
        .map(|(kind, timestamp, ..)| (kind, timestamp))
        .collect();
    assert_eq!(got, [(18, 0), (9, 64_000), (8, 64_000)]);
}

#[test]
fn frames_of_other_tracks_and_no_tracks_at_all_give_nothing() {
    let mut mux = Mux::new(1);
    mux.start(&[]);
    let (out, _) = run(&mut mux, 0, &[video(0)]);
    assert!(out.is_empty());
    assert_eq!(
        mux.on_break(Break::TrackSet, &[], &mut Records::new()),
        Verdict::Continue
    );
    let mut out = Records::new();
    mux.finish(&mut out);
    let mut header = Vec::new();
    mux.join_header(&mut header);
    assert!(out.is_empty() && header.is_empty());
}
