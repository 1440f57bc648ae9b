//! What all sound has in common: the setup before the first frame, and the times of frames.
//!
//! A track counts in samples; its RTP clock may not, and some senders make its timestamps from nanoseconds (GStreamer). So times
//! go on by counting, as long as the packets agree to a tick of their clock, and are the packets' where they do not.

use super::{Setup, Units, Wholeness};
use crate::media::{Codec, Format};

/// State of one track.
#[derive(Debug)]
pub(super) struct Sound {
    clock_rate: u32,
    setup: Option<Setup>,
    /// [`Sound::setup`] was pushed.
    is_stated: bool,
    /// Of the next frame.
    timestamp: i64,
    /// Where counting has come to.
    counted: Option<i64>,
}

impl Sound {
    /// `clock_rate` is that of the RTP timestamps, not 0.
    pub fn new(clock_rate: u32) -> Self {
        Sound {
            clock_rate: clock_rate.max(1),
            setup: None,
            is_stated: false,
            timestamp: 0,
            counted: None,
        }
    }

    pub fn is_set_up(&self) -> bool {
        self.setup.is_some()
    }

    /// Ticks per second of the frames.
    pub fn timescale(&self) -> Option<u32> {
        self.setup.as_ref().map(|setup| setup.timescale)
    }

    /// What the frames from here on are. `timescale` is not 0.
    pub fn set_up(&mut self, setup: Setup) {
        debug_assert!(setup.timescale > 0, "a track's time has ticks");
        if self.setup.as_ref() != Some(&setup) {
            let goes_on = self.setup.as_ref().is_some_and(|old| old.timescale == setup.timescale);
            if !goes_on {
                self.counted = None;
            }
            self.setup = Some(setup);
            self.is_stated = false;
        }
    }

    /// As [`Sound::set_up`], for codecs without codec data: compared first, as it is asked for every frame.
    pub fn describe(&mut self, codec: Codec, sample_rate: u32, channels: u32, sample_bits: u32) {
        let format = Format::Audio {
            sample_rate,
            channels,
            sample_bits,
        };
        let known = self.setup.as_ref();
        if sample_rate > 0 && !known.is_some_and(|setup| setup.codec == codec && setup.format == format) {
            self.set_up(Setup {
                codec,
                timescale: sample_rate,
                codec_data: Vec::new(),
                format,
            });
        }
    }

    /// The next frame is the first of a packet with this timestamp. Asked behind [`Sound::set_up`].
    pub fn begin(&mut self, timestamp: i64) {
        let Some(setup) = &self.setup else { return };
        let (from, to) = (i64::from(self.clock_rate), i64::from(setup.timescale));
        // To the nearest.
        let wide = i128::from(timestamp) * i128::from(to) * 2 + i128::from(from);
        self.timestamp = wide.div_euclid(i128::from(from) * 2) as i64;
        let tolerance = to / from + 1;
        if let Some(counted) = self.counted
            && self.timestamp.abs_diff(counted) <= tolerance as u64
        {
            self.timestamp = counted;
        }
    }

    /// One frame of `samples`. Without a setup nothing comes out.
    pub fn push(&mut self, samples: u32, out: &mut Units, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(setup) = &self.setup else { return };
        if !self.is_stated {
            self.is_stated = true;
            out.push_setup(setup.clone());
        }
        out.push(self.timestamp, true, Wholeness::Whole, write);
        self.pass(samples);
    }

    /// `samples` go by.
    pub fn pass(&mut self, samples: u32) {
        self.timestamp = self.timestamp.saturating_add(samples.into());
        self.counted = Some(self.timestamp);
    }
}
