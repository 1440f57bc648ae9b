//! `ll-burst`: viewers that all wait for the same part, or for the same playlist. How long until the last of them has its
//! last byte, beside what it takes to send as many bytes to as many sockets, and is it always the same one that is last?

use std::time::Duration;

use anyhow::{Context, bail};

use super::fetch::{Fetcher, behind, blocking};
use super::waiting::{Crowd, Floor, Got, Until};
use crate::floor::{Cores, Own, median_and_spread, options};
use crate::player::playlist::{Media, Place};
use crate::report::{Good, Report};
use crate::server::Settings;
use crate::stamp::Search;
use crate::target::Target;

const VIEWERS: u32 = 1000;
const ROUNDS: usize = 20;
/// A part is 333 ms, and the answers of a thousand take some hundred.
const ANSWER: Duration = Duration::from_secs(10);
/// The first parts of a segment always come: a hint behind them may turn out to be none.
const PART_MAX: usize = 3;
/// Penstock's time by the floor's.
const TIMES_MAX: f64 = 2.0;
/// The last so many in a hundred of a round are "last".
const LAST_PERCENT: usize = 10;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    Part,
    List,
}

/// One round of a thing: ms from the part's end to the last byte of the last, ours and the floor's.
#[derive(Debug)]
struct Round {
    own: f64,
    floor: f64,
    bytes: u64,
    /// Who was among the last.
    last: Vec<usize>,
}

/// The promised number of viewers and rounds.
///
/// # Errors
/// As [`ll_burst_of`].
pub fn ll_burst(settings: &Settings) -> anyhow::Result<Report> {
    ll_burst_of(VIEWERS, ROUNDS, settings)
}

/// Runs the rounds: part and playlist in turn, each followed by the floor's.
///
/// # Errors
/// The server could not be started, or a viewer got no whole answer.
pub fn ll_burst_of(viewers: u32, rounds: usize, settings: &Settings) -> anyhow::Result<Report> {
    let cores = Cores::split(0)?;
    let options = options(&format!("--viewers {viewers}"));
    let mut own = Own::start(settings, &options, &cores)?;
    let master = Target::parse(&format!("http://{}/cmaf/live/index.m3u8", own.http()))?;
    let mut scout = Scout::new(&master)?;
    let mut crowd = Crowd::connect(master.authority.address, viewers)?;
    let floor = Floor::start(viewers, cores.server())?;
    let mut beside = Crowd::connect(floor.address, viewers)?;
    let (mut parts, mut lists) = (Vec::new(), Vec::new());
    for number in 0..2 * rounds {
        let (thing, done) = match number % 2 {
            0 => (Thing::Part, &mut parts),
            _ => (Thing::List, &mut lists),
        };
        let (place, got) = scout.have_all_wait(thing, &mut crowd)?;
        let end = scout.end_of(place)?;
        let bytes = got[0].bytes;
        let begun = floor.send(bytes as usize)?;
        let floored = beside.wait(Until::Bytes(bytes), ANSWER)?;
        done.push(Round {
            own: millis(end, &got)?,
            floor: millis(begun, &floored)?,
            bytes,
            last: last_of(&got),
        });
        own.check()?;
    }
    let mut report = Report::new();
    report.title(format!(
        "ll-burst: {viewers} viewers wait for the same part, and for the same playlist, {rounds} times each, 2.6 Mb/s"
    ));
    report.fact("cores", cores.shown());
    tell(&mut report, "part", &parts, viewers);
    tell(&mut report, "playlist", &lists, viewers);
    Ok(report)
}

fn tell(report: &mut Report, what: &str, rounds: &[Round], viewers: u32) {
    let of = |value: fn(&Round) -> f64| median_and_spread(&rounds.iter().map(value).collect::<Vec<_>>()).0;
    let ratios: Vec<f64> = rounds.iter().map(|round| round.own / round.floor).collect();
    let name = format!("{what}: last byte of the last viewer, penstock / floor, median of the rounds");
    report.bar(&name, median_and_spread(&ratios).0, "x", Good::AtMost, TIMES_MAX);
    let (quarter, three) = quartiles(&ratios);
    report.figure("  a quarter of the rounds is below", quarter, "x");
    report.figure("  and a quarter above", three, "x");
    report.figure("  penstock, median", of(|round| round.own), "ms");
    report.figure("  floor, median", of(|round| round.floor), "ms");
    report.figure(
        "  bytes of an answer, with its head",
        of(|round| round.bytes as f64),
        "bytes",
    );
    let mut times = vec![0; viewers as usize];
    rounds
        .iter()
        .flat_map(|round| &round.last)
        .for_each(|viewer| times[*viewer] += 1);
    let most = times.iter().copied().max().unwrap_or(0);
    let share = 100.0 * f64::from(most) / rounds.len() as f64;
    report.figure(
        &format!("  rounds in which one viewer was among the last {LAST_PERCENT} %, at most"),
        share,
        "%",
    );
}

fn quartiles(values: &[f64]) -> (f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[sorted.len() / 4], sorted[sorted.len() * 3 / 4])
}

/// From `begun` to the last byte of the last.
fn millis(begun: u64, got: &[Got]) -> anyhow::Result<f64> {
    let last = got.iter().map(|got| got.at).max().context("there are viewers")?;
    let nanos = last
        .checked_sub(begun)
        .context("an answer came before what it waited for: the round is void")?;
    Ok(nanos as f64 / 1e6)
}

fn last_of(got: &[Got]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..got.len()).collect();
    order.sort_by_key(|viewer| got[*viewer].at);
    order.split_off(got.len() - got.len() * LAST_PERCENT / 100)
}

/// Knows what comes next.
struct Scout {
    fetcher: Fetcher,
    list: Target,
}

impl Scout {
    fn new(master: &Target) -> anyhow::Result<Scout> {
        let mut fetcher = Fetcher::new();
        let (list, _) = fetcher.variants(master)?;
        Ok(Scout { fetcher, list })
    }

    /// Everybody asks for the part that is next, or for the playlist with it, and gets it; where it stands.
    fn have_all_wait(&mut self, thing: Thing, crowd: &mut Crowd) -> anyhow::Result<(Place, Vec<Got>)> {
        let (place, hint) = self.next()?;
        let target = match thing {
            Thing::Part => self.list.resolve(&hint)?,
            Thing::List => blocking(&self.list, place),
        };
        crowd.ask(&target.request(None))?;
        Ok((place, crowd.wait(Until::Answered, ANSWER)?))
    }

    /// The next part that has only begun: so that there is time to ask for it.
    fn next(&mut self) -> anyhow::Result<(Place, String)> {
        let mut list = self.fetcher.media(&self.list)?;
        loop {
            if list.ended || !list.is_low_latency() {
                bail!("{} is no live LL-HLS", self.list.url());
            }
            let (place, _) = list.end();
            list = self.fetcher.media(&blocking(&self.list, place))?;
            let (place, _) = list.end();
            if let Some(hint) = list.hint.clone().filter(|_| place.1 < PART_MAX) {
                return Ok((place, hint.uri));
            }
        }
    }

    /// When the part at `place` ended: the next one's first picture was sent then.
    fn end_of(&mut self, place: Place) -> anyhow::Result<u64> {
        let list: Media = self.fetcher.media(&self.list)?;
        let (uri, _) = behind(&list, place).context("nothing is behind a part that is there")?;
        let part = self.fetcher.get(&self.list.resolve(&uri)?)?;
        let mut first = None;
        Search::new().feed(&part, |stamp| {
            first.get_or_insert(stamp.nanos);
        });
        first.context("a part without stamps")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_last_is_found_and_a_round_before_its_time_is_void() {
        let got: Vec<Got> = (0..20u64)
            .map(|at| Got {
                at: 1000 + at * 7 % 20,
                bytes: 1,
            })
            .collect();
        let mut last = last_of(&got);
        last.sort_unstable();
        // 7 x 17 and 7 x 14 are 19 and 18 by 20.
        assert_eq!(last, [14, 17]);
        assert!((millis(1000, &got).unwrap() - 19e-6).abs() < 1e-12);
        assert!(millis(2000, &got).is_err());
        assert_eq!(quartiles(&[4.0, 1.0, 3.0, 2.0]), (2.0, 4.0));
    }
}
