//! The command line: `load` and `numbers`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::floor;
use crate::load;
use crate::numbers::{self, Number};
use crate::page;
use crate::placement;
use crate::proc;
use crate::quantity::{self, Cpus};
use crate::report::Report;
use crate::server::{self, Settings};
use crate::steps::instructions;
use crate::sys;

/// What penstock costs in fact: viewers of a live stream on this machine, and the figures they see.
#[derive(Debug, Parser)]
#[command(name = "penstock-benches", version, arg_required_else_help = true)]
struct Arguments {
    /// Also write what was measured as JSON.
    #[arg(long, value_name = "FILE", global = true)]
    json: Option<PathBuf>,
    /// Also write it as one HTML page with plots.
    #[arg(long, value_name = "FILE", global = true)]
    html: Option<PathBuf>,
    /// The penstock to start; by default the one of this build, brought up to date.
    #[arg(long, value_name = "FILE", global = true)]
    server_binary: Option<PathBuf>,
    /// Cores that the started penstock serves with; 0: all.
    #[arg(long, default_value_t = 0, global = true)]
    shards: u32,
    /// Cores for the bench: its viewers and publishers.
    #[arg(long, value_name = "LIST", value_parser = quantity::cpus, global = true)]
    cpus: Option<Cpus>,
    /// Cores for the started penstock; with --shards 1 and one core each the two do not share one.
    #[arg(long, value_name = "LIST", value_parser = quantity::cpus, global = true)]
    server_cpus: Option<Cpus>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Open viewers, watch for a while, report.
    Load(load::Options),
    /// Measure what was promised, beside its bar.
    Numbers {
        #[arg(value_enum)]
        number: Number,
    },
    /// Compare penstock's CPU per GB with the least that epoll can do, or with another server's.
    Floor(floor::Options),
    /// Count the instructions of each micro bench under valgrind.
    Instructions(instructions::Options),
    #[command(hide = true)]
    Step(instructions::StepOptions),
    #[command(hide = true)]
    FloorServer(floor::ChildOptions),
}

/// Runs the command line. The process fails when nothing could be measured, not when a bar is missed.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(report) => {
            print!("{}", report.table());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("penstock-benches: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    sys::catch_interrupts()?;
    sys::raise_descriptor_limit()?;
    let cores = |cpus: &Option<Cpus>| cpus.clone().map_or(Vec::new(), |cpus| cpus.0);
    placement::place(&cores(&arguments.cpus), &cores(&arguments.server_cpus))?;
    let settings = || -> anyhow::Result<Settings> {
        Ok(Settings {
            binary: arguments.server_binary.clone().map_or_else(server::sibling, Ok)?,
            shards: arguments.shards,
        })
    };
    let report = match &arguments.command {
        Command::Load(options) => load::run(options, settings)?,
        Command::Floor(options) => {
            let mut report = Report::new();
            report.title("machine");
            for (name, text) in proc::machine() {
                report.fact(name, text);
            }
            let settings = settings()?;
            report.fact("server", server::version(&settings.binary));
            let title = format!("floor: {} viewers of {} kb/s", options.viewers, options.bitrate);
            report.append(floor::run(options, &settings, &title, None)?);
            report
        }
        Command::Instructions(options) => instructions::run(options)?,
        Command::Step(options) => {
            instructions::run_step(options)?;
            return Ok(Report::new());
        }
        Command::FloorServer(options) => {
            floor::serve(options)?;
            return Ok(Report::new());
        }
        Command::Numbers { number } => numbers::run(*number, &settings()?)?,
    };
    if let Some(path) = &arguments.json {
        report.write_json(path)?;
    }
    if let Some(path) = &arguments.html {
        page::write(&report, path)?;
    }
    Ok(report)
}
