//! Packets that ffmpeg and GStreamer made of files: the times of the files come back, one constant away.

use super::*;

/// A frame of a capture: its decode time, how much later it is shown, its bytes.
type Line = (i64, i64, usize);

/// What comes out of one source, and the codec.
fn frames_of(rtp: &[u8], sdp: &str, encoding: &str, clock_rate: u32, channels: u32, kind: Kind) -> (Codec, Vec<Line>) {
    let fmtp = sdp.lines().find_map(|line| line.strip_prefix("a=fmtp:"));
    let pairs = fmtp
        .and_then(|line| line.split_once(' '))
        .map_or("", |(_, pairs)| pairs);
    let parameters = pairs.split(';').filter_map(|pair| pair.trim().split_once('='));
    let media = PayloadFormat {
        kind,
        payload_type: rtp[3] & 0x7f,
        encoding: encoding.to_owned(),
        clock_rate,
        channels,
        parameters: parameters
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect(),
    };
    let mut input = Input::new(&[media], Options::default(), 0);
    let (mut rest, mut lines, mut last) = (rtp, Vec::new(), None);
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (packet, behind) = behind.split_at(u16::from_be_bytes(*length).into());
        input.rtp(0, 0, Arrival::Interleaved, packet);
        drain(&mut input, &mut lines, &mut last);
        rest = behind;
    }
    input.flush(0);
    drain(&mut input, &mut lines, &mut last);
    let counters = input.counters();
    assert_eq!(
        (counters.bad_packets, counters.bad_payloads, counters.time_jumps),
        (0, 0, 0)
    );
    assert_eq!(counters.frames as usize, lines.len());
    (input.tracks()[0].codec, lines)
}

fn drain(input: &mut Input, lines: &mut Vec<Line>, last: &mut Option<i64>) {
    while let Some(item) = input.poll() {
        if let Item::Frame(frame) = item {
            assert!(last.is_none_or(|last| last < frame.dts));
            *last = Some(frame.dts);
            lines.push((frame.dts, frame.offset.into(), frame.data.len()));
        }
    }
}

macro_rules! capture {
    ($name:literal) => {
        (
            $name,
            &include_bytes!(concat!("../../unpack/testdata/", $name, ".rtp"))[..],
            include_str!(concat!("../../unpack/testdata/", $name, ".sdp")),
        )
    };
}

/// Pictures 25 a second with two B-frames where x264 and x265 chose so: the first column of the list beside the capture is
/// when each is shown, and the file has them decoded at equal distances.
#[test]
fn pictures_have_the_times_of_the_file() {
    let csv = [
        include_str!("../../unpack/testdata/h264.csv"),
        include_str!("../../unpack/testdata/hevc.csv"),
    ];
    for (((name, rtp, sdp), encoding, codec), csv) in [
        (capture!("h264"), "H264", Codec::H264),
        (capture!("hevc"), "H265", Codec::Hevc),
    ]
    .into_iter()
    .zip(csv)
    {
        let (found, lines) = frames_of(rtp, sdp, encoding, 90_000, 1, Kind::Video);
        assert_eq!(found, codec);
        let shown: Vec<i64> = csv
            .lines()
            .map(|row| row.split(',').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(lines.len(), shown.len(), "{name}");
        assert!(shown.windows(2).any(|two| two[1] < two[0]), "{name} has B-frames");
        for (at, ((dts, offset, _), shown)) in lines.iter().zip(&shown).enumerate() {
            assert_eq!(dts - lines[0].0, at as i64 * 3_600, "{name} {at}");
            assert_eq!(
                dts + offset - (lines[0].0 + lines[0].1),
                shown - shown_first(csv),
                "{name} {at}"
            );
            assert!(*offset >= 0, "{name} {at}");
        }
    }
}

fn shown_first(csv: &str) -> i64 {
    csv.split(',').next().unwrap().parse().unwrap()
}

#[test]
fn sound_is_counted_in_samples_by_any_clock() {
    // Bytes of a sample of all channels where frames have no length of their own, samples of a byte, samples of a frame.
    for ((name, rtp, sdp), encoding, clock_rate, channels, codec, each, (bytes, samples)) in [
        (capture!("aac"), "MPEG4-GENERIC", 48_000, 2, Codec::Aac, 1_024, (0, 0)),
        (capture!("opus"), "OPUS", 48_000, 2, Codec::Opus, 960, (0, 0)),
        (capture!("mp3"), "MPA", 90_000, 1, Codec::Mp3, 1_152, (0, 0)),
        (capture!("mp2"), "MPA", 90_000, 1, Codec::Mp2, 1_152, (0, 0)),
        (capture!("ac3"), "AC3", 48_000, 1, Codec::Ac3, 1_536, (0, 0)),
        (capture!("ulaw"), "PCMU", 8_000, 1, Codec::Ulaw, 0, (1, 1)),
        (capture!("g722"), "G722", 8_000, 1, Codec::G722, 0, (1, 2)),
        (capture!("l16"), "L16", 44_100, 2, Codec::Pcm, 0, (4, 1)),
    ] {
        let (found, lines) = frames_of(rtp, sdp, encoding, clock_rate, channels, Kind::Audio);
        assert_eq!(found, codec, "{name}");
        assert!(lines.len() > 1, "{name}");
        let mut time = lines[0].0;
        for (dts, offset, length) in &lines {
            assert_eq!((*dts, *offset), (time, 0), "{name}");
            time += length.checked_div(bytes).map_or(each, |count| (count * samples) as i64);
        }
    }
}
