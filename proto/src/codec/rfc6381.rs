//! The `codecs` parameter of a track (RFC 6381), as HLS and DASH name it and browsers are asked for it.
//!
//! Made of codec data alone; what they leave open has the value that decoders of the codec take at the least. The forms are
//! those of ISO/IEC 14496-15 annex E (H.264, HEVC), AV1 in ISO-BMFF 5, VP codec in ISO-BMFF 4, 14496-3 (AAC), ETSI TS 102 366.

use super::{aac, av1, h264, hevc, vp9};
use crate::media::{Codec, Format, Track};

/// `None`: codec data cannot be read, or nobody has a name for the codec.
pub fn rfc6381(track: &Track) -> Option<String> {
    let data = &track.codec_data[..];
    match track.codec {
        Codec::H264 => Some(h264::Config::parse(data).ok()?.codec_string()),
        Codec::Hevc => Some(hevc::Config::parse(data).ok()?.codec_string()),
        Codec::Av1 => Some(av1::Config::parse(data).ok()?.codec_string()),
        Codec::Vp9 => vp9_name(track),
        Codec::Aac => Some(aac::Config::parse(data).ok()?.codec_string()),
        // Layer 3 as an object type of MPEG-4 audio: what Apple's players and ffmpeg's playlists say, in TS as in MP4.
        Codec::Mp3 => Some("mp4a.40.34".to_owned()),
        Codec::Opus => Some("opus".to_owned()),
        Codec::Flac => Some("fLaC".to_owned()),
        Codec::Ac3 => Some("ac-3".to_owned()),
        Codec::Eac3 => Some("ec-3".to_owned()),
        // Layers 1 and 2 as an object type of MPEG-4 audio.
        Codec::Mp2 => Some("mp4a.40.33".to_owned()),
        Codec::Vp8 | Codec::Mjpeg | Codec::Alaw | Codec::Ulaw | Codec::Pcm | Codec::G722 | Codec::Json | Codec::Rtp => {
            None
        }
    }
}

/// A level of 0 (unknown) is legal in a record, and Chromium knows no codec of that name: it is made of the pictures' size.
fn vp9_name(track: &Track) -> Option<String> {
    let mut config = match track.codec_data.is_empty() {
        false => vp9::Config::parse(&track.codec_data).ok()?,
        true => vp9::Config {
            profile: 0,
            level: 0,
            bit_depth: 8,
            chroma: 1,
            full_range: false,
            primaries: 2,
            transfer: 2,
            matrix: 2,
        },
    };
    if config.level == 0
        && let Format::Video {
            width,
            height,
            frame_rate,
        } = track.format
    {
        config.level = vp9::level(width, height, frame_rate);
    }
    Some(config.codec_string())
}

#[cfg(test)]
mod tests {
    use super::super::cases::{
        ASC_ESCAPE, ASC_LC, ASC_PS, ASC_SBR, ASC_SBR_EXTENSION, AV1C, AV1C_444_10, AVCC_BASELINE, AVCC_HIGH,
        AVCC_HIGH_422_10, HVCC_MAIN, HVCC_MAIN_10, OPUS_HEAD, VPCC, hex,
    };
    use super::*;
    use crate::media::Kind;

    fn track(codec: Codec, codec_data: Vec<u8>) -> Track {
        let format = match codec.kind() {
            Kind::Video => Format::Video {
                width: 1918,
                height: 1078,
                frame_rate: 0.0,
            },
            Kind::Audio => Format::Audio {
                sample_rate: 48_000,
                channels: 2,
                sample_bits: 16,
            },
            Kind::Meta => Format::Meta,
        };
        Track {
            id: 1,
            generation: 0,
            codec,
            timescale: 90_000,
            codec_data,
            bitrate_hint: 0,
            format,
        }
    }

    #[test]
    fn names_are_those_that_players_know() {
        for (codec, record, expected) in [
            (Codec::H264, AVCC_HIGH, Some("avc1.640028")),
            (Codec::H264, AVCC_HIGH_422_10, Some("avc1.7A0028")),
            (Codec::H264, AVCC_BASELINE, Some("avc1.42C028")),
            (Codec::Hevc, HVCC_MAIN, Some("hvc1.1.6.L120.90")),
            (Codec::Hevc, HVCC_MAIN_10, Some("hvc1.2.4.L120.90")),
            (Codec::Av1, AV1C, Some("av01.0.08M.08")),
            (Codec::Av1, AV1C_444_10, Some("av01.1.09M.10")),
            (Codec::Vp9, VPCC, Some("vp09.00.40.08")),
            // Level unknown, with and without version and flags in front; 10 bits; nothing known at all.
            (Codec::Vp9, "0100000000008202020200000000", Some("vp09.00.40.08")),
            (Codec::Vp9, "0200a20909090000", Some("vp09.02.40.10")),
            (Codec::Vp9, "", Some("vp09.00.40.08")),
            (Codec::Vp9, "00", None),
            (Codec::Aac, ASC_LC, Some("mp4a.40.2")),
            (Codec::Aac, ASC_SBR, Some("mp4a.40.5")),
            (Codec::Aac, ASC_PS, Some("mp4a.40.29")),
            (Codec::Aac, ASC_SBR_EXTENSION, Some("mp4a.40.5")),
            (Codec::Aac, ASC_ESCAPE, Some("mp4a.40.2")),
            // Five bits of ones, then six of 10: xHE-AAC, object type 42, of 48,000 Hz.
            (Codec::Aac, "f9464000", Some("mp4a.40.42")),
            (Codec::Aac, "12", None),
            (Codec::Mp3, "", Some("mp4a.40.34")),
            (Codec::Opus, OPUS_HEAD, Some("opus")),
            (Codec::Flac, "", Some("fLaC")),
            (Codec::Ac3, "", Some("ac-3")),
            (Codec::Eac3, "", Some("ec-3")),
            (Codec::H264, "", None),
            (Codec::Hevc, "01", None),
            (Codec::Av1, "80", None),
            (Codec::Vp8, "", None),
            (Codec::Alaw, "", None),
            (Codec::Json, "", None),
        ] {
            let name = rfc6381(&track(codec, hex(record)));
            assert_eq!(name.as_deref(), expected, "{codec:?} {record}");
        }
    }
}
