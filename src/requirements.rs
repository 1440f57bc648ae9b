//! What the kernel and the limits of the process must give before a shard can run, and what the operator is told when
//! they do not: one line with what is missing and the command that mends it.
//!
//! Nothing is refused by a guess: rings are made in earnest, and what is said here is read off the kernel's answer and
//! the facts beside it. The two floors that are known before stand in [`locked_memory`] and [`descriptors`].

use std::io;
use std::time::Duration;

use anyhow::bail;
use penstock_shard::executor;
use penstock_shard::sys::{socket, uring};

use crate::limits;

/// The oldest kernel that has what the rings ask for: `IORING_SETUP_DEFER_TASKRUN`.
const KERNEL_MIN: (u32, u32) = (6, 1);

/// Locked memory of one shard's own ring with its queues, on kernels that count rings (measured on 6.18: 164 KiB, and a page).
const RING_LOCKED_BYTES: u64 = 168 * 1024;

/// The ring that looks whether there is room, which is counted a moment behind its end.
const LOOK_LOCKED_BYTES: u64 = 16 * 1024;

/// How long a start waits for the locked memory of a process that has just ended, and how often it looks: the kernel
/// takes rings apart within some ten ms, more under load.
const LOCKED_WAIT: Duration = Duration::from_secs(2);
const LOCKED_PAUSE: Duration = Duration::from_millis(10);

/// Error numbers of Linux, the same on every architecture that we run on.
const EPERM: i32 = 1;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const EINVAL: i32 = 22;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ENOSYS: i32 = 38;
const EOPNOTSUPP: i32 = 95;

/// What stands beside a kernel's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// As `uname -r` prints it.
    pub release: String,
    /// `kernel.io_uring_disabled`; none before 6.6.
    pub disabled: Option<u8>,
    /// A seccomp filter looks at the process's system calls.
    pub filtered: bool,
    pub locked_bytes: u64,
    pub shards: usize,
}

impl Facts {
    pub fn gather(locked_bytes: u64, shards: usize) -> Facts {
        let line = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).ok();
        let disabled = line("/proc/sys/kernel/io_uring_disabled").and_then(|text| text.parse().ok());
        Facts {
            release: line("/proc/sys/kernel/osrelease").unwrap_or_default(),
            disabled,
            filtered: status("Seccomp").is_some_and(|mode| mode == 2),
            locked_bytes,
            shards,
        }
    }
}

/// Why a shard could not be made, in words for whoever can mend it.
pub fn refused(error: &io::Error, facts: &Facts) -> String {
    let release = &facts.release;
    let is_old = version(release).is_some_and(|found| found < KERNEL_MIN);
    match error.raw_os_error() {
        Some(EINVAL | ENOSYS) if is_old => format!(
            "Linux {release} is too old: io_uring as penstock needs it is there from {}.{} on; boot a newer kernel (`uname -r` says which one runs)",
            KERNEL_MIN.0, KERNEL_MIN.1
        ),
        Some(EINVAL) => format!(
            "this system calls itself Linux {release} but lacks the io_uring of {}.{} (gVisor, or another sandbox that plays Linux?); run penstock on the kernel itself",
            KERNEL_MIN.0, KERNEL_MIN.1
        ),
        Some(EPERM | EACCES | ENOSYS) => forbidden(error, facts),
        Some(ENOMEM) if facts.locked_bytes < u64::MAX => too_little_locked(facts.locked_bytes, facts.shards),
        Some(ENOMEM) => "the kernel has no memory for io_uring; stop something, or lower config.penstock.shards".into(),
        // What `shard::reserve` says when a shard that must send so cannot.
        Some(EOPNOTSUPP) => format!(
            "config.penstock.zero_copy is \"on\", and Linux {release} has no zero-copy sends as penstock needs them (SEND_ZC that reports its use, from 6.2 on); set it to \"auto\" or \"off\", or boot a newer kernel"
        ),
        Some(EMFILE | ENFILE) => format!("too few open files are allowed: {MEND_DESCRIPTORS}"),
        _ => format!("a shard could not be started: {error}"),
    }
}

fn forbidden(error: &io::Error, facts: &Facts) -> String {
    const SECCOMP: &str = "a seccomp filter forbids io_uring: docker and podman need `--security-opt seccomp=unconfined` or a profile that allows io_uring_setup, io_uring_enter and io_uring_register; a systemd unit needs `SystemCallFilter=io_uring_setup io_uring_enter io_uring_register`";
    const GROUP: &str = "io_uring is for one group only on this machine: `sysctl -w kernel.io_uring_disabled=0`, or make kernel.io_uring_group a group of penstock's user";
    let is_missing = error.raw_os_error() == Some(ENOSYS);
    match (facts.disabled, facts.filtered) {
        (Some(2..), _) => "io_uring is switched off on this machine: `sysctl -w kernel.io_uring_disabled=0`, and the same in /etc/sysctl.d to keep it".into(),
        // A unit with a filter that allows it is filtered all the same.
        (Some(1), true) if !is_missing => format!("{GROUP}; if that is done, {SECCOMP}"),
        (Some(1), false) if !is_missing => GROUP.into(),
        (_, true) => SECCOMP.into(),
        (_, false) if is_missing => format!("Linux {} was built without io_uring; boot a kernel with CONFIG_IO_URING=y", facts.release),
        _ => "a security module (SELinux, AppArmor) forbids io_uring; its denial stands in the kernel log: `journalctl -k -g denied`".into(),
    }
}

/// The limit of locked memory, raised as far as this process may.
///
/// # Errors
/// The executor's floor is not reached.
pub fn locked_memory(shards: usize) -> anyhow::Result<u64> {
    let limit = socket::raise_locked_memory_limit(executor::LOCKED_BYTES_MIN)?;
    if limit < executor::LOCKED_BYTES_MIN {
        bail!(too_little_locked(limit, shards));
    }
    let wanted = wanted_locked(shards);
    if wanted <= limit {
        // A restart: the rings of the process before this one may still be counted. What does not come free is found
        // when rings are made, and a kernel that does not count them needs none.
        let _ = uring::await_lockable(wanted as usize, LOCKED_WAIT, LOCKED_PAUSE);
    }
    Ok(limit)
}

fn wanted_locked(shards: usize) -> u64 {
    LOOK_LOCKED_BYTES + shards as u64 * (RING_LOCKED_BYTES + executor::RINGS_LOCKED_BYTES as u64)
}

fn too_little_locked(limit: u64, shards: usize) -> String {
    let wanted = wanted_locked(shards).max(executor::LOCKED_BYTES_MIN) / 1024;
    let limit = limit / 1024;
    let what = match wanted > limit {
        true => format!("too little memory may be locked: {limit} KiB, and {shards} shards want {wanted} KiB"),
        false => {
            format!("other processes of this user hold the memory that may be locked: {limit} KiB for all of them")
        }
    };
    format!(
        "{what}: `ulimit -l unlimited` as root before the start, LimitMEMLOCK=infinity in a unit, `--ulimit memlock=-1` for a container, or fewer config.penstock.shards"
    )
}

/// What to say when the executors run without the memory that they would have registered.
pub fn goes_without(shards: usize) -> Option<String> {
    let registered = status("VmPin")? * 1024;
    let wanted = shards as u64 * executor::REGISTERED_BYTES;
    (registered < wanted).then(|| {
        "locked memory is short: no registered buffers, files are read with a copy more; LimitMEMLOCK=infinity or `ulimit -l unlimited` gives them".into()
    })
}

const MEND_DESCRIPTORS: &str = "`ulimit -n 65536` as root before the start, LimitNOFILE=1048576 in a unit, `--ulimit nofile=1048576` for a container";

/// Open files that are allowed, the limit raised as far as it goes, and how many of them are left for connections.
///
/// # Errors
/// No connection could be had.
pub fn descriptors(shards: usize) -> anyhow::Result<(u64, u64)> {
    let allowed = socket::raise_descriptor_limit()?;
    let reserved = limits::DESCRIPTORS_RESERVED + limits::DESCRIPTORS_PER_SHARD * shards as u64;
    match allowed.checked_sub(reserved) {
        None | Some(0) => bail!(
            "{allowed} open files are too few: {reserved} are taken before the first connection: {MEND_DESCRIPTORS}"
        ),
        Some(possible) => Ok((allowed, possible)),
    }
}

/// `6.8.0-31-generic` as (6, 8).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// A number of `/proc/self/status`.
fn status(key: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_is_wrong_and_what_mends_it() {
        let facts = |release: &str, disabled, filtered| Facts {
            release: release.into(),
            disabled,
            filtered,
            locked_bytes: 64 * 1024,
            shards: 8,
        };
        let cases = [
            (
                EINVAL,
                facts("5.15.0-91-generic", None, false),
                "5.15.0-91-generic is too old",
            ),
            (ENOSYS, facts("4.19.0", None, true), "4.19.0 is too old"),
            (EINVAL, facts("6.0.19", None, false), "from 6.1 on"),
            (EINVAL, facts("6.1.0-18-amd64", None, false), "plays Linux"),
            (EINVAL, facts("10.2", None, false), "plays Linux"),
            (
                EPERM,
                facts("6.18", Some(2), false),
                "sysctl -w kernel.io_uring_disabled=0",
            ),
            (
                EPERM,
                facts("6.18", Some(2), true),
                "sysctl -w kernel.io_uring_disabled=0",
            ),
            (EPERM, facts("6.18", Some(1), false), "kernel.io_uring_group"),
            (EPERM, facts("6.18", Some(1), true), "kernel.io_uring_group"),
            (EPERM, facts("6.18", Some(1), true), "if that is done, a seccomp filter"),
            (ENOSYS, facts("6.18", Some(1), true), "seccomp=unconfined"),
            (EPERM, facts("6.18", Some(0), true), "SystemCallFilter=io_uring_setup"),
            (ENOSYS, facts("6.18", Some(0), true), "--security-opt seccomp"),
            (ENOSYS, facts("6.18", None, false), "CONFIG_IO_URING=y"),
            (EACCES, facts("6.18", Some(0), false), "SELinux"),
            (
                ENOMEM,
                facts("6.18", Some(0), false),
                "64 KiB, and 8 shards want 1744 KiB",
            ),
            (EMFILE, facts("6.18", Some(0), false), "ulimit -n"),
            (
                EOPNOTSUPP,
                facts("6.1.0-18-amd64", None, false),
                "set it to \"auto\" or \"off\"",
            ),
        ];
        for (errno, facts, words) in cases {
            let said = refused(&io::Error::from_raw_os_error(errno), &facts);
            assert!(said.contains(words), "{errno} {facts:?}: {said}");
            assert!(!said.contains('\n'), "{said}");
        }
        let other = refused(&io::Error::other("no"), &facts("6.18", None, false));
        assert_eq!(other, "a shard could not be started: no");
    }

    #[test]
    fn versions_are_read_off_releases() {
        for (release, expected) in [
            ("6.1.0-18-amd64", Some((6, 1))),
            ("6.18.44-fc-v657", Some((6, 18))),
            ("5.10-rc3", Some((5, 10))),
            ("6", None),
            ("", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
        assert!(version(&Facts::gather(0, 1).release).is_some());
    }
}
