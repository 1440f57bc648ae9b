//! What a track is, from its codec and its configuration record, or from its first frame where there is no record.

use crate::codec::{aac, ac3, av1, flac, h264, hevc, mp3, nal, opus, vp8, vp9};
use crate::media::{Codec, Format};
use crate::tag::Error;
use crate::tag::limits::CODEC_DATA_BYTES_MAX;

/// What a new track, or a new generation of one, is made from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Setup {
    pub codec: Codec,
    pub timescale: u32,
    pub codec_data: Vec<u8>,
    pub format: Format,
    /// Bytes of a NAL unit's length in the publisher's frames.
    pub length_bytes: u8,
    /// Samples of a frame where the record says it (AAC), otherwise 0.
    pub frame_samples: u32,
}

/// From a configuration record. For H264 and HEVC the record decides which of the two it is: OBS before 29.1 and
/// others send HEVC under AVC's number.
pub(super) fn from_record(codec: Codec, record: &[u8]) -> Result<Setup, Error> {
    if record.len() > CODEC_DATA_BYTES_MAX {
        return Err(Error::Codec(crate::codec::Error::TooLong {
            field: "configuration record",
            bytes: record.len(),
            bytes_max: CODEC_DATA_BYTES_MAX,
        }));
    }
    match codec {
        Codec::H264 | Codec::Hevc if nal::is_annexb(record) => from_parameter_sets(codec, record),
        Codec::H264 | Codec::Hevc if hevc::looks_like_hvcc(record) => hevc_setup(record),
        Codec::H264 | Codec::Hevc => h264_setup(record),
        Codec::Av1 => {
            let config = av1::Config::parse(record)?;
            let size = config
                .sequence()
                .map(|sequence| (sequence.width, sequence.height, sequence.frame_rate));
            Ok(video(Codec::Av1, record.to_vec(), size))
        }
        Codec::Vp9 => {
            let mut codec_data = Vec::new();
            vp9::Config::parse(record)?.emit(&mut codec_data);
            Ok(video(Codec::Vp9, codec_data, None))
        }
        Codec::Vp8 => Ok(video(Codec::Vp8, record.to_vec(), None)),
        Codec::Aac => {
            let config = aac::Config::parse(record)?;
            let mut setup = audio(Codec::Aac, config.sample_rate, config.output_channels().into(), 16);
            setup.codec_data = record.to_vec();
            setup.frame_samples = config.frame_samples.into();
            if let Format::Audio { sample_rate, .. } = &mut setup.format {
                *sample_rate = config.output_rate();
            }
            checked(setup)
        }
        Codec::Opus => {
            let head = opus::Head::parse(record)?;
            let mut setup = audio(Codec::Opus, OPUS_RATE, head.channels.into(), 16);
            setup.codec_data = record.to_vec();
            Ok(setup)
        }
        Codec::Flac => {
            let stream = flac::StreamInfo::parse(record)?;
            let bits = stream.sample_bits.into();
            let mut setup = audio(Codec::Flac, stream.sample_rate, stream.channels.into(), bits);
            stream.emit(&mut setup.codec_data);
            checked(setup)
        }
        // These describe themselves in every frame; a record adds nothing.
        _ => Err(Error::Codec(crate::codec::Error::TooLong {
            field: "configuration record",
            bytes: record.len(),
            bytes_max: 0,
        })),
    }
}

/// From a frame, for codecs that need no record; None when `data` do not tell (no key frame, a codec with a record).
/// `stated` is what the tag says of the samples: Hz, channels, bits.
pub(super) fn from_frame(codec: Codec, data: &[u8], stated: (u32, u32, u32)) -> Option<Setup> {
    let (rate, channels, bits) = stated;
    let setup = match codec {
        Codec::Mp3 => {
            let header = mp3::Header::parse(data).ok()?;
            audio(codec, header.sample_rate, header.channels.into(), 16)
        }
        Codec::Ac3 | Codec::Eac3 => {
            let frame = ac3::SyncFrame::parse(data).ok()?;
            audio(codec, frame.sample_rate, frame.channels.into(), 16)
        }
        Codec::Opus => {
            opus::packet_samples(data).ok()?;
            // The stereo bit of the packet's first byte (RFC 6716, 3.1).
            audio(codec, OPUS_RATE, 1 + u32::from(data.first()? >> 2 & 1), 16)
        }
        // The size bit means the decoded samples here, if anything.
        Codec::Alaw | Codec::Ulaw => audio(codec, rate, channels, 8),
        Codec::Pcm => audio(codec, rate, channels, bits),
        Codec::Vp8 => {
            let frame = vp8::KeyFrame::parse(data).ok()?;
            video(codec, Vec::new(), Some((frame.width, frame.height, 0.0)))
        }
        Codec::Vp9 => {
            let frame = vp9::KeyFrame::parse(data).ok()?;
            video(codec, Vec::new(), Some((frame.width, frame.height, 0.0)))
        }
        // They need a record, or do not come in this message body.
        _ => return None,
    };
    checked(setup).ok()
}

fn h264_setup(record: &[u8]) -> Result<Setup, Error> {
    let mut codec_data = record.to_vec();
    // Three bytes of length are illegal, but some send them; frames leave here with four in any case.
    let length_bytes = codec_data.get(4).map_or(4, |byte| (byte & 3) + 1);
    if let Some(byte) = codec_data.get_mut(4) {
        *byte |= 3;
    }
    let config = h264::Config::parse(&codec_data)?;
    let size = config.sps().find_map(|sps| h264::Sps::parse(sps).ok());
    let size = size.map(|sps| (sps.width, sps.height, sps.frame_rate));
    let mut setup = video(Codec::H264, codec_data, size);
    setup.length_bytes = length_bytes;
    Ok(setup)
}

fn hevc_setup(record: &[u8]) -> Result<Setup, Error> {
    let mut codec_data = record.to_vec();
    let length_bytes = codec_data.get(21).map_or(4, |byte| (byte & 3) + 1);
    if let Some(byte) = codec_data.get_mut(21) {
        *byte |= 3;
    }
    let config = hevc::Config::parse(&codec_data)?;
    let size = config.sps().find_map(|sps| hevc::Sps::parse(sps).ok());
    let size = size.map(|sps| (sps.width, sps.height, sps.frame_rate));
    let mut setup = video(Codec::Hevc, codec_data, size);
    setup.length_bytes = length_bytes;
    Ok(setup)
}

/// Parameter sets behind start codes where a record belongs.
fn from_parameter_sets(codec: Codec, bytes: &[u8]) -> Result<Setup, Error> {
    let of_h264 = |kind| {
        nal::annexb_units(bytes)
            .filter(move |unit| h264::nal_type(unit) == kind)
            .collect::<Vec<_>>()
    };
    let of_hevc = |kind| {
        nal::annexb_units(bytes)
            .filter(move |unit| hevc::nal_type(unit) == kind)
            .collect::<Vec<_>>()
    };
    let mut record = Vec::new();
    if codec == Codec::Hevc || !of_hevc(hevc::NAL_VPS).is_empty() && of_h264(h264::NAL_SPS).is_empty() {
        let (vps, sps, pps) = (of_hevc(hevc::NAL_VPS), of_hevc(hevc::NAL_SPS), of_hevc(hevc::NAL_PPS));
        hevc::build_config(&vps, &sps, &pps, &mut record)?;
        return hevc_setup(&record);
    }
    h264::build_config(&of_h264(h264::NAL_SPS), &of_h264(h264::NAL_PPS), &mut record)?;
    h264_setup(&record)
}

fn video(codec: Codec, codec_data: Vec<u8>, size: Option<(u32, u32, f64)>) -> Setup {
    let (width, height, frame_rate) = size.unwrap_or((0, 0, 0.0));
    Setup {
        codec,
        timescale: VIDEO_TIMESCALE,
        codec_data,
        format: Format::Video {
            width,
            height,
            frame_rate,
        },
        length_bytes: 4,
        frame_samples: 0,
    }
}

fn audio(codec: Codec, sample_rate: u32, channels: u32, sample_bits: u32) -> Setup {
    Setup {
        codec,
        timescale: sample_rate,
        codec_data: Vec::new(),
        format: Format::Audio {
            sample_rate,
            channels,
            sample_bits,
        },
        length_bytes: 4,
        frame_samples: 0,
    }
}

/// A timescale of 0 would divide by it.
fn checked(setup: Setup) -> Result<Setup, Error> {
    if setup.timescale == 0 {
        return Err(Error::Illegal {
            field: "sample rate",
            value: 0,
            offset: 0,
        });
    }
    Ok(setup)
}

/// 90 ticks a millisecond: the publisher's stamps are exact in it.
pub(super) const VIDEO_TIMESCALE: u32 = 90_000;

/// RFC 7845, 4: granule positions count at 48 kHz whatever the input was.
const OPUS_RATE: u32 = 48_000;
