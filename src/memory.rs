//! How much memory rings and feeds get: what the operator says, or half of what the process may use.
//!
//! What it may use is the machine's RAM, or the lowest limit of its control groups: `memory.max` of version 2 and
//! `memory.limit_in_bytes` of version 1, its own group's and those of all groups above it that can be seen.
//!
//! Read once, at the start; the kernel's files are below a root, so that tests can say what stands in them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};
use penstock_shard::pool::limits::BUDGET_BYTES_MAX;

use crate::limits::{MEMORY_BYTES_MIN, MEMORY_PERCENT};

/// What the operator says of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing.
    Default,
    /// `config.penstock.memory_bytes`
    Configured(u64),
    /// `--memory`
    Asked(Amount),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    Bytes(u64),
    /// Of what the process may use; 1 to 100.
    Percent(u8),
}

/// A text that is no amount of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AmountError {
    Unreadable,
    Percent,
    OutOfRange,
}

impl fmt::Display for AmountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AmountError::Unreadable => write!(f, "neither bytes (8589934592, 512M, 8G) nor a share (50%)"),
            AmountError::Percent => write!(f, "a share is a whole number from 1% to 100%"),
            AmountError::OutOfRange => {
                let (min, max) = (words(MEMORY_BYTES_MIN), words(BUDGET_BYTES_MAX));
                write!(f, "not between {min} and {max}")
            }
        }
    }
}

impl std::error::Error for AmountError {}

impl FromStr for Amount {
    type Err = AmountError;

    /// `8G`, `512M`, `1048576K`, `1T`, `8GiB`, bytes without a unit, `50%`. Units are powers of 1024.
    fn from_str(text: &str) -> Result<Amount, AmountError> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(AmountError::Unreadable);
        }
        let unit = unit.trim_start().to_ascii_lowercase();
        let shift = match unit.as_str() {
            "%" => {
                let percent = number.parse().ok().filter(|percent| (1..=100).contains(percent));
                return percent.map(Amount::Percent).ok_or(AmountError::Percent);
            }
            "" | "b" => 0,
            "k" | "kib" => 10,
            "m" | "mib" => 20,
            "g" | "gib" => 30,
            "t" | "tib" => 40,
            _ => return Err(AmountError::Unreadable),
        };
        let bytes = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(1 << shift));
        let within = |bytes: &u64| (MEMORY_BYTES_MIN..=BUDGET_BYTES_MAX).contains(bytes);
        bytes.filter(within).map(Amount::Bytes).ok_or(AmountError::OutOfRange)
    }
}

/// The budget, and in words where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    pub bytes: u64,
    pub source: String,
    /// It is more than the process may use: the kernel may end the process before the budget is short.
    pub exceeds: Option<String>,
}

/// # Errors
/// A share is asked for, and the kernel does not say of what.
pub fn budget(wanted: Wanted) -> anyhow::Result<Budget> {
    budget_below(Path::new("/"), wanted)
}

fn budget_below(root: &Path, wanted: Wanted) -> anyhow::Result<Budget> {
    let usable = || Usable::find(root);
    let (bytes, source) = match wanted {
        Wanted::Configured(bytes) => (bytes, "config.penstock.memory_bytes".to_owned()),
        Wanted::Asked(Amount::Bytes(bytes)) => (bytes, "--memory".to_owned()),
        Wanted::Asked(Amount::Percent(percent)) => {
            let usable = usable().context("--memory wants a share of the memory")?;
            let bytes = usable.share(percent);
            if bytes < MEMORY_BYTES_MIN {
                let (bytes, min) = (words(bytes), words(MEMORY_BYTES_MIN));
                bail!("--memory {percent}% of {usable} is {bytes}; at least {min} are needed");
            }
            (bytes, format!("--memory {percent}% of {usable}"))
        }
        Wanted::Default => {
            let usable = usable().context("no memory budget is given (--memory, config.penstock.memory_bytes)")?;
            let bytes = usable.share(MEMORY_PERCENT).max(MEMORY_BYTES_MIN);
            (bytes, format!("{MEMORY_PERCENT}% of {usable}"))
        }
    };
    let exceeds = usable().ok().filter(|usable| bytes > usable.bytes);
    Ok(Budget {
        bytes: bytes.min(BUDGET_BYTES_MAX),
        source,
        exceeds: exceeds.map(|usable| usable.to_string()),
    })
}

/// What the process may use, and who says so.
#[derive(Debug)]
struct Usable {
    bytes: u64,
    /// The file of a control group; none: it is the machine's RAM.
    limit: Option<PathBuf>,
}

impl fmt::Display for Usable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = words(self.bytes);
        match &self.limit {
            None => write!(f, "{bytes} of RAM"),
            Some(file) => write!(f, "the {bytes} that {} allows", file.display()),
        }
    }
}

impl Usable {
    fn find(root: &Path) -> anyhow::Result<Usable> {
        let ram = Usable {
            bytes: ram_bytes(root)?,
            limit: None,
        };
        // Control groups that cannot be read limit nothing that could be known.
        let limits = group_limits(root).into_iter().map(|(bytes, file)| Usable {
            bytes,
            limit: Some(file),
        });
        let lowest = limits.min_by_key(|limit| limit.bytes);
        Ok(lowest.filter(|limit| limit.bytes < ram.bytes).unwrap_or(ram))
    }

    fn share(&self, percent: u8) -> u64 {
        (u128::from(self.bytes) * u128::from(percent) / 100) as u64
    }
}

fn ram_bytes(root: &Path) -> anyhow::Result<u64> {
    const FILE: &str = "proc/meminfo";
    let text = fs::read_to_string(root.join(FILE)).context("/proc/meminfo cannot be read")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let bytes = kilobytes.and_then(|kilobytes| kilobytes.checked_mul(1024));
    bytes
        .filter(|bytes| *bytes > 0)
        .context("/proc/meminfo does not say how much memory there is")
}

/// Every limit on this process's memory, with the file that says it (without the root).
fn group_limits(root: &Path) -> Vec<(u64, PathBuf)> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let (groups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let mut limits = Vec::new();
    for line in groups.lines() {
        // `4:memory:/a/b`, or `0::/a/b` of version 2.
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let version = match controllers {
            "" => Version::Two,
            list if list.split(',').any(|name| name == "memory") => Version::One,
            _ => continue,
        };
        for mount in mounts.lines().filter_map(|line| Mount::parse(line, version)) {
            limits.extend(mount.limits(root, group, version.file()));
        }
    }
    limits
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    fn file(self) -> &'static str {
        match self {
            Version::One => "memory.limit_in_bytes",
            Version::Two => "memory.max",
        }
    }
}

/// Where a hierarchy of groups is to be seen.
#[derive(Debug)]
struct Mount {
    /// The group that is seen at the mount's point: `/`, or a container's own.
    group: PathBuf,
    point: PathBuf,
}

impl Mount {
    /// A line of mountinfo (proc(5)), when it is the hierarchy that limits memory.
    fn parse(line: &str, version: Version) -> Option<Mount> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (group, point) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        let is_it = match version {
            Version::One => kind == "cgroup" && options.split(',').any(|option| option == "memory"),
            Version::Two => kind == "cgroup2",
        };
        is_it.then(|| Mount {
            group: group.into(),
            point: unescaped(point).into(),
        })
    }

    /// The limits of a group and of those above it, up to the mount's point.
    fn limits(&self, root: &Path, group: &str, file: &str) -> Vec<(u64, PathBuf)> {
        let group = Path::new(group);
        // A group outside of what is mounted (`/..`) is not to be seen; what is seen at the point is above it, or itself.
        let inside = group.strip_prefix(&self.group).unwrap_or(Path::new(""));
        let inside = match inside.components().any(|part| part.as_os_str() == "..") {
            true => Path::new(""),
            false => inside,
        };
        let mut limits = Vec::new();
        for above in inside.ancestors() {
            let path = self.point.join(above).join(file);
            let Ok(text) = fs::read_to_string(root.join(path.strip_prefix("/").unwrap_or(&path))) else {
                continue;
            };
            // `max` is none. Version 1 writes a number beyond all memory.
            limits.extend(text.trim().parse().ok().map(|bytes| (bytes, path)));
        }
        limits
    }
}

/// mountinfo writes spaces and such as `\040`.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out += &rest[..at];
        let code = rest
            .get(at + 1..at + 4)
            .and_then(|octal| u8::from_str_radix(octal, 8).ok());
        match code {
            Some(code) => {
                out.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out + rest
}

/// An amount as people say it; exact when it is whole.
fn words(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes >= 1 << shift) {
        Some((shift, unit)) if bytes.is_multiple_of(1 << shift) => format!("{} {unit}", bytes >> shift),
        Some((shift, unit)) => format!("{:.1} {unit}", bytes as f64 / (1_u64 << shift) as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests;
