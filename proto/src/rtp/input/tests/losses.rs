//! What a bad link costs, and no more.

use std::collections::{HashMap, HashSet};

use super::*;

/// The pictures that must be served: whole ones, with nothing missing since a keyframe.
fn whole(sent: &[Flight], arrived: &[Flight], parts: usize) -> Vec<u32> {
    let pictures = |flights: &[Flight]| {
        let mut found = HashMap::<u32, HashSet<u8>>::new();
        for flight in flights.iter().filter(|flight| flight.medium == 0) {
            let [a, b, c, d, part] = *flight.bytes[12..].first_chunk().unwrap();
            found.entry(u32::from_be_bytes([a, b, c, d])).or_default().insert(part);
        }
        found
    };
    let (all, came) = (pictures(sent).len() as u32, pictures(arrived));
    let mut decodable = false;
    let mut served = Vec::new();
    for number in 0..all {
        let is_whole = came.get(&number).is_some_and(|found| found.len() == parts);
        decodable = is_whole && (decodable || number.is_multiple_of(GOP));
        if decodable {
            served.push(number);
        }
    }
    served
}

fn check_link(seed: u64, link: Link) {
    let mut scene = Scene::new();
    let sent = scene.seconds(300);
    let (flights, ledgers) = link.carry(&sent, 2, &mut Noise(seed));
    let mut watch = Watch::new(SETS[0]);
    for flight in &flights {
        watch.rtp(flight.micros, Arrival::Datagram, flight.medium, &flight.bytes);
        assert!(watch.input.works.buffer.len() < 1 << 20);
    }
    watch.input.flush(flights.last().unwrap().micros);
    watch.drain();
    for (medium, ledger) in ledgers.iter().enumerate() {
        let expected = receive::Counters {
            received: ledger.arrived,
            lost: ledger.lost,
            duplicate: ledger.duplicated,
            reordered: ledger.reordered,
            ..receive::Counters::default()
        };
        assert_eq!(watch.input.received(medium), expected, "seed {seed}, medium {medium}");
    }
    let pictures = watch.of(1);
    let served: Vec<u32> = pictures.iter().map(|seen| seen.number).collect();
    assert_eq!(served, whole(&sent, &flights, 4), "seed {seed}");
    assert!(served.len() > 300, "some GOPs come through: {}", served.len());
    let counters = watch.input.counters();
    assert_eq!(counters.frames as usize, watch.frames.len());
    assert_eq!(
        link.lost > 0,
        counters.frames_damaged > 0 && counters.frames_undecodable > 0
    );
    // All sound that came.
    let sounds = watch.of(2);
    assert_eq!(sounds.len() as u64, ledgers[1].arrived - ledgers[1].duplicated);
    // Times are those of the camera, in spite of all: one constant away.
    for (frames, ticks) in [(&pictures, PICTURE_TICKS), (&sounds, SOUND_BYTES as i64)] {
        let constant = |seen: &Seen| seen.dts - i64::from(seen.number) * ticks;
        let first = constant(&frames[0]);
        assert!(frames.iter().all(|seen| constant(seen) == first), "seed {seed}");
    }
    assert!(watch.apart_at_the_end().abs() <= 180_000, "as they arrived");
    assert_eq!(watch.jumps(), 0);
}

#[test]
fn what_a_loss_spoils_is_dropped_up_to_the_next_keyframe_and_nothing_else() {
    for (seed, lost, duplicated, delayed) in [
        (11, 0, 0, 0),
        (12, 10, 10, 100),
        (13, 50, 100, 300),
        (14, 100, 300, 500),
        (15, 200, 100, 1_000),
    ] {
        let link = Link {
            lost,
            duplicated,
            delayed,
            delay_micros: 150_000,
            jitter_micros: 20_000,
        };
        check_link(seed, link);
    }
}

/// One packet of twenty: hardly a GOP is whole, and what is served is.
#[test]
fn five_in_a_hundred_lost_leave_whole_pictures_and_all_other_sound() {
    let mut scene = Scene::new();
    let sent = scene.seconds(300);
    let link = Link {
        lost: 500,
        duplicated: 100,
        delayed: 300,
        delay_micros: 150_000,
        jitter_micros: 20_000,
    };
    let (flights, ledgers) = link.carry(&sent, 2, &mut Noise(99));
    let mut watch = Watch::new(SETS[0]);
    for flight in &flights {
        watch.rtp(flight.micros, Arrival::Datagram, flight.medium, &flight.bytes);
    }
    watch.input.flush(flights.last().unwrap().micros);
    watch.drain();
    let served: Vec<u32> = watch.of(1).iter().map(|seen| seen.number).collect();
    assert_eq!(served, whole(&sent, &flights, 4));
    assert!(!served.is_empty());
    assert_eq!(watch.of(2).len() as u64, ledgers[1].arrived - ledgers[1].duplicated);
    assert_eq!(watch.input.received(0).lost, ledgers[0].lost);
}

#[test]
fn a_whole_picture_that_is_lost_spoils_what_follows() {
    let mut watch = Watch::new(SETS[0]);
    let mut scene = Scene::new();
    for at in 0..2 * GOP + 10 {
        for packet in scene.picture(at) {
            if at != 7 {
                watch.rtp(i64::from(at) * PICTURE_MICROS, Arrival::Interleaved, 0, &packet);
            }
        }
    }
    let served: Vec<u32> = watch.of(1).iter().map(|seen| seen.number).collect();
    let expected: Vec<u32> = (0..7).chain(GOP..2 * GOP + 10).collect();
    assert_eq!(served, expected);
    let counters = watch.input.counters();
    assert_eq!(
        (counters.frames_damaged, counters.frames_undecodable),
        (0, u64::from(GOP) - 8)
    );
}

#[test]
fn a_stream_that_is_joined_in_its_middle_begins_with_a_keyframe() {
    let mut watch = Watch::new(SETS[0]);
    let mut scene = Scene::new();
    for at in 20..GOP + 5 {
        for packet in scene.picture(at) {
            watch.rtp(i64::from(at) * PICTURE_MICROS, Arrival::Datagram, 0, &packet);
        }
    }
    assert_eq!((watch.frames[0].number, watch.frames[0].key), (GOP, true));
    assert_eq!(watch.input.counters().frames_before_key, u64::from(GOP) - 20);
}

#[test]
fn another_source_begins_with_a_keyframe() {
    for arrival in [Arrival::Datagram, Arrival::Interleaved] {
        let mut watch = Watch::new(SETS[0]);
        let mut scene = Scene::new();
        for at in 0..3 * GOP {
            if at == GOP + 10 {
                // Another SSRC in the middle of a GOP, everything else anew.
                (scene.pictures.ssrc, scene.pictures.sequence, scene.pictures.base) = (5, 17, 99);
            }
            for packet in scene.picture(at) {
                watch.rtp(i64::from(at) * PICTURE_MICROS, arrival, 0, &packet);
            }
        }
        let frames = watch.of(1);
        let served: Vec<u32> = frames.iter().map(|seen| seen.number).collect();
        let expected: Vec<u32> = (0..GOP + 10).chain(2 * GOP..3 * GOP).collect();
        assert_eq!(served, expected, "{arrival:?}");
        assert_eq!((watch.jumps(), watch.input.received(0).restarts), (1, 1));
        // Time goes on with the clock on the wall.
        let last = frames.last().unwrap();
        let off = last.dts - frames[0].dts - i64::from(last.number) * PICTURE_TICKS;
        assert!(off.abs() <= PICTURE_TICKS, "{off}");
    }
}

/// Sequence numbers begin anew, nothing else: time goes on as it was.
#[test]
fn a_sequence_that_begins_anew_moves_no_time() {
    let mut watch = Watch::new(SETS[0]);
    let mut scene = Scene::new();
    for at in 0..3 * GOP {
        if at == GOP {
            scene.pictures.sequence = 30_000;
        }
        for packet in scene.picture(at) {
            watch.rtp(i64::from(at) * PICTURE_MICROS, Arrival::Datagram, 0, &packet);
        }
    }
    let frames = watch.of(1);
    assert_eq!(frames.len() as u32, 3 * GOP);
    assert!(frames.windows(2).all(|two| two[1].dts - two[0].dts == PICTURE_TICKS));
    assert_eq!((watch.jumps(), watch.input.received(0).restarts), (0, 1));
}

/// Pictures of an open GOP, in decode order: number as they are shown, and whether key.
const OPEN: [(u32, bool); 16] = [
    (0, true),
    (3, false),
    (1, false),
    (2, false),
    (6, false),
    (4, false),
    (5, false),
    (9, true),
    (7, false),
    (8, false),
    (12, false),
    (10, false),
    (11, false),
    (15, true),
    (13, false),
    (14, false),
];

/// What is shown before the keyframe that was begun with needs what is missing, though it comes behind it.
#[test]
fn leading_pictures_behind_a_loss_are_as_lost() {
    type Lost = fn(usize) -> bool;
    let cases: [(Lost, &[u32], (u64, u64)); 4] = [
        (
            |_| false,
            &[0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11, 15, 13, 14],
            (0, 0),
        ),
        (|at| at == 4, &[0, 3, 1, 2, 9, 12, 10, 11, 15, 13, 14], (0, 4)),
        (|at| at < 4, &[9, 12, 10, 11, 15, 13, 14], (5, 0)),
        (|at| at == 8, &[0, 3, 1, 2, 6, 4, 5, 9, 15], (0, 6)),
    ];
    for (is_lost, expected, counted) in cases {
        let mut watch = Watch::new(SETS[1]);
        let mut scene = Scene::new();
        for (at, (shown, key)) in OPEN.into_iter().enumerate() {
            let packets = scene.pictures.picture(i64::from(shown) * PICTURE_TICKS, shown, key, 2);
            for packet in packets.iter().filter(|_| !is_lost(at)) {
                watch.rtp(at as i64 * PICTURE_MICROS, Arrival::Interleaved, 0, packet);
            }
        }
        let served: Vec<u32> = watch.of(1).iter().map(|seen| seen.number).collect();
        assert_eq!(served, expected);
        let counters = watch.input.counters();
        assert_eq!((counters.frames_before_key, counters.frames_undecodable), counted);
        assert_eq!(counters.frames_damaged, 0, "they were lost whole");
    }
}
