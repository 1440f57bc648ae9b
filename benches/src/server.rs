//! The server as a child: started with a configuration of its own, ready when it says so, ended when dropped.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::sys;

const START: Duration = Duration::from_secs(20);
const ANSWER: Duration = Duration::from_secs(5);
const END: Duration = Duration::from_secs(5);
/// Lines kept for an error message.
const LINES_KEPT: usize = 40;
/// The last line of an answer to SIGUSR1.
const COUNTER_LAST: &str = "memory_blocks_used";

/// A counter by its name: one that is not there has been renamed, and is no zero.
pub fn counter(counters: &BTreeMap<String, u64>, name: &str) -> anyhow::Result<u64> {
    let value = counters.get(name).copied();
    value.with_context(|| format!("the server has no counter {name}"))
}

/// How the server is started.
#[derive(Clone, Debug)]
pub struct Settings {
    pub binary: PathBuf,
    /// 0: all cores that it may use.
    pub shards: u32,
}

#[derive(Debug)]
pub struct Server {
    child: Child,
    config: PathBuf,
    board: Arc<Board>,
    pub http: SocketAddr,
    pub rtmp: SocketAddr,
    pub rtsp: SocketAddr,
}

#[derive(Debug, Default)]
struct Board {
    said: Mutex<Said>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Said {
    lines: Vec<String>,
    http: Option<SocketAddr>,
    rtmp: Option<SocketAddr>,
    rtsp: Option<SocketAddr>,
    ready: bool,
    ended: bool,
    counters: BTreeMap<String, u64>,
    /// Whole answers to SIGUSR1.
    answers: u64,
}

impl Server {
    /// With a stream `live` that this host may push to, on free ports of 127.0.0.1.
    pub fn start(settings: &Settings) -> anyhow::Result<Server> {
        Server::start_with(settings, &serde_json::json!({}))
    }

    /// With further keys of `config.penstock`.
    pub fn start_with(settings: &Settings, keys: &serde_json::Value) -> anyhow::Result<Server> {
        let config = write_config(settings.shards, keys)?;
        let mut command = sys::bound_to_this_thread(&settings.binary);
        command.arg("serve").arg("-c").arg(&config);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = command.spawn();
        let mut child = started.with_context(|| {
            let _ = std::fs::remove_file(&config);
            format!("cannot start {}", settings.binary.display())
        })?;
        let board = Arc::new(Board::default());
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as _),
            child.stderr.take().map(|stream| Box::new(stream) as _),
        ];
        for stream in streams.into_iter().flatten() {
            listen_to(stream, &board);
        }
        let unknown: SocketAddr = ([127, 0, 0, 1], 0).into();
        // From here on dropping it ends the child.
        let mut server = Server {
            child,
            config,
            board,
            http: unknown,
            rtmp: unknown,
            rtsp: unknown,
        };
        (server.http, server.rtmp, server.rtsp) = server.wait("ready", START, |said| {
            said.ready.then_some(())?;
            Some((said.http?, said.rtmp?, said.rtsp?))
        })?;
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All counters, asked for with SIGUSR1.
    pub fn counters(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let before = self.board.lock().answers;
        sys::send_signal(self.pid(), sys::Signal::USR1).context("the server cannot be asked")?;
        self.wait("counters", ANSWER, |said| {
            (said.answers > before).then(|| said.counters.clone())
        })
    }

    /// Fails when the server has ended.
    pub fn check(&self) -> anyhow::Result<()> {
        let said = self.board.lock();
        if said.ended {
            bail!("the server has ended; it said:\n{}", said.lines.join("\n"));
        }
        Ok(())
    }

    fn wait<T>(&self, what: &str, within: Duration, found: impl Fn(&Said) -> Option<T>) -> anyhow::Result<T> {
        let deadline = Instant::now() + within;
        let mut said = self.board.lock();
        loop {
            if let Some(value) = found(&said) {
                return Ok(value);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if said.ended || left.is_zero() {
                let lines = said.lines.join("\n");
                bail!("the server did not say {what} within {within:?}; it said:\n{lines}");
            }
            said = self
                .board
                .changed
                .wait_timeout(said, left)
                .expect("no thread panics while it holds the board")
                .0;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has not been waited for, so the number is its own; that it has ended by itself is no harm.
        let _ = sys::send_signal(self.pid(), sys::Signal::TERM);
        let deadline = Instant::now() + END;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.config);
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().expect("no thread panics while it holds the board")
    }
}

impl Said {
    fn take(&mut self, line: String) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("listening"), Some("http"), Some(address)) => self.http = address.parse().ok(),
            (Some("listening"), Some("rtmp"), Some(address)) => self.rtmp = address.parse().ok(),
            (Some("listening"), Some("rtsp"), Some(address)) => self.rtsp = address.parse().ok(),
            (Some("ready"), None, None) => self.ready = true,
            (Some("counter"), Some(name), Some(value)) => {
                if let Ok(value) = value.parse() {
                    self.counters.insert(name.to_owned(), value);
                }
                self.answers += u64::from(name == COUNTER_LAST);
                return;
            }
            _ => {}
        }
        if self.lines.len() == LINES_KEPT {
            self.lines.remove(0);
        }
        self.lines.push(line);
    }
}

fn listen_to(stream: Box<dyn Read + Send>, board: &Arc<Board>) {
    let board = Arc::clone(board);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            board.lock().take(line);
            board.changed.notify_all();
        }
        // Both streams end with the process.
        board.lock().ended = true;
        board.changed.notify_all();
    });
}

/// What a server says of itself, on one line.
pub fn version(binary: &Path) -> String {
    let said = Command::new(binary).arg("--version").stdin(Stdio::null()).output();
    let text = said.map_or_else(
        |error| error.to_string(),
        |said| String::from_utf8_lossy(&said.stdout).into(),
    );
    let words: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    words.join("; ")
}

fn write_config(shards: u32, keys: &serde_json::Value) -> anyhow::Result<PathBuf> {
    let mut penstock = serde_json::json!({"shards": shards});
    for (key, value) in keys.as_object().into_iter().flatten() {
        penstock[key] = value.clone();
    }
    let config = serde_json::json!({
        "config": {
            "protocols": [
                {"connector": "HTTP", "port": 0, "interface": "127.0.0.1"},
                {"connector": "RTMP", "port": 0, "interface": "127.0.0.1"},
                {"connector": "RTSP", "port": 0, "interface": "127.0.0.1"},
                {"connector": "FLV"}, {"connector": "HTTPTS"}, {"connector": "MP4"},
                {"connector": "HLS"}, {"connector": "CMAF"}
            ],
            "penstock": penstock
        },
        "streams": {"live": {"source": "push://127.0.0.1"}}
    });
    let name = format!("penstock-bench-{}-{}.json", std::process::id(), sys::monotonic_nanos());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, config.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The folder of this program's build: of `target/release/penstock-benches` and `target/release/deps/smoke-…` alike.
pub fn build_folder() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let folder = program.parent().context("a program stands in a folder")?;
    let folder = if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    };
    Ok(folder.to_owned())
}

/// The server beside this program. Under cargo, which builds this package alone, it is first brought up to date; nextest
/// has built all of the workspace, and with other features of what it depends on.
pub fn sibling() -> anyhow::Result<PathBuf> {
    let folder = build_folder()?;
    let binary = folder.join("penstock");
    if let Some(cargo) = std::env::var_os("CARGO").filter(|_| std::env::var_os("NEXTEST").is_none()) {
        build(&cargo, &folder)?;
    }
    if !binary.exists() {
        bail!("{} is missing: cargo build --release -p penstock", binary.display());
    }
    Ok(binary)
}

fn build(cargo: &std::ffi::OsStr, folder: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "-p", "penstock"]);
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    command.current_dir(tree.context("this package stands in the workspace")?);
    if let Some(target) = folder.parent() {
        command.arg("--target-dir").arg(target);
    }
    if !folder.ends_with("debug") {
        command.arg("--release");
    }
    let status = command.stdin(Stdio::null()).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the server could not be built ({status})");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_understood() {
        let mut said = Said::default();
        for line in [
            "listening http 127.0.0.1:4000",
            "listening rtmp [::]:5000",
            "listening rtsp 127.0.0.1:5554",
            "ready",
            "counter frames_muxed 12",
            "counter memory_blocks_used 3",
            "counter frames_muxed x",
            "any line of the log",
        ] {
            said.take(line.to_owned());
        }
        assert_eq!(said.http.map(|address| address.port()), Some(4000));
        assert_eq!(said.rtmp.map(|address| address.port()), Some(5000));
        assert_eq!(said.rtsp.map(|address| address.port()), Some(5554));
        assert_eq!((said.ready, said.answers, said.counters["frames_muxed"]), (true, 1, 12));
        assert_eq!(counter(&said.counters, "frames_muxed").ok(), Some(12));
        assert!(counter(&said.counters, "frames_mixed").is_err());
        for at in 0..100 {
            said.take(at.to_string());
        }
        assert_eq!(said.lines.len(), LINES_KEPT);
    }
}
