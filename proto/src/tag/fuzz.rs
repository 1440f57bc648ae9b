//! Any messages: no panic, tracks within the limit, decode times that never fall, every frame's track known.

use std::collections::HashMap;

use super::limits::TRACKS_MAX;
use super::{Demux, MessageKind, mux};
use crate::media::Frame;
use crate::media::Item;

/// Any bytes as messages of one publisher: of each a byte that says its kind and whether time jumps, one of time, two of
/// length, and the body.
pub fn messages(mut input: &[u8]) {
    let mut demux = Demux::new();
    let (mut last, mut out) = (HashMap::new(), Vec::new());
    let mut timestamp = 0_u32;
    while let Some((head, rest)) = input.split_first_chunk::<HEAD_BYTES>() {
        let length = usize::from(u16::from_be_bytes([head[2], head[3]])).min(rest.len());
        let (body, rest) = rest.split_at(length);
        input = rest;
        let kind = [MessageKind::Video, MessageKind::Audio, MessageKind::Script][usize::from(head[0]) % 3];
        let step = u32::from(head[1]);
        timestamp = match head[0] >> 4 {
            0..14 => timestamp.wrapping_add(step),
            14 => timestamp.wrapping_sub(step * 20),
            _ => step << 24,
        };
        let _ = demux.push(kind, timestamp, body);
        let tracks = demux.tracks().to_vec();
        assert!(tracks.len() <= TRACKS_MAX);
        let mut items = 0;
        while let Some(item) = demux.poll() {
            items += 1;
            assert!(
                items <= body.len() + 16,
                "a message makes no more than it has bytes for"
            );
            let Item::Frame(frame) = item else { continue };
            check(&frame, &tracks, &mut last, &mut out);
        }
    }
}

const HEAD_BYTES: usize = 4;

fn check(frame: &Frame<'_>, tracks: &[crate::media::Track], last: &mut HashMap<u32, i64>, out: &mut Vec<u8>) {
    let track = tracks
        .iter()
        .find(|track| track.id == frame.track)
        .expect("a frame's track is known");
    assert!(track.timescale > 0 && !frame.data.is_empty());
    if let Some(before) = last.insert(track.id, frame.dts) {
        assert!(frame.dts > before, "{before} then {}", frame.dts);
    }
    if mux::carries(track) {
        out.clear();
        mux::frame_body(track, frame, out);
        mux::sequence_header(track, out);
        mux::metadata(tracks, out);
    }
}

#[cfg(test)]
mod runs {
    use super::super::wire::tests::{audio_cases, video_cases};
    use super::*;
    use crate::codec::cases::{self, hex};
    use crate::damage::{Cost, damaged};

    #[test]
    fn tag_messages() {
        let kinds = [MessageKind::Video, MessageKind::Audio, MessageKind::Script];
        let framed = |(kind, body): &(MessageKind, Vec<u8>)| {
            let kind = kinds.iter().position(|one| one == kind).expect("one of three") as u8;
            let length = (body.len() as u16).to_be_bytes();
            [&[kind, 20], &length[..], body].concat()
        };
        let all: Vec<Vec<u8>> = seeds().iter().map(framed).collect();
        // Each with those behind it: headers before frames, and the other way round.
        let mut several: Vec<Vec<u8>> = (0..all.len())
            .map(|at| all[at..].iter().take(24).flatten().copied().collect())
            .collect();
        several.extend(all.windows(3).map(|three| three.concat().repeat(3)));
        let tokens: &[&[u8]] = &[
            b"\x17\0\0\0\0",
            b"\x17\x01\0\0\0",
            b"\x90avc1",
            b"\x91hvc1",
            b"\x96",
            b"\x97\0",
            b"\x95\0",
            b"\xaf\0",
            b"\xaf\x01",
        ];
        damaged("tag_messages", Cost::Light, &several, tokens, super::messages);
    }

    fn seeds() -> Vec<(MessageKind, Vec<u8>)> {
        let mut seeds = Vec::new();
        for (body, _) in video_cases() {
            seeds.push((MessageKind::Video, body.to_vec()));
        }
        for (body, _) in audio_cases() {
            seeds.push((MessageKind::Audio, body.to_vec()));
        }
        for (kind, head, record) in [
            (MessageKind::Video, &b"\x17\0\0\0\0"[..], cases::AVCC_HIGH),
            (MessageKind::Video, b"\x17\0\0\0\0", cases::HVCC_MAIN),
            (MessageKind::Video, b"\x90av01", cases::AV1C),
            (MessageKind::Video, b"\x91av01", cases::AV1_UNIT),
            (MessageKind::Video, b"\x91vp09", cases::VP9_KEY),
            (MessageKind::Video, b"\x90vp09", cases::VPCC),
            (MessageKind::Audio, b"\xaf\0", cases::ASC_LC),
            (MessageKind::Audio, b"\xaf\0", cases::ASC_PS),
            (MessageKind::Audio, b"\x2f", cases::MP3),
            (MessageKind::Audio, b"\x90Opus", cases::OPUS_HEAD),
            (MessageKind::Audio, b"\x90fLaC", cases::FLAC),
            (MessageKind::Audio, b"\x91ac-3", cases::AC3),
            (MessageKind::Audio, b"\x91ec-3", cases::EAC3),
            (MessageKind::Video, b"\x17\x01\0\0\x05", "0000000165000000026566"),
            (MessageKind::Video, b"\x17\x01\0\0\x05", "00000001650000016566"),
            (
                MessageKind::Script,
                b"\x02\0\x0aonMetaData\x08\0\0\0\x01\0\x05width\0",
                "40840000000000000000 09",
            ),
            (MessageKind::Script, b"\x02\0\x03onX", "05"),
        ] {
            let record = hex(&record.replace(' ', ""));
            seeds.push((kind, [head, &record].concat()));
        }
        seeds
    }
}
