//! A shard's waiters and questions, with editions made by hand.

use penstock_proto::hls::Edge;
use penstock_shard::mesh::ShardId;

use super::super::resolve::tests::{CMAF, MEDIA, NOW, SMOOTH, edge, edition, lane, media, reload, text};
use super::*;
use crate::shelf::TextKey;

type Here = ShelfHere<u32>;
const HOME: ShardId = ShardId(1);
const SECOND: u64 = 1_000_000;
/// The next part of the growing segment, and the one behind it.
const NEXT: Item = part(2);
const BEHIND: Item = part(3);

const fn part(part: u32) -> Item {
    Item::Part {
        lane: CMAF,
        name_millis: 20_000,
        part,
    }
}

/// Ten grows; it has so many parts.
fn with_parts(serial: u64, count: usize) -> Arc<Edition> {
    let mut lane = lane(CMAF);
    let growing = lane.growing.as_mut().unwrap();
    let first = growing.parts[0].clone();
    growing.parts = vec![first; count];
    growing.chunks = vec![0; count + 1];
    let Item::Text(key) = MEDIA else { unreachable!() };
    let edge = Edge {
        parts: count as u32,
        ..edge()
    };
    edition(serial, vec![lane], vec![text(key, Some(edge))])
}

fn live() -> Here {
    let mut here = Here::default();
    here.take(with_parts(1, 2));
    here.take_ready(None);
    here
}

fn wait(here: &mut Here, conn: u32, item: Item, reload: Reload) {
    assert!(here.wait(Waiter {
        conn,
        since: 0,
        item,
        reload
    }));
}

fn ready(here: &mut Here, refused: Option<&Item>) -> Vec<u32> {
    let mut ready: Vec<u32> = here.take_ready(refused).iter().map(|waiter| waiter.conn).collect();
    ready.sort_unstable();
    ready
}

#[test]
fn nobody_is_always_among_the_last() {
    let mut here = live();
    let mut last = [0; 50];
    for round in 0..40 {
        for conn in 0..50 {
            wait(&mut here, conn, part(2 + round), NOW);
        }
        here.take(with_parts(2 + u64::from(round), 3 + round as usize));
        let ready = here.take_ready(None);
        assert_eq!(ready.len(), 50);
        ready[45..].iter().for_each(|waiter| last[waiter.conn as usize] += 1);
    }
    // A tenth of the rounds is each one's share.
    assert!(last.iter().all(|times| (1..=8).contains(times)), "{last:?}");
}

#[test]
fn those_whose_thing_came_look_again_and_the_others_stay() {
    let mut here = live();
    let (next, whole) = (reload(Some(10), Some(2)), reload(Some(10), None));
    for (conn, item, reload) in [
        (1, NEXT, NOW),
        (2, BEHIND, NOW),
        (3, MEDIA, next),
        (4, MEDIA, whole),
        (5, NEXT, NOW),
        (6, media(9), NOW),
    ] {
        wait(&mut here, conn, item, reload);
    }
    // Nothing has changed but that somebody looks: what must be asked for looks too.
    assert_eq!(ready(&mut here, None), [6]);
    here.take(with_parts(2, 3));
    assert_eq!(ready(&mut here, None), [1, 3, 5]);
    assert_eq!(ready(&mut here, None), [0; 0]);
    here.take(with_parts(3, 4));
    assert_eq!(ready(&mut here, None), [2]);
    assert!(here.has_waiters());
    // An older edition, late on its way, takes nothing away.
    here.take(with_parts(2, 3));
    assert!(matches!(
        resolve(here.edition().unwrap(), &BEHIND, &NOW),
        Found::Range(..)
    ));
    here.leave(4);
    assert!(!here.has_waiters());
}

#[test]
fn who_waits_for_what_will_not_come_is_told_so() {
    let mut here = live();
    wait(&mut here, 1, NEXT, NOW);
    wait(&mut here, 2, BEHIND, NOW);
    assert_eq!(ready(&mut here, Some(&BEHIND)), [2]);
    assert_eq!(ready(&mut here, None), [0; 0]);
}

#[test]
fn another_timeline_or_none_is_looked_at_by_all() {
    let mut here = live();
    wait(&mut here, 1, NEXT, NOW);
    let mut other = Edition::clone(&with_parts(1, 2));
    other.epoch = "ghijkl".into();
    here.take(Arc::new(other));
    assert_eq!(ready(&mut here, None), [1], "its URL may be of the epoch that is gone");
    wait(&mut here, 1, NEXT, NOW);
    assert_eq!(ready(&mut here, None), [0; 0]);
    here.forget();
    assert_eq!(ready(&mut here, None), [1]);
    assert!(here.is_unused());
}

/// However many things they wait for: what is looked up once for all has a bound, and beyond it nobody is forgotten.
#[test]
fn many_things_are_waited_for_at_once() {
    let mut here = live();
    let count = THINGS_KNOWN as u32 * 3;
    for conn in 0..count {
        let far = reload(Some(11), Some(u64::from(conn % 10)));
        wait(&mut here, conn, MEDIA, far);
        wait(&mut here, count + conn, part(2 + conn % 2), NOW);
    }
    assert_eq!(ready(&mut here, None), [0; 0]);
    here.take(with_parts(2, 3));
    let expected: Vec<u32> = (0..count)
        .filter(|conn| conn % 2 == 0)
        .map(|conn| count + conn)
        .collect();
    assert_eq!(ready(&mut here, None), expected);
}

#[test]
fn waiters_are_bounded_and_their_time_is_three_targets() {
    let mut here = live();
    for conn in 0..limits::WAITERS_PER_STREAM_MAX as u32 {
        let waiter = Waiter {
            conn,
            since: u64::from(conn % 2) * SECOND,
            item: NEXT,
            reload: NOW,
        };
        assert!(here.wait(waiter));
    }
    let more = Waiter {
        conn: u32::MAX,
        since: 0,
        item: NEXT,
        reload: NOW,
    };
    assert!(!here.wait(more));
    assert!(here.take_late(6 * SECOND - 1).is_empty());
    let late = here.take_late(6 * SECOND);
    assert_eq!(late.len(), limits::WAITERS_PER_STREAM_MAX / 2);
    assert!(late.iter().all(|waiter| waiter.conn % 2 == 0));
    assert!(here.wait(more), "there is room again");
    assert_eq!(here.take_all().len(), limits::WAITERS_PER_STREAM_MAX / 2 + 1);
    // Of a stream that is starting no target is known.
    let mut starting = Here::default();
    wait(&mut starting, 1, MEDIA, NOW);
    assert!(starting.take_late(limits::OPEN_WAIT_MICROS - 1).is_empty());
    assert_eq!(starting.take_late(limits::OPEN_WAIT_MICROS).len(), 1);
}

#[test]
fn a_thing_is_asked_for_once_and_again_when_its_promise_is_old() {
    let mut here = live();
    let item = media(2);
    assert_eq!(here.expects(&item, 0), Expected::No);
    let is_cached = true;
    here.asked(Question { item, is_cached });
    assert_eq!(here.expects(&item, 0), Expected::Yes);
    assert!(here.answered(&item).is_some_and(|question| question.is_cached));
    assert!(here.answered(&item).is_none());
    here.granted(HOME, item, with_parts(2, 2), 0);
    assert_eq!(here.home, Some(HOME));
    assert_eq!(here.expects(&item, limits::PROMISE_MICROS - 1), Expected::Yes);
    assert_eq!(here.expects(&item, limits::PROMISE_MICROS), Expected::No);
    // What the edition has is not promised: if it is not on a later one, it is asked for at once.
    here.granted(HOME, NEXT, with_parts(3, 2), 0);
    assert_eq!(here.expects(&NEXT, 0), Expected::No);
    here.granted(HOME, item, with_parts(4, 2), 0);
    let Item::Text(key) = item else { unreachable!() };
    here.take(edition(5, vec![lane(CMAF)], vec![text(key, Some(edge()))]));
    here.take(with_parts(6, 2));
    assert_eq!(here.expects(&item, 0), Expected::No, "it came, and was taken off again");
}

#[test]
fn questions_are_bounded() {
    let mut here = live();
    let is_cached = false;
    for track in 0..limits::QUESTIONS_PER_SHELF_MAX as u32 {
        let item = media(100 + track);
        assert_eq!(here.expects(&item, 0), Expected::No);
        here.asked(Question { item, is_cached });
    }
    assert_eq!(here.expects(&media(99), 0), Expected::TooMany);
    assert_eq!(here.expects(&media(100), 0), Expected::Yes);
    here.answered(&media(100));
    assert_eq!(here.expects(&media(99), 0), Expected::No);
}

/// A fragment that tells of the next ones is made when it is asked for and they are there: each edition may be the one.
#[test]
fn smooth_fragments_are_asked_for_with_each_edition() {
    let fragment = Item::Segment {
        lane: SMOOTH,
        name_millis: 20_000,
    };
    let mut here = live();
    here.granted(HOME, fragment, with_parts(2, 2), 0);
    assert_eq!(here.expects(&fragment, 0), Expected::Yes);
    here.take(with_parts(2, 2));
    assert_eq!(here.expects(&fragment, 0), Expected::Yes, "the same edition");
    here.take(with_parts(3, 3));
    assert_eq!(here.expects(&fragment, 0), Expected::No);
    let master = Item::Text(TextKey::Smooth);
    here.granted(HOME, master, with_parts(4, 2), 0);
    here.take(with_parts(5, 3));
    assert_eq!(here.expects(&master, 0), Expected::Yes, "a text is waited for");
}
