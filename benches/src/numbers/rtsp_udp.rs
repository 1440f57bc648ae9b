//! How many packets does a CPU second of the server send to RTSP viewers by UDP, cut by the kernel (UDP GSO) or one by one?
//!
//! 200 viewers of the canonical stream, each with sockets of its own; a thread reads them all and counts. A server with
//! `datagram_segmentation` as it comes and one without stand in turn, on one core with one shard; the ratio of a pair is what
//! cutting saves. The publisher's bytes, muxing and the kernel's way to the receiving sockets are in both.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;

use super::CANONICAL;
use crate::floor::median_and_spread;
use crate::proc;
use crate::report::{Good, Report};
use crate::scene::{Packaging, Stage, pause};
use crate::server::{Settings, counter};
use crate::sys;
use crate::target::Target;

const VIEWERS: u32 = 200;
const PAIRS: u32 = 3;
const SECONDS: u64 = 8;
const SETTLE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at the sockets: a fraction of what a socket holds.
const LOOK: Duration = Duration::from_millis(5);
/// A head and a description.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Neighbouring ports are looked for so often.
const PAIRS_TRIED_MAX: u32 = 1_000;

/// See the module.
///
/// # Errors
/// A server could not be started or asked, a viewer was refused; the user ended it.
pub fn scene(settings: &Settings) -> anyhow::Result<Report> {
    measure(settings, CANONICAL, VIEWERS, PAIRS, Duration::from_secs(SECONDS))
}

/// The same with other numbers.
pub fn measure(settings: &Settings, kilobits: u32, viewers: u32, pairs: u32, time: Duration) -> anyhow::Result<Report> {
    let settings = Settings {
        shards: 1,
        ..settings.clone()
    };
    let mut report = Report::new();
    report.title(format!("rtsp-udp: {viewers} RTSP viewers of {kilobits} kb/s by UDP"));
    let mut sides = [Vec::new(), Vec::new()];
    for number in 1..=pairs {
        eprintln!("pair {number} of {pairs}");
        for (side, segmentation) in sides.iter_mut().zip(["auto", "off"]) {
            side.push(watched(&settings, kilobits, viewers, time, segmentation)?);
        }
    }
    let [cut, single] = &sides;
    for (name, side) in [("cut by the kernel", cut), ("one by one", single)] {
        tell(&mut report, name, side);
    }
    let ratios: Vec<f64> = cut
        .iter()
        .zip(single)
        .map(|(cut, single)| cut.per_cpu_second() / single.per_cpu_second())
        .collect();
    let (median, spread) = median_and_spread(&ratios);
    report.figure("packets per CPU second, cut / one by one", median, "x");
    report.figure("  spread of its pairs", 100.0 * spread, "%");
    let all = || sides.iter().flatten();
    let (sent, heard) = (
        all().map(|one| one.sent).sum::<u64>(),
        all().map(|one| one.heard).sum::<u64>(),
    );
    let missing = 100.0 * (1.0 - heard as f64 / sent as f64);
    report.bar("packets sent and not heard", missing, "%", Good::AtMost, 1.0);
    report.bar(
        "packets not sent",
        all().map(|one| one.dropped).sum::<u64>() as f64,
        "",
        Good::AtMost,
        0.0,
    );
    Ok(report)
}

fn tell(report: &mut Report, name: &str, side: &[Found]) {
    let median = |of: fn(&Found) -> f64| median_and_spread(&side.iter().map(of).collect::<Vec<_>>()).0;
    report.figure(
        &format!("{name}: packets per CPU second"),
        median(Found::per_cpu_second),
        "/s",
    );
    report.figure("  packets", median(|one| one.sent as f64 / one.seconds), "/s");
    report.figure("  sends", median(|one| one.sends as f64 / one.seconds), "/s");
    report.figure("  of them cut", median(|one| one.cut as f64 / one.seconds), "/s");
    report.figure("  server CPU", median(|one| 100.0 * one.cpu / one.seconds), "% core");
}

/// What a server did in a time.
#[derive(Clone, Copy, Debug)]
struct Found {
    seconds: f64,
    cpu: f64,
    sent: u64,
    sends: u64,
    cut: u64,
    dropped: u64,
    heard: u64,
}

impl Found {
    fn per_cpu_second(&self) -> f64 {
        self.sent as f64 / self.cpu
    }
}

fn watched(
    settings: &Settings,
    kilobits: u32,
    viewers: u32,
    time: Duration,
    segmentation: &str,
) -> anyhow::Result<Found> {
    let keys = json!({"datagram_segmentation": segmentation});
    let mut stage = Stage::start_with(settings, kilobits, 1, &keys)?;
    let target = stage.target(Packaging::Rtsp)?;
    let mut viewing = Vec::new();
    for _ in 0..viewers {
        viewing.push(Viewer::start(&target)?);
    }
    let (controls, ears): (Vec<TcpStream>, Vec<Vec<UdpSocket>>) =
        viewing.into_iter().map(|viewer| (viewer.control, viewer.ears)).unzip();
    let ears = Ears::listen(ears.into_iter().flatten().collect());
    pause(SETTLE)?;
    let pid = stage.server().pid();
    let before = (
        stage.server().counters()?,
        proc::run_seconds(pid)?,
        ears.heard(),
        Instant::now(),
    );
    pause(time)?;
    let cpu = proc::run_seconds(pid)? - before.1;
    let (after, heard, seconds) = (
        stage.server().counters()?,
        ears.heard() - before.2,
        before.3.elapsed().as_secs_f64(),
    );
    stage.check()?;
    if counter(&after, "viewers")? != u64::from(viewers) {
        bail!("{viewers} viewers came, {} are left", counter(&after, "viewers")?);
    }
    drop(controls);
    let rise = |name: &str| Ok::<u64, anyhow::Error>(counter(&after, name)? - counter(&before.0, name)?);
    Ok(Found {
        seconds,
        cpu,
        sent: rise("datagrams_sent")?,
        sends: rise("datagram_sends")?,
        cut: rise("datagram_sends_cut")?,
        dropped: rise("datagrams_dropped")? + rise("datagrams_refused")?,
        heard,
    })
}

/// One viewer of every track, whose packets go to sockets of its own.
struct Viewer {
    control: TcpStream,
    ears: Vec<UdpSocket>,
}

impl Viewer {
    fn start(target: &Target) -> anyhow::Result<Viewer> {
        let mut dialogue = Dialogue::connect(target.authority.address)?;
        let url = target.url();
        let described = dialogue.ask("DESCRIBE", &url, "Accept: application/sdp\r\n")?;
        let controls = described.lines().filter_map(|line| line.strip_prefix("a=control:"));
        let controls: Vec<String> = controls
            .filter(|control| *control != "*")
            .map(|control| {
                if control.contains("://") {
                    control.to_owned()
                } else {
                    format!("{url}/{control}")
                }
            })
            .collect();
        if controls.is_empty() {
            bail!("{url} describes no track: {described}");
        }
        let mut ears = Vec::new();
        for control in controls {
            let (pair, port) = neighbours()?;
            let ports = format!("Transport: RTP/AVP;unicast;client_port={port}-{}\r\n", port + 1);
            dialogue.ask("SETUP", &control, &ports)?;
            ears.extend(pair);
        }
        dialogue.ask("PLAY", &url, "")?;
        Ok(Viewer {
            control: dialogue.stream,
            ears,
        })
    }
}

/// Two sockets at neighbouring ports, the first of them even.
fn neighbours() -> anyhow::Result<([UdpSocket; 2], u16)> {
    for _ in 0..PAIRS_TRIED_MAX {
        let first = UdpSocket::bind("127.0.0.1:0").context("no free port")?;
        let port = first.local_addr()?.port();
        if port.is_multiple_of(2)
            && let Ok(second) = UdpSocket::bind(("127.0.0.1", port + 1))
        {
            return Ok(([first, second], port));
        }
    }
    bail!("no two free ports side by side");
}

/// Requests one by one, on the connection that holds the session.
struct Dialogue {
    stream: TcpStream,
    session: String,
    sequence: u32,
}

impl Dialogue {
    fn connect(to: SocketAddr) -> anyhow::Result<Dialogue> {
        let stream = TcpStream::connect(to).with_context(|| format!("cannot connect to {to}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Dialogue {
            stream,
            session: String::new(),
            sequence: 0,
        })
    }

    /// The body of the answer, which is a good one.
    fn ask(&mut self, method: &str, url: &str, more: &str) -> anyhow::Result<String> {
        self.sequence += 1;
        let Dialogue { session, sequence, .. } = self;
        let text = format!("{method} {url} RTSP/1.0\r\nCSeq: {sequence}\r\n{session}{more}\r\n");
        self.stream.write_all(text.as_bytes())?;
        let mut said = Vec::new();
        loop {
            if let Some((head, body)) = whole(&said) {
                if !head.starts_with("RTSP/1.0 200") {
                    bail!("{method} {url}: {head}");
                }
                if let Some(session) = field(head, "Session") {
                    let id = session.split(';').next().unwrap_or_default();
                    self.session = format!("Session: {id}\r\n");
                }
                return Ok(body.to_owned());
            }
            let mut part = [0; 4096];
            let count = self.stream.read(&mut part).with_context(|| format!("{method} {url}"))?;
            if count == 0 || said.len() > TEXT_BYTES_MAX {
                bail!("{method} {url}: no answer but {:?}", String::from_utf8_lossy(&said));
            }
            said.extend_from_slice(&part[..count]);
        }
    }
}

/// Head and body of an answer, if all of it is there.
fn whole(said: &[u8]) -> Option<(&str, &str)> {
    let (head, rest) = std::str::from_utf8(said).ok()?.split_once("\r\n\r\n")?;
    let length = field(head, "Content-Length").map_or(Some(0), |text| text.parse::<usize>().ok())?;
    Some((head, rest.get(..length)?))
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .next()
}

/// A thread that reads all sockets, and how many packets it has read.
struct Ears {
    heard: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ears {
    fn listen(sockets: Vec<UdpSocket>) -> Ears {
        let (heard, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (Arc::clone(&heard), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut scratch = [0; 2048];
            while !stopped.load(Ordering::Relaxed) {
                for socket in &sockets {
                    let packets = std::iter::from_fn(|| sys::read(socket, &mut scratch).ok());
                    counted.fetch_add(packets.count() as u64, Ordering::Relaxed);
                }
                std::thread::sleep(LOOK);
            }
        });
        Ears {
            heard,
            stop,
            thread: Some(thread),
        }
    }

    fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It only counts.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
