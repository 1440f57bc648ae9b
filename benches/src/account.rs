//! What a process spent between two moments while viewers read, and how both went on in between.
//!
//! A thread looks every 500 ms at the bytes that viewers have got and at the CPU time of the server: the lines of the
//! plots. Sums are taken at the two ends, not from the samples.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use crate::plot::{Line, Plot, Scale};
use crate::proc::{self, Cpu, Memory};
use crate::report::{Report, Times};
use crate::scene::Findings;
use crate::sockets::{self, Held};
use crate::syscalls::Syscalls;

const PACE: Duration = Duration::from_millis(500);

/// Running totals.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    seconds: f64,
    bytes: u64,
    /// NaN when there is no process to look at, or no more.
    ran: f64,
}

/// What is known of a process at a moment.
#[derive(Clone, Copy, Debug)]
struct Spent {
    cpu: Cpu,
    ran: f64,
    switches: u64,
}

/// Opened when the measured time begins.
#[derive(Debug)]
pub struct Account {
    pid: Option<u32>,
    begun: Instant,
    spent: Option<Spent>,
    syscalls: Result<Syscalls, String>,
    bytes: u64,
    close: Sender<()>,
    samples: Option<JoinHandle<Vec<Sample>>>,
    read: Reader,
}

/// Tells how many bytes viewers have got.
#[derive(Clone)]
struct Reader(Arc<dyn Fn() -> u64 + Send + Sync>);

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({})", (self.0)())
    }
}

/// What was spent.
#[derive(Debug)]
pub struct Statement {
    pub seconds: f64,
    pub bytes: u64,
    pub process: Option<Process>,
    samples: Vec<Sample>,
}

/// Of the server's process.
#[derive(Clone, Debug)]
pub struct Process {
    /// To the nanosecond.
    pub ran: f64,
    /// To a tick of the kernel's clock.
    pub cpu: Cpu,
    pub switches: u64,
    /// Or why they were not counted.
    pub syscalls: Result<u64, String>,
    pub memory: Memory,
    pub sockets: Result<Held, String>,
}

impl Account {
    /// Of the process `pid`, if there is one to look at; `read` tells the bytes of all viewers so far.
    pub fn open(pid: Option<u32>, read: impl Fn() -> u64 + Send + Sync + 'static) -> anyhow::Result<Account> {
        let read = Reader(Arc::new(read));
        let syscalls = pid.context("no process").and_then(Syscalls::open);
        let (close, closed) = mpsc::channel::<()>();
        let sampled = read.clone();
        let begun = Instant::now();
        let sample = move || {
            let mut samples = vec![Sample::at(begun, pid, (sampled.0)())];
            let mut due = begun + PACE;
            loop {
                let ended = closed.recv_timeout(due.saturating_duration_since(Instant::now()));
                samples.push(Sample::at(begun, pid, (sampled.0)()));
                due += PACE;
                if ended != Err(RecvTimeoutError::Timeout) {
                    return samples;
                }
            }
        };
        let samples = std::thread::Builder::new().name("samples".into()).spawn(sample)?;
        Ok(Account {
            pid,
            begun,
            spent: pid.map(spent).transpose()?,
            bytes: (read.0)(),
            syscalls: syscalls.map_err(|error| format!("{error:#}")),
            close,
            samples: Some(samples),
            read,
        })
    }

    pub fn close(mut self) -> anyhow::Result<Statement> {
        let bytes = (self.read.0)() - self.bytes;
        let seconds = self.begun.elapsed().as_secs_f64();
        let process = match (self.pid, self.spent) {
            (Some(pid), Some(before)) => Some(self.process(pid, before)?),
            _ => None,
        };
        // It waits for nothing else.
        let _ = self.close.send(());
        let samples = self.samples.take().context("an account is closed once")?;
        let samples = samples.join().map_err(|_| anyhow!("the thread of samples panicked"))?;
        Ok(Statement {
            seconds,
            bytes,
            process,
            samples,
        })
    }

    fn process(&mut self, pid: u32, before: Spent) -> anyhow::Result<Process> {
        let after = spent(pid)?;
        let syscalls = match &mut self.syscalls {
            Ok(counter) => counter.count().map_err(|error| format!("{error:#}")),
            Err(why) => Err(why.clone()),
        };
        Ok(Process {
            ran: after.ran - before.ran,
            cpu: after.cpu.since(before.cpu),
            switches: after.switches.saturating_sub(before.switches),
            syscalls,
            memory: proc::memory(pid)?,
            sockets: sockets::held(pid).map_err(|error| format!("{error:#}")),
        })
    }
}

fn spent(pid: u32) -> anyhow::Result<Spent> {
    Ok(Spent {
        cpu: proc::cpu(pid)?,
        ran: proc::run_seconds(pid)?,
        switches: proc::involuntary_switches(pid)?,
    })
}

impl Sample {
    fn at(begun: Instant, pid: Option<u32>, bytes: u64) -> Sample {
        Sample {
            seconds: begun.elapsed().as_secs_f64(),
            bytes,
            ran: pid.and_then(|pid| proc::run_seconds(pid).ok()).unwrap_or(f64::NAN),
        }
    }
}

impl Statement {
    pub fn gigabytes(&self) -> f64 {
        self.bytes as f64 / 1e9
    }

    /// CPU seconds of the server per 10^9 bytes that viewers got; NaN without a process or bytes.
    pub fn per_gigabyte(&self) -> f64 {
        let ran = self.process.as_ref().map_or(f64::NAN, |process| process.ran);
        if self.bytes == 0 {
            f64::NAN
        } else {
            ran / self.gigabytes()
        }
    }

    /// With `viewers` playing on average.
    pub fn report(&self, report: &mut Report, viewers: f64) {
        let gigabytes = self.gigabytes();
        report.figure("measured for", self.seconds, "s");
        report.figure("delivered", gigabytes * 8.0 / self.seconds, "Gb/s");
        let Some(process) = &self.process else { return };
        report.figure("server CPU", 100.0 * process.ran / self.seconds, "% core");
        report.figure("server CPU per GB", self.per_gigabyte(), "s/GB");
        report.figure("  of it user", process.cpu.user / gigabytes, "s/GB");
        report.figure("  of it system", process.cpu.system / gigabytes, "s/GB");
        let viewer_seconds = viewers * self.seconds;
        report.figure(
            "server CPU per viewer-second",
            1000.0 * process.ran / viewer_seconds,
            "ms",
        );
        report.figure(
            "involuntary context switches",
            process.switches as f64 / self.seconds,
            "/s",
        );
        match &process.syscalls {
            Ok(calls) => report.figure("system calls per GB", *calls as f64 / gigabytes, "/GB"),
            Err(why) => report.fact("system calls per GB", format!("not measured: {why}")),
        }
        let kilobytes = |bytes: u64| bytes as f64 / 1024.0;
        report.figure("PSS", kilobytes(process.memory.pss), "KiB");
        report.figure("  of it shared blocks", kilobytes(process.memory.pss_shared), "KiB");
        report.figure("  per viewer", kilobytes(process.memory.pss) / viewers, "KiB");
        report.figure("anonymous private memory", kilobytes(process.memory.anonymous), "KiB");
        match &process.sockets {
            Ok(held) => {
                report.figure("socket memory of the server", kilobytes(held.bytes), "KiB");
                report.figure("  per viewer", kilobytes(held.bytes) / viewers, "KiB");
                report.figure("TCP sockets of the server", held.sockets as f64, "");
            }
            Err(why) => report.fact("socket memory of the server", format!("not measured: {why}")),
        }
    }

    /// Bytes and CPU over time.
    pub fn plot(&self, report: &mut Report) {
        let rate = |of: fn(&Sample) -> f64| {
            let pairs = self
                .samples
                .windows(2)
                .filter(|two| two[1].seconds - two[0].seconds > 0.1);
            pairs
                .map(|two| {
                    (
                        two[1].seconds,
                        (of(&two[1]) - of(&two[0])) / (two[1].seconds - two[0].seconds),
                    )
                })
                .filter(|point| point.1.is_finite())
                .collect::<Vec<_>>()
        };
        let mut plot = |title: &str, unit, points| {
            report.plot(Plot {
                title: title.into(),
                scale: Scale::Seconds,
                unit,
                lines: vec![Line {
                    name: title.to_lowercase(),
                    points,
                }],
            });
        };
        plot("Delivered", "Gb/s", rate(|sample| sample.bytes as f64 * 8e-9));
        plot("Server CPU", "% of a core", rate(|sample| sample.ran * 100.0));
    }
}

/// What viewers saw: first byte, latency, gaps.
pub fn plot_findings(report: &mut Report, found: &Findings) {
    let first = [
        ("all viewers", &found.first_byte),
        ("joins under load", &found.first_byte_joining),
    ];
    plot_times(report, "First byte", &first);
    plot_times(report, "Added latency", &[("publisher to viewer", &found.latency)]);
    plot_times(report, "Longest gap of a viewer", &[("viewers", &found.gap)]);
}

/// How times are distributed, from the fastest to the slowest.
pub fn plot_times(report: &mut Report, title: &str, lines: &[(&str, &Times)]) {
    let lines = lines.iter().filter(|(_, times)| times.count() > 0);
    report.plot(Plot {
        title: title.into(),
        scale: Scale::Percentile,
        unit: "ms",
        lines: lines
            .map(|(name, times)| Line {
                name: (*name).into(),
                points: times.curve_millis(),
            })
            .collect(),
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn an_account_has_what_was_spent_between_its_ends() {
        let (bytes, seen) = (Arc::new(AtomicU64::new(7)), Arc::new(AtomicU64::new(0)));
        let (read, looks) = (Arc::clone(&bytes), Arc::clone(&seen));
        let account = Account::open(Some(std::process::id()), move || {
            looks.fetch_add(1, Ordering::Relaxed);
            read.load(Ordering::Relaxed)
        })
        .unwrap();
        bytes.store(1_000_000_007, Ordering::Relaxed);
        // Both ends' looks and the first sample, then two of the pace.
        let deadline = Instant::now() + Duration::from_secs(20);
        while seen.load(Ordering::Relaxed) < 4 {
            assert!(Instant::now() < deadline);
        }
        let statement = account.close().unwrap();
        assert_eq!(statement.bytes, 1_000_000_000);
        let process = statement.process.as_ref().unwrap();
        assert!(
            process.ran > 0.1 && statement.per_gigabyte() == process.ran,
            "it looked for a second: {process:?}"
        );
        let mut report = Report::new();
        statement.report(&mut report, 10.0);
        statement.plot(&mut report);
        let json = report.json();
        let rows = json.as_array().unwrap();
        let value = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap()["value"].as_f64();
        assert_eq!(value("server CPU per GB"), Some(process.ran));
        let plot = |name: &str| rows.iter().find(|row| row["plot"] == name).unwrap()["lines"][0]["points"].clone();
        for name in ["Delivered", "Server CPU"] {
            assert!(plot(name).as_array().unwrap().len() >= 2, "{name}: {}", plot(name));
        }
    }

    #[test]
    fn without_a_process_there_are_bytes_alone() {
        let statement = Account::open(None, || 5).unwrap().close().unwrap();
        assert!(statement.process.is_none() && statement.per_gigabyte().is_nan());
        assert_eq!(statement.bytes, 0);
    }
}
