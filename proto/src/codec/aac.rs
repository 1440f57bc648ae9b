//! AAC: AudioSpecificConfig (ISO 14496-3, 1.6.2.1), ADTS heads (1.A.2.2) and the codec string (RFC 6381, 3.3).
//!
//! No raw data block is read, so a channel layout that only a program_config_element states is taken from the record's
//! copy of it.

use super::Error;
use super::bits::BitReader;
use super::limits::ADTS_FRAME_BYTES_MAX;

pub const OBJECT_MAIN: u8 = 1;
pub const OBJECT_LC: u8 = 2;
pub const OBJECT_SBR: u8 = 5;
pub const OBJECT_PS: u8 = 29;

/// Table 1.18.
pub const SAMPLE_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
];

/// What an AudioSpecificConfig says. With SBR, `sample_rate` and `frame_samples` are those of the core, so a packet lasts
/// `frame_samples / sample_rate` seconds with and without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Of the core: 2 is AAC-LC, also in HE-AAC.
    pub object_type: u8,
    /// Of the core, Hz.
    pub sample_rate: u32,
    /// Of the core; 2 makes stereo of 1. 0 when nothing states them.
    pub channels: u8,
    /// 1,024 or 960; 512 or 480 in low delay.
    pub frame_samples: u16,
    /// Signalled explicitly: the rate behind spectral band replication, Hz.
    pub sbr_rate: Option<u32>,
    /// Signalled explicitly: parametric stereo.
    pub ps: bool,
}

impl Config {
    pub fn parse(record: &[u8]) -> Result<Self, Error> {
        Self::read(&mut BitReader::new(record))
    }

    /// A record inside something else, which goes on behind it.
    pub fn read(bits: &mut BitReader<'_>) -> Result<Self, Error> {
        let mut object_type = read_object_type(bits)?;
        let sample_rate = read_rate(bits)?;
        let layout = bits.bits(4, "channelConfiguration")? as u8;
        let mut sbr_rate = None;
        let ps = object_type == OBJECT_PS;
        if object_type == OBJECT_SBR || ps {
            sbr_rate = Some(read_rate(bits)?);
            object_type = read_object_type(bits)?;
        }
        let mut config = Config {
            object_type,
            sample_rate,
            channels: LAYOUT_CHANNELS[usize::from(layout)],
            frame_samples: 1024,
            sbr_rate,
            ps,
        };
        if matches!(object_type, 1..=4 | 6 | 7 | 17 | 19..=23) {
            config.read_general(bits, layout)?;
            let mut ahead = bits.clone();
            // A cut extension is tolerated: players take such records, and the core is known.
            if config.read_extension(&mut ahead) == Ok(IsExtended::Yes) {
                *bits = ahead;
            }
        }
        Ok(config)
    }

    /// AAC-LC without extensions.
    pub fn low_complexity(sample_rate: u32, channels: u8) -> Self {
        Config {
            object_type: OBJECT_LC,
            sample_rate,
            channels,
            frame_samples: 1024,
            sbr_rate: None,
            ps: false,
        }
    }

    /// Hz of what a decoder with SBR plays.
    pub fn output_rate(&self) -> u32 {
        self.sbr_rate.unwrap_or(self.sample_rate)
    }

    /// Channels of what a decoder with PS plays.
    pub fn output_channels(&self) -> u8 {
        if self.ps && self.channels == 1 {
            2
        } else {
            self.channels
        }
    }

    /// `mp4a.40.` and the outermost object type.
    pub fn codec_string(&self) -> String {
        let outer = match (self.ps, self.sbr_rate) {
            (true, _) => OBJECT_PS,
            (false, Some(_)) => OBJECT_SBR,
            (false, None) => self.object_type,
        };
        format!("mp4a.40.{outer}")
    }

    /// Appends the record. Extensions are written in the hierarchical form. Core object types are 1 to 4, as in ADTS, and
    /// channels those of table 1.19.
    pub fn emit(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        let layout = self.layout()?;
        if !(1..=4).contains(&self.object_type) {
            return Err(illegal("audioObjectType", self.object_type.into(), 0));
        }
        let short = match self.frame_samples {
            1024 => 0,
            960 => 1,
            other => return Err(illegal("frameLengthFlag", other.into(), 0)),
        };
        let mut bits = BitWriter { out, held: 0, count: 0 };
        match self.sbr_rate {
            Some(rate) => {
                bits.put(if self.ps { OBJECT_PS } else { OBJECT_SBR }.into(), 5);
                bits.put_rate(self.sample_rate);
                bits.put(layout.into(), 4);
                bits.put_rate(rate);
                bits.put(self.object_type.into(), 5);
            }
            None => {
                bits.put(self.object_type.into(), 5);
                bits.put_rate(self.sample_rate);
                bits.put(layout.into(), 4);
            }
        }
        bits.put(short, 1);
        // dependsOnCoreCoder, extensionFlag
        bits.put(0, 2);
        bits.flush();
        Ok(())
    }

    /// The head of an ADTS frame around `payload_bytes` of raw data, without checksum.
    pub fn adts_head(&self, payload_bytes: usize) -> Result<[u8; 7], Error> {
        if !(1..=4).contains(&self.object_type) {
            return Err(illegal("profile", self.object_type.into(), 16));
        }
        let Some(rate) = SAMPLE_RATES.iter().position(|&rate| rate == self.sample_rate) else {
            return Err(illegal("sampling_frequency_index", self.sample_rate.into(), 18));
        };
        let layout = self.layout()?;
        let bytes = payload_bytes.saturating_add(7);
        if bytes > ADTS_FRAME_BYTES_MAX {
            return Err(Error::TooLong {
                field: "aac_frame_length",
                bytes,
                bytes_max: ADTS_FRAME_BYTES_MAX,
            });
        }
        let (rate, bytes) = (rate as u8, bytes as u16);
        Ok([
            0xff,
            // MPEG-4, layer 0, no checksum
            0xf1,
            (self.object_type - 1) << 6 | rate << 2 | layout >> 2,
            (layout & 3) << 6 | (bytes >> 11) as u8,
            (bytes >> 3) as u8,
            // adts_buffer_fullness 0x7ff is "variable rate"
            (bytes as u8 & 7) << 5 | 0x1f,
            0xfc,
        ])
    }

    /// `channelConfiguration`, table 1.19.
    fn layout(&self) -> Result<u8, Error> {
        match self.channels {
            channels @ 1..=6 => Ok(channels),
            8 => Ok(7),
            other => Err(illegal("channelConfiguration", other.into(), 0)),
        }
    }

    /// GASpecificConfig, 4.4.1.
    fn read_general(&mut self, bits: &mut BitReader<'_>, layout: u8) -> Result<(), Error> {
        let short = bits.bit("frameLengthFlag")?;
        self.frame_samples = match (self.object_type, short) {
            (23, false) => 512,
            (23, true) => 480,
            (_, false) => 1024,
            (_, true) => 960,
        };
        if bits.bit("dependsOnCoreCoder")? {
            bits.skip(14, "coreCoderDelay")?;
        }
        let extension = bits.bit("extensionFlag")?;
        if layout == 0 {
            self.channels = read_program_channels(bits)?;
        }
        if matches!(self.object_type, 6 | 20) {
            bits.skip(3, "layerNr")?;
        }
        if extension {
            match self.object_type {
                22 => bits.skip(16, "numOfSubFrame")?,
                17 | 19 | 20 | 23 => bits.skip(3, "aacSectionDataResilienceFlag")?,
                _ => {}
            }
            bits.skip(1, "extensionFlag3")?;
        }
        Ok(())
    }

    /// The backward compatible signalling behind the core's configuration.
    fn read_extension(&mut self, bits: &mut BitReader<'_>) -> Result<IsExtended, Error> {
        if self.sbr_rate.is_some() || bits.remaining() < 16 || bits.bits(11, "syncExtensionType")? != 0x2b7 {
            return Ok(IsExtended::No);
        }
        if read_object_type(bits)? != OBJECT_SBR || !bits.bit("sbrPresentFlag")? {
            return Ok(IsExtended::Yes);
        }
        self.sbr_rate = Some(read_rate(bits)?);
        let mut ahead = bits.clone();
        if ahead.remaining() >= 12 && ahead.bits(11, "syncExtensionType")? == 0x548 {
            self.ps = ahead.bit("psPresentFlag")?;
            *bits = ahead;
        }
        Ok(IsExtended::Yes)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum IsExtended {
    Yes,
    No,
}

/// The head of an ADTS frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adts {
    pub config: Config,
    /// 7, or 9 with a checksum.
    pub head_bytes: usize,
    /// With its head; at least `head_bytes`.
    pub frame_bytes: usize,
    /// Raw data blocks, 1 to 4, each of 1,024 samples.
    pub blocks: u8,
}

impl Adts {
    /// `bytes` begin with a head; the frame need not be there whole.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut bits = BitReader::new(bytes);
        let sync = bits.bits(12, "syncword")?;
        if sync != 0xfff {
            return Err(illegal("syncword", sync.into(), 0));
        }
        bits.bit("ID")?;
        let layer = bits.bits(2, "layer")?;
        if layer != 0 {
            return Err(illegal("layer", layer.into(), 13));
        }
        let checksum = !bits.bit("protection_absent")?;
        let object_type = bits.bits(2, "profile_ObjectType")? as u8 + 1;
        let rate = bits.bits(4, "sampling_frequency_index")?;
        let Some(&sample_rate) = SAMPLE_RATES.get(rate as usize) else {
            return Err(illegal("sampling_frequency_index", rate.into(), 18));
        };
        bits.bit("private_bit")?;
        let layout = bits.bits(3, "channel_configuration")?;
        bits.skip(4, "original_copy")?;
        let frame_bytes = bits.bits(13, "aac_frame_length")? as usize;
        bits.skip(11, "adts_buffer_fullness")?;
        let blocks = bits.bits(2, "number_of_raw_data_blocks_in_frame")? as u8 + 1;
        let head_bytes = if checksum { 9 } else { 7 };
        if frame_bytes < head_bytes {
            return Err(illegal("aac_frame_length", frame_bytes as u64, 30));
        }
        let config = Config {
            object_type,
            ..Config::low_complexity(sample_rate, LAYOUT_CHANNELS[layout as usize])
        };
        Ok(Adts {
            config,
            head_bytes,
            frame_bytes,
            blocks,
        })
    }
}

fn read_object_type(bits: &mut BitReader<'_>) -> Result<u8, Error> {
    let bit = bits.position();
    let object_type = match bits.bits(5, "audioObjectType")? as u8 {
        31 => bits.bits(6, "audioObjectTypeExt")? as u8 + 32,
        short => short,
    };
    if object_type == 0 {
        return Err(illegal("audioObjectType", 0, bit));
    }
    Ok(object_type)
}

fn read_rate(bits: &mut BitReader<'_>) -> Result<u32, Error> {
    let bit = bits.position();
    let index = bits.bits(4, "samplingFrequencyIndex")?;
    let rate = match index {
        15 => bits.bits(24, "samplingFrequency")?,
        _ => SAMPLE_RATES.get(index as usize).copied().unwrap_or(0),
    };
    if rate == 0 {
        return Err(illegal("samplingFrequencyIndex", index.into(), bit));
    }
    Ok(rate)
}

/// Counts the channels of a program_config_element (4.5.2.1): a pair has two.
fn read_program_channels(bits: &mut BitReader<'_>) -> Result<u8, Error> {
    bits.skip(10, "element_instance_tag")?;
    let front = bits.bits(4, "num_front_channel_elements")?;
    let side = bits.bits(4, "num_side_channel_elements")?;
    let back = bits.bits(4, "num_back_channel_elements")?;
    let low = bits.bits(2, "num_lfe_channel_elements")?;
    let associated = bits.bits(3, "num_assoc_data_elements")?;
    let coupled = bits.bits(4, "num_valid_cc_elements")?;
    for field in ["mono_mixdown_present", "stereo_mixdown_present"] {
        if bits.bit(field)? {
            bits.skip(4, field)?;
        }
    }
    if bits.bit("matrix_mixdown_idx_present")? {
        bits.skip(3, "matrix_mixdown_idx")?;
    }
    let mut channels = low;
    for _ in 0..front + side + back {
        channels += if bits.bit("element_is_cpe")? { 2 } else { 1 };
        bits.skip(4, "element_tag_select")?;
    }
    let rest = low * 4 + associated * 4 + coupled * 5;
    bits.skip(rest as usize, "element_tag_select")?;
    bits.align();
    let comment_bytes = bits.byte("comment_field_bytes")?;
    bits.skip(usize::from(comment_bytes) * 8, "comment_field_data")?;
    Ok(channels as u8)
}

/// Writes fields of at most 24 bits.
struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    held: u32,
    count: u32,
}

impl BitWriter<'_> {
    fn put(&mut self, value: u32, bits: u32) {
        debug_assert!(bits <= 24 && value >> bits == 0);
        self.held = self.held << bits | value;
        self.count += bits;
        while self.count >= 8 {
            self.count -= 8;
            self.out.push((self.held >> self.count) as u8);
            self.held &= (1 << self.count) - 1;
        }
    }

    fn put_rate(&mut self, rate: u32) {
        match SAMPLE_RATES.iter().position(|&known| known == rate) {
            Some(index) => self.put(index as u32, 4),
            None => {
                self.put(15, 4);
                self.put(rate & 0xff_ffff, 24);
            }
        }
    }

    fn flush(&mut self) {
        if self.count > 0 {
            self.put(0, 8 - self.count);
        }
    }
}

fn illegal(field: &'static str, value: u64, bit: usize) -> Error {
    Error::Illegal { field, value, bit }
}

/// Table 1.19; 0 where a program_config_element states the channels, or the value is reserved.
const LAYOUT_CHANNELS: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 8, 0, 0, 0, 7, 8, 24, 8, 0];

#[cfg(test)]
mod tests {
    use super::super::cases;
    use super::super::cases::hex;
    use super::*;

    #[test]
    fn records_state_core_and_extensions() {
        for (record, codec_string, sample_rate, channels, output_rate, output_channels) in [
            (cases::ASC_LC, "mp4a.40.2", 44_100, 2, 44_100, 2),
            (cases::ASC_SBR, "mp4a.40.5", 22_050, 2, 44_100, 2),
            (cases::ASC_PS, "mp4a.40.29", 22_050, 1, 44_100, 2),
            (cases::ASC_SBR_EXTENSION, "mp4a.40.5", 22_050, 2, 44_100, 2),
            ("138856e5a54880", "mp4a.40.29", 22_050, 1, 44_100, 2),
            (cases::ASC_ESCAPE, "mp4a.40.2", 44_056, 2, 44_056, 2),
            (cases::PCE, "mp4a.40.2", 44_100, 5, 44_100, 5),
        ] {
            let config = Config::parse(&hex(record)).unwrap();
            assert_eq!(config.codec_string(), codec_string, "{record}");
            assert_eq!(
                (config.sample_rate, config.channels),
                (sample_rate, channels),
                "{record}"
            );
            assert_eq!(
                (config.output_rate(), config.output_channels()),
                (output_rate, output_channels),
                "{record}"
            );
            assert_eq!((config.object_type, config.frame_samples), (OBJECT_LC, 1024));
        }
    }

    #[test]
    fn what_is_emitted_is_read_again() {
        for record in [cases::ASC_SBR, cases::ASC_PS, cases::ASC_ESCAPE] {
            let mut out = Vec::new();
            Config::parse(&hex(record)).unwrap().emit(&mut out).unwrap();
            assert_eq!(out, hex(record));
        }
        for frame_samples in [1024, 960] {
            for channels in [1, 2, 3, 4, 5, 6, 8] {
                let config = Config {
                    frame_samples,
                    ..Config::low_complexity(48_000, channels)
                };
                let mut out = Vec::new();
                config.emit(&mut out).unwrap();
                assert_eq!(Config::parse(&out), Ok(config));
            }
        }
        assert!(Config::low_complexity(48_000, 7).emit(&mut Vec::new()).is_err());
    }

    #[test]
    fn adts_heads_are_read_and_written() {
        let real = hex(cases::ADTS);
        let adts = Adts::parse(&real).unwrap();
        assert_eq!(adts.config, Config::low_complexity(44_100, 2));
        assert_eq!((adts.head_bytes, adts.frame_bytes, adts.blocks), (7, 345, 1));
        assert_eq!(adts.config.adts_head(338).unwrap(), real[..7]);
        for (channels, payload) in [(1, 0), (8, 8184)] {
            let config = Config::low_complexity(7350, channels);
            let adts = Adts::parse(&config.adts_head(payload).unwrap()).unwrap();
            assert_eq!((adts.config, adts.frame_bytes), (config, payload + 7));
        }
        // HE-AAC goes out as its core.
        let config = Config::parse(&hex(cases::ASC_SBR)).unwrap();
        let adts = Adts::parse(&config.adts_head(10).unwrap()).unwrap();
        assert_eq!((adts.config.sample_rate, adts.config.object_type), (22_050, OBJECT_LC));
    }

    #[test]
    fn what_adts_cannot_say_is_refused() {
        assert!(matches!(
            Config::low_complexity(48_000, 2).adts_head(8185),
            Err(Error::TooLong { bytes: 8192, .. })
        ));
        assert!(Config::low_complexity(44_056, 2).adts_head(1).is_err());
        assert!(Config::low_complexity(48_000, 0).adts_head(1).is_err());
        assert!(Config::parse(&[]).is_err());
        assert!(Adts::parse(&[0xff, 0xf1, 0x50, 0x80, 0, 0x1f, 0xfc]).is_err());
    }
}
