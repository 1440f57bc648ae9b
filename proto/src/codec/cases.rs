//! Real bytes for the tests and the mutation run. Made with ffmpeg 5.1 from `testsrc2=s=1918x1078:r=30000/1001` and
//! `sine=r=44100` (x264, x265 3.5, libvpx, SVT-AV1 1.4, libaom, lame, libopus and ffmpeg's own encoders).

pub const AVCC_HIGH: &str =
    "01640028ffe1001a67640028acd940780227a9b01100000303e90000ea600f18319601000668ebe3cb22c0fdf8f800";
pub const AVCC_HIGH_422_10: &str =
    "017a0028ffe1001a677a0028b6cd940780227a8bc04400000fa40003a9803c60c65801000668ebe3cb22c0fefafa00";
pub const AVCC_BASELINE: &str = "0142c028ffe100196742c028d900780227a9b01100000303e90000ea600f18324801000568cb83cb20";
/// x265's, without the array of its SEI.
pub const HVCC_MAIN: &str = "01016000000090000000000078f000fcfdf8f800000f03a00001001840010c01ffff01600000030090000003000003\
     0078959809a10001002a420101016000000300900000030000030078a003c08010e75596566924caf01680800001f480003a9804a2000100074401\
     c172b46240";
pub const HVCC_MAIN_10: &str = "01022000000090000000000078f000fcfdfafa00000f03a00001001840010c01ffff0222000003009000000300000\
     30078959809a10001002b420101022000000300900000030000030078a003c08010e754d96566924caf01680800001f480003a98040a200010007\
     4401c172b46240";
/// SVT-AV1.
pub const AV1C: &str = "81080c000a0b00000042abbec3500be001";
/// libaom, 10 bit: temporal delimiter, sequence header, the first bytes of a key frame cut to a size of 5.
pub const AV1_UNIT: &str = "12000a0b00000042abbec3532be50132051100090001";
pub const VPCC: &str = "010000000028820202020000";
pub const VP9_KEY: &str = "824983420077d043560838241c184a18";
pub const VP9_KEY_422_10: &str = "b124c1a10203be821ab051c120e0c2c0";
pub const VP9_INTER: &str = "86004092f0d14006010668305ef07f97";
pub const VP8_KEY: &str = "d087029d012a7e073604094708858588";
pub const VP8_INTER: &str = "b1bf002711fc001ed7ec055d4db68f3c";
pub const ASC_LC: &str = "121056e500";
/// HE-AAC v1 and v2 of 44,100 Hz, hierarchical; and v1 behind a sync extension.
pub const ASC_SBR: &str = "2b920800";
pub const ASC_PS: &str = "eb8a0800";
pub const ASC_SBR_EXTENSION: &str = "139056e5a0";
pub const ADTS: &str = "fff150802b3ffcde02004c6176633539";
pub const MP3: &str = "fffb9064";
/// 22,050 Hz, one channel.
pub const MP3_MPEG2: &str = "fff340c4";
/// A sample rate that is not in the table.
pub const ASC_ESCAPE: &str = "1780560c10";
pub const MP2: &str = "fffde40488666677";
pub const OPUS_HEAD: &str = "4f707573486561640102380180bb0000000000";
pub const FLAC: &str = "664c6143800000221200120000046d0005080ac442f0000033ae36567c6137e8d578c431ed191fd85ff5";
pub const AC3: &str = "0b77d0f81e40ebf8403eff99ff0841fc";
pub const AC3_44: &str = "0b77c2ea544043e106f575f0c0c21818";
pub const EAC3: &str = "0b77037f3f87c00020f8200002004000";

/// x264, 1918x1084 interlaced with MBAFF, 25 frames per second.
pub const H264_SPS_INTERLACED: &str = "67640028acd94078044f55808800000300080000030190f8b16cb0";
/// x264, 4:4:4 with JVT scaling matrices, samples of 4:3 and a constant-rate HRD.
pub const H264_SPS_444: &str = "67f40028919b280f0044f717870800000300080000030193020000989680004c4b7261803c60c658";
/// x265, 4:2:2 of 12 bits with default scaling lists, samples of 16:11.
pub const HEVC_SPS_422_12: &str =
    "42010204080000030099080000030000780000b003c08010e75652965662b349272bc11a020000030002000003003210";
/// x265, monochrome, high tier, level 5.1.
pub const HEVC_SPS_GRAY: &str =
    "4201012408000003009fc8000003000099c00f0200439dde5959a4932bc11b020000030002000003003210";
/// libaom, 1916x1076, 4:4:4 of 10 bits.
pub const AV1C_444_10: &str = "812940000a0b2000004aabbdc3332be508";

pub const ALL: [&str; 36] = [
    H264_SPS_INTERLACED,
    H264_SPS_444,
    HEVC_SPS_422_12,
    HEVC_SPS_GRAY,
    AV1C_444_10,
    AVCC_HIGH,
    AVCC_HIGH_422_10,
    AVCC_BASELINE,
    HVCC_MAIN,
    HVCC_MAIN_10,
    AV1C,
    AV1_UNIT,
    VPCC,
    VP9_KEY,
    VP9_KEY_422_10,
    VP9_INTER,
    VP8_KEY,
    VP8_INTER,
    ASC_LC,
    ASC_SBR,
    ASC_PS,
    ASC_SBR_EXTENSION,
    ADTS,
    MP3,
    MP2,
    OPUS_HEAD,
    FLAC,
    AC3,
    AC3_44,
    EAC3,
    FLAC_FRAME,
    NALS,
    ANNEXB,
    MP3_MPEG2,
    ASC_ESCAPE,
    PCE,
];

/// The first frame header of the FLAC file: 4,608 samples.
pub const FLAC_FRAME: &str = "fff85988008a4e000000b501";
pub const NALS: &str = "000000020910000000036764000000000265880000000109";
pub const ANNEXB: &str = "000000010910000001676400000000016588";

/// An AudioSpecificConfig whose channels are in a program_config_element: a front pair, a back pair and a low
/// frequency channel.
pub const PCE: &str = "120005040500211000";

pub fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len() / 2)
        .map(|byte| u8::from_str_radix(&text[byte * 2..byte * 2 + 2], 16).unwrap())
        .collect()
}
