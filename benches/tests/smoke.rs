//! The load bench end to end, small: it starts a server, publishes, watches, and finds what it looks for.

use std::time::Duration;

use clap::Parser;
use penstock_benches::audience::Audience;
use penstock_benches::floor;
use penstock_benches::load::{self, Options};
use penstock_benches::numbers::rtsp_udp;
use penstock_benches::page;
use penstock_benches::report::Report;
use penstock_benches::scene::{Packaging, Stage};
use penstock_benches::segmented;
use penstock_benches::server::{self, Settings};
use penstock_benches::steps::instructions;
use penstock_benches::sys;

fn settings() -> anyhow::Result<Settings> {
    sys::raise_descriptor_limit()?;
    Ok(Settings {
        binary: server::sibling()?,
        shards: 2,
    })
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

/// A figure of a report.
fn value(report: &Report, name: &str) -> f64 {
    let json = report.json();
    let rows = json.as_array().expect("a report is an array");
    let row = rows.iter().find(|row| row["name"] == name);
    let row = row.unwrap_or_else(|| panic!("no {name} in\n{}", report.table()));
    row["value"].as_f64().unwrap_or(f64::NAN)
}

#[test]
fn a_small_load_is_measured() {
    let line = "load --viewers 20 --ramp 0 --seconds 3 --joins 5 --bitrate 600";
    let options = Line::parse_from(line.split(' ')).options;
    let report = load::run(&options, settings).unwrap();
    assert_eq!(value(&report, "viewers ok"), 25.0, "{}", report.table());
    assert_eq!(value(&report, "viewers failed"), 0.0, "{}", report.table());
    assert_eq!(
        value(&report, "breaks in the frames' numbers"),
        0.0,
        "{}",
        report.table()
    );
    for positive in [
        "delivered",
        "added latency p50",
        "first byte, all viewers, p99",
        "first byte, joins under load, p99",
        "anonymous private memory",
        "PSS",
    ] {
        assert!(value(&report, positive) > 0.0, "{positive}\n{}", report.table());
    }
    // Buffered viewers are sent to every 100 ms at the earliest, and pictures come every 33 ms.
    let gap = value(&report, "longest gap of a viewer p50");
    assert!((30.0..1000.0).contains(&gap), "a gap of {gap} ms\n{}", report.table());
    // 20 to 25 viewers of 600 kb/s, within what the start burst of those who join adds.
    let delivered = value(&report, "delivered");
    assert!((0.008..0.03).contains(&delivered), "{delivered} Gb/s");
}

#[derive(Parser)]
struct CountLine {
    #[command(flatten)]
    options: instructions::Options,
}

#[test]
fn instructions_are_counted_or_it_is_said_that_valgrind_is_missing() {
    let options = CountLine::parse_from(["instructions", "http_head"]).options;
    let report = instructions::run(&options).unwrap();
    let table = report.table();
    if table.contains("valgrind is not installed") {
        return;
    }
    let [player, browser] = ["player", "browser"].map(|size| value(&report, &format!("http_head/{size} per request")));
    // Three times the bytes, and no machine needs less than an instruction for a byte or two.
    assert!(player > 100.0 && browser > 1.5 * player, "{table}");
}

#[derive(Parser)]
struct FloorLine {
    #[command(flatten)]
    options: floor::Options,
}

#[test]
fn a_pair_is_measured_and_the_floor_makes_the_sends_that_penstock_made() {
    let line = "floor --viewers 20 --pairs 1 --seconds 1 --ramp 0 --bitrate 600";
    for (more, sends) in [
        ("--settle 1 --call send", None),
        ("--settle 0 --call sendfile --every 50", Some(20.0)),
    ] {
        let options = FloorLine::parse_from(format!("{line} {more}").split(' ')).options;
        let report = floor::run(&options, &settings().unwrap(), "floor", None).unwrap();
        let table = report.table();
        assert_eq!(value(&report, "viewers failed or stalled"), 0.0, "{table}");
        assert!(value(&report, "pair 1: ratio") > 0.0, "{table}");
        // Of the last pair, whose floor comes second.
        let of_both = |name: &str| -> Vec<f64> {
            let json = report.json();
            let rows = json.as_array().unwrap().iter().filter(|row| row["name"] == name);
            rows.map(|row| row["value"].as_f64().unwrap()).collect()
        };
        let [own, floor] = of_both("    sends")[..] else {
            panic!("{table}")
        };
        // Rounds of 20 viewers a second, one of them more or less at each end of a second.
        let wanted = sends.map_or(own, |sends| sends * 20.0);
        assert!(
            (floor - wanted).abs() <= 0.03 * wanted + 40.0,
            "{floor} in place of {wanted}\n{table}"
        );
        let page = page::html(&report);
        for plot in [
            "Delivered",
            "Server CPU",
            "First byte",
            "Added latency",
            "Longest gap of a viewer",
        ] {
            assert_eq!(
                page.matches(&format!("<figcaption>{plot}<")).count(),
                2,
                "{plot}, of both sides"
            );
        }
    }
}

#[test]
fn rtsp_over_tcp_is_measured_against_the_floor() {
    let line = "floor --viewers 20 --pairs 1 --seconds 1 --ramp 0 --bitrate 600 --settle 1 --packaging rtsp";
    let options = FloorLine::parse_from(line.split(' ')).options;
    let report = floor::run(&options, &settings().unwrap(), "floor", None).unwrap();
    let table = report.table();
    assert_eq!(value(&report, "viewers failed or stalled"), 0.0, "{table}");
    assert!(value(&report, "pair 1: ratio") > 0.0, "{table}");
    assert!(value(&report, "added latency p99") > 0.0, "{table}");
}

#[test]
fn rtsp_by_udp_is_counted_cut_and_one_by_one() {
    let report = rtsp_udp::measure(&settings().unwrap(), 600, 10, 1, Duration::from_secs(1)).unwrap();
    let table = report.table();
    // 600 kb/s are 60 packets a second and as many of sound, to each of ten.
    for side in ["cut by the kernel", "one by one"] {
        assert!(
            value(&report, &format!("{side}: packets per CPU second")) > 500.0,
            "{table}"
        );
    }
    let json = report.json();
    let cut: Vec<f64> = json
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["name"] == "  of them cut")
        .map(|row| row["value"].as_f64().unwrap())
        .collect();
    assert!(cut[0] > 10.0 && cut[1] == 0.0, "{table}");
    assert_eq!(value(&report, "packets not sent"), 0.0, "{table}");
    assert!(value(&report, "packets sent and not heard") < 5.0, "{table}");
}

#[test]
fn stamps_are_found_in_every_packaging() {
    let mut stage = Stage::start(&settings().unwrap(), 600).unwrap();
    let mut audiences = Vec::new();
    for packaging in [
        Packaging::Flv,
        Packaging::Ts,
        Packaging::Mp4,
        Packaging::Rtmp,
        Packaging::Rtsp,
    ] {
        let name = packaging.name();
        let mut audience = Audience::new(name).unwrap();
        let target = stage.target(packaging).unwrap();
        audience.open(&target, 5, 4, Duration::from_millis(100)).unwrap();
        audiences.push((name, audience));
    }
    audiences[0].1.watch(Duration::from_secs(1), Some(&mut stage)).unwrap();
    for (_, audience) in &audiences {
        audience.begin_window().unwrap();
    }
    audiences[0].1.watch(Duration::from_secs(1), Some(&mut stage)).unwrap();
    for (name, audience) in audiences {
        let found = audience.end().unwrap();
        assert_eq!((found.ok, found.failed), (5, 0), "{name}: {found:?}");
        // 30 pictures a second to 4 viewers that verify, half of it at the least; none twice, since their numbers follow.
        let seen = found.latency.count();
        assert!(seen >= 60, "{name}: {seen} stamps");
        assert_eq!((found.pictures().1, found.frames_lost), (0, 0), "{name}: {found:?}");
        assert_eq!(found.problems().0, 0, "{name}: {found:?}");
    }
}

#[test]
fn some_are_slow_some_leave_and_streams_are_many() {
    let line = "load --viewers 40 --pattern churn --churn 50% --slow 25% --slow-rate 0 --streams 4 --zipf 1 --ramp 0 \
                --seconds 2 --bitrate 600k --verify 8 --packaging rtmp";
    let options = Line::parse_from(line.split_whitespace()).options;
    let report = load::run(&options, settings).unwrap();
    assert_eq!(value(&report, "viewers failed"), 0.0, "{}", report.table());
    assert_eq!(value(&report, "wrong in the container"), 0.0, "{}", report.table());
    assert_eq!(value(&report, "frames lost"), 0.0, "{}", report.table());
    // A quarter of 40, and of those that joined for one of them.
    assert!(value(&report, "viewers slow by intent") >= 10.0, "{}", report.table());
    // Half of 40 a second, for two.
    let left = value(&report, "viewers that left for others");
    assert!((30.0..=45.0).contains(&left), "{}", report.table());
    assert!(value(&report, "counter sends") > 0.0, "{}", report.table());
}

#[test]
fn a_load_that_nobody_can_watch_is_an_error() {
    let line = "load --url http://127.0.0.1:9/live.flv --viewers 2 --ramp 0 --seconds 1";
    let options = Line::parse_from(line.split(' ')).options;
    let error = load::run(&options, settings).unwrap_err();
    assert!(format!("{error}").contains("no viewer played"), "{error}");
}

/// Nobody has a part or a playlist before it is there, and everybody has it soon.
#[test]
fn a_small_burst_is_measured() {
    let report = segmented::ll_burst_of(20, 2, &settings().unwrap()).unwrap();
    for what in ["part", "playlist"] {
        let name = format!("{what}: last byte of the last viewer, penstock / floor, median of the rounds");
        let ratio = value(&report, &name);
        assert!(ratio > 0.01 && ratio.is_finite(), "{}", report.table());
    }
}
