//! AAC as MPEG4-GENERIC (RFC 3640), in all its modes: any lengths of the header fields, several access units a packet, one unit
//! in several packets.
//!
//! Interleaved units get their right times and stay in the order of the packets: nothing that sends live sound interleaves.
//! Other streams of MPEG4-GENERIC than AAC are none of this module.

use super::limits::SOUND_BYTES_MAX;
use super::sound::Sound;
use super::{Gap, Payload, PayloadFormat, Setup, Units, Unpack};
use crate::codec::Error;
use crate::codec::aac::{Adts, Config};
use crate::codec::bits::BitReader;
use crate::media::{Codec, Format};

/// State of one track.
#[derive(Debug)]
pub(super) struct Aac {
    heads: Heads,
    sound: Sound,
    /// Samples of an access unit.
    frame_samples: u32,
    /// Of the description, for sound that says nothing about itself.
    clock_rate: u32,
    channels: u32,
    /// A unit that comes in fragments, and how long it will be.
    fragments: Vec<u8>,
    fragments_bytes: usize,
    fragments_timestamp: i64,
    unreadable: u64,
}

/// Which fields an AU header has, in bits (3.2.1 and 4.1).
#[derive(Clone, Copy, Debug, Default)]
struct Heads {
    size: u32,
    index: u32,
    index_delta: u32,
    cts_delta: u32,
    dts_delta: u32,
    random_access: u32,
    stream_state: u32,
    auxiliary_size: u32,
    /// Bytes of every unit, where headers do not tell.
    constant_size: usize,
}

impl Heads {
    fn of(format: &PayloadFormat) -> Self {
        let number = |name| format.parameter(name).and_then(|text| text.trim().parse::<u32>().ok());
        let bits = |name| number(name).unwrap_or(0).min(32);
        let mode = format.parameter("mode").unwrap_or_default().trim().to_ascii_lowercase();
        let heads = Heads {
            size: bits("sizelength"),
            index: bits("indexlength"),
            index_delta: bits("indexdeltalength"),
            cts_delta: bits("ctsdeltalength"),
            dts_delta: bits("dtsdeltalength"),
            random_access: number("randomaccessindication").unwrap_or(0).min(1),
            stream_state: bits("streamstateindication"),
            auxiliary_size: bits("auxiliarydatasizelength"),
            constant_size: number("constantsize").unwrap_or(0) as usize,
        };
        // Cameras leave out what their mode says anyway (3.3.5 and 3.3.6).
        match (heads.size, heads.constant_size, mode.as_str()) {
            (0, 0, "aac-lbr") => Heads {
                size: 6,
                index: 2,
                index_delta: 2,
                ..heads
            },
            (0, 0, _) => Heads {
                size: 13,
                index: 3,
                index_delta: 3,
                ..heads
            },
            _ => heads,
        }
    }

    fn any(&self) -> bool {
        let deltas = self.cts_delta + self.dts_delta;
        self.size + self.index + self.index_delta + deltas + self.random_access + self.stream_state > 0
    }

    /// One header: the unit's size, and its distance to the one before, in units.
    fn read(&self, bits: &mut BitReader<'_>, is_first: IsFirst) -> Result<(usize, u32), Error> {
        let size = bits.bits(self.size, "AU-size")? as usize;
        let distance = match is_first {
            IsFirst::Yes => bits.bits(self.index, "AU-Index").map(|_| 0)?,
            IsFirst::No => bits.bits(self.index_delta, "AU-Index-delta")?.saturating_add(1),
        };
        for (delta, field) in [(self.cts_delta, "CTS-delta"), (self.dts_delta, "DTS-delta")] {
            if delta > 0 && bits.bit(field)? {
                bits.skip(delta as usize, field)?;
            }
        }
        bits.skip((self.random_access + self.stream_state) as usize, "RAP-flag")?;
        Ok((size, distance))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum IsFirst {
    Yes,
    No,
}

impl Aac {
    pub fn new(format: &PayloadFormat) -> Self {
        let mut aac = Aac {
            heads: Heads::of(format),
            sound: Sound::new(format.clock_rate),
            frame_samples: 1024,
            clock_rate: format.clock_rate,
            channels: format.channels,
            fragments: Vec::new(),
            fragments_bytes: 0,
            fragments_timestamp: 0,
            unreadable: 0,
        };
        let record = format
            .parameter("config")
            .and_then(super::text::hex)
            .unwrap_or_default();
        if let Ok(config) = Config::parse(&record) {
            aac.configure(&config, record);
        }
        aac
    }

    fn configure(&mut self, config: &Config, record: Vec<u8>) {
        self.frame_samples = config.frame_samples.into();
        self.sound.set_up(setup(config, record, self.channels));
    }

    /// The description has no configuration: from a head of ADTS, or guessed from what it says of the clock.
    fn guess(&mut self, unit: &[u8]) {
        let config = Adts::parse(unit).map(|adts| adts.config).unwrap_or_else(|_| {
            self.unreadable += 1;
            Config::low_complexity(self.clock_rate, u8::try_from(self.channels).unwrap_or(2).max(1))
        });
        let mut record = Vec::new();
        if config.emit(&mut record).is_ok() && config.sample_rate > 0 {
            self.configure(&config, record);
        }
    }

    fn units(&mut self, payload: &Payload<'_>, out: &mut Units) -> Result<(), Error> {
        let mut bits = BitReader::new(payload.data);
        let mut heads = BitReader::new(&[]);
        if self.heads.any() {
            let count = bits.bits(16, "AU-headers-length")? as usize;
            let bytes = count.div_ceil(8);
            let field = "AU-headers-length";
            let section = bits.rest().get(..bytes).ok_or(Error::Truncated { field, bit: 16 })?;
            heads = BitReader::new(section);
            bits.skip(bytes * 8, field)?;
        }
        if self.heads.auxiliary_size > 0 {
            let count = bits.bits(self.heads.auxiliary_size, "auxiliary-data-size")?;
            bits.skip(count as usize, "auxiliary-data")?;
            bits.align();
        }
        let mut data = bits.rest();
        if !self.sound.is_set_up() {
            self.guess(data);
        }
        let mut is_first = IsFirst::Yes;
        let mut timestamp = payload.timestamp;
        while !data.is_empty() {
            let (stated, distance) = self.next_head(&mut heads, is_first, data)?;
            timestamp = timestamp.saturating_add(self.ticks(distance));
            if is_first == IsFirst::Yes && stated > data.len() {
                self.fragment(payload, stated, data, out);
                return Ok(());
            }
            let field = "AU-size";
            let bit = (payload.data.len() - data.len()) * 8;
            let (unit, rest) = data.split_at_checked(stated).ok_or(Error::Truncated { field, bit })?;
            if is_first == IsFirst::Yes || distance != 1 {
                self.sound.begin(timestamp);
            }
            self.unit(unit, out);
            data = rest;
            is_first = IsFirst::No;
        }
        Ok(())
    }

    /// Without headers a packet is one unit, or units of one size.
    fn next_head(&self, heads: &mut BitReader<'_>, is_first: IsFirst, data: &[u8]) -> Result<(usize, u32), Error> {
        let (size, distance) = if self.heads.any() {
            self.heads.read(heads, is_first)?
        } else {
            (0, u32::from(is_first == IsFirst::No))
        };
        let size = match (self.heads.size, self.heads.constant_size) {
            (0, 0) => data.len(),
            (0, constant) => constant,
            _ => size,
        };
        if size == 0 {
            let field = "AU-size";
            return Err(Error::Illegal {
                field,
                value: 0,
                bit: 0,
            });
        }
        Ok((size, distance))
    }

    /// So many units on the RTP clock.
    fn ticks(&self, units: u32) -> i64 {
        let samples = i64::from(units) * i64::from(self.frame_samples);
        let timescale = self.sound.timescale().unwrap_or(self.clock_rate).max(1);
        samples * i64::from(self.clock_rate) / i64::from(timescale)
    }

    /// A part of a unit of `stated` bytes (3.2.3: alone in its packet).
    fn fragment(&mut self, payload: &Payload<'_>, stated: usize, data: &[u8], out: &mut Units) {
        let goes_on = payload.timestamp == self.fragments_timestamp && stated == self.fragments_bytes;
        if self.fragments.is_empty() || !goes_on {
            self.fragments.clear();
            self.fragments_bytes = stated;
            self.fragments_timestamp = payload.timestamp;
        }
        if stated > SOUND_BYTES_MAX || self.fragments.len() + data.len() > stated {
            self.unreadable += 1;
            self.fragments.clear();
            return;
        }
        self.fragments.extend_from_slice(data);
        if self.fragments.len() == stated {
            let unit = std::mem::take(&mut self.fragments);
            self.sound.begin(payload.timestamp);
            self.unit(&unit, out);
            self.fragments = unit;
            self.fragments.clear();
        }
    }

    /// One unit; with heads of ADTS, which several cameras leave in, as many as there are.
    fn unit(&mut self, mut unit: &[u8], out: &mut Units) {
        while let Ok(adts) = Adts::parse(unit)
            && adts.frame_bytes > adts.head_bytes
            && let Some((frame, rest)) = unit.split_at_checked(adts.frame_bytes)
        {
            let samples = self.frame_samples * u32::from(adts.blocks);
            let raw = &frame[adts.head_bytes..];
            self.sound.push(samples, out, |bytes| bytes.extend_from_slice(raw));
            unit = rest;
        }
        if !unit.is_empty() {
            let samples = self.frame_samples;
            self.sound.push(samples, out, |bytes| bytes.extend_from_slice(unit));
        }
    }
}

/// The setup of this record; `channels` where it does not say how many.
pub(super) fn setup(config: &Config, record: Vec<u8>, channels: u32) -> Setup {
    let channels = match config.output_channels() {
        0 => channels.max(1),
        stated => stated.into(),
    };
    Setup {
        codec: Codec::Aac,
        timescale: config.sample_rate,
        codec_data: record,
        format: Format::Audio {
            sample_rate: config.output_rate(),
            channels,
            sample_bits: 16,
        },
    }
}

impl Unpack for Aac {
    fn packet(&mut self, payload: &Payload<'_>, out: &mut Units) {
        if payload.data.is_empty() {
            return;
        }
        if payload.gap == Gap::Lost {
            self.fragments.clear();
            self.fragments_bytes = 0;
        }
        if self.units(payload, out).is_err() {
            self.unreadable += 1;
        }
    }

    fn flush(&mut self, _out: &mut Units) {
        self.fragments.clear();
    }

    fn unreadable(&self) -> u64 {
        self.unreadable
    }
}
