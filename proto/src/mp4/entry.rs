//! Sample entries (`stsd`): what a decoder must know of a track, made from its codec data and, for codecs that have none, from
//! its first frame.
//!
//! Configuration records (avcC, hvcC, av1C, vpcC, STREAMINFO) are carried over byte for byte; only their NAL length size is
//! set to the four bytes that frames have in this house.

use mp4_atom::{
    Ac3SpecificBox, Audio, Ec3IndependentSubstream, Ec3SpecificBox, Encode, Esds, Visual,
    esds::{DecoderConfig, DecoderSpecific, EsDescriptor, SLConfig},
};

use super::wire::{boxed, full_boxed, put, put16, put32};
use crate::{
    codec::{ac3::SyncFrame, av1, h264, hevc, vp9},
    media::{Codec, Format, Kind, Track},
};

/// The sample entry of `track`, a whole box, or nothing when MP4 cannot carry the track. `first_frame` may be empty: then what
/// only a frame tells is the codec's usual value.
pub fn entry(track: &Track, first_frame: &[u8]) -> Option<Vec<u8>> {
    match track.kind() {
        Kind::Video => video_entry(track, first_frame),
        Kind::Audio => audio_entry(track, first_frame),
        Kind::Meta => None,
    }
}

fn video_entry(track: &Track, first_frame: &[u8]) -> Option<Vec<u8>> {
    let data = &track.codec_data[..];
    let mut out = Vec::new();
    match track.codec {
        Codec::H264 => {
            let record = with_length_size(data, 4, AVCC_BYTES_MIN)?;
            visual(&mut out, b"avc1", track, |out| {
                boxed(out, b"avcC", |out| out.extend_from_slice(&record))
            });
        }
        Codec::Hevc => {
            let record = with_length_size(data, 21, HVCC_BYTES_MIN)?;
            visual(&mut out, b"hvc1", track, |out| {
                boxed(out, b"hvcC", |out| out.extend_from_slice(&record))
            });
        }
        Codec::Av1 => {
            // Marker bit and version 1 (AV1-ISOBMFF 2.3).
            if data.len() < 4 || data[0] != 0x81 {
                return None;
            }
            visual(&mut out, b"av01", track, |out| {
                boxed(out, b"av1C", |out| out.extend_from_slice(data))
            });
        }
        Codec::Vp9 => {
            let frame_rate = match track.format {
                Format::Video { frame_rate, .. } => frame_rate,
                _ => 0.0,
            };
            let record = vpcc(data, first_frame, frame_rate)?;
            visual(&mut out, b"vp09", track, |out| {
                full_boxed(out, b"vpcC", 1, 0, |out| out.extend_from_slice(&record));
            });
        }
        _ => return None,
    }
    Some(out)
}

fn audio_entry(track: &Track, first_frame: &[u8]) -> Option<Vec<u8>> {
    let data = &track.codec_data[..];
    let mut out = Vec::new();
    match track.codec {
        Codec::Aac => {
            // Object type and frequency index need two bytes (14496-3, 1.6.2.1).
            if data.len() < 2 {
                return None;
            }
            audio(&mut out, b"mp4a", track, |out| {
                put(out, &esds(track, OBJECT_TYPE_AAC, Some(data)))
            });
        }
        Codec::Mp3 => audio(&mut out, b"mp4a", track, |out| {
            put(out, &esds(track, OBJECT_TYPE_MP3, None))
        }),
        Codec::Opus => {
            let record = dops(track)?;
            audio(&mut out, b"Opus", track, |out| {
                boxed(out, b"dOps", |out| out.extend_from_slice(&record))
            });
        }
        Codec::Flac => {
            let info = stream_info(data)?;
            audio(&mut out, b"fLaC", track, |out| {
                full_boxed(out, b"dfLa", 0, 0, |out| {
                    // Last block, type STREAMINFO.
                    put32(out, 0x8000_0000 | FLAC_STREAM_INFO_BYTES as u32);
                    out.extend_from_slice(info);
                });
            });
        }
        Codec::Ac3 => audio(&mut out, b"ac-3", track, |out| put(out, &dac3(track, first_frame))),
        Codec::Eac3 => audio(&mut out, b"ec-3", track, |out| put(out, &dec3(track, first_frame))),
        _ => return None,
    }
    Some(out)
}

/// `entry` with a `btrt` behind its configuration (14496-12, 8.5.2), when the track's bitrate is known.
pub fn with_bitrate(entry: &[u8], track: &Track) -> Vec<u8> {
    let mut entry = entry.to_vec();
    if track.bitrate_hint > 0 {
        boxed(&mut entry, b"btrt", |out| {
            // bufferSizeDB 0: not stated
            for field in [0, track.bitrate_hint, track.bitrate_hint] {
                put32(out, field);
            }
        });
        let bytes = u32::try_from(entry.len()).expect("an entry is smaller than its codec data's bound and some boxes");
        entry[..4].copy_from_slice(&bytes.to_be_bytes());
    }
    entry
}

/// Whether the entry says more once a frame is there.
pub fn wants_first_frame(track: &Track) -> bool {
    match track.codec {
        Codec::Ac3 | Codec::Eac3 => true,
        Codec::Vp9 => track.codec_data.is_empty(),
        _ => false,
    }
}

/// Width and height in pixels, zero where unknown or not a picture: as the publisher says, else as the codec does.
pub fn dimensions(track: &Track, first_frame: &[u8]) -> (u32, u32) {
    match track.format {
        Format::Video { width, height, .. } if width > 0 && height > 0 => (width, height),
        Format::Video { .. } => coded_dimensions(track, first_frame).unwrap_or((0, 0)),
        Format::Audio { .. } | Format::Meta => (0, 0),
    }
}

fn coded_dimensions(track: &Track, first_frame: &[u8]) -> Option<(u32, u32)> {
    let data = &track.codec_data[..];
    match track.codec {
        Codec::H264 => {
            let sps = h264::Sps::parse(h264::Config::parse(data).ok()?.sps().next()?).ok()?;
            Some((sps.width, sps.height))
        }
        Codec::Hevc => {
            let sps = hevc::Sps::parse(hevc::Config::parse(data).ok()?.sps().next()?).ok()?;
            Some((sps.width, sps.height))
        }
        Codec::Av1 => {
            let sequence = av1::Config::parse(data).ok()?.sequence()?;
            Some((sequence.width, sequence.height))
        }
        Codec::Vp9 => {
            let key_frame = vp9::KeyFrame::parse(first_frame).ok()?;
            Some((key_frame.width, key_frame.height))
        }
        _ => None,
    }
}

fn visual(out: &mut Vec<u8>, kind: &[u8; 4], track: &Track, configuration: impl FnOnce(&mut Vec<u8>)) {
    let (width, height) = dimensions(track, &[]);
    boxed(out, kind, |out| {
        encode(
            out,
            &Visual {
                data_reference_index: 1,
                width: u16::try_from(width).unwrap_or(u16::MAX),
                height: u16::try_from(height).unwrap_or(u16::MAX),
                ..Visual::default()
            },
        );
        configuration(out);
    });
}

fn audio(out: &mut Vec<u8>, kind: &[u8; 4], track: &Track, configuration: impl FnOnce(&mut Vec<u8>)) {
    let (sample_rate, channels, sample_bits) = audio_format(track);
    boxed(out, kind, |out| {
        encode(
            out,
            &Audio {
                data_reference_index: 1,
                channel_count: channels,
                sample_size: if track.codec == Codec::Flac { sample_bits } else { 16 },
                // 16 bits of integer: higher rates are told by the configuration only.
                sample_rate: u16::try_from(sample_rate).unwrap_or(0).into(),
            },
        );
        configuration(out);
    });
}

/// Sample rate, channels and bits, with the usual values where nothing is known.
fn audio_format(track: &Track) -> (u32, u16, u16) {
    let Format::Audio {
        sample_rate,
        channels,
        sample_bits,
    } = track.format
    else {
        return (track.timescale, 2, 16);
    };
    (
        if sample_rate > 0 { sample_rate } else { track.timescale },
        u16::try_from(channels)
            .ok()
            .filter(|&channels| channels > 0)
            .unwrap_or(2),
        u16::try_from(sample_bits).ok().filter(|&bits| bits > 0).unwrap_or(16),
    )
}

fn encode(out: &mut Vec<u8>, fields: &impl Encode) {
    fields.encode(out).expect("fixed fields are written to memory");
}

/// A copy of an avcC or hvcC record whose length size, in the low bits at `at`, says four bytes.
fn with_length_size(record: &[u8], at: usize, bytes_min: usize) -> Option<Vec<u8>> {
    if record.len() < bytes_min || record[0] != 1 {
        return None;
    }
    let mut record = record.to_vec();
    record[at] |= 3;
    Some(record)
}

fn esds(track: &Track, object_type_indication: u8, specific: Option<&[u8]>) -> Esds {
    Esds {
        es_desc: EsDescriptor {
            es_id: 0,
            depends_on_es_id: None,
            url: None,
            ocr_es_id: None,
            stream_priority: 0,
            dec_config: DecoderConfig {
                object_type_indication,
                stream_type: STREAM_TYPE_AUDIO,
                up_stream: 0,
                buffer_size_db: Default::default(),
                max_bitrate: track.bitrate_hint,
                avg_bitrate: track.bitrate_hint,
                dec_specific: specific.map(|specific| DecoderSpecific {
                    profile: 0,
                    freq_index: 0,
                    chan_conf: 0,
                    raw: specific.to_vec(),
                }),
            },
            sl_config: SLConfig::default(),
        },
    }
}

/// `OpusHead` (RFC 7845, 5.1; little-endian) as `dOps` (big-endian, version 0).
fn dops(track: &Track) -> Option<Vec<u8>> {
    let mut out = vec![0];
    if track.codec_data.is_empty() {
        let (_, channels, _) = audio_format(track);
        // More than two channels need a mapping table that nobody gave.
        out.push(u8::try_from(channels).ok().filter(|&channels| channels <= 2)?);
        put16(&mut out, 0);
        put32(&mut out, OPUS_RATE);
        put16(&mut out, 0);
        out.push(0);
        return Some(out);
    }
    let head = track.codec_data.strip_prefix(b"OpusHead")?;
    let fixed: &[u8; OPUS_HEAD_FIXED_BYTES] = head.first_chunk()?;
    let &[
        _version,
        channels,
        skip_0,
        skip_1,
        rate_0,
        rate_1,
        rate_2,
        rate_3,
        gain_0,
        gain_1,
        family,
    ] = fixed;
    out.push(channels);
    put16(&mut out, u16::from_le_bytes([skip_0, skip_1]));
    put32(&mut out, u32::from_le_bytes([rate_0, rate_1, rate_2, rate_3]));
    put16(&mut out, u16::from_le_bytes([gain_0, gain_1]));
    out.push(family);
    if family != 0 {
        out.extend_from_slice(head.get(OPUS_HEAD_FIXED_BYTES..OPUS_HEAD_FIXED_BYTES + 2 + usize::from(channels))?);
    }
    Some(out)
}

/// The 34 bytes of STREAMINFO behind `fLaC` and the block's head.
fn stream_info(data: &[u8]) -> Option<&[u8]> {
    data.strip_prefix(b"fLaC")?.get(4..4 + FLAC_STREAM_INFO_BYTES)
}

/// The content of `vpcC` behind version and flags: profile, level, depth and subsampling, colour, no initialisation data.
fn vpcc(data: &[u8], first_frame: &[u8], frame_rate: f64) -> Option<Vec<u8>> {
    if !data.is_empty() {
        // Publishers send it with or without version 1 and flags in front; a bare record cannot begin so, as it would say
        // zero bits per sample.
        let record = data.strip_prefix(&[1, 0, 0, 0]).unwrap_or(data);
        return (record.len() >= VPCC_BYTES).then(|| record.to_vec());
    }
    let Ok(key_frame) = vp9::KeyFrame::parse(first_frame) else {
        return Some(VPCC_USUAL.to_vec());
    };
    let mut record = Vec::new();
    key_frame.config(frame_rate).emit(&mut record);
    // It comes with version and flags in front.
    Some(record.split_off(4))
}

/// `dac3` (ETSI TS 102 366, F.4) from a syncframe (4.3).
fn dac3(track: &Track, frame: &[u8]) -> Ac3SpecificBox {
    ac3_header(frame).unwrap_or_else(|| {
        let (sample_rate, channels, _) = audio_format(track);
        let (acmod, lfeon) = channel_mode(channels);
        Ac3SpecificBox {
            fscod: rate_code(sample_rate),
            bsid: 8,
            bsmod: 0,
            acmod,
            lfeon,
            bit_rate_code: AC3_BIT_RATE_CODE_384K,
        }
    })
}

fn ac3_header(frame: &[u8]) -> Option<Ac3SpecificBox> {
    let head = SyncFrame::parse(frame).ok().filter(|head| !head.enhanced)?;
    Some(Ac3SpecificBox {
        fscod: head.fscod,
        bsid: head.bsid,
        bsmod: head.bsmod,
        acmod: head.acmod,
        lfeon: head.lfe,
        bit_rate_code: head.bit_rate_code,
    })
}

/// `dec3` (ETSI TS 102 366, F.6) from a syncframe (E.1.2).
fn dec3(track: &Track, frame: &[u8]) -> Ec3SpecificBox {
    eac3_header(frame).unwrap_or_else(|| {
        let (sample_rate, channels, _) = audio_format(track);
        let (acmod, lfeon) = channel_mode(channels);
        eac3_box(track.bitrate_hint / 1000, rate_code(sample_rate), 16, acmod, lfeon)
    })
}

fn eac3_header(frame: &[u8]) -> Option<Ec3SpecificBox> {
    let head = SyncFrame::parse(frame).ok().filter(|head| head.enhanced)?;
    Some(eac3_box(
        head.bitrate() / 1000,
        head.fscod,
        head.bsid,
        head.acmod,
        head.lfe,
    ))
}

fn eac3_box(kilobits: u32, fscod: u8, bsid: u8, acmod: u8, lfeon: bool) -> Ec3SpecificBox {
    Ec3SpecificBox {
        data_rate: kilobits.min(EAC3_DATA_RATE_MAX) as u16,
        substreams: vec![Ec3IndependentSubstream {
            fscod,
            bsid,
            asvc: false,
            bsmod: 0,
            acmod,
            lfeon,
            num_dep_sub: 0,
            chan_loc: None,
        }],
    }
}

/// `acmod` and `lfeon` of a number of channels.
fn channel_mode(channels: u16) -> (u8, bool) {
    match channels {
        1 => (1, false),
        2 => (2, false),
        3 => (3, false),
        4 => (6, false),
        5 => (7, false),
        _ => (7, true),
    }
}

fn rate_code(sample_rate: u32) -> u8 {
    AC3_RATES.iter().position(|&rate| rate == sample_rate).unwrap_or(0) as u8
}

/// MPEG-4 audio (ISO/IEC 14496-1, table 5).
const OBJECT_TYPE_AAC: u8 = 0x40;
/// MPEG-1 audio, layer 3 among them.
const OBJECT_TYPE_MP3: u8 = 0x6B;
const STREAM_TYPE_AUDIO: u8 = 5;
/// Fixed fields and both counts.
const AVCC_BYTES_MIN: usize = 7;
const HVCC_BYTES_MIN: usize = 23;
const VPCC_BYTES: usize = 8;
/// Profile 0, level and colour unspecified, 8 bits, 4:2:0, studio range.
const VPCC_USUAL: [u8; VPCC_BYTES] = [0, 0, 0x82, 2, 2, 2, 0, 0];
const FLAC_STREAM_INFO_BYTES: usize = 34;
/// Behind the mark: version to channel mapping family.
const OPUS_HEAD_FIXED_BYTES: usize = 11;
const OPUS_RATE: u32 = 48_000;
const AC3_RATES: [u32; 3] = [48_000, 44_100, 32_000];
const AC3_BIT_RATE_CODE_384K: u8 = 14;
/// 13 bits.
const EAC3_DATA_RATE_MAX: u32 = 8191;
