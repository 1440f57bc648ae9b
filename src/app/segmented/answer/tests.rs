//! Where a range of the growing segment begins, and what caches are told.

use penstock_proto::hls::Reload;
use penstock_shard::feed::{Config, Writer};
use penstock_shard::pool::Pool;

use super::super::resolve::tests::{CMAF, MEDIA, NOW, edge, edition, lane, reload, text};
use super::super::target::Asked as Request;
use super::*;
use crate::names::StreamName;
use crate::shelf::Shelved;

/// A lane whose growing segment begins behind another record and has parts of these lengths; each byte is its position's last.
fn growing(lengths: &[u64]) -> (Writer, Lane, Growing) {
    let pool = Pool::create(64 << 20).unwrap();
    let config = Config {
        lag_max_micros: 1_000_000,
        bytes_max: 8 << 20,
        claimed_bytes_max: 8 << 20,
    };
    let mut writer = Writer::create(&pool, config).unwrap();
    let mut append = |length: u64| {
        let start = writer.feed().head();
        let bytes: Vec<u8> = (start..start + length).map(|position| position as u8).collect();
        writer.append_record(&bytes, Some(&[]), 0).unwrap();
        start..start + length
    };
    append(50);
    let parts: Vec<_> = lengths.iter().map(|length| append(*length)).collect();
    let growing = Growing {
        number: 10,
        name_millis: 20_000,
        start: 50,
        chunks: (0..=parts.len() as u64).map(|chunk| 7000 + chunk).collect(),
        parts,
    };
    let lane = Lane {
        live: writer.feed().clone(),
        growing: Some(growing.clone()),
        segments: Vec::<Shelved>::new(),
        ..lane(CMAF)
    };
    (writer, lane, growing)
}

#[test]
fn a_range_of_the_growing_segment_begins_with_a_chunk() {
    let (_writer, lane, growing) = growing(&[100, 30, 5]);
    let place = |first| place_in_chunks(&lane, &growing, first);
    let at = |chunk: u64| Some((chunk, Vec::<u8>::new()));
    assert_eq!(place(0), at(7000));
    assert_eq!(place(100), at(7001));
    assert_eq!(place(130), at(7002));
    assert_eq!(place(135), at(7003), "the part that is next");
    assert_eq!(place(136), None, "inside what is not there yet");
    assert_eq!(place(u64::MAX), None);
    // Inside a part its rest is a chunk in front of the next one.
    let (next, lead) = place(126).unwrap();
    assert_eq!((next, &lead[..]), (7002, &b"4\r\n\xb0\xb1\xb2\xb3\r\n"[..]));
    let (next, lead) = place(134).unwrap();
    assert_eq!((next, &lead[..]), (7003, &b"1\r\n\xb8\r\n"[..]));
}

#[test]
fn nothing_is_there_yet_and_its_first_chunk_is_next() {
    let (_writer, lane, growing) = growing(&[]);
    assert_eq!(place_in_chunks(&lane, &growing, 0), Some((7000, Vec::new())));
    assert_eq!(place_in_chunks(&lane, &growing, 1), None);
}

/// A session has no room for the rest of a large part: who asks for it waits until the segment is complete.
#[test]
fn what_is_copied_of_a_part_is_bounded() {
    let length = 3 * limits::CHUNK_LEAD_BYTES_MAX;
    let (_writer, lane, growing) = growing(&[length]);
    let place = |first| place_in_chunks(&lane, &growing, first);
    assert_eq!(place(0), Some((7000, Vec::new())));
    assert_eq!(place(1), None);
    assert_eq!(place(length - limits::CHUNK_LEAD_BYTES_MAX - 1), None);
    let (next, lead) = place(length - limits::CHUNK_LEAD_BYTES_MAX).unwrap();
    assert_eq!(next, 7001);
    assert!(lead.len() as u64 > limits::CHUNK_LEAD_BYTES_MAX && lead.len() < penstock_shard::limits::OWN_BYTES_MAX);
}

fn fetch(item: Item, epoch: Option<&str>, reload: Reload) -> Fetch {
    Fetch {
        name: StreamName::sanitise("live").unwrap().name,
        asked: Request {
            name: "live".into(),
            item,
            epoch: epoch.map(str::to_owned),
            reload,
        },
        since: 0,
        tries: 0,
        has_waited: false,
    }
}

/// The edition's epoch is `abcdef`, its window a minute, its target 2 s.
#[test]
fn only_a_url_that_never_means_other_bytes_is_immutable() {
    let edition = edition(1, Vec::new(), Vec::new());
    let part = Item::Part {
        lane: CMAF,
        name_millis: 0,
        part: 0,
    };
    let init = |generation| Item::Init { lane: CMAF, generation };
    let immutable = Cache::Immutable { max_age_seconds: 60 };
    let soon = Cache::MaxAge { seconds: 1 };
    for (item, epoch, expected) in [
        (part, Some("abcdef"), immutable),
        (part, Some("abcde"), soon),
        (part, None, soon),
        (init(Some(0)), Some("abcdef"), immutable),
        (init(Some(0)), None, soon),
        (init(None), Some("abcdef"), soon),
    ] {
        assert_eq!(
            cache_of(&edition, &fetch(item, epoch, NOW)),
            expected,
            "{item:?} {epoch:?}"
        );
    }
}

#[test]
fn texts_are_kept_for_their_life_and_answered_reloads_for_six_targets() {
    let Item::Text(key) = MEDIA else { unreachable!() };
    let live = text(key, Some(edge()));
    let with_life = |life_millis| Text {
        life_millis,
        ..Text::clone(&live)
    };
    let edition = edition(1, Vec::new(), Vec::new());
    let waited = reload(Some(10), Some(1));
    for (life_millis, reload, seconds) in [
        (Some(0), NOW, 1),
        (Some(1_999), NOW, 1),
        (Some(2_000), NOW, 2),
        (Some(333), waited, 12),
        (None, NOW, 60),
        (None, waited, 60),
    ] {
        let cache = text_cache(&edition, &fetch(MEDIA, None, reload), &with_life(life_millis));
        assert_eq!(cache, Cache::MaxAge { seconds }, "{life_millis:?}");
    }
}
