//! A core for whichever server is measured, and the others for viewers and publisher.
//!
//! Two servers that are compared run on the same core, one after the other, and never beside the generator.

use anyhow::{Context, bail};
use penstock_shard::sys::socket::allowed_cpus;
use rustix::thread::{CpuSet, sched_setaffinity};

/// While it lives, this thread and what it starts run on the generator's cores.
#[derive(Debug)]
pub struct Cores {
    server: usize,
    generator: Vec<usize>,
    before: Vec<usize>,
}

impl Cores {
    /// `server`, and of the cores that this thread has all others.
    pub fn split(server: usize) -> anyhow::Result<Cores> {
        let before = allowed_cpus()?;
        let generator: Vec<usize> = before.iter().copied().filter(|cpu| *cpu != server).collect();
        if generator.is_empty() {
            bail!("server and generator need a core each, and there is core {server} alone");
        }
        run_on(&generator)?;
        Ok(Cores {
            server,
            generator,
            before,
        })
    }

    /// What `start` starts runs on the server's core.
    pub fn as_server<T>(&self, start: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        run_on(&[self.server])?;
        let started = start();
        run_on(&self.generator)?;
        started
    }

    pub fn server(&self) -> usize {
        self.server
    }

    pub fn shown(&self) -> String {
        format!("server and floor on {}, generator on {:?}", self.server, self.generator)
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        // Fewer cores than before are no harm to what comes next.
        let _ = run_on(&self.before);
    }
}

fn run_on(cpus: &[usize]) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu));
    sched_setaffinity(None, &set).with_context(|| format!("cannot run on the cores {cpus:?}"))
}
