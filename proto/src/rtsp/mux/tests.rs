use super::*;
use crate::media::{Codec, Format, Mux as _};
use crate::rtp::wire::Packet;
use crate::rtp::wire::rtcp::{self, Ntp, Part, SenderReport};

fn video() -> Track {
    Track {
        id: 1,
        generation: 0,
        codec: Codec::H264,
        timescale: 90_000,
        codec_data: crate::codec::cases::hex(crate::codec::cases::AVCC_BASELINE),
        bitrate_hint: 0,
        format: Format::Video {
            width: 1918,
            height: 1078,
            frame_rate: 25.0,
        },
    }
}

fn audio() -> Track {
    Track {
        id: 2,
        generation: 0,
        codec: Codec::Aac,
        timescale: 44_100,
        codec_data: vec![0x12, 0x10],
        bitrate_hint: 0,
        format: Format::Audio {
            sample_rate: 44_100,
            channels: 2,
            sample_bits: 16,
        },
    }
}

fn lanes(tracks: &[Track]) -> Vec<Lane> {
    let mut taken = Vec::new();
    let lanes = tracks.iter().zip(0..).map(|(track, at)| {
        let format = pack::format(track, &taken).unwrap();
        taken.push(format.payload_type);
        Lane {
            track: track.id,
            format,
            rtp_channel: 2 * at,
            rtcp_channel: 2 * at + 1,
        }
    });
    lanes.collect()
}

fn started(tracks: &[Track], packet_bytes_max: usize) -> Mux {
    let mut mux = Mux::new(lanes(tracks), packet_bytes_max, 7);
    mux.start(tracks);
    mux
}

fn frame(track: u32, dts: i64, offset: i32, key: bool, data: &[u8]) -> Frame<'_> {
    Frame {
        track,
        dts,
        offset,
        key,
        data,
    }
}

/// A slice of `bytes` behind its length.
fn picture(head: u8, bytes: usize) -> Vec<u8> {
    let mut unit = vec![7; bytes];
    unit[0] = head;
    [&(bytes as u32).to_be_bytes()[..], &unit].concat()
}

/// The `$` frames of a record; nothing else is in it.
fn frames(mut record: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let Some((&[dollar, channel, high, low], rest)) = record.split_first_chunk() {
        assert_eq!(dollar, b'$');
        let (body, behind) = rest.split_at(u16::from_be_bytes([high, low]).into());
        found.push((channel, body));
        record = behind;
    }
    assert!(record.is_empty());
    found
}

/// What the packets of some records say, lane by lane.
#[derive(Default)]
struct Heard {
    next: Vec<Option<u16>>,
    times: Vec<Vec<u32>>,
    packets: Vec<u32>,
    octets: Vec<u32>,
    reports: Vec<Vec<SenderReport>>,
    byes: Vec<u32>,
    longest: usize,
}

impl Heard {
    fn of(lanes: usize) -> Self {
        Heard {
            next: vec![None; lanes],
            times: vec![Vec::new(); lanes],
            packets: vec![0; lanes],
            octets: vec![0; lanes],
            reports: vec![Vec::new(); lanes],
            ..Heard::default()
        }
    }

    /// Checks that sequence numbers go on and reports count right.
    fn hear(&mut self, record: &[u8]) {
        for (channel, body) in frames(record) {
            let lane = usize::from(channel / 2);
            if channel % 2 == 1 {
                self.hear_control(lane, body);
                continue;
            }
            let packet = Packet::parse(body).unwrap();
            self.longest = self.longest.max(body.len());
            if let Some(next) = self.next[lane] {
                assert_eq!(packet.sequence, next, "lane {lane}");
            }
            self.next[lane] = Some(packet.sequence.wrapping_add(1));
            self.times[lane].push(packet.timestamp);
            self.packets[lane] += 1;
            self.octets[lane] += packet.payload.len() as u32;
        }
    }

    fn hear_control(&mut self, lane: usize, body: &[u8]) {
        let parts: Vec<_> = rtcp::parts(body).map(Result::unwrap).collect();
        let ssrc = match parts[0] {
            Part::SenderReport(report, mut blocks) => {
                assert_eq!(blocks.next(), None);
                assert_eq!((report.packets, report.octets), (self.packets[lane], self.octets[lane]));
                self.reports[lane].push(report);
                report.ssrc
            }
            Part::ReceiverReport { ssrc, .. } => ssrc,
            other => panic!("{other:?}"),
        };
        assert!(matches!(parts[1], Part::Name { ssrc: of, name } if of == ssrc && name.len() == 16));
        match parts[2..] {
            [] => {}
            [Part::Goodbye { ssrc: of }] if of == ssrc => self.byes.push(ssrc),
            ref other => panic!("{other:?}"),
        }
    }
}

fn joined(mux: &Mux) -> JoinPoint {
    let mut header = Vec::new();
    mux.join_header(&mut header);
    JoinPoint::parse(&header).unwrap()
}

#[test]
fn times_are_presentation_times_and_sequence_numbers_have_no_hole() {
    let tracks = [video(), audio()];
    for max in [
        limits::PACKET_BYTES_MIN,
        limits::UDP_PACKET_BYTES,
        limits::TCP_PACKET_BYTES,
        PACKET_BYTES_MAX,
    ] {
        let (mut mux, mut out, mut heard) = (started(&tracks, max), Records::new(), Heard::of(2));
        // 32 bits of 90 kHz wrap on the way, and 16 of sequence numbers.
        let base = joined_base(&mux);
        let first_dts = (1_i64 << 32) - 90_000;
        let offsets = [7200, 14_400, 3600, -3600];
        let (mut video_times, mut audio_times) = (Vec::new(), Vec::new());
        let mut audio_at = first_dts * 44_100 / 90_000;
        for index in 0..400_i64 {
            let (dts, offset) = (first_dts + index * 3600, offsets[index as usize % 4]);
            let key = index % 50 == 0;
            let bytes = (index as usize * 797) % (3 * max) + 2;
            let data = picture(if key { 0x65 } else { 0x41 }, bytes);
            mux.frame(&frame(1, dts, offset, key, &data), &mut out);
            video_times.push(base[0].wrapping_add((dts + i64::from(offset)) as u32));
            mux.frame(&frame(2, audio_at, 0, true, b"sound"), &mut out);
            audio_times.push(base[1].wrapping_add(audio_at as u32));
            audio_at += 1024;
        }
        let joins: Vec<_> = out.marks().iter().map(|mark| mark.join).collect();
        assert!(joins.iter().enumerate().all(|(at, join)| *join == (at % 100 == 0)));
        out.iter().for_each(|(_, record)| heard.hear(record));
        heard.times[0].dedup();
        assert_eq!(heard.times[0], video_times, "{max}");
        assert_eq!(heard.times[1], audio_times);
        assert!(heard.longest <= max && heard.longest > max - 100);
        assert_eq!(mux.skipped(), 0);
    }
}

/// RTP time of stream time 0 in each lane.
fn joined_base(mux: &Mux) -> Vec<u32> {
    mux.lines.iter().map(|line| line.join(0, 1).rtp_time).collect()
}

#[test]
fn a_join_point_says_where_each_lane_begins() {
    let tracks = [audio(), video()];
    let (mut mux, mut out) = (started(&tracks, 1200), Records::new());
    let (key, inter) = (picture(0x65, 3000), picture(0x41, 10));
    for index in 0..100_i64 {
        mux.frame(&frame(2, index * 1764, 0, true, b"a"), &mut out);
        let is_key = index % 25 == 0;
        let data = if is_key { &key } else { &inter };
        out.clear();
        mux.frame(&frame(1, index * 3600, 7200, is_key, data), &mut out);
        if !is_key {
            continue;
        }
        let point = joined(&mux);
        assert_eq!(point.stream_millis, index * 40);
        assert_eq!(point.lanes.iter().map(|lane| lane.track).collect::<Vec<_>>(), [2, 1]);
        let (channel, body) = frames(out.bytes())[0];
        let packet = Packet::parse(body).unwrap();
        let lane = point.lanes[1];
        assert_eq!((channel, packet.sequence, packet.ssrc), (2, lane.sequence, lane.ssrc));
        assert_eq!(packet.timestamp, lane.rtp_time.wrapping_add(7200), "of the decode time");
        out.clear();
        mux.frame(&frame(2, index * 1764 + 10, 0, true, b"a"), &mut out);
        let packet = Packet::parse(frames(out.bytes())[0].1).unwrap();
        let lane = point.lanes[0];
        assert_eq!((packet.sequence, packet.ssrc), (lane.sequence, lane.ssrc));
        assert_eq!(packet.timestamp, lane.rtp_time.wrapping_add(10));
        assert_eq!(point.wall_millis, None);
    }
    mux.wall_clock(0, UNIX);
    mux.frame(&frame(1, 360_000, 7200, true, &key), &mut out);
    assert_eq!(joined(&mux).wall_millis, Some(UNIX as u64 / 1000 + 4_000));
}

#[test]
fn another_seed_begins_elsewhere_and_the_same_at_the_same_place() {
    let lanes = lanes(&[video(), audio()]);
    let of = |seed| {
        let mux = Mux::new(lanes.clone(), 1200, seed);
        mux.lines.iter().map(|line| line.join(0, 1)).collect::<Vec<_>>()
    };
    assert_eq!(of(1), of(1));
    let (one, two) = (of(1), of(2));
    for (a, b) in [(one[0], two[0]), (one[1], two[1]), (one[0], one[1])] {
        assert!(a.ssrc != b.ssrc && a.sequence != b.sequence && a.rtp_time != b.rtp_time);
    }
}

const UNIX: i64 = 1_795_350_020_298_000;

#[test]
fn reports_of_all_lanes_are_of_one_moment_and_come_once_a_second() {
    let tracks = [video(), audio()];
    let (mut mux, mut out, mut heard) = (started(&tracks, 1200), Records::new(), Heard::of(2));
    let base = joined_base(&mux);
    let data = picture(0x41, 3000);
    let key = picture(0x65, 3000);
    let mut moments = Vec::new();
    for index in 0..1000_i64 {
        if index == 30 {
            // Known late; and measured once a second with noise.
            mux.wall_clock(0, UNIX);
        }
        if index % 25 == 0 && index > 30 {
            mux.wall_clock(index * 40_000, UNIX + index * 40_000 + index * 77 % 15_000);
        }
        let before = heard.reports[0].len();
        let is_key = index % 60 == 0;
        mux.frame(
            &frame(1, index * 3600, 7200, is_key, if is_key { &key } else { &data }),
            &mut out,
        );
        mux.frame(&frame(2, index * 1764, 0, true, b"sound"), &mut out);
        out.iter().for_each(|(_, record)| heard.hear(record));
        out.clear();
        assert_eq!(heard.reports[0].len(), heard.reports[1].len());
        if heard.reports[0].len() > before {
            moments.push(index);
        }
    }
    // As early as can be, at every keyframe, otherwise a second after the last.
    assert_eq!(moments[..7], [30, 55, 60, 85, 110, 120, 145]);
    for (lane, rate) in [(0, 90_000), (1, 44_100)] {
        for (report, index) in heard.reports[lane].iter().zip(&moments) {
            let ticks = index * 40 * rate / 1000;
            assert_eq!(report.rtp_time, base[lane].wrapping_add(ticks as u32));
            // Without the noise; both sides are rounded down.
            let off = report.ntp.unix_micros() - UNIX - index * 40_000;
            assert!((-1..=0).contains(&off), "{off}");
        }
    }
}

#[test]
fn a_day_of_reports_is_exact_to_the_tick() {
    let track = Track {
        timescale: 44_100,
        ..audio()
    };
    let (mut mux, mut out, mut heard) = (started(&[track], 1200), Records::new(), Heard::of(1));
    mux.wall_clock(0, UNIX);
    let base = joined_base(&mux)[0];
    for second in 0..86_400_i64 {
        mux.frame(&frame(2, second * 44_103, 0, true, b"a"), &mut out);
        heard.hear(out.bytes());
        out.clear();
    }
    let reports = &heard.reports[0];
    assert_eq!(reports.len(), 86_400);
    let first = reports[0];
    for (second, report) in (0..).zip(reports) {
        // As players do: the difference of NTP times in ticks, rounded to the nearest.
        let since = i128::from(report.ntp.0.wrapping_sub(first.ntp.0).cast_signed());
        let ticks = (since * 44_100 + (1 << 31)) >> 32;
        assert_eq!(ticks, second * 44_103);
        assert_eq!(report.rtp_time, base.wrapping_add(ticks as u32));
    }
}

#[test]
fn without_video_a_viewer_joins_five_times_a_second() {
    let (mut mux, mut out) = (started(&[audio()], 1200), Records::new());
    for index in 0..87 {
        mux.frame(&frame(2, index * 1024, 0, true, b"a"), &mut out);
    }
    let joins = out.marks().iter().filter(|mark| mark.join);
    let times: Vec<_> = joins.map(|mark| mark.dts_micros / 1000).collect();
    assert_eq!(times, [0, 208, 417, 626, 835, 1044, 1253, 1462, 1671, 1880]);
}

#[test]
fn a_break_ends_viewers_only_where_the_description_no_longer_holds() {
    let other_sps = Track {
        generation: 1,
        codec_data: crate::codec::cases::hex(crate::codec::cases::AVCC_HIGH),
        ..video()
    };
    let other_config = Track {
        codec_data: vec![0x11, 0x90],
        ..audio()
    };
    let hevc = Track {
        codec: Codec::Hevc,
        codec_data: Vec::new(),
        ..video()
    };
    let renamed = |id, track: Track| Track { id, ..track };
    let extra = renamed(3, audio());
    for (kind, tracks, expected) in [
        (Break::CodecData, vec![other_sps.clone(), audio()], Verdict::Continue),
        (Break::CodecData, vec![video(), other_config.clone()], Verdict::End),
        (Break::CodecData, vec![hevc.clone(), audio()], Verdict::End),
        (Break::TimeJump, vec![video(), audio()], Verdict::Continue),
        (
            Break::TrackSet,
            vec![video(), audio(), extra.clone()],
            Verdict::Continue,
        ),
        (Break::TrackSet, vec![audio()], Verdict::Continue),
        (Break::TrackSet, vec![video()], Verdict::Continue),
        (Break::TrackSet, vec![extra.clone()], Verdict::End),
        (Break::TrackSet, vec![], Verdict::End),
        (Break::Publisher, vec![video(), audio()], Verdict::Continue),
        (Break::Publisher, vec![other_sps, audio()], Verdict::Continue),
        (
            Break::Publisher,
            vec![renamed(1, audio()), renamed(2, video())],
            Verdict::Continue,
        ),
        (Break::Publisher, vec![video()], Verdict::End),
        (Break::Publisher, vec![hevc, audio()], Verdict::End),
        (Break::Publisher, vec![video(), other_config], Verdict::End),
    ] {
        let (mut mux, mut out) = (started(&[video(), audio()], 1200), Records::new());
        for track in &tracks {
            let is_ours = track.id != 3 || kind == Break::TrackSet;
            assert_eq!(mux.carries(track), is_ours, "{kind:?} {track:?}");
        }
        assert_eq!(mux.on_break(kind, &tracks, &mut out), expected, "{kind:?} {tracks:?}");
        assert!(out.is_empty());
    }
    let mux = started(&[video(), audio()], 1200);
    let flac = Track {
        codec: Codec::Flac,
        ..audio()
    };
    let vp8 = Track {
        id: 9,
        codec: Codec::Vp8,
        ..video()
    };
    assert!(!mux.carries(&flac) && !mux.carries(&vp8));
}

#[test]
fn new_parameter_sets_go_in_front_of_the_next_keyframe() {
    let (mut mux, mut out) = (started(&[video(), audio()], 1200), Records::new());
    let other = Track {
        codec_data: crate::codec::cases::hex(crate::codec::cases::AVCC_HIGH),
        ..video()
    };
    mux.on_break(Break::CodecData, &[other.clone(), audio()], &mut out);
    mux.frame(&frame(1, 0, 0, true, &picture(0x65, 9)), &mut out);
    let first = Packet::parse(frames(out.bytes())[0].1).unwrap().payload;
    let config = crate::codec::h264::Config::parse(&other.codec_data).unwrap();
    let sps = config.sps().next().unwrap();
    assert_eq!((first[0], &first[3..3 + sps.len()]), (0x78, sps));
}

#[test]
fn another_publishers_tracks_take_the_lanes_of_those_before() {
    let (mut mux, mut out, mut heard) = (started(&[video(), audio()], 1200), Records::new(), Heard::of(2));
    mux.wall_clock(0, UNIX);
    let base = joined_base(&mux);
    mux.frame(&frame(1, 0, 0, true, &picture(0x65, 9)), &mut out);
    mux.frame(&frame(2, 0, 0, true, b"a"), &mut out);
    let swapped = [Track { id: 1, ..audio() }, Track { id: 2, ..video() }];
    assert_eq!(mux.on_break(Break::Publisher, &swapped, &mut out), Verdict::Continue);
    // Reports wait for the clock to be measured anew.
    mux.frame(&frame(2, 900_000, 0, true, &picture(0x65, 9)), &mut out);
    mux.wall_clock(10_000_000, UNIX + 33_000_000);
    mux.frame(&frame(1, 441_000, 0, true, b"a"), &mut out);
    out.iter().for_each(|(_, record)| heard.hear(record));
    let times = |lane: usize, ticks: u32| [base[lane], base[lane].wrapping_add(ticks)];
    heard.times[0].dedup();
    assert_eq!(heard.times[0], times(0, 900_000));
    assert_eq!(heard.times[1], times(1, 441_000));
    for reports in &heard.reports {
        let said: Vec<_> = reports.iter().map(|report| report.ntp).collect();
        assert_eq!(said, [UNIX, UNIX + 33_000_000].map(Ntp::from_unix_micros));
    }
    assert_eq!(joined(&mux).lanes[0].track, 1, "as it was described");
    // What follows calls them as the new publisher does.
    assert_eq!(mux.on_break(Break::CodecData, &swapped, &mut out), Verdict::Continue);
    assert_eq!(
        mux.on_break(Break::TrackSet, &swapped[..1], &mut out),
        Verdict::Continue
    );
    out.clear();
    mux.frame(&frame(1, 442_024, 0, true, b"a"), &mut out);
    heard.hear(out.bytes());
    assert_eq!(heard.times[1].len(), 3);
}

#[test]
fn a_track_that_rests_leaves_its_lane_silent_and_comes_back() {
    let (mut mux, mut out, mut heard) = (started(&[video(), audio()], 1200), Records::new(), Heard::of(2));
    mux.wall_clock(0, UNIX);
    mux.frame(&frame(1, 0, 0, true, &picture(0x65, 9)), &mut out);
    mux.frame(&frame(2, 0, 0, true, b"a"), &mut out);
    mux.on_break(Break::TrackSet, &[audio()], &mut out);
    for second in 1..4 {
        mux.frame(&frame(1, second * 90_000, 0, true, &picture(0x65, 9)), &mut out);
        mux.frame(&frame(2, second * 44_100, 0, true, b"a"), &mut out);
    }
    let joins: Vec<_> = out.marks().iter().map(|mark| mark.join).collect();
    assert_eq!(joins, [true, false, true, true, true], "sound is what viewers join at");
    mux.on_break(Break::TrackSet, &[video(), audio()], &mut out);
    mux.frame(&frame(1, 400_000, 0, true, &picture(0x65, 9)), &mut out);
    out.iter().for_each(|(_, record)| heard.hear(record));
    assert_eq!([heard.reports[0].len(), heard.reports[1].len()], [2, 5]);
    assert_eq!(heard.packets, [4, 4]);
    assert!(heard.byes.is_empty());
    out.clear();
    mux.finish(&mut out);
    heard.hear(out.bytes());
    assert_eq!(out.marks().len(), 1);
    let ssrcs: Vec<_> = joined(&mux).lanes.iter().map(|lane| lane.ssrc).collect();
    assert_eq!(heard.byes, ssrcs);
    // Without a clock, an empty receiver report is in front.
    let (mut mux, mut heard) = (started(&[video(), audio()], 1200), Heard::of(2));
    out.clear();
    mux.finish(&mut out);
    heard.hear(out.bytes());
    assert_eq!((heard.byes.len(), heard.reports[0].len()), (2, 0));
}

#[test]
fn a_frame_without_packets_is_no_record_and_no_report() {
    let (mut mux, mut out, mut heard) = (started(&[video(), audio()], 1200), Records::new(), Heard::of(2));
    mux.wall_clock(0, UNIX);
    mux.frame(&frame(1, 0, 0, true, &[]), &mut out);
    mux.frame(&frame(9, 0, 0, true, b"a"), &mut out);
    assert!(out.is_empty());
    assert_eq!(mux.skipped(), 1);
    mux.on_break(
        Break::CodecData,
        &[
            Track {
                generation: 1,
                ..video()
            },
            audio(),
        ],
        &mut out,
    );
    assert_eq!(mux.skipped(), 1, "still");
    mux.frame(&frame(2, 0, 0, true, b"a"), &mut out);
    heard.hear(out.bytes());
    assert_eq!(heard.reports[0].len(), 1);
}

#[test]
fn a_packaging_that_makes_no_sense_is_refused() {
    let good = lanes(&[video(), audio()]);
    let same_channel = vec![
        good[0].clone(),
        Lane {
            rtp_channel: 1,
            ..good[1].clone()
        },
    ];
    for (lanes, max) in [
        (vec![], 1200),
        (same_channel, 1200),
        (good.clone(), PACKET_BYTES_MIN - 1),
        (good.clone(), PACKET_BYTES_MAX + 1),
    ] {
        assert!(std::panic::catch_unwind(|| Mux::new(lanes, max, 1)).is_err());
    }
}
