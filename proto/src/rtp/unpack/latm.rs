//! AAC as MP4A-LATM (RFC 6416, 7): audioMuxElement (ISO 14496-3, 1.7.3) with the configuration in the description
//! (`cpresent=0`) or in the stream, several frames an element, elements in several packets.
//!
//! One program of one layer, as the RFC has it.

use super::aac::setup;
use super::limits::SOUND_BYTES_MAX;
use super::sound::Sound;
use super::{Gap, Payload, PayloadFormat, Units, Unpack};
use crate::codec::Error;
use crate::codec::aac::Config;
use crate::codec::bits::BitReader;

/// State of one track.
#[derive(Debug)]
pub(super) struct Latm {
    /// The stream says itself how it is muxed.
    is_configured_inside: bool,
    mux: Option<Mux>,
    sound: Sound,
    channels: u32,
    /// Elements that go on in the next packet.
    pending: Vec<u8>,
    timestamp: i64,
    /// An element came in several packets: others will.
    has_fragments: bool,
    /// What comes up to the next marker has lost its beginning.
    is_broken: bool,
    unreadable: u64,
}

/// StreamMuxConfig (1.7.3.1), as far as it says how to read.
#[derive(Clone, Copy, Debug)]
struct Mux {
    /// `numSubFrames` + 1.
    frames: u32,
    frame_samples: u32,
    other_bits: usize,
}

impl Latm {
    pub fn new(format: &PayloadFormat) -> Self {
        let mut latm = Latm {
            is_configured_inside: format.parameter("cpresent").is_none_or(|text| text.trim() != "0"),
            mux: None,
            sound: Sound::new(format.clock_rate),
            channels: format.channels,
            pending: Vec::new(),
            timestamp: 0,
            has_fragments: false,
            is_broken: false,
            unreadable: 0,
        };
        if let Some(mut config) = format.parameter("config").and_then(super::text::hex) {
            // GStreamer's payloader leaves out what follows a configuration with an extension: all of it zeros.
            config.extend([0; 2]);
            // Without it, or with one that cannot be read, every packet is counted.
            let _ = latm.configure(&mut BitReader::new(&config));
        }
        latm
    }

    fn configure(&mut self, bits: &mut BitReader<'_>) -> Result<(), Error> {
        let version = bits.bits(1, "audioMuxVersion")?;
        if version == 1 {
            let bit = bits.position();
            if bits.bit("audioMuxVersionA")? {
                return Err(illegal("audioMuxVersionA", 1, bit));
            }
            read_value(bits, "taraBufferFullness")?;
        }
        bits.bit("allStreamsSameTimeFraming")?;
        let frames = bits.bits(6, "numSubFrames")? + 1;
        let bit = bits.position();
        let others = bits.bits(7, "numProgram")?;
        if others != 0 {
            return Err(illegal("numProgram", others.into(), bit));
        }
        let (config, record) = read_config(bits, version)?;
        let bit = bits.position();
        let kind = bits.bits(3, "frameLengthType")?;
        if kind != 0 {
            return Err(illegal("frameLengthType", kind.into(), bit));
        }
        bits.skip(8, "latmBufferFullness")?;
        let mut other_bits = 0usize;
        if bits.bit("otherDataPresent")? {
            other_bits = if version == 1 {
                read_value(bits, "otherDataLenBits")? as usize
            } else {
                let mut sum = 0usize;
                loop {
                    let more = bits.bit("otherDataLenEsc")?;
                    sum = sum << 8 | usize::from(bits.byte("otherDataLenTmp")?);
                    if !more || sum > SOUND_BYTES_MAX * 8 {
                        break sum;
                    }
                }
            };
        }
        if bits.bit("crcCheckPresent")? {
            bits.skip(8, "crcCheckSum")?;
        }
        self.mux = Some(Mux {
            frames,
            frame_samples: config.frame_samples.into(),
            other_bits,
        });
        self.sound.set_up(setup(&config, record, self.channels));
        Ok(())
    }

    fn elements(&mut self, elements: &[u8], out: &mut Units) -> Result<(), Error> {
        let mut bits = BitReader::new(elements);
        let mut is_first = true;
        while bits.remaining() > 0 {
            if self.is_configured_inside && !bits.bit("useSameStreamMux")? {
                self.configure(&mut bits)?;
            }
            let Some(mux) = self.mux else {
                return Err(illegal("StreamMuxConfig", 0, bits.position()));
            };
            if is_first {
                self.sound.begin(self.timestamp);
                is_first = false;
            }
            for _ in 0..mux.frames {
                let bytes = read_length(&mut bits)?;
                let mut payload = bits.clone();
                bits.skip(bytes * 8, "payload")?;
                self.sound.push(mux.frame_samples, out, |out| {
                    if payload.position().is_multiple_of(8) {
                        out.extend_from_slice(&payload.rest()[..bytes]);
                    } else {
                        out.extend((0..bytes).map_while(|_| payload.byte("payload").ok()));
                    }
                });
            }
            bits.skip(mux.other_bits, "otherData")?;
            bits.align();
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Units) {
        let elements = std::mem::take(&mut self.pending);
        if self.elements(&elements, out).is_err() {
            self.unreadable += 1;
        }
        self.pending = elements;
        self.pending.clear();
    }
}

impl Unpack for Latm {
    fn packet(&mut self, payload: &Payload<'_>, out: &mut Units) {
        if payload.gap == Gap::Lost {
            // Where an element begins is only sure behind a marker.
            self.is_broken |= !self.pending.is_empty() || !payload.marker || self.has_fragments;
            self.pending.clear();
        }
        self.has_fragments |= !payload.marker;
        if payload.timestamp != self.timestamp {
            if !self.pending.is_empty() {
                self.finish(out);
            }
            self.timestamp = payload.timestamp;
        }
        if !self.is_broken {
            if self.pending.len() + payload.data.len() > SOUND_BYTES_MAX {
                self.unreadable += 1;
                self.pending.clear();
                self.is_broken = true;
            }
            self.pending.extend_from_slice(payload.data);
        }
        if payload.marker {
            if self.is_broken {
                self.is_broken = false;
                self.pending.clear();
            } else {
                self.finish(out);
            }
        }
    }

    fn flush(&mut self, out: &mut Units) {
        self.finish(out);
    }

    fn unreadable(&self) -> u64 {
        self.unreadable
    }
}

/// PayloadLengthInfo (1.7.3.2): bytes that are added up to the first that is not 255.
fn read_length(bits: &mut BitReader<'_>) -> Result<usize, Error> {
    let mut bytes = 0;
    loop {
        let byte = bits.byte("MuxSlotLengthBytes")?;
        bytes += usize::from(byte);
        if byte != 0xff {
            return Ok(bytes);
        }
    }
}

/// LatmGetValue (1.7.3.1).
fn read_value(bits: &mut BitReader<'_>, field: &'static str) -> Result<u32, Error> {
    let bytes = bits.bits(2, field)? + 1;
    bits.bits(bytes * 8, field)
}

/// The AudioSpecificConfig, which begins at any bit, and its bits as a record.
fn read_config(bits: &mut BitReader<'_>, version: u32) -> Result<(Config, Vec<u8>), Error> {
    let mut stated = None;
    if version == 1 {
        stated = Some(read_value(bits, "ascLen")? as usize);
    }
    let mut copy = bits.clone();
    let begin = bits.position();
    let config = Config::read(bits)?;
    let mut count = bits.position() - begin;
    if let Some(stated) = stated {
        let fill = stated
            .checked_sub(count)
            .ok_or(illegal("ascLen", stated as u64, begin))?;
        bits.skip(fill, "fillBits")?;
        count = stated;
    }
    let mut record = Vec::new();
    while count > 0 && record.len() < RECORD_BYTES_MAX {
        let taken = count.min(8);
        let part = copy.bits(taken as u32, "AudioSpecificConfig")?;
        record.push((part << (8 - taken)) as u8);
        count -= taken;
    }
    Ok((config, record))
}

fn illegal(field: &'static str, value: u64, bit: usize) -> Error {
    Error::Illegal { field, value, bit }
}

/// With a program_config_element and its comment.
const RECORD_BYTES_MAX: usize = 512;
