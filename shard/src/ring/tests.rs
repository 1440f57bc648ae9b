use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::limits::{
    BREAKS_MAX, CLOCK_POINTS_MAX, CODEC_BYTES_MAX, DESCRIPTION_BYTES_MAX, GENERATIONS_MAX, SEGMENT_TRACKS_MAX,
};
use super::*;

const MIB: u64 = 1024 * 1024;
const SECOND: i64 = 1_000_000;
const CONFIG: Config = Config {
    window_micros: 2_000_000,
    bytes_max: MIB,
    segment_number_first: 7,
};

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// Video on track 0 (the main one), audio on track 1.
fn frame(track: u32, generation: u32, flags: u32, dts_micros: i64, payload: &[u8]) -> Frame<'_> {
    let dts = dts_micros * 9 / 100;
    Frame {
        track,
        generation,
        dts,
        offset: -3,
        flags,
        dts_micros,
        head: b"header..",
        payload,
        tail: b"!",
    }
}

fn ring(pool: &Arc<Pool>, config: Config) -> (Writer, Reader) {
    let mut writer = Writer::create(pool, config).unwrap();
    writer.add_generation(0, 0, b"seen", b"{}").unwrap();
    writer.add_generation(1, 0, b"hear", b"").unwrap();
    let reader = writer.reader();
    (writer, reader)
}

#[derive(Clone, Debug)]
enum Step {
    Frames(Vec<(bool, usize, u8)>),
    Generation(u32),
    Break(u8),
    Segment,
    Jump(i64),
    DropGop,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let frame = (
        any::<bool>(),
        prop_oneof![9 => 0..4_000_usize, 1 => 0..250_000_usize],
        0..8_u8,
    );
    prop_oneof![
        12 => proptest::collection::vec(frame, 1..8).prop_map(Step::Frames),
        2 => (0..2_u32).prop_map(Step::Generation),
        2 => (0..3_u8).prop_map(Step::Break),
        2 => Just(Step::Segment),
        1 => (-10 * SECOND..10 * SECOND).prop_map(Step::Jump),
        1 => Just(Step::DropGop),
        1 => prop_oneof![3 => Just(Step::Segment), 1 => Just(Step::Clear)],
    ]
}

/// What a ring is, said plainly.
#[derive(Default)]
struct Model {
    frames: Vec<(Entry, Vec<u8>)>,
    tail: usize,
    bytes_max: u64,
    window_micros: u64,
    generations: [u32; 2],
    codec: HashMap<(u32, u32), Vec<u8>>,
    breaks: Vec<Break>,
    segments: Vec<Segment>,
    time: i64,
}

impl Model {
    fn is_main_key(&self, sequence: usize) -> bool {
        self.frames[sequence].0.flags & flags::KEY_MAIN != 0
    }

    fn next(&self) -> Option<usize> {
        let head = self.frames.len();
        let key = (self.tail + 1..head).find(|&sequence| self.is_main_key(sequence));
        key.or_else(|| (self.tail < head && !self.is_main_key(self.tail)).then_some(self.tail + 1))
    }

    fn bytes(&self) -> u64 {
        self.frames[self.tail..]
            .iter()
            .map(|(entry, _)| u64::from(entry.bytes))
            .sum()
    }

    /// Makes room as the ring does; false when the GOP is too large.
    fn make_room(&mut self, bytes: u64, is_main_key: bool) -> bool {
        while self.bytes() + bytes > self.bytes_max {
            match self.next() {
                Some(next) => self.tail = next,
                None if is_main_key => self.tail = self.frames.len(),
                None => return false,
            }
        }
        true
    }

    fn trim(&mut self) {
        let newest = self.frames.last().unwrap().0.dts_micros;
        while let Some(next) = self.next().filter(|&next| next < self.frames.len()) {
            if newest.abs_diff(self.frames[next].0.dts_micros) < self.window_micros {
                break;
            }
            self.tail = next;
        }
    }

    fn key_at_or_before(&self, sequence: usize) -> Option<u64> {
        (self.tail..=sequence)
            .rev()
            .find(|&sequence| self.is_main_key(sequence))
            .map(|key| key as u64)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_ring_is_a_vector_of_frames_with_a_window(
        steps in proptest::collection::vec(step(), 1..60),
        odd in 0..4_u64,
        bytes_max in 1_000..900_000_u64,
        window_micros in 0..4_000_000_u64,
    ) {
        let pool = Pool::create(2 * MIB + odd * odd * 500_003).unwrap();
        let (mut writer, reader) = ring(&pool, Config { bytes_max, window_micros, ..CONFIG });
        let mut model = Model { bytes_max, window_micros, ..Model::default() };
        let mut lagging = [0, 0];
        model.codec.insert((0, 0), b"seen".to_vec());
        model.codec.insert((1, 0), b"hear".to_vec());
        for step in steps {
            run(&mut writer, &mut model, step)?;
            writer.check_invariants();
            pool.check_invariants();
            check(&reader, &model)?;
            follow_slowly(&reader, &model, &mut lagging)?;
        }
        drop(writer);
        prop_assert_eq!(reader.state(), State::Ended);
        check(&reader, &model)?;
        drop(reader);
        prop_assert_eq!(pool.usage().used, 0);
    }
}

fn run(writer: &mut Writer, model: &mut Model, step: Step) -> Result<(), TestCaseError> {
    let head = model.frames.len();
    match step {
        Step::Frames(frames) => {
            for (is_audio, bytes, kind) in frames {
                append(writer, model, is_audio, bytes, kind)?;
            }
        }
        Step::Generation(track) => {
            let generation = model.generations[track as usize] + 1;
            let codec = noise(u64::from(generation), 100 * generation as usize);
            writer
                .add_generation(track, generation, &codec, b"description")
                .unwrap();
            let again = writer.add_generation(track, generation, &codec, b"");
            prop_assert_eq!(again, Err(RingError::GenerationKnown { track, generation }));
            model.generations[track as usize] = generation;
            model.codec.insert((track, generation), codec);
        }
        Step::Break(kind) => {
            writer.add_break(kind).unwrap();
            let known = Break {
                sequence: head as u64,
                kind,
            };
            if !model.breaks.contains(&known) {
                model.breaks.push(known);
            }
        }
        Step::Segment => {
            let sequence = model.tail + (head - model.tail) / 2;
            let tracks = vec![
                TrackStart {
                    track: 0,
                    sequence: sequence as u64
                };
                head % 3
            ];
            let number = CONFIG.segment_number_first + model.segments.len() as u64;
            match writer.cut_segment(model.time, 5, 9, &tracks) {
                Ok(cut) => {
                    prop_assert_eq!(cut, number);
                    let segment = Segment {
                        number,
                        start_micros: model.time,
                        duration_micros: 5,
                        flags: 9,
                        tracks,
                    };
                    model.segments.push(segment);
                }
                Err(error) => prop_assert!(matches!(error, RingError::Full(Full::BudgetUsedUp { .. })), "{error:?}"),
            }
        }
        Step::Jump(by) => model.time += by,
        Step::DropGop => {
            let next = model.next().filter(|&next| next < head);
            prop_assert_eq!(writer.drop_oldest_gop(), next.is_some());
            model.tail = next.unwrap_or(model.tail);
        }
        Step::Clear => {
            writer.clear();
            model.tail = head;
        }
    }
    Ok(())
}

fn append(writer: &mut Writer, model: &mut Model, is_audio: bool, bytes: usize, kind: u8) -> Result<(), TestCaseError> {
    model.time += 40_000;
    let track = u32::from(is_audio);
    let bits = match (is_audio, kind) {
        (true, _) => flags::KEY | 16,
        (false, 0 | 1) => flags::KEY | flags::KEY_MAIN,
        _ => 32,
    };
    let sequence = model.frames.len() as u64;
    let payload = noise(sequence, bytes);
    let generation = model.generations[track as usize];
    let sent = frame(track, generation, bits, model.time, &payload);
    let packet = [sent.head, sent.payload, sent.tail].concat();
    let is_main_key = bits & flags::KEY_MAIN != 0;
    let bytes_max = model.bytes_max;
    if packet.len() as u64 > bytes_max {
        let bytes = packet.len() as u64;
        prop_assert_eq!(
            writer.append(&sent),
            Err(RingError::PacketTooLarge { bytes, bytes_max })
        );
        return Ok(());
    }
    let fits = model.make_room(packet.len() as u64, is_main_key);
    match writer.append(&sent) {
        Ok(given) => {
            prop_assert!(fits);
            prop_assert_eq!(given, sequence);
        }
        Err(RingError::GopTooLarge { .. }) => {
            prop_assert!(!fits);
            return Ok(());
        }
        Err(error) => {
            prop_assert!(matches!(error, RingError::Full(Full::BudgetUsedUp { .. })), "{error:?}");
            return Ok(());
        }
    }
    let position = model
        .frames
        .last()
        .map_or(0, |(entry, _)| entry.position + u64::from(entry.bytes));
    let entry = Entry {
        sequence,
        track,
        generation,
        dts: sent.dts,
        offset: sent.offset,
        flags: bits,
        dts_micros: model.time,
        position,
        bytes: packet.len() as u32,
        payload_start: 8,
        payload_bytes: bytes as u32,
        key_distance: None,
    };
    model.frames.push((entry, packet));
    model.trim();
    Ok(())
}

fn check(reader: &Reader, model: &Model) -> Result<(), TestCaseError> {
    let (tail, head) = (model.tail as u64, model.frames.len() as u64);
    prop_assert_eq!((reader.tail_sequence(), reader.head_sequence()), (tail, head));
    let (mut packet, mut codec, mut description) = (Vec::new(), Vec::new(), Vec::new());
    prop_assert_eq!(
        reader.frame(head, &mut packet),
        Err(Missing::NotYet { sequence: head, head })
    );
    if tail > 0 {
        prop_assert_eq!(
            reader.frame(tail - 1, &mut packet),
            Err(Missing::Gone {
                sequence: tail - 1,
                tail
            })
        );
        prop_assert!(reader.breaks(tail - 1..head, &mut Vec::new()).is_err());
    }
    for (sequence, (expected, bytes)) in model.frames.iter().enumerate().skip(model.tail) {
        let entry = reader.frame(sequence as u64, &mut packet).unwrap();
        prop_assert_eq!(
            Entry {
                key_distance: None,
                ..entry
            },
            *expected
        );
        prop_assert_eq!(&packet, bytes);
        reader.payload(sequence as u64, &mut packet).unwrap();
        prop_assert_eq!(&packet[..], &bytes[8..bytes.len() - 1]);
        prop_assert_eq!(
            reader.key_at_or_before(sequence as u64),
            model.key_at_or_before(sequence)
        );
        prop_assert!(reader.generation(entry.track, entry.generation, &mut codec, &mut description));
        prop_assert_eq!(&codec, &model.codec[&(entry.track, entry.generation)]);
    }
    prop_assert_eq!(
        reader.newest_key(),
        (head > tail)
            .then(|| model.key_at_or_before(head as usize - 1))
            .flatten()
    );
    let (mut breaks, middle) = (Vec::new(), tail + (head - tail) / 2);
    reader.breaks(tail..head + 1, &mut breaks).unwrap();
    let within = |from: u64| model.breaks.iter().copied().filter(move |at| at.sequence >= from);
    prop_assert_eq!(&breaks, &within(tail).collect::<Vec<_>>());
    breaks.clear();
    reader.breaks(middle..head, &mut breaks).unwrap();
    prop_assert_eq!(
        breaks,
        within(middle).filter(|at| at.sequence < head).collect::<Vec<_>>()
    );
    check_segments(reader, model, tail)
}

/// Readers that take a frame or four at a time: each is right, or gone, and then they go on at the newest key.
fn follow_slowly(reader: &Reader, model: &Model, lagging: &mut [u64; 2]) -> Result<(), TestCaseError> {
    let mut packet = Vec::new();
    for (pace, position) in lagging.iter_mut().enumerate() {
        for _ in 0..[1, 4][pace] {
            match reader.frame(*position, &mut packet) {
                Ok(entry) => {
                    let (expected, bytes) = &model.frames[*position as usize];
                    prop_assert_eq!((entry.sequence, entry.dts), (*position, expected.dts));
                    prop_assert_eq!(&packet, bytes);
                    *position += 1;
                }
                Err(Missing::Gone { tail, .. }) => {
                    prop_assert!(*position < tail);
                    *position = reader.newest_key().unwrap_or(tail);
                }
                Err(Missing::NotYet { head, .. }) => prop_assert_eq!(*position, head),
            }
        }
    }
    Ok(())
}

fn check_segments(reader: &Reader, model: &Model, tail: u64) -> Result<(), TestCaseError> {
    let numbers = reader.segments();
    prop_assert_eq!(numbers.end, CONFIG.segment_number_first + model.segments.len() as u64);
    let mut segment = Segment::default();
    for known in &model.segments {
        let is_there = reader.segment(known.number, &mut segment);
        prop_assert_eq!(is_there, numbers.contains(&known.number));
        if is_there {
            prop_assert_eq!(&segment, known);
        }
        let is_whole = known.tracks.iter().all(|start| start.sequence >= tail) && !known.tracks.is_empty();
        let is_last = known.number + 1 == numbers.end;
        prop_assert!(
            !is_last || !is_whole || is_there,
            "the newest segment is kept while its frames are"
        );
    }
    Ok(())
}

#[test]
fn the_window_is_whole_gops_of_the_main_track() {
    let pool = Pool::create(8 * MIB).unwrap();
    let (mut writer, reader) = ring(&pool, CONFIG);
    // A key frame each second, audio before each picture, ten pictures a second.
    for picture in 0..200_i64 {
        let time = picture * 100_000;
        writer
            .append(&frame(1, 0, flags::KEY, time - 20_000, &noise(1, 300)))
            .unwrap();
        let bits = if picture % 10 == 0 {
            flags::KEY | flags::KEY_MAIN
        } else {
            0
        };
        writer.append(&frame(0, 0, bits, time, &noise(2, 3_000))).unwrap();
        writer.check_invariants();
        let tail = reader.entry(reader.tail_sequence()).unwrap();
        let age = time - tail.dts_micros;
        if picture > 30 {
            assert_ne!(tail.flags & flags::KEY_MAIN, 0);
            assert!((2 * SECOND..3 * SECOND).contains(&age), "window of {age} us");
        }
    }
    writer.set_window(0, MIB);
    writer
        .append(&frame(0, 0, flags::KEY_MAIN, 20 * SECOND, b"key"))
        .unwrap();
    assert_eq!(reader.tail_sequence(), 400, "the newest GOP stays");
    assert_eq!(reader.newest_key(), Some(400));
}

#[test]
fn without_a_main_track_the_window_moves_by_frames() {
    let pool = Pool::create(8 * MIB).unwrap();
    let (mut writer, reader) = ring(&pool, CONFIG);
    for sequence in 0..1_000 {
        writer
            .append(&frame(1, 0, flags::KEY, sequence * 20_000, &noise(1, 200)))
            .unwrap();
        let kept = reader.head_sequence() - reader.tail_sequence();
        assert_eq!(kept, (sequence as u64 + 1).min(101));
    }
    writer.check_invariants();
    assert_eq!(reader.newest_key(), None);
}

#[test]
fn a_gop_beyond_the_cap_is_refused_until_the_next_key() {
    let pool = Pool::create(8 * MIB).unwrap();
    let (mut writer, reader) = ring(&pool, CONFIG);
    let payload = noise(1, 100_000);
    writer.append(&frame(0, 0, flags::KEY_MAIN, 0, &payload)).unwrap();
    let mut refused = 0;
    for picture in 1..20 {
        match writer.append(&frame(0, 0, 0, picture * 40_000, &payload)) {
            Ok(_) => assert_eq!(refused, 0, "no hole in the GOP"),
            Err(RingError::GopTooLarge { bytes, bytes_max }) => {
                assert!(bytes > bytes_max && bytes_max == MIB);
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
        writer.check_invariants();
    }
    assert_eq!((refused, reader.head_sequence()), (10, 10));
    assert_eq!(
        writer.append(&frame(0, 0, flags::KEY_MAIN, SECOND, &payload)).unwrap(),
        10
    );
    assert_eq!(reader.tail_sequence(), 10);
    let too_large = noise(1, MIB as usize);
    let error = writer
        .append(&frame(0, 0, flags::KEY_MAIN, SECOND, &too_large))
        .unwrap_err();
    assert_eq!(
        error,
        RingError::PacketTooLarge {
            bytes: MIB + 9,
            bytes_max: MIB
        }
    );
    writer.check_invariants();
}

#[test]
fn an_exhausted_budget_loses_nothing_and_a_dropped_gop_makes_room() {
    let pool = Pool::create(2 * MIB).unwrap();
    let (mut writer, reader) = ring(
        &pool,
        Config {
            bytes_max: 64 * MIB,
            window_micros: u64::MAX,
            ..CONFIG
        },
    );
    let payload = noise(1, 50_000);
    let (mut count, mut packet) = (0_u64, Vec::new());
    let key = |count: u64| if count.is_multiple_of(10) { flags::KEY_MAIN } else { 0 };
    while writer.append(&frame(0, 0, key(count), count as i64, &payload)).is_ok() {
        count += 1;
    }
    assert!(count > 15);
    for _ in 0..3 {
        let error = writer.append(&frame(0, 0, 0, count as i64, &payload)).unwrap_err();
        assert_eq!(error, RingError::Full(Full::BudgetUsedUp { blocks: 7 }));
        writer.check_invariants();
    }
    for sequence in 0..count {
        reader.frame(sequence, &mut packet).unwrap();
        assert!(packet[8..50_008] == payload);
    }
    assert!(writer.drop_oldest_gop());
    assert_eq!(writer.append(&frame(0, 0, 0, count as i64, &payload)), Ok(count));
    while writer.drop_oldest_gop() {}
    assert_eq!(reader.newest_key(), Some(reader.tail_sequence()));
    writer.check_invariants();
    let rings: Vec<_> = std::iter::from_fn(|| Writer::create(&pool, CONFIG).ok()).collect();
    assert!(rings.len() < 7);
    drop((writer, reader, rings));
    assert_eq!(pool.usage().used, 0);
}

#[test]
fn generations_stay_while_cited_and_leave_when_superseded() {
    let pool = Pool::create(40 * MIB).unwrap();
    let (mut writer, reader) = ring(&pool, CONFIG);
    let (mut codec, mut description) = (Vec::new(), Vec::new());
    for generation in 1..3_000_u32 {
        let bytes = if generation % 100 == 0 { CODEC_BYTES_MAX } else { 900 };
        writer
            .add_generation(
                0,
                generation,
                &noise(generation.into(), bytes),
                &generation.to_ne_bytes(),
            )
            .unwrap();
        let time = i64::from(generation) * 100_000;
        let sequence = writer
            .append(&frame(0, generation, flags::KEY_MAIN, time, b"picture"))
            .unwrap();
        writer.append(&frame(1, 0, flags::KEY, time, b"sound")).unwrap();
        let oldest = reader.entry(reader.tail_sequence()).unwrap().generation;
        for cited in [oldest, generation] {
            assert!(
                reader.generation(0, cited, &mut codec, &mut description),
                "{cited} at {sequence}"
            );
            assert_eq!(description, cited.to_ne_bytes());
            assert_eq!(codec, noise(cited.into(), codec.len()));
        }
        if reader.tail_sequence() > 0 {
            assert!(!reader.generation(0, oldest - 1, &mut codec, &mut description));
            assert!(codec.is_empty() && description.is_empty());
        }
        assert!(
            reader.generation(1, 0, &mut codec, &mut description),
            "the other track's is moved, not lost"
        );
        assert_eq!((&codec[..], &description[..]), (&b"hear"[..], &b""[..]));
    }
    writer.check_invariants();
    assert!(pool.usage().used < 10, "{:?}", pool.usage());
}

#[test]
fn generations_are_bounded() {
    let pool = Pool::create(40 * MIB).unwrap();
    let (mut writer, reader) = ring(&pool, CONFIG);
    let long = noise(1, CODEC_BYTES_MAX + 1);
    assert!(matches!(
        writer.add_generation(3, 0, &long, b""),
        Err(RingError::CodecDataTooLarge { .. })
    ));
    assert!(matches!(
        writer.add_generation(3, 0, b"", &long),
        Err(RingError::DescriptionTooLarge { .. })
    ));
    let unknown = writer.append(&frame(3, 0, 0, 0, b"")).unwrap_err();
    assert_eq!(
        unknown,
        RingError::GenerationUnknown {
            track: 3,
            generation: 0
        }
    );
    let largest = noise(2, CODEC_BYTES_MAX);
    for track in 2..GENERATIONS_MAX as u32 {
        writer
            .add_generation(track, 0, &largest, &largest[..DESCRIPTION_BYTES_MAX])
            .unwrap();
        writer.append(&frame(track, 0, 0, 0, b"x")).unwrap();
        writer.check_invariants();
    }
    for (track, bits) in [(0, flags::KEY_MAIN), (1, 0)] {
        writer.append(&frame(track, 0, bits, 0, b"x")).unwrap();
    }
    let full = RingError::GenerationsFull {
        generations_max: GENERATIONS_MAX,
    };
    assert_eq!(writer.add_generation(99, 0, b"", b""), Err(full));
    writer.clear();
    writer.add_generation(99, 0, b"", b"").unwrap();
    let (mut codec, mut description) = (Vec::new(), Vec::new());
    assert!(reader.generation(99, 0, &mut codec, &mut description));
    writer.check_invariants();
}

#[test]
fn breaks_and_segments_are_bounded() {
    let pool = Pool::create(40 * MIB).unwrap();
    let (mut writer, reader) = ring(&pool, CONFIG);
    for at in 0..2 * BREAKS_MAX {
        assert_eq!(writer.add_break(at as u8), Ok(()), "kinds repeat, and are one");
    }
    writer.append(&frame(0, 0, flags::KEY_MAIN, 0, b"x")).unwrap();
    assert_eq!(
        writer.add_break(0),
        Err(RingError::BreaksFull { breaks_max: BREAKS_MAX })
    );
    writer.check_invariants();
    let starts = vec![TrackStart { track: 0, sequence: 0 }; SEGMENT_TRACKS_MAX + 1];
    assert!(matches!(
        writer.cut_segment(0, 0, 0, &starts),
        Err(RingError::TooManyTracks { .. })
    ));
    let head = reader.head_sequence();
    let starts = vec![
        TrackStart {
            track: 5,
            sequence: head
        };
        SEGMENT_TRACKS_MAX
    ];
    for number in 0..70_000 {
        assert_eq!(
            writer.cut_segment(number, 1, 0, &starts),
            Ok(CONFIG.segment_number_first + number as u64)
        );
    }
    let numbers = reader.segments();
    assert!(numbers.end - numbers.start > 64_000 && numbers.end == 70_007);
    let mut segment = Segment::default();
    assert!(reader.segment(numbers.start, &mut segment) && segment.number == numbers.start);
    assert!(!reader.segment(numbers.start - 1, &mut segment) && !reader.segment(numbers.end, &mut segment));
    assert!(!reader.segment(0, &mut segment));
    writer.check_invariants();
}

#[test]
fn breaks_wrap_and_leave_with_the_tail() {
    let pool = Pool::create(8 * MIB).unwrap();
    let (mut writer, reader) = ring(&pool, CONFIG);
    let mut breaks = Vec::new();
    for gop in 0..3 * BREAKS_MAX as i64 {
        writer.add_break(gop as u8).unwrap();
        let sequence = writer
            .append(&frame(0, 0, flags::KEY_MAIN, gop * SECOND, b"x"))
            .unwrap();
        writer.check_invariants();
        breaks.clear();
        reader
            .breaks(reader.tail_sequence()..reader.head_sequence(), &mut breaks)
            .unwrap();
        let newest = Break {
            sequence,
            kind: gop as u8,
        };
        assert_eq!((breaks.len() as i64, breaks.last()), ((gop + 1).min(3), Some(&newest)));
    }
}

#[test]
fn an_idle_stream_costs_what_its_limits_say() {
    let pool = Pool::create(64 * MIB).unwrap();
    let resident = || pool.memory().resident_bytes().unwrap();
    let before = resident();
    let (mut writer, _reader) = ring(&pool, CONFIG);
    writer.add_break(1).unwrap();
    writer.observe_clock(0, 0, 1);
    writer
        .append(&frame(0, 0, flags::KEY_MAIN, 0, &noise(1, 1_000)))
        .unwrap();
    writer
        .cut_segment(0, 1, 0, &[TrackStart { track: 0, sequence: 0 }])
        .unwrap();
    assert_eq!(pool.usage().used, 5);
    let cost = resident() - before;
    assert!(cost <= 48 * 1024 + 4096, "{cost} bytes");
}

#[test]
fn states_are_told() {
    let pool = Pool::create(8 * MIB).unwrap();
    let (mut writer, reader) = ring(&pool, CONFIG);
    for state in [
        State::Live,
        State::PublisherGone { since_micros: -5 },
        State::Live,
        State::Ended,
    ] {
        writer.set_state(state);
        assert_eq!(reader.state(), state);
    }
}

#[test]
fn the_clock_map_is_linear_between_points_and_extends_at_both_ends() {
    let pool = Pool::create(8 * MIB).unwrap();
    let (mut writer, reader) = ring(&pool, CONFIG);
    assert_eq!(reader.wall_of(0), None);
    writer.observe_clock(0, 1_000 * SECOND, 1);
    writer.observe_clock(10 * SECOND, 1_010 * SECOND + 49_000, 1);
    assert_eq!(
        reader.wall_of(10 * SECOND),
        Some(1_010 * SECOND),
        "an error within the bound adds nothing"
    );
    writer.observe_clock(100 * SECOND, 1_100 * SECOND + 60_000, 1);
    let cases = [
        (-SECOND, 999 * SECOND),
        (0, 1_000 * SECOND),
        (50 * SECOND, 1_050 * SECOND + 30_000),
        (100 * SECOND, 1_100 * SECOND + 60_000),
        (101 * SECOND, 1_101 * SECOND + 60_000),
    ];
    for (media, wall) in cases {
        assert_eq!(reader.wall_of(media), Some(wall), "at {media}");
    }
    // A jump: nothing lies between the points.
    writer.observe_clock(200 * SECOND, 5_000 * SECOND, 1);
    assert_eq!(reader.wall_of(199 * SECOND), Some(1_199 * SECOND + 60_000));
    assert_eq!(reader.wall_of(201 * SECOND), Some(5_001 * SECOND));
    // Another source, from here on.
    writer.observe_clock(210 * SECOND, 5_010 * SECOND + 1_000, 2);
    assert_eq!(reader.wall_of(211 * SECOND), Some(5_011 * SECOND + 1_000));
    assert_eq!(reader.wall_of(209 * SECOND), Some(5_009 * SECOND));
    // Media time jumps back: the newest point for a time is the one that counts.
    writer.observe_clock(100 * SECOND, 6_000 * SECOND, 2);
    assert_eq!(reader.wall_of(105 * SECOND), Some(6_005 * SECOND));
    writer.check_invariants();
    assert!(reader.wall_of(i64::MIN).is_some() && reader.wall_of(i64::MAX) == Some(i64::MAX));
    for round in 0..3 * CLOCK_POINTS_MAX as i64 {
        writer.observe_clock(round * SECOND, round * SECOND + round % 2 * 100_000, 3);
        assert_eq!(
            reader.wall_of(round * SECOND),
            Some(round * SECOND + round % 2 * 100_000)
        );
        writer.check_invariants();
    }
}

#[test]
fn clock_points_leave_with_the_tail_and_answers_stay() {
    let pool = Pool::create(8 * MIB).unwrap();
    let (mut writer, reader) = ring(&pool, CONFIG);
    for second in 0..60_i64 {
        let wall = second * 1_060_000;
        writer.observe_clock(second * SECOND, wall, 1);
        writer
            .append(&frame(0, 0, flags::KEY_MAIN, second * SECOND, b"x"))
            .unwrap();
        writer.check_invariants();
        let tail = reader.entry(reader.tail_sequence()).unwrap().dts_micros;
        assert_eq!(reader.wall_of(tail), Some(tail / SECOND * 1_060_000));
    }
    let first = reader.0.word(AT_CLOCK_FIRST).load(Ordering::Relaxed);
    assert!(first > 50, "points before {first} are forgotten");
}

/// Reads a frame from a second mapping of the file by nothing but the numbers on the front pages.
#[test]
fn the_layout_is_the_one_on_the_front_pages() {
    let pool = Pool::create(4 * MIB).unwrap();
    let (mut writer, reader) = ring(&pool, CONFIG);
    writer.append(&frame(1, 0, 0, 5, b"before")).unwrap();
    writer.append(&frame(0, 0, flags::KEY_MAIN, 6, b"picture")).unwrap();
    let other = Pool::open(pool.fd().try_clone_to_owned().unwrap()).unwrap();
    let read = |at: usize| other.memory().word(at).load(Ordering::Acquire);
    let (block_bytes, block_0) = (read(24) as usize, read(40) as usize);
    let root = block_0 + reader.root().number() as usize * block_bytes;
    assert_eq!(read(root).to_le_bytes(), *b"PENRING1");
    let [packets, index] = [16_384, 82_048].map(|log| root + log);
    assert_eq!(read(root + 32), 2, "newest main key + 1");
    assert_eq!(read(index), 128, "two entries are published");
    let block_of = |log: usize, position: u64| {
        let slot = position as usize / block_bytes % read(log + 88) as usize;
        block_0 + read(log + 128 + slot * 8) as usize * block_bytes + position as usize % block_bytes
    };
    let entry = block_of(index, 64);
    assert_eq!([read(entry), read(entry + 56)], [1, 6]);
    assert_eq!(read(entry + 8), 0, "track 0, generation 0");
    let (start, bytes) = ((read(entry + 40) >> 32) as usize, read(entry + 48) as u32 as usize);
    let mut payload = vec![0; bytes];
    other
        .memory()
        .copy_out(block_of(packets, read(entry + 32)) + start, &mut payload);
    assert_eq!(payload, b"picture");
    assert_eq!(read(root + 14_336 + 8), 0, "the first generation is of track 0");
    assert_eq!(read(root + 14_336 + 24), 4 | 2 << 32);
    assert_eq!(
        [limits::AT_SEGMENTS, limits::AT_CODEC, limits::AT_CLOCK],
        [98_560, 99_200, 8_192]
    );
    use crate::feed::limits as feed;
    let places = [
        feed::AT_RELEASED,
        feed::AT_JOINS,
        feed::AT_RECORDS,
        feed::AT_INDEX,
        feed::AT_HEADERS,
    ];
    assert_eq!(places, [4_096, 8_192, 11_264, 19_584, 20_224]);
    assert_eq!(feed::HEADERS_BYTES, 196_608);
}

/// Threads: every packet carries its sequence, a checksum of its own and that of its codec data.
#[test]
fn three_readers_never_see_a_torn_frame() {
    let pool = Pool::create(5 * MIB + 77).unwrap();
    let config = Config {
        window_micros: 300_000,
        bytes_max: 400_000,
        ..CONFIG
    };
    let (mut writer, reader) = ring(&pool, config);
    let is_done = AtomicBool::new(false);
    let total = 16_000_u64;
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|pace| (pace, reader.clone()))
            .map(|(pace, reader)| (scope, pace, reader, &is_done))
            .map(|(scope, pace, reader, done)| scope.spawn(move || chase(&reader, pace, done)))
            .collect();
        let mut generation = 0;
        for sequence in 0..total {
            if sequence.is_multiple_of(50) {
                generation += 1;
                writer
                    .add_generation(0, generation, &noise(generation.into(), 3_000), b"d")
                    .unwrap();
                writer.add_break(generation as u8).unwrap();
            }
            let bytes = 16 + (sequence * 7919 % 5_003) as usize;
            let mut payload = noise(sequence, bytes);
            payload[..8].copy_from_slice(&sequence.to_ne_bytes());
            let sum = checksum(&payload[16..]);
            payload[8..16].copy_from_slice(&sum.to_ne_bytes());
            let bits = if sequence.is_multiple_of(50) {
                flags::KEY_MAIN
            } else {
                0
            };
            let time = sequence as i64 * 5_000;
            writer.observe_clock(time, time * 2, 1);
            writer.append(&frame(0, generation, bits, time, &payload)).unwrap();
            if sequence % 128 == 0 {
                std::thread::yield_now();
            }
        }
        is_done.store(true, Ordering::Release);
        let seen: Vec<u64> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        assert!(seen.iter().all(|&frames| frames > 0), "{seen:?}");
    });
    writer.check_invariants();
    assert!(pool.usage().used < 12);
    drop((writer, reader));
    assert_eq!(pool.usage().used, 0);
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Pace 0 follows the head, 1 the tail (where frames are about to leave), 2 jumps to keys. Returns the frames seen whole.
fn chase(reader: &Reader, pace: u64, is_done: &AtomicBool) -> u64 {
    let (mut packet, mut codec, mut description, mut breaks) = (vec![], vec![], vec![], vec![]);
    let (mut seen, mut turns, mut next) = (0, 0_u64, 0);
    while !is_done.load(Ordering::Acquire) || seen == 0 {
        turns += 1;
        let sequence = match pace {
            0 => next,
            1 => reader.tail_sequence() + turns % 3,
            _ => reader.newest_key().unwrap_or(0),
        };
        let entry = match reader.frame(sequence, &mut packet) {
            Ok(entry) => entry,
            Err(Missing::Gone { tail, .. }) => {
                assert!(tail > sequence);
                next = tail;
                continue;
            }
            Err(Missing::NotYet { .. }) => {
                std::thread::yield_now();
                continue;
            }
        };
        let payload = &packet[8..packet.len() - 1];
        assert_eq!(payload.len(), entry.payload_bytes as usize);
        assert_eq!((entry.sequence, &payload[..8]), (sequence, &sequence.to_ne_bytes()[..]));
        assert_eq!(
            payload[8..16],
            checksum(&payload[16..]).to_ne_bytes(),
            "frame {sequence} is torn"
        );
        assert_eq!(u64::from(entry.generation), sequence / 50 + 1);
        if reader.generation(0, entry.generation, &mut codec, &mut description) {
            assert!(codec == noise(entry.generation.into(), 3_000) && description == b"d");
        } else {
            assert!(
                reader.tail_sequence() > sequence,
                "codec data of frame {sequence} are there as long as it is"
            );
        }
        breaks.clear();
        let key = sequence / 50 * 50;
        if reader.breaks(key..key + 1, &mut breaks).is_ok() {
            assert_eq!(
                breaks,
                [Break {
                    sequence: key,
                    kind: entry.generation as u8
                }]
            );
        }
        seen += 1;
        next = sequence + 1;
    }
    seen
}
