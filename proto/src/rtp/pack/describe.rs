//! What a description says of a track: the payload format that the maker of its payloads follows.
//!
//! Payload types are MistServer's where it has one: 96 AAC, 97 H.264, 98 VP8, 99 VP9, 100 AC-3, 101 A-law, 102 Opus, 103 L16,
//! 104 HEVC, 105 µ-law, 106 AV1, and 14 for MPEG audio; 107 E-AC-3, 108 L24, and the static 9 for G.722 and 26 for JPEG.
//! Where one is taken, the next free dynamic one.

use std::fmt::Write;

use super::limits::{CHANNELS_MAX, JPEG_SIDE_MAX};
use super::mpa;
use crate::codec::{aac, av1, h264, hevc, opus, vp9};
use crate::media::{Codec, Format, Track};
use crate::rtp::format::PayloadFormat;

/// The payload format of `track` with a payload type that is not among `taken`. None if there is no payload format here for
/// what it carries (FLAC, JSON, PCM of 8 bits, Opus of more than two channels, JPEG of sides above 2,040), if its codec data
/// cannot be read where the format needs them (AAC, opaque), or if no payload type is free.
pub fn format(track: &Track, taken: &[u8]) -> Option<PayloadFormat> {
    if track.timescale == 0 {
        return None;
    }
    let mut format = match track.codec {
        Codec::H264 | Codec::Hevc | Codec::Av1 | Codec::Vp8 | Codec::Vp9 | Codec::Mjpeg => video(track)?,
        Codec::Rtp => PayloadFormat::from_codec_data(&track.codec_data)?,
        _ => audio(track)?,
    };
    format.payload_type = free(format.payload_type, taken)?;
    Some(format)
}

/// Ticks per second of the RTP timestamps of video, all of them (RFC 3551, 5, and each format's own).
const VIDEO_CLOCK_RATE: u32 = 90_000;
/// RFC 7587, 4.1.
const OPUS_CLOCK_RATE: u32 = 48_000;
/// RFC 3551, 4.5.2: by an error that stayed, not the sample rate.
const G722_CLOCK_RATE: u32 = 8_000;

fn free(wanted: u8, taken: &[u8]) -> Option<u8> {
    let mut order = std::iter::once(wanted).chain(109..=127).chain(96..=108);
    order.find(|payload_type| !taken.contains(payload_type))
}

fn video(track: &Track) -> Option<PayloadFormat> {
    let (payload_type, encoding, parameters) = match track.codec {
        Codec::H264 => (97, "H264", h264(track)),
        Codec::Hevc => (104, "H265", hevc(track)),
        Codec::Av1 => (106, "AV1", av1(track)),
        Codec::Vp8 => (98, "VP8", Vec::new()),
        Codec::Vp9 => (99, "VP9", vp9(track)),
        _ => {
            let fits = |side| side <= JPEG_SIDE_MAX;
            matches!(track.format, Format::Video { width, height, .. } if fits(width) && fits(height)).then_some(())?;
            (26, "JPEG", Vec::new())
        }
    };
    Some(PayloadFormat {
        kind: track.kind(),
        payload_type,
        encoding: encoding.into(),
        clock_rate: VIDEO_CLOCK_RATE,
        channels: 1,
        parameters,
    })
}

fn audio(track: &Track) -> Option<PayloadFormat> {
    let Format::Audio {
        sample_rate,
        channels,
        sample_bits,
    } = track.format
    else {
        return None;
    };
    let channels = channels.max(1);
    let rate = if sample_rate > 0 { sample_rate } else { track.timescale };
    let mut parameters = Vec::new();
    let (payload_type, encoding, clock_rate, channels) = match track.codec {
        Codec::Aac => {
            parameters = aac(track)?;
            // Of the core, where spectral band replication doubles it.
            (96, "MPEG4-GENERIC", track.timescale, channels)
        }
        Codec::Opus => {
            let mapped = opus::Head::parse(&track.codec_data).is_ok_and(|head| head.mapping_family != 0);
            if channels > 2 || mapped {
                return None;
            }
            if channels == 2 {
                parameters.push(("sprop-stereo".into(), "1".into()));
            }
            (102, "OPUS", OPUS_CLOCK_RATE, 2)
        }
        Codec::Mp2 | Codec::Mp3 => (14, "MPA", mpa::CLOCK_RATE, 1),
        Codec::Ac3 => (100, "AC3", rate, channels),
        Codec::Eac3 => (107, "EAC3", rate, channels),
        Codec::Alaw => (101, "PCMA", rate, channels),
        Codec::Ulaw => (105, "PCMU", rate, channels),
        // The static type is for one channel alone.
        Codec::G722 if channels == 1 => (9, "G722", G722_CLOCK_RATE, 1),
        Codec::G722 => (109, "G722", G722_CLOCK_RATE, channels),
        Codec::Pcm if sample_bits == 16 => (103, "L16", rate, channels),
        Codec::Pcm if sample_bits == 24 => (108, "L24", rate, channels),
        _ => return None,
    };
    (channels <= CHANNELS_MAX).then(|| PayloadFormat {
        kind: track.kind(),
        payload_type,
        encoding: encoding.into(),
        clock_rate,
        channels,
        parameters,
    })
}

/// RFC 6184, 8.1. Without a record only the mode: the sets are in band.
fn h264(track: &Track) -> Vec<(String, String)> {
    let mut parameters = vec![parameter("packetization-mode", "1")];
    if let Ok(config) = h264::Config::parse(&track.codec_data) {
        let level = [config.profile, config.compatibility, config.level];
        parameters.push(parameter("profile-level-id", hex_upper(&level)));
        let sets = base64_list(config.sps().chain(config.pps()));
        parameters.push(parameter("sprop-parameter-sets", sets));
    }
    parameters
}

/// RFC 7798, 7.1.
fn hevc(track: &Track) -> Vec<(String, String)> {
    let Ok(config) = hevc::Config::parse(&track.codec_data) else {
        return Vec::new();
    };
    let head = config.profile_tier_level;
    vec![
        parameter("profile-id", head.profile.to_string()),
        parameter("tier-flag", u8::from(head.high_tier).to_string()),
        parameter("level-id", head.level.to_string()),
        parameter("sprop-vps", base64_list(config.vps())),
        parameter("sprop-sps", base64_list(config.sps())),
        parameter("sprop-pps", base64_list(config.pps())),
    ]
}

/// AV1 RTP, 7.2.1.
fn av1(track: &Track) -> Vec<(String, String)> {
    let Ok(config) = av1::Config::parse(&track.codec_data) else {
        return Vec::new();
    };
    vec![
        parameter("profile", config.profile.to_string()),
        parameter("level-idx", config.level.to_string()),
        parameter("tier", u8::from(config.high_tier).to_string()),
    ]
}

/// RFC 9628, 6.
fn vp9(track: &Track) -> Vec<(String, String)> {
    let config = vp9::Config::parse(&track.codec_data);
    config.map_or_else(
        |_| Vec::new(),
        |config| vec![parameter("profile-id", config.profile.to_string())],
    )
}

/// RFC 3640, 4.1. No receiver reads profile-level-id, which must be there.
fn aac(track: &Track) -> Option<Vec<(String, String)>> {
    aac::Config::parse(&track.codec_data).ok()?;
    let mut config = String::new();
    for byte in &track.codec_data {
        write!(config, "{byte:02x}").expect("a String takes any text");
    }
    Some(vec![
        parameter("streamtype", "5"),
        parameter("profile-level-id", "1"),
        parameter("mode", "AAC-hbr"),
        parameter("sizelength", "13"),
        parameter("indexlength", "3"),
        parameter("indexdeltalength", "3"),
        parameter("config", config),
    ])
}

fn parameter(name: &str, value: impl Into<String>) -> (String, String) {
    (name.into(), value.into())
}

fn hex_upper(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02X}").expect("a String takes any text");
    }
    text
}

/// The units in base64 (RFC 4648, 4), between commas.
fn base64_list<'a>(units: impl Iterator<Item = &'a [u8]>) -> String {
    let mut text = String::new();
    for (at, unit) in units.enumerate() {
        if at > 0 {
            text.push(',');
        }
        for bytes in unit.chunks(3) {
            let mut group = [0; 3];
            group[..bytes.len()].copy_from_slice(bytes);
            let group = u32::from_be_bytes([0, group[0], group[1], group[2]]);
            for digit in 0..4 {
                let value = group >> (18 - 6 * digit) & 63;
                let char = if digit <= bytes.len() {
                    BASE64[value as usize]
                } else {
                    b'='
                };
                text.push(char.into());
            }
        }
    }
    text
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::super::tests::track;
    use super::*;
    use crate::codec::cases::{ASC_LC, AV1C, AVCC_BASELINE, HVCC_MAIN, VPCC, hex};

    fn shown(format: &PayloadFormat) -> String {
        let parameters = format.parameters.iter().map(|(name, value)| format!("{name}={value}"));
        format!(
            "{} {}/{}/{} {}",
            format.payload_type,
            format.encoding,
            format.clock_rate,
            format.channels,
            parameters.collect::<Vec<_>>().join(";")
        )
    }

    #[test]
    fn every_codec_is_described_as_its_rfc_says() {
        let audio = |sample_rate, channels, sample_bits| Format::Audio {
            sample_rate,
            channels,
            sample_bits,
        };
        for (codec, format_of, codec_data, expected) in [
            // The parameter sets of AVCC_BASELINE and HVCC_MAIN as Python's base64 writes them.
            (
                Codec::H264,
                None,
                hex(AVCC_BASELINE),
                "97 H264/90000/1 packetization-mode=1;profile-level-id=42C028;sprop-parameter-sets=\
                 Z0LAKNkAeAInqbARAAADA+kAAOpgDxgySA==,aMuDyyA=",
            ),
            (Codec::H264, None, vec![], "97 H264/90000/1 packetization-mode=1"),
            (
                Codec::Hevc,
                None,
                hex(HVCC_MAIN),
                "104 H265/90000/1 profile-id=1;tier-flag=0;level-id=120;sprop-vps=QAEMAf//AWAAAAMAkAAAAwAAAwB4lZgJ;sprop-sps=QgEBAWAAAAMAkAAAAwAAAwB4oAPAgBDnVZZWaSTK8BaAgAAB9IAAOpgE;sprop-pps=RAHBcrRiQA==",
            ),
            (
                Codec::Av1,
                None,
                hex(AV1C),
                "106 AV1/90000/1 profile=0;level-idx=8;tier=0",
            ),
            (Codec::Vp8, None, vec![], "98 VP8/90000/1 "),
            (Codec::Vp9, None, hex(VPCC), "99 VP9/90000/1 profile-id=0"),
            (Codec::Mjpeg, None, vec![], "26 JPEG/90000/1 "),
            (
                Codec::Aac,
                Some(audio(44_100, 2, 16)),
                hex(ASC_LC),
                "96 MPEG4-GENERIC/44100/2 streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;\
                 indexdeltalength=3;config=121056e500",
            ),
            (
                Codec::Opus,
                Some(audio(48_000, 2, 16)),
                vec![],
                "102 OPUS/48000/2 sprop-stereo=1",
            ),
            (Codec::Opus, Some(audio(48_000, 1, 16)), vec![], "102 OPUS/48000/2 "),
            (Codec::Mp3, Some(audio(44_100, 2, 16)), vec![], "14 MPA/90000/1 "),
            (Codec::Mp2, Some(audio(48_000, 2, 16)), vec![], "14 MPA/90000/1 "),
            (Codec::Ac3, Some(audio(48_000, 6, 16)), vec![], "100 AC3/48000/6 "),
            (Codec::Eac3, Some(audio(48_000, 6, 16)), vec![], "107 EAC3/48000/6 "),
            (Codec::Alaw, Some(audio(8_000, 1, 8)), vec![], "101 PCMA/8000/1 "),
            (Codec::Ulaw, Some(audio(8_000, 1, 8)), vec![], "105 PCMU/8000/1 "),
            (Codec::G722, Some(audio(16_000, 1, 16)), vec![], "9 G722/8000/1 "),
            (Codec::G722, Some(audio(16_000, 2, 16)), vec![], "109 G722/8000/2 "),
            (Codec::Pcm, Some(audio(44_100, 2, 16)), vec![], "103 L16/44100/2 "),
            (Codec::Pcm, Some(audio(48_000, 2, 24)), vec![], "108 L24/48000/2 "),
        ] {
            let mut track = track(codec);
            track.codec_data = codec_data;
            track.format = format_of.unwrap_or(track.format);
            if let Format::Audio { sample_rate, .. } = track.format {
                track.timescale = sample_rate;
            }
            let found = format(&track, &[]).unwrap();
            assert_eq!(shown(&found), expected);
            assert_eq!(found.kind, track.kind());
        }
    }

    #[test]
    fn what_no_format_can_say_is_not_carried() {
        let wide = Format::Video {
            width: 2048,
            height: 8,
            frame_rate: 0.0,
        };
        let many = |channels, sample_bits| Format::Audio {
            sample_rate: 48_000,
            channels,
            sample_bits,
        };
        for (codec, format_of) in [
            (Codec::Flac, many(2, 16)),
            (Codec::Json, Format::Meta),
            (Codec::Rtp, Format::Meta),
            (Codec::Mjpeg, wide),
            (Codec::Opus, many(6, 16)),
            (Codec::Pcm, many(2, 8)),
            (Codec::Pcm, many(2, 32)),
            (Codec::Pcm, many(1000, 16)),
            (Codec::Aac, many(2, 16)),
        ] {
            let mut track = track(codec);
            track.codec_data.clear();
            track.format = format_of;
            assert_eq!(format(&track, &[]), None, "{codec:?}");
            assert!(super::super::of(&track, 1188, 0).is_none(), "{codec:?}");
        }
        let mut track = track(Codec::Vp8);
        track.timescale = 0;
        assert_eq!(format(&track, &[]), None);
    }

    #[test]
    fn no_two_tracks_share_a_payload_type() {
        let mut taken = Vec::new();
        for codec in [Codec::H264, Codec::Mp3].into_iter().cycle().take(33) {
            let found = format(&track(codec), &taken).unwrap();
            assert!(!taken.contains(&found.payload_type));
            taken.push(found.payload_type);
        }
        assert_eq!(
            taken[..5],
            [97, 14, 109, 110, 111],
            "the usual first, then what is free"
        );
        assert_eq!(format(&track(Codec::H264), &taken), None, "all are taken");
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
            (b"fooba", "Zm9vYmE="),
            (b"foobar", "Zm9vYmFy"),
            (&[0xfb, 0xff, 0xbf], "+/+/"),
        ] {
            assert_eq!(base64_list(std::iter::once(bytes)), text);
        }
        assert_eq!(base64_list([&b"f"[..], b"foo"].into_iter()), "Zg==,Zm9v");
    }
}
