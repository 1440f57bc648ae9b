//! What requests find on editions made by hand.

use std::fmt::Write as _;

use penstock_proto::hls::Edge;
use penstock_shard::feed::{Config, Writer};
use penstock_shard::pool::{Pool, limits::BUDGET_BYTES_MIN};

use super::*;
use crate::shelf::{Newest, Skip, TextKey, Usage};

pub const CMAF: LaneKey = LaneKey::Cmaf { track: 1 };
pub const SMOOTH: LaneKey = LaneKey::Smooth { track: 1 };
pub const MEDIA: Item = media(1);
pub const NOW: Reload = reload(None, None);

pub const fn media(track: u32) -> Item {
    Item::Text(TextKey::CmafMedia {
        track,
        newest: Newest::Parts,
        skip: Skip::No,
    })
}

pub const fn reload(msn: Option<u64>, part: Option<u64>) -> Reload {
    Reload {
        msn,
        part,
        skip: penstock_proto::hls::Skip::No,
    }
}

pub fn feed() -> Arc<Feed> {
    let pool = Pool::create(BUDGET_BYTES_MIN).unwrap();
    let config = Config {
        lag_max_micros: 1_000_000,
        bytes_max: 1 << 20,
        claimed_bytes_max: 1 << 20,
    };
    Writer::create(&pool, config).unwrap().feed().clone()
}

/// Segments 5 (made again), 8 and 9 of 2 s and three parts each, and two parts of 10.
pub fn lane(key: LaneKey) -> Lane {
    let shelved = |number: u64, from| Shelved {
        number,
        name_millis: number as i64 * 2000,
        from,
        range: number * 300..number * 300 + 300,
        parts: parts(number * 300, 3),
    };
    Lane {
        key,
        content_type: "video/mp4",
        live: feed(),
        chunked: Some(feed()),
        again: Some(feed()),
        inits: vec![(0, Arc::from(&b"old"[..])), (2, Arc::from(&b"new"[..]))],
        segments: vec![
            shelved(5, Source::Again),
            shelved(8, Source::Live),
            shelved(9, Source::Live),
        ],
        growing: Some(Growing {
            number: 10,
            name_millis: 20_000,
            parts: parts(3000, 2),
            start: 3000,
            chunks: vec![7000, 7110, 7220],
        }),
        has_parts: true,
    }
}

fn parts(start: u64, count: u64) -> Vec<Range<u64>> {
    (0..count)
        .map(|part| start + 100 * part..start + 100 * part + 100)
        .collect()
}

pub fn text(key: TextKey, edge: Option<Edge>) -> Arc<Text> {
    Arc::new(Text {
        key,
        identity: Arc::from(&b"text"[..]),
        gzip: Arc::from(&b"gzip"[..]),
        etag: "\"t\"".into(),
        etag_gzip: "\"t-gz\"".into(),
        edge,
        life_millis: Some(1000),
    })
}

/// Ten is growing, with two parts.
pub fn edge() -> Edge {
    Edge {
        number: 10,
        parts: 2,
        is_complete: false,
        is_ended: false,
        part_target_micros: 333_333,
    }
}

pub fn edition(serial: u64, lanes: Vec<Lane>, texts: Vec<Arc<Text>>) -> Arc<Edition> {
    Arc::new(Edition {
        epoch: "abcdef".into(),
        serial,
        target_seconds: 2,
        window_millis: 60_000,
        is_ended: false,
        texts,
        lanes: lanes.into_iter().map(Arc::new).collect(),
        usage: Arc::new(Usage::new()),
    })
}

/// As the live edition, with what a test changes of its lane.
fn with(change: impl FnOnce(&mut Lane)) -> Arc<Edition> {
    let mut lane = lane(CMAF);
    change(&mut lane);
    edition(1, vec![lane], Vec::new())
}

/// In a word: where it is, and what.
fn found(edition: &Edition, item: Item, reload: Reload) -> String {
    let lane = edition.lane(CMAF);
    let mut word = String::new();
    match resolve(edition, &item, &reload) {
        Found::Text(_) => word += "text",
        Found::Init(_, generation, bytes) => {
            let _ = write!(word, "init {generation} {}", String::from_utf8_lossy(&bytes));
        }
        Found::Range(lane, feed, range, tag) => {
            let is_live = Arc::ptr_eq(&lane.live, &feed);
            assert!(is_live || lane.again.as_ref().is_some_and(|again| Arc::ptr_eq(again, &feed)));
            let from = if is_live { "live" } else { "again" };
            let _ = write!(word, "{from} {range:?} of {}", tag.number);
            if let Some(part) = tag.part {
                let _ = write!(word, ".{part}");
            }
        }
        Found::Growing(_, growing) => {
            assert_eq!(lane.and_then(|lane| lane.growing.as_ref()), Some(&growing));
            word += "growing";
        }
        Found::Wait => word += "wait",
        Found::Ask => word += "ask",
        Found::Gone => word += "gone",
        Found::TooFar => word += "too far",
    }
    word
}

fn segment(name_millis: i64) -> Item {
    Item::Segment {
        lane: CMAF,
        name_millis,
    }
}

fn part(name_millis: i64, part: u32) -> Item {
    Item::Part {
        lane: CMAF,
        name_millis,
        part,
    }
}

fn numbered(number: u64) -> Item {
    Item::Numbered { lane: CMAF, number }
}

fn init(generation: Option<u32>) -> Item {
    Item::Init { lane: CMAF, generation }
}

#[test]
fn what_is_there_is_found_and_what_is_next_is_waited_for() {
    let edition = with(|_| {});
    for (item, expected) in [
        (segment(10_000), "again 1500..1800 of 5"),
        (segment(18_000), "live 2700..3000 of 9"),
        (segment(20_000), "growing"),
        // The home lists segments that are not made, and knows whether a name is one of theirs.
        (segment(12_000), "ask"),
        (segment(22_000), "ask"),
        (segment(-1), "ask"),
        (numbered(9), "live 2700..3000 of 9"),
        (numbered(10), "growing"),
        (numbered(11), "wait"),
        (numbered(12), "ask"),
        (numbered(7), "ask"),
        (numbered(u64::MAX), "ask"),
        (part(18_000, 2), "live 2900..3000 of 9.2"),
        (part(10_000, 0), "again 1500..1600 of 5.0"),
        // It was hinted at, and its segment ended before.
        (part(18_000, 3), "gone"),
        (part(18_000, u32::MAX), "gone"),
        (part(20_000, 1), "live 3100..3200 of 10.1"),
        (part(20_000, 2), "wait"),
        (part(20_000, 3), "wait"),
        (part(20_000, 4), "too far"),
        (part(20_000, u32::MAX), "too far"),
        (part(12_000, 0), "ask"),
        (init(None), "init 2 new"),
        (init(Some(0)), "init 0 old"),
        (init(Some(1)), "gone"),
    ] {
        assert_eq!(found(&edition, item, NOW), expected, "{item:?}");
    }
}

#[test]
fn what_is_not_made_here_is_asked_for() {
    let nothing = edition(1, Vec::new(), Vec::new());
    for item in [segment(0), numbered(0), part(0, 0), init(None), MEDIA] {
        assert_eq!(found(&nothing, item, NOW), "ask", "{item:?}");
    }
    let without_chunks = with(|lane| lane.chunked = None);
    assert_eq!(found(&without_chunks, segment(20_000), NOW), "ask");
    assert_eq!(
        found(&without_chunks, part(20_000, 1), NOW),
        "live 3100..3200 of 10.1",
        "parts need none"
    );
    let begun = with(|lane| {
        lane.inits.clear();
        lane.segments.clear();
        lane.growing = None;
    });
    assert_eq!(found(&begun, init(None), NOW), "wait");
    assert_eq!(found(&begun, init(Some(3)), NOW), "wait");
    assert_eq!(found(&begun, segment(0), NOW), "ask");
    let dropped = with(|lane| lane.again = None);
    assert_eq!(found(&dropped, segment(10_000), NOW), "ask");
}

/// The first part of a segment of which nothing is there yet, and the one behind it.
#[test]
fn a_segment_without_parts_has_a_next_one() {
    let empty = with(|lane| {
        let growing = lane.growing.as_mut().unwrap();
        growing.parts.clear();
        growing.chunks.truncate(1);
    });
    assert_eq!(found(&empty, part(20_000, 0), NOW), "wait");
    assert_eq!(found(&empty, part(20_000, 1), NOW), "wait");
    assert_eq!(found(&empty, part(20_000, 2), NOW), "too far");
    assert_eq!(found(&empty, segment(20_000), NOW), "growing");
}

/// The first request has no directive and is answered at once, and so is what is listed already (client-habits 4.7).
#[test]
fn playlists_are_judged_by_their_edge() {
    let Item::Text(key) = MEDIA else { unreachable!() };
    let live = edition(1, vec![lane(CMAF)], vec![text(key, Some(edge()))]);
    for ((msn, part), expected) in [
        ((None, None), "text"),
        ((Some(9), None), "text"),
        ((Some(10), Some(1)), "text"),
        ((Some(10), Some(2)), "wait"),
        ((Some(10), None), "wait"),
        ((Some(11), Some(0)), "wait"),
        ((Some(12), None), "too far"),
        ((Some(u64::MAX), Some(u64::MAX)), "too far"),
    ] {
        assert_eq!(found(&live, MEDIA, reload(msn, part)), expected, "{msn:?} {part:?}");
    }
    let master = TextKey::CmafMaster { newest: Newest::Parts };
    let masters = edition(1, Vec::new(), vec![text(master, None)]);
    assert_eq!(
        found(&masters, Item::Text(master), reload(Some(99), None)),
        "text",
        "a master has no edge"
    );
    let other = Item::Text(TextKey::CmafMaster { newest: Newest::Ranges });
    assert_eq!(found(&masters, other, NOW), "ask", "each form is a text of its own");
}
