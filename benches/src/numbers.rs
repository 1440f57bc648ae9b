//! `numbers`: does penstock reach the figures that were promised? Each beside its bar.

mod ratios;
pub mod rtsp_udp;
pub mod scale;

use std::time::Duration;

use anyhow::bail;

use crate::placement;
use crate::proc::{self, Kernel, Memory};
use crate::report::{Good, Report};
use crate::scene::{Audience, Findings, Interrupted, Packaging, Stage, pause, report_cost};
use crate::segmented;
use crate::server::{Settings, counter};

/// The canonical clip, kb/s.
const CANONICAL: u32 = 2600;
/// So low that thousands of viewers fit on two cores.
const LOW: u32 = 100;
const SETTLE: Duration = Duration::from_secs(3);
const VERIFYING: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Number {
    /// First byte to a new viewer while 500 watch.
    Join,
    /// Publisher to viewer, each packaging.
    Latency,
    /// 1,000 viewers of 2.6 Mb/s without a stall.
    Thousand,
    /// State per viewer.
    Memory,
    /// A published stream that nobody watches.
    Idle,
    /// 1,000 joins in one second beside 500 who watch.
    Joins,
    /// 5,000 viewers beside what 500 cost each.
    Crowd,
    /// 10,000 viewers for a minute, and their memory.
    TenThousand,
    /// Stopped readers beside others.
    Slow,
    /// 200 streams beside one with as many viewers.
    Streams,
    /// Publisher to viewer with 100 and 1,000 viewers.
    LoadedLatency,
    /// 1,000 FLV viewers against the floor: CPU per GB.
    FloorFlv,
    /// 1,000 RTMP viewers against the floor.
    FloorRtmp,
    /// 1,000 RTMP viewers, three turns a second, against the floor.
    FloorMerged,
    /// 1,000 RTSP viewers over TCP against the floor.
    RtspTcp,
    /// 200 RTSP viewers by UDP: packets per CPU second, cut by the kernel and one by one.
    RtspUdp,
    /// 1,000 HLS viewers: CPU per GB against nginx with the same segments as files.
    HlsNginx,
    /// 100 LL-HLS viewers: a part's end to its last byte.
    LlHls,
    /// 1,000 viewers who wait for one part, and for one playlist, against the floor.
    LlBurst,
    All,
}

/// Measures one number, or all.
///
/// # Errors
/// As [`crate::load::run`]; a bar that is missed is a result.
pub fn run(number: Number, settings: &Settings) -> anyhow::Result<Report> {
    let mut report = Report::new();
    report.title("machine");
    for (name, text) in proc::machine().into_iter().chain(placement::told()?) {
        report.fact(name, text);
    }
    let shards = if settings.shards == 0 {
        "all cores".into()
    } else {
        settings.shards.to_string()
    };
    report.fact("shards", shards);
    let scenes: [(Number, Scene); 19] = [
        (Number::Join, join),
        (Number::Latency, latency),
        (Number::Thousand, thousand),
        (Number::Memory, memory),
        (Number::Idle, idle),
        (Number::Joins, scale::joins),
        (Number::Crowd, scale::crowd),
        (Number::TenThousand, scale::ten_thousand),
        (Number::Slow, scale::slow),
        (Number::Streams, scale::streams),
        (Number::LoadedLatency, scale::latency),
        (Number::FloorFlv, ratios::flv),
        (Number::FloorRtmp, ratios::rtmp),
        (Number::FloorMerged, ratios::merged),
        (Number::RtspTcp, ratios::rtsp),
        (Number::RtspUdp, rtsp_udp::scene),
        (Number::HlsNginx, segmented::hls_nginx),
        (Number::LlHls, segmented::ll_hls),
        (Number::LlBurst, segmented::ll_burst),
    ];
    for (one, scene) in scenes {
        if number == one || number == Number::All {
            match scene(settings) {
                Ok(of_scene) => report.append(of_scene),
                Err(error) if error.is::<Interrupted>() => {
                    report.fact("ended early", "by the user: what is above was measured until then");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(report)
}

type Scene = fn(&Settings) -> anyhow::Result<Report>;

fn join(settings: &Settings) -> anyhow::Result<Report> {
    let mut stage = Stage::start(settings, CANONICAL)?;
    let target = stage.target(Packaging::Flv)?;
    let mut audience = Audience::new("join")?;
    audience.open(&target, 500, VERIFYING, Duration::from_secs(5))?;
    audience.watch(SETTLE, Some(&mut stage))?;
    audience.begin_window()?;
    let before = audience.moment(Some(stage.server().pid()))?;
    audience.join(&target, 200, Duration::from_secs(10))?;
    let after = audience.moment(Some(stage.server().pid()))?;
    stage.check()?;
    let found = audience.end()?;
    let mut report = Report::new();
    report.title("join: 200 more FLV viewers one by one while 500 watch, 2.6 Mb/s");
    let p99 = found.first_byte_joining.quantile_millis(0.99);
    report.bar("first byte p99", p99, "ms", Good::AtMost, 20.0);
    report.bar("viewers failed", found.failed as f64, "", Good::AtMost, 0.0);
    found.report(&mut report);
    report_cost(&mut report, before, after);
    Ok(report)
}

fn latency(settings: &Settings) -> anyhow::Result<Report> {
    let mut stage = Stage::start(settings, CANONICAL)?;
    let mut report = Report::new();
    report.title("latency: 20 viewers of each packaging, 4 of them verifying, 2.6 Mb/s");
    for (packaging, bar) in [
        (Packaging::Rtmp, Some(40.0)),
        (Packaging::Flv, Some(120.0)),
        (Packaging::Ts, Some(120.0)),
        (Packaging::Mp4, None),
    ] {
        let found = watched(&mut stage, packaging, 20, Duration::from_secs(8))?;
        let (name, p50) = (packaging.name(), found.latency.quantile_millis(0.5));
        match bar {
            Some(bar) => report.bar(&format!("{name} added latency p50"), p50, "ms", Good::AtMost, bar),
            None => report.figure(&format!("{name} added latency p50, its chunk included"), p50, "ms"),
        }
        for (label, quantile) in [("p99", 0.99), ("max", 1.0)] {
            let value = found.latency.quantile_millis(quantile);
            report.figure(&format!("{name} added latency {label}"), value, "ms");
        }
        report.figure(&format!("{name} frames measured"), found.latency.count() as f64, "");
        let bad = found.failed + found.stalled + found.frames_lost;
        report.bar(
            &format!("{name} failed, stalled, frames lost"),
            bad as f64,
            "",
            Good::AtMost,
            0.0,
        );
    }
    let late = stage.publisher().late_max().as_secs_f64() * 1000.0;
    report.figure("publisher late by at most (not in the above)", late, "ms");
    Ok(report)
}

/// Opens viewers, lets them settle and watches.
pub fn watched(stage: &mut Stage, packaging: Packaging, viewers: u32, time: Duration) -> anyhow::Result<Findings> {
    let target = stage.target(packaging)?;
    let mut audience = Audience::new(packaging.name())?;
    audience.open(&target, viewers, VERIFYING, Duration::from_millis(500))?;
    audience.watch(Duration::from_secs(1), Some(stage))?;
    audience.begin_window()?;
    audience.watch(time, Some(stage))?;
    audience.end()
}

fn thousand(settings: &Settings) -> anyhow::Result<Report> {
    let mut stage = Stage::start(settings, CANONICAL)?;
    let target = stage.target(Packaging::Flv)?;
    let mut audience = Audience::new("thousand")?;
    audience.open(&target, 1000, VERIFYING, Duration::from_secs(5))?;
    audience.watch(SETTLE, Some(&mut stage))?;
    audience.begin_window()?;
    let counted = stage.server().counters()?;
    let before = audience.moment(Some(stage.server().pid()))?;
    audience.watch(Duration::from_secs(20), Some(&mut stage))?;
    let after = audience.moment(Some(stage.server().pid()))?;
    let counted_after = stage.server().counters()?;
    let found = audience.end()?;
    let mut report = Report::new();
    report.title("thousand: 1,000 FLV viewers of 2.6 Mb/s for 20 s");
    report.bar("viewers stalled > 1 s", found.stalled as f64, "", Good::AtMost, 0.0);
    report.bar("viewers failed", found.failed as f64, "", Good::AtMost, 0.0);
    found.report(&mut report);
    report_cost(&mut report, before, after);
    for name in [
        "sends",
        "sendfiles",
        "sends_full",
        "turns",
        "cursors_skipped",
        "kernel_entries",
        "parks",
    ] {
        let rise = counter(&counted_after, name)?.saturating_sub(counter(&counted, name)?);
        let seconds = (after.at - before.at).as_secs_f64();
        report.figure(&format!("counter {name}"), rise as f64 / seconds, "/s");
    }
    Ok(report)
}

/// What a number of viewers holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    memory: Memory,
    blocks: u64,
    kernel: Kernel,
}

fn memory(settings: &Settings) -> anyhow::Result<Report> {
    let mut stage = Stage::start(settings, LOW)?;
    let target = stage.target(Packaging::Flv)?;
    let mut audience = Audience::new("memory")?;
    let empty = held(&stage)?;
    audience.open(&target, 1000, 0, Duration::from_secs(4))?;
    audience.watch(SETTLE, Some(&mut stage))?;
    let few = held(&stage)?;
    let few_playing = audience.playing();
    audience.open(&target, 3000, 0, Duration::from_secs(12))?;
    audience.watch(SETTLE, Some(&mut stage))?;
    let many = held(&stage)?;
    let many_playing = audience.playing();
    let found = audience.end()?;
    if many_playing <= few_playing {
        bail!(
            "{few_playing} viewers played first, {many_playing} at last: {:?}",
            found.reasons
        );
    }
    let viewers = (many_playing - few_playing) as f64;
    let growth = |few: u64, many: u64| (many as f64 - few as f64) / viewers;
    let mut report = Report::new();
    report.title("memory: growth from 1,000 to 4,000 FLV viewers of 100 kb/s");
    let anonymous = growth(few.memory.anonymous, many.memory.anonymous);
    report.bar(
        "anonymous private, per viewer",
        anonymous,
        "bytes",
        Good::AtMost,
        2048.0,
    );
    report.bar("viewers playing", many_playing as f64, "", Good::AtLeast, 4000.0);
    let blocks = growth(few.memory.pss_shared, many.memory.pss_shared);
    report.figure("budgeted blocks (shared), per viewer", blocks, "bytes");
    let first = (few.memory.anonymous as f64 - empty.memory.anonymous as f64) / few_playing as f64;
    report.figure("anonymous private of the first 1,000, per viewer", first, "bytes");
    report.figure(
        "kernel TCP buffers, both ends, per viewer",
        growth(few.kernel.buffers, many.kernel.buffers),
        "bytes",
    );
    report.figure(
        "kernel objects, both ends, per viewer",
        growth(few.kernel.slab, many.kernel.slab),
        "bytes",
    );
    for (viewers, held) in [(0, empty), (few_playing, few), (many_playing, many)] {
        let mut line = |what: &str, bytes: u64| {
            report.figure(&format!("{viewers} viewers: {what}"), bytes as f64 / 1024.0, "KiB");
        };
        line("anonymous private", held.memory.anonymous);
        line("PSS", held.memory.pss);
        line("  of it shared blocks", held.memory.pss_shared);
        line("kernel TCP buffers of the machine", held.kernel.buffers);
        line("kernel objects of the machine", held.kernel.slab);
        report.figure(&format!("{viewers} viewers: blocks used"), held.blocks as f64, "");
    }
    found.report(&mut report);
    Ok(report)
}

fn held(stage: &Stage) -> anyhow::Result<Held> {
    let counters = stage.server().counters()?;
    Ok(Held {
        memory: proc::memory(stage.server().pid())?,
        blocks: counter(&counters, "memory_blocks_used")?,
        kernel: proc::kernel()?,
    })
}

fn idle(settings: &Settings) -> anyhow::Result<Report> {
    let mut stage = Stage::start(settings, CANONICAL)?;
    pause(SETTLE)?;
    let seconds = 10;
    let counted = stage.server().counters()?;
    let before = proc::cpu(stage.server().pid())?;
    pause(Duration::from_secs(seconds))?;
    let cpu = proc::cpu(stage.server().pid())?.since(before);
    stage.check()?;
    let counted_after = stage.server().counters()?;
    let mut report = Report::new();
    report.title("idle: one published stream of 2.6 Mb/s, no viewer, 10 s");
    let share = |time: f64| 100.0 * time / seconds as f64;
    report.bar("server CPU", share(cpu.total()), "% core", Good::AtMost, 2.0);
    let muxed = counter(&counted_after, "frames_muxed")? as f64;
    report.bar("frames muxed", muxed, "", Good::AtMost, 0.0);
    report.figure("  user", share(cpu.user), "% core");
    report.figure("  system", share(cpu.system), "% core");
    for name in ["frames_in", "kernel_entries", "parks", "doorbells"] {
        let rise = counter(&counted_after, name)?.saturating_sub(counter(&counted, name)?);
        report.figure(&format!("counter {name}"), rise as f64 / seconds as f64, "/s");
    }
    Ok(report)
}
