//! Real pictures and sound of every codec, packed as for a player, over a link that loses, repeats, delays and reorders: what
//! was lost, and what depends on it, is left out and counted; all else comes out as it was sent.

use std::collections::HashMap;

use super::*;
use crate::rtp::link::Ledger;
use crate::rtp::pack;
use crate::rtp::unpack::tests::{Capture, Owned, format as described, packets_of, unpack};

/// A frame as it is sent, in the track's timescale.
#[derive(Clone, Debug)]
struct Sent {
    dts: i64,
    pts: i64,
    key: bool,
    data: Vec<u8>,
}

/// Some seconds of one track, over and over.
struct Clip {
    name: &'static str,
    track: Track,
    frames: Vec<Sent>,
    /// After which it begins again, in the track's timescale.
    length: i64,
}

impl Clip {
    /// `step` between frames; sound is given exact times, as its file had.
    fn of(capture: &Capture, format: &PayloadFormat, step: i64) -> Self {
        let (came, unreadable) = unpack(format, &packets_of(capture.rtp));
        assert_eq!((unreadable, came.setups.len()), (0, 1), "{}", capture.name);
        let setup = &came.setups[0].1;
        let mut units = came.units;
        if setup.codec == Codec::Ulaw {
            units = in_twenties(&units);
        }
        let first = units[0].timestamp;
        let count = units.len() as i64;
        let shown = |at: i64, unit: &Owned| match format.kind {
            Kind::Video => unit.timestamp - first,
            _ => at * step,
        };
        // As early as the latest picture allows.
        let late = (0..)
            .zip(&units)
            .map(|(at, unit)| at * step - shown(at, unit))
            .max()
            .unwrap();
        let frames = (0..).zip(&units).map(|(at, unit)| Sent {
            dts: at * step - late,
            pts: shown(at, unit),
            key: unit.key,
            data: unit.data.clone(),
        });
        Clip {
            name: capture.name,
            track: Track {
                id: 1,
                generation: 0,
                codec: setup.codec,
                timescale: setup.timescale,
                codec_data: setup.codec_data.clone(),
                bitrate_hint: 0,
                format: setup.format,
            },
            frames: frames.collect(),
            length: count * step,
        }
    }

    fn is_video(&self) -> bool {
        self.track.kind() == Kind::Video
    }

    /// Frame `at` of the endless stream.
    fn frame(&self, at: usize) -> Sent {
        let (round, at) = (at / self.frames.len(), at % self.frames.len());
        let begin = round as i64 * self.length;
        let frame = &self.frames[at];
        Sent {
            dts: begin + frame.dts,
            pts: begin + frame.pts,
            ..frame.clone()
        }
    }
}

/// 20 ms of G.711 each, as cameras send it.
fn in_twenties(units: &[Owned]) -> Vec<Owned> {
    let samples: Vec<u8> = units.iter().flat_map(|unit| unit.data.clone()).collect();
    let pieces = (0..).zip(samples.chunks_exact(SOUND_BYTES));
    let piece = |(at, data): (i64, &[u8])| Owned {
        timestamp: at * SOUND_BYTES as i64,
        data: data.to_vec(),
        ..units[0].clone()
    };
    pieces.map(piece).collect()
}

fn pictures(capture: &Capture, encoding: &str) -> Clip {
    let format = described(Kind::Video, encoding, 90_000, 1, &capture.fmtp());
    Clip::of(capture, &format, PICTURE_TICKS)
}

fn sound(capture: &Capture, encoding: &str, clock_rate: u32, channels: u32, samples: i64) -> Clip {
    let fmtp = match encoding {
        "MPEG4-GENERIC" | "OPUS" => capture.fmtp(),
        _ => String::new(),
    };
    let format = described(Kind::Audio, encoding, clock_rate, channels, &fmtp);
    Clip::of(capture, &format, samples)
}

/// Packets and description alone: what they are of does not matter here.
macro_rules! capture {
    ($name:literal) => {
        Capture {
            name: $name,
            rtp: include_bytes!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/src/rtp/unpack/testdata/",
                $name,
                ".rtp"
            )),
            sdp: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/src/rtp/unpack/testdata/",
                $name,
                ".sdp"
            )),
            frames: "",
        }
    };
}

fn pairs() -> Vec<[Clip; 2]> {
    vec![
        [
            pictures(&capture!("h264"), "H264"),
            sound(&capture!("aac"), "MPEG4-GENERIC", 48_000, 2, 1024),
        ],
        [
            pictures(&capture!("h264-inband"), "H264"),
            sound(&capture!("mp3"), "MPA", 90_000, 1, 1152),
        ],
        [
            pictures(&capture!("hevc"), "H265"),
            sound(&capture!("opus"), "OPUS", 48_000, 2, 960),
        ],
        [
            pictures(&capture!("av1"), "AV1"),
            sound(&capture!("ulaw"), "PCMU", 8_000, 1, 160),
        ],
        [
            pictures(&capture!("vp8"), "VP8"),
            sound(&capture!("mp2"), "MPA", 90_000, 1, 1152),
        ],
        [
            pictures(&capture!("vp9"), "VP9"),
            sound(&capture!("ac3"), "AC3", 48_000, 1, 1536),
        ],
        [
            pictures(&capture!("mjpeg"), "JPEG"),
            sound(&capture!("aac-gst"), "MPEG4-GENERIC", 48_000, 1, 1024),
        ],
    ]
}

/// What is sent of both tracks, and of every flight the frame that it is a part of.
struct Sending {
    flights: Vec<Flight>,
    frames: [Vec<Sent>; 2],
    formats: [PayloadFormat; 2],
}

/// Payload bytes of a packet: small, so that frames are in several.
const PAYLOAD_BYTES: usize = 600;
const SECONDS: i64 = 120;

fn send(clips: &[Clip; 2]) -> Sending {
    let mut flights = Vec::new();
    let mut frames = [Vec::new(), Vec::new()];
    let formats = [&clips[0], &clips[1]].map(|clip| pack::format(&clip.track, &[]).expect("it was read"));
    for (medium, clip) in clips.iter().enumerate() {
        let mut pack = pack::of(&clip.track, PAYLOAD_BYTES, 7).expect("it has a format");
        let mut camera = Camera {
            payload_type: formats[medium].payload_type,
            ssrc: 0x1111 * (1 + medium as u32),
            sequence: 65_000,
            base: 0xffff_0000,
        };
        for at in 0.. {
            let frame = clip.frame(at);
            let micros = rescale(frame.dts - clip.frames[0].dts, clip.track.timescale, 1_000_000);
            if micros >= SECONDS * 1_000_000 {
                break;
            }
            let ticks = rescale(frame.pts, clip.track.timescale, formats[medium].clock_rate);
            let lent = Frame {
                track: 1,
                dts: frame.dts,
                offset: (frame.pts - frame.dts) as i32,
                key: frame.key,
                data: &frame.data,
            };
            let mut part = 0;
            pack.frame(&lent, &mut |packet| {
                let stamp = ticks + i64::from(packet.ticks);
                let mut bytes = camera.packet(stamp, packet.marker, &packet.parts.concat());
                // Which frame it is of goes with it, behind what is read.
                bytes.extend_from_slice(&(at as u32).to_be_bytes());
                flights.push(Flight {
                    micros: micros + part * 200,
                    medium,
                    bytes,
                });
                part += 1;
            });
            assert!(part > 0, "{} {at}", clip.name);
            frames[medium].push(frame);
        }
    }
    flights.sort_by_key(|flight| flight.micros);
    Sending {
        flights,
        frames,
        formats,
    }
}

fn split(flight: &Flight) -> (u32, &[u8]) {
    let (packet, frame) = flight.bytes.split_last_chunk().expect("it was put there");
    (u32::from_be_bytes(*frame), packet)
}

/// How many packets there are of each frame of a medium, none of them counted twice.
fn packets(flights: &[Flight], medium: usize) -> HashMap<u32, usize> {
    let mut known = std::collections::HashSet::new();
    let mut found = HashMap::new();
    for flight in flights.iter().filter(|flight| flight.medium == medium) {
        let (frame, packet) = split(flight);
        if known.insert(packet) {
            *found.entry(frame).or_default() += 1;
        }
    }
    found
}

/// What must become of the frames of one medium.
#[derive(Debug, Default)]
struct Fates {
    served: Vec<usize>,
    before_key: u64,
    damaged: u64,
    undecodable: u64,
}

fn fates(clip: &Clip, sending: &Sending, arrived: &[Flight], medium: usize) -> Fates {
    let (all, came) = (packets(&sending.flights, medium), packets(arrived, medium));
    let (mut fates, mut decodable, mut begun) = (Fates::default(), false, false);
    // When the keyframe is shown that was begun with, and whether anything was served before it.
    let mut entry = (i64::MIN, false);
    for (at, frame) in sending.frames[medium].iter().enumerate() {
        let here = came.get(&(at as u32)).copied().unwrap_or(0);
        let is_whole = here == all[&(at as u32)];
        if is_whole && !decodable && frame.key {
            entry = (frame.pts, begun);
        }
        decodable = is_whole && (decodable || frame.key);
        // Of an open GOP: it needs what is before the keyframe.
        let is_leading = decodable && frame.pts < entry.0;
        if decodable && !is_leading {
            fates.served.push(at);
        } else if !is_whole {
            fates.damaged += u64::from(here > 0);
        } else if (is_leading && entry.1) || (!is_leading && begun) {
            fates.undecodable += 1;
        } else {
            fates.before_key += 1;
        }
        begun |= decodable;
        if !clip.is_video() {
            decodable = true;
        }
    }
    fates
}

/// What came out of one track: time of presentation, and the rest.
struct Heard {
    frames: Vec<Sent>,
}

fn drain(input: &mut Input, heard: &mut [Heard; 2]) {
    while let Some(item) = input.poll() {
        match item {
            Item::Frame(frame) => heard[frame.track as usize - 1].frames.push(Sent {
                dts: frame.dts,
                pts: frame.dts + i64::from(frame.offset),
                key: frame.key,
                data: frame.data.to_vec(),
            }),
            Item::Break(kind) => assert_eq!(kind, Break::TrackSet),
            Item::Metadata => {}
        }
    }
    input.check_invariants();
}

/// Plays what arrived. What came out, and the most memory that was held.
fn receive(sending: &Sending, arrived: &[Flight]) -> (Input, [Heard; 2], [usize; 2]) {
    let mut input = Input::new(&sending.formats, Options::default(), 0);
    let mut heard = [(); 2].map(|()| Heard { frames: Vec::new() });
    let mut high = [0, 0];
    for (number, flight) in arrived.iter().enumerate() {
        while input.poll_timeout() <= flight.micros {
            input.handle_timeout(input.poll_timeout());
            drain(&mut input, &mut heard);
            while input.poll_report().is_some() {}
        }
        input.rtp(flight.medium, flight.micros, Arrival::Datagram, split(flight).1);
        drain(&mut input, &mut heard);
        let half = usize::from(number >= arrived.len() / 2);
        high[half] = high[half].max(input.held_bytes());
    }
    input.flush(arrived.last().unwrap().micros);
    drain(&mut input, &mut heard);
    (input, heard, high)
}

/// What came out is what had to, with its times: one constant away.
fn check_frames(name: &str, clip: &Clip, sent: &[Sent], served: &[usize], heard: &Heard, clock_rate: u32) {
    assert_eq!(heard.frames.len(), served.len(), "{name}");
    // A clock that does not count samples rounds, on the way out and on the way in.
    let rounding = if clock_rate == clip.track.timescale { 0 } else { 1 };
    let apart = |at: usize, of: fn(&Sent) -> i64| of(&heard.frames[at]) - of(&sent[served[at]]);
    let mut since_gap = SETTLED;
    let mut last = i64::MIN;
    for (at, got) in heard.frames.iter().enumerate() {
        let (number, wanted) = (served[at], &sent[served[at]]);
        assert!(got.data == wanted.data, "{name}: frame {number} has other bytes");
        assert_eq!(got.key, wanted.key, "{name}: frame {number}");
        let off = |of: fn(&Sent) -> i64| (apart(at, of) - apart(0, of)).abs();
        assert!(
            off(|frame| frame.pts) <= rounding,
            "{name}: frame {number} is shown at {}",
            got.pts
        );
        since_gap += 1;
        if at > 0 && served[at - 1] + 1 != number {
            since_gap = 0;
        }
        // Without its leading pictures a keyframe may be decoded later than with them.
        assert!(
            got.dts > last && got.dts <= got.pts,
            "{name}: frame {number} is decoded at {}",
            got.dts
        );
        last = got.dts;
        let is_exact = off(|frame| frame.dts) <= rounding;
        assert!(
            is_exact || since_gap < SETTLED,
            "{name}: frame {number} is decoded at {}",
            got.dts
        );
    }
}

/// Pictures until decode times do not depend on what is missing before them: the depth of these clips.
const SETTLED: usize = 3;

fn check_counters(name: &str, input: &Input, ledgers: &[Ledger], fates: &[Fates; 2]) {
    for (medium, ledger) in ledgers.iter().enumerate() {
        let expected = receive::Counters {
            received: ledger.arrived,
            lost: ledger.lost,
            duplicate: ledger.duplicated,
            reordered: ledger.reordered,
            ..receive::Counters::default()
        };
        assert_eq!(input.received(medium), expected, "{name}, medium {medium}");
    }
    let both = |count: fn(&Fates) -> u64| fates.iter().map(count).sum::<u64>();
    let expected = Counters {
        frames: both(|fates| fates.served.len() as u64),
        frames_damaged: both(|fates| fates.damaged),
        frames_undecodable: both(|fates| fates.undecodable),
        frames_before_key: both(|fates| fates.before_key),
        ..Counters::default()
    };
    let either = |mut counters: Counters| {
        if name.starts_with("av1") {
            // Whether a unit begins with a packet cannot be seen but of one that begins a sequence.
            counters.frames_damaged += std::mem::take(&mut counters.frames_undecodable);
        }
        counters
    };
    assert_eq!(either(input.counters()), either(expected), "{name}");
}

fn check_pair(clips: &[Clip; 2], link: Link, seed: u64) {
    let sending = send(clips);
    let (arrived, ledgers) = link.carry(&sending.flights, 2, &mut Noise(seed));
    let name = format!("{} and {} over {link:?}, seed {seed}", clips[0].name, clips[1].name);
    let (input, heard, high) = receive(&sending, &arrived);
    let fates = [0, 1].map(|medium| fates(&clips[medium], &sending, &arrived, medium));
    for medium in [0, 1] {
        let clock_rate = sending.formats[medium].clock_rate;
        let (clip, served) = (&clips[medium], &fates[medium].served);
        check_frames(&name, clip, &sending.frames[medium], served, &heard[medium], clock_rate);
        assert!(
            served.len() > sending.frames[medium].len() / 4,
            "{name}: what is served is worth it"
        );
    }
    check_counters(&name, &input, &ledgers, &fates);
    assert!(
        high[0] <= HELD_BYTES_MAX && high[1] <= high[0] + high[0] / 2,
        "{name}: {high:?}"
    );
}

/// What waits for 200 ms of 1 Mb/s, kept buffers, and the longest pictures of these clips.
const HELD_BYTES_MAX: usize = 256 << 10;

#[test]
fn every_codec_comes_through_a_bad_link_whole_or_not_at_all() {
    for (seed, lost, duplicated, delayed) in [
        (21, 0, 0, 0),
        (22, 10, 20, 100),
        (23, 50, 100, 300),
        (24, 200, 300, 1_000),
        (25, 500, 100, 300),
    ] {
        let link = Link {
            lost,
            duplicated,
            delayed,
            delay_micros: 150_000,
            jitter_micros: 20_000,
        };
        for clips in &pairs() {
            check_pair(clips, link, seed);
        }
    }
}
