//! What `/proc` says of the server and the machine (`proc(5)`).

use std::path::PathBuf;

use anyhow::Context;

use crate::sys;

/// CPU time of a process since its start, seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    pub user: f64,
    pub system: f64,
}

impl Cpu {
    pub fn total(self) -> f64 {
        self.user + self.system
    }

    pub fn since(self, before: Cpu) -> Cpu {
        Cpu {
            user: self.user - before.user,
            system: self.system - before.system,
        }
    }
}

/// Memory of a process, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Anonymous pages: heap and stacks. Shared memory (the mapped blocks) is none of it.
    pub anonymous: u64,
    /// All that is resident, shared pages in parts.
    pub pss: u64,
    /// Of it: shared memory, which is the budgeted blocks.
    pub pss_shared: u64,
}

pub fn cpu(pid: u32) -> anyhow::Result<Cpu> {
    let text = read(format!("/proc/{pid}/stat"))?;
    parse_stat(&text, sys::ticks_per_second()).with_context(|| format!("/proc/{pid}/stat says {text:?}"))
}

/// Time that a process's threads have run, seconds, to the nanosecond; of threads that are there now.
pub fn run_seconds(pid: u32) -> anyhow::Result<f64> {
    let mut nanos = 0;
    for text in of_threads(pid, "schedstat")? {
        let ran = text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
        nanos += ran.with_context(|| format!("a schedstat of {pid} says {text:?}"))?;
    }
    Ok(nanos as f64 / 1e9)
}

/// How often a process's threads were taken off their core although they had more to do.
pub fn involuntary_switches(pid: u32) -> anyhow::Result<u64> {
    let mut switches = 0;
    for text in of_threads(pid, "status")? {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
        let count = line.and_then(|count| count.trim().parse::<u64>().ok());
        switches += count.with_context(|| format!("a status of {pid} has no switches"))?;
    }
    Ok(switches)
}

/// Threads of a process.
pub fn threads(pid: u32) -> anyhow::Result<Vec<u32>> {
    let path = format!("/proc/{pid}/task");
    let entries = std::fs::read_dir(&path).with_context(|| format!("cannot read {path}"))?;
    let number = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    Ok(entries.filter_map(number).collect())
}

/// A file of each thread; those that end meanwhile are left out.
fn of_threads(pid: u32, file: &str) -> anyhow::Result<Vec<String>> {
    let texts = threads(pid)?
        .into_iter()
        .filter_map(|thread| std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/{file}")).ok());
    let texts: Vec<String> = texts.collect();
    anyhow::ensure!(!texts.is_empty(), "process {pid} has no thread with a {file}");
    Ok(texts)
}

/// The program of a process.
pub fn program(pid: u32) -> String {
    let program = std::fs::read_link(format!("/proc/{pid}/exe"));
    program.map_or_else(|_| "unknown".into(), |path| path.display().to_string())
}

/// Cores that a process may run on, as `0-3,8`.
pub fn cores_of(pid: u32) -> anyhow::Result<String> {
    let text = read(format!("/proc/{pid}/status"))?;
    let cores = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    Ok(cores.context("a status names cores")?.trim().to_owned())
}

pub fn memory(pid: u32) -> anyhow::Result<Memory> {
    let text = read(format!("/proc/{pid}/smaps_rollup"))?;
    parse_smaps(&text).with_context(|| format!("/proc/{pid}/smaps_rollup says {text:?}"))
}

/// Memory that the kernel holds for the whole machine, bytes: both ends of loopback, and all else that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    /// Bytes queued in TCP sockets, by the page.
    pub buffers: u64,
    /// Objects that cannot be given back: sockets, files and their like, and everything else's.
    pub slab: u64,
}

pub fn kernel() -> anyhow::Result<Kernel> {
    let (sockets, memory) = (read("/proc/net/sockstat")?, read("/proc/meminfo")?);
    Ok(Kernel {
        buffers: parse_sockstat(&sockets).context("/proc/net/sockstat has no TCP mem")?,
        slab: kilobytes(&memory, "SUnreclaim").context("/proc/meminfo has no SUnreclaim")?,
    })
}

/// The machine, for a report that somebody else reads: kernel, processor, cores, and what is done against its flaws.
pub fn machine() -> Vec<(&'static str, String)> {
    let kernel = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = read("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        ("kernel", kernel.trim().to_owned()),
        ("processor", model.to_owned()),
        ("cores", cores.to_string()),
        ("mitigations", mitigations()),
    ]
}

/// What the kernel does about each flaw that the processor has.
fn mitigations() -> String {
    let Ok(entries) = std::fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else {
        return "unknown".into();
    };
    let line = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let text = std::fs::read_to_string(entry.path()).ok()?;
        let text = text.trim();
        let is_flawed = text != "Not affected";
        is_flawed.then(|| format!("{}: {text}", entry.file_name().to_string_lossy()))
    };
    let mut lines: Vec<String> = entries.filter_map(line).collect();
    lines.sort();
    if lines.is_empty() {
        return "none needed".into();
    }
    lines.join("; ")
}

fn read(path: impl Into<PathBuf>) -> anyhow::Result<String> {
    let path = path.into();
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Fields 14 and 15, counted from behind the name, which may contain anything.
fn parse_stat(text: &str, ticks_per_second: u64) -> Option<Cpu> {
    let (_, behind) = text.rsplit_once(')')?;
    let mut fields = behind.split_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<u64>().ok()? as f64 / ticks_per_second as f64);
    Some(Cpu {
        user: seconds()?,
        system: seconds()?,
    })
}

fn parse_smaps(text: &str) -> Option<Memory> {
    Some(Memory {
        anonymous: kilobytes(text, "Anonymous")?,
        pss: kilobytes(text, "Pss")?,
        pss_shared: kilobytes(text, "Pss_Shmem").unwrap_or(0),
    })
}

/// `NAME:   VALUE kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let mut words = line.split_whitespace();
    let kilobytes: u64 = words.next()?.parse().ok()?;
    (words.next() == Some("kB")).then_some(kilobytes * 1024)
}

fn parse_sockstat(text: &str) -> Option<u64> {
    const PAGE_BYTES: u64 = 4096;
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_whitespace().skip_while(|word| *word != "mem");
    words.next()?;
    Some(words.next()?.parse::<u64>().ok()? * PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_times_stand_behind_any_name() {
        let text = "4242 (a ) (b) S 1 2 3 4 5 6 7 8 9 10 123 45 6 7 20 0 3 0";
        let expected = Cpu {
            user: 1.23,
            system: 0.45,
        };
        assert_eq!(parse_stat(text, 100), Some(expected));
        for short in [
            "",
            "1 (x",
            "1 (x) S 1 2 3 4 5 6 7 8 9 10 123",
            "1 (x) S a b c d e f g h i j k l",
        ] {
            assert_eq!(parse_stat(short, 100), None, "{short:?}");
        }
        assert!(cpu(std::process::id()).unwrap().total() >= 0.0);
    }

    #[test]
    fn threads_are_summed_to_the_nanosecond() {
        let own = std::process::id();
        let (ran, switched) = (run_seconds(own).unwrap(), involuntary_switches(own).unwrap());
        let busy = std::thread::spawn(move || {
            // Waits for its own clock: other tests may have both cores.
            while run_seconds(own).unwrap() < ran + 0.003 {}
        });
        busy.join().unwrap();
        assert!(involuntary_switches(own).unwrap() + 1000 > switched);
        assert!(threads(own).unwrap().contains(&own));
        assert!(program(own).contains("penstock_benches"), "{}", program(own));
        assert!(!cores_of(own).unwrap().is_empty());
        assert!(run_seconds(0).is_err());
        let told: Vec<&str> = machine().iter().map(|line| line.0).collect();
        assert_eq!(told, ["kernel", "processor", "cores", "mitigations"]);
    }

    #[test]
    fn memory_is_read_by_whole_names() {
        let text = "5581 - 7ffd [rollup]\nRss: 900 kB\nPss:                 800 kB\nPss_Anon: 1 kB\nPss_Shmem: 300 kB\n\
                    Anonymous:     72 kB\nAnonHugePages: 9 kB\n";
        let expected = Memory {
            anonymous: 72 * 1024,
            pss: 800 * 1024,
            pss_shared: 300 * 1024,
        };
        assert_eq!(parse_smaps(text), Some(expected));
        for bad in [
            "",
            "Pss: 800 kB\n",
            "Pss: x kB\nAnonymous: 1 kB",
            "Pss: 1 MB\nAnonymous: 1 kB",
        ] {
            assert_eq!(parse_smaps(bad), None, "{bad:?}");
        }
        let own = memory(std::process::id()).unwrap();
        assert!(own.anonymous > 0 && own.pss >= own.pss_shared);
    }

    #[test]
    fn socket_memory_is_in_pages() {
        let text = "sockets: used 9\nTCP: inuse 5 orphan 0 tw 1 alloc 7 mem 3\nUDP: inuse 1 mem 2\n";
        assert_eq!(parse_sockstat(text), Some(3 * 4096));
        assert_eq!(parse_sockstat("UDP: mem 2\n"), None);
        assert!(kernel().unwrap().slab > 0);
    }
}
