//! Any bytes as a frame of every codec, and as its codec data: no payload is empty or longer than it may be, and only what
//! cannot be cut is longer.

use super::{Pack, describe, limits, of};
use crate::media::{Codec, Format, Frame, Kind, Track};
use crate::noise::chosen_by;

/// One byte chooses the codec, the next two the length of codec data, what is left is a frame.
pub fn frames(bytes: &[u8]) {
    let Some((&[codec, high, low], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let codec = CODECS[usize::from(codec) % CODECS.len()];
    let (codec_data, data) = rest.split_at(usize::from(u16::from_be_bytes([high, low])).min(rest.len()));
    let track = track(codec, codec_data);
    let max = limits::PAYLOAD_BYTES_MIN + chosen_by(bytes, 2000);
    let Some(mut pack) = of(&track, max, 1) else {
        assert_eq!(describe::format(&track, &[]), None);
        return;
    };
    run(&mut *pack, &track, data, max);
}

fn run(pack: &mut dyn Pack, track: &Track, data: &[u8], max: usize) {
    for key in [true, false] {
        let frame = Frame {
            track: 1,
            dts: 0,
            offset: 0,
            key,
            data,
        };
        let (before, mut count, mut ticks) = (pack.skipped(), 0_u64, 0);
        pack.frame(&frame, &mut |packet| {
            let bytes = packet.payload_bytes();
            let is_whole = matches!(track.codec, Codec::Opus | Codec::Rtp);
            assert!(bytes <= if is_whole { limits::WHOLE_BYTES_MAX } else { max });
            assert!(bytes > 0 || track.codec == Codec::Rtp);
            assert!(packet.ticks >= ticks, "time does not run back");
            ticks = packet.ticks;
            count += 1;
        });
        assert_eq!(count == 0, pack.skipped() > before, "payloads, or counted");
    }
}

fn track(codec: Codec, codec_data: &[u8]) -> Track {
    let channels = 1 + chosen_by(codec_data, 3) as u32;
    Track {
        id: 1,
        generation: 0,
        codec,
        timescale: 48_000,
        codec_data: codec_data.to_vec(),
        bitrate_hint: 0,
        format: match codec.kind() {
            Kind::Audio => Format::Audio {
                sample_rate: 48_000,
                channels,
                sample_bits: if channels == 3 { 24 } else { 16 },
            },
            Kind::Video => Format::Video {
                width: 640,
                height: 360,
                frame_rate: 0.0,
            },
            Kind::Meta => Format::Meta,
        },
    }
}

const CODECS: [Codec; 19] = [
    Codec::H264,
    Codec::Hevc,
    Codec::Av1,
    Codec::Vp8,
    Codec::Vp9,
    Codec::Mjpeg,
    Codec::Aac,
    Codec::Mp2,
    Codec::Mp3,
    Codec::Opus,
    Codec::Ac3,
    Codec::Eac3,
    Codec::Alaw,
    Codec::Ulaw,
    Codec::Pcm,
    Codec::G722,
    Codec::Rtp,
    Codec::Flac,
    Codec::Json,
];

#[cfg(test)]
mod tests {
    use super::super::tests;
    use super::*;
    use crate::damage::{Cost, damaged};

    #[test]
    fn damaged_frames_are_payloads_or_counted() {
        let mut seeds = Vec::new();
        for (number, codec) in (0..).zip(CODECS).filter(|(_, codec)| tests::CODECS.contains(codec)) {
            let codec_data = tests::track(codec).codec_data;
            let [high, low] = (codec_data.len() as u16).to_be_bytes();
            for bytes in [40, 1500] {
                let frame = tests::frame_of(codec, bytes);
                seeds.push([&[number, high, low], &codec_data[..], &frame].concat());
            }
        }
        let tokens: [&[u8]; 5] = [b"\0\0\0\x02\x67\x64", b"\x12\0", b"\xff\xc4", b"\xff\xdb", b"\x0b\x77"];
        damaged("rtp_pack", Cost::Light, &seeds, &tokens, frames);
    }
}
