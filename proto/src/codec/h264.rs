//! H.264: the avcC record (ISO 14496-15, 5.3.3.1), NAL unit types (H.264, table 7-1), sequence parameter sets (7.3.2.1.1
//! and annex E.1.1) and the codec string (RFC 6381, 3.3).
//!
//! No slice is read: whether a decoder can start at a frame is told by its NAL unit types.

use super::bits::BitReader;
use super::limits::{PARAMETER_SET_BYTES_MAX, PARAMETER_SETS_MAX};
use super::{Error, nal};

pub const NAL_SLICE: u8 = 1;
pub const NAL_IDR: u8 = 5;
pub const NAL_SEI: u8 = 6;
pub const NAL_SPS: u8 = 7;
pub const NAL_PPS: u8 = 8;
pub const NAL_AUD: u8 = 9;
pub const NAL_END_OF_SEQUENCE: u8 = 10;
pub const NAL_END_OF_STREAM: u8 = 11;
pub const NAL_FILLER: u8 = 12;
pub const NAL_SPS_EXTENSION: u8 = 13;

/// `nal_unit_type`; 0 (unspecified) for an empty unit.
pub fn nal_type(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |head| head & 0x1f)
}

/// Whether a frame (4-byte lengths) holds a slice of an IDR picture.
pub fn is_idr(frame: &[u8]) -> bool {
    nal::units(frame).any(|unit| nal_type(unit) == NAL_IDR)
}

/// Whether a SEI unit has a recovery point (D.1.8): where a stream without IDR pictures can be begun.
pub fn has_recovery_point(nal: &[u8]) -> bool {
    let mut bits = BitReader::rbsp(nal);
    let number = |bits: &mut BitReader<'_>| -> Option<usize> {
        let mut sum = 0;
        loop {
            let byte = bits.byte("ff_byte").ok()?;
            sum += usize::from(byte);
            if byte != 0xff {
                return Some(sum);
            }
        }
    };
    if nal_type(nal) != NAL_SEI || bits.byte("nal_unit_header").is_err() {
        return false;
    }
    while let (Some(kind), Some(bytes)) = (number(&mut bits), number(&mut bits)) {
        if kind == SEI_RECOVERY_POINT {
            return true;
        }
        if bits.skip(bytes * 8, "sei_payload").is_err() {
            return false;
        }
    }
    false
}

/// A checked avcC record, lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config<'a> {
    /// Bytes of a NAL unit's length in frames. 3 is against the standard, and read: nothing is unclear about it.
    pub length_bytes: u8,
    /// `profile_idc`.
    pub profile: u8,
    /// The constraint flags.
    pub compatibility: u8,
    /// `level_idc`, ten times the level.
    pub level: u8,
    sps: &'a [u8],
    pps: &'a [u8],
}

impl<'a> Config<'a> {
    /// What follows the PPS (chroma format, bit depths, SPS extensions) repeats the SPS, is missing from some encoders'
    /// records, and is not read.
    pub fn parse(record: &'a [u8]) -> Result<Self, Error> {
        let mut bits = BitReader::new(record);
        let version = bits.byte("configurationVersion")?;
        if version != 1 {
            return Err(Error::Illegal {
                field: "configurationVersion",
                value: version.into(),
                bit: 0,
            });
        }
        let profile = bits.byte("AVCProfileIndication")?;
        let compatibility = bits.byte("profile_compatibility")?;
        let level = bits.byte("AVCLevelIndication")?;
        bits.skip(6, "reserved")?;
        let length_bytes = bits.bits(2, "lengthSizeMinusOne")? as u8 + 1;
        bits.skip(3, "reserved")?;
        let sps_count = bits.bits(5, "numOfSequenceParameterSets")?;
        let (sps, behind) = split_sets(record, 6, sps_count)?;
        let Some(&pps_count) = record.get(behind) else {
            let field = "numOfPictureParameterSets";
            return Err(Error::Truncated { field, bit: behind * 8 });
        };
        let (pps, _) = split_sets(record, behind + 1, pps_count.into())?;
        Ok(Config {
            length_bytes,
            profile,
            compatibility,
            level,
            sps,
            pps,
        })
    }

    /// Sequence parameter sets, none empty.
    pub fn sps(&self) -> Sets<'a> {
        Sets { rest: self.sps }
    }

    /// Picture parameter sets, none empty.
    pub fn pps(&self) -> Sets<'a> {
        Sets { rest: self.pps }
    }

    /// `avc1.PPCCLL`.
    pub fn codec_string(&self) -> String {
        format!("avc1.{:02X}{:02X}{:02X}", self.profile, self.compatibility, self.level)
    }
}

/// The sets from byte `at` on, and where they end.
fn split_sets(record: &[u8], at: usize, count: u32) -> Result<(&[u8], usize), Error> {
    let mut end = at;
    for _ in 0..count {
        let field = "parameterSetLength";
        let truncated = Error::Truncated { field, bit: end * 8 };
        let length = record.get(end..end + 2).ok_or(truncated)?;
        let bytes = usize::from(u16::from_be_bytes([length[0], length[1]]));
        record.get(end + 2..end + 2 + bytes).ok_or(truncated)?;
        end += 2 + bytes;
    }
    Ok((&record[at..end], end))
}

/// Parameter sets behind 16-bit lengths, as in avcC and in each array of hvcC.
#[derive(Clone, Debug)]
pub struct Sets<'a> {
    rest: &'a [u8],
}

impl<'a> Sets<'a> {
    pub(super) fn new(sets: &'a [u8]) -> Self {
        Sets { rest: sets }
    }
}

impl<'a> Iterator for Sets<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let (length, behind) = self.rest.split_first_chunk::<2>()?;
            let (set, rest) = behind.split_at_checked(u16::from_be_bytes(*length).into())?;
            self.rest = rest;
            if !set.is_empty() {
                return Some(set);
            }
        }
    }
}

/// Appends the avcC record of these sets, for frames with 4-byte lengths. The first SPS gives profile and level.
pub fn build_config(sps: &[&[u8]], pps: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Error> {
    let first = sps.first().copied().unwrap_or_default();
    let head = Sps::parse(first)?;
    check_count("numOfSequenceParameterSets", sps.len(), 31)?;
    check_count("numOfPictureParameterSets", pps.len(), PARAMETER_SETS_MAX - 1)?;
    for set in sps.iter().chain(pps) {
        if set.len() > PARAMETER_SET_BYTES_MAX {
            return Err(Error::TooLong {
                field: "parameterSetLength",
                bytes: set.len(),
                bytes_max: PARAMETER_SET_BYTES_MAX,
            });
        }
    }
    out.extend_from_slice(&[1, head.profile, head.compatibility, head.level, 0xff]);
    out.push(0xe0 | sps.len() as u8);
    push_sets(sps, out);
    out.push(pps.len() as u8);
    push_sets(pps, out);
    if has_chroma_format(head.profile) {
        out.extend_from_slice(&[
            0xfc | head.chroma_format,
            0xf8 | (head.luma_bits - 8),
            0xf8 | (head.chroma_bits - 8),
            0,
        ]);
    }
    Ok(())
}

fn check_count(field: &'static str, count: usize, count_max: usize) -> Result<(), Error> {
    if count > count_max {
        return Err(Error::Illegal {
            field,
            value: count as u64,
            bit: 0,
        });
    }
    Ok(())
}

/// Appends sets, all checked to be at most [`PARAMETER_SET_BYTES_MAX`], behind 16-bit lengths.
pub(super) fn push_sets(sets: &[&[u8]], out: &mut Vec<u8>) {
    for set in sets {
        let bytes = u16::try_from(set.len()).expect("the caller checked each set's length");
        out.extend_from_slice(&bytes.to_be_bytes());
        out.extend_from_slice(set);
    }
}

/// Profiles whose SPS, and avcC record, state chroma format and bit depth.
fn has_chroma_format(profile: u8) -> bool {
    matches!(
        profile,
        100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135
    )
}

/// What a sequence parameter set says about the pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sps {
    pub profile: u8,
    pub compatibility: u8,
    pub level: u8,
    /// `chroma_format_idc`: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    pub luma_bits: u8,
    pub chroma_bits: u8,
    /// Cropped, in samples.
    pub width: u32,
    pub height: u32,
    /// Width and height of a sample; `(1, 1)` when unstated.
    pub sample_aspect: (u32, u32),
    /// Frames per second from the VUI timing, 0 when unstated.
    pub frame_rate: f64,
    /// How many frames at most stand before one that is shown before them; none when unstated. 0 to 16.
    pub reorder_frames: Option<u8>,
}

impl Sps {
    /// `nal` is the unit with its header byte.
    pub fn parse(nal: &[u8]) -> Result<Self, Error> {
        let mut bits = BitReader::rbsp(nal);
        let head = bits.byte("nal_unit_header")?;
        if head & 0x1f != NAL_SPS {
            return Err(Error::Illegal {
                field: "nal_unit_type",
                value: (head & 0x1f).into(),
                bit: 3,
            });
        }
        let profile = bits.byte("profile_idc")?;
        let compatibility = bits.byte("constraint_set_flags")?;
        let level = bits.byte("level_idc")?;
        bits.ue_max(31, "seq_parameter_set_id")?;
        let chroma = Chroma::read(&mut bits, profile)?;
        bits.ue_max(12, "log2_max_frame_num_minus4")?;
        let is_shown_in_order = read_picture_order(&mut bits)? == 2;
        bits.ue("max_num_ref_frames")?;
        bits.bit("gaps_in_frame_num_value_allowed_flag")?;
        let (width, height) = read_size(&mut bits, &chroma)?;
        let mut sps = Sps {
            profile,
            compatibility,
            level,
            chroma_format: chroma.format,
            luma_bits: chroma.luma_bits,
            chroma_bits: chroma.chroma_bits,
            width,
            height,
            sample_aspect: (1, 1),
            frame_rate: 0.0,
            // Baseline has no B slices.
            reorder_frames: (is_shown_in_order || profile == 66).then_some(0),
        };
        // A damaged VUI does not make the pictures unknown; encoders exist that cut it off.
        if bits.bit("vui_parameters_present_flag").unwrap_or(false) {
            let _ = sps.read_vui(&mut bits);
        }
        Ok(sps)
    }

    /// E.1.1.
    fn read_vui(&mut self, bits: &mut BitReader<'_>) -> Result<(), Error> {
        if let Some(aspect) = read_sample_aspect(bits)? {
            self.sample_aspect = aspect;
        }
        skip_video_signal(bits)?;
        if bits.bit("chroma_loc_info_present_flag")? {
            bits.ue("chroma_sample_loc_type_top_field")?;
            bits.ue("chroma_sample_loc_type_bottom_field")?;
        }
        if bits.bit("timing_info_present_flag")? {
            let units = bits.bits(32, "num_units_in_tick")?;
            let scale = bits.bits(32, "time_scale")?;
            if units > 0 {
                // A tick is a field.
                self.frame_rate = f64::from(scale) / (2.0 * f64::from(units));
            }
            bits.bit("fixed_frame_rate_flag")?;
        }
        let nal_hrd = skip_hrd(bits, "nal_hrd_parameters_present_flag")?;
        let vcl_hrd = skip_hrd(bits, "vcl_hrd_parameters_present_flag")?;
        if nal_hrd || vcl_hrd {
            bits.bit("low_delay_hrd_flag")?;
        }
        bits.bit("pic_struct_present_flag")?;
        if bits.bit("bitstream_restriction_flag")? {
            bits.bit("motion_vectors_over_pic_boundaries_flag")?;
            bits.ue("max_bytes_per_pic_denom")?;
            bits.ue("max_bits_per_mb_denom")?;
            bits.ue("log2_max_mv_length_horizontal")?;
            bits.ue("log2_max_mv_length_vertical")?;
            let reorder_frames = bits.ue_max(16, "max_num_reorder_frames")? as u8;
            self.reorder_frames = self.reorder_frames.or(Some(reorder_frames));
        }
        Ok(())
    }
}

struct Chroma {
    format: u8,
    separate_planes: bool,
    luma_bits: u8,
    chroma_bits: u8,
}

impl Chroma {
    fn read(bits: &mut BitReader<'_>, profile: u8) -> Result<Self, Error> {
        let mut chroma = Chroma {
            format: 1,
            separate_planes: false,
            luma_bits: 8,
            chroma_bits: 8,
        };
        if !has_chroma_format(profile) {
            return Ok(chroma);
        }
        chroma.format = bits.ue_max(3, "chroma_format_idc")? as u8;
        if chroma.format == 3 {
            chroma.separate_planes = bits.bit("separate_colour_plane_flag")?;
        }
        chroma.luma_bits = bits.ue_max(6, "bit_depth_luma_minus8")? as u8 + 8;
        chroma.chroma_bits = bits.ue_max(6, "bit_depth_chroma_minus8")? as u8 + 8;
        bits.bit("qpprime_y_zero_transform_bypass_flag")?;
        if bits.bit("seq_scaling_matrix_present_flag")? {
            for list in 0..if chroma.format == 3 { 12 } else { 8 } {
                if bits.bit("seq_scaling_list_present_flag")? {
                    skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
        Ok(chroma)
    }
}

/// 7.3.2.1.1.1.
fn skip_scaling_list(bits: &mut BitReader<'_>, entries: u32) -> Result<(), Error> {
    let mut last: i32 = 8;
    for _ in 0..entries {
        let bit = bits.position();
        let delta = bits.se("delta_scale")?;
        if !(-128..=127).contains(&delta) {
            return Err(Error::Illegal {
                field: "delta_scale",
                value: delta.unsigned_abs().into(),
                bit,
            });
        }
        let next = (last + delta + 256) % 256;
        if next == 0 {
            break;
        }
        last = next;
    }
    Ok(())
}

/// E.1.2, if it is there.
fn skip_hrd(bits: &mut BitReader<'_>, present: &'static str) -> Result<bool, Error> {
    if !bits.bit(present)? {
        return Ok(false);
    }
    let schedules = bits.ue_max(31, "cpb_cnt_minus1")? + 1;
    bits.skip(8, "bit_rate_scale")?;
    for _ in 0..schedules {
        bits.ue("bit_rate_value_minus1")?;
        bits.ue("cpb_size_value_minus1")?;
        bits.bit("cbr_flag")?;
    }
    bits.skip(20, "initial_cpb_removal_delay_length_minus1")?;
    Ok(true)
}

/// `pic_order_cnt_type`; 2 is: shown in the order of decoding.
fn read_picture_order(bits: &mut BitReader<'_>) -> Result<u32, Error> {
    let order = bits.ue_max(2, "pic_order_cnt_type")?;
    match order {
        0 => {
            bits.ue_max(12, "log2_max_pic_order_cnt_lsb_minus4")?;
        }
        1 => {
            bits.bit("delta_pic_order_always_zero_flag")?;
            bits.se("offset_for_non_ref_pic")?;
            bits.se("offset_for_top_to_bottom_field")?;
            for _ in 0..bits.ue_max(255, "num_ref_frames_in_pic_order_cnt_cycle")? {
                bits.se("offset_for_ref_frame")?;
            }
        }
        _ => {}
    }
    Ok(order)
}

/// Width and height without what is cropped.
fn read_size(bits: &mut BitReader<'_>, chroma: &Chroma) -> Result<(u32, u32), Error> {
    let macroblocks_wide = u64::from(bits.ue("pic_width_in_mbs_minus1")?) + 1;
    let map_units_high = u64::from(bits.ue("pic_height_in_map_units_minus1")?) + 1;
    let fields_per_frame = if bits.bit("frame_mbs_only_flag")? { 1 } else { 2 };
    if fields_per_frame == 2 {
        bits.bit("mb_adaptive_frame_field_flag")?;
    }
    bits.bit("direct_8x8_inference_flag")?;
    let mut crop = [0u64; 4];
    let bit = bits.position();
    if bits.bit("frame_cropping_flag")? {
        for offset in &mut crop {
            *offset = bits.ue("frame_crop_offset")?.into();
        }
    }
    // CropUnitX and CropUnitY, equations 7-19 to 7-22.
    let (unit_x, unit_y) = match chroma.format {
        1 if !chroma.separate_planes => (2, 2),
        2 if !chroma.separate_planes => (2, 1),
        _ => (1, 1),
    };
    let [left, right, top, bottom] = crop;
    let width = (macroblocks_wide * 16).checked_sub((left + right) * unit_x);
    let height = (map_units_high * 16 * fields_per_frame).checked_sub((top + bottom) * unit_y * fields_per_frame);
    checked_size(width, height, bit)
}

/// Sizes that a container can state: 1 to 65,535.
pub(super) fn checked_size(width: Option<u64>, height: Option<u64>, bit: usize) -> Result<(u32, u32), Error> {
    let check = |field, side: Option<u64>| match side {
        Some(samples @ 1..=0xffff) => Ok(samples as u32),
        _ => Err(Error::Illegal {
            field,
            value: side.unwrap_or(0),
            bit,
        }),
    };
    Ok((check("width", width)?, check("height", height)?))
}

/// The first lines of the VUI, the same in H.264 (table E-1) and HEVC.
pub(super) fn read_sample_aspect(bits: &mut BitReader<'_>) -> Result<Option<(u32, u32)>, Error> {
    let mut aspect = None;
    if bits.bit("aspect_ratio_info_present_flag")? {
        let index = bits.byte("aspect_ratio_idc")?;
        aspect = if index == 255 {
            let width = bits.bits(16, "sar_width")?;
            let height = bits.bits(16, "sar_height")?;
            (width > 0 && height > 0).then_some((width, height))
        } else {
            SAMPLE_ASPECTS.get(usize::from(index)).copied()
        };
    }
    if bits.bit("overscan_info_present_flag")? {
        bits.bit("overscan_appropriate_flag")?;
    }
    Ok(aspect)
}

pub(super) fn skip_video_signal(bits: &mut BitReader<'_>) -> Result<(), Error> {
    if bits.bit("video_signal_type_present_flag")? {
        bits.skip(4, "video_format")?;
        if bits.bit("colour_description_present_flag")? {
            bits.skip(24, "colour_primaries")?;
        }
    }
    Ok(())
}

/// `payloadType` (D.1.1).
const SEI_RECOVERY_POINT: usize = 6;

/// Table E-1; 0 is unspecified.
const SAMPLE_ASPECTS: [(u32, u32); 17] = [
    (1, 1),
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

#[cfg(test)]
mod tests {
    use super::super::cases::{
        AVCC_BASELINE, AVCC_HIGH, AVCC_HIGH_422_10, H264_SPS_444, H264_SPS_INTERLACED, NALS, hex,
    };
    use super::*;

    #[test]
    fn x264_records_are_read_and_built_again_byte_for_byte() {
        for (record, codec_string, chroma_format, luma_bits) in [
            (AVCC_HIGH, "avc1.640028", 1, 8),
            (AVCC_HIGH_422_10, "avc1.7A0028", 2, 10),
            (AVCC_BASELINE, "avc1.42C028", 1, 8),
        ] {
            let record = hex(record);
            let config = Config::parse(&record).unwrap();
            assert_eq!(config.codec_string(), codec_string);
            assert_eq!(config.length_bytes, 4);
            let (sps, pps): (Vec<_>, Vec<_>) = (config.sps().collect(), config.pps().collect());
            let parsed = Sps::parse(sps[0]).unwrap();
            assert_eq!((parsed.width, parsed.height), (1918, 1078));
            assert_eq!((parsed.chroma_format, parsed.luma_bits), (chroma_format, luma_bits));
            assert_eq!(parsed.frame_rate, 30_000.0 / 1001.0);
            let mut built = Vec::new();
            build_config(&sps, &pps, &mut built).unwrap();
            assert_eq!(built, record);
        }
    }

    #[test]
    fn fields_scaling_matrices_and_sample_shapes_are_understood() {
        for (unit, size, chroma_format, sample_aspect) in [
            (H264_SPS_INTERLACED, (1918, 1084), 1, (1, 1)),
            (H264_SPS_444, (1918, 1078), 3, (4, 3)),
        ] {
            let sps = Sps::parse(&hex(unit)).unwrap();
            assert_eq!((sps.width, sps.height), size);
            assert_eq!((sps.chroma_format, sps.sample_aspect), (chroma_format, sample_aspect));
            assert_eq!(sps.frame_rate, 25.0);
        }
    }

    /// x264's, with no B-frames, one, three, a pyramid behind NAL and without HRD, and its baseline.
    #[test]
    fn the_depth_of_reordering_is_read() {
        for (unit, reorder_frames) in [
            ("6764000dacb20283f60220000003002000000641e28549", Some(0)),
            ("6764000dace40507ec0440000003004000000c83c50a4480", Some(1)),
            ("6764000dacd10141fb011000000300100000030320f1429120", Some(1)),
            (
                "6764000dacd94141fb01100000030010000003032602001e840007a13930c01e28532c",
                Some(2),
            ),
            ("6742c00dd90141fb011000000300100000030320f142a480", Some(0)),
            // Cut off before it.
            ("6764000dacd94141fb0110000003001000000303", None),
        ] {
            let sps = Sps::parse(&hex(unit)).unwrap();
            assert_eq!(sps.reorder_frames, reorder_frames, "{unit}");
        }
    }

    #[test]
    fn a_vui_that_is_cut_off_leaves_the_size() {
        let unit = hex(H264_SPS_INTERLACED);
        let sps = Sps::parse(&unit[..16]).unwrap();
        assert_eq!((sps.width, sps.height, sps.frame_rate), (1918, 1084, 0.0));
    }

    #[test]
    fn every_length_size_is_read() {
        let mut record = hex(AVCC_HIGH);
        for length_bytes in 1..=4 {
            record[4] = 0xfc | (length_bytes - 1);
            assert_eq!(Config::parse(&record).unwrap().length_bytes, length_bytes);
        }
    }

    #[test]
    fn damaged_records_say_where() {
        let record = hex(AVCC_HIGH);
        // Up to the end of the PPS, all that is read, every cut is noticed.
        for length in 0..record.len() - 4 {
            assert!(
                matches!(Config::parse(&record[..length]), Err(Error::Truncated { .. })),
                "{length}"
            );
        }
        let field = "parameterSetLength";
        assert_eq!(Config::parse(&record[..20]), Err(Error::Truncated { field, bit: 48 }));
        assert!(build_config(&[], &[], &mut Vec::new()).is_err());
        assert!(Sps::parse(&[0x67, 0x64]).is_err());
        assert!(Sps::parse(&[0x68]).is_err());
    }

    #[test]
    fn a_recovery_point_is_found_behind_other_messages() {
        for (nal, found) in [
            ("060601844080", true),
            // Two messages: user data of 3 bytes, with an emulation prevention byte, and a recovery point.
            ("060503aa00000380", false),
            ("060503aa000003aa0601c480", false),
            ("060503aa00000306018480", true),
            ("06ff0501aa06018480", true),
            ("06", false),
            ("06ff", false),
            ("060500", false),
            ("65060184", false),
            ("060010", false),
        ] {
            assert_eq!(has_recovery_point(&hex(nal)), found, "{nal}");
        }
    }

    #[test]
    fn a_frame_with_an_idr_slice_is_key() {
        assert!(is_idr(&hex(NALS)));
        assert!(!is_idr(&hex(NALS)[..13]));
        assert!(!is_idr(&[]));
        assert_eq!(nal_type(&[]), 0);
    }
}
