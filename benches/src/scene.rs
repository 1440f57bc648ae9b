//! A run's cast: the server, its publishers, and what viewers of them cost between two moments.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;

pub use crate::audience::{Audience, Findings, Moment};
use crate::clip::Clip;
use crate::placement;
use crate::publish::Publisher;
use crate::report::Report;
use crate::server::{self, Server, Settings};
use crate::sys;
use crate::target::Target;

/// How the own server hands out a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Packaging {
    Flv,
    Ts,
    Mp4,
    Rtmp,
    /// Interleaved in its connection.
    Rtsp,
}

impl Packaging {
    pub fn name(self) -> &'static str {
        match self {
            Packaging::Flv => "FLV",
            Packaging::Ts => "TS",
            Packaging::Mp4 => "MP4",
            Packaging::Rtmp => "RTMP",
            Packaging::Rtsp => "RTSP",
        }
    }
}

/// How long a published stream may take until it can be watched.
const LIVE_WAIT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);

/// The own server with published streams.
#[derive(Debug)]
pub struct Stage {
    // Fields are dropped in this order: a publisher that outlives its server would fail.
    publisher: Publisher,
    server: Server,
    names: Vec<String>,
}

impl Stage {
    /// With one stream.
    pub fn start(settings: &Settings, kilobits: u32) -> anyhow::Result<Stage> {
        Stage::start_streams(settings, kilobits, 1)
    }

    pub fn start_streams(settings: &Settings, kilobits: u32, streams: u32) -> anyhow::Result<Stage> {
        Stage::start_with(settings, kilobits, streams, &serde_json::json!({}))
    }

    /// With further keys of `config.penstock`.
    pub fn start_with(
        settings: &Settings,
        kilobits: u32,
        streams: u32,
        keys: &serde_json::Value,
    ) -> anyhow::Result<Stage> {
        let clip = Arc::new(Clip::of(kilobits, &clips()?)?);
        let server = placement::as_server(|| Server::start_with(settings, keys))?;
        let names: Vec<String> = match streams {
            1 => vec!["live".into()],
            _ => (1..=streams).map(|number| format!("live+{number}")).collect(),
        };
        let targets = names.iter().map(|name| Target::parse(&rtmp_url(&server, name)));
        let targets: Vec<Target> = targets.collect::<anyhow::Result<_>>()?;
        let publisher = Publisher::start_all(&targets, clip)?;
        let mut stage = Stage {
            publisher,
            server,
            names,
        };
        stage.wait_live()?;
        Ok(stage)
    }

    /// The first stream.
    pub fn target(&self, packaging: Packaging) -> anyhow::Result<Target> {
        self.target_of(packaging, &self.names[0])
    }

    pub fn targets(&self, packaging: Packaging) -> anyhow::Result<Vec<Target>> {
        self.names.iter().map(|name| self.target_of(packaging, name)).collect()
    }

    fn target_of(&self, packaging: Packaging, name: &str) -> anyhow::Result<Target> {
        let http = self.server.http;
        Target::parse(&match packaging {
            Packaging::Flv => format!("http://{http}/{name}.flv"),
            Packaging::Ts => format!("http://{http}/{name}.ts"),
            Packaging::Mp4 => format!("http://{http}/{name}.mp4"),
            Packaging::Rtmp => rtmp_url(&self.server, name),
            Packaging::Rtsp => format!("rtsp://{}/{name}", self.server.rtsp),
        })
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Fails when server or publisher ended by themselves.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.server.check()?;
        self.publisher.check()
    }

    /// Without a viewer, so that an idle server stays idle: frames are in the ring once they are counted.
    fn wait_live(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + LIVE_WAIT;
        let streams = self.names.len() as u64;
        while Instant::now() < deadline {
            self.check()?;
            let frames = self.server.counters()?.get("frames_in").copied().unwrap_or(0);
            if self.publisher.begun() == streams && frames >= streams {
                return Ok(());
            }
            pause(LOOK)?;
        }
        bail!("the published streams are not live after {LIVE_WAIT:?}");
    }
}

fn rtmp_url(server: &Server, name: &str) -> String {
    format!("rtmp://{}/app/{name}", server.rtmp)
}

/// Where clips are kept: beside the build.
pub fn clips() -> anyhow::Result<PathBuf> {
    let folder = server::build_folder()?;
    Ok(folder.parent().unwrap_or(&folder).join("bench-clips"))
}

/// What a time with viewers cost.
pub fn report_cost(report: &mut Report, before: Moment, after: Moment) {
    let seconds = (after.at - before.at).as_secs_f64();
    let gigabytes = (after.bytes - before.bytes) as f64 / 1e9;
    report.figure("measured for", seconds, "s");
    report.figure("delivered", gigabytes * 8.0 / seconds, "Gb/s");
    let (Some(first), Some(last)) = (before.cpu, after.cpu) else {
        return;
    };
    let cpu = last.since(first);
    report.figure("server CPU", 100.0 * cpu.total() / seconds, "% core");
    report.figure("server CPU per GB", cpu.total() / gigabytes, "s/GB");
    report.figure("  of it user", cpu.user / gigabytes, "s/GB");
    report.figure("  of it system", cpu.system / gigabytes, "s/GB");
    let viewer_seconds = seconds * (before.playing + after.playing) as f64 / 2.0;
    report.figure(
        "server CPU per viewer-second",
        1000.0 * cpu.total() / viewer_seconds,
        "ms",
    );
}

/// The user wants to end: what was measured so far is told.
#[derive(Clone, Copy, Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Sleeps; fails with [`Interrupted`].
pub fn pause(time: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + time;
    loop {
        if sys::interrupted() {
            bail!(Interrupted);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(LOOK));
    }
}
