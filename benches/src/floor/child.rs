//! The floor as a process: `penstock-benches floor-server`, started by the bench and ended with it.
//!
//! On its standard input: the length of a plan (8 bytes), the plan, then a byte for each question after its counts, and the
//! end. On its standard output: where it listens, then its counts, one line each.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::plan::{CLASSES, Histogram, Plan};
use super::server::{Call, Counts, Floor};
use crate::clip::Clip;
use crate::{scene, server, sys};

/// Of a plan as text: a million rounds.
const PLAN_BYTES_MAX: u64 = 64 << 20;

/// Not for people: the process that [`Process`] starts.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[arg(long, value_enum)]
    call: Call,
    /// Bit rate of the clip whose bytes are sent, kb/s.
    #[arg(long)]
    bitrate: u32,
}

/// Runs the floor until standard input ends.
pub fn serve(options: &Options) -> anyhow::Result<()> {
    let mut input = std::fs::File::open("/dev/stdin").context("no standard input")?;
    let mut length = [0; 8];
    input.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    anyhow::ensure!(length <= PLAN_BYTES_MAX, "a plan of {length} bytes");
    let mut plan = Vec::new();
    (&mut input).take(length).read_to_end(&mut plan)?;
    let plan = Plan::of_json(&serde_json::from_slice(&plan)?)?;
    let clip = Clip::of(options.bitrate, &scene::clips()?)?;
    let media: Vec<u8> = clip
        .frames
        .iter()
        .flat_map(|frame| frame.body.iter().copied())
        .collect();
    let mut floor = Floor::new(input.into(), options.call, plan, &media)?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", floor.address()?)?;
    floor.run(|counts| {
        // A bench that reads no more has ended, and so will this.
        let _ = writeln!(out, "{}", counts_json(counts));
    })
}

fn counts_json(counts: &Counts) -> Value {
    json!({"by_size": counts.by_size, "bytes": counts.bytes, "full": counts.full, "rounds": counts.rounds,
           "waiting": counts.waiting})
}

fn counts_of(value: &Value) -> Option<Counts> {
    let mut by_size = Histogram::default();
    let sizes = value["by_size"]
        .as_array()
        .filter(|sizes| sizes.len() == CLASSES.len())?;
    for (to, from) in by_size.iter_mut().zip(sizes) {
        *to = from.as_u64()?;
    }
    Some(Counts {
        by_size,
        bytes: value["bytes"].as_u64()?,
        full: value["full"].as_u64()?,
        waiting: value["waiting"].as_u64()?,
        rounds: value["rounds"].as_u64()?,
    })
}

/// The bench's side of it. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    orders: Option<ChildStdin>,
    told: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Process {
    pub fn start(call: Call, plan: &Plan, kilobits: u32) -> anyhow::Result<Process> {
        let name = clap::ValueEnum::to_possible_value(&call).context("a call has a name")?;
        let program = server::build_folder()?.join("penstock-benches");
        let mut command = sys::bound_to_this_thread(&program);
        command.args([
            "floor-server",
            "--call",
            name.get_name(),
            "--bitrate",
            &kilobits.to_string(),
        ]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let (orders, told) = (child.stdin.take(), child.stdout.take());
        let told = BufReader::new(told.context("its output is a pipe")?);
        // From here on dropping it ends the child.
        let mut process = Process {
            child,
            orders,
            told,
            address: ([127, 0, 0, 1], 0).into(),
        };
        let plan = plan.to_json().to_string();
        process.order(&(plan.len() as u64).to_le_bytes())?;
        process.order(plan.as_bytes())?;
        process.address = process.line()?.parse().context("the floor listens nowhere")?;
        Ok(process)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self) -> String {
        format!("http://{}/floor", self.address)
    }

    pub fn counts(&mut self) -> anyhow::Result<Counts> {
        self.order(b"?")?;
        let line = self.line()?;
        let value = serde_json::from_str(&line).with_context(|| format!("the floor said {line:?}"))?;
        counts_of(&value).context("the floor's counts are not legible")
    }

    fn order(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let orders = self.orders.as_mut().context("it ends when it is dropped")?;
        orders.write_all(bytes).context("the floor has ended")
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.told.read_line(&mut line)? == 0 {
            bail!("the floor has ended");
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.orders.take());
        // It ends by itself; a second signal to what has ended is no harm.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The clip that the floor's process will look for, so that it need not make one while somebody waits.
pub fn clip(kilobits: u32) -> anyhow::Result<Arc<Clip>> {
    Ok(Arc::new(Clip::of(kilobits, &scene::clips()?)?))
}
