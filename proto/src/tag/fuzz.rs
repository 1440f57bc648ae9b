//! Any messages: no panic, tracks within the limit, decode times that never fall, every frame's track known.

use std::collections::HashMap;

use super::limits::TRACKS_MAX;
use super::wire::tests::{audio_cases, video_cases};
use super::{Demux, Item, MessageKind, mux};
use crate::codec::cases::{self, hex};
use crate::media::Frame;
use crate::noise::Noise;

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

#[test]
fn mutated_messages() {
    let seeds = seeds();
    let mut random = Noise(0x2545_f491_4f6c_dd1d);
    let mut out = Vec::new();
    for _ in 0..150 {
        let mut demux = Demux::new();
        let mut last = HashMap::new();
        let mut timestamp = random.below(1 << 32) as u32;
        for _ in 0..200 {
            let (kind, mut body) = seeds[random.below(seeds.len())].clone();
            for _ in 0..random.below(3) {
                let at = random.below(body.len());
                match random.below(3) {
                    0 => body[at] = random.below(256) as u8,
                    1 => body.insert(at, random.below(256) as u8),
                    _ => body.truncate(at + 1),
                }
            }
            timestamp = match random.below(20) {
                0 => random.below(1 << 32) as u32,
                1 => timestamp.wrapping_sub(500),
                _ => timestamp.wrapping_add(20),
            };
            let _ = demux.push(kind, timestamp, &body);
            let tracks = demux.tracks().to_vec();
            assert!(tracks.len() <= TRACKS_MAX);
            while let Some(item) = demux.poll() {
                let Item::Frame(frame) = item else { continue };
                check(&frame, &tracks, &mut last, &mut out);
            }
        }
    }
}

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
