//! Manifests that are broken in one way each: the checker says that, and nothing else.

use super::super::Naming;
use super::super::scene::{LATENCY, Scene};
use super::{Problem, Watcher, What, check};

const NOW: i64 = 40_000;

fn good(naming: Naming, is_low: bool) -> (String, i64) {
    let mut scene = Scene::new(0, 120);
    for cut in &mut scene.cuts[14..] {
        cut.start += 40.0;
    }
    scene.cuts[14].discontinuity = true;
    scene.cuts[14].pause = 40.0;
    let moment = scene.at(NOW);
    let mut text = String::new();
    assert!(moment.write(naming, is_low.then_some(LATENCY), &mut text));
    let now = moment.presentation.now_wall_micros;
    check(&text, now).assert_none(&text);
    (text, now)
}

/// The first `from` becomes `to`; all that is then found begins with `expected`. What is otherwise.
fn broken(text: &str, now: i64, (from, to, expected): (&str, &str, &str)) -> Vec<String> {
    if !text.contains(from) {
        return vec![format!("{from} is not there")];
    }
    let report = check(&text.replacen(from, to, 1), now);
    let mut wrong: Vec<String> = report
        .problems
        .iter()
        .filter(|problem| !format!("{:?}", problem.what).starts_with(expected))
        .map(|problem| format!("{from} -> {to}: {problem}, not {expected}"))
        .collect();
    if report.problem_count == 0 {
        wrong.push(format!("{from} -> {to}: nothing was found"));
    }
    wrong
}

#[track_caller]
fn all_broken(text: &str, now: i64, cases: &[(&str, &str, &str)]) {
    let wrong: Vec<String> = cases.iter().flat_map(|case| broken(text, now, *case)).collect();
    assert!(wrong.is_empty(), "{}\n{text}", wrong.join("\n"));
}

#[test]
fn a_broken_timeline_is_told() {
    let (text, now) = good(Naming::Timeline, false);
    let title = "<ProgramInformation><Title>a &lt;b&gt; &amp; &quot;c&quot;</Title></ProgramInformation>\n";
    all_broken(
        &text,
        now,
        &[
            ("</MPD>", "", "NotXml"),
            ("<Period ", "<Period x=\"&y;\" ", "NotXml"),
            ("urn:mpeg:dash:schema:mpd:2011", "urn:x", "NotMpd"),
            ("urn:mpeg:dash:profile:isoff-live:2011,", "", "Profile"),
            (" profiles=", " profile=", ""),
            ("type=\"dynamic\"", "type=\"live\"", ""),
            ("\" publishTime", "x\" publishTime", "M"),
            (" publishTime=", " published=", "Missing { attribute: \"publishTime\""),
            ("T09:46:40.000Z", "T09:46:40.000", "M"),
            (" availabilityStartTime=", " start=", "Missing"),
            (
                "availabilityStartTime=\"2026-11-25T09:46:40",
                "availabilityStartTime=\"2026-11-25T09:46:10",
                "EdgeBehind",
            ),
            (
                "availabilityStartTime=\"2026-11-25T09:46:40",
                "availabilityStartTime=\"2026-11-25T09:46:44",
                "EdgeAhead",
            ),
            (
                "publishTime=\"2026-11-25T09:47:20",
                "publishTime=\"2026-11-25T09:47:24",
                "Published",
            ),
            (
                "publishTime=\"2026-11-25T09:47:20",
                "publishTime=\"2026-11-25T09:46:20",
                "Published",
            ),
            (" minimumUpdatePeriod=\"PT2S\"", "", "Missing"),
            ("minimumUpdatePeriod=\"PT2S\"", "minimumUpdatePeriod=\"2\"", "M"),
            (" timeShiftBufferDepth=\"PT20S\"", "", "Missing"),
            (
                "suggestedPresentationDelay=\"PT6S\"",
                "suggestedPresentationDelay=\"PT21S\"",
                "Delay",
            ),
            (" minBufferTime=\"PT2S\"", "", "Missing"),
            (
                "maxSegmentDuration=\"PT3S\"",
                "maxSegmentDuration=\"PT1.9S\"",
                "SegmentTooLong",
            ),
            (
                title,
                "<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:direct:2014\" value=\"x\"/>\n<Location>x</Location>",
                "Order",
            ),
            (title, "<Name/>", "Unknown"),
            ("http-xsdate", "sundial", "Clock"),
            (" value=\"../time.txt\"", "", "Clock"),
            (
                "<Period id=\"p0\" start",
                "<Period start",
                "Missing { attribute: \"id\"",
            ),
            ("<Period id=\"p0\"", "<Period id=\"p1\"", "DuplicateId"),
            (
                "start=\"PT28.040S\"",
                "begin=\"PT28.040S\"",
                "Missing { attribute: \"start\"",
            ),
            (" start=\"PT0S\"", " start=\"PT0S\" duration=\"PT30S\"", "PeriodEnd"),
            (
                "presentationTimeOffset=\"28040\"",
                "presentationTimeOffset=\"28060\"",
                "TimeOffset",
            ),
            ("bandwidth=\"130000\"", "bandwidth=\"0\"", "Bandwidth"),
            (" bandwidth=\"130000\"", "", ""),
            ("codecs=\"mp4a.40.2\"", "codecs=\"\"", "Codecs"),
            ("codecs=\"avc1.640018\"", "codecs=\"avc1.64018\"", "Codecs"),
            ("codecs=\"avc1.640018\"", "codecs=\"mp4a.40.2\"", "Codecs"),
            (" codecs=\"mp4a.40.2\"", "", ""),
            ("Representation id=\"2\"", "Representation id=\"1\"", "DuplicateId"),
            ("Representation id=\"2\"", "Representation id=\"a b\"", "M"),
            ("frameRate=\"25\"", "frameRate=\"25/0\"", "M"),
            ("width=\"640\"", "width=\"-1\"", "M"),
        ],
    );
}

#[test]
fn a_broken_list_of_segments_is_told() {
    let (text, now) = good(Naming::Timeline, false);
    let template = "timescale=\"1000\"";
    all_broken(
        &text,
        now,
        &[
            (template, "timescale=\"0\"", "M"),
            (template, "timescale=\"1000\" duration=\"2000\"", "Addressing"),
            (
                "$RepresentationID$/chunk_$Time$",
                "$RepresentationID$/chunk",
                "Template",
            ),
            ("$Time$", "$Time$_$Number$", "Template"),
            ("$Time$", "$Tme$", "Template"),
            ("$Time$", "$Time", "Template"),
            ("$Time$", "$Time%5d$", "Template"),
            ("$RepresentationID$/init", "$Number$/init", "Template"),
            (".m4s?e=a1B2c3\" init", ".m4s?e=a1 B2c3\" init", "Template"),
            (" r=\"4\"/>", " r=\"-1\"/>", "M"),
            ("d=\"2000\"", "d=\"0\"", ""),
            ("d=\"2000\"", "", ""),
            ("</SegmentTimeline>", "<S t=\"1\" d=\"5\"/></SegmentTimeline>", "O"),
            (
                "</SegmentTimeline>",
                "<S t=\"60000\" d=\"5\"/></SegmentTimeline>",
                "Outside",
            ),
            ("</SegmentTimeline>", "<T/></SegmentTimeline>", ""),
        ],
    );
}

#[test]
fn what_is_not_there_is_told() {
    let (text, now) = good(Naming::Timeline, false);
    for (from, until, expected) in [
        ("<S t=", "</SegmentTimeline>", "NoSegments"),
        ("<SegmentTemplate", "</SegmentTemplate>\n", ""),
        ("<Representation", "</AdaptationSet>", "NoRepresentation"),
        ("<AdaptationSet", "</Period>", "NoAdaptationSet"),
        ("<Period", "<UTCTiming", "NoPeriod"),
        ("<UTCTiming", "</MPD>", "Clock"),
    ] {
        let at = text.find(from).unwrap();
        let mut end = at + text[at..].find(until).unwrap();
        if from == "<SegmentTemplate" {
            end += until.len();
        }
        // Up to the last Period for those in between.
        if from == "<Period" {
            end = text.find(until).unwrap();
        }
        let part = &text[at..end];
        all_broken(&text, now, &[(part, "", expected)]);
    }
}

#[test]
fn a_broken_low_latency_manifest_is_told() {
    let (text, now) = good(Naming::Number, true);
    all_broken(
        &text,
        now,
        &[
            (" availabilityTimeComplete=\"false\"", "", "AvailabilityOffset"),
            (" availabilityTimeOffset=\"1.667\"", "", "AvailabilityOffset"),
            (
                "availabilityTimeOffset=\"1.667\"",
                "availabilityTimeOffset=\"2\"",
                "AvailabilityOffset",
            ),
            (
                "availabilityTimeOffset=\"1.667\"",
                "availabilityTimeOffset=\"-1\"",
                "AvailabilityOffset",
            ),
            ("availabilityTimeOffset=\"1.667\"", "availabilityTimeOffset=\"x\"", ""),
            ("target=\"1500\"", "target=\"900\"", "Latency"),
            ("target=\"1500\"", "target=\"7000\"", "Latency"),
            (" target=\"1500\"", "", "Latency"),
            ("PlaybackRate min=\"0.96\"", "PlaybackRate min=\"1.01\"", "Latency"),
            (" duration=\"2000\"", " duration=\"0\"", ""),
            (" duration=\"2000\"", "", "Addressing"),
            ("endNumber=\"30\"", "endNumber=\"3\"", "NoSegments"),
            ("$Number$", "$Time$", "Template"),
            ("duration=\"2000\" a", "duration=\"4000\" a", "SegmentTooLong"),
        ],
    );
}

#[test]
fn segments_of_a_set_that_do_not_begin_together_are_told() {
    let (text, now) = good(Naming::Timeline, false);
    // Sound's segments begin a little apart from the picture's.
    let one = text.replace(
        "</AdaptationSet>\n<AdaptationSet id=\"2\" contentType=\"audio\" mimeType=\"audio/mp4\" segmentAlignment=\"true\" \
         startWithSAP=\"1\">\n<Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"main\"/>\n",
        "",
    );
    let one = one.replace("mp4a.40.2", "avc1.640018");
    let report = check(&one, now);
    assert!(!report.problems.is_empty());
    for problem in &report.problems {
        assert!(format!("{:?}", problem.what).starts_with("NotAligned"), "{problem}");
    }
    check(
        &one.replace("segmentAlignment=\"true\"", "segmentAlignment=\"false\""),
        now,
    )
    .assert_none(&one);
}

#[test]
fn a_static_manifest_ends_where_its_segments_do() {
    let scene = Scene::new(0, 20);
    let moment = scene.at(scene.end());
    let now = moment.presentation.now_wall_micros;
    let mut text = String::new();
    assert!(moment.write(Naming::Timeline, Some(LATENCY), &mut text));
    check(&text, now).assert_none(&text);
    assert!(
        text.contains("type=\"static\"") && !text.contains("availabilityTimeOffset"),
        "{text}"
    );
    all_broken(
        &text,
        now,
        &[
            (
                "mediaPresentationDuration=\"PT20",
                "mediaPresentationDuration=\"PT30",
                "EndsAt",
            ),
            (" mediaPresentationDuration=", " duration=", "Missing"),
            (
                " minBufferTime",
                " minimumUpdatePeriod=\"PT2S\" minBufferTime",
                "Forbidden",
            ),
            (
                "timescale=\"1000\"",
                "timescale=\"1000\" availabilityTimeOffset=\"1\"",
                "AvailabilityOffset",
            ),
        ],
    );
}

#[test]
fn a_broken_update_is_told() {
    let scene = Scene::new(0, 120);
    let mut first = String::new();
    let mut second = String::new();
    let (before, after) = (scene.at(40_100), scene.at(42_300));
    assert!(before.write(Naming::Timeline, None, &mut first));
    assert!(after.write(Naming::Timeline, None, &mut second));
    let (then, now) = (before.presentation.now_wall_micros, after.presentation.now_wall_micros);
    let updated = |text: &str| {
        let mut watcher = Watcher::new();
        watcher.push(&first, then).assert_none(&first);
        watcher.push(text, now)
    };
    updated(&second).assert_none(&second);
    let all = "<S t=\"22080\" d=\"2000\" r=\"9\"/>";
    for (from, to, expected) in [
        (
            "availabilityStartTime=\"2026-11-25T09:46:40.000",
            "availabilityStartTime=\"2026-11-25T09:46:40.001",
            "StartChanged",
        ),
        (
            "publishTime=\"2026-11-25T09:47:22",
            "publishTime=\"2026-11-25T09:47:19",
            "PublishedBefore",
        ),
        (
            "publishTime=\"2026-11-25T09:47:22.340",
            "publishTime=\"2026-11-25T09:47:20.140",
            "PublishedBefore",
        ),
        ("id=\"p0\"", "id=\"p1\"", "PeriodGone"),
        ("start=\"PT0S\"", "start=\"PT0.040S\"", ""),
        ("codecs=\"mp4a.40.2\"", "codecs=\"mp4a.40.5\"", "RepresentationChanged"),
        ("g=0", "g=1", "RepresentationChanged"),
        ("Representation id=\"2\"", "Representation id=\"3\"", "Representation"),
        (all, "<S t=\"22080\" d=\"2000\" r=\"7\"/>", "SegmentGone"),
        (
            all,
            "<S t=\"22080\" d=\"2000\" r=\"6\"/><S d=\"1999\"/><S d=\"2001\" r=\"1\"/>",
            "Segment",
        ),
        (all, "<S t=\"18080\" d=\"2000\" r=\"11\"/>", "SegmentInserted"),
        (
            all,
            "<S t=\"22080\" d=\"2000\" r=\"3\"/><S t=\"32080\" d=\"2000\" r=\"4\"/>",
            "SegmentGone",
        ),
    ] {
        assert!(second.contains(from), "{from} is not in {second}");
        let report = updated(&second.replacen(from, to, 1));
        assert!(report.problem_count > 0, "{from} -> {to}: nothing was found");
        for problem in &report.problems {
            assert!(
                format!("{:?}", problem.what).starts_with(expected),
                "{from} -> {to}: {problem}"
            );
        }
    }
}

/// What ffmpeg 5.1 wrote with `-f dash` of one live stream, each text at its `publishTime`: another's good manifests. One thing is
/// wrong with them, which is that a segment of sound lasts a packet longer than the longest is said to.
#[test]
fn manifests_of_ffmpeg_pass() {
    let texts = [
        include_str!("../testdata/ffmpeg-5.1-live-1.mpd"),
        include_str!("../testdata/ffmpeg-5.1-live-2.mpd"),
        include_str!("../testdata/ffmpeg-5.1-live-3.mpd"),
    ];
    let mut watcher = Watcher::new();
    for text in texts {
        let (_, published) = text.split_once("publishTime=\"").unwrap();
        let now = super::super::time::parse_instant(published.split('"').next().unwrap()).unwrap();
        let report = watcher.push(text, now);
        let is_known = |problem: &Problem| {
            let (duration, duration_max) = (2_020_136, 2_000_000);
            problem.what == What::SegmentTooLong { duration, duration_max }
        };
        assert!(report.problems.iter().all(is_known), "{:?}", report.problems);
        assert_eq!((report.is_dynamic, report.representations), (true, 2));
    }
}

#[test]
fn an_ended_presentation_does_not_go_on() {
    let scene = Scene::new(0, 20);
    let mut watcher = Watcher::new();
    let mut text = String::new();
    for (now, is_fine) in [(18_000, true), (20_000, true), (19_000, false)] {
        let mut moment = scene.at(now);
        moment.presentation.now_wall_micros = super::super::scene::WALL_AT_ZERO + 21_000_000 + i64::from(!is_fine);
        moment.presentation.now_wall_micros -= i64::from(now == 18_000) * 2_000_000;
        assert!(moment.write(Naming::Timeline, None, &mut text));
        let report = watcher.push(&text, moment.presentation.now_wall_micros);
        let reborn = report.problems.iter().any(|problem| problem.what == What::Reborn);
        assert_eq!(reborn, !is_fine, "{:?}", report.problems);
    }
}
