//! A day of stream in seconds: what a publisher sends for 24 hours, through ring and all four muxers, to viewers who
//! follow all the time and one who joins every hour. It passes 2^32 ms, which is where the 33 bits of TS wrap as well.

use penstock_proto::tag::demux;

use super::*;

const HOURS: u64 = 24;
/// Noon of the day.
const START: u32 = 0_u32.wrapping_sub(12 * 3_600_000);
const RATE: u64 = 44_100;
/// 44,100 samples a second.
const AAC: [u8; 2] = [0x12, 0x10];
/// Five pictures a second are enough to see where they stand, and a fifth of the work.
const PICTURE_MILLIS: u64 = 200;
const GOP_PICTURES: u64 = 10;

/// Stamps that come late by up to 15 ms, by turns.
fn jitter(frame: u64) -> u64 {
    frame * 7 % 16
}

/// What the publisher has sent.
struct Day {
    rig: Rig,
    pictures: u64,
    sounds: u64,
    body: Vec<u8>,
}

impl Day {
    fn begin() -> Day {
        let mut rig = Rig::new();
        rig.audio.codec_data = AAC.to_vec();
        rig.audio.timescale = RATE as u32;
        rig.begin(START);
        Day {
            rig,
            pictures: 0,
            sounds: 0,
            body: Vec::new(),
        }
    }

    /// Sends all that is due before `millis` of the day, in order.
    fn send_until(&mut self, millis: u64) {
        loop {
            let picture = self.pictures * PICTURE_MILLIS;
            let sound = self.sounds * 1024 * 1000 / RATE;
            if picture.min(sound) >= millis {
                return;
            }
            if picture <= sound {
                let key = self.pictures.is_multiple_of(GOP_PICTURES);
                self.send(Kind::Video, picture, key);
                self.pictures += 1;
            } else {
                self.send(Kind::Audio, sound + jitter(self.sounds), true);
                self.sounds += 1;
            }
        }
    }

    fn send(&mut self, kind: Kind, millis: u64, key: bool) {
        let nal = if key { 0x65 } else { 0x41 };
        let picture = [0, 0, 0, 4, nal, 1, 2, 3];
        let (track, data) = match kind {
            Kind::Video => (&self.rig.video, &picture[..]),
            _ => (&self.rig.audio, &picture[..]),
        };
        let frame = Frame {
            track: track.id,
            dts: 0,
            offset: 0,
            key,
            data,
        };
        self.body.clear();
        tag::mux::frame_body(track, &frame, &mut self.body);
        let (kind, stamp) = (tag::mux::message_kind(track), START.wrapping_add(millis as u32));
        let rig = &mut self.rig;
        let message = Piece::Message {
            kind,
            timestamp: stamp,
            body: &self.body,
        };
        rig.stream.push(millis * 1000, &message, &rig.counters);
    }
}

/// Times of a FLV or RTMP viewer: one picture and one sound after the other, each at the publisher's 32 bits.
#[derive(Default)]
struct Times {
    pictures: u64,
    sounds: u64,
}

impl Times {
    fn take(&mut self, kind: MessageKind, time: u32, body: &[u8]) {
        if kind == MessageKind::Script || body[1] == 0 {
            return;
        }
        let count = match kind {
            MessageKind::Video => &mut self.pictures,
            _ => &mut self.sounds,
        };
        let (wanted, off_max) = match kind {
            MessageKind::Video => (*count * PICTURE_MILLIS, 0),
            _ => (*count * 1024 * 1000 / RATE, 1),
        };
        let off = time.wrapping_sub(START.wrapping_add(wanted as u32)).cast_signed();
        assert!(off.abs() <= off_max, "{kind:?} {count}: {off} ms off");
        *count += 1;
    }
}

/// Where a viewer who follows stands; bytes are looked at as they come, and dropped.
struct Follower {
    viewer: Viewer,
    flv: flv::Reader,
    chunks: chunk::Reader,
    rest: Vec<u8>,
    ts: Checker,
    times: Times,
}

impl Follower {
    fn new(viewer: Viewer) -> Follower {
        let mut chunks = chunk::Reader::new(0);
        chunks.set_chunk_bytes(rtmp::limits::PLAY_CHUNK_BYTES).unwrap();
        Follower {
            viewer,
            flv: flv::Reader::new(),
            chunks,
            rest: Vec::new(),
            ts: Checker::new(),
            times: Times::default(),
        }
    }

    fn follow(&mut self) {
        self.viewer.follow();
        let bytes = std::mem::take(&mut self.viewer.bytes);
        match self.viewer.packaging {
            Packaging::Flv => {
                self.flv.feed(&bytes);
                while let Some(tag) = self.flv.next_tag().unwrap() {
                    self.times.take(tag.kind, tag.timestamp, tag.body);
                }
            }
            Packaging::Rtsp(_) => unreachable!("not among those of the day"),
            Packaging::Rtmp { .. } => {
                self.rest.extend_from_slice(&bytes);
                let mut at = 0;
                loop {
                    let (taken, read) = self.chunks.read(&self.rest[at..]).unwrap();
                    at += taken;
                    let Some(read) = read else { break };
                    let kind = match read.kind {
                        message::VIDEO => MessageKind::Video,
                        message::AUDIO => MessageKind::Audio,
                        _ => MessageKind::Script,
                    };
                    self.times.take(kind, read.timestamp, self.chunks.body());
                }
                self.rest.drain(..at);
            }
            Packaging::Ts => self.ts.push(&bytes),
            Packaging::Mp4 => {}
        }
    }
}

/// The hourly viewer: two seconds of MP4 and what it must say, in times of 64 bits.
fn join_for_two_seconds(day: &mut Day, millis: u64) {
    let mut viewer = day.rig.watch(Packaging::Mp4);
    viewer.follow();
    day.send_until(millis + 2000);
    viewer.follow();
    let movie = mp4::read(&viewer.bytes).unwrap();
    let (pictures, sounds) = (&movie.tracks[0], &movie.tracks[1]);
    let first = pictures.samples[0].dts - u64::from(START) * 90;
    assert_eq!(
        first % (GOP_PICTURES * PICTURE_MILLIS * 90),
        0,
        "it joins at a keyframe"
    );
    assert!(first / 90 <= millis && first / 90 + 2 * GOP_PICTURES * PICTURE_MILLIS > millis);
    assert_eq!(pictures.media_time as u64, pictures.samples[0].dts);
    let anchor = (u64::from(START) * RATE).div_ceil(1000);
    assert!(sounds.samples.len() > 80);
    let counted = sounds
        .samples
        .iter()
        .all(|sample| (sample.dts - anchor).is_multiple_of(1024));
    assert!(counted, "sound is where counting samples puts it");
}

#[test]
fn a_day_has_no_drift_no_growth_and_no_break() {
    let mut day = Day::begin();
    day.send_until(80);
    let all = ALL.map(|packaging| day.rig.watch(packaging));
    let mut followers = all.map(Follower::new);
    let (mut used_early, mut used_max) = (0, 0);
    for second in 1..=HOURS * 3600 {
        if second % 3600 == 1800 {
            join_for_two_seconds(&mut day, second * 1000);
            day.rig.stream.ring.check_invariants();
        }
        day.send_until(second * 1000);
        followers.iter_mut().for_each(Follower::follow);
        used_max = used_max.max(day.rig.pool.usage().used);
        if second == 4 * 3600 {
            used_early = used_max;
        }
    }
    assert!(
        used_max <= used_early + 1,
        "{used_max} blocks, {used_early} in the first hours"
    );
    let publisher = day.rig.stream.publisher.as_ref().unwrap();
    let Input::Tags(demux) = &publisher.input else {
        panic!("the day is one of tags");
    };
    let counters = demux.counters();
    let expected = demux::Counters {
        frames: day.pictures + day.sounds,
        ..demux::Counters::default()
    };
    assert_eq!(counters, expected, "no time was moved, no frame lost");
    assert_eq!(day.rig.counters.breaks.value(), 0);
    for follower in followers {
        match follower.viewer.packaging {
            Packaging::Mp4 => {}
            Packaging::Ts => {
                let report = follower.ts.finish();
                assert_eq!((report.problems, report.discontinuities), (Vec::new(), 0));
                assert_eq!((report.video_frames, report.audio_frames), (day.pictures, day.sounds));
            }
            _ => assert_eq!(
                (follower.times.pictures, follower.times.sounds),
                (day.pictures, day.sounds)
            ),
        }
    }
    // Decode times of the newest of each in the ring, to the tick.
    let reader = &day.rig.stream.reader;
    let newest = |audio: bool| {
        let track = day
            .rig
            .stream
            .tracks
            .iter()
            .find(|track| (track.kind() == Kind::Audio) == audio);
        let id = track.unwrap().id;
        let entries = (reader.tail_sequence()..reader.head_sequence())
            .rev()
            .map(|at| reader.entry(at).unwrap());
        entries.into_iter().find(|entry| entry.track == id).unwrap().dts
    };
    let start = u64::from(START);
    assert_eq!(newest(false) as u64, (start + (day.pictures - 1) * PICTURE_MILLIS) * 90);
    assert_eq!(
        newest(true) as u64,
        (start * RATE).div_ceil(1000) + (day.sounds - 1) * 1024
    );
}

/// Two publishers, each of whom passes 2^32 ms: the stream goes on behind both, and no 32 bits are seen to fall.
#[test]
fn publishers_who_wrap_follow_each_other() {
    let mut rig = Rig::new();
    let start = 0_u32.wrapping_sub(1000);
    rig.begin(start);
    let run = |rig: &mut Rig, range: std::ops::Range<u32>| {
        for now in range {
            let stamp = start.wrapping_add(now);
            if now % 40 == 0 {
                rig.frame(Kind::Video, stamp, now % GOP_MILLIS == 0);
            }
            if matches!(now % 64, 0 | 21 | 42) {
                rig.frame(Kind::Audio, stamp, true);
            }
        }
    };
    run(&mut rig, 0..200);
    let mut viewers = ALL.map(|packaging| rig.watch(packaging));
    viewers.iter_mut().for_each(Viewer::follow);
    let mut times = Vec::new();
    for part in [200..2000, 2000..4000, 0..2000, 2000..4000, 0..2000, 2000..4000] {
        if part.start == 0 && rig.stream.publisher.as_ref().unwrap().claim == ClaimId(1) {
            rig.come_back();
            rig.begin(start);
        }
        // The third time it begins without a word where it began: a jump, which goes on behind.
        run(&mut rig, part);
        viewers.iter_mut().for_each(Viewer::follow);
        times = [times, rig.ring(Kind::Video).iter().map(|(dts, ..)| *dts).collect()].concat();
    }
    assert_eq!(rig.counters.breaks.value(), 2);
    times.sort_unstable();
    times.dedup();
    assert_eq!((times[0], times.len()), (i64::from(start) * 90, 300));
    let is_near = |pair: &[i64]| (3600..9000).contains(&(pair[1] - pair[0]));
    assert!(times.windows(2).all(is_near), "{times:?}");
    for viewer in &mut viewers {
        assert!(!viewer.feed.is_ended());
        let (video, audio) = viewer.play();
        assert!(
            (296..=300).contains(&video.len()),
            "{:?}: {}",
            viewer.packaging,
            video.len()
        );
        assert!(audio.len() > 540, "{:?}: {}", viewer.packaging, audio.len());
        if viewer.packaging == Packaging::Flv {
            let mut reader = flv::Reader::new();
            reader.feed(&viewer.bytes);
            let mut last = start;
            while let Some(tag) = reader.next_tag().unwrap() {
                if tag.kind == MessageKind::Video {
                    assert!(
                        (0..100).contains(&tag.timestamp.wrapping_sub(last)),
                        "{last} {}",
                        tag.timestamp
                    );
                    last = tag.timestamp;
                }
            }
        }
    }
}
