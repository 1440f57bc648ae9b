//! `Range` (RFC 2326 3.6, 3.7 and 12.29): from where to where a play goes, by the presentation's time or the wall's.

/// Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// `npt=`
    Npt { from: Point, to: Option<u64> },
    /// `clock=`, since 1970 in UTC.
    Clock { from: u64, to: Option<u64> },
}

/// Where a play of [`Range::Npt`] begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// `now`: the newest.
    Now,
    At(u64),
}

impl Range {
    /// `npt=0.000-`, `npt=now-`, `npt=1:02:03.5-`, `clock=20260102T030405.5Z-`. None for what is no range or another unit;
    /// what stands behind a semicolon is passed over.
    pub fn parse(text: &str) -> Option<Range> {
        let text = text.split(';').next()?.trim();
        let (unit, range) = text.split_once('=')?;
        let (from, to) = range.split_once('-')?;
        let (from, to) = (from.trim(), to.trim());
        match unit.trim().to_ascii_lowercase().as_str() {
            "npt" => {
                let from = match from {
                    "" => Point::At(0),
                    now if now.eq_ignore_ascii_case("now") => Point::Now,
                    time => Point::At(npt(time)?),
                };
                let to = if to.is_empty() { None } else { Some(npt(to)?) };
                Some(Range::Npt { from, to })
            }
            "clock" => {
                let to = if to.is_empty() { None } else { Some(utc(to)?) };
                Some(Range::Clock { from: utc(from)?, to })
            }
            _ => None,
        }
    }

    /// As [`Range::parse`] reads it.
    pub fn text(&self) -> String {
        match *self {
            Range::Npt { from, to } => {
                let from = match from {
                    Point::Now => "now".to_owned(),
                    Point::At(millis) => seconds(millis),
                };
                format!("npt={from}-{}", to.map(seconds).unwrap_or_default())
            }
            Range::Clock { from, to } => {
                format!("clock={}-{}", utc_text(from), to.map(utc_text).unwrap_or_default())
            }
        }
    }
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// Seconds, or hours, minutes and seconds; with a fraction.
fn npt(text: &str) -> Option<u64> {
    let mut millis = 0_u64;
    let mut parts = text.split(':').peekable();
    while let Some(part) = parts.next() {
        let part = match parts.peek() {
            Some(_) => part.parse::<u32>().ok().map(|number| u64::from(number) * 1000)?,
            None => fraction(part)?,
        };
        millis = millis.checked_mul(60)?.checked_add(part)?;
    }
    (text.matches(':').count() <= 2).then_some(millis)
}

/// Seconds with a fraction, in milliseconds, cut.
fn fraction(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = part.get(..part.len().min(3))?;
    let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
    let part = if digits.is_empty() {
        0
    } else {
        digits.parse::<u64>().ok()?
    };
    let part = part * 10_u64.pow(3 - digits.len() as u32);
    let whole = u64::from(whole.parse::<u32>().ok()?);
    is_number.then_some(whole * 1000 + part)
}

/// `20260102T030405.678Z`
fn utc(text: &str) -> Option<u64> {
    let (date, time) = text.trim_end_matches(['Z', 'z']).split_once(['T', 't'])?;
    let field = |text: &str, from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    };
    let (year, month, day) = (field(date, 0, 4)?, field(date, 4, 6)?, field(date, 6, date.len())?);
    let (hour, minute) = (field(time, 0, 2)?, field(time, 2, 4)?);
    let millis = fraction(time.get(4..)?)?;
    let is_date = (1970..10_000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let is_time = hour < 24 && minute < 60 && millis < 61_000;
    (is_date && is_time).then(|| {
        let days = days_before(year, month) + day - 1;
        (days * 24 + hour) * 3_600_000 + minute * 60_000 + millis
    })
}

fn utc_text(millis: u64) -> String {
    let (days, of_day) = (millis / DAY_MILLIS, millis % DAY_MILLIS);
    let days = days.min(DAYS_MAX);
    // The year is at least as many as there would be of 366 days.
    let mut year = 1970 + days / 366;
    while days_before(year + 1, 1) <= days {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days_before(year, month + 1) <= days {
        month += 1;
    }
    let day = days - days_before(year, month) + 1;
    let (hour, minute, of_minute) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day % 60_000);
    format!(
        "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{:02}.{:03}Z",
        of_minute / 1000,
        of_minute % 1000
    )
}

/// Days from 1970 to the first of a month.
fn days_before(year: u64, month: u64) -> u64 {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let is_leap = leaps(year) > leaps(year - 1);
    let of_year = (1..month).map(|month| match month {
        2 => 28 + u64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    });
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969) + of_year.sum::<u64>()
}

const DAY_MILLIS: u64 = 86_400_000;
/// To the end of the year 9999.
const DAYS_MAX: u64 = 2_932_896;

#[cfg(test)]
mod tests {
    use super::*;

    fn npt(from: u64, to: Option<u64>) -> Option<Range> {
        let from = Point::At(from);
        Some(Range::Npt { from, to })
    }

    #[test]
    fn ranges_are_read_and_written() {
        let now = Range::Npt {
            from: Point::Now,
            to: None,
        };
        for (text, expected, written) in [
            ("npt=0.000-", npt(0, None), "npt=0.000-"),
            ("npt=now-", Some(now), "npt=now-"),
            (
                "NPT = 1:02:03.5 - 1:02:04",
                npt(3_723_500, Some(3_724_000)),
                "npt=3723.500-3724.000",
            ),
            ("npt=-5", npt(0, Some(5_000)), "npt=0.000-5.000"),
            ("npt=7.-;time=19970123T143720Z", npt(7_000, None), "npt=7.000-"),
            (
                "clock=20260102T030405.25Z-20260102T030406Z",
                Some(Range::Clock {
                    from: 1_767_323_045_250,
                    to: Some(1_767_323_046_000),
                }),
                "clock=20260102T030405.250Z-20260102T030406.000Z",
            ),
            (
                "clock=20240229T235959Z-",
                Some(Range::Clock {
                    from: 1_709_251_199_000,
                    to: None,
                }),
                "clock=20240229T235959.000Z-",
            ),
        ] {
            assert_eq!(Range::parse(text), expected, "{text}");
            assert_eq!(expected.map(|range| range.text()).as_deref(), Some(written));
            assert_eq!(Range::parse(written), expected);
        }
        for text in [
            "",
            "npt",
            "npt=",
            "npt=x-",
            "npt=1:2:3:4-",
            "npt=1.x-",
            "npt=1-y",
            "smpte=0:10:20-",
            "clock=-",
            "clock=20261301T000000Z-",
            "clock=20260101T250000Z-",
            "clock=1T2Z-",
            "npt=99999999999999999999-",
            "npt=4294967295:4294967295:4294967295-x",
        ] {
            assert_eq!(Range::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_is_written_as_it_is_read() {
        for day in 0..60_000 {
            let from = day * DAY_MILLIS + 3_723_004;
            let range = Range::Clock { from, to: None };
            assert_eq!(Range::parse(&range.text()), Some(range), "{}", range.text());
        }
    }
}
