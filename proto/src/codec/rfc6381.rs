//! Codec names of RFC 6381 and its registries, as `CODECS` of HLS and `@codecs` of DASH want them: from what a track's codec
//! data say, not from what its first frame may add.
//!
//! Specification: RFC 6381 3.3; ISO/IEC 14496-15 annex E (`avc1`, `hvc1`); AV1-ISOBMFF 5; VP9 in ISOBMFF 6; ETSI TS 102 366
//! annex F. `hvc1` and never `hev1`: parameter sets are in the sample entry, and Safari plays nothing else.

use super::{aac, av1, h264, hevc, vp9};
use crate::media::{Codec, Track};

/// `None` for a track that no playlist can name: unreadable codec data, or a codec without a name there.
pub fn rfc6381(track: &Track) -> Option<String> {
    let data = &track.codec_data[..];
    Some(match track.codec {
        Codec::H264 => h264::Config::parse(data).ok()?.codec_string(),
        Codec::Hevc => hevc::Config::parse(data).ok()?.codec_string(),
        Codec::Av1 => av1::Config::parse(data).ok()?.codec_string(),
        // A publisher that sends no record sends eight bits in profile 0 (enhanced RTMP asks for the record otherwise).
        Codec::Vp9 if data.is_empty() => VP9_USUAL.to_owned(),
        Codec::Vp9 => vp9::Config::parse(data).ok()?.codec_string(),
        Codec::Vp8 => "vp8".to_owned(),
        Codec::Aac => aac::Config::parse(data).ok()?.codec_string(),
        Codec::Mp3 => "mp4a.40.34".to_owned(),
        Codec::Opus => "opus".to_owned(),
        Codec::Flac => "fLaC".to_owned(),
        Codec::Ac3 => "ac-3".to_owned(),
        Codec::Eac3 => "ec-3".to_owned(),
        Codec::Alaw | Codec::Ulaw | Codec::Pcm | Codec::Json => return None,
    })
}

const VP9_USUAL: &str = "vp09.00.10.08";

#[cfg(test)]
mod tests {
    use super::super::cases::hex;
    use super::*;
    use crate::media::Format;

    fn track(codec: Codec, data: &str) -> Track {
        Track {
            id: 1,
            generation: 0,
            codec,
            timescale: 90_000,
            codec_data: hex(data),
            bitrate_hint: 0,
            format: Format::Meta,
        }
    }

    #[test]
    fn names_are_those_that_other_packagers_write() {
        for (codec, data, expected) in [
            // As the HLS muxer of ffmpeg says it of x264.
            (
                Codec::H264,
                "0142c01effe100046742c01e01000468ce3c80",
                Some("avc1.42C01E"),
            ),
            (Codec::Aac, "1190", Some("mp4a.40.2")),
            (Codec::Aac, "2b92", Some("mp4a.40.5")),
            (Codec::Av1, "81000c00", Some("av01.0.00M.08")),
            (Codec::Vp9, "", Some("vp09.00.10.08")),
            (Codec::Vp9, "010000000014820202020000", Some("vp09.00.20.08")),
            (Codec::Mp3, "", Some("mp4a.40.34")),
            (Codec::Opus, "", Some("opus")),
            (Codec::Flac, "", Some("fLaC")),
            (Codec::Ac3, "", Some("ac-3")),
            (Codec::Eac3, "", Some("ec-3")),
            (Codec::H264, "01", None),
            (Codec::Aac, "", None),
            (Codec::Pcm, "", None),
        ] {
            let found = rfc6381(&track(codec, data));
            assert_eq!(found.as_deref(), expected, "{codec:?} {data}");
        }
    }
}
