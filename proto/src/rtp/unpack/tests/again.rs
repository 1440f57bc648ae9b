//! Frames of every codec to payloads (`pack`) and back: the same frames at the same times, with the same codec data.

use super::*;
use crate::codec::cases::{AC3, AV1C, EAC3, MP3, hex};
use crate::codec::{ac3, av1};
use crate::media::{Frame, Track};
use crate::rtp::pack;

/// What a payload may hold: UDP, TCP, and as little as is allowed.
const PAYLOADS: [usize; 3] = [1_188, 8_000, pack::limits::PAYLOAD_BYTES_MIN];

fn track(setup: &Setup) -> Track {
    Track {
        id: 1,
        generation: 0,
        codec: setup.codec,
        timescale: setup.timescale,
        codec_data: setup.codec_data.clone(),
        bitrate_hint: 0,
        format: setup.format,
    }
}

/// `units` with this setup through packets of every size.
fn check(name: &str, setup: &Setup, units: &[Owned]) {
    let track = track(setup);
    let format = pack::format(&track, &[]).unwrap_or_else(|| panic!("{name}: no format"));
    for payload_bytes_max in PAYLOADS {
        let mut pack = pack::of(&track, payload_bytes_max, 0x7ffe).expect("what has a format has payloads");
        let mut packets: Vec<(i64, bool, Vec<u8>)> = Vec::new();
        for unit in units {
            let at = rescale(unit.timestamp, setup.timescale, format.clock_rate);
            let frame = Frame {
                track: 1,
                dts: unit.timestamp,
                offset: 0,
                key: unit.key,
                data: &unit.data,
            };
            pack.frame(&frame, &mut |packet| {
                packets.push((at + i64::from(packet.ticks), packet.marker, packet.parts.concat()));
            });
        }
        assert_eq!(pack.skipped(), 0, "{name}");
        let packets: Vec<_> = packets
            .iter()
            .map(|(at, marker, data)| packet(*at, *marker, data))
            .collect();
        let (came, unreadable) = unpack(&format, &packets);
        assert_eq!(unreadable, 0, "{name} {payload_bytes_max}");
        let (_, again) = &came.setups[0];
        assert_eq!(
            (came.setups.len(), again.codec, again.timescale),
            (1, setup.codec, setup.timescale),
            "{name}"
        );
        // VP8 and Opus have records that say nothing that the sender of packets knows.
        if !matches!(setup.codec, Codec::Vp8 | Codec::Opus) {
            assert_eq!(again.codec_data, setup.codec_data, "{name}");
        }
        assert_eq!(again.format, expected_format(setup), "{name}");
        if is_cut_anywhere(setup.codec) {
            let (ours, theirs) = (came.data().concat(), units.iter().flat_map(|unit| unit.data.clone()));
            assert_eq!(ours, theirs.collect::<Vec<_>>(), "{name} {payload_bytes_max}");
            continue;
        }
        assert_eq!(came.units.len(), units.len(), "{name} {payload_bytes_max}");
        for (ours, theirs) in came.units.iter().zip(units) {
            assert!(
                ours.data == theirs.data,
                "{name} {payload_bytes_max}: other bytes at {}",
                theirs.timestamp
            );
            assert_eq!((ours.key, ours.wholeness), (theirs.key, Wholeness::Whole), "{name}");
            let since = ours.timestamp - came.units[0].timestamp;
            assert_eq!(
                since,
                theirs.timestamp - units[0].timestamp,
                "{name} {payload_bytes_max}"
            );
        }
    }
}

/// Samples have no frames: packets of another size are as good.
fn is_cut_anywhere(codec: Codec) -> bool {
    matches!(codec, Codec::Alaw | Codec::Ulaw | Codec::G722 | Codec::Pcm)
}

fn expected_format(setup: &Setup) -> Format {
    match setup.format {
        // Stated nowhere in these streams.
        Format::Video { width, height, .. } if matches!(setup.codec, Codec::Vp8 | Codec::Vp9 | Codec::Mjpeg) => {
            Format::Video {
                width,
                height,
                frame_rate: 0.0,
            }
        }
        other => other,
    }
}

#[test]
fn rtp_captures_survive_being_packed_again() {
    for (capture, encoding) in [
        (capture!("h264"), "H264"),
        (capture!("h264-inband"), "H264"),
        (capture!("h264-gst"), "H264"),
        (capture!("hevc"), "H265"),
        (capture!("hevc-gst"), "H265"),
        (capture!("vp8"), "VP8"),
        (capture!("vp9"), "VP9"),
    ] {
        let (came, _) = unpack(&video(encoding, &capture.fmtp()), &capture.packets());
        check(capture.name, &came.setups[0].1, &came.units);
    }
    for (capture, encoding, clock_rate, channels) in [
        (capture!("aac"), "MPEG4-GENERIC", 48_000, 2),
        (capture!("latm"), "MP4A-LATM", 48_000, 2),
        (capture!("opus"), "OPUS", 48_000, 2),
        (capture!("mp2"), "MPA", 90_000, 1),
        (capture!("mp3"), "MPA", 90_000, 1),
        (capture!("ac3"), "AC3", 48_000, 2),
    ] {
        let format = format(Kind::Audio, encoding, clock_rate, channels, &capture.fmtp());
        let (came, _) = unpack(&format, &capture.packets());
        check(capture.name, &came.setups[0].1, &came.units);
    }
    let jpeg = packets_of(include_bytes!("../testdata/mjpeg.rtp"));
    let (came, _) = unpack(&video("JPEG", ""), &jpeg);
    check("mjpeg", &came.setups[0].1, &came.units);
}

fn unit(timestamp: i64, key: bool, data: Vec<u8>) -> Owned {
    Owned {
        timestamp,
        key,
        wholeness: Wholeness::Whole,
        data,
    }
}

fn sound(codec: Codec, rate: u32, channels: u32, sample_bits: u32) -> Setup {
    Setup {
        codec,
        timescale: rate,
        codec_data: Vec::new(),
        format: Format::Audio {
            sample_rate: rate,
            channels,
            sample_bits,
        },
    }
}

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut random = Noise(seed);
    (0..bytes).map(|_| random.next() as u8).collect()
}

#[test]
fn rtp_made_frames_survive_being_packed() {
    // AV1: a key unit of a sequence header and a long frame, then frames of every size near a packet's.
    let record = hex(AV1C);
    let obu = |payload: &[u8]| {
        let mut out = Vec::new();
        let kind = av1::OBU_FRAME;
        av1::Obu {
            kind,
            extension: None,
            payload,
        }
        .emit(&mut out);
        out
    };
    let sequence = av1::find_sequence(&record[4..]).unwrap();
    let setup = Setup {
        codec: Codec::Av1,
        timescale: 90_000,
        codec_data: record.clone(),
        format: Format::Video {
            width: sequence.width,
            height: sequence.height,
            frame_rate: sequence.frame_rate,
        },
    };
    let mut units = vec![unit(
        0,
        true,
        [&record[4..], &obu(&[&[0x10][..], &noise(20_000, 1)].concat())].concat(),
    )];
    for (at, bytes) in (1_150..1_200).chain(540..590).chain([1, 2, 300]).enumerate() {
        let frames = [
            obu(&[&[0x20][..], &noise(bytes, 7)].concat()),
            obu(&[&[0x20][..], &noise(40, 9)].concat()),
        ];
        units.push(unit(3_000 * (at as i64 + 1), false, frames.concat()));
    }
    check("av1", &setup, &units);

    for (name, codec, head) in [("eac3", Codec::Eac3, EAC3), ("ac3", Codec::Ac3, AC3)] {
        let mut frame = hex(head);
        let parsed = ac3::SyncFrame::parse(&frame).unwrap();
        let begin = frame.len();
        frame.extend_from_slice(&noise(parsed.frame_bytes - begin, 3));
        let setup = sound(codec, parsed.sample_rate, parsed.channels.into(), 16);
        let units: Vec<_> = (0..5)
            .map(|at| unit(at * i64::from(parsed.frame_samples), true, frame.clone()))
            .collect();
        check(name, &setup, &units);
    }
    let mut frame = hex(MP3);
    frame.resize(417, 9);
    let units: Vec<_> = (0..50)
        .map(|at| unit(1_000_003 + at * 1_152, true, frame.clone()))
        .collect();
    check("mp3 of 44,100 Hz", &sound(Codec::Mp3, 44_100, 2, 16), &units);

    for (codec, rate, channels, bits) in [
        (Codec::Alaw, 8_000, 1, 8),
        (Codec::Ulaw, 16_000, 2, 8),
        (Codec::G722, 16_000, 1, 16),
        (Codec::Pcm, 48_000, 2, 16),
        (Codec::Pcm, 48_000, 6, 24),
    ] {
        let units = [unit(0, true, noise(3_600, 5)), unit(100_000, true, noise(36, 6))];
        check(codec.name(), &sound(codec, rate, channels, bits), &units);
    }
}
