//! The shelf: whatever a lane lived through, a segment has the same bytes, name and number; lists tell of breaks, gaps and the
//! end.

use std::collections::BTreeMap;

use super::*;
use crate::messages::Shelve;
use crate::shelf::{Edition, Item, Lane, LaneKey, Newest, Shelving, Skip, Source, TextKey};

const TARGET_MILLIS: u32 = 2000;

impl Rig {
    fn shelve(&mut self, item: Item) -> Shelving {
        let shelve = Shelve {
            name: self.stream.name.clone(),
            item,
            from: HERE,
        };
        self.stream.shelve(&shelve, HERE, self.now, &self.pool, &self.counters)
    }

    fn edition(&mut self, item: Item) -> Arc<Edition> {
        match self.shelve(item) {
            Shelving::Edition { edition, .. } => edition,
            other => panic!("{item:?}: {other:?}"),
        }
    }

    fn lane(&mut self, kind: Kind) -> LaneKey {
        LaneKey::Cmaf {
            track: self.in_force(kind),
        }
    }

    fn in_force(&self, kind: Kind) -> u32 {
        let track = self.stream.tracks().iter().find(|track| track.kind() == kind);
        track.expect("the stream has such a track").id
    }

    fn media(&self, kind: Kind) -> Item {
        Item::Text(TextKey::CmafMedia {
            track: self.in_force(kind),
            newest: Newest::Parts,
            skip: Skip::No,
        })
    }

    fn ts(&self) -> (Item, LaneKey) {
        let (first, second) = (self.in_force(Kind::Video), Some(self.in_force(Kind::Audio)));
        (
            Item::Text(TextKey::TsMedia { first, second }),
            LaneKey::Ts { first, second },
        )
    }

    fn text(&mut self, item: Item) -> String {
        let edition = self.edition(item);
        let Item::Text(key) = item else {
            panic!("{item:?} is no text")
        };
        let text = edition.text(key).expect("there is enough to list");
        String::from_utf8(text.identity.to_vec()).unwrap()
    }
}

/// Bytes of the segments that are there, by name; those of their parts, one after the other, are the same.
fn segments(lane: &Lane) -> BTreeMap<i64, (u64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for shelved in &lane.segments {
        let feed = match shelved.from {
            Source::Live => &lane.live,
            Source::Again => lane.again.as_ref().expect("it is where it says"),
        };
        let mut bytes = vec![0; (shelved.range.end - shelved.range.start) as usize];
        assert!(feed.copy_out(shelved.range.start, &mut bytes));
        let mut at = shelved.range.start;
        for part in &shelved.parts {
            assert_eq!(part.start, at, "parts have no holes between them");
            at = part.end;
        }
        assert_eq!(at, shelved.range.end);
        found.insert(shelved.name_millis, (shelved.number, bytes));
    }
    found
}

#[test]
fn a_segment_has_the_same_bytes_whenever_it_is_made() {
    let mut rig = Rig::new();
    rig.begin(0);
    rig.run(0..4_500);
    let (ts_text, ts) = rig.ts();
    let (video, audio) = (rig.lane(Kind::Video), rig.lane(Kind::Audio));
    let items = [rig.media(Kind::Video), rig.media(Kind::Audio), ts_text];
    let lanes = [video, audio, ts];
    let mut seen: [BTreeMap<i64, (u64, Vec<u8>)>; 3] = Default::default();
    // Made as the frames came.
    for until in (5_000..40_000).step_by(500) {
        rig.run(until - 500..until);
        for ((item, key), seen) in items.iter().zip(lanes).zip(&mut seen) {
            let edition = rig.edition(*item);
            for (name, made) in segments(edition.lane(key).expect("it is being made")) {
                let before = seen.entry(name).or_insert_with(|| made.clone());
                assert_eq!(*before, made, "{key:?} at {name} ms");
            }
        }
    }
    for (key, seen) in lanes.into_iter().zip(&seen) {
        assert!(seen.len() >= 18, "{key:?}: {}", seen.len());
        let numbers: Vec<u64> = seen.values().map(|(number, _)| *number).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        // Asked for again, one by one, the oldest first.
        for (name_millis, made) in seen.iter().take(12) {
            let edition = rig.edition(Item::Segment {
                lane: key,
                name_millis: *name_millis,
            });
            let found = segments(edition.lane(key).unwrap());
            assert_eq!(found.get(name_millis), Some(made), "{key:?} at {name_millis} ms");
        }
    }
    assert!(rig.counters.segments_again.value() >= 12);
    // And by lanes that begin now.
    let epoch = rig.edition(items[0]).epoch.clone();
    rig.stream.clear_shelf(&rig.counters);
    for ((item, key), seen) in items.iter().zip(lanes).zip(&seen) {
        let edition = rig.edition(*item);
        assert_eq!(edition.epoch, epoch);
        let found = segments(edition.lane(key).unwrap());
        assert!(found.len() >= 3, "{key:?}");
        for (name, made) in found {
            assert_eq!(seen.get(&name), Some(&made), "{key:?} at {name} ms");
        }
    }
}

#[test]
fn a_name_that_never_was_or_has_left_is_not_there() {
    let mut rig = Rig::new();
    rig.begin(0);
    rig.run(0..10_000);
    let lane = rig.lane(Kind::Video);
    let first = rig.edition(rig.media(Kind::Video));
    let oldest = first.lane(lane).unwrap().segments[0].name_millis;
    for name_millis in [oldest + 1, -5, i64::MAX, 50_000] {
        let answer = rig.shelve(Item::Segment { lane, name_millis });
        assert!(matches!(answer, Shelving::NoSuch { .. }), "{name_millis}: {answer:?}");
    }
    rig.run(10_000..90_000);
    let answer = rig.shelve(Item::Segment {
        lane,
        name_millis: oldest,
    });
    assert!(
        matches!(answer, Shelving::NoSuch { .. }),
        "its window has passed: {answer:?}"
    );
    let unknown = LaneKey::Cmaf { track: 77 };
    let answer = rig.shelve(Item::Init {
        lane: unknown,
        generation: None,
    });
    assert!(matches!(answer, Shelving::NoSuch { .. }), "{answer:?}");
}

#[test]
fn a_returning_publisher_is_a_discontinuity_and_numbers_go_on() {
    let mut rig = Rig::new();
    rig.begin(0);
    rig.run(0..8_000);
    let media = rig.media(Kind::Video);
    let before = rig.text(media);
    assert!(
        !before.contains("DISCONTINUITY\n") && before.contains("#EXT-X-MAP"),
        "{before}"
    );
    rig.stream.publisher_left(rig.now, &rig.counters);
    let publisher = Publisher::new(ClaimId(2), None, Input::tags(), rig.now);
    rig.stream.publisher_came(publisher);
    rig.begin(600_000);
    rig.run(600_000..608_000);
    let after = rig.text(media);
    assert_eq!(after.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{after}");
    let numbers = rig.edition(media);
    let lane = numbers.lane(rig.lane(Kind::Video)).unwrap();
    let numbers: Vec<u64> = lane.segments.iter().map(|shelved| shelved.number).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
}

#[test]
fn sound_that_fails_leaves_gaps_in_its_own_list_alone() {
    let mut rig = Rig::new();
    rig.begin(0);
    rig.run(0..6_000);
    let (video, audio) = (rig.media(Kind::Video), rig.media(Kind::Audio));
    rig.text(video);
    rig.text(audio);
    for now in (6_000..12_000).step_by(40) {
        rig.frame(Kind::Video, now, now % GOP_MILLIS == 0);
    }
    rig.run(12_000..18_000);
    let text = rig.text(audio);
    assert!(text.matches("#EXT-X-GAP").count() >= 1, "{text}");
    assert!(!rig.text(video).contains("GAP"));
    let target = format!("#EXT-X-TARGETDURATION:{}\n", TARGET_MILLIS / 1000);
    assert!(text.contains(&target), "{text}");
}

#[test]
fn the_end_is_listed() {
    let mut rig = Rig::new();
    rig.begin(0);
    rig.run(0..7_000);
    let (media, lane) = (rig.media(Kind::Video), rig.lane(Kind::Video));
    rig.text(media);
    rig.stream.publisher_left(rig.now, &rig.counters);
    rig.stream.finish(&rig.counters);
    let text = rig.text(media);
    assert!(text.ends_with("#EXT-X-ENDLIST\n"), "{text}");
    let edition = rig.edition(media);
    assert!(edition.is_ended && edition.lane(lane).unwrap().growing.is_none());
    let last = edition.lane(lane).unwrap().segments.last().unwrap().clone();
    assert_eq!(last.name_millis, 6_000);
    assert!(text.contains("chunk_6000.m4s"), "{text}");
}

#[test]
fn what_nobody_asks_for_is_made_no_more() {
    let mut rig = Rig::new();
    rig.begin(0);
    rig.run(0..6_000);
    let media = rig.media(Kind::Video);
    rig.text(media);
    assert_eq!((rig.counters.lanes.value(), rig.counters.shelves.value()), (1, 1));
    let mut at = 6_000;
    let mut dropped = 0;
    while rig.counters.shelves.value() > 0 && at < 120_000 {
        rig.run(at..at + 1_000);
        at += 1_000;
        // The rig's clock runs by its pushes; an operator's by time.
        rig.now += 1_000_000;
        if let Some(news) = rig.stream.shelf_news(rig.now, &rig.counters) {
            dropped |= news.dropped;
        }
    }
    assert_eq!(dropped, HERE.bit(), "its only shard is told no more");
    assert_eq!((rig.counters.lanes.value(), rig.counters.shelves.value()), (0, 0));
    let made = rig.counters.segments_made.value();
    rig.run(at..at + 10_000);
    assert_eq!(rig.counters.segments_made.value(), made);
}

#[test]
fn parts_are_full_also_when_they_are_asked_for_in_the_first_gop() {
    // Times are rounded to ms, as RTMP has them.
    for (rate, frames) in [
        (30.0, 10),
        (60.0, 20),
        (25.0, 8),
        (24.0, 8),
        (15.0, 5),
        (10.0, 3),
        (5.0, 2),
    ] {
        // Two frames are there at least.
        for asked_at in [0.0, 300.0, 900.0, 2_500.0] {
            let asked_at = f64::max(asked_at, 2_000.0 / rate) as u32;
            let mut rig = Rig::new();
            rig.begin(0);
            let times = (0..).map(|frame| (f64::from(frame) * 1000.0 / rate).round() as u32);
            let mut media = None;
            let mut key_due = 0;
            for millis in times.take_while(|millis| *millis < 8_000) {
                if media.is_none() && millis >= asked_at {
                    media = Some(rig.media(Kind::Video));
                    rig.shelve(media.unwrap());
                }
                rig.frame(Kind::Video, millis, millis >= key_due);
                rig.frame(Kind::Audio, millis, true);
                key_due = if millis >= key_due { key_due + 2_000 } else { key_due };
            }
            let text = rig.text(media.unwrap());
            let durations: Vec<Option<f64>> = text
                .lines()
                .filter(|line| line.starts_with("#EXT-X-PART:") || line.starts_with("#EXTINF"))
                .map(|line| line.strip_prefix("#EXT-X-PART:DURATION="))
                .map(|part| part.map(|part| part.split(',').next().unwrap().parse().unwrap()))
                .collect();
            let inner: Vec<f64> = durations
                .windows(2)
                .filter_map(|pair| pair[0].filter(|_| pair[1].is_some()))
                .collect();
            assert!(inner.len() > 4, "{text}");
            for duration in inner {
                let is_full = (duration - f64::from(frames) / rate).abs() < 0.002;
                assert!(
                    is_full,
                    "{rate} a second, asked for at {asked_at} ms: {duration} in\n{text}"
                );
            }
        }
    }
}
