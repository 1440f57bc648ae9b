//! `instructions`: how many instructions does each step take? A count that a busy machine does not change.
//!
//! Each body runs under `valgrind --tool=cachegrind`, once for a few rounds and once for more: the difference is the
//! rounds' own, without the program's start and the step's setting up.

use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::{Step, all};
use crate::report::Report;

const FEW: u64 = 2;
const MORE: u64 = 6;

/// Which steps are counted.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Only steps whose `name/size` contains it.
    #[arg(default_value = "")]
    filter: String,
}

/// Not for people: what runs under valgrind.
#[derive(Clone, Debug, clap::Args)]
pub struct StepOptions {
    /// `name/size`.
    step: String,
    rounds: u64,
}

/// Counts them all.
///
/// # Errors
/// Valgrind failed. That there is none is said in the report.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new();
    report.title("instructions");
    let steps: Vec<Step> = all()
        .into_iter()
        .filter(|step| path(step).contains(&options.filter))
        .collect();
    if steps.is_empty() {
        bail!("no step is named {}", options.filter);
    }
    let version = Command::new("valgrind").arg("--version").stdin(Stdio::null()).output();
    let Ok(version) = version else {
        report.fact(
            "instructions",
            "not measured: valgrind is not installed (apt-get install valgrind)",
        );
        return Ok(report);
    };
    report.fact("counted by", String::from_utf8_lossy(&version.stdout).trim());
    for step in steps {
        eprintln!("{}", path(&step));
        let rounds = count(&step, MORE)?.saturating_sub(count(&step, FEW)?) as f64;
        let each = rounds / ((MORE - FEW) * step.units) as f64;
        let unit = if step.unit == "frame" { "Ir/frame" } else { "Ir" };
        let name = if unit == "Ir" {
            format!("{} per {}", path(&step), step.unit)
        } else {
            path(&step)
        };
        report.figure(&name, each.round(), unit);
    }
    Ok(report)
}

/// Does a step for some rounds.
pub fn run_step(options: &StepOptions) -> anyhow::Result<()> {
    let steps = all();
    let step = steps.iter().find(|step| path(step) == options.step);
    let mut body = (step.context("no such step")?.start)();
    for _ in 0..options.rounds {
        body();
    }
    Ok(())
}

fn path(step: &Step) -> String {
    format!("{}/{}", step.name, step.size)
}

fn count(step: &Step, rounds: u64) -> anyhow::Result<u64> {
    let program = crate::server::build_folder()?.join("penstock-benches");
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(program)
        .args(["step", &path(step), &rounds.to_string()])
        .stdin(Stdio::null())
        .output()
        .context("cannot run valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{} under valgrind: {}\n{said}", path(step), output.status);
    }
    counted(&said).with_context(|| format!("valgrind counted nothing:\n{said}"))
}

/// `==123== I   refs:      1,234,567`.
fn counted(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some("I") && words.next() == Some("refs:")
    })?;
    line.split_whitespace().last()?.replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_what_valgrind_says() {
        let said = "==7== Cachegrind\n--7-- warning: L3 cache found\n==7== \n==7== I   refs:      1,234,567\n";
        assert_eq!(counted(said), Some(1_234_567));
        assert_eq!(counted("==7== D   refs: 5\n"), None);
    }
}
