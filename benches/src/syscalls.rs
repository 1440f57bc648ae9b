//! System calls of any process, counted by the kernel: `perf_event_open(2)` on the tracepoint `raw_syscalls:sys_enter`.
//!
//! A send that goes through an io_uring is no system call of its own; the `io_uring_enter` that issues it is one. Counting
//! costs each call some tens of ns, on whatever side is counted.

use std::path::Path;

use anyhow::Context;
use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};

use crate::proc;

/// Where the kernel's own tracing may be mounted.
const TRACING: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Counts from its opening on, for all threads that were there then and those that they start.
#[derive(Debug)]
pub struct Syscalls(Vec<Counter>);

impl Syscalls {
    /// # Errors
    /// Why nothing can be counted here, for whoever reads the report.
    pub fn open(pid: u32) -> anyhow::Result<Syscalls> {
        let event = Tracepoint::with_id(tracepoint()?);
        let mut counters = Vec::new();
        for thread in proc::threads(pid)? {
            let mut builder = Builder::new(event);
            builder
                .observe_pid(i32::try_from(thread)?)
                .any_cpu()
                .inherit(true)
                .include_kernel();
            let mut counter = builder
                .build()
                .context("perf_event_open refuses (needs root or CAP_PERFMON)")?;
            counter.enable().context("the counter does not start")?;
            counters.push(counter);
        }
        Ok(Syscalls(counters))
    }

    pub fn count(&mut self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for counter in &mut self.0 {
            sum += counter.read()?;
        }
        Ok(sum)
    }
}

fn tracepoint() -> anyhow::Result<u64> {
    let read = |folder: &&str| {
        let path = Path::new(folder).join("events/raw_syscalls/sys_enter/id");
        std::fs::read_to_string(path).ok()
    };
    let text = TRACING.iter().find_map(read);
    let text = text.context("no tracefs, or not for us (mount -t tracefs none /sys/kernel/tracing)")?;
    text.trim().parse().context("the tracepoint has no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_a_child_are_counted_or_it_is_said_why_not() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "read go; for n in 1 2 3 4 5 6 7 8 9 10; do cd /; done; read end"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let opened = Syscalls::open(child.id());
        std::io::Write::write_all(&mut input, b"go\n").unwrap();
        match opened {
            Ok(mut counter) => {
                // It reads, changes its folder ten times, and reads again.
                let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
                while counter.count().unwrap() < 12 {
                    assert!(std::time::Instant::now() < deadline, "{}", counter.count().unwrap());
                    std::thread::yield_now();
                }
                assert!(counter.count().unwrap() < 1000);
            }
            Err(error) => {
                let why = format!("{error:#}");
                assert!(why.contains("tracefs") || why.contains("perf_event_open"), "{why}");
            }
        }
        drop(input);
        child.wait().unwrap();
        assert!(Syscalls::open(0).is_err());
    }
}
