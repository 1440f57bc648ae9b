//! Dates and durations as XML Schema writes them (`xs:dateTime`, `xs:duration`), and back.
//!
//! Dates are UTC with a `Z` and milliseconds; a duration is written in seconds alone, because players differ in what they make
//! of minutes and days.

use std::fmt::Write;

const MICROS: i64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;

/// `2026-11-26T01:42:13.250Z`; what is finer than a millisecond is cut off.
pub fn instant(micros: i64, out: &mut String) {
    let seconds = micros.div_euclid(MICROS);
    let (year, month, day) = civil(seconds.div_euclid(DAY_SECONDS));
    let of_day = seconds.rem_euclid(DAY_SECONDS);
    let millis = micros.rem_euclid(MICROS) / 1000;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
    );
}

/// `PT7804.6S`.
///
/// # Panics
/// Below zero, which the schema could say and no manifest may.
pub fn duration(millis: i64, out: &mut String) {
    assert!(millis >= 0, "durations in manifests are not negative");
    out.push_str("PT");
    seconds(millis, out);
    out.push('S');
}

/// `7804.6`
pub fn seconds(millis: i64, out: &mut String) {
    let _ = match (millis / 1000, millis % 1000) {
        (whole, 0) => write!(out, "{whole}"),
        (whole, part) if part % 100 == 0 => write!(out, "{whole}.{}", part / 100),
        (whole, part) => write!(out, "{whole}.{part:03}"),
    };
}

/// Microseconds since 1970. `None`: no `xs:dateTime`, or one without time zone, which DASH does not define the meaning of.
pub fn parse_instant(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T')?;
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (
        digits(date.next()?, 4)?,
        digits(date.next()?, 2)?,
        digits(date.next()?, 2)?,
    );
    let (time, zone_seconds) = zone(time)?;
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (digits(time.next()?, 2)?, digits(time.next()?, 2)?);
    let (whole, micros) = fraction(time.next()?)?;
    let second = digits(whole, 2)?;
    if !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days(year, month, day);
    if day == 0 || civil(days) != (year, month, day) {
        return None;
    }
    let seconds = days * DAY_SECONDS + hour * 3600 + minute * 60 + second - zone_seconds;
    Some(seconds * MICROS + micros)
}

/// Microseconds. `None`: no `xs:duration`, or one with years or months, whose length is not known.
pub fn parse_duration(text: &str) -> Option<i64> {
    let body = text.strip_prefix('P')?;
    let (date, time) = match body.split_once('T') {
        Some((date, time)) if !time.is_empty() => (date, time),
        Some(_) => return None,
        None => (body, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let mut micros: i64 = 0;
    if !date.is_empty() {
        let days: i64 = date.strip_suffix('D').and_then(whole)?;
        micros = days.checked_mul(DAY_SECONDS * MICROS)?;
    }
    let mut rest = time;
    for (unit, seconds) in [('H', 3600), ('M', 60), ('S', 1)] {
        let Some((number, behind)) = rest.split_once(unit) else {
            continue;
        };
        let (number, part) = match unit {
            'S' => fraction(number)?,
            _ => (number, 0),
        };
        let value = whole(number)?.checked_mul(seconds * MICROS)?.checked_add(part)?;
        micros = micros.checked_add(value)?;
        rest = behind;
    }
    rest.is_empty().then_some(micros)
}

fn whole(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count).then(|| whole(text)).flatten()
}

/// `12.25` is `12` and 250,000.
fn fraction(text: &str) -> Option<(&str, i64)> {
    let Some((whole_part, part)) = text.split_once('.') else {
        return Some((text, 0));
    };
    whole(part)?;
    let six: String = part.chars().chain("000000".chars()).take(6).collect();
    Some((whole_part, whole(&six)?))
}

/// What is before the zone, and the zone in seconds east.
fn zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix('Z') {
        return Some((time, 0));
    }
    let at = time.rfind(['+', '-'])?;
    let (hours, minutes) = time[at + 1..].split_once(':')?;
    let seconds = digits(hours, 2)? * 3600 + digits(minutes, 2)? * 60;
    Some((
        &time[..at],
        if time[at..].starts_with('-') { -seconds } else { seconds },
    ))
}

/// Days since 1970 of a date of the Gregorian calendar: years begin in March, so that a leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_and_read() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (1_795_657_333_250_000, "2026-11-26T01:42:13.250Z"),
            (4_107_542_399_999_000, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000Z"),
            (-1_000, "1969-12-31T23:59:59.999Z"),
        ] {
            let mut out = String::new();
            instant(micros, &mut out);
            assert_eq!(out, text);
            assert_eq!(parse_instant(text), Some(micros), "{text}");
        }
        assert_eq!(parse_instant("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(parse_instant("1970-01-01T00:00:00.5Z"), Some(500_000));
        for bad in [
            "",
            "2026-11-22T12:22:26",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-1-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:0xZ",
        ] {
            assert_eq!(parse_instant(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_is_read_as_it_was_written() {
        for day in 0..146_097 {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }

    #[test]
    fn durations_are_written_and_read() {
        for (millis, text) in [
            (0, "PT0S"),
            (7_804_600, "PT7804.6S"),
            (2_002, "PT2.002S"),
            (50, "PT0.050S"),
            (86_400_000, "PT86400S"),
        ] {
            let mut out = String::new();
            duration(millis, &mut out);
            assert_eq!(out, text);
            assert_eq!(parse_duration(text), Some(millis * 1000), "{text}");
        }
        assert_eq!(parse_duration("P1DT1H1M1.5S"), Some(90_061_500_000));
        assert_eq!(parse_duration("PT1H"), Some(3_600_000_000));
        for bad in [
            "", "P", "PT", "2S", "PT2", "P1M", "P1Y", "PT-2S", "-PT2S", "PT2S1H", "PT1.5H", "PT2.S",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
