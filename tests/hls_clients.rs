//! What HLS players do in the field, and what they need for it: the rows marked T of reference/client-habits.md 4.7.
//!
//! A publisher that pauses stands for the time in which nothing new comes: what is answered then is answered at once, and what
//! is not, waits.

mod support;

use std::time::{Duration, Instant};

use penstock_proto::hls::check::{self, Media};
use serde_json::json;

use support::clips;
use support::fetch::{Client, resolve, text_of, with_query};
use support::flv::Tag;
use support::follow::{is_of_the_test, playlists};
use support::rtmp::Publisher;
use support::segmented::config;
use support::server::Server;
use support::wire::{PATIENCE, Wire};

/// Media before the pause: a segment of 2 s, and three parts of eight pictures of the next.
const PAUSE_MILLIS: u32 = 3_000;
const PARTS_AT_PAUSE: usize = 3;
/// So long without an answer is a question that waits.
const WAITS: Duration = Duration::from_millis(700);
const PACE: u32 = 8;

/// A stream whose publisher rests, and the path of its picture's playlist.
struct Resting {
    server: Server,
    publisher: Publisher,
    rest: Vec<Tag>,
    client: Client,
    path: String,
    text: String,
    list: Media,
}

impl Resting {
    fn new(master: &str) -> Resting {
        let server = Server::start(&config(json!({})));
        let mut publisher = Publisher::start(server.rtmp, "live", PACE);
        let tags = clips::NO_B_FRAMES.part(u32::MAX);
        let (before, rest) = tags.split_at(tags.partition_point(|tag| tag.time < PAUSE_MILLIS));
        publisher.send(before);
        let mut client = Client::new(server.http);
        let path = playlists(&mut client, master).swap_remove(0);
        let mut resting = Resting {
            server,
            publisher,
            rest: rest.to_vec(),
            client,
            path,
            text: String::new(),
            list: Media::default(),
        };
        // The last frames sent may still be on their way: each try is an answer.
        let deadline = Instant::now() + PATIENCE;
        while !resting.is_settled() {
            assert!(Instant::now() < deadline, "{}", resting.text);
            resting.text = resting.client.text_when_there(&resting.path, PATIENCE);
            let (list, mut problems) = check::read_media(&resting.text);
            problems.retain(|problem| !is_of_the_test(&problem.what));
            assert!(problems.is_empty(), "{problems:?}\n{}", resting.text);
            resting.list = list;
        }
        resting
    }

    fn is_settled(&self) -> bool {
        let parts = self.list.growing.as_ref().map_or(0, |growing| growing.parts.len());
        self.list.segments.len() == 1 && (self.list.part_target.is_none() || parts == PARTS_AT_PAUSE)
    }

    /// The publisher goes on to the end of its clip and rests again, connected.
    fn go_on(&mut self) {
        self.publisher.restart_clock();
        self.publisher.send(&std::mem::take(&mut self.rest));
    }

    /// A question on a connection of its own that is not answered while nothing new comes.
    fn assert_waits(&self, target: &str) -> Wire {
        let mut wire = Wire::connect(self.server.http);
        wire.set_patience(WAITS);
        wire.request("GET", target, &[]);
        let early = wire.try_answer("GET");
        assert!(
            early.is_err(),
            "{target} is answered too early:\n{}",
            early.expect("is one").head
        );
        wire.set_patience(PATIENCE);
        wire
    }

    fn playlist(&self, directives: &str) -> String {
        with_query(&self.path, directives)
    }
}

const MASTER: &str = "/cmaf/live/index.m3u8";

/// All players; the first request says nothing of what it has, and never waits for something new.
#[test]
fn a_first_request_is_answered_at_once() {
    let mut resting = Resting::new(MASTER);
    for path in [
        MASTER.to_string(),
        resting.path.clone(),
        resting.playlist("_HLS_skip=YES"),
    ] {
        let asked = Instant::now();
        resting.client.body(&path);
        assert!(asked.elapsed() < WAITS, "{path} took {:?}", asked.elapsed());
    }
}

/// ExoPlayer trips when a playlist that was to wait comes without what it was to wait for. So with the part itself.
#[test]
fn nothing_is_answered_before_it_is_there() {
    let mut resting = Resting::new(MASTER);
    let growing = resting.list.growing.clone().expect("it has parts");
    let (number, next) = (growing.number, growing.parts.len());
    let hint = resting.list.hints[0].uri.clone();
    let target = resting.playlist(&format!("_HLS_msn={number}&_HLS_part={next}"));
    let mut list = resting.assert_waits(&target);
    let mut whole = resting.assert_waits(&resting.playlist(&format!("_HLS_msn={number}")));
    let mut part = resting.assert_waits(&resolve(&resting.path, &hint));
    resting.go_on();
    let answer = list.answer("GET");
    assert_eq!(answer.status, 200, "{}", answer.head);
    let text = text_of(&answer);
    assert!(
        text.contains(&format!(",URI=\"{hint}\"")),
        "{hint} is to be listed\n{text}"
    );
    let part = part.answer("GET");
    assert_eq!(part.status, 200, "{}", part.head);
    assert!(!part.body.is_empty());
    let answer = whole.answer("GET");
    assert_eq!(answer.status, 200, "{}", answer.head);
    let (list, _) = check::read_media(&text_of(&answer));
    assert!(
        list.segments.iter().any(|segment| segment.number == number),
        "{}",
        text_of(&answer)
    );
}

/// iOS 16.1.1 leaves the last character of a hinted URI out.
#[test]
fn a_hint_without_its_last_character() {
    let mut resting = Resting::new(MASTER);
    let hint = resolve(&resting.path, &resting.list.hints[0].uri);
    let mut cut = resting.assert_waits(&hint[..hint.len() - 1]);
    resting.go_on();
    let whole = resting.client.body(&hint);
    let answer = cut.answer("GET");
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert_eq!(answer.body, whole, "{hint} and the same without its last character");
}

/// hls.js asks for part 0 of a segment that is to come, with low latency and without: it waits, and is answered when that is
/// there.
#[test]
fn part_zero_of_a_future_segment() {
    for master in [MASTER, "/cmaf/live/index.m3u8?llhls=0", "/hls/live/index.m3u8"] {
        let mut resting = Resting::new(master);
        let number = resting.list.segments[0].number + 2;
        let mut waiting = resting.assert_waits(&resting.playlist(&format!("_HLS_msn={number}&_HLS_part=0")));
        resting.go_on();
        // Without parts, the last segment of the clip is whole when the stream has ended.
        resting.publisher.end();
        let answer = waiting.answer("GET");
        assert_eq!(answer.status, 200, "{master}: {}", answer.head);
        let (list, mut problems) = check::read_media(&text_of(&answer));
        problems.retain(|problem| !is_of_the_test(&problem.what));
        assert!(problems.is_empty(), "{problems:?}\n{}", text_of(&answer));
        let newest = list.newest().expect("something is listed").0;
        assert!(
            newest >= number,
            "{master}: {newest}, and {number} was asked for\n{}",
            text_of(&answer)
        );
    }
}

/// What cannot be waited for is said at once: too far ahead 400, half a directive 400, a part that will not be 404.
#[test]
fn what_will_not_come_is_refused_at_once() {
    let mut resting = Resting::new(MASTER);
    let number = resting.list.segments[0].number;
    let last = resting.list.segments[0].parts.len();
    let uri = &resting.list.segments[0].parts[0].uri;
    let beyond = uri.replacen(".0.m4s", &format!(".{last}.m4s"), 1);
    let cases = [
        (resting.playlist(&format!("_HLS_msn={}", number + 4)), 400),
        (
            resting.playlist(&format!("_HLS_msn={}&_HLS_part=1000", number + 1)),
            400,
        ),
        (resting.playlist("_HLS_msn=99999999999999999999"), 400),
        (resting.playlist("_HLS_part=1"), 400),
        (resting.playlist("_HLS_msn=x"), 400),
        (resolve(&resting.path, &beyond), 404),
        (resolve(&resting.path, "chunk_1.0.m4s"), 404),
        (resolve(&resting.path, "chunk_1.m4s"), 404),
    ];
    for (target, status) in cases {
        let asked = Instant::now();
        let answer = resting.client.get(&target);
        assert_eq!(answer.status, status, "{target}\n{}\n{}", answer.head, text_of(&answer));
        assert!(asked.elapsed() < WAITS, "{target} took {:?}", asked.elapsed());
    }
}

/// Who waits for what does not come in three target durations is told to come again.
#[test]
fn a_wait_has_an_end() {
    let resting = Resting::new(MASTER);
    let number = resting.list.segments[0].number + 1;
    let limit = Duration::from_secs(3 * resting.list.target_seconds);
    let asked = Instant::now();
    let mut waiting = resting.assert_waits(&resting.playlist(&format!("_HLS_msn={number}")));
    waiting.set_patience(limit + PATIENCE);
    let answer = waiting.answer("GET");
    assert_eq!(answer.status, 503, "{}", answer.head);
    let took = asked.elapsed();
    assert!(took >= limit && took < limit + Duration::from_secs(3), "{took:?}");
}

/// Shaka reads parts as ranges of their segment, LL-DASH players a segment while it is made: in one answer, a chunk as each
/// part is there.
#[test]
fn a_segment_while_it_is_made() {
    let mut resting = Resting::new("/cmaf/live/index.m3u8?llhls=range");
    let hint = resting.list.hints[0].clone();
    let start = hint.start.expect("a hint at a range says where it begins");
    let target = resolve(&resting.path, &hint.uri);
    for segment in resting
        .list
        .segments
        .clone()
        .iter()
        .chain(&resting.list.growing.clone())
    {
        for part in &segment.parts {
            let (bytes, from) = part.range.expect("a part is a range");
            let range = format!("bytes={from}-{}", from + bytes - 1);
            let answer = resting
                .client
                .get_with(&resolve(&resting.path, &part.uri), &[("Range", &range)]);
            assert_eq!(
                (answer.status, answer.body.len() as u64),
                (206, bytes),
                "{range}\n{}",
                answer.head
            );
        }
    }
    let range = format!("bytes={start}-");
    let read = |headers: &[(&str, &str)]| {
        let mut wire = Wire::connect(resting.server.http);
        wire.request("GET", &target, headers);
        std::thread::spawn(move || wire.answer("GET"))
    };
    let (from_here, whole) = (read(&[("Range", &range)]), read(&[]));
    resting.go_on();
    let [from_here, whole] = [from_here, whole].map(|reader| reader.join().expect("it is answered"));
    assert_eq!(from_here.status, 206, "{}", from_here.head);
    assert_eq!(whole.status, 200, "{}", whole.head);
    // A segment of 2 s has six parts of 320 ms and a shorter one, of which three were there.
    for (answer, chunks) in [(&from_here, 4), (&whole, 5)] {
        assert!(answer.chunks.len() >= chunks, "{:?}\n{}", answer.chunks, answer.head);
        let took = answer.chunks[answer.chunks.len() - 1].0 - answer.chunks[0].0;
        assert!(took > Duration::from_millis(50), "all chunks at once: {took:?}");
    }
    assert!(
        whole.body[start as usize..] == from_here.body,
        "the range is not the end of the whole"
    );
    assert!(
        resting.client.body(&target) == whole.body,
        "the whole segment afterwards"
    );
}

/// A delta update says what the whole playlist says, and a rendition report what its playlist does.
#[test]
fn deltas_and_reports() {
    let server = Server::start(&config(json!({"segmentsize": 1_000})));
    let mut publisher = Publisher::start(server.rtmp, "live", PACE);
    // Half-second GOPs, and segments of three.
    let tags = clips::SHORT_GOPS.part(u32::MAX);
    let (before, rest) = tags.split_at(tags.partition_point(|tag| tag.time < 10_000));
    publisher.send(before);
    let mut client = Client::new(server.http);
    let paths = playlists(&mut client, MASTER);
    assert_eq!(paths.len(), 2, "{paths:?}");
    // Each is reported once it is made, which is when somebody asks.
    for path in &paths {
        client.text_when_there(path, PATIENCE);
    }
    publisher.restart_clock();
    publisher.send(rest);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let texts: Vec<String> = paths
            .iter()
            .map(|path| client.text_when_there(path, PATIENCE))
            .collect();
        let deltas: Vec<String> = paths
            .iter()
            .map(|path| client.text(&with_query(path, "_HLS_skip=YES")))
            .collect();
        let after: Vec<String> = paths.iter().map(|path| client.text(path)).collect();
        // The last frames sent may have come between.
        if texts != after {
            assert!(Instant::now() < deadline, "a publisher that rests goes on");
            continue;
        }
        for (text, delta) in texts.iter().zip(&deltas) {
            assert!(text.contains("#EXT-X-RENDITION-REPORT"), "{text}");
            // 12 s, of which six target durations are never skipped.
            let mut problems = check::check_delta(text, delta, text);
            problems.retain(|problem| !is_of_the_test(&problem.what));
            assert!(problems.is_empty(), "{problems:?}\n{delta}\n{text}");
        }
        let report = |path: &str| {
            path.strip_prefix("/cmaf/live/")
                .map(|rest| format!("../{rest}"))
                .expect("ours")
        };
        let uris: Vec<String> = paths.iter().map(|path| report(path)).collect();
        for (at, text) in texts.iter().enumerate() {
            let other = 1 - at;
            let problems = check::check_reports(text, &[(&uris[other], &texts[other])]);
            assert!(problems.is_empty(), "{problems:?}\n{text}");
        }
        return;
    }
}

/// VLC and ffplay know no parts, and choke on other line ends and on URIs that change between reloads.
#[test]
fn old_players_find_what_they_know() {
    for master in [MASTER, "/hls/live/index.m3u8"] {
        let mut resting = Resting::new(master);
        let uris = |list: &Media| -> Vec<(u64, String)> {
            list.segments
                .iter()
                .map(|segment| (segment.number, segment.uri.clone()))
                .collect()
        };
        let before = uris(&resting.list);
        let number = before.last().expect("a segment is there").0;
        resting.go_on();
        let after = resting
            .client
            .text(&resting.playlist(&format!("_HLS_msn={}", number + 1)));
        let (list, mut problems) = check::read_media(&after);
        problems.retain(|problem| !is_of_the_test(&problem.what));
        assert!(problems.is_empty(), "{problems:?}\n{after}");
        assert!(uris(&list).starts_with(&before), "{before:?} became {:?}", uris(&list));
        assert!(list.segments.len() > before.len(), "{after}");
        for text in [&resting.client.text(master), &resting.text, &after] {
            assert!(!text.contains('\r'), "{text:?}");
            assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{text:?}");
        }
    }
}
