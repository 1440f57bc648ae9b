//! `hls-nginx`: what a GB of segments costs, from penstock that makes them and from nginx that has them as files.
//!
//! A copier follows penstock's playlists, writes segments and then playlists below a folder, and nginx serves that folder.
//! Both stand on the same core, and the same viewers watch one and then the other.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

use super::fetch::Fetcher;
use crate::floor::{Cores, Options, Own, SPREAD_MAX, measure, median_and_spread, options};
use crate::player::playlist::{self, Playlist, START_SEGMENTS};
use crate::report::{Good, Report};
use crate::scene::{Findings, pause};
use crate::server::Settings;
use crate::target::Target;

/// CPU per GB by nginx's.
const RATIO_MAX: f64 = 1.2;
const LOOK: Duration = Duration::from_millis(100);
const START: Duration = Duration::from_secs(20);
/// Files stay so long after they have left their playlist: who has read it may ask for them.
const KEPT: Duration = Duration::from_secs(20);

/// Runs the pairs, with segments of MPEG-TS and of CMAF.
///
/// # Errors
/// nginx is not installed, or a server could not be started or ended; the user ended it.
pub fn hls_nginx(settings: &Settings) -> anyhow::Result<Report> {
    let cores = Cores::split(0)?;
    let mut report = Report::new();
    for (title, path) in [
        ("MPEG-TS", "/hls/live/index.m3u8"),
        ("CMAF", "/cmaf/live/index.m3u8?llhls=0"),
    ] {
        // Segments come every two seconds; the start takes three.
        let options = options("--viewers 1000 --ramp 2 --settle 6 --seconds 12 --pairs 5");
        report.title(format!(
            "hls-nginx: {} viewers of HLS in {title}, 2.6 Mb/s",
            options.viewers
        ));
        report.fact("cores", cores.shown());
        let mut own = Own::start(settings, &options, &cores)?;
        let target = Target::parse(&format!("http://{}{path}", own.http()))?;
        let folder = Folder::create()?;
        let copier = Copier::start(&target, &folder.0)?;
        let nginx = Nginx::start(&folder.0, &cores)?;
        report.fact("nginx", version());
        copier.wait_ready()?;
        let other = format!("http://{}{path}", nginx.address);
        pairs(&mut report, &mut own, &target.url(), &other, nginx.child.id(), &options)?;
        copier.check()?;
    }
    Ok(report)
}

fn pairs(
    report: &mut Report,
    own: &mut Own,
    url: &str,
    other: &str,
    other_pid: u32,
    options: &Options,
) -> anyhow::Result<()> {
    let (mut ratios, mut own_costs, mut other_costs, mut bad) = (Vec::new(), Vec::new(), Vec::new(), [0, 0]);
    let mut calls = [Vec::new(), Vec::new()];
    for number in 1..=options.pairs {
        eprintln!("pair {number} of {}", options.pairs);
        let sides = [
            measure("penstock", url, own.pid(), options, || Ok(None))?,
            measure("nginx", other, other_pid, options, || Ok(None))?,
        ];
        own.check()?;
        for (at, side) in sides.iter().enumerate() {
            bad[at] += side.found.failed + side.found.stalled + side.found.frames_lost;
            tell_bad(report, ["penstock", "nginx"][at], number, &side.found);
            if let Some(Ok(made)) = side.spent.process.as_ref().map(|process| &process.syscalls) {
                calls[at].push(*made as f64 * 1e9 / side.spent.bytes as f64);
            }
        }
        let [mine, its] = sides.map(|side| side.spent.per_gigabyte());
        ratios.push(mine / its);
        own_costs.push(mine);
        other_costs.push(its);
    }
    let (median, spread) = median_and_spread(&ratios);
    let ratio = if spread <= SPREAD_MAX { median } else { f64::NAN };
    report.bar("CPU per GB, penstock / nginx", ratio, "x", Good::AtMost, RATIO_MAX);
    report.figure("  median of the pairs", median, "x");
    report.figure("  spread of the pairs", 100.0 * spread, "%");
    report.figure("penstock, CPU per GB, median", median_and_spread(&own_costs).0, "s/GB");
    report.figure("nginx, CPU per GB, median", median_and_spread(&other_costs).0, "s/GB");
    for (name, calls) in [("penstock", &calls[0]), ("nginx", &calls[1])] {
        report.figure(
            &format!("{name}, system calls per GB, median"),
            median_and_spread(calls).0,
            "/GB",
        );
    }
    for (name, bad) in [("penstock", bad[0]), ("nginx", bad[1])] {
        report.bar(
            &format!("{name}: failed, stalled, frames lost"),
            bad as f64,
            "",
            Good::AtMost,
            0.0,
        );
    }
    Ok(())
}

/// What was wrong for the viewers of one side of a pair.
fn tell_bad(report: &mut Report, name: &str, pair: u32, found: &Findings) {
    for (what, count) in [
        ("failed", found.failed),
        ("stalled > 1 s", found.stalled),
        ("frames lost", found.frames_lost),
        ("segments missed", found.missed),
    ] {
        if count > 0 {
            report.fact(&format!("{name}, pair {pair}"), format!("{count} {what}"));
        }
    }
    for reason in &found.reasons {
        report.fact(&format!("{name}, pair {pair}, failed"), reason.as_str());
    }
}

/// A folder of this run's, gone with it.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn create() -> anyhow::Result<Folder> {
        let name = format!(
            "penstock-nginx-{}-{}",
            std::process::id(),
            crate::sys::monotonic_nanos()
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} stays: {error}", self.0.display());
        }
    }
}

#[derive(Debug)]
struct Nginx {
    child: Child,
    address: std::net::SocketAddr,
}

impl Nginx {
    fn start(folder: &Path, cores: &Cores) -> anyhow::Result<Nginx> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = folder.join("nginx.conf");
        std::fs::write(&config, configuration(folder, address.port()))?;
        let start = || {
            let mut command = Command::new("nginx");
            command
                .arg("-p")
                .arg(folder)
                .arg("-c")
                .arg(&config)
                .arg("-e")
                .arg(folder.join("error.log"));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
                .spawn()
                .context("cannot start nginx: apt-get install nginx-light")
        };
        let mut nginx = Nginx {
            child: cores.as_server(start)?,
            address,
        };
        let deadline = Instant::now() + START;
        while std::net::TcpStream::connect(address).is_err() {
            if nginx.child.try_wait()?.is_some() || Instant::now() > deadline {
                let log = folder.join("error.log");
                let said = std::fs::read_to_string(&log).unwrap_or_else(|error| format!("{}: {error}", log.display()));
                bail!("nginx does not listen on {address}: {said}");
            }
            pause(LOOK)?;
        }
        Ok(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What nginx says of itself, on standard error.
fn version() -> String {
    match Command::new("nginx").arg("-v").stdin(Stdio::null()).output() {
        Ok(said) => String::from_utf8_lossy(&said.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    }
}

/// One process that serves files as well as nginx can: `sendfile`, whole packets, kept connections, no log.
fn configuration(folder: &Path, port: u16) -> String {
    let root = folder.display();
    format!(
        "daemon off;\nmaster_process off;\nworker_rlimit_nofile 20000;\npid {root}/nginx.pid;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  tcp_nodelay on;\n  keepalive_timeout 75s;\n  \
         keepalive_requests 1000000;\n  open_file_cache max=1000 inactive=60s;\n  open_file_cache_valid 1s;\n  \
         default_type application/octet-stream;\n  \
         types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; video/mp4 mp4 m4s; }}\n  \
         server {{ listen 127.0.0.1:{port} backlog=4096; root {root}/www; }}\n}}\n"
    )
}

/// Keeps a folder as penstock's URLs are.
struct Copier {
    /// Dropped to end it.
    stop: Option<Sender<()>>,
    /// Hears once, when everything was copied and there is enough for viewers to begin as far from the end as they should:
    /// with less they run dry by their own doing.
    ready: Receiver<()>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Copier {
    fn start(master: &Target, folder: &Path) -> anyhow::Result<Copier> {
        let (stop, stopped) = mpsc::channel();
        let (tell, ready) = mpsc::channel();
        let mut copy = Copy {
            fetcher: Fetcher::new(),
            www: folder.join("www"),
            unlisted: HashMap::new(),
        };
        let master = master.clone();
        let run = move || {
            let mut is_told = false;
            while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                let segments = copy.all(&master)?;
                if segments > START_SEGMENTS && !std::mem::replace(&mut is_told, true) {
                    tell.send(()).context("nobody waits for the segments")?;
                }
            }
            Ok(())
        };
        let thread = std::thread::Builder::new().name("copier".into()).spawn(run)?;
        Ok(Copier {
            stop: Some(stop),
            ready,
            thread: Some(thread),
        })
    }

    fn wait_ready(&self) -> anyhow::Result<()> {
        let waited = self.ready.recv_timeout(START);
        waited.map_err(|error| anyhow!("the segments could not be copied: {error}"))
    }

    fn check(mut self) -> anyhow::Result<()> {
        self.stop = None;
        let thread = self.thread.take().context("it is ended once")?;
        thread.join().map_err(|_| anyhow!("the copier panicked"))?
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && let Err(error) = thread.join().unwrap_or_else(|_| Err(anyhow!("it panicked")))
        {
            eprintln!("the copier of segments: {error:#}");
        }
    }
}

struct Copy {
    fetcher: Fetcher,
    www: PathBuf,
    /// Files with the time from which their playlist has not named them, or none while it does.
    unlisted: HashMap<PathBuf, Option<Instant>>,
}

impl Copy {
    /// How many segments each playlist has at least.
    fn all(&mut self, master: &Target) -> anyhow::Result<usize> {
        let text = self.fetcher.text(master)?;
        let Playlist::Master(found) = playlist::parse(&text)? else {
            bail!("{} is no master playlist", master.url());
        };
        let (mut listed, mut segments) = (Vec::new(), usize::MAX);
        for list in [Some(found.picture), found.sound].into_iter().flatten() {
            segments = segments.min(self.list(&master.resolve(&list)?, &mut listed)?);
        }
        self.write(master, text.as_bytes())?;
        self.forget(&listed)?;
        Ok(segments)
    }

    /// Segments first, and then the playlist that names them. How many there are.
    fn list(&mut self, target: &Target, listed: &mut Vec<PathBuf>) -> anyhow::Result<usize> {
        let text = self.fetcher.text(target)?;
        let Playlist::Media(list) = playlist::parse(&text)? else {
            bail!("{} is no media playlist", target.url());
        };
        let segments = list.segments.iter().map(|segment| &segment.whole.uri);
        for uri in list.maps.iter().map(|map| &map.uri).chain(segments) {
            let piece = target.resolve(uri)?;
            let file = self.file(&piece);
            if !self.unlisted.contains_key(&file) {
                let bytes = self.fetcher.get(&piece)?;
                self.write(&piece, &bytes)?;
            }
            self.unlisted.insert(file.clone(), None);
            listed.push(file);
        }
        self.write(target, text.as_bytes())?;
        Ok(list.segments.len())
    }

    /// A file's name has no query: nginx does not look at it either.
    fn file(&self, target: &Target) -> PathBuf {
        let path = target.path.split('?').next().unwrap_or(&target.path);
        self.www.join(path.trim_start_matches('/'))
    }

    /// In one step, so that no half file is served.
    fn write(&self, target: &Target, bytes: &[u8]) -> anyhow::Result<()> {
        let file = self.file(target);
        let folder = file.parent().context("a URL has a folder")?;
        std::fs::create_dir_all(folder)?;
        let new = file.with_extension("new");
        std::fs::write(&new, bytes)?;
        std::fs::rename(&new, &file).with_context(|| format!("cannot write {}", file.display()))
    }

    fn forget(&mut self, listed: &[PathBuf]) -> anyhow::Result<()> {
        let now = Instant::now();
        let mut old = Vec::new();
        self.unlisted.retain(|file, since| {
            let is_kept = listed.contains(file) || now.duration_since(*since.get_or_insert(now)) < KEPT;
            if !is_kept {
                old.push(file.clone());
            }
            is_kept
        });
        for file in old {
            std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
        Ok(())
    }
}
