//! The server under test: started from a configuration, ready when it says so, ended when dropped.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::process::{From, Process, has_words};
use super::wire;

/// How long a start may take on a loaded machine with two cores.
const START: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Server {
    pub process: Process,
    pub http: SocketAddr,
    pub rtmp: SocketAddr,
    config: PathBuf,
}

/// The usual configuration: every output, any free ports, one stream `live` that this host may push to.
pub fn config(shards: u32) -> Value {
    json!({
        "config": {
            "controller": {"port": 4242, "interface": "127.0.0.1"},
            "protocols": [
                {"connector": "HTTP", "port": 0, "interface": "127.0.0.1"},
                {"connector": "RTMP", "port": 0, "interface": "127.0.0.1"},
                {"connector": "FLV"},
                {"connector": "HTTPTS"},
                {"connector": "MP4"}
            ],
            "penstock": {"shards": shards}
        },
        "streams": {"live": {"source": "push://127.0.0.1", "grace": 300}}
    })
}

/// As `config`, with other streams.
pub fn config_with(shards: u32, streams: Value) -> Value {
    let mut config = config(shards);
    config["streams"] = streams;
    config
}

/// The binary under test; `PENSTOCK_BIN` names another one, so that a peer can be put in its place.
pub fn binary() -> PathBuf {
    std::env::var_os("PENSTOCK_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_penstock")), PathBuf::from)
}

/// With a port for RTSP.
pub fn with_rtsp(mut config: Value) -> Value {
    let connector = json!({"connector": "RTSP", "port": 0, "interface": "127.0.0.1"});
    let protocols = config["config"]["protocols"].as_array_mut();
    protocols.expect("every configuration has them").push(connector);
    config
}

/// `penstock VERB -c FILE` for a configuration written to a fresh file.
pub fn command(verb: &str, config: &Value) -> (Command, PathBuf) {
    let path = super::scratch("config").join("penstock.json");
    std::fs::write(
        &path,
        serde_json::to_string_pretty(config).expect("a JSON value prints"),
    )
    .expect("scratch is ours");
    let mut command = Command::new(binary());
    command.arg(verb).arg("-c").arg(&path);
    (command, path)
}

impl Server {
    pub fn start(config: &Value) -> Server {
        let (mut command, path) = command("serve", config);
        Server::ready(&mut command, path)
    }

    /// Starts the server as `nobody`, with no group, no capability and a copy of the binary it may read.
    pub fn start_as_nobody(config: &Value) -> Server {
        let (_, path) = command("serve", config);
        let copy = path.with_file_name("penstock");
        std::fs::copy(binary(), &copy).expect("scratch is ours");
        let mut command = super::players::as_nobody(&copy);
        command.arg("serve").arg("-c").arg(&path);
        Server::ready(&mut command, path)
    }

    /// Starts the server with so few descriptors.
    pub fn start_with_descriptors(config: &Value, descriptors: u32) -> Server {
        let (_, path) = command("serve", config);
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={descriptors}:{descriptors}"));
        command.arg(binary()).arg("serve").arg("-c").arg(&path);
        Server::ready(&mut command, path)
    }

    /// Starts a command that serves the configuration in `config`.
    pub fn ready(command: &mut Command, config: PathBuf) -> Server {
        Server::of(Process::start("penstock", command), config)
    }

    /// A process that serves the configuration in `config`, or is about to.
    pub fn of(process: Process, config: PathBuf) -> Server {
        process.wait("line `ready`", START, |from, line| {
            (from == From::Stdout && line == "ready").then_some(())
        });
        let http = listener(&process, "http");
        let rtmp = listener(&process, "rtmp");
        Server {
            process,
            http,
            rtmp,
            config,
        }
    }

    pub fn config_path(&self) -> &Path {
        &self.config
    }

    pub fn http_url(&self, file: &str) -> String {
        format!("http://{}/{file}", self.http)
    }

    /// Of a configuration that has [`with_rtsp`].
    pub fn rtsp(&self) -> SocketAddr {
        self.listener("rtsp")
    }

    /// Where it listens for a protocol.
    pub fn listener(&self, protocol: &str) -> SocketAddr {
        listener(&self.process, protocol)
    }

    pub fn rtsp_url(&self, path: &str) -> String {
        format!("rtsp://{}/{path}", self.rtsp())
    }

    pub fn rtmp_url(&self, app_and_name: &str) -> String {
        format!("rtmp://{}/{app_and_name}", self.rtmp)
    }

    /// Waits until a stream can be watched: its publisher was accepted and a viewer gets a first byte.
    pub fn wait_live(&self, name: &str, within: Duration) {
        let deadline = Instant::now() + within;
        self.process.wait_words(&["publisher accepted", name], within);
        // Accepted means authorised; the first keyframe is still on its way, and a request may be answered 404 until
        // it is here. Each try waits for an answer, so this turns as often as the server answers and not more.
        while Instant::now() < deadline {
            if wire::first_media_byte(self.http, &format!("/{name}.flv"), Duration::from_secs(5)) {
                return;
            }
        }
        panic!(
            "stream {name} has a publisher but nothing to watch after {within:?}\n{}",
            self.process.said()
        );
    }

    /// Memory of the process that is in use.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.pid);
        let status = std::fs::read_to_string(path).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.expect("Linux says so") * 1024
    }

    /// Asks for all counters (SIGUSR1) and gives those of the newest answer.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let before = self.process.lines().len();
        self.process.signal("USR1");
        // The answer is a block of lines; it is whole when the counter that began it comes again with a second ask.
        let first = self.wait_counter_after(before);
        let second_from = self.process.lines().len();
        self.process.signal("USR1");
        let again = |line: &str| counter(line).is_some_and(|(name, _)| name == first);
        self.wait_line_after(second_from, again);
        let mut counters = BTreeMap::new();
        for (_, line) in &self.process.lines()[before..] {
            if let Some((name, value)) = counter(line) {
                if name == first && counters.contains_key(&name) {
                    break;
                }
                counters.insert(name, value);
            }
        }
        counters
    }

    /// Asks for the counters again and again, at most ten times a second, until they are as wanted.
    pub fn wait_counters(&self, what: &str, within: Duration, is_there: impl Fn(&BTreeMap<String, u64>) -> bool) {
        let deadline = Instant::now() + within;
        loop {
            let counters = self.counters();
            if is_there(&counters) {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: not within {within:?}: {counters:?}");
            let ended = self.process.try_exit(Duration::from_millis(100));
            assert_eq!(ended, None, "the server ended\n{}", self.process.said());
        }
    }

    /// Sends SIGTERM; gives the exit status and how long the end took.
    pub fn terminate(&self, within: Duration) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        self.process.signal("TERM");
        let status = self.process.wait_exit(within);
        (status, asked.elapsed())
    }

    /// Waits for a log line with these words.
    pub fn wait_log(&self, words: &[&str], within: Duration) -> String {
        self.process
            .wait(&format!("log line with {words:?}"), within, |from, line| {
                (from == From::Stderr && has_words(line, words)).then(|| line.to_string())
            })
    }

    fn wait_counter_after(&self, before: usize) -> String {
        self.wait_line_after(before, |line| counter(line).is_some());
        let lines = self.process.lines();
        lines[before..]
            .iter()
            .find_map(|(_, line)| counter(line))
            .expect("waited for above")
            .0
    }

    fn wait_line_after(&self, before: usize, wanted: impl Fn(&str) -> bool) {
        let position = std::cell::Cell::new(0);
        self.process
            .wait("counter lines after SIGUSR1", Duration::from_secs(5), |_, line| {
                position.set(position.get() + 1);
                (position.get() > before && wanted(line)).then_some(())
            });
    }
}

/// Reads one `counter NAME VALUE` line.
pub fn counter(line: &str) -> Option<(String, u64)> {
    let mut words = line.split_whitespace();
    (words.next()? == "counter").then_some(())?;
    let name = words.next()?.to_string();
    let value = words.next()?.parse().ok()?;
    words.next().is_none().then_some((name, value))
}

fn listener(process: &Process, protocol: &str) -> SocketAddr {
    let prefix = format!("listening {protocol} ");
    process.wait(&prefix, Duration::from_secs(1), |from, line| {
        let address = line.strip_prefix(&prefix).filter(|_| from == From::Stdout)?;
        Some(
            address
                .trim()
                .parse()
                .unwrap_or_else(|_| panic!("not an address in {line:?}")),
        )
    })
}
