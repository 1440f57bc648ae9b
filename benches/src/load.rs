//! `load`: what do N viewers of one stream cost, and how well are they served?

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::clip::Clip;
use crate::proc;
use crate::publish::Publisher;
use crate::report::Report;
use crate::scene::{Audience, Moment, Packaging, Stage, clips, report_cost};
use crate::server::Settings;
use crate::target::Target;

/// Viewers have their start burst behind them.
const SETTLE: Duration = Duration::from_secs(2);

/// What is watched, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Another server's stream, http:// or rtmp://, in place of a penstock that is started for the run.
    #[arg(long)]
    pub url: Option<String>,
    /// Process of that server, for its CPU time and memory.
    #[arg(long, requires = "url")]
    pub pid: Option<u32>,
    /// rtmp:// URL where that server takes the stamped clip; without it no latency is measured.
    #[arg(long, requires = "url")]
    pub publish: Option<String>,
    /// How the started penstock hands out the stream.
    #[arg(long, value_enum, default_value = "flv", conflicts_with = "url")]
    pub packaging: Packaging,
    /// Viewers.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    pub viewers: u32,
    /// How many of them read their bytes and measure latency.
    #[arg(long, default_value_t = 4)]
    pub verifying: u32,
    /// Seconds in which they ask, evenly spread.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub ramp: u64,
    /// Seconds that are measured (RTMP viewers answer no ping: penstock closes them after 120).
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Further viewers that join one by one in that time.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub joins: u32,
    /// Bit rate of the canonical clip, kb/s.
    #[arg(long, default_value_t = 2600)]
    pub bitrate: u32,
}

/// The server under load, ours or another's.
enum Subject {
    Own(Box<Stage>),
    Other {
        pid: Option<u32>,
        /// Held: dropping it ends the stream.
        publisher: Option<Publisher>,
    },
}

/// Runs the load.
///
/// # Errors
/// The server could not be started or published to, or ended; the user ended it. Viewers that fail are a result.
pub fn run(options: &Options, settings: impl FnOnce() -> anyhow::Result<Settings>) -> anyhow::Result<Report> {
    let (mut subject, target) = prepare(options, settings)?;
    let mut audience = Audience::new("load")?;
    let ramp = Duration::from_secs(options.ramp);
    audience.open(&target, options.viewers, options.verifying, ramp)?;
    audience.watch(SETTLE, subject.stage())?;
    audience.begin_window()?;
    let before = audience.moment(subject.pid())?;
    let seconds = Duration::from_secs(options.seconds);
    if options.joins > 0 {
        audience.join(&target, options.joins, seconds)?;
    }
    audience.watch(seconds.saturating_sub(before.at.elapsed()), subject.stage())?;
    let after = audience.moment(subject.pid())?;
    report(options, &mut subject, audience, before, after)
}

fn prepare(
    options: &Options,
    settings: impl FnOnce() -> anyhow::Result<Settings>,
) -> anyhow::Result<(Subject, Target)> {
    let Some(url) = &options.url else {
        let stage = Stage::start(&settings()?, options.bitrate)?;
        let target = stage.target(options.packaging)?;
        return Ok((Subject::Own(Box::new(stage)), target));
    };
    let publisher = match &options.publish {
        Some(url) => {
            let clip = Arc::new(Clip::of(options.bitrate, &clips()?)?);
            let publisher = Publisher::start(&Target::parse(url)?, clip)?;
            // Another server may need a keyframe or two before it answers a viewer.
            crate::scene::pause(Duration::from_secs(5))?;
            Some(publisher)
        }
        None => None,
    };
    let pid = options.pid;
    if let Some(pid) = pid {
        proc::cpu(pid).context("--pid names no process")?;
    }
    Ok((Subject::Other { pid, publisher }, Target::parse(url)?))
}

fn report(
    options: &Options,
    subject: &mut Subject,
    audience: Audience,
    before: Moment,
    after: Moment,
) -> anyhow::Result<Report> {
    let mut report = Report::new();
    let what = match &options.url {
        Some(url) => url.clone(),
        None => format!("{} of {} kb/s", options.packaging.name(), options.bitrate),
    };
    report.title(format!("load: {} viewers of {what}", options.viewers));
    for (name, text) in proc::machine() {
        report.fact(name, text);
    }
    let memory = subject.pid().map(proc::memory).transpose()?;
    let kernel = proc::kernel()?;
    subject.check()?;
    audience.end()?.report(&mut report);
    report_cost(&mut report, before, after);
    if let Some(memory) = memory {
        report.figure("anonymous private memory", memory.anonymous as f64 / 1024.0, "KiB");
        report.figure("PSS", memory.pss as f64 / 1024.0, "KiB");
        report.figure("  of it shared blocks", memory.pss_shared as f64 / 1024.0, "KiB");
    }
    report.figure(
        "kernel TCP buffers of the machine",
        kernel.buffers as f64 / 1024.0,
        "KiB",
    );
    if let Some(publisher) = subject.publisher() {
        let late = publisher.late_max().as_secs_f64() * 1000.0;
        report.figure("publisher late by at most", late, "ms");
    }
    if before.playing == 0 {
        bail!("no viewer played:\n{}", report.table());
    }
    Ok(report)
}

impl Subject {
    fn stage(&mut self) -> Option<&mut Stage> {
        match self {
            Subject::Own(stage) => Some(stage),
            Subject::Other { .. } => None,
        }
    }

    fn pid(&self) -> Option<u32> {
        match self {
            Subject::Own(stage) => Some(stage.server().pid()),
            Subject::Other { pid, .. } => *pid,
        }
    }

    fn publisher(&self) -> Option<&Publisher> {
        match self {
            Subject::Own(stage) => Some(stage.publisher()),
            Subject::Other { publisher, .. } => publisher.as_ref(),
        }
    }

    fn check(&mut self) -> anyhow::Result<()> {
        match self {
            Subject::Own(stage) => stage.check(),
            Subject::Other { publisher, .. } => publisher.as_mut().map_or(Ok(()), Publisher::check),
        }
    }
}
