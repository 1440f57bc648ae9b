//! What does one frame cost on its way: read from RTMP, put into the ring, read from it, muxed, put into a feed?
//!
//! Two sizes of picture (2.6 and 40 Mb/s at 30 a second), noise of a fixed seed. Each step says what it makes by a
//! checksum that is looked at before it is measured: a step that makes something else is another bench.

use std::hint::black_box;
use std::sync::Arc;

use penstock_proto::media::Item;
use penstock_proto::media::{Codec, Format, Frame, Mux, Records, Track};
use penstock_proto::rtmp::wire::chunk::{Message, Reader, write_message};
use penstock_proto::rtmp::wire::message;
use penstock_proto::rtp::pack;
use penstock_proto::rtsp::mux::Lane;
use penstock_proto::rtsp::mux::limits::{TCP_PACKET_BYTES, UDP_PACKET_BYTES};
use penstock_proto::tag::demux::Demux;
use penstock_proto::tag::{self, MessageKind};
use penstock_proto::{flv, mp4, rtmp, rtsp, ts};
use penstock_shard::feed;
use penstock_shard::pool::Pool;
use penstock_shard::ring::{self, flags};

use super::{Body, Step};

const SIZES: [(&str, usize); 2] = [("2.6Mbps", 10_800), ("40Mbps", 166_700)];
const FRAMES: usize = 60;
const GOP: usize = 60;
const CHUNK_BYTES: u32 = 4096;
const TICKS: i64 = 3000;
const POOL_BYTES: u64 = 256 << 20;

/// Sum of each muxer's first round, by size: FNV-1a of its bytes. A muxer that is changed on purpose gets a new one.
const SUMS: [(&str, [u64; 2]); 6] = [
    ("mux_flv", [0x8940_4309_0403_498a, 0x9129_f122_0aab_2a6a]),
    ("mux_ts", [0x8aa7_3efa_ea03_b455, 0x3a5e_4861_d4a0_c754]),
    ("mux_mp4", [0xe560_bd75_21cb_58c3, 0x94b1_6bab_e611_3d9f]),
    ("mux_rtmp", [0xce9f_a02a_785e_4bf0, 0xc8a6_c83a_47d6_ec80]),
    ("mux_rtsp_tcp", [0xde30_02d9_bc82_13df, 0x80c5_ef7d_9f4b_891c]),
    ("mux_rtsp_udp", [0xc0b5_d552_6415_6c88, 0x1752_3178_774f_ad42]),
];

/// All steps in both sizes.
pub fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    for (size, (name, bytes)) in SIZES.into_iter().enumerate() {
        let mut add = |step: &'static str, start: Box<dyn Fn() -> Body>| {
            steps.push(Step {
                name: step,
                size: name,
                unit: "frame",
                units: FRAMES as u64,
                bytes: (FRAMES * bytes) as u64,
                start,
            });
        };
        add("rtmp_read_demux", Box::new(move || rtmp_read_demux(bytes)));
        for (step, make) in MAKERS {
            add(step, Box::new(move || mux(step, make, size)));
        }
        add("ring_append", Box::new(move || ring_append(bytes)));
        add("ring_read", Box::new(move || ring_read(bytes)));
        add("feed_append", Box::new(move || feed_append(bytes)));
    }
    steps
}

/// Two seconds of pictures, each one NAL unit behind its length.
struct Pictures {
    track: Track,
    payloads: Vec<Vec<u8>>,
}

impl Pictures {
    fn of(bytes: usize) -> Pictures {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let payloads = (0..FRAMES).map(|at| {
            let mut payload = (bytes as u32 - 4).to_be_bytes().to_vec();
            payload.push(if at % GOP == 0 { 0x65 } else { 0x41 });
            payload.extend(std::iter::repeat_with(|| noise(&mut state)).take(bytes - 5));
            payload
        });
        Pictures {
            payloads: payloads.collect(),
            track: Track {
                id: 1,
                generation: 0,
                codec: Codec::H264,
                timescale: 90_000,
                codec_data: RECORD.to_vec(),
                bitrate_hint: 0,
                format: Format::Video {
                    width: 1280,
                    height: 720,
                    frame_rate: 30.0,
                },
            },
        }
    }

    /// The frames of a round; time goes on from round to round.
    fn frames(&self, round: i64) -> impl Iterator<Item = Frame<'_>> {
        self.payloads.iter().enumerate().map(move |(at, data)| Frame {
            track: 1,
            dts: (round * FRAMES as i64 + at as i64) * TICKS,
            offset: 0,
            key: at % GOP == 0,
            data,
        })
    }
}

/// avcC of a 1280 x 720 High stream, as x264 writes it.
const RECORD: [u8; 46] =
    *b"\x01\x64\x00\x1f\xff\xe1\x00\x1a\x67\x64\x00\x1f\xac\xd9\x40\x50\x05\xbb\x01\x10\x00\x00\x03\x00\x10\x00\x00\
\x03\x03\xc0\xf1\x83\x19\x60\x01\x00\x05\x68\xeb\xec\xb2\x2c\xfd\xf8\xf8\x00";

fn noise(state: &mut u64) -> u8 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state as u8 | 1 // No zero byte: nothing that looks like a start code.
}

fn sum(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

const SUM_START: u64 = 0xcbf2_9ce4_8422_2325;

fn check(step: &str, size: usize, found: u64) {
    let expected = SUMS.iter().find(|(name, _)| *name == step).map(|(_, sums)| sums[size]);
    assert_eq!(Some(found), expected, "{step} makes something else: {found:#018x}");
}

/// A publisher's bytes: the sequence header, then pictures.
fn published(pictures: &Pictures) -> (Vec<u8>, Vec<u8>) {
    let (mut setup, mut media, mut body) = (Vec::new(), Vec::new(), Vec::new());
    let send = |body: &[u8], timestamp, out: &mut Vec<u8>| {
        let message = Message {
            csid: 6,
            kind: message::VIDEO,
            timestamp,
            message_stream: 1,
        };
        write_message(message, CHUNK_BYTES, body, out);
    };
    assert!(tag::mux::sequence_header(&pictures.track, &mut body));
    send(&body, 0, &mut setup);
    for frame in pictures.frames(0) {
        body.clear();
        tag::mux::frame_body(&pictures.track, &frame, &mut body);
        send(&body, (frame.dts / 90) as u32, &mut media);
    }
    (setup, media)
}

/// Reads messages and takes them apart; calls `found` with each frame.
fn ingest(reader: &mut Reader, demux: &mut Demux, mut input: &[u8], mut found: impl FnMut(&Frame<'_>)) {
    loop {
        let (taken, message) = reader.read(input).expect("the bench writes legal chunks");
        input = &input[taken..];
        let Some(message) = message else { return };
        let pushed = demux.push(MessageKind::Video, message.timestamp, reader.body());
        pushed.expect("the bench writes legal bodies");
        while let Some(item) = demux.poll() {
            if let Item::Frame(frame) = item {
                found(&frame);
            }
        }
    }
}

fn publisher(setup: &[u8]) -> (Reader, Demux) {
    let (mut reader, mut demux) = (Reader::new(0), Demux::new());
    reader.set_chunk_bytes(CHUNK_BYTES).expect("a legal size");
    ingest(&mut reader, &mut demux, setup, |_| {
        panic!("a sequence header is no frame")
    });
    (reader, demux)
}

fn rtmp_read_demux(bytes: usize) -> Body {
    let pictures = Pictures::of(bytes);
    let (setup, media) = published(&pictures);
    let (mut reader, mut demux) = publisher(&setup);
    let mut found = SUM_START;
    ingest(&mut reader, &mut demux, &media, |frame| found = sum(found, frame.data));
    let expected = pictures
        .payloads
        .iter()
        .fold(SUM_START, |total, payload| sum(total, payload));
    assert_eq!(found, expected, "what went in came out");
    // The same times again are a jump for the demuxer after the first round: a publisher of its own each time.
    Box::new(move || {
        let (mut reader, mut demux) = publisher(&setup);
        let mut frames = 0;
        ingest(&mut reader, &mut demux, &media, |frame| {
            frames += black_box(frame.data).len()
        });
        black_box(frames);
    })
}

type Maker = fn(&Track) -> Box<dyn Mux>;

/// Name and maker of each muxer.
const MAKERS: [(&str, Maker); 6] = [
    ("mux_flv", |_| Box::new(flv::Mux::new())),
    ("mux_ts", |_| Box::new(ts::Mux::new("bench"))),
    ("mux_mp4", |_| Box::new(mp4::Muxer::new())),
    ("mux_rtmp", |_| Box::new(rtmp::Mux::new(1))),
    ("mux_rtsp_tcp", |track| rtsp_mux(track, TCP_PACKET_BYTES)),
    ("mux_rtsp_udp", |track| rtsp_mux(track, UDP_PACKET_BYTES)),
];

/// One lane; the clock of the wall is known, so reports are made.
fn rtsp_mux(track: &Track, packet_bytes_max: usize) -> Box<dyn Mux> {
    let lane = Lane {
        track: track.id,
        format: pack::format(track, &[]).expect("pictures have a payload format"),
        rtp_channel: 0,
        rtcp_channel: 1,
    };
    let mut mux = rtsp::Mux::new(vec![lane], packet_bytes_max, 7);
    mux.wall_clock(0, 1_795_350_020_298_000);
    Box::new(mux)
}

fn mux(step: &str, make: Maker, size: usize) -> Body {
    let pictures = Pictures::of(SIZES[size].1);
    let mut records = Records::new();
    let (mut mux, mut round) = (make(&pictures.track), 0);
    mux.start(std::slice::from_ref(&pictures.track));
    for frame in pictures.frames(round) {
        mux.frame(&frame, &mut records);
    }
    check(step, size, sum(SUM_START, records.bytes()));
    Box::new(move || {
        round += 1;
        let mut made = 0;
        for frame in pictures.frames(round) {
            records.clear();
            mux.frame(&frame, &mut records);
            made += black_box(records.bytes()).len();
        }
        black_box(made);
    })
}

fn ring(pictures: &Pictures) -> ring::Writer {
    let pool = Pool::create(POOL_BYTES).expect("the machine has the memory");
    let config = ring::Config {
        window_micros: 4_000_000,
        bytes_max: POOL_BYTES / 2,
        segment_number_first: 0,
    };
    let mut writer = ring::Writer::create(&pool, config).expect("the pool is empty");
    writer.add_generation(1, 0, &RECORD, b"").expect("the table is empty");
    append_round(&mut writer, pictures, 0);
    // What was appended is what is read.
    let (reader, mut payload) = (writer.reader(), Vec::new());
    for (sequence, expected) in (0..).zip(&pictures.payloads) {
        reader.payload(sequence, &mut payload).expect("in the window");
        assert_eq!(sum(SUM_START, &payload), sum(SUM_START, expected), "frame {sequence}");
    }
    writer
}

fn ring_append(bytes: usize) -> Body {
    let pictures = Pictures::of(bytes);
    let (mut writer, mut round) = (ring(&pictures), 0);
    Box::new(move || {
        round += 1;
        append_round(&mut writer, &pictures, round);
    })
}

/// As a muxer reads it: the line of each frame and a copy of its payload.
fn ring_read(bytes: usize) -> Body {
    let writer = ring(&Pictures::of(bytes));
    let (reader, mut payload) = (writer.reader(), Vec::new());
    Box::new(move || {
        let head = black_box(&writer).reader().head_sequence();
        for sequence in head - FRAMES as u64..head {
            payload.clear();
            reader.payload(sequence, &mut payload).expect("in the window");
            black_box(&payload);
        }
    })
}

fn append_round(writer: &mut ring::Writer, pictures: &Pictures, round: i64) {
    for frame in pictures.frames(round) {
        let key = if frame.key { flags::KEY | flags::KEY_MAIN } else { 0 };
        let line = ring::Frame {
            track: 1,
            generation: 0,
            dts: frame.dts,
            offset: 0,
            flags: key,
            dts_micros: frame.dts * 100 / 9,
            head: &[7; 40],
            payload: frame.data,
            tail: &[0; 3],
        };
        writer.append(&line).expect("the window is smaller than the pool");
    }
}

fn feed_append(bytes: usize) -> Body {
    let pictures = Pictures::of(bytes);
    let pool = Pool::create(POOL_BYTES).expect("the machine has the memory");
    let config = feed::Config {
        lag_max_micros: 5_000_000,
        bytes_max: POOL_BYTES / 4,
        claimed_bytes_max: POOL_BYTES / 4,
    };
    let mut writer = feed::Writer::create(&pool, config).expect("the pool is empty");
    let feed = Arc::clone(writer.feed());
    let mut round = 0;
    feed_round(&mut writer, &pictures, round);
    let (mut position, mut copy) = (feed.tail(), vec![0; bytes]);
    for (at, expected) in pictures.payloads.iter().enumerate() {
        assert!(feed.copy_out(position, &mut copy), "record {at} is kept");
        assert_eq!(sum(SUM_START, &copy), sum(SUM_START, expected), "record {at}");
        position += bytes as u64;
    }
    Box::new(move || {
        round += 1;
        feed_round(&mut writer, &pictures, round);
    })
}

fn feed_round(writer: &mut feed::Writer, pictures: &Pictures, round: i64) {
    for frame in pictures.frames(round) {
        let join = frame.key.then_some(&b"join header"[..]);
        let appended = writer.append_record(frame.data, join, frame.dts * 100 / 9);
        appended.expect("the window is smaller than the pool");
    }
}
