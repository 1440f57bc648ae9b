//! Facts of this build for `penstock --version`. Every one of them may be unknown: a tree without `.git`, a machine
//! without git and a reproducible build are all fine.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const UNKNOWN: &str = "unknown";

fn main() {
    let tree = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    // What can change the commit or the dirty flag; a tree is also dirty by its sources.
    for path in ["build.rs", "src", "shard/src", "proto/src", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={path}");
    }
    for variable in ["SOURCE_DATE_EPOCH", "PENSTOCK_COMMIT"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let (commit, dirty) = commit_of(Path::new(&tree));
    let facts = [
        ("PENSTOCK_BUILD_COMMIT", commit),
        ("PENSTOCK_BUILD_DIRTY", dirty),
        ("PENSTOCK_BUILD_DATE", date()),
        (
            "PENSTOCK_BUILD_PROFILE",
            std::env::var("PROFILE").unwrap_or(UNKNOWN.into()),
        ),
        (
            "PENSTOCK_BUILD_TARGET",
            std::env::var("TARGET").unwrap_or(UNKNOWN.into()),
        ),
        ("PENSTOCK_BUILD_RUSTC", rustc_version()),
    ];
    for (name, value) in facts {
        println!("cargo::rustc-env={name}={value}");
    }
}

/// The commit and whether the tree differs from it. `PENSTOCK_COMMIT` is for packagers who build from an archive.
fn commit_of(tree: &Path) -> (String, String) {
    if let Ok(commit) = std::env::var("PENSTOCK_COMMIT") {
        return (commit, UNKNOWN.into());
    }
    let unknown = (UNKNOWN.into(), UNKNOWN.into());
    // An archive unpacked inside somebody else's repository must not take that one's commit.
    let top = git(tree, &["rev-parse", "--show-toplevel"]);
    if top.and_then(|top| Path::new(&top).canonicalize().ok()) != tree.canonicalize().ok() {
        return unknown;
    }
    let Some(commit) = git(tree, &["rev-parse", "--short=12", "HEAD"]) else {
        return unknown;
    };
    for name in ["HEAD", "index", "logs/HEAD"] {
        if let Some(path) = git(tree, &["rev-parse", "--git-path", name]).filter(|path| tree.join(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let dirty = match git(tree, &["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => "no",
        Some(_) => "yes",
        None => UNKNOWN,
    };
    (commit, dirty.into())
}

fn git(tree: &Path, arguments: &[&str]) -> Option<String> {
    // No locks taken: a build must not disturb a commit that is being made.
    output(
        Command::new("git")
            .arg("--no-optional-locks")
            .args(arguments)
            .current_dir(tree),
    )
}

fn rustc_version() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    output(Command::new(rustc).arg("--version")).unwrap_or(UNKNOWN.into())
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// Today, or the day of `SOURCE_DATE_EPOCH` (reproducible-builds.org), in UTC.
fn date() -> String {
    let given = std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|seconds| seconds.trim().parse().ok());
    let clock = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map(|since| since.as_secs())
            .ok()
    };
    match given.or_else(clock) {
        Some(seconds) => civil_date(seconds / 86_400),
        None => UNKNOWN.into(),
    }
}

/// Year, month and day of a count of days since 1970-01-01, by whole 400-year eras that begin in March.
fn civil_date(days_since_1970: u64) -> String {
    const DAYS_FROM_ERA_TO_1970: u64 = 719_468;
    const DAYS_PER_ERA: u64 = 146_097;
    let days = days_since_1970 + DAYS_FROM_ERA_TO_1970;
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
