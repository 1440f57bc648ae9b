//! AV1: the av1C record (AV1 in ISO-BMFF, 2.3), OBUs (AV1, 5.3 and 4.10.5), sequence headers (5.5) and the codec string
//! (AV1 in ISO-BMFF, 5).
//!
//! Frame headers are read as far as their frame type. A frame of a track is OBUs with size fields and without temporal
//! delimiter.

use super::Error;
use super::bits::BitReader;
use super::limits::LEB128_BYTES_MAX;

pub const OBU_SEQUENCE_HEADER: u8 = 1;
pub const OBU_TEMPORAL_DELIMITER: u8 = 2;
pub const OBU_FRAME_HEADER: u8 = 3;
pub const OBU_TILE_GROUP: u8 = 4;
pub const OBU_METADATA: u8 = 5;
pub const OBU_FRAME: u8 = 6;
pub const OBU_REDUNDANT_FRAME_HEADER: u8 = 7;
pub const OBU_TILE_LIST: u8 = 8;
pub const OBU_PADDING: u8 = 15;

/// One OBU, lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obu<'a> {
    /// `obu_type`.
    pub kind: u8,
    /// The extension header's byte (temporal and spatial id).
    pub extension: Option<u8>,
    pub payload: &'a [u8],
}

impl Obu<'_> {
    /// Appends the OBU with a size field.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.push(self.kind << 3 | u8::from(self.extension.is_some()) << 2 | 2);
        out.extend(self.extension);
        let mut rest = self.payload.len();
        while rest > 0x7f {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
        out.extend_from_slice(self.payload);
    }
}

/// The OBUs of a temporal unit. One without a size field reaches to the end. After an error the iteration is over.
pub fn obus(bytes: &[u8]) -> Obus<'_> {
    Obus { bytes, at: 0 }
}

#[derive(Clone, Debug)]
pub struct Obus<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Obus<'a> {
    type Item = Result<Obu<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.bytes.len() {
            return None;
        }
        let begin = self.at;
        // Kept when the OBU is damaged.
        self.at = self.bytes.len();
        Some(self.read(begin))
    }
}

impl<'a> Obus<'a> {
    fn read(&mut self, begin: usize) -> Result<Obu<'a>, Error> {
        let head = self.bytes[begin];
        if head & 0x80 != 0 {
            return Err(illegal("obu_forbidden_bit", 1, begin * 8));
        }
        let mut at = begin + 1;
        let mut extension = None;
        if head & 4 != 0 {
            let field = "obu_extension_header";
            let byte = self.bytes.get(at).ok_or(Error::Truncated { field, bit: at * 8 })?;
            extension = Some(*byte);
            at += 1;
        }
        let mut end = self.bytes.len();
        if head & 2 != 0 {
            let (bytes, size) = read_leb128(&self.bytes[at..], at)?;
            let truncated = Error::Truncated {
                field: "obu_size",
                bit: at * 8,
            };
            at += size;
            end = at
                .checked_add(bytes)
                .filter(|&end| end <= self.bytes.len())
                .ok_or(truncated)?;
        }
        self.at = end;
        Ok(Obu {
            kind: head >> 3 & 15,
            extension,
            payload: &self.bytes[at..end],
        })
    }
}

/// The number and how many bytes it takes; `at` is only for the error.
pub fn read_leb128(bytes: &[u8], at: usize) -> Result<(usize, usize), Error> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(LEB128_BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let fits = u32::try_from(value).map_err(|_| illegal("obu_size", value, at * 8))?;
            return Ok((fits as usize, index + 1));
        }
    }
    Err(Error::Truncated {
        field: "obu_size",
        bit: at * 8,
    })
}

/// Appends the OBUs of a temporal unit as a track has them: with size fields, without temporal delimiters and padding.
/// On damage nothing is appended.
pub fn strip_temporal_delimiters(unit: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let begin = out.len();
    for obu in obus(unit) {
        match obu {
            Ok(obu) if matches!(obu.kind, OBU_TEMPORAL_DELIMITER | OBU_PADDING) => {}
            Ok(obu) => obu.emit(out),
            Err(error) => {
                out.truncate(begin);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Whether a decoder can start at this temporal unit: a sequence header and a shown key frame.
pub fn is_key(unit: &[u8]) -> bool {
    let mut reduced = None;
    for obu in obus(unit) {
        match obu {
            Ok(obu) if obu.kind == OBU_SEQUENCE_HEADER => {
                // seq_profile (3 bits), still_picture, reduced_still_picture_header
                reduced = obu.payload.first().map(|byte| byte & 0x08 != 0);
            }
            Ok(obu) if matches!(obu.kind, OBU_FRAME | OBU_FRAME_HEADER) => {
                // show_existing_frame, frame_type (2 bits), show_frame
                let shown_key = obu.payload.first().is_some_and(|byte| byte & 0xf0 == 0x10);
                return reduced.is_some_and(|reduced| reduced || shown_key);
            }
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

/// An av1C record, lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config<'a> {
    /// `seq_profile`.
    pub profile: u8,
    /// `seq_level_idx` of the first operating point.
    pub level: u8,
    pub high_tier: bool,
    /// 8, 10 or 12.
    pub bit_depth: u8,
    pub monochrome: bool,
    pub subsampling_x: bool,
    pub subsampling_y: bool,
    pub chroma_sample_position: u8,
    /// A sequence header, maybe metadata; maybe nothing.
    pub obus: &'a [u8],
}

impl<'a> Config<'a> {
    pub fn parse(record: &'a [u8]) -> Result<Self, Error> {
        let Some((&[a, b, c, _], obus)) = record.split_first_chunk() else {
            let bit = record.len() * 8;
            return Err(Error::Truncated { field: "av1C", bit });
        };
        if a != 0x81 {
            return Err(illegal("marker and version", a.into(), 0));
        }
        let flag = |place: u8| c >> place & 1 == 1;
        Ok(Config {
            profile: b >> 5,
            level: b & 0x1f,
            high_tier: flag(7),
            bit_depth: match (flag(6), flag(5)) {
                (false, _) => 8,
                (true, false) => 10,
                (true, true) => 12,
            },
            monochrome: flag(4),
            subsampling_x: flag(3),
            subsampling_y: flag(2),
            chroma_sample_position: c & 3,
            obus,
        })
    }

    /// The record of a sequence header OBU's payload; `obus` is what it keeps, with size fields.
    pub fn of_sequence(sequence: &Sequence, obus: &'a [u8]) -> Self {
        Config {
            profile: sequence.profile,
            level: sequence.level,
            high_tier: sequence.high_tier,
            bit_depth: sequence.bit_depth,
            monochrome: sequence.monochrome,
            subsampling_x: sequence.subsampling_x,
            subsampling_y: sequence.subsampling_y,
            chroma_sample_position: sequence.chroma_sample_position,
            obus,
        }
    }

    pub fn emit(&self, out: &mut Vec<u8>) {
        out.push(0x81);
        out.push(self.profile << 5 | self.level);
        out.push(
            u8::from(self.high_tier) << 7
                | u8::from(self.bit_depth > 8) << 6
                | u8::from(self.bit_depth > 10) << 5
                | u8::from(self.monochrome) << 4
                | u8::from(self.subsampling_x) << 3
                | u8::from(self.subsampling_y) << 2
                | self.chroma_sample_position,
        );
        out.push(0);
        out.extend_from_slice(self.obus);
    }

    /// The record's sequence header, if it has one that can be read.
    pub fn sequence(&self) -> Option<Sequence> {
        find_sequence(self.obus)
    }

    /// `av01.P.LLT.DD`.
    pub fn codec_string(&self) -> String {
        let tier = if self.high_tier { 'H' } else { 'M' };
        format!("av01.{}.{:02}{tier}.{:02}", self.profile, self.level, self.bit_depth)
    }
}

/// The first sequence header among `bytes`, OBUs.
pub fn find_sequence(bytes: &[u8]) -> Option<Sequence> {
    obus(bytes)
        .map_while(Result::ok)
        .find(|obu| obu.kind == OBU_SEQUENCE_HEADER)
        .and_then(|obu| Sequence::parse(obu.payload).ok())
}

/// What a sequence header says about the pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sequence {
    pub profile: u8,
    /// `seq_level_idx` of the first operating point.
    pub level: u8,
    pub high_tier: bool,
    /// Of the largest frame, in samples.
    pub width: u32,
    pub height: u32,
    /// 8, 10 or 12.
    pub bit_depth: u8,
    pub monochrome: bool,
    pub subsampling_x: bool,
    pub subsampling_y: bool,
    pub chroma_sample_position: u8,
    /// Frames per second when timing says that all pictures last equally long, otherwise 0.
    pub frame_rate: f64,
}

impl Sequence {
    /// `payload` of the OBU, without its header and size.
    pub fn parse(payload: &[u8]) -> Result<Self, Error> {
        let mut bits = BitReader::new(payload);
        let profile = bits.bits(3, "seq_profile")? as u8;
        if profile > 2 {
            return Err(illegal("seq_profile", profile.into(), 0));
        }
        bits.bit("still_picture")?;
        let reduced = bits.bit("reduced_still_picture_header")?;
        let mut timing = Timing {
            level: 0,
            high_tier: false,
            frame_rate: 0.0,
        };
        if reduced {
            timing.level = bits.bits(5, "seq_level_idx")? as u8;
        } else {
            timing.read(&mut bits)?;
        }
        let width_bits = bits.bits(4, "frame_width_bits_minus_1")? + 1;
        let height_bits = bits.bits(4, "frame_height_bits_minus_1")? + 1;
        let width = bits.bits(width_bits, "max_frame_width_minus_1")? + 1;
        let height = bits.bits(height_bits, "max_frame_height_minus_1")? + 1;
        skip_tools(&mut bits, reduced)?;
        let mut sequence = Sequence {
            profile,
            level: timing.level,
            high_tier: timing.high_tier,
            width,
            height,
            bit_depth: 8,
            monochrome: false,
            subsampling_x: true,
            subsampling_y: true,
            chroma_sample_position: 0,
            frame_rate: timing.frame_rate,
        };
        sequence.read_color(&mut bits)?;
        Ok(sequence)
    }

    /// 5.5.2.
    fn read_color(&mut self, bits: &mut BitReader<'_>) -> Result<(), Error> {
        let high = bits.bit("high_bitdepth")?;
        let twelve = self.profile == 2 && high && bits.bit("twelve_bit")?;
        self.bit_depth = match (high, twelve) {
            (_, true) => 12,
            (true, false) => 10,
            (false, false) => 8,
        };
        self.monochrome = self.profile != 1 && bits.bit("mono_chrome")?;
        let mut description = [2; 3];
        if bits.bit("color_description_present_flag")? {
            for field in &mut description {
                *field = bits.byte("color_primaries")?;
            }
        }
        if self.monochrome {
            bits.bit("color_range")?;
            return Ok(());
        }
        if description == SRGB {
            (self.subsampling_x, self.subsampling_y) = (false, false);
            return Ok(());
        }
        bits.bit("color_range")?;
        (self.subsampling_x, self.subsampling_y) = match (self.profile, self.bit_depth) {
            (0, _) => (true, true),
            (1, _) => (false, false),
            (_, 12) => {
                let x = bits.bit("subsampling_x")?;
                (x, x && bits.bit("subsampling_y")?)
            }
            _ => (true, false),
        };
        if self.subsampling_x && self.subsampling_y {
            self.chroma_sample_position = bits.bits(2, "chroma_sample_position")? as u8;
        }
        Ok(())
    }
}

/// The first part of a sequence header that is not reduced: timing, decoder model, operating points.
struct Timing {
    level: u8,
    high_tier: bool,
    frame_rate: f64,
}

impl Timing {
    fn read(&mut self, bits: &mut BitReader<'_>) -> Result<(), Error> {
        let mut delay_bits = None;
        if bits.bit("timing_info_present_flag")? {
            let units = bits.bits(32, "num_units_in_display_tick")?;
            let scale = bits.bits(32, "time_scale")?;
            if bits.bit("equal_picture_interval")? {
                let ticks = f64::from(bits.ue("num_ticks_per_picture_minus_1")?) + 1.0;
                if units > 0 {
                    self.frame_rate = f64::from(scale) / f64::from(units) / ticks;
                }
            }
            if bits.bit("decoder_model_info_present_flag")? {
                delay_bits = Some(bits.bits(5, "buffer_delay_length_minus_1")? as usize + 1);
                bits.skip(32 + 5 + 5, "num_units_in_decoding_tick")?;
            }
        }
        let initial_delay = bits.bit("initial_display_delay_present_flag")?;
        for point in 0..=bits.bits(5, "operating_points_cnt_minus_1")? {
            bits.skip(12, "operating_point_idc")?;
            let level = bits.bits(5, "seq_level_idx")? as u8;
            let high_tier = level > 7 && bits.bit("seq_tier")?;
            if point == 0 {
                (self.level, self.high_tier) = (level, high_tier);
            }
            if let Some(delay_bits) = delay_bits
                && bits.bit("decoder_model_present_for_this_op")?
            {
                bits.skip(2 * delay_bits + 1, "decoder_buffer_delay")?;
            }
            if initial_delay && bits.bit("initial_display_delay_present_for_this_op")? {
                bits.skip(4, "initial_display_delay_minus_1")?;
            }
        }
        Ok(())
    }
}

/// Between the frame size and the colour configuration.
fn skip_tools(bits: &mut BitReader<'_>, reduced: bool) -> Result<(), Error> {
    if !reduced && bits.bit("frame_id_numbers_present_flag")? {
        bits.skip(4 + 3, "delta_frame_id_length_minus_2")?;
    }
    bits.skip(3, "use_128x128_superblock")?;
    if !reduced {
        bits.skip(4, "enable_interintra_compound")?;
        if bits.bit("enable_order_hint")? {
            bits.skip(2, "enable_jnt_comp")?;
            skip_screen_content(bits)?;
            bits.skip(3, "order_hint_bits_minus_1")?;
        } else {
            skip_screen_content(bits)?;
        }
    }
    bits.skip(3, "enable_superres")
}

fn skip_screen_content(bits: &mut BitReader<'_>) -> Result<(), Error> {
    let chosen = bits.bit("seq_choose_screen_content_tools")?;
    if (chosen || bits.bit("seq_force_screen_content_tools")?) && !bits.bit("seq_choose_integer_mv")? {
        bits.bit("seq_force_integer_mv")?;
    }
    Ok(())
}

fn illegal(field: &'static str, value: u64, bit: usize) -> Error {
    Error::Illegal { field, value, bit }
}

/// BT.709 primaries, sRGB transfer, identity matrix.
const SRGB: [u8; 3] = [1, 13, 0];

#[cfg(test)]
mod tests {
    use super::super::cases::{AV1_UNIT, AV1C, AV1C_444_10, hex};
    use super::*;

    #[test]
    fn the_record_is_read_and_emitted_byte_for_byte() {
        for (record, codec_string, size, bit_depth) in [
            (AV1C, "av01.0.08M.08", (1918, 1078), 8),
            (AV1C_444_10, "av01.1.09M.10", (1916, 1076), 10),
        ] {
            let record = hex(record);
            let config = Config::parse(&record).unwrap();
            assert_eq!(config.codec_string(), codec_string);
            let sequence = config.sequence().unwrap();
            assert_eq!((sequence.width, sequence.height), size);
            assert_eq!(
                (sequence.bit_depth, sequence.subsampling_x),
                (bit_depth, bit_depth == 8)
            );
            let mut out = Vec::new();
            Config::of_sequence(&sequence, config.obus).emit(&mut out);
            assert_eq!(out, record);
        }
        assert!(Config::parse(&[0x81, 0, 0]).is_err());
        assert!(Config::parse(&[0x82, 0, 0, 0]).is_err());
    }

    #[test]
    fn temporal_delimiters_go_and_size_fields_come() {
        let unit = hex(AV1_UNIT);
        assert!(is_key(&unit));
        assert_eq!(find_sequence(&unit).unwrap().bit_depth, 10);
        let mut out = Vec::new();
        strip_temporal_delimiters(&unit, &mut out).unwrap();
        assert_eq!(out, unit[2..]);
        // The last OBU without size field, and one with an extension.
        let mut bare = Vec::new();
        strip_temporal_delimiters(&[0x36, 0x08, 1, 0xaa, 0x30, 1, 2], &mut bare).unwrap();
        assert_eq!(bare, [0x36, 0x08, 1, 0xaa, 0x32, 2, 1, 2]);
    }

    #[test]
    fn damage_ends_the_iteration_and_appends_nothing() {
        for unit in [
            &[0x0a_u8, 5, 0][..],
            &[0x80],
            &[0x0e],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0],
        ] {
            let mut out = vec![7];
            assert!(strip_temporal_delimiters(unit, &mut out).is_err(), "{unit:?}");
            assert_eq!(out, [7]);
            assert_eq!(obus(unit).count(), 1);
            assert!(!is_key(unit));
        }
    }

    #[test]
    fn long_obus_are_emitted_as_they_are_read() {
        for bytes in [0, 1, 127, 128, 300, 16_383, 16_384] {
            let payload = vec![9; bytes];
            let obu = Obu {
                kind: OBU_FRAME,
                extension: None,
                payload: &payload,
            };
            let mut out = Vec::new();
            obu.emit(&mut out);
            assert_eq!(obus(&out).collect::<Vec<_>>(), [Ok(obu)]);
        }
    }
}
