//! From when to when a certificate is good: the one field that is read of it here (RFC 5280, 4.1.2.5), for the operator's eyes.
//! Whether a peer's certificate is good is rustls's to judge.

use std::fmt;

/// In seconds since 1970, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub from: i64,
    pub until: i64,
}

/// A day, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date(i64);

const DAY_SECONDS: i64 = 86_400;

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, the version.
const VERSION: u8 = 0xa0;

impl Validity {
    /// Of a certificate in DER; none if its head is not one's.
    pub fn of(certificate: &[u8]) -> Option<Validity> {
        let signed = only(take(&mut &*certificate, SEQUENCE)?, SEQUENCE)?;
        let mut fields = signed;
        if fields.first() == Some(&VERSION) {
            take(&mut fields, VERSION)?;
        }
        take(&mut fields, INTEGER)?;
        // Signature algorithm, issuer.
        take(&mut fields, SEQUENCE)?;
        take(&mut fields, SEQUENCE)?;
        let mut validity = take(&mut fields, SEQUENCE)?;
        Some(Validity {
            from: time(&mut validity)?,
            until: time(&mut validity)?,
        })
    }
}

impl Date {
    pub fn of(seconds: i64) -> Date {
        Date(seconds.div_euclid(DAY_SECONDS))
    }
}

impl fmt::Display for Date {
    /// `2026-11-26`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0);
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// The first value inside, which has this tag.
fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    take(&mut &*bytes, tag)
}

/// The value of the next element, which has this tag. Lengths of up to four bytes: a file is far shorter.
fn take<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (&[found, first], behind) = rest.split_first_chunk()?;
    if found != tag {
        return None;
    }
    let (length, behind) = match first {
        0..=0x7f => (usize::from(first), behind),
        0x81..=0x84 => {
            let (bytes, behind) = behind.split_at_checked(usize::from(first & 0x7f))?;
            (
                bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
                behind,
            )
        }
        _ => return None,
    };
    let (value, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some(value)
}

/// `YYMMDDHHMMSSZ`, of which years from 50 on are of the last century, or `YYYYMMDDHHMMSSZ`.
fn time(rest: &mut &[u8]) -> Option<i64> {
    let tag = *rest.first()?;
    let text = take(rest, tag)?;
    let digits = text
        .strip_suffix(b"Z")
        .filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let number = |digits: &[u8]| {
        digits
            .iter()
            .fold(0, |number, digit| 10 * number + i64::from(digit - b'0'))
    };
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(&digits[..2]);
            (year + if year < 50 { 2000 } else { 1900 }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(&rest[at..at + 2]));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(days(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second)
}

/// Days from 1970-01-01 of a day of the Gregorian calendar. Years begin in March here, so that a leap day is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let in_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + in_year - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let in_era = days.rem_euclid(146_097);
    let year = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_the_calendar_has_them() {
        for (seconds, shown) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_764_547_199, "2025-11-30"),
            (4_107_542_400, "2100-03-01"),
            (-1, "1969-12-31"),
        ] {
            assert_eq!(Date::of(seconds).to_string(), shown);
        }
        for day in (-800_000..800_000).step_by(97) {
            let (year, month, date) = civil(day);
            assert_eq!(days(year, month, date), day);
        }
    }

    #[test]
    fn both_forms_of_time_are_read_and_nothing_else() {
        let of = |tag: u8, text: &str| time(&mut [&[tag, text.len() as u8], text.as_bytes()].concat().as_slice());
        assert_eq!(of(UTC_TIME, "000229000000Z"), Some(951_782_400));
        assert_eq!(of(UTC_TIME, "500101000000Z"), Some(-631_152_000));
        assert_eq!(of(GENERALIZED_TIME, "21000301000000Z"), Some(4_107_542_400));
        for (tag, text) in [
            (UTC_TIME, "0002290000Z"),
            (UTC_TIME, "000229000000+0100"),
            (UTC_TIME, "001329000000Z"),
            (UTC_TIME, "00022900000aZ"),
            (GENERALIZED_TIME, "000229000000Z"),
            (SEQUENCE, "000229000000Z"),
            (UTC_TIME, ""),
        ] {
            assert_eq!(of(tag, text), None, "{text}");
        }
    }
}
