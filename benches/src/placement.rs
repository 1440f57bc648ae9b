//! Which cores the server has and which the bench: the numbers are taken with one core each.

use std::sync::OnceLock;

use anyhow::Context;

use crate::sys;

static SERVER: OnceLock<Vec<usize>> = OnceLock::new();

/// From here on this process runs on `bench`, and what [`as_server`] starts on `server`. An empty list: as it was.
pub fn place(bench: &[usize], server: &[usize]) -> anyhow::Result<()> {
    if !server.is_empty() {
        SERVER.get_or_init(|| server.to_vec());
    }
    if !bench.is_empty() {
        sys::run_on(bench).with_context(|| format!("cannot run on the cores {bench:?}"))?;
    }
    Ok(())
}

/// A child that `start` spawns has the server's cores: it inherits those of the thread that spawns it.
pub fn as_server<T>(start: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let Some(cpus) = SERVER.get() else { return start() };
    let own = sys::runs_on()?;
    sys::run_on(cpus).with_context(|| format!("the server cannot run on the cores {cpus:?}"))?;
    let started = start();
    sys::run_on(&own)?;
    started
}

/// Who runs where, for the report.
pub fn told() -> anyhow::Result<[(&'static str, String); 2]> {
    let own = sys::runs_on()?;
    let server = SERVER.get().unwrap_or(&own);
    Ok([
        ("cores of the bench", format!("{own:?}")),
        ("cores of a started server", format!("{server:?}")),
    ])
}
