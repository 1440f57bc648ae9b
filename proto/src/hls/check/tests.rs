//! Playlists that are each wrong in one way, and what is found in them.

use super::What as W;
use super::{Watcher, check_delta, check_master, check_media, check_reports};

/// A live list with parts that is right.
const GOOD: &str = "#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,HOLD-BACK=6.0,PART-HOLD-BACK=3.0
#EXT-X-PART-INF:PART-TARGET=1.0
#EXT-X-MEDIA-SEQUENCE:10
#EXT-X-DISCONTINUITY-SEQUENCE:4
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI=\"init.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-01-29T12:00:00.000Z
#EXTINF:2.0,
a10.m4s
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2026-01-29T12:00:02.000Z
#EXTINF:2.0,
a11.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-29T12:00:04.000Z
#EXT-X-PART:DURATION=1.0,URI=\"a12.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.0,URI=\"a12.1.m4s\"
#EXTINF:2.0,
a12.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-29T12:00:06.000Z
#EXT-X-PART:DURATION=1.0,URI=\"a13.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.5,URI=\"a13.1.m4s\"
#EXTINF:1.5,
a13.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-29T12:00:07.500Z
#EXT-X-PART:DURATION=1.0,URI=\"a14.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.0,URI=\"a14.1.m4s\"
#EXTINF:2.0,
a14.m4s
#EXT-X-PART:DURATION=1.0,URI=\"a15.0.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"a15.1.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../2/index.m3u8\",LAST-MSN=15,LAST-PART=0
";

const MASTER: &str = "#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"1\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"2/index.m3u8\"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"2\",URI=\"3/index.m3u8\"
#EXT-X-STREAM-INF:BANDWIDTH=200,AVERAGE-BANDWIDTH=100,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=16x9,FRAME-RATE=25.000,AUDIO=\"a\"
1/index.m3u8
";

/// One wrong text: what of the good one is replaced by what, the line that is to blame, and why.
type Broken = (&'static str, &'static str, usize, W);

fn broken(good: &str, from: &str, to: &str) -> String {
    assert_eq!(good.matches(from).count().min(1), 1, "{from:?} is in the good one");
    good.replacen(from, to, 1)
}

fn assert_finds(good: &str, cases: &[Broken], check: fn(&str) -> Vec<super::Problem>) {
    assert_eq!(check(good), []);
    for (from, to, line, what) in cases {
        let problems = check(&broken(good, from, to));
        let found = problems
            .iter()
            .any(|problem| (problem.line, problem.what) == (*line, *what));
        assert!(found, "{from:?} to {to:?}: {what:?} is not among {problems:?}");
    }
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn media_playlists_that_are_wrong_in_one_way() {
    let cases: &[Broken] = &[
        ("#EXTM3U", "#EXTM3U8", 1, W::FirstLine),
        ("#EXTM3U", "\u{feff}#EXTM3U", 1, W::Control),
        ("a10.m4s\n", "a10.m4s\r\n", 12, W::CarriageReturn),
        ("a10.m4s", "a\t10.m4s", 12, W::Control),
        ("LAST-PART=0\n", "LAST-PART=0", 34, W::NoFinalLineFeed),
        ("#EXT-X-INDEPENDENT", "#EXT-X-INDEPENDANT", 8, W::UnknownTag),
        ("#EXT-X-INDEPENDENT-SEGMENTS", "#EXT-X-MEDIA:TYPE=AUDIO", 8, W::Mixed),
        ("#EXT-X-VERSION:9", "#EXT-X-VERSION:nine", 2, W::Value("EXT-X-VERSION")),
        (
            "#EXT-X-VERSION:9",
            "#EXT-X-TARGETDURATION:2",
            3,
            W::Repeated("EXT-X-TARGETDURATION"),
        ),
        ("#EXT-X-TARGETDURATION:2\n", "", 0, W::Missing("EXT-X-TARGETDURATION")),
        (
            "#EXT-X-TARGETDURATION:2",
            "#EXT-X-TARGETDURATION:2.0",
            3,
            W::Value("EXT-X-TARGETDURATION"),
        ),
        (
            "#EXT-X-VERSION:9",
            "#EXT-X-VERSION:5",
            0,
            W::Version { stated: 5, needed: 6 },
        ),
        (
            "#EXT-X-VERSION:9",
            "#EXT-X-VERSION:8",
            4,
            W::ControlVersion { stated: 8 },
        ),
        (
            "EXTINF:2.0,\na11",
            "EXTINF:2.6,\na11",
            16,
            W::ExtinfRounded { seconds: 3, target: 2 },
        ),
        (
            "EXTINF:2.0,\na11",
            "EXTINF:2.4,\na11",
            16,
            W::ExtinfOver {
                nanos: 24 * SECOND / 10,
                target: 2 * SECOND,
            },
        ),
        ("EXTINF:2.0,\na11", "EXTINF:2.0\na11", 15, W::Value("EXTINF")),
        (
            "EXTINF:2.0,\na11",
            "EXTINF:2.0,\n#EXTINF:2.0,\na11",
            16,
            W::Repeated("EXTINF"),
        ),
        ("#EXTINF:2.0,\na11.m4s", "a11.m4s", 15, W::Missing("EXTINF")),
        ("a11.m4s", "a10.m4s", 16, W::UriTwice),
        (
            "#EXT-X-DISCONTINUITY\n",
            "#EXT-X-MEDIA-SEQUENCE:10\n",
            13,
            W::Late("EXT-X-MEDIA-SEQUENCE"),
        ),
        (
            "#EXT-X-DISCONTINUITY\n",
            "#EXT-X-DISCONTINUITY-SEQUENCE:4\n",
            13,
            W::Late("EXT-X-DISCONTINUITY-SEQUENCE"),
        ),
        (
            "#EXTINF:2.0,\na12",
            "#EXT-X-DISCONTINUITY\n#EXTINF:2.0,\na12",
            20,
            W::Late("EXT-X-DISCONTINUITY"),
        ),
        (
            "#EXTINF:2.0,\na12",
            "#EXT-X-MAP:URI=\"b\"\n#EXTINF:2.0,\na12",
            20,
            W::Late("EXT-X-MAP"),
        ),
        ("#EXT-X-MAP:URI=\"init.mp4\"\n", "", 11, W::MapMissing),
        (
            "#EXT-X-MAP:URI=\"init.mp4\"",
            "#EXT-X-MAP:BYTERANGE=\"1@0\"",
            9,
            W::AttributeMissing("URI"),
        ),
        ("URI=\"init.mp4\"", "URI=init.mp4", 9, W::AttributeValue("URI")),
        ("URI=\"init.mp4\"", "URI=\"init.mp4", 9, W::AttributeSyntax),
        ("URI=\"init.mp4\"", "URI=\"init.mp4\",", 9, W::AttributeSyntax),
        (
            "URI=\"init.mp4\"",
            "URI=\"init.mp4\",URI=\"b\"",
            9,
            W::AttributeRepeated,
        ),
        ("URI=\"init.mp4\"", "URI=\"init.mp4\",URL=\"b\"", 9, W::AttributeUnknown),
        (
            "#EXTINF:2.0,\na11",
            "#EXT-X-BYTERANGE:10\n#EXTINF:2.0,\na11",
            15,
            W::RangeWithoutOffset,
        ),
        ("12:00:02.000Z", "12:00:02.000", 14, W::Value("EXT-X-PROGRAM-DATE-TIME")),
        (
            "12:00:02.000Z",
            "11:00:02.000Z",
            16,
            W::DateFalls { millis: -3_598_000 },
        ),
        ("12:00:04.000Z", "12:00:04.501Z", 21, W::DateDrifts { millis: 501 }),
        (
            "#EXT-X-PROGRAM-DATE-TIME:2026-01-29T12:00:02.000Z\n",
            "",
            15,
            W::DateMissing,
        ),
    ];
    assert_finds(GOOD, cases, check_media);
}

#[test]
fn low_latency_playlists_that_are_wrong_in_one_way() {
    let target = SECOND;
    let cases: &[Broken] = &[
        (
            "#EXT-X-PART-INF:PART-TARGET=1.0\n",
            "",
            17,
            W::Missing("EXT-X-PART-INF"),
        ),
        ("PART-TARGET=1.0", "PART-TARGET=1s", 5, W::AttributeValue("PART-TARGET")),
        (
            "PART-TARGET=1.0",
            "X-PART-TARGET=1.0",
            5,
            W::AttributeMissing("PART-TARGET"),
        ),
        (
            "DURATION=1.0,URI=\"a12.1",
            "DURATION=1.1,URI=\"a12.1",
            19,
            W::PartOver {
                nanos: 11 * SECOND / 10,
                target,
            },
        ),
        (
            "DURATION=1.0,URI=\"a12.0",
            "DURATION=0.84,URI=\"a12.0",
            18,
            W::PartShort {
                nanos: 84 * SECOND / 100,
                target,
            },
        ),
        (
            "DURATION=1.0,URI=\"a12.1",
            "DURATION=0.9,URI=\"a12.1",
            21,
            W::PartsSum {
                parts: 19 * SECOND / 10,
                segment: 2 * SECOND,
            },
        ),
        (
            "URI=\"a12.0.m4s\",INDEPENDENT=YES",
            "URI=\"a12.0.m4s\"",
            18,
            W::PartDependent,
        ),
        (
            "INDEPENDENT=YES",
            "INDEPENDENT=NO",
            18,
            W::AttributeValue("INDEPENDENT"),
        ),
        (
            "DURATION=1.0,URI=\"a12.1.m4s\"",
            "DURATION=1.0",
            19,
            W::AttributeMissing("URI"),
        ),
        (
            "#EXT-X-PART:DURATION=1.0,URI=\"a14.0.m4s\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=1.0,URI=\"a14.1.m4s\"\n",
            "",
            29,
            W::PartsMissing,
        ),
        (
            "#EXTINF:2.0,\na10",
            "#EXT-X-PART:DURATION=1.0,URI=\"a10.0.m4s\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=1.0,URI=\"a10.1.m4s\"\n#EXTINF:2.0,\na10",
            11,
            W::PartsOld,
        ),
        (
            "URI=\"a12.0.m4s\"",
            "URI=\"a12.m4s\",BYTERANGE=\"10\"",
            18,
            W::RangeWithoutOffset,
        ),
        (
            "HOLD-BACK=6.0",
            "HOLD-BACK=5.9",
            4,
            W::HoldBack {
                nanos: 59 * SECOND / 10,
                needed: 6 * SECOND,
            },
        ),
        (
            "PART-HOLD-BACK=3.0",
            "PART-HOLD-BACK=2.9",
            4,
            W::PartHoldBack {
                nanos: 29 * SECOND / 10,
                needed: 3 * SECOND,
            },
        ),
        (",PART-HOLD-BACK=3.0", "", 4, W::AttributeMissing("PART-HOLD-BACK")),
        (
            "CAN-SKIP-UNTIL=12.0",
            "CAN-SKIP-UNTIL=11.0",
            4,
            W::SkipBoundary {
                nanos: 11 * SECOND,
                needed: 12 * SECOND,
            },
        ),
        (
            "CAN-SKIP-UNTIL=12.0",
            "CAN-SKIP-DATERANGES=YES",
            4,
            W::AttributeMissing("CAN-SKIP-UNTIL"),
        ),
        ("CAN-BLOCK-RELOAD=YES,", "", 4, W::NoBlockingReload),
        (
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,HOLD-BACK=6.0,PART-HOLD-BACK=3.0\n",
            "",
            0,
            W::Missing("EXT-X-SERVER-CONTROL"),
        ),
        (
            "#EXT-X-MAP",
            "#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n#EXT-X-MAP",
            9,
            W::SkipTooMuch {
                nanos: 95 * SECOND / 10,
            },
        ),
        (
            "#EXT-X-MAP",
            "#EXT-X-SKIP:SKIPPED-SEGMENTS=0\n#EXT-X-MAP",
            9,
            W::AttributeValue("SKIPPED-SEGMENTS"),
        ),
        (
            "#EXT-X-DISCONTINUITY\n",
            "#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n",
            13,
            W::Late("EXT-X-SKIP"),
        ),
        (
            "CAN-SKIP-UNTIL=12.0,HOLD-BACK=6.0,PART-HOLD-BACK=3.0\n",
            "PART-HOLD-BACK=3.0\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n",
            5,
            W::SkipUnannounced,
        ),
        ("URI=\"a15.1.m4s\"", "URI=\"a15.0.m4s\"", 33, W::HintOfThePast),
        ("TYPE=PART", "TYPE=SEGMENT", 33, W::AttributeValue("TYPE")),
        (
            "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"a15.1.m4s\"\n",
            "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"a15.1.m4s\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"a15.2.m4s\"\n",
            34,
            W::Repeated("EXT-X-PRELOAD-HINT"),
        ),
        (",LAST-PART=0", "", 34, W::AttributeMissing("LAST-PART")),
        ("LAST-MSN=15", "LAST-MSN=-1", 34, W::AttributeValue("LAST-MSN")),
        ("URI=\"../2", "URI=\"http://h/2", 34, W::AttributeValue("URI")),
        (
            "LAST-PART=0\n",
            "LAST-PART=0\n#EXT-X-ENDLIST\n",
            33,
            W::AfterEnd("EXT-X-PRELOAD-HINT"),
        ),
        (
            "LAST-PART=0\n",
            "LAST-PART=0\n#EXT-X-ENDLIST\n",
            32,
            W::AfterEnd("EXT-X-PART"),
        ),
        ("LAST-PART=0\n", "LAST-PART=0\n#EXT-X-GAP\n", 35, W::Loose("EXT-X-GAP")),
        ("LAST-PART=0\n", "LAST-PART=0\n#EXTINF:2.0,\n", 35, W::Loose("EXTINF")),
    ];
    assert_finds(GOOD, cases, check_media);
    let ranges = GOOD
        .replace("URI=\"a15.0.m4s\"", "URI=\"a15.m4s\",BYTERANGE=\"10@0\"")
        .replace("URI=\"a15.1.m4s\"", "URI=\"a15.m4s\",BYTERANGE-START=10")
        .replace("URI=\"a12.0.m4s\"", "URI=\"a12.m4s\",BYTERANGE=\"10@0\"")
        .replace("URI=\"a12.1.m4s\"", "URI=\"a12.m4s\",BYTERANGE=\"7\"");
    let cases: &[Broken] = &[
        (
            "BYTERANGE=\"7\"",
            "BYTERANGE=\"7@9\"",
            19,
            W::RangeHole { expected: 10, found: 9 },
        ),
        ("BYTERANGE=\"7\"", "BYTERANGE=\"7@x\"", 19, W::Value("BYTERANGE")),
        ("BYTERANGE-START=10", "BYTERANGE-START=0", 33, W::HintOfThePast),
    ];
    assert_finds(&ranges, cases, check_media);
    assert!(
        check_media("#EXTM3U\n#EXT-X-TARGETDURATION:2\n")
            .iter()
            .any(|problem| problem.what == W::Empty)
    );
}

#[test]
fn masters_that_are_wrong_in_one_way() {
    let cases: &[Broken] = &[
        ("#EXTM3U", "#EXTINF", 1, W::FirstLine),
        ("#EXT-X-INDEPENDENT-SEGMENTS", "#EXT-X-TARGETDURATION:2", 3, W::Mixed),
        (
            "#EXT-X-INDEPENDENT-SEGMENTS",
            "#EXT-X-VERSION:6",
            3,
            W::Repeated("a tag that stands once"),
        ),
        ("BANDWIDTH=200", "BANDWIDTH=0", 6, W::AttributeValue("BANDWIDTH")),
        (
            "BANDWIDTH=200,AVERAGE-",
            "AVERAGE-",
            6,
            W::AttributeMissing("BANDWIDTH"),
        ),
        (
            "AVERAGE-BANDWIDTH=100",
            "AVERAGE-BANDWIDTH=201",
            6,
            W::Bandwidth {
                average: 201,
                peak: 200,
            },
        ),
        ("CODECS=\"avc1.64001f,mp4a.40.2\",", "", 6, W::CodecsMissing),
        ("avc1.64001f,mp4a.40.2", "avc1.64001f,", 6, W::AttributeValue("CODECS")),
        ("avc1.64001f,mp4a.40.2", "avc1.64001f", 6, W::CodecsWithoutAudio),
        ("RESOLUTION=16x9", "RESOLUTION=16:9", 6, W::AttributeValue("RESOLUTION")),
        (
            "FRAME-RATE=25.000",
            "FRAME-RATE=25.0000",
            6,
            W::AttributeValue("FRAME-RATE"),
        ),
        ("AUDIO=\"a\"", "AUDIO=\"b\"", 6, W::GroupUnknown),
        (",AUDIO=\"a\"", "", 4, W::GroupUnused),
        ("1/index.m3u8\n", "", 6, W::UriMissing),
        ("1/index.m3u8\n", "1/index.m3u8\n2/index.m3u8\n", 8, W::Loose("URI")),
        ("NAME=\"2\"", "NAME=\"1\"", 5, W::NameTwice),
        ("NAME=\"2\"", "NAME=\"2\",DEFAULT=YES", 5, W::DefaultTwice),
        ("NAME=\"2\"", "NAME=\"2\",AUTOSELECT=YES", 5, W::SelectedAlike),
        ("AUTOSELECT=YES", "AUTOSELECT=NO", 4, W::DefaultNotSelected),
        (
            "GROUP-ID=\"a\",NAME=\"2\"",
            "GROUP-ID=\"b\",NAME=\"2\"",
            5,
            W::GroupsDiffer,
        ),
        (
            "TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"2\",URI=\"3/index.m3u8\"",
            "TYPE=SUBTITLES,GROUP-ID=\"s\",NAME=\"2\"",
            5,
            W::MediaUri,
        ),
        ("TYPE=AUDIO", "TYPE=SOUND", 4, W::AttributeValue("TYPE")),
        ("NAME=\"2\"", "NAME=\"2\",FORCED=YES", 5, W::AttributeValue("FORCED")),
        ("CHANNELS=\"2\"", "CHANNELS=2", 4, W::AttributeValue("CHANNELS")),
    ];
    assert_finds(MASTER, cases, check_master);
    assert!(
        check_master("#EXTM3U\n")
            .iter()
            .any(|problem| problem.what == W::NoVariant)
    );
}

/// A list of whole segments and the reload of it that is right, and ways in which that is wrong.
#[test]
fn reloads_that_are_wrong_in_one_way() {
    let list = |sequence: u64, discontinuities: u64, segments: &[u64]| {
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{sequence}\n\
             #EXT-X-DISCONTINUITY-SEQUENCE:{discontinuities}\n"
        );
        for number in segments {
            let mark = if number % 4 == 0 { "#EXT-X-DISCONTINUITY\n" } else { "" };
            text += &format!("{mark}#EXTINF:2.0,\n{number}.ts\n");
        }
        text
    };
    let first = list(4, 1, &[4, 5, 6, 7]);
    let good = list(5, 2, &[5, 6, 7, 8]);
    let see = |now_millis: u64, second: &str| {
        let mut watcher = Watcher::new();
        assert_eq!(watcher.see(0, &first), []);
        watcher.see(now_millis, second)
    };
    assert_eq!(see(2_000, &good), []);
    assert_eq!(see(2_000, &first), []);
    assert_eq!(see(3_000, &(first.clone() + "#EXT-X-ENDLIST\n")), []);
    let six = 6 * SECOND;
    let cases: &[(u64, String, W)] = &[
        (2_000, list(3, 1, &[3, 4, 5, 6, 7]), W::SequenceFalls { from: 4, to: 3 }),
        (2_000, list(9, 2, &[9, 10, 11, 12]), W::SequenceLeaps { from: 4, to: 9 }),
        (
            2_000,
            good.replace("DURATION:2", "DURATION:3"),
            W::TargetChanged { from: 2, to: 3 },
        ),
        (
            2_000,
            list(5, 1, &[5, 6, 7, 8]),
            W::DiscontinuitySequence { expected: 2, found: 1 },
        ),
        (
            2_000,
            list(5, 3, &[5, 6, 7, 8]),
            W::DiscontinuitySequence { expected: 2, found: 3 },
        ),
        (
            2_000,
            good.replace("\n6.ts", "\n6.ts?x"),
            W::SegmentChanged {
                number: 6,
                field: "URI",
            },
        ),
        (
            2_000,
            good.replacen("EXTINF:2.0", "EXTINF:1.9", 1),
            W::SegmentChanged {
                number: 5,
                field: "EXTINF",
            },
        ),
        (
            2_000,
            good.replacen("#EXTINF", "#EXT-X-GAP\n#EXTINF", 1),
            W::SegmentChanged {
                number: 5,
                field: "EXT-X-GAP",
            },
        ),
        (
            2_000,
            good.replacen("#EXTINF", "#EXT-X-DISCONTINUITY\n#EXTINF", 1),
            W::SegmentChanged {
                number: 5,
                field: "EXT-X-DISCONTINUITY",
            },
        ),
        (2_000, list(4, 1, &[4, 5, 6]), W::SegmentGone { number: 7 }),
        (
            2_000,
            list(6, 2, &[6, 7]),
            W::RemovedTooMuch {
                nanos: six - 2 * SECOND,
            },
        ),
        (3_001, first.clone(), W::UpdateLate { millis: 3_001 }),
    ];
    for (now_millis, second, what) in cases {
        let problems = see(*now_millis, second);
        let found = problems.iter().any(|problem| problem.what == *what);
        assert!(found, "{what:?} is not among {problems:?}\n{second}");
    }
    let after = |before: &str, second: &str, what: W| {
        let mut watcher = Watcher::new();
        watcher.see(0, before);
        let problems = watcher.see(1_000, second);
        assert!(
            problems.iter().any(|problem| problem.what == what),
            "{what:?} is not among {problems:?}"
        );
    };
    let ended = first.clone() + "#EXT-X-ENDLIST\n";
    after(&ended, &first, W::EndTakenBack);
    after(&ended, &(good.clone() + "#EXT-X-ENDLIST\n"), W::ChangedAfterEnd);
    let event = |text: &str| text.replace("#EXT-X-MEDIA-", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-MEDIA-");
    after(&event(&first), &event(&good), W::RemovedFromEvent);
}

#[test]
fn reloads_of_parts_that_are_wrong_in_one_way() {
    let next = GOOD.replace(
        "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"a15.1.m4s\"",
        "#EXT-X-PART:DURATION=1.0,URI=\"a15.1.m4s\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"a15.2.m4s\"",
    );
    let see = |second: &str| {
        let mut watcher = Watcher::new();
        assert_eq!(watcher.see(0, GOOD), []);
        watcher.see(1_000, second)
    };
    assert_eq!(see(&next), []);
    let cases = [
        (next.replacen("a15.1.m4s", "a15.7.m4s", 1), W::HintUntrue),
        (
            next.replacen("a15.0.m4s", "a15.9.m4s", 1),
            W::PartChanged { number: 15, index: 0 },
        ),
        (
            next.replacen("a14.1.m4s", "a14.9.m4s", 1),
            W::PartChanged { number: 14, index: 0 },
        ),
        (
            next.replace("PART-TARGET=1.0", "PART-TARGET=1.1"),
            W::PartTargetChanged {
                from: SECOND,
                to: 11 * SECOND / 10,
            },
        ),
        (
            GOOD.replace("#EXT-X-PART:DURATION=1.0,URI=\"a15.0.m4s\",INDEPENDENT=YES\n", ""),
            W::PartGone { number: 15 },
        ),
        (
            next.replace("12:00:07.500Z", "12:00:07.501Z"),
            W::SegmentChanged {
                number: 14,
                field: "EXT-X-PROGRAM-DATE-TIME",
            },
        ),
        (
            next.replace("init.mp4", "other.mp4"),
            W::SegmentChanged {
                number: 10,
                field: "EXT-X-MAP",
            },
        ),
    ];
    for (second, what) in cases {
        let problems = see(&second);
        let found = problems.iter().any(|problem| problem.what == what);
        assert!(found, "{what:?} is not among {problems:?}\n{second}");
    }
}

#[test]
fn delta_updates_and_reports_that_are_untrue() {
    let skipped = "#EXT-X-PROGRAM-DATE-TIME:2026-01-29T12:00:00.000Z\n#EXTINF:2.0,\na10.m4s\n";
    let short = |text: &str| {
        text.replace("TARGETDURATION:2", "TARGETDURATION:1")
            .replace("CAN-SKIP-UNTIL=12.0", "CAN-SKIP-UNTIL=6.0")
    };
    // Targets do not matter to what is compared.
    let only = |problems: Vec<super::Problem>| -> Vec<W> {
        let what = problems.into_iter().map(|problem| problem.what);
        what.filter(|what| matches!(what, W::DeltaDiffers { .. } | W::DeltaOfNothing))
            .collect()
    };
    let full = short(GOOD);
    let delta = full
        .replace(skipped, "")
        .replace("#EXT-X-MAP", "#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n#EXT-X-MAP");
    assert_eq!(only(check_delta(&full, &delta, &full)), []);
    let differs = |field| W::DeltaDiffers { field };
    for (from, to, what) in [
        ("SEGMENTS=1", "SEGMENTS=2", differs("segments")),
        ("a11.m4s", "b11.m4s", differs("URI")),
        ("a12.1.m4s", "b12.1.m4s", differs("parts")),
        ("a15.0.m4s", "b15.0.m4s", differs("end")),
        ("a15.1.m4s", "b15.1.m4s", differs("end")),
        ("LAST-MSN=15", "LAST-MSN=14", differs("end")),
        ("PART-TARGET=1.0", "PART-TARGET=1.1", differs("head")),
        ("SEQUENCE:10", "SEQUENCE:9", W::DeltaOfNothing),
    ] {
        let found = only(check_delta(&full, &broken(&delta, from, to), &full));
        assert!(found.contains(&what), "{from:?} to {to:?}: {found:?}");
    }
    let found = only(check_delta(&full.replace("a10.m4s", "b10.m4s"), &delta, &full));
    assert_eq!(found, [differs("URI")]);

    let sibling = GOOD;
    let reports = |text: &str, uri: &str| -> Vec<W> {
        check_reports(text, &[(uri, sibling)])
            .into_iter()
            .map(|problem| problem.what)
            .collect()
    };
    assert_eq!(reports(GOOD, "../2/index.m3u8"), []);
    assert_eq!(reports(GOOD, "../3/index.m3u8"), [W::ReportUnknown, W::ReportMissing]);
    let untrue = [W::ReportUntrue { msn: 15, part: 0 }];
    assert_eq!(
        reports(&GOOD.replace("LAST-PART=0", "LAST-PART=1"), "../2/index.m3u8"),
        untrue
    );
    assert_eq!(
        reports(&GOOD.replace("LAST-MSN=15", "LAST-MSN=14"), "../2/index.m3u8"),
        untrue
    );
}

/// A problem says where and why.
#[test]
fn problems_are_told_with_line_and_section() {
    let problems = check_media(&GOOD.replace("DURATION=1.0,URI=\"a12.1", "DURATION=1.5,URI=\"a12.1"));
    let shown = problems[0].to_string();
    assert_eq!(
        shown,
        "line 19: PartOver { nanos: 1500000000, target: 1000000000 } (RFC 8216bis 4.4.4.9)"
    );
    let problems = check_media(&GOOD.replace("a10.m4s\n", "a10.m4s\r\n"));
    assert_eq!(problems[0].to_string(), "line 12: CarriageReturn (our promise)");
    assert!(problems[0].what.is_ours());
}
