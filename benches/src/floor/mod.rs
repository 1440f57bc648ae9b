//! `floor`: does penstock cost less than the least that `epoll` can do with the same sends, or than another server?
//!
//! A B A B: penstock for a while, then the [`server`] that replays the sends which penstock has just counted (or another
//! server that stands by), each with the same viewers out of this process, on the same core. A pair gives one ratio of CPU
//! seconds per GB; the median of the ratios is the answer, and their spread says whether it is one.

mod child;
mod cores;
pub mod plan;
pub mod server;
mod side;

pub use child::{Options as ChildOptions, Process, clip, serve};
pub use cores::Cores;
use plan::{CLASSES, Plan};
pub use server::Call;
use side::{Other, Side};
pub use side::{Own, measure};

use crate::account;
use crate::proc;
use crate::report::{Good, Report};
use crate::scene::Packaging;
use crate::server::Settings;

/// Ratios that lie further apart than so, in parts of their median, are not measured.
pub const SPREAD_MAX: f64 = 0.15;
/// A floor that makes other sends than it replays, by more than this part, is none.
const REPLAY_OFF_MAX: f64 = 0.03;
/// From here up sends are "large" in the aims.
const LARGE_SEND_BYTES: f64 = 65_536.0;

/// What is compared.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How penstock hands out the stream.
    #[arg(long, value_enum, default_value = "flv")]
    pub packaging: Packaging,
    /// Viewers.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    pub viewers: u32,
    /// How many of them read their bytes and measure latency.
    #[arg(long, default_value_t = 4)]
    pub verifying: u32,
    /// Bit rate of the canonical clip, kb/s.
    #[arg(long, default_value_t = 2600)]
    pub bitrate: u32,
    /// Pairs of penstock and floor.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub pairs: u32,
    /// Seconds that are measured of each.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=110))]
    pub seconds: u64,
    /// Seconds in which viewers ask, evenly spread.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub ramp: u64,
    /// Seconds until they are measured: start bursts are over, and penstock has its low-water marks, for which it
    /// measures 4 s.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub settle: u64,
    /// How the floor hands its bytes to the kernel.
    #[arg(long, value_enum, default_value = "send")]
    pub call: Call,
    /// The floor sends each viewer's bytes every so many ms; without it, it replays penstock's sends.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub every: Option<u64>,
    /// The longest and shortest pause between penstock's turns for RTMP viewers, ms.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub pause: Option<u64>,
    /// Core of the servers; the generator has all others.
    #[arg(long, default_value_t = 0)]
    pub server_core: usize,
    /// Another server's stream, http:// or rtmp://, in the floor's place.
    #[arg(long, requires = "pid", conflicts_with_all = ["every", "call"])]
    pub against: Option<String>,
    /// Process of that server. Give it the servers' core: taskset -acp 0 PID.
    #[arg(long, requires = "against")]
    pub pid: Option<u32>,
    /// rtmp:// URL where that server takes the clip.
    #[arg(long, requires = "against")]
    pub publish: Option<String>,
}

/// The options of the command line, with their defaults.
#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

/// `words` of the command line as options.
pub fn options(words: &str) -> Options {
    <Line as clap::Parser>::parse_from(format!("floor {words}").split_whitespace()).options
}

/// What the ratio has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bars {
    pub at_most: f64,
    /// What it should reach below and above [`LARGE_SEND_BYTES`] a send.
    pub aims: Option<[f64; 2]>,
    /// Added latency p99, ms.
    pub latency: Option<f64>,
}

/// Runs the pairs.
///
/// # Errors
/// A server could not be started or ended, or its sends could not be replayed; the user ended it.
pub fn run(options: &Options, settings: &Settings, title: &str, bars: Option<Bars>) -> anyhow::Result<Report> {
    let cores = Cores::split(options.server_core)?;
    let mut other = match (&options.against, options.pid) {
        (Some(url), Some(pid)) => Some(Other::start(url, pid, options)?),
        _ => None,
    };
    let mut report = Report::new();
    report.title(title);
    report.fact("cores", cores.shown());
    if let Some(pid) = options.pid {
        report.fact("the other server", proc::program(pid));
        report.fact("the other server's cores", proc::cores_of(pid)?);
        if proc::cores_of(pid)? != cores.server().to_string() {
            report.fact(
                "unfair",
                format!("taskset -acp {} {pid} puts it on the same core", cores.server()),
            );
        }
    }
    let mut pairs = Vec::new();
    for number in 1..=options.pairs {
        eprintln!("pair {number} of {}", options.pairs);
        let own = Own::start(settings, options, &cores)?.measure(options)?;
        let (against, fault) = match &mut other {
            Some(other) => (other.measure(options)?, None),
            None => replayed(&own, options, &cores)?,
        };
        let ratio = match fault {
            None => own.spent.per_gigabyte() / against.spent.per_gigabyte(),
            Some(_) => f64::NAN,
        };
        if let Some(fault) = fault {
            report.fact(&format!("pair {number} is void"), fault);
        }
        pairs.push(Pair { own, against, ratio });
    }
    report_pairs(&mut report, &pairs, options, bars);
    Ok(report)
}

/// The floor's side, and why it is none where that is so.
fn replayed(own: &Side, options: &Options, cores: &Cores) -> anyhow::Result<(Side, Option<String>)> {
    let sends = own.sends.as_ref().expect("the own server counts its sends");
    let plan = match options.every {
        None => Plan::replay(&sends.by_size, sends.bytes, options.viewers, sends.nanos)?,
        Some(millis) => {
            let rate = sends.bytes as f64 * 1e9 / sends.nanos as f64 / f64::from(options.viewers);
            Plan::even(millis * 1_000_000, rate, options.viewers)
        }
    };
    let process = cores.as_server(|| Process::start(options.call, &plan, options.bitrate))?;
    let side = side::measure_floor(process, options)?;
    let made = side.sends.as_ref().map_or(0.0, side::Sends::per_second);
    let wanted = plan.sends() as f64 * 1e9 / (plan.rounds.len() as f64 * plan.interval_nanos as f64);
    // A round more or less at each end of the time is no fault.
    let ends = 2.0 * f64::from(options.viewers) / options.seconds as f64;
    let is_off = (made - wanted).abs() > REPLAY_OFF_MAX * wanted + ends;
    let fault = is_off.then(|| {
        format!("the floor made {made:.0} sends a second in place of {wanted:.0}: its core or the generator's is full")
    });
    Ok((side, fault))
}

#[derive(Debug)]
struct Pair {
    own: Side,
    against: Side,
    ratio: f64,
}

/// Median, and how far the outermost lie apart in parts of it.
pub fn median_and_spread(values: &[f64]) -> (f64, f64) {
    let mut sorted: Vec<f64> = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else {
        return (f64::NAN, f64::NAN);
    };
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    };
    (median, (last - first) / median)
}

fn median_of(pairs: &[Pair], of: impl Fn(&Pair) -> f64) -> f64 {
    median_and_spread(&pairs.iter().map(of).collect::<Vec<_>>()).0
}

fn report_pairs(report: &mut Report, pairs: &[Pair], options: &Options, bars: Option<Bars>) {
    let against = match (&options.against, options.call) {
        (Some(_), _) => "the other server",
        (None, Call::Send) => "floor (send)",
        (None, Call::Sendfile) => "floor (sendfile)",
    };
    let ratios: Vec<f64> = pairs.iter().map(|pair| pair.ratio).collect();
    let (median, spread) = median_and_spread(&ratios);
    let is_measured = spread <= SPREAD_MAX;
    let ratio = if is_measured { median } else { f64::NAN };
    let name = format!("CPU per GB, penstock / {against}");
    match bars {
        Some(bars) => report.bar(&name, ratio, "x", Good::AtMost, bars.at_most),
        None => report.figure(&name, ratio, "x"),
    }
    report.figure("  spread of its pairs", 100.0 * spread, "%");
    if !is_measured {
        let limit = 100.0 * SPREAD_MAX;
        report.fact(
            "  not measured",
            format!("the spread is above {limit:.0} %; the median was {median:.3}"),
        );
    }
    let bytes_per_send = median_of(pairs, |pair| {
        pair.own.sends.as_ref().map_or(f64::NAN, side::Sends::mean)
    });
    if let Some([small, large]) = bars.and_then(|bars| bars.aims) {
        let aim = if bytes_per_send < LARGE_SEND_BYTES {
            small
        } else {
            large
        };
        let reached = if ratio <= aim { "reached" } else { "not reached" };
        let kilobytes = bytes_per_send / 1000.0;
        report.fact("  aim", format!("<= {aim} at {kilobytes:.1} kB a send: {reached}"));
    }
    report.figure("bytes per send", bytes_per_send, "B");
    let sends = |pair: &Pair| {
        pair.own
            .sends
            .as_ref()
            .map_or(f64::NAN, |sends| sends.per_second() / pair.own.viewers)
    };
    report.figure("sends per viewer-second", median_of(pairs, sends), "");
    let latency = |pair: &Pair| pair.own.found.latency.quantile_millis(0.99);
    let p99 = median_of(pairs, latency);
    match bars.and_then(|bars| bars.latency) {
        Some(bar) => report.bar("added latency p99", p99, "ms", Good::AtMost, bar),
        None => report.figure("added latency p99", p99, "ms"),
    }
    let worst = pairs.iter().map(latency).fold(f64::NAN, f64::max);
    report.figure("  of the worst pair", worst, "ms");
    let bad = |side: &Side| side.found.failed + side.found.stalled;
    let failed: u64 = pairs.iter().map(|pair| bad(&pair.own) + bad(&pair.against)).sum();
    report.bar("viewers failed or stalled", failed as f64, "", Good::AtMost, 0.0);
    for (number, pair) in (1..).zip(pairs) {
        report.figure(&format!("pair {number}: ratio"), pair.ratio, "x");
        for (name, side) in [("penstock", &pair.own), (against, &pair.against)] {
            report.figure(&format!("  {name}"), side.spent.per_gigabyte(), "s/GB");
            report.figure(
                "    delivered",
                side.spent.gigabytes() * 8.0 / side.spent.seconds,
                "Gb/s",
            );
            if let Some(sends) = &side.sends {
                report.figure("    sends", sends.per_second(), "/s");
                report.figure("    of them found the socket full", sends.full as f64, "");
            }
        }
    }
    if let Some(pair) = pairs.last() {
        report_sizes(report, pair, against);
        for (name, side) in [("penstock", &pair.own), (against, &pair.against)] {
            report.title(format!("{name}, last pair"));
            side.found.report(report);
            side.spent.report(report, side.viewers);
            side.spent.plot(report);
            account::plot_findings(report, &side.found);
        }
    }
}

fn report_sizes(report: &mut Report, pair: &Pair, against: &str) {
    let (Some(own), Some(other)) = (&pair.own.sends, &pair.against.sends) else {
        return;
    };
    report.title("sends by size, a second, last pair");
    for (class, (name, _)) in CLASSES.iter().enumerate() {
        if own.by_size[class] + other.by_size[class] > 0 {
            report.figure(&format!("{name}: penstock"), own.class_per_second(class), "/s");
            report.figure(&format!("  {against}"), other.class_per_second(class), "/s");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_ratio_counts_and_the_outermost_say_how_well() {
        let (median, spread) = median_and_spread(&[1.1, 0.9, 1.0, 1.05, 0.95]);
        assert!(
            (median - 1.0).abs() < 1e-9 && (spread - 0.2).abs() < 1e-9,
            "{median} {spread}"
        );
        assert_eq!(median_and_spread(&[2.0, 4.0]), (3.0, 2.0 / 3.0));
        assert_eq!(median_and_spread(&[2.0]), (2.0, 0.0));
        let (median, spread) = median_and_spread(&[]);
        assert!(median.is_nan() && spread.is_nan());
        // What is not a number is no ratio, and meets no bar.
        let (_, spread) = median_and_spread(&[1.0, f64::NAN, 1.0]);
        assert!(!matches!(
            spread.partial_cmp(&SPREAD_MAX),
            Some(std::cmp::Ordering::Less)
        ));
    }
}
