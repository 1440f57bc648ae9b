//! Requests for what is next, or no longer there: who waits, until when, and what becomes of waits when a client goes, the
//! stream ends or the server does.

mod support;

use std::time::{Duration, Instant};

use penstock_proto::hls::check;
use serde_json::json;

use support::clips;
use support::fetch::{Client, resolve, text_of, with_query};
use support::follow::is_of_the_test;
use support::resting::{LIST, Resting};
use support::rtmp::Publisher;
use support::segmented::config;
use support::server::Server;
use support::wire::{Answer, PATIENCE, Wire};

/// Three target durations (RFC 8216bis 6.2.5.2), of segments of 2 s.
const LONGEST_WAIT: Duration = Duration::from_secs(6);
/// What has no reason to wait is answered within, on a loaded machine.
const AT_ONCE: Duration = Duration::from_secs(2);
/// One of the segment that grows while a publisher rests, and the first of the next.
const NEXT: [&str; 2] = ["_HLS_msn=2", "_HLS_msn=3&_HLS_part=0"];

/// Asks on a connection of its own.
fn ask(server: &Server, target: &str) -> Wire {
    let mut wire = Wire::connect(server.http);
    wire.set_patience(PATIENCE * 2);
    wire.request("GET", target, &[]);
    wire
}

fn answer(wire: &mut Wire) -> Answer {
    wire.answer("GET")
}

/// Until so many requests have been put aside to wait.
fn wait_waited(server: &Server, waited: u64) {
    server.wait_counters("all wait", PATIENCE, |counters| counters["fetches_waited"] >= waited);
}

fn waited(server: &Server) -> u64 {
    server.counters()["fetches_waited"]
}

/// iOS 16.1.1 asks for what a playlist hints at without the last character of its URL (client-habits 4.7).
#[test]
fn a_hinted_url_is_served_when_its_last_character_is_missing() {
    let mut resting = Resting::new();
    let cut = |url: &str, characters: usize| url[..url.len() - characters].to_string();
    let part = resolve(LIST, &resting.list.segments[0].parts[0].uri);
    let whole = resting.client.body(&part);
    let (status, head, bytes) = resting.get(&cut(&part, 1), &[]);
    assert!(status == 200 && bytes == whole, "{head}");
    assert!(
        head.contains("Cache-Control: max-age=1\r\n"),
        "no epoch, no promise: {head}"
    );
    assert_eq!(resting.get(&cut(&part, 2), &[]).0, 404, "it is no other epoch");
    // The ranges of parts are hinted at by their segment.
    assert_eq!(resting.get(&cut(&resting.segment(), 1), &[]).0, 200);
    let before = waited(&resting.server);
    let hint = resting.hint();
    let mut wires = [ask(&resting.server, &hint), ask(&resting.server, &cut(&hint, 1))];
    wait_waited(&resting.server, before + 2);
    resting.go_on();
    let [whole, short] = &mut wires;
    let (whole, short) = (answer(whole), answer(short));
    assert_eq!((whole.status, short.status), (200, 200));
    assert!(!whole.body.is_empty() && whole.body == short.body);
}

/// What is next comes with one event for all, on both shards, and its text is made once.
#[test]
fn all_who_wait_for_one_thing_get_the_same() {
    const WAITERS: usize = 150;
    let mut resting = Resting::new();
    let server = &resting.server;
    let before = server.counters();
    let mut wires: Vec<Wire> = (0..WAITERS).map(|_| ask(server, &with_query(LIST, NEXT[1]))).collect();
    wait_waited(server, before["fetches_waited"] + WAITERS as u64);
    resting.go_on();
    let answers: Vec<Answer> = wires.iter_mut().map(answer).collect();
    let first = text_of(&answers[0]);
    let (list, mut problems) = check::read_media(&first);
    problems.retain(|problem| !is_of_the_test(&problem.what));
    assert!(problems.is_empty() && list.growing.is_some(), "{problems:?}\n{first}");
    for answer in &answers {
        assert_eq!(answer.status, 200);
        assert!(answer.body == answers[0].body, "{}\n{first}", text_of(answer));
        assert_eq!(
            answer.header("cache-control"),
            Some("max-age=12"),
            "what was waited for is what its URL means: six target durations"
        );
    }
    let made = resting.server.counters()["texts_made"] - before["texts_made"];
    assert!(
        (1..WAITERS as u64 / 2).contains(&made),
        "{made} texts for {WAITERS} who wait"
    );
}

/// Who waits in vain is told so after three target durations, and can ask on.
#[test]
fn waits_end() {
    let resting = Resting::new();
    let server = &resting.server;
    let before = server.counters();
    let growing = resting.growing();
    let name = growing.rsplit_once('/').expect("it is in a folder").1;
    let smooth = format!("/cmaf/live/Q(800001)/{name}");
    let targets = [
        with_query(LIST, NEXT[0]),
        with_query(LIST, NEXT[1]),
        resting.hint(),
        smooth,
    ];
    let mut wires: Vec<Wire> = targets.iter().map(|target| ask(server, target)).collect();
    for range in ["bytes=900000000-900000001", "bytes=900000000-"] {
        let mut ahead = Wire::connect(server.http);
        ahead.request("GET", &growing, &[("Range", range)]);
        wires.push(ahead);
    }
    let mut old = Wire::connect(server.http);
    old.send(format!("GET {growing} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").as_bytes());
    wires.push(old);
    let asked = Instant::now();
    let count = wires.len() as u64;
    for wire in &mut wires {
        wire.set_patience(PATIENCE * 2);
        let answer = answer(wire);
        assert_eq!(answer.status, 503, "{}", answer.head);
        let after = answer.header("retry-after").expect("when to come again");
        assert!(after.parse::<u32>().is_ok_and(|seconds| seconds >= 1), "{after}");
        // The last of them was asked for within the first second.
        assert!(
            asked.elapsed() + Duration::from_secs(1) >= LONGEST_WAIT,
            "{:?}",
            asked.elapsed()
        );
    }
    assert!(asked.elapsed() < LONGEST_WAIT + PATIENCE / 2, "{:?}", asked.elapsed());
    let after = server.counters();
    assert_eq!(after["fetches_timed_out"] - before["fetches_timed_out"], count);
    assert_eq!(after["connections_panicked"], 0);
    for wire in &mut wires {
        wire.request("GET", "/cmaf/time.txt", &[]);
        assert_eq!(answer(wire).status, 200, "the connection goes on");
    }
}

/// Places of those who went are free, and nobody else notices. One that has closed looks like one that asks no more and waits
/// for its answer (`nc -N`): it is noticed when that is sent.
#[test]
fn who_goes_away_waits_no_longer() {
    const GOING: usize = 60;
    let mut resting = Resting::new();
    let server = &resting.server;
    let before = server.counters();
    let target = with_query(LIST, NEXT[1]);
    let mut stays = ask(server, &target);
    let reset: Vec<Wire> = (0..GOING).map(|_| ask(server, &target)).collect();
    let closed: Vec<Wire> = (0..GOING).map(|_| ask(server, &target)).collect();
    let mut half_closed = ask(server, &target);
    half_closed.half_close();
    wait_waited(server, before["fetches_waited"] + 2 * GOING as u64 + 2);
    for wire in reset {
        let stream = wire.into_stream();
        let linger = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        linger.expect("a TCP socket");
    }
    drop(closed);
    let open = before["connections_open"];
    server.wait_counters("those who reset are gone", LONGEST_WAIT / 2, |counters| {
        counters["connections_open"] <= open + GOING as u64 + 2
    });
    let requests = server.counters()["playlist_requests"];
    resting.go_on();
    for wire in [&mut stays, &mut half_closed] {
        assert_eq!(answer(wire).status, 200);
    }
    assert!(half_closed.closes_within(AT_ONCE), "nothing more can be asked there");
    stays.request("GET", LIST, &[]);
    assert_eq!(answer(&mut stays).status, 200);
    assert_eq!(resting.server.counters()["playlist_requests"], requests + 1);
    resting
        .server
        .wait_counters("all who went are gone", PATIENCE, |counters| {
            counters["connections_open"] <= open + 1
        });
}

/// A player that knows no chunks is given a segment when its length is known; one that asks for a Smooth fragment, when
/// those are there that it tells of.
#[test]
fn segments_that_cannot_be_sent_as_they_grow_are_sent_when_they_are_whole() {
    // A Smooth fragment tells of the next one, which is to be complete.
    let tags = clips::NUMBERED.part(12_000);
    let mut resting = Resting::on(Server::start(&config(json!({}))), &tags);
    let growing = resting.growing();
    let name = growing.rsplit_once('/').expect("it is in a folder").1;
    let smooth = format!("/cmaf/live/Q(800001)/{name}");
    let before = waited(&resting.server);
    let mut old = Wire::connect(resting.server.http);
    old.set_patience(PATIENCE * 2);
    old.send(format!("GET {growing} HTTP/1.0\r\n\r\n").as_bytes());
    let mut fragment = ask(&resting.server, &smooth);
    let mut inside = Wire::connect(resting.server.http);
    inside.set_patience(PATIENCE * 2);
    inside.request("GET", &growing, &[("Range", "bytes=10-1000000000")]);
    wait_waited(&resting.server, before + 3);
    resting.go_on();
    let old_answer = answer(&mut old);
    let whole = resting.client.body(&growing);
    assert!(
        old_answer.status == 200 && old_answer.body == whole,
        "{}",
        old_answer.head
    );
    assert_eq!(old_answer.header("content-length"), Some(&whole.len().to_string()[..]));
    assert!(old.closes_within(AT_ONCE));
    let inside = answer(&mut inside);
    assert!(inside.status == 206 && inside.body == whole[10..], "{}", inside.head);
    let fragment = answer(&mut fragment);
    assert_eq!(fragment.status, 200, "{}", text_of(&fragment));
    assert!(fragment.body == resting.client.body(&smooth), "it is the same again");
}

/// A stream has been promised and begins: its first playlist is waited for. One that nobody publishes is not there.
#[test]
fn a_stream_that_begins_is_waited_for() {
    let server = Server::start(&config(json!({})));
    let asked = Instant::now();
    let mut client = Client::new(server.http);
    for target in [LIST, "/hls/live/index.m3u8", "/cmaf/live/1/chunk_0.m4s"] {
        let answer = client.get(target);
        assert_eq!(answer.status, 404);
        assert!(
            text_of(&answer).contains("nobody publishes live"),
            "{}",
            text_of(&answer)
        );
    }
    assert!(asked.elapsed() < AT_ONCE * 3, "{:?}", asked.elapsed());
    let mut publisher = Publisher::start(server.rtmp, "live", 8);
    let before = waited(&server);
    let targets = [
        LIST,
        "/cmaf/live/index.m3u8",
        "/hls/live/index.m3u8",
        "/cmaf/live/index.mpd",
    ];
    let mut wires = targets.map(|target| ask(&server, target));
    wait_waited(&server, before + wires.len() as u64);
    publisher.send(&clips::NO_B_FRAMES.part(u32::MAX));
    for (target, wire) in targets.iter().zip(&mut wires) {
        let answer = answer(wire);
        assert_eq!(answer.status, 200, "{target}: {}", text_of(&answer));
    }
}

/// The end of the stream is what was waited for; the next stream of its name has another epoch.
#[test]
fn the_end_answers_those_who_wait_and_what_follows_is_another_timeline() {
    let resting = Resting::new();
    let (segment, epoch) = (
        resting.segment(),
        resting.segment().split_once("?e=").expect("an epoch").1.to_string(),
    );
    let before = waited(&resting.server);
    let mut wires = NEXT.map(|next| ask(&resting.server, &with_query(LIST, next)));
    let mut growing = ask(&resting.server, &resting.growing());
    wait_waited(&resting.server, before + 2);
    let Resting {
        server,
        publisher,
        mut client,
        ..
    } = resting;
    publisher.end();
    for wire in &mut wires {
        let answer = answer(wire);
        assert!(
            answer.status == 200 && text_of(&answer).contains("#EXT-X-ENDLIST"),
            "{}",
            text_of(&answer)
        );
    }
    let whole = answer(&mut growing);
    assert!(whole.status == 200 && !whole.chunks.is_empty(), "it ends in good order");
    assert_eq!(client.get(&segment).status, 200, "what is listed is there to the end");
    let mut publisher = Publisher::start(server.rtmp, "live", 8);
    publisher.send(&clips::NO_B_FRAMES.part(3_000));
    let list = client.text_when_there(LIST, PATIENCE);
    assert!(!list.contains(&epoch) && !list.contains("#EXT-X-ENDLIST"), "{list}");
    let asked = Instant::now();
    assert_eq!(client.get(&segment).status, 404, "of the timeline that is gone");
    assert!(asked.elapsed() < AT_ONCE);
    let plain = segment.split('?').next().expect("a path");
    assert_eq!(client.get(plain).status, 200, "whatever has that name");
}

/// SIGTERM: who waits is told to come again, and who is being sent a segment gets its end.
#[test]
fn the_servers_end_ends_waits() {
    let resting = Resting::new();
    let server = &resting.server;
    let before = waited(server);
    let mut waiting: Vec<Wire> = (0..20).map(|_| ask(server, &with_query(LIST, NEXT[0]))).collect();
    let mut growing = ask(server, &resting.growing());
    wait_waited(server, before + 20);
    assert!(!growing.read_at_least(1).is_empty());
    // Who does not read its end in time is reset.
    let reader = std::thread::spawn(move || growing.try_answer("GET"));
    let (status, took) = server.terminate(PATIENCE);
    assert!(
        status.success() && took < Duration::from_secs(3),
        "{status} after {took:?}"
    );
    for wire in &mut waiting {
        let answer = answer(wire);
        // The stream's end may come first.
        let is_end = answer.status == 200 && text_of(&answer).contains("#EXT-X-ENDLIST");
        assert!(is_end || answer.status == 503, "{}", answer.head);
    }
    let whole = reader.join().expect("a reader does not panic");
    let whole = whole.unwrap_or_else(|why| panic!("{why} after {took:?}\n{}", server.process.said()));
    assert!(whole.status == 200 && whole.chunks.len() > 1, "its last chunk came");
}

/// What has left the window is refused at once; what is in it, and was made long ago, is made again with the same bytes.
#[test]
fn old_segments_are_the_same_or_gone() {
    const MEDIA_MILLIS: u32 = 20_000;
    for (window, is_kept) in [(60_000, true), (1_000, false)] {
        let server = Server::start(&config(json!({ "DVR": window })));
        let mut resting = Resting::on(server, &clips::NUMBERED.part(MEDIA_MILLIS));
        let segment = resting.segment();
        let parts: Vec<String> = resting.list.segments[0]
            .parts
            .iter()
            .map(|part| resolve(LIST, &part.uri))
            .collect();
        let then = resting.client.body(&segment);
        let parts_then: Vec<Vec<u8>> = parts.iter().map(|part| resting.client.body(part)).collect();
        resting.go_on();
        let before = resting.server.counters();
        // The last whole segment is there: the publisher has been heard to its end.
        resting.client.text(&with_query(LIST, "_HLS_msn=9"));
        let asked = Instant::now();
        let mut answers = Vec::new();
        for _ in 0..8 {
            let mut client = Client::new(resting.server.http);
            answers.push(client.get(&segment));
        }
        let parts_now: Vec<Answer> = parts.iter().map(|part| resting.client.get(part)).collect();
        assert!(asked.elapsed() < PATIENCE / 2, "{:?}", asked.elapsed());
        let after = resting.server.counters();
        match is_kept {
            true => {
                assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == then));
                for (now, then) in parts_now.iter().zip(&parts_then) {
                    assert!(now.status == 200 && now.body == *then);
                }
                assert_eq!(after["segments_again"] - before["segments_again"], 1, "once for all");
            }
            false => {
                let all: Vec<u16> = answers.iter().chain(&parts_now).map(|answer| answer.status).collect();
                assert!(all.iter().all(|status| *status == 404), "{all:?}");
                assert_eq!(after["fetches_gone"] - before["fetches_gone"], all.len() as u64);
            }
        }
    }
}

/// What browsers of other origins ask first, clocks, and headers that mean nothing here.
#[test]
fn small_questions_have_their_answers() {
    let mut resting = Resting::new();
    let segment = resting.segment();
    let mut wire = Wire::connect(resting.server.http);
    for target in [LIST, &segment[..], "/hls/live/index.m3u8", "/dynamic/live/manifest.f4m"] {
        let asks = [
            ("Origin", "http://page.example"),
            ("Access-Control-Request-Method", "GET"),
            ("Access-Control-Request-Headers", "range"),
        ];
        wire.request("OPTIONS", target, &asks);
        let answer = wire.answer("OPTIONS");
        assert_eq!(answer.status, 204, "{target}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert!(
            answer.header("access-control-allow-methods").is_some(),
            "{}",
            answer.head
        );
        assert!(
            answer
                .header("access-control-allow-headers")
                .is_some_and(|headers| headers.eq_ignore_ascii_case("range") || headers == "*"),
            "{}",
            answer.head
        );
    }
    for target in [LIST, &segment[..]] {
        wire.request("POST", target, &[("Content-Length", "0")]);
        assert_eq!(wire.answer("POST").status, 405);
    }
    // A HEAD waits for no more than its head.
    let growing = resting.growing();
    for (target, framing) in [(&growing[..], "transfer-encoding"), (LIST, "content-length")] {
        wire.request("HEAD", target, &[]);
        let answer = wire.answer("HEAD");
        assert!(
            answer.status == 200 && answer.header(framing).is_some() && answer.body.is_empty(),
            "{}",
            answer.head
        );
    }
    let clock = resting.client.get("/cmaf/time.txt");
    let text = text_of(&clock);
    assert_eq!(clock.header("cache-control"), Some("no-store"), "{}", clock.head);
    let pattern: String = text
        .chars()
        .map(|letter| if letter.is_ascii_digit() { '0' } else { letter })
        .collect();
    assert_eq!(pattern, "0000-00-00T00:00:00.000Z", "{text}");
    let whole = resting.client.body(&segment);
    let (status, head, _) = resting.get(&segment, &[("Range", "bytes=0-9"), ("If-Range", "\"other\"")]);
    assert_eq!(status, 200, "of another version the whole is sent: {head}");
    let etag = head
        .lines()
        .find_map(|line| line.strip_prefix("ETag: "))
        .expect("it has one")
        .to_string();
    let (status, _, bytes) = resting.get(&segment, &[("Range", "bytes=0-9"), ("If-Range", &etag)]);
    assert!(status == 206 && bytes == whole[..10]);
    assert_eq!(
        resting.get(LIST, &[("Range", "bytes=0-9")]).0,
        200,
        "texts are sent whole"
    );
    let many = format!("bytes={}", vec!["0-0"; 1_000].join(","));
    let (status, _, bytes) = resting.get(&segment, &[("Range", &many)]);
    assert!(status == 200 && bytes == whole, "many ranges are as none");
    let init = resting.list.segments[0].map.as_ref().expect("it has one").uri.clone();
    let init = resolve(LIST, &init);
    let (status, head, bytes) = resting.get(&init, &[]);
    assert!(status == 200 && head.contains("immutable"), "{head}");
    let (path, query) = init.split_once('?').expect("it has its generation");
    let epoch = query.split('&').next().expect("e first");
    for target in [path.to_string(), format!("{path}?{epoch}")] {
        let (status, head, now) = resting.get(&target, &[]);
        assert!(status == 200 && now == bytes, "{target}");
        assert!(
            head.contains("Cache-Control: max-age=1\r\n"),
            "another generation may follow: {head}"
        );
    }
    let (status, head, now) = resting.get(&init, &[("Range", "bytes=4-7")]);
    assert!(status == 206 && now == bytes[4..8], "{head}");
    assert_eq!(resting.get(&format!("{path}?{epoch}&g=9"), &[]).0, 404);
}
