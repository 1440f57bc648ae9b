//! `load`: what do N viewers of one stream, or of several, cost, and how well are they served?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::account::{self, Account, Statement};
use crate::audience::Audience;
use crate::clip::Clip;
use crate::placement;
use crate::proc;
use crate::publish::Publisher;
use crate::quantity::{self, Pace, Rate, Verify};
use crate::report::Report;
use crate::scene::{Interrupted, Packaging, Stage, clips, pause};
use crate::seats::{Pattern, Plan};
use crate::server::{self, Settings, counter};
use crate::target::Target;
use crate::tls::Trust;

/// Viewers have their start burst behind them.
const SETTLE: Duration = Duration::from_secs(2);
/// Another server may need a keyframe or two before it answers a viewer.
const FOREIGN_SETTLE: Duration = Duration::from_secs(5);
/// A path that is faster than the clip by so much: what a viewer's line has to spare.
const PACE_AUTO: f64 = 1.25;
/// Of a started penstock, what its sends came to.
const COUNTERS: [&str; 5] = ["sends", "sendfiles", "sends_full", "turns", "cursors_skipped"];

/// What is watched, and how. Rates are written 100k or 2.6M (a number alone is kb/s), shares 10% or 0.1.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Another server's stream, in place of a penstock that is started for the run: http, https (FLV, TS, MP4; HLS by
    /// .m3u8), rtmp, rtmps, rtsp or rtsps. `{}` stands for the number of the stream, from 1.
    #[arg(long)]
    pub url: Option<String>,
    /// Process of that server, for its CPU time and memory.
    #[arg(long, requires = "url")]
    pub pid: Option<u32>,
    /// rtmp:// URL where that server takes the stamped clip; without it no latency is measured. `{}` as in --url.
    #[arg(long, requires = "url")]
    pub publish: Option<String>,
    /// Take any certificate.
    #[arg(long)]
    pub insecure: bool,
    /// How the started penstock hands out the stream.
    #[arg(long, value_enum, default_value = "flv", conflicts_with = "url")]
    pub packaging: Packaging,
    /// Viewers.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    pub viewers: u32,
    /// How many of them parse what they get, check that it goes on without a gap, and measure latency: all, or a number.
    #[arg(long, alias = "verifying", default_value = "4", value_parser = quantity::verify)]
    pub verify: Verify,
    /// How they come.
    #[arg(long, value_enum, default_value = "ramp")]
    pub pattern: Pattern,
    /// Seconds in which they come (not with --pattern all).
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub ramp: u64,
    /// Share of the viewers that leaves each second while as many join (--pattern churn).
    #[arg(long, default_value = "10%", value_parser = quantity::share)]
    pub churn: f64,
    /// Share of the viewers that reads slowly.
    #[arg(long, default_value = "0", value_parser = quantity::share)]
    pub slow: f64,
    /// How fast those read; 0: not at all.
    #[arg(long, default_value = "100k", value_parser = quantity::rate)]
    pub slow_rate: Rate,
    /// The others read as behind a path of this rate: Ethernet's segments, a small window, an even pace. auto: a quarter
    /// above the clip's.
    #[arg(long, value_name = "RATE|auto", value_parser = quantity::pace)]
    pub paced: Option<Pace>,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Further viewers that join one by one in that time.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub joins: u32,
    /// Bit rate of the clip; canonical are 600k, 2.6M and 8M.
    #[arg(long, default_value = "2.6M", value_parser = quantity::rate)]
    pub bitrate: Rate,
    /// Streams that are published at once, with the viewers spread over them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    pub streams: u32,
    /// Spread by rank, with this exponent, in place of evenly: 1 is what is often seen.
    #[arg(long, value_name = "S")]
    pub zipf: Option<f64>,
}

impl Options {
    fn plan(&self) -> Plan {
        let path = self.paced.map(|pace| match pace {
            Pace::At(rate) => rate.bytes(),
            Pace::Auto => (self.bitrate.bytes() as f64 * PACE_AUTO) as u64,
        });
        Plan {
            viewers: self.viewers,
            pattern: self.pattern,
            ramp: Duration::from_secs(self.ramp),
            streams: self.streams as usize,
            zipf: self.zipf,
            slow: self.slow,
            slow_bytes_per_second: self.slow_rate.bytes(),
            path_bytes_per_second: path,
            verify: self.verify,
        }
    }
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

/// The measured time: what is known at its begin, and then what was spent.
#[derive(Debug, Default)]
struct Window {
    open: Option<Open>,
    spent: Option<Spent>,
}

#[derive(Debug)]
struct Open {
    account: Account,
    playing: u64,
    counted: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Spent {
    statement: Statement,
    /// Playing, on average.
    viewers: f64,
    /// Counters at the begin; none of another server.
    counted: BTreeMap<String, u64>,
    counted_after: BTreeMap<String, u64>,
}

impl Window {
    fn open(&mut self, subject: &Subject, audience: &Audience) -> anyhow::Result<()> {
        self.open = Some(Open {
            counted: subject.counters()?,
            playing: audience.playing(),
            account: Account::open(subject.pid(), audience.delivered())?,
        });
        Ok(())
    }

    /// Nothing, when it was not opened or is closed already.
    fn close(&mut self, subject: &Subject, audience: &Audience) -> anyhow::Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        self.spent = Some(Spent {
            statement: open.account.close()?,
            viewers: (open.playing + audience.playing()) as f64 / 2.0,
            counted: open.counted,
            counted_after: subject.counters()?,
        });
        Ok(())
    }
}

/// Runs the load. Ctrl-C ends it early, with what was measured so far.
///
/// # Errors
/// The server could not be started or published to, or ended. Viewers that fail are a result.
pub fn run(options: &Options, settings: impl FnOnce() -> anyhow::Result<Settings>) -> anyhow::Result<Report> {
    let (mut subject, targets) = prepare(options, settings)?;
    let mut audience = Audience::new("load")?;
    let mut window = Window::default();
    let interrupted = match watch(options, &mut subject, &mut audience, &targets, &mut window) {
        Ok(()) => false,
        Err(error) if error.is::<Interrupted>() => true,
        Err(error) => return Err(error),
    };
    window.close(&subject, &audience)?;
    let mut report = report(options, &mut subject, audience, &window)?;
    if interrupted {
        report.fact("ended early", "by the user: what is above was measured until then");
    }
    Ok(report)
}

fn watch(
    options: &Options,
    subject: &mut Subject,
    audience: &mut Audience,
    targets: &Arc<[Target]>,
    window: &mut Window,
) -> anyhow::Result<()> {
    let plan = options.plan();
    let seconds = Duration::from_secs(options.seconds);
    let ramp = if plan.pattern == Pattern::All {
        Duration::ZERO
    } else {
        plan.ramp
    };
    audience.lasts(ramp + SETTLE + seconds);
    audience.open_plan(targets, &plan)?;
    audience.watch(SETTLE, subject.stage())?;
    if audience.over() == u64::from(options.viewers) {
        return Ok(());
    }
    if plan.pattern == Pattern::Churn {
        audience.churn(options.churn)?;
    }
    audience.begin_window()?;
    window.open(subject, audience)?;
    let begun = Instant::now();
    if options.joins > 0 {
        audience.join(&targets[0], options.joins, seconds)?;
    }
    audience.watch(seconds.saturating_sub(begun.elapsed()), subject.stage())?;
    window.close(subject, audience)
}

fn prepare(
    options: &Options,
    settings: impl FnOnce() -> anyhow::Result<Settings>,
) -> anyhow::Result<(Subject, Arc<[Target]>)> {
    let kilobits = options.bitrate.kilobits();
    if !options.zipf.unwrap_or(1.0).is_finite() {
        bail!("--zipf: an exponent is a number");
    }
    let Some(url) = &options.url else {
        let stage = Stage::start_streams(&settings()?, kilobits, options.streams)?;
        let targets = stage.targets(options.packaging)?.into();
        return Ok((Subject::Own(Box::new(stage)), targets));
    };
    let trust = if options.insecure { Trust::Any } else { Trust::Roots };
    let targets = of_streams(url, options.streams, trust).context("--url")?;
    let pid = options.pid;
    if let Some(pid) = pid {
        proc::cpu(pid).context("--pid names no process")?;
    }
    let publisher = match &options.publish {
        Some(url) => {
            let clip = Arc::new(Clip::of(kilobits, &clips()?)?);
            let publisher = Publisher::start_all(&of_streams(url, options.streams, trust).context("--publish")?, clip)?;
            pause(FOREIGN_SETTLE)?;
            Some(publisher)
        }
        None => None,
    };
    Ok((Subject::Other { pid, publisher }, targets.into()))
}

/// One target a stream.
fn of_streams(url: &str, streams: u32, trust: Trust) -> anyhow::Result<Vec<Target>> {
    if streams > 1 && !url.contains("{}") {
        bail!("{url}: of {streams} streams each needs a URL; write {{}} where the number stands");
    }
    let urls = (1..=streams).map(|number| url.replace("{}", &number.to_string()));
    urls.map(|url| Target::parse_trusting(&url, trust)).collect()
}

fn report(options: &Options, subject: &mut Subject, audience: Audience, window: &Window) -> anyhow::Result<Report> {
    let mut report = Report::new();
    let (viewers, streams, kilobits) = (options.viewers, options.streams, options.bitrate.kilobits());
    let what = match &options.url {
        Some(url) => url.clone(),
        None => format!("{} of {kilobits} kb/s", options.packaging.name()),
    };
    let streams = if streams > 1 {
        format!(", {streams} streams")
    } else {
        String::new()
    };
    report.title(format!("load: {viewers} viewers of {what}{streams}"));
    for (name, text) in proc::machine().into_iter().chain(placement::told()?) {
        report.fact(name, text);
    }
    if let Some(pid) = subject.pid() {
        let program = proc::program(pid);
        let version = match subject.stage() {
            Some(_) => server::version(program.as_ref()),
            None => program,
        };
        report.fact("server", version);
        report.fact("server's cores", proc::cores_of(pid)?);
    }
    let kernel = proc::kernel()?;
    subject.check()?;
    let found = audience.end()?;
    found.report(&mut report);
    if let Some(spent) = &window.spent {
        spent.statement.report(&mut report, spent.viewers);
        if !spent.counted.is_empty() {
            report_counters(&mut report, spent)?;
        }
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
    if let Some(spent) = &window.spent {
        spent.statement.plot(&mut report);
    }
    account::plot_findings(&mut report, &found);
    if found.first_byte.count() == 0 {
        bail!("no viewer played:\n{}", report.table());
    }
    Ok(report)
}

/// `sends_full` are sends of which the socket took a part or nothing.
fn report_counters(report: &mut Report, spent: &Spent) -> anyhow::Result<()> {
    for name in COUNTERS {
        let rise = counter(&spent.counted_after, name)?.saturating_sub(counter(&spent.counted, name)?);
        report.figure(&format!("counter {name}"), rise as f64 / spent.statement.seconds, "/s");
    }
    Ok(())
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

    /// None of another server.
    fn counters(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        match self {
            Subject::Own(stage) => stage.server().counters(),
            Subject::Other { .. } => Ok(BTreeMap::new()),
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
