//! Sound: captures, the byte tables of the RFCs, and what cameras do.

use super::super::{Gap, Wholeness};
use super::*;
use crate::codec::cases::{AC3, EAC3, MP3, hex};
use crate::codec::{aac, opus};

fn audio(encoding: &str, clock_rate: u32, channels: u32, fmtp: &str) -> PayloadFormat {
    format(Kind::Audio, encoding, clock_rate, channels, fmtp)
}

/// Of a static payload type, as a description without `a=rtpmap` gives it.
fn of_type(payload_type: u8, encoding: &str, clock_rate: u32, channels: u32) -> PayloadFormat {
    PayloadFormat {
        payload_type,
        ..audio(encoding, clock_rate, channels, "")
    }
}

/// Codec, ticks a second, Hz, channels, bits.
fn facts(setup: &Setup) -> (Codec, u32, u32, u32, u32) {
    match setup.format {
        Format::Audio {
            sample_rate,
            channels,
            sample_bits,
        } => (setup.codec, setup.timescale, sample_rate, channels, sample_bits),
        other => panic!("{other:?}"),
    }
}

fn times(came: &Came) -> Vec<i64> {
    came.units.iter().map(|unit| unit.timestamp).collect()
}

#[test]
fn rtp_aac_of_ffmpeg_and_gstreamer_is_the_file_again() {
    for (capture, codec, channels) in [
        (capture!("aac"), include_str!("../testdata/aac.codec"), 2),
        (capture!("aac-gst"), include_str!("../testdata/aac-gst.codec"), 1),
    ] {
        let came = capture.check(&audio("MPEG4-GENERIC", 48_000, channels, &capture.fmtp()), 48_000);
        assert_eq!(codec_line(&came.setups[0].1), codec.trim());
        assert_eq!(facts(&came.setups[0].1), (Codec::Aac, 48_000, 48_000, channels, 16));
    }
    let capture = capture!("latm");
    let came = capture.check(&audio("MP4A-LATM", 48_000, 2, &capture.fmtp()), 48_000);
    assert_eq!(facts(&came.setups[0].1), (Codec::Aac, 48_000, 48_000, 2, 16));
    assert_eq!(came.setups[0].1.codec_data, hex("1190"));
}

#[test]
fn rtp_sound_of_ffmpeg_and_gstreamer_is_the_file_again() {
    let opus_format = audio("OPUS", 48_000, 2, &capture!("opus").fmtp());
    for (capture, format, scale, expected) in [
        (
            capture!("opus"),
            opus_format,
            1_000,
            (Codec::Opus, 48_000, 48_000, 2, 16),
        ),
        (
            capture!("mp3"),
            of_type(14, "MPA", 90_000, 1),
            14_112_000,
            (Codec::Mp3, 44_100, 44_100, 2, 16),
        ),
        (
            capture!("mp2"),
            of_type(14, "MPA", 90_000, 1),
            14_112_000,
            (Codec::Mp2, 48_000, 48_000, 2, 16),
        ),
        (
            capture!("ac3"),
            audio("AC3", 48_000, 1, ""),
            90_000,
            (Codec::Ac3, 48_000, 48_000, 2, 16),
        ),
    ] {
        let came = capture.check(&format, scale);
        assert_eq!(facts(&came.setups[0].1), expected);
        if expected.0 == Codec::Opus {
            let head = opus::Head::parse(&came.setups[0].1.codec_data).unwrap();
            assert_eq!((head.channels, head.mapping_family), (2, 0));
        }
    }
}

#[test]
fn rtp_samples_of_ffmpeg_are_the_file_again() {
    macro_rules! samples {
        ($name:literal) => {
            (
                include_bytes!(concat!("../testdata/", $name, ".rtp")),
                &include_bytes!(concat!("../testdata/", $name, ".raw"))[..],
            )
        };
    }
    // Bytes of a sample of all channels, ticks of one.
    for ((rtp, raw), format, expected, bytes, ticks) in [
        (
            (&samples!("ulaw").0[..], samples!("ulaw").1),
            of_type(0, "PCMU", 8_000, 1),
            (Codec::Ulaw, 8_000, 8_000, 1, 8),
            1,
            1,
        ),
        (
            (&samples!("g722").0[..], samples!("g722").1),
            of_type(9, "G722", 8_000, 1),
            (Codec::G722, 16_000, 16_000, 1, 16),
            1,
            2,
        ),
        (
            (&samples!("l16").0[..], samples!("l16").1),
            of_type(10, "L16", 44_100, 2),
            (Codec::Pcm, 44_100, 44_100, 2, 16),
            4,
            1,
        ),
    ] {
        let packets = packets_of(rtp);
        let (came, unreadable) = unpack(&format, &packets);
        assert_eq!(unreadable, 0);
        assert_eq!(facts(&came.setups[0].1), expected);
        assert_eq!(came.data().concat(), raw);
        let mut time = came.units[0].timestamp;
        for unit in &came.units {
            assert_eq!((unit.timestamp, unit.key), (time, true));
            time += (unit.data.len() / bytes * ticks) as i64;
        }
    }
}

#[test]
fn rtp_samples_of_odd_packets_and_strange_descriptions() {
    for (name, format, expected, packets, frames, counted) in [
        (
            "Reolink: odd packets of G.711",
            audio("PCMA", 8_000, 1, ""),
            (Codec::Alaw, 8_000, 8_000, 1, 8),
            vec![&b"abc"[..], b"d"],
            vec![&b"abc"[..], b"d"],
            0,
        ),
        (
            "G.711 of two channels and 16,000 Hz",
            audio("PCMU", 16_000, 2, ""),
            (Codec::Ulaw, 16_000, 16_000, 2, 8),
            vec![b"abc", b"d"],
            vec![b"ab"],
            2,
        ),
        (
            "Hikvision: the name is PCM",
            of_type(8, "PCM", 8_000, 1),
            (Codec::Alaw, 8_000, 8_000, 1, 8),
            vec![b"ab"],
            vec![b"ab"],
            0,
        ),
        (
            "unsound channels",
            audio("PCMA", 8_000, 0, ""),
            (Codec::Alaw, 8_000, 8_000, 1, 8),
            vec![b"ab"],
            vec![b"ab"],
            0,
        ),
        (
            "L24",
            audio("L24", 48_000, 2, ""),
            (Codec::Pcm, 48_000, 48_000, 2, 24),
            vec![b"abcdefg"],
            vec![b"abcdef"],
            1,
        ),
        (
            "empty",
            audio("L16", 48_000, 2, ""),
            (Codec::Pcm, 48_000, 48_000, 2, 16),
            vec![b"", b"abcd"],
            vec![b"abcd"],
            0,
        ),
    ] {
        let packets: Vec<_> = packets.iter().map(|data| packet(0, false, data)).collect();
        let (came, unreadable) = unpack(&format, &packets);
        assert_eq!(facts(&came.setups[0].1), expected, "{name}");
        assert_eq!((came.data(), unreadable), (frames, counted), "{name}");
    }
}

#[test]
fn rtp_opus_states_its_channels() {
    // CELT, 20 ms: mono and stereo.
    let (mono, stereo) = (&[0xf8, 1][..], &[0xfc, 1][..]);
    for (fmtp, first, channels) in [
        ("sprop-stereo=1", mono, 2),
        ("sprop-stereo=0", mono, 1),
        ("", stereo, 2),
        ("stereo=1", mono, 1),
    ] {
        let (came, _) = unpack(
            &audio("OPUS", 48_000, 2, fmtp),
            &[packet(0, true, first), packet(960, true, stereo)],
        );
        assert_eq!(facts(&came.setups[0].1).3, channels, "{fmtp}");
        assert_eq!((came.setups.len(), times(&came)), (1, vec![0, 960]));
    }
    let (came, unreadable) = unpack(
        &audio("OPUS", 48_000, 2, ""),
        &[packet(0, true, &[]), packet(9, true, &[3])],
    );
    assert_eq!((came.units.len(), unreadable), (0, 1));
}

const HBR: &str = "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1190";

/// Headers of 16 bits, as AAC-hbr has them.
fn hbr(sizes: &[usize], data: &[u8]) -> Vec<u8> {
    let heads: Vec<u8> = sizes
        .iter()
        .flat_map(|size| ((size << 3) as u16).to_be_bytes())
        .collect();
    [&((heads.len() * 8) as u16).to_be_bytes(), &heads[..], data].concat()
}

#[test]
fn rtp_aac_headers_of_every_shape() {
    let mut adts = aac::Config::low_complexity(48_000, 2).adts_head(3).unwrap().to_vec();
    adts.extend_from_slice(b"raw");
    let two_adts = adts.repeat(2);
    for (name, fmtp, data, frames, ticks) in [
        (
            "3.3.6: three units",
            HBR,
            hbr(&[2, 1, 3], b"aabccc"),
            vec![&b"aa"[..], b"b", b"ccc"],
            vec![0, 1024, 2048],
        ),
        (
            "3.2.1: interleaved, two units between",
            HBR,
            vec![0, 32, 0, 1 << 3, 0, 1 << 3 | 2, b'a', b'b'],
            vec![b"a", b"b"],
            vec![0, 3072],
        ),
        (
            "3.3.5: low rate",
            "mode=AAC-lbr;sizelength=6;indexlength=2;indexdeltalength=2;config=1190",
            vec![0, 16, 2 << 2, 1 << 2, b'a', b'a', b'b'],
            vec![b"aa", b"b"],
            vec![0, 1024],
        ),
        (
            "low rate by its mode alone",
            "mode=AAC-lbr;config=1190",
            vec![0, 8, 2 << 2, b'a', b'a'],
            vec![b"aa"],
            vec![0],
        ),
        (
            "nothing but a configuration",
            "config=1190",
            hbr(&[2], b"aa"),
            vec![b"aa"],
            vec![0],
        ),
        (
            "units of one size",
            "mode=generic;constantsize=2;config=1190",
            b"aabb".to_vec(),
            vec![b"aa", b"bb"],
            vec![0, 1024],
        ),
        (
            "every field there is",
            "sizelength=8;indexlength=4;indexdeltalength=4;ctsdeltalength=4;dtsdeltalength=3;randomaccessindication=1;streamstateindication=2;auxiliarydatasizelength=8;config=1190",
            // size 8, index 4, CTS flag 0, DTS flag 1 with 3 bits, RAP 1, state 2: 20 bits; size 8, delta 4, CTS flag 1
            // with 4, DTS flag 0, RAP, state: 21 bits; 3 bits of auxiliary data behind their size.
            vec![0, 41, 0x02, 0x06, 0xc0, 0x10, 0xd2, 0x80, 3, 0xe0, b'a', b'a', b'b'],
            vec![b"aa", b"b"],
            vec![0, 1024],
        ),
        (
            "various: ADTS in a unit",
            HBR,
            hbr(&[adts.len()], &adts),
            vec![b"raw"],
            vec![0],
        ),
        (
            "various: ADTS twice in a unit",
            HBR,
            hbr(&[adts.len() * 2], &two_adts),
            vec![b"raw", b"raw"],
            vec![0, 1024],
        ),
        (
            "a configuration from ADTS",
            "mode=AAC-hbr",
            hbr(&[adts.len()], &adts),
            vec![b"raw"],
            vec![0],
        ),
    ] {
        let (came, unreadable) = unpack(&audio("MPEG4-GENERIC", 48_000, 2, fmtp), &[packet(0, true, &data)]);
        assert_eq!(came.data(), frames, "{name}");
        assert_eq!((times(&came), unreadable), (ticks, 0), "{name}");
        if let Some((_, setup)) = came.setups.first() {
            assert_eq!(facts(setup), (Codec::Aac, 48_000, 48_000, 2, 16), "{name}");
            assert_eq!(setup.codec_data, hex("1190"), "{name}");
        }
    }
}

#[test]
fn rtp_aac_without_configuration_is_guessed_and_counted() {
    let data = hbr(&[2], b"aa");
    let (came, unreadable) = unpack(
        &audio("MPEG4-GENERIC", 44_100, 1, "mode=AAC-hbr;config=zz"),
        &[packet(0, true, &data)],
    );
    assert_eq!(
        (facts(&came.setups[0].1), unreadable),
        ((Codec::Aac, 44_100, 44_100, 1, 16), 1)
    );
    assert_eq!(came.data(), [b"aa"]);
}

#[test]
fn rtp_aac_counts_samples_where_the_clock_is_another() {
    // HE-AAC: the clock is that of the output, the track counts samples of the core.
    let format = audio(
        "MPEG4-GENERIC",
        44_100,
        2,
        &HBR.replace("1190", crate::codec::cases::ASC_SBR),
    );
    let two = hbr(&[1, 1], b"ab");
    let packets = [
        packet(0, true, &two),
        packet(4096, true, &two),
        packet(8193, true, &two),
        packet(20_000, true, &two),
    ];
    let (came, _) = unpack(&format, &packets);
    assert_eq!(facts(&came.setups[0].1), (Codec::Aac, 22_050, 44_100, 2, 16));
    // A tick of disagreement is rounding; more is what the packets say.
    assert_eq!(times(&came), [0, 1024, 2048, 3072, 4096, 5120, 10_000, 11_024]);
}

#[test]
fn rtp_aac_units_in_fragments() {
    let part = |data: &[u8]| hbr(&[6], data);
    let (a, b, c) = (part(b"ab"), part(b"cd"), part(b"ef"));
    let next = hbr(&[2], b"zz");
    let whole = [
        packet(0, false, &a),
        packet(0, false, &b),
        packet(0, true, &c),
        packet(1024, true, &next),
    ];
    let (came, unreadable) = unpack(&audio("MPEG4-GENERIC", 48_000, 2, HBR), &whole);
    assert_eq!((came.data(), unreadable), (vec![&b"abcdef"[..], b"zz"], 0));
    for missing in 0..3 {
        let mut left = whole.to_vec();
        left.remove(missing);
        left[missing].gap = Gap::Lost;
        let (came, _) = unpack(&audio("MPEG4-GENERIC", 48_000, 2, HBR), &left);
        assert_eq!(came.data(), [b"zz"], "without {missing}");
    }
    // More than it said it would be.
    let (came, unreadable) = unpack(
        &audio("MPEG4-GENERIC", 48_000, 2, HBR),
        &[packet(0, false, &part(b"abcde")), packet(0, false, &b)],
    );
    assert_eq!((came.units.len(), unreadable), (0, 1));
}

#[test]
fn rtp_aac_that_cannot_be_read_is_counted() {
    for data in [
        &b""[..],
        b"\0",
        b"\0\x20\0",
        b"\0\x10\0\0aa",
        b"\0\x10\xff\xf8",
        b"\0\0aa",
    ] {
        let (came, unreadable) = unpack(&audio("MPEG4-GENERIC", 48_000, 2, HBR), &[packet(0, true, data)]);
        assert_eq!(came.units.len(), 0, "{data:?}");
        let waits = data.is_empty() || data == b"\0\x10\xff\xf8";
        assert_eq!(unreadable, u64::from(!waits), "{data:?}");
    }
}

#[test]
fn rtp_latm_of_both_kinds() {
    // audioMuxVersion 0, same framing, two frames, AudioSpecificConfig 1190 (16 bits), frame length type 0, fullness ff, no
    // other data, no check sum
    let outside = hex("410023203fc0");
    let fmtp = format!(
        "cpresent=0;config={}",
        outside.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    );
    let format = audio("MP4A-LATM", 48_000, 2, &fmtp);
    let (came, unreadable) = unpack(&format, &[packet(0, true, b"\x02aa\x03bbb")]);
    assert_eq!(
        (came.data(), times(&came), unreadable),
        (vec![&b"aa"[..], b"bbb"], vec![0, 1024], 0)
    );
    assert_eq!(came.setups[0].1.codec_data, hex("1190"));
    // As GStreamer's payloader writes it of an AudioSpecificConfig with an extension: what follows that is cut.
    let format = audio("MP4A-LATM", 48_000, 2, "cpresent=0;config=40002320adca00");
    let (came, unreadable) = unpack(&format, &[packet(0, true, b"\x02aa")]);
    assert_eq!((came.data(), unreadable), (vec![&b"aa"[..]], 0));
    assert_eq!(came.setups[0].1.codec_data, hex("119056e500"));
    // Inside: one bit for "new configuration" moves all that follows.
    let bits = |text: &str| -> Vec<u8> {
        let text: String = text.split_whitespace().collect();
        let byte = |byte: &[u8]| byte.iter().fold(0, |sum, bit| sum << 1 | (bit - b'0')) << (8 - byte.len());
        text.as_bytes().chunks(8).map(byte).collect()
    };
    // 0, version 0, framing 1, frames 0, program 0, layer 0, AAC-LC 48 kHz stereo and three bits, type 0, fullness, 0, 0
    let head = "0 0 1 000000 0000 000 00010 0011 0010 000 000 11111111 0 0";
    let first = bits(&format!("{head} 00000010 01100001 01100010"));
    let second = bits("1 00000001 01100011");
    let format = audio("MP4A-LATM", 48_000, 2, "");
    let packets = [
        packet(0, true, &second),
        packet(1024, true, &first),
        packet(2048, false, &second[..1]),
        packet(2048, true, &second[1..]),
    ];
    let (came, unreadable) = unpack(&format, &packets);
    // Nothing can be read before the first configuration.
    assert_eq!(
        (came.data(), times(&came), unreadable),
        (vec![&b"ab"[..], b"c"], vec![1024, 2048], 1)
    );
    assert_eq!(facts(&came.setups[0].1), (Codec::Aac, 48_000, 48_000, 2, 16));
    // A lost beginning takes the rest with it, up to the marker.
    let packets = [
        packet(0, true, &first),
        lost(packet(2048, true, &second)),
        packet(4096, true, &second),
    ];
    let (came, _) = unpack(&format, &packets);
    assert_eq!(times(&came), [0, 2048, 4096]);
    let packets = [
        packet(0, true, &first),
        packet(9, false, &second[..1]),
        lost(packet(9, true, &second)),
        packet(99, true, &second),
    ];
    assert_eq!(times(&unpack(&format, &packets).0), [0, 99]);
    // The end of one whose packets before it were all lost is none.
    let (one, other) = (&second[..1], &second[1..]);
    let packets = [
        packet(0, true, &first),
        packet(9, false, one),
        packet(9, true, other),
        lost(packet(18, true, &second)),
        packet(27, true, &second),
    ];
    assert_eq!(times(&unpack(&format, &packets).0), [0, 9, 27]);
}

fn mpa(offset: u16, data: &[u8]) -> Vec<u8> {
    [&[0, 0], &offset.to_be_bytes()[..], data].concat()
}

#[test]
fn rtp_mpeg_audio_frames_together_and_apart() {
    // 417 bytes, 1,152 samples of 44,100 Hz: 2,351.02 ticks of 90,000.
    let mut frame = hex(MP3);
    frame.resize(417, 7);
    let format = of_type(14, "MPA", 90_000, 1);
    let two = mpa(0, &frame.repeat(2));
    let parts = [
        mpa(0, &frame[..200]),
        mpa(200, &frame[200..400]),
        mpa(400, &frame[400..]),
    ];
    let mut packets = vec![packet(0, true, &two)];
    packets.extend(parts.iter().map(|part| packet(4702, false, part)));
    packets.push(packet(7053, false, &two));
    let (came, unreadable) = unpack(&format, &packets);
    assert_eq!((came.data(), unreadable), (vec![&frame[..]; 5], 0));
    assert_eq!(times(&came), [0, 1152, 2304, 3456, 4608]);
    for missing in 1..4 {
        let mut left = packets.clone();
        left.remove(missing);
        left[missing].gap = Gap::Lost;
        let (came, _) = unpack(&format, &left);
        assert_eq!(came.data(), vec![&frame[..]; 4], "without {missing}");
    }
    for (data, counted) in [
        (vec![0, 0, 0], 1),
        (mpa(0, b"abcdef"), 1),
        (mpa(3, b"abc"), 0),
        (mpa(0, &frame[..9]), 0),
    ] {
        let (came, unreadable) = unpack(&format, &[packet(0, true, &data)]);
        assert_eq!((came.units.len(), unreadable), (0, counted), "{data:?}");
    }
}

#[test]
fn rtp_dolby_frames_together_and_apart() {
    let frame_of = |head: &str| {
        let mut frame = hex(head);
        let bytes = crate::codec::ac3::SyncFrame::parse(&frame).unwrap().frame_bytes;
        frame.resize(bytes, 7);
        frame
    };
    let (plain, enhanced) = (frame_of(AC3), frame_of(EAC3));
    // strmtyp 1: channels for the frame before.
    let mut dependent = enhanced.clone();
    dependent[2] |= 0x40;
    let both = [&enhanced[..], &dependent].concat();
    let joined = |head: [u8; 2], data: &[u8]| [&head, data].concat();
    let halves = |first: u8, other: u8, frame: &[u8]| {
        [
            joined([first, 2], &frame[..frame.len() / 2]),
            joined([other, 2], &frame[frame.len() / 2..]),
        ]
    };
    for (encoding, codec, together, parts, frame) in [
        (
            "AC3",
            Codec::Ac3,
            joined([0, 2], &plain.repeat(2)),
            halves(2, 3, &plain),
            &plain,
        ),
        (
            "EAC3",
            Codec::Eac3,
            joined([0, 2], &both.repeat(2)),
            halves(1, 1, &both),
            &both,
        ),
    ] {
        let format = audio(encoding, 48_000, 6, "");
        let whole = [
            packet(0, true, &together),
            packet(3072, false, &parts[0]),
            packet(3072, true, &parts[1]),
            packet(4608, true, &together),
        ];
        let (came, unreadable) = unpack(&format, &whole);
        assert_eq!((came.data(), unreadable), (vec![&frame[..]; 5], 0), "{encoding}");
        assert_eq!(times(&came), [0, 1536, 3072, 4608, 6144]);
        assert_eq!(facts(&came.setups[0].1).0, codec);
        assert!(
            came.units
                .iter()
                .all(|unit| unit.key && unit.wholeness == Wholeness::Whole)
        );
        for missing in 1..3 {
            let mut left = whole.to_vec();
            left.remove(missing);
            left[missing].gap = Gap::Lost;
            assert_eq!(
                unpack(&format, &left).0.data(),
                vec![&frame[..]; 4],
                "{encoding} without {missing}"
            );
        }
        let (came, unreadable) = unpack(&format, &[packet(0, true, &[0]), packet(0, true, b"\0\x01abcdefgh")]);
        assert_eq!((came.units.len(), unreadable), (0, 2));
    }
}

#[test]
fn rtp_formats_that_are_not_read_pass_with_their_markers() {
    for format in [
        format(Kind::Meta, "VND.ONVIF.METADATA", 90_000, 1, ""),
        audio("G726-32", 8_000, 1, ""),
        audio("MPA-ROBUST", 90_000, 1, ""),
        audio("L8", 8_000, 1, ""),
        of_type(3, "GSM", 8_000, 1),
        PayloadFormat {
            payload_type: 33,
            ..video("MP2T", "")
        },
        PayloadFormat {
            payload_type: 32,
            ..video("MPV", "")
        },
        // A name of sound for pictures.
        video("PCMA", ""),
    ] {
        let (came, unreadable) = unpack(&format, &[packet(5, true, b"ab"), packet(9, false, b"")]);
        let setup = &came.setups[0].1;
        assert_eq!(
            (setup.codec, setup.timescale, setup.format),
            (Codec::Rtp, format.clock_rate, Format::Meta)
        );
        assert_eq!(PayloadFormat::from_codec_data(&setup.codec_data), Some(format));
        assert_eq!(
            (came.data(), times(&came), unreadable),
            (vec![&b"\x01ab"[..], b"\0"], vec![5, 9], 0)
        );
    }
}
