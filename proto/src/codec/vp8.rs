//! VP8: the uncompressed part of a frame header (RFC 6386, 9.1).

use super::Error;

pub const CODEC_STRING: &str = "vp8";

/// Whether a decoder can start at `frame`.
pub fn is_key(frame: &[u8]) -> bool {
    frame.first().is_some_and(|head| head & 1 == 0)
}

/// What a key frame says about the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFrame {
    /// `version`, 0 to 3.
    pub profile: u8,
    pub width: u32,
    pub height: u32,
}

impl KeyFrame {
    pub fn parse(frame: &[u8]) -> Result<Self, Error> {
        let Some(&[tag, _, _, a, b, c, w0, w1, h0, h1]) = frame.first_chunk() else {
            let bit = frame.len() * 8;
            let field = "frame header";
            return Err(Error::Truncated { field, bit });
        };
        if tag & 1 != 0 {
            return Err(illegal("key_frame", 1, 7));
        }
        if [a, b, c] != [0x9d, 0x01, 0x2a] {
            return Err(illegal("start_code", u32::from_be_bytes([0, a, b, c]).into(), 24));
        }
        // Two bits of each are a scale.
        let width = u32::from(u16::from_le_bytes([w0, w1]) & 0x3fff);
        let height = u32::from(u16::from_le_bytes([h0, h1]) & 0x3fff);
        if width == 0 || height == 0 {
            return Err(illegal("width or height", 0, 48));
        }
        Ok(KeyFrame {
            profile: tag >> 1 & 7,
            width,
            height,
        })
    }
}

fn illegal(field: &'static str, value: u64, bit: usize) -> Error {
    Error::Illegal { field, value, bit }
}

#[cfg(test)]
mod tests {
    use super::super::cases::{VP8_INTER, VP8_KEY, hex};
    use super::*;

    #[test]
    fn a_key_frame_states_its_size() {
        let expected = KeyFrame {
            profile: 0,
            width: 1918,
            height: 1078,
        };
        assert_eq!(KeyFrame::parse(&hex(VP8_KEY)), Ok(expected));
        assert!(is_key(&hex(VP8_KEY)));
        assert!(!is_key(&hex(VP8_INTER)));
        assert!(!is_key(&[]));
        assert_eq!(KeyFrame::parse(&hex(VP8_INTER)), Err(illegal("key_frame", 1, 7)));
        assert!(matches!(
            KeyFrame::parse(&hex(VP8_KEY)[..9]),
            Err(Error::Truncated { .. })
        ));
    }
}
