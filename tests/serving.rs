//! How segments, parts and playlists are served: what caches and players are told, ranges, what grows while it is fetched, and
//! what becomes of URLs that mean nothing.

mod support;

use std::io::Read;
use std::time::Duration;

use flate2::read::GzDecoder;

use support::fetch::{resolve, text_of, with_query};
use support::resting::{LIST, Resting};
use support::wire::Wire;

/// A question that is not answered within is one that waits.
const WAITS: Duration = Duration::from_millis(150);

/// The line of a head, without its name.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let line = head.lines().find(|line| {
        line.split(':')
            .next()
            .is_some_and(|found| found.eq_ignore_ascii_case(name))
    })?;
    Some(line[name.len() + 1..].trim())
}

#[test]
fn what_has_the_epoch_in_its_url_never_changes_and_what_has_not_may() {
    let mut resting = Resting::new();
    let segment = resting.segment();
    let plain = segment.split('?').next().expect("it has a query").to_string();
    let (status, head, whole) = resting.get(&segment, &[]);
    assert_eq!(status, 200);
    let cache = field(&head, "cache-control").expect("it is said");
    assert!(cache.contains("immutable") && cache.contains("max-age="), "{head}");
    assert_eq!(field(&head, "access-control-allow-origin"), Some("*"));
    assert!(field(&head, "date").is_some(), "{head}");
    assert_eq!(field(&head, "content-type"), Some("video/mp4"));
    let etag = field(&head, "etag").expect("it has one").to_string();

    let (status, head, bytes) = resting.get(&plain, &[]);
    assert!(status == 200 && bytes == whole);
    assert_eq!(field(&head, "cache-control"), Some("max-age=1"));

    let (status, head, _) = resting.get(&format!("{plain}?e=aaaaaa"), &[]);
    assert_eq!(status, 404, "another timeline's: {head}");

    let (status, head, bytes) = resting.get(&segment, &[("If-None-Match", &etag)]);
    assert_eq!((status, bytes.len()), (304, 0), "{head}");

    // The parts are the segment, and have each their own tag.
    let parts: Vec<String> = resting.list.segments[0]
        .parts
        .iter()
        .map(|part| resolve(LIST, &part.uri))
        .collect();
    assert!(parts.len() > 3);
    let mut together = Vec::new();
    let mut tags = vec![etag];
    for part in parts {
        let (status, head, bytes) = resting.get(&part, &[]);
        assert_eq!(status, 200, "{part}");
        together.extend_from_slice(&bytes);
        tags.push(field(&head, "etag").expect("it has one").to_string());
    }
    assert!(together == whole);
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), resting.list.segments[0].parts.len() + 1);
}

#[test]
fn ranges_are_slices_of_the_whole() {
    let mut resting = Resting::new();
    let segment = resting.segment();
    let whole = resting.client.body(&segment);
    let length = whole.len();
    for (range, expected) in [
        ("bytes=0-99".to_string(), Some(0..100)),
        ("bytes=100-".to_string(), Some(100..length)),
        ("bytes=-50".to_string(), Some(length - 50..length)),
        (
            format!("bytes={}-{}", length - 1, length + 1_000_000),
            Some(length - 1..length),
        ),
        ("bytes=1-1".to_string(), Some(1..2)),
        (format!("bytes={length}-"), None),
        ("bytes=99999999999999999999-".to_string(), None),
    ] {
        let (status, head, bytes) = resting.get(&segment, &[("Range", &range)]);
        match expected {
            Some(expected) => {
                assert_eq!(status, 206, "{range}: {head}");
                let said = format!("bytes {}-{}/{length}", expected.start, expected.end - 1);
                assert_eq!(field(&head, "content-range"), Some(&said[..]), "{range}");
                assert!(bytes == whole[expected], "{range}");
            }
            None => {
                assert_eq!(status, 416, "{range}: {head}");
                assert_eq!(field(&head, "content-range"), Some(&format!("bytes */{length}")[..]));
            }
        }
    }
    for ignored in ["bytes=0-1,3-4", "bytes=9-1", "lines=0-1", "bytes=x-"] {
        let (status, _, bytes) = resting.get(&segment, &[("Range", ignored)]);
        assert!((status, &bytes) == (200, &whole), "{ignored}");
    }
    let mut wire = Wire::connect(resting.server.http);
    wire.request("HEAD", &segment, &[]);
    let answer = wire.try_answer("HEAD").expect("it is answered");
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-length"), Some(&length.to_string()[..]));
}

#[test]
fn playlists_come_in_gzip_to_those_who_take_it() {
    let mut resting = Resting::new();
    for target in [
        LIST,
        "/cmaf/live/index.m3u8",
        "/hls/live/index.m3u8",
        "/cmaf/live/index.mpd",
    ] {
        let plain = resting.client.get(target);
        let packed = resting
            .client
            .get_with(target, &[("Accept-Encoding", "br, gzip;q=0.5")]);
        assert_eq!((plain.status, packed.status), (200, 200));
        assert_eq!(packed.header("content-encoding"), Some("gzip"), "{target}");
        assert_eq!(plain.header("content-encoding"), None);
        for answer in [&plain, &packed] {
            assert!(
                answer
                    .header("vary")
                    .is_some_and(|vary| vary.contains("Accept-Encoding"))
            );
            assert!(
                answer
                    .header("cache-control")
                    .is_some_and(|cache| cache.contains("max-age="))
            );
        }
        let mut text = String::new();
        GzDecoder::new(&packed.body[..])
            .read_to_string(&mut text)
            .expect("it is gzip");
        // A manifest may have been made anew between the two.
        assert_eq!(text.lines().next(), text_of(&plain).lines().next(), "{target}");
        assert_ne!(plain.header("etag"), packed.header("etag"));
        let tag = packed.header("etag").expect("it has one").to_string();
        let again = resting
            .client
            .get_with(target, &[("Accept-Encoding", "gzip"), ("If-None-Match", &tag)]);
        assert_eq!(again.status, 304, "{target}");
    }
}

/// One URL serves low-latency HLS by byte ranges and low-latency DASH: the segment that is being made.
#[test]
fn a_growing_segment_is_sent_as_it_is_made() {
    let mut resting = Resting::new();
    let segment = resting.growing();
    let growing = resting.list.growing.clone().expect("there is one");
    let head: Vec<u8> = growing
        .parts
        .iter()
        .flat_map(|part| resting.client.body(&resolve(LIST, &part.uri)))
        .collect();
    // From its begin, from where its parts end, and from the middle of what is there.
    let half = head.len() / 2;
    let ranges = [None, Some(head.len()), Some(half)];
    let mut wires: Vec<Wire> = ranges
        .iter()
        .map(|from| {
            let mut wire = Wire::connect(resting.server.http);
            let range = from.map(|from| format!("bytes={from}-"));
            let headers: Vec<(&str, &str)> = range.iter().map(|range| ("Range", &range[..])).collect();
            wire.request("GET", &segment, &headers);
            wire
        })
        .collect();
    // What is there already is a plain range.
    let (status, said, bytes) = resting.get(&segment, &[("Range", &format!("bytes=0-{}", half - 1))]);
    assert_eq!(status, 206, "{said}");
    assert!(bytes == head[..half]);
    resting.go_on();
    let answers: Vec<_> = wires
        .iter_mut()
        .map(|wire| wire.try_answer("GET").expect("it ends with its segment"))
        .collect();
    let whole = resting.client.body(&segment);
    assert!(whole.len() > head.len() && whole.starts_with(&head));
    for (from, answer) in ranges.iter().zip(&answers) {
        assert_eq!(answer.status, if from.is_some() { 206 } else { 200 }, "{}", answer.head);
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        if let Some(from) = from {
            let said = format!("bytes {from}-9007199254740991/*");
            assert_eq!(answer.header("content-range"), Some(&said[..]));
        }
        assert!(answer.body == whole[from.unwrap_or(0)..], "from {from:?}");
    }
}

/// Questions on one connection are answered in their order, whatever they wait for.
#[test]
fn pipelined_questions_are_answered_in_order() {
    let mut resting = Resting::new();
    let (segment, next) = (resting.segment(), with_query(LIST, "_HLS_msn=2"));
    let mut wire = Wire::connect(resting.server.http);
    for target in [&segment[..], &next[..], LIST, "/cmaf/time.txt", &segment[..]] {
        wire.request("GET", target, &[]);
    }
    let whole = resting.client.body(&segment);
    resting.go_on();
    let answers: Vec<_> = (0..5)
        .map(|_| wire.try_answer("GET").expect("each is answered"))
        .collect();
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert!(answers[0].body == whole && answers[4].body == whole);
    assert!(text_of(&answers[1]).contains("#EXT-X-MEDIA-SEQUENCE"));
    assert!(text_of(&answers[3]).ends_with('Z'), "{}", text_of(&answers[3]));
}

/// Numbers that nothing has, dots, halves of URLs and noise: each is answered with a reason, or waits for what may still come.
#[test]
fn urls_that_mean_nothing_are_refused_and_harm_nobody() {
    let mut resting = Resting::new();
    let part = resolve(LIST, &resting.list.segments[0].parts[0].uri);
    let seeds = [
        LIST.to_string(),
        with_query(LIST, "_HLS_msn=2&_HLS_part=1&_HLS_skip=YES"),
        resting.segment(),
        part,
        "/hls/live/1_2/index.m3u8".to_string(),
        "/hls/live/1_2/0_2000.ts?e=abcdef".to_string(),
        "/cmaf/live/index.mpd?naming=number".to_string(),
        "/cmaf/live/1/chunk_n1.m4s".to_string(),
        "/cmaf/live/1/init.m4s?e=abcdef&g=0".to_string(),
        "/cmaf/live/Q(800001)/chunk_0.m4s".to_string(),
        "/dynamic/live/1_2-Seg1-Frag1".to_string(),
        "/dynamic/live/manifest.f4m".to_string(),
    ];
    for (target, status) in [
        ("/cmaf/live/../../etc/passwd", 400),
        ("/cmaf/%2e%2e/%2e%2e/etc/passwd", 400),
        ("/hls/live/1_2/../../../x.ts", 400),
        ("/cmaf/live/1/index.m3u8?_HLS_msn=99999", 400),
        ("/cmaf/live/1/index.m3u8?_HLS_msn=18446744073709551615", 400),
        ("/cmaf/live/1/index.m3u8?_HLS_msn=-1", 400),
        ("/cmaf/live/1/index.m3u8?_HLS_part=1", 400),
        ("/cmaf/live/1/index.m3u8?_HLS_msn=2&_HLS_part=4294967296", 400),
        ("/cmaf/live/99/index.m3u8", 404),
        ("/cmaf/nobody/index.m3u8", 404),
        ("/cmaf/live/1/chunk_999999999.m4s", 404),
        ("/cmaf/live/1/chunk_-1.m4s", 404),
    ] {
        let answer = resting.client.get(target);
        assert_eq!(answer.status, status, "{target}: {}", text_of(&answer));
        assert!(!answer.body.is_empty(), "{target}: a reason is given");
    }
    let mut noise = Noise(0x5eed);
    let mut wire = Wire::connect(resting.server.http);
    wire.set_patience(WAITS);
    let (mut answered, mut waiting) = (0, 0);
    for _ in 0..10_000 {
        let seed = noise.below(seeds.len());
        let target = noise.mutate(&seeds[seed]);
        wire.request("GET", &target, &[]);
        match wire.try_answer("GET") {
            Ok(answer) => {
                answered += 1;
                assert!(
                    matches!(answer.status, 200 | 206 | 400 | 404 | 503),
                    "{target}: {}",
                    answer.head
                );
                if answer
                    .header("connection")
                    .is_some_and(|says| says.eq_ignore_ascii_case("close"))
                {
                    wire = Wire::connect(resting.server.http);
                    wire.set_patience(WAITS);
                }
            }
            Err(_) => {
                waiting += 1;
                assert!(waiting < 200, "{target} is not answered, as many before it");
                wire = Wire::connect(resting.server.http);
                wire.set_patience(WAITS);
            }
        }
    }
    assert!(answered > 9_800, "{answered}");
    // Everybody else is served as before.
    let segment = resting.segment();
    resting.client.body(&segment);
    resting.go_on();
    resting.client.text(&with_query(LIST, "_HLS_msn=2"));
}

/// A reproducible source of nonsense (xorshift64*).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// One to four characters are others, are gone, or are there twice; what could not stand in a request line is left out.
    fn mutate(&mut self, seed: &str) -> String {
        let mut bytes = seed.as_bytes().to_vec();
        for _ in 0..=self.below(4) {
            let at = 1 + self.below(bytes.len() - 1);
            match self.below(4) {
                0 => bytes[at] = b'!' + self.below(94) as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, bytes[at]),
                _ => bytes[at] = b'0' + self.below(10) as u8,
            }
            if bytes.len() < 2 {
                break;
            }
        }
        let mut target: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        target.retain(|character| character != '#');
        if !target.starts_with('/') {
            target.insert(0, '/');
        }
        target
    }
}
