//! Streams of a simulated camera over a simulated link.

use super::*;
use crate::media::{Codec, rescale};
use crate::noise::Noise;
use crate::rtp::limits::START_MICROS;
use crate::rtp::link::{Camera, Flight, Link, SETS, SOUND_BYTES, Toy, format};
use crate::rtp::wire::rtcp::{Ntp, SenderReport};

mod captures;
mod codecs;
mod losses;
mod times;

/// A frame as it was polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    track: u32,
    dts: i64,
    offset: i32,
    key: bool,
    number: u32,
}

/// An input, and all that came out of it.
struct Watch {
    input: Input,
    frames: Vec<Seen>,
    breaks: Vec<Break>,
    reports: Vec<(i64, usize, Vec<u8>)>,
    last: std::collections::HashMap<u32, i64>,
}

impl Watch {
    fn new(sps: &str) -> Self {
        let media = vec![
            (format(Kind::Video, 96), Toy::pictures(sps)),
            (format(Kind::Audio, 0), Toy::sound()),
        ];
        Watch {
            input: Input::with(media, Options::default(), 0),
            frames: Vec::new(),
            breaks: Vec::new(),
            reports: Vec::new(),
            last: std::collections::HashMap::new(),
        }
    }

    fn time(&mut self, now: i64) {
        while self.input.poll_timeout() <= now {
            let at = self.input.poll_timeout();
            self.input.handle_timeout(at);
            self.drain();
            while let Some((medium, bytes)) = self.input.poll_report() {
                self.reports.push((at, medium, bytes.to_vec()));
            }
        }
    }

    fn rtp(&mut self, now: i64, arrival: Arrival, medium: usize, bytes: &[u8]) {
        self.time(now);
        self.input.rtp(medium, now, arrival, bytes);
        self.drain();
    }

    fn report(&mut self, now: i64, medium: usize, ssrc: u32, ntp: Ntp, rtp_time: u32) {
        let mut bytes = Vec::new();
        let report = SenderReport {
            ssrc,
            ntp,
            rtp_time,
            packets: 0,
            octets: 0,
        };
        rtcp::emit_sender_report(&report, &mut bytes);
        self.time(now);
        self.input.rtcp(medium, now, &bytes);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            let known: Vec<u32> = self.input.tracks().iter().map(|track| track.id).collect();
            let Some(item) = self.input.poll() else { break };
            match item {
                Item::Break(kind) => self.breaks.push(kind),
                Item::Metadata => {}
                Item::Frame(frame) => {
                    assert!(known.contains(&frame.track), "its track stands before it");
                    let before = self.last.insert(frame.track, frame.dts);
                    assert!(before.is_none_or(|before| before < frame.dts), "{before:?} {frame:?}");
                    let number = match frame.data {
                        // A picture of Toy: length and slice header before its number.
                        [0, 0, 0, 5, 1, number @ ..] => number,
                        sound => &sound[..4],
                    };
                    self.frames.push(Seen {
                        track: frame.track,
                        dts: frame.dts,
                        offset: frame.offset,
                        key: frame.key,
                        number: u32::from_be_bytes(number.try_into().unwrap()),
                    });
                }
            }
        }
        self.input.check_invariants();
    }

    fn of(&self, track: u32) -> Vec<Seen> {
        self.frames.iter().copied().filter(|seen| seen.track == track).collect()
    }

    fn jumps(&self) -> usize {
        self.breaks.iter().filter(|kind| **kind == Break::TimeJump).count()
    }

    /// By how much a picture is shown after the sound that was made with it, µs: 0 if all is well.
    fn apart(&self, picture: &Seen, sound: &Seen) -> i64 {
        let shown = rescale(picture.dts + i64::from(picture.offset), 90_000, 1_000_000);
        let heard = rescale(sound.dts, 8_000, 1_000_000);
        let made = |seen: &Seen, micros: i64| i64::from(seen.number) * micros;
        (shown - made(picture, PICTURE_MICROS)) - (heard - made(sound, SOUND_MICROS))
    }

    /// Of the newest of both.
    fn apart_at_the_end(&self) -> i64 {
        let (pictures, sounds) = (self.of(1), self.of(2));
        self.apart(pictures.last().unwrap(), sounds.last().unwrap())
    }
}

const PICTURE_MICROS: i64 = 40_000;
const PICTURE_TICKS: i64 = 3_600;
const SOUND_MICROS: i64 = 20_000;
/// Pictures from key to key.
const GOP: u32 = 50;

/// A camera's two sources. Pictures are numbered as they are shown, 25 a second, sound 50.
struct Scene {
    pictures: Camera,
    sounds: Camera,
    /// Packets of a picture.
    parts: u8,
}

impl Scene {
    fn new() -> Self {
        let camera = |payload_type, ssrc, base| Camera {
            payload_type,
            ssrc,
            sequence: 65_000,
            base,
        };
        Scene {
            pictures: camera(96, 0x1111, 0xffff_0000),
            sounds: camera(0, 0x2222, 0x1234_5678),
            parts: 4,
        }
    }

    /// Picture `at` of those that are not reordered.
    fn picture(&mut self, at: u32) -> Vec<Vec<u8>> {
        let (key, parts) = (at.is_multiple_of(GOP), self.parts);
        self.pictures.picture(i64::from(at) * PICTURE_TICKS, at, key, parts)
    }

    /// Some seconds of both, as they are sent.
    fn seconds(&mut self, seconds: u32) -> Vec<Flight> {
        let mut sent = Vec::new();
        for at in 0..seconds * 25 {
            let micros = i64::from(at) * PICTURE_MICROS;
            for (part, bytes) in self.picture(at).into_iter().enumerate() {
                sent.push(Flight {
                    micros: micros + part as i64 * 200,
                    medium: 0,
                    bytes,
                });
            }
            for half in 0..2 {
                sent.push(Flight {
                    micros: micros + 1_000 + half * SOUND_MICROS,
                    medium: 1,
                    bytes: self.sounds.sound(at * 2 + half as u32),
                });
            }
        }
        sent
    }

    /// A report on both at `millis` of the scene, which is at `now`; `ntp` µs since 1970 is when it began.
    fn report(&self, watch: &mut Watch, now: i64, millis: i64, began: [i64; 2]) {
        let at = |began: i64| Ntp::from_unix_micros(began + millis * 1_000);
        let picture = self.pictures.base.wrapping_add((millis * 90) as u32);
        let sound = self.sounds.base.wrapping_add((millis * 8) as u32);
        watch.report(now, 0, self.pictures.ssrc, at(began[0]), picture);
        watch.report(now, 1, self.sounds.ssrc, at(began[1]), sound);
    }
}

fn play(watch: &mut Watch, sent: &[Flight], delay: i64) {
    for flight in sent {
        watch.rtp(
            flight.micros + delay,
            Arrival::Interleaved,
            flight.medium,
            &flight.bytes,
        );
    }
}

#[test]
fn tracks_come_in_the_order_of_the_media_and_are_announced() {
    let mut watch = Watch::new(SETS[0]);
    let both = Announced {
        video: Some(true),
        audio: Some(true),
    };
    assert_eq!(watch.input.announced(), both);
    let mut scene = Scene::new();
    // Sound first.
    let sound = scene.sounds.sound(0);
    watch.rtp(0, Arrival::Interleaved, 1, &sound);
    assert_eq!(watch.breaks, [Break::TrackSet]);
    assert!(!watch.input.is_complete());
    for packet in scene.picture(0) {
        watch.rtp(0, Arrival::Interleaved, 0, &packet);
    }
    assert!(watch.input.is_complete());
    let tracks: Vec<(u32, Codec, u32)> = watch
        .input
        .tracks()
        .iter()
        .map(|track| (track.id, track.codec, track.timescale))
        .collect();
    assert_eq!(tracks, [(1, Codec::H264, 90_000), (2, Codec::Ulaw, 8_000)]);
    let frames: Vec<(u32, i64, bool)> = watch
        .frames
        .iter()
        .map(|seen| (seen.track, seen.dts, seen.key))
        .collect();
    let second = START_MICROS / 1_000_000;
    assert_eq!(frames, [(2, second * 8_000, true), (1, second * 90_000, true)]);
}

#[test]
fn other_parameter_sets_are_a_generation_behind_a_break() {
    let mut watch = Watch::new(SETS[0]);
    let mut scene = Scene::new();
    for at in 0..4 {
        for packet in scene.picture(at) {
            watch.rtp(i64::from(at) * PICTURE_MICROS, Arrival::Interleaved, 0, &packet);
        }
    }
    let mut payload = 4_u32.to_be_bytes().to_vec();
    payload.extend_from_slice(&[0, 1, 0, 0, 1, 1]);
    for _ in 0..2 {
        // The same again is no break.
        let packet = scene.pictures.packet(4 * PICTURE_TICKS, true, &payload);
        watch.rtp(4 * PICTURE_MICROS, Arrival::Interleaved, 0, &packet);
    }
    assert_eq!(watch.breaks, [Break::TrackSet, Break::CodecData]);
    assert_eq!(watch.input.tracks()[0].generation, 1);
    assert_eq!(watch.frames.len(), 6);
}

#[test]
fn reports_are_made_every_five_seconds() {
    let mut watch = Watch::new(SETS[0]);
    let mut scene = Scene::new();
    let sent = scene.seconds(12);
    play(&mut watch, &sent, 0);
    let times: Vec<(i64, usize)> = watch.reports.iter().map(|(at, medium, _)| (*at, *medium)).collect();
    let expected = [1, 6, 11].map(|second| [(second * 1_000_000, 0), (second * 1_000_000, 1)]);
    assert_eq!(times, expected.concat());
    for (at, medium, bytes) in &watch.reports {
        let parts: Vec<Part<'_>> = rtcp::parts(bytes).map(Result::unwrap).collect();
        let [Part::ReceiverReport { ssrc, blocks }, Part::Name { name, .. }] = parts[..] else {
            panic!("{parts:?}")
        };
        assert_eq!((ssrc, name), (1 + *medium as u32, &b"penstock"[..]));
        let block = { blocks }.next().unwrap();
        let sources = [scene.pictures.ssrc, scene.sounds.ssrc];
        assert_eq!(
            (block.ssrc, block.lost, block.fraction_lost),
            (sources[*medium], 0, 0),
            "{at}"
        );
    }
    // Nobody sends: the report is empty, and keeps the session alive all the same.
    let mut silent = Watch::new(SETS[0]);
    silent.time(1_000_000);
    let parts: Vec<Part<'_>> = rtcp::parts(&silent.reports[0].2).map(Result::unwrap).collect();
    let Part::ReceiverReport { mut blocks, .. } = parts[0] else {
        panic!("{parts:?}")
    };
    assert_eq!(blocks.next(), None);
}

#[test]
fn goodbyes_of_all_sources_end_it() {
    let mut watch = Watch::new(SETS[0]);
    let mut scene = Scene::new();
    assert!(!watch.input.has_ended());
    let sent = scene.seconds(1);
    play(&mut watch, &sent, 0);
    for (medium, ssrc, ended) in [(0, 9, false), (0, 0x1111, false), (1, 0x2222, true)] {
        let mut bytes = Vec::new();
        rtcp::emit_receiver_report(ssrc, &[], &mut bytes);
        rtcp::emit_goodbye(ssrc, &mut bytes);
        // On the RTP channel too.
        watch.rtp(2_000_000, Arrival::Interleaved, medium, &bytes);
        assert_eq!(watch.input.has_ended(), ended);
    }
    let sound = scene.sounds.sound(50);
    watch.rtp(2_000_000, Arrival::Interleaved, 1, &sound);
    assert!(!watch.input.has_ended());
    assert_eq!(watch.input.counters().bad_reports, 0);
}
