//! All viewers of a run: opened by a plan, watched for a while, and what they have seen.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::crowd::{Crowd, Outcome};
use crate::proc::{self, Cpu};
use crate::quantity::Verify;
use crate::report::{Report, Times};
use crate::scene::{Stage, pause};
use crate::seats::{Pattern, Plan, Reading, Seat};
use crate::target::Target;
use crate::verify::Heard;

const LOOK: Duration = Duration::from_millis(50);
/// A row of joins is waited for in steps.
const ROW_LOOK: Duration = Duration::from_millis(2);
const PROGRESS_TERMINAL: Duration = Duration::from_millis(500);
const PROGRESS_FILE: Duration = Duration::from_secs(5);
const BAR_CELLS: usize = 20;

/// See the module.
#[derive(Debug)]
pub struct Audience {
    drainers: Crowd,
    verifiers: Crowd,
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
    /// Of those that do not read slowly by intent.
    pub gap: Times,
    pub frames_lost: u64,
    pub slow: u64,
    /// Slow readers that the server closed.
    pub slow_closed: u64,
    pub left: u64,
    /// Viewers that had only just asked at the end.
    pub too_late: u64,
    pub missed: u64,
    heard: Heard,
}

const REASONS_KEPT: usize = 3;

impl Audience {
    pub fn new(label: &str) -> anyhow::Result<Audience> {
        Ok(Audience {
            drainers: Crowd::start("drainers")?,
            verifiers: Crowd::start("verifiers")?,
            progress: Progress::new(label),
        })
    }

    /// How long it will take in all, for the bar.
    pub fn lasts(&mut self, total: Duration) {
        self.progress.total = Some(total);
    }

    /// `viewers` ask, evenly over a time, the first `verifying` of them to verify.
    pub fn open(&mut self, target: &Target, viewers: u32, verifying: u32, over: Duration) -> anyhow::Result<()> {
        let plan = Plan {
            viewers,
            pattern: Pattern::Ramp,
            ramp: over,
            streams: 1,
            zipf: None,
            slow: 0.0,
            slow_bytes_per_second: 0,
            path_bytes_per_second: None,
            verify: Verify::Some(verifying),
        };
        self.open_plan(&[target.clone()].into(), &plan)
    }

    /// Opens as planned, and waits for the ramp's end.
    pub fn open_plan(&mut self, targets: &Arc<[Target]>, plan: &Plan) -> anyhow::Result<()> {
        let (verifying, draining): (Vec<Seat>, Vec<Seat>) = plan
            .seats()
            .into_iter()
            .partition(|seat| seat.reading == Reading::Verify);
        self.verifiers.open(targets, verifying)?;
        self.drainers.open(targets, draining)?;
        let over = if plan.pattern == Pattern::All {
            Duration::ZERO
        } else {
            plan.ramp
        };
        self.wait(over)
    }

    /// From here on a share of the viewers leaves each second, and as many join.
    pub fn churn(&mut self, share: f64) -> anyhow::Result<()> {
        for crowd in [&self.drainers, &self.verifiers] {
            let each_second = share * crowd.added() as f64;
            if each_second > 0.0 {
                crowd.churn(Duration::from_secs_f64(1.0 / each_second))?;
            }
        }
        Ok(())
    }

    /// `viewers` join one by one, each waited for until its first byte of media, evenly over a time.
    pub fn join(&mut self, target: &Target, viewers: u32, over: Duration) -> anyhow::Result<()> {
        self.drainers.open_row(target, viewers, over / viewers.max(1))?;
        while self.drainers.tally().row_left.load(Ordering::Relaxed) > 0 {
            self.show_progress();
            pause(ROW_LOOK)?;
        }
        Ok(())
    }

    /// Lets them watch.
    pub fn watch(&mut self, time: Duration, stage: Option<&mut Stage>) -> anyhow::Result<()> {
        self.wait(time)?;
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

    /// Tells the bytes of all viewers so far, on any thread.
    pub fn delivered(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let tallies = [self.drainers.tally_shared(), self.verifiers.tally_shared()];
        move || tallies.iter().map(|tally| tally.bytes.load(Ordering::Relaxed)).sum()
    }

    pub fn failed(&self) -> u64 {
        self.sum(|crowd| crowd.tally().failed.load(Ordering::Relaxed))
    }

    /// Viewers that have left, failed, or seen the stream's end.
    pub fn over(&self) -> u64 {
        self.sum(|crowd| crowd.tally().over.load(Ordering::Relaxed))
    }

    pub fn end(self) -> anyhow::Result<Findings> {
        self.progress.clear();
        let drained = self.drainers.end()?;
        let verified = self.verifiers.end()?;
        Ok(findings(drained, verified))
    }

    fn sum(&self, of: impl Fn(&Crowd) -> u64) -> u64 {
        of(&self.drainers) + of(&self.verifiers)
    }

    fn wait(&mut self, time: Duration) -> anyhow::Result<()> {
        let due = Instant::now() + time;
        loop {
            self.show_progress();
            let left = due.saturating_duration_since(Instant::now());
            pause(left.min(LOOK))?;
            if left <= LOOK {
                return Ok(());
            }
        }
    }

    fn show_progress(&mut self) {
        if self.progress.is_due() {
            let bytes = self.sum(|crowd| crowd.tally().bytes.load(Ordering::Relaxed));
            let (playing, failed, asked) = (self.playing(), self.failed(), self.sum(Crowd::added));
            self.progress.show(playing, asked, failed, bytes);
        }
    }
}

fn findings(drained: Outcome, verified: Outcome) -> Findings {
    let mut found = Findings {
        ok: 0,
        failed: 0,
        stalled: 0,
        reasons: Vec::new(),
        first_byte: Times::default(),
        first_byte_joining: drained.row,
        latency: verified.heard.latency.clone(),
        gap: Times::default(),
        frames_lost: verified.heard.frames_lost,
        slow: 0,
        slow_closed: 0,
        left: drained.left + verified.left,
        too_late: 0,
        missed: 0,
        heard: verified.heard,
    };
    for viewer in drained.viewers.into_iter().chain(verified.viewers) {
        let is_stalled = viewer.is_stalled();
        found.missed += viewer.missed;
        if let Some(nanos) = viewer.first_byte_nanos {
            found.first_byte.record_nanos(nanos);
        }
        if viewer.is_slow {
            found.slow += 1;
            found.slow_closed += u64::from(viewer.failed.is_some());
            continue;
        }
        if viewer.first_byte_nanos.is_some() {
            found.gap.record_nanos(viewer.longest_gap_nanos);
        }
        match viewer.failed {
            Some(reason) => {
                found.failed += 1;
                if found.reasons.len() < REASONS_KEPT && !found.reasons.contains(&reason) {
                    found.reasons.push(reason);
                }
            }
            None if viewer.first_byte_nanos.is_none() => found.too_late += 1,
            None if is_stalled => found.stalled += 1,
            None => found.ok += 1,
        }
    }
    found
}

impl Findings {
    /// What was wrong in the containers of those who verify.
    pub fn problems(&self) -> (u64, &[String]) {
        (self.heard.problems, &self.heard.texts)
    }

    /// Pictures that those have seen, and how often one did not follow the one before.
    pub fn pictures(&self) -> (u64, u64) {
        (self.heard.pictures, self.heard.breaks)
    }

    /// From a part's end to its last byte, of those who verify; how many of them stood before a hole.
    pub fn part_end(&self) -> (&Times, u64) {
        (&self.heard.part_end, self.heard.holes)
    }

    pub fn report(&self, report: &mut Report) {
        report.figure("viewers ok", self.ok as f64, "");
        report.figure("viewers failed", self.failed as f64, "");
        report.figure("viewers stalled > 1 s", self.stalled as f64, "");
        for reason in &self.reasons {
            report.fact("failed", reason.as_str());
        }
        for (name, value) in [
            ("viewers slow by intent", self.slow),
            ("  of them closed by the server", self.slow_closed),
            ("viewers that left for others", self.left),
            ("viewers that asked in the last second", self.too_late),
            ("segments missed", self.missed),
        ] {
            if value > 0 {
                report.figure(name, value as f64, "");
            }
        }
        let mut quantiles = |name: &str, times: &Times| {
            if times.count() == 0 {
                return;
            }
            for (label, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
                report.figure(&format!("{name} {label}"), times.quantile_millis(quantile), "ms");
            }
        };
        quantiles("first byte, all viewers,", &self.first_byte);
        quantiles("first byte, joins under load,", &self.first_byte_joining);
        quantiles("first keyframe, verifying viewers,", &self.heard.first_picture);
        quantiles("added latency", &self.latency);
        quantiles("a part's last byte, from the part's end,", &self.heard.part_end);
        quantiles("longest gap of a viewer", &self.gap);
        if self.heard.pictures > 0 {
            report.figure("frames seen by who verifies", self.heard.pictures as f64, "");
            report.figure("breaks in the frames' numbers", self.heard.breaks as f64, "");
            report.figure("frames lost", self.heard.frames_lost as f64, "");
            report.figure("wrong in the container", self.heard.problems as f64, "");
        }
        for text in &self.heard.texts {
            report.fact("wrong", text.as_str());
        }
    }
}

/// A line on stderr that says how it goes.
#[derive(Debug)]
struct Progress {
    label: String,
    terminal: bool,
    begun: Instant,
    total: Option<Duration>,
    shown: Instant,
    bytes: u64,
}

impl Progress {
    fn new(label: &str) -> Progress {
        Progress {
            label: label.into(),
            terminal: std::io::stderr().is_terminal(),
            begun: Instant::now(),
            total: None,
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
        let time = bar(self.begun.elapsed(), self.total);
        let line = format!(
            "{} {time}: {playing} of {asked} play, {failed} failed, {gigabits:.2} Gb/s",
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

fn bar(elapsed: Duration, total: Option<Duration>) -> String {
    let seconds = elapsed.as_secs();
    let Some(total) = total.filter(|total| !total.is_zero()) else {
        return format!("{seconds} s");
    };
    let share = (elapsed.as_secs_f64() / total.as_secs_f64()).min(1.0);
    let full = (share * BAR_CELLS as f64) as usize;
    let cells = "#".repeat(full) + &"-".repeat(BAR_CELLS - full);
    format!("[{cells}] {seconds}/{} s", total.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        let seconds = Duration::from_secs;
        assert_eq!(bar(seconds(3), None), "3 s");
        assert_eq!(bar(seconds(3), Some(seconds(12))), "[#####---------------] 3/12 s");
        assert_eq!(bar(seconds(30), Some(seconds(12))), "[####################] 30/12 s");
    }
}
