//! One side of a pair: a server, the viewers that watch it for a while, and what it spent and sent meanwhile.
//!
//! All sides have the same audience, the same times and the same account; they differ in where the sends are counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;

use super::Options;
use super::child::{self, Process};
use super::cores::Cores;
use super::plan::{CLASSES, Histogram};
use crate::account::{Account, Statement};
use crate::proc;
use crate::publish::Publisher;
use crate::scene::{Audience, Findings, Packaging, pause};
use crate::server::{Server, Settings, counter};
use crate::target::Target;

/// How long a published stream may take until it can be watched.
const LIVE_WAIT: Duration = Duration::from_secs(20);
/// Another server may need a keyframe or two before it answers a viewer.
const OTHER_LIVE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// Sends of a feed's bytes in a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Sends {
    pub by_size: Histogram,
    pub bytes: u64,
    pub full: u64,
    pub nanos: u64,
}

impl Sends {
    pub fn per_second(&self) -> f64 {
        self.by_size.iter().sum::<u64>() as f64 * 1e9 / self.nanos as f64
    }

    pub fn class_per_second(&self, class: usize) -> f64 {
        self.by_size[class] as f64 * 1e9 / self.nanos as f64
    }

    pub fn mean(&self) -> f64 {
        self.bytes as f64 / self.by_size.iter().sum::<u64>() as f64
    }
}

/// Running totals of sends at a moment.
#[derive(Clone, Debug)]
pub struct Total {
    at: Instant,
    by_size: Histogram,
    bytes: u64,
    full: u64,
}

impl Total {
    fn since(&self, before: &Total) -> Sends {
        Sends {
            by_size: std::array::from_fn(|class| self.by_size[class] - before.by_size[class]),
            bytes: self.bytes - before.bytes,
            full: self.full - before.full,
            nanos: (self.at - before.at).as_nanos() as u64,
        }
    }
}

/// What was measured of one server.
#[derive(Debug)]
pub struct Side {
    pub spent: Statement,
    pub found: Findings,
    pub viewers: f64,
    /// Nothing when the server is another's.
    pub sends: Option<Sends>,
}

/// Penstock with one published stream, on the servers' core.
#[derive(Debug)]
pub struct Own {
    // Fields are dropped in this order: a publisher that outlives its server would fail.
    publisher: Publisher,
    server: Server,
}

impl Own {
    pub fn start(settings: &Settings, options: &Options, cores: &Cores) -> anyhow::Result<Own> {
        let settings = Settings {
            shards: 1,
            ..settings.clone()
        };
        let keys = match options.pause {
            Some(millis) => json!({"interactive_pause_min": millis, "interactive_pause_max": millis}),
            None => json!({}),
        };
        let clip = child::clip(options.bitrate)?;
        let server = cores.as_server(|| Server::start_with(&settings, &keys))?;
        let publisher = Publisher::start(&Target::parse(&format!("rtmp://{}/app/live", server.rtmp))?, clip)?;
        let mut own = Own { publisher, server };
        let deadline = Instant::now() + LIVE_WAIT;
        while counter(&own.server.counters()?, "frames_in")? == 0 {
            own.check()?;
            if Instant::now() > deadline {
                bail!("the published stream is not live after {LIVE_WAIT:?}");
            }
            pause(LOOK)?;
        }
        Ok(own)
    }

    pub fn http(&self) -> SocketAddr {
        self.server.http
    }

    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub fn counters(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        self.server.counters()
    }

    pub fn measure(mut self, options: &Options) -> anyhow::Result<Side> {
        let Server { http, rtmp, rtsp, .. } = self.server;
        let url = match options.packaging {
            Packaging::Flv => format!("http://{http}/live.flv"),
            Packaging::Ts => format!("http://{http}/live.ts"),
            Packaging::Mp4 => format!("http://{http}/live.mp4"),
            Packaging::Rtmp => format!("rtmp://{rtmp}/app/live"),
            Packaging::Rtsp => format!("rtsp://{rtsp}/live"),
        };
        let (pid, server) = (self.server.pid(), &self.server);
        let side = measure("penstock", &url, pid, options, || {
            Ok(Some(counted(&server.counters()?)?))
        })?;
        self.check()?;
        Ok(side)
    }

    /// Fails when server or publisher ended by themselves.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.server.check()?;
        self.publisher.check()
    }
}

fn counted(counters: &BTreeMap<String, u64>) -> anyhow::Result<Total> {
    let mut by_size = Histogram::default();
    for (sends, (name, _)) in by_size.iter_mut().zip(CLASSES) {
        *sends = counter(counters, name)?;
    }
    Ok(Total {
        at: Instant::now(),
        by_size,
        bytes: counter(counters, "bytes_sent")? - counter(counters, "bytes_sent_own")?,
        full: counter(counters, "sends_full")?,
    })
}

pub fn measure_floor(mut process: Process, options: &Options) -> anyhow::Result<Side> {
    let (url, pid) = (process.url(), process.pid());
    // What it sends is no container that could be read.
    let unread = Options {
        verifying: 0,
        ..options.clone()
    };
    measure("floor", &url, pid, &unread, || {
        let counts = process.counts()?;
        Ok(Some(Total {
            at: Instant::now(),
            by_size: counts.by_size,
            bytes: counts.bytes,
            full: counts.full,
        }))
    })
}

/// A server that is there already.
#[derive(Debug)]
pub struct Other {
    url: String,
    pid: u32,
    publisher: Option<Publisher>,
}

impl Other {
    pub fn start(url: &str, pid: u32, options: &Options) -> anyhow::Result<Other> {
        proc::cpu(pid).context("--pid names no process")?;
        let publisher = match &options.publish {
            Some(url) => {
                let publisher = Publisher::start(&Target::parse(url)?, child::clip(options.bitrate)?)?;
                pause(OTHER_LIVE)?;
                Some(publisher)
            }
            None => None,
        };
        Ok(Other {
            url: url.to_owned(),
            pid,
            publisher,
        })
    }

    pub fn measure(&mut self, options: &Options) -> anyhow::Result<Side> {
        let side = measure("other", &self.url, self.pid, options, || Ok(None))?;
        self.publisher.as_mut().map_or(Ok(()), Publisher::check)?;
        Ok(side)
    }
}

/// What the viewers of `url` saw, and what the process `pid` spent meanwhile.
pub fn measure(
    label: &str,
    url: &str,
    pid: u32,
    options: &Options,
    mut total: impl FnMut() -> anyhow::Result<Option<Total>>,
) -> anyhow::Result<Side> {
    let target = Target::parse(url)?;
    let mut audience = Audience::new(label)?;
    let ramp = Duration::from_secs(options.ramp);
    audience.open(&target, options.viewers, options.verifying, ramp)?;
    audience.watch(Duration::from_secs(options.settle), None)?;
    audience.begin_window()?;
    let (playing, before) = (audience.playing(), total()?);
    let account = Account::open(Some(pid), audience.delivered())?;
    audience.watch(Duration::from_secs(options.seconds), None)?;
    let (spent, after) = (account.close()?, total()?);
    let viewers = (playing + audience.playing()) as f64 / 2.0;
    let found = audience.end()?;
    if found.first_byte.count() == 0 {
        bail!("no viewer of {url} played: {:?}", found.reasons);
    }
    let sends = after.zip(before).map(|(after, before)| after.since(&before));
    Ok(Side {
        spent,
        found,
        viewers,
        sends,
    })
}
