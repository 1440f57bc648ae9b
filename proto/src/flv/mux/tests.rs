use super::*;
use crate::flv::Reader;
use crate::media::{Codec, Format, Item, Mux as _};
use crate::tag::{Demux, MessageKind};

fn video() -> Track {
    Track {
        id: 1,
        generation: 0,
        codec: Codec::H264,
        timescale: 90_000,
        codec_data: vec![1, 66, 0, 30, 255, 0xe0, 0],
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
        timescale: 48_000,
        codec_data: vec![0x11, 0x90],
        bitrate_hint: 64_000,
        format: Format::Audio {
            sample_rate: 48_000,
            channels: 2,
            sample_bits: 16,
        },
    }
}

fn frame(track: u32, dts: i64, offset: i32, key: bool) -> Frame<'static> {
    Frame {
        track,
        dts,
        offset,
        key,
        data: b"\0\0\0\x01e",
    }
}

/// Joins and tag types with their times, one text a record.
fn records(out: &mut Records) -> Vec<String> {
    let found = out.iter().map(|(mark, bytes)| {
        let header = super::super::wire::TagHeader::parse(bytes.first_chunk().unwrap());
        assert_eq!(bytes.len(), header.body_bytes as usize + 15);
        let join = if mark.join { "join " } else { "" };
        format!("{join}{}@{}", header.tag_type, header.timestamp)
    });
    let found = found.collect();
    out.clear();
    found
}

#[test]
fn joins_at_video_keyframes_with_headers_of_the_joins_time() {
    let (mut mux, mut out) = (Mux::new(), Records::new());
    mux.start(&[video(), audio()]);
    // 32 bits of ms wrap between the two.
    let base = (1_i64 << 32) - 40;
    mux.frame(&frame(1, base * 90, 7200, true), &mut out);
    mux.frame(&frame(2, base * 48, 0, true), &mut out);
    mux.frame(&frame(1, (base + 40) * 90, -3600, false), &mut out);
    mux.frame(&frame(3, 0, 0, true), &mut out);
    assert_eq!(records(&mut out), ["join 9@4294967256", "8@4294967256", "9@0"]);
    let mut header = Vec::new();
    mux.join_header(&mut header);
    let mut reader = Reader::new();
    reader.feed(&header);
    let mut tags = Vec::new();
    while let Some(tag) = reader.next_tag().unwrap() {
        tags.push((tag.kind, tag.timestamp, tag.body.to_vec()));
    }
    let at = u32::MAX - 39;
    assert_eq!(tags.len(), 3);
    assert_eq!(
        (tags[0].0, tags[0].1),
        (MessageKind::Script, 0),
        "metadata at another time are a track to ffmpeg"
    );
    assert_eq!(
        tags[1],
        (
            MessageKind::Video,
            at,
            [b"\x17\0\0\0\0", &video().codec_data[..]].concat()
        )
    );
    assert_eq!(tags[2], (MessageKind::Audio, at, b"\xaf\0\x11\x90".to_vec()));
    assert!(!tags[0].2.windows(8).any(|bytes| bytes == b"duration"));
}

#[test]
fn audio_alone_joins_once_a_second() {
    let (mut mux, mut out) = (Mux::new(), Records::new());
    mux.start(&[audio()]);
    for index in 0..100 {
        mux.frame(&frame(2, index * 1024, 0, true), &mut out);
    }
    let joins: Vec<_> = records(&mut out)
        .into_iter()
        .filter(|record| record.starts_with("join"))
        .collect();
    assert_eq!(joins, ["join 8@0", "join 8@1003", "join 8@2005"]);
    let mut header = Vec::new();
    mux.join_header(&mut header);
    assert_eq!(header[4], 4);
}

#[test]
fn breaks_bring_new_headers_inline() {
    let (mut mux, mut out) = (Mux::new(), Records::new());
    mux.start(&[video()]);
    mux.frame(&frame(1, 0, 0, true), &mut out);
    assert_eq!(
        mux.on_break(Break::TrackSet, &[video(), audio()], &mut out),
        Verdict::Continue
    );
    mux.frame(&frame(1, 3600, 0, false), &mut out);
    assert_eq!(records(&mut out), ["join 9@0", "18@0", "9@40", "8@40", "9@40"]);
    // Nothing changed for what is carried.
    mux.on_break(Break::TimeJump, &[video(), audio()], &mut out);
    mux.on_break(
        Break::TrackSet,
        &[video(), audio(), Track { id: 9, ..audio() }],
        &mut out,
    );
    mux.frame(&frame(1, 7200, 0, false), &mut out);
    assert_eq!(records(&mut out), ["9@80"]);
    // Another publisher is announced even if its tracks are the same (VLC waits for metadata).
    mux.on_break(Break::Publisher, &[video(), audio()], &mut out);
    mux.frame(&frame(1, 10_800, 0, true), &mut out);
    assert_eq!(records(&mut out), ["18@0", "9@120", "8@120", "join 9@120"]);
}

#[test]
fn a_viewer_who_is_moved_over_a_change_gets_the_headers() {
    let (mut mux, mut out) = (Mux::new(), Records::new());
    let skip = |mux: &Mux| {
        let mut header = Vec::new();
        mux.skip_header(&mut header);
        header
    };
    mux.start(&[video(), audio()]);
    mux.frame(&frame(1, 0, 0, true), &mut out);
    mux.on_break(Break::TimeJump, &[video(), audio()], &mut out);
    mux.frame(&frame(1, 3600, 0, true), &mut out);
    assert!(skip(&mux).is_empty(), "what it was told holds");
    let other = Track {
        codec_data: vec![1, 77, 0, 31, 255, 0xe0, 0],
        ..video()
    };
    mux.on_break(Break::CodecData, &[other, audio()], &mut out);
    out.clear();
    mux.frame(&frame(1, 7200, 0, true), &mut out);
    let inline = out.bytes()[..out.marks()[2].end].to_vec();
    assert_eq!(skip(&mux), inline);
    mux.frame(&frame(1, 90_000, 0, true), &mut out);
    let (mut header, later) = (Vec::new(), skip(&mux));
    mux.join_header(&mut header);
    assert!(
        !later.is_empty() && header.ends_with(&later),
        "at every join from there on"
    );
}

#[test]
fn what_is_muxed_is_demuxed_to_the_same_frames() {
    let (mut mux, mut out) = (Mux::new(), Records::new());
    mux.start(&[video(), audio()]);
    let mut frames = Vec::new();
    let offsets = [7200, 14_400, 3600, -3600];
    for index in 0..100_i64 {
        let offset = offsets[index as usize % 4];
        frames.push(frame(1, 9000 + index * 3600, offset, index % 25 == 0));
        frames.push(frame(2, 4800 + index * 1024, 0, true));
    }
    for frame in &frames {
        mux.frame(frame, &mut out);
    }
    let mut file = Vec::new();
    let mut first = Mux::new();
    first.start(&[video(), audio()]);
    first.frame(&frames[0], &mut Records::new());
    first.join_header(&mut file);
    file.extend_from_slice(out.bytes());
    let (mut reader, mut demux, mut found) = (Reader::new(), Demux::new(), Vec::new());
    for piece in file.chunks(77) {
        reader.feed(piece);
        while let Some(tag) = reader.next_tag().unwrap() {
            demux.push(tag.kind, tag.timestamp, tag.body).unwrap();
            while let Some(item) = demux.poll() {
                if let Item::Frame(frame) = item {
                    found.push((frame.track, frame.dts, frame.offset, frame.key, frame.data.to_vec()));
                }
            }
        }
    }
    let expected = frames
        .iter()
        .map(|frame| (frame.track, frame.dts, frame.offset, frame.key, frame.data.to_vec()));
    assert_eq!(found, expected.collect::<Vec<_>>());
    assert!(demux.is_complete());
}
