//! A stream over a small pool, fed with the message bodies of a publisher and read through its ring and feeds.

use penstock_proto::rtmp::wire::{chunk, message};
use penstock_proto::tag;
use penstock_proto::tag::demux::{Demux, MessageKind};
use penstock_proto::ts::check::Checker;
use penstock_proto::{flv, mp4, rtmp};
use penstock_shard::feed::Feed;
use penstock_shard::mesh::ShardId;
use penstock_shard::pool::Dirty;

use super::*;

const CLIP: &[u8] = include_bytes!("../demo/clip.flv");
const ALL: [Packaging; 4] = [
    Packaging::Flv,
    Packaging::Ts,
    Packaging::Mp4,
    Packaging::Rtmp { message_stream: 1 },
];
const STEREO: [u8; 2] = [0x11, 0x90];
const MONO: [u8; 2] = [0x11, 0x88];
const GOP_MILLIS: u32 = 1000;
const HERE: ShardId = ShardId(0);

/// A frame of the publisher, each with a payload of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    kind: Kind,
    dts: i64,
    key: bool,
    data: Vec<u8>,
}

struct Rig {
    stream: Stream,
    pool: Arc<Pool>,
    counters: AppCounters,
    now: u64,
    video: Track,
    audio: Track,
    video_bytes: usize,
    number: u32,
    sent: Vec<Sent>,
}

fn settings() -> config::Stream {
    let (config, _) = config::Config::parse(
        r#"{"streams":{"live":{"source":"push://","segmentsize":2000}}}"#,
        "test",
    )
    .unwrap();
    config.streams.into_iter().next().unwrap().1
}

/// The clip's tracks: real codec data.
fn tracks() -> (Track, Track) {
    let (mut reader, mut demux) = (flv::Reader::new(), Demux::new());
    reader.feed(CLIP);
    while demux.tracks().len() < 2 {
        let tag = reader.next_tag().unwrap().unwrap();
        demux.push(tag.kind, tag.timestamp, tag.body).unwrap();
        while demux.poll().is_some() {}
    }
    let find = |kind| {
        demux
            .tracks()
            .iter()
            .find(|track| track.kind() == kind)
            .unwrap()
            .clone()
    };
    let mut audio = find(Kind::Audio);
    audio.codec_data = STEREO.to_vec();
    audio.timescale = 48_000;
    (find(Kind::Video), audio)
}

impl Rig {
    fn new() -> Rig {
        Rig::with(256, settings())
    }

    fn with(blocks: u64, settings: config::Stream) -> Rig {
        let pool = Pool::create(blocks * penstock_shard::pool::limits::BLOCK_BYTES as u64).unwrap();
        let name = StreamName::sanitise("live").unwrap().name;
        let publisher = Publisher::new(ClaimId(1), None, Input::tags(), 0);
        let stream = Stream::create(name, settings, config::Fetched::default(), 5_000_000, publisher, &pool).unwrap();
        let (video, audio) = tracks();
        Rig {
            stream,
            pool,
            counters: AppCounters::default(),
            now: 1_000_000,
            video,
            audio,
            video_bytes: 20,
            number: 0,
            sent: Vec::new(),
        }
    }

    fn push(&mut self, kind: MessageKind, millis: u32, body: &[u8]) {
        self.now += 1000;
        let timestamp = millis;
        let message = Piece::Message { kind, timestamp, body };
        self.stream.push(self.now, &message, &self.counters);
        self.stream.ring.check_invariants();
    }

    /// Metadata that announce both kinds, and the sequence headers.
    fn begin(&mut self, millis: u32) {
        let mut body = Vec::new();
        tag::mux::metadata(&[self.video.clone(), self.audio.clone()], &mut body);
        self.push(MessageKind::Script, millis, &body);
        self.header(Kind::Video, millis);
        self.header(Kind::Audio, millis);
    }

    fn header(&mut self, kind: Kind, millis: u32) {
        let track = self.track(kind);
        let mut body = Vec::new();
        assert!(tag::mux::sequence_header(&track, &mut body));
        self.push(tag::mux::message_kind(&track), millis, &body);
    }

    fn track(&self, kind: Kind) -> Track {
        if kind == Kind::Video {
            self.video.clone()
        } else {
            self.audio.clone()
        }
    }

    fn frame(&mut self, kind: Kind, millis: u32, key: bool) {
        self.number += 1;
        let digits = format!("{:08}", self.number).into_bytes();
        let data = match kind {
            Kind::Video => {
                let nal = if key { 0x65 } else { 0x41 };
                let filler = vec![0xaa; self.video_bytes - digits.len()];
                let unit = [&[nal][..], &digits, &filler].concat();
                [&(unit.len() as u32).to_be_bytes()[..], &unit].concat()
            }
            _ => digits,
        };
        let track = self.track(kind);
        let dts = rescale(i64::from(millis), 1000, track.timescale);
        let frame = Frame {
            track: track.id,
            dts,
            offset: 0,
            key,
            data: &data,
        };
        let mut body = Vec::new();
        tag::mux::frame_body(&track, &frame, &mut body);
        self.push(tag::mux::message_kind(&track), millis, &body);
        self.sent.push(Sent { kind, dts, key, data });
    }

    /// Video of 25 frames a second with a keyframe each second, and a quarter as much sound: one frame of 1024 samples
    /// every 64 ms is three in 64 ms.
    fn run(&mut self, millis: std::ops::Range<u32>) {
        for now in millis {
            if now % 40 == 0 {
                self.frame(Kind::Video, now, now % GOP_MILLIS == 0);
            }
            if matches!(now % 64, 0 | 21 | 42) {
                self.frame(Kind::Audio, now, true);
            }
        }
    }

    fn open(&mut self, packaging: Packaging) -> Opening {
        let open = Open {
            name: self.stream.name.clone(),
            packaging: Some(packaging),
            from: HERE,
            placing: crate::messages::Placing::Anywhere,
        };
        self.stream.open(&open, HERE, &self.pool, &self.counters)
    }

    fn watch(&mut self, packaging: Packaging) -> Viewer {
        match self.open(packaging) {
            Opening::Feed { feed, .. } => Viewer {
                packaging,
                feed,
                bytes: Vec::new(),
                at: None,
            },
            other => panic!("{packaging:?}: {other:?}"),
        }
    }

    /// Frames of one kind in the ring: decode time, key flag, payload.
    fn ring(&self, kind: Kind) -> Vec<(i64, bool, Vec<u8>)> {
        let reader = &self.stream.reader;
        let mut found = Vec::new();
        for sequence in reader.tail_sequence()..reader.head_sequence() {
            let mut data = Vec::new();
            let entry = reader.payload(sequence, &mut data).unwrap();
            let timescale = if kind == Kind::Video { 90_000 } else { 48_000 };
            if data.len() > 8 && kind == Kind::Video || data.len() == 8 && kind == Kind::Audio {
                assert_eq!(entry.dts_micros, rescale(entry.dts, timescale, 1_000_000));
                found.push((entry.dts, entry.flags & flags::KEY != 0, data));
            }
        }
        found
    }

    fn sent(&self, kind: Kind) -> impl DoubleEndedIterator<Item = &Sent> {
        self.sent.iter().filter(move |sent| sent.kind == kind)
    }

    /// The next publisher, whose times begin anew.
    fn come_back(&mut self) {
        self.stream.publisher_left(self.now, &self.counters);
        let publisher = Publisher::new(ClaimId(2), None, Input::tags(), self.now);
        self.stream.publisher_came(publisher);
    }
}

/// One viewer: its join header and the run of the feed behind it.
struct Viewer {
    packaging: Packaging,
    feed: Arc<Feed>,
    bytes: Vec<u8>,
    at: Option<u64>,
}

impl Viewer {
    fn follow(&mut self) {
        let at = match self.at {
            Some(at) => at,
            None => {
                let Some(join) = self.feed.join_newest(&mut self.bytes) else {
                    return;
                };
                join.position
            }
        };
        let head = self.feed.head();
        let mut run = vec![0; (head - at) as usize];
        assert!(self.feed.copy_out(at, &mut run), "kept for a viewer that follows");
        self.bytes.extend_from_slice(&run);
        self.at = Some(head);
    }

    /// What a player finds: payloads of video and sound, each in order.
    fn play(&mut self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        self.follow();
        let mut demux = Demux::new();
        let mut found = (Vec::new(), Vec::new());
        match self.packaging {
            Packaging::Flv => {
                let mut reader = flv::Reader::new();
                reader.feed(&self.bytes);
                while let Some(tag) = reader.next_tag().unwrap() {
                    take(&mut demux, tag.kind, tag.timestamp, tag.body, &mut found);
                }
            }
            Packaging::Rtsp(_) => unreachable!("not among those that are played here"),
            Packaging::Rtmp { .. } => {
                let mut reader = chunk::Reader::new(0);
                reader.set_chunk_bytes(rtmp::limits::PLAY_CHUNK_BYTES).unwrap();
                let mut at = 0;
                while let (taken, Some(read)) = reader.read(&self.bytes[at..]).unwrap() {
                    at += taken;
                    let kind = match read.kind {
                        message::VIDEO => MessageKind::Video,
                        message::AUDIO => MessageKind::Audio,
                        _ => MessageKind::Script,
                    };
                    take(&mut demux, kind, read.timestamp, reader.body(), &mut found);
                }
            }
            Packaging::Mp4 => {
                let movie = mp4::read(&self.bytes).unwrap();
                for track in movie.tracks {
                    let list = if &track.handler == b"vide" {
                        &mut found.0
                    } else {
                        &mut found.1
                    };
                    list.extend(track.samples.iter().map(|sample| sample.bytes.to_vec()));
                }
            }
            Packaging::Ts => {
                let mut checker = Checker::new();
                checker.push(&self.bytes);
                let report = checker.finish();
                assert_eq!(report.problems, []);
                found.0 = vec![Vec::new(); report.video_frames as usize];
                found.1 = vec![Vec::new(); report.audio_frames as usize];
            }
        }
        found
    }
}

fn take(demux: &mut Demux, kind: MessageKind, timestamp: u32, body: &[u8], found: &mut (Vec<Vec<u8>>, Vec<Vec<u8>>)) {
    demux.push(kind, timestamp, body).unwrap();
    while let Some(item) = demux.poll() {
        if let Item::Frame(frame) = item {
            let list = if frame.data.len() == 8 {
                &mut found.1
            } else {
                &mut found.0
            };
            list.push(frame.data.to_vec());
        }
    }
}

/// What a viewer who joined at the keyframe of `since` ms has found: all pictures from there on, and of the sound a run
/// that reaches as far as the packaging has let it out.
#[track_caller]
fn check(rig: &Rig, viewer: &mut Viewer, since: u32) {
    let (video, audio) = viewer.play();
    let since = i64::from(since);
    let sent_video: Vec<_> = rig.sent(Kind::Video).filter(|sent| sent.dts >= since * 90).collect();
    let held = sent_video.len().checked_sub(video.len()).expect("no picture twice");
    assert!(
        held <= 4,
        "{:?}: {held} pictures of {} are not out",
        viewer.packaging,
        sent_video.len()
    );
    if viewer.packaging == Packaging::Ts {
        return;
    }
    assert!(
        video.iter().zip(&sent_video).all(|(found, sent)| *found == sent.data),
        "{:?}",
        viewer.packaging
    );
    let sent_audio: Vec<_> = rig.sent(Kind::Audio).map(|sent| &sent.data).collect();
    let first = sent_audio.iter().position(|data| Some(*data) == audio.first());
    let run = &sent_audio[first.expect("sound is there")..];
    assert!(
        run.len() - audio.len() <= 16,
        "{:?}: sound is missing at the end",
        viewer.packaging
    );
    assert!(
        audio.iter().zip(run).all(|(found, sent)| found == *sent),
        "{:?}",
        viewer.packaging
    );
}

#[test]
fn every_frame_is_in_the_ring_with_exact_times() {
    let mut rig = Rig::new();
    rig.begin(0);
    rig.run(0..8000);
    let video: Vec<_> = rig
        .sent(Kind::Video)
        .map(|sent| (sent.dts, sent.key, sent.data.clone()))
        .collect();
    assert_eq!(rig.ring(Kind::Video), video);
    let counted = |(number, sent): (usize, &Sent)| (number as i64 * 1024, true, sent.data.clone());
    let audio: Vec<_> = rig.sent(Kind::Audio).enumerate().map(counted).collect();
    assert_eq!(rig.ring(Kind::Audio), audio, "counted in samples");
    assert_eq!(rig.counters.frames_in.value(), rig.sent.len() as u64);
    assert_eq!(
        (rig.counters.frames_muxed.value(), rig.counters.breaks.value()),
        (0, 0),
        "nobody watches"
    );
}

#[test]
fn sound_before_the_first_keyframe_is_kept_behind_it() {
    let mut rig = Rig::new();
    rig.begin(0);
    for millis in [0, 21, 42] {
        rig.frame(Kind::Audio, millis, true);
    }
    assert!(!rig.stream.is_running());
    rig.frame(Kind::Video, 40, true);
    assert!(rig.stream.is_running());
    assert_eq!(rig.stream.reader.newest_key(), Some(0));
    assert_eq!((rig.ring(Kind::Video).len(), rig.ring(Kind::Audio).len()), (1, 3));
}

#[test]
fn sound_that_never_comes_is_not_waited_for_and_may_come_late() {
    let mut rig = Rig::new();
    let mut body = Vec::new();
    tag::mux::metadata(&[rig.video.clone(), rig.audio.clone()], &mut body);
    rig.push(MessageKind::Script, 0, &body);
    rig.header(Kind::Video, 0);
    for millis in (0..2000).step_by(40) {
        rig.frame(Kind::Video, millis, millis % 1000 == 0);
    }
    assert!(!rig.stream.is_running());
    rig.frame(Kind::Video, 2000, true);
    assert!(rig.stream.is_running());
    let mut viewer = rig.watch(Packaging::Flv);
    viewer.follow();
    rig.header(Kind::Audio, 2048);
    // The track is announced and has no frame yet: a viewer who comes now gets its frames all the same.
    let mut late = ALL.map(|packaging| rig.watch(packaging));
    rig.run(2048..2200);
    late.iter_mut().for_each(Viewer::follow);
    rig.run(2200..5000);
    assert_eq!(viewer.play().1.len(), rig.sent(Kind::Audio).count());
    for viewer in &mut late {
        let sound = viewer.play().1.len();
        // MP4 had the keyframe in hand, for which there was no `moov` with sound: it waits for the next one.
        let all = if viewer.packaging == Packaging::Mp4 {
            20
        } else {
            rig.sent(Kind::Audio).count() - 16
        };
        assert!(sound >= all, "{:?}: {sound}", viewer.packaging);
    }
}

#[test]
fn a_track_that_is_replaced_at_the_start_loses_no_frame() {
    let mut rig = Rig::new();
    rig.begin(0);
    for millis in [0, 21, 42] {
        rig.frame(Kind::Audio, millis, true);
    }
    // 44,100 samples a second are another track.
    rig.audio.codec_data = vec![0x12, 0x10];
    rig.header(Kind::Audio, 60);
    rig.frame(Kind::Video, 80, true);
    rig.frame(Kind::Audio, 80, true);
    assert_eq!(rig.counters.frames_in.value(), 5);
}

#[test]
fn viewers_from_the_start_and_late_ones_get_a_header_and_a_run() {
    let mut rig = Rig::new();
    rig.begin(0);
    rig.run(0..80);
    let mut early = ALL.map(|packaging| rig.watch(packaging));
    for step in 1..10 {
        rig.run(step * 500 - if step == 1 { 420 } else { 0 }..step * 500 + 500);
        early.iter_mut().for_each(Viewer::follow);
    }
    assert_eq!(rig.counters.feeds.value(), 4);
    for viewer in &mut early {
        check(&rig, viewer, 0);
    }
    // Of the keyframe at 4 s, in the middle of its GOP, from feeds that are there and from new ones.
    for unused in [0, 1] {
        let mut late = ALL.map(|packaging| rig.watch(packaging));
        for viewer in &mut late {
            viewer.follow();
        }
        let end = 5000 + unused * 1000;
        rig.run(end..end + 1000);
        for viewer in &mut late {
            check(&rig, viewer, 4000 + unused * 1000);
        }
        rig.stream.feeds.clear();
    }
}

#[test]
fn codec_data_that_change_end_mp4_alone() {
    let mut rig = Rig::new();
    rig.begin(0);
    rig.run(0..1500);
    let mut viewers = ALL.map(|packaging| rig.watch(packaging));
    viewers.iter_mut().for_each(Viewer::follow);
    rig.audio.codec_data = MONO.to_vec();
    rig.header(Kind::Audio, 1500);
    assert_eq!(
        (rig.counters.breaks.value(), rig.counters.feeds_ended_break.value()),
        (1, 1)
    );
    // In the middle of the GOP: a new feed, which waits for the next keyframe.
    let mut again = rig.watch(Packaging::Mp4);
    assert!(!again.feed.is_ended() && !Arc::ptr_eq(&again.feed, &viewers[2].feed));
    rig.run(1500..2500);
    again.follow();
    rig.run(2500..3500);
    for viewer in &mut viewers {
        let ended = viewer.packaging == Packaging::Mp4;
        assert_eq!(viewer.feed.is_ended(), ended);
        match ended {
            true => assert_eq!(viewer.play().0.len(), 13, "up to the break"),
            false => check(&rig, viewer, 1000),
        }
    }
    check(&rig, &mut again, 2000);
    let mut late = rig.watch(Packaging::Mp4);
    assert!(Arc::ptr_eq(&late.feed, &again.feed));
    check(&rig, &mut late, 3000);
    let known = rig
        .stream
        .tracks
        .iter()
        .map(|track| track.generation)
        .collect::<Vec<_>>();
    assert_eq!(known, [0, 1]);
    let (mut codec, mut description) = (Vec::new(), Vec::new());
    let audio = rig.stream.tracks[1].id;
    assert!(rig.stream.reader.generation(audio, 1, &mut codec, &mut description));
    assert_eq!(codec, MONO);
}

#[test]
fn however_often_codec_data_change_the_next_viewer_is_served() {
    let mut rig = Rig::new();
    rig.begin(0);
    rig.run(0..100);
    for round in 0..100 {
        rig.audio.codec_data = if round % 2 == 0 { MONO } else { STEREO }.to_vec();
        rig.header(Kind::Audio, 100);
        assert!(!rig.watch(Packaging::Mp4).feed.is_ended(), "{round}");
        // What the home does once viewers are told.
        rig.stream.feeds.retain(|packaged| !packaged.is_ended());
        rig.frame(Kind::Audio, 100 + round, true);
        assert!(rig.stream.track_sets.len() <= limits::TRACK_SETS_MAX);
    }
    assert_eq!(rig.stream.feeds.len(), 1);
    rig.run(256..2400);
    let mut viewer = rig.watch(Packaging::Mp4);
    check(&rig, &mut viewer, 2000);
}

#[test]
fn a_publisher_that_returns_goes_on_one_frame_later() {
    for resume in [config::Resume::Keep, config::Resume::Empty] {
        let mut rig = Rig::with(256, config::Stream { resume, ..settings() });
        rig.begin(0);
        rig.run(0..3500);
        let mut viewers = ALL.map(|packaging| rig.watch(packaging));
        viewers.iter_mut().for_each(Viewer::follow);
        let before = rig.stream.reader.head_sequence();
        rig.come_back();
        assert_eq!(rig.stream.reader.state(), State::Live);
        rig.begin(777_000);
        rig.run(777_000..780_500);
        let kept = (resume == config::Resume::Keep).then_some(0);
        let reader = &rig.stream.reader;
        assert_eq!(reader.tail_sequence(), kept.unwrap_or(before));
        let mut breaks = Vec::new();
        reader.breaks(reader.tail_sequence()..u64::MAX, &mut breaks).unwrap();
        let expected = ring::Break {
            sequence: before,
            kind: Break::Publisher as u8,
        };
        assert_eq!(breaks, [expected]);
        let video = rig.ring(Kind::Video);
        let after = &video[video.len() - 88..];
        let last = rig.sent(Kind::Video).rfind(|sent| sent.dts < 3500 * 90).unwrap().dts;
        // The sound reached further than the picture, so time goes on behind the sound.
        assert!(
            (last + 3600..last + 7200).contains(&after[0].0),
            "{last} {}",
            after[0].0
        );
        assert!(after.windows(2).all(|pair| pair[1].0 - pair[0].0 == 3600));
        for viewer in &mut viewers {
            assert!(!viewer.feed.is_ended(), "the tracks are the same");
            check(&rig, viewer, 3000);
        }
    }
}

#[test]
fn viewers_who_come_before_the_next_publishers_first_frame_get_all_of_it() {
    for resume in [config::Resume::Keep, config::Resume::Empty] {
        let mut rig = Rig::with(256, config::Stream { resume, ..settings() });
        rig.begin(0);
        rig.run(0..1500);
        rig.come_back();
        let mut viewers = ALL.map(|packaging| rig.watch(packaging));
        rig.begin(0);
        rig.run(0..100);
        viewers.iter_mut().for_each(Viewer::follow);
        rig.run(100..1500);
        for viewer in &mut viewers {
            let (video, _) = viewer.play();
            // The newest keyframe is the later publisher's by the time that the viewers join.
            assert!(
                (34..=38).contains(&video.len()),
                "{:?}: {}",
                viewer.packaging,
                video.len()
            );
        }
    }
}

#[test]
fn other_codec_data_of_a_later_publisher_are_a_generation_of_their_own() {
    let mut rig = Rig::with(
        256,
        config::Stream {
            window_millis: 1000,
            ..settings()
        },
    );
    rig.begin(0);
    rig.run(0..1500);
    // One without sound, for longer than the window.
    rig.come_back();
    rig.header(Kind::Video, 0);
    for millis in (0..20_000).step_by(40) {
        rig.frame(Kind::Video, millis, millis % 1000 == 0);
    }
    rig.come_back();
    rig.audio.codec_data = MONO.to_vec();
    rig.begin(0);
    rig.run(0..1500);
    let audio = rig
        .stream
        .tracks
        .iter()
        .find(|track| track.kind() == Kind::Audio)
        .unwrap();
    let (mut codec, mut description) = (Vec::new(), Vec::new());
    assert!(
        rig.stream
            .reader
            .generation(audio.id, audio.generation, &mut codec, &mut description)
    );
    assert_eq!(codec, MONO);
}

#[test]
fn a_jump_backwards_goes_on_and_is_a_break() {
    let mut rig = Rig::new();
    rig.begin(100_000);
    rig.run(100_000..101_500);
    let mut viewer = rig.watch(Packaging::Flv);
    viewer.follow();
    rig.run(0..2000);
    assert_eq!(rig.counters.breaks.value(), 1);
    let times: Vec<_> = rig.ring(Kind::Video).iter().map(|(dts, ..)| *dts).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    let steps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        steps
            .iter()
            .enumerate()
            .all(|(at, step)| *step == 3600 || at == 37 && (3600..7200).contains(step))
    );
    assert_eq!(viewer.play().0.len(), 13 + 50);
}

#[test]
fn a_track_without_frames_for_long_rests_until_its_next() {
    let mut rig = Rig::new();
    let kinds = |rig: &Rig| rig.stream.tracks.iter().map(Track::kind).collect::<Vec<_>>();
    let seen = |rig: &Rig| (rig.counters.tracks_rested.value(), rig.counters.breaks.value());
    rig.begin(0);
    rig.run(0..2000);
    for millis in (2000..15_980).step_by(40) {
        rig.frame(Kind::Video, millis, millis % GOP_MILLIS == 0);
    }
    assert_eq!((kinds(&rig), seen(&rig)), (vec![Kind::Video], (1, 1)));
    let reader = &rig.stream.reader;
    let mut breaks = Vec::new();
    reader.breaks(0..u64::MAX, &mut breaks).unwrap();
    let first = reader.entry(breaks[0].sequence).unwrap();
    assert_eq!(
        (first.dts_micros, first.flags & flags::KEY_MAIN),
        (14_000_000, flags::KEY_MAIN)
    );
    let mut late = ALL.map(|packaging| rig.watch(packaging));
    late.iter_mut().for_each(Viewer::follow);
    rig.run(16_000..17_000);
    assert_eq!((kinds(&rig), seen(&rig)), (vec![Kind::Video, Kind::Audio], (1, 2)));
    assert!(rig.stream.tracks.iter().all(|track| track.generation == 0));
    for viewer in &mut late {
        assert_eq!(viewer.feed.is_ended(), viewer.packaging == Packaging::Mp4);
        assert_eq!(viewer.play().1.is_empty(), viewer.packaging == Packaging::Mp4);
    }
    // The main track stops: there is no keyframe to wait for, and sound is where viewers begin.
    let sound = |rig: &mut Rig, millis: std::ops::Range<u32>| {
        for millis in millis.filter(|millis| matches!(millis % 64, 0 | 21 | 42)) {
            rig.frame(Kind::Audio, millis, true);
        }
    };
    sound(&mut rig, 17_000..30_000);
    assert_eq!((kinds(&rig), seen(&rig)), (vec![Kind::Audio], (2, 3)));
    let mut late = ALL.map(|packaging| rig.watch(packaging));
    sound(&mut rig, 30_000..31_000);
    for viewer in &mut late {
        let (video, audio) = viewer.play();
        assert!(video.is_empty() && !audio.is_empty(), "{:?}", viewer.packaging);
    }
    rig.frame(Kind::Video, 31_000, false);
    assert_eq!(rig.counters.frames_dropped_undecodable.value(), 1);
    rig.frame(Kind::Video, 31_040, true);
    assert_eq!((kinds(&rig), seen(&rig)), (vec![Kind::Video, Kind::Audio], (2, 4)));
}

#[test]
fn segments_are_cut_at_keyframes_and_numbers_only_grow() {
    let mut rig = Rig::with(
        256,
        config::Stream {
            resume: config::Resume::Empty,
            ..settings()
        },
    );
    rig.begin(0);
    rig.run(0..9100);
    let reader = rig.stream.reader.clone();
    assert_eq!(reader.segments(), 1..5);
    let mut segment = ring::Segment::default();
    for number in reader.segments() {
        assert!(reader.segment(number, &mut segment));
        assert_eq!(
            (segment.start_micros, segment.duration_micros),
            ((number as i64 - 1) * 2_000_000, 2_000_000)
        );
        let first = reader.entry(segment.tracks[0].sequence).unwrap();
        assert_eq!(
            (first.dts_micros, first.flags & flags::KEY_MAIN),
            (segment.start_micros, flags::KEY_MAIN)
        );
    }
    rig.come_back();
    rig.begin(0);
    rig.run(0..4100);
    assert_eq!(
        reader.segments(),
        6..8,
        "the one that was begun has left with its frames"
    );
}

#[test]
fn the_clock_map_is_kept() {
    let mut rig = Rig::new();
    // In the first second of a process too.
    rig.now = 0;
    rig.begin(0);
    rig.run(0..1000);
    assert!(rig.stream.reader.wall_of(500_000).is_some());
}

#[test]
fn a_used_up_budget_costs_frames_and_feeds_and_no_more() {
    // Root, codec data, index, segments, and three blocks of packets.
    let mut rig = Rig::with(7, settings());
    rig.video_bytes = 8_000;
    rig.begin(0);
    rig.run(0..3000);
    let (dropped, undecodable) = (
        rig.counters.frames_dropped_memory.value(),
        rig.counters.frames_dropped_undecodable.value(),
    );
    assert!(rig.stream.reader.tail_sequence() > 0, "the oldest GOPs were given up");
    let kept = rig.ring(Kind::Video);
    assert!(kept[0].1, "what is kept begins with a keyframe");
    // A GOP that is larger than the budget loses its end.
    rig.video_bytes = 60_000;
    rig.run(3000..6000);
    assert!(rig.counters.frames_dropped_memory.value() > dropped);
    assert!(rig.counters.frames_dropped_undecodable.value() > undecodable);
    let newest = rig.ring(Kind::Video);
    let gop = newest.iter().rposition(|(_, key, _)| *key).unwrap();
    let run: Vec<_> = newest[gop..].iter().map(|(dts, ..)| *dts).collect();
    assert!(
        run.windows(2).all(|pair| pair[1] - pair[0] == 3600),
        "no frame is missing inside: {run:?}"
    );
    // No feed either; a viewer hears so, and nothing is left behind.
    let used = rig.pool.usage().used;
    for packaging in ALL {
        assert!(matches!(rig.open(packaging), Opening::Busy));
    }
    assert_eq!((rig.pool.usage().used, rig.counters.feeds.value()), (used, 0));
    // And when there is memory again, all is well.
    rig.video_bytes = 20;
    rig.run(6000..9000);
    assert_eq!(
        rig.ring(Kind::Video).last().unwrap().2,
        rig.sent(Kind::Video).next_back().unwrap().data
    );
}

#[test]
fn a_feed_that_gets_no_memory_ends_and_is_counted() {
    let mut rig = Rig::with(
        9,
        config::Stream {
            window_millis: 1000,
            ..settings()
        },
    );
    rig.begin(0);
    rig.run(0..80);
    let viewer = rig.watch(Packaging::Flv);
    rig.video_bytes = 60_000;
    rig.run(80..4000);
    assert!(viewer.feed.is_ended());
    assert_eq!(rig.counters.feeds_ended_memory.value(), 1);
}

/// Its shard claims what it once asked for, and never looks again.
#[test]
fn a_feed_that_is_held_by_a_shard_that_stands_still_ends_and_is_made_anew() {
    let brief = config::Stream {
        window_millis: 1000,
        ..settings()
    };
    let mut rig = Rig::with(2400, brief);
    rig.begin(0);
    rig.run(0..80);
    let viewer = rig.watch(Packaging::Flv);
    viewer.feed.claim(63, viewer.feed.tail()).unwrap();
    rig.video_bytes = 500_000;
    rig.run(80..16_000);
    assert!(viewer.feed.is_ended());
    let ended = (
        rig.counters.feeds_ended_claims.value(),
        rig.counters.feeds_ended_memory.value(),
    );
    assert_eq!(ended, (1, 0));
    assert!(rig.pool.usage().used < 1000, "{:?}", rig.pool.usage());
    rig.video_bytes = 20;
    rig.run(16_000..18_000);
    assert!(!rig.watch(Packaging::Flv).feed.is_ended());
    // The shard lets go, and the home forgets what nobody watches.
    drop(viewer);
    rig.stream.feeds.retain(|packaged| !packaged.is_ended());
    assert!(rig.pool.usage().used < 300, "{:?}", rig.pool.usage());
}

#[test]
fn codec_data_that_found_no_room_are_kept_once_there_is() {
    let mut rig = Rig::with(8, settings());
    let mut hint = rig.pool.hint();
    let held: Vec<_> = std::iter::from_fn(|| rig.pool.allocate(&mut hint)).collect();
    rig.begin(0);
    rig.run(0..1000);
    assert_eq!(rig.counters.frames_in.value(), 0);
    for block in held {
        rig.pool.free(block, Dirty::Plain);
    }
    rig.run(1000..2000);
    assert_eq!(rig.ring(Kind::Video).len(), 25);
}

#[test]
fn the_end_of_a_stream_is_the_end_of_its_feeds() {
    let mut rig = Rig::new();
    rig.begin(0);
    rig.run(0..1500);
    let mut viewers = ALL.map(|packaging| rig.watch(packaging));
    rig.stream.publisher_left(rig.now, &rig.counters);
    assert!(matches!(rig.stream.reader.state(), State::PublisherGone { .. }));
    rig.stream.finish(&rig.counters);
    assert_eq!(rig.stream.reader.state(), State::Ended);
    for viewer in &mut viewers {
        assert!(viewer.feed.is_ended());
        assert_eq!(viewer.play().0.len(), 13, "{:?}", viewer.packaging);
    }
}

#[test]
fn a_publisher_that_leaves_at_its_start_leaves_what_it_sent() {
    let mut rig = Rig::new();
    let mut body = Vec::new();
    tag::mux::metadata(&[rig.video.clone(), rig.audio.clone()], &mut body);
    rig.push(MessageKind::Script, 0, &body);
    rig.header(Kind::Video, 0);
    rig.frame(Kind::Video, 0, true);
    assert!(!rig.stream.is_running());
    rig.stream.publisher_left(rig.now, &rig.counters);
    assert_eq!((rig.stream.is_running(), rig.ring(Kind::Video).len()), (true, 1));
}

mod long;
mod shelf;
