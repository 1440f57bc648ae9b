//! AC-3 and E-AC-3 sync frames (ETSI TS 102 366, 4.3, 5.3 and E.1.2), and the dac3 and dec3 records of MP4 (annex F).

use super::Error;
use super::bits::BitReader;

/// The head of one sync frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncFrame {
    /// E-AC-3: `bsid` above 10.
    pub enhanced: bool,
    /// Hz.
    pub sample_rate: u32,
    /// Without and with the low frequency channel.
    pub channels: u8,
    /// Per channel: 1,536, fewer in E-AC-3 with fewer than six blocks.
    pub frame_samples: u32,
    pub frame_bytes: usize,
    pub fscod: u8,
    pub bsid: u8,
    /// 0 when E-AC-3 leaves it out.
    pub bsmod: u8,
    pub acmod: u8,
    pub lfe: bool,
    /// `frmsizecod >> 1` of AC-3, for dac3; 0 in E-AC-3.
    pub bit_rate_code: u8,
    /// `strmtyp` of E-AC-3: 1 is a dependent substream, which adds channels to the frame before it.
    pub stream_type: u8,
    pub substream: u8,
}

impl SyncFrame {
    /// `bytes` begin with a sync frame; it need not be there whole.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut bits = BitReader::new(bytes);
        let sync = bits.bits(16, "syncword")?;
        if sync != 0x0b77 {
            return Err(illegal("syncword", sync.into(), 0));
        }
        // Both forms have bsid at the same place.
        let mut ahead = bits.clone();
        ahead.skip(24, "crc1")?;
        let bsid = ahead.bits(5, "bsid")? as u8;
        match bsid {
            0..=10 => Self::read_plain(&mut bits, bsid),
            11..=16 => Self::read_enhanced(&mut bits, bsid),
            _ => Err(illegal("bsid", bsid.into(), 40)),
        }
    }

    fn read_plain(bits: &mut BitReader<'_>, bsid: u8) -> Result<Self, Error> {
        bits.skip(16, "crc1")?;
        let fscod = bits.bits(2, "fscod")? as u8;
        let Some(&sample_rate) = SAMPLE_RATES.get(usize::from(fscod)) else {
            return Err(illegal("fscod", fscod.into(), 32));
        };
        let size_code = bits.bits(6, "frmsizecod")?;
        let Some(&kilobits) = KILOBITS.get(size_code as usize / 2) else {
            return Err(illegal("frmsizecod", size_code.into(), 34));
        };
        bits.skip(5, "bsid")?;
        let bsmod = bits.bits(3, "bsmod")? as u8;
        let acmod = bits.bits(3, "acmod")? as u8;
        if acmod & 1 == 1 && acmod != 1 {
            bits.skip(2, "cmixlev")?;
        }
        if acmod & 4 != 0 {
            bits.skip(2, "surmixlev")?;
        }
        if acmod == 2 {
            bits.skip(2, "dsurmod")?;
        }
        let lfe = bits.bit("lfeon")?;
        // Words of two bytes in 1,536 samples; the odd code of 44.1 kHz has one more.
        let padding = if fscod == 1 { size_code & 1 } else { 0 };
        let words = kilobits * 1000 * 1536 / 16 / sample_rate + padding;
        // bsid 9 and 10 halve and quarter the rate.
        let halvings = bsid.saturating_sub(8);
        Ok(SyncFrame {
            enhanced: false,
            sample_rate: sample_rate >> halvings,
            channels: ACMOD_CHANNELS[usize::from(acmod)] + u8::from(lfe),
            frame_samples: 1536,
            frame_bytes: words as usize * 2,
            fscod,
            bsid,
            bsmod,
            acmod,
            lfe,
            bit_rate_code: (size_code >> 1) as u8,
            stream_type: 0,
            substream: 0,
        })
    }

    fn read_enhanced(bits: &mut BitReader<'_>, bsid: u8) -> Result<Self, Error> {
        let stream_type = bits.bits(2, "strmtyp")? as u8;
        let substream = bits.bits(3, "substreamid")? as u8;
        let frame_bytes = (bits.bits(11, "frmsiz")? as usize + 1) * 2;
        let fscod = bits.bits(2, "fscod")? as u8;
        let code = bits.bits(2, "numblkscod")?;
        let (sample_rate, blocks) = match (fscod, code) {
            (3, 3) => return Err(illegal("fscod2", 3, 34)),
            (3, half) => (SAMPLE_RATES[half as usize] / 2, 6),
            (full, blocks) => (SAMPLE_RATES[usize::from(full)], [1, 2, 3, 6][blocks as usize]),
        };
        let acmod = bits.bits(3, "acmod")? as u8;
        let lfe = bits.bit("lfeon")?;
        Ok(SyncFrame {
            enhanced: true,
            sample_rate,
            channels: ACMOD_CHANNELS[usize::from(acmod)] + u8::from(lfe),
            frame_samples: blocks * 256,
            frame_bytes,
            fscod,
            bsid,
            // Behind fields that few streams have; 0 is "complete main", which is what is streamed.
            bsmod: 0,
            acmod,
            lfe,
            bit_rate_code: 0,
            stream_type,
            substream,
        })
    }

    /// Bits per second, if all frames are as long as this one.
    pub fn bitrate(&self) -> u32 {
        let bits = self.frame_bytes as u64 * 8 * u64::from(self.sample_rate);
        (bits / u64::from(self.frame_samples)) as u32
    }

    /// The body of dac3.
    pub fn dac3(&self) -> [u8; 3] {
        let packed = u32::from(self.fscod) << 22
            | u32::from(self.bsid) << 17
            | u32::from(self.bsmod) << 14
            | u32::from(self.acmod) << 11
            | u32::from(self.lfe) << 10
            | u32::from(self.bit_rate_code) << 5;
        let [_, a, b, c] = packed.to_be_bytes();
        [a, b, c]
    }

    /// The body of dec3 for one independent substream without dependent ones.
    pub fn dec3(&self) -> [u8; 5] {
        let kilobits = (self.bitrate() / 1000).min((1 << 13) - 1);
        let packed = u64::from(kilobits) << 27
            | u64::from(self.fscod) << 22
            | u64::from(self.bsid) << 17
            | u64::from(self.bsmod) << 12
            | u64::from(self.acmod) << 9
            | u64::from(self.lfe) << 8;
        let [_, _, _, a, b, c, d, e] = packed.to_be_bytes();
        [a, b, c, d, e]
    }

    /// `ac-3` or `ec-3`.
    pub fn codec_string(&self) -> &'static str {
        if self.enhanced { "ec-3" } else { "ac-3" }
    }
}

fn illegal(field: &'static str, value: u64, bit: usize) -> Error {
    Error::Illegal { field, value, bit }
}

const SAMPLE_RATES: [u32; 3] = [48_000, 44_100, 32_000];

/// Table 4.13.
const KILOBITS: [u32; 19] = [
    32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640,
];

/// Full-bandwidth channels by `acmod`.
const ACMOD_CHANNELS: [u8; 8] = [2, 1, 2, 3, 3, 4, 4, 5];

#[cfg(test)]
mod tests {
    use super::super::cases::{AC3, AC3_44, EAC3, hex};
    use super::*;

    #[test]
    fn sync_frames_state_their_length_and_make_ffmpegs_records() {
        let frame = SyncFrame::parse(&hex(AC3)).unwrap();
        assert_eq!(
            (frame.sample_rate, frame.channels, frame.frame_bytes),
            (48_000, 6, 1792)
        );
        assert_eq!(
            (frame.frame_samples, frame.bitrate(), frame.codec_string()),
            (1536, 448_000, "ac-3")
        );
        assert_eq!(frame.dac3(), [0x10, 0x3d, 0xe0]);
        let frame = SyncFrame::parse(&hex(EAC3)).unwrap();
        assert_eq!(
            (frame.sample_rate, frame.channels, frame.frame_bytes),
            (48_000, 6, 1792)
        );
        assert_eq!(
            (frame.frame_samples, frame.bitrate(), frame.codec_string()),
            (1536, 448_000, "ec-3")
        );
        assert_eq!(frame.dec3(), [0x0e, 0x00, 0x20, 0x0f, 0x00]);
        let frame = SyncFrame::parse(&hex(AC3_44)).unwrap();
        assert_eq!((frame.sample_rate, frame.channels, frame.frame_bytes), (44_100, 2, 834));
    }

    #[test]
    fn reserved_values_are_refused() {
        for frame in [
            "",
            "0b77",
            "770bd0f81e40ebf8",
            "0b77d0f8de40ebf8",
            "0b77d0f83e40ebf8",
            "0b77d0f81e90ebf8",
        ] {
            assert!(SyncFrame::parse(&hex(frame)).is_err(), "{frame}");
        }
    }
}
