//! What is packed is unpacked to the same frames: every codec, with frames of sizes around one, two and three payloads.
//!
//! Not here: single bytes of payloads (`pack`), what other senders do (`unpack`).

use super::pack::{self, tests as packed};
use super::unpack::{self, Gap, Payload, Units, Unpacked, Wholeness};
use crate::codec::cases::{AC3, EAC3, VP8_INTER, VP8_KEY, VP9_INTER, VP9_KEY, hex};
use crate::media::{Codec, Format, Frame, Kind, Track, rescale};

/// Frames of a codec and how many ticks each lasts.
struct Stream {
    track: Track,
    frames: Vec<Vec<u8>>,
    ticks: i64,
}

/// What came back: presentation time, whether it is a keyframe, bytes.
type Found = Vec<(i64, bool, Vec<u8>)>;

fn round_trip(stream: &Stream, payload_bytes_max: usize) -> (Found, Vec<unpack::Setup>) {
    let track = &stream.track;
    let format = pack::format(track, &[]).unwrap();
    let mut pack = pack::of(track, payload_bytes_max, 3).unwrap();
    let mut unpack = unpack::of(&format);
    let (mut units, mut found, mut setups) = (Units::new(), Found::new(), Vec::new());
    for (at, data) in (0..).zip(&stream.frames) {
        let frame = Frame {
            track: track.id,
            dts: at * stream.ticks,
            offset: 0,
            key: at == 0 || track.kind() != Kind::Video,
            data,
        };
        let begin = rescale(frame.dts, track.timescale, format.clock_rate);
        pack.frame(&frame, &mut |packet| {
            let data = packet.parts.concat();
            let payload = Payload {
                timestamp: begin + i64::from(packet.ticks),
                marker: packet.marker,
                gap: Gap::None,
                data: &data,
            };
            unpack.packet(&payload, &mut units);
        });
    }
    unpack.flush(&mut units);
    assert_eq!((pack.skipped(), unpack.unreadable()), (0, 0), "{:?}", track.codec);
    for unpacked in units.iter() {
        match unpacked {
            Unpacked::Setup(setup) => setups.push(setup.clone()),
            Unpacked::Unit(unit) => {
                assert_eq!(unit.wholeness, Wholeness::Whole);
                found.push((unit.timestamp, unit.key, unit.data.to_vec()));
            }
        }
    }
    (found, setups)
}

/// Three frames of about `bytes`, the first a keyframe; none where the codec has no frame of this size.
fn stream(codec: Codec, bytes: usize) -> Option<Stream> {
    let mut track = packed::track(codec);
    let fill = |head: &[u8]| {
        let mut frame = head.to_vec();
        frame.extend((frame.len()..bytes).map(|at| at as u8 | 1));
        frame
    };
    let unit = |head: &[u8]| {
        let mut frame = Vec::new();
        crate::codec::nal::push_unit(&fill(head), &mut frame);
        frame
    };
    let obu = |head: &[u8]| {
        let mut frame = Vec::new();
        let payload = &fill(head)[..];
        crate::codec::av1::Obu {
            kind: crate::codec::av1::OBU_FRAME,
            extension: None,
            payload,
        }
        .emit(&mut frame);
        frame
    };
    let (first, later) = match codec {
        Codec::H264 => (unit(&[0x65, 0x88]), unit(&[0x41, 0x9a])),
        Codec::Hevc => (unit(&[0x26, 0x01, 0xaf]), unit(&[0x02, 0x01, 0xd0])),
        // A shown keyframe, and one that is not key.
        Codec::Av1 => (obu(&[0x10]), obu(&[0x30])),
        Codec::Vp8 => (fill(&hex(VP8_KEY)), fill(&hex(VP8_INTER))),
        Codec::Vp9 => (fill(&hex(VP9_KEY)), fill(&hex(VP9_INTER))),
        Codec::Aac => (fill(&[0x21]), fill(&[0x21])),
        // One frame of 20 ms in each packet, of both channels; at most 1,275 bytes.
        Codec::Opus if bytes <= 1276 => (fill(&[0xfc]), fill(&[0xfc])),
        Codec::Rtp => (fill(&[1]), fill(&[0])),
        Codec::Alaw | Codec::Ulaw | Codec::G722 | Codec::Pcm => {
            let whole = fill(&[])[..bytes / 4 * 4].to_vec();
            (whole.clone(), whole)
        }
        _ => return None,
    };
    let ticks = match codec {
        Codec::Aac => 1024,
        Codec::Opus => 960,
        Codec::Pcm => first.len() as i64 / 4,
        Codec::G722 | Codec::Alaw | Codec::Ulaw => first.len() as i64 / 2,
        _ => 3003,
    };
    if codec == Codec::Aac {
        // As its record says.
        track.timescale = 44_100;
    }
    if codec == Codec::G722 {
        track.timescale = 16_000;
        track.format = Format::Audio {
            sample_rate: 16_000,
            channels: 2,
            sample_bits: 16,
        };
        return Some(Stream {
            track,
            frames: vec![first, later.clone(), later],
            ticks: ticks * 2,
        });
    }
    Some(Stream {
        track,
        frames: vec![first, later.clone(), later],
        ticks,
    })
}

/// What a track's frames are to come back as.
fn expected(stream: &Stream) -> Found {
    let sequence = &stream.track.codec_data;
    let frames = (0..).zip(&stream.frames).map(|(at, data)| {
        let is_key = at == 0 || stream.track.kind() != Kind::Video;
        // The track's sequence header is in front of a keyframe without one.
        let data = match stream.track.codec {
            Codec::Av1 if is_key => [&sequence[4..], data].concat(),
            _ => data.clone(),
        };
        (at * stream.ticks, is_key, data)
    });
    frames.collect()
}

/// Sound whose payloads are samples comes back as it was cut: put together again where time goes on.
fn joined(found: Found) -> Found {
    let begin = found[0].0;
    let bytes: Vec<u8> = found.into_iter().flat_map(|(_, _, data)| data).collect();
    vec![(begin, true, bytes)]
}

#[test]
fn frames_of_every_size_around_a_payload_come_back() {
    let mut seen = 0;
    for codec in packed::CODECS {
        for max in [576, 1188, 8180] {
            let around = [1, 2, 3].map(|times| times * max - 12..times * max + 12);
            for bytes in around
                .into_iter()
                .flatten()
                .chain([20, 21])
                .filter(|bytes| *bytes <= 8191)
            {
                let Some(stream) = stream(codec, bytes) else { continue };
                let (mut found, setups) = round_trip(&stream, max);
                let mut expected = expected(&stream);
                if matches!(codec, Codec::Pcm | Codec::Alaw | Codec::Ulaw | Codec::G722) {
                    (found, expected) = (joined(found), joined(expected));
                }
                assert!(found == expected, "{codec:?} {bytes} of {max}");
                let [setup] = &setups[..] else {
                    panic!("{codec:?} {bytes}: {setups:?}")
                };
                assert_eq!((setup.codec, setup.timescale), (codec, stream.track.timescale));
                if !matches!(codec, Codec::Opus | Codec::Vp8 | Codec::Vp9) {
                    assert_eq!(setup.codec_data, stream.track.codec_data, "{codec:?}");
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 1500, "{seen}");
}

/// Sync frames have their sizes by their heads: here the payload goes around the frame.
#[test]
fn audio_frames_of_fixed_sizes_come_back_from_payloads_of_every_size() {
    for (codec, head, bytes, samples, rate) in [
        (Codec::Mp3, "fffbe064", 1044, 1152, 44_100),
        (Codec::Mp2, "fffde404", 1152, 1152, 48_000),
        (Codec::Ac3, AC3, 0, 1536, 48_000),
        (Codec::Eac3, EAC3, 0, 1536, 48_000),
    ] {
        let head = hex(head);
        let bytes = match crate::codec::ac3::SyncFrame::parse(&head) {
            Ok(frame) => frame.frame_bytes,
            Err(_) => bytes,
        };
        let frame: Vec<u8> = head
            .iter()
            .copied()
            .chain((head.len()..bytes).map(|at| at as u8 | 1))
            .collect();
        let mut track = packed::track(codec);
        track.timescale = rate;
        track.format = Format::Audio {
            sample_rate: rate,
            channels: 2,
            sample_bits: 16,
        };
        let stream = Stream {
            track,
            frames: vec![frame.clone(), frame.clone(), frame],
            ticks: samples,
        };
        for max in (bytes - 8..bytes + 12)
            .chain(bytes / 2 - 4..bytes / 2 + 8)
            .filter(|max| *max >= 576)
        {
            let (found, setups) = round_trip(&stream, max);
            assert!(found == expected(&stream), "{codec:?} {bytes} of {max}");
            assert_eq!((setups.len(), setups[0].codec, setups[0].timescale), (1, codec, rate));
        }
        // Two in one frame of the track come back as two.
        let twice = Stream {
            frames: stream.frames.iter().map(|frame| frame.repeat(2)).collect(),
            ticks: 2 * samples,
            ..stream
        };
        let (found, _) = round_trip(&twice, 1188);
        let times: Vec<_> = found.iter().map(|(time, _, _)| *time).collect();
        assert_eq!(times, [0, 1, 2, 3, 4, 5].map(|frame| frame * samples), "{codec:?}");
    }
}

/// The image's own header is lost on the way; what is made of it says the same.
#[test]
fn an_image_that_came_back_packs_to_the_same_payloads() {
    for bytes in (560..610).chain(1170..1200).chain([20, 5000]) {
        let image = packed::frame_of(Codec::Mjpeg, bytes);
        let mut stream = Stream {
            track: packed::track(Codec::Mjpeg),
            frames: vec![image.clone(), image.clone(), image],
            ticks: 3003,
        };
        let (found, setups) = round_trip(&stream, 600);
        let times: Vec<_> = found.iter().map(|(time, key, _)| (*time, *key)).collect();
        assert_eq!(times, [(0, true), (3003, true), (6006, true)]);
        let Format::Video {
            width: 64, height: 48, ..
        } = setups[0].format
        else {
            panic!("{setups:?}")
        };
        let end = [&vec![0x55; bytes.max(8)][..], &[0xff, 0xd9]].concat();
        assert!(found.iter().all(|(_, _, image)| image.ends_with(&end)), "{bytes}");
        stream.frames = found.iter().map(|(_, _, image)| image.clone()).collect();
        assert!(round_trip(&stream, 600) == (found, setups), "{bytes}");
    }
}
