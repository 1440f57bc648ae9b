//! VP9: the uncompressed header (VP9 bitstream, 6.2 and 7.2) as far as a key frame's size, the vpcC record and the codec
//! string (VP codec in ISO-BMFF).

use super::Error;
use super::bits::BitReader;

/// Whether a decoder can start at `frame`.
pub fn is_key(frame: &[u8]) -> bool {
    KeyFrame::parse(frame).is_ok()
}

/// What a key frame says about the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFrame {
    /// 0 to 3.
    pub profile: u8,
    /// 8, 10 or 12.
    pub bit_depth: u8,
    pub color_space: u8,
    pub full_range: bool,
    pub subsampling_x: bool,
    pub subsampling_y: bool,
    pub width: u32,
    pub height: u32,
}

impl KeyFrame {
    /// Not a key frame is [`Error::Illegal`] at `frame_type`.
    pub fn parse(frame: &[u8]) -> Result<Self, Error> {
        let mut bits = BitReader::new(frame);
        let marker = bits.bits(2, "frame_marker")?;
        if marker != 2 {
            return Err(illegal("frame_marker", marker.into(), 0));
        }
        let low = bits.bits(1, "profile_low_bit")? as u8;
        let profile = low | (bits.bits(1, "profile_high_bit")? as u8) << 1;
        if profile == 3 && bits.bit("reserved_zero")? {
            return Err(illegal("reserved_zero", 1, 4));
        }
        let bit = bits.position();
        if bits.bit("show_existing_frame")? {
            return Err(illegal("show_existing_frame", 1, bit));
        }
        if bits.bit("frame_type")? {
            return Err(illegal("frame_type", 1, bit + 1));
        }
        bits.skip(2, "show_frame")?;
        let sync = bits.bits(24, "frame_sync_code")?;
        if sync != 0x49_83_42 {
            return Err(illegal("frame_sync_code", sync.into(), bit + 4));
        }
        let mut key = KeyFrame {
            profile,
            bit_depth: 8,
            color_space: 0,
            full_range: true,
            subsampling_x: false,
            subsampling_y: false,
            width: 0,
            height: 0,
        };
        key.read_color(&mut bits)?;
        key.width = bits.bits(16, "frame_width_minus_1")? + 1;
        key.height = bits.bits(16, "frame_height_minus_1")? + 1;
        Ok(key)
    }

    fn read_color(&mut self, bits: &mut BitReader<'_>) -> Result<(), Error> {
        if self.profile >= 2 {
            self.bit_depth = if bits.bit("ten_or_twelve_bit")? { 12 } else { 10 };
        }
        self.color_space = bits.bits(3, "color_space")? as u8;
        let odd = self.profile & 1 == 1;
        if self.color_space == COLOR_SPACE_RGB {
            if !odd {
                return Err(illegal("color_space", self.color_space.into(), bits.position() - 3));
            }
            return bits.skip(1, "reserved_zero");
        }
        self.full_range = bits.bit("color_range")?;
        (self.subsampling_x, self.subsampling_y) = (true, true);
        if odd {
            self.subsampling_x = bits.bit("subsampling_x")?;
            self.subsampling_y = bits.bit("subsampling_y")?;
            bits.skip(1, "reserved_zero")?;
        }
        Ok(())
    }

    /// The vpcC record for this key frame; `frame_rate` (0: take 30) chooses the level.
    pub fn config(&self, frame_rate: f64) -> Config {
        let (primaries, transfer, matrix) = match self.color_space {
            1 => (6, 6, 6),
            2 => (1, 1, 1),
            3 => (6, 6, 6),
            4 => (7, 7, 7),
            5 => (9, 14, 9),
            COLOR_SPACE_RGB => (1, 13, 0),
            _ => (2, 2, 2),
        };
        Config {
            profile: self.profile,
            level: level(self.width, self.height, frame_rate),
            bit_depth: self.bit_depth,
            chroma: match (self.subsampling_x, self.subsampling_y) {
                (true, true) => 1,
                (true, false) => 2,
                _ => 3,
            },
            full_range: self.full_range,
            primaries,
            transfer,
            matrix,
        }
    }
}

/// A vpcC record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub profile: u8,
    /// Ten times the level; 0 unknown.
    pub level: u8,
    pub bit_depth: u8,
    /// `chromaSubsampling`: 0 and 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma: u8,
    pub full_range: bool,
    /// Of ISO 23001-8, as the next two.
    pub primaries: u8,
    pub transfer: u8,
    pub matrix: u8,
}

impl Config {
    /// With or without the four bytes of version and flags in front: publishers of enhanced RTMP send both.
    pub fn parse(record: &[u8]) -> Result<Self, Error> {
        let (at, fields) = match record {
            [1, 0, 0, 0, fields @ ..] => (4, fields),
            fields => (0, fields),
        };
        let Some(&[profile, level, packed, primaries, transfer, matrix, _, _]) = fields.first_chunk() else {
            let bit = record.len() * 8;
            return Err(Error::Truncated { field: "vpcC", bit });
        };
        let bit_depth = packed >> 4;
        if profile > 3 {
            return Err(illegal("profile", profile.into(), at * 8));
        }
        if !matches!(bit_depth, 8 | 10 | 12) {
            return Err(illegal("bitDepth", bit_depth.into(), at * 8 + 16));
        }
        Ok(Config {
            profile,
            level,
            bit_depth,
            chroma: packed >> 1 & 7,
            full_range: packed & 1 == 1,
            primaries,
            transfer,
            matrix,
        })
    }

    /// Appends version and flags and the record, as the box has them.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[1, 0, 0, 0, self.profile, self.level]);
        out.push(self.bit_depth << 4 | self.chroma << 1 | u8::from(self.full_range));
        out.extend_from_slice(&[self.primaries, self.transfer, self.matrix, 0, 0]);
    }

    /// `vp09.PP.LL.DD`.
    pub fn codec_string(&self) -> String {
        format!("vp09.{:02}.{:02}.{:02}", self.profile, self.level, self.bit_depth)
    }
}

/// The lowest level with the picture size and sample rate, times ten.
pub(super) fn level(width: u32, height: u32, frame_rate: f64) -> u8 {
    let picture = u64::from(width) * u64::from(height);
    let frame_rate = if frame_rate > 0.0 { frame_rate } else { 30.0 };
    let rate = picture as f64 * frame_rate;
    let enough = LEVELS.iter().find(|level| picture <= level.1 && rate <= level.2 as f64);
    enough.map_or(62, |level| level.0)
}

fn illegal(field: &'static str, value: u64, bit: usize) -> Error {
    Error::Illegal { field, value, bit }
}

const COLOR_SPACE_RGB: u8 = 7;

/// Level times ten, luma picture size, luma samples per second (VP9 levels).
const LEVELS: [(u8, u64, u64); 14] = [
    (10, 36_864, 829_440),
    (11, 73_728, 2_764_800),
    (20, 122_880, 4_608_000),
    (21, 245_760, 9_216_000),
    (30, 552_960, 20_736_000),
    (31, 983_040, 36_864_000),
    (40, 2_228_224, 83_558_400),
    (41, 2_228_224, 160_432_128),
    (50, 8_912_896, 311_951_360),
    (51, 8_912_896, 588_251_136),
    (52, 8_912_896, 1_176_502_272),
    (60, 35_651_584, 1_176_502_272),
    (61, 35_651_584, 2_353_004_544),
    (62, 35_651_584, 4_706_009_088),
];

#[cfg(test)]
mod tests {
    use super::super::cases::{VP9_INTER, VP9_KEY, VP9_KEY_422_10, VPCC, hex};
    use super::*;

    #[test]
    fn key_frames_state_size_and_depth() {
        for (frame, profile, bit_depth, subsampling_y) in [(VP9_KEY, 0, 8, true), (VP9_KEY_422_10, 3, 10, false)] {
            let key = KeyFrame::parse(&hex(frame)).unwrap();
            assert_eq!((key.width, key.height), (1918, 1078));
            assert_eq!((key.profile, key.bit_depth), (profile, bit_depth));
            assert_eq!((key.subsampling_x, key.subsampling_y), (true, subsampling_y));
        }
        assert_eq!(KeyFrame::parse(&hex(VP9_INTER)), Err(illegal("frame_type", 1, 5)));
        assert!(!is_key(&hex(VP9_INTER)));
    }

    #[test]
    fn the_record_is_read_with_and_without_version_and_emitted() {
        let record = hex(VPCC);
        let config = Config::parse(&record).unwrap();
        assert_eq!(Config::parse(&record[4..]), Ok(config));
        assert_eq!(
            config,
            KeyFrame::parse(&hex(VP9_KEY)).unwrap().config(30_000.0 / 1001.0)
        );
        assert_eq!(config.codec_string(), "vp09.00.40.08");
        let mut out = Vec::new();
        config.emit(&mut out);
        assert_eq!(out, record);
        assert!(Config::parse(&record[..11]).is_err());
    }
}
