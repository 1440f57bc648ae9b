//! HEVC: the hvcC record (ISO 14496-15, 8.3.3.1), NAL unit types (H.265, table 7-1), sequence parameter sets (7.3.2.2,
//! 7.3.3, 7.3.7 and E.2.1) and the codec string (ISO 14496-15, annex E).
//!
//! No slice is read: whether a decoder can start at a frame is told by its NAL unit types.

use std::fmt::Write;

use super::bits::BitReader;
use super::h264::{self, Sets, checked_size, push_sets, read_sample_aspect, skip_video_signal};
use super::limits::{
    HEVC_REFERENCE_PICTURES_MAX, HEVC_SHORT_TERM_SETS_MAX, PARAMETER_SET_BYTES_MAX, PARAMETER_SETS_MAX,
};
use super::{Error, nal};

pub const NAL_IDR_W_RADL: u8 = 19;
pub const NAL_IDR_N_LP: u8 = 20;
pub const NAL_CRA: u8 = 21;
pub const NAL_VPS: u8 = 32;
pub const NAL_SPS: u8 = 33;
pub const NAL_PPS: u8 = 34;
pub const NAL_AUD: u8 = 35;
pub const NAL_END_OF_SEQUENCE: u8 = 36;
pub const NAL_END_OF_BITSTREAM: u8 = 37;
pub const NAL_FILLER: u8 = 38;
pub const NAL_PREFIX_SEI: u8 = 39;
pub const NAL_SUFFIX_SEI: u8 = 40;

/// `nal_unit_type`; 63 (unspecified) for an empty unit.
pub fn nal_type(nal: &[u8]) -> u8 {
    nal.first().map_or(63, |head| head >> 1 & 0x3f)
}

/// Whether a frame (4-byte lengths) holds a slice of an intra random access picture (BLA, IDR or CRA).
pub fn is_irap(frame: &[u8]) -> bool {
    nal::units(frame).any(|unit| matches!(nal_type(unit), 16..=21))
}

/// `profile_tier_level` without its sub-layers: 12 bytes, the same in hvcC and SPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileTierLevel {
    pub profile_space: u8,
    /// `general_tier_flag`: high tier.
    pub high_tier: bool,
    pub profile: u8,
    pub compatibility: u32,
    /// 48 bits, first flag first.
    pub constraints: [u8; 6],
    /// `general_level_idc`, thirty times the level.
    pub level: u8,
}

impl ProfileTierLevel {
    fn read(bits: &mut BitReader<'_>) -> Result<Self, Error> {
        let profile_space = bits.bits(2, "general_profile_space")? as u8;
        let high_tier = bits.bit("general_tier_flag")?;
        let profile = bits.bits(5, "general_profile_idc")? as u8;
        let compatibility = bits.bits(32, "general_profile_compatibility_flags")?;
        let mut constraints = [0; 6];
        for byte in &mut constraints {
            *byte = bits.byte("general_constraint_indicator_flags")?;
        }
        Ok(ProfileTierLevel {
            profile_space,
            high_tier,
            profile,
            compatibility,
            constraints,
            level: bits.byte("general_level_idc")?,
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.push(self.profile_space << 6 | u8::from(self.high_tier) << 5 | self.profile);
        out.extend_from_slice(&self.compatibility.to_be_bytes());
        out.extend_from_slice(&self.constraints);
        out.push(self.level);
    }

    /// `hvc1.` space and profile, compatibility in reverse bit order, tier and level, constraint bytes without trailing
    /// zeros.
    pub fn codec_string(&self) -> String {
        let mut string = String::from("hvc1.");
        if (1..=3).contains(&self.profile_space) {
            string.push(char::from(b'A' + self.profile_space - 1));
        }
        let tier = if self.high_tier { 'H' } else { 'L' };
        let compatibility = self.compatibility.reverse_bits();
        write!(string, "{}.{compatibility:X}.{tier}{}", self.profile, self.level).expect("a String takes any text");
        let kept = self
            .constraints
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        for byte in &self.constraints[..kept] {
            write!(string, ".{byte:X}").expect("a String takes any text");
        }
        string
    }
}

/// A checked hvcC record, lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config<'a> {
    /// Bytes of a NAL unit's length in frames, 1 to 4; see [`h264::Config::length_bytes`].
    pub length_bytes: u8,
    pub profile_tier_level: ProfileTierLevel,
    /// `chroma_format_idc`.
    pub chroma_format: u8,
    pub luma_bits: u8,
    pub chroma_bits: u8,
    arrays: &'a [u8],
}

impl<'a> Config<'a> {
    pub fn parse(record: &'a [u8]) -> Result<Self, Error> {
        let mut bits = BitReader::new(record);
        let version = bits.byte("configurationVersion")?;
        // Drafts of the format, still written by some encoders, have 0 here.
        if version > 1 {
            return Err(illegal("configurationVersion", version.into(), 0));
        }
        let profile_tier_level = ProfileTierLevel::read(&mut bits)?;
        bits.skip(16, "min_spatial_segmentation_idc")?;
        bits.skip(8, "parallelismType")?;
        bits.skip(6, "reserved")?;
        let chroma_format = bits.bits(2, "chromaFormat")? as u8;
        bits.skip(5, "reserved")?;
        let luma_bits = bits.bits(3, "bitDepthLumaMinus8")? as u8 + 8;
        bits.skip(5, "reserved")?;
        let chroma_bits = bits.bits(3, "bitDepthChromaMinus8")? as u8 + 8;
        bits.skip(16, "avgFrameRate")?;
        bits.skip(6, "numTemporalLayers")?;
        let length_bytes = bits.bits(2, "lengthSizeMinusOne")? as u8 + 1;
        let count = bits.byte("numOfArrays")?;
        let end = check_arrays(record, HEAD_BYTES, count)?;
        Ok(Config {
            length_bytes,
            profile_tier_level,
            chroma_format,
            luma_bits,
            chroma_bits,
            arrays: &record[HEAD_BYTES..end],
        })
    }

    pub fn vps(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.sets(NAL_VPS)
    }

    pub fn sps(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.sets(NAL_SPS)
    }

    pub fn pps(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.sets(NAL_PPS)
    }

    /// Units of the arrays for `nal_type`, none empty.
    pub fn sets(&self, nal_type: u8) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.arrays()
            .filter(move |array| array.0 == nal_type)
            .flat_map(|array| array.1)
    }

    /// NAL unit type and units of each array in the order of the record.
    pub fn arrays(&self) -> Arrays<'a> {
        Arrays { rest: self.arrays }
    }

    /// As [`ProfileTierLevel::codec_string`].
    pub fn codec_string(&self) -> String {
        self.profile_tier_level.codec_string()
    }
}

/// See [`Config::arrays`].
#[derive(Clone, Debug)]
pub struct Arrays<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Arrays<'a> {
    type Item = (u8, Sets<'a>);

    fn next(&mut self) -> Option<(u8, Sets<'a>)> {
        let &[head, high, low] = self.rest.first_chunk()?;
        let end = array_end(self.rest, 3, u16::from_be_bytes([high, low])).ok()?;
        let sets = Sets::new(&self.rest[3..end]);
        self.rest = &self.rest[end..];
        Some((head & 0x3f, sets))
    }
}

/// Where `count` arrays from `at` on end.
fn check_arrays(record: &[u8], at: usize, count: u8) -> Result<usize, Error> {
    let mut end = at;
    for _ in 0..count {
        let Some(&[_, high, low]) = record.get(end..).and_then(|rest| rest.first_chunk()) else {
            let field = "numNalus";
            return Err(Error::Truncated { field, bit: end * 8 });
        };
        end = array_end(record, end + 3, u16::from_be_bytes([high, low]))?;
    }
    Ok(end)
}

fn array_end(record: &[u8], at: usize, count: u16) -> Result<usize, Error> {
    let mut end = at;
    for _ in 0..count {
        let field = "nalUnitLength";
        let truncated = Error::Truncated { field, bit: end * 8 };
        let length = record.get(end..end + 2).ok_or(truncated)?;
        let bytes = usize::from(u16::from_be_bytes([length[0], length[1]]));
        record.get(end + 2..end + 2 + bytes).ok_or(truncated)?;
        end += 2 + bytes;
    }
    Ok(end)
}

/// Whether `record` is an hvcC rather than an avcC record; both begin with version 1, and some publishers say H.264 and
/// send HEVC. An hvcC has its sets in arrays of the units' own types.
pub fn looks_like_hvcc(record: &[u8]) -> bool {
    let is_avcc = h264::Config::parse(record).is_ok_and(|config| {
        let mut sps = config.sps().peekable();
        sps.peek().is_some() && sps.all(|unit| h264::nal_type(unit) == h264::NAL_SPS)
    });
    !is_avcc
        && Config::parse(record).is_ok_and(|config| {
            let mut arrays = config.arrays();
            config.sps().next().is_some() && arrays.all(|(kind, mut units)| units.all(|unit| nal_type(unit) == kind))
        })
}

/// Appends the hvcC record of these sets, for frames with 4-byte lengths. The first SPS gives what the head states.
pub fn build_config(vps: &[&[u8]], sps: &[&[u8]], pps: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Error> {
    let head = Sps::parse(sps.first().copied().unwrap_or_default())?;
    for sets in [vps, sps, pps] {
        if sets.len() > PARAMETER_SETS_MAX {
            return Err(illegal("numNalus", sets.len() as u64, 0));
        }
        if let Some(long) = sets.iter().find(|set| set.len() > PARAMETER_SET_BYTES_MAX) {
            return Err(Error::TooLong {
                field: "nalUnitLength",
                bytes: long.len(),
                bytes_max: PARAMETER_SET_BYTES_MAX,
            });
        }
    }
    out.push(1);
    head.profile_tier_level.emit(out);
    // min_spatial_segmentation_idc and parallelismType 0: not stated
    out.extend_from_slice(&[0xf0, 0, 0xfc, 0xfc | head.chroma_format]);
    out.extend_from_slice(&[0xf8 | (head.luma_bits - 8), 0xf8 | (head.chroma_bits - 8)]);
    // avgFrameRate 0: not stated; constantFrameRate 0, temporal layers, nesting, 4-byte lengths
    let layers = head.temporal_layers << 3 | u8::from(head.temporal_nesting) << 2 | 3;
    out.extend_from_slice(&[0, 0, layers, 3]);
    for (kind, sets) in [(NAL_VPS, vps), (NAL_SPS, sps), (NAL_PPS, pps)] {
        out.push(0x80 | kind);
        out.extend_from_slice(&(sets.len() as u16).to_be_bytes());
        push_sets(sets, out);
    }
    Ok(())
}

/// What a sequence parameter set says about the pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sps {
    /// `sps_seq_parameter_set_id`, 0 to 15.
    pub id: u32,
    pub profile_tier_level: ProfileTierLevel,
    /// 1 to 7.
    pub temporal_layers: u8,
    pub temporal_nesting: bool,
    /// `chroma_format_idc`.
    pub chroma_format: u8,
    pub luma_bits: u8,
    pub chroma_bits: u8,
    /// Inside the conformance window, in samples.
    pub width: u32,
    pub height: u32,
    /// Width and height of a sample; `(1, 1)` when unstated.
    pub sample_aspect: (u32, u32),
    /// Frames per second from the VUI timing, 0 when unstated.
    pub frame_rate: f64,
    /// `sps_max_num_reorder_pics` of all layers together; none when it cannot be read. 0 to 16.
    pub reorder_frames: Option<u8>,
}

impl Sps {
    /// `nal` is the unit with its two header bytes.
    pub fn parse(nal: &[u8]) -> Result<Self, Error> {
        let mut bits = BitReader::rbsp(nal);
        let head = bits.bits(16, "nal_unit_header")?;
        let kind = head >> 9 & 0x3f;
        if kind != u32::from(NAL_SPS) {
            return Err(illegal("nal_unit_type", kind.into(), 1));
        }
        bits.skip(4, "sps_video_parameter_set_id")?;
        let sub_layers = bits.bits(3, "sps_max_sub_layers_minus1")?;
        if sub_layers > 6 {
            return Err(illegal("sps_max_sub_layers_minus1", sub_layers.into(), 20));
        }
        let temporal_nesting = bits.bit("sps_temporal_id_nesting_flag")?;
        let profile_tier_level = ProfileTierLevel::read(&mut bits)?;
        skip_sub_layers(&mut bits, sub_layers)?;
        let id = bits.ue_max(15, "sps_seq_parameter_set_id")?;
        let chroma_format = bits.ue_max(3, "chroma_format_idc")? as u8;
        let separate_planes = chroma_format == 3 && bits.bit("separate_colour_plane_flag")?;
        let (width, height) = read_size(&mut bits, if separate_planes { 0 } else { chroma_format })?;
        let mut sps = Sps {
            id,
            profile_tier_level,
            temporal_layers: sub_layers as u8 + 1,
            temporal_nesting,
            chroma_format,
            luma_bits: bits.ue_max(7, "bit_depth_luma_minus8")? as u8 + 8,
            chroma_bits: bits.ue_max(7, "bit_depth_chroma_minus8")? as u8 + 8,
            width,
            height,
            sample_aspect: (1, 1),
            frame_rate: 0.0,
            reorder_frames: None,
        };
        // What follows only matters for the order and rate of frames; a damaged tail does not make the pictures unknown.
        let _ = sps.read_tail(&mut bits, sub_layers);
        Ok(sps)
    }

    fn read_tail(&mut self, bits: &mut BitReader<'_>, sub_layers: u32) -> Result<(), Error> {
        let order_count_bits = bits.ue_max(12, "log2_max_pic_order_cnt_lsb_minus4")? + 4;
        let each = bits.bit("sps_sub_layer_ordering_info_present_flag")?;
        for _ in 0..if each { sub_layers + 1 } else { 1 } {
            bits.ue("sps_max_dec_pic_buffering_minus1")?;
            // The last one is that of the highest layer.
            self.reorder_frames = Some(bits.ue_max(16, "sps_max_num_reorder_pics")? as u8);
            bits.ue("sps_max_latency_increase_plus1")?;
        }
        for _ in 0..6 {
            bits.ue("log2_block_size")?;
        }
        if bits.bit("scaling_list_enabled_flag")? && bits.bit("sps_scaling_list_data_present_flag")? {
            skip_scaling_lists(bits)?;
        }
        bits.skip(2, "amp_enabled_flag")?;
        if bits.bit("pcm_enabled_flag")? {
            bits.skip(8, "pcm_sample_bit_depth")?;
            bits.ue("log2_min_pcm_luma_coding_block_size_minus3")?;
            bits.ue("log2_diff_max_min_pcm_luma_coding_block_size")?;
            bits.bit("pcm_loop_filter_disabled_flag")?;
        }
        skip_short_term_sets(bits)?;
        if bits.bit("long_term_ref_pics_present_flag")? {
            for _ in 0..bits.ue_max(32, "num_long_term_ref_pics_sps")? {
                bits.skip(order_count_bits as usize + 1, "lt_ref_pic_poc_lsb_sps")?;
            }
        }
        bits.skip(2, "sps_temporal_mvp_enabled_flag")?;
        if bits.bit("vui_parameters_present_flag")? {
            self.read_vui(bits)?;
        }
        Ok(())
    }

    /// As far as the timing (E.2.1).
    fn read_vui(&mut self, bits: &mut BitReader<'_>) -> Result<(), Error> {
        if let Some(aspect) = read_sample_aspect(bits)? {
            self.sample_aspect = aspect;
        }
        skip_video_signal(bits)?;
        if bits.bit("chroma_loc_info_present_flag")? {
            bits.ue("chroma_sample_loc_type_top_field")?;
            bits.ue("chroma_sample_loc_type_bottom_field")?;
        }
        bits.skip(3, "neutral_chroma_indication_flag")?;
        if bits.bit("default_display_window_flag")? {
            for _ in 0..4 {
                bits.ue("def_disp_win_offset")?;
            }
        }
        if bits.bit("vui_timing_info_present_flag")? {
            let units = bits.bits(32, "vui_num_units_in_tick")?;
            let scale = bits.bits(32, "vui_time_scale")?;
            if units > 0 {
                self.frame_rate = f64::from(scale) / f64::from(units);
            }
        }
        Ok(())
    }
}

/// The rest of profile_tier_level: `sub_layers` is the number of layers less one.
fn skip_sub_layers(bits: &mut BitReader<'_>, sub_layers: u32) -> Result<(), Error> {
    let mut stated_bits = 0;
    for layer in 0..8 {
        if sub_layers == 0 {
            break;
        }
        let profile = bits.bit("sub_layer_profile_present_flag")?;
        let level = bits.bit("sub_layer_level_present_flag")?;
        if layer < sub_layers {
            stated_bits += if profile { 88 } else { 0 } + if level { 8 } else { 0 };
        }
    }
    bits.skip(stated_bits, "sub_layer_profile_tier_level")
}

fn read_size(bits: &mut BitReader<'_>, chroma_format: u8) -> Result<(u32, u32), Error> {
    let bit = bits.position();
    let width = u64::from(bits.ue("pic_width_in_luma_samples")?);
    let height = u64::from(bits.ue("pic_height_in_luma_samples")?);
    let mut window = [0u64; 4];
    if bits.bit("conformance_window_flag")? {
        for offset in &mut window {
            *offset = bits.ue("conf_win_offset")?.into();
        }
    }
    let (unit_x, unit_y) = match chroma_format {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let [left, right, top, bottom] = window;
    let width = width.checked_sub((left + right) * unit_x);
    checked_size(width, height.checked_sub((top + bottom) * unit_y), bit)
}

/// 7.3.4.
fn skip_scaling_lists(bits: &mut BitReader<'_>) -> Result<(), Error> {
    for size in 0..4u32 {
        let mut matrix = 0;
        while matrix < 6 {
            if !bits.bit("scaling_list_pred_mode_flag")? {
                bits.ue("scaling_list_pred_matrix_id_delta")?;
            } else {
                if size > 1 {
                    bits.se("scaling_list_dc_coef_minus8")?;
                }
                for _ in 0..64.min(1 << (4 + (size << 1))) {
                    bits.se("scaling_list_delta_coef")?;
                }
            }
            matrix += if size == 3 { 3 } else { 1 };
        }
    }
    Ok(())
}

/// 7.3.7. Only the number of pictures of the set before is kept: an SPS predicts from no other.
fn skip_short_term_sets(bits: &mut BitReader<'_>) -> Result<(), Error> {
    let count = bits.ue_max(HEVC_SHORT_TERM_SETS_MAX, "num_short_term_ref_pic_sets")?;
    let mut pictures = 0;
    for index in 0..count {
        if index > 0 && bits.bit("inter_ref_pic_set_prediction_flag")? {
            bits.bit("delta_rps_sign")?;
            bits.ue("abs_delta_rps_minus1")?;
            let mut kept = 0;
            for _ in 0..=pictures {
                let used = bits.bit("used_by_curr_pic_flag")?;
                if used || bits.bit("use_delta_flag")? {
                    kept += 1;
                }
            }
            pictures = kept;
        } else {
            let before = bits.ue_max(HEVC_REFERENCE_PICTURES_MAX, "num_negative_pics")?;
            let after = bits.ue_max(HEVC_REFERENCE_PICTURES_MAX, "num_positive_pics")?;
            pictures = before + after;
            for _ in 0..pictures {
                bits.ue("delta_poc_minus1")?;
                bits.bit("used_by_curr_pic_flag")?;
            }
        }
    }
    Ok(())
}

fn illegal(field: &'static str, value: u64, bit: usize) -> Error {
    Error::Illegal { field, value, bit }
}

/// Up to and with `numOfArrays`.
const HEAD_BYTES: usize = 23;

#[cfg(test)]
mod tests {
    use super::super::cases::{AVCC_BASELINE, AVCC_HIGH, HEVC_SPS_422_12, HEVC_SPS_GRAY, HVCC_MAIN, HVCC_MAIN_10, hex};
    use super::*;

    #[test]
    fn x265_records_are_read_and_built_again_byte_for_byte() {
        for (record, codec_string, luma_bits) in [
            (HVCC_MAIN, "hvc1.1.6.L120.90", 8),
            (HVCC_MAIN_10, "hvc1.2.4.L120.90", 10),
        ] {
            let record = hex(record);
            let config = Config::parse(&record).unwrap();
            assert_eq!(config.codec_string(), codec_string);
            assert_eq!((config.length_bytes, config.luma_bits), (4, luma_bits));
            let sets = |kind| config.sets(kind).collect::<Vec<_>>();
            let parsed = Sps::parse(sets(NAL_SPS)[0]).unwrap();
            assert_eq!((parsed.width, parsed.height), (1918, 1078));
            assert_eq!(parsed.profile_tier_level, config.profile_tier_level);
            assert_eq!((parsed.chroma_format, parsed.luma_bits), (1, luma_bits));
            assert_eq!(parsed.frame_rate, 30_000.0 / 1001.0);
            let mut built = Vec::new();
            build_config(&sets(NAL_VPS), &sets(NAL_SPS), &sets(NAL_PPS), &mut built).unwrap();
            assert_eq!(built, record);
        }
    }

    #[test]
    fn chroma_formats_scaling_lists_and_tiers_are_understood() {
        for (unit, codec_string, chroma_format, luma_bits) in [
            (HEVC_SPS_422_12, "hvc1.4.10.L120.99.8", 2, 12),
            (HEVC_SPS_GRAY, "hvc1.4.10.H153.9F.C8", 0, 8),
        ] {
            let sps = Sps::parse(&hex(unit)).unwrap();
            assert_eq!((sps.width, sps.height, sps.sample_aspect), (1918, 1078, (16, 11)));
            assert_eq!((sps.chroma_format, sps.luma_bits), (chroma_format, luma_bits));
            assert_eq!(sps.profile_tier_level.codec_string(), codec_string);
            assert_eq!(sps.frame_rate, 25.0);
        }
    }

    #[test]
    fn the_two_records_are_told_apart() {
        for record in [HVCC_MAIN, HVCC_MAIN_10] {
            assert!(looks_like_hvcc(&hex(record)));
        }
        for record in [AVCC_HIGH, AVCC_BASELINE, ""] {
            assert!(!looks_like_hvcc(&hex(record)));
        }
    }

    #[test]
    fn damaged_records_are_noticed() {
        let record = hex(HVCC_MAIN);
        for length in 0..record.len() {
            assert!(
                matches!(Config::parse(&record[..length]), Err(Error::Truncated { .. })),
                "{length}"
            );
        }
    }

    #[test]
    fn random_access_pictures_are_key() {
        for (kind, key) in [
            (0, false),
            (1, false),
            (15, false),
            (16, true),
            (19, true),
            (21, true),
            (22, false),
            (33, false),
        ] {
            assert_eq!(is_irap(&[0, 0, 0, 3, kind << 1, 1, 0x80]), key, "{kind}");
        }
    }

    /// x265's, with no B-frames, one, and a pyramid.
    #[test]
    fn the_depth_of_reordering_is_read() {
        for (unit, reorder_frames) in [
            (
                "42010101600000030090000003000003003ca00a080f16592a4932bc05a02000000300200000030321",
                Some(0),
            ),
            (
                "42010101600000030090000003000003003ca00a080f165913924caf016808000003000800000300c840",
                Some(1),
            ),
            (
                "42010101600000030090000003000003003ca00a080f165959a4932bc05a020000030002000003003210",
                Some(2),
            ),
        ] {
            let sps = Sps::parse(&hex(unit)).unwrap();
            assert_eq!(sps.reorder_frames, reorder_frames, "{unit}");
        }
    }
}
