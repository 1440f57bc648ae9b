//! `moof` + `mdat` (ISO/IEC 14496-12, 8.8.4 to 8.8.8, 8.8.12).
//!
//! ```text
//! moof ─ mfhd
//!      ├ traf ─ tfhd tfdt trun      video, when it has samples
//!      └ traf ─ tfhd tfdt trun      audio, when it has samples
//! mdat ─ video's samples, audio's samples
//! ```
//!
//! A Smooth fragment (MS-SSTR 2.2.4) has one `traf`, of `tfhd trun` and two `uuid` boxes, `tfxd` and `tfrf`, for its times.

use super::{boxed, full_boxed, put32, put64};

/// One sample of a run; its bytes lie in the run's bytes in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Ticks of the track.
    pub dts: i64,
    /// Ticks until the next sample's decode time.
    pub duration: u32,
    pub offset: i32,
    pub bytes: u32,
    pub key: bool,
}

impl Sample {
    pub fn end(&self) -> i64 {
        self.dts.saturating_add(i64::from(self.duration))
    }

    fn flags(&self) -> u32 {
        if self.key { flags::SYNC } else { flags::NON_SYNC }
    }
}

/// Consecutive samples of one track.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    pub track_id: u32,
    /// What `trex` says of samples that say nothing.
    pub default_flags: u32,
    pub samples: &'a [Sample],
    pub bytes: &'a [u8],
}

/// Sample flags and the box flags that say which fields are there.
pub mod flags {
    /// Depends on no other sample.
    pub const SYNC: u32 = 0x0200_0000;
    /// Depends on others, `sample_is_non_sync_sample`.
    pub const NON_SYNC: u32 = 0x0101_0000;

    pub const TFHD_DURATION: u32 = 0x08;
    pub const TFHD_SIZE: u32 = 0x10;
    pub const TFHD_FLAGS: u32 = 0x20;
    pub const TFHD_BASE_IS_MOOF: u32 = 0x02_0000;

    pub const TRUN_DATA_OFFSET: u32 = 0x001;
    pub const TRUN_FIRST_FLAGS: u32 = 0x004;
    pub const TRUN_DURATION: u32 = 0x100;
    pub const TRUN_SIZE: u32 = 0x200;
    pub const TRUN_FLAGS: u32 = 0x400;
    pub const TRUN_OFFSET: u32 = 0x800;
}

/// The times of a Smooth fragment, in the manifest's timescale.
#[derive(Clone, Copy, Debug)]
pub struct SmoothTimes<'a> {
    /// When its first sample is shown.
    pub time: u64,
    pub duration: u64,
    /// The same of fragments that follow, at most 255.
    pub following: &'a [(u64, u64)],
}

/// Appends one chunk. Runs without samples are left out; at least one has some.
pub fn write_chunk(out: &mut Vec<u8>, sequence_number: u32, runs: [Run<'_>; 2]) {
    write_runs(out, sequence_number, runs, None);
}

/// Appends one fragment of Smooth Streaming. Players make a `trex` of their own: nothing is left to it.
pub fn write_smooth(out: &mut Vec<u8>, sequence_number: u32, run: Run<'_>, times: SmoothTimes<'_>) {
    let run = Run {
        default_flags: 0,
        ..run
    };
    let none = Run { samples: &[], ..run };
    write_runs(out, sequence_number, [run, none], Some(times));
}

fn write_runs(out: &mut Vec<u8>, sequence_number: u32, runs: [Run<'_>; 2], times: Option<SmoothTimes<'_>>) {
    let moof = out.len();
    let mut data_offset_at = [None; 2];
    boxed(out, b"moof", |out| {
        full_boxed(out, b"mfhd", 0, 0, |out| put32(out, sequence_number));
        for (at, run) in data_offset_at.iter_mut().zip(&runs) {
            if !run.samples.is_empty() {
                *at = Some(write_traf(out, run, times));
            }
        }
    });
    debug_assert!(data_offset_at.iter().any(Option::is_some));
    boxed(out, b"mdat", |out| {
        for (at, run) in data_offset_at.iter().zip(&runs) {
            let Some(at) = *at else { continue };
            debug_assert_eq!(
                run.bytes.len() as u64,
                run.samples.iter().map(|sample| u64::from(sample.bytes)).sum::<u64>()
            );
            let data_offset =
                i32::try_from(out.len() - moof).expect("a chunk's bytes are bounded in limits.rs below 2 GiB");
            out[at..at + 4].copy_from_slice(&data_offset.to_be_bytes());
            out.extend_from_slice(run.bytes);
        }
    });
}

/// Returns where `data_offset` is to be filled in.
fn write_traf(out: &mut Vec<u8>, run: &Run<'_>, times: Option<SmoothTimes<'_>>) -> usize {
    let fields = Fields::of(run);
    let first = run.samples[0];
    let mut data_offset_at = 0;
    boxed(out, b"traf", |out| {
        full_boxed(out, b"tfhd", 0, flags::TFHD_BASE_IS_MOOF | fields.tfhd, |out| {
            put32(out, run.track_id);
            for (flag, value) in [
                (flags::TFHD_DURATION, first.duration),
                (flags::TFHD_SIZE, first.bytes),
                (flags::TFHD_FLAGS, first.flags()),
            ] {
                if fields.tfhd & flag != 0 {
                    put32(out, value);
                }
            }
        });
        if times.is_none() {
            let dts = u64::try_from(first.dts).expect("the muxers shift time so that none is before zero");
            full_boxed(out, b"tfdt", 1, 0, |out| put64(out, dts));
        }
        full_boxed(out, b"trun", 1, flags::TRUN_DATA_OFFSET | fields.trun, |out| {
            put32(out, run.samples.len() as u32);
            data_offset_at = out.len();
            put32(out, 0);
            if fields.trun & flags::TRUN_FIRST_FLAGS != 0 {
                put32(out, first.flags());
            }
            for sample in run.samples {
                write_sample(out, fields.trun, sample);
            }
        });
        if let Some(times) = times {
            write_times(out, times);
        }
    });
    data_offset_at
}

/// `tfxd` and `tfrf`, both of 64 bits. The second is there with nothing in it as well: dash.js reports a live fragment
/// without one as an error.
fn write_times(out: &mut Vec<u8>, times: SmoothTimes<'_>) {
    boxed(out, b"uuid", |out| {
        out.extend_from_slice(&TFXD);
        put32(out, 1 << 24);
        put64(out, times.time);
        put64(out, times.duration);
    });
    boxed(out, b"uuid", |out| {
        out.extend_from_slice(&TFRF);
        put32(out, 1 << 24);
        out.push(u8::try_from(times.following.len()).expect("limits.rs bounds what follows"));
        for &(time, duration) in times.following {
            put64(out, time);
            put64(out, duration);
        }
    });
}

fn write_sample(out: &mut Vec<u8>, trun: u32, sample: &Sample) {
    for (flag, value) in [
        (flags::TRUN_DURATION, sample.duration),
        (flags::TRUN_SIZE, sample.bytes),
        (flags::TRUN_FLAGS, sample.flags()),
        (flags::TRUN_OFFSET, sample.offset as u32),
    ] {
        if trun & flag != 0 {
            put32(out, value);
        }
    }
}

/// Which fields a run needs: once in `tfhd` when all samples agree, per sample in `trun` when they vary.
struct Fields {
    tfhd: u32,
    trun: u32,
}

impl Fields {
    fn of(run: &Run<'_>) -> Self {
        let (first, rest) = run.samples.split_first().expect("a run has samples");
        let mut fields = Fields { tfhd: 0, trun: 0 };
        if rest.iter().all(|sample| sample.duration == first.duration) {
            fields.tfhd |= flags::TFHD_DURATION;
        } else {
            fields.trun |= flags::TRUN_DURATION;
        }
        if rest.iter().all(|sample| sample.bytes == first.bytes) {
            fields.tfhd |= flags::TFHD_SIZE;
        } else {
            fields.trun |= flags::TRUN_SIZE;
        }
        if rest.iter().all(|sample| sample.flags() == run.default_flags) {
            if first.flags() != run.default_flags {
                fields.trun |= flags::TRUN_FIRST_FLAGS;
            }
        } else if rest.iter().all(|sample| sample.key == first.key) {
            fields.tfhd |= flags::TFHD_FLAGS;
        } else {
            fields.trun |= flags::TRUN_FLAGS;
        }
        if run.samples.iter().any(|sample| sample.offset != 0) {
            fields.trun |= flags::TRUN_OFFSET;
        }
        fields
    }
}

/// MS-SSTR 2.2.4.4.
pub const TFXD: [u8; 16] = [
    0x6D, 0x1D, 0x9B, 0x05, 0x42, 0xD5, 0x44, 0xE6, 0x80, 0xE2, 0x14, 0x1D, 0xAF, 0xF7, 0x57, 0xB2,
];
/// MS-SSTR 2.2.4.5.
pub const TFRF: [u8; 16] = [
    0xD4, 0x80, 0x7E, 0xF2, 0xCA, 0x39, 0x46, 0x95, 0x8E, 0x54, 0x26, 0xCB, 0x9E, 0x46, 0xA7, 0x9F,
];
