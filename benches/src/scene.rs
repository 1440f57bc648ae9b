//! A run's cast: the server, its publisher and its viewers, and what they cost between two moments.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::clip::Clip;
use crate::crowd::{Crowd, Outcome, Reading};
use crate::proc::{self, Cpu};
use crate::publish::Publisher;
use crate::report::{Report, Times};
use crate::server::{self, Server, Settings};
use crate::sys;
use crate::target::Target;

/// How the own server hands out a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Packaging {
    Flv,
    Ts,
    Mp4,
    Rtmp,
}

impl Packaging {
    pub fn name(self) -> &'static str {
        match self {
            Packaging::Flv => "FLV",
            Packaging::Ts => "TS",
            Packaging::Mp4 => "MP4",
            Packaging::Rtmp => "RTMP",
        }
    }
}

/// How long a published stream may take until it can be watched.
const LIVE_WAIT: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);
const PROGRESS_TERMINAL: Duration = Duration::from_millis(500);
const PROGRESS_FILE: Duration = Duration::from_secs(5);

/// The own server with one published stream.
#[derive(Debug)]
pub struct Stage {
    // Fields are dropped in this order: a publisher that outlives its server would fail.
    publisher: Publisher,
    server: Server,
}

impl Stage {
    pub fn start(settings: &Settings, kilobits: u32) -> anyhow::Result<Stage> {
        let clip = Arc::new(Clip::of(kilobits, &clips()?)?);
        let server = Server::start(settings)?;
        let publisher = Publisher::start(&Target::parse(&rtmp_url(&server))?, clip)?;
        let mut stage = Stage { publisher, server };
        stage.wait_live()?;
        Ok(stage)
    }

    pub fn target(&self, packaging: Packaging) -> anyhow::Result<Target> {
        let http = self.server.http;
        Target::parse(&match packaging {
            Packaging::Flv => format!("http://{http}/live.flv"),
            Packaging::Ts => format!("http://{http}/live.ts"),
            Packaging::Mp4 => format!("http://{http}/live.mp4"),
            Packaging::Rtmp => rtmp_url(&self.server),
        })
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Fails when server or publisher ended by themselves.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.server.check()?;
        self.publisher.check()
    }

    /// Without a viewer, so that an idle server stays idle: frames are in the ring once they are counted.
    fn wait_live(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + LIVE_WAIT;
        while Instant::now() < deadline {
            self.check()?;
            if self
                .server
                .counters()?
                .get("frames_in")
                .is_some_and(|frames| *frames > 0)
            {
                return Ok(());
            }
            pause(LOOK)?;
        }
        bail!("the published stream is not live after {LIVE_WAIT:?}");
    }
}

fn rtmp_url(server: &Server) -> String {
    format!("rtmp://{}/app/live", server.rtmp)
}

/// Where clips are kept: beside the build.
pub fn clips() -> anyhow::Result<PathBuf> {
    let folder = server::build_folder()?;
    Ok(folder.parent().unwrap_or(&folder).join("bench-clips"))
}

/// All viewers of a run.
#[derive(Debug)]
pub struct Audience {
    drainers: Crowd,
    verifiers: Crowd,
    first_byte_joining: Times,
    refused: Vec<String>,
    progress: Progress,
}

/// A moment of a run.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub at: Instant,
    pub cpu: Option<Cpu>,
    pub bytes: u64,
    pub playing: u64,
}

/// What the viewers have seen.
#[derive(Debug)]
pub struct Findings {
    pub ok: u64,
    pub failed: u64,
    pub stalled: u64,
    /// Reasons of failures, the first few.
    pub reasons: Vec<String>,
    /// Of all; for those that were not waited for, the reading thread's own delay is in it.
    pub first_byte: Times,
    /// Of viewers that joined one by one while the others were watching, corrected for coordinated omission.
    pub first_byte_joining: Times,
    pub latency: Times,
    pub gap: Times,
    pub frames_lost: u64,
}

const REASONS_KEPT: usize = 3;

impl Audience {
    pub fn new(label: &str) -> anyhow::Result<Audience> {
        Ok(Audience {
            drainers: Crowd::start("drainers")?,
            verifiers: Crowd::start("verifiers")?,
            first_byte_joining: Times::default(),
            refused: Vec::new(),
            progress: Progress::new(label),
        })
    }

    /// `viewers` ask, evenly over a time, the first `verifying` of them to verify.
    pub fn open(&mut self, target: &Target, viewers: u32, verifying: u32, over: Duration) -> anyhow::Result<()> {
        let start = Instant::now();
        for number in 0..viewers {
            let due = start + over.mul_f64(f64::from(number) / f64::from(viewers));
            self.wait_until(due)?;
            match target.ask() {
                Ok(asked) if number < verifying => self.verifiers.add(asked, Reading::Verify)?,
                Ok(asked) => self.drainers.add(asked, Reading::Drain)?,
                Err(error) => self.refused.push(format!("{error:#}")),
            }
        }
        Ok(())
    }

    /// `viewers` join one by one, each waited for until its first byte of media, evenly over a time.
    pub fn join(&mut self, target: &Target, viewers: u32, over: Duration) -> anyhow::Result<()> {
        let start = Instant::now();
        let interval = over / viewers.max(1);
        for number in 0..viewers {
            self.wait_until(start + interval * number)?;
            match target.ask_and_wait() {
                Ok(asked) => {
                    let first_at = asked.first_at.context("it has been waited for")?;
                    let nanos = first_at.saturating_sub(asked.at);
                    self.first_byte_joining.record_paced(nanos, interval);
                    self.drainers.add(asked, Reading::Drain)?;
                }
                Err(error) => self.refused.push(format!("{error:#}")),
            }
        }
        Ok(())
    }

    /// Lets them watch.
    pub fn watch(&mut self, time: Duration, stage: Option<&mut Stage>) -> anyhow::Result<()> {
        self.wait_until(Instant::now() + time)?;
        stage.map_or(Ok(()), Stage::check)
    }

    /// Gaps and latencies count from here.
    pub fn begin_window(&self) -> anyhow::Result<()> {
        self.drainers.begin_window()?;
        self.verifiers.begin_window()
    }

    /// What is so far; CPU time of the process `pid`.
    pub fn moment(&self, pid: Option<u32>) -> anyhow::Result<Moment> {
        Ok(Moment {
            at: Instant::now(),
            cpu: pid.map(proc::cpu).transpose()?,
            bytes: self.sum(|crowd| crowd.tally().bytes.load(Ordering::Relaxed)),
            playing: self.playing(),
        })
    }

    pub fn playing(&self) -> u64 {
        self.sum(|crowd| crowd.tally().playing.load(Ordering::Relaxed))
    }

    pub fn end(self) -> anyhow::Result<Findings> {
        self.progress.clear();
        let refused = self.refused;
        let drained = self.drainers.end()?;
        let verified = self.verifiers.end()?;
        findings(drained, verified, refused, self.first_byte_joining)
    }

    fn sum(&self, of: impl Fn(&Crowd) -> u64) -> u64 {
        of(&self.drainers) + of(&self.verifiers)
    }

    fn wait_until(&mut self, due: Instant) -> anyhow::Result<()> {
        loop {
            if self.progress.is_due() {
                let failed = self.sum(|crowd| crowd.tally().failed.load(Ordering::Relaxed)) + self.refused.len() as u64;
                let bytes = self.sum(|crowd| crowd.tally().bytes.load(Ordering::Relaxed));
                let (playing, asked) = (self.playing(), self.sum(Crowd::added));
                self.progress.show(playing, asked, failed, bytes);
            }
            let left = due.saturating_duration_since(Instant::now());
            pause(left.min(LOOK))?;
            if left <= LOOK {
                return Ok(());
            }
        }
    }
}

fn findings(
    drained: Outcome,
    verified: Outcome,
    refused: Vec<String>,
    first_byte_joining: Times,
) -> anyhow::Result<Findings> {
    let mut found = Findings {
        ok: 0,
        failed: refused.len() as u64,
        stalled: 0,
        reasons: refused,
        first_byte: Times::default(),
        first_byte_joining,
        latency: verified.latency,
        gap: Times::default(),
        frames_lost: verified.frames_lost,
    };
    for viewer in drained.viewers.into_iter().chain(verified.viewers) {
        let is_stalled = viewer.is_stalled();
        if let Some(nanos) = viewer.first_byte_nanos {
            found.first_byte.record_nanos(nanos);
            found.gap.record_nanos(viewer.longest_gap_nanos);
        }
        match viewer.failed {
            Some(reason) => {
                found.failed += 1;
                found.reasons.push(reason);
            }
            None if is_stalled => found.stalled += 1,
            None => found.ok += 1,
        }
    }
    found.reasons.truncate(REASONS_KEPT);
    Ok(found)
}

impl Findings {
    pub fn report(&self, report: &mut Report) {
        report.figure("viewers ok", self.ok as f64, "");
        report.figure("viewers failed", self.failed as f64, "");
        report.figure("viewers stalled > 1 s", self.stalled as f64, "");
        for reason in &self.reasons {
            report.fact("failed", reason.as_str());
        }
        let mut quantiles = |name: &str, times: &Times| {
            if times.count() == 0 {
                return;
            }
            for (label, quantile) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
                report.figure(&format!("{name} {label}"), times.quantile_millis(quantile), "ms");
            }
        };
        quantiles("first byte, all viewers,", &self.first_byte);
        quantiles("first byte, joins under load,", &self.first_byte_joining);
        quantiles("added latency", &self.latency);
        quantiles("longest gap of a viewer", &self.gap);
        if self.latency.count() > 0 {
            report.figure("breaks in the frames' numbers", self.frames_lost as f64, "");
        }
    }
}

/// What a time with viewers cost.
pub fn report_cost(report: &mut Report, before: Moment, after: Moment) {
    let seconds = (after.at - before.at).as_secs_f64();
    let gigabytes = (after.bytes - before.bytes) as f64 / 1e9;
    report.figure("measured for", seconds, "s");
    report.figure("delivered", gigabytes * 8.0 / seconds, "Gb/s");
    let (Some(first), Some(last)) = (before.cpu, after.cpu) else {
        return;
    };
    let cpu = last.since(first);
    report.figure("server CPU", 100.0 * cpu.total() / seconds, "% core");
    report.figure("server CPU per GB", cpu.total() / gigabytes, "s/GB");
    report.figure("  of it user", cpu.user / gigabytes, "s/GB");
    report.figure("  of it system", cpu.system / gigabytes, "s/GB");
    let viewer_seconds = seconds * (before.playing + after.playing) as f64 / 2.0;
    report.figure(
        "server CPU per viewer-second",
        1000.0 * cpu.total() / viewer_seconds,
        "ms",
    );
}

/// Sleeps, shorter when the user wants to end.
pub fn pause(time: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + time;
    loop {
        if sys::interrupted() {
            bail!("interrupted");
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(LOOK));
    }
}

/// A line on stderr that says how it goes.
#[derive(Debug)]
struct Progress {
    label: String,
    terminal: bool,
    shown: Instant,
    bytes: u64,
}

impl Progress {
    fn new(label: &str) -> Progress {
        Progress {
            label: label.into(),
            terminal: std::io::stderr().is_terminal(),
            shown: Instant::now(),
            bytes: 0,
        }
    }

    fn is_due(&self) -> bool {
        let pace = if self.terminal {
            PROGRESS_TERMINAL
        } else {
            PROGRESS_FILE
        };
        self.shown.elapsed() >= pace
    }

    fn show(&mut self, playing: u64, asked: u64, failed: u64, bytes: u64) {
        let gigabits = (bytes - self.bytes) as f64 * 8e-9 / self.shown.elapsed().as_secs_f64();
        (self.shown, self.bytes) = (Instant::now(), bytes);
        let line = format!(
            "{}: {playing} of {asked} play, {failed} failed, {gigabits:.2} Gb/s",
            self.label
        );
        // Progress that cannot be shown is none.
        let _ = if self.terminal {
            write!(std::io::stderr(), "\r{line}\x1b[K")
        } else {
            writeln!(std::io::stderr(), "{line}")
        };
    }

    fn clear(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
