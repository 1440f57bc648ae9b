//! What issue 4 promises of fan-out at scale: many joins, many viewers, slow ones, many streams, and latency under load.
//!
//! The numbers are taken with the server on one core and the bench on the other (`--shards 1 --server-cpus 0
//! --cpus 1`), `ten-thousand` with all shards.

use std::time::Duration;

use anyhow::bail;

use crate::audience::{Audience, Findings, Moment};
use crate::proc;
use crate::quantity::Verify;
use crate::report::{Good, Report};
use crate::scene::{Packaging, Stage, pause, report_cost};
use crate::seats::{Pattern, Plan};
use crate::server::{Settings, counter};

const CANONICAL: u32 = 2600;
const LOW: u32 = 600;
/// Of ten thousand viewers, so that two cores carry them.
const LOWEST: u32 = 300;
const VERIFYING: u32 = 4;
const SETTLE: Duration = Duration::from_secs(3);
const STALL_MILLIS: f64 = 1000.0;

fn plan(viewers: u32, pattern: Pattern, ramp: Duration) -> Plan {
    Plan {
        viewers,
        pattern,
        ramp,
        streams: 1,
        zipf: None,
        slow: 0.0,
        slow_bytes_per_second: 0,
        path_bytes_per_second: None,
        verify: Verify::Some(VERIFYING),
    }
}

/// At most a thousand joins a second.
fn ramp(viewers: u32) -> Duration {
    Duration::from_millis(u64::from(viewers).max(500))
}

/// One run: viewers come, settle and are watched.
struct Run {
    found: Findings,
    before: Moment,
    after: Moment,
}

impl Run {
    fn of(stage: &mut Stage, label: &str, packaging: Packaging, plan: &Plan, time: Duration) -> anyhow::Result<Run> {
        let targets = stage.targets(packaging)?;
        let mut audience = Audience::new(label)?;
        audience.lasts(plan.ramp + SETTLE + time);
        audience.open_plan(&targets.into(), plan)?;
        audience.watch(SETTLE, Some(stage))?;
        audience.begin_window()?;
        let before = audience.moment(Some(stage.server().pid()))?;
        audience.watch(time, Some(stage))?;
        let after = audience.moment(Some(stage.server().pid()))?;
        let found = audience.end()?;
        Ok(Run { found, before, after })
    }

    fn seconds(&self) -> f64 {
        (self.after.at - self.before.at).as_secs_f64()
    }

    /// Share of a core that the server had.
    fn cores(&self) -> f64 {
        match (self.before.cpu, self.after.cpu) {
            (Some(before), Some(after)) => after.since(before).total() / self.seconds(),
            _ => f64::NAN,
        }
    }

    /// The server's CPU time for a second of one viewer, ms.
    fn millis_per_viewer_second(&self) -> f64 {
        1000.0 * self.cores() * 2.0 / (self.before.playing + self.after.playing) as f64
    }
}

fn bar_all_well(report: &mut Report, name: &str, found: &Findings) {
    report.bar(
        &format!("{name}viewers stalled > 1 s"),
        found.stalled as f64,
        "",
        Good::AtMost,
        0.0,
    );
    report.bar(
        &format!("{name}viewers failed"),
        found.failed as f64,
        "",
        Good::AtMost,
        0.0,
    );
}

pub fn joins(settings: &Settings) -> anyhow::Result<Report> {
    let mut stage = Stage::start(settings, CANONICAL)?;
    let targets = [stage.target(Packaging::Flv)?].into();
    // Two audiences, so that watchers and joiners are told apart.
    let mut watchers = Audience::new("joins: watchers")?;
    watchers.open_plan(&targets, &plan(500, Pattern::Ramp, ramp(500)))?;
    watchers.watch(SETTLE, Some(&mut stage))?;
    watchers.begin_window()?;
    let mut joiners = Audience::new("joins")?;
    let pid = stage.server().pid();
    let before = both(&joiners, &watchers, pid)?;
    let joining = Plan {
        verify: Verify::Some(0),
        ..plan(1000, Pattern::Ramp, Duration::from_secs(1))
    };
    joiners.open_plan(&targets, &joining)?;
    joiners.watch(Duration::from_secs(4), Some(&mut stage))?;
    let after = both(&joiners, &watchers, pid)?;
    let (joined, watched) = (joiners.end()?, watchers.end()?);
    let mut report = Report::new();
    report.title("joins: 1,000 FLV viewers in one second while 500 watch, 2.6 Mb/s");
    // The last asks at the end of the second, and all play within half of another.
    let slowest = joined.first_byte.quantile_millis(1.0);
    report.bar("first byte of the slowest", slowest, "ms", Good::AtMost, 500.0);
    report.bar(
        "joined viewers that played",
        joined.first_byte.count() as f64,
        "",
        Good::AtLeast,
        1000.0,
    );
    report.bar("joined viewers failed", joined.failed as f64, "", Good::AtMost, 0.0);
    bar_all_well(&mut report, "watching ", &watched);
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        let value = joined.first_byte.quantile_millis(quantile);
        report.figure(&format!("first byte, joining, {name}"), value, "ms");
    }
    let gap = watched.gap.quantile_millis(1.0);
    report.figure("longest gap of a watcher", gap, "ms");
    report_cost(&mut report, before, after);
    Ok(report)
}

/// A moment of two audiences of one server.
fn both(one: &Audience, other: &Audience, pid: u32) -> anyhow::Result<Moment> {
    let (one, other) = (one.moment(Some(pid))?, other.moment(None)?);
    Ok(Moment {
        bytes: one.bytes + other.bytes,
        playing: one.playing + other.playing,
        ..one
    })
}

pub fn crowd(settings: &Settings) -> anyhow::Result<Report> {
    let mut report = Report::new();
    report.title("crowd: 500 and 5,000 FLV viewers of 600 kb/s, 20 s each");
    let mut stage = Stage::start(settings, LOW)?;
    let time = Duration::from_secs(20);
    let few = Run::of(
        &mut stage,
        "crowd of 500",
        Packaging::Flv,
        &plan(500, Pattern::Ramp, ramp(500)),
        time,
    )?;
    let many = Run::of(
        &mut stage,
        "crowd of 5,000",
        Packaging::Flv,
        &plan(5000, Pattern::Ramp, ramp(5000)),
        time,
    )?;
    let bar = few.millis_per_viewer_second();
    let value = many.millis_per_viewer_second();
    report.bar("5,000: server CPU per viewer-second", value, "ms", Good::AtMost, bar);
    bar_all_well(&mut report, "5,000: ", &many.found);
    report.figure("500: server CPU per viewer-second", bar, "ms");
    bar_all_well(&mut report, "500: ", &few.found);
    many.found.report(&mut report);
    report_cost(&mut report, many.before, many.after);
    Ok(report)
}

pub fn ten_thousand(settings: &Settings) -> anyhow::Result<Report> {
    let mut stage = Stage::start(settings, LOWEST)?;
    let pid = stage.server().pid();
    let targets = [stage.target(Packaging::Flv)?].into();
    let mut audience = Audience::new("ten-thousand")?;
    audience.lasts(ramp(10_000) + 2 * SETTLE + Duration::from_secs(60));
    audience.open_plan(&targets, &plan(1000, Pattern::Ramp, ramp(1000)))?;
    audience.watch(SETTLE, Some(&mut stage))?;
    let (few, few_playing) = (proc::memory(pid)?, audience.playing());
    let others = Plan {
        verify: Verify::Some(0),
        ..plan(9000, Pattern::Ramp, ramp(9000))
    };
    audience.open_plan(&targets, &others)?;
    audience.watch(SETTLE, Some(&mut stage))?;
    audience.begin_window()?;
    let before = audience.moment(Some(pid))?;
    audience.watch(Duration::from_secs(60), Some(&mut stage))?;
    let after = audience.moment(Some(pid))?;
    let many = proc::memory(pid)?;
    let found = audience.end()?;
    if after.playing <= few_playing {
        bail!(
            "{few_playing} viewers played first, {} at last: {:?}",
            after.playing,
            found.reasons
        );
    }
    let mut report = Report::new();
    report.title("ten-thousand: FLV viewers of 300 kb/s for 60 s");
    report.bar(
        "viewers playing at the end",
        after.playing as f64,
        "",
        Good::AtLeast,
        10_000.0,
    );
    bar_all_well(&mut report, "", &found);
    let growth = (many.anonymous as f64 - few.anonymous as f64) / (after.playing - few_playing) as f64;
    report.bar(
        "anonymous private, per viewer from 1,000 on",
        growth,
        "bytes",
        Good::AtMost,
        2048.0,
    );
    found.report(&mut report);
    report_cost(&mut report, before, after);
    Ok(report)
}

pub fn slow(settings: &Settings) -> anyhow::Result<Report> {
    const PAIRS: usize = 5;
    let mut stage = Stage::start(settings, CANONICAL)?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let (mut longest, mut failed, mut closed) = (0.0f64, 0, 0);
    for pair in 1..=PAIRS {
        for slow in [0.0, 0.2] {
            let label = format!("slow {pair}/{PAIRS}{}", if slow > 0.0 { ", with" } else { ", without" });
            let plan = Plan {
                slow,
                ..plan(500, Pattern::Ramp, ramp(500))
            };
            let run = Run::of(&mut stage, &label, Packaging::Flv, &plan, Duration::from_secs(20))?;
            let p99 = run.found.gap.quantile_millis(0.99);
            if slow > 0.0 {
                with.push(p99)
            } else {
                without.push(p99)
            }
            longest = longest.max(run.found.gap.quantile_millis(1.0));
            failed += run.found.failed;
            closed += run.found.slow_closed;
        }
    }
    let mut report = Report::new();
    report.title("slow: 500 FLV viewers of 2.6 Mb/s, with 20 % of them stopped and without, 5 times 20 s each");
    let (without, with) = (median(without), median(with));
    let bar = (1.25 * without).max(without + 15.0);
    report.bar("with: the others' gap p99, median of 5", with, "ms", Good::AtMost, bar);
    report.bar("longest gap of any other", longest, "ms", Good::AtMost, STALL_MILLIS);
    report.bar("others failed", failed as f64, "", Good::AtMost, 0.0);
    report.figure("without: gap p99, median of 5", without, "ms");
    report.figure("stopped readers closed by the server", closed as f64, "");
    Ok(report)
}

pub fn streams(settings: &Settings) -> anyhow::Result<Report> {
    const STREAMS: u32 = 200;
    let time = Duration::from_secs(20);
    let mut stage = Stage::start_streams(settings, LOW, STREAMS)?;
    pause(SETTLE)?;
    let before = proc::cpu(stage.server().pid())?;
    pause(time)?;
    let ingest = proc::cpu(stage.server().pid())?.since(before).total() / time.as_secs_f64();
    stage.check()?;
    let viewers = Plan {
        streams: STREAMS as usize,
        ..plan(10 * STREAMS, Pattern::Ramp, ramp(10 * STREAMS))
    };
    let many = Run::of(&mut stage, "streams: 200 x 10", Packaging::Flv, &viewers, time)?;
    // A budget too small for 200 rings ends feeds: nothing else in this scene would say so.
    let ended = counter(&stage.server().counters()?, "feeds_ended_memory")?;
    drop(stage);
    let mut stage = Stage::start(settings, LOW)?;
    let viewers = plan(10 * STREAMS, Pattern::Ramp, ramp(10 * STREAMS));
    let one = Run::of(&mut stage, "streams: 1 x 2,000", Packaging::Flv, &viewers, time)?;
    let mut report = Report::new();
    report.title("streams: 200 streams x 10 FLV viewers of 600 kb/s, and one x 2,000, 20 s each");
    let each = 100.0 * ingest / f64::from(STREAMS);
    report.bar(
        "ingest only, server CPU per publisher",
        each,
        "% core",
        Good::AtMost,
        0.15,
    );
    let fan_out = 100.0 * (many.cores() - ingest);
    report.bar(
        "200 x 10 less ingest, server CPU",
        fan_out,
        "% core",
        Good::AtMost,
        130.0 * one.cores(),
    );
    bar_all_well(&mut report, "200 x 10: ", &many.found);
    report.bar(
        "200 x 10: feeds ended for want of memory",
        ended as f64,
        "",
        Good::AtMost,
        0.0,
    );
    bar_all_well(&mut report, "1 x 2,000: ", &one.found);
    report.figure("1 x 2,000, server CPU", 100.0 * one.cores(), "% core");
    report.figure("ratio (bar 1.3)", (many.cores() - ingest) / one.cores(), "");
    let late = stage.publisher().late_max().as_secs_f64() * 1000.0;
    report.figure("publisher late by at most", late, "ms");
    many.found.report(&mut report);
    Ok(report)
}

pub fn latency(settings: &Settings) -> anyhow::Result<Report> {
    let mut report = Report::new();
    report.title("loaded latency: viewers of 2.6 Mb/s, 4 of them verifying, 20 s each");
    let mut stage = Stage::start(settings, CANONICAL)?;
    for (packaging, viewers, bar) in [
        (Packaging::Rtmp, 100, 15.0),
        (Packaging::Rtmp, 1000, 100.0),
        (Packaging::Flv, 1000, 160.0),
    ] {
        let name = format!("{viewers} {}: ", packaging.name());
        let plan = plan(viewers, Pattern::Ramp, ramp(viewers));
        let run = Run::of(&mut stage, &name, packaging, &plan, Duration::from_secs(20))?;
        let latency = &run.found.latency;
        report.bar(
            &format!("{name}added latency p99"),
            latency.quantile_millis(0.99),
            "ms",
            Good::AtMost,
            bar,
        );
        for (label, quantile) in [("p50", 0.5), ("p99.9", 0.999), ("max", 1.0)] {
            let value = latency.quantile_millis(quantile);
            report.figure(&format!("{name}added latency {label}"), value, "ms");
        }
        report.figure(&format!("{name}frames measured"), latency.count() as f64, "");
        report.bar(
            &format!("{name}frames lost"),
            run.found.frames_lost as f64,
            "",
            Good::AtMost,
            0.0,
        );
        bar_all_well(&mut report, &name, &run.found);
        report.figure(&format!("{name}server CPU"), 100.0 * run.cores(), "% core");
    }
    let late = stage.publisher().late_max().as_secs_f64() * 1000.0;
    report.figure("publisher late by at most (in the above)", late, "ms");
    Ok(report)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![5.0, 1.0, 3.0]), 3.0);
        assert!(median(Vec::new()).is_nan());
    }
}
