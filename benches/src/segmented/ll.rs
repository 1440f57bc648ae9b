//! `ll-hls`: a hundred viewers with blocking reloads and hints. How long after a part's end has each of them its last byte?

use std::time::Duration;

use crate::account::Account;
use crate::floor::{Cores, Own, options};
use crate::report::{Good, Report};
use crate::scene::Audience;
use crate::server::{Settings, counter};
use crate::target::Target;

const VIEWERS: u32 = 100;
/// Reading all of a part takes a parser as long as sending it takes a server: more of them would measure themselves.
const VERIFYING: u32 = 8;
const SETTLE: Duration = Duration::from_secs(5);
const SECONDS: Duration = Duration::from_secs(20);
/// ms from a part's end to its last byte.
const LAST_BYTE_MAX: f64 = 15.0;

/// Some of the viewers parse what they get, all read on the generator's one core: what that takes is in the figure, which is
/// an upper bound of the server's own. Who is served first changes, so that those are as good as any.
///
/// # Errors
/// The server could not be started or ended; the user ended it.
pub fn ll_hls(settings: &Settings) -> anyhow::Result<Report> {
    let cores = Cores::split(0)?;
    let mut own = Own::start(settings, &options(&format!("--viewers {VIEWERS}")), &cores)?;
    let target = Target::parse(&format!("http://{}/cmaf/live/index.m3u8", own.http()))?;
    let mut audience = Audience::new("ll-hls")?;
    audience.open(&target, VIEWERS, VERIFYING, Duration::from_secs(2))?;
    audience.watch(SETTLE, None)?;
    audience.begin_window()?;
    let requests = |own: &Own| counter(&own.counters()?, "http_requests");
    let asked = requests(&own)?;
    let account = Account::open(Some(own.pid()), audience.delivered())?;
    audience.watch(SECONDS, None)?;
    let spent = account.close()?;
    let asked = requests(&own)? - asked;
    own.check()?;
    let found = audience.end()?;
    let mut report = Report::new();
    report.title(format!(
        "ll-hls: {VIEWERS} viewers, parts of about a third of a second, 2.6 Mb/s"
    ));
    report.fact("cores", cores.shown());
    let (ends, holes) = found.part_end();
    let name = "a part's last byte read, from the part's end, p99";
    report.bar(name, ends.quantile_millis(0.99), "ms", Good::AtMost, LAST_BYTE_MAX);
    report.figure("  parts measured", ends.count() as f64, "");
    report.figure("  of them before a hole in the clip", holes as f64, "");
    let bad = found.failed + found.stalled + found.frames_lost;
    report.bar("failed, stalled, frames lost", bad as f64, "", Good::AtMost, 0.0);
    report.figure("requests", asked as f64 / spent.seconds, "/s");
    if let Some(process) = &spent.process {
        report.figure("server CPU per request", 1e6 * process.ran / asked as f64, "us");
    }
    found.report(&mut report);
    spent.report(&mut report, f64::from(VIEWERS));
    Ok(report)
}
