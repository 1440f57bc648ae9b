//! MPEG audio frame headers (ISO 11172-3, 2.4.1.3; ISO 13818-3; and the unofficial MPEG 2.5), all layers.

use super::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Mpeg1,
    Mpeg2,
    Mpeg25,
}

/// One frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub version: Version,
    /// 1, 2 or 3.
    pub layer: u8,
    /// Hz.
    pub sample_rate: u32,
    /// Bits per second.
    pub bitrate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Per channel: 384, 576 or 1,152.
    pub frame_samples: u32,
    /// With the header.
    pub frame_bytes: usize,
}

impl Header {
    /// `bytes` begin with a header; the frame need not be there whole. Free format (bit rate unstated) is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let Some(&[a, b, c, d]) = bytes.first_chunk() else {
            let bit = bytes.len() * 8;
            return Err(Error::Truncated { field: "header", bit });
        };
        if a != 0xff || b & 0xe0 != 0xe0 {
            return Err(illegal("syncword", u16::from_be_bytes([a, b]).into(), 0));
        }
        let (version, rate_shift) = match b >> 3 & 3 {
            0 => (Version::Mpeg25, 2),
            2 => (Version::Mpeg2, 1),
            3 => (Version::Mpeg1, 0),
            other => return Err(illegal("ID", other.into(), 11)),
        };
        let layer = match b >> 1 & 3 {
            0 => return Err(illegal("layer", 0, 13)),
            bits => 4 - bits,
        };
        let row = match (version, layer) {
            (Version::Mpeg1, layer) => usize::from(layer) - 1,
            (_, 1) => 3,
            _ => 4,
        };
        let bitrate = match c >> 4 {
            index @ 1..=14 => KILOBITS[row][usize::from(index) - 1] * 1000,
            index => return Err(illegal("bitrate_index", index.into(), 16)),
        };
        let sample_rate = match c >> 2 & 3 {
            index @ 0..=2 => [44_100, 48_000, 32_000][usize::from(index)] >> rate_shift,
            index => return Err(illegal("sampling_frequency", index.into(), 20)),
        };
        let padding = u32::from(c >> 1 & 1);
        let frame_samples = match (version, layer) {
            (_, 1) => 384,
            (Version::Mpeg2 | Version::Mpeg25, 3) => 576,
            _ => 1152,
        };
        // Layer I counts in slots of four bytes.
        let slot_bytes = if layer == 1 { 4 } else { 1 };
        let slots = frame_samples / 8 / slot_bytes * bitrate / sample_rate + padding;
        Ok(Header {
            version,
            layer,
            sample_rate,
            bitrate,
            channels: if d >> 6 == 3 { 1 } else { 2 },
            frame_samples,
            frame_bytes: (slots * slot_bytes) as usize,
        })
    }

    /// The form browsers know: object type 0x6B for MPEG-1, 0x69 for MPEG-2.
    pub fn codec_string(&self) -> &'static str {
        match self.version {
            Version::Mpeg1 => "mp4a.6b",
            _ => "mp4a.69",
        }
    }
}

fn illegal(field: &'static str, value: u64, bit: usize) -> Error {
    Error::Illegal { field, value, bit }
}

/// MPEG-1 layers I, II, III; MPEG-2 layer I; MPEG-2 layers II and III.
const KILOBITS: [[u32; 14]; 5] = [
    [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

#[cfg(test)]
mod tests {
    use super::super::cases::{MP2, MP3, MP3_MPEG2, hex};
    use super::*;

    #[test]
    fn real_headers_state_their_frames() {
        for (bytes, version, layer, sample_rate, bitrate, channels, frame_samples, frame_bytes) in [
            (MP3, Version::Mpeg1, 3, 44_100, 128_000, 2, 1152, 417),
            (MP3_MPEG2, Version::Mpeg2, 3, 22_050, 32_000, 1, 576, 104),
            (MP2, Version::Mpeg1, 2, 48_000, 384_000, 2, 1152, 1152),
            // MPEG 2.5 of 8,000 Hz, and layer I of 32 kb/s with a slot of padding.
            ("ffe31800", Version::Mpeg25, 3, 8000, 8000, 2, 576, 72),
            ("ffff1200", Version::Mpeg1, 1, 44_100, 32_000, 2, 384, 36),
        ] {
            let expected = Header {
                version,
                layer,
                sample_rate,
                bitrate,
                channels,
                frame_samples,
                frame_bytes,
            };
            assert_eq!(Header::parse(&hex(bytes)), Ok(expected), "{bytes}");
        }
    }

    #[test]
    fn reserved_values_and_free_format_are_refused() {
        for bytes in [
            "fffb", "7ffb9064", "ffeb9064", "fff99064", "fffbf064", "fffb0064", "fffb9c64",
        ] {
            assert!(Header::parse(&hex(bytes)).is_err(), "{bytes}");
        }
    }
}
